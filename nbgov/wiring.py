"""Wires ports to backends for a session: files, environment, secrets, engines, run stores.

With :mod:`nbgov.sinks`, what knows which backend stands behind which port in embedded mode.
"""

from __future__ import annotations

import functools
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.config import FILE_NAME, Config, database_accounts, database_roles, native_schemas, parse
from nbgov.errors import BackendFailed, ConfigInvalid, RequestInvalid
from nbgov.model import Principal, Secret
from nbgov.remote import not_here
from nbgov.sinks import STATE_FILE, open_approvals, open_log, with_copies

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine

    from nbgov.model import Catalog
    from nbgov.pipeline import Pipeline
    from nbgov.ports import Engine, RunStore, World

PSEUDONYM_KEY = "pseudonym.key"
SEALS = "seals"
KEY_BYTES_MIN = 32


def find_config(config: str | Path | None) -> Path:
    """The ``nbgov.yaml`` that is meant.

    Raises:
        ConfigInvalid: There is none.
    """
    wanted = config or os.environ.get("NBGOV_CONFIG")
    if wanted:
        path = Path(wanted).expanduser()
        candidates = [path / FILE_NAME if path.is_dir() else path]
    else:
        here = Path.cwd()
        candidates = [folder / FILE_NAME for folder in (here, *here.parents)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    raise ConfigInvalid(
        f"There is no {FILE_NAME}.",
        code="config-missing",
        why="none was named, and the working directory and the folders above hold none",
        next_step="name one with --config, or make one: docs/tutorial.md shows how",
    )


def load_config(config: str | Path | None) -> tuple[Path, Config]:
    """The ``nbgov.yaml`` that is meant, and what it says.

    Raises:
        ConfigInvalid: There is none, it cannot be read, or it does not decode.
    """
    path = find_config(config)
    return path, read_config(path)


def read_config(path: Path) -> Config:
    """What an ``nbgov.yaml`` says.

    Raises:
        ConfigInvalid: It cannot be read, or does not decode.
    """
    return parse(read_text(path, code="config-missing"))


def read_text(path: Path, *, code: str) -> str:
    """The text of a configuration file.

    Raises:
        ConfigInvalid: It is absent, not readable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            f"{path.name} cannot be read.",
            code=code,
            why=type(error).__name__,
            next_step="check the path, its permissions, and that it is UTF-8",
        ) from error


def build_world(
    path: Path, config: Config, *, session: str, engine: Callable[[str], Engine]
) -> World:
    """The ports of embedded mode, on the disk of this machine.

    Args:
        path: The ``nbgov.yaml``.
        config: What it says.
        session: Identifier of the session, for the audit log.
        engine: Connection name to engine.

    Raises:
        BackendFailed: The state folder cannot be made.
    """
    from nbgov.backends.accounts import declared_identity
    from nbgov.backends.files import (
        FilePolicySource,
        FileRowStore,
        FileSealer,
        FileSigner,
        SystemClock,
    )
    from nbgov.backends.presidio import PresidioDetector
    from nbgov.backends.sqlite.undo import SqliteUndoStore
    from nbgov.backends.telemetry import ObservedLog
    from nbgov.core.masks import Keys
    from nbgov.ports import World

    state = make_state(path.parent / config.state)
    clock, signer = SystemClock(), FileSigner(state / "audit.key")
    sealer = FileSealer(state / SEALS, mac=signer.mac)
    audit, heads = open_log(
        config, path.parent, session=session, clock=clock, signer=signer, secret=read_secret
    )
    world = World(
        engine=engine,
        identity=declared_identity(config),
        policy=FilePolicySource(path.parent / config.policy),
        audit=ObservedLog(audit),
        heads=heads,
        signer=signer,
        clock=clock,
        detector=PresidioDetector(own_analyzer(config.analyzer), reads="text"),
        runs=active_run_stores,
        keys=functools.cache(lambda: Keys(pseudonym_key(path.parent, config))),
        rows=FileRowStore(state / "rows", bytes_max=config.rows.bytes_max),
        native=native_schemas(config),
        rows_kept=config.rows.keep,
        sealer=sealer if config.audit.seal else None,
        undo=SqliteUndoStore(state / "state.sqlite") if config.undo.keep else None,
        # Whoever erases a principal's sealed literals erases what is kept of their writes, too.
        undo_sealer=sealer,
        undo_rows_max=config.undo.rows_max,
        undo_days=config.undo.days,
        accounts=database_accounts(config),
        roles=database_roles(config),
        approvals=open_approvals(config, path.parent, secret=read_secret),
        **open_stores(state),
    )
    return with_copies(world, config, path.parent, secret=read_secret)


def own_analyzer(reference: str | None) -> Callable[[], AnalyzerEngine] | None:
    """What makes the analyzer that ``nbgov.yaml`` names, when the first text is looked through."""
    if reference is None:
        return None

    @functools.cache
    def make() -> AnalyzerEngine:
        try:
            made: AnalyzerEngine = pkgutil.resolve_name(reference)()
        except Exception as error:
            raise ConfigInvalid(
                f"The analyzer {reference} cannot be made.",
                code="analyzer-invalid",
                why=f"calling it ended with {type(error).__name__}",
                next_step="check that Python can import it, and what it needs to be installed",
            ) from error
        return made

    return make


def make_state(folder: Path) -> Path:
    """The state folder, made if it is not there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackendFailed(
            "The state folder cannot be made.",
            code="state-unavailable",
            why=type(error).__name__,
            next_step=f"check the folder that state: names in {FILE_NAME}",
        ) from error
    return folder


def open_stores(state: Path) -> dict[str, Any]:
    """What is kept in SQLite under the state folder, each by its name in a world."""
    from nbgov.backends.sqlite.audit_index import SqliteAuditIndex
    from nbgov.backends.sqlite.catalogs import SqliteCatalogStore
    from nbgov.backends.sqlite.datasets import SqliteDatasetStore
    from nbgov.backends.sqlite.facts import SqliteFactStore
    from nbgov.backends.sqlite.releases import SqliteReleaseStore

    path = state / STATE_FILE
    return {
        "catalogs": SqliteCatalogStore(path),
        "datasets": SqliteDatasetStore(path),
        "facts": SqliteFactStore(path),
        "index": SqliteAuditIndex(state / "audit-index.sqlite"),
        "releases": SqliteReleaseStore(path),
    }


def open_engine(folder: Path, config: Config, name: str) -> Engine:
    """Open the engine of a connection.

    Args:
        folder: What relative paths are relative to.
        config: Where the connection is declared.
        name: Its name.

    Raises:
        RequestInvalid: No connection has the name.
        ConfigInvalid: Its secret cannot be read.
        BackendFailed: The database or its driver is away.
    """
    from nbgov import backends

    found = config.connections.get(name)
    if name in config.gateways:
        raise not_here(name)
    if found is None:
        raise RequestInvalid(
            f"There is no connection {name!r}.",
            code="unknown-connection",
            why=f"{FILE_NAME} names {', '.join(config.connections)}",
            next_step="use one of these, or add it under connections:",
        )
    open_kind = backends.load(found.kind)
    # Security: no local variable here holds the secrets, as a traceback may show those.
    engine: Engine = open_kind(name, connection_settings(folder, config, name))
    return engine


def connection_settings(folder: Path, config: Config, name: str) -> dict[str, Any]:
    """What the backend of a connection is told, its secrets read.

    Raises:
        ConfigInvalid: A secret cannot be read.
        BackendFailed: The key of the pseudonyms cannot be read or made.
    """
    settings = asdict(config.connections[name])
    for key in ("kind", "roles"):
        settings.pop(key, None)
    if "path" in settings:
        settings["path"] = str(folder / settings["path"])
    reference = settings.pop("password", None)
    secrets = {} if reference is None else {"password": read_secret(reference, folder)}
    return settings | secrets | {"pseudonym_key": pseudonym_key(folder, config)}


def pseudonym_key(folder: Path, config: Config) -> bytes:
    """The key behind pseudonyms and surrogates: the one that is named, else the project's own.

    Raises:
        ConfigInvalid: The reference points at nothing, or at a key that is too short.
        BackendFailed: The key in the state folder cannot be read or made.
    """
    from nbgov.backends.files import FileKey

    if config.pseudonym_key is not None:
        return read_key(config.pseudonym_key, folder)
    return FileKey(folder / config.state / PSEUDONYM_KEY).secret()


def read_key(reference: str, folder: Path) -> bytes:
    """The key behind a secret reference.

    Raises:
        ConfigInvalid: The reference points at nothing (``secret-missing``), or at less than
            ``KEY_BYTES_MIN`` bytes (``key-short``).
    """
    key = read_secret(reference, folder).reveal().encode()
    if len(key) < KEY_BYTES_MIN:
        raise ConfigInvalid(
            f"The key {reference} is too short.",
            code="key-short",
            why=f"it has less than {KEY_BYTES_MIN} bytes, so that it could be guessed",
            next_step="make one: python -c 'import secrets; print(secrets.token_hex(32))'",
        )
    return key


def offline(catalog: Catalog, *, connection: str, policy: str, principal: Principal) -> Pipeline:
    """A pipeline that decides on paper: a catalog and a policy, and no database behind them.

    Args:
        catalog: What the database is said to hold.
        connection: The name that the policy's patterns are held against.
        policy: Text of the policy.
        principal: Who asks, and nobody else can.
    """
    from nbgov import backends
    from nbgov.backends.memory import memory_world
    from nbgov.pipeline import Pipeline

    engine: Engine = backends.load_offline(catalog.dialect)(catalog)
    world = memory_world({connection: engine}, policy=policy, principals=[principal])
    return Pipeline(world, session="offline")


def suppose(path: Path, *, policy: str | None, principal: Principal) -> Pipeline:
    """A pipeline on the sources of an ``nbgov.yaml`` that decides as if somebody else asked.

    For questions only: its records are in RAM, so that nothing of it counts as done. Who uses it
    closes the engines that they ask for.

    Args:
        path: The ``nbgov.yaml``.
        policy: Text of another policy, or ``None`` for the one that is in force.
        principal: Who asks, declared or not.
    """
    from nbgov.backends.files import FilePolicySource
    from nbgov.backends.memory import memory_world
    from nbgov.pipeline import Pipeline

    config = read_config(path)
    text = FilePolicySource(path.parent / config.policy).text() if policy is None else policy
    engine = functools.cache(functools.partial(open_engine, path.parent, config))
    world = memory_world({}, policy=text, principals=[principal])
    return Pipeline(replace(world, engine=engine), session="supposed")


def named_connection(policy: str) -> str:
    """The first connection that a policy's patterns spell out, else ``offline``."""
    from nbgov.core.policy import parse as parse_policy

    document = parse_policy(policy).document
    patterns = [pattern for rule in document.rules for pattern in rule.on]
    patterns += [pattern for group in document.tags.values() for pattern in group]
    heads = (pattern.partition(".")[0] for pattern in patterns)
    return next((head for head in heads if not set("*?[") & set(head)), "offline")


def read_secret(reference: str, folder: Path) -> Secret:
    """The secret behind a reference.

    Raises:
        ConfigInvalid: It points at nothing.
    """
    from nbgov.backends.secrets import find_secret

    return find_secret(reference, folder)


@functools.cache
def run_stores() -> Sequence[RunStore]:
    """Every run store that is installed, made once: finding entry points reads many files.

    The same group holds what opens the engines of other distributions; that is left alone.
    """
    from nbgov.ports import RunStore

    loaded = (entry.load() for entry in metadata.entry_points(group="nbgov.backends"))
    made = (one() for one in loaded if isinstance(one, type) and hasattr(one, "product"))
    return tuple(one for one in made if isinstance(one, RunStore))


def run_store() -> RunStore:
    """The run store that is installed.

    Raises:
        BackendFailed: None is.
    """
    for store in run_stores():
        return store
    raise BackendFailed(
        "There is no run store.",
        code="run-store-failed",
        why="the distribution was installed without its MLflow plugin",
        next_step="install nbgov again: pip install --force-reinstall nbgov",
    )


def active_run_stores() -> Sequence[RunStore]:
    """Run stores whose product this process has loaded: a query must not import MLflow."""
    return [store for store in run_stores() if store.product in sys.modules]
