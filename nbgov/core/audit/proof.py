"""The proof that an entry is in a log, as a text: section 6 of ``docs/spec/audit-log.md``.

The format is C2SP's ``tlog-proof``. A proof needs neither the log nor its host: only the entry's
bytes, which the text can carry along, and the key of the log.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from nbgov.core.audit.entry import decode
from nbgov.core.audit.merkle import DIGEST_BYTES, Subtree, inclusion_path, is_included
from nbgov.core.audit.note import Note, VerifierKey, unbase64
from nbgov.errors import IntegrityFailed

VERSION_LINE = "c2sp.org/tlog-proof@v1"
PROOF_CHARS_MAX = 256 * 1024
PATH_MAX = 64
INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Proof:
    """That an entry is in the log which a checkpoint is of.

    Attributes:
        index: The entry's number.
        path: The digests that lead from the entry to the root of the checkpoint.
        note: The checkpoint, signed.
        line: The entry's stored bytes, for who has only the proof; empty where they are elsewhere.
    """

    index: int
    path: tuple[bytes, ...]
    note: Note
    line: bytes = b""

    def __str__(self) -> str:
        extra = [f"extra {base64.b64encode(self.line).decode()}"] if self.line else []
        path = [base64.b64encode(digest).decode() for digest in self.path]
        return "\n".join([VERSION_LINE, *extra, f"index {self.index}", *path, "", str(self.note)])

    @classmethod
    def parse(cls, text: str) -> Proof:
        """The proof behind its text form. Nothing is checked but the form.

        Raises:
            IntegrityFailed: The text is none (code ``proof-invalid`` or ``checkpoint-invalid``).
        """
        head, gap, note = text.partition("\n\n")
        version, *lines = head.split("\n")
        line = b""
        if lines and lines[0].startswith("extra "):
            line = unbase64(lines.pop(0).removeprefix("extra "))
        found = INDEX.fullmatch(lines.pop(0)) if lines else None
        path = tuple(map(unbase64, lines))
        is_path = len(path) <= PATH_MAX and all(len(digest) == DIGEST_BYTES for digest in path)
        if version != VERSION_LINE or found is None or not gap or not is_path:
            raise invalid("it does not read as one")
        if len(text) > PROOF_CHARS_MAX:
            raise invalid("it is too long for one")
        return cls(int(found[1]), path, Note.parse(note), line)

    def verify(self, line: bytes, keys: Iterable[VerifierKey]) -> None:
        """Make sure that the entry is in the log, as one of the keys signed it.

        Args:
            line: The stored bytes of the entry.
            keys: The keys of the log, of which one must have signed the checkpoint.

        Raises:
            IntegrityFailed: It is not shown to be (code ``proof-invalid``), the checkpoint does not
                verify (``checkpoint-invalid``), or the line is no entry (``audit-broken``).
        """
        entry, point = decode(line), self.note.checkpoint
        if not any(self.note.signed_by(key) for key in keys if key.name == point.origin):
            raise invalid("none of the keys signed its checkpoint")
        if (entry.origin, entry.index) != (point.origin, self.index):
            raise invalid("it is of another entry")
        if not is_included(entry.digest, self.index, point.size, self.path, point.root):
            raise invalid("its path does not lead from the entry to the checkpoint")


def prove(line: bytes, note: Note, subtree: Subtree) -> Proof:
    """The proof that an entry is in the log that a checkpoint is of.

    Raises:
        IndexError: The checkpoint does not cover the entry.
        IntegrityFailed: The line is no entry, or the note no checkpoint.
    """
    index = decode(line).index
    return Proof(index, inclusion_path(index, note.checkpoint.size, subtree), note, line)


def invalid(why: str) -> IntegrityFailed:
    """The error of a text that proves nothing."""
    return IntegrityFailed(
        "The proof does not verify.",
        code="proof-invalid",
        why=why,
        next_step="get the proof anew with nbgov audit prove, and compare the key",
    )
