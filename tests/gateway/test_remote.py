"""Connections of the kind ``gateway``: everything as on one's own database, decided elsewhere."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.flight
import pytest
from click.testing import CliRunner
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import nbgov
import nbgov.login
from nbgov.backends.accounts import own_account
from nbgov.cli import main
from nbgov.core.transport import write
from nbgov.errors import BackendFailed, IdentityFailed, IntegrityFailed, NbgovError, RequestInvalid
from nbgov.evidence.verification import verify_log
from nbgov.gateway.flight.serving import Tls
from nbgov.model import Audience, Decision, Receipt, Request, Summary
from tests.gateway.certificates import make_certificates
from tests.gateway.remote_scene import Gateway, Tokens, running
from tests.gateway_scene import CONFIG, make_folder, make_house, token

CHANGE = "UPDATE people SET city = 'Turin' WHERE id = 7"
ENDLESS = "SELECT count(*) FROM numbers a, numbers b WHERE a.b + b.b < 0"
LATE = "SELECT CAST(CASE WHEN a = 199999 THEN c ELSE '1' END AS INTEGER) AS n FROM numbers"
# The same people as the gateway's, in embedded mode.
EMBEDDED = CONFIG.partition("gateway:")[0] + (
    "principals:\n  ada: {groups: [analysts]}\n  grace: {groups: [stewards, analysts]}\n"
)
STATEMENTS = {
    "masked": ("SELECT * FROM people WHERE id < 5 ORDER BY id", {}),
    "bound": ("SELECT id FROM people WHERE id IN (:ids) ORDER BY id", {"ids": [3, 1]}),
    "grouped": ("SELECT city, count(*) AS n FROM people GROUP BY city ORDER BY city", {}),
    "empty": ("SELECT id, city FROM people WHERE id < 0", {}),
    "many": ("SELECT a, b, c FROM numbers ORDER BY a", {}),
    "nested": (
        "SELECT [id, NULL] AS l, {'a': city} AS s, id::HUGEINT AS h FROM people WHERE id = 1",
        {},
    ),
    "enum": (
        "SELECT CASE WHEN id > 1 THEN 'a' ELSE 'b' END::ENUM('a', 'b') AS e FROM people WHERE id < 4 ORDER BY id",
        {},
    ),
    "twins": ("SELECT id, id FROM people WHERE id = 1", {}),
    "two reads": ("SELECT 1 AS a; SELECT 2 AS b", {}),
    "hidden": ("SELECT * FROM salaries", {}),
    "wrong column": ("SELECT nothing FROM people", {}),
    "no SQL": ("SELEC 1", {}),
    "nothing": ("", {}),
    "file": ("SELECT * FROM read_csv('/etc/passwd')", {}),
    "not permitted": ("DELETE FROM people", {}),
    "unbound": ("SELECT :a", {}),
    "fails": ("SELECT 1 / 0 + CAST('x' AS INTEGER)", {}),
    "fails late": (LATE, {}),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A gateway whose data no test changes."""
    with running(tmp_path_factory.mktemp("unchanged")) as gateway:
        yield gateway


def entered(gateway, monkeypatch):
    """The gateway, at which this process is logged in as ada."""
    monkeypatch.setattr(nbgov.login, "credentials_for", gateway.credentials)
    gateway.who, gateway.tokens = "ada", {}
    return gateway


@pytest.fixture
def gateway(shared, monkeypatch):
    return entered(shared, monkeypatch)


@pytest.fixture
def reader(unchanged, monkeypatch, tmp_path):
    client = entered(unchanged, monkeypatch).client(tmp_path / "reader")
    with nbgov.connect(client) as session:
        yield session


@pytest.fixture
def session(gateway, tmp_path):
    with nbgov.connect(gateway.client(tmp_path / "client")) as session:
        yield session


@pytest.fixture
def embedded(tmp_path):
    folder = tmp_path / "embedded"
    folder.mkdir()
    with nbgov.connect(make_folder(folder, config=EMBEDDED), as_="ada") as session:
        yield session


@pytest.fixture
def shell(monkeypatch, session):
    monkeypatch.setenv("NBGOV_CONFIG", str(session.path))
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "nbgov")
    yield shell
    shell.run_line_magic("unload_ext", "nbgov")
    shell.history_manager.end_session()


