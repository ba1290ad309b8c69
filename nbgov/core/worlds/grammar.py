"""Statements over any catalog: a grammar whose every choice is left to chance.

It writes what people write, and what somebody writes who wants to know a value that is masked: the
value as a literal, in a pattern, as a sort key, as a group, behind a join, a name or a whole row.
"""

from __future__ import annotations

from collections.abc import Sequence

from nbgov.core.worlds.expressions import ANY_KIND, Field, Writer
from nbgov.core.worlds.parts import (
    METADATA,
    NEEDS_ORDER,
    SUMMARIES,
    WRITES,
    Query,
    Source,
    fields_of,
    is_in,
    named,
)
from nbgov.core.worlds.schema import full_name, quote
from nbgov.core.worlds.values import Chance, Kind, kind_of
from nbgov.model import Catalog, Table

DEPTH_MAX = 2


def statement(chance: Chance, catalog: Catalog, *, is_opaque: bool = False) -> str:
    """Write one statement.

    Args:
        chance: What decides; equal chance gives an equal statement.
        catalog: The tables to write about.
        is_opaque: Take texts as a whole only: compare them for equality, sort, group, join and
            count them. Whatever looks inside a token differs between two worlds of tokens, as it
            has to.
    """
    return Grammar(chance, catalog, is_opaque=is_opaque).statement()


