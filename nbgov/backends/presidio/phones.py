"""The telephone numbers in a text: exactly those of phonenumbers' matcher in any of some regions.

Presidio's PhoneRecognizer runs ``PhoneNumberMatcher`` over the whole text once for each region.
Where it looks, what it leaves out as a date, and which digits it reads depend on no region, so this
is done once (``phone_candidates``); only the verdict on the digits is taken for each of them
(``phone_plans``). What is not covered by these goes to the library itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nbgov.backends.presidio.phone_candidates import Grammar, Reading, grammar
from nbgov.backends.presidio.phone_plans import LayoutUnknown, Plan, Plans, world

Span = tuple[int, int]
VALID = 1
"""``phonenumbers.Leniency.VALID``, PhoneRecognizer's own leniency."""

TRIES_A_CHARACTER = 4
"""A candidate is tried once, and its pieces at most so often for each of its separators.

A space begins at most one piece of two of the kinds of separators, and each kind that occurs has
one piece more, before its first. All other separators begin pieces of one kind.
"""


class Piece(NamedTuple):
    """A candidate, or a part of one, that a region may take for a number.

    Attributes:
        span: Where it stands in the text.
        text: What stands there.
        reading: Its digits.
        verdict: The answer, if it is the same in every region.
    """

    span: Span
    text: str
    reading: Reading
    verdict: bool | None


class PhoneFinder:
    """Finds telephone numbers as ``phonenumbers.PhoneNumberMatcher`` does, for all regions at once.

    Attributes:
        digits_min: A text with fewer decimal digits, those of all scripts counted, holds no number.
        reason: Why the library itself is asked about every text; empty if it is not.

    Args:
        regions: Regions as PhoneRecognizer takes them, such as ``US``.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        self.regions = tuple(regions)
        self.reason = ""
        self.digits_min = 0
        try:
            self.grammar: Grammar = grammar()
            self.plans: Plans = world()
        except LayoutUnknown as unknown:
            self.reason = str(unknown)
            return
        known = [self.plans.by_region[name] for name in regions if name in self.plans.by_region]
        self.distinct = tuple({plan.rules: plan for plan in known}.values())
        self.others = tuple(name for name in regions if name not in self.plans.by_region)
        self.fewest = {plan: self.plans.digits_min(plan) for plan in self.distinct}
        self.digits_min = min(self.fewest.values(), default=self.plans.international_digits_min)
        if self.others:
            self.digits_min = min(self.digits_min, self.plans.international_digits_min)

    def find(self, text: str) -> set[Span]:
        """Return where the numbers of any region stand in a text.

        Equal to the union over the regions of the spans that ``PhoneNumberMatcher(text, region,
        leniency=1)`` yields. Each region has a place of its own in the text, as the matcher goes
        on after the number that it found or after the candidate that was none.
        """
        if self.reason:
            return self.asked(text, self.regions)
        found = self.asked(text, self.others) if self.others else set()
        waiting = {0: list(self.distinct)}
        tries = 0
        while waiting:
            index = min(waiting)
            plans = waiting.pop(index)
            place = self.grammar.next(text, index)
            if place is None:
                continue
            start, candidate = place
            tries += TRIES_A_CHARACTER * len(candidate)
            if tries >= self.grammar.tries_max:
                return self.asked(text, self.regions)
            for piece in self.pieces(text, start, candidate):
                taken = [plan for plan in plans if self.is_number(piece, plan)]
                if taken:
                    found.add(piece.span)
                    waiting.setdefault(piece.span[1], []).extend(taken)
                    plans = [plan for plan in plans if plan not in taken]
                    if not plans:
                        break
            else:
                waiting.setdefault(start + len(candidate), []).extend(plans)
        return found

    def pieces(self, text: str, start: int, candidate: str) -> Iterator[Piece]:
        """Yield a candidate, then its parts in the library's order, without what no region takes.

        A region takes the first that is a number there. One that comes again is no other answer.
        """
        if self.grammar.is_date(text, start, candidate):
            return
        whole = self.piece(text, start, candidate)
        if whole is not None:
            yield whole
        for place, part in dict.fromkeys(self.grammar.inner_candidates(start, candidate)):
            piece = self.piece(text, place, part)
            if piece is not None:
                yield piece

    def piece(self, text: str, start: int, part: str) -> Piece | None:
        """Read a part of a text; None if it can be no number, whatever the region."""
        if len(part) < self.digits_min:
            return None
        reading = self.grammar.read(part)
        if reading is None or (reading.is_plain and len(reading.digits) < self.digits_min):
            return None
        if not self.grammar.stands_alone(text, start, part):
            return None
        is_called = reading.is_plain and reading.is_international
        verdict = self.plans.calls(reading.digits) if is_called else None
        if verdict is False:
            return None
        return Piece((start, start + len(part)), part, reading, verdict)

    def is_number(self, piece: Piece, plan: Plan) -> bool:
        """Say whether a piece is a valid number when dialled in a region."""
        if piece.verdict is not None:
            return piece.verdict
        reading = piece.reading
        if reading.is_international or not reading.is_plain:
            return self.verified(piece.text, plan)
        enough = len(reading.digits) >= self.fewest[plan]
        return enough and self.plans.dials(reading.digits, reading.dialled, plan)

    def asked(self, text: str, regions: Sequence[str]) -> set[Span]:
        """Return what the library itself finds for some regions."""
        from phonenumbers import PhoneNumberMatcher

        return {
            (match.start, match.end)
            for region in regions
            for match in PhoneNumberMatcher(text, region, leniency=VALID)
        }

    def verified(self, candidate: str, plan: Plan) -> bool:
        """Return the library's own verdict on one candidate in one region."""
        from phonenumbers import parse

        try:
            number = parse(candidate, plan.metadata.id, keep_raw_input=True)
        except self.grammar.refusal:
            return False
        return bool(self.grammar.verify(VALID, number, candidate, None))
