"""What ran, and on what: interpreter, machine, packages, commit and notebook cells of this process.

Taken once, when a live run is bound for the first time. Nothing here fails: what cannot be told is
left out, since a training must not stop because a folder is no git checkout. No value leaves: of
code there are digests only. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

GIT_TIMEOUT_S = 3.0
PACKAGES_MAX = 2_000
CELLS_MAX = 1_000
DIGEST_CHARS = 12
CHANGED_FILES_MAX = 500
CHANGED_BYTES_MAX = 50_000_000
SHA256_HEX = 64
# A notebook changes whenever it is saved; what ran of it, its cells say.
LEFT_OUT = (".ipynb",)


def environment() -> dict[str, str]:
    """The interpreter, the machine and what sets its pace and its chance."""
    facts = {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu(),
        "cores": str(cores()),
        "gpu": ", ".join(sorted(gpus())),
        **libraries(),
        "hash_seed": os.environ.get("PYTHONHASHSEED") or "random",
        "torch_seed": torch_seed(),
    }
    return {name: fact for name, fact in facts.items() if fact}


def cpu() -> str:
    """The model of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> Iterator[str]:
    """The models of the graphics cards, as NVIDIA's kernel module states them."""
    with suppress(OSError):
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            for line in path.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name == "Model":
                    yield value.strip()


def libraries() -> dict[str, str]:
    """The linear algebra that is loaded, and how many threads each library may start."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    try:
        loaded = threadpool_info()
    except (OSError, RuntimeError, ValueError):
        return {}
    blas = {
        f"{one['internal_api']} {one['version']} {one.get('architecture', '')}".strip()
        for one in loaded
        if one["user_api"] == "blas"
    }
    threads = {f"{one['user_api']} {one['num_threads']}" for one in loaded}
    return {"blas": ", ".join(sorted(blas)), "threads": ", ".join(sorted(threads))}


def torch_seed() -> str:
    """The seed that torch was given, where it is loaded."""
    torch = sys.modules.get("torch")
    with suppress(Exception):
        return str(torch.initial_seed()) if torch is not None else ""
    return ""


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


# ---------------------------------------------------------------- code


def code(folder: Path) -> dict[str, str]:
    """The commit of a folder, what no commit holds, the main script and the cells that ran.

    Args:
        folder: The working directory. Outside a git checkout ``commit``, ``dirty`` and ``diff`` are
            absent.
    """
    facts: dict[str, str] = {}
    commit = git(folder, "rev-parse", "HEAD")
    if commit:
        facts["commit"] = commit.strip()
        facts |= changes(folder)
    return facts | script() | cells()


def changes(folder: Path) -> dict[str, str]:
    """Whether tracked files differ from the commit, and a digest of all that it does not hold.

    Python files that git does not know yet count too: an import finds them. The digest is missing
    where the changes are too many to be read in passing.
    """
    top = (git(folder, "rev-parse", "--show-toplevel") or "").rstrip("\n")
    unfiltered = no_filters(folder)
    if unfiltered is None:
        return {}
    # Security: a submodule has a configuration of its own, and may name filters there.
    compare = ("diff-index", "-z", "--no-renames", "--full-index", "--ignore-submodules=dirty")
    known = git(folder, *unfiltered, *compare, "HEAD")
    new = git(folder, "ls-files", "-z", "--full-name", "--others", "--exclude-standard", ":/*.py")
    if not top or known is None or new is None:
        return {}
    fields = known.split("\0")
    pairs = [(path, head.split()[2]) for head, path in zip(fields[::2], fields[1::2], strict=False)]
    paths = [*pairs, *((path, "") for path in new.split("\0") if path)]
    paths = [pair for pair in paths if not pair[0].endswith(LEFT_OUT)]
    if not paths:
        return {"dirty": "false"}
    digests = list(changed(Path(top), paths[:CHANGED_FILES_MAX]))
    facts = {"dirty": "true" if digests or len(paths) > CHANGED_FILES_MAX else "false"}
    if digests and len(paths) <= CHANGED_FILES_MAX and all(digest for _, digest in digests):
        text = "\n".join(f"{digest}  {path}" for path, digest in sorted(digests))
        facts["diff"] = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return facts


def no_filters(folder: Path) -> list[str] | None:
    """Options of git that turn off every filter; ``None`` where that is not possible."""
    # Security: a stranger's checkout may configure programs that git runs to compare a file.
    pattern = r"^filter\..*\.(clean|smudge|process|required)$"
    listed = git(folder, "config", "-z", "--name-only", "--get-regexp", pattern) or ""
    names = sorted({name for name in listed.split("\0") if name})
    if any("=" in name for name in names):
        return None
    values = {name: "false" if name.endswith(".required") else "" for name in names}
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


def changed(top: Path, paths: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Paths that differ from their blob with a digest of what they hold, empty if too much."""
    room = CHANGED_BYTES_MAX
    for path, blob in paths:
        file = top / path
        try:
            room -= file.lstat().st_size
            is_read = room >= 0 and file.is_file()
            held = file.read_bytes() if is_read else b""
        except OSError:
            yield path, "absent"
            continue
        if not is_read:
            yield path, ""
            continue
        name = b"blob %d\0" % len(held)
        make = hashlib.sha256 if len(blob) == SHA256_HEX else hashlib.sha1
        if make(name + held).hexdigest() != blob:
            yield path, hashlib.sha256(held).hexdigest()


def git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or ``None`` when it is absent, too slow, or says no."""
    # Security: a stranger's checkout may name a program in core.fsmonitor that git would start.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed program and arguments, no shell
            command, cwd=folder, capture_output=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "surrogateescape")


def script() -> dict[str, str]:
    """A digest of the script that this process was started with; empty in a notebook."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    with suppress(OSError, TypeError):
        if file and Path(file).suffix == ".py":
            return {"script": hashlib.sha256(Path(file).read_bytes()).hexdigest()[:DIGEST_CHARS]}
    return {}


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
    return {"cells": " ".join(one.hexdigest()[:DIGEST_CHARS] for one in hashes)}
