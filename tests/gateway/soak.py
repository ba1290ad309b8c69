"""A gateway under load for a long time: it grows by nothing, records all, and lets nobody through.

``python -m tests.gateway.soak --seconds 600 --clients 16`` starts a gateway in a process of its own,
lets clients of two kinds read, write, break off and be refused, and prints what became of it.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import adbc_driver_flightsql.dbapi as adbc
import adbc_driver_manager
import pyarrow as pa
import pyarrow.flight as fl

from nbgov.core.transport import write_request
from nbgov.core.wire import URL, pack
from nbgov.model import Request
from tests.gateway_scene import CONFIG, POLICY, make_folder, make_house, token

SAMPLE_S = 1.0
WARM = 0.3
"""The share of a run in which caches fill; growth is looked for in the rest."""

# DuckDB does not read and write one file at a time, so what is written is in another one.
NOTES = "  notes: {kind: sqlite, path: notes.sqlite}\n"
CONNECTIONS = CONFIG.replace(
    "gateway:\n", f"{NOTES}gateway:\n  streams_max: 256\n  streams_each_max: 64\n"
)
RULES = f"""{POLICY}
  - {{id: note, effect: permit, to: {{groups: [analysts]}}, actions: [insert], on: ["notes.main.notes"]}}
"""
ROWS = 200_000
# A connection that is just opened, and one that is just closed, of each client.
FDS_MORE_MAX = 12
Answer = tuple[str, str]


@dataclass
class Samples:
    """What a process has held, second by second."""

    pid: int
    at_s: list[float] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    rss_kib: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def take(self, at_s: float) -> None:
        """Look once."""
        place = Path(f"/proc/{self.pid}")
        lines = (line.split(":") for line in (place / "status").read_text().splitlines())
        facts = {key: rest for key, rest, *_ in lines}
        self.at_s.append(at_s)
        self.fds.append(len(list((place / "fd").iterdir())))
        self.rss_kib.append(int(facts["VmRSS"].split()[0]))
        self.threads.append(int(facts["Threads"]))

    def settled(self, values: list[int]) -> list[int]:
        """Those after caches have filled."""
        return values[int(len(values) * WARM) :]

    def growth(self, values: list[int]) -> float:
        """How many more there are in the last third than in the one after caches have filled."""
        rest = self.settled(values)
        third = max(1, len(rest) // 3)
        return statistics.median(rest[-third:]) - statistics.median(rest[:third])

    def slope(self, values: list[int]) -> float:
        """By how many they grow in a minute, after caches have filled."""
        at_s = self.at_s[int(len(self.at_s) * WARM) :]
        return statistics.linear_regression(at_s, self.settled(values)).slope * 60


@dataclass
class Soaked:
    """What became of a run."""

    samples: Samples
    answers: Counter[Answer]
    wrong: list[str]
    log: dict[str, int]

    def told(self) -> str:
        """It all, for people."""
        fds, rss = self.samples.fds, self.samples.rss_kib
        lines = [
            f"{self.samples.at_s[-1]:.0f} s, {self.answers.total():,} statements",
            *(f"  {kind:12} {how:28} {n:,}" for (kind, how), n in sorted(self.answers.items())),
            f"descriptors    {fds[0]} at first, {max(fds)} at most, {fds[-1]} at the end",
            f"threads        {max(self.samples.threads)} at most",
            f"memory         {rss[0] / 1024:.0f} MiB at first, {max(rss) / 1024:.0f} at most",
            f"               {self.samples.slope(rss) / 1024:+.2f} MiB a minute once it is warm",
            f"the log        {self.log}",
            f"failed open    {len(self.wrong)} {self.wrong[:3]}",
        ]
        return "\n".join(lines)


class Client:
    """Somebody who asks, in one of the two ways, and holds the answers against what they must be."""

    def __init__(self, port: int, bearer: str, number: int) -> None:
        self.url = f"grpc://127.0.0.1:{port}"
        self.bearer = bearer
        self.chance = random.Random(number)
        self.way = (self.through_adbc, self.through_flight)[number % 2]
        self.answers: Counter[Answer] = Counter()
        self.wrong: list[str] = []

    def work(self, until_s: float) -> None:
        """Ask until it is time; each turn has a connection of its own."""
        while time.monotonic() < until_s:
            for kind, batches_max in self.turn():
                self.answers[kind, self.ask(kind, batches_max)] += 1

    def turn(self) -> list[tuple[str, int | None]]:
        """A few statements: their kinds, and after how many batches to break off."""
        kinds = self.chance.choices(list(STATEMENTS), [one[1] for one in STATEMENTS.values()], k=8)
        return [(kind, 1 if kind == "broken off" else None) for kind in kinds]

    def ask(self, kind: str, batches_max: int | None) -> str:
        """One statement; what became of it, in a word."""
        sql, _, must = STATEMENTS[kind]
        rows = 0
        try:
            for batch in self.way(sql, batches_max):
                rows += batch.num_rows
                self.look(kind, batch)
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
            text = str(error)
            if must not in text:
                self.wrong.append(f"{kind}: {type(error).__name__} {text[:200]}")
            return f"refused: {must}" if must and must in text else "failed"
        if must:
            self.wrong.append(f"{kind} was let through")
        if kind == "large" and rows != ROWS:
            self.wrong.append(f"{kind} ended after {rows} rows")
        return "answered"

    def look(self, kind: str, batch: pa.RecordBatch) -> None:
        """See that nothing comes that is to be masked."""
        if "email" in batch.schema.names and any(
            "@" in str(one) for one in batch.column("email").to_pylist()
        ):
            self.wrong.append(f"{kind} shows an address")

    def through_adbc(self, sql: str, batches_max: int | None) -> Iterator[pa.RecordBatch]:
        """The batches, as a driver gets them that knows nothing of nbgov."""
        options = {
            "adbc.flight.sql.authorization_header": f"Bearer {self.bearer}",
            "adbc.flight.sql.rpc.call_header.x-nbgov-connection": connection(sql),
        }
        with (
            adbc.connect(self.url, db_kwargs=options, autocommit=True) as link,
            link.cursor() as cursor,
        ):
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                for number, batch in enumerate(reader, 1):
                    yield batch
                    if number == batches_max:
                        return

    def through_flight(self, sql: str, batches_max: int | None) -> Iterator[pa.RecordBatch]:
        """The batches, as nbgov's own client asks for them."""
        headers = [(b"authorization", f"Bearer {self.bearer}".encode())]
        name = connection(sql)
        asked = write_request(Request(name, sql), connection=name)
        ticket = fl.Ticket(pack(f"{URL}nbgov.v1.Request", asked))
        with fl.connect(self.url) as client:
            reader = client.do_get(ticket, fl.FlightCallOptions(headers=headers, timeout=120))
            number = 0
            for chunk in reader:
                if chunk.data is not None:
                    number += 1
                    yield chunk.data
                if number == batches_max:
                    reader.cancel()
                    return


