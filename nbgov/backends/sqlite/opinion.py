"""What SQLite itself makes of a text when it prepares it, seen through its authorizer.

Nothing runs. SQLite resolves every name, also through views, and names every function, PRAGMA and
kind of change, so there is nothing to parse here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from nbgov.backends.sqlite.transaction import reason
from nbgov.core.statement import tokenize
from nbgov.errors import RequestInvalid
from nbgov.model import ColumnName, Effect, EngineOpinion, TableName

MAIN = "main"
CODES = {"no such table": "unknown-table", "no such column": "unknown-column"}
# The PRAGMAs that tell how a table is made and change nothing, whatever stands in parentheses.
READ_PRAGMAS = {
    "foreign_key_list", "index_info", "index_list", "index_xinfo", "table_info", "table_list",
    "table_xinfo",
}  # fmt: skip
# Those that tell something about the build or the file, as long as they are not given a value.
BARE_PRAGMAS = {
    "collation_list", "compile_options", "encoding", "foreign_keys", "function_list", "module_list",
    "pragma_list", "schema_version", "user_version",
}  # fmt: skip
EFFECTS: Mapping[int, Effect] = {
    **dict.fromkeys(
        (
            sqlite3.SQLITE_ALTER_TABLE,
            sqlite3.SQLITE_CREATE_TEMP_INDEX,
            sqlite3.SQLITE_CREATE_TEMP_TABLE,
            sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
            sqlite3.SQLITE_CREATE_TEMP_VIEW,
            sqlite3.SQLITE_CREATE_TRIGGER,
            sqlite3.SQLITE_CREATE_VTABLE,
            sqlite3.SQLITE_DROP_INDEX,
            sqlite3.SQLITE_DROP_TABLE,
            sqlite3.SQLITE_DROP_TEMP_INDEX,
            sqlite3.SQLITE_DROP_TEMP_TABLE,
            sqlite3.SQLITE_DROP_TEMP_TRIGGER,
            sqlite3.SQLITE_DROP_TEMP_VIEW,
            sqlite3.SQLITE_DROP_TRIGGER,
            sqlite3.SQLITE_DROP_VIEW,
            sqlite3.SQLITE_DROP_VTABLE,
        ),
        Effect.DDL,
    ),
    sqlite3.SQLITE_ANALYZE: Effect.MAINTENANCE,
    sqlite3.SQLITE_PRAGMA: Effect.SESSION,
    sqlite3.SQLITE_SAVEPOINT: Effect.SESSION,
    sqlite3.SQLITE_TRANSACTION: Effect.SESSION,
    sqlite3.SQLITE_ATTACH: Effect.FILE,
    sqlite3.SQLITE_DETACH: Effect.FILE,
}
# What is made to be read later; SQLite names the tables behind it when it is not denied.
ADDITIONS = {
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_REINDEX,  # A new index is filled by this.
}
CHANGES = {sqlite3.SQLITE_DELETE, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE}
READS = {sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_SELECT}
SCHEMA_TABLE = "sqlite_master"
# Table functions of the build. SQLite declares one at its first use, which looks like a change of
# the schema, so they are used once beforehand; any other one keeps looking like a change.
TABLE_FUNCTIONS = ("json_each", "json_tree", *(f"pragma_{name}" for name in sorted(READ_PRAGMAS)))
DECLARE_SQL = " ".join(["SELECT 1 FROM", ", ".join(TABLE_FUNCTIONS), "LIMIT 0"])
# What stands behind the AS of a CTE.
AS_QUERY = {"(", "materialized", "not"}
OBJECTS_SQL = "SELECT lower(name), type FROM sqlite_schema"


def opinion(link: sqlite3.Connection, sql: str) -> EngineOpinion:
    """What SQLite makes of a text when it prepares it; nothing runs.

    The tables and columns are those that the text itself names. What a view or a trigger reads on
    its behalf is left out, and SQLite has resolved every name, so each has a schema. The functions
    are all that are called, behind views too.

    Args:
        link: A connection of its own, onto the database that the text is about.
        sql: The text.

    Raises:
        RequestInvalid: SQLite cannot prepare the text.
    """
    is_explain = tokenize(sql, "sqlite")[0].text.upper() == "EXPLAIN"
    link.execute(DECLARE_SQL)
    witness = Witness(dict(link.execute(OBJECTS_SQL).fetchall()), defined_names(sql))
    link.set_authorizer(witness.note)
    try:
        link.execute(sql if is_explain else f"EXPLAIN {sql}")
    except (sqlite3.Error, sqlite3.Warning) as error:
        if "one statement at a time" in str(error):
            return EngineOpinion(statements=2)
        if witness.is_denied:
            return EngineOpinion(statements=1, effects=witness.effects())
        raise invalid(error) from None
    finally:
        link.set_authorizer(None)
    return witness.opinion(is_explain=is_explain)


def defined_names(sql: str) -> set[str]:
    """The names that a text may define in a WITH: those before ``(``, and before ``AS (``.

    Example:
        >>> sorted(defined_names("WITH a(x) AS (SELECT 1), B AS (SELECT 2) SELECT * FROM t AS c"))
        [')', 'a', 'as', 'b']
    """
    words = [token.text.lower() for token in tokenize(sql, "sqlite")]
    return {
        name
        for name, *behind in zip(words, words[1:], [*words[2:], ""], strict=False)
        if behind[0] == "(" or (behind[0] == "as" and behind[1] in AS_QUERY)
    }


class Witness:
    """Watches SQLite prepare one statement and notes what it touches.

    Args:
        objects: The kind of everything that the database holds, by lower-case name.
        defined: Names that the text itself may define, lower case.
    """

    def __init__(self, objects: Mapping[str, str], defined: AbstractSet[str]) -> None:
        self._objects = objects
        self._defined = defined
        self._seen: set[tuple[str, str, str, str]] = set()
        self._effects: set[Effect] = set()
        self._functions: set[str] = set()
        self.is_denied = False

    def opinion(self, *, is_explain: bool) -> EngineOpinion:
        """The opinion, once the statement is prepared. A plan is read, whatever it is of."""
        named = [seen for seen in self._seen if self._is_named(seen)]
        columns = {
            ColumnName(TableName(schema, table), column)
            for schema, table, column, _ in named
            if column not in {"", "ROWID"}
        }
        return EngineOpinion(
            statements=1,
            effects=frozenset({Effect.READ}) if is_explain else self.effects(),
            tables=frozenset(TableName(schema, table) for schema, table, _, _ in named),
            functions=frozenset(self._functions),
            columns=frozenset(columns),
        )

    def effects(self) -> frozenset[Effect]:
        """What was seen so far. Nothing at all is what VACUUM shows."""
        changes = self._effects - {Effect.READ}
        return frozenset(changes or self._effects or {Effect.UNKNOWN})

    def note(
        self,
        action: int,
        first: str | None,
        second: str | None,
        schema: str | None,
        via: str | None,
    ) -> int:
        """Note one action, and whether SQLite may go on preparing."""
        if action == sqlite3.SQLITE_FUNCTION:
            self._functions.add((second or "").lower())
        elif action in READS:
            self._effects.add(Effect.READ)
            if action == sqlite3.SQLITE_READ:
                self._note_table(schema, first, second, via)
        elif action in CHANGES and first == SCHEMA_TABLE:
            self._effects.add(Effect.DDL)
        elif action in CHANGES:
            self._effects.add(Effect.WRITE)
            self._note_table(schema, first, "", via)
        elif action in ADDITIONS:
            self._effects.add(Effect.DDL)
        elif action == sqlite3.SQLITE_PRAGMA and is_read_pragma(first, second):
            self._effects.add(Effect.READ)
        else:
            # Security: some PRAGMAs act while they are prepared, even under EXPLAIN.
            self._effects.add(EFFECTS.get(action, Effect.UNKNOWN))
            self.is_denied = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _note_table(
        self, schema: str | None, table: str | None, column: str | None, via: str | None
    ) -> None:
        """Note a table, or a function that is read like one."""
        name = table or ""
        if name.lower() in TABLE_FUNCTIONS and name.lower() not in self._objects:
            self._functions.add(name.lower())
        elif name != SCHEMA_TABLE or Effect.DDL not in self._effects:
            self._seen.add((schema or MAIN, name, column or "", (via or "").lower()))

    def _is_named(self, seen: tuple[str, str, str, str]) -> bool:
        """Whether the text names the table itself.

        SQLite also gives the name of a CTE here, as what is read and as what reads. Only a view
        that the text really reads, or a trigger of a write, stands between the text and a table.
        """
        _, name, _, via = seen
        if name.lower() in self._defined - self._objects.keys():
            return False
        match self._objects.get(via):
            case "view" if via not in self._defined:
                return False
            case "view":
                return not any(table.lower() == via for _, table, _, _ in self._seen)
            case "trigger":
                return Effect.WRITE not in self._effects
        return True


def is_read_pragma(name: str | None, value: str | None) -> bool:
    """Whether a PRAGMA only tells."""
    known = READ_PRAGMAS if value is not None else READ_PRAGMAS | BARE_PRAGMAS
    return (name or "").lower() in known


def invalid(error: sqlite3.Error | sqlite3.Warning) -> RequestInvalid:
    """The error for a text that SQLite cannot prepare."""
    why = reason(getattr(error, "sqlite_errorname", ""), str(error))
    code = next((code for known, code in CODES.items() if known in why), "syntax")
    return RequestInvalid("SQLite cannot prepare the statement.", code=code, why=why)
