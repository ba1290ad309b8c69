"""Receipts in files that people keep outside the log: notebooks, exports of runs, pages, texts.

A receipt is proof only of what its text says, so where a file came from does not matter.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from nbgov.errors import RequestInvalid
from nbgov.model import Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nbgov.session import Session

FILE_BYTES_MAX = 64 * 1024 * 1024
# A name of a log, as text around it would end it; a receipt has nothing before or behind it.
IN_TEXT = re.compile(
    r"""(?<![^\s"'`(\[{<>,;=])[^\s"'`()\[\]{}<>,;=#+]{1,256}/[0-9]{1,19}#[0-9a-f]{64}(?![0-9a-f])"""
)


def checkpoint(session: Session) -> str:
    """The signed checkpoint over the audit log as it is now, a note; empty for an empty log.

    Kept outside the log beside receipts, it shows that the log had come that far.

    Args:
        session: An open session.

    Raises:
        BackendFailed: It cannot be made (code ``audit-unavailable``).
    """
    note = session.world.audit.checkpoint()
    return "" if note is None else str(note)


def find_receipts(path: Path) -> tuple[Receipt, ...]:
    """Every receipt in a file, each once, in the order of the file.

    Of JSON, as notebooks and exported runs are, each text is looked through by itself, metadata of
    a notebook's outputs included; of any other file its text.

    Args:
        path: The file.

    Raises:
        RequestInvalid: It cannot be read (``file-unreadable``) or holds none (``receipt-invalid``).
    """
    text = content(path)
    try:
        texts = list(strings(json.loads(text)))
    except (ValueError, RecursionError):
        texts = [text]
    found = {one: None for part in texts for one in IN_TEXT.findall(part)}
    if not found:
        raise RequestInvalid(
            f"There is no receipt in {path.name}.",
            code="receipt-invalid",
            why="a receipt reads ORIGIN/INDEX#DIGEST, with 64 hexadecimal digits at the end",
            next_step="name a notebook with its outputs, or a file that a receipt was copied to",
        )
    return tuple(map(Receipt.parse, found))


def content(path: Path) -> str:
    """The text of a file; what is no UTF-8 in it stands for nothing.

    Raises:
        RequestInvalid: It cannot be read, or is too long (``file-unreadable``).
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise unreadable(path, error.strerror or type(error).__name__) from error
    if len(data) > FILE_BYTES_MAX:
        raise unreadable(path, f"it is longer than {FILE_BYTES_MAX:,} bytes")
    return data.decode(errors="replace")


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names of members included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def unreadable(path: Path, why: str) -> RequestInvalid:
    """The error of a file that cannot be read."""
    return RequestInvalid(
        f"The file {path.name} cannot be read.",
        code="file-unreadable",
        why=why,
        next_step="check the path and its permissions",
    )
