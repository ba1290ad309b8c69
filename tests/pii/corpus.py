"""The corpus: more than 50,000 different values of our own, the same in every run.

Each kind of value draws from a source of its own, so that a kind can grow without changing the
others, and a sample is the beginning of each kind. Neighbours stay neighbours: some of them are
made to run into each other.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tests.pii.adversary import Adversary
from tests.pii.pieces import TEMPLATES, Pieces
from tests.pii.shapes import matching

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

SEED = 2013
SHARES = {
    "names": 6_000,
    "emails": 4_500,
    "phones": 6_500,
    "cards": 3_500,
    "ids": 6_000,
    "numbers": 3_500,
    "dates": 2_500,
    "addresses": 2_500,
    "urls": 2_500,
    "cities": 1_500,
    "companies": 1_200,
    "words": 600,
    "sentences": 4_000,
    "contexts": 6_500,
    "shapes": 6_000,
    "valid": 450,
    "notes": 1_600,
    "records": 1_500,
    "spellings": 5_000,
    "glued": 1_500,
    "halves": 1_500,
    "noise": 2_500,
    "hostile": 200,
}
"""How many values of each kind are drawn. Some are drawn twice, and count once."""

PLAIN = {
    "names": "name",
    "emails": "email",
    "phones": "phone",
    "cards": "card",
    "ids": "id",
    "numbers": "number",
    "dates": "date",
    "addresses": "address",
    "urls": "url",
    "cities": "city",
    "companies": "company",
    "words": "word",
}
NOTE_CHARS_MIN, NOTE_CHARS_MAX = 50, 500
DRAWS_MAX = 400
ENDINGS = ("", "", "", "s", "es", "ing", "ed", "er", "'s", "ies", "ation", "#", "_id", "n't")


def corpus(
    recognizers: Sequence[EntityRecognizer], *, share: float = 1.0, seed: int = SEED
) -> dict[str, list[str]]:
    """Distinct values by kind.

    Args:
        recognizers: Those whose patterns and context words the values are made to meet.
        share: The part of each kind that is wanted.
        seed: Another seed makes another corpus of the same kinds.
    """
    seen: set[str] = set()
    found = {}
    for kind, count in SHARES.items():
        drawn = draw(kind, recognizers, seed)
        fresh = dict.fromkeys(itertools.islice(drawn, max(4, int(count * share))))
        found[kind] = [value for value in fresh if value not in seen]
        seen.update(found[kind])
    return found


def draw(kind: str, recognizers: Sequence[EntityRecognizer], seed: int) -> Iterator[str]:
    """Values of a kind without end."""
    pieces = Pieces(f"{seed} {kind}")
    chance, adversary = pieces.chance, Adversary(pieces)
    if kind == "halves":
        while True:
            yield from adversary.halves()
    if kind == "hostile":
        yield from itertools.cycle(chance.sample(TEMPLATES[kind], len(TEMPLATES[kind])))
    if kind == "valid":
        for recognizer in itertools.cycle(recognizers):
            yield accepted(pieces, recognizer)
    make: dict[str, Callable[[], str]] = {
        "sentences": lambda: pieces.fill(chance.choice(TEMPLATES["sentences"])),
        "contexts": lambda: in_context(pieces, chance.choice(recognizers)),
        "shapes": lambda: in_shape(pieces, chance.choice(recognizers)),
        "notes": lambda: note(pieces),
        "records": lambda: pieces.fill(chance.choice(TEMPLATES["records"])),
        "spellings": adversary.spelt,
        "glued": adversary.glued,
        "noise": adversary.noise,
    }
    drawn = make[kind] if kind in make else lambda: pieces.make(PLAIN[kind])
    while True:
        yield drawn()


def in_shape(pieces: Pieces, recognizer: EntityRecognizer) -> str:
    """What a recognizer looks for, or nearly so."""
    patterns = getattr(recognizer, "patterns", None) or []
    if not patterns:
        return pieces.phone()
    value = matching(pieces.chance.choice(patterns).regex, pieces.chance)
    if pieces.chance.random() < 0.2:
        value = pieces.chance.choice(("x", "1", "_", " ", "é", ".")) + value
    if pieces.chance.random() < 0.2:
        value += pieces.chance.choice(("x", "1", "_", " ", "é", "."))
    return value or pieces.code()


def accepted(pieces: Pieces, recognizer: EntityRecognizer) -> str:
    """What a recognizer finds, check digit and all, if chance makes such a thing in time."""
    value = ""
    for _ in range(DRAWS_MAX):
        shape = pieces.chance.choice(("", *TEMPLATES["strict_shapes"]))
        value = pieces.shaped(shape) if shape else in_shape(pieces, recognizer)
        with contextlib.suppress(Exception):  # Some validators raise on odd digits.
            if recognizer.analyze(value, recognizer.supported_entities, None):
                return value
    return value


def in_context(pieces: Pieces, recognizer: EntityRecognizer) -> str:
    """What a recognizer looks for, beside a word that it knows, in one of its forms."""
    chance = pieces.chance
    words = getattr(recognizer, "context", None) or ["number"]
    word = chance.choice(words)
    if chance.random() < 0.3:
        word = chance.choice(word.split())
    ending = chance.choice(ENDINGS)
    word = (word[:-1] if ending == "ies" else word) + ending
    spellings = (str, str, str.upper, str.title, lambda w: w.replace("s", TEMPLATES["folds"]["s"]))
    value = chance.choice((in_shape(pieces, recognizer), pieces.make("digits"), pieces.code()))
    template = chance.choice(TEMPLATES["context"])
    return pieces.fill(template, word=chance.choice(spellings)(word), value=value)


def note(pieces: Pieces) -> str:
    """Sentences that fill 50 to 500 characters."""
    length = pieces.chance.randint(NOTE_CHARS_MIN, NOTE_CHARS_MAX)
    text = ""
    while len(text) < length:
        text += pieces.fill(pieces.chance.choice(TEMPLATES["sentences"])) + " "
    return text[:NOTE_CHARS_MAX].strip()
