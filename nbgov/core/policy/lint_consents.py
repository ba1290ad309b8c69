"""What is wrong with the consents that a policy asks for, and with its break-glass clause."""

from __future__ import annotations

from collections.abc import Iterator

from nbgov.core.policy.audience import NOBODY
from nbgov.core.policy.document import Policy, Rule
from nbgov.core.policy.lint_values import LintProblem, Surroundings
from nbgov.model import Principal


def asking_nobody(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P109: an approval that nobody, or too few people, can give."""
    rules = policy.document.rules
    asked = {f"rules.{one.id}.obligations.approval": one.obligations.approval for one in rules}
    for place, terms in {**asked, "drift.approval": policy.document.drift.approval}.items():
        if terms is None or not around.principals:
            continue
        voters = [principal for principal in around.principals if terms.by.holds(principal)]
        if len(voters) < terms.votes:
            yield LintProblem(
                "P109",
                place,
                f"{terms.votes} votes are asked for, and {len(voters)} of those declared may vote",
                "correct by:, or declare the people in nbgov.yaml",
            )
    for rule in rules:
        yield from stuck(rule, around)


def stuck(rule: Rule, around: Surroundings) -> Iterator[LintProblem]:
    """P109 too: with nobody to spare, a requester who may vote on others waits for ever."""
    terms = rule.obligations.approval
    voters = {one.name for one in around.principals if terms and terms.by.holds(one)}
    if terms is None or len(voters) != terms.votes:
        return
    alone = [one.name for one in around.principals if one.name in voters and is_about(rule, one)]
    if alone:
        yield LintProblem(
            "P109",
            f"rules.{rule.id}.obligations.approval",
            f"{', '.join(alone)} can ask and vote, and without their own voice votes are missing",
            "widen by:, or ask for fewer votes",
            is_error=False,
        )


def is_about(rule: Rule, principal: Principal) -> bool:
    """Whether a rule is about somebody, whatever they want to do."""
    return rule.to.holds(principal) and not rule.unless.holds(principal)


def breaking_nothing(policy: Policy, around: Surroundings) -> Iterator[LintProblem]:
    """P115: a break-glass clause that can never be used."""
    terms = policy.document.break_glass.by
    if terms == NOBODY:
        return
    asking = [rule for rule in policy.document.rules if rule.obligations.approval]
    people = [one for one in around.principals if terms.holds(one)]
    if around.principals and not people:
        why = "nobody who is declared under principals: is in the audience"
    elif not asking:
        why = "no rule asks for an approval"
    elif people and not any(is_about(rule, one) for rule in asking for one in people):
        why = "no rule that asks for an approval is about anybody in the audience"
    else:
        return
    yield LintProblem(
        "P115",
        "break_glass.by",
        f"the glass can never be broken: {why}",
        "correct the audience, or remove break_glass:",
        is_error=False,
    )
