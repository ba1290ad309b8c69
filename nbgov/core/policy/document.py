"""``policy.yaml`` as values: the shapes that it decodes into, and what makes no sense in it.

Decoding is strict: a rule that can never match, a pattern with the wrong number of parts, and a
condition that does not compile are errors. What a policy means is the business of
:mod:`nbgov.core.policy`. The format is described in ``docs/reference/policy.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from nbgov.core.policy.audience import (
    NOBODY,
    STRICT,
    ApprovalTerms,
    Audience,
    EmergencyTerms,
)
from nbgov.core.policy.conditions import Condition, compile_condition
from nbgov.core.policy.drift import DriftSection
from nbgov.core.policy.patterns import COLUMN_PARTS, covers, covers_table, pattern
from nbgov.core.presets import load, text_operator
from nbgov.errors import ConfigInvalid
from nbgov.model import ColumnName, ContentMask, DriftTerms, MaskKind, Principal, TableName
from nbgov.strict import adapter, decode

FILE_NAME = "policy.yaml"
PUBLIC = "public"
TAGGED_COLUMNS_MAX = 200_000
TABLE = "connection.schema.table[.column]"
COLUMN = "connection.schema.table.column"
WHOLE_TABLE = "connection.schema.table"
FUNCTION = "connection.schema.function"
# A bare null in YAML is no text, yet it is how the mask null is written.
Mask = Annotated[MaskKind, BeforeValidator(lambda kind: MaskKind.NULL if kind is None else kind)]
Limit = Annotated[int, Field(ge=1)] | None
# Dropping a table is for nobody, so that no rule can be about it.
ActionName = Literal["read", "insert", "update", "delete", "create", "alter", "maintain"]


@dataclass(frozen=True, slots=True)
class ObligationTerms:
    """The obligations that a permit carries.

    Attributes:
        masks: Mask by tag pattern, for columns that carry a matching tag.
        row_filter: SQL predicate over the columns of the rule's tables.
        row_limit: Rows delivered at most.
        byte_limit: Bytes of Arrow data delivered at most; more is an error.
        write_limit: Rows that a write may change; one that changes more is rolled back.
        approval: Consent that is needed first.
    """

    __pydantic_config__ = STRICT
    masks: Mapping[str, Mask] = field(default_factory=dict)
    row_filter: str | None = None
    row_limit: Limit = None
    byte_limit: Limit = None
    write_limit: Limit = None
    approval: ApprovalTerms | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: an effect for an audience, on actions and resources.

    Attributes:
        id: The rule's name, unique in the policy.
        effect: ``permit`` or ``forbid``.
        to: Whom it is about.
        actions: What they want to do.
        on: Patterns of ``connection.schema.table`` or ``connection.schema.table.column``.
        unless: Whom it is not about, though ``to`` names them.
        when: A condition in CEL that must hold too, or empty.
        obligations: Conditions of a permit.
        reason: Why the rule exists, shown to the person who meets it.
    """

    __pydantic_config__ = STRICT
    id: str
    effect: Literal["permit", "forbid"]
    to: Audience
    actions: tuple[ActionName, ...]
    on: tuple[str, ...]
    unless: Audience = NOBODY
    when: str = ""
    obligations: ObligationTerms = field(default_factory=ObligationTerms)
    reason: str = ""

    def concerns(self, principal: Principal, action: str) -> bool:
        """Whether the rule is about this principal and action."""
        return (
            action in self.actions and self.to.holds(principal) and not self.unless.holds(principal)
        )

    def covers(self, connection: str, column: ColumnName) -> bool:
        """Whether one of the patterns matches a column."""
        return covers(self.on, connection, column)

    def covers_table(self, connection: str, table: TableName) -> bool:
        """Whether one of the patterns matches the table, or a column that it could have."""
        return covers_table(self.on, connection, table)


