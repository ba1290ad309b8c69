"""The comparison of two runs: rules, identity, circumstances, and the report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.drift import compare
from nbgov.core.drift.distances import association, stability
from nbgov.core.drift.evidence import chi2_tail, kolmogorov_tail, normal_tail, proportions_tail
from nbgov.model import Run, RunInput
from tests.core.drift_scene import (
    NAME,
    ROWS,
    alarms,
    cause,
    flights,
    report,
    report_tables,
    run,
    version,
    with_column,
)

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


# ---- what a pii profile tells


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
    """Random halves of one table do not drift, open or not: of 15 pairs at most one is called drifted."""
    whole = flights(seed=4, rows=2 * rows)
    found = []
    for seed in range(15):
        order = np.random.default_rng(seed).permutation(2 * rows)
        halves = [whole.take(pa.array(side)) for side in (order[:rows], order[rows:])]
        found.append(report_tables(*halves, sensitivity=None if is_open else {}))
    assert {one.is_same_data for one in found} == {False}
    assert sum(one.status == "drifted" for one in found) <= 1


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
    return with_column(table, "tailnum", pa.array([f"N{n:020d}" for n in range(ROWS)]))


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
        "unit",
        "air_time",
        r"air_time: all values times 60, a change of unit\? PSI \S+, median \S+ -> \S+",
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
        f"{NAME}: WHERE: condition `month = :month` is gone",
    ),
    "spelling": (
        {"statement_mac": "5b"},
        f"{NAME}: only the spelling of the statement differs",
    ),
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
    """Each circumstance that differs is named; over the same rows it can matter to nothing."""
    found = report(version(flights()), version(flights(), **facts))
    said = [one.sentence for one in found.causes]
    assert said == [sentence, f"{NAME}: identical to last time"]
    assert {one.effect for one in found.causes} == {0}
    assert (found.status, found.is_same_data) == ("stable", True)


def test_other_values_that_give_the_same_rows_are_stale():
    """Bound values that differ should give other rows; that they did not is said first."""
    found = report(version(flights()), version(flights(), binds_mac="b2"))
    assert [(one.kind, one.effect) for one in found.causes] == [("freshness", 1), ("binds", 0)]
    told = f"{NAME}: identical to last time, although other values are bound to month: int"
    assert found.causes[0].sentence == told
    assert found.verdict == f"Same data: every input holds the same rows. Stale: {told}."
    assert (found.status, found.holds) == ("stable", ())


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
    said = [one.sentence for one in found.causes]
    assert said.count(f"{NAME}: identical to last time") == 1
    assert [one for one in said if not one.endswith("to last time")] == sentences
    assert found.status == "stable"


def test_the_verdict_names_what_else_changed():
    """The verdict tells the first cause, how many more there are, and what else changed."""
    table = nulled("distance", 20)(scaled("air_time", 60)(flights(2)))
    after = version(table, policy="00" * 30)
    found = report(version(flights()), after, {"params": {"a": "1"}}, {"params": {"a": "2"}})
    assert found.verdict == (
        f"Drifted: {found.causes[0].sentence}, and 1 more change of the data. "
        "Also changed: params, policy."
    )
    assert (found.baseline, found.current) == ("winter", "summer")
    stable = report_tables(flights(), flights(seed=2))
    assert stable.verdict == "Stable: the rows are others, and nothing drifted."


def test_a_report_is_json():
    """A report turns into JSON with all its parts."""
    found = report_tables(flights(), scaled("air_time", 60)(flights()))
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert sorted(told) == [
        "baseline", "causes", "current", "holds", "is_same_data", "status", "verdict",
    ]  # fmt: skip
    assert sorted(told["causes"][0]) == [
        "because", "detail", "effect", "kind", "sentence", "subject",
    ]  # fmt: skip
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
    assert found.causes[0].sentence.startswith("weather.air_time: all values times 60")


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
