"""What changed in a connection is recorded when it is first seen, with who was seen doing it."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace

import duckdb
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi

from nbgov.backends.duckdb import open_engine as open_duckdb
from nbgov.backends.memory import MemoryCatalogStore, memory_world
from nbgov.backends.postgresql import open_engine as open_postgresql
from nbgov.backends.sqlalchemy import open_engine as open_sqlalchemy
from nbgov.backends.sqlite.catalogs import SqliteCatalogStore
from nbgov.backends.sqlite.engine import open_engine as open_sqlite
from nbgov.errors import BackendFailed, NbgovError
from nbgov.model import Column, Principal, Record, RecordKind, Request, TableName
from nbgov.pipeline import Pipeline
from tests.scene import PEOPLE, make_scene

POLICY = """
version: 1
rules:
  - {id: all, effect: permit, to: {groups: [team]}, actions: [read, create, alter], on: ["wh.*.*"]}
"""
SECRET = "ada-4711"
SHARED = (
    "CREATE TABLE rides (id INTEGER, fare INTEGER, note VARCHAR(40))",
    f"CREATE VIEW cheap AS SELECT id FROM rides WHERE note = '{SECRET}'",
)
CHANGED = (
    "DROP VIEW cheap",
    "ALTER TABLE rides ADD COLUMN tip INTEGER",
    f"CREATE VIEW cheap AS SELECT id FROM rides WHERE note <> '{SECRET}'",
)


def sighted(scene):
    return [r for r in scene.audit.records if r.kind is RecordKind.CATALOG]


def change(scene, *columns):
    """Let the engine hold another table of people."""
    table = replace(PEOPLE, columns=(*PEOPLE.columns, *columns))
    scene.engine.held = replace(scene.engine.held, tables={table.name: table})


@pytest.fixture
def scene():
    return make_scene(catalogs=MemoryCatalogStore())


# ---------------------------------------------------------------- when it is recorded


def test_the_first_sight_is_one_record_before_the_attempt(scene):
    """Version 1 says how much there is, lists nothing, and is not recorded again."""
    scene.read()
    scene.read()
    kinds = [record.kind.value for record in scene.audit.records]
    assert kinds == ["catalog", "attempt", "outcome", "attempt", "outcome"]
    [record] = sighted(scene)
    assert (record.version, record.changes, record.tables) == ("1", None, None)
    assert record.note == "first sight: 1 tables and views"


def test_a_change_is_recorded_once_by_whoever_meets_it(scene):
    """The record says what changed in which table, and a second session adds nothing."""
    scene.read()
    change(scene, Column("born", "DATE"))
    scene.read(claim="grace")
    other = Pipeline(scene.pipeline.world, session="s2")
    other.run(Request("wh", "SELECT id FROM people", claim="ada")).to_arrow()
    first, second = sighted(scene)
    assert second.changes == ('column-added main.people born "" DATE',)
    assert (second.principal, second.tables, second.version) == ("grace", ("main.people",), "2")
    assert second.note == "outside nbgov, first seen by grace"
    assert second.schema != first.schema
    versions = scene.pipeline.world.catalogs.versions("wh")
    assert [one.number for one in versions] == [2, 1]
    assert [one.digest.hex() for one in versions] == [second.schema, first.schema]


def test_an_equal_catalog_that_is_another_object_is_no_change(scene):
    """What engines read anew after each write is told apart by what it holds."""
    scene.read()
    change(scene)
    scene.read()
    assert len(sighted(scene)) == 1


def test_a_question_records_nothing(scene):
    """Checking a statement and listing tables are not requests."""
    scene.pipeline.check(Request("wh", "SELECT id FROM people", claim="ada"))
    scene.pipeline.catalog("wh", claim="ada")
    assert scene.audit.records == []
    scene.pipeline.sight("wh", claim="ada")
    assert len(sighted(scene)) == 1


def test_a_refused_request_has_seen_the_change_too(scene):
    """What a principal may not touch has changed all the same."""
    with pytest.raises(NbgovError):
        scene.read(claim="eve")
    assert len(sighted(scene)) == 1


def test_a_world_without_a_store_keeps_nothing():
    """Worlds that decide on paper record no catalog."""
    plain = make_scene()
    plain.read()
    assert sighted(plain) == []


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nothing_runs_while_a_change_cannot_be_recorded(scene, moment):
    """A log that is away stops the request; the change is recorded when it is back."""
    getattr(scene.audit.faults, moment)("append")
    with pytest.raises(BackendFailed) as caught:
        scene.read()
    assert caught.value.code == "audit-unavailable"
    assert scene.engine.executions == []
    assert scene.pipeline.world.catalogs.versions("wh") == ()


def test_a_crash_between_record_and_store_records_it_again(scene):
    """The record comes first, so a version is never kept without one."""
    scene.pipeline.world.catalogs.faults.before("add")
    with pytest.raises(BackendFailed):
        scene.read()
    scene.read()
    first, again = sighted(scene)
    assert first.schema == again.schema
    [version] = scene.pipeline.world.catalogs.versions("wh")
    assert scene.audit.records[version.record] is not None
    assert version.number == 1


# ---------------------------------------------------------------- who did it


ALTER = "ALTER TABLE people ADD COLUMN born DATE"


def alterable(**parts):
    scene = make_scene(catalogs=MemoryCatalogStore(), **parts)
    scene.policy.policy = POLICY.replace("[team]", "[analysts]")
    scene.read()
    return scene


def test_a_governed_statement_is_named_with_its_entry():
    """The attempt's number leads from the version to the statement and its outcome."""
    scene = alterable()
    scene.run(ALTER)
    change(scene, Column("born", "DATE"))
    scene.read(claim="grace")
    record = sighted(scene)[-1]
    [version, _] = scene.pipeline.world.catalogs.versions("wh")
    [author] = version.authors
    assert (author.principal, author.verb, author.tables) == ("ada", "ALTER", ("main.people",))
    assert scene.audit.records[author.record].kind is RecordKind.ATTEMPT
    assert record.note == f"by ada, entry {author.record} (ALTER main.people)"


