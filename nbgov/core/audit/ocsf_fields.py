"""What every event of OCSF has, whatever its class. The classes are in ``ocsf.py``."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from nbgov.core.audit.entry import ROWS, Entry, write_record
from nbgov.model import Receipt, Record, RecordKind

OCSF_VERSION = "1.8.0"

Event: TypeAlias = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGUN = "begun"
UNKNOWN, OTHER = 0, 99
INFORMATIONAL, LOW, MEDIUM, HIGH = 1, 2, 3, 4

# How an entry's deed ended: its status, the name of that, and how grave it is.
SUCCESS, FAILURE = 1, 2
STATUSES = {
    "ok": (SUCCESS, "Success", INFORMATIONAL),
    "denied": (FAILURE, "Failure", MEDIUM),
    "error": (FAILURE, "Failure", LOW),
    "cancelled": (FAILURE, "Failure", INFORMATIONAL),
    "dropped": (FAILURE, "Failure", INFORMATIONAL),
    "leaks": (FAILURE, "Failure", HIGH),
}
# Fields that have a place of their own in every event, or none at all.
PLACED = {"at", "kind", "principal", "account", "groups", "session", "statement"} | {
    row.name for row in ROWS if row.keeping == "seal"
}


def header(entry: Entry, record: Record, product_version: str) -> Event:
    """What an event of any class has."""
    status_id, status, severity = status_of(record)
    receipt = Receipt(entry.origin, entry.index, entry.digest)
    detail = "; ".join(part for part in (record.reason, record.note) if part)
    return {
        "time": milliseconds(record.at),
        "severity_id": severity,
        "status_id": status_id,
        "status": status,
        **some("status_code", record.sqlstate or record.code),
        **some("status_detail", detail),
        "actor": actor(record),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "nbgov", "vendor_name": "nbgov", "version": product_version},
            "uid": str(receipt),
            "sequence": entry.index,
            "log_name": entry.origin,
            "log_provider": "nbgov",
            "profiles": ["security_control"],
            **some("correlation_uid", record.ticket or record.request),
        },
        "unmapped": {"nbgov": unmapped(entry, record)},
    }


def status_of(record: Record) -> tuple[int, str, int]:
    """Status, its name, and how grave it is."""
    if record.kind is RecordKind.INTERRUPTED:
        return OTHER, "interrupted", LOW
    if record.kind is RecordKind.ATTEMPT or record.status == BEGUN:
        return UNKNOWN, "Unknown", INFORMATIONAL
    if record.kind is RecordKind.REPAIR:
        return SUCCESS, "Success", MEDIUM
    # The status of a vote is that of its ticket, unless the vote itself was refused.
    if record.status is None or (record.kind is RecordKind.VOTE and record.code is None):
        return SUCCESS, "Success", INFORMATIONAL
    return STATUSES.get(record.status, (OTHER, record.status, INFORMATIONAL))


def actor(record: Record) -> Event:
    """Who acts, as far as it is known."""
    user = {
        "name": record.principal or "",
        "uid": record.principal or "",
        "type_id": 1,
        **some("account", {"name": record.account} if record.account else None),
        **some("groups", [{"name": name} for name in record.groups or ()]),
    }
    return {
        **some("user", user if record.principal else None),
        **some("idp", {"name": record.via} if record.via else None),
        **some("app_name", (record.origin or {}).get("surface")),
        "session": {"uid": record.session or "none"},
    }


def endpoint(record: Record) -> Event:
    """Where a request comes from; what its surface says of that is a claim."""
    claims = record.origin or {}
    return {
        "name": claims.get("surface") or record.mode,
        **some("hostname", claims.get("host")),
        **some("ip", address(claims.get("ip", ""))),
    }


def address(text: str) -> str:
    """The text if it is an address, else nothing: the format knows no claims."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def unmapped(entry: Entry, record: Record) -> Event:
    """What nbgov alone knows, under its own names; ``origin`` in a record is what it claims."""
    fields = {name: value for name, value in write_record(record).items() if name not in PLACED}
    if "origin" in fields:
        fields["claims"] = fields.pop("origin")
    return {"prev": entry.prev_digest.hex(), "kind": record.kind.value, **fields}


def some(name: str, value: Any) -> Event:
    """A member for a value that is there; nothing for one that is not."""
    return {} if value is None or value in ("", []) else {name: value}


def milliseconds(at: datetime) -> int:
    """A moment as OCSF counts it."""
    return (at - EPOCH) // timedelta(milliseconds=1)
