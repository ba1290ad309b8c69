"""What the processes of a gateway know together, in memory: for one process, and for tests."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime

from nbgov.core.approval.rules import folded
from nbgov.core.logins import name_taken
from nbgov.model import Login, Node, Stop, StopKind


class MemoryGatewayStore:
    """A :class:`~nbgov.ports.GatewayStore` that forgets everything when its process ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.kept: dict[bytes, Login] = {}
        self.subjects: dict[str, str] = {}
        self.spent: dict[bytes, datetime] = {}
        self.stopped: dict[tuple[StopKind, str], Stop] = {}
        self.told: dict[str, Node] = {}
        self.keys: dict[str, bytes] = {}

    def open_login(self, login: Login, token_digest: bytes) -> None:
        """Keep a login under the SHA-256 of its token."""
        with self.lock:
            self.kept[token_digest] = login

    def login(self, token_digest: bytes) -> Login | None:
        """The login behind a token, whether it has ended or not."""
        return self.kept.get(token_digest)

    def logins(self, *, now: datetime) -> tuple[Login, ...]:
        """The logins that have neither ended nor expired, newest first."""
        with self.lock:
            found = [one for one in self.kept.values() if is_open(one, now)]
        return tuple(sorted(found, key=lambda one: (one.opened_at, one.id), reverse=True))

    def end_logins(
        self, *, login: str = "", principal: str = "", by: str, at: datetime, reason: str
    ) -> tuple[Login, ...]:
        """End one login by its id, or all of a principal, and return those that were open."""
        ended = []
        with self.lock:
            for key, one in self.kept.items():
                if is_open(one, at) and (one.id == login or one.principal.name == principal):
                    self.kept[key] = replace(one, ended_at=at, ended_by=by, reason=reason)
                    ended.append(self.kept[key])
        return tuple(ended)

    def ended(self, *, since: datetime) -> frozenset[str]:
        """Ids of the logins that were ended before their time, since a moment."""
        with self.lock:
            found = [one for one in self.kept.values() if one.ended_at and one.ended_at >= since]
        return frozenset(one.id for one in found)

    def bind_name(self, name: str, subject: str) -> str:
        """The name that a subject has here for good: the first one that it came with.

        Raises:
            IdentityFailed: Another subject has the name (``name-taken``).
        """
        with self.lock:
            for known, owner in self.subjects.items():
                if owner == subject:
                    return known
            if folded(name) in map(folded, self.subjects):
                raise name_taken(name)
            self.subjects[name] = subject
            return name

    def names(self) -> tuple[tuple[str, str], ...]:
        """Every name and its subject, by name."""
        return tuple(sorted(self.subjects.items()))

    def free_name(self, name: str) -> bool:
        """Let another subject have a name; whether anybody had it."""
        with self.lock:
            known = next((one for one in self.subjects if folded(one) == folded(name)), "")
            return self.subjects.pop(known, None) is not None

    def key(self, name: str, fresh: bytes) -> bytes:
        """The key of a name: the one that is kept, else this one from now on."""
        with self.lock:
            return self.keys.setdefault(name, fresh)

    def spend(self, nonce: bytes, *, until: datetime) -> bool:
        """Use a nonce; ``False`` where it was used before."""
        with self.lock:
            is_new = nonce not in self.spent
            self.spent[nonce] = until
        return is_new

    def stop(self, stop: Stop) -> None:
        """Stop a connection or a principal, in place of an earlier stop of it."""
        with self.lock:
            self.stopped.pop((stop.kind, stop.name), None)
            self.stopped[stop.kind, stop.name] = stop

    def lift(self, kind: StopKind, name: str) -> Stop | None:
        """Lift a stop; the stop that there was."""
        with self.lock:
            return self.stopped.pop((kind, name), None)

    def stops(self) -> tuple[Stop, ...]:
        """Everything that is stopped, oldest first."""
        found = self.stopped.values()
        return tuple(sorted(found, key=lambda one: (one.at, one.kind, one.name)))

    def tell(self, node: Node) -> None:
        """Say what a process of the gateway does, in place of what it said last."""
        self.told[node.id] = node

    def nodes(self, *, since: datetime) -> tuple[Node, ...]:
        """The processes that have told of themselves since, by id."""
        found = (node for node in tuple(self.told.values()) if node.seen_at >= since)
        return tuple(sorted(found, key=lambda node: node.id))

    def leave(self, node: str) -> None:
        """Forget a process that ends."""
        self.told.pop(node, None)

    def close(self) -> None:
        """Nothing is held."""


def is_open(login: Login, now: datetime) -> bool:
    """Whether a login has neither ended nor expired."""
    return login.ended_at is None and now < login.expires_at
