"""The magics in a real shell, on real files: what is typed, what comes back, and what stays out."""

from __future__ import annotations

import gc
import getpass
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import nbgov
from nbgov.errors import (
    ApprovalNeeded,
    BackendFailed,
    ConfigInvalid,
    Denied,
    IdentityFailed,
    IntegrityFailed,
    NbgovError,
    RequestInvalid,
)
from nbgov.evidence.verification import verify_log
from nbgov.model import Receipt
from nbgov.notebook import preview

CONFIG = """
version: 1
policy: policy.yaml
default_connection: warehouse
connections:
  warehouse: {{kind: duckdb, path: warehouse.duckdb}}
  ops: {{kind: sqlite, path: ops.db}}
principals:
  ada@acme.test: {{accounts: ["{account}"], groups: [analysts]}}
  grace@acme.test: {{groups: [stewards], roles: [approver]}}
"""
POLICY = """
version: 1
tags:
  pii.email: ["*.*.passengers.email"]
  public: ["*.*.*.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["*.*.*"]
    obligations:
      masks: {"pii.*": redact}
      row_limit: 1000
  - id: change-with-approval
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["ops.*.seats"]
    obligations:
      approval: {by: {roles: [approver]}, votes: 1}
"""
WAREHOUSE = """
CREATE TABLE flights AS
    SELECT range AS n, range % 12 + 1 AS month, CASE WHEN range % 2 = 0 THEN range END AS delay
    FROM range(48);
CREATE TABLE passengers AS SELECT 1 AS id, 'Ada <b>' AS name, 'ada@example.test' AS email;
"""
OPS = """
CREATE TABLE seats (id INTEGER, place TEXT);
INSERT INTO seats VALUES (1, '1A'), (2, '1B');
"""
CALL = """
def f():
    inside = 1
    get_ipython().run_line_magic('govsql', 'SELECT n FROM flights WHERE n = :inside')
f()
"""
UPDATE = "%govsql ops UPDATE seats SET place = '2A' WHERE id = 1"


@dataclass
class Shown:
    """What one cell gave: its value, and everything that was displayed."""

    value: Any
    stdout: str
    outputs: list = field(default_factory=list)

    @property
    def text(self):
        return "\n".join(output.data["text/plain"] for output in self.outputs)


class Notebook:
    """Runs cells as a person would, one after the other; an error in a cell is raised."""

    def __init__(self, shell, folder):
        self.shell = shell
        self.folder = folder
        self.stdout = ""

    def __call__(self, cell):
        with capture_output() as captured:
            outcome = self.shell.run_cell(cell)
        self.stdout = captured.stdout + captured.stderr
        outcome.raise_error()
        return Shown(outcome.result, self.stdout, captured.outputs)

    def __getitem__(self, name):
        return self.shell.user_ns[name]

    def __setitem__(self, name, value):
        self.shell.user_ns[name] = value

    def bundle(self, value):
        """What a front end is sent for a value."""
        return self.shell.display_formatter.format(value)

    def records(self):
        """How many entries the audit log holds."""
        with nbgov.connect() as session:
            return verify_log(session).report.entries

    def place(self):
        """What stands in the row that the update is about."""
        with closing(sqlite3.connect(self.folder / "ops.db")) as database:
            return database.execute("SELECT place FROM seats WHERE id = 1").fetchone()[0]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    config = Config()
    config.HistoryManager.enabled = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        made = InteractiveShell.instance(config=config, colors="nocolor")
        yield made
        InteractiveShell.clear_instance()


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    with duckdb.connect(folder / "warehouse.duckdb") as warehouse:
        warehouse.execute(WAREHOUSE)
    with closing(sqlite3.connect(folder / "ops.db")) as ops:
        ops.executescript(OPS)
    return folder


