"""A gateway for the benchmarks, in a process of its own; or the same server without governance.

``python -m benchmarks.gateway_server FOLDER [--bare]`` prints its port and some tokens as JSON, and
serves until its standard input ends. With ``--bare`` nothing is decided, masked, fingerprinted or
recorded: what remains is the server, the database and the stream between them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.gateway.flight.serving import start_data_plane
from nbgov.gateway.house import House
from nbgov.gateway.opening import open_house
from nbgov.model import (
    Audience,
    Clearance,
    Decision,
    Effect,
    Proof,
    Receipt,
    Request,
    Result,
    Statement,
    Summary,
    Verdict,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.gateway.guests import Guest
    from nbgov.ports import Stream

CLIENTS_MAX = 16


class BareHouse(House):
    """A house that lets everything through, and keeps nothing of it."""

    def ask(self, guest: Guest, request: Request, *, surface: str, address: str) -> Result:
        """Run a request as it is."""
        engine = self.site.engine(request.connection)
        stream = engine.execute(Clearance(request.sql, request.binds, (), is_read=True))
        statement, decision = facts(request)
        return Result(
            stream.schema,
            read(stream),
            decision=decision,
            statement=statement,
            record=0,
            receipt=Receipt("bench", 0, bytes(32)),
            summary=Summary(),
            cancel=stream.cancel,
        )

    def check(self, guest: Guest, request: Request, *, surface: str, address: str) -> Verdict:
        """Say yes."""
        statement, decision = facts(request)
        return Verdict(statement, decision, request.sql)


def facts(request: Request) -> tuple[Statement, Decision]:
    """What a result says of itself."""
    statement = Statement(request.sql, "duckdb", "SELECT", frozenset({Effect.READ}))
    return statement, Decision(is_permitted=True)


def read(stream: Stream) -> Iterator[pa.RecordBatch]:
    """The batches of a stream, and its end."""
    try:
        yield from stream
    finally:
        stream.close()


def main() -> None:
    """Serve."""
    folder, *options = sys.argv[1:]
    house = open_house(Path(folder) / "nbgov.yaml")
    if options:
        house.__class__ = BareHouse
    until = house.site.world.clock.now() + timedelta(hours=8)
    tokens = []
    for number in range(CLIENTS_MAX):
        name = f"ada{number}@acme.test"
        groups = frozenset({"analysts"})
        proof = Proof("bench", f"bench|{number}", name, groups, frozenset(), "oidc", until)
        tokens.append(house.admit(proof, Audience.DATA, address="127.0.0.1", agent="bench")[0])
    server = start_data_plane(house, "127.0.0.1:0")
    print(json.dumps({"port": server.port, "tokens": tokens}), flush=True)
    sys.stdin.read()
    server.stop()
    house.close()


if __name__ == "__main__":
    main()
