"""Which cause stands first, what follows from what, what is certain, stale, or held."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nbgov.core.drift import compare
from nbgov.core.drift.circumstances import is_seed
from nbgov.core.drift.columns import ColumnPair
from nbgov.core.drift.quantiles import QuantileSketch, read_distribution
from nbgov.core.drift.shapes import shape_of
from nbgov.core.drift.units import UnitChange, unit_change
from nbgov.model import (
    ColumnTerms,
    DriftTerms,
    FreshnessTerms,
    SourceVersion,
)
from tests.core.drift_scene import (
    NAME,
    ROWS,
    alarms,
    bound,
    cause,
    flights,
    report,
    report_bound,
    report_tables,
    run,
    version,
    with_column,
)

ASKED = "SELECT * FROM flights WHERE month = :month"
NARROW = {
    "statement": "SELECT * FROM flights WHERE month = :month AND night",
    "statement_mac": "5b",
}
LONG_FLIGHTS = pc.field("distance") > 2_500


def times(name, factor, table=None):
    table = flights(2) if table is None else table
    return with_column(table, name, pc.multiply(table[name].cast(pa.float64()), factor))


def kinds(found):
    return [one.kind for one in found.causes if one.effect]


def mark(table, text, kind="postgresql-relation", changed_at=None):
    return SourceVersion(table, kind, text, changed_at)


# ---- what follows from what


def test_a_condition_explains_rows_and_columns():
    """Another WHERE clause stands first, and everything that it did follows from it."""
    after = version(flights().filter(LONG_FLIGHTS), **NARROW)
    found = report(version(flights()), after)
    first = found.causes[0]
    assert (first.kind, first.sentence) == (
        "statement", f"{NAME}: WHERE: condition `night` was added",
    )  # fmt: skip
    assert {one.because for one in found.causes if one.is_drift} == {"statement"}
    assert {one.kind for one in found.causes if one.is_drift} >= {"rows", "distribution"}
    follow = sum(one.is_drift for one in found.causes)
    assert found.verdict == (
        f"Drifted: {first.sentence}; {follow} changes of the data follow from it."
    )


def test_an_expression_explains_its_column_only():
    """What a changed expression cannot have done stands for itself."""
    table = times("air_time", 60, times("distance", 1.6))
    before = {"statement": "SELECT air_time, distance FROM flights"}
    after = {"statement": "SELECT air_time * ? AS air_time, distance FROM flights"}
    found = report(
        version(flights(), **before), version(table, **after, statement_mac="5b", literals=("d",))
    )
    assert cause(found, "unit", "air_time").because == "statement"
    assert cause(found, "unit", "distance").because == ""
    assert "1 change of the data follows from it, 1 more does not." in found.verdict


def test_a_mask_explains_its_column_only():
    """The column that is masked follows from the mask; another one does not, nor does a policy."""
    table = with_column(flights(2), "tailnum", pa.array(["***"] * ROWS))
    table = with_column(table, "night", pa.array(np.arange(ROWS) % 2 == 0))
    masked = {"tailnum": "redact pii", "gone": "null"}
    found = report(version(flights()), version(table, masked=masked, policy="0" * 60))
    assert cause(found, "levels", "tailnum").because == "masks"
    assert cause(found, "distribution", "night").because == ""
    assert [one.kind for one in found.causes[:2]] == ["masks", "levels"]
    assert cause(found, "policy").effect == 0
    assert found.verdict.endswith("Also changed: policy.")
    same = version(with_column(flights(2), "night", flights()["night"]), masked={"night": "keep"})
    assert cause(report(version(flights()), same), "masks").effect == 0


def test_bound_values_and_another_place_explain_all():
    """Other bound values explain the rows; so does another connection or another table."""
    after = flights(2).filter(LONG_FLIGHTS)
    for facts, kind in (
        ({"binds_mac": "b2"}, "binds"),
        ({"binds": ("month: text",), "binds_mac": "b2"}, "binds"),
        ({"connection": "ops"}, "inputs"),
        ({"tables": ("main.later",)}, "inputs"),
    ):
        found = report(version(flights()), version(after, **facts))
        assert found.causes[0].kind == kind
        assert {one.because for one in found.causes[1:] if one.is_drift} == {kind}


def test_rows_that_went_explain_what_is_left():
    """Where rows are gone and nothing else, every other change follows from that, few or many."""
    few = flights().filter(pc.field("distance") > 800)
    found = report_tables(flights(), few)
    assert found.causes[0].kind == "rows"
    assert found.causes[0].sentence.endswith("nothing but rows gone")
    assert found.causes[0].effect == pytest.approx(1 - few.num_rows / ROWS)
    assert cause(found, "distribution", "distance").because == "rows"
    back = report_tables(few, flights())
    assert cause(back, "rows").sentence.endswith("nothing but rows added")
    mixed = report_tables(flights(), times("air_time", 60).filter(pc.field("distance") > 800))
    assert cause(mixed, "unit").because == ""
    opposite = times("air_time", 1 / 60).filter(LONG_FLIGHTS)
    assert not cause(report_tables(flights(), opposite), "rows").detail["is_nested"]


def test_rows_are_no_part_of_others_by_too_little():
    """A tenth of the rows proves nothing, nor do tables without a common column or type."""
    tenth = flights().slice(0, 400)
    assert not cause(report_tables(flights(), tenth), "rows").detail["is_nested"]
    other = pa.table({"y": [1, 2, 3]})
    assert not cause(report_tables(pa.table({"x": [1, 2]}), other), "rows").detail["is_nested"]
    retyped = pa.table({"x": ["1", "2", "3"]})
    assert not cause(report_tables(pa.table({"x": [1, 2]}), retyped), "rows").detail["is_nested"]


def test_the_policy_explains_rows_where_nothing_else_can():
    """A filter of the policy is in no version; with the sources as they were, it is what is left."""
    before, after = version(flights()), version(flights().filter(LONG_FLIGHTS), policy="0" * 60)
    same = {"sources": (mark("main.flights", "1"),)}
    for facts in (same, {}):
        found = report_bound(before, after, facts, facts)
        assert found.causes[0].kind == "policy"
        assert found.causes[0].sentence.endswith("which may filter other rows")
        assert {one.because for one in found.causes if one.is_drift} == {"policy"}
        assert len([one for one in found.causes if one.kind == "policy"]) == 1
    moved = {"sources": (mark("main.flights", "2"),)}
    found = report_bound(before, after, same, moved)
    assert cause(found, "policy").effect == 0
    asked = replace(after, **NARROW)
    assert cause(report(before, asked), "policy").effect == 0
    masked = replace(after, masked={"night": "null"})
    assert cause(report(before, masked), "policy").effect == 0


# ---- what is certain


def flipped(table):
    """The table with one label of 40 turned over, which keeps their shares."""
    is_other = pa.array(np.arange(ROWS) % 40 == 0)
    night = pc.if_else(is_other, pc.invert(table["night"]), table["night"])
    return with_column(table, "night", night)


def test_labels_that_changed_alone_are_certain():
    """Other labels for the same features are seen by digests, however alike their shares are."""
    table = flights()
    before, after = version(table), version(flipped(table))
    labels = {"labels": ("night",)}
    found = report_bound(before, after, labels, labels)
    assert found.causes[0].sentence == "night: other labels for the same features"
    assert (found.status, found.causes[0].kind) == ("drifted", "labels")
    assert found.holds[0] == "labels: night: other labels for the same features"
    unnamed = report(before, after)
    assert unnamed.causes[0].sentence == f"{NAME}: other values in the same rows: night"
    assert (unnamed.causes[0].kind, unnamed.status) == ("values", "drifted")
    assert unnamed.holds[0] == f"values: {unnamed.causes[0].sentence}"


def test_labels_that_changed_with_a_feature():
    """Where features changed as well, the labels still belong to the same rows."""
    table = flights()
    changed = with_column(table, "night", pc.invert(table["night"]))
    changed = with_column(changed, "distance", pc.add(table["distance"], 1))
    labels = {"labels": ("night",)}
    found = report_bound(version(table), version(changed), labels, labels)
    told = [one.sentence for one in found.causes if one.kind == "labels"]
    assert f"night: other labels for the same rows as {NAME} had" in told
    assert cause(found, "values").subject == "distance"


def withheld(one, name, digest, **facts):
    """A version of which the digest of a column is kept otherwise."""
    columns = tuple((n, k, digest if n == name else d, c) for n, k, d, c in one.columns)
    return replace(one, columns=columns, **facts)


@pytest.mark.parametrize(
    ("digests", "tags"),
    [(("", ""), {}), (("", "ab" * 8), {}), (("ab" * 8, "cd" * 8), {"carrier": ("pii.name",)})],
    ids=["neither kept", "one kept", "one an image"],
)
def test_what_cannot_be_compared_is_no_certain_cause(digests, tags):
    """Beside a column that did change, a digest that says nothing accuses no other column."""
    table = flights()
    before = withheld(version(table), "carrier", digests[0])
    after = withheld(version(flipped(table)), "carrier", digests[1], tags=tags)
    assert cause(report(before, after), "values").detail == {
        "columns": ["night"], "is_certain": True,
    }  # fmt: skip
    labels = {"labels": ("night",)}
    found = report_bound(before, after, labels, labels)
    assert found.causes[0].sentence == f"night: other labels for the same rows as {NAME} had"


def test_a_column_that_is_null_throughout_is_equal_without_a_digest():
    """A mask that leaves NULLs leaves few values, so that no digest is kept, and nothing to doubt."""
    empty = with_column(flights(), "carrier", pa.nulls(ROWS, pa.string()))
    before, after = (withheld(version(one), "carrier", "") for one in (empty, flipped(empty)))
    labels = {"labels": ("night",)}
    found = report_bound(before, after, labels, labels)
    assert found.causes[0].sentence == "night: other labels for the same features"


def test_the_distribution_of_labels_is_one_of_labels():
    """What the rules find of a label is of kind labels, and a change of role is one too."""
    table = with_column(flights(2), "night", pa.array(np.arange(ROWS) % 2 == 0))
    labels = {"labels": ("night",)}
    found = report_bound(version(flights()), version(table), labels, labels)
    assert found.causes[0].detail["rule"] == "distribution"
    assert kinds(found) == ["labels"]
    roles = report_bound(version(flights()), version(flights(2)), labels, {"labels": ("carrier",)})
    assert cause(roles, "labels").sentence == f"{NAME}: learns to predict night -> carrier"


def test_few_equal_columns_are_no_proof():
    """Rows that were drawn anew may have an equal column of two values by chance."""
    flags = np.arange(300) % 2 == 0
    before, after = (
        pa.table({"flag": flags, "x": np.random.default_rng(seed).normal(size=300)})
        for seed in (1, 2)
    )
    found = report_tables(before, after)
    assert (found.status, cause(found, "values").effect) == ("stable", 0)


# ---- what the model leans on


def test_importance_settles_the_order():
    """The larger change of a column that the model does not lean on stands behind the others."""
    after = version(times("air_time", 60), policy="0" * 60)
    leaning = {"importance": {"distance": 0.6, "dep_delay": 0.4, "carrier": 0.0}}
    found = report(version(flights()), after, leaning | {"params": {"a": "1"}}, leaning)
    assert [(one.kind, one.subject) for one in found.causes if one.effect] == [
        ("params", "a"), ("unit", "air_time"),
    ]  # fmt: skip
    both = {"importance": {"air_time": 0.1, "distance": 0.9}}
    table = with_column(times("air_time", 60), "distance", pc.add(flights(2)["distance"], 2_000))
    found = report(version(flights()), version(table), both, both)
    assert found.causes[0].subject == "distance"
    assert cause(found, "unit").subject == "air_time"


def test_importance_of_other_names_is_none():
    """Importance that names no column of the input leaves effects alone to decide."""
    strange = {"importance": {"x0": 0.9, "x1": 0.1}}
    found = report(version(flights()), version(times("air_time", 60)), strange, strange)
    assert found.causes[0].subject == "air_time"
    nothing = {"importance": {"air_time": 0.0}}
    found = report(version(flights()), version(times("air_time", 60)), nothing, nothing)
    assert found.causes[0].subject == "air_time"


def test_labels_are_leaned_on():
    """A label has no importance, and matters most; so do the rows."""
    leaning = {"importance": {"air_time": 1.0}}
    table = with_column(flights(2), "night", pa.array(np.arange(ROWS) % 2 == 0))
    schema = table.append_column("extra", pa.array(range(ROWS)))
    labels = {"labels": ("night",)}
    found = report_bound(version(flights()), version(schema), labels, labels, runs=leaning)
    assert [one.kind for one in found.causes if one.is_drift] == ["labels", "schema"]
    gone = with_column(flights(2), "night", pa.array(["x"] * ROWS))
    found = report_bound(version(flights()), version(gone), labels, labels, runs=leaning)
    assert found.causes[0].kind == "schema"


def test_what_works_by_itself_has_an_order():
    """Beside the data stand models, parameters, code, packages, environment, seeds, machine."""
    sides = [
        {
            "params": {"depth": one, "random_state": one},
            "code": {"commit": one * 40},
            "packages": {"numpy": one},
            "environment": {"python": one, "hash_seed": one, "gpu": one},
            "models": {"models:/embedder/3": one},
            "metrics": {"auc": float(one)},
        }
        for one in "12"
    ]
    found = report(version(flights()), version(times("air_time", 60)), *sides)
    assert kinds(found) == [
        "unit", "models", "params", "code", "packages", "environment", "seeds", "seeds", "hardware",
    ]  # fmt: skip
    assert [one.kind for one in found.causes if not one.effect] == ["values", "metrics"]


# ---- circumstances


MODELS = [
    ({"models:/e/3": "a"}, {"models:/e/4": "b"}, "upstream model e: version 3 -> version 4", 1),
    (
        {"models:/e/3": "a"}, {"models:/e@champion": "a"},
        "upstream model e: version 3 -> version champion, which is the same model", 0,
    ),
    (
        {"models:/e/3": "a"}, {"models:/e/3": "b"},
        "upstream model e: version 3 is another model than it was", 1,
    ),
    (
        {"models:/e/3": "a"}, {"models:/e/3": ""},
        "upstream model e: version 3 may be another model than it was", 0,
    ),
    ({}, {"runs:/r/model": "a"}, "upstream model runs:/r/model: not loaded -> loaded", 1),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "sentence", "effect"), MODELS)
def test_upstream_models(before, after, sentence, effect):
    """A model that the run builds on is named with its versions, or as another under one name."""
    same = version(flights())
    found = cause(report(same, same, {"models": before}, {"models": after}), "models")
    assert (found.sentence, found.effect) == (sentence, effect)
    assert "models" not in kinds(report(same, same, {"models": before}, {"models": before}))


def test_code():
    """The digest of uncommitted changes says more than that there are some; order of cells counts."""
    same = version(flights())
    before = {"code": {"dirty": "false", "cells": "a b"}}
    after = {"code": {"dirty": "true", "diff": "d" * 40, "cells": "b a"}}
    found = report(same, same, before, after)
    assert [one.sentence for one in found.causes if one.kind == "code"] == [
        "code: the same notebook cells ran in another order",
        f"code: changes that no commit holds not set -> {'d' * 12}",
    ]
    found = report(same, same, {"code": {"cells": "a b"}}, {"code": {"cells": "a c"}})
    assert cause(found, "code").sentence == "code: 1 notebook cells are new or changed, 1 are gone"
    found = report(same, same, before, {"code": {"dirty": "true", "cells": "a b c"}})
    assert cause(found, "code").subject == "dirty"


def test_packages_that_models_are_made_with_come_first():
    """Of many packages the numeric ones are named first."""
    same = version(flights())
    names = [*"abcdef", "scikit-learn"]
    found = report(same, same, *({"packages": dict.fromkeys(names, one)} for one in "12"))
    assert cause(found, "packages").sentence.startswith("packages: scikit-learn 1 -> 2, a 1 -> 2")


def test_environments_that_were_not_recorded_say_nothing():
    """Only where both runs tell what they ran on is it compared."""
    same = version(flights())
    assert not kinds(report(same, same, {}, {"environment": {"python": "3.11"}}))


@pytest.mark.parametrize("name", ["seed", "np_seed", "PYTHONHASHSEED", "randomState", "rng"])
def test_seeds(name):
    """What settles chance is a seed under many names; a param that looks like one is not."""
    assert is_seed(name)
    assert not is_seed(f"{name}lings")


# ---- freshness


def test_identical_although_the_source_moved():
    """Rows that stayed although their table changed are stale; those of a resting table are not."""
    same = version(flights())
    one, two, file = (
        {"sources": (mark("main.flights", text, kind),)}
        for text, kind in (
            ("1", "postgresql-relation"),
            ("2", "postgresql-relation"),
            ("9", "duckdb-file"),
        )
    )
    moved = report_bound(same, same, one, two)
    assert moved.causes[0].sentence == (
        f"{NAME}: identical to last time, although main.flights has changed since"
    )
    assert (moved.causes[0].is_stale, moved.status, moved.holds) == (True, "stable", ())
    assert moved.verdict.startswith("Same data: every input holds the same rows. Stale: ")
    holding = DriftTerms(holds=frozenset({"freshness"}))
    assert report_bound(same, same, one, two, terms=holding).holds == (
        f"stale data: {moved.causes[0].sentence}",
    )
    resting = report_bound(same, same, one, one)
    assert resting.causes[0].sentence == f"{NAME}: identical to last time, as its sources are"
    for other in (file, {}, {"sources": (mark("main.other", "1"),)}):
        assert not kinds(report_bound(same, same, one, other))
    whole = {"sources": (mark("main.flights", "8", "duckdb-file"),)}
    assert not kinds(report_bound(same, same, file, whole))


def test_a_table_without_a_mark_may_have_changed():
    """Of two tables one tells its state: that it rests does not say that both do."""
    tables = {"tables": ("main.flights", "main.weather"), "policy": "77" * 32}
    before, after = version(flights(), **tables), version(flights(2), **tables)
    state = {"sources": (mark("main.flights", "1"),)}
    resting = report_bound(before, before, state, state)
    assert resting.causes[0].sentence == f"{NAME}: identical to last time"
    stricter = replace(after, policy="78" * 32)
    for one in (after, stricter):
        found = report_bound(before, one, state, state)
        assert "freshness" not in {cause.kind for cause in found.causes}
        assert not [cause for cause in found.causes if cause.kind == "policy" and cause.effect]
    moved = report_bound(before, before, state, {"sources": (mark("main.flights", "2"),)})
    assert "although main.flights has changed since" in moved.causes[0].sentence


def test_other_rows_from_the_same_state_are_chance():
    """One statement gives other rows of one state of its sources: that is said."""
    before, after = version(flights()), version(flights(2))
    state = {"sources": (mark("main.flights", "1"),)}
    found = report_bound(before, after, state, state)
    assert "left to chance" in cause(found, "freshness").sentence
    asked = replace(after, binds_mac="b2")
    assert "freshness" not in {one.kind for one in report_bound(before, asked, state, state).causes}


def dated(last):
    days = np.arange(np.datetime64(last) - 99, np.datetime64(last) + 1)
    return pa.table({"at": np.repeat(days.astype("datetime64[us]"), 10), "x": np.arange(1_000)})


STARTED = datetime(2026, 3, 31, 12, tzinfo=UTC)
ALLOWED = "when the run started, and 7 days at most are allowed"
AGES = {
    "fresh": (dated("2026-03-30"), {}, None),
    "old": (
        dated("2026-03-01"), {},
        f"{NAME}: the newest of at (2026-03-01 00:00) was 30 days old {ALLOWED}",
    ),
    "internal": (
        dated("2026-03-01"), {"sensitivity": {"at": "internal"}},
        f"{NAME}: the newest of at was 30 days old {ALLOWED}",
    ),
    "hidden": (
        dated("2026-03-30"), {"sensitivity": {}},
        f"{NAME}: nobody can tell how old at were {ALLOWED}",
    ),
    "absent": (
        pa.table({"x": [1, 2]}), {},
        f"{NAME}: nobody can tell how old at were {ALLOWED}",
    ),
    "for ever": (
        pa.concat_tables([dated("2026-01-01"), dated("9999-12-31")]), {},
        f"{NAME}: nobody can tell how old at were {ALLOWED}",
    ),
    "beyond the calendar": (
        pa.table({"at": pa.array([2**60], pa.timestamp("s"))}), {},
        f"{NAME}: nobody can tell how old at were {ALLOWED}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("table", "options", "sentence"), AGES.values(), ids=AGES)
def test_limits_of_age_by_a_column(table, options, sentence):
    """Data older than allowed, or of an age nobody can tell, is stale and held."""
    one = version(table, **options)
    terms = DriftTerms(freshness=(FreshnessTerms((f"{NAME[:9]}*",), timedelta(days=7), "at"),))
    runs = {"started_at": STARTED}
    found = report_bound(one, one, terms=terms, runs=runs)
    stale = [cause.sentence for cause in found.causes if cause.is_stale]
    assert stale == ([sentence] if sentence else [])
    assert found.holds == tuple(f"stale data: {one}" for one in stale)
    assert ("Stale: " in found.verdict) is bool(stale)
    assert found.status == "stable"
    elsewhere = DriftTerms(freshness=(FreshnessTerms(("weather",), timedelta(0), "at"),))
    assert not report_bound(one, one, terms=elsewhere, runs=runs).holds


def test_limits_of_age_by_the_sources():
    """Without a column it counts when the last table changed, if every one of them tells."""
    one = version(flights())
    terms = DriftTerms(freshness=(FreshnessTerms(("*",), timedelta(hours=30)),))
    runs = {"started_at": STARTED}

    def held(*ages, **facts):
        sources = tuple(
            mark(f"t{place}", "1", changed_at=None if age is None else STARTED - age)
            for place, age in enumerate(ages)
        )
        return report_bound(one, one, {}, {"sources": sources} | facts, terms, runs).holds

    day, week = timedelta(days=1), timedelta(weeks=1)
    assert not held(day, week)
    assert "was 7 days old" in held(week)[0]
    assert "was 7 days old" in held(week, week)[0]
    assert "nobody can tell" in held(day, None)[0]
    assert "nobody can tell" in held()[0]
    runs = {}
    assert "nobody can tell" in held(day)[0]
    assert not held(day, read_at=STARTED.replace(tzinfo=None))


def test_a_version_that_is_gone_has_no_age():
    """Where the version is not kept, its newest value is not known."""
    one = version(flights())
    terms = DriftTerms(freshness=(FreshnessTerms(("*",), timedelta(minutes=90), "at"),))
    runs = [run(name, bound(one), started_at=STARTED) for name in ("a", "b")]
    found = compare(*runs, {}, terms=terms)
    assert found.holds == (
        f"stale data: {NAME}: nobody can tell how old at were {ALLOWED}".replace(
            "7 days", "90 minutes"
        ),
    )


# ---- terms


def test_thresholds_of_columns():
    """The last entry that meets a column counts: it may ask for more, for less, or for nothing."""
    before = version(flights(), tags={"distance": ("metric.length",)})
    table = with_column(flights(2), "distance", pc.add(flights(2)["distance"], 900))
    after = replace(version(table), tags=before.tags)

    def found(*columns):
        return alarms(report(before, after, terms=DriftTerms(columns=columns)))

    drift = {("distribution", "distance")}
    strict = ColumnTerms(on=("*.distance",), ks=0.9, psi=99.0)
    assert drift <= found()
    assert drift <= found(ColumnTerms(on=("*.carrier",), is_ignored=True))
    assert ("distribution", "distance") not in found(strict)
    assert drift <= found(strict, ColumnTerms(on=(f"{NAME}.dist*",), ks=0.01))
    assert not found(ColumnTerms(tags=("metric.*",), is_ignored=True))


def test_thresholds_of_levels_and_missing_values():
    """Cramer's V, PSI of levels and the share of missing values have thresholds of their own."""
    mask = pa.array(np.arange(ROWS) % 20 == 0)
    table = with_column(flights(2), "air_time", pc.if_else(mask, None, flights(2)["air_time"]))
    table = with_column(table, "night", pa.array(np.arange(ROWS) % 3 == 0))
    before, after = version(flights()), version(table)

    def found(**terms):
        return alarms(
            report(before, after, terms=DriftTerms(columns=(ColumnTerms(("*",), **terms),)))
        )

    assert found() == {("nulls", "air_time"), ("distribution", "night")}
    assert found(nulls=0.2) == {("distribution", "night")}
    assert found(cramers_v=0.5) == found(psi=5.0) == {("nulls", "air_time")}


