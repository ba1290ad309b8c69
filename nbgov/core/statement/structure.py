"""A statement that is no query and no write: what it does, told from its first words.

Every head that is not listed is unknown, and nobody may run what is unknown. The few forms that add
something and take nothing away are understood in full by
:mod:`nbgov.core.statement.definitions`; of the rest it is enough to know the kind and to list the
tables that are named, for the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from nbgov.core.statement.definitions import understand_definition
from nbgov.core.statement.verbs import VERBS
from nbgov.core.statement.words import Word, words_of
from nbgov.model import Action, Catalog, Effect, Statement, TableName, TableUse

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

# Words that the effects of a text alone need not tell apart.
HEADS: Mapping[str, Effect] = {
    **VERBS,
    **dict.fromkeys(("PRAGMA", "XA"), Effect.SESSION),
    **dict.fromkeys(("SECURITY",), Effect.DCL),
    **dict.fromkeys(("PREPARE",), Effect.EXEC),
    **dict.fromkeys(("UNINSTALL",), Effect.FILE),
    **dict.fromkeys(
        ("BACKUP", "BINLOG", "CACHE", "CLONE", "REPACK", "RESTART"), Effect.MAINTENANCE
    ),
}
# What these words name after CREATE, ALTER, DROP, SET or COMMENT ON is about rights.
RIGHTS = {"ROLE", "USER", "GROUP", "POLICY", "AUTHORIZATION", "PASSWORD", "OWNER", "PRIVILEGES"}
RIGHTS_PAIRS = {
    ("ROW", "LEVEL"), ("ROW", "SECURITY"), ("SESSION", "AUTHORIZATION"), ("OWNER", "TO"),
    ("DEFAULT", "PRIVILEGES"), ("DEFAULT", "ROLE"), ("USER", "MAPPING"), ("LOCAL", "ROLE"),
    ("SESSION", "ROLE"),
}  # fmt: skip
# Statements whose kind is told by more than their first word.
LONGER_HEADS: Mapping[tuple[str, ...], Effect] = {
    ("ALTER", "SYSTEM"): Effect.SESSION,
    ("EXECUTE", "IMMEDIATE"): Effect.EXEC,
    ("IMPORT", "FOREIGN"): Effect.DDL,
    ("CREATE", "SERVER"): Effect.FILE,
    ("CREATE", "SUBSCRIPTION"): Effect.FILE,
    ("CREATE", "SECRET"): Effect.FILE,
    ("CREATE", "PERSISTENT", "SECRET"): Effect.FILE,
    ("RESET", "MASTER"): Effect.MAINTENANCE,
    ("START", "SLAVE"): Effect.MAINTENANCE,
    ("START", "REPLICA"): Effect.MAINTENANCE,
}
NAMED_ACTIONS: Mapping[str, Action] = {
    "COPY": Action.READ, "DROP": Action.DROP, "TRUNCATE": Action.DELETE, "HANDLER": Action.READ,
    "DECLARE": Action.READ, "PREPARE": Action.READ, "EXPORT": Action.READ, "LOAD": Action.INSERT,
    "ANALYZE": Action.MAINTAIN, "VACUUM": Action.MAINTAIN, "REFRESH": Action.MAINTAIN,
    "REINDEX": Action.MAINTAIN, "OPTIMIZE": Action.MAINTAIN, "CLUSTER": Action.MAINTAIN,
}  # fmt: skip


def understand_structure(head: Statement, tokens: Sequence[Token], catalog: Catalog) -> Statement:
    """The statement behind a text that is no query and no write.

    Args:
        head: The statement as far as its tokens tell.
        tokens: The tokens of the statement.
        catalog: What the connection holds.
    """
    words = words_of(tokens)
    effect = effect_of(words, head.dialect)
    told = replace(head, verb=words[0].upper or head.verb, effects=frozenset({effect}))
    if effect in {Effect.DDL, Effect.MAINTENANCE}:
        found = understand_definition(told, words, catalog)
        if found is not None:
            return found
    return replace(told, tables=named_tables(words, catalog))


def effect_of(words: Sequence[Word], dialect: str) -> Effect:
    """What a statement does, by its first words."""
    uppers = [word.upper for word in words]
    verb = uppers[0]
    for size in (3, 2):
        if tuple(uppers[:size]) in LONGER_HEADS:
            return LONGER_HEADS[tuple(uppers[:size])]
    effect = HEADS.get(verb, Effect.UNKNOWN)
    is_right = uppers[1:2] != [] and uppers[1] in RIGHTS
    is_right |= any(pair in RIGHTS_PAIRS for pair in pairwise(uppers))
    if is_right and verb in {"ALTER", "CREATE", "DROP", "SET", "RESET", "RENAME"}:
        return Effect.DCL
    if verb == "ANALYZE" and dialect == "mysql" and uppers[1:2] != ["TABLE"]:
        # Security: MariaDB's ANALYZE <statement> runs the statement.
        return Effect.UNKNOWN
    return effect


def named_tables(words: Sequence[Word], catalog: Catalog) -> tuple[TableUse, ...]:
    """The tables whose names occur in a statement that is not parsed further, for its record."""
    by_name: dict[str, list[TableName]] = {}
    for table in catalog.tables:
        by_name.setdefault(table.name.lower(), []).append(table)
    action = NAMED_ACTIONS.get(words[0].upper, Action.ALTER)
    return tuple(
        TableUse(table, action, word.span, has_alias=False, columns=frozenset())
        for word in words
        for table in by_name.get(word.text.lower(), ())
    )