@pytest.fixture
def notebook(shell, databases, tmp_path, monkeypatch):
    shutil.copytree(databases, tmp_path, dirs_exist_ok=True)
    config = CONFIG.format(account=getpass.getuser())
    (tmp_path / "nbgov.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before = set(shell.user_ns)
    shell.extension_manager.load_extension("nbgov")
    yield Notebook(shell, tmp_path)
    shell.extension_manager.unload_extension("nbgov")
    for name in set(shell.user_ns) - before:
        del shell.user_ns[name]


def approve(ticket, name="grace@acme.test"):
    with nbgov.connect(as_=name) as session:
        session.vote(ticket, is_approval=True, reason="as agreed")


# ---------------------------------------------------------------- results


@pytest.mark.parametrize(
    "cell",
    [
        "%govsql SELECT n FROM flights WHERE n < 2 ORDER BY n",
        "%govsql SELECT n FROM flights WHERE n < 2 ORDER BY n;",
        "%govsql warehouse SELECT n FROM flights WHERE n < 2 ORDER BY n",
        "%%govsql\nSELECT n FROM flights\nWHERE n < 2 ORDER BY n\n",
        "%%govsql warehouse\n\nSELECT n FROM flights WHERE n < 2 ORDER BY n;\n-- done",
        "%%govsql --dataset x warehouse --rows-max 9\nSELECT n FROM flights WHERE n < 2 ORDER BY 1",
        "%%govsql --rows-max=9 warehouse\n/* a :b */ SELECT n FROM flights WHERE n < 2 ORDER BY 1",
    ],
)
def test_a_cell_or_line_returns_the_rows(notebook, cell):
    """A statement gives a plain frame, wherever connection, options and comments stand."""
    frame = notebook(cell).value
    assert type(frame) is pd.DataFrame
    assert frame["n"].tolist() == [0, 1]


def test_another_connection_is_reached_by_its_name(notebook):
    """The first word picks the connection."""
    assert notebook("%govsql ops SELECT place FROM seats ORDER BY id").value["place"].tolist() == [
        "1A", "1B",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "kind"), [("pandas", pd.DataFrame), ("arrow", pa.Table), ("polars", pl.DataFrame)]
)
def test_the_form_of_a_result_is_chosen(notebook, form, kind):
    """``--as`` gives the same rows as pandas, Arrow or Polars, integers with NULLs unharmed."""
    frame = notebook(f"%govsql --as {form} SELECT delay FROM flights WHERE n < 2 ORDER BY n").value
    assert isinstance(frame, kind)
    column = frame["delay"].to_list() if form == "polars" else list(frame["delay"])
    assert int(column[0].as_py() if form == "arrow" else column[0]) == 0
    assert len(column) == 2


@pytest.mark.parametrize("text", ["$n {n}", "%n %(n)s", "{{n}}", ":n", "a:n", '{"n":1}'])
def test_text_is_sent_as_it_was_typed(notebook, text):
    """Neither IPython nor nbgov expands anything inside a literal."""
    notebook["n"] = "EXPANDED"
    frame = notebook(
        f"%govsql SELECT count(*) AS found FROM passengers WHERE name <> '{text}'"
    ).value
    assert frame["found"].tolist() == [1]


# ---------------------------------------------------------------- assignment


def test_a_line_can_be_assigned_in_python(notebook):
    """``r = %govsql`` gives the frame to Python and displays nothing."""
    shown = notebook("r = %govsql SELECT n FROM flights WHERE n = 7")
    assert (shown.value, shown.outputs) == (None, [])
    assert notebook["r"]["n"].tolist() == [7]


@pytest.mark.parametrize(
    "cell",
    [
        "%%govsql\nx << SELECT n FROM flights",
        "%%govsql warehouse x <<\nSELECT n FROM flights",
        "%%govsql\nx<<SELECT n FROM flights",
        "%govsql -o x SELECT n FROM flights",
        "%govsql x << SELECT n FROM flights",
        "%govsql warehouse --out=x SELECT n FROM flights",
    ],
)
def test_an_assignment_shows_one_line(notebook, cell):
    """``x <<`` assigns the frame, returns nothing, and says in one line what x holds."""
    shown = notebook(cell)
    assert shown.value is None
    assert shown.text == "x: 48 rows, 1 column"
    assert len(notebook["x"]) == 48


@pytest.mark.parametrize(
    "head", ["x = << SELECT", "x= <<\nSELECT", "x   =   <<\nSELECT", "x =<< SELECT"]
)
def test_an_assignment_can_return_as_well(notebook, head):
    """``x = <<`` assigns the frame and returns it, also across the line break."""
    shown = notebook(f"%%govsql\n{head} n FROM flights WHERE n = 3")
    assert shown.value is notebook["x"]
    assert shown.value["n"].tolist() == [3]


