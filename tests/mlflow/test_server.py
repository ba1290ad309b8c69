"""Governed inputs where MLflow is a server or PostgreSQL: over HTTP, in a race, and while it is away."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import nbgov
from mlflow_plugin import captured, commands, spool, unfinished
from mlflow_plugin.inputs import governed_inputs
from mlflow_plugin.ledger import LEDGER, RECALLED
from mlflow_plugin.runs import MlflowRuns
from tests.flights import build
from tests.mlflow.serving import free_port, serving

pytestmark = [
    pytest.mark.slow,
    # MLflow's own use of SQLAlchemy and pandas is not ours to mend.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
]

WRITERS = 12
SQL = """
SELECT month, distance, carrier, delay, delay > 20 AS is_late, email FROM flights WHERE month <= :last
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An nbgov.yaml with a warehouse of flights."""
    return build(
        tmp_path_factory.mktemp("house"),
        "CREATE TABLE flights AS SELECT (i % 12) + 1 AS month, 100.0 + i % 97 AS distance,"
        " 'ABC'[i % 3 + 1:i % 3 + 1] AS carrier, (i * 7 % 41)::DOUBLE AS delay,"
        " 'person' || i || '@private.test' AS email FROM range(2400) t(i)",
    )


@pytest.fixture
def ada(house):
    with nbgov.connect(house, as_="ada@acme.test") as session:
        yield session
    unfinished.sweep(is_over=True)
    unfinished.unfinished.clear()
    unfinished.held.clear()
    LEDGER.clear()
    RECALLED.clear()
    spool.away.clear()


@pytest.fixture
def frame(ada):
    return ada.sql(SQL, last=6).to_pandas()


@pytest.fixture
def experiment(tracking, tmp_path):
    made = tracking.create_experiment(str(tmp_path))
    mlflow.set_experiment(experiment_id=made)
    return made


@pytest.fixture
def sklearn_autolog():
    mlflow.sklearn.autolog(log_models=False, silent=True)
    yield
    mlflow.sklearn.autolog(disable=True, silent=True)


def ours(client, run_id):
    return governed_inputs(client.get_run(run_id))


def trained(client):
    run_id = mlflow.last_active_run().info.run_id
    return client.get_run(run_id), governed_inputs(client.get_run(run_id))


def encoder():
    return make_column_transformer(
        (OneHotEncoder(), ["carrier"]), (StandardScaler(), ["distance"]), remainder="drop"
    )


SHAPES = {
    "frame": (LinearRegression(), lambda f: (f[["month", "distance"]], f["delay"])),
    "series": (LinearRegression(), lambda f: (f[["distance"]], f["delay"] * 2)),
    "split": (
        LinearRegression(),
        lambda f: train_test_split(f[["distance"]], f["delay"], random_state=0)[::2],
    ),
    "numpy": (LinearRegression(), lambda f: (f[["month", "distance"]].to_numpy(), f["delay"].to_numpy())),
    "pipeline": (
        make_pipeline(encoder(), LogisticRegression()),
        lambda f: (f[["carrier", "distance"]], f["is_late"]),
    ),
    "grid": (
        GridSearchCV(make_pipeline(encoder(), LogisticRegression()), {"logisticregression__C": [0.1, 1]}, cv=2),
        lambda f: (f[["carrier", "distance"]], f["is_late"]),
    ),
    "random": (
        RandomizedSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]}, n_iter=2, cv=2),
        lambda f: (f[["month", "distance"]], f["is_late"]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_what_sklearn_is_fitted_on_is_bound(shape, frame, tracking, experiment, sklearn_autolog):
    """Frames, series, splits, arrays, pipelines and searches are inputs by autolog, and governed."""
    estimator, choose = SHAPES[shape]
    features, labels = choose(frame)
    estimator.fit(features, labels)
    run, inputs = trained(tracking)
    [one] = inputs
    assert (one.context, one.bound_via) == ("training", "autolog")
    assert one.labels in {("delay",), ("is_late",)}
    assert "nbgov.ungoverned" not in run.data.tags
    told = MlflowRuns().run(run.info.run_id)
    assert sum(told.importance.values()) == pytest.approx(1, abs=1e-4)
    children = tracking.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert not [one for child in children for one in governed_inputs(child)]


@pytest.mark.parametrize(
    "foreign",
    [
        lambda f: (pd.get_dummies(f[["carrier"]]), f["delay"]),
        lambda f: (f[["month"]].merge(pd.DataFrame({"month": range(13), "w": 1.0})), f["delay"]),
        lambda f: (f[["distance"]].to_numpy() + 1, f["delay"]),
        lambda f: (f[["distance"]], np.where(f["delay"] > 25, 1.0, 0.0)),
        lambda f: (pd.DataFrame({"x": np.arange(50.0)}), np.arange(50.0)),
    ],
    ids=["dummies", "merge", "derived-array", "derived-labels", "raw"],
)
def test_what_nobody_can_trace_is_ungoverned(foreign, frame, tracking, experiment, sklearn_autolog):
    """Data whose origin is not proven is an ungoverned input, and the run's verdict unknown."""
    features, labels = foreign(frame)
    LinearRegression().fit(features, labels)
    run, _ = trained(tracking)
    assert run.data.tags["nbgov.ungoverned"]
    assert run.data.tags["nbgov.drift"] == "unknown"
    assert "**UNGOVERNED INPUT:**" in run.data.tags["mlflow.note.content"]


