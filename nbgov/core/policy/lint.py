"""What is wrong with a policy that decodes: rules that never match, names that mean nothing.

Each check has a code that stays; ``docs/reference/policy.md`` lists them. Some need a catalog or
the declared principals, and stay silent where there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from nbgov.core.policy.audience import Audience
from nbgov.core.policy.document import Policy, Rule
from nbgov.core.policy.lint_consents import asking_nobody, breaking_nothing
from nbgov.core.policy.lint_values import LintProblem, Surroundings
from nbgov.core.policy.patterns import COLUMN_PARTS, EVERY, GLOB, glob, pattern, resource_name
from nbgov.core.rewrite.filters import check_filter
from nbgov.errors import ConfigInvalid
from nbgov.model import Catalog, Column, MaskKind, Table, TableName

__all__ = ["LintProblem", "Surroundings", "lint"]

TEXT_TYPES = ("char", "text", "string", "clob")
TIME_TYPES = ("date", "timestamp", "datetime")
READ_TERMS = ("masks", "row_filter")
WRITES = {"insert", "update", "delete"}


def lint(policy: Policy, surroundings: Surroundings) -> tuple[LintProblem, ...]:
    """Everything that is wrong with a policy, in the order of the checks.

    Args:
        policy: The policy.
        surroundings: What it is held against; the less there is, the fewer checks have a say.
    """
    return tuple(problem for check in CHECKS for problem in check(policy, surroundings))


# ---------------------------------------------------------------- rules


def never_matching(policy: Policy, _: Surroundings) -> Iterator[LintProblem]:
    """P101: forbids take away everything that a permit gives."""
    forbids = [r for r in policy.document.rules if r.effect == "forbid" and not r.when]
    for rule in policy.document.rules:
        shadow = next((f for f in forbids if rule.effect == "permit" and shadows(f, rule)), None)
        if shadow is not None:
            yield LintProblem(
                "P101",
                f"rules.{rule.id}",
                f"the rule can never match: {shadow.id!r} forbids all of it to the same audience",
                "remove one of the two rules, or narrow the forbid",
            )


def shadows(forbid: Rule, permit: Rule) -> bool:
    """Whether a forbid covers whom, what and which data a permit is about."""
    return (
        includes(forbid.to, permit.to)
        and includes(permit.unless, forbid.unless)
        and set(permit.actions) <= set(forbid.actions)
        and all(any(reaches(wide, narrow) for wide in forbid.on) for narrow in permit.on)
    )


def includes(wide: Audience, narrow: Audience) -> bool:
    """Whether everybody in one audience is, for certain, in another."""
    if EVERY in wide.names:
        return True
    return (
        set(narrow.names) <= set(wide.names)
        and set(narrow.groups) <= set(wide.groups)
        and set(narrow.roles) <= set(wide.roles)
    )


def reaches(wide: str, narrow: str) -> bool:
    """Whether one pattern matches, for certain, all that another one matches."""
    pairs = zip(parts(wide), parts(narrow), strict=True)
    return all(w in {n, EVERY} or (GLOB.search(n) is None and fnmatchcase(n, w)) for w, n in pairs)


def parts(text: str) -> list[str]:
    """The four parts of a pattern."""
    found = text.lower().split(".")
    return found if len(found) == COLUMN_PARTS else [*found, EVERY]


def exempting_all(policy: Policy, _: Surroundings) -> Iterator[LintProblem]:
    """P102: ``unless`` names everybody whom ``to`` names."""
    for rule in policy.document.rules:
        if includes(rule.unless, rule.to):
            yield LintProblem(
                "P102",
                f"rules.{rule.id}.unless",
                "the rule can never match: it exempts everybody whom it is about",
                "narrow unless, or widen to",
            )


def covering_nothing(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P103: a pattern of a rule that matches nothing."""
    for rule in policy.document.rules:
        # A table that does not exist yet is what a rule to create one is about.
        may_be_new = "create" in rule.actions
        for text in rule.on:
            if around.is_elsewhere(text):
                problem = "is about no connection of nbgov.yaml"
            elif not around.is_asked(text) or may_be_new or any(around.columns(text)):
                continue
            else:
                problem = "matches no table or column"
            yield LintProblem(
                "P103", f"rules.{rule.id}.on", f"the pattern {text} {problem}", SPELLING
            )


