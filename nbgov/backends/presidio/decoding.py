"""Named entities from the scores of moves: spaCy's greedy walk, all texts of a batch in step.

A text is walked token by token; each state is scored from the token, from the first token of the
open entity and from the token before. The best move that spaCy would permit is taken, and how far
the second best lies behind is remembered, because rounding could swap the two when it is close.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nbgov.backends.presidio.network import Floats, Scorer
from nbgov.backends.presidio.tokens import Booleans, Integers

BEGIN, INSIDE, LAST, UNIT, OUTSIDE, BLOCKED = range(6)
KINDS = {"B": BEGIN, "I": INSIDE, "L": LAST, "U": UNIT, "O": OUTSIDE}


@dataclass(frozen=True, slots=True)
class Walk:
    """What was decided for the tokens of some texts.

    Attributes:
        moves: The move of each token.
        margins: For each text, how clear its least clear decision was.
    """

    moves: Integers
    margins: Floats


class Decoder:
    """Knows the moves of an entity recognizer and which of them may follow which.

    Args:
        names: The recognizer's moves, such as ``B-PERSON``, in the order of their scores.
        scorer: Computes those scores.
    """

    def __init__(self, names: Sequence[str], scorer: Scorer) -> None:
        self.scorer = scorer
        self.kinds = np.array([BLOCKED if name == "U-" else KINDS[name[0]] for name in names])
        self.labels = sorted({name[2:] for name in names if len(name) > len("B-")})
        places = {label: i for i, label in enumerate(self.labels)}
        self.label_of = np.array([places.get(name[2:], -1) for name in names])
        self.penalties = self.penalise()

    def penalise(self) -> Floats:
        """Zero for each permitted move and minus infinity for all others, by state.

        Three states without an open entity come first (in general; where none may begin that
        reaches over the token; at white space), then two for each label of an open entity (in
        general; where it may not go on).
        """
        forbidden = np.float32(-np.inf)
        table = np.full((3 + 2 * len(self.labels), len(self.kinds)), forbidden, np.float32)
        table[0, np.isin(self.kinds, (BEGIN, UNIT, OUTSIDE))] = 0
        table[1, np.isin(self.kinds, (UNIT, OUTSIDE))] = 0
        table[2, self.kinds == OUTSIDE] = 0
        for label in range(len(self.labels)):
            own = self.label_of == label
            table[3 + 2 * label, own & np.isin(self.kinds, (INSIDE, LAST))] = 0
            table[4 + 2 * label, own & (self.kinds == LAST)] = 0
        return table

    def walk(
        self, parts: Floats, rows: Integers, counts: Integers, blank: Booleans, starts: Booleans
    ) -> Walk:
        """Walk over texts.

        Args:
            parts: What :meth:`Scorer.precompute` made of distinct rows.
            rows: The row of each token, one text after the other.
            counts: Tokens of each text, all of them positive.
            blank: Whether a token is white space.
            starts: Whether a token starts a sentence that is not the first of its text.
        """
        order = np.argsort(-counts, kind="stable")
        lengths = counts[order]
        first = (np.cumsum(counts) - counts)[order]
        slots, pad = self.scorer.slots, len(parts) // self.scorer.slots - 1
        label, opened = np.full(len(counts), -1), np.full(len(counts), pad)
        previous = np.full(len(counts), pad)
        moves = np.zeros(len(rows), np.int64)
        margins = np.full(len(counts), np.inf, np.float32)
        last = np.zeros(len(rows) + 1, bool)
        last[np.cumsum(counts) - 1] = True
        last[:-1] |= np.append(starts[1:], False)
        active = np.searchsorted(-lengths, -np.arange(1, lengths[0] + 1), side="right").tolist()
        for step, size in enumerate(active):
            label, opened, previous = label[:size], opened[:size], previous[:size]
            token = first[:size] + step
            row, stops = rows[token], last[token]
            sums = parts[row * slots]
            sums += parts[opened * slots + 1]
            sums += parts[previous * slots + 2]
            scores = self.scorer.scores(sums)
            closed = np.where(blank[token], 2, stops)
            scores += self.penalties[np.where(label < 0, closed, 3 + 2 * label + stops)]
            move = scores.argmax(axis=1)
            margins[:size] = np.minimum(margins[:size], clearness(scores, move))
            moves[token] = move
            kind = self.kinds[move]
            begins, stays = kind == BEGIN, kind <= INSIDE
            opened = np.where(begins, row, np.where(stays, opened, pad))
            label = np.where(stays, self.label_of[move], -1)
            previous = np.where(stays, row, pad)
        result = np.empty_like(margins)
        result[order] = margins
        return Walk(moves, result)

    def entities(self, moves: Integers) -> Iterator[tuple[str, int, int]]:
        """Label, first and last token of every entity that complete walks stand for."""
        kinds = self.kinds[moves]
        first = np.flatnonzero((kinds == BEGIN) | (kinds == UNIT))
        last = np.flatnonzero((kinds == LAST) | (kinds == UNIT))
        labels = [self.labels[i] for i in self.label_of[moves[last]]]
        return zip(labels, first.tolist(), last.tolist(), strict=True)


def clearness(scores: Floats, best: Integers) -> Floats:
    """How far the best score of each row lies above the second best; overwrites the best."""
    index = np.arange(len(scores))
    top = scores[index, best]
    scores[index, best] = -np.inf
    return top - scores.max(axis=1)  # type: ignore[no-any-return]