def test_an_autologged_model_lists_its_data(frame, tracking, experiment, tmp_path):
    """A model that autolog logs, and a version registered for it, carry dataset and verdict."""
    mlflow.sklearn.autolog(silent=True, registered_model_name="listed", log_input_examples=False)
    try:
        LinearRegression().fit(frame[["distance"]], frame["delay"])
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    run, [one] = trained(tracking)
    [output] = run.outputs.model_outputs
    metrics = tracking.get_logged_model(output.model_id).metrics
    assert ("nbgov.rows/warehouse.main.flights", one.title) in {
        (metric.key, metric.dataset_name) for metric in metrics
    }
    version = MlflowRuns().model("models:/listed/1")
    assert version.run_id == run.info.run_id
    assert version.tags["nbgov.drift"] == "baseline"
    assert version.tags["nbgov.gate"] == "clear"
    assert len(version.digest) == 64


# ---------------------------------------------------------------- races


def version(seed):
    return nbgov.DatasetVersion(
        version_id=(seed * 32)[:32],
        content_id=(seed * 64)[:64],
        schema_id="5" * 64,
        name="warehouse.main.raced",
        connection="warehouse",
        dialect="duckdb",
        tables=("main.raced",),
        statement="SELECT delay FROM raced",
        statement_mac="6" * 64,
        binds_mac="7" * 64,
        binds=(),
        policy="3f9c1e" + "0" * 58,
        rows=1_000,
        columns=(("delay", "float64", "8" * 64, 1_000),),
        masked={},
    )


def delivery(of):
    return nbgov.Delivery(
        read_id=f"read-{of.version_id[:4]}",
        version_id=of.version_id,
        name=of.name,
        principal="ada@acme.test",
        decision="permit",
        rules=("analysts-read",),
        record=12,
        receipt="acme/12#0123456789abcdef",
        at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
    )


