"""The text that runs. Golden cases: ``tests/cases/rewrite``, one file for each dialect.

What runs is also executed, on all four engines: it returns what the user's own text returns over
tables that were masked and filtered beforehand.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sqlglot.tokenizer_core import TokenType

from nbgov.core.rewrite import rewrite, untitled, verify
from nbgov.core.rewrite.pieces import cut
from nbgov.core.statement import parse, take_values, tokenize
from nbgov.errors import ConfigInvalid, Denied, IntegrityFailed
from nbgov.model import (
    Action,
    Catalog,
    Column,
    ColumnMask,
    ColumnName,
    Decision,
    Effect,
    EngineOpinion,
    MaskKind,
    Obligation,
    RowFilter,
    RowLimit,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)
from tests.core.conftest import make_catalog
from tests.core.engines import DIALECTS, open_product

FOLDER = Path(__file__).parent.parent / "cases/rewrite"
CASES = [
    pytest.param(dialect, case, id=f"{dialect}: {case['why']}")
    for dialect in DIALECTS
    for case in yaml.safe_load((FOLDER / f"{dialect}.yaml").read_text())
]
PEOPLE, ORDERS = TableName("main", "people"), TableName("main", "orders")
OBLIGATIONS: tuple[Obligation, ...] = (
    ColumnMask(ColumnName(PEOPLE, "name"), MaskKind.REDACT, "pii.name"),
    ColumnMask(ColumnName(PEOPLE, "email"), MaskKind.PARTIAL, "pii.email"),
    RowFilter(ORDERS, "amount > 10"),
)
READ = frozenset({Effect.READ})

# The same rows, as they are stored and as the obligations leave them.
STORED = {
    "people": [
        (1, "Ada", "ada@lovelace.org", "EU"),
        (2, "Bo", "b@x.io", "US"),
        (3, None, None, None),
        (4, "Ada", "zoë@hopper.mil", "US"),
    ],
    "orders": [(1, 1, 5.0, "a"), (2, 2, 50.0, "b"), (3, 4, 11.0, None), (4, 9, None, "c")],
}
VISIBLE = {
    "people": [
        (1, "***", "***.org", "EU"),
        (2, "***", "***", "US"),
        (3, None, None, None),
        (4, "***", "***.mil", "US"),
    ],
    "orders": [(2, 2, 50.0, "b"), (3, 4, 11.0, None)],
}
SHAPES = {
    "people": "id INTEGER, name VARCHAR(60), email VARCHAR(60), region VARCHAR(60)",
    "orders": "id INTEGER, person_id INTEGER, amount DOUBLE PRECISION, note VARCHAR(60)",
}
QUERIES = [
    "SELECT * FROM people ORDER BY id",
    "SELECT count(*) AS n FROM people WHERE name = 'Ada'",
    "SELECT name, count(*) AS n FROM people GROUP BY name ORDER BY n",
    "SELECT p.email, o.amount FROM people p JOIN orders o ON o.person_id = p.id ORDER BY o.id",
    "WITH p AS (SELECT * FROM people WHERE region = 'US') SELECT * FROM p ORDER BY id",
    "SELECT id FROM people WHERE email LIKE '%lovelace%' OR id IN (SELECT person_id FROM orders) ORDER BY 1",
    "SELECT region, max(email) AS m FROM people GROUP BY region HAVING max(name) > 'B' ORDER BY m",
    "SELECT a.name FROM people a, people b WHERE a.name = b.name AND a.id < b.id ORDER BY a.id",
    "SELECT o.id, rank() OVER (ORDER BY o.amount) AS r FROM orders AS o ORDER BY 1",
    "SELECT p.id, o.note FROM (people p LEFT JOIN orders o ON o.person_id = p.id) ORDER BY p.id",
    "SELECT id, note FROM orders UNION ALL SELECT id, name FROM people ORDER BY id, note",
    "SELECT people.id FROM people WHERE EXISTS (SELECT 1 FROM orders WHERE orders.person_id = people.id) ORDER BY 1",
    "SELECT sum(amount) AS s, count(note) AS n FROM orders",
]
SHADOW = (
    "WITH people AS (SELECT * FROM people WHERE region = 'US') SELECT * FROM people ORDER BY id"
)
OWN_QUERIES = {
    "duckdb": [
        SHADOW,
        "SELECT * FROM people NATURAL JOIN orders ORDER BY ALL",
        "SELECT people FROM people ORDER BY people.id",
        "FROM orders ORDER BY id",
        "SELECT p.a, p.b FROM people AS p(a, b) ORDER BY p.a",
    ],
    "mysql": [SHADOW, "SELECT `people`.`id` FROM people WHERE name = 'ada' ORDER BY `people`.`id`"],
    "postgres": [
        SHADOW,
        "SELECT p::text AS p FROM people p ORDER BY p.id",
        "SELECT (p).email FROM people p ORDER BY p.id",
        "SELECT name FROM ONLY people ORDER BY id",
        "SELECT p.name FROM people AS p TABLESAMPLE BERNOULLI (100) ORDER BY p.id",
        "SELECT name FROM ONLY people TABLESAMPLE SYSTEM (100) ORDER BY id",
        "SELECT row_to_json(p)::text AS j FROM people p ORDER BY p.id",
        "SELECT p.a, p.b FROM people AS p(a, b) ORDER BY p.a",
    ],
    "sqlite": ["SELECT name IS 'Ada' AS x, [id] FROM people ORDER BY id"],
}  # fmt: skip


def run(sql: str, catalog: Catalog, *obligations: Obligation, **values: Any) -> Any:
    """Rewrite a text under obligations."""
    statement = parse(sql, catalog)
    plain = take_values(statement.binds, values)
    return rewrite(statement, permit(*obligations), catalog, values=plain)


def permit(*obligations: Obligation) -> Decision:
    """A permit under obligations."""
    return Decision(is_permitted=True, obligations=obligations)


# ------------------------------------------------------------------ the text


@pytest.mark.parametrize(("dialect", "case"), CASES)
def test_the_text_that_runs_is_the_users_with_its_tables_governed(
    dialect: str, case: dict[str, Any]
) -> None:
    """Only the spans of governed tables, qualifiers and lists are replaced."""
    obligations = OBLIGATIONS if case.get("masks", True) else ()
    made = run(case["sql"], make_catalog(dialect), *obligations, **case.get("values", {}))
    assert made.sql == case["runs"]
    assert [made.sql[m.span.start : m.span.end] for m in made.markers] == [
        f":{m.name}" for m in made.markers
    ]


@pytest.fixture(params=DIALECTS, scope="module")
def worlds(request):
    """people and orders as they are stored, and the same two masked and filtered beforehand."""
    with (
        open_product(request, request.param, "main") as stored,
        open_product(request, request.param, "gov") as visible,
    ):
        for product, rows in ((stored, STORED), (visible, VISIBLE)):
            for table, shape in SHAPES.items():
                product.run(f"CREATE TABLE {table} ({shape})")
                for row in rows[table]:
                    values = ", ".join("NULL" if v is None else repr(v) for v in row)
                    product.run(f"INSERT INTO {table} VALUES ({values})")
        yield stored, visible


def test_a_rewrite_returns_what_masked_tables_would(worlds) -> None:
    """On every engine what runs returns the rows of the original over tables masked beforehand."""
    stored, visible = worlds
    catalog = make_catalog(stored.dialect)
    for sql in [*QUERIES, *OWN_QUERIES[stored.dialect]]:
        ours = stored.rows(run(sql, catalog, *OBLIGATIONS).sql)
        assert ours == visible.rows(sql), sql
        # A query that reads the same from both worlds would prove nothing.
        assert ours != stored.rows(sql) or "sum" in sql or "rank" in sql or "EXISTS" in sql, sql


def test_golden_queries_run(worlds) -> None:
    """Every golden text is one that its engine takes."""
    stored, _ = worlds
    for dialect, case in (param.values for param in CASES):
        if dialect == stored.dialect and case["sql"].startswith(("SELECT", "WITH", "FROM")):
            made = run(case["sql"], make_catalog(dialect), *OBLIGATIONS, **case.get("values", {}))
            bound = made.sql
            for marker in reversed(made.markers):
                value = repr(made.binds[marker.name])
                bound = bound[: marker.span.start] + value + bound[marker.span.end :]
            stored.rows(bound)


def test_an_empty_list_has_no_members_on_any_engine(worlds) -> None:
    """``IN`` holds for nothing and ``NOT IN`` for everything, for numbers and for texts."""
    stored, _ = worlds
    catalog = make_catalog(stored.dialect)
    for column in ("id", "region", "-id"):
        for text, count in (("IN", 0), ("NOT IN", 4)):
            made = run(
                f"SELECT count(*) AS n FROM people WHERE {column} {text} :x AND id > 0",
                catalog,
                x=[],
            )
            assert stored.rows(made.sql) == [(count,)]


def test_rewriting_what_was_rewritten_changes_nothing_more(catalog: Catalog) -> None:
    """A text whose tables are pinned stays as it is, and one whose tables are projected is pinned."""
    once = run("SELECT main.people.id FROM people", catalog)
    assert once.sql == 'SELECT main.people.id FROM "main"."people"'
    assert run(once.sql, catalog).sql == once.sql
    masked = run("SELECT p.name FROM people AS p", catalog, OBLIGATIONS[0])
    assert run(masked.sql, catalog).sql == masked.sql


def test_the_lowest_row_limit_holds(catalog: Catalog) -> None:
    """A row limit of the policy travels with the text."""
    assert run("SELECT id FROM people", catalog, RowLimit(7), RowLimit(9)).rows_max == 7
    assert run("SELECT id FROM people", catalog).rows_max is None


def test_edits_never_overlap() -> None:
    """Two replacements of one character would be a broken promise, not a text to run."""
    with pytest.raises(RuntimeError, match="overlap"):
        list(cut("abc", [(Span(0, 2), ["x"]), (Span(1, 3), ["y"])]))


def test_a_dialect_that_cannot_be_rewritten_is_denied() -> None:
    """A masked table on an unknown dialect is not read, and an unmasked one is."""
    catalog = make_catalog("oracle")
    with pytest.raises(Denied, match="oracle"):
        run("SELECT id FROM people", catalog, *OBLIGATIONS)
    assert run("SELECT id FROM people", catalog).sql == 'SELECT id FROM "main"."people"'


# ------------------------------------------------------------------ names of expressions


def aliased(sql: str, dialect: str, *obligations: Obligation, **titles: str) -> list[str]:
    """The names that a rewrite gives to expressions of a statement."""
    catalog = make_catalog(dialect)
    statement = parse(sql, catalog)
    values = dict.fromkeys((marker.name for marker in statement.binds), 1)
    before = {t.text for t in tokenize(sql, dialect) if t.token_type is TokenType.IDENTIFIER}
    made = rewrite(statement, permit(*obligations), catalog, values=values, titles=titles)
    tokens = tokenize(made.sql, dialect)
    names = [
        name.text
        for mark, name in itertools.pairwise(tokens)
        if mark.text.upper() == "AS" and name.token_type is TokenType.IDENTIFIER
    ]
    columns = {column.name for table in catalog.tables.values() for column in table.columns}
    return [name for name in names if name not in before | columns | {"people", "orders"}]


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("SELECT 5 IN (SELECT 1 FROM people) -- c", ["5 IN (SELECT 1 FROM people) -- c"]),
        ("SELECT 1+1 /* the sum */ ;", ["1+1 /* the sum */"]),
        ("SELECT 1+1", []),
        ("SELECT (SELECT 1 FROM people) window FROM orders", []),
        ("SELECT (SELECT 1 FROM people) 'x' FROM orders", []),
        ("SELECT main.people.id, (main.people.id), main.people.id*2 FROM people", ["main.people.id*2"]),
        ("SELECT 1 UNION SELECT (SELECT 1 FROM people) ORDER BY 1", ["(SELECT 1 FROM people)"]),
        ("SELECT id IS NOT DISTINCT FROM (SELECT 1 FROM people), id FROM orders", ["id IS NOT DISTINCT FROM (SELECT 1 FROM people)"]),
        ("WITH q AS (SELECT ALL (SELECT 1 FROM people)) SELECT * FROM q", ["(SELECT 1 FROM people)"]),
        ("SELECT ((SELECT max(id) FROM people)) FROM orders", ["((SELECT max(id) FROM people))"]),
        ("UPDATE orders SET note = 'x' WHERE id = 1 RETURNING id, id IN (SELECT id FROM people)", ["id IN (SELECT id FROM people)"]),
        ("SELECT max(id) FILTER (WHERE id IN (SELECT id FROM people)) FROM orders", ["max(id) FILTER (WHERE id IN (SELECT id FROM people))"]),
    ],
)  # fmt: skip
def test_sqlite_names_an_expression_after_its_text(sql: str, names: list[str]) -> None:
    """Comments behind it belong to the text, and columns and aliases have a name."""
    assert aliased(sql, "sqlite") == names


def test_duckdb_writes_the_text_in_its_own_way() -> None:
    """Such a name is asked of DuckDB; it has none for an expression with a marker."""
    sql = "SELECT DISTINCT ON ((id + 1)) id IN (SELECT 1 FROM people), :x, (SELECT 2 FROM people) + :y FROM orders"
    catalog = make_catalog("duckdb")
    (asked,) = untitled(parse(sql, catalog))
    assert asked == "id IN (SELECT 1 FROM people)"
    assert untitled(parse("SELECT (SELECT 1 FROM people)", make_catalog("sqlite"))) == ()
    names = aliased(sql, "duckdb", **{asked: "its own"})
    assert names == ["its own", ":x", "(SELECT 2 FROM people) + :y"]
    several = "SELECT COLUMNS('id|amount') + (SELECT 1 FROM people) FROM orders"
    assert aliased(several, "duckdb") == []


def test_mysql_cuts_a_name_and_names_a_column_as_it_is_spelled() -> None:
    """A projection's columns have the table's spelling, which a statement need not have."""
    long = "(SELECT 'wow 😀' FROM people WHERE name = '" + "x" * 300 + "')"
    (name,) = aliased(f"SELECT {long}", "mysql")
    assert name == long.replace("😀", "?")[:255]
    sql = "SELECT people.ID, (Region), count(*), q.NAME, x.ID FROM people JOIN (SELECT NAME, 1 AS ID FROM people) AS x JOIN (SELECT Name FROM people) AS q GROUP BY ID"
    assert aliased(sql, "mysql", OBLIGATIONS[0]) == ["ID", "NAME", "Name"]
    assert aliased("SELECT 1, ID FROM people", "mysql", OBLIGATIONS[0]) == ["ID"]
    assert aliased("SELECT (SELECT ID FROM people), id FROM people", "mysql", OBLIGATIONS[0]) == [
        "(SELECT ID FROM people)"
    ]
    assert aliased("SELECT ID FROM people", "mysql") == []
    assert aliased("SELECT id FROM people WHERE ID = (SELECT 1)", "mysql", OBLIGATIONS[0]) == []


def test_what_cannot_be_read_by_itself_gets_no_name() -> None:
    """A column named ``offset`` looks like the end of a list; what runs is as good without a name."""
    sql = "SELECT (SELECT 1 FROM people) + offset + 1 FROM orders"
    span = Span(sql.index("people"), sql.index("people") + 6)
    mention = TableUse(PEOPLE, Action.READ, span, has_alias=False, columns=frozenset())
    statement = Statement(sql, "sqlite", "SELECT", READ, tables=(mention,))
    made = rewrite(statement, permit(), make_catalog("sqlite"), values={})
    assert made.sql == sql.replace("people", '"main"."people"')


def test_what_explains_a_statement_shows_no_names() -> None:
    """The columns of ``EXPLAIN`` are the engine's own."""
    assert aliased("EXPLAIN SELECT (SELECT 1 FROM people)", "sqlite") == []


