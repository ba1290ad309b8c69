"""Two runs side by side: pair their inputs, compare data, circumstances and outcome, and rank.

Identity comes before statistics: equal content ids end the question, equal column digests end it
for a column. What a version or a profile does not hold is unknown, never equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nbgov.core.drift.circumstances import circumstance_causes, run_causes
from nbgov.core.drift.report import Cause, DriftReport, listed, percent, ranked, state_verdict
from nbgov.core.drift.rules import ColumnPair, changed_column, missing_rule
from nbgov.core.fingerprint.mixing import unique_labels
from nbgov.model import DatasetVersion, Run, RunInput

FALSE_ALARMS = 0.01
ROWS_CHANGE_MIN = 0.2
# Links that somebody or MLflow made; a run that has any is not judged by what else it read.
FIRM_LINKS = frozenset({"explicit", "autolog"})


@dataclass(frozen=True, slots=True)
class InputPair:
    """An input of the current run and the one that it is compared with.

    Attributes:
        name: What sentences call it.
        versions: The versions that are compared, or ``None`` where one is not kept.
        is_same: Whether both hold equal rows, or ``None`` where that is not known.
        prefix: What subjects of columns start with; empty if there is one input.
    """

    name: str
    versions: tuple[DatasetVersion, DatasetVersion] | None
    is_same: bool | None
    prefix: str


@dataclass(frozen=True, slots=True)
class DigestedColumn:
    """A column of a version, as its fingerprint knows it."""

    name: str
    type: str
    digest: str
    nonnull: int

    def has_values_of(self, other: DigestedColumn) -> bool:
        """Whether the values are known to be equal; a digest that was not kept says nothing."""
        return bool(self.digest) and (self.digest, self.nonnull) == (other.digest, other.nonnull)


def compare(baseline: Run, current: Run, versions: Mapping[str, DatasetVersion]) -> DriftReport:
    """Say what is different in a run, against an earlier one.

    Args:
        baseline: The run to compare with.
        current: The run to explain.
        versions: Dataset versions by id, as far as they are kept.

    Returns:
        The report; ``unknown`` where a run has no governed input or a version is not kept.
    """
    sides = used_inputs(baseline), used_inputs(current)
    matched, lone = match_inputs(*sides) if all(sides) else ([], [])
    pairs = paired(matched, versions)
    known = [pair.versions for pair in pairs if pair.versions is not None]
    causes = [*input_causes(matched, lone), *circumstance_causes(known)]
    causes += run_causes(baseline, current)
    for pair in pairs:
        causes += data_causes(pair)
    is_same = is_same_data(pairs, has_lone=bool(lone))
    causes = list(ranked(causes))
    status, verdict = state_verdict(
        causes, is_same_data=is_same, unknown=what_is_unknown((baseline, current), pairs)
    )
    return DriftReport(
        baseline=baseline.name or baseline.run_id,
        current=current.name or current.run_id,
        is_same_data=is_same,
        causes=tuple(causes),
        verdict=verdict,
        status=status,
    )


# ---------------------------------------------------------------- inputs


def used_inputs(run: Run) -> list[RunInput]:
    """The inputs that a run is judged by, each version once."""
    firm = [one for one in run.inputs if one.bound_via in FIRM_LINKS]
    return list({(one.name, one.version_id): one for one in firm or run.inputs}.values())


def match_inputs(
    left: Sequence[RunInput], right: Sequence[RunInput]
) -> tuple[list[tuple[RunInput, RunInput]], list[tuple[RunInput, bool]]]:
    """Match inputs by name and context, by name, then by order.

    Returns:
        The matches, and the inputs without one, with whether they are the current run's.
    """
    keys: tuple[Callable[[RunInput], object], ...] = (
        lambda one: (one.name, one.context),
        lambda one: one.name,
        lambda _: None,
    )
    before, after = list(left), list(right)
    matched = []
    for key in keys:
        for one in tuple(after):
            match = next((other for other in before if key(other) == key(one)), None)
            if match is not None:
                matched.append((match, one))
                before.remove(match)
                after.remove(one)
    return matched, [(one, False) for one in before] + [(one, True) for one in after]


def paired(
    matched: Sequence[tuple[RunInput, RunInput]], versions: Mapping[str, DatasetVersion]
) -> list[InputPair]:
    """The versions behind matched inputs."""
    names = Counter(one.name for _, one in matched)
    pairs = []
    for ids in matched:
        one = ids[1]
        name = one.name if names[one.name] == 1 else f"{one.name} ({one.context})"
        left, right = (versions.get(side.version_id) for side in ids)
        both = (left, right) if left is not None and right is not None else None
        is_same = None if both is None else both[0].content_id == both[1].content_id
        if ids[0].version_id == one.version_id:
            is_same = True
        pairs.append(InputPair(name, both, is_same, f"{name}." if len(matched) > 1 else ""))
    return pairs


def is_same_data(pairs: Sequence[InputPair], *, has_lone: bool) -> bool | None:
    """Whether all inputs hold equal rows, or ``None`` where that is not known."""
    if has_lone or any(pair.is_same is False for pair in pairs):
        return False
    return True if pairs and all(pair.is_same for pair in pairs) else None


def what_is_unknown(runs: tuple[Run, Run], pairs: Sequence[InputPair]) -> str:
    """Why data cannot be compared in full, or nothing."""
    unbound = [run.name or run.run_id for run in runs if not run.inputs]
    if unbound:
        return f"no governed input is bound to {' and '.join(unbound)}"
    absent = [pair.name for pair in pairs if pair.is_same is None]
    if absent:
        return f"the dataset store does not hold both versions of {listed(absent)}"
    bare = [
        pair.name
        for pair in pairs
        if pair.versions is not None
        and not pair.is_same
        and not all(version.profile for version in pair.versions)
    ]
    return f"the rows are others, and there is no profile of {listed(bare)}" if bare else ""


def input_causes(
    matched: Sequence[tuple[RunInput, RunInput]], lone: Sequence[tuple[RunInput, bool]]
) -> Iterator[Cause]:
    """Inputs that one run has and the other has not, or has under another name."""
    for one, is_current in lone:
        who = "the current run" if is_current else "the baseline"
        yield Cause("inputs", one.name, f"{one.name}: an input of {who} only", 1.0)
    for left, right in matched:
        if left.name != right.name:
            sentence = f"{right.name}: compared with {left.name}, which stood in its place"
            yield Cause("inputs", right.name, sentence, 0.0)


# ---------------------------------------------------------------- data


def data_causes(pair: InputPair) -> Iterator[Cause]:
    """What is different in the rows and columns of an input."""
    if pair.is_same:
        yield Cause("freshness", pair.name, f"{pair.name}: identical to last time", 0.0)
    if pair.versions is None:
        return
    left, right = (columns_of(version) for version in pair.versions)
    shared = [label for label in right if label in left]
    schema = list(schema_causes(pair, left, right))
    yield from row_causes(pair)
    yield from schema
    if not pair.is_same:
        yield from value_causes(pair, left, right, has_one_schema=not schema)
    profiles = [profile_columns(version) for version in pair.versions]
    for label in shared:
        if not all(label in side for side in profiles):
            continue
        column = ColumnPair(
            subject=pair.prefix + right[label].name,
            baseline=profiles[0][label],
            current=profiles[1][label],
            rows=(pair.versions[0].rows, pair.versions[1].rows),
            alpha=FALSE_ALARMS / len(shared),
        )
        is_equal = right[label].has_values_of(left[label])
        yield from missing_rule(column) if is_equal else changed_column(column)


def columns_of(version: DatasetVersion) -> dict[str, DigestedColumn]:
    """The columns of a version by label, in order."""
    columns = [DigestedColumn(*column) for column in version.columns]
    return dict(zip(unique_labels(one.name for one in columns), columns, strict=True))


def profile_columns(version: DatasetVersion) -> dict[str, Mapping[str, object]]:
    """The columns of a profile by label."""
    columns = version.profile.get("columns", ())
    return dict(zip(unique_labels(one["name"] for one in columns), columns, strict=True))


def row_causes(pair: InputPair) -> Iterator[Cause]:
    """Rule 6: the number of rows. A small change is a remark."""
    assert pair.versions is not None
    before, after = (version.rows for version in pair.versions)
    if before == after:
        return
    change = (after - before) / before if before else 1.0
    is_large = abs(change) > ROWS_CHANGE_MIN
    sign = "+" if change > 0 else "-"
    yield Cause(
        "rows",
        pair.name,
        f"{pair.name}: rows {before:,} -> {after:,} ({sign}{percent(abs(change))})",
        abs(after - before) / max(before, after) if is_large else 0.0,
        {"baseline": before, "current": after},
    )


def schema_causes(
    pair: InputPair, left: Mapping[str, DigestedColumn], right: Mapping[str, DigestedColumn]
) -> Iterator[Cause]:
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
            yield schema_cause(pair, new.name, sentence, 0.0 if is_equal else 1.0)
    if shared != [label for label in left if label in right]:
        sentence = f"{pair.name}: columns stand in another order"
        yield Cause("schema", pair.name, sentence, 0.0)


def schema_cause(pair: InputPair, name: str, what: str, effect: float) -> Cause:
    """A cause about one column of the schema."""
    subject = pair.prefix + name
    return Cause("schema", subject, f"{subject}: {what}", effect)


def value_causes(
    pair: InputPair,
    left: Mapping[str, DigestedColumn],
    right: Mapping[str, DigestedColumn],
    *,
    has_one_schema: bool,
) -> Iterator[Cause]:
    """Which columns hold other values; or that none does, and rows combine them otherwise."""
    assert pair.versions is not None
    shared = [label for label in right if label in left]
    changed = [right[label].name for label in shared if not right[label].has_values_of(left[label])]
    if changed:
        sentence = f"{len(changed)} of {len(right)} columns hold other values: {listed(changed)}"
        detail = {"columns": changed}
        yield Cause("values", pair.name, f"{pair.name}: {sentence}", 0.0, detail)
    elif has_one_schema and pair.versions[0].rows == pair.versions[1].rows:
        sentence = f"{pair.name}: rows combine the same values of each column otherwise"
        yield Cause("pairing", pair.name, sentence, 1.0)
