"""Audit entries as OCSF events: every event is valid, and none says more than the log."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cache

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocsf_json_schema import OcsfJsonSchemaEmbedded
from ocsf_json_schema.loader import get_ocsf_schema

from nbgov.core.audit import ocsf
from nbgov.core.audit.entry import GENESIS_DIGEST, decode, encode
from nbgov.core.audit.ocsf import Events
from nbgov.core.audit.ocsf_fields import OCSF_VERSION
from nbgov.model import Record, RecordKind
from tests.core.audit_records import AT, SEALED, drawn_records

NAMES = {
    6005: "datastore_activity",
    3002: "authentication",
    3004: "entity_management",
    3005: "user_access",
}


@cache
def validator(name):
    """What checks an event of a class, made of the schema that OCSF publishes."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(OCSF_VERSION))
    return jsonschema.Draft202012Validator(schema.get_class_schema(name, ["security_control"]))


def check(event):
    """The event is valid, and its type follows from class and activity."""
    plain = json.loads(json.dumps(event))
    assert plain == event
    validator(NAMES[event["class_uid"]]).validate(plain)
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["metadata"]["version"] == "1.8.0"


def record(kind=RecordKind.OUTCOME, **fields):
    """A record of ada's."""
    facts = {"at": AT, "request": "r1", "session": "s1", "principal": "ada"} | fields
    return Record(kind=kind, **facts)


def events(*records, translator=None):
    """The events of a log with these records."""
    entries = [
        decode(encode(one, origin="log", index=index, prev_digest=GENESIS_DIGEST))
        for index, one in enumerate(records)
    ]
    found = list((translator or Events(product_version="1.0")).of(entries))
    for event in found:
        check(event)
    return found


def event(*records):
    """Their one event."""
    [found] = events(*records)
    return found


@given(st.lists(drawn_records(), max_size=4))
@settings(max_examples=30)
def test_every_event_is_valid(records):
    """Whatever records a log holds, their events are valid OCSF, and every entry is counted."""
    translator = Events(product_version="1.0")
    found = events(*records, translator=translator)
    assert len(found) == sum(translator.told.values())
    lost = len(records) - len(found) - sum(translator.left_out.values()) - translator.joined
    # Two that wait under one name: the later one takes the place of the earlier.
    assert 0 <= lost <= sum(one.status == "begun" for one in records)


@given(drawn_records())
@settings(max_examples=20)
def test_sealed_literals_are_in_no_event(one):
    """What is sealed in the log does not leave it in an event."""
    assert SEALED not in json.dumps(events(one))


def test_a_request_is_one_event():
    """Attempt and outcome are one event, with what either of them says, and how long it took."""
    found = event(
        record(
            RecordKind.ATTEMPT,
            connection="warehouse",
            dialect="duckdb",
            verb="SELECT",
            effects=("read",),
            statement="SELECT a FROM t WHERE b = ?",
            tables=("warehouse.main.t", "warehouse.main.u"),
            decision="permit",
            rules=("open", "masked"),
            policy="ab",
            policy_revision="c0ffee",
            groups=("staff",),
            account="ada@host",
            via="os",
            origin={"surface": "magic", "host": "laptop", "ip": "192.0.2.7"},
        ),
        record(attempt=0, status="ok", masked=("a: hide",), bytes_read=12, ticket="t1",
               at=AT + timedelta(seconds=2)),
    )  # fmt: skip
    assert found["activity_name"] == "Query"
    assert (found["status_id"], found["action_id"], found["disposition_id"]) == (1, 4, 1)
    assert found["duration"] == 2000
    assert found["database"] == {"name": "warehouse", "type": "duckdb", "type_id": 1}
    assert found["table"] == {"name": "warehouse.main.t"}
    query = "SELECT a FROM t WHERE b = ?"
    assert found["query_info"] == {"uid": "r1", "query_string": query, "bytes": 12}
    assert found["actor"]["user"]["groups"] == [{"name": "staff"}]
    assert found["src_endpoint"] == {"name": "magic", "hostname": "laptop", "ip": "192.0.2.7"}
    assert found["policy"] == {"uid": "ab", "name": "policy.yaml", "version": "c0ffee"}
    assert found["firewall_rule"]["name"] == "open, masked"
    assert found["metadata"]["correlation_uid"] == "t1"
    assert found["metadata"]["uid"].startswith("log/1#")
    assert found["unmapped"]["nbgov"]["attempt"] == 0
    assert found["unmapped"]["nbgov"]["claims"]["host"] == "laptop"


def test_a_denial_is_a_failure():
    """A request that was denied says so, why, and by which rule."""
    found = event(
        record(status="denied", code="denied-by-policy", decision="deny", reason="no rule permits")
    )
    assert (found["status_id"], found["action_id"], found["disposition_id"]) == (2, 2, 2)
    assert (found["status_code"], found["status_detail"]) == ("denied-by-policy", "no rule permits")
    assert found["activity_id"] == 0
    assert "policy" not in found


