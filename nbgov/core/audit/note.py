"""Signed checkpoints of a log: section 6 of ``docs/spec/audit-log.md``.

The formats are those of C2SP: ``signed-note`` for the note and the keys of verifiers,
``tlog-checkpoint`` for what the note says, and ``tlog-cosignature`` for what a witness adds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from nbgov.core.audit.merkle import DIGEST_BYTES
from nbgov.errors import IntegrityFailed

NOTE_CHARS_MAX = 16 * 1024
KEY_ID_BYTES = 4
KEY_BYTES = 32
# An algorithm of signed-note: what stands before the public key where a key is named.
SIGNATURE, COSIGNATURE = 0x01, 0x04
NAME = re.compile(r"[^\s+\u0000-\u001f]+")
SIZE = re.compile(r"0|[1-9][0-9]{0,18}")

Purpose = Literal["log", "witness"]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """An Ed25519 key by which a note is checked, in the form ``NAME+ID+KEY`` of signed-note.

    Attributes:
        name: Whose key it is: the origin of a log, or the name of a witness.
        public: The public key, 32 bytes.
        purpose: ``log`` for signatures of a log, ``witness`` for cosignatures.
    """

    name: str
    public: bytes
    purpose: Purpose = "log"

    @property
    def algorithm(self) -> int:
        """The byte that names the algorithm."""
        return SIGNATURE if self.purpose == "log" else COSIGNATURE

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        named = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        return hashlib.sha256(named).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key behind its text form.

        Raises:
            IntegrityFailed: The text is none (code ``key-invalid``).
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = unbase64(encoded)
        purposes: dict[int, Purpose] = {SIGNATURE: "log", COSIGNATURE: "witness"}
        if len(raw) == 1 + KEY_BYTES and raw[0] in purposes and NAME.fullmatch(name):
            key = cls(name, raw[1:], purposes[raw[0]])
            if key.key_id.hex() == key_id:
                return key
        raise IntegrityFailed(
            "The text is no verifier key.",
            code="key-invalid",
            why="a key reads NAME+ID+KEY and names an Ed25519 key",
            next_step="copy the whole line that nbgov audit key prints",
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: its name, how many entries it has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint behind the text of a note.

        Raises:
            IntegrityFailed: The text is none (code ``checkpoint-invalid``).
        """
        origin, size, root, *rest = [*text.split("\n"), "", ""]
        raw = unbase64(root)
        # Extension lines are permitted by the format and made by no log of ours.
        if origin and SIZE.fullmatch(size) and len(raw) == DIGEST_BYTES and not any(rest):
            checkpoint = cls(origin, int(size), raw)
            if checkpoint.text == text:
                return checkpoint
        raise invalid("it does not read origin, size, root")


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One signature under a note: whose key, its id, and the bytes.

    The bytes of a cosignature begin with its time, eight bytes of seconds since 1970.
    """

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.value).decode()}"

    @classmethod
    def parse(cls, line: str) -> SignatureLine:
        """The signature behind a line.

        Raises:
            IntegrityFailed: The line is none (code ``checkpoint-invalid``).
        """
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = unbase64(encoded)
        if dash != "\u2014" or not NAME.fullmatch(name) or len(raw) <= KEY_ID_BYTES:
            raise invalid("a line below its text is no signature")
        return cls(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text: for us always a checkpoint and the signatures under it."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{line}\n" for line in self.signatures)

    @property
    def checkpoint(self) -> Checkpoint:
        """What it says.

        Raises:
            IntegrityFailed: It says something else (code ``checkpoint-invalid``).
        """
        return Checkpoint.parse(self.text)

    @classmethod
    def parse(cls, text: str) -> Note:
        """The note behind its text form. Nothing is checked but the form.

        Raises:
            IntegrityFailed: The text is none (code ``checkpoint-invalid``).
        """
        body, gap, lines = text.rpartition("\n\n")
        if not gap or not lines.endswith("\n") or len(text) > NOTE_CHARS_MAX:
            raise invalid("it has no signatures below an empty line")
        return cls(body + "\n", tuple(map(SignatureLine.parse, lines.splitlines())))

    def signed_by(self, key: VerifierKey) -> SignatureLine | None:
        """The signature of a key, checked; ``None`` where the key did not sign.

        Raises:
            IntegrityFailed: There is a signature of that key and it is wrong.
        """
        found = [one for one in self.signatures if (one.name, one.key_id) == (key.name, key.key_id)]
        if not found:
            return None
        if not is_signed(self.text, found[0], key):
            raise invalid(f"the signature of {key.name} is wrong")
        return found[0]

    def with_signatures(self, lines: Iterable[SignatureLine]) -> Note:
        """The note with more signatures, each key once."""
        merged = {(one.name, one.key_id): one for one in (*self.signatures, *lines)}
        return Note(self.text, tuple(merged.values()))


def sign(checkpoint: Checkpoint, key: VerifierKey, signer: Callable[[bytes], bytes]) -> Note:
    """A checkpoint, signed by its log.

    Args:
        checkpoint: What to sign.
        key: The public half of the key, under the log's name.
        signer: Ed25519 over some bytes.
    """
    value = signer(checkpoint.text.encode())
    return Note(checkpoint.text, (SignatureLine(key.name, key.key_id, value),))


def cosign(
    text: str, key: VerifierKey, signer: Callable[[bytes], bytes], *, seconds: int
) -> SignatureLine:
    """What a witness puts under a checkpoint: its signature over the text and the time."""
    value = signer(cosigned(text, seconds))
    return SignatureLine(key.name, key.key_id, seconds.to_bytes(8, "big") + value)


def cosigned(text: str, seconds: int) -> bytes:
    """The bytes that a cosignature is over."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def is_signed(text: str, line: SignatureLine, key: VerifierKey) -> bool:
    """Whether a signature under a text is that of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    value, data = line.value, text.encode()
    if key.purpose == "witness":
        value, data = value[8:], cosigned(text, int.from_bytes(value[:8], "big"))
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(value, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def unbase64(text: str) -> bytes:
    """The bytes behind base64, empty where it is none or is not written in the one way."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""


def invalid(why: str) -> IntegrityFailed:
    """The error of a text that is no signed checkpoint, or not one that it should be."""
    return IntegrityFailed(
        "The checkpoint does not verify.",
        code="checkpoint-invalid",
        why=why,
        next_step="get the checkpoint anew, and compare the key with the one you were given",
    )
