"""A promotion is held unless everything about its training data is known and as it was released."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.approval import binding as statement_binding
from nbgov.core.approval import cancel, expire, vote
from nbgov.core.drift.report import DriftReport
from nbgov.core.promotion import about, choose_basis, lineage_digest, weigh
from nbgov.core.promotion.binding import binding
from nbgov.core.promotion.consent import LIFETIME, held, open_ticket, release, released
from nbgov.core.promotion.judgement import (
    FIRST,
    LOST_BASELINE,
    NO_BASELINE,
    NO_FILES,
    NO_INPUT,
    NO_RUN,
    NOT_COMPARED,
    OTHER_MODEL,
)
from nbgov.core.promotion.values import Basis, Candidate
from nbgov.errors import Denied
from nbgov.model import (
    ApprovalState,
    DatasetVersion,
    Delivery,
    DriftTerms,
    ModelVersion,
    Principal,
    Release,
    Run,
    RunInput,
    Vote,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = DriftTerms(by_roles=("owner",))
GRACE = Principal("grace", roles=frozenset({"owner"}))
HEIDI = Principal("heidi", roles=frozenset({"owner"}))


def version(version_id="v1", name="wh.flights"):
    return DatasetVersion(
        version_id=version_id, content_id=f"content-{version_id}", schema_id="s", name=name,
        connection="wh", dialect="duckdb", tables=(), statement="", statement_mac="", binds_mac="",
        binds=(), policy="", rows=1, columns=(), masked={},
    )  # fmt: skip


def delivery(version_id="v1", read_id="read-1", principal="ada"):
    return Delivery(read_id, version_id, "wh.flights", principal, "permit", (), 1, "", NOW)


def trained(run_id="run-2", version_id="v1", **changes):
    one = RunInput("wh.flights", version_id, "training", "explicit", read_id="read-1")
    run = Run(run_id, run_id, (one,), {"depth": "3"}, {}, code={"commit": "c0ffee"})
    return replace(run, **changes)


def candidate(**changes):
    whole = Candidate(
        ModelVersion("churn", "2", "run-2", "d2"), trained(), {"v1": version()}, (delivery(),)
    )
    return replace(whole, **changes)


def report(status="stable", *holds):
    return DriftReport("before", "now", None, (), "Verdict.", status, holds)


def kept(**changes):
    one = Release(
        model="churn", version="1", run_id="run-1", model_digest="d1", lineage_digest="l1",
        inputs=("wh.flights",), wish="alias champion", account="", ticket="", at=NOW,
    )  # fmt: skip
    return replace(one, **changes)


BASIS = Basis("run-1", "d1", "release")


def choose(one=None, releases=(), *, champion=None, tagged="", earlier="", terms=TERMS):
    return choose_basis(
        one or candidate(), terms, releases, champion=champion, tagged=tagged, earlier=earlier
    )


# ---------------------------------------------------------------- digests


def test_the_lineage_digest_is_frozen():
    """A lineage that was consented to yesterday has the same digest today."""
    digest = lineage_digest(trained(), {"v1": version()})
    assert digest.hex() == "bb0344abb42f96ff6d240ca71fd4c356892c274f93289cf412368172320585ff"


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "run-3"},
        {"inputs": ()},
        {"inputs": (RunInput("wh.flights", "v2", "training", "explicit"),)},
        {"inputs": (RunInput("wh.flights", "v1", "validation", "explicit"),)},
        {"inputs": (RunInput("wh.flights", "v1", "training", "in_run"),)},
        {"inputs": (RunInput("wh.others", "v1", "training", "explicit"),)},
        {"ungoverned": ("DataFrame of 3 columns",)},
        {"params": {"depth": "4"}},
        {"code": {"commit": "decaf"}},
        {"models": {"models:/embedder/3": "ab"}},
    ],
)
def test_what_made_a_model_changes_its_lineage_digest(change):
    """Inputs, parameters, code and upstream models all count, and so does the run itself."""
    versions = {"v1": version()}
    assert lineage_digest(trained(**change), versions) != lineage_digest(trained(), versions)


def test_the_content_behind_a_version_counts():
    """A store that answers with other rows under the same id is another lineage."""
    other = {"v1": replace(version(), content_id="forged")}
    assert lineage_digest(trained(), other) != lineage_digest(trained(), {"v1": version()})


@pytest.mark.parametrize(
    "change",
    [
        {"name": "retrained"}, {"metrics": {"auc": 0.9}}, {"packages": {"numpy": "2"}},
        {"environment": {"cpu": "x"}}, {"importance": {"a": 1.0}}, {"started_at": NOW},
    ],
)  # fmt: skip
def test_what_may_change_afterwards_does_not_count(change):
    """A metric that is logged a day later takes back no consent."""
    versions = {"v1": version()}
    assert lineage_digest(trained(**change), versions) == lineage_digest(trained(), versions)


@given(st.permutations([RunInput("n", f"v{i}", "training", "explicit") for i in range(4)]))
def test_the_order_of_inputs_does_not_count(inputs):
    """A run store may list inputs in any order."""
    first = trained(inputs=tuple(sorted(inputs, key=lambda one: one.version_id)))
    assert lineage_digest(trained(inputs=tuple(inputs)), {}) == lineage_digest(first, {})


@given(st.tuples(*[st.text(max_size=3)] * 4), st.tuples(*[st.text(max_size=3)] * 4))
def test_a_binding_is_to_exactly_one_promotion(one, other):
    """Two promotions share a binding only if they share every part of it."""
    made = [binding(ModelVersion(a, b, "", c), b"l", d) for a, b, c, d in (one, other)]
    assert (made[0] == made[1]) == (one == other)


def test_a_consent_to_a_statement_is_no_consent_to_a_promotion():
    """The bindings of both come from different domains."""
    model = ModelVersion("", "", "", "")
    where = {"connection": "", "requester": "", "conditions": b"", "catalog": b""}
    assert binding(model, b"", "") != statement_binding("", {}, **where)


# ---------------------------------------------------------------- the basis


def test_the_first_release_has_nothing_to_be_compared_with():
    """Neither a tag nor an unreleased run is a baseline."""
    assert choose() is None
    assert choose(tagged="run-1") is None
    assert choose(candidate(run=None), [kept()]) is None


def test_the_champion_comes_before_the_last_release():
    """The order is the policy's: here tag, champion, last."""
    champion = ModelVersion("churn", "1", "run-0", "d0", aliases=("champion",))
    assert choose(releases=[kept()], champion=champion) == Basis("run-0", "d0", "champion")
    last = replace(TERMS, baseline=("last", "champion"))
    assert choose(releases=[kept()], champion=champion, terms=last) == BASIS


