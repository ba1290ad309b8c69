"""What ``nbgov check`` says of a text, as plain values that JSON can hold.

A report has the same keys whatever the answer is: ``decision``, ``obligations``, ``effects``,
``codes``, ``tables``, ``columns``, ``rules``, ``reasons`` and ``sql``. Nothing here decides: a
verdict is translated, an error is a deny, and the worst of several is the answer for their text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, assert_never

from nbgov.core.policy import reported
from nbgov.errors import NbgovError
from nbgov.model import (
    ApprovalMode,
    ApprovalQuorum,
    ByteLimit,
    ColumnMask,
    ContentMask,
    Effect,
    Obligation,
    RowFilter,
    RowLimit,
    Statement,
    Verdict,
    WriteLimit,
)

Report: TypeAlias = dict[str, Any]
PERMIT, DENY = "permit", "deny"


def of_verdict(verdict: Verdict) -> Report:
    """The report of a statement that was decided.

    A mask is listed when the statement reads the column for more than its presence; ``columns`` are
    the base columns that it reads or writes.
    """
    statement, decision = verdict.statement, verdict.decision
    codes = [] if decision.is_permitted else [decision.code]
    if decision.code == "denied-by-guard":
        codes += decision.rules
    return {
        "decision": PERMIT if decision.is_permitted else DENY,
        "obligations": [shape(o) for o in reported(decision, statement)],
        "effects": sorted(statement.effects),
        "codes": codes,
        "tables": unique(str(use.table) for use in statement.tables),
        "columns": columns_of(statement),
        "rules": [*decision.rules],
        "reasons": [reason for reason in (decision.reason, decision.next_step) if reason],
        "sql": verdict.sql if decision.is_permitted else None,
    }


def of_error(error: NbgovError, effects: Iterable[Effect] = ()) -> Report:
    """The report of a statement that could not be decided, which is a deny.

    Args:
        error: Why.
        effects: What is known of what the text does; unknown where nothing is.
    """
    return {
        "decision": DENY,
        "obligations": [],
        "effects": sorted(effects) or [Effect.UNKNOWN],
        "codes": [error.code],
        "tables": [],
        "columns": [],
        "rules": [],
        "reasons": [part for part in (error.what, error.why, error.next_step) if part],
        "sql": None,
    }


def of_effects(effects: Iterable[Effect], codes: Iterable[str] = ()) -> Report:
    """The report of what a statement does, where nothing is decided."""
    return {"effects": sorted(effects), "codes": [*codes]}


def of_bug(error: Exception) -> Report:
    """The report of a statement on which nbgov broke: a deny with the code ``internal``.

    The error's own text stays out, since it may hold a value of the statement.
    """
    found = NbgovError(
        "Denied: nbgov failed on this statement.",
        code="internal",
        why=type(error).__name__,
        next_step="report it; the statement does not run",
    )
    return of_error(found)


def join(reports: Sequence[Report]) -> Report:
    """The report of a text that holds several statements: all of it, and the worst decision."""
    if len(reports) == 1:
        return reports[0]
    joined: Report = {}
    for key, first in reports[0].items():
        values = [report[key] for report in reports]
        if isinstance(first, list):
            joined[key] = unique(item for value in values for item in value)
        elif key == "decision":
            joined[key] = DENY if DENY in values else PERMIT
        else:
            joined[key] = None if None in values else "; ".join(values)
    return joined | {"effects": sorted(joined["effects"])}


def shape(obligation: Obligation) -> Report:
    """An obligation by its kind. The predicate of a row filter is the policy's own business."""
    shaped: Report
    match obligation:
        case ColumnMask(column, kind, tag):
            shaped = {"kind": "mask", "column": str(column), "mask": kind.value, "tag": tag}
        case RowFilter(table, _):
            shaped = {"kind": "filter", "table": str(table)}
        case RowLimit(rows_max):
            shaped = {"kind": "limit", "rows": rows_max}
        case ByteLimit(bytes_max):
            shaped = {"kind": "limit", "bytes": bytes_max}
        case WriteLimit(rows_max):
            shaped = {"kind": "limit", "changed": rows_max}
        case ContentMask(entities, score_min, _, operators):
            shaped = {"kind": "content", "entities": [*entities], "score_min": score_min}
            shaped |= {"operators": dict(operators)} if operators else {}
        case ApprovalQuorum(rule, names, groups, roles, votes, mode):
            audience = {"names": names, "groups": groups, "roles": roles}
            by = {part: sorted(held) for part, held in audience.items() if held}
            shaped = {"kind": "approval", "rule": rule, "votes": votes, "by": by}
            shaped |= {"mode": mode.value} if mode is not ApprovalMode.ONCE else {}
        case _:
            assert_never(obligation)
    return shaped


def lines(report: Report) -> Iterator[tuple[str, str]]:
    """A report as labelled lines for people; a label stands once."""
    for key, value in report.items():
        items = value if isinstance(value, list) else [value]
        told = [sentence(item) if isinstance(item, dict) else item for item in items if item]
        for place, text in enumerate(told):
            yield ("" if place else key), text


def sentence(obligation: Report) -> str:
    """An obligation as a line: its kind, then what it is about."""
    kind, *rest = obligation.items()
    parts = [f"{name} {words(value)}" for name, value in rest]
    return f"{kind[1]:<8} {', '.join(parts)}"


def words(value: Any) -> str:
    """A value of an obligation as text."""
    if isinstance(value, dict):
        return " ".join(f"{name} {words(part)}" for name, part in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)


def columns_of(statement: Statement) -> list[str]:
    """The base columns that a statement reads or writes, by name."""
    read = {f"{use.table}.{name}" for use in statement.tables for name in use.columns}
    return sorted(read | {str(column) for column in statement.written_columns})


def unique(items: Iterable[Any]) -> list[Any]:
    """The items in order, each once. Reports hold mappings, which cannot be hashed."""
    kept: list[Any] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept
