"""Bind values and markers: what is sent, and how it is spelled."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.binds import bind_values, number_markers, text_form, write_markers
from nbgov.errors import RequestInvalid
from nbgov.model import BindMarker, Span

SENT = [
    None, True, -(2**63), 2**63 - 1, 0.1, "", "☂", b"\x00", Decimal("1E+3"), Decimal("-0.001"),
    Decimal("9" * 38), date(2013, 1, 1), datetime(2013, 1, 1), time(1),
]  # fmt: skip
REFUSED = {
    "The integer is larger than 64 bits.": [2**63, -(2**63) - 1],
    "The text holds half a surrogate pair.": ["\ud800"],
    "The decimal is not a number of at most 38 digits.": [
        Decimal("NaN"),
        Decimal("9" * 39),
        Decimal("1E+38"),
        Decimal("1E-39"),
    ],
    "Its type is list.": [[1]],
}


def marks(sql):
    return [BindMarker(found[1], Span(*found.span())) for found in re.finditer(r":([a-z]+)", sql)]


@given(st.lists(st.tuples(st.text("ab$'? "), st.sampled_from(["x", "y", "z"]))), st.text("ab "))
def test_only_markers_are_written_anew(pieces, end):
    """Writing every marker as itself gives the same text, and the rest is never touched."""
    sql = "".join(f"{text}:{name};" for text, name in pieces) + end
    assert write_markers(sql, marks(sql), lambda name: f":{name}") == sql
    gone = write_markers(sql, marks(sql), lambda _: "")
    assert gone == "".join(f"{text};" for text, _ in pieces) + end


@given(st.permutations(marks("SELECT :a, :b, :a")))
def test_the_order_in_which_markers_are_named_does_not_matter(markers):
    """Markers are numbered in text order, and one name has one number."""
    assert number_markers("SELECT :a, :b, :a", markers) == ("SELECT $1, $2, $1", ["a", "b"])


def test_a_null_may_be_written_out():
    """A name whose value is NULL can be spelled as that, and takes no number."""
    sql = "SELECT :a, :b"
    assert number_markers(sql, marks(sql), nulls={"a"}) == ("SELECT NULL, $1", ["b"])


@pytest.mark.parametrize("value", SENT)
def test_a_plain_value_is_sent_as_it_is(value):
    """A value of a type that databases share is handed on unchanged."""
    [sent] = bind_values({"v": value}, ["v"])
    assert sent is value


@pytest.mark.parametrize(
    ("why", "value"), [(why, value) for why, values in REFUSED.items() for value in values]
)
def test_any_other_value_is_refused(why, value):
    """A value that some database could not take is refused, with its type and never itself."""
    with pytest.raises(RequestInvalid) as caught:
        bind_values({"v": value}, ["v"])
    assert (caught.value.code, caught.value.why) == ("bind-type", why)


def test_a_missing_value_is_refused():
    """A marker without a value is refused by its name."""
    with pytest.raises(RequestInvalid, match=":v has no value"):
        bind_values({"w": 1}, ["v"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2013, 1, 2, 3, 4, 5, 6), "2013-01-02 03:04:05.000006"),
        (date(2013, 1, 2), "2013-01-02"),
        (time(3, 4), "03:04:00"),
        (Decimal("1E+3"), "1000"),
        (7, 7),
        (None, None),
    ],
)
def test_moments_and_decimals_have_a_text_form(value, text):
    """What SQLite has no class for becomes ISO 8601 text or plain digits; the rest stays."""
    assert text_form(value) == text
