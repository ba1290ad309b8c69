"""A training done again with one thing put back at a time: what each is worth, and what cannot be."""

from __future__ import annotations

import itertools
import json
import textwrap
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov import Run, RunInput, connect
from nbgov.errors import RequestInvalid
from nbgov.retraining.page import report_html
from nbgov.retraining.replay import TrainingFailed, attribute
from nbgov.retraining.telling import report_text
from nbgov.retraining.training import load_function, replay
from tests.flights import ADA
from tests.surfaces.seasons import SQL, build
from tests.surfaces.test_drift import Page, report

numbers = st.floats(-100, 100).map(lambda number: round(number, 3))
FACTORS = ("data", "params", "seed")
everything = frozenset(FACTORS)
subsets = [
    frozenset(chosen)
    for size in range(len(FACTORS) + 1)
    for chosen in itertools.combinations(FACTORS, size)
]
trainings = st.fixed_dictionaries(dict.fromkeys(subsets, numbers))


# ---------------------------------------------------------------- the sums


@given(trainings)
def test_shapley_values_come_to_the_whole_change(found):
    """Whatever the trainings give, the values add up to the change, for 2^k trainings."""
    told = attribute(found.__getitem__, FACTORS, metric="auc", is_shapley=True)
    assert sum(share.effect for share in told.shares) == pytest.approx(told.change, abs=1e-9)
    assert told.trainings == 8


@given(trainings)
def test_one_at_a_time_tells_both_ends_where_factors_act_on_one_another(found):
    """Each effect is the change that goes with its factor; both ends are told unless they add up."""
    told = attribute(found.__getitem__, FACTORS, metric="auc")
    shares = {share.factor: share for share in told.shares}
    for factor, share in shares.items():
        assert share.effect == pytest.approx(found[frozenset()] - found[frozenset({factor})])
    total = sum(share.effect for share in told.shares)
    if all(share.other_end is None for share in told.shares):
        assert total == pytest.approx(told.change, abs=1e-6)
        assert told.trainings == 5
    else:
        assert told.trainings == 8
        for factor, share in shares.items():
            end = found[everything - {factor}] - found[everything]
            assert share.other_end == pytest.approx(end)
            assert share.is_flipping == (share.effect * share.other_end < 0)


@given(st.fixed_dictionaries(dict.fromkeys(FACTORS, numbers)))
def test_factors_that_add_up_are_worth_what_they_add(worth):
    """Where nothing acts on anything else, both ways give each factor its own worth."""

    def measure(put_back):
        return 7 + sum(worth[factor] for factor in FACTORS if factor not in put_back)

    for is_shapley in (False, True):
        told = attribute(measure, FACTORS, metric="auc", is_shapley=is_shapley)
        for share in told.shares:
            assert share.effect == pytest.approx(worth[share.factor], abs=1e-9)
            assert not share.is_flipping


def test_what_another_seed_does_as_well_is_noise():
    """The reach of other seeds is the floor: below it an effect is noise, and no share is told."""
    worth = {"data": -3.0, "params": 0.5}

    def measure(put_back):
        return 10 + sum(value for factor, value in worth.items() if factor not in put_back)

    told = attribute(measure, tuple(worth), metric="auc", other_seeds=[lambda: 10.4, lambda: 9.6])
    assert told.noise == pytest.approx(0.8)
    assert {share.factor: share.is_noise for share in told.shares} == {
        "data": False,
        "params": True,
    }
    assert "no more than another seed makes" in report_text(report(), told)
    idle = attribute(lambda _: 1.0, FACTORS, metric="auc", other_seeds=[lambda: 1.0])
    assert {share.sentence() for share in idle.shares} == {"makes no difference"}
    assert "1 other seed alone moves it by 0" in idle.summary()
    calm = attribute(lambda _: 10.0, ("data",), metric="auc", other_seeds=[lambda: 9.0])
    assert calm.shares[0].share is None


def test_a_mix_that_cannot_be_trained_is_told_as_such():
    """A failing mix leaves its factor unknown; one that Shapley values need ends them."""

    def measure(put_back):
        if put_back == {"data"}:
            raise TrainingFailed("The training function failed.", why="KeyError in fit.py, line 3")
        return float(len(put_back))

    told = attribute(measure, FACTORS, metric="auc")
    shares = {share.factor: share for share in told.shares}
    assert (shares["data"].effect, shares["data"].problem) == (None, "KeyError in fit.py, line 3")
    assert shares["params"].effect == -1
    assert "not known: KeyError in fit.py, line 3" in report_text(report(), told)
    with pytest.raises(TrainingFailed):
        attribute(measure, FACTORS, metric="auc", is_shapley=True)


def test_a_replay_that_does_not_give_what_was_logged_says_so():
    """Where the replayed metric is another than the run's own, something else matters too."""
    told = attribute(
        lambda back: 0.8 + 0.1 * len(back), ("data",), metric="auc", recorded=(0.9, 0.7)
    )
    assert [text.partition(":")[0] for text in told.remarks()] == [
        "The current run logged 0.7, its replay gives 0.8"
    ]
    page = Page(report_html(report(), told))
    assert "something that is not put back here" in page.text
    assert json.loads(json.dumps(told.to_dict()))["change"] == pytest.approx(-0.1)


# ---------------------------------------------------------------- a training done again


@pytest.fixture(scope="module")
def ada(tmp_path_factory):
    """A session that keeps the rows of named results."""
    with connect(build(tmp_path_factory.mktemp("house")), as_=ADA) as session:
        for season in (0, 1):
            session.sql(SQL, season=season, dataset="train").to_arrow()
        yield session


