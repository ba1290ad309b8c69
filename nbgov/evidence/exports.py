"""The audit log in the formats of other tools: JSON Lines, OCSF, CSV and Parquet.

Every export reads the log itself, not an index of it, in one pass with bounded memory, and is an
entry of the log before it begins. JSON Lines are the stored bytes, so that what was exported
verifies; the other formats are for reading. The guide is ``docs/howto/export-the-log.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias, get_args

from nbgov.assurance.deeds import Deed, recorded
from nbgov.core.audit import Entry, decode
from nbgov.core.audit.entry import ROWS
from nbgov.core.audit.ocsf import Events
from nbgov.core.audit.query import Query, joined, matches
from nbgov.evidence.sheets import SHEETS
from nbgov.model import Record, RecordKind

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.session import Session

Format: TypeAlias = Literal["jsonl", "ocsf", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
TEXT_FORMATS: tuple[Format, ...] = ("jsonl", "ocsf", "csv")
# What one batch holds at most: entries, and the bytes of their lines before the last one.
BATCH_ENTRIES = 4096
BATCH_BYTES = 8 * 1024 * 1024
ATTEMPTS_OPEN_MAX = 10_000
TOLD_EVERY = 1000
EVERYTHING = Query()

Told: TypeAlias = Callable[[int], None]


class Chosen(NamedTuple):
    """An entry that a query means: its stored bytes, and what the attempt says that it closes."""

    line: bytes
    entry: Entry
    attempt: Record | None

    @property
    def whole(self) -> Entry:
        """The entry with a record that says what its attempt says too."""
        return replace(self.entry, record=joined(self.entry.record, self.attempt))


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        entries: Entries that the query means.
        items: Lines or rows that were written for them; of OCSF, events.
        remark: What a reader should know of entries without a line of their own, or empty.
    """

    entries: int
    items: int
    remark: str = ""


def export_log(
    session: Session,
    file: BinaryIO,
    format_: Format,
    query: Query = EVERYTHING,
    *,
    told: Told = lambda _: None,
) -> Exported:
    """Write the entries that a query means to a file; that it was done is recorded first.

    Args:
        session: Holds the log, and whose principal exports it.
        file: Takes the bytes. Making it appear whole is the business of who opened it.
        format_: The format.
        query: The entries; all of them by default. Oldest come first, whatever it says.
        told: Is called now and then with how many entries were read.

    Raises:
        IntegrityFailed: An entry cannot be read.
        BackendFailed: The log is away.
    """
    deed = Deed(verb="EXPORT", connection="", note=f"{format_} of {scope(query)}")
    with recorded(session.world, deed, session=session.id, principal=session.principal):
        found = chosen(watched(session.world.audit.entries(), told), query)
        done = write(found, file, format_)
        deed.note += f": {done.entries} entries"
    return done


def scope(query: Query) -> str:
    """What is exported, in words that the log may hold."""
    # Security: the text that somebody looks for in statements could be a value.
    conditions = str(replace(query, text=""))
    parts = [conditions, "a text in the statement" if query.text else ""]
    return ", ".join(part for part in parts if part) or "the whole log"


def watched(lines: Iterable[bytes], told: Told) -> Iterator[bytes]:
    """The lines; now and then it is told how many went by."""
    for number, line in enumerate(lines, 1):
        if number % TOLD_EVERY == 0:
            told(number)
        yield line


def chosen(lines: Iterable[bytes], query: Query = EVERYTHING) -> Iterator[Chosen]:
    """The entries that a query means, oldest first.

    Raises:
        IntegrityFailed: A line is no entry.
    """
    chooser = Chooser(query)
    found = (one for line in lines if (one := chooser.take(line)))
    yield from islice(found, query.limit)