@pytest.mark.parametrize("name", ["class", "None", "1bad", "a.b", "a$"])
def test_an_impossible_name_is_refused_before_anything_runs(notebook, name):
    """A result that no variable could take is not asked for."""
    before = notebook.records()
    for cell in (f"%%govsql\n{name} << SELECT 1 AS a", f"%govsql -o {name} SELECT 1 AS a"):
        with pytest.raises(RequestInvalid, match=r"keyword|identifier") as caught:
            notebook(cell)
        assert caught.value.code == "usage"
    assert notebook.records() == before


def test_a_name_is_stored_as_python_spells_it(notebook):
    """A variable assigned under a compatibility spelling is found by Python code."""
    notebook("%%govsql\nﬁrst << SELECT n FROM flights WHERE n = 1")
    assert notebook("ﬁrst['n'].tolist()").value == [1]


@pytest.mark.parametrize("sql", ["SELECT nope FROM flights", "SELEC 1", "DROP TABLE flights"])
def test_an_error_keeps_the_old_value(notebook, sql):
    """A statement that fails leaves the variable as it was."""
    notebook["x"] = "old"
    for head in ("x <<", "x = <<", "x = %govsql", "%govsql -o x"):
        cell = f"{head} {sql}" if "%" in head else f"%%govsql\n{head} {sql}"
        with pytest.raises(NbgovError):
            notebook(cell)
        assert notebook["x"] == "old"


def test_a_result_has_one_name(notebook):
    """An option and an arrow cannot both name the variable."""
    with pytest.raises(RequestInvalid, match="two names"):
        notebook("%%govsql -o y\nx << SELECT 1 AS a")


# ---------------------------------------------------------------- binds


@pytest.mark.parametrize(
    ("where", "value", "found"),
    [
        ("n = :k", 2, [2]),
        ("n = :k", np.int64(3), [3]),
        ("n IN :k", [1, 2, 99], [1, 2]),
        ("n IN :k", [], []),
        ("n = :k::int", "5", [5]),
        ("n >= :k AND n < :k + 2", 7, [7, 8]),
    ],
)
def test_a_variable_is_bound_by_name(notebook, where, value, found):
    """``:k`` takes the value of the variable k, once for each place it stands."""
    notebook["k"] = value
    frame = notebook(f"%govsql SELECT n FROM flights WHERE {where} ORDER BY n").value
    assert frame["n"].tolist() == found


def test_a_local_variable_comes_before_a_global_one(notebook):
    """Inside a function, ``:k`` is the function's own k."""
    notebook["k"] = 1
    notebook("def find(k):\n    r = %govsql SELECT n FROM flights WHERE n = :k\n    return r")
    assert notebook("find(9)").value["n"].tolist() == [9]


def test_a_call_from_a_function_leaves_no_variable_behind(notebook):
    """Locals that a statement could see do not become globals."""
    notebook(CALL)
    assert notebook("'inside' in globals()").value is False


def test_a_marker_without_a_variable_is_an_error(notebook):
    """A name that is not defined is reported by name, and nothing runs."""
    with pytest.raises(RequestInvalid, match="nope") as caught:
        notebook("%govsql SELECT n FROM flights WHERE n = :nope")
    assert caught.value.code == "bind-missing"


def test_no_variable_is_touched_that_the_statement_does_not_mark(notebook):
    """A name that only a comment or a literal holds is not looked up."""

    class Trap(dict):
        def __getitem__(self, name):
            assert name not in {"hidden", "quoted"}
            return super().__getitem__(name)

    magics = notebook.shell.magics_manager.registry["GovernedMagics"]
    space = Trap(hidden=1, quoted=2, k=4)
    frame = magics.govsql(
        "SELECT n FROM flights WHERE n = :k /* :hidden */ AND ':quoted' <> ''", None, space
    )
    assert frame["n"].tolist() == [4]


# ---------------------------------------------------------------- what the first line takes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%govsql --nope 1 SELECT 1", "nope"),
        ("%govsql --as excel SELECT 1", "excel"),
        ("%govsql --rows-max 0 SELECT 1", "above zero"),
        ("%govsql --rows-max many SELECT 1", "above zero"),
        ("%govsql --as arrow --as polars SELECT 1", "twice"),
        ("%govsql --file a.sql --file b.sql", "twice"),
        ("%govsql --file nope_nope.sql", "nope_nope"),
        ("%govsql --file nbgov.yaml SELECT 1", "two"),
        ('%govsql --dataset "open SELECT 1', "quot"),
        ("%govsql --persist-replace test", "persist-replace"),
        ("%govsql", "no SQL"),
        ("%govsql warehouse", "no SQL"),
        ("%%govsql warehouse\n   ", "no SQL"),
    ],
)
def test_a_line_that_does_not_read_is_an_error(notebook, line, said):
    """Unknown, repeated, malformed and missing words are named, and the help is pointed to."""
    with pytest.raises(RequestInvalid, match=said) as caught:
        notebook(line)
    assert caught.value.code == "usage"
    assert caught.value.next_step


