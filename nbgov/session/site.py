"""What the sessions of one process share: connections, log, stores and keys of one ``nbgov.yaml``.

In embedded mode a session has a site of its own. A gateway opens one, and every principal who signs
in gets a session on it; see :mod:`nbgov.gateway`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.model import Principal
from nbgov.session.administration import AnnouncedLog, identified, marks_of, tell_lost
from nbgov.sinks import with_notices, with_witnesses
from nbgov.wiring import build_world, open_engine, read_config, read_secret

if TYPE_CHECKING:
    from nbgov.ports import Engine, World


class Site:
    """The connections, the log and the stores of an ``nbgov.yaml``, for any number of sessions.

    Args:
        path: The ``nbgov.yaml``.
        claim: A declared principal's name, or ``None`` for the one the OS account maps to.
        keeper: Who keeps the site for others, as a gateway does; every record then says that it
            was made where the people it is about can change nothing. Without one the site is
            that of the principal behind ``claim``.
        adapted: Last changes to the ports, before anything is announced.

    Attributes:
        id: Identifier of what is recorded here, part of every record.
        config: The decoded configuration.
        state: The folder of audit log, approvals, datasets and keys.
        world: The ports.
        principal: The keeper, or whose site it is.

    Raises:
        ConfigInvalid: ``nbgov.yaml`` is not valid.
        IdentityFailed: The principal is not declared.
    """

    def __init__(
        self,
        path: Path,
        *,
        claim: str | None = None,
        keeper: Principal | None = None,
        adapted: Callable[[World], World] = lambda world: world,
    ) -> None:
        self.path = path
        self.config = read_config(path)
        self.state = path.parent / self.config.state
        self.id = uuid.uuid4().hex
        self.engines: dict[str, Engine] = {}
        self.lock = threading.Lock()
        world = build_world(path, self.config, session=self.id, engine=self.engine)
        self.principal = keeper or identified(world, claim, session=self.id)
        world = with_witnesses(adapted(world), self.config)
        self.log = AnnouncedLog(
            world,
            session=self.id,
            principal=self.principal,
            marks=partial(marks_of, self.config, world),
            is_kept=keeper is not None,
        )
        self.world = with_notices(
            replace(world, audit=self.log),
            self.config,
            path.parent,
            secret=read_secret,
            lost=partial(tell_lost, self.log),
        )
        if world.mirroring is not None:
            world.mirroring.start()
        if self.world.notifier is not None:
            self.world.notifier.start()

    def engine(self, name: str) -> Engine:
        """The engine of a connection, opened on first use.

        Raises:
            RequestInvalid: No connection has the name.
            BackendFailed: The database or its driver is away.
        """
        found = self.engines.get(name)
        if found is None:
            with self.lock:
                found = self.engines.get(name)
                if found is None:
                    found = open_engine(self.path.parent, self.config, name)
                    self.engines[name] = found
        return found

    def close(self) -> None:
        """Give back connections and files. Callable more than once."""
        while self.engines:
            self.engines.popitem()[1].close()
        world = self.world
        if world.notifier is not None:
            world.notifier.close()
        self.log.leave()
        if world.cosigning is not None:
            world.cosigning.close()
        for part in (world.audit, world.index, world.approvals, world.datasets, world.releases):
            part.close()
        if world.mirroring is not None:
            world.mirroring.close()
        for more in (world.catalogs, world.facts, world.undo):
            if more is not None:
                more.close()
