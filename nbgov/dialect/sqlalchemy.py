"""``nbgov://CONNECTION?config=PATH&as_=NAME``: a governed connection as SQLAlchemy knows databases.

Statements are compiled as the database behind the connection wants them, and go through
:mod:`nbgov.dialect.dbapi`. Nothing is reflected from the database itself: what there is is the
governed catalog, in which what one may not see is absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.mysql.base import MySQLDialect
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import ArgumentError, NoSuchTableError

from nbgov.config.places import FileConnection, GatewayConnection, ServerConnection
from nbgov.dialect import dbapi
from nbgov.dialect.errors import raise_as
from nbgov.dialect.types import type_of
from nbgov.errors import NbgovError
from nbgov.session import connect
from nbgov.wiring import load_config

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.engine import Connection as Link

    from nbgov.model import Catalog, Table

# By sqlglot's name of a dialect: whose compiler is used, SQLAlchemy's name for it, and a version
# that has all that today's servers have.
BASES: dict[str, tuple[type[DefaultDialect], str, tuple[int, ...]]] = {
    "duckdb": (PGDialect, "duckdb", (16,)),
    "mysql": (MySQLDialect, "mysql", (8, 0, 36)),
    "postgres": (PGDialect, "postgresql", (16,)),
    "sqlite": (SQLiteDialect, "sqlite", (3, 40)),
}
QUERY = {"config", "as_"}
CATALOG = ("nbgov", "catalog")


class Governed:
    """What a governed connection does instead of what its database's dialect does."""

    driver = "nbgov"
    default_paramstyle = "named"
    supports_native_decimal = True
    supports_sane_multi_rowcount = False
    default_isolation_level = "AUTOCOMMIT"
    # Backslashes are plain characters, as the standard has it.
    _backslash_escapes = False

    base_dialect: str
    server_version_info: tuple[int, ...]
    default_schema_name: str | None

    # Dialects that reflect many tables at once go back to one after the other, each as below.
    get_multi_columns = DefaultDialect.get_multi_columns
    get_multi_pk_constraint = DefaultDialect.get_multi_pk_constraint
    get_multi_foreign_keys = DefaultDialect.get_multi_foreign_keys
    get_multi_indexes = DefaultDialect.get_multi_indexes
    get_multi_unique_constraints = DefaultDialect.get_multi_unique_constraints
    get_multi_check_constraints = DefaultDialect.get_multi_check_constraints
    get_multi_table_comment = DefaultDialect.get_multi_table_comment
    get_multi_table_options = DefaultDialect.get_multi_table_options

    def __init__(self, dbapi: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.dbapi = dbapi
        # Values arrive as Python has them, whatever the database's own drivers would make of them.
        self.colspecs: dict[type, type] = {}

    @classmethod
    def import_dbapi(cls) -> Any:
        """The module that connects."""
        return dbapi

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        """Keep bound values out of the messages of errors, which end up in logs and notebooks."""
        engine.hide_parameters = True

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """What :func:`nbgov.dialect.dbapi.connect` is told."""
        return [], settings_of(url)

    # ------------------------------------------------------------ no session state

    def initialize(self, connection: Link) -> None:
        """Learn which schema a plain name means; nothing is asked of the database."""
        self.default_schema_name = self.held(connection).default_schema

    def on_connect(self) -> None:
        """Nothing: there are no settings of a session."""

    def on_connect_url(self, url: URL) -> None:
        """Nothing, either."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether a connection is open; each statement finds out for itself what is behind it."""
        return not dbapi_connection.is_closed

    def is_disconnect(self, *_: Any) -> bool:
        """No error leaves a connection unusable."""
        return False

    def get_isolation_level_values(self, _: Any) -> list[str]:
        """Each statement is a transaction of its own."""
        return ["AUTOCOMMIT"]

    def get_default_isolation_level(self, _: Any) -> str:
        """The only one."""
        return "AUTOCOMMIT"

    def get_isolation_level(self, _: Any) -> str:
        """The only one."""
        return "AUTOCOMMIT"

    def set_isolation_level(self, _: Any, level: str) -> None:
        """Nothing can be set; SQLAlchemy refuses all but the only one."""

    def detect_autocommit_setting(self, _: Any) -> bool:
        """Whether every statement is committed at once."""
        return True

    # ------------------------------------------------------------ the governed catalog

    def held(self, connection: Link, **how: Any) -> Catalog:
        """What there is, for the principal; looked up once for one reflection."""
        known: dict[Any, Any] = how.get("info_cache") or {}
        if CATALOG not in known:
            link: Any = connection.connection.dbapi_connection
            try:
                known[CATALOG] = link.session.catalog(link.name)
            except NbgovError as error:
                raise_as(error)
        found: Catalog = known[CATALOG]
        return found

    def table(self, connection: Link, name: str, schema: str | None, **how: Any) -> Table:
        """A table or view by its name.

        Raises:
            NoSuchTableError: There is none that the principal may see.
        """
        catalog = self.held(connection, **how)
        for table in of_schema(catalog, schema):
            if table.name.name == name:
                return table
        raise NoSuchTableError(name)

    def has_table(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> bool:
        """Whether there is a table or view that the principal may see."""
        tables = of_schema(self.held(connection, **how), schema)
        return any(one.name.name == table_name for one in tables)

    def has_multi_table(
        self, connection: Link, table_names: Iterable[str], schema: str | None = None, **how: Any
    ) -> Any:
        """The same of several."""
        return {
            (schema, one): self.has_table(connection, one, schema, **how) for one in table_names
        }

    def has_schema(self, connection: Link, schema_name: str, **how: Any) -> bool:
        """Whether there is a schema with anything in it that the principal may see."""
        return schema_name in self.get_schema_names(connection, **how)

    def has_sequence(self, *_: Any, **__: Any) -> bool:
        """Sequences are not in the catalog."""
        return False

    def get_schema_names(self, connection: Link, **how: Any) -> list[str]:
        """The schemas, the default one among them."""
        catalog = self.held(connection, **how)
        return sorted({one.schema for one in catalog.tables} | {catalog.default_schema})

    def get_table_names(self, connection: Link, schema: str | None = None, **how: Any) -> list[str]:
        """The tables of a schema."""
        tables = of_schema(self.held(connection, **how), schema)
        return [one.name.name for one in tables if one.kind != "view"]

    def get_view_names(self, connection: Link, schema: str | None = None, **how: Any) -> list[str]:
        """The views of a schema."""
        tables = of_schema(self.held(connection, **how), schema)
        return [one.name.name for one in tables if one.kind == "view"]

    def get_columns(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> list[dict[str, Any]]:
        """The columns of a table, those that the principal may see."""
        table = self.table(connection, table_name, schema, **how)
        return [
            {
                "name": one.name,
                "type": type_of(one.type, self.base_dialect),
                "nullable": not one.is_required,
                "default": None,
                "autoincrement": False,
                "comment": None,
            }
            for one in table.columns
        ]

    def get_pk_constraint(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> dict[str, Any]:
        """The primary key, where all of it can be seen."""
        table = self.table(connection, table_name, schema, **how)
        return {"constrained_columns": list(table.key), "name": None}

    def get_view_definition(
        self, connection: Link, view_name: str, schema: str | None = None, **how: Any
    ) -> str:
        """Nothing: the query of a view names what may be hidden."""
        self.table(connection, view_name, schema, **how)
        return ""

    def get_table_comment(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> dict[str, Any]:
        """Comments are not in the catalog."""
        self.table(connection, table_name, schema, **how)
        return {"text": None}

    def get_table_options(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> dict[str, Any]:
        """Options are not in the catalog."""
        self.table(connection, table_name, schema, **how)
        return {}

    def nothing(
        self, connection: Link, table_name: str, schema: str | None = None, **how: Any
    ) -> list[Any]:
        """What is not in the catalog: foreign keys, indexes and other constraints."""
        self.table(connection, table_name, schema, **how)
        return []

    get_foreign_keys = get_indexes = get_unique_constraints = get_check_constraints = nothing

    def none(self, *_: Any, **__: Any) -> list[str]:
        """What no governed connection has."""
        return []

    get_temp_table_names = get_temp_view_names = get_materialized_view_names = none
    get_sequence_names = none


class GovernedDialect(DefaultDialect):
    """Stands behind ``nbgov://``, and gives way to the dialect of the connection that is meant."""

    name = "nbgov"
    supports_statement_cache = True

    @classmethod
    def get_dialect_cls(cls, url: URL) -> type[DefaultDialect]:
        """The governed dialect of a url.

        Raises:
            ArgumentError: The url has something that it should not have, or names no connection.
        """
        try:
            return governed(dialect_of(url))
        except NbgovError as error:
            raise ArgumentError(error.render()) from error


@cache
def governed(base_dialect: str) -> type[DefaultDialect]:
    """The governed dialect over that of a database."""
    base, name, version = BASES.get(base_dialect, (DefaultDialect, base_dialect, ()))
    facts = {
        "name": name,
        "base_dialect": base_dialect,
        "server_version_info": version,
        # SQLAlchemy believes it of the class that says it, and of no heir.
        "supports_statement_cache": True,
    }
    made: type[DefaultDialect] = type(f"Governed{base.__name__}", (Governed, base), facts)
    return made


def settings_of(url: URL) -> dict[str, Any]:
    """What a url says: connection, configuration and principal.

    Raises:
        ArgumentError: It says something else.
    """
    strange = {*url.query} - QUERY
    if strange or url.username or url.password or url.port or url.database:
        raise ArgumentError("Write nbgov://CONNECTION?config=PATH&as_=NAME, and nothing else.")
    return {"connection": url.host or None, **url.query}


def dialect_of(url: URL) -> str:
    """sqlglot's name of the dialect that a connection speaks; only a gateway has to be asked."""
    settings = settings_of(url)
    _, config = load_config(settings.get("config"))
    name = settings["connection"] or config.default_connection or next(iter(config.connections))
    match config.connections.get(name):
        case FileConnection(kind=kind):
            return kind
        case ServerConnection(kind="postgresql"):
            return "postgres"
        case None | ServerConnection() | GatewayConnection():
            with connect(settings.get("config"), as_=settings.get("as_")) as session:
                return session.dialect(name)


def of_schema(catalog: Catalog, schema: str | None) -> list[Table]:
    """The tables and views of a schema, by name."""
    wanted = catalog.default_schema if schema is None else schema
    found = (one for one in catalog.tables.values() if one.name.schema == wanted)
    return sorted(found, key=lambda one: one.name)