def test_a_misspelt_connection_is_named_with_its_neighbour(notebook):
    """A lone word above the SQL is meant as a connection, and the nearest name is offered."""
    with pytest.raises(RequestInvalid, match="use warehouse") as caught:
        notebook("%%govsql warehose\nSELECT 1 AS a")
    assert caught.value.code == "unknown-connection"


def test_a_url_is_no_connection_and_is_not_repeated(notebook):
    """A URL opens nothing, and the password in it reaches no output."""
    for cell in (
        "%govsql postgresql://ada:hunter2@db/x SELECT 1",
        "%%govsql sqlite:///x:hunter2\nSELECT 1",
    ):
        with pytest.raises(RequestInvalid, match="URL") as caught:
            notebook(cell)
        assert caught.value.code == "unknown-connection"
        assert "hunter2" not in str(caught.value) + notebook.stdout


def test_a_statement_can_come_from_a_file(notebook):
    """``--file`` reads the statement from a UTF-8 file."""
    (notebook.folder / "one.sql").write_text(
        "SELECT n FROM flights WHERE n = 1 -- é", encoding="utf-8"
    )
    assert notebook("%govsql --file one.sql").value["n"].tolist() == [1]
    (notebook.folder / "two.sql").write_bytes(b"SELECT '\xff'")
    with pytest.raises(RequestInvalid, match=r"two\.sql cannot be read"):
        notebook("%govsql --file two.sql")


def test_help_names_every_option(notebook):
    """``%govsql?`` tells what the magic takes."""
    help_text = notebook.shell.find_line_magic("govsql").__doc__
    for word in ("--as", "--rows-max", "--dataset", "--out", "--file", "x << SELECT"):
        assert word in help_text


# ---------------------------------------------------------------- previews


def test_a_delivered_frame_has_a_preview_and_metadata(notebook):
    """A governed frame shows rows, types and badges; where it is recorded is in the metadata."""
    frame = notebook("%govsql SELECT id, name, email FROM passengers").value
    data, details = notebook.bundle(frame)
    assert 'title="Masked before delivery: redact (tag pii.email)"' in data["text/html"]
    assert "Ada &lt;b&gt;" in data["text/html"]
    assert "ada@example.test" not in data["text/html"] + data["text/plain"]
    assert "string [redact]" in data["text/plain"]
    assert set(details["nbgov"]) == {"record", "receipt", "version"}
    assert details["nbgov"]["version"] == frame.attrs["nbgov"]["version"]


@pytest.mark.parametrize("form", ["pandas", "arrow", "polars"])
def test_each_form_has_the_same_preview(notebook, form):
    """The preview depends on the rows and not on the library that holds them."""
    sql = "SELECT n, delay, email FROM flights, passengers ORDER BY n"
    plain = notebook.bundle(notebook(f"%govsql {sql}").value)[0]
    other = notebook.bundle(notebook(f"%govsql --as {form} {sql}").value)[0]
    assert other == plain
    assert "20 of 48 rows, 3 columns" in plain["text/plain"]


def test_running_a_cell_again_shows_the_same(notebook):
    """Two runs differ in their records, and in nothing that is displayed."""
    first, second = (notebook.bundle(notebook("%govsql SELECT n FROM flights").value) for _ in "ab")
    assert first[0] == second[0]
    assert first[1]["nbgov"]["version"] == second[1]["nbgov"]["version"]
    assert first[1]["nbgov"]["record"] < second[1]["nbgov"]["record"]
    lines = {notebook("%govsql x << SELECT n FROM flights").text for _ in "ab"}
    assert len(lines) == 1


