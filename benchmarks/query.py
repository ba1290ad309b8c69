"""Small statements: what governing one costs when there are no rows to speak of."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.ground import Ground
from benchmarks.measure import MILLISECONDS, Contender, Row, Suite

CALLS = 60


def rows() -> Iterator[Row]:
    """nbgov's own time for a call, and its ratio to each peer's."""
    for kind, text in (("cold", "a text not seen before"), ("warm", "the same text")):
        name = f"query.small.{kind}"
        work = f"SELECT 1 to pandas on DuckDB, {text}"
        yield Row(f"{name}.ms", work, f"nbgov.{kind}", unit=MILLISECONDS)
        yield Row(f"{name}.df", work, f"nbgov.{kind}", f"df.{kind}")
        yield Row(f"{name}.read_sql", work, f"nbgov.{kind}", f"read_sql.{kind}")


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Each way to a small frame, with old and with new texts."""
    import pandas as pd

    warnings.filterwarnings("ignore", message="pandas only supports SQLAlchemy")
    session = ground.session
    peer: Any = ground.peer_duckdb  # pandas takes it, its annotations do not.
    ways: dict[str, tuple[str, Callable[[str], Any]]] = {
        "nbgov": ("nbgov to_pandas", lambda sql: session.sql(sql).to_pandas()),
        "df": ("duckdb df", lambda sql: peer.sql(sql).df()),
        "read_sql": ("pandas.read_sql, DBAPI", lambda sql: pd.read_sql(sql, peer)),
    }
    return {
        f"{key}.{kind}": Contender(name, repeated(way, is_cold=kind == "cold"), CALLS)
        for key, (name, way) in ways.items()
        for kind in ("cold", "warm")
    }


def repeated(way: Callable[[str], Any], *, is_cold: bool) -> Callable[[], object]:
    """Many calls in one run, as one is too short to be timed."""
    numbers = itertools.count(2) if is_cold else itertools.repeat(1)
    return lambda: [way(f"SELECT {number} AS x") for number in itertools.islice(numbers, CALLS)]


SUITE = Suite(tuple(rows()), prepare, rounds=5)
