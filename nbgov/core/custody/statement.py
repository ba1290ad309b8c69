"""The statement of a bundle, to bytes and back: sections 2 to 4 of ``docs/spec/custody.md``."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nbgov.core.audit.note import unbase64
from nbgov.core.lineage import Lineage
from nbgov.core.promotion import lineage_digest
from nbgov.errors import IntegrityFailed

if TYPE_CHECKING:
    from nbgov.core.audit.proof import Proof
    from nbgov.model import ModelVersion

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:nbgov:custody:1"
STATEMENT_BYTES_MAX = 32 * 1024 * 1024
STATEMENT_MEMBERS = frozenset({"_type", "predicate", "predicateType", "subject"})
PREDICATE_MEMBERS = frozenset(
    {"audit", "drift", "lineage", "lineage_digest", "made_at", "maker", "materials"}
)
DIGEST = re.compile("[0-9a-f]{64}")
ENTRY_MEMBERS = frozenset({"line", "proof"})
# Spec custody 1: sorted members, no white space, nothing escaped that need not be.
CANONICAL = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)


@dataclass(frozen=True, slots=True)
class Custody:
    """What a bundle states.

    Attributes:
        lineage: The lineage of the model version, without baseline and drift report: its sentences
            may hold values of public columns, and a bundle holds no value.
        drift: With which run it was compared, the status, and the kinds of what changed; ``None``
            where it was not compared.
        entries: The canonical bytes of the audit entries that record the reads and their approvals.
        made_at: When the bundle was made.
        maker: Name and version of what made it.
        checkpoint: The signed checkpoint of the log, empty where there is none.
        paths: For each entry, what leads from it to the root of the checkpoint; ``None`` where
            nothing does.
    """

    lineage: Lineage
    drift: Mapping[str, Any] | None
    entries: tuple[bytes, ...]
    made_at: datetime
    maker: str
    checkpoint: str = ""
    paths: tuple[tuple[bytes, ...] | None, ...] = ()


def write_statement(
    lineage: Lineage,
    entries: Sequence[bytes],
    *,
    made_at: datetime,
    maker: str,
    proofs: Sequence[Proof] = (),
) -> bytes:
    """The in-toto Statement on a model version, in canonical bytes.

    Args:
        lineage: With model and run.
        entries: Audit entries, oldest first.
        made_at: When it is made.
        maker: Name and version of what makes it.
        proofs: The proof of each entry, all by one checkpoint; or none at all.
    """
    # As it will be read back, so that digests are of what the bundle holds.
    bare = Lineage.from_dict(json.loads(canonical(own(lineage).to_dict())))
    model, run = bare.model, bare.run
    assert model is not None
    assert run is not None
    return canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [subject(model)],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "lineage": bare.to_dict(),
                "lineage_digest": lineage_digest(run, bare.versions).hex(),
                "drift": drift(lineage),
                "materials": list(materials(bare)),
                "audit": audit(entries, proofs),
                "made_at": made_at.astimezone(UTC).isoformat(timespec="seconds"),
                "maker": maker,
            },
        }
    )


def read_statement(payload: bytes) -> tuple[Custody, Mapping[str, Any]]:
    """What the bytes of a statement say, and its members as they stand.

    Raises:
        IntegrityFailed: They are no statement of this format (code ``custody-broken``).
    """
    statement = parsed(payload, what="statement")
    if frozenset(statement) != STATEMENT_MEMBERS or statement["_type"] != STATEMENT_TYPE:
        raise broken("the payload is no in-toto Statement v1")
    predicate = statement["predicate"]
    if statement["predicateType"] != PREDICATE_TYPE or not isinstance(predicate, dict):
        raise broken(f"the predicate is not of the type {PREDICATE_TYPE}")
    if frozenset(predicate) != PREDICATE_MEMBERS or not isinstance(predicate["maker"], str):
        raise broken("the predicate has other members than the format names")
    if not isinstance(predicate["drift"], dict | None):
        raise broken("what it says of drift is malformed")
    custody = Custody(
        lineage=Lineage.from_dict(predicate["lineage"]),
        drift=predicate["drift"],
        entries=tuple(lines(predicate["audit"])),
        made_at=moment(predicate["made_at"]),
        maker=predicate["maker"],
        checkpoint=predicate["audit"]["checkpoint"] or "",
        paths=tuple(map(path, predicate["audit"]["entries"])),
    )
    if custody.lineage.model is None or custody.lineage.run is None:
        raise broken("the lineage names no model version and run")
    return custody, statement


def parsed(data: bytes, *, what: str) -> dict[str, Any]:
    """A JSON object in canonical bytes.

    Raises:
        IntegrityFailed: The bytes are anything else.
    """
    if len(data) > STATEMENT_BYTES_MAX:
        raise broken(f"the {what} is longer than {STATEMENT_BYTES_MAX:,} bytes")
    try:
        value = json.loads(data)
        is_canonical = canonical(value) == data
    except (ValueError, RecursionError) as error:
        raise broken(f"the {what} is not JSON in canonical form") from error
    if not is_canonical or not isinstance(value, dict):
        raise broken(f"the {what} is not a JSON object in canonical form")
    return value


def lines(audit: object) -> Iterator[bytes]:
    """The audit entries of a predicate."""
    if not isinstance(audit, dict) or audit.keys() != {"checkpoint", "entries"}:
        raise broken("the audit entries are malformed")
    if not isinstance(audit["checkpoint"], str | None) or audit["checkpoint"] == "":
        raise broken("the checkpoint is malformed")
    entries = audit["entries"]
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or frozenset(entry) != ENTRY_MEMBERS:
            raise broken("an audit entry is malformed")
        yield str(entry["line"]).encode()


def path(entry: Mapping[str, Any]) -> tuple[bytes, ...] | None:
    """What leads from an entry to the root of the checkpoint."""
    proof = entry["proof"]
    if proof is None:
        return None
    if not isinstance(proof, list) or not all(isinstance(digest, str) for digest in proof):
        raise broken("the proof of an audit entry is malformed")
    return tuple(map(unbase64, proof))


def moment(value: object) -> datetime:
    """A point in time."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise broken("the time at which it was made is malformed") from error
    if at.tzinfo is None:
        raise broken("the time at which it was made has no time zone")
    return at


