"""What a reviewer is shown of a ticket: all of it, in both forms, and nothing of it alive."""

from __future__ import annotations

import itertools
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.approval import write_binds
from nbgov.core.visible import cells_wide, visible
from nbgov.model import (
    Approval,
    ApprovalMode,
    ApprovalQuorum,
    ApprovalState,
    Emergency,
    Ending,
    Evidence,
    Highlight,
    Vote,
)
from nbgov.session.samples import Sample
from nbgov.shown.tickets import span, ticket_html, ticket_text
from tests.surfaces.page import HOSTILE, Page

SQL = "UPDATE bookings\nSET seat = :seat\nWHERE id = 7"
NINE, TEN = (datetime(2026, 11, 5, hour, tzinfo=UTC) for hour in (9, 10))
UNDO_SQL = 'UPDATE "main"."bookings" SET "seat" = ? WHERE "id" = ?'
BEFORE = pa.table({"id": [7, 8], "seat": ["1A", None], "email": ["[EMAIL]", "[EMAIL]"]})
AFTER = pa.table({"id": [7, 8], "seat": ["12A", "12A"], "email": ["[EMAIL]", "[EMAIL]"]})
SAMPLE = Sample(BEFORE, AFTER, ("seat",), {"email": "redact pii.email"}, is_truncated=True)
ADA, GRACE = "ada@acme.test", "grace@acme.test"


def of(word, kind):
    start = SQL.index(word)
    return Highlight(start, start + len(word), kind)


KNOWN = Evidence(
    dialect="duckdb",
    effects=("write",),
    highlights=(of("bookings", "changed"), of("seat", "changed"), of("id", "read")),
    written=("main.bookings.seat",),
    read=("main.bookings.id",),
    functions=("coalesce",),
    obligations=("at most 50 rows are changed",),
    groups=("analysts",),
    roles=("planner",),
    account="ada",
    origin={"notebook": "trips.ipynb", "cell": "3"},
    rows_estimated=10,
    rows_changed=1_200,
    measured_s=0.03,
    undo_sql=UNDO_SQL,
    policy="3f9c1e" * 10,
)
CHANGE = ApprovalQuorum(
    "change", frozenset(), frozenset({"stewards"}), frozenset({"approver"}), votes_min=2
)
APPROVED = Vote(GRACE, is_approval=True, reason="as agreed", at=TEN, rules=("change",))


def approval(**more):
    fields = {
        "ticket": "ab12cd34",
        "binding_digest": b"\0" * 32,
        "connection": "warehouse",
        "sql": SQL,
        "binds": write_binds({"seat": "12A"}),
        "requester": ADA,
        "quorums": (CHANGE,),
        "verb": "UPDATE",
        "tables": ("main.bookings",),
        "requested_at": NINE,
        "decide_by": datetime(2026, 11, 6, 9, tzinfo=UTC),
        "evidence": KNOWN,
        "votes": (APPROVED,),
    }
    return Approval(**(fields | more))


def forms(shown, **more):
    """What a browser shows of a ticket, and its text."""
    page = Page(ticket_html(shown, **more))
    assert page.open == []
    return page, ticket_text(shown, **more)


# ---------------------------------------------------------------- safety


@given(sql=HOSTILE, who=HOSTILE, reason=HOSTILE)
def test_a_ticket_is_inert_whatever_it_shows(sql, who, reason):
    """No statement, name, reason or fact can add a tag, an attribute or a line to a ticket."""
    shown = approval(
        ticket=who,
        sql=sql,
        requester=who,
        connection=who,
        tables=(who,),
        undoes=who,
        binds=write_binds({"x": reason}),
        quorums=(replace(CHANGE, rule=who, names=frozenset({who})),),
        votes=(Vote(who, is_approval=False, reason=reason, at=TEN),),
        ending=Ending(who, TEN, reason),
        emergency=Emergency(reason, TEN, who, TEN, reason),
        evidence=replace(KNOWN, written=(who,), account=who, origin={who: reason}, undo=reason),
    )
    page, text = forms(shown, viewer=who)
    assert visible(sql, keep="\n\t") == page.statements[0]
    assert all(line.isprintable() for line in text.replace("\t", " ").split("\n"))


@given(name=HOSTILE, old=HOSTILE, new=HOSTILE)
def test_a_sample_is_inert_whatever_it_holds(name, old, new):
    """No value or column name can add a tag or a line to a ticket."""
    before, after = pa.table({name: [old]}), pa.table({name: [new]})
    sample = Sample(before, after, (name,), {name: old}, is_truncated=False, why=new)
    _, text = forms(approval(), sample=sample)
    assert all(line.isprintable() for line in text.split("\n"))


TEXT = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("a b\n\t\u202e\u043e'")))


