"""A mask over a whole column: every Arrow type, in kernels, with Python for distinct values only.

The column is taken apart down to plain arrays, which are masked and put together again. All chunks
go together, so that a value that stands in many of them is worked on once and chunks never show in
what comes out. The kernels are in the modules beside this one. The cases are in
``tests/core/test_mask_columns.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks.dates import Shifts, constant_shift, shifted, subject_shifts
from nbgov.core.masks.fitting import (
    family,
    holds_own_text,
    is_extension,
    refuse_unfit,
    run_of_rows,
    unfit,
    widened,
)
from nbgov.core.masks.kernels import BY_ROW, BY_VALUE, Kernel
from nbgov.core.masks.keys import Keys, Task
from nbgov.core.masks.nested import elements, nothing, with_elements
from nbgov.core.masks.operators import Operator
from nbgov.core.pseudonym import REDACTED
from nbgov.errors import ConfigInvalid

Arrays: TypeAlias = list[pa.Array]

INDEX_BITS_MIN = 32


def cover(
    values: pa.Array | pa.ChunkedArray,
    operator: Operator,
    *,
    keys: Keys,
    domain: str,
    subjects: pa.Array | pa.ChunkedArray | None = None,
) -> pa.Array | pa.ChunkedArray:
    """The values, masked: of the same type, as many, and null where they were null.

    Equal values become equal ones, in whatever chunks, slices or encodings they come. What an
    operator cannot cover although it fits the type, such as a text that is no date, reads ``***``
    where it is text and null where it is not: fewer values never raise, more never pass.

    Args:
        values: What to mask.
        operator: What to do with each value. Inside of lists, structs and maps it works on the
            innermost values; ``redact`` makes null of all that is not text.
        keys: For operators that need one.
        domain: Whose values these are, such as a column or a tag. ``ff1``, and ``date-shift``
            without subjects, depend on it. Error messages name it.
        subjects: For ``date-shift``: whose date it is, as many as there are values. All dates of
            one subject move by the same number of days. Without it, all of a domain do.

    Raises:
        ConfigInvalid: The operator does not fit the type, or a type inside of it (``mask-unfit``,
            ``mask-domain-small``).

    Example:
        >>> kept = cover(
        ...     pa.array(["4111 1111 1111 1111", None]),
        ...     Operator("partial", "4"),
        ...     keys=Keys(b"a key"),
        ...     domain="card",
        ... )
        >>> kept.to_pylist()
        ['***1111', None]
    """
    refuse_unfit(values.type, operator, domain)
    if operator.name == "keep":
        return values
    task = Task(operator, keys, domain)
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    with told_without_values(task):
        shifts = None
        if operator.name == "date-shift" and subjects is not None:
            ends = np.cumsum([len(chunk) for chunk in chunks])[:-1]
            shifts = np.split(subject_shifts(subjects, len(values), task), ends)
        covered = Covering(task).arrays(chunks, values.type, shifts)
    if isinstance(values, pa.ChunkedArray):
        return pa.chunked_array(covered, values.type)
    return covered[0]


@contextlib.contextmanager
def told_without_values(task: Task) -> Iterator[None]:
    """Within it an error of Arrow says nothing of the value that it is about.

    Raises:
        ConfigInvalid: Arrow failed: a text is no UTF-8, or the masked text is too long for one
            array of its type (``mask-unfit``).
    """
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        # Security: messages of such errors hold values.
        raise ConfigInvalid(
            f"The mask {task.operator.text} of {task.domain!r} could not be carried out.",
            code="mask-unfit",
            why=f"the values are not what their type says, or too many ({type(error).__name__})",
            next_step="use redact or null, or cast text to large_string",
        ) from None


class Covering:
    """Masks arrays of one type together.

    Args:
        task: The mask.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.name = task.operator.name

    def arrays(self, arrays: Arrays, kind: pa.DataType, shifts: list[Shifts] | None) -> Arrays:
        """The arrays, masked.

        Args:
            arrays: Arrays of one type.
            kind: Their type.
            shifts: For each array the days by which each of its values moves, if they differ.
        """
        if pa.types.is_null(kind) or not arrays:
            return arrays
        if self.name == "null" or (self.name == "redact" and not holds_own_text(kind)):
            return [nothing(kind, len(array)) for array in arrays]
        parts = (
            (pa.types.is_dictionary, self.dictionaries),
            (pa.types.is_run_end_encoded, self.runs),
            (is_extension, self.storages),
            (pa.types.is_struct, self.structs),
            (pa.types.is_nested, self.lists),
        )
        mask = next((part for holds, part in parts if holds(kind)), self.plain)
        return mask(arrays, kind, shifts)

    def storages(
        self, arrays: Arrays, kind: pa.BaseExtensionType, shifts: list[Shifts] | None
    ) -> Arrays:
        """Mask what extension types are stored as."""
        inner = self.arrays([array.storage for array in arrays], kind.storage_type, shifts)
        return [pa.ExtensionArray.from_storage(kind, one) for one in inner]

    def dictionaries(
        self, arrays: Arrays, kind: pa.DictionaryType, shifts: list[Shifts] | None
    ) -> Arrays:
        """Mask the values of dictionaries, used or not; those that become equal become one.

        Raises:
            ConfigInvalid: Dates of subjects could become too many for the indices.
        """
        if shifts is None:
            values = self.arrays([array.dictionary for array in arrays], kind.value_type, None)
            return [merged(a.indices, one, kind) for a, one in zip(arrays, values, strict=True)]
        if kind.index_type.bit_width < INDEX_BITS_MIN:
            raise unfit(kind, self.task.operator, self.task.domain)
        plain = [widened(a.dictionary).take(a.indices) for a in arrays]
        moved = self.arrays(plain, plain[0].type, shifts)
        rows = [pa.array(np.arange(len(array)), kind.index_type) for array in arrays]
        return [merged(a, one, kind) for a, one in zip(rows, moved, strict=True)]

    def runs(
        self, arrays: Arrays, kind: pa.RunEndEncodedType, shifts: list[Shifts] | None
    ) -> Arrays:
        """Mask the values of runs."""
        made = pa.RunEndEncodedArray.from_arrays
        if shifts is None:
            values = self.arrays([array.values for array in arrays], kind.value_type, None)
            # The runs of a slice are those of the array that it was cut from.
            return [
                made(a.run_ends, one, type=kind).slice(a.offset, len(a))
                for a, one in zip(arrays, values, strict=True)
            ]
        plain = [widened(array.values).take(run_of_rows(array)) for array in arrays]
        moved = self.arrays(plain, plain[0].type, shifts)
        return [
            made(
                pa.array(np.arange(1, len(one) + 1), kind.run_end_type),
                one.cast(kind.value_type),
                type=kind,
            )
            for one in moved
        ]

    def structs(self, arrays: Arrays, kind: pa.StructType, shifts: list[Shifts] | None) -> Arrays:
        """Mask each field of structs."""
        if kind.num_fields == 0:
            return arrays
        parts = [array.flatten() for array in arrays]
        fields = [
            self.arrays([part[i] for part in parts], kind.field(i).type, shifts)
            for i in range(kind.num_fields)
        ]
        return [
            pa.StructArray.from_arrays(list(own), fields=list(kind), mask=array.is_null())
            for array, *own in zip(arrays, *fields, strict=True)
        ]

    def lists(self, arrays: Arrays, kind: pa.DataType, shifts: list[Shifts] | None) -> Arrays:
        """Mask the elements of lists, or the keys and items of maps."""
        parts = [elements(array) for array in arrays]
        if shifts is not None:
            pairs = zip(shifts, parts, strict=True)
            shifts = [np.repeat(own, lengths) for own, (_, lengths) in pairs]
        inner = self.arrays([one for one, _ in parts], parts[0][0].type, shifts)
        return [
            with_elements(one, lengths, kind, is_null=array.is_null())
            for array, one, (_, lengths) in zip(arrays, inner, parts, strict=True)
        ]

    def plain(self, arrays: Arrays, kind: pa.DataType, shifts: list[Shifts] | None) -> Arrays:
        """Mask arrays that hold no others."""
        wide = [widened(array) for array in arrays]
        own = family(kind)
        if self.name == "redact":
            text = pa.scalar(self.task.operator.argument or REDACTED, pa.large_string())
            covered = [pa.repeat(text, len(array)) for array in arrays]
        elif self.name == "date-shift":
            shifts = shifts or [constant_shift(self.task, len(array)) for array in arrays]
            covered = [shifted(a, days) for a, days in zip(wide, shifts, strict=True)]
        elif kernel := BY_ROW.get((self.name, own)):
            covered = [kernel(array, self.task) for array in wide]
        else:
            covered = by_value(wide, BY_VALUE[self.name, own], self.task)
        return [finished(one, array) for one, array in zip(covered, arrays, strict=True)]


