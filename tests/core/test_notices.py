"""Messages about tickets: what they say in each medium, and what they never can."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html.parser import HTMLParser
from typing import get_args
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from nbgov.core import notices
from nbgov.core.notices import (
    GIVE_UP_S,
    HEADINGS,
    WAIT_S_MAX,
    answered,
    read_webhook_secret,
    signature,
    wait_asked,
    wait_s,
    write,
)
from nbgov.errors import ConfigInvalid
from nbgov.model import Notice, NoticeEvent

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
NOTICE = Notice(
    event="requested",
    ticket="1f2e3d4c-2",
    at=AT,
    by="ada@acme.test",
    requester="ada@acme.test",
    connection="warehouse",
    verb="UPDATE",
    tables=("main.flights", "main.gates"),
    rules=("four-eyes",),
    rows=1234,
)
PAGE = "https://nbgov.acme.test/approvals"
KINDS = ("webhook", "slack", "teams", "smtp")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOSTILE = (
    "<!channel>",
    "<@U012>",
    "<!here|x>",
    "@here",
    "*b* _i_ ~s~ `c`",
    "[a](https://evil.test)",
    "https://evil.test",
    "<at>All</at>",
    "<script>alert(1)</script>",
    "a\r\nBcc: eve@evil.test",
    "a\u202eb",
    "&lt;",
    ":tada:",
    "",
)
names = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8"), max_size=300))
drawn = st.builds(
    Notice,
    event=st.sampled_from(get_args(NoticeEvent)),
    ticket=names.filter(bool),
    at=st.just(AT),
    by=names,
    requester=names,
    connection=names,
    verb=names,
    tables=st.lists(names, max_size=20).map(tuple),
    rules=st.lists(names, max_size=20).map(tuple),
    rows=st.none() | st.integers(0, 2**63),
    mode=st.sampled_from(["embedded", "gateway"]),
)
pages = st.sampled_from(["", PAGE, PAGE + "/"])


def body(kind, notice=NOTICE, *, page=PAGE, source="acme.test/audit"):
    return json.loads(write(kind, notice, id="abc", source=source, page=page))


def every(node, *keys):
    """The mappings anywhere in JSON that have these keys."""
    if isinstance(node, dict):
        if all(key in node for key in keys):
            yield node
        for child in node.values():
            yield from every(child, *keys)
    elif isinstance(node, list):
        for child in node:
            yield from every(child, *keys)


# ---------------------------------------------------------------- what a message holds


def test_every_event_has_a_heading():
    """What can be told has words of its own, and nothing else has."""
    assert set(HEADINGS) == {*get_args(NoticeEvent), notices.TEST}


def test_a_notice_has_no_place_for_a_statement_or_a_reason():
    """Its fields are names, counts and moments; a new one has to be thought about here."""
    assert {field.name for field in dataclasses.fields(Notice)} == {
        "event", "ticket", "at", "by", "requester", "connection", "verb", "tables", "rules",
        "rows", "mode",
    }  # fmt: skip


@given(drawn, st.sampled_from(KINDS), pages)
def test_a_message_is_made_of_the_notice_alone(notice, kind, page):
    """One notice gives one body, whatever happened meanwhile, and it is JSON in ASCII."""
    made = write(kind, notice, id="abc", source="log", page=page)
    assert made == write(kind, notice, id="abc", source="log", page=page)
    assert made.isascii()
    json.loads(made)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_leads_to_the_page(kind):
    """The link is the page and the ticket, in each medium."""
    assert f"{PAGE}/1f2e3d4c-2" in write(kind, NOTICE, id="a", source="log", page=PAGE)


@pytest.mark.parametrize("kind", ["slack", "teams", "smtp"])
def test_without_a_page_a_message_names_the_command(kind):
    """People learn how to look at the ticket in a terminal."""
    made = write(kind, NOTICE, id="a", source="log", page="")
    assert "nbgov approvals show 1f2e3d4c-2" in made
    assert "https://nbgov" not in made


@given(drawn)
def test_a_strange_ticket_stays_inside_the_page(notice):
    """No ticket makes a link that leads out of the folder of the page."""
    made = notices.link(PAGE, notice.ticket)
    rest = made.removeprefix(PAGE + "/")
    assert not set("/?#\\ ") & set(rest)
    assert unquote(rest) == notice.ticket


# ---------------------------------------------------------------- webhooks


@given(drawn, pages)
def test_a_webhook_gets_a_cloud_event_that_others_can_read(notice, page):
    """The CloudEvents SDK decodes it, and finds every fact as it is."""
    made = write("webhook", notice, id="abc", source="acme.test/audit log", page=page)
    headers = {"content-type": "application/cloudevents+json"}
    found = from_structured_event(HTTPMessage(headers, made.encode()), JSONFormat())
    assert found.get_id() == "abc"
    assert found.get_source() == "acme.test/audit%20log"
    assert found.get_type() == f"dev.nbgov.approval.{notice.event}.v1"
    assert found.get_subject() == notice.ticket
    assert found.get_time() == AT
    data = found.get_data()
    url = data.pop("url", "")
    assert url == notices.link(page, notice.ticket)
    told = {
        **dataclasses.asdict(notice),
        "tables": list(notice.tables),
        "rules": list(notice.rules),
    }
    del told["at"]
    assert data == {name: value for name, value in told.items() if value is not None}


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64))
def test_a_signature_is_the_one_of_standard_webhooks(data, key):
    """Its own library makes the same one."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    text = data.hex()
    made = signature(key, text.encode(), id="abc", at=at)
    assert made["webhook-signature"] == Webhook(key).sign("abc", at, text)


