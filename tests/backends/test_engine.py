"""One behaviour suite for the Engine port, over every product; products' own cases stand beside it."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import shutil
import signal
import sqlite3
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi

from nbgov.core.binds import text_form
from nbgov.core.transfer import BATCH_ROWS_MAX
from nbgov.errors import BackendFailed, Denied, NbgovError, RequestInvalid
from nbgov.model import BindMarker, Clearance, Span, TableName

CANARY = "canary-7731"
SECRET = "hunter2-in-the-url"
LONG = " , ".join(f"digits d{place}" for place in range(12))
LONG_SQL = f"SELECT sum(d0.d * d1.d + d2.d * d11.d) AS n FROM {LONG}"
ENDLESS_SQL = f"SELECT d0.d AS a, d1.d AS b, 'some text' AS c FROM {LONG}"
ROWS = 100_000
ROWS_SQL = (
    "SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n "
    "FROM digits a, digits b, digits c, digits e, digits f WHERE f.d < 10"
)
PEOPLE = [
    (1, "Ada", 1.5, "1815-12-10", "1842-09-01 09:05:00.250000", "10.25", b"\x00\xff"),
    (2, "Zoë 🛩", None, None, None, None, None),
    (3, CANARY, -2.0, "1999-12-31", "1999-12-31 23:59:59", "-99.90", b""),
]
SEED = [
    "CREATE TABLE people (id {int} PRIMARY KEY, name {text} UNIQUE, score {real}, born {date}, seen {moment}, fee {decimal}, photo {blob})",
    "CREATE VIEW adults AS SELECT id, name FROM people",
    "CREATE TABLE digits (d {int})",
    "CREATE TABLE samples (id {int}, flag {bool}, whole {long}, real_ {real}, words {text}, raw {blob}, fee {decimal}, day {date}, moment {moment}, clock {time})",
    "INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)",
]
TYPES = {
    "duckdb": {
        "int": "INTEGER", "long": "BIGINT", "text": "VARCHAR", "real": "DOUBLE", "date": "DATE",
        "moment": "TIMESTAMP", "decimal": "DECIMAL(10,2)", "blob": "BLOB", "bool": "BOOLEAN",
        "time": "TIME",
    },
    "sqlite": {
        "int": "INTEGER", "long": "BIGINT", "text": "VARCHAR(40)", "real": "DOUBLE", "date": "DATE",
        "moment": "DATETIME", "decimal": "TEXT", "blob": "BLOB", "bool": "BOOLEAN", "time": "TIME",
    },
    "postgresql": {
        "int": "integer", "long": "bigint", "text": "character varying(40)",
        "real": "double precision", "date": "date", "moment": "timestamp without time zone",
        "decimal": "numeric(10,2)", "blob": "bytea", "bool": "boolean",
        "time": "time without time zone",
    },
    "mariadb": {
        "int": "INTEGER", "long": "BIGINT", "text": "VARCHAR(40)", "real": "DOUBLE", "date": "DATE",
        "moment": "DATETIME(6)", "decimal": "DECIMAL(10, 2)", "blob": "VARBINARY(99)",
        "bool": "BOOLEAN", "time": "TIME(6)",
    },
}  # fmt: skip
ARROW = {
    "duckdb": [
        pa.int32(), pa.string(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.decimal128(10, 2),
        pa.binary(),
    ],
    "sqlite": [
        pa.int64(), pa.string(), pa.float64(), pa.string(), pa.string(), pa.string(), pa.binary(),
    ],
    "mariadb": [
        pa.int64(), pa.string(), pa.float64(), pa.date32(), pa.timestamp("us"),
        pa.decimal128(38, 2), pa.binary(),
    ],
}  # fmt: skip
ARROW["postgresql"] = ARROW["duckdb"]
VALUES = {
    "flag": True, "whole": -(2**63), "real_": 0.1, "words": "O'Hara; -- :words %s ☂",
    "raw": b"\x00'\\\xff", "fee": Decimal("12345678.90"), "day": date(2013, 2, 28),
    "moment": datetime(2013, 2, 28, 23, 59, 59, 999999), "clock": time(23, 59, 59, 1),
}  # fmt: skip


@dataclass
class Laboratory:
    """A seeded database of one kind: its engine, and a second way in that goes around the engine."""

    kind: str
    product: str
    settings: dict[str, Any]
    ask: Callable[[str], list[tuple[Any, ...]]]
    engines: list[Any] = field(default_factory=list)

    def open(self, **more: Any) -> Any:
        """An engine of this database, closed with the laboratory."""
        engine = open_engine(self.kind, self.settings | more)
        self.engines.append(engine)
        return engine

    def look(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows as another client sees them now. DuckDB lets one in only once the engine has left."""
        if self.kind == "duckdb":
            self.close()
        return [tuple(row) for row in self.ask(sql)]

    def names(self) -> list[str]:
        return [name for (name,) in self.look("SELECT name FROM people ORDER BY id")]

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


