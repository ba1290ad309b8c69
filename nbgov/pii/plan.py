"""What happens to each column of a table, decided from names alone, before any value is seen.

A column that somebody named or tagged is masked unread: nothing can leak from it, however poor a
detector is. Every other column is scanned, whole. Nothing here reads data. The cases are in
``tests/pii/test_plan.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nbgov.core.masks import Operator, parse_operator
from nbgov.core.policy import PUBLIC, Policy
from nbgov.core.policy.document import ContentTerms
from nbgov.core.policy.obligations import strictness
from nbgov.core.policy.patterns import COLUMN_PARTS, glob, part_name
from nbgov.core.policy.question import wanted_masks
from nbgov.core.presets import text_operator
from nbgov.errors import RequestInvalid
from nbgov.model import ColumnName, ContentMask, MaskKind, TableName

KEEP = Operator("keep")
NULL = Operator("null")
REDACT = Operator("redact")
TABLE = "connection.schema.table"
ANYWHERE = ("*", "*", "*")


@dataclass(frozen=True, slots=True)
class Treatment:
    """What happens to one column.

    Attributes:
        how: ``kept`` as it is, ``masked`` whole by an operator, ``scanned`` for PII, or
            ``redacted`` because it could not be scanned.
        operator: What masks it, or ``None``.
        why: Who asked for it, in a few words; empty for a column that nobody named.
        domain: Equal values of one domain read alike under every operator: the tag, or the name.
        otherwise: What masks it where ``operator`` does not fit its type; ``None`` is an error.
    """

    how: Literal["kept", "masked", "scanned", "redacted"]
    operator: Operator | None = None
    why: str = ""
    domain: str = ""
    otherwise: Operator | None = None


SCANNED = Treatment("scanned")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller asks for, before it is held against the columns of a table.

    Attributes:
        content: What to look for in columns that nobody named, and what to put in its place.
        policy: Tags columns, or ``None``.
        table: Connection and table that the policy's patterns are held against, or ``None`` where
            only columns are known.
        columns: Operators by the name of a column.
    """

    content: ContentMask
    policy: Policy | None
    table: tuple[str, TableName] | None
    columns: Mapping[str, Operator]


def terms(
    names: Sequence[str],
    *,
    source: Policy | str,
    table: str,
    operators: Mapping[str, str],
    entities: Sequence[str] | None,
    threshold: float | None,
    language: str | None,
) -> Terms:
    """Put together what a caller asks for.

    Args:
        names: The columns of the table. What ``operators`` names beside these is an entity.
        source: A policy, or the name of a preset.
        table: ``connection.schema.table``, or empty.
        operators: Operator by column or entity.
        entities: What to look for instead of what ``source`` says.
        threshold: The lowest score that counts, instead of what ``source`` says.
        language: The language of text, instead of what ``source`` says.

    Raises:
        ConfigInvalid: There is no such preset (``preset-unknown``), or no such operator
            (``operator-invalid``).
        RequestInvalid: ``table`` has not three parts (``usage``).
    """
    policy = source if isinstance(source, Policy) else None
    content = source.content if isinstance(source, Policy) else ContentTerms(source).mask()
    parsed = {name: parse_operator(text) for name, text in operators.items()}
    columns = {name: one for name, one in parsed.items() if name in names}
    of_entities = {name: text_operator(operators[name]) for name in parsed if name not in names}
    kept = {name for name, one in of_entities.items() if one == KEEP}
    wanted = dict.fromkeys([*(content.entities if entities is None else entities), *of_entities])
    chosen = {**dict(content.operators), **{n: one.text for n, one in of_entities.items()}}
    content = ContentMask(
        entities=tuple(name for name in wanted if name not in kept),
        score_min=content.score_min if threshold is None else threshold,
        language=language or content.language,
        operators=tuple((n, text) for n, text in chosen.items() if n in wanted and n not in kept),
    )
    return Terms(content, policy, split(table), columns)


def split(table: str) -> tuple[str, TableName] | None:
    """The connection and the table of ``connection.schema.table``.

    Raises:
        RequestInvalid: It has not three parts (``usage``).
    """
    if not table:
        return None
    parts = table.split(".")
    if len(parts) != len(ANYWHERE) or not all(parts):
        raise RequestInvalid(
            f"There is no table {table!r}.",
            code="usage",
            why="the patterns of a policy are held against three names",
            next_step=f"write {TABLE}, or leave it out",
        )
    return parts[0], TableName(parts[1], parts[2])


def plan(
    names: Sequence[str], terms: Terms, redacted: Collection[str] = ()
) -> tuple[Treatment, ...]:
    """What happens to each column, in order.

    Args:
        names: The columns; a name may occur twice.
        terms: What the caller asks for.
        redacted: Columns to redact unread.
    """
    return tuple(
        Treatment("redacted", REDACT, "asked for") if name in redacted else treat(name, terms)
        for name in names
    )


def treat(name: str, terms: Terms) -> Treatment:
    """What happens to one column: what ``operators`` says, else its tags, else it is scanned."""
    named = terms.columns.get(name)
    if named is not None:
        how: Literal["kept", "masked"] = "kept" if named == KEEP else "masked"
        return Treatment(how, named, "operators", name)
    tags = tags_of(name, terms)
    hidden = [tag for tag in tags if tag != PUBLIC]
    if terms.policy is not None and hidden:
        tag, operator = strictest(hidden, terms.policy)
        return Treatment("masked", operator, f"tag {tag}", tag, otherwise=NULL)
    if tags:
        return Treatment("kept", KEEP, f"tag {PUBLIC}", name)
    return SCANNED if terms.content.entities else Treatment("kept", KEEP, "no entities", name)


def tags_of(name: str, terms: Terms) -> tuple[str, ...]:
    """The tags of a column.

    Where the table is not known, the last part of a pattern decides. Only ``public`` must then be
    said of every table, as nobody knows whether it was said of this one.
    """
    if terms.policy is None:
        return ()
    if terms.table is not None:
        connection, table = terms.table
        return terms.policy.tags_of(connection, ColumnName(table, name))
    return tuple(
        tag
        for tag, patterns in terms.policy.document.tags.items()
        if any(tags(pattern, part_name(name), tag) for pattern in patterns)
    )


def tags(pattern: str, column: str, tag: str) -> bool:
    """Whether a pattern tags a column of a table that is not known."""
    parts = pattern.lower().split(".")
    # Security: a harmless column of one table must not clear its namesake in another.
    if tag == PUBLIC and tuple(parts[:-1]) != ANYWHERE:
        return False
    assert len(parts) == COLUMN_PARTS, "the policy decodes no other pattern of a tag"
    return glob(parts[-1]).fullmatch(column) is not None


def strictest(hidden: Sequence[str], policy: Policy) -> tuple[str, Operator]:
    """The tag with the strictest mask, and the operator that stands for it.

    A tag counts with the strictest mask that any rule puts on it, whoever the rule is about. One
    that no rule masks is redacted: it is no secret to somebody, but nobody said to whom.
    """

    def kind(tag: str) -> MaskKind:
        kinds = [one for rule in policy.document.rules for one in wanted_masks(rule, tag)]
        return min(kinds, key=strictness, default=MaskKind.REDACT)

    tag = min(hidden, key=lambda one: strictness(kind(one)))
    return tag, parse_operator(kind(tag).value)
