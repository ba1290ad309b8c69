"""Every change of a table is seen, and no change is invented; MLflow's digest stands beside it."""

from __future__ import annotations

import datetime
import random
import uuid
import warnings
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import nbgov
from nbgov.core.fingerprint import Fingerprinter, cell_hashes

ROWS = 12_000
EDITS = 10_000


def made():
    """A frame with one column of every kind that MLflow's digest treats in a way of its own."""
    chance = np.random.default_rng(2013)
    n = range(ROWS)
    day = datetime.date(2013, 1, 1)
    return pd.DataFrame(
        {
            "id": np.arange(ROWS),
            "amount": np.round(chance.lognormal(4, 1, ROWS), 2),
            "label": chance.integers(0, 2, ROWS),
            "tier": pd.Series(chance.choice(["a", "b", "c"], ROWS), dtype=object),
            "city": pd.Series(chance.choice(["x", "y", None], ROWS), dtype=object),
            "active": chance.random(ROWS) < 0.5,
            "at": pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(ROWS), unit="min"),
            "price": pd.Series([Decimal(i) / 100 for i in n], dtype=object),
            "day": pd.Series([day + datetime.timedelta(days=i % 365) for i in n], dtype=object),
            "blob": pd.Series([str(i).encode() for i in n], dtype=object),
            "list": pd.Series([[i, i + 1] for i in n], dtype=object),
            "uuid": pd.Series([uuid.UUID(int=i) for i in n], dtype=object),
            "level": pd.Categorical(chance.choice(["low", "high"], ROWS)),
            "ratio": np.where(chance.random(ROWS) < 0.1, np.nan, chance.random(ROWS)),
            "count": pd.array([None if i % 9 == 0 else i for i in n], dtype="Int64"),
        }
    )


def put(frame, column, rows, value):
    """The frame with some cells of a column replaced."""
    values = frame[column].copy()
    values.iloc[rows] = value
    return frame.assign(**{column: values})


def turned(frame, column, make):
    """The frame with a column of objects, value by value made anew."""
    return frame.assign(**{column: pd.Series([make(one) for one in frame[column]], dtype=object)})


def retyped(frame):
    return frame.assign(price=frame["price"].astype(pd.ArrowDtype(pa.decimal128(9, 2))))


class Change(NamedTuple):
    """A change, whether it is one of the content, and whether MLflow's digest sees it."""

    make: object
    is_change: bool
    mlflow_sees: bool


