"""Two processes that look for entities side by side, each with an engine of its own.

:class:`Workers` is the parent's end; :mod:`nbgov.backends.presidio.worker` is what runs in a child.
They speak in frames over the child's standard streams: eight bytes of length, then one Arrow IPC
stream, whose schema carries the question or the error as JSON. Nothing is pickled or forked, so
notebooks and scripts without a main guard work. The cases are in
``tests/backends/test_workers.py``.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nbgov.errors import BackendFailed

PROCESSES = 2

FRAME_BYTES_MAX = 1 << 34
"""A longer frame is taken for a broken one."""

HEADER = struct.Struct("<Q")
TOPIC = b"nbgov"
"""Key under which a schema carries the question, or the error."""

CHARS_MIN_COLD = 2_000_000
"""Characters for the language model from which starting the children pays.

Measured with ``en_core_web_sm`` and all usual entities: a child takes 4.6 CPU seconds to load
Presidio and the model, and 300 MB; a core then reads 119,000 characters of notes a second. So two
children are even with this process at 1.1 million characters, and a quarter faster at two million.
"""

CHARS_MIN_WARM = 100_000
"""The same for children that run already: a call costs 0.05 s, this many characters 0.8 s."""

TIMEOUT_START_S = 300.0
CHARS_PER_S_MIN = 5_000
"""A child that is slower than this after its start is taken for hung."""


class Workers:
    """Looks for entities in two child processes; the result is that of one process.

    The children start at the first call and stay until :meth:`close`. They end by themselves when
    this process ends, however it ends: the closing of their standard input tells them. They write
    nothing to the terminal. A child that dies, answers nonsense or takes too long fails the whole
    call, and both are ended then; the next call starts new ones.

    Args:
        reads: As for :class:`~nbgov.backends.presidio.PresidioDetector`.
        timeout_s: Seconds that a call may take, besides those for its characters.
        command: The program that a child runs, with its arguments.
    """

    def __init__(
        self,
        *,
        reads: Literal["every", "text"] = "every",
        timeout_s: float = TIMEOUT_START_S,
        command: Sequence[str] = (sys.executable, "-P", "-m", "nbgov.backends.presidio.worker"),
    ) -> None:
        self.reads, self.timeout_s, self.command = reads, timeout_s, tuple(command)
        self.children: list[subprocess.Popen[bytes]] = []
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.finalizer = weakref.finalize(self, end, self.children)

    def pays(self, characters: int) -> bool:
        """Whether so many characters for the language model are worth the processes."""
        if cores() < PROCESSES:
            return False
        return characters >= (CHARS_MIN_WARM if self.children else CHARS_MIN_COLD)

    def detect(
        self,
        values: pa.Array,
        *,
        entities: Sequence[str],
        score_min: float | None,
        language: str,
        context: Sequence[str] = (),
    ) -> pa.Table:
        """The same as :meth:`nbgov.backends.presidio.PresidioDetector.detect`.

        Raises:
            BackendFailed: What the detector raised in a child, or ``detector-failed`` when a child
                did not do its part.
        """
        question = {
            "entities": list(entities),
            "score_min": score_min,
            "language": language,
            "context": list(context),
            "reads": self.reads,
        }
        parts = halves(values.cast(pa.large_string()))
        characters = sum(pc.sum(pc.utf8_length(part)).as_py() or 0 for part in parts)
        with self.lock:
            try:
                answers = self.ask([to_frame(part, question) for part in parts], characters)
            except BaseException:
                # Whatever happened (an interrupt, too), the children are in an unknown state.
                end(self.children)
                raise
        return join(answers, parts)

    def ask(self, frames: Sequence[bytes], characters: int) -> list[pa.Table]:
        """Send each child its question, and wait for the answers.

        Raises:
            BackendFailed: See :meth:`detect`.
        """
        self.start()
        allowed_s = self.timeout_s + characters / CHARS_PER_S_MIN
        late = threading.Event()
        # Security: a child that hangs must not hold a query forever, and nothing is released.
        watch = threading.Timer(allowed_s, kill, [late, list(self.children)])
        watch.daemon = True
        watch.start()
        try:
            pairs = list(zip(self.children, frames, strict=False))
            for child, frame in pairs:
                write_frame(pipe(child.stdin), frame)
            return [from_frame(read_frame(pipe(child.stdout))) for child, _ in pairs]
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            reason = "it took too long" if late.is_set() else type(error).__name__
        finally:
            watch.cancel()
        # Security: raised after the handler, so without a cause that could quote a value.
        raise BackendFailed(
            "A process of the PII detector ended, so nothing was released.",
            code="detector-failed",
            why=f"The process did not answer ({reason}).",
            next_step="Run it again; if it ends again, look for a lack of memory.",
        )

    def prepare(self) -> None:
        """Start the children, so that they load while somebody else works."""
        with self.lock:
            self.start()

    def start(self) -> None:
        """Start the children unless they run."""
        if self.owner != os.getpid():
            # The children belong to the process that this one was forked from.
            self.owner, self.children = os.getpid(), []
            self.finalizer = weakref.finalize(self, end, self.children)
        if self.children:
            return
        for _ in range(PROCESSES):
            self.children.append(
                subprocess.Popen(  # noqa: S603 - the program and its arguments are ours.
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    # Security: a traceback on the terminal could quote a value.
                    stderr=subprocess.DEVNULL,
                    env=environment(),
                )
            )

    def close(self) -> None:
        """End the children. Callable more than once; a later call to ``detect`` starts new ones."""
        with self.lock:
            end(self.children)


def environment() -> dict[str, str]:
    """This process's environment, with one thread for matrices and the same places for modules."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    places = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    return {**os.environ, **threads, "PYTHONPATH": places, "PYTHONWARNINGS": "ignore"}


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def halves(values: pa.Array) -> list[pa.Array]:
    """The values in two runs of about the same number of characters."""
    sizes = np.cumsum(pc.utf8_length(values).to_numpy(zero_copy_only=False))
    if len(sizes) < PROCESSES:
        return [values]
    middle = int(np.clip(np.searchsorted(sizes, sizes[-1] / PROCESSES) + 1, 1, len(sizes) - 1))
    return [values[:middle], values[middle:]]


