"""Files that leave nbgov as evidence: each appears whole under its name, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from nbgov.errors import BackendFailed

NAME_CHARS_MAX = 100


@contextmanager
def draft(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name when the block ends well and is gone otherwise.

    Only its owner may read it.

    Raises:
        BackendFailed: It cannot be written (code ``file-unwritable``).
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            # A device, a pipe or a folder of that name would be replaced by the file.
            raise unwritable(path, "something that is no file has this name")
        fd, name = tempfile.mkstemp(prefix=f".{path.name[:NAME_CHARS_MAX]}.", dir=path.parent)
    except OSError as error:
        raise unwritable(path, error.strerror or type(error).__name__) from error
    except RuntimeError as error:
        raise unwritable(path, "its links lead in a circle") from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException as error:
        with suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise unwritable(path, error.strerror or type(error).__name__) from error
        raise


def unwritable(path: Path, why: str) -> BackendFailed:
    """The error of a file that cannot be written."""
    return BackendFailed(
        f"{path.name} cannot be written.",
        code="file-unwritable",
        why=why,
        next_step="name a file in a folder that exists, that you may write to and that has room",
    )
