"""Cases of a policy: who asks what, and what the answer has to be. They stand beside the policy.

``nbgov policy test`` decides each case and compares. How a statement is understood is not known
here: ``decide`` is handed in. The format is described in ``docs/reference/policy.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from nbgov.core.policy.audience import STRICT
from nbgov.core.policy.conditions import Context
from nbgov.core.policy.document import Mask
from nbgov.core.policy.obligations import reported
from nbgov.errors import ConfigInvalid, NbgovError
from nbgov.model import (
    ApprovalQuorum,
    ByteLimit,
    ColumnMask,
    MaskKind,
    Obligation,
    Principal,
    RowFilter,
    RowLimit,
    Verdict,
    WriteLimit,
)
from nbgov.strict import adapter, decode

FILE_NAME = "policy.test.yaml"
PERMIT, DENY = "permit", "deny"


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement that somebody asks for, on paper.

    Attributes:
        id: What the case goes by.
        principal: Who asks.
        connection: Name of the connection.
        sql: The statement.
        context: The circumstances.
    """

    id: str
    principal: Principal
    connection: str
    sql: str
    context: Context = field(default_factory=Context)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a policy makes of it: the decision with the obligations that bear on the statement.

    ``code`` is that of a deny, or of an error in understanding the statement, which is one too.
    """

    decision: str
    code: str = ""
    rules: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    reason: str = ""


Decide: TypeAlias = Callable[[Asked], Answer]


def of_verdict(verdict: Verdict, *, is_whole: bool = False) -> Answer:
    """The answer of a verdict, with what bears on the statement, or with every obligation."""
    decision = verdict.decision
    return Answer(
        decision=PERMIT if decision.is_permitted else DENY,
        code=decision.code,
        rules=decision.rules,
        obligations=decision.obligations if is_whole else reported(decision, verdict.statement),
        reason=decision.reason,
    )


def of_error(error: NbgovError) -> Answer:
    """The answer of a statement that could not be decided, which is a deny."""
    return Answer(DENY, code=error.code, reason=error.why or error.what)


# ---------------------------------------------------------------- the document


@dataclass(frozen=True, slots=True)
class ExpectedObligations:
    """The obligations of a permit. A key that is left out is not compared."""

    __pydantic_config__ = STRICT
    masks: Mapping[str, Mask] | None = None
    filters: tuple[str, ...] | None = None
    row_limit: int | None = None
    byte_limit: int | None = None
    write_limit: int | None = None
    approvals: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        id: Its name, unique in the file.
        principal: Name of who asks.
        statement: The SQL text.
        decision: ``permit`` or ``deny``.
        groups, roles: What the principal belongs to.
        connection: Name of the connection; the default one when left out.
        at, origin: The circumstances.
        code: The error code of a deny, or empty for any.
        rules: The rules that determine the answer, or nothing for any.
        obligations: The obligations of a permit, or nothing for any.
    """

    __pydantic_config__ = STRICT
    id: str
    principal: str
    statement: str
    decision: Literal["permit", "deny"]
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    connection: str = ""
    at: datetime | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    rules: tuple[str, ...] | None = None
    obligations: ExpectedObligations = field(default_factory=ExpectedObligations)

    def asked(self, connection: str) -> Asked:
        """The case as a question, on a connection where it names none."""
        return Asked(
            id=self.id,
            principal=Principal(self.principal, frozenset(self.groups), frozenset(self.roles)),
            connection=self.connection or connection,
            sql=self.statement,
            context=Context(self.at, self.origin),
        )


@dataclass(frozen=True, slots=True)
class CaseDocument:
    """``policy.test.yaml`` as written."""

    __pydantic_config__ = STRICT
    version: Literal[1]
    cases: Annotated[tuple[Case, ...], Field(max_length=10_000)]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case, the answer to it, and in how far that is not what was expected."""

    case: Case
    answer: Answer
    differences: tuple[str, ...]

    @property
    def is_passed(self) -> bool:
        """Whether the answer is the expected one."""
        return not self.differences


def parse(text: str) -> tuple[Case, ...]:
    """Decode ``policy.test.yaml``.

    Raises:
        ConfigInvalid: The text is not YAML, has an unknown key, or repeats the id of a case (code
            ``policy-invalid``).
    """
    document = decode(text, CaseDocument, document=FILE_NAME, code="policy-invalid")
    seen: set[str] = set()
    for case in document.cases:
        if case.id in seen:
            raise ConfigInvalid(
                f"{FILE_NAME} holds the case {case.id!r} twice.",
                code="policy-invalid",
                next_step="give each case its own id",
            )
        seen.add(case.id)
    return document.cases


def schema() -> dict[str, Any]:
    """JSON Schema of ``policy.test.yaml``, for editors."""
    return adapter(CaseDocument).json_schema()


# ---------------------------------------------------------------- the comparison


def run(cases: Iterable[Case], decide: Decide, *, connection: str) -> Iterator[CaseResult]:
    """Decide each case and compare, in order."""
    for case in cases:
        answer = decide(case.asked(connection))
        yield CaseResult(case, answer, tuple(differences(case, answer)))


def differences(case: Case, answer: Answer) -> Iterator[str]:
    """Every expectation that the answer does not meet, as a sentence."""
    if answer.decision != case.decision:
        why = f" ({answer.reason})" if answer.reason else ""
        yield f"decision is {answer.decision}, not {case.decision}{why}"
    if case.code and answer.code != case.code:
        yield f"code is {answer.code or 'none'}, not {case.code}"
    if case.rules is not None and answer.rules != case.rules:
        yield f"rules are {listed(answer.rules)}, not {listed(case.rules)}"
    expected, found = case.obligations, summary(answer.obligations)
    for key in ("masks", "filters", "row_limit", "byte_limit", "write_limit", "approvals"):
        wanted = getattr(expected, key)
        if wanted is not None and wanted != found[key]:
            yield f"{key} is {shown(found[key])}, not {shown(wanted)}"


def summary(obligations: Iterable[Obligation]) -> dict[str, Any]:
    """Obligations in the words of a case."""
    masks: dict[str, MaskKind] = {}
    filters: dict[str, None] = {}
    approvals: dict[str, None] = {}
    limits: dict[str, int] = {}
    for obligation in obligations:
        match obligation:
            case ColumnMask(column, kind):
                masks[str(column)] = kind
            case RowFilter(table):
                filters[str(table)] = None
            case ApprovalQuorum(rule=rule):
                approvals[rule] = None
            case RowLimit(most):
                limits["row_limit"] = most
            case ByteLimit(most):
                limits["byte_limit"] = most
            case WriteLimit(most):
                limits["write_limit"] = most
    keys = ("row_limit", "byte_limit", "write_limit")
    return {
        "masks": masks,
        "filters": tuple(filters),
        "approvals": tuple(approvals),
        **{key: limits.get(key) for key in keys},
    }


def listed(names: Iterable[str]) -> str:
    """Names for people."""
    return ", ".join(names) or "none"


def shown(value: Any) -> str:
    """An expectation, or what was found instead, for people."""
    if isinstance(value, Mapping):
        return listed(f"{name} {kind}" for name, kind in sorted(value.items()))
    return listed(sorted(value)) if isinstance(value, tuple) else str(value or "none")
