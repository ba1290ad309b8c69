"""The note on a run's page: the verdict in one line, then one row per governed input.

MLflow renders it as Markdown and shows about four lines before "Show more", so the first line has
to say it all. The text between two HTML comments is ours, which MLflow does not show; the rest is
the user's and stays byte for byte. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import nbgov
from mlflow_plugin.inputs import GovernedInput
from mlflow_plugin.text import fitted

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

NOTE_TAG = "mlflow.note.content"
NOTE_MAX = 8_000  # MLflow cuts longer ones without a word.
BLOCK_MAX = 6_000
CELL_MAX = 120
UNGOVERNED = "ungoverned input"
SENTENCE_MAX = 400
BEGIN, END = "<!-- nbgov:begin -->", "<!-- nbgov:end -->"
SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!])")
LINKING = re.compile(r"(?<=[a-z]):(?=//)|(?<=www)\.|@", re.IGNORECASE)


def note(
    lineage: nbgov.Lineage,
    inputs: tuple[GovernedInput, ...],
    baseline: MlflowRun | None,
    present: str,
) -> str:
    """A run's note with nbgov's block brought up to date.

    Args:
        lineage: The run's lineage, with its report.
        inputs: The run's governed inputs, as MLflow has them.
        baseline: The run that was compared with.
        present: The note as it stands; what is not between our markers is kept.

    Returns:
        The note; unchanged where the user's own text leaves no room for even the verdict line.
    """
    before, after = around(present)
    room = min(BLOCK_MAX, NOTE_MAX - len(before) - len(after))
    rows = [verdict_line(lineage, inputs, baseline), *input_table(inputs)]
    block = fitting(rows, room)
    return before + block + after if block else present


def around(present: str) -> tuple[str, str]:
    """The user's text before and after the block; without a block, all of it comes after."""
    before, begin, rest = present.partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        return before, after
    return "", f"\n\n{present}" if present else ""


def fitting(rows: list[str], room: int) -> str:
    """As many rows as there is room for, between the markers; empty when not even one fits."""
    hidden = 0
    while rows:
        more = [f"\n… and {hidden} more in nbgov/lineage.html."] if hidden else []
        block = "\n".join([BEGIN, *rows, *more, END])
        if len(block) <= room:
            return block
        rows = rows[:-1]
        hidden += 1
    return ""


def verdict_line(
    lineage: nbgov.Lineage, inputs: tuple[GovernedInput, ...], baseline: MlflowRun | None
) -> str:
    """The verdict in words, with a link to the run that it compares with."""
    report = lineage.report
    assert report is not None
    head, colon, rest = report.verdict.partition(": ")
    word, words = (head, rest) if colon else (report.status, head)
    title = f"**{plain(word.upper())}{':' if word.lower() == UNGOVERNED else ''}**"
    parts = [f"{title} {plain(words.removesuffix('.'), SENTENCE_MAX)}"]
    if baseline is not None:
        info = baseline.info
        page = f"#/experiments/{info.experiment_id}/runs/{info.run_id}"
        parts.append(f"compared with [{plain(info.run_name or info.run_id)}]({page})")
    parts.append(f"{len(inputs)} governed input{'' if len(inputs) == 1 else 's'}")
    return " · ".join(parts)


def input_table(inputs: tuple[GovernedInput, ...]) -> list[str]:
    """A Markdown table of the inputs; empty without any."""
    if not inputs:
        return []
    head = ["", "| Input | Rows | Used as | Asked by | Masked |", "|---|--:|---|---|---|"]
    return [*head, *map(input_row, inputs)]


def input_row(one: GovernedInput) -> str:
    """One governed input as a row of the table."""
    cells = [
        one.title,
        f"{one.facts.get('rows', 0):,}",
        usage(one),
        one.read.get("nbgov.principal", ""),
        ", ".join(one.facts.get("masked", {})) or "nothing",
    ]
    # MLflow draws no borders and no padding around cells.
    return f"| {' &nbsp; | '.join(map(plain, cells))} |"


def usage(one: GovernedInput) -> str:
    """What an input was used for, and how we know."""
    if one.bound_via == "session":
        return "read before, a guess"
    return f"{one.context} via {one.bound_via}"


def plain(text: str, characters_max: int = CELL_MAX) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> plain("a|b *c*")
    'a\\|b \\*c\\*'
    """
    short = fitted(" ".join(text.split()), characters_max)
    # Security: a table named `[x](https://...)`, `https://...` or `a@b.c` would be a link.
    quoted = html.escape(SPECIAL.sub(r"\\\1", short), quote=False)
    return LINKING.sub(lambda found: f"&#{ord(found[0])};", quoted)
