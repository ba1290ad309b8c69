"""``nbgov notify``, and the way of a notice from a statement to a receiver."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

import nbgov
from nbgov.cli import main
from nbgov.errors import ApprovalNeeded
from tests.flights import build
from tests.receivers import Mailbox, listening, mail_server

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ADA, GRACE = "ada@acme.test", "grace@acme.test"
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
principals:
  ada@acme.test: {{groups: [analysts]}}
  grace@acme.test: {{groups: [stewards]}}
notify:
  page: https://nbgov.acme.test/approvals
  targets:
    hook: {{kind: webhook, url: "{url}", secret: "env:HOOK"}}
    chat: {{kind: slack, url: "env:CHAT", events: [requested, denied]}}
    post: {{kind: smtp, host: 127.0.0.1, port: {port}, tls: none, sender: n@b.test, to: [c@d.test], events: [requested]}}
"""
POLICY = """
version: 1
tags: {public: ["warehouse.*.flights.*"]}
rules:
  - id: four-eyes
    effect: permit
    to: {groups: [analysts]}
    actions: [read, delete]
    on: ["warehouse.*.*"]
    obligations:
      approval: {by: {groups: [stewards]}}
"""
STATEMENT = "DELETE FROM flights WHERE note = 'a value nobody is told'"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A project, the server behind its webhooks, and the mailbox of its mails."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HOOK", SECRET)
    mailbox = Mailbox()
    with listening() as server, mail_server(mailbox) as port:
        monkeypatch.setenv("CHAT", server.url + "/chat")
        config = CONFIG.format(url=server.url, port=port)
        rows = "CREATE TABLE flights AS SELECT 'a value nobody is told' AS note"
        yield build(tmp_path, rows, config=config, policy=POLICY), server, mailbox


def run(folder, *arguments):
    return CliRunner().invoke(main, ["--config", str(folder), "--as", ADA, *arguments])


def test_a_statement_that_waits_is_told_everywhere_without_its_text(place):
    """Webhook, chat and mail get the ticket and its link; no text and no value of the statement."""
    folder, server, mailbox = place
    with nbgov.connect(folder, as_=ADA) as session, pytest.raises(ApprovalNeeded) as caught:
        session.sql(STATEMENT)
    ticket = caught.value.ticket
    with nbgov.connect(folder, as_=GRACE) as session:
        session.vote(ticket, is_approval=True)
    bodies = {path: body for path, _, body in server.taken}
    assert f"https://nbgov.acme.test/approvals/{ticket}" in bodies["/hook/chat"]
    ((_, to, mail),) = mailbox.mails
    assert to == ["c@d.test"]
    hooks = [(headers, body) for path, headers, body in server.taken if path == "/hook"]
    events = [
        Webhook(SECRET).verify(body, {k.lower(): v for k, v in headers.items()})
        for headers, body in hooks
    ]
    assert [one["type"] for one in events] == [
        "dev.nbgov.approval.requested.v1",
        "dev.nbgov.approval.approved.v1",
    ]
    assert events[0]["data"] == {
        "event": "requested",
        "ticket": ticket,
        "by": ADA,
        "requester": ADA,
        "connection": "warehouse",
        "verb": "DELETE",
        "tables": ["main.flights"],
        "rules": ["four-eyes"],
        "rows": 1,
        "mode": "embedded",
        "url": f"https://nbgov.acme.test/approvals/{ticket}",
    }
    for sent in (*(body for _, _, body in server.taken), mail.decode()):
        assert "value" not in sent
        assert "WHERE" not in sent


def test_a_test_message_goes_out_now_and_its_answer_is_told(place):
    """Each kind of receiver gets one, and it leaves nothing behind."""
    folder, server, mailbox = place
    for name in ("hook", "chat", "post"):
        told = run(folder, "notify", "test", name)
        assert (told.exit_code, told.output[:8]) == (0, "arrived ")
    assert json.loads(server.taken[0][2])["type"] == "dev.nbgov.test.v1"
    assert b"Test message" in mailbox.mails[0][2]
    assert run(folder, "notify", "status").output.count(" 0 waiting") == 3


def test_a_test_message_that_does_not_arrive_is_an_error(place, monkeypatch):
    """It says what was answered, or that a secret is missing, and who there is."""
    folder, server, _ = place
    server.answers = [(403, {})]
    told = run(folder, "notify", "test", "hook")
    assert told.exit_code == 1
    assert "403 Forbidden" in told.stderr
    assert "notice-undelivered" in told.stderr
    monkeypatch.delenv("CHAT")
    assert "secret-missing" in run(folder, "notify", "test", "chat").stderr
    told = run(folder, "notify", "test", "nobody")
    assert "hook, chat, post" in told.stderr


def test_the_status_says_what_waits_and_why(place, monkeypatch):
    """By receiver: how many, which ticket, how often it was tried, and what the last try met."""
    folder, _, _ = place
    monkeypatch.delenv("CHAT")
    with nbgov.connect(folder, as_=ADA) as session, pytest.raises(ApprovalNeeded) as caught:
        session.sql(STATEMENT)
    lines = run(folder, "notify", "status").output.splitlines()
    assert lines[0].split() == ["hook", "0", "waiting"]
    assert lines[1].split() == ["chat", "1", "waiting"]
    assert lines[2].split()[0] == caught.value.ticket
    assert lines[2].endswith("last: secret-missing")
    config = (folder / "nbgov.yaml").read_text()
    (folder / "nbgov.yaml").write_text(config.replace("chat:", "talk:"))
    assert "does not name it any more" in run(folder, "notify", "status").output


def test_where_nobody_is_told_the_command_says_how(tmp_path):
    """Without targets there is nothing to try."""
    told = run(build(tmp_path), "notify", "status")
    assert told.exit_code == 1
    assert "notify.md" in told.stderr
