"""What an administrator does beside governed requests: recorded before it is done, and after."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nbgov.core.case import code_of, principal_facts, sqlstate_of, status_of
from nbgov.model import Principal, Receipt, Record, RecordKind
from nbgov.ports import World

BEGUN = "begun"


@dataclass
class Deed:
    """What is being done. Its note, status and changes may be set until it is over."""

    verb: str
    connection: str
    note: str
    status: str = "ok"
    statement_mac: str | None = None
    changes: tuple[str, ...] | None = None


@contextmanager
def recorded(world: World, deed: Deed, *, session: str, principal: Principal) -> Iterator[Deed]:
    """Record that something begins, and how it ended. Nothing is done when the log is away.

    Raises:
        BackendFailed: The log cannot be written (code ``audit-unavailable``).
        IntegrityFailed: A witness knows another log (code ``witness-refused``).
    """
    if world.cosigning is not None:
        world.cosigning.check()
    record = admin_record(
        world,
        deed.verb,
        session=session,
        principal=principal,
        connection=deed.connection or None,
        statement_mac=deed.statement_mac,
        status=BEGUN,
        changes=deed.changes,
        note=deed.note,
    )
    world.audit.append(record)
    code = sqlstate = None
    try:
        yield deed
    except BaseException as error:
        deed.status, code, sqlstate = status_of(error), code_of(error), sqlstate_of(error)
        raise
    finally:
        end = replace(
            record,
            at=world.clock.now(),
            status=deed.status,
            code=code,
            sqlstate=sqlstate,
            changes=deed.changes,
            note=deed.note,
        )
        world.audit.append(end)


def record_admin(
    world: World, verb: str, *, session: str, principal: Principal, **fields: Any
) -> Receipt:
    """Record something that an administrator does, in one entry.

    Args:
        world: The ports.
        verb: What is done, in capitals.
        session: Identifier of the session.
        principal: Who does it.
        **fields: Further fields of the record.

    Raises:
        BackendFailed: The log cannot be written (code ``audit-unavailable``).
    """
    record = admin_record(world, verb, session=session, principal=principal, **fields)
    return world.audit.append(record)


def admin_record(
    world: World, verb: str, *, session: str, principal: Principal, **fields: Any
) -> Record:
    """The record of something that an administrator does."""
    return Record(
        kind=RecordKind.ADMIN,
        at=world.clock.now(),
        request=uuid.uuid4().hex,
        session=session,
        verb=verb,
        **{"status": "ok", **principal_facts(principal), **fields},
    )
