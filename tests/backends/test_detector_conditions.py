"""Searching joined values for what a pattern needs finds what a search in each value finds."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbgov.backends.presidio.column import Column
from nbgov.backends.presidio.conditions import KINDS, LENGTH, PAIRS, Needs, needs_of
from nbgov.backends.presidio.joined import matches
from nbgov.backends.presidio.plan import Search
from nbgov.backends.presidio.syntax import NotUnderstood, fragment

PRESIDIO_FLAGS = int(regex.DOTALL | regex.MULTILINE | regex.IGNORECASE)
FLAGS = st.sampled_from(
    [
        PRESIDIO_FLAGS,
        PRESIDIO_FLAGS,
        0,
        *map(int, (regex.I, regex.M, regex.S, regex.M | regex.S, regex.A, regex.W, regex.V1)),
    ]
)

# Characters that patterns, neighbours and the separators themselves may take for something else.
TEXT = st.text(
    "aAbk12.@:-/_ \n\0\r\t\x0b\x1c\x85\u2028\u017f\u212a\u0131\u00e9\u00df\u0663\u0301", max_size=8
)

CHARACTERS = st.sampled_from(
    [
        *["a", "B", "k", "s", "1", "2", r"\.", "@", ":", "-", "/", "_", " ", ".", r"\n", r"\x00"],
        *[r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "\u017f", "\u212a", "\u0131", "\u00e9"],
        *[
            "[0-9]",
            "[a-z]",
            "[^0-9]",
            "[^a]",
            r"[^\n]",
            r"[^\n\0]",
            r"[\d.]",
            "[a\u017f]",
            r"[\s-]",
        ],
        *["[]a]", "[^]a]", "[A-z]", r"[\w@]", "[0-9\u212a]", "[:-]", r"[^\W_]", r"[\x00-\x1f]"],
    ]
)
PLACES = st.sampled_from(
    [r"\b", r"\B", "^", "$", r"(?:^|(?<=\W))", r"(?:(?=\W)|$)", r"(?=\s|$)", r"(?:(?<=\W)|(?<=^))"]
)
REPEATS = st.sampled_from(["?", "*", "+", "{2}", "{1,2}", "{2,}", "{,2}", "+?", "*+", "??", "{2}?"])
AROUND = st.sampled_from(
    ["(?={})", "(?!{})", "(?<={})", "(?<!{})", "(?>{})", "({})", "(?i:{})", "(?-i:{})", "(?:{})"]
)


def larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Patterns made of smaller ones."""
    return st.one_of(
        st.lists(parts, min_size=1, max_size=4).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda p: f"(?:{'|'.join(p)})"),
        st.tuples(parts, REPEATS).map(lambda p: f"(?:{p[0]}){p[1]}"),
        st.tuples(AROUND, parts).map(lambda p: p[0].format(p[1])),
        parts.map(lambda p: rf"({p})x?\1"),
        st.tuples(parts, parts).map(lambda p: f"({p[0]})?(?(1){p[1]}|a)"),
    )


PATTERNS = st.recursive(CHARACTERS | PLACES, larger, max_leaves=8)


def compiled(pattern: str, flags: int) -> Any:
    """A compiled pattern; groups of a generated one may be numbered twice, or refer to none."""
    try:
        return regex.compile(pattern, flags)
    except regex.error:
        return None


def found_together(pattern: Any, texts: list[str]) -> list[tuple[int, int, int, str]]:
    """What the detector's search finds."""
    column = Column(pa.array(texts, pa.large_string()))
    search = Search(pattern, 0.5, needs_of(pattern))
    return list(matches(search, column, timeout_s=60))


def found_alone(pattern: Any, texts: list[str]) -> list[tuple[int, int, int, str]]:
    """What the regex module finds in each text."""
    return [
        (index, *match.span(), match[0])
        for index, text in enumerate(texts)
        for match in pattern.finditer(text)
    ]


