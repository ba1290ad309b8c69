"""A house with two seasons of flights: in the second, time is told in seconds and delays go missing."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from nbgov.cli import main
from tests import flights
from tests.flights import ADA, CONFIG

SQL = "SELECT distance, air_time, carrier, delay, email FROM flights WHERE season = :season"
ROWS = 2_000


def build(folder: Path) -> Path:
    """Make the house in a folder and return the folder."""
    return flights.build(
        folder,
        f"""
            CREATE TABLE flights AS
            SELECT i AS id, i % 2 AS season, 300.0 + (i * 7919) % 1000 AS distance,
                   ((300.0 + (i * 7919) % 1000) / 8 + (i * 31) % 40)
                       * CASE WHEN i % 2 = 1 THEN 60 ELSE 1 END AS air_time,
                   ['UA', 'AA', 'DL'][1 + (i * 104729) % 3] AS carrier,
                   CASE WHEN i % 2 = 1 AND i % 5 = 0 THEN NULL ELSE (i * 13) % 30 END::DOUBLE AS delay,
                   'person' || i || '@private.test' AS email
            FROM range({2 * ROWS}) t(i)
            """,
        config=CONFIG + "rows: {keep: named}\n",
    )


def nbgov(folder: Path, *words: str) -> Result:
    """Run a command as Ada."""
    return CliRunner().invoke(main, ["--config", str(folder), "--as", ADA, *words])
