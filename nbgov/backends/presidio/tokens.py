"""Tokens of many texts at once: what spaCy's tokenizer makes of each text, as arrays.

spaCy's tokenizer cuts a text at white space and then splits each piece by itself, so a piece that
stands in a thousand texts is split once here. Two pieces can only meet again in a special case of
the tokenizer that reaches over white space; texts in which that could happen are read whole.
Nothing is kept from one call to the next. The cases are in ``tests/backends/test_ner.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np

from nbgov.backends.presidio.engine import forgetting

PIECES = re.compile(r"\S+ ?|\s+")
"""spaCy's own cut: one space after a word belongs to the word, all other white space is a piece."""

MIX = np.uint64(0x9E3779B97F4A7C15)
"""An odd number that keeps two hashes apart when they are added."""

Integers = np.ndarray[Any, np.dtype[np.int64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of some texts, one text after the other.

    Attributes:
        features: Attributes of every distinct token, a row each, in the order of ``columns``.
        kinds: The row in ``features`` of each token.
        spaced: Whether a space follows each token.
        starts: Where each token starts in its text, in characters.
        ends: Where it ends.
        counts: How many tokens each text has.
    """

    features: np.ndarray[Any, np.dtype[np.uint64]]
    kinds: Integers
    spaced: Booleans
    starts: Integers
    ends: Integers
    counts: Integers


@dataclass(frozen=True, slots=True)
class Units:
    """Pieces of text that the tokenizer has split, and their tokens one after the other."""

    rows: np.ndarray[Any, np.dtype[np.uint64]]
    starts: Integers
    offsets: Integers
    counts: Integers


class Reader:
    """Reads texts with the tokenizer of a pipeline, and leaves its vocabulary as it was.

    Args:
        nlp: The pipeline; :meth:`unsupported` must not object to it.
        columns: Attributes of tokens that are wanted, by their ids.
    """

    def __init__(self, nlp: Any, columns: Sequence[int]) -> None:
        from spacy.attrs import LENGTH, NORM, ORTH, SPACY

        self.nlp, self.width = nlp, len(columns)
        self.attributes = [*columns, ORTH, NORM, SPACY, LENGTH]
        self.meetings = meetings(special_cases(nlp))
        pairs = {(ord(head[-1]) << 32) | ord(tail[0]) for head, tail in self.meetings}
        self.pairs = np.array(sorted(pairs), np.int64)

    def read(self, texts: Sequence[str], whole: Collection[int] = ()) -> Tokens:
        """Tokenize texts. Opens a memory zone, so it must not be called inside of one.

        Args:
            texts: The texts.
            whole: Indices of texts that are given to the tokenizer uncut.
        """
        pieces = [PIECES.findall(text) for text in texts]
        for i in whole:
            pieces[i] = [texts[i]]
        codes: dict[str, int] = {}
        every = chain.from_iterable(pieces)
        ids = np.fromiter((codes.setdefault(p, len(codes)) for p in every), np.int64)
        counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
        names = list(codes)
        wholes = {texts[i] for i in whole}
        bodies = [p if p in wholes or p.isspace() else p.removesuffix(" ") for p in names]
        bodies_distinct = {body: i for i, body in enumerate(dict.fromkeys(bodies))}
        with forgetting(self.nlp), sparing(self.nlp.vocab, self.attributes):
            units = self.split(list(bodies_distinct), wholes)
        unit_of = np.array([bodies_distinct[body] for body in bodies], np.int64)
        if not whole:
            awkward = self.awkward(bodies, units.counts[unit_of], ids, counts)
            if awkward.size:
                return self.read(texts, awkward.tolist())
        sizes = np.fromiter(map(len, names), np.int64, len(names))
        spaced = sizes > np.fromiter(map(len, bodies), np.int64, len(bodies))
        return self.join(units, unit_of[ids], sizes[ids], spaced[ids], counts)

    def split(self, bodies: Sequence[str], wholes: Collection[str]) -> Units:
        """Tokenize distinct pieces: words in one go, the others one by one."""
        tokenizer = self.nlp.tokenizer
        alone = [i for i, body in enumerate(bodies) if body in wholes or body[0].isspace()]
        taken = set(alone)
        words = [i for i in range(len(bodies)) if i not in taken]
        order, tables, counts = [*words, *alone], [], []
        if words:
            text = "\n".join(bodies[i] for i in words)
            table = tokenizer(text).to_array(self.attributes).astype(np.uint64, copy=False)
            starts = starts_of(table)
            sizes = np.fromiter((len(bodies[i]) for i in words), np.int64, len(words))
            ends = np.cumsum(sizes + 1) - 1
            separators = np.searchsorted(starts, ends[:-1])
            assert (starts[separators] == ends[:-1]).all(), "each line of words is split by itself"
            counts.append(np.diff(separators, prepend=-1, append=len(table)) - 1)
            tables.append(np.delete(table, separators, axis=0))
        for i in alone:
            table = tokenizer(bodies[i]).to_array(self.attributes).astype(np.uint64, copy=False)
            tables.append(table)
            counts.append(np.array([len(table)]))
        if not order:
            none = np.zeros(0, np.int64)
            return Units(np.zeros((0, len(self.attributes)), np.uint64), none, none, none)
        rows, lengths = np.concatenate(tables), np.concatenate(counts)
        offsets = np.cumsum(lengths) - lengths
        starts = starts_of(rows)
        # Every unit counts its characters from its own first token.
        starts -= np.repeat(starts[offsets], lengths)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return Units(rows, starts, offsets[place], lengths[place])

    def awkward(
        self, bodies: Sequence[str], tokens: Integers, ids: Integers, counts: Integers
    ) -> Integers:
        """Indices of texts in which a special case could reach over white space."""
        if len(ids) < 2:  # noqa: PLR2004 - it takes two to meet.
            return np.zeros(0, np.int64)
        last = np.array([ord(body[-1]) for body in bodies], np.int64)[ids]
        first = np.array([ord(body[0]) for body in bodies], np.int64)[ids]
        owner = np.repeat(np.arange(len(counts)), counts)
        pairs = last[:-1] << 32 | first[1:]
        near = np.flatnonzero(np.isin(pairs, self.pairs) & (owner[1:] == owner[:-1]))
        verdicts: dict[tuple[int, int], bool] = {}
        found = []
        for i in near.tolist():
            pair = left, right = int(ids[i]), int(ids[i + 1])
            if pair not in verdicts:
                verdicts[pair] = any(
                    bodies[left].endswith(head)
                    and bodies[right].startswith(tail)
                    # A piece of one token is only ever matched as a whole.
                    and (tokens[left] > 1 or bodies[left] == head)
                    and (tokens[right] > 1 or bodies[right] == tail)
                    for head, tail in self.meetings
                )
            if verdicts[pair]:
                found.append(owner[i])
        return np.unique(np.array(found, np.int64))

    def join(
        self, units: Units, ids: Integers, sizes: Integers, spaced: Booleans, counts: Integers
    ) -> Tokens:
        """The tokens of texts that consist of units."""
        lengths = units.counts[ids]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        index = np.arange(bounds[-1]) + np.repeat(units.offsets[ids] - bounds[:-1], lengths)
        ends = np.concatenate([[0], np.cumsum(counts)])
        base = np.concatenate([[0], np.cumsum(sizes)])
        origin = base[:-1] - np.repeat(base[ends[:-1]], counts)
        starts = units.starts[index] + np.repeat(origin, lengths)
        follows = units.rows[index, -2] != 0
        follows[bounds[1:] - 1] |= spaced
        orth, norm = units.rows[:, self.width], units.rows[:, self.width + 1]
        _, chosen, kinds = np.unique(orth + norm * MIX, return_index=True, return_inverse=True)
        return Tokens(
            features=np.ascontiguousarray(units.rows[chosen, : self.width + 1]),
            kinds=kinds[index],
            spaced=follows,
            starts=starts,
            ends=starts + units.rows[index, -1].astype(np.int64),
            counts=bounds[ends[1:]] - bounds[ends[:-1]],
        )


@contextmanager
def sparing(vocab: Any, attributes: Collection[int]) -> Iterator[None]:
    """Let a vocabulary compute only these attributes of the words that it meets in a memory zone.

    It forgets those words at the end of the zone, so nobody ever misses the other attributes. To
    compute them takes most of the time of reading.
    """
    every = vocab.lex_attr_getters
    vocab.lex_attr_getters = {key: every[key] for key in every if key in attributes}
    try:
        yield
    finally:
        vocab.lex_attr_getters = every


def starts_of(table: np.ndarray[Any, np.dtype[np.uint64]]) -> Integers:
    """Where tokens start, from their lengths and the spaces that follow them."""
    steps = (table[:, -1] + table[:, -2]).astype(np.int64)
    return np.cumsum(steps) - steps


def special_cases(nlp: Any) -> list[list[str]]:
    """The tokenizer's special cases, as the tokens that it would see without them."""
    from spacy.tokenizer import Tokenizer

    own = nlp.tokenizer
    with forgetting(nlp):
        plain = Tokenizer(
            nlp.vocab,
            None,
            own.prefix_search,
            own.suffix_search,
            own.infix_finditer,
            own.token_match,
            own.url_match,
        )
        return [[token.text for token in plain(rule)] for rule in own.rules]


def meetings(cases: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Ends and beginnings of pieces that together could be a special case, each once."""
    found: dict[tuple[str, str], None] = {}
    for case in cases:
        head = ""
        for token, following in pairwise(case):
            head += token
            found[head, following] = None
    return list(found)
