"""Findings: the same for every kind of column, by row, and without a value in any text of them."""

from __future__ import annotations

import datetime
import decimal
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from presidio_analyzer import RecognizerResult

import nbgov
from nbgov.backends.memory import MemoryDetector
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.pii import scanning
from nbgov.pii.distinct import distinct

ENTITIES = ("EMAIL_ADDRESS", "PIN")
TEXTS = ["ada@example.com", None, "1234 or 5678", "nothing", "ada@example.com", ""]
ROWS = [
    (0, "EMAIL_ADDRESS", 0, 15),
    (2, "PIN", 0, 4),
    (2, "PIN", 8, 12),
    (4, "EMAIL_ADDRESS", 0, 15),
]


def detector() -> MemoryDetector:
    patterns = {"EMAIL_ADDRESS": re.compile(r"\w+@example\.com"), "PIN": re.compile(r"\b\d{4}\b")}
    return MemoryDetector(patterns)


def detect(column, **options) -> nbgov.Findings:
    return nbgov.detect(
        column, **{"entities": ENTITIES, "threshold": 0.5, "engine": detector(), **options}
    )


def rows(found: nbgov.Findings) -> list[tuple]:
    columns = found.table.select(["row", "entity", "start", "end"]).to_pydict().values()
    return list(zip(*columns, strict=True))


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, dtype=object),
        pd.Series(TEXTS, dtype="str").where(pd.Series(TEXTS).notna()),
        pd.Series(TEXTS, dtype="string[python]"),
        pd.Series(TEXTS, dtype="string[pyarrow]"),
        pd.Series(TEXTS, dtype=pd.ArrowDtype(pa.large_string())),
        pd.Series(TEXTS, dtype="category"),
        pd.Series(TEXTS, dtype=object, index=[7] * 6),
        pd.Series([*TEXTS, "left@example.com"], dtype="category")[:6],
        pl.Series(TEXTS),
        pl.Series(TEXTS, dtype=pl.Categorical),
        pa.array(TEXTS),
        pa.array(TEXTS, pa.string_view()),
        pa.array(["9999", *TEXTS]).slice(1),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:3], [], TEXTS[3:]]),
        pa.chunked_array(
            [pa.array(TEXTS[:3]).dictionary_encode(), pa.array(TEXTS[3:]).dictionary_encode()]
        ),
    ],
    ids=lambda column: f"{type(column).__module__}-{getattr(column, 'dtype', '')}",
)
def test_a_column_has_the_same_findings_in_every_form(column):
    """Rows, entities and spans do not depend on the product or the dtype that holds a column."""
    found = detect(column)
    assert rows(found) == ROWS
    assert found.rows == len(column)
    assert len(found) == len(ROWS)


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pd.Series([1234, 99]), ["1234", "99"]),
        (pd.Series([1234, None]), ["1234.0"]),
        (pd.Series([1e6, 1e20]), ["1000000.0", "1e+20"]),
        (pd.Series([1234, None], dtype="Int64"), ["1234"]),
        (pd.Series([True, False]), ["True", "False"]),
        (
            pd.Series([1234, "1234", 1.5, None, np.nan, pd.NA, True], dtype=object),
            ["1234", "1.5", "True"],
        ),
        (
            pd.Series([decimal.Decimal("1.50"), datetime.date(2020, 1, 2)], dtype=object),
            ["1.50", "2020-01-02"],
        ),
        (pd.Series(pd.to_datetime(["2020-01-02"])), ["2020-01-02 00:00:00"]),
        (pd.Series([5, 5, 7], dtype="category"), ["5", "7"]),
        (pd.Series(pd.period_range("2020-01", periods=1, freq="M")), ["2020-01"]),
        (pa.array([1234, None]), ["1234"]),
        (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
        (pa.array([1.5], pa.float16()), ["1.5"]),
        (pc.run_end_encode(pa.array([7, 7])), ["7"]),
        ([1234, 1.5, False, "x"], ["1234", "1.5", "False", "x"]),
    ],
)
def test_what_is_no_text_is_read_through_str(column, texts):
    """Numbers, booleans and dates are read as ``str()`` prints them, and nulls are not read."""
    found, _ = distinct(column)
    assert found.to_pylist() == texts


@pytest.mark.parametrize(
    "column",
    [
        "ada@example.com",
        b"ada@example.com",
        7,
        [["ada@example.com"]],
        [b"ada@example.com"],
        ["\ud800"],
        pd.Series(["\ud800"], dtype=object),
        pa.array([["ada@example.com"]]),
        pa.array([b"ada@example.com"]),
        pd.Series([{"a": "b"}]),
    ],
    ids=str,
)
def test_what_holds_other_values_is_refused(column):
    """A column of lists, dicts or bytes is refused, and the error holds no value of it."""
    with pytest.raises(RequestInvalid) as caught:
        detect(column)
    assert caught.value.code == "usage"
    assert "ada" not in str(caught.value)