# ---------------------------------------------------------------- parts of the predicate


def audit(entries: Sequence[bytes], proofs: Sequence[Proof]) -> dict[str, Any]:
    """The entries with what proves that they stand in the log."""
    if not proofs:
        return {
            "checkpoint": None,
            "entries": [{"line": line.decode(), "proof": None} for line in entries],
        }
    return {
        "checkpoint": str(proofs[0].note),
        "entries": [
            {
                "line": line.decode(),
                "proof": [base64.b64encode(digest).decode() for digest in proof.path],
            }
            for line, proof in zip(entries, proofs, strict=True)
        ],
    }


def own(lineage: Lineage) -> Lineage:
    """The lineage without what only a comparison needs."""
    versions = {one.version_id: one for one in lineage.current}
    return replace(lineage, baseline=None, is_baseline_chosen=False, report=None, versions=versions)


def subject(model: ModelVersion) -> dict[str, Any]:
    """The model version, by its name and the digest over its files."""
    return {"name": f"models:/{model.name}/{model.version}", "digest": {"dirHash": model.digest}}


def drift(lineage: Lineage) -> dict[str, Any] | None:
    """How the run compares with its baseline, without a figure or a value."""
    report = lineage.report
    if report is None:
        return None
    felt = (cause.kind for cause in report.causes if cause.effect > 0)
    return {
        "baseline": lineage.baseline.run_id if lineage.baseline is not None else None,
        "status": report.status,
        "is_same_data": report.is_same_data,
        "kinds": list(dict.fromkeys(felt)),
        "is_held": bool(report.holds),
    }


def materials(lineage: Lineage) -> Iterator[dict[str, Any]]:
    """What went into the model, as in-toto ResourceDescriptors; it follows from the lineage."""
    versions, run = lineage.current, lineage.run
    assert run is not None
    for one in versions:
        yield {
            "name": one.name,
            "uri": f"urn:nbgov:dataset:{one.version_id}",
            "digest": {
                "nbgovVersion": one.version_id,
                "nbgovContent": one.content_id,
                "nbgovSchema": one.schema_id,
            },
        }
        yield {"uri": "urn:nbgov:statement", "digest": {"hmacSha256": one.statement_mac}}
    for digest in dict.fromkeys(one.policy for one in versions):
        yield {"uri": "urn:nbgov:policy", "digest": {"sha256": digest}}
    for revision in dict.fromkeys(one.policy_revision for one in lineage.deliveries):
        if revision:
            yield {"uri": f"urn:nbgov:policy:{revision}"}
    for approval in lineage.approvals:
        uri = f"urn:nbgov:ticket:{approval.ticket}"
        yield {"uri": uri, "digest": {"sha256": approval.binding}}
    if run.code.get("commit"):
        yield {"uri": "urn:nbgov:code", "digest": {"gitCommit": run.code["commit"]}}
    for reference, digest in sorted(run.models.items()):
        yield {"uri": reference, "digest": {"dirHash": digest}}
    packages = canonical(dict(run.packages))
    yield {
        "uri": "urn:nbgov:packages",
        "digest": {"sha256": hashlib.sha256(packages).hexdigest()},
    }


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value; a surrogate, which UTF-8 cannot carry, becomes ``?``."""
    return CANONICAL.encode(value).encode(errors="replace")


def broken(why: str) -> IntegrityFailed:
    """The error of a bundle that cannot be read."""
    return IntegrityFailed(
        "The custody bundle does not read as one.",
        code="custody-broken",
        why=why,
        next_step="get the bundle again from whoever made it; do not trust this one",
    )
