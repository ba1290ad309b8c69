"""Copies of the audit log, which follow it in the background.

The log itself is the spool: a copy that was away takes up where it stopped, and nothing is kept for
it meanwhile. Each copy has a thread of its own, so that one that hangs delays nobody. A copy that
holds something else than the log is left as it is, and told of where somebody asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from nbgov.core.audit import decode
from nbgov.core.audit.glance import ROTATION
from nbgov.core.audit.note import Note
from nbgov.errors import IntegrityFailed, NbgovError

if TYPE_CHECKING:
    from nbgov.ports import AuditCopy, Evidence

LINES_MAX = 256
CLOSE_WAIT_S = 3.0
NOTES = ("witnessed", "checkpoint")

State = Literal["level", "behind", "diverged"]


@dataclass(frozen=True, slots=True)
class Followed:
    """How far a copy has followed the log.

    Attributes:
        name: What the copy is called.
        state: ``level`` with the log when it was last looked at, ``behind`` it, or ``diverged``.
        size: How many entries it has, as far as that is known.
        why: What keeps it, empty where nothing does.
    """

    name: str
    state: State
    size: int = 0
    why: str = ""

    def __str__(self) -> str:
        """The line for people.

        >>> str(Followed("sink 2 (files)", "behind", 1200, "disk full"))
        'sink 2 (files): 1,200 entries, behind: disk full'
        """
        told = f"{self.name}: {self.size:,} entries, {self.state}"
        return f"{told}: {self.why}" if self.why else told


class Mirror:
    """Brings one copy up to date.

    Args:
        name: What the copy is called.
        log: The log.
        open_copy: Opens the copy of a log with this name.
    """

    def __init__(self, name: str, log: Evidence, open_copy: Callable[[str], AuditCopy]) -> None:
        self.name = name
        self.log = log
        self.open_copy = open_copy
        self.copy: AuditCopy | None = None
        self.keys: set[str] = set()
        self.lock = threading.Lock()
        self.told = Followed(name, "behind", why="it was not looked at yet")

    def follow(
        self, *, watch: Callable[[int], None] = lambda _: None, is_thorough: bool = False
    ) -> Followed:
        """Copy what the copy lacks, and say how far it is. Never raises for a copy.

        Args:
            watch: Hears how many entries were copied, each time.
            is_thorough: Whether the whole log is read for keys that were replaced. A process that
                died between an entry and its note leaves a copy that lacks the note.
        """
        # Somebody can ask while the session's own thread follows.
        with self.lock:
            if self.told.state != "diverged":
                size = self.told.size
                try:
                    self.told = Followed(self.name, "level", self.catch_up(watch, is_thorough))
                except IntegrityFailed as error:
                    self.told = Followed(self.name, "diverged", size, error.what)
                except NbgovError as error:
                    self.told = Followed(self.name, "behind", size, error.why or error.what)
            return self.told

    def catch_up(self, watch: Callable[[int], None], is_thorough: bool) -> int:  # noqa: FBT001
        """Copy what the copy lacks, and return how many entries it has then.

        Raises:
            IntegrityFailed: The copy holds something else than the log.
            BackendFailed: The log cannot be read, or the copy not be written.
        """
        # Notes come first: the entries that follow then reach as far as they speak of.
        notes = {name: self.log.note(name) for name in NOTES}
        if is_thorough:
            self.keys.update(rotations(enumerate(self.log.entries())))
        first = next(self.log.entries(), None)
        if first is None:
            return 0
        if self.copy is None:
            self.copy = self.open_copy(decode(first).origin)
        size = self.extended(self.copy, watch)
        while size is None:
            size = self.extended(self.copy, watch)  # Another process brings it up to date, too.
        self.keep_notes(notes, size)
        return size

    def extended(self, copy: AuditCopy, watch: Callable[[int], None]) -> int | None:
        """How many entries the copy has with all that it lacked; ``None`` if its end moved."""
        size, last = copy.end()
        lines = self.log.entries(max(0, size - 1))
        if size and next(lines, None) != last:
            # Security: whichever of the two was changed, both are evidence as they are.
            raise IntegrityFailed("It holds something else than the log.")
        for start, part in parts(lines, size):
            if not copy.extend(start, part):
                return None
            size = start + len(part)
            self.keys.update(rotations(enumerate(part, start)))
            watch(len(part))
        return size

    def keep_notes(self, notes: dict[str, str], size: int) -> None:
        """Copy notes that speak of no more than the copy has."""
        assert self.copy is not None
        found = notes | {name: self.log.note(name) for name in self.keys}
        for name, text in found.items():
            kept = self.copy.note(name) if text else ""
            # Security: an older note in the log must not wipe out what the copy can still show.
            if text and covered(kept) <= covered(text) <= size:
                if kept != text:
                    self.copy.keep_note(name, text)
                self.keys.discard(name)

    def close(self) -> None:
        """Let go of the copy."""
        copy, self.copy = self.copy, None
        if copy is not None:
            copy.close()


def covered(text: str) -> int:
    """How many entries a note speaks of; 0 where there is none."""
    return Note.parse(text).checkpoint.size if text else 0


def rotations(numbered: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """The names of the notes under keys that entries say were replaced."""
    return (f"key-{at + 1}" for at, line in numbered if ROTATION in line)


def parts(lines: Iterator[bytes], start: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Entries in pieces, each with the number of its first."""
    while part := tuple(islice(lines, LINES_MAX)):
        yield start, part
        start += len(part)


class Mirroring:
    """Keeps copies following, from the first statement to the end of the session.

    Args:
        mirrors: One for each copy.
        every_s: Time from one look at the log to the next.
    """

    def __init__(self, mirrors: Sequence[Mirror], *, every_s: float) -> None:
        self.mirrors = tuple(mirrors)
        self.every_s = every_s
        self.over = threading.Event()
        self.threads: tuple[threading.Thread, ...] = ()

    def start(self) -> None:
        """Follow from now on, unless that goes on already."""
        if not self.threads:
            self.over.clear()
            self.threads = tuple(
                threading.Thread(target=self.go_on, args=[one], name="nbgov copy", daemon=True)
                for one in self.mirrors
            )
            for thread in self.threads:
                thread.start()

    def go_on(self, mirror: Mirror) -> None:
        """Follow until the session is over, and then once more."""
        is_last = False
        while not is_last and mirror.told.state != "diverged":
            is_last = self.over.wait(self.every_s)
            mirror.follow()
        mirror.close()

    def states(self) -> tuple[Followed, ...]:
        """How far each copy is, as it was last looked at."""
        return tuple(mirror.told for mirror in self.mirrors)

    def close(self, *, wait_s: float = CLOSE_WAIT_S) -> None:
        """Follow once more and stop, within a few seconds. Callable more than once."""
        self.over.set()
        threads, self.threads = self.threads, ()
        for thread in threads:
            # What a copy lacks then, it gets in the next session.
            thread.join(wait_s)
