"""What runs in a child process of :class:`nbgov.backends.presidio.workers.Workers`.

It answers one question after the other and ends as soon as its standard input closes, even while it
works: so no child outlives its parent.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import IO, Any

import pyarrow as pa

from nbgov.backends.presidio.workers import open_frame, read_frame, to_frame, write_frame
from nbgov.errors import BackendFailed


def main() -> None:
    """Answer questions until there are no more."""
    # An interrupt reaches every process of a terminal; the parent decides what becomes of this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get between the answers.
    os.dup2(2, 1)
    questions: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, questions), daemon=True).start()
    detectors: dict[str, Any] = {}
    while True:
        write_frame(answers, answer(questions.get(), detectors))


def listen(stream: IO[bytes], questions: queue.Queue[bytes]) -> None:
    """Hand on what arrives, and end the process when nothing can arrive any more."""
    try:
        while True:
            questions.put(read_frame(stream))
    except (EOFError, ValueError, OSError):
        # Security: a child whose parent is gone would go on with the parent's data.
        os._exit(0)


def answer(frame: bytes, detectors: dict[str, Any]) -> bytes:
    """The findings, or the error, for one question.

    Args:
        frame: The question.
        detectors: The detectors so far, by where they read.
    """
    from nbgov.backends.presidio import PresidioDetector

    try:
        table, topic = open_frame(frame)
        reads = topic.pop("reads")
        if reads not in detectors:
            detectors[reads] = PresidioDetector(reads=reads, cached_values_max=0, processes=1)
        found = detectors[reads].detect(table["value"].combine_chunks(), **topic)
    except BackendFailed as error:
        return to_frame(pa.table({}), to_topic(error))
    return to_frame(found, {})


def to_topic(error: BackendFailed) -> dict[str, str]:
    """What is said about an error; it holds no value, as no error of nbgov does."""
    return {
        "what": error.what,
        "code": error.code,
        "why": error.why,
        "next_step": error.next_step,
    }


if __name__ == "__main__":
    main()
