"""``nbgov audit export|report``: what people type, and what lands where they said."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from nbgov.cli import main
from nbgov.core.audit import decode
from nbgov.core.audit.note import VerifierKey
from nbgov.evidence.bundles import open_bundle
from nbgov.evidence.examining import Trust
from nbgov.evidence.verification import verify
from nbgov.session import connect
from tests.surfaces import house


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = house.build(tmp_path_factory.mktemp("cli"))
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
    return folder


def run(folder, *words):
    """What the command said."""
    return CliRunner().invoke(
        main, ["--config", str(folder), "--as", "grace@acme.test", "audit", *words]
    )


@pytest.mark.parametrize("format_", ["jsonl", "ocsf", "csv", "parquet"])
def test_an_export_lands_in_the_file(folder, tmp_path, format_):
    """The file is there, and nothing else is; the command says how much is in it."""
    path = tmp_path / "out"
    done = run(folder, "export", "--format", format_, "-o", str(path))
    assert done.exit_code == 0, done.output
    assert f" of {format_} from " in done.output
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    if format_ == "parquet":
        assert pq.read_table(path).num_rows > 3


def test_text_goes_to_standard_output(folder):
    """Without a file, or with a dash, the lines can be piped on; remarks go elsewhere."""
    lines = run(folder, "export", "--format", "jsonl", "--kind", "attempt").stdout.splitlines()
    assert [decode(line.encode()).record.kind for line in lines] == ["attempt"]
    done = run(folder, "export", "--format", "ocsf", "-o", "-")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["metadata"]["version"] for one in events} == {"1.8.0"}
    assert "told by the event" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("export",),
        ("export", "--format", "csv", "--bundle", "x.zip"),
        ("export", "--format", "parquet"),
        ("export", "--format", "parquet", "--catalog", "wh"),
        ("export", "--bundle", "absent/x.zip"),
        ("export", "--bundle", "x.zip", "--principal", "nobody"),
        ("export", "--format", "ocsf", "--catalog", "wh"),
        ("export", "--format", "csv", "--catalog", "lost", "-o", "x.csv"),
        ("export", "--format", "csv", "--catalog", "wh", "--verb", "SELECT"),
        ("report", "-o", "absent/x.html"),
    ],
)
def test_what_cannot_be_done_leaves_nothing(folder, tmp_path, monkeypatch, words):
    """Wrong words, and places that do not exist, end with 1 and leave no file."""
    monkeypatch.chdir(tmp_path)
    done = run(folder, *words)
    assert done.exit_code == 1
    assert "next" in done.stderr
    assert list(Path().iterdir()) == []


def test_how_a_connection_evolved_is_a_table(folder, tmp_path):
    """Each column of each version that was seen has a row, in every format that has rows."""
    path = tmp_path / "catalog"
    for format_ in ("csv", "parquet"):
        done = run(folder, "export", "--format", format_, "--catalog", "wh", "-o", str(path))
        assert done.exit_code == 0, done.output
        assert f"4 rows of {format_}" in done.output
    rows = pq.read_table(path).to_pylist()
    assert [(row["place"], row["column"], row["type"]) for row in rows][:2] == [
        (1, "id", "INTEGER"),
        (2, "email", "VARCHAR"),
    ]
    lines = run(folder, "export", "--format", "jsonl", "--catalog", "wh").stdout.splitlines()
    assert [json.loads(line)["column"] for line in lines] == ["id", "email", "team", "note"]


def test_a_bundle_is_for_somebody_else(folder, tmp_path):
    """The command says how it is checked, and it is, with what nbgov audit key would print."""
    path = tmp_path / "log.zip"
    done = run(folder, "export", "--bundle", str(path))
    assert done.exit_code == 0, done.output
    assert "the whole log" in done.output
    assert "nbgov audit verify --from log.zip --key KEY" in done.output
    with connect(folder, as_="ada@acme.test") as session:
        public = session.world.signer.public_key()
    with open_bundle(path) as bundle:
        origin = bundle.origin
        assert verify(bundle, Trust(key=VerifierKey(bundle.origin, public))).is_sound
    part = run(folder, "export", "--bundle", str(path), "--principal", "ada@*")
    assert "not the whole log" in part.output
    held = run(folder, "verify", "--from", str(path), "--key", str(VerifierKey(origin, public)))
    assert held.exit_code == 0, held.output
    assert held.output.endswith("These entries are in the log; this is not the whole log.\n")
    assert "The audit log verifies" not in held.output


def test_a_report_is_a_page(folder, tmp_path):
    """The page is written, and a line says what it says."""
    path = tmp_path / "report.html"
    done = run(folder, "report", "-o", str(path), "--since", "1d")
    assert done.exit_code == 0, done.output
    assert "the log verifies" in done.output
    assert path.read_text().startswith("<!doctype html>")
    assert run(folder, "report", "-o", "-").stdout.startswith("<!doctype html>")


def test_a_report_of_a_log_that_does_not_hold_ends_with_1(tmp_path):
    """The page is written all the same, and says so."""
    folder = house.build(tmp_path)
    with connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
        state = folder / session.config.state
    [segment] = (state / "audit").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"ada@", b"eve@", 1))
    path = tmp_path / "report.html"
    done = run(folder, "report", "-o", str(path))
    assert done.exit_code == 1
    assert "DOES NOT VERIFY" in path.read_text()