def test_a_truncated_result_says_so(notebook):
    """A row limit is visible in the preview and in the line of an assignment."""
    frame = notebook("%govsql --rows-max 5 SELECT n FROM flights").value
    assert len(frame) == 5
    assert notebook.bundle(frame)[0]["text/plain"].endswith("truncated by row limit")
    shown = notebook("%govsql --rows-max 5 x << SELECT n FROM flights")
    assert shown.text == "x: 5 rows, 1 column; truncated by row limit"


def test_other_frames_are_left_to_their_library(notebook):
    """Frames made by the person, copies and slices of ours included, look as they always did."""
    ours = notebook("%govsql SELECT n FROM flights").value
    for frame in (pd.DataFrame({"n": [1]}), ours.copy(), ours.head(3), pl.DataFrame({"n": [1]})):
        data, details = notebook.bundle(frame)
        assert data["text/plain"] == repr(frame)
        assert "nbgov" not in data.get("text/html", "")
        assert "nbgov" not in details


@pytest.mark.parametrize(
    "change",
    [
        "x['m'] = 1",
        "del x['month']",
        "x.columns = ['m', 'month']",
        "x.index = range(1, 49)",
        "x.loc[99] = [1, 2]",
        "x['n'] = x['n'].astype('float64')",
    ],
)
def test_a_frame_that_was_changed_is_left_to_its_library(notebook, change):
    """A preview is never shown for a frame that is not the one delivered."""
    notebook("%govsql x << SELECT n, month FROM flights")
    notebook(change)
    data, details = notebook.bundle(notebook["x"])
    assert data["text/plain"] == repr(notebook["x"])
    assert details == {}


def test_a_preview_shows_the_values_of_now(notebook):
    """A value changed in place is shown as it is, not as it was delivered."""
    notebook("%govsql x << SELECT n FROM flights WHERE n = 1")
    notebook("x.loc[0, 'n'] = 4711")
    assert "4711" in notebook.bundle(notebook["x"])[0]["text/plain"]


def test_previews_keep_no_frame_alive(notebook, monkeypatch):
    """A frame that nobody holds is forgotten, and many frames push out the oldest."""
    printers = notebook.shell.display_formatter.mimebundle_formatter.singleton_printers
    notebook("r = %govsql SELECT n FROM flights")
    assert len(printers) == 1
    del notebook.shell.user_ns["r"]
    gc.collect()
    assert printers == {}
    kept = pa.table({"n": [1]})
    result = SimpleNamespace(
        schema=kept.schema, record=1, receipt="r", summary=nbgov.Summary(rows_read=1)
    )
    tables = [pa.table({"n": [i]}) for i in range(preview.FRAMES_MAX + 3)]
    previews = preview.Previews({})
    for table in tables:
        previews.add(table, result)
    assert len(previews.printers) == preview.FRAMES_MAX
    assert id(tables[0]) not in previews.printers
    assert id(tables[-1]) in previews.printers


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("sql", "kind", "code"),
    [
        ("SELECT * FROM no_such_tbl", RequestInvalid, "unknown-table"),
        ("SELECT no_such_col FROM flights", RequestInvalid, "unknown-column"),
        ("SELEC 1", RequestInvalid, "syntax"),
        ("DROP TABLE flights", Denied, "denied-by-guard"),
        ("/* SELECT */ DELETE FROM flights", Denied, None),
        ("SELECT 1; DROP TABLE flights", Denied, "denied-by-guard"),
        ("begin", Denied, None),
    ],
)
def test_errors_are_raised_and_brief(notebook, sql, kind, code):
    """A cell that fails raises, and shows at most six lines without a traceback."""
    with pytest.raises(kind) as caught:
        notebook(f"%govsql {sql}")
    assert code in {caught.value.code, None}
    lines = notebook.stdout.strip().split("\n")
    assert len(lines) <= 6
    assert lines[-2].startswith("  code    ")
    assert lines[-1] == f"  receipt {caught.value.receipt}"
    assert "Traceback" not in notebook.stdout
    assert notebook("%govsql SELECT n FROM flights WHERE n = 1").value["n"].tolist() == [1]


def test_the_text_of_an_error_is_the_same_in_every_run(notebook):
    """The record number is shown to the person and left out of the compared text."""
    texts, records = set(), set()
    for _ in "ab":
        with pytest.raises(Denied) as caught:
            notebook("%govsql DROP TABLE flights")
        texts.add(str(caught.value))
        records.add(caught.value.record)
        assert f"record  {caught.value.record}" in notebook.stdout
    assert (len(texts), len(records)) == (1, 2)