def race(run_ids, versions):
    """Bind a version to each run at the same moment, each in a thread of its own."""
    pairs = {one.version_id: (one, delivery(one)) for one in versions}
    store = MlflowRuns(lambda mark: pairs.get(mark.get("version", "")))
    gate, failed = threading.Barrier(len(run_ids)), []

    def work(run_id, one):
        gate.wait()
        try:
            store.track(delivery(one), run_id=run_id)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    workers = [
        threading.Thread(target=work, args=pair) for pair in zip(run_ids, versions, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed


def lose_nothing(client, experiment):
    for seed in "ab":
        ids = [client.create_run(experiment).info.run_id for _ in range(WRITERS)]
        race(ids, [version(seed)] * WRITERS)
        assert [len(ours(client, run_id)) for run_id in ids] == [1] * WRITERS
    shared = client.create_run(experiment).info.run_id
    race([shared] * WRITERS, [version(f"{n:x}d") for n in range(WRITERS)])
    assert len(ours(client, shared)) == WRITERS
    assert len(client.get_run(shared).data.tags["nbgov.inputs"].split(", ")) == WRITERS


def test_twelve_first_writers_lose_nothing_on_a_server(tracking, experiment):
    """Twelve runs that bind one new version at once all have it, and so does one run of twelve."""
    lose_nothing(tracking, experiment)


@pytest.fixture
def postgresql(postgres_url, tmp_path):
    """MLflow on PostgreSQL, through the driver that nbgov brings: pg8000."""
    socket = Path(postgres_url.partition("host=")[2], ".s.PGSQL.5432")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"postgresql+pg8000://postgres@/postgres?unix_sock={socket}")
    client = mlflow.MlflowClient()
    made = client.create_experiment(str(tmp_path), artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment(experiment_id=made)
    yield client, made
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)


def test_twelve_first_writers_lose_nothing_on_postgresql(postgresql):
    """The same holds on PostgreSQL, which says in other words that a row is there."""
    lose_nothing(*postgresql)


def test_a_training_on_postgresql(postgresql, frame, sklearn_autolog):
    """A retraining on PostgreSQL finds its baseline, and says that the data is the same."""
    for _ in range(2):
        LinearRegression().fit(frame[["distance"]], frame["delay"])
    run, [one] = trained(postgresql[0])
    assert one.bound_via == "autolog"
    assert run.data.tags["nbgov.drift"] == "stable"


# ---------------------------------------------------------------- resumed, and away


def test_a_resumed_run_keeps_its_page(frame, tracking, experiment, sklearn_autolog):
    """A run that is resumed, in which context providers are not asked, adds to what it states."""
    with mlflow.start_run() as run:
        LinearRegression().fit(frame[["distance"]], frame["delay"])
    with mlflow.start_run(run_id=run.info.run_id):
        LinearRegression().fit(frame[["month"]], frame["delay"])
        LinearRegression().fit(pd.DataFrame({"x": np.arange(30.0)}), np.arange(30.0))
    unfinished.sweep()
    held = tracking.get_run(run.info.run_id)
    [one] = governed_inputs(held)
    assert one.bound_via == "autolog"
    assert "DataFrame of 1 column and 30 rows" in MlflowRuns().run(run.info.run_id).ungoverned
    assert held.data.tags["nbgov.ungoverned"] == "2 inputs"


def test_a_server_that_goes_away_costs_no_training(house, frame, ada, tmp_path, monkeypatch):
    """A training whose server dies goes on; what it used is on the run when sync has been run."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port, before = free_port(), mlflow.get_tracking_uri()
    mlflow.sklearn.autolog(log_models=False, silent=True)
    folder = tmp_path / "server"
    folder.mkdir()
    try:
        with serving(folder, port=port) as served:
            mlflow.set_tracking_uri(served.url)
            mlflow.set_experiment("away")
            run = mlflow.start_run()
        fitted = LinearRegression().fit(frame[["month", "distance"]], frame["delay"])
        assert fitted.coef_.shape == (2,)
        ada.track(frame)
        with pytest.raises(Exception, match=r"Max retries|refused|failed"):
            mlflow.end_run()
        unfinished.sweep(is_over=True)
        kept = spool.files(ada.state)
        assert kept
        words = ["sync", "--all"]
        settings = {"config": str(house), "principal": "ada@acme.test"}
        assert CliRunner().invoke(commands.mlflow, words, obj=settings).exit_code == 1
        assert spool.files(ada.state) == kept
        captured.KNOWN.clear()
        with serving(folder, port=port) as served:
            done = CliRunner().invoke(commands.mlflow, words, obj=settings)
            assert done.exit_code == 0, done.output
            assert spool.files(ada.state) == []
            [one] = ours(mlflow.MlflowClient(served.url), run.info.run_id)
            assert (one.bound_via, one.labels) == ("explicit", ("delay",))
            told = MlflowRuns().run(run.info.run_id)
            assert told.packages["mlflow"] == mlflow.__version__
            page = mlflow.MlflowClient().download_artifacts(run.info.run_id, "nbgov/lineage.json")
            assert json.loads(Path(page).read_text())["spec"] == "nbgov/lineage/2"
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
        mlflow.set_tracking_uri(before)
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
