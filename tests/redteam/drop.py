"""Becomes another account and starts a command: ``drop.py UID PATH... -- COMMAND...``.

The paths are given to the account. Where the interpreter is below a folder that is closed to other
accounts, as below root's home, everything else in that folder is hidden first; so this is called
in a mount namespace of its own, and nothing of it is seen outside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

OTHERS_PASS = 0o001


def show(needed: Path) -> None:
    """Let a folder be reached by every account, if one above it is closed to them."""
    closed = next((one for one in needed.parents if not one.stat().st_mode & OTHERS_PASS), None)
    if closed is None:
        return
    aside = tempfile.mkdtemp()
    mount("--bind", str(closed), aside)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed))
    needed.mkdir(parents=True)
    mount("--bind", str(Path(aside) / needed.relative_to(closed)), str(needed))
    subprocess.run(["umount", aside], check=True)
    Path(aside).rmdir()


def mount(*arguments: str) -> None:
    """Mount something in this namespace."""
    subprocess.run(["mount", *arguments], check=True)


def main() -> None:
    """Hand the paths over, become the account, and start the command."""
    end = sys.argv.index("--")
    account, paths, command = int(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :]
    for path in paths:
        os.chown(path, account, account)
    # What starts this may have a umask that closes what is made here to the account.
    os.umask(0o022)
    show(Path(sys.base_prefix).resolve())
    os.setgroups([])
    os.setgid(account)
    os.setuid(account)
    os.umask(0o077)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
