"""What MLflow did not take, kept on disk until ``nbgov mlflow sync`` writes it.

Each file in the state folder holds what one failed call wanted to write about one run: which
versions belong to it, and what only the training process knew. Files are complete or absent, and
may be written a second time without harm. No row and no value of one is in them.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from mlflow_plugin.ledger import state_folder
from nbgov import DatasetVersion, Delivery

if TYPE_CHECKING:
    from mlflow_plugin.captured import Facts

logger = logging.getLogger(__name__)
SPEC = "nbgov/mlflow-spool/1"
FOLDER = "mlflow-spool"
FILES_MAX = 5_000
RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CONNECT_S = 3.0
AWAY_S = 30.0
DEFAULT_PORTS = {"http": 80, "https": 443}

away: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Binding:
    """A read that belongs to a run.

    Attributes:
        run_id: The run.
        version, delivery: What was read, and by whom.
        context: What for: ``training``, ``validation``, ``read``.
        tier: How we know; one of :data:`mlflow_plugin.inputs.TIERS`.
        labels: Columns that the run learned to predict.
    """

    run_id: str
    version: DatasetVersion
    delivery: Delivery
    context: str
    tier: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spooled:
    """What one file keeps.

    Attributes:
        path: The file.
        uri: The tracking store, without credentials.
        run_id: The run.
        bindings: For each read its ``mark``, ``context``, ``tier`` and ``labels``.
        facts: What the training process knew, as :class:`~mlflow_plugin.captured.Facts` has it.
    """

    path: Path
    uri: str
    run_id: str
    bindings: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any]


def reach(uri: str) -> None:
    """Return at once if the tracking store may be there.

    MLflow tries a server that is away again and again, for minutes; a training would wait for that
    at each of our calls. So a server that accepts no connection is not asked, and one that was away
    a moment ago is not tried.

    Raises:
        ConnectionError: The server is away.
    """
    parts = urlsplit(uri)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or is_proxied(parts.hostname):
        return
    if away.get(uri, 0.0) > time.monotonic():
        raise ConnectionError("The MLflow server was away a moment ago.")
    try:
        address = (parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])
        socket.create_connection(address, CONNECT_S).close()
    except OSError as error:
        away[uri] = time.monotonic() + AWAY_S
        raise ConnectionError("The MLflow server is away.") from error


def shun(uri: str, since: float) -> None:
    """Do not ask a server for a while that made us wait, and failed then.

    Such a server takes connections and does not answer. MLflow waits for minutes at each call, so
    the pages that are still to be written when a process ends would keep it for hours.

    Args:
        uri: The tracking store.
        since: When the call that failed began, in seconds of the monotonic clock.
    """
    if time.monotonic() - since > AWAY_S:
        away[uri] = time.monotonic() + AWAY_S


def is_proxied(host: str) -> bool:
    """Whether requests go through a proxy, which only it can say where to."""
    return bool(urllib.request.getproxies()) and not urllib.request.proxy_bypass(host)


def keep(uri: str, run_id: str, bindings: Iterable[Binding], facts: Facts) -> bool:
    """Keep what a tracking store did not take, and say whether that was possible. Never raises."""
    chosen = tuple(bindings)
    try:
        state = state_folder(chosen[0].delivery.read_id if chosen else "")
        if state is None or not RUN_ID.fullmatch(run_id) or len(files(state)) >= FILES_MAX:
            return False
        entry = {
            "spec": SPEC,
            "uri": bare(uri),
            "run_id": run_id,
            "bindings": [stated(one) for one in chosen],
            "facts": asdict(facts),
        }
        write(state / FOLDER, run_id, json.dumps(entry))
    except Exception as error:  # noqa: BLE001 - a full disk must not fail a training
        logger.warning("nbgov: nothing could be kept for later (%s)", type(error).__name__)
        return False
    return True


def stated(binding: Binding) -> dict[str, Any]:
    """A binding, JSON-ready; the versions themselves are in the dataset store."""
    delivery = binding.delivery
    mark = {"read": delivery.read_id, "version": delivery.version_id, "name": delivery.name}
    rest = {"context": binding.context, "tier": binding.tier, "labels": list(binding.labels)}
    return {"mark": mark} | rest


def bare(uri: str) -> str:
    """A URI without the credentials that it may carry.

    >>> bare("https://ada:secret@mlflow.acme.test/x?token=1")
    'https://mlflow.acme.test/x'
    """
    parts = urlsplit(uri)
    # Security: a password in a tracking URI must not stay behind in a file.
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def write(folder: Path, run_id: str, text: str) -> None:
    """Write a file that is complete when it has its name, for this account alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}.{run_id}.{uuid.uuid4().hex[:8]}"
    part = folder / f"{name}.part"
    # Security: column names and digests of code are nobody else's on this machine.
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.rename(folder / f"{name}.json")


def files(state: Path, run_id: str = "") -> list[Path]:
    """The files kept, oldest first; of one run, or of all."""
    pattern = f"*.{run_id}.*.json" if run_id else "*.json"
    return sorted((state / FOLDER).glob(pattern))


def read(path: Path) -> Spooled | None:
    """What a file keeps; ``None`` if that is not what we write."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        is_ours = entry["spec"] == SPEC and RUN_ID.fullmatch(entry["run_id"])
        kinds = (entry["uri"], str), (entry["bindings"], list), (entry["facts"], dict)
        if not is_ours or not all(isinstance(value, kind) for value, kind in kinds):
            return None
        bindings = tuple(one for one in entry["bindings"] if isinstance(one, dict))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Spooled(path, entry["uri"], entry["run_id"], bindings, entry["facts"])