STATEMENTS = {
    "small": ("SELECT 1 AS x", 8, ""),
    "masked": ("SELECT id, email FROM people WHERE id < 100", 8, ""),
    "large": ("SELECT a, b, c FROM numbers LIMIT 200000", 2, ""),
    "broken off": ("SELECT n.a, m.b FROM numbers n CROSS JOIN numbers m", 2, ""),
    "write": ("INSERT INTO notes VALUES (1, 'soak')", 2, ""),
    "absent": ("SELECT * FROM salaries", 2, "unknown-table"),
    "denied": ("DELETE FROM people WHERE id = 1", 2, "denied"),
    "wrong": ("SELECT FROM WHERE", 1, "syntax"),
    "failing": ("SELECT CAST(c AS INTEGER) FROM numbers", 1, "database-error"),
}


def connection(sql: str) -> str:
    """Where a statement runs."""
    return "notes" if " notes " in sql else "warehouse"


def soak(seconds: float, clients: int, folder: Path) -> Soaked:
    """Let so many clients ask for so long."""
    make_folder(folder, config=CONNECTIONS, policy=RULES)
    with closing(sqlite3.connect(folder / "notes.sqlite")) as link:
        link.execute("CREATE TABLE notes (number INTEGER, text TEXT)")
    command = [sys.executable, "-m", "tests.gateway.soak", "--serve", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        began = time.monotonic()
        asking = [Client(told["port"], told["token"], number) for number in range(clients)]
        threads = [threading.Thread(target=one.work, args=[began + seconds]) for one in asking]
        samples = Samples(process.pid)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            samples.take(time.monotonic() - began)
            time.sleep(SAMPLE_S)
        process.stdin.close()
        log = json.loads(process.stdout.readline())
    answers = sum((one.answers for one in asking), Counter())
    return Soaked(samples, answers, [text for one in asking for text in one.wrong], log)


def serve(folder: Path) -> None:
    """Be the gateway, until nobody writes any more; then say what the log holds."""
    from nbgov.gateway.flight.serving import start_data_plane

    house = make_house(folder / "nbgov.yaml")
    server = start_data_plane(house, "127.0.0.1:0")
    tell(json.dumps({"port": server.port, "token": token(house, "ada")}))
    sys.stdin.read()
    deadline = time.monotonic() + 10
    while house.works() and time.monotonic() < deadline:
        time.sleep(0.05)
    running = len(house.works())
    server.stop()
    records = [json.loads(line)["record"] for line in house.site.log.entries()]
    kinds = Counter(record["kind"] for record in records)
    closed = {record.get("attempt") for record in records if record["kind"] == "outcome"}
    attempts = {n for n, record in enumerate(records) if record["kind"] == "attempt"}
    found = {
        "running": running,
        "attempts": kinds["attempt"],
        "outcomes": kinds["outcome"],
        "open": len(attempts - closed),
    }
    house.close()
    tell(json.dumps(found))


def tell(text: str) -> None:
    """Say something to whoever has started this."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Soak, and print what became of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.gateway.soak", description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory(prefix="nbgov-soak-") as folder:
        tell(soak(options.seconds, options.clients, Path(folder)).told())


if __name__ == "__main__":
    main()
