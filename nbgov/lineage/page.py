"""The lineage page: answers to a reader's questions, then what they rest on, in one file.

MLflow shows it in a sandboxed frame, so it needs nothing from outside, runs nothing and links
nowhere. It is made from a :class:`~nbgov.core.lineage.Lineage` alone; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator

from nbgov.core.lineage import Lineage
from nbgov.core.markup import Markup, element
from nbgov.core.pages import page
from nbgov.lineage.answers import Answer, answers, subject
from nbgov.lineage.sections import moment, sections
from nbgov.lineage.style import STYLE


def lineage_page(lineage: Lineage) -> str:
    """The page of a lineage: one HTML text, self-contained, for light and for dark."""
    body = element(
        "main", element("p", "nbgov · lineage of governed data", class_="soft"), *content(lineage)
    )
    return page(f"nbgov · {subject(lineage)}", body, style=STYLE)


def content(lineage: Lineage, *, level: int = 1) -> Iterator[Markup]:
    """What the page says, for pages that have a frame of their own.

    Args:
        lineage: What it is about.
        level: Of the heading.
    """
    status = lineage.report.status if lineage.report is not None else ""
    badge = [element("span", status.upper(), class_=f"badge {status}")] if status else []
    yield element(f"h{level}", subject(lineage), *badge)
    yield element("p", *told_of(lineage), class_="soft")
    yield element("dl", *(part for one in answers(lineage) for part in rows(one)), class_="answers")
    yield from sections(lineage)


def told_of(lineage: Lineage) -> Iterator[str]:
    """The line below the heading."""
    model, run = lineage.model, lineage.run
    if model is not None:
        yield f"model version ({', '.join(model.aliases)}) of " if model.aliases else "model of "
    if run is None:
        yield "dataset version" if model is None else "no run that is known"
        return
    yield "run "
    yield element("code", run.run_id)
    if run.started_at is not None:
        yield f" · started {moment(run.started_at)}"


def rows(answer: Answer) -> tuple[Markup, Markup]:
    """A question with its answer."""
    word = [element("strong", answer.word, class_=answer.mood)] if answer.word else []
    between = " · " if word else ""
    return element("dt", answer.question), element("dd", *word, between, answer.told)
