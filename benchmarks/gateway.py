"""The gateway: what a statement takes through it, beside DuckDB itself and an ungoverned server.

Both servers are the same program in processes of their own; one of them decides, masks,
fingerprints and records, the other does not. Times are those of a clock on the wall, as two
processes and a socket are at work.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

from benchmarks.audit import wall
from benchmarks.ground import POLICY, SQL, Ground
from benchmarks.measure import RATE, TIME, Contender, Row, Suite

if TYPE_CHECKING:
    import pyarrow as pa

CALLS = 320
CLIENTS = 16
QUANTILES = {"p50": 0.5, "p99": 0.99}
SMALL = "SELECT 1 AS x"
CONFIG = """\
version: 1
policy: policy.yaml
connections:
  duckdb: {kind: duckdb, path: rides.duckdb}
gateway:
  issuers: {}
"""
WAYS = {"flight": "nbgov's client", "adbc": "ADBC"}

Ask = Callable[[str], "pa.Table"]


def rows() -> Iterator[Row]:
    """Latency of a small statement, and the rate of a large one."""
    for way, client in WAYS.items():
        for quantile in QUANTILES:
            work = f"{SMALL} through {client}, {quantile} of one client"
            yield Row(
                f"gateway.small.{way}.{quantile}", work, f"{way}.1.{quantile}",
                f"direct.1.{quantile}", TIME,
            )  # fmt: skip
            work = f"{SMALL} through {client}, {quantile} of {CLIENTS} clients at once"
            yield Row(
                f"gateway.governed.{way}.{quantile}", work, f"{way}.{CLIENTS}.{quantile}",
                f"bare.{way}.{CLIENTS}.{quantile}", TIME,
            )  # fmt: skip
        work = f"a million rows of ten columns to Arrow through {client}, one client"
        yield Row(f"gateway.rows.{way}", work, f"{way}.rows", "direct.rows", RATE)
        yield Row(f"gateway.rows.{way}.governed", work, f"{way}.rows", f"bare.{way}.rows", RATE)


@dataclass(frozen=True)
class Server:
    """A gateway in a process of its own.

    Attributes:
        folder: Its folder.
        ground: Ends it.
        is_bare: Whether it governs nothing.
    """

    folder: Path
    ground: Ground
    is_bare: bool

    @cached_property
    def told(self) -> dict[str, Any]:
        """Its port and its tokens."""
        command = [sys.executable, "-m", "benchmarks.gateway_server", str(self.folder)]
        process = subprocess.Popen(
            [*command, *(["--bare"] if self.is_bare else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ground.open.callback(process.wait)
        assert process.stdin is not None
        assert process.stdout is not None
        self.ground.open.callback(process.stdin.close)
        found: dict[str, Any] = json.loads(process.stdout.readline())
        return found

    def flight(self, number: int) -> Ask:
        """A client of nbgov's own: one call for a statement."""
        from pyarrow import flight

        from nbgov.core.transport import write_request
        from nbgov.core.wire import URL, pack
        from nbgov.model import Request

        client = flight.FlightClient(f"grpc://127.0.0.1:{self.told['port']}")
        self.ground.open.callback(client.close)
        bearer = f"Bearer {self.told['tokens'][number]}".encode()
        options = flight.FlightCallOptions(headers=[(b"authorization", bearer)])

        def ask(sql: str) -> pa.Table:
            import pyarrow as pa

            ticket = pack(
                f"{URL}nbgov.v1.Request", write_request(Request("duckdb", sql), connection="duckdb")
            )
            reader = client.do_get(flight.Ticket(ticket), options)
            chunks = [chunk.data for chunk in reader if chunk.data is not None]
            return pa.Table.from_batches(chunks, reader.schema)

        return ask

    def adbc(self, number: int) -> Ask:
        """A client that knows nothing of nbgov."""
        from adbc_driver_flightsql import dbapi

        bearer = f"Bearer {self.told['tokens'][number]}"
        link = dbapi.connect(
            f"grpc://127.0.0.1:{self.told['port']}",
            db_kwargs={"adbc.flight.sql.authorization_header": bearer},
            autocommit=True,
        )
        self.ground.open.callback(link.close)

        def ask(sql: str) -> pa.Table:
            with link.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetch_arrow_table()

        return ask


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """The two servers, DuckDB itself, and clients of all."""
    servers = {prefix: serve(ground, prefix) for prefix in ("", "bare.")}
    peer = ground.peer_duckdb

    def direct(_: int) -> Ask:
        return lambda sql: peer.sql(sql).to_arrow_table()

    ways = {
        f"{prefix}{way}": (f"{'ungoverned server, ' if prefix else ''}{name}", getattr(server, way))
        for prefix, server in servers.items()
        for way, name in WAYS.items()
    }
    ways["direct"] = ("DuckDB", direct)
    made: dict[str, Contender] = {}
    for way, (name, open_client) in ways.items():
        clients = Clients(open_client)
        for count in (1, CLIENTS):
            for quantile, share in QUANTILES.items():
                run = partial(clients.latency, count, share)
                made[f"{way}.{count}.{quantile}"] = Contender(name, run, gauge=told)
        made[f"{way}.rows"] = Contender(
            name, clients.stream, ground.rides.nbytes // 2**20, gauge=wall, unit="MB"
        )
    return made


def serve(ground: Ground, prefix: str) -> Server:
    """A gateway on a copy of the rides; it starts with the first client."""
    folder = ground.folder / f"gateway{prefix}"
    folder.mkdir()
    shutil.copy(ground.duckdb_path, folder / "rides.duckdb")
    (folder / "nbgov.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return Server(folder, ground, is_bare=bool(prefix))


def told(run: Callable[[], object]) -> float:
    """What a run that takes its own time says."""
    seconds = run()
    assert isinstance(seconds, float)
    return seconds


class Clients:
    """Clients of one kind, opened once, and what they measure.

    Args:
        open_client: Opens one, by its number.
    """

    def __init__(self, open_client: Callable[[int], Ask]) -> None:
        self.open_client = open_client
        self.opened: list[Ask] = []

    def first(self, count: int) -> list[Ask]:
        """So many of them, each of which has asked before."""
        while len(self.opened) < count:
            self.opened.append(self.open_client(len(self.opened)))
            self.opened[-1](SMALL)
        return self.opened[:count]

    def latency(self, count: int, share: float) -> float:
        """The seconds that a share of small statements stays below, with so many clients at once."""
        clients, begin = self.first(count), Barrier(count)

        def work(ask: Ask) -> list[float]:
            begin.wait()
            return [wall(partial(ask, SMALL)) for _ in range(CALLS // count)]

        with ThreadPoolExecutor(count) as pool:
            times = sorted(chain.from_iterable(pool.map(work, clients)))
        return times[int(len(times) * share)]

    def stream(self) -> object:
        """Take a million rows."""
        return self.first(1)[0](SQL)


SUITE = Suite(tuple(rows()), prepare, rounds=5)
