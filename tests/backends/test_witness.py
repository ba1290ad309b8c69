"""One suite for every witness, then what only the one on another host has: a socket, a memory."""

from __future__ import annotations

import contextlib
import http.client
import socket
import sqlite3
import stat
import threading
import time
from datetime import timedelta

import pytest

import nbgov.witness
from nbgov.backends.memory import MemoryAuditLog, MemoryClock, MemorySigner, MemoryWitness
from nbgov.backends.witnesses import HttpWitness
from nbgov.core.audit.note import Note, SignatureLine, VerifierKey
from nbgov.core.audit.witness import Submission
from nbgov.errors import BackendFailed, ConfigInvalid, IntegrityFailed
from nbgov.witness import CONNECTIONS_MAX, REQUEST_BYTES_MAX, Witness
from tests.witnesses import NAME, ORIGIN, grown, key_of, path_of, serving

NEXT = MemorySigner(b"another")


@pytest.fixture(params=["memory", "http"])
def witness(request, tmp_path):
    keys = [key_of(MemoryAuditLog(ORIGIN)), VerifierKey(ORIGIN, NEXT.public_key())]
    if request.param == "memory":
        yield MemoryWitness(NAME, keys)
    else:
        with serving(tmp_path / "witness", *keys) as client:
            yield client


def cosign(witness, log, old=0):
    return witness.cosign(log.checkpoint(), old_size=old, path=path_of(log, old))


def refusal(witness, log, old=0):
    with pytest.raises(IntegrityFailed) as caught:
        cosign(witness, log, old)
    assert caught.value.code == "witness-refused"
    return caught.value.why


# ---------------------------------------------------------------- every witness


def test_a_log_that_grows_is_cosigned(witness):
    """Each checkpoint of a growing log is cosigned under the witness's key."""
    log, old = grown(0), 0
    for more in (1, 2, 5):
        line = cosign(witness, grown(more, log=log), old)
        note = log.checkpoint().with_signatures([line])
        assert note.signed_by(witness.key) == line
        old += more


def test_an_answer_that_was_lost_is_given_again(witness):
    """The same checkpoint is cosigned as often as it comes."""
    log = grown(3)
    assert isinstance(cosign(witness, log), SignatureLine)
    assert cosign(witness, log) == 3
    assert isinstance(cosign(witness, log, 3), SignatureLine)


def test_a_witness_says_which_size_it_knows(witness):
    """A client that is mistaken about what the witness knows learns it."""
    log = grown(3)
    assert cosign(witness, log, 2) == 0
    cosign(witness, log)
    assert cosign(witness, grown(2, log=log), 4) == 3


def test_another_history_is_refused(witness):
    """A log of another past is refused, longer, shorter or of the same length."""
    cosign(witness, grown(4))
    assert "continue" in refusal(witness, grown(6, note="rewritten"), 4)
    assert refusal(witness, grown(4, note="rewritten"), 4)
    assert cosign(witness, grown(3), 0) == 4
    assert isinstance(cosign(witness, grown(5), 4), SignatureLine)


def test_another_key_and_another_log_are_refused(witness):
    """A log that the witness was not told of, and a key of it that it was not, are refused."""
    assert "another key" in refusal(witness, grown(2, log=stranger(ORIGIN, b"stolen")))
    assert "does not know" in refusal(witness, grown(2, log=stranger("acme.test/other", b"memory")))


def stranger(origin, key):
    return MemoryAuditLog(origin, signer=MemorySigner(key))


def test_a_log_goes_on_under_its_next_key(witness):
    """After a rotation the log goes on, if the witness was given the next key."""
    log = grown(3)
    cosign(witness, log)
    after = MemoryAuditLog(ORIGIN, signer=NEXT, lines=log.lines)
    assert isinstance(cosign(witness, grown(2, log=after), 3), SignatureLine)


