"""Approval tickets of a gateway, which are voted on at its control plane and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nbgov.core.approval.transport import read_approval
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.model import Approval
    from nbgov.remote.control import Control

PATH = "/v1/approvals"


class RemoteVoting:
    """The tickets that a gateway shows whoever is logged in.

    Its methods are those of :class:`nbgov.voting.Voting`; who votes is known by the token, so that
    no claim is looked at.
    """

    def __init__(self, control: Control) -> None:
        self.control = control

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        return read_all(self.control.get(PATH))

    def history(self, *, limit: int) -> tuple[Approval, ...]:
        """The tickets that were opened last, in whatever state, newest first."""
        return read_all(self.control.get(PATH, state="all", limit=limit))

    def ticket(self, ticket: str) -> Approval:
        """The approval behind a ticket.

        Raises:
            RequestInvalid: There is none.
        """
        return read_one(self.control.get(at(ticket)))

    def vote(self, ticket: str, *, is_approval: bool, reason: str, claim: str | None) -> Approval:  # noqa: ARG002
        """Cast a vote on an open ticket."""
        return self.step(ticket, "votes", is_approval=is_approval, reason=reason)

    def cancel(self, ticket: str, *, claim: str | None, reason: str = "") -> Approval:  # noqa: ARG002
        """Take a ticket back, as its requester."""
        return self.step(ticket, "cancel", reason=reason)

    def revoke(self, ticket: str, *, reason: str, claim: str | None) -> Approval:  # noqa: ARG002
        """Take a consent back before it is used."""
        return self.step(ticket, "revoke", reason=reason)

    def break_glass(self, ticket: str, *, reason: str, claim: str | None) -> Approval:  # noqa: ARG002
        """Clear a ticket of one's own without votes."""
        return self.step(ticket, "break-glass", reason=reason)

    def review(self, ticket: str, *, finding: str, claim: str | None) -> Approval:  # noqa: ARG002
        """Say what came of a ticket that was used without votes."""
        return self.step(ticket, "review", finding=finding)

    def step(self, ticket: str, verb: str, **said: Any) -> Approval:
        """Take a step on a ticket; it comes back as it is then."""
        return read_one(self.control.post(f"{at(ticket)}/{verb}", said))

    def sample(self, ticket: str) -> dict[str, Any]:
        """The parts of a :class:`~nbgov.session.samples.Sample`."""
        told = self.control.get(f"{at(ticket)}/sample")
        try:
            return {
                "before": read_table(told["before"]),
                "after": read_table(told["after"]),
                "columns_changed": tuple(told["columns_changed"]),
                "masked": dict(told["masked"]),
                "is_truncated": bool(told["is_truncated"]),
                "why": str(told["why"]),
            }
        except (KeyError, TypeError, ValueError, OSError):
            raise unreadable() from None


def at(ticket: str) -> str:
    """Where a ticket stands."""
    return f"{PATH}/{quote(ticket, safe='')}"


def read_all(told: Any) -> tuple[Approval, ...]:
    """The tickets of a list."""
    if not isinstance(told, dict) or not isinstance(told.get("approvals"), list):
        raise unreadable()
    return tuple(map(read_one, told["approvals"]))


def read_one(told: Mapping[str, Any]) -> Approval:
    """One ticket."""
    try:
        return read_approval(told)
    except ValueError:
        raise unreadable() from None


def read_table(text: str | None) -> pa.Table | None:
    """Rows in base64."""
    import pyarrow as pa

    return None if text is None else pa.ipc.open_stream(base64.b64decode(text)).read_all()


def unreadable() -> BackendFailed:
    """The error of an answer that says nothing."""
    return BackendFailed(
        "The gateway's answer cannot be read.",
        code="gateway-unavailable",
        why="it was not written by this version of nbgov",
        next_step="use the same version at the client and at the gateway",
    )
