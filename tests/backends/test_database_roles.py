"""As whom statements run in PostgreSQL, and what its own log is told of who asked."""

from __future__ import annotations

import string
import uuid
from contextlib import closing

import pytest
from adbc_driver_postgresql import dbapi
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from nbgov import connect
from nbgov.backends.postgresql import open_engine
from nbgov.backends.postgresql.engine import conninfo
from nbgov.config import parse
from nbgov.core.database_roles import LABEL_BYTES_MAX, database_role, label
from nbgov.errors import BackendFailed, ConfigInvalid, Denied, NbgovError
from nbgov.model import Clearance, Principal

WHO = "SELECT current_user::text AS now, session_user::text AS own, current_setting('application_name') AS app"
POLICY = """
version: 1
tags: {public: ["db.public.staff.*"]}
rules:
  - {id: all, effect: permit, to: {groups: [analysts, guests]}, actions: [read, insert], on: ["db.*.*"]}
"""
CONFIG = """
version: 1
policy: policy.yaml
principals:
  ada: {groups: [analysts]}
  eve: {groups: [guests]}
connections:
  db:
    kind: postgresql
    url: "%s"
    roles: {"group:analysts": nbgov_reader}
"""


@pytest.fixture(scope="module")
def database(postgres_url):
    """A database with an account that may act as one role, and a role that is none of its own."""
    name = f"roles_{uuid.uuid4().hex[:8]}"
    admin, url = make_url(postgres_url), make_url(postgres_url).set(database=name)
    run(admin, f"CREATE DATABASE {name}")
    run(
        url,
        "CREATE ROLE nbgov_reader",
        "CREATE ROLE nbgov_other",
        "CREATE ROLE nbgov_login LOGIN NOINHERIT IN ROLE nbgov_reader",
        "CREATE TABLE staff (name text)",
        "INSERT INTO staff VALUES ('x'), ('y')",
        "GRANT SELECT ON staff TO nbgov_reader",
        "CREATE TABLE mine (a int)",
        "GRANT SELECT ON mine TO nbgov_login",
    )
    yield url.set(username="nbgov_login")
    run(admin, f"DROP DATABASE {name} WITH (FORCE)")
    run(admin, "DROP ROLE nbgov_login", "DROP ROLE nbgov_other", "DROP ROLE nbgov_reader")


def run(url, *statements):
    with closing(dbapi.connect(conninfo(url), autocommit=True)) as link, link.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


@pytest.fixture
def engine(database):
    made = open_engine("db", {"url": database.render_as_string()})
    yield made
    made.close()


def rows(engine, sql, *, is_read=True, **more):
    stream = engine.execute(Clearance(sql, {}, (), is_read=is_read, **more))
    return [row for batch in stream for row in batch.to_pylist()]


def test_a_role_is_taken_for_one_statement(engine):
    """A statement runs as its role and under its label; the next one on that connection does not."""
    for _ in range(3):
        found = rows(engine, WHO, role="nbgov_reader", label="nbgov:ada:1")
        assert found == [{"now": "nbgov_reader", "own": "nbgov_login", "app": "nbgov:ada:1"}]
        assert rows(engine, WHO) == [{"now": "nbgov_login", "own": "nbgov_login", "app": "nbgov"}]


def test_the_server_sees_who_asks_while_a_result_is_open(engine, database, postgres_url):
    """While a result streams, the server's list of activity names principal and request."""
    sql = "SELECT n FROM generate_series(1, 3000000) AS n"
    stream = engine.execute(Clearance(sql, {}, (), is_read=True, label="nbgov:ada:77"))
    next(iter(stream))
    with closing(open_engine("watch", {"url": postgres_url})) as watch:
        seen = rows(watch, "SELECT application_name AS app FROM pg_stat_activity WHERE datname = "
                    f"'{database.database}'")  # fmt: skip
    assert {"app": "nbgov:ada:77"} in seen
    stream.close()


def test_the_server_itself_refuses_what_the_role_may_not(engine):
    """The rights that count are those of the role: neither those of the account nor their sum."""
    assert len(rows(engine, "SELECT name FROM staff", role="nbgov_reader")) == 2
    for sql, role in (("SELECT name FROM staff", ""), ("SELECT a FROM mine", "nbgov_reader")):
        with pytest.raises(BackendFailed) as caught:
            rows(engine, sql, role=role)
        assert caught.value.code == "database-error"


