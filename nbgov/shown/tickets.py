"""A ticket as a reviewer sees it: what would run, what it would do, who asks, and what is missing.

The HTML and the text say the same in the same order, the one that a reviewer needs: what looks
wrong, the statement, its values, what it does to how many rows, whether that can be undone, who
asks, and who has to say yes. Both are functions of the ticket: no name and no time of this process
is in them. Everything may come from an attacker; see :mod:`nbgov.shown.render`. Cases are in
``tests/surfaces/test_tickets.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from nbgov.core.approval import LIVE, deadline, describe_binds, folded, read_binds
from nbgov.core.checks import counted, listed
from nbgov.core.suspicious import Suspicion, place_of, suspicions
from nbgov.core.visible import cells_wide, safe, visible
from nbgov.model import Approval, ApprovalMode, ApprovalQuorum, ApprovalState, Vote
from nbgov.shown.comparison import sample_html, sample_lines
from nbgov.shown.passages import statement_html, statement_lines
from nbgov.shown.render import STYLE, rows_html

if TYPE_CHECKING:
    from datetime import datetime

    from nbgov.session.samples import Sample

ADVISORY = (
    "The store judges votes, but whoever owns this computer can go round it: embedded mode advises."
)
GOOD = frozenset({ApprovalState.APPROVED, ApprovalState.CONSUMED})
SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Section:
    """A title and labelled facts; empty facts are left out."""

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)


# ---------------------------------------------------------------- both forms


def ticket_html(
    approval: Approval,
    *,
    sample: Sample | None = None,
    viewer: str = "",
    is_folded: bool = False,
    is_kept: bool = False,
) -> str:
    """A ticket as HTML.

    Args:
        approval: The ticket.
        sample: Rows that it is about, as the viewer may see them; made live, and never kept.
        viewer: Name of the principal who looks, who is told what the ticket is to them.
        is_folded: Whether the evidence is folded away, for whoever asked and knows it.
        is_kept: Whether votes are judged at a gateway, where nobody can go round it.
    """
    advisory = f' <mark class="nbgov-quiet" title="{ADVISORY}">advisory</mark>'
    mood = "good" if approval.state in GOOD else "open" if is_open(approval) else "bad"
    badges = (
        f' <mark class="nbgov-{mood}">{safe(approval.state)}</mark>'
        f' <mark class="nbgov-quiet">{safe(approval.mode)}</mark>'
    )
    badges += "" if is_kept else advisory
    back = undo_sql(approval)
    shown = sample_html(sample, approval.verb) if sample is not None else ""
    asked, decided = consent_sections(approval, viewer)
    evidence = (
        *map(section_html, effect_sections(approval)),
        statement_html(back, (), label="What would undo it") if back else "",
        shown,
        section_html(asked),
    )
    parts = (
        heading_html(f"Approval {approval.ticket}", 3, badges),
        f"<p>{safe(summary(approval))}</p>\n",
        warnings_html(approval),
        statement_html(approval.sql, approval.evidence.highlights),
        folded_html("".join(evidence)) if is_folded else "".join(evidence),
        section_html(decided),
    )
    return f'<div class="nbgov nbgov-ticket">{STYLE}\n{"".join(parts)}</div>'


def ticket_text(approval: Approval, *, sample: Sample | None = None, viewer: str = "") -> str:
    """A ticket as text, for terminals and notebooks read without a browser; see `ticket_html`."""
    back = undo_sql(approval)
    lines = [
        f"Approval {visible(approval.ticket)}: {approval.state} ({approval.mode}, advisory)",
        visible(summary(approval)),
        *(f"  Warning: {visible(warning)}" for warning in warnings(approval)),
        *statement_lines(approval.sql, approval.evidence.highlights),
        *chain.from_iterable(map(section_lines, effect_sections(approval))),
        *(statement_lines(back, ()) if back else ()),
        *(sample_lines(sample, approval.verb) if sample is not None else ()),
        *chain.from_iterable(map(section_lines, consent_sections(approval, viewer))),
    ]
    return "\n".join(lines)


def heading_html(title: str, level: int, badges: str = "") -> str:
    """A heading for screen readers that stays out of the notebook's table of contents."""
    kind = "nbgov-title" if badges else "nbgov-part"
    head = f'role="heading" aria-level="{level}"'
    return f'<div class="{kind}" {head}><strong>{safe(title)}</strong>{badges}</div>\n'