def test_an_output_that_shows_a_masked_column_keeps_its_type() -> None:
    """A mask may leave no value that tells it."""
    made = run("SELECT name, id, upper(name), name AS n FROM people", make_catalog("sqlite"), MASK)
    assert made.masked_types == ("VARCHAR", "", "", "VARCHAR")


# ------------------------------------------------------------------ clauses that belong to a table


def use(sql: str, name: str = "people", **more: Any) -> Statement:
    """A read of one table, with the spans of its clauses found in the text."""
    spans = {key: Span(sql.index(text), sql.index(text) + len(text)) for key, text in more.items()}
    span = Span(sql.index(name), sql.index(name) + len(name))
    mention = TableUse(
        PEOPLE, Action.READ, span, has_alias=False, columns=frozenset({"id"}), **spans
    )
    return Statement(sql, "postgres", "SELECT", READ, tables=(mention,))


def made_of(statement: Statement, *obligations: Obligation) -> str:
    """What runs of a statement."""
    return rewrite(statement, permit(*obligations), make_catalog("postgres"), values={}).sql


MASK = ColumnMask(ColumnName(PEOPLE, "name"), MaskKind.NULL, "pii.name")
QUERY = '(SELECT "id", CAST(NULL AS VARCHAR) AS "name", "email", "region" FROM '