def outcome(session, sql, binds):
    """All that a person learns of a statement, without what differs from log to log."""
    try:
        result = session.sql(sql, binds=binds)
        table = result.to_arrow()
    except NbgovError as error:
        return type(error), str(error), error.record is not None, getattr(error, "sqlstate", "")
    summary = result.summary
    return (
        table, summary.rows_read, summary.rows_affected, summary.is_truncated, summary.masked,
        summary.found, summary.version and summary.version.content_id, result.decision.rules,
        result.decision.obligations, result.statement, summary.remarks,
    )  # fmt: skip


def wait_until(is_so, *, seconds=20.0):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_idle(gateway: Gateway) -> bool:
    return not gateway.house.works()


# ---------------------------------------------------------------- the same as embedded


@pytest.mark.parametrize(("sql", "binds"), STATEMENTS.values(), ids=STATEMENTS.keys())
def test_everything_a_person_learns_is_what_embedded_mode_tells(reader, embedded, sql, binds):
    """Rows, types, masks, facts and errors are equal to those of a session on the database."""
    assert outcome(reader, sql, binds) == outcome(embedded, sql, binds)


def test_a_write_tells_what_it_does_in_embedded_mode(session, embedded):
    """The rows affected and all other facts of a write are equal, too."""
    sql = "INSERT INTO numbers VALUES (1, 2, 'x')"
    assert outcome(session, sql, {}) == outcome(embedded, sql, {})


def test_values_are_bound_as_in_embedded_mode(reader, embedded):
    """Arrays, sets and frames' scalars become plain values, and what no marker names is left out."""
    binds = {
        "ids": np.array([3, 1]),
        "city": pd.Series(["city 3"])[0],
        "at": pd.Timestamp("2026-01-02 03:04"),
        "unused": object(),
    }
    sql = "SELECT id, :at AS at FROM people WHERE id IN (:ids) AND city = :city"
    assert outcome(reader, sql, binds) == outcome(embedded, sql, binds)


def test_a_value_that_cannot_be_bound_is_refused_before_it_is_sent(session, embedded):
    """The error is the one of embedded mode; the gateway never hears of the statement."""
    found, expected = (outcome(one, "SELECT :a", {"a": object()}) for one in (session, embedded))
    assert found[:2] == expected[:2]


def test_a_catalog_is_the_one_that_the_principal_may_see(session, embedded):
    """What the policy hides is absent, and all else is there."""
    assert session.catalog() == embedded.catalog()
    assert session.dialect() == embedded.dialect() == "duckdb"


def test_a_check_says_what_would_run(session, embedded):
    """A verdict is that of embedded mode, for a permit and a deny."""
    for sql in ("SELECT * FROM people", "DELETE FROM people"):
        assert session.check(sql) == embedded.check(sql)


def test_a_result_names_its_entry_in_the_log_of_the_gateway(session, gateway):
    """Record and receipt are of an attempt of this principal that has an outcome there."""
    result = session.sql("SELECT id FROM people LIMIT 3")
    result.to_arrow()
    site = gateway.house.site
    lines = [json.loads(line) for line in site.world.audit.entries(result.record)]
    entry, done = lines[0], lines[1]
    assert isinstance(result.receipt, Receipt)
    assert (result.receipt.index, result.summary.record) == (result.record, result.record)
    text = json.dumps([entry, done])
    assert '"ada"' in text
    assert "SELECT id FROM people" in text
    guest = gateway.house.enter(gateway.tokens["ada"].data(), Audience.DATA)
    assert verify_log(guest.session).is_sound


def test_rows_are_delivered_to_the_row_limit_that_was_asked_for(session):
    """A limit of the caller cuts the result, which says so."""
    result = session.sql("SELECT a FROM numbers", rows_max=10)
    assert result.to_arrow().num_rows == 10
    assert result.summary.is_truncated


def test_a_connection_may_have_another_name_here(gateway, tmp_path):
    """What is sent names the connection as the gateway does."""
    path = gateway.client(tmp_path / "client", name="there", more=", connection: warehouse")
    with nbgov.connect(path) as session:
        assert session.sql("SELECT count(*) AS n FROM people").to_arrow()["n"].to_pylist() == [1000]
        assert session.catalog("there").tables


