"""Scores among supporting words: those of Presidio's own enhancer, mostly without spaCy."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.backends.presidio.context import ContextScores, fold
from nbgov.backends.presidio.engine import load_engine
from nbgov.backends.presidio.hits import Hit
from nbgov.backends.presidio.lemmas import Lemmas, Word, constant_of
from nbgov.backends.presidio.nearby import Nearby, read
from nbgov.backends.presidio.pieces import Pieces

Example = tuple[str, list[Hit]]
"""A text with hits in it."""


@pytest.fixture(scope="module")
def engine() -> Any:
    """Presidio's engine for spaCy, with a model that is loaded once."""
    return load_engine().analyzer.nlp_engine


@pytest.fixture(scope="module")
def analyzer(engine: Any) -> Any:
    """A stock analyzer with default recognizers."""
    from presidio_analyzer import AnalyzerEngine

    return AnalyzerEngine(nlp_engine=engine)


@pytest.fixture(scope="module")
def recognizers(analyzer: Any) -> list[Any]:
    """Those of its recognizers that have context words, and one that has none."""
    known = analyzer.registry.recognizers
    return [r for r in known if r.context] + [next(r for r in known if not r.context)]


def stock(
    analyzer: Any,
    texts: Sequence[str],
    hits: Sequence[Hit],
    recognizers: Sequence[Any],
    outer: Sequence[str] = (),
    *,
    batch_size: int = 256,
) -> list[float]:
    """The scores that Presidio's enhancer gives, from spaCy's whole pipeline."""
    from presidio_analyzer import AnalysisExplanation, RecognizerResult

    by_value: dict[int, list[int]] = {}
    for index, hit in enumerate(hits):
        by_value.setdefault(hit.value, []).append(index)
    scores = [hit.score for hit in hits]
    read_texts = analyzer.nlp_engine.process_batch(
        [texts[value] for value in by_value], "en", batch_size=batch_size
    )
    for (value, indices), (_, artifacts) in zip(by_value.items(), read_texts, strict=True):
        results = [
            RecognizerResult(
                hits[i].entity,
                hits[i].start,
                hits[i].end,
                hits[i].score,
                AnalysisExplanation("", 0),
                {"recognizer_identifier": recognizers[hits[i].recognizer].id},
            )
            for i in indices
        ]
        enhanced = analyzer.context_aware_enhancer.enhance_using_context(
            texts[value], results, artifacts, list(recognizers), list(outer)
        )
        for i, result in zip(indices, enhanced, strict=True):
            scores[i] = result.score
    return scores


def assert_equal(
    analyzer: Any,
    texts: Sequence[str],
    hits: Sequence[Hit],
    recognizers: Sequence[Any],
    outer: Sequence[str] = (),
    *,
    batch_size: int = 256,
) -> list[Hit]:
    """The raised hits are the stock enhancer's, and nothing but scores has changed."""
    raised = ContextScores(analyzer, "en").raised(texts, hits, recognizers, outer)
    truth = stock(analyzer, texts, hits, recognizers, outer, batch_size=batch_size)
    assert [hit.score for hit in raised] == truth
    assert [hit._replace(score=0) for hit in raised] == [hit._replace(score=0) for hit in hits]
    return raised


# ---------------------------------------------------------------- the scores of Presidio

