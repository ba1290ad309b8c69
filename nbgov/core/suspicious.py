r"""Characters that make a text read as something else: hidden, turning, and look-alikes.

A reviewer votes on what they see, and a database runs what is there. This module tells where the
two may differ, by the ideas of Unicode's technical standard 39, in four ways: characters that
nobody sees or that turn the reading order, space that is none to SQL, letters that only look like
Latin ones, and signs that only look like quotes, dashes or semicolons.

It knows characters and no SQL. A word of one script is no reason for a warning, in no language; a
word is what stands between spaces, signs and underscores, so ``id_name`` is two. Cases are in
``tests/core/test_suspicious.py``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from nbgov.core.visible import cut, is_plain

WORD_CHARS_MAX = 40
ODD_SHOWN_MAX = 3
# What pushes the rest of a text out of the window in which somebody reads it.
WIDE_GAP = re.compile(r"[ \t]{60,}(?=\S)")
TALL_GAP = re.compile(r"(?:\n[ \t\r]*){10,}(?=\S)")

# What turns the order in which a text reads; Unicode's property Bidi_Control.
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
BREAKS = frozenset("\x0b\x0c\x85\u2028\u2029")

# Scripts that share shapes with Latin, by the first word of their characters' names. Others, such
# as Thai or Japanese, may stand beside Latin in a word, as they do where they are written.
LIKE_LATIN = frozenset({
    "ARMENIAN", "BAMUM", "CANADIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GEORGIAN", "GREEK",
    "LATIN", "LISU", "RUNIC", "TIFINAGH",
})  # fmt: skip

# Letters and digits of living scripts that look like an ASCII one: from confusables.txt of UTS 39
# (Unicode 15), less what NFKC turns into ASCII anyway and what is ordinary in a Latin alphabet.
SHAPES = """
1 06F1
2 03E8 14BF A644 A6EF
3 0417 04E0 2CCC
4 13CE
6 0431 13EE 2CD2
8 09EA 0A6A
9 09ED 0A67 0B68 0D6D 2CCA
A 0391 0410 13AA 15C5 A4EE
B 0392 0412 13F4 15F7 A4D0
C 0421 13DF 2CA4 A4DA
D 13A0 15DE 15EA A4D3
E 0395 0415 13AC 2D39 A4F0
F 03DC 15B4 A4DD
G 050C 13C0 13F3 A4D6
H 0397 041D 13BB 157C 2C8E A4E7
I 0399 0406 04C0 16C1 2C92 2D4F A4F2
J 037F 0408 13AB 148D A4D9
K 039A 041A 13E6 16D5 2C94 A4D7
L 13DE 14AA 2CD0 A4E1
M 039C 03FA 041C 13B7 15F0 16D6 2C98 A4DF
N 039D 2C9A A4E0
O 039F 041E 0555 09E6 0B66 2C9E 2D54 A4F3
P 03A1 0420 13E2 146D 2CA2 A4D1
Q 2D55
R 13A1 13D2 1587 A4E3
S 0405 054F 13D5 13DA A4E2
T 03A4 0422 13A2 2CA6 A4D4
U 054D 144C A4F4
V 0474 06F7 13D9 142F 2D38 A4E6 A6DF
W 051C 13B3 13D4 A4EA
X 03A7 0425 16B7 2CAC 2D5D A4EB
Y 03A5 0423 04AE 13A9 13BD 2CA8 A4EC
Z 0396 13C3 A4DC
a 03B1 0430
b 042C 13CF 1472 15AF
c 0441 2CA5 ABAF
d 0501 13E7 146F A4D2
e 0435 04BD
f 0584
g 0581
h 04BB 0570 13C2
i 03B9 0456 04CF 13A5 A647 AB75
j 03F3 0458
n 0578 057C
o 03BF 03C3 043E 0585 06F5 0966 0A66 0AE6 0BE6 0C66 0CE6 0D66 0E50 0ED0 1040 10FF 2C9F
p 03C1 0440 2CA3
q 051B 0563 0566
r 0433 1D26 2C85 AB81
s 0455 ABAA
u 03C5 057D
v 03BD 0475 ABA9
w 0461 051D 0561 AB83
x 0445 1541 157D
y 03B3 0443 04AF 10E7
z AB93
"""
LOOKS_LIKE = {
    chr(int(odd, 16)): plain
    for plain, *shapes in map(str.split, SHAPES.strip().split("\n"))
    for odd in shapes
}
# Latin letters of phonetic notation; in a name they are there to be taken for others.
PHONETIC = frozenset("\u0251\u0261\u026a\u028f\u1d04\u1d0f\u1d1c\u1d20\u1d21\u1d22\ua731")
# What is ordinary where other scripts are written, such as the full-width comma, is left out.
SIGNS = {
    "'": "\u02b9\u02bb\u02bc\u02bd\u02c8\u0374\u2018\u2019\u201b\u2032\u2035\uff07",
    '"': "\u02ba\u02dd\u201c\u201d\u201f\u2033\u2036\uff02",
    "`": "\u1fef\uff40",
    ";": "\u037e",
    ",": "\u201a",
    "-": "\u02d7\u2010\u2011\u2012\u2013\u2043\u2212\u2796",
    "/": "\u2044\u2215\u29f8",
    "*": "\u204e\u2217",
    "=": "\u2e40\ua78a",
    ".": "\u2024\ua4f8",
    ":": "\u02d0\u2236\ua789",
    "%": "\u2052",
    "!": "\u01c3",
    "|": "\u01c0\u2223",
    "<": "\u02c2\u2039\u276e",
    ">": "\u02c3\u203a\u276f",
}
SIGN_LIKE = {odd: plain for plain, shapes in SIGNS.items() for odd in shapes}
APOSTROPHES = frozenset("\u2019\u02bc\u02bb\u2018\u02b9\u2010\u2011")


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A place of a text that may read as something else.

    Attributes:
        start, end: Where it is, as a half-open range of characters.
        kind: ``turning``, ``hidden``, ``space``, ``unknown``, ``look-alike`` or ``mark``.
        told: What it is, in a sentence; it may hold a word of the text.
    """

    start: int
    end: int
    kind: str
    told: str


