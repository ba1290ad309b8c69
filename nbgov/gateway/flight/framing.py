"""Rows as the messages of Flight: Arrow IPC, cut where one message ends and the next begins."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from nbgov.core.wire import flight_data

if TYPE_CHECKING:
    from collections.abc import Iterable

# Clients refuse messages of more than 16 MiB; smaller ones let slow readers hold less.
BATCH_BYTES_MAX = 2 * 2**20


def framed(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """The ``FlightData`` messages of rows, the schema first.

    A batch is cut into slices of at most :data:`BATCH_BYTES_MAX`, or of one row.
    """
    if any(holds_dictionary(field.type) for field in schema):
        yield from cut(schema, batches)
        return
    yield schema_message(schema)
    for batch in batches:
        for part in sliced(batch):
            message = pa.ipc.read_message(part.serialize())
            yield flight_data(message.metadata.to_pybytes(), [message.body])


def schema_message(schema: pa.Schema) -> bytes:
    """The message that says of which columns rows are."""
    return flight_data(pa.ipc.read_message(schema.serialize()).metadata.to_pybytes())


def sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in slices of at most :data:`BATCH_BYTES_MAX`, as far as rows are equally long."""
    size = batch.get_total_buffer_size()
    if size <= BATCH_BYTES_MAX or batch.num_rows <= 1:
        yield batch
        return
    rows = max(1, batch.num_rows * BATCH_BYTES_MAX // max(batch.nbytes, 1))
    for start in range(0, batch.num_rows, rows):
        yield from halved(batch.slice(start, rows))


def halved(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A slice, or halves of it where its rows are longer than the others."""
    if batch.num_rows <= 1 or batch.nbytes <= 2 * BATCH_BYTES_MAX:
        yield batch
        return
    half = batch.num_rows // 2
    yield from halved(batch.slice(0, half))
    yield from halved(batch.slice(half))


def holds_dictionary(kind: pa.DataType) -> bool:
    """Whether values of a type are, or hold, codes of a dictionary."""
    if pa.types.is_dictionary(kind):
        return True
    nested = pa.types.is_nested(kind)
    return nested and any(holds_dictionary(kind.field(i).type) for i in range(kind.num_fields))


class Pieces(io.RawIOBase):
    """What a writer has written since it was last asked."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep some bytes."""
        self.held.append(bytes(data))
        return len(self.held[-1])

    def take(self) -> Iterator[bytes]:
        """The messages that are complete, as ``FlightData``."""
        reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(b"".join(self.held)))
        self.held.clear()
        while True:
            try:
                message = reader.read_next_message()
            except StopIteration:
                return
            body = [] if message.body is None else [message.body]
            yield flight_data(message.metadata.to_pybytes(), body)


def cut(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """The messages of rows with dictionaries, which a writer of streams knows how to send."""
    pieces = Pieces()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False)
    with pa.ipc.new_stream(pa.PythonFile(pieces, mode="w"), schema, options=options) as writer:
        yield from pieces.take()
        for batch in batches:
            for part in sliced(batch):
                writer.write_batch(part)
                yield from pieces.take()
