"""The data plane as other people's clients use it, with nothing of ours installed at theirs."""

from __future__ import annotations

import json

import adbc_driver_flightsql.dbapi as adbc
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.flight as fl
import pytest
import sqlalchemy as sa

from nbgov.core.wire import URL, decode, last_bytes, pack, unpack, write_command
from nbgov.gateway.flight.parameters import bound, count_markers
from nbgov.gateway.flight.serving import start_data_plane
from nbgov.model import Audience
from tests.gateway_scene import make_folder, make_house, token

AUTHORIZATION = "adbc.flight.sql.authorization_header"


class Plane:
    """A data plane, and the ways to it."""

    def __init__(self, folder):
        self.house = make_house(make_folder(folder))
        self.server = start_data_plane(self.house, "127.0.0.1:0")
        self.url = f"grpc://127.0.0.1:{self.server.port}"

    def connect(self, who="ada", **more):
        """A connection of ADBC's DBAPI."""
        options = {AUTHORIZATION: f"Bearer {token(self.house, who)}", **more}
        return adbc.connect(self.url, db_kwargs=options, autocommit=True)

    def flight(self):
        """A client of pyarrow's Flight."""
        return fl.connect(self.url)

    def options(self, who="ada"):
        """The header that says who calls."""
        header = f"Bearer {token(self.house, who)}".encode()
        return fl.FlightCallOptions(headers=[(b"authorization", header)], timeout=60)

    def records(self, kind):
        """The records of a kind, oldest first."""
        entries = (json.loads(line)["record"] for line in self.house.site.log.entries())
        return [one for one in entries if one["kind"] == kind]

    def close(self):
        self.server.stop()
        self.house.close()


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    found = Plane(tmp_path_factory.mktemp("gateway"))
    yield found
    found.close()


@pytest.fixture
def cursor(plane):
    with plane.connect() as link, link.cursor() as found:
        yield found


def taken(cursor, sql):
    """The rows of a statement."""
    cursor.execute(sql)
    return cursor.fetchall()


# ---------------------------------------------------------------- reading and writing


def test_rows_come_masked_through_adbc(cursor):
    """A statement of ADBC's is answered like one of nbgov's own: masked, in order, typed."""
    cursor.execute("SELECT id, email, city FROM people ORDER BY id LIMIT 2")
    assert cursor.fetchall() == [(0, "***", "city 0"), (1, "***", "city 1")]
    assert [one[0] for one in cursor.description] == ["id", "email", "city"]


@pytest.mark.parametrize(
    ("sql", "values", "count"),
    [
        ("SELECT id FROM people WHERE id = ?", (5,), 1),
        ("SELECT id FROM people WHERE id = $2 OR id = $1", (5, 6), 2),
        ("SELECT id FROM people WHERE city = ? AND id < ?", ("city 3", 50), 5),
        ("SELECT id FROM people WHERE city = '?' OR id = ?", (7,), 1),
    ],
    ids=["mark", "numbers", "two", "mark-in-text"],
)
def test_values_are_bound_by_place(cursor, sql, values, count):
    """Values of ? and $1 are bound, and a mark inside a literal is none."""
    cursor.execute(sql, values)
    assert len(cursor.fetchall()) == count


def test_a_changed_row_is_counted(plane, cursor):
    """A write through the prepared path of DBAPI is done once, and recorded."""
    before = len(plane.records("attempt"))
    cursor.executemany("INSERT INTO numbers VALUES (?, ?, ?)", [(-1, 0.5, "a"), (-2, 1.5, "b")])
    assert cursor.rowcount == 2
    cursor.execute("SELECT count(*) FROM numbers WHERE a < 0")
    assert cursor.fetchone() == (2,)
    assert len(plane.records("attempt")) == before + 3


def test_polars_reads(plane):
    """polars.read_database works over the connection."""
    with plane.connect() as link:
        frame = pl.read_database("SELECT id, email FROM people ORDER BY id LIMIT 2", link)
    assert frame.rows() == [(0, "***"), (1, "***")]


def test_pandas_reads(plane):
    """pandas.read_sql works over the connection."""
    with plane.connect() as link:
        frame = pd.read_sql("SELECT id, email FROM people ORDER BY id LIMIT 2", link)
    assert frame.to_numpy().tolist() == [[0, "***"], [1, "***"]]


def test_duckdb_reads(plane):
    """DuckDB computes over the stream of the connection."""
    with plane.connect() as link, link.cursor() as cursor:
        cursor.execute("SELECT a, b FROM numbers WHERE a >= 0")
        reader = cursor.fetch_record_batch()
        found = duckdb.from_arrow(reader).aggregate("count(*), max(a)").fetchall()
    assert found == [(200_000, 199_999)]