def test_only_and_a_sample_move_inside() -> None:
    """Both say which stored rows to read, so they stand where the table stands."""
    sql = "SELECT id FROM ONLY people TABLESAMPLE BERNOULLI (9) WHERE id > 1"
    statement = use(sql, only="ONLY", sample="TABLESAMPLE BERNOULLI (9)")
    assert made_of(statement, MASK) == (
        f'SELECT id FROM  {QUERY}ONLY "main"."people" TABLESAMPLE BERNOULLI (9)) AS "people"  WHERE id > 1'
    )
    assert made_of(statement) == sql.replace("people", '"main"."people"')


def test_a_clause_that_cannot_move_is_denied() -> None:
    """A parenthesis behind ``ONLY`` and a bound value in a sample would be left behind."""
    with pytest.raises(Denied, match="clause"):
        made_of(use("SELECT id FROM ONLY (people)", only="ONLY"), MASK)
    sampled = parse("SELECT id FROM people WHERE id = :x", make_catalog("postgres"))
    marker = sampled.binds[0].span
    mention = sampled.tables[0]
    held = Statement(
        sampled.sql, "postgres", "SELECT", READ,
        tables=(TableUse(PEOPLE, Action.READ, mention.span, has_alias=True, columns=frozenset(), sample=Span(marker.start - 2, marker.end)),),
        binds=sampled.binds,
    )  # fmt: skip
    with pytest.raises(Denied, match="clause"):
        rewrite(held, permit(MASK), make_catalog("postgres"), values={"x": 1})


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("postgres", "ctid"),
        ("postgres", "XMIN"),
        ("sqlite", "rowid"),
        ("sqlite", "OID"),
        ("duckdb", "rowid"),
    ],
)
def test_a_system_column_of_a_projected_table_is_denied(dialect: str, name: str) -> None:
    """A projection has no system columns; SQLite would answer NULL instead of an error."""
    sql = f"SELECT people.{name} FROM people"
    start = sql.index("people", 20)
    mention = TableUse(
        PEOPLE, Action.READ, Span(start, len(sql)), has_alias=False, columns=frozenset()
    )
    statement = Statement(sql, dialect, "SELECT", READ, tables=(mention,))
    catalog = make_catalog(dialect)
    with pytest.raises(Denied, match=name.lower()):
        rewrite(statement, permit(MASK), catalog, values={})
    assert name in rewrite(statement, permit(), catalog, values={}).sql


