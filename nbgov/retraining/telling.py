"""A drift report and a replay in a terminal: the verdict, then why, ranked, then what it means.

Lines are no wider than asked. Colour is somebody else's business: a :data:`Paint` gives a text a
mood, and the default one gives none. Cases: ``tests/surfaces/test_drift.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from nbgov.core.drift import Cause, DriftReport
from nbgov.core.visible import cells_wide, visible
from nbgov.retraining.outline import Told, outline
from nbgov.retraining.replay import Replay

# What a text says of the world: good, bad, open (a person should look), quiet, or strong.
Paint: TypeAlias = Callable[[str, str], str]

WIDTH = 100
WIDTH_MIN = 40
# Below this width sentences get the room of the bars.
BARS_WIDTH_MIN = 72
BAR_CELLS = 6
EIGHTHS = " ▏▎▍▌▋▊▉█"
MOODS = {"stable": "good", "baseline": "good", "drifted": "bad", "unknown": "open"}


def unpainted(text: str, mood: str) -> str:  # noqa: ARG001 - the shape of a Paint
    """The text as it is."""
    return text


def report_text(
    report: DriftReport,
    replay: Replay | None = None,
    *,
    width: int = WIDTH,
    paint: Paint = unpainted,
) -> str:
    """A report for a terminal.

    Args:
        report: What changed.
        replay: What each change is worth, where somebody replayed the training.
        width: Cells in a line.
        paint: Gives a text a mood.
    """
    width = max(width, WIDTH_MIN)
    mood = MOODS[report.status]
    found = outline(report)
    lines = [
        *filled(f"{report_title(report)}: ", width, paint=paint, last=(report.status, mood)),
        *filled(report.verdict, width, indent=2),
    ]
    if found.outcome:
        lines += ["", paint("What came of it", "strong")]
        lines += [line for one in found.outcome for line in filled(one.sentence, width, indent=2)]
    if found.changes:
        lines += ["", paint("What changed, ranked", "strong"), *tree(found.changes, width, paint)]
    if replay is not None:
        lines += ["", *replay_lines(replay, width, paint)]
    if found.remarks:
        lines += ["", paint("Remarks", "strong")]
        lines += [line for one in found.remarks for line in remark(one, width, paint)]
    if found.left:
        lines += ["", f"  … {found.left:,} more cause{'s' * (found.left > 1)}"]
    if found.holds:
        lines += ["", paint("Would hold a promotion", "bad")]
        lines += filled("; ".join(found.holds), width, indent=2)
    return "\n".join(lines)


def report_title(report: DriftReport) -> str:
    """Which side is compared with which."""
    return f"Drift of {report.current} from {report.baseline}"


# ---------------------------------------------------------------- causes


def tree(changes: Sequence[Told], width: int, paint: Paint) -> Iterator[str]:
    """Causes with a bar for their share of rows, and what follows of them below, indented."""
    kinds = [("  " * told.depth + "└ " if told.depth else "") + told.cause.kind for told in changes]
    wide = max(map(len, kinds))
    for told, kind in zip(changes, kinds, strict=True):
        gauge = gauged(told.share) if width >= BARS_WIDTH_MIN else ""
        mood = "quiet" if told.depth else "open"
        head = f"  {paint(gauge, mood)}{paint(kind.ljust(wide), 'quiet')}  "
        room = 2 + len(gauge) + wide + 2
        first, *rest = wrapped(visible(told.cause.sentence), width - room)
        yield f"{head}{first}".rstrip()
        yield from (" " * room + line for line in rest)


def gauged(share: float | None) -> str:
    """A bar and a figure for a share of rows; as much room for what has none."""
    if share is None:
        return " " * (BAR_CELLS + 7)
    return f"{bar(share)} {share:4.0%}  "


def bar(share: float) -> str:
    """A share as a bar, to the eighth of a cell.

    >>> bar(0.5), bar(0.0), bar(1.0)
    ('███   ', '▏     ', '██████')
    """
    eighths = max(1, round(min(share, 1.0) * BAR_CELLS * 8))
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(BAR_CELLS)


def remark(cause: Cause, width: int, paint: Paint) -> Iterator[str]:
    """A remark, after its kind."""
    for place, line in enumerate(wrapped(visible(cause.sentence), width - 16)):
        head = "" if place else visible(cause.kind)
        yield f"  {paint(head.ljust(12), 'quiet')}  {line}"


# ---------------------------------------------------------------- a replay


def replay_lines(replay: Replay, width: int, paint: Paint) -> Iterator[str]:
    """What each factor is worth, as a table of the metric's change."""
    yield paint(f"Replay: where the change of {visible(replay.metric)} comes from", "strong")
    for sentence in (replay.summary(), *replay.remarks()):
        yield from filled(sentence, width, indent=2)
    heads = [f"{visible(share.factor)}  {share.figure()}" for share in replay.shares]
    wide = max(map(cells_wide, heads), default=0)
    most = max(abs(share.effect or 0.0) for share in replay.shares) or 1.0
    for head, share in zip(heads, replay.shares, strict=True):
        gauge = bar(abs(share.effect or 0.0) / most) if share.effect else " " * BAR_CELLS
        name, _, figure = head.rpartition("  ")
        gap = " " * (wide - cells_wide(head))
        yield from filled(share.sentence(), width, first=f"  {name}  {gap}{figure} {gauge}  ")
    yield paint(f"  {replay.trainings_text()}", "quiet")


# ---------------------------------------------------------------- lines


def filled(
    text: str,
    width: int,
    *,
    indent: int = 0,
    first: str = "",
    paint: Paint = unpainted,
    last: tuple[str, str] = ("", ""),
) -> Iterator[str]:
    """Lines of a text, with a hanging indent.

    Args:
        text: The text, of anybody.
        width: Cells in a line.
        indent: Cells before every line.
        first: What stands before the first line; later lines are indented as far.
        paint: Gives ``last`` its mood.
        last: A word to end with, and its mood.
    """
    word, mood = last
    room = cells_wide(first) or indent
    lines = wrapped(visible(text) + word, width - room)
    if word:
        lines[-1] = lines[-1].removesuffix(word) + paint(word, mood)
    for place, line in enumerate(lines):
        yield f"{first if first and not place else ' ' * room}{line}".rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most so many cells, broken at spaces, and in words that are too long.

    >>> wrapped("air_time: median 129 -> 7,740", 16)
    ['air_time: median', '129 -> 7,740']
    """
    width = max(width, 8)
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and cells_wide(lines[-1]) + 1 + cells_wide(rest) <= width:
            lines[-1] += " " + rest
            continue
        while cells_wide(rest) > width:
            kept = longest_start(rest, width)
            lines.append(rest[:kept])
            rest = rest[kept:]
        lines.append(rest)
    return lines[1:] or [""]


def longest_start(text: str, width: int) -> int:
    """How many characters of a text fit into so many cells; at least one."""
    fitting = (n for n in range(min(len(text), width), 1, -1) if cells_wide(text[:n]) <= width)
    return next(fitting, 1)
