"""Serves the control plane: uvicorn, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import uvicorn

from nbgov.errors import BackendFailed
from nbgov.gateway.control.app import make_app

if TYPE_CHECKING:
    from nbgov.gateway.flight.serving import Tls
    from nbgov.gateway.house import House
    from nbgov.gateway.identity import Identities

START_S, STOP_S, GRACE_S = 30, 10, 3
KEEP_ALIVE_S = 15
CONNECTIONS_MAX = 256
BACKLOG = 128


class Server(uvicorn.Server):
    """A server that leaves no connection behind."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked, then close every connection, whether the client agrees or not."""
        await super().shutdown(sockets)
        # A client that keeps a TLS connection for later does not answer its end.
        for one in tuple(self.server_state.connections):
            transport = getattr(one, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)


class ControlPlane:
    """A control plane that answers.

    Args:
        server: The server.
        link: Where it listens.

    Attributes:
        port: The port it listens on.
    """

    def __init__(self, server: uvicorn.Server, link: socket.socket) -> None:
        self.server = server
        self.link = link
        self.port: int = link.getsockname()[1]
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self.run, name="nbgov control plane", daemon=True)

    def run(self) -> None:
        """Serve until it is stopped."""
        try:
            self.server.run(sockets=[self.link])
        except BaseException as error:  # noqa: BLE001 - told by start(), in the thread that asks
            self.failure = error

    def start(self) -> None:
        """Begin, and return once it answers.

        Raises:
            BackendFailed: It does not begin (``address-unavailable``).
        """
        self.thread.start()
        waited = threading.Event()
        for _ in range(START_S * 100):
            if self.server.started:
                return
            if not self.thread.is_alive():
                break
            waited.wait(0.01)
        self.stop()
        raise BackendFailed(
            "The control plane does not start.",
            code="address-unavailable",
            why=type(self.failure).__name__ if self.failure else "it did not begin in time",
            next_step="see the log of the gateway",
        ) from self.failure

    def stop(self) -> None:
        """Answer what was asked, then end. Callable more than once."""
        self.server.should_exit = True
        if self.thread.is_alive():
            self.thread.join(STOP_S)
        self.link.close()


def start_control_plane(
    house: House,
    identities: Identities,
    address: str,
    *,
    tls: Tls | None = None,
    is_shared: bool = False,
    checks: Mapping[str, Callable[[], str]] | None = None,
) -> ControlPlane:
    """Serve the control plane of a house.

    Args:
        house: Everything that the planes share.
        identities: Whose tokens are believed.
        address: ``HOST:PORT``; port 0 takes any free one.
        tls: What the gateway proves itself with; without it nothing is encrypted, which is for
            this host only.
        is_shared: Whether other processes may listen on the port as well.
        checks: What else readiness tells; see :func:`~nbgov.gateway.control.app.make_app`.

    Raises:
        BackendFailed: It cannot listen there (``address-unavailable``).
    """
    link = listen(address, is_shared=is_shared)
    config = uvicorn.Config(
        make_app(house, identities, checks=checks),
        access_log=False,
        backlog=BACKLOG,
        date_header=True,
        lifespan="off",
        limit_concurrency=CONNECTIONS_MAX,
        log_config=None,
        # Security: what a proxy header says of where a request comes from is anybody's claim.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",
    )
    config.load()
    if tls is not None:
        config.ssl = context_of(tls)
    plane = ControlPlane(Server(config), link)
    plane.start()
    return plane


def context_of(tls: Tls) -> ssl.SSLContext:
    """What a TLS server needs; with ``client_ca``, clients have to prove themselves, too."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Security: the key goes from memory to memory; it is in no file that is left behind.
    file = os.memfd_create("nbgov", os.MFD_CLOEXEC)
    try:
        os.write(file, tls.certificate + b"\n" + tls.key)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    if tls.client_ca is not None:
        context.load_verify_locations(cadata=tls.client_ca.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def listen(address: str, *, is_shared: bool) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        BackendFailed: It cannot (``address-unavailable``).
    """
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )[0]
        link = socket.socket(family, kind, protocol)
        try:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            link.bind(place)
            link.listen(BACKLOG)
        except BaseException:
            link.close()
            raise
    except (OSError, ValueError) as error:
        raise BackendFailed(
            f"The gateway cannot listen at {address}.",
            code="address-unavailable",
            why=getattr(error, "strerror", None) or "it is no HOST:PORT",
            next_step="choose another address for control: under gateway: in nbgov.yaml",
        ) from error
    return link
