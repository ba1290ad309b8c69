"""Telephone numbers: exactly what phonenumbers' own matcher finds, region by region, and why not."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from nbgov.backends.presidio import phone_candidates, phone_plans
from nbgov.backends.presidio.phone_candidates import LEAD_MAX, grammar
from nbgov.backends.presidio.phone_plans import LayoutUnknown, Plan, world
from nbgov.backends.presidio.phones import TRIES_A_CHARACTER, VALID, PhoneFinder

DEFAULT = tuple(PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS)
PECULIAR = ("IT", "AR", "MX", "SM", "GG", "AG", "JP", "NF", "KZ", "MG", "GA", "RU", "HU", "AT")
"""Regions with leading zeros, with numbers that taking off a prefix rewrites, with shared codes."""

FINDERS = {regions: PhoneFinder(regions) for regions in (DEFAULT, PECULIAR)}
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
SEPARATORS = [
    "",
    " ",
    "-",
    ".",
    "/",
    " - ",
    "(",
    ")",
    ") ",
    "  ",
    "x",
    "xx",
    "~",
    "//",
    ", ",
    " / x",
]
SEPARATORS += ["\u00a0", "\u2013", "\uff0d", "[", "]", "\u200b"]
PREFIXES = [
    "",
    "+",
    "(+",
    "00",
    "011",
    "0",
    "+1",
    "+44 ",
    "0049",
    "+800 ",
    "1",
    "55",
    "0xx",
    "\uff0b",
]
PREFIXES += [
    "+39 0",
    "tel:",
    "$",
    "a",
    "\u00e9",
    "++",
    "+ +",
    "90",
    "0 15 ",
    "+54 9 ",
    "x",
    "\u20ac",
]
SUFFIXES = [
    "",
    " x12",
    " ext. 345",
    "#12",
    "#",
    " ext 5",
    "x",
    "%",
    "\u20ac",
    "a",
    " int 77",
    ";ext=5",
]
SUFFIXES += [":30", ", 212-555-0123", " \u0434\u043e\u0431 12", "/x303", " 10:15", "\u0301"]
ANY_PART = [
    "+",
    "-",
    " ",
    ".",
    "(",
    ")",
    "/",
    "x",
    "X",
    "#",
    "~",
    ",",
    ";",
    "\n",
    "\x00",
    "ext",
    ":",
]
ANY_PART += [
    "0",
    "1",
    "00",
    "20",
    "212",
    "555",
    "0171",
    "+49",
    "\uff10",
    "\u0663",
    "\uff0b",
    "\u00b2",
]


def stock(text: str, regions: Iterable[str]) -> set[tuple[int, int]]:
    return {
        (match.start, match.end)
        for region in regions
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=VALID)
    }


def written(draw: random.Random) -> str:
    """A number of any region and kind, in one of the library's own formats, perhaps disturbed."""
    region, kind = draw.choice(REGIONS), draw.randrange(11)
    number = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(
        region
    )
    text = phonenumbers.format_number(number, draw.randrange(4)) if number else "911"
    if draw.random() < 0.4:
        at = draw.randrange(len(text))
        text = text[:at] + draw.choice("0123456789 -()./+x") + text[at + 1 :]
    return text


def made(draw: random.Random) -> str:
    """A text with digits such as columns hold: numbers, dates, amounts, codes and sentences."""

    def digits(least: int, most: int) -> str:
        return "".join(draw.choice("0123456789") for _ in range(draw.randint(least, most)))

    text = draw.choice(
        [
            lambda: written(draw),
            lambda: draw.choice(PREFIXES) + written(draw) + draw.choice(SUFFIXES),
            lambda: digits(3, 17),
            lambda: f"{digits(1, 6)}.{digits(1, 6)}",
            lambda: f"{digits(4, 4)}-{digits(2, 2)}-{digits(2, 2)} {digits(2, 2)}:{digits(2, 2)}",
            lambda: f"{digits(1, 2)}/{digits(1, 2)}/{draw.choice([digits(2, 2), digits(4, 4)])}",
            lambda: f"({digits(3, 3)}) {digits(3, 3)}-{digits(4, 4)}" + draw.choice(SUFFIXES),
            lambda: "".join(
                digits(1, 6) + draw.choice(SEPARATORS) for _ in range(draw.randint(1, 5))
            ),
            lambda: (
                f"Order {digits(3, 9)}: call {written(draw)} or {written(draw)}, {digits(1, 4)} pcs"
            ),
        ]
    )()
    if draw.random() < 0.05:
        zero = draw.choice([0x660, 0xFF10, 0x966])
        text = text.translate({ord("0") + digit: zero + digit for digit in range(10)})
    return text


