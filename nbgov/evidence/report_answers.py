"""The head of the audit report: what an auditor asks first, each with its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nbgov.core.checks import counted, counted_entries, listed
from nbgov.core.markup import Markup, element
from nbgov.evidence.report_parts import moment, persons, times
from nbgov.evidence.report_sections import SECTIONS

if TYPE_CHECKING:
    from nbgov.evidence.report import Account


def report_main(account: Account) -> Markup:
    """Everything that the page shows."""
    found = account.found
    mood, word = ("good", "VERIFIES") if found.is_sound else ("bad", "DOES NOT VERIFY")
    return element(
        "main",
        element("p", "nbgov · audit report", class_="soft"),
        element(
            "h1",
            found.report.origin or "an empty audit log",
            element("span", word, class_=f"badge {mood}"),
        ),
        element("p", made(account), class_="soft"),
        element("dl", *(part for row in answers(account) for part in row), class_="answers"),
        *(part for section in SECTIONS for part in section(account)),
    )


def made(account: Account) -> str:
    """When, by whom, and about what."""
    overview = account.overview
    when = f"Made {moment(account.made_at)} by {account.made_by}, about "
    if overview.first_at is None or overview.last_at is None:
        return f"{when}no entry: {account.scope}."
    meant = counted_entries(overview.entries.total())
    span = f"{moment(overview.first_at)} to {moment(overview.last_at)}"
    return f"{when}{meant} ({account.scope}), {span}. Times in tables are UTC."


def answers(account: Account) -> Iterator[tuple[Markup, Markup]]:
    """What an auditor asks first."""
    overview, found = account.overview, account.found
    whole = overview.whole
    people = sum(1 for _, person in overview.people if person.reach.requests)
    tables = len({name for (key, _) in overview.tables if key for name in key[1:]})
    yield row_of(
        "Does the log hold?",
        "yes" if found.is_sound else "no",
        "good" if found.is_sound else "bad",
        f"{counted_entries(found.report.entries)} were read and held against the chain, the "
        "checkpoint and what witnesses signed."
        if found.is_sound
        else f"{listed(found.problems)}.",
    )
    yield row_of(
        "Who reached what?",
        "",
        "",
        f"{persons(people)}, {counted(tables, 'table')}, {counted(whole.requests, 'request')}, "
        f"{whole.rows_read:,} rows delivered, {whole.rows_affected:,} changed.",
    )
    yield row_of(
        "Masked how?",
        "",
        "",
        f"{counted(whole.masked, 'result')} had masked columns"
        + (f"; {entities(account)}." if overview.entities.named else "."),
    )
    denied = whole.ended["denied"]
    yield row_of("Denied why?", "", "", f"{counted(denied, 'request')} denied: {reasons(account)}.")
    voters = {one.record.principal or "" for one in overview.approvals.newest}
    alone = overview.emergencies.count
    yield row_of(
        "Approved by whom?",
        "",
        "",
        f"{counted(overview.approvals.count, 'vote')}"
        + (f" by {listed(sorted(voters))}." if voters else ".")
        + (f" {counted(alone, 'ticket')} used without votes." if alone else ""),
    )
    yield row_of(
        "What changed?",
        "",
        "",
        f"policy {times(overview.policy_changes.count)}, "
        f"schemas {times(overview.catalog_changes.count)}, "
        f"{counted(overview.deeds.count, 'other deed')} of administrators.",
    )
    open_ = len(found.report.open_attempts)
    counts = (overview.interrupted.count, overview.repairs.count, overview.clocks.count)
    gaps = sum(counts) + open_ + found.window
    told = (
        f"{counted(open_, 'request')} without an end so far, "
        f"{counts[0]:,} interrupted, {counted(counts[1], 'repair')}, the clock went back "
        f"{times(counts[2])}, "
        f"{counted_entries(found.window)} that nothing outside this host vouches for."
    )
    yield row_of("What is not known?", "" if gaps else "nothing", "" if gaps else "good", told)
    yield row_of("What does it rest on?", "", "", rests(account))


def row_of(question: str, word: str, mood: str, told: str) -> tuple[Markup, Markup]:
    """A question with its answer."""
    first = [element("strong", word, class_=mood), " · "] if word else []
    return element("dt", question), element("dd", *first, told)


def entities(account: Account) -> str:
    """What was replaced within texts."""
    kinds = [
        f"{counts['found']:,} {kind or 'others'}" for kind, counts in account.overview.entities
    ]
    return f"within texts {listed(kinds)}"


def reasons(account: Account) -> str:
    """The codes of denials, the most frequent first."""
    codes: dict[str, int] = {}
    for key, span in account.overview.denials:
        code = key[0] if key else "others"
        codes[code] = codes.get(code, 0) + span.count
    ranked = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{code} {count:,}" for code, count in ranked]) or "none"


def rests(account: Account) -> str:
    """The checkpoint in a sentence."""
    found = account.found
    if account.note is None:
        return "No checkpoint could be made: the log cannot be written."
    point = account.note.checkpoint
    by = f"signed at {point.size:,} entries"
    if not found.cosigned_at or found.witnessed is None:
        return f"A checkpoint {by}; no witness cosigned it, so it is this host's word alone."
    names = listed(sorted(found.cosigned_at))
    return f"A checkpoint {by}; the first {found.witnessed.size:,} cosigned by {names}."