def test_a_receiver_verifies_what_was_signed_and_nothing_else():
    """A body, a name or a moment that was changed does not verify."""
    key = read_webhook_secret(SECRET)
    now = datetime.now(tz=UTC)
    text = write("webhook", NOTICE, id="abc", source="log", page=PAGE)
    headers = signature(key, text.encode(), id="abc", at=now)
    receiver = Webhook(SECRET)
    assert receiver.verify(text, headers)["data"]["ticket"] == NOTICE.ticket
    for wrong, changed in (
        (text.replace("1f2e", "1f2f"), headers),
        (text, headers | {"webhook-id": "xyz"}),
        (text, headers | {"webhook-timestamp": str(int(now.timestamp()) + 1)}),
        (text, signature(key, text.encode(), id="abc", at=now - timedelta(hours=1))),
        (text, signature(b"k" * 24, text.encode(), id="abc", at=now)),
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(wrong, changed)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_hunter2!", "whsec_aHVudGVyMg==", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
)
def test_a_secret_that_could_be_guessed_is_refused_and_not_repeated(text):
    """A key has at least 24 bytes behind its head."""
    with pytest.raises(ConfigInvalid) as caught:
        read_webhook_secret(text)
    assert caught.value.code == "key-short"
    assert "hunter2" not in str(caught.value)


# ---------------------------------------------------------------- Slack


@given(drawn, pages)
def test_no_name_is_a_mention_a_link_or_a_format_in_slack(notice, page):
    """Every text of others stands in a code span, without brackets and within Slack's limits."""
    made = body("slack", notice, page=page)
    own = {*HEADINGS.values(), "Open ticket"}
    for one in every(made, "text"):
        text = one["text"]
        if isinstance(text, dict) or text in own:
            continue
        plain = re.sub(r"`[^`\n]+`", "", text)
        assert not set("<>`") & set(plain)
        assert re.fullmatch(r"[\w*\n:, -]*", plain, re.ASCII)
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", text)
        assert len(text) <= 2000
    (section,) = every(made, "fields")
    assert 1 <= len(section["fields"]) <= 10