def test_without_a_configuration_the_first_query_says_so(notebook, tmp_path_factory, monkeypatch):
    """Loading the extension needs no nbgov.yaml; using it does."""
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    with pytest.raises(ConfigInvalid) as caught:
        notebook("%govsql SELECT 1 AS a")
    assert caught.value.code == "config-missing"


def test_a_database_that_is_away_is_an_error_of_its_own(notebook):
    """A missing file is reported, with its record, and the magic stays usable."""
    (notebook.folder / "ops.db").unlink()
    with pytest.raises(BackendFailed) as caught:
        notebook("%govsql ops SELECT id FROM seats WHERE id = :k")
    assert caught.value.code == "database-unavailable"
    assert caught.value.record is not None
    assert len(notebook("%govsql SELECT n FROM flights").value) == 48


# ---------------------------------------------------------------- approvals


def test_a_statement_that_needs_approval_runs_once_after_it(notebook):
    """Without a browser the error names ticket and command; consent clears one execution."""
    with pytest.raises(ApprovalNeeded) as caught:
        notebook(UPDATE)
    ticket = caught.value.ticket
    assert f"nbgov approvals approve {ticket} --as NAME" in str(caught.value)
    assert len(notebook.stdout.strip().split("\n")) <= 6
    assert notebook.place() == "1A"
    approve(ticket)
    shown = notebook(UPDATE)
    assert shown.text == "UPDATE: 1 row affected"
    assert shown.outputs[0].metadata["nbgov"]["record"] is not None
    assert notebook.place() == "2A"
    with pytest.raises(ApprovalNeeded):
        notebook(UPDATE)


def test_a_card_is_shown_where_somebody_can_click(notebook, monkeypatch):
    """With a front end, the cell shows the ticket and its buttons before it fails."""
    notebook.shell.kernel = SimpleNamespace(_allow_stdin=True)
    try:
        with capture_output() as captured, pytest.raises(ApprovalNeeded, match="this cell again"):
            notebook.shell.run_cell(UPDATE).raise_error()
        box, record = captured.outputs
        assert "UPDATE seats" in record.data["text/plain"]
        assert "application/vnd.jupyter.widget-view+json" in box.data
        monkeypatch.setenv("NBGOV_NONINTERACTIVE", "1")
        with capture_output() as captured, pytest.raises(ApprovalNeeded, match="--as NAME"):
            notebook.shell.run_cell(UPDATE).raise_error()
        assert captured.outputs == []
    finally:
        del notebook.shell.kernel


def test_the_inbox_shows_what_waits(notebook):
    """``%nbgov approvals`` lists every open ticket, shows one in full, and says when none waits."""
    assert "No ticket waits." in notebook("%nbgov approvals").text
    with pytest.raises(ApprovalNeeded) as caught:
        notebook(UPDATE)
    notebook("%nbgov connect --as grace@acme.test")
    ticket = caught.value.ticket
    assert ticket in notebook("%nbgov approvals").text
    assert (
        "UPDATE seats SET place = '2A' WHERE id = 1" in notebook(f"%nbgov approvals {ticket}").text
    )


# ---------------------------------------------------------------- %nbgov


def test_status_says_who_asks_of_what(notebook):
    """The status names principal, connections, policy, state folder, mode and the last record."""
    text = notebook("%nbgov").text
    for part in ("ada@acme.test (analysts)", "warehouse (default), ops", "advisory", "none yet"):
        assert part in text
    details = notebook.bundle(notebook("%govsql SELECT n FROM flights").value)[1]["nbgov"]
    text = notebook("%nbgov status").text
    assert f"record       {details['record']}" in text
    assert Receipt.parse(details["receipt"]).short in text


def test_the_status_knows_the_record_of_a_failure(notebook):
    """A denied statement is the last record too."""
    with pytest.raises(Denied) as caught:
        notebook("%govsql DROP TABLE flights")
    assert f"record       {caught.value.record}" in notebook("%nbgov status").text


