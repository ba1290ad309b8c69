"""The scores of findings beside words that support them, decided without spaCy where provable.

Presidio raises a score when the lemma of a word nearby holds one of the recognizer's context words.
Which lemma a word gets takes spaCy's whole pipeline, most of the cost of a scan. Here each finding
goes only as far as it must:

1. The caller's own words, such as the column's name, raise it; or the text holds no stem of a
   context word, so that no lemma in it can.
2. The tokenizer cuts the text into words, and every lemma that a word could get says the same.
3. Where those lemmas disagree, the real pipeline and Presidio's own enhancer decide.

With a pipeline or an enhancer that is not understood, the third decides all. This module knows no
columns and no thresholds. The cases are in ``tests/backends/test_context.py``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.backends.presidio.engine import forgetting
from nbgov.backends.presidio.hits import Hit
from nbgov.backends.presidio.layout import wiring
from nbgov.backends.presidio.lemmas import why_unknown
from nbgov.backends.presidio.stock import BATCH_VALUES, artifacts_of
from nbgov.backends.presidio.surroundings import Surroundings

if TYPE_CHECKING:
    from presidio_analyzer import AnalyzerEngine, EntityRecognizer, RecognizerResult
    from presidio_analyzer.nlp_engine import NlpArtifacts

HIT_KEY = "nbgov_hit"
"""Where a result of Presidio carries the index of its hit through the enhancer."""

Words = tuple[str, ...]
"""Lower-cased context words of a recognizer, none of them empty."""

Open = dict[int, list[int]]
"""For each value, the indices of its hits whose scores are not settled yet."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one call is about.

    Attributes:
        texts: The values.
        recognizers: The recognizers that were asked.
        outer: The caller's words, in lower case.
    """

    texts: Sequence[str]
    recognizers: Sequence[EntityRecognizer]
    outer: list[str]


class ContextScores:
    """The scores that an analyzer's enhancer gives to findings among supporting words.

    Not for two threads at once, and not within a memory zone of spaCy: it opens its own.

    Args:
        analyzer: The analyzer whose pipeline and enhancer count; it is not changed.
        language: The language of the texts.

    Attributes:
        reason: Why the real pipeline decides all; empty if most is decided without it.
    """

    def __init__(self, analyzer: AnalyzerEngine, language: str) -> None:
        self.engine = cast("Any", analyzer.nlp_engine)
        self.analyzer: Any = analyzer
        self.language = language
        self.stems: dict[Words, str] = {}
        self.wiring: tuple[object, ...] = ()
        self.reason = self.why_stock()

    @property
    def enhancer(self) -> Any:
        """The analyzer's enhancer, which a person may replace at any time."""
        return self.analyzer.context_aware_enhancer

    def raised(
        self,
        texts: Sequence[str],
        hits: Sequence[Hit],
        recognizers: Sequence[EntityRecognizer],
        outer: Sequence[str],
    ) -> list[Hit]:
        """The hits with the scores that the enhancer gives them, in the same order.

        Args:
            texts: The values, which the hits count into.
            hits: All that the recognizers found.
            recognizers: The recognizers that were asked, which the hits count into.
            outer: Words of the caller that support a finding as those beside it do.

        Raises:
            ValueError: A hit begins in the spaces that end its text; Presidio fails there too.
        """
        question = Question(texts, recognizers, [word.lower() for word in outer])
        self.reason = self.why_stock()
        if self.reason or any(map(enhances_itself, recognizers)):
            return self.ask_stock(question, hits)
        raised = list(hits)
        unread, undecided = self.judge_by_stems(question, raised)
        for value, indices in self.judge_by_words(question, raised, unread).items():
            undecided[value] += indices
        self.ask_pipeline(question, raised, undecided)
        return raised

    def why_stock(self) -> str:
        """Why the real pipeline decides all from now on; looks again at what has changed."""
        if reason := why_stock(self.analyzer):
            return reason
        self.nlp = self.engine.get_nlp(self.language)
        if (reason := why_unknown(self.nlp)) or wiring(self.nlp) == self.wiring:
            return reason
        self.surroundings = Surroundings(self.engine, self.language)
        self.stems.clear()
        self.wiring = wiring(self.nlp)
        return ""

    def raise_score(self, hits: list[Hit], index: int) -> None:
        """Give a supported hit its score, with the enhancer's own arithmetic."""
        hits[index] = hits[index]._replace(score=self.supported(hits[index].score))

    def supported(self, score: float) -> float:
        """The score of a supported hit."""
        enhancer = self.enhancer
        raised = max(
            score + enhancer.context_similarity_factor, enhancer.min_score_with_context_similarity
        )
        return float(min(raised, enhancer.MAX_SCORE))

    # What the caller's words and the stems in a text decide.

    def judge_by_stems(self, question: Question, hits: list[Hit]) -> tuple[Open, Open]:
        """Settle hits without cutting texts into words.

        Returns:
            The hits whose words have to be read, and those that the pipeline has to decide.
        """
        words = [self.context_words(question, recognizer) for recognizer in question.recognizers]
        by_outer = [any(self.supports(w, word) for word in question.outer) for w in words]
        by_words: dict[Words, Open] = defaultdict(lambda: defaultdict(list))
        undecided: Open = defaultdict(list)
        for index, hit in enumerate(hits):
            if not question.recognizers[hit.recognizer].context:
                continue
            if begins_in_final_spaces(question.texts[hit.value], hit.start):
                undecided[hit.value].append(index)
            elif by_outer[hit.recognizer]:
                self.raise_score(hits, index)
            elif self.supported(hit.score) != hit.score:
                by_words[words[hit.recognizer]][hit.value].append(index)
        unread: Open = defaultdict(list)
        for chosen, found in by_words.items():
            for value in self.holding_stems(question, chosen, list(found)):
                unread[value] += found[value]
        return unread, undecided

    def context_words(self, question: Question, recognizer: EntityRecognizer) -> Words:
        """The context words of a recognizer that can raise a score."""
        words = [word.lower() for word in recognizer.context or ()]
        # An empty word that matches ends Presidio's search, and raises nothing.
        if "" in words and (self.is_substring or "" in question.outer):
            words = words[: words.index("")]
        return tuple(dict.fromkeys(filter(None, words)))

    def holding_stems(self, question: Question, words: Words, values: list[int]) -> list[int]:
        """The values that hold a stem of a word; in no other can a lemma hold the word."""
        if not words:
            return []
        if words not in self.stems:
            stems = {fold(stem) for stem in self.surroundings.lemmas.stems(words)}
            self.stems[words] = "|".join(sorted(map(re.escape, stems)))
        texts = pa.array([fold(question.texts[value]) for value in values], pa.large_string())
        held = pc.match_substring_regex(texts, self.stems[words])
        return list(compress(values, held.to_pylist()))

    @property
    def is_substring(self) -> bool:
        """Whether a lemma supports a finding if it only holds a context word."""
        return bool(self.enhancer.context_matching_mode == "substring")

    def supports(self, words: Words, lemma: str) -> bool:
        """Whether a lemma in lower case supports a finding with these context words."""
        if self.is_substring:
            return any(word in lemma for word in words)
        return lemma in words

    # What the words of a text decide, whichever lemmas they have.

    def judge_by_words(self, question: Question, hits: list[Hit], unread: Open) -> Open:
        """Settle hits whose words support them with every lemma or with none; return the others."""
        undecided: Open = defaultdict(list)
        before, after = self.enhancer.context_prefix_count, self.enhancer.context_suffix_count
        for values in batches(unread):
            with self.surroundings.verdicts(before, after) as of_text:
                for value in values:
                    judge = of_text(question.texts[value])
                    for index in unread[value]:
                        recognizer = question.recognizers[hits[index].recognizer]
                        words = self.context_words(question, recognizer)
                        verdict = judge(hits[index].start, partial(self.supports, words))
                        if verdict is None:
                            undecided[value].append(index)
                        elif verdict:
                            self.raise_score(hits, index)
        return undecided

    # What only the pipeline can decide.

    def ask_pipeline(self, question: Question, hits: list[Hit], undecided: Open) -> None:
        """Give hits the scores that the enhancer gives them after spaCy's whole pipeline."""
        for values in batches(undecided):
            with forgetting(self.nlp):
                texts = [question.texts[value] for value in values]
                for value, artifacts in zip(values, self.artifacts(texts), strict=True):
                    for result in self.enhanced(question, hits, undecided[value], artifacts):
                        index = result.recognition_metadata[HIT_KEY]
                        hits[index] = hits[index]._replace(score=result.score)

    def artifacts(self, texts: list[str]) -> Iterator[NlpArtifacts]:
        """Yield what Presidio keeps of each text, without its named entities."""
        from presidio_analyzer.nlp_engine import NlpArtifacts

        # No lemma depends on a named entity, unless the ruler that writes lemmas sees entities.
        pipes = self.nlp.pipe_names
        idle = ["ner"] if pipes[-1] == "ner" else []
        for doc in self.nlp.pipe(texts, batch_size=BATCH_VALUES, disable=idle):
            yield NlpArtifacts(
                entities=[],
                tokens=doc,
                tokens_indices=[token.idx for token in doc],
                lemmas=[token.lemma_ for token in doc],
                nlp_engine=self.engine,
                language=self.language,
            )

    def ask_stock(self, question: Question, hits: Sequence[Hit]) -> list[Hit]:
        """The hits as an analyzer returns them whose parts are not understood."""
        by_value: Open = defaultdict(list)
        for index, hit in enumerate(hits):
            by_value[hit.value].append(index)
        numbers = {r.id: number for number, r in enumerate(question.recognizers)}
        texts = [question.texts[value] for value in by_value]
        read = artifacts_of(self.analyzer, self.language, texts)
        found = []
        for value, artifacts in zip(by_value, read, strict=True):
            for r in self.enhanced(question, hits, by_value[value], artifacts):
                facts = r.recognition_metadata
                number = numbers[facts["recognizer_identifier"]]
                hit = Hit(value, number, r.entity_type, r.start, r.end, r.score)
                found.append((facts.get(HIT_KEY, len(hits)), hit))
        return [hit for _, hit in sorted(found)]

    def enhanced(
        self, question: Question, hits: Sequence[Hit], indices: list[int], artifacts: NlpArtifacts
    ) -> list[RecognizerResult]:
        """What the analyzer makes of the hits in one text."""
        results = [
            to_result(hits[index], index, question.recognizers[hits[index].recognizer])
            for index in indices
        ]
        text = question.texts[hits[indices[0]].value]
        # The analyzer's own step: each recognizer's enhancement, then the enhancer's.
        enhance = self.analyzer._enhance_using_context  # noqa: SLF001
        return list(
            enhance(text, results, artifacts, list(question.recognizers), list(question.outer))
        )


