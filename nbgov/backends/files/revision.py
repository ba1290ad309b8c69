"""Which revision of the policy rules: the commit of its file, as git knows it.

The revision is for people who look a decision up; what a decision rests on is the policy's digest.
Without git, outside a repository, and for a file that was never committed, there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from nbgov.errors import ConfigInvalid

GIT_TIMEOUT_S = 5.0
DIRTY = "-dirty"
# Security: a repository's own settings may name programs that git runs; these look at the tree.
GIT_SETTINGS = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=")
Stamp = tuple[int, int]


class Revisions:
    """The revision of one file, asked anew only when the file or the repository has changed.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.held: tuple[tuple[Stamp, Stamp], str] | None = None
        self.log: Path | None = None

    def current(self) -> str:
        """The commit that last changed the file, with ``-dirty`` where it has changed since.

        Empty where there is none. Never raises.
        """
        key = (stamp(self.path), stamp(self.log) if self.log is not None else (0, 0))
        if self.held is None or self.held[0] != key:
            self.log = self.find_log()
            key = (stamp(self.path), stamp(self.log) if self.log is not None else (0, 0))
            self.held = (key, self.ask())
        return self.held[1]

    def text_at(self, revision: str) -> str:
        """The text of the file at another revision of the repository.

        Raises:
            ConfigInvalid: There is no such revision, or the file is not in it.
        """
        # Security: a revision that looks like an option must not become one.
        found = None
        if not revision.startswith("-"):
            found = self.git("cat-file", "blob", f"{revision}:./{self.path.name}")
        if found is None:
            raise ConfigInvalid(
                f"There is no revision {revision!r} of {self.path.name}.",
                code="policy-missing",
                why="it is no file, and git does not know it either",
                next_step="name a file, or a commit of the repository that holds the policy",
            )
        return found

    def ask(self) -> str:
        """The revision as git tells it."""
        commit = (self.git("log", "-1", "--format=%H", "--", self.path.name) or "").strip()
        if not commit:
            return ""
        changed = self.git("status", "--porcelain", "--", self.path.name)
        return commit + DIRTY if changed is None or changed else commit

    def find_log(self) -> Path | None:
        """The file that every commit of the repository adds a line to."""
        folder = self.git("rev-parse", "--absolute-git-dir")
        return Path(folder.rstrip("\n")) / "logs" / "HEAD" if folder else None

    def git(self, *arguments: str) -> str | None:
        """What git prints, or ``None`` where it fails or is not installed."""
        program = shutil.which("git")
        if program is None:
            return None
        try:
            done = subprocess.run(  # noqa: S603  # The program and its arguments are ours.
                [program, *GIT_SETTINGS, *arguments],
                cwd=self.path.parent,
                env={k: v for k, v in os.environ.items() if not k.startswith("GIT_")},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=GIT_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout if done.returncode == 0 else None


def stamp(path: Path) -> Stamp:
    """When a file was last written, and its size; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
