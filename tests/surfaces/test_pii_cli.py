"""``nbgov scan`` and ``nbgov mask``, on files that each test writes."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from nbgov.backends.memory import MemoryRunStore
from nbgov.cli import main
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import Run
from nbgov.pii import files, scanning
from nbgov.pii.files import Source
from nbgov.pii.readers.delimited import read_cells

EMAIL, PHONE, CARD = "ada@example.com", "212-555-0123", "4111111111111111"
PATTERNS = ("--entities", "EMAIL_ADDRESS,PHONE_NUMBER,CREDIT_CARD")
PEOPLE = (
    "id,email,note\r\n"
    f'0001,{EMAIL},"call me at {PHONE}, please"\r\n'
    '0002,,"nothing ""here"""\r\n'
    f"0003,bo@example.com,{CARD}\r\n"
)


def nbgov(*words: object, stdin: str | bytes | None = None) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def scan(*words: object, stdin: str | bytes | None = None) -> Result:
    """Scan for what is found by pattern, and see that no value is told."""
    ran = nbgov("scan", *words, *PATTERNS, stdin=stdin)
    for value in (EMAIL, "bo@example", PHONE, CARD):
        assert value not in ran.output
    assert "Traceback" not in ran.output
    return ran


def places(*words: object, stdin: str | bytes | None = None) -> dict[tuple[str, str], list[int]]:
    """The rows or lines of each place and entity."""
    [found] = json.loads(scan(*words, "--json", stdin=stdin).stdout)["files"]
    assert found["error"] is None, found
    return {(p["place"], p["entity"]): p.get("rows", p.get("lines")) for p in found["places"]}


def mask(source: object, out: object, *words: object, stdin: str | bytes | None = None) -> Result:
    """Mask what is found by pattern."""
    return nbgov("mask", source, out, *words, *PATTERNS, stdin=stdin)


def written(folder: Path, name: str, text: str | bytes) -> Path:
    """A file with a text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Fragile:
    """A detector that finds addresses, and does what a test wants on a certain value."""

    def __init__(self, trigger: str, error: BaseException) -> None:
        self.trigger, self.error = trigger, error

    def entities(self, language: str) -> frozenset[str]:
        return frozenset({"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD"})

    def detect(self, values: pa.Array, **_: object) -> pa.Table:
        texts = values.to_pylist()
        if self.trigger in texts:
            raise self.error
        hits = [i for i, text in enumerate(texts) if "@" in text]
        return pa.table(
            {
                "value": pa.array(hits, pa.int64()),
                "entity": pa.array(["EMAIL_ADDRESS"] * len(hits), pa.string()),
                "start": pa.array([0] * len(hits), pa.int64()),
                "end": pa.array([len(texts[i]) for i in hits], pa.int64()),
                "score": pa.array([1.0] * len(hits), pa.float64()),
                "recognizer": pa.array(["EmailRecognizer"] * len(hits), pa.string()),
            }
        )


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch):
    """Puts a fragile detector in place of Presidio."""

    def use(trigger: str, error: BaseException) -> None:
        monkeypatch.setattr(scanning, "own_detector", lambda _: Fragile(trigger, error))

    return use


# ---------------------------------------------------------------- scan


def test_a_scan_says_where_how_often_and_how_surely(tmp_path: Path) -> None:
    """Each column has a line with its entity, count, share, score and first rows."""
    ran = scan(written(tmp_path, "people.csv", PEOPLE))
    assert ran.exit_code == 1
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert ["email", "EMAIL_ADDRESS", "2", "100.0", "%", "1.00", "1,", "3"] in lines
    assert ["note", "CREDIT_CARD", "1", "33.3", "%", "1.00", "3"] in lines
    assert "Found in 1 of 1 file: EMAIL_ADDRESS 2," in ran.stdout
    assert "next  nbgov mask" in ran.stdout


def test_json_says_the_same(tmp_path: Path) -> None:
    """--json is one object with places, counts, scores and rows, and the same exit."""
    ran = scan(written(tmp_path, "people.csv", PEOPLE), "--json")
    told = json.loads(ran.stdout)
    assert (ran.exit_code, told["found"], told["complete"]) == (1, True, True)
    [file] = told["files"]
    assert (file["rows"], file["format"]) == (3, "csv")
    assert {
        "place": "email",
        "entity": "EMAIL_ADDRESS",
        "values": 2,
        "values_read": 2,
        "score_max": 1.0,
        "rows": [1, 3],
    } in file["places"]


def test_a_clean_file_is_said_to_be_clean(tmp_path: Path) -> None:
    """Exit 0 where all was read and nothing was found, also in an empty file."""
    clean = written(tmp_path, "clean.csv", "a,b\n1,2\n")
    header = written(tmp_path, "header.csv", "a,b\n")
    empty = written(tmp_path, "empty.csv", "")
    ran = scan(clean, header, empty)
    assert ran.exit_code == 0, ran.output
    assert "Nothing was found in 3 files." in ran.stdout


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ragged.csv", "a,b\n1,2\n1,2,3\n", "Line 3 ends a row of 3 cells"),
        ("short.csv", "a,b\n1\n", "Line 2 ends a row of 1 cell,"),
        ("open.csv", f'a,b\n1,2\n1,"{EMAIL}\n', "A quote in line 3 or below"),
        ("inner.csv", 'a,b\n"1",2\n1,x"y",\n', "In line 3 a quote stands inside"),
        ("after.csv", 'a,b\n1,"x" y\n', "In line 2 a quote stands inside"),
        ("latin.csv", b"a,b\n1,\xe9\n", "not UTF-8 at or shortly before byte 6"),
        ("not.jsonl", '{"a": 1}\n{"a": \n', "Line 2"),
        ("cut.jsonl", '{"a": 1}\n{"a": "x', "Line 2"),
        ("deep.jsonl", "[" * 100_000, "Line 1"),
        ("not.json", '{"a": ', "ends before its JSON does"),
        ("old.ipynb", '{"worksheets": []}', "no notebook of version 4"),
        ("not.parquet", "a,b\n", "no Parquet file, or it was cut off"),
        ("empty.parquet", "", "no Parquet file, or it was cut off"),
        ("what.xyz", "a", "does not say what format it has"),
    ],
)
def test_a_file_that_cannot_be_read_is_never_clean(
    tmp_path: Path, name: str, text: str | bytes, why: str
) -> None:
    """The error says why and what to do, the exit is 2, and the other files are scanned."""
    ran = scan(written(tmp_path, name, text), written(tmp_path, "people.csv", PEOPLE))
    assert ran.exit_code == 2
    assert why in ran.stdout
    assert "NOT READ" in ran.stdout
    assert "code    file-unreadable" in ran.stdout
    assert "1 of 2 files could not be read to the end" in ran.stdout
    assert "Found in 1 of 2 files" in ran.stdout


def test_a_damaged_or_encrypted_table_is_named(tmp_path: Path) -> None:
    """Parquet that is cut in the middle of its data, or encrypted, is an error that says so."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"email": [EMAIL] * 10_000, "n": range(10_000)}), path)
    data = bytearray(path.read_bytes())
    data[100:4000] = bytes(3900)
    damaged = scan(written(tmp_path, "damaged.parquet", bytes(data)))
    assert (damaged.exit_code, "damaged" in damaged.stdout) == (2, True)
    encrypted = scan(written(tmp_path, "secret.parquet", b"PARE" + bytes(64) + b"PARE"))
    assert (encrypted.exit_code, "It is encrypted." in encrypted.stdout) == (2, True)


