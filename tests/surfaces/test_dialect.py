"""``nbgov://`` and the DBAPI behind it: what tools on top of SQLAlchemy see is governed, too."""

from __future__ import annotations

import datetime
import decimal
import sqlite3
import threading

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc, orm, types

import nbgov
import nbgov.login
from nbgov.dialect import dbapi
from nbgov.dialect.types import type_of
from tests.gateway.remote_scene import running
from tests.gateway_scene import CONFIG, make_folder

EMBEDDED = CONFIG.partition("gateway:")[0] + (
    "  ops: {kind: sqlite, path: ops.db}\n"
    "principals:\n  ada: {groups: [analysts]}\n  grace: {groups: [stewards, analysts]}\n"
)
POLICY_OPS = """
  - id: ops
    effect: permit
    to: {groups: [analysts]}
    actions: [read, insert, update]
    on: ["ops.main.seats"]
"""
LOW = "SELECT id, email, city FROM people WHERE id < :top ORDER BY id"
ROWS = [(0, "***", "city 0"), (1, "***", "city 1")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An embedded site: DuckDB and SQLite."""
    folder = tmp_path_factory.mktemp("house")
    from tests.gateway_scene import POLICY

    policy = POLICY.replace("rules:\n", "rules:" + POLICY_OPS).replace(
        "  public: [", '  public: ["ops.main.seats.*", '
    )
    with sqlite3.connect(folder / "ops.db") as link:
        link.execute(
            "CREATE TABLE seats (id INTEGER PRIMARY KEY, row TEXT, at DATETIME, price DECIMAL(9, 2))"
        )
        link.execute("INSERT INTO seats VALUES (1, 'a', '2026-01-02 03:04:05', 9.5)")
    link.close()
    make_folder(folder, config=EMBEDDED, policy=policy)
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The same through a gateway."""
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(params=["embedded", "gateway"])
def url(request, folder, gateway, tmp_path, monkeypatch):
    """The url of the same warehouse, here and at a gateway."""
    if request.param == "embedded":
        return f"nbgov://warehouse?config={folder}&as_=ada"
    monkeypatch.setattr(nbgov.login, "credentials_for", gateway.credentials)
    return f"nbgov://warehouse?config={gateway.client(tmp_path / 'client')}"


@pytest.fixture
def engine(url):
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def ops(folder):
    engine = sa.create_engine(f"nbgov://ops?config={folder}&as_=ada")
    yield engine
    engine.dispose()


@pytest.fixture
def link(folder):
    with dbapi.connect("warehouse", config=folder, as_="ada") as link:
        yield link


# ---------------------------------------------------------------- SQLAlchemy


def test_text_and_bound_values_come_back_governed(engine):
    """A textual statement is masked, whoever sends it."""
    with engine.connect() as link:
        assert link.execute(sa.text(LOW), {"top": 2}).all() == ROWS


def test_what_is_reflected_is_what_may_be_seen(engine):
    """Tables, columns, types and keys are those of the governed catalog; the rest is absent."""
    found = sa.inspect(engine)
    assert found.get_schema_names() == ["main"]
    assert found.get_table_names() == ["numbers", "people"]
    assert found.get_view_names() == []
    assert found.has_table("people")
    assert not found.has_table("salaries")
    with pytest.raises(exc.NoSuchTableError):
        found.get_columns("salaries")
    metadata = sa.MetaData()
    metadata.reflect(engine, views=True)
    people = metadata.tables["people"]
    assert [repr(one.type) for one in people.columns] == ["Integer()", "Text()", "Text()"]
    assert [one.name for one in people.primary_key] == ["id"]
    assert found.get_foreign_keys("people") == found.get_indexes("people") == []


def test_expressions_are_compiled_as_the_database_wants_them(engine):
    """A query built from reflected tables runs, with lists, limits and aliases."""
    people = sa.Table("people", sa.MetaData(), autoload_with=engine)
    query = (
        sa.select(people.c.city, sa.func.count().label("n"))
        .where(people.c.id.in_([1, 2, 11]), people.c.city.ilike("CITY%"))
        .group_by(people.c.city).order_by(sa.desc("n")).limit(1)
    )  # fmt: skip
    with engine.connect() as link:
        assert link.execute(query).one() == ("city 1", 2)
        assert link.scalar(sa.select(sa.func.count()).select_from(people)) == 1000


def test_an_orm_loads_objects(engine):
    """Mapped classes read governed rows; a masked column reads masked."""
    base = orm.declarative_base()

    class Person(base):
        __tablename__ = "people"
        id = sa.Column(sa.Integer, primary_key=True)
        email = sa.Column(sa.String)

    with orm.Session(engine) as session:
        assert session.get(Person, 3).email == "***"
        assert [
            one.id for one in session.scalars(sa.select(Person).order_by(Person.id).limit(2))
        ] == [0, 1]


def test_pandas_reads_governed_frames(engine):
    """``read_sql`` with text, with values and with a table's name."""
    frame = pd.read_sql(sa.text(LOW), engine, params={"top": 2})
    assert list(frame.itertuples(index=False, name=None)) == ROWS
    assert pd.read_sql("SELECT count(*) AS n FROM people", engine)["n"].tolist() == [1000]
    assert pd.read_sql_table("people", engine)["email"].unique().tolist() == ["***"]
    chunks = pd.read_sql("SELECT a FROM numbers", engine, chunksize=50_000)
    assert sum(len(one) for one in chunks) >= 200_000


def test_pandas_writes_are_governed_or_refused(engine):
    """One statement is one request: rows in one INSERT go under the policy, several are refused."""
    frame = pd.DataFrame({"a": [-1, -2], "b": [0.5, None], "c": ["x", None]})
    frame.to_sql("numbers", engine, index=False, if_exists="append", method="multi")
    with engine.connect() as link:
        rows = link.execute(
            sa.text("SELECT a, b, c FROM numbers WHERE a < 0 ORDER BY a DESC")
        ).all()
    assert rows[:2] == [(-1, 0.5, "x"), (-2, None, None)]
    with pytest.raises(pd.errors.DatabaseError, match="One statement is one request"):
        frame.to_sql("numbers", engine, index=False, if_exists="append")
    with pytest.raises(exc.ProgrammingError, match=r"DROP on main\.numbers"):
        frame.to_sql("numbers", engine, index=False, if_exists="replace")
    with pytest.raises(exc.ProgrammingError, match="not permitted"):
        frame.to_sql("fresh", engine, index=False)


def test_errors_are_those_of_nbgov_and_tell_no_values(engine):
    """What is refused says why, with code, record and ticket; bound values stay out of it."""
    with engine.connect() as link:
        with pytest.raises(exc.ProgrammingError, match="There is no table 'salaries'") as caught:
            link.execute(sa.text("SELECT * FROM salaries WHERE id = :id"), {"id": 4711})
        assert caught.value.orig.code == "unknown-table"
        assert caught.value.orig.record is not None
        assert "4711" not in str(caught.value)
        with pytest.raises(exc.OperationalError) as waits:
            link.execute(sa.text("UPDATE people SET city = 'x' WHERE id = 5"))
        assert (waits.value.orig.code, len(waits.value.orig.ticket)) == ("approval-needed", 8)


def test_a_write_cannot_be_rolled_back_and_says_so(engine):
    """A block that is committed is quiet; one that is rolled back after a write is an error."""
    statement = sa.text("INSERT INTO numbers VALUES (-7, 1, 'x')")
    with engine.begin() as link:
        link.execute(statement)
    with (
        pytest.raises(exc.NotSupportedError, match="cannot be rolled back"),
        engine.connect() as link,
    ):
        link.execute(statement)
    with engine.connect() as link:
        assert link.scalar(sa.text("SELECT count(*) FROM numbers WHERE a = -7")) == 2
    assert engine.connect().execution_options(isolation_level="AUTOCOMMIT").close() is None
    with engine.connect() as link, pytest.raises(exc.ArgumentError):
        link.execution_options(isolation_level="SERIALIZABLE")


def test_connections_are_for_several_threads(engine):
    """Each thread has a connection of its own from the pool."""
    found: list[int] = []

    def read():
        with engine.connect() as link:
            found.append(link.scalar(sa.text("SELECT count(*) FROM people")))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [1000] * 4


def test_sqlite_speaks_its_own_dialect(ops):
    """The dialect is that of the database behind the connection; reflected values convert."""
    assert (ops.dialect.name, ops.dialect.driver) == ("sqlite", "nbgov")
    seats = sa.Table("seats", sa.MetaData(), autoload_with=ops)
    assert [repr(one.type) for one in seats.columns] == [
        "Integer()", "Text()", "DateTime()", "Numeric(precision=9, scale=2)",
    ]  # fmt: skip
    with ops.begin() as link:
        link.execute(
            sa.text("INSERT INTO seats (id, row) VALUES (:id, :row)"), {"id": 2, "row": "b"}
        )
        assert link.execute(sa.select(seats.c.row).order_by(seats.c.id)).scalars().all() == [
            "a",
            "b",
        ]
        done = link.execute(sa.update(seats).where(seats.c.id == 2).values(row="c"))
        assert done.rowcount == 1


@pytest.mark.parametrize("tail", ["?user=x", "/database", ":99/"])
def test_a_url_holds_nothing_else(tail):
    """A mistyped option is an error instead of being ignored."""
    with pytest.raises(exc.ArgumentError, match="and nothing else"):
        sa.create_engine(f"nbgov://warehouse{tail}")


def test_a_url_without_a_configuration_says_so(tmp_path):
    """What is missing is named in nbgov's own words."""
    with pytest.raises(exc.ArgumentError, match=r"no nbgov\.yaml"):
        sa.create_engine(f"nbgov://warehouse?config={tmp_path}")


# ---------------------------------------------------------------- the DBAPI


def test_the_module_is_what_pep_249_asks_for(link):
    """Globals, exceptions and type objects are there, and are those of the connection, too."""
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 1, "named")
    for name in (
        "Warning",
        "Error",
        "InterfaceError",
        "DatabaseError",
        "DataError",
        "OperationalError",
        "IntegrityError",
        "InternalError",
        "ProgrammingError",
        "NotSupportedError",
    ):
        assert getattr(link, name) is getattr(dbapi, name)
    assert issubclass(dbapi.DataError, dbapi.DatabaseError)
    assert dbapi.STRING == pa.string() != dbapi.NUMBER
    assert pa.decimal128(9, 2) == dbapi.NUMBER
    assert pa.timestamp("us") == dbapi.DATETIME
    assert pa.binary() == dbapi.BINARY
    assert dbapi.DateFromTicks(0).year in {1969, 1970}
    assert dbapi.TimestampFromTicks(0).second == dbapi.TimeFromTicks(0).second == 0


