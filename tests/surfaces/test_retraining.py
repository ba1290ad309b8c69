"""The whole question on real flights: two trainings in MLflow, what is different, and what it is worth.

The experiment is the one of the research notes: other months, a column that came in seconds instead
of minutes, a masking policy that hides a column, smaller trees, another seed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import mlflow
import pytest
from pyarrow import parquet

from nbgov import compare, connect
from nbgov.demo import real_tables
from nbgov.notebook.magic import report_bundle
from tests.flights import ADA, CONFIG
from tests.surfaces.seasons import nbgov
from tests.surfaces.test_drift import Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore:.*AnyType:UserWarning"),
]

POLICY = """
version: 1
tags:
  quasi.time: ["warehouse.main.flights.sched_dep_time"]
  public: ["warehouse.main.flights.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["warehouse.*.*"]
"""
MASKED = POLICY + '    obligations: {masks: {quasi.time: "null"}}\n'
SQL = """
SELECT month, sched_dep_time, distance, air_time, dep_delay, late FROM flights
WHERE month BETWEEN :first AND :last
"""
TRAIN = '''
from pathlib import Path

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

COLUMNS = ["month", "sched_dep_time", "distance", "air_time", "dep_delay"]


def fit(inputs, params, seed):
    """The area under the curve on September."""
    frame = inputs["flights.training"]
    test = pd.read_parquet(Path(__file__).with_name("september.parquet"))
    model = HistGradientBoostingClassifier(
        max_iter=20, max_leaf_nodes=int(params["max_leaf_nodes"]), random_state=seed
    )
    # Threads that wait for one another take minutes on a busy machine.
    with threadpool_limits(1):
        model.fit(frame[COLUMNS].astype(float).fillna(-1), frame["late"])
        chances = model.predict_proba(test[COLUMNS].astype(float).fillna(-1))[:, 1]
    return {"auc": roc_auc_score(test["late"], chances)}
'''


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A warehouse of real flights; in summer air_time is told in seconds."""
    folder = tmp_path_factory.mktemp("house")
    flights = next(table for name, table in real_tables() if name == "flights")
    with duckdb.connect(str(folder / "warehouse.duckdb")) as database:
        database.register("given", flights)
        database.execute(
            "CREATE TABLE flights AS SELECT month, sched_dep_time, distance,"
            " CASE WHEN month IN (6, 7) THEN air_time * 60 ELSE air_time END AS air_time,"
            " dep_delay, (arr_delay > 15)::INT AS late FROM given"
            " WHERE arr_delay IS NOT NULL AND (flight + day) % 8 = 0"
            " ORDER BY month, day, sched_dep_time, carrier, flight"
        )
        september = database.sql("SELECT * FROM flights WHERE month = 9").to_arrow_table()
    parquet.write_table(september, folder / "september.parquet")
    (folder / "train.py").write_text(TRAIN)
    (folder / "nbgov.yaml").write_text(CONFIG + "rows: {keep: training}\n")
    (folder / "policy.yaml").write_text(POLICY)
    return folder


@pytest.fixture(scope="module")
def tracking(house):
    """MLflow on a file in the house, for this process and for those that it starts."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{house / 'mlflow.db'}")
    made = mlflow.create_experiment("flights", artifact_location=str(house / "artifacts"))
    mlflow.set_experiment(experiment_id=made)
    yield mlflow.MlflowClient()
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


def trained(house, name, first, last, **params):
    """Train, log and bind one run, as a notebook does, and return its id."""
    import runpy

    fit = runpy.run_path(str(house / "train.py"))["fit"]
    with connect(house, as_=ADA) as session, mlflow.start_run(run_name=name) as run:
        frame = session.sql(SQL, first=first, last=last, dataset="flights.training").to_pandas()
        mlflow.log_params(params)
        found = fit({"flights.training": frame}, params, int(params["random_state"]))
        mlflow.log_metrics(found)
        session.track(frame, labels=["late"])
    return run.info.run_id


@pytest.fixture(scope="module")
def runs(house, tracking):
    """Winter under one policy, summer under another; winter's model is the champion."""
    winter = trained(house, "winter", 1, 2, max_leaf_nodes="31", random_state="0")
    (house / "policy.yaml").write_text(MASKED)
    summer = trained(house, "summer", 6, 7, max_leaf_nodes="4", random_state="1")
    return winter, summer


def ask(house, *words):
    """Ask ``nbgov drift`` in this process."""
    return nbgov(house, "drift", *words)


def test_the_report_names_what_was_changed(house, runs):
    """Data, statement's values, masks, parameters and seed are all told; the metric with them."""
    shown = ask(house, "--json", *runs)
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)
    causes = {(cause["kind"], cause["subject"]) for cause in found["causes"]}
    assert found["status"] == "drifted"
    assert {("params", "max_leaf_nodes"), ("seeds", "random_state"), ("metrics", "auc")} <= causes
    assert ("unit", "air_time") in causes
    assert {"masks", "binds"} <= {kind for kind, _ in causes}