@given(
    st.lists(st.sampled_from(["ada@example.com", "1234 1234", "", "x", None]), max_size=40),
    st.integers(1, 5),
)
def test_rows_have_the_findings_of_their_values(texts, size):
    """Each row has exactly the findings of its own value, in order, however often it occurs."""
    chunks = [texts[start : start + size] for start in range(0, len(texts), size)]
    found = detect(pa.chunked_array(chunks, pa.string()))
    own = {text: [row[1:] for row in rows(detect([text]))] for text in set(texts) - {None}}
    expected = [(row, *one) for row, text in enumerate(texts) for one in own.get(text, [])]
    assert rows(found) == expected
    assert sum(found.counts().values()) == len(found) == len(expected)
    by_row = found.to_presidio()
    assert len(by_row) == len(texts)
    told = [(i, r.entity_type, r.start, r.end) for i, made in enumerate(by_row) for r in made]
    assert told == expected


def test_findings_come_as_presidio_results():
    """Each row's list holds Presidio's own objects, new at every call, and slices like a list."""
    by_row = detect(TEXTS).to_presidio()
    assert by_row[2] == [RecognizerResult("PIN", 0, 4, 1.0), RecognizerResult("PIN", 8, 12, 1.0)]
    assert by_row[2] is not by_row[2]
    assert by_row[-2] == by_row[0] != []
    assert by_row[1] == by_row[5] == []
    assert [len(one) for one in by_row[1:3]] == [0, 2]
    with pytest.raises(IndexError):
        by_row[6]


def test_findings_come_as_frames():
    """The table, the DataFrame and the Arrow stream are the same findings."""
    found = detect(TEXTS)
    assert found.table.column_names == ["row", "entity", "start", "end", "score", "recognizer"]
    assert pa.table(found).equals(found.table)
    assert found.to_pandas().to_dict("list") == found.table.to_pydict()
    assert pl.DataFrame(found)["row"].to_list() == [0, 2, 2, 4]


def test_findings_show_counts_and_no_values():
    """Their texts say how often each entity was found, and nothing of what."""
    found = detect(TEXTS)
    assert repr(found) == "4 findings in 3 of 6 rows\n  EMAIL_ADDRESS  2\n  PIN            2"
    assert repr(detect(["1234"])) == "1 finding in 1 of 1 rows\n  PIN  1"
    assert repr(detect([])) == "0 findings in 0 of 0 rows"
    shown = found._repr_html_()
    assert "<td>PIN</td><td>2</td>" in shown
    assert not any(text in shown + repr(found) for text in ("ada", "1234"))


def test_counts_are_ranked():
    """The most frequent entity comes first, and an entity in unused categories counts nothing."""
    column = pd.Series(["1234", "1234", "ada@example.com", "bo@example.com"], dtype="category")
    assert list(detect(column).counts().items()) == [("EMAIL_ADDRESS", 2), ("PIN", 2)]
    assert detect(column[:3]).counts() == {"PIN": 2, "EMAIL_ADDRESS": 1}
    assert detect(column[:2]).counts() == {"PIN": 2}


def test_a_failure_is_an_error():
    """Where detection fails, there are no findings."""
    failing = detector()
    failing.faults.before("detect")
    with pytest.raises(BackendFailed):
        detect(TEXTS, engine=failing)


class Knowing(MemoryDetector):
    """Says what it can find."""

    def entities(self, language: str) -> frozenset[str]:
        return frozenset(self.patterns)


def test_everything_is_looked_for_by_default():
    """Without ``entities``, everything is looked for that the engine knows."""
    knowing = Knowing(detector().patterns)
    assert rows(nbgov.detect(TEXTS, threshold=0.5, engine=knowing)) == ROWS


class Watched(MemoryDetector):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__({"PIN": re.compile(r"\b\d{4}\b")})
        self.asked = []

    def detect(self, values, **terms):
        self.asked.append((len(values), terms))
        return super().detect(values, **terms)


def test_values_are_looked_at_once():
    """A text that stands in many rows is looked at once, with the context that was given."""
    watched = Watched()
    nbgov.detect(["1234"] * 10, entities=["PIN"], threshold=0.5, context=("pin",), engine=watched)
    terms = {"entities": ["PIN"], "score_min": 0.5, "language": "en", "context": ("pin",)}
    assert watched.asked == [(1, terms)]


@pytest.mark.parametrize("progress", [None, True, False])
def test_long_work_goes_part_by_part(progress, capsys, monkeypatch):
    """With a bar or without, in one part or in many, the findings are the same."""
    monkeypatch.setattr(scanning, "PART_S", 1e9)
    texts = [f"{i} {1000 + i}" for i in range(3 * scanning.PART_VALUES)]
    watched = Watched()
    found = detect(texts, engine=watched, progress=progress)
    starts = [[match.start() for match in re.finditer(r"\b\d{4}\b", text)] for text in texts]
    expected = [(row, start) for row, own in enumerate(starts) for start in own]
    assert [(row, start) for row, _, start, _ in rows(found)] == expected
    sizes = [size for size, _ in watched.asked]
    parts = scanning.PART_VALUES
    assert sizes == ([parts, 2 * parts] if progress else [3 * parts])
    shown = capsys.readouterr().err
    assert shown == "" or progress


def test_an_interrupted_search_leaves_no_bar():
    """Ctrl-C passes through, and the bar is closed."""

    class Interrupted(MemoryDetector):
        def detect(self, values, **terms):
            raise KeyboardInterrupt

    texts = [str(i) for i in range(scanning.PART_VALUES + 1)]
    with pytest.raises(KeyboardInterrupt):
        detect(texts, engine=Interrupted({}), progress=True)