# ---------------------------------------------------------------- who asks


def test_who_asks_is_who_is_logged_in(session):
    """The principal is the gateway's word, with groups and all."""
    who = session.principal
    assert (who.name, who.groups, who.via) == ("ada", frozenset({"analysts"}), "oidc:acme")


def test_nobody_acts_in_the_name_of_somebody_else(gateway, tmp_path):
    """A claim is refused instead of ignored."""
    with nbgov.connect(gateway.client(tmp_path / "client"), as_=own_account()) as session:
        for ask in (session.sql, session.check):
            with pytest.raises(IdentityFailed, match="by their login"):
                ask("SELECT 1")


def test_a_token_that_the_gateway_has_lost_is_replaced_once(session, gateway):
    """An unknown token leads to one exchange, and the statement runs."""
    tokens = gateway.credentials(f"http://127.0.0.1:{gateway.control}")
    tokens.made = {Audience.DATA: "nbgov-data-" + "x" * 43}
    assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1
    assert tokens.forgotten == 1
    tokens.made[Audience.CONTROL] = "nbgov-control-" + "x" * 43
    assert isinstance(session.pending(), tuple)
    assert tokens.forgotten == 2


def test_a_login_that_was_ended_is_told_of(session, gateway):
    """A revoked token is not replaced in silence: the statement fails, and says why."""
    session.sql("SELECT 1").to_arrow()
    house, tokens = gateway.house, gateway.tokens["ada"]
    login = house.enter(tokens.data(), Audience.DATA).login
    house.end(login=login.id, by=login.principal, reason="laptop lost")
    with pytest.raises(IdentityFailed, match="laptop lost") as caught:
        session.sql("SELECT 1")
    assert (caught.value.code, tokens.forgotten) == ("token-revoked", 1)


def test_guests_of_a_gateway_do_not_go_on_to_another_one(gateway, tmp_path):
    """A gateway never lends its own login: its guests reach no connection of the kind gateway."""
    more = CONFIG.replace(
        "gateway:\n",
        f'  far: {{kind: gateway, url: "grpc://127.0.0.1:{gateway.data}", control: "http://127.0.0.1:{gateway.control}"}}\ngateway:\n',
    )
    folder = tmp_path / "middle"
    folder.mkdir()
    house = make_house(make_folder(folder, config=more))
    try:
        guest = house.enter(token(house, "ada"), Audience.DATA)
        with pytest.raises(RequestInvalid) as caught:
            house.ask(guest, Request("far", "SELECT 1"), surface="test", address="")
        assert caught.value.code == "not-supported"
    finally:
        house.close()


# ---------------------------------------------------------------- what goes wrong on the way


def test_a_gateway_that_is_away_is_said_to_be(gateway, tmp_path, monkeypatch):
    """Neither plane that does not answer leaves anything but a plain error."""
    path = gateway.client(tmp_path / "client")
    path.write_text(
        path.read_text().replace(str(gateway.data), "1").replace(str(gateway.control), "1")
    )
    mine = gateway.credentials(f"http://127.0.0.1:{gateway.control}")
    monkeypatch.setattr(nbgov.login, "credentials_for", lambda url, **trust: mine)
    with nbgov.connect(path) as session:
        for ask in (lambda: session.sql("SELECT 1"), session.catalog, session.pending):
            with pytest.raises(BackendFailed) as caught:
                ask()
            assert caught.value.code == "gateway-unavailable"


