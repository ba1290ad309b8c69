"""Custody bundles: what a statement says follows from the lineage, and every lie about it shows."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.custody import PAYLOAD_TYPE, canonical, examine, write_statement
from nbgov.core.lineage import Lineage
from nbgov.model import Vote
from tests.core.lineages import AT, approval, lineages, proved, recorded, version, whole

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "custody.json").read_text())


def written(lineage: Lineage, entries=None) -> bytes:
    known, lines = recorded(lineage)
    proofs = proved(lines) if entries is None else ()
    held = lines if entries is None else entries
    return write_statement(known, held, made_at=AT, maker="nbgov 0", proofs=proofs)


def failures(payload: bytes) -> dict[str, str]:
    _, checks = examine(payload)
    return {one.name: one.told for one in checks if one.outcome == "fails"}


def unchecked(payload: bytes) -> list[str]:
    _, checks = examine(payload)
    return [f"{one.name}: {one.told}" for one in checks if one.outcome == "unchecked"]


# ---- what is written adds up


@settings(max_examples=25, deadline=None)
@given(lineages())
def test_what_is_written_adds_up(lineage):
    """The statement on any lineage is read back as it was meant, and no check fails."""
    payload = written(lineage)
    custody, checks = examine(payload)
    assert [one for one in checks if one.outcome == "fails"] == []
    assert custody.lineage == recorded(lineage)[0]
    assert (custody.made_at, custody.maker) == (AT, "nbgov 0")


def test_a_whole_lineage_leaves_little_unchecked():
    """With everything at hand, only ungoverned inputs are not checked."""
    assert unchecked(written(whole())) == ["inputs: ungoverned: DataFrame of 3 columns"]
    known, lines = recorded(whole())
    bare = write_statement(known, lines, made_at=AT, maker="nbgov 0")
    assert "inclusion proofs: the bundle holds none" in unchecked(bare)


def test_the_subject_is_the_model_with_the_digest_over_its_files():
    """in-toto tools find the model version by its name and its dirHash."""
    statement = json.loads(written(whole()))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": "models:/delays/3", "digest": {"dirHash": whole().model.digest}}
    ]
    assert PAYLOAD_TYPE == "application/vnd.in-toto+json"


def test_every_material_is_named_with_its_digest():
    """Versions, statements, policy, tickets, commit, upstream models and packages are materials."""
    found = [one["uri"] for one in json.loads(written(whole()))["predicate"]["materials"]]
    train, weather = whole().current
    assert found == [
        f"urn:nbgov:dataset:{train.version_id}",
        "urn:nbgov:statement",
        f"urn:nbgov:dataset:{weather.version_id}",
        "urn:nbgov:statement",
        "urn:nbgov:policy",
        "urn:nbgov:policy:4c1d9e0",
        "urn:nbgov:ticket:T-7K2",
        "urn:nbgov:code",
        "models:/embedder/3",
        "urn:nbgov:packages",
    ]


def test_no_value_is_in_a_bundle():
    """Sentences and figures of the drift report, profiles and reasons of votes stay outside."""
    lineage = whole()
    vote = Vote("grace@acme.test", is_approval=True, reason="", at=AT)
    lineage = replace(lineage, approvals=(replace(lineage.approvals[0], votes=(vote,)),))
    profile = {"columns": [{"name": "distance", "labels": [["SECRET", 3]]}]}
    versions = {key: replace(one, profile=profile) for key, one in lineage.versions.items()}
    payload = written(replace(lineage, versions=versions)).decode()
    assert "SECRET" not in payload
    assert "1.6 times" not in payload
    assert "shape" not in payload
    drift = json.loads(payload)["predicate"]["drift"]
    assert drift == {
        "baseline": "b" * 32,
        "status": "drifted",
        "is_same_data": False,
        "kinds": ["unit", "rows", "statement"],
        "is_held": True,
    }


def test_a_run_that_was_not_compared_says_nothing_of_drift():
    """Without a comparison the bundle does not claim that nothing drifted."""
    bare = replace(whole(), report=None, baseline=None)
    assert json.loads(written(bare))["predicate"]["drift"] is None
    first = replace(whole(), baseline=None)
    assert json.loads(written(first))["predicate"]["drift"]["baseline"] is None


# ---- what was changed is found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 255))
def test_a_flipped_byte_is_never_the_same_statement(place, mask):
    """Whatever byte is changed, the payload is refused or states something else, canonically."""
    payload = written(whole())
    place %= len(payload)
    changed = payload[:place] + bytes([payload[place] ^ mask]) + payload[place + 1 :]
    custody, checks = examine(changed)
    if custody is None:
        assert [one.outcome for one in checks] == ["fails"]
    else:
        assert canonical(json.loads(changed)) == changed


def changed(edit) -> bytes:
    statement = json.loads(written(whole()))
    edit(statement)
    return canonical(statement)


def lineage_of(statement) -> dict:
    return statement["predicate"]["lineage"]


def first_version(statement) -> dict:
    return next(iter(lineage_of(statement)["versions"].values()))


def second_entry(statement, old, new) -> None:
    entry = statement["predicate"]["audit"]["entries"][1]
    assert old in entry["line"]
    entry["line"] = entry["line"].replace(old, new)


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (lambda s: s["subject"][0].update(name="models:/delays/4"), "subject"),
        (lambda s: s["subject"][0]["digest"].update(dirHash="0" * 64), "subject"),
        (lambda s: s["subject"].append({}), "subject"),
        (lambda s: lineage_of(s)["model"].update(digest=""), "subject"),
        (lambda s: lineage_of(s)["model"].update(run_id="another"), "subject"),
        (lambda s: first_version(s).update(rows=121), "versions"),
        (lambda s: first_version(s).update(statement="SELECT 3"), "versions"),
        (lambda s: first_version(s).update(policy="00" * 32), "versions"),
        (lambda s: first_version(s).update(rows="120"), "lineage"),
        (lambda s: lineage_of(s)["run"]["params"].update(depth="6"), "lineage"),
        (lambda s: lineage_of(s)["run"]["packages"].update(numpy="1"), "lineage"),
        (lambda s: lineage_of(s).update(baseline=lineage_of(s)["run"]), "lineage"),
        (lambda s: s["predicate"].update(lineage_digest="00" * 32), "lineage"),
        (lambda s: s["predicate"]["materials"].pop(), "lineage"),
        (lambda s: lineage_of(s)["deliveries"][0].update(principal="bo"), "audit entries"),
        (lambda s: lineage_of(s)["deliveries"][0].update(receipt="o/1#0"), "audit entries"),
        (lambda s: lineage_of(s)["deliveries"][0].update(version_id="0" * 32), "audit entries"),
        (lambda s: s["predicate"]["audit"]["entries"].pop(), "audit entries"),
        (lambda s: s["predicate"]["audit"]["entries"].pop(1), "audit entries"),
        (lambda s: second_entry(s, "ada@", "bo@"), "audit entries"),
        (lambda s: second_entry(s, '"v":1', '"v":2'), "audit entries"),
        (lambda s: s["predicate"]["audit"]["entries"].pop(0), "approvals"),
        (lambda s: lineage_of(s)["approvals"].pop(), "approvals"),
        (lambda s: lineage_of(s)["approvals"][0].update(state="requested"), "approvals"),
        (lambda s: lineage_of(s)["approvals"][0]["votes"][0].update(voter="bo"), "approvals"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v2"), "statement"),
        (lambda s: s.update(predicateType="urn:nbgov:custody:2"), "statement"),
        (lambda s: s.update(surprise=1), "statement"),
        (lambda s: s.update(predicate=None), "statement"),
        (lambda s: s["predicate"].update(surprise=1), "statement"),
        (lambda s: s["predicate"].update(maker=1), "statement"),
        (lambda s: s["predicate"].update(drift=1), "statement"),
        (lambda s: s["predicate"].update(made_at="today"), "statement"),
        (lambda s: s["predicate"].update(made_at="2026-01-01T00:00:00"), "statement"),
        (lambda s: s["predicate"].update(audit=[]), "statement"),
        (lambda s: s["predicate"]["audit"].update(entries={}), "statement"),
        (lambda s: s["predicate"]["audit"].update(entries=[{}]), "statement"),
        (lambda s: lineage_of(s).update(spec="nbgov/lineage/1"), "statement"),
        (lambda s: lineage_of(s).update(model=None), "statement"),
    ],
)
def test_a_statement_that_was_changed_does_not_add_up(edit, name):
    """Every lie about the chain, signed or not, fails the check that is about it."""
    assert name in failures(changed(edit))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":NaN}',
        b"[" * 100_000,
        b'"' + b"x" * (32 * 1024 * 1024) + b'"',
    ],
    ids=range(9),
)
def test_bytes_that_are_no_canonical_object_are_refused(payload):
    """White space, another order, a repeated member, depth and size are all refused alike."""
    assert failures(payload).keys() == {"statement"}


def test_what_could_not_be_checked_is_said():
    """Inputs and reads that are not kept are named; they do not pass for checked ones."""
    lineage = whole()
    lone = replace(
        lineage, deliveries=lineage.deliveries[:1], run=replace(lineage.run, ungoverned=())
    )
    assert "reads: the bundle holds no read of weather" in unchecked(written(lone))
    absent = replace(lone, versions={one.version_id: one for one in lone.current[:1]})
    assert "inputs: the bundle does not hold the versions of weather" in unchecked(written(absent))
    bare = replace(lone, versions={}, deliveries=(), run=replace(lone.run, inputs=()))
    assert "inputs: no governed input" in unchecked(written(bare))


def set_checkpoint(value):
    return lambda audit: audit.update(checkpoint=value)


def set_proof(number, value):
    return lambda audit: audit["entries"][number].update(proof=value)


NONE, OTHER = "AAAA", base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (set_checkpoint(None), "there is no checkpoint"),
        (set_checkpoint("house/log\n3\n"), "it has no signatures"),
        (lambda a: a.update(checkpoint=a["checkpoint"].replace("house", "other")), "another log"),
        (set_proof(0, None), "nothing shows that entry 0"),
        (set_proof(0, []), "nothing shows that entry 0"),
        (set_proof(1, [NONE] * 3), "nothing shows that entry 1"),
        (set_proof(1, [OTHER] * 3), "nothing shows that entry 1"),
        (lambda a: set_proof(1, a["entries"][0]["proof"])(a), "nothing shows that entry 1"),
        (lambda a: a["entries"][0].update(line="x"), "not JSON"),
    ],
)
def test_a_proof_that_does_not_lead_to_the_checkpoint_shows(edit, told):
    """Each entry needs a path of its own to the root of the log's checkpoint."""
    payload = changed(lambda statement: edit(statement["predicate"]["audit"]))
    assert told in failures(payload)["inclusion proofs"]


