"""Content masking: which columns are scanned, and that what is found does not survive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.masking import MaskingPlan, mask, plan
from nbgov.errors import BackendFailed
from nbgov.model import (
    ColumnMask,
    ColumnName,
    ContentMask,
    Decision,
    MaskKind,
    Obligation,
    OutputColumn,
    TableName,
)

CONTENT = ContentMask(("EMAIL_ADDRESS", "PIN"), 0.35)
PEOPLE = TableName("main", "people")
NOTE, NAME, CARD = (ColumnName(PEOPLE, name) for name in ("note", "name", "card"))
FINDINGS = pa.schema(
    [
        ("value", pa.int64()),
        ("entity", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("score", pa.float64()),
    ]
)
Finding = tuple[int, str, int, int, float]


def to_findings(rows: Iterable[Finding]) -> pa.Table:
    """Findings as the port's table."""
    return pa.Table.from_pylist([dict(zip(FINDINGS.names, r, strict=True)) for r in rows], FINDINGS)


def detect(
    values: pa.Array,
    *,
    entities: Sequence[str],
    score_min: float,
    language: str,
    context: Sequence[str] = (),
) -> pa.Table:
    """Anything with an @ in it is an e-mail address, and four digits are a PIN."""
    patterns = {"EMAIL_ADDRESS": r"\S+@\S+", "PIN": r"\b\d{4}\b"}
    return to_findings(
        (i, entity, match.start(), match.end(), 1.0)
        for i, text in enumerate(values.to_pylist())
        for entity in entities
        for match in re.finditer(patterns[entity], text)
    )


def scan(array: pa.Array, found: Any = detect) -> tuple[pa.Array, dict[str, int]]:
    """Mask a batch of one column that is scanned."""
    batch = pa.RecordBatch.from_arrays([array], names=["note"])
    masked, counts = mask(batch, MaskingPlan(CONTENT, {0: ("note",)}, {}), found)
    masked.validate(full=True)
    assert masked.schema == batch.schema
    return masked.column(0), dict(counts.get("note", {}))


def permit(*obligations: Obligation, unclassified: Iterable[ColumnName] = ()) -> Decision:
    """A permit."""
    return Decision(
        is_permitted=True, obligations=obligations, unclassified=frozenset(unclassified)
    )


# ---------------------------------------------------------------- the plan


def test_only_unclassified_text_is_scanned() -> None:
    """Text is scanned where a source is unclassified; classified text and literals are not."""
    schema = pa.schema(
        {"note": pa.string(), "name": pa.string(), "both": pa.string(), "what": pa.string()}
        | {"size": pa.int64(), "photo": pa.binary(), "tags": pa.list_(pa.string())}
    )
    outputs = (
        OutputColumn("note", frozenset({NOTE})),
        OutputColumn("name", frozenset({NAME})),
        OutputColumn("both", frozenset({NAME, NOTE})),
        OutputColumn("what", frozenset()),
        OutputColumn("size", frozenset({NOTE})),
        OutputColumn("photo", frozenset({NOTE})),
        OutputColumn("tags", frozenset({NOTE})),
    )
    made = plan(permit(CONTENT, unclassified=[NOTE]), schema, outputs)
    assert made.content == CONTENT
    assert [schema.names[i] for i in made.scanned] == ["note", "both", "tags"]
    assert made.scanned[2] == ("both", "name", "note"), "a name is context, wherever it comes from"


def test_a_result_of_unknown_shape_is_scanned_whole() -> None:
    """Where result and statement differ in width, every text column is scanned."""
    schema = pa.schema({"a": pa.string(), "n": pa.int64(), "b": pa.large_string()})
    made = plan(permit(CONTENT), schema, (OutputColumn("a", frozenset({NAME})),))
    assert [*made.scanned] == [0, 2]


def test_nothing_is_scanned_that_no_obligation_asks_for() -> None:
    """Without a content mask the batch passes as it is, and the detector is not called."""
    batch = pa.RecordBatch.from_pydict({"note": ["ada@example.com"]})
    outputs = (OutputColumn("note", frozenset({NOTE})),)
    made = plan(permit(unclassified=[NOTE]), batch.schema, outputs)
    assert (made.content, made.scanned) == (None, {})
    assert mask(batch, made, refuse) == (batch, {})


def refuse(*_: Any, **__: Any) -> pa.Table:
    """A detector that must not be called, or that fails."""
    raise BackendFailed("The PII detector failed.", code="detector-failed")


