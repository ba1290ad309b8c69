"""Approvals: what a binding tells apart, and a model that every sequence of steps has to follow."""

from __future__ import annotations

import math
import types
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from nbgov.core import approval as genuine
from nbgov.core.approval import (
    BIND_CHARS_MAX,
    TICKET_LIFETIME,
    binding,
    cancel,
    conflict,
    consume,
    describe_binds,
    expire,
    is_step,
    open_ticket,
    vote,
)
from nbgov.errors import Denied, IntegrityFailed, RequestInvalid
from nbgov.model import (
    Action,
    ApprovalQuorum,
    ApprovalState,
    Decision,
    Effect,
    Principal,
    RowLimit,
    Span,
    Statement,
    TableName,
    TableUse,
    Vote,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADA = Principal("ada@acme.test", roles=frozenset({"approver", "dba"}))
GRACE = Principal("grace@acme.test", roles=frozenset({"approver"}))
HEIDI = Principal("heidi@acme.test", groups=frozenset({"stewards"}), roles=frozenset({"dba"}))
MALLORY = Principal("mallory@acme.test", groups=frozenset({"analysts"}))


def quorum(rule="two-eyes", *, names=(), groups=(), roles=("approver",), votes_min=1):
    return ApprovalQuorum(rule, frozenset(names), frozenset(groups), frozenset(roles), votes_min)


def update(sql="UPDATE bookings SET paid = true WHERE id = :id"):
    uses = (
        TableUse(TableName("main", "bookings"), Action.UPDATE, Span(7, 15), False, frozenset()),
        TableUse(TableName("main", "bookings"), Action.READ, Span(7, 15), False, frozenset()),
    )
    return Statement(
        sql=sql, dialect="duckdb", verb="UPDATE", effects=frozenset({Effect.WRITE}), tables=uses
    )


def ticket(*quorums, module=genuine, now=START, binds=None):
    decision = Decision(
        is_permitted=True,
        obligations=(RowLimit(5), *(quorums or (quorum(),))),
        policy_digest=b"p" * 32,
    )
    return module.open_ticket(
        update(),
        decision,
        ticket="t1",
        binds=binds or {"id": 7},
        connection="ops",
        principal=ADA,
        now=now,
    )


def ballot(voter, *, yes=True, at=START, reason="looks right"):
    return Vote(voter.name, yes, reason, at)


def voted(approval, *voters, now=START, yes=True):
    for voter in voters:
        approval = vote(approval, ballot(voter, yes=yes), voter=voter, now=now)
    return approval


# ---- the binding

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters(codec=None), max_size=6)
    | st.binary(max_size=6)
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
)
BINDS = st.dictionaries(
    st.text("ab:=\0", max_size=3), PLAIN | st.lists(PLAIN, max_size=3), max_size=3
)
WHERE = {"connection": "ops", "principal_name": "ada", "policy_digest": b"p"}


def exactly(value):
    """What sets a bound value apart: its type, and its text or bits."""
    if isinstance(value, list):
        return ["list", *map(exactly, value)]
    if isinstance(value, float):
        return ["float", value.hex(), math.copysign(1, value)]
    return [type(value).__name__, repr(value)]


@given(BINDS, BINDS)
def test_a_binding_tells_all_values_apart(binds, others):
    """Two sets of values share a binding exactly if they are equal in name, type and value."""
    is_same = {k: exactly(v) for k, v in binds.items()} == {
        k: exactly(v) for k, v in others.items()
    }
    assert (binding("s", binds, **WHERE) == binding("s", others, **WHERE)) == is_same


NEAR = [1, "1", True, 1.0, Decimal(1), Decimal("1.0"), b"1", None, "", [1], [[1]], [1, 1], [], -1]
NEAR += [0.0, -0.0, False, 0, "None", date(2026, 1, 1), datetime(2026, 1, 1), "2026-01-01", time(1)]
NEAR += [datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), "a", "A", "a ", "\ud83d", "?", 2**70]
NEAR += [datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), b"", "\0", "é", "e\u0301"]


def test_near_values_have_bindings_of_their_own():
    """1, '1', True and 1.0, and their like, are as many different values."""
    assert len({binding("s", {"x": value}, **WHERE) for value in NEAR}) == len(NEAR)


