"""Streams that end badly: nothing that is cut looks complete, and nothing runs on for nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import pytest
from pyarrow import flight

import nbgov
import nbgov.login
from nbgov.errors import BackendFailed, NbgovError
from tests.gateway.proxy import DATA, HEADERS, Proxy
from tests.gateway.remote_scene import running
from tests.gateway_scene import token

# A driver whose connection was cut cannot close its statement, and says so when it is collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Failed to close:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROWS = "SELECT a, b, c FROM numbers WHERE a >= 0 ORDER BY a"
ENDLESS = "SELECT count(*) FROM numbers a, numbers b WHERE a.b + b.b < 0"
LONG = "SELECT a, b, c FROM numbers, range(60)"
COUNT = 200_000
KILLED = """
import sys, time
import adbc_driver_flightsql.dbapi as adbc
with adbc.connect(sys.argv[1], db_kwargs={"adbc.flight.sql.authorization_header": "Bearer " + sys.stdin.readline().strip()}, autocommit=True) as link, link.cursor() as cursor:
    cursor.execute(sys.argv[2])
    print("begun", flush=True)
    reader = cursor.fetch_record_batch()
    print(reader.read_next_batch().num_rows, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared, monkeypatch):
    monkeypatch.setattr(nbgov.login, "credentials_for", shared.credentials)
    yield shared
    wait_until(lambda: not shared.house.works())


def wait_until(is_so, *, seconds=30.0):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def wait_for_rest(gateway, *, share=0.5):
    """Wait until nothing is counted as running and this process, engine and all, does nothing."""
    wait_until(lambda: not gateway.house.works())

    def is_calm():
        began, spent = time.monotonic(), time.process_time()
        time.sleep(0.3)
        return time.process_time() - spent < share * (time.monotonic() - began)

    wait_until(is_calm)


def session_at(gateway, folder, port, more=""):
    path = gateway.client(folder, more=more)
    path.write_text(path.read_text().replace(f"127.0.0.1:{gateway.data}", f"127.0.0.1:{port}"))
    return nbgov.connect(path)


def through_ours(gateway, folder, port, sql):
    with session_at(gateway, folder, port) as session:
        try:
            return session.sql(sql).to_arrow()
        except NbgovError as error:
            return error


def adbc_link(gateway, port, **options):
    header = {"adbc.flight.sql.authorization_header": f"Bearer {token(gateway.house, 'ada')}"}
    return adbc.connect(f"grpc://127.0.0.1:{port}", db_kwargs=header | options, autocommit=True)


def through_adbc(gateway, folder, port, sql):
    try:
        with adbc_link(gateway, port) as link, link.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()
    except adbc_driver_manager.Error as error:
        return error


WAYS = {"ours": through_ours, "adbc": through_adbc}
each_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())


def attempts(gateway):
    """How many statements the gateway has begun."""
    return sum(b'"kind":"attempt"' in line for line in gateway.house.site.world.audit.entries())


# ---------------------------------------------------------------- cut


