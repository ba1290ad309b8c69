"""What a session offers to undo: which writes can be, and the statement that undoes one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from nbgov.core.audit import decode
from nbgov.core.audit.lines import receipt_of
from nbgov.core.undo_images import compensation
from nbgov.errors import ApprovalNeeded, BackendFailed, RequestInvalid
from nbgov.model import Receipt, RecordKind, Request, Result, UndoImage
from nbgov.pipeline.undoing import image_of, read_image

if TYPE_CHECKING:
    from nbgov.core.audit import Entry
    from nbgov.pipeline import Pipeline
    from nbgov.ports import World


@dataclass(frozen=True, slots=True)
class Proposal:
    """What undoes a write.

    Attributes:
        image: What was kept of the write.
        sql: The statement, with markers in the place of values.
    """

    image: UndoImage
    sql: str


class Undoing:
    """The part of a session that undoes writes."""

    world: World
    pipeline: Pipeline
    claim: str | None

    def forget_expired(self) -> None:
        """Forget what was kept of writes long enough; a later session does what fails now."""
        if self.world.undo is not None:
            with suppress(BackendFailed):
                self.world.undo.drop(before=self.world.clock.now())

    def undoable(self) -> tuple[UndoImage, ...]:
        """The writes that can be undone now, newest first, without their rows."""
        store, now = self.world.undo, self.world.approvals.now(self.world.clock.now())
        if store is None:
            return ()
        store.drop(before=now)
        return store.images()

    def undo_proposal(self, record: int | str) -> Proposal:
        """The statement that undoes a write; nothing is asked for and nothing runs.

        Args:
            record: Number or receipt of the write's attempt or outcome.

        Raises:
            RequestInvalid: There is no such record (``unknown-record``), or nothing is kept of the
                write (``undo-unknown``).
            BackendFailed: The write did not end well (``undo-unavailable``), or the key of its rows
                was destroyed (``seal-erased``).
        """
        request = self.undo_request(record, origin={})
        return Proposal(image_of(self.world, request.undoes), request.sql)

    def undo(
        self,
        record: int | str,
        *,
        origin: Mapping[str, str] | None = None,
        request: str = "",
        ticket: str = "",
    ) -> Result:
        """Undo a write, if enough people consent; the first call asks them.

        The statement is run under the policy as any other of this session's principal, and needs
        the votes that the write itself needed, too.

        Args:
            record: Number or receipt of the write's attempt or outcome.
            origin: Claims about where the request comes from, for the record.
            request: Name of the request, by which :meth:`cancel` stops it; made up when left out.
            ticket: The ticket to use; no other is used or opened then.

        Raises:
            ApprovalNeeded: It waits for votes; call this again once they are given.
            NbgovError: For every reason why it did not run; what :meth:`undo_proposal` raises too.
        """
        try:
            asked = self.undo_request(record, origin=origin or {})
            return self.pipeline.run(replace(asked, id=request, ticket=ticket))
        except ApprovalNeeded as error:
            error.next_step = f"when it is approved, undo it again: nbgov undo {shown(record)}"
            raise

    def undo_request(self, record: int | str, *, origin: Mapping[str, str]) -> Request:
        """The request that undoes a write."""
        attempt = attempt_at(self.world, record)
        image = image_of(self.world, attempt.record.request)
        require_done(self.world, attempt)
        before, _ = read_image(self.world, image)
        if not before:
            raise BackendFailed(
                "There is nothing to undo.",
                code="undo-unavailable",
                why="the write changed no row",
            )
        sql, binds = compensation(image, before)
        return Request(
            connection=image.connection,
            sql=sql,
            binds=binds,
            claim=self.claim,
            origin={"surface": "python", **origin},
            undoes=image.request,
            veiled=True,
        )


def shown(record: int | str) -> str:
    """A record as a command names it: its number."""
    return str(record) if str(record).isdecimal() else str(Receipt.parse(str(record)).index)


def attempt_at(world: World, record: int | str) -> Entry:
    """The attempt that a record is, or that it closes.

    Raises:
        RequestInvalid: The log has no such entry, or it is of no statement (``unknown-record``).
    """
    text = str(record)
    receipt = None if text.isdecimal() else Receipt.parse(text)
    entry = entry_at(world, receipt.index if receipt else int(text))
    if receipt is not None and receipt != receipt_of(entry):
        raise unknown(receipt.index, "the receipt is not of this entry of this log")
    if entry.record.kind is RecordKind.OUTCOME and entry.record.attempt is not None:
        entry = entry_at(world, entry.record.attempt)
    if entry.record.kind is not RecordKind.ATTEMPT:
        raise unknown(entry.index, "it is not of a statement that ran")
    return entry


def entry_at(world: World, number: int) -> Entry:
    """The entry with a number."""
    line = next(islice(world.audit.entries(number), 1), None)
    if line is None:
        raise unknown(number, "the audit log ends before it")
    return decode(line)


def require_done(world: World, attempt: Entry) -> None:
    """Go no further with a write that may not have happened.

    Raises:
        BackendFailed: The log does not say that it did (``undo-unavailable``).
    """
    mark = b'"attempt":%d,' % attempt.index
    for line in world.audit.entries(attempt.index + 1):
        if mark in line and (closing := decode(line).record).attempt == attempt.index:
            if closing.status == "ok":
                return
            why = f"it ended as {closing.status}, so that there is nothing to undo"
            break
    else:
        why = "the log does not say how it ended"
    raise BackendFailed(
        "The write cannot be undone.",
        code="undo-unavailable",
        why=why,
        next_step="look at its rows, and write a statement of your own if need be",
    )


def unknown(number: int, why: str) -> RequestInvalid:
    """The error of a record that nothing can be undone of."""
    return RequestInvalid(
        f"Record {number} is of no write that can be undone.",
        code="unknown-record",
        why=why,
        next_step="list what can be undone: nbgov undo list",
    )
