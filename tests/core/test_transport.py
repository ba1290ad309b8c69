"""What travels between a notebook and its gateway comes back as it was, and nothing else is made of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.approval.transport import approval_json, plain, read_approval
from nbgov.core.statement import parse
from nbgov.core.transport import (
    fill_summary,
    read,
    read_error,
    read_request,
    write,
    write_error,
    write_request,
    write_summary,
)
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, NbgovError, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    Catalog,
    Column,
    ColumnMask,
    ColumnName,
    Decision,
    MaskKind,
    Receipt,
    Request,
    RowLimit,
    Summary,
    Table,
    TableName,
    Vote,
    WriteLimit,
)

NAME = TableName("main", "people")
PEOPLE = Table(NAME, (Column("id", "INTEGER"), Column("email", "VARCHAR")))
CATALOG = Catalog("duckdb", "main", {NAME: PEOPLE})
AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
DECISION = Decision(
    True,
    (
        ColumnMask(ColumnName(NAME, "email"), MaskKind.REDACT, "pii.email"),
        RowLimit(5),
        WriteLimit(5),
    ),
    ("read",),
    policy_digest=b"\x00\xff",
    unclassified=frozenset({ColumnName(NAME, "id")}),
)
QUORUM = ApprovalQuorum("change", frozenset({"b", "a"}), frozenset(), frozenset({"approver"}))
APPROVAL = Approval(
    "t1", b"\x01" * 32, "warehouse", "UPDATE x", "{}", "ada", (QUORUM,), "UPDATE", ("main.x",), AT,
    AT + timedelta(hours=1), votes=(Vote("grace", True, "fine", AT, ("change",)),),
)  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        CATALOG,
        DECISION,
        parse("SELECT email FROM people WHERE id = :n", CATALOG),
        APPROVAL,
        AT,
        None,
        1.5,
        ("a", b"b"),
    ],
    ids=["catalog", "decision", "statement", "approval", "moment", "nothing", "number", "tuple"],
)
def test_a_value_comes_back_as_it_was(value):
    """Values of the model keep their types, limits of equal shape among them."""
    assert read(write(value)) == value


def test_a_list_comes_back_as_a_tuple():
    """A list is a tuple at the other end, and a mapping a mapping."""
    assert read(write([1, {"a": [2]}])) == (1, {"a": (2,)})


def test_what_json_has_no_word_for_does_not_travel():
    """A value of another type is a mistake of ours."""
    with pytest.raises(TypeError):
        write(Decimal(1))


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", '{"$": "Path"}', '{"$": "RowLimit"}', '{"$": "RowLimit", "rows_max": 1, "more": 2}',
     '{"$": "MaskKind", "value": "none"}', '{"$": "bytes", "hex": "xx"}', '{"$": "at", "iso": "now"}',
     '{"$": ["map"]}', "[" * 5_000],
    ids=["empty", "open", "untagged", "unknown", "incomplete", "too-much", "no-member", "no-hex", "no-moment", "no-name", "deep"],
)  # fmt: skip
def test_a_text_that_is_no_value_makes_none(text):
    """Only what is listed is ever made of a text; everything else is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of them
        read(text)


BINDS = st.dictionaries(
    st.from_regex(r"\A[a-z]{1,8}\Z"),
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.decimals(allow_nan=False),
    max_size=4,
)


@given(BINDS, st.none() | st.integers(1, 100), st.booleans())
def test_a_request_arrives_as_it_was_asked(binds, rows_max, is_tracked):
    """Text, typed values and wishes of a request arrive; whose it is, the gateway finds out itself."""
    asked = Request(
        "here", "SELECT :a", binds, claim="somebody", rows_max=rows_max, dataset="d",
        origin={"cell": "1"}, id="r", ticket="t", is_tracked=is_tracked,
    )  # fmt: skip
    found = read_request(write_request(asked, connection="there"))
    assert found == dataclasses.replace(asked, connection="there", claim=None)
    assert {name: type(value) for name, value in found.binds.items()} == {
        name: type(value) for name, value in binds.items()
    }