def test_what_was_found_before_an_error_is_told(tmp_path: Path, monkeypatch) -> None:
    """A file that breaks off has its findings and its error."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 64)
    monkeypatch.setattr(files, "HEAD_BYTES", 64)
    ran = scan(written(tmp_path, "x.jsonl", f'{{"mail": "{EMAIL}"}}\n' * 5 + "{"))
    assert ran.exit_code == 2
    assert "$.mail" in ran.stdout
    assert "NOT READ TO ITS END" in ran.stdout


def test_a_detector_that_fails_leaves_nothing_clean(tmp_path: Path, fragile) -> None:
    """Where the detector fails, the file counts as not read."""
    fragile("x", BackendFailed("It failed.", code="detector-failed"))
    ran = scan(written(tmp_path, "x.csv", "a\nx\n"))
    assert (ran.exit_code, "detector-failed" in ran.stdout) == (2, True)


def test_digits_survive(tmp_path: Path) -> None:
    """Long numbers are found in every format, quoted or not, whole floats of pandas included."""
    assert places(written(tmp_path, "a.csv", f"n\n{CARD}\n")) == {("n", "CREDIT_CARD"): [1]}
    assert places(written(tmp_path, "a.jsonl", f'{{"n": {CARD}}}')) == {("$.n", "CREDIT_CARD"): [1]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": pa.array([None, float(CARD)])}), path)
    assert places(path) == {("n", "CREDIT_CARD"): [2]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_dialect_is_found_out(tmp_path: Path, encoding: str, delimiter: str) -> None:
    """The delimiter and a byte order mark say themselves how a file is written."""
    text = f"id{delimiter}e-mäil\n1{delimiter}{EMAIL}\n"
    path = written(tmp_path, "x.csv", text.encode(encoding))
    assert places(path) == {("e-mäil", "EMAIL_ADDRESS"): [1]}


def test_an_encoding_and_a_delimiter_can_be_named(tmp_path: Path) -> None:
    """--encoding and --delimiter win; what Python does not know is refused."""
    path = written(tmp_path, "x.csv", f"é:b\n1:{EMAIL}\n".encode("cp1252"))
    named = ("--encoding", "cp1252", "--delimiter", ":")
    assert places(path, *named) == {("b", "EMAIL_ADDRESS"): [1]}
    assert scan(path, "--encoding", "nope").exit_code == 2
    assert scan(path, "--encoding", "cp1252", "--delimiter", "ab").exit_code == 2


def test_standard_input_is_read(tmp_path: Path) -> None:
    """A dash with --format reads standard input; without it nobody knows what it is."""
    assert places("-", "--format", "csv", stdin=PEOPLE)[("email", "EMAIL_ADDRESS")] == [1, 3]
    sink = io.BytesIO()
    pq.write_table(pa.table({"mail": [EMAIL]}), sink)
    piped = places("-", "--format", "parquet", stdin=sink.getvalue())
    assert piped == {("mail", "EMAIL_ADDRESS"): [1]}
    assert "Say it with --format" in scan("-", stdin=PEOPLE).stdout


def test_nested_values_have_paths(tmp_path: Path) -> None:
    """JSON and Parquet name the leaf that a value is in; a field that stands twice is read twice."""
    row = f'{{"u": {{"mail": "{EMAIL}", "tags": ["x", "{PHONE}"]}}, "u": "{EMAIL}"}}'
    found = {
        ("$.u.mail", "EMAIL_ADDRESS"),
        ("$.u.tags[*]", "PHONE_NUMBER"),
        ("$.u", "EMAIL_ADDRESS"),
    }
    assert set(places(written(tmp_path, "x.jsonl", row))) == found
    assert set(places(written(tmp_path, "x.json", row))) == found
    path = tmp_path / "x.parquet"
    rows = [{"mail": EMAIL, "tags": ["x", PHONE]}, None]
    maps = pa.array([[], [("k", EMAIL)]], pa.map_(pa.string(), pa.string()))
    kinds = pa.array(["a", EMAIL]).dictionary_encode()
    pq.write_table(pa.table({"u": rows, "m": maps, "d": kinds}), path)
    assert places(path) == {
        ("u.mail", "EMAIL_ADDRESS"): [1],
        ("u.tags[*]", "PHONE_NUMBER"): [1],
        ("m[*].value", "EMAIL_ADDRESS"): [2],
        ("d", "EMAIL_ADDRESS"): [2],
    }


def test_bytes_are_read_where_they_are_text(tmp_path: Path) -> None:
    """Bytes in UTF-8 are looked through; that others were not is said."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"b": [EMAIL.encode(), b"\xff\xd8", None]}), path)
    ran = scan(path)
    assert ran.exit_code == 1
    assert "not scanned: bytes that are no text" in ran.stdout