def join(answers: Sequence[pa.Table], parts: Sequence[pa.Array]) -> pa.Table:
    """One table of findings, with indices into all values."""
    tables, before = [], 0
    for answer, part in zip(answers, parts, strict=True):
        shifted = pc.add(answer["value"], before)
        tables.append(answer.set_column(0, answer.schema.field(0), shifted))
        before += len(part)
    return pa.concat_tables(tables).combine_chunks()


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """A pipe that was asked for."""
    assert stream is not None, "both streams of a child are pipes"
    return stream


def to_frame(values: pa.Array | pa.Table, topic: dict[str, Any]) -> bytes:
    """A message: values or findings, and what is said about them."""
    table = values if isinstance(values, pa.Table) else pa.table({"value": values})
    table = table.replace_schema_metadata({TOPIC: json.dumps(topic)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def from_frame(frame: bytes) -> pa.Table:
    """The findings in an answer.

    Raises:
        BackendFailed: The answer is an error.
        ValueError: It is no answer.
    """
    table, topic = open_frame(frame)
    if "what" in topic:
        raise BackendFailed(
            topic["what"], code=topic["code"], why=topic["why"], next_step=topic["next_step"]
        )
    return table


def open_frame(frame: bytes) -> tuple[pa.Table, dict[str, Any]]:
    """A message taken apart.

    Raises:
        ValueError: It is no message.
    """
    table = pa.ipc.open_stream(frame).read_all()
    topic = json.loads((table.schema.metadata or {}).get(TOPIC, b"null"))
    if not isinstance(topic, dict):
        raise ValueError("a message without a topic")  # noqa: TRY004 - it is a wrong value.
    return table.replace_schema_metadata(None), topic


def write_frame(stream: IO[bytes], frame: bytes) -> None:
    """Send a message."""
    stream.write(HEADER.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """Receive a message.

    Raises:
        EOFError: The other side closed the stream.
        ValueError: What arrived is no message.
    """
    [size] = HEADER.unpack(read_exactly(stream, HEADER.size))
    if size > FRAME_BYTES_MAX:
        raise ValueError("a frame is too long")
    return read_exactly(stream, size)


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: There are fewer.
    """
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the stream ended early")
    return data


def kill(late: threading.Event, children: Sequence[subprocess.Popen[bytes]]) -> None:
    """End children whose time is over."""
    late.set()
    for child in children:
        child.kill()


def end(children: list[subprocess.Popen[bytes]]) -> None:
    """End children and forget them."""
    while children:
        child = children.pop()
        child.kill()
        for stream in (child.stdin, child.stdout):
            try:
                pipe(stream).close()
            except OSError:
                # What could not be sent is lost with the child.
                continue
        child.wait()
