"""Where the values behind secret references are: environment, files, keychains and vaults.

A value is read again each time that it is needed, so that a secret that was replaced where it is
kept takes effect with the next connection. What a vault answers is believed for a minute.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgov.errors import ConfigInvalid
from nbgov.model import Secret

BELIEF_S = 60.0
VAULT_WAIT_S = 10
# What nobody but the owner may do with the file of a secret, and what the group may read of root's.
OTHERS = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
GROUP = stat.S_IRGRP
EXTRAS = {"vault": "nbgov[vault]", "awssm": "nbgov[aws]", "keyring": "keyring"}


class Unread(Exception):
    """A secret cannot be read; the text says why and holds nothing of it."""


def find_secret(reference: str, folder: Path) -> Secret:
    """The secret behind a reference, which can be read now.

    Args:
        reference: ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/USER``, ``vault:PATH#FIELD`` or
            ``awssm:NAME`` with or without ``#FIELD``.
        folder: What relative paths are relative to.

    Raises:
        ConfigInvalid: It points at nothing (``secret-missing``).
    """
    scheme, _, rest = reference.partition(":")

    def read() -> str:
        why = ""
        try:
            return READERS[scheme](rest, folder)
        except Unread as error:
            why = str(error)
        except ImportError:
            why = f"its package is not installed: pip install '{EXTRAS.get(scheme, scheme)}'"
        except Exception as error:  # noqa: BLE001 - the text of a vault's client may hold anything
            why = type(error).__name__
        # Security: raised out here, so that no frame of a client that held the value is kept.
        raise ConfigInvalid(
            f"The secret {reference} cannot be read.",
            code="secret-missing",
            why=why,
            next_step="put it where the reference points, or correct nbgov.yaml",
        )

    secret = Secret(read)
    secret.reveal()
    return secret


def read_environment(name: str, _: Path) -> str:
    """A variable of this process."""
    if name not in os.environ:
        problem = "the variable is not set"
        raise Unread(problem)
    return os.environ[name]


def read_file(path: str, folder: Path) -> str:
    """A file, without the line break at its end."""
    return (folder / path).expanduser().read_text(encoding="utf-8").strip("\r\n")


def read_keyring(place: str, _: Path) -> str:
    """An entry of the system's keychain, ``SERVICE/USER``."""
    import keyring

    service, __, user = place.rpartition("/")
    found = keyring.get_password(service, user)
    if found is None:
        problem = "the keychain has no such entry"
        raise Unread(problem)
    return found


@dataclass
class Vault:
    """What a vault has answered, by place, for a minute.

    Attributes:
        ask: Asks the vault for everything at a path.
    """

    ask: Callable[[str], Mapping[str, Any]]

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def read(self, place: str, _: Path) -> str:
        """One field of what is at a path, ``PATH#FIELD``; without a field, all of it."""
        path, __, field = place.partition("#")
        with self.lock:
            at, answer = self.known.get(path, (-BELIEF_S, {}))
            if time.monotonic() - at >= BELIEF_S:
                answer = self.ask(path)
                self.known[path] = (time.monotonic(), answer)
        value = answer.get(field)
        if not isinstance(value, str):
            problem = "there is no text under that name"
            raise Unread(problem)
        return value


def ask_vault(path: str) -> Mapping[str, Any]:
    """What HashiCorp Vault (or OpenBao) keeps at a path, as ``VAULT_ADDR`` and ``VAULT_TOKEN`` say.

    The answer of a versioned store (KV 2) has the fields one level below those of any other.
    """
    import hvac  # type: ignore[import-untyped]

    answer = hvac.Client(timeout=VAULT_WAIT_S).read(path)
    if answer is None:
        problem = "the vault has nothing at that path"
        raise Unread(problem)
    data: dict[str, Any] = answer["data"]
    versioned = data.get("data")
    return versioned if isinstance(versioned, dict) and "metadata" in data else data


def ask_aws(name: str) -> Mapping[str, Any]:
    """What AWS Secrets Manager has under a name or ARN: its fields, and all of it as ``""``."""
    import boto3  # type: ignore[import-untyped]

    region = name.split(":")[3] if name.startswith("arn:") else None
    client = boto3.client("secretsmanager", region_name=region)
    text: str = client.get_secret_value(SecretId=name)["SecretString"]
    fields = json.loads(text) if text.startswith("{") else {}
    return {**fields, "": text}


READERS: Mapping[str, Callable[[str, Path], str]] = {
    "env": read_environment,
    "file": read_file,
    "keyring": read_keyring,
    "vault": Vault(ask_vault).read,
    "awssm": Vault(ask_aws).read,
}


def exposure(path: Path) -> str:
    """Who else than its owner can reach the file of a secret; empty where nobody can.

    A file of root's may be read by its group: so does Kubernetes mount secrets for a pod.

    Raises:
        OSError: There is no such file.
    """
    found = path.stat()
    forbidden = OTHERS if found.st_uid == 0 else OTHERS | GROUP
    if not found.st_mode & forbidden:
        return ""
    return f"mode {stat.S_IMODE(found.st_mode):04o}, so that other accounts can reach it"


def require_unexposed(references: tuple[str, ...], folder: Path) -> None:
    """Go no further with a secret's file that other accounts can reach.

    Raises:
        ConfigInvalid: One can (``secret-exposed``).
    """
    for reference in references:
        scheme, _, rest = reference.partition(":")
        path = (folder / rest).expanduser()
        if scheme == "file" and path.exists() and (why := exposure(path)):
            raise ConfigInvalid(
                f"The secret {reference} is open to others.",
                code="secret-exposed",
                why=why,
                next_step="give it to the gateway's account alone: chown, and chmod 0400",
            )
