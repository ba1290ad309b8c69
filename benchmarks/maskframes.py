"""Masking a million rows of ten columns of which three are tagged: what it adds, and how it works.

At the scan, masked and open fetches of the same rows differ in nothing but the masks. In memory,
``nbgov.mask`` makes a copy of a table. No loop runs over rows in Python: ten times the rows, with
the same distinct values, take the same number of Python calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground import PRINCIPAL, ROWS, SEED, Ground
from benchmarks.measure import ADDED, CALLS, SECONDS, Contender, Row, Suite, python_calls

if TYPE_CHECKING:
    import pyarrow as pa

    from nbgov.session import Session

PEOPLE = 50_000
FEW_ROWS = ROWS // 10
SQL = "SELECT * FROM people"
OPERATORS = {"name": "redact", "phone": "partial:4", "email": "token"}
THREE = "1M x 10: a name redacted, the last digits of a phone kept, an e-mail as a token"
CONFIG = f"""\
version: 1
policy: policy.yaml
default_connection: open
connections:
  open: {{kind: duckdb, path: people.duckdb}}
  masked: {{kind: duckdb, path: people.duckdb}}
  redacted: {{kind: duckdb, path: people.duckdb}}
principals:
  {PRINCIPAL}: {{groups: [analysts]}}
"""
POLICY = """\
version: 1
tags:
  pii.name: ["masked.main.people.name"]
  pii.phone: ["masked.main.people.phone"]
  pii.email: ["masked.main.people.email"]
  pii.text: ["redacted.main.people.name", "redacted.main.people.phone", "redacted.main.people.email"]
  public: ["open.main.people.*", "*.main.people.[!npe]*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["*.main.*"]
    obligations:
      masks: {pii.name: redact, pii.phone: partial, pii.email: token, pii.text: redact}
"""

BENCH_ROWS = (
    Row("frame.1m10.scan", f"{THREE}; at the scan, to Arrow", "masked", "open", ADDED),
    Row(
        "frame.1m10.scan.redact",
        "1M x 10, three texts redacted at the scan, to Arrow",
        "redacted",
        "open",
        ADDED,
    ),
    Row("frame.1m10.arrow", f"{THREE}; nbgov.mask of an Arrow table", "arrow", unit=SECONDS),
    Row("frame.1m10.pandas", f"{THREE}; nbgov.mask of a DataFrame", "pandas", unit=SECONDS),
    Row(
        "frame.1m10.calls.arrow",
        "nbgov.mask of an Arrow table, 1M rows beside 100k",
        "calls.arrow",
        "calls.arrow.few",
        CALLS,
    ),
    Row(
        "frame.1m10.calls.pandas",
        "nbgov.mask of a DataFrame, 1M rows beside 100k",
        "calls.pandas",
        "calls.pandas.few",
        CALLS,
    ),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """The fetches, the copies, and the copies with their calls counted."""
    table = people(ground)
    return fetches(ground, table) | copies(ground, table)


def people(ground: Ground) -> pa.Table:
    """A million rows about 50,000 people: three texts that tell who it is, and seven columns more.

    Every person stands in the first rows, so that few rows hold as many people as all.
    """
    import numpy as np
    import pyarrow as pa

    chance = np.random.default_rng(SEED)
    who = np.concatenate([np.arange(PEOPLE), chance.integers(0, PEOPLE, ROWS - PEOPLE)])
    texts = {
        "name": [
            f"{NAMES[n % len(NAMES)]} {NAMES[n // 7 % len(NAMES)]}son {n}" for n in range(PEOPLE)
        ],
        "phone": [f"+1 212 555 {n:05d}" for n in range(PEOPLE)],
        "email": [f"{NAMES[n % len(NAMES)].lower()}.{n}@example.com" for n in range(PEOPLE)],
    }
    taken = {name: pa.array(made).take(pa.array(who)) for name, made in texts.items()}
    plain = ground.rides.select(["id", "day", "bike", "dock", "minutes", "metres", "at"])
    return pa.table(taken | dict(zip(plain.schema.names, plain.columns, strict=True)))


def fetches(ground: Ground, table: pa.Table) -> dict[str, Contender]:
    """The whole way to Arrow, records and dataset version included."""
    session = session_on(ground.folder / "people", ground, table)

    def fetch(connection: str) -> Callable[[], object]:
        return lambda: session.sql(SQL, connection).to_arrow()

    return {key: Contender("nbgov to_arrow", fetch(key)) for key in ("open", "masked", "redacted")}


def session_on(folder: Path, ground: Ground, table: pa.Table) -> Session:
    """A session on a DuckDB file that holds the people."""
    import duckdb

    from nbgov import connect

    folder.mkdir()
    with duckdb.connect(folder / "people.duckdb") as connection:
        connection.register("made", table)
        connection.execute("CREATE TABLE people AS SELECT * FROM made")
    (folder / "nbgov.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return ground.open.enter_context(connect(folder, as_=PRINCIPAL))


def copies(ground: Ground, table: pa.Table) -> dict[str, Contender]:
    """Masked copies of what is in memory."""
    import nbgov

    key = ground.folder / "mask.key"
    key.write_bytes(bytes(range(32)).hex().encode())
    few = table.slice(0, FEW_ROWS).combine_chunks()
    held = {
        "arrow": table,
        "arrow.few": few,
        "pandas": table.to_pandas(),
        "pandas.few": few.to_pandas(),
    }

    def copy(name: str) -> Callable[[], object]:
        def run() -> object:
            return nbgov.mask(
                held[name], operators=OPERATORS, entities=[], key=f"file:{key}", progress=False
            )

        return run

    timed = {name: Contender("nbgov.mask", copy(name)) for name in ("arrow", "pandas")}
    return timed | {
        f"calls.{name}": Contender("nbgov.mask", copy(name), gauge=python_calls) for name in held
    }


NAMES = ("Ada", "Boris", "Chen", "Dora", "Emre", "Farah", "Goran", "Hana", "Ivo", "Jaya", "Kofi")

SUITE = Suite(BENCH_ROWS, prepare)
