"""``nbgov audit verify`` and ``prove``, on a real state folder, and on a copy without one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nbgov.cli import main
from nbgov.core.audit import decode
from nbgov.core.audit.note import VerifierKey, sign
from nbgov.core.audit.proof import Proof
from nbgov.session import connect
from tests.surfaces.house import build

WITNESS = str(VerifierKey("witness.test/w1", b"\2" * 32, "witness"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house in a folder, where one statement ran."""
    (tmp_path / "house").mkdir()
    house = build(tmp_path / "house")
    with connect(house, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
    return house


@pytest.fixture
def key(folder: Path) -> str:
    """The log's key, as its owner prints it."""
    with connect(folder, as_="ada@acme.test") as session:
        origin = decode(next(iter(session.world.audit.entries()))).origin
        return str(VerifierKey(origin, session.world.signer.public_key()))


def home(folder: Path, *words: str) -> Result:
    """Run a command beside the nbgov.yaml."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", "ada@acme.test", *words])


def away(*words: str) -> Result:
    """Run a command where there is no nbgov.yaml."""
    return CliRunner().invoke(main, ["--config", "/nowhere/nbgov.yaml", *words])


def test_a_log_is_verified_at_home(folder: Path) -> None:
    """Every check is a line, and the own key is told of as what it is."""
    shown = home(folder, "audit", "verify")
    assert shown.exit_code == 0, shown.output
    assert "  holds        chain " in shown.stdout
    assert "proves nothing against whoever owns the host" in shown.stdout
    assert "not checked  window" in shown.stdout
    assert shown.stdout.endswith("The audit log verifies.\n")
    assert home(folder, "audit", "verify", "--deep").stdout == shown.stdout


def test_a_copy_is_verified_away_with_the_key_alone(folder: Path, key: str, tmp_path: Path) -> None:
    """A copied state folder, the key and a receipt are enough, in words or in files."""
    copy = tmp_path / "copy"
    shutil.copytree(folder / ".nbgov", copy)
    (tmp_path / "log.vkey").write_text(f"{key}\n", encoding="utf-8")
    with connect(folder, as_="ada@acme.test") as session:
        entry = decode(next(iter(session.world.audit.entries())))
    receipt = f"{entry.origin}/0#{entry.digest.hex()}"
    (tmp_path / "mail.txt").write_text(f"The receipt is {receipt}\n", encoding="utf-8")
    checkpoint = str(copy / "audit" / "checkpoint")
    for words in ((key, receipt), (str(tmp_path / "log.vkey"), str(tmp_path / "mail.txt"))):
        shown = away(
            "audit", "verify", "--from", str(copy), "--key", words[0], "--receipt", words[1],
            "--checkpoint", checkpoint,
        )  # fmt: skip
        assert shown.exit_code == 0, shown.output
        for name in ("checkpoint", "kept at", "receipts"):
            assert f"  holds        {name}" in shown.stdout


def test_a_bundle_is_verified_away(folder: Path, key: str, tmp_path: Path) -> None:
    """What export --bundle writes verifies with the key alone, and fails under another."""
    bundle = tmp_path / "log.zip"
    made = home(folder, "audit", "export", "--bundle", str(bundle))
    assert made.exit_code == 0, made.output
    shown = away("audit", "verify", "--from", str(bundle), "--key", key)
    assert shown.exit_code == 0, shown.output
    other = str(VerifierKey(VerifierKey.parse(key).name, b"\1" * 32))
    shown = away("audit", "verify", "--from", str(bundle), "--key", other)
    assert (shown.exit_code, "FAILS        checkpoint" in shown.stdout) == (1, True)


def test_a_lost_entry_is_found(folder: Path, key: str) -> None:
    """Cutting the log below its checkpoint ends with code 1, and says how far it goes."""
    [segment] = (folder / ".nbgov" / "audit").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1]))
    shown = away("audit", "verify", "--from", str(folder / ".nbgov"), "--key", key)
    assert shown.exit_code == 1
    assert f"the log ends after {len(lines) - 1}" in shown.stdout
    assert "does NOT verify" in shown.stdout


def test_an_entry_is_proven(folder: Path, key: str, tmp_path: Path) -> None:
    """A proof made at home is checked away, printed or in a file, and under no other key."""
    file = tmp_path / "entry.tlog-proof"
    printed = home(folder, "audit", "prove", "1")
    made = home(folder, "audit", "prove", "1", "-o", str(file))
    assert printed.exit_code == made.exit_code == 0, printed.output + made.output
    assert printed.stdout.startswith("c2sp.org/tlog-proof@v1\nextra ")
    shown = away("audit", "verify", "--proof", str(file), "--key", key)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("Entry 1 is in the log ")
    assert home(folder, "audit", "verify", "--proof", str(file)).exit_code == 0
    other = str(VerifierKey(VerifierKey.parse(key).name, b"\1" * 32))
    wrong = away("audit", "verify", "--proof", str(file), "--key", other)
    assert (wrong.exit_code, "proof-invalid" in wrong.stderr) == (1, True)


def test_a_proof_outlives_the_key_that_it_was_made_under(folder: Path, tmp_path: Path) -> None:
    """At home a proof under the first key, a later one or the newest counts; a forged one fails."""
    for number in range(3):
        file = tmp_path / f"{number}.tlog-proof"
        assert home(folder, "audit", "prove", "1", "-o", str(file)).exit_code == 0
        if number < 2:
            assert home(folder, "audit", "rotate").exit_code == 0
    for number, words in enumerate(["a key that was replaced since", "a key that was", ""]):
        shown = home(folder, "audit", "verify", "--proof", str(tmp_path / f"{number}.tlog-proof"))
        assert shown.exit_code == 0, shown.output
        assert shown.stdout.startswith("Entry 1 is in the log ")
        assert words in shown.stdout
        assert ("replaced" in shown.stdout) == bool(words)
    good = Proof.parse((tmp_path / "0.tlog-proof").read_text(encoding="utf-8"))
    point = good.note.checkpoint
    stranger = sign(point, VerifierKey(point.origin, b"\1" * 32), lambda _: bytes(64))
    fork = replace(point, root=bytes(32)).text
    for forged in (
        replace(good, note=stranger),
        replace(good, note=replace(good.note, text=fork)),
        replace(good, path=good.path[:-1]),
        replace(good, index=0),
    ):
        (tmp_path / "forged").write_text(str(forged), encoding="utf-8")
        shown = home(folder, "audit", "verify", "--proof", str(tmp_path / "forged"))
        assert (shown.exit_code, "proof-invalid" in shown.stderr) == (1, True), shown.output


def test_a_witness_that_is_named_has_to_have_cosigned(folder: Path, tmp_path: Path) -> None:
    """At home too, for the log and for a proof; one that is only configured is not checked."""
    file = tmp_path / "entry.tlog-proof"
    assert home(folder, "audit", "prove", "1", "-o", str(file)).exit_code == 0
    shown = home(folder, "audit", "verify", "--witness", WITNESS)
    assert (shown.exit_code, "FAILS        witnesses" in shown.stdout) == (1, True), shown.output
    shown = home(folder, "audit", "verify", "--proof", str(file), "--witness", WITNESS)
    assert (shown.exit_code, "0 of 1 witnesses" in shown.stderr) == (1, True), shown.output
    config = folder / "nbgov.yaml"
    entry = f'audit: {{witnesses: [{{url: "http://127.0.0.1:1", key: "{WITNESS}"}}]}}\n'
    config.write_text(config.read_text(encoding="utf-8") + entry, encoding="utf-8")
    shown = home(folder, "audit", "verify")
    assert (shown.exit_code, "not checked  witnesses" in shown.stdout) == (0, True), shown.output
    shown = home(folder, "audit", "verify", "--quorum", "1")
    assert (shown.exit_code, "FAILS        witnesses" in shown.stdout) == (1, True), shown.output


def test_a_key_counts_for_what_it_is(folder: Path, key: str) -> None:
    """The log's own key is no witness of it, and a witness's key signs no log."""
    for option, text in (("--witness", key), ("--key", WITNESS)):
        copy = ("--from", str(folder / ".nbgov"))
        for shown in (
            home(folder, "audit", "verify", option, text),
            away("audit", "verify", *copy, option, text),
        ):
            assert (shown.exit_code, "key-invalid" in shown.stderr) == (1, True), shown.output


def test_a_log_from_elsewhere_needs_something_to_hold_it_against(folder: Path) -> None:
    """Nobody is told that a folder or a bundle verifies which its maker alone vouches for."""
    for words in ((), ("--deep",), ("--quorum", "1")):
        shown = away("audit", "verify", "--from", str(folder / ".nbgov"), *words)
        assert (shown.exit_code, "code    usage" in shown.stderr) == (1, True), shown.output
        assert "--key, --witness, --receipt or --checkpoint" in shown.stderr
        assert "verifies" not in shown.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("verify", "--key", ""), "key-invalid"),
        (("verify", "--receipt", "nonsense"), "receipt-invalid"),
        (("prove", "999999"), "unknown-record"),
    ],
)
def test_what_is_no_key_receipt_or_entry_is_refused(folder: Path, words: tuple[str, ...], code: str) -> None:  # fmt: skip
    """An empty variable of a shell does not pass for no key."""
    shown = home(folder, "audit", *words)
    assert (shown.exit_code, f"code    {code}" in shown.stderr) == (1, True)


def test_a_file_that_is_no_text_is_refused(folder: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are no key, no checkpoint and no proof."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    shown = home(folder, "audit", "verify", "--proof", str(tmp_path / "bytes"))
    assert (shown.exit_code, "file-unreadable" in shown.stderr) == (1, True)
