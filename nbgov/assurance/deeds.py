"""What an administrator does beside governed requests: recorded before it is done, and after."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nbgov.core.case import code_of, status_of
from nbgov.model import Principal, Record, RecordKind
from nbgov.ports import World

BEGUN = "begun"


@dataclass
class Deed:
    """What is being done. Its note and status may be set until it is over."""

    verb: str
    connection: str
    note: str
    status: str = "ok"
    statement_mac: str | None = None


@contextmanager
def recorded(world: World, deed: Deed, *, session: str, principal: Principal) -> Iterator[Deed]:
    """Record that something begins, and how it ended. Nothing is done when the log is away.

    Raises:
        BackendFailed: The log cannot be written (code ``audit-unavailable``).
    """
    record = Record(
        kind=RecordKind.ADMIN,
        at=world.clock.now(),
        request=uuid.uuid4().hex,
        session=session,
        principal=principal.name,
        account=principal.account or None,
        connection=deed.connection,
        verb=deed.verb,
        statement_mac=deed.statement_mac,
        status=BEGUN,
        note=deed.note,
    )
    world.audit.append(record)
    code = None
    try:
        yield deed
    except BaseException as error:
        deed.status, code = status_of(error), code_of(error)
        raise
    finally:
        end = replace(record, at=world.clock.now(), status=deed.status, code=code, note=deed.note)
        world.audit.append(end)