def suspicions(text: str, *, is_value: bool = False) -> tuple[Suspicion, ...]:
    r"""Every place of a text that may read as something else, in order.

    Args:
        text: A statement, or a value that is bound to it.
        is_value: Whether it is a value: signs that look like SQL's mean nothing there, and the
            Latin text that it could be mistaken for is in the statement.

    Example:
        >>> [found] = suspicions("DELETE FROM b\u043e\u043ek")
        >>> found.told.partition(": ")[2]
        '\u043e is U+043E CYRILLIC SMALL LETTER O'
    """
    found = [
        *gaps(text),
        *unseen(text),
        *odd_words(text, is_beside_latin=is_value or has_latin(text)),
    ]
    if not is_value:
        found += odd_signs(text)
    return tuple(sorted(found, key=lambda one: (one.start, one.end)))


def place_of(text: str, at: int) -> tuple[int, int]:
    r"""Line and character of a place in a text, counted from one.

    >>> place_of("a\nbc", 3)
    (2, 2)
    """
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def describe(character: str) -> str:
    r"""A character by its number and its name.

    >>> describe("\u202e"), describe("\x00")
    ('U+202E RIGHT-TO-LEFT OVERRIDE', 'U+0000')
    """
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


# ---------------------------------------------------------------- what nobody sees


def gaps(text: str) -> Iterator[Suspicion]:
    """Long stretches of nothing, behind which a text goes on."""
    for gap in WIDE_GAP.finditer(text):
        told = f"{len(gap.group())} spaces in a row, and more behind them"
        yield Suspicion(gap.start(), gap.end(), "space", told)
    for gap in TALL_GAP.finditer(text):
        told = f"{gap.group().count(chr(10))} lines without text, and more behind them"
        yield Suspicion(gap.start(), gap.end(), "space", told)


def unseen(text: str) -> Iterator[Suspicion]:
    """Characters that a person does not see for what they are."""
    for place, character in enumerate(text):
        if character == "\r" and text[place + 1 : place + 2] == "\n":
            continue
        kind, told = unseen_kind(character)
        if not kind and is_loose_mark(text, place):
            kind, told = "mark", "is written over a character that is no letter"
        if kind:
            yield Suspicion(place, place + 1, kind, f"{describe(character)} {told}")


@lru_cache(maxsize=4096)
def unseen_kind(character: str) -> tuple[str, str]:
    """What is odd about a character that cannot be seen; nothing for all others."""
    if character in "\n\t" or is_plain(character):
        return "", ""
    if character in TURNING:
        return "turning", "changes the order in which the text reads"
    if character in BREAKS or character == "\r":
        return "space", "ends a line for some programs and not for others"
    category = unicodedata.category(character)
    if category == "Zs":
        return "space", "is a space that SQL need not take for one"
    if category in {"Cn", "Co", "Cs"}:
        return "unknown", "is no character that everybody knows, and may look like anything"
    return "hidden", "cannot be seen"


def is_loose_mark(text: str, place: int) -> bool:
    """Whether a mark, such as an accent, stands on something else than a letter or a digit."""
    if unicodedata.category(text[place])[0] != "M":
        return False
    return not place or unicodedata.category(text[place - 1])[0] not in "LMN"


# ---------------------------------------------------------------- what looks like something else


