"""nbgov.yaml: strict decoding, and errors that never repeat a value."""

from __future__ import annotations

import pytest

from nbgov.config import parse, schema
from nbgov.errors import ConfigInvalid

GOOD = """
version: 1
policy: policy.yaml
connections:
  wh: {kind: duckdb, path: wh.duckdb}
  pg: {kind: postgresql, url: "postgresql://host/db", user: ada, password: "env:PGPASSWORD"}
principals:
  ada@acme.test: {accounts: [ada], groups: [analysts]}
"""


def test_a_good_file_decodes() -> None:
    """What is written arrives, and what is left out has its default."""
    config = parse(GOOD)
    assert list(config.connections) == ["wh", "pg"]
    assert config.state == ".nbgov"
    assert config.principals["ada@acme.test"].groups == ("analysts",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("connections:", "conections:"), "did you mean 'connections'"),
        (("path: wh", "pth: wh"), "did you mean 'path'"),
        (("kind: duckdb", "kind: oracle"), "does not decode at connections.wh"),
        (("env:PGPASSWORD", "hunter2"), "reference"),
        (("postgresql://host", "postgresql://u:hunter2@host"), "password"),
        (("postgresql://host/db", "postgresql://host/db?password=hunter2"), "password"),
        (("version: 1", "version: 1\nversion: 1"), "twice"),
        (("version: 1", "version: [1"), "not valid YAML"),
        (("version: 1", "version: !!python/object:os.system x"), "not valid YAML"),
        (("version: 1", "version: 3"), "does not decode at version"),
        (("policy: policy.yaml\n", ""), "does not decode at policy"),
        (("version: 1", "version: 1\ndefault_connection: nope"), "not a connection"),
        (("groups: [analysts]}", "groups: []}\n  eve: {accounts: [ada]}"), "two principals"),
        (("version: 1", "version: 1\naudit: {sinks: []}"), "no sink"),
        (("version: 1", "version: 1\naudit: {sinks: [{kind: paper}]}"), "at audit.sinks"),
        (("version: 1", "version: 1\naudit: {quorum: 1}"), "more cosignatures than"),
        (("version: 1", "version: 1\naudit: {quorum: 0}"), "at audit.quorum"),
        (("version: 1", "version: 1\naudit: {origin: two words}"), "at audit.origin"),
        (("version: 1", "version: 1\naudit: {witnesses: [{url: 'http://a'}]}"), "at audit.witn"),
        (
            ("version: 1", "version: 1\naudit: {witnesses: [{url: 'http://u:hunter2@a', key: k}]}"),
            "password",
        ),
    ],
)
def test_a_wrong_file_says_where_and_what_to_do(change: tuple[str, str], says: str) -> None:
    """Each mistake names its place, and no secret's value is repeated."""
    text = GOOD.replace(*change, 1)
    assert text != GOOD
    with pytest.raises(ConfigInvalid, match=says) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.code == "config-invalid"


@pytest.mark.parametrize("text", ["", "[]", "just text", "connections: {}\nversion: 1\npolicy: p"])
def test_a_file_of_another_shape_is_refused(text: str) -> None:
    """An empty file, a list and a file without connections are errors."""
    with pytest.raises(ConfigInvalid):
        parse(text)


def test_an_endless_file_is_refused() -> None:
    """A document has a size limit."""
    with pytest.raises(ConfigInvalid, match="larger"):
        parse("#" * 1_000_001)


def test_the_schema_for_editors_names_every_key() -> None:
    """The JSON Schema is the one that decoding follows."""
    keys = (
        "version policy connections principals state default_connection analyzer pseudonym_key "
        "rows audit"
    )
    assert set(keys.split()) == set(schema()["properties"])


def test_no_rows_are_kept_unless_it_says_so() -> None:
    """Whose rows are kept is one of three words, within a size."""
    text = "version: 1\npolicy: p\nconnections: {a: {kind: duckdb, path: x}}\n"
    assert parse(text).rows.keep == "none"
    kept = parse(text + "rows: {keep: training, bytes_max: 7}").rows
    assert (kept.keep, kept.bytes_max) == ("training", 7)
    for wrong in ("rows: {keep: all}", "rows: {bytes_max: 0}", "rows: {size: 1}"):
        with pytest.raises(ConfigInvalid):
            parse(text + wrong)


def test_the_log_is_in_files_and_keeps_no_literals_unless_it_says_so() -> None:
    """What is left out under audit: has its default, and a log always has somewhere to go."""
    terms = parse(GOOD).audit
    assert [sink.kind for sink in terms.sinks] == ["files"]
    assert (terms.witnesses, terms.quorum, terms.seal) == ((), None, False)
