"""What a person is shown of dataset versions: lists, one version, and the history of a name.

Text for terminals, HTML for notebooks, and values for JSON are made of the same rows, so that all
three say the same. Of a column that is not open, no value is shown, whatever its profile holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nbgov.core.checks import counted
from nbgov.core.dataset_log import Step, history
from nbgov.core.datasets import rows_key
from nbgov.model import DatasetVersion, Delivery
from nbgov.model.dataset import OPEN
from nbgov.session import Session
from nbgov.shown.grids import grid_html, grid_text, wrapped_html
from nbgov.shown.render import facts_text, rows_html

SHORT = 8
READS_SHOWN_MAX = 10
LISTED = ("dataset", "version", "rows", "columns", "last read", "by", "versions", "statement")
LOGGED = ("version", "first read", "last read", "reads", "by", "rows", "what changed")
COLUMNS = ("column", "type", "level", "missing", "distinct", "range", "mask", "tags", "shows")
SOURCES = ("table", "changed", "state", "kind")
READS = ("read", "by", "record", "rules", "ticket")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts with a title; with ``is_wrapped`` the last column may take several lines."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str | int]]
    is_wrapped: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is shown of one thing: facts, then tables.

    Attributes:
        title: What it is of.
        facts: Labelled facts.
        grids: Tables; an empty one is left out.
        data: The same as values for JSON.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    grids: Sequence[Grid]
    data: Any

    def text(self, width: int = 100) -> str:
        """The sheet as text."""
        parts = [facts_text(self.title, self.facts) if self.facts else self.title]
        for grid in self.grids:
            if grid.rows:
                head = [grid.title] if grid.title else []
                table = grid_text(grid.heads, grid.rows, width=width, is_wrapped=grid.is_wrapped)
                parts.append("\n".join([*head, table]))
        return "\n\n".join(part for part in parts if part)

    def html(self) -> str:
        """The sheet as HTML."""
        parts = [rows_html(self.facts)] if self.facts else []
        parts += [
            grid_html(g.title, g.heads, g.rows, is_wrapped=g.is_wrapped)
            for g in self.grids
            if g.rows
        ]
        return wrapped_html(self.title, "".join(parts))


def listing(session: Session) -> Sheet:
    """Every dataset with the version that was delivered last, the newest first."""
    reads: dict[str, list[Delivery]] = {}
    for delivery in session.deliveries():
        reads.setdefault(delivery.name, []).append(delivery)
    rows, data = [], []
    for name, found in reads.items():
        last, count = found[0], len({one.version_id for one in found})
        version = session.world.datasets.version(last.version_id)
        assert version is not None
        rows.append(
            (
                name,
                version.version_id[:SHORT],
                version.rows,
                len(version.columns),
                moment(last.at),
                last.principal,
                count,
                version.statement,
            )
        )
        columns = [column for column, *_ in version.columns]
        told = {"columns": columns, "versions": count, "last_read": delivery_data(last)}
        data.append(version_data(version) | told)
    title = "" if rows else "No dataset was delivered yet."
    return Sheet(title, (), [Grid("", LISTED, rows)], data)


def log(session: Session, name: str) -> Sheet:
    """The history of a dataset, newest version first.

    Raises:
        RequestInvalid: There is no dataset of the name.
    """
    name = name if session.deliveries(name) else session.dataset(name).name
    steps = steps_of(session, name)
    rows = [
        (
            step.version.version_id[:SHORT],
            moment(step.first_at),
            moment(step.last_at),
            len(step.deliveries),
            ", ".join(dict.fromkeys(one.principal for one in step.deliveries)),
            step.version.rows,
            "; ".join(step.changes),
        )
        for step in steps
    ]
    title = f"{name}: {counted(len({s.version.version_id for s in steps}), 'version')}"
    grid = Grid("", LOGGED, rows, is_wrapped=True)
    return Sheet(title, (), [grid], [step_data(step) for step in steps])


def shown(session: Session, reference: str) -> Sheet:
    """One dataset version: what it was, what it was read from, and who got it.

    Raises:
        RequestInvalid: The reference means none, or more than one.
    """
    version = session.dataset(reference)
    reads = [d for d in session.deliveries(version.name) if d.version_id == version.version_id]
    steps = steps_of(session, version.name)
    parent = next((s.parent for s in steps if s.version.version_id == version.version_id), "")
    is_kept = session.world.rows.holds(rows_key(version))
    columns = [*column_rows(version)]
    sources = reads[0].sources if reads else ()
    data = version_data(version) | {
        "parent": parent,
        "rows_kept": is_kept,
        "columns": [dict(zip(COLUMNS, row, strict=True)) for row in columns],
        "deliveries": [delivery_data(one) for one in reads],
    }
    grids = (
        Grid("Columns", COLUMNS, columns),
        Grid(
            "Sources, as of the last read",
            SOURCES,
            [(s.table, moment(s.changed_at), s.mark, s.kind) for s in sources],
        ),
        Grid(
            f"Reads: {len(reads):,}",
            READS,
            [
                (moment(d.at), d.principal, d.record, ", ".join(d.rules), d.ticket)
                for d in reads[:READS_SHOWN_MAX]
            ],
        ),
    )
    title = f"{version.name}@v{version.version_id[:SHORT]}"
    return Sheet(title, [*version_facts(version, parent, is_kept=is_kept)], grids, data)


def version_facts(
    version: DatasetVersion, parent: str, *, is_kept: bool
) -> Iterator[tuple[str, str]]:
    """The facts of a version, in the order in which people ask for them."""
    yield "version", version.version_id
    yield "content", version.content_id
    yield "size", f"{counted(version.rows, 'row')}, {counted(len(version.columns), 'column')}"
    yield "read from", f"{version.connection}: {', '.join(version.tables) or 'no table'}"
    yield "statement", version.statement
    if version.binds:
        yield "values", ", ".join(version.binds)
    yield "policy", version.policy[:12]
    yield "before it", parent[:SHORT] or "nothing of this name"
    yield "rows", "kept, and can be read again" if is_kept else "not kept"


def column_rows(version: DatasetVersion) -> Iterator[tuple[str | int, ...]]:
    """What is told of each column, one row for each of :data:`COLUMNS`."""
    profiles = {one["name"]: one for one in version.profile.get("columns", ())}
    for name, kind, _, nonnull in version.columns:
        profile = profiles.get(name, {})
        distinct = profile.get("distinct")
        yield (
            name,
            kind,
            str(profile.get("level", "")),
            version.rows - nonnull,
            "" if distinct is None else distinct,
            bounds(profile),
            version.masked.get(name, "").partition(" ")[0],
            ", ".join(version.tags.get(name, ())),
            ", ".join(version.origins.get(name, ())),
        )


def bounds(profile: Mapping[str, Any]) -> str:
    """The least and the greatest value of a column that is open.

    >>> bounds({"level": "open", "min": 1, "max": 2.5}), bounds({"level": "internal", "min": 1})
    ('1 to 2.5', '')
    """
    # Security: only what is public may be told where anybody looks.
    if profile.get("level") != OPEN or profile.get("min") is None:
        return ""
    low, high = (str(profile[key]).removesuffix("T00:00:00") for key in ("min", "max"))
    return low if low == high else f"{low} to {high}"


def steps_of(session: Session, name: str) -> tuple[Step, ...]:
    """The history of one dataset."""
    deliveries = session.deliveries(name)
    found = {one: session.world.datasets.version(one) for one in {d.version_id for d in deliveries}}
    return history(deliveries, {one: version for one, version in found.items() if version})


def moment(at: datetime | None) -> str:
    """A moment for people, or nothing."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else ""


