"""What people are told of tickets, written for each medium, and how a webhook is signed.

A message holds no statement, no value and no reason that somebody typed: who did what to which
ticket, and where to look at it. Names in it come from other people, so each medium gets them in a
form that it shows as they are. Whoever is told decides on the page, signed in; a message is no key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from nbgov.core.markup import element
from nbgov.core.visible import cut, visible
from nbgov.errors import ConfigInvalid
from nbgov.model import Answer, Notice

TEST = "test"
HEADINGS = {
    "requested": "Approval requested",
    "voted": "Vote cast, more are needed",
    "approved": "Approved",
    "denied": "Denied",
    "cancelled": "Request cancelled",
    "revoked": "Approval revoked",
    "consumed": "Approval used",
    "expired": "Request expired",
    "emergency": "Emergency: used without votes",
    "reviewed": "Emergency reviewed",
    TEST: "Test message",
}
NAME_CHARS_MAX = 120
NAMES_MAX = 8
# Slack takes 2,000 characters in a field, and escaping can make five of one.
SLACK_CHARS_MAX = 380
WEBHOOK_HEAD = "whsec_"
KEY_BYTES_MIN = 24
# Between two tries, and from the first one to the moment when a message is given up.
FIRST_WAIT_S, WAIT_S_MAX, GIVE_UP_S = 2.0, 3600.0, 86_400.0
PASSING = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}


# ---------------------------------------------------------------- what a message says


def heading(notice: Notice) -> str:
    """What happened, in words that nobody else has written."""
    return HEADINGS[notice.event]


def facts(notice: Notice) -> list[tuple[str, str]]:
    """What a message tells, label by label, every sign of it visible."""
    told = [
        ("Ticket", shown(notice.ticket)),
        ("Requester", shown(notice.requester)),
        ("By", shown(notice.by) if notice.by != notice.requester else ""),
        ("Statement", shown(notice.verb)),
        ("Connection", shown(notice.connection)),
        ("Tables", listed(notice.tables)),
        ("Rules", listed(notice.rules)),
        ("Rows in the dry run", "" if notice.rows is None else f"{notice.rows:,}"),
        ("Mode", f"{shown(notice.mode)}, advisory" if notice.mode == "embedded" else ""),
    ]
    return [(label, text) for label, text in told if text]


def shown(name: str) -> str:
    """A name as a person may see it."""
    return cut(visible(name), NAME_CHARS_MAX)


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many there are beside them.

    >>> listed(("a", "b"))
    'a, b'
    """
    more = [f"{len(names) - NAMES_MAX} more"] if len(names) > NAMES_MAX else []
    return ", ".join([*map(shown, names[:NAMES_MAX]), *more])


def link(page: str, ticket: str) -> str:
    """Where a ticket is looked at, empty without a page.

    >>> link("https://nbgov.acme.test/approvals/", "1f2e-2")
    'https://nbgov.acme.test/approvals/1f2e-2'
    """
    return f"{page.rstrip('/')}/{quote(ticket, safe='')}" if page else ""


def command(ticket: str) -> str:
    """How a ticket is looked at in a terminal."""
    return f"nbgov approvals show {shown(ticket)}"


# ---------------------------------------------------------------- the media


def write(kind: str, notice: Notice, *, id: str, source: str, page: str) -> str:  # noqa: A002
    """The body of a message.

    Args:
        kind: ``webhook``, ``slack``, ``teams`` or ``smtp``.
        notice: What happened.
        id: Name of the message.
        source: Name of the audit log.
        page: Where tickets are looked at, or empty.
    """
    if kind == "webhook":
        body = event(notice, id=id, source=source, page=page)
    else:
        body = {"slack": slack, "teams": teams, "smtp": mail}[kind](notice, page)
    return json.dumps(body, separators=(",", ":"))


def event(notice: Notice, *, id: str, source: str, page: str) -> dict[str, Any]:  # noqa: A002
    """A CloudEvent 1.0, in its structured form. Names stand in it as they are."""
    data = {
        "event": notice.event,
        "ticket": notice.ticket,
        "by": notice.by,
        "requester": notice.requester,
        "connection": notice.connection,
        "verb": notice.verb,
        "tables": list(notice.tables),
        "rules": list(notice.rules),
        "rows": notice.rows,
        "mode": notice.mode,
        "url": link(page, notice.ticket) or None,
    }
    about = notice.event if notice.event == TEST else f"approval.{notice.event}"
    return {
        "specversion": "1.0",
        "id": id,
        "source": quote(source),
        "type": f"dev.nbgov.{about}.v1",
        "subject": notice.ticket,
        "time": notice.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "datacontenttype": "application/json",
        "data": {name: value for name, value in data.items() if value is not None},
    }


def slack(notice: Notice, page: str) -> dict[str, Any]:
    """A message of Slack's Block Kit."""
    fields = [
        {"type": "mrkdwn", "text": f"*{label}*\n{slack_name(text)}"}
        for label, text in facts(notice)
    ]
    where = link(page, notice.ticket)
    if where:
        label = {"type": "plain_text", "text": "Open ticket", "emoji": False}
        foot: dict[str, Any] = {
            "type": "actions",
            "elements": [{"type": "button", "text": label, "url": where}],
        }
    else:
        text = f"Look at it: {slack_name(command(notice.ticket))}"
        foot = {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}
    return {
        "text": f"{heading(notice)}: {slack_name(notice.ticket)}",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": heading(notice)}},
            {"type": "section", "fields": fields},
            foot,
        ],
    }