@given(TEXT, st.lists(st.tuples(st.integers(-3, 60), st.integers(-3, 60))))
def test_nothing_of_the_statement_is_lost(sql, spans):
    """Every character of the text is shown once, in order, whatever is marked in it."""
    marks = tuple(Highlight(start, end, "changed") for start, end in spans)
    page, text = forms(approval(sql=sql, evidence=Evidence(highlights=marks)))
    assert page.statements == [visible(sql, keep="\n\t")]
    lines = [line[4:] for line in text.split("\n") if line.startswith("  | ")]
    assert "\n".join(lines) == visible(sql, keep="\n\t")


@given(TEXT)
def test_every_line_of_the_statement_is_marked_as_such(sql):
    """In text, a line that the requester wrote cannot pass for a fact or a mark."""
    plain, bar = Evidence(), ("  | ", "  : ", "  Warning: ", "  ! ")
    facts = ticket_text(approval(sql="", evidence=plain)).split("\n")
    lines = ticket_text(approval(sql=sql, evidence=plain)).split("\n")
    assert [one for one in lines if not one.startswith(bar)] == [
        one for one in facts if not one.startswith(bar)
    ]


def test_a_statement_is_never_cut():
    """However long the statement, the voter is shown all of it."""
    sql = "SELECT 1 -- " + "x" * 50_000 + " end"
    page, text = forms(approval(sql=sql))
    assert page.statements[0] == sql
    assert sql in text


# ---------------------------------------------------------------- what it tells


def test_a_ticket_tells_what_a_voter_needs():
    """Statement, values, effect, rows, undo, requester, rules and votes are in both forms."""
    page, text = forms(approval(), sample=SAMPLE, viewer=GRACE)
    for form in (page.text, text):
        for part in (
            "Approval ab12cd34", "requested", "once", "advisory",
            "ada@acme.test asks for: UPDATE on warehouse: main.bookings.",
            "SET seat = :seat", ":seat", "str = '12A'",
            "1,200 rows changed, rolled back, took less than a second",
            "the database expects about 10 rows", "write", "main.bookings.seat",
            "main.bookings.id", "coalesce", "at most 50 rows are changed",
            "kept sealed before it runs", UNDO_SQL,
            "Rows before and after", "1A → 12A", "NULL → 12A", "[EMAIL]",
            "The first 2 rows; there are more.", "email: redact (pii.email)",
            "analysts", "planner", "notebook trips.ipynb, cell 3", "2026-11-05 09:00 UTC",
            "3f9c1e3f9c1e", "voted on it",
            "change: 2 votes of group stewards or role approver, 1 missing",
            "grace@acme.test approved at 2026-11-05 10:00 UTC: as agreed",
            "one run, for 8 hours after the last vote", "2026-11-06 09:00 UTC",
        ):  # fmt: skip
            assert part in form


def test_both_forms_are_in_the_order_that_a_reviewer_needs():
    """What looks wrong comes first, then the statement, its effect, its rows, and who is asked."""
    shown = approval(sql=SQL + "\u202e")
    page, text = forms(shown, sample=SAMPLE)
    order = ["Warning", "UPDATE bookings", "Values", "What it does", "Rows before", "Who asks",
             "Who decides"]  # fmt: skip
    for form in (page.text, text):
        places = [form.index(part) for part in order]
        assert places == sorted(places)


def test_marks_do_not_speak_through_colour_alone():
    """Names that are changed or read have an element, a sign below them, and a legend in words."""
    page, text = forms(approval())
    changed, read = "nbgov-changed", "nbgov-read"
    assert page.marked == [("bookings", changed), ("seat", changed), ("id", read)]
    assert "changed (bold and underlined), read (dotted underline)" in page.text
    lines = text.split("\n")
    assert lines[2:9] == [
        "  | UPDATE bookings",
        "  :        ^^^^^^^^",
        "  | SET seat = :seat",
        "  :     ^^^^",
        "  | WHERE id = 7",
        "  :       --",
        "  ^ changed, - read",
    ]


@given(TEXT)
def test_signs_stand_below_what_they_mark(sql):
    """A sign is as wide as its character, tabs and wide characters included."""
    marks = (Highlight(0, len(sql), "changed"),)
    lines = ticket_text(approval(sql=sql, evidence=Evidence(highlights=marks))).split("\n")
    for line, below in itertools.pairwise(lines):
        if line.startswith("  | ") and below.startswith("  : "):
            assert cells_wide(below.replace("\t", "")) == cells_wide(line.replace("\t", ""))


