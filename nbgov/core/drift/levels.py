"""The rules for levels: their shares, new and lost ones, and the number of different values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nbgov.core.drift.columns import ColumnPair
from nbgov.core.drift.distances import association, stability
from nbgov.core.drift.evidence import proportions_tail
from nbgov.core.drift.labels import HEAVY_MAX
from nbgov.core.drift.profile import BUCKET_ROWS_MIN
from nbgov.core.drift.report import Cause, percent

CRAMERS_V_MIN = 0.03
LEVEL_MIN = 0.005
LEVEL_ROWS_MIN = 10
UNSEEN_FACTOR = 3
# What hash buckets say besides is the same levels again, up to this much.
EXPLAINED_FACTOR = 1.5
LABELS_SHOWN_MAX = 3
LABEL_SHOWN_CHARS_MAX = 40
# Counts of different values are estimates; beyond what rows alone allow they have to differ by this
# factor, by this share of rows, and by so many standard deviations of values seen once.
DISTINCT_FACTOR_MIN = 1.5
DISTINCT_ROWS_MIN = 0.01
DISTINCT_SIGMAS = 6.0


def level_rules(pair: ColumnPair) -> Iterator[Cause]:
    """Rules 2 and 5: levels by their labels if both profiles have them, otherwise by buckets."""
    labels = pair.both("labels")
    is_whole = all(side.get("labels_are_all", True) for side in (pair.baseline, pair.current))
    if pair.is_measured and is_whole and all(side is not None for side in labels):
        yield from labelled(pair, *(dict(side) for side in labels))
        return
    frequent = [*frequent_rule(pair, is_new=True), *frequent_rule(pair, is_new=False)]
    yield from frequent
    found: list[Cause] = []
    keys = pair.both("bucket_key")
    if (keys[0] or "") == (keys[1] or ""):
        found += share_rule(pair, completed(pair, pair.both("buckets")), "distribution moved")
    lengths = pair.both("lengths")
    if all(lengths):
        found += share_rule(pair, completed(pair, lengths), "lengths moved")
    told = EXPLAINED_FACTOR * sum(cause.effect for cause in frequent)
    largest = sorted(found, key=lambda cause: -cause.effect)[:1]
    yield from (cause for cause in largest if cause.effect > told)


def labelled(
    pair: ColumnPair, before: Mapping[str, int], after: Mapping[str, int]
) -> Iterator[Cause]:
    """Levels that came or went, then the shares of the others among themselves."""
    moved = [
        *new_level_rule(pair, before, after, is_new=True),
        *new_level_rule(pair, after, before, is_new=False),
    ]
    names = sorted(before.keys() | after.keys())
    counts = completed(pair, [[side.get(name, 0) for name in names] for side in (before, after)])
    if not moved:
        yield from share_rule(pair, counts, "shares of levels moved")
        return
    psi = stability(*counts).index
    yield from (replace(one, detail={**one.detail, "psi": psi}) for one in moved)
    stayed = [name for name in names if name in before and name in after]
    rest = [[side[name] for name in stayed] for side in (before, after)]
    yield from share_rule(pair, rest, "shares of the other levels moved")


def share_rule(pair: ColumnPair, counts: Sequence[Sequence[float]], what: str) -> Iterator[Cause]:
    """Rule 2: the shares of levels moved; the counts are of all rows."""
    found = association(*counts)
    psi = stability(*counts).index
    least = CRAMERS_V_MIN if pair.terms.cramers_v is None else pair.terms.cramers_v
    if found.tail >= pair.alpha or found.v <= least:
        return
    if pair.terms.psi is not None and psi <= pair.terms.psi:
        return
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
    its shares and the bound of a rare level let them; what is left makes a level of its own. Where
    that is more than on the other side, a level was left out that is not rare, to protect one that
    is, and gets the difference.
    """
    tables = [np.array(side, np.float64) for side in counts]
    present = [max(1, rows) for rows in pair.present]
    rests, likely, filled = [], [], []
    for mine, other in ((0, 1), (1, 0)):
        hidden = tables[mine] == 0
        rest = max(0.0, present[mine] - float(tables[mine].sum()))
        likely.append(np.where(hidden, tables[other] * present[mine] / present[other], 0.0))
        known = np.minimum(likely[mine], BUCKET_ROWS_MIN - 1)
        filled.append(known * min(1.0, rest / max(1.0, float(known.sum()))))
        rests.append(rest - float(filled[mine].sum()))
    sides = []
    for mine, other in ((0, 1), (1, 0)):
        room = likely[mine] - filled[mine]
        more = rests[mine] - rests[other] * present[mine] / present[other]
        share = min(1.0, max(0.0, more) / max(1.0, float(room.sum())))
        told = tables[mine] + filled[mine] + room * share
        sides.append([*told.tolist(), rests[mine] - share * float(room.sum())])
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
    word = ("new" if is_new else "lost") + (" level" if len(found) == 1 else " levels")
    yield levels_cause(pair, found, word, is_new=is_new)


