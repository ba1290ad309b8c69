"""Profiles: their figures, the laws of a fold, what each level of sensitivity keeps, and sketches."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbgov.core.drift.labels import HEAVY_MAX, LABELS_MAX, LabelFold
from nbgov.core.drift.profile import BUCKET_ROWS_MIN, Profiler, bucket_mark, without_rare
from nbgov.core.drift.quantiles import RANK_ERROR, QuantileSketch, read_distribution
from nbgov.core.fingerprint import cell_hashes
from nbgov.errors import IntegrityFailed
from tests.core.drift_scene import ROWS, flights, profile
from tests.reference.arrow_tables import batch_of


def column(table, name, **options):
    found = profile(table, **options)["columns"]
    return next(one for one in found if one["name"] == name)


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


def test_the_share_outside_of_bounds():
    """What lies below or above two bounds is a share of rows, the bounds themselves inside."""
    sketch = QuantileSketch()
    sketch.update(np.arange(100.0))
    found = read_distribution(sketch.finish())
    assert found.outside(0, 99) == pytest.approx(0)
    assert found.outside(10, 89) == pytest.approx(0.2)
    assert found.outside(-5, 49) == pytest.approx(0.5)


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
    "no moment": (pa.nulls(3, pa.date32()), None, None),
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


@pytest.mark.parametrize("level", ["open", "internal", "pii"])
def test_every_type_has_a_profile(level):
    """Every table among the fingerprint vectors, of whatever types, has a profile."""
    path = Path(__file__).parents[1] / "vectors" / "fingerprint.json"
    for vector in json.loads(path.read_text(encoding="utf-8")):
        batch = batch_of(vector["columns"], vector["rows"])
        profiler = Profiler(dict.fromkeys(batch.schema.names, level))
        profiler.update(batch)
        found = json.loads(json.dumps(profiler.finish(), allow_nan=False))
        missing = [one["nulls"] + one["nans"] for one in found["columns"]]
        assert missing == [batch.num_rows - one[3] for one in vector["fingerprint"]["columns"]]
        again = Profiler.from_state(json.loads(json.dumps(profiler.state(), allow_nan=False)))
        assert again.finish() == profiler.finish()


@st.composite
def parts(draw):
    rows = draw(st.integers(1, 60))
    table = flights(seed=draw(st.integers(0, 99)), rows=rows)
    cut = draw(st.integers(0, rows))
    sensitivity = dict.fromkeys(draw(st.sets(st.sampled_from(table.column_names))), "open")
    return table, cut, sensitivity


def folded(table, sensitivity, key=b""):
    profiler = Profiler(sensitivity, key=key)
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
    travelled = [Profiler.from_state(json.loads(json.dumps(one.state()))) for one in (left, right)]
    assert travelled[0].merge(travelled[1]).finish() == left.merge(right).finish()


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
        with pytest.raises(IntegrityFailed, match="differ in columns, sensitivity or key"):
            folded(numbers, {}).merge(other)
    with pytest.raises(IntegrityFailed, match="differ in columns, sensitivity or key"):
        folded(numbers, {}).merge(folded(numbers, {}, key=b"k"))


def test_hashes_made_elsewhere_are_taken():
    """Cell hashes that the caller already made give the same profile."""
    [batch] = flights(rows=50).combine_chunks().to_batches()
    given_hashes = Profiler({})
    given_hashes.update(batch, [cell_hashes(one) for one in batch.columns])
    assert given_hashes.finish() == folded(flights(rows=50), {}).finish()


# ---- what a pii profile tells


def test_a_pii_profile_has_counts_only():
    """Every word but ``open`` and ``internal``, and no word, keeps counts and nothing else."""
    for level in ("pii", "INTERNAL", "OPEN", None):
        sensitivity = {} if level is None else dict.fromkeys(flights().column_names, level)
        for one in profile(flights(), sensitivity)["columns"]:
            assert set(one) == {
                "name", "type", "level", "nulls", "nans", "distinct", "lengths", "buckets",
                "bucket_key",
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


# ---- internal columns


def test_an_internal_column_hides_rare_labels():
    """An internal column keeps figures like an open one, and labels that 20 rows have."""
    labels = pa.array(["often"] * 20 + ["rare"] * 19 + [None])
    numbers = pa.array([7] * 20 + list(range(1_000, 1_020)))
    table = pa.table({"x": labels, "n": numbers})
    opened, internal = (profile(table, dict.fromkeys("xn", one)) for one in ("open", "internal"))
    assert [one["level"] for one in internal["columns"]] == ["internal"] * 2
    assert opened["columns"][0]["labels"] == [["often", 20], ["rare", 19]]
    assert opened["columns"][0]["labels_are_all"] is True
    assert internal["columns"][0]["labels"] == [["often", 20]]
    assert internal["columns"][0]["labels_are_all"] is False
    assert opened["columns"][1]["heavy"][:2] == [["7", 20], ["1000", 1]]
    assert internal["columns"][1]["heavy"] == [["7", 20]]
    same = [
        {k: v for k, v in one["columns"][1].items() if k not in {"level", "heavy"}}
        for one in (opened, internal)
    ]
    assert same[0] == same[1]


# ---- heavy hitters


@settings(max_examples=60)
@given(st.data())
def test_no_count_is_too_high_or_too_low_by_more_than_the_error(data):
    """Counters of frequent labels keep their bound, in batches and merged in any tree."""
    chance = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    values = chance.zipf(data.draw(st.sampled_from([1.1, 1.5, 2.5])), 3_000) % 5_000
    folds = []
    for part in np.array_split(values, data.draw(st.integers(1, 5))):
        fold = LabelFold()
        for batch in np.array_split(part, data.draw(st.integers(1, 4))):
            fold.update(pa.array(batch.astype(str)))
        folds.append(fold)
    while len(folds) > 1:
        left, right = (folds.pop(data.draw(st.integers(0, len(folds) - 1))) for _ in range(2))
        left.merge(right)
        folds.append(left)
    [found] = folds
    labels, counts = np.unique(values.astype(str), return_counts=True)
    true = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    assert found.error <= len(values) / LABELS_MAX
    assert len(found.counts) <= LABELS_MAX
    assert all(true[label] - found.error <= n <= true[label] for label, n in found.counts.items())
    assert {label for label, n in true.items() if n > found.error} <= set(found.counts)
    assert found.is_exact == (dict(found.counts) == true)


def test_frequent_values_are_told_of_columns_with_many():
    """A default value among a thousand others is told, of texts, numbers and decimals."""
    many = list(range(1_000))
    for values, label in (
        (pa.array([str(n) for n in many] + ["none"] * 500), "none"),
        (pa.array([*many, *[-999] * 500]), "-999"),
        (pa.array([n + 0.5 for n in many] + [-1.5] * 500), "-1.5"),
        (pa.array([Decimal(n) for n in many] + [Decimal(-1)] * 500, pa.decimal128(9, 2)), "-1"),
    ):
        found = column(pa.table({"x": values}), "x", batch_rows=700)
        [told] = [count for told, count in found["heavy"] if told == label]
        assert 500 - found["heavy_error"] <= told <= 500
        assert found["heavy_error"] <= len(values) / LABELS_MAX
        assert len(found["heavy"]) <= HEAVY_MAX
        assert found.get("labels") is None


def test_what_is_no_label_is_not_counted():
    """NULL, NaN and long texts are no heavy hitters; moments and lists have none."""
    floats = pa.array([float("nan")] * 50 + [None] * 50 + [0.5])
    assert column(pa.table({"x": floats}), "x")["heavy"] == [["0.5", 1]]
    long = pa.array(["x" * 65] * 9 + ["short"])
    assert column(pa.table({"x": long}), "x")["heavy"] == [["short", 1]]
    for array in (pa.array([0], pa.timestamp("s")), pa.array([[1]])):
        assert "heavy" not in column(pa.table({"x": array}), "x")


# ---- states and keys


DAMAGED = {
    "no columns": {"rows": 1},
    "no object": {"rows": 1, "columns": [1]},
    "three words": {"rows": 1, "columns": [{"identity": ["x", "int", "pii"]}]},
}


@pytest.mark.parametrize("state", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_state_is_refused(state):
    """What no fold wrote is refused."""
    with pytest.raises(IntegrityFailed, match="profile is damaged") as caught:
        Profiler.from_state(state)
    assert caught.value.code == "digests-disagree"


def test_nothing_merges_with_nothing():
    """A fold that saw no batch, or its state, is neutral."""
    nothing = Profiler.from_state(Profiler({}).state())
    table = folded(pa.table({"x": [1]}), {})
    assert nothing.merge(table).finish() == table.merge(nothing).finish() == table.finish()
    assert nothing.finish()["columns"] == []


def test_a_key_moves_the_buckets_of_pii_columns_alone():
    """Buckets of pii columns depend on the key and carry its mark; equal keys give equal profiles."""
    table = flights(rows=3_000)
    keys = b"", b"one key", b"another key"
    found = {key: folded(table, {"carrier": "open"}, key=key).finish()["columns"] for key in keys}
    for place, name in enumerate(table.column_names):
        told = [found[key][place] for key in keys]
        if name == "carrier":
            assert told[0] == told[1] == told[2]
            continue
        assert [one["bucket_key"] for one in told] == [bucket_mark(key) for key in keys]
        if name != "night":  # Two values may fall into equal buckets under two keys.
            assert len({json.dumps(one["buckets"]) for one in told}) == 3
        assert len({json.dumps(one["lengths"]) for one in told}) == 1
    assert folded(table, {}, key=b"k").finish() == folded(table, {}, key=b"k").finish()
    assert len({bucket_mark(key) for key in keys}) == 3