def odd_words(text: str, *, is_beside_latin: bool) -> Iterator[Suspicion]:
    """Words whose letters only look like others."""
    for start, end in words(text, 0, len(text)):
        told = odd_word(text[start:end])
        if told:
            yield Suspicion(start, end, "look-alike", told)
    if is_beside_latin:
        yield from whole_words(text)


def odd_word(word: str) -> str:
    """Why one word may be taken for another, or nothing."""
    styled = [c for c in word if c in PHONETIC or is_styled(c)]
    if styled:
        return f"{quoted(word)} holds letters that only look plain: {names(styled)}"
    scripts = {c: script_of(c) for c in word}
    held = sorted({script for script in scripts.values() if script})
    digits = [c for c in word if c in LOOKS_LIKE and not scripts[c]]
    if "LATIN" in held and digits:
        return f"{quoted(word)} mixes Latin with what looks like it: {names(digits)}"
    if len(held) < 2:  # noqa: PLR2004 - two make a mixture
        return ""
    count = {script: sum(scripts[c] == script for c in word) for script in held}
    most = max(held, key=lambda script: (count[script], script == "LATIN"))
    odd = [c for c in word if scripts[c] not in {"", most}]
    others = " and ".join(script.capitalize() for script in held if script != most)
    return f"{quoted(word)} mixes {most.capitalize()} and {others}: {names(odd)}"


def whole_words(text: str) -> Iterator[Suspicion]:
    """Words of another script, all of whose letters look Latin, with nothing near that does not.

    A stretch of text up to the next Latin letter or line is read as one: Russian prose has short
    words that look Latin, and nobody takes them for Latin words there.
    """
    for stretch in re.finditer(r"[^\nA-Za-z]+", text):
        letters = [c for c in stretch.group() if script_of(c) not in {"", "LATIN"}]
        if not letters or not all(c in LOOKS_LIKE for c in letters):
            continue
        for start, end in words(text, stretch.start(), stretch.end()):
            word, is_part = text[start:end], has_latin(text[max(start - 1, 0) : end + 1])
            odd = [c for c in word if c in letters]
            if odd and not is_part and len({script_of(c) for c in odd}) == 1:
                plain = "".join(LOOKS_LIKE.get(c, c) for c in word)
                told = f"{quoted(word)} looks like {quoted(plain)}: {names(odd)}"
                yield Suspicion(start, end, "look-alike", told)


def words(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the words are that are not plain ASCII: letters, digits and the marks upon them."""
    for is_word, places in groupby(range(start, end), lambda place: is_wordy(text[place])):
        inside = list(places)
        if is_word and not text[inside[0] : inside[-1] + 1].isascii():
            yield inside[0], inside[-1] + 1


def is_wordy(character: str) -> bool:
    """Whether a character is part of a word."""
    return character.isalnum() or unicodedata.category(character)[0] == "M"


def odd_signs(text: str) -> Iterator[Suspicion]:
    """Signs that look like ones that mean something in SQL, unless they join two letters."""
    for place, character in enumerate(text):
        plain = SIGN_LIKE.get(character)
        if plain is None:
            continue
        around = text[place - 1 : place] + text[place + 1 : place + 2]
        if character in APOSTROPHES and len(around) == 2 and around.isalpha():  # noqa: PLR2004
            continue
        told = f"{describe(character)} looks like {plain}, and means nothing in SQL"
        yield Suspicion(place, place + 1, "look-alike", told)


@lru_cache(maxsize=4096)
def is_styled(character: str) -> bool:
    """Whether a letter or digit is another form of an ASCII one: full-width, bold, a ligature."""
    if character.isascii() or unicodedata.category(character)[0] not in "LN":
        return False
    tag = unicodedata.decomposition(character).partition(" ")[0]
    form = unicodedata.normalize("NFKC", character)
    is_form = tag in {"<wide>", "<font>", "<compat>"} or not tag.startswith("<")
    return is_form and form.isascii() and form.isalnum()


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The script of a letter among those that share shapes with Latin, or nothing."""
    if not character.isalpha():
        return ""
    script = unicodedata.name(character, "").partition(" ")[0]
    return script if script in LIKE_LATIN else ""


def has_latin(text: str) -> bool:
    """Whether a text has a Latin letter."""
    return re.search("[A-Za-z]", text) is not None


def quoted(word: str) -> str:
    """A word as part of a sentence."""
    return f"“{cut(word, WORD_CHARS_MAX)}”"


def names(characters: list[str]) -> str:
    """Each character once with its name, the first few of many."""
    once = list(dict.fromkeys(characters))
    told = [f"{c} is {describe(c)}" for c in once[:ODD_SHOWN_MAX]]
    more = len(once) - ODD_SHOWN_MAX
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")