@pytest.mark.parametrize(
    "other",
    [
        {"statement_sql": "SELECT  1"},
        {"statement_sql": "select 1"},
        {"statement_sql": "SELECT 1 "},
        {"statement_sql": "SELECT 1 -- why"},
        {"binds": {"a": 1}},
        {"connection": "op"},
        {"principal_name": "adam"},
        {"policy_digest": b"q"},
        {"connection": "opsa", "principal_name": "da"},
    ],
)
def test_a_binding_covers_exact_bytes(other):
    """A space, a comment, a letter's case or a byte moved to the next part is another request."""
    asked = {"statement_sql": "SELECT 1", "binds": {}, **WHERE}
    assert binding(**asked) != binding(**(asked | other))


def test_a_binding_does_not_depend_on_order_or_container():
    """Names in another order, or a tuple instead of a list, are the same request."""
    one = binding("s", {"a": 1, "b": (1, 2)}, **WHERE)
    assert one == binding("s", {"b": [1, 2], "a": 1}, **WHERE)


def test_a_binding_has_the_same_bytes_for_ever():
    """Open tickets survive an update of nbgov: the bytes of a binding are fixed."""
    found = binding("SELECT :m", {"m": [1, "x", None]}, **WHERE)
    assert found.hex() == "11bc137e294e7b0380b79548506feb280c1ff67fb5997e28c0f34d15384038cd"


class Month(IntEnum):
    MAY = 5


@pytest.mark.parametrize("value", [Month.MAY, {1}, {"a": 1}, object(), 1j, [object()], [Month.MAY]])
def test_a_value_of_another_type_cannot_be_bound(value):
    """A type that could read differently to the voter and the database is refused."""
    with pytest.raises(RequestInvalid) as caught:
        binding("s", {"x": value}, **WHERE)
    assert caught.value.code == "bind-type"


# ---- what the voter reads


def test_the_voter_reads_names_types_and_values():
    """Bound values are shown one a line, by name, with their types, and with nothing hidden."""
    text = describe_binds({"who": "O'Hara\u202e\n", "month": 1, "ids": [1, 2], "nothing": None})
    assert text.splitlines() == [
        "ids: list = [1, 2]",
        "month: int = 1",
        "nothing: NoneType = None",
        'who: str = "O\'Hara\\u202e\\n"',
    ]


def test_a_long_value_is_cut_and_says_so():
    """Of a long value the voter sees the beginning, the length and a digest of the rest."""
    long = "x" * BIND_CHARS_MAX
    one, other = describe_binds({"x": long + "y"}), describe_binds({"x": long + "z"})
    assert f"… {len(long) + 3} characters, sha256 " in one
    assert len(one) < len(long) + 120
    assert one != other


# ---- opening


def test_a_ticket_holds_what_the_voter_needs():
    """A new ticket shows statement, values, tables and effect, and binds them."""
    found = ticket()
    assert found.binding_digest == binding(
        update().sql,
        {"id": 7},
        connection="ops",
        principal_name=ADA.name,
        policy_digest=b"p" * 32,
    )
    assert (found.ticket, found.requester, found.connection) == ("t1", ADA.name, "ops")
    assert (found.sql, found.binds, found.verb) == (update().sql, "id: int = 7", "UPDATE")
    assert found.tables == ("main.bookings",)
    assert found.expires_at == START + TICKET_LIFETIME
    assert (found.votes, found.state) == ((), ApprovalState.REQUESTED)


@pytest.mark.parametrize("votes_min", [0, -1])
def test_a_quorum_of_nobody_opens_no_ticket(votes_min):
    """A quorum that nobody has to meet is refused, also beside one that somebody has to."""
    with pytest.raises(RuntimeError, match="one vote at least"):
        ticket(quorum(), quorum("second", votes_min=votes_min))


def test_a_decision_without_quorum_opens_no_ticket():
    """A statement that needs no approval has no ticket."""
    decision = Decision(is_permitted=True)
    with pytest.raises(RuntimeError, match="one vote at least"):
        open_ticket(
            update(), decision, ticket="t", binds={}, connection="ops", principal=ADA, now=START
        )


def test_two_quorums_of_one_rule_open_no_ticket():
    """Quorums that could not be told apart are refused."""
    with pytest.raises(RuntimeError, match="same rule"):
        ticket(quorum(roles=["approver"]), quorum(roles=["dba"]))


# ---- votes


@pytest.mark.parametrize(
    "name",
    [
        "ada@acme.test",
        "ADA@acme.test",
        " ada@acme.test",
        "\uff41da@acme.test",
        "ada\uff20acme.test",
    ],
)
def test_nobody_votes_on_their_own_ticket(name):
    """A requester is refused however the name is spelled and whatever the roles are."""
    self = Principal(name, ADA.groups, ADA.roles)
    with pytest.raises(Denied) as caught:
        voted(ticket(), self)
    assert caught.value.code == "self-approval"


