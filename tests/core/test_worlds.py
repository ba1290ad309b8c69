"""Synthetic worlds: equal but for what masks hide, and statements that engines understand."""

from __future__ import annotations

import random
from collections import Counter

import duckdb
import pytest
import sqlglot
from sqlglot.errors import SqlglotError

from nbgov.core.worlds import Observation, Script, differences, script, statement
from nbgov.core.worlds.schema import full_name
from nbgov.core.worlds.values import POOL, hidden, kind_of, literal
from nbgov.model import Catalog, Column, ColumnName, MaskKind, Table, TableName

DIALECTS = ("duckdb", "mysql", "postgres", "sqlite", "tsql")


def catalog_of(dialect: str = "duckdb", **tables: Table) -> Catalog:
    """A catalog of one schema."""
    return Catalog(dialect, "main", {table.name: table for table in tables.values()})


def table(name: str, *columns: tuple[str, str], schema: str = "main", **more) -> Table:
    """A table of typed columns."""
    return Table(TableName(schema, name), tuple(Column(*one) for one in columns), **more)


PEOPLE = table(
    "people",
    ("id", "INTEGER"),
    ("Name", "VARCHAR"),
    ("born", "DATE"),
    ("is_new", "BOOLEAN"),
    ("tags", "VARCHAR[]"),
    ("note", "VARCHAR(4)"),
)
SALES = table("sales", ("id", "INTEGER"), ("who", "VARCHAR"), ("amount", "DECIMAL(10, 2)"))
SHOP = catalog_of(people=PEOPLE, sales=SALES)


def in_dialect(dialect: str) -> Catalog:
    """The shop in another dialect."""
    return Catalog(dialect, "main", SHOP.tables)


def column(name: str, of: Table = PEOPLE) -> ColumnName:
    """A column of a table."""
    return ColumnName(of.name, name)


def build(made: Script) -> duckdb.DuckDBPyConnection:
    """A world on DuckDB."""
    link = duckdb.connect()
    for sql in [*made.statements, *made.views.values()]:
        link.execute(sql)
    return link


def worlds(masks=None, *, catalog=SHOP, **more):
    """World a and world b, built from equal chance."""
    return [
        build(script(random.Random(1), catalog, world, masks=masks or {}, **more)) for world in "ab"
    ]


def rows(link, sql: str):
    """The rows of a query."""
    return link.execute(sql).fetchall()


# ------------------------------------------------------------ statements


def test_equal_chance_writes_equal_statements() -> None:
    """A corpus can be had again from its seed."""
    first, second = ([statement(random.Random(7), SHOP) for _ in range(3)] for _ in "ab")
    assert first == second


@pytest.mark.parametrize("is_opaque", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_statements_are_many_and_parse(dialect: str, is_opaque: bool) -> None:
    """Nearly every statement is another one, and the dialect's parser reads nearly all of them."""
    chance, catalog = random.Random(3), in_dialect(dialect)
    made = [statement(chance, catalog, is_opaque=is_opaque) for _ in range(500)]
    assert len(set(made)) > 450
    read = Counter(parses(sql, dialect) for sql in made)
    assert read[True] > 465


def parses(sql: str, dialect: str) -> bool:
    """Whether sqlglot reads a text."""
    try:
        return len(sqlglot.parse(sql, read=dialect)) == 1
    except SqlglotError:
        return False


def test_most_statements_run() -> None:
    """DuckDB runs most of them on a world of their catalog: names and types fit."""
    [link, _] = worlds()
    chance, ran = random.Random(5), 0
    for _ in range(400):
        sql = statement(chance, SHOP)
        try:
            link.begin()
            link.execute(sql).fetchall()
            ran += 1
        except duckdb.Error:
            pass
        finally:
            link.rollback()
    assert ran > 320


def test_every_form_is_written() -> None:
    """A few thousand statements hold every form that the grammar is there for."""
    chance = random.Random(11)
    text = "\n".join(statement(chance, in_dialect("postgres")) for _ in range(4000))
    words = """WITH|UNION|EXCEPT|INTERSECT|EXISTS|NOT IN (SELECT|DISTINCT ON (|FILTER (WHERE|LIKE
        |OVER (PARTITION|NATURAL JOIN|USING (|LEFT JOIN|CROSS JOIN|TABLESAMPLE|EXPLAIN ANALYZE|SHOW
        |GROUP BY|HAVING|LIMIT (SELECT|OFFSET|row_to_json(|.*|CASE WHEN|UPDATE|DELETE|INSERT|DROP
        |CREATE TABLE|information_schema"""
    missing = [word for word in map(str.strip, words.split("|")) if word not in text]
    assert missing == []


def test_opaque_statements_take_no_text_apart() -> None:
    """Whatever looks inside a token would differ between two worlds of tokens."""
    chance = random.Random(2)
    made = "\n".join(statement(chance, SHOP, is_opaque=True) for _ in range(2000))
    for word in (
        "upper(",
        "substr(",
        "LIKE",
        "md5(",
        "length(",
        "LIMIT",
        "DISTINCT ON",
        "row_number",
    ):
        assert word not in made, word


# ------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("varchar(20)", "text"), ("TEXT", "text"), ("character varying", "text"), ("", "text"),
        ("longtext", "text"), ("int", "number"), ("double precision", "number"), ("boolean", "flag"),
        ("numeric(8,2)", "number"), ("timestamp with time zone", "time"), ("date", "time"),
        ("interval", "other"), ("integer[]", "other"), ("jsonb", "other"), ("enum('a')", "other"),
    ],
)  # fmt: skip
def test_a_type_says_what_can_be_done_with_it(type_name: str, kind: str) -> None:
    """Spellings of all engines are told apart."""
    assert kind_of(type_name) == kind


