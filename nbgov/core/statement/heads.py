"""What stands before a statement and only asks about it: EXPLAIN in every engine's spelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nbgov.core.statement.names import not_understood
from nbgov.model import Action, Effect, Statement

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

PLAN = "plan"
ANALYZE = "analyze"
# Words that a statement may begin with which can be explained.
BEGINNINGS = {
    "(", "DELETE", "FROM", "INSERT", "MERGE", "REPLACE", "SELECT", "TABLE", "UPDATE", "VALUES",
    "WITH",
}  # fmt: skip
OPTIONS = {
    "ANALYZE", "BUFFERS", "COSTS", "FORMAT", "GENERIC_PLAN", "MEMORY", "SERIALIZE", "SETTINGS",
    "SUMMARY", "TIMING", "VERBOSE", "WAL",
}  # fmt: skip
YES, NO = {"", "1", "ON", "TRUE"}, {"0", "FALSE", "OFF"}
MYSQL_WORDS = {"EXTENDED", "PARTITIONS"}
QUERIES = {"FROM", "SELECT", "VALUES", "WITH"}


def explain_head(tokens: Sequence[Token], dialect: str) -> tuple[str, int] | None:
    """What a statement asks about another one, and the index of the token where that one begins.

    Returns:
        ``plan`` or ``analyze`` with the index, or ``None`` where it asks about none.

    Raises:
        Denied: It asks with an option that is not known.
    """
    words = [token.text.upper() for token in tokens]
    kind, start = None, 1
    if words[0] == "EXPLAIN" and dialect in {"duckdb", "postgres"}:
        kind, start = explain_options(words)
    elif words[0] == "EXPLAIN" and dialect == "sqlite":
        kind, start = PLAN, 3 if words[1:3] == ["QUERY", "PLAN"] else 1
    elif words[0] in {"ANALYZE", "DESC", "DESCRIBE", "EXPLAIN"} and dialect == "mysql":
        kind, start = mysql_options(words)
    elif words[0] in {"DESC", "DESCRIBE"} and dialect == "duckdb" and words[1:2] != []:
        kind = PLAN if words[1] in QUERIES else None
    if kind is None or start >= len(words):
        return None
    return kind, start


def explain_options(words: Sequence[str]) -> tuple[str, int]:
    """What the options behind EXPLAIN of PostgreSQL and DuckDB ask for, and where they end."""
    if words[1:2] == ["("] and words[2:3] and words[2] not in BEGINNINGS:
        end = words.index(")") if ")" in words else len(words)
        kind = PLAN
        for option in split_at_commas(words[2:end]):
            if option[0] not in OPTIONS:
                raise not_understood("an option of EXPLAIN is not known")
            if option[0] != "ANALYZE":
                continue
            value = option[1] if len(option) > 1 else ""
            if value not in YES | NO:
                raise not_understood("an option of EXPLAIN is not known")
            kind = ANALYZE if value in YES else PLAN
        return kind, end + 1
    kind, start = PLAN, 1
    if words[1:2] in (["ANALYZE"], ["ANALYSE"]):
        kind, start = ANALYZE, 2
    return kind, start + (words[start : start + 1] == ["VERBOSE"])


def split_at_commas(words: Sequence[str]) -> list[list[str]]:
    """The options between two brackets."""
    options: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            options.append([])
        else:
            options[-1].append(word)
    return [option for option in options if option]


def mysql_options(words: Sequence[str]) -> tuple[str | None, int]:
    """What MySQL and MariaDB are asked for, and where the statement begins, if there is one."""
    if words[:2] == ["ANALYZE", "TABLE"]:
        # This gathers statistics of a table, and asks about no statement.
        return None, 1
    kind, start = (ANALYZE if words[0] == "ANALYZE" else PLAN), 1
    while start < len(words) and words[start] not in BEGINNINGS:
        if words[start] == "FORMAT" and words[start + 1 : start + 2] == ["="]:
            start += 3
        elif words[start] == "ANALYZE":
            kind, start = ANALYZE, start + 1
        elif words[start] in MYSQL_WORDS:
            start += 1
        else:
            return None, start
    return kind, start


def explained(inner: Statement, sql: str, redacted: str, kind: str) -> Statement:
    """The statement that asks about another one.

    A plan runs nothing, so that it only reads, whatever the other one would do.
    """
    shell = replace(inner, sql=sql, redacted=redacted, verb="EXPLAIN", plan=kind)
    if kind == ANALYZE or not inner.effects <= {Effect.READ, Effect.WRITE}:
        return shell
    return replace(
        shell,
        effects=frozenset({Effect.READ}),
        tables=tuple(replace(use, action=Action.READ) for use in inner.tables),
        flows=(),
        traits=frozenset(),
    )
