"""What the processes of a gateway know together: who is logged in, and what was stopped."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from nbgov.model import Login, Node, Stop, StopKind


class GatewayStore(Protocol):
    """Keeps what several processes of one gateway must agree on.

    Objects of it are safe to use from several threads and, opened again, from several processes.
    Every method raises :class:`~nbgov.errors.BackendFailed` (code ``state-unavailable``) where the
    store cannot be read or written; nobody is let in then.
    """

    def open_login(self, login: Login, token_digest: bytes) -> None:
        """Keep a login under the SHA-256 of its token. The token itself is kept nowhere."""
        ...

    def login(self, token_digest: bytes) -> Login | None:
        """The login behind a token, whether it has ended or not."""
        ...

    def logins(self, *, now: datetime) -> tuple[Login, ...]:
        """The logins that have neither ended nor expired, newest first."""
        ...

    def end_logins(
        self, *, login: str = "", principal: str = "", by: str, at: datetime, reason: str
    ) -> tuple[Login, ...]:
        """End one login by its id, or all of a principal, and return those that were open."""
        ...

    def ended(self, *, since: datetime) -> frozenset[str]:
        """Ids of the logins that were ended before their time, since a moment."""
        ...

    def bind_name(self, name: str, subject: str) -> str:
        """The name that a subject has here for good: the first one that it came with.

        Raises:
            IdentityFailed: Another subject has the name (``name-taken``).
        """
        ...

    def names(self) -> tuple[tuple[str, str], ...]:
        """Every name and its subject, by name."""
        ...

    def free_name(self, name: str) -> bool:
        """Let another subject have a name; whether anybody had it."""
        ...

    def key(self, name: str, fresh: bytes) -> bytes:
        """The key of a name: the one that is kept, else this one from now on."""
        ...

    def spend(self, nonce: bytes, *, until: datetime) -> bool:
        """Use a nonce; ``False`` where it was used before. It is forgotten after ``until``."""
        ...

    def stop(self, stop: Stop) -> None:
        """Stop a connection or a principal, in place of an earlier stop of it."""
        ...

    def lift(self, kind: StopKind, name: str) -> Stop | None:
        """Lift a stop; the stop that there was."""
        ...

    def stops(self) -> tuple[Stop, ...]:
        """Everything that is stopped, oldest first."""
        ...

    def tell(self, node: Node) -> None:
        """Say what a process of the gateway does, in place of what it said last."""
        ...

    def nodes(self, *, since: datetime) -> tuple[Node, ...]:
        """The processes that have told of themselves since, by id."""
        ...

    def leave(self, node: str) -> None:
        """Forget a process that ends."""
        ...

    def close(self) -> None:
        """Let go of the store. Callable more than once."""
        ...
