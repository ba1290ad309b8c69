"""What every magic needs of the front end: whether somebody can click, and how to show a thing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from IPython.display import display

from nbgov.shown.render import facts_html, facts_text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

NO_FRONT_END = "NBGOV_NONINTERACTIVE"


def has_front_end(shell: InteractiveShell) -> bool:
    """Whether somebody can click: a kernel whose client takes input, and nobody said otherwise."""
    kernel = getattr(shell, "kernel", None)
    can_answer = bool(getattr(kernel, "_allow_stdin", False))
    return can_answer and not os.environ.get(NO_FRONT_END)


def show(title: str, facts: Sequence[tuple[str, str]]) -> None:
    """Display labelled facts."""
    put({"text/plain": facts_text(title, facts), "text/html": facts_html(title, facts)})


def put(data: dict[str, str], details: dict[str, Any] | None = None) -> None:
    """Display a bundle of one thing in several forms."""
    display(data, raw=True, metadata=details)
