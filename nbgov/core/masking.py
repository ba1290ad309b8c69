"""The second layer of masking: what a detector finds in the text of a result is replaced.

The first layer, column masks, is applied where a table is scanned (:mod:`nbgov.core.rewrite`), and
it is the guarantee. This layer reads the result columns whose values no tag classifies, and helps:
it finds no more than its detector does, and values of binary, numeric and temporal columns pass
unread. It knows no detector: ``detect`` is handed in. The cases are in
``tests/core/test_masking.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import BackendFailed
from nbgov.model import ColumnMask, ColumnName, ContentMask, Decision, MaskKind, OutputColumn

Integers = npt.NDArray[np.int64]


class Detect(Protocol):
    """What :meth:`nbgov.ports.Detector.detect` is: findings in distinct, non-null strings."""

    def __call__(
        self, values: pa.Array, *, entities: Sequence[str], score_min: float, language: str
    ) -> pa.Table:
        """Columns ``value``, ``entity``, ``start``, ``end``, ``score``; one row per finding."""
        ...


@dataclass(frozen=True, slots=True)
class MaskingPlan:
    """What happens to the columns of one result.

    Attributes:
        content: Which entities to replace in text, or ``None`` when nothing asks for it.
        scanned: Positions of the result columns whose text is scanned, ascending.
        masked: Result column to the column masks that were applied at the scan, strictest first,
            such as ``email: redact pii.email``. For people; nothing is done because of it.
    """

    content: ContentMask | None
    scanned: tuple[int, ...]
    masked: Mapping[str, str]


def plan(decision: Decision, schema: pa.Schema, outputs: tuple[OutputColumn, ...]) -> MaskingPlan:
    """Decide which columns of a result are scanned, and name the masks that are applied already.

    A column that holds text is scanned if no tag classifies one of its sources. A column without
    any source, such as a literal, holds nobody's data. Result and ``outputs`` are matched by
    position, because names may repeat; where they differ in length, no origin is known, and all
    text is scanned. Without a content mask nothing is scanned.

    Args:
        decision: The permit, with its obligations and unclassified columns.
        schema: Schema of the result as the engine delivers it.
        outputs: Columns of the result as the statement declares them.
    """
    contents = [o for o in decision.obligations if isinstance(o, ContentMask)]
    if len(contents) > 1:
        raise RuntimeError("a decision carries at most one content mask")
    origins: list[frozenset[ColumnName]] = [output.sources for output in outputs]
    is_known = len(origins) == len(schema)
    if not is_known:
        origins = [frozenset()] * len(schema)
    scanned = []
    applied: dict[str, set[ColumnMask]] = {}
    for position, (field, sources) in enumerate(zip(schema, origins, strict=True)):
        is_open = bool(sources & decision.unclassified) or not is_known
        if is_open and holds_text(field.type):
            scanned.append(position)
        if masks := {m for m in decision.masks if m.column in sources}:
            applied.setdefault(field.name, set()).update(masks)
    return MaskingPlan(
        content=contents[0] if contents else None,
        scanned=tuple(scanned) if contents else (),
        masked={name: label(masks) for name, masks in applied.items()},
    )


def mask(
    batch: pa.RecordBatch, plan: MaskingPlan, detect: Detect
) -> tuple[pa.RecordBatch, Mapping[str, int]]:
    """Replace each entity found in the scanned columns by its name, such as ``<EMAIL_ADDRESS>``.

    Findings that overlap become one replacement of all the characters they cover, so that no part
    of any finding is left. It is named after the one with the highest score; then the longest, the
    earliest, and the first in alphabetical order. Types and nulls are kept: strings, large strings
    and string views, alone or inside dictionaries, lists, maps, structs, run-end encodings and
    extension types. Dictionary values that no row uses are masked too: they travel with the batch.

    Args:
        batch: Rows as the engine delivers them.
        plan: What to do with them.
        detect: Finds entities in distinct strings, one column at a time.

    Returns:
        The masked batch; and for each entity the number of texts in which it was replaced, where a
        text that stands in ten rows counts ten times.

    Raises:
        BackendFailed: The detector failed, or text is stored in a way that cannot be rewritten.
            Nothing of the batch is returned then.
    """
    if plan.content is None or not plan.scanned:
        return batch, {}
    masking = ContentMasking(plan.content, detect)
    columns = batch.columns
    for position in plan.scanned:
        columns[position] = masking.rewrite(columns[position])
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema), dict(masking.counts)


def holds_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text, or hold text somewhere inside."""
    if is_text(kind):
        return True
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return holds_text(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return holds_text(kind.storage_type)
    return any(holds_text(kind.field(i).type) for i in range(kind.num_fields))


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's plain string types."""
    return kind in {pa.string(), pa.large_string(), pa.string_view()}


def label(masks: set[ColumnMask]) -> str:
    """The masks of one column for people, such as ``redact pii.email``."""
    strictness = list(MaskKind)
    ranked = sorted({(strictness.index(m.kind), m.tag) for m in masks})
    return ", ".join(f"{strictness[rank]} {tag}" for rank, tag in ranked)


class ContentMasking:
    """Masks the text in columns, and counts by entity what it replaced."""

    def __init__(self, content: ContentMask, detect: Detect) -> None:
        self.content = content
        self.detect = detect
        self.counts: Counter[str] = Counter()

    def rewrite(self, array: pa.Array) -> pa.Array:
        """The array with its text masked, of the same type."""
        kind = array.type
        if not holds_text(kind):
            return array
        if is_text(kind):
            return self.rewrite_text(array, np.ones(len(array), dtype=np.int64))
        if pa.types.is_dictionary(kind) and is_text(kind.value_type):
            return self.rewrite_dictionary(array)
        return self.rewrite_container(array)

    def rewrite_container(self, array: pa.Array) -> pa.Array:
        """Mask the text inside the values of an array.

        Raises:
            BackendFailed: The container is not one of those below.
        """
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(kind, self.rewrite(array.storage))
        if pa.types.is_run_end_encoded(kind):
            decoded = self.rewrite(pc.run_end_decode(array))
            return pc.run_end_encode(decoded, run_end_type=kind.run_end_type)
        if pa.types.is_struct(kind):
            children = [self.rewrite(child) for child in array.flatten()]
            return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())
        if any(f(kind) for f in (pa.types.is_list, pa.types.is_large_list, pa.types.is_map)):
            return self.rewrite_list(array)
        if pa.types.is_fixed_size_list(kind):
            return self.rewrite_list(array.cast(pa.list_(kind.value_field))).cast(kind)
        # Security: a container that is not understood must not carry text past the detector.
        raise BackendFailed(
            f"A result column of type {kind} cannot be scanned for PII, so nothing was released.",
            code="detector-failed",
            why="nbgov does not rewrite text that is stored in this way.",
            next_step="Cast the column to VARCHAR, leave it out, or classify it in policy.yaml.",
        )

    def rewrite_list(self, array: pa.Array) -> pa.Array:
        """Mask the elements of lists, or the keys and items of maps."""
        kind, is_map = array.type, pa.types.is_map(array.type)
        if is_map:
            array = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy()
        is_large = pa.types.is_large_list(kind)
        offsets = pa.array(
            np.concatenate([[0], np.cumsum(lengths)]), pa.int64() if is_large else pa.int32()
        )
        elements, is_null = self.rewrite(array.flatten()), array.is_null()
        if is_map:
            return pa.MapArray.from_arrays(offsets, *elements.flatten(), type=kind, mask=is_null)
        lists = pa.LargeListArray if is_large else pa.ListArray
        return lists.from_arrays(offsets, elements, type=kind, mask=is_null)

    def rewrite_dictionary(self, array: pa.DictionaryArray) -> pa.DictionaryArray:
        """Mask the values of a dictionary, used or not; those that become equal become one."""
        uses = array.indices.drop_null().cast(pa.int64()).to_numpy()
        rows = np.bincount(uses, minlength=len(array.dictionary))
        masked = self.rewrite_text(array.dictionary, rows)
        if masked is array.dictionary:
            return array
        distinct = masked.dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            distinct.indices.take(array.indices).cast(array.type.index_type),
            distinct.dictionary,
            ordered=array.type.ordered,
        )

    def rewrite_text(self, array: pa.Array, rows: Integers) -> pa.Array:
        """Mask strings of which each stands for so many rows; the same array if none changes."""
        encoded = array.cast(pa.large_string()).dictionary_encode()
        texts = encoded.dictionary
        if len(texts) == 0:
            return array
        findings = self.detect(
            texts,
            entities=self.content.entities,
            score_min=self.content.score_min,
            language=self.content.language,
        )
        if findings.num_rows == 0:
            return array
        spans = merge_findings(texts, findings)
        is_valid = encoded.is_valid().to_numpy(zero_copy_only=False)
        uses = encoded.indices.drop_null().to_numpy()
        self.count(spans, np.bincount(uses, rows[is_valid], len(texts)))
        return replace_spans(texts, spans).take(encoded.indices).cast(array.type)

    def count(self, spans: Spans, rows: npt.NDArray[Any]) -> None:
        """Add up, by entity, the rows of the texts in which it is replaced."""
        entity, text = np.unique([spans.entity, spans.text], axis=1)
        totals = np.bincount(entity, rows[text], len(spans.entities))
        for name, total in zip(spans.entities, totals, strict=True):
            if total:
                self.counts[name] += int(total)


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of bytes to replace in an array of texts, disjoint and in order.

    Attributes:
        entities: Names of entities.
        entity: For each span its index in ``entities``.
        text: For each span the index of the text that it lies in.
        start, end: For each span where it lies in the data buffer of the texts.
    """

    entities: tuple[str, ...]
    entity: Integers
    text: Integers
    start: Integers
    end: Integers


def merge_findings(texts: pa.LargeStringArray, findings: pa.Table) -> Spans:
    """Join findings that overlap, and name them, as :func:`mask` says.

    Raises:
        BackendFailed: A finding does not lie within its text.
    """
    bounds, characters = byte_bounds(texts), character_starts(texts)
    first = np.searchsorted(characters, bounds)
    names, entity = np.unique(findings["entity"].to_pylist(), return_inverse=True)
    text, start, end = (findings[name].to_numpy() for name in ("value", "start", "end"))
    start, end = first[text] + start, first[text] + end
    # Security: a finding beyond its text would shift every later cut and release what it covers.
    if not np.all((first[text] <= start) & (start < end) & (end <= first[text + 1])):
        raise BackendFailed(
            "The PII detector reported a finding outside its text, so nothing was released.",
            code="detector-failed",
        )
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(end[order])
    is_first = np.append(True, start[order][1:] >= reach[:-1])
    is_last = np.append(is_first[1:], True)
    group = np.empty_like(order)
    group[order] = np.cumsum(is_first)
    ranked = np.lexsort((entity, start, start - end, -findings["score"].to_numpy(), group))
    winners = ranked[np.unique(group[ranked], return_index=True)[1]]
    return Spans(
        entities=tuple(map(str, names)),
        entity=entity[winners],
        text=text[order][is_first],
        start=characters[start[order][is_first]],
        end=characters[reach[is_last]],
    )


def replace_spans(texts: pa.LargeStringArray, spans: Spans) -> pa.LargeStringArray:
    """Put the entity's name in place of each span."""
    # The edges of texts and spans, in order, cut the data buffer into pieces. A text with n spans
    # has 2n + 1 of them, and every second one is a span.
    edges = np.sort(np.concatenate([byte_bounds(texts), spans.start, spans.end]))
    pieces = pa.LargeStringArray.from_buffers(
        len(edges) - 1, pa.py_buffer(edges), texts.buffers()[2]
    )
    is_span = np.zeros(len(pieces), dtype=bool)
    is_span[spans.text + 1 + 2 * np.arange(len(spans.text))] = True
    names = pa.array([f"<{name}>" for name in spans.entities], pa.large_string())
    pieces = pc.replace_with_mask(pieces, pa.array(is_span), names.take(pa.array(spans.entity)))
    lengths = 1 + 2 * np.bincount(spans.text, minlength=len(texts))
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    nothing = pa.scalar("", pa.large_string())
    return pc.binary_join(pa.LargeListArray.from_arrays(ends, pieces), nothing)


def byte_bounds(texts: pa.LargeStringArray) -> Integers:
    """Where each text starts in the data buffer, and where the last one ends."""
    offsets = np.frombuffer(texts.buffers()[1], dtype=np.int64)
    bounds: Integers = offsets[texts.offset : texts.offset + len(texts) + 1]
    return bounds


def character_starts(texts: pa.LargeStringArray) -> Integers:
    """Where each character of the texts starts in the data buffer, and where the last one ends."""
    first, last = byte_bounds(texts)[[0, -1]]
    data = np.frombuffer(texts.buffers()[2] or b"", dtype=np.uint8)[first:last]
    # In UTF-8 every byte but the first of a character has the bits 10 on top.
    is_start = np.append((data & 0xC0) != 0x80, True)  # noqa: PLR2004
    positions: Integers = np.flatnonzero(is_start)
    positions += first
    return positions
