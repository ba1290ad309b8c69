"""A model of tickets that was written for tests, and the steps that are held against it."""

from __future__ import annotations

import copy
import tempfile
import threading
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbgov.backends.memory import MemoryApprovalStore
from nbgov.backends.sqlite.approvals import SqliteApprovalStore
from nbgov.core import approval as genuine
from nbgov.errors import Denied, IntegrityFailed
from nbgov.model import ApprovalState, Emergency, Vote
from tests.approvals import (
    ADA,
    GRACE,
    HEIDI,
    HOUR,
    IVAN,
    MALLORY,
    SECOND,
    START,
    VALID,
    WAIT,
    WINDOW,
    ballot,
    quorum,
    ticket,
)

TWO = (quorum(votes_min=2), quorum("second", roles=("dba",), groups=("stewards",)))
# Two statements: one that two rules ask votes for, once; one that is good for a window.
ASKED = {"d": TWO, "e": (WINDOW,)}
NEEDED = {"d": {"first": 2, "second": 1}, "e": {"first": 1}}
PEOPLE = [ADA, replace(ADA, name="ADA@ACME.TEST"), GRACE, replace(GRACE, name="Grace@acme.test")]
PEOPLE += [HEIDI, IVAN, IVAN, MALLORY]
GLASS = timedelta(seconds=900)


@dataclass
class Sheet:
    """A ticket, as the model has it."""

    slot: str
    opened: datetime
    state: str = "requested"
    votes: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"first": 0, "second": 0})
    until: datetime | None = None
    uses: int = 0
    glass: str = ""

    def rules(self, who) -> list[str]:
        """What a voice would count for."""
        found = ["first"] if "approver" in who.roles else []
        is_second = self.slot == "d" and (who.roles & {"dba"} or who.groups & {"stewards"})
        return found + (["second"] if is_second else [])

    def is_live(self, now) -> bool:
        """Whether it can still change."""
        end = self.until if self.state == "approved" else self.opened + WAIT
        return self.state in {"requested", "approved"} and now < end

    def tick(self, now) -> None:
        """Let it expire."""
        if self.state in {"requested", "approved"} and not self.is_live(now):
            self.state = "expired"

    def vote(self, who, yes, now) -> str | None:
        """A voice; the code of the error that it meets."""
        person = who.name.lower()
        if person == ADA.name:
            return "self-approval"
        if not self.rules(who):
            return "vote-not-permitted"
        if self.state != "requested" or not self.is_live(now):
            return "ticket-conflict"
        if person in self.votes:
            return "vote-not-permitted"
        self.votes[person] = yes
        for name in self.rules(who):
            self.counts[name] += 1
        if not yes:
            self.state = "denied"
        elif all(self.counts[name] >= count for name, count in NEEDED[self.slot].items()):
            self.state, self.until = "approved", now + VALID
        return None

    def use(self, is_same, now) -> str | None:
        """A use."""
        if not is_same or self.state != "approved" or not self.is_live(now):
            return "ticket-conflict"
        self.uses += 1
        if self.slot == "d" or self.glass:
            self.state = "consumed"
        return None

    def break_glass(self, who, reason, is_blocked, now) -> str | None:
        """A use without votes."""
        if who.name.lower() != ADA.name or not reason.strip() or is_blocked:
            return "emergency-not-permitted"
        if self.state != "requested" or not self.is_live(now):
            return "ticket-conflict"
        self.state, self.until, self.glass = "approved", now + GLASS, "open"
        return None

    def review(self, who) -> str | None:
        """Somebody looks at it afterwards."""
        if who.name.lower() == ADA.name:
            return "self-approval"
        if not self.rules(who):
            return "vote-not-permitted"
        if self.glass != "open":
            return "ticket-conflict"
        self.glass = "seen"
        return None

    def revoke(self, who, now) -> str | None:
        """A voter takes it back."""
        if not self.rules(who):
            return "vote-not-permitted"
        if self.state != "approved" or not self.is_live(now):
            return "ticket-conflict"
        self.state = "revoked"
        return None

    def cancel(self, who, now) -> str | None:
        """The requester takes it back."""
        if not self.is_live(now):
            return "ticket-conflict"
        if who.name.lower() != ADA.name:
            return "vote-not-permitted"
        self.state = "cancelled"
        return None