@pytest.mark.parametrize(
    "edit", [set_checkpoint(""), set_checkpoint(3), set_proof(0, "x"), set_proof(0, [1])]
)
def test_proofs_of_another_form_are_no_statement(edit):
    """What is no checkpoint and no list of texts is not read at all."""
    payload = changed(lambda statement: edit(statement["predicate"]["audit"]))
    assert list(failures(payload)) == ["statement"]


def test_a_promotion_needs_its_votes_in_the_entries_too():
    """A ticket that no read names is held against the log as well."""
    lineage = whole()
    promotion = replace(approval("P-1", state="approved"), subject="promotion")
    both = replace(lineage, approvals=(*lineage.approvals, promotion))
    known, lines = recorded(both)
    assert failures(write_statement(known, lines, made_at=AT, maker="n")) == {}
    without = tuple(line for line in lines if b"P-1" not in line)
    found = failures(write_statement(known, without, made_at=AT, maker="n"))
    assert found == {"approvals": "no entry records the votes on ticket P-1"}


def test_a_ticket_that_nobody_approved_clears_nothing():
    """A state is a word; without a voice that approves, nobody consented."""
    lineage = whole()
    mute = replace(lineage, approvals=(replace(lineage.approvals[0], votes=()),))
    known, lines = recorded(mute)
    found = failures(write_statement(known, lines, made_at=AT, maker="n"))
    assert found == {"approvals": f"nobody approved ticket {mute.approvals[0].ticket}"}


