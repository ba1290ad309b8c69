"""The second layer of masking: what a detector finds in the text of a result is replaced.

The first layer, column masks, is applied where a table is scanned (:mod:`nbgov.core.rewrite`), and
it is the guarantee. This layer reads the result columns whose values no tag classifies, and helps:
it finds no more than its detector does, and values of binary, numeric and temporal columns pass
unread. It knows no detector: ``detect`` is handed in. How findings become spans, and what stands in
their place, is the business of :mod:`nbgov.core.splicing`. The cases are in
``tests/core/test_masking.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks import Keys, parse_operator
from nbgov.core.masks.nested import elements, with_elements
from nbgov.core.splicing import Integers, Spans, merge_findings, replace_spans
from nbgov.errors import BackendFailed, ConfigInvalid
from nbgov.model import ColumnMask, ColumnName, ContentMask, Decision, MaskKind, OutputColumn


class Detect(Protocol):
    """What :meth:`nbgov.ports.Detector.detect` is: findings in distinct, non-null strings."""

    def __call__(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """Columns ``value``, ``entity``, ``start``, ``end``, ``score``; one row per finding."""
        ...


@dataclass(frozen=True, slots=True)
class MaskingPlan:
    """What happens to the columns of one result.

    Attributes:
        content: Which entities to replace in text, or ``None`` when nothing asks for it.
        scanned: Positions of the result columns whose text is scanned, ascending, each with the
            words that stand beside its values: the names of the column and of its sources.
        masked: Result column to the column masks that were applied at the scan, strictest first,
            such as ``email: redact pii.email``. For people; nothing is done because of it.
    """

    content: ContentMask | None
    scanned: Mapping[int, tuple[str, ...]]
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
    scanned: dict[int, tuple[str, ...]] = {}
    applied: dict[str, set[ColumnMask]] = {}
    for position, (field, sources) in enumerate(zip(schema, origins, strict=True)):
        is_open = bool(sources & decision.unclassified) or not is_known
        if is_open and holds_text(field.type):
            scanned[position] = tuple(sorted({field.name, *(one.name for one in sources)}))
        if masks := {m for m in decision.masks if m.column in sources}:
            applied.setdefault(field.name, set()).update(masks)
    return MaskingPlan(
        content=contents[0] if contents else None,
        scanned=scanned if contents else {},
        masked={name: label(masks) for name, masks in applied.items()},
    )


def no_keys() -> Keys:
    """Stands where nothing is masked with a key.

    Raises:
        ConfigInvalid: Always.
    """
    raise ConfigInvalid(
        "An operator needs a key, and none was given.",
        code="key-missing",
        why="tokens and surrogates are made with a key, so that nobody else can make them",
        next_step="name one as env:NAME or file:PATH",
    )


def mask(
    batch: pa.RecordBatch, plan: MaskingPlan, detect: Detect, keys: Callable[[], Keys] = no_keys
) -> tuple[pa.RecordBatch, Mapping[str, Mapping[str, int]]]:
    """Replace each entity found in the scanned columns, by its name such as ``<EMAIL_ADDRESS>``.

    An entity with an operator of its own is replaced by what that makes of it. Findings that
    overlap become one replacement of all the characters they cover, so that no part of any finding
    is left; see :func:`nbgov.core.splicing.merge_findings`. Types and nulls are kept: strings,
    large strings and string views, alone or inside dictionaries, lists of every kind, maps,
    structs, run-end encodings and extension types. Dictionary values that no row uses are masked
    too: they travel with the batch.

    Args:
        batch: Rows as the engine delivers them.
        plan: What to do with them.
        detect: Finds entities in distinct strings, one column at a time.
        keys: Hands the keys over that tokens and surrogates need; asked for only then.

    Returns:
        The masked batch; and for each column, by name, and each entity the number of texts in which
        it was replaced, where a text that stands in ten rows counts ten times.

    Raises:
        BackendFailed: The detector failed, or text is stored in a way that cannot be rewritten.
            Nothing of the batch is returned then.
    """
    if plan.content is None or not plan.scanned:
        return batch, {}
    columns, names = batch.columns, batch.schema.names
    found: dict[str, Counter[str]] = {}
    for position, context in plan.scanned.items():
        masking = ContentMasking(plan.content, detect, keys=keys, context=context)
        columns[position] = masking.rewrite(columns[position])
        if masking.counts:
            found.setdefault(names[position], Counter()).update(masking.counts)
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema), found


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
    """Masks the text in one column, and counts by entity what it replaced.

    Args:
        content: What to look for, and what to put in its place.
        detect: Finds entities in distinct strings.
        keys: Hands over the keys that tokens and surrogates need.
        context: Words that stand beside every value, such as the column's name.
    """

    def __init__(
        self,
        content: ContentMask,
        detect: Detect,
        *,
        keys: Callable[[], Keys] = no_keys,
        context: Sequence[str] = (),
    ) -> None:
        self.content = content
        self.operators = {entity: parse_operator(text) for entity, text in content.operators}
        self.detect = detect
        self.keys = keys
        self.context = context
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
        if pa.types.is_nested(kind) and not pa.types.is_union(kind):
            inner, lengths = elements(array)
            return with_elements(self.rewrite(inner), lengths, kind, is_null=array.is_null())
        # Security: a container that is not understood must not carry text past the detector.
        raise BackendFailed(
            f"A result column of type {kind} cannot be scanned for PII, so nothing was released.",
            code="detector-failed",
            why="nbgov does not rewrite text that is stored in this way.",
            next_step="Cast the column to VARCHAR, leave it out, or classify it in policy.yaml.",
        )

    def rewrite_dictionary(self, array: pa.DictionaryArray) -> pa.DictionaryArray:
        """Mask the values of a dictionary, used or not; those that become equal become one."""
        masked = self.rewrite_values(array.dictionary, array.indices)
        if masked is array.dictionary:
            return array
        distinct = masked.dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            distinct.indices.take(array.indices).cast(array.type.index_type),
            distinct.dictionary,
            ordered=array.type.ordered,
        )

    def rewrite_values(self, values: pa.Array, indices: pa.Array) -> pa.Array:
        """Mask the values of a dictionary that these indices use."""
        return self.rewrite_text(values, uses_of(indices, len(values)))

    def rewrite_text(self, array: pa.Array, rows: Integers) -> pa.Array:
        """Mask strings of which each stands for so many rows; the same array if none changes."""
        encoded = array.cast(pa.large_string()).dictionary_encode()
        texts = encoded.dictionary
        if len(texts) == 0:
            return array
        findings = self.ask(texts)
        if findings.num_rows == 0:
            return array
        spans = merge_findings(texts, findings, self.operators)
        is_valid = encoded.is_valid().to_numpy(zero_copy_only=False)
        uses = encoded.indices.drop_null().to_numpy()
        self.count(spans, np.bincount(uses, rows[is_valid], len(texts)))
        replaced = replace_spans(texts, spans, self.operators, self.keys)
        return replaced.take(encoded.indices).cast(array.type)

    def ask(self, texts: pa.LargeStringArray) -> pa.Table:
        """The findings in distinct texts, as the detector tells them."""
        return self.detect(
            texts,
            entities=self.content.entities,
            score_min=self.content.score_min,
            language=self.content.language,
            context=self.context,
        )

    def count(self, spans: Spans, rows: npt.NDArray[Any]) -> None:
        """Add up, by entity, the rows of the texts in which it is replaced."""
        entity, text = np.unique([spans.entity, spans.text], axis=1)
        totals = np.bincount(entity, rows[text], len(spans.entities))
        for name, total in zip(spans.entities, totals, strict=True):
            if total:
                self.counts[name] += int(total)


def uses_of(indices: pa.Array, values: int) -> Integers:
    """How many rows use each of so many values of a dictionary."""
    uses: Integers = np.bincount(indices.drop_null().cast(pa.int64()).to_numpy(), minlength=values)
    return uses
