"""What ran: interpreter, operating system, packages, commit and notebook cells of this process.

Taken once, when a live run is bound for the first time. Nothing here fails: what cannot be told is
left out, since a training must not stop because a folder is no git checkout.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

GIT_TIMEOUT_S = 3.0
PACKAGES_MAX = 2_000
CELLS_MAX = 1_000
CELL_DIGEST_CHARS = 12


def environment() -> dict[str, object]:
    """The interpreter, the operating system and the installed packages, JSON-ready."""
    return {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": packages(sys.path),
    }


def packages(folders: Iterable[str]) -> dict[str, str]:
    """Distribution name to version, read from the names of ``*.dist-info`` folders.

    One listing per folder instead of one file per package: 1 ms where ``importlib.metadata`` takes
    270. The first folder wins, as it does for imports.

    Args:
        folders: Where to look, in import order.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for entry in sorted(Path(folder or ".").glob("*.dist-info")):
            name, dash, version = entry.name.removesuffix(".dist-info").partition("-")
            if dash and len(found) < PACKAGES_MAX:
                found.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(found.items()))


def code(folder: Path) -> dict[str, str]:
    """The commit of a folder, whether it is dirty, and digests of the cells that this process ran.

    Args:
        folder: The working directory. Outside a git checkout ``commit`` and ``dirty`` are absent.
    """
    facts: dict[str, str] = {}
    commit = git(folder, "rev-parse", "HEAD")
    if commit:
        facts["commit"] = commit.strip()
        changes = git(folder, "status", "--porcelain", "--untracked-files=no")
        if changes is not None:
            facts["dirty"] = "true" if changes.strip() else "false"
    return facts | cells()


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or ``None`` when it is absent, too slow, or says no."""
    # Security: a stranger's checkout may name a program in core.fsmonitor that status would start.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed program and arguments, no shell
            command, cwd=folder, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def cells() -> dict[str, str]:
    """One short digest for each cell that IPython ran so far, in order; empty outside IPython.

    The text of a cell may hold a value that the policy hides, so only digests leave the process.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return {}
    namespace: Mapping[str, object] = shell.user_ns
    ran = namespace.get("In")
    texts = [str(text) for text in ran[1:]] if isinstance(ran, list) else []
    hashes = (hashlib.sha256(text.encode("utf-8", "replace")) for text in texts[:CELLS_MAX])
    return {"cells": " ".join(one.hexdigest()[:CELL_DIGEST_CHARS] for one in hashes)}
