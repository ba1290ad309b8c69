"""What a project calls drift, applied: thresholds of a column, and why a promotion is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from nbgov.core.drift.columns import NO_TERMS
from nbgov.core.drift.report import Cause, Doubt
from nbgov.model import ColumnTerms, DatasetVersion, DriftTerms


def column_terms(terms: DriftTerms, version: DatasetVersion, column: str) -> ColumnTerms:
    """The thresholds of a column: those of the last entry that meets it."""
    tags = version.tags.get(column, ())
    found = NO_TERMS
    for entry in terms.columns:
        is_named = any(fnmatchcase(f"{version.name}.{column}", one) for one in entry.on)
        is_tagged = any(fnmatchcase(tag, one) for tag in tags for one in entry.tags)
        if is_named or is_tagged:
            found = entry
    return found


def held(causes: Sequence[Cause], doubt: Doubt, terms: DriftTerms) -> Iterator[str]:
    """Why a promotion is held, in sentences: what is not known, what is stale, and what drifted."""
    if doubt.ungoverned:
        yield f"ungoverned input: {doubt.ungoverned}"
    if doubt.unknown:
        yield f"unknown: {doubt.unknown}"
    for cause in causes:
        if not cause.effect:
            continue
        if cause.is_stale and (is_over_age(cause) or cause.kind in terms.holds):
            yield f"stale data: {cause.sentence}"
        elif not cause.is_stale and cause.kind in terms.holds:
            yield f"{cause.kind}: {cause.sentence}"


def is_over_age(cause: Cause) -> bool:
    """Whether a limit of age was broken, which holds under any terms."""
    return "age_max_s" in cause.detail
