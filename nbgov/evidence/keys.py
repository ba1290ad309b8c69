"""The key that checkpoints are signed under: naming it, and replacing it.

A new key is vouched for by the one before: an entry names it, and the last checkpoint under the old
key, which is kept, covers that entry. So whoever was given the first key can follow to the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbgov.assurance.deeds import admin_record, record_admin
from nbgov.core.audit.glance import ROTATION
from nbgov.core.audit.note import Checkpoint, VerifierKey, sign

if TYPE_CHECKING:
    from nbgov.ports import AuditLog
    from nbgov.session import Session


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key that was replaced.

    Attributes:
        old: What checkpoints were signed under until now. Its secret half is destroyed.
        new: What they are signed under from now on.
        index: The entry that names the new one.
    """

    old: VerifierKey
    new: VerifierKey
    index: int


def log_key(session: Session, *, is_next: bool = False) -> VerifierKey:
    """The key of the session's log, or the one that the next rotation will put in its place.

    Raises:
        BackendFailed: The log cannot be read or written, or the key cannot be made.
    """
    world = session.world
    if world.audit.checkpoint() is None:
        # A log has its name from its first entry on.
        record_admin(world, "KEY", session=session.id, principal=session.principal)
    public = world.signer.successor() if is_next else world.signer.public_key()
    return VerifierKey(origin_of(world.audit), public)


def rotate_key(session: Session) -> Rotation:
    """Replace the key, and record it; or finish a rotation that died on its way.

    Raises:
        BackendFailed: A log or a key file cannot be written, or somebody else is rotating.
    """
    world = session.world
    # Held from here on: two rotations at once would name each other's keys.
    public = world.signer.successor()
    old = log_key(session)
    index = announce(session, world.audit, VerifierKey(old.name, public))
    if world.heads is not None and world.heads.checkpoint() is not None:
        announce(session, world.heads, VerifierKey(origin_of(world.heads), public))
    world.signer.succeed()
    world.audit.checkpoint()
    if world.heads is not None:
        world.heads.checkpoint()
    return Rotation(old, VerifierKey(old.name, public), index)


def announce(session: Session, log: AuditLog, new: VerifierKey) -> int:
    """Have a log name its next key, under the old one; done once, however often it is tried."""
    signer = session.world.signer
    index = announced(log, new)
    if index is None:
        record = admin_record(
            session.world,
            "ROTATE",
            session=session.id,
            principal=session.principal,
            note=str(new),
        )
        index = log.append(record).index
    log.checkpoint()
    size = index + 1
    point = Checkpoint(new.name, size, log.subtree(0, size))
    note = sign(point, VerifierKey(new.name, signer.public_key()), signer.sign)
    log.keep_note(f"key-{size}", str(note))
    return index


def announced(log: AuditLog, new: VerifierKey) -> int | None:
    """The entry that names a key, if a rotation got that far."""
    named = str(new).encode()
    for index, line in enumerate(log.entries()):
        if ROTATION in line and named in line:
            return index
    return None


def origin_of(log: AuditLog) -> str:
    """The name of a log that has entries."""
    note = log.checkpoint()
    assert note is not None
    return note.checkpoint.origin
