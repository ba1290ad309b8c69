"""Every lemma that a spaCy pipeline could give a word, whatever part of speech the word has.

Which lemma a word gets takes the tagger and the parser; which ones it could get takes the tables of
the lemmatizer alone. This module knows pipelines whose lemmas come from rules, from exceptions and
from the attribute ruler, and refuses all others. It knows nothing of Presidio. The cases are in
``tests/backends/test_context.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

KNOWN_PIPES = frozenset(
    {"tok2vec", "tagger", "morphologizer", "parser", "senter", "attribute_ruler", "lemmatizer"}
    | {"ner"}
)
"""Factories of pipes of which none but the attribute ruler and the lemmatizer writes a lemma."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A lemma that the attribute ruler gives to words of some forms.

    Attributes:
        lemma: The lemma.
        forms: The lower-cased forms, where the rule lists them.
        pattern: What the lower-cased form matches; empty means that ``forms`` lists them all.
    """

    lemma: str
    forms: frozenset[str]
    pattern: str = ""

    def fits(self, lowered: str) -> bool:
        """Whether a word may get the lemma.

        Example:
            >>> Constant("be", frozenset({"is"})).fits("was")
            False
        """
        return bool(re.search(self.pattern, lowered)) if self.pattern else lowered in self.forms


@dataclass(frozen=True, slots=True)
class Word:
    """As much of a spaCy token as a lemmatizer by rules reads, with a part of speech to try.

    It stands in for its own morphology too, which is empty: a word that the lemmatizer would take
    for a base form becomes lower case, and that lemma is counted in any case.
    """

    text: str
    pos_: str

    @property
    def orth(self) -> tuple[str, str]:
        """A key of the lemmatizer's cache that no token has: theirs are numbers."""
        return self.text, self.pos_

    pos = orth

    @property
    def morph(self) -> Word:
        """The word's morphology."""
        return self

    key = orth

    def to_dict(self) -> dict[str, str]:
        """No feature of the morphology."""
        return {}


class Tables(dict[str, dict[str, Any]]):
    """The tables of a lemmatizer by name, each by part of speech, with its list of words as a set.

    A search in spaCy's own lists is most of the cost of a lemma.
    """

    def __init__(self, lookups: Any) -> None:
        from spacy.parts_of_speech import IDS

        super().__init__()
        for name in lookups.tables:
            by_part = {pos.lower(): lookups.get_table(name).get(pos.lower()) for pos in IDS if pos}
            self[name] = {pos: entries for pos, entries in by_part.items() if entries}
        words = self.get("lemma_index", {})
        self["lemma_index"] = {pos: frozenset(forms) for pos, forms in words.items()}

    def get_table(self, name: str, default: Any) -> Any:
        """A table, as spaCy asks for it."""
        return self.get(name, default)


@dataclass(frozen=True, slots=True)
class Inflection:
    """Which words of a part of speech have a lemma that is not the word itself, or in lower case.

    Attributes:
        pos: The part of speech.
        endings: The endings for which a rule puts others.
        exceptions: The forms whose lemmas are listed.
    """

    pos: str
    endings: tuple[str, ...]
    exceptions: Collection[str]

    def inflects(self, lowered: str) -> bool:
        """Whether a word may be an inflected form.

        Example:
            >>> Inflection("noun", ("s",), {"feet": ["foot"]}).inflects("bus")
            True
        """
        return lowered.endswith(self.endings) or lowered in self.exceptions


def inflections_of(tables: Tables) -> Iterator[Inflection]:
    """Yield how each part of speech is inflected that is inflected at all."""
    rules, exceptions = tables["lemma_rules"], tables.get("lemma_exc", {})
    for pos in sorted({*rules, *exceptions}):
        endings = tuple(old for old, new in rules.get(pos, ()) if old != new)
        if endings or pos in exceptions:
            yield Inflection(pos, endings, exceptions.get(pos, ()))


