"""An entry of the audit log as people read it: one line in a list, or everything on a card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nbgov.core.audit.entry import Entry
from nbgov.core.case import DRY_RUN
from nbgov.model import Receipt, Record, RecordKind

HEADS = ("entry", "time (UTC)", "who", "what", "on", "how", "about")
MOODS = {
    "ok": "good", "approved": "good", "denied": "bad", "error": "bad", "refused": "bad",
    "leaks": "bad", "pending": "open", "cancelled": "open", "dropped": "open",
}  # fmt: skip

# The groups of a card. Every field of a record that people may ask for is in one of them.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "who": ("principal", "account", "via", "groups", "roles", "database_user"),
    "where from": ("origin", "session", "request", "mode", "assurance"),
    "what": (
        "kind", "verb", "connection", "dialect", "statement", "tables", "columns", "functions",
        "effects", "plan", "changes", "heads", "note",
    ),
    "decision": (
        "decision", "reason", "rules", "obligations", "policy", "policy_revision", "decided_at",
    ),
    "approval": ("ticket", "voters"),
    "outcome": (
        "status", "code", "sqlstate", "rows_read", "rows_affected", "bytes_read", "batches",
        "masked", "entities",
    ),
    "data": ("version", "content", "schema", "run"),
    "kept apart": ("statement_mac", "binds_mac", "literals"),
}  # fmt: skip


def line_of(entry: Entry, record: Record) -> tuple[str, ...]:
    """An entry as one line: a text for each of :data:`HEADS`.

    Args:
        entry: The entry.
        record: What it states, joined with the attempt that it closes.
    """
    return (
        str(entry.index),
        f"{record.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        record.principal or record.account or "",
        what(record),
        record.connection or "",
        how(record),
        about(record),
    )


def what(record: Record) -> str:
    """What an entry is about, in a word or two."""
    if record.kind in {RecordKind.ATTEMPT, RecordKind.OUTCOME, RecordKind.INTERRUPTED}:
        return record.verb or "statement"
    return record.verb or record.kind.value


def how(record: Record) -> str:
    """How it went, as far as the entry says."""
    if record.kind is RecordKind.ATTEMPT:
        return "started"
    if record.kind is RecordKind.INTERRUPTED:
        return "interrupted"
    counts = [
        f"{record.rows_read:,} read" if record.rows_read is not None else "",
        f"{record.rows_affected:,} changed" if record.rows_affected else "",
        "rolled back" if record.plan == DRY_RUN else "",
    ]
    status, code = record.status or "", record.code or ""
    # Some codes say the status once more.
    told = code if status and code.startswith(status) else f"{status} {code}".strip()
    return ", ".join(filter(None, (status if status == "pending" else told, *counts)))


def about(record: Record) -> str:
    """What an entry is about, in as many words as there are."""
    changes = "; ".join(record.changes or ())
    return record.statement or changes or record.note or ", ".join(record.tables or ())


def mood(record: Record) -> str:
    """Whether that is ``good``, ``bad`` or ``open``; empty where it is none of them."""
    if record.kind in {RecordKind.INTERRUPTED, RecordKind.REPAIR}:
        return "bad"
    return MOODS.get(record.status or "", "")


def groups(record: Record) -> dict[str, list[tuple[str, str]]]:
    """Everything that a record states, as labelled facts in groups; empty groups are left out."""
    told = {
        group: [
            (name.replace("_", " "), text)
            for name in names
            if (text := fact(name, getattr(record, name)))
        ]
        for group, names in GROUPS.items()
    }
    return {group: facts for group, facts in told.items() if facts}


def fact(name: str, value: Any) -> str:
    """The value of a field as a person reads it; empty where there is none."""
    if value is None:
        return ""
    if name == "literals":
        return f"sealed under the key {value.partition(':')[0]}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def receipt_of(entry: Entry) -> Receipt:
    """The receipt that an entry was acknowledged with."""
    return Receipt(entry.origin, entry.index, entry.digest)