@dataclass(frozen=True, slots=True)
class ContentTerms:
    """What to look for in text that no tag classifies, and what to put in its place.

    Attributes:
        preset: The preset that stands where nothing else is said.
        entities: What to look for instead of the preset's entities; none at all turns it off.
        operators: Operator by entity, over those of the preset.
        score_min: The lowest score that counts, instead of the preset's.
        language: The language of the text, as an ISO 639-1 code.
    """

    __pydantic_config__ = STRICT
    preset: str = "default"
    entities: tuple[str, ...] | None = None
    operators: Mapping[str, str] = field(default_factory=dict)
    score_min: Annotated[float, Field(ge=0, le=1)] | None = None
    language: str = "en"

    def mask(self) -> ContentMask:
        """The terms as an obligation.

        Raises:
            ConfigInvalid: The preset or an operator is unknown, or the operator cannot stand in
                free text.
        """
        preset = load(self.preset)
        entities = tuple(preset.operators) if self.entities is None else self.entities
        chosen = {**preset.operators, **self.operators}
        operators = {entity: text_operator(chosen.get(entity, "redact")) for entity in entities}
        return ContentMask(
            entities,
            preset.score_min if self.score_min is None else self.score_min,
            self.language,
            tuple((entity, one.text) for entity, one in operators.items() if one.text != "redact"),
        )


@dataclass(frozen=True, slots=True)
class FunctionTerms:
    """What functions do that people have defined in the database.

    Attributes:
        read: Patterns of ``connection.schema.function``, of those that only compute.
    """

    __pydantic_config__ = STRICT
    read: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvidenceTerms:
    """Who may see what the audit log keeps sealed.

    Attributes:
        unseal: Who may read the literals of an entry, with a reason that is recorded; nobody by
            default.
    """

    __pydantic_config__ = STRICT
    unseal: Audience = NOBODY


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """``policy.yaml`` as written.

    Attributes:
        version: Version of the format; 1.
        rules: The rules, in order.
        tags: Patterns of ``connection.schema.table.column`` by tag; ``public`` means nothing to
            hide.
        functions: What functions do that people have defined in the database.
        content: What to look for in text that no tag classifies.
        drift: What the project calls drift of training data, and what holds a promotion.
        evidence: Who may see what the audit log keeps sealed.
        break_glass: Who may go ahead without the votes that a rule asks for.
    """

    __pydantic_config__ = STRICT
    version: Literal[1]
    rules: tuple[Rule, ...]
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    functions: FunctionTerms = field(default_factory=FunctionTerms)
    content: ContentTerms = field(default_factory=ContentTerms)
    drift: DriftSection = field(default_factory=DriftSection)
    evidence: EvidenceTerms = field(default_factory=EvidenceTerms)
    break_glass: EmergencyTerms = field(default_factory=EmergencyTerms)