def folded_html(evidence: str) -> str:
    """The evidence behind a line that opens it, by mouse or keyboard."""
    return f"<details><summary>What the reviewer sees</summary>\n{evidence}</details>\n"


def section_html(section: Section) -> str:
    """Labelled facts below a heading; nothing where there is no fact."""
    facts = [(label, fact) for label, fact in section.facts if fact]
    return heading_html(section.title, 4) + rows_html(facts) if facts else ""


def section_lines(section: Section) -> Iterator[str]:
    """Labelled facts below a heading, aligned; nothing where there is no fact."""
    facts = [(visible(label), visible(fact)) for label, fact in section.facts if fact]
    width = max((cells_wide(label) for label, _ in facts), default=0)
    if facts:
        yield section.title
    for label, fact in facts:
        yield f"  {label}{' ' * (width - cells_wide(label))}  {fact}"


def is_open(approval: Approval) -> bool:
    """Whether the ticket waits for votes."""
    return approval.state is ApprovalState.REQUESTED


# ---------------------------------------------------------------- what would run, and what it does


def summary(approval: Approval) -> str:
    """The ticket in a sentence."""
    tables = ", ".join(approval.tables) or "no table"
    what = f"{approval.verb} on {approval.connection}: {tables}"
    if approval.undoes:
        what += f"; it undoes what request {approval.undoes} did"
    return f"{approval.requester} asks for: {what}."


def warnings(approval: Approval) -> list[str]:
    """What a reviewer should know before they read on."""
    found = [f"The statement: {one}." for one in told(approval.sql, suspicions(approval.sql))]
    for name, value in bound_texts(approval):
        odd = suspicions(value, is_value=True)
        found += [f"The value of :{name}: {one}." for one in told(value, odd)]
    emergency = approval.emergency
    if emergency is not None and not emergency.is_reviewed:
        found.append("It was cleared without votes, and nobody has looked at that yet.")
    return found


def warnings_html(approval: Approval) -> str:
    """The warnings in a box, if there are any."""
    items = "".join(f"<li>{safe(warning)}</li>\n" for warning in warnings(approval))
    if not items:
        return ""
    box = '<div class="nbgov-warning" role="note"><strong>Warning</strong>'
    return f"{box}<ul>\n{items}</ul></div>\n"


def told(text: str, odd: tuple[Suspicion, ...]) -> list[str]:
    """Suspicions of a text with their places, the same ones together."""
    places: dict[str, list[str]] = {}
    for one in odd:
        line, character = place_of(text, one.start)
        where = places.setdefault(one.told, [])
        where.append(f"line {line}, character {character}")
    return [f"{what} ({listed(where)})" for what, where in places.items()]


def bound_texts(approval: Approval) -> Iterator[tuple[str, str]]:
    """The texts among the bound values, with their names; none where values are veiled."""
    try:
        values: dict[str, Any] = read_binds(approval.binds)
    except ValueError:
        return
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield name, one


def effect_sections(approval: Approval) -> Iterator[Section]:
    """The values, and what the statement does."""
    values = (line.partition(": ") for line in describe_binds(approval.binds).split("\n"))
    yield Section("Values", [(f":{name}", value) for name, _, value in values])
    known = approval.evidence
    yield Section(
        "What it does",
        [
            ("dry run", rehearsal(approval)),
            ("estimate", estimate(approval)),
            ("effects", ", ".join(known.effects)),
            ("changes", ", ".join(known.written)),
            ("reads", ", ".join(known.read)),
            ("calls", ", ".join(known.functions)),
            *(("limits", line) for line in known.obligations),
            ("undo", undo(approval)),
        ],
    )


def rehearsal(approval: Approval) -> str:
    """What the dry run found, or why there was none."""
    known = approval.evidence
    if known.rows_changed is None:
        return f"none: {known.dry_run}" if known.dry_run else ""
    # Whole seconds: the same notebook, run again, says the same.
    seconds = int(known.measured_s or 0)
    took = f"took {counted(seconds, 'second')}" if seconds else "took less than a second"
    return f"{counted(known.rows_changed, 'row')} changed, rolled back, {took}"


def estimate(approval: Approval) -> str:
    """How many rows the database expects."""
    rows = approval.evidence.rows_estimated
    return "" if rows is None else f"the database expects about {counted(rows, 'row')}"


def undo(approval: Approval) -> str:
    """Whether what it does can be undone."""
    known = approval.evidence
    if known.undo:
        return f"not possible: {known.undo}"
    kept = "the rows that it changes are kept sealed before it runs"
    return f"{kept}; this would bring them back, once it is approved:" if known.undo_sql else ""


