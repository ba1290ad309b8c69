"""Couriers, against real servers: what arrives, what is tried again, and what is never told."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from types import SimpleNamespace

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from standardwebhooks import Webhook

from nbgov.backends.mail import MailCourier, Server
from nbgov.backends.webhooks import WebhookCourier
from nbgov.core.notices import write
from nbgov.errors import ConfigInvalid
from nbgov.model import Notice, Parcel
from tests.receivers import Mailbox, Trust, listening, mail_server

NOW = datetime.now(tz=UTC).replace(microsecond=0)
NOTICE = Notice(
    "denied", "1f2e", NOW, "grace", "ada\r\nBcc: eve@x.test", "wh", "DELETE", ("ü",), ()
)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def parcel(kind):
    body = write(kind, NOTICE, id="abc", source="log", page="https://nbgov.test/approvals")
    return Parcel("abc", kind, NOTICE.ticket, body, NOW)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with listening() as made:
        yield made


def missing():
    raise ConfigInvalid("The secret env:HOOK cannot be read.", code="secret-missing")


# ---------------------------------------------------------------- webhooks


def test_a_webhook_receives_an_event_that_others_read_and_verify(server):
    """The libraries of CloudEvents and Standard Webhooks take what came over the wire."""
    courier = WebhookCourier(lambda: server.url, secret=lambda: SECRET)
    assert courier.deliver(parcel("webhook"), at=datetime.now(UTC)).state == "arrived"
    ((path, headers, body),) = server.taken
    assert path == "/hook"
    assert Webhook(SECRET).verify(body, {name.lower(): v for name, v in headers.items()})
    event = from_http(
        HTTPMessage({k.lower(): v for k, v in headers.items()}, body.encode()), JSONFormat()
    )
    assert event.get_type() == "dev.nbgov.approval.denied.v1"
    assert event.get_id() == headers["Webhook-Id"] == "abc"
    assert event.get_data()["requester"] == NOTICE.requester


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_a_chat_receives_its_own_json_without_a_signature(server, kind):
    """Slack and Teams get what they read, and nothing signed with anything."""
    assert WebhookCourier(lambda: server.url).deliver(parcel(kind), at=NOW).state == "arrived"
    ((_, headers, body),) = server.taken
    assert headers["Content-Type"] == "application/json"
    assert not [name for name in headers if name.lower().startswith("webhook-")]
    assert body == parcel(kind).body


@pytest.mark.parametrize(("status", "state"), [(404, "never"), (429, "later"), (500, "later")])
def test_an_answer_is_told_in_our_own_words(server, status, state):
    """The status decides; the server's phrase and body are nobody's business."""
    server.answers = [(status, {"Retry-After": "33"})]
    answer = WebhookCourier(lambda: server.url).deliver(parcel("slack"), at=NOW)
    assert answer.state == state
    assert answer.said.startswith(str(status))
    assert "words" not in answer.said
    assert answer.wait_s == (33 if state == "later" else 0)


def test_no_redirect_is_followed(server):
    """A receiver cannot send a message on to somebody else."""
    with listening() as other:
        for status in (301, 302, 303, 307, 308):
            server.answers = [(status, {"Location": other.url})]
            answer = WebhookCourier(lambda: server.url).deliver(parcel("slack"), at=NOW)
            assert (answer.state, answer.said[:3]) == ("never", str(status))
        assert other.taken == []


def test_a_receiver_that_hangs_or_is_away_is_tried_again(server):
    """No answer in time, none at all, and one that is no HTTP, are no end."""
    server.gate.clear()
    hung = WebhookCourier(lambda: server.url, timeout_s=0.2).deliver(parcel("slack"), at=NOW)
    assert (hung.state, hung.said) == ("later", "TimeoutError")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/secret-path"
    gone = WebhookCourier(lambda: url).deliver(parcel("slack"), at=NOW)
    assert (gone.state, gone.said) == ("later", "ConnectionRefusedError")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.test/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "", "https://",
        "https://u:hunter2@127.0.0.1/x", "http://127.0.0.1@example.test/", "https://h:99999/x",
    ],
)  # fmt: skip
def test_a_url_out_of_a_secret_is_held_against_the_same_rules(url):
    """Nothing is sent in clear, to a file, or with a name in the url; and the url is not told."""
    answer = WebhookCourier(lambda: url).deliver(parcel("slack"), at=NOW)
    assert (answer.state, answer.said) == ("later", "its url is none of https")


def test_a_secret_that_cannot_be_read_is_told_by_its_code(server):
    """Neither a missing url nor a wrong secret ends in an error or in a message without signature."""
    assert WebhookCourier(missing).deliver(parcel("slack"), at=NOW).said == "secret-missing"
    for secret, code in ((missing, "secret-missing"), (lambda: "whsec_x", "key-short")):
        courier = WebhookCourier(lambda: server.url, secret=secret)
        assert courier.deliver(parcel("webhook"), at=NOW).said == code
    assert server.taken == []


def test_the_proxy_of_the_environment_is_asked(server, monkeypatch):
    """As everywhere in Python, ``https_proxy`` and ``no_proxy`` say how the way out is."""
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    url = "http://localhost:1/hook"
    assert WebhookCourier(lambda: url).deliver(parcel("slack"), at=NOW).state == "arrived"
    assert server.taken[0][0] == url


# ---------------------------------------------------------------- mail


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    return Trust(tmp_path_factory.mktemp("trust"))


def mails(port, *, tls="none", user="", password=None, **more):
    return MailCourier(
        Server("127.0.0.1", port, tls, user),
        sender="nbgov@acme.test",
        to=["a@acme.test", "b@acme.test"],
        password=password,
        **more,
    )


@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_a_mail_arrives_with_both_bodies_and_no_header_of_others(trust, tls):
    """Text and HTML, a name and a date, over a protected connection with a user where there is one."""
    mailbox = Mailbox()
    with mail_server(mailbox, tls=tls, trust=trust) as port:
        user = {} if tls == "none" else {"user": "nbgov", "password": lambda: "opensesame"}
        answer = mails(port, tls=tls, trust=trust.client, **user).deliver(parcel("smtp"), at=NOW)
    assert answer.state == "arrived", answer
    ((sender, to, content),) = mailbox.mails
    assert (sender, to) == ("nbgov@acme.test", ["a@acme.test", "b@acme.test"])
    assert mailbox.users == ([] if tls == "none" else [("nbgov", "opensesame")])
    mail = message_from_bytes(content, policy=policy.default)
    assert mail["Subject"] == "[nbgov] Denied: 1f2e"
    assert mail["Message-ID"] == "<abc@acme.test>"
    assert mail["Date"].datetime == NOW
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Bcc"] is None
    text = mail.get_body(["plain"]).get_content()
    assert "Requester: ada⟨U+000D⟩↵Bcc: eve@x.test" in text
    assert "Tables: ü" in text
    assert "https://nbgov.test/approvals/1f2e" in text
    assert "https://nbgov.test/approvals/1f2e" in mail.get_body(["html"]).get_content()


@pytest.mark.parametrize(("status", "state"), [(451, "later"), (554, "never")])
def test_a_status_of_a_mail_server_says_whether_to_try_again(status, state):
    """4xx passes, 5xx does not, and its words are not told."""
    mailbox = Mailbox()
    mailbox.answers = [status]
    with mail_server(mailbox) as port:
        answer = mails(port).deliver(parcel("smtp"), at=NOW)
    assert (answer.state, answer.said) == (state, f"status {status} of the server")


def test_an_address_that_does_not_exist_is_told():
    """One of two is an end that is told, since the other one has the mail; so are both."""
    mailbox = Mailbox()
    mailbox.refused = {"a@acme.test"}
    with mail_server(mailbox) as port:
        answer = mails(port).deliver(parcel("smtp"), at=NOW)
        assert (answer.state, answer.said) == ("never", "1 of 2 addresses were refused")
        mailbox.refused.add("b@acme.test")
        answer = mails(port).deliver(parcel("smtp"), at=NOW)
        assert (answer.state, answer.said) == ("never", "status 550 of the server")
    assert [to for _, to, _ in mailbox.mails] == [["b@acme.test"]]


def test_no_mail_and_no_password_goes_in_clear_or_to_a_stranger(trust):
    """A server without STARTTLS, or with a certificate that nobody trusts, gets nothing."""
    mailbox = Mailbox()
    who = {"user": "nbgov", "password": lambda: "opensesame"}
    with mail_server(mailbox) as port:
        answer = mails(port, tls="starttls", **who).deliver(parcel("smtp"), at=NOW)
        assert (answer.state, answer.said) == ("later", "SMTPNotSupportedError")
    for tls in ("starttls", "tls"):
        with mail_server(mailbox, tls=tls, trust=trust) as port:
            answer = mails(port, tls=tls, **who).deliver(parcel("smtp"), at=NOW)
            assert (answer.state, answer.said) == ("later", "SSLCertVerificationError")
    assert mailbox.mails == mailbox.users == []


def test_a_wrong_password_and_a_missing_one_are_told_without_it(trust):
    """The first is the server's last word; the second may be set meanwhile."""
    mailbox = Mailbox()
    with mail_server(mailbox, tls="starttls", trust=trust) as port:
        shared = SimpleNamespace(tls="starttls", user="nbgov", trust=trust.client)
        wrong = mails(port, **vars(shared), password=lambda: "hunter2")
        answer = wrong.deliver(parcel("smtp"), at=NOW)
        assert (answer.state, answer.said) == ("never", "status 535 of the server")
        answer = mails(port, **vars(shared), password=missing).deliver(parcel("smtp"), at=NOW)
        assert (answer.state, answer.said) == ("later", "secret-missing")
    assert mailbox.mails == []


def test_a_mail_server_that_is_away_is_tried_again():
    """No server, and one that says nothing, are no end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = mails(port, timeout_s=0.2).deliver(parcel("smtp"), at=NOW)
        assert answer.state == "later"
    assert (
        mails(port).deliver(parcel("smtp"), at=NOW + timedelta(1)).said == "ConnectionRefusedError"
    )


def test_a_mail_is_the_same_at_every_try():
    """Its name is that of the message, so that a second copy can be told."""
    courier = mails(25)
    one, two = (courier.letter(parcel("smtp"), NOW + timedelta(n)) for n in (0, 1))
    assert one["Message-ID"] == two["Message-ID"]
    assert json.loads(parcel("smtp").body)["subject"] == one["Subject"]