def open_engine(kind: str, settings: dict[str, Any]) -> Any:
    module = {"sqlite": "sqlite.engine"}.get(kind, kind.partition("+")[0])
    return importlib.import_module(f"nbgov.backends.{module}").open_engine("warehouse", settings)


def clear(sql: str, binds: dict[str, Any] | None = None, **options: Any) -> Clearance:
    """A clearance, as the pipeline would make one; in these texts a colon before a name is a marker."""
    markers = [
        BindMarker(found[1], Span(*found.span())) for found in re.finditer(r"(?<![:\w]):(\w+)", sql)
    ]
    return Clearance(sql, binds or {}, tuple(markers), **{"is_read": True} | options)


def table(engine: Any, sql: str, binds: dict[str, Any] | None = None, **options: Any) -> pa.Table:
    stream = engine.execute(clear(sql, binds, **options))
    return pa.Table.from_batches(list(stream), stream.schema)


def change(engine: Any, sql: str, binds: dict[str, Any] | None = None) -> int | None:
    stream = engine.execute(clear(sql, binds, is_read=False))
    assert list(stream) == []
    return stream.rows_affected


def seed(product: str) -> list[str]:
    rows = [f"INSERT INTO people VALUES ({literals(product, row)})" for row in PEOPLE]
    return [sql.format(**TYPES[product]) for sql in SEED] + rows


def literals(product, row):
    """A row of PEOPLE as SQL."""
    *plain, photo = row
    texts = ["NULL" if value is None else repr(value) for value in plain]
    forms = {"duckdb": "'{}'", "postgresql": "'\\x{}'"}
    if photo is None:
        texts.append("NULL")
    elif product == "duckdb":
        texts.append("'" + "".join(f"\\x{byte:02x}" for byte in photo) + "'")
    else:
        texts.append(forms.get(product, "X'{}'").format(photo.hex()))
    return ", ".join(texts)


@pytest.fixture(scope="session")
def duckdb_file(tmp_path_factory):
    """A seeded DuckDB file, to be copied."""
    path = tmp_path_factory.mktemp("seed") / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        for sql in seed("duckdb"):
            connection.execute(sql)
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url):
    """The url of a PostgreSQL server with a seeded database to be copied, named ``seed``."""
    with dbapi.connect(postgres_url, autocommit=True) as server:
        # Another module that uses this fixture has made it before.
        server.execute("DROP DATABASE IF EXISTS seed").close()
        server.execute("CREATE DATABASE seed").close()
        with dbapi.connect(at_database(postgres_url, "seed"), autocommit=True) as connection:
            for sql in seed("postgresql"):
                connection.execute(sql).close()
    return postgres_url


def at_database(url, name):
    return re.sub(r"/\w+\?", f"/{name}?", url)


def with_duckdb(request, folder):
    path = shutil.copy(request.getfixturevalue("duckdb_file"), folder)

    def ask(sql):
        with duckdb.connect(path) as connection:
            return connection.execute(sql).fetchall()

    yield Laboratory("duckdb", "duckdb", {"path": path}, ask)


def with_sqlite(_, folder, *, kind="sqlite"):
    path = folder / "ops.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for sql in seed("sqlite"):
        connection.execute(sql)
    settings = {"path": path} if kind == "sqlite" else {"url": f"sqlite:///{path}"}
    yield Laboratory(kind, "sqlite", settings, lambda sql: connection.execute(sql).fetchall())
    connection.close()


def with_postgresql(request, _):
    url = request.getfixturevalue("postgres_template")
    name = f"lab_{os.urandom(6).hex()}"
    with dbapi.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE seed").close()
        with dbapi.connect(at_database(url, name), autocommit=True) as connection:

            def ask(sql):
                with connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchall()

            settings = {"url": at_database(url, name)}
            yield Laboratory("postgresql", "postgresql", settings, ask)
        # At the end of a run another worker may have stopped the server, and all of it is thrown away.
        with contextlib.suppress(dbapi.OperationalError):
            server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