@pytest.mark.parametrize("regions", [DEFAULT, PECULIAR])
def test_five_thousand_values_differ_from_the_library_in_none(regions) -> None:
    """On a corpus of values with digits, the finder finds what the library finds in each region."""
    draw = random.Random(20261123)
    corpus = {made(draw) for _ in range(6_000 if regions is DEFAULT else 2_000)}
    finder = FINDERS[regions]
    found = {text: finder.find(text) for text in corpus}
    assert len(corpus) > (5_000 if regions is DEFAULT else 1_500)
    assert [text for text in corpus if found[text] != stock(text, regions)] == []
    assert sum(map(bool, found.values())) > len(corpus) // 4


@given(
    st.lists(
        st.tuples(st.sampled_from(PREFIXES), st.integers(0, 10**12), st.sampled_from(SEPARATORS)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(SUFFIXES),
)
@example([("", 1293993, "xx"), ("", 34567, "")], "")
def test_composed_numbers_are_found_as_the_library_finds_them(parts, suffix) -> None:
    """Prefixes, digits, separators and extensions in any order change nothing of the equality."""
    text = "".join(prefix + str(number) + separator for prefix, number, separator in parts) + suffix
    for regions, finder in FINDERS.items():
        assert finder.find(text) == stock(text, regions)


@given(st.lists(st.one_of(st.sampled_from(ANY_PART), st.characters()), max_size=30).map("".join))
@example("0 15 555 1212" + "\u0301")
@example("2012-01-02 08:00 2012-01-02 080")
@example("12(3): 211-227 (2003)")
@example("(530) 583-6985 x302/x2303")
@example("0xx 11 98765-4321")
@example("0XX1198765432 0xxx1198765432 x12")
@example("1 int 2345678 12ext5 1ext5")
@example("+" * 5 + "12125550123")
@example("+01141446681800 +00 44 20 7031 3000")
@example("1" * 300)
@example(" ".join("12" * 60))
def test_any_text_is_read_as_the_library_reads_it(text) -> None:
    """Whatever a value holds, digits of other scripts and stray letters included, nothing differs."""
    for regions, finder in FINDERS.items():
        assert finder.find(text) == stock(text, regions)


@given(st.text("0123456789", min_size=2, max_size=16), st.sampled_from(REGIONS))
def test_digits_are_judged_alike_in_every_region_of_the_world(digits, region) -> None:
    """For each region the library supports, digits alone are a number exactly where it says so."""
    assert PhoneFinder([region]).find(digits) == stock(digits, [region])


@given(st.data())
def test_numbers_of_the_world_are_judged_alike_with_a_plus(data) -> None:
    """Any calling code, those of no region too, with any digits behind, gets the same verdict."""
    code = data.draw(st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)))
    text = f"+{code}" + data.draw(st.text("0123456789", min_size=1, max_size=13))
    assert FINDERS[DEFAULT].find(text) == stock(text, DEFAULT)


def test_every_example_of_every_region_is_found_alike() -> None:
    """The library's own example of each region's fixed line, dialled there, is judged as it does."""
    for region in REGIONS:
        number = phonenumbers.example_number(region)
        for style in range(4):
            text = phonenumbers.format_number(number, style)
            assert PhoneFinder([region]).find(text) == stock(text, [region])


@given(st.integers(0, 2**32))
def test_no_text_with_fewer_digits_holds_a_number(seed) -> None:
    """The least number of digits that a finder names is a bound, digits of all scripts counted."""
    text = made(random.Random(seed))
    for regions, finder in FINDERS.items():
        if sum(map(str.isdecimal, text)) < finder.digits_min:
            assert not stock(text, regions)


def test_a_finder_says_how_many_digits_a_number_needs() -> None:
    """The bound follows from the regions: numbers of Germany are short, those of France are not."""
    assert FINDERS[DEFAULT].digits_min == 4
    assert PhoneFinder(["FR"]).digits_min == 7
    assert PhoneFinder([]).digits_min == world().international_digits_min == 6


def test_numbers_from_abroad_may_be_shorter_than_national_ones() -> None:
    """A short number of Austria, dialled from France, counts although French numbers are longer."""
    assert PhoneFinder(["FR"]).find("0043 1234") == stock("0043 1234", ["FR"])


def test_regions_that_the_library_does_not_know_are_left_to_it() -> None:
    """A code of no region, or one in lower case, finds international numbers only, as it does."""
    regions = ["001", "us", "ZZ", "US"]
    text = "call +44 20 7031 3000 or 212-555-0123 or +800 1234 5678"
    assert PhoneFinder(regions).find(text) == stock(text, regions) != set()
    assert PhoneFinder(regions[:3]).find(text) == stock(text, regions[:3])


def test_regions_with_equal_plans_are_asked_once() -> None:
    """Regions whose metadata say the same share one verdict."""
    plans = world().by_region
    twins = [name for name, plan in plans.items() if plan.rules == plans["GB"].rules]
    assert len(PhoneFinder(["US", "US", *twins]).distinct) == 2


