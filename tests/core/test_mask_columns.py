"""Masks over columns: every type, the same for equal values, and nothing of how they are stored."""

from __future__ import annotations

import cProfile
import pstats
import traceback

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.masks import Operator, cover, parse_operator
from nbgov.errors import ConfigInvalid, NbgovError
from tests.core.mask_scene import KEYS, OPERATORS, PLAIN, TEXTS, arrays, covered, masked, refusal

REFUSALS = {"mask-unfit", "mask-domain-small"}
each_operator = pytest.mark.parametrize("text", OPERATORS)


def absent(array: pa.Array) -> list[bool]:
    """Where values are null, in whatever encoding."""
    return [value is None for value in array.to_pylist()]


@each_operator
@given(array=arrays())
@settings(max_examples=25)
def test_type_length_and_nulls_stay(text: str, array: pa.Array) -> None:
    """A mask keeps type, length and nulls of every type, or its type is refused, empty or not."""
    code = refusal(array, text)
    assert code == refusal(array.slice(0, 0), text)
    assert code in REFUSALS | {""}
    if code:
        return
    made = covered(array, text)
    lost = [new and not old for new, old in zip(absent(made), absent(array), strict=True)]
    is_text = array.type in {pa.string(), pa.large_string(), pa.string_view()}
    assert not any(lost) or text == "null" or not is_text
    assert all(new or not old for new, old in zip(absent(made), absent(array), strict=True))


@each_operator
@given(array=arrays(), cuts=st.tuples(st.integers(0, 8), st.integers(0, 8)))
@settings(max_examples=25)
def test_neither_slices_nor_chunks_show(text: str, array: pa.Array, cuts: tuple[int, int]) -> None:
    """Any slice of a masked column is the masked slice, and chunks make no difference."""
    if refusal(array, text):
        return
    whole = masked(array, text)
    start, end = min(cuts), max(cuts)
    assert masked(array.slice(start, end - start), text) == whole[start:end]
    parts = [array.slice(0, start), array.slice(start, end - start), array.slice(end)]
    chunks = pa.chunked_array(parts, array.type)
    made = covered(chunks, text)
    assert [len(chunk) for chunk in made.chunks] == [len(part) for part in parts]
    assert made.to_pylist() == whole


@pytest.mark.parametrize(
    "text",
    [
        "redact",
        "partial:3",
        "partial:3:shape",
        "token",
        "ff1",
        "ff1:alnum",
        "surrogate",
        "date-shift:9",
    ],
)
@given(values=st.lists(TEXTS, min_size=1, max_size=20))
def test_no_text_survives_an_operator_that_hides_it(text: str, values: list[str]) -> None:
    """What a mask leaves is never the value itself, and equal values become equal ones."""
    made = masked([*values, *values], text)
    assert made[: len(values)] == made[len(values) :]
    assert all(new != old for new, old in zip(made, values, strict=False) if old != "***")


@given(
    st.lists(TEXTS | st.none(), max_size=10),
    st.sampled_from(["token", "redact", "partial:2", "surrogate"]),
)
def test_encodings_do_not_show(values: list[str | None], text: str) -> None:
    """Plain, large, view, dictionary and run-end encoded text are masked alike."""
    expected = masked(pa.array(values, pa.string()), text)
    for kind in (pa.large_string(), pa.string_view()):
        assert masked(pa.array(values, kind), text) == expected
    plain = pa.array(values, pa.string())
    assert masked(plain.dictionary_encode(), text) == expected
    assert masked(pc.run_end_encode(plain), text) == expected


def test_dictionary_values_that_become_equal_are_one() -> None:
    """A dictionary has no value twice, values that no row uses are masked, and its order stays."""
    kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    array = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0], pa.int8()), pa.array(["Ada", "Grace", "unused"]), ordered=True
    )
    made = covered(array, "redact")
    assert made.type == kind
    assert made.dictionary.to_pylist() == ["***"]
    assert made.to_pylist() == ["***", "***", None, "***"]
    assert "unused" not in covered(array, "token").dictionary.to_pylist()


def test_dictionary_values_that_arrow_cannot_compare_stay_apart() -> None:
    """Where Arrow finds no equal values, each keeps a place of its own, and is masked."""
    values = pa.array([["Ada"], ["Grace"]])
    array = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), values)
    assert masked(array, "redact:x") == [None, None, None]
    made = covered(array, "partial:1")
    assert len(made.dictionary) == 2
    assert made.to_pylist() == [["***e"], ["***a"], ["***e"]]


def test_redacted_text_reads_as_such_and_everything_else_as_nothing() -> None:
    """Redaction writes a text where text stands; any other value, and any container, is null."""
    assert masked(["Ada", None], "redact") == ["***", None]
    assert masked(["Ada", None], "redact:[gone]") == ["[gone]", None]
    for values in ([1], [1.5], [True], [b"a"], [["Ada"]], [{"a": "Ada"}]):
        assert masked(values, "redact") == [None]
    whole = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array(["Ada"])])
    assert masked(whole, "redact") == [None]