def test_a_name_that_tells_is_not_repeated(tmp_path: Path) -> None:
    """A value in the place of a name is found, and the place goes by its position."""
    assert places(written(tmp_path, "x.csv", f"id,{EMAIL}\n1,{PHONE}\n")) == {
        ("(names)", "EMAIL_ADDRESS"): [2],
        ("column 2", "PHONE_NUMBER"): [1],
    }
    assert places(written(tmp_path, "x.jsonl", f'{{"by": {{"{EMAIL}": "{PHONE}"}}}}')) == {
        ("(names) $.by", "EMAIL_ADDRESS"): [1],
        ("$.by.*", "PHONE_NUMBER"): [1],
    }
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({EMAIL: [PHONE]}, metadata={"author": "bo@example.com"}), path)
    assert set(places(path)) == {("(names)", "EMAIL_ADDRESS"), ("column 1", "PHONE_NUMBER")}


def test_a_first_row_may_be_data(tmp_path: Path) -> None:
    """With --no-header it is scanned as row 1."""
    path = written(tmp_path, "x.csv", f"{EMAIL},1\nx,2\n")
    assert places(path, "--no-header") == {("column 1", "EMAIL_ADDRESS"): [1]}


@pytest.mark.parametrize("name", ["long.jsonl", "long.csv", "long.txt"])
def test_a_very_long_line_is_read_to_its_end(tmp_path: Path, name: str) -> None:
    """What stands at the end of ten megabytes in one line is found."""
    long = "lorem ipsum " * 850_000 + EMAIL
    text = {"jsonl": f'{{"a": "{long}"}}\n', "csv": f'a\n"{long}"\n', "txt": long}
    found = places(written(tmp_path, name, text[name.partition(".")[2]]))
    assert [*found.values()] == [[1]]


