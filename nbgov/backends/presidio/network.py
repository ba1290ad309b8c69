"""The convolutional network of a spaCy pipeline, run over many texts at once with numpy.

The weights are spaCy's own and so is the arithmetic, up to the order of sums: rows differ from
spaCy's by rounding only. Every layer computes a window of three rows once, however often it occurs
in the batch. What layout a network must have is checked in
:mod:`nbgov.backends.presidio.layout`; nothing of a text is kept. The cases are in
``tests/backends/test_ner.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nbgov.backends.presidio.tokens import Booleans, Integers

Floats = np.ndarray[Any, np.dtype[np.float32]]

WINDOW = np.array([-1, 0, 1])
BLOCK_ROWS = 512
"""Rows that one product of matrices takes at a time, so that its result stays in the cache."""

REPEATS_MIN = 0.05
"""The share of repeated windows from which looking for them pays."""


class Network:
    """Turns tokens into rows: an embedding of each token and four layers that look around.

    Args:
        model: A ``Tok2Vec`` model of the layout that is checked beforehand.
        vocab: The vocabulary with the static vectors, which some models use.
        columns: The attributes of tokens that :meth:`embed` will be given, by their ids.

    Attributes:
        sees_spaces: Whether the network reads if a space follows a token.
    """

    def __init__(self, model: Any, vocab: Any, columns: Sequence[int]) -> None:
        from spacy.attrs import SPACY

        nodes = list(model.walk())
        places = [columns.index(column) for column in columns_of(model)]
        self.space = columns.index(SPACY) if SPACY in columns_of(model) else -1
        self.sees_spaces = self.space >= 0
        embed, encode = model.get_ref("embed"), model.get_ref("encode")
        hashes = [node for node in embed.walk() if node.name == "hashembed"]
        self.tables = [
            (places[node.attrs["column"]], node.attrs["seed"], weights(node, "E"))
            for node in sorted(hashes, key=lambda node: node.attrs["column"])
        ]
        [static] = [node for node in nodes if node.name == "static_vectors"] or [None]
        self.static = None if static is None else np.ascontiguousarray(weights(static, "W").T)
        [self.mix] = maxouts(embed)
        self.layers = list(maxouts(encode))
        self.ops, self.vectors, self.width = model.ops, vocab.vectors, self.layers[0].width

    def embed(self, features: np.ndarray[Any, np.dtype[np.uint64]], spaced: Booleans) -> Floats:
        """A row for each token by itself.

        Args:
            features: The attributes of the tokens in the order of ``columns``, then their texts'
                hashes.
            spaced: Whether a space follows.
        """
        result = np.empty((len(features), self.width), np.float32)
        for start in range(0, len(features), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            result[block] = self.mix(self.look_up(features[block], spaced[block]))
        return result

    def look_up(self, features: np.ndarray[Any, np.dtype[np.uint64]], spaced: Booleans) -> Floats:
        """What the tables know about tokens, side by side."""
        parts = []
        for column, seed, table in self.tables:
            values = spaced.astype(np.uint64) if column == self.space else features[:, column]
            keys = self.ops.hash(np.ascontiguousarray(values), seed) % len(table)
            parts.append(table[keys[:, 0]])
            for i in range(1, keys.shape[1]):
                parts[-1] += table[keys[:, i]]
        if self.static is not None:
            rows = self.vectors.find(keys=features[:, -1])
            known = self.vectors.data[rows] @ self.static
            known[rows < 0] = 0
            parts.append(known)
        return np.concatenate(parts, axis=1)

    def encode(
        self, embedded: Floats, kinds: Integers, counts: Integers
    ) -> tuple[Floats, Integers]:
        """Rows of tokens in their contexts.

        Args:
            embedded: Rows of tokens by themselves.
            kinds: The row of each token, one text after the other.
            counts: Tokens of each text, all of them positive.

        Returns:
            Distinct rows, and which of them each token has.
        """
        depth = len(self.layers)
        gaps = np.repeat(np.arange(1, len(counts) + 1) * depth, counts)
        places = np.arange(len(kinds)) + gaps
        size = len(kinds) + (len(counts) + 1) * depth
        rows = np.concatenate([np.zeros((1, self.width), np.float32), embedded])
        ids = np.zeros(size, np.int64)
        ids[places] = kinds + 1
        repeats = 1.0
        for i, layer in enumerate(self.layers):
            # Only what can still reach a token is computed: the paddings are wider than that.
            at = around(places, depth - 1 - i, size)
            windows, inverse = ids[at[:, None] + WINDOW], np.arange(len(at))
            if repeats > REPEATS_MIN:
                windows, inverse = distinct(windows, len(rows))
                repeats = 1 - len(windows) / len(at)
            rows = (convolve if i else convolve_kinds)(layer, rows, windows)
            ids = np.zeros(size, np.int64)
            ids[at] = inverse
        return rows, ids[places]


class Maxout:
    """A layer: the largest of several linear maps, normalised over the row."""

    def __init__(self, maxout: Any, norm: Any) -> None:
        weight, bias = weights(maxout, "W"), weights(maxout, "b")
        self.width, self.pieces, inputs = weight.shape
        self.weight = np.ascontiguousarray(weight.transpose(1, 0, 2).reshape(-1, inputs).T)
        self.bias = np.ascontiguousarray(bias.T.reshape(-1))
        self.scale, self.shift = weights(norm, "G"), weights(norm, "b")

    def __call__(self, rows: Floats) -> Floats:
        """The layer's output for each row."""
        result = np.empty((len(rows), self.width), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            self.normalise(rows[block] @ self.weight, result[block])
        return result

    def normalise(self, sums: Floats, result: Floats) -> None:
        """From the linear maps (overwritten) to the output."""
        sums += self.bias
        width = self.width
        np.maximum(sums[:, :width], sums[:, width : 2 * width], out=result)
        for i in range(2, self.pieces):
            np.maximum(result, sums[:, i * width : (i + 1) * width], out=result)
        result -= result.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", result, result) / np.float32(width)
        result *= (1 / np.sqrt(variance + np.float32(1e-8)))[:, None]
        result *= self.scale
        result += self.shift


def convolve(layer: Maxout, rows: Floats, windows: Integers) -> Floats:
    """A row for each window: its middle plus what the layer makes of all three."""
    width, result = layer.width, np.empty((len(windows), layer.width), np.float32)
    for start in range(0, len(result), BLOCK_ROWS):
        block = rows[windows[start : start + BLOCK_ROWS]].reshape(-1, 3 * width)
        target = result[start : start + BLOCK_ROWS]
        layer.normalise(block @ layer.weight, target)
        target += block[:, width : 2 * width]
    return result


def convolve_kinds(layer: Maxout, rows: Floats, windows: Integers) -> Floats:
    """The same as :func:`convolve`, faster where there are fewer rows than windows."""
    width, result = layer.width, np.empty((len(windows), layer.width), np.float32)
    shares = [rows @ layer.weight[i * width : (i + 1) * width] for i in range(3)]
    for start in range(0, len(result), BLOCK_ROWS):
        left, middle, right = windows[start : start + BLOCK_ROWS].T
        sums = shares[0][left]
        sums += shares[1][middle]
        sums += shares[2][right]
        target = result[start : start + BLOCK_ROWS]
        layer.normalise(sums, target)
        target += rows[middle]
    return result


class Scorer:
    """What a transition-based component computes from rows: features first, then scores of moves.

    Args:
        model: The component's model, of the layout that is checked beforehand.
        order: The order in which the scores are wanted.
    """

    def __init__(self, model: Any, order: Integers | None = None) -> None:
        chain, lower, upper = (model.get_ref(name) for name in ("tok2vec", "lower", "upper"))
        linear = chain.layers[-1]
        self.weight = np.ascontiguousarray(weights(linear, "W").T)
        self.bias = weights(linear, "b")
        hidden = weights(lower, "W")
        self.slots, self.width, pieces, inputs = hidden.shape
        self.lower = np.ascontiguousarray(hidden.transpose(0, 2, 1, 3).reshape(-1, inputs).T)
        self.hidden_bias = np.ascontiguousarray(weights(lower, "b").T.reshape(-1))
        pad = weights(lower, "pad").reshape(self.slots, self.width, pieces)
        self.pad = np.ascontiguousarray(pad.transpose(0, 2, 1).reshape(1, -1))
        chosen = slice(None) if order is None else order
        self.upper = np.ascontiguousarray(weights(upper, "W")[chosen].T)
        self.upper_bias = weights(upper, "b")[chosen]

    def precompute(self, rows: Floats) -> Floats:
        """What each row adds in each slot of a state; the last row stands for "no token".

        Row ``r`` in slot ``s`` is at index ``r * slots + s``.
        """
        result = np.empty((len(rows) + 1, self.lower.shape[1]), np.float32)
        result[-1] = self.pad
        np.matmul(rows @ self.weight + self.bias, self.lower, out=result[:-1])
        return result.reshape(-1, 2 * self.width)

    def scores(self, parts: Floats) -> Floats:
        """Scores of all moves, a row for each state.

        Args:
            parts: The sum of what the rows in a state's slots add (overwritten).
        """
        result = self.hidden(parts) @ self.upper
        result += self.upper_bias
        return result

    def scores_by_move(self, parts: Floats) -> Floats:
        """The same scores, a row for each move."""
        result = self.upper.T @ self.hidden(parts).T
        result += self.upper_bias[:, None]
        return result

    def hidden(self, parts: Floats) -> Floats:
        """The larger piece of each hidden unit."""
        parts += self.hidden_bias
        return np.maximum(parts[:, : self.width], parts[:, self.width :])


def columns_of(model: Any) -> list[int]:
    """The attributes of tokens that a network reads, by their ids."""
    from spacy.attrs import IDS

    [extract] = [node for node in model.walk() if node.name == "extract_features"]
    return [IDS[name] if isinstance(name, str) else name for name in extract.attrs["columns"]]


def weights(node: Any, name: str) -> Floats:
    """A parameter of a layer as an array of its own."""
    return np.array(node.get_param(name), np.float32)


def maxouts(model: Any) -> Iterator[Maxout]:
    """The maxout layers of a model with their norms, in order."""
    nodes = list(model.walk(order="dfs_pre"))
    layers = [node for node in nodes if node.name == "maxout"]
    norms = [node for node in nodes if node.name == "layernorm"]
    for maxout, norm in zip(layers, norms, strict=True):
        yield Maxout(maxout, norm)


def around(places: Integers, reach: int, size: int) -> Integers:
    """All places that are at most ``reach`` away from one of the given."""
    if reach == 0:
        return places
    near: Booleans = np.zeros(size, bool)
    for shift in range(-reach, reach + 1):
        near[places + shift] = True
    return np.flatnonzero(near)


def distinct(windows: Integers, size: int) -> tuple[Integers, Integers]:
    """Each window once, and which of them stands at each place."""
    # Three indices below two million fit into one integer.
    assert size < 1 << 21, "a batch is far smaller than that"
    keys, inverse = np.unique(
        (windows[:, 0] * size + windows[:, 1]) * size + windows[:, 2], return_inverse=True
    )
    rest, right = np.divmod(keys, size)
    return np.stack([*np.divmod(rest, size), right], axis=1), inverse
