"""Sentence starts from the scores of a dependency parser, all texts of a batch in step.

The entity recognizer may not cross the start of a sentence, and sentences are what the parser
makes of a text: each tree of the parse is one. This is spaCy's greedy arc-eager parser without its
labels, which decide nothing about sentences. Some labels tell spaCy to move an arc afterwards; the
arc stays in its tree. Texts in which many arcs move, so that spaCy may give up before it has found
the ends of all trees, and texts whose arcs do not nest, are reported as odd and left to spaCy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nbgov.backends.presidio.network import Floats, Scorer
from nbgov.backends.presidio.tokens import Booleans, Integers

SHIFT, REDUCE, LEFT, LEFT_LIFTED, RIGHT, RIGHT_LIFTED, BREAK = range(7)
LIFTED = "||"
"""Marks the labels of arcs that the parser moves after the parse."""

LIFTED_MAX = 4
"""Moved arcs of a text at most. spaCy looks eleven times for the ends of trees, and each moved arc
takes two looks at most."""

ROUNDS_PER_TOKEN = 6
"""Moves of a text at most, for each of its tokens; a usual text takes two."""


@dataclass(frozen=True, slots=True)
class Sentences:
    """What a parse says about sentences.

    Attributes:
        starts: Whether a token starts a sentence that is not the first of its text.
        margins: For each text, how clear its least clear decision was.
        odd: Texts about which nothing is known.
    """

    starts: Booleans
    margins: Floats
    odd: Booleans


def kind_of(name: str) -> int:
    """The kind of a parser's move, such as ``L-nsubj``."""
    lifted = LIFTED in name
    return {"S": SHIFT, "D": REDUCE, "L": LEFT + lifted, "R": RIGHT + lifted, "B": BREAK}[name[0]]


