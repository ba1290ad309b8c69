"""What a log tells an auditor: everything is counted once, and memory is bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from nbgov.core.audit.overview import Listed, Overview, Slots
from nbgov.model import Record, RecordKind

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)


def record(kind=RecordKind.OUTCOME, **fields):
    facts = {"at": AT, "request": "r", "session": "s", "principal": "ada"} | fields
    return Record(kind=kind, **facts)


def overview(*records):
    found = Overview()
    for index, one in enumerate(records):
        found.add(index, one)
    return found


def test_names_past_the_limit_are_counted_together():
    """A name has a value of its own as long as there is room; all others share one."""
    slots = Slots(list, 2)
    for name in "abcad":
        slots.of(name).append(name)
    assert dict(slots) == {"a": ["a", "a"], "b": ["b"], None: ["c", "d"]}


def test_the_newest_are_kept():
    """Of a long list the newest stay, and the number of all is told."""
    found = Listed(2)
    for item in "abc":
        found.add(item)
    assert (list(found.newest), found.count) == (["b", "c"], 3)


def test_requests_are_counted_by_person_table_and_day():
    """An outcome counts for who asked, each table once, and its day; an attempt for nothing yet."""
    found = overview(
        record(RecordKind.ATTEMPT, connection="w", tables=("t",)),
        record(
            status="ok",
            connection="w",
            tables=("t", "t", "u"),
            effects=("read", "write"),
            rows_read=3,
            rows_affected=2,
            masked=("a: hide",),
            entities={"EMAIL": 4},
            policy="p",
            groups=("staff",),
        ),
        record(status="denied", code="c", rules=("r1", "r2"), tables=("t",)),
        record(RecordKind.INTERRUPTED, attempt=0, at=AT + timedelta(days=1), principal=None),
    )
    assert found.entries == {"attempt": 1, "outcome": 2, "interrupted": 1}
    assert found.whole.ended == {"ok": 1, "denied": 1, "interrupted": 1}
    assert (found.whole.rows_read, found.whole.rows_affected, found.whole.writes) == (3, 2, 1)
    assert {key: reach.requests for key, reach in found.tables} == {
        ("ada", "w.t"): 1,
        ("ada", "w.u"): 1,
        ("ada", "t"): 1,
    }
    assert {name: one.reach.requests for name, one in found.people} == {"ada": 2, "": 1}
    assert found.people.of("ada").groups == {"staff"}
    assert [(str(day), counts["denied"]) for day, counts in found.days] == [
        ("2026-11-23", 1),
        ("2026-11-24", 0),
    ]
    assert [(key, span.count) for key, span in found.denials] == [(("c", "r1, r2", "ada"), 1)]
    assert found.masks.of("a: hide").first_at == AT
    assert found.entities.of("EMAIL")["found"] == 4
    assert found.policies.of(("p", "")).count == 1
    assert found.modes.of(("embedded", "advisory")).count == 3
    assert (found.repeats, found.interrupted.count) == (2, 1)


def test_what_administrators_do_is_listed_by_kind():
    """Sessions are counted, policies, schemas, votes, repairs and clocks have a list of their own."""
    admin = RecordKind.ADMIN
    found = overview(
        record(admin, verb="OPEN", via="os", status="ok"),
        record(admin, verb="OPEN", status="error", code="unknown-principal"),
        record(admin, verb="CLOSE"),
        record(admin, verb="POLICY"),
        record(admin, verb="EXPORT", status="begun"),
        record(admin, verb="EXPORT", status="ok"),
        record(admin, verb="CLOCK"),
        record(RecordKind.VOTE),
        record(RecordKind.CATALOG),
        record(RecordKind.REPAIR),
        record(RecordKind.HEADS),
    )
    ada = found.people.of("ada")
    assert (ada.sessions, ada.closed, ada.refused, ada.via) == (1, 1, 1, {"os"})
    lists = (found.policy_changes, found.deeds, found.clocks, found.steps)
    assert [one.count for one in (*lists, found.catalog_changes, found.repairs)] == [1] * 6
    assert found.deeds.newest[0].index == 5
    assert found.whole.requests == 0
