"""Runs of a run store: what they state and the files that they hold, as reports of files.

The cases are in ``tests/surfaces/test_pii_cli.py``.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from nbgov.errors import NbgovError
from nbgov.pii.files import FORMATS, Source
from nbgov.pii.readers.texts import lines
from nbgov.pii.scanning import Scanner
from nbgov.pii.tally import FileReport, Looking, Question, scan
from nbgov.ports import RunStore

__all__ = ["SCHEME", "scan_run"]

SCHEME = "runs:/"


def scan_run(
    name: str, store: RunStore, question: Question, scanner: Scanner, passed: Counter[str]
) -> Iterator[FileReport]:
    """Read a run and count what is found in it, one report for each file and one for the rest.

    Args:
        name: ``runs:/RUN_ID``, perhaps with the path of an artifact or of a folder of them.
        store: What knows the run.
        question: What is looked for.
        scanner: What finds it.
        passed: Counts the files that are of no known kind, by how their names end.
    """
    run_id, _, below = name.removeprefix(SCHEME).partition("/")
    stated = FileReport(Source(f"{SCHEME}{run_id}", None, "run"))
    looking = Looking(question, scanner, stated)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for path, content in store.contents(
                run_id, folder=Path(folder), wanted=lambda path: is_meant(path, below)
            ):
                if isinstance(content, Path):
                    yield scan_copy(f"{SCHEME}{run_id}/{path}", content, question, scanner)
                    content.unlink()
                elif content is not None and not below:
                    looking.look(lines(path, list(content), range(1, len(content) + 1)))
                elif content is None and lies_in(path, below):
                    passed[Path(path).suffix.lower() or "without a suffix"] += 1
    except NbgovError as error:
        stated.error = error
    if not below or stated.error is not None:
        yield stated


def scan_copy(name: str, path: Path, question: Question, scanner: Scanner) -> FileReport:
    """The report of one file of a run."""
    source = Source(name, path, FORMATS[path.suffix.lower()])
    with source.open() as stream:
        return scan(source, stream, question, scanner)


def is_meant(path: str, below: str) -> bool:
    """Whether a file of a run is to be read."""
    return Path(path).suffix.lower() in FORMATS and lies_in(path, below)


def lies_in(path: str, below: str) -> bool:
    """Whether a file is what was named, or lies in it."""
    return not below or path == below or path.startswith(below.rstrip("/") + "/")
