"""What a reader wants to know of a lineage, each in a line: for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nbgov.core.lineage import ApprovalSummary, Lineage
from nbgov.model import DatasetVersion

NAMES_SHOWN_MAX = 3
UNBOUND = "no governed input is bound to the run"
NOT_NEEDED = "no read of these inputs needed an approval, or none is kept here"


@dataclass(frozen=True, slots=True)
class Answer:
    """A question and its answer.

    Attributes:
        question: In a person's words.
        word: The answer in a word or two, or empty.
        told: The answer in a sentence.
        mood: ``good``, ``bad`` or empty.
    """

    question: str
    word: str
    told: str
    mood: str = ""


def subject(lineage: Lineage) -> str:
    """What the lineage is of."""
    if lineage.model is not None:
        return f"{lineage.model.name} version {lineage.model.version}"
    if lineage.run is not None:
        return lineage.run.name or lineage.run.run_id
    return ", ".join(map(title_of, lineage.current)) or "no dataset version"


def answers(lineage: Lineage) -> Iterator[Answer]:
    """The answers, in the order in which people ask."""
    yield which_data(lineage)
    if lineage.run is not None and lineage.run.ungoverned:
        yield Answer("What else?", "Ungoverned", shortened(lineage.run.ungoverned), "bad")
    if lineage.run is not None:
        yield same_as_last_time(lineage)
        yield from what_changed(lineage)
    yield who_approved(lineage.approvals)
    if lineage.run is not None or lineage.model is not None:
        yield may_it_ship(lineage)


def which_data(lineage: Lineage) -> Answer:
    """The versions trained on, with their rows."""
    question = "Which data?"
    wanted = {one.version_id: f"{one.name}@v{one.version_id[:8]}" for one in lineage.trained_on}
    if lineage.run is None:
        wanted = {one.version_id: title_of(one) for one in lineage.current}
    if not wanted:
        is_read = lineage.run is not None and bool(lineage.run.inputs)
        told = "what it read is no proof of what it was trained on" if is_read else UNBOUND
        return Answer(question, "Not known", told, "bad")
    held = [version.rows for version in lineage.current if version.version_id in wanted]
    rows = f" ({sum(held):,} rows)" if len(held) == len(wanted) else " (not all kept here)"
    return Answer(question, "", shortened(tuple(wanted.values())) + rows)


def title_of(version: DatasetVersion) -> str:
    """A dataset version in a word."""
    return f"{version.name}@v{version.version_id[:8]}"


def same_as_last_time(lineage: Lineage) -> Answer:
    """The verdict."""
    question, report = "Same as last time?", lineage.report
    if report is None:
        return Answer(question, "Not known", "it was compared with no run")
    if lineage.baseline is None:
        return Answer(question, "", report.verdict)
    word = {True: "Yes", False: "No", None: "Not known"}[report.is_same_data]
    moods = {"stable": "good", "drifted": "bad"}
    return Answer(question, word, report.verdict, moods.get(report.status, ""))


def what_changed(lineage: Lineage) -> Iterator[Answer]:
    """The first cause, and how many there are; nothing where the verdict names the only one."""
    question, report = "What changed most?", lineage.report
    if report is None or lineage.baseline is None:
        yield Answer(question, "Not known", "there is nothing to compare with")
        return
    felt = [cause for cause in report.causes if cause.effect > 0]
    if not felt:
        word = "Not known" if report.status == "unknown" else "Nothing"
        yield Answer(question, word, "that nbgov sees" if word == "Nothing" else "see the verdict")
    elif len(felt) > 1:
        yield Answer(question, "", f"{felt[0].sentence}, and {len(felt) - 1} more")


def who_approved(approvals: tuple[ApprovalSummary, ...]) -> Answer:
    """Who consented, and to what."""
    said = [
        f"{vote.voter} ({one.subject}, ticket {one.ticket})"
        for one in approvals
        for vote in one.votes
        if vote.is_approval and one.is_given
    ]
    if said:
        return Answer("Who approved?", "", shortened(tuple(said)))
    if any(one.is_emergency and one.is_cleared for one in approvals):
        return Answer("Who approved?", "Nobody", "the requester went ahead in an emergency", "bad")
    told = "no ticket is approved" if approvals else NOT_NEEDED
    return Answer("Who approved?", "Nobody", told)


def may_it_ship(lineage: Lineage) -> Answer:
    """What holds a promotion, or that nothing does."""
    question, report = "May it ship?", lineage.report
    if report is None:
        return Answer(question, "Held", "what is not known counts as held", "bad")
    if not report.holds:
        return Answer(question, "Nothing holds it", "under the drift policy", "good")
    promotions = [one for one in lineage.approvals if one.subject == "promotion"]
    if any(one.is_given for one in promotions):
        told = f"by an approval, although: {reasons(report.holds)}"
        return Answer(question, "Released", told, "good")
    return Answer(question, "Held", reasons(report.holds), "bad")


def reasons(holds: tuple[str, ...]) -> str:
    """What holds, by kind and subject; the whole sentences stand further down.

    >>> reasons(("unit: air_time: 60 times what it was", "unknown: no input: is bound"))
    'unit: air_time, unknown'
    """
    return shortened(tuple(map(reason, holds)))


def reason(hold: str) -> str:
    """The kind of a hold, with its subject where it has one."""
    kind, _, rest = hold.partition(": ")
    return kind if kind == "unknown" else f"{kind}: {rest.split(': ')[0]}"


def origins_of(version: DatasetVersion, column: str) -> str:
    """The base columns that a result column shows, in words."""
    if column not in version.origins:
        return "not known"
    return ", ".join(version.origins[column]) or "no column"


def shortened(names: tuple[str, ...]) -> str:
    """Names or sentences in a line, the first few of many."""
    more = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
