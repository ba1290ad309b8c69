"""What there is, as drivers ask for it: types as they arrive, names as patterns find them."""

from __future__ import annotations

import os
import re

import adbc_driver_flightsql.dbapi as adbc
import duckdb
import pyarrow as pa
import pyarrow.flight as fl
import pytest
from adbc_driver_postgresql import dbapi as postgresql
from hypothesis import example, given
from hypothesis import strategies as st

from nbgov.core.wire import write_command
from nbgov.gateway.flight.facts import VALUE, values
from nbgov.gateway.flight.metadata import pattern
from nbgov.gateway.flight.serving import start_data_plane
from nbgov.model import Principal, Stop, StopKind
from tests.gateway_scene import make_folder, make_house, token

CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
  away: {{kind: duckdb, path: away.duckdb}}
  pg: {{kind: postgresql, url: "{url}"}}
gateway:
  issuers: {{}}
"""
POLICY = """
version: 1
tags:
  public: ["*.*.*.*"]
rules:
  - {id: all, effect: permit, to: {groups: [analysts]}, actions: [read], on: ["pg.*.*", "warehouse.*.[!s]*", "warehouse.*.s[!a]*"]}
"""
# Arrow has a type of its own for these, of which a declaration says too little, or not enough.
TOLD_AS_TEXT = {"bignum", "timestamp_tz_ns", "union", "tuple"}
with duckdb.connect() as link:
    KINDS = sorted(
        {row[0] for row in link.sql("DESCRIBE SELECT * FROM test_all_types()").fetchall()}
        - TOLD_AS_TEXT
    )
POSTGRESQL = (
    "smallint", "integer", "bigint", "numeric(10, 2)", "numeric", "numeric(50, 10)", "real",
    "double precision", "money", "boolean", "text", "varchar(9)", "char(3)", "bytea", "date",
    "time", "timetz", "timestamp", "timestamptz", "interval", "uuid", "json", "jsonb", "inet",
    "bit(3)", "oid", "int4range", "tsvector", "point", "int[]", "text[]", "numeric[]",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres_url):
    """A PostgreSQL database with a column of each type, and a key of two."""
    name = f"metadata_{os.urandom(4).hex()}"
    with postgresql.connect(postgres_url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}").close()
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with postgresql.connect(url, autocommit=True) as link:
        columns = ", ".join(f'"{kind}" {kind}' for kind in POSTGRESQL)
        link.execute(f"CREATE TABLE kinds ({columns})").close()
        link.execute("CREATE TABLE pairs (b int, a int, c text, PRIMARY KEY (b, a))").close()
    yield url
    with postgresql.connect(postgres_url, autocommit=True) as link:
        link.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture(scope="module")
def plane(server, tmp_path_factory):
    """A gateway with three connections, of which one is away."""
    folder = tmp_path_factory.mktemp("metadata")
    path = make_folder(folder, config=CONFIG.format(url=server), policy=POLICY)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as link:
        for kind in KINDS:
            link.sql(f'CREATE TABLE "{kind}" AS SELECT "{kind}" FROM test_all_types() LIMIT 0')
    house = make_house(path)
    running = start_data_plane(house, "127.0.0.1:0")
    yield house, f"grpc://127.0.0.1:{running.port}"
    running.stop()
    house.close()


def driver(plane, connection):
    """ADBC on a connection."""
    house, url = plane
    options = {
        "adbc.flight.sql.authorization_header": f"Bearer {token(house, 'ada')}",
        "adbc.flight.sql.rpc.call_header.x-nbgov-connection": connection,
    }
    return adbc.connect(url, db_kwargs=options, autocommit=True)


@pytest.fixture(scope="module")
def warehouse(plane):
    with driver(plane, "warehouse") as link:
        yield link


@pytest.fixture(scope="module")
def pg(plane):
    with driver(plane, "pg") as link:
        yield link


def answer(plane, name, **asked):
    """The answer to a question, as plain Flight gets it."""
    house, url = plane
    header = f"Bearer {token(house, 'ada')}".encode()
    options = fl.FlightCallOptions(headers=[(b"authorization", header)], timeout=60)
    with fl.connect(url) as client:
        command = write_command(name, **asked)
        info = client.get_flight_info(fl.FlightDescriptor.for_command(command), options)
        return client.do_get(info.endpoints[0].ticket, options).read_all()


def kinds(schema):
    """The types of columns. DuckDB names the zone of the machine where PostgreSQL says UTC."""
    return [(one.name, re.sub(r"tz=[\w/]+", "tz=UTC", str(one.type))) for one in schema]


def delivered(link, sql):
    """The schema in which a statement's rows arrive."""
    with link.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table().schema


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_duckdb_is_announced_as_it_arrives(warehouse, kind):
    """The schema that GetTables tells of a table is the one in which its rows come."""
    announced = warehouse.adbc_get_table_schema(kind)
    assert kinds(announced) == kinds(delivered(warehouse, f'SELECT * FROM "{kind}"'))


