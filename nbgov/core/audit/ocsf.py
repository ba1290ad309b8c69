"""Audit entries as events of OCSF 1.8.0, for those who watch systems rather than notebooks.

A request is one event of class 6005, whatever entries it has: the event is told by the entry that
closes it, and one that nothing closes is told at the end as unknown. The mapping, field by field,
is ``docs/reference/ocsf.md``. Neither rows nor sealed literals are ever in an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from nbgov.core.audit.entry import Entry
from nbgov.core.audit.ocsf_fields import (
    BEGUN,
    HIGH,
    INFORMATIONAL,
    LOW,
    MEDIUM,
    OTHER,
    UNKNOWN,
    Event,
    endpoint,
    header,
    milliseconds,
    some,
    status_of,
)
from nbgov.core.audit.query import joined
from nbgov.core.case import DRY_RUN
from nbgov.model import Record, RecordKind

OPEN_MAX = 10_000

DATASTORE, AUTHENTICATION, ENTITY, ACCESS = 6005, 3002, 3004, 3005
CATEGORIES = {3: "Identity & Access Management", 6: "Application Activity"}
CLASSES = {
    DATASTORE: "Datastore Activity",
    AUTHENTICATION: "Authentication",
    ENTITY: "Entity Management",
    ACCESS: "User Access Management",
}

# What a statement does, by its verb; else by its effects, of which the last one here counts.
READ, UPDATE, QUERY, WRITE, CREATE, DELETE, LIST = 1, 2, 4, 5, 6, 7, 8
ACTIVITY_NAMES = {
    UNKNOWN: "Unknown",
    READ: "Read",
    UPDATE: "Update",
    QUERY: "Query",
    WRITE: "Write",
    CREATE: "Create",
    DELETE: "Delete",
    LIST: "List",
}
VERBS = {
    "SELECT": QUERY,
    "EXPLAIN": QUERY,
    "INSERT": WRITE,
    "REPLACE": WRITE,
    "MERGE": WRITE,
    "UPDATE": UPDATE,
    "ALTER": UPDATE,
    "RENAME": UPDATE,
    "CREATE": CREATE,
    "DELETE": DELETE,
    "DROP": DELETE,
    "TRUNCATE": DELETE,
    "SHOW": LIST,
    "DESC": LIST,
    "DESCRIBE": LIST,
}
EFFECTS = {"read": QUERY, "ddl": UPDATE, "write": WRITE}

# What an administrator does: the activity of class 3004, the entity, and how grave it is.
MANAGED: Mapping[str, tuple[int, str, str, int]] = {
    "POLICY": (3, "Update", "policy", INFORMATIONAL),
    "CONNECTIONS": (3, "Update", "connections", INFORMATIONAL),
    "PRINCIPALS": (3, "Update", "principals", INFORMATIONAL),
    "SETTINGS": (3, "Update", "settings", INFORMATIONAL),
    "CLOCK": (3, "Update", "clock", MEDIUM),
    "ROTATE": (3, "Update", "signing key", LOW),
    "FORGIVE": (3, "Update", "witnesses", MEDIUM),
    "ERASE": (4, "Delete", "sealing key", LOW),
    "UNSEAL": (2, "Read", "sealed literals", MEDIUM),
    "EXPORT": (2, "Read", "audit log", LOW),
    "PROVE": (2, "Read", "connection", INFORMATIONAL),
    "HARDEN": (3, "Update", "connection", LOW),
}
ENTITY_POLICY = 5

# What people do with a ticket: the activity of class 3005.
ASSIGN, REVOKE = (1, "Assign Privileges"), (2, "Revoke Privileges")
VOTES: Mapping[str, tuple[int, str]] = {
    "approve": ASSIGN,
    "break-glass": ASSIGN,
    "revoke": REVOKE,
    "cancel": REVOKE,
}

# What the policy did of its own accord: action and disposition.
ALLOWED, DENIED = (1, 1), (2, 2)


class Events:
    """Turns entries into events, each request into one.

    What is still open is remembered; past :data:`OPEN_MAX` the oldest is told as unknown at once.

    Args:
        product_version: Version of nbgov, for the event.

    Attributes:
        told: How many events of each class there were.
        joined: Entries that another entry's event tells: attempts, and deeds that begin.
        left_out: Entries of kinds that are no activity of anybody, by kind.
    """

    def __init__(self, *, product_version: str) -> None:
        self.product_version = product_version
        self.told: Counter[int] = Counter()
        self.left_out: Counter[str] = Counter()
        self.joined = 0
        self.open: dict[int | str | None, Entry] = {}
        self.requesters: dict[str, str] = {}

    def of(self, entries: Iterable[Entry]) -> Iterator[Event]:
        """The events of entries in their order, then those of requests that are still open."""
        for entry in entries:
            yield from self.take(entry)
        for entry in self.open.values():
            yield self.event(entry, entry.record)
        self.open.clear()

    def take(self, entry: Entry) -> Iterator[Event]:
        """The next entry's event, if it has one yet."""
        record = entry.record
        if record.kind is RecordKind.HEADS:
            self.left_out[record.kind] += 1
        elif record.kind is RecordKind.ATTEMPT:
            yield from self.hold(entry.index, entry)
        elif record.kind is RecordKind.ADMIN and record.status == BEGUN:
            yield from self.hold(record.request, entry)
        else:
            began = self.open.pop(
                record.request if record.attempt is None else record.attempt, None
            )
            self.joined += began is not None
            self.note_requester(record)
            yield self.event(entry, joined(record, began.record if began else None), began)

    def hold(self, key: int | str, entry: Entry) -> Iterator[Event]:
        """Wait for the entry that closes this one."""
        self.open[key] = entry
        if len(self.open) > OPEN_MAX:
            oldest = self.open.pop(next(iter(self.open)))
            yield self.event(oldest, oldest.record)

    def note_requester(self, record: Record) -> None:
        """Remember who asked for a ticket: a vote does not name them."""
        if record.ticket and record.kind is RecordKind.OUTCOME and record.principal:
            self.requesters[record.ticket] = record.principal
            if len(self.requesters) > OPEN_MAX:
                del self.requesters[next(iter(self.requesters))]

    def event(self, entry: Entry, record: Record, began: Entry | None = None) -> Event:
        """The event of an entry."""
        special = self.special(entry, record)
        event = header(entry, record, self.product_version) | special
        number = event["class_uid"]
        event["type_uid"] = number * 100 + event["activity_id"]
        event["category_uid"] = number // 1000
        event["class_name"], event["category_name"] = CLASSES[number], CATEGORIES[number // 1000]
        if began is not None:
            event["start_time"] = milliseconds(began.record.at)
            event["end_time"] = event["time"]
            event["duration"] = event["end_time"] - event["start_time"]
        self.told[number] += 1
        return event

    def special(self, entry: Entry, record: Record) -> Event:
        """What an event has of its class."""
        if record.kind is RecordKind.VOTE:
            return of_vote(record, self.requesters.get(record.ticket or "", ""))
        if record.kind is RecordKind.ADMIN and record.verb in {"OPEN", "CLOSE"}:
            return of_session(entry, record)
        if record.kind in {RecordKind.ADMIN, RecordKind.CATALOG, RecordKind.REPAIR}:
            return of_deed(entry, record)
        return of_request(entry, record)


# ---------------------------------------------------------------- what each class has


def of_request(entry: Entry, record: Record) -> Event:
    """A statement: class 6005."""
    activity, name = activity_of(record)
    tables, dialect = record.tables or (), record.dialect or ""
    statement = {"uid": record.request, "query_string": record.statement}
    return {
        "class_uid": DATASTORE,
        "activity_id": activity,
        "activity_name": name,
        "src_endpoint": endpoint(record),
        "dst_endpoint": {"svc_name": f"nbgov {record.mode}", "instance_uid": entry.origin},
        "database": {
            "name": record.connection or "unknown",
            "type_id": 1,
            **some("type", dialect),
        },
        **some("table", {"name": tables[0]} if tables else None),
        "type_id": 3 if tables else 1,
        # Security: query_info.data, the data returned, is never filled.
        **some(
            "query_info",
            statement | some("bytes", record.bytes_read) if record.statement else None,
        ),
        **control(record),
    }


def activity_of(record: Record) -> tuple[int, str]:
    """What a statement does, by its verb, else by its effects."""
    effects = record.effects or ()
    if record.plan == DRY_RUN:
        return OTHER, "Dry run, rolled back"
    if not record.verb and not effects:
        return UNKNOWN, ACTIVITY_NAMES[UNKNOWN]
    known = [number for effect, number in EFFECTS.items() if effect in effects]
    is_clear = set(effects) <= EFFECTS.keys() and bool(known)
    activity = VERBS.get(record.verb or "") or (known[-1] if is_clear else OTHER)
    return activity, ACTIVITY_NAMES.get(activity, record.verb or "Other")


def control(record: Record) -> Event:
    """What the policy made of a request: the profile ``security_control``."""
    if record.decision is None:
        return {}
    is_modified = record.decision == "permit" and bool(record.masked or record.obligations)
    action, disposition = DENIED if record.decision == "deny" else ALLOWED
    policy = {
        "uid": record.policy,
        "name": "policy.yaml",
        **some("version", record.policy_revision),
    }
    rule = {"name": ", ".join(record.rules or ()), "type": "nbgov policy rule"}
    return {
        "action_id": 4 if is_modified else action,
        "disposition_id": disposition,
        **some("policy", policy if record.policy else None),
        **some("firewall_rule", rule if record.rules else None),
    }


def of_session(entry: Entry, record: Record) -> Event:
    """A session that begins or ends: class 3002."""
    is_open = record.verb == "OPEN"
    return {
        "class_uid": AUTHENTICATION,
        "activity_id": 1 if is_open else 2,
        "activity_name": "Logon" if is_open else "Logoff",
        "user": {"name": record.principal or "unknown", "uid": record.principal or "unknown"},
        "session": {"uid": record.session or "none"},
        "service": {"name": "nbgov", "uid": entry.origin},
        "src_endpoint": endpoint(record),
    }


def of_vote(record: Record, requester: str) -> Event:
    """A voice on a ticket: class 3005, where consent is a privilege of whoever asked."""
    activity, name = VOTES.get(record.note or "", (OTHER, record.note or "Other"))
    tables = ", ".join(record.tables or ()) or record.connection or "unknown"
    return {
        "class_uid": ACCESS,
        "activity_id": activity,
        "activity_name": name,
        "user": {"name": requester or "unknown", "type_id": 1 if requester else UNKNOWN},
        "privileges": [f"{record.verb or 'statement'} on {tables}"],
        "resources": [{"name": tables, **some("uid", record.ticket)}],
        "src_endpoint": endpoint(record),
        **({"severity_id": HIGH} if record.note == "break-glass" else {}),
    }


def of_deed(entry: Entry, record: Record) -> Event:
    """What an administrator does, a catalog that changed, or a repair: class 3004."""
    verb = record.verb or record.kind.upper()
    kind, fields = record.kind, {}
    if kind is RecordKind.CATALOG:
        activity, name, what, severity = 3, "Update", "catalog", INFORMATIONAL
    elif kind is RecordKind.REPAIR:
        activity, name, what, severity = 3, "Update", "audit log", MEDIUM
    else:
        activity, name, what, severity = MANAGED.get(verb, (OTHER, verb, "nbgov", INFORMATIONAL))
    entity: Event = {"name": record.connection or entry.origin, "type": what, "type_id": OTHER}
    if what == "policy":
        policy = {"uid": record.policy or "unknown", "name": "policy.yaml"}
        entity |= {"type_id": ENTITY_POLICY, "type": "Policy", "policy": policy}
        entity["policy"] |= some("version", record.policy_revision)
    fields["severity_id"] = max(severity, status_of(record)[2])
    return {
        "class_uid": ENTITY,
        "activity_id": activity,
        "activity_name": name,
        "entity": entity,
        **fields,
    }
