"""Operators: what a person may write, and what is said of the rest."""

from __future__ import annotations

import pytest

from nbgov.core.masks import Operator, parse_operator
from nbgov.core.masks.operators import FORMS
from nbgov.errors import ConfigInvalid

WRITTEN = [
    "redact", "redact:[gone]", "redact:<NAME>", "redact:a:b", "redact:" + "x" * 100, "null", "partial",
    "partial:1", "partial:99", "partial:4:shape", "token", "ff1", "ff1:alnum", "ff1:digits",
    "date-shift:1", "date-shift:99999", "year", "month", "quarter", "zip", "zip:3", "zip:1",
    "bucket:10", "bucket:999999999", "age", "age:5", "surrogate", "surrogate:email", "keep",
]  # fmt: skip
WRONG = [
    "", " ", "hash", "Redact", "redact:", "redact:" + "x" * 101, "redact:a\nb", "redact:\x1b[2J",
    "redact:\ud800", "null:1", "partial:0", "partial:100", "partial:4:form", "partial:-4", "token:x",
    "ff1:greek", "ff1:10", "date-shift", "date-shift:0", "date-shift:-3", "date-shift:100000",
    "year:2024", "zip:4", "zip:0", "bucket", "bucket:0", "bucket:٣", "age:0", "age:100",
    "surrogate:dog", "keep:all",
]  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_an_operator_reads_as_it_is_written(text: str) -> None:
    """Parsing and writing are the inverse of one another."""
    operator = parse_operator(text)
    assert operator.text == text
    assert parse_operator(f"  {text}  ") == operator


@pytest.mark.parametrize("text", WRONG, ids=repr)
def test_what_is_no_operator_is_refused(text: str) -> None:
    """An unknown name, and an argument that an operator does not take, are errors with a next step."""
    with pytest.raises(ConfigInvalid) as caught:
        parse_operator(text)
    assert caught.value.code == "operator-invalid"
    assert caught.value.why
    assert caught.value.next_step


def test_a_slip_of_the_pen_is_recognised() -> None:
    """A name that is nearly one of the operators is told which."""
    with pytest.raises(ConfigInvalid, match="did you mean surrogate"):
        parse_operator("surogate")


def test_an_operator_is_checked_however_it_is_made() -> None:
    """There is no object of an operator that does not exist."""
    with pytest.raises(ConfigInvalid):
        Operator("partial", "all")


@pytest.mark.parametrize(
    ("text", "number"),
    [("partial", 4), ("partial:7:shape", 7), ("zip", 3), ("age", 1), ("date-shift:30", 30)],
)
def test_the_number_of_an_operator_has_a_default(text: str, number: int) -> None:
    """The number is that of the argument, or what is usual."""
    assert parse_operator(text).number == number


def test_an_operator_says_what_it_leaves_and_needs() -> None:
    """Which operators leave a part readable, make no sense in a text, and need a key."""
    operators = [parse_operator(t) for t in WRITTEN]
    assert {one.name for one in operators} == set(FORMS)
    assert {one.name for one in operators if not one.fits_text} == {"null", "date-shift", "bucket"}
    assert {one.name for one in operators if one.needs_key} == {
        "token",
        "ff1",
        "date-shift",
        "surrogate",
    }
    assert {one.name for one in operators if not one.keeps_part} == {
        "redact", "null", "token", "ff1", "date-shift", "surrogate",
    }  # fmt: skip
