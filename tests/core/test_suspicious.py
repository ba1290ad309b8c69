"""What a reviewer is warned of: every character that hides, and no word for being foreign."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.suspicious import LOOKS_LIKE, PHONETIC, describe, place_of, suspicions

SCRIPTS = (
    "Latin", "Cyrillic", "Greek", "Armenian", "Georgian", "Hebrew", "Arabic", "Devanagari",
    "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam",
    "Sinhala", "Thai", "Lao", "Tibetan", "Myanmar", "Ethiopic", "Khmer", "Mongolian", "Han",
    "Hiragana", "Katakana", "Hangul", "Cherokee", "Canadian_Aboriginal", "Lisu", "Tifinagh",
)  # fmt: skip
BASIC_PLANE = [chr(n) for n in range(0x80, 0x10000) if not 0xD800 <= n < 0xE000]


def alphabet(script):
    """The ordinary letters of a script: no forms kept for the sake of older encodings."""
    letter = regex.compile(rf"[\p{{Script={script}}}&&\p{{L}}--\p{{DI}}]", regex.V1)
    found = [c for c in BASIC_PLANE if letter.fullmatch(c)]
    stable = [c for c in found if unicodedata.normalize("NFKC", c) == c and c.isprintable()]
    plain = list("abcdefghijklmnopqrstuvwxyzABCXYZ") if script == "Latin" else []
    return plain + [c for c in stable if c not in PHONETIC and unicodedata.category(c) != "Lm"]


ALPHABETS = {script: alphabet(script) for script in SCRIPTS}


@st.composite
def prose(draw):
    """Text of one script, with spaces, digits and ordinary punctuation."""
    letters = ALPHABETS[draw(st.sampled_from(SCRIPTS))]
    word = st.text(st.sampled_from(letters), min_size=1, max_size=12)
    parts = draw(st.lists(st.one_of(word, st.sampled_from(["1", "2026"]))))
    return draw(st.sampled_from([" ", ", ", "_", "\n", ".\t", " - "])).join(parts)


def kinds(text, **more):
    return [found.kind for found in suspicions(text, **more)]


@given(prose())
def test_text_of_one_script_is_no_reason_for_a_warning(text):
    """Whatever the language, words of one script are not suspicious."""
    assert suspicions(text) == ()


HIDDEN = regex.compile(
    r"[\p{DI}\p{Bidi_Control}\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Zs}]", regex.V1
)


@given(st.text("ab ('", max_size=5), st.text("ab ('", max_size=5), st.data())
def test_every_invisible_character_is_found(before, after, data):
    """A control, format, direction, filler, space or private character is told, where it is."""
    hidden = data.draw(st.characters(codec="utf-8").filter(HIDDEN.fullmatch))
    found = suspicions(before + hidden + after)
    if hidden in " \n\t":
        assert found == ()
    else:
        assert (len(before), len(before) + 1) in {(one.start, one.end) for one in found}
        assert any(f"U+{ord(hidden):04X}" in one.told for one in found)


def test_no_character_of_unicode_hides():
    """Every character that Unicode lets a renderer ignore, or that turns the text, is found."""
    ignorable = regex.compile(r"[\p{DI}\p{Bidi_Control}]", regex.V1)
    every = [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000]
    missed = [describe(c) for c in every if ignorable.fullmatch(c) and not suspicions(f"a{c}b")]
    assert missed == []


@given(st.text())
def test_suspicions_are_places_in_order(text):
    """Every suspicion is a place inside the text, in order, and its sentence is one line."""
    found = suspicions(text)
    assert list(found) == sorted(found, key=lambda one: (one.start, one.end))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert not any("\n" in one.told for one in found)


@pytest.mark.parametrize(("odd", "plain"), sorted(LOOKS_LIKE.items()))
def test_a_look_alike_among_latin_letters_is_found(odd, plain):
    """A letter or digit that looks Latin is found inside a Latin word, and named."""
    [found] = suspicions(f"SELECT * FROM ab{odd}cd")
    assert (found.kind, found.start, found.end) == ("look-alike", 14, 19)
    assert describe(odd) in found.told
    assert plain.isascii()


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("DELETE FROM b\u043e\u043ek", "look-alike", "mixes Latin and Cyrillic: "),
        ("SELECT кли\u0065нт", "look-alike", "mixes Cyrillic and Latin: e is U+0065"),
        ("DROP TABLE \u0441\u043e\u0440\u0443", "look-alike", "looks like “copy”"),
        ("WHERE id_\u0441\u043e = 1", "look-alike", "looks like “co”"),
        ("SELECT 1 /* я */\nFROM \u0430\u0441\u0435", "look-alike", "looks like “ace”"),
        ("FROM \uff42\uff4fok", "look-alike", "only look plain"),
        ("FROM \U0001d41bok", "look-alike", "U+1D41B MATHEMATICAL BOLD SMALL B"),
        ("FROM fi\u0261s", "look-alike", "LATIN SMALL LETTER SCRIPT G"),
        ("FROM o\ufb03ce", "look-alike", "LATIN SMALL LIGATURE FFI"),
        ("FROM \u212aids", "look-alike", "KELVIN SIGN"),
        ("FROM t\u09ea", "look-alike", "BENGALI DIGIT FOUR"),
        ("WHERE a = 'x\u2019 OR 1=1", "look-alike", "looks like ', and means nothing"),
        ("SELECT 1\u037e", "look-alike", "GREEK QUESTION MARK looks like ;"),
        ("SELECT 1 \u2212\u2212 2", "look-alike", "MINUS SIGN looks like -"),
        ("SELECT \u202e1", "turning", "changes the order in which the text reads"),
        ("SELECT a\u200bb", "hidden", "U+200B ZERO WIDTH SPACE cannot be seen"),
        ("SELECT \x00", "hidden", "U+0000 cannot be seen"),
        ("SELECT\u00a01", "space", "U+00A0 NO-BREAK SPACE is a space"),
        ("-- a\u2028DROP", "space", "ends a line for some programs"),
        ("-- a\rDROP", "space", "ends a line for some programs"),
        ("SELECT \ue000", "unknown", "may look like anything"),
        ("SELECT 1" + " " * 80 + "-- 2", "space", "80 spaces in a row, and more behind them"),
        ("SELECT 1" + "\n \t" * 12 + "DROP", "space", "12 lines without text"),
        ("SELECT '\u0301'", "mark", "is written over a character that is no letter"),
    ],
)
def test_what_is_found_is_told(text, kind, told):
    """Each way of hiding has a kind and a sentence that names the character."""
    found = suspicions(text)
    assert {one.kind for one in found} == {kind}
    assert told in found[0].told


@pytest.mark.parametrize(
    "text",
    [
        "SELECT имя, рост FROM люди -- \u0441 \u0440\u043e\u0441",
        "SELECT id_клиента FROM t",
        "UPDATE t SET note = 'не \u0441 ним'",
        "SELECT '日本語API' AS データ_id",
        "SELECT 'ประเทศSQLไทย'",
        "SELECT 'l\u2019été', 'don\u2019t', 'Hawai\u02bbi'",
        "SELECT 'm²', 'ª', '№ 5', '…', 'Ærø', 'ıŞ'",
        "SELECT 1\r\nFROM t",
        "SELECT 'e\u0301a'",
        "SELECT '你好\uff0c世界\uff1b\uff01'",
    ],
)
def test_what_is_ordinary_is_not_told(text):
    """Foreign words, their punctuation and accents stand beside SQL without a warning."""
    assert suspicions(text) == ()


def test_a_value_is_read_as_words_beside_latin_text():
    """A value that looks Latin and is not is found; signs mean nothing in it."""
    assert kinds("\u0441\u043e\u0440\u0443") == []
    assert kinds("\u0441\u043e\u0440\u0443", is_value=True) == ["look-alike"]
    assert kinds("\u201cquoted\u201d \u2013 so", is_value=True) == []
    assert kinds("a\u200bb", is_value=True) == ["hidden"]


@given(st.text())
def test_places_count_lines_and_characters_from_one(text):
    """Line and character lead back to the place."""
    for at in range(len(text)):
        line, character = place_of(text, at)
        before = text.split("\n")[: line - 1]
        assert sum(len(one) + 1 for one in before) + character - 1 == at
