"""Writes that were approved can be undone, by an approved statement, and by nobody else's word."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
from adbc_driver_postgresql import dbapi
from click.testing import CliRunner

import nbgov
from nbgov.cli import main
from nbgov.core.audit import decode
from nbgov.errors import ApprovalNeeded, BackendFailed, Denied, IntegrityFailed, RequestInvalid
from nbgov.session import connect

CONFIG = """
version: 1
policy: policy.yaml
connections:
  ops: {kind: sqlite, path: ops.db}
principals:
  ada: {groups: [clerks]}
  bob: {groups: [clerks]}
  eve: {groups: [readers]}
  grace: {roles: [approver]}
  UNDO
"""
POLICY = """
version: 1
tags:
  public: ["ops.main.*.*"]
rules:
  - id: read
    effect: permit
    to: {groups: [clerks, readers]}
    actions: [read]
    on: ["ops.main.*"]
  - id: change
    effect: permit
    to: {groups: [clerks]}
    actions: [update, delete, insert]
    on: ["ops.main.*"]
    obligations: {approval: {by: {roles: [approver]}}}
"""
SECRET = "canary-4711"
ROWS = [(1, SECRET, 10.5), (2, "bo", None), (3, "cy", -0.0)]
RAISE = "UPDATE people SET pay = 99 WHERE id < 3"
FIRE = "DELETE FROM people WHERE id >= 2"


@pytest.fixture
def house(tmp_path):
    """A folder with a database, a configuration and a policy."""
    with closing(sqlite3.connect(tmp_path / "ops.db")) as link, link:
        link.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, pay REAL)")
        link.execute("CREATE TABLE notes (text TEXT)")
        link.executemany("INSERT INTO people VALUES (?, ?, ?)", ROWS)
    (tmp_path / "nbgov.yaml").write_text(CONFIG.replace("UNDO", ""))
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def rows(house, table="people"):
    """What the table holds, as another client sees it."""
    with closing(sqlite3.connect(house / "ops.db")) as link:
        return link.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


def tell(house, sql):
    """Change the table behind nbgov's back."""
    with closing(sqlite3.connect(house / "ops.db")) as link, link:
        link.execute(sql)


def approve(house, run, *args, **more):
    """Run what waits for approval, approve it as somebody else, and run it again."""
    with pytest.raises(ApprovalNeeded) as waiting:
        run(*args, **more)
    with connect(house, as_="grace") as grace:
        grace.vote(waiting.value.ticket, is_approval=True)
    return run(*args, **more)


@pytest.mark.parametrize(
    "sql",
    [
        RAISE,
        FIRE,
        "DELETE FROM people WHERE name <> 'x'",
        "UPDATE people SET name = 'x' WHERE pay IS NULL",
    ],
)
def test_an_approved_write_is_undone_by_an_approved_undo(house, sql):
    """After the write and its undo the table is what it was; the undo waits for approval first."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, sql)
        assert rows(house) != ROWS
        undone = approve(house, ada.undo, done.record)
        assert undone.summary.rows_affected == done.summary.rows_affected
    assert rows(house) == ROWS


def test_an_undo_can_be_undone(house):
    """The undo of an UPDATE is a write whose rows are kept, like any other."""
    with connect(house, as_="ada") as ada:
        first = approve(house, ada.sql, RAISE)
        changed = rows(house)
        second = approve(house, ada.undo, first.record)
        approve(house, ada.undo, second.record)
    assert rows(house) == changed


def test_the_receipt_and_the_outcome_name_the_write_too(house):
    """The attempt's receipt and the outcome's number lead to the same statement as its number."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        told = [ada.undo_proposal(one).sql for one in (done.record, str(done.receipt))]
        assert ada.undo_proposal(str(done.record + 1)).sql == told[0] == told[1]


