"""The sections of the audit report: what each of its answers rests on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from nbgov.core.audit.overview import Listed, Person, Reach, Told
from nbgov.core.checks import counted_entries, listed
from nbgov.core.markup import Markup, element, joined, table
from nbgov.evidence.report_parts import (
    code,
    cut_table,
    head_of,
    list_table,
    moment,
    prose,
    ranked,
    rect,
    share,
    times_of,
    when,
    who,
)

if TYPE_CHECKING:
    from nbgov.core.audit.note import Note
    from nbgov.evidence.report import Account

DAYS_SHOWN_MAX = 92
DAYS_WIDE_MIN = 14
DAYS_BOTH_ENDS_MIN = 4
CHART_WIDTH, CHART_HEIGHT = 880, 90
FIGURES = ("#Requests", "Share", "#Denied", "#Failed", "#Rows", "#Changed", "Last")


# ---------------------------------------------------------------- who reached what


def of_days(account: Account) -> Iterator[Markup]:
    """How many requests there were, day by day."""
    days = sorted(
        ((day, counts) for day, counts in account.overview.days if day is not None),
        key=lambda item: item[0],
    )[-DAYS_SHOWN_MAX:]
    if not days:
        return
    most = max(counts["requests"] for _, counts in days)
    step = CHART_WIDTH / max(len(days), DAYS_WIDE_MIN)
    parts: list[Markup] = []
    for place, (day, counts) in enumerate(days):
        denied = CHART_HEIGHT * counts["denied"] / most
        other = CHART_HEIGHT * counts["requests"] / most - denied
        told = f"{day}: {counts['requests']:,} requests, {counts['denied']:,} denied"
        place_x = f"{place * step:.1f}"
        width = f"{max(step - 2, 0.5):.1f}"
        parts += [
            element(
                "g",
                element("title", told),
                rect("permitted", place_x, CHART_HEIGHT - denied - other, width, other),
                rect("denied", place_x, CHART_HEIGHT - denied, width, denied),
            )
        ]
    first, last = days[0][0], days[-1][0]
    right = min(len(days) * step, CHART_WIDTH)
    yield element("h2", "Requests by day")
    yield element(
        "p",
        f"At most {most:,} a day.",
        element("i", class_="permitted"),
        "not denied",
        element("i", class_="denied"),
        "denied",
        class_="soft legend",
    )
    ends = [element("text", str(first), class_="small", x=0, y=CHART_HEIGHT + 14)]
    if last != first and len(days) >= DAYS_BOTH_ENDS_MIN:
        ends.append(
            element(
                "text",
                str(last),
                class_="small",
                x=f"{right:.0f}",
                y=CHART_HEIGHT + 14,
                text_anchor="end",
            )
        )
    yield element(
        "svg",
        element("title", f"Requests by day, {first} to {last}, at most {most:,}"),
        *parts,
        element("line", x1=0, y1=CHART_HEIGHT, x2=CHART_WIDTH, y2=CHART_HEIGHT),
        *ends,
        class_="chart",
        viewBox=f"0 0 {CHART_WIDTH} {CHART_HEIGHT + 18}",
        role="img",
    )


def of_people(account: Account) -> Iterator[Markup]:
    """Who asked, and how it ended."""
    people = [(name, person) for name, person in account.overview.people if person.reach.requests]
    people.sort(key=lambda item: (item[0] is None, -item[1].reach.requests, item[0] or ""))
    yield element("h2", "Who reached what?")
    if not people:
        yield element("p", "Nobody asked for anything.", class_="soft")
        return
    most = max(person.reach.requests for _, person in people)
    head = [
        "Who",
        "Groups",
        "#Requests",
        "Share",
        "#Denied",
        "#Failed",
        "#Rows",
        "#Changed",
        "Last",
    ]
    rows = [person_row(name, person, most) for name, person in people]
    yield from cut_table(head, rows, label="People, and how their requests ended")


def person_row(name: str | None, person: Person, most: int) -> list[str]:
    """One person."""
    reach = person.reach
    groups = listed(sorted(person.groups)) or "—"
    return [who(name), groups, f"{reach.requests:,}", share(reach, most), *figures(reach)]


def of_tables(account: Account) -> Iterator[Markup]:
    """Which tables, by whom."""
    reaches = list(account.overview.tables)
    if not reaches:
        return
    reaches.sort(key=lambda item: (item[0] is None, -item[1].requests, item[0] or ("", "")))
    most = max(reach.requests for _, reach in reaches)
    head = ["Table", "Who", *FIGURES]
    rows = []
    for key, reach in reaches:
        name, reached = key or (None, "all others")
        first = [reached, who(name) if key else "—", f"{reach.requests:,}", share(reach, most)]
        rows.append([*first, *figures(reach)])
    yield element("h3", "Tables, by who named them")
    yield from cut_table(head, rows, label="Tables, by who named them")


def figures(reach: Reach) -> list[str]:
    """The figures that people and tables have in common."""
    denied = reach.ended["denied"]
    # What waits for a vote has not failed.
    failed = reach.requests - denied - reach.ended["ok"] - reach.ended["pending"]
    return [
        f"{denied:,}",
        f"{failed:,}",
        f"{reach.rows_read:,}",
        f"{reach.rows_affected:,}",
        when(reach.last_at),
    ]


def of_masks(account: Account) -> Iterator[Markup]:
    """Which columns were masked, and how."""
    overview = account.overview
    yield element("h2", "What was masked, and how?")
    if not overview.masks.named and not overview.entities.named:
        yield element("p", "Nothing was masked.", class_="soft")
        return
    rows = []
    for key, span in ranked(overview.masks):
        column, _, mask = (key or "all others").partition(": ")
        rows.append([column, mask or "—", f"{span.count:,}", *times_of(span)])
    head = ["Result column", "Mask and tags", "#Results", "First", "Last"]
    if rows:
        yield from cut_table(head, rows, label="Masked columns")
    found = [[kind or "all others", f"{n['found']:,}"] for kind, n in overview.entities]
    if found:
        yield element("h3", "Found and replaced within texts")
        yield from cut_table(["Kind", "#Times"], found, label="What was replaced within texts")


def of_denials(account: Account) -> Iterator[Markup]:
    """What was denied, by rule and by whom."""
    yield element("h2", "What was denied, and why?")
    rows = []
    for key, span in ranked(account.overview.denials):
        code, rules, name = key or ("all others", "", "")
        rows.append([code, rules or "—", who(name), f"{span.count:,}", *times_of(span)])
    head = ["Code", "Rules", "Who", "#Requests", "First", "Last"]
    yield from cut_table(head, rows, label="Denied requests, by rule", none="Nothing was denied.")


# ---------------------------------------------------------------- who decided, who changed


def of_votes(account: Account) -> Iterator[Markup]:
    """What was done with tickets, newest first."""
    yield element("h2", "Who approved what?")
    head = ["Entry", "When", "Who", "Step", "Ticket", "About"]

    def row(one: Told) -> list[str]:
        record = one.record
        about = f"{record.verb or ''} on {listed(record.tables or ()) or record.connection or '—'}"
        voice = f"{record.note or ''}" + (f" (refused: {record.code})" if record.code else "")
        return [*head_of(one), voice, record.ticket or "", prose(about)]

    yield from list_table(
        head, account.overview.steps, row, label="Steps of tickets", none="There were no tickets."
    )


def of_policies(account: Account) -> Iterator[Markup]:
    """Which policies were in force, and when they changed."""
    yield element("h2", "Under which policy?")
    rows = []
    for key, span in ranked(account.overview.policies):
        digest, revision = key or ("all others", "")
        rows.append([code(digest), revision or "—", f"{span.count:,}", *times_of(span)])
    head = ["Policy (SHA-256)", "Commit", "#Requests", "First", "Last"]
    yield from cut_table(head, rows, label="Policies in force", none="No request was decided.")
    yield element("h3", "Policy changes")
    yield from deeds(account.overview.policy_changes, "Policy changes", "No change was recorded.")


def of_schemas(account: Account) -> Iterator[Markup]:
    """How the databases changed."""
    yield element("h2", "How did schemas change?")
    head = ["Entry", "When", "Seen by", "Connection", "What changed"]

    def row(one: Told) -> list[str]:
        changes = "; ".join(one.record.changes or ()) or one.record.note or ""
        return [*head_of(one), one.record.connection or "", prose(changes)]

    changed = account.overview.catalog_changes
    yield from list_table(
        head, changed, row, label="Schema changes", none="No change of a schema was seen."
    )


def of_deeds(account: Account) -> Iterator[Markup]:
    """What administrators did."""
    yield element("h2", "What did administrators do?")
    yield from deeds(account.overview.deeds, "Deeds of administrators", "Nothing beside requests.")


def deeds(found: Listed[Told], label: str, none: str) -> Iterator[Markup]:
    """Admin entries, newest first."""
    head = ["Entry", "When", "Who", "What", "How it ended", "Told"]

    def row(one: Told) -> list[str]:
        record = one.record
        told = "; ".join([*(record.changes or ()), record.note or ""]).strip("; ")
        where = f" {record.connection}" if record.connection else ""
        ended = " ".join(part for part in (record.status, record.code) if part)
        return [*head_of(one), f"{record.verb}{where}", ended, prose(told)]

    yield from list_table(head, found, row, label=label, none=none)


def of_sessions(account: Account) -> Iterator[Markup]:
    """Sessions of each person."""
    yield element("h2", "Sessions")
    rows = [
        [
            who(name),
            listed(sorted(person.via)) or "—",
            f"{person.sessions:,}",
            f"{max(person.sessions - person.closed, 0):,}",
            f"{person.refused:,}",
        ]
        for name, person in account.overview.people
        if person.sessions or person.refused
    ]
    head = ["Who", "Known by", "#Opened", "#Not closed", "#Refused"]
    yield from cut_table(head, rows, label="Sessions", none="No session was recorded.")


# ---------------------------------------------------------------- what is known, what it rests on


def of_coverage(account: Account) -> Iterator[Markup]:
    """What was checked, and where the log has gaps."""
    overview, found = account.overview, account.found
    yield element("h2", "Coverage and gaps")
    words = {"holds": "holds", "fails": "FAILS", "unchecked": "not shown"}
    moods = {"holds": "good", "fails": "bad", "unchecked": "soft"}
    rows = [
        [one.name, element("strong", words[one.outcome], class_=moods[one.outcome]), one.told]
        for one in found.checks
    ]
    yield table(["Check", "Outcome", "Found"], rows, label="What was checked")
    modes = [
        [*(key or ("others", "")), f"{span.count:,}", *times_of(span)]
        for key, span in ranked(overview.modes)
    ]
    if modes:
        yield element("h3", "How requests were governed")
        yield element(
            "p",
            "Embedded is advisory: whoever runs the process could have gone around it, so what is "
            "here happened, and what is not here may have happened as well.",
            class_="soft",
        )
        head = ["Mode", "Assurance", "#Requests", "First", "Last"]
        yield table(head, modes, label="How requests were governed")
    if overview.repeats:
        told = "with the time of the one before, as a clock that stands or went back leaves them."
        yield element("p", f"{counted_entries(overview.repeats)} {told}", class_="soft")
    lists = {
        "Interrupted": overview.interrupted,
        "Repairs": overview.repairs,
        "Clocks that went back": overview.clocks,
    }
    for title, gaps in lists.items():
        if gaps.count:
            yield element("h3", title)
            yield from deeds(gaps, title, "")


def of_checkpoint(account: Account) -> Iterator[Markup]:
    """The checkpoint, and how to check all of it oneself."""
    yield element("h2", "What does it rest on?")
    note = account.note
    if note is None:
        yield element("p", "No checkpoint could be made.", class_="bad")
    else:
        yield checkpoint_table(account, note)
        yield element("h3", "The signed checkpoint, as it is")
        yield element("pre", str(note))
    yield element("h3", "How to check it oneself")
    yield element(
        "ol",
        element(
            "li",
            "Ask for a bundle, made with ",
            element("code", "nbgov audit export --bundle log.zip"),
            ", and on another way for the key that ",
            element("code", "nbgov audit key"),
            " prints; from each witness, its own key.",
        ),
        element(
            "li",
            "On a machine of your own: ",
            element("code", "nbgov audit verify --from log.zip --key KEY --witness WITNESS_KEY"),
            ".",
        ),
        element(
            "li",
            "Compare size and root with those above, and entries with the receipts that notebooks "
            "and training runs keep.",
        ),
        class_="checking",
    )
    yield element(
        "p",
        "This page is a reading of the log, made where the log is. The log is the evidence, and "
        "only what a witness or a receipt vouches for holds against the owner of that machine.",
        class_="soft",
    )


def checkpoint_table(account: Account, note: Note) -> Markup:
    """What the checkpoint says, and who signed."""
    point, found = note.checkpoint, account.found
    rows: list[list[str]] = [
        ["Log", code(point.origin)],
        ["Entries", f"{point.size:,}"],
        ["Root", code(base64.b64encode(point.root).decode())],
    ]
    rows += [["Signed by", code(f"{one.name}+{one.key_id.hex()}")] for one in note.signatures]
    for name, at in found.cosigned_at.items():
        assert found.witnessed is not None
        told = joined(code(name), f" at {moment(at)}, {found.witnessed.size:,} entries")
        rows.append(["Cosigned by", told])
    if not found.cosigned_at:
        rows.append(["Cosigned by", "nobody"])
    return table(["What", "Value"], rows, label="The checkpoint")


SECTIONS: tuple[Callable[[Account], Iterator[Markup]], ...] = (
    of_days,
    of_people,
    of_tables,
    of_masks,
    of_denials,
    of_votes,
    of_policies,
    of_schemas,
    of_deeds,
    of_sessions,
    of_coverage,
    of_checkpoint,
)