@pytest.mark.filterwarnings("ignore:Cannot disable autocommit")
def test_sqlalchemy_reads(plane):
    """SQLAlchemy reads through sqlalchemy-adbc, with the token as the password."""
    url = (
        f"adbc+flightsql://any:{token(plane.house, 'ada')}@127.0.0.1:{plane.server.port}?tls=false"
    )
    engine = sa.create_engine(url)
    try:
        with engine.connect() as link:
            rows = link.execute(sa.text("SELECT id, email FROM people WHERE id = :n"), {"n": 5})
            assert rows.fetchall() == [(5, "***")]
    finally:
        engine.dispose()


def test_pyarrow_reads(plane):
    """A client of plain Flight plans a statement and takes its rows with the ticket."""
    client, options = plane.flight(), plane.options()
    command = write_command(
        "CommandStatementQuery", query="SELECT a FROM numbers WHERE a < 3 AND a >= 0"
    )
    info = client.get_flight_info(fl.FlightDescriptor.for_command(command), options)
    table = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert sorted(table.column("a").to_pylist()) == [0, 1, 2]
    schema = client.get_schema(fl.FlightDescriptor.for_command(command), options).schema
    assert schema == pa.schema([("a", pa.int64())])


def test_asking_for_columns_changes_nothing(plane, cursor):
    """The columns of a write are asked for without running it."""
    cursor.execute("SELECT count(*) FROM numbers")
    before = cursor.fetchone()
    sql = "INSERT INTO numbers VALUES (-9, 0.0, 'x')"
    command = write_command("CommandStatementQuery", query=sql)
    descriptor = fl.FlightDescriptor.for_command(command)
    assert plane.flight().get_schema(descriptor, plane.options()).schema == pa.schema([])
    cursor.execute("SELECT count(*) FROM numbers")
    assert cursor.fetchone() == before


def test_large_results_come_in_small_batches(cursor):
    """No batch has much more than two megabytes, and no row is lost on the way."""
    cursor.execute("SELECT a, b, c, c || c || c || c AS d FROM numbers WHERE a >= 0")
    sizes = [(batch.num_rows, batch.nbytes) for batch in cursor.fetch_record_batch()]
    assert sum(rows for rows, _ in sizes) == 200_000
    assert max(size for _, size in sizes) <= 2.5 * 2**20


# ---------------------------------------------------------------- what there is


def test_what_one_may_not_see_is_absent(plane):
    """Tables and columns are those of the policy-filtered catalog; salaries is not there."""
    with plane.connect() as link:
        [catalog] = link.adbc_get_objects(depth="columns").read_all().to_pylist()
        assert catalog["catalog_name"] == "warehouse"
        [schema] = catalog["catalog_db_schemas"]
        tables = {one["table_name"]: one for one in schema["db_schema_tables"]}
        assert set(tables) == {"people", "numbers"}
        names = [one["column_name"] for one in tables["people"]["table_columns"]]
        assert names == ["id", "email", "city"]
        assert link.adbc_get_table_schema("people").names == names
        with pytest.raises(adbc.Error):
            link.adbc_get_table_schema("salaries")
    with plane.connect("olga") as link:
        found = link.adbc_get_objects(depth="all").read_all().to_pylist()
        assert not any(one["catalog_db_schemas"] for one in found)


def test_the_server_says_what_it_is(plane):
    """SqlInfo names the product, and that it has SQL and no transactions."""
    with plane.connect() as link:
        assert link.adbc_get_info()["vendor_name"] == "nbgov (DuckDB)"
        assert set(link.adbc_get_table_types()) == {"TABLE", "VIEW", "FOREIGN TABLE"}