def test_a_tagged_run_counts_if_it_was_released():
    """Whoever writes the tag cannot make up a baseline, only choose among releases."""
    older = kept(run_id="run-0", model_digest="d0")
    assert choose(releases=[kept(), older], tagged="run-0") == Basis("run-0", "d0", "tag")
    assert choose(releases=[kept(), older], tagged="run-9") == BASIS


def test_a_tagged_release_of_another_model_does_not_count():
    """Else drifted data, once released as the first of some other name, would be a baseline."""
    side = kept(model="side", run_id="run-7", model_digest="d7", inputs=("wh.other",))
    assert choose(releases=[side, kept()], tagged="run-7") == BASIS


def test_deleting_the_champion_leaves_the_last_release():
    """Our own record outlives aliases, versions and models, whatever the policy's order says."""
    assert choose(releases=[kept(), kept(run_id="run-0")]) == BASIS
    assert choose(releases=[kept()], terms=replace(TERMS, baseline=("champion",))) == BASIS


def test_another_name_for_the_model_resets_nothing():
    """The last release of any model with the same inputs is the baseline then."""
    assert choose(releases=[kept(model="churn-old")]) == BASIS
    assert choose(releases=[kept(model="pricing", inputs=("wh.prices",))]) is None


def test_what_was_released_as_it_is_may_come_back():
    """The same version with the same files and lineage is compared with itself."""
    one = candidate()
    lineage = lineage_digest(one.run, one.versions).hex()
    same = kept(version="2", model_digest="d2", lineage_digest=lineage, ticket="t1")
    assert choose(releases=[kept(), same]) == Basis("run-2", "d2", "itself", "t1")
    for change in (
        {"version": "3"},
        {"model_digest": "d9"},
        {"lineage_digest": "l9"},
        {"model": "x"},
    ):
        assert choose(releases=[kept(), replace(same, **change)]).origin == "release"
    bare = replace(one, model=replace(one.model, digest=""))
    assert choose(bare, [kept(), replace(same, model_digest="")]).origin == "release"


# ---------------------------------------------------------------- the judgement


