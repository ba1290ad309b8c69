"""Every type of DuckDB and PostgreSQL through the gateway: values and schemas as without it."""

from __future__ import annotations

import os

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import duckdb
import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi as postgresql
from hypothesis import given, settings
from hypothesis import strategies as st

import nbgov
import nbgov.login
from nbgov.errors import NbgovError
from tests.gateway.remote_scene import running
from tests.gateway_scene import token

GATEWAY = "gateway:\n  issuers: {}\n"
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
  pg: {{kind: postgresql, url: "{url}"}}
"""
POLICY = """
version: 1
tags:
  public: ["*.*.*.*"]
rules:
  - {id: all, effect: permit, to: {groups: [analysts]}, actions: [read], on: ["*.*.*"]}
"""
with duckdb.connect() as link:
    KINDS = [row[0] for row in link.sql("DESCRIBE SELECT * FROM test_all_types()").fetchall()]
MORE = {
    "nothing": "NULL::INTEGER",
    "empty list": "[]::INTEGER[]",
    "text with NUL": "'a' || chr(0) || 'b'",
    "far characters": "'𝔘ñï\u202ecode'",
    "negative zero": "-0.0::DOUBLE",
    "not a number": "'nan'::DOUBLE",
    "infinite": "'-inf'::FLOAT",
    "infinite date": "'infinity'::DATE",
    "enum in a list": "['a'::ENUM('a', 'b'), NULL]",
    "enum in a struct": "{'e': 'b'::ENUM('a', 'b')}",
    "map of lists": "MAP {1: [1, NULL], 2: NULL}",
    "big blob": "repeat('x', 3000000)::BLOB",
    "JSON": """'{"a": [1]}'::JSON""",
}
POSTGRESQL = {
    "smallint": "-32768", "integer": "2147483647", "bigint": "'-9223372036854775808'",
    "numeric(10, 2)": "12.30", "numeric": "1.50", "numeric(50, 10)": "1", "real": "1.5",
    "double precision": "'NaN'", "money": "12.30", "boolean": "true", "text": "'ü'", "varchar(9)": "'x'",
    "char(3)": "'ab'", "bytea": "'\\x00ff'", "date": "'2026-01-02'", "time": "'10:00:00.5'",
    "timetz": "'10:00+02'", "timestamp": "'2026-01-02 03:04:05.6'", "timestamptz": "'2026-01-02 03:04+02'",
    "interval": "'1 month 2 days'", "uuid": "'00000000-0000-0000-0000-00000000000a'",
    "json": "'{\"a\": [1]}'", "jsonb": "'{\"a\": [1]}'", "inet": "'10.0.0.1'", "cidr": "'10.0.0.0/8'",
    "macaddr": "'08:00:2b:01:02:03'", "bit(3)": "'101'", "varbit": "'1'", "oid": "4000000000",
    "int4range": "'[1,3)'", "tsvector": "'a b'", "point": "'(1,2)'", "mood": "'glad'",
    "int[]": "'{1,NULL}'", "text[]": "'{a,b}'", "int[][]": "'{{1,2},{3,4}}'", "numeric[]": "'{1.5}'",
    "date[]": "'{2026-01-02}'",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres_url):
    """A PostgreSQL database with a column of each type."""
    name = f"types_{os.urandom(4).hex()}"
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with postgresql.connect(postgres_url, autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}").close()
    columns = ", ".join(f'"{kind}" {kind}' for kind in POSTGRESQL)
    with postgresql.connect(url, autocommit=True) as link:
        for text in (
            "CREATE TYPE mood AS ENUM ('sad', 'glad')",
            f"CREATE TABLE kinds ({columns})",
            f"INSERT INTO kinds VALUES ({', '.join(POSTGRESQL.values())})",
            "INSERT INTO kinds DEFAULT VALUES",
        ):
            link.execute(text).close()
    yield url
    with postgresql.connect(postgres_url, autocommit=True) as link:
        link.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture(scope="module")
def ways(server, tmp_path_factory):
    """The same tables three ways: on the database itself, through our client, and through ADBC."""
    folder, client = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("client")
    config = CONFIG.format(url=server)
    with (
        running(folder, config=config + GATEWAY, policy=POLICY) as gateway,
        pytest.MonkeyPatch.context() as patch,
    ):
        with duckdb.connect(str(folder / "warehouse.duckdb")) as link:
            for kind in KINDS:
                link.sql(f'CREATE TABLE "{kind}" AS SELECT "{kind}" FROM test_all_types()')
        patch.setattr(nbgov.login, "credentials_for", gateway.credentials)
        path = gateway.client(client)
        path.write_text(
            path.read_text() + path.read_text().splitlines()[-1].replace("warehouse:", "pg:") + "\n"
        )
        (folder / "embedded.yaml").write_text(
            config + "state: .embedded\nprincipals: {ada: {groups: [analysts]}}\n"
        )
        header = f"Bearer {token(gateway.house, 'ada')}"

        def through_adbc(connection):
            return adbc.connect(
                f"grpc://127.0.0.1:{gateway.data}",
                db_kwargs={
                    "adbc.flight.sql.authorization_header": header,
                    "adbc.flight.sql.rpc.call_header.x-nbgov-connection": connection,
                    "adbc.flight.sql.client_option.with_max_msg_size": str(64 * 2**20),
                },
                autocommit=True,
            )

        with (
            nbgov.connect(folder / "embedded.yaml", as_="ada") as embedded,
            nbgov.connect(path) as remote,
            through_adbc("warehouse") as warehouse,
            through_adbc("pg") as pg,
        ):
            yield embedded, remote, {"warehouse": warehouse, "pg": pg}


def agree(ways, sql, connection="warehouse"):
    """Hold the three ways against one another; the table, or the code of the error."""
    embedded, remote, drivers = ways
    expected = told_by(embedded, sql, connection)
    found = told_by(remote, sql, connection)
    with drivers[connection].cursor() as cursor:
        if isinstance(expected, NbgovError):
            assert (type(found), str(found)) == (type(expected), str(expected))
            with pytest.raises(adbc_driver_manager.Error) as told:
                read(cursor, sql)
            assert expected.what in str(told.value)
            return expected.code
        assert_same(found, expected)
        assert_same(read(cursor, sql), expected)
    return expected


def read(cursor, sql):
    """The table that a driver delivers."""
    cursor.execute(sql)
    return cursor.fetch_arrow_table()


def told_by(session, sql, connection):
    """The table that a session delivers, or its error."""
    try:
        return session.sql(sql, connection).to_arrow()
    except NbgovError as error:
        return error


def assert_same(found, expected):
    """Equal in schema, with all metadata, and in every value."""
    assert found.schema.equals(expected.schema, check_metadata=True)
    assert found.num_rows == expected.num_rows
    for one, other in zip(found.columns, expected.columns, strict=True):
        # NaN is like no value, but its text is like itself.
        assert one.equals(other) or repr(one.to_pylist()) == repr(other.to_pylist())


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_duckdb_arrives_as_it_is(ways, kind):
    """Its smallest and its largest value, and NULL, in the same Arrow type; none is refused."""
    found = agree(ways, f'SELECT "{kind}" FROM "{kind}"')
    assert isinstance(found, pa.Table), found
    assert found.num_rows == 3


@pytest.mark.parametrize("text", MORE.values(), ids=MORE.keys())
def test_values_at_the_edge_arrive_as_they_are(ways, text):
    """What streams, texts and floats are known to lose is not lost."""
    agree(ways, f"SELECT {text} AS v UNION ALL SELECT NULL")


@pytest.mark.parametrize("kind", POSTGRESQL)
def test_every_type_of_postgresql_arrives_as_it_is(ways, kind):
    """A value and NULL, in the same Arrow type."""
    found = agree(ways, f'SELECT "{kind}" FROM kinds', "pg")
    assert isinstance(found, pa.Table), found
    assert found.column(0).null_count == 1


def test_wide_and_empty_results_arrive_as_they_are(ways):
    """500 columns, columns of one name, no rows, and no rows of a type with a dictionary."""
    agree(ways, f"SELECT {', '.join(f'{n} AS c{n}' for n in range(500))}")
    agree(ways, "SELECT 1 AS a, 2 AS a, 'x' AS a")
    agree(ways, "SELECT small_enum FROM small_enum WHERE false")
    agree(ways, "SELECT * FROM kinds WHERE false", "pg")


def test_a_cell_of_twenty_megabytes_arrives(ways):
    """A message may be as large as its largest cell; one of several rows is cut between them."""
    table = agree(ways, "SELECT repeat('x', 20000000) AS v UNION ALL SELECT 'y'")
    assert table.nbytes > 20_000_000


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 5_000),
    width=st.integers(1, 3_000),
    columns=st.lists(
        st.sampled_from(
            [
                "i",
                "i / 7.0",
                "repeat('x', i % {width})",
                "[i, NULL]",
                "CASE WHEN i % 3 = 0 THEN NULL ELSE {{'a': i}} END",
                "(i % 2)::VARCHAR::ENUM('0', '1')",
            ]
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_however_batches_are_cut_the_rows_are_the_same(ways, rows, width, columns):
    """Long rows, short rows and NULLs, over any number of messages."""
    chosen = ", ".join(f"{one.format(width=width)} AS c{n}" for n, one in enumerate(columns))
    agree(ways, f"SELECT {chosen} FROM range({rows}) t(i) ORDER BY i")