def test_a_notebook_is_read_whole(tmp_path: Path) -> None:
    """Sources, streams, errors, every text of an output, attachments and metadata have places."""
    page = f"<table>\n<tr><td>x</td></tr>\n<tr><td>a<b>da</b>@example.com</td></tr><!-- {PHONE} -->"
    cells = [
        {
            "cell_type": "code",
            "source": ["import x\n", f"mail = '{EMAIL}'\n"],
            "metadata": {"tags": [PHONE]},
            "outputs": [
                {"output_type": "stream", "name": "stderr", "text": [f"one\n{EMAIL}\n"]},
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {
                        "text/html": page,
                        "text/plain": ["x\n", PHONE],
                        "image/png": "aGk=",
                        "application/vnd.plotly.v1+json": {"data": [{"text": EMAIL}]},
                    },
                },
                {
                    "output_type": "error",
                    "ename": "KeyError",
                    "evalue": EMAIL,
                    "traceback": ["one", "\x1b[31mada\x1b[0m@example.com"],
                },
            ],
        },
        {"cell_type": "markdown", "metadata": {}, "source": f"# A\n\n{EMAIL}"},
    ]
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"authors": [{"name": EMAIL}]}}
    path = written(tmp_path, "x.ipynb", json.dumps(document | {"cells": cells}))
    assert places(path) == {
        ("cell 1 source", "EMAIL_ADDRESS"): [2],
        ("cell 1 output 1 stderr", "EMAIL_ADDRESS"): [2],
        ("cell 1 output 2 text/html", "EMAIL_ADDRESS"): [3],
        ("cell 1 output 2 text/html", "PHONE_NUMBER"): [3],
        ("cell 1 output 2 text/plain", "PHONE_NUMBER"): [2],
        ("cell 1 output 2 application/vnd.plotly.v1+json $.data[*].text", "EMAIL_ADDRESS"): [1],
        ("cell 1 output 3 traceback", "EMAIL_ADDRESS"): [2],
        ("cell 1 output 3 $.evalue", "EMAIL_ADDRESS"): [1],
        ("cell 1 $.metadata.tags[*]", "PHONE_NUMBER"): [1],
        ("cell 2 source", "EMAIL_ADDRESS"): [3],
        ("notebook $.metadata.authors[*].name", "EMAIL_ADDRESS"): [1],
    }
    assert "not scanned: image/png (1)" in scan(path).stdout


def test_a_folder_is_followed_down(tmp_path: Path) -> None:
    """Known kinds are read, hidden files and checkpoints are not, others are counted."""
    for name in ("a.csv", "sub/b.csv", ".hidden/c.csv", ".ipynb_checkpoints/d.csv", ".e.csv"):
        written(tmp_path, name, PEOPLE)
    written(tmp_path, "code.py", f"MAIL = '{EMAIL}'")
    told = json.loads(scan(tmp_path, "--json").stdout)
    assert [Path(f["file"]).name for f in told["files"]] == ["a.csv", "b.csv"]
    assert told["not_read"] == {".py": 1}
    assert "Not read, as they are of no known kind: .py (1)." in scan(tmp_path).stdout
    only = json.loads(scan(tmp_path, "--json", "--include", "*.py").stdout)
    assert [(Path(f["file"]).name, f["format"]) for f in only["files"]] == [("code.py", "text")]
    less = json.loads(scan(tmp_path, "--json", "--exclude", "sub/*").stdout)
    assert [Path(f["file"]).name for f in less["files"]] == ["a.csv"]
    nothing = scan(written(tmp_path, "empty/x.bin", "x").parent)
    assert (nothing.exit_code, "It holds no file of a known kind." in nothing.stdout) == (2, True)