@each_way
def test_a_result_that_is_cut_anywhere_is_an_error(gateway, tmp_path, way):
    """Cut before any frame that the gateway sends, a result is whole or an error, never shorter."""
    with Proxy(gateway.data) as proxy:
        expected = way(gateway, tmp_path / "whole", proxy.port, ROWS)
        assert expected.num_rows == COUNT
        kinds = max(proxy.frames, key=len)
    last = len(kinds)
    places = {*range(min(last, 8)), *range(0, last, max(1, last // 8)), *range(last - 3, last)}
    cut = 0
    for place in sorted(places):
        with Proxy(
            gateway.data, lambda at, kind, place=place: "cut" if at == place else ""
        ) as proxy:
            found = way(gateway, tmp_path / f"at {place}", proxy.port, ROWS)
        if isinstance(found, Exception):
            cut += 1
        else:
            # What came after the last row was not needed.
            assert found.equals(expected)
    assert cut >= 5


def test_a_result_that_is_cut_between_two_messages_is_an_error(gateway, tmp_path):
    """Where a message of Arrow ends, a stream reads as complete; the call does not."""
    for message in (1, 2, 3):
        left = [message]

        def judge(_, kind, left=left):
            left[0] -= kind == DATA
            return "cut" if left[0] < 0 else ""

        with Proxy(gateway.data, judge) as proxy:
            found = through_ours(gateway, tmp_path / str(message), proxy.port, ROWS)
        assert isinstance(found, BackendFailed)
        assert found.code in {"gateway-cut", "gateway-unavailable"}


@pytest.mark.parametrize("frames", [1, 2, 4, 9])
def test_a_result_that_somebody_ends_politely_is_an_error(gateway, tmp_path, frames):
    """Forged by whoever sits between, a good end of the call is none without the gateway's word."""
    seen: list[int] = []

    def judge(_, kind):
        seen.extend([kind] * (kind == DATA))
        return "end" if len(seen) == frames and kind == DATA else ""

    with Proxy(gateway.data, judge) as proxy:
        found = through_ours(gateway, tmp_path / "client", proxy.port, ROWS)
    assert isinstance(found, BackendFailed), found
    assert found.code == "gateway-cut"


@each_way
def test_a_write_whose_answer_is_lost_is_not_sent_again(gateway, tmp_path, way):
    """Cut before the answer, a write has run once at most, and is never said to have run."""
    number = -1000 - list(WAYS.values()).index(way)
    insert = f"INSERT INTO numbers VALUES ({number}, 1, 'x')"
    answers = 0

    def judge(at, kind):
        # The last headers of the call that runs it; a driver prepares and plans it before.
        nonlocal answers
        answers += kind == HEADERS
        return "cut" if answers > (0 if way is through_ours else 4) else ""

    before = attempts(gateway)
    with Proxy(gateway.data, judge) as proxy:
        found = way(gateway, tmp_path / "client", proxy.port, insert)
    wait_until(lambda: not gateway.house.works())
    assert isinstance(found, Exception), found
    assert attempts(gateway) - before <= 1
    counted = through_ours(
        gateway,
        tmp_path / "count",
        gateway.data,
        f"SELECT count(*) AS n FROM numbers WHERE a = {number}",
    )
    assert counted["n"].to_pylist()[0] <= 1


# ---------------------------------------------------------------- left


def test_a_driver_that_cancels_leaves_the_gateway_idle(gateway):
    """``adbc_cancel`` reaches the engine, not only the client."""
    with adbc_link(gateway, gateway.data) as link, link.cursor() as cursor:

        def run():
            with pytest.raises(adbc_driver_manager.Error):
                read(cursor, ENDLESS)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(gateway.house.works)
        time.sleep(0.3)
        cursor.adbc_cancel()
        thread.join(20)
        assert not thread.is_alive()
        wait_for_rest(gateway)


def read(cursor, sql):
    cursor.execute(sql)
    return cursor.fetch_arrow_table()


def test_a_call_that_takes_too_long_leaves_the_gateway_idle(gateway, tmp_path):
    """The deadline of a client is kept at the gateway, for our client and for a driver's."""
    with session_at(gateway, tmp_path / "client", gateway.data, ", timeout_s: 0.7") as session:
        with pytest.raises(BackendFailed) as caught:
            session.sql(ENDLESS).to_arrow()
        assert (caught.value.code, "timeout_s" in caught.value.next_step) == ("cancelled", True)
        wait_for_rest(gateway)
        assert session.sql("SELECT 1 AS a").to_arrow().num_rows == 1
    limit = {"adbc.flight.sql.rpc.timeout_seconds.fetch": "0.7"}
    with adbc_link(gateway, gateway.data, **limit) as link, link.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error):
            read(cursor, ENDLESS)
        wait_for_rest(gateway)


@pytest.mark.parametrize("sql", [ENDLESS, LONG], ids=["before a row", "between rows"])
def test_a_client_that_is_killed_leaves_the_gateway_idle(gateway, sql):
    """``kill -9`` of the client stops the statement, whether it has sent rows or not."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, f"grpc://127.0.0.1:{gateway.data}", sql],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        client.stdin.write(token(gateway.house, "ada") + "\n")
        client.stdin.flush()
        wait_until(gateway.house.works)
        if sql == LONG:
            client.stdout.readline()
            assert int(client.stdout.readline()) > 0
        time.sleep(0.3)
        os.kill(client.pid, signal.SIGKILL)
        wait_for_rest(gateway)


# ---------------------------------------------------------------- slow


def test_a_slow_reader_holds_the_gateway_back(gateway, tmp_path):
    """Rows that nobody takes are not made: the gateway waits after a few messages."""
    with session_at(gateway, tmp_path / "client", gateway.data) as session:
        result = session.sql(LONG)
        next(result.batches())
        [mine] = gateway.house.running.values()
        made = -1
        while made != mine.result.summary.rows_read:
            made = mine.result.summary.rows_read
            time.sleep(1.0)
        assert made < 60 * COUNT // 4
        other = through_ours(gateway, tmp_path / "other", gateway.data, "SELECT 1 AS a")
        assert other.num_rows == 1
        result.close()


def test_a_reader_without_hurry_gets_every_row(gateway):
    """Any client of Flight can pause within a stream, and finds the rest there."""
    client = flight.connect(f"grpc://127.0.0.1:{gateway.data}")
    headers = [(b"authorization", f"Bearer {token(gateway.house, 'ada')}".encode())]
    with adbc_link(gateway, gateway.data) as link, link.cursor() as cursor:
        cursor.execute(ROWS)
        reader = cursor.fetch_record_batch()
        count = reader.read_next_batch().num_rows
        time.sleep(0.5)
        count += sum(batch.num_rows for batch in reader)
    assert count == COUNT
    assert list(client.list_actions(flight.FlightCallOptions(headers=headers)))
    client.close()