def with_mariadb(request, _):
    url = request.getfixturevalue("mariadb_url")
    name = f"lab_{os.urandom(6).hex()}"
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:

        def ask(sql):
            result = connection.exec_driver_sql(sql)
            return list(result) if result.returns_rows else []

        for sql in [
            f"CREATE DATABASE {name} CHARACTER SET utf8mb4",
            f"USE {name}",
            *seed("mariadb"),
        ]:
            ask(sql)
        yield Laboratory("sqlalchemy+mariadb", "mariadb", {"url": at_database(url, name)}, ask)
        ask(f"DROP DATABASE {name}")
    server.dispose()


MAKERS = {
    "duckdb": with_duckdb,
    "sqlite": with_sqlite,
    "postgresql": with_postgresql,
    "sqlalchemy+sqlite": partial(with_sqlite, kind="sqlalchemy+sqlite"),
    "sqlalchemy+mariadb": with_mariadb,
}


@pytest.fixture(params=MAKERS)
def lab(request, tmp_path):
    with contextmanager(MAKERS[request.param])(request, tmp_path) as laboratory:
        yield laboratory
        laboratory.close()


@pytest.fixture
def engine(lab):
    return lab.open()


@pytest.fixture(scope="session", params=MAKERS)
def still(request, tmp_path_factory):
    """A database that no test changes, so that many can share it."""
    folder = tmp_path_factory.mktemp("still")
    with contextmanager(MAKERS[request.param])(request, folder) as laboratory:
        yield laboratory
        laboratory.close()


@pytest.fixture
def reader(still):
    yield still.open()
    still.close()


def only(*kinds):
    """Run a test on some products: what it states does not arise elsewhere."""
    return pytest.mark.parametrize("lab", kinds, indirect=True)


def only_still(*kinds):
    """The same, for a test that changes nothing."""
    return pytest.mark.parametrize("still", kinds, indirect=True)


# ---------------------------------------------------------------- what the database holds


def test_a_catalog_lists_tables_views_and_types(lab, engine):
    """A catalog holds every table and view, its columns in order, and types in the source's words."""
    catalog = engine.catalog()
    schema, types = catalog.default_schema, TYPES[lab.product]
    people, adults = (catalog.tables[TableName(schema, name)] for name in ("people", "adults"))
    assert {name.name for name in catalog.tables} == {"people", "adults", "digits", "samples"}
    assert (people.kind, adults.kind) == ("table", "view")
    assert [column.name for column in adults.columns] == ["id", "name"]
    wanted = [types[kind] for kind in ("int", "text", "real", "date", "moment", "decimal", "blob")]
    if lab.product == "mariadb":
        wanted = [kind.lower().replace("integer", "int(11)").replace(" ", "") for kind in wanted]
    assert [column.type for column in people.columns] == wanted
    assert catalog.dialect == engine.dialect


def test_a_catalog_follows_a_change(lab, engine):
    """A table that a cleared write makes is in the next catalog."""
    before = set(engine.catalog().tables)
    change(engine, "CREATE TABLE extra (a INTEGER)")
    added = set(engine.catalog().tables) - before
    assert [name.name for name in added] == ["extra"]


def test_a_catalog_follows_other_clients(lab, engine):
    """A table that somebody else makes is in the next catalog."""
    before = set(engine.catalog().tables)
    lab.look("CREATE TABLE extra (a INTEGER)")
    added = set(engine.catalog().tables) - before
    assert [name.name for name in added] == ["extra"]


# ---------------------------------------------------------------- what comes out


def test_rows_keep_value_and_type(still, reader):
    """NULLs, decimals, moments, Unicode and bytes arrive as they are, in stated Arrow types."""
    found = table(reader, "SELECT * FROM people ORDER BY id")
    assert found.schema.types == ARROW[still.product]
    rows = [tuple(row.values()) for row in found.to_pylist()]
    typed = [
        (
            number,
            name,
            score,
            *(
                parsed(text, kind)
                for text, kind in zip(rest, ARROW[still.product][3:6], strict=True)
            ),
            photo,
        )
        for number, name, score, *rest, photo in PEOPLE
    ]
    assert rows == typed


def parsed(text, arrow):
    """A literal of PEOPLE as the value of an Arrow type."""
    if text is None or pa.types.is_string(arrow):
        return text
    if pa.types.is_decimal(arrow):
        return Decimal(text)
    return date.fromisoformat(text) if pa.types.is_date(arrow) else datetime.fromisoformat(text)


@only_still("duckdb", "sqlite", "postgresql", "sqlalchemy+mariadb")
def test_an_empty_result_keeps_its_schema(still, reader):
    """A result without rows has the schema that it would have with rows."""
    full = table(reader, "SELECT * FROM people")
    empty = table(reader, "SELECT * FROM people WHERE id = :id", {"id": 99})
    assert empty.num_rows == 0
    assert empty.schema.names == full.schema.names
    assert empty.schema.types == [
        pa.string() if still.product == "mariadb" and pa.types.is_binary(kind) else kind
        for kind in full.schema.types
    ]


