"""What each engine says that its database holds: definitions, parents, promises, functions.

The catalog that all engines share is in ``test_engine.py``; here is what a policy needs beyond it.
"""

from __future__ import annotations

import os
import sqlite3

import duckdb
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi

from nbgov import backends
from nbgov.backends.duckdb import open_engine as open_duckdb
from nbgov.backends.postgresql import open_engine as open_postgresql
from nbgov.backends.sqlalchemy import open_engine as open_sqlalchemy
from nbgov.backends.sqlalchemy.engine import SQLAlchemyEngine
from nbgov.backends.sqlite.engine import open_engine as open_sqlite
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import Catalog, Column, Effect, Table, TableName

SHARED = [
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, note VARCHAR(40))",
    "CREATE VIEW named (who, mark) AS SELECT name, id FROM people WHERE id > 0",
    "CREATE VIEW again AS SELECT who FROM named",
]


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "warehouse.duckdb"

    def change(*statements):
        engine.close()
        with duckdb.connect(path) as connection:
            for sql in statements:
                connection.execute(sql)

    engine = open_duckdb("warehouse", {"path": path})
    change(*SHARED)
    yield engine, change
    engine.close()


@pytest.fixture
def light(tmp_path):
    connection = sqlite3.connect(tmp_path / "ops.db", isolation_level=None)

    def change(*statements):
        for sql in statements:
            connection.execute(sql)

    change(*SHARED)
    engine = open_sqlite("ops", {"path": tmp_path / "ops.db"})
    yield engine, change
    engine.close()
    connection.close()


@pytest.fixture
def generic(light, tmp_path):
    engine = open_sqlalchemy("other", {"url": f"sqlite:///{tmp_path / 'ops.db'}"})
    yield engine, light[1]
    engine.close()


@pytest.fixture
def elephant(postgres_url):
    name = f"catalog_{os.urandom(6).hex()}"
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}").close()
        with dbapi.connect(url, autocommit=True) as connection:

            def change(*statements):
                for sql in statements:
                    connection.execute(sql).close()

            change(*SHARED)
            engine = open_postgresql("pg", {"url": url})
            yield engine, change
            engine.close()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture
def maria(mariadb_url):
    name = f"catalog_{os.urandom(6).hex()}"
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:

        def change(*statements):
            for sql in statements:
                connection.exec_driver_sql(sql)

        change(f"CREATE DATABASE {name}", f"USE {name}", *SHARED)
        engine = open_sqlalchemy("other", {"url": mariadb_url.replace("/test?", f"/{name}?")})
        yield engine, change
        engine.close()
        change(f"DROP DATABASE {name}")
    server.dispose()


@pytest.fixture(params=["duck", "light", "generic", "elephant", "maria"])
def place(request):
    """An engine, and a way to change its database that goes around it."""
    return request.getfixturevalue(request.param)


def table(engine, name):
    catalog = engine.catalog()
    return catalog.tables[TableName(catalog.default_schema, name)]


# ---------------------------------------------------------------- every engine


def test_a_view_has_the_query_behind_it(place):
    """A definition is the query alone, and a table has none."""
    engine, _ = place
    named = " ".join(table(engine, "named").definition.split())
    assert named.upper().startswith("SELECT")
    assert "people" in named
    assert named.rstrip()[-1] != ";"
    assert table(engine, "again").definition
    assert table(engine, "people").definition == ""


def test_a_column_says_whether_it_is_required(place):
    """A primary key and a NOT NULL column are required, the rest is not."""
    engine, _ = place
    required = {column.name: column.is_required for column in table(engine, "people").columns}
    # SQLAlchemy does not tell which keys of SQLite are row ids, and any other key may be NULL.
    assert required == {
        "id": type(engine) is not SQLAlchemyEngine or engine.dialect != "sqlite"
    } | {
        "name": True,
        "note": False,
    }


def test_a_catalog_is_one_object_while_nothing_changes(place):
    """Two catalogs of an unchanged database are the same object, also when rows were written."""
    engine, change = place
    first = engine.catalog()
    assert engine.catalog() is first
    if engine.dialect != "duckdb":
        change("INSERT INTO people VALUES (1, 'Ada', NULL)")
        assert engine.catalog() is first
    change("CREATE TABLE extra (a INTEGER)")
    assert engine.catalog() is not first


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE people ADD COLUMN added INTEGER",
        "ALTER TABLE people RENAME COLUMN note TO remark",
        "DROP VIEW again",
    ],
)
def test_every_kind_of_change_shows(place, sql):
    """A catalog after a change is another than before."""
    engine, change = place
    before = engine.catalog()
    change(sql)
    assert engine.catalog() != before


