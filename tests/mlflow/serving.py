"""A real MLflow server on 127.0.0.1, of which every test that needs one gets its own or shares one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_MAX_S = 240
LOOK_EVERY_S = 0.5
STOP_MAX_S = 20


@dataclass(frozen=True, slots=True)
class Served:
    """A server that answers: where, with what store behind it, and what it printed."""

    url: str
    store: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def printed(self) -> str:
        """What the server wrote so far, to find out why it did not do as it should."""
        return (self.folder / "server.log").read_text(errors="replace")

    def stop(self) -> None:
        """End the server, its worker too. More than once does no harm."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(STOP_MAX_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    store: str = "",
    port: int = 0,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """A server with one worker that keeps everything in a folder; it takes 10 to 120 s to start.

    Args:
        folder: Where store, artifacts and log go.
        arguments: More of `mlflow server`, such as ``--app-name`` and ``nbgov``.
        store: The backend store's URI; SQLite in the folder by default.
        port: The port, to come back on after an absence; a free one by default.
        environ: More environment, such as ``NBGOV_CONFIG``.
    """
    store = store or f"sqlite:///{folder / 'mlflow.db'}"
    port = port or free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", store,
        "--artifacts-destination", str(folder / "artifacts"), *arguments,
    ]  # fmt: skip
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=outside | quiet | dict(environ or {}),
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    served = Served(f"http://127.0.0.1:{port}", store, folder, process)
    try:
        wait_for(served)
        yield served
    finally:
        served.stop()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(served: Served) -> None:
    """Return when the server answers; fail with what it printed when it ended or takes too long."""
    for _ in range(int(START_MAX_S / LOOK_EVERY_S)):
        try:
            with urllib.request.urlopen(f"{served.url}/health", timeout=5) as answer:
                assert answer.read() == b"OK"
                return
        except (OSError, urllib.error.URLError):
            pass
        try:
            served.process.wait(LOOK_EVERY_S)
            break
        except subprocess.TimeoutExpired:
            continue
    message = f"The MLflow server does not answer:\n{served.printed[-4000:]}"
    raise AssertionError(message)