def test_a_table_of_postgresql_is_announced_as_it_arrives(pg):
    """The same of PostgreSQL, whose types without a twin in Arrow come as text."""
    announced = pg.adbc_get_table_schema("kinds")
    assert kinds(announced) == kinds(delivered(pg, "SELECT * FROM kinds"))


def test_objects_are_those_of_every_connection(plane, pg):
    """A connection is a catalog; one that is away hides no other, and what is denied is absent."""
    catalogs = pg.adbc_get_objects(depth="tables").read_all().to_pylist()
    found = {
        one["catalog_name"]: {
            table["table_name"]
            for schema in one["catalog_db_schemas"]
            for table in schema["db_schema_tables"]
        }
        for one in catalogs
    }
    assert set(found) == {"pg", "warehouse"}
    assert found["pg"] == {"kinds", "pairs"}
    assert "people" in found["warehouse"]
    assert "salaries" not in found["warehouse"]
    names = answer(plane, "CommandGetTables").column("table_name").to_pylist()
    assert names.count("people") == 1
    assert "salaries" not in names


def test_a_key_is_told_in_its_order(plane):
    """The columns of a primary key come numbered; a table that one may not see has none."""
    [*rows] = answer(plane, "CommandGetPrimaryKeys", table="pairs").to_pylist()
    assert [row["key_sequence"] for row in rows] == [1, 2]
    assert {row["column_name"] for row in rows} == {"a", "b"}
    assert {(row["catalog_name"], row["db_schema_name"]) for row in rows} == {("pg", "public")}
    assert answer(plane, "CommandGetPrimaryKeys", table="salaries").num_rows == 0
    assert answer(plane, "CommandGetPrimaryKeys", table="pairs", catalog="warehouse").num_rows == 0


def test_answers_are_in_the_order_of_the_protocol(plane):
    """Tables come by catalog, schema and name, and types by their number."""
    tables = answer(plane, "CommandGetTables").to_pylist()
    places = [(one["catalog_name"], one["db_schema_name"], one["table_name"]) for one in tables]
    assert places == sorted(places)
    types = answer(plane, "CommandGetXdbcTypeInfo").column("data_type").to_pylist()
    assert types == sorted(types)


def test_a_connection_that_was_stopped_shows_nothing(plane):
    """While a connection is stopped its tables are absent, and those of others stay."""
    house, _ = plane
    olga = Principal("olga", frozenset({"platform"}))
    before = answer(plane, "CommandGetCatalogs").column(0).to_pylist()
    now = house.site.world.clock.now()
    house.stop(Stop(StopKind.CONNECTION, "pg", "olga", now, "broken"), by=olga)
    during = answer(plane, "CommandGetCatalogs").column(0).to_pylist()
    house.lift(StopKind.CONNECTION, "pg", by=olga)
    assert (before, during) == (["pg", "warehouse"], ["warehouse"])


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "sqlite", "mysql", "other"])
def test_every_number_of_sql_info_is_answered(dialect):
    """Drivers of JDBC take a missing number for a broken server; each one has its kind of value."""
    found = values(dialect)
    assert set(range(500, 577)) <= set(found)
    assert {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 100, 101} <= set(found)
    for kind, value in found.values():
        assert pa.array([value], VALUE[kind].type).type == VALUE[kind].type


def test_sql_info_comes_over_the_wire(plane):
    """All of it is answered where nothing is asked for, and a number that is not known is left out."""
    everything = answer(plane, "CommandGetSqlInfo")
    assert everything.column("info_name").to_pylist() == sorted(values("duckdb"))
    some = answer(plane, "CommandGetSqlInfo", info=(504, 9_999, 0)).to_pylist()
    assert [tuple(one.values()) for one in some] == [(504, '"'), (0, "nbgov (DuckDB)")]


@given(name=st.text(max_size=12))
@example(name="50%_\\")
def test_an_escaped_name_is_found_by_itself_alone(name):
    """A name whose wildcards are escaped finds that name, and nothing longer or other."""
    escaped = re.sub(r"([\\%_])", r"\\\1", name)
    fits = pattern(escaped)
    assert fits(name)
    assert not fits(f"{name}x")
    assert not fits(f"x{name}")


@given(parts=st.lists(st.sampled_from(["a", "b", ".", "*", "(", "\n"]), max_size=8))
def test_wildcards_stand_in_for_any_character(parts):
    """``%`` finds any text, ``_`` any one character; nothing else has a meaning."""
    name = "".join(parts)
    assert pattern("%")(name)
    assert pattern("_" * len(parts))(name)
    assert not pattern("_" * (len(parts) + 1))(name)
    assert pattern(name)(name)
    assert not pattern("")(name + "a")