def test_connect_changes_who_asks(notebook):
    """``%nbgov connect`` starts over as another principal, and keeps the session on an error."""
    assert "grace@acme.test" in notebook("%nbgov connect --as grace@acme.test").text
    with pytest.raises(IdentityFailed):
        notebook("%nbgov connect --as nobody@acme.test")
    assert "grace@acme.test" in notebook("%nbgov status").text
    with pytest.raises(RequestInvalid, match="flights"):
        notebook("%govsql SELECT n FROM flights")
    assert "ada@acme.test" in notebook("%nbgov connect nbgov.yaml --as ada@acme.test").text
    assert "ada@acme.test" in notebook("%nbgov connect nbgov.yaml").text


def test_the_audit_log_is_verified_on_demand(notebook):
    """``%nbgov audit verify`` counts what it proved, and raises once an entry was changed."""
    notebook("%govsql SELECT n FROM flights")
    assert "ok 1" in notebook("%nbgov audit verify").text
    [segment, *_] = sorted(notebook.folder.glob(".nbgov/**/*.jsonl"))
    text = segment.read_text(encoding="utf-8")
    segment.write_text(text.replace("ada@acme.test", "eve@acme.test", 1), encoding="utf-8")
    with pytest.raises(IntegrityFailed) as caught:
        notebook("%nbgov audit verify")
    assert caught.value.code == "audit-broken"


def test_dataset_versions_are_listed_shown_and_compared(notebook):
    """``%nbgov datasets`` lists names, tells the history of one, shows one version, compares two."""
    for month in (1, 2, 1):
        notebook["month"] = month
        notebook("%govsql --dataset monthly SELECT n FROM flights WHERE month = :month")
    version = notebook("%govsql SELECT n, month FROM flights").value.attrs["nbgov"]
    listed = notebook("%nbgov datasets")
    assert listed.text == notebook("%nbgov datasets list").text
    assert version["version"][:8] in listed.text
    assert listed.outputs[0].data["text/html"].startswith('<div class="nbgov">')
    assert "other bound" in notebook("%nbgov datasets log monthly").text
    assert "month: int" in notebook("%nbgov datasets show monthly").text
    report = notebook(f"%nbgov datasets diff monthly {version['version']}").value
    assert report.is_same_data is False
    with pytest.raises(RequestInvalid, match="write datasets list, show REF"):
        notebook("%nbgov datasets burn monthly")


@pytest.mark.parametrize(
    "line",
    [
        *("nope", "status now", "drift a b c", "connect --who x", "connect a b c", "audit"),
        *("audit 'x", "break-glass T", "undo 1 2", "approvals --all"),
    ],
)
def test_unknown_words_are_answered_with_the_known_ones(notebook, line):
    """A subcommand that does not read is an error that says what there is."""
    with pytest.raises(RequestInvalid) as caught:
        notebook(f"%nbgov {line}")
    assert caught.value.code == "usage"
    assert caught.value.next_step


def test_a_drift_report_is_shown_as_one(notebook):
    """The report that ``%nbgov drift`` returns has a form of its own in a notebook."""
    report = nbgov.DriftReport("january", "june", True, (), "Same data.", "stable")
    data, _ = notebook.bundle(report)
    assert data["text/plain"] == "Drift of june from january: stable\n  Same data."
    assert "Same data." in data["text/html"]


def test_drift_compares_what_is_named(notebook):
    """``%nbgov drift`` takes two references, or one whose baseline it finds, and returns the report."""
    for month in (1, 2):
        notebook["month"] = month
        notebook("%govsql --dataset monthly SELECT n, month FROM flights WHERE month = :month")
    report = notebook("%nbgov drift monthly").value
    assert report.is_same_data is False
    assert notebook(f"%nbgov drift {report.baseline} {report.current}").value == report


# ---------------------------------------------------------------- the extension


def test_unloading_takes_everything_back(notebook):
    """After ``%unload_ext`` the magics are gone, and delivered frames look plain again."""
    frame = notebook("%govsql SELECT n FROM flights").value
    notebook("%unload_ext nbgov")
    assert notebook.shell.find_line_magic("govsql") is None
    assert notebook.shell.find_cell_magic("govsql") is None
    assert notebook.shell.find_line_magic("nbgov") is None
    assert notebook.bundle(frame)[0]["text/plain"] == repr(frame)
    notebook("%load_ext nbgov")
    assert len(notebook("%govsql SELECT n FROM flights").value) == 48


def test_loading_opens_nothing(notebook):
    """No session, state folder or database is opened before the first use."""
    assert not (notebook.folder / ".nbgov").exists()
    notebook("%nbgov status")
    assert (notebook.folder / ".nbgov").exists()
