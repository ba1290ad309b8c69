"""The way to a gateway's data plane: one call for a statement, and a few actions beside it.

What is wrong comes back as the very error that the gateway raised. Whatever else happens on the way
is one of a few errors of our own; no text of gRPC reaches anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import flight

from nbgov.core.transfer import failure
from nbgov.core.transport import read_error
from nbgov.core.wire import URL, write_bytes
from nbgov.errors import BackendFailed, ConfigInvalid, NbgovError
from nbgov.remote.renewing import renewed

if TYPE_CHECKING:
    from nbgov.config.places import GatewayConnection
    from nbgov.login import Credentials

REQUEST = URL + "nbgov.v1.Request"
ERROR_HEADER = "x-nbgov-error-bin"
# How long an answer may take that no statement runs for.
ACTION_S = 30.0
READERS = 4
# Security: in clear, to this host only, a token must not go by way of a proxy.
OPTIONS = {"grpc": [("grpc.enable_http_proxy", 0)], "grpc+tls": []}

Answer = TypeVar("Answer")
# A batch, or metadata.
Chunk = tuple["pa.RecordBatch | None", bytes]


class Trailers(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow has no types
    """What a gateway says beside an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.error: bytes = b""

    def received_headers(self, headers: dict[str, list[Any]]) -> None:
        """Keep the error, if there is one."""
        for text in headers.get(ERROR_HEADER, ()):
            self.error = bytes(text)