def test_a_run_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run states and every artifact of a known kind is read; a run that is not there is no clean one."""
    run = Run("r1", "train", (), {"who": EMAIL, "depth": "3"}, {"rmse": 1.0})
    artifacts = {"data/people.csv": PEOPLE.encode(), "model.pkl": b"\x80", "r.txt": EMAIL.encode()}
    store = MemoryRunStore([run], files={"r1": artifacts})
    monkeypatch.setattr("nbgov.pii.targets.run_store", lambda: store)
    told = json.loads(scan("runs:/r1", "--json").stdout)
    names = ["runs:/r1/data/people.csv", "runs:/r1/r.txt", "runs:/r1"]
    assert [f["file"] for f in told["files"]] == names
    assert [(p["place"], p["lines"]) for p in told["files"][2]["places"]] == [("params", [1])]
    assert told["not_read"] == {".pkl": 1}
    part = json.loads(scan("runs:/r1/data", "--json").stdout)
    assert [f["file"] for f in part["files"]] == names[:1]
    lost = scan("runs:/nope")
    assert (lost.exit_code, "unknown-run" in lost.stdout) == (2, True)


def test_an_unknown_entity_is_refused(tmp_path: Path) -> None:
    """What nothing finds is wrong usage, not a clean file."""
    ran = nbgov("scan", written(tmp_path, "x.csv", PEOPLE), "--entities", "EMAIL")
    assert (ran.exit_code, "code    usage" in ran.stderr) == (2, True)


def test_secrets_are_looked_for_by_default(tmp_path: Path) -> None:
    """A key in a notebook is found without an option."""
    key = "AKIA" + "QYLPMN5HFIQR7XYA"
    path = written(tmp_path, "x.txt", f"aws_access_key_id = {key}\n")
    ran = nbgov("scan", path)
    assert ran.exit_code == 1, ran.output
    assert key not in ran.output


# ---------------------------------------------------------------- mask


def test_a_copy_differs_in_what_is_masked_only(tmp_path: Path) -> None:
    """Quotes, line ends, the header and every other cell keep their bytes; the report counts."""
    source, out = written(tmp_path, "people.csv", PEOPLE), tmp_path / "out.csv"
    ran = mask(source, out)
    assert ran.exit_code == 0, ran.output
    expected = PEOPLE.replace(EMAIL, "<EMAIL_ADDRESS>").replace("bo@example.com", "<EMAIL_ADDRESS>")
    expected = expected.replace(PHONE, "<PHONE_NUMBER>").replace(CARD, "<CREDIT_CARD>")
    assert out.read_bytes().decode() == expected
    assert ["email", "scanned", "EMAIL_ADDRESS", "2"] in [
        s.split() for s in ran.stderr.splitlines()
    ]
    assert source.read_bytes().decode() == PEOPLE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "people.csv"]


TEXT = st.text(st.sampled_from('ab,;"\n\r é@'), max_size=6)


@given(
    rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=8),
    newline=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    chunk=st.integers(1, 40),
    replaced=st.lists(TEXT, min_size=8, max_size=8),
)
def test_cells_are_those_that_were_written(rows, newline, quoting, chunk, replaced) -> None:
    """Cells are what csv.writer wrote, wherever chunks end; splicing changes the named cells only."""
    rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=newline, quoting=quoting)
    writer.writerows([["x", "y", "z"], *rows])
    data = text.getvalue().encode()
    source = Source("x.csv", None, "csv", delimiter=",")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", chunk)
        patch.setattr(files, "HEAD_BYTES", 16)
        blocks = list(read_cells(source, io.BytesIO(data)))
    read = [
        [c or "" for c in r]
        for b in blocks
        for r in zip(*(b.texts(i).to_pylist() for i in range(3)), strict=True)
    ]
    assert read == [["x", "y", "z"], *rows]
    assert b"".join(block.spliced({}) for block in blocks) == data
    new = iter(["y", *replaced])
    parts = [
        b.spliced({1: pa.array([next(new) for _ in b.starts], pa.large_string())}) for b in blocks
    ]
    got = csv.reader(io.StringIO(b"".join(parts).decode(), newline=""), strict=True)
    assert [*got] == [
        ["x", "y", "z"],
        *([a, n, c] for (a, _, c), n in zip(rows, replaced, strict=False)),
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_a_copy_keeps_its_encoding(tmp_path: Path, encoding: str) -> None:
    """The copy is written in the encoding of the original, its byte order mark included."""
    source = written(tmp_path, "x.csv", f"é;m\nü;{EMAIL}\n".encode(encoding))
    words = ["--encoding", encoding] if encoding == "cp1252" else []
    assert mask(source, tmp_path / "out.csv", *words).exit_code == 0
    assert (tmp_path / "out.csv").read_bytes() == "é;m\nü;<EMAIL_ADDRESS>\n".encode(encoding)


def test_a_column_that_fails_late_is_redacted_from_the_start(
    tmp_path: Path, fragile, monkeypatch
) -> None:
    """What happens to a column does not depend on where a batch ends."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 64)
    monkeypatch.setattr(files, "HEAD_BYTES", 64)
    fragile("bad", BackendFailed("It failed.", code="detector-failed"))
    rows = [f"v{i},a{i}@x.org" for i in range(50)]
    source = written(tmp_path, "x.csv", "\n".join(["a,b", *rows, "bad,c@x.org", "w,d"]) + "\n")
    ran = mask(source, tmp_path / "out.csv")
    assert ran.exit_code == 0, ran.output
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["a,b", *([",<EMAIL_ADDRESS>"] * 51), ",d"]
    assert "REDACTED, as it could not be scanned (detector-failed)" in ran.stderr
    piped = mask("-", "-", "--format", "csv", stdin=source.read_bytes())
    assert piped.stdout.splitlines() == lines