PLAIN = [
    *["the", "a", "of", "and", "is", "was", "be", "been", "us", "we", "let's", "my", "our", "i"],
    *["it's", "don't", "gonna", "somethin'", "not", "n't", "who", "whose", "I'm", "they're"],
    *["customer", "status", "bus", "Austin", "campus", "meeting", "hosting", "public", "republic"],
    *["licence", "relics", "alumni", "corpus", "indices", "men", "women", "taxis", "taxes", "mac"],
    *["Paris", "Monday", "green", "sold", "paid", "stung", "stuck", "best", "worse", "quickly"],
    *["account:12", "ssn:078-05-1120", "tel:", "a:b", "the:x", "x:the:us", "::", ":", "12:30"],
    *[",", ".", "-", "--", "...", "!", "?", "(", ")", '"', "'", "’s", "“x”", "#", "&", "/", "•"],
    *["12345678", "078-05-1120", "4111 1111 1111 1111", "A1234567", "a@b.example", "1.2.3.4"],
    *["-PRON-", "Be", "BE", "US", "İd", "straße", "ΟΔΟΣ", "œuvre", "x" * 40, "\u00a0", "\t"],
]
BETWEEN = [" "] * 12 + ["", "", ", ", "\n", "  ", ":", "-", "/", "_", "\t", "'", "’"]
ENDINGS = ["", "s", "es", "ed", "d", "ing", "er", "est", "ies", "'s", "#", ".", ":", "x", "ment"]
SPELLINGS = [
    str,
    str.upper,
    str.title,
    str.swapcase,
    lambda word: word.replace("s", "\u017f"),
    lambda word: word.replace("k", "\N{KELVIN SIGN}"),
    lambda word: word.replace("i", "İ"),
    lambda word: word.replace("o", "o\u0301"),
    lambda word: word[:-1],
    lambda word: "x" + word,
]


def inflected(words: Iterable[str], chance: random.Random) -> Iterator[str]:
    """Yield each word with every ending, each form spelled in one of many ways."""
    for word in words:
        for ending in ENDINGS:
            stem = word[:-1] if ending[:1] in {"e", "i"} and chance.random() < 0.5 else word
            yield chance.choice(SPELLINGS)(stem + ending)


def sentences(count: int, recognizers: Sequence[Any], chance: random.Random) -> list[str]:
    """Distinct texts of plain words and context words in all their forms."""
    words = sorted({word for r in recognizers for word in r.context})
    forms = list(inflected(words, chance))
    made: dict[str, None] = {}
    while len(made) < count:
        text = ""
        for _ in range(chance.randrange(1, 16)):
            text += chance.choice(forms if chance.random() < 0.3 else PLAIN)
            text += chance.choice(BETWEEN)
        made[text if chance.random() < 0.2 else text.strip()] = None
    return [text for text in made if text]


def everywhere(text: str, value: int, recognizers: Sequence[Any], chance: random.Random) -> Any:
    """Yield a hit of every recognizer at some place of a text, whatever stands there."""
    for number in range(len(recognizers)):
        start = chance.choice([0, chance.randrange(len(text)), len(text.rstrip()) - 1])
        if text[start:].strip():
            end = chance.randrange(start + 1, len(text) + 1)
            score = chance.choice([0.01, 0.05, 0.3, 0.4, 0.5, 0.6, 0.65, 0.85, 0.99, 1.0])
            yield Hit(value, number, "X", start, end, score)


def test_scores_are_presidio_s(analyzer: Any, recognizers: list[Any]) -> None:
    """Hits of every recognizer anywhere in 2,500 texts get the stock enhancer's scores."""
    chance = random.Random(4)
    texts = sentences(2_500, recognizers, chance)
    hits = [hit for i, text in enumerate(texts) for hit in everywhere(text, i, recognizers, chance)]
    raised = assert_equal(analyzer, texts, hits, recognizers)
    changed = sum(a != b for a, b in zip(hits, raised, strict=True))
    assert len(hits) // 20 < changed < len(hits) // 2


def long_texts(count: int, recognizers: Sequence[Any], chance: random.Random) -> list[str]:
    """Texts of up to a hundred words, some of which are hardly anything but stop words."""
    forms = list(inflected({word for r in recognizers for word in r.context}, chance))
    cases = ["let's", "c'mon", "' s", "o . O", ": o )", "w / o", "a .m.", "Mr .", "< space >"]
    made = []
    for _ in range(count):
        rare = chance.choice([0.01, 0.05, 0.2])
        words = PLAIN[:22] if chance.random() < 0.5 else [*PLAIN, *cases]
        parts = [
            chance.choice(forms if chance.random() < rare else words) + chance.choice(BETWEEN)
            for _ in range(chance.randrange(20, 100))
        ]
        made.append("".join(parts).strip())
    return made