def test_known_and_undrifted_data_is_open():
    """Nothing holds what is known in every part and did not drift."""
    found = weigh(candidate(), BASIS, report(), TERMS)
    assert (found.status, found.holds, found.drift) == ("open", (), "stable")
    assert (found.run_id, found.baseline, found.model_digest) == ("run-2", "run-1", "d2")
    assert found.reference == "models:/churn/2"


def test_without_a_release_the_run_before_is_the_baseline():
    """A run that nobody released counts only where there is no release at all."""
    assert choose(earlier="run-0") == Basis("run-0", "", "run")
    assert choose(releases=[kept()], earlier="run-0") == BASIS
    assert choose(releases=[kept(model="other")], earlier="run-0") == BASIS


def test_a_first_release_is_held_where_the_policy_says_so():
    """That a run stands before it makes no release of it."""
    terms = replace(TERMS, is_first_held=True)
    assert weigh(candidate(), Basis("run-0", "", "run"), report(), terms).status == "held"
    assert weigh(candidate(), Basis("run-0", "", "run"), report(), TERMS).status == "open"


def test_a_first_version_is_open_unless_the_policy_holds_it():
    """A governed, fresh first version passes; a stricter project asks a person."""
    found = weigh(candidate(), None, report(), TERMS)
    assert (found.status, found.drift, found.verdict, found.baseline) == (
        "open",
        "baseline",
        FIRST,
        "",
    )
    strict = weigh(candidate(), None, report(), replace(TERMS, is_first_held=True))
    assert (strict.status, strict.holds) == ("held", (NO_BASELINE,))


def test_what_the_comparison_holds_is_held():
    """The reasons of the report are the reasons of the promotion."""
    found = weigh(candidate(), BASIS, report("drifted", "unit: x", "unit: x"), TERMS)
    assert (found.status, found.holds, found.verdict) == ("held", ("unit: x",), "Verdict.")


def test_an_unknown_comparison_is_held_though_it_gives_no_reason():
    """Unknown is never a permission."""
    assert weigh(candidate(), BASIS, report("unknown"), TERMS).holds == (NOT_COMPARED,)
    assert weigh(candidate(), None, report("unknown"), TERMS).holds == (NOT_COMPARED,)


def test_a_lost_baseline_is_held():
    """A release whose run was deleted cannot be compared with, so nothing is known."""
    found = weigh(candidate(), BASIS, None, TERMS)
    assert (found.status, found.holds, found.drift) == ("held", (LOST_BASELINE,), "unknown")
    assert found.verdict == LOST_BASELINE


