"""The words around findings, read from as little of a text as settles a question.

To cut a text into words and to look up what lemmas they could have is most of the cost of a score.
A supporting word mostly stands close by, so a small piece of the text is read first, then a larger
one, and the whole text only if neither tells. This module knows neither recognizers nor scores. The
cases are in ``tests/backends/test_context.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

from nbgov.backends.presidio.engine import forgetting
from nbgov.backends.presidio.lemmas import Lemmas
from nbgov.backends.presidio.nearby import Nearby, Reading, Supports, read, words_of
from nbgov.backends.presidio.pieces import Pieces
from nbgov.backends.presidio.tokens import sparing

REACHES = (40, 160)
"""How many characters of a text are read to the left of a finding before all of it is."""

Verdict = Callable[[int, Supports], bool | None]
"""Whether a word near a position supports a finding there; ``None`` if that takes a tagger."""


class Surroundings:
    """Reads the words around findings, with the tokenizer of a pipeline and the lemmas of it.

    Args:
        engine: Presidio's engine for spaCy.
        language: The language of the texts. Its pipeline must be one that
            :mod:`~nbgov.backends.presidio.lemmas` knows.
    """

    def __init__(self, engine: Any, language: str) -> None:
        self.engine = engine
        self.language = language
        self.nlp = engine.get_nlp(language)
        self.lemmas = Lemmas(self.nlp)
        self.pieces = Pieces(self.nlp)

    @contextmanager
    def verdicts(self, before: int, after: int) -> Iterator[Callable[[str], Verdict]]:
        """Within, words are remembered; a text gives what judges the findings in it.

        Args:
            before: How many keywords count to the left of a finding, beside its own first word.
            after: How many count to its right.
        """
        from spacy.attrs import IS_PUNCT, IS_STOP

        # What is asked of a word here depends on no other of its attributes.
        with forgetting(self.nlp), sparing(self.nlp.vocab, (IS_PUNCT, IS_STOP)):
            reading = cache(self.reading)

            def of_text(text: str) -> Verdict:
                return partial(self.verdict, text, cache(partial(nearby, text)))

            def nearby(text: str, begin: int, end: int) -> Nearby:
                words, ends = words_of(self.nlp.make_doc(text[begin:end]))
                cut = begin > 0, end < len(text)
                return Nearby(words, ends, reading, before=before, after=after, cut=cut)

            yield of_text

    def verdict(
        self, text: str, nearby: Callable[[int, int], Nearby], start: int, supports: Supports
    ) -> bool | None:
        """Whether words near a position support a finding there, as far as a piece tells it."""
        whole = 0, len(text)
        for reach in REACHES:
            if piece := self.pieces.around(text, start, reach):
                verdict = nearby(*piece).support(start - piece[0], supports)
                if verdict is not None or piece == whole:
                    return verdict
        return nearby(*whole).support(start, supports)

    def reading(self, word: str) -> Reading:
        """What is known of a word."""
        return read(self.lemmas.of(word), self.is_left_out)

    def is_left_out(self, lemma: str) -> bool:
        """Whether Presidio leaves a lemma out of a text's keywords."""
        engine, language = self.engine, self.language
        return bool(engine.is_stopword(lemma, language) or engine.is_punct(lemma, language))