def test_masks_applied_at_the_scan_are_named_by_result_column() -> None:
    """The plan names the masks behind each result column, strictest first."""
    schema = pa.schema(
        [("card", pa.string()), ("x", pa.string()), ("x", pa.int64()), ("note", pa.string())]
    )
    outputs = (
        OutputColumn("card", frozenset({CARD})),
        OutputColumn("x", frozenset({CARD, NAME})),
        OutputColumn("x", frozenset({NOTE})),
        OutputColumn("note", frozenset({NOTE})),
    )
    masks = (
        ColumnMask(NAME, MaskKind.REDACT, "pii.name"),
        ColumnMask(CARD, MaskKind.NULL, "pii.card"),
        ColumnMask(CARD, MaskKind.NULL, "pci"),
    )
    made = plan(permit(*masks), schema, outputs)
    assert made.masked == {
        "card": "null pci, null pii.card",
        "x": "null pci, null pii.card, redact pii.name",
    }


def test_two_content_masks_are_a_broken_promise() -> None:
    """A decision with two content masks is refused, because one of them would be dropped."""
    with pytest.raises(RuntimeError, match="at most one"):
        plan(permit(CONTENT, CONTENT), pa.schema([]), ())


# ---------------------------------------------------------------- types

WORDS = ["é ada@x.io ü", None, "plain", "a@b c@d", "", "日本 1234", "plain", "é ada@x.io ü"]
MASKED = ["é <EMAIL_ADDRESS> ü", None, "plain", "<EMAIL_ADDRESS> <EMAIL_ADDRESS>", ""]
MASKED += ["日本 <PIN>", "plain", "é <EMAIL_ADDRESS> ü"]
TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view()]


def to_dictionary(array: pa.Array, index: pa.DataType) -> pa.DictionaryArray:
    """The array with its values in a dictionary."""
    encoded = array.dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.cast(index), encoded.dictionary)


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@pytest.mark.parametrize("part", [slice(None), slice(3, 7), slice(0, 0)], ids=str)
def test_plain_text_is_masked(kind: pa.DataType, part: slice) -> None:
    """Strings of every Arrow type keep their type, their nulls and all that was not found."""
    masked, counts = scan(pa.array(WORDS, kind)[part])
    assert masked.to_pylist() == MASKED[part]
    held = [set(re.findall(r"<(\w+)>", text or "")) for text in MASKED[part]]
    assert counts == Counter(entity for entities in held for entity in entities)


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
@pytest.mark.parametrize("index", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64()], ids=str)
def test_dictionaries_are_masked(kind: pa.DataType, index: pa.DataType) -> None:
    """A dictionary keeps its type, and counts the rows that use a value."""
    masked, counts = scan(to_dictionary(pa.array(WORDS, kind), index))
    assert masked.to_pylist() == MASKED
    assert counts == {"EMAIL_ADDRESS": 3, "PIN": 1}


def test_a_dictionary_holds_each_value_once() -> None:
    """Values that masking makes equal become one, and values that no row uses are masked too."""
    array = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, None, 0], pa.int8()), pa.array(["a@b", "x", "c@d", None])
    )
    masked, counts = scan(array)
    assert masked.to_pylist() == ["<EMAIL_ADDRESS>", "x", None, "<EMAIL_ADDRESS>"]
    assert masked.dictionary.to_pylist() == ["<EMAIL_ADDRESS>", "x"]
    assert counts == {"EMAIL_ADDRESS": 2}


def test_a_clean_dictionary_keeps_its_values() -> None:
    """Where nothing is found, a dictionary keeps values that no row uses, such as enum labels."""
    array = pa.DictionaryArray.from_arrays(pa.array([1]), pa.array(["low", "high"]), ordered=True)
    masked, counts = scan(array)
    assert masked.dictionary.to_pylist() == ["low", "high"]
    assert masked.type.ordered
    assert counts == {}


LISTS: list[Any] = [["a@b", None], None, [], ["q", "1234 c@d"]]
MASKED_LISTS = [["<EMAIL_ADDRESS>", None], None, [], ["q", "<PIN> <EMAIL_ADDRESS>"]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.string_view()),
        pa.list_(pa.field("word", pa.large_string(), nullable=True)),
    ],
    ids=str,
)
@pytest.mark.parametrize("part", [slice(None), slice(1, 4), slice(2, 3)], ids=str)
def test_lists_are_masked(kind: pa.DataType, part: slice) -> None:
    """Elements of lists are masked; empty and missing lists stay what they are."""
    masked, _ = scan(pa.array(LISTS, kind)[part])
    assert masked.to_pylist() == MASKED_LISTS[part]


