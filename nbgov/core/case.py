"""What is known of one request so far, and the audit records and errors made of it.

The pipeline fills a :class:`Case` stage by stage. However the request ends, its records are made
from the case alone, so that none can be forgotten and none can hold more than was known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, assert_never

from nbgov.core.approval import describe_binds
from nbgov.core.policy import NO_CONTEXT, Context, Policy
from nbgov.core.statement import redact
from nbgov.errors import ApprovalNeeded, Denied, NbgovError
from nbgov.model import (
    Approval,
    ApprovalQuorum,
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


@dataclass
class Case:
    """One request on its way. A field is ``None`` until its stage is over."""

    request: Request
    id: str
    principal: Principal | None = None
    policy: Policy | None = None
    context: Context = NO_CONTEXT
    catalog: Catalog | None = None
    statement: Statement | None = None
    values: dict[str, Any] = field(default_factory=dict)
    decision: Decision | None = None
    approval: Approval | None = None
    receipt: Receipt | None = None
    is_closed: bool = False

    def macs(self, mac: Mac) -> tuple[str, str]:
        """Keyed digests (hex) of the exact statement and of the typed bound values."""
        return (
            mac(self.request.sql.encode()).hex(),
            mac(describe_binds(self.values).encode()).hex(),
        )


def facts(case: Case, kind: RecordKind, *, at: datetime, session: str, mac: Mac) -> Record:
    """A record of everything known of a request, as far as it got."""
    request, principal, approval = case.request, case.principal, case.approval
    statement_mac, binds_mac = case.macs(mac)
    dialect = case.catalog.dialect if case.catalog else ""
    record = Record(
        kind=kind,
        at=at,
        request=case.id,
        session=session,
        principal=principal.name if principal else request.claim,
        account=(principal.account or None) if principal else None,
        origin=dict(request.origin) or None,
        connection=request.connection,
        statement=case.statement.redacted if case.statement else redact(request.sql, dialect),
        statement_mac=statement_mac,
        binds_mac=binds_mac if case.values else None,
        policy=case.policy.digest.hex() if case.policy else None,
        decided_at=case.context.at if case.policy and case.policy.is_conditional else None,
        ticket=approval.ticket if approval else None,
        voters=(tuple(vote.voter for vote in approval.votes) or None) if approval else None,
    )
    if case.statement is not None:
        record = with_statement(record, case.statement)
    if case.decision is not None:
        record = with_decision(record, case.decision)
    return record


def with_statement(record: Record, statement: Statement) -> Record:
    """The record with what the statement does."""
    uses = statement.tables
    return replace(
        record,
        dialect=statement.dialect,
        verb=statement.verb,
        effects=tuple(sorted(statement.effects)),
        tables=tuple(dict.fromkeys(str(use.table) for use in uses)),
        columns=tuple(sorted({f"{use.table}.{name}" for use in uses for name in use.columns})),
        functions=tuple(sorted(statement.functions)) or None,
        plan=statement.plan or None,
    )


def with_decision(record: Record, decision: Decision) -> Record:
    """The record with what was decided."""
    return replace(
        record,
        decision="permit" if decision.is_permitted else "deny",
        rules=decision.rules,
        obligations=tuple(describe(o) for o in decision.obligations) or None,
    )


def with_summary(record: Record, summary: Summary) -> Record:
    """The record with what was delivered: counts and digests, never values."""
    version = summary.version
    return replace(
        record,
        rows_read=summary.rows_read,
        rows_affected=summary.rows_affected,
        masked=tuple(f"{name}: {mask}" for name, mask in summary.masked.items()) or None,
        entities=dict(summary.entities) or None,
        version=version.version_id if version else None,
        content=version.content_id if version else None,
    )


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


def refusal(approval: Approval) -> Denied:
    """The error of a ticket that a voter refused."""
    vote = next(vote for vote in approval.votes if not vote.is_approval)
    return Denied(
        f"Denied: {vote.voter} refused ticket {approval.ticket}.",
        code="approval-refused",
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
    """The error of a statement that waits for votes."""
    assert case.statement is not None
    rules = ", ".join(quorum.rule for quorum in approval.quorums)
    return ApprovalNeeded(
        f"{case.statement.verb} on {', '.join(approval.tables)} waits for approval.",
        ticket=approval.ticket,
        why=f"the rule {rules} asks for consent; the ticket is {approval.ticket}",
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