def version_data(version: DatasetVersion) -> dict[str, Any]:
    """A version as values for JSON, without its profile."""
    return {
        "version_id": version.version_id,
        "content_id": version.content_id,
        "schema_id": version.schema_id,
        "name": version.name,
        "connection": version.connection,
        "dialect": version.dialect,
        "tables": list(version.tables),
        "statement": version.statement,
        "binds": list(version.binds),
        "policy": version.policy,
        "rows": version.rows,
        "masked": dict(version.masked),
    }


def step_data(step: Step) -> dict[str, Any]:
    """A step as values for JSON."""
    return version_data(step.version) | {
        "columns": [name for name, *_ in step.version.columns],
        "parent": step.parent,
        "changes": list(step.changes),
        "first_read": step.first_at.isoformat(),
        "last_read": step.last_at.isoformat(),
        "reads": len(step.deliveries),
        "principals": list(dict.fromkeys(one.principal for one in step.deliveries)),
    }


def delivery_data(delivery: Delivery) -> dict[str, Any]:
    """A delivery as values for JSON."""
    return {
        "read_id": delivery.read_id,
        "principal": delivery.principal,
        "at": delivery.at.isoformat(),
        "rules": list(delivery.rules),
        "record": delivery.record,
        "receipt": delivery.receipt,
        "ticket": delivery.ticket,
        "policy_revision": delivery.policy_revision,
        "sources": [
            {
                "table": one.table,
                "kind": one.kind,
                "mark": one.mark,
                "changed_at": one.changed_at.isoformat() if one.changed_at else None,
                "snapshot": one.snapshot,
            }
            for one in delivery.sources
        ],
    }
