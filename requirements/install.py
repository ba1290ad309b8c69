"""Make a virtual environment hold exactly one lock, and the project itself on top.

Usage: ``python requirements/install.py FOLDER LOCK``; the Makefile calls it. uv does the work, for
it is ten times as fast; where uv cannot run, pip reads the same lock. Both check every hash.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

PYTHON_MIN = (3, 11)
HERE = Path(__file__).resolve().parent


def run(*command: object, env: dict[str, str] | None = None) -> bool:
    """Run a command quietly and say whether it succeeded; what it has to say goes to stderr."""
    return subprocess.run([str(part) for part in command], env=env, check=False).returncode == 0


def pip_setting(python: Path, name: str) -> str | None:
    """What pip on this machine is configured to use, from its environment or its files."""
    if os.environ.get("PIP_" + name.upper()):
        return os.environ["PIP_" + name.upper()]
    for section in ("install", "global"):
        ask = [str(python), "-m", "pip", "config", "get", section + "." + name.replace("_", "-")]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.strip()
    return None


def uv_environment(python: Path) -> dict[str, str]:
    """The environment for uv, which reads no pip.conf: pip's index and certificate, translated."""
    env = dict(os.environ)
    names = {"index_url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}
    for setting, variable in names.items():
        value = None if variable in env else pip_setting(python, setting)
        if value:
            env[variable] = value
    return env


def make_venv(folder: Path) -> Path:
    """Create the environment unless it is there and runs."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and run(python, "-c", "import pip"):
        return python
    if not run(sys.executable, "-m", "venv", "--clear", folder):
        sys.exit(
            "Python's venv module does not work here; on Debian, apt-get install python3-venv."
        )
    return python


def install(python: Path, lock: Path) -> bool:
    """Sync the environment to the lock, with uv or else with pip, and say whether it worked."""
    pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps")
    uv = (python, "-m", "uv", "pip")
    project = ("--no-deps", "--no-build-isolation", "--editable", HERE.parent)
    has_tools = run(*pip, "--require-hashes", "-r", HERE / "uv.txt")
    env = uv_environment(python)
    target = ("--quiet", "--python", python)
    if (
        has_tools
        and run(*uv, "sync", *target, "--require-hashes", "--no-build-isolation", lock, env=env)
        and run(*uv, "install", *target, *project, env=env)
    ):
        return True
    print("uv could not install the lock; pip takes over, which takes some minutes.", flush=True)
    return run(
        *pip, "--require-hashes", "--no-build-isolation", "--prefer-binary", "-r", lock
    ) and run(*pip, *project)


def main() -> None:
    """Install, and tell the person who waits what happens."""
    if sys.version_info < PYTHON_MIN:
        have, need = (".".join(map(str, v)) for v in (sys.version_info[:3], PYTHON_MIN))
        sys.exit(
            "nbgov needs Python "
            + need
            + " or newer, and "
            + sys.executable
            + " is "
            + have
            + ".\n"
            "Name another one, for example: make PYTHON=python3.12"
        )
    folder, lock = Path(sys.argv[1]), Path(sys.argv[2])
    started = time.monotonic()
    print(f"Installing the packages of {lock} into {folder} (once) ...", flush=True)
    if not install(make_venv(folder), lock):
        sys.exit("The packages could not be installed; the lines above say why. Run make again.")
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


main()