def test_what_hides_is_warned_of_and_shown():
    """Characters that hide have a sign in the text, a mark, and a warning with name and place."""
    shown = approval(
        sql="DELETE FROM b\u043eok\nWHERE a = '\u202e'",
        binds=write_binds({"who": "a\u200bb", "many": ["\u0430bc"], "n": 1}),
    )
    page, text = forms(shown)
    for form in (page.text, text):
        for part in (
            (
                "The statement: “b\u043eok” mixes Latin and Cyrillic: \u043e is U+043E CYRILLIC SMALL"
                " LETTER O (line 1, character 13)."
            ),
            (
                "U+202E RIGHT-TO-LEFT OVERRIDE changes the order in which the text reads"
                " (line 2, character 12)."
            ),
            "The value of :who: U+200B ZERO WIDTH SPACE cannot be seen (line 1, character 2).",
            "The value of :many: “\u0430bc” mixes Latin and Cyrillic",
            "⟨U+202E⟩",
        ):
            assert part in form
    assert ("⟨U+202E⟩", "nbgov-odd") in page.marked


def test_repeated_warnings_are_one():
    """The same character in many places is one warning with the first places."""
    page, _ = forms(approval(sql="SELECT " + "\u00a0" * 40))
    assert page.text.count("NO-BREAK SPACE") == 1
    assert "and 35 more" in page.text


def test_veiled_values_are_neither_shown_nor_read():
    """What is kept from voters is told as kept, and looked for nothing."""
    shown = approval(binds=write_binds({"x": "a\u200bb"}, veil=lambda data: bytes(len(data))))
    page, _ = forms(shown)
    assert "kept sealed, keyed digest" in page.text
    assert "Warning" not in page.text


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"rows_changed": 1, "measured_s": 3.4}, "1 row changed, rolled back, took 3 seconds"),
        ({"rows_changed": None, "dry_run": "it is a read"}, "none: it is a read"),
        ({"undo": "the table has no key"}, "not possible: the table has no key"),
    ],
)
def test_evidence_that_is_missing_says_why(known, told):
    """A dry run or an undo that is not to be had is a fact of its own."""
    page, text = forms(approval(evidence=replace(KNOWN, **known)))
    assert told in page.text
    assert told in text
    assert ("Undo" in text or UNDO_SQL in text) == ("undo" not in known)


def test_evidence_that_nobody_has_takes_no_room():
    """A ticket with a statement and a rule alone has no empty facts."""
    page, text = forms(approval(evidence=Evidence(), binds="{}", votes=()))
    assert "What it does" not in page.text
    assert "Values" not in text
    assert "\n\n" not in text


STATES = {
    ApprovalState.REQUESTED: {},
    ApprovalState.APPROVED: {"valid_until": TEN, "mode": ApprovalMode.WINDOW, "uses": 2},
    ApprovalState.DENIED: {"votes": (Vote(GRACE, is_approval=False, reason="no", at=TEN),)},
    ApprovalState.CONSUMED: {"uses": 1},
    ApprovalState.CANCELLED: {"ending": Ending(ADA, TEN, "not needed")},
    ApprovalState.REVOKED: {"ending": Ending(GRACE, TEN, "wrong table")},
    ApprovalState.EXPIRED: {"emergency": Emergency("fire", TEN)},
}


@pytest.mark.parametrize("state", ApprovalState)
def test_every_state_has_its_words(state):
    """The state is a word in both forms; how it ended, by whom and why, is told."""
    shown = approval(state=state, **STATES[state])
    page, text = forms(shown)
    told = {
        ApprovalState.REQUESTED: "votes until",
        ApprovalState.APPROVED: "any number of runs, for 8 hours after the last vote; used 2 times",
        ApprovalState.DENIED: "grace@acme.test denied at 2026-11-05 10:00 UTC: no",
        ApprovalState.CONSUMED: "used 1 time",
        ApprovalState.CANCELLED: "by ada@acme.test at 2026-11-05 10:00 UTC: not needed",
        ApprovalState.REVOKED: "by grace@acme.test at 2026-11-05 10:00 UTC: wrong table",
        ApprovalState.EXPIRED: "It was cleared without votes, and nobody has looked at that yet.",
    }[state]
    for form in (page.text, text):
        assert state.value in form
        assert told in form
    assert ("missing" in text) == (state is ApprovalState.REQUESTED)


def test_an_emergency_and_its_review_are_told():
    """Who broke the glass and why, and what a reviewer found, stays with the ticket."""
    emergency = Emergency("fire", TEN, GRACE, TEN, "all well")
    page, text = forms(approval(state=ApprovalState.CONSUMED, emergency=emergency, undoes="r1"))
    for form in (page.text, text):
        assert "2026-11-05 10:00 UTC: fire" in form
        assert "grace@acme.test at 2026-11-05 10:00 UTC: all well" in form
        assert "it undoes what request r1 did" in form
        assert "Warning" not in form


