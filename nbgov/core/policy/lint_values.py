"""What a policy is held against when it is looked through, and what a problem is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from nbgov.core.policy.patterns import is_on, part_name, pattern, resource_name
from nbgov.model import Catalog, Column, Principal, Table


@dataclass(frozen=True, slots=True)
class LintProblem:
    """One thing that is wrong.

    Attributes:
        code: ``P`` and three digits; it never changes its meaning.
        place: Where in the policy, such as ``rules.analysts-read.on``.
        message: What is wrong.
        next_step: What to do about it.
        is_error: Whether it is wrong for certain; a remark may be meant.
    """

    code: str
    place: str
    message: str
    next_step: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a policy is held against.

    Attributes:
        connections: Names of all connections; nothing where they are not known.
        catalogs: What connections hold; those that could not be asked are left out.
        principals: Everybody who is declared; nothing where they are not known.
    """

    connections: frozenset[str] = frozenset()
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    principals: tuple[Principal, ...] = ()

    def tables(self, text: str) -> Iterator[tuple[str, Table]]:
        """The tables that the table part of a pattern matches, with their connection."""
        one = pattern(text).table
        for connection, catalog in self.catalogs.items():
            for table in catalog.tables.values():
                if one.fullmatch(resource_name(connection, table.name)):
                    yield connection, table

    def columns(self, text: str) -> Iterator[tuple[str, Table, Column]]:
        """The columns that a pattern matches."""
        one = pattern(text).column
        for connection, table in self.tables(text):
            for column in table.columns:
                if one is None or one.fullmatch(part_name(column.name)):
                    yield connection, table, column

    def is_asked(self, text: str) -> bool:
        """Whether the catalogs of all connections that a pattern may be about are known."""
        names = {name for name in self.connections if is_on(name, text)}
        names |= {name for name in self.catalogs if is_on(name, text)}
        return bool(names) and names <= self.catalogs.keys()

    def is_elsewhere(self, text: str) -> bool:
        """Whether a pattern is about no connection that there is."""
        names = self.connections | self.catalogs.keys()
        return bool(self.connections) and not any(is_on(name, text) for name in names)