@pytest.fixture(scope="module")
def runs(ada):
    """A winter run, and a summer run with another depth and seed."""
    winter, summer = (one.version_id for one in reversed(ada.versions("train")))

    def run(version, **params):
        read = RunInput("train", version, "training", "explicit")
        return Run(version[:8], version[:8], (read,), params, {"mean": 1.0})

    return run(winter, depth="3", random_state="1"), run(summer, depth="5", random_state="2")


def mean_time(inputs, params, seed):
    """A training whose metric can be worked out by head."""
    frame = inputs["train"]
    assert "private.test" not in frame["email"].to_string()
    assert params["random_state"] == str(seed)
    return {
        "mean": frame["air_time"].mean() + 1000 * int(params["depth"]) + seed,
        "rows": len(frame),
    }


def test_a_training_is_done_again_from_kept_rows(ada, runs):
    """Inputs come back by version, masked as delivered; each factor is worth what it adds."""
    told = replay(ada, *runs, mean_time, metric="mean")
    shares = {share.factor: share.effect for share in told.shares}
    assert shares["params"] == pytest.approx(2000)
    assert shares["seed"] == pytest.approx(1)
    assert shares["train"] == pytest.approx(told.change - 2001)
    assert told.noise == 3
    assert told.recorded == (1.0, 1.0)


def test_progress_counts_every_training(ada, runs):
    """Whoever watches is told how many trainings are sure, and each time one is done."""
    seen = []

    def watched(total):
        seen.append(total)
        return lambda: seen.append("done")

    told = replay(ada, *runs, mean_time, metric="mean", seeds=1, is_shapley=True, watched=watched)
    assert seen == [9, *["done"] * 9]
    assert told.trainings == 9


def test_what_is_equal_is_no_factor(ada, runs):
    """Two runs on one version with equal parameters differ in nothing that can be put back."""
    winter, _ = runs
    with pytest.raises(RequestInvalid) as caught:
        replay(ada, winter, winter, mean_time, metric="mean")
    assert caught.value.code == "not-replayable"
    assert "equal" in caught.value.why


def test_rows_that_are_not_kept_cannot_be_replayed(ada, runs):
    """A version whose rows are not kept is named, with how to keep them."""
    with ada.sql(SQL, season=0) as result:
        table = result.to_arrow()
    gone = RunInput("train", "0" * 32, "training", "explicit")
    run = Run("gone", "gone", (gone,), {}, {})
    with pytest.raises(RequestInvalid) as caught:
        replay(ada, run, runs[1], mean_time, metric="mean")
    assert caught.value.code == "not-replayable"
    assert "train@v000000000000" in caught.value.why
    assert "rows: {keep: training}" in caught.value.next_step
    assert len(table)
    with pytest.raises(RequestInvalid, match="not replayable"):
        replay(ada, Run("none", "none", (), {}, {}), runs[1], mean_time, metric="mean")


def test_an_error_of_the_training_tells_where_and_no_value(ada, runs):
    """What a training function raises is told by type and line; its text may quote rows."""

    def broken(inputs, params, seed):
        raise ValueError(inputs["train"].iloc[0].to_string())

    with pytest.raises(TrainingFailed) as caught:
        replay(ada, *runs, broken, metric="mean")
    assert caught.value.why.startswith("ValueError in test_replay.py, line ")
    assert "air_time" not in str(caught.value)


def test_a_metric_that_is_not_there_is_wrong_usage(ada, runs):
    """A function that gives several metrics is asked for one of them by name."""
    with pytest.raises(RequestInvalid) as caught:
        replay(ada, *runs, mean_time, metric="auc")
    assert caught.value.why == "it gives mean, rows"
    with pytest.raises(TrainingFailed, match="no figure"):
        replay(ada, *runs, lambda *_: float("nan"), metric="auc")


def test_too_many_factors_for_shapley_are_counted(ada, runs):
    """Six factors would take 64 trainings, and are refused before the first."""
    many = [
        replace(
            run,
            inputs=tuple(replace(run.inputs[0], name=name) for name in "abcdef"),
            params={},
        )
        for run in runs
    ]
    with pytest.raises(RequestInvalid) as caught:
        replay(ada, *many, mean_time, metric="mean", is_shapley=True)
    assert "64 trainings" in caught.value.why


# ---------------------------------------------------------------- where the function is


def test_a_function_is_found_in_a_file_or_a_module(tmp_path, monkeypatch):
    """FILE.py:FUNCTION and MODULE:FUNCTION give the function, with what lies beside the file."""
    (tmp_path / "beside_it.py").write_text("WORTH = 0.5\n")
    (tmp_path / "fit_it.py").write_text(
        textwrap.dedent(
            """
            from beside_it import WORTH

            def fit(inputs, params, seed):
                return WORTH
            """
        )
    )
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    assert load_function(f"{tmp_path / 'fit_it.py'}:fit")({}, {}, 0) == 0.5
    monkeypatch.chdir(tmp_path)
    assert load_function("fit_it:fit")({}, {}, 0) == 0.5


@pytest.mark.parametrize(
    "reference",
    ["fit", "no_such_module:fit", "no_such_file.py:fit", "json:nothing", "json:__doc__"],
)
def test_a_function_that_is_not_there_is_wrong_usage(reference):
    """A place without such a function is named, with how to write one."""
    with pytest.raises(RequestInvalid) as caught:
        load_function(reference)
    assert caught.value.code == "usage"
    assert "--replay train.py:fit" in caught.value.next_step
