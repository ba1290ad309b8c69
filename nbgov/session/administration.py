"""What a session says of itself and of nbgov in the audit log, before anything else it records.

A session that records nothing leaves no trace. The first thing that it does record comes behind an
``OPEN`` entry, and behind an entry for each part of ``nbgov.yaml`` that is not what the log said
last; and the first request under another policy comes behind a ``POLICY`` entry.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from nbgov.assurance.deeds import admin_record
from nbgov.backends.accounts import own_account
from nbgov.core.case import canonical, code_of, status_of
from nbgov.errors import BackendFailed, IdentityFailed, NbgovError
from nbgov.model import Principal

if TYPE_CHECKING:
    from nbgov.config import Config
    from nbgov.core.audit.note import Note
    from nbgov.model import Receipt, Record
    from nbgov.ports import AuditLog, World

OPEN = "OPEN"
CLOSE = "CLOSE"
POLICY = "POLICY"
NOTIFY = "NOTIFY"
# What records of a gateway say in the place of ``embedded`` and ``advisory``.
GATEWAY, ENFORCED = "gateway", "enforced"
# Digits of a keyed digest: enough to tell the settings of one connection from other ones.
MARK_DIGITS = 32


class AnnouncedLog:
    """The audit log of a session, which introduces the session before its first entry.

    Every other promise is that of the log behind it.

    Args:
        world: The ports, with the log that entries go to.
        session: Identifier of the session.
        principal: Whose session it is.
        marks: Gives what ``nbgov.yaml`` says, see :func:`marks_of`.
        is_kept: Whether a gateway writes it, out of reach of those whom the entries are about.

    Attributes:
        log: The log behind it.
    """

    def __init__(
        self,
        world: World,
        *,
        session: str,
        principal: Principal,
        marks: Callable[[], Mapping[str, Mapping[str, str]]],
        is_kept: bool = False,
    ) -> None:
        self.log: AuditLog = KeptLog(world.audit) if is_kept else world.audit
        self.world = world
        self.session = session
        self.principal = principal
        self.marks = marks
        self.is_introduced = False
        self.policy = ""
        self.lock = threading.RLock()

    def append(self, record: Record) -> Receipt:
        """Make a record durable, behind what has to be said before it.

        Raises:
            BackendFailed: It could not be made durable (code ``audit-unavailable``).
        """
        if not self.is_introduced or record.policy not in {None, self.policy}:
            with self.lock:
                self.introduce()
                self.tell_policy(record)
        return self.log.append(record)

    def introduce(self) -> None:
        """Say who opened a session, and what in ``nbgov.yaml`` is not as the log said last."""
        if self.is_introduced:
            return
        self.log.append(self.entry(OPEN, origin=whereabouts()))
        for verb, marks in self.marks().items():
            text = canonical(marks).decode()
            before = self.fact(verb)
            if text != before:
                self.log.append(self.entry(verb, changes=changes(read(before), marks)))
                self.keep_fact(verb, text)
        self.is_introduced = True

    def tell_policy(self, record: Record) -> None:
        """Say that another policy is in force than the log said last."""
        if record.policy is None or record.policy == self.policy:
            return
        before = self.fact(POLICY)
        if record.policy != before:
            change = f"{before or 'none'} -> {record.policy}"
            entry = self.entry(POLICY, policy=record.policy, changes=(change,))
            self.log.append(replace(entry, policy_revision=record.policy_revision))
            self.keep_fact(POLICY, record.policy)
        self.policy = record.policy

    def leave(self) -> None:
        """Say that the session ends, if anything was ever recorded of it."""
        with self.lock:
            if self.is_introduced:
                self.is_introduced = False
                with suppress(BackendFailed):
                    self.log.append(self.entry(CLOSE))

    def entry(self, verb: str, **fields: Any) -> Record:
        """An entry about this session or about nbgov."""
        return admin_record(
            self.world, verb, session=self.session, principal=self.principal, **fields
        )

    def fact(self, name: str) -> str:
        """What the log said last. Where that is not known, it is said again."""
        if self.world.facts is not None:
            with suppress(BackendFailed):
                return self.world.facts.fact(name)
        return ""

    def keep_fact(self, name: str, text: str) -> None:
        """Keep what the log has said now: after it did, so that nothing is believed to be there."""
        if self.world.facts is not None:
            with suppress(BackendFailed):
                self.world.facts.keep_fact(name, text)

    # ------------------------------------------------------------ the log behind it

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The stored bytes of every entry there is now, from an index on, oldest first."""
        return self.log.entries(start)

    def note(self, name: str) -> str:
        """A signed note that is kept beside the entries; empty where there is none."""
        return self.log.note(name)

    def recover(self) -> None:
        """Close the attempts whose session died, and repair what a crash left half written."""
        self.log.recover()

    def checkpoint(self) -> Note | None:
        """The signed checkpoint over every entry there is now."""
        return self.log.checkpoint()

    def subtree(self, start: int, stop: int) -> bytes:
        """The Merkle digest of a range of entries that the newest checkpoint covers."""
        return self.log.subtree(start, stop)

    def keep_note(self, name: str, text: str) -> None:
        """Keep a signed note beside the entries, in the place of the one with this name."""
        self.log.keep_note(name, text)

    def close(self) -> None:
        """Say that the session ends, and let go of the log. Callable more than once."""
        self.leave()
        self.log.close()


