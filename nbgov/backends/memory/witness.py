"""A witness in RAM: the decisions of one off the host, without the host."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nbgov.backends.memory.faults import Faults
from nbgov.backends.memory.machine import MemoryClock
from nbgov.core.audit.note import Checkpoint, Note, SignatureLine, VerifierKey, cosign
from nbgov.core.audit.witness import OK, Submission, admit, understand, weigh

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from nbgov.ports import Clock


class MemoryWitness:
    """A :class:`~nbgov.ports.Witness` that forgets all when it goes.

    ``faults`` knows the operation ``cosign``.

    Args:
        name: Its name; the key follows from it.
        logs: The keys of the logs that it knows. A test may append to the list.
        clock: Tells the time of cosignatures.

    Attributes:
        heads: The newest checkpoint that it cosigned, by the origin of the log.
        refused: Every checkpoint that it refused because the log is not the one that it knows.
    """

    def __init__(
        self, name: str, logs: Iterable[VerifierKey], *, clock: Clock | None = None
    ) -> None:
        self.name = name
        self.logs = list(logs)
        self.clock = clock or MemoryClock()
        self.faults = Faults()
        self.heads: dict[str, Checkpoint] = {}
        self.refused: list[Note] = []

    @property
    def key(self) -> VerifierKey:
        """The key that it cosigns under."""
        return VerifierKey(self.name, self.private_key().public_key().public_bytes_raw(), "witness")

    def cosign(self, note: Note, *, old_size: int, path: Sequence[bytes]) -> SignatureLine | int:
        """Its cosignature, or the size of the newest checkpoint it knows where that is another.

        Raises:
            BackendFailed: As planned (code ``witness-unavailable``).
            IntegrityFailed: It refuses (code ``witness-refused``).
        """
        # What goes over a wire elsewhere is read back here as well.
        asked = Submission.parse(str(Submission(old_size, tuple(path), note)))
        with self.faults.around("cosign", code="witness-unavailable"):
            status, content_type, body = self.answer(asked)
        return understand(status, content_type, body, note=note, key=self.key)

    def answer(self, asked: Submission) -> tuple[int, str, str]:
        """Status, type and body of its answer."""
        checkpoint = asked.note.checkpoint
        keys = [key for key in self.logs if key.name == checkpoint.origin]
        answer = admit(asked, keys) or weigh(asked, self.heads.get(checkpoint.origin))
        if answer.status == OK:
            self.heads[checkpoint.origin] = checkpoint
            seconds = int(self.clock.now().timestamp())
            line = cosign(asked.note.text, self.key, self.private_key().sign, seconds=seconds)
            return answer.status, answer.content_type, f"{line}\n"
        if answer.size is None:
            self.refused.append(asked.note)
        return answer.status, answer.content_type, answer.body

    def private_key(self) -> Ed25519PrivateKey:
        """The private key, the same for the same name."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.name.encode()).digest())
