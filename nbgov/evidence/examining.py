"""What a log is held against, and the checks that this makes: section 10 of the specification.

``docs/spec/audit-log.md`` says what each check shows, and what none of them does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nbgov.core import audit
from nbgov.core.audit.note import Checkpoint, Note, SignatureLine, VerifierKey
from nbgov.core.checks import Check, check, counted, counted_entries, listed
from nbgov.errors import IntegrityFailed

if TYPE_CHECKING:
    from nbgov.core.audit import AuditReport
    from nbgov.model import Receipt
    from nbgov.ports import Evidence

OWN_KEY = "; it is this host's own key, which proves nothing against whoever owns the host"
SECONDS_MAX = 253_402_300_799  # The last second of the year 9999.


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier has of its own, to hold a log against.

    Attributes:
        key: The key of the log: the first one, or a later one.
        is_own: Whether the key comes from the same host as the log.
        witnesses: The keys of the witnesses.
        quorum: How many of them make a checkpoint a witnessed one; all of them by default.
        is_awaiting: Whether the witnesses are only configured beside the log, by its host, so that
            none of them may have been reached yet. One that a verifier names has to have cosigned.
        receipts: What results were delivered with.
        notes: Checkpoints of the log that were kept elsewhere.
    """

    key: VerifierKey | None = None
    is_own: bool = False
    witnesses: Sequence[VerifierKey] = ()
    quorum: int | None = None
    is_awaiting: bool = False
    receipts: Sequence[Receipt] = ()
    notes: Sequence[Note] = ()

    @property
    def needed(self) -> int:
        """How many witnesses must have cosigned."""
        # Security: a quorum of zero would be met by a log that nobody has seen.
        return max(1, len(self.witnesses) if self.quorum is None else self.quorum)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held that whoever made the log could not have made as well."""
        return not (self.key or self.witnesses or self.receipts or self.notes)


@dataclass(frozen=True, slots=True)
class Verification:
    """What holding a log against somebody's trust showed.

    Attributes:
        report: What its entries say.
        checks: What was looked at, in order.
        keys: The keys of the log, the trusted one first, as far as each names the next.
        checkpoint: The newest checkpoint, if there is one that can be read.
        witnessed: The newest one that enough witnesses cosigned, and that the log keeps to.
        cosigned_at: When each witness cosigned it, by name.
        window: How many entries at the end nothing covers that is held elsewhere: no witnessed
            checkpoint, no kept one, no receipt.
    """

    report: AuditReport
    checks: tuple[Check, ...]
    keys: tuple[VerifierKey, ...] = ()
    checkpoint: Checkpoint | None = None
    witnessed: Checkpoint | None = None
    cosigned_at: Mapping[str, datetime] = field(default_factory=dict)
    window: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing that was looked at fails."""
        return all(one.outcome != "fails" for one in self.checks)

    @property
    def problems(self) -> tuple[str, ...]:
        """What fails, each in a sentence."""
        return tuple(f"{one.name}: {one.told}" for one in self.checks if one.outcome == "fails")


