"""DSSE envelopes: sections 1 and 7 of ``docs/spec/custody.md``.

The envelope and its pre-authentication encoding are securesystemslib's, the signature is the
:class:`~nbgov.ports.Signer`'s. Beside what DSSE asks for, the file has one form only, so that a
bundle cannot be changed in any byte without being refused.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from typing import TYPE_CHECKING

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as LibraryError
from securesystemslib.signer import Signature, SSlibKey

from nbgov.core.custody import PAYLOAD_TYPE, canonical
from nbgov.errors import IntegrityFailed, RequestInvalid

if TYPE_CHECKING:
    from nbgov.ports import Signer

BUNDLE_BYTES_MAX = 64 * 1024 * 1024
KEY_BYTES = 32
SIGNATURE_BYTES = 64


def seal(payload: bytes, signer: Signer) -> bytes:
    """The envelope around a payload, signed: the bytes of a bundle's file."""
    envelope, name = Envelope(payload, PAYLOAD_TYPE, {}), key_id(signer.public_key())
    envelope.signatures[name] = Signature(name, signer.sign(envelope.pae()).hex())
    return written(envelope)


def open_envelope(bundle: bytes) -> Envelope:
    """The envelope in the bytes of a bundle's file.

    Raises:
        IntegrityFailed: They are no envelope in the one form (code ``custody-broken``).
    """
    if len(bundle) > BUNDLE_BYTES_MAX:
        raise unread(f"it is longer than {BUNDLE_BYTES_MAX:,} bytes")
    try:
        envelope: Envelope = Envelope.from_dict(json.loads(bundle))
        is_whole = written(envelope) == bundle
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, LibraryError) as error:
        raise unread("it is no DSSE envelope") from error
    # Security: another spelling of equal JSON or base64 would let a bundle be changed unseen.
    if not is_whole:
        raise unread("it is not written in the one form that a bundle has")
    lengths = [len(one.signature) for one in envelope.signatures.values()]
    if envelope.payload_type != PAYLOAD_TYPE or lengths != [2 * SIGNATURE_BYTES]:
        raise unread(f"it does not hold one signed payload of the type {PAYLOAD_TYPE}")
    return envelope


def is_signed_by(envelope: Envelope, public_key: bytes) -> bool:
    """Whether an envelope carries a signature by this key over its payload."""
    try:
        envelope.verify([library_key(public_key)], 1)
    except LibraryError:
        return False
    return True


def written(envelope: Envelope) -> bytes:
    """The one form of an envelope: canonical JSON and a newline."""
    return canonical(envelope.to_dict()) + b"\n"


def library_key(public_key: bytes) -> SSlibKey:
    """A public key as securesystemslib holds it."""
    return SSlibKey(key_id(public_key), "ed25519", "ed25519", {"public": public_key.hex()})


def key_id(public_key: bytes) -> str:
    """What a signature calls its key: SHA-256 (hex) of its DER form, as ``openssl`` shows it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(public_key)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def key_text(public_key: bytes) -> str:
    """A public key as PEM text."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_key(data: bytes) -> bytes:
    """The 32 bytes of a public key that is given as PEM text.

    Raises:
        RequestInvalid: It is no Ed25519 public key (``usage``).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as error:
        raise no_key() from error
    if not isinstance(key, Ed25519PublicKey):
        raise no_key()
    return key.public_bytes_raw()


def no_key() -> RequestInvalid:
    """The error of a file that holds no public key."""
    return RequestInvalid(
        "The key does not read as an Ed25519 public key.",
        code="usage",
        why="it is not PEM text of that type",
        next_step="write one with: nbgov custody key > public.pem",
    )


def unread(why: str) -> IntegrityFailed:
    """The error of bytes that are no bundle."""
    return IntegrityFailed(
        "The file is no custody bundle.",
        code="custody-broken",
        why=why,
        next_step="get the bundle again from whoever made it; do not trust this one",
    )
