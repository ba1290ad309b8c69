"""Rule set v1: when a column of a profile counts as changed.

Every alarm needs an effect that matters and evidence that it is no chance, with the sketch's own
error taken off. A threshold on an effect alone alarms on small samples, one on evidence alone on
large ones. A sentence holds values only of a column that is ``open`` in both profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgov.core.drift.distances import (
    association,
    decile_stability,
    largest_gap,
    stability,
)
from nbgov.core.drift.evidence import (
    kolmogorov_tail,
    normal_tail,
    outside_tail,
    proportions_tail,
)
from nbgov.core.drift.measures import moment_text
from nbgov.core.drift.profile import BUCKET_ROWS_MIN, MOMENTS, NUMBERS, OPEN
from nbgov.core.drift.quantiles import Distribution, read_distribution
from nbgov.core.drift.report import Cause, figure, percent

GAP_MIN = 0.03
STABILITY_MIN = 0.1
CRAMERS_V_MIN = 0.03
MISSING_MIN = 0.005
OUTSIDE_MIN = 0.002
OUTSIDE_ROWS_MIN = 10
OUTSIDE_CHANCE_FACTOR = 5
SPREAD_FACTOR_MIN = 2.0
SPREAD_ROWS_MIN = 10
LEVEL_MIN = 0.005
LEVEL_ROWS_MIN = 10
UNSEEN_FACTOR = 3
UNIT_FACTOR_MIN = 1.5
UNIT_TOLERANCE = 0.05
# Where a profile leaves out no more levels than this, one of them need not be rare.
HIDDEN_PAIR = 2
LABELS_SHOWN_MAX = 3
LABEL_SHOWN_CHARS_MAX = 40


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """One column in two profiles.

    Attributes:
        subject: How sentences call it.
        baseline, current: Its figures in either profile.
        rows: Rows of either dataset.
        alpha: The chance of a false alarm that one rule may take.
    """

    subject: str
    baseline: Mapping[str, Any]
    current: Mapping[str, Any]
    rows: tuple[int, int]
    alpha: float

    def both(self, name: str) -> tuple[Any, Any]:
        """A figure of either profile; ``None`` where a profile has it not."""
        return self.baseline.get(name), self.current.get(name)

    @property
    def is_open(self) -> bool:
        """Whether values may be told."""
        return self.both("level") == (OPEN, OPEN)

    def share(self, *names: str) -> tuple[float, float]:
        """The share of rows that the named counts make up together."""
        sides = zip((self.baseline, self.current), self.rows, strict=True)
        before, after = (sum(side[name] for name in names) / max(1, n) for side, n in sides)
        return before, after

    def has_moved(self, *names: str) -> bool:
        """Whether the share of rows that the named counts make up moved, and not by chance."""
        before, after = self.share(*names)
        if abs(after - before) < MISSING_MIN or not all(self.rows):
            return False
        hits = [sum(side[name] for name in names) for side in (self.baseline, self.current)]
        return proportions_tail(hits[0], self.rows[0], hits[1], self.rows[1]) < self.alpha


def changed_column(pair: ColumnPair) -> Iterator[Cause]:
    """Everything that rule set v1 finds in a column."""
    yield from missing_rule(pair)
    kinds = pair.both("type")
    if pair.is_open and all(kind in MOMENTS for kind in kinds):
        yield from moment_rule(pair)
    elif pair.is_open and all(kind in NUMBERS for kind in kinds):
        yield from number_rules(pair)
    elif kinds[0] == kinds[1] and kinds[0] not in MOMENTS:
        yield from level_rules(pair)


# ---------------------------------------------------------------- missing values


def missing_rule(pair: ColumnPair) -> Iterator[Cause]:
    """Rule 3: NULLs and NaNs. One that replaces the other is a remark."""
    before, after = pair.share("nulls", "nans")
    if pair.has_moved("nulls", "nans"):
        word = "NULLs" if not sum(pair.share("nans")) else "NULLs and NaNs"
        yield Cause(
            "nulls",
            pair.subject,
            f"{pair.subject}: {word} {percent(before)} -> {percent(after)} of rows",
            abs(after - before),
            {"baseline": before, "current": after},
        )
    elif pair.has_moved("nans"):
        before, after = pair.share("nans")
        yield Cause(
            "nulls",
            pair.subject,
            f"{pair.subject}: NaNs {percent(before)} -> {percent(after)} of rows, the rest NULL",
            0.0,
            {"baseline": before, "current": after},
        )


# ---------------------------------------------------------------- numbers and moments


def number_rules(pair: ColumnPair) -> Iterator[Cause]:
    """Rules 1 and 4, and infinities, of an open numeric column."""
    if pair.has_moved("infinite"):
        before, after = pair.share("infinite")
        yield Cause(
            "tail",
            pair.subject,
            f"{pair.subject}: infinities {percent(before)} -> {percent(after)} of rows",
            abs(after - before),
            {"baseline": before, "current": after},
        )
    sketches = pair.both("quantiles")
    if all(sketches):
        left, right = map(read_distribution, sketches)
        yield from distribution_rule(pair, left, right)
        yield from tail_rule(pair, left, right)


def moment_rule(pair: ColumnPair) -> Iterator[Cause]:
    """Rule 6 of an open column of dates or timestamps, and rule 1 where time did not move on.

    New rows have new dates. Only a period that ends where the last one did can drift.
    """
    before, after = pair.both("max")
    if before is None or after is None:
        return
    newest = np.datetime64(before), np.datetime64(after)
    shown = before.replace("T", " "), after.replace("T", " ")
    if newest[1] > newest[0]:
        sentence = f"{pair.subject}: newest value moved on, {shown[0]} -> {shown[1]}"
    elif newest[1] == newest[0]:
        sentence = f"{pair.subject}: newest value is still {shown[0]}"
    else:
        sentence = f"{pair.subject}: newest value went back, {shown[0]} -> {shown[1]}"
    detail = {"baseline": before, "current": after, "is_newer": bool(newest[1] > newest[0])}
    yield Cause("freshness", pair.subject, sentence, 0.0, detail)
    if newest[1] <= newest[0]:
        left, right = map(read_distribution, pair.both("quantiles"))
        yield from distribution_rule(pair, left, right, write=moment_figure)


def moment_figure(days: float) -> str:
    """Days since 2000 as a date."""
    return (moment_text(days) or "").partition("T")[0]


def distribution_rule(
    pair: ColumnPair,
    left: Distribution,
    right: Distribution,
    write: Callable[[float], str] = figure,
) -> Iterator[Cause]:
    """Rule 1: the distribution moved."""
    gap = largest_gap(left, right)
    certain_gap = max(0.0, gap - (left.error + right.error) / 2)
    gap_tail = kolmogorov_tail(certain_gap, left.n, right.n)
    psi = decile_stability(left, right)
    has_gap = gap > GAP_MIN and gap_tail < pair.alpha
    if not has_gap and not (psi.index > STABILITY_MIN and psi.tail < pair.alpha):
        return
    factor = unit_factor(pair, left, right)
    yield Cause(
        "distribution",
        pair.subject,
        f"{pair.subject}: distribution moved, PSI {psi.index:.2f}, {shift(left, right, write)}"
        + (f"; all values times {figure(factor)}, a change of unit?" if factor else ""),
        gap,
        {
            "psi": psi.index,
            "ks": gap,
            "p": min(gap_tail, psi.tail),
            "median": [left.quantile(0.5), right.quantile(0.5)],
            **({"factor": factor} if factor else {}),
        },
    )


def shift(left: Distribution, right: Distribution, write: Callable[[float], str]) -> str:
    """Where the middle went, or how wide the middle became if it stayed."""
    medians = [write(side.quantile(0.5)) for side in (left, right)]
    if medians[0] != medians[1]:
        return f"median {medians[0]} -> {medians[1]}"
    spans = [
        f"{write(side.quantile(0.1))} to {write(side.quantile(0.9))}" for side in (left, right)
    ]
    return f"median {medians[0]}, middle 80 % {spans[0]} -> {spans[1]}"


def unit_factor(pair: ColumnPair, left: Distribution, right: Distribution) -> float | None:
    """The one factor between all quantiles and the means, if there is one."""
    if pair.baseline["type"] in MOMENTS:
        return None
    ranks = (0.1, 0.25, 0.5, 0.75, 0.9)
    before, after = (np.array([side.quantile(rank) for rank in ranks]) for side in (left, right))
    means = pair.both("mean")
    if not (before.all() and all(means)) or before[0] == before[-1]:
        return None
    factor: float = means[1] / means[0]
    is_one = bool((np.abs(after / before - factor) <= UNIT_TOLERANCE * abs(factor)).all())
    is_large = factor > 0 and abs(math.log(factor)) > math.log(UNIT_FACTOR_MIN)
    return factor if is_one and is_large else None


def tail_rule(pair: ColumnPair, left: Distribution, right: Distribution) -> Iterator[Cause]:
    """Rule 4: values outside the old bounds, or another spread."""
    low, high = pair.baseline["min"], pair.baseline["max"]
    share = right.outside(low, high)
    certain = max(0.0, share - right.error / 2)
    chance_rows = 2 * right.n / (left.n + 1)
    needed = OUTSIDE_ROWS_MIN + OUTSIDE_CHANCE_FACTOR * chance_rows
    is_outside = certain > OUTSIDE_MIN and certain * right.n > needed
    ratio = spread_ratio(pair, left.n, right.n, certain * right.n)
    if not is_outside and ratio is None:
        return
    parts = []
    if is_outside:
        parts.append(f"{percent(share)} of rows outside {figure(low)} to {figure(high)}")
    if ratio is not None:
        before, after = (figure(side["sd"]) for side in (pair.baseline, pair.current))
        parts.append(f"standard deviation {before} -> {after}")
    yield Cause(
        "tail",
        pair.subject,
        f"{pair.subject}: {', '.join(parts)}",
        max(share if is_outside else 0.0, largest_gap(left, right)),
        {"outside": share, "sd_ratio": ratio},
    )


def spread_ratio(pair: ColumnPair, n_left: int, n_right: int, outside: float) -> float | None:
    """How many times larger the standard deviation is, if that is large and no chance.

    Rows outside the old bounds are evidence. So is the ratio itself: its logarithm varies by about
    ``(kurtosis - 1) / 4n``, unless a few rows make the spread, where that is far too little.
    """
    sds, kurtoses = pair.both("sd"), pair.both("kurtosis")
    if not all(sds) or None in kurtoses:
        return None
    ratio: float = sds[1] / sds[0]
    if 1 / SPREAD_FACTOR_MIN <= ratio <= SPREAD_FACTOR_MIN:
        return None
    if outside_tail(outside, n_left, n_right) < pair.alpha:
        return ratio
    wider = int(ratio > 1)
    if kurtoses[wider] * SPREAD_ROWS_MIN > (n_left, n_right)[wider]:
        return None  # The kurtosis of a spread that m rows make is about n/m.
    variance = (kurtoses[0] - 1) / (4 * n_left) + (kurtoses[1] - 1) / (4 * n_right)
    z = math.log(ratio) / math.sqrt(max(variance, 1e-12))
    return ratio if normal_tail(z) < pair.alpha else None


# ---------------------------------------------------------------- levels


def level_rules(pair: ColumnPair) -> Iterator[Cause]:
    """Rules 2 and 5: levels by their labels if both profiles have them, otherwise by buckets."""
    labels = pair.both("labels")
    if pair.is_open and all(side is not None for side in labels):
        before, after = (dict(side) for side in labels)
        names = sorted(before.keys() | after.keys())
        yield from new_level_rule(pair, before, after, is_new=True)
        yield from new_level_rule(pair, after, before, is_new=False)
        counts = [[side.get(name, 0) for name in names] for side in (before, after)]
        yield from share_rule(pair, counts, "shares of levels moved")
        return
    buckets = list(share_rule(pair, pair.both("buckets"), "distribution moved"))
    lengths = pair.both("lengths")
    if all(lengths):
        buckets += share_rule(pair, lengths, "lengths moved")
    yield from sorted(buckets, key=lambda cause: -cause.effect)[:1]


def share_rule(pair: ColumnPair, counts: Sequence[Sequence[int]], what: str) -> Iterator[Cause]:
    """Rule 2: the shares of levels moved."""
    before, after = completed(pair, counts)
    found = association(before, after)
    if found.v <= CRAMERS_V_MIN or found.tail >= pair.alpha:
        return
    psi = stability(before, after).index
    yield Cause(
        "distribution",
        pair.subject,
        f"{pair.subject}: {what}, PSI {psi:.2f}, {percent(found.moved)} of rows",
        found.moved,
        {"psi": psi, "cramers_v": found.v, "p": found.tail},
    )


def completed(pair: ColumnPair, counts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Counts in which what a profile left out is filled in, so that it speaks for no drift.

    The rows left out are known in sum. They go to the levels that the other side tells, as far as
    its shares and the bound of a rare level let them; what is left makes a level of its own.
    """
    tables = [np.array(side, np.float64) for side in counts]
    present = [
        rows - column["nulls"] - column["nans"]
        for column, rows in zip((pair.baseline, pair.current), pair.rows, strict=True)
    ]
    sides = []
    for mine, other in ((0, 1), (1, 0)):
        told = tables[mine]
        hidden = told == 0
        rest = present[mine] - told.sum()
        rare_max = BUCKET_ROWS_MIN - 1 if np.count_nonzero(hidden) > HIDDEN_PAIR else rest
        likely = np.minimum(tables[other] * present[mine] / max(1, present[other]), rare_max)
        filled = np.where(hidden, likely, 0.0)
        if filled.sum() > rest:
            filled *= rest / filled.sum()
        sides.append([*(told + filled).tolist(), max(0.0, float(rest - filled.sum()))])
    return sides