class Examiner:
    """Holds the notes beside a log, and then its entries, against a trust."""

    def __init__(self, evidence: Evidence, trust: Trust) -> None:
        self.evidence = evidence
        self.trust = trust
        self.report = audit.verify(())
        self.problems: dict[str, str] = {}
        self.checkpoint = self.read("checkpoint")
        self.witnessed = self.read("witnessed")
        self.keys: list[VerifierKey] = []
        self.cosigned_at: dict[str, datetime] = {}
        self.covered = 0

    def read(self, name: str) -> Note | None:
        """The note of a name, if there is one and it says what a checkpoint says."""
        text = self.evidence.note(name)
        if not text:
            return None
        try:
            note = Note.parse(text)
            assert note.checkpoint.size >= 0
        except IntegrityFailed as error:
            self.problems[name] = error.why
            return None
        return note

    def points(self) -> Iterator[Checkpoint]:
        """Every checkpoint that the log has to keep to."""
        for note in (self.checkpoint, self.witnessed, *self.trust.notes):
            if note is not None:
                yield note.checkpoint

    def verification(self) -> Verification:
        """What was found."""
        checks = (
            self.of_chain(),
            *self.of_keys(),
            self.of_checkpoint(),
            *self.of_witnesses(),
            *self.of_notes(),
            *self.of_receipts(),
            self.of_window(),
            *self.of_gaps(),
        )
        return Verification(
            report=self.report,
            checks=checks,
            keys=tuple(self.keys),
            checkpoint=self.checkpoint.checkpoint if self.checkpoint else None,
            witnessed=self.witnessed.checkpoint if self.witnessed and self.cosigned_at else None,
            cosigned_at=self.cosigned_at,
            window=self.report.entries - self.covered,
        )

    def of_chain(self) -> Check:
        """Each entry follows from the one before."""
        report = self.report
        problems = [f"entry {report.problem_index}: {report.problem}"] if report.problem else []
        told = f"{counted_entries(report.entries)}, each chained to the one before"
        return check("chain", problems, told)

    def of_keys(self) -> Iterator[Check]:
        """Each signing key was named by an entry that the key before vouches for."""
        if self.trust.key is None:
            return
        self.keys.append(self.trust.key)
        yield from of_named_keys(self.keys, self.report.rotations, self.handover_problem)

    def handover_problem(self, index: int, text: str) -> str:
        """Why the key that an entry names is not to be trusted, or empty."""
        name = f"key-{index + 1}"
        note = self.read(name)
        if note is None:
            return self.problems.get(name, "no checkpoint of the key before vouches for it")
        return (
            successor_problem(note, index, text, origin=self.report.origin)
            or self.point_problem(note)
            or unsigned(note, self.keys[-1:])
        )

    def point_problem(self, note: Note) -> str:
        """Why the log does not keep to a checkpoint, or empty."""
        point, report = note.checkpoint, self.report
        if point.origin != report.origin:
            return "it is of another log"
        if point.size > report.entries:
            return f"it is over {point.size:,} entries, the log ends after {report.entries:,}"
        if report.roots[point.size] != point.root:
            return f"the first {point.size:,} entries are not those that it was signed over"
        return ""

    def of_checkpoint(self) -> Check:
        """The newest checkpoint is signed by the newest key, and the log keeps to it."""
        note = self.checkpoint
        if note is None:
            problem = self.problems.get("checkpoint", "")
            return check("checkpoint", [problem], "") if problem else self.no_checkpoint()
        problem = self.point_problem(note)
        if problem or self.trust.key is None:
            told = (
                f"the log keeps to it at {note.checkpoint.size:,}, and no key is given to check it"
            )
            return Check("checkpoint", "fails" if problem else "unchecked", problem or told)
        if not unsigned(note, self.keys[-1:]):
            told = f"signed at {note.checkpoint.size:,} by {named(self.keys[-1])}"
            return Check("checkpoint", "holds", told + (OWN_KEY if self.trust.is_own else ""))
        if len(self.keys) > 1 and not unsigned(note, self.keys[-2:-1]):
            told = "it is signed by a key that an entry has replaced; finish: nbgov audit rotate"
            return Check("checkpoint", "unchecked", told)
        return Check("checkpoint", "fails", unsigned(note, self.keys[-1:]))

    def no_checkpoint(self) -> Check:
        """What it means that nothing was signed."""
        told = "there is none: a log that was rewritten as a whole would look the same"
        # A log that has just begun has none yet, and is verified on its own host only. Security:
        # a folder that holds no entry at all is not the log that a key was given for.
        is_lost = self.keys and not self.trust.is_own
        return Check("checkpoint", "fails" if is_lost else "unchecked", told)

    def of_witnesses(self) -> Iterator[Check]:
        """Enough witnesses cosigned a checkpoint that the log keeps to."""
        trust, note = self.trust, self.witnessed
        if self.evidence.note("refused"):
            told = "a witness refuses the log: it is not the one that it saw before"
            yield Check("refusal", "fails", told)
        if not trust.witnesses:
            told = "none is given: whoever holds the key of the log could have rewritten it"
            # Who asks for a quorum must not be told that a log verifies which nobody cosigned.
            yield Check("witnesses", "fails" if trust.quorum else "unchecked", told)
            return
        if note is None:
            told = self.problems.get("witnessed", "no checkpoint has been cosigned")
            is_young = trust.is_awaiting and "witnessed" not in self.problems
            yield Check("witnesses", "unchecked" if is_young else "fails", told)
            return
        problems = [one for one in [self.point_problem(note)] if one]
        times, wrong = cosigners(note, trust)
        problems += wrong
        if not problems:
            self.cosigned_at = times
            self.covered = note.checkpoint.size
        yield check("witnesses", problems, cosigned_told(note, times))

    def of_notes(self) -> Iterator[Check]:
        """The log keeps to every checkpoint that was kept elsewhere."""
        for note in self.trust.notes:
            name = f"kept at {note.checkpoint.size:,}"
            problem = self.point_problem(note)
            known = [*self.keys, *self.trust.witnesses]
            if problem:
                yield Check(name, "fails", problem)
            elif all(unsigned(note, [key]) for key in known):
                told = "the log keeps to it, but nobody who is known signed it"
                yield Check(name, "unchecked", told)
            else:
                self.covered = max(self.covered, note.checkpoint.size)
                yield Check(name, "holds", "the log keeps to it")

    def of_receipts(self) -> Iterator[Check]:
        """Every entry that a receipt names is there, and is the one that it names."""
        if not self.trust.receipts:
            return
        report = self.report
        problems = []
        for one in self.trust.receipts:
            if one.origin != report.origin:
                problems.append(f"{one.short} is of another log")
            elif one.index not in report.digests:
                problems.append(f"{one.short} names an entry that is not there")
            elif report.digests[one.index] != one.entry_digest:
                problems.append(f"{one.short} names another entry than the one there")
            else:
                # A digest names the digest before, so a receipt vouches for all that is before it.
                self.covered = max(self.covered, one.index + 1)
        told = f"{counted(len(self.trust.receipts), 'receipt')}, each with its entry"
        yield check("receipts", problems, told)

    def of_window(self) -> Check:
        """How much of the log is covered by something that is held elsewhere."""
        window = self.report.entries - self.covered
        if not window:
            return Check("window", "holds", "something held elsewhere covers every entry")
        told = (
            f"nothing held elsewhere covers the last {counted_entries(window)}: they could be cut "
            "off or rewritten unseen, until a witness cosigns them or a receipt is shown"
        )
        return Check("window", "unchecked", told)

    def of_gaps(self) -> Iterator[Check]:
        """What the log itself says that it does not know."""
        report = self.report
        if report.open_attempts:
            told = f"attempts without an end so far: {listed(list(map(str, report.open_attempts)))}"
            yield Check("attempts", "unchecked", told)
        else:
            ended = counted(report.interrupted, "attempt")
            told = "every attempt has its end"
            lost = f", {ended} with its process" if report.interrupted else ""
            yield Check("attempts", "holds", told + lost)
        if report.repairs:
            told = f"{counted(report.repairs, 'time')}, bytes were cut that were no entry"
            yield Check(
                "repairs", "unchecked", f"{told}; a receipt would tell if they had been one"
            )