TAIL = slice(10_000, None)
MONTHS = pd.Timedelta(days=365)
CHANGES = {
    # mlflow.md 2.3 and drift.md 1.2: what the sample of 10,000 rows leaves out
    "row 9,999": Change(lambda f: put(f, "amount", 9_999, 1e9), True, True),
    "row 10,000": Change(lambda f: put(f, "amount", 10_000, 1e9), True, False),
    "the last row": Change(lambda f: put(f, "id", ROWS - 1, -1), True, False),
    "the tail zeroed": Change(lambda f: put(f, "amount", TAIL, 0.0), True, False),
    "the tail in cents": Change(lambda f: f.assign(amount=f["amount"].where(f.index < 10_000, f["amount"] * 100)), True, False),
    "labels of the tail flipped": Change(lambda f: f.assign(label=f["label"].where(f.index < 10_000, 1 - f["label"])), True, False),
    "the tail resampled": Change(lambda f: pd.concat([f[:10_000], f[10_000:].sample(frac=1, replace=True, random_state=2)], ignore_index=True), True, False),
    # and the types that it skips
    "every flag inverted": Change(lambda f: f.assign(active=~f["active"]), True, False),
    "every timestamp a year on": Change(lambda f: f.assign(at=f["at"] + MONTHS), True, False),
    "every decimal doubled": Change(lambda f: turned(f, "price", lambda one: one * 2), True, False),
    "every date a day on": Change(lambda f: turned(f, "day", lambda one: one + datetime.timedelta(days=1)), True, False),
    "every city replaced, NULLs kept": Change(lambda f: turned(f, "city", lambda one: one and "z"), True, False),
    "every list turned around": Change(lambda f: turned(f, "list", lambda one: one[::-1]), True, False),
    "every blob replaced": Change(lambda f: turned(f, "blob", lambda one: b"!" + one), True, False),
    "every UUID replaced": Change(lambda f: turned(f, "uuid", lambda one: uuid.UUID(int=one.int + 1)), True, False),
    "every Arrow decimal halved": Change(lambda f: retyped(turned(f, "price", lambda one: (one / 2).quantize(Decimal("0.01")))), True, False),
    # what both see
    "one cell of the first row": Change(lambda f: put(f, "tier", 0, "d"), True, True),
    "NaN for a number": Change(lambda f: put(f, "ratio", 1, np.nan), True, True),
    "a gap filled": Change(lambda f: put(f, "count", 0, 5), True, True),
    "a categorical level changed": Change(lambda f: f.assign(level=f["level"].cat.rename_categories({"low": "LOW"})), True, True),
    "a column renamed": Change(lambda f: f.rename(columns={"id": "key"}), True, True),
    "a column dropped": Change(lambda f: f.drop(columns="label"), True, True),
    "a row dropped": Change(lambda f: f[:-1], True, True),
    "a row twice": Change(lambda f: pd.concat([f, f[:1]], ignore_index=True), True, True),
    # no change of the content
    "rows in another order": Change(lambda f: f.sample(frac=1, random_state=3).reset_index(drop=True), False, True),
    "columns in another order": Change(lambda f: f[f.columns[::-1]], False, True),
    "an index from 1": Change(lambda f: f.set_axis(np.arange(1, ROWS + 1)), False, True),
    "int64 as int32": Change(lambda f: f.assign(id=f["id"].astype("int32")), False, False),
    "int64 as float64": Change(lambda f: f.assign(id=f["id"].astype("float64")), False, True),
    "text as category": Change(lambda f: f.assign(tier=f["tier"].astype("category")), False, None),
    "nothing at all": Change(lambda f: f.copy(), False, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return made()


def mlflow_digest(frame):
    from mlflow.data.digest_utils import compute_pandas_digest

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compute_pandas_digest(frame)


@pytest.fixture(scope="module")
def before(frame):
    return nbgov.fingerprint(frame), mlflow_digest(frame)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(frame, before, change):
    """The content id changes with the content and with nothing else; MLflow's digest does not."""
    after = change.make(frame)
    assert (nbgov.fingerprint(after).content_id != before[0].content_id) == change.is_change
    if change.mlflow_sees is not None:
        assert (mlflow_digest(after) != before[1]) == change.mlflow_sees


@pytest.mark.slow
def test_mlflow_has_one_digest_for_two_frames():
    """Two one-cell frames that share MLflow's digest have two fingerprints."""
    frames = [pd.DataFrame({"a": [value]}) for value in (85_771, 147_244)]
    assert len({mlflow_digest(one) for one in frames}) == 1
    assert len({nbgov.fingerprint(one).content_id for one in frames}) == 2


# ---- drift.md 1.3: physical rewrites


REWRITES = {
    "row groups": {"row_group_size": 7},
    "zstd": {"compression": "zstd"},
    "no dictionaries": {"use_dictionary": False},
    "data pages of version 2": {"data_page_version": "2.0"},
}


@pytest.mark.parametrize("options", REWRITES.values(), ids=REWRITES)
def test_a_rewrite_of_a_file_is_no_change(tmp_path, options):
    """The same rows in a Parquet file of other bytes have one fingerprint, order included."""
    from pyarrow import parquet

    table = pa.table({"x": range(100), "y": [f"level {n % 3}" for n in range(100)]})
    found = []
    for name, terms in (("plain", {}), ("other", options)):
        parquet.write_table(table, tmp_path / name, **terms)
        (tmp_path / name).rename(tmp_path / f"{name}.parquet")
        found.append(nbgov.fingerprint(tmp_path / f"{name}.parquet"))
    plain, other = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("plain", "other"))
    assert plain != other
    assert found[0] == found[1] == nbgov.fingerprint(table)
    assert found[0].order == found[1].order


# ---- single cells


def text(chance):
    return "".join(chance.choices("ab \u00e9", k=chance.randrange(12)))


def moment(chance):
    return datetime.datetime(2013, 1, 1) + datetime.timedelta(microseconds=chance.randrange(10**12))


CELLS = [
    (pa.int64(), lambda chance: chance.randrange(-(2**63), 2**63)),
    (pa.int8(), lambda chance: chance.randrange(-128, 128)),
    (pa.float64(), lambda chance: chance.choice([chance.random(), chance.randrange(9), 1e300])),
    (pa.bool_(), lambda chance: chance.random() < 0.5),
    (pa.string(), text),
    (pa.binary(), lambda chance: chance.randbytes(chance.randrange(20))),
    (pa.date32(), lambda chance: moment(chance).date()),
    (pa.decimal128(12, 3), lambda chance: Decimal(chance.randrange(-(10**8), 10**8)) / 1000),
    (pa.timestamp("us"), moment),
    (pa.list_(pa.int64()), lambda chance: [chance.randrange(3) for _ in range(chance.randrange(4))]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), lambda chance: {"a": chance.randrange(9), "b": text(chance)}),
]  # fmt: skip


@pytest.mark.slow
def test_ten_thousand_edits_of_one_cell():
    """Of 10,000 random edits of one random cell none is missed, and each names its column."""
    chance = random.Random(20130101)

    def cell(place):
        return None if chance.random() < 0.1 else CELLS[place][1](chance)

    def finished(arrays, hashes):
        fold = Fingerprinter()
        fold.update(pa.record_batch(arrays, [f"c{place}" for place in range(len(arrays))]), hashes)
        return fold.finish()

    cells = [[cell(place) for _ in range(50)] for place in range(len(CELLS))]
    arrays = [pa.array(column, kind) for column, (kind, _) in zip(cells, CELLS, strict=True)]
    hashes = [cell_hashes(array) for array in arrays]
    before = finished(arrays, hashes)
    missed, edits = [], 0
    while edits < EDITS:
        place, row = chance.randrange(len(CELLS)), chance.randrange(50)
        edited = [*cells[place][:row], cell(place), *cells[place][row + 1 :]]
        array = pa.array(edited, arrays[place].type)
        if array.equals(arrays[place]):
            continue
        edits += 1
        after = finished(
            [*arrays[:place], array, *arrays[place + 1 :]],
            [*hashes[:place], cell_hashes(array), *hashes[place + 1 :]],
        )
        changed = [i for i, old in enumerate(before.columns) if after.columns[i] != old]
        is_seen = after.content_id != before.content_id and after.order != before.order
        if not is_seen or changed != [place]:
            missed.append((place, row))
    assert missed == []
