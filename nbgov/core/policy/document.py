"""``policy.yaml`` as values: the shapes that it decodes into, and how its patterns match.

Decoding is strict: a rule that can never match, and a pattern with the wrong number of parts, are
errors. What a policy means is the business of :mod:`nbgov.core.policy`. The format is described in
``docs/reference/policy.md``.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from nbgov.errors import ConfigInvalid
from nbgov.model import ColumnName, MaskKind, Principal, TableName
from nbgov.strict import adapter, decode

FILE_NAME = "policy.yaml"
PUBLIC = "public"
STRICT = ConfigDict(extra="forbid")
DEFAULT_ENTITIES = (
    "CREDIT_CARD", "CRYPTO", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "LOCATION", "PERSON",
    "PHONE_NUMBER", "US_SSN",
)  # fmt: skip
# A bare null in YAML is no text, yet it is how the mask null is written.
Mask = Annotated[MaskKind, BeforeValidator(lambda kind: MaskKind.NULL if kind is None else kind)]
ActionName = Literal["read", "insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a rule is about: any one match of a name, a group or a role; ``"*"`` is everybody."""

    __pydantic_config__ = STRICT
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def holds(self, principal: Principal) -> bool:
        """Whether the principal is in the audience."""
        return (
            "*" in self.names
            or principal.name in self.names
            or not principal.groups.isdisjoint(self.groups)
            or not principal.roles.isdisjoint(self.roles)
        )


NOBODY = Audience()


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Who has to consent, and how many of them."""

    __pydantic_config__ = STRICT
    by: Audience
    votes: Annotated[int, Field(ge=1, le=20)] = 1


@dataclass(frozen=True, slots=True)
class ObligationTerms:
    """The obligations that a permit carries.

    Attributes:
        masks: Mask by tag pattern, for columns that carry a matching tag.
        row_filter: SQL predicate over the columns of the rule's tables.
        row_limit: Rows delivered at most.
        approval: Consent that is needed first.
    """

    __pydantic_config__ = STRICT
    masks: Mapping[str, Mask] = field(default_factory=dict)
    row_filter: str | None = None
    row_limit: Annotated[int, Field(ge=1)] | None = None
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
    obligations: ObligationTerms = field(default_factory=ObligationTerms)
    reason: str = ""

    def concerns(self, principal: Principal, action: str) -> bool:
        """Whether the rule is about this principal and action."""
        return (
            action in self.actions and self.to.holds(principal) and not self.unless.holds(principal)
        )

    def covers(self, resource: str) -> bool:
        """Whether one of the patterns matches a column's full name."""
        return any(pattern(text).fullmatch(resource.lower()) for text in self.on)


@dataclass(frozen=True, slots=True)
class ContentTerms:
    """What to look for in text that no tag classifies."""

    __pydantic_config__ = STRICT
    entities: tuple[str, ...] = DEFAULT_ENTITIES
    score_min: Annotated[float, Field(ge=0, le=1)] = 0.35
    language: str = "en"


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """``policy.yaml`` as written.

    Attributes:
        version: Version of the format; 1.
        rules: The rules, in order.
        tags: Patterns of ``connection.schema.table.column`` by tag; ``public`` means nothing to
            hide.
        content: What to look for in text that no tag classifies.
    """

    __pydantic_config__ = STRICT
    version: Literal[1]
    rules: tuple[Rule, ...]
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content: ContentTerms = field(default_factory=ContentTerms)


@dataclass(frozen=True, slots=True)
class Policy:
    """A decoded policy and the SHA-256 of its text."""

    document: PolicyDocument
    digest: bytes

    def tags_of(self, connection: str, column: ColumnName) -> tuple[str, ...]:
        """The tags of a column, in the policy's order."""
        name = resource_name(connection, column.table, column.name)
        return tuple(
            tag
            for tag, patterns in self.document.tags.items()
            if any(pattern(text).fullmatch(name) for text in patterns)
        )


def parse(text: str) -> Policy:
    """Decode ``policy.yaml``.

    Raises:
        ConfigInvalid: The text is not YAML, has an unknown key, repeats a rule id, holds a pattern
            that can never match, or puts obligations on a forbid (code ``policy-invalid``).
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
        check_patterns(rule.on, parts={3, 4}, place=f"rules.{rule.id}.on")
    for tag, patterns in document.tags.items():
        check_patterns(patterns, parts={4}, place=f"tags.{tag}")
    return Policy(document, hashlib.sha256(text.encode()).digest())


def check_patterns(patterns: Iterable[str], *, parts: set[int], place: str) -> None:
    """Refuse a pattern with a number of parts that no name has."""
    for text in patterns:
        if len(text.split(".")) not in parts:
            form = "connection.schema.table.column" if parts == {4} else "connection.schema.table"
            raise invalid(
                f"{place} holds a pattern with the wrong number of parts", f"write {form}"
            )


def invalid(why: str, next_step: str) -> ConfigInvalid:
    """The error of a policy that decodes but makes no sense."""
    return ConfigInvalid(
        f"{FILE_NAME} is not a valid policy.", code="policy-invalid", why=why, next_step=next_step
    )


@functools.lru_cache(maxsize=4096)
def pattern(text: str) -> re.Pattern[str]:
    """The matcher of a ``connection.schema.table.column`` glob; three parts cover every column."""
    parts = text.lower().split(".")
    if len(parts) == 3:  # noqa: PLR2004 - connection, schema, table
        parts.append("*")
    # Security: each part is matched by itself, so that * cannot run across a dot into another
    # table.
    inner = r"\.".join(translate(part)[4:-3].replace(".*", "[^.]*") for part in parts)
    return re.compile(inner, re.DOTALL)


def resource_name(connection: str, table: TableName, column: str) -> str:
    """A column's full name, lower case, as patterns are matched against it."""
    parts = (connection, table.schema, table.name, column)
    return ".".join(part.replace(".", "_") for part in parts).lower()


def is_on(connection: str, text: str) -> bool:
    """Whether a pattern is about anything on a connection."""
    first = text.split(".", maxsplit=1)[0]
    return pattern(f"{first}.x.x").fullmatch(f"{connection.lower()}.x.x.x") is not None


def schema() -> dict[str, Any]:
    """JSON Schema of ``policy.yaml``, for editors."""
    return adapter(PolicyDocument).json_schema()
