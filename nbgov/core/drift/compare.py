"""Two runs side by side: pair their inputs, compare data, circumstances and outcome, and rank.

Identity comes before statistics: equal content ids end the question, equal column digests end it
for a column. What a version or a profile does not hold is unknown, never equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from nbgov.core.checks import listed
from nbgov.core.drift.asking import Origin, origins, policy_causes, policy_origins
from nbgov.core.drift.circumstances import run_causes
from nbgov.core.drift.columns import ColumnPair
from nbgov.core.drift.freshness import age_causes, identity_causes
from nbgov.core.drift.identity import (
    CERTAIN_EFFECT,
    label_role_causes,
    row_causes,
    schema_causes,
    value_causes,
)
from nbgov.core.drift.inputs import (
    InputPair,
    columns_of,
    input_causes,
    is_same_data,
    match_inputs,
    paired,
    profile_columns,
    used_inputs,
    what_is_unknown,
)
from nbgov.core.drift.ranking import Family, Leaning, input_families, ranked
from nbgov.core.drift.report import Cause, Doubt, DriftReport, state_verdict
from nbgov.core.drift.rules import changed_column, missing_rule
from nbgov.core.drift.terms import column_terms, held
from nbgov.model import DatasetVersion, DriftTerms, Run

# The chance that two runs without drift are called drifted, over all inputs, columns and rules.
FALSE_ALARMS = 0.01
RULES = 4
DEFAULT_TERMS = DriftTerms()
# What a column's rules find of a column that the run learned to predict is a change of labels.
VALUE_KINDS = frozenset({"nulls", "unit", "levels", "cardinality", "distribution", "tail"})


def compare(
    baseline: Run,
    current: Run,
    versions: Mapping[str, DatasetVersion],
    *,
    terms: DriftTerms = DEFAULT_TERMS,
) -> DriftReport:
    """Say what is different in a run, against an earlier one.

    Args:
        baseline: The run to compare with.
        current: The run to explain.
        versions: Dataset versions by id, as far as they are kept.
        terms: What counts as drift, and what holds a promotion.

    Returns:
        The report; ``unknown`` where a run has no governed input or an ungoverned one, or a version
        is not kept.
    """
    runs = baseline, current
    sides = used_inputs(baseline), used_inputs(current)
    matched, lone = match_inputs(*sides) if all(sides) else ([], [])
    pairs = paired(matched, versions)
    families = [Family((cause,), 1.0) for cause in input_causes(matched, lone)]
    for pair in pairs:
        families += pair_families(runs, pair, terms, alpha=FALSE_ALARMS / len(pairs))
    families += [Family((cause,), cause.effect) for cause in other_causes(runs, pairs)]
    families += [
        Family((cause,), cause.effect) for cause in age_causes(current, versions, terms.freshness)
    ]
    causes = ranked(families)
    doubt = Doubt(what_is_ungoverned(runs), what_is_unknown(runs, pairs))
    is_same = is_same_data(pairs, has_lone=bool(lone))
    status, verdict = state_verdict(causes, doubt, is_same_data=is_same)
    return DriftReport(
        baseline=baseline.name or baseline.run_id,
        current=current.name or current.run_id,
        # What nbgov did not deliver may have changed.
        is_same_data=None if is_same and doubt.ungoverned else is_same,
        causes=causes,
        verdict=verdict,
        status=status,
        holds=tuple(dict.fromkeys(held(causes, doubt, terms))),
    )


def what_is_ungoverned(runs: tuple[Run, Run]) -> str:
    """What either run was fitted on that nbgov did not deliver, or nothing."""
    baseline, current = runs
    parts = [*current.ungoverned]
    if baseline.ungoverned:
        parts += [f"{what} (of the baseline)" for what in baseline.ungoverned]
    return listed(parts)


def other_causes(runs: tuple[Run, Run], pairs: Sequence[InputPair]) -> Iterator[Cause]:
    """Causes that are not of one input: policies and the runs themselves."""
    known = [pair for pair in pairs if pair.versions is not None]
    told = [one.cause for pair in known for one in policy_origins(pair)]
    yield from (cause for cause in policy_causes(known) if cause not in told)
    yield from run_causes(*runs)


def pair_families(
    runs: tuple[Run, Run], pair: InputPair, terms: DriftTerms, *, alpha: float
) -> Iterator[Family]:
    """The causes about one input, by what they follow from."""
    fresh = [*identity_causes(pair), *label_role_causes(pair)]
    if pair.versions is None:
        yield from (Family((cause,), cause.effect) for cause in fresh)
        return
    causes = [*fresh, *data_causes(pair, terms, alpha=alpha)]
    roots: list[Origin] = [*origins(pair), *policy_origins(pair)]
    yield from input_families(causes, roots, pair, Leaning(runs, pair))


def data_causes(pair: InputPair, terms: DriftTerms, *, alpha: float) -> Iterator[Cause]:
    """What is different in the rows and columns of an input; alarms by chance at most so often."""
    left, right = (columns_of(version) for version in pair.known)
    schema = list(schema_causes(pair, left, right))
    mine = {label: column_terms(terms, pair.known[1], right[label].name) for label in right}
    ignored = frozenset(right[label].name for label, one in mine.items() if one.is_ignored)
    found = []
    for column, label in column_pairs(pair, left, right, alpha=alpha):
        if mine[label].is_ignored:
            continue
        is_equal = right[label].has_values_of(left[label])
        judged = replace(column, terms=mine[label])
        causes = missing_rule(judged) if is_equal else changed_column(judged)
        found += [as_labels(pair, cause, right[label].name) for cause in causes]
    if pair.is_same is False:
        seen = frozenset(pair.column_of(cause) for cause in [*schema, *found] if cause.effect)
        yield from value_causes(pair, left, right, ignored=ignored, seen=seen)
    yield from row_causes(pair)
    moved = {cause.subject for cause in found if cause.effect}
    for cause in schema:
        # Another type of number is told by what became of the numbers, where that is known.
        is_told = cause.effect == CERTAIN_EFFECT and cause.subject in moved
        yield replace(cause, effect=0.0) if is_told else cause
    yield from found


def column_pairs(
    pair: InputPair, left: Mapping[str, object], right: Mapping[str, object], *, alpha: float
) -> Iterator[tuple[ColumnPair, str]]:
    """The columns that both versions and their profiles have, with their labels."""
    shared = [label for label in right if label in left]
    profiles = [profile_columns(version) for version in pair.known]
    names = columns_of(pair.known[1])
    for label in shared:
        if all(label in side for side in profiles):
            column = ColumnPair(
                subject=pair.prefix + names[label].name,
                baseline=profiles[0][label],
                current=profiles[1][label],
                rows=(pair.known[0].rows, pair.known[1].rows),
                alpha=alpha / (RULES * len(shared)),
            )
            yield column, label


def as_labels(pair: InputPair, cause: Cause, column: str) -> Cause:
    """A change of values as a change of labels, where the run learned to predict them."""
    if column not in pair.labels or cause.kind not in VALUE_KINDS:
        return cause
    return replace(cause, kind="labels", detail={**cause.detail, "rule": cause.kind})