def test_a_table_keeps_its_form(tmp_path: Path) -> None:
    """Parquet keeps types, metadata, row groups and compression, nested columns included."""
    table = pa.table(
        {
            "id": pa.array([1, 2, 3], pa.int32()),
            "mail": pa.array([EMAIL, None, "x"]).dictionary_encode(),
            "u": [{"p": [PHONE]}, None, {"p": []}],
        }
    ).replace_schema_metadata({"owner": "nobody"})
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    codecs = {"id": "ZSTD", "mail": "GZIP", "u.p.list.element": "NONE"}
    pq.write_table(table, source, row_group_size=2, compression=codecs)
    ran = mask(source, out)
    assert ran.exit_code == 0, ran.output
    old, new = pq.ParquetFile(source), pq.ParquetFile(out)
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert new.num_row_groups == old.num_row_groups == 2
    for i in range(3):
        assert (
            new.metadata.row_group(0).column(i).compression
            == old.metadata.row_group(0).column(i).compression
        )
    assert new.read().to_pylist() == [
        {"id": 1, "mail": "<EMAIL_ADDRESS>", "u": {"p": ["<PHONE_NUMBER>"]}},
        {"id": 2, "mail": None, "u": None},
        {"id": 3, "mail": "x", "u": {"p": []}},
    ]


def test_lines_keep_their_order_and_types(tmp_path: Path) -> None:
    """JSON keeps the order of fields, doubles, numbers as written, and untouched lines byte for byte."""
    text = (
        '{"z":1.50,"a":"x","n":123456789012345678901234567890,"t":true,"e":"\\u00e9"}\r\n'
        "\n"
        f'{{"z": 1.50, "a": "{EMAIL}", "l": [1e400, null, {{"a": "{PHONE}"}}], "a": "é"}}\n'
        f'{{"c": {CARD}, "s": "\\ud800"}}\n'
        f'"{EMAIL}"'
    )
    out = tmp_path / "out.jsonl"
    ran = mask(written(tmp_path, "in.jsonl", text), out)
    assert ran.exit_code == 0, ran.output
    assert out.read_bytes().decode() == (
        '{"z":1.50,"a":"x","n":123456789012345678901234567890,"t":true,"e":"\\u00e9"}\r\n'
        "\n"
        '{"z": 1.50, "a": "<EMAIL_ADDRESS>", "l": [1e400, null, {"a": "<PHONE_NUMBER>"}], "a": "é"}\n'
        '{"c": null, "s": "\\ud800"}\n'
        '"<EMAIL_ADDRESS>"'
    )


def test_operators_name_columns_fields_and_entities(tmp_path: Path, monkeypatch) -> None:
    """A column that an operator names is masked whole, by one token for one value in every format."""
    monkeypatch.setenv("G_KEY", "k" * 40)
    words = (
        "--operator",
        "mail=token",
        "--operator",
        "PHONE_NUMBER=partial:4",
        "--key",
        "env:G_KEY",
    )
    source = written(tmp_path, "in.csv", f"mail,note\nx,{PHONE}\n")
    assert (ran := mask(source, tmp_path / "o.csv", *words)).exit_code == 0, ran.output
    [row] = csv.DictReader((tmp_path / "o.csv").read_text().splitlines())
    lines = written(tmp_path, "in.jsonl", '{"u": {"mail": "x"}, "n": 1}\n')
    assert mask(lines, tmp_path / "o.jsonl", *words).exit_code == 0
    nested = json.loads((tmp_path / "o.jsonl").read_text())
    assert nested == {"u": {"mail": row["mail"]}, "n": 1}
    assert row["mail"].startswith("tok_")
    assert row["note"].endswith("0123")
    assert "masked whole: token (operators)" in ran.stderr


def test_a_policy_masks_by_its_tags(tmp_path: Path) -> None:
    """A tagged column is masked, and so is a field below a tagged one."""
    policy = written(
        tmp_path,
        "policy.yaml",
        'version: 1\ntags:\n  pii.user: ["wh.main.t.user"]\nrules:\n'
        '  - {id: r, effect: permit, to: {groups: [g]}, actions: [read], on: ["wh.*.*"],'
        ' obligations: {masks: {"pii.*": redact}}}\n',
    )
    words = ("--policy", policy, "--table", "wh.main.t")
    source = written(tmp_path, "in.csv", "user,x\nAda,1\n")
    assert (ran := mask(source, tmp_path / "o.csv", *words)).exit_code == 0, ran.output
    assert (tmp_path / "o.csv").read_text() == "user,x\n***,1\n"
    lines = written(tmp_path, "in.jsonl", '{"user": {"first": "Ada", "age": 36}, "x": 1}\n')
    assert mask(lines, tmp_path / "o.jsonl", *words).exit_code == 0
    found = {"user": {"first": "***", "age": None}, "x": 1}
    assert json.loads((tmp_path / "o.jsonl").read_text()) == found


