"""What a PostgreSQL database holds, and a cheap proof that it still holds the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from nbgov.model import Catalog, Column, ColumnName, Effect, Table, TableName

DIALECT = "postgres"
# Objects below this number came with the server (access/transam.h, FirstNormalObjectId).
USER_NUMBER_MIN = 16_384
KINDS = {"v": "view", "m": "view", "f": "foreign"}
# Two equal snapshots see the same rows, whatever they are.
SNAPSHOT_SQL = "SELECT current_schema()::text, pg_current_snapshot()::text"
# A definition spells every name that this path does not find with its schema.
PIN_SQL = """
    SELECT set_config(
        'search_path', concat_ws(', ', quote_ident(current_schema()), 'pg_temp'), false
    )
"""
# Any change of a row in these tables leaves a version with another xmin or ctid.
VERSIONS_SQL = f"""
    SELECT count(*), sum(hashtextextended(concat_ws(' ', place, xmin, ctid), 0))::text
    FROM (
        SELECT 1 AS place, xmin, ctid FROM pg_class WHERE oid >= {USER_NUMBER_MIN}
        UNION ALL SELECT 2, xmin, ctid FROM pg_attribute WHERE attrelid >= {USER_NUMBER_MIN}
        UNION ALL SELECT 3, xmin, ctid FROM pg_rewrite WHERE ev_class >= {USER_NUMBER_MIN}
        UNION ALL SELECT 4, xmin, ctid FROM pg_inherits
        UNION ALL SELECT 5, xmin, ctid FROM pg_namespace
        UNION ALL SELECT 6, xmin, ctid FROM pg_proc WHERE oid >= {USER_NUMBER_MIN}
        UNION ALL SELECT 7, xmin, ctid FROM pg_type WHERE oid >= {USER_NUMBER_MIN}
    ) AS versions
"""  # noqa: S608  # A number of our own.
TABLES_SQL = """
    SELECT s.nspname::text, r.relname::text, r.oid::bigint, r.relkind::text,
           CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) ELSE '' END,
           (SELECT string_agg(i.inhparent::text, ' ' ORDER BY i.inhseqno)
            FROM pg_inherits i WHERE i.inhrelid = r.oid),
           a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.attgenerated <> '' OR a.attidentity = 'a', coalesce(a.attnum = ANY(k.conkey), false)
    FROM pg_class r
    JOIN pg_namespace s ON s.oid = r.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype = 'p'
    WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND s.nspname <> 'information_schema' AND s.nspname NOT LIKE 'pg\\_%'
    ORDER BY s.nspname, r.relname, a.attnum
"""
FUNCTIONS_SQL = f"""
    SELECT DISTINCT lower(s.nspname || '.' || p.proname)
    FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE p.oid >= {USER_NUMBER_MIN}
"""  # noqa: S608  # A number of our own.


# One word tells what an owner may do by itself. What roles belong to one another is left out.
GRANTS_SQL = f"""
    SELECT number, concat(
        right_to, column_name, ' to ',
        CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee) END,
        CASE WHEN is_grantable THEN ' with grant option' ELSE '' END
    )
    FROM (
        SELECT r.oid::bigint AS number, 'OWNER' AS right_to, '' AS column_name,
               r.relowner AS grantee, false AS is_grantable
        FROM pg_class r WHERE r.oid >= {USER_NUMBER_MIN}
        UNION ALL
        SELECT r.oid::bigint, x.privilege_type, '', x.grantee, x.is_grantable
        FROM pg_class r CROSS JOIN aclexplode(r.relacl) x
        WHERE r.oid >= {USER_NUMBER_MIN} AND x.grantee <> r.relowner
        UNION ALL
        SELECT a.attrelid::bigint, x.privilege_type, format(' (%s)', a.attname), x.grantee,
               x.is_grantable
        FROM pg_attribute a CROSS JOIN aclexplode(a.attacl) x
        WHERE a.attrelid >= {USER_NUMBER_MIN} AND NOT a.attisdropped
    ) AS rights
"""  # noqa: S608  # A number of our own.


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds.

    Attributes:
        catalog: Tables, views and functions.
        columns: The columns by the numbers that the server gives them in a row description.
        numbers: The number that the server gives each table.
    """

    catalog: Catalog
    columns: Mapping[tuple[int, int], ColumnName]
    numbers: Mapping[TableName, int]


class ContentsReader:
    """Reads what one database holds, and again only when that may have changed.

    Args:
        ask: Runs a query on a connection that begins no transaction of its own.
    """

    def __init__(self, ask: Callable[[str], list[tuple[Any, ...]]]) -> None:
        self._ask = ask
        self._snapshot: tuple[Any, ...] = ()
        self._versions: tuple[Any, ...] = ()
        self._contents: Contents | None = None

    def read(self) -> Contents:
        """What the database holds now; the same object while it holds the same."""
        [snapshot] = self._ask(SNAPSHOT_SQL)
        if self._contents is None or snapshot != self._snapshot:
            # The proof is older than what it stands for: a change in between shows next time.
            [versions] = self._ask(VERSIONS_SQL)
            proof = (snapshot[0], *versions)
            if self._contents is None or proof != self._versions:
                self._contents = self._read_all(snapshot[0] or "")
                self._versions = proof
            self._snapshot = snapshot
        return self._contents

    def numbers(self, tables: Iterable[TableName]) -> dict[int, TableName]:
        """The tables by their numbers, as far as they were there when the contents were read."""
        known = self._contents.numbers if self._contents is not None else {}
        return {known[table]: table for table in tables if table in known}

    def _read_all(self, default_schema: str) -> Contents:
        """Everything anew, with names as the pinned search path spells them."""
        self._ask(PIN_SQL)
        try:
            rows, functions = self._ask(TABLES_SQL), self._ask(FUNCTIONS_SQL)
            grants = self._ask(GRANTS_SQL)
        finally:
            self._ask("RESET search_path")
        return contents_of(
            rows, [name for (name,) in functions], grants, default_schema=default_schema
        )


def contents_of(
    rows: Sequence[Any],
    functions: Iterable[str],
    grants: Iterable[Sequence[Any]],
    *,
    default_schema: str,
) -> Contents:
    """The contents for the rows of the queries for tables and grants."""
    granted: dict[int, list[str]] = {}
    for number, told in grants:
        granted.setdefault(number, []).append(told)
    names = {row[2]: TableName(row[0], row[1]) for row in rows}
    tables: dict[TableName, Table] = {}
    numbered: dict[tuple[int, int], ColumnName] = {}
    for number, grouped in groupby(rows, key=lambda row: row[2]):
        columns = list(grouped)
        held = [row for row in columns if row[6] is not None]
        _, _, _, kind, definition, parents, *_ = columns[0]
        name = names[number]
        tables[name] = Table(
            name,
            tuple(Column(*row[7:11]) for row in held),
            kind=KINDS.get(kind, "table"),
            definition=definition.strip().rstrip(";"),
            parents=tuple(names[int(parent)] for parent in (parents or "").split()),
            key=tuple(row[7] for row in held if row[11]),
            grants=tuple(sorted(granted.get(number, ()))),
        )
        numbered |= {(number, row[6]): ColumnName(name, row[7]) for row in held}
    effects = dict.fromkeys(functions, Effect.UNKNOWN)
    numbers = {name: number for number, name in names.items()}
    return Contents(Catalog(DIALECT, default_schema, tables, effects), numbered, numbers)