@each_operator
def test_a_type_decides_before_a_value_does(text: str) -> None:
    """For a column without rows the answer is that for one with rows, whatever these hold."""
    for kind in PLAIN:
        code = refusal(pa.array([], kind), text)
        assert code in REFUSALS | {""}
        assert code == refusal(pa.nulls(2, kind), text)
        assert code or covered(pa.nulls(2, kind), text).null_count == 2


def test_unions_are_redacted_or_refused() -> None:
    """What cannot be taken apart is not let through."""
    whole = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array(["Ada"])])
    with pytest.raises(ConfigInvalid, match="does not fit"):
        masked(whole, "token")
    with pytest.raises(ConfigInvalid, match="does not fit"):
        masked(pa.chunked_array([], pa.list_(whole.type)), "token")


def test_a_map_needs_keys_that_can_be_masked() -> None:
    """A number that cannot be covered reads as null, which no key of a map may be."""
    texts = pa.array([[("Ada", 1)]], pa.map_(pa.string(), pa.int64()))
    assert masked(texts, "token")[0][0][0].startswith("tok_")
    whole = pa.array([[(7, "Ada")]], pa.map_(pa.int64(), pa.string()))
    with pytest.raises(ConfigInvalid, match="map"):
        masked(whole, "ff1")
    assert masked(whole, "redact") == [None]


def test_nothing_of_nothing() -> None:
    """A column without chunks, fields or values has none afterwards."""
    assert covered(pa.chunked_array([], pa.string()), "token").num_chunks == 0
    assert (
        covered(
            pa.chunked_array([], pa.string()), "date-shift:3", subjects=pa.array([], pa.string())
        ).num_chunks
        == 0
    )
    assert covered(pa.array([], pa.string()), "token").to_pylist() == []
    assert masked(pa.array([{}, None], pa.struct([])), "token") == [{}, None]
    assert masked(pa.nulls(2), "token") == [None, None]


def test_an_error_names_the_column_and_no_value() -> None:
    """What does not fit is said by column and type, with what would fit."""
    with pytest.raises(NbgovError) as caught:
        cover(pa.array([4711]), Operator("year"), keys=KEYS, domain="people.born")
    text = str(caught.value)
    assert caught.value.code == "mask-unfit"
    assert "people.born" in text
    assert "int64" in text
    assert "4711" not in text
    assert "token, ff1, zip, bucket, age, null, redact" in text


def test_json_is_not_made_into_what_is_no_json() -> None:
    """A mask of text would break a JSON value, so that only operators that fit all types do."""
    array = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}']))
    with pytest.raises(ConfigInvalid):
        masked(array, "token")
    assert masked(array, "redact") == [None]


@pytest.mark.parametrize("text", OPERATORS)
def test_python_runs_for_distinct_values_and_never_for_rows(text: str) -> None:
    """Ten times the rows with the same values cost not one call of Python more."""
    values = ["Ada Lovelace", "ada@acme.test", "4111 1111 1111 1111", "2024-05-17", "37", None]
    subjects = {"subjects": pa.array([7, 8] * 3)} if text.startswith("date-shift") else {}
    counts = [
        calls(values * n, text, {k: repeated(v, n) for k, v in subjects.items()}) for n in (10, 100)
    ]
    assert counts[0] == counts[1]


def repeated(array: pa.Array, times: int) -> pa.Array:
    return pa.concat_arrays([array] * times)


def calls(values: list[str | None], text: str, options: dict[str, pa.Array]) -> int:
    """How many functions are called while a column is masked."""
    array, operator = pa.array(values), parse_operator(text)
    cover(array, operator, keys=KEYS, domain="column", **options)
    profile = cProfile.Profile()
    profile.runcall(cover, array, operator, keys=KEYS, domain="column", **options)
    return pstats.Stats(profile).total_calls


@pytest.mark.parametrize(
    "text", ["partial:2", "ff1", "surrogate", "zip:3", "year", "bucket:10", "date-shift:3"]
)
def test_an_error_of_arrow_tells_no_value(text: str) -> None:
    """Text that is no UTF-8 is masked or refused, and what it was stands in no message."""
    data = b"4111111111111111\xff"
    buffers = [None, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data)]
    array = pa.Array.from_buffers(pa.string(), 1, buffers)
    try:
        made = cover(array, parse_operator(text), keys=KEYS, domain="column").to_pylist()
    except ConfigInvalid as error:
        told = "".join(traceback.format_exception(error))
    else:
        told = str(made)
    assert "411" not in told
    assert "xff" not in told