def test_ignored_columns_are_not_named():
    """The values of an ignored column are left out of the summary as well."""
    table = with_column(flights(), "distance", flights(2)["distance"])
    ignored = DriftTerms(columns=(ColumnTerms(("*.distance",), is_ignored=True),))
    found = report(version(flights()), version(table), terms=ignored)
    assert found.causes == ()
    assert (found.status, found.is_same_data) == ("stable", False)


def test_what_is_held():
    """Causes of the kinds that hold, unknown data and ungoverned inputs hold a promotion."""
    before, after = version(flights()), version(times("air_time", 60))
    assert report(before, after).holds == (
        f"unit: {cause(report(before, after), 'unit').sentence}",
    )
    assert report(before, after, terms=DriftTerms(holds=frozenset({"rows"}))).holds == ()
    assert report(before, before).holds == ()
    lost = compare(run("a", before), run("b", after), {})
    assert lost.holds == (f"unknown: the dataset store does not hold both versions of {NAME}",)


def test_ungoverned_inputs_come_first():
    """What nbgov did not deliver stands in the first words, and nothing is stable beside it."""
    same, raw = version(flights()), {"ungoverned": ("DataFrame of 3 columns",)}
    found = report(same, same, {}, raw)
    assert found.verdict == (
        "ungoverned input: DataFrame of 3 columns. "
        "Unknown: every governed input holds the same rows, and of the others nobody knows."
    )
    assert found.is_same_data is None
    stable = report(same, version(flights(2)), {}, raw)
    assert (stable.status, stable.is_same_data) == ("unknown", False)
    assert "Unknown: every governed input is stable, and of" in stable.verdict
    assert (found.status, found.holds) == ("unknown", ("ungoverned input: DataFrame of 3 columns",))
    earlier = report(same, same, raw, {})
    assert earlier.verdict.startswith(
        "ungoverned input: DataFrame of 3 columns (of the baseline). "
    )
    assert earlier.status == "unknown"
    drifted = report(same, version(times("air_time", 60)), {}, raw)
    assert drifted.status == "drifted"
    assert drifted.verdict.startswith("ungoverned input: DataFrame of 3 columns. Drifted: ")
    runs = run("a", same), run("b", same, bound(version(flights(2))), **raw)
    assert compare(*runs, {}).status == "drifted"
    bare = compare(run("a", **raw), run("b", **raw), {})
    assert bare.verdict.startswith("ungoverned input: ")
    assert bare.status == "unknown"