def test_a_run_alone_is_compared_with_its_baseline(house, runs):
    """``nbgov drift B`` finds the last finished run that is like B."""
    alone = ask(house, "--json", runs[1])
    assert json.loads(alone.stdout)["baseline"] == "winter"
    first = ask(house, runs[0])
    assert (first.exit_code, "code    no-baseline" in first.stderr) == (1, True), first.stderr


def test_a_notebook_shows_the_same(house, runs):
    """The report in a notebook is the same one, as HTML with pictures and as text."""
    with connect(house, as_=ADA) as session:
        bundle = report_bundle(compare(*runs, config=session))
    assert "Drift of summer from winter: drifted" in bundle["text/plain"]
    assert "figure" in Page(bundle["text/html"]).tags


def test_a_report_is_put_on_the_page_of_the_run(house, tracking, runs):
    """``--attach`` leaves a page and its JSON among the artifacts of the current run."""
    winter, summer = runs
    shown = ask(house, winter, summer, "--attach")
    assert shown.exit_code == 0, shown.stderr
    stem = f"nbgov/drift-from-{winter[:12]}"
    paths = {one.path for one in tracking.list_artifacts(summer, "nbgov")}
    assert {f"{stem}.html", f"{stem}.json"} <= paths
    held = Path(tracking.download_artifacts(summer, f"{stem}.html")).read_text()
    assert "summer from winter" in Page(held).text


def test_a_replay_says_what_each_change_is_worth(house, runs, tmp_path):
    """Shapley values of data, parameters and seed come to the change; data is most of it."""
    page = tmp_path / "drift.html"
    words = ["--replay", f"{house / 'train.py'}:fit", "--metric", "auc", "--shapley"]
    shown = ask(house, *runs, *words, "--seeds", "1", "--html", str(page), "--json")
    assert shown.exit_code == 0, shown.stderr
    found = json.loads(shown.stdout)["replay"]
    shares = {share["factor"]: share["effect"] for share in found["shares"]}
    assert set(shares) == {"flights.training", "params", "seed"}
    assert sum(shares.values()) == pytest.approx(found["change"])
    assert found["change"] < -0.005
    assert found["shares"][0]["factor"] == "flights.training"
    assert found["trainings"] == 9
    # What the runs logged comes out again: nothing else was needed.
    assert found["recorded"] == pytest.approx([found["baseline"], found["current"]])
    assert "where the change of auc comes from" in Page(page.read_text()).text


def test_a_replay_one_at_a_time_is_told_after_the_report(house, runs):
    """Without Shapley the table follows the report, with the number of trainings that it took."""
    words = ["--replay", f"{house / 'train.py'}:fit", "--metric", "auc", "--seeds", "1"]
    shown = ask(house, *runs, *words)
    assert shown.exit_code == 0, shown.stderr
    report, _, table = shown.stdout.partition("Replay: where the change of auc comes from")
    assert "drifted" in report
    assert "flights.training" in table
    assert "one thing put back at a time" in table


def test_a_replay_ends_when_it_is_interrupted(house, runs):
    """Control-C during a training ends with 130 and one line, after the report."""
    (house / "stopped.py").write_text(
        "import signal\ndef fit(inputs, params, seed):\n    signal.raise_signal(signal.SIGINT)\n"
    )
    command = [str(Path(sys.executable).with_name("nbgov")), "--config", str(house), "--as", ADA]
    words = ["drift", *runs, "--replay", f"{house / 'stopped.py'}:fit", "--metric", "auc"]
    ran = subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{house / 'mlflow.db'}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        check=False,
    )
    assert ran.returncode == 130, ran.stderr
    assert "Interrupted after 0 trainings." in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Drift of summer from winter" in ran.stdout


def test_the_champion_is_watched(house, tracking, runs, tmp_path):
    """``nbgov drift watch --model`` compares with what the champion was trained on."""
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    (house / "policy.yaml").write_text(POLICY)
    model = LinearRegression().fit(np.arange(4.0).reshape(-1, 1), np.arange(4.0))
    with mlflow.start_run(run_id=runs[0]):
        signature = infer_signature(np.zeros((1, 1)), np.zeros(1))
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=signature,
            registered_model_name="late",
            pip_requirements=[],
        )
    tracking.set_registered_model_alias("late", "champion", "1")
    (tmp_path / "train.sql").write_text(SQL)
    words = ["watch", "warehouse", "--dataset", "flights.training", "--model", "late"]
    words += ["--file", str(tmp_path / "train.sql"), "--bind", "last=2", "--bind"]
    same = ask(house, *words, "first=1")
    assert (same.exit_code, "Same data" in same.stdout) == (0, True), same.output
    moved = ask(house, *words[:-3], "--bind", "last=7", "--bind", "first=6")
    assert (moved.exit_code, "air_time" in moved.stdout) == (4, True), moved.output
    other = ask(house, *words[:3], "other", *words[4:], "first=1")
    assert "was not trained on 'other'" in other.stderr
    found = ask(house, "models:/late@champion", runs[1], "--json")
    assert json.loads(found.stdout)["baseline"] == "winter"
