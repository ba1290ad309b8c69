"""A real audit log with a real witness, and what an attacker who owns the host can do to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nbgov.backends.files import FileAuditLog, FileEvidence, FileSigner, LogTerms
from nbgov.backends.memory import MemoryClock, MemorySigner, MemoryWitness
from nbgov.core.audit import GENESIS_DIGEST, decode, encode
from nbgov.core.audit.merkle import Frontier, Subtree, leaf_digest, subtree_of
from nbgov.core.audit.note import Checkpoint, Note, VerifierKey, sign
from nbgov.cosigning import Cosigner
from nbgov.model import Receipt, Record, RecordKind
from nbgov.ports import Signer

ORIGIN = "acme.test/audit"
AT = datetime(2026, 1, 2, tzinfo=UTC)
NEVER = LogTerms(segment_bytes_max=4096, checkpoint_entries=10**9, checkpoint_s=1e9)
# The log has 61 entries. Entry 10 names another key. A witness cosigned 20 and 40 entries, 50 are
# signed and no more, and the last 11 are neither.
ROTATED, EARLY, WITNESSED, SIGNED, SIZE = 11, 20, 40, 50, 61


@dataclass(frozen=True)
class Scene:
    """A state folder, and what is held of its log elsewhere.

    Attributes:
        state: The state folder.
        key: The first key of the log, as the auditor got it.
        witness: Who cosigned.
        kept: The checkpoint that the witness cosigned last.
        receipts: What two results were delivered with: one before the witnessed checkpoint, one
            behind the signed one.
        early: A copy of the state folder from when the witness had cosigned less.
    """

    state: Path
    key: VerifierKey
    witness: MemoryWitness
    kept: Note
    receipts: tuple[Receipt, ...]
    early: Path


def open_log(state: Path) -> FileAuditLog:
    """The log of a state folder, which signs when it is told to."""
    clock = MemoryClock(AT + timedelta(days=1))  # Behind no entry, so that the log says nothing.
    signer = FileSigner(state / "audit.key")
    return FileAuditLog(state, session="s1", clock=clock, signer=signer, origin=ORIGIN, terms=NEVER)


def build(folder: Path) -> Scene:
    """The log of the scene, written as a session writes it."""
    state, early = folder / "state", folder / "early"
    state.mkdir(parents=True)
    log = open_log(state)
    key = VerifierKey(ORIGIN, log.signer.public_key())
    witness = MemoryWitness("witness.test/w1", [key])
    receipts = fill(log, 10)
    rotate(log, witness)
    receipts += fill(log, EARLY)
    assert Cosigner(log, [witness]).round().is_witnessed
    shutil.copytree(state, early)
    receipts += fill(log, WITNESSED)
    assert Cosigner(log, [witness]).round().is_witnessed
    kept = Note.parse(log.note("witnessed"))
    receipts += fill(log, SIGNED)
    assert log.checkpoint().checkpoint.size == SIGNED
    receipts += fill(log, SIZE)
    assert FileEvidence(state).note("checkpoint") == log.note("checkpoint")
    # A process that was killed leaves no checkpoint over what came last.
    frozen = folder / "frozen"
    shutil.copytree(state, frozen)
    log.close()
    return Scene(frozen, key, witness, kept, (receipts[12], receipts[55]), early)


def fill(log: FileAuditLog, size: int) -> list[Receipt]:
    """Append attempts and their outcomes until the log has so many entries."""
    receipts: list[Receipt] = []
    while (index := receipts[-1].index + 1 if receipts else sum(1 for _ in log.entries())) < size:
        kind = RecordKind.ATTEMPT if index % 2 == 0 else RecordKind.VOTE
        at = AT + timedelta(minutes=index)
        attempt = Record(kind, at, f"r{index}", "s1", principal="ada@acme.test", statement="?")
        receipts.append(log.append(attempt))
    return receipts


def rotate(log: FileAuditLog, witness: MemoryWitness) -> None:
    """Another signing key takes over, as the contract of the port says."""
    following = VerifierKey(ORIGIN, log.signer.successor())
    witness.logs.append(following)
    record = Record(RecordKind.ADMIN, AT + timedelta(minutes=10), "", "s1", verb="ROTATE")
    log.append(replace(record, note=str(following)))
    note = log.checkpoint()
    assert note.checkpoint.size == ROTATED
    log.keep_note(f"key-{ROTATED}", str(note))
    log.signer.succeed()
    log.checkpoint()


# ---------------------------------------------------------------- an attacker's tools


@dataclass(frozen=True)
class Loot:
    """A copy of a state folder in the hands of somebody who may do anything to it.

    Attributes:
        state: The state folder.
        scene: Where it comes from.
        shown: What the witness has seen of the other log, where the attacker keeps two.
    """

    state: Path
    scene: Scene
    shown: list[Note] = field(default_factory=list)

    @property
    def lines(self) -> list[bytes]:
        """The stored entries."""
        return list(FileEvidence(self.state).entries())

    @property
    def records(self) -> list[Record]:
        """What the entries state."""
        return [decode(line).record for line in self.lines]

    @property
    def signer(self) -> Signer:
        """The signing key of the log, for an attacker who stole it."""
        return FileSigner(self.state / "audit.key")

    def write(self, lines: Iterable[bytes]) -> None:
        """Put other entries in the place of those that are there."""
        audit = self.state / "audit"
        for path in (*audit.glob("*.jsonl"), *audit.glob("tree*")):
            path.unlink()
        (audit / f"{0:020}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))

    def rewrite(self, records: Sequence[Record], *, origin: str = ORIGIN) -> None:
        """Put other records in the place of those that are there, chained anew."""
        self.write(chained(records, origin=origin))

    def keep(self, name: str, text: str) -> None:
        """Put a note beside the entries, or take one away."""
        path = self.state / "audit" / name
        path.write_text(text, encoding="utf-8") if text else path.unlink(missing_ok=True)

    def sign(self, signer: Signer, *, origin: str = ORIGIN, size: int | None = None) -> Note:
        """Sign the entries that are there, or so many of them, as the newest checkpoint."""
        note = signed(self.lines[:size], signer, origin=origin)
        self.keep("checkpoint", str(note))
        return note


def chained(records: Sequence[Record], *, origin: str = ORIGIN) -> list[bytes]:
    """The entries of a log of these records."""
    lines: list[bytes] = []
    prev = GENESIS_DIGEST
    for index, record in enumerate(records):
        lines.append(encode(record, origin=origin, index=index, prev_digest=prev))
        prev = leaf_digest(lines[-1])
    return lines


def signed(lines: Sequence[bytes], signer: Signer, *, origin: str = ORIGIN) -> Note:
    """A checkpoint over entries."""
    tree = Frontier()
    tree.extend(map(leaf_digest, lines))
    key = VerifierKey(origin, signer.public_key())
    return sign(Checkpoint(origin, tree.size, tree.root()), key, signer.sign)


def thief() -> Signer:
    """A key that is not the log's."""
    return MemorySigner(b"thief")


def nodes_of(lines: Sequence[bytes]) -> Subtree:
    """The tree over entries."""
    tree = Frontier()
    return subtree_of([node for line in lines for node in tree.add(leaf_digest(line))].__getitem__)