def test_scores_in_long_texts_are_presidio_s(analyzer: Any, recognizers: list[Any]) -> None:
    """However little of a long text is read, its hits get the stock enhancer's scores."""
    chance = random.Random(6)
    texts = long_texts(400, recognizers, chance)
    hits = [hit for i, text in enumerate(texts) for hit in everywhere(text, i, recognizers, chance)]
    assert_equal(analyzer, texts, hits, recognizers)


SETTINGS = [
    {"context_prefix_count": 0},
    {"context_prefix_count": 1, "context_suffix_count": 2},
    {"context_prefix_count": -1, "context_suffix_count": 3},
    {"context_matching_mode": "whole_word", "context_suffix_count": 4},
    {"context_similarity_factor": 0.0, "min_score_with_context_similarity": 0.9},
    {"context_similarity_factor": -0.2, "min_score_with_context_similarity": 0.0},
]


@pytest.mark.parametrize("chosen", SETTINGS, ids=str)
def test_every_setting_of_the_enhancer_counts(
    engine: Any, recognizers: list[Any], chosen: dict[str, Any]
) -> None:
    """Factors, counts and the matching mode of the analyzer's own enhancer are obeyed."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    enhancer = LemmaContextAwareEnhancer(**chosen)
    analyzer = AnalyzerEngine(nlp_engine=engine, context_aware_enhancer=enhancer)
    chance = random.Random(str(chosen))
    texts = sentences(250, recognizers, chance)
    hits = [hit for i, text in enumerate(texts) for hit in everywhere(text, i, recognizers, chance)]
    assert_equal(analyzer, texts, hits, recognizers)
    assert not ContextScores(analyzer, "en").reason


def custom(*contexts: Any) -> list[Any]:
    """Recognizers with context words of their own."""
    from presidio_analyzer import Pattern, PatternRecognizer

    made = [PatternRecognizer("X", patterns=[Pattern("x", "x", 0.3)]) for _ in contexts]
    for recognizer, context in zip(made, contexts, strict=True):
        recognizer.context = context
    return made


ODD = [
    ["order number", "purchase order"],
    ["ORDER", "Straße", "İD", "Order#"],
    ["id:", ":", "12:", "no.", "-", "#"],
    ["42", "0", "x"],
    [""],
    ["order", "", "visa"],
    ["", "visa"],
    "visa",
    ["be", "-pron-", "the", "us", "you", "let"],
    ["\u03bf\u03b4\u03bf\u03c2", "\u03c2", "\u017fsn"],
    ["\\d", "(", "[a", ".*", " ", "\n", "\x00", "a|b", "\t"],
    ["studi", "happi", "man", "wolf", "box", "quiz", "church", "wish", "make", "try"],
    ["e", "ing"],
    ["old", "come", "shall", "can", "nothing"],
    None,
]
ODD_WORDS = [
    *["orders", "Order#", "ordering", "id:", "ID:7", "12:30", "no.", "#", "42", "042", "visas"],
    *["VISA", "straßen", "STRASSE", "İD", "the", "us", "let's", "you", "y'all", "be", "-PRON-"],
    *[
        "ΟΔΟΣ",
        "ΟΔΟΣ.\u0391",
        "\u0391Σ'\u0391",
        "\u03c3",
        "\u017f\u017fn",
        "SSN",
        "\\d",
        "(",
        "[a",
        ".*",
        "a|b",
        "\x00",
    ],
    *["studies", "happier", "women", "wolves", "boxes", "quizzes", "churches", "wishes", "making"],
    *["tries", "tried", "best", "Be", "a:be", "be:the", "the:x", "nothin'", "gonna", "ain't"],
    *["ol'", "c'mon", "shan't", "can't", "it'll"],
]


TORN = [
    *["'", "s", "cos", "o", ".", "O", ":", ")", "w", "/", "or", "and", "<", "space", ">", "Ph"],
    *["D.", "Mr", "a.m", "10a.m", "8", "-", "D", "^", "_", "(", "°", "c", "let", "Let", "'S", "’"],
]
"""Pieces of the tokenizer's special cases."""


