"""A text in pieces: what replaces what, and where the markers stand afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbgov.model import BindMarker, Span, TableName


@dataclass(frozen=True, slots=True)
class Marker:
    """The place of a bound value."""

    name: str


Piece = str | Marker
Edit = tuple[Span, Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What runs.

    Attributes:
        sql: The text, with ``:name`` markers.
        binds: A scalar for every marker.
        markers: The markers of ``sql``.
        rows_max: Rows to deliver at most, or ``None``.
        witnesses: The texts for the engine's opinion: the user's own with every governed table
            under its witness name, then the query that stands for each masked or filtered table.
        names: The witness names of the mentions, in the order of the statement's tables.
        projected: The masked or filtered tables, in the order of their queries.
        behind: The tables that views among the statement's tables read.
        masked_types: The declared types of outputs, see :class:`nbgov.model.Clearance`.
    """

    sql: str
    binds: Mapping[str, Any]
    markers: tuple[BindMarker, ...]
    rows_max: int | None
    witnesses: tuple[str, ...]
    names: tuple[TableName, ...]
    projected: tuple[TableName, ...]
    behind: frozenset[TableName]
    masked_types: tuple[str, ...]


def cut(sql: str, edits: Iterable[Edit]) -> Iterator[Piece]:
    """The pieces of a text after its spans were replaced; everything else stays byte for byte.

    Raises:
        RuntimeError: Two spans overlap, which is a broken promise of the caller.
    """
    position = 0
    for span, replacement in sorted(edits, key=lambda edit: edit[0]):
        if span.start < position:
            raise RuntimeError("edits overlap")
        yield sql[position : span.start]
        yield from replacement
        position = span.end
    yield sql[position:]


def joined(pieces: Iterable[Piece]) -> tuple[str, tuple[BindMarker, ...]]:
    """The text that the pieces make, and its markers."""
    texts: list[str] = []
    markers: list[BindMarker] = []
    position = 0
    for piece in pieces:
        text = piece if isinstance(piece, str) else f":{piece.name}"
        if isinstance(piece, Marker):
            markers.append(BindMarker(piece.name, Span(position, position + len(text))))
        texts.append(text)
        position += len(text)
    return "".join(texts), tuple(markers)