@pytest.mark.parametrize(
    ("name", "values", "rows"),
    [
        ("CommandGetCatalogs", {}, 1),
        ("CommandGetDbSchemas", {"db_schema_filter_pattern": "ma%"}, 1),
        ("CommandGetDbSchemas", {"catalog": "other"}, 0),
        ("CommandGetTables", {"table_name_filter_pattern": "p_ople"}, 1),
        ("CommandGetTables", {"table_types": ("VIEW",)}, 0),
        ("CommandGetPrimaryKeys", {"table": "people"}, 1),
        ("CommandGetPrimaryKeys", {"table": "salaries"}, 0),
        ("CommandGetImportedKeys", {"table": "people"}, 0),
        ("CommandGetExportedKeys", {"table": "people"}, 0),
        ("CommandGetCrossReference", {"pk_table": "people", "fk_table": "numbers"}, 0),
        ("CommandGetXdbcTypeInfo", {}, 14),
        ("CommandGetXdbcTypeInfo", {"data_type": 12}, 1),
        ("CommandGetTableTypes", {}, 3),
        ("CommandGetSqlInfo", {"info": (0, 8)}, 2),
    ],
    ids=lambda value: value.removeprefix("Command") if isinstance(value, str) else str(value),
)
def test_each_question_has_an_answer_of_its_announced_columns(plane, name, values, rows):
    """What is planned for a question of metadata is what comes."""
    client, options = plane.flight(), plane.options()
    command = write_command(name, **values)
    info = client.get_flight_info(fl.FlightDescriptor.for_command(command), options)
    table = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert (table.schema, table.num_rows) == (info.schema, rows)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("sql", "state", "code"),
    [
        ("SELECT * FROM salaries", "42P01", "unknown-table"),
        ("SELECT nope FROM people", "42703", "unknown-column"),
        ("SELECT FROM WHERE", "42601", "syntax"),
        ("DROP TABLE people", "42501", "denied-by-guard"),
        ("UPDATE people SET city = 'x' WHERE id = 1", "42501", "approval-needed"),
        ("SELECT CAST(c AS INTEGER) FROM numbers", "HY000", "database-error"),
    ],
    ids=["absent", "column", "syntax", "denied", "approval", "failed"],
)
def test_an_error_says_its_number_and_what_to_do(plane, cursor, sql, state, code):
    """An error carries SQLSTATE, code and record, and nothing of the server's insides."""
    with pytest.raises(adbc.Error) as failed:
        taken(cursor, sql)
    text = str(failed.value)
    assert f"[{state}" in text
    assert f"({code})" in text
    assert "Record " in text
    assert "Traceback" not in text
    assert ".py" not in text


def test_what_is_refused_when_it_is_prepared_is_recorded(plane, cursor):
    """A statement that is refused before it ever runs is in the log."""
    before = len(plane.records("outcome"))
    with pytest.raises(adbc.Error):
        cursor.adbc_prepare("SELECT * FROM salaries")
    refused = plane.records("outcome")[before:]
    assert [one["code"] for one in refused] == ["unknown-table"]
    assert (refused[0]["principal"], refused[0]["mode"], refused[0]["assurance"]) == (
        "ada",
        "gateway",
        "enforced",
    )


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer ", "Bearer nbgov-data-forged", "Bearer a.b.c", "Basic !!!", "Basic YTpi"],
    ids=["none", "empty", "forged", "issuer", "no-base64", "password"],
)
def test_without_a_token_nothing_is_answered(plane, authorization):
    """Calls without a token of the gateway are refused, whatever they ask."""
    headers = [(b"authorization", authorization.encode())] if authorization else []
    options = fl.FlightCallOptions(headers=headers, timeout=60)
    client = plane.flight()
    for call in (
        lambda: list(client.list_actions(options)),
        lambda: list(client.do_action(fl.Action("CloseSession", b""), options)),
        lambda: client.do_get(fl.Ticket(write_command("CommandGetCatalogs")), options).read_all(),
    ):
        with pytest.raises(fl.FlightUnauthenticatedError):
            call()


def test_a_token_of_the_other_plane_opens_nothing(plane):
    """A token for votes runs no statement."""
    options = {AUTHORIZATION: f"Bearer {token(plane.house, 'ada', Audience.CONTROL)}"}
    link = adbc.connect(plane.url, db_kwargs=options, autocommit=True)
    with link, link.cursor() as cursor, pytest.raises(adbc.Error, match="token-audience"):
        cursor.execute("SELECT 1")


def test_transactions_over_several_calls_are_refused_clearly(plane):
    """Without autocommit a client is told why there are no transactions."""
    options = {AUTHORIZATION: f"Bearer {token(plane.house, 'ada')}"}
    link = adbc.connect(plane.url, db_kwargs=options, autocommit=True)
    with pytest.raises(adbc.Error, match="transaction"):
        link.adbc_connection.set_autocommit(False)
    link.close()


def test_bulk_ingest_is_refused_clearly(plane, cursor):
    """Rows that come in bulk carry no statement that a policy could read."""
    with pytest.raises(adbc.Error, match="ingest"):
        cursor.adbc_ingest("numbers", pa.table({"a": [1]}), mode="append")


def test_a_connection_that_is_not_there_is_none(plane):
    """The header that names a connection is checked like any other name."""
    header = {"adbc.flight.sql.rpc.call_header.x-nbgov-connection": "nope"}
    link = plane.connect(**header)
    with link, link.cursor() as cursor, pytest.raises(adbc.Error, match="unknown-connection"):
        cursor.execute("SELECT 1")


# ---------------------------------------------------------------- tickets and handles


def planned(plane, sql="SELECT 1 AS one", who="ada"):
    """The ticket of a statement."""
    command = write_command("CommandStatementQuery", query=sql)
    descriptor = fl.FlightDescriptor.for_command(command)
    return plane.flight().get_flight_info(descriptor, plane.options(who)).endpoints[0].ticket