@settings(max_examples=1500)
@given(PATTERNS, FLAGS, st.lists(TEXT, min_size=1, max_size=6))
@example(r"(?<=\n)a", PRESIDIO_FLAGS, ["a", "a"])
@example(r"a(?!.)", PRESIDIO_FLAGS, ["a", "a"])
@example(r"(?=.*1)a", PRESIDIO_FLAGS, ["a", "1"])
@example(r"a\s*1", PRESIDIO_FLAGS, ["a", "1"])
@example(r"a[^\n]*1", PRESIDIO_FLAGS, ["a", "1"])
@example(r"\Aa\Z", PRESIDIO_FLAGS, ["a", "a"])
@example(r"^a$", 0, ["a", "b\na", "a"])
@example(r"a$", int(regex.M | regex.W), ["a\r", "a"])
@example(r"\Ba?", PRESIDIO_FLAGS, ["", "a", " a"])
@example(r"(\s)?1\1", PRESIDIO_FLAGS, ["1", "1"])
@example(r"s{2}", PRESIDIO_FLAGS, ["\u017f\u017f", "ss"])
@example(r"[0-9\u017f]{2}", PRESIDIO_FLAGS, ["ss"])
@example(r"\X1", PRESIDIO_FLAGS, ["\r", "1"])
@example(r"(?i)\b(?i)a", PRESIDIO_FLAGS, ["A"])
@example(r"(?:a1){e<=1}", PRESIDIO_FLAGS, ["a2", "b1"])
@example(r"[a[:digit:]]{2}", PRESIDIO_FLAGS, ["1a"])
@example(r"(?:^|(?<=\W))a(?:(?=\W)|$)", PRESIDIO_FLAGS, ["a", "a b", "ba"])
def test_joined_values_are_searched_as_each_alone(
    pattern: str, flags: int, texts: list[str]
) -> None:
    """No pattern, flag or neighbour makes the search in joined values differ by a match."""
    if (search := compiled(pattern, flags)) is not None:
        assert found_together(search, texts) == found_alone(search, texts)


@settings(max_examples=500)
@given(PATTERNS, TEXT.filter(str.isascii))
def test_every_match_holds_what_it_must(pattern: str, text: str) -> None:
    """No match has fewer characters or neighbours of a kind than its pattern is said to need."""
    if (search := compiled(pattern, PRESIDIO_FLAGS)) is None:
        return
    for match in search.finditer(text):
        held = Counter({LENGTH: len(match[0])})
        held.update(kind for char in match[0] for kind, chars in KINDS.items() if char in chars)
        held.update(
            pair
            for left, right in zip(match[0], match[0][1:], strict=False)
            for pair, (before, behind) in PAIRS.items()
            if left in KINDS[before] and right in KINDS[behind]
        )
        assert needs_of(search).counts <= held
        assert needs_of(search).literal in match[0].lower()


@given(st.lists(TEXT, max_size=8))
def test_characters_and_neighbours_are_counted_in_each_text_alone(texts: list[str]) -> None:
    """A count of a text is that of the same text alone, in a slice as well."""
    whole = pa.array(["1a.b", *texts, "2"], pa.large_string())
    column = Column(whole.slice(1, len(texts)))
    for kind in (*KINDS, *PAIRS):
        alone = [Column(pa.array([t], pa.large_string())).counts(kind)[0] for t in texts]
        assert column.counts(kind).tolist() == alone
    pair_counts = Column(pa.array(["a.b12", "1", "1"], pa.large_string()))
    assert pair_counts.counts("digits beside digits").tolist() == [1, 0, 0]
    assert pair_counts.counts("dots before letters").tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        (
            r"\b[0-9]{3}-\d\d@x\.:",
            {"digits": 5, "digits beside digits": 3, "letters": 1, "-": 1, "@": 1, ".": 1, ":": 1},
        ),
        (r"(\d{4}|\d{2}:)", {"digits": 2, "digits beside digits": 1}),
        (r"\d*[0-9-][.:]", {}),
        (r"(?<=\d)\w(?!\d)", {}),
        (
            r"[A-Z]{2}\d{2,4}",
            {"letters": 2, "digits": 2, "digits beside digits": 1, "letters before digits": 1},
        ),
        (r"a?\d(?:-\d){2}", {"digits": 3, "-": 2}),
        (r"\.(?:com|org)", {".": 1, "letters": 3, "dots before letters": 1}),
        (r"\.()?(a)", {".": 1, "letters": 1, "dots before letters": 1}),
        (r"\.-?a", {".": 1, "letters": 1}),
        (r"(a)\.\1(b|cc)", {"letters": 2, ".": 1}),
    ],
)
def test_needs_are_read_off_the_pattern(pattern: str, least: dict[str, int]) -> None:
    """The needs are those of the shortest match."""
    counts = needs_of(regex.compile(pattern, PRESIDIO_FLAGS)).counts
    del counts[LENGTH], counts["letters or digits"]
    assert dict(+counts) == least


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("AKC[a-z]{3}", "akc"),
        (r"(?:\s|^)-{5}BEGIN\b (?:A|BB)KEY", "-----begin "),
        ("https?://x", "http"),
        ("ab?c", "a"),
        ("(?:xab|yab)c", "abc"),
        ("(?:abx|aby)?c", "c"),
        ("a{40}", "a" * 32),
        ("(a)b\\1c", "ab"),
        ("[0-9]\u017f", "s"),
        ("\u00e9", ""),
    ],
)
def test_a_text_that_every_match_holds_is_read_off_the_pattern(pattern: str, literal: str) -> None:
    """Letters in a row are known in lower case, over groups and the ends of branches."""
    assert needs_of(regex.compile(pattern, PRESIDIO_FLAGS)).literal == literal