def test_a_planned_fault_is_a_witness_that_is_away():
    """What happens to a witness in RAM on purpose looks like one that did not answer."""
    witness = MemoryWitness(NAME, [key_of(grown(0))])
    witness.faults.before("cosign")
    with pytest.raises(BackendFailed) as caught:
        cosign(witness, grown(1))
    assert caught.value.code == "witness-unavailable"


# ---------------------------------------------------------------- the memory of the real one


def test_a_witness_remembers_after_a_restart(tmp_path):
    """What was cosigned before holds afterwards, under the same key."""
    log = grown(4)
    with serving(tmp_path, key_of(log)) as witness:
        key = witness.key
        cosign(witness, log)
    with serving(tmp_path, key_of(log), name="") as witness:
        assert witness.key == key
        refusal(witness, grown(6, note="rewritten"), 4)
        assert witness.newest(ORIGIN).checkpoint == log.checkpoint().checkpoint
        assert witness.newest("acme.test/other") is None


@pytest.mark.parametrize("olds", [(4, 4, 0), (0,)])
def test_a_fork_is_kept_as_proof(tmp_path, olds):
    """Two roots of one size are kept, both signed by the log; each only once."""
    log, other = grown(4), grown(4, note="rewritten")
    with serving(tmp_path, key_of(log)) as witness:
        cosign(witness, log)
        for old in olds:
            with contextlib.suppress(IntegrityFailed):
                cosign(witness, other, old)
        refusal(witness, grown(6, note="rewritten"), 4)
    store = Witness(tmp_path).store
    fork, rewritten = store.refusals()
    assert (fork.is_fork, rewritten.is_fork) == (True, False)
    notes = [Note.parse(text) for text in (fork.note, fork.known)]
    assert all(note.signed_by(key_of(log)) for note in notes)
    assert {note.checkpoint.size for note in notes} == {4}
    assert len({note.checkpoint.root for note in notes}) == 2
    store.close()


