"""What a policy would have changed: the recorded statements, decided once more.

The log keeps statements without their literals, so a statement is decided with NULL in each one's
place. What hangs on a literal, such as a condition that is always true, is not seen again; what the
guard stopped counts as stopped. Groups and roles are those of today, because the log does not keep
them. What cannot be decided is counted by its reason, and never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.case import DRY_RUN, describe
from nbgov.core.policy.cases import DENY, PERMIT, Answer, Asked, Decide
from nbgov.core.policy.conditions import Context
from nbgov.core.policy.diff import Conditions, condition_kinds
from nbgov.core.statement.text import find_binds, neutralise, splice, tokenize
from nbgov.errors import NbgovError
from nbgov.model import MaskKind, Principal, Record, RecordKind, Span

GUARD_RULE = re.compile(r"G\d{3}")
CUT = "… "
# What may stand for a literal, in the order in which it is tried.
STAND_INS = ("NULL", "1", "'1'")
COUNTED = {"LIMIT", "OFFSET", "BY", "FIRST", "NEXT", "TOP"}
TYPED = {"DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "DATETIME", "INTERVAL"}
MASK = re.compile(f"mask (.+) ({'|'.join(MaskKind)}) (.+)", re.DOTALL)
LINES = {
    "row_limit": re.compile(r"at most (\d+) rows"),
    "byte_limit": re.compile(r"at most (\d+) bytes"),
    "write_limit": re.compile(r"at most (\d+) rows changed"),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """What the policy would have changed, for one person and statement.

    Attributes:
        kinds: As of :class:`nbgov.core.policy.diff.Change`.
        principal, connection, statement: Who asked what, where, without literals.
        rules: The rules that determine the new answer.
        code, reason: Of a deny.
        count: How many requests it is about.
        first_at, last_at: The first and the last of them.
    """

    kinds: tuple[str, ...]
    principal: str
    connection: str
    statement: str
    rules: tuple[str, ...]
    code: str
    reason: str
    count: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What a policy would have changed.

    Attributes:
        requests: How many recorded requests were looked at.
        decided: How many of them could be decided again.
        undecided: How many could not, by reason.
        effects: What changes, the most frequent first.
    """

    requests: int
    decided: int
    undecided: Mapping[str, int]
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class Tally:
    """The counts of a backtest while it runs."""

    requests: int = 0
    decided: int = 0
    undecided: dict[str, int] = field(default_factory=dict)
    effects: dict[tuple[object, ...], Effect] = field(default_factory=dict)

    def add(self, effect: Effect) -> None:
        """Count one request."""
        key = (effect.kinds, effect.principal, effect.connection, effect.statement, effect.rules)
        held = self.effects.get(key)
        if held is not None:
            effect = replace(held, count=held.count + 1, last_at=effect.last_at)
        self.effects[key] = effect


def backtest(
    records: Iterable[Record], principals: Mapping[str, Principal], decide: Decide
) -> BacktestReport:
    """Decide recorded requests once more, and say what changes.

    Args:
        records: Records of the log, oldest first.
        principals: Everybody who is declared, by name.
        decide: Decides under the policy in question, with every obligation of a permit.
    """
    tally = Tally()
    for record in requests(records):
        tally.requests += 1
        answer, problem = decide_again(record, principals, decide)
        if answer is None:
            tally.undecided[problem] = tally.undecided.get(problem, 0) + 1
            continue
        tally.decided += 1
        kinds = changes(record, answer)
        if kinds:
            tally.add(effect(record, answer, kinds))
    ranked = sorted(tally.effects.values(), key=lambda one: (-one.count, one.first_at))
    return BacktestReport(tally.requests, tally.decided, tally.undecided, tuple(ranked))


def requests(records: Iterable[Record]) -> Iterator[Record]:
    """One record of each request that was decided: the first that states the decision.

    A dry run is no request of its own.
    """
    seen: set[str] = set()
    for record in records:
        is_request = record.kind in {RecordKind.ATTEMPT, RecordKind.OUTCOME}
        is_request = is_request and record.plan != DRY_RUN
        if is_request and record.decision is not None and record.request not in seen:
            seen.add(record.request)
            yield record