def test_only_the_end_of_a_long_log_is_searched_and_that_is_said(monkeypatch):
    """A statement waits for the search, so it ends somewhere; nothing is claimed of the rest."""
    scene = alterable()
    scene.run(ALTER)
    for _ in range(3):
        scene.read()
    scene.audit.checkpoint()
    change(scene, Column("born", "DATE"))
    monkeypatch.setattr("nbgov.pipeline.sightings.SEARCHED_MAX", 4)
    scene.read()
    told = "outside nbgov or before the entries that were searched, first seen by ada"
    assert sighted(scene)[-1].note == told
    [version, _] = scene.pipeline.world.catalogs.versions("wh")
    assert not version.is_searched
    scene.run(ALTER)
    change(scene, Column("born", "DATE"), Column("left", "DATE"))
    scene.audit.checkpoint()
    monkeypatch.setattr("nbgov.pipeline.sightings.SEARCHED_MAX", 3)
    scene.read()
    assert sighted(scene)[-1].note.endswith(
        "(ALTER main.people); earlier entries were not searched"
    )


def test_a_statement_that_failed_changed_nothing():
    """Only a statement that ended well, or whose end is not known, can have done it."""
    scene = alterable()
    scene.engine.faults.before("execute")
    with pytest.raises(BackendFailed):
        scene.run(ALTER)
    change(scene, Column("born", "DATE"))
    scene.read()
    assert sighted(scene)[-1].note == "outside nbgov, first seen by ada"


def test_a_statement_that_is_still_running_is_named_and_named_again_when_it_ended():
    """Another session may meet a change before its own end is recorded."""
    scene = alterable()
    world = scene.pipeline.world
    other = Pipeline(world, session="s2")

    def meanwhile(_):
        change(scene, Column("born", "DATE"))
        other.run(Request("wh", "SELECT id FROM people", claim="grace")).to_arrow()
        return 0

    answers, scene.engine.answers = (
        scene.engine.answers,
        lambda c: meanwhile(c) if not c.is_read else answers(c),
    )
    scene.run(ALTER)
    assert sighted(scene)[-1].note.endswith("(ALTER main.people, whose end is not known)")
    change(scene, Column("born", "DATE"), Column("left", "DATE"))
    scene.read()
    assert sighted(scene)[-1].note.endswith("(ALTER main.people)")


def test_another_connection_has_nothing_to_do_with_it():
    """A statement elsewhere is no author here."""
    scene = alterable()
    scene.run(ALTER)
    change(scene, Column("born", "DATE"))
    from nbgov.pipeline.sightings import authors

    entries = list(scene.audit.entries())
    assert len([*authors(entries, "wh")]) == 1
    assert [*authors(entries, "w")] == []


def test_hardening_is_named_when_it_ended_well():
    """What an administrator did to a connection through nbgov may have changed it."""
    scene = alterable()
    record = Record(
        kind=RecordKind.ADMIN,
        at=scene.clock.now(),
        request="",
        session="s1",
        principal="grace",
        connection="wh",
        verb="HARDEN",
    )
    for status in ("begun", "error", "begun", "ok"):
        receipt = scene.audit.append(replace(record, status=status))
    scene.audit.append(replace(record, status="ok", connection="other"))
    change(scene, Column("born", "DATE"))
    scene.read()
    assert sighted(scene)[-1].note == f"by grace, entry {receipt.index} (HARDEN)"


# ---------------------------------------------------------------- real engines


@pytest.fixture
def duck(tmp_path):
    path = tmp_path / "wh.duckdb"

    def run(*statements):
        engine.close()
        with duckdb.connect(path) as link:
            for sql in statements:
                link.execute(sql)

    engine = open_duckdb("wh", {"path": path})
    yield engine, run
    engine.close()


@pytest.fixture
def light(tmp_path):
    link = sqlite3.connect(tmp_path / "wh.db", isolation_level=None)

    def run(*statements):
        for sql in statements:
            link.execute(sql)

    run("PRAGMA user_version = 1")
    engine = open_sqlite("wh", {"path": tmp_path / "wh.db"})
    yield engine, run
    engine.close()
    link.close()


