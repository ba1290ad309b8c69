"""Which of Presidio's pattern recognizers have to be asked about which values.

A recognizer is asked about a value only if the value holds what each of its matches must hold. That
condition is derived from the recognizer's own patterns; where it cannot be derived, the recognizer
is asked. So nothing is missed. The differential tests are in ``tests/backends/test_detector.py``.
"""

from __future__ import annotations

import copy
import importlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, reduce
from operator import and_
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Question = tuple[Any, npt.NDArray[np.intp]]
"""One of Presidio's recognizers, and the indices of the values to ask it about."""

DIGIT, PLUS, OTHER = "digit", "plus", "other"
COUNTED = {
    DIGIT: r"[0-9]|[^\x00-\x7f]",
    PLUS: r"[+]|[^\x00-\x7f]",
    "@": "@",
    ".": r"\.",
    ":": ":",
}
"""Characters that are counted in each value, as regexes.

One beyond ASCII counts as a digit and as a plus sign: a pattern's ``d`` class means every decimal
digit of Unicode, and two libraries may know two versions of Unicode.
"""

INTERNATIONAL_DIGITS_MIN = 5
"""Digits of the shortest valid number of any country, its country code included."""


def questions(recognizers: Iterable[Any], values: pa.LargeStringArray) -> Iterator[Question]:
    """Yield which recognizer has to be asked about which values.

    Args:
        recognizers: Recognizers of Presidio that need no language model.
        values: Non-null strings.

    Yields:
        Each recognizer with the values that it may find something in. A recognizer of telephone
        numbers comes as several, each with the regions that so many digits can belong to.
    """
    from presidio_analyzer.predefined_recognizers import PhoneRecognizer

    counts = {
        name: pc.count_substring_regex(values, pattern=pattern).to_numpy()
        for name, pattern in COUNTED.items()
    }
    for recognizer in recognizers:
        if type(recognizer) is PhoneRecognizer and recognizer.leniency:
            yield from phone_questions(recognizer, counts[DIGIT], counts[PLUS] > 0)
        else:
            wanted = np.ones(len(values), dtype=bool)
            for name, least in least_held(recognizer).items():
                wanted &= counts[name] >= least
            yield recognizer, np.flatnonzero(wanted)


# What each match of a pattern must hold.


def least_held(recognizer: Any) -> Counter[str]:
    """How many characters of each counted kind every match of a recognizer holds at least."""
    from presidio_analyzer import PatternRecognizer
    from presidio_analyzer.predefined_recognizers import IbanRecognizer

    # A recognizer with a search of its own may read the text otherwise than its patterns say.
    if type(recognizer).analyze not in {PatternRecognizer.analyze, IbanRecognizer.analyze}:
        return Counter()
    return reduce(and_, (least_in_regex(pattern.regex) for pattern in recognizer.patterns))


@cache
def least_in_regex(pattern: str) -> Counter[str]:
    r"""The same for the text of one regex; empty where the text is not understood.

    Example:
        >>> sorted(least_in_regex(r"\b[0-9]{3}(-|:)?\d{2}@").items())
        [('@', 1), ('digit', 5)]
        >>> least_in_regex(r"\p{Nd}+")
        Counter()
    """
    # The regex module reads "{e<=1}" as "with at most one error", the parser below as plain text.
    if re.search(r"\{[^{}]*[a-z][^{}]*\}", pattern):
        return Counter()
    try:
        with warnings.catch_warnings(action="error"):
            parsed = importlib.import_module("re._parser").parse(pattern)
    except (ImportError, re.error, FutureWarning):  # The warning says that "[[" is ambiguous.
        return Counter()
    return least_in_tree(parsed)


def least_in_tree(tree: Iterable[tuple[Any, Any]]) -> Counter[str]:
    """The same for a parsed regex: sums over sequences, minima over alternatives."""
    total: Counter[str] = Counter()
    for operation, argument in tree:
        match str(operation):
            case "LITERAL":
                total[kind_of(argument, argument)] += 1
            case "IN":
                kinds = {kind_of_member(*member) for member in argument}
                total[kinds.pop() if len(kinds) == 1 else OTHER] += 1
            case "BRANCH":
                total += reduce(and_, map(least_in_tree, argument[1]))
            case "SUBPATTERN":
                total += least_in_tree(argument[-1])
            case "ATOMIC_GROUP":
                total += least_in_tree(argument)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                repeats, _, body = argument
                total += Counter({k: n * repeats for k, n in least_in_tree(body).items()})
            case _:
                pass  # An anchor, a lookaround or a back-reference promises no character.
    del total[OTHER]
    return total


def kind_of_member(operation: Any, argument: Any) -> str:
    """The counted kind that one member of a character set belongs to."""
    match str(operation):
        case "LITERAL":
            return kind_of(argument, argument)
        case "RANGE":
            return kind_of(*argument)
        case "CATEGORY":
            return DIGIT if str(argument) == "CATEGORY_DIGIT" else OTHER
        case _:
            return OTHER


def kind_of(first: int, last: int) -> str:
    """The counted kind that a range of characters belongs to."""
    if ord("0") <= first <= last <= ord("9"):
        return DIGIT
    return chr(first) if first == last and chr(first) in COUNTED else OTHER


# Telephone numbers: the library searches once for each region, so regions are what to save.


def phone_questions(
    recognizer: Any, digits: npt.NDArray[Any], has_plus: npt.NDArray[np.bool_]
) -> Iterator[Question]:
    """Ask for the regions that a value with so many digits can hold a number of.

    Without a plus sign a number belongs to the region that is asked for, or follows that region's
    prefix for calls abroad. A region that the library does not know matches only with a plus sign.
    """
    least = {region: region_digits_min(region) for region in recognizer.supported_regions}
    levels = sorted({n for n in least.values() if n is not None})
    reached = np.searchsorted(levels, digits, side="right")
    for rank, level in enumerate(levels, start=1):
        narrowed = copy.copy(recognizer)
        narrowed.supported_regions = tuple(
            region for region, n in least.items() if n is not None and n <= level
        )
        yield narrowed, np.flatnonzero(~has_plus & (reached == rank))
    shortest = min([*levels, INTERNATIONAL_DIGITS_MIN])
    yield recognizer, np.flatnonzero(has_plus & (digits >= shortest))


@cache
def region_digits_min(region: str) -> int | None:
    """Digits of the shortest number without a plus sign in a region; ``None`` if it is unknown."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    metadata: Any = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:
        return None
    # Regions share country codes, and the library accepts a number of any of them.
    siblings = COUNTRY_CODE_TO_REGION_CODE[metadata.country_code]
    prefix = least_in_regex(metadata.international_prefix or "")[DIGIT]
    return min(*map(national_digits_min, siblings), prefix + INTERNATIONAL_DIGITS_MIN)


def national_digits_min(region: str) -> int:
    """Digits of the shortest number of a region, less those that the library may add itself."""
    from phonenumbers import PhoneMetadata

    metadata: Any = PhoneMetadata.metadata_for_region(region)
    added = re.sub(r"\\\d", "", metadata.national_prefix_transform_rule or "")
    lengths: tuple[int, ...] = metadata.general_desc.possible_length
    return min(n for n in lengths if n > 0) - len(added)