@pytest.mark.parametrize(
    ("asked", "is_eligible"),
    [
        ({"roles": ["approver"]}, True),
        ({"roles": [], "names": ["grace@acme.test"]}, True),
        ({"roles": [], "names": ["GRACE@acme.test"]}, False),
        ({"roles": ["dba"], "groups": ["stewards"]}, False),
        ({"roles": []}, False),
    ],
)
def test_only_an_eligible_principal_votes(asked, is_eligible):
    """A name, a group or a role of the quorum makes eligible, and nothing else does."""
    asking = ticket(quorum(**asked))
    if is_eligible:
        assert voted(asking, GRACE).state is ApprovalState.APPROVED
        return
    with pytest.raises(Denied) as caught:
        voted(asking, GRACE)
    assert caught.value.code == "vote-not-permitted"


def test_a_group_makes_eligible():
    """A member of a named group may vote."""
    assert voted(ticket(quorum(roles=[], groups=["stewards"])), HEIDI).state == "approved"


def test_one_principal_has_one_vote():
    """A second vote is refused, also under another spelling of the name."""
    once = voted(ticket(quorum(votes_min=2)), GRACE)
    assert once.state is ApprovalState.REQUESTED
    for again in (GRACE, replace(GRACE, name="Grace@ACME.test")):
        with pytest.raises(Denied) as caught:
            voted(once, again)
        assert caught.value.code == "vote-not-permitted"


def test_every_quorum_has_to_be_met():
    """Two rules that ask for consent are both heard; votes for one do not count for the other."""
    asking = ticket(quorum("first"), quorum("second", roles=["dba"]))
    half = voted(asking, GRACE)
    assert half.state is ApprovalState.REQUESTED
    assert half.votes[0].rules == ("first",)
    assert voted(half, HEIDI).state is ApprovalState.APPROVED


def test_a_voter_counts_in_each_quorum_they_are_eligible_for():
    """One person with both roles meets both quorums of one vote."""
    both = replace(GRACE, roles=frozenset({"approver", "dba"}))
    asking = ticket(quorum("first"), quorum("second", roles=["dba"]))
    found = voted(asking, both)
    assert found.state is ApprovalState.APPROVED
    assert found.votes[0].rules == ("first", "second")


def test_one_refusal_ends_it():
    """After a refusal nobody can approve, and the reason is kept."""
    refused = vote(
        ticket(quorum(votes_min=2)),
        ballot(GRACE, yes=False, reason="wrong table"),
        voter=GRACE,
        now=START,
    )
    assert refused.state is ApprovalState.REFUSED
    assert refused.votes[-1].reason == "wrong table"
    with pytest.raises(IntegrityFailed) as caught:
        voted(refused, replace(HEIDI, roles=frozenset({"approver"})))
    assert caught.value.code == "ticket-conflict"


def test_a_vote_is_kept_under_the_voters_own_name():
    """A ballot that names somebody else counts as the voter's."""
    other = Vote("heidi@acme.test", True, "", START)
    found = vote(ticket(), other, voter=GRACE, now=START)
    assert found.votes[0].voter == GRACE.name


# ---- use


def test_a_consent_is_used_once():
    """What was consumed cannot be consumed again."""
    used = consume(voted(ticket(), GRACE), START)
    assert used.state is ApprovalState.CONSUMED
    with pytest.raises(IntegrityFailed, match="cannot be used"):
        consume(used, START)


def test_an_expired_approval_clears_nothing():
    """From the moment it expires, an approval can be neither used nor voted on nor cancelled."""
    approved = voted(ticket(), GRACE)
    end = approved.expires_at
    assert consume(approved, end - timedelta(microseconds=1)).state == "consumed"
    for step in (
        lambda: consume(approved, end),
        lambda: voted(ticket(), GRACE, now=end),
        lambda: cancel(approved, ADA, now=end),
    ):
        with pytest.raises(IntegrityFailed) as caught:
            step()
        assert caught.value.code == "ticket-conflict"
        assert "expired" in caught.value.why


def test_a_clock_set_back_does_not_prolong_a_ticket():
    """Time runs from the latest moment that the ticket has seen, not from the clock alone."""
    asking = ticket(quorum(votes_min=2))
    late = voted(asking, GRACE, now=asking.expires_at - HOUR)
    found = voted(late, replace(HEIDI, roles=frozenset({"approver"})), now=START)
    assert found.votes[1].at == found.votes[0].at
    assert expire(ticket(now=START + 2 * TICKET_LIFETIME), START).state == "requested"


