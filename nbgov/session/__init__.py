"""One principal's conversation with governed connections.

:func:`connect` gives a :class:`Session`, one principal's conversation with the connections of one
``nbgov.yaml``. Everything a surface can do, it does through a session.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nbgov.core.case import check_request
from nbgov.core.dataset_references import check_rows, find_version
from nbgov.core.datasets import key_of, rows_key
from nbgov.core.statement import split
from nbgov.errors import NbgovError
from nbgov.model import (
    Catalog,
    DatasetVersion,
    Delivery,
    DriftTerms,
    Principal,
    Request,
    Result,
    Run,
    Verdict,
)
from nbgov.remote import Gateways
from nbgov.session.site import Site
from nbgov.session.tickets import Tickets
from nbgov.session.tracking import delivered
from nbgov.session.undoing import Undoing
from nbgov.watched import watched
from nbgov.wiring import find_config, run_store

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.core.fingerprint import Fingerprint
    from nbgov.pipeline import Pipeline
    from nbgov.ports import Engine, IdentityProvider
    from nbgov.remote.pipeline import RemotePipeline

OPEN: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
# Each nbgov.yaml that a session of this process was on, and whom the last one was for. What a
# closed session delivered can still be looked up.
SEEN: dict[Path, str | None] = {}


def connect(config: str | Path | None = None, *, as_: str | None = None) -> Session:
    """Open a session on the connections of an ``nbgov.yaml``.

    Args:
        config: The file, or the folder that holds it. Without one, ``$NBGOV_CONFIG`` is used, else
            the nearest ``nbgov.yaml`` in the working directory or above.
        as_: A declared principal's name; the OS account decides when it is left out.

    Raises:
        ConfigInvalid: No ``nbgov.yaml`` was found, or it is not valid.
        IdentityFailed: The principal is not declared.
    """
    path = find_config(config)
    session = Session(Site(path, claim=as_), claim=as_)
    session.forget_expired()
    OPEN[session.id] = session
    SEEN[path] = as_
    return session


class Session(Tickets, Undoing):
    """One principal's conversation. A context manager; methods raise :class:`~nbgov.NbgovError`.

    Args:
        site: The connections, the log and the stores.
        claim: A declared principal's name, or ``None`` for the one the OS account maps to.
        identity: Who the principal is, where others than the site's own principal have sessions on
            it. Such a session leaves the site open when it is closed.

    Attributes:
        site: The connections, the log and the stores.
        is_remote: Whether every connection is one of a gateway, so that nothing is decided here.
    """

    def __init__(
        self, site: Site, *, claim: str | None = None, identity: IdentityProvider | None = None
    ) -> None:
        from nbgov.pipeline import Pipeline
        from nbgov.voting import Voting

        self.site = site
        self.is_guest = identity is not None
        self.id, self.path, self.config, self.state = site.id, site.path, site.config, site.state
        self.engines, self.log = site.engines, site.log
        self.claim = claim
        # Security: a guest of a gateway never goes on to another one as whoever keeps this one.
        terms = {} if self.is_guest else site.config.gateways
        self.is_remote = len(terms) == len(site.config.connections)
        world = site.world
        if identity is not None:
            # A guest's runs are open where the guest is, and bound there.
            world = replace(world, identity=identity, runs=tuple)
        self.own: Principal = site.principal if identity is None else identity.identify(claim)
        self.world = watched(world, session=self.id, principal=self.own)
        self.gateways = Gateways(terms, site.path.parent, self.world)
        self.pipeline = Pipeline(self.world, session=self.id)
        self.voting = Voting(self.world, session=self.id)

    @staticmethod
    def opened() -> tuple[Session, ...]:
        """The sessions that are open in this process, oldest first."""
        return tuple(OPEN.values())

    @staticmethod
    def open_ids() -> tuple[str, ...]:
        """Ids of the sessions that are open in this process, oldest first."""
        return tuple(OPEN)

    # ------------------------------------------------------------ statements

    @property
    def principal(self) -> Principal:
        """Who asks. Where nothing is decided here, it is whoever is logged in at the gateway."""
        return self.gateways.principal if self.is_remote else self.own

    def at(self, connection: str | None = None) -> Pipeline | RemotePipeline:
        """What runs the requests for a connection: here, or at a gateway."""
        return self.gateways.pipeline(connection or self.default_connection) or self.pipeline

    @property
    def connections(self) -> tuple[str, ...]:
        """Names of the connections, in the order of the file."""
        return tuple(self.config.connections)

    @property
    def default_connection(self) -> str:
        """The connection meant when none is named: the configured one, else the first."""
        return self.config.default_connection or self.connections[0]

    def sql(
        self,
        sql: str,
        /,
        connection: str | None = None,
        *,
        binds: Mapping[str, Any] | None = None,
        rows_max: int | None = None,
        dataset: str = "",
        origin: Mapping[str, str] | None = None,
        request: str = "",
        ticket: str = "",
        **values: Any,
    ) -> Result:
        """Run a statement under the policy.

        Args:
            sql: One SQL statement; ``:name`` marks a bound value. Several reads may stand in one
                text: each is a request of its own, all are decided before the first one runs, and
                the result is the last one's.
            connection: Name of the connection; the default one when left out.
            binds: Bound values by name, for names that clash with an argument here.
            rows_max: Rows to deliver at most.
            dataset: Name to keep the result's version under.
            origin: Claims about where the request comes from, for the record.
            request: A name for it, by which :meth:`cancel` can stop it from another thread.
            ticket: The only approval ticket to use; no other one is opened.
            **values: Bound values by name.

        Returns:
            An open result. Read it with ``to_pandas()``, ``to_arrow()``, ``to_polars()`` or as an
            Arrow stream. A write has been committed when this returns.

        Raises:
            NbgovError: For every reason why it did not run; ``record`` names the audit record.
        """
        if values and (binds is None or isinstance(binds, Mapping)):
            binds = {**(binds or {}), **values}
        asked = self.request(
            sql,
            connection,
            {} if binds is None else binds,
            rows_max=rows_max,
            dataset=dataset,
            origin=origin,
            id=request,
            ticket=ticket,
        )
        return self.ask(asked)

    def ask(self, asked: Request) -> Result:
        """Run a request of the session's principal; see :meth:`sql`."""
        remote = self.gateways.pipeline(asked.connection)
        if remote is not None:
            return remote.run(asked)
        parts = self.parts(asked)
        for part in parts if len(parts) > 1 else ():
            # One that is refused is recorded as that, before any other part has run.
            if not self.pipeline.foresee(part).statement.is_read:
                # One of them may wait for approval or fail; run again, the others would run twice.
                return self.pipeline.run(asked)
        for part in parts[:-1]:
            for _ in self.pipeline.run(part).batches():
                pass
        return self.pipeline.run(parts[-1])

    def check(
        self, sql: str, /, connection: str | None = None, *, binds: Mapping[str, Any] | None = None
    ) -> Verdict:
        """Decide a statement, and say what would run, without running it."""
        asked = self.request(sql, connection, binds or {})
        return self.at(asked.connection).check(asked)

    def parts(self, request: Request) -> tuple[Request, ...]:
        """A request for each statement of a text; the text itself where it cannot be told apart."""
        try:
            check_request(request)
            texts = split(request.sql, self.dialect(request.connection))
        except NbgovError:
            return (request,)
        if len(texts) == 1:
            return (request,)
        # Each of them may need a ticket of its own.
        return tuple(replace(request, sql=text, ticket="") for text in texts)

    def request(
        self, sql: str, connection: str | None, binds: Mapping[str, Any], **more: Any
    ) -> Request:
        """A request of this session's principal."""
        origin = more.get("origin") or {}
        if isinstance(origin, Mapping):
            more["origin"] = {"surface": "python", **origin}
        name = connection or self.default_connection
        return Request(connection=name, sql=sql, binds=binds, claim=self.claim, **more)

    def catalog(self, connection: str | None = None) -> Catalog:
        """The tables and views that the principal may touch."""
        name = connection or self.default_connection
        return self.at(name).catalog(name, claim=self.claim)

    def dialect(self, connection: str | None = None) -> str:
        """sqlglot's name of a connection's SQL dialect."""
        name = connection or self.default_connection
        remote = self.gateways.pipeline(name)
        return self.engine(name).dialect if remote is None else remote.dialect

    def policy_digest(self) -> str:
        """SHA-256 of the policy in force, hex; empty where nothing is decided here."""
        return "" if self.is_remote else self.pipeline.policy().digest.hex()

    def engine(self, name: str) -> Engine:
        """The engine of a connection, opened on first use.

        Raises:
            RequestInvalid: No connection has the name.
            BackendFailed: The database or its driver is away.
        """
        return self.site.engine(name)

    # ------------------------------------------------------------ datasets and runs

    def version(self, version_id: str) -> DatasetVersion | None:
        """The dataset version with this id, with its profile if that can be made."""
        version = self.world.datasets.version(version_id)
        if version is None or version.profile:
            return version
        profile = self.pipeline.profiles.take(version_id)
        if profile is None:
            return version
        self.world.datasets.describe(version_id, profile)
        return replace(version, profile=profile)

    def versions(self, name: str = "") -> tuple[DatasetVersion, ...]:
        """Dataset versions, newest first; of one dataset, or of all."""
        return self.world.datasets.versions(name)

    def dataset(self, reference: str) -> DatasetVersion:
        """The dataset version that a reference means, with its profile if that can be made.

        Args:
            reference: A version id or a start of one that nothing else has; ``NAME@vSTART``; or a
                dataset's name for the version that was delivered last.

        Raises:
            RequestInvalid: It means none, or more than one (``unknown-dataset``).
        """
        found = self.version(reference)
        if found is not None:
            return found
        version = self.version(find_version(reference, self.deliveries()))
        assert version is not None
        return version

    def rows(self, version_id: str) -> pa.Table | None:
        """The delivered, masked rows of a version, or ``None`` where they were not kept.

        They come in the order in which they were first delivered, and to whom they were delivered:
        the policy let them through for that principal, and for nobody else.

        Raises:
            IntegrityFailed: They are not the rows that were delivered (``rows-damaged``).
        """
        version = self.world.datasets.version(version_id)
        if version is None or not self.was_given(version):
            return None
        table = self.world.rows.read(rows_key(version))
        if table is not None:
            check_rows(table, version, key=self.fingerprint_key())
        return table

    def was_given(self, version: DatasetVersion) -> bool:
        """Whether a version was ever delivered to this session's principal."""
        wanted = version.version_id, self.principal.name
        given = ((one.version_id, one.principal) for one in self.deliveries(version.name))
        return wanted in given

    def fingerprint_key(self) -> bytes:
        """The key of the fingerprints of results that the policy wants keyed."""
        return key_of(self.world.signer.mac, "fingerprint")

    def veiled(self, fingerprint: Fingerprint) -> Fingerprint:
        """A fingerprint with its column digests as versions keep those of columns that are closed.

        The image of a digest does not depend on the name of its column.
        """
        names = [name for name, *_ in fingerprint.columns]
        return fingerprint.veiled(names, key=key_of(self.world.signer.mac, "veil"))

    def delivery(self, read_id: str) -> Delivery | None:
        """The delivery with this id."""
        return self.world.datasets.delivery(read_id)

    def deliveries(self, name: str = "") -> tuple[Delivery, ...]:
        """Deliveries, newest first; of one dataset, or of all."""
        return self.world.datasets.deliveries(name)

    def terms(self) -> DriftTerms:
        """What the policy calls drift, and what it lets hold a promotion."""
        return self.pipeline.policy().drift if self.config.policy else DriftTerms()

    def run(self, reference: str) -> Run:
        """The training run behind an id, ``runs:/ID`` or the reference of a model version.

        Raises:
            RequestInvalid: There is no such run.
            BackendFailed: The run store did not answer.
        """
        return run_store().run(reference)

    def track(
        self,
        data: Any,
        *,
        run_id: str | None = None,
        context: str = "training",
        labels: Sequence[str] = (),
    ) -> str:
        """Bind a governed frame or result to a training run.

        Args:
            data: What :meth:`sql` delivered: a result that was read, or a DataFrame made from one.
            run_id: The run; the active MLflow run when left out.
            context: ``training``, ``validation`` or another word for the run page.
            labels: The columns that the run learns to predict.

        Returns:
            The id of the run.

        Raises:
            RequestInvalid: The data was not delivered by nbgov, or there is no run.
        """
        delivery = delivered(data, lambda mark: self.delivery(mark["read"]))
        return run_store().track(delivery, run_id=run_id, context=context, labels=labels)

    def close(self) -> None:
        """Give back what is the session's own. Callable more than once."""
        self.gateways.close()
        if not self.is_guest:
            self.site.close()
            OPEN.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nbgov session of {self.own.name} on {', '.join(self.connections)}>"
