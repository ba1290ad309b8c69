"""The witness: remembers the newest checkpoint of other people's logs, and cosigns what continues.

It runs on another host than the logs, and knows no ``nbgov.yaml``. What it decides is
:mod:`nbgov.core.audit.witness`, what it remembers :mod:`nbgov.backends.sqlite.witness`; here are
its key and its socket, over which two calls of C2SP ``tlog-witness`` come: ``POST
/add-checkpoint``, and ``GET /SHA256-OF-ORIGIN/checkpoint`` for what it cosigned last.
"""

from __future__ import annotations

import hashlib
import re
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR, socket
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from nbgov.backends.files import FileKey, SystemClock
from nbgov.backends.sqlite.witness import SqliteWitnessStore
from nbgov.core.audit.note import NAME, SignatureLine, VerifierKey, cosign
from nbgov.core.audit.witness import (
    BAD,
    REQUEST_CHARS_MAX,
    TEXT,
    UNKNOWN,
    Answer,
    Submission,
    admit,
)
from nbgov.errors import BackendFailed, ConfigInvalid, IntegrityFailed, NbgovError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from nbgov.ports import Clock

DATABASE, KEY = "witness.sqlite", "witness.key"
PORT = 7380
# A character of a note takes at most four bytes.
REQUEST_BYTES_MAX = 4 * REQUEST_CHARS_MAX
CONNECTIONS_MAX = 64
# A silent client is let go after the first, any client after the second.
SILENCE_S, CONNECTION_S = 5.0, 60.0
ADD, NEWEST = "/add-checkpoint", re.compile(r"/([0-9a-f]{64})/checkpoint")


class Witness:
    """A witness of the logs whose keys it is given.

    Args:
        folder: Where its key and its memory are; nothing else should be there.
        name: Its name, needed once: when the folder is new, key and memory are made under it.
        logs: The keys of the logs that it knows, several of one log where that changes its key.
        clock: Tells the time of cosignatures.

    Raises:
        ConfigInvalid: The folder is new and there is no name, or it has another name.
        BackendFailed: The folder has lost its key or its memory, or cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        logs: Iterable[VerifierKey] = (),
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.clock = clock or SystemClock()
        self.logs: dict[str, list[VerifierKey]] = defaultdict(list)
        for key in logs:
            self.logs[key.name].append(key)
        self.store = SqliteWitnessStore(folder / DATABASE)
        self.private, self.key = self.identity(name)

    def identity(self, name: str) -> tuple[Ed25519PrivateKey, VerifierKey]:
        """Its key: the one of the folder, made now in a new one."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self.folder / KEY
        known = self.store.key() if (self.folder / DATABASE).exists() else None
        # Security: a witness that lost its memory would cosign a log that was rolled back.
        if (known is None) == path.exists():
            raise damaged("it holds a key without a memory, or a memory without its key")
        if known is None and not NAME.fullmatch(name):
            raise ConfigInvalid(
                "The witness has no name yet.",
                why="the folder is new, and a name has no white space and no +",
                next_step="make its key: nbgov audit witness key --state DIR --name HOST/NAME",
            )
        if known is not None and name not in {"", known.name}:
            raise ConfigInvalid(
                f"The witness has the name {known.name}.",
                why="a name is part of the key that others were given",
                next_step="leave --name out, or make another witness in another folder",
            )
        private = Ed25519PrivateKey.from_private_bytes(FileKey(path).secret())
        public = private.public_key().public_bytes_raw()
        if known is None:
            known = VerifierKey(name, public, "witness")
            self.store.begin(known)
        if known.public != public:
            raise damaged("its key is not the one that its memory is of")
        return private, known

    def add_checkpoint(self, text: str) -> tuple[Answer, SignatureLine | None]:
        """Answer the body of a request; with a cosignature, the checkpoint under it is durable.

        Raises:
            BackendFailed: It cannot be remembered (code ``state-unavailable``).
        """
        try:
            asked = Submission.parse(text)
        except IntegrityFailed:
            return Answer(BAD, "The request is malformed."), None
        refused = admit(asked, self.logs.get(asked.note.checkpoint.origin, ()))
        if refused is not None:
            return refused, None
        return self.store.decide(asked, at=self.clock.now(), cosign=self.cosign)

    def cosign(self, text: str, seconds: int) -> SignatureLine:
        """Its cosignature under the text of a note."""
        return cosign(text, self.key, self.private.sign, seconds=seconds)

    def newest(self, place: str) -> str:
        """The newest checkpoint that it cosigned of the log whose origin has this digest."""
        for origin, note in self.store.heads().items():
            if hashlib.sha256(origin.encode()).hexdigest() == place:
                return note
        return ""

    def close(self) -> None:
        """Let go of the memory."""
        self.store.close()


