"""What a bundle of selected entries proves: these entries are in the log, and no more than that.

Each entry leads by its own path to the root of one signed checkpoint. What stands between the
entries stays unseen, so nothing is said of the log as a whole, nor of what was left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from nbgov.core.audit import decode
from nbgov.core.audit.merkle import is_consistent, is_included
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey
from nbgov.core.checks import Check, check, counted, counted_entries
from nbgov.errors import IntegrityFailed
from nbgov.evidence.bundles import CHECKPOINT, WITNESSED, Bundle, Digests
from nbgov.evidence.examining import (
    Trust,
    cosigned_told,
    cosigners,
    named,
    of_named_keys,
    successor_problem,
    unsigned,
)


@dataclass(frozen=True, slots=True)
class SelectionReport:
    """What holding selected entries against somebody's trust showed.

    Attributes:
        checkpoint: What the entries were held against.
        entries: How many of them are in the log that it is of.
        checks: What was looked at, in order.
        keys: The keys of the log, the trusted one first, as far as each names the next.
        cosigned_at: When each witness cosigned, by name.
    """

    checkpoint: Checkpoint
    entries: int
    checks: tuple[Check, ...]
    keys: tuple[VerifierKey, ...] = ()
    cosigned_at: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def is_sound(self) -> bool:
        """Whether nothing that was looked at fails."""
        return all(one.outcome != "fails" for one in self.checks)

    @property
    def problems(self) -> tuple[str, ...]:
        """What fails, each in a sentence."""
        return tuple(f"{one.name}: {one.told}" for one in self.checks if one.outcome == "fails")


def verify_selection(bundle: Bundle, trust: Trust) -> SelectionReport:
    """Hold a bundle of selected entries against what somebody trusts.

    Raises:
        IntegrityFailed: It is malformed (code ``bundle-invalid`` or ``checkpoint-invalid``).
    """
    examiner = SelectionExaminer(bundle, trust)
    checks = (
        examiner.of_entries(),
        *examiner.of_keys(),
        examiner.of_checkpoint(),
        examiner.of_witnesses(),
        *examiner.of_notes(),
        *examiner.of_receipts(),
        examiner.of_scope(),
    )
    return SelectionReport(
        checkpoint=examiner.point,
        entries=len(examiner.digests),
        checks=checks,
        keys=tuple(examiner.keys),
        cosigned_at=examiner.cosigned_at,
    )


class SelectionExaminer:
    """Holds the entries of a bundle, then its notes, against a trust."""

    def __init__(self, bundle: Bundle, trust: Trust) -> None:
        self.bundle = bundle
        self.trust = trust
        self.note = Note.parse(bundle.note(CHECKPOINT))
        self.point = self.note.checkpoint
        self.steps = bundle.consistency()
        self.digests: dict[int, bytes] = {}
        self.named: dict[int, str] = {}
        self.keys: list[VerifierKey] = []
        self.cosigned_at: dict[str, datetime] = {}

    def of_entries(self) -> Check:
        """Each entry is in the tree of the checkpoint, at the place that it names."""
        stated = self.bundle.origin, self.bundle.size
        problems = []
        if stated != (self.point.origin, self.point.size):
            problems.append("the checkpoint is of another log or size than the bundle says")
        for line, path in self.bundle.inclusions():
            if problem := self.entry_problem(line, path):
                problems.append(f"the entry after {len(self.digests):,} others {problem}")
                break
        told = f"{counted_entries(len(self.digests))}, each led by its path to the checkpoint"
        return check("entries", problems, told)

    def entry_problem(self, line: bytes, path: Digests) -> str:
        """Why an entry is not in the tree, or empty."""
        try:
            entry = decode(line)
        except IntegrityFailed as error:
            return f"cannot be read: {error.what}"
        if entry.origin != self.point.origin:
            return "is of another log"
        if entry.index <= max(self.digests, default=-1):
            return "is not in order"
        if not is_included(entry.digest, entry.index, self.point.size, path, self.point.root):
            return "is not in the tree of the checkpoint"
        self.digests[entry.index] = entry.digest
        if entry.record.verb == "ROTATE":
            self.named[entry.index] = entry.record.note or ""
        return ""

    def of_keys(self) -> Iterator[Check]:
        """Each signing key was named by an entry that the key before vouches for."""
        if self.trust.key is None:
            return
        self.keys.append(self.trust.key)
        yield from of_named_keys(self.keys, self.named, self.handover_problem)

    def handover_problem(self, index: int, text: str) -> str:
        """Why the key that an entry names is not to be trusted, or empty."""
        try:
            note = Note.parse(self.bundle.note(f"key-{index + 1}"))
            return (
                successor_problem(note, index, text, origin=self.point.origin)
                or self.step_problem(note.checkpoint)
                or unsigned(note, self.keys[-1:])
            )
        except IntegrityFailed as error:
            return f"no checkpoint of the key before vouches for it: {error.why or error.what}"

    def step_problem(self, older: Checkpoint) -> str:
        """Why the log does not begin with that of another checkpoint, or empty."""
        point = self.point
        if older.origin != point.origin:
            return "it is of another log"
        path = self.steps.get(older.size)
        if path is None or older.size > point.size:
            return "nothing shows that the log begins with it"
        if not is_consistent(older.size, point.size, path, older.root, point.root):
            return "the log does not begin with it"
        return ""

    def of_checkpoint(self) -> Check:
        """The checkpoint is signed by the newest key."""
        if self.trust.key is None:
            return Check("checkpoint", "unchecked", "no key is given to check it")
        problem = unsigned(self.note, self.keys[-1:])
        told = f"signed at {self.point.size:,} by {named(self.keys[-1])}"
        return check("checkpoint", [problem] if problem else [], told)

    def of_witnesses(self) -> Check:
        """Enough witnesses cosigned a checkpoint that the log begins with."""
        trust = self.trust
        if not trust.witnesses:
            told = "none is given: whoever holds the key of the log could have made all of this"
            return Check("witnesses", "fails" if trust.quorum else "unchecked", told)
        text = self.bundle.note(WITNESSED)
        if not text:
            return Check("witnesses", "fails", "no checkpoint has been cosigned")
        note = Note.parse(text)
        older = note.checkpoint
        problems = [one for one in [self.step_problem(older)] if one]
        self.cosigned_at, wrong = cosigners(note, trust)
        problems += wrong
        late = sum(index >= older.size for index in self.digests)
        if late and not problems:
            told = f"{counted_entries(late)} came after the checkpoint that witnesses cosigned"
            return Check("witnesses", "unchecked", told)
        return check("witnesses", problems, cosigned_told(note, self.cosigned_at))

    def of_notes(self) -> Iterator[Check]:
        """The log begins with every checkpoint that was kept elsewhere, as far as it is shown."""
        point = self.point
        for note in self.trust.notes:
            older = note.checkpoint
            name = f"kept at {older.size:,}"
            is_shown = older.size in self.steps or older.size == point.size
            problem = "" if older == point else self.step_problem(older)
            if older.origin == point.origin and not is_shown:
                yield Check(name, "unchecked", problem)
            elif problem:
                yield Check(name, "fails", problem)
            elif all(unsigned(note, [key]) for key in (*self.keys, *self.trust.witnesses)):
                told = "the log begins with it, but nobody who is known signed it"
                yield Check(name, "unchecked", told)
            else:
                yield Check(name, "holds", "the log begins with it")

    def of_receipts(self) -> Iterator[Check]:
        """What a receipt names is the entry that is here, if one of its number is."""
        problems, absent = [], 0
        for one in self.trust.receipts:
            if one.origin != self.point.origin:
                problems.append(f"{one.short} is of another log")
            elif one.index not in self.digests:
                absent += 1
            elif self.digests[one.index] != one.entry_digest:
                problems.append(f"{one.short} names another entry than the one here")
        if self.trust.receipts and (problems or not absent):
            told = f"{counted(len(self.trust.receipts), 'receipt')}, each with its entry"
            yield check("receipts", problems, told)
        elif absent:
            told = f"{counted(absent, 'receipt')} of entries that are not among those selected"
            yield Check("receipts", "unchecked", told)

    def of_scope(self) -> Check:
        """That this is not the whole log."""
        told = (
            f"{counted_entries(len(self.digests))} of {self.point.size:,}: this is not the whole "
            "log, and what was left out is not shown"
        )
        return Check("scope", "unchecked", told)