def test_an_ordinary_name_is_no_system_column() -> None:
    """A column or an alias may be called like one."""
    table = Table(ORDERS, (Column("oid", "INTEGER"), Column("name", "TEXT")))
    catalog = Catalog(
        "sqlite", "main", {ORDERS: table, **make_catalog("sqlite").tables} | {ORDERS: table}
    )
    assert "oid" in run("SELECT o.oid FROM orders o, people", catalog, MASK).sql
    assert (
        "rowid"
        in run("SELECT id AS rowid FROM people ORDER BY rowid", make_catalog("sqlite"), MASK).sql
    )


def test_the_target_of_a_write_is_pinned_wherever_it_is() -> None:
    """A table that is being created is in no catalog; SQLite's CREATE INDEX takes a bare name."""
    new = TableUse(
        TableName("main", "fresh"),
        Action.CREATE,
        Span(13, 18),
        has_alias=False,
        columns=frozenset(),
    )
    sql = "CREATE TABLE fresh AS SELECT id FROM people"
    read = TableUse(PEOPLE, Action.READ, Span(37, 43), has_alias=False, columns=frozenset({"id"}))
    made = Statement(sql, "postgres", "CREATE", frozenset({Effect.DDL}), tables=(new, read))
    assert made_of(made, MASK) == (
        f'CREATE TABLE "main"."fresh" AS SELECT id FROM {QUERY}"main"."people") AS "people"'
    )
    sql = "CREATE INDEX i ON people (id)"
    for dialect, runs in (("sqlite", sql), ("postgres", 'CREATE INDEX i ON "main"."people" (id)')):
        index = TableUse(PEOPLE, Action.ALTER, Span(18, 24), has_alias=False, columns=frozenset())
        made = Statement(sql, dialect, "CREATE", frozenset({Effect.DDL}), tables=(index,))
        assert rewrite(made, permit(), make_catalog(dialect), values={}).sql == runs


