"""What a principal sees of a catalog: each column is asked for on paper, and the answers kept.

No policy is read here. The pipeline decides, as it does for a statement that somebody runs, so that
what is proven or installed cannot differ from what is enforced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nbgov.backends.memory import memory_world
from nbgov.core.harden import Exposure
from nbgov.core.offline import OfflineEngine
from nbgov.core.rewrite.masks import quote, quoted
from nbgov.core.statement.views import compose
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import (
    Catalog,
    ColumnName,
    Decision,
    EngineOpinion,
    MaskKind,
    Principal,
    Request,
    RowFilter,
    TableName,
)
from nbgov.pipeline import Pipeline
from nbgov.ports import PolicySource


def expose(
    catalog: Catalog, connection: str, policy: PolicySource, principal: Principal
) -> Exposure:
    """What a principal sees of a catalog.

    Args:
        catalog: What the connection holds, whole.
        connection: Its name, which the policy's patterns match.
        policy: The policy.
        principal: Who would ask.

    Raises:
        ConfigInvalid: The policy is not valid.
    """
    desk = Desk(catalog, connection, policy, principal)
    masks: dict[ColumnName, MaskKind] = {}
    filters: dict[tuple[TableName, str], None] = {}
    hidden: set[ColumnName] = set()
    shown: set[ColumnName] = set()
    for table in compose(catalog).tables.values():
        for column in table.columns:
            name = ColumnName(table.name, column.name)
            decision = desk.ask(name)
            if decision is None:
                hidden.add(name)
                continue
            kinds = {one.column: one.kind for one in decision.masks}
            filters |= {
                (one.table, one.predicate): None
                for one in decision.obligations
                if isinstance(one, RowFilter)
            }
            if name in kinds:
                masks[name] = kinds[name]
            elif table.kind == "view":
                shown |= table.origins.get(column.name, frozenset())
    return Exposure(masks, tuple(filters), frozenset(hidden), frozenset(shown))


@dataclass
class Desk:
    """Decides about columns on paper."""

    catalog: Catalog
    connection: str
    policy: PolicySource
    principal: Principal

    def __post_init__(self) -> None:
        paper = OfflineEngine(self.catalog, lambda _: EngineOpinion(statements=1))
        ports = memory_world({self.connection: paper}, policy="", principals=[self.principal])
        self.pipeline = Pipeline(replace(ports, policy=self.policy), session="paper")

    def ask(self, column: ColumnName) -> Decision | None:
        """The permit to read a column, or ``None``."""
        dialect = self.catalog.dialect
        text = f"SELECT {quote(column.name, dialect)} FROM {quoted(column.table, dialect)}"  # noqa: S608
        try:
            decision = self.pipeline.check(Request(self.connection, text)).decision
        except (Denied, RequestInvalid):
            return None
        return decision if decision.is_permitted else None
