"""What no statement may do, whoever asks.

The guard knows statements and nothing else: not the principal, not the policy, not the database.
Every rule has a code that stays, and a page under ``docs/reference/rules``. Together the rules
leave queries, writes to named rows, and DDL that only adds; everything else has a finding. Cases
are in ``tests/cases/guard``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nbgov.model import Action, Effect, Finding, Statement

PLAIN_VERBS = {"DELETE", "EXPLAIN", "INSERT", "MERGE", "SELECT", "UPDATE"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the guard.

    Attributes:
        code: ``G`` and three digits; it never changes its meaning.
        title: What the rule reports, in a few words.
        check: From a statement to the offending detail, or ``None`` when the statement is clean.
        next_step: What to write instead.
    """

    code: str
    title: str
    check: Callable[[Statement], str | None]
    next_step: str


def check(statement: Statement, rules: Mapping[str, Rule] | None = None) -> tuple[Finding, ...]:
    """Report every rule that a statement breaks.

    All rules run, even after the first hit: a person who corrects SQL wants the whole list.

    Args:
        statement: A statement whose names are resolved.
        rules: The rules in force, by code; all of :data:`RULES` when left out.

    Returns:
        The findings in the order of the rules, or an empty tuple when the statement is clean.
    """
    found = []
    for rule in (RULES if rules is None else rules).values():
        detail = rule.check(statement)
        if detail is not None:
            found.append(Finding(rule.code, detail, rule.next_step))
    return tuple(found)


def changes_structure(statement: Statement) -> str | None:
    """DDL that takes something away or replaces it, such as DROP, TRUNCATE and most of ALTER."""
    if not does(statement, Effect.DDL) or "additive" in statement.traits:
        return None
    return f"{statement.verb} changes what the database holds{on_tables(statement)}"


def is_not_a_query(statement: Statement) -> str | None:
    """A statement of a kind that nbgov does not know."""
    if statement.effects and not does(statement, Effect.UNKNOWN):
        return None
    return f"{statement.verb} is not a statement that nbgov runs"


def writes_without_where(statement: Statement) -> str | None:
    """UPDATE or DELETE that names no rows."""
    if not has_trait(statement, "no-where"):
        return None
    return f"{changes(statement)} has no WHERE, and would reach every row"


def writes_everything(statement: Statement) -> str | None:
    """UPDATE or DELETE whose WHERE picks no rows: it is true for all, or does not look at them."""
    if not has_trait(statement, "always-true-where"):
        return None
    return f"the WHERE of {changes(statement)} does not pick rows: it lets every row through"


def calls_unknown_function(statement: Statement) -> str | None:
    """A function that is not known to be free of side effects."""
    called = statement.functions.items()
    unknown = sorted(name for name, effect in called if effect is not Effect.READ)
    return f"it calls {', '.join(unknown)}, not known to be free of effects" if unknown else None


def changes_rights(statement: Statement) -> str | None:
    """A change of roles, grants, owners or row security."""
    if not does(statement, Effect.DCL):
        return None
    return f"{statement.verb} changes who may do what{on_tables(statement)}"


def controls_session(statement: Statement) -> str | None:
    """A change of settings, transactions, cursors or locks."""
    if not does(statement, Effect.SESSION):
        return None
    return f"{statement.verb} controls the session or its transaction, which nbgov owns"


def leaves_database(statement: Statement) -> str | None:
    """Reading or writing files, starting programs, reaching other databases, loading code."""
    if not does(statement, Effect.FILE):
        return None
    return f"{statement.verb} reaches outside the database{on_tables(statement)}"


def runs_text(statement: Statement) -> str | None:
    """Running text or code that is not part of the statement."""
    if not does(statement, Effect.EXEC):
        return None
    return f"{statement.verb} runs text that is not part of the statement"


def works_on_server(statement: Statement) -> str | None:
    """Maintenance of more than one named table, and control of the server."""
    if not does(statement, Effect.MAINTENANCE) or "additive" in statement.traits:
        return None
    return f"{statement.verb} works on the server or its storage{on_tables(statement)}"


def deletes_by_branch(statement: Statement) -> str | None:
    """MERGE that deletes what its source does or does not hold."""
    if not has_trait(statement, "merge-deletes"):
        return None
    return f"a branch of {statement.verb} deletes rows{on_tables(statement)}"


def does(statement: Statement, effect: Effect) -> bool:
    """Whether a statement has an effect by itself.

    One that a query or a plain write has through a function is that function's, and has a finding
    of its own, :func:`calls_unknown_function`, which names it.
    """
    through = statement.verb in PLAIN_VERBS and effect in statement.functions.values()
    return effect in statement.effects and not through


def has_trait(statement: Statement, trait: str) -> bool:
    """Whether a trait of what it writes counts. ``EXPLAIN`` alone writes nothing."""
    return trait in statement.traits and statement.plan != "plan"


def changes(statement: Statement) -> str:
    """What a write does to which tables, for people."""
    written = [u for u in statement.tables if u.action in {Action.UPDATE, Action.DELETE}]
    named = dict.fromkeys(f"{use.action.value.upper()} of {use.table}" for use in written)
    return ", ".join(named) or statement.verb


def on_tables(statement: Statement) -> str:
    """The tables that a statement names, for people."""
    named = dict.fromkeys(str(use.table) for use in statement.tables)
    return f": {', '.join(named)}" if named else ""


RULES: Mapping[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule("G101", "changes structure", changes_structure, "ask a platform engineer"),
        Rule("G102", "not a query or a plain write", is_not_a_query, "use SELECT or a plain write"),
        Rule("G103", "write without WHERE", writes_without_where, "name the rows with WHERE"),
        Rule("G104", "WHERE is always true", writes_everything, "name the rows with WHERE"),
        Rule("G105", "unknown function", calls_unknown_function, "use a standard function instead"),
        Rule("G106", "changes rights", changes_rights, "ask the people who grant access"),
        Rule(
            "G107", "controls the session", controls_session,
            "leave it out: nbgov opens and ends the transaction of each statement",
        ),
        Rule(
            "G108", "leaves the database", leaves_database,
            "use SELECT and keep the result in a data frame",
        ),
        Rule("G109", "runs other text", runs_text, "write out the statement that it would run"),
        Rule("G110", "works on the server", works_on_server, "ask a platform engineer"),
        Rule(
            "G111", "MERGE deletes", deletes_by_branch,
            "delete with DELETE ... WHERE, as a statement of its own",
        ),
    )
}  # fmt: skip