def test_an_emergency_needs_its_entry_in_the_place_of_votes():
    """Whoever went ahead without votes is on record for it, or the bundle does not hold."""
    lineage = whole()
    alone = replace(lineage.approvals[0], votes=(), is_emergency=True)
    lineage = replace(lineage, approvals=(alone,))
    known, lines = recorded(lineage)
    found = failures(write_statement(known, lines, made_at=AT, maker="n"))
    assert found == {"approvals": f"no entry records the votes on ticket {alone.ticket}"}


def test_a_read_of_one_log_is_not_vouched_for_by_another():
    """The receipt names its log; an entry of equal number in another log is another entry."""
    known, lines = recorded(whole())
    moved = tuple(line.replace(b"house/log", b"house/lag") for line in lines)
    assert "audit entries" in failures(write_statement(known, moved, made_at=AT, maker="n"))


def test_a_text_that_utf8_cannot_carry_is_written_all_the_same():
    """A lone surrogate in a name becomes a question mark; the bundle stays readable."""
    run = replace(whole().run, params={"note": "\ud800"})
    payload = written(replace(whole(), run=run))
    custody, _ = examine(payload)
    assert failures(payload) == {}
    assert custody.lineage.run.params == {"note": "?"}


def test_a_policy_without_a_revision_is_named_by_its_digest_alone():
    """Outside a repository there is no revision, and no material claims one."""
    lineage = whole()
    reads = tuple(replace(one, policy_revision="") for one in lineage.deliveries)
    payload = written(replace(lineage, deliveries=reads)).decode()
    assert "urn:nbgov:policy:" not in payload
    assert "urn:nbgov:policy" in payload


# ---- vectors


@pytest.mark.parametrize("case", VECTORS["statements"], ids=lambda case: case["name"])
def test_statements_have_the_bytes_of_the_specification(case):
    """Each vector's checks come out as it says, on exactly its bytes."""
    _, checks = examine(case["payload"].encode())
    assert {one.name: one.outcome for one in checks if one.outcome == "fails"} == dict.fromkeys(
        case["fails"], "fails"
    )


def test_the_writer_makes_the_bytes_of_the_specification():
    """The whole lineage, written now, is the first vector to the byte."""
    assert written(whole()).decode() == VECTORS["statements"][0]["payload"]


def test_a_version_of_another_name_is_another_version():
    """The tests' own versions have the ids of their facts."""
    assert version("a").version_id != version("b").version_id
