"""Drawings of the lineage page: the graph from tables to the model, bars, and small plots.

Each is one SVG that needs nothing from outside, takes its colours from the page, and says in words
what it shows. Figures of a plot come from a record that anybody may have written, so they are
held against what a plot needs; what does not fit is not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from nbgov.core.markup import Markup, element, fitted, joined

NODES_MAX = 12
NODE_HEIGHT, NODE_STEP, GAP = 46, 60, 44
CHARACTER_WIDTH = 6.9
BAR_WIDTH = 90
PLOT_WIDTH, PLOT_HEIGHT = 190, 54
LEVEL_STEP, LABEL_WIDTH = 15, 84
BINS_MAX, LEVELS_MAX = 200, 8
# A unit that changed puts one side into a single narrow bin.
FLATTENED_MIN = 6
GROUPED_MIN, EXACT_MAX = 1_000, 1e12


@dataclass(frozen=True, slots=True)
class Node:
    """A box of the graph.

    Attributes:
        key: What edges call it.
        title, below: Its two lines.
        kind: ``table``, ``data``, ``run``, ``model`` or ``stranger``.
    """

    key: str
    title: str
    below: str
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line from a node to one of the next column; a dashed one is no proof."""

    start: str
    end: str
    is_sure: bool = True


def graph(columns: Sequence[tuple[int, Sequence[Node]]], lines: Sequence[Line]) -> Markup:
    """Nodes in columns from left to right, and the lines between them.

    Args:
        columns: The width of each column and its nodes; of many, the first are drawn.
        lines: Drawn where both ends are.
    """
    rows = max(1, *(min(len(nodes), NODES_MAX) for _, nodes in columns))
    places: dict[str, tuple[float, float, float]] = {}
    boxes: list[Markup] = []
    left = 2.0
    for width, nodes in columns:
        shown = nodes[:NODES_MAX]
        for node, top in zip(shown, tops(len(shown), rows), strict=True):
            places[node.key] = (left, top, width)
            boxes.append(box(node, left, top, width))
        left += width + GAP
    paths = [
        path(places[one.start], places[one.end], is_sure=one.is_sure)
        for one in lines
        if one.start in places and one.end in places
    ]
    whole, height = left - GAP + 2, rows * NODE_STEP
    drawing = element(
        "svg",
        element("title", "From tables to the model, from left to right"),
        *paths,
        *boxes,
        viewBox=f"0 0 {whole:g} {height}",
        width=f"{whole:g}",
        role="img",
        class_="graph",
    )
    hidden = sum(max(0, len(nodes) - NODES_MAX) for _, nodes in columns)
    more = [element("p", f"{hidden} more are not drawn.", class_="soft")] if hidden else []
    return joined(element("div", drawing, class_="wide"), *more)


def tops(count: int, rows: int) -> list[float]:
    """The top edges of nodes that are spread evenly over the height of so many rows."""
    step = rows * NODE_STEP / max(count, 1)
    return [round(place * step + (step - NODE_HEIGHT) / 2, 1) for place in range(count)]


def box(node: Node, left: float, top: float, width: float) -> Markup:
    """A box with a title and a small line; the whole text shows on hover."""
    characters = int((width - 18) / CHARACTER_WIDTH)
    return element(
        "g",
        element("title", f"{node.title}, {node.below}"),
        element(
            "rect", class_=f"node {node.kind}", x=left, y=top, width=width, height=NODE_HEIGHT, rx=6
        ),
        element("text", fitted(node.title, characters), x=left + 9, y=top + 19),
        element("text", fitted(node.below, characters + 3), class_="small", x=left + 9, y=top + 36),
    )


def path(
    start: tuple[float, float, float], end: tuple[float, float, float], *, is_sure: bool
) -> Markup:
    """A line from the right edge of a box to the left edge of another."""
    x1, y1 = start[0] + start[2], start[1] + NODE_HEIGHT / 2
    x2, y2 = end[0], end[1] + NODE_HEIGHT / 2
    bend = (x1 + x2) / 2
    return element(
        "path",
        class_="" if is_sure else "unsure",
        d=f"M{x1:g},{y1:g} C{bend:g},{y1:g} {bend:g},{y2:g} {x2:g},{y2:g}",
    )


def bar(share: float) -> Markup:
    """A bar that fills a share of its track; the figure stands beside it, so it is not read out."""
    filled = max(2.0, round(BAR_WIDTH * min(max(share, 0.0), 1.0), 1))
    return element(
        "svg",
        element("rect", class_="track", width=BAR_WIDTH, height=9, y=4, rx=3),
        element("rect", class_="bar", width=filled, height=9, y=4, rx=3),
        class_="bar",
        viewBox=f"0 0 {BAR_WIDTH} 17",
        aria_hidden="true",
    )


# ---------------------------------------------------------------- plots of two distributions