# ------------------------------------------------------------------ row filters


@pytest.mark.parametrize(
    "predicate",
    [
        "amount > 10) OR (1 = 1", "amount IN (SELECT 1)", "nothing = 1", "people.id = 1", "amount = :x",
        "amount > 1; DROP TABLE people", "amount > 1 -- ", "", "1 = 1) UNION SELECT (1", "amount > 1) LIMIT (1",
        "amount > 1 /* x */", "amount > 1 /*", "orders.id = 1", "amount > ?", "sum(amount) > 1",
        "EXISTS (SELECT 1 FROM orders)", "row_number() OVER () > 1", "'", "(" * 300 + "1" + ")" * 300,
    ],
)  # fmt: skip
def test_a_row_filter_is_one_plain_predicate(predicate: str, catalog: Catalog) -> None:
    """A filter that could close its parentheses, or look elsewhere, is refused."""
    with pytest.raises(ConfigInvalid, match="plain predicate"):
        run("SELECT id FROM orders", catalog, RowFilter(ORDERS, predicate))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_row_filter_may_compute_and_no_more(dialect: str) -> None:
    """Functions are those that are known to do nothing else, and that nobody has redefined."""
    catalog = make_catalog(dialect)
    pure = RowFilter(ORDERS, "lower(note) = 'a' AND amount BETWEEN 1 AND 2 OR note IS NULL")
    assert "lower(note)" in run("SELECT id FROM orders", catalog, pure).sql
    for predicate in ("pg_read_file(note) = 'x'", "nosuch(note) = 'x'"):
        with pytest.raises(ConfigInvalid) as caught:
            run("SELECT id FROM orders", catalog, RowFilter(ORDERS, predicate))
        assert "known to do nothing but compute" in caught.value.why
    shadowed = Catalog(dialect, "main", catalog.tables, {"main.lower": Effect.UNKNOWN})
    with pytest.raises(ConfigInvalid) as caught:
        run("SELECT id FROM orders", shadowed, pure)
    assert "lower" in caught.value.why


