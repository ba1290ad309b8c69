"""How two documents of a connection differ, told without any literal."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.catalog_changes import (
    Change,
    ChangeKind,
    changes,
    digest,
    document,
    numbered,
    told_by,
)
from nbgov.core.statement.views import compose
from nbgov.model import Author, Catalog, Column, Effect, Table, TableName

KEY = b"key" * 11
MIRRORED = {
    ChangeKind.TABLE_ADDED: ChangeKind.TABLE_DROPPED,
    ChangeKind.COLUMN_ADDED: ChangeKind.COLUMN_DROPPED,
    ChangeKind.COLUMN_REQUIRED: ChangeKind.COLUMN_OPTIONAL,
    ChangeKind.GRANT_ADDED: ChangeKind.GRANT_REMOVED,
    ChangeKind.FUNCTION_ADDED: ChangeKind.FUNCTION_DROPPED,
}
MIRRORED |= {other: kind for kind, other in MIRRORED.items()}
SECRET = "ada-4711"

names = st.sampled_from(["a", "b", "c", 'd "e"', "f.g", "a (2)"])
types = st.sampled_from(
    ["INT", "REAL", "", f"ENUM('{SECRET}')", f"ENUM('{SECRET}x', 'y')", "D(4, 1)"]
)
columns = st.lists(st.builds(Column, names, types, st.booleans()), max_size=4)
table_names = st.builds(TableName, st.just("main"), names)
tables = st.builds(
    Table,
    name=table_names,
    columns=columns.map(tuple),
    kind=st.sampled_from(["table", "view", "foreign"]),
    definition=st.sampled_from(["", f"SELECT '{SECRET}'", f"SELECT '{SECRET}', 1"]),
    parents=st.lists(table_names, max_size=2).map(tuple),
    grants=st.lists(st.sampled_from(["SELECT to x", "SELECT to y"]), max_size=2).map(tuple),
    sources=st.frozensets(table_names, max_size=2),
)
catalogs = st.builds(
    Catalog,
    dialect=st.sampled_from(["duckdb", "sqlite"]),
    default_schema=st.sampled_from(["main", "other"]),
    tables=st.lists(tables, max_size=3).map(lambda found: {one.name: one for one in found}),
    functions=st.dictionaries(st.sampled_from(["main.f", "main.g"]), st.just(Effect.UNKNOWN)),
)
documents = st.builds(lambda catalog: document(catalog, KEY), catalogs)


@given(documents, documents)
def test_there_are_changes_exactly_where_digests_differ(before, after):
    """Nothing is told of equal documents, and something of any two that are not."""
    assert (changes(before, after) == ()) == (digest(before) == digest(after))
    assert changes(before, before) == ()


@given(documents, documents)
def test_the_way_back_is_the_way_there_mirrored(before, after):
    """What came went, what was is, and no change is told on one way only."""
    there = {
        replace(one, kind=MIRRORED.get(one.kind, one.kind), before=one.after, after=one.before)
        for one in changes(before, after)
    }
    assert there == {*changes(after, before)}


@given(documents, documents)
def test_what_is_told_makes_the_second_document_of_the_first(before, after):
    """Tables, columns with types and promises, kinds, grants and functions follow from changes."""
    held = {name: facts(entry) for name, entry in before["tables"].items()}
    functions = {*before["functions"]}
    for one in changes(before, after):
        apply(one, held, functions, after)
    assert functions == {*after["functions"]}
    assert held == {name: facts(entry) for name, entry in after["tables"].items()}


def facts(entry):
    return {
        "kind": entry["kind"],
        "columns": {
            name: (kind, needed) for name, (_, kind, needed, _) in numbered(entry["columns"])
        },
        "grants": {*entry.get("grants", ())},
    }


def apply(one, held, functions, after):  # noqa: C901  # One arm for each kind.
    """Carry one change out; only a new table is looked up in the document that it leads to."""
    table = held.get(one.subject, {})
    match one.kind:
        case ChangeKind.TABLE_ADDED:
            held[one.subject] = facts(after["tables"][one.subject]) | {"grants": set()}
        case ChangeKind.TABLE_DROPPED:
            del held[one.subject]
        case ChangeKind.COLUMN_ADDED:
            needed = one.after.endswith("NOT NULL")
            table["columns"][one.part] = (one.after.removesuffix("NOT NULL").strip(), needed)
        case ChangeKind.COLUMN_DROPPED:
            del table["columns"][one.part]
        case ChangeKind.COLUMN_RETYPED:
            table["columns"][one.part] = (one.after, table["columns"][one.part][1])
        case ChangeKind.COLUMN_REQUIRED | ChangeKind.COLUMN_OPTIONAL:
            needed = one.kind is ChangeKind.COLUMN_REQUIRED
            table["columns"][one.part] = (table["columns"][one.part][0], needed)
        case ChangeKind.KIND_CHANGED:
            table["kind"] = one.after
        case ChangeKind.GRANT_ADDED:
            table["grants"].add(one.after)
        case ChangeKind.GRANT_REMOVED if table:
            table["grants"].discard(one.before)
        case ChangeKind.FUNCTION_ADDED:
            functions.add(one.subject)
        case ChangeKind.FUNCTION_DROPPED:
            functions.discard(one.subject)


@given(catalogs, catalogs)
def test_no_literal_is_kept_or_told(before, after):
    """Neither the label of a type nor a word of a definition is in a document or a change."""
    old, new = document(before, KEY), document(after, KEY)
    told = [text for one in changes(old, new) for text in (str(one), one.words(), one.mark)]
    assert SECRET not in json.dumps([old, new, told])


@given(catalogs)
def test_a_document_is_json_that_comes_back(catalog):
    """What the store reads back has the digest of what it was given."""
    told = document(catalog, KEY)
    assert digest(json.loads(json.dumps(told))) == digest(told)


def test_another_key_tells_definitions_apart():
    """Whoever lacks the key cannot guess a definition by its digest."""
    view = Table(TableName("main", "v"), (Column("a", "INT"),), "view", "SELECT 1 AS a")
    catalog = Catalog("duckdb", "main", {view.name: view})
    assert digest(document(catalog, KEY)) != digest(document(catalog, b"other" * 8))


def test_a_view_names_the_base_tables_that_it_reads():
    """A definition that moved says from which tables to which; one that is rerouted says it too."""
    t, u = (Table(TableName("main", name), (Column("a", "INT"),)) for name in "tu")
    inner = Table(TableName("main", "i"), (Column("a", "INT"),), "view", "SELECT a FROM main.t")
    outer = Table(TableName("main", "o"), (Column("a", "INT"),), "view", "SELECT a FROM main.i")
    moved = replace(inner, definition="SELECT a FROM main.u")
    old, new = (
        document(compose(Catalog("duckdb", "main", {x.name: x for x in (t, u, i, outer)})), KEY)
        for i in (inner, moved)
    )
    assert [(one.subject, one.words()) for one in changes(old, new)] == [
        ("main.i", "has another definition; it reads main.u, and read main.t"),
        ("main.o", "reads main.u, read main.t, through another view"),
    ]


def test_order_counts_where_it_is_not_said_already():
    """Columns that changed places were moved; one that came made nobody move."""
    entry = {"kind": "table", "columns": [["a", "", False, ""], ["b", "", False, ""]]}
    swapped = {"kind": "table", "columns": entry["columns"][::-1]}
    longer = {"kind": "table", "columns": [*entry["columns"], ["c", "", False, ""]]}
    old, new, more = ({"tables": {"t": one}} for one in (entry, swapped, longer))
    assert [str(one) for one in changes(old, new)] == ['columns-reordered t "a, b" "b, a"']
    assert [one.words() for one in changes(old, more)] == ["c added: no type"]


def test_a_change_says_whether_it_is_of_a_table():
    """Functions and settings are not tables, and have no column."""
    assert Change(ChangeKind.TABLE_ADDED, "main.t").is_of_table
    assert not Change(ChangeKind.FUNCTION_ADDED, "main.f").is_of_table


def test_who_did_it_is_named_with_the_entry():
    """Every statement that may have done it is named; without one, only who met it is known."""
    authors = [
        Author(3, "ada", "ALTER", ("main.t", "main.u")),
        Author(9, "ben", "CALL", is_closed=False),
    ]
    assert told_by(authors, "eve") == (
        "by ada, entry 3 (ALTER main.t, main.u); by ben, entry 9 (CALL, whose end is not known)"
    )
    assert told_by([], "eve") == "outside nbgov, first seen by eve"
