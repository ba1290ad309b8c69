"""The whole path on DuckDB, SQLite and a real PostgreSQL: session, policy, masks, approval, record."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from adbc_driver_postgresql import dbapi

import nbgov
from nbgov.errors import ApprovalNeeded, Denied, NbgovError, RequestInvalid
from nbgov.evidence.verification import verify_log
from tests.surfaces.house import CHANGE

ENGINES = ("duckdb", "sqlite", "postgresql")
SCHEMAS = {"duckdb": "main", "sqlite": "main", "postgresql": "public"}
# Two worlds that differ in masked values only. Whatever can be told apart has leaked.
WORLDS = {
    "a": [(1, "ada@lovelace.org", "red"), (2, "ann@lovelace.org", "blue"), (3, None, "blue")],
    "b": [(1, "zoe@hopper.mil", "red"), (2, "zed@hopper.mil", "blue"), (3, None, "blue")],
}
PROBES = [
    "SELECT * FROM people ORDER BY id",
    "SELECT count(*) FROM people WHERE email LIKE 'ada%'",
    "SELECT id FROM people ORDER BY email, id",
    "SELECT id FROM people WHERE email > 'm' ORDER BY id",
    "SELECT max(email) FROM people",
    "SELECT team, count(DISTINCT email) FROM people GROUP BY team ORDER BY team",
    "SELECT a.id FROM people a JOIN people b ON a.email = b.email AND a.id <> b.id ORDER BY a.id",
    "SELECT CAST(email AS INTEGER) FROM people WHERE id = 1",
    "SELECT id FROM people WHERE id = (SELECT min(id) FROM people WHERE email LIKE '%hopper%')",
    "SELECT CASE WHEN email LIKE 'z%' THEN 1 ELSE 0 END AS oracle FROM people ORDER BY id",
    "WITH people AS (SELECT * FROM people) SELECT email FROM people ORDER BY id",
    "SELECT length(email) AS n FROM people ORDER BY id",
    "SELECT id, row_number() OVER (ORDER BY email, id) AS r FROM people ORDER BY id",
    "SELECT email FROM people UNION SELECT team FROM people ORDER BY 1",
    "SELECT 1/0 FROM people WHERE email LIKE 'a%'",
    "SELECT people FROM people",
]  # fmt: skip

DESTRUCTIVE = [
    "DROP TABLE people",
    "DELETE FROM people",
    "DELETE FROM people WHERE id = 1",
    "INSERT INTO people VALUES (9, 'x', 'y')",
    "UPDATE people SET team = email WHERE id = 1",
    "CREATE TABLE leak AS SELECT * FROM people",
    "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
    "TRUNCATE people",
]


def settings(kind: str, folder: Path, url: str, world: str) -> dict[str, str]:
    """Build one world on a product, and say how to connect to it."""
    table = "CREATE TABLE people (id INTEGER, email VARCHAR(80), team VARCHAR(20))"
    insert = "INSERT INTO people VALUES ({}, {}, {})"
    if kind == "postgresql":
        name = f"world_{folder.name.replace('-', '_').lower()}_{world}"[-60:]
        with dbapi.connect(url, autocommit=True) as link, link.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        url = url.replace("/postgres?", f"/{name}?")
        with dbapi.connect(url) as link, link.cursor() as cursor:
            cursor.execute(table)
            cursor.executemany(insert.format("$1", "$2", "$3"), WORLDS[world])
            link.commit()
        return {"kind": kind, "url": url}
    path = folder / f"{world}.db"
    with duckdb.connect(path) if kind == "duckdb" else sqlite3.connect(path) as link:
        link.execute(table)
        link.executemany(insert.format("?", "?", "?"), WORLDS[world])
    if isinstance(link, sqlite3.Connection):
        link.close()
    return {"kind": kind, "path": str(path)}


@pytest.fixture(params=ENGINES)
def house(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str
) -> Iterator[tuple[nbgov.Session, str]]:
    """A session of an analyst on two worlds of one product, and the schema's name."""
    kind = request.param
    schema = SCHEMAS[kind]
    config = {
        "version": 1,
        "policy": "policy.yaml",
        "connections": {w: settings(kind, tmp_path, postgres_url, w) for w in WORLDS},
        "principals": {
            "ada@acme.test": {"groups": ["analysts"]},
            "grace@acme.test": {"roles": ["approver"]},
        },
    }
    table = f"*.{schema}.people"
    rule = {"effect": "permit", "to": {"groups": ["analysts"]}, "on": [table]}
    policy = {
        "version": 1,
        "tags": {"pii.email": [f"{table}.email"], "public": [f"{table}.id", f"{table}.team"]},
        "rules": [
            rule
            | {"id": "read", "actions": ["read"], "obligations": {"masks": {"pii.*": "redact"}}},
            rule
            | {
                "id": "change",
                "actions": ["update"],
                "obligations": {"approval": {"by": {"roles": ["approver"]}}},
            },
        ],
    }
    (tmp_path / "nbgov.yaml").write_text(json.dumps(config))
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    with nbgov.connect(tmp_path, as_="ada@acme.test") as session:
        yield session, schema


def observe(session: nbgov.Session, sql: str, world: str) -> Any:
    """Everything that a person sees of a statement in one world."""
    try:
        table = session.sql(sql, world).to_arrow()
    except NbgovError as error:
        return str(error).replace(f"connection {world}", "connection")
    return table.schema, table.to_pylist()


