"""What ``nbgov policy`` tells, as lines for people and as values that JSON holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from nbgov.core.case import describe
from nbgov.core.policy.backtest import BacktestReport
from nbgov.core.policy.diff import Change
from nbgov.core.policy.explain import Explanation
from nbgov.core.policy.lint import LintProblem
from nbgov.model import Obligation, Principal


def lint_lines(problems: Sequence[LintProblem]) -> Iterator[str]:
    """Problems for people."""
    for problem in problems:
        kind = "error" if problem.is_error else "remark"
        yield f"{problem.code}  {kind:<6} {problem.place}: {problem.message}"
        yield f"      next   {problem.next_step}"
    errors = sum(problem.is_error for problem in problems)
    yield f"{errors} errors, {len(problems) - errors} remarks."


def explain_lines(found: Explanation) -> Iterator[str]:
    """An explanation for people."""
    decision = found.decision
    yield f"{'permit' if decision.is_permitted else 'deny'}: {decision.reason}"
    yield from (f"  {describe(obligation)}" for obligation in decision.obligations)
    yield "rules"
    for rule in found.rules:
        yield f"  {rule.rule:<28} {rule.effect:<7} {rule.match.value:<12} {rule.detail}"
    yield "columns" if found.columns else "no columns"
    for column in found.columns:
        tags = [
            name if source == column.column else f"{name} (from {source})"
            for name, source in column.tags
        ]
        reads = f" reads as {column.mask}" if column.mask else ""
        yield f"  {column.column!s:<36} {', '.join(tags) or 'no tag'}{reads}"


def change_lines(change: Change) -> Iterator[str]:
    """A changed decision for people."""
    asked, old, new = change.asked, change.before, change.after
    yield f"{', '.join(change.kinds)}: {asked.id} for {asked.principal.name} on {asked.connection}"
    for label, answer in (("before", old), ("after", new)):
        told = [describe(o) for o in answer.obligations] or [answer.reason]
        yield f"  {label:<7} {answer.decision} {answer.code} {'; '.join(told)}".rstrip()


def backtest_lines(report: BacktestReport) -> Iterator[str]:
    """A backtest for people."""
    for effect in report.effects:
        yield (
            f"{', '.join(effect.kinds)}: {effect.count} times for {effect.principal} "
            f"on {effect.connection}, {effect.first_at:%Y-%m-%d} to {effect.last_at:%Y-%m-%d}"
        )
        yield f"  {effect.statement}"
        if effect.reason:
            yield f"  why     {effect.reason}"
    changed = sum(effect.count for effect in report.effects)
    yield f"{report.requests} requests, {report.decided} decided again, {changed} change."
    for reason, count in sorted(report.undecided.items()):
        yield f"{count} could not be decided: {reason}."


def plain(value: Any) -> Any:
    """A value as JSON holds it. The predicate of a row filter stays out."""
    match value:
        case Principal(name, groups, roles):
            found: Any = {"name": name, "groups": sorted(groups), "roles": sorted(roles)}
        case Enum():
            found = value.value
        case datetime():
            found = value.isoformat()
        case bytes():
            found = value.hex()
        case dict():
            found = {str(key): plain(item) for key, item in value.items()}
        case set() | frozenset():
            found = [plain(item) for item in sorted(value, key=str)]
        case list() | tuple():
            found = [plain(item) for item in value]
        case _:
            found = value_of(value)
    return found


def value_of(value: Any) -> Any:
    """A value of ours: an obligation in words, a name as it is written, others by their fields."""
    if isinstance(value, Obligation):
        return describe(value)
    if not dataclasses.is_dataclass(value):
        return value
    if type(value).__str__ is not object.__str__:
        return str(value)
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