def of_named_keys(
    keys: list[VerifierKey], named_at: Mapping[int, str], problem_of: Callable[[int, str], str]
) -> Iterator[Check]:
    """Each signing key was named by an entry that the key before vouches for.

    Args:
        keys: The key that is given; those that follow from it are added, up to the newest.
        named_at: The text of each key that an entry names, by the number of the entry.
        problem_of: Why such a key is not to be trusted under the newest of ``keys``, or empty.
    """
    known = [index for index, text in named_at.items() if text == str(keys[-1])]
    problems = []
    for index, text in named_at.items():
        if index <= max(known, default=-1):
            continue
        if problem := problem_of(index, text):
            problems.append(f"entry {index} names another key, and {problem}")
            break
        keys.append(VerifierKey.parse(text))
    if named_at:
        told = f"{counted(len(keys), 'key')}, each named under the one before"
        yield check("keys", problems, told)


def successor_problem(note: Note, index: int, text: str, *, origin: str) -> str:
    """Why a note and a key do not belong to a rotation of a log, or empty."""
    if note.checkpoint.size != index + 1:
        return "the checkpoint that should vouch for it ends elsewhere"
    try:
        following = VerifierKey.parse(text)
    except IntegrityFailed:
        return "it is no key"
    is_own = (following.name, following.purpose) == (origin, "log")
    return "" if is_own else "it is the key of another log"


def cosigners(note: Note, trust: Trust) -> tuple[dict[str, datetime], list[str]]:
    """When each witness cosigned a note, by name, and why that is not enough."""
    times: dict[str, datetime] = {}
    problems = []
    for key in trust.witnesses:
        try:
            line = note.signed_by(key)
        except IntegrityFailed:
            problems.append(f"the cosignature of {key.name} is wrong")
        else:
            if line is not None:
                times[key.name] = cosigned_at(line)
    if len(times) < trust.needed:
        problems.append(f"{len(times)} of {trust.needed} witnesses cosigned it")
    return times, problems


def cosigned_told(note: Note, times: Mapping[str, datetime]) -> str:
    """How much witnesses cosigned, who they are, and when it was."""
    when = ", ".join(f"{name} at {at:%Y-%m-%d %H:%M:%S} UTC" for name, at in times.items())
    return f"{counted_entries(note.checkpoint.size)} cosigned by {when}"


def unsigned(note: Note, keys: Iterable[VerifierKey]) -> str:
    """Why a note is not signed by one of the keys, or empty."""
    problem = "nobody who is known signed it"
    for key in keys:
        # Security: a host may sign several logs under one key, each in its own name; and what a
        # witness signs is a log of any name.
        if key.purpose == "log" and key.name != note.checkpoint.origin:
            problem = f"the key is that of another log, {key.name}"
            continue
        try:
            if note.signed_by(key) is not None:
                return ""
            problem = f"it is not signed by {named(key)}"
        except IntegrityFailed as error:
            problem = error.why
    return problem


def named(key: VerifierKey) -> str:
    """A key for people: its name and its id."""
    return f"{key.name}+{key.key_id.hex()}"


def cosigned_at(line: SignatureLine) -> datetime:
    """The time that a witness put into its cosignature."""
    seconds = int.from_bytes(line.value[:8], "big")
    return datetime.fromtimestamp(min(seconds, SECONDS_MAX), UTC)