@pytest.fixture
def elephant(postgres_url):
    name = f"sightings_{os.urandom(6).hex()}"
    url = postgres_url.replace("/postgres?", f"/{name}?")
    with dbapi.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}").close()
        with dbapi.connect(url, autocommit=True) as link:

            def run(*statements):
                for sql in statements:
                    link.execute(sql).close()

            engine = open_postgresql("wh", {"url": url})
            yield engine, run
            engine.close()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)").close()


@pytest.fixture
def maria(mariadb_url):
    name = f"sightings_{os.urandom(6).hex()}"
    server = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT")
    with server.connect() as link:

        def run(*statements):
            for sql in statements:
                link.exec_driver_sql(sql)

        run(f"CREATE DATABASE {name}", f"USE {name}")
        engine = open_sqlalchemy("wh", {"url": mariadb_url.replace("/test?", f"/{name}?")})
        yield engine, run
        engine.close()
        run(f"DROP DATABASE {name}")
    server.dispose()


def pipeline_on(engine, tmp_path):
    world = memory_world(
        {"wh": engine}, policy=POLICY, principals=[Principal("ada", frozenset({"team"}))]
    )
    store = SqliteCatalogStore(tmp_path / "state.sqlite")
    return Pipeline(replace(world, catalogs=store), session="s1"), store


@pytest.mark.parametrize("place", ["duck", "light", "elephant", "maria"])
def test_every_engine_tells_what_changed_and_no_literal(place, request, tmp_path):
    """A new column and a view's new definition are told; no text of either is kept anywhere."""
    engine, run = request.getfixturevalue(place)
    run(*SHARED)
    pipeline, store = pipeline_on(engine, tmp_path)
    pipeline.sight("wh", claim="ada")
    run(*CHANGED)
    pipeline.sight("wh", claim="ada")
    record = pipeline.world.audit.records[-1]
    told = {line.split()[0] for line in record.changes}
    assert told == {"column-added", "view-redefined"}
    assert any("tip" in line for line in record.changes)
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.sqlite*"))
    log = b"".join(pipeline.world.audit.entries())
    assert SECRET.encode() not in kept + log
    assert SECRET not in str(store.versions("wh"))
    store.close()


def test_postgresql_tells_grants_and_owners(elephant, tmp_path):
    """A right that is given or taken, to a table or to a column, is a change."""
    engine, run = elephant
    role = f"reader_{os.urandom(4).hex()}"
    run(*SHARED, f"CREATE ROLE {role}")
    pipeline, store = pipeline_on(engine, tmp_path)
    pipeline.sight("wh", claim="ada")
    run(
        f"GRANT SELECT ON rides TO {role} WITH GRANT OPTION",
        "GRANT SELECT (fare) ON rides TO public",
    )
    pipeline.sight("wh", claim="ada")
    run(f"REVOKE ALL ON rides FROM {role}", f"ALTER TABLE rides OWNER TO {role}")
    pipeline.sight("wh", claim="ada")
    _, given, taken = pipeline.world.audit.records
    assert given.changes == (
        'grant-added public.rides "" "SELECT (fare) to public"',
        f'grant-added public.rides "" "SELECT to {role} with grant option"',
    )
    assert f'grant-added public.rides "" "OWNER to {role}"' in taken.changes
    assert f'grant-removed public.rides "SELECT to {role} with grant option" ""' in taken.changes
    store.close()
    run("ALTER TABLE rides OWNER TO CURRENT_USER", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_mariadb_tells_grants(maria, tmp_path):
    """A right on a table or on a column that is given is a change; nothing else has happened."""
    engine, run = maria
    role = f"reader_{os.urandom(4).hex()}"
    run("CREATE TABLE rides (id INTEGER, fare INTEGER)", f"CREATE USER {role}@localhost")
    pipeline, store = pipeline_on(engine, tmp_path)
    pipeline.sight("wh", claim="ada")
    run(f"GRANT SELECT ON rides TO {role}@localhost WITH GRANT OPTION")
    run(f"GRANT UPDATE (fare) ON rides TO {role}@localhost")
    pipeline.sight("wh", claim="ada")
    told = " ".join(pipeline.world.audit.records[-1].changes)
    assert f"SELECT to {role}@localhost with grant option" in told
    assert f"UPDATE (fare) to {role}@localhost" in told
    assert told.count("grant-added") == len(pipeline.world.audit.records[-1].changes)
    store.close()
    run(f"DROP USER {role}@localhost")


def test_duckdb_labels_are_no_part_of_what_is_told(duck, tmp_path):
    """An ENUM with other labels is another type, whose labels are told nowhere."""
    engine, run = duck
    run(f"CREATE TABLE t (a ENUM('{SECRET}', 'x'))")
    pipeline, store = pipeline_on(engine, tmp_path)
    pipeline.sight("wh", claim="ada")
    run("DROP TABLE t", f"CREATE TABLE t (a ENUM('{SECRET}', 'y'))")
    pipeline.sight("wh", claim="ada")
    assert pipeline.world.audit.records[-1].changes == ("column-retyped main.t a ENUM(?) ENUM(?)",)
    assert TableName("main", "t") in pipeline.whole_catalog("wh").tables
    store.close()
