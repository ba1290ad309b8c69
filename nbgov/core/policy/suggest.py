"""Which tag a column without one should carry: by what was found in it, and by its name.

A proposal for a person to review, never a decision. It rests on counts alone: in how many of the
values that were read each entity was found. No value comes here. A sample can never prove that a
column is clean, so no column is ever proposed to be ``public``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nbgov.core.policy.document import Policy
from nbgov.core.policy.question import wanted_masks
from nbgov.model import ColumnName

Kind = Literal["text", "number", "time", "flag", "other"]
FREE_TEXT = "pii.free_text"

ENTITY_TAGS = {
    "ACCESS_TOKEN": "secret.access_token",
    "API_KEY": "secret.api_key",
    "CONNECTION_STRING": "secret.connection_string",
    "CREDIT_CARD": "pii.card",
    "CRYPTO": "pii.wallet",
    "EMAIL_ADDRESS": "pii.email",
    "IBAN_CODE": "pii.bank_account",
    "IP_ADDRESS": "pii.ip",
    "LOCATION": "pii.address",
    "MAC_ADDRESS": "pii.device",
    "MEDICAL_LICENSE": "pii.license",
    "NRP": "pii.nationality",
    "PERSON": "pii.person",
    "PHONE_NUMBER": "pii.phone",
    "PRIVATE_KEY": "secret.private_key",
    "UK_NHS": "pii.national_id",
    "US_BANK_NUMBER": "pii.bank_account",
    "US_DRIVER_LICENSE": "pii.license",
    "US_ITIN": "pii.national_id",
    "US_PASSPORT": "pii.passport",
    "US_SSN": "pii.national_id",
}
"""The tag of each entity; any other one, such as a house's own, is ``pii.`` and its name."""

IMPERSONAL = frozenset({"DATE_TIME", "URL", "UUID"})
"""What alone points at nobody."""

CHECKED = frozenset(
    {
        "ACCESS_TOKEN",
        "API_KEY",
        "CONNECTION_STRING",
        "CREDIT_CARD",
        "CRYPTO",
        "EMAIL_ADDRESS",
        "IBAN_CODE",
        "IP_ADDRESS",
        "PRIVATE_KEY",
    }
)
"""What is found by a check sum or a form of its own, so that it says more than a column's name."""

SHARE_MIN, CODE_SHARE_MIN = 0.5, 0.8
"""The part of the values that hold the entity of a column; more where digits look like one."""

RIVAL_SHARE = 0.5
"""With a second entity in more than this part of the values of the first, the text is mixed."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What a column's name says.

    Attributes:
        tag: The tag that it speaks for.
        names: Words as they stand in a name, in lower case and singular.
        kinds: The kinds of values for which it speaks.
    """

    tag: str
    names: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("text", "other")


DIGITS: frozenset[Kind] = frozenset({"number", "time", "flag"})
"""Kinds whose values look like a number of somebody's by chance."""

CODES: tuple[Kind, ...] = ("text", "number", "other")
ANY: tuple[Kind, ...] = ("text", "number", "time", "other")

HINTS = (
    Hint("pii.email", ("email", "e mail", "email address", "mail address")),
    Hint("pii.phone", ("phone", "telephone", "cellphone", "mobile", "fax", "msisdn", "tel"), CODES),
    Hint("pii.birth_date", ("dob", "birth", "birthday", "birthdate", "date of birth", "born"), ANY),
    Hint(
        "pii.national_id",
        ("ssn", "social security", "national id", "nino", "nhs", "itin", "tax id", "personnummer"),
        CODES,
    ),
    Hint("pii.passport", ("passport",), CODES),
    Hint("pii.license", ("driver license", "drivers license", "driving licence"), CODES),
    Hint("pii.card", ("card", "credit card", "creditcard", "card number", "pan"), CODES),
    Hint("pii.bank_account", ("iban", "bank account", "account number", "sort code"), CODES),
    Hint("pii.postcode", ("zip", "zipcode", "postcode", "post code", "postal code", "plz"), CODES),
    Hint("pii.address", ("address", "street")),
    Hint("pii.ip", ("ip", "ip address", "ipaddress", "ip addr"), CODES),
    Hint("pii.device", ("mac address", "macaddress", "imei", "device id"), CODES),
    Hint(
        "pii.person",
        (
            "first name",
            "firstname",
            "given name",
            "last name",
            "lastname",
            "surname",
            "family name",
            "full name",
            "fullname",
            "cardholder",
            "card holder",
            "maiden name",
            "middle name",
        ),
    ),
    Hint("secret.password", ("password", "passwd", "pwd", "passphrase")),
    Hint("secret.api_key", ("api key", "apikey", "private key", "access key", "secret key")),
    Hint("secret.access_token", ("access token", "refresh token", "auth token", "secret")),
)
"""What names say; the longest name that occurs counts, and of equal ones the first."""