def slack_name(text: str) -> str:
    """A name as Slack shows it as it is.

    >>> slack_name("<!channel> `x`")
    "`&lt;!channel&gt; 'x'`"
    """
    # Security: in a code span nothing is a link, a mention or a format; <!channel> needs its angle
    # brackets, and a backtick would end the span.
    text = cut(visible(text).replace("`", "'"), SLACK_CHARS_MAX)
    return f"`{text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"


def teams(notice: Notice, page: str) -> dict[str, Any]:
    """A message with an Adaptive Card, as a webhook of Teams Workflows takes it."""
    # Security: a text run is the one text of a card in which nothing is markdown.
    lines = [
        [{**run(f"{label}: "), "weight": "Bolder"}, run(text)] for label, text in facts(notice)
    ]
    where = link(page, notice.ticket)
    if not where:
        lines.append(
            [run("Look at it: "), {**run(command(notice.ticket)), "fontType": "Monospace"}]
        )
    title = {"type": "TextBlock", "text": heading(notice), "size": "Large", "weight": "Bolder"}
    blocks = [{"type": "RichTextBlock", "inlines": line} for line in lines]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{**title, "wrap": True}, *blocks],
        "actions": [{"type": "Action.OpenUrl", "title": "Open ticket", "url": where}]
        if where
        else [],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


def run(text: str) -> dict[str, str]:
    """Text of a card that is shown as it is."""
    return {"type": "TextRun", "text": text}


def mail(notice: Notice, page: str) -> dict[str, Any]:
    """Subject and both bodies of a mail."""
    where = link(page, notice.ticket)
    lines = [f"{label}: {text}" for label, text in facts(notice)]
    rows = [
        element("tr", element("th", label, scope="row", align="left"), element("td", text))
        for label, text in facts(notice)
    ]
    foot = (
        element("a", "Open ticket", href=where)
        if where
        else element("code", command(notice.ticket))
    )
    parts = (element("h1", heading(notice)), element("table", *rows), element("p", foot))
    return {
        "subject": f"[nbgov] {heading(notice)}: {shown(notice.ticket)}",
        "text": "\n".join([heading(notice), "", *lines, "", where or command(notice.ticket), ""]),
        "html": element("html", element("body", *parts), lang="en"),
    }


# ---------------------------------------------------------------- the signature of a webhook


def read_webhook_secret(text: str) -> bytes:
    """The key behind a secret of Standard Webhooks, ``whsec_`` and base64.

    Raises:
        ConfigInvalid: The text is none, or the key is too short (``key-short``).
    """
    try:
        # Security: no error here may quote the text.
        key = base64.b64decode(text.removeprefix(WEBHOOK_HEAD), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(WEBHOOK_HEAD) or len(key) < KEY_BYTES_MIN:
        raise ConfigInvalid(
            "The secret of a webhook cannot be used.",
            code="key-short",
            why=f"it is {WEBHOOK_HEAD} and the base64 of at least {KEY_BYTES_MIN} random bytes",
            next_step=f"make one: echo {WEBHOOK_HEAD}$(openssl rand -base64 32)",
        )
    return key


def signature(key: bytes, body: bytes, *, id: str, at: datetime) -> dict[str, str]:  # noqa: A002
    """The headers that Standard Webhooks puts on a message, made at each try anew."""
    seconds = str(int(at.timestamp()))
    made = hmac.new(key, b".".join([id.encode(), seconds.encode(), body]), hashlib.sha256)
    return {
        "webhook-id": id,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(made.digest()).decode()}",
    }


# ---------------------------------------------------------------- what was answered, and when again


def answered(status: int, *, retry_after: str, at: datetime) -> Answer:
    """What a status of HTTP means for a message.

    Args:
        status: The status.
        retry_after: The header of that name, or empty.
        at: When it came.

    Example:
        >>> answered(404, retry_after="", at=datetime(2026, 1, 1, tzinfo=UTC)).state
        'never'
    """
    # Security: the words of the answer itself are somebody else's, and stay out of what is told.
    known = {one.value: one.phrase for one in HTTPStatus}
    said = f"{status} {known.get(status, '')}".strip()
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Answer("arrived", said)
    if status in PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Answer("later", said, wait_asked(retry_after, at))
    return Answer("never", said)


def wait_asked(retry_after: str, at: datetime) -> float:
    """How many seconds a receiver asks for, by a number or a date; 0 where it asks for none.

    >>> wait_asked("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), WAIT_S_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - at).total_seconds()), WAIT_S_MAX)


def wait_s(tries: int, *, chance: float) -> float:
    """How long to wait after so many tries: twice as long each time, and never all at once.

    Args:
        tries: How often a message was tried, 1 or more.
        chance: A random number, 0 to 1.
    """
    doubled = FIRST_WAIT_S * 2.0 ** min(tries - 1, 30)
    return min(doubled, WAIT_S_MAX) * (0.5 + chance / 2)
