"""Putting something else in the place of what a detector found, in a whole column of text at once.

Findings that overlap become one span, and spans are replaced in the data buffer of the column, not
text by text. Nothing is known here of detectors or policies. The cases are in
``tests/core/test_masking.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks import UNKEYED, Keys, Operator, replacements
from nbgov.errors import BackendFailed

Integers: TypeAlias = npt.NDArray[np.int64]
REDACT = Operator("redact")


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of bytes to replace in an array of texts, disjoint and in order.

    Attributes:
        entities: Names of entities.
        entity: For each span its index in ``entities``.
        text: For each span the index of the text that it lies in.
        start, end: For each span where it lies in the data buffer of the texts.
        is_redacted: For each span whether it is redacted, whatever the entity's operator is.
    """

    entities: tuple[str, ...]
    entity: Integers
    text: Integers
    start: Integers
    end: Integers
    is_redacted: npt.NDArray[np.bool_]


def merge_findings(
    texts: pa.LargeStringArray, findings: pa.Table, operators: Mapping[str, Operator]
) -> Spans:
    """Join findings that overlap into spans.

    A span covers every character of its findings. It is named after the one with the highest score;
    then the longest, the earliest, and the first in alphabetical order. It is redacted where that
    one does not cover the whole span, and where its operator leaves a part readable that another
    finding's operator would not.

    Args:
        texts: What was looked through.
        findings: Columns ``value``, ``entity``, ``start``, ``end``, ``score``, as a detector gives.
        operators: Operator by entity; an entity without one is redacted.

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
    group[order] = np.cumsum(is_first) - 1
    ranked = np.lexsort((entity, start, start - end, -findings["score"].to_numpy(), group))
    winners = ranked[np.unique(group[ranked], return_index=True)[1]]
    span_start, span_end = start[order][is_first], reach[is_last]
    chosen = [operators.get(str(name), REDACT) for name in names]
    # Security: where two entities lie over one another, the operator that shows more must not win.
    differs = np.array([[one != other for other in chosen] for one in chosen])
    is_disputed = np.bincount(group, differs[entity, entity[winners][group]]) > 0
    keeps_part = np.array([one.keeps_part for one in chosen])[entity[winners]]
    is_covered = (start[winners] == span_start) & (end[winners] == span_end)
    return Spans(
        entities=tuple(map(str, names)),
        entity=entity[winners],
        text=text[order][is_first],
        start=characters[span_start],
        end=characters[span_end],
        is_redacted=~is_covered | (keeps_part & is_disputed),
    )


def replace_spans(
    texts: pa.LargeStringArray,
    spans: Spans,
    operators: Mapping[str, Operator],
    keys: Callable[[], Keys],
) -> pa.LargeStringArray:
    """Put what the operators make of each span in its place."""
    # The edges of texts and spans, in order, cut the data buffer into pieces. A text with n spans
    # has 2n + 1 of them, and every second one is a span.
    edges = np.sort(np.concatenate([byte_bounds(texts), spans.start, spans.end]))
    pieces = pa.LargeStringArray.from_buffers(
        len(edges) - 1, pa.py_buffer(edges), texts.buffers()[2]
    )
    is_span = np.zeros(len(pieces), dtype=bool)
    is_span[spans.text + 1 + 2 * np.arange(len(spans.text))] = True
    covered = cover_spans(pieces.filter(pa.array(is_span)), spans, operators, keys)
    pieces = pc.replace_with_mask(pieces, pa.array(is_span), covered)
    lengths = 1 + 2 * np.bincount(spans.text, minlength=len(texts))
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    nothing = pa.scalar("", pa.large_string())
    return pc.binary_join(pa.LargeListArray.from_arrays(ends, pieces), nothing)


def cover_spans(
    found: pa.LargeStringArray,
    spans: Spans,
    operators: Mapping[str, Operator],
    keys: Callable[[], Keys],
) -> pa.LargeStringArray:
    """What stands in the place of each span: the entity's name, or what its operator makes."""
    names = pa.array([f"<{name}>" for name in spans.entities], pa.large_string())
    covered = names.take(pa.array(spans.entity))
    for index, entity in enumerate(spans.entities):
        operator = operators.get(entity, REDACT)
        chosen = (spans.entity == index) & ~spans.is_redacted
        if operator != REDACT and chosen.any():
            mask = pa.array(chosen)
            own = keys() if operator.needs_key else UNKEYED
            made = replacements(found.filter(mask), entity, operator, own)
            covered = pc.replace_with_mask(covered, mask, made.cast(pa.large_string()))
    return covered


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