SPOKEN = sorted(
    ((name, hint) for hint in HINTS for name in hint.names), key=lambda one: -len(one[0])
)
BORDERS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])"
    r"|[\W_]+"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a column.

    Attributes:
        column: Its name.
        kind: The kind of its values.
        values: How many values were read; NULLs do not count.
        found: In how many of them each entity was found.
    """

    column: ColumnName
    kind: Kind
    values: int = 0
    found: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A proposal.

    Attributes:
        tag: The tag, or empty where nothing speaks for one.
        why: What it rests on, for people.
        hint: The tag that the name alone speaks for, or empty.
    """

    tag: str
    why: str
    hint: str = ""


def suggest(evidence: Evidence) -> Suggestion:
    """Propose a tag for a column, or none.

    An entity with a form of its own, found in most values, decides. Else the name does; else an
    entity that is found in most values. Text in which something was found, but not one thing in
    most of it, is free text. In numbers and codes a few findings are chance, and propose nothing.

    Example:
        >>> from nbgov.model import TableName
        >>> column = ColumnName(TableName("main", "people"), "contact")
        >>> suggest(Evidence(column, "text", 200, {"EMAIL_ADDRESS": 198})).tag
        'pii.email'
        >>> suggest(Evidence(column, "text", 200, {"EMAIL_ADDRESS": 3})).tag
        'pii.free_text'
    """
    hint = hint_of(evidence.column.name, evidence.kind)
    personal = {e: n for e, n in evidence.found.items() if e not in IMPERSONAL}
    leading = leader(evidence, personal)
    if leading and (leading in CHECKED or not hint):
        why = f"{leading} in {personal[leading]:,} of {evidence.values:,} values"
        return Suggestion(ENTITY_TAGS.get(leading, f"pii.{leading.lower()}"), why, hint)
    if hint:
        return Suggestion(hint, "the name of the column", hint)
    if personal and evidence.kind not in DIGITS:
        return Suggestion(FREE_TEXT, f"{listed(personal)} among other text")
    if personal:
        return Suggestion("", "found in few values, as it happens by chance in numbers")
    return Suggestion("", f"nothing found in {evidence.values:,} values")


def leader(evidence: Evidence, personal: Mapping[str, int]) -> str:
    """The one entity that most values hold, or empty."""
    ranked = sorted(personal, key=lambda entity: (-personal[entity], entity))
    if not ranked or not evidence.values:
        return ""
    first, *others = (personal[entity] for entity in ranked)
    is_most = first / evidence.values >= (CODE_SHARE_MIN if evidence.kind in DIGITS else SHARE_MIN)
    is_mixed = bool(others) and others[0] > first * RIVAL_SHARE
    return ranked[0] if is_most and not is_mixed else ""


def hint_of(name: str, kind: Kind) -> str:
    """The tag that a column's name speaks for, or empty.

    Words are told apart by case, digits and punctuation: ``homePhone`` and ``HOME_PHONE`` both hold
    ``phone``, and ``telegram`` does not hold ``tel``. A plural counts as its singular.

    Example:
        >>> hint_of("CustomerEmail", "text"), hint_of("telegram", "text")
        ('pii.email', '')
    """
    words = " ".join(BORDERS.sub(" ", name).lower().split())
    spoken = f" {words} "
    for heard, hint in SPOKEN:
        if kind in hint.kinds and (f" {heard} " in spoken or f" {heard}s " in spoken):
            return hint.tag
    return ""


def listed(found: Mapping[str, int]) -> str:
    """Entities with their counts, the most frequent first."""
    ranked = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{entity} {count:,}" for entity, count in ranked)


def is_masked(policy: Policy, connection: str, column: ColumnName, tag: str) -> bool:
    """Whether some rule that lets people read a column would mask it under a tag.

    Text without a tag is scanned; a tag ends that. So a tag that no rule masks would show more than
    no tag at all.
    """
    return any(
        wanted_masks(rule, tag)
        for rule in policy.document.rules
        if rule.effect == "permit" and "read" in rule.actions and rule.covers(connection, column)
    )