def test_a_text_of_many_tries_is_left_to_the_library(monkeypatch) -> None:
    """Where the library could give up for its number of tries, it is asked, so both give up alike."""
    text = "1 2/3 4 " * 40 + " 212-555-0123"
    finder = PhoneFinder(["US"])
    tries = TRIES_A_CHARACTER * len(text)
    monkeypatch.setattr(finder, "asked", lambda text, regions: {(0, 0)})
    assert finder.find(text) == stock(text, ["US"])
    monkeypatch.setattr(finder.grammar, "tries_max", tries // 2)
    assert finder.find(text) == {(0, 0)}


@given(st.lists(st.sampled_from(["1", "23", "/", "(", ")", " ", "-", ".", "\u2013"])).map("".join))
def test_a_candidate_is_never_tried_more_often_than_counted(text) -> None:
    """The bound on tries holds: a candidate and its parts are at most four for each character."""
    place = grammar().next(text, 0)
    if place is not None:
        tries = 1 + len(list(grammar().inner_candidates(*place)))
        assert tries <= TRIES_A_CHARACTER * len(place[1])


@given(st.lists(st.sampled_from(["(", "+", "[", " ", "-", "1", "ext", "\uff0b", "a"])).map("".join))
def test_candidates_begin_shortly_before_their_first_digit(text) -> None:
    """Searching near a digit finds the candidate that a search of the whole text finds."""
    whole = grammar().candidate.search(text)
    place = grammar().next(text, 0)
    assert (whole and whole.start()) == (place and place[0])
    if whole is not None:
        assert re.search(r"\d", whole.group()).start() <= LEAD_MAX


@pytest.mark.parametrize(
    "change",
    [
        ("phonenumbers.phonenumbermatcher", "_PATTERN", re.compile(r"\d+")),
        ("phonenumbers.phonenumbermatcher", "_PATTERN", None),
        ("phonenumbers.phonenumbermatcher", "_verify", None),
    ],
)
def test_another_grammar_is_left_to_the_library(change, monkeypatch) -> None:
    """A version of phonenumbers with other expressions or parts is asked itself, and says why."""
    module, name, value = change
    monkeypatch.setattr(f"{module}.{name}", value)
    with pytest.raises(LayoutUnknown):
        grammar.__wrapped__()
    monkeypatch.setattr("nbgov.backends.presidio.phones.grammar", grammar.__wrapped__)
    finder = PhoneFinder(["US"])
    monkeypatch.undo()
    assert finder.reason
    assert finder.find("(212) 555-0123") == {(0, 14)}
    assert finder.digits_min == 0


def test_a_missing_part_is_left_to_the_library(monkeypatch) -> None:
    """A private name of phonenumbers that is gone is a reason, not an error."""
    monkeypatch.delattr("phonenumbers.phonenumbermatcher._TIME_STAMPS")
    with pytest.raises(LayoutUnknown, match="_TIME_STAMPS"):
        phone_candidates.grammar.__wrapped__()


@pytest.mark.parametrize(
    ("lengths", "found"), [((1, 2), "takes other parameters"), ((5,), "leaves out short")]
)
def test_another_matcher_is_left_to_the_library(lengths, found) -> None:
    """A matcher with other parameters or defaults is not the one that the finder replaces."""

    class Other:
        def __init__(self, text, region, leniency, max_tries=1, min_candidate_length=5) -> None: ...

    class Wider:
        def __init__(self, text, region, leniency, max_tries=1, width=5) -> None: ...

    with pytest.raises(LayoutUnknown, match=found):
        grammar().defaults(Wider if len(lengths) == 2 else Other)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"general_desc": None}, "names no possible length"),
        (
            {
                "general_desc": phonenumbers.PhoneNumberDesc(possible_length=(7,)),
                "national_prefix_for_parsing": "1(2)",
                "national_prefix_transform_rule": r"\1\1",
            },
            "rewrites numbers",
        ),
        (
            {
                "general_desc": phonenumbers.PhoneNumberDesc(
                    national_number_pattern=r"(\d)\1{6}", possible_length=(7,)
                )
            },
            "patterns of an unknown kind",
        ),
    ],
)
def test_a_plan_of_another_kind_is_not_guessed_at(fields, why) -> None:
    """Metadata that the short cuts are not proven for are refused."""
    metadata = phonenumbers.PhoneMetadata("XX", country_code=999, register=False, **fields)
    with pytest.raises(LayoutUnknown, match=why):
        Plan(metadata)


def test_other_metadata_are_left_to_the_library(monkeypatch) -> None:
    """Metadata without a known field, or of another calling code, are a reason, not an error."""
    monkeypatch.setattr(phone_plans, "KINDS", ("fixed_line", "carrier_pigeon"))
    with pytest.raises(LayoutUnknown, match="phonenumbers differ"):
        world.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setitem(phonenumbers.COUNTRY_CODE_TO_REGION_CODE, 999, ("US",))
    with pytest.raises(LayoutUnknown, match=r"no plan of US for \+999"):
        world.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setattr(phonenumbers, "SUPPORTED_REGIONS", {"US"})
    with pytest.raises(LayoutUnknown, match="differ"):
        world.__wrapped__()