@pytest.mark.parametrize("outer", [[], [""], ["Order_Number"], ["the", "İD"], ["x", "", "visa"]])
@pytest.mark.parametrize("mode", ["substring", "whole_word"])
def test_odd_context_words_count_as_in_presidio(engine: Any, mode: str, outer: list[str]) -> None:
    """Context words of any characters, empty ones too, raise what they raise in Presidio."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    enhancer = LemmaContextAwareEnhancer(context_matching_mode=mode)
    analyzer = AnalyzerEngine(nlp_engine=engine, context_aware_enhancer=enhancer)
    chance = random.Random(mode + repr(outer))
    made = custom(*ODD)
    texts = [
        " ".join(chance.choices([*ODD_WORDS, *PLAIN], k=chance.randrange(1, 9))) for _ in range(60)
    ]
    hits = [hit for i, text in enumerate(texts) for hit in everywhere(text, i, made, chance)]
    assert_equal(analyzer, texts, hits, made, outer)


@settings(max_examples=60)
@given(data=st.data())
def test_any_text_scores_as_in_presidio(
    analyzer: Any, recognizers: list[Any], data: st.DataObject
) -> None:
    """Whatever the text, the words and the place, a score is that of a text read alone."""
    words = [word for r in recognizers for word in r.context]
    piece = st.sampled_from([*words, *PLAIN, *ODD_WORDS]) | st.text(max_size=6)
    draw = data.draw
    made = [*recognizers, *custom(draw(st.lists(piece, min_size=1, max_size=3)))]
    between = draw(st.sampled_from(BETWEEN))
    texts = draw(st.lists(st.lists(piece, min_size=1, max_size=9).map(between.join), max_size=4))
    hits = []
    for i, text in enumerate(texts):
        for start in draw(st.lists(st.integers(0, max(0, len(text) - 1)), max_size=5)):
            if text[start:].strip(" "):
                number = draw(st.integers(0, len(made) - 1))
                hits.append(Hit(i, number, "X", start, start + 1, 0.3))
    outer = draw(st.lists(piece, max_size=1))
    assert_equal(analyzer, texts, hits, made, outer, batch_size=1)


# ---------------------------------------------------------------- what decides


def spy(scores: ContextScores, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that reach spaCy's pipeline from here on."""
    seen: list[str] = []
    pipe = scores.nlp.pipe

    def watched(texts: list[str], **options: Any) -> Any:
        seen.extend(texts)
        return pipe(texts, **options)

    monkeypatch.setattr(scores.nlp, "pipe", watched)
    return seen


@pytest.mark.parametrize(
    ("text", "outer", "score", "is_read"),
    [
        ("ref 12345678", [], 0.1, False),  # No stem of a context word.
        ("bank 12345678", [], 0.45, False),  # Every lemma supports.
        ("bank:12345678", [], 0.1, False),  # Glued by a colon, it counts as no keyword.
        ("12345678", ["bank_account"], 0.45, False),  # The caller's word.
        ("bank red blue green brown black white 12345678", [], 0.1, False),  # Too far.
        ("he stung me 12345678", [], 0.1, True),  # To sting, or stung; each counts or does not.
    ],
)
def test_the_pipeline_is_asked_only_in_doubt(
    analyzer: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    text: str,
    outer: list[str],
    score: float,
    is_read: bool,
) -> None:
    """What the caller's words, stems or words decide never reaches spaCy's pipeline."""
    made = custom(["bank", "account", "tung"])
    hits = [Hit(0, 0, "X", text.index("12345678"), len(text), 0.1)]
    assert stock(analyzer, [text], hits, made, outer) == pytest.approx([score])
    scores = ContextScores(analyzer, "en")
    seen = spy(scores, monkeypatch)
    [raised] = scores.raised([text], hits, made, outer)
    assert (raised.score, bool(seen)) == (pytest.approx(score), is_read)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("such words " * 40 + "my bank says 12345678 or so" + " other words" * 40, 120),
        ("bank words " * 40 + "extraordinary " * 7 + "12345678" + " other words" * 40, 600),
        ("bank words " * 40 + "x" * 300 + " 12345678" + " other words" * 40, 1_300),
    ],
)
def test_as_little_is_read_as_tells_the_score(
    analyzer: Any, monkeypatch: pytest.MonkeyPatch, text: str, most: int
) -> None:
    """The tokenizer gets a piece of a text around a hit, and more only if that is not enough."""
    scores = ContextScores(analyzer, "en")
    lengths: list[int] = []
    make_doc = scores.nlp.make_doc

    def watched(piece: str) -> Any:
        lengths.append(len(piece))
        return make_doc(piece)

    made, start = custom(["bank"]), text.index("12345678")
    hits = [Hit(0, 0, "X", start, start + 8, 0.1)]
    truth = stock(analyzer, [text], hits, made)
    monkeypatch.setattr(scores.nlp, "make_doc", watched)
    assert [hit.score for hit in scores.raised([text], hits, made, [])] == truth
    assert 0 < sum(lengths) <= most