def test_a_redefined_view_shows(place):
    """A view that asks something else under the same name and columns is another view."""
    engine, change = place
    before = table(engine, "again").definition
    change("DROP VIEW again", "CREATE VIEW again AS SELECT note AS who FROM people")
    assert table(engine, "again").definition != before


# ---------------------------------------------------------------- DuckDB


def test_duckdb_lists_macros_schemas_and_generated_columns(duck):
    """Macros are unknown functions; generated columns are columns; names are kept as they are."""
    engine, change = duck
    change(
        "CREATE SCHEMA s",
        "CREATE MACRO Twice(x) AS x * 2",
        "CREATE MACRO s.rows_of() AS TABLE SELECT * FROM people",
        'CREATE TABLE s."Odd t" (a INTEGER, b INTEGER GENERATED ALWAYS AS (a + 1))',
        'CREATE VIEW s.odd ("as") AS SELECT a AS "x;" FROM s."Odd t"',
    )
    catalog = engine.catalog()
    assert catalog.functions == {"main.twice": Effect.UNKNOWN, "s.rows_of": Effect.UNKNOWN}
    assert [c.name for c in catalog.tables[TableName("s", "Odd t")].columns] == ["a", "b"]
    odd = catalog.tables[TableName("s", "odd")]
    assert odd.definition == 'SELECT a AS "x;" FROM s."Odd t"'
    assert [column.name for column in odd.columns] == ["as"]


# ---------------------------------------------------------------- SQLite


def test_sqlite_tells_virtual_tables_and_hidden_columns(light):
    """What a module shows is foreign, its hidden columns are left out, generated ones are not."""
    engine, change = light
    change(
        "CREATE VIRTUAL TABLE texts USING fts5(body)",
        "CREATE TABLE made (a INTEGER, b AS (a + 1), c AS (a + 2) STORED)",
    )
    catalog = engine.catalog()
    kinds = {name.name: found.kind for name, found in catalog.tables.items()}
    assert kinds["texts"] == kinds["texts_content"] == "foreign"
    assert kinds["made"] == "table"
    assert [column.name for column in table(engine, "texts").columns] == ["body"]
    assert [column.name for column in table(engine, "made").columns] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("columns", "required"),
    [
        ("(a INTEGER PRIMARY KEY)", [True]),
        ("(a TEXT PRIMARY KEY)", [False]),
        ("(a INTEGER, b INTEGER, PRIMARY KEY (a, b))", [False, False]),
        ("(a TEXT, b TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID", [True, True]),
    ],
)
def test_sqlite_promises_only_what_it_keeps(light, columns, required):
    """Only a row id and the keys of a table without one are never NULL."""
    engine, change = light
    change(f"CREATE TABLE keyed {columns}")
    assert [column.is_required for column in table(engine, "keyed").columns] == required


# ---------------------------------------------------------------- PostgreSQL


def test_postgresql_tells_kinds_parents_and_functions(elephant):
    """Partitions and heirs have parents, materialised views are views, functions are unknown."""
    engine, change = elephant
    change(
        "CREATE SCHEMA s",
        "CREATE TABLE whole (a integer, b text) PARTITION BY LIST (a)",
        "CREATE TABLE s.part PARTITION OF whole FOR VALUES IN (1)",
        "CREATE TABLE other_parent (c integer)",
        "CREATE TABLE heir (d integer) INHERITS (people, other_parent)",
        "CREATE MATERIALIZED VIEW kept AS SELECT b FROM whole",
        "CREATE FUNCTION s.\"Twice\"(x integer) RETURNS integer LANGUAGE sql AS 'SELECT x * 2'",
        "CREATE PROCEDURE wipe() LANGUAGE sql AS 'DELETE FROM people'",
    )
    catalog = engine.catalog()
    public = {
        n: TableName("public", n) for n in ("whole", "people", "other_parent", "heir", "kept")
    }
    tables = catalog.tables
    assert tables[TableName("s", "part")].parents == (public["whole"],)
    assert tables[public["heir"]].parents == (public["people"], public["other_parent"])
    assert tables[public["whole"]].parents == ()
    assert tables[public["kept"]].kind == "view"
    assert "b" in tables[public["kept"]].definition
    assert catalog.functions == {"s.twice": Effect.UNKNOWN, "public.wipe": Effect.UNKNOWN}


def test_a_definition_names_what_the_search_path_does_not_find(elephant):
    """A view onto another schema spells it, whatever the account's own path says."""
    engine, change = elephant
    change(
        "CREATE SCHEMA s",
        "CREATE TABLE s.hidden (a integer)",
        "CREATE VIEW over AS SELECT a FROM s.hidden",
        f"ALTER DATABASE {engine._url.database} SET search_path = public, s",
    )
    assert "s.hidden" in table(engine, "over").definition
    assert engine.catalog().default_schema == "public"