def new_level_rule(
    pair: ColumnPair, before: Mapping[str, int], after: Mapping[str, int], *, is_new: bool
) -> Iterator[Cause]:
    """Rule 5: levels of one side that the other has not.

    Args:
        pair: The column.
        before: Counts of the side that lacks them.
        after: Counts of the side that has them.
        is_new: Whether the side that has them is the current one.
    """
    n_before, n_after = max(1, sum(before.values())), max(1, sum(after.values()))
    # Good-Turing: the share of rows of levels not seen yet is about that of levels seen once.
    unseen = sum(count == 1 for count in before.values()) / n_before
    found = [
        (label, count / n_after)
        for label, count in after.items()
        if label not in before
        and count >= LEVEL_ROWS_MIN
        and count / n_after > LEVEL_MIN + UNSEEN_FACTOR * unseen
        and math.exp(-n_before * count / n_after) < pair.alpha
    ]
    if not found:
        return
    shown = ", ".join(
        f"{label[:LABEL_SHOWN_CHARS_MAX]!r} ({percent(share)})"
        for label, share in found[:LABELS_SHOWN_MAX]
    )
    more = f" and {len(found) - LABELS_SHOWN_MAX} more" if len(found) > LABELS_SHOWN_MAX else ""
    word = ("new" if is_new else "lost") + (" level" if len(found) == 1 else " levels")
    yield Cause(
        "levels",
        pair.subject,
        f"{pair.subject}: {word} {shown}{more}",
        sum(share for _, share in found),
        {"is_new": is_new, "levels": dict(found)},
    )
