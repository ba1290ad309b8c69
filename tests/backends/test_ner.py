"""Named entities: exactly those of the pipeline, whatever the text and whatever stands beside it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

spacy = pytest.importorskip("spacy")

from nbgov.backends.presidio import ner  # noqa: E402
from nbgov.backends.presidio.engine import find_model  # noqa: E402
from nbgov.backends.presidio.ner import NamedEntities, batches  # noqa: E402
from nbgov.backends.presidio.tokens import meetings  # noqa: E402

FIRST = (
    "Ada José Mary-Jane O'Neill Wei Anna Lena Søren Jürgen Björk Fatima N. de Dr. van MR".split()
)
LAST = "Lovelace Álvarez O’Brien Zhang Garcia Smith-Jones Nguyễn McDonald Øst König Brown".split()
PLACES = "London|New York City|São Paulo|Paris, Texas|the Rocky Mountains|Kraków|USA|Lake Erie"
PLACES = PLACES.split("|")
SENTENCES = (
    "{name} lives at {number} High St. in {place} since {date}.",
    "On {date} {name} paid ${number} to the Bank of {place}; it wasn't much.",
    'He\'d said: "{name} (and {name}) met {number} people in {place}..." :-) :) O.K.?',
    "{name}\n{number} Main Street\n{place}\tUSA",
    "ASAP!!! {number} patients, e.g. {name}, can't walk  -  see https://example.com/{number}",
    "Dear {name},\r\n\r\nyour order ORD-{number} ships next Tuesday from {place} at 5p.m.",
    "the quick brown fox jumps over {number} lazy dogs, 12.5% of 3,000km, James' son's",
)
ODD = (
    *("", " ", "  ", "\n", "\t \n", "\x00", "\u200b", "\xa0", "\u3000", "\x1c", "\ufeff", "."),
    *("a", "A", "I", "'s", "n't", "can't", "gonna", ": )", ":  -)", "'  s", "James' s", "o . O"),
    *(" Ada", "Ada ", " Ada  Lovelace ", "Ada\n", "\n\nAda Lovelace\n\n", "a\u2028b", "a\x85b"),
    *(
        "008 582 929017",
        "x" * 5000,
        "New " * 300,
        "🙂🙂 \U0001d49c\U0001d4b9 x",
        "e\u0301 é \u017f \u212a İ \u0131",
        "-" * 200,
    ),
    *("Ada Lovelace" + "\n" * 70 + "Ada", "1 2 3 4 5 6 7 8 9 10 11 12", "Mr.", "U.S. U.S. U.S"),
    *(
        "٠١٢٣٤ ٥٦٧",
        "\uff14\uff11\uff15 \uff15",
        "Ünïcode Çity, Ελλάδα, Москва, 東京都, القاهرة",
        "a b c d e",
    ),
)


def generate(size, seed):
    """Distinct values as columns hold them: names, places, codes, notes, and hostile text."""
    rng = random.Random(seed)

    def name():
        return f"{rng.choice(FIRST)} {rng.choice(LAST)}" + rng.choice(["", "", " Jr.", "'s"])

    def number():
        return str(rng.randint(0, 10 ** rng.randint(1, 9)))

    def date():
        day, year = rng.randint(1, 31), rng.randint(1900, 2030)
        return rng.choice(
            [f"{day} May {year}", f"{year}-05-{day:02}", "last Monday", f"May {day}th, {year}"]
        )

    def sentence():
        text = rng.choice(SENTENCES)
        return text.format(name=name(), number=number(), date=date(), place=rng.choice(PLACES))

    def code():
        digits = [number() for _ in range(rng.randint(1, 4))]
        return rng.choice(["", "ORD-", "+1 ", "#", "(", "$"]) + rng.choice(" -./").join(digits)

    def noise():
        alphabet = "abcXYZ019 .,'\"-:)(/\n\t\xa0éßİ\u017f中🙂\u0301\u200d"
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40)))

    def email():
        return f"{rng.choice(FIRST).lower()}{number()}@example.{rng.choice(['com', 'co.uk'])}"

    def note():
        return rng.choice([" ", "  ", "\n"]).join(sentence() for _ in range(rng.randint(2, 4)))

    kinds = [name, sentence, code, noise, email, note, date, lambda: name() + ", " + number()]
    found = dict.fromkeys(ODD)
    while len(found) < size:
        found[rng.choice(kinds)()] = None
    values = list(found)
    rng.shuffle(values)
    return values


def stock(nlp, texts):
    """What the pipeline itself finds."""
    with nlp.memory_zone():
        docs = nlp.pipe(texts, batch_size=256)
        return [[(e.label_, e.start_char, e.end_char) for e in doc.ents] for doc in docs]


def differences(found, expected):
    """Places where two lists of findings differ."""
    return [i for i, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]


@pytest.fixture(scope="module")
def nlp():
    """The language model that is installed."""
    return spacy.load(find_model())


@pytest.fixture(scope="module")
def entities(nlp):
    """The fast path around it."""
    return NamedEntities(nlp)


def network(*, vectors):
    """The configuration of a network."""
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": 32,
        "depth": 3,
        "embed_size": 300,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
        "pretrained_vectors": vectors or None,
    }


def states(kind, tok2vec):
    """The configuration of a parser or a recognizer."""
    return {
        "model": {
            "@architectures": "spacy.TransitionBasedParser.v2",
            "state_type": kind,
            "extra_state_tokens": False,
            "hidden_width": 24,
            "maxout_pieces": 2,
            "use_upper": True,
            "nO": None,
            "tok2vec": tok2vec,
        }
    }


@pytest.fixture(scope="module")
def wild():
    """A pipeline of the same layout with static vectors and random weights: it does anything."""
    rng = np.random.default_rng(4)
    nlp = spacy.blank("en")
    words = sorted({word for text in generate(200, 1) for word in text.split()})[::2]
    data = rng.normal(size=(len(words), 20)).astype(np.float32)
    nlp.vocab.vectors = spacy.vectors.Vectors(data=data, keys=words)
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32, "upstream": "*"}
    nlp.add_pipe("tok2vec", config={"model": network(vectors=True)})
    nlp.add_pipe("parser", config={**states("parser", listener), "min_action_freq": 1})
    nlp.add_pipe("ner", config=states("ner", network(vectors=True)))
    # Two arcs cross, so that the parser learns of labels that move arcs after the parse.
    example = {
        "heads": [1, 3, 3, 3, 1, 4, 3],
        "deps": ["det", "nsubjpass", "auxpass", "ROOT", "prep", "pobj", "npadvmod"],
        "entities": ["O", "B-PERSON", "I-PERSON", "L-PERSON", "O", "U-GPE", "U-DATE"],
    }
    doc = nlp.make_doc("A hearing is scheduled on it today")
    example = spacy.training.Example.from_dict(doc, example)
    nlp.initialize(lambda: [example])
    for name in nlp.pipe_names:
        for node in nlp.get_pipe(name).model.walk():
            for param in node.param_names:
                value = node.get_param(param)
                wanted = rng.normal(size=value.shape, scale=3 / np.sqrt(value.shape[-1]))
                node.set_param(param, wanted.astype(np.float32))
    return nlp


@pytest.mark.parametrize("seed", [1])
def test_entities_are_those_of_the_pipeline(nlp, entities, seed):
    """More than two thousand different values have the pipeline's own entities."""
    values = generate(2_300, seed)
    assert entities.reason == ""
    with nlp.select_pipes(disable=ner.IRRELEVANT):
        expected = stock(nlp, values)
    assert sum(map(len, expected)) > 2_000
    assert differences(entities.find(values), expected) == []