def test_expiring_changes_live_tickets_only():
    """A ticket that has ended stays as it ended, however late it is."""
    late = START + 2 * TICKET_LIFETIME
    approved = voted(ticket(), GRACE)
    assert expire(approved, START) is approved
    assert expire(approved, late).state is ApprovalState.EXPIRED
    refused = voted(ticket(), GRACE, yes=False)
    assert expire(refused, late) is refused


def test_only_the_requester_cancels():
    """Somebody else, even under a similar name, cannot take a request back."""
    assert cancel(ticket(), ADA, now=START).state is ApprovalState.CANCELLED
    assert cancel(voted(ticket(), GRACE), ADA, now=START).state is ApprovalState.CANCELLED
    for other in (GRACE, replace(ADA, name="Ada@acme.test")):
        with pytest.raises(Denied) as caught:
            cancel(ticket(), other, now=START)
        assert caught.value.code == "vote-not-permitted"


def test_what_has_ended_cannot_be_cancelled():
    """A consumed ticket stays consumed."""
    with pytest.raises(IntegrityFailed):
        cancel(consume(voted(ticket(), GRACE), START), ADA, now=START)


FORGED_SELF = Vote(ADA.name, True, "", START, rules=("two-eyes",))
FORGED_DOUBLE = (
    Vote(GRACE.name, True, "", START, rules=("two-eyes",)),
    Vote("GRACE@acme.test", True, "", START, rules=("two-eyes",)),
)


@pytest.mark.parametrize(
    "forged",
    [
        replace(ticket(), state=ApprovalState.APPROVED),
        replace(ticket(), state=ApprovalState.APPROVED, quorums=()),
        replace(ticket(), state=ApprovalState.APPROVED, votes=(FORGED_SELF,)),
        replace(ticket(quorum(votes_min=2)), state=ApprovalState.APPROVED, votes=FORGED_DOUBLE),
        replace(ticket(), state=ApprovalState.APPROVED, quorums=(quorum(votes_min=0),)),
        replace(voted(ticket(), GRACE, yes=False), state=ApprovalState.APPROVED),
    ],
    ids=["no votes", "no quorums", "own vote", "double vote", "quorum of zero", "refusal"],
)
def test_a_state_written_into_the_store_clears_nothing(forged):
    """Votes are counted again before use, so that an edited state is not enough."""
    with pytest.raises(IntegrityFailed):
        consume(forged, START)


def test_a_step_changes_the_state_and_adds_votes_only():
    """A changed statement, or a vote that is gone, is no step of the same ticket."""
    before = voted(ticket(quorum(votes_min=2)), GRACE)
    after = voted(before, replace(HEIDI, roles=frozenset({"approver"})))
    assert is_step(before, after)
    assert is_step(before, before)
    assert not is_step(after, before)
    assert not is_step(before, replace(after, sql="DROP TABLE bookings"))
    assert not is_step(before, replace(after, votes=after.votes[::-1]))


def test_a_conflict_says_how_the_ticket_stands():
    """The error of a conflict names ticket and state, and shows no statement and no value."""
    found = conflict(ticket(binds={"id": "secret"}), START)
    assert "t1" in found.what
    assert "requested" in found.why
    assert "secret" not in str(found)
    assert "UPDATE" not in str(found)


# ---- every sequence of steps, against a model

BOTH = Principal("ivan@acme.test", groups=frozenset({"stewards"}), roles=frozenset({"approver"}))
VOTERS = [ADA, replace(ADA, name="ADA@ACME.TEST"), GRACE, replace(GRACE, name="Grace@acme.test")]
VOTERS += [HEIDI, BOTH, BOTH, MALLORY]
FIRST, SECOND = "two approvers", "one from data"
QUORUMS = (quorum(FIRST, votes_min=2), quorum(SECOND, roles=["dba"], groups=["stewards"]))


