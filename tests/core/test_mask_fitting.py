"""Which operator fits which type, and arrays out of their encodings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nbgov.core.masks.fitting import (
    FITTING,
    TOTAL,
    Family,
    decoded,
    family,
    packed,
    refuse_unfit,
    widened,
)
from nbgov.core.masks.kernels import BY_ROW, BY_VALUE
from nbgov.core.masks.operators import FORMS, Operator
from nbgov.errors import ConfigInvalid
from tests.core.mask_scene import PLAIN

ARGUMENTS = {"date-shift": "30", "bucket": "10"}


def test_every_operator_is_either_for_all_types_or_for_some() -> None:
    """No operator is without a list of what it fits."""
    assert set(FORMS) == TOTAL | set(FITTING)
    assert not TOTAL & set(FITTING)


def test_there_is_a_kernel_for_all_that_fits_and_for_nothing_else() -> None:
    """The table of kernels and the table of what fits say the same."""
    kernels = {*BY_ROW, *BY_VALUE}
    kernels |= {("date-shift", own) for own in (Family.TEXT, Family.DAY, Family.MOMENT)}
    assert kernels == {(name, own) for name, families in FITTING.items() for own in families}
    assert not set(BY_ROW) & set(BY_VALUE)


@pytest.mark.parametrize(
    "kind",
    [*PLAIN, pa.binary(3), pa.list_(pa.int8()), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_a_type_has_the_family_of_its_values(kind: pa.DataType) -> None:
    """Widths and units of a family do not count; what is taken apart first has none."""
    own = family(kind)
    name = str(kind)
    assert (own is Family.TEXT) == ("string" in name and "dictionary" not in name)
    assert (own is Family.LONG) == (name in {"int64", "uint64"})
    assert (own is Family.MOMENT) == name.startswith("timestamp")


@pytest.mark.parametrize("name", sorted(FITTING))
def test_what_holds_a_type_fits_as_the_type_does(name: str) -> None:
    """In lists, structs, maps, dictionaries, runs and extensions the innermost type decides."""
    operator = Operator(name, ARGUMENTS.get(name, ""))
    wrappers = [
        pa.list_, pa.list_view, lambda kind: pa.list_(kind, 2), lambda kind: pa.struct([("a", kind)]),
        lambda kind: pa.map_(pa.string(), kind), lambda kind: pa.dictionary(pa.int32(), kind),
        lambda kind: pa.run_end_encoded(pa.int32(), kind), lambda kind: pa.opaque(kind, "a", "b"),
    ]  # fmt: skip
    for wrapper in wrappers:
        for kind in (pa.bool_(), pa.duration("s"), pa.binary(3)):
            with pytest.raises(ConfigInvalid):
                refuse_unfit(wrapper(kind), operator, "column")
        refuse_unfit(wrapper(pa.null()), Operator("token"), "column")
    for wrapper in wrappers:
        if Family.TEXT in FITTING[name]:
            refuse_unfit(wrapper(pa.string()), operator, "column")


def test_a_refusal_says_what_would_fit() -> None:
    """Why and next name types and operators."""
    with pytest.raises(ConfigInvalid) as caught:
        refuse_unfit(pa.date32(), Operator("token"), "people.born")
    assert caught.value.code == "mask-unfit"
    assert (
        caught.value.why
        == "it fits text, binary data, of a fixed size from 16 bytes on, integers of 64 bits"
    )
    assert caught.value.next_step == "use date-shift, year, month, quarter, null, redact"


def test_an_array_is_brought_out_of_every_encoding() -> None:
    """Dictionaries, runs and extensions in one another leave plain values of the widest type."""
    plain = pa.array(["a", "b"]).cast(pa.string_view())
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], plain)
    nested = pa.ExtensionArray.from_storage(pa.opaque(runs.type, "a", "b"), runs)
    assert decoded(nested).equals(pa.array(["a", "a", "b"], pa.large_string()))
    assert decoded(runs.slice(1)).to_pylist() == ["a", "b"]
    assert decoded(pa.array(["a", None, "a"]).dictionary_encode()).to_pylist() == ["a", None, "a"]


def test_a_widened_array_is_of_the_type_that_kernels_work_in() -> None:
    """Text, bytes and small decimals have one type each."""
    assert widened(pa.array(["a"])).type == pa.large_string()
    assert widened(pa.array([b"a"], pa.binary_view())).type == pa.large_binary()
    assert widened(pa.array([bytes(16)], pa.binary(16))).type == pa.binary(16)
    assert widened(pa.nulls(1, pa.decimal32(5, 2))).type == pa.decimal128(5, 2)
    assert widened(pa.nulls(1, pa.decimal64(5, 2))).type == pa.decimal128(5, 2)


def test_nothing_stands_below_a_null() -> None:
    """What a mask leaves out is not in the buffer of the array either, which travels with it."""
    made = packed(np.array([4711, 7]), pa.int64(), np.array([True, False]))
    assert made.to_pylist() == [None, 7]
    assert np.frombuffer(made.buffers()[1], np.int64).tolist() == [0, 7]
    days = packed(np.array([4711, 7], np.int32), pa.date32(), np.array([True, False]))
    assert days.type == pa.date32()
    assert np.frombuffer(days.buffers()[1], np.int32).tolist() == [0, 7]