def test_random_weights_and_vectors_change_nothing(wild):
    """Entities and sentences are those of a pipeline that never learned to be reasonable."""
    fast = NamedEntities(wild)
    assert fast.reason == ""
    values = generate(700, 2)
    asked = []
    own = fast.ask_pipeline
    fast.ask_pipeline = lambda texts, chosen, *rest, **options: (
        asked.extend(chosen),
        own(texts, chosen, *rest, **options),
    )
    expected = stock(wild, values)
    assert differences(fast.find(values), expected) == []
    assert len(asked) < len(values) / 2


@pytest.mark.parametrize("kind", ["usual", "wild"])
def test_sentences_are_those_of_the_pipeline(kind, request, nlp):
    """Where the parse of a text is clear, its sentences start where the pipeline's do."""
    chosen = nlp if kind == "usual" else request.getfixturevalue("wild")
    fast = NamedEntities(chosen)
    values = [value for value in generate(300, 11) if value and len(value) < 2000]
    page = ner.Page(fast.reader.read(values))
    index = np.arange(len(page.tokens.kinds))
    rows, row_of = fast.shared.encode(*page.embedded(fast.shared, index), page.tokens.counts)
    found = fast.parser.sentences(fast.parser.scorer.precompute(rows), row_of, page.tokens.counts)
    clear = ~found.odd & (found.margins > ner.MARGIN)
    assert clear.mean() > 0.5
    bounds = np.append(page.bounds, len(index))
    several = 0
    for i, doc in enumerate(chosen.pipe(values)):
        if clear[i]:
            expected = [token.i for token in doc if token.is_sent_start and token.i]
            starts = found.starts[bounds[i] : bounds[i + 1]]
            assert np.flatnonzero(starts).tolist() == expected
            several += bool(expected)
    assert several > 30


