"""What is known of one request so far, and the audit records and errors made of it.

The pipeline fills a :class:`Case` stage by stage. However the request ends, its records are made
from the case alone, so that none can be forgotten and none can hold more than was known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, assert_never

from nbgov.core.approval import describe_binds, exact, write_binds
from nbgov.core.policy import NO_CONTEXT, Context, Policy
from nbgov.core.statement import redact
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, NbgovError, RequestInvalid
from nbgov.model import (
    Approval,
    ApprovalQuorum,
    BeforeImage,
    ByteLimit,
    Catalog,
    ColumnMask,
    ContentMask,
    Decision,
    Obligation,
    Principal,
    Receipt,
    Record,
    RecordKind,
    Request,
    RowFilter,
    RowLimit,
    Statement,
    Summary,
    WriteLimit,
)

MET = (ColumnMask, RowFilter, RowLimit, ByteLimit, WriteLimit, ContentMask, ApprovalQuorum)
Mac = Callable[[bytes], bytes]
# What is sealed stays far below the size of an entry, however long statement and values are.
SEALED_BYTES_MAX = 16_384
ORIGIN_CHARS_MAX = 500
# What the records of a statement say that was run for its voters, and rolled back.
DRY_RUN = "dry-run"


@dataclass
class Case:
    """One request on its way. A field is ``None`` until its stage is over.

    ``dialect`` and ``whole`` are the engine's dialect and all that the connection holds. ``before``
    is what is kept of a write so that it can be undone, and ``undo`` why nothing is, for people.
    """

    request: Request
    id: str
    principal: Principal | None = None
    policy: Policy | None = None
    context: Context = NO_CONTEXT
    dialect: str = ""
    whole: Catalog | None = None
    catalog: Catalog | None = None
    statement: Statement | None = None
    values: dict[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
    approval: Approval | None = None
    before: BeforeImage | None = None
    undo: str = ""
    receipt: Receipt | None = None
    is_closed: bool = False

    def macs(self, mac: Mac) -> tuple[str, str]:
        """Keyed digests (hex) of the exact statement and of the typed bound values."""
        return (
            mac(exact(self.request.sql)).hex(),
            mac(describe_binds(write_binds(self.values)).encode()).hex(),
        )

    def literals(self) -> bytes:
        """The exact statement and the typed bound values, as canonical JSON, to be sealed.

        Where that is longer than :data:`SEALED_BYTES_MAX`, its length and digest stand for it.
        """
        # Security: a veiled value is kept for a time only, and the log would keep it for longer.
        values = (
            {name: ["veiled", ""] for name in self.values}
            if self.request.veiled
            else {name: [type(value).__name__, repr(value)] for name, value in self.values.items()}
        )
        facts: Mapping[str, Any] = {"statement": self.request.sql, "binds": values}
        data = canonical(facts)
        if len(data) > SEALED_BYTES_MAX:
            data = canonical({"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
        return data


def facts(
    case: Case, kind: RecordKind, *, at: datetime, session: str, mac: Mac, **more: Any
) -> Record:
    """A record of everything known of a request, as far as it got.

    Args:
        case: The request.
        kind: What the record states.
        at: Its time.
        session: Whose it is.
        mac: Keyed digest of some bytes.
        **more: Further fields of the record.
    """
    request, approval = case.request, case.approval
    statement_mac, binds_mac = case.macs(mac) if isinstance(request.sql, str) else (None, None)
    known: dict[str, Any] = {"principal": request.claim}
    if case.principal is not None:
        known |= principal_facts(case.principal)
    if case.statement is not None:
        known |= statement_facts(case.statement)
    if case.decision is not None:
        known |= decision_facts(case.decision)
    return Record(
        kind=kind,
        at=at,
        request=case.id,
        session=session,
        origin=told_origin(request.origin),
        connection=str(request.connection),
        statement=told_statement(case) or None,
        statement_mac=statement_mac,
        binds_mac=binds_mac if case.values else None,
        policy=case.policy.digest.hex() if case.policy else None,
        decided_at=case.context.at if case.policy and case.policy.is_conditional else None,
        ticket=approval.ticket if approval else None,
        voters=(tuple(vote.voter for vote in approval.votes) or None) if approval else None,
        **known,
        **more,
    )


def closing(case: Case, *, at: datetime, session: str, **more: Any) -> Record:
    """The outcome of an attempt: what the attempt did not say.

    Whoever asks, where and to do what is repeated, so that the line can be read by itself.
    """
    assert case.receipt is not None
    assert case.principal is not None
    assert case.statement is not None
    return Record(
        kind=RecordKind.OUTCOME,
        at=at,
        request=case.id,
        session=session,
        attempt=case.receipt.index,
        principal=case.principal.name,
        connection=case.request.connection,
        verb=case.statement.verb,
        plan=DRY_RUN if case.statement.plan == DRY_RUN else None,
        **more,
    )


def told_statement(case: Case) -> str:
    """The statement without its literals; of one that was not understood, without strange names.

    Security: as long as the dialect is not known, nobody can tell where a literal ends.
    """
    sql = case.request.sql
    if case.statement is not None:
        return case.statement.redacted
    if not case.dialect or not isinstance(sql, str):
        return ""
    return redact(sql, case.dialect, names_of(case.whole))


def names_of(catalog: Catalog | None) -> frozenset[str]:
    """Every name in a catalog, in lower case."""
    if catalog is None:
        return frozenset()
    return frozenset(
        name.lower()
        for table in catalog.tables.values()
        for name in (table.name.schema, table.name.name, *(one.name for one in table.columns))
    )


def told_origin(origin: Any) -> Mapping[str, str] | None:
    """What a surface says of itself, as texts of bounded length."""
    if not isinstance(origin, Mapping):
        return None
    return {
        str(name)[:ORIGIN_CHARS_MAX]: str(value)[:ORIGIN_CHARS_MAX]
        for name, value in origin.items()
    } or None


def principal_facts(principal: Principal) -> dict[str, Any]:
    """What a record says of who the principal is, and how that was found out."""
    return {
        "principal": principal.name,
        "account": principal.account or None,
        "via": principal.via or None,
        "groups": tuple(sorted(principal.groups)) or None,
        "roles": tuple(sorted(principal.roles)) or None,
    }


def statement_facts(statement: Statement) -> dict[str, Any]:
    """What a record says of what the statement does."""
    uses = statement.tables
    return {
        "dialect": statement.dialect,
        "verb": statement.verb,
        "effects": tuple(sorted(statement.effects)),
        "tables": tuple(dict.fromkeys(str(use.table) for use in uses)),
        "columns": tuple(sorted({f"{use.table}.{name}" for use in uses for name in use.columns})),
        "functions": tuple(sorted(statement.functions)) or None,
        "plan": statement.plan or None,
    }


def decision_facts(decision: Decision) -> dict[str, Any]:
    """What a record says of what was decided."""
    return {
        "decision": "permit" if decision.is_permitted else "deny",
        # A permit is told by its rules.
        "reason": None if decision.is_permitted else decision.reason or None,
        "rules": decision.rules,
        "obligations": tuple(describe(o) for o in decision.obligations) or None,
    }


def summary_facts(summary: Summary | None) -> dict[str, Any]:
    """What a record says of what was delivered: counts and digests, never values."""
    if summary is None:
        return {}
    version = summary.version
    return {
        "rows_read": summary.rows_read,
        "rows_affected": summary.rows_affected,
        "bytes_read": summary.bytes_read,
        "batches": summary.batches,
        "masked": tuple(f"{name}: {mask}" for name, mask in summary.masked.items()) or None,
        "entities": dict(summary.entities) or None,
        "version": version.version_id if version else None,
        "content": version.content_id if version else None,
        "schema": version.schema_id if version else None,
    }


def status_of(error: BaseException) -> str:
    """How a request ended that an error ended."""
    if isinstance(error, Denied):
        return "denied"
    if isinstance(error, ApprovalNeeded):
        return "pending"
    if isinstance(error, KeyboardInterrupt) or getattr(error, "code", "") == "cancelled":
        return "cancelled"
    if isinstance(error, GeneratorExit):
        return "dropped"
    return "error"


def code_of(error: BaseException) -> str:
    """The stable name of an error."""
    return error.code if isinstance(error, NbgovError) else type(error).__name__


def sqlstate_of(error: BaseException) -> str | None:
    """The database's own number of an error, as far as the requester may know it."""
    return (error.sqlstate or None) if isinstance(error, BackendFailed) else None


