"""Receipts that land outside the log, and how they are found again."""

from __future__ import annotations

import json

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

import nbgov
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.note import Note
from nbgov.errors import RequestInvalid
from nbgov.evidence.receipts import FILE_BYTES_MAX, find_receipts
from nbgov.model import Receipt, RecordKind
from tests.flights import CONFIG, build

ONE = Receipt("nbgov-1", 3, bytes(range(32)))
OTHER = Receipt("gateway/eu", 12, bytes(32))


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "{one}\n{other}",
        "receipt {one}, and then ({other}).",
        '<code title="{one}">{other}</code>',
        "| {one} | {other} |",
        '{{"a": {{"receipt": "{one}"}}, "b": ["x", 1, null, "{one}, {other}"]}}',
        '{{"{one}": "{other} {other}"}}',
    ],
)
def test_receipts_are_found_in_texts_and_json(tmp_path, text):
    """Each receipt is found once, in the order of the file, whatever stands around it."""
    path = written(tmp_path / "file", text.format(one=ONE, other=OTHER))
    assert find_receipts(path) == (ONE, OTHER)


@given(index=st.integers(0, 10**18), digest=st.binary(min_size=32, max_size=32))
def test_what_a_receipt_says_is_what_is_found(index, digest, tmp_path_factory):
    """A receipt's text leads back to the receipt."""
    receipt = Receipt("log", index, digest)
    path = written(tmp_path_factory.getbasetemp() / "receipt.txt", f"receipt {receipt}\n")
    assert find_receipts(path) == (receipt,)


@pytest.mark.parametrize("text", ["", "{}", str(ONE)[:-1], f"{ONE}0", ONE.short, "a/b#" + "0" * 64])
def test_a_part_of_a_receipt_is_none(tmp_path, text):
    """What is shortened or lengthened proves nothing, and a file with no receipt is an error."""
    with pytest.raises(RequestInvalid, match="receipt-invalid"):
        find_receipts(written(tmp_path / "file", text))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    """A missing file and an endless one are told apart from one without a receipt."""
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    for path in (tmp_path / "absent", endless):
        with pytest.raises(RequestInvalid, match="file-unreadable"):
            find_receipts(path)


def house(folder):
    sql = (
        "CREATE TABLE flights AS SELECT i AS n, 'p' || i || '@x.test' AS email FROM range(30) t(i)"
    )
    return build(folder, sql, config=CONFIG)


def test_a_checkpoint_can_be_kept_beside_receipts(tmp_path):
    """The public function gives a note over the log as it is now, and nothing for an empty log."""
    with nbgov.connect(house(tmp_path), as_="ada@acme.test") as session:
        with session.sql("SELECT n FROM flights") as result:
            result.to_arrow()
        note = Note.parse(nbgov.checkpoint(session))
        assert note.checkpoint.size == len(list(session.world.audit.entries()))


@pytest.mark.slow
def test_a_saved_notebook_holds_the_receipts_of_its_cells(tmp_path):
    """What a cell delivered and what it was refused: both receipts are whole in the saved file."""
    config = house(tmp_path)
    cells = [
        "%load_ext nbgov\n%nbgov connect --as ada@acme.test",
        "%govsql SELECT n FROM flights",
        "%govsql x << SELECT n FROM flights WHERE n < 3",
        "%govsql DROP TABLE flights",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(
        book,
        timeout=120,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(config)}},
    ).execute()
    path = tmp_path / "saved.ipynb"
    nbformat.write(book, path)
    outputs = [one["outputs"] for one in json.loads(path.read_text())["cells"]]
    details = [out["metadata"]["nbgov"] for cell in outputs[1:3] for out in cell]
    found = find_receipts(path)
    assert [str(one) for one in found[:2]] == [one["receipt"] for one in details]
    assert str(found[2]) in "".join(outputs[3][0]["traceback"])
    with nbgov.connect(config, as_="ada@acme.test") as session:
        lines = list(session.world.audit.entries())
        assert [leaf_digest(lines[one.index]) for one in found] == [r.entry_digest for r in found]
    assert len(found) == 3
    assert RecordKind.OUTCOME.value in lines[found[2].index].decode()