def test_a_process_that_died_is_told_with_its_attempt():
    """An interrupted request says what had been attempted."""
    attempt = record(RecordKind.ATTEMPT, verb="DELETE", effects=("write",), tables=("t",))
    died = record(RecordKind.INTERRUPTED, attempt=0, principal=None, note="The process ended.")
    found = event(attempt, died)
    assert (found["activity_name"], found["status"]) == ("Delete", "interrupted")
    assert found["actor"]["user"]["name"] == "ada"


def test_what_nothing_closes_is_unknown():
    """An attempt without an outcome, and a deed that only began, are told at the end."""
    begun = record(RecordKind.ADMIN, verb="EXPORT", status="begun", request="r2")
    found = events(record(RecordKind.ATTEMPT), begun)
    assert [one["status"] for one in found] == ["Unknown", "Unknown"]
    assert found[1]["entity"]["type"] == "audit log"


def test_only_deeds_begin_under_the_name_of_a_request():
    """Another entry of the same request is an event of its own, whatever its status says."""
    odd = record(RecordKind.INTERRUPTED, attempt=7, status="begun")
    found = events(odd, record(RecordKind.ADMIN, verb="PROVE", status="ok"))
    assert [one["class_uid"] for one in found] == [6005, 3004]


def test_a_deed_is_one_event():
    """What an administrator began and ended is one event."""
    begun = record(RecordKind.ADMIN, verb="HARDEN", status="begun", connection="w")
    found = event(begun, record(RecordKind.ADMIN, verb="HARDEN", status="ok", connection="w"))
    assert found["entity"] == {"name": "w", "type": "connection", "type_id": 99}
    assert found["status"] == "Success"


@pytest.mark.parametrize(
    ("note", "activity"),
    [
        ("approve", "Assign Privileges"),
        ("break-glass", "Assign Privileges"),
        ("revoke", "Revoke Privileges"),
        ("cancel", "Revoke Privileges"),
        ("deny", "deny"),
        ("review", "review"),
        ("request", "request"),
    ],
)
def test_a_vote_is_about_who_asked(note, activity):
    """A vote names the principal whose ticket it is, where the log says who that was."""
    vote = record(RecordKind.VOTE, principal="grace", ticket="t1", note=note, tables=("t",))
    pending, voted = events(record(status="pending", ticket="t1"), vote)
    assert pending["status"] == "pending"
    assert (voted["class_uid"], voted["activity_name"]) == (3005, activity)
    assert voted["severity_id"] == (4 if note == "break-glass" else 1)
    assert voted["user"]["name"] == "ada"
    assert voted["actor"]["user"]["name"] == "grace"
    assert event(vote)["user"]["name"] == "unknown"
    refused = replace(vote, status="denied", code="self-approval")
    assert event(refused)["status"] == "Failure"


@pytest.mark.parametrize(("verb", "activity"), [("OPEN", "Logon"), ("CLOSE", "Logoff")])
def test_a_session_is_an_authentication(verb, activity):
    """Sessions that begin and end are of class 3002."""
    found = event(record(RecordKind.ADMIN, verb=verb, via="os"))
    assert (found["class_uid"], found["activity_name"]) == (3002, activity)


def test_other_kinds():
    """Policies, catalogs and repairs are of class 3004; heads of other logs are left out."""
    translator = Events(product_version="1.0")
    policy, catalog, repair, odd = events(
        record(RecordKind.ADMIN, verb="POLICY", policy="ab", policy_revision="c0ffee"),
        record(RecordKind.CATALOG, connection="w", changes=("table t is new",)),
        record(RecordKind.REPAIR, principal=None, note="cut 3 bytes"),
        record(RecordKind.ADMIN, verb="PROMOTE", connection="churn"),
        record(RecordKind.HEADS, heads={"a": "b"}),
        translator=translator,
    )
    assert policy["entity"]["policy"]["version"] == "c0ffee"
    assert catalog["unmapped"]["nbgov"]["changes"] == ["table t is new"]
    assert (repair["severity_id"], repair["status_detail"]) == (3, "cut 3 bytes")
    assert odd["activity_name"] == "PROMOTE"
    assert translator.left_out == Counter(heads=1)


@pytest.mark.parametrize(
    ("verb", "effects", "activity"),
    [
        ("FROM", ("read",), "Query"),
        ("COPY", ("read", "write"), "Write"),
        ("COMMENT", ("ddl",), "Update"),
        ("GRANT", ("dcl",), "GRANT"),
        (None, ("file",), "Other"),
        (None, None, "Unknown"),
    ],
)
def test_activities(verb, effects, activity):
    """A verb that is not known by itself is told by its effects; one of its own is no guess."""
    assert event(record(verb=verb, effects=effects))["activity_name"] == activity


def test_memory_is_bounded(monkeypatch):
    """Past the limit the oldest open attempt is told as unknown, and tickets are forgotten."""
    monkeypatch.setattr(ocsf, "OPEN_MAX", 1)
    attempts = [record(RecordKind.ATTEMPT), record(RecordKind.ATTEMPT)]
    assert [one["metadata"]["sequence"] for one in events(*attempts)] == [0, 1]
    translator = Events(product_version="1.0")
    pending = [record(status="pending", ticket=one) for one in ("t1", "t2")]
    events(*pending, translator=translator)
    assert translator.requesters == {"t2": "ada"}
