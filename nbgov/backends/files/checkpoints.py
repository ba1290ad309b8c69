"""The signed notes beside the entries of a log, and the tree that they rest on.

Sections 6 and 7 of ``docs/spec/audit-log.md``. What is signed is never at odds with what was
signed before: the tree has to have the old root where it had the old size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path

from nbgov.backends.files.durable import put_file, remove_file
from nbgov.backends.files.segments import entries_of, segments
from nbgov.backends.files.tree import TreeFile
from nbgov.core.audit import Entry
from nbgov.core.audit.ledger import Ledger
from nbgov.core.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    leaf_digest,
    node_place,
    nodes_below,
    subtree_of,
)
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, sign
from nbgov.errors import IntegrityFailed
from nbgov.ports import Signer

NOTE_NAME = re.compile(r"checkpoint|witnessed|refused|key-[1-9][0-9]{0,18}")
RESTORE = (
    "restore the folder audit from a copy; or keep it as evidence elsewhere, and a new log begins"
)


def note_path(folder: Path, name: str) -> Path:
    """Where a note is kept."""
    # Security: the name becomes a path.
    if not NOTE_NAME.fullmatch(name):
        raise RuntimeError("No note has that name.")
    return folder / name


def read_note(folder: Path, name: str) -> str:
    """The text of a note, empty where there is none."""
    try:
        return note_path(folder, name).read_text()
    except FileNotFoundError:
        return ""


class Checkpoints:
    """What was signed of a log, and the tree over it.

    Args:
        folder: The log's folder.
        signer: Signs.

    Attributes:
        size: How many entries the newest checkpoint that is known covers.
    """

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.folder = folder
        self.signer = signer
        self.tree = TreeFile(folder / "tree")
        self.frontier = Frontier()
        self.size = 0

    def kept(self) -> Note | None:
        """The newest checkpoint."""
        text = read_note(self.folder, "checkpoint")
        return Note.parse(text) if text else None

    def open(self) -> Checkpoint:
        """What was signed last, with a tree that agrees with it.

        Raises:
            IntegrityFailed: The entries have another root.
        """
        note = self.kept()
        signed = note.checkpoint if note else Checkpoint("", 0, EMPTY_ROOT)
        self.size, self.frontier = signed.size, self.edge(signed)
        return signed

    def edge(self, signed: Checkpoint) -> Frontier:
        """The right edge of the tree that was signed; the tree is made anew if it is damaged."""
        try:
            frontier = self.tree.edge(signed.size)
        except OSError:
            frontier = Frontier()
        if (frontier.size, frontier.root()) != (signed.size, signed.root):
            lines = chain.from_iterable(entries_of(path, 0) for path in segments(self.folder))
            frontier = self.tree.rebuild(map(leaf_digest, islice(lines, signed.size)))
            if frontier.size < signed.size:
                raise shorter(frontier.size, signed.size)
            if frontier.root() != signed.root:
                raise other()
        return frontier

    def ledger(self, entry: Entry | None, origin: str = "") -> Ledger:
        """The end of the log at the last entry that was signed; at the first one without any.

        Raises:
            IntegrityFailed: That entry is not the one that was signed.
        """
        if self.size == 0 or entry is None:
            if self.size:
                raise shorter(0, self.size)
            ledger = Ledger(entry.origin if entry else origin)
            if entry is not None:
                check_first(entry)
                ledger.advance(entry)
            return ledger
        if entry.digest != self.tree.node(node_place(0, self.size - 1)):
            raise other()
        return Ledger(entry.origin, frontier=self.frontier, last=entry)

    def check(self, signed: Checkpoint, ledger: Ledger) -> None:
        """Make sure that the log is still the one that was signed.

        Raises:
            IntegrityFailed: It is not.
        """
        if ledger.size < signed.size:
            raise shorter(ledger.size, signed.size)
        if signed.size and signed.origin != ledger.origin:
            raise other()
        if subtree_of(self.node(ledger))(0, signed.size) != signed.root:
            raise other()

    def node(self, ledger: Ledger) -> Callable[[int], bytes]:
        """The nodes of the tree over all entries, the newest of which are not in the file."""
        base = nodes_below(self.size)

        def node(place: int) -> bytes:
            return ledger.fresh[place - base] if place >= base else self.tree.node(place)

        return node

    def sign(self, ledger: Ledger) -> Note | None:
        """The checkpoint over all entries, signed under the key of now.

        Raises:
            IntegrityFailed: They are not what was signed before.
        """
        if not ledger.size:
            return None
        kept = self.kept()
        if kept is not None:
            self.check(kept.checkpoint, ledger)
        self.tree.write(ledger.fresh, place=nodes_below(self.size))
        key = VerifierKey(ledger.origin, self.signer.public_key())
        note = kept
        if note is None or note.checkpoint.size < ledger.size or not note.signed_by(key):
            checkpoint = Checkpoint(ledger.origin, ledger.size, ledger.frontier.root())
            note = sign(checkpoint, key, self.signer.sign)
            self.put("checkpoint", str(note))
        self.size = ledger.size
        ledger.fresh.clear()
        return note

    def put(self, name: str, text: str) -> None:
        """Put a note in the place of the one with its name; take it away for an empty text."""
        path = note_path(self.folder, name)
        if text:
            put_file(path, text.encode())
        else:
            remove_file(path)


def check_first(entry: Entry) -> None:
    """Make sure that an entry is the first of a log."""
    if entry.index or any(entry.prev_digest):
        raise IntegrityFailed("its first entry is not the first one of a log")


def shorter(size: int, signed: int) -> IntegrityFailed:
    """The error of a log that lost entries which were signed."""
    return IntegrityFailed(
        f"it has {size:,} entries, and its checkpoint was signed over {signed:,}",
        next_step=RESTORE,
    )


def other() -> IntegrityFailed:
    """The error of a log that is not the one that was signed."""
    return IntegrityFailed(
        "its entries are not those that its checkpoint was signed over", next_step=RESTORE
    )