def test_two_worlds_look_the_same(house: tuple[nbgov.Session, str]) -> None:
    """No statement tells apart two databases that differ in masked values only."""
    session, _ = house
    told_apart = [sql for sql in PROBES if observe(session, sql, "a") != observe(session, sql, "b")]
    assert not told_apart


def test_rows_arrive_masked(house: tuple[nbgov.Session, str]) -> None:
    """A masked column reads masked, NULL stays NULL, and the rest is as it is."""
    session, schema = house
    with session.sql("SELECT id, email, team FROM people ORDER BY id", "a") as result:
        rows = result.to_arrow().to_pylist()
    assert [row["email"] for row in rows] == ["***", "***", None]
    assert [row["team"] for row in rows] == ["red", "blue", "blue"]
    assert result.summary.masked == {"email": "redact pii.email"}
    assert result.summary.version.name == f"a.{schema}.people"


def test_values_are_bound(house: tuple[nbgov.Session, str]) -> None:
    """Scalars and lists are bound by name; text that looks like SQL stays text."""
    session, _ = house
    found = session.sql(
        "SELECT id FROM people WHERE id IN :ids AND team <> :team ORDER BY id",
        "a",
        ids=[1, 2, 7],
        team="x' OR '1'='1",
    )
    assert found.to_arrow()["id"].to_pylist() == [1, 2]


def test_a_change_is_approved_and_runs_once(house: tuple[nbgov.Session, str]) -> None:
    """The row changes after another principal's vote, and the same statement asks anew."""
    session, _ = house
    with pytest.raises(ApprovalNeeded) as caught:
        session.sql(CHANGE, "a")
    with nbgov.connect(session.path, as_="grace@acme.test") as reviewer:
        reviewer.vote(caught.value.ticket, is_approval=True)
    assert session.sql(CHANGE, "a").summary.rows_affected in {1, None}
    teams = session.sql("SELECT team FROM people WHERE id = 1", "a").to_arrow()
    assert teams["team"].to_pylist() == ["blue"]
    with pytest.raises(ApprovalNeeded):
        session.sql(CHANGE, "a")
    assert verify_log(session).report.outcomes == {"ok": 4, "pending": 2}  # Two of them dry runs.


def test_what_destroys_does_not_run(house: tuple[nbgov.Session, str]) -> None:
    """Each statement is refused, and every row is still there."""
    session, _ = house
    for sql in DESTRUCTIVE:
        with pytest.raises((Denied, RequestInvalid)):
            session.sql(sql, "a")
    assert session.sql("SELECT count(*) AS n FROM people", "a").to_arrow()["n"].to_pylist() == [3]


def test_an_error_of_the_database_tells_no_value(house: tuple[nbgov.Session, str]) -> None:
    """A cast that fails on a value does not repeat it."""
    session, _ = house
    seen = str(observe(session, "SELECT CAST(team AS INTEGER) AS n FROM people", "a"))
    assert "blue" not in seen


def test_a_syntax_error_is_the_engines_and_ours(house: tuple[nbgov.Session, str]) -> None:
    """A text that the engine cannot read is a syntax error on every product."""
    session, _ = house
    with pytest.raises(RequestInvalid) as caught:
        session.sql("SELEC 1", "a")
    assert caught.value.code == "syntax"


def test_a_partition_is_not_a_way_round_the_masks(tmp_path: Path, postgres_url: str) -> None:
    """A partition, an heir and a view of a masked table carry its tags, and mask what it masks."""
    with dbapi.connect(postgres_url, autocommit=True) as link, link.cursor() as cursor:
        cursor.execute("CREATE SCHEMA parts")
        for ddl in (
            "CREATE TABLE parts.ev (id int, email text) PARTITION BY RANGE (id)",
            "CREATE TABLE parts.ev_1 PARTITION OF parts.ev FOR VALUES FROM (0) TO (9)",
            "CREATE TABLE parts.old (id int, email text)",
            "CREATE TABLE parts.older () INHERITS (parts.old)",
            "CREATE VIEW parts.seen AS SELECT id, email AS contact FROM parts.ev",
            "INSERT INTO parts.ev VALUES (1, 'ada@lovelace.org')",
            "INSERT INTO parts.older VALUES (1, 'ada@lovelace.org')",
        ):
            cursor.execute(ddl)
    config = {
        "version": 1,
        "policy": "policy.yaml",
        "connections": {"pg": {"kind": "postgresql", "url": postgres_url}},
        "principals": {"ada@acme.test": {"groups": ["analysts"]}},
    }
    rule = {"id": "r", "effect": "permit", "to": {"groups": ["analysts"]}, "actions": ["read"]}
    masks = {"obligations": {"masks": {"pii.*": "redact"}}}
    policy = {
        "version": 1,
        "tags": {"pii.email": ["pg.parts.ev.email", "pg.parts.old.email"], "public": ["*.*.*.id"]},
        "rules": [rule | {"on": ["pg.parts.*"]} | masks],
    }
    (tmp_path / "nbgov.yaml").write_text(json.dumps(config))
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    with nbgov.connect(tmp_path, as_="ada@acme.test") as session:
        assert session.sql("SELECT email FROM parts.ev").to_arrow()["email"].to_pylist() == ["***"]
        for name, column in (("ev_1", "email"), ("older", "email"), ("seen", "contact")):
            shown = session.sql(f"SELECT * FROM parts.{name}").to_arrow()
            assert shown[column].to_pylist() == ["***"]
            found = session.sql(f"SELECT id FROM parts.{name} WHERE {column} LIKE 'a%'").to_arrow()
            assert found.num_rows == 0