def test_rows_are_fetched_as_they_come(link):
    """One, many and all of them, across batches, and nothing twice."""
    cursor = link.cursor().execute("SELECT a FROM numbers WHERE a >= 0 AND a < 150000 ORDER BY a")
    assert cursor.fetchone() == (0,)
    assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
    assert len(cursor.fetchmany()) == cursor.arraysize
    assert next(iter(cursor)) == (1004,)
    assert cursor.fetchall()[-1] == (149_999,)
    assert (cursor.fetchone(), cursor.fetchall(), cursor.fetchmany(2)) == (None, [], [])


def test_values_are_those_of_python(link):
    """Decimals, moments, bytes, lists and NULL come as Python has them, and go back the same."""
    values = {
        "d": decimal.Decimal("1.25"), "t": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "b": b"\0\xff", "s": "ü'", "n": None, "f": 0.1, "i": 2**40, "day": datetime.date(2026, 1, 2),
    }  # fmt: skip
    cursor = link.cursor().execute(
        f"SELECT {', '.join(f':{one} AS {one}' for one in values)}, [1, NULL] AS l", values
    )
    assert [one[0] for one in cursor.description] == [*values, "l"]
    assert cursor.fetchone() == (*values.values(), [1, None])


def test_a_cursor_knows_what_ran(link):
    """Description, count, decision and record are of the last statement; misuse is an error."""
    cursor = link.cursor()
    assert (cursor.description, cursor.rowcount) == (None, -1)
    with pytest.raises(dbapi.ProgrammingError):
        cursor.fetchone()
    cursor.execute("INSERT INTO numbers VALUES (:a, 1, 'x')", {"a": -9})
    assert (cursor.description, cursor.rowcount) == (None, 1)
    link.commit()
    cursor.execute("SELECT id FROM people LIMIT 1")
    assert (cursor.description[0][:2], cursor.rowcount) == (("id", pa.int32()), -1)
    assert cursor.result.decision.rules == ("read",)
    assert cursor.fetch_arrow_table().num_rows == 1
    with pytest.raises(dbapi.InterfaceError):
        cursor.execute("SELECT ?", [1])
    cursor.close()
    with pytest.raises(dbapi.InterfaceError):
        cursor.execute("SELECT 1")
    link.close()
    with pytest.raises(dbapi.InterfaceError):
        link.cursor()


