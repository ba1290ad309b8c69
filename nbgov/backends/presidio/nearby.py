"""Whether the words near a finding support it, as far as that is certain before a tagger runs.

Presidio walks from the finding's first word to the left and to the right, and collects a few
lemmas that are keywords: no stop words, no punctuation. Here a word has every lemma that it could
have, so the walk counts in intervals: how many words were collected at least, and at most. This
module knows the walk, and neither recognizers nor scores. The cases are in
``tests/backends/test_context.py``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Supports = Callable[[str], bool]
"""Whether a lower-cased lemma supports a finding."""

Counts = Callable[["Reading"], tuple[frozenset[str], bool]]
"""The lemmas with which a word may be collected, and whether it is in any case."""

NEVER_KEYWORDS = frozenset({"-PRON-", "be"})
"""Lemmas that Presidio leaves out, beside stop words and punctuation."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a word before a tagger has seen it.

    Attributes:
        lemmas: The lemmas it could have, in lower case.
        firm: Those of them that are keywords of the text because of this word.
        could: The keywords that it could add to its text.
        must: The keywords that it adds, whichever lemma it has.
    """

    lemmas: frozenset[str]
    firm: frozenset[str]
    could: frozenset[str]
    must: frozenset[str]


def read(lemmas: Iterable[str], is_left_out: Callable[[str], bool]) -> Reading:
    """The reading of a word.

    Args:
        lemmas: Every lemma that the word could have; at least one.
        is_left_out: Whether a lemma is a stop word or punctuation.

    Example:
        >>> sorted(read(["to:do"], str.isspace).must)
        ['do', 'to']
    """
    # Presidio splits a keyword at colons, but not the lemma that it looks up among the keywords.
    added = [
        (
            lemma.lower(),
            frozenset()
            if lemma in NEVER_KEYWORDS or is_left_out(lemma)
            else frozenset(lemma.lower().split(":")),
        )
        for lemma in lemmas
    ]
    could = frozenset[str]().union(*(keywords for _, keywords in added))
    return Reading(
        lemmas=frozenset(lemma for lemma, _ in added),
        firm=could - {lemma for lemma, keywords in added if lemma not in keywords},
        could=could,
        must=frozenset[str].intersection(*(keywords for _, keywords in added)),
    )


class Nearby:
    """The words of one text, or of a piece of it.

    Args:
        words: The words.
        ends: Where each word ends, in characters.
        reading: What reads a word. A word is read when it is needed.
        before: How many keywords count to the left of a finding, beside its own first word.
        after: How many count to its right.
        cut: Whether the text goes on to the left, and to the right.
    """

    def __init__(
        self,
        words: list[str],
        ends: list[int],
        reading: Callable[[str], Reading],
        *,
        before: int,
        after: int,
        cut: tuple[bool, bool] = (False, False),
    ) -> None:
        self.words = words
        self.ends = ends
        self.reading = reading
        self.before = before
        self.after = after
        self.cut = cut

    @cached_property
    def keywords(self) -> tuple[frozenset[str], frozenset[str]]:
        """The keywords that the text could have, and those that it has with any lemmas."""
        readings = [self.reading(word) for word in dict.fromkeys(self.words)]
        could = frozenset[str]().union(*(reading.could for reading in readings))
        return could, frozenset[str]().union(*(reading.must for reading in readings))

    def support(self, start: int, supports: Supports) -> bool | None:
        """Whether a word near a finding supports it; ``None`` if that depends on what is unknown.

        Args:
            start: The first character of the finding.
            supports: Whether a lemma supports it.
        """
        first = bisect_right(self.ends, start)
        if first == len(self.ends):
            return None
        verdict = self.look(first, supports, self.alone)
        if verdict is None and not any(self.cut):
            # A word that is no keyword counts if another word makes its lemma one.
            verdict = self.look(first, supports, self.among_all)
        return verdict

    def look(self, first: int, supports: Supports, counts: Counts) -> bool | None:
        """The same for the finding whose first word is given."""
        left = self.walk(range(first, -1, -1), self.before, supports, counts)
        if left:
            return True
        right = self.walk(range(first, len(self.ends)), self.after, supports, counts)
        return right if right or left is False else None

    def walk(self, path: range, beside: int, supports: Supports, counts: Counts) -> bool | None:
        """The same for the words on one side, in the order in which Presidio collects them."""
        fewest = most = 0
        verdict: bool | None = False
        for index in path:
            if fewest > beside:
                return verdict
            counted, is_sure = counts(self.reading(self.words[index]))
            if not counted:
                continue
            supporting = sum(map(supports, counted))
            if supporting == len(counted) and is_sure and most <= beside:
                return True
            if supporting:
                verdict = None
            most += 1
            fewest += is_sure
        is_cut = self.cut[0 if path.step < 0 else 1]
        return None if is_cut and fewest <= beside else verdict

    @staticmethod
    def alone(reading: Reading) -> tuple[frozenset[str], bool]:
        """The lemmas with which a word may be collected in any text, and whether it always is."""
        return reading.lemmas, reading.lemmas <= reading.firm

    def among_all(self, reading: Reading) -> tuple[frozenset[str], bool]:
        """The same in this text."""
        could, must = self.keywords
        return reading.lemmas & could, reading.lemmas <= reading.firm | must


def words_of(doc: Any) -> tuple[list[str], list[int]]:
    """The words of a document, and where each of them ends."""
    words = [token.text for token in doc]
    return words, [token.idx + len(word) for token, word in zip(doc, words, strict=True)]
