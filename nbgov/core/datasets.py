"""The version of what a governed query delivered.

A version is a pure function of content, schema and circumstances: equal data read in the same way,
under the same policy, is the same version wherever and whenever it is read. Who read it, and when,
is a :class:`~nbgov.model.Delivery`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nbgov.core.case import Case, Mac
from nbgov.model import DatasetVersion, Request, Statement

if TYPE_CHECKING:
    from nbgov.core.fingerprint import Fingerprint
    from nbgov.core.policy.tags import Classification

NAME_CHARS_MAX = 200
# Security: the digest of a column over few rows can be inverted to its values (drift.md 2.5).
DIGESTED_ROWS_MIN = 20


def outputs_in_clear(
    statement: Statement, names: Sequence[str], classification: Classification
) -> Iterator[str]:
    """Names of the result columns that the policy calls public through and through.

    Only their profiles may keep values. A column whose sources are not known is never among them.
    """
    if len(names) != len(statement.outputs):
        return
    for name, output in zip(names, statement.outputs, strict=True):
        bearing = output.sources | {column for column, _ in output.influences}
        if all(map(classification.is_public, bearing)):
            yield name


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


def identify_version(
    case: Case,
    *,
    fingerprint: Fingerprint,
    clear: Collection[str],
    masked: Mapping[str, str],
    mac: Mac,
    profile: Mapping[str, Any],
) -> DatasetVersion:
    """Name the version of one delivered result.

    Args:
        case: The request; of its bound values, names and types are kept, the values are not.
        fingerprint: Of the delivered, masked rows.
        clear: Names of the columns that are public; the others keep no digest over few rows.
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
            (name, kind, digest if name in clear or nonnull >= DIGESTED_ROWS_MIN else "", nonnull)
            for name, kind, digest, nonnull in fingerprint.columns
        ),
        "masked": dict(masked),
    }
    text = json.dumps(circumstances, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    version_id = hashlib.sha256(text.encode()).hexdigest()[:32]
    return DatasetVersion(version_id=version_id, profile=profile, **circumstances)
