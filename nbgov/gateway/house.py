"""What both planes of a gateway stand on: who is in, what they run, and what was stopped.

A token opens a :class:`Guest`, which is a login and a session of its principal on the one site of
the process. Tokens are random; only their digests are kept, so that nothing that is stolen from
the store lets anybody in.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from nbgov.assurance.deeds import record_admin
from nbgov.config.gateway import GatewayTerms
from nbgov.errors import BackendFailed
from nbgov.gateway.guests import (
    PREFIXES,
    Guest,
    KnownPrincipal,
    Running,
    busy,
    digest,
    draining,
    own_id,
    repeated,
    require_valid,
    roles_of,
    unknown_token,
    was_stopped,
)
from nbgov.gateway.tally import Tally
from nbgov.model import (
    Audience,
    Login,
    Node,
    Principal,
    Proof,
    Request,
    Result,
    Stop,
    StopKind,
    Verdict,
    Work,
)
from nbgov.session import Session

if TYPE_CHECKING:
    from nbgov.ports import GatewayStore
    from nbgov.session.site import Site

TOKEN_BYTES = 32
KEY_BYTES = 32
# How long this process believes what the store said of a token, and of what is stopped.
BELIEF_S = 1.0
# How much later than its moment another process may have written something down.
LATE = timedelta(seconds=30)
GUESTS_MAX = 10_000
AGENT_CHARS_MAX = 200


class House:
    """Everything that the planes of one process share.

    Args:
        site: The connections, the log and the stores.
        store: What the processes of the gateway know together.
        terms: ``gateway:`` of ``nbgov.yaml``.

    Attributes:
        is_draining: Whether nothing new is begun any more.
        tally: What is counted for metrics.
    """

    def __init__(self, site: Site, store: GatewayStore, terms: GatewayTerms) -> None:
        self.site = site
        self.store = store
        self.terms = terms
        self.is_draining = False
        self.tally = Tally()
        self.ticket_key = store.key("ticket", secrets.token_bytes(KEY_BYTES))
        self.running: dict[str, Running] = {}
        self.guests: dict[bytes, tuple[int, Guest]] = {}
        self.sessions: dict[Principal, Session] = {}
        self.stopped: tuple[int, tuple[Stop, ...]] = (-(10**9), ())
        self.lock = threading.Lock()

    # ------------------------------------------------------------ who is in

    def admit(
        self, proof: Proof, audience: Audience, *, address: str, agent: str
    ) -> tuple[str, Login]:
        """Open a login for somebody whose identity was proven; its token is told this once.

        Raises:
            IdentityFailed: Somebody else has the name (``name-taken``).
            Denied: The principal was stopped (``principal-stopped``).
            BackendFailed: The store or the log cannot be written.
        """
        now = self.site.world.clock.now()
        name = self.store.bind_name(proof.name, proof.subject)
        principal = Principal(
            name,
            proof.groups,
            proof.roles | roles_of(proof.groups, self.terms.roles),
            proof.subject,
            f"{proof.method}:{proof.issuer}",
        )
        self.require_open(StopKind.PRINCIPAL, name)
        until = min(now + timedelta(seconds=self.terms.session_s), proof.expires_at)
        login = Login(
            uuid.uuid4().hex, principal, audience, now, until, address, agent[:AGENT_CHARS_MAX]
        )
        record_admin(
            self.site.world,
            "LOGIN",
            session=self.site.id,
            principal=principal,
            origin={"login": login.id, "address": address, "audience": audience.value},
        )
        token = PREFIXES[audience] + secrets.token_urlsafe(TOKEN_BYTES)
        self.store.open_login(login, digest(token))
        self.tally.add("logins", audience=audience.value)
        return token, login

    def enter(self, token: str, audience: Audience) -> Guest:
        """Whoever has a token.

        Raises:
            IdentityFailed: There is no token (``token-missing``), nobody has it
                (``token-unknown``), it is for the other plane (``token-audience``), or it has ended
                (``token-expired``, ``token-revoked``).
            Denied: The principal was stopped (``principal-stopped``).
            BackendFailed: The store cannot be read.
        """
        key = digest(token)
        ticks = self.site.world.clock.ticks()
        known = self.guests.get(key)
        if known is None or ticks - known[0] > BELIEF_S * 1000:
            guest = self.look_up(token, key)
            with self.lock:
                if len(self.guests) >= GUESTS_MAX:
                    self.guests.clear()
                self.guests[key] = (ticks, guest)
        else:
            guest = known[1]
        require_valid(guest.login, audience, self.site.world.clock.now())
        self.require_open(StopKind.PRINCIPAL, guest.principal.name)
        return guest

    def look_up(self, token: str, key: bytes) -> Guest:
        """The guest behind a token, as the store knows it."""
        login = self.store.login(key) if token.startswith(tuple(PREFIXES.values())) else None
        if login is None:
            raise unknown_token(token)
        with self.lock:
            session = self.sessions.get(login.principal)
            if session is None:
                session = Session(self.site, identity=KnownPrincipal(login.principal))
                self.sessions[login.principal] = session
        return Guest(login, session)

    def end(
        self, *, login: str = "", principal: str = "", by: Principal, reason: str
    ) -> tuple[Login, ...]:
        """End a login, or all of a principal, and what they run. Recorded first.

        Raises:
            BackendFailed: The store or the log cannot be written.
        """
        world = self.site.world
        record_admin(
            world,
            "LOGOUT",
            session=self.site.id,
            principal=by,
            note=login or principal,
            origin={"login": login} if login else None,
        )
        ended = self.store.end_logins(
            login=login, principal=principal, by=by.name, at=world.clock.now(), reason=reason
        )
        self.forget()
        ids = {one.id for one in ended}
        self.cancel(lambda work: work.login in ids)
        return ended

    def free_name(self, name: str, *, by: Principal) -> bool:
        """Let another subject have a name. Recorded first.

        Raises:
            BackendFailed: The store or the log cannot be written.
        """
        record_admin(
            self.site.world, "FREE", session=self.site.id, principal=by, note=f"name {name}"
        )
        return self.store.free_name(name)

    # ------------------------------------------------------------ what they run

    def ask(self, guest: Guest, request: Request, *, surface: str, address: str) -> Result:
        """Run a request of a guest; every surface of the gateway comes through here.

        The result has to be read to its end or closed: it counts as running until then.

        Raises:
            Denied: Its connection was stopped (``connection-stopped``).
            BackendFailed: The gateway ends (``gateway-draining``), or too many results are open
                (``gateway-busy``).
            NbgovError: For every reason why it did not run.
        """
        request = self.named(guest, request, surface=surface, address=address)
        running = self.begin(guest, request, surface)
        try:
            result = guest.session.ask(request)
        except BaseException as error:
            self.running.pop(request.id, None)
            self.tally.add("refusals", code=getattr(error, "code", ""), **self.labels(running.work))
            raise
        running.result = result
        result.follow(lambda: self.leave(running))
        return result

    def leave(self, running: Running) -> None:
        """Count a request as one that has ended. What comes later of the same name stays."""
        with self.lock:
            if self.running.get(running.work.id) is not running:
                return
            del self.running[running.work.id]
        labels, done = self.labels(running.work), running.now()
        took = self.site.world.clock.now() - done.began_at
        self.tally.add("statements", **labels)
        self.tally.add("statement_rows", done.rows, **labels)
        self.tally.add("statement_seconds", max(took.total_seconds(), 0), **labels)

    def labels(self, work: Work) -> dict[str, str]:
        """What a request is counted by. The name of no connection of ours counts as none."""
        known = work.connection in self.site.config.connections
        return {"surface": work.surface, "connection": work.connection if known else ""}

    def check(self, guest: Guest, request: Request, *, surface: str, address: str) -> Verdict:
        """Decide a request that is to run later; a refusal is recorded now.

        Raises:
            NbgovError: For every reason why it would not run.
        """
        request = self.named(guest, request, surface=surface, address=address)
        self.require_open(StopKind.CONNECTION, request.connection)
        return guest.session.pipeline.foresee(request)

    def named(self, guest: Guest, request: Request, *, surface: str, address: str) -> Request:
        """A request as that of a guest: what was seen of where it comes from outdoes claims."""
        seen = {"surface": surface, "login": guest.login.id, "address": address}
        return replace(
            request,
            claim=None,
            id=own_id(guest.principal, request.id),
            origin={**request.origin, **seen},
        )

    def begin(self, guest: Guest, request: Request, surface: str) -> Running:
        """Count a request as running, and let it be seen and cancelled from now on."""
        self.require_open(StopKind.CONNECTION, request.connection)
        work = Work(
            request.id,
            guest.login.id,
            guest.principal.name,
            request.connection,
            "",
            surface,
            self.site.world.clock.now(),
        )
        with self.lock:
            if self.is_draining:
                raise draining()
            mine = sum(one.work.principal == work.principal for one in self.running.values())
            if mine >= self.terms.streams_each_max or len(self.running) >= self.terms.streams_max:
                raise busy(mine, len(self.running))
            if request.id in self.running:
                raise repeated()
            self.running[request.id] = running = Running(work, guest.session)
        return running

    def works(self) -> tuple[Work, ...]:
        """What runs in this process now, oldest first."""
        return tuple(one.now() for one in tuple(self.running.values()))

    def cancel(self, which: Callable[[Work], bool]) -> int:
        """Cancel what runs in this process; how many statements that was. For any thread."""
        chosen = [one for one in tuple(self.running.values()) if which(one.work)]
        for one in chosen:
            one.session.cancel(one.work.id)
            if one.result is not None:
                one.result.cancel()
        return len(chosen)

    # ------------------------------------------------------------ what was stopped

    def stop(self, stop: Stop, *, by: Principal) -> None:
        """Stop a connection or a principal, and cancel what they run here. Recorded first.

        Raises:
            BackendFailed: The store or the log cannot be written.
        """
        subject = {"connection": stop.name} if stop.kind is StopKind.CONNECTION else {}
        record_admin(
            self.site.world,
            "STOP",
            session=self.site.id,
            principal=by,
            note=f"{stop.kind.value} {stop.name}",
            reason=stop.reason,
            **subject,
        )
        self.store.stop(stop)
        self.forget()
        self.cancel(lambda work: stop.name == getattr(work, stop.kind.value))

    def lift(self, kind: StopKind, name: str, *, by: Principal) -> Stop | None:
        """Lift a stop. Recorded first.

        Raises:
            BackendFailed: The store or the log cannot be written.
        """
        subject = {"connection": name} if kind is StopKind.CONNECTION else {}
        note = f"{kind.value} {name}"
        record_admin(
            self.site.world, "LIFT", session=self.site.id, principal=by, note=note, **subject
        )
        lifted = self.store.lift(kind, name)
        self.forget()
        return lifted

    def require_open(self, kind: StopKind, name: str) -> None:
        """Go no further with what was stopped.

        Raises:
            Denied: It was (``connection-stopped``, ``principal-stopped``).
        """
        ticks = self.site.world.clock.ticks()
        if ticks - self.stopped[0] > BELIEF_S * 1000:
            self.stopped = (ticks, self.store.stops())
        for stop in self.stopped[1]:
            if (stop.kind, stop.name) == (kind, name):
                raise was_stopped(stop)

    def forget(self) -> None:
        """Believe nothing that the store has said before."""
        self.guests.clear()
        self.stopped = (-(10**9), ())

    def tend(self, *, since: datetime) -> None:
        """Tell the other processes what this one does, and cancel what they have ended or stopped.

        Args:
            since: When that was last looked for.

        Raises:
            BackendFailed: The store cannot be read or written.
        """
        self.store.tell(self.node())
        ended = self.store.ended(since=since - LATE)
        stopped = {(stop.kind.value, stop.name) for stop in self.store.stops()}

        def is_over(work: Work) -> bool:
            kinds = {("connection", work.connection), ("principal", work.principal)}
            return work.login in ended or bool(kinds & stopped)

        self.cancel(is_over)

    def node(self) -> Node:
        """What this process tells the others of itself."""
        digest = self.site.world.policy.text().encode()
        return Node(
            self.site.id,
            socket.gethostname(),
            os.getpid(),
            hashlib.sha256(digest).hexdigest(),
            self.site.world.clock.now(),
            self.works(),
        )

    def close(self) -> None:
        """Cancel what still runs, and give the site back."""
        self.is_draining = True
        self.cancel(lambda _: True)
        with suppress(BackendFailed):
            self.store.leave(self.site.id)
        self.store.close()
        self.site.close()
