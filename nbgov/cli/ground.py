"""Where a policy is tried out: on the connections of ``nbgov.yaml``, or on paper.

Nothing here runs a statement. On a connection its catalog and its own parser are asked; on paper
there is a catalog file and no database at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nbgov.config import Config
from nbgov.core.catalog import parse as parse_catalog
from nbgov.core.policy.cases import Answer, Asked, Decide, of_error, of_verdict
from nbgov.core.statement import bind_names
from nbgov.errors import BackendFailed, ConfigInvalid, IdentityFailed, NbgovError
from nbgov.model import Catalog, Principal, Request, Verdict
from nbgov.wiring import load_config, named_connection, open_engine, read_text

if TYPE_CHECKING:
    from nbgov.pipeline import Pipeline
    from nbgov.ports import Engine

# A statement that states no moment is asked at this one, so that an answer is the same every day.
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
STILL = timedelta(0)


@dataclass
class Ground:
    """What a policy is held against.

    Attributes:
        policy_path: The policy file.
        policy_text: Its text.
        connection: The connection that is meant where none is named.
        connections: Names of all connections.
        principals: Everybody who is declared, by name.
        engine: Connection name to engine.
        state: The folder of the audit log, if there is one.
    """

    policy_path: Path
    policy_text: str
    connection: str
    connections: frozenset[str]
    principals: Mapping[str, Principal]
    engine: Callable[[str], Engine]
    state: Path | None = None
    pipelines: dict[tuple[str, Principal], Pipeline] = field(default_factory=dict)

    def principal(self, name: str, groups: tuple[str, ...], roles: tuple[str, ...]) -> Principal:
        """Somebody who is declared, or who is made up by groups and roles.

        Raises:
            IdentityFailed: Neither is the case.
        """
        if groups or roles:
            return Principal(name, frozenset(groups), frozenset(roles))
        if name not in self.principals:
            raise IdentityFailed(
                f"{name!r} is not declared.",
                why="nbgov.yaml does not list the name under principals:",
                next_step="declare it, or say what it belongs to with --group and --role",
            )
        return self.principals[name]

    def pipeline(self, policy: str, asked: Asked) -> Pipeline:
        """A pipeline that decides as if the policy were another, at the moment that is asked for.

        It keeps its records in RAM, so that nothing of it counts as done.
        """
        from nbgov.backends.memory import MemoryClock, memory_world
        from nbgov.pipeline import Pipeline

        key = (policy, asked.principal)
        if key not in self.pipelines:
            world = memory_world({}, policy=policy, principals=[asked.principal])
            world = replace(world, engine=self.engine, clock=MemoryClock(tick=STILL))
            self.pipelines[key] = Pipeline(world, session="supposed")
        pipeline = self.pipelines[key]
        clock = pipeline.world.clock
        assert isinstance(clock, MemoryClock)
        clock.at = asked.context.at or MOMENT
        return pipeline

    def check(self, policy: str, asked: Asked) -> Verdict:
        """Decide one statement under a policy; every ``:name`` in it is NULL."""
        pipeline = self.pipeline(policy, asked)
        names = bind_names(asked.sql, self.engine(asked.connection).dialect)
        return pipeline.check(
            Request(
                connection=asked.connection,
                sql=asked.sql,
                binds=dict.fromkeys(names),
                claim=asked.principal.name,
                origin=asked.context.origin,
            )
        )

    def decider(self, policy: str, *, is_whole: bool = False) -> Decide:
        """Decides statements under a policy, whatever they are."""

        def decide(asked: Asked) -> Answer:
            try:
                return of_verdict(self.check(policy, asked), is_whole=is_whole)
            except ConfigInvalid:
                raise  # It is about the policy, and so about every statement.
            except NbgovError as error:
                return of_error(error)

        return decide

    def catalogs(self) -> tuple[dict[str, Catalog], dict[str, NbgovError]]:
        """What the connections hold, and why some of them could not be asked."""
        found: dict[str, Catalog] = {}
        away: dict[str, NbgovError] = {}
        for name in sorted(self.connections):
            try:
                found[name] = self.engine(name).catalog()
            except (BackendFailed, ConfigInvalid) as error:
                away[name] = error
        return found, away


def grounded(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what a policy is held against."""
    for option in (
        click.option("--policy", metavar="FILE", help="The policy. Default: the configured one."),
        click.option("-c", "--connection", metavar="NAME", help="Default: the configured one."),
        click.option(
            "--catalog",
            type=click.Path(exists=True, dir_okay=False),
            help="Ask no database; a catalog file says what there is.",
        ),
        click.option(
            "--dialect", metavar="NAME", help="The SQL dialect that --catalog has to be of."
        ),
        click.option("--json", "is_json", is_flag=True, help="One JSON object instead of text."),
    ):
        command = option(command)
    return command


@contextmanager
def stand(
    ctx: click.Context,
    *,
    policy: str | None,
    connection: str | None,
    catalog: str | None,
    dialect: str | None,
) -> Iterator[Ground]:
    """The ground that the options name.

    Raises:
        NbgovError: A file cannot be read, or is not valid.
    """
    if catalog is None:
        if dialect is not None:
            raise click.UsageError("Without a database, give --catalog.")
        yield from on_connections(ctx.obj["config"], policy, connection)
        return
    if policy is None:
        raise click.UsageError("Without a database, --policy must be given.")
    yield from on_paper(Path(policy), Path(catalog), connection, dialect)


def on_connections(
    config_path: str | None, policy: str | None, connection: str | None
) -> Iterator[Ground]:
    """The connections of ``nbgov.yaml``, each opened when it is asked."""
    path, config = load_config(config_path)
    policy_path = Path(policy) if policy is not None else path.parent / config.policy
    engines: dict[str, Engine] = {}

    def engine(name: str) -> Engine:
        if name not in engines:
            engines[name] = open_engine(path.parent, config, name)
        return engines[name]

    try:
        yield Ground(
            policy_path=policy_path,
            policy_text=read_text(policy_path, code="policy-missing"),
            connection=connection or config.default_connection or next(iter(config.connections)),
            connections=frozenset(config.connections),
            principals=declared(config),
            engine=engine,
            state=path.parent / config.state,
        )
    finally:
        for opened in engines.values():
            opened.close()


def on_paper(
    policy_path: Path, catalog_path: Path, connection: str | None, dialect: str | None
) -> Iterator[Ground]:
    """A catalog file, and a name that the policy's patterns are held against."""
    from nbgov import backends

    text = read_text(policy_path, code="policy-missing")
    catalog = parse_catalog(read_text(catalog_path, code="catalog-invalid"))
    if dialect not in {None, catalog.dialect}:
        raise click.UsageError(f"The catalog is of the dialect {catalog.dialect}.")
    name = connection or named_connection(text)
    engine: Engine = backends.load_offline(catalog.dialect)(catalog)
    try:
        yield Ground(policy_path, text, name, frozenset({name}), {}, lambda _: engine)
    finally:
        engine.close()


def declared(config: Config) -> dict[str, Principal]:
    """Everybody whom ``nbgov.yaml`` declares."""
    return {
        name: Principal(name, frozenset(entry.groups), frozenset(entry.roles))
        for name, entry in config.principals.items()
    }
