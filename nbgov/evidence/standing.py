"""How an audit log stands: what it holds, what is signed, what is witnessed, what is neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.config import FilesSink
from nbgov.core.audit.note import Note
from nbgov.cosigning import Witnessed, witnessed
from nbgov.mirroring import Followed, Mirroring

if TYPE_CHECKING:
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class Standing:
    """How an audit log stands. Nobody was asked, and nothing was verified.

    Attributes:
        origin: Name of the log, empty where no checkpoint of it is there yet.
        entries: How many entries there are.
        signed: How many of them the newest checkpoint covers.
        witnessed: How many of them a witnessed checkpoint covers, since when, and by whom.
        witnesses: The names of the witnesses in ``nbgov.yaml``.
        quorum: How many of them make a checkpoint a witnessed one; 0 without witnesses.
        sinks: Where entries go, the one that counts first.
        copies: How far the copies were when they were last looked at.
    """

    origin: str
    entries: int
    signed: int
    witnessed: Witnessed
    witnesses: tuple[str, ...]
    quorum: int
    sinks: tuple[str, ...]
    copies: tuple[Followed, ...] = ()

    @property
    def window(self) -> int:
        """How many of the newest entries no witness has seen: their removal shows nowhere else."""
        return self.entries - self.witnessed.size

    def facts(self) -> list[tuple[str, str]]:
        """What a person is told, with labels."""
        seen = self.witnessed
        by = f", {seen.at:%Y-%m-%d %H:%M:%S} UTC, by {', '.join(seen.by)}" if seen.at else ""
        told = f"{seen.size:,} entries{by}" if self.witnesses else "nobody; nbgov.yaml names none"
        facts = [
            ("log", self.origin or "no checkpoint yet"),
            ("entries", f"{self.entries:,}"),
            ("signed", f"{self.signed:,} entries"),
            ("witnessed", told),
            ("window", f"{self.window:,} entries that no witness has seen"),
            ("witnesses", f"{self.quorum} of {', '.join(self.witnesses)}" * bool(self.witnesses)),
            ("refused", "a witness refuses the log: nbgov audit cosign" * seen.is_refused),
            ("sinks", ", ".join(self.sinks)),
            *(("copy", str(copy)) for copy in self.copies),
        ]
        return [(label, text) for label, text in facts if text]


def standing(session: Session) -> Standing:
    """How the audit log of a session stands.

    Raises:
        BackendFailed: It cannot be read (code ``state-unavailable``).
        IntegrityFailed: What is kept beside it is no signed note (code ``checkpoint-invalid``).
    """
    mirroring = session.world.mirroring
    log, terms, witnesses = session.world.audit, session.config.audit, session.world.witnesses
    text = log.note("checkpoint")
    newest = Note.parse(text).checkpoint if text else None
    signed = newest.size if newest else 0
    return Standing(
        origin=newest.origin if newest else "",
        entries=signed + sum(1 for _ in log.entries(signed)),
        signed=signed,
        witnessed=witnessed(log, [one.key for one in witnesses]),
        witnesses=tuple(one.key.name for one in witnesses),
        quorum=terms.quorum or len(witnesses),
        sinks=tuple(
            f"files {one.path or session.config.state}"
            if isinstance(one, FilesSink)
            else "postgresql"
            for one in terms.sinks
        ),
        copies=mirroring.states() if isinstance(mirroring, Mirroring) else (),
    )