@pytest.mark.parametrize(
    ("pattern", "flags", "reason"),
    [
        (r"\p{Nd}{5}", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"(?:12345){e<=1}", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"[[:digit:]]", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"[]a[:digit:]]", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"(?|(a)|(b))\1", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"a(?R)?b", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"a\Kb", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"(?<name>a)", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"\012", PRESIDIO_FLAGS, "known to the regex module only"),
        (r"(?s:a)", 0, "flags are not understood"),
        (r"a", int(regex.V1), "flags are not understood"),
        (r"a", int(regex.W), "flags are not understood"),
        (r"a", int(regex.B), "flags are not understood"),
    ],
)
def test_nothing_is_concluded_from_what_is_not_understood(
    pattern: str, flags: int, reason: str
) -> None:
    """A pattern that the two regex modules may read differently needs nothing and is run alone."""
    needs = needs_of(regex.compile(pattern, flags))
    assert (needs.counts, needs.separator) == (Counter(), None)
    assert reason in needs.reason


@pytest.mark.parametrize(
    ("pattern", "flags", "separator"),
    [
        (r"\d{3}", PRESIDIO_FLAGS, "\n"),
        (r"\d\s\d", PRESIDIO_FLAGS, "\0"),
        (r"^\d\s\d", PRESIDIO_FLAGS, None),
        (r"\d.\d", PRESIDIO_FLAGS, None),
        (r"\d.\d", int(regex.I | regex.M), "\n"),
        (r"a(?!.)", PRESIDIO_FLAGS, None),
        (r"a(?=.*?1)", PRESIDIO_FLAGS, None),
        (r"\Aa", PRESIDIO_FLAGS, None),
        (r"^a", 0, None),
        (r"^a", int(regex.M), "\n"),
        (r"(?:^|(?<=\W))(x)(?:(?=\W)|$)", PRESIDIO_FLAGS, "\n"),
        (r"(?<=^|\s)x(?=\s|$)", PRESIDIO_FLAGS, "\n"),
        (r"(?:(?<=\W)|(?<=^))x", PRESIDIO_FLAGS, "\n"),
        (r"(?:(?<=\W)|(?<=^\W))x", PRESIDIO_FLAGS, None),
        (r"(?<=^|\s\s)x", PRESIDIO_FLAGS, None),
        (r"(?=\s|^)x", PRESIDIO_FLAGS, None),
        (r"[^\n]x", PRESIDIO_FLAGS, "\n"),
    ],
)
def test_a_separator_is_one_that_no_part_can_match(
    pattern: str, flags: int, separator: str | None
) -> None:
    """Values are joined with a character that the pattern sees neither in a match nor beside it."""
    assert needs_of(regex.compile(pattern, flags)).separator == separator


def test_a_node_that_is_not_known_is_not_guessed() -> None:
    """A kind of node that a later Python may add is not understood."""
    with pytest.raises(NotUnderstood):
        fragment("SOMETHING_NEW", None)


class Slow:
    """A pattern that runs out of time in long texts."""

    def __init__(self, longest: int) -> None:
        self.compiled, self.longest = regex.compile("[0-9]", PRESIDIO_FLAGS), longest

    def finditer(self, text: str, timeout: float) -> Any:
        """Matches in a text that is not too long."""
        if len(text) > self.longest:
            raise TimeoutError
        return self.compiled.finditer(text, timeout=timeout)


def test_values_that_take_too_long_together_are_searched_alone() -> None:
    """The time limit is one for a value, not for a column; a value beyond it fails the search."""
    column = Column(pa.array(["1", "a2", "33"], pa.large_string()))
    needs = Needs(Counter(), "\n")
    found = list(matches(Search(Slow(3), 0.5, needs), column, timeout_s=1))
    assert found == [(0, 0, 1, "1"), (1, 1, 2, "2"), (2, 0, 1, "3"), (2, 1, 2, "3")]
    with pytest.raises(TimeoutError):
        list(matches(Search(Slow(1), 0.5, needs), column, timeout_s=1))
