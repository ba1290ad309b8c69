"""The rows of one result on their way into the row store.

Keeping rows is a convenience for whoever wants to train again; it must not fail a query. What goes
wrong is a remark on the result, and the rows are not kept then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.ports import RowDraft, RowStore


class KeptRows:
    """Rows that are kept once all of them were delivered, if anybody asked for that.

    Args:
        store: Where they go.
        remarks: Where it says that they are not kept.
    """

    def __init__(self, store: RowStore, remarks: list[str]) -> None:
        self.store = store
        self.remarks = remarks
        self.draft: RowDraft | None = None

    def begin(self, schema: pa.Schema) -> None:
        """Ask for the rows to be kept."""
        try:
            self.draft = self.store.draft(schema)
        except BackendFailed as error:
            self.give_up(error)

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch, if they are to be kept."""
        if self.draft is not None:
            try:
                self.draft.write(batch)
            except BackendFailed as error:
                self.give_up(error)

    def keep(self, key: str) -> None:
        """Keep the rows, all of which were delivered."""
        if self.draft is not None:
            try:
                self.draft.keep(key)
            except BackendFailed as error:
                self.give_up(error)

    def end(self) -> None:
        """Forget rows that were not kept."""
        if self.draft is not None:
            self.draft.discard()
            self.draft = None

    def give_up(self, error: BackendFailed) -> None:
        """Say that the rows are not kept, and go on without them."""
        self.remarks.append(f"The rows are not kept: {error.why or error.what}")
        self.end()