def test_nothing_that_is_sent_in_clear_goes_by_way_of_a_proxy(gateway, tmp_path, monkeypatch):
    """A proxy of the environment never sees the tokens of a gateway on this host."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "all_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with nbgov.connect(gateway.client(tmp_path / "client")) as session:
            assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1
            assert isinstance(session.pending(), tuple)


def test_both_sides_prove_who_they_are_with_certificates(tmp_path, monkeypatch):
    """With TLS and client certificates all works; without one, or with a strange one, nothing."""
    folder, house = tmp_path / "tls", tmp_path / "gateway"
    folder.mkdir()
    house.mkdir()
    server, client, authority = make_certificates(folder)
    both = folder / "both.pem"
    both.write_bytes(client[0].read_bytes() + client[1].read_bytes())
    tls = Tls(server[0].read_bytes(), server[1].read_bytes(), authority.read_bytes())
    with running(house, tls=tls) as gateway:
        tokens = Tokens(gateway.house, "ada")
        monkeypatch.setattr(nbgov.login, "credentials_for", lambda url, **trust: tokens)

        def outcome(name, more):
            path = gateway.client(tmp_path / name, more=more)
            text = path.read_text().replace("grpc:", "grpc+tls:").replace("http:", "https:")
            path.write_text(text)
            with nbgov.connect(path) as session:
                try:
                    return session.sql("SELECT 1 AS a").to_arrow().num_rows, session.pending()
                except NbgovError as error:
                    with pytest.raises(BackendFailed):
                        session.pending()
                    return error.code

        assert outcome("both", f", ca: {authority}, certificate: {both}") == (1, ())
        for more in (f", ca: {authority}", f", certificate: {both}", f", ca: {both}"):
            assert outcome("one", more) == "gateway-unavailable"
        assert outcome("none", f", ca: {folder}/nothing.pem") == "config-invalid"


class Cut(pa.flight.FlightServerBase):
    """A gateway whose stream ends cleanly, but too early, at the end of some message."""

    def __init__(self, messages: int, rows_told: int = 0):
        super().__init__("grpc://127.0.0.1:0")
        self.messages = messages
        self.rows_told = rows_told

    def do_get(self, context, ticket):
        batch = pa.record_batch({"a": [1, 2]})
        head = write(
            {
                "record": 1,
                "receipt": Receipt("o", 1, b"x" * 32),
                "decision": Decision(is_permitted=True),
                "statement": READ[0],
            }
        )
        tail = write(Summary(rows_read=self.rows_told)).encode()
        return pa.flight.GeneratorStream(
            batch.schema,
            iter(
                [(batch.slice(0, 0), head.encode()), batch, (batch.slice(0, 0), tail)][
                    : self.messages
                ]
            ),
        )


READ = []


@pytest.mark.parametrize(("messages", "rows_told"), [(0, 2), (1, 2), (2, 2), (3, 3), (3, 1)])
def test_a_stream_that_ends_early_never_looks_complete(
    gateway, session, tmp_path, messages, rows_told
):
    """Cut between two messages, or of other rows than were sent, a result is an error."""
    READ[:] = [session.check("SELECT 1 AS a").statement]
    with Cut(messages, rows_told) as server:
        path = gateway.client(tmp_path / "cut")
        path.write_text(
            path.read_text().replace(
                f"grpc://127.0.0.1:{gateway.data}", f"grpc://127.0.0.1:{server.port}"
            )
        )
        with nbgov.connect(path) as other:
            with pytest.raises(BackendFailed) as caught:
                other.sql("SELECT 1 AS a").to_arrow()
            assert caught.value.code == "gateway-cut"
            assert not other.deliveries()


# ---------------------------------------------------------------- stopping


def test_another_thread_can_cancel_a_statement(session, gateway):
    """A statement that runs at the gateway is stopped there by its name."""
    errors: list[NbgovError] = []

    def run():
        try:
            session.sql(ENDLESS, request="mine").to_arrow()
        except NbgovError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(gateway.house.works)
    time.sleep(0.2)
    session.cancel("mine")
    thread.join(20)
    assert [error.code for error in errors] == ["cancelled"]
    wait_until(lambda: is_idle(gateway))


def test_an_interrupt_from_the_keyboard_stops_the_statement_at_the_gateway(session, gateway):
    """Ctrl-C is heard while the client waits in C++, and nothing runs on."""
    main_thread = threading.main_thread().ident

    def press():
        wait_until(gateway.house.works)
        time.sleep(0.2)
        signal.pthread_kill(main_thread, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        session.sql(ENDLESS).to_arrow()
    thread.join()
    wait_until(lambda: is_idle(gateway))
    assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1


def test_a_result_that_is_closed_or_forgotten_is_let_go_of_at_the_gateway(session, gateway):
    """Whoever stops reading leaves nothing running; the log says that it was not read to its end."""
    for leave in (
        lambda result: result.close(),
        lambda result: result.cancel(),
        lambda result: None,
    ):
        result = session.sql("SELECT a, b, c FROM numbers, range(50)")
        assert next(result.batches()).num_rows
        leave(result)
        record = result.record
        del result
        wait_until(lambda: is_idle(gateway))
        entries = [json.loads(line) for line in gateway.house.site.world.audit.entries(record + 1)]
        assert "ok" not in json.dumps(entries[0]).lower().split('"status"')[1][:12]


# ---------------------------------------------------------------- approvals


def asked(session, sql=CHANGE):
    """The ticket of a statement that waits."""
    with pytest.raises(nbgov.ApprovalNeeded) as caught:
        session.sql(sql)
    return caught.value.ticket


def as_grace(gateway, tmp_path):
    gateway.who = "grace"
    session = nbgov.connect(gateway.client(tmp_path / "grace"))
    session.gateways.controls  # noqa: B018 - who is logged in is settled now
    gateway.who = "ada"
    return session


def test_a_ticket_goes_its_way_at_the_control_plane(session, gateway, tmp_path):
    """Asked, looked at, sampled, voted on and used: as in embedded mode, by two people."""
    ticket = asked(session)
    assert session.approval(ticket).requester == "ada"
    assert ticket in [one.ticket for one in session.pending()]
    with pytest.raises(nbgov.Denied) as caught:
        session.vote(ticket, is_approval=True)
    assert caught.value.code == "self-approval"
    with as_grace(gateway, tmp_path) as voter:
        sample = voter.sample(ticket)
        assert sample.before.column_names == ["id", "city"]
        assert sample.after["city"].to_pylist() == ["Turin"]
        assert voter.vote(ticket, is_approval=True, reason="fine").state == "approved"
    assert session.sql(CHANGE).summary.rows_affected == 1
    assert session.approval(ticket).state == "consumed"
    asked(session)


def test_tickets_end_as_their_people_say(session, gateway, tmp_path):
    """A requester takes back, a voter denies or revokes; a second step is a conflict."""
    first = asked(session, CHANGE + " AND 1 = 1")
    assert session.cancel_ticket(first, reason="oops").ending.reason == "oops"
    second = asked(session, CHANGE + " AND 2 = 2")
    with as_grace(gateway, tmp_path) as voter:
        assert voter.vote(second, is_approval=False, reason="no").state == "denied"
        third = asked(session, CHANGE + " AND 3 = 3")
        voter.vote(third, is_approval=True)
        assert voter.revoke(third, reason="changed my mind").state == "revoked"
    with pytest.raises(IntegrityFailed):
        session.cancel_ticket(first)
    with pytest.raises(RequestInvalid) as caught:
        session.approval("ffffffff")
    assert caught.value.code == "unknown-ticket"
    assert {first, second, third} <= {one.ticket for one in session.tickets()}


def test_a_site_of_both_kinds_has_the_tickets_of_both(gateway, tmp_path):
    """Tickets of this machine and of the gateway stand in one list, each decided where it is kept."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    far = f'  far: {{kind: gateway, connection: warehouse, url: "grpc://127.0.0.1:{gateway.data}", control: "http://127.0.0.1:{gateway.control}"}}\n'
    config = EMBEDDED.replace(
        "connections:\n", "default_connection: warehouse\nconnections:\n" + far
    )
    config = config.replace("ada: {", f"ada: {{accounts: [{own_account()}], ")
    with nbgov.connect(make_folder(folder, config=config)) as session:
        here = asked(session, CHANGE + " AND 4 = 4")
        with pytest.raises(nbgov.ApprovalNeeded) as caught:
            session.sql(CHANGE + " AND 5 = 5", "far")
        there = caught.value.ticket
        assert [one.ticket for one in session.tickets(2)] == [there, here]
        assert {here, there} <= {one.ticket for one in session.pending()}
        for ticket in (here, there):
            assert session.cancel_ticket(ticket).state == "cancelled"
        assert session.principal.via == "os-account"
        assert session.sql("SELECT 1 AS a", "far").to_arrow().num_rows == 1


