"""The report for an auditor: it stands alone, escapes everything, and says what does not hold."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from nbgov.core.audit.overview import Overview, Reach
from nbgov.core.audit.query import Query
from nbgov.core.pages import page
from nbgov.errors import BackendFailed, NbgovError
from nbgov.evidence import report_parts
from nbgov.evidence.report import Account, make_report
from nbgov.evidence.report_answers import report_main
from nbgov.evidence.report_parts import STYLE
from nbgov.evidence.report_sections import figures
from nbgov.evidence.verification import examine_log
from nbgov.model import Record, RecordKind
from nbgov.session import connect
from tests.surfaces import house

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVIL = "</td><script>alert(1)</script>\u202e<img src=x onerror=y>"


class Reader(HTMLParser):
    """What a page consists of."""

    def __init__(self, html):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def names(self):
        return {tag for tag, _ in self.tags}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A house whose log has a read, a denial, a vote and a strange name."""
    folder = house.build(tmp_path_factory.mktemp("report"))
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id, email FROM people").to_arrow()
        for statement in ("DROP TABLE people", house.CHANGE):
            try:
                session.sql(statement)
            except NbgovError:
                continue
        [ticket] = [one.ticket for one in session.pending()]
        session.world.audit.append(
            Record(
                RecordKind.OUTCOME,
                session.world.clock.now(),
                "r",
                session.id,
                principal=EVIL,
                tables=(EVIL,),
                status="denied",
                code="denied-by-policy",
                entities={"EMAIL_ADDRESS": 3},
            )
        )
    with connect(folder, as_="grace@acme.test") as session:
        session.vote(ticket, is_approval=True)
    return folder


@pytest.fixture
def session(folder):
    with connect(folder, as_="grace@acme.test") as opened:
        yield opened


def test_the_page_answers_an_auditor(session):
    """Who reached what, masked how, denied why, approved by whom, and what it rests on."""
    made = make_report(session)
    text = "".join(Reader(made.html).text)
    assert made.is_sound
    assert made.told.startswith("the log verifies, ")
    for part in (
        "VERIFIES",
        "wh.main.people",
        "redact",
        "EMAIL_ADDRESS",
        "denied-by-guard 1",
        "1 vote by grace@acme.test",
        "no witness cosigned it",
        "nbgov audit verify --from log.zip --key KEY",
        str(session.world.audit.note("checkpoint")).split("\n", maxsplit=1)[0],
    ):
        assert part in text, part


def test_the_page_runs_and_loads_nothing(session):
    """No script, no link, nothing from outside, whatever names the log holds."""
    found = Reader(make_report(session).html)
    assert not found.names() & {"script", "img", "link", "iframe", "a", "form", "object"}
    assert all(not {"src", "href", "style"} & attrs.keys() for _, attrs in found.tags)
    [policy] = [a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "<script>alert(1)</script>" in "".join(found.text)
    assert "\u202e" not in "".join(found.text)


def test_the_page_can_be_heard(session):
    """Headings follow one another, tables have captions and headers, pictures have names."""
    tags = Reader(make_report(session).html).tags
    levels = [int(tag[1]) for tag, _ in tags if tag in {"h1", "h2", "h3"}]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [tag for tag, _ in tags]
    assert names.count("table") == names.count("caption") > 5
    assert all(attrs.get("scope") == "col" for tag, attrs in tags if tag == "th")
    pictures = [attrs for tag, attrs in tags if tag == "svg"]
    assert all({"role", "aria-hidden"} & attrs.keys() for attrs in pictures)


def test_filters_narrow_the_page_and_not_the_verification(session):
    """A report on one person counts that person only; the whole log is verified."""
    made = make_report(session, Query(principal=("ada@*",), limit=1))
    assert "1 person, 1 table, 3 requests" in made.html
    assert "principal ada@*" in made.html
    assert f"{len(list(session.world.audit.entries())):,} entries were read" in made.html


def test_that_it_was_made_is_recorded(session):
    """The newest entry says who made a report, and of what."""
    make_report(session)
    *_, last = session.world.audit.entries()
    assert b'"note":"report of the whole log"' in last
    assert b'"verb":"EXPORT"' in last


def test_a_log_that_does_not_hold_has_a_report_that_says_so(tmp_path):
    """An entry that was changed is what the page says first."""
    folder = house.build(tmp_path)
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
    [segment] = (folder / session.config.state / "audit").glob("*.jsonl")
    lines = segment.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"ada@", b"eve@")
    segment.write_bytes(b"\n".join(lines))
    with connect(folder, as_="ada@acme.test") as session:
        made = make_report(session)
    assert not made.is_sound
    assert "DOES NOT VERIFY" in made.html
    assert "the log does NOT verify" in made.told
    assert "FAILS" in made.html


