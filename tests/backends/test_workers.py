"""Two processes that look for entities: the same findings, and no way to hang or to be left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pytest

from nbgov.backends.presidio import PresidioDetector, workers
from nbgov.backends.presidio.workers import Workers, halves, open_frame, read_frame, to_frame
from nbgov.errors import BackendFailed

VALUES = [
    "Ada Lovelace lives in London",
    "write to ada@example.com",
    "",
    "nothing here",
    "call 212-555-0123 ext. 4",
    "José Álvarez, Ünïcode\n\x00 and \U0001d49c",
]
ENTITIES = ["PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER"]

ECHO = """
import struct, sys
import pyarrow as pa
while True:
    [size] = struct.unpack("<Q", sys.stdin.buffer.read(8))
    table = pa.ipc.open_stream(sys.stdin.buffer.read(size)).read_all()
    found = pa.table({"value": pa.array(range(len(table)), pa.int64()), "text": table["value"]})
    found, sink = found.replace_schema_metadata({"nbgov": "{}"}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    frame = sink.getvalue().to_pybytes()
    sys.stdout.buffer.write(struct.pack("<Q", len(frame)) + frame)
    sys.stdout.flush()
"""


def script(text: str) -> tuple[str, ...]:
    """The command of a child that runs a text."""
    return (sys.executable, "-c", textwrap.dedent(text))


def ask(pool: Workers, values: list[str]) -> pa.Table:
    """Ask a pool the usual question."""
    return pool.detect(pa.array(values), entities=ENTITIES, score_min=0.35, language="en")


@pytest.fixture
def pool(request):
    """Children that run the script with which the test is parametrised."""
    made = Workers(command=script(request.param), timeout_s=30)
    yield made
    made.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii")
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 1000])
def test_values_are_halved_by_their_characters(size):
    """The parts are all values in order, and neither has much more text than the other."""
    values = pa.array([chr(97 + i % 26) * (i % 7) for i in range(size)], pa.large_string())
    parts = halves(values)
    assert pa.concat_arrays(parts).equals(values)
    if size > 2:
        texts = ["".join(part.to_pylist()) for part in parts]
        assert abs(len(texts[0]) - len(texts[1])) <= 2 * 7


@pytest.mark.parametrize("pool", [ECHO], indirect=True)
def test_answers_count_through_all_values(pool):
    """Indices refer to all values, whichever child saw them, and twice in a row."""
    values = [f"value {i}" * (i % 5) for i in range(101)]
    for _ in range(2):
        table = ask(pool, values)
        assert table["value"].to_pylist() == list(range(101))
        assert table["text"].to_pylist() == values
    assert ask(pool, ["alone"])["text"].to_pylist() == ["alone"]


def test_two_processes_find_what_one_finds():
    """The table is that of a detector in this process, and errors arrive as they were raised."""
    detector, pool = PresidioDetector(), Workers()
    try:
        values = pa.array(VALUES)
        pool.prepare()
        assert len(pool.children) == 2
        for context in ([], ["phone"]):
            asked = {"entities": ENTITIES, "score_min": 0.35, "language": "en", "context": context}
            assert pool.detect(values, **asked).equals(detector.detect(values, **asked))
        children = [child.pid for child in pool.children]
        with pytest.raises(BackendFailed) as here:
            detector.detect(values, entities=["NO_SUCH"], score_min=0.1, language="en")
        with pytest.raises(BackendFailed) as there:
            pool.detect(values, entities=["NO_SUCH"], score_min=0.1, language="en")
        assert str(there.value) == str(here.value)
    finally:
        pool.close()
    assert not any(map(is_alive, children))


@pytest.mark.parametrize(
    "pool",
    [
        "raise SystemExit('secret value')",
        "import sys; sys.stdin.buffer.read(3000); raise ValueError('secret value')",
        "print('secret value ' * 100)",
        r"import sys; sys.stdout.buffer.write(b'\x08' + bytes(7) + b'notarrow'); sys.stdout.flush()",
        r"import sys; sys.stdout.buffer.write(b'\x10' + bytes(7) + b'cut'); sys.stdout.flush()",
        """
        import sys
        import pyarrow as pa
        from nbgov.backends.presidio.workers import to_frame, write_frame
        write_frame(sys.stdout.buffer, to_frame(pa.table({}), []))
        """,
    ],
    ids=["ends", "fails", "prints", "nonsense", "cut", "no topic"],
    indirect=True,
)
def test_a_child_that_does_not_answer_fails_the_call(pool, capfd):
    """Nothing is found then, no value is told, and no child is left."""
    with pytest.raises(BackendFailed) as caught:
        ask(pool, ["my secret"] * 2000)
    assert caught.value.code == "detector-failed"
    assert "secret" not in caught.value.render()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert pool.children == []
    assert capfd.readouterr() == ("", "")


def test_a_child_that_hangs_is_killed():
    """The time of a call is limited, and the error says that it was over."""
    pool = Workers(command=script("import threading; threading.Event().wait()"), timeout_s=0.5)
    with pytest.raises(BackendFailed, match="took too long"):
        ask(pool, ["a", "b"])
    assert pool.children == []


@pytest.mark.parametrize("pool", [ECHO], indirect=True)
def test_a_killed_child_fails_one_call_and_no_more(pool):
    """The next call starts new children."""
    ask(pool, ["a", "b"])
    pool.children[1].kill()
    pool.children[1].wait()
    with pytest.raises(BackendFailed):
        ask(pool, ["a", "b"])
    assert ask(pool, ["a", "b"])["text"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("pool", [ECHO], indirect=True)
def test_an_interrupt_ends_the_children(pool, monkeypatch):
    """Ctrl-C leaves no child that still works on an old question."""
    ask(pool, ["a", "b"])
    pids = [child.pid for child in pool.children]

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "read_frame", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ask(pool, ["a", "b"])
    assert not any(map(is_alive, pids))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="asks Linux about processes")
def test_children_do_not_outlive_a_killed_parent():
    """Even a parent that is killed, and children that are at work, leave no process behind."""
    parent = """
        import sys
        import pyarrow as pa
        from nbgov.backends.presidio.workers import Workers, to_frame, write_frame
        pool = Workers()
        pool.start()
        values = pa.array([f"Ada Lovelace met Mr. {i} in London" for i in range(100_000)])
        question = dict(entities=["PERSON"], score_min=0.1, language="en", context=[], reads="every")
        for child in pool.children:
            write_frame(child.stdin, to_frame(pa.array(values, pa.large_string()), question))
        print(*(child.pid for child in pool.children), flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        script(parent), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        # Linux tells when a process ends that is not a child of this one.
        watches = [os.pidfd_open(pid) for pid in pids]
        process.send_signal(signal.SIGKILL)
    import select

    for watch in watches:
        assert select.select([watch], [], [], 60)[0], "a child was left over"
        os.close(watch)


def test_processes_are_used_where_they_pay(monkeypatch):
    """One core never starts children, and running children are used for less work."""
    pool = Workers()
    monkeypatch.setattr(workers, "cores", lambda: 1)
    assert not pool.pays(10**9)
    monkeypatch.setattr(workers, "cores", lambda: 2)
    assert pool.pays(workers.CHARS_MIN_COLD)
    assert not pool.pays(workers.CHARS_MIN_COLD - 1)
    pool.children.append(None)
    assert pool.pays(workers.CHARS_MIN_WARM)
    pool.children.clear()


def test_frames_carry_values_and_topics():
    """A message arrives as it was sent."""
    import io

    stream = io.BytesIO()
    frame = to_frame(pa.array(VALUES, pa.large_string()), {"a": [None, 0.5]})
    workers.write_frame(stream, frame)
    stream.seek(0)
    table, topic = open_frame(read_frame(stream))
    assert table["value"].to_pylist() == VALUES
    assert topic == {"a": [None, 0.5]}
    with pytest.raises(ValueError, match="too long"):
        read_frame(io.BytesIO(b"\xff" * 8))