# ------------------------------------------------------------------ the second opinion

AT = TableName("nbgov_pinned", "t0")


def made_for(sql: str, *obligations: Obligation, dialect: str = "postgres", **values: Any) -> Any:
    """A statement and what it was rewritten to."""
    catalog = make_catalog(dialect)
    statement = parse(sql, catalog)
    return statement, rewrite(statement, permit(*obligations), catalog, values=values)


@pytest.mark.parametrize(
    ("opinion", "why"),
    [
        (EngineOpinion(2, effects=READ), "2 statements"),
        (EngineOpinion(0), "0 statements"),
        (EngineOpinion(1, effects=frozenset({Effect.WRITE})), "not call it a read"),
        (EngineOpinion(1, effects=READ | {Effect.UNKNOWN}), "not call it a read"),
        (EngineOpinion(1, effects=READ, tables=frozenset({AT, ORDERS})), "another table"),
        (EngineOpinion(1, effects=READ, tables=frozenset({TableName("", "t0")})), "another table"),
        # The right table, named in a place where nbgov has not seen it.
        (EngineOpinion(1, effects=READ, tables=frozenset({AT, PEOPLE})), "another table"),
        # No relation in a place where nbgov has seen one.
        (EngineOpinion(1, effects=READ, tables=frozenset()), "another table"),
        (EngineOpinion(1, functions=frozenset({"pg_sleep"})), "a function"),
        (EngineOpinion(1, functions=frozenset({"other.lower"})), "a function"),
        (EngineOpinion(1, functions=frozenset({"current_setting"})), "a function"),
        (EngineOpinion(1, columns=frozenset({ColumnName(PEOPLE, "email")})), "a column"),
    ],
)
def test_a_second_opinion_that_differs_stops_the_statement(
    opinion: EngineOpinion, why: str
) -> None:
    """Count, effect, tables, functions and columns must be the same for the engine."""
    statement, rewritten = made_for("SELECT id FROM people")
    with pytest.raises(IntegrityFailed, match=r"another way") as caught:
        verify(statement, [opinion], rewritten)
    assert why in caught.value.why


