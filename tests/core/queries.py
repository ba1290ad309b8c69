"""Random queries over two small tables, for properties that hold for every query."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import duckdb
from hypothesis import strategies as st

from nbgov.model import Catalog, Column, ColumnName, Table, TableName

COLUMNS = {"t": ("id", "a", "b", "c"), "u": ("id", "a", "d")}
ROWS: dict[str, list[tuple[int | None, ...]]] = {
    "t": [(1, 5, None, 2), (2, 4, 1, None), (3, None, 1, 2), (4, 5, 2, 0), (5, 1, 0, 1)],
    "u": [(1, 5, 1), (2, None, 2), (2, 1, None), (6, 2, 2)],
}
CHANGED = 7
# Columns of both tables, as a join of them names them.
BOTH = ("t.id", "u.a", "b", "c", "d", "t.a")

Draw = Callable[[Any], Any]


def make_catalog(dialect: str) -> Catalog:
    """The two tables."""
    names = {name: TableName("main", name) for name in COLUMNS}
    tables = {
        names[name]: Table(names[name], tuple(Column(c, "INTEGER") for c in columns))
        for name, columns in COLUMNS.items()
    }
    return Catalog(dialect, "main", tables)


def rows(table: str, changed: frozenset[ColumnName]) -> list[tuple[int | None, ...]]:
    """The rows of a table, where the values of some columns are others, NULL stays NULL."""
    keep = [ColumnName(TableName("main", table), c) not in changed for c in COLUMNS[table]]
    return [
        tuple(
            value if kept or value is None else (value * 31 + place * CHANGED) % 11
            for value, kept in zip(row, keep, strict=True)
        )
        for place, row in enumerate(ROWS[table])
    ]


def connect(dialect: str, changed: frozenset[ColumnName] = frozenset()) -> Any:
    """A database with the two tables."""
    connection: Any = (
        sqlite3.connect(":memory:") if dialect == "sqlite" else duckdb.connect(":memory:")
    )
    for name, columns in COLUMNS.items():
        connection.execute(f"CREATE TABLE {name}({', '.join(c + ' INTEGER' for c in columns)})")
        marks = ", ".join("?" for _ in columns)
        connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows(name, changed))
    return connection


def pick(draw: Draw, *choices: str) -> str:
    """One of some texts."""
    chosen: str = draw(st.sampled_from(choices))
    return chosen


class Grammar:
    """Draws a query that an engine understands more often than not."""

    def __init__(self, draw: Draw, dialect: str) -> None:
        self.draw = draw
        self.dialect = dialect
        self.size = 0

    def pick(self, *choices: str) -> str:
        """One of some texts."""
        self.size += 1
        return pick(self.draw, *choices)

    def is_small(self) -> bool:
        """Whether there is room for more."""
        return self.size < 60

    def query(self, width: int = 0) -> str:
        """A query; of so many plain columns if a width is given."""
        kind = self.pick("select", "select", "select", "with", "set", "recursive")
        if kind == "with" and self.is_small():
            inner = self.query(2)
            name = self.pick("w", "t")
            return f"WITH {name}(a, b) AS ({inner}) {self.select(width, name)}"
        if kind == "set" and self.is_small():
            count = width or 2
            word = self.pick("UNION", "UNION ALL", "EXCEPT", "INTERSECT")
            return f"{self.select(count)} {word} {self.select(count)}"
        if kind == "recursive" and self.is_small():
            item, source = self.pick("a", "b"), "t"
            return (
                f"WITH RECURSIVE r(a, b) AS (SELECT id, {item} FROM {source} UNION ALL "
                f"SELECT a + 1, b FROM r WHERE a < 4) {self.select(width, 'r')}"
            )
        return self.select(width)

    def select(self, width: int = 0, source: str = "") -> str:
        """One SELECT."""
        relation, names = self.relation(source)
        is_grouped = self.pick("", "", "", "y") == "y"
        count = width or len(self.pick("x", "xx", "xxx"))
        items = [self.value(names) for _ in range(count)]
        if is_grouped:
            keys = [self.column(names)]
            items = [keys[0], *(self.aggregate(names) for _ in range(count - 1))][:count]
            tail = f" GROUP BY {keys[0]}" + self.pick("", f" HAVING {self.aggregate(names)} > 1")
        else:
            tail = self.pick("", "", f" ORDER BY {self.column(names)}")
            if not width and self.pick("", "", "*") == "*":
                items = [self.star()]
        if width or is_grouped:
            tail = tail.split(" ORDER BY")[0]
        where = self.pick("", f" WHERE {self.condition(names)}")
        aliased = [f"{item} AS x{place}" for place, item in enumerate(items)]
        is_star = items[0].startswith(("*", "COLUMNS"))
        shown = items if is_star else aliased
        distinct = self.pick("", "", "", "DISTINCT ")
        return f"SELECT {distinct}{', '.join(shown)} FROM {relation}{where}{tail}"

    def star(self) -> str:
        """A star, with changes where the engine has them."""
        if self.dialect == "sqlite":
            return "*"
        return self.pick("*", "* EXCLUDE (a)", "* REPLACE (a + 1 AS a)", "* RENAME (a AS z)",
                         "COLUMNS('a|b')", "COLUMNS('^[ab]$')")  # fmt: skip

    def relation(self, source: str) -> tuple[str, tuple[str, ...]]:
        """A FROM clause, with names of columns that it has."""
        if source:
            return self.pick(source, f"{source} AS q"), ("a", "b")
        kinds = ["t", "u", "t AS q", "derived", "values", "comma", "on", "left", "using", "natural"]
        kind = self.pick(*kinds) if self.is_small() else "t"
        if kind == "derived":
            return f"({self.query(2)}) AS q", ("x0", "x1")
        if kind in {"on", "left"}:
            word = "LEFT JOIN" if kind == "left" else "JOIN"
            return f"t {word} u ON {self.condition(('t.a', 'u.a', 'b', 'd'))}", BOTH
        plain: dict[str, tuple[str, tuple[str, ...]]] = {
            "t": ("t", ("id", "a", "b", "c")),
            "t AS q": ("t AS q", ("id", "q.a", "b", "c")),
            "u": ("u", ("id", "a", "d")),
            "values": ("t, (VALUES (1), (2)) AS v", ("id", "a", "b")),
            "comma": ("t, u", BOTH),
            "using": ("t JOIN u USING (id, a)", BOTH),
            "natural": ("t NATURAL JOIN u", BOTH),
        }
        return plain[kind]

    def column(self, names: tuple[str, ...]) -> str:
        """A column."""
        return self.pick(*names)

    def aggregate(self, names: tuple[str, ...]) -> str:
        """An aggregate."""
        call = self.pick("sum", "count", "min", "count")
        inner = self.pick(self.column(names), f"nullif({self.column(names)}, {self.column(names)})")
        filtered = self.pick("", "", f" FILTER (WHERE {self.column(names)} > 1)")
        return self.pick(f"{call}({inner}){filtered}", "count(*)", f"count(DISTINCT {inner})")

    def value(self, names: tuple[str, ...]) -> str:
        """An expression."""
        one, two = self.column(names), self.column(names)
        kind = self.pick("column", "case", "sum", "case", "window", "scalar", "exists", "null")
        if kind in {"scalar", "exists"} and self.is_small():
            outer = self.pick("1", two)
            if kind == "scalar":
                return f"(SELECT max(d) FROM u WHERE u.d >= {outer})"
            return f"EXISTS (SELECT {one} FROM u AS e WHERE e.d = {two})"
        return {
            "sum": f"({one} + coalesce({two}, 0))",
            "case": f"CASE WHEN {self.condition(names)} THEN {one} ELSE {two} END",
            "window": f"sum({one}) OVER (PARTITION BY {two})",
            "null": f"({one} IS NULL)",
        }.get(kind, one)

    def condition(self, names: tuple[str, ...]) -> str:
        """A condition."""
        one, two = self.column(names), self.column(names)
        kind = self.pick("less", "null", "and", "in", "equal")
        if kind == "and" and self.is_small():
            return f"({self.condition(names)} {self.pick('AND', 'OR')} {self.condition(names)})"
        if kind == "in" and self.is_small():
            return f"{one} IN ({self.query(1)})"
        return {"null": f"{one} IS NOT NULL", "equal": f"{one} = {two}"}.get(kind, f"{one} < 3")


@st.composite
def queries(draw: Draw, dialect: str) -> str:
    """A query over t and u."""
    return Grammar(draw, dialect).query()
