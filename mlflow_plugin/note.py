"""The note on a run's page: the verdict in one line, then one row per governed input.

MLflow renders it as Markdown and shows about four lines before "Show more", so the first line has
to say it all. The text between two HTML comments is ours, which MLflow does not show; the rest is
the user's and stays byte for byte. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from mlflow_plugin.text import fitted

NOTE_TAG = "mlflow.note.content"
NOTE_MAX = 8_000  # MLflow cuts longer ones without a word.
BLOCK_MAX = 6_000
CELL_MAX = 120
SENTENCE_MAX = 400
BEGIN, END = "<!-- nbgov:begin -->", "<!-- nbgov:end -->"
SPECIAL = re.compile(r"([\\`*_{}\[\]()#|~!])")
LINKING = re.compile(r"(?<=[a-z]):(?=//)|(?<=www)\.", re.IGNORECASE)


def note(record: Mapping[str, Any], present: str) -> str:
    """A run's note with nbgov's block brought up to date.

    Args:
        record: The run's record, see :func:`mlflow_plugin.verdict.record_of`.
        present: The note as it stands; what is not between our markers is kept.

    Returns:
        The note; unchanged where the user's own text leaves no room for even the verdict line.
    """
    before, after = around(present)
    room = min(BLOCK_MAX, NOTE_MAX - len(before) - len(after))
    block = fitting(lines(record), room)
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


def lines(record: Mapping[str, Any]) -> list[str]:
    """The verdict line, then a Markdown table of the inputs."""
    return [
        verdict_line(record["verdict"], len(record["inputs"])),
        "",
        "| Input | Rows | Used as | Asked by | Masked |",
        "|---|--:|---|---|---|",
        *(input_row(one) for one in record["inputs"]),
    ]


def verdict_line(verdict: Mapping[str, Any], inputs: int) -> str:
    """The verdict in words, with a link to the run that it compares with."""
    head, colon, rest = str(verdict["sentence"]).partition(": ")
    word, words = (head, rest) if colon else (verdict["status"], head)
    parts = [f"**{plain(word.upper())}** {plain(words, SENTENCE_MAX)}"]
    baseline = verdict["baseline"]
    if baseline is not None:
        link = f"#/experiments/{baseline['experiment']}/runs/{baseline['id']}"
        parts.append(f"compared with [{plain(baseline['name'])}]({link})")
    parts.append(f"{inputs} governed input{'' if inputs == 1 else 's'}")
    return " · ".join(parts)


def input_row(one: Mapping[str, Any]) -> str:
    """One governed input as a row of the table."""
    facts, read = one["facts"], one["read"]
    cells = [
        f"{one['name']}@v{one['version_id'][:8]}",
        f"{facts.get('rows', 0):,}",
        f"{one['context']} via {one['bound_via']}",
        read.get("nbgov.principal", ""),
        ", ".join(facts.get("masked", {})) or "nothing",
    ]
    # MLflow draws no borders and no padding around cells.
    return f"| {' &nbsp; | '.join(map(plain, cells))} |"


def plain(text: str, characters_max: int = CELL_MAX) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> plain("a|b *c*")
    'a\\|b \\*c\\*'
    """
    short = fitted(" ".join(text.split()), characters_max)
    # Security: a table named `[x](https://...)`, or just `https://...`, would be a link.
    quoted = html.escape(SPECIAL.sub(r"\\\1", short), quote=False)
    return LINKING.sub(lambda found: f"&#{ord(found[0])};", quoted)