def test_columns_may_share_a_name(reader):
    """Two result columns of one name are both delivered."""
    found = table(reader, "SELECT a.id, b.id FROM people a JOIN people b ON a.id = b.id")
    assert len(found.columns) == 2
    assert found.column(0) == found.column(1)


@pytest.mark.parametrize("binds", [{}, {"least": 0}], ids=["without binds", "with binds"])
def test_a_long_result_comes_in_bounded_batches(reader, binds):
    """A long result is several batches of at most 65,536 rows, and all of its rows."""
    marker = " AND a.d >= :least" if binds else ""
    stream = reader.execute(clear(ROWS_SQL + marker, binds))
    sizes, total = [], 0
    for batch in stream:
        sizes.append(batch.num_rows)
        total += sum(batch.column(0).to_pylist())
    assert sum(sizes) == ROWS
    assert len(sizes) > 1
    assert max(sizes) <= BATCH_ROWS_MAX
    assert total == ROWS * (ROWS - 1) // 2
    assert not stream.is_truncated


@pytest.mark.parametrize("binds", [{}, {"least": 0}], ids=["without binds", "with binds"])
def test_an_endless_result_is_not_collected(still, reader, binds):
    """A result that no memory would hold gives its first batch at once, and can be closed."""
    marker = " WHERE d0.d >= :least" if binds else ""
    stream = reader.execute(clear(ENDLESS_SQL + marker, binds))
    assert next(stream).num_rows > 0
    stream.close()
    assert table(reader, "SELECT count(*) AS n FROM digits").to_pylist() == [{"n": 10}]


@pytest.mark.parametrize("rows_max", [0, 1, BATCH_ROWS_MAX, ROWS - 1])
def test_a_row_limit_is_exact(reader, rows_max):
    """A limited stream has exactly as many rows as permitted, and says that there were more."""
    stream = reader.execute(clear(ROWS_SQL, rows_max=rows_max))
    assert sum(batch.num_rows for batch in stream) == rows_max
    assert stream.is_truncated
    assert table(reader, "SELECT 1 AS one").num_rows == 1


def test_a_row_limit_that_suffices_cuts_nothing(reader):
    """A stream that is as long as its limit is complete and says so."""
    stream = reader.execute(clear(ROWS_SQL, rows_max=ROWS))
    assert sum(batch.num_rows for batch in stream) == ROWS
    assert not stream.is_truncated


def test_two_streams_do_not_disturb_each_other(reader):
    """Two results of one reader can be read in turns."""
    first, second = (reader.execute(clear(ROWS_SQL)) for _ in range(2))
    pairs = [(a.num_rows, b.num_rows) for a, b in zip(first, second, strict=True)]
    assert sum(a for a, _ in pairs) == sum(b for _, b in pairs) == ROWS


# ---------------------------------------------------------------- bound values


@pytest.mark.parametrize("is_null", [False, True], ids=["values", "nulls"])
def test_a_bound_value_comes_back(lab, engine, is_null):
    """A value of any type that can be bound, or NULL in its place, is stored and read as it was."""
    for number, (column, sample) in enumerate(VALUES.items()):
        value = None if is_null else sample
        sql = f"INSERT INTO samples (id, {column}) VALUES (:id, :value)"
        assert change(engine, sql, {"id": number, "value": value}) == 1
        found = table(engine, f"SELECT {column} FROM samples WHERE id = :id", {"id": number})
        assert found.column(0).to_pylist() == [None if is_null else stored(lab.product, value)]


def stored(product, value):
    """A bound value as the product keeps it."""
    if product == "sqlite":
        return int(value) if isinstance(value, bool) else text_form(value)
    if product == "mariadb" and isinstance(value, bool):
        return int(value)
    if product == "mariadb" and isinstance(value, time):
        return timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=1
        )
    return value


