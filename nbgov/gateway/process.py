"""A process of the gateway: shut to others, listening, telling of itself, and ending in order."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.addresses import OWN_HOSTS
from nbgov.backends.secrets import require_unexposed
from nbgov.config.references import secret_references
from nbgov.errors import BackendFailed, ConfigInvalid, NbgovError
from nbgov.gateway.opening import open_house, read_tls
from nbgov.gateway.policies import HeldPolicy

if TYPE_CHECKING:
    from types import FrameType

    from nbgov.config.gateway import GatewayTerms
    from nbgov.gateway.control.serving import ControlPlane
    from nbgov.gateway.flight.serving import DataPlane
    from nbgov.gateway.house import House

LOGGER = logging.getLogger("nbgov.gateway")
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
HEARTBEAT_S = 2.0
DRAIN_S = 30.0


def harden(*, is_part: bool = False) -> None:
    """Keep other processes of the account out of this one's memory, and its memory off the disk.

    Args:
        is_part: Whether another process has started this one, and it is to end with that.

    Raises:
        BackendFailed: The system does not let it.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Security: without it, the account's other processes read secrets in /proc/PID/mem.
        libc = ctypes.CDLL(None, use_errno=True)
        is_done = libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
        if is_part:
            is_done &= libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) == 0
        if not is_done:
            raise BackendFailed(
                "The gateway cannot shut its memory to other processes.",
                code="gateway-failed",
                why=os.strerror(ctypes.get_errno()),
            )


@dataclass
class Serving:
    """The planes of one process.

    Attributes:
        house: What they stand on.
        data, control: The planes.
    """

    house: House
    data: DataPlane
    control: ControlPlane

    def close(self, *, grace_s: float) -> None:
        """Take nothing new, bring what runs to its end, and give everything back."""
        self.house.is_draining = True
        self.data.drain(grace_s)
        self.control.stop()
        self.house.close()


def start(path: Path, *, is_shared: bool = False) -> Serving:
    """Open the house of an ``nbgov.yaml`` and serve it.

    Raises:
        ConfigInvalid: It is not valid, would serve other hosts without TLS, or a secret's file is
            open to other accounts (``secret-exposed``).
        BackendFailed: The log, the store or an address cannot be had.
    """
    from nbgov.gateway.control.serving import start_control_plane
    from nbgov.gateway.flight.serving import start_data_plane
    from nbgov.gateway.identity import Identities

    house = open_house(path)
    try:
        terms = house.terms
        require_private(terms)
        require_unexposed(secret_references(house.site.config), path.parent)
        tls = read_tls(terms, path.parent)
        data = start_data_plane(house, terms.data, tls=tls, is_shared=is_shared)
        try:
            control = start_control_plane(
                house,
                Identities(terms, now=house.site.world.clock.now),
                terms.control,
                tls=tls,
                is_shared=is_shared,
                checks={"policy-file": partial(policy_problem, house)},
            )
        except BaseException:
            data.stop()
            raise
    except BaseException:
        house.close()
        raise
    return Serving(house, data, control)


def policy_problem(house: House) -> str:
    """The code of what is wrong with the policy's newest text, or empty."""
    policy = house.site.world.policy
    return policy.problem if isinstance(policy, HeldPolicy) else ""


def require_private(terms: GatewayTerms) -> None:
    """See that no token and no row goes through a network in clear.

    Raises:
        ConfigInvalid: One would.
    """
    hosts = {address.rpartition(":")[0].strip("[]") for address in (terms.data, terms.control)}
    if terms.tls is None and not hosts <= OWN_HOSTS:
        raise ConfigInvalid(
            "The gateway would serve other hosts in clear.",
            why="data: or control: names an address of the network, and there is no tls:",
            next_step="add tls: under gateway:, or listen on 127.0.0.1",
        )


def serve(
    path: Path, *, is_shared: bool = False, ready: Callable[[Serving], None] = lambda _: None
) -> None:
    """Serve until SIGTERM or SIGINT comes; then end in order.

    SIGHUP reads the policy again at once; without it that happens with the next request.

    Args:
        path: The ``nbgov.yaml``.
        is_shared: Whether other processes listen on the same ports.
        ready: Called once both planes listen.

    Raises:
        NbgovError: What :func:`start` raises.
    """
    harden(is_part=is_shared)
    ended = threading.Event()
    serving = start(path, is_shared=is_shared)

    def end(number: int, _: FrameType | None) -> None:
        LOGGER.info("%s: draining", signal.Signals(number).name)
        serving.house.is_draining = True
        ended.set()

    def reload(_: int, __: FrameType | None) -> None:
        with suppress(NbgovError):
            serving.house.site.world.policy.text()

    before = {
        number: signal.signal(number, handler)
        for number, handler in (
            (signal.SIGTERM, end),
            (signal.SIGINT, end),
            (signal.SIGHUP, reload),
        )
    }
    try:
        ready(serving)
        house, since = serving.house, serving.house.site.world.clock.now()
        while not ended.wait(HEARTBEAT_S):
            with suppress(BackendFailed):
                now = house.site.world.clock.now()
                house.tend(since=since)
                since = now
    finally:
        serving.close(grace_s=DRAIN_S)
        for number, handler in before.items():
            signal.signal(number, handler)