@pytest.mark.parametrize("type_name", ["int", "text", "date"])
def test_pools_of_worlds_do_not_meet(type_name: str) -> None:
    """No value of one world is a value of the other one."""
    pools = [{literal(type_name, n, world) for n in range(POOL)} for world in "ab"]
    assert not pools[0] & pools[1]


def test_a_value_fits_its_column() -> None:
    """A text is cut to the length of its type, and what cannot be filled is NULL."""
    assert all(len(literal("char(3)", n, "b")) <= 5 for n in range(POOL))
    assert literal("jsonb", 1, "a") == "NULL"
    assert {literal("boolean", 1, world) for world in "ab"} == {"TRUE", "FALSE"}


@pytest.mark.parametrize(
    ("mask", "type_name", "shown"),
    [(MaskKind.YEAR, "date", slice(1, 5)), (MaskKind.PARTIAL, "text", slice(-5, -1))],
)
def test_worlds_agree_on_what_a_mask_shows(mask: MaskKind, type_name: str, shown: slice) -> None:
    """The year, and the last characters, are equal; all else differs."""
    for index in range(30):
        first, second = (hidden(type_name, index, world, mask) for world in "ab")
        assert first != second
        assert first[shown] == second[shown]


def test_images_stand_behind_tokens() -> None:
    """A token column holds the images that were given, or does not depend on the world."""
    images = [f"x{n}" for n in range(POOL)]
    assert hidden("text", POOL + 2, "a", MaskKind.TOKEN, images) == "'x2'"
    assert hidden("text", 2, "a", MaskKind.TOKEN) == hidden("text", 2, "b", MaskKind.TOKEN)
    assert hidden("char(1)", 2, "a", MaskKind.TOKEN, images) == literal("char(1)", 2, "")


# ------------------------------------------------------------ worlds


def test_worlds_differ_in_masked_columns_only() -> None:
    """Every other column is equal row by row, and NULLs stand in the same places."""
    [first, second] = worlds({column("Name"): MaskKind.REDACT})
    others = "SELECT id, born, is_new, tags, note, Name IS NULL FROM people"
    assert rows(first, others) == rows(second, others)
    assert rows(first, "FROM sales") == rows(second, "FROM sales")
    names = "SELECT Name FROM people WHERE Name IS NOT NULL"
    assert not {*rows(first, names)} & {*rows(second, names)}


def test_hidden_rows_are_in_one_world_only() -> None:
    """Rows that a filter hides are absent from world b; the others stay, in order."""
    [first, second] = worlds(filters=[(PEOPLE.name, "id > 2")])
    assert rows(second, "FROM people") == rows(first, "FROM people WHERE id > 2")
    assert rows(first, "FROM people") != rows(second, "FROM people")