def test_every_error_of_nbgov_has_its_place(link, folder):
    """Errors are sorted as PEP 249 has it, with the code and the text of nbgov."""
    cases = {
        "SELEC 1": (dbapi.ProgrammingError, "syntax"),
        "DELETE FROM people WHERE id = 1": (dbapi.ProgrammingError, "denied-by-policy"),
        "UPDATE people SET city = 'y' WHERE id = 6": (dbapi.OperationalError, "approval-needed"),
        "SELECT CAST('x' AS INTEGER)": (dbapi.DatabaseError, "database-error"),
    }
    for sql, (kind, code) in cases.items():
        with pytest.raises(kind) as caught:
            link.cursor().execute(sql).fetchall()
        assert caught.value.code == code
        assert f"code    {code}" in str(caught.value)
    with pytest.raises(dbapi.OperationalError, match="no declared principal"):
        dbapi.connect("warehouse", config=folder, as_="nobody")


# ---------------------------------------------------------------- types


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("HUGEINT", "duckdb", types.Numeric(39, 0)),
        ("UTINYINT", "duckdb", types.SmallInteger()),
        ("TIMESTAMP WITH TIME ZONE", "duckdb", types.DateTime(timezone=True)),
        ("TIMESTAMP_NS", "duckdb", types.DateTime()),
        ("MAP(VARCHAR, INTEGER)", "duckdb", types.NullType()),
        ("ENUM('a', 'b')", "duckdb", types.Text()),
        ("INTEGER[][]", "duckdb", types.ARRAY(types.Integer())),
        ("numeric(12,3)", "postgres", types.Numeric(12, 3)),
        ("timestamp with time zone", "postgres", types.DateTime(timezone=True)),
        ("bytea", "postgres", types.LargeBinary()),
        ("jsonb", "postgres", types.Text()),
        ("double precision", "postgres", types.Double()),
        ("text[]", "postgres", types.ARRAY(types.Text())),
        ("varchar(20)", "mysql", types.String(20)),
        ("int unsigned", "mysql", types.Integer()),
        ("", "sqlite", types.NullType()),
        ("no such ( type", "sqlite", types.NullType()),
    ],
)
def test_types_are_named_as_sqlalchemy_names_them(text, dialect, expected):
    """A database's word for a type becomes SQLAlchemy's, or one without properties."""
    assert repr(type_of(text, dialect)) == repr(expected)


@given(st.text(max_size=40), st.sampled_from(["duckdb", "postgres", "sqlite", "mysql"]))
def test_no_word_for_a_type_breaks_reflection(text, dialect):
    """Whatever a catalog says, there is a type for it."""
    assert isinstance(type_of(text, dialect), types.TypeEngine)
