"""A gateway under an account of its own, and a real kernel under another one that attacks it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gateway.issuer import AUDIENCE, Issuer
from tests.gateway_scene import POLICY, make_folder
from tests.kernels.frontend import OWN, FrontEnd

GATEWAY_UID, NOTEBOOK_UID = 61_234, 61_235
DROP = Path(__file__).with_name("drop.py")
DATABASE_PASSWORD = "a-password-of-the-database"
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
  server:
    kind: postgresql
    url: postgresql://127.0.0.1:1/none
    user: governed
    password: env:DATABASE_PASSWORD
gateway:
  data: 127.0.0.1:0
  control: 127.0.0.1:0
  issuers:
    acme: {{kind: oidc, issuer: "{issuer}", audience: {audience}, client_id: nbgov}}
  roles: {{stewards: [approver]}}
  streams_each_max: 4
"""
CLIENT = """
version: 1
connections:
  warehouse: {{kind: gateway, url: "{data}", control: "{control}"}}
"""


def pytest_collection_modifyitems(items):
    """Attacks need a second account, which takes root; elsewhere they are left out, with a reason."""
    reason = ""
    if sys.platform != "linux" or os.geteuid() != 0:
        reason = "a second account takes root on Linux"
    elif shutil.which("unshare") is None:
        reason = "unshare is not installed"
    for item in items if reason else ():
        if Path(item.path).is_relative_to(DROP.parent):
            item.add_marker(pytest.mark.skip(reason=reason))


def as_account(uid: int, *paths: str | Path) -> list[str]:
    """What starts a command under another account, to which the paths are given."""
    return ["unshare", "-m", sys.executable, str(DROP), str(uid), *map(str, paths), "--"]


def give(folder: Path, uid: int) -> None:
    """Give a folder, and all that is in it, to an account alone."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, uid)
        path.chmod(0o700 if path.is_dir() else 0o600)


@dataclass
class Gateway:
    """A gateway that runs."""

    process: subprocess.Popen[str]
    folder: Path
    data: str
    control: str

    def stop(self) -> None:
        """End it, as its service manager would."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def started(folder: Path, issuer: Issuer) -> Gateway:
    """A gateway under its own account."""
    home = folder / "gateway"
    home.mkdir()
    config = CONFIG.format(issuer=issuer.url, audience=AUDIENCE)
    make_folder(home, config=config, policy=POLICY)
    give(home, GATEWAY_UID)
    code = "from nbgov.cli import main; main()"
    with (folder / "gateway.log").open("w") as log:
        process = subprocess.Popen(
            [
                *as_account(GATEWAY_UID, home),
                sys.executable,
                "-c",
                code,
                "--config",
                str(home),
                "gateway",
                "serve",
            ],
            cwd=home,
            # What a service manager gives it, and nothing of the process that runs the tests.
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "DATABASE_PASSWORD": DATABASE_PASSWORD,
            },
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    told = process.stdout.readline()
    assert "Serving" in told, (folder / "gateway.log").read_text()
    words = dict(part.split() for part in told.split(": ", 1)[1].split(", "))
    return Gateway(process, home, words["data"], words["control"])


@dataclass
class Attack:
    """A kernel under the notebook's account, logged in as ada, and the gateway that it attacks."""

    front: FrontEnd
    gateway: Gateway
    issuer: Issuer
    home: Path

    def run(self, code: str) -> str:
        """What a cell prints, and the name and text of the error that ends it."""
        cell = self.front.run(code)
        ended = "" if cell.error is None else f"{cell.error[0]}: {cell.error[1]}"
        return cell.printed + cell.shown() + ended

    def log(self) -> str:
        """The audit log of the gateway, as its own account reads it."""
        segments = sorted((self.gateway.folder / ".nbgov" / "audit").rglob("*"))
        return "".join(one.read_text(errors="replace") for one in segments if one.is_file())


@pytest.fixture(scope="session")
def place():
    """A folder that every account can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="nbgov-redteam-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture(scope="session")
def gateway(place, issuer):
    found = started(place, issuer)
    yield found
    found.stop()


@pytest.fixture(scope="session")
def attack(place, gateway, issuer):
    home = place / "notebook"
    home.mkdir()
    (home / "nbgov.yaml").write_text(CLIENT.format(data=gateway.data, control=gateway.control))
    (home / "proof").write_text(issuer.token())
    give(home, NOTEBOOK_UID)
    prefix: Sequence[str] = as_account(NOTEBOOK_UID, home, "{connection_file}")
    env = {
        "HOME": str(home),
        "NBGOV_CONFIG": str(home / "nbgov.yaml"),
        "NBGOV_TOKEN_FILE": str(home / "proof"),
        "GATEWAY_PID": str(gateway.process.pid),
        "GATEWAY_HOME": str(gateway.folder),
        "PYTHONPATH": str(DROP.parents[2]),
    }
    front = FrontEnd(OWN, home, env=env, prefix=prefix)
    found = Attack(front, gateway, issuer, home)
    found.run("%load_ext nbgov\nimport os, nbgov, sqlalchemy\nsession = nbgov.connect()")
    yield found
    front.close()