@pytest.mark.parametrize(
    ("name", "text"),
    [("x.csv", f"id,{EMAIL}\n1,2\n"), ("x.jsonl", f'{{"by": {{"{EMAIL}": 1}}}}\n')],
)
def test_names_that_tell_are_refused(tmp_path: Path, name: str, text: str) -> None:
    """A copy keeps names, so that one with a value in it is not written unless a person says so."""
    source, out = written(tmp_path, name, text), tmp_path / f"out-{name}"
    ran = mask(source, out)
    assert (ran.exit_code, "code    names-tell" in ran.stderr) == (1, True)
    assert EMAIL not in ran.output
    assert [*tmp_path.iterdir()] == [source]
    assert mask(source, out, "--keep-names").exit_code == 0
    assert EMAIL in out.read_text()


def test_a_first_row_of_data_is_masked(tmp_path: Path) -> None:
    """With --no-header the first row is a row."""
    source = written(tmp_path, "x.csv", f"{EMAIL},1\nx,2\n")
    assert mask(source, tmp_path / "o.csv", "--no-header").exit_code == 0
    assert (tmp_path / "o.csv").read_text() == "<EMAIL_ADDRESS>,1\nx,2\n"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    """OUT that is there needs --force; IN is never OUT, by whatever name."""
    source, out = written(tmp_path, "x.csv", PEOPLE), written(tmp_path, "out.csv", "mine")
    link = tmp_path / "link.csv"
    link.symlink_to(source)
    for target, words in ((out, ()), (source, ("--force",)), (link, ("--force",)), (tmp_path, ())):
        ran = mask(source, target, *words)
        assert (ran.exit_code, "code    file-exists" in ran.stderr) == (1, True)
    assert (source.read_text(), out.read_text()) == (PEOPLE.replace("\r", ""), "mine")
    assert mask(source, out, "--force").exit_code == 0
    assert "<EMAIL_ADDRESS>" in out.read_text()
    wrong = mask(source, tmp_path / "out.parquet")
    assert "a copy has the format of the original" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", ""),
        ("x.csv", "a,b\n1,2\n1\n"),
        ("x.jsonl", ""),
        ("x.jsonl", '{"a": 1}\n{'),
        ("x.parquet", "PAR1"),
        ("x.ipynb", "{}"),
    ],
)
def test_what_cannot_be_read_is_not_copied(tmp_path: Path, name: str, text: str) -> None:
    """An error leaves no file behind, not even a part."""
    source = written(tmp_path, name, text)
    ran = mask(source, tmp_path / f"out{source.suffix}")
    assert (ran.exit_code, "code    file-unreadable" in ran.stderr) == (1, True), ran.output
    assert [*tmp_path.iterdir()] == [source]
    assert mask("-", "-", "--format", "csv", stdin="a,b\n1,2\n1\n").stdout == ""


def test_a_header_alone_is_copied(tmp_path: Path) -> None:
    """A file without rows has a copy without rows."""
    source = written(tmp_path, "x.csv", "a,b\n")
    assert mask(source, tmp_path / "o.csv").exit_code == 0
    assert (tmp_path / "o.csv").read_text() == "a,b\n"


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str, monkeypatch) -> None:
    """Where writing fails, the error says so, and the folder is as before."""
    source = written(tmp_path, name, PEOPLE if name == "x.csv" else '{"a": 1}\n')
    if name == "x.parquet":
        pq.write_table(pa.table({"a": ["x"]}), source)

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("nbgov.pii.copying.os.fdopen", Full)
    ran = mask(source, tmp_path / f"out-{name}")
    assert (ran.exit_code, "No space left on device" in ran.stderr) == (1, True), ran.output
    assert "code    file-unwritable" in ran.stderr
    assert [*tmp_path.iterdir()] == [source]


def test_an_interrupt_leaves_nothing(tmp_path: Path, fragile) -> None:
    """Ctrl-C ends with 130 and without a part of a file."""
    fragile("x", KeyboardInterrupt())
    source = written(tmp_path, "x.csv", "a\nx\n")
    ran = mask(source, tmp_path / "o.csv")
    assert (ran.exit_code, "Nothing was written." in ran.stderr) == (130, True)
    assert [*tmp_path.iterdir()] == [source]
    assert scan(source).exit_code == 130


