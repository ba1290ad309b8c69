"""What a column was and what it is, as one small picture: inline SVG without anything from outside.

A picture is made of a cause's ``shape`` alone. Its colours come from the page, so that it reads in
light and in dark, and its title and description say what it shows to who does not see it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbgov.core.drift.report import figure, percent
from nbgov.core.visible import cut, safe

WIDTH, HEIGHT = 260, 96
# The plot leaves a line of text below it.
FLOOR = HEIGHT - 16
LEVELS_MAX = 6
LEVEL_HEIGHT = 20
LABEL_CHARS_MAX = 13
LETTER_WIDTH = 6.6
FIGURE_WIDTH = 44
# Bins are equally wide if they differ by less than this share of the axis.
SAME_WIDTH = 0.005
# Histograms share one scale up to this ratio of their tops.
SAME_HEIGHT = 4


def picture(subject: str, shape: Mapping[str, Any]) -> str:
    """The picture of a column's shape before and now; empty if it is no shape that can be drawn.

    Args:
        subject: The column.
        shape: ``edges``, or ``labels``, with shares ``baseline`` and ``current``.
    """
    before, after = shares(shape.get("baseline")), shares(shape.get("current"))
    if not before or len(before) != len(after):
        return ""
    labels, edges = shape.get("labels"), shape.get("edges")
    if labels is not None and len(labels) == len(before):
        return levels(subject, [str(label) for label in labels], before, after)
    if edges is not None and len(edges) == len(before) + 1:
        return histogram(subject, edges, before, after)
    return ""


def shares(values: Any) -> list[float]:
    """Shares of rows as numbers; empty where there are none."""
    return [max(0.0, float(value)) for value in values or ()]


def drawing(height: int, title: str, description: str, parts: Iterator[str]) -> str:
    """An SVG with a name and a description."""
    return (
        f'<svg class="nbgov-picture" role="img" viewBox="0 0 {WIDTH} {height}">'
        f"<title>{safe(title)}</title><desc>{safe(description)}</desc>{''.join(parts)}</svg>"
    )


# ---------------------------------------------------------------- numbers and moments


def histogram(
    subject: str, edges: Sequence[Any], before: Sequence[float], after: Sequence[float]
) -> str:
    """Two histograms over one axis: the baseline filled, the current one as a line.

    Bins are drawn one as wide as the other; where they are not so, the axis names the middle too.
    """
    sides = before, after
    tops = [max(side) or 1.0 for side in sides]
    if max(tops) <= SAME_HEIGHT * min(tops):
        tops = [max(tops)] * 2  # Else one of them would be a flat line.
    marks = [edge_text(edges[place]) for place in (0, len(edges) // 2, -1)]
    peaks = [edge_text(edges[side.index(max(side))]) for side in map(list, sides)]
    description = (
        f"Shares of rows from {marks[0]} to {marks[2]}. "
        f"The most are near {peaks[0]} in the baseline, and near {peaks[1]} now."
    )

    def parts() -> Iterator[str]:
        yield f'<path class="nbgov-before" d="{outline(before, tops[0])}"/>'
        yield f'<path class="nbgov-after" d="{outline(after, tops[1])}"/>'
        yield f'<line class="nbgov-axis" x1="0" x2="{WIDTH}" y1="{FLOOR}" y2="{FLOOR}"/>'
        yield f'<text x="0" y="{HEIGHT - 3}">{safe(marks[0])}</text>'
        if not is_even(edges):
            x = WIDTH * (len(edges) // 2) / len(before)
            yield f'<text x="{x:.1f}" y="{HEIGHT - 3}" text-anchor="middle">{safe(marks[1])}</text>'
        yield f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{safe(marks[2])}</text>'

    return drawing(HEIGHT, f"{subject}, baseline and current", description, parts())


def is_even(edges: Sequence[Any]) -> bool:
    """Whether the bins between edges are equally wide; those of moments are taken to be."""
    if not all(isinstance(edge, int | float) for edge in edges):
        return True
    widths = [right - left for left, right in itertools.pairwise(edges)]
    spread: float = max(widths) - min(widths)
    return spread <= SAME_WIDTH * (abs(edges[-1] - edges[0]) or 1.0)


def outline(side: Sequence[float], top: float) -> str:
    """The path of a histogram's steps."""
    step = WIDTH / len(side)
    steps = [f"M0.0 {FLOOR}"]
    for place, share in enumerate(side):
        y = FLOOR - (FLOOR - 4) * share / top
        steps.append(f"L{place * step:.1f} {y:.1f}L{(place + 1) * step:.1f} {y:.1f}")
    return "".join([*steps, f"L{WIDTH:.1f} {FLOOR}"])


def edge_text(edge: Any) -> str:
    """An edge of a histogram, for people."""
    if isinstance(edge, int | float):
        return figure(float(edge))
    return str(edge).removesuffix("T00:00:00").replace("T", " ")[:16]


# ---------------------------------------------------------------- levels


def levels(
    subject: str, labels: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> str:
    """A pair of bars for each level."""
    rows = list(zip(labels, before, after, strict=True))
    if len(rows) > LEVELS_MAX:
        rest = rows[LEVELS_MAX - 1 :]
        rows = rows[: LEVELS_MAX - 1]
        rows.append(("other", sum(row[1] for row in rest), sum(row[2] for row in rest)))
    most = max(max(row[1], row[2]) for row in rows) or 1.0
    told = ", ".join(f"{label} {percent(old)} then {percent(new)}" for label, old, new in rows)

    shown = [cut(row[0], LABEL_CHARS_MAX) for row in rows]
    left = round(LETTER_WIDTH * max(map(len, shown))) + 10

    def parts() -> Iterator[str]:
        room = WIDTH - left - FIGURE_WIDTH
        for place, (_, old, new) in enumerate(rows):
            y = place * LEVEL_HEIGHT
            yield f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">'
            yield f"{safe(shown[place])}</text>"
            for kind, share, top in (("before", old, 3), ("after", new, 10)):
                width = max(0.5, room * share / most) if share else 0.0
                yield f'<rect class="nbgov-{kind}" x="{left}" y="{y + top}"'
                yield f' width="{width:.1f}" height="6"/>'
            yield f'<text x="{WIDTH}" y="{y + 14}" text-anchor="end">{safe(percent(new))}</text>'

    return drawing(
        len(rows) * LEVEL_HEIGHT,
        f"{subject}, baseline and current",
        f"Shares of rows of each level: {told}.",
        parts(),
    )
