"""Postal codes, ages and other numbers, made coarser."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbgov.core.masks.coarser import RESTRICTED
from tests.core.mask_scene import PLAIN, masked

INTEGERS = [kind for kind in PLAIN if pa.types.is_integer(kind)]


def test_the_restricted_postal_codes_are_those_of_the_rule() -> None:
    """There are 17 of them, and each reads as zeros, with any ending."""
    assert len(set(RESTRICTED)) == len(RESTRICTED) == 17
    codes = [f"{prefix}{ending}" for prefix in RESTRICTED for ending in ("01", "99-1234")]
    assert masked(codes, "zip:3") == ["000"] * len(codes)
    assert masked([int(prefix) * 100 + 5 for prefix in RESTRICTED], "zip:3") == [0] * 17


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("02139", "021"), ("94103-1234", "941"), ("94103 1234", "941"), ("941031234", "941"), (" 94103 ", "941"),
        ("2139", "***"), ("SW1A 1AA", "***"), ("", "***"), ("94103-12", "***"), ("9410\uff13", "***"),
    ],
)  # fmt: skip
def test_a_postal_code_keeps_its_first_digits(value: str, made: str) -> None:
    """Codes of five and nine digits keep three; what is none of the United States is hidden."""
    assert masked([value, None], "zip:3") == [made, None]
    assert masked([value], "zip:1") == [made[:1] if made != "***" else made]


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str)
def test_an_integer_is_a_postal_code_without_its_leading_zeros(kind: pa.DataType) -> None:
    """2139 is 02139, and what no code can be is null."""
    values = pa.array([2139, 94103, 21391234, 0, 999_999_999, 10**9, None], kind)
    assert masked(values, "zip") == [21, 941, 21, 0, 999, None, None]
    assert masked(values, "zip:2") == [2, 94, 2, 0, 99, None, None]
    if pa.types.is_signed_integer(kind):
        assert masked(pa.array([-1], kind), "zip") == [None]


@pytest.mark.parametrize("kind", INTEGERS, ids=str)
@given(data=st.data(), width=st.integers(1, 999_999_999))
def test_an_integer_becomes_the_start_of_its_bucket(
    kind: pa.DataType, data: st.DataObject, width: int
) -> None:
    """The lower bound is exact, or null where the type cannot hold it."""
    limits = np.iinfo(kind.to_pandas_dtype())
    values = data.draw(
        st.lists(st.integers(int(limits.min), int(limits.max)) | st.none(), max_size=10)
    )
    expected = [None if v is None else v // width * width for v in values]
    expected = [None if v is None or v < limits.min else v for v in expected]
    assert masked(pa.array(values, kind), f"bucket:{width}") == expected


@given(
    st.lists(st.integers(-100, 127) | st.none(), max_size=10),
    st.integers(1, 20),
    st.sampled_from(INTEGERS),
)
def test_ages_over_89_are_one(values: list[int | None], width: int, kind: pa.DataType) -> None:
    """45 CFR 164.514(b)(2)(i)(C), in every type that ages are kept in, text included."""
    if pa.types.is_unsigned_integer(kind):
        values = [None if v is None else abs(v) for v in values]
    expected = [v if v is None else 90 if v > 89 else v // width * width for v in values]
    text = f"age:{width}" if width > 1 else "age"
    assert masked(pa.array(values, kind), text) == expected
    assert masked(pa.array(values, pa.float64()), text) == expected
    assert masked(pa.array(values, pa.float16()), text) == expected
    assert masked(pa.array(values, pa.decimal128(5, 1)), text) == expected


@example([-5e-324, 5e-324], 2)
@given(
    st.lists(st.floats(allow_nan=False) | st.floats(-1e6, 1e6) | st.none(), max_size=10),
    st.integers(1, 10**6),
)
def test_a_float_becomes_the_start_of_its_bucket(values: list[float | None], width: int) -> None:
    """The result is a whole multiple; what has no floor stays as it is."""
    made = masked(pa.array(values, pa.float64()), f"bucket:{width}")
    for old, new in zip(values, made, strict=True):
        if old is None or math.isinf(old):
            assert new == old
        elif abs(old) < 2**50:
            assert new <= old < new + width
            assert new % width == 0
    assert math.isnan(masked([math.nan], "bucket:10")[0])


def test_a_float_that_the_type_cannot_hold_is_null() -> None:
    """A lower bound beyond the smallest number of its type is not minus infinity."""
    assert masked(pa.array([np.float16(-60000)], pa.float16()), "bucket:999999") == [None]
    assert masked(pa.array([-1e308 * 1.7], pa.float64()), "bucket:10") == [-1e308 * 1.7]
    assert masked(pa.array([89.9, 90.0]), "age") == [89.0, 90.0]


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        (pa.decimal128(5, 2), "37.55", "30.00"),
        (pa.decimal128(5, 2), "-0.01", "-10.00"),
        (pa.decimal128(3, 2), "-9.99", None),
        (pa.decimal128(2, 2), "0.99", "0.00"),
        (pa.decimal128(2, 2), "-0.99", None),
        (pa.decimal128(5, -1), "12340", "12340"),
        (pa.decimal128(5, -2), "12300", "12300"),
        (pa.decimal256(70, 2), "9" * 60 + ".55", "9" * 59 + "0.00"),
    ],
)
def test_a_decimal_becomes_the_start_of_its_bucket(
    kind: pa.DataType, value: str, made: str | None
) -> None:
    """The lower bound is exact at any precision, or null where the type cannot hold it."""
    expected = None if made is None else Decimal(made)
    assert masked(pa.array([Decimal(value), None], kind), "bucket:10") == [expected, None]


def test_a_decimal_of_hundreds_has_no_tens() -> None:
    """A lower bound that lies between the values of a type is null."""
    assert masked(pa.array([Decimal(12300)], pa.decimal128(5, -2)), "bucket:7") == [None]


@pytest.mark.parametrize(
    ("value", "bucket", "age"),
    [
        ("37", "30-39", "35-39"), ("37.9", "30-39", "35-39"), (" 37 ", "30-39", "35-39"), ("+7", "0-9", "5-9"),
        ("-5", "-10 to -1", "-5 to -1"), ("89", "80-89", "85-89"), ("90", "90-99", "90+"), ("104", "100-109", "90+"),
        ("", "***", "***"), ("n/a", "***", "***"), ("37 years", "***", "***"), ("٣٧", "***", "***"), ("1e3", "***", "***"),
    ],
)  # fmt: skip
def test_a_text_that_is_a_number_names_its_bucket(value: str, bucket: str, age: str) -> None:
    """Both bounds are written out, and what is no number is hidden."""
    assert masked([value, None], "bucket:10") == [bucket, None]
    assert masked([value], "age:5") == [age]


def test_a_bucket_of_one_names_no_bounds() -> None:
    """Ages below 90 may stay as they are, and a bucket never reaches over 89."""
    assert masked(["37", "89", "90"], "age") == ["37", "89", "90+"]
    assert masked(["85"], "age:20") == ["80-89"]
    assert masked(["37"], "bucket:1") == ["37"]
