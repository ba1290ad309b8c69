"""What the columns of a database hold that nobody has classified, seen through governed reads.

Each table costs one statement over its columns without a tag. It runs as the person's own, under
the policy, and stands in the audit log; the findings are those of the content masking that every
result goes through, so no value is read here. What they mean is the business of
:mod:`nbgov.core.policy.suggest`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import ParseError, TokenError, exp

from nbgov.core.masking import holds_text
from nbgov.core.policy import Policy
from nbgov.core.policy.suggest import Evidence, Kind, Suggestion, suggest
from nbgov.core.policy.tags import Classification
from nbgov.errors import ApprovalNeeded, ConfigInvalid, Denied, IdentityFailed, NbgovError
from nbgov.model import (
    ApprovalQuorum,
    Catalog,
    Column,
    ColumnName,
    ContentMask,
    Decision,
    Table,
    TableName,
)
from nbgov.session import Session

ORIGIN = {"surface": "cli", "purpose": "classify"}
FLAGS = {exp.DType.BOOLEAN}
NUMBERS = exp.DataType.NUMERIC_TYPES | {exp.DType.UUID, exp.DType.INTERVAL}
BYTES = {
    exp.DType.BINARY,
    exp.DType.BIT,
    exp.DType.BLOB,
    exp.DType.LONGBLOB,
    exp.DType.MEDIUMBLOB,
    exp.DType.TINYBLOB,
    exp.DType.VARBINARY,
}
BYTES_WHY = "binary values are not read"
BLIND_WHY = "the database did not deliver them as text, so that they were not scanned"


@dataclass(frozen=True, slots=True)
class Seen:
    """A column that was read, and what is proposed for it."""

    evidence: Evidence
    suggestion: Suggestion


@dataclass(frozen=True, slots=True)
class Unread:
    """Columns that were not read.

    Attributes:
        columns: Their names.
        why: The reason, for people.
        code: The error's code, or empty where nothing went wrong.
    """

    columns: tuple[str, ...]
    why: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class TableReport:
    """What was found in the columns of a table that carry no tag.

    Attributes:
        table: The table.
        rows: How many rows were read.
        is_whole: Whether these are all rows that the person may see.
        columns: The columns that were read.
        unread: The columns that were not.
        entities: What was looked for.
        record: Number of the statement in the audit log, if there was one.
    """

    table: TableName
    rows: int = 0
    is_whole: bool = False
    columns: tuple[Seen, ...] = ()
    unread: tuple[Unread, ...] = ()
    entities: tuple[str, ...] = ()
    record: int | None = None


@dataclass
class Reader:
    """Reads the columns of one connection that no tag classifies.

    Args:
        session: The person's session.
        connection: Name of the connection.
        rows_max: Rows to read of a table at most; 0 means all.
    """

    session: Session
    connection: str
    rows_max: int
    policy: Policy = field(init=False)
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        """Look once at the policy and the catalog, so that all tables are judged alike."""
        self.catalog = self.session.catalog(self.connection)
        self.policy = self.session.pipeline.policy()

    def tables(self) -> dict[TableName, tuple[Column, ...]]:
        """The tables with columns that carry no tag, and these columns.

        A column that shows others, as a view's does, gets its tags from them.
        """
        known = Classification(self.policy, self.connection, self.catalog)
        found = {}
        for table in self.catalog.tables.values():
            open_ = tuple(one for one in table.columns if self.is_open(known, table, one.name))
            if open_:
                found[table.name] = open_
        return found

    def is_open(self, known: Classification, table: Table, name: str) -> bool:
        """Whether nobody said what a column holds, and no other column would say it."""
        origins = known.origins(table, name)
        is_shown_elsewhere = bool(origins) and all(o.table in self.catalog.tables for o in origins)
        return not is_shown_elsewhere and not known.is_classified(ColumnName(table.name, name))

    def read(self, table: TableName, columns: Sequence[Column]) -> TableReport:
        """Read the columns of a table, as far as the policy permits.

        Raises:
            ConfigInvalid, IdentityFailed: No table could be read then.
        """
        kinds = {one.name: kind_of(one.type, self.catalog.dialect) for one in columns}
        binary = tuple(name for name, kind in kinds.items() if kind is None)
        unread = [Unread(binary, BYTES_WHY)] if binary else []
        wanted: dict[str, Kind] = {name: kind for name, kind in kinds.items() if kind is not None}
        tried: Mapping[str, Kind] = wanted
        try:
            tried, refused = self.permitted(table, wanted)
            unread += refused
            if tried:
                return self.run(table, tried, tuple(unread))
        except (ConfigInvalid, IdentityFailed):
            raise
        except NbgovError as error:
            unread.append(told(tuple(tried), error))
        return TableReport(table, unread=tuple(unread))

    def permitted(
        self, table: TableName, wanted: Mapping[str, Kind]
    ) -> tuple[Mapping[str, Kind], list[Unread]]:
        """The columns that the person may read, and why not the others. Nothing runs."""
        if not wanted:
            return {}, []
        denial = self.denial(table, wanted)
        if denial is None:
            return wanted, []
        if len(wanted) == 1:
            return {}, [told(tuple(wanted), denial)]
        permitted: dict[str, Kind] = {}
        refused: dict[tuple[str, str], list[str]] = {}
        for name, kind in wanted.items():
            one = self.denial(table, {name: kind})
            if one is None:
                permitted[name] = kind
            else:
                refused.setdefault((reason(one), one.code), []).append(name)
        if permitted and self.denial(table, permitted) is not None:
            # Each may be read, yet not all of them together.
            return {}, [told(tuple(wanted), denial)]
        return permitted, [Unread(tuple(names), *why) for why, names in refused.items()]

    def denial(self, table: TableName, wanted: Mapping[str, Kind]) -> NbgovError | None:
        """Why a statement over some columns would not run."""
        sql = self.statement(table, wanted)
        request = self.session.request(sql, self.connection, {}, origin=ORIGIN)
        decision = self.session.pipeline.check(request).decision
        if not decision.is_permitted:
            return denied(decision)
        if any(isinstance(one, ApprovalQuorum) for one in decision.obligations):
            return ApprovalNeeded("Reading it needs approval.", ticket="")
        return None

    def statement(self, table: TableName, wanted: Mapping[str, Kind]) -> str:
        """The statement that reads some columns, all of them as text."""
        shown: list[exp.Expr] = []
        for name, kind in wanted.items():
            column: exp.Expr = exp.column(name, quoted=True)
            if kind != "text":
                column = exp.alias_(exp.cast(column, "text"), name, quoted=True)
            shown.append(column)
        source = exp.table_(table.name, db=table.schema or None, quoted=True)
        select = exp.select(*shown).from_(source)
        limited = select.limit(self.rows_max) if self.rows_max else select
        return limited.sql(dialect=self.catalog.dialect)

    def run(
        self, table: TableName, wanted: Mapping[str, Kind], unread: tuple[Unread, ...]
    ) -> TableReport:
        """Run the statement, count what was found, and let the rows go."""
        values = dict.fromkeys(wanted, 0)
        sql = self.statement(table, wanted)
        with self.session.sql(sql, self.connection, origin=ORIGIN) as result:
            for batch in result.batches():
                for name, column in zip(wanted, batch.columns, strict=True):
                    values[name] += len(column) - column.null_count
        summary, seen, blind = result.summary, [], []
        for (name, kind), delivered in zip(wanted.items(), result.schema, strict=True):
            if values[name] and not holds_text(delivered.type):
                blind.append(name)
                continue
            found = dict(summary.found.get(delivered.name, {}))
            evidence = Evidence(ColumnName(table, name), kind, values[name], found)
            seen.append(Seen(evidence, suggest(evidence)))
        is_cut = summary.is_truncated or 0 < self.rows_max <= summary.rows_read
        return TableReport(
            table,
            rows=summary.rows_read,
            is_whole=not is_cut,
            columns=tuple(seen),
            unread=(*unread, Unread(tuple(blind), BLIND_WHY)) if blind else unread,
            entities=looked_for(result.decision),
            record=summary.record,
        )


def kind_of(declared: str, dialect: str) -> Kind | None:
    """The kind of a column's values, by its declared type; None for bytes.

    A type that is not understood is ``other``: its values are read as text.
    """
    try:
        type_ = exp.DataType.build(declared, dialect=dialect, udt=True).this
    except (ParseError, TokenError, ValueError):
        return "other"
    if type_ in BYTES:
        return None
    families: tuple[tuple[Kind, set[exp.DType]], ...] = (
        ("text", exp.DataType.TEXT_TYPES),
        ("number", NUMBERS),
        ("time", exp.DataType.TEMPORAL_TYPES),
        ("flag", FLAGS),
    )
    return next((kind for kind, family in families if type_ in family), "other")


def looked_for(decision: Decision) -> tuple[str, ...]:
    """The entities that the content of a result was scanned for."""
    return tuple(
        entity
        for obligation in decision.obligations
        if isinstance(obligation, ContentMask)
        for entity in obligation.entities
    )


def denied(decision: Decision) -> NbgovError:
    """The error that a deny would end in."""
    return Denied(f"{decision.reason}.", code=decision.code)


def reason(error: NbgovError) -> str:
    """Why something was not read, in one line."""
    return f"{error.what} {error.why}".strip()


def told(columns: tuple[str, ...], error: NbgovError) -> Unread:
    """Columns that an error kept from being read."""
    return Unread(columns, reason(error), error.code)