@settings(max_examples=300)
@given(data=st.data())
def test_a_piece_has_the_words_of_its_text(engine: Any, data: st.DataObject) -> None:
    """Whatever stands in a text, the tokens of a piece are the text's own tokens there."""
    nlp = engine.get_nlp("en")
    word = st.sampled_from([*PLAIN, *ODD_WORDS, *TORN]) | st.text(max_size=3)
    between = st.sampled_from(BETWEEN)
    parts = data.draw(st.lists(st.tuples(word, between).map("".join), min_size=1, max_size=30))
    text = "".join(parts)
    start = data.draw(st.integers(0, len(text)))
    piece = cutter(nlp).around(text, start, data.draw(st.integers(0, 40)))
    if piece is not None:
        begin, end = piece
        assert begin <= start <= end
        whole = [(t.idx, t.text) for t in nlp.make_doc(text) if begin <= t.idx < end]
        read_alone = nlp.make_doc(text[begin:end])
        assert [(begin + t.idx, t.text) for t in read_alone] == whole


def test_a_tokenizer_that_changes_is_read_anew(engine: Any) -> None:
    """A special case that is added later counts from then on, even one that holds a space."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    nlp = pipeline("attribute_ruler", "lemmatizer", lemmatizer={"mode": "rule"})
    nlp.get_pipe("attribute_ruler").add([[{"ORTH": {"REGEX": "."}}]], {"POS": "NOUN"})
    nlp.get_pipe("lemmatizer").initialize(lookups=rules())
    own = SpacyNlpEngine(ner_model_configuration=engine.ner_model_configuration)
    own.nlp = {"en": nlp}
    analyzer = AnalyzerEngine(nlp_engine=own)
    scores = ContextScores(analyzer, "en")
    text = "such words " * 9 + "big bank red blue green brown black 12345678" + " such words" * 9
    made, start = custom(["bank"]), text.index("12345678")
    hits = [Hit(0, 0, "X", start, start + 8, 0.1)]
    assert scores.raised([text], hits, made, []) == hits
    nlp.tokenizer.add_special_case("brown black", [{"ORTH": "brown black"}])
    [raised] = scores.raised([text], hits, made, [])
    assert [raised.score] == stock(analyzer, [text], hits, made) == pytest.approx([0.45])
    assert "nb" in scores.surroundings.pieces.joints


def test_no_text_is_cut_within_a_special_case() -> None:
    """A special case that holds a space stays whole, or else there is no piece."""
    nlp = pipeline()
    nlp.tokenizer.add_special_case("brown black", [{"ORTH": "brown black"}])
    text = "brown black and brown black and " * 9
    pieces = Pieces(nlp)
    for start in range(len(text)):
        begin, end = pieces.around(text, start, 20) or (0, len(text))
        assert end - begin < len(text) / 2
        assert text[begin - 1 : begin + 5] != " black"
        assert text[end - 5 : end + 1] != "brown "
    assert pieces.around("brown black " * 9, 52, 5) == (48, 59)
    assert pieces.around("brown black " * 9, 47, 5) is None


def test_few_values_reach_the_pipeline(
    analyzer: Any, recognizers: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of texts crowded with context words, fewer than a third need spaCy's pipeline."""
    chance = random.Random(5)
    texts = sentences(500, recognizers, chance)
    hits = [hit for i, text in enumerate(texts) for hit in everywhere(text, i, recognizers, chance)]
    scores = ContextScores(analyzer, "en")
    seen = spy(scores, monkeypatch)
    scores.raised(texts, hits, recognizers, [])
    assert 0 < len(seen) < len(texts) / 3


