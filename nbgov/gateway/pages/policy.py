"""The policy: what it says of a statement that is not run, and which rule says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Form, Response

from nbgov.core.markup import Markup, element, joined
from nbgov.core.report import PERMIT
from nbgov.core.visible import visible
from nbgov.gateway.control.access import is_auditor
from nbgov.gateway.control.policy import dry_run
from nbgov.gateway.control.shapes import Question
from nbgov.gateway.pages.shell import (
    ROOT,
    Doer,
    Looker,
    PageRoute,
    Visit,
    area,
    button,
    choice,
    facts,
    form,
    page,
)
from nbgov.model import StopKind

PLACE = f"{ROOT}/policy"
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get(PLACE)
def show(visit: Looker) -> Response:
    """The form of a dry run, and for auditors the policy."""
    return told(visit)


@router.post(PLACE)
def decide(
    visit: Doer,
    sql: Annotated[str, Form(max_length=20_000)] = "",
    connection: Annotated[str, Form(max_length=48)] = "",
) -> Response:
    """Decide a statement as the caller's own. Nothing runs."""
    visit.house.require_open(StopKind.CONNECTION, connection)
    report = dry_run(visit.guest, Question(connection, sql))
    return told(visit, sql=sql, connection=connection, report=report)


# ---------------------------------------------------------------- how it looks


def told(
    visit: Visit, *, sql: str = "", connection: str = "", report: dict[str, Any] | None = None
) -> Response:
    """The page of the policy."""
    session = visit.guest.session
    about = "Decides a statement as yours, and runs nothing."
    ask = form(
        visit,
        PLACE,
        choice("Connection", "connection", session.connections, connection),
        area("Statement", "sql", sql, rows=4, required=True),
        button("Decide"),
        class_="deed",
    )
    parts = [element("h2", "What would happen"), element("p", about, class_="soft"), ask]
    rules = tuple(report["rules"]) if report else ()
    if report:
        parts += verdict(report)
    if is_auditor(visit.house, visit.guest.principal):
        parts += text_of(session.world.policy.text(), session.policy_digest(), rules)
    else:
        parts.append(element("p", "Auditors read the text of the policy here.", class_="soft"))
    return page("Policy", *parts, visit=visit)


def verdict(report: dict[str, Any]) -> Iterator[Markup]:
    """What a statement would come to."""
    is_permitted = report["decision"] == PERMIT
    word = element("strong", report["decision"].upper(), class_="good" if is_permitted else "bad")
    pairs: list[tuple[str, str]] = [
        ("Decision", word),
        ("Why", " ".join(report["reasons"])),
        ("Rules that decided", ", ".join(report["rules"])),
        ("Codes", ", ".join(report["codes"])),
        ("Effects", ", ".join(report["effects"])),
        ("Tables", ", ".join(report["tables"])),
        ("Columns", ", ".join(report["columns"])),
        *(("Obligation", obligation(one)) for one in report["obligations"]),
    ]
    yield element("div", facts(pairs), role="status")
    if report["sql"]:
        yield element("h3", "What would run")
        yield element(
            "pre", visible(report["sql"], keep="\n\t"), tabindex=0, aria_label="Statement"
        )


def obligation(one: dict[str, Any]) -> str:
    """An obligation in a line."""
    rest = (f"{name} {told_of(value)}" for name, value in one.items() if name != "kind" and value)
    return f"{one['kind']}: {', '.join(rest)}"


def told_of(value: object) -> str:
    """A value of an obligation in words."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def text_of(text: str, digest: str, rules: tuple[str, ...]) -> Iterator[Markup]:
    """The text of the policy; the rules that decided stand out."""
    yield element("h2", "The policy in force")
    yield element("p", "SHA-256 ", element("code", digest, class_="long"), class_="soft")
    found = places(text, rules)
    if found:
        names = ", ".join(sorted(found))
        yield element("p", f"Marked below: {visible(names)}.", role="status")
    lines = text.split("\n")
    marked = {number for first, last in found.values() for number in range(first, last)}
    shown = (
        element("mark", visible(line, keep="\t")) if number in marked else visible(line, keep="\t")
        for number, line in enumerate(lines)
    )
    body = joined(*(part for line in shown for part in (line, "\n")))
    yield element("pre", body, tabindex=0, role="region", aria_label="Policy")


def places(text: str, rules: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    r"""The lines of rules in the text of a policy, by their ids.

    >>> places("rules:\n  - id: a\n    on: [x]\n  - id: b\n", ("b",))
    {'b': (3, 4)}
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    found = {}
    for key, listed in getattr(root, "value", ()):
        for rule in listed.value if key.value == "rules" else ():
            name = next((value.value for part, value in rule.value if part.value == "id"), "")
            if name in rules:
                first = rule.start_mark.line
                found[name] = first, max(rule.end_mark.line, first + 1)
    return found
