"""nbgov.yaml: strict decoding, and errors that never repeat a value."""

from __future__ import annotations

import pytest

from nbgov.config import EVENTS, parse, schema
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


def hook(entry: str) -> str:
    return f"version: 1\nnotify: {{targets: {{t: {{{entry}}}}}}}"


def mail(entry: str) -> str:
    return hook(f"kind: smtp, host: m.test, to: [c@d.test], {entry}")


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
        (("policy: policy.yaml\n", ""), "names no policy"),
        (("version: 1", "version: 1\ndefault_connection: nope"), "not a connection"),
        (("groups: [analysts]}", "groups: []}\n  eve: {accounts: [ada]}"), "two principals"),
        (("version: 1", "version: 1\naudit: {sinks: []}"), "no sink"),
        (("version: 1", "version: 1\naudit: {sinks: [{kind: paper}]}"), "at audit.sinks"),
        (("version: 1", "version: 1\nnotify: {page: 'http://a.test'}"), "https://"),
        (("version: 1", "version: 1\nnotify: {page: 'https://u:hunter2@a.test'}"), "name no user"),
        (("version: 1", "version: 1\nnotify: {page: 'https://a:hunter2'}"), "https://"),
        (("version: 1", hook("kind: webhook, url: 'http://a.test', secret: 'env:X'")), "https://"),
        (("version: 1", hook("kind: webhook, url: 'https://a', secret: whsec_hunter2")), "refer"),
        (
            ("version: 1", hook("kind: webhook, url: 'https://a'")),
            "at notify.targets.t.webhook.sec",
        ),
        (("version: 1", hook("kind: slack, url: 'https://hooks.test/hunter2'")), "reference"),
        (
            ("version: 1", hook("kind: teams, url: 'env:X', events: []")),
            "at notify.targets.t.teams",
        ),
        (("version: 1", hook("kind: teams, url: 'env:X', events: [sent]")), "at notify.targets.t."),
        (("version: 1", hook("kind: pigeon, url: 'env:X'")), "at notify.targets.t"),
        (("version: 1", hook("kind: smtp, host: m.test, sender: a@b.test, to: []")), "at notify.t"),
        (("version: 1", mail("sender: 'A <a@b.test>'")), "at notify.targets.t.smtp.sender"),
        (("version: 1", mail("sender: a@b.test, password: hunter2")), "reference"),
        (("version: 1", mail("sender: a@b.test, password: 'env:X'")), "a user without a password"),
        (("version: 1", mail("sender: a@b.test, user: u")), "a user without a password"),
        (("version: 1", mail("sender: a@b.test, tls: none")), "in clear"),
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
        "rows audit approvals notify undo gateway"
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


def test_who_is_told_of_tickets_is_told_of_all_that_happens_unless_they_say() -> None:
    """Targets have names; a server on this host may be spoken to in clear."""
    assert parse(GOOD).notify.targets == {}
    text = (
        GOOD
        + """
notify:
  page: https://nbgov.acme.test/approvals
  targets:
    siem: {kind: webhook, url: "http://127.0.0.1:8080/x", secret: "env:HOOK"}
    chat: {kind: slack, url: "file:slack.url", events: [requested, emergency]}
    post: {kind: smtp, host: localhost, tls: none, sender: a@b.test, to: [c@d.test]}
"""
    )
    targets = parse(text).notify.targets
    assert targets["siem"].events == EVENTS
    assert targets["chat"].events == ("requested", "emergency")
    assert [one.kind for one in targets.values()] == ["webhook", "slack", "smtp"]