def decide_again(
    record: Record, principals: Mapping[str, Principal], decide: Decide
) -> tuple[Answer | None, str]:
    """The answer to a recorded request, or why there is none."""
    principal = principals.get(record.principal or "")
    if principal is None:
        return None, "the principal is no longer declared"
    if not (record.statement and record.connection and record.dialect):
        return None, "the statement was not kept"
    if CUT in record.statement:
        return None, "the statement was too long to be kept whole"
    if any(GUARD_RULE.fullmatch(rule) for rule in record.rules or ()):
        return Answer(DENY, code=record.code or "", rules=record.rules or ()), ""
    asked = Asked(
        id=record.request,
        principal=principal,
        connection=record.connection,
        sql="",
        context=Context(record.decided_at or record.at, record.origin or {}),
    )
    answer = Answer(DENY, code="syntax")
    for text in restored(record.statement, record.dialect):
        answer = decide(replace(asked, sql=text))
        if answer.code != "syntax":
            break
    if answer.code in UNDECIDABLE:
        return None, UNDECIDABLE[answer.code]
    return answer, ""


UNDECIDABLE = {
    "syntax": "the statement does not parse without its literals",
    "unknown-connection": "the connection is no longer declared",
    "database-unavailable": "the database could not be reached",
    "driver-missing": "the database could not be reached",
    "unknown-column": "a column of the statement is gone",
}


# ---------------------------------------------------------------- the text


def restored(redacted: str, dialect: str) -> Iterator[str]:
    """Texts that a redacted statement may stand for, the likeliest first.

    Example:
        >>> next(restored("SELECT a FROM t WHERE b = ? AND c IN :ks LIMIT ?", "duckdb"))
        'SELECT a FROM t WHERE b = NULL AND c IN (NULL) LIMIT 1'
    """
    try:
        tokens = tokenize(redacted, dialect)
        markers = find_binds(redacted, dialect)
    except NbgovError:
        return
    gaps = [i for i, t in enumerate(tokens) if t.token_type is TokenType.PLACEHOLDER]
    for stand_in in STAND_INS if gaps else STAND_INS[:1]:
        edits = [(span_of(tokens[i]), literal(tokens, i, stand_in)) for i in gaps]
        edits += [(marker.span, neutralise(":x", find_binds(":x", dialect))) for marker in markers]
        yield splice(redacted, edits)


def span_of(token: Token) -> Span:
    """Where a token stands."""
    return Span(token.start, token.end + 1)


def literal(tokens: Sequence[Token], index: int, stand_in: str) -> str:
    """What stands for a literal, by the word before it."""
    # ORDER BY and GROUP BY are one token each.
    before = tokens[index - 1].text.upper().rpartition(" ")[2] if index else ""
    if before in COUNTED:
        return "1"
    if before in TYPED:
        return "'1'" if before == "INTERVAL" else "'2000-01-01'"
    return stand_in


# ---------------------------------------------------------------- the comparison


def changes(record: Record, answer: Answer) -> tuple[str, ...]:
    """What changes between what was recorded and the new answer."""
    if record.decision != answer.decision:
        return ("permitted",) if answer.decision == PERMIT else ("blocked",)
    if answer.decision != PERMIT:
        return ()
    now = [describe(obligation) for obligation in answer.obligations]
    read = None if record.columns is None else frozenset(record.columns)
    return tuple(condition_kinds(read_lines(record.obligations or (), read), read_lines(now, read)))


def read_lines(lines: Iterable[str], read: frozenset[str] | None) -> Conditions:
    """Obligations as the log words them; masks of columns that were not read are left out."""
    masks: dict[str, MaskKind] = {}
    filters: set[str] = set()
    approvals: set[str] = set()
    limits: dict[str, int] = {}
    for line in lines:
        mask = MASK.fullmatch(line)
        if mask is not None:
            if read is None or mask[1] in read:
                masks[mask[1]] = MaskKind(mask[2])
        elif line.startswith("row filter "):
            filters.add(line)
        elif line.startswith("approval "):
            approvals.add(line)
        else:
            limits |= {k: int(m[1]) for k, one in LINES.items() if (m := one.fullmatch(line))}
    return Conditions(masks, frozenset(filters), frozenset(approvals), limits)


def effect(record: Record, answer: Answer, kinds: tuple[str, ...]) -> Effect:
    """The change of one request."""
    return Effect(
        kinds=kinds,
        principal=record.principal or "",
        connection=record.connection or "",
        statement=record.statement or "",
        rules=answer.rules,
        code=answer.code,
        reason=answer.reason,
        count=1,
        first_at=record.at,
        last_at=record.at,
    )
