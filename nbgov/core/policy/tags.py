"""What columns carry: their own tags, and those of the columns that they show.

A view, a partition and an heir show the rows of other tables, so they inherit what those carry
(:attr:`~nbgov.model.Table.origins`), unless the policy declassifies a column by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nbgov.core.policy.document import PUBLIC, Policy
from nbgov.model import Catalog, ColumnName, Table


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of a column, and the column that it comes from: the column itself, or an origin."""

    name: str
    source: ColumnName


@dataclass(frozen=True, slots=True)
class Classification:
    """The tags of a policy, on the columns of a connection."""

    policy: Policy
    connection: str
    catalog: Catalog

    def origins(self, table: Table, name: str) -> frozenset[ColumnName]:
        """The base columns that a column shows, itself left out.

        A column that the policy declassifies by name shows nothing that has to be hidden.
        """
        own = ColumnName(table.name, name)
        found = table.origins.get(name, frozenset()) | {
            ColumnName(parent, name) for parent in table.parents
        }
        if not found or self.policy.is_declassified(self.connection, own):
            return frozenset()
        return found - {own}

    def tags(self, column: ColumnName) -> tuple[Tag, ...]:
        """The tags of a column: its own, then those of its origins.

        What is made of public columns alone is public.
        """
        own = self.policy.tags_of(self.connection, column)
        found = {tag: Tag(tag, column) for tag in own}
        table = self.catalog.tables.get(column.table)
        origins = sorted(self.origins(table, column.name)) if table is not None else []
        of_origins = {origin: self.policy.tags_of(self.connection, origin) for origin in origins}
        for origin, tags in of_origins.items():
            for tag in tags:
                if tag != PUBLIC or all(PUBLIC in others for others in of_origins.values()):
                    found.setdefault(tag, Tag(tag, origin))
        return tuple(found.values())

    def is_classified(self, column: ColumnName) -> bool:
        """Whether somebody said what the column holds: by its own tags, or by those of all origins.

        An untraced view or foreign table has no origins that one could rely on.
        """
        if self.policy.tags_of(self.connection, column):
            return True
        table = self.catalog.tables.get(column.table)
        origins = self.origins(table, column.name) if table is not None else frozenset()
        return bool(origins) and all(
            self.policy.tags_of(self.connection, origin) for origin in origins
        )

    def hidden_tags(self, columns: Iterable[ColumnName]) -> dict[str, ColumnName]:
        """Every tag but ``public`` that one of the columns carries, and the first that does."""
        found: dict[str, ColumnName] = {}
        for column in sorted(columns):
            for tag in self.tags(column):
                if tag.name != PUBLIC:
                    found.setdefault(tag.name, column)
        return found

    def is_public(self, column: ColumnName) -> bool:
        """Whether a column is called public, and nothing that it shows is called anything else."""
        return {tag.name for tag in self.tags(column)} == {PUBLIC}