def by_value(arrays: Arrays, kernel: Kernel, task: Task) -> Arrays:
    """What a kernel makes of arrays, asked once for each distinct value of all of them."""
    encoded = pa.chunked_array(arrays).dictionary_encode().chunks
    if not encoded:
        return arrays
    masked = kernel(encoded[0].dictionary, task)
    indices = pa.chunked_array([chunk.indices for chunk in encoded]).combine_chunks()
    starts = np.cumsum([0, *(len(array) for array in arrays)]).tolist()
    # Arrow leaves empty chunks out, so rows are counted instead.
    return [
        masked.take(indices.slice(start, len(array)))
        for start, array in zip(starts, arrays, strict=False)
    ]


def finished(masked: pa.Array, array: pa.Array) -> pa.Array:
    """What a kernel made of an array, with its nulls and of its type."""
    if pa.types.is_large_string(masked.type) and masked.null_count != array.null_count:
        # Security: what the kernel could not cover is redacted.
        masked = pc.fill_null(masked, REDACTED)
        masked = pc.if_else(array.is_valid(), masked, pa.scalar(None, masked.type))
    return masked.cast(array.type)


def merged(indices: pa.Array, values: pa.Array, kind: pa.DictionaryType) -> pa.DictionaryArray:
    """A dictionary array in which equal values are one."""
    values = widened(values)
    try:
        distinct = values.dictionary_encode()
    except pa.ArrowNotImplementedError:
        # Arrow cannot compare such values. They stay apart, which is as good for whoever reads.
        return pa.DictionaryArray.from_arrays(
            indices, values.cast(kind.value_type), ordered=kind.ordered
        )
    return pa.DictionaryArray.from_arrays(
        distinct.indices.take(indices).cast(kind.index_type),
        distinct.dictionary.cast(kind.value_type),
        ordered=kind.ordered,
    )
