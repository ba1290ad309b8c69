"""What ``nbgov scan`` is told to read: files, folders, runs and standard input."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from nbgov.errors import NbgovError
from nbgov.pii.files import Source, find, unreadable
from nbgov.pii.runs import SCHEME, scan_run
from nbgov.pii.scanning import Scanner
from nbgov.pii.tally import FileReport, Question, scan
from nbgov.wiring import run_store

__all__ = ["Target", "find_targets", "read_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A file, a run where there is neither file nor error, or the reason why there is nothing.

    Attributes:
        name: As a person gave it.
        source: The file.
        error: Why nothing can be read.
    """

    name: str
    source: Source | None = None
    error: NbgovError | None = None

    @property
    def size(self) -> int:
        """Bytes to read, as far as anybody knows."""
        with contextlib.suppress(OSError):
            return 0 if self.source is None else self.source.size
        return 0


def find_targets(
    name: str, passed: Counter[str], *, form: str, include: Sequence[str], exclude: Sequence[str]
) -> list[Target]:
    """What a name stands for; a folder stands for many files.

    Args:
        name: A file, a folder, a run or ``-``.
        passed: Counts the files of no known kind, by how their names end.
        form: The format of what is named by itself.
        include: In folders, the patterns of what to read.
        exclude: In folders, the patterns of what to leave out.
    """
    if name.startswith(SCHEME):
        return [Target(name)]
    try:
        found, others = find([name], form=form, include=include, exclude=exclude)
    except NbgovError as error:
        return [Target(name, error=error)]
    passed.update(others)
    if not found:
        why = "It holds no file of a known kind."
        step = "Name what to read with --include, such as '*.py'."
        return [Target(name, error=unreadable(Source(name, None, "folder"), why, step))]
    return [Target(name, source) for source in found]


def read_target(
    target: Target,
    question: Question,
    scanner: Scanner,
    passed: Counter[str],
    progress: Callable[[BinaryIO], Callable[[], None]],
) -> Iterator[FileReport]:
    """Read what is meant; a run has a report for each of its files.

    Args:
        target: What is meant.
        question: What is looked for.
        scanner: What finds it.
        passed: Counts the files of no known kind, by how their names end.
        progress: Gets the stream that is read, and returns what to call after each part.
    """
    source = target.source or Source(target.name, None, "run" if target.error is None else "")
    try:
        if target.error is not None:
            raise target.error
        if target.source is None:
            yield from scan_run(target.name, run_store(), question, scanner, passed)
            return
        with source.open() as stream:
            yield scan(source, stream, question, scanner, progress(stream))
    except NbgovError as error:
        yield FileReport(source, error=error)
