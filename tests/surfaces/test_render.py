"""What a person is shown: complete, true, and harmless whoever wrote it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.visible import cut, visible
from nbgov.shown import cells, render
from tests.surfaces.page import HOSTILE, Page


def preview(table, masked=None, **more):
    """Both forms of a preview, with the defaults of a whole, unmasked result."""
    extent = {"rows_read": table.num_rows, "is_truncated": False, **more}
    html = render.preview_html(table, masked or {}, **extent)
    text = render.preview_text(table, masked or {}, **extent)
    page = Page(html)
    assert page.open == []
    return page, text


# ---------------------------------------------------------------- safety


@given(name=HOSTILE, value=HOSTILE, mask=HOSTILE)
def test_a_preview_is_inert_whatever_it_shows(name, value, mask):
    """No value, column name or mask can add a tag, an attribute or a link to a preview."""
    table = pa.table({name: [value, value]})
    page, text = preview(table, {name: mask} if mask.strip() else {})
    assert visible(cut(value)) in page.text
    assert all(line.isprintable() for line in text.split("\n"))


@given(title=HOSTILE, label=HOSTILE, fact=HOSTILE)
def test_facts_are_inert_whatever_they_show(title, label, fact):
    """No label or fact can add a tag, an attribute or a link."""
    page = Page(render.facts_html(title, [(label, fact)]))
    assert page.open == []
    assert visible(fact) in page.text


# ---------------------------------------------------------------- previews


def test_a_preview_says_how_much_it_shows():
    """Only the first rows are shown, and the count of all rows read stands below them."""
    page, text = preview(pa.table({"n": range(30)}), rows_read=51_955)
    assert page.words[-1] == "20 of 51,955 rows, 1 column"
    assert text.endswith("20 of 51,955 rows, 1 column")
    assert page.text.count("19") == text.split("51,955")[0].count("19") == 1


def test_a_preview_says_that_a_row_limit_cut_the_result():
    """A truncated result is never shown as a whole one."""
    page, text = preview(pa.table({"n": [1]}), is_truncated=True)
    assert page.text.endswith("1 row, 1 column; truncated by row limit")
    assert text.endswith("1 row, 1 column; truncated by row limit")


def test_a_masked_column_carries_a_badge():
    """The mask is visible in the head of its column, and its tag in the tooltip and the text."""
    table = pa.table({"email": ["[EMAIL]"], "n": [1]})
    page, text = preview(table, {"email": "redact pii.email"})
    assert page.titles == ["Masked before delivery: redact (tag pii.email)"]
    assert "string [redact]" in text
    assert text.endswith("masked  email: redact (pii.email)")


def test_replaced_entities_are_counted_below_the_rows():
    """What a detector replaced in free text is said, in a stable order."""
    page, text = preview(pa.table({"note": ["x"]}), entities={"PHONE": 1_200, "EMAIL": 3})
    assert page.text.endswith("replaced in text: EMAIL 3, PHONE 1,200")
    assert text.endswith("replaced in text: EMAIL 3, PHONE 1,200")


def test_null_differs_from_its_name_in_html():
    """A missing value is set apart from a text that reads NULL."""
    html = render.preview_html(pa.table({"a": [None, "NULL"]}), {}, rows_read=2, is_truncated=False)
    assert html.count('<em class="nbgov-null">NULL</em>') == 1


def test_long_cells_end_in_an_ellipsis():
    """A cell shows its beginning only, and says so."""
    page, text = preview(pa.table({"a": ["x" * 1_000_000]}))
    assert "x" * 79 + "…" in page.words
    assert "x" * 31 + "…" in text
    assert "x" * 80 not in page.text


def test_wide_results_say_how_many_columns_are_left_out():
    """Columns beyond the limit are counted, not silently dropped."""
    table = pa.table({f"c{i}": [i] for i in range(130)})
    page, text = preview(table)
    assert "c0int64" in page.text
    assert "… 30 more columns" in page.words
    assert max(map(len, text.split("\n"))) <= render.TEXT_WIDTH_MAX + 3
    assert text.endswith("1 row, 130 columns")


def test_results_without_rows_or_columns_have_a_preview():
    """An empty result shows its head, and a result without columns its count."""
    page, text = preview(pa.table({"a": pa.array([], pa.int32())}))
    assert "a" in page.words
    assert text == "    a\nint32\n-----\n0 rows, 1 column"
    assert preview(pa.table({}))[1] == "0 rows, 0 columns"


def test_columns_may_share_a_name():
    """Each of two columns with one name shows its own values."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert preview(table)[1].split("\n")[3].split() == ["1", "2"]


def test_text_columns_line_up_under_wide_characters():
    """Every column of the text form starts at one terminal cell in all rows."""
    lines = preview(pa.table({"city": ["東京", "Rome"], "n": [1, 2]}))[1].split("\n")
    assert len({render.cells_wide(line) for line in lines[:5]}) == 1


@given(
    st.lists(st.one_of(st.none(), st.floats(), st.integers(-(2**63), 2**63 - 1).map(float))),
)
def test_equal_tables_give_equal_previews(values):
    """A preview is a function of the table: no identifier or time of this process is in it."""
    first, second = (
        pa.table({"x": pa.array(values, pa.float64())}),
        pa.table({"x": pa.array(values, pa.float64())}),
    )
    assert preview(first)[1] == preview(second)[1]
    assert preview(first)[0].text == preview(second)[0].text


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([9007199254740993], pa.int64(), "9007199254740993"),
        ([0.1], pa.float64(), "0.1"),
        ([True], pa.bool_(), "true"),
        ([b"\xff\x00"], pa.binary(), "0xff00"),
        ([10**7], pa.date32(), "29349-01-26"),
        ([1], pa.timestamp("ns"), "1970-01-01 00:00:00.000000001"),
        ([0], pa.timestamp("us", "UTC"), "1970-01-01 00:00:00Z"),
        ([0], pa.timestamp("us", "Nowhere/At-All"), "1970-01-01 00:00:00Z"),
        ([90], pa.duration("s"), "90 s"),
        ([[1, None, 3]], pa.list_(pa.int32()), "[1, NULL, 3]"),
        ([{"a": 1, "b": "x"}], pa.struct({"a": pa.int32(), "b": pa.string()}), "{a: 1, b: x}"),
        ([[2**62]], pa.list_(pa.timestamp("us")), "<list<item: timestamp[us]>>"),
    ],
)
def test_values_read_as_what_they_are(values, kind, shown):
    """Each Arrow type keeps its precision and range, also where Python's own types end."""
    if pa.types.is_nested(kind) and pa.types.is_timestamp(getattr(kind, "value_type", kind)):
        values = pa.array(values, pa.list_(pa.int64())).cast(kind)
    column = pa.chunked_array([pa.array(values, kind), pa.nulls(1, kind)])
    assert cells.texts(column) == [shown, None]
