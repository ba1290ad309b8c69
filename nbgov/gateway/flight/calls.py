"""One call of a client: who it is, where they call from, and which connection they mean."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from nbgov.model import Audience

if TYPE_CHECKING:
    import grpc

    from nbgov.gateway.guests import Guest
    from nbgov.gateway.house import House

CONNECTION_HEADER = "x-nbgov-connection"
BEARER, BASIC = "bearer ", "basic "


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a guest.

    Attributes:
        guest: Who calls.
        connection: The connection that is meant where a statement does not say it.
        address: Where the call comes from, as the gateway sees it.
        agent: What the client says it is.
        context: Ends the call, and knows when the client has.
    """

    guest: Guest
    connection: str
    address: str
    agent: str
    context: grpc.ServicerContext


def received(house: House, context: grpc.ServicerContext) -> Call:
    """The call behind a context.

    Raises:
        IdentityFailed: Its token opens nothing here.
        Denied: The principal was stopped.
    """
    headers = {str(key): str(value) for key, value in context.invocation_metadata()}
    guest = house.enter(token_of(headers.get("authorization", "")), Audience.DATA)
    connection = headers.get(CONNECTION_HEADER) or guest.session.default_connection
    agent = headers.get("user-agent", "")
    return Call(guest, connection, address_of(context.peer()), agent, context)


def token_of(authorization: str) -> str:
    """The token that a header carries: as a bearer, or as a password; empty where there is none."""
    kind, rest = authorization[: len(BEARER)].lower(), authorization[len(BEARER) :].strip()
    if kind == BEARER:
        return rest
    if not kind.startswith(BASIC):
        return ""
    try:
        pair = base64.b64decode(authorization[len(BASIC) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return pair.partition(":")[2]


def address_of(peer: str) -> str:
    """The address in gRPC's name of a peer; empty where it is none.

    >>> address_of("ipv4:127.0.0.1:5"), address_of("ipv6:%5B::1%5D:5"), address_of("unix:x")
    ('127.0.0.1', '::1', '')
    """
    text = unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
