"""The client of a gateway: requests and tickets go there, results and answers come back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.config.places import GatewayConnection
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import Principal

if TYPE_CHECKING:
    from nbgov.login import Credentials
    from nbgov.ports import World
    from nbgov.remote.control import Control
    from nbgov.remote.pipeline import RemotePipeline
    from nbgov.remote.tickets import RemoteVoting


class Gateways:
    """The gateways behind the connections of one session. Nothing is opened before it is used.

    Args:
        terms: The connections of gateways, by name.
        folder: What relative paths are relative to.
        world: The ports of the session.
    """

    def __init__(self, terms: Mapping[str, GatewayConnection], folder: Path, world: World) -> None:
        self.terms = terms
        self.folder = folder
        self.world = world
        self.pipelines: dict[str, RemotePipeline] = {}
        self.known: tuple[int, Principal] | None = None
        self.lock = threading.Lock()

    def pipeline(self, name: str) -> RemotePipeline | None:
        """What has requests for a connection run; ``None`` where that is no gateway's."""
        # What is no name at all the local pipeline refuses, and records.
        if not isinstance(name, str) or name not in self.terms:
            return None
        from nbgov.remote.channel import Channel
        from nbgov.remote.pipeline import RemotePipeline

        with self.lock:
            if name not in self.pipelines:
                terms = self.terms[name]
                channel = Channel(terms, self.folder, self.credentials(terms))
                self.pipelines[name] = RemotePipeline(name, channel, self.world)
            return self.pipelines[name]

    @cached_property
    def controls(self) -> tuple[Control, ...]:
        """The control planes, one for each gateway."""
        from nbgov.remote.control import Control

        found: dict[str, Control] = {}
        for one in self.terms.values():
            if one.control not in found:
                found[one.control] = Control(
                    one.control, **self.trust(one), credentials=self.credentials(one)
                )
        return tuple(found.values())

    @cached_property
    def votings(self) -> tuple[RemoteVoting, ...]:
        """The tickets of each gateway."""
        from nbgov.remote.tickets import RemoteVoting

        return tuple(map(RemoteVoting, self.controls))

    @property
    def principal(self) -> Principal:
        """Who the first gateway says that somebody is; asked again once they have another token.

        Raises:
            NbgovError: Nobody is logged in, or the gateway is away.
        """
        control = self.controls[0]
        mark = hash(control.credentials.control())
        if self.known is None or self.known[0] != mark:
            self.known = mark, read_principal(control.get("/v1/whoami"))
        return self.known[1]

    def credentials(self, terms: GatewayConnection) -> Credentials:
        """The tokens of whoever is logged in at a gateway."""
        from nbgov.login import credentials_for

        trust = {name: path for name, path in self.trust(terms).items() if path is not None}
        return credentials_for(terms.control, **trust)

    def trust(self, terms: GatewayConnection) -> dict[str, str | None]:
        """Paths of the certificates to trust instead of the system's, and of one's own."""
        names = {"ca": terms.ca, "certificate": terms.certificate}
        return {key: name and str(self.folder / name) for key, name in names.items()}

    def cancel(self, request: str) -> None:
        """Stop a request, by its name, wherever it runs. Never raises; for any thread."""
        for one in tuple(self.pipelines.values()):
            one.cancel(request)

    def close(self) -> None:
        """Give the connections back."""
        while self.pipelines:
            self.pipelines.popitem()[1].channel.close()
        for one in self.__dict__.get("controls", ()):
            one.close()


def not_here(name: str) -> RequestInvalid:
    """The error of somebody who wants the database of a gateway's connection itself."""
    return RequestInvalid(
        f"The database of connection {name} is not opened here.",
        code="not-supported",
        why="it is a connection of a gateway, which holds its credentials",
        next_step="do this where the gateway runs",
    )


def read_principal(told: Any) -> Principal:
    """Whom a gateway names.

    Raises:
        BackendFailed: It names nobody (``gateway-unavailable``).
    """
    try:
        groups, roles = frozenset(told["groups"]), frozenset(told["roles"])
        return Principal(told["name"], groups, roles, told["account"], told["via"])
    except (KeyError, TypeError):
        raise BackendFailed(
            "The gateway does not say who is logged in.",
            code="gateway-unavailable",
            next_step="use the same version at the client and at the gateway",
        ) from None
