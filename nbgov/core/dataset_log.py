"""The history of a dataset: which versions were delivered under a name, and what each changed.

A version's parent is the one that was delivered before it under the same name. What changed is told
in a few words from what the versions say of themselves; how much it matters is the business of
:mod:`nbgov.core.drift`. No word of it is a data value. Cases: ``tests/core/test_dataset_log.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from nbgov.core.checks import listed
from nbgov.core.drift.report import percent
from nbgov.model import DatasetVersion, Delivery, SourceVersion

# What a version was asked with, and how a log names it.
CIRCUMSTANCES = {
    "connection": "another connection",
    "statement": "another statement",
    "literals": "other literals",
    "binds_mac": "other bound values",
    "masked": "other masks",
    "policy": "another policy",
}

# What can be compared only where the texts are equal but for their literals.
OF_ONE_TEXT = {"literals", "binds_mac"}


@dataclass(frozen=True, slots=True)
class Step:
    """One version in the history of a dataset, with the reads that delivered it in a row.

    Attributes:
        name: The dataset's name.
        version: What was delivered.
        deliveries: The reads, newest first.
        parent: The id of the version that was delivered before, or empty.
        changes: What is different from the parent, in words.
    """

    name: str
    version: DatasetVersion
    deliveries: tuple[Delivery, ...]
    parent: str
    changes: tuple[str, ...]

    @property
    def first_at(self) -> datetime:
        """When it was first delivered, in a row."""
        return self.deliveries[-1].at

    @property
    def last_at(self) -> datetime:
        """When it was last delivered, in a row."""
        return self.deliveries[0].at


def history(
    deliveries: Sequence[Delivery], versions: Mapping[str, DatasetVersion]
) -> tuple[Step, ...]:
    """The history of one dataset, newest step first.

    Args:
        deliveries: Its deliveries, newest first.
        versions: The versions that they delivered, by id.
    """
    steps: list[Step] = []
    for version_id, reads in groupby(reversed(deliveries), key=lambda one: one.version_id):
        ordered = tuple(reversed([*reads]))
        version, before = versions[version_id], steps[-1] if steps else None
        steps.append(
            Step(
                name=ordered[0].name,
                version=version,
                deliveries=ordered,
                parent=before.version.version_id if before else "",
                changes=tuple(changes(before, version, ordered)) if before else ("first version",),
            )
        )
    return tuple(reversed(steps))


def changes(before: Step, after: DatasetVersion, reads: Sequence[Delivery]) -> Iterator[str]:
    """What is different in a version that was delivered after another one, in words."""
    old = before.version
    if old.content_id == after.content_id:
        yield "same rows"
    else:
        yield from row_change(old.rows, after.rows)
        yield from column_changes(old, after)
    is_same_text = old.statement == after.statement
    yield from (
        words
        for field, words in CIRCUMSTANCES.items()
        if getattr(old, field) != getattr(after, field)
        and (is_same_text or field not in OF_ONE_TEXT)
    )
    yield from source_changes(before.deliveries[0].sources, reads[-1].sources)


def row_change(before: int, after: int) -> Iterator[str]:
    """How many rows there are more or less.

    >>> list(row_change(1000, 1250)), list(row_change(3, 1)), list(row_change(0, 2))
    (['250 rows more (25.0 %)'], ['2 rows less (66.7 %)'], ['2 rows more'])
    """
    if before != after:
        share = f" ({percent(abs(after - before) / before)})" if before else ""
        count, word = abs(after - before), "more" if after > before else "less"
        yield f"{count:,} row{'s' * (count > 1)} {word}{share}"


def column_changes(before: DatasetVersion, after: DatasetVersion) -> Iterator[str]:
    """Which columns came, went, or hold other types or values."""
    yield from schema_changes(before, after)
    old = {name: digest for name, _, digest, _ in before.columns}
    new = {name: digest for name, _, digest, _ in after.columns}
    kept = [name for name in new if name in old]
    # Digests of a column compare only where both were kept in the same way.
    if moved := [n for n in kept if is_moved(old[n], new[n]) and is_alike(n, before, after)]:
        yield f"other values in {listed(moved)}"


def schema_changes(before: DatasetVersion, after: DatasetVersion) -> Iterator[str]:
    """Which columns came, went, or are of other types."""
    old = {name: kind for name, kind, *_ in before.columns}
    new = {name: kind for name, kind, *_ in after.columns}
    kept = [name for name in new if name in old]
    if lost := [name for name in old if name not in new]:
        yield f"without {listed(lost)}"
    if added := [name for name in new if name not in old]:
        yield f"with {listed(added)}"
    if retyped := [f"{n} is {new[n]}, was {old[n]}" for n in kept if new[n] != old[n]]:
        yield listed(retyped)


def is_moved(before: str, after: str) -> bool:
    """Whether two digests that are known differ."""
    return bool(before) and bool(after) and before != after


def is_alike(name: str, before: DatasetVersion, after: DatasetVersion) -> bool:
    """Whether a column carries the same tags on both sides."""
    return before.tags.get(name) == after.tags.get(name)


def source_changes(
    before: Sequence[SourceVersion], after: Sequence[SourceVersion]
) -> Iterator[str]:
    """Which tables were in another state than when the version before was read."""
    known = {(one.table, one.kind): one.mark for one in before}
    moved = [one.table for one in after if known.get((one.table, one.kind), one.mark) != one.mark]
    if moved:
        yield f"another state of {listed(moved)}"
