"""Why a statement that every rule permits is denied all the same: it could not keep a promise.

Each check looks at a :class:`~nbgov.core.policy.question.Question` and at the obligations that a
permit would carry. A mask hides the values of a column where a table is scanned; these are the
statements that would get around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nbgov.core.policy.masked_tokens import writes_token
from nbgov.core.policy.obligations import is_named, masked_columns
from nbgov.core.policy.question import Question
from nbgov.model import (
    Action,
    ColumnName,
    Flow,
    Obligation,
    RowFilter,
    TableName,
)

EVERY = "*"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a statement is denied: an error code, the reason, and what to do instead."""

    code: str
    why: str
    next_step: str


def refusals(question: Question, obligations: Sequence[Obligation]) -> Iterator[Refusal]:
    """Every reason to deny a statement that the rules permit, the gravest first."""
    for check in CHECKS:
        refusal = check(question, obligations)
        if refusal is not None:
            yield refusal


def explains_masked(question: Question, obligations: Sequence[Obligation]) -> Refusal | None:
    """A plan of a statement that reads protected data: estimates and counts are made of values."""
    statement = question.statement
    if not statement.plan:
        return None
    read = {ColumnName(use.table, name) for use in statement.tables for name in use.columns}
    masked = sorted(map(str, masked_columns(obligations) & read))
    filtered = [str(o.table) for o in obligations if isinstance(o, RowFilter)]
    if not (masked or filtered):
        return None
    why = f"{', '.join(masked)} is masked for you" if masked else f"{filtered[0]} has a row filter"
    return Refusal(
        "plan-shows-values",
        f"{why}, and a plan counts and estimates by stored values",
        "run the statement itself, or explain one that reads other columns",
    )


def raises_on_masked(question: Question, obligations: Sequence[Obligation]) -> Refusal | None:
    """An expression that fails for some values of a masked column, and so tells which."""
    raising = masked_columns(obligations) & question.statement.raising_columns
    if not raising:
        return None
    names = ", ".join(map(str, sorted(raising)))
    return Refusal(
        "masked-column-raises",
        f"values of {names}, masked for you, decide whether the statement fails",
        "leave out the conversion or the division, or use columns that are not masked for you",
    )


def reads_masked_in_write(question: Question, obligations: Sequence[Obligation]) -> Refusal | None:
    """A write that would read a masked column: its target cannot stand behind a projection."""
    statement, masked = question.statement, masked_columns(obligations)
    filtered = {o.table for o in obligations if isinstance(o, RowFilter)}
    for use in statement.tables:
        if use.action is Action.READ or statement.plan == "plan":
            continue
        touched = {ColumnName(use.table, name) for name in use.columns}
        if use.action is Action.UPDATE:
            touched |= {c for c in statement.written_columns if c.table == use.table}
        names = sorted(column.name for column in touched & masked)
        why = ""
        if names:
            why = f"{statement.verb} touches {', '.join(names)} of {use.table}, masked for you"
        elif use.table in filtered and not is_named(use.action):
            why = f"{use.table} has a row filter for you, which a {statement.verb} cannot keep"
        if why:
            return Refusal(
                "masked-column-in-write",
                why,
                "choose the rows by columns that are not masked for you",
            )
    return None


def defines_protected_view(question: Question, obligations: Sequence[Obligation]) -> Refusal | None:
    """A view over protected tables would freeze one person's masks into everybody's database."""
    statement = question.statement
    if "defines-view" not in statement.traits:
        return None
    protected = {column.table for column in masked_columns(obligations)}
    protected |= {o.table for o in obligations if isinstance(o, RowFilter)}
    read = sorted(protected & {u.table for u in statement.tables if u.action is Action.READ})
    if not read:
        return None
    return Refusal(
        "laundering",
        f"the view would show {read[0]}, which is masked or filtered for you",
        "ask the owner of the table for the view",
    )


def launders(question: Question, _: Sequence[Obligation]) -> Refusal | None:
    """A copy of sensitive columns into columns that do not carry their tags, whoever asks."""
    for flow in flows(question):
        carried = {tag.name for tag in question.tags(flow.target)}
        loose = {
            tag: source
            for tag, source in question.hidden_tags(flow.sources).items()
            if tag not in carried
        }
        if loose:
            tag, source = next(iter(loose.items()))
            return Refusal(
                "laundering",
                f"{source} carries the tag {tag}, and {flow.target} does not",
                f"tag the target in policy.yaml under {tag}, or leave the column out",
            )
    return None


def flows(question: Question) -> Iterator[Flow]:
    """What flows where; what is not certain flows from all that is read to all that is written."""
    statement = question.statement
    if statement.is_read or statement.plan == "plan":
        return
    yield from statement.flows
    if statement.is_resolved:
        return
    read = frozenset(
        ColumnName(use.table, name)
        for use in statement.tables
        if use.action is Action.READ
        for name in every_column(question, use.table)
    )
    for use in statement.tables:
        if use.action is not Action.READ:
            for name in every_column(question, use.table):
                yield Flow(ColumnName(use.table, name), read)


def every_column(question: Question, name: TableName) -> list[str]:
    """The columns of a table; a table that does not exist yet has one of any name."""
    table = question.catalog.tables.get(name)
    return [EVERY] if table is None else [column.name for column in table.columns]


def writes_masked_value(question: Question, obligations: Sequence[Obligation]) -> Refusal | None:
    """A value that one of our masks made, in the text or read: stored, it would pass for real.

    A table that is made anew may hold masks: nothing in it was ever real.
    """
    masked, tables = masked_columns(obligations), question.catalog.tables
    read = sorted(
        str(source)
        for flow in flows(question)
        if flow.target.table in tables
        for source in flow.sources & masked
    )
    if not (read or writes_token(question.statement)):
        return None
    return Refusal(
        "mask-token-written",
        f"{read[0]} is masked for you, and the mask would be stored in place of its values"
        if read
        else "a value in the statement is what a mask shows instead of the stored one",
        "write the real value, or leave the column out",
    )


CHECKS: tuple[Callable[[Question, Sequence[Obligation]], Refusal | None], ...] = (
    explains_masked,
    raises_on_masked,
    reads_masked_in_write,
    defines_protected_view,
    launders,
    writes_masked_value,
)