@pytest.mark.parametrize(
    "opinion",
    [
        EngineOpinion(1),
        EngineOpinion(1, effects=READ, tables=frozenset({AT})),
        EngineOpinion(1, tables=frozenset({TableName("NBGOV_PINNED", "T0")})),
        EngineOpinion(1, functions=frozenset({"lower", "pg_catalog.upper"})),
        EngineOpinion(1, columns=frozenset({ColumnName(PEOPLE, "id")})),
    ],
)
def test_a_second_opinion_that_agrees_lets_it_pass(opinion: EngineOpinion) -> None:
    """An engine that sees the same one table, or that cannot tell, is content."""
    statement, rewritten = made_for("SELECT id FROM people WHERE id = :x ;", x=1)
    assert rewritten.witnesses == ('SELECT id FROM "nbgov_pinned"."t0" WHERE id = (NULL)',)
    verify(statement, [opinion], rewritten)


PROJECTION = EngineOpinion(
    1, READ, frozenset({PEOPLE}), frozenset({"pg_catalog.current_setting", "pg_catalog.sha256"})
)


@pytest.mark.parametrize(
    ("opinion", "why"),
    [
        (PROJECTION, ""),
        (EngineOpinion(1), ""),
        (EngineOpinion(2), "one read"),
        (EngineOpinion(1, frozenset({Effect.WRITE})), "one read"),
        (EngineOpinion(1, READ, frozenset({PEOPLE, ORDERS})), "another table"),
        (EngineOpinion(1, READ, frozenset()), "another table"),
        (EngineOpinion(1, functions=frozenset({"pg_sleep"})), "another function"),
    ],
)
def test_the_engine_reads_each_query_of_a_masked_table(opinion: EngineOpinion, why: str) -> None:
    """A projection is one read of one table, and calls what the masks call."""
    statement, rewritten = made_for("SELECT p.id FROM people p, people q", MASK)
    first, query = rewritten.witnesses
    assert first == 'SELECT p.id FROM "nbgov_pinned"."t0" p, "nbgov_pinned"."t1" q'
    assert rewritten.sql == f"SELECT p.id FROM ({query}) p, ({query}) q"
    if not why:
        verify(statement, [EngineOpinion(1), opinion], rewritten)
        return
    with pytest.raises(IntegrityFailed) as caught:
        verify(statement, [EngineOpinion(1), opinion], rewritten)
    assert why in caught.value.why


def test_every_witness_is_heard() -> None:
    """An opinion too few is a broken promise of the caller."""
    statement, rewritten = made_for("SELECT id FROM people", MASK)
    with pytest.raises(ValueError, match="shorter"):
        verify(statement, [EngineOpinion(1)], rewritten)


def test_an_engines_own_tables_are_expected_where_the_statement_names_them() -> None:
    """A system table is not governed, and only one that nbgov has seen may be read."""
    catalog = make_catalog("sqlite")
    master = TableName("main", "sqlite_master")
    columns = frozenset({ColumnName(master, "sql")})
    told = EngineOpinion(1, tables=frozenset({master}), columns=columns)
    system = frozenset({TableName("", "sqlite_schema")})
    statement = Statement("SELECT 1", "sqlite", "SELECT", READ, system_tables=system)
    verify(statement, [told], rewrite(statement, permit(), catalog, values={}))
    for blind in (
        replace(statement, system_tables=frozenset()),
        replace(statement, dialect="duckdb"),
    ):
        with pytest.raises(IntegrityFailed):
            verify(blind, [told], rewrite(blind, permit(), catalog, values={}))


def test_a_table_behind_a_view_may_be_counted_and_not_read() -> None:
    """SQLite names it where only the rows of the view count; its columns are another matter."""
    view = TableName("main", "names")
    origin = ColumnName(PEOPLE, "name")
    shown = Table(
        view,
        (Column("n", "TEXT"),),
        kind="view",
        origins={"n": frozenset({origin})},
        is_traced=True,
    )
    catalog = make_catalog("sqlite")
    catalog = replace(catalog, tables={**catalog.tables, view: shown})
    statement = parse("SELECT count(*) FROM names", catalog)
    made = rewrite(statement, permit(), catalog, values={})
    counted = EngineOpinion(1, tables=frozenset({PEOPLE}), columns=frozenset())
    verify(statement, [counted], made)
    for other in (
        replace(counted, columns=frozenset({origin})),
        replace(counted, tables=frozenset({ORDERS})),
    ):
        with pytest.raises(IntegrityFailed):
            verify(statement, [other], made)