@pytest.mark.parametrize("role", ["nbgov_other", "no_such_role", 'nbgov_reader"; SELECT 1; --'])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_role_that_cannot_be_taken_runs_nothing(engine, role, is_read):
    """A role that is not there, or not the account's, ends the statement; the account still works."""
    with pytest.raises(BackendFailed, match="may not run statements as the role"):
        rows(engine, "SELECT 1 AS a", role=role, is_read=is_read)
    assert rows(engine, "SELECT 1 AS a") == [{"a": 1}]


@pytest.fixture
def project(database, tmp_path):
    path = tmp_path / "nbgov.yaml"
    path.write_text(CONFIG % database.render_as_string())
    (tmp_path / "policy.yaml").write_text(POLICY)
    return path


def test_a_session_runs_as_the_role_of_its_principal(project):
    """A principal's statements run as their role; the record says so."""
    with connect(project, as_="ada") as session:
        assert session.sql("SELECT name FROM staff ORDER BY name").to_arrow().num_rows == 2
        assert b"nbgov_reader" in b"".join(session.log.entries())
        with pytest.raises(NbgovError) as caught:
            session.sql("SELECT a FROM mine").to_arrow()
        assert caught.value.code == "database-error"


def test_whoever_has_no_role_runs_nothing(project):
    """Where roles are given out, a principal without one is refused, and that is recorded."""
    with connect(project, as_="eve") as session:
        with pytest.raises(Denied) as caught:
            session.sql("SELECT name FROM staff")
        assert caught.value.code == "role-missing"
        assert caught.value.record is not None


@pytest.mark.parametrize(
    "sql",
    [
        "SET ROLE nbgov_other",
        "SET LOCAL ROLE nbgov_login",
        "RESET ROLE",
        "RESET ALL",
        "DISCARD ALL",
        "SET SESSION AUTHORIZATION postgres",
        "SET SESSION AUTHORIZATION DEFAULT",
        "SET application_name = 'x'",
        "SELECT set_config('role', 'none', true)",
        "SELECT pg_catalog.set_config('application_name', 'x', false)",
        "SELECT name, set_config('role', 'none', true) FROM staff",
        "DO $$ BEGIN RESET ROLE; END $$",
        "BEGIN; RESET ROLE; SELECT a FROM mine",
        "COMMIT",
        "PREPARE p AS SELECT 1",
    ],
)
def test_no_statement_changes_its_role(project, sql):
    """No text of a principal leaves the role or the label that it runs under."""
    with connect(project, as_="ada") as session:
        with pytest.raises(NbgovError) as caught:
            session.sql(sql).to_arrow()
        assert caught.value.code in {
            "denied-by-guard",
            "not-one-statement",
            "not-understood",
            "syntax",
        }
        with pytest.raises(NbgovError):
            session.sql("SELECT a FROM mine").to_arrow()


@given(st.text(max_size=80), st.uuids())
def test_a_label_is_one_that_the_server_keeps_whole(name, request):
    """A label is printable ASCII, fits, and ends with the whole id of the request."""
    made = label(Principal(name), request.hex)
    assert len(made.encode()) <= LABEL_BYTES_MAX
    assert set(made) <= set(string.printable) - set("\t\n\r\x0b\x0c")
    assert made.startswith("nbgov:")
    assert made.endswith(":" + request.hex)


NAMES = st.sampled_from(["ada", "analysts", "x"])


@given(
    st.dictionaries(st.one_of(st.builds("{}:{}".format, st.sampled_from(["name", "group", "role"]), NAMES),
                              st.just("*")), st.sampled_from(["r1", "r2"])),
    NAMES, st.frozensets(NAMES), st.frozensets(NAMES),
)  # fmt: skip
def test_the_first_entry_that_fits_counts(entries, name, groups, roles):
    """A name never passes for a group or a role, and what stands first wins."""
    principal = Principal(name, groups, roles)
    kinds = {"name": {name}, "group": groups, "role": roles}
    fits = [
        role
        for who, role in entries.items()
        if who == "*" or who.partition(":")[2] in kinds[who.partition(":")[0]]
    ]
    if fits or not entries:
        assert database_role(entries, principal, "db") == (fits[0] if fits else "")
    else:
        with pytest.raises(Denied):
            database_role(entries, principal, "db")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("kind: sqlalchemy, url: 'mysql://h/d', roles: {'*': r}", "kind postgresql"),
        ("kind: postgresql, url: 'postgresql://h/d', roles: {analysts: r}", "pattern"),
        ("kind: postgresql, url: 'postgresql://h/d', roles: {'*': ''}", "roles"),
    ],
)
def test_roles_that_mean_nothing_are_refused(more, said):
    """Roles of a product without any, and entries that fit nobody, are mistakes of the file."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(f"version: 1\npolicy: p\nconnections:\n  a: {{{more}}}\n")
    assert said in str(caught.value)
