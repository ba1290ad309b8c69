"""Where ``phonenumbers.PhoneNumberMatcher`` looks for numbers in a text, and what digits it reads.

None of this depends on a region: the matcher repeats it for each of them. It is done once here,
with the library's own compiled expressions and functions, so that what they mean is not written
twice. Whether the digits are a number is the business of ``phone_plans``.

The library's names are private to it. One that is missing, or an expression that is not the one
that the reasons below were given for, raises LayoutUnknown, and the library is asked instead.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

from nbgov.backends.presidio.phone_plans import LayoutUnknown

GRAMMAR_DIGEST_HEX = "38b1949c118befbe1c6f0a278a1e937c7a6e6afb49b2f33fbac7c81dff895a7a"
"""The digest of the expressions of phonenumbers that the reasons in this module rest on."""

DIGIT = re.compile(r"\d")

LEAD_MAX = 10
"""Characters before the first digit of a candidate: two brackets or pluses, each with at most four
of punctuation (``_LEAD_LIMIT`` and ``_PUNCTUATION_LIMIT``)."""

PLAIN = re.compile(r"([(\[]*\+)?[0-9 ().\-/\[\]]+")
"""A candidate with nothing but ASCII digits, punctuation, and a plus in front.

``parse`` finds no extension in it (each has a letter, ``#``, ``~``, a comma or a semicolon), and
its normal form is its digits. With three digits or more it is viable.
"""

PLAIN_DIGITS_MIN = 3
PUNCTUATION = {ord(character): None for character in " ().-/[]+"}
PLACEHOLDERS = re.compile("[xX]{2}")
X = re.compile("[xX]")
LETTER = re.compile("[A-Za-z]")
OTHER = re.compile("[^0-9]")


class Reading(NamedTuple):
    """What ``parse`` reads in a candidate, whatever the region.

    Attributes:
        digits: The digits after the plus sign and before the extension.
        dialled: All the digits.
        is_international: A plus sign stands in front.
        is_plain: The digits say it all; for the others the library has to be asked.
    """

    digits: str
    dialled: str
    is_international: bool
    is_plain: bool = True


class Grammar:
    """The library's own expressions and functions by which it finds and reads candidates.

    Attributes:
        tries_max: The candidates that turn out to be no number after which the matcher gives up.
        verify: The library's verdict on a parsed number at a leniency.
    """

    def __init__(self) -> None:
        matcher = importlib.import_module("phonenumbers.phonenumbermatcher")
        parser = importlib.import_module("phonenumbers.phonenumberutil")
        self.candidate = pattern(matcher, "_PATTERN")
        self.brackets = pattern(matcher, "_MATCHING_BRACKETS")
        self.pages = pattern(matcher, "_PUB_PAGES")
        self.dates = pattern(matcher, "_SLASH_SEPARATED_DATES")
        self.time_stamps = pattern(matcher, "_TIME_STAMPS")
        self.minutes = pattern(matcher, "_TIME_STAMPS_SUFFIX")
        self.lead = pattern(matcher, "_LEAD_PATTERN")
        self.inner = tuple(matcher._INNER_MATCHES)  # noqa: SLF001 - see the docstring of the module
        self.second_number = pattern(parser, "_SECOND_NUMBER_START_PATTERN")
        self.unwanted_end = pattern(parser, "_UNWANTED_END_CHAR_PATTERN")
        self.plus = pattern(parser, "_PLUS_CHARS_PATTERN")
        self.extract = function(parser, "_build_national_number_for_parsing")
        self.is_viable = function(parser, "_is_viable_phone_number")
        self.strip_extension = function(parser, "_maybe_strip_extension")
        self.normalize = function(parser, "_normalize")
        self.ascii_digits = function(parser, "normalize_digits_only")
        self.is_symbol = function(matcher.PhoneNumberMatcher, "_is_invalid_punctuation_symbol")
        self.is_letter = function(matcher.PhoneNumberMatcher, "_is_latin_letter")
        self.verify = function(matcher, "_verify")
        self.refusal = parser.NumberParseException
        self.input_max = int(parser._MAX_INPUT_STRING_LENGTH)  # noqa: SLF001
        self.tries_max = self.defaults(matcher.PhoneNumberMatcher)
        if self.digest_hex() != GRAMMAR_DIGEST_HEX:
            raise LayoutUnknown("phonenumbers has another grammar of candidates")
        self.glues = lru_cache(maxsize=4096)(self.is_glue)

    def digest_hex(self) -> str:
        """Return the digest of all the library's expressions, in the order of their names."""
        named = sorted((name, value) for name, value in vars(self).items() if name != "inner")
        expressions = [value for _, value in named if isinstance(value, re.Pattern)]
        text = repr([(found.pattern, found.flags) for found in (*expressions, *self.inner)])
        return hashlib.sha256(text.encode()).hexdigest()

    def defaults(self, matcher: type) -> int:
        """Return how often a matcher tries; its other defaults must be the known ones."""
        parameters = inspect.signature(matcher).parameters
        found = {name: parameter.default for name, parameter in parameters.items()}
        if found.keys() != {"text", "region", "leniency", "max_tries", "min_candidate_length"}:
            raise LayoutUnknown("PhoneNumberMatcher takes other parameters")
        if found["min_candidate_length"] != 1:
            raise LayoutUnknown("PhoneNumberMatcher leaves out short candidates")
        return int(found["max_tries"])

    def is_glue(self, character: str) -> bool:
        """Say whether a character beside a candidate means that it is no number."""
        return bool(self.is_symbol(character) or self.is_letter(character))

    def next(self, text: str, index: int) -> tuple[int, str] | None:
        """Return the start and the text of the next candidate, as ``_find`` takes it.

        The expression for candidates is tried only shortly before a digit: each holds one, and at
        most ``LEAD_MAX`` characters stand before its first.
        """
        digit = DIGIT.search(text, index)
        if digit is None:
            return None
        found = self.candidate.search(text, max(index, digit.start() - LEAD_MAX))
        if found is None:
            return None
        candidate = found.group()
        second = self.second_number.search(candidate)
        return found.start(), candidate[: second.start()] if second else candidate

    def is_date(self, text: str, start: int, candidate: str) -> bool:
        """Say whether ``_extract_match`` takes a candidate for a date or a time stamp."""
        if "/" in candidate and self.dates.search(candidate):
            return True
        stamp = " " in candidate and self.time_stamps.search(candidate)
        return bool(stamp and self.minutes.match(text, start + len(candidate)))

    def inner_candidates(self, start: int, candidate: str) -> Iterator[tuple[int, str]]:
        """Yield what ``_extract_inner_match`` tries within a candidate, in its order.

        All its separators are punctuation, so digits alone have no parts.
        """
        if candidate.isdecimal():
            return
        for separator in self.inner:
            found = separator.search(candidate)
            if found:
                yield start, self.trimmed(candidate[: found.start()])
            while found:
                yield start + found.start(1), self.trimmed(found.group(1))
                found = separator.search(candidate, found.start() + 1)

    def trimmed(self, piece: str) -> str:
        """Return a piece without the punctuation at its end."""
        if piece[-1:].isalnum():
            return piece
        end = self.unwanted_end.search(piece)
        return piece[: end.start()] if end else piece

    def stands_alone(self, text: str, start: int, candidate: str) -> bool:
        """Say whether ``_parse_and_verify`` would parse a candidate, by its form and place."""
        end = start + len(candidate)
        if start and not self.lead.match(candidate) and self.glues(text[start - 1]):
            return False
        if end < len(text) and self.glues(text[end]):
            return False
        return bool(self.brackets.fullmatch(candidate)) and not self.pages.search(candidate)

    def read(self, candidate: str) -> Reading | None:
        """Return what ``parse`` reads in a candidate; None if it refuses it in every region."""
        if len(candidate) > self.input_max:
            return None
        plain = PLAIN.fullmatch(candidate)
        if plain is not None:
            digits = candidate.translate(PUNCTUATION)
            if len(digits) >= PLAIN_DIGITS_MIN:
                return Reading(digits, digits, is_international=plain.group(1) is not None)
        return self.read_slowly(candidate)

    def read_slowly(self, candidate: str) -> Reading | None:
        """Read a candidate with the library's own functions, in the order of ``parse``."""
        try:
            number = self.extract(candidate)
        except self.refusal:
            return None
        if not self.is_viable(number):
            return None
        extension, number = self.strip_extension(number)
        if PLACEHOLDERS.search(candidate):
            # They may stand for a carrier code, which takes the parsed number to tell.
            return Reading("", "", is_international=False, is_plain=False)
        if not self.extends(candidate, extension):
            return None
        plus = self.plus.match(number)
        digits = self.normalized(number[plus.end() :] if plus else number)
        return Reading(digits, self.digits_in(candidate), is_international=plus is not None)

    def normalized(self, number: str) -> str:
        """Return the digits of a number, letters on a keypad counted: ``_normalize``."""
        return self.normalize(number) if LETTER.search(number) else self.digits_in(number)

    def digits_in(self, text: str) -> str:
        """Return the decimal digits of a text in ASCII: ``normalize_digits_only``."""
        return OTHER.sub("", text) if text.isascii() else self.ascii_digits(text)

    def extends(self, candidate: str, extension: str) -> bool:
        """Say whether each ``x`` stands before the extension: ``_contains_only_valid_x_chars``."""
        return all(
            self.digits_in(candidate[found.start() :]) == (extension or None)
            for found in X.finditer(candidate, 0, len(candidate) - 1)
        )


@cache
def grammar() -> Grammar:
    """Return the library's grammar, looked up once in a process.

    Raises:
        LayoutUnknown: This version of phonenumbers has another one.
    """
    try:
        return Grammar()
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise LayoutUnknown(f"phonenumbers lacks a part ({error})") from None


def pattern(owner: Any, name: str) -> re.Pattern[str]:
    """Return a compiled expression of the library."""
    found = getattr(owner, name)
    if not isinstance(found, re.Pattern):
        raise LayoutUnknown(f"{name} of phonenumbers is no compiled expression")
    return found


def function(owner: Any, name: str) -> Callable[..., Any]:
    """Return a function of the library."""
    found = getattr(owner, name)
    if not callable(found):
        raise LayoutUnknown(f"{name} of phonenumbers is no function")
    return found  # type: ignore[no-any-return]