def without_people(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P110: a rule about an audience in which nobody is declared."""
    for rule in policy.document.rules:
        if around.principals and not any(map(rule.to.holds, around.principals)):
            yield LintProblem(
                "P110",
                f"rules.{rule.id}.to",
                "nobody who is declared under principals: is in the audience",
                "correct the names, or declare the people in nbgov.yaml",
                is_error=False,
            )


def without_effect(policy: Policy, _: Surroundings) -> Iterator[LintProblem]:
    """P111: an obligation that the actions of its rule never meet."""
    for rule in policy.document.rules:
        terms, actions = rule.obligations, set(rule.actions)
        for key in READ_TERMS:
            if getattr(terms, key) and "read" not in actions:
                yield idle(rule, key, "read")
        if terms.write_limit is not None and not actions & WRITES:
            yield idle(rule, "write_limit", "insert, update or delete")


def idle(rule: Rule, key: str, action: str) -> LintProblem:
    """An obligation without an action that it is for."""
    return LintProblem(
        "P111",
        f"rules.{rule.id}.obligations.{key}",
        f"{key} has no effect, because the rule does not permit to {action}",
        f"move it to a rule that permits to {action}",
    )


# ---------------------------------------------------------------- tags and masks


def tagging_nothing(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P104: a tag that no column carries; P105: a column that its table does not have."""
    for tag, patterns in policy.document.tags.items():
        place = f"tags.{tag}"
        if not patterns or all(
            around.is_elsewhere(text) or (around.is_asked(text) and not any(around.columns(text)))
            for text in patterns
        ):
            yield LintProblem("P104", place, "the tag covers no column", SPELLING)
            continue
        for text in patterns:
            column = parts(text)[-1]
            if not around.is_asked(text) or GLOB.search(column) or any(around.columns(text)):
                continue
            found = [str(table.name) for _, table in around.tables(text)]
            what = f"{', '.join(found[:3])} has no column {column}" if found else "matches no table"
            yield LintProblem("P105", place, f"the pattern {text}: {what}", SPELLING)


def masking_nothing(policy: Policy, _: Surroundings) -> Iterator[LintProblem]:
    """P106: a mask for a tag that the policy does not give to anything."""
    for rule in policy.document.rules:
        for wanted in rule.obligations.masks:
            if not any(glob(wanted).fullmatch(tag) for tag in policy.document.tags):
                yield LintProblem(
                    "P106",
                    f"rules.{rule.id}.obligations.masks",
                    f"nothing carries a tag that matches {wanted}",
                    "correct the tag, or add it under tags:",
                )


def masking_to_null(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P107: a mask that shows part of a value, on a column of a type that has no such part."""
    fits = {MaskKind.PARTIAL: TEXT_TYPES, MaskKind.YEAR: TIME_TYPES}
    for rule in policy.document.rules:
        for wanted, kind in rule.obligations.masks.items():
            tags = [tag for tag in policy.document.tags if glob(wanted).fullmatch(tag)]
            for column in tagged(policy, tags, around) if kind in fits else ():
                if not any(part in column[1].type.lower() for part in fits[kind]):
                    yield LintProblem(
                        "P107",
                        f"rules.{rule.id}.obligations.masks",
                        f"{kind.value} reads as NULL on {column[0]}.{column[1].name}, "
                        f"which is {column[1].type or 'of no type'}",
                        "use null if that is meant, or another mask",
                        is_error=False,
                    )


def tagged(
    policy: Policy, tags: Iterable[str], around: Surroundings
) -> list[tuple[TableName, Column]]:
    """The columns that carry one of the tags, each once."""
    found = {
        (table.name, column.name): column
        for tag in tags
        for text in policy.document.tags[tag]
        for _, table, column in around.columns(text)
    }
    return [(table, column) for (table, _), column in found.items()]


# ---------------------------------------------------------------- filters and functions


def filtering_wrongly(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P108: a row filter that is no predicate over the columns of its tables."""
    for rule in policy.document.rules:
        predicate = rule.obligations.row_filter
        if predicate is None:
            continue
        seen: set[str] = set()
        for connection, table in (t for text in rule.on for t in around.tables(text)):
            problem = filter_problem(predicate, table, around.catalogs[connection])
            if problem and problem not in seen:
                seen.add(problem)
                yield LintProblem(
                    "P108",
                    f"rules.{rule.id}.obligations.row_filter",
                    f"the predicate does not work on {table.name}: {problem}",
                    "write one condition over columns that every table of the rule has",
                )


def filter_problem(predicate: str, table: Table, catalog: Catalog) -> str:
    """Why a predicate does not work on a table, or nothing."""
    try:
        check_filter(predicate, table, catalog)
    except ConfigInvalid as error:
        return error.why
    return ""


def registering_nothing(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P112: a registered function that no database has."""
    held = [
        resource_name(connection, TableName(*name.rpartition(".")[::2]))
        for connection, catalog in around.catalogs.items()
        for name in catalog.functions
    ]
    for text in policy.document.functions.read:
        is_known = any(pattern(text).table.fullmatch(name) for name in held)
        if around.is_elsewhere(text) or (around.is_asked(text) and not is_known):
            yield LintProblem(
                "P112",
                "functions.read",
                f"the pattern {text} matches no function that people have defined",
                SPELLING,
            )


# ---------------------------------------------------------------- drift


def drifting_nothing(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P113: a pattern under ``drift:`` that matches nothing; P114: terms that never apply."""
    section = policy.document.drift
    for text in section.keyed:
        if around.is_elsewhere(text) or (around.is_asked(text) and not any(around.tables(text))):
            yield LintProblem("P113", "drift.keyed", f"{text} matches no table", SPELLING)
    for place, one in enumerate(section.columns):
        where = f"drift.columns.{place}"
        for wanted in one.tags:
            if not any(glob(wanted).fullmatch(tag) for tag in policy.document.tags):
                message = f"nothing carries a tag that matches {wanted}"
                yield LintProblem("P113", f"{where}.tags", message, SPELLING)
        later = section.columns[place + 1 :]
        if any(set(one.tags) <= set(o.tags) and all_reached(one.on, o.on) for o in later):
            message = "the terms never apply: later ones are about all of these columns"
            yield LintProblem("P114", where, message, "remove them, or move them to the end")


def all_reached(narrow: Iterable[str], wide: Iterable[str]) -> bool:
    """Whether patterns with ``*`` for any text match, for certain, all that others match."""
    return all(any(n == w or fnmatchcase(n, w) for w in wide) for n in narrow)


SPELLING = "correct the spelling, or remove it: nbgov catalog lists what there is"
CHECKS: tuple[Callable[[Policy, Surroundings], Iterator[LintProblem]], ...] = (
    never_matching,
    exempting_all,
    covering_nothing,
    tagging_nothing,
    masking_nothing,
    masking_to_null,
    filtering_wrongly,
    asking_nobody,
    breaking_nothing,
    without_people,
    without_effect,
    registering_nothing,
    drifting_nothing,
)
