"""Exports of the audit log: true to it, whole or absent, recorded, and harmless to open."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.audit import GENESIS_DIGEST, decode, encode, verify
from nbgov.core.audit.entry import ROWS
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.query import Query
from nbgov.errors import BackendFailed, NbgovError
from nbgov.evidence import exports
from nbgov.evidence.drafts import draft
from nbgov.evidence.exports import FORMATS, chosen, export_log, write
from nbgov.model import Record, RecordKind
from nbgov.session import connect
from tests.core.audit_records import AT, drawn_records
from tests.core.test_audit_ocsf import check
from tests.surfaces import house

MARKER = "zq-marker-4711"


def lines_of(*records):
    """The stored lines of a log with these records."""
    lines, prev = [], GENESIS_DIGEST
    for index, one in enumerate(records):
        at = AT + timedelta(seconds=index)
        lines.append(encode(replace(one, at=at), origin="log", index=index, prev_digest=prev))
        prev = leaf_digest(lines[-1])
    return lines


def written(lines, format_, query=exports.EVERYTHING):
    """What an export writes for these lines."""
    file = io.BytesIO()
    write(chosen(lines, query), file, format_)
    return file.getvalue()


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """A session whose log has reads, a denial, a failure and a request that waits."""
    folder = house.build(tmp_path_factory.mktemp("exports"))
    with connect(folder, as_="ada@acme.test") as opened:
        statements = [
            f"SELECT id, email FROM people WHERE team <> '{MARKER}' -- {MARKER}",
            f"SELECT '{MARKER}' FROM nowhere",
            "DROP TABLE people",
            house.CHANGE,
        ]
        for statement in statements:
            try:
                opened.sql(statement).to_arrow()
            except NbgovError:
                continue
        yield opened


@given(st.lists(drawn_records(), max_size=5))
@settings(max_examples=15)
def test_json_lines_are_the_stored_bytes(records):
    """An export as JSON Lines holds every byte of the log, whatever is in it."""
    lines = lines_of(*records)
    assert written(lines, "jsonl") == b"".join(line + b"\n" for line in lines)


@given(st.lists(drawn_records(), max_size=5))
@settings(max_examples=15)
def test_parquet_holds_the_entries(records):
    """A Parquet file says of every entry what the log says, field by field."""
    lines = lines_of(*records)
    table = pq.read_table(io.BytesIO(written(lines, "parquet")))
    found = []
    for row in table.to_pylist():
        values = {
            one.name: tuple(value) if one.shape.startswith("tuple") else dict(value)
            if one.shape.startswith("Mapping") else value
            for one in ROWS if (value := row[one.name]) is not None
        }  # fmt: skip
        values["kind"] = RecordKind(values["kind"])
        prev = bytes.fromhex(row["prev"])
        line = encode(Record(**values), origin=row["log"], index=row["index"], prev_digest=prev)
        assert leaf_digest(line).hex() == row["digest"]
        found.append(line)
    assert found == lines


def test_parquet_has_types():
    """Lists are lists, mappings are mappings, and times have a zone."""
    schema = exports.log_schema()
    assert schema.field("tables").type == pa.list_(pa.string())
    assert schema.field("entities").type == pa.map_(pa.string(), pa.int64())
    assert schema.field("at").type == pa.timestamp("us", "UTC")


@given(st.sampled_from("=+-@\t\r\n\uff1d"), st.text(max_size=5), st.sampled_from(["", " ", "  "]))
@settings(max_examples=15)
def test_no_cell_is_a_formula(sign, rest, space):
    """Text that a spreadsheet would take for a formula begins with an apostrophe."""
    evil = space + sign + rest.replace("\x00", "")
    record = Record(RecordKind.ADMIN, AT, evil, "s", note=evil, changes=(evil, "b"))
    text = written(lines_of(record), "csv").decode()
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert {row[name][0] for name in ("request", "note", "changes")} == {"'"}


def test_csv_is_for_reading():
    """Lists are joined, mappings are JSON, times say their zone."""
    record = Record(RecordKind.OUTCOME, AT, "r", "s", tables=("a", "b"), entities={"EMAIL": 2})
    [row] = csv.DictReader(io.StringIO(written(lines_of(record), "csv").decode()))
    assert (row["tables"], row["entities"]) == ("a; b", '{"EMAIL": 2}')
    assert row["at"].startswith("2026-11-23T12:00:00")
    assert row["at"].endswith("Z")


def test_batches_are_bounded(monkeypatch):
    """A large log is written in parts, and is the same file to a reader."""
    lines = lines_of(*(Record(RecordKind.HEADS, AT, str(n), "s") for n in range(7)))
    monkeypatch.setattr(exports, "BATCH_ENTRIES", 3)
    file = pq.ParquetFile(io.BytesIO(written(lines, "parquet")))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [3, 3, 1]


def test_filters_mean_requests(session):
    """A filter on what the attempt says finds the outcome too, and the oldest come first."""
    lines = list(session.world.audit.entries())
    found = list(chosen(lines, Query(table=("people",), status=("ok",))))
    # The dry run of the write is a request of its own.
    assert [one.entry.record.kind for one in found] == ["outcome"] * 2
    assert found[0].whole.record.tables == ("main.people",)
    limited = list(chosen(lines, Query(kind=("outcome",), limit=2)))
    assert [one.entry.index for one in limited] == sorted(one.entry.index for one in limited)
    assert len(limited) == 2


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_is_recorded_before_it_is_made(session, format_):
    """The log says who exported what, in which format; the text that was looked for stays out."""
    file = io.BytesIO()
    done = export_log(session, file, format_, Query(text="select", connection=("wh",)))
    begun, ended = (decode(line).record for line in list(session.world.audit.entries())[-2:])
    assert (begun.verb, begun.status, ended.status) == ("EXPORT", "begun", "ok")
    assert begun.note == f"{format_} of connection wh, a text in the statement"
    assert ended.note == f"{begun.note}: {done.entries} entries"
    assert begun.principal == "ada@acme.test"


def test_events_of_a_session_are_valid(session):
    """What a real session leaves is valid OCSF, event by event."""
    file = io.BytesIO()
    done = export_log(session, file, "ocsf")
    events = [json.loads(line) for line in file.getvalue().splitlines()]
    for event in events:
        check(event)
    assert len(events) == done.items
    assert "told by the event" in done.remark
    [read] = [one for one in events if one["activity_id"] == 4 and one["status"] == "Success"]
    assert read["query_info"]["query_string"] == "SELECT id, email FROM people WHERE team <> ?"
    assert read["duration"] >= 0


def test_an_exported_log_verifies(session):
    """Whoever gets the lines can verify the chain."""
    file = io.BytesIO()
    done = export_log(session, file, "jsonl")
    report = verify(file.getvalue().splitlines())
    assert report.is_intact
    assert report.entries == done.entries


@pytest.mark.parametrize("format_", FORMATS)
def test_no_literal_leaves(session, format_):
    """No value of a statement or a comment is in any export."""
    file = io.BytesIO()
    export_log(session, file, format_)
    plain = file.getvalue()
    if format_ == "parquet":
        plain = str(pq.read_table(io.BytesIO(plain)).to_pylist()).encode()
    assert b"people" in plain
    assert MARKER.encode() not in plain


def test_progress_is_told(monkeypatch):
    """Whoever waits hears how many entries were read."""
    monkeypatch.setattr(exports, "TOLD_EVERY", 2)
    told: list[int] = []
    assert list(exports.watched([b"a"] * 5, told.append)) == [b"a"] * 5
    assert told == [2, 4]


@pytest.mark.parametrize("error", [KeyboardInterrupt, BackendFailed("away"), OSError(28, "full")])
def test_a_file_is_whole_or_absent(tmp_path, error):
    """What is interrupted leaves nothing behind, and the file of before as it was."""
    path = tmp_path / "out.csv"
    path.write_text("before")

    def stop():
        with draft(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises((BackendFailed, KeyboardInterrupt)):
        stop()
    assert [one.name for one in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text() == "before"


def test_a_file_is_its_owners(tmp_path):
    """What was exported can be read by whoever exported it, and by nobody else."""
    with draft(tmp_path / "a.zip") as file:
        file.write(b"whole")
    assert (tmp_path / "a.zip").read_bytes() == b"whole"
    assert (tmp_path / "a.zip").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", ["", "absent/file", "a" * 300, "loop"])
def test_what_cannot_be_written_is_told(tmp_path, place):
    """A folder of the name, no folder, or a name that is none, is an error that says so."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BackendFailed) as raised, draft(tmp_path / place):
        pass
    assert raised.value.code == "file-unwritable"


def test_a_device_is_not_replaced():
    """A name such as that of a device is refused: the device would be gone."""
    with pytest.raises(BackendFailed), draft(Path("/dev/null")):
        pass
    assert Path("/dev/null").is_char_device()
