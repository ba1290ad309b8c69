"""No file that nbgov writes holds a literal, a bound value, a secret or a protected value.

Each way in has a marker of its own. Everything is run that a person can run, and then every file is
looked through. The one exception is stated in :data:`HELD`, and nothing else holds those markers.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import nbgov
from nbgov.backends.accounts import own_account
from nbgov.cli import main
from nbgov.errors import ApprovalNeeded, NbgovError
from nbgov.evidence.verification import verify_log
from tests.surfaces.sweep import sweep

ADA, GRACE = "ada@acme.test", "grace@acme.test"
WAYS = [
    "literal", "comment", "block", "hint", "dollar", "escaped", "bind", "listed", "quoted", "bare", "open", "broken",
    "several", "denied", "guarded", "email", "text", "failing", "view", "password", "keyfile", "duplicate", "inserted",
    "ticket", "ticketbind", "reason",
]  # fmt: skip
M = {way: f"zq{way}7mark" for way in WAYS}
# A reviewer has to see the exact statement and values of a ticket, so its store keeps them: these
# cells of state.sqlite, and nothing else. Docs: docs/concepts/audit-content.md.
HELD = {
    M["ticket"]: "approvals.sql",
    M["ticketbind"]: "approvals.binds",
    M["reason"]: "votes.reason",
}
# What stands where a name does is told back to whoever wrote it, and kept nowhere.
NAMES = {M["quoted"], M["bare"], M["dollar"]}
CONFIG = """
version: 1
policy: policy.yaml
default_connection: {first}
connections:
{connections}
  down: {{kind: postgresql, url: "postgresql://127.0.0.1:1/db", user: ada, password: "env:NBGOV_TEST_MARKER"}}
  shut: {{kind: postgresql, url: "postgresql://127.0.0.1:1/db", user: ada, password: "file:{secret}"}}
principals:
  {ada}: {{accounts: ["{account}"], groups: [analysts]}}
  {grace}: {{groups: [stewards], roles: [approver]}}
rows: {{keep: named}}
audit: {{seal: {seal}}}
"""
POLICY = """
version: 1
tags:
  pii.email: ["*.*.people.email", "*.*.shown.email"]
  pii.code: ["*.*.people.code", "*.*.shown.code"]
  public: ["*.*.people.id"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts, stewards]}
    actions: [read]
    on: ["*.*.*"]
    obligations: {masks: {"pii.email": redact, "pii.code": token}}
  - id: add
    effect: permit
    to: {groups: [analysts]}
    actions: [insert]
    on: ["*.*.people"]
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["*.*.people"]
    obligations: {approval: {by: {roles: [approver]}}}