class Lemmas:
    """The lemmas that the words of one spaCy pipeline can have.

    Attributes:
        reason: Why this pipeline is not understood; empty if it is.
    """

    def __init__(self, nlp: Any) -> None:
        self.reason = why_unknown(nlp)
        if self.reason:
            return
        own = nlp.get_pipe("lemmatizer")
        self.lemmatizer = type(own)(nlp.vocab, None, mode="rule")
        self.lemmatizer.lookups = tables = Tables(own.lookups)
        self.inflections = list(inflections_of(tables))
        self.exceptions = [
            (form, lemma.lower())
            for forms in tables.get("lemma_exc", {}).values()
            for form, lemmas in forms.items()
            for lemma in lemmas
        ]
        self.rules = {
            (old, new.lower()) for rules in tables["lemma_rules"].values() for old, new in rules
        }
        self.constants = constants_of(nlp)
        self.patterns = [constant for constant in self.constants if constant.pattern]
        self.by_form: dict[str, set[str]] = {}
        for constant in self.constants:
            for form in constant.forms:
                self.by_form.setdefault(form, set()).add(constant.lemma)

    def of(self, word: str) -> set[str]:
        """Every lemma that a word could get, as spaCy writes it."""
        lowered = word.lower()
        found = {word, lowered, *self.by_form.get(lowered, ())}
        found |= {constant.lemma for constant in self.patterns if constant.fits(lowered)}
        for part in self.inflections:
            if part.inflects(lowered):
                found.add(self.lemmatizer.rule_lemmatize(Word(word, part.pos))[0])
        # Security: the lemmatizer remembers every word that it was asked for.
        self.lemmatizer.cache.clear()
        return found

    def stems(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Strings of which a lower-cased text holds one if a lemma in it holds a wanted string.

        Args:
            wanted: Lower-cased strings, none of them empty.
        """
        stems: set[str] = set()
        for part in wanted:
            stems.add(part)
            stems |= {stem for old, new in self.rules for stem in before_rule(part, old, new)}
            stems |= {form for form, lemma in self.exceptions if part in lemma}
            for constant in self.constants:
                if part in constant.lemma.lower():
                    stems |= {""} if constant.pattern else constant.forms
        return without_longer(stems)


def before_rule(part: str, old: str, new: str) -> set[str]:
    """What a word holds if a rule that puts one ending for another makes its lemma hold a part.

    A part that lies wholly before the ending is in the word itself.

    Example:
        >>> before_rule("mobile", "ing", "e"), before_rule("visa", "men", "man")
        ({'mobiling'}, set())
    """
    if part in new:
        return {old}
    overlaps = (n for n in range(1, len(new) + 1) if part.endswith(new[:n]))
    return {part[:-n] + old for n in overlaps}


def without_longer(stems: set[str]) -> tuple[str, ...]:
    """The strings that hold none of the others.

    Example:
        >>> without_longer({"bank", "banking", "bankes"})
        ('bank',)
    """
    kept: list[str] = []
    for stem in sorted(stems, key=lambda stem: (len(stem), stem)):
        if not any(shorter in stem for shorter in kept):
            kept.append(stem)
    return tuple(kept)


def why_unknown(nlp: Any) -> str:
    """Why the lemmas of a pipeline cannot be listed; empty if they can."""
    from spacy.lang.en.lemmatizer import EnglishLemmatizer
    from spacy.pipeline import AttributeRuler, Lemmatizer
    from spacy.tokenizer import Tokenizer

    factories = {name: nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    unknown = sorted(name for name, factory in factories.items() if factory not in KNOWN_PIPES)
    if unknown:
        return f"The pipe {unknown[0]} may write lemmas."
    if any(name != factory for name, factory in factories.items()):
        return "A pipe is there twice or under another name."
    if "lemmatizer" not in factories:
        return "The pipeline has no lemmatizer."
    if nlp.get_pipe("lemmatizer").mode != "rule":
        return "The lemmatizer does not follow rules."
    expected = {
        "lemmatizer": (Lemmatizer, EnglishLemmatizer),
        "attribute_ruler": (AttributeRuler,),
    }
    parts = [nlp.get_pipe(name) for name in expected if name in factories]
    if type(nlp.tokenizer) is not Tokenizer or any(
        type(pipe) not in expected[pipe.name] for pipe in parts
    ):
        return "A part of the pipeline is a class of its own."
    return ""


def constants_of(nlp: Any) -> list[Constant]:
    """The lemmas that a pipeline gives to patterns of words, such as "us" in "let's"."""
    from spacy.attrs import LEMMA

    found: list[Constant] = []
    if "attribute_ruler" not in nlp.pipe_names:
        return found
    for rule in nlp.get_pipe("attribute_ruler").patterns:
        for key, lemma in rule["attrs"].items():
            if lemma and (key == LEMMA or str(key).upper() == "LEMMA"):
                found += (constant_of(lemma, words, rule["index"]) for words in rule["patterns"])
    return found


def constant_of(lemma: str, words: list[dict[str, Any]], index: int) -> Constant:
    """Which words get a lemma when a pattern of words matches, as far as their form tells."""
    # A word that may be left out or repeated makes the index point elsewhere.
    if any(str(key).upper() == "OP" for word in words for key in word):
        return Constant(lemma, frozenset(), ".?")
    match words[index].get("LOWER"):
        case str(form):
            return Constant(lemma, frozenset({form}))
        case {"IN": forms, **others} if not others:
            return Constant(lemma, frozenset(forms))
        case {"REGEX": str(pattern), **others} if not others:
            return Constant(lemma, frozenset(), pattern or ".?")
        case _:
            return Constant(lemma, frozenset(), ".?")
