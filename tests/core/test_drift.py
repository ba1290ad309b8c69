"""Profiles, the rules that compare them, and the ranked answer to "what changed?"."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import json
import random
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.drift import Profiler, compare
from nbgov.core.drift.distances import association, stability
from nbgov.core.drift.evidence import chi2_tail, kolmogorov_tail, normal_tail, proportions_tail
from nbgov.core.drift.profile import BUCKET_ROWS_MIN, without_rare
from nbgov.core.drift.quantiles import RANK_ERROR, QuantileSketch, read_distribution
from nbgov.core.drift.report import KINDS
from nbgov.core.fingerprint import Fingerprinter, cell_hashes
from nbgov.model import DatasetVersion, Run, RunInput

NAME = "warehouse.main.flights"
ROWS = 4_000


def flights(seed=1, rows=ROWS, **columns):
    """A table much like flights, all columns drawn anew from the seed; some may be given."""
    chance = np.random.default_rng(seed)
    delay = np.round(chance.gamma(2, 12, rows) - 12)
    made = {
        "dep_delay": pa.array(delay, pa.int64(), mask=chance.random(rows) < 0.03),
        "air_time": pa.array(np.round(chance.lognormal(4.8, 0.5, rows), 1)),
        "distance": pa.array(chance.integers(80, 5_000, rows)),
        "carrier": pa.array(chance.choice(["UA", "B6", "EV", "DL", "AA"], rows)),
        "tailnum": pa.array([f"N{n:05d}" for n in chance.integers(0, 4_000, rows)], pa.string()),
        "night": pa.array(chance.random(rows) < 0.2),
    }
    return pa.table(made | columns)


def profile(table, sensitivity=None, batch_rows=1_000):
    level = dict.fromkeys(table.column_names, "open") if sensitivity is None else sensitivity
    profiler = Profiler(level, table.schema)
    for batch in table.combine_chunks().to_batches(batch_rows):
        profiler.update(batch)
    return profiler.finish()


def column(table, name, **options):
    found = profile(table, **options)["columns"]
    return next(one for one in found if one["name"] == name)


def version(table, *, sensitivity=None, **facts):
    """A dataset version of the table; its id follows from content and facts, as in the store."""
    fingerprinter = Fingerprinter(table.schema)
    for batch in table.combine_chunks().to_batches(1_000):
        fingerprinter.update(batch)
    found = fingerprinter.finish()
    made = {
        "content_id": found.content_id,
        "schema_id": found.schema_id,
        "name": NAME,
        "connection": "warehouse",
        "dialect": "duckdb",
        "tables": ("main.flights",),
        "statement": "SELECT * FROM flights WHERE month = :month",
        "statement_mac": "5a",
        "binds_mac": "b1",
        "binds": ("month: int",),
        "policy": "3f9c1e" * 10,
        "rows": found.rows,
        "columns": found.columns,
        "masked": {},
        "profile": json.loads(json.dumps(profile(table, sensitivity))),
    } | facts
    identity = repr({name: fact for name, fact in made.items() if name != "profile"})
    return DatasetVersion(version_id=hashlib.sha256(identity.encode()).hexdigest()[:32], **made)


def run(name, *versions, **facts):
    bound = [
        one
        if isinstance(one, RunInput)
        else RunInput(one.name, one.version_id, "training", "autolog")
        for one in versions
    ]
    return Run(name, name, tuple(bound), facts.pop("params", {}), facts.pop("metrics", {}), **facts)


def report(before, after, before_facts=None, after_facts=None):
    """Compare two lists of versions, or two versions."""
    lists = [one if isinstance(one, list) else [one] for one in (before, after)]
    runs = [
        run(name, *versions, **(facts or {}))
        for name, versions, facts in zip(
            ("winter", "summer"), lists, (before_facts, after_facts), strict=True
        )
    ]
    kept = {one.version_id: one for one in itertools.chain(*lists)}
    return compare(*runs, kept)


def report_tables(before, after, **options):
    return report(version(before, **options), version(after, **options))


def alarms(found):
    """(kind, subject) of causes of the data that are more than remarks."""
    return {(one.kind, one.subject) for one in found.causes if one.effect > 0}


def cause(found, kind, subject=None):
    [one] = [c for c in found.causes if c.kind == kind and subject in {None, c.subject}]
    return one


def with_column(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, values)


# ---- evidence


@pytest.mark.parametrize(
    ("x", "degrees", "tail"),
    [
        (0.5, 1, 0.47950012218695337),
        (3.84, 1, 0.05004352124870519),
        (20, 9, 0.017912404529843298),
        (5, 9, 0.8343082601934075),
        (60, 63, 0.5839273305262771),
        (300, 63, 1.434950293727211e-32),
        (1000, 200, 1.5008794119251172e-106),
        (40, 2, 2.0611536224385566e-09),
    ],
)
def test_chi2_tail(x, degrees, tail):
    """The chi-squared tail agrees with the tables to ten digits, far out too."""
    assert chi2_tail(x, degrees) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize(
    ("distance", "left", "right", "tail"),
    [
        (0.05, 1000, 1000, 0.15955408974378785),
        (0.2, 50, 60, 0.20006037914110894),
        (0.3, 10, 200, 0.30063616559088063),
        (0.01, 10000, 10000, 0.697339988052793),
        (0.001, 10, 10, 1.0),
    ],
)
def test_kolmogorov_tail(distance, left, right, tail):
    """The Kolmogorov tail agrees with the tables."""
    assert kolmogorov_tail(distance, left, right) == pytest.approx(tail, rel=1e-9)


def test_proportions_tail():
    """Equal or certain shares are no evidence; different ones are the normal tail of their z."""
    assert proportions_tail(0, 100, 0, 50) == proportions_tail(9, 9, 5, 5) == 1.0
    assert proportions_tail(10, 100, 20, 200) == 1.0
    assert proportions_tail(40, 100, 60, 100) == pytest.approx(normal_tail(2.8284271), rel=1e-6)


@given(st.lists(st.integers(0, 500), min_size=2, max_size=9))
def test_equal_counts_show_nothing(counts):
    """Counts against themselves have no instability and no association, empty or not."""
    assert stability(counts, counts).index == 0
    assert association(counts, counts).v == pytest.approx(0, abs=1e-9)
    assert association(counts, [0] * len(counts)).tail == 1.0


def test_chance_alone_makes_no_instability():
    """The index of 105 levels without drift is about 0, where the uncorrected one is above 0.1."""
    chance = np.random.default_rng(7)
    shares = chance.dirichlet(np.ones(105))
    found = [
        stability(*(chance.multinomial(1_000, shares).tolist() for _ in range(2))).index
        for _ in range(50)
    ]
    assert np.mean(found) < 0.03


# ---- quantiles

SHAPES = {
    "normal": lambda chance, n: chance.normal(size=n),
    "heavy": lambda chance, n: chance.lognormal(0, 2, n),
    "few values": lambda chance, n: chance.integers(0, 9, n).astype(float),
    "ascending": lambda chance, n: np.arange(n, dtype=float),
    "descending": lambda chance, n: -np.arange(n, dtype=float),
    "repeating": lambda chance, n: np.resize(chance.normal(size=997), n),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("batch_rows", [700, 65_536])
@pytest.mark.parametrize("parts", [1, 4])
def test_the_sketch_keeps_its_bound(shape, batch_rows, parts):
    """No rank is off by more than the stated error, folded or merged, whatever the shape."""
    values = shape(np.random.default_rng(3), 60_000)
    sketches = [QuantileSketch() for _ in range(parts)]
    for place, start in enumerate(range(0, len(values), batch_rows)):
        sketches[place % parts].update(values[start : start + batch_rows])
    whole = QuantileSketch()
    for sketch in sketches:
        whole.merge(sketch)
    found = read_distribution(json.loads(json.dumps(whole.finish())))
    points = np.unique(values.astype(np.float32)).astype(np.float64)
    exact = np.searchsorted(np.sort(values.astype(np.float32)), points, side="right") / len(values)
    assert found.n == len(values)
    assert np.abs(found.below(points) - exact).max() < found.error == RANK_ERROR
    assert len(found.values) < 1_400


def test_a_sketch_of_few_numbers_is_exact():
    """Up to 400 numbers are kept as they are, and the error is 0."""
    sketch = QuantileSketch()
    sketch.update(np.arange(400.0))
    found = read_distribution(sketch.finish())
    assert found.error == 0
    assert [found.quantile(rank) for rank in (0, 0.25, 0.5, 1)] == [0, 99, 199, 399]


def test_equal_batches_give_equal_profiles():
    """A profile does not depend on chance: two folds over the same batches are equal."""
    assert profile(flights()) == profile(flights())


# ---- profiles


def test_a_profile_is_json():
    """A profile survives JSON unchanged, infinities and huge numbers included."""
    wild = flights().append_column(
        "wild", pa.array([1e300, float("inf"), float("nan"), None] * 1_000)
    )
    found = profile(wild)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["rows"] == ROWS
    [one] = [c for c in found["columns"] if c["name"] == "wild"]
    assert (one["infinite"], one["nans"], one["nulls"]) == (1_000, 1_000, 1_000)
    assert (one["max"], one["kurtosis"]) == (1e300, None)


def test_a_profile_is_small():
    """An open column takes a few thousand bytes, a pii column a few hundred."""
    for one in profile(flights(rows=20_000))["columns"]:
        assert len(json.dumps(one)) < 9_000
    for one in profile(flights(rows=20_000), sensitivity={})["columns"]:
        assert len(json.dumps(one)) < 700


def test_figures_of_an_open_number():
    """Count, bounds, mean, standard deviation and kurtosis are those of the numbers."""
    values = np.random.default_rng(5).lognormal(0, 1, 5_000)
    found = column(pa.table({"x": values}), "x")
    off = values - values.mean()
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert found["mean"] == pytest.approx(values.mean())
    assert found["sd"] == pytest.approx(values.std())
    assert found["kurtosis"] == pytest.approx((off**4).mean() / (off**2).mean() ** 2)
    assert found["distinct"] == pytest.approx(5_000, rel=0.1)


TYPED = {
    "int": (pa.array([1, 2, None], pa.uint64()), 1, 2),
    "float": (pa.array([0.5, float("nan"), 2.5], pa.float32()), 0.5, 2.5),
    "decimal": (pa.array([Decimal("1.50"), None, Decimal(-2)], pa.decimal128(9, 2)), -2, 1.5),
    "wide decimal": (pa.array([Decimal("1.50"), Decimal(-2)], pa.decimal256(60, 2)), -2, 1.5),
    "time": (pa.array([60, None], pa.time32("s")), 60, 60),
    "duration": (pa.array([1_500], pa.duration("ms")), 1.5, 1.5),
    "date": (pa.array([0, 15_706], pa.date32()), "1970-01-01T00:00:00", "2013-01-01T00:00:00"),
    "date64": (pa.array([86_400_000], pa.date64()), "1970-01-02T00:00:00", "1970-01-02T00:00:00"),
    "timestamp": (
        pa.array([1_357_016_400_000_000_000], pa.timestamp("ns", "UTC")),
        "2013-01-01T05:00:00",
        "2013-01-01T05:00:00",
    ),
    "the end of time": (
        pa.array([2**63 - 1], pa.timestamp("s")),
        "146138514313-06-19T07:45:04",
        "146138514313-06-19T07:45:04",
    ),
    "dictionary": (pa.array([5, 7]).dictionary_encode(), 5, 7),
    "run-end-encoded": (pc.run_end_encode(pa.array([5, 5, 7])), 5, 7),
    "nothing but NULL": (pa.nulls(3, pa.int64()), None, None),
}


@pytest.mark.parametrize(("array", "low", "high"), TYPED.values(), ids=TYPED)
def test_bounds_of_every_type_of_number_and_moment(array, low, high):
    """Numbers and moments of every type have their bounds, also behind an encoding."""
    found = column(pa.table({"x": array}), "x")
    assert (found["min"], found["max"]) == (low, high)
    if low is None:
        assert found["quantiles"] is found["mean"] is found["sd"] is None


def test_labels_are_exact_while_few_and_short():
    """Labels are counted exactly up to 200 short ones, and not told at all beyond."""
    some = pa.array(["b", "a", None, "b"], pa.string_view())
    assert column(pa.table({"x": some}), "x")["labels"] == [["b", 2], ["a", 1]]
    flags = pa.array([True, False, True])
    assert column(pa.table({"x": flags}), "x")["labels"] == [["true", 2], ["false", 1]]
    many = pa.array([str(n) for n in range(201)])
    for batch_rows in (100, 1_000):  # Too many in sum, and too many in one batch.
        assert column(pa.table({"x": many}), "x", batch_rows=batch_rows)["labels"] is None
    long = pa.array(["x" * 65])
    assert column(pa.table({"x": long}), "x")["labels"] is None


def test_lengths_are_those_of_texts_lists_and_maps():
    """Lengths fall into bins by powers of two; other types have none."""
    table = pa.table(
        {
            "text": pa.array(["", "a", "abc", None]),
            "view": pa.array([b"", b"a", b"abc", None], pa.binary_view()),
            "list": pa.array([[], [1], [1, 2, 3], None]),
            "map": pa.array(
                [[], [("a", 1)], [("a", 1), ("b", 2), ("c", 3)], None],
                pa.map_(pa.string(), pa.int64()),
            ),
            "number": pa.array([1, 2, 3, None]),
            "uuid": pa.array([b"0" * 16] * 4, pa.uuid()),
        }
    )
    for name in ("text", "view", "list", "map"):
        assert column(table, name)["lengths"][:4] == [1, 1, 1, 0]
    assert column(table, "number")["lengths"] is column(table, "uuid")["lengths"] is None


def test_distinct_counts():
    """Distinct values are exact up to a thousand, and within a tenth beyond."""
    few = pa.table({"x": pa.array([n % 900 for n in range(9_000)])})
    many = pa.table({"x": pa.array(range(200_000))})
    assert column(few, "x")["distinct"] == 900
    assert column(many, "x", batch_rows=65_536)["distinct"] == pytest.approx(200_000, rel=0.1)


def load(name):
    """A module of tests/reference; test folders are no packages."""
    path = Path(__file__).parents[1] / "reference" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("level", ["open", "pii"])
def test_every_type_has_a_profile(level):
    """Every table among the fingerprint vectors, of whatever types, has a profile."""
    path = Path(__file__).parents[1] / "vectors" / "fingerprint.json"
    batch_of = load("arrow_tables").batch_of
    for vector in json.loads(path.read_text(encoding="utf-8")):
        batch = batch_of(vector["columns"], vector["rows"])
        profiler = Profiler(dict.fromkeys(batch.schema.names, level))
        profiler.update(batch)
        found = json.loads(json.dumps(profiler.finish(), allow_nan=False))
        missing = [one["nulls"] + one["nans"] for one in found["columns"]]
        assert missing == [batch.num_rows - one[3] for one in vector["fingerprint"]["columns"]]


@st.composite
def parts(draw):
    rows = draw(st.integers(1, 60))
    table = flights(seed=draw(st.integers(0, 99)), rows=rows)
    cut = draw(st.integers(0, rows))
    sensitivity = dict.fromkeys(draw(st.sets(st.sampled_from(table.column_names))), "open")
    return table, cut, sensitivity


def folded(table, sensitivity):
    profiler = Profiler(sensitivity)
    for batch in table.to_batches():
        profiler.update(batch)
    return profiler


def rounded(figures):
    """A profile with its floats to ten digits, because moments are sums of floats."""
    return json.loads(json.dumps(figures), parse_float=lambda text: float(f"{float(text):.9e}"))


@settings(max_examples=30)
@given(parts())
def test_merged_parts_are_one_pass(case):
    """Profiles of parts merge to the profile of the whole, in either order, and do not change."""
    table, cut, sensitivity = case
    left, right = folded(table.slice(0, cut), sensitivity), folded(table.slice(cut), sensitivity)
    nothing = Profiler(sensitivity, table.schema)
    before = left.finish()
    whole = rounded(folded(table, sensitivity).finish())
    for found in (
        left.merge(right),
        right.merge(left),
        left.merge(Profiler({})).merge(nothing).merge(right),
    ):
        for one, other in zip(found.finish()["columns"], whole["columns"], strict=True):
            assert (
                sorted(read_distribution(one["quantiles"]).values)
                == sorted(read_distribution(other["quantiles"]).values)
                if one.get("quantiles")
                else not other.get("quantiles")
            )
        assert without_quantiles(rounded(found.finish())) == without_quantiles(whole)
    assert left.finish() == before


def without_quantiles(figures):
    """A profile without the sketches, whose bytes keep the order of the rows."""
    columns = [{**one, "quantiles": bool(one.get("quantiles"))} for one in figures["columns"]]
    return figures | {"columns": columns}


def test_large_parts_merge():
    """Folds whose labels, hashes and sketches are full merge like one pass."""
    table = flights(rows=9_000)
    left, right = (folded(table.slice(*cut), {"carrier": "open"}) for cut in ((0, 5_000), (5_000,)))
    assert rounded(left.merge(right).finish()) == rounded(
        folded(table, {"carrier": "open"}).finish()
    )
    labels = [pa.table({"x": [f"{side}{n}" for n in range(150)]}) for side in "ab"]
    folds = [folded(one, {"x": "open"}) for one in labels]
    both = folds[0].merge(folds[1])
    assert both.finish()["columns"][0]["labels"] is None
    assert both.merge(folds[0]).finish()["columns"][0]["labels"] is None


def test_parts_of_other_columns_or_sensitivity_do_not_merge():
    """Parts that differ in columns, types or sensitivity are refused."""
    numbers = pa.table({"x": [1]})
    for other in (folded(pa.table({"y": [1]}), {}), folded(numbers, {"x": "open"})):
        with pytest.raises(RuntimeError, match="differ in columns or sensitivity"):
            folded(numbers, {}).merge(other)


def test_hashes_made_elsewhere_are_taken():
    """Cell hashes that the caller already made give the same profile."""
    [batch] = flights(rows=50).combine_chunks().to_batches()
    given_hashes = Profiler({})
    given_hashes.update(batch, [cell_hashes(one) for one in batch.columns])
    assert given_hashes.finish() == folded(flights(rows=50), {}).finish()


# ---- what a pii profile tells


def test_a_pii_profile_has_counts_only():
    """Every word but ``open``, and no word, keeps counts and nothing else."""
    for level in ("pii", "internal", "OPEN", None):
        sensitivity = {} if level is None else dict.fromkeys(flights().column_names, level)
        for one in profile(flights(), sensitivity)["columns"]:
            assert set(one) == {
                "name", "type", "level", "nulls", "nans", "distinct", "lengths", "buckets",
            }  # fmt: skip
            assert one["level"] == "pii"
            assert len(str(one["distinct"]).rstrip("0")) <= 1


def test_a_pii_profile_holds_no_value_and_no_hash():
    """No value, bound or cell hash of a sensitive column is in its profile, in any spelling."""
    chance = random.Random(11)
    numbers = [chance.randrange(10**8, 10**9) for _ in range(3_000)]
    mails = [f"user{n}@example.com" for n in numbers]
    table = pa.table({"ssn": numbers, "mail": mails})
    text = json.dumps(profile(table, sensitivity={}))
    hashes = [int(h) for name in ("ssn", "mail") for h in cell_hashes(table[name].chunk(0))]
    told = {*map(str, numbers), *mails, *map(str, hashes), *(f"{h:016x}" for h in hashes)}
    assert not [secret for secret in told if secret in text]
    assert (
        max(
            int(word) for word in text.replace(",", " ").replace("]", " ").split() if word.isdigit()
        )
        < 10**4
    )


def test_a_guess_at_a_rare_value_cannot_be_tested():
    """Two tables that differ in who is in them have one profile, as long as nobody is frequent."""
    first = [f"user{n:04d}@example.com" for n in range(30)]
    second = [f"user{n:04d}@example.com" for n in range(500, 530)]
    found = [profile(pa.table({"mail": mails}), sensitivity={}) for mails in (first, second)]
    assert found[0] == found[1]
    assert not any(found[0]["columns"][0]["buckets"])


@given(st.lists(st.integers(0, 90), min_size=3, max_size=12))
def test_no_rare_count_can_be_worked_out(counts):
    """A rare count is never told, and never the only one missing from the sum."""
    shown = without_rare(np.array(counts))
    hidden = [count for count, seen in zip(counts, shown.tolist(), strict=True) if count != seen]
    assert all(
        seen == 0 or seen == count >= BUCKET_ROWS_MIN
        for count, seen in zip(counts, shown.tolist(), strict=True)
    )
    assert np.count_nonzero(shown == 0) != 1 or not hidden


def test_no_sentence_tells_a_value_of_a_pii_column():
    """A column that is pii in either run is compared by buckets, and no value is in the report."""
    before = flights()
    after = with_column(flights(seed=2), "carrier", pa.array(["SECRET"] * ROWS))
    after = with_column(after, "dep_delay", pa.array(np.full(ROWS, 987_654)))
    opened = dict.fromkeys(before.column_names, "open")
    for levels in ((opened, {}), ({}, opened), ({}, {})):
        found = report(
            version(before, sensitivity=levels[0]), version(after, sensitivity=levels[1])
        )
        text = json.dumps(found.to_dict())
        assert {("distribution", "carrier"), ("distribution", "dep_delay")} <= alarms(found)
        assert not [secret for secret in ("SECRET", "987", "UA", "B6") if secret in text]


# ---- no drift, no alarm


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "pii"])
@pytest.mark.parametrize("rows", [300, 2_000])
def test_halves_of_one_table_raise_no_alarm(rows, is_open):
    """Random halves of one table do not drift, open or not: of 240 columns at most two alarm."""
    whole = flights(seed=4, rows=2 * rows)
    found = []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(2 * rows)
        halves = [whole.take(pa.array(side)) for side in (order[:rows], order[rows:])]
        found.append(report_tables(*halves, sensitivity=None if is_open else {}))
    assert {one.is_same_data for one in found} == {False}
    assert sum(len(alarms(one)) for one in found) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("rows", [300, 1_000, 10_000])
def test_false_alarms_are_rarer_than_one_in_a_hundred(rows):
    """Of 1,200 columns drawn anew from one distribution fewer than one in a hundred alarm."""
    found = [report_tables(flights(seed, rows), flights(seed + 1_000, rows)) for seed in range(200)]
    assert sum(len(alarms(one)) for one in found) < 12


def test_the_same_rows_are_the_same_data():
    """The same rows in another order are the same data, stable, and identical to last time."""
    table = flights()
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(ROWS)))
    found = report_tables(table, shuffled)
    assert (found.status, found.is_same_data) == ("stable", True)
    assert [one.sentence for one in found.causes] == [f"{NAME}: identical to last time"]
    assert found.verdict == "Same data: every input holds the same rows."


# ---- a change is seen, named, and put first


def scaled(name, factor):
    return lambda table: with_column(
        table, name, pc.multiply(table[name].cast(pa.float64()), factor)
    )


def nulled(name, every):
    mask = pa.array(np.arange(ROWS) % every == 0)
    return lambda table: with_column(
        table, name, pc.if_else(mask, pa.nulls(ROWS, table[name].type), table[name])
    )


def relabelled(name, label, every):
    mask = pa.array(np.arange(ROWS) % every == 0)
    return lambda table: with_column(table, name, pc.if_else(mask, label, table[name]))


def wild(name, every, factor):
    mask = pa.array(np.arange(ROWS) % every == 0)
    return lambda table: with_column(
        table, name, pc.if_else(mask, pc.multiply(table[name], factor), table[name])
    )


def masked(table):
    return with_column(table, "tailnum", pa.array(["***"] * ROWS))


CHANGES = {
    "a shift": (
        lambda table: with_column(table, "dep_delay", pc.add(table["dep_delay"], 3)),
        "distribution",
        "dep_delay",
        r"dep_delay: distribution moved, PSI 0\.\d\d, median \S+ -> \S+",
    ),
    "a wider middle": (
        lambda table: with_column(
            table,
            "distance",
            pa.array(np.tile([2_500, 2_500, 100, 4_900, 2_500], ROWS // 5)),
        ),
        "distribution",
        "distance",
        r"distance: distribution moved, PSI \S+, median .*",
    ),
    "a unit": (
        scaled("air_time", 60),
        "distribution",
        "air_time",
        r"air_time: distribution moved, .*; all values times 6\d(\.\d)?, a change of unit\?",
    ),
    "NULLs": (
        nulled("air_time", 20),
        "nulls",
        "air_time",
        r"air_time: NULLs 0 % -> 5\.0 % of rows",
    ),
    "a new level": (
        relabelled("carrier", "XX", 40),
        "levels",
        "carrier",
        r"carrier: new level 'XX' \(2\.5 %\)",
    ),
    "shares of levels": (
        relabelled("carrier", "UA", 5),
        "distribution",
        "carrier",
        r"carrier: shares of levels moved, PSI 0\.\d\d, \d+\.\d % of rows",
    ),
    "flags": (
        relabelled("night", True, 5),
        "distribution",
        "night",
        r"night: shares of levels moved, .*",
    ),
    "wild values": (
        wild("air_time", 50, 100.0),
        "tail",
        "air_time",
        r"air_time: \S+ % of rows outside \S+ to \S+, standard deviation \S+ -> \S+",
    ),
    "infinities": (
        lambda table: with_column(
            table,
            "air_time",
            pc.if_else(pa.array(np.arange(ROWS) % 50 == 0), float("inf"), table["air_time"]),
        ),
        "tail",
        "air_time",
        r"air_time: infinities 0 % -> 2\.0 % of rows",
    ),
    "texts of another length": (
        masked,
        "distribution",
        "tailnum",
        r"tailnum: lengths moved, PSI \S+, 100\.0 % of rows",
    ),
}


@pytest.mark.parametrize(("change", "kind", "subject", "sentence"), CHANGES.values(), ids=CHANGES)
def test_the_one_change_is_seen_and_comes_first(change, kind, subject, sentence):
    """The one column that was changed is the first cause, with its figures, and the only drift."""
    found = report_tables(flights(seed=1), change(flights(seed=2)))
    assert found.status == "drifted"
    assert found.causes[0].subject == subject
    assert {name for _, name in alarms(found)} == {subject}
    assert re.fullmatch(sentence, cause(found, kind, subject).sentence)
    assert found.verdict.startswith(f"Drifted: {found.causes[0].sentence}")


def test_a_middle_that_only_widens_is_told_by_its_bounds():
    """Where the median stays, the sentence tells the middle 80 % instead."""
    before = pa.table({"x": np.resize([9, 10, 10, 10, 11], 1_000)})
    after = pa.table({"x": np.resize([0, 2, 10, 10, 18, 20], 1_000)})
    found = cause(report_tables(before, after), "distribution")
    assert found.sentence.endswith(", median 10, middle 80 % 9 to 11 -> 0 to 20")


def test_values_beyond_the_old_bounds_are_seen_without_a_wider_spread():
    """A few rows just outside the old bounds are a change of the tail alone."""
    before = pa.table({"x": np.resize(np.arange(100), 5_000)})
    after = pa.table({"x": np.append(np.resize(np.arange(100), 4_900), [120] * 100)})
    found = report_tables(before, after)
    assert cause(found, "tail").sentence == "x: 2.0 % of rows outside 0 to 99"
    assert alarms(found) == {("tail", "x")}


def test_a_constant_that_changes_has_moved():
    """A column of one value has no spread, and still drifts when the value does."""
    before, after = (pa.table({"x": np.full(500, value)}) for value in (0.0, 5.0))
    assert alarms(report_tables(before, after)) == {("distribution", "x"), ("tail", "x")}


def test_levels_that_are_lost_are_named():
    """Levels that the current run lacks are named with the share they had, three at most."""
    before = with_column(
        flights(), "carrier", pa.array([f"L{n % 5}" if n % 4 == 0 else "UA" for n in range(ROWS)])
    )
    after = with_column(flights(seed=2), "carrier", pa.array(["UA"] * ROWS))
    found = cause(report_tables(before, after), "levels")
    assert found.sentence == (
        "carrier: lost levels 'L0' (5.0 %), 'L1' (5.0 %), 'L2' (5.0 %) and 2 more"
    )
    assert found.effect == pytest.approx(0.25)
    assert found.detail["is_new"] is False


def test_a_level_of_an_unfinished_census_is_no_news():
    """Where the baseline saw many levels once, a level not seen yet raises no alarm."""
    before = pa.array([f"T{n}" for n in range(150)] + ["UA"] * 850)
    after = pa.array(["NEW"] * 20 + [f"T{n}" for n in range(130)] + ["UA"] * 850)
    found = report_tables(pa.table({"x": before}), pa.table({"x": after}))
    assert "levels" not in {one.kind for one in found.causes}


def test_wild_values_that_are_gone_are_seen():
    """A spread that shrinks inside the old bounds is a change of the tail."""
    before = wild("air_time", 50, 100.0)(flights())
    found = report_tables(before, flights(seed=2))
    assert cause(found, "tail").sentence.startswith("air_time: standard deviation")


def test_one_wild_value_is_no_evidence():
    """A single huge value changes the spread a lot and proves nothing."""
    values = flights(seed=2)["air_time"].to_pylist()
    values[0] = 1e9
    assert not alarms(
        report_tables(flights(), with_column(flights(seed=2), "air_time", pa.array(values)))
    )


def test_a_pii_column_is_compared_by_buckets():
    """A shift of a sensitive column of few values is seen although its values are not kept."""
    before, after = (pa.table({"month": pa.array(np.resize(m, 500))}) for m in ([1, 2], [6, 7]))
    found = report_tables(before, after, sensitivity={})
    assert alarms(found) == {("distribution", "month")}
    assert cause(found, "distribution").effect == pytest.approx(1)


def test_nan_for_null_is_a_remark():
    """NaN where NULL stood is the same data, and is still said."""
    holes = np.arange(500) % 10 == 0
    numbers = np.arange(500.0)
    before = pa.table({"x": pa.array(numbers, mask=holes)})
    after = pa.table({"x": pa.array(np.where(holes, np.nan, numbers))})
    found = report(version(before), version(after, policy="00" * 30))
    assert (found.status, found.is_same_data) == ("stable", True)
    assert cause(found, "nulls").sentence == "x: NaNs 0 % -> 10.0 % of rows, the rest NULL"
    assert cause(found, "nulls").effect == 0


def test_nulls_and_nans_count_together():
    """Where NaNs are among what is missing, the sentence says so."""
    before = pa.table({"x": np.arange(500.0)})
    after = pa.table({"x": np.where(np.arange(500) % 10 == 0, np.nan, np.arange(500.0))})
    assert cause(report_tables(before, after), "nulls").sentence == (
        "x: NULLs and NaNs 0 % -> 10.0 % of rows"
    )


def days(first, count, rows=1_000):
    """Dates from the first day on, each day equally often."""
    return pa.table(
        {
            "at": pa.array(
                np.resize(np.arange(first, first + count, dtype=np.int32), rows), pa.date32()
            )
        }
    )


@pytest.mark.parametrize(
    ("after", "sentence", "drift"),
    [
        (days(15_000, 90), "at: newest value moved on, 2011-01-28 -> 2011-04-25", set()),
        (days(14_974, 29), "at: newest value is still 2011-01-28", set()),
        (days(14_998, 5), "at: newest value is still 2011-01-28", {("distribution", "at")}),
        (
            days(14_900, 50),
            "at: newest value went back, 2011-01-28 -> 2010-12-06",
            {("distribution", "at")},
        ),
    ],
    ids=["moved on", "still", "still, but thinner", "went back"],
)
def test_freshness(after, sentence, drift):
    """A period that moves on is no drift; one that does not is compared like numbers."""
    found = report_tables(days(14_975, 28), after)
    assert cause(found, "freshness", "at").sentence.replace(" 00:00:00", "") == sentence
    assert alarms(found) == drift


def test_a_moment_that_is_pii_or_absent_says_nothing():
    """A sensitive date, and one that is NULL throughout, has no freshness and no drift."""
    nothing = pa.table({"at": pa.nulls(1_000, pa.date32())})
    assert {one.kind for one in report_tables(days(1, 9), days(500, 9), sensitivity={}).causes} == {
        "values"
    }
    assert {one.kind for one in report_tables(days(1, 9), nothing).causes} == {"values", "nulls"}


SCHEMAS = {
    "added": (
        lambda t: t.append_column("extra", pa.array(range(ROWS))),
        "extra: column added", 1,
    ),
    "added, empty": (
        lambda t: t.append_column("extra", pa.nulls(ROWS, pa.string())),
        "extra: column added, NULL throughout", 1,
    ),
    "removed": (lambda t: t.drop_columns(["night"]), "night: column removed", 1),
    "renamed": (
        lambda t: t.rename_columns(["delay", *t.column_names[1:]]),
        "delay: renamed from dep_delay, values same", 1,
    ),
    "retyped, values same": (
        lambda t: with_column(t, "distance", t["distance"].cast(pa.float64())),
        "distance: type changed, values same: int -> float", 0,
    ),
    "retyped": (
        lambda t: with_column(t, "distance", t["distance"].cast(pa.string())),
        "distance: type changed: int -> text", 1,
    ),
    "reordered": (
        lambda t: t.select(t.column_names[::-1]),
        f"{NAME}: columns stand in another order", 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence", "effect"), SCHEMAS.values(), ids=SCHEMAS)
def test_schema(change, sentence, effect):
    """Each change of the schema is said in its own words; those that keep values only remark."""
    found = report_tables(flights(), change(flights()))
    schema = cause(found, "schema")
    assert (schema.sentence, schema.effect) == (sentence, effect)
    assert found.status == ("drifted" if effect else "stable")
    assert len(alarms(found)) == effect
    assert found.is_same_data is (not effect)


def test_one_of_two_equal_columns_is_not_a_rename():
    """Where two removed columns have the values of an added one, nothing is guessed."""
    twins = pa.table({"a": [1, 2], "b": [1, 2]})
    found = report_tables(twins, pa.table({"c": [1, 2]}))
    assert sorted(one.sentence for one in found.causes if one.kind == "schema") == [
        "a: column removed", "b: column removed", "c: column added",
    ]  # fmt: skip


def test_columns_of_one_name_are_told_apart():
    """The second of two columns of one name is compared with the second."""
    before = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 4])], ["x", "x"])
    after = pa.Table.from_arrays([pa.array([1, 2]), pa.array([3, 5])], ["x", "x"])
    found = report_tables(before, after)
    assert cause(found, "values").sentence == f"{NAME}: 1 of 2 columns hold other values: x"


def test_rows_that_pair_values_otherwise_are_drift():
    """Where each column keeps its values but rows combine others, that is said and is drift."""
    table = flights()
    turned = with_column(table, "night", table["night"].take(pa.array(range(ROWS - 1, -1, -1))))
    found = report_tables(table, turned)
    assert [one.kind for one in found.causes] == ["pairing"]
    assert found.status == "drifted"


def test_a_digest_that_was_not_kept_is_not_equal():
    """A column whose digest is withheld counts as changed, never as the same."""
    withheld = [
        replace(one, columns=tuple((n, t, "", k) for n, t, _, k in one.columns))
        for one in (version(flights()), version(flights(seed=2)))
    ]
    found = report(*withheld)
    assert cause(found, "values").detail == {"columns": flights().column_names}
    assert "pairing" not in {one.kind for one in found.causes}


def test_rows():
    """Rows are said whenever they differ, and are drift beyond a fifth."""
    few, more, many = (flights(seed, rows) for seed, rows in enumerate((4_000, 4_400, 8_000)))
    remark, drift = (cause(report_tables(few, one), "rows") for one in (more, many))
    assert (remark.sentence, remark.effect) == (f"{NAME}: rows 4,000 -> 4,400 (+10.0 %)", 0)
    assert (drift.sentence, drift.effect) == (f"{NAME}: rows 4,000 -> 8,000 (+100.0 %)", 0.5)
    assert "(-50.0 %)" in cause(report_tables(many, few), "rows").sentence


def test_empty_results_compare():
    """A result without rows can be compared with one that has some, in either direction."""
    empty = flights(rows=0)
    for before, after in ((empty, flights()), (flights(), empty)):
        found = report_tables(before, after)
        assert alarms(found) == {("rows", NAME)}
    assert report_tables(empty, empty).status == "stable"


def test_types_that_do_not_compare_are_left_at_their_schema():
    """A text that became a number is a schema change; their distributions are not compared."""
    before = pa.table({"x": [str(n) for n in range(100)]})
    after = pa.table({"x": np.arange(100) + 0.5})
    assert alarms(report_tables(before, after)) == {("schema", "x")}


# ---- circumstances and outcome

CIRCUMSTANCES = {
    "statement": (
        {"statement": "SELECT * FROM flights", "statement_mac": "5b"},
        f"{NAME}: the statement differs",
    ),
    "literals": (
        {"statement_mac": "5b"},
        f"{NAME}: the statement differs in its literals or spacing",
    ),
    "binds": ({"binds_mac": "b2"}, f"{NAME}: other values are bound to month: int"),
    "other binds": (
        {"binds": (), "binds_mac": ""},
        f"{NAME}: binds month: int -> none",
    ),
    "policy": ({"policy": "77aa01" * 10}, "policy 3f9c1e3f9c1e -> 77aa0177aa01"),
    "masks": (
        {"masked": {"tailnum": "redact pii.id"}},
        "tailnum: mask none -> redact pii.id",
    ),
    "connection": (
        {"connection": "ops", "dialect": "sqlite"},
        f"{NAME}: read from warehouse (duckdb) -> ops (sqlite)",
    ),
    "tables": ({"tables": ()}, f"{NAME}: reads main.flights -> no table"),
}


@pytest.mark.parametrize(("facts", "sentence"), CIRCUMSTANCES.values(), ids=CIRCUMSTANCES)
def test_circumstances(facts, sentence):
    """Each circumstance that differs is named, and none of them makes the data drift."""
    found = report(version(flights()), version(flights(), **facts))
    said = [one.sentence for one in found.causes]
    assert sorted(said) == sorted([f"{NAME}: identical to last time", sentence])
    assert (found.status, found.is_same_data) == ("stable", True)


RUNS = {
    "params": (
        {"params": {"depth": "6", "gone": "1", "same": "x"}},
        {"params": {"depth": "8", "same": "x", "long": "y" * 99}},
        [
            "depth: 6 -> 8",
            "gone: 1 -> not set",
            "long: not set -> " + "y" * 57 + "...",
        ],
    ),
    "code": (
        {"code": {"commit": "1a2b3c4d5e6f7a8b", "dirty": "false"}},
        {"code": {"commit": "9f8e7d6c5b4a3210", "dirty": "false"}},
        ["code: commit 1a2b3c4d5e6f -> 9f8e7d6c5b4a"],
    ),
    "code not recorded": ({"code": {}}, {"code": {"commit": "9f8e"}}, []),
    "packages": (
        {"packages": {"numpy": "1.26", "pandas": "2.2"}},
        {"packages": {"numpy": "2.4", "polars": "1.2"}},
        ["packages: numpy 1.26 -> 2.4, pandas 2.2 -> not installed, polars not installed -> 1.2"],
    ),
    "packages not recorded": ({"packages": {}}, {"packages": {"numpy": "2.4"}}, []),
    "metrics": (
        {"metrics": {"auc": 0.9258, "f1": 0.5, "gone": 1.0, "nan": float("nan")}},
        {"metrics": {"auc": 0.9062, "f1": 0.5, "nan": float("nan")}},
        ["auc: 0.9258 -> 0.9062 (-0.0196)"],
    ),
}


@pytest.mark.parametrize(("before", "after", "sentences"), RUNS.values(), ids=RUNS)
def test_runs(before, after, sentences):
    """Parameters, code, packages and metrics that differ are named; unrecorded ones are not."""
    same = version(flights())
    found = report(same, same, before, after)
    assert [one.sentence for one in found.causes[1:]] == sentences
    assert found.status == "stable"


def test_the_verdict_names_what_else_changed():
    """The verdict tells the first cause, how many more there are, and what else changed."""
    after = version(scaled("air_time", 60)(flights()), policy="00" * 30)
    found = report(version(flights()), after, {"params": {"a": "1"}}, {"params": {"a": "2"}})
    assert found.verdict == (
        f"Drifted: {found.causes[0].sentence}, and 1 more change of the data. "
        "Also changed: policy, params."
    )
    assert (found.baseline, found.current) == ("winter", "summer")
    stable = report_tables(flights(), flights(seed=2))
    assert stable.verdict == "Stable: the rows are others, and nothing drifted."


def test_causes_are_ranked():
    """Data comes before circumstances and outcome, and the larger effect before the smaller."""
    table = nulled("distance", 50)(scaled("air_time", 60)(flights(seed=2, rows=ROWS)))
    after = version(table.append_column("extra", pa.array(range(ROWS))), policy="00" * 30)
    found = report(version(flights()), after, {"metrics": {"a": 1}}, {"metrics": {"a": 2}})
    groups = [
        ["inputs", "rows", "schema", "pairing", "values", "nulls", "levels", "distribution",
         "tail", "freshness"],
        ["statement", "binds", "policy", "masks", "params", "code", "packages"],
        ["metrics"],
    ]  # fmt: skip
    assert list(KINDS) == [kind for group in groups for kind in group]
    places = [
        (next(i for i, group in enumerate(groups) if one.kind in group), -one.effect)
        for one in found.causes
    ]
    assert places == sorted(places)
    assert len({place for place, _ in places}) == 3
    assert [one.subject for one in found.causes[:3]] == ["extra", "air_time", "air_time"]


def test_a_report_is_json():
    """A report turns into JSON with all its parts."""
    found = report_tables(flights(), scaled("air_time", 60)(flights()))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert sorted(told) == ["baseline", "causes", "current", "is_same_data", "status", "verdict"]
    assert sorted(told["causes"][0]) == ["detail", "effect", "kind", "sentence", "subject"]
    assert told["causes"][0]["detail"]["factor"] == pytest.approx(60)


# ---- inputs


def bound(one, context="training", via="autolog"):
    return RunInput(one.name, one.version_id, context, via)


def test_inputs_pair_by_name_in_any_order():
    """Inputs are compared with those of their name, and columns say whose they are."""
    weather = version(flights(seed=5), name="weather")
    hot = version(scaled("air_time", 60)(flights(seed=6)), name="weather")
    found = report([version(flights()), weather], [hot, version(flights(seed=2))])
    assert {subject for _, subject in alarms(found)} == {"weather.air_time"}
    assert found.causes[0].sentence.startswith("weather.air_time: distribution moved")


def test_inputs_of_one_name_pair_by_context():
    """Training and validation reads of one dataset are compared each with its own."""
    first, second = version(flights()), version(flights(seed=2))
    both = (bound(first), bound(second, "validation"))
    runs = run("winter", *both), run("summer", *both[::-1])
    found = compare(*runs, {one.version_id: one for one in (first, second)})
    assert found.is_same_data is True
    assert {one.subject for one in found.causes} == {f"{NAME} (training)", f"{NAME} (validation)"}


def test_an_input_under_another_name_pairs_by_order():
    """An input without a namesake is compared with the one that stood in its place."""
    found = report(version(flights()), version(flights(), name="flights_v2"))
    assert cause(found, "inputs").sentence == (
        f"flights_v2: compared with {NAME}, which stood in its place"
    )
    assert found.is_same_data is True


def test_an_input_that_one_run_lacks_is_drift():
    """An input that only one run has is named, with the run, and the data is not the same."""
    base, more = version(flights()), version(flights(seed=3), name="weather")
    gone, came = report([base, more], base), report(base, [base, more])
    assert cause(gone, "inputs").sentence == "weather: an input of the baseline only"
    assert cause(came, "inputs").sentence == "weather: an input of the current run only"
    assert (
        (gone.status, gone.is_same_data) == (came.status, came.is_same_data) == ("drifted", False)
    )


def test_what_was_merely_read_does_not_count_beside_what_was_trained_on():
    """Reads of the session are compared only where nothing firmer is known."""
    used, read = version(flights()), version(flights(seed=3), name="weather")
    kept = {one.version_id: one for one in (used, read)}
    firm = compare(run("a", used), run("b", used, bound(read, via="session")), kept)
    loose = compare(
        run("a", bound(read, via="session")), run("b", bound(read, via="session")), kept
    )
    assert firm.is_same_data is loose.is_same_data is True


def test_without_data_the_answer_is_unknown():
    """A run without governed inputs makes the answer unknown; the rest is still told."""
    bare = run("winter", params={"a": "1"})
    found = compare(bare, run("summer", version(flights()), params={"a": "2"}), {})
    assert (found.status, found.is_same_data) == ("unknown", None)
    assert found.verdict == ("Unknown: no governed input is bound to winter. Also changed: params.")
    assert [one.kind for one in found.causes] == ["params"]


def test_a_version_that_is_not_kept_is_unknown_unless_it_is_the_same():
    """An id settles sameness even where the version itself is gone; otherwise nothing is known."""
    first, second = version(flights()), version(flights(seed=2))
    same = compare(run("a", first), run("b", first), {})
    lost = compare(run("a", first), run("b", second), {second.version_id: second})
    assert (same.status, same.is_same_data) == ("stable", True)
    assert (lost.status, lost.is_same_data) == ("unknown", None)
    assert lost.verdict == (f"Unknown: the dataset store does not hold both versions of {NAME}.")


def test_without_a_profile_other_rows_are_unknown():
    """Other rows without statistics are no drift and no stability."""
    before, after = version(flights(), profile={}), version(flights(seed=2), profile={})
    found = report(before, after)
    assert (found.status, found.is_same_data) == ("unknown", False)
    assert found.verdict == f"Unknown: the rows are others, and there is no profile of {NAME}."


def test_a_run_without_a_name_goes_by_its_id():
    """The report calls a run by its name, or else by its id."""
    nameless = replace(run("r1", version(flights())), name="")
    assert compare(nameless, nameless, {}).baseline == "r1"


def test_drift_loads_no_heavy_product():
    """Drift needs neither scipy nor pandas."""
    program = "import sys, nbgov.core.drift; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "pyarrow" in loaded
    assert not loaded & {"scipy", "pandas", "mlflow", "datasketches"}


@pytest.mark.parametrize(
    ("before", "after", "is_cause"),
    [("a b", "a b c", False), ("a b c", "a b", False), ("", "a", False), ("a b", "a c", True)],
)
def test_a_notebook_that_went_on_is_no_other_code(before: str, after: str, is_cause: bool) -> None:
    """Cells that were added behind the others are no cause; a cell that changed is one."""
    left, right = (
        Run(name, name, (), {}, {}, code={"cells": cells, "commit": "c"})
        for name, cells in (("one", before), ("two", after))
    )
    kinds = {cause.kind for cause in compare(left, right, {}).causes}
    assert ("code" in kinds) is is_cause