def check_request(request: Request) -> None:
    """Make sure that a request has the shape that its type says; Python does not.

    Raises:
        RequestInvalid: It has not (code ``usage``).
    """
    limit = request.rows_max
    parts = {
        "sql": isinstance(request.sql, str),
        "connection": isinstance(request.connection, str),
        "binds": isinstance(request.binds, Mapping) and all(map(is_text, request.binds)),
        "rows_max": limit is None or (type(limit) is int and limit >= 0),
        "dataset": isinstance(request.dataset, str),
        "origin": isinstance(request.origin, Mapping),
        "request": isinstance(request.id, str),
        "ticket": isinstance(request.ticket, str),
    }
    for name, is_right in parts.items():
        if not is_right:
            held = getattr(request, "id" if name == "request" else name)
            raise RequestInvalid(
                f"The argument {name} is none that a request takes.",
                code="usage",
                why=f"its type is {type(held).__name__}, or its value is wrong",
                next_step="look at help(nbgov.Session.sql)",
            )


def is_text(value: Any) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def canonical(value: Mapping[str, Any]) -> bytes:
    """A value as JSON with sorted keys, lone surrogates included."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return exact(text)


def denial(case: Case) -> Denied:
    """The error of a decision that is a deny."""
    decision, statement, principal = case.decision, case.statement, case.principal
    assert decision is not None
    assert statement is not None
    assert principal is not None
    tables = ", ".join(dict.fromkeys(str(use.table) for use in statement.tables))
    where = f" on {tables}" if tables else ""
    rules = f" ({', '.join(decision.rules)})" if decision.rules else ""
    return Denied(
        f"Denied: {statement.verb}{where} is not permitted for {principal.name}.",
        code=decision.code,
        why=decision.reason + rules,
        next_step=decision.next_step,
    )


def require_permit(case: Case) -> None:
    """Go no further with a request that was denied.

    Raises:
        Denied: It was.
    """
    assert case.decision is not None
    if not case.decision.is_permitted:
        raise denial(case)


def refusal(approval: Approval) -> Denied:
    """The error of a ticket that a voter denied."""
    vote = next(vote for vote in approval.votes if not vote.is_approval)
    return Denied(
        f"Denied: {vote.voter} denied ticket {approval.ticket}.",
        code="approval-denied",
        why=" ".join(vote.reason.split()) or "no reason was given",
        next_step="change the statement, or run it again to ask anew",
    )


def token_written() -> Denied:
    """The error of a write whose bound values hold what one of our masks made."""
    return Denied(
        "Denied: a bound value of this write was made by a mask.",
        code="mask-token-written",
        why="written back, it would stand in the place of the value that it hides",
        next_step="leave the column out, or bind its real value",
    )


def waiting(case: Case, approval: Approval) -> ApprovalNeeded:
    """The error of a statement that waits for votes: the same on every run."""
    assert case.statement is not None
    where = f" on {', '.join(approval.tables)}" if approval.tables else ""
    rules = sorted({quorum.rule for quorum in approval.quorums})
    ask = f"the rule {rules[0]} asks" if len(rules) == 1 else f"the rules {', '.join(rules)} ask"
    return ApprovalNeeded(
        f"{case.statement.verb}{where} waits for approval.",
        ticket=approval.ticket,
        why=f"{ask} for consent; the ticket is {approval.ticket}",
        next_step="when it is approved, run the same statement again",
    )


def describe(obligation: Obligation) -> str:
    """An obligation as one line, without any data value."""
    match obligation:
        case ColumnMask(column, kind, tag):
            text = f"mask {column} {kind.value} {tag}"
        case RowFilter(table, _):
            text = f"row filter on {table}"
        case RowLimit(rows_max):
            text = f"at most {rows_max} rows"
        case ByteLimit(bytes_max):
            text = f"at most {bytes_max} bytes"
        case WriteLimit(rows_max):
            text = f"at most {rows_max} rows changed"
        case ContentMask(entities, score_min, _, operators):
            special = dict(operators)
            told = (f"{e}:{special[e]}" if e in special else e for e in entities)
            text = f"mask content {' '.join(told)} from {score_min}"
        case ApprovalQuorum(rule=rule, votes_min=votes):
            text = f"approval by {votes} for {rule}"
        case _:
            assert_never(obligation)
    return text