content: {entities: [EMAIL_ADDRESS], score_min: 0.4}
evidence: {unseal: {roles: [approver]}}
"""
TABLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR(99), note VARCHAR(99), code VARCHAR(99))"
ROWS = [
    f"INSERT INTO people VALUES (1, '{M['email']}@acme.test', 'write to {M['text']}@lovelace.org', '{M['failing']}')",
    "INSERT INTO people VALUES (2, NULL, 'fine', '17')",
]
VIEW = f"CREATE VIEW shown AS SELECT id, email, code FROM people WHERE note <> '{M['view']}'"
READS = [
    f"SELECT id FROM people WHERE note = '{M['literal']}' -- {M['comment']}",
    f"SELECT /*+ {M['hint']} */ id FROM people /* {M['block']} */",
    f"SELECT id FROM people WHERE note = $${M['dollar']}$$",
    f"SELECT id FROM people WHERE note = 'it\\'s {M['escaped']}' AND code = ''",
    f'SELECT id FROM people WHERE note = "{M["quoted"]}"',
    f"SELECT id FROM people WHERE note = {M['bare']}",
    f"SELECT id FROM people WHERE note = '{M['open']}",
    f"SELECT {M['broken']} FROM WHERE '{M['broken']}' GROUP",
    f"SELECT 1; SELECT '{M['several']}' FROM nowhere; SELECT '{M['several']}'",
    f"DROP TABLE people -- {M['denied']}",
    f"SELECT pg_sleep('{M['guarded']}'), sleep('{M['guarded']}')",
    "SELECT * FROM people",
    "SELECT * FROM shown",
    "SELECT CAST(code AS INTEGER) AS n FROM people",
    "SELECT CAST(note AS INTEGER) AS n FROM people",
    "SELECT CAST(note AS DATE) AS n FROM people",
]  # fmt: skip
WRITES = [
    f"INSERT INTO people (id, note) VALUES (1, '{M['duplicate']}')",
    f"INSERT INTO people (id, note) VALUES ('{M['inserted']}', 'x')",
]
CHANGE = f"UPDATE people SET note = '{M['ticket']}' WHERE note = :v"
COMMANDS = [
    ["datasets", "list"], ["catalog", "-c", "{}"], ["catalog", "log", "{}"], ["check", "SELECT * FROM people"],
    ["classify", "{}"], ["policy", "backtest"], ["approvals", "list"], ["audit", "tail"], ["audit", "status"],
    ["audit", "search", "--text", "select"], ["audit", "show", "7"], ["audit", "verify"], ["audit", "report", "-o", "report.html"],
    ["audit", "export", "--format", "jsonl", "-o", "log.jsonl"], ["audit", "export", "--format", "csv", "-o", "log.csv"],
    ["audit", "export", "--format", "ocsf", "-o", "log.ocsf"], ["audit", "export", "--format", "parquet", "-o", "log.parquet"],
    ["audit", "export", "--bundle", "log.bundle"], ["doctor"], ["keys", "rotate"],
]  # fmt: skip


@dataclass
class Ground:
    """A project whose sources and secrets stand elsewhere, so that all files below are nbgov's.

    Attributes:
        folder: Everything that nbgov can write to.
        sources: Databases, and a password in a file.
        connections: Name and settings of each connection.
    """

    folder: Path
    sources: Path
    connections: dict[str, str] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The project, which is the working directory too."""
        return self.folder / "work"

    def configure(self, *, seal: bool) -> None:
        """Write the configuration, which holds no marker itself."""
        secret = self.sources / "password"
        secret.write_text(M["keyfile"])
        text = CONFIG.format(
            first=next(iter(self.connections)),
            connections="\n".join(f"  {name}: {one}" for name, one in self.connections.items()),
            secret=secret,
            ada=ADA,
            account=own_account(),
            grace=GRACE,
            seal=str(seal).lower(),
        )
        (self.work / "nbgov.yaml").write_text(text)
        (self.work / "policy.yaml").write_text(POLICY)

    def found(self) -> set[tuple[str, str, str]]:
        """File, place and word of every trace that has no business there."""
        traces = sweep(self.folder, M.values())
        return {
            (one.path, one.place, one.word)
            for one in traces
            if not (
                one.word in HELD
                and one.path.startswith("work/.nbgov/state.sqlite")
                and one.place in {"", f"/{HELD[one.word]}"}
            )
        }


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """An empty ground, to which home, temporary files, logs and notebooks are bound."""
    made = Ground(tmp_path / "all", tmp_path / "sources")
    for name in ("work", "home", "tmp"):
        (made.folder / name).mkdir(parents=True)
    made.sources.mkdir()
    for name, value in {"HOME": "home", "TMPDIR": "tmp", "IPYTHONDIR": "home/ipython"}.items():
        monkeypatch.setenv(name, str(made.folder / value))
    monkeypatch.setenv("NBGOV_TEST_MARKER", M["password"])
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(made.work)
    handler = logging.FileHandler(made.folder / "nbgov.log")
    loggers = [logging.getLogger(name) for name in ("nbgov", "mlflow_plugin", "py.warnings")]
    for one in loggers:
        one.addHandler(handler)
    yield made
    for one in loggers:
        one.removeHandler(handler)
    handler.close()


def files(ground: Ground) -> None:
    """A DuckDB and a SQLite file among the sources."""
    with duckdb.connect(ground.sources / "wh.duckdb") as warehouse:
        for statement in (TABLE, *ROWS, VIEW):
            warehouse.execute(statement)
    with contextlib.closing(sqlite3.connect(ground.sources / "ops.sqlite")) as ops:
        for statement in (TABLE, *ROWS, VIEW):
            ops.execute(statement)
        ops.commit()
    ground.connections |= {
        "wh": f"{{kind: duckdb, path: {ground.sources / 'wh.duckdb'}}}",
        "ops": f"{{kind: sqlite, path: {ground.sources / 'ops.sqlite'}}}",
    }