def test_a_lost_catalog_connection_is_replaced(elephant, postgres_url):
    """A server that ends the connection of the catalog costs nothing but a new one."""
    engine, _ = elephant
    first = engine.catalog()
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{engine._url.database}' AND application_name = 'nbgov'"
        ).close()
    assert engine.catalog() is first


def test_a_catalog_of_a_database_that_is_gone_is_an_error(elephant, postgres_url):
    """A database that was dropped has no catalog, also where one was known."""
    engine, _ = elephant
    engine.catalog()
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"ALTER DATABASE {engine._url.database} ALLOW_CONNECTIONS false").close()
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = '{engine._url.database}' AND application_name = 'nbgov'"
        ).close()
        with pytest.raises(BackendFailed) as caught:
            engine.catalog()
    assert caught.value.code == "database-unavailable"


# ---------------------------------------------------------------- MariaDB


def test_mariadb_tells_kinds_functions_and_hidden_columns(maria):
    """Engines that show rows of other tables are foreign; what * leaves out is no column."""
    engine, change = maria
    change(
        "CREATE TABLE a (x INTEGER) ENGINE=MyISAM",
        "CREATE TABLE both_of (x INTEGER) ENGINE=MERGE UNION=(a)",
        "CREATE TABLE shy (x INTEGER, y INTEGER INVISIBLE DEFAULT 1, z INTEGER AS (x + 1))",
        "CREATE FUNCTION Twice(n INTEGER) RETURNS INTEGER DETERMINISTIC RETURN n * 2",
        "CREATE PROCEDURE wipe() DELETE FROM people",
    )
    catalog = engine.catalog()
    schema = catalog.default_schema
    assert table(engine, "a").kind == "table"
    assert table(engine, "both_of").kind == "foreign"
    assert [column.name for column in table(engine, "shy").columns] == ["x", "z"]
    own = {name for name in catalog.functions if name.startswith(schema)}
    assert own == {f"{schema}.twice", f"{schema}.wipe"}
    assert {catalog.functions[name] for name in own} == {Effect.UNKNOWN}


# ---------------------------------------------------------------- without a database


def relation(schema, name, definition="", **columns):
    kinds = tuple(Column(column, kind) for column, kind in columns.items())
    kind = "view" if definition else "table"
    return Table(TableName(schema, name), kinds, kind=kind, definition=definition)


@pytest.fixture(params=["duckdb", "sqlite", "postgres", "mysql", "oracle"])
def offline(request):
    """An engine made from a catalog of two schemas."""
    schema = {"duckdb": "main", "sqlite": "main"}.get(request.param, "public")
    tables = [
        relation(schema, "people", id="INTEGER", mood="no_such_type"),
        relation(schema, "named", "SELECT id FROM people", who="INTEGER"),
        relation("aux", "Odd t", a="INTEGER"),
    ]
    catalog = Catalog(request.param, schema, {one.name: one for one in tables})
    engine = backends.load_offline(request.param)(catalog)
    yield engine
    engine.close()
    engine.close()


def test_an_offline_engine_inspects_like_its_product(offline):
    """Without a database, a product counts statements, and tells reads where it can."""
    assert offline.inspect("SELECT id, mood FROM people").statements == 1
    assert offline.inspect("SELECT id FROM people").is_read in {True, None}
    assert offline.inspect("DELETE FROM people").is_read in {False, None}
    assert offline.inspect("SELECT 1; SELECT 2").statements == 2
    with pytest.raises(RequestInvalid):
        offline.inspect("SELEC 1 FROM FROM")


@pytest.mark.parametrize("offline", ["duckdb", "sqlite", "postgres"], indirect=True)
def test_an_offline_engine_names_tables_and_views(offline):
    """The relations of a read are named as with a database, those behind a view are not."""
    named = offline.inspect('SELECT * FROM named, aux."Odd t"').tables
    assert {name.name for name in named} == {"named", "Odd t"}


@pytest.mark.parametrize("offline", ["sqlite"], indirect=True)
def test_an_offline_sqlite_resolves_names(offline):
    """SQLite resolves columns against the catalog, and refuses one that is not in it."""
    columns = offline.inspect("SELECT who FROM named").columns
    assert {str(column) for column in columns} == {"main.named.who"}
    with pytest.raises(RequestInvalid) as caught:
        offline.inspect("SELECT missing FROM people")
    assert caught.value.code == "unknown-column"
