"""What a log tells an auditor, added up: who reached what, and what stood in the way.

Memory is bounded whatever the log holds. What is counted under a name is counted for the first
:data:`NAMES_MAX` names, and for all others together; of what is listed, the newest are kept and
the number of all is told.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Generic, TypeVar

from nbgov.core.case import DRY_RUN
from nbgov.model import Record, RecordKind

NAMES_MAX = 2_000
LISTED_MAX = 500
DAYS_MAX = 10_000
GROUPS_MAX = 100

K = TypeVar("K")
V = TypeVar("V")


class Slots(Generic[K, V]):
    """A value for each of the first names, and one for all others.

    Args:
        make: Makes a new value.
        names_max: How many names have a value of their own.
    """

    def __init__(self, make: Callable[[], V], names_max: int = NAMES_MAX) -> None:
        self.make = make
        self.names_max = names_max
        self.named: dict[K, V] = {}
        self.others: V | None = None

    def of(self, name: K) -> V:
        """The value of a name, or that of all others."""
        if name in self.named:
            return self.named[name]
        if len(self.named) < self.names_max:
            return self.named.setdefault(name, self.make())
        if self.others is None:
            self.others = self.make()
        return self.others

    def __iter__(self) -> Iterator[tuple[K | None, V]]:
        """Names with their values; the others come last, without a name."""
        yield from self.named.items()
        if self.others is not None:
            yield None, self.others


class Listed(Generic[V]):
    """The newest of many things, and how many there were."""

    def __init__(self, items_max: int = LISTED_MAX) -> None:
        self.newest: deque[V] = deque(maxlen=items_max)
        self.count = 0

    def add(self, item: V) -> None:
        """Take one more."""
        self.newest.append(item)
        self.count += 1


@dataclass
class Reach:
    """What somebody did with a table, or with all they could: requests by how they ended, rows."""

    ended: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    rows_read: int = 0
    rows_affected: int = 0
    masked: int = 0
    last_at: datetime | None = None

    @property
    def requests(self) -> int:
        """How many there were."""
        return self.ended.total()

    def add(self, record: Record, how: str) -> None:
        """Take one more request."""
        self.ended[how] += 1
        self.writes += bool(set(record.effects or ()) - {"read"})
        self.rows_read += record.rows_read or 0
        self.rows_affected += record.rows_affected or 0
        self.masked += bool(record.masked)
        self.last_at = record.at


@dataclass
class Person:
    """Somebody who asked."""

    reach: Reach = field(default_factory=Reach)
    sessions: int = 0
    closed: int = 0
    refused: int = 0
    groups: set[str] = field(default_factory=set)
    via: set[str] = field(default_factory=set)


@dataclass
class Span:
    """How often something was, first and last."""

    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, at: datetime) -> None:
        """Once more."""
        self.count += 1
        self.first_at = self.first_at or at
        self.last_at = at


@dataclass(frozen=True, slots=True)
class Told:
    """An entry that is listed by itself."""

    index: int
    record: Record


class Overview:
    """Adds up entries; each field says what of them it is about.

    Attributes:
        entries: All entries, by kind.
        whole: All requests together.
        people: Who asked.
        tables: What was reached, and by whom: by name and table.
        days: Requests of each day, and how many of them were denied.
        masks: Columns that were masked, by what the entry says of them.
        entities: What was masked in texts, by kind.
        denials: Denied requests, by code, rules and name.
        policies: The policies that requests were decided under, by digest and commit.
        modes: Requests by mode and assurance.
        steps: What was done with tickets; approvals and emergencies are among it.
        approvals: Votes that approve.
        emergencies: Tickets whose requester went ahead without votes.
        policy_changes, catalog_changes, deeds: Entries by themselves.
        clocks, repairs, interrupted: Entries by themselves that tell of a gap.
        dry_runs: Writes that were run for their voters and rolled back; no request counts them.
        repeats: Entries with the time of the one before, as a clock that went back leaves them.
    """

    def __init__(self) -> None:
        self.entries: Counter[str] = Counter()
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None
        self.whole = Reach()
        self.people: Slots[str, Person] = Slots(Person)
        self.tables: Slots[tuple[str, str], Reach] = Slots(Reach)
        self.days: Slots[date, Counter[str]] = Slots(Counter, DAYS_MAX)
        self.masks: Slots[str, Span] = Slots(Span)
        self.entities: Slots[str, Counter[str]] = Slots(Counter)
        self.denials: Slots[tuple[str, str, str], Span] = Slots(Span)
        self.policies: Slots[tuple[str, str], Span] = Slots(Span)
        self.modes: Slots[tuple[str, str], Span] = Slots(Span)
        self.steps: Listed[Told] = Listed()
        self.approvals: Listed[Told] = Listed()
        self.emergencies: Listed[Told] = Listed()
        self.policy_changes: Listed[Told] = Listed()
        self.catalog_changes: Listed[Told] = Listed()
        self.deeds: Listed[Told] = Listed()
        self.clocks: Listed[Told] = Listed()
        self.repairs: Listed[Told] = Listed()
        self.interrupted: Listed[Told] = Listed()
        self.dry_runs = 0
        self.repeats = 0

    def add(self, index: int, record: Record) -> None:
        """Take an entry.

        Args:
            index: Its number.
            record: What it states, joined with the attempt that it closes.
        """
        self.entries[record.kind] += 1
        self.first_at = self.first_at or record.at
        self.repeats += record.at == self.last_at
        self.last_at = record.at
        told = Told(index, record)
        match record.kind:
            case RecordKind.OUTCOME | RecordKind.INTERRUPTED if record.plan == DRY_RUN:
                self.dry_runs += 1
            case RecordKind.OUTCOME:
                self.add_request(record, record.status or "unknown")
            case RecordKind.INTERRUPTED:
                self.add_request(record, "interrupted")
                self.interrupted.add(told)
            case RecordKind.VOTE:
                self.add_step(told)
            case RecordKind.CATALOG:
                self.catalog_changes.add(told)
            case RecordKind.REPAIR:
                self.repairs.add(told)
            case RecordKind.ADMIN:
                self.add_deed(told)

    def add_request(self, record: Record, how: str) -> None:
        """Take a request, with how it ended."""
        name = record.principal or ""
        person = self.people.of(name)
        person.groups |= set(islice(record.groups or (), GROUPS_MAX - len(person.groups)))
        for reach in (self.whole, person.reach):
            reach.add(record, how)
        for table in dict.fromkeys(record.tables or ()):
            whole = f"{record.connection}.{table}" if record.connection else table
            self.tables.of((name, whole)).add(record, how)
        day = self.days.of(record.at.date())
        day["requests"] += 1
        day["denied"] += how == "denied"
        self.modes.of((record.mode, record.assurance)).add(record.at)
        if record.policy:
            self.policies.of((record.policy, record.policy_revision or "")).add(record.at)
        for text in record.masked or ():
            self.masks.of(text).add(record.at)
        for kind, count in (record.entities or {}).items():
            self.entities.of(kind)["found"] += count
        if how == "denied":
            rules = ", ".join(record.rules or ())
            self.denials.of((record.code or "", rules, name)).add(record.at)

    def add_step(self, told: Told) -> None:
        """Take what somebody did with a ticket, or was refused to do."""
        self.steps.add(told)
        if told.record.code is None and told.record.note == "approve":
            self.approvals.add(told)
        elif told.record.code is None and told.record.note == "break-glass":
            self.emergencies.add(told)

    def add_deed(self, told: Told) -> None:
        """Take what an administrator did; what only begins is told when it ends."""
        record = told.record
        if record.verb in {"OPEN", "CLOSE"}:
            person = self.people.of(record.principal or "")
            person.via |= {record.via} if record.via else set()
            if record.status not in {None, "ok"}:
                person.refused += 1
            else:
                person.sessions += record.verb == "OPEN"
                person.closed += record.verb == "CLOSE"
        elif record.verb == "CLOCK":
            self.clocks.add(told)
        elif record.verb == "POLICY":
            self.policy_changes.add(told)
        elif record.status != "begun":
            self.deeds.add(told)