class Parser:
    """Knows the moves of a dependency parser.

    Args:
        names: The parser's moves in the order of their scores.
        model: The parser's model, of the layout that is checked beforehand.
    """

    def __init__(self, names: Sequence[str], model: object) -> None:
        kinds = np.array([kind_of(name) for name in names])
        order = np.argsort(kinds, kind="stable")
        self.kinds, self.bounds = np.unique(kinds[order], return_index=True)
        self.scorer = Scorer(model, order)

    def sentences(self, parts: Floats, rows: Integers, counts: Integers) -> Sentences:
        """Parse texts.

        Args:
            parts: What :meth:`Scorer.precompute` made of distinct rows.
            rows: The row of each token, one text after the other.
            counts: Tokens of each text, all of them positive.
        """
        state = State(rows, counts, len(parts) // self.scorer.slots - 1)
        for _ in range(ROUNDS_PER_TOKEN * int(counts.max()) + ROUNDS_PER_TOKEN):
            if not state.texts.size:
                break
            kinds, margins = self.choose(parts, state)
            state.margins[state.texts] = np.minimum(state.margins[state.texts], margins)
            state.apply(kinds)
        state.odd[state.texts] = True
        return state.finish(counts)

    def choose(self, parts: Floats, state: State) -> tuple[Integers, Floats]:
        """The best permitted kind of move for each unfinished text, and how clear it is."""
        first, *others = (state.row_of[tokens] * self.scorer.slots for tokens in state.slots())
        sums = parts[first]
        for i, row in enumerate(others, 1):
            sums += parts[row + i]
        best = np.maximum.reduceat(self.scorer.scores_by_move(sums), self.bounds, axis=0)
        best[~state.permitted()[self.kinds]] = -np.inf
        chosen = best.argmax(axis=0)
        index = np.arange(len(chosen))
        top = best[chosen, index]
        best[chosen, index] = -np.inf
        return self.kinds[chosen], top - best.max(axis=0)


class State:
    """Where the parses of some texts stand. Tokens count through all texts.

    The buffer of a text lies in ``queue`` with its next token last, and its stack in ``stack``;
    below both stand slots that say "no token", which is the number after the last token.
    """

    def __init__(self, rows: Integers, counts: Integers, pad: int) -> None:
        size, texts = len(rows), len(counts)
        self.none = size
        self.row_of = np.append(rows, pad)
        first = np.cumsum(counts) - counts
        ordinal = np.arange(texts)
        self.stack = np.full(size + 3 * texts, size)
        self.queue = np.full(size + 2 * texts, size)
        self.ground, self.bottom = first + 3 * ordinal + 3, first + 2 * ordinal + 2
        self.top, self.end = self.ground.copy(), self.bottom + counts
        backwards = np.repeat(2 * first + counts - 1, counts) - np.arange(size)
        self.queue[np.arange(size) + np.repeat(2 * ordinal + 2, counts)] = backwards
        self.head, self.left, self.right, self.right_before = np.full((4, size + 1), size)
        self.is_returned, self.is_start = np.zeros((2, size + 1), bool)
        self.is_start[first] = True
        self.margins = np.full(texts, np.inf, np.float32)
        self.odd, self.lifted = np.zeros(texts, bool), np.zeros(texts, np.int64)
        self.texts = ordinal
        self.look()

    def look(self) -> None:
        """Read the tokens on which the next moves depend."""
        self.next, self.after = self.queue[self.end - 1], self.queue[self.end - 2]
        self.tip = self.stack[self.top - 1]
        self.depth, self.rest = self.top - self.ground, self.end - self.bottom

    def slots(self) -> tuple[Integers, ...]:
        """The tokens from which moves are scored, in spaCy's order."""
        return (
            *(self.next, self.after),
            *(self.stack[self.top - i] for i in (1, 2, 3)),
            *(self.left[self.next], self.left[self.tip]),
            self.right[self.tip],
        )

    def permitted(self) -> Booleans:
        """Which kinds of move each text may take: a row for each kind."""
        result = np.empty((7, len(self.texts)), bool)
        stacked, within = self.depth > 0, ~self.is_start[self.next]
        more = self.rest > 1
        result[SHIFT] = ~stacked | (more & within & ~self.is_returned[self.next])
        result[REDUCE] = stacked
        result[LEFT:BREAK] = stacked & (self.rest > 0) & within
        result[BREAK] = more & (self.after == self.next + 1) & ~self.is_start[self.after]
        return result

    def apply(self, kinds: Integers) -> None:
        """Take one move in each text, and drop the texts that are finished or odd."""
        to_right = (kinds == RIGHT) | (kinds == RIGHT_LIFTED)
        self.lifted[self.texts] += (kinds == LEFT_LIFTED) | (kinds == RIGHT_LIFTED)
        self.odd[self.texts] |= self.lifted[self.texts] > LIFTED_MAX
        self.is_start[self.after[kinds == BREAK]] = True
        self.attach_right(np.flatnonzero(to_right))
        self.attach_left(np.flatnonzero((kinds == LEFT) | (kinds == LEFT_LIFTED)))
        self.push(np.flatnonzero((kinds == SHIFT) | to_right))
        self.reduce(np.flatnonzero(kinds == REDUCE))
        finished = (self.top == self.ground) & (self.end == self.bottom)
        finished |= self.odd[self.texts]
        if finished.any():
            going = ~finished
            self.texts, self.top, self.end = self.texts[going], self.top[going], self.end[going]
            self.ground, self.bottom = self.ground[going], self.bottom[going]
        self.look()

    def attach_right(self, at: Integers) -> None:
        """Make the tip the head of the next token."""
        tip, following = self.tip[at], self.next[at]
        self.odd[self.texts[at]] |= self.head[following] != self.none
        self.head[following] = tip
        self.right_before[following], self.right[tip] = self.right[tip], following

    def attach_left(self, at: Integers) -> None:
        """Make the next token the head of the tip, which may lose a head, and drop the tip."""
        tip, following = self.tip[at], self.next[at]
        again = np.flatnonzero(self.head[tip] != self.none)
        child = tip[again]
        former = self.head[child]
        self.odd[self.texts[at[again]]] |= self.right[former] != child
        self.right[former] = self.right_before[child]
        self.head[tip], self.left[following] = following, tip
        self.is_returned[following] = False
        self.top[at] -= 1

    def push(self, at: Integers) -> None:
        """Put the next token on the stack."""
        self.stack[self.top[at]] = self.next[at]
        self.top[at] += 1
        self.end[at] -= 1

    def reduce(self, at: Integers) -> None:
        """Drop the tip; a tip without a head goes back to the buffer if others are below it."""
        tip = self.tip[at]
        back = (self.head[tip] == self.none) & (self.depth[at] > 1)
        returned, tip = at[back], tip[back]
        self.queue[self.end[returned]] = tip
        self.end[returned] += 1
        self.is_returned[tip] = True
        self.top[at] -= 1

    def finish(self, counts: Integers) -> Sentences:
        """Sentences are the trees of the parse: they start where no arc passes over."""
        child = np.flatnonzero(self.head[:-1] != self.none)
        head = self.head[child]
        low, high = np.minimum(child, head), np.maximum(child, head)
        size = self.none
        opened = np.cumsum(np.bincount(low + 1, minlength=size + 2))
        passed = opened - np.cumsum(np.bincount(high + 1, minlength=size + 2))
        over = opened - np.cumsum(np.bincount(high, minlength=size + 2))
        root = self.head[:-1] == self.none
        # A root below an arc would be a sentence inside of another: spaCy sorts that out.
        owner = np.repeat(np.arange(len(counts)), counts)
        self.odd[owner[root & (over[:size] > 0)]] = True
        starts = passed[:size] == 0
        starts[np.cumsum(counts) - counts] = False
        return Sentences(starts, self.margins, self.odd)
