"""What is kept of a write that people consented to, and what holds before it is undone.

The rows that a write has changed are sealed and durable before it is committed, so that a write
that is kept nothing of is none. A crash in between leaves an image of a write that never happened;
whoever undoes it asks the audit log how the write ended. Cases: ``tests/test_undo.py``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nbgov.core.catalog import write_name
from nbgov.core.undo_images import (
    broken,
    changed_since,
    facts_of,
    payload,
    rows_of,
    unavailable,
    unpack,
)
from nbgov.errors import BackendFailed, IntegrityFailed, RequestInvalid
from nbgov.model import UndoImage

if TYPE_CHECKING:
    from nbgov.core.case import Case
    from nbgov.core.undo_images import Row
    from nbgov.ports import Stream, World


def prepare_undo(world: World, case: Case, stream: Stream) -> None:
    """Before a write is committed: see that it undoes what it says, and keep what undoes it.

    Raises:
        BackendFailed: It does not, or nothing can be kept (``undo-unavailable``,
            ``state-unavailable``). The write is to be rolled back then.
    """
    require_unchanged(world, case, stream)
    keep_image(world, case, stream)


def keep_image(world: World, case: Case, stream: Stream) -> None:
    """Keep what the rows of a write were, before it is committed.

    Raises:
        BackendFailed: They cannot be sealed (``undo-unavailable``) or kept
            (``state-unavailable``). The write is to be rolled back then.
    """
    image = case.before
    principal, approval = case.principal, case.approval
    if image is None:
        if approval is not None and approval.evidence.undo_sql:
            raise unavailable("those who approved it were told that it can be undone")
        return
    store, sealer, before = world.undo, world.undo_sealer, stream.before
    assert principal is not None
    if before is None or store is None or sealer is None:
        raise unavailable("nothing was kept of its rows")
    now = world.clock.now()
    kept = UndoImage(
        request=case.id,
        ticket=approval.ticket if approval else "",
        connection=case.request.connection,
        table=write_name(image.table),
        verb=image.verb,
        principal=principal.name,
        key=image.key,
        columns=tuple(column.name for column in image.columns),
        rows=before.num_rows,
        kept_at=now,
        expires_at=now + timedelta(days=world.undo_days),
        facts={**facts_of(image), "record": str(case.receipt.index if case.receipt else "")},
    )
    data = payload(before, stream.after)
    sealed = sealer.seal(data, principal=principal.name, at=now, context=context(kept))
    if sealed is None:
        raise unavailable("the keys of this principal were destroyed today", "run it tomorrow")
    store.drop(before=now)
    store.keep(replace(kept, sealed=sealed))


def require_unchanged(world: World, case: Case, stream: Stream) -> None:
    """Go no further with the undo of a write whose rows somebody has changed since.

    Raises:
        BackendFailed: Somebody has (``undo-unavailable``). The undo is to be rolled back then.
    """
    if not case.request.undoes:
        return
    image = image_of(world, case.request.undoes)
    if image.verb == "DELETE":
        # A row that has taken the place of a deleted one has its key, which the database holds.
        lost = image.rows - (stream.rows_affected or 0)
    else:
        _, after = read_image(world, image)
        now = rows_of(stream.before) if stream.before is not None else []
        lost = changed_since(image, after, now)
    if lost:
        raise BackendFailed(
            "The write cannot be undone: its rows are no longer as it left them.",
            code="undo-unavailable",
            why=f"{lost:,} of {image.rows:,} rows were changed or deleted since",
            next_step="look at them, and write a statement of your own",
        )


def image_of(world: World, request: str) -> UndoImage:
    """What was kept of a write.

    Raises:
        RequestInvalid: Nothing was, or it has expired (``undo-unknown``).
    """
    found = world.undo.image(request) if world.undo is not None else None
    # Security: an expired image may still lie there; who set the clock back gets it no sooner.
    if found is None or found.expires_at <= world.approvals.now(world.clock.now()):
        raise RequestInvalid(
            "There is nothing to undo this request with.",
            code="undo-unknown",
            why="no rows were kept of it, or they have expired",
            next_step="list what can be undone: nbgov undo list",
        )
    return found


def read_image(world: World, image: UndoImage) -> tuple[list[Row], list[Row]]:
    """The rows before and after a write.

    Raises:
        BackendFailed: Their key was destroyed (``seal-erased``).
        IntegrityFailed: They are not what was kept (``undo-broken``).
    """
    assert world.undo_sealer is not None
    try:
        data = world.undo_sealer.unseal(image.sealed, context=context(image))
    except IntegrityFailed:
        raise broken(image.request) from None
    return unpack(image, data)


def context(image: UndoImage) -> str:
    """What sealed rows are bound to: all else that is kept of the write.

    Security: whoever changes any of it, or puts it in another's place, cannot unseal the rows.
    """
    told = asdict(replace(image, sealed=""))
    return f"undo {json.dumps(told, sort_keys=True, default=time_of)}"


def time_of(at: datetime) -> str:
    """A moment, spelled the same wherever it was kept."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