def nested() -> list[tuple[pa.Array, list[Any]]]:
    """Arrays with text somewhere inside, and what becomes of them."""
    hit = "<EMAIL_ADDRESS>"
    person = pa.struct(
        [("mail", pa.string()), ("age", pa.int8()), ("tags", pa.list_(pa.large_string()))]
    )
    strict = pa.struct([pa.field("mail", pa.string(), nullable=False)])
    words = pa.array(["a@b", None, "x", "x"])
    return [
        (
            pa.array([["a@b", "x"], None, ["y", None]], pa.list_(pa.string(), 2)),
            [[hit, "x"], None, ["y", None]],
        ),
        (
            pa.array([[("a@b", 1), ("k", 2)], None, []], pa.map_(pa.string(), pa.int8())),
            [[(hit, 1), ("k", 2)], None, []],
        ),
        (
            pa.array([None, [(1, "a@b"), (2, None)]], pa.map_(pa.int8(), pa.string())),
            [None, [(1, hit), (2, None)]],
        ),
        (
            pa.array([{"mail": "a@b", "age": 7, "tags": ["c@d"]}, None, {"age": 8}], person),
            [
                {"mail": hit, "age": 7, "tags": [hit]},
                None,
                {"mail": None, "age": 8, "tags": None},
            ],
        ),
        (pa.array([{"mail": "a@b"}, {"mail": ""}], strict), [{"mail": hit}, {"mail": ""}]),
        (pc.run_end_encode(words, run_end_type=pa.int16()), [hit, None, "x", "x"]),
        (pa.ExtensionArray.from_storage(pa.json_(), words), [hit, None, "x", "x"]),
        (
            pa.array([["a@b"], ["x"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
            [[hit], ["x"]],
        ),
        (pa.array([["a@b"], None, ["x"]], pa.list_view(pa.string())), [[hit], None, ["x"]]),
        (pa.array([["x"], ["a@b"]], pa.large_list_view(pa.string())), [["x"], [hit]]),
    ]


@pytest.mark.parametrize(("array", "expected"), nested(), ids=lambda x: str(getattr(x, "type", "")))
def test_text_inside_containers_is_masked(array: pa.Array, expected: list[Any]) -> None:
    """Text is masked wherever it sits inside a value, whole or sliced."""
    assert scan(array)[0].to_pylist() == expected
    assert scan(array[1:])[0].to_pylist() == expected[1:]


@pytest.mark.parametrize(
    "array",
    [
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array(["a@b"])]),
        pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([["a@b"]])),
    ],
    ids=lambda array: str(array.type),
)
def test_text_in_a_container_that_is_not_rewritten_stays_in(array: pa.Array) -> None:
    """Text stored in a way that masking cannot rewrite fails the batch."""
    with pytest.raises(BackendFailed, match="cannot be scanned") as caught:
        scan(array)
    assert caught.value.code == "detector-failed"
    assert "a@b" not in str(caught.value)


def test_values_without_text_pass_unread() -> None:
    """A planned column without text is left alone, and the detector is not called for it."""
    array = pa.array([{"n": 1}])
    assert scan(array, refuse) == (array, {})
    for empty in ([], [None, None]):
        assert scan(pa.array(empty, pa.string()), refuse) == (pa.array(empty, pa.string()), {})


def test_columns_that_are_not_planned_stay() -> None:
    """Only the planned positions are masked, also where names repeat."""
    batch = pa.RecordBatch.from_arrays([pa.array(["a@b"])] * 3, names=["x", "x", "y"])
    masked, _ = mask(batch, MaskingPlan(CONTENT, {1: ()}, {}), detect)
    assert [c.to_pylist() for c in masked.columns] == [["a@b"], ["<EMAIL_ADDRESS>"], ["a@b"]]


# ---------------------------------------------------------------- the detector


def test_the_detector_sees_each_text_once() -> None:
    """The detector is asked as the obligation says, about distinct texts and no null."""
    seen: list[Any] = []

    def listen(values: pa.Array, **asked: Any) -> pa.Table:
        seen.append((sorted(values.to_pylist()), asked))
        return FINDINGS.empty_table()

    array = pa.array(["b", None, "a", "b"])
    assert scan(array, listen)[0].equals(array)
    asked = {
        "entities": CONTENT.entities,
        "score_min": 0.35,
        "language": "en",
        "context": ("note",),
    }
    assert seen == [(["a", "b"], asked)]


