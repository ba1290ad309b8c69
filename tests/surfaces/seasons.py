"""A house with two seasons of flights: in the second, time is told in seconds and delays go missing."""

from __future__ import annotations

from pathlib import Path

import duckdb
from click.testing import CliRunner, Result

from nbgov.cli import main

ADA = "ada@acme.test"
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {kind: duckdb, path: warehouse.duckdb}
principals:
  ada@acme.test: {groups: [analysts]}
rows: {keep: named}
"""
POLICY = """
version: 1
tags:
  pii.email: ["warehouse.*.flights.email"]
  public: ["warehouse.*.flights.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["warehouse.*.*"]
    obligations: {masks: {"pii.*": redact}}
"""
SQL = "SELECT distance, air_time, carrier, delay, email FROM flights WHERE season = :season"
ROWS = 2_000


def build(folder: Path) -> Path:
    """Make the house in a folder and return the folder."""
    (folder / "nbgov.yaml").write_text(CONFIG)
    (folder / "policy.yaml").write_text(POLICY)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as database:
        database.execute(
            f"""
            CREATE TABLE flights AS
            SELECT i AS id, i % 2 AS season, 300.0 + (i * 7919) % 1000 AS distance,
                   ((300.0 + (i * 7919) % 1000) / 8 + (i * 31) % 40)
                       * CASE WHEN i % 2 = 1 THEN 60 ELSE 1 END AS air_time,
                   ['UA', 'AA', 'DL'][1 + (i * 104729) % 3] AS carrier,
                   CASE WHEN i % 2 = 1 AND i % 5 = 0 THEN NULL ELSE (i * 13) % 30 END::DOUBLE AS delay,
                   'person' || i || '@private.test' AS email
            FROM range({2 * ROWS}) t(i)
            """
        )
    return folder


def nbgov(folder: Path, *words: str) -> Result:
    """Run a command as Ada."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", ADA, *words])
