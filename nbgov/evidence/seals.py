"""Sealed literals of the audit log: who reads them, and how they are erased.

Erasing is destroying keys: the log stays as it is and verifies, and what was sealed under a key
that is gone can be read by nobody. Both are recorded before they happen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from nbgov.assurance.deeds import Deed, recorded
from nbgov.core.audit import Entry, decode
from nbgov.errors import Denied, RequestInvalid
from nbgov.wiring import SEALS

if TYPE_CHECKING:
    from nbgov.ports import Sealer
    from nbgov.session import Session

ERASE = "ERASE"
UNSEAL = "UNSEAL"
REASON_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Literals:
    """What an entry kept sealed.

    Attributes:
        index: Number of the entry.
        statement: The exact statement, or ``None`` where it was too long to be sealed.
        binds: Type and value of each bound value, by name.
    """

    index: int
    statement: str | None
    binds: dict[str, tuple[str, str]]


def sealer_of(session: Session) -> Sealer:
    """The sealer of a session, also where literals are sealed no longer."""
    from nbgov.backends.files import FileSealer

    mac = session.world.signer.mac
    return session.world.sealer or FileSealer(session.state / SEALS, mac=mac)


def erasable(
    session: Session, *, principal: str | None = None, before: date | None = None
) -> tuple[str, ...]:
    """The names of the keys that :func:`erase` would destroy.

    Raises:
        RequestInvalid: It is not said whose, or of when (code ``usage``).
    """
    if principal is None and before is None:
        raise RequestInvalid(
            "It is not said what to erase.",
            code="usage",
            why="neither a principal nor a date was given",
            next_step="name one: nbgov audit erase --principal NAME, or --before DATE",
        )
    return sealer_of(session).keys(principal=principal, before=before)


def erase(
    session: Session, *, principal: str | None = None, before: date | None = None
) -> tuple[str, ...]:
    """Destroy the keys of a principal's sealed literals, of those before a date, or of both.

    Args:
        session: Whose log it is; its principal is the one who erases.
        principal: Whose requests; those of everybody by default.
        before: Keys of days before this one, in UTC; all of them by default.

    Returns:
        The names of the keys that were destroyed.

    Raises:
        RequestInvalid: It is not said whose, or of when (code ``usage``).
        BackendFailed: The log cannot be written, and nothing was destroyed
            (``audit-unavailable``); or a key cannot be reached (``state-unavailable``).
    """
    keys = erasable(session, principal=principal, before=before)
    sealer = sealer_of(session)
    whose = "everybody" if principal is None else principal
    when = "" if before is None else f", of days before {before}"
    deed = Deed(ERASE, "", f"the sealed literals of {whose}{when}", changes=told(keys))
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        for key in keys:
            sealer.destroy(key)
    return keys


def told(keys: tuple[str, ...]) -> tuple[str, ...]:
    """What becomes of keys, as an entry says it."""
    return tuple(f"destroyed {key}" for key in keys)


def unseal(session: Session, index: int, *, reason: str) -> Literals:
    """The literals that an entry keeps sealed. That somebody reads them is recorded first.

    Raises:
        RequestInvalid: There is no such entry, it keeps none, or no reason is given (``usage``).
        Denied: The policy does not let the session's principal (``unseal-not-permitted``).
        BackendFailed: Their key was destroyed (``seal-erased``).
        IntegrityFailed: They are not what was sealed for the entry (``seal-broken``).
    """
    principal = session.principal
    why = " ".join(reason.split())[:REASON_CHARS_MAX]
    deed = Deed(UNSEAL, "", f"the literals of entry {index}: {why}")
    with recorded(session.world, deed, session=session.id, principal=principal):
        if not session.pipeline.policy().document.evidence.unseal.holds(principal):
            raise Denied(
                f"{principal.name} may not read sealed literals.",
                code="unseal-not-permitted",
                why="the policy names nobody, or others, under evidence: unseal:",
                next_step="ask somebody who may, or ask the owner of policy.yaml",
            )
        if not why:
            raise usage("No reason is given.", "say why with --reason; it is recorded")
        entry = entry_at(session, index)
        sealed = entry.record.literals
        if sealed is None:
            raise usage(
                f"Entry {index} keeps no literals.", "attempts do, where audit: seal: is true"
            )
        data = sealer_of(session).unseal(sealed, context=entry.record.request)
    return read(index, json.loads(data.decode(errors="surrogatepass")))


def read(index: int, facts: dict[str, Any]) -> Literals:
    """What was sealed, as a value."""
    binds = {name: (kind, value) for name, (kind, value) in facts.get("binds", {}).items()}
    return Literals(index, facts.get("statement"), binds)


def entry_at(session: Session, index: int) -> Entry:
    """The entry with a number.

    Raises:
        RequestInvalid: There is none (code ``usage``).
    """
    line = next(islice(session.world.audit.entries(index), 1), None) if index >= 0 else None
    if line is None:
        raise usage(f"There is no entry {index}.", "list them: nbgov audit tail")
    return decode(line)


def usage(what: str, next_step: str) -> RequestInvalid:
    """The error of somebody who asks for what is not there."""
    return RequestInvalid(what, code="usage", next_step=next_step)
