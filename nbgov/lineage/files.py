"""The digest over the files of a model: ``dirHash`` of in-toto, ``h1`` of Go modules."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nbgov.errors import RequestInvalid


def files_digest(folder: Path) -> str:
    r"""SHA-256 (hex) over the lines ``DIGEST  PATH`` of all files below a folder.

    Equals ``find . -type f | cut -c3- | LC_ALL=C sort | xargs sha256sum | sha256sum`` there.

    Args:
        folder: The folder; or one file, which then counts as a folder that holds nothing else.

    Raises:
        RequestInvalid: A file cannot be read, is no plain file, or has a newline in its name
            (``file-unreadable``).
    """
    whole = hashlib.sha256()
    try:
        for path, name in sorted(found(folder), key=lambda one: one[1]):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{digest}  ".encode() + name + b"\n")
    except OSError as error:
        raise unreadable(error.strerror or type(error).__name__) from error
    return whole.hexdigest()


def found(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Each file with its name in the digest: its path from the folder, with slashes."""
    if not folder.is_dir():
        yield folder, os.fsencode(folder.name)
        return
    for place, folders, names in os.walk(folder, onerror=refuse):
        # Security: a link could point at other bytes the next time that somebody looks.
        if any(Path(place, name).is_symlink() for name in (*folders, *names)):
            raise unreadable("something in it is a link")
        for name in names:
            path = Path(place, name)
            if not path.is_file():
                raise unreadable("a file of it is no plain file")
            if "\n" in str(path):
                raise unreadable("a file of it has a newline in its name")
            yield path, os.fsencode(path.relative_to(folder).as_posix())


def refuse(error: OSError) -> None:
    """Stop at a folder that cannot be listed: what is in it would be missing from the digest."""
    raise error


def unreadable(why: str) -> RequestInvalid:
    """The error of a model whose files cannot be told."""
    return RequestInvalid(
        "The files of the model cannot be read.",
        code="file-unreadable",
        why=why,
        next_step="name the folder that holds the model's files, and nothing else",
    )
