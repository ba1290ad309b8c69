"""Whether one version is the other and more rows, as far as two profiles can tell.

If rows were only added or only removed, then no count of anything can have gone the other way: not
of rows in a hash bucket, of a label, of NULLs, nor of numbers between two bounds. A change of rows
explains the distributions that follow from it, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from nbgov.core.drift.inputs import InputPair, profile_columns
from nbgov.core.drift.quantiles import read_distribution

Nesting = Literal["part", "whole", ""]

# Below this share of the rows, counts that only shrank prove little.
SHARE_MIN = 0.3
BINS = 20
# Counts have to be so many rows too many in one place to say that rows are no part of others.
SLACK_ROWS = 3.0

Figures = Mapping[str, Any]


def nesting(pair: InputPair) -> Nesting:
    """``part`` if the current rows can be some of the baseline's, ``whole`` for the reverse."""
    rows = [version.rows for version in pair.known]
    if min(rows) < SHARE_MIN * max(rows) or rows[0] == rows[1]:
        return ""
    columns = [profile_columns(version) for version in pair.known]
    labels = set(columns[0]) & set(columns[1])
    smaller = int(rows[1] < rows[0])
    columns_of_both = [(columns[smaller][label], columns[1 - smaller][label]) for label in labels]
    if not columns_of_both or not all(is_within(*both) for both in columns_of_both):
        return ""
    return "part" if smaller else "whole"


def is_within(part: Figures, whole: Figures) -> bool:
    """Whether a column of fewer rows can be a part of a column of more."""
    if part["type"] != whole["type"]:
        return False
    return all(fewer <= more for fewer, more in counts_of(part, whole))


def counts_of(part: Figures, whole: Figures) -> Iterator[tuple[float, float]]:
    """Counts of the same things on both sides."""
    yield part["nulls"] + part["nans"], whole["nulls"] + whole["nans"]
    if part.get("bucket_key") == whole.get("bucket_key"):
        # A bucket of few rows may be withheld as 0, which says nothing of the larger side.
        yield from (
            (fewer, more)
            for fewer, more in zip(part["buckets"], whole["buckets"], strict=True)
            if more
        )
    if part.get("labels") and whole.get("labels"):
        known = dict(whole["labels"])
        is_whole = whole.get("labels_are_all", True)
        yield from (
            (count, known.get(label, 0))
            for label, count in part["labels"]
            if label in known or is_whole
        )
    if part.get("quantiles") and whole.get("quantiles"):
        yield from numbers_of(part["quantiles"], whole["quantiles"])


def numbers_of(part: Figures, whole: Figures) -> Iterator[tuple[float, float]]:
    """Rows between the same bounds on both sides, with what the sketches may be off by."""
    fewer, more = read_distribution(part), read_distribution(whole)
    edges = np.unique([more.quantile(step / BINS) for step in range(1, BINS)])
    slack = SLACK_ROWS + 2 * (fewer.error * fewer.n + more.error * more.n)
    counts = [
        np.diff(side.below(edges), prepend=0.0, append=1.0) * side.n for side in (fewer, more)
    ]
    yield from zip(counts[0].tolist(), (counts[1] + slack).tolist(), strict=True)
    yield fewer.outside(more.values[0], more.values[-1]) * fewer.n, slack
