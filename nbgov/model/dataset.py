"""What a governed result was, and who got it: dataset versions, their sources and deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

# How sensitive a column of a result is, from the most closed to the most open.
PII: Final = "pii"
INTERNAL: Final = "internal"
OPEN: Final = "open"
LEVELS = (PII, INTERNAL, OPEN)


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """What a governed result was: content, schema and the circumstances that made it.

    ``version_id`` is a pure function of everything else here, so two equal versions are one row.

    Attributes:
        version_id: 32 hex digits.
        content_id: Fingerprint of the delivered, masked rows (``docs/spec/fingerprint.md``).
        schema_id: Digest (hex) of the ordered column names and logical types.
        name: The dataset's name, such as ``warehouse.main.flights``.
        connection, dialect: Where it was read.
        tables: The tables and views that the statement names.
        statement: The redacted statement.
        statement_mac, binds_mac: Keyed digests (hex) of the exact text and the bound values.
        binds: Names and types of the bound values, such as ``month: int``.
        policy: SHA-256 of the policy, hex.
        rows: Rows delivered.
        columns: ``(name, logical type, column digest hex, non-null count)`` in result order.
        masked: Result column to mask, such as ``email: redact pii.email``.
        literals: A keyed digest (16 hex digits) of each literal that the redacted statement shows
            as ``?``, in their order, so that a comparison can say which one is another.
        tags: Result column to the policy's tags of all it was made of; absent without any.
        origins: Result column to the base columns that it shows, such as
            ``warehouse.main.flights.dep_delay``; absent where that is not known.
        profile: The profile as JSON-ready mapping, see :mod:`nbgov.core.drift`.
    """

    version_id: str
    content_id: str
    schema_id: str
    name: str
    connection: str
    dialect: str
    tables: tuple[str, ...]
    statement: str
    statement_mac: str
    binds_mac: str
    binds: tuple[str, ...]
    policy: str
    rows: int
    columns: tuple[tuple[str, str, str, int], ...]
    masked: Mapping[str, str]
    literals: tuple[str, ...] = ()
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """The state in which a product held a table when it was read.

    Two reads with one mark saw one state, as far as the product keeps count in time
    (``docs/howto/datasets.md`` says what each kind rests on). Two marks may still be of equal rows:
    compacting a table gives it a new mark.

    Attributes:
        table: The base table, such as ``main.flights``.
        kind: What the mark is: ``duckdb-file``, ``sqlite-file``, ``postgresql-relation`` and so on.
            The mark of a file is that of all tables in it.
        mark: The product's own words for the state; never a data value.
        changed_at: When the product last changed it, where it tells.
        snapshot: What the database as a whole was at, such as PostgreSQL's snapshot; for looking
            up, not for comparing.
    """

    table: str
    kind: str
    mark: str
    changed_at: datetime | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One read of a dataset version: who got it, when, and where that is recorded.

    Attributes:
        read_id, version_id, name: The read, the version it delivered and the dataset's name.
        principal: Who got it.
        decision, rules: ``permit``, and the rules that said so.
        record, receipt: Where the attempt stands in the audit log.
        at: When it ended.
        sources: The states that the base tables were in, where the product tells.
        policy_revision: The commit of the policy's text, where there is one.
        ticket: The approval that the read was cleared by, or empty.
        order: Digest (hex) of the rows in the order in which they came; a keyed image of it unless
            every column is open.
    """

    read_id: str
    version_id: str
    name: str
    principal: str
    decision: str
    rules: tuple[str, ...]
    record: int
    receipt: str
    at: datetime
    sources: tuple[SourceVersion, ...] = ()
    policy_revision: str = ""
    ticket: str = ""
    order: str = ""