def frequent_rule(pair: ColumnPair, *, is_new: bool) -> Iterator[Cause]:
    """Rule 5 where there are too many levels to count: one that came or went among the frequent.

    Args:
        pair: The column.
        is_new: Whether the side that has it is the current one.
    """
    sides = (pair.baseline, pair.current) if is_new else (pair.current, pair.baseline)
    n_before, n_after = pair.present if is_new else pair.present[::-1]
    (before, rest), (after, _) = (frequent_levels(side) for side in sides)
    if not pair.is_measured or not before or not after:
        return
    found = []
    for label, count in after.items():
        most = before.get(label, 0) + rest
        is_frequent = count / n_after > LEVEL_MIN + UNSEEN_FACTOR * most / n_before
        if is_frequent and proportions_tail(most, n_before, count, n_after) < pair.alpha:
            found.append((label, count / n_after))
    if not found:
        return
    word = ("new" if is_new else "lost") + (" level" if len(found) == 1 else " levels")
    yield levels_cause(pair, found, f"{word} among the frequent ones", is_new=is_new)


def frequent_levels(side: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """Levels with at least so many rows, and how many more one may have, told or not."""
    if side.get("labels") is not None:
        return dict(side["labels"]), 0 if side.get("labels_are_all", True) else BUCKET_ROWS_MIN
    heavy = side.get("heavy") or []
    last = heavy[-1][1] if len(heavy) >= HEAVY_MAX else 0
    return dict(heavy), last + side.get("heavy_error", 0)


def levels_cause(
    pair: ColumnPair, found: Sequence[tuple[str, float]], word: str, *, is_new: bool
) -> Cause:
    """Levels that came or went; by name only where they may be told."""
    total = sum(share for _, share in found)
    if pair.is_open:
        sentence, detail = told_levels(found, word), {"levels": dict(found)}
    else:
        sentence, detail = f"{len(found)} {word} ({percent(total)})", {}
    return Cause(
        "levels",
        pair.subject,
        f"{pair.subject}: {sentence}",
        min(1.0, total),
        {"is_new": is_new, **detail},
    )


def told_levels(found: Sequence[tuple[str, float]], word: str) -> str:
    """Levels with their shares, a few of them by name."""
    shown = ", ".join(
        f"{label[:LABEL_SHOWN_CHARS_MAX]!r} ({percent(share)})"
        for label, share in found[:LABELS_SHOWN_MAX]
    )
    more = f" and {len(found) - LABELS_SHOWN_MAX} more" if len(found) > LABELS_SHOWN_MAX else ""
    return f"{word} {shown}{more}"


def cardinality_rule(pair: ColumnPair) -> Iterator[Cause]:
    """Rule 7: another number of different values than more or fewer rows alone can bring.

    Of more rows drawn from the same place, there are at least as many different values as before,
    and at most as many more as there are more rows.
    """
    distinct, present = pair.both("distinct"), pair.present
    if not all(distinct) or not all(present):
        return
    before, after = distinct
    allowed = sorted([before, before * present[1] / present[0]])
    nearest = min(max(after, allowed[0]), allowed[1])
    missing = abs(after - nearest)
    least, most = sorted([after, nearest])
    share = missing / max(present)
    rounding = 1.0 if pair.is_measured else 2.0  # Counts of pii columns are told to one digit.
    if (
        most < DISTINCT_FACTOR_MIN * rounding * least
        or missing < DISTINCT_SIGMAS * math.sqrt(most)
        or share < DISTINCT_ROWS_MIN
    ):
        return
    yield Cause(
        "cardinality",
        pair.subject,
        f"{pair.subject}: different values {before:,} -> {after:,}",
        min(1.0, share),
        {"baseline": before, "current": after},
    )
