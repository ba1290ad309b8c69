"""A witness as people run it: on the command line, in a process of its own, killed and started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

import nbgov
from nbgov.backends.witnesses import HttpWitness
from nbgov.cli import main
from nbgov.core.audit.note import SignatureLine, VerifierKey
from nbgov.errors import BackendFailed, IntegrityFailed
from tests.surfaces.house import build
from tests.witnesses import NAME, ORIGIN, grown, key_of, path_of, serving

# What a witness prints when it listens.
LISTENING = re.compile(r"listening on (\S+), logs known \d+, key (\S+)\n")
DIES_BEFORE_IT_ANSWERS = """
import os, signal, sys
from nbgov import witness
from nbgov.cli import main
witness.Handler.reply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


def run(*words, folder=None):
    """Run a command in this process."""
    config = ["--config", str(folder), "--as", "ada@acme.test"] if folder else []
    return CliRunner().invoke(main, [*config, *words])


@contextlib.contextmanager
def process(state: Path, *logs: VerifierKey, program: str = "from nbgov.cli import main; main()"):
    """A witness in a process of its own, and its client."""
    words = [word for log in logs for word in ("--log", str(log))]
    command = ["audit", "witness", "serve", "--state", str(state), "--name", NAME, "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *command, *words], stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            url, key = LISTENING.search(child.stderr.readline()).groups()
            yield child, HttpWitness(url, VerifierKey.parse(key))
        finally:
            child.kill()


def cosign(witness, log, old=0):
    return witness.cosign(log.checkpoint(), old_size=old, path=path_of(log, old))


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_witness_listens_cosigns_and_ends_when_it_is_told(tmp_path, number):
    """It says where it listens, logs a line a request, and ends with 0 on Control-C and SIGTERM."""
    log = grown(3)
    with process(tmp_path, key_of(log)) as (child, witness):
        assert isinstance(cosign(witness, log), SignatureLine)
        child.send_signal(number)
        told = child.stderr.read()
        assert child.wait() == 0
    assert [line.split(" ", 1)[1] for line in told.splitlines()] == [
        "add-checkpoint 200",
        "stopped",
    ]
    shown = run("audit", "witness", "show", "--state", str(tmp_path))
    assert shown.exit_code == 0
    assert f"  {ORIGIN}\n  3\n" in shown.stdout


def test_a_witness_has_one_key_for_good(tmp_path):
    """The key is made with a name, and is the same ever after."""
    words = ("audit", "witness", "key", "--state", str(tmp_path / "w"))
    assert run(*words).exit_code == 1
    made = run(*words, "--name", NAME)
    assert VerifierKey.parse(made.stdout).purpose == "witness"
    assert run(*words).stdout == made.stdout
    assert "has the name" in run(*words, "--name", "other").stderr


def test_the_evidence_of_a_fork_is_shown(tmp_path):
    """Both notes of a fork can be printed for others to check; finding one ends with 1."""
    log, other = grown(4), grown(4, note="rewritten")
    with serving(tmp_path, key_of(log)) as witness:
        cosign(witness, log)
        for lines, old in ((other, 4), (grown(6, note="rewritten"), 4)):
            with pytest.raises(IntegrityFailed):
                cosign(witness, lines, old)
    shown = run("audit", "witness", "show", "--state", str(tmp_path))
    assert shown.exit_code == 1
    assert "two roots of one size" in shown.stdout
    assert "by itself that proves nothing" in shown.stdout
    assert other.checkpoint().text.split("\n")[2] in shown.stdout


@pytest.mark.parametrize("content", ["", "# nothing\n", "nonsense\n", "witness"])
def test_a_log_is_named_by_its_key(tmp_path, content):
    """What is no key of a log is said before anything listens."""
    path = tmp_path / "logs"
    path.write_text(
        str(VerifierKey(NAME, bytes(32), "witness")) if content == "witness" else content
    )
    state = str(tmp_path / "w")
    ran = run("audit", "witness", "serve", "--state", state, "--name", NAME, "--log", str(path))
    assert ran.exit_code == 1
    assert "code    key-invalid" in ran.stderr
    assert not (tmp_path / "w").exists()


def test_a_port_that_is_taken_is_said(tmp_path):
    """Two witnesses cannot listen on one port."""
    log = key_of(grown(0))
    with serving(tmp_path / "one", log) as witness:
        ran = run(
            "audit", "witness", "serve", "--state", str(tmp_path / "two"), "--name", NAME,
            "--port", str(witness.address[1]), "--log", str(log),
        )  # fmt: skip
    assert ran.exit_code == 1
    assert "code    address-unavailable" in ran.stderr


# ---------------------------------------------------------------- a project with a witness


@pytest.fixture
def house(tmp_path):
    """A project whose log a witness knows: its folder, and the witness."""
    folder = build(tmp_path)
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        session.sql("SELECT id FROM people").to_arrow()
        note = session.world.audit.checkpoint()
        key = VerifierKey(note.checkpoint.origin, session.world.signer.public_key())
    with serving(tmp_path / "witness", key) as witness:
        url = f"http://127.0.0.1:{witness.address[1]}"
        entry = f"audit: {{witnesses: [{{url: '{url}', key: '{witness.key}'}}]}}\n"
        with (folder / "nbgov.yaml").open("a") as file:
            file.write(entry)
        yield folder, witness


def status(folder):
    return json.loads(run("audit", "status", "--json", folder=folder).stdout)


def test_a_session_is_witnessed_to_its_end(house):
    """After a session, its witness has seen every entry, and people are told."""
    folder, witness = house
    before = status(folder)
    assert before["witnessed"]["size"] == 0
    assert before["window"] == before["entries"]
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 0
    found = status(folder)
    assert found["window"] == 0
    assert found["witnessed"]["by"] == [witness.key.name]
    assert "0 entries that no witness has seen" in run("audit", "status", folder=folder).stdout
    assert witness.newest(found["origin"]).checkpoint.size == found["entries"]
    assert f"{witness.key.name}: cosigns" in run("doctor", folder=folder).stdout


@pytest.mark.slow
def test_a_log_that_was_rolled_back_runs_nothing_more(house):
    """Restoring an old copy of the log, notes and all, is found, said and remembered."""
    folder, _ = house
    log, copy = folder / ".nbgov" / "audit", folder / "copy"
    run("audit", "cosign", folder=folder)
    shutil.copytree(log, copy)
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 0
    shutil.rmtree(log)
    shutil.copytree(copy, log)
    told = run("audit", "cosign", folder=folder)
    assert told.exit_code == 1
    assert "the log has fewer" in told.stdout
    ran = run("sql", "SELECT id FROM people", folder=folder)
    assert ran.exit_code == 1
    assert "code    witness-refused" in ran.stderr
    assert status(folder)["witnessed"]["is_refused"]
    assert "a witness refuses" in run("doctor", folder=folder).stdout
    assert run("audit", "verify", folder=folder).exit_code == 1


@pytest.mark.slow
def test_a_person_lets_statements_run_again(house):
    """Once nobody refuses any more, nbgov audit cosign forgives, and that is a record."""
    folder, _ = house
    run("audit", "cosign", folder=folder)
    note = (folder / ".nbgov" / "audit" / "checkpoint").read_text()
    (folder / ".nbgov" / "audit" / "refused").write_text(note)
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 1
    assert run("audit", "cosign", folder=folder).exit_code == 0
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 0
    with nbgov.connect(folder, as_="ada@acme.test") as session:
        assert any(b'"verb":"FORGIVE"' in line for line in session.world.audit.entries())


@pytest.mark.slow
def test_a_witness_that_is_away_stops_nothing(house):
    """Statements run while a witness is away; who asks is told."""
    folder, witness = house
    text = (folder / "nbgov.yaml").read_text()
    (folder / "nbgov.yaml").write_text(text.replace(f":{witness.address[1]}'", ":1'"))
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 0
    told = run("audit", "cosign", folder=folder)
    assert told.exit_code == 1
    assert "connection refused" in told.stdout
    shown = run("doctor", folder=folder).stdout
    assert f"warn  witness                  {witness.key.name}: connection refused" in shown
    assert status(folder)["window"] > 0


def test_a_project_without_a_witness_is_told_so(tmp_path):
    """There is nobody to cosign, and the doctor says what that means."""
    folder = build(tmp_path)
    assert "code    config-invalid" in run("audit", "cosign", folder=folder).stderr
    assert run("sql", "SELECT id FROM people", folder=folder).exit_code == 0
    assert "nobody" in run("audit", "status", folder=folder).stdout
    assert "could rewrite it unseen" in run("doctor", folder=folder).stdout


def test_one_key_twice_is_no_configuration(tmp_path):
    """Two witnesses with one key would be one voice that counts twice."""
    folder = build(tmp_path)
    key = str(VerifierKey(NAME, bytes(32), "witness"))
    entries = [f"{{url: 'http://127.0.0.1:{port}', key: '{key}'}}" for port in (1, 2)]
    with (folder / "nbgov.yaml").open("a") as file:
        file.write(f"audit: {{witnesses: [{', '.join(entries)}]}}\n")
    assert "names one witness twice" in run("audit", "status", folder=folder).stderr


# ---------------------------------------------------------------- killed, and many at once


@pytest.mark.slow
def test_a_witness_killed_between_memory_and_answer_forgets_nothing(tmp_path):
    """What was stored and never answered still binds it: the same log goes on, no other can."""
    log = grown(4)
    with process(tmp_path, key_of(log), program=DIES_BEFORE_IT_ANSWERS) as (child, witness):
        with pytest.raises(BackendFailed):
            cosign(witness, log)
        assert child.wait() == -signal.SIGKILL
    with process(tmp_path, key_of(log)) as (_, witness):
        assert cosign(witness, log) == 4
        with pytest.raises(IntegrityFailed):
            cosign(witness, grown(4, note="rewritten"), 4)
        assert isinstance(cosign(witness, log, 4), SignatureLine)


@pytest.mark.slow
def test_a_witness_killed_at_any_time_cosigns_one_history(tmp_path):
    """Over kills at random moments, all that was cosigned is one history that only grew."""
    views = [grown(40), grown(40, note="rewritten")]
    cosigned, size = set(), 0
    for _ in range(6):
        with process(tmp_path, key_of(views[0])) as (child, witness):
            killer = threading.Timer(0.05, os.kill, (child.pid, signal.SIGKILL))
            killer.start()
            with contextlib.suppress(BackendFailed):
                for more in range(1, 40):
                    for view in views:
                        with contextlib.suppress(IntegrityFailed):
                            found, size = advance(witness, view, size, more)
                            cosigned |= found
            killer.cancel()
    roots = {view: {view.subtree(0, size) for size in range(1, 41)} for view in views}
    seen = {root for _, root in cosigned}
    assert seen
    assert seen <= roots[views[0]] or seen <= roots[views[1]]


def advance(witness, view, size, more):
    """Bring one more entry of a view to a witness: what it cosigned, and the size it knows now."""
    part = type(view)(ORIGIN, lines=view.lines[: min(size + more, 40)])
    answer = cosign(witness, part, min(size, len(part.lines)))
    if isinstance(answer, int):
        return set(), answer
    checkpoint = part.checkpoint().checkpoint
    return {(checkpoint.size, checkpoint.root)}, checkpoint.size


@pytest.mark.slow
def test_many_clients_at_once_are_cosigned_in_one_order(tmp_path):
    """Sessions that share a log and come at once all end with a witnessed checkpoint."""
    from nbgov.cosigning import Cosigner

    log = grown(1)
    with process(tmp_path, key_of(log)) as (_, witness):
        found = []

        def work():
            for _ in range(10):
                grown(1, log=log)
                found.append(Cosigner(log, [witness]).round().answers[0].state)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        newest = witness.newest(ORIGIN).checkpoint
    assert "refused" not in found
    assert (newest.size, newest.root) == (61, log.subtree(0, 61))
