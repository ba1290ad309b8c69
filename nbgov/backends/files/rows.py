"""The delivered, masked rows of dataset versions, one Parquet file for each key.

A file appears whole under its fingerprint or not at all: it is written under another name, made
durable and renamed. Whether its rows are still the ones with that fingerprint is for whoever reads
them to check.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nbgov.backends.files.durable import OPEN_FLAGS, make_folder, sync_folder
from nbgov.errors import BackendFailed

SUFFIX = ".parquet"
DRAFT_SUFFIX = ".draft"
DRAFT_AGE_MAX_S = 24 * 3600


class FileRowStore:
    """A :class:`~nbgov.ports.RowStore` in a folder that only its owner can read.

    Args:
        folder: The folder, made with the first rows.
        bytes_max: Size of all files; the ones that were not kept or read for longest go first.
    """

    def __init__(self, folder: Path, *, bytes_max: int) -> None:
        self.folder = folder
        self.bytes_max = bytes_max

    def draft(self, schema: pa.Schema) -> FileRowDraft:
        """Room for the rows of one result.

        Raises:
            BackendFailed: There is none (code ``rows-not-kept``).
        """
        with translated():
            make_folder(self.folder)
            self.sweep()
            return FileRowDraft(self, schema)

    def holds(self, key: str) -> bool:
        """Whether rows are kept under this key."""
        return self.path(key).is_file()

    def read(self, key: str) -> pa.Table | None:
        """The rows that were kept under this key, or ``None`` where none are.

        Raises:
            BackendFailed: They cannot be read (code ``state-unavailable``).
        """
        path = self.path(key)
        try:
            # Security: the folder's owner alone writes here, and no link leads elsewhere.
            with os.fdopen(os.open(path, os.O_RDONLY | OPEN_FLAGS), "rb") as file:
                # Unlike a data set, one file may have two columns of one name.
                table = pq.ParquetFile(file).read()
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            raise BackendFailed(
                "The rows that were kept of a dataset version cannot be read.",
                code="state-unavailable",
                why=type(error).__name__,
                next_step="read the dataset again from its source",
            ) from error
        return table

    def path(self, key: str) -> Path:
        """Where rows under a key are."""
        # Security: a key comes from a store; as a digest it cannot lead out of the folder.
        return self.folder / (hashlib.sha256(key.encode()).hexdigest()[:32] + SUFFIX)

    def sweep(self) -> None:
        """Remove drafts that a process left behind when it died."""
        for path in self.folder.glob(f"*{DRAFT_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DRAFT_AGE_MAX_S:
                    path.unlink()

    def make_room(self, wanted: int) -> None:
        """Let the oldest rows go until so many more bytes fit."""
        files = [(path, path.stat()) for path in self.folder.glob(f"*{SUFFIX}")]
        size = sum(status.st_size for _, status in files)
        for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
            if size + wanted <= self.bytes_max:
                break
            path.unlink(missing_ok=True)
            size -= status.st_size


class FileRowDraft:
    """A :class:`~nbgov.ports.RowDraft` in a file of its own."""

    def __init__(self, store: FileRowStore, schema: pa.Schema) -> None:
        self.store = store
        self.path = store.folder / f"{uuid.uuid4().hex}{DRAFT_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS
        self.file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
        try:
            self.writer = pq.ParquetWriter(self.file, schema, compression="zstd")
        except BaseException:
            self.file.close()
            self.path.unlink(missing_ok=True)
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows of a batch.

        Raises:
            BackendFailed: They cannot be written, or are more than may be kept at all.
        """
        with translated():
            self.writer.write_batch(batch)
            if self.file.tell() > self.store.bytes_max:
                raise too_large()

    def keep(self, key: str) -> None:
        """Make the rows durable and give them their name.

        Raises:
            BackendFailed: They cannot be kept (code ``rows-not-kept``).
        """
        with translated():
            self.writer.close()
            self.file.flush()
            os.fsync(self.file.fileno())
            size = self.file.tell()
            self.file.close()
            if size > self.store.bytes_max:
                raise too_large()
            path = self.store.path(key)
            if path.exists():
                os.utime(path)
                return
            self.store.make_room(size)
            self.path.replace(path)
            sync_folder(self.store.folder)

    def discard(self) -> None:
        """Remove the file, unless the rows were kept."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self.writer.close()
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the disk and of Arrow as ours."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise not_kept(type(error).__name__) from error


def too_large() -> BackendFailed:
    """The error of rows that are more than may be kept."""
    return not_kept("they take more bytes than rows: bytes_max in nbgov.yaml")


def not_kept(why: str) -> BackendFailed:
    """The error of rows that are not kept."""
    return BackendFailed(
        "The rows of the dataset version are not kept.",
        code="rows-not-kept",
        why=why,
        next_step="check the state folder, the space on its disk, and rows: in nbgov.yaml",
    )