@pytest.mark.parametrize("words", [["scan", "-"], ["mask", "-", "-"]])
def test_a_process_ends_with_130_on_ctrl_c(words: list[str]) -> None:
    """A real process that waits for its input is interrupted without a stack."""
    command = [str(Path(sys.executable).with_name("nbgov")), *words, "--format", "csv", *PATTERNS]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        # Far more than a pipe holds: once it is written, somebody reads.
        process.stdin.write(b"a,b\n" * 250_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert (out, b"Interrupted." in err, b"Traceback" in err) == (b"", True, False)


def test_a_process_has_the_exit_code(tmp_path: Path) -> None:
    """Scripts and CI see 1 for findings, and no progress bar where nobody watches."""
    path = written(tmp_path, "x.csv", PEOPLE)
    command = [str(Path(sys.executable).with_name("nbgov")), "scan", str(path), *PATTERNS]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert (ran.returncode, ran.stderr) == (1, "")


def test_a_bar_shows_on_a_terminal_only(tmp_path: Path) -> None:
    """On a terminal a bar tells how far it is and goes; --quiet keeps it away; findings are the same."""
    rows = "".join(f"user{i}@example.com\n" for i in range(5_000))
    path = written(tmp_path, "x.csv", f"mail\n{rows}")
    program = (
        "import sys; from nbgov.cli import pii; sys.stderr.isatty = lambda: True;"
        "Bar = pii.Bar; show = Bar.show; Bar.show = lambda s, d, t: (print(f'{d}/{t}', file=sys.__stderr__), show(s, d, t));"
        "from nbgov.cli import main; main()"
    )
    words = ["scan", str(path), "--entities", "EMAIL_ADDRESS"]
    loud = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    quiet = CliRunner().invoke(main, [*words, "--quiet"])
    assert loud.returncode == quiet.exit_code == 1, loud.stderr
    assert (loud.stdout, quiet.stderr) == (quiet.stdout, "")
    assert "5000/5000" in loud.stderr


def test_a_wrong_operator_is_refused(tmp_path: Path) -> None:
    """What is not NAME=OPERATOR, or no operator, is an error before anything is written."""
    source = written(tmp_path, "x.csv", PEOPLE)
    for words in (
        ("--operator", "mail"),
        ("--operator", "email=nope"),
        ("--operator", "zzz=token"),
    ):
        assert mask(source, tmp_path / "o.csv", *words).exit_code == 1
    assert [*tmp_path.iterdir()] == [source]


def test_the_reader_of_cells_says_where(tmp_path: Path) -> None:
    """The line of an error counts from the start of the file, in later chunks too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", 16)
        patch.setattr(files, "HEAD_BYTES", 16)
        data = b"a,b\n" * 20 + b"a\n"
        with pytest.raises(RequestInvalid, match="cannot be read") as caught:
            list(read_cells(Source("x.csv", None, "csv"), io.BytesIO(data)))
    assert caught.value.why.startswith("Line 21 ")


def test_a_page_is_read_as_people_and_machines_see_it(tmp_path: Path) -> None:
    """Text, attributes, comments, styles and scripts are read with their lines; pictures are not."""
    picture = f'<img alt="{PHONE}" src="data:image/png;base64,{CARD}">'
    page = f"<style>\n/* {EMAIL} */</style>\n<p title='{EMAIL}'>a<br>{picture}\n{CARD}</p>"
    assert places(written(tmp_path, "x.html", page)) == {
        ("page", "EMAIL_ADDRESS"): [2, 3],
        ("page", "PHONE_NUMBER"): [3],
        ("page", "CREDIT_CARD"): [4],
    }
    assert places(written(tmp_path, "y.html", f"\n<![x {EMAIL}"))[("page", "EMAIL_ADDRESS")] == [2]
    people = nbgov("scan", written(tmp_path, "z.html", "<style>.Ada Lovelace {}</style>"))
    assert people.exit_code == 0, people.output


def test_a_document_may_be_lines_under_another_name(tmp_path: Path) -> None:
    """A .json file that holds one value to a line is read like JSON lines."""
    text = f'{{"a": "x", "n": NaN}}\n\n{{"a": "{EMAIL}"}}\n'
    assert places(written(tmp_path, "x.json", text)) == {("$.a", "EMAIL_ADDRESS"): [3]}
    assert places(written(tmp_path, "y.json", f'["x", "{EMAIL}"]')) == {("$", "EMAIL_ADDRESS"): [2]}
    assert places(written(tmp_path, "z.json", "\n")) == {}


def test_many_fields_are_told_by_what_they_are_in(tmp_path: Path, monkeypatch) -> None:
    """A scan keeps no more paths than it may; a copy of such a file is refused."""
    monkeypatch.setattr("nbgov.pii.readers.values.PATHS_MAX", 4)
    monkeypatch.setattr("nbgov.pii.writers.lines.PATHS_MAX", 4)
    row = {"by": {f"k{i}": {"mail": EMAIL} for i in range(9)}}
    path = written(tmp_path, "x.jsonl", json.dumps(row))
    assert ("$.by.**", "EMAIL_ADDRESS") in places(path)
    ran = mask(path, tmp_path / "o.jsonl")
    assert (ran.exit_code, "different fields" in ran.stderr) == (1, True)


def test_deep_values_are_refused_before_anything_breaks(tmp_path: Path) -> None:
    """What is nested too deep to be walked over is an error, in a scan and in a copy."""
    deep = written(tmp_path, "x.jsonl", "[" * 300 + "]" * 300)
    for ran in (scan(deep), mask(deep, tmp_path / "o.jsonl")):
        assert ran.exit_code in {1, 2}
        assert "Line 1 is nested too deep." in ran.output
