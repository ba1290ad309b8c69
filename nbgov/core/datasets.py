"""The version of what a governed query delivered.

A version is a pure function of content, schema and circumstances: equal data read in the same way,
under the same policy, is the same version wherever and whenever it is read. Who read it, and when,
is a :class:`~nbgov.model.Delivery`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from nbgov.core.case import Case, Mac
from nbgov.core.result_columns import ResultColumns
from nbgov.core.statement.text import literals
from nbgov.model import DatasetVersion, Request, Statement

if TYPE_CHECKING:
    from nbgov.core.fingerprint import Fingerprint

NAME_CHARS_MAX = 200
# Security: the digest of a column over few rows can be inverted to its values (drift.md 2.5).
DIGESTED_ROWS_MIN = 20
# Digits of a literal's digest: enough that two literals of a project never share one.
LITERAL_DIGITS = 16


def dataset_name(request: Request, statement: Statement) -> str:
    """The name that a result is kept under: the one asked for, or the tables it was read from.

    Example:
        >>> dataset_name(Request("ops", "SELECT 1", dataset="train"), Statement("", "", "", None))
        'train'
    """
    if request.dataset:
        return request.dataset
    tables = sorted({str(use.table) for use in statement.tables})
    return f"{request.connection}.{'+'.join(tables) or 'values'}"[:NAME_CHARS_MAX]


def key_of(mac: Mac, purpose: str) -> bytes:
    """The key for one purpose, made of the one behind keyed digests.

    Args:
        mac: Makes keyed digests.
        purpose: ``fingerprint`` (of results that the policy wants keyed), ``veil`` (of the digests
            of columns that are not open) or ``profile``.
    """
    return mac(f"nbgov key for {purpose}".encode())


def identify_version(
    case: Case,
    *,
    fingerprint: Fingerprint,
    columns: ResultColumns,
    masked: Mapping[str, str],
    mac: Mac,
    profile: Mapping[str, Any],
) -> DatasetVersion:
    """Name the version of one delivered result.

    Args:
        case: The request; of its bound values, names and types are kept, the values are not.
        fingerprint: Of the delivered, masked rows.
        columns: What its columns were made of; those that are not open keep a keyed image of their
            digest, and none over few rows.
        masked: Result column to mask.
        mac: Makes the keyed digests of the exact statement and of the bound values.
        profile: The profile of the delivered rows.

    Returns:
        The version; ``version_id`` covers every other field but the profile.
    """
    request, statement, decision = case.request, case.statement, case.decision
    assert statement is not None
    assert decision is not None
    statement_mac, binds_mac = case.macs(mac)
    closed = [name for name, *_ in fingerprint.columns if not columns.is_open(name)]
    veiled = fingerprint.veiled(closed, key=key_of(mac, "veil"))
    circumstances: dict[str, Any] = {
        "content_id": fingerprint.content_id,
        "schema_id": fingerprint.schema_id,
        "name": dataset_name(request, statement),
        "connection": request.connection,
        "dialect": statement.dialect,
        "tables": tuple(sorted({str(use.table) for use in statement.tables})),
        "statement": statement.redacted,
        "statement_mac": statement_mac,
        "binds_mac": binds_mac,
        "binds": tuple(f"{name}: {type(value).__name__}" for name, value in case.values.items()),
        "policy": decision.policy_digest.hex(),
        "rows": fingerprint.rows,
        "columns": tuple(
            (
                name,
                kind,
                digest if columns.is_open(name) or nonnull >= DIGESTED_ROWS_MIN else "",
                nonnull,
            )
            for name, kind, digest, nonnull in veiled.columns
        ),
        "masked": dict(masked),
        "literals": tuple(
            mac(b"literal " + literal.encode()).hex()[:LITERAL_DIGITS]
            for literal in literals(statement.sql, statement.dialect)
        ),
        "tags": dict(columns.tags),
        "origins": dict(columns.origins),
    }
    unnamed = DatasetVersion(version_id="", profile=profile, **circumstances)
    return replace(unnamed, version_id=version_id_of(unnamed))


def rows_key(version: DatasetVersion) -> str:
    """What the rows of a version are kept under: equal rows in equal columns are kept once."""
    return f"{version.content_id}:{version.schema_id[:32]}"


def order_of(fingerprint: Fingerprint, columns: ResultColumns, mac: Mac) -> str:
    """The order digest to keep: a keyed image of it unless every column is open."""
    from nbgov.core.fingerprint.record import image

    if fingerprint.is_keyed or all(columns.is_open(name) for name, *_ in fingerprint.columns):
        return fingerprint.order
    return image("order", fingerprint.order, key_of(mac, "veil"))


def version_id_of(version: DatasetVersion) -> str:
    """The id of a version: 32 digits of SHA-256 over every other field but the profile."""
    facts = {
        one.name: getattr(version, one.name)
        for one in fields(version)
        if one.name not in {"version_id", "profile"}
    }
    text = json.dumps(
        facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=dict
    )
    return hashlib.sha256(text.encode()).hexdigest()[:32]