def test_nobody_veils_from_afar_what_voters_look_at():
    """Bound values of a request that comes from a client are always shown to voters."""
    asked = dataclasses.replace(Request("c", "SELECT 1"), veiled=True, undoes="r0")
    forged = json.loads(write_request(asked, connection="c")) | {"veiled": True, "undoes": "r0"}
    assert read_request(json.dumps(forged).encode()) == Request("c", "SELECT 1")


def test_an_origin_that_is_none_travels_as_none():
    """What is no mapping is left behind."""
    asked = dataclasses.replace(Request("c", "SELECT 1"), origin="cell 1")
    assert read_request(write_request(asked, connection="c")).origin == {}


GOOD = json.loads(write_request(Request("c", "SELECT 1"), connection="c"))


@pytest.mark.parametrize(
    "change",
    [{"sql": 1}, {"rows_max": "5"}, {"rows_max": True}, {"is_tracked": "no"}, {"origin": {"a": 1}},
     {"origin": []}, {"binds": "["}, {"binds": '{"a": ["os", "x"]}'}, {"binds": 7}, {"connection": None}],
    ids=["sql", "rows-text", "rows-truth", "tracked", "origin-number", "origin-list", "binds-open", "binds-kind", "binds-number", "connection"],
)  # fmt: skip
def test_a_request_of_another_shape_is_none(change):
    """A field of another type makes the whole request one that was not understood."""
    with pytest.raises(RequestInvalid) as refused:
        read_request(json.dumps(GOOD | change).encode())
    assert refused.value.code == "usage"


@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_are_told(text):
    """Whatever comes is a request, or an error of the caller's."""
    with pytest.raises(RequestInvalid):
        read_request(text)


def test_a_summary_arrives_whole():
    """Everything that is known at the end is known at the other end."""
    told = Summary(rows_read=3, masked={"email": "redact"}, receipt=Receipt("log", 7, b"\x01" * 32))
    told.remarks.append("kept no rows")
    told.count({"note": {"PERSON": 2}})
    found = Summary()
    fill_summary(found, write_summary(told))
    assert found == told
    found.remarks.append("more")
    with pytest.raises(ValueError, match="RowLimit"):
        fill_summary(found, write(RowLimit(1)).encode())


@pytest.mark.parametrize(
    "error",
    [
        Denied("what", code="laundering", why="why", next_step="next"),
        ApprovalNeeded("what", ticket="t1"),
        RequestInvalid("what"),
        BackendFailed("what", code="cancelled"),
    ],
    ids=["denied", "approval", "invalid", "failed"],
)
def test_an_error_is_raised_again_as_it_was(error):
    """Type, words, code and record of an error arrive."""
    error.record, error.receipt = 7, "log/7#00"
    if isinstance(error, BackendFailed):
        error.sqlstate = "57014"
    found = read_error(write_error(error))
    assert found is not None
    assert (type(found), found.render()) == (type(error), error.render())
    assert getattr(found, "sqlstate", "") == getattr(error, "sqlstate", "")
    assert getattr(found, "ticket", "") == getattr(error, "ticket", "")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"kind": "SystemExit", "what": ""}'])
def test_a_text_that_is_no_error_is_none(text):
    """Whatever else comes is no error of nbgov's."""
    assert read_error(text) is None


def test_a_ticket_reads_in_any_client():
    """A ticket is plain JSON, field for field, and comes back the same."""
    told = json.loads(json.dumps(approval_json(APPROVAL)))
    assert told["quorums"][0]["names"] == ["a", "b"]
    assert read_approval(told) == APPROVAL
    assert plain((1, b"\x01")) == [1, "01"]


@pytest.mark.parametrize("told", [{}, {"binding_digest": 7}, {"binding_digest": "00"}])
def test_what_is_no_ticket_is_told(told):
    """A ticket that makes no sense is a ValueError."""
    with pytest.raises(ValueError, match="no ticket"):
        read_approval(told)


def test_every_error_can_travel():
    """No type of error is left out."""
    from nbgov.core.transport import ERRORS

    known = {*ERRORS.values(), ApprovalNeeded}
    assert {
        shape for shape in NbgovError.__subclasses__() if shape.__module__ == "nbgov.errors"
    } == known