def redeemed(plane, ticket, who="ada"):
    """What a ticket gives."""
    return plane.flight().do_get(ticket, plane.options(who)).read_all().to_pylist()


def test_a_ticket_is_good_once(plane):
    """The same ticket does not run its statement again."""
    ticket = planned(plane)
    assert redeemed(plane, ticket) == [{"one": 1}]
    with pytest.raises(pa.ArrowException, match="ticket-invalid"):
        redeemed(plane, ticket)


def test_a_ticket_is_its_principals_own(plane):
    """Somebody else's ticket opens nothing; another login of the same principal can use it."""
    ticket = planned(plane)
    with pytest.raises(pa.ArrowException, match="ticket-invalid"):
        redeemed(plane, ticket, who="grace")
    assert redeemed(plane, ticket) == [{"one": 1}]


def test_a_changed_ticket_opens_nothing(plane):
    """No byte of a sealed ticket can be changed, and it shows nothing of its statement."""
    ticket = planned(plane, "SELECT 'a very secret literal' AS s").ticket
    assert b"literal" not in ticket
    sealed = decode("TicketStatementQuery", unpack(ticket)[1])["statement_handle"]
    for place in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[place] ^= 1
        forged = fl.Ticket(write_command("TicketStatementQuery", statement_handle=bytes(changed)))
        with pytest.raises(pa.ArrowException, match="ticket-invalid"):
            redeemed(plane, forged)


def test_a_ticket_is_good_for_a_minute(plane, monkeypatch):
    """A ticket that is older than a minute opens nothing."""
    monkeypatch.setattr("nbgov.gateway.flight.statements.TICKET_S", -1)
    ticket = planned(plane)
    with pytest.raises(pa.ArrowException, match="ticket-invalid"):
        redeemed(plane, ticket)


def test_a_handle_is_no_ticket(plane):
    """What was sealed for one purpose is good for no other."""
    client, options = plane.flight(), plane.options()
    body = write_command("ActionCreatePreparedStatementRequest", query="SELECT 1 AS one")
    [answer] = client.do_action(fl.Action("CreatePreparedStatement", body), options)
    _, message = unpack(answer.body.to_pybytes())
    handle = decode("ActionCreatePreparedStatementResult", message)["prepared_statement_handle"]
    ticket = fl.Ticket(write_command("TicketStatementQuery", statement_handle=handle))
    with pytest.raises(pa.ArrowException, match="ticket-invalid"):
        client.do_get(ticket, options).read_all()


def test_an_approved_statement_runs_once_through_adbc(plane, cursor):
    """A write that a voter approved runs when it is sent again, and not a third time."""
    sql = "UPDATE people SET city = 'moved' WHERE id = 9"
    with pytest.raises(adbc.Error, match="approval-needed"):
        cursor.execute(sql)
    grace = plane.house.enter(token(plane.house, "grace", Audience.CONTROL), Audience.CONTROL)
    [ticket] = [one for one in grace.session.pending() if "id = 9" in one.sql]
    grace.session.vote(ticket.ticket, is_approval=True)
    cursor.execute(sql)
    cursor.execute("SELECT city FROM people WHERE id = 9")
    assert cursor.fetchone() == ("moved",)
    with pytest.raises(adbc.Error, match="approval-needed"):
        cursor.execute(sql)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"\x0a\x03abc",
        pack(URL + "nbgov.v1.Request", b"{"),
        pack(URL + "nbgov.v1.Request", b'{"sql": 1}'),
    ],
    ids=["empty", "no-message", "no-any", "no-json", "no-request"],
)
def test_a_message_that_is_none_is_told_so(plane, message):
    """Bytes that are no command are an error of the caller's, with no trace of the server's."""
    with pytest.raises(pa.ArrowException) as failed:
        plane.flight().do_get(fl.Ticket(message), plane.options()).read_all()
    assert "(usage)" in str(failed.value)
    assert "Traceback" not in str(failed.value)


def test_nothing_runs_once_everything_was_read_or_refused(plane):
    """After all that, no statement counts as running."""
    assert plane.house.works() == ()


def test_markers_are_counted_and_named():
    """Marks become names in place, by the tokenizer that knows literals, comments and casts."""
    assert bound("SELECT ?, '?' -- ?\n, ?", "duckdb", ["", ""], [1, 2]) == (
        "SELECT :p1, '?' -- ?\n, :p2",
        {"p1": 1, "p2": 2},
    )
    assert bound("SELECT :a::int, :b", "duckdb", ["b", "a"], [1, 2]) == (
        "SELECT :a::int, :b",
        {"a": 2, "b": 1},
    )
    assert bound("SELECT :a, :b, :a", "duckdb", ["0", "1"], [1, 2])[1] == {"a": 1, "b": 2}
    assert count_markers("SELECT $2, $1, $2", "postgres") == 2
    assert last_bytes(b"", 1) == b""