def test_a_clock_that_goes_back_does_not_make_a_cosignature_older(tmp_path):
    """The time of a cosignature is never before that of the one before."""
    clock, log = MemoryClock(), grown(2)
    witness = Witness(tmp_path, name=NAME, logs=[key_of(log)], clock=clock)
    seconds = []
    for old in (0, 2):
        submission = Submission(old, path_of(log, old), log.checkpoint())
        _, line = witness.add_checkpoint(str(submission))
        seconds.append(int.from_bytes(line.value[:8], "big"))
        clock.at -= timedelta(hours=1)
    assert seconds[0] == seconds[1]
    witness.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE heads SET size = 1", "UPDATE heads SET seconds = 1", "DELETE FROM heads"]
)
def test_the_memory_cannot_be_turned_back(tmp_path, statement):
    """The file itself refuses to go back or to forget, also by hand."""
    log = grown(3)
    with serving(tmp_path, key_of(log)) as witness:
        cosign(witness, log)
    link = sqlite3.connect(tmp_path / "witness.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="a witness does not"):
        link.execute(statement)
    link.close()


def test_the_key_is_for_its_owner_only(tmp_path):
    """Nobody else can read the key, nor the memory."""
    Witness(tmp_path / "w", name=NAME).close()
    for path in (tmp_path / "w").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("lost", ["witness.key", "witness.sqlite"])
def test_a_witness_that_lost_a_part_does_not_go_on(tmp_path, lost):
    """Without its memory it could be told anything, without its key it is another one."""
    Witness(tmp_path, name=NAME).close()
    (tmp_path / lost).unlink()
    with pytest.raises(BackendFailed) as caught:
        Witness(tmp_path, name=NAME)
    assert caught.value.code == "state-unavailable"


def test_a_key_that_was_exchanged_is_seen(tmp_path):
    """The memory says which key it belongs to."""
    Witness(tmp_path, name=NAME).close()
    (tmp_path / "witness.key").write_bytes(bytes(32))
    with pytest.raises(BackendFailed, match="cannot go on"):
        Witness(tmp_path)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_new_witness_needs_a_name(tmp_path, name):
    """Nothing is made before the name is one that a key can carry."""
    with pytest.raises(ConfigInvalid):
        Witness(tmp_path / "w", name=name)
    assert not (tmp_path / "w").exists()
    Witness(tmp_path / "w", name=NAME).close()
    with pytest.raises(ConfigInvalid):
        Witness(tmp_path / "w", name="witness.test/other")


def test_two_that_come_at_once_get_one_answer(tmp_path):
    """Of many submissions of two histories at once, one history is cosigned and no other."""
    views = [grown(4), grown(4, note="rewritten")]
    with serving(tmp_path, key_of(views[0])) as witness:
        start, cosigned = threading.Barrier(8), []

        def submit(log):
            start.wait()
            with contextlib.suppress(IntegrityFailed):
                if isinstance(cosign(witness, log), SignatureLine):
                    cosigned.append(log.checkpoint().checkpoint)

        threads = [threading.Thread(target=submit, args=(views[n % 2],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(cosigned) == 1
        assert witness.newest(ORIGIN).checkpoint == cosigned[0]


# ---------------------------------------------------------------- the socket


@pytest.fixture
def told():
    return []


@pytest.fixture
def server(tmp_path, told):
    with serving(tmp_path, key_of(grown(0)), tell=told.append) as client:
        yield client


def ask(witness, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(*witness.address, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/add-checkpoint", b"", 400),
        ("POST", "/add-checkpoint", b"old 0\n\nsecret", 400),
        ("POST", "/add-checkpoint", b"\xff\xfe", 400),
        ("POST", "/add-checkpoint", b"old 0\n" * 5000, 400),
        ("POST", "/add-checkpoint", b"x" * (REQUEST_BYTES_MAX + 1), 413),
        ("POST", "/secret", b"old 0\n", 404),
        ("GET", "/secret", None, 404),
        ("GET", "/" + "0" * 64 + "/checkpoint", None, 404),
        ("GET", "/" + "0" * 63 + "/checkpoint", None, 404),
        ("PUT", "/secret", b"", 501),
    ],
)
def test_a_malformed_request_is_answered_without_repeating_it(
    server, told, method, path, body, status
):
    """Whatever comes, the answer and the line that is logged hold nothing of it."""
    found, text = ask(server, method, path, body)
    assert found == status
    assert b"secret" not in text
    (line,) = told
    assert line.split() == [line.split()[0], str(status)]
    assert "secret" not in line


@pytest.mark.parametrize(
    "request_",
    [
        b"secret\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\n\r\n",
        b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: secret\r\n" * 200 + b"\r\n",
        b"GET /" + b"secret" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_the_connection(server, told, request_):
    """After bytes that can be read in two ways, nothing more is read from the connection."""
    with socket.create_connection(server.address, timeout=10) as link:
        link.sendall(request_)
        text = b""
        with contextlib.suppress(ConnectionError):
            while piece := link.recv(4096):
                text += piece
    assert text.count(b"HTTP/1.1 ") <= 1
    assert b"secret" not in text
    assert not any("secret" in line for line in told)


def test_a_request_that_ends_early_is_not_answered(server):
    """Half a request changes nothing."""
    log = grown(2)
    body = str(Submission(0, (), log.checkpoint())).encode()
    head = f"POST /add-checkpoint HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(server.address, timeout=10) as link:
        link.sendall(head + body[:-5])
        link.shutdown(socket.SHUT_WR)
        assert link.recv(4096) == b""
    assert server.newest(ORIGIN) is None


def test_one_connection_carries_many_requests(server):
    """A client may keep its connection."""
    log = grown(2)
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    for old in (0, 2, 2):
        body = str(Submission(old, (), log.checkpoint())).encode()
        connection.request("POST", "/add-checkpoint", body)
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()


def test_too_many_connections_are_turned_away(server):
    """A client that opens connections without end does not open threads without end."""
    with contextlib.ExitStack() as stack:
        links = [
            stack.enter_context(socket.create_connection(server.address, timeout=10))
            for _ in range(CONNECTIONS_MAX + 1)
        ]
        # Connections are taken in the order in which they came, so the last one is too many.
        with contextlib.suppress(ConnectionError):
            links[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert links[-1].recv(1) == b""
    # It hears a moment later that the others are gone.
    for _ in range(200):
        with contextlib.suppress(BackendFailed):
            assert server.newest(ORIGIN) is None
            break
        time.sleep(0.05)
    assert server.newest(ORIGIN) is None


def test_a_connection_does_not_last_for_ever(tmp_path, monkeypatch):
    """A client that keeps a connection busy with nothing is let go of in the end."""
    monkeypatch.setattr(nbgov.witness, "CONNECTION_S", 0.0)
    monkeypatch.setattr(nbgov.witness.Handler, "timeout", None)
    with (
        serving(tmp_path, key_of(grown(0))) as witness,
        socket.create_connection(witness.address, timeout=10) as link,
    ):
        link.sendall(b"GET / HTTP/1.1\r\nA: b\r\n")
        assert link.recv(1) == b""


def test_a_witness_that_cannot_remember_does_not_cosign(tmp_path):
    """Without a durable memory there is no cosignature, and the log hears nothing that counts."""
    log = grown(2)
    with serving(tmp_path, key_of(log)) as witness:
        cosign(witness, log)
        (tmp_path / "witness.sqlite").unlink()
        for call in (lambda: cosign(witness, log, 2), lambda: witness.newest(ORIGIN)):
            with pytest.raises(BackendFailed) as caught:
                call()
            assert caught.value.code == "witness-unavailable"


# ---------------------------------------------------------------- the client


@contextlib.contextmanager
def answering(*pieces):
    """The client of a server that sends these bytes, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            link, _ = listener.accept()
            with link, contextlib.suppress(OSError):
                link.recv(65_536)
                for piece in pieces:
                    link.sendall(piece)

        thread = threading.Thread(target=answer)
        thread.start()
        key = VerifierKey(NAME, NEXT.public_key(), "witness")
        yield HttpWitness(f"http://127.0.0.1:{listener.getsockname()[1]}/p/", key, timeout_s=10)
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xfe\xfd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 999_999,
        b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    ],
)
def test_an_answer_that_is_none_is_a_witness_that_is_away(answer):
    """Nothing that a server can send takes memory without end, leads elsewhere, or counts."""
    log = grown(1)
    with answering(answer) as witness, pytest.raises(BackendFailed) as caught:
        cosign(witness, log)
    assert caught.value.code == "witness-unavailable"


def test_an_answer_without_end_is_not_read_to_its_end():
    """The client stops reading where no answer can be that long."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    log = grown(1)
    with (
        answering(head, *[b"x" * 65_536] * 64) as witness,
        pytest.raises(BackendFailed) as caught,
    ):
        cosign(witness, log)
    assert "too long" in caught.value.why


def test_a_witness_that_nobody_runs_is_away():
    """A port where nothing listens is a witness that is away."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    witness = HttpWitness(f"http://127.0.0.1:{port}", VerifierKey(NAME, bytes(32), "witness"))
    with pytest.raises(BackendFailed) as caught:
        cosign(witness, grown(1))
    assert caught.value.code == "witness-unavailable"


def test_the_environment_does_not_choose_the_way(server, monkeypatch):
    """A proxy that the environment names is not asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(cosign(server, grown(1)), SignatureLine)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a",
        "http://",
        "a:80",
        "http://a:x",
        "http://a/?q=1",
        "unix:///x",
        "http://[::1",
        "http://ada:secret@a/",
    ],
)
def test_a_url_is_one_of_http(url):
    """Anything that cannot be the url of a witness is said when it is configured."""
    with pytest.raises(ConfigInvalid) as raised:
        HttpWitness(url, VerifierKey(NAME, bytes(32), "witness"))
    assert "secret" not in str(raised.value)


def test_the_key_of_a_witness_is_not_that_of_a_log():
    """A log that would cosign itself is no witness."""
    with pytest.raises(ConfigInvalid):
        HttpWitness("http://a", VerifierKey(NAME, bytes(32), "log"))
