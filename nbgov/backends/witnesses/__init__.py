"""A witness of the audit log that is reached over HTTP, as C2SP ``tlog-witness`` says.

What is sent and what an answer means is the business of :mod:`nbgov.core.audit.witness`; here are
the socket and its limits. Nothing of the environment counts: no proxy, no redirect, no cookie.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nbgov.core.audit.note import (
    NOTE_CHARS_MAX,
    Checkpoint,
    Note,
    SignatureLine,
    VerifierKey,
)
from nbgov.core.audit.witness import Submission, away, understand
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

# From the first byte that is sent to the last one that comes back.
TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 4 * NOTE_CHARS_MAX
PIECE_BYTES = 4096
TYPE = {"Content-Type": "text/plain; charset=utf-8"}


class HttpWitness:
    """A :class:`~nbgov.ports.Witness` behind a url.

    Args:
        url: Where it listens; ``add-checkpoint`` comes after it.
        key: The key that it cosigns under. An answer under any other key counts for nothing.
        timeout_s: How long to wait for it.

    Raises:
        ConfigInvalid: The url is none of HTTP, or the key is none of a witness.
    """

    def __init__(self, url: str, key: VerifierKey, *, timeout_s: float = TIMEOUT_S) -> None:
        port = port_of(url)
        parts = urlsplit(url if port >= 0 else "")
        is_http = parts.scheme in {"http", "https"} and not parts.query
        if not is_http or not parts.hostname or "@" in parts.netloc:
            raise ConfigInvalid(
                f"The url of the witness {key.name} is none.",
                why="it begins with http:// or https://, names no user, and ends with a path",
                next_step="correct url: under audit: witnesses: in nbgov.yaml",
            )
        if key.purpose != "witness":
            raise ConfigInvalid(
                f"The key of the witness {key.name} is none of a witness.",
                why="it is the key of a log",
                next_step="copy the line that nbgov audit witness key prints on its host",
            )
        self.is_tls = parts.scheme == "https"
        self.address = parts.hostname, port or None
        self.prefix = parts.path.rstrip("/")
        self.key = key
        self.timeout_s = timeout_s

    def cosign(self, note: Note, *, old_size: int, path: Sequence[bytes]) -> SignatureLine | int:
        """Its cosignature, or the size of the newest checkpoint it knows where that is another.

        Raises:
            BackendFailed: It did not answer (code ``witness-unavailable``).
            IntegrityFailed: It refuses (code ``witness-refused``).
        """
        body = str(Submission(old_size, tuple(path), note)).encode()
        status, content_type, text = self.ask("POST", "/add-checkpoint", body)
        return understand(status, content_type, text, note=note, key=self.key)

    def newest(self, origin: str) -> Note | None:
        """The newest checkpoint of a log that it cosigned, its cosignature checked; or ``None``.

        Raises:
            BackendFailed: It did not answer (code ``witness-unavailable``).
            IntegrityFailed: It answers with something else (code ``checkpoint-invalid``).
        """
        place = hashlib.sha256(origin.encode()).hexdigest()
        status, _, text = self.ask("GET", f"/{place}/checkpoint")
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise away(self.key, f"it answered with status {status}")
        note = Note.parse(text)
        if Checkpoint.parse(note.text).origin != origin or not note.signed_by(self.key):
            raise away(self.key, "it answered with another checkpoint than it was asked for")
        return note

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, str]:
        """Status, type and body of its answer.

        Raises:
            BackendFailed: There is none, in time and within bounds (code ``witness-unavailable``).
        """
        from http.client import HTTPException

        deadline = time.monotonic() + self.timeout_s
        connection = self.connection()
        try:
            connection.request(method, self.prefix + path, body, TYPE if body else {})
            response = connection.getresponse()
            data = self.read(response, deadline)
            return response.status, response.headers.get("Content-Type", ""), data.decode()
        except (OSError, HTTPException, UnicodeError) as error:
            why = getattr(error, "strerror", "") or type(error).__name__
            raise away(self.key, why[:1].lower() + why[1:]) from error
        finally:
            connection.close()

    def connection(self) -> HTTPConnection:
        """A connection of its own for one question."""
        from http.client import HTTPConnection, HTTPSConnection

        kind = HTTPSConnection if self.is_tls else HTTPConnection
        return kind(*self.address, timeout=self.timeout_s)

    def read(self, response: HTTPResponse, deadline: float) -> bytes:
        """The body of an answer."""
        data = b""
        while piece := response.read1(PIECE_BYTES):
            data += piece
            # Security: a witness must not be able to fill the memory, nor to hold the thread.
            if len(data) > ANSWER_BYTES_MAX or time.monotonic() > deadline:
                raise away(self.key, "its answer is too long, or came too slowly")
        return data


def port_of(url: str) -> int:
    """The port that a url names, 0 for none, -1 where it cannot be one or the url is none."""
    try:
        return urlsplit(url).port or 0
    except ValueError:
        return -1
