"""Scratch worlds: databases of their own beside a real one, each with a pipeline onto it.

A world is made by the product that stands behind a connection, filled with synthetic rows, and
removed at the end whatever happens.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, Protocol

from nbgov import backends
from nbgov.backends.memory import memory_world
from nbgov.core.pseudonym import token
from nbgov.core.worlds import Observation, Script
from nbgov.core.worlds.schema import full_name
from nbgov.core.worlds.values import POOL, text
from nbgov.errors import NbgovError
from nbgov.model import Catalog, Clearance, EngineOpinion, Principal, Request, TableName
from nbgov.pipeline import Pipeline
from nbgov.ports import Engine, PolicySource, Stream

CRASH = "crash"
# Known to whoever reads this: it protects values that are made up.
KEY = b"nbgov doctor --prove, made-up data"


class Scratch(Protocol):
    """An empty database that a backend lends; see ``nbgov/backends/*/scratch.py``."""

    settings: Mapping[str, Any]
    errors: tuple[type[Exception], ...]

    def run(self, *statements: str) -> None:
        """Run statements, each committed by itself."""
        ...

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        ...


@dataclass
class World:
    """One world: its scratch database and a pipeline onto it.

    Attributes:
        scratch: The database.
        pipeline: A pipeline whose policy, principal and clock equal those of the other world.
        connection: Name of the connection.
        home: Name of the scratch database, where SQL can see it; both worlds show another one.
        real: The schema of the real catalog that it stands for.
    """

    scratch: Scratch
    pipeline: Pipeline
    connection: str
    home: str = ""
    real: str = ""

    @property
    def engine(self) -> Engine:
        """The engine of the scratch database."""
        return self.pipeline.world.engine(self.connection)

    def observe(self, sql: str) -> Observation:
        """Run a statement and keep all that its principal sees of it."""
        try:
            with self.pipeline.run(Request(self.connection, sql)) as result:
                table = result.to_arrow()
        except NbgovError as error:
            return Observation(error.code, text=self.anonymous(str(error)))
        except Exception as error:  # noqa: BLE001 - a defect of ours must not hide the leaks after it
            return Observation(CRASH, text=type(error).__name__)
        summary, version = result.summary, result.summary.version
        # A version is named after its tables, and each of two servers' databases has its own name.
        return Observation(
            "rows",
            columns=tuple((self.anonymous(one.name), str(one.type)) for one in table.schema),
            rows=tuple(zip(*(column.to_pylist() for column in table.columns), strict=True)),
            rows_affected=summary.rows_affected,
            is_truncated=summary.is_truncated,
            masked={self.anonymous(name): mask for name, mask in summary.masked.items()},
            entities=dict(summary.entities),
            version=version.version_id if version and not self.home else "",
        )

    def anonymous(self, text: str) -> str:
        """A text without the name of the scratch database."""
        return text.replace(self.home, "home") if self.home else text

    def original(self, name: TableName) -> TableName:
        """The table of the real catalog that a table of the scratch database stands for."""
        return TableName(self.real, name.name) if self.home else name

    def state(self, tables: Sequence[TableName]) -> str:
        """A digest of all rows, in the order in which the database keeps them."""
        # DuckDB lets nobody in while the engine has the file; the next statement opens it again.
        self.engine.close()
        digest = hashlib.sha256()
        for table in tables:
            rows = self.scratch.rows(f"SELECT * FROM {full_name(table, self.engine.dialect)}")  # noqa: S608
            digest.update(repr((table.name, rows)).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Subject:
    """What is to be proven, and on what.

    Attributes:
        kind: Kind of the connection.
        connection: Its name, which the policy's patterns match.
        settings: What its engine is opened with.
        catalog: What the real database holds, whole.
        policy: The policy to prove.
        principal: Who must not be able to tell the worlds apart.
    """

    kind: str
    connection: str
    settings: Mapping[str, Any] = field(repr=False)
    catalog: Catalog
    policy: PolicySource
    principal: Principal


@contextmanager
def lent(subject: Subject) -> Iterator[World]:
    """A world that is still empty."""
    kind, name = subject.kind, subject.connection
    module = import_module(backends.BUILT_IN[kind].removesuffix(".engine") + ".scratch")
    with module.scratch(name, subject.settings) as scratch:
        engine: Engine = backends.load(kind)(name, {**scratch.settings, "pseudonym_key": KEY})
        home = scratch.home if subject.catalog.dialect == "mysql" else ""
        policy = subject.policy
        if home:
            policy = Moved(policy, {table.schema for table in subject.catalog.tables}, home)
        ports = memory_world({name: Steady(engine)}, policy="", principals=[subject.principal])
        pipeline = Pipeline(replace(ports, policy=policy), session="proof")
        try:
            yield World(scratch, pipeline, name, home, subject.catalog.default_schema)
        finally:
            engine.close()


class Steady:
    """An engine whose catalog stays as it is until a write runs: nobody else is there."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect = engine.dialect
        self.known: Catalog | None = None

    def catalog(self) -> Catalog:
        """What the scratch database holds."""
        if self.known is None:
            self.known = self.engine.catalog()
        return self.known

    def inspect(self, sql: str) -> EngineOpinion:
        """The product's own view of a text."""
        return self.engine.inspect(sql)

    def execute(self, clearance: Clearance) -> Stream:
        """Run what was cleared."""
        if not clearance.is_read:
            self.known = None
        return self.engine.execute(clearance)

    def estimate(self, clearance: Clearance) -> int | None:
        """How many rows the product expects the statement to touch."""
        return self.engine.estimate(clearance)

    def cancel(self, request: str = "") -> None:
        """Ask the product to stop."""
        self.engine.cancel(request)

    def close(self) -> None:
        """Give back connections."""
        self.engine.close()


@dataclass(frozen=True)
class Moved:
    """A policy whose patterns name a scratch database where they named the real one."""

    policy: PolicySource
    schemas: AbstractSet[str]
    home: str

    def text(self) -> str:
        """The policy as it stands now."""
        text = self.policy.text()
        for schema in self.schemas:
            text = text.replace(f".{schema}.", f".{self.home}.")
        return text

    def revision(self) -> str:
        """No revision holds this text."""
        return ""


def images(world: str) -> list[str]:
    """The values of a world behind tokens, in the order of their tokens: that is kept too."""
    return sorted((text(place, world) for place in range(POOL)), key=lambda one: token(one, KEY))


def build(scratch: Scratch, made: Script, home: str) -> tuple[str, ...]:
    """Make tables, rows and those views that can be made; say which cannot."""
    scratch.run(*made.statements)
    waiting = dict(made.views)
    while waiting:
        done = [name for name, sql in waiting.items() if is_made(scratch, name, sql, home)]
        if not done:
            break
        waiting = {name: sql for name, sql in waiting.items() if name not in done}
    return tuple(f"{name}: a view that cannot be made in the scratch database" for name in waiting)


def is_made(scratch: Scratch, name: TableName, sql: str, home: str) -> bool:
    """Make a view, and say whether that went well."""
    if home:
        # Security: a definition that names the real database would read real rows.
        here = rf"(`{re.escape(name.schema)}`|\b{re.escape(name.schema)})\."
        sql = re.sub(here, "", sql)
        if name.schema in sql:
            return False
    try:
        scratch.run(sql)
    except scratch.errors:
        return False
    return True
