"""Which spaCy pipelines the fast path of named entities understands.

The fast path repeats what ``tok2vec``, ``parser`` and ``ner`` compute. That is only the same when
the pipeline consists of exactly the parts known here, wired as they are in ``en_core_web_sm``,
``md`` and ``lg`` of spaCy 3.8. Everything it relies on is asked here; the answer to anything
unknown is a reason to run the stock pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nbgov.backends.presidio.tokens import special_cases

HASHED = r"ints-getitem>>hashembed(\|ints-getitem>>hashembed)*"
MIXED = r">>with_array\(maxout>>layernorm>>dropout\)>>ragged2list"
LOOKED_UP = rf"extract_features>>list2ragged>>with_array\({HASHED}\)"
LAYER = r"residual\(expand_window>>maxout>>layernorm>>dropout\)"
TOK2VEC = re.compile(
    rf"({LOOKED_UP}|{LOOKED_UP}\|static_vectors){MIXED}>>with_array\({LAYER}(>>{LAYER})*\)"
)

PARTS = {
    "tok2vec": "spacy.pipeline.tok2vec.Tok2Vec",
    "tagger": "spacy.pipeline.tagger.Tagger",
    "parser": "spacy.pipeline.dep_parser.DependencyParser",
    "attribute_ruler": "spacy.pipeline.attributeruler.AttributeRuler",
    "lemmatizer": "spacy.lang.en.lemmatizer.EnglishLemmatizer",
    "ner": "spacy.pipeline.ner.EntityRecognizer",
}
"""Components that may run, in this order; ``tok2vec``, ``parser`` and ``ner`` must."""

METHODS = ("__call__", "pipe", "make_doc", "_ensure_doc", "_ensure_doc_with_context")
RULED = {"TAG", "POS", "MORPH", "LEMMA", "DEP"}
"""What the attribute ruler may set: nothing that the recognizer reads."""


def unsupported(nlp: Any) -> str:
    """Why a pipeline must run as it is, as a clause; empty when its layout is known."""
    return next(objections(nlp), "")


def wiring(nlp: Any) -> tuple[object, ...]:
    """What must not change after a pipeline was judged."""
    tokenizer = nlp.tokenizer
    return (
        tokenizer,
        len(tokenizer.rules),
        *(getattr(tokenizer, name) for name in ("prefix_search", "suffix_search")),
        *(getattr(tokenizer, name) for name in ("infix_finditer", "token_match", "url_match")),
        *(part for pair in nlp.pipeline for part in pair),
        nlp.max_length,
    )


def objections(nlp: Any) -> Iterator[str]:
    """What is unknown about a pipeline; later objections assume that earlier ones do not hold."""
    from spacy.language import Language
    from spacy.tokenizer import Tokenizer

    if not isinstance(nlp, Language):
        yield "it is not a spaCy pipeline"
        return
    if any(getattr(type(nlp), name) is not getattr(Language, name) for name in METHODS):
        yield "its class runs documents in its own way"
    if type(nlp.tokenizer) is not Tokenizer:
        yield "its tokenizer is not spaCy's"
        return
    if any(len(case) > 1 and re.search(r"\s", "".join(case)) for case in special_cases(nlp)):
        yield "its tokenizer has special cases that hold white space"
    for name, part in nlp.pipeline:
        if PARTS.get(name) != f"{type(part).__module__}.{type(part).__qualname__}":
            yield f"its component {name} is not the usual one"
    names = nlp.pipe_names
    if [name for name in PARTS if name in names] != names:
        yield "its components run in another order"
    if not {"tok2vec", "parser", "ner"} <= set(names):
        yield "tok2vec, parser or ner is missing"
        return
    yield from objections_to_parts(nlp)


def objections_to_parts(nlp: Any) -> Iterator[str]:
    """What is unknown about the components of a pipeline."""
    from spacy.attrs import IDS

    parts = dict(nlp.pipeline)
    if "attribute_ruler" in parts:
        allowed = RULED | {IDS[name] for name in RULED}
        if any(set(rule) - allowed for rule in parts["attribute_ruler"].attrs):
            yield "its attribute ruler sets more than tags and lemmas"
    yield from objections_to_tok2vec(nlp, parts["tok2vec"].model, "tok2vec")
    for name in ("parser", "ner"):
        model, config = parts[name].model, parts[name].cfg
        if config["beam_width"] != 1:
            yield f"its {name} searches with a beam"
        chain, lower, upper = model.layers
        if (
            model.name != "parser_model"
            or not model.attrs["has_upper"]
            or model.attrs["unseen_classes"]
            or (lower.name, upper.name) != ("precomputable_affine", "linear")
            or lower.get_dim("nF") != {"parser": 8, "ner": 3}[name]
            or lower.get_dim("nP") != 2  # noqa: PLR2004 - pieces of a maxout.
            or [layer.name for layer in chain.layers[-2:]] != ["list2array", "linear"]
            or upper.get_dim("nO") != parts[name].moves.n_moves
        ):
            yield f"the states of its {name} are scored in another way"
            return
    yield from objections_to_moves(parts)
    listener = parts["parser"].model.get_ref("tok2vec").layers[0]
    if listener.name != "tok2vec-listener" or listener not in parts["tok2vec"].listeners:
        yield "its parser does not listen to its tok2vec"
    chain = parts["ner"].model.get_ref("tok2vec")
    if len(chain.layers) != 3:  # noqa: PLR2004 - network, list and linear map.
        yield "its ner has no network of its own"
        return
    yield from objections_to_tok2vec(nlp, chain.layers[0], "ner")


def objections_to_moves(parts: Any) -> Iterator[str]:
    """What is unknown about the moves of parser and recognizer."""
    moves = parts["ner"].moves
    names = [moves.get_class_name(i) for i in range(moves.n_moves)]
    labels = {name[2:] for name in names if name not in ("O", "U-")}
    if sorted(names) != sorted(["O", "U-", *(f"{m}-{label}" for m in "BILU" for label in labels)]):
        yield "its ner knows other moves"
    moves = parts["parser"].moves
    names = [moves.get_class_name(i) for i in range(moves.n_moves)]
    if any(not re.fullmatch(r"S|D|[LR]-.+|B-ROOT", n) or "subtok" in n for n in names):
        yield "its parser knows other moves"
    if not {"S", "D"} <= set(names):
        yield "its parser could run out of moves"
    if [hook.__name__ for hook in parts["parser"].postprocesses] != ["deprojectivize"]:
        yield "its parser changes the parse afterwards"


def objections_to_tok2vec(nlp: Any, model: Any, owner: str) -> Iterator[str]:
    """What is unknown about a network."""
    from thinc.api import NumpyOps

    if not TOK2VEC.fullmatch(model.name) or set(model.ref_names) < {"embed", "encode"}:
        yield f"the network of its {owner} has another layout"
        return
    nodes = list(model.walk())
    encoder = model.get_ref("encode")
    layers = sum(node.name == "expand_window" for node in nodes)
    if any(node.attrs["window_size"] != 1 for node in nodes if node.name == "expand_window"):
        yield f"the network of its {owner} has wide windows"
    if encoder.attrs["pad"] != layers or not isinstance(model.ops, NumpyOps):
        yield f"the network of its {owner} runs in another way"
    if any(node.get_dim("nP") < 2 for node in nodes if node.name == "maxout"):  # noqa: PLR2004
        yield f"the network of its {owner} has other layers"
    columns = [node.attrs["column"] for node in nodes if node.name == "hashembed"]
    [extract] = [node for node in nodes if node.name == "extract_features"]
    if sorted(columns) != list(range(len(extract.attrs["columns"]))):
        yield f"the network of its {owner} reads its features in another way"
    if "static_vectors" in model.name:
        vectors = nlp.vocab.vectors
        if str(getattr(vectors, "mode", "")) != "default" or vectors.attr != ORTH_ID:
            yield f"the network of its {owner} uses another kind of vectors"


ORTH_ID = 65
"""spaCy's number for the text of a token, by which its vectors are found."""