def undo_sql(approval: Approval) -> str:
    """The shape of the statement that would undo it, or nothing."""
    return "" if approval.evidence.undo else approval.evidence.undo_sql


# ---------------------------------------------------------------- who asks, and who has to say yes


def consent_sections(approval: Approval, viewer: str) -> Iterator[Section]:
    """Who asks and where from; who has to vote, who did, and until when."""
    known = approval.evidence
    origin = ", ".join(f"{name} {value}" for name, value in known.origin.items())
    yield Section(
        "Who asks",
        [
            ("asked by", approval.requester),
            ("groups", ", ".join(known.groups)),
            ("roles", ", ".join(known.roles)),
            ("account", known.account),
            ("from, it says", origin),
            ("asked at", moment(approval.requested_at)),
            ("policy", known.policy[:12]),
        ],
    )
    ending, emergency = approval.ending, approval.emergency
    facts = [
        ("you", to_viewer(approval, viewer)),
        *(("rule", quorum_text(quorum, approval)) for quorum in approval.quorums),
        *(("vote", vote_text(vote)) for vote in approval.votes),
        ("good for", good_for(approval)),
        ("votes until" if is_open(approval) else "runs until", until(approval)),
    ]
    if emergency is not None:
        facts.append(("emergency", f"{moment(emergency.at)}: {emergency.reason}"))
    if emergency is not None and emergency.reviewed_at is not None:
        seen = f"{emergency.reviewed_by} at {moment(emergency.reviewed_at)}: {emergency.finding}"
        facts.append(("review", seen))
    if ending is not None:
        reason = f": {ending.reason}" if ending.reason else ""
        facts.append((approval.state, f"by {ending.by} at {moment(ending.at)}{reason}"))
    yield Section("Who decides", facts)


def to_viewer(approval: Approval, viewer: str) -> str:
    """What the ticket is to the one who looks."""
    if not viewer:
        return ""
    if folded(viewer) == folded(approval.requester):
        return (
            "asked for this; somebody else has to vote" if is_open(approval) else "asked for this"
        )
    if folded(viewer) in {folded(vote.voter) for vote in approval.votes}:
        return "voted on it"
    return ""


def quorum_text(quorum: ApprovalQuorum, approval: Approval) -> str:
    """What a rule asks for and what is missing, such as ``ops: 2 votes of role dba, 1 missing``."""
    kinds = (("", quorum.names), ("group ", quorum.groups), ("role ", quorum.roles))
    voters = [f"{kind}{name}" for kind, names in kinds for name in sorted(names)]
    asked = f"{quorum.rule}: {counted(quorum.votes_min, 'vote')} of {' or '.join(voters)}"
    missing = quorum.votes_min - votes_given(quorum, approval)
    if not is_open(approval):
        return asked
    return f"{asked}, {missing} missing" if missing > 0 else f"{asked}, none missing"


def votes_given(quorum: ApprovalQuorum, approval: Approval) -> int:
    """How many different principals have approved for a quorum."""
    given = {folded(v.voter) for v in approval.votes if v.is_approval and quorum.rule in v.rules}
    return len(given - {folded(approval.requester)})


def vote_text(vote: Vote) -> str:
    """One voice, such as ``grace@acme.test approved at 2026-11-05 10:00 UTC: as agreed``."""
    verb = "approved" if vote.is_approval else "denied"
    reason = f": {vote.reason}" if vote.reason else ""
    return f"{vote.voter} {verb} at {moment(vote.at)}{reason}"


def good_for(approval: Approval) -> str:
    """What a consent to the ticket clears."""
    if approval.state not in LIVE and not approval.uses:
        return ""
    uses = f"; used {counted(approval.uses, 'time')}" if approval.uses else ""
    if approval.emergency is not None:
        return f"one run without votes{uses}"
    often = "one run" if approval.mode is ApprovalMode.ONCE else "any number of runs"
    return f"{often}, for {span(approval.valid_s)} after the last vote{uses}"


def until(approval: Approval) -> str:
    """Until when a live ticket can be voted on, or run."""
    return moment(deadline(approval)) if approval.state in LIVE else ""


def moment(at: datetime) -> str:
    """A moment for people."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def span(seconds: int) -> str:
    """A stretch of time for people, exactly.

    >>> span(28_800), span(90)
    ('8 hours', '90 seconds')
    """
    size, unit = next((size, unit) for size, unit in SPANS if seconds % size == 0)
    return counted(seconds // size, unit)