@given(st.lists(st.text(max_size=80), max_size=8))
@settings(deadline=None, max_examples=60)
def test_entities_of_any_text(nlp, entities, texts):
    """Hostile text has the pipeline's own entities, too."""
    assert entities.find(texts) == stock(nlp, texts)


WORDS = st.sampled_from(
    [
        "Ada",
        "Lovelace",
        "London.",
        "New",
        "York",
        ":",
        ")",
        "'",
        "s",
        "o.",
        "O",
        "\n",
        " ",
        "5",
        "May",
    ]
)


@given(st.lists(st.lists(WORDS, max_size=12).map(" ".join), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_entities_of_words_in_any_order(nlp, entities, texts):
    """Special cases of the tokenizer that could reach over spaces change nothing."""
    assert entities.find(texts) == stock(nlp, texts)


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_tokens_are_those_of_the_tokenizer(nlp, entities, data):
    """Each text has the tokenizer's own tokens, also where special cases nearly meet."""
    reader = entities.reader
    rules = [*nlp.tokenizer.rules, *(part for pair in reader.meetings for part in pair)]
    piece = st.sampled_from([*rules, "Ada", "5", "a-b", "(", '"', "James’"])
    space = st.sampled_from([" ", " ", "", "\n", "  ", "\t", " \n ", "\xa0", "\x1c", "\u2028"])
    text = st.lists(st.tuples(piece, space).map("".join), min_size=1, max_size=8).map("".join)
    texts = [text for text in data.draw(st.lists(text, max_size=12)) if text]
    tokens = reader.read(texts)
    bounds = np.append(0, np.cumsum(tokens.counts))
    with nlp.memory_zone():
        for i, text in enumerate(texts):
            own = slice(bounds[i], bounds[i + 1])
            spans = zip(tokens.starts[own], tokens.ends[own], tokens.spaced[own], strict=True)
            doc = nlp.tokenizer(text)
            assert list(spans) == [(t.idx, t.idx + len(t), bool(t.whitespace_)) for t in doc]
            assert tokens.features[tokens.kinds[own], -1].tolist() == [t.orth for t in doc]
        doc = None


def test_neighbours_do_not_influence_one_another(entities):
    """A text has the same entities alone, in any order and beside itself."""
    values = generate(160, 7)
    together = entities.find(values)
    order = random.Random(1).sample(range(len(values)), len(values))
    shuffled = entities.find([values[i] for i in order])
    assert [shuffled[order.index(i)] for i in range(len(values))] == together
    assert [entities.find([value])[0] for value in values[:40]] == together[:40]
    assert entities.find(values[:30] * 3) == together[:30] * 3


def test_sentences_bound_entities(wild):
    """Values whose entities depend on the parser have those that the parser permits."""
    values = generate(200, 12)
    with wild.select_pipes(enable=["tok2vec", "ner"]):
        unbound = stock(wild, values)
    expected = stock(wild, values)
    assert len(differences(unbound, expected)) > 5
    assert NamedEntities(wild).find(values) == expected


def test_long_texts_have_the_entities_of_the_pipeline(nlp, entities):
    """Thousands of tokens are read, alone or beside short values."""
    values = [" ".join(generate(150, 3)), "Ada Lovelace", "\n".join(generate(120, 4))]
    expected = stock(nlp, values)
    assert entities.find(values) == expected
    assert entities.find(values[:1]) == expected[:1]


def test_small_batches_and_pages_change_nothing(entities, monkeypatch):
    """Where a column is cut into portions does not matter."""
    values = generate(150, 5)
    expected = entities.find(values)
    monkeypatch.setattr(ner, "PAGE_CHARS", 300)
    monkeypatch.setattr(ner, "BATCH_TOKENS", 50)
    assert entities.find(values) == expected


@pytest.mark.parametrize("margin", [0.3, np.inf])
def test_unclear_texts_are_given_to_the_pipeline(nlp, entities, monkeypatch, margin):
    """Texts with close decisions, or all of them, have the pipeline's entities."""
    values = generate(120, 6)
    asked = []
    own = entities.ask_pipeline

    def ask(texts, chosen, *args, **options):
        asked.extend(chosen)
        own(texts, chosen, *args, **options)

    monkeypatch.setattr(entities, "ask_pipeline", ask)
    monkeypatch.setattr(ner, "MARGIN", margin)
    assert entities.find(values) == stock(nlp, values)
    assert asked
    assert (len(asked) > 100) == np.isinf(margin)


def test_nothing_is_kept_of_a_text(entities, nlp):
    """The vocabulary, the lemmatizer and the fast path are as large afterwards as before."""
    entities.find(generate(50, 8))
    sizes = len(nlp.vocab.strings), len(nlp.vocab), len(nlp.get_pipe("lemmatizer").cache)
    entities.find([f"Zxqv{i} Wyrd{i} lives in Foobar{i}, {i}th district" for i in range(500)])
    after = len(nlp.vocab.strings), len(nlp.vocab), len(nlp.get_pipe("lemmatizer").cache)
    assert after[0] == sizes[0]
    assert after[2] == sizes[2] == 0
    assert "Zxqv7" not in nlp.vocab.strings


def test_words_have_all_attributes_afterwards(entities, nlp, monkeypatch):
    """What the fast path skips is there when the pipeline reads the same words, even on errors."""
    getters = dict(nlp.vocab.lex_attr_getters)
    entities.find(["Blorptown 12345678 https://blorp.example"])
    with monkeypatch.context() as broken:
        broken.setattr(entities.reader, "split", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            entities.find(["Blorptown"])
    assert nlp.vocab.lex_attr_getters == getters
    with nlp.memory_zone():
        word, number, url = nlp.make_doc("Blorptown 12345678 https://blorp.example")
        assert (word.is_title, word.is_alpha, number.like_num, url.like_url) == (True,) * 4
        del word, number, url


def test_threads_are_as_before(entities):
    """One thread multiplies matrices meanwhile, and as many as before afterwards."""
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        entities.find(["Ada Lovelace"])
        assert {p["num_threads"] for p in entities.threads.info() if p["user_api"] == "blas"} == {2}


def test_a_text_that_is_too_long_fails(nlp, entities, monkeypatch):
    """What the pipeline refuses to read is refused here, without a word of it."""
    monkeypatch.setattr(nlp, "max_length", 100)
    fresh = NamedEntities(nlp)
    with pytest.raises(ValueError, match="longer than the pipeline reads"):
        fresh.find(["Ada", "Ada " * 30])


def test_no_text_no_entities(entities):
    """Nothing is found in nothing."""
    assert entities.find([]) == []
    assert entities.find(["", ""]) == [[], []]


def load(**options):
    """Another copy of the language model."""
    return spacy.load(find_model(), **options)


def ruled():
    """A pipeline with rules for entities."""
    nlp = load()
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "ORG", "pattern": "Lovelace"}])
    return nlp


