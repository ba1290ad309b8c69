"""What a witness is asked, what it decides, and what its answer means: C2SP ``tlog-witness``.

The call is ``add-checkpoint`` of ``c2sp.org/tlog-witness``, version 1.0.0, with the two changes
that its editors merged in the summer of 2026: a checkpoint of the size that the witness knows and
with another root is answered by 422, and an empty log has the root of an empty tree (C2SP pull
request 280). Cosignatures are the Ed25519 ones of ``c2sp.org/tlog-cosignature``. Nothing here
knows of HTTP, of a store or of the time: :func:`admit` needs the keys of a log, :func:`weigh` what
is remembered of it, and :func:`understand` the key of the witness that answered.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from nbgov.core.audit.merkle import DIGEST_BYTES, EMPTY_ROOT, is_consistent
from nbgov.core.audit.note import (
    NOTE_CHARS_MAX,
    SIZE,
    Checkpoint,
    Note,
    SignatureLine,
    VerifierKey,
    is_signed,
    unbase64,
)
from nbgov.errors import BackendFailed, IntegrityFailed

PATH_LINES_MAX = 63
LINE_CHARS_MAX = 64
# What a request can be at most: its first line, a path and a note.
REQUEST_CHARS_MAX = (PATH_LINES_MAX + 1) * LINE_CHARS_MAX + NOTE_CHARS_MAX
TEXT, SIZE_TEXT = "text/plain; charset=utf-8", "text/x.tlog.size"
OK, BAD, FORBIDDEN, UNKNOWN, STALE, INCONSISTENT = 200, 400, 403, 404, 409, 422


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint that a witness is asked to cosign.

    Attributes:
        old_size: Size of the checkpoint that the witness is thought to know; 0 for none.
        path: What shows that the log begins with what that checkpoint covers.
        note: The checkpoint, signed by its log.
    """

    old_size: int
    path: tuple[bytes, ...]
    note: Note

    def __str__(self) -> str:
        path = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in self.path)
        return f"old {self.old_size}\n{path}\n{self.note}"

    @classmethod
    def parse(cls, text: str) -> Submission:
        """What is asked by the body of a request.

        Raises:
            IntegrityFailed: The body is malformed (code ``checkpoint-invalid``).
        """
        head, gap, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        old, _, size = first.partition(" ")
        path = tuple(map(unbase64, lines))
        is_whole = gap and old == "old" and SIZE.fullmatch(size) and len(path) <= PATH_LINES_MAX
        if not is_whole or any(len(digest) != DIGEST_BYTES for digest in path):
            raise IntegrityFailed("The request is malformed.", code="checkpoint-invalid")
        asked = cls(int(size), path, Note.parse(note))
        Checkpoint.parse(asked.note.text)
        return asked


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers.

    Attributes:
        status: The status of HTTP; with 200, a cosignature comes as well.
        why: What was found, one sentence that holds nothing of the request.
        size: Size of the checkpoint that the witness knows, where the client had another one.
        is_fork: Whether the log has signed two roots of one size: the note that was sent and the
            one that is remembered prove it to everybody.
    """

    status: int
    why: str
    size: int | None = None
    is_fork: bool = False

    @property
    def body(self) -> str:
        """The body of any answer but 200."""
        return f"{self.why if self.size is None else self.size}\n"

    @property
    def content_type(self) -> str:
        """The type of that body."""
        return TEXT if self.size is None else SIZE_TEXT


# ---------------------------------------------------------------- the witness


def admit(asked: Submission, keys: Sequence[VerifierKey]) -> Answer | None:
    """Refuse what is not signed by the log that it names; ``None`` for what is.

    Args:
        asked: What is asked.
        keys: The keys that are known of the log. A log that changes its key has several.
    """
    if not keys:
        return Answer(UNKNOWN, "This witness does not know the log.")
    try:
        signatures = [asked.note.signed_by(key) for key in keys]
    except IntegrityFailed:
        return Answer(FORBIDDEN, "A signature under a key of the log is wrong.")
    if not any(signatures):
        return Answer(FORBIDDEN, "No key of the log that this witness knows has signed.")
    if asked.old_size > asked.note.checkpoint.size:
        return Answer(BAD, "The old size is larger than that of the checkpoint.")
    return None


def weigh(asked: Submission, known: Checkpoint | None) -> Answer:
    """Decide what was admitted, by the newest checkpoint of its log that was cosigned.

    Who remembers each checkpoint that gets 200, and asks again with that one, never cosigns two
    roots of one size nor a log that has shrunk.
    """
    new = asked.note.checkpoint
    size, root = (known.size, known.root) if known else (0, EMPTY_ROOT)
    is_fork = known is not None and new.size == size and new.root != root
    if asked.old_size != size:
        why = "The checkpoint that this witness knows has another size."
        return Answer(STALE, why, size=size, is_fork=is_fork)
    if not is_consistent(size, new.size, asked.path, root, new.root):
        why = "The log was not shown to continue the one that this witness knows."
        return Answer(INCONSISTENT, why, is_fork=is_fork)
    return Answer(OK, "Cosigned.")


# ---------------------------------------------------------------- its client


def understand(
    status: int, content_type: str, body: str, *, note: Note, key: VerifierKey
) -> SignatureLine | int:
    """What the answer of a witness says: its cosignature, or the size that it knows.

    Args:
        status: The status of HTTP.
        content_type: The type of the body.
        body: The body.
        note: The checkpoint that was sent.
        key: The key of the witness.

    Raises:
        IntegrityFailed: It refuses (code ``witness-refused``).
        BackendFailed: It says nothing that counts (code ``witness-unavailable``).
    """
    if status == OK:
        return cosignature(body, note=note, key=key)
    if status == STALE and content_type == SIZE_TEXT:
        size = body.removesuffix("\n")
        if SIZE.fullmatch(size):
            return int(size)
        raise away(key, "it names no size")
    # Version 1.0.0 answers 409 without a size to another root of the size that is known.
    reasons = {
        FORBIDDEN: "it knows the log under another key",
        UNKNOWN: "it does not know the log",
        STALE: "it knows another log of this size",
        INCONSISTENT: "the log does not continue the one that it knows",
    }
    if status in reasons:
        raise refused(key, reasons[status])
    raise away(key, f"it answered with status {status}")


def cosignature(body: str, *, note: Note, key: VerifierKey) -> SignatureLine:
    """The cosignature of a witness among the lines of its answer; lines of other keys are left."""
    for text in body.splitlines():
        try:
            line = SignatureLine.parse(text)
        except IntegrityFailed as error:
            raise away(key, "a line of its answer is no signature") from error
        is_own = (line.name, line.key_id) == (key.name, key.key_id)
        if is_own and is_signed(note.text, line, key):
            return line
    raise away(key, "it did not sign under the key that is known of it")


def refused(key: VerifierKey, why: str) -> IntegrityFailed:
    """The error of a checkpoint that a witness refuses."""
    return IntegrityFailed(
        f"The witness {key.name} refuses the audit log.",
        code="witness-refused",
        why=why,
        next_step="run nothing here, keep the state folder as it is, and ask who runs the witness",
    )


def away(key: VerifierKey, why: str) -> BackendFailed:
    """The error of a witness from which there is no answer that counts."""
    return BackendFailed(
        f"The witness {key.name} did not answer.",
        code="witness-unavailable",
        why=why,
        next_step="check its url in nbgov.yaml and that it runs; nothing else waits for it",
    )
