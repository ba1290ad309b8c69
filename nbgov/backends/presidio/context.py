"""Whether a word beside a finding might raise its score, decided without spaCy.

Presidio raises a score when the lemma of a word nearby holds one of the recognizer's context words.
Which lemma a word gets takes spaCy's whole pipeline; which lemmas it could get does not. From the
lemmatizer's rules and tables this module derives stems: a lemma can hold the context word only if
the text holds one of its stems. A text without a stem keeps its scores; any other goes through the
pipeline. A pipeline that makes lemmas in another way has no stems, and every text goes through it.
The proof by cases is in ``tests/backends/test_detector.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

KNOWN_PIPES = frozenset({"tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "ner"})


class ContextWords:
    """The stems of context words, for one spaCy pipeline."""

    def __init__(self, nlp: Any) -> None:
        self.stems: dict[str, tuple[str, ...]] = {}
        self.is_understood = (
            set(nlp.pipe_names) <= KNOWN_PIPES
            and "lemmatizer" in nlp.pipe_names
            and nlp.get_pipe("lemmatizer").mode == "rule"
        )
        if self.is_understood:
            self.endings, self.exceptions = lemma_tables(nlp)
            self.constants = lemma_constants(nlp)

    def may_support(self, recognizer: EntityRecognizer, text: str) -> bool:
        """Whether any word of a text might raise the score of a recognizer's findings in it."""
        if not recognizer.context:
            return False
        if not self.is_understood:
            return True
        if recognizer.id not in self.stems:
            self.stems[recognizer.id] = self.stems_of(recognizer.context)
        lowered = text.lower()
        return any(stem in lowered for stem in self.stems[recognizer.id])

    def stems_of(self, words: Iterable[str]) -> tuple[str, ...]:
        """Strings of which a text holds one if a lemma in it holds one of the words."""
        stems: set[str] = set()
        for word in {w.lower() for w in words}:
            stems |= {word, *(cut for ending in self.endings for cut in cuts(word, ending))}
            stems |= {form for form, lemma in self.exceptions if word in lemma}
            stems |= {"" for constant in self.constants if word in constant}
        return tuple(s for s in stems if not any(t in s for t in stems if t != s))


def cuts(word: str, ending: str) -> set[str]:
    """What is left of a word whose end may have been written by a lemmatizer's rule.

    Example:
        >>> cuts("mobile", "e"), cuts("visa", "man")
        ({'mobil'}, set())
    """
    if word in ending:
        return {""}
    return {word[:-n] for n in range(1, len(ending) + 1) if ending.startswith(word[-n:])}


def lemma_tables(nlp: Any) -> tuple[set[str], list[tuple[str, str]]]:
    """The endings that the lemmatizer's rules write, and its exceptions as (form, lemma)."""
    lookups = nlp.get_pipe("lemmatizer").lookups
    rules = lookups.get_table("lemma_rules").values()
    endings = {new.lower() for group in rules for _, new in group if new}
    exceptions = [
        (form.lower(), lemma.lower())
        for forms in lookups.get_table("lemma_exc").values()
        for form, lemmas in forms.items()
        for lemma in lemmas
    ]
    return endings, exceptions


def lemma_constants(nlp: Any) -> set[str]:
    """The lemmas that the pipeline gives to whole patterns of words, such as "us" in "let's"."""
    if "attribute_ruler" not in nlp.pipe_names:
        return set()
    rules = nlp.get_pipe("attribute_ruler").patterns
    return {str(rule["attrs"]["LEMMA"]).lower() for rule in rules if "LEMMA" in rule["attrs"]}
