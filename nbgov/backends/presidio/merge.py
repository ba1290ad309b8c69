"""From what every recognizer found to what Presidio answers: thresholds, duplicates, order.

The order of the answer is Presidio's own. Where two recognizers find the same thing, Presidio
leaves it to chance, the order of a set of objects, which of them it names; here it is the one that
comes first in the registry. The cases are in ``tests/backends/test_detector_findings.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nbgov.backends.presidio.hits import Hit


def merge(hits: Sequence[Hit], least: Callable[[Hit], float]) -> list[Hit]:
    """The hits in one value that Presidio answers with, in its order.

    Args:
        hits: What the recognizers found, in the order of the recognizers.
        least: The lowest score that counts, for each hit.
    """
    kept = [hit for hit in hits if hit.score >= least(hit)]
    if len(kept) > 1:
        kept = without_duplicates(kept)
        kept.sort(key=lambda hit: (-hit.score, hit.start, hit.start - hit.end))
        return kept
    return [hit for hit in kept if hit.score]


def without_duplicates(hits: Iterable[Hit]) -> list[Hit]:
    """The hits that lie in no other hit of the same entity and at least the same score."""
    ordered = sorted(hits, key=lambda hit: (hit.entity, hit.start, hit.start - hit.end, -hit.score))
    kept: list[Hit] = []
    active: list[Hit] = []
    entity = None
    for hit in ordered:
        if hit.entity != entity:
            entity, active = hit.entity, []
        if not hit.score:
            continue
        active = [other for other in active if other.end >= hit.start]
        # All that are active begin at or before this one.
        if not any(hit.end <= other.end and hit.score <= other.score for other in active):
            kept.append(hit)
            active.append(hit)
    return kept
