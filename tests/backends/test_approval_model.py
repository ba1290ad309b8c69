"""Every sequence of steps follows a model, and every rule that is switched off is noticed."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import nbgov.core.approval as genuine
from nbgov.backends.memory import MemoryApprovalStore, stores
from tests.approval_model import InMemory, Tickets

FOLDER = Path(genuine.__file__).parent
QUICK = settings(
    max_examples=2_000,
    stateful_step_count=14,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    database=None,
)


@pytest.mark.slow
def test_every_sequence_of_steps_follows_the_model():
    """Votes, uses, emergencies, endings, races, restarts and clocks end where the model ends."""
    run_state_machine_as_test(Tickets, settings=settings(max_examples=200, stateful_step_count=50))


def test_some_sequences_of_steps_follow_the_model():
    """The same, in RAM, for everyday."""
    run_state_machine_as_test(InMemory, settings=settings(max_examples=40, stateful_step_count=30))


def mutated(file, old, new):
    """The steps with one line changed."""
    sources = {
        name: (FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in ("rules", "steps")
    }
    assert old in sources[file]
    sources[file] = sources[file].replace(old, new)
    names = {"rules": "mutated_rules", "steps": "mutated_steps"}
    sources["steps"] = sources["steps"].replace("nbgov.core.approval.rules", names["rules"])
    held = types.SimpleNamespace()
    for name, source in sources.items():
        module = types.ModuleType(names[name])
        sys.modules[names[name]] = module
        exec(compile(source, names[name], "exec"), module.__dict__)
        vars(held).update(vars(module))
    for name in names.values():
        del sys.modules[name]
    return held


NOT_REQUESTED = "if approval.state is not ApprovalState.REQUESTED or has_run_out(approval, now):"
VOTE_STATE = NOT_REQUESTED + "\n        raise conflict(approval, now)\n    if folded"
GLASS_STATE = NOT_REQUESTED + "\n        raise conflict(approval, now)\n    at ="
OVER = "is not ApprovalState.REQUESTED or has_run_out(approval, now)"
MUTANTS = {
    "four eyes off": ("rules", "if is_own(principal, approval):", "if False:"),
    "names by exact spelling": ("rules", ".casefold()", ""),
    "several votes each": (
        "steps", "if folded(voter.name) in {", "if folded(voter.name) in {} and {",
    ),
    "everybody votes": ("steps", "if is_eligible(voter, q)", ""),
    "votes at any state": (
        "steps", VOTE_STATE, VOTE_STATE.replace("approval.state is not ApprovalState.REQUESTED or ", ""),
    ),
    "votes at any time": ("steps", VOTE_STATE, VOTE_STATE.replace(" or has_run_out(approval, now)", "")),
    "denials do not count": ("steps", "if not ballot.is_approval:", "if False:"),
    "one quorum is enough": ("rules", "and all(enough)", "and any(enough)"),
    "one vote is enough": ("rules", ">= max(quorum.votes_min, 1)", ">= 1"),
    "use of another statement": ("steps", "approval.binding_digest == binding_digest and ", ""),
    "use for fewer rules": ("steps", " and covers(approval, required)", ""),
    "use at any state": ("steps", "approval.state is ApprovalState.APPROVED and is_given", "is_given"),
    "use at any time": ("steps", "or is_used_up or has_run_out(approval, now)", "or is_used_up"),
    "use for ever": ("steps", "ApprovalState.CONSUMED if is_single(approval) else ", ""),
    "emergencies are windows": ("rules", " or approval.emergency is not None", ""),
    "anybody breaks the glass": (
        "steps", "if not is_own(principal, approval):\n        why", "if False:\n        why",
    ),
    "no reason for the glass": ("steps", "elif not reason.strip():", "elif False:"),
    "no review of the glass": ("steps", "elif waiting:", "elif False:"),
    "glass at any state": (
        "steps", GLASS_STATE, GLASS_STATE.replace("approval.state is not ApprovalState.REQUESTED or ", ""),
    ),
    "glass for long": ("steps", "min(valid_s, approval.valid_s)", "approval.valid_s"),
    "own review": ("steps", "require_other(approval, reviewer)", "pass"),
    "anybody reviews": ("steps", "if not is_voter(reviewer, approval):", "if False:"),
    "reviewed twice": ("steps", "emergency is None or emergency.is_reviewed", "emergency is None"),
    "anybody revokes": ("steps", "if not is_voter(principal, approval):", "if False:"),
    "revoked at any state": (
        "steps", "if approval.state is not ApprovalState.APPROVED or has", "if has",
    ),
    "anybody cancels": (
        "steps", "if not is_own(principal, approval):\n        raise", "if False:\n        raise",
    ),
    "cancelled at any state": ("steps", "if approval.state not in LIVE or has", "if has"),
}  # fmt: skip


def caught(machine):
    """A machine parts from the model, soon."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_missing_rule(name):
    """Each rule of the steps that is switched off makes the sequences part from the model."""
    caught(type("Mutated", (InMemory,), {"module": mutated(*MUTANTS[name])}))


def test_the_model_notices_a_store_that_takes_anything(monkeypatch):
    """A store that does not look at steps is found by the ones that are forged."""
    monkeypatch.setattr(stores, "require_step", lambda *_: None)
    caught(InMemory)


def test_the_model_notices_a_clock_that_goes_back():
    """A store that believes the machine's clock is found."""

    class Forgetful(MemoryApprovalStore):
        def now(self, at):
            return at

    caught(type("Mutated", (InMemory,), {"make_store": lambda _: Forgetful()}))