class Chooser:
    """Tells entry by entry whether a query means it; the attempts that are open are remembered."""

    def __init__(self, query: Query = EVERYTHING) -> None:
        self.query = query
        self.is_everything = replace(query, limit=None, oldest_first=False) == EVERYTHING
        self.attempts: dict[int, Record] = {}

    def take(self, line: bytes) -> Chosen | None:
        """The next entry, if it is meant.

        Raises:
            IntegrityFailed: The line is no entry.
        """
        entry = decode(line)
        record, attempt = entry.record, None
        if record.kind is RecordKind.ATTEMPT:
            self.attempts[entry.index] = record
            if len(self.attempts) > ATTEMPTS_OPEN_MAX:
                del self.attempts[next(iter(self.attempts))]
        elif record.attempt is not None:
            attempt = self.attempts.pop(record.attempt, None)
        is_meant = self.is_everything or matches(self.query, record, attempt)
        return Chosen(line, entry, attempt) if is_meant else None


def write(found: Iterable[Chosen], file: BinaryIO, format_: Format) -> Exported:
    """Write entries in a format."""
    if format_ == "jsonl":
        return write_lines(found, file)
    if format_ == "ocsf":
        return write_events(found, file)
    sheet = SHEETS[format_](file, log_schema())
    entries = 0
    try:
        for batch in batches(found):
            sheet.write(table_of(batch))
            entries += len(batch)
    finally:
        sheet.close()
    return Exported(entries, entries)


def write_lines(found: Iterable[Chosen], file: BinaryIO) -> Exported:
    """The stored bytes of entries, each with a newline."""
    entries = 0
    for one in found:
        file.write(one.line + b"\n")
        entries += 1
    return Exported(entries, entries)


def write_events(found: Iterable[Chosen], file: BinaryIO) -> Exported:
    """Events of OCSF, one in a line."""
    from nbgov import __version__

    events = Events(product_version=__version__)
    entries = 0

    def whole() -> Iterator[Entry]:
        nonlocal entries
        for one in found:
            entries += 1
            yield one.whole

    items = 0
    for event in events.of(whole()):
        file.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        items += 1
    left = sum(events.left_out.values())
    remarks = [
        f"{events.joined} entries are told by the event of the entry that closes them"
        if events.joined
        else "",
        f"{left} heads of other logs are no event" if left else "",
    ]
    return Exported(entries, items, "; ".join(part for part in remarks if part))


def batches(found: Iterable[Chosen]) -> Iterator[list[Entry]]:
    """Entries, as many at once as memory should hold."""
    batch: list[Entry] = []
    size = 0
    for one in found:
        batch.append(one.entry)
        size += len(one.line)
        if len(batch) == BATCH_ENTRIES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


# ---------------------------------------------------------------- entries as tables


def table_of(entries: Iterable[Entry]) -> pa.RecordBatch:
    """Entries as a table with one column for each field that the log keeps."""
    import pyarrow as pa

    entries, schema = list(entries), log_schema()
    records = [entry.record for entry in entries]
    columns: list[list[Any]] = [
        [entry.origin for entry in entries],
        [entry.index for entry in entries],
        [entry.digest.hex() for entry in entries],
        [entry.prev_digest.hex() for entry in entries],
    ]
    for row in ROWS:
        values = [getattr(record, row.name) for record in records]
        if row.shape.startswith("Mapping"):
            values = [None if value is None else sorted(value.items()) for value in values]
        columns.append(values)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def log_schema() -> pa.Schema:
    """The columns of a log: where an entry stands, then the fields of its record."""
    import pyarrow as pa

    types: Mapping[str, pa.DataType] = {
        "int": pa.int64(),
        "datetime": pa.timestamp("us", "UTC"),
        "tuple[str, ...]": pa.list_(pa.string()),
        "Mapping[str, str]": pa.map_(pa.string(), pa.string()),
        "Mapping[str, int]": pa.map_(pa.string(), pa.int64()),
    }
    place = [("log", pa.string()), ("index", pa.int64()), ("digest", pa.string())]
    fields = [(row.name, types.get(row.shape, pa.string())) for row in ROWS]
    return pa.schema([*place, ("prev", pa.string()), *fields])