def test_a_failing_detector_releases_nothing() -> None:
    """What the detector raises comes out of mask as it is."""
    with pytest.raises(BackendFailed, match="The PII detector failed"):
        scan(pa.array(["a"]), refuse)


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 4), (2, 2), (3, 1), (4, 5)], ids=str)
def test_a_finding_outside_its_text_releases_nothing(start: int, end: int) -> None:
    """A finding that does not lie in its own text fails the batch, also between two texts."""
    with pytest.raises(BackendFailed, match="outside its text"):
        scan(
            pa.array(["abc", "def", "ghi"]),
            lambda *_, **__: to_findings([(1, "PIN", start, end, 1.0)]),
        )


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([("PIN", 0, 4, 0.5), ("URL", 2, 6, 0.9)], "<URL>gh"),
        ([("PIN", 0, 4, 0.5), ("URL", 2, 7, 0.5)], "<URL>h"),
        ([("PIN", 2, 6, 0.5), ("URL", 0, 4, 0.5)], "<URL>gh"),
        ([("URL", 2, 6, 0.5), ("PIN", 2, 6, 0.5)], "ab<PIN>gh"),
        ([("URL", 0, 8, 0.4), ("PIN", 3, 5, 1.0)], "<PIN>"),
        ([("URL", 0, 3, 0.4), ("PIN", 2, 5, 0.5), ("URL", 4, 8, 0.4)], "<PIN>"),
        ([("URL", 0, 4, 0.4), ("PIN", 4, 8, 0.4)], "<URL><PIN>"),
    ],
    ids=["score", "longer", "earlier", "alphabet", "inside", "chain", "touching"],
)
def test_overlapping_findings_become_one(
    findings: list[tuple[str, int, int, float]], expected: str
) -> None:
    """Findings that overlap are replaced together, under the name of the strongest."""
    masked, counts = scan(
        pa.array(["abcdefgh"]), lambda *_, **__: to_findings((0, *finding) for finding in findings)
    )
    assert masked.to_pylist() == [expected]
    assert counts == dict.fromkeys(re.findall(r"<(\w+)>", expected), 1)


def splice(text: str, findings: list[Finding]) -> tuple[str, list[str]]:
    """The same, written slowly: mark each character, then replace each run of marks."""
    runs: list[list[Finding]] = []
    for finding in sorted(findings, key=lambda f: f[2]):
        if runs and finding[2] < max(f[3] for f in runs[-1]):
            runs[-1].append(finding)
        else:
            runs.append([finding])
    names = []
    for run in reversed(runs):
        best = min(run, key=lambda f: (-f[4], f[2] - f[3], f[2], f[1]))
        names.append(best[1])
        end = max(f[3] for f in run)
        text = f"{text[: run[0][2]]}<{best[1]}>{text[end:]}"
    return text, names


@st.composite
def findings_in_texts(draw: st.DrawFn) -> tuple[list[str | None], dict[str, list[Finding]]]:
    """Rows of text, and findings in each distinct text."""
    texts = draw(st.lists(st.none() | st.text(max_size=12), max_size=8))
    found = {}
    for text in {t for t in texts if t}:
        bounds = st.integers(0, len(text))
        pairs = draw(st.lists(st.tuples(bounds, bounds), max_size=4))
        found[text] = [
            (0, draw(st.sampled_from("ABC")), *sorted(p), draw(st.sampled_from([0.4, 0.85, 1.0])))
            for p in pairs
            if p[0] != p[1]
        ]
    return texts, found


@given(findings_in_texts(), st.sampled_from(TEXT_TYPES))
def test_masking_equals_splicing_text_by_text(
    case: tuple[list[str | None], dict[str, list[Finding]]], kind: pa.DataType
) -> None:
    """Masking a column gives what splicing each text by hand gives, with the same counts."""
    texts, found = case

    def tell(values: pa.Array, **_: Any) -> pa.Table:
        rows = [
            (i, *f[1:]) for i, text in enumerate(values.to_pylist()) for f in found.get(text, [])
        ]
        return to_findings(rows)

    masked, counts = scan(pa.array(texts, kind), tell)
    spliced = [(None, []) if t is None else splice(t, found.get(t, [])) for t in texts]
    assert masked.to_pylist() == [text for text, _ in spliced]
    assert counts == Counter(name for _, names in spliced for name in set(names))