def test_a_hit_behind_the_last_word_fails_as_in_presidio(analyzer: Any) -> None:
    """A hit that begins in the final spaces is an error, whatever words stand before it."""
    for text in ("ref 1 ", "bank 1  "):
        hits = [Hit(0, 0, "X", len(text) - 1, len(text), 0.3)]
        made = custom(["bank"])
        try:
            truth = stock(analyzer, [text], hits, made, ["bank"])
        except ValueError:
            with pytest.raises(ValueError, match="Did not find word"):
                ContextScores(analyzer, "en").raised([text], hits, made, ["bank"])
        else:
            [raised] = ContextScores(analyzer, "en").raised([text], hits, made, ["bank"])
            assert [raised.score] == truth


def test_nothing_is_kept_of_what_was_read(analyzer: Any, engine: Any) -> None:
    """No word stays in spaCy's vocabulary, its lemmatizer or the scores."""
    scores = ContextScores(analyzer, "en")
    nlp = engine.get_nlp("en")
    words = ["Zxqvbankings", "Wqxzstung"]
    text = " ".join([*words, "12345678"])
    scores.raised([text], [Hit(0, 0, "X", len(text) - 8, len(text), 0.1)], custom(["bank"]), [])
    assert not any(word in nlp.vocab.strings or word in nlp.vocab for word in words)
    assert not scores.surroundings.lemmas.lemmatizer.cache
    assert not nlp.get_pipe("lemmatizer").cache
    kept = [*vars(scores).values(), *vars(scores.surroundings).values()]
    assert not any("Zxqv" in repr(part) for part in kept)


# ---------------------------------------------------------------- what is not understood


def test_an_unknown_enhancer_runs_itself(engine: Any) -> None:
    """An enhancer of the user's own decides, and may drop or move findings."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    class Picky(LemmaContextAwareEnhancer):
        def enhance_using_context(self, text: str, raw_results: Any, *_: Any, **__: Any) -> Any:
            raw_results[0].end = len(text)
            return raw_results[:1]

    analyzer = AnalyzerEngine(nlp_engine=engine, context_aware_enhancer=Picky())
    scores = ContextScores(analyzer, "en")
    assert scores.reason == "The enhancer of scores is not Presidio's."
    made = custom(["bank"], None)
    hits = [Hit(i, j, "X", 0, 1, 0.1) for i in (1, 0) for j in (0, 1)]
    assert scores.raised(["a bb", "c"], hits, made, []) == [
        Hit(1, 0, "X", 0, 1, 0.1),
        Hit(0, 0, "X", 0, 4, 0.1),
    ]


def test_a_recognizer_that_enhances_itself_is_asked(analyzer: Any) -> None:
    """A recognizer's own enhancement runs, and the enhancer leaves what it marked alone."""
    from presidio_analyzer import Pattern, PatternRecognizer

    class Own(PatternRecognizer):
        def enhance_using_context(self, text: str, raw_recognizer_results: Any, **_: Any) -> Any:
            for result in raw_recognizer_results:
                result.score = 0.77
                result.recognition_metadata["is_score_enhanced_by_context"] = True
            return raw_recognizer_results

    own = Own("X", patterns=[Pattern("x", "x", 0.3)], context=["bank"])
    made = [own, *custom(["bank"])]
    hits = [Hit(0, 0, "X", 5, 6, 0.1), Hit(0, 1, "X", 5, 6, 0.1)]
    raised = ContextScores(analyzer, "en").raised(["bank 1"], hits, made, [])
    assert [hit.score for hit in raised] == pytest.approx([0.77, 0.45])