def spaced():
    """A pipeline whose tokenizer keeps two words together."""
    nlp = load()
    nlp.tokenizer.add_special_case("New York", [{"ORTH": "New York"}])
    nlp.tokenizer.add_special_case("very  good", [{"ORTH": "very  "}, {"ORTH": "good"}])
    return nlp


def beaming():
    """A pipeline that searches with a beam."""
    nlp = load()
    nlp.get_pipe("ner").cfg["beam_width"] = 2
    return nlp


def renaming():
    """A pipeline whose attribute ruler changes what the recognizer reads."""
    nlp = load()
    nlp.get_pipe("attribute_ruler").add([[{"ORTH": "Ada"}]], {"NORM": "london"})
    return nlp


def seen():
    """A pipeline with a label that its recognizer never learned."""
    nlp = load()
    nlp.get_pipe("ner").add_label("PLANET")
    return nlp


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: spacy.blank("en"), "missing"),
        (lambda: load(disable=["parser"]), "missing"),
        (lambda: load(exclude=["ner"]), "missing"),
        (ruled, "entity_ruler"),
        (spaced, "white space"),
        (beaming, "beam"),
        (renaming, "attribute ruler"),
        (seen, "scored"),
    ],
)
def test_an_unknown_pipeline_runs_as_it_is(make, reason):
    """Whatever is not understood is left to the pipeline, and the reason is told."""
    nlp = make()
    values = ["Ada Lovelace lives in New York", "", "very  good, PLANET"]
    unknown = NamedEntities(nlp)
    assert reason in unknown.reason
    assert unknown.find(values) == stock(nlp, values)