def test_an_empty_account_is_a_page(session):
    """Where nothing is meant, every section says that there is nothing."""
    found = examine_log(session)
    account = Account(Overview(), found, None, "user nobody", AT, "grace")
    html = page("t", report_main(account), style=STYLE)
    for told in ("no entry: user nobody", "Nobody asked for anything", "Nothing was masked",
                 "Nothing was denied", "There were no tickets", "No checkpoint could be made"):  # fmt: skip
        assert told in html


def test_long_lists_are_cut_and_counted(session, monkeypatch):
    """What does not fit is told by its number."""
    monkeypatch.setattr(report_parts, "ROWS_MAX", 2)
    overview = Overview()
    for n in range(5):
        at = AT + timedelta(days=n)
        facts = {"at": at, "request": "r", "session": "s", "principal": f"p{n}"}
        overview.add(n, Record(RecordKind.OUTCOME, status="ok", **facts))
        overview.add(n, Record(RecordKind.VOTE, note="approve", **facts))
        overview.add(n, Record(RecordKind.REPAIR, note="cut", **facts))
    account = Account(overview, examine_log(session), None, "all", AT, "grace")
    html = str(report_main(account))
    assert "And 3 more, with smaller numbers." in html
    assert "And 3 older ones in the log." in html
    assert "the clock went back never" in html


def test_the_report_of_a_log_that_is_away_is_an_error(session, monkeypatch):
    """Without the log there is nothing to report on."""

    def away(*_):
        raise BackendFailed("away", code="state-unavailable")

    monkeypatch.setattr(type(session.world.audit), "entries", away)
    with pytest.raises(BackendFailed):
        make_report(session)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_a_browser_shows_and_prints_it(session, tmp_path):
    """Nothing overflows on a telephone or on A4, and paper is white in a dark room too."""
    from playwright.sync_api import sync_playwright

    file = Path(tmp_path) / "report.html"
    file.write_text(make_report(session).html)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        shown = browser.new_page(viewport={"width": 420, "height": 900}, color_scheme="dark")
        problems: list[str] = []
        shown.on("console", lambda message: problems.append(message.text))
        shown.goto(file.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") == 420
        assert paper(shown) != "rgb(255, 255, 255)"
        shown.set_viewport_size({"width": 688, "height": 980})
        shown.emulate_media(media="print")
        assert shown.evaluate("document.documentElement.scrollWidth") == 688
        assert paper(shown) == "rgb(255, 255, 255)"
        printed = shown.pdf(prefer_css_page_size=True)
        browser.close()
    assert problems == []
    assert b"/MediaBox [0 0 594.9" in printed or b"/MediaBox [0 0 595" in printed


def paper(shown):
    """The colour behind the text."""
    return shown.evaluate("getComputedStyle(document.body).backgroundColor")


def test_what_waits_for_a_vote_has_not_failed():
    """A held request is neither denied nor failed: nobody has decided yet."""
    reach = Reach(ended=Counter(ok=1, pending=2, denied=3, error=4))
    assert figures(reach)[:2] == ["3", "4"]
