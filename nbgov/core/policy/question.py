"""One question to a policy: who wants to do what, where, in which circumstances.

A :class:`Question` answers the small things that a decision is made of: which rules are about it,
which masks and row filters a table has for this principal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbgov.core.policy.conditions import Context, facts
from nbgov.core.policy.document import Rule
from nbgov.core.policy.patterns import glob, is_on
from nbgov.core.policy.tags import Classification
from nbgov.model import (
    Action,
    Column,
    ColumnMask,
    ColumnName,
    MaskKind,
    Principal,
    RowFilter,
    Statement,
    Table,
    TableName,
)

STRICTNESS = tuple(MaskKind)
# What a view shows of a masked column may be made of it: the last characters of reverse(x) are the
# first ones of x. So a view inherits the nearest mask that shows no part of the value.
CLOSED = {MaskKind.PARTIAL: MaskKind.REDACT, MaskKind.YEAR: MaskKind.NULL}


@dataclass(frozen=True, slots=True)
class Question(Classification):
    """A statement of a principal on a connection, put to a policy.

    Attributes:
        principal, statement: As :func:`nbgov.core.policy.decide` takes them.
        context: The circumstances.
        answers: What the conditions of rules came to, by rule and action.
        concerned: The rules that were asked for.
    """

    principal: Principal
    statement: Statement
    context: Context
    answers: dict[tuple[str, str], bool | None] = field(default_factory=dict)
    concerned: dict[tuple[str, str, bool], list[Rule]] = field(default_factory=dict)

    # ------------------------------------------------------------ rules

    def condition(self, rule: Rule, action: str) -> bool | None:
        """What the rule's ``when`` comes to: true without one, ``None`` where it failed."""
        compiled = self.policy.conditions.get(rule.id)
        if compiled is None:
            return True
        key = (rule.id, action)
        if key not in self.answers:
            values: Mapping[str, Any] = facts(
                self.principal, self.connection, action, self.statement, self.context
            )
            self.answers[key] = compiled.holds(values)
        return self.answers[key]

    def permits(self, action: str) -> list[Rule]:
        """The permits for an action. A condition that fails permits nothing."""
        return self.rules("permit", action, {True})

    def forbids(self, action: str) -> list[Rule]:
        """The forbids for an action. A condition that fails forbids all the same."""
        return self.rules("forbid", action, {True, None})

    def obliging(self) -> list[Rule]:
        """The permits to read whose masks and row filters hold.

        A condition that fails permits nothing, yet what the rule asks for holds: failing must not
        take a mask away.
        """
        return self.rules("permit", Action.READ, {True, None})

    def rules(self, effect: str, action: str, answers: set[bool | None]) -> list[Rule]:
        """The rules about the principal and an action whose condition comes to one of some."""
        key = (effect, action, None in answers)
        if key not in self.concerned:
            self.concerned[key] = [
                rule
                for rule in self.policy.document.rules
                if rule.effect == effect
                and rule.concerns(self.principal, action)
                and self.condition(rule, action) in answers
            ]
        return self.concerned[key]

    def reading_rules(self) -> dict[str, Rule]:
        """Permits to read anything on the connection, which a statement without tables rests on."""
        found = self.permits(Action.READ)
        return {r.id: r for r in found if any(is_on(self.connection, text) for text in r.on)}

    # ------------------------------------------------------------ masks and filters of a table

    def masks(self, table: Table) -> Iterator[ColumnMask]:
        """Masks of one table, for every column of it, read or not.

        A table is read through one projection wherever it is named, so that a predicate on a masked
        column sees the masked value.
        """
        names = (table.name, *relatives(table))
        rules = [
            rule
            for rule in self.obliging()
            if rule.obligations.masks
            and any(rule.covers_table(self.connection, name) for name in names)
        ]
        for column in table.columns if rules else ():
            yield from self.masks_of(table, column, rules)

    def masks_of(self, table: Table, column: Column, rules: list[Rule]) -> Iterator[ColumnMask]:
        """Masks of one column, by rules that cover it or one of its origins."""
        name = ColumnName(table.name, column.name)
        tags = self.tags(name)
        if not tags:
            return
        shown = {name, *self.origins(table, column.name)}
        for rule in rules:
            if not any(rule.covers(self.connection, one) for one in shown):
                continue
            for tag in tags:
                is_made = tag.source != name and table.kind == "view"
                for kind in wanted_masks(rule, tag.name):
                    yield ColumnMask(name, CLOSED.get(kind, kind) if is_made else kind, tag.name)

    def masked_choosers(self, table: Table) -> list[ColumnName]:
        """The base columns that choose the rows of a view and are masked for the principal.

        Empty where the policy declassifies every column of the view by name.
        """
        names = [ColumnName(table.name, column.name) for column in table.columns]
        if not table.row_origins or all(
            self.policy.is_declassified(self.connection, name) for name in names
        ):
            return []
        rules = [rule for rule in self.obliging() if rule.obligations.masks]
        return [
            chooser
            for chooser in sorted(table.row_origins)
            for rule in rules
            if any(rule.covers(self.connection, name) for name in (chooser, *names))
            and any(
                wanted_masks(rule, tag) for tag in self.policy.tags_of(self.connection, chooser)
            )
        ]

    def row_filters(self, table: Table) -> Iterator[RowFilter]:
        """Row filters of one table, those of the tables that it shares rows with among them."""
        for rule in self.obliging():
            predicate = rule.obligations.row_filter
            if predicate is not None and self.filters(rule, table):
                yield RowFilter(table.name, predicate)

    def filters(self, rule: Rule, table: Table) -> bool:
        """Whether a rule's row filter is for a table, or for one that it shares rows with."""
        names = (ColumnName(table.name, column.name) for column in table.columns)
        if rule.covers_table(self.connection, table.name) and any(
            rule.covers(self.connection, name) for name in names
        ):
            return True
        return table.kind == "table" and any(
            rule.covers_table(self.connection, relative) for relative in relatives(table)
        )

    def filtered_sources(self, table: Table) -> list[TableName]:
        """The tables behind a view that have a row filter for the principal."""
        rules = [rule for rule in self.obliging() if rule.obligations.row_filter is not None]
        return [
            source
            for source in relatives(table)
            if any(rule.covers_table(self.connection, source) for rule in rules)
        ]


def relatives(table: Table) -> list[TableName]:
    """The tables whose rows a table shows or chooses by: parents, partitions, a view's sources."""
    columns = frozenset().union(*table.origins.values(), table.row_origins)
    named = {*table.parents, *table.sources, *(column.table for column in columns)}
    return sorted(named - {table.name})


def wanted_masks(rule: Rule, tag: str) -> list[MaskKind]:
    """The masks that a rule puts on a tag."""
    return [k for wanted, k in rule.obligations.masks.items() if glob(wanted).fullmatch(tag)]
