"""Whether an audit log holds: section 10 of ``docs/spec/audit-log.md``.

One pass over the entries answers everything. Whose key is trusted is the caller's business; who has
none but that of the log's own host is told that it proves nothing against the owner of that host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from nbgov.core import audit
from nbgov.core.audit.merkle import is_included
from nbgov.core.audit.note import Note, Purpose, VerifierKey
from nbgov.core.audit.proof import Proof, invalid, prove
from nbgov.core.checks import listed
from nbgov.errors import BackendFailed, IntegrityFailed, RequestInvalid
from nbgov.evidence.examining import Examiner, Trust, Verification
from nbgov.evidence.heads import heads_check

if TYPE_CHECKING:
    from nbgov.ports import AuditLog, Evidence
    from nbgov.session import Session

__all__ = [
    "Trust",
    "Verification",
    "examine_log",
    "own_trust",
    "prove_entry",
    "read_key",
    "verify",
    "verify_log",
    "verify_proof",
]

Watch = Callable[[Iterable[bytes]], Iterable[bytes]]


def verify(
    evidence: Evidence, trust: Trust, *, is_deep: bool = False, watch: Watch = iter
) -> Verification:
    """Hold a log against what somebody trusts.

    Args:
        evidence: The log.
        trust: What to hold it against.
        is_deep: Whether every entry is decoded, which takes some ten times as long.
        watch: Sees the entries go by, to show how far it is.

    Raises:
        BackendFailed: The log cannot be read.
    """
    # Notes come first: a log that grows meanwhile then has every entry that they speak of.
    examiner = Examiner(evidence, trust)
    sizes = {point.size for point in examiner.points()}
    examiner.report = audit.verify(
        watch(evidence.entries()),
        sizes=sizes,
        indexes={one.index for one in trust.receipts},
        is_deep=is_deep,
    )
    return examiner.verification()


def examine_log(
    session: Session, given: Trust | None = None, *, is_deep: bool = False, watch: Watch = iter
) -> Verification:
    """Hold a session's own log against what is given, and against what the session has of its own.

    Attempts whose process died are closed as interrupted first, so that the report counts them.

    Args:
        session: Holds the log.
        given: What to hold it against; where it has no key, no witnesses, those of the session.
        is_deep: Whether every entry is decoded.
        watch: Sees the entries go by.

    Raises:
        BackendFailed: The log cannot be read.
    """
    # A log too damaged to be recovered is what the report is there to say.
    with contextlib.suppress(BackendFailed):
        session.world.audit.recover()
    trust = own_trust(session, given or Trust())
    found = verify(session.world.audit, trust, is_deep=is_deep, watch=watch)
    heads = heads_check(session)
    return found if heads is None else replace(found, checks=(*found.checks, heads))


def own_trust(session: Session, given: Trust) -> Trust:
    """What is given, and what a session has of its own in the place of what is not."""
    terms, key = session.config.audit, given.key
    first = next(iter(session.world.audit.entries()), None) if key is None else None
    if first is not None:
        with contextlib.suppress(IntegrityFailed):
            key = VerifierKey(audit.decode(first).origin, session.world.signer.public_key())
    if given.witnesses:
        return replace(given, key=key, is_own=given.key is None)
    witnesses = [read_key(one.key, "witness") for one in terms.witnesses]
    return replace(
        given,
        key=key,
        is_own=given.key is None,
        witnesses=witnesses,
        quorum=given.quorum or terms.quorum,
        is_awaiting=given.key is None and given.quorum is None,
    )


def read_key(text: str, purpose: Purpose) -> VerifierKey:
    """The key behind its text, of the kind that is asked for.

    Raises:
        IntegrityFailed: The text is none, or of the other kind (code ``key-invalid``).
    """
    key = VerifierKey.parse(text)
    # Security: the log's own key in the place of a witness would vouch for what it signed itself.
    if key.purpose != purpose:
        command = {"log": "nbgov audit key", "witness": "nbgov audit witness key"}[purpose]
        raise IntegrityFailed(
            f"The key of {key.name} is not that of a {purpose}.",
            code="key-invalid",
            why=f"it is the key of a {key.purpose}",
            next_step=f"give the line that {command} prints",
        )
    return key


def verify_log(session: Session) -> Verification:
    """Hold a session's own log against its own key and the witnesses that are configured.

    Raises:
        IntegrityFailed: Something fails; the error names the first broken entry, if there is one.
    """
    found = examine_log(session)
    if not found.is_sound:
        index = found.report.problem_index
        where = "" if index is None else f" at entry {index}"
        raise IntegrityFailed(
            f"The audit log does not verify{where}.",
            why=found.report.problem or listed(found.problems),
            next_step="keep the state folder as it is, and tell whoever answers for it",
        )
    return found


def prove_entry(session: Session, index: int) -> Proof:
    """The proof that an entry is in a session's own log, checked.

    It leads to the newest witnessed checkpoint, or to the newest one where that does not cover it.

    Raises:
        RequestInvalid: There is no such entry (code ``unknown-record``).
        BackendFailed: The log cannot be read, or is not the one that was signed before.
        IntegrityFailed: The log is damaged.
    """
    log = session.world.audit
    line, newest = next(iter(log.entries(index)), None), log.checkpoint()
    if line is None or newest is None or newest.checkpoint.size <= index:
        raise RequestInvalid(
            f"The audit log has no entry {index}.",
            code="unknown-record",
            next_step="name one that nbgov audit tail or search shows",
        )
    text = log.note("witnessed")
    witnessed = Note.parse(text) if text else newest
    proof = prove(line, witnessed if witnessed.checkpoint.size > index else newest, log.subtree)
    key = VerifierKey(newest.checkpoint.origin, session.world.signer.public_key())
    if proof.note.signed_by(key) is None:
        # The key was replaced since a witness cosigned.
        proof = prove(line, newest, log.subtree)
    proof.verify(line, [key])
    return proof


def verify_proof(session: Session, proof: Proof) -> bool:
    """Make sure that a proof is of an entry of a session's own log.

    The key that it was made under may have been replaced since, and a host keeps no public half of
    the log's first key. The log itself then vouches for the checkpoint of the proof.

    Returns:
        Whether it was made under the key that the log has now.

    Raises:
        BackendFailed: The log cannot be read.
        IntegrityFailed: The proof is of no entry of the log (code ``proof-invalid``).
    """
    log, point = session.world.audit, proof.note.checkpoint
    key = VerifierKey(point.origin, session.world.signer.public_key())
    if proof.note.signed_by(key) is not None:
        proof.verify(proof.line, [key])
        return True
    if not is_replaced(log, proof.note, key):
        raise invalid(
            "its checkpoint is none that this log keeps to, and that one of its keys signed"
        )
    entry = audit.decode(proof.line)
    if (entry.origin, entry.index) != (point.origin, proof.index):
        raise invalid("it is of another entry")
    if not is_included(entry.digest, proof.index, point.size, proof.path, point.root):
        raise invalid("its path does not lead from the entry to the checkpoint")
    return False


def is_replaced(log: AuditLog, note: Note, key: VerifierKey) -> bool:
    """Whether a log keeps to a checkpoint that stands under a key which it had before this one."""
    # Security: this shows that nothing was signed but what the log has, which is verified as a
    # whole and under the newest key; so a line that only looks like a signature gains nothing.
    found = verify(log, Trust(key=key, is_own=True, notes=[note]))
    if not found.is_sound:
        return False
    rotations = found.report.rotations
    named = [VerifierKey.parse(text) for text in rotations.values()]
    if any(note.signed_by(one) is not None for one in named):
        return True
    first = Note.parse(log.note(f"key-{min(rotations) + 1}")).signatures if rotations else ()
    ids = {(one.name, one.key_id) for one in first}
    return any((one.name, one.key_id) in ids for one in note.signatures)