def plot(shape: object, *, subject: str) -> Markup | None:
    """Baseline and current side by side, or ``None`` where there is nothing to draw.

    Args:
        shape: ``detail["shape"]`` of a :class:`~nbgov.core.drift.Cause`.
        subject: What the plot is of.
    """
    if not isinstance(shape, Mapping):
        return None
    sides = shares(shape.get("baseline")), shares(shape.get("current"))
    if sides[0] is None or sides[1] is None or len(sides[0]) != len(sides[1]):
        return None
    edges, labels = listed(shape.get("edges")), listed(shape.get("labels"))
    if 1 <= len(sides[0]) == len(edges) - 1 <= BINS_MAX:
        return histogram(edges, (sides[0], sides[1]), subject)
    if 1 <= len(sides[0]) == len(labels):
        return levels(labels, (sides[0], sides[1]), subject)
    return None


def listed(value: object) -> Sequence[Any]:
    """A list as it is; nothing for anything else."""
    return value if isinstance(value, list | tuple) else ()


def shares(value: object) -> list[float] | None:
    """The shares of one side, or ``None`` if the value holds anything else."""
    if not isinstance(value, list | tuple):
        return None
    is_share = (type(one) in {int, float} and 0 <= one <= 1 for one in value)
    return [float(one) for one in value] if all(is_share) else None


def histogram(
    edges: Sequence[Any], sides: tuple[Sequence[float], Sequence[float]], subject: str
) -> Markup:
    """Two outlines over one axis: the baseline filled, the current one as a line.

    Every bin is as wide as the next one, whatever lies between its edges: where both sides are of
    other units, the edges grow away from zero, so that both can be seen.
    """
    outlines = [
        outline([one / peak for one in side])
        for side, peak in zip(sides, peaks(sides), strict=True)
    ]
    first, last = tick(edges[0]), tick(edges[-1])
    return element(
        "svg",
        element("title", f"{subject}, baseline and current, from {first} to {last}"),
        element("path", class_="then", d=f"{outlines[0]}Z"),
        element("path", class_="now", d=outlines[1]),
        element("text", first, class_="small", x=1, y=PLOT_HEIGHT + 13),
        element(
            "text", last, class_="small", x=PLOT_WIDTH - 1, y=PLOT_HEIGHT + 13, text_anchor="end"
        ),
        class_="plot",
        viewBox=f"0 0 {PLOT_WIDTH} {PLOT_HEIGHT + 16}",
        role="img",
    )


def peaks(heights: Sequence[Sequence[float]]) -> list[float]:
    """What each side is drawn against: one scale, or its own where one would flatten the other.

    >>> peaks([[1.0, 2.0], [4.0]]), peaks([[1.0], [100.0]]), peaks([[0.0], [0.0]])
    ([4.0, 4.0], [1.0, 100.0], [1.0, 1.0])
    """
    own = [max(side) for side in heights]
    common = max(own)
    is_flat = any(0 < one * FLATTENED_MIN < common for one in own)
    return [(one if is_flat else common) or 1.0 for one in own]


def outline(heights: Sequence[float]) -> str:
    """The steps of a histogram as a path from the axis and back to it.

    >>> outline([1.0])
    'M0,54L0.0,3.0L190.0,3.0L190,54'
    """
    steps = [f"M0,{PLOT_HEIGHT}"]
    for place, height in enumerate(heights):
        left, right = (PLOT_WIDTH * end / len(heights) for end in (place, place + 1))
        top = PLOT_HEIGHT - height * (PLOT_HEIGHT - 3)
        steps.append(f"L{left:.1f},{top:.1f}L{right:.1f},{top:.1f}")
    return "".join([*steps, f"L{PLOT_WIDTH},{PLOT_HEIGHT}"])


def levels(
    labels: Sequence[Any], sides: tuple[Sequence[float], Sequence[float]], subject: str
) -> Markup:
    """Two bars for each level: the baseline above, the current one below."""
    peak = max(*sides[0][:LEVELS_MAX], *sides[1][:LEVELS_MAX], 0.0) or 1.0
    room = PLOT_WIDTH - LABEL_WIDTH
    parts: list[Markup] = []
    rows = list(zip(labels, *sides, strict=True))[:LEVELS_MAX]
    for place, (label, then, now) in enumerate(rows):
        top = place * LEVEL_STEP
        name = fitted(tick(label), 12)
        parts += [
            element("text", name, class_="small", x=0, y=top + 10),
            element(
                "rect", class_="then", x=LABEL_WIDTH, y=top + 1, height=5,
                width=f"{room * then / peak:.1f}",
            ),
            element(
                "rect", class_="now", x=LABEL_WIDTH, y=top + 7, height=5,
                width=f"{room * now / peak:.1f}",
            ),
        ]  # fmt: skip
    return element(
        "svg",
        element("title", f"{subject}, shares of {len(rows)} levels, baseline and current"),
        *parts,
        class_="plot",
        viewBox=f"0 0 {PLOT_WIDTH} {max(len(rows) * LEVEL_STEP, 1)}",
        role="img",
    )


def tick(value: object) -> str:
    """An end of an axis, or a level, for people.

    >>> tick(1234.5678), tick("2026-01-01T00:00:00"), tick(None)
    ('1,235', '2026-01-01', 'missing')
    """
    if value is None:
        return "missing"
    if type(value) in {int, float} and abs(number := cast("float", value)) < EXACT_MAX:
        return f"{number:,.0f}" if abs(number) >= GROUPED_MIN else f"{number:.4g}"
    return str(value).removesuffix("T00:00:00")
