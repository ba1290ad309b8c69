"""What a session of MySQL or MariaDB is pinned to, and how it learns the key of the pseudonyms."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from nbgov.core.transfer import masked_column
from nbgov.errors import BackendFailed
from nbgov.model import SourceVersion

if TYPE_CHECKING:
    import sqlalchemy as sa

    from nbgov.model import ColumnName, TableName

# The modes that change what a statement does but not how it is read. All others are left out:
# nbgov's parser knows a double quote as a string, || as OR, and a backslash as an escape.
MODES_KEPT = {
    "ALLOW_INVALID_DATES", "ERROR_FOR_DIVISION_BY_ZERO", "NO_AUTO_CREATE_USER",
    "NO_AUTO_VALUE_ON_ZERO", "NO_ENGINE_SUBSTITUTION", "NO_UNSIGNED_SUBTRACTION", "NO_ZERO_DATE",
    "NO_ZERO_IN_DATE", "ONLY_FULL_GROUP_BY", "PAD_CHAR_TO_FULL_LENGTH", "STRICT_ALL_TABLES",
    "STRICT_TRANS_TABLES", "TIME_ROUND_FRACTIONAL", "TIME_TRUNCATE_FRACTIONAL",
}  # fmt: skip
# The errors of a server that ran out of a statement's time: MariaDB's, and MySQL's.
OUT_OF_TIME = {1969, 3024}
# Security: the general log and the slow log would hold the statement that sets the key.
UNLOGGED_SQL = "SET SESSION sql_log_off = 1, SESSION long_query_time = 31536000"
KEY_SQL = "SET @nbgov_inner = %s, @nbgov_outer = %s"
# The performance schema shows statements and variables, and an audit plugin sees every statement.
WATCHERS_SQL = """
    SELECT @@performance_schema + (
        SELECT count(*) FROM information_schema.plugins
        WHERE plugin_type = 'AUDIT' AND plugin_status = 'ACTIVE'
    )
"""

# A table's time of change is kept since the server started, in whole seconds: it is told once a
# later change would get a later one. MySQL answers from a cache of a day, and is not asked.
VERSIONS_SQL = """
    SELECT table_schema, table_name, create_time, update_time,
           CONVERT_TZ(update_time, @@session.time_zone, '+00:00')
    FROM information_schema.tables
    WHERE (table_schema, table_name) IN ({}) AND VERSION() LIKE '%%MariaDB%%'
      AND update_time < NOW() - INTERVAL 2 SECOND
"""

# Security: MyISAM and its kind keep what a transaction wrote when it is rolled back, and so does
# what a trigger writes to such a table.
KEEPERS_SQL = """
    SELECT table_name FROM information_schema.tables
    WHERE (table_schema, table_name) IN ({0}) AND table_type <> 'VIEW' AND engine <> 'InnoDB'
    UNION ALL
    SELECT trigger_name FROM information_schema.triggers
    WHERE (event_object_schema, event_object_table) IN ({0})
"""


def pin_mysql(link: Any, _: object, *, timeout_s: float | None) -> None:
    """Settle how a new connection reads statements, and how long one may take."""
    with closing(link.cursor()) as cursor:
        cursor.execute("SELECT @@SESSION.sql_mode, VERSION()")
        modes, version = cursor.fetchone()
        kept = ",".join(sorted(MODES_KEPT.intersection(modes.split(","))))
        cursor.execute(f"SET SESSION sql_mode = '{kept}'")
        if timeout_s is not None:
            limit = f"max_execution_time = {max(1, round(timeout_s * 1000))}"
            if "MariaDB" in version:
                limit = f"max_statement_time = {timeout_s:f}"
            cursor.execute(f"SET SESSION {limit}")


def check_unlogged(connection: str, link: sa.Connection, *, is_read: bool) -> None:
    """Keep what a session says out of the server's logs, before it says the key of the pseudonyms.

    Raises:
        BackendFailed: The account may not, or something else on the server would show the key.
    """
    # Security: the log of changes keeps the variables of a write.
    if not is_read:
        raise unsafe(connection, "Changes are written to a log, with the variables they use.")
    try:
        link.exec_driver_sql(UNLOGGED_SQL)
        (watchers,) = link.exec_driver_sql(WATCHERS_SQL).one()
    except SQLAlchemyError:
        why = "The account may not keep its statements out of the server's logs."
        raise unsafe(connection, why) from None
    if watchers:
        raise unsafe(
            connection, "The server's performance schema or an audit plugin would show it."
        )


def check_origins(cursor: Any, masked: frozenset[ColumnName]) -> None:
    """Refuse a result in which the server shows a masked column as it is stored.

    The server names the column behind a bare column of a result, and PyMySQL keeps that. It names
    none where a derived table stands between, so this is a safety net and no proof.

    Raises:
        IntegrityFailed: One would arrive.
    """
    known = {
        (column.table.schema.lower(), column.table.name.lower(), column.name.lower())
        for column in masked
    }
    fields = getattr(getattr(cursor, "_result", None), "fields", None) or ()
    for place, field in enumerate(fields, 1):
        schema = field.db.decode(errors="replace").lower()
        if (schema, field.org_table.lower(), field.org_name.lower()) in known:
            raise masked_column(place)


def table_versions(link: sa.Connection, tables: Collection[TableName]) -> tuple[SourceVersion, ...]:
    """The states of tables, as far as the server has seen them change since it started."""
    if not tables:
        return ()
    names = [text for table in sorted(tables) for text in (table.schema, table.name)]
    wanted = ", ".join(["(%s, %s)"] * len(tables))
    found = link.exec_driver_sql(VERSIONS_SQL.format(wanted), tuple(names))
    return tuple(
        SourceVersion(
            f"{schema}.{name}",
            "mariadb-table",
            f"{created:%Y%m%dT%H%M%S}:{changed:%Y%m%dT%H%M%S}",
            at.replace(tzinfo=UTC) if at is not None else None,
        )
        for schema, name, created, changed, at in found
    )


def check_rolls_back(connection: str, link: sa.Connection, tables: Collection[TableName]) -> None:
    """Make sure that nothing of a dry run is kept.

    Raises:
        BackendFailed: Something might be (``dry-run-unavailable``).
    """
    names = [text for table in sorted(tables) for text in (table.schema, table.name)]
    wanted = ", ".join(["(%s, %s)"] * len(tables))
    if not tables or link.exec_driver_sql(KEEPERS_SQL.format(wanted), tuple(names * 2)).first():
        raise BackendFailed(
            f"A write on connection {connection} cannot be tried and rolled back.",
            code="dry-run-unavailable",
            why="a table of it is not transactional, or has a trigger",
        )


def unsafe(connection: str, why: str) -> BackendFailed:
    """The error of a server that cannot be told the key."""
    return BackendFailed(
        f"The key of the pseudonyms is not safe on the server of connection {connection}.",
        code="pseudonym-key-unsafe",
        why=why,
        next_step=f"Run nbgov harden {connection}, or let the policy mask with redact.",
    )