def test_a_guess_beside_foreign_data_is_no_input():
    """Where a run was fitted on foreign data, what it merely read is not what it was trained on."""
    read, other = version(flights()), version(times("air_time", 60))
    guess = replace(bound(other), bound_via="session")
    runs = run("a", read), run("b", guess, ungoverned=("a file",))
    found = compare(*runs, {one.version_id: one for one in (read, other)})
    assert (found.status, found.causes) == ("unknown", ())
    assert found.verdict == "ungoverned input: a file. Unknown: no governed input is bound to b."


def test_fingerprints_with_and_without_a_key_do_not_compare():
    """Ids of two specifications say nothing of each other, and unknown is never equal."""
    before, after = version(flights()), version(flights())
    keyed = replace(after, content_id=f"keyed-{after.content_id}", version_id="0" * 32)
    found = report(before, keyed)
    assert (found.status, found.is_same_data) == ("unknown", None)
    assert found.verdict == f"Unknown: the fingerprints of {NAME} were made with and without a key."


def test_unknown_sameness_beside_ungoverned_data():
    """Where no governed input is bound at all, the verdict says both."""
    found = compare(run("a", version(flights())), run("b", ungoverned=("a file",)), {})
    assert found.verdict == "ungoverned input: a file. Unknown: no governed input is bound to b."