class Steps(RuleBasedStateMachine):
    """Runs the functions of a module beside a model that was written for this test."""

    module = genuine

    def __init__(self):
        super().__init__()
        self.now = self.seen = START
        self.real = ticket(*QUORUMS, module=self.module)
        self.state = "requested"
        self.voters = []
        self.counts = {FIRST: 0, SECOND: 0}

    @property
    def is_over(self):
        return max(self.now, self.seen) >= START + TICKET_LIFETIME

    def takes(self, step, *, error):
        """Take a step; it fails with just this code, or not at all if there is none."""
        code = None
        try:
            self.real = step()
        except (Denied, IntegrityFailed) as caught:
            code = caught.code
        assert code == error
        return code is None

    def error_of_vote(self, voter):
        person = voter.name.lower()
        if person == ADA.name:
            return "self-approval"
        if voter is MALLORY or person in self.voters:
            return "vote-not-permitted"
        return None if self.state == "requested" and not self.is_over else "ticket-conflict"

    def hear(self, voter, *, yes):
        paper = ballot(voter, yes=yes, at=self.now)
        if self.takes(
            lambda: self.module.vote(self.real, paper, voter=voter, now=self.now),
            error=self.error_of_vote(voter),
        ):
            self.seen = max(self.seen, self.now)
            self.voters.append(voter.name.lower())
            self.counts[FIRST] += "approver" in voter.roles
            self.counts[SECOND] += voter in {HEIDI, BOTH}
            if not yes:
                self.state = "refused"
            elif self.counts[FIRST] >= 2 and self.counts[SECOND] >= 1:
                self.state = "approved"

    @rule(voter=st.sampled_from(VOTERS), yes=st.sampled_from([True, True, True, False]))
    def cast(self, voter, yes):
        self.hear(voter, yes=yes)

    @rule()
    def agree(self):
        self.hear(BOTH, yes=True)
        self.hear(GRACE, yes=True)

    @rule()
    def use(self):
        error = None if self.state == "approved" and not self.is_over else "ticket-conflict"
        if self.takes(lambda: self.module.consume(self.real, self.now), error=error):
            self.state = "consumed"

    @rule(principal=st.sampled_from([GRACE, VOTERS[1], MALLORY, HEIDI, GRACE, ADA]))
    def take_back(self, principal):
        error = "vote-not-permitted"
        if principal is ADA:
            is_live = self.state in {"requested", "approved"} and not self.is_over
            error = None if is_live else "ticket-conflict"
        if self.takes(lambda: self.module.cancel(self.real, principal, now=self.now), error=error):
            self.state = "cancelled"

    @rule()
    def let_expire(self):
        self.real = self.module.expire(self.real, self.now)
        if self.state in {"requested", "approved"} and self.is_over:
            self.state = "expired"

    @rule(step=st.sampled_from([-30 * HOUR, HOUR, 23 * HOUR, 24 * HOUR]))
    def move_the_clock(self, step):
        self.now += step

    @invariant()
    def agrees(self):
        assert self.real.state == self.state
        assert [v.voter.lower() for v in self.real.votes] == self.voters


def test_every_sequence_of_steps_follows_the_model():
    """Votes, uses, cancellations and clocks in any order end where the model ends."""
    run_state_machine_as_test(Steps, settings=settings(max_examples=100, stateful_step_count=25))


MUTANTS = {
    "four eyes off": ("if folded(voter.name) == folded(approval.requester):", "if False:"),
    "names by exact spelling": (".casefold()", ""),
    "several votes each": ("if folded(voter.name) in {", "if folded(voter.name) in {} and {"),
    "everybody is eligible": ("if is_eligible(voter, q)", ""),
    "votes at any state": ("if approval.state is not ApprovalState.REQUESTED or", "if"),
    "votes at any time": (
        "approval.state is not ApprovalState.REQUESTED or has_run_out(approval, now)",
        "approval.state is not ApprovalState.REQUESTED",
    ),
    "refusals do not count": ("if not ballot.is_approval:", "if False:"),
    "one quorum is enough": ("and all(enough)", "and any(enough)"),
    "one vote is enough": (">= max(quorum.votes_min, 1)", ">= 1"),
    "use at any state": ("approval.state is ApprovalState.APPROVED and has_q", "has_q"),
    "use at any time": ("if not is_approved or has_run_out(approval, now):", "if not is_approved:"),
    "use for ever": ("return replace(approval, state=ApprovalState.CONSUMED)", "return approval"),
    "anybody cancels": ("if principal.name != approval.requester:", "if False:"),
    "cancel at any state": ("if approval.state not in LIVE or has", "if has"),
    "expire at any state": ("if approval.state in LIVE and has", "if has"),
    "the clock alone counts": ("return max([now, approval.requested_at, *", "return min([now, *"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_missing_rule(name):
    """Each rule of approvals that is switched off makes the sequences above part from the model."""
    old, new = MUTANTS[name]
    source = Path(genuine.__file__).read_text(encoding="utf-8")
    assert old in source
    mutant = types.ModuleType(name)
    exec(compile(source.replace(old, new), name, "exec"), mutant.__dict__)
    steps = type("Mutated", (Steps,), {"module": mutant})
    quick = settings(
        max_examples=2_000,
        stateful_step_count=12,
        phases=[Phase.generate],
        derandomize=True,
        report_multiple_bugs=False,
        database=None,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(steps, settings=quick)