def servers(ground: Ground, postgres_url: str, mariadb_url: str) -> None:
    """The same tables on two servers."""
    import pg8000.native
    import sqlalchemy as sa

    statements = ("DROP VIEW IF EXISTS shown", "DROP TABLE IF EXISTS people", TABLE, *ROWS, VIEW)
    socket = Path(postgres_url.partition("host=")[2], ".s.PGSQL.5432")
    with pg8000.native.Connection("postgres", database="postgres", unix_sock=str(socket)) as server:
        for statement in statements:
            server.run(statement)
    engine = sa.create_engine(mariadb_url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    ground.connections["pg"] = f'{{kind: postgresql, url: "{postgres_url}"}}'
    ground.connections["maria"] = f'{{kind: sqlalchemy, url: "{mariadb_url}"}}'


def run_trainings(ground: Ground) -> None:
    """Governed reads inside runs, with all that comes to a run's page."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{ground.work / 'mlflow.db'}")
    mlflow.set_experiment("markers")
    for name in ground.connections:
        with nbgov.connect(ground.work, as_=ADA) as session:
            for sql in (*READS[:1], "SELECT * FROM people"):
                with mlflow.start_run() as run:
                    session.sql(sql, name, dataset="trained").to_pandas()
                out = ["export", run.info.run_id, "-o", "lineage.json"]
                for words in (["show", run.info.run_id], out):
                    said = CliRunner().invoke(main, ["--as", ADA, "lineage", *words])
                    assert said.exit_code == 0, said.output


def ask(session: nbgov.Session, connection: str, sql: str, **values: object) -> str:
    """Run a statement to its end; what a person sees of an error."""
    try:
        session.sql(sql, connection, dataset="kept", binds=values).to_arrow()
    except NbgovError as error:
        return error.render() + repr(error)
    return ""


def run_sessions(ground: Ground) -> str:
    """Every statement on every connection, from Python; what people see of errors."""
    seen = []
    with nbgov.connect(ground.work, as_=ADA) as session:
        seen += [ask(session, name, READS[0]) for name in ("down", "shut")]
    for name in ground.connections:
        with nbgov.connect(ground.work, as_=ADA) as session:
            seen += [ask(session, name, sql) for sql in (*READS, *WRITES)]
            seen.append(ask(session, name, "SELECT id FROM people WHERE note = :v", v=M["bind"]))
            seen.append(
                ask(session, name, "SELECT id FROM people WHERE note IN :v", v=[M["listed"]])
            )
            seen.append(ask(session, name, "SELECT id FROM people WHERE note = :w", v=M["bind"]))
    for name in ground.connections:
        with nbgov.connect(ground.work, as_=ADA) as session:
            with pytest.raises(ApprovalNeeded) as caught:
                session.sql(CHANGE, name, v=M["ticketbind"])
            with nbgov.connect(ground.work, as_=GRACE) as other:
                other.vote(caught.value.ticket, is_approval=True, reason=M["reason"])
            session.sql(CHANGE, name, v=M["ticketbind"])
            with pytest.raises(NbgovError):
                session.vote(caught.value.ticket, is_approval=True, reason=M["reason"])
    return "\n".join(seen)


def run_commands(ground: Ground) -> dict[str, str]:
    """Statements and everything else from a terminal; what was said, by command."""
    said = {}
    for name in ground.connections:
        asked = [["sql", "-c", name, "--dataset", "kept", sql] for sql in READS]
        for words in [*asked, *([word.format(name) for word in words] for words in COMMANDS)]:
            result = CliRunner().invoke(main, ["--as", ADA, *words])
            assert result.exception is None or isinstance(result.exception, SystemExit), words
            said[" ".join(words)] = result.output
    return said


def run_cells(ground: Ground) -> None:
    """The same statements from a notebook."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config, colors="nocolor")
    try:
        shell.extension_manager.load_extension("nbgov")
        for name in ground.connections:
            for sql in READS:
                with capture_output():
                    shell.run_cell(f"%%govsql -c {name}\n{sql}")
        shell.extension_manager.unload_extension("nbgov")
    finally:
        InteractiveShell.clear_instance()


def statements_shown(said: dict[str, str]) -> set[str]:
    """Markers that a command showed, though nobody had typed them into it."""
    return {
        word
        for words, text in said.items()
        for word in M.values()
        if word in text and word not in words
    }


def check(ground: Ground) -> None:
    """No file holds what it must not; the exception is where it is said to be; the log verifies."""
    assert ground.found() == set()
    with contextlib.closing(sqlite3.connect(ground.work / ".nbgov" / "state.sqlite")) as state:
        for word, place in HELD.items():
            table, _, column = place.partition(".")
            rows = state.execute(f"SELECT {column} FROM {table}").fetchall()
            assert word in str(rows)
    with nbgov.connect(ground.work, as_=ADA) as session:
        verify_log(session)


def test_sessions_leave_no_marker(ground: Ground) -> None:
    """After everything was asked of a file from Python, with literals sealed, no file holds one."""
    files(ground)
    del ground.connections["ops"]
    ground.configure(seal=True)
    errors = run_sessions(ground)
    assert {word for word in M.values() if word in errors} <= NAMES
    assert list((ground.work / ".nbgov" / "seals").iterdir())
    check(ground)


@pytest.mark.slow
@pytest.mark.parametrize("seal", [False, True])
def test_nothing_on_files_leaves_a_marker(ground: Ground, seal: bool) -> None:
    """Nor after all that a terminal and a notebook can do, on DuckDB and SQLite."""
    files(ground)
    ground.configure(seal=seal)
    errors = run_sessions(ground)
    said = run_commands(ground)
    run_cells(ground)
    assert {word for word in M.values() if word in errors} <= NAMES
    assert statements_shown(said) <= set(HELD)
    segments = [one for one in (ground.work / ".nbgov" / "audit").rglob("*") if one.is_file()]
    assert any(b'"literals"' in one.read_bytes() for one in segments) == seal
    check(ground)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
@pytest.mark.filterwarnings("ignore:.*stages:FutureWarning")
def test_nothing_on_servers_leaves_a_marker(
    ground: Ground, postgres_url: str, mariadb_url: str
) -> None:
    """Nor on PostgreSQL and MariaDB, whose errors quote values, inside an MLflow run."""
    servers(ground, postgres_url, mariadb_url)
    ground.configure(seal=True)
    errors = run_sessions(ground)
    said = run_commands(ground)
    run_trainings(ground)
    assert {word for word in M.values() if word in errors} <= NAMES
    assert statements_shown(said) <= set(HELD)
    check(ground)
    with nbgov.connect(ground.work, as_=ADA) as session:
        assert any(b'"sqlstate":"' in line for line in session.world.audit.entries())


def test_the_sweep_finds_what_is_planted(tmp_path: Path) -> None:
    """A word is found in every encoding and container that the files of a project may have."""
    word, held = M["literal"], f"behind {M['literal']} before"
    table = pa.table({"a": [held]})
    pq.write_table(table, tmp_path / "a.parquet")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.sqlite")) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("CREATE TABLE t (a BLOB)")
        base.execute("INSERT INTO t VALUES (?)", (zlib.compress(held.encode()),))
        base.commit()
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("b", held * 9)
        (tmp_path / "a.txt").write_text(held.upper())
        (tmp_path / "a.16").write_text(held, encoding="utf-16-le")
        (tmp_path / "b.16").write_text(held, encoding="utf-16-be")
        (tmp_path / "a.hex").write_text(held.encode().hex())
        for skip in range(3):
            import base64

            (tmp_path / f"{skip}.64").write_bytes(base64.b64encode(b"x" * skip + held.encode()))
        found = {one.path for one in sweep(tmp_path, [word])}
    assert found == {"a.parquet", "a.sqlite", "a.zip", "a.txt", "a.16", "b.16", "a.hex", "0.64", "1.64", "2.64"}  # fmt: skip
    assert not sweep(tmp_path, ["another word"])
