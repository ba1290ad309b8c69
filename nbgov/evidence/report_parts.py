"""The parts that the sections of the audit report are made of, and how it looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from nbgov.core.audit.overview import Listed, Reach, Slots, Span, Told
from nbgov.core.markup import Markup, breakable, element, fitted, table

ROWS_MAX = 100
TEXT_CHARS_MAX = 300
BAR_WIDTH, BAR_HEIGHT = 90, 9

K = TypeVar("K")

STYLE = """
.prose { overflow-wrap: anywhere; }
.when { white-space: nowrap; font-variant-numeric: tabular-nums; }
h3 { font-size: 14px; margin: 18px 0 6px; }
svg.share { width: 90px; margin-top: 6px; }
rect.permitted { fill: var(--calm); } rect.denied { fill: var(--warn); }
rect.track { fill: var(--line); }
.chart { width: 100%; } .chart line { stroke: var(--line); }
.legend i { display: inline-block; width: 12px; height: 9px; margin: 0 5px 0 14px; }
.legend i.permitted { background: var(--calm); } .legend i.denied { background: var(--warn); }
ol.checking { margin: 6px 0; padding-left: 22px; }
@media print {
  @page { size: A4; margin: 16mm 14mm 18mm; }
  body { font-size: 9.5pt; } h1 { font-size: 15pt; } h2 { font-size: 12pt; break-after: avoid; }
  h3 { break-after: avoid; } tr, .answers, svg, pre { break-inside: avoid; }
  th, td { padding: 3px 8px 3px 0; } .number { padding-right: 10px; }
  th { font-size: 8pt; } code, pre { font-size: 8pt; } td code { white-space: normal; }
  .legend i, rect { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def cut_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, label: str, none: str = ""
) -> Iterator[Markup]:
    """A table of the first rows, and how many more there are; a sentence where there is none."""
    if not rows:
        yield element("p", none, class_="soft")
        return
    yield table(head, rows[:ROWS_MAX], label=label)
    left = len(rows) - ROWS_MAX
    if left > 0:
        yield element("p", f"And {left:,} more, with smaller numbers.", class_="soft")


def list_table(
    head: Sequence[str],
    found: Listed[Told],
    row: Callable[[Told], Sequence[str]],
    *,
    label: str,
    none: str,
) -> Iterator[Markup]:
    """A table of entries, newest first, and how many older ones there are."""
    newest = list(reversed(found.newest))[:ROWS_MAX]
    yield from cut_table(head, [row(one) for one in newest], label=label, none=none)
    older = found.count - len(newest)
    if older > 0:
        yield element("p", f"And {older:,} older ones in the log.", class_="soft")


def head_of(told: Told) -> list[str]:
    """Which entry, when, and by whom."""
    return [f"{told.index}", when(told.record.at), told.record.principal or "—"]


def ranked(slots: Slots[K, Span]) -> list[tuple[K | None, Span]]:
    """Names with their counts, the largest first, all others last."""
    return sorted(slots, key=lambda item: (item[0] is None, -item[1].count, str(item[0])))


def share(reach: Reach, most: int) -> Markup:
    """A bar: how many requests, and how many of them were denied."""
    denied = BAR_WIDTH * reach.ended["denied"] / most
    whole = BAR_WIDTH * reach.requests / most
    return element(
        "svg",
        rect("track", 0, 0, BAR_WIDTH, BAR_HEIGHT),
        rect("permitted", 0, 0, f"{whole - denied:.1f}", BAR_HEIGHT),
        rect("denied", f"{whole - denied:.1f}", 0, f"{denied:.1f}", BAR_HEIGHT),
        class_="share",
        viewBox=f"0 0 {BAR_WIDTH} {BAR_HEIGHT}",
        aria_hidden="true",
    )


def rect(kind: str, x: float | str, y: float | str, width: float | str, height: float) -> Markup:
    """A filled rectangle."""
    top = y if isinstance(y, str) else f"{y:.1f}"
    return element("rect", class_=kind, x=x, y=top, width=width, height=f"{height:.1f}")


def times_of(span: Span) -> list[str]:
    """When something was first and last."""
    return [when(span.first_at), when(span.last_at)]


def when(at: datetime | None) -> Markup:
    """A time in a cell, in one line; all of them are UTC."""
    shown = "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"
    return element("span", shown, class_="when")


def moment(at: datetime) -> str:
    """A time in a sentence."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def who(name: str | None) -> str:
    """Somebody's name."""
    return "all others" if name is None else name or "nobody known"


def prose(text: str) -> Markup:
    """A longer text in a cell, cut where it is too long, which may break anywhere."""
    return element("span", breakable(fitted(text, TEXT_CHARS_MAX)), class_="prose")


def code(text: str) -> Markup:
    """A digest or an id, which may go on in the next line."""
    return element("code", text, class_="long")


def times(count: int) -> str:
    """How often."""
    return "once" if count == 1 else f"{count:,} times" if count else "never"


def persons(number: int) -> str:
    """A number of people."""
    return f"{number:,} {'person' if number == 1 else 'people'}"