def test_a_pipeline_without_tagger_is_known():
    """Components that change nothing about entities may be absent."""
    nlp = load(exclude=["tagger", "lemmatizer", "attribute_ruler"])
    fewer = NamedEntities(nlp)
    assert fewer.reason == ""
    values = generate(60, 9)
    assert fewer.find(values) == stock(nlp, values)


def test_a_pipeline_that_is_changed_later_runs_as_it_is():
    """Rules that are added after the fast path was built are obeyed."""
    nlp = load()
    late = NamedEntities(nlp)
    assert late.reason == ""
    nlp.add_pipe("entity_ruler", before="ner").add_patterns([{"label": "ORG", "pattern": "zzz"}])
    assert late.find(["see zzz"]) == [[("ORG", 4, 7)]]
    assert "changed" in late.reason


def test_a_pipeline_that_disagrees_on_the_probes_runs_as_it_is(monkeypatch):
    """A layout that only looks known is found out before it is used."""
    monkeypatch.setattr(ner.Decoder, "entities", lambda *_: iter(()))
    nlp = load()
    wrong = NamedEntities(nlp)
    assert "differently" in wrong.reason
    assert wrong.find(["Ada Lovelace"]) == stock(nlp, ["Ada Lovelace"])


def test_batches_hold_every_text_once():
    """Portions are all texts, and lengths within one are neighbours."""
    counts = np.array([5, 1, 9000, 3, 9000, 20000, 1, 1])
    portions = [portion.tolist() for portion in batches(counts)]
    assert sorted(i for portion in portions for i in portion) == list(range(len(counts)))
    assert [counts[i] for portion in portions for i in portion] == sorted(counts)


def test_meetings_are_the_cuts_of_special_cases():
    """Every cut between two tokens of a special case is known by both sides."""
    assert meetings([["o", ".", "O"], ["solo"], [":", ")"]]) == [
        ("o", "."),
        ("o.", "O"),
        (":", ")"),
    ]