def test_rows_that_somebody_changed_since_are_not_overwritten(house):
    """An undo is refused as long as one of its rows is not as the write left it, and says how many."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        tell(house, "UPDATE people SET pay = 98 WHERE id = 1")
        with pytest.raises(BackendFailed) as error:
            ada.undo(done.record)
        assert (error.value.code, "1 of 2 rows" in error.value.why) == ("undo-unavailable", True)
        tell(house, "UPDATE people SET pay = 99 WHERE id = 1")
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.undo(done.record)
        with connect(house, as_="grace") as grace:
            grace.vote(waiting.value.ticket, is_approval=True)
        tell(house, "DELETE FROM people WHERE id = 2")
        after = rows(house)
        with pytest.raises(BackendFailed):
            ada.undo(done.record)
        assert rows(house) == after


def test_only_who_may_write_there_can_propose_an_undo(house):
    """A principal without the right to change the table is denied, whoever ran the write."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
    with connect(house, as_="eve") as eve, pytest.raises(Denied):
        eve.undo(done.record)
    with connect(house, as_="bob") as bob:
        approve(house, bob.undo, done.record)
    assert rows(house) == ROWS


def test_an_undo_needs_the_votes_of_the_write_also_where_the_policy_asks_for_none(house):
    """A policy that asks for nothing by now does not let an undo pass without a vote."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        (house / "policy.yaml").write_text(
            POLICY.replace("    obligations: {approval: {by: {roles: [approver]}}}\n", "")
        )
        with pytest.raises(ApprovalNeeded):
            ada.undo(done.record)


def test_no_value_of_the_rows_is_kept_or_told_in_the_clear(house):
    """Neither files of the state folder nor errors, tickets and terminals hold a value of a row."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, "UPDATE people SET name = 'x', pay = 1 WHERE id = 1")
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.undo(done.record)
        approval = ada.approval(waiting.value.ticket)
        told = f"{waiting.value.render()}{approval}"
    shown = CliRunner().invoke(
        main, ["--config", str(house), "--as", "ada", "undo", str(done.record)]
    )
    assert shown.exit_code == 3, shown.output
    assert SECRET not in told + shown.output + shown.stderr
    kept = [path for path in (house / ".nbgov").rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_a_write_of_more_rows_than_are_kept_says_so_to_its_voters(house):
    """The ticket of a write that keeps nothing says why, and the write runs without."""
    (house / "nbgov.yaml").write_text(CONFIG.replace("UNDO", "") + "undo: {rows_max: 1}\n")
    with connect(house, as_="ada") as ada:
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.sql(RAISE)
        evidence = ada.approval(waiting.value.ticket).evidence
        assert "more than 1 rows" in evidence.undo
        assert evidence.undo_sql == ""
        done = approve(house, ada.sql, RAISE)
        assert done.summary.rows_affected == 2
        with pytest.raises(RequestInvalid) as error:
            ada.undo(done.record)
        assert error.value.code == "undo-unknown"


def test_a_promise_that_cannot_be_kept_rolls_the_write_back(house):
    """Rows that came after the vote, and are too many to keep, stop the write that promised it."""
    (house / "nbgov.yaml").write_text(CONFIG.replace("UNDO", "") + "undo: {rows_max: 2}\n")
    with connect(house, as_="ada") as ada:
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.sql(RAISE)
        assert ada.approval(waiting.value.ticket).evidence.undo_sql
        with connect(house, as_="grace") as grace:
            grace.vote(waiting.value.ticket, is_approval=True)
        tell(house, "INSERT INTO people VALUES (0, 'new', 1)")
        before = rows(house)
        with pytest.raises(BackendFailed) as error:
            ada.sql(RAISE)
    assert error.value.code == "undo-unavailable"
    assert rows(house) == before


def test_nothing_is_kept_where_the_file_says_so(house):
    """Without ``undo: keep:`` a write runs, its ticket says that it cannot be undone, and nothing stays."""
    (house / "nbgov.yaml").write_text(CONFIG.replace("UNDO", "") + "undo: {keep: false}\n")
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        assert ada.undoable() == ()
        with pytest.raises(RequestInvalid):
            ada.undo(done.record)


def test_what_has_expired_is_gone(house):
    """After its days an image can be used no more, and its rows are dropped."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        later = ada.world.clock.now() + timedelta(days=31)
        ada.world.approvals.now(later)
        with pytest.raises(RequestInvalid) as error:
            ada.undo(done.record)
        assert error.value.code == "undo-unknown"
        assert ada.undoable() == ()
        assert ada.world.undo.images() == ()


def test_rows_whose_key_was_destroyed_are_gone(house):
    """Who erases a principal's sealed literals erases what is kept of the principal's writes."""
    from nbgov.evidence.seals import erase

    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, RAISE)
        erase(ada, principal="ada")
        with pytest.raises(BackendFailed) as error:
            ada.undo(done.record)
    assert error.value.code == "seal-erased"


@pytest.mark.parametrize("part", ["sealed", "facts", "request"])
def test_an_image_that_somebody_edited_undoes_nothing(house, part):
    """Sealed rows open only beside what they were kept with: table, types, ticket, request."""
    with connect(house, as_="ada") as ada:
        first = approve(house, ada.sql, RAISE)
        second = approve(house, ada.sql, "UPDATE people SET name = 'z' WHERE id = 3")
        change = {
            "sealed": "UPDATE undo_images SET sealed = (SELECT sealed FROM undo_images WHERE number = 2)",
            "facts": "UPDATE undo_images SET facts = replace(facts, 'main.people', 'main.notes')",
            "request": "UPDATE undo_images SET request = CASE number WHEN 1 THEN 'x' ELSE request END",
        }[part]
        with closing(sqlite3.connect(house / ".nbgov" / "state.sqlite")) as link, link:
            link.execute("DROP TRIGGER undo_images_stay")
            link.execute(change)
        records = {"sealed": [first], "facts": [first, second], "request": [first]}[part]
        for record in records:
            with pytest.raises((IntegrityFailed, RequestInvalid)) as error:
                ada.undo_proposal(record.record)
            assert error.value.code in {"undo-broken", "undo-unknown"}


def test_what_cannot_be_stored_is_not_written(house):
    """Where the image cannot be kept, the write is rolled back."""
    with connect(house, as_="ada") as ada:
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.sql(RAISE)
        with connect(house, as_="grace") as grace:
            grace.vote(waiting.value.ticket, is_approval=True)
        with closing(sqlite3.connect(house / ".nbgov" / "state.sqlite")) as link, link:
            link.execute(
                "CREATE TRIGGER full BEFORE INSERT ON undo_images"
                " BEGIN SELECT RAISE(ABORT, 'no space'); END"
            )
        with pytest.raises(BackendFailed) as error:
            ada.sql(RAISE)
    assert error.value.code == "state-unavailable"
    assert rows(house) == ROWS


KILLED = """
import os, signal, sys
from nbgov.backends.sqlite.undo import SqliteUndoStore
from nbgov.session import connect
keep = SqliteUndoStore.keep
def keep_and_die(self, image):
    keep(self, image)
    os.kill(os.getpid(), signal.SIGKILL)
SqliteUndoStore.keep = keep_and_die
with connect(sys.argv[1], as_="ada") as ada:
    ada.sql(sys.argv[2])
"""


def test_a_crash_before_the_commit_leaves_the_rows_and_no_undo(house):
    """Killed between store and commit, a write changed nothing, and nobody can undo it."""
    with connect(house, as_="ada") as ada:
        with pytest.raises(ApprovalNeeded) as waiting:
            ada.sql(RAISE)
        with connect(house, as_="grace") as grace:
            grace.vote(waiting.value.ticket, is_approval=True)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(house), RAISE], check=False, cwd=house,
        env=os.environ | {"PYTHONPATH": str(Path(nbgov.__file__).parents[1])},
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL
    assert rows(house) == ROWS
    with connect(house, as_="ada") as ada:
        (image,) = ada.world.undo.images()
        entries = [decode(line) for line in ada.world.audit.entries()]
        (attempt,) = [
            e for e in entries if e.record.request == image.request and e.record.kind == "attempt"
        ]
        with pytest.raises(BackendFailed) as error:
            ada.undo(attempt.index)
    assert error.value.code == "undo-unavailable"
    assert rows(house) == ROWS


def test_the_command_proposes_and_then_runs(house):
    """The first call ends with the ticket and exit code 3, the one after the vote undoes the write."""
    with connect(house, as_="ada") as ada:
        done = approve(house, ada.sql, FIRE)
    call = ["--config", str(house), "--as", "ada", "undo"]
    run = CliRunner().invoke
    listed = run(main, [*call, "list"])
    assert "DELETE ops main.people, 2 rows" in listed.output
    assert "INSERT INTO" in run(main, [*call, "show", str(done.record)]).output
    first = run(main, [*call, str(done.record)])
    assert first.exit_code == 3
    assert f"nbgov undo {done.record}" in first.stderr
    with connect(house, as_="grace") as grace:
        (ticket,) = grace.pending()
        grace.vote(ticket.ticket, is_approval=True)
    second = run(main, [*call, str(done.record)])
    assert second.exit_code == 0, second.output + second.stderr
    assert rows(house) == ROWS


@pytest.mark.parametrize("record", [999, 0])
def test_a_record_that_is_no_write_cannot_be_undone(house, record):
    """A number beyond the log, or of an entry that is no statement, is an unknown record."""
    with connect(house, as_="ada") as ada, pytest.raises(RequestInvalid) as error:
        ada.undo(record)
    assert error.value.code == "unknown-record"


SERVER = """
version: 1
policy: policy.yaml
connections:
  ops: CONNECTION
principals:
  ada: {groups: [clerks]}
  grace: {roles: [approver]}
"""
WRITES = [
    "UPDATE SCHEMA.days SET label = 'none', pay = pay + 1, seen = NULL WHERE part = 1",
    "UPDATE SCHEMA.days AS d SET label = :new WHERE d.id = 7",
    "DELETE FROM SCHEMA.days WHERE part = 1 AND label LIKE :start -- the end",
]


@pytest.mark.parametrize("product", ["duckdb", "postgresql", "mariadb"])
@pytest.mark.parametrize("write", WRITES)
def test_each_product_undoes_through_all_stages(request, tmp_path, product, write):
    """Hundreds of rows under a key of two columns come back, parsed, decided and voted on."""
    schema = {"duckdb": "main", "postgresql": "public", "mariadb": "test"}[product]
    if product == "duckdb":
        connection = "{kind: duckdb, path: ops.duckdb}"
        run = duckdb_runner(tmp_path / "ops.duckdb")
    else:
        url = request.getfixturevalue(
            {"postgresql": "postgres_url", "mariadb": "mariadb_url"}[product]
        )
        kind = {"postgresql": "postgresql", "mariadb": "sqlalchemy"}[product]
        connection = f'{{kind: {kind}, url: "{url}"}}'
        run = server_runner(url)
    moment = "DATETIME" if product == "mariadb" else "TIMESTAMP"
    run(f"DROP TABLE IF EXISTS {schema}.days")
    run(
        f"CREATE TABLE {schema}.days (id INTEGER, part INTEGER, label VARCHAR(40), "
        f"pay DECIMAL(12,2), seen {moment} NULL, PRIMARY KEY (id, part))"
    )
    values = ", ".join(
        f"({n}, {n % 2}, {'NULL' if n % 7 == 0 else repr(f'day {n}')}, {n}.5, '2026-01-02 03:04:05')"
        for n in range(500)
    )
    run(f"INSERT INTO {schema}.days VALUES {values}")
    before = run(f"SELECT * FROM {schema}.days ORDER BY id")
    (tmp_path / "nbgov.yaml").write_text(SERVER.replace("CONNECTION", connection))
    (tmp_path / "policy.yaml").write_text(POLICY.replace("ops.main", f"ops.{schema}"))
    binds = {"new": "new", "start": "day %"}
    binds = {name: value for name, value in binds.items() if f":{name}" in write}
    with connect(tmp_path, as_="ada") as ada:
        done = approve(tmp_path, ada.sql, write.replace("SCHEMA", schema), binds=binds)
        ada.engines.popitem()[1].close()
        assert run(f"SELECT * FROM {schema}.days ORDER BY id") != before
        approve(tmp_path, ada.undo, done.record)
    assert run(f"SELECT * FROM {schema}.days ORDER BY id") == before
    run(f"DROP TABLE {schema}.days")


def duckdb_runner(path):
    """Runs a text on a DuckDB file that nobody else has open."""

    def run(sql):
        with duckdb.connect(path) as link:
            return link.execute(sql).fetchall()

    return run


def server_runner(url):
    """Runs a text on a server, past nbgov."""

    def run(sql):
        if url.startswith("postgresql"):
            with dbapi.connect(url, autocommit=True) as link, link.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        engine = sa.create_engine(url)
        with engine.begin() as link:
            result = link.exec_driver_sql(sql)
            rows = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    return run