def test_an_engine_without_words_still_counts_the_caller_s(engine: Any) -> None:
    """With an engine of no language model, only the caller's words raise a score."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    made = custom(["bank"])
    analyzer = AnalyzerEngine(
        nlp_engine=NoOpNlpEngine([{"lang_code": "en", "model_name": "none"}]),
        registry=RecognizerRegistry(recognizers=made),
    )
    scores = ContextScores(analyzer, "en")
    assert scores.reason == "The language model is not run by Presidio's engine for spaCy."
    hits = [Hit(0, 0, "X", 5, 6, 0.1)]
    assert scores.raised(["bank 1"], hits, made, []) == hits
    assert scores.raised(["bank 1"], hits, made, ["Bank"])[0].score == pytest.approx(0.45)


def pipeline(*names: str, **changes: Any) -> Any:
    """An English pipeline of spaCy with some pipes and settings."""
    import spacy

    nlp = spacy.blank("en")
    for name in names:
        nlp.add_pipe(name, config=changes.get(name, {}))
    return nlp


def rules() -> Any:
    """Tables of a lemmatizer with a rule for nouns."""
    from spacy.lookups import Lookups

    lookups = Lookups()
    lookups.add_table("lemma_rules", {"noun": [["s", ""]]})
    return lookups


@pytest.mark.parametrize(
    ("names", "changes", "reason"),
    [
        (("lemmatizer",), {"lemmatizer": {"mode": "rule"}}, ""),
        ((), {}, "The pipeline has no lemmatizer."),
        (
            ("lemmatizer",),
            {"lemmatizer": {"mode": "lookup"}},
            "The lemmatizer does not follow rules.",
        ),
        (("lemmatizer", "merge_entities"), {}, "The pipe merge_entities may write lemmas."),
        (("trainable_lemmatizer",), {}, "The pipe trainable_lemmatizer may write lemmas."),
    ],
)
def test_a_pipeline_is_understood_or_refused(
    names: tuple[str, ...], changes: dict[str, Any], reason: str
) -> None:
    """A pipeline whose lemmas come from elsewhere than rules has a reason to run itself."""
    nlp = pipeline(*names, **changes)
    if not reason:
        nlp.get_pipe("lemmatizer").initialize(lookups=rules())
    assert Lemmas(nlp).reason == reason


def test_pipes_and_classes_of_one_s_own_are_refused() -> None:
    """A pipe under another name, a tokenizer or a lemmatizer of one's own is not understood."""
    import spacy
    from spacy.pipeline import Lemmatizer

    nlp = spacy.blank("en")
    nlp.add_pipe("lemmatizer", "second", config={"mode": "rule"})
    assert Lemmas(nlp).reason == "A pipe is there twice or under another name."
    nlp = pipeline("lemmatizer", lemmatizer={"mode": "rule"})
    nlp.tokenizer = lambda text: text
    assert Lemmas(nlp).reason == "A part of the pipeline is a class of its own."

    class Own(Lemmatizer):
        pass

    nlp = pipeline("lemmatizer", lemmatizer={"mode": "rule"})
    nlp._components[0] = ("lemmatizer", Own(nlp.vocab, None, mode="rule"))
    assert Lemmas(nlp).reason == "A part of the pipeline is a class of its own."


