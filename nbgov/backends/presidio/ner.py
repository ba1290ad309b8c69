"""Named entities of many texts: exactly those of a spaCy pipeline, without running it.

:class:`NamedEntities` promises it; its docstring says how the promise is kept. The steps are
modules of their own: :mod:`~nbgov.backends.presidio.tokens` reads, ``network`` computes rows,
``parsing`` finds sentences, ``decoding`` finds entities and ``layout`` says which pipelines are
understood. The cases are in ``tests/backends/test_ner.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]

from nbgov.backends.presidio.decoding import INSIDE, Decoder
from nbgov.backends.presidio.engine import forgetting
from nbgov.backends.presidio.layout import unsupported, wiring
from nbgov.backends.presidio.network import Floats, Network, Scorer, columns_of
from nbgov.backends.presidio.parsing import Parser
from nbgov.backends.presidio.tokens import Integers, Reader, Tokens

Entity = tuple[str, int, int]
"""Label, first character and character after the last."""

MARGIN = 5e-4
"""Scores that are closer than this are left to spaCy. Rounding moved none of 20 million scores by
more than 3e-5."""

PAGE_CHARS = 1_000_000
"""Characters that are read in one go. Pieces that repeat within are split once."""

BATCH_TOKENS = 6_000
"""Tokens of a batch: enough texts to walk in step, and no array of more than 32 MB, which the C
library would fetch from the system anew each time."""

TEXTS_MIN = 2
"""A batch that holds less than this many texts of its longest kind is left to spaCy."""

SHORT_TOKENS = 64
"""Texts up to this length are worth a batch even when they are few."""

STOCK_BATCH = 256
IRRELEVANT = ("tagger", "attribute_ruler", "lemmatizer")
"""Components that change nothing about entities in a pipeline whose layout is known."""

PROBES = (
    "Ada Lovelace met Charles Babbage in London on 5 June 1833. She was seventeen.",
    "On Monday the United Nations moved $3 million from New York to the Bank of England.",
    "Call Dr. O'Neill at 212-555-0123; he's on holiday\n\nuntil next Tuesday.",
)
"""What a pipeline and the fast path must agree on before the fast path is used."""


class NamedEntities:
    """Finds what ``nlp(text).ents`` holds, for many texts at once.

    * The pipeline's own tokenizer splits each distinct piece of text once.
    * Its own weights are multiplied with numpy, each window of tokens once in a batch.
    * Its greedy walk over the moves is taken for all texts of a batch in step.
    * A text with an entity of several tokens is parsed too, because sentences bound entities.
    * A text in which two moves are closer than ``MARGIN`` anywhere is given to the pipeline: there
      rounding could decide otherwise.
    * A pipeline of an unknown layout, or one that disagrees on the probes, or that was changed
      since, runs as it is.

    Nothing of a text is kept: not by spaCy, whose memory zones are left, nor here. What is found
    in a text does not depend on its neighbours. The weights are those of the pipeline when this
    object was made. Not for two threads at once.

    In CPU time, one core, ``en_core_web_sm``: beside ``nlp.pipe`` in batches of 256 with nothing
    but parser and recognizer, 5 to 7 times as fast on e-mail addresses and numbers, 4 times on
    names and notes; beside ``nlp(text)``, 20 to 47 times on short values, 8 times on notes.

    Args:
        nlp: A loaded spaCy pipeline.

    Attributes:
        reason: Why the pipeline itself runs for every text; empty when it does not.
    """

    def __init__(self, nlp: Any) -> None:
        self.nlp = nlp
        self.threads = threadpoolctl.ThreadpoolController()
        self.reason = unsupported(nlp)
        if not self.reason:
            self.wiring = wiring(nlp)
            self.prepare()
            self.reason = self.disagreement()

    def find(self, texts: Sequence[str]) -> list[list[Entity]]:
        """The entities of each text, in order. Opens memory zones: call it outside of any.

        Raises:
            ValueError: A text is longer than the pipeline reads.
        """
        found: list[list[Entity]] = [[] for _ in texts]
        if not self.reason and wiring(self.nlp) != self.wiring:
            self.reason = "it was changed after it was looked at"
        # More threads would only spin: the products of matrices are small.
        with self.threads.limit(limits=1, user_api="blas"):
            if self.reason:
                self.ask_pipeline(texts, range(len(texts)), found)
                return found
            unsure: list[int] = []
            for page in pages(texts, self.nlp.max_length):
                unsure += self.find_page([texts[i] for i in page], page, found)
            self.ask_pipeline(texts, unsure, found, skipped=IRRELEVANT)
        return found

    def prepare(self) -> None:
        """Take the weights and the moves out of the pipeline."""
        from spacy.attrs import IS_SPACE

        nlp = self.nlp
        tok2vec, parser, ner = (nlp.get_pipe(name) for name in ("tok2vec", "parser", "ner"))
        own, shared = ner.model.get_ref("tok2vec").layers[0], tok2vec.model
        columns = list(dict.fromkeys([IS_SPACE, *columns_of(own), *columns_of(shared)]))
        self.reader = Reader(nlp, columns)
        self.own, self.shared = (Network(model, nlp.vocab, columns) for model in (own, shared))
        self.decoder = Decoder(moves_of(ner), Scorer(ner.model))
        self.parser = Parser(moves_of(parser), parser.model)

    def disagreement(self) -> str:
        """Why the fast path cannot be right about this pipeline; empty when the probes agree."""
        expected: list[list[Entity]] = [[] for _ in PROBES]
        self.ask_pipeline(PROBES, range(len(PROBES)), expected)
        return "" if self.find(PROBES) == expected else "its entities come out differently"

    def ask_pipeline(
        self,
        texts: Sequence[str],
        chosen: Sequence[int],
        found: list[list[Entity]],
        *,
        skipped: Sequence[str] = (),
    ) -> None:
        """Let the pipeline itself, or some components of it, find the entities of some texts."""
        for start in range(0, len(chosen), STOCK_BATCH):
            part = chosen[start : start + STOCK_BATCH]
            with forgetting(self.nlp):
                docs = self.nlp.pipe(
                    (texts[i] for i in part), batch_size=STOCK_BATCH, disable=skipped
                )
                for i, doc in zip(part, docs, strict=True):
                    found[i] = entities_of(doc)
                del docs, doc

    def find_page(
        self, texts: Sequence[str], places: Sequence[int], found: list[list[Entity]]
    ) -> list[int]:
        """Find the entities of some texts.

        Returns:
            Places of texts that are left to the pipeline.
        """
        page = Page(self.reader.read(texts))
        left: list[int] = []
        for batch in batches(page.tokens.counts):
            counts = page.tokens.counts[batch]
            if counts.max() > SHORT_TOKENS and counts.sum() < TEXTS_MIN * counts.max():
                left += batch.tolist()
                continue
            index = page.tokens_of(batch)
            moves, margins = self.decide(page, index, counts)
            sure = margins >= MARGIN
            left += batch[~sure].tolist()
            kept = np.flatnonzero(np.repeat(sure, counts))
            owner = np.repeat(batch, counts)
            for label, first, last in self.decoder.entities(moves[kept]):
                i, j = kept[first], kept[last]
                start, end = page.tokens.starts[index[i]], page.tokens.ends[index[j]]
                found[places[owner[i]]].append((label, int(start), int(end)))
        return [places[i] for i in left]

    def decide(self, page: Page, index: Integers, counts: Integers) -> tuple[Integers, Floats]:
        """The move of each token of some texts, and how clear each text is."""
        blank = page.blank[index]
        rows, row_of = self.own.encode(*page.embedded(self.own, index), counts)
        parts = self.decoder.scorer.precompute(rows)
        walk = self.decoder.walk(parts, row_of, counts, blank, np.zeros(len(index), bool))
        moves, margins = walk.moves, walk.margins
        owner = np.repeat(np.arange(len(counts)), counts)
        open_after = self.decoder.kinds[moves] <= INSIDE
        is_parsed = np.zeros(len(counts), bool)
        is_parsed[owner[open_after]] = True
        is_parsed &= margins >= MARGIN
        if not is_parsed.any():
            return moves, margins
        within = np.repeat(is_parsed, counts)
        rows, shared_of = self.shared.encode(
            *page.embedded(self.shared, index[within]), counts[is_parsed]
        )
        sentences = self.parser.sentences(
            self.parser.scorer.precompute(rows), shared_of, counts[is_parsed]
        )
        margins[is_parsed] = np.where(
            sentences.odd, 0, np.minimum(margins[is_parsed], sentences.margins)
        )
        starts = np.zeros(len(index), bool)
        starts[within] = sentences.starts
        # spaCy would not have permitted a move that reaches over the start of a sentence.
        crossed = np.zeros(len(counts), bool)
        crossed[owner[:-1][open_after[:-1] & starts[1:]]] = True
        crossed &= margins >= MARGIN
        if crossed.any():
            again = np.repeat(crossed, counts)
            walk = self.decoder.walk(
                parts, row_of[again], counts[crossed], blank[again], starts[again]
            )
            moves[again] = walk.moves
            margins[crossed] = np.minimum(margins[crossed], walk.margins)
        return moves, margins


class Page:
    """The tokens of some texts, and the rows of tokens by themselves."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.bounds = np.cumsum(tokens.counts) - tokens.counts
        self.blank = (tokens.features[:, 0] != 0)[tokens.kinds]
        self.rows: dict[Network, tuple[Floats, Integers]] = {}

    def tokens_of(self, texts: Integers) -> Integers:
        """The tokens of some texts, one text after the other."""
        counts = self.tokens.counts[texts]
        ends = np.cumsum(counts)
        return np.arange(ends[-1]) + np.repeat(self.bounds[texts] - ends + counts, counts)

    def embedded(self, network: Network, index: Integers) -> tuple[Floats, Integers]:
        """Rows of the distinct ones among some tokens, and which of them each token has."""
        if network not in self.rows:
            self.rows[network] = self.embed(network)
        rows, row_of = self.rows[network]
        used, inverse = np.unique(row_of[index], return_inverse=True)
        return rows[used], inverse

    def embed(self, network: Network) -> tuple[Floats, Integers]:
        """Rows of all distinct tokens, and which of them each token has."""
        tokens = self.tokens
        if not network.sees_spaces:
            unknown = np.zeros(len(tokens.features), bool)
            return network.embed(tokens.features, unknown), tokens.kinds
        both, inverse = np.unique(2 * tokens.kinds + tokens.spaced, return_inverse=True)
        return network.embed(tokens.features[both // 2], both % 2 == 1), inverse


def pages(texts: Sequence[str], chars_max: int) -> Iterator[list[int]]:
    """Indices of texts that are not empty, in portions.

    Raises:
        ValueError: A text is longer than the pipeline reads.
    """
    page: list[int] = []
    size = 0
    for i, text in enumerate(texts):
        if len(text) > chars_max:
            raise ValueError("a text is longer than the pipeline reads")
        if text:
            page.append(i)
            size += len(text)
        if size >= PAGE_CHARS:
            yield page
            page, size = [], 0
    if page:
        yield page


def batches(counts: Integers) -> Iterator[Integers]:
    """Indices of texts of similar lengths, in portions of about ``BATCH_TOKENS`` tokens."""
    order = np.argsort(counts, kind="stable")
    portion = (np.cumsum(counts[order]) - 1) // BATCH_TOKENS
    yield from np.split(order, np.flatnonzero(np.diff(portion)) + 1)


def entities_of(doc: Any) -> list[Entity]:
    """The entities that a pipeline found."""
    return [(span.label_, span.start_char, span.end_char) for span in doc.ents]


def moves_of(part: Any) -> list[str]:
    """The moves of a component in the order of their scores."""
    return [part.moves.get_class_name(i) for i in range(part.moves.n_moves)]
