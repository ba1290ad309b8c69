"""The server of the data plane: its threads, its limits, its certificate, and how it ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from nbgov.errors import BackendFailed
from nbgov.gateway.flight.service import FlightService

if TYPE_CHECKING:
    from nbgov.gateway.house import House

# Threads for calls that run no statement, beside one for each stream.
SHORT_CALLS = 32
MESSAGE_BYTES_MAX = 16 * 2**20
METADATA_BYTES_MAX = 16 * 2**10


@dataclass(frozen=True, slots=True)
class Tls:
    """What the gateway proves itself with; with ``client_ca`` clients have to, too. All PEM."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class DataPlane:
    """A server that listens."""

    server: grpc.Server
    port: int

    def drain(self, grace_s: float) -> None:
        """Take no more calls, and wait for those that run, so long at most."""
        self.server.stop(grace_s).wait()

    def stop(self) -> None:
        """End at once; what runs is cancelled."""
        self.server.stop(0).wait()


def start_data_plane(
    house: House, address: str, *, tls: Tls | None = None, is_shared: bool = False
) -> DataPlane:
    """Listen for clients of Flight SQL.

    Args:
        house: Who is in, and what runs.
        address: ``HOST:PORT``; port 0 takes any that is free.
        tls: Without it nothing is encrypted, which is for this host only.
        is_shared: Whether other processes may listen on the port as well.

    Raises:
        BackendFailed: The address is taken, or is none of this host (``address-unavailable``).
    """
    server = grpc.server(
        ThreadPoolExecutor(house.terms.streams_max + SHORT_CALLS, "nbgov-data"),
        options=[
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
            ("grpc.so_reuseport", int(is_shared)),
        ],
    )
    server.add_generic_rpc_handlers((FlightService(house),))
    try:
        port = listen(server, address, tls)
    except RuntimeError:
        port = 0
    if not port:
        raise BackendFailed(
            f"The data plane cannot listen on {address}.",
            code="address-unavailable",
            why="the address is taken, or is none of this host",
            next_step="name another one under gateway: data:",
        )
    server.start()
    return DataPlane(server, port)


def listen(server: grpc.Server, address: str, tls: Tls | None) -> int:
    """The port that a server listens on."""
    if tls is None:
        return server.add_insecure_port(address)
    credentials = grpc.ssl_server_credentials(
        [(tls.key, tls.certificate)],
        root_certificates=tls.client_ca,
        require_client_auth=tls.client_ca is not None,
    )
    return server.add_secure_port(address, credentials)
