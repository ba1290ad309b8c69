"""Rule set v1: when a column of a profile counts as changed.

Every alarm needs an effect that matters and evidence that it is no chance, with the sketch's own
error taken off. A threshold on an effect alone alarms on small samples, one on evidence alone on
large ones. A sentence holds values only of a column that is ``open`` in both profiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from nbgov.core.drift.columns import ColumnPair
from nbgov.core.drift.distances import decile_stability, largest_gap
from nbgov.core.drift.evidence import kolmogorov_tail, normal_tail, outside_tail
from nbgov.core.drift.levels import cardinality_rule, level_rules
from nbgov.core.drift.measures import moment_text
from nbgov.core.drift.profile import MOMENTS, NUMBERS
from nbgov.core.drift.quantiles import Distribution, read_distribution
from nbgov.core.drift.report import Cause, figure, percent
from nbgov.core.drift.shapes import shape_of
from nbgov.core.drift.units import UnitChange, unit_change

GAP_MIN = 0.03
STABILITY_MIN = 0.1
OUTSIDE_MIN = 0.002
OUTSIDE_ROWS_MIN = 10
OUTSIDE_CHANCE_FACTOR = 5
SPREAD_FACTOR_MIN = 2.0
SPREAD_ROWS_MIN = 10

Write = Callable[[float], str]


def changed_column(pair: ColumnPair) -> Iterator[Cause]:
    """Everything that rule set v1 finds in a column, with what a small plot of it needs."""
    found = [*missing_rule(pair), *value_rules(pair)]
    shape = shape_of(pair) if any(cause.effect for cause in found) else None
    for cause in found:
        is_shown = shape is not None and cause.kind not in {"nulls", "freshness"}
        yield replace(cause, detail={**cause.detail, "shape": shape}) if is_shown else cause


def value_rules(pair: ColumnPair) -> Iterator[Cause]:
    """The rules for the values of a column, by its type."""
    kinds = pair.both("type")
    if pair.is_measured and all(kind in MOMENTS for kind in kinds):
        yield from moment_rule(pair)
        return
    if pair.is_measured and all(kind in NUMBERS for kind in kinds):
        yield from number_rules(pair)
    elif kinds[0] == kinds[1] and kinds[0] not in MOMENTS:
        yield from level_rules(pair)
    yield from cardinality_rule(pair)


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


# ---------------------------------------------------------------- numbers


def number_rules(pair: ColumnPair) -> Iterator[Cause]:
    """Rules 1 and 4, and infinities, of a measured numeric column."""
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
    if not all(sketches):
        return
    left, right = map(read_distribution, sketches)
    moved = list(distribution_rule(pair, left, right))
    change = unit_change(left, right, moved[0].effect) if moved else None
    if change is None:
        yield from moved
        yield from tail_rule(pair, left, right)
    else:
        # Another unit moves the tail as well, and that is no news.
        yield in_other_unit(pair, moved[0], change)


def distribution_rule(
    pair: ColumnPair, left: Distribution, right: Distribution, write: Write = figure
) -> Iterator[Cause]:
    """Rule 1: the distribution moved."""
    gap = largest_gap(left, right)
    certain_gap = max(0.0, gap - (left.error + right.error) / 2)
    gap_tail = kolmogorov_tail(certain_gap, left.n, right.n)
    psi = decile_stability(left, right)
    gap_min = GAP_MIN if pair.terms.ks is None else pair.terms.ks
    psi_min = STABILITY_MIN if pair.terms.psi is None else pair.terms.psi
    has_gap = gap > gap_min and gap_tail < pair.alpha
    if not has_gap and not (psi.index > psi_min and psi.tail < pair.alpha):
        return
    middle = f", {shift(left, right, write)}" if pair.is_open else ""
    medians = {"median": [left.quantile(0.5), right.quantile(0.5)]} if pair.is_open else {}
    yield Cause(
        "distribution",
        pair.subject,
        f"{pair.subject}: distribution moved, PSI {psi.index:.2f}{middle}",
        gap,
        {"psi": psi.index, "ks": gap, "p": min(gap_tail, psi.tail), **medians},
    )


def shift(left: Distribution, right: Distribution, write: Write) -> str:
    """Where the middle went, or how wide the middle became if it stayed."""
    medians = [write(side.quantile(0.5)) for side in (left, right)]
    if medians[0] != medians[1]:
        return f"median {medians[0]} -> {medians[1]}"
    spans = [
        f"{write(side.quantile(0.1))} to {write(side.quantile(0.9))}" for side in (left, right)
    ]
    return f"median {medians[0]}, middle 80 % {spans[0]} -> {spans[1]}"


def in_other_unit(pair: ColumnPair, moved: Cause, change: UnitChange) -> Cause:
    """The move of a distribution as what it is: one change of all values."""
    middle = moved.sentence.partition(", ")[2]
    sentence = f"{pair.subject}: {change.words}, a change of unit? {middle}".removesuffix(" ")
    detail = {**moved.detail, "factor": change.factor, "offset": change.offset}
    return replace(moved, kind="unit", sentence=sentence, detail=detail)


# ---------------------------------------------------------------- moments


def moment_rule(pair: ColumnPair) -> Iterator[Cause]:
    """Rule 6 of a column of dates or timestamps, and rule 1 where time did not move on.

    New rows have new dates. Only a period that ends where the last one did can drift.
    """
    before, after = pair.both("max")
    if before is None or after is None:
        return
    newest = np.datetime64(before), np.datetime64(after)
    shown = before.replace("T", " "), after.replace("T", " ")
    if newest[1] > newest[0]:
        what, values = "moved on", f", {shown[0]} -> {shown[1]}"
    elif newest[1] == newest[0]:
        what, values = "is still", f" {shown[0]}"
    else:
        what, values = "went back", f", {shown[0]} -> {shown[1]}"
    told = values if pair.is_open else " the same" * (what == "is still")
    detail = {"is_newer": bool(newest[1] > newest[0])}
    if pair.is_open:
        detail |= {"baseline": before, "current": after}
    sentence = f"{pair.subject}: newest value {what}{told}"
    yield Cause("freshness", pair.subject, sentence, 0.0, detail)
    if newest[1] <= newest[0]:
        left, right = map(read_distribution, pair.both("quantiles"))
        yield from distribution_rule(pair, left, right, write=moment_figure)


def moment_figure(days: float) -> str:
    """Days since 2000 as a date."""
    return (moment_text(days) or "").partition("T")[0]


# ---------------------------------------------------------------- tails


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
        bounds = f"{figure(low)} to {figure(high)}" if pair.is_open else "the old bounds"
        parts.append(f"{percent(share)} of rows outside {bounds}")
    if ratio is not None:
        before, after = (figure(side["sd"]) for side in (pair.baseline, pair.current))
        spread = f"{before} -> {after}" if pair.is_open else f"times {figure(ratio)}"
        parts.append(f"standard deviation {spread}")
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