@pytest.mark.parametrize(
    ("words", "fitting", "other"),
    [
        ([{"LOWER": "gon"}, {"LOWER": "na"}], "gon", "na"),
        ([{"LOWER": {"IN": ["is", "'s"]}, "TAG": "VBZ"}], "'s", "was"),
        ([{"LOWER": {"REGEX": "^n[ou]thin'$"}}], "nuthin'", "nothing"),
        ([{"LOWER": {"REGEX": ""}}], "anything", None),
        ([{"LOWER": {"NOT_IN": ["a"]}}], "a", None),
        ([{"TAG": "VB"}], "anything", None),
        ([{"LOWER": "a", "OP": "*"}], "anything", None),
    ],
)
def test_a_rule_s_lemma_is_given_to_every_word_it_may_meet(
    words: list[dict[str, Any]], fitting: str, other: str | None
) -> None:
    """A lemma of the attribute ruler belongs to the forms it lists, or to all if it lists none."""
    constant = constant_of("x", words, 0)
    assert constant.fits(fitting)
    assert other is None or not constant.fits(other)


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a:b", "the", "."]), min_size=1), min_size=1))
def test_what_is_certain_holds_for_every_choice_of_lemmas(options: list[list[str]]) -> None:
    """A certain verdict is that of Presidio's walk, whichever lemma each word really has."""
    from itertools import islice, product

    from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

    def is_left_out(lemma: str) -> bool:
        return lemma in {"the", "."}

    readings = [read(lemmas, is_left_out) for lemmas in options]
    words, ends = list(map(str, range(len(options)))), list(range(1, len(options) + 1))
    nearby = Nearby(words, ends, lambda word: readings[int(word)], before=1, after=1)
    enhancer = LemmaContextAwareEnhancer()
    assert nearby.support(len(options), "a".__eq__) is None
    for first in range(len(options)):
        verdict = nearby.support(first, "a".__eq__)
        seen = set()
        for lemmas in islice(product(*options), 64):
            keywords = [k for lemma in lemmas if not is_left_out(lemma) for k in lemma.split(":")]
            sides = [
                enhancer._add_n_words(first, 1, list(lemmas), keywords, is_backward=back)
                for back in (True, False)
            ]
            seen.add("a" in sides[0] + sides[1])
        assert verdict is None or seen == {verdict}


@settings(max_examples=400)
@given(
    word=st.sampled_from([*PLAIN, *ODD_WORDS]) | st.text(max_size=8),
    ending=st.sampled_from([*ENDINGS, "men", "ves", "ches", "izes"]),
    data=st.data(),
)
def test_a_text_holds_a_stem_of_all_that_its_lemmas_hold(
    engine: Any, word: str, ending: str, data: st.DataObject
) -> None:
    """No lemma of a word holds a string of which the word holds no stem."""
    lemmas = understood(engine)
    form = word + ending
    for lemma in sorted(lemmas.of(form)):
        first = data.draw(st.integers(0, max(0, len(lemma) - 1)))
        part = fold(lemma[first : data.draw(st.integers(first + 1, first + 5))])
        assert not part or any(fold(stem) in fold(form) for stem in lemmas.stems([part]))


@settings(max_examples=400)
@given(
    word=st.sampled_from([*PLAIN, *ODD_WORDS, "feet", "lives", "better", "xmen"]) | st.text(),
    ending=st.sampled_from([*ENDINGS, "men", "ves", "ches", "izes"]),
)
def test_no_part_of_speech_gives_another_lemma(engine: Any, word: str, ending: str) -> None:
    """The lemmas of a word hold that of every part of speech by spaCy's own lemmatizer."""
    from spacy.parts_of_speech import IDS

    lemmas, form = understood(engine), word + ending
    own = engine.get_nlp("en").get_pipe("lemmatizer")
    try:
        given = {own.rule_lemmatize(Word(form, pos))[0] for pos in IDS if pos}
    finally:
        own.cache.clear()
    assert given <= lemmas.of(form)


@cache
def cutter(nlp: Any) -> Pieces:
    """What cuts texts for a pipeline."""
    return Pieces(nlp)


@cache
def understood(engine: Any) -> Lemmas:
    """The lemmas of an engine's pipeline."""
    return Lemmas(engine.get_nlp("en"))


def test_letters_are_folded_alike_wherever_they_stand() -> None:
    """The Greek sigma, whose lower case depends on its neighbours, is folded to one letter."""
    whole = "\u0391Σ'\u0391Σ Σ \u0391Σ.\u0391"
    assert fold(whole) == "".join(map(fold, whole))