@only_still("duckdb", "postgresql")
def test_a_moment_with_a_zone_is_bound_as_that_moment(reader):
    """A moment in another zone equals the same moment in UTC."""
    moment = datetime(2013, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    found = table(
        reader, "SELECT CAST(:moment AS TIMESTAMP WITH TIME ZONE) AS t", {"moment": moment}
    )
    assert found["t"][0].as_py().astimezone(UTC) == moment


def test_only_marked_places_take_values(still, reader):
    """What looks like a marker in a text of the statement stays, and a name may be marked twice."""
    sql = "SELECT '12:30 :name ? %s %% $1 ::x' AS a, :name AS b, id FROM people WHERE name = :name"
    end = sql.index(" AS b")
    markers = (
        BindMarker("name", Span(end - 5, end)),
        BindMarker("name", Span(len(sql) - 5, len(sql))),
    )
    if still.product == "postgresql":
        sql = sql.replace(":name AS b", ":name || '' AS b")
        markers = (markers[0], BindMarker("name", Span(len(sql) - 5, len(sql))))
    stream = reader.execute(Clearance(sql, {"name": CANARY}, markers, is_read=True))
    [row] = pa.Table.from_batches(list(stream)).to_pylist()
    assert row == {"a": "12:30 :name ? %s %% $1 ::x", "b": CANARY, "id": 3}


@pytest.mark.parametrize("value", [2**63, [1], {"a": 1}, Decimal("NaN"), object(), "\ud800"])
def test_a_value_that_cannot_be_sent_is_refused(reader, value):
    """A value of another type, or too large, is an invalid request before anything runs."""
    with pytest.raises(RequestInvalid) as caught:
        reader.execute(clear("SELECT :value AS v", {"value": value}))
    assert caught.value.code == "bind-type"


def test_a_marker_without_a_value_is_refused(reader):
    """A marker that has no value is an invalid request."""
    with pytest.raises(RequestInvalid) as caught:
        reader.execute(clear("SELECT :value AS v"))
    assert caught.value.code == "bind-missing"


# ---------------------------------------------------------------- a read reads

ATTACKS = {
    "INSERT INTO people (id) VALUES (9)": MAKERS,
    "UPDATE people SET name = NULL": MAKERS,
    "DELETE FROM people": MAKERS,
    "SELECT 1; DELETE FROM people": MAKERS,
    "COMMIT; DELETE FROM people": MAKERS,
    "COMMIT": ["duckdb", "sqlite", "postgresql"],
    "CREATE TABLE made (a INTEGER)": ["duckdb", "sqlite", "postgresql", "sqlalchemy+sqlite"],
    "CREATE TEMP TABLE made (a INTEGER)": ["duckdb", "sqlite", "postgresql", "sqlalchemy+sqlite"],
    "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone": ["duckdb", "postgresql"],
    "SELECT nextval('counter')": ["duckdb", "postgresql"],
    "COPY people TO '{folder}/out.csv'": ["duckdb", "postgresql"],
    "EXPORT DATABASE '{folder}/out'": ["duckdb"],
    "SELECT * FROM read_text('{folder}/in.txt')": ["duckdb"],
    "SELECT * FROM '{folder}/in.csv'": ["duckdb"],
    "SELECT * FROM glob('{folder}/*')": ["duckdb"],
    "ATTACH '{folder}/other.csv' AS other": ["duckdb", "sqlite"],
    "LOAD httpfs": ["duckdb"],
    "SET enable_external_access = true": ["duckdb"],
    "SELECT * FROM a_python_variable": ["duckdb"],
    "PRAGMA query_only = OFF": ["sqlite"],
    "PRAGMA journal_mode = DELETE": ["sqlite"],
    "VACUUM INTO '{folder}/out.csv'": ["sqlite"],
    "SELECT load_extension('x')": ["sqlite"],
    "SELECT * INTO made FROM people": ["postgresql"],
    "SELECT * FROM people FOR UPDATE": ["postgresql"],
    "SELECT wipe()": ["postgresql"],
    "COPY people TO PROGRAM 'cat > {folder}/out.csv'": ["postgresql"],
    "SET TRANSACTION READ WRITE": ["postgresql"],
    "SELECT set_config('transaction_read_only', 'off', false)": ["postgresql"],
    "SELECT 1 /*! INTO OUTFILE '{folder}/out.csv' */": ["sqlalchemy+mariadb"],
}


@pytest.mark.parametrize(
    ("lab", "attack"),
    [(kind, attack) for attack, kinds in ATTACKS.items() for kind in kinds],
    indirect=["lab"],
)
def test_a_read_cannot_write(lab, engine, tmp_path, attack):
    """A statement that runs as a read changes nothing, makes nothing and reaches no file."""
    a_python_variable = pa.table({"a": [1]})
    (tmp_path / "in.txt").write_text("secret")
    (tmp_path / "in.csv").write_text("a\n1\n")
    if lab.product in {"duckdb", "postgresql"}:
        lab.look("CREATE SEQUENCE counter")
    if lab.product == "postgresql":
        lab.look(
            "CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM people; SELECT 1'"
        )
    with pytest.raises(NbgovError):
        table(engine, attack.format(folder=tmp_path))
    assert a_python_variable.num_rows == 1
    assert table(engine, "SELECT count(*) AS n FROM people").to_pylist() == [{"n": 3}]
    names = {name.name for name in engine.catalog().tables}
    assert names == {"people", "adults", "digits", "samples"}
    assert lab.names() == [row[1] for row in PEOPLE]
    assert {path.name for path in tmp_path.glob("*.[ct][sx][vt]")} == {"in.txt", "in.csv"}
    if lab.product in {"duckdb", "postgresql"}:
        assert lab.look("SELECT nextval('counter')") == [(1,)]


# ---------------------------------------------------------------- a write writes once


def test_a_write_commits_at_the_end_of_its_stream(lab, engine):
    """A write is there for everybody once its stream is read, and knows how many rows it changed."""
    stream = engine.execute(clear("UPDATE people SET score = :s", {"s": 7.0}, is_read=False))
    assert stream.rows_affected == 3
    assert list(stream) == []
    assert list(stream) == []
    assert lab.look("SELECT DISTINCT score FROM people") == [(7.0,)]


@pytest.mark.parametrize("end", ["close", "cancel", "drop"])
def test_a_write_that_is_not_read_to_its_end_is_undone(lab, engine, end):
    """A write whose stream is closed, cancelled or dropped before its end never happened."""
    stream = engine.execute(clear("DELETE FROM people", is_read=False))
    if end == "close":
        stream.close()
        stream.close()
    elif end == "cancel":
        stream.cancel()
        with pytest.raises(BackendFailed, match="cancelled"):
            next(stream)
    del stream
    assert lab.names() == [row[1] for row in PEOPLE]
    assert change(engine, "DELETE FROM people WHERE id = 1") == 1
    assert len(lab.names()) == 2


def test_a_write_that_fails_is_undone(lab, engine):
    """A write that fails half way leaves nothing, and the engine goes on."""
    with pytest.raises(BackendFailed):
        change(engine, "INSERT INTO people (id, name) VALUES (8, 'x'), (9, 'y'), (1, 'z')")
    assert lab.names() == [row[1] for row in PEOPLE]
    assert change(engine, "INSERT INTO people (id, name) VALUES (8, 'x')") == 1


def test_a_write_may_return_rows(lab, engine):
    """Rows of RETURNING come through the stream, a limit only hides some, and the write is kept."""
    if lab.product == "mariadb":
        sql = "DELETE FROM people WHERE id > :least RETURNING id, name"
    else:
        sql = "UPDATE people SET score = 0 WHERE id > :least RETURNING id, name"
    stream = engine.execute(clear(sql, {"least": 1}, is_read=False, rows_max=1))
    assert stream.rows_affected == 2
    [batch] = stream
    assert batch.schema.names == ["id", "name"]
    assert batch.num_rows == 1
    assert stream.is_truncated
    left = "id = 1" if lab.product == "mariadb" else "score = 0 OR id = 1"
    assert len(lab.look(f"SELECT id FROM people WHERE {left}")) == (
        1 if lab.product == "mariadb" else 3
    )


def test_a_write_that_changes_too_much_is_undone(lab, engine):
    """A write that changes more rows than its clearance permits leaves nothing; one within does."""
    with pytest.raises(Denied) as caught:
        engine.execute(clear("UPDATE people SET score = 0", is_read=False, written_max=2))
    assert caught.value.code == "too-many-rows-changed"
    assert "3 rows" in caught.value.why
    assert lab.look("SELECT count(*) FROM people WHERE score = 0") == [(0,)]
    list(engine.execute(clear("UPDATE people SET score = 0", is_read=False, written_max=3)))
    assert lab.look("SELECT count(*) FROM people WHERE score = 0") == [(3,)]


def test_a_result_that_is_too_large_is_an_error(reader):
    """A result beyond its byte limit ends in an error, and the reader serves the next statement."""
    stream = reader.execute(clear(ROWS_SQL, bytes_max=80_000))
    with pytest.raises(Denied) as caught:
        list(stream)
    assert caught.value.code == "too-many-bytes"
    small = reader.execute(clear("SELECT id FROM people", bytes_max=24))
    assert sum(batch.num_rows for batch in small) == 3


def test_a_definition_is_a_write(lab, engine):
    """DDL runs as a write, changes no rows that anyone counts, and is committed."""
    assert change(engine, "CREATE TABLE made (a INTEGER)") in {None, 0}
    assert change(engine, "ALTER TABLE made ADD COLUMN b INTEGER") in {None, 0}
    assert lab.look("SELECT a, b FROM made") == []


# ---------------------------------------------------------------- cancel, interrupt, time out


def test_a_long_statement_can_be_cancelled(still, reader):
    """A cancel from another thread ends a long statement, and the reader serves the next one."""
    caught, is_done = [], threading.Event()

    def run():
        try:
            table(reader, LONG_SQL)
        except NbgovError as error:
            caught.append(error)
        finally:
            is_done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not is_done.wait(0.05):
        reader.cancel()
    thread.join()
    assert [error.code for error in caught] == ["cancelled"]
    assert table(reader, "SELECT 1 AS one").num_rows == 1


def test_a_half_read_stream_can_be_cancelled(reader):
    """A cancel of a half-read stream is an error for its reader, and nobody else's."""
    stream = reader.execute(clear(ENDLESS_SQL))
    next(stream)
    stream.cancel()
    stream.cancel()
    with pytest.raises(BackendFailed) as caught:
        list(stream)
    assert caught.value.code == "cancelled"
    assert table(reader, "SELECT 1 AS one").num_rows == 1


@only_still("duckdb", "sqlite", "postgresql")
def test_an_interrupt_is_a_keyboard_interrupt(reader):
    """Ctrl-C ends a long statement as a KeyboardInterrupt, and the reader serves the next one."""
    ended = threading.Event()

    def press_stop() -> None:
        while not ended.wait(1):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press_stop, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        table(reader, LONG_SQL)
    ended.set()
    thread.join()
    assert table(reader, "SELECT 1 AS one").num_rows == 1


def test_a_statement_has_only_so_much_time(still):
    """A statement that runs longer than timeout_s is cancelled, and the error says why."""
    reader = still.open(timeout_s=0.2)
    with pytest.raises(BackendFailed) as caught:
        table(reader, LONG_SQL)
    assert caught.value.code == "cancelled"
    assert "0.2 s" in caught.value.why


def test_a_closed_engine_ends_its_streams(still, reader):
    """Closing an reader closes its streams; the next statement opens the database again."""
    stream = reader.execute(clear(ENDLESS_SQL))
    next(stream)
    reader.close()
    assert list(stream) == []
    assert table(reader, "SELECT 1 AS one").num_rows == 1


# ---------------------------------------------------------------- what errors say


def printed(error: BaseException) -> str:
    """Everything that a traceback prints, the local variables of all its frames included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(shown.format())


def break_a_constraint(engine: Any) -> None:
    change(engine, "INSERT INTO people (id, name) SELECT 77, name FROM people WHERE id = 3")


def cast_a_text(engine: Any) -> None:
    table(engine, "SELECT CAST(name AS INTEGER) AS n FROM people WHERE id = 3")


def cast_a_late_text(engine: Any) -> None:
    many = ROWS_SQL.replace(" AS n", " AS n, CASE WHEN f.d = 9 THEN p.name ELSE '1' END AS name")
    many = many.replace("FROM digits a", "FROM people p, digits a") + " AND p.id = 3"
    table(engine, f"SELECT CAST(name AS INTEGER) AS n FROM ({many}) AS q")


def test_a_broken_constraint_holds_no_data(engine):
    """The error of a write tells its kind and no value, however it is printed."""
    expect_no_data(engine, break_a_constraint)


@only_still("duckdb", "postgresql")
@pytest.mark.parametrize("mistake", [cast_a_text, cast_a_late_text])
def test_an_error_holds_no_data(reader, mistake):
    """The error of a read tells its kind and no value; SQLite makes a number of any text."""
    expect_no_data(reader, mistake)


def expect_no_data(engine: Any, mistake: Any) -> None:
    """A mistake ends in an error that holds no value of the database."""
    with pytest.raises(BackendFailed) as caught:
        mistake(engine)
    assert caught.value.code == "database-error"
    assert caught.value.why
    assert CANARY not in printed(caught.value)
    assert table(engine, "SELECT 1 AS one").num_rows == 1


def test_an_unknown_name_is_an_error(reader):
    """A statement that names an unknown column fails with its kind, and no text of the product."""
    with pytest.raises(BackendFailed) as caught:
        table(reader, "SELECT surname FROM people")
    assert caught.value.code == "database-error"
    assert "surname" not in str(caught.value)


NOWHERE = {
    "duckdb": {"path": "/nowhere/warehouse.duckdb"},
    "sqlite": {"path": "/nowhere/ops.db"},
    "postgresql": {"url": f"postgresql://ada:{SECRET}@/db?host=/nowhere"},
    "sqlalchemy+sqlite": {"url": "sqlite:////nowhere/ops.db"},
}


@pytest.mark.parametrize("is_write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("kind", NOWHERE)
def test_a_database_that_is_not_there_is_an_error(kind, is_write):
    """A database that cannot be reached is one error that names the connection, and no secret."""
    engine = open_engine(kind, NOWHERE[kind])
    for attempt in (
        lambda: engine.execute(clear("SELECT 1 AS one", is_read=not is_write)),
        engine.catalog,
    ):
        with pytest.raises(BackendFailed) as caught:
            attempt()
        assert caught.value.code == "database-unavailable"
        assert "warehouse" in caught.value.what
        assert SECRET not in printed(caught.value)
        assert "nowhere" not in str(caught.value)
    engine.close()


@only_still("postgresql", "sqlalchemy+mariadb")
def test_a_refused_account_is_an_error_without_its_password(still):
    """An account that the server refuses is an error that names neither account nor password."""
    reader = still.open(user="nobody_known", password=SECRET)
    with pytest.raises(BackendFailed) as caught:
        reader.execute(clear("SELECT 1 AS one"))
    assert caught.value.code == "database-unavailable"
    assert SECRET not in printed(caught.value)
    assert "nobody_known" not in str(caught.value)


@pytest.mark.parametrize("kind", ["postgresql", "sqlalchemy"])
def test_a_url_that_is_none_is_a_configuration_error(kind):
    """A url that does not parse is an error that shows neither it nor the password."""
    with pytest.raises(NbgovError) as caught:
        open_engine(kind, {"url": f"no url {SECRET}", "password": SECRET})
    assert caught.value.code == "config-invalid"
    frames = printed(caught.value).partition("open_engine(name")[2]
    assert SECRET not in frames
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------- the product's own opinion


def test_an_opinion_counts_statements(reader):
    """The product counts one statement in one, and more than one in several."""
    assert reader.inspect("SELECT id FROM people").statements == 1
    assert reader.inspect("SELECT id FROM people; DELETE FROM people").statements > 1


def test_an_opinion_tells_reads_from_writes(still, reader):
    """A product that can tell calls a SELECT a read, and nothing that changes rows."""
    reads = ["SELECT id FROM people", "WITH a AS (SELECT 1 AS b) SELECT b FROM a"]
    writes = ["DELETE FROM people", "INSERT INTO digits SELECT id FROM people", "DROP TABLE people"]
    can_tell = not still.kind.startswith("sqlalchemy")
    assert {reader.inspect(sql).is_read for sql in reads} == ({True} if can_tell else {None})
    assert {reader.inspect(sql).is_read for sql in writes} == ({False} if can_tell else {None})


def test_an_opinion_names_tables(still, reader):
    """A product that can tell names the relations of a read, and no CTE."""
    found = reader.inspect(
        "WITH digits AS (SELECT id FROM people) "
        "SELECT * FROM digits d JOIN adults a ON a.id = d.id "
        "WHERE EXISTS (SELECT 1 FROM samples s WHERE s.id = d.id)"
    ).tables
    if still.kind.startswith("sqlalchemy"):
        assert found is None
    else:
        assert {table.name for table in found} == {"people", "adults", "samples"}


@only_still("duckdb", "sqlite", "postgresql")
def test_a_cte_hides_a_table_only_where_it_is_in_scope(still, reader):
    """A table that shares its name with a CTE elsewhere in the statement is still named."""
    within = "WITH digits AS (SELECT 1 AS d) SELECT d FROM digits"
    around = "WITH digits AS (SELECT d FROM digits) SELECT d FROM digits"
    recursive = (
        "WITH RECURSIVE digits AS (SELECT 1 AS d UNION ALL SELECT d + 1 FROM digits WHERE d < 3) "
        "SELECT d FROM digits"
    )
    named = {within: set(), recursive: set()}
    named |= {f"SELECT d FROM digits WHERE d IN ({within})": {"digits"}}
    if still.product != "sqlite":  # It calls this circular.
        named |= {around: {"digits"}}
    for sql, tables in named.items():
        assert {table.name for table in reader.inspect(sql).tables} == tables


def test_what_is_no_sql_is_an_invalid_request(reader):
    """A text that the product cannot parse is an invalid request, and is not quoted."""
    with pytest.raises(RequestInvalid) as caught:
        reader.inspect(f"SELEC '{CANARY}' FROM FROM")
    assert CANARY not in str(caught.value)


def test_an_opinion_runs_nothing(lab, engine):
    """Asking for an opinion on a write changes nothing."""
    engine.inspect("DELETE FROM people")
    assert lab.names() == [row[1] for row in PEOPLE]
