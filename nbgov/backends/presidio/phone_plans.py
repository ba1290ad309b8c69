"""Which digits are a valid telephone number: ``phonenumbers``' verdict, on strings of digits.

``phonenumbers.parse`` and ``phonenumbers.is_valid_number`` build an object, copy it and match many
expressions for each candidate and region. What they decide is a function of digits and of the
metadata alone, so it is written here as such: one compiled expression for each length of number.
Each function names the one of ``phonenumbers.phonenumberutil`` that it is equal to. What a
candidate is and how its digits are read is the business of ``phone_candidates``.

The metadata come from ``phonenumbers.PhoneMetadata``. If they hold something that the reasons given
here do not cover, LayoutUnknown is raised and the library is asked instead. The differential tests
are in ``tests/backends/test_phones.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import NumberFormat, PhoneMetadata

KINDS = (
    "premium_rate",
    "toll_free",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "fixed_line",
    "mobile",
)
"""The kinds of numbers that ``_number_type_helper`` knows; a number is valid if it is any."""

NATIONAL_DIGITS_MIN, NATIONAL_DIGITS_MAX = 2, 17
"""``parse`` refuses a national number of any other length."""

CALLING_CODE_DIGITS_MAX = 3
NOTHING = re.compile("(?!)")
CAPTURES = re.compile(r"\((?!\?:)|\\[^d]")
"""A group that captures, or anything escaped but a digit: alternatives of it cannot be joined."""

TRANSFORMS = re.compile(r"\d*\\[1-9]")
"""A rule that puts digits before one group: it adds just these to what was dialled."""

FIRST_GROUP_ONLY = re.compile(r"\(?\\1\)?")
"""``_formatting_rule_has_first_group_only``: the national prefix is not written."""


class LayoutUnknown(Exception):
    """This version of phonenumbers is not the one that the short cuts are proven for."""


class Plan:
    """The numbering plan of one region: its metadata as compiled expressions.

    Attributes:
        metadata: What the library knows of the region.
        calling_code: The country calling code, as digits.
        lengths: Lengths of the valid numbers of any kind.
        growth: How many digits taking off the national prefix can add (``0549`` in San Marino).
    """

    def __init__(self, metadata: PhoneMetadata) -> None:
        general = metadata.general_desc
        if general is None or not general.possible_length:
            raise LayoutUnknown(f"the plan of {metadata.id} names no possible length")
        self.metadata = metadata
        self.general_pattern = general.national_number_pattern or ""
        self.calling_code = str(metadata.country_code)
        self.possible = frozenset(general.possible_length)
        self.local = frozenset(general.possible_length_local_only or ())
        self.longest = general.possible_length[-1]
        self.patterns = dict(patterns_by_length(metadata, general.possible_length))
        self.lengths = frozenset(self.patterns)
        transform = metadata.national_prefix_transform_rule
        prefix = metadata.national_prefix_for_parsing or ""
        if transform and not (TRANSFORMS.fullmatch(transform) and CAPTURES.search(prefix)):
            raise LayoutUnknown(f"the plan of {metadata.id} rewrites numbers in an unknown way")
        self.transform = transform or ""
        self.growth = len(transform) - len(r"\1") if transform else 0

    @cached_property
    def general(self) -> re.Pattern[str]:
        """The pattern of all its numbers."""
        return re.compile(self.general_pattern) if self.general_pattern else NOTHING

    @cached_property
    def prefix(self) -> re.Pattern[str]:
        """The national prefix, perhaps with a carrier code, in front of a dialled number."""
        pattern = self.metadata.national_prefix_for_parsing
        return re.compile(pattern) if pattern else NOTHING

    @cached_property
    def international_prefix(self) -> re.Pattern[str]:
        """What one dials before a country calling code."""
        pattern = self.metadata.international_prefix
        return NOTHING if pattern is None else re.compile(pattern)

    @cached_property
    def marked(self) -> re.Pattern[str]:
        """Whether digits may begin with an international prefix, the calling code or a prefix."""
        marks = (self.international_prefix.pattern, self.calling_code, self.prefix.pattern)
        return re.compile("|".join(f"(?:{mark})" for mark in marks))

    @cached_property
    def formats(self) -> tuple[Format, ...]:
        """How its numbers are written; nothing if none of them asks for the national prefix."""
        formats = tuple(Format(found) for found in self.metadata.number_format)
        return formats if any(found.asks_for_prefix for found in formats) else ()

    @property
    def rules(self) -> tuple[object, ...]:
        """All that the verdict rests on: regions with equal rules share every verdict."""
        of = self.metadata
        return (
            self.calling_code,
            self.general_pattern,
            self.possible,
            self.local,
            of.national_prefix_for_parsing,
            self.transform,
            of.international_prefix,
        )

    def holding(self, length: int) -> str:
        """Return an expression for its valid numbers of a length, as ``_number_type_helper`` tells.

        The library tries kind after kind, and each only for its own lengths. Whether any of them
        matches is the same question to the alternation of those with this length.
        """
        kinds = "|".join(dict.fromkeys(self.patterns[length]))
        return rf"(?=(?:{self.general.pattern})\Z)(?:{kinds})\Z"

    def is_too_long(self, digits: str) -> bool:
        """Say whether ``_test_number_length`` answers TOO_LONG."""
        return len(digits) > self.longest and len(digits) not in self.local

    def without_prefix(self, number: str) -> tuple[str, bool]:
        """Take off the national prefix, as ``_maybe_strip_national_prefix_carrier_code`` does.

        Returns:
            The number without it, and whether there was one.
        """
        dialled = self.prefix.match(number)
        if dialled is None or not number:
            return number, False
        rest = number[dialled.end() :]
        if self.transform and dialled.group(dialled.re.groups) is not None:
            # The prefix matches at the start, so this is what re.sub with a count of one returns.
            rest = dialled.expand(self.transform) + rest
        if self.general.fullmatch(number) and not self.general.fullmatch(rest):
            return number, False
        return rest, True

    def national(self, number: str) -> str:
        """Return the national number, as the last step of ``parse`` does.

        The prefix stays if the rest has a length of local numbers, or of none.
        """
        rest, _ = self.without_prefix(number)
        size = len(rest)
        is_kept = size not in self.local and (size in self.possible or size > self.longest)
        return rest if is_kept else number

    def needs_prefix(self, number: str) -> bool:
        """Say whether people write a number with its national prefix.

        This is what ``_is_national_prefix_present_if_required`` asks of the first format that fits
        (``_choose_formatting_pattern_for_number``).
        """
        for found in self.formats:
            if found.fits(number):
                return found.asks_for_prefix
        return False


class Format:
    """One way to write the numbers of a region."""

    def __init__(self, source: NumberFormat) -> None:
        leading = source.leading_digits_pattern
        self.leading = re.compile(leading[-1]) if leading else None
        self.pattern = re.compile(source.pattern or "")
        rule = source.national_prefix_formatting_rule
        self.asks_for_prefix = bool(
            rule
            and not source.national_prefix_optional_when_formatting
            and not FIRST_GROUP_ONLY.fullmatch(rule)
        )

    def fits(self, number: str) -> bool:
        """Say whether a number is written this way."""
        begins = self.leading is None or self.leading.match(number) is not None
        return begins and self.pattern.fullmatch(number) is not None


class Plans:
    """The numbering plans of the world.

    Attributes:
        by_region: The plan of each region that ``phonenumbers`` supports.
        by_calling_code: The plans that share a calling code; the main region's comes first.
        international_digits_min: Digits of the shortest valid number, its calling code included.
    """

    def __init__(self) -> None:
        import phonenumbers

        phonenumbers.PhoneMetadata.load_all()
        self.by_region: dict[str, Plan] = {}
        self.by_calling_code: dict[str, tuple[Plan, ...]] = {}
        self.valid: dict[tuple[str, int], re.Pattern[str]] = {}
        for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
            plans = tuple(plan_of(code, region) for region in regions)
            self.by_calling_code[str(code)] = plans
            if len(plans) > 1 or regions[0] in phonenumbers.SUPPORTED_REGIONS:
                self.by_region.update(zip(regions, plans, strict=True))
        if self.by_region.keys() != phonenumbers.SUPPORTED_REGIONS:
            raise LayoutUnknown("the regions and the calling codes of phonenumbers differ")
        self.international_digits_min = min(
            len(code) + shortest(plans) - plans[0].growth
            for code, plans in self.by_calling_code.items()
        )

    def digits_min(self, plan: Plan) -> int:
        """Return the number of digits below which nothing dialled in a region is a valid number.

        A prefix is taken off with the region's plan, and once more with it or with the main one;
        each time that can add digits. An international prefix has one digit at least.
        """
        plans = self.by_calling_code[plan.calling_code]
        growth = plan.growth + max(plan.growth, plans[0].growth)
        fewest = min(shortest(plans) - growth, self.international_digits_min + 1)
        return max(fewest, NATIONAL_DIGITS_MIN)

    def calls(self, digits: str) -> bool | None:
        """Say whether digits after a plus or an international prefix are a valid number.

        Equal to ``_extract_country_code`` and what follows. The region from which one calls does
        not matter here.

        Returns:
            None if they begin with no calling code.
        """
        if len(digits) <= NATIONAL_DIGITS_MIN:
            return False
        for size in range(1, CALLING_CODE_DIGITS_MAX + 1):
            code = digits[:size]
            if code in self.by_calling_code:
                main = self.by_calling_code[code][0]
                return self.is_valid(code, number_in(main, digits[size:]))
        return None

    def dials(self, digits: str, dialled: str, plan: Plan) -> bool:
        """Say whether digits without a plus, dialled in a region, are a valid number.

        Equal to ``_maybe_extract_country_code``, the rest of ``parse``, ``is_valid_number`` and
        ``_is_national_prefix_present_if_required``.

        Args:
            digits: The digits without an extension.
            dialled: All the digits.
            plan: The plan of the region.
        """
        code = plan.calling_code
        plans = self.by_calling_code[code]
        number = digits
        if plan.marked.match(digits):
            abroad = plan.international_prefix.match(digits)
            if abroad is not None and digits[abroad.end() : abroad.end() + 1] != "0":
                return bool(self.calls(digits[abroad.end() :]))
            if digits.startswith(code):
                rest, _ = plan.without_prefix(digits[len(code) :])
                is_better = plan.general.fullmatch(rest) and not plan.general.fullmatch(digits)
                if is_better or plan.is_too_long(digits):
                    return self.is_valid(code, number_in(plans[0], rest))
            number = number_in(plan, digits)
        return self.is_valid(code, number) and (
            not plans[0].needs_prefix(number) or plans[0].without_prefix(dialled)[1]
        )

    def is_valid(self, code: str, number: str) -> bool:
        """Say whether a national number is valid under a calling code: ``is_valid_number``."""
        key = code, len(number)
        if key not in self.valid:
            self.valid[key] = valid_numbers(self.by_calling_code[code], len(number))
        return self.valid[key].match(number) is not None


@cache
def world() -> Plans:
    """Return the plans, read once in a process.

    Raises:
        LayoutUnknown: This version of phonenumbers describes them in another way.
    """
    try:
        return Plans()
    except (AttributeError, KeyError, TypeError, re.error) as error:
        raise LayoutUnknown(
            f"the metadata of phonenumbers differ ({type(error).__name__})"
        ) from None


def plan_of(code: int, region: str) -> Plan:
    """Return the plan of a region, or of a calling code that belongs to none."""
    import phonenumbers

    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if metadata is None or metadata.country_code != code:
        raise LayoutUnknown(f"phonenumbers has no plan of {region} for +{code}")
    return Plan(metadata)


def patterns_by_length(
    metadata: PhoneMetadata, possible: Iterable[int]
) -> Iterator[tuple[int, list[str]]]:
    """Yield, for each length, the patterns of the kinds of numbers that may have it.

    The patterns of mobile numbers are left out where they equal those of fixed lines, as
    ``_number_type_helper`` does: the two may still differ in their lengths.
    """
    kinds = [
        description
        for name in KINDS
        if (description := getattr(metadata, name)) is not None
        and description.national_number_pattern
        and not (name == "mobile" and metadata.same_mobile_and_fixed_line_pattern)
    ]
    general = metadata.general_desc
    for pattern in (
        metadata.leading_digits,
        *(of.national_number_pattern for of in (general, *kinds) if of is not None),
    ):
        if pattern and CAPTURES.search(pattern):
            raise LayoutUnknown(f"the plan of {metadata.id} has patterns of an unknown kind")
    for length in possible:
        fitting = [
            description.national_number_pattern
            for description in kinds
            if not description.possible_length or length in description.possible_length
        ]
        if fitting:
            yield length, fitting


def valid_numbers(plans: tuple[Plan, ...], length: int) -> re.Pattern[str]:
    """Return one expression for the valid numbers of a length under one calling code.

    ``_region_code_for_number_from_list`` asks region after region. It settles on the first whose
    leading digits fit, even if the number is not valid there; one that names no leading digits is
    asked whether the number is valid. With a single region, leading digits play no part.
    """
    alternatives, settled = [], ""
    for plan in plans:
        leading = plan.metadata.leading_digits if len(plans) > 1 else None
        begins = "" if leading is None else f"(?={leading})"
        if length in plan.lengths:
            alternatives.append(settled + begins + plan.holding(length))
        if leading is not None:
            settled += f"(?!{leading})"
    return re.compile("|".join(alternatives)) if alternatives else NOTHING


def shortest(plans: tuple[Plan, ...]) -> int:
    """Return the length of the shortest valid national number under one calling code."""
    return min(min(plan.lengths, default=NATIONAL_DIGITS_MAX) for plan in plans)


def number_in(plan: Plan, digits: str) -> str:
    """Return the national number that ``parse`` makes of digits; none if it refuses their length.

    No plan holds an empty number, so a refusal and an invalid number are one answer.
    """
    if len(digits) < NATIONAL_DIGITS_MIN:
        return ""
    number = plan.national(digits)
    return number if NATIONAL_DIGITS_MIN <= len(number) <= NATIONAL_DIGITS_MAX else ""