SLOTS = st.sampled_from(["d", "d", "e"])
WHO = st.sampled_from(PEOPLE)
YES = st.sampled_from([True, True, True, False])


class Tickets(RuleBasedStateMachine):
    """Takes steps in a store beside the model."""

    module = genuine

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="nbgov-")
        self.now = self.high = START
        self.sheets: dict[str, Sheet] = {}
        self.names: dict[str, str] = {}
        self.count = 0
        self.store = self.make_store()
        for slot in ASKED:
            self.ask(slot)

    def make_store(self):
        """The store."""
        return SqliteApprovalStore(Path(self.folder.name) / "state.sqlite")

    def second(self):
        """Another one over the same tickets, as another process has it."""
        return self.make_store()

    def teardown(self):
        """Close it."""
        self.store.close()
        self.folder.cleanup()

    # ------------------------------------------------------------ helpers

    def tell(self):
        """The time; every ticket ages."""
        self.high = max(self.high, self.now)
        assert self.store.now(self.now) == self.high
        for sheet in self.sheets.values():
            sheet.tick(self.high)
        return self.high

    def find(self, slot):
        """The newest ticket of a statement, as it is kept and as the model has it."""
        now = self.tell()
        name = self.names[slot]
        return self.store.get(name), self.sheets[name], now

    def takes(self, before, step, code):
        """Take a step; it fails with just this code, or not at all if there is none."""
        met = None
        try:
            assert self.store.swap(before, step())
        except (Denied, IntegrityFailed) as caught:
            met = caught.code
        assert met == code

    # ------------------------------------------------------------ steps

    @rule(slot=SLOTS)
    def ask(self, slot):
        """Run the statement, which opens a ticket or finds one."""
        now = self.tell()
        self.count += 1
        name = f"{slot}{self.count}"
        digest = slot.encode() * 32
        asked = ticket(*ASKED[slot], name=name, digest=digest, now=now, module=self.module)
        found = self.store.open(asked)
        live = slot in self.names and self.sheets[self.names[slot]].is_live(now)
        assert found.ticket == (self.names[slot] if live else name)
        if not live:
            self.names[slot] = name
            self.sheets[name] = Sheet(slot, now)

    @rule(slot=SLOTS, who=WHO, yes=YES)
    def vote(self, slot, who, yes):
        """Somebody votes."""
        real, sheet, now = self.find(slot)
        self.takes(
            real,
            lambda: self.module.vote(real, ballot(yes=yes, at=self.now), voter=who, now=now),
            sheet.vote(who, yes, now),
        )

    @rule(slot=SLOTS)
    def agree(self, slot):
        """Two people approve, one after the other."""
        self.vote(slot, IVAN, True)
        self.vote(slot, GRACE, True)

    @rule(slot=SLOTS, voters=st.permutations([GRACE, IVAN, HEIDI]), yes=st.tuples(YES, YES))
    def vote_at_once(self, slot, voters, yes):
        """Two reviewers vote at the same moment, in two processes' stores."""
        _, sheet, now = self.find(slot)
        name, pairs = self.names[slot], list(zip(voters[:2], yes, strict=True))
        met, stores = {}, [self.store, self.second()]
        gate = threading.Barrier(2)

        def work(store, who, is_yes):
            gate.wait()
            while who.name not in met:
                real = genuine.expire(store.get(name), now)
                try:
                    after = self.module.vote(real, ballot(yes=is_yes), voter=who, now=now)
                    if store.swap(real, after):
                        met[who.name] = None
                except (Denied, IntegrityFailed) as caught:
                    met[who.name] = caught.code

        threads = [
            threading.Thread(target=work, args=(store, *pair))
            for store, pair in zip(stores, pairs, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if stores[1] is not self.store:
            stores[1].close()
        possible = []
        for order in (pairs, pairs[::-1]):
            after = copy.deepcopy(sheet)
            possible.append(({who.name: after.vote(who, y, now) for who, y in order}, after))
        real = genuine.expire(self.store.get(name), now)
        fitting = [
            after
            for told, after in possible
            if told == met and after.state == real.state and len(after.votes) == len(real.votes)
        ]
        assert fitting
        self.sheets[name] = fitting[0]

    @rule(slot=SLOTS, other=st.sampled_from(["", "", "", "digest", "required"]))
    def use(self, slot, other):
        """Run what was approved, or something else."""
        real, sheet, now = self.find(slot)
        digest = b"x" * 32 if other == "digest" else slot.encode() * 32
        more = [quorum("third")] if other == "required" else []
        required = [*ASKED[slot], *more]
        self.takes(
            real,
            lambda: self.module.consume(real, binding_digest=digest, required=required, now=now),
            sheet.use(not other, now),
        )

    @rule(slot=SLOTS, who=st.sampled_from([ADA, ADA, PEOPLE[1], GRACE]), why=st.sampled_from("xx "))
    def break_glass(self, slot, who, why):
        """Go ahead without votes."""
        real, sheet, now = self.find(slot)
        before = self.store.unreviewed(who.name)
        is_blocked = any(one.glass == "open" for one in self.sheets.values())
        self.takes(
            real,
            lambda: self.module.break_glass(
                real, who, reason=why, valid_s=900, unreviewed=before, now=now
            ),
            sheet.break_glass(who, why, is_blocked, now),
        )

    @rule(pick=st.integers(0, 9), who=WHO)
    def review(self, pick, who):
        """Look at one that was used without votes, or at another one."""
        now = self.tell()
        broken = [name for name, sheet in self.sheets.items() if sheet.glass]
        names = broken or list(self.sheets)
        name = names[pick % len(names)]
        real = genuine.expire(self.store.get(name), now)
        self.takes(
            real,
            lambda: self.module.review(real, who, finding="seen", now=now),
            self.sheets[name].review(who),
        )

    @rule(slot=SLOTS, who=WHO)
    def revoke(self, slot, who):
        """Take a consent back."""
        real, sheet, now = self.find(slot)
        self.takes(
            real,
            lambda: self.module.revoke(real, who, reason="no", now=now),
            sheet.revoke(who, now),
        )

    @rule(slot=SLOTS, who=st.sampled_from([GRACE, MALLORY, ADA, PEOPLE[1]]))
    def cancel(self, slot, who):
        """Take a request back."""
        real, sheet, now = self.find(slot)
        self.takes(real, lambda: self.module.cancel(real, who, now=now), sheet.cancel(who, now))

    @rule(slot=SLOTS, pick=st.integers(0, 5))
    def forge(self, slot, pick):
        """Write into the store what no step makes."""
        real, _, now = self.find(slot)
        own = Vote(ADA.name, True, "", now, ("first",))
        seen = Emergency("x", real.requested_at, ADA.name, now, "")
        if real.emergency is not None:
            seen = replace(real.emergency, reviewed_by=ADA.name, reviewed_at=now)
        forged = [
            replace(real, state=ApprovalState.APPROVED, valid_until=now + SECOND),
            replace(real, votes=(*real.votes, own), state="approved", valid_until=now + SECOND),
            replace(real, sql="DROP TABLE bookings"),
            replace(real, uses=real.uses + 2),
            replace(real, state=ApprovalState.REQUESTED),
            replace(real, emergency=seen),
        ][pick]
        self.takes(real, lambda: forged, "ticket-forged")

    @rule(step=st.sampled_from([-30 * HOUR, HOUR, 9 * HOUR, 25 * HOUR, 20 * 60 * SECOND]))
    def move_the_clock(self, step):
        """The clock of the machine goes on, or back."""
        self.now += step

    @rule()
    def restart(self):
        """The process ends, and another one begins."""
        self.store.close()
        self.store = self.second()

    @invariant()
    def agrees(self):
        """The store holds what the model has."""
        now = self.tell()
        for name in self.names.values():
            sheet, real = self.sheets[name], genuine.expire(self.store.get(name), now)
            assert (real.state, real.uses) == (sheet.state, sheet.uses)
            assert {one.voter.lower(): one.is_approval for one in real.votes} == sheet.votes
            is_open = real.emergency is not None and not real.emergency.is_reviewed
            assert is_open == (sheet.glass == "open")


class InMemory(Tickets):
    """The same in RAM, where a restart changes nothing."""

    def make_store(self):
        """The store."""
        return MemoryApprovalStore()

    def second(self):
        """The same one."""
        return self.store