class Calls(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow has no types
    """Keeps what belongs to the call that a thread began last."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.local()

    def start_call(self, info: Any) -> Trailers:  # noqa: ARG002 - which method it is is known
        """A call begins on this thread."""
        self.begun.trailers = trailers = Trailers()
        return trailers

    def last(self) -> Trailers:
        """What belongs to the call that this thread began last."""
        found: Trailers = getattr(self.begun, "trailers", None) or Trailers()
        return found


@dataclass(frozen=True)
class Incoming:
    """A stream that arrives: schema and first message are here, and the rest comes on request."""

    channel: Channel
    reader: Any
    trailers: Trailers
    first: tuple[Chunk, ...]

    @property
    def schema(self) -> pa.Schema:
        """The columns."""
        return self.reader.schema

    def chunks(self) -> Iterator[Chunk]:
        """Batches and metadata as they come; each chunk has one of the two.

        Raises:
            NbgovError: The stream broke, or the gateway says why it ends here.
        """
        found = self.first
        while found:
            yield from found
            with self.channel.translated(self.trailers):
                found = self.channel.patiently(lambda: read(self.reader), self.cancel)

    def cancel(self) -> None:
        """End it; the gateway stops the statement. For any thread."""
        with suppress(pa.ArrowException, OSError):
            self.reader.cancel()


class Channel:
    """Calls to a data plane. Nothing is opened before the first one.

    Args:
        terms: Where it is.
        folder: What relative paths are relative to.
        credentials: Who calls.
    """

    def __init__(self, terms: GatewayConnection, folder: Path, credentials: Credentials) -> None:
        self.terms = terms
        self.folder = folder
        self.credentials = credentials
        self.calls = Calls()
        self.lock = threading.Lock()
        self.client: Any = None
        self.readers = ThreadPoolExecutor(READERS, "nbgov-gateway")

    def stream(self, request: bytes, *, stop: Callable[[], object]) -> Incoming:
        """Ask for a statement's rows; comes back once it has run as far as its columns.

        Args:
            request: The request, as :func:`nbgov.core.transport.write_request` makes it.
            stop: Stops it, where somebody interrupts the wait.

        Raises:
            NbgovError: It did not run, or the gateway is away.
        """
        ticket = flight.Ticket(write_bytes(1, REQUEST.encode()) + write_bytes(2, request))

        def begin() -> Incoming:
            with self.translated(None):
                options = self.options(self.terms.timeout_s)
                reader = self.opened().do_get(ticket, options)
                # What is known of a statement that has begun stands right behind its columns.
                return Incoming(self, reader, self.calls.last(), read(reader, is_head=True))

        return renewed(self.credentials, lambda: self.patiently(begin, stop))

    def act(self, action: str, body: bytes) -> bytes:
        """Ask for something that no statement runs for.

        Raises:
            NbgovError: It failed, or the gateway is away.
        """

        def ask() -> bytes:
            with self.translated(None):
                options = self.options(ACTION_S)
                found = list(self.opened().do_action(flight.Action(action, body), options))
                return b"".join(one.body.to_pybytes() for one in found)

        return renewed(self.credentials, lambda: self.patiently(ask, lambda: None))

    def patiently(self, call: Callable[[], Answer], stop: Callable[[], object]) -> Answer:
        """Make a call that can be interrupted from the keyboard, which reaches no C++ code."""
        if threading.current_thread() is not threading.main_thread():
            return call()
        future = self.readers.submit(call)
        try:
            return future.result()
        except KeyboardInterrupt:
            stop()
            raise

    def options(self, timeout_s: float) -> Any:
        """Who calls, and how long an answer may take."""
        bearer = f"Bearer {self.credentials.data()}"
        return flight.FlightCallOptions(
            timeout=timeout_s, headers=[(b"authorization", bearer.encode())]
        )

    def opened(self) -> Any:
        """The client, made at the first call."""
        with self.lock:
            if self.client is None:
                own = self.read(self.terms.certificate)
                self.client = flight.FlightClient(
                    self.terms.url,
                    tls_root_certs=self.read(self.terms.ca),
                    cert_chain=own,
                    private_key=own,
                    middleware=[self.calls],
                    generic_options=OPTIONS[urlsplit(self.terms.url).scheme],
                )
        return self.client

    def read(self, name: str | None) -> bytes | None:
        """A file with certificates; ``None`` where there is none.

        Raises:
            ConfigInvalid: It cannot be read.
        """
        try:
            return None if name is None else (self.folder / name).read_bytes()
        except OSError as error:
            raise ConfigInvalid(
                "The certificates for a gateway cannot be read.",
                why=f"{name}: {type(error).__name__}",
                next_step="correct ca: and certificate: in nbgov.yaml",
            ) from None

    def translated(self, trailers: Trailers | None) -> Translated:
        """Turn what gRPC raises into errors of nbgov."""
        return Translated(self, trailers)

    def close(self) -> None:
        """Give the connection back."""
        self.readers.shutdown(wait=False, cancel_futures=True)
        with self.lock:
            if self.client is not None:
                self.client.close()
                self.client = None


@dataclass(frozen=True)
class Translated:
    """Within it, what gRPC raises becomes an error of nbgov."""

    channel: Channel
    trailers: Trailers | None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, pa.ArrowException | flight.FlightError | OSError):
            trailers = self.trailers or self.channel.calls.last()
            raise told(error, trailers.error, self.channel.terms.url) from None


def read(reader: Any, *, is_head: bool = False) -> tuple[Chunk, ...]:
    """The next chunks: up to a batch, or to the end, which is as good as here; none after it."""
    found: list[Chunk] = []
    with suppress(StopIteration):
        while not found or (found[-1][0] is None and not is_head):
            chunk = reader.read_chunk()
            found.append((chunk.data, bytes(chunk.app_metadata or b"")))
    return tuple(found)


def told(error: BaseException, text: bytes, url: str) -> NbgovError:
    """The error that a gateway raised, else what happened on the way to it."""
    if text and (found := read_error(text)) is not None:
        return found
    if isinstance(error, flight.FlightTimedOutError):
        return failure(
            url,
            "cancelled",
            why="it took longer than timeout_s in nbgov.yaml permits",
            next_step="ask for less, or raise timeout_s",
        )
    if isinstance(error, flight.FlightCancelledError):
        return failure(url, "cancelled")
    return BackendFailed(
        f"The gateway at {url} cannot be reached.",
        code="gateway-unavailable",
        why=f"the call ended with {type(error).__name__}",
        next_step="check url: and ca: in nbgov.yaml, and that the gateway runs",
    )