# ---------------------------------------------------------------- datasets and surfaces


def test_versions_and_deliveries_are_kept_here_as_well(session, embedded):
    """What was read can be looked up by the mark of its frame, and compared, without the gateway."""
    frame = session.sql("SELECT id, city FROM people WHERE id > 9", dataset="people").to_pandas()
    found, delivery = nbgov.lookup(frame.attrs["nbgov"])
    assert (found.name, found.rows, delivery.principal) == ("people", 990, "ada")
    assert found.profile
    local = embedded.sql("SELECT id, city FROM people WHERE id > 9", dataset="people")
    local.to_arrow()
    assert found.content_id == local.summary.version.content_id
    assert nbgov.compare(found, embedded.dataset("people"), config=session).is_same_data


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_a_training_run_gets_its_governed_inputs(session, tmp_path, monkeypatch):
    """A read while an MLflow run is open is an input of it, with a profile, as in embedded mode."""
    import mlflow

    before = mlflow.get_tracking_uri()
    # The experiment that a test before this one has chosen is one of another store.
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        read_in_run(session, mlflow)
    finally:
        mlflow.set_tracking_uri(before)


def read_in_run(session, mlflow):
    with mlflow.start_run() as run:
        session.sql("SELECT id, city FROM people WHERE id < 100").to_pandas()
    found = session.run(f"runs:/{run.info.run_id}")
    [one] = found.inputs
    version = session.dataset(one.version_id)
    assert (version.rows, bool(version.profile)) == (100, True)