def test_sqlite_finds_its_tables_where_they_are() -> None:
    """SQLite looks every name up, and may leave a table out that the result does not need."""
    sql = "WITH unused AS (SELECT * FROM people) SELECT id FROM orders"
    statement, rewritten = made_for(sql, dialect="sqlite")
    assert rewritten.witnesses == (rewritten.sql,)
    verify(statement, [EngineOpinion(1, tables=frozenset({ORDERS}))], rewritten)
    with pytest.raises(IntegrityFailed):
        verify(
            statement,
            [EngineOpinion(1, tables=frozenset({TableName("temp", "orders")}))],
            rewritten,
        )


def test_columns_are_compared_where_all_of_them_are_known() -> None:
    """A statement that nbgov could not resolve counts as reading everything already."""
    everything = EngineOpinion(1, columns=frozenset({ColumnName(PEOPLE, "email")}))
    statement, rewritten = made_for("SELECT id FROM people")
    verify(replace(statement, is_resolved=False), [everything], rewritten)


def test_a_statement_that_describes_a_table_names_it_as_it_is() -> None:
    """DESCRIBE shows no row, so nothing is replaced; the same name in a query is not expected."""
    catalog = make_catalog("duckdb")
    opinion = EngineOpinion(1, effects=READ, tables=frozenset({TableName("", "people")}))
    traits = frozenset({"metadata"})
    described = Statement("DESCRIBE people", "duckdb", "DESCRIBE", READ, traits=traits)
    verify(described, [opinion], rewrite(described, permit(), catalog, values={}))
    query = Statement("SELECT version()", "duckdb", "SELECT", READ, traits=traits)
    with pytest.raises(IntegrityFailed):
        verify(query, [opinion], rewrite(query, permit(), catalog, values={}))


def test_a_mention_that_is_written_and_read_is_pinned_once() -> None:
    """An upsert inserts into and deletes from the one mention of its target, and may read it."""
    span = Span(12, 18)
    uses = [
        TableUse(ORDERS, action, span, has_alias=False, columns=frozenset())
        for action in (Action.INSERT, Action.READ, Action.DELETE)
    ]
    sql = "INSERT INTO orders VALUES (1)"
    statement = Statement(sql, "postgres", "INSERT", frozenset({Effect.WRITE}), tables=tuple(uses))
    assert made_of(statement, *OBLIGATIONS) == 'INSERT INTO "main"."orders" VALUES (1)'


def test_the_witness_schema_is_one_that_the_text_does_not_hold() -> None:
    """A text that names the witness's schema gets another one."""
    _, made = made_for("SELECT 'NBGOV_pinned' AS x FROM people", dialect="duckdb")
    assert made.witnesses == ("""SELECT 'NBGOV_pinned' AS x FROM "nbgov_pinned_"."t0\"""",)


@given(st.sampled_from(['a"b', "a`b", "ä", "select", "a b"]), st.sampled_from(DIALECTS))
def test_a_name_is_quoted_for_its_dialect(name: str, dialect: str) -> None:
    """A table and a column with any name can be masked, and only they."""
    table = Table(TableName("main", name), (Column(name, "VARCHAR"),))
    mention = TableUse(table.name, Action.READ, Span(14, 15), has_alias=False, columns=frozenset())
    statement = Statement("SELECT * FROM x", dialect, "SELECT", READ, tables=(mention,))
    mask = ColumnMask(ColumnName(table.name, name), MaskKind.REDACT, "pii")
    made = rewrite(
        statement, permit(mask), Catalog(dialect, "main", {table.name: table}), values={}
    )
    mark = "`" if dialect == "mysql" else '"'
    quoted = mark + name.replace(mark, mark * 2) + mark
    assert made.sql.endswith(f"AS {quoted} FROM {mark}main{mark}.{quoted}) AS {quoted}")
    if dialect == "duckdb":
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE {quoted} ({quoted} VARCHAR)")
            connection.execute(f"INSERT INTO {quoted} VALUES ('secret')")
            assert connection.execute(made.sql).fetchone() == ("***",)
