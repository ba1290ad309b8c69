"""What digests and counts alone say of two versions: rows, schema, and which columns changed.

Nothing here is a guess. Where the rest of a table is provably the same rows, a column that changed
is a certain cause, however little statistics see of it: labels that were flipped at random keep
their shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbgov.core.checks import listed
from nbgov.core.drift.inputs import DigestedColumn, InputPair, profile_columns
from nbgov.core.drift.nesting import nesting
from nbgov.core.drift.report import Cause, percent

ROWS_CHANGE_MIN = 0.2
# What a certain change counts for where nobody can tell how many rows it touched.
CERTAIN_EFFECT = 0.01
# Equal digests of columns with so many different values together, less one each, are no chance:
# a column of two values that was drawn anew has equal counts once in thirty times.
FREEDOM_MIN = 20
# Numbers of these types are compared as numbers, so another type of them is little by itself.
EXACT_NUMBERS = frozenset({"int", "float", "decimal"})

Columns = Mapping[str, DigestedColumn]


def row_causes(pair: InputPair) -> Iterator[Cause]:
    """Rule 6: the number of rows. A small change is a remark."""
    before, after = (version.rows for version in pair.known)
    if before == after:
        return
    change = (after - before) / before if before else 1.0
    is_large = abs(change) > ROWS_CHANGE_MIN
    sign = "+" if change > 0 else "-"
    # Where all counts only grew or only shrank, the rest of the rows is what it was.
    nested = nesting(pair)
    rest = {"part": ", nothing but rows gone", "whole": ", nothing but rows added"}.get(nested, "")
    yield Cause(
        "rows",
        pair.name,
        f"{pair.name}: rows {before:,} -> {after:,} ({sign}{percent(abs(change))}){rest}",
        abs(after - before) / max(before, after) if is_large else 0.0,
        {"baseline": before, "current": after, "is_nested": bool(nested)},
    )


def schema_causes(pair: InputPair, left: Columns, right: Columns) -> Iterator[Cause]:
    """Columns added, removed, renamed, retyped or moved."""
    added = {label: right[label] for label in right if label not in left}
    removed = {label: left[label] for label in left if label not in right}
    for label, column in list(added.items()):
        origin = [key for key, gone in removed.items() if column.has_values_of(gone)]
        if column.nonnull and len(origin) == 1:
            old = removed.pop(origin[0])
            del added[label]
            sentence = f"renamed from {old.name}, values same"
            yield schema_cause(pair, column.name, sentence, 1.0)
    for column in added.values():
        nothing = "" if column.nonnull else ", NULL throughout"
        yield schema_cause(pair, column.name, f"column added{nothing}", 1.0)
    for column in removed.values():
        yield schema_cause(pair, column.name, "column removed", 1.0)
    shared = [label for label in right if label in left]
    for label in shared:
        old, new = left[label], right[label]
        if old.type != new.type:
            is_equal = new.has_values_of(old)
            what = "type changed, values same" if is_equal else "type changed"
            sentence = f"{what}: {old.type} -> {new.type}"
            effect = CERTAIN_EFFECT if {old.type, new.type} <= EXACT_NUMBERS else 1.0
            yield schema_cause(pair, new.name, sentence, 0.0 if is_equal else effect)
    if shared != [label for label in left if label in right]:
        sentence = f"{pair.name}: columns stand in another order"
        yield Cause("schema", pair.name, sentence, 0.0)


def schema_cause(pair: InputPair, name: str, what: str, effect: float) -> Cause:
    """A cause about one column of the schema."""
    subject = pair.prefix + name
    return Cause("schema", subject, f"{subject}: {what}", effect)


# ---------------------------------------------------------------- values


def value_causes(
    pair: InputPair,
    left: Columns,
    right: Columns,
    *,
    ignored: frozenset[str],
    seen: frozenset[str],
) -> Iterator[Cause]:
    """Which columns hold other values; or that none does, and rows combine them otherwise.

    Args:
        pair: Versions that hold other rows.
        left: Columns of the baseline.
        right: Columns of the current run.
        ignored: Names of columns that the terms leave out.
        seen: Names of columns of which more is known already.
    """
    shared = [label for label in right if label in left]
    unequal = [label for label in shared if not right[label].has_values_of(left[label])]
    known = [label for label in unequal if right[label].has_other_values(left[label])]
    is_certain = are_same_rows(pair, [label for label in shared if label not in unequal])
    # What is merely not known to be equal is no certain cause beside what is known to be another.
    changed = known if known and is_certain else unequal
    told = [right[label].name for label in changed if right[label].name not in ignored]
    if told:
        is_alone = {right[label].name for label in unequal} - ignored <= pair.labels
        yield from label_causes(pair, told, is_certain=is_certain, is_alone=is_alone)
        features = [name for name in told if name not in pair.labels]
        if features:
            is_news = is_certain and seen.isdisjoint(features)
            yield other_values(pair, features, columns=len(right), is_certain=is_news)
    elif not changed and len(shared) == len(left) == len(right) and has_same_size(pair):
        sentence = f"{pair.name}: rows combine the same values of each column otherwise"
        yield Cause("pairing", pair.name, sentence, CERTAIN_EFFECT, {"is_certain": True})


def has_same_size(pair: InputPair) -> bool:
    """Whether both versions hold as many rows."""
    return pair.known[0].rows == pair.known[1].rows


def are_same_rows(pair: InputPair, equal: Sequence[str]) -> bool:
    """Whether the columns with equal digests show that the rows are those of the baseline."""
    if not has_same_size(pair):
        return False
    figures = profile_columns(pair.known[1])
    counts: list[Any] = [figures[label]["distinct"] for label in equal if label in figures]
    freedom: int = sum(max(0, count - 1) for count in counts)
    return freedom >= FREEDOM_MIN


def label_causes(
    pair: InputPair, changed: Sequence[str], *, is_certain: bool, is_alone: bool
) -> Iterator[Cause]:
    """Other labels for the same features, or for most of them."""
    labels = [name for name in changed if name in pair.labels]
    if not labels or not is_certain:
        return
    features = "the same features" if is_alone else f"the same rows as {pair.name} had"
    for name in labels:
        subject = pair.prefix + name
        sentence = f"{subject}: other labels for {features}"
        yield Cause("labels", subject, sentence, CERTAIN_EFFECT, {"is_certain": True})


def other_values(pair: InputPair, names: Sequence[str], *, columns: int, is_certain: bool) -> Cause:
    """The summary of columns that hold other values, a remark unless the rows are the same."""
    if not is_certain:
        sentence = f"{len(names)} of {columns} columns hold other values: {listed(names)}"
        return Cause("values", pair.name, f"{pair.name}: {sentence}", 0.0, {"columns": [*names]})
    subject = pair.prefix + names[0] if len(names) == 1 else pair.name
    what = f"other values in the same rows: {listed(names)}"
    return Cause(
        "values",
        subject,
        f"{pair.name}: {what}",
        CERTAIN_EFFECT,
        {"columns": [*names], "is_certain": True},
    )


def label_role_causes(pair: InputPair) -> Iterator[Cause]:
    """A run that learned to predict other columns."""
    before, after = (one.labels for one in pair.inputs)
    if before and after and set(before) != set(after):
        sentence = f"{pair.name}: learns to predict {listed(before)} -> {listed(after)}"
        yield Cause("labels", pair.name, sentence, 1.0)