def test_another_model_of_the_released_run_is_held():
    """A run equals itself, so the files have to be the released ones."""
    own = Basis("run-2", "d2", "champion")
    assert weigh(candidate(), own, report(), TERMS).status == "open"
    other = weigh(candidate(), replace(own, model_digest="d1"), report(), TERMS)
    assert other.holds == (OTHER_MODEL,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": ModelVersion("churn", "2", "run-2", "")}, NO_FILES),
        ({"run": trained(inputs=())}, NO_INPUT),
        ({"run": trained(ungoverned=("ndarray of 3 columns",))}, "ungoverned input: ndarray of 3 columns"),
        ({"versions": {}}, "not in nbgov's dataset store"),
        ({"deliveries": ()}, "delivered to nobody"),
        ({"deliveries": (delivery(read_id="read-9"),)}, "delivered another version, or none"),
        ({"deliveries": (delivery(), delivery("v9", "read-1"))}, "delivered another version, or none"),
        ({"run": trained(inputs=(RunInput("wh.flights", "v1", "session", "session"),))}, "nobody knows whether"),
        ({"run": trained(inputs=(RunInput("wh.flights", "v1", "read", "in_run"),))}, "nobody knows whether"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_held(change, says):
    """A claim of the run store that nbgov's own store does not know is a reason to hold."""
    found = weigh(candidate(**change), BASIS, report(), TERMS)
    assert found.status == "held"
    assert says in found.holds[0]


def test_a_version_without_a_run_is_held():
    """Nobody can say what it was trained on, and it has no lineage to be bound to."""
    found = weigh(candidate(run=None), None, None, TERMS)
    assert (found.holds, found.verdict, found.lineage_digest, found.run_id) == (
        (NO_RUN,),
        NO_RUN,
        "",
        "",
    )
    assert found.excluded == ("ada",)


def test_an_input_that_names_no_read_is_known_by_its_version():
    """The version's own deliveries vouch for it, and all who got it are its trainers."""
    unnamed = trained(inputs=(RunInput("wh.flights", "v1", "training", "autolog"),))
    reads = (delivery(), delivery(read_id="read-2", principal="bob"), delivery("v9", "r", "eve"))
    found = weigh(candidate(run=unnamed, deliveries=reads), BASIS, report(), TERMS)
    assert (found.status, found.excluded) == ("open", ("ada", "bob"))


def test_only_the_reads_that_the_run_names_make_trainers():
    """Whoever was shown the same data some other time may vote."""
    reads = (delivery(), delivery(read_id="read-2", principal="bob"))
    assert weigh(candidate(deliveries=reads), BASIS, report(), TERMS).excluded == ("ada",)


# ---------------------------------------------------------------- consent


def drifted(**changes):
    return weigh(candidate(**changes), BASIS, report("drifted", "unit: x"), TERMS)


def asked(promotion=None, terms=TERMS):
    return open_ticket(promotion or drifted(), terms, ticket="t1", requester="ada", now=NOW)


def approved(ticket, *voters):
    for voter in voters:
        ticket = vote(ticket, Vote(voter.name, True, "", NOW), voter=voter, now=NOW)
    return ticket


def test_a_consent_releases_what_it_is_bound_to():
    """A second person's yes turns held into approved, with all reasons still there."""
    ticket = approved(asked(), GRACE)
    found = released(drifted(), ticket, TERMS, NOW)
    assert (found.status, found.ticket, found.holds) == ("approved", "t1", ("unit: x",))
    assert found.to_dict()["approval"] == {
        "ticket": "t1", "state": "approved", "requester": "ada", "voters": ["grace"],
    }  # fmt: skip


def test_the_voter_sees_all_that_the_consent_is_bound_to():
    """Version, files, lineage, baseline and every reason stand in the ticket."""
    promotion = drifted()
    text = asked(promotion).sql
    parts = ("models:/churn/2", "d2", promotion.lineage_digest, "run-2", "run-1", "unit: x")
    assert all(part in text for part in parts)


@pytest.mark.parametrize(
    "other",
    [
        drifted(model=ModelVersion("churn", "3", "run-2", "d2")),
        drifted(model=ModelVersion("pricing", "2", "run-2", "d2")),
        drifted(model=ModelVersion("churn", "2", "run-2", "d3")),
        drifted(run=trained(params={"depth": "4"})),
        weigh(candidate(), Basis("run-9", "d9", "champion"), report("drifted", "unit: x"), TERMS),
    ],
)
def test_a_consent_releases_nothing_else(other):
    """Another version, name, file, lineage or baseline needs a consent of its own."""
    assert released(other, approved(asked(), GRACE), TERMS, NOW) == other


def test_no_ticket_and_an_open_ticket_release_nothing():
    """Without a vote it stays held; the ticket is shown."""
    assert released(drifted(), None, TERMS, NOW) == drifted()
    waiting = released(drifted(), asked(), TERMS, NOW)
    assert (waiting.status, waiting.approval.state) == ("held", ApprovalState.REQUESTED)


def test_a_vote_of_whoever_got_the_training_data_does_not_count():
    """Though the ticket was approved some other way, the votes are counted again without theirs."""
    reads = (delivery(principal="Grace"),)
    theirs = drifted(deliveries=reads)
    ticket = approved(asked(theirs), GRACE)
    assert ticket.state is ApprovalState.APPROVED
    assert released(theirs, ticket, TERMS, NOW).status == "held"


def test_a_stricter_quorum_takes_a_consent_back():
    """What the policy asks for now has to be met."""
    ticket = approved(asked(), GRACE)
    strict = replace(TERMS, votes=2)
    assert released(drifted(), ticket, strict, NOW).status == "held"
    both = approved(asked(terms=strict), GRACE, HEIDI)
    assert released(drifted(), both, strict, NOW).status == "approved"


def test_a_consent_runs_out():
    """After its time it releases nothing, whatever state the store still shows."""
    ticket = approved(asked(), GRACE)
    assert (
        released(drifted(), ticket, TERMS, NOW + LIFETIME - timedelta(seconds=1)).status
        == "approved"
    )
    assert released(drifted(), ticket, TERMS, NOW + LIFETIME).status == "held"
    assert released(drifted(), expire(ticket, NOW + LIFETIME), TERMS, NOW).status == "held"


@pytest.mark.parametrize("state", [s for s in ApprovalState if s is not ApprovalState.APPROVED])
def test_no_other_state_releases_anything(state):
    """A ticket that was denied, cancelled, revoked or used is none."""
    ticket = replace(approved(asked(), GRACE), state=state)
    assert released(drifted(), ticket, TERMS, NOW).status == "held"


def test_a_state_that_was_edited_in_the_store_releases_nothing():
    """Votes are counted, the state is not believed."""
    assert (
        released(drifted(), replace(asked(), state=ApprovalState.APPROVED), TERMS, NOW).status
        == "held"
    )


def test_an_open_promotion_needs_no_ticket():
    """Asking for what is not held is refused, and a ticket changes nothing about it."""
    found = weigh(candidate(), BASIS, report(), TERMS)
    with pytest.raises(Denied, match="needs no approval"):
        asked(found)
    ticket = approved(asked(), GRACE)
    assert released(found, ticket, TERMS, NOW).status == "open"


def test_nothing_can_be_consented_to_that_has_no_files():
    """A consent that is bound to no files would hold for any."""
    bare = drifted(model=ModelVersion("churn", "2", "run-2", ""))
    with pytest.raises(Denied, match="Nobody can consent"):
        asked(bare)
    ticket = replace(approved(asked(), GRACE), binding_digest=bytes.fromhex(bare.binding))
    assert released(bare, ticket, TERMS, NOW).status == "held"


def test_a_policy_that_names_nobody_lets_nobody_consent():
    """Silence of the policy is no quorum of zero."""
    with pytest.raises(Denied, match="Nobody may approve"):
        asked(terms=DriftTerms())


def test_what_was_released_by_consent_stays_approved_as_it_is():
    """A rollback to a consented version needs no second consent, and says which one it rests on."""
    before = Basis("run-2", "d2", "itself", "t1")
    found = weigh(candidate(run=trained(ungoverned=("x",))), before, report("unknown", "u"), TERMS)
    assert (found.status, found.ticket) == ("approved", "t1")
    assert weigh(candidate(), before, report(), TERMS).status == "open"
    without = replace(before, ticket="")
    assert weigh(candidate(), without, report("stable", "stale data: x"), TERMS).status == "held"


def test_a_release_states_what_passed_and_by_which_consent():
    """The record of an approved promotion names the ticket; that of an open one names none."""
    passed = released(drifted(), approved(asked(), GRACE), TERMS, NOW)
    made = release(passed, ("wh.flights",), wish="alias champion", account="bob", at=NOW)
    assert (made.version, made.run_id, made.ticket, made.wish) == (
        "2",
        "run-2",
        "t1",
        "alias champion",
    )
    assert made.lineage_digest == passed.lineage_digest
    clear = weigh(candidate(), BASIS, report(), TERMS)
    assert release(clear, (), wish="w", account="", at=NOW).ticket == ""


def test_a_held_promotion_is_refused_with_reason_and_next_step():
    """The error says what, why, how much more, and which command comes next."""
    two = weigh(candidate(), BASIS, report("drifted", "unit: x", "rows: y"), TERMS)
    with pytest.raises(Denied) as caught:
        release(two, (), wish="alias champion", account="", at=NOW)
    text = str(caught.value)
    assert "models:/churn/2 may not be promoted (alias champion)" in text
    assert "unit: x And 1 more." in text
    assert "nbgov promotion request models:/churn/2" in text
    waiting = released(
        two, open_ticket(two, TERMS, ticket="t", requester="ada", now=NOW), TERMS, NOW
    )
    assert "nbgov promotion approve models:/churn/2" in str(held(waiting, "stage Production"))


def test_the_tickets_of_a_model_are_found_among_others():
    """By model, by version, or all; never a ticket of a statement."""
    mine, other = asked(), replace(asked(), connection="pricing", tables=("models:/pricing/2",))
    query = replace(asked(), verb="UPDATE")
    every = (query, mine, other)
    assert about(every) == (mine, other)
    assert about(every, "churn") == (mine,)
    assert about(every, "churn", "2") == (mine,)
    assert about(every, "churn", "1") == ()


def test_the_requester_can_take_a_request_back():
    """A promotion's ticket is a ticket like any other."""
    taken = cancel(asked(), Principal("ada"), now=NOW)
    assert released(drifted(), taken, TERMS, NOW).status == "held"