def damaged(why: str) -> BackendFailed:
    """The error of a folder that is that of no witness any more."""
    return BackendFailed(
        "The witness cannot go on.",
        code="state-unavailable",
        why=why,
        next_step="make a new witness, with a new key, in an empty folder, and tell its logs",
    )


# ---------------------------------------------------------------- the socket


class Server(ThreadingHTTPServer):
    """Answers for a witness, a thread a connection, within bounds.

    Args:
        address: Host and port to listen on; port 0 takes any.
        witness: Who answers.
        tell: Gets a line for each request, which holds nothing of it.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS_MAX

    def __init__(
        self, address: tuple[str, int], witness: Witness, *, tell: Callable[[str], None]
    ) -> None:
        self.witness = witness
        self.tell = tell
        self.guard = threading.Lock()
        self.deadlines: dict[socket, float] = {}
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Listen, without asking the name service who this is."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Take a connection, unless there are too many."""
        with self.guard:
            if len(self.deadlines) >= CONNECTIONS_MAX:
                return False
            self.deadlines[request] = time.monotonic() + CONNECTION_S
        return True

    def service_actions(self) -> None:
        """Let go of connections that have lasted too long, twice a second."""
        # Security: a client that sends a byte now and then must not hold a thread for good.
        now = time.monotonic()
        with self.guard:
            late = [request for request, until in self.deadlines.items() if until < now]
        for request in late:
            hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that has ended."""
        with self.guard:
            self.deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Say that a connection broke, and nothing of what it sent."""
        self.tell(f"connection ended with {type(sys.exception()).__name__}")


class Handler(BaseHTTPRequestHandler):
    """One connection: any number of requests, one after the other."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nbgov", ""
    timeout = SILENCE_S

    def do_POST(self) -> None:
        """Answer a call of ``add-checkpoint``."""
        text = self.body()
        if text is None:
            return
        if self.path != ADD:
            self.reply(UNKNOWN, TEXT, "There is nothing here.\n")
            return
        try:
            answer, line = self.server.witness.add_checkpoint(text)
        except NbgovError as error:
            self.server.tell(f"error {error.code}: {error.why}")
            self.reply(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, "The witness cannot remember.\n")
            return
        body = answer.body if line is None else f"{line}\n"
        self.reply(answer.status, answer.content_type, body)

    def do_GET(self) -> None:
        """Give the newest checkpoint of a log."""
        place = NEWEST.fullmatch(self.path)
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # What follows is no further request.
        try:
            note = self.server.witness.newest(place[1]) if place else ""
        except NbgovError as error:
            self.server.tell(f"error {error.code}: {error.why}")
            self.reply(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, "The witness cannot remember.\n")
            return
        if note:
            self.reply(HTTPStatus.OK, TEXT, note)
        else:
            self.reply(UNKNOWN, TEXT, "There is nothing here.\n")

    def body(self) -> str | None:
        """The body of a request; ``None`` where there is none to answer."""
        lengths = self.headers.get_all("Content-Length", [])
        # Security: two readings of where a request ends are how one is smuggled past a proxy.
        is_plain = len(lengths) == 1 and "Transfer-Encoding" not in self.headers
        if not is_plain or not re.fullmatch("[0-9]{1,9}", lengths[0]):
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return None
        length = int(lengths[0])
        if length > REQUEST_BYTES_MAX:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        data = self.rfile.read(length)
        try:
            text = data.decode()
        except UnicodeError:
            text = ""
        if len(data) < length:
            self.close_connection = True
            return None
        return text

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request, and let go of the connection."""
        # Security: the inherited answer would repeat what was sent.
        del message, explain
        self.close_connection = True
        self.reply(code, TEXT, f"{HTTPStatus(code).phrase}.\n")

    def reply(self, status: int, content_type: str, body: str) -> None:
        """Answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:  # noqa: ARG002
        """Tell that a request was answered: when, what kind, how."""
        # Security: what a stranger sent has no place in a log that somebody reads in a terminal.
        path = getattr(self, "path", "")
        call = "checkpoint" if NEWEST.fullmatch(path) else "other"
        self.server.tell(f"{'add-checkpoint' if path == ADD else call} {int(code)}")

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is inherited)
        """Tell nothing more: the line of the request says how it was answered."""


def hang_up(request: socket) -> None:
    """End a connection from outside; its thread then finds it closed."""
    try:
        request.shutdown(SHUT_RDWR)
    except OSError:
        return


def serve(server: Server, *, ready: Callable[[], None]) -> None:
    """Answer until the process is told to end by Control-C or SIGTERM.

    Args:
        server: What answers.
        ready: Called once, when the server listens.
    """

    def stop(*_: object) -> None:
        # The loop waits for its own end in there, so that another thread has to ask for it.
        threading.Thread(target=server.shutdown, daemon=True).start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ready()
        server.serve_forever()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        server.server_close()
        server.witness.close()