class Grammar:
    """Writes statements; each method writes one form of one part."""

    def __init__(self, chance: Chance, catalog: Catalog, *, is_opaque: bool = False) -> None:
        self.chance = chance
        self.catalog = catalog
        self.dialect = catalog.dialect
        self.tables = [table for table in catalog.tables.values() if table.columns]
        self.writer = Writer(chance, self.dialect, is_opaque=is_opaque, scalar=self.scalar)
        self.is_opaque = is_opaque
        self.is_whimsical = catalog.dialect == "mysql"
        self.aliases = 0
        self.depth = 0
        self.ctes: dict[str, Query] = {}

    def statement(self) -> str:
        """One statement of any form."""
        form = self.chance.random()
        if form < 0.02:
            return self.write()
        if form < 0.03:
            form_of = self.chance.choice(METADATA.get(self.dialect, ("SELECT 1",)))
            return form_of.format(t=self.named(self.table()))
        if form < 0.05:
            head = self.chance.choice(("EXPLAIN", "EXPLAIN", "EXPLAIN ANALYZE"))
            return f"{head} {self.query().text}"
        if form < 0.2:
            return self.with_ctes()
        return self.query().text

    # ------------------------------------------------------------ queries

    def query(self) -> Query:
        """A query of any form."""
        form = self.chance.random()
        self.depth += 1
        try:
            if self.depth <= DEPTH_MAX and form < 0.1:
                return self.set_operation()
            if form < 0.3:
                return self.aggregate()
            if form < 0.4:
                return self.window()
            if form < 0.5 and not self.is_opaque:
                return self.star()
            return self.select()
        finally:
            self.depth -= 1

    def select(self) -> Query:
        """A projection."""
        source = self.source()
        kinds = [self.chance.choice(ANY_KIND) for _ in range(1 + self.chance.randrange(4))]
        items = [self.item(source, kind) for kind in kinds]
        head = self.distinct(source) if self.writer.is_hit(0.12) else ""
        text = f"SELECT {head}{', '.join(items)} FROM {source.text}{self.where(source)}"
        return Query(text + ("" if head else self.order(source.fields, len(items))), named(kinds))

    def item(self, source: Source, kind: Kind) -> str:
        """One output column, whose name is left to the engine at times."""
        found = self.writer.write(source.fields, kind)
        return f"({found})" if kind == "flag" else found

    def distinct(self, source: Source) -> str:
        """DISTINCT, or PostgreSQL's DISTINCT ON."""
        is_on = self.dialect in {"postgres", "duckdb"} and not self.is_opaque
        if is_on and self.writer.is_hit(0.3):
            return f"DISTINCT ON ({self.writer.pick(source.fields, 'text')}) "
        return "DISTINCT "

    def aggregate(self) -> Query:
        """Groups and what is said of them."""
        source = self.source()
        written = (
            self.writer.write(source.fields, "text", 2) for _ in range(self.chance.randrange(3))
        )
        # A literal in GROUP BY is a position to some engines.
        keys = [key for key in written if not key.startswith(("'", "("))]
        made = [self.summary(source) for _ in range(1 + self.chance.randrange(2))]
        items = ", ".join([*keys, *(one for one, _ in made)])
        text = f"SELECT {items} FROM {source.text}{self.where(source)}"
        if keys:
            text += f" GROUP BY {', '.join(keys)}"
            if self.writer.is_hit(0.3):
                text += f" HAVING {self.summary(source)[0]} IS NOT NULL"
        elif self.writer.is_hit(0.1):
            text += " HAVING count(*) > 1"
        columns: list[Kind] = ["text" for _ in keys]
        columns += [kind for _, kind in made]
        return Query(text + self.order([], len(columns), is_whole=True), named(columns))

    def summary(self, source: Source) -> tuple[str, Kind]:
        """One aggregate and its kind."""
        write, fields = self.writer.write, source.fields
        own = SUMMARIES.get(self.dialect, ())
        forms: tuple[tuple[str, Kind], ...] = (
            ("count(*)", "number"), ("count({a})", "number"), ("count(DISTINCT {a})", "number"),
            ("sum({n})", "number"), ("avg({n})", "number"), ("min({n})", "number"),
            ("min({a})", "text"), ("max({a})", "text"),
            ("sum(CASE WHEN {p} THEN 1 ELSE 0 END)", "number"),
        )  # fmt: skip
        if not self.is_opaque:
            forms += (("max(length({a}))", "number"), *((one, "other") for one in own))
        form, kind = self.chance.choice(forms)
        text = form
        for mark, of in (("{a}", "text"), ("{n}", "number"), ("{p}", "flag")):
            if mark in text:
                text = text.replace(mark, write(fields, of, 2))  # type: ignore[arg-type]
        if self.dialect != "mysql" and "WITHIN" not in text and self.writer.is_hit(0.2):
            text += f" FILTER (WHERE {write(fields, 'flag', 1)})"
        return text, kind

    def window(self) -> Query:
        """Rows with a look at their neighbours."""
        source = self.source()
        key = self.writer.pick(source.fields, "text")
        calls = ("rank()", "dense_rank()", "count(*)", "max({})", "count({})", "min({})")
        is_steady = self.is_opaque or self.is_whimsical
        call = self.chance.choice(calls if is_steady else (*calls, *NEEDS_ORDER))
        call = call.format(self.writer.write(source.fields, "text", 2))
        over = self.writer.write(source.fields, self.chance.choice(("text", "number")), 2)
        partition = ""
        if self.writer.is_hit(0.4):
            partition = f"PARTITION BY {self.writer.pick(source.fields, 'text')} "
        items = [key, f"{call} OVER ({partition}ORDER BY {key}, {over})"]
        text = f"SELECT {', '.join(items)} FROM {source.text}{self.where(source)}"
        return Query(text + self.order(source.fields, 2), named(("text", "other")))

    def star(self) -> Query:
        """All columns, a whole row, or all but some."""
        source = self.source()
        alias = next(iter(source.tables), "")
        forms = ["*"]
        if alias:
            table = source.tables[alias]
            forms += [f"{alias}.*", f"{alias}.*, 1"]
            if self.dialect == "postgres":
                calls = ("row_to_json", "to_jsonb", "count")
                forms += [
                    alias,
                    f"{alias}::text",
                    f"({alias}).*",
                    f"jsonb_build_object('x', {alias})",
                ]
                forms += [f"{call}({alias})" for call in calls]
            if self.dialect == "duckdb":
                first = quote(table.columns[0].name, self.dialect)
                forms += [
                    alias,
                    f"* EXCLUDE ({first})",
                    "COLUMNS('.*')",
                    f"to_json({alias})",
                    f"count({alias})",
                ]
        item = self.chance.choice(forms)
        text = f"SELECT {item} FROM {source.text}{self.where(source)}"
        # How many columns a star stands for is up to the source.
        return Query(text + self.order(source.fields, 0 if self.is_whimsical else 1), ())

    def set_operation(self) -> Query:
        """Two queries of the same kinds, put together."""
        kinds = tuple(self.chance.choice(ANY_KIND) for _ in range(1 + self.chance.randrange(2)))
        kinds = tuple("number" if kind == "flag" else kind for kind in kinds)
        words = ["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]
        left, right = self.plain(kinds), self.plain(kinds)
        text = f"{left} {self.chance.choice(words)} {right}"
        return Query(text + self.order([], len(kinds), is_whole=True), named(kinds))

    def plain(self, kinds: Sequence[Kind]) -> str:
        """A projection without an order of its own, so that it can be an operand."""
        source = self.source()
        items = ", ".join(self.writer.write(source.fields, kind) for kind in kinds)
        return f"SELECT {items} FROM {source.text}{self.where(source)}"

    def scalar(self, scope: Sequence[Field], kind: Kind) -> str:
        """A subquery that gives one value, or a predicate that asks one."""
        if self.depth >= DEPTH_MAX:
            return self.writer.leaf(scope, kind, 0)
        self.depth += 1
        try:
            source = self.source(is_simple=True)
            if kind == "flag":
                return self.asked(scope, source)
            inner = self.writer.pick(source.fields, kind)
            name = self.chance.choice(("min", "max"))
            if self.writer.is_hit(0.3):
                near, far = (self.writer.pick(one, "text") for one in (source.fields, scope))
                return f"(SELECT {name}({inner}) FROM {source.text} WHERE {near} = {far})"
            return f"(SELECT {name}({inner}) FROM {source.text}{self.where(source)})"
        finally:
            self.depth -= 1

    def asked(self, scope: Sequence[Field], source: Source) -> str:
        """EXISTS and IN."""
        outer = self.writer.pick(scope, "text")
        inner = self.writer.pick(source.fields, "text")
        forms = (
            "EXISTS (SELECT 1 FROM {f} WHERE {i} = {o})",
            "NOT EXISTS (SELECT * FROM {f}{w})",
            "{o} IN (SELECT {i} FROM {f}{w})",
            "{o} NOT IN (SELECT {i} FROM {f}{w})",
        )
        form = self.chance.choice(forms)
        return form.format(f=source.text, i=inner, o=outer, w=self.where(source))

    def with_ctes(self) -> str:
        """A query that rests on named ones; a name may be that of a table."""
        parts = []
        for place in range(1 + self.chance.randrange(2)):
            made = self.select() if self.writer.is_hit(0.6) else self.aggregate()
            alias = self.fresh() if self.writer.is_hit(0.85) else self.table().name.name
            if alias in self.ctes:
                alias = f"{alias}_{place}"
            names = ", ".join(name for name, _ in made.columns)
            parts.append(f"{quote(alias, self.dialect)} ({names}) AS ({made.text})")
            self.ctes[alias] = made
        body = self.select() if self.writer.is_hit(0.6) else self.aggregate()
        return f"WITH {', '.join(parts)} {body.text}"

    # ------------------------------------------------------------ sources

    def source(self, *, is_simple: bool = False) -> Source:
        """One relation, or several joined."""
        first = self.relation()
        if is_simple or self.writer.is_hit(0.65):
            return first
        second = self.relation()
        fields = [*first.fields, *second.fields]
        shared = {c.name for t in first.tables.values() for c in t.columns} & {
            c.name for t in second.tables.values() for c in t.columns
        }
        form = self.chance.random()
        tables = first.tables | second.tables
        if form < 0.12 and shared:
            key = quote(self.chance.choice(sorted(shared)), self.dialect)
            fields = [one for one in fields if not one.text.endswith(f".{key}")]
            return Source(f"{first.text} JOIN {second.text} USING ({key})", fields, tables)
        if form < 0.18:
            fields = [one for one in fields if not is_in(one, shared)]
            return Source(f"{first.text} NATURAL JOIN {second.text}", fields, tables)
        if form < 0.25:
            return Source(f"{first.text} CROSS JOIN {second.text}", fields, tables)
        word = self.chance.choice(("JOIN", "LEFT JOIN", "INNER JOIN", "LEFT OUTER JOIN"))
        kind: Kind = self.chance.choice(("number", "number", "text"))
        on = f"{self.writer.pick(first.fields, kind)} = {self.writer.pick(second.fields, kind)}"
        if self.writer.is_hit(0.15):
            on = self.writer.write(fields, "flag", 1)
        return Source(f"{first.text} {word} {second.text} ON {on}", fields, tables)

    def relation(self) -> Source:
        """A table, a view, a named query or a query in place."""
        if self.ctes and self.writer.is_hit(0.7):
            name = self.chance.choice(sorted(self.ctes))
            alias = self.fresh()
            return Source(
                f"{quote(name, self.dialect)} AS {alias}", fields_of(alias, self.ctes[name])
            )
        if self.depth < DEPTH_MAX and self.writer.is_hit(0.12):
            self.depth += 1
            made = self.select()
            self.depth -= 1
            alias = self.fresh()
            names = ", ".join(name for name, _ in made.columns)
            if self.dialect in {"sqlite", "mysql"}:
                inner = f"WITH {alias}_c ({names}) AS ({made.text}) SELECT * FROM {alias}_c"
                return Source(f"({inner}) AS {alias}", fields_of(alias, made))
            return Source(f"({made.text}) AS {alias}({names})", fields_of(alias, made))
        return self.table_source(self.table())

    def table_source(self, table: Table) -> Source:
        """A table with an alias, a list of aliases, or under its own name."""
        text = self.named(table)
        if self.dialect in {"postgres", "duckdb"} and self.writer.is_hit(0.06):
            alias = self.fresh()
            renamed = named([kind_of(column.type) for column in table.columns])
            fields = [Field(f"{alias}.{name}", kind) for name, kind in renamed]
            return Source(f"{text} AS {alias}({', '.join(name for name, _ in renamed)})", fields)
        alias = self.fresh()
        is_sampled = self.dialect == "postgres" and self.writer.is_hit(0.02)
        sample = " TABLESAMPLE SYSTEM (100)" if is_sampled else ""
        fields = [
            Field(f"{alias}.{quote(column.name, self.dialect)}", kind_of(column.type))
            for column in table.columns
        ]
        return Source(f"{text} AS {alias}{sample}", fields, {alias: table})

    def table(self) -> Table:
        """Some table or view."""
        return self.chance.choice(self.tables)

    def named(self, table: Table) -> str:
        """A table's name as somebody might write it."""
        name = table.name
        is_default = name.schema == self.catalog.default_schema
        if is_default and self.writer.is_hit(0.8):
            return self.writer.name(name.name)
        return full_name(name, self.dialect)

    # ------------------------------------------------------------ clauses

    def where(self, source: Source) -> str:
        """A predicate, most of the time."""
        if not self.writer.is_hit(0.55):
            return ""
        return f" WHERE {self.writer.write(source.fields, 'flag')}"

    def order(self, fields: Sequence[Field], width: int, *, is_whole: bool = False) -> str:
        """An order and a limit, or nothing."""
        if not self.writer.is_hit(0.45):
            return ""
        key = str(1 + self.chance.randrange(max(width, 1)))
        if not is_whole and fields and self.writer.is_hit(0.6):
            key = self.writer.write(fields, self.chance.choice(("text", "number")), 1)
            is_plain = key.startswith(("'", "-")) or key.isdecimal()
            key = f"({key}) IS NULL" if is_plain else key
        text = f" ORDER BY {key}{self.chance.choice(('', ' DESC', ' ASC'))}"
        if self.is_whimsical:
            # MariaDB sorts equals by the address that they happen to have.
            text += "".join(f", {place}" for place in range(1, width + 1))
        if self.is_opaque or (self.is_whimsical and not width):
            return text
        if self.writer.is_hit(0.5):
            text += f" LIMIT {1 + self.chance.randrange(8)}"
            if self.writer.is_hit(0.2):
                text += f" OFFSET {self.chance.randrange(4)}"
        elif self.dialect in {"postgres", "sqlite", "duckdb"} and self.writer.is_hit(0.1):
            source = self.source(is_simple=True)
            text += f" LIMIT (SELECT count(*) FROM {source.text}{self.where(source)})"
        return text

    def fresh(self) -> str:
        """An alias that nothing else has."""
        self.aliases += 1
        return f"q{self.aliases}"

    def write(self) -> str:
        """A write, which most policies deny."""
        table, source = self.table(), self.source(is_simple=True)
        column = self.chance.choice(table.columns)
        scope = [Field(quote(c.name, self.dialect), kind_of(c.type)) for c in table.columns]
        kind = kind_of(column.type)
        return self.chance.choice(WRITES).format(
            t=self.named(table),
            c=quote(column.name, self.dialect),
            v=self.writer.literal(kind),
            p=self.writer.write(scope, "flag", 1),
            e=self.writer.pick(source.fields, kind),
            f=source.text,
            q=self.select().text,
        )