def test_views_schemas_and_heirs_are_made() -> None:
    """Schemas come first, parents before heirs; a view keeps the names of its columns."""
    view = table("v", ("a", "INTEGER"), kind="view", definition="SELECT id FROM hr.people;")
    parent = table("people", ("id", "INTEGER"), schema="hr")
    catalog = catalog_of(v=view, parent=parent)
    link = build(script(random.Random(1), catalog, "a", masks={}))
    assert rows(link, "SELECT count(a) > 0 FROM v") == [(True,)]
    heir = table(
        "heir", ("id", "int"), ("more", "mood"), parents=(parent.name, TableName("no", "where"))
    )
    made = script(random.Random(1), catalog_of("postgres", heir=heir, parent=parent), "a", masks={})
    text = "\n".join(made.statements)
    assert text.index('CREATE TABLE "hr"."people"') < text.index('CREATE TABLE "main"."heir"')
    assert 'CREATE TABLE "main"."heir" ("more" text) INHERITS ("hr"."people")' in text
    assert made.left_out == ("main.heir: more hold nothing but NULL",)


def test_a_circle_of_heirs_ends() -> None:
    """A catalog that makes no sense still gives a script."""
    one, two = TableName("main", "one"), TableName("main", "two")
    catalog = catalog_of(
        a=table("one", ("id", "int"), parents=(two,)), b=table("two", ("id", "int"), parents=(one,))
    )
    assert len(script(random.Random(1), catalog, "a", masks={}).statements) == 5


def test_a_table_without_columns_is_left_empty() -> None:
    """PostgreSQL has tables without columns; they hold no values."""
    made = script(random.Random(1), catalog_of("postgres", t=table("t")), "a", masks={})
    assert made.statements == ('CREATE SCHEMA "main"', 'CREATE TABLE "main"."t" ()', "ANALYZE")


def test_one_schema_engines_get_plain_names() -> None:
    """A file, and a MySQL database, hold one schema."""
    made = script(random.Random(1), in_dialect("sqlite"), "a", masks={})
    assert all(sql.startswith(("CREATE TABLE", "INSERT", "ANALYZE")) for sql in made.statements)
    assert full_name(TableName("main", "t"), "sqlite") == '"t"'
    assert full_name(TableName("x", "t`"), "mysql") == "`t```"
    assert full_name(TableName("s", "t"), "postgres") == '"s"."t"'


def test_statistics_are_gathered() -> None:
    """They are one more road to values; MySQL gathers them table by table."""
    view = table("v", ("a", "int"), kind="view", definition="SELECT 1")
    catalog = Catalog("mysql", "main", {SALES.name: SALES, view.name: view})
    made = script(random.Random(1), catalog, "a", masks={})
    assert made.statements[-1] == "ANALYZE TABLE `sales`"
    other = script(random.Random(1), in_dialect("tsql"), "a", masks={})
    assert "ANALYZE" not in other.statements


# ------------------------------------------------------------ what is seen


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, ()),
        ({"outcome": "denied", "text": "x"}, ("outcome", "text")),
        ({"columns": (("a", "int32"),)}, ("columns",)),
        ({"rows": ((2,), (1,))}, ("rows",)),
        ({"is_truncated": True}, ("is_truncated",)),
        ({"masked": {"a": "redact"}}, ("masked",)),
        ({"version": "2"}, ("version",)),
    ],
)
def test_a_difference_has_a_name(change, names) -> None:
    """What somebody could notice is named, the order of rows too."""
    seen = {"outcome": "rows", "rows": ((1,), (2,)), "version": "1"}
    assert differences(Observation(**seen), Observation(**seen | change)) == names


def test_a_number_that_is_none_is_no_difference() -> None:
    """NaN equals nothing, itself included, but reads the same."""
    first, second = (Observation("rows", rows=((float("nan"),),)) for _ in "ab")
    assert differences(first, second) == ()


def test_tokens_are_renamed_before_they_are_compared() -> None:
    """A token is the token of its image wherever it stands; order is the engine's then."""
    first = Observation("rows", rows=(("t1", ["t2"], {"k": "t1"}, ("t2", 5)), ("a", [], {}, ())))
    second = Observation(
        "rows", rows=(("a", [], {}, ()), ("u1", ["u2"], {"k": "u1"}, ("u2", 5))), version="other"
    )
    renaming = {"t1": "u1", "t2": "u2"}
    assert differences(first, second, renaming=renaming) == ()
    assert differences(first, second, renaming={}) == ("rows",)