def test_the_command_line_works_unchanged(gateway, session):
    """Rows, errors and exit codes of ``nbgov sql`` are those of embedded mode; doctor is content."""
    invoke = CliRunner().invoke
    options = ["--config", str(session.path)]
    found = invoke(
        main, [*options, "sql", "SELECT id, email FROM people WHERE id = 1", "--format", "json"]
    )
    assert (found.exit_code, json.loads(found.stdout)) == (0, {"id": 1, "email": "***"})
    found = invoke(main, [*options, "sql", "SELECT * FROM salaries"])
    assert found.exit_code == 1
    assert "There is no table 'salaries' on this connection." in found.stderr
    assert invoke(main, [*options, "sql", CHANGE + " AND 6 = 6"]).exit_code == 3
    assert "waits" in invoke(main, [*options, "approvals", "list"]).stdout
    assert "people" in invoke(main, [*options, "catalog"]).stdout
    found = invoke(main, [*options, "check", "SELECT email FROM people"])
    assert "permit" in found.stdout
    found = invoke(main, [*options, "doctor"])
    assert "its gateway answers; ada sees 2 tables" in found.output, found.output


def test_a_command_that_waits_runs_as_soon_as_the_vote_is_there(gateway, session, tmp_path):
    """``nbgov sql --wait`` looks at the control plane, and then runs under that very ticket."""
    sql = CHANGE + " AND 7 = 7"

    def approve():
        with as_grace(gateway, tmp_path) as voter:
            wait_until(lambda: any(one.sql == sql for one in voter.pending()))
            [one] = [one for one in voter.pending() if one.sql == sql]
            voter.vote(one.ticket, is_approval=True)

    tokens = gateway.credentials(f"http://127.0.0.1:{gateway.control}")
    gateway.tokens["grace"] = type(tokens)(gateway.house, "grace")
    thread = threading.Thread(target=approve)
    found = None
    thread.start()
    time.sleep(0.5)
    found = CliRunner().invoke(main, ["--config", str(session.path), "sql", sql, "--wait"])
    thread.join()
    assert found.exit_code == 0, found.output
    assert "1 row changed" in found.stderr


def test_cells_work_unchanged(shell):
    """``%%govsql`` binds, masks and assigns; an error is the gateway's; the status says where."""
    shell.user_ns["low"] = 3
    with capture_output():
        shell.run_cell_magic("govsql", "frame <<", "SELECT id, email FROM people WHERE id < :low")
    assert shell.user_ns["frame"]["email"].tolist() == ["***"] * 3
    with pytest.raises(RequestInvalid, match="salaries"):
        shell.run_cell_magic("govsql", "", "SELECT * FROM salaries")
    with capture_output() as shown:
        shell.run_line_magic("nbgov", "")
    assert "decided there" in "".join(str(one) for one in shown.outputs) + shown.stdout