class KeptLog:
    """The audit log of a gateway: every entry says that nobody could get past what it tells of.

    Args:
        log: The log that entries go to; every other promise is its own.
    """

    def __init__(self, log: AuditLog) -> None:
        self.log = log

    def append(self, record: Record) -> Receipt:
        """Make a record durable, as one of a gateway."""
        return self.log.append(replace(record, mode=GATEWAY, assurance=ENFORCED))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def tell_lost(log: AnnouncedLog, ticket: str, receiver: str, why: str) -> None:
    """Record that a message about a ticket will not arrive. Never raises, as nothing hangs on it.

    Args:
        log: The log of the session.
        ticket: The ticket.
        receiver: Who was to be told.
        why: Why they are not.
    """
    note = f"{receiver}: {why}"
    entry = log.entry(NOTIFY, status="error", code="notice-undelivered", ticket=ticket, note=note)
    with suppress(NbgovError):
        log.append(entry)


def identified(world: World, claim: str | None, *, session: str) -> Principal:
    """Whose session it is; that somebody was refused one is recorded.

    Raises:
        IdentityFailed: Nobody is known by the claim, or has the account.
    """
    try:
        return world.identity.identify(claim)
    except IdentityFailed as error:
        try:
            who = Principal(claim or "", account=own_account())
            refuse(world, error, session=session, who=who)
        finally:
            world.audit.close()
        raise


def refuse(world: World, error: IdentityFailed, *, session: str, who: Principal) -> None:
    """Record a session that was not opened, because nobody knows its principal.

    Args:
        world: The ports.
        error: Why; it learns the number of the entry.
        session: Identifier of the session.
        who: The claimed name and the account of the operating system.

    Raises:
        BackendFailed: The log cannot be written (code ``audit-unavailable``).
    """
    entry = admin_record(
        world,
        OPEN,
        session=session,
        principal=who,
        status=status_of(error),
        code=code_of(error),
        origin=whereabouts(),
    )
    receipt = world.audit.append(entry)
    error.record, error.receipt = receipt.index, str(receipt)


def whereabouts() -> dict[str, str]:
    """What a process says of itself."""
    from nbgov import __version__

    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "nbgov": __version__,
        "python": platform.python_version(),
    }


def marks_of(config: Config, world: World) -> dict[str, dict[str, str]]:
    """A keyed digest of each part of ``nbgov.yaml``: of each connection and principal, and others.

    Security: settings stay out of the log, as a url may hold what is nobody's business. Its digest
    is keyed, so that they cannot be guessed from it either.
    """

    def mark(value: Any) -> str:
        return world.signer.mac(b"nbgov setting\n" + text_of(value)).hex()[:MARK_DIGITS]

    settings = asdict(config)
    connections, principals = settings.pop("connections"), settings.pop("principals")
    return {
        "CONNECTIONS": {name: mark(one) for name, one in connections.items()},
        "PRINCIPALS": {name: mark(one) for name, one in principals.items()},
        "SETTINGS": {name: mark(one) for name, one in settings.items()},
    }


def text_of(value: Any) -> bytes:
    """Settings as JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def read(text: str) -> dict[str, str]:
    """What was kept; nothing where it cannot be read."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Which names were added, removed or given other settings, sorted by name.

    Example:
        >>> changes({"a": "1", "b": "2"}, {"b": "3", "c": "4"})
        ('removed a', 'changed b', 'added c')
    """

    def told(name: str) -> str:
        if name not in before:
            return f"added {name}"
        return f"changed {name}" if name in after else f"removed {name}"

    names = sorted({*before, *after})
    return tuple(told(name) for name in names if before.get(name) != after.get(name))
