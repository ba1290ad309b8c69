"""A catalog as a file: what decodes, what does not, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.catalog import dump, parse, schema
from nbgov.errors import ConfigInvalid
from nbgov.model import Catalog, Column, ColumnName, Effect, Table, TableName

FIXTURE = Path(__file__).parent.parent / "cases/guard"
HEAD = "version: 1\ndialect: duckdb\ndefault_schema: main\n"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = texts.filter(bool)
tables = st.builds(
    Table,
    name=st.builds(TableName, schema=texts, name=names),
    columns=st.lists(
        st.builds(Column, name=texts, type=texts, is_required=st.booleans()),
        unique_by=lambda column: column.name,
        max_size=5,
    ).map(tuple),
    kind=st.sampled_from(["table", "view", "foreign"]),
    definition=texts | st.just("SELECT a,\n  b\nFROM t\n"),
    parents=st.lists(st.builds(TableName, schema=texts, name=names), max_size=2).map(tuple),
)
catalogs = st.builds(
    Catalog,
    dialect=st.sampled_from(["duckdb", "mysql", "postgres", "sqlite", "oracle"]),
    default_schema=texts,
    tables=st.lists(tables, max_size=4).map(lambda found: {table.name: table for table in found}),
    functions=st.dictionaries(texts.map(str.lower), st.just(Effect.UNKNOWN), max_size=3),
    is_whole=st.booleans(),
)


@given(catalogs)
def test_a_catalog_survives_being_written_and_read(catalog):
    """What is written is read back equal, whatever the names, types and queries are."""
    assert parse(dump(catalog)) == catalog


@pytest.mark.parametrize("path", sorted(FIXTURE.glob("catalog.*.yaml")), ids=lambda p: p.name)
def test_the_fixture_is_a_catalog_of_its_dialect(path):
    """Each catalog of the shop decodes, in the dialect that its name says."""
    catalog = parse(path.read_text(encoding="utf-8"))
    assert catalog.dialect == path.name.split(".")[1]
    assert {name.name for name in catalog.tables} >= {"customers", "orders", "v_customers"}
    assert parse(dump(catalog)) == catalog


def test_what_nbgov_finds_out_by_itself_is_not_written():
    """Origins and registered functions come from the catalog and the policy, not from a file."""
    base, view = TableName("main", "t"), TableName("main", "v")
    origin = ColumnName(base, "a")
    origins = {"a": frozenset({origin})}
    table = Table(
        view, (Column("a", "int"),), "view", "SELECT 1", (), origins, frozenset({origin}), True
    )
    composed = Catalog("duckdb", "main", {view: table}, {"main.f": Effect.READ})
    bare = parse(dump(composed))
    assert bare.functions == {"main.f": Effect.UNKNOWN}
    assert (bare.tables[view].origins, bare.tables[view].is_traced) == ({}, False)


def test_a_column_may_be_written_short_or_long():
    """A type alone, no type at all, and a mapping are three ways to write a column."""
    text = (
        HEAD + "tables: {main.t: {columns: {a: int, b: , c: {type: int, required: true}, d: {}}}}"
    )
    [table] = parse(text).tables.values()
    assert table.columns == (
        Column("a", "int"),
        Column("b", ""),
        Column("c", "int", is_required=True),
        Column("d", ""),
    )


def test_a_query_of_several_lines_stays_legible():
    """A view's definition is written as a block, line by line."""
    view = TableName("main", "v")
    text = dump(Catalog("duckdb", "main", {view: Table(view, (), "view", "SELECT a\nFROM t")}))
    assert "    definition: |-\n      SELECT a\n      FROM t\n" in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version: 2\ndialect: duckdb\ndefault_schema: main\ntables: {}", "1"),
        (HEAD + "tables: {}\ntabels: {}", "did you mean 'tables'"),
        (HEAD.replace("duckdb", "klingon") + "tables: {}", "dialect is not known"),
        (HEAD + "tables: {a.b.c: {columns: {}}}", "not schema.table"),
        (HEAD + "tables: {'a.': {columns: {}}}", "not schema.table"),
        (HEAD + "tables: {'': {columns: {}}}", "not schema.table"),
        (HEAD + """tables: {'a"b': {columns: {}}}""", "not schema.table"),
        (HEAD + """tables: {a.b: {columns: {}}, '"a".b': {columns: {}}}""", "occurs twice"),
        (HEAD + "tables: {a.b: {columns: {c: 1, c: 2}}}", "occurs twice"),
        (HEAD + "tables: {a.b: {columns: {c: 1}}}", "valid string"),
        (HEAD + "tables: {a.b: {columns: {c: {typ: int}}}}", "did you mean 'type'"),
        (HEAD + "tables: {a.b: {columns: {}, kind: index}}", "'table', 'view' or 'foreign'"),
        (HEAD + "tables: {a.b: {columns: {}, parents: [x.y.z]}}", "not schema.table"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(text, why):
    """Each mistake is an error with its reason, and never a table that means another."""
    with pytest.raises(ConfigInvalid) as refused:
        parse(text)
    assert refused.value.code == "catalog-invalid"
    assert why in str(refused.value)


def test_a_long_catalog_is_read_and_one_beyond_all_measure_is_not(monkeypatch):
    """A warehouse has more columns than a policy has rules; there is a limit all the same."""
    monkeypatch.setattr("nbgov.core.catalog.CATALOG_CHARS_MAX", 60)
    with pytest.raises(ConfigInvalid, match="larger than 60"):
        parse(HEAD + "tables: {}\n#" + "x" * 60)


def test_editors_learn_the_short_form_of_a_column():
    """The JSON Schema takes a column as a text or as a mapping."""
    columns = schema()["$defs"]["TableEntry"]["properties"]["columns"]["additionalProperties"]
    assert {part.get("type") for part in columns["anyOf"]} == {"string", "null", None}