def why_stock(analyzer: AnalyzerEngine) -> str:
    """Why an analyzer's scores cannot be foretold; empty if its parts are understood."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    if type(analyzer.context_aware_enhancer) is not LemmaContextAwareEnhancer:
        return "The enhancer of scores is not Presidio's."
    if type(analyzer.nlp_engine) is not SpacyNlpEngine:
        return "The language model is not run by Presidio's engine for spaCy."
    if type(analyzer)._enhance_using_context is not AnalyzerEngine._enhance_using_context:  # noqa: SLF001
        return "The analyzer follows rules of its own."
    return ""


def enhances_itself(recognizer: EntityRecognizer) -> bool:
    """Whether a recognizer changes scores in a way of its own."""
    from presidio_analyzer import EntityRecognizer

    method = getattr(recognizer.enhance_using_context, "__func__", None)
    return method is not EntityRecognizer.enhance_using_context


def to_result(hit: Hit, index: int, recognizer: Any) -> RecognizerResult:
    """A hit as the object that Presidio passes on."""
    from presidio_analyzer import AnalysisExplanation, RecognizerResult

    return RecognizerResult(
        entity_type=hit.entity,
        start=hit.start,
        end=hit.end,
        score=hit.score,
        analysis_explanation=AnalysisExplanation(recognizer.name, hit.score),
        recognition_metadata={
            RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
            HIT_KEY: index,
        },
    )


def begins_in_final_spaces(text: str, start: int) -> bool:
    """Whether no word of a text lies at or behind a position, so that Presidio fails.

    Example:
        >>> begins_in_final_spaces("a 1 ", 3), begins_in_final_spaces("a 1 ", 1)
        (True, False)
    """
    return (start >= len(text) or text[start] == " ") and not text[start:].strip(" ")


def fold(text: str) -> str:
    """A text in lower case, whose letters do not depend on their neighbours.

    Example:
        >>> fold("ΟΔΟΣ") == fold("ΟΔΟΣΑ")[:4]
        True
    """
    # Only the Greek sigma has a form of its own at the end of a word.
    return text.lower().replace("ς", "\N{GREEK SMALL LETTER SIGMA}")


def batches(values: Iterable[int]) -> Iterator[list[int]]:
    """Yield the values in lists of at most ``BATCH_VALUES``."""
    rest = list(values)
    for start in range(0, len(rest), BATCH_VALUES):
        yield rest[start : start + BATCH_VALUES]