@pytest.mark.parametrize(
    ("viewer", "told"),
    [
        ("ADA@acme.test", "asked for this; somebody else has to vote"),
        (GRACE, "voted on it"),
        ("eve@acme.test", ""),
    ],
)
def test_a_viewer_is_told_what_the_ticket_is_to_them(viewer, told):
    """A requester reads that somebody else has to vote, a voter that they have."""
    lines = ticket_text(approval(), viewer=viewer).split("\n")
    found = [line.split("  ")[-1] for line in lines if line.startswith("  you")]
    assert found == ([told] if told else [])


def test_votes_of_the_requester_and_of_other_rules_count_for_nothing():
    """What is missing is counted as the store counts it."""
    votes = (replace(APPROVED, voter="ADA@acme.test"), replace(APPROVED, rules=("other",)))
    assert "2 missing" in ticket_text(approval(votes=votes))
    both = (APPROVED, replace(APPROVED, voter="eve@acme.test"))
    assert "none missing" in ticket_text(approval(votes=both))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(1, "1 second"), (60, "1 minute"), (86_400, "1 day"), (5_400, "90 minutes")],
)
def test_spans_are_exact(seconds, told):
    """A span of time is told in the largest unit that is exact."""
    assert span(seconds) == told


# ---------------------------------------------------------------- the sample


@pytest.mark.parametrize(
    ("sample", "verb", "told"),
    [
        (Sample(BEFORE, None), "DELETE", "Rows that it would delete"),
        (Sample(BEFORE, None), "SELECT", "Rows that it would read"),
        (Sample(None, AFTER), "INSERT", "Rows that it would add"),
        (Sample(BEFORE.slice(0, 0), None), "DELETE", "There are no such rows now."),
        (Sample(None, None, why="it is a promotion"), "PROMOTE", "No sample: it is a promotion."),
        (Sample(BEFORE, AFTER.slice(1), ("seat",)), "UPDATE", "Rows before and after"),
        (Sample(BEFORE, AFTER, why="one part is hidden"), "UPDATE", "Not everything is shown: one"),
    ],
)
def test_a_sample_says_what_its_rows_are(sample, verb, told):
    """Rows that would go, come or be read are named so; that there are none is told."""
    page, text = forms(approval(verb=verb), sample=sample)
    assert told in page.text
    assert told in text


def test_only_cells_that_change_are_marked():
    """A cell that changes shows both values; others show one, and masked columns their mask."""
    html = ticket_html(approval(), sample=SAMPLE)
    assert html.count("<del>") == html.count("<ins>") == 2
    assert '<th scope="col">seat <mark>changed</mark></th>' in html
    assert '<th scope="col">email <mark>redact</mark></th>' in html
    assert '<em class="nbgov-null">NULL</em></del> → <ins>12A</ins>' in html


def test_long_values_that_differ_behind_what_is_shown_differ():
    """A change that a cell is too short for is still marked as one."""
    texts = ["x" * 300, "x" * 300]
    sample = Sample(
        pa.table({"a": texts, "b": texts}),
        pa.table({"a": ["x" * 299 + "y", texts[0]], "b": texts}),
        ("a",),
    )
    html = ticket_html(approval(), sample=sample)
    assert html.count("<del>") == 1


def test_wide_samples_say_how_much_is_left_out():
    """Columns beyond the limit are counted."""
    wide = pa.table({f"c{n}": [n] for n in range(30)})
    _, text = forms(approval(verb="DELETE"), sample=Sample(wide, None))
    assert "6 more columns" in text


# ---------------------------------------------------------------- in a browser


def test_a_ticket_reads_well_in_both_themes(tmp_path):
    """In JupyterLab's colours, light and dark, all text has contrast and nothing is too wide."""
    from tests.mlflow.browser import CONTRAST, OVERFLOW, chromium

    shown = [approval(state=state, **more) for state, more in STATES.items()]
    odd = approval(sql="DELETE FROM b\u043eok\u202e" + "x" * 900, emergency=Emergency("fire", TEN))
    body = "<hr>".join(ticket_html(one, sample=SAMPLE, viewer=ADA) for one in [*shown, odd])
    with chromium(tmp_path) as browser:
        for scheme in ("light", "dark"):
            with browser.window(scheme, width=900) as window:
                head = f"<!doctype html><html lang=en><style>{theme(scheme)}</style>"
                window.page.set_content(f"{head}<body class=jp-RenderedHTMLCommon>{body}")
                window.shot(f"ticket-{scheme}", is_whole=True)
                assert window.page.evaluate(CONTRAST) == []
                assert window.page.evaluate(OVERFLOW) == []
                assert window.left == []


def theme(scheme):
    """JupyterLab's own colours, where it is installed."""
    folder = Path(sys.prefix, "share/jupyter/lab/themes/@jupyterlab", f"theme-{scheme}-extension")
    if not shutil.which("chromium") or not folder.is_dir():
        pytest.skip("JupyterLab or Chromium is not installed")
    ground = "body { background: var(--jp-layout-color0); }"
    return (folder / "index.css").read_text(encoding="utf-8") + ground