@dataclass(frozen=True, slots=True)
class Policy:
    """A decoded policy.

    Attributes:
        document: What it says.
        digest: SHA-256 of its text.
        content: What to look for in text that no tag classifies.
        drift: What the project calls drift of training data, and what holds a promotion.
        conditions: The compiled ``when`` of each rule that has one, by the rule's id.
        tagged: Tags that were asked for, by connection and column.
        tagging: Tags with their patterns that were asked for, by connection and table.
    """

    document: PolicyDocument
    digest: bytes
    content: ContentMask
    drift: DriftTerms = field(default_factory=DriftTerms)
    conditions: Mapping[str, Condition] = field(default_factory=dict, compare=False, repr=False)
    tagged: dict[tuple[str, ColumnName], tuple[str, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )
    tagging: dict[tuple[str, TableName], list[tuple[str, tuple[str, ...]]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def is_conditional(self) -> bool:
        """Whether a decision depends on its context: on the moment or the origin of a request."""
        return bool(self.conditions)

    def is_keyed(self, connection: str, tables: Iterable[TableName]) -> bool:
        """Whether a result that is made of some of the tables is fingerprinted under a key."""
        texts = self.drift.keyed
        return bool(texts) and any(covers_table(texts, connection, table) for table in tables)

    def tags_of(self, connection: str, column: ColumnName) -> tuple[str, ...]:
        """The tags that the policy gives to a column by name, in the policy's order."""
        key = (connection, column)
        found = self.tagged.get(key)
        if found is None:
            found = tuple(
                tag
                for tag, patterns in self.tags_on(connection, column.table)
                if covers(patterns, connection, column)
            )
            if len(self.tagged) >= TAGGED_COLUMNS_MAX:
                self.tagged.clear()
            self.tagged[key] = found
        return found

    def tags_on(self, connection: str, table: TableName) -> list[tuple[str, tuple[str, ...]]]:
        """The tags that some column of a table may carry, with their patterns."""
        key = (connection, table)
        found = self.tagging.get(key)
        if found is None:
            tags = self.document.tags.items()
            found = [(tag, texts) for tag, texts in tags if covers_table(texts, connection, table)]
            if len(self.tagging) >= TAGGED_COLUMNS_MAX:
                self.tagging.clear()
            self.tagging[key] = found
        return found

    def is_declassified(self, connection: str, column: ColumnName) -> bool:
        """Whether a ``public`` pattern that spells the table's name out matches the column."""
        exact = (t for t in self.document.tags.get(PUBLIC, ()) if pattern(t).is_exact)
        return covers(tuple(exact), connection, column)


def parse(text: str) -> Policy:
    """Decode ``policy.yaml``.

    Raises:
        ConfigInvalid: The text is not YAML, has an unknown key, repeats a rule id, holds a pattern
            that can never match, puts obligations on a forbid, or holds a condition that does not
            compile (code ``policy-invalid``); or it names a preset or an operator that does not
            exist (``preset-unknown``, ``operator-invalid``).
    """
    document = decode(text, PolicyDocument, document=FILE_NAME, code="policy-invalid")
    seen: set[str] = set()
    for rule in document.rules:
        if rule.id in seen:
            raise invalid(f"the rule id {rule.id!r} occurs twice", "give each rule its own id")
        seen.add(rule.id)
        if not (rule.on and rule.actions) or rule.to == NOBODY:
            raise invalid(
                f"the rule {rule.id!r} can never match",
                "give it at least one of each: to, actions, on",
            )
        if rule.effect == "forbid" and rule.obligations != ObligationTerms():
            raise invalid(
                f"the rule {rule.id!r} forbids and has obligations",
                "obligations are conditions of a permit",
            )
        check_patterns(rule.on, TABLE, place=f"rules.{rule.id}.on")
    for tag, patterns in document.tags.items():
        check_patterns(patterns, COLUMN, place=f"tags.{tag}")
    check_patterns(document.functions.read, FUNCTION, place="functions.read")
    check_patterns(document.drift.keyed, WHOLE_TABLE, place="drift.keyed")
    if problem := document.drift.problem():
        raise invalid(*problem)
    conditions = {
        rule.id: compile_condition(rule.when, place=f"rules.{rule.id}.when")
        for rule in document.rules
        if rule.when
    }
    digest = hashlib.sha256(text.encode()).digest()
    content, drift = document.content.mask(), document.drift.terms()
    return Policy(document, digest, content, drift, conditions)


def check_patterns(patterns: Iterable[str], form: str, *, place: str) -> None:
    """Refuse a pattern with a number of parts that no name has, and compile the others."""
    least = len(form.partition("[")[0].split("."))
    most = COLUMN_PARTS if "[" in form else least
    for text in patterns:
        if not least <= len(text.split(".")) <= most:
            raise invalid(
                f"{place} holds a pattern with the wrong number of parts", f"write {form}"
            )
        pattern(text)


def invalid(why: str, next_step: str) -> ConfigInvalid:
    """The error of a policy that decodes but makes no sense."""
    return ConfigInvalid(
        f"{FILE_NAME} is not a valid policy.", code="policy-invalid", why=why, next_step=next_step
    )


def schema() -> dict[str, Any]:
    """JSON Schema of ``policy.yaml``, for editors."""
    return adapter(PolicyDocument).json_schema()