def test_slack_shows_who_wants_what_where():
    """The facts stand there, and the button leads to the page."""
    made = body("slack")
    assert made["blocks"][0]["text"]["text"] == "Approval requested"
    texts = [field["text"] for field in made["blocks"][1]["fields"]]
    assert "*Requester*\n`ada@acme.test`" in texts
    assert "*Tables*\n`main.flights, main.gates`" in texts
    assert "*Rows in the dry run*\n`1,234`" in texts
    assert made["blocks"][2]["elements"][0]["url"] == f"{PAGE}/1f2e3d4c-2"


# ---------------------------------------------------------------- Teams


@given(drawn, pages)
def test_no_name_is_markdown_or_a_mention_in_teams(notice, page):
    """Text of others stands in text runs only, and nobody is mentioned."""
    made = body("teams", notice, page=page)
    assert {one["text"] for one in every(made, "type", "text") if one["type"] == "TextBlock"} <= {
        *HEADINGS.values()
    }
    assert {one["type"] for one in every(made, "type")} <= {
        "message", "AdaptiveCard", "TextBlock", "RichTextBlock", "TextRun", "Action.OpenUrl",
    }  # fmt: skip
    assert not list(every(made, "msteams"))
    urls = [one["url"] for one in every(made, "url")]
    assert urls == ([notices.link(page, notice.ticket)] if page else [])


# ---------------------------------------------------------------- mail


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.found = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.found.append(data)


@given(drawn, pages)
def test_no_name_is_markup_or_a_header_in_a_mail(notice, page):
    """The subject is one line of plain signs; the page of a mail has no element of others."""
    made = body("smtp", notice, page=page)
    assert made["subject"].isprintable()
    reader = Texts()
    reader.feed(made["html"])
    assert reader.tags <= {"html", "body", "h1", "table", "tr", "th", "td", "p", "a", "code"}
    for _, text in notices.facts(notice):
        assert text in made["text"]


def test_a_list_of_names_is_cut_and_says_how_many_are_left_out():
    """A statement on very many tables makes no endless message."""
    many = dataclasses.replace(NOTICE, tables=tuple(f"t{n}" for n in range(30)))
    assert ("Tables", "t0, t1, t2, t3, t4, t5, t6, t7, 22 more") in notices.facts(many)


# ---------------------------------------------------------------- answers and waiting


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, "arrived"), (202, "arrived"), (204, "arrived"),
        (301, "never"), (302, "never"), (400, "never"), (401, "never"), (404, "never"), (410, "never"),
        (408, "later"), (425, "later"), (429, "later"), (500, "later"), (503, "later"), (599, "later"),
    ],
)  # fmt: skip
def test_a_status_says_whether_to_try_again(status, state):
    """Only what may pass by itself is tried again."""
    assert answered(status, retry_after="", at=AT).state == state


@given(st.text(max_size=40) | st.integers().map(str))
def test_no_header_makes_a_receiver_wait_for_ever(text):
    """Whatever Retry-After says, it is a time between none and an hour."""
    assert 0 <= wait_asked(text, AT) <= WAIT_S_MAX


def test_a_receiver_may_ask_to_be_left_alone():
    """In seconds or until a moment; a moment that has passed asks for nothing."""
    assert answered(429, retry_after="17", at=AT).wait_s == 17
    later = AT.replace(microsecond=0) + timedelta(seconds=90)
    assert 89 < wait_asked(format_datetime(later, usegmt=True), AT) <= 90
    assert wait_asked(format_datetime(AT - timedelta(days=1), usegmt=True), AT) == 0
    assert wait_asked("soon", AT) == 0
    assert wait_asked("99999", AT) == WAIT_S_MAX


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_pause_grows_and_stays_within_bounds(tries, chance):
    """It doubles up to an hour, and chance takes away half of it at most."""
    pause = wait_s(tries, chance=chance)
    assert 1 <= pause <= WAIT_S_MAX
    assert pause <= wait_s(tries + 1, chance=1)
    assert sum(wait_s(n, chance=0) for n in range(1, 60)) > GIVE_UP_S
