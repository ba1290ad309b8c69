"""Custody bundles: made from the stores and signed, and checked by whoever holds one.

What a bundle states, and whether that adds up, is :mod:`nbgov.core.custody`'s business. Here it
meets a key, the model's files and the audit log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov import __version__
from nbgov.assurance.deeds import Deed, recorded
from nbgov.core.audit import decode
from nbgov.core.audit.note import Note, VerifierKey
from nbgov.core.audit.proof import Proof, prove
from nbgov.core.custody import Check, Custody, examine, write_statement
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.evidence.verification import verify_log
from nbgov.lineage.envelope import is_signed_by, key_id, open_envelope, seal
from nbgov.lineage.files import files_digest
from nbgov.lineage.tracing import trace
from nbgov.model import RecordKind

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope

    from nbgov.core.lineage import Lineage
    from nbgov.ports import AuditLog
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What checking a bundle showed.

    Attributes:
        subject: The model version that the bundle is about; empty where it cannot be read.
        checks: Each thing that was looked at, in order.
    """

    subject: str
    checks: tuple[Check, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing fails, and the signature was checked."""
        outcomes = {(one.name, one.outcome) for one in self.checks}
        return ("signature", "holds") in outcomes and all(o != "fails" for _, o in outcomes)


def export_bundle(session: Session, reference: str) -> bytes:
    """The signed bundle of a model version; that it was signed is recorded first.

    Args:
        session: Holds the stores, the audit log and the key.
        reference: ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``.

    Raises:
        RequestInvalid: It is no model version, or one without files or without a known run.
        IntegrityFailed: The audit log does not verify.
        BackendFailed: A store, the log or the key is away.
    """
    lineage = trace(session, reference)
    model = lineage.model
    if model is None or lineage.run is None or not model.digest:
        raise RequestInvalid(
            "There is no chain of custody to export.",
            code="usage",
            why="only a model version whose run and files are known has one",
            next_step="name one, such as models:/churn/3",
        )
    verify_log(session)
    entries = list(recording(session.world.audit.entries(), lineage))
    payload = write_statement(
        lineage,
        entries,
        made_at=session.world.clock.now(),
        maker=f"nbgov {__version__}",
        proofs=proofs(session.world.audit, entries),
    )
    deed = Deed(
        verb="CUSTODY",
        connection=f"models:/{model.name}/{model.version}",
        note=f"signed a custody bundle, statement sha256 {hashlib.sha256(payload).hexdigest()}",
    )
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        return seal(payload, session.world.signer)


def proofs(log: AuditLog, entries: Sequence[bytes]) -> list[Proof]:
    """The proof of each entry, by the newest checkpoint of the log.

    Raises:
        BackendFailed: The checkpoint cannot be made, or the log cannot be read.
    """
    note = log.checkpoint()
    return [] if note is None else [prove(line, note, log.subtree) for line in entries]


def recording(lines: Iterable[bytes], lineage: Lineage) -> Iterator[bytes]:
    """The audit entries that record the reads of a lineage, and the votes on their tickets."""
    reads = {one.record for one in lineage.deliveries}
    tickets = {one.ticket for one in lineage.approvals}
    for line in lines:
        entry = decode(line)
        record = entry.record
        is_read = entry.index in reads or record.attempt in reads
        if is_read or (record.kind is RecordKind.VOTE and record.ticket in tickets):
            yield line


def verify_bundle(
    bundle: bytes,
    *,
    key: bytes | None = None,
    model: Path | None = None,
    session: Session | None = None,
) -> BundleReport:
    """Check a bundle offline, and say what could not be checked.

    Args:
        bundle: The bytes of its file.
        key: The public key that it must be signed by; the session's where there is none.
        model: The model's files, to be held against the subject.
        session: A state folder that may hold the audit log of the reads.

    Raises:
        IntegrityFailed: The bytes are no bundle at all (``custody-broken``).
    """
    envelope = open_envelope(bundle)
    if key is None and session is not None:
        key = session.world.signer.public_key()
    custody, found = examine(envelope.payload)
    checks = [of_signature(key, envelope), *found]
    if custody is None:
        return BundleReport("", tuple(checks))
    checks += [of_checkpoint(custody, key), of_files(custody, model), of_log(custody, session)]
    known = custody.lineage.model
    assert known is not None
    return BundleReport(f"models:/{known.name}/{known.version}", tuple(checks))


def of_signature(key: bytes | None, envelope: Envelope) -> Check:
    """The envelope is signed by the key."""
    if key is None:
        told = "no public key is at hand: give it with --key"
        return Check("signature", "unchecked", told)
    if not is_signed_by(envelope, key):
        return Check("signature", "fails", f"it is not signed by the key {key_id(key)[:16]}")
    return Check("signature", "holds", f"Ed25519 by the key {key_id(key)[:16]}")


def of_checkpoint(custody: Custody, key: bytes | None) -> Check:
    """The checkpoint that the entries are proved by is signed by the key."""
    name = "checkpoint"
    if not custody.checkpoint:
        return Check(name, "unchecked", "the bundle holds none")
    if key is None:
        return Check(name, "unchecked", "no public key is at hand: give it with --key")
    try:
        note = Note.parse(custody.checkpoint)
        point = note.checkpoint
        is_signed = note.signed_by(VerifierKey(point.origin, key)) is not None
    except IntegrityFailed as error:
        return Check(name, "fails", error.why)
    if not is_signed:
        return Check(name, "fails", "it is not signed by that key")
    return Check(name, "holds", f"signed by the log {point.origin} over {point.size} entries")


def of_files(custody: Custody, model: Path | None) -> Check:
    """The model's files are those of the subject."""
    known = custody.lineage.model
    assert known is not None
    if model is None:
        told = "no files are at hand: give their folder with --model"
        return Check("model files", "unchecked", told)
    if files_digest(model) != known.digest:
        return Check("model files", "fails", "they are other files than those of the subject")
    return Check("model files", "holds", "they have the digest of the subject")


def of_log(custody: Custody, session: Session | None) -> Check:
    """The audit entries stand in the log, where it is at hand."""
    name = "audit log"
    if session is None:
        return Check(name, "unchecked", "no state folder is at hand")
    held, origin = set(custody.entries), ""
    here: set[bytes] = set()
    for line in session.world.audit.entries():
        origin = origin or origin_of(line)
        if line in held:
            here.add(line)
    if not held or any(origin_of(line) != origin for line in held):
        return Check(name, "unchecked", "the log of this state folder is another one")
    if here != held:
        return Check(name, "fails", f"{len(held - here)} entries do not stand in the log")
    try:
        verify_log(session)
    except IntegrityFailed as error:
        return Check(name, "fails", error.what)
    return Check(name, "holds", f"{len(held)} entries stand in the log, which verifies")


def origin_of(line: bytes) -> str:
    """The log that an entry is of; empty where it is none."""
    with suppress(IntegrityFailed):
        return decode(line).origin
    return ""