# ---- units


def sketched(values):
    sketch = QuantileSketch()
    sketch.update(np.asarray(values, np.float64))
    return read_distribution(sketch.finish())


UNITS = {
    "minutes to seconds": (60.0, 0.0, "all values times 60"),
    "metres to kilometres": (0.001, 0.0, "all values divided by 1,000"),
    "an odd factor": (7.5, 0.0, "all values times 7.5"),
    "Celsius": (1.8, 32.0, "all values as degrees Celsius to Fahrenheit"),
    "Kelvin": (1.0, 273.15, "all values as degrees Celsius to Kelvin"),
}


@pytest.mark.parametrize(("factor", "offset", "words"), UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("seed", [1, 2])
def test_units(factor, offset, words, seed):
    """A factor or a known scale between all values is found, for the same rows and for new ones."""
    first, second = (np.random.default_rng(one).normal(15, 9, 5_000) for one in (1, seed))
    left, right = sketched(first), sketched(second * factor + offset)
    found = unit_change(left, right, 0.9)
    assert found.words == words or seed == 2
    assert found.factor == pytest.approx(factor, rel=0.03)


def test_what_is_no_unit():
    """A shift, another shape, a sign and a constant are no change of unit."""
    chance = np.random.default_rng(1)
    left = sketched(chance.normal(100, 5, 3_000))
    assert unit_change(left, sketched(chance.normal(160, 5, 3_000)), 1.0) is None
    assert unit_change(left, sketched(chance.exponential(300, 3_000)), 0.5) is None
    assert unit_change(left, sketched(chance.normal(-100, 5, 3_000)), 1.0) is None
    assert unit_change(sketched([5.0] * 99), sketched([9.0] * 99), 1.0) is None
    assert unit_change(sketched([0.0] * 90 + [1.0]), sketched([5.0] * 99), 1.0) is None
    zeros = sketched(np.zeros(99)), sketched(np.arange(99.0))
    assert unit_change(*zeros, 1.0) is None
    assert UnitChange(0.5).words == "all values divided by 2"


# ---- plots


def test_shapes_of_numbers_moments_and_levels():
    """A cause of an open column holds shares over one set of bins or levels for both sides."""
    found = report_tables(flights(), times("air_time", 60))
    shape = json.loads(json.dumps(cause(found, "unit").detail["shape"]))
    assert len(shape["edges"]) == len(shape["current"]) + 1 == 21
    assert sum(shape["baseline"]) == pytest.approx(1, abs=1e-2) == sum(shape["current"])
    assert max(*shape["baseline"], *shape["current"]) < 0.5
    moved = with_column(flights(2), "distance", pc.add(flights(2)["distance"], 2_000))
    shape = cause(report_tables(flights(), moved), "distribution").detail["shape"]
    widths = np.diff(shape["edges"])
    assert widths.max() == pytest.approx(widths.min(), rel=0.01)

    dates = [
        pa.table({"at": np.repeat(np.arange(n, 90).astype("datetime64[D]"), 9)}) for n in (0, 60)
    ]
    moments = cause(report_tables(*dates), "distribution").detail["shape"]
    assert moments["edges"][0].startswith("1970-01-0")

    many = [f"L{n:02d}" for n in range(30)]
    levels = pa.table({"x": np.resize([*many, *["A"] * 30], 3_000)})
    other = pa.table({"x": np.resize([*many, *["B"] * 30], 3_000)})
    found = report_tables(levels, other).causes
    shape = next(one for one in found if one.kind == "levels").detail["shape"]
    assert shape["labels"][:2] == ["A", "B"]
    assert shape["labels"][-1] == "other"
    assert (shape["baseline"][:2], shape["current"][:2]) == ([0.5, 0], [0, 0.5])


def test_only_open_columns_have_shapes():
    """No shape of a column that is not open in both profiles, nor of one without any."""
    table = with_column(times("air_time", 60), "carrier", pa.array(["XX"] * ROWS))
    for level in ("internal", "pii"):
        levels = dict.fromkeys(table.column_names, level)
        before = version(flights(), sensitivity=levels)
        found = report(before, version(table, sensitivity=levels))
        assert kinds(found)
        assert not [one for one in found.causes if "shape" in one.detail]
    constant = pa.table({"x": np.full(500, 1.0)}), pa.table({"x": np.full(500, 2.0)})
    assert cause(report_tables(*constant), "distribution").detail["shape"]["edges"][0] == 1
    nothing = {"level": "open", "type": "list", "nulls": 0, "nans": 0}
    assert shape_of(ColumnPair("x", nothing, nothing, (1, 1), 0.1)) is None


def test_internal_columns_tell_no_value():
    """Figures of an internal column are compared, and no value of it is in the report."""
    table = with_column(times("air_time", 60), "distance", pc.add(flights(2)["distance"], 7_777))
    table = with_column(table, "carrier", pa.array(np.resize(["SECRET", "UA"], ROWS)))
    levels = dict.fromkeys(table.column_names, "internal")
    found = report(version(flights(), sensitivity=levels), version(table, sensitivity=levels))
    assert {("unit", "air_time"), ("distribution", "distance"), ("tail", "distance")} <= alarms(
        found
    )
    assert [one for one in found.causes if one.subject == "carrier" and one.effect]
    text = json.dumps(found.to_dict())
    assert not [secret for secret in ("SECRET", "'UA'", "7,7", "median", "edges") if secret in text]
    [kind] = {one.sentence for one in found.causes if one.kind == "tail"}
    assert "of rows outside the old bounds" in kind
    dates = [
        version(dated(day), sensitivity={"at": "internal"})
        for day in ("2026-03-01", "2026-03-01", "2026-03-02")
    ]
    assert cause(report(*dates[1:]), "freshness").sentence == "at: newest value moved on"
    rows = dated("2026-03-01").slice(0, 999)
    last = dated("2026-03-01").slice(999)
    still = version(pa.concat_tables([rows, last, last]), sensitivity={"at": "internal"})
    assert cause(report(dates[0], still), "freshness", "at").sentence == (
        "at: newest value is still the same"
    )


# ---- cardinality


def test_cardinality():
    """Values that repeat where they did not, or that no number of rows explains, are seen."""
    ids = pa.table({"id": np.arange(4_000) * 7})
    doubled = pa.table({"id": np.repeat(np.arange(500) * 7 + 1, 8)})
    found = report_tables(ids, doubled)
    assert ("cardinality", "id") in alarms(found)
    assert cause(found, "cardinality").sentence.endswith("-> 500")
    texts = [
        pa.table({"x": [f"v{n % top:05d}" for n in range(rows)]})
        for top, rows in ((3_000, 3_000), (300, 3_000), (4_000, 4_000))
    ]
    assert ("cardinality", "x") in alarms(report_tables(*texts[:2]))
    assert ("cardinality", "x") not in alarms(report_tables(texts[0], texts[2]))
    nothing = pa.table({"x": pa.nulls(3_000, pa.string())})
    assert ("cardinality", "x") not in alarms(report_tables(texts[0], nothing))


def worded(seed, rows=6_000, levels=2_000):
    chance = np.random.default_rng(seed)
    picked = np.minimum(chance.zipf(1.5, rows), levels)
    return np.array([f"w{n}" for n in picked])


@pytest.mark.parametrize("level", ["open", "internal"])
def test_a_new_frequent_level_among_many(level):
    """Where levels are too many to count, one that came or went among the frequent ones is seen."""
    levels = {"x": level}
    plain, other = worded(1), worded(2)
    hit = np.where(np.arange(6_000) % 15 == 0, "ZZ", other)
    before, same, after = (
        version(pa.table({"x": one}), sensitivity=levels) for one in (plain, other, hit)
    )
    assert report(before, same).status == "stable"
    assert before.profile["columns"][0]["labels"] is None
    for sides, word in (((before, after), "new"), ((after, before), "lost")):
        found = [one for one in report(*sides).causes if one.effect]
        assert [one.kind for one in found] == ["levels"]
        name = " 'ZZ'" if level == "open" else ""
        number = "" if level == "open" else "1 "
        told = f"x: {number}{word} level among the frequent ones{name} (6."
        assert found[0].sentence.startswith(told)
    few = version(pa.table({"x": np.resize(["a", "b"], 6_000)}), sensitivity=levels)
    assert {one.kind for one in report(few, before).causes if one.effect} >= {"levels"}
    numbers = pa.table({"x": np.arange(6_000)}), pa.table({"x": [str(n) for n in range(6_000)]})
    assert [one.kind for one in report_tables(*numbers).causes if one.effect] == ["schema"]


def test_buckets_under_two_keys_do_not_compare():
    """Hash buckets made with another key say nothing; lengths still do."""
    names = pa.table({"x": [f"v{n % 40:02d}" for n in range(4_000)]})
    other = pa.table({"x": [f"v{n % 20:02d}" for n in range(4_000)]})
    before, after = version(names, sensitivity={}), version(other, sensitivity={})
    assert ("distribution", "x") in alarms(report(before, after))
    columns = [one | {"bucket_key": "k2"} for one in after.profile["columns"]]
    alien = replace(after, profile=after.profile | {"columns": columns})
    assert ("distribution", "x") not in alarms(report(before, alien))
    fewer = version(names.slice(0, 3_000), sensitivity={})
    columns = [one | {"bucket_key": "k2"} for one in fewer.profile["columns"]]
    fewer = replace(fewer, profile=fewer.profile | {"columns": columns})
    assert cause(report(before, fewer), "rows").detail["is_nested"]
