"""``analyzer:`` in nbgov.yaml: a person's own Presidio looks through results, or nothing is shown."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pytest

from nbgov.errors import BackendFailed, ConfigInvalid
from nbgov.session import connect

CONFIG = """version: 1
policy: policy.yaml
analyzer: {analyzer}
connections: {{home: {{kind: duckdb, path: home.duckdb}}}}
principals: {{ada: {{accounts: ["*"]}}}}
"""
POLICY = """version: 1
rules: [{id: read, effect: permit, to: {names: ["*"]}, actions: [read], on: ["home.main.*"]}]
content: {language: %s, entities: [KUNDE]}
"""
MODULE = """
import spacy
from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

calls = []

def analyzer():
    calls.append(1)
    model = SpacyNlpEngine(models=[{"lang_code": "de", "model_name": "blank"}])
    model.nlp = {"de": spacy.blank("de")}
    pattern = Pattern("one", r"KD-[0-9]+", 0.6)
    one = PatternRecognizer("KUNDE", patterns=[pattern], supported_language="de")
    registry = RecognizerRegistry(recognizers=[one], supported_languages=["de"])
    return AnalyzerEngine(nlp_engine=model, registry=registry, supported_languages=["de"])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one text, and a module beside it."""
    with duckdb.connect(str(tmp_path / "home.duckdb")) as base:
        base.execute("CREATE TABLE notes AS SELECT 'an KD-17' AS note")
    (tmp_path / "own_german.py").write_text(MODULE)
    (tmp_path / "nbgov.yaml").write_text(CONFIG.format(analyzer="own_german:analyzer"))
    (tmp_path / "policy.yaml").write_text(POLICY % "de")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_german", raising=False)
    return tmp_path


def notes(folder: Path) -> list[str]:
    """The texts, as they are delivered."""
    with connect(folder, as_="ada") as session, session.sql("SELECT note FROM notes") as result:
        return result.to_arrow()["note"].to_pylist()


def test_results_are_looked_through_by_the_analyzer_that_is_named(folder: Path) -> None:
    """Its recognizers and its language count, and it is made once, when text is to be read."""
    with connect(folder, as_="ada") as session:
        with session.sql("SELECT 1 AS one") as result:
            assert result.to_arrow()["one"].to_pylist() == [1]
        assert "own_german" not in sys.modules
        for _ in range(2):
            with session.sql("SELECT note FROM notes") as result:
                assert result.to_arrow()["note"].to_pylist() == ["an <KUNDE>"]
    assert sys.modules["own_german"].calls == [1]


@pytest.mark.parametrize("analyzer", ["own_german:nothing", "no_such_module:make", "os:getcwd.x"])
def test_an_analyzer_that_cannot_be_made_delivers_nothing(folder: Path, analyzer: str) -> None:
    """The error names the reference, and no row is shown."""
    (folder / "nbgov.yaml").write_text(CONFIG.format(analyzer=analyzer))
    with pytest.raises(ConfigInvalid, match="analyzer-invalid") as caught:
        notes(folder)
    assert analyzer in str(caught.value)


def test_a_language_that_the_analyzer_does_not_read_delivers_nothing(folder: Path) -> None:
    """Text in another language is not shown unread."""
    (folder / "policy.yaml").write_text(POLICY % "fr")
    with pytest.raises(BackendFailed, match="does not read the language 'fr'"):
        notes(folder)
