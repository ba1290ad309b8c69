"""Governed inputs on MLflow's run page: a real tracking store, real sessions, real trainings."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow.data.dataset_source_registry import get_dataset_source_from_json
from mlflow.entities import LoggedModelInput, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.utils.autologging_utils.events import AutologgingEventLogger
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import nbgov
from mlflow_plugin import (
    autolog,
    captured,
    commands,
    environment,
    importance,
    note,
    pages,
    spool,
    unfinished,
)
from mlflow_plugin.binding import Work, bind, lock_of
from mlflow_plugin.context import GovernedContext
from mlflow_plugin.dataset import GovernedDataset, display_name
from mlflow_plugin.headers import GovernedHeaders
from mlflow_plugin.inputs import (
    INPUTS_MAX,
    GovernedInput,
    decode,
    encode,
    governed_inputs,
    label_tag,
)
from mlflow_plugin.ledger import LEDGER, RECALLED
from mlflow_plugin.runs import MlflowRuns
from mlflow_plugin.spool import Binding
from nbgov.cli import main
from nbgov.core.audit.merkle import leaf_digest
from nbgov.core.audit.note import Note, VerifierKey
from nbgov.model import Receipt
from tests.flights import CONFIG, build

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    # MLflow's own use of SQLAlchemy and pandas is not ours to mend.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]

SQL = "SELECT month, distance, delay, email FROM flights WHERE month BETWEEN :first AND :last"


@pytest.fixture(scope="module", autouse=True)
def tracking(tmp_path_factory):
    """One tracking store for this file: making one takes seconds."""
    store = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{store}")
    yield store
    mlflow.set_tracking_uri(before)


@pytest.fixture(autouse=True)
def experiment(tmp_path, tracking):
    """An experiment of its own for each test, whose artifacts lie in the test's folder."""
    # What tests of other files have read in this process is a candidate of no run here.
    forget_reads()
    made = mlflow.create_experiment(str(tmp_path), artifact_location=str(tmp_path / "artifacts"))
    mlflow.set_experiment(experiment_id=made)
    yield made
    assert mlflow.active_run() is None
    forget_reads()
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # Where MLflow keeps the choice for subprocesses.


def forget_reads():
    """Forget what was read in this process, and which runs wait to be told of it."""
    unfinished.unfinished.clear()
    unfinished.held.clear()
    LEDGER.clear()
    RECALLED.clear()


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An nbgov.yaml with a warehouse: two seasons of flights, and an address in every row."""
    return build(
        tmp_path_factory.mktemp("house"),
        "CREATE TABLE flights AS SELECT (i % 12) + 1 AS month, 100.0 + i % 97 AS distance,"
        " CASE WHEN i % 12 < 6 THEN i % 11 ELSE 500 + i % 13 END::DOUBLE AS delay,"
        " 'person' || i || '@private.test' AS email FROM range(2400) t(i)",
        config=CONFIG + "  grace@acme.test: {groups: [analysts]}\n",
    )


@pytest.fixture
def ada(house):
    with nbgov.connect(house, as_="ada@acme.test") as session:
        yield session


@pytest.fixture
def sklearn_autolog():
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
    yield
    mlflow.sklearn.autolog(disable=True, silent=True)


@pytest.fixture
def client():
    return mlflow.MlflowClient()


def season(session, first=1, last=2):
    return session.sql(SQL, first=first, last=last).to_pandas()


def tags(client, run_id):
    return client.get_run(run_id).data.tags


def record(client, run_id):
    return json.loads(Path(client.download_artifacts(run_id, "nbgov/lineage.json")).read_text())


def artifacts(client, run_id):
    return {file.path for file in client.list_artifacts(run_id, "nbgov")}


def only_input(client, run_id):
    [one] = governed_inputs(client.get_run(run_id))
    return one


def version(name="warehouse.main.flights", seed="a", **changes):
    made = nbgov.DatasetVersion(
        version_id=(seed * 32)[:32],
        content_id=(seed * 64)[:64],
        schema_id="5" * 64,
        name=name,
        connection="warehouse",
        dialect="duckdb",
        tables=("main.flights",),
        statement="SELECT delay, email FROM flights WHERE month = ?",
        statement_mac="6" * 64,
        binds_mac="7" * 64,
        binds=("month: int",),
        policy="3f9c1e" + "0" * 58,
        rows=1_000,
        columns=(("delay", "float64", "8" * 64, 1_000), ("email", "utf8", "9" * 64, 1_000)),
        masked={"email": "redact pii.email"},
    )
    return replace(made, **changes)


def delivery(of, principal="ada@acme.test", read_id="read-1"):
    return nbgov.Delivery(
        read_id=read_id,
        version_id=of.version_id,
        name=of.name,
        principal=principal,
        decision="permit",
        rules=("analysts-read",),
        record=12,
        receipt="acme/12#0123456789abcdef",
        at=datetime(2026, 11, 23, 8, 0, tzinfo=UTC),
    )


def kept(*versions):
    """A run store over a dataset store that keeps these versions."""
    pairs = {one.version_id: (one, delivery(one)) for one in versions}
    return MlflowRuns(lambda mark: pairs.get(mark.get("version", "")))


# ---------------------------------------------------------------- how a read becomes an input


def test_an_autologged_training_shows_what_it_trained_on(ada, client, sklearn_autolog):
    """A model fitted on a selection of a governed frame has that version as its training input."""
    frame = season(ada)
    LinearRegression().fit(frame[["month", "distance"]], frame["delay"])
    run = mlflow.last_active_run()
    one = only_input(client, run.info.run_id)
    assert (one.name, one.context, one.bound_via) == (
        "warehouse.main.flights",
        "training",
        "autolog",
    )
    assert one.version_id == frame.attrs["nbgov"]["version"]
    assert one.read["nbgov.principal"] == "ada@acme.test"
    [entry] = run.inputs.dataset_inputs
    assert entry.dataset.name == f"warehouse.main.flights@v{one.version_id[:8]}"
    [email] = [
        c for c in json.loads(entry.dataset.schema)["mlflow_colspec"] if c["name"] == "email"
    ]
    assert email["type"].endswith(" · masked redact pii.email")
    assert artifacts(client, run.info.run_id) == {"nbgov/lineage.html", "nbgov/lineage.json"}


def test_the_page_of_an_autologged_run_has_its_parameters_and_metrics(ada, client, sklearn_autolog):
    """The record of an autologged run holds the parameters and metrics logged around the fit."""
    frame = season(ada)
    LinearRegression(positive=True).fit(frame[["distance"]], frame["delay"])
    held = record(client, mlflow.last_active_run().info.run_id)["run"]
    assert held["params"]["positive"] == "True"
    assert "training_score" in held["metrics"]


def test_a_grid_search_is_bound_once(ada, client, sklearn_autolog):
    """A search over many fits binds its data to the run of the search, once."""
    frame = season(ada)
    search = GridSearchCV(LinearRegression(), {"positive": [True, False]}, cv=2)
    with mlflow.start_run() as run:
        search.fit(frame[["distance"]], frame["delay"])
    assert only_input(client, run.info.run_id).bound_via == "autolog"
    assert not autolog.installed[0].trainings


def test_a_frame_that_is_tracked_is_an_explicit_input(ada, client):
    """Tracking a frame binds it to the open run and returns that run's id."""
    frame = season(ada)
    with mlflow.start_run() as run:
        assert ada.track(frame, context="validation") == run.info.run_id
    one = only_input(client, run.info.run_id)
    assert (one.context, one.bound_via) == ("validation", "explicit")


def test_a_frame_can_be_tracked_without_its_session(ada, client):
    """Whoever holds a frame binds it, also where a cell delivered it and no session is at hand."""
    frame = season(ada)
    with mlflow.start_run() as run:
        assert nbgov.track(frame, labels=["arr_delay"]) == run.info.run_id
        with pytest.raises(nbgov.RequestInvalid, match="not delivered by nbgov"):
            nbgov.track(frame.to_numpy())
    one = only_input(client, run.info.run_id)
    assert (one.context, one.bound_via) == ("training", "explicit")


def test_a_read_in_a_run_is_no_more_than_a_read(ada, client):
    """A query that is read while a run is open is bound as a read, not as training data."""
    with mlflow.start_run() as run:
        season(ada)
    one = only_input(client, run.info.run_id)
    assert (one.context, one.bound_via) == ("read", "in_run")


def test_a_training_has_the_first_word(ada, client, sklearn_autolog):
    """Data that is read and trained on within one run stands on MLflow's page as training data."""
    with mlflow.start_run() as run:
        frame = season(ada)
        LinearRegression().fit(frame[["distance"]], frame["delay"])
    [entry] = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert {tag.key: tag.value for tag in entry.tags}["mlflow.data.context"] == "training"


def test_a_read_that_no_training_used_is_bound_when_the_run_is_over(ada, client, sklearn_autolog):
    """With autolog on, a read in a run that nothing was fitted on is still an input of the run."""
    with mlflow.start_run() as run:
        season(ada)
    assert [one.bound_via for one in MlflowRuns().run(run.info.run_id).inputs] == ["in_run"]
    assert only_input(client, run.info.run_id).context == "read"


def test_a_read_in_another_thread_finds_the_run(ada, client):
    """A query that a worker thread reads is bound to the run that the main thread opened."""
    with mlflow.start_run() as run:
        worker = threading.Thread(target=season, args=(ada,))
        worker.start()
        worker.join()
    assert only_input(client, run.info.run_id).bound_via == "in_run"


def test_a_finished_run_can_be_tracked(client, experiment):
    """Data can be bound to a run that has ended, without claiming to know what it ran with."""
    one = version()
    with mlflow.start_run() as run:
        pass
    assert kept(one).track(delivery(one), run_id=run.info.run_id) == run.info.run_id
    assert only_input(client, run.info.run_id).bound_via == "explicit"
    assert record(client, run.info.run_id)["run"]["environment"] == {}


def test_tracking_without_a_run_starts_none(client, experiment):
    """Without an open run and without an id tracking is an error, and no run comes to be."""
    one = version()
    with pytest.raises(nbgov.RequestInvalid) as caught:
        kept(one).track(delivery(one))
    assert caught.value.code == "usage"
    assert mlflow.active_run() is None
    assert client.search_runs([experiment]) == []


@pytest.mark.parametrize("context", ["", "two words", "a,b", "x" * 65])
def test_a_context_is_one_word(context):
    """A context that could be misread on the run page is refused."""
    one = version()
    with pytest.raises(nbgov.RequestInvalid, match="one word"):
        kept(one).track(delivery(one), run_id="any", context=context)


def test_a_stronger_tier_replaces_a_weaker_label_and_never_the_other_way(client):
    """What is known for sure about an input survives what is known less surely."""
    one = version()
    store = kept(one)
    with mlflow.start_run() as run:
        store.delivered(one, delivery(one))
        store.track(delivery(one), context="validation")
        store.delivered(one, delivery(one))
    bound = only_input(client, run.info.run_id)
    assert (bound.context, bound.bound_via) == ("validation", "explicit")
    label = f"warehouse.main.flights@v{'a' * 8} validation via explicit"
    assert tags(client, run.info.run_id)["nbgov.inputs"] == label


def test_a_run_does_not_collect_reads_without_end(client, experiment):
    """A run that reads more datasets than fit on a page keeps the first ones."""
    run_id = client.create_run(experiment).info.run_id
    many = [version(seed=f"{n:02x}", name=f"d{n}") for n in range(INPUTS_MAX + 1)]
    entries = [encode(one, delivery(one), "read", "in_run") for one in many[:-1]]
    client.log_inputs(run_id, entries)
    last = Binding(run_id, many[-1], delivery(many[-1]), "read", "in_run")
    bind(run_id, Work((last,)), kept(*many).lookup)
    assert len(governed_inputs(client.get_run(run_id))) == INPUTS_MAX


def test_a_write_is_no_input(client):
    """A statement that returns no columns is not bound to the open run."""
    one = version(columns=(), rows=0)
    with mlflow.start_run() as run:
        kept(one).delivered(one, delivery(one))
    assert governed_inputs(client.get_run(run.info.run_id)) == ()


# ---------------------------------------------------------------- what MLflow keeps for ever


def test_two_runs_share_a_version_and_keep_their_own_readers(house, client):
    """Equal data read by two principals is one dataset, and each run names its own reader."""
    runs = {}
    for name in ("ada@acme.test", "grace@acme.test"):
        with nbgov.connect(house, as_=name) as session, mlflow.start_run() as run:
            session.track(season(session, 3, 4))
        runs[name] = only_input(client, run.info.run_id)
    mine, hers = runs.values()
    assert mine.version_id == hers.version_id
    assert mine.facts == hers.facts
    assert [one.read["nbgov.principal"] for one in runs.values()] == list(runs)
    assert mine.read["nbgov.receipt"] != hers.read["nbgov.receipt"]


def test_a_run_carries_receipts_and_a_checkpoint_over_them(house, client):
    """The tags of a run hold the whole receipts of its reads, and a checkpoint that covers them."""
    with nbgov.connect(house, as_="ada@acme.test") as session:
        with mlflow.start_run() as run:
            session.track(season(session, 5, 6))
            session.track(season(session, 7, 8), context="validation")
        found = tags(client, run.info.run_id)
        receipts = [Receipt.parse(text) for text in found["nbgov.receipt"].split(", ")]
        lines = list(session.world.audit.entries())
        assert len(receipts) == 2
        assert [leaf_digest(lines[r.index]) for r in receipts] == [r.entry_digest for r in receipts]
        note = Note.parse(found["nbgov.checkpoint"])
        origin, key = receipts[0].origin, session.world.signer.public_key()
        assert note.signed_by(VerifierKey(origin, key)) is not None
        assert note.checkpoint.size > max(r.index for r in receipts)
        page = Path(
            client.download_artifacts(run.info.run_id, "nbgov/lineage.html", str(house.parent))
        ).read_text()
        assert f">{receipts[0].short}<" in page


texts = st.text(max_size=300)
versions = st.builds(
    version,
    name=st.text(min_size=1, max_size=700),
    seed=st.sampled_from("0123456789abcdef"),
    statement=st.text(max_size=3_000).map(lambda text: text * 30),
    tables=st.lists(texts, max_size=80).map(tuple),
    binds=st.lists(texts, max_size=80).map(tuple),
    rows=st.integers(0, 10**9),
    masked=st.dictionaries(texts, texts, max_size=80),
    columns=st.lists(
        st.tuples(texts, texts, st.just("8" * 64), st.integers(0, 9)), max_size=60
    ).map(tuple),
)


@given(versions)
def test_a_dataset_fits_into_mlflow(one):
    """Whatever the version, its dataset stays below every limit of MLflow."""
    stated = GovernedDataset(one).to_dict()
    assert len(stated["digest"]) <= 36
    assert len(stated["name"]) <= 500
    assert len(stated["source"]) <= 65_535
    assert len(stated["schema"]) <= 1_048_575
    profile = json.loads(stated["profile"])
    assert len(profile) <= 12
    assert all(len(str(value)) <= 80 for value in profile.values())


@given(versions, st.dictionaries(texts, texts))
def test_equal_versions_make_equal_datasets(one, profile):
    """Everything that MLflow keeps of a dataset is a function of the version alone."""
    again = replace(one, profile=profile)
    assert again == one
    assert GovernedDataset(again).to_dict() == GovernedDataset(one).to_dict()


@given(versions)
def test_an_input_is_read_back_as_it_was_written(one):
    """The tags of an input stay below MLflow's limit and come back with name, version and label."""
    entry = encode(one, delivery(one), "training", "autolog")
    assert all(len(tag.value) <= 500 for tag in entry.tags)


@pytest.mark.parametrize(("tier", "kept"), [("session", "autolog"), ("explicit", "explicit")])
def test_a_tag_raises_a_label_and_never_lowers_it(tier, kept):
    """Whoever rewrites the run's tag cannot turn what was trained on into a mere read."""
    one = version()
    entry = encode(one, delivery(one), "training", "autolog")
    found = decode(entry, f"{display_name(one)} validation via {tier}")
    assert found.bound_via == kept


def test_the_label_of_many_inputs_fits_into_a_tag():
    """The tag that lists the inputs drops the last ones rather than be cut by MLflow."""
    many = tuple(GovernedInput("n" * 400, f"{n:032x}", "read", "in_run") for n in range(50))
    assert len(label_tag(many)) <= 8_000
    assert label_tag(many).endswith("read via in_run")


def test_few_rows_publish_no_content_digest():
    """A digest that could be inverted by trying likely values does not reach the run page."""
    few = GovernedDataset(version(rows=19)).to_dict()
    many = GovernedDataset(version(rows=20)).to_dict()
    assert "content" not in json.loads(few["source"]) | json.loads(few["profile"])
    assert "content" in json.loads(many["source"])
    assert not any("6" * 64 in text or "7" * 64 in text for text in many.values())


def test_eight_threads_lose_nothing(client, experiment):
    """Eight runs that bind one new version at the same moment all have it as an input."""
    one = version(seed="e")
    store = kept(one)
    ids = [client.create_run(experiment).info.run_id for _ in range(8)]
    gate = threading.Barrier(len(ids))

    def work(run_id):
        gate.wait()
        store.track(delivery(one), run_id=run_id)

    workers = [threading.Thread(target=work, args=(run_id,)) for run_id in ids]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [only_input(client, run_id).version_id for run_id in ids] == [one.version_id] * 8


def test_eight_threads_on_one_run_lose_nothing(client, experiment):
    """Eight threads that bind different versions to one run leave a page with all of them."""
    many = [version(seed=f"{n}f") for n in range(8)]
    store = kept(*many)
    run_id = client.create_run(experiment).info.run_id
    workers = [
        threading.Thread(target=store.track, args=(delivery(one),), kwargs={"run_id": run_id})
        for one in many
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(governed_inputs(client.get_run(run_id))) == 8
    assert len(record(client, run_id)["run"]["inputs"]) == 8


def test_binding_twice_changes_nothing(client):
    """A second identical binding leaves inputs, tags, note and metric histories as they were."""
    old, new = version(seed="1"), version(seed="2")
    store = kept(old, new)
    with mlflow.start_run():
        store.track(delivery(old))
    with mlflow.start_run() as run:
        store.track(delivery(new))
    first = client.get_run(run.info.run_id)
    store.track(delivery(new), run_id=run.info.run_id)
    second = client.get_run(run.info.run_id)
    assert second.data.tags == first.data.tags
    assert len(second.inputs.dataset_inputs) == 1
    histories = [client.get_metric_history(run.info.run_id, key) for key in second.data.metrics]
    assert [len(history) for history in histories] == [1] * len(histories)


# ---------------------------------------------------------------- same data as last time?


def trained(session, *, first, last, **params):
    with mlflow.start_run() as run:
        session.track(season(session, first, last))
        mlflow.log_params(params)
    unfinished.sweep()
    return run.info.run_id


def test_the_first_run_is_the_baseline(ada, client):
    """A run with no earlier one like it says so, and has no drift to chart."""
    run_id = trained(ada, first=1, last=2)
    assert tags(client, run_id)["nbgov.drift"] == "baseline"
    assert tags(client, run_id)[note.NOTE_TAG].splitlines()[1].startswith("**BASELINE** ")
    assert not client.get_run(run_id).data.metrics


def test_the_same_data_is_stable(ada, client):
    """A run on the same data as the last one is stable, and links to it."""
    before = trained(ada, first=1, last=2)
    run_id = trained(ada, first=1, last=2)
    held = tags(client, run_id)
    assert held["nbgov.drift"] == "stable"
    assert held["nbgov.baseline"] == before
    assert held["nbgov.fingerprint"] == tags(client, before)["nbgov.fingerprint"]
    line = held[note.NOTE_TAG].splitlines()[1]
    assert line.startswith("**SAME DATA** ")
    assert f"/runs/{before})" in line
    assert "nbgov/drift.csv" not in artifacts(client, run_id)


def test_other_data_is_drift_with_reasons(ada, client):
    """A retraining on another season names the column that moved in note, tags, chart and table."""
    before = trained(ada, first=1, last=2, depth=6)
    run_id = trained(ada, first=8, last=9, depth=8)
    run = client.get_run(run_id)
    assert run.data.tags["nbgov.drift"] == "drifted"
    assert set(run.data.tags["nbgov.drift.why"].split(",")) >= {"distribution", "binds", "params"}
    assert run.data.tags["nbgov.fingerprint"] != tags(client, before)["nbgov.fingerprint"]
    assert run.data.tags[note.NOTE_TAG].splitlines()[1].startswith("**DRIFTED** ")
    assert run.data.metrics["nbgov.drift/max_psi"] > 0.2
    assert run.data.metrics["nbgov.drift/changed_inputs"] == 1
    assert run.data.metrics["nbgov.drift/rows_pct"] == 0
    assert "nbgov/drift.csv" in artifacts(client, run_id)
    table = Path(client.download_artifacts(run_id, "nbgov/drift.csv")).read_text()
    assert "delay" in table
    assert "depth" in table


def test_a_baseline_that_a_person_chose_stays(ada, client):
    """The run that a person names as the baseline is compared with, however often we write."""
    first = trained(ada, first=1, last=2)
    trained(ada, first=8, last=9)
    run_id = trained(ada, first=1, last=2)
    assert tags(client, run_id)["nbgov.drift"] == "drifted"
    client.set_tag(run_id, "nbgov.baseline", first)
    for _ in range(2):
        ada.track(season(ada, 1, 2), run_id=run_id)
        held = tags(client, run_id)
        assert (held["nbgov.baseline"], held["nbgov.drift"]) == (first, "stable")
        assert not held["nbgov.drift.why"]
        assert set(client.get_run(run_id).data.metrics.values()) == {0.0}
        table = Path(client.download_artifacts(run_id, "nbgov/drift.csv")).read_text()
        assert "distribution" not in table


def test_a_baseline_that_is_not_there_is_said_to_be_missing(client):
    """A baseline tag that names no run makes the verdict unknown, and the page is written."""
    one = version(seed="6")
    with mlflow.start_run(tags={"nbgov.baseline": "0" * 32}) as run:
        kept(one).track(delivery(one))
    held = tags(client, run.info.run_id)
    assert held["nbgov.drift"] == "unknown"
    assert held["nbgov.baseline"] == "0" * 32
    assert held[note.NOTE_TAG].splitlines()[1].startswith("**UNKNOWN** ")


def test_only_runs_with_the_same_inputs_are_compared(client):
    """A run on other datasets, or one that failed, is no baseline."""
    flights, weather = version(seed="3"), version(name="warehouse.main.weather", seed="4")
    store = kept(flights, weather)
    with mlflow.start_run():
        store.track(delivery(weather))
    mlflow.start_run()
    store.track(delivery(flights))
    mlflow.end_run("FAILED")
    with mlflow.start_run() as run:
        store.track(delivery(flights))
    assert tags(client, run.info.run_id)["nbgov.drift"] == "baseline"


def test_a_page_is_written_again_when_its_run_is_over(client):
    """What was logged after the binding is on the page once the next run starts."""
    one = version(seed="5")
    store = kept(one)
    with mlflow.start_run() as run:
        store.track(delivery(one))
        mlflow.log_param("late", "yes")
    assert "late" not in record(client, run.info.run_id)["run"]["params"]
    unfinished.sweep()
    assert record(client, run.info.run_id)["run"]["params"] == {"late": "yes"}
    assert run.info.run_id not in {run_id for _, run_id in unfinished.unfinished}


@pytest.fixture
def shell():
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    unfinished.watching.clear()
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()
    unfinished.watching.clear()


def test_a_page_is_written_again_when_its_cell_is_over(client, shell):
    """In a notebook the page is complete once the cell is, with a digest of the cells that ran."""
    one = version(seed="7")
    shell.push({"store": kept(one), "given": delivery(one), "mlflow": mlflow})
    cell = """
    with mlflow.start_run() as run:
        store.track(given)
        mlflow.log_param("late", "secret-in-a-cell")
    """
    shell.run_cell(textwrap.dedent(cell), store_history=True).raise_error()
    held = record(client, shell.user_ns["run"].info.run_id)["run"]
    assert held["params"] == {"late": "secret-in-a-cell"}
    assert len(held["code"]["cells"]) == 12
    assert "store.track" not in json.dumps(held)


def test_a_run_reads_back_as_a_value(ada, client):
    """A run has its inputs, parameters, code and packages, and nothing that nbgov itself logged."""
    trained(ada, first=1, last=2)
    run_id = trained(ada, first=8, last=9, depth=8)
    run = MlflowRuns().run(run_id)
    assert run.run_id == run_id
    assert run.params == {"depth": "8"}
    assert run.metrics == {}
    [one] = run.inputs
    assert (one.name, one.context, one.bound_via) == (
        "warehouse.main.flights",
        "training",
        "explicit",
    )
    assert run.packages["mlflow"] == mlflow.__version__
    assert nbgov.compare(run, run, versions={}).status in {"stable", "unknown"}


# ---------------------------------------------------------------- nothing leaks, nothing breaks


def test_no_masked_value_reaches_mlflow(ada, client, tmp_path, sklearn_autolog):
    """No address from a masked column is in any tag, input, metric or artifact of its runs."""
    for first in (1, 8):
        with mlflow.start_run() as run:
            frame = season(ada, first, first + 1)
            LinearRegression().fit(frame[["distance"]], frame["delay"])
            ada.track(frame)
    unfinished.sweep()
    assert tags(client, run.info.run_id)["nbgov.drift"] == "drifted"
    files = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert not [path for path in files if b"private.test" in path.read_bytes()]
    runs = client.search_runs([run.info.experiment_id])
    assert not [one for one in runs if "private.test" in json.dumps(one.to_dictionary())]


BAD = "<script>x()</script><img src=http://evil.test onerror=x>[a](http://evil.test)|`www.a.test"


@pytest.fixture
def hostile():
    """A lineage and an input in which every name is somebody's attempt at an injection."""
    cause = nbgov.Cause("levels", f"={BAD}", f"+{BAD}", 1.0)
    report = nbgov.DriftReport(BAD, BAD, None, (cause,), BAD, "drifted")
    run = nbgov.Run("1" * 32, BAD, (), {}, {}, ungoverned=(BAD,))
    one = GovernedInput(
        name=BAD,
        version_id="0" * 32,
        context="read",
        bound_via="in_run",
        read={"nbgov.principal": BAD},
        facts={"masked": {BAD: BAD}, "rows": 3},
    )
    return nbgov.Lineage(run=run, report=report), one


def test_a_note_shows_hostile_names_as_text(hostile, client, experiment):
    """No name in the note becomes a link, an element or a cell; the only link is our own."""
    lineage, one = hostile
    baseline = client.get_run(client.create_run(experiment, run_name=BAD).info.run_id)
    text = note.note(lineage, (one,), baseline, "")
    assert "](http" not in text
    assert "<script" not in text
    assert "://" not in text
    assert "www." not in text
    assert text.count("](") == 1
    [row] = [line for line in text.splitlines() if line.startswith("| &lt;script")]
    assert row.replace("\\|", "").count("|") == 6


def test_a_spreadsheet_runs_no_name(hostile):
    """A column whose name is a formula is text in the table of causes."""
    [_, row] = list(csv.reader(pages.drift_csv(hostile[0].report).splitlines()))
    assert row[3].startswith("'+")


@given(st.text(max_size=7_900).filter(lambda text: note.BEGIN not in text))
def test_a_note_keeps_what_the_user_wrote(text):
    """The user's own text stays in the note, whole, and writing the same again changes nothing."""
    report = nbgov.DriftReport("", "run", True, (), "Same data.", "stable")
    lineage = nbgov.Lineage(report=report)
    once = note.note(lineage, (), None, text)
    assert text in once
    assert len(once) <= note.NOTE_MAX
    assert note.note(lineage, (), None, once) == once
    assert ("**STABLE**" in once) == (len(text) < 7_800)


def test_an_edited_note_keeps_both_sides(hostile):
    """Text before and after our block survives an update, byte for byte."""
    lineage, one = hostile
    once = f"before\n{note.note(lineage, (one,), None, '')}\nafter"
    again = note.note(lineage, (), None, once)
    assert again.startswith("before\n<!-- nbgov:begin -->")
    assert again.endswith("<!-- nbgov:end -->\nafter")
    assert again != once


BROKEN = """
import sys, warnings

class Break:
    def find_spec(self, name, path=None, target=None):
        if name == "nbgov" or name in ("mlflow_plugin.autolog", "mlflow_plugin.binding"):
            raise RuntimeError("broken on purpose: " + name)

sys.meta_path.insert(0, Break())
sys.modules["nbgov.session"] = None
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.log_param("a", 1)
    assert mlflow.data.from_governed
assert mlflow.MlflowClient().get_run(run.info.run_id).info.status == "FINISHED"
print("trained")
"""


def test_a_broken_nbgov_breaks_no_mlflow(tmp_path, tracking):
    """With nbgov and the plugin's own insides broken, MLflow imports and a run finishes."""
    outside = {name: value for name, value in os.environ.items() if name != "MLFLOW_EXPERIMENT_ID"}
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, f"sqlite:///{tracking}"],
        cwd=tmp_path, env=outside, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip().endswith("trained"), done.stderr
    assert "Failure attempting to register" not in done.stderr


LATE = """
import sys, warnings
warnings.simplefilter("error", UserWarning)
from datetime import UTC, datetime
import nbgov, mlflow_plugin.runs
delivery = nbgov.Delivery("r", "v", "n", "ada", "permit", (), 1, "x", datetime.now(UTC))
columns = (("a", "int", "", 1),)
version = nbgov.DatasetVersion(*["v"] * 6, (), *["v"] * 3, (), "", 1, columns, {})
store = mlflow_plugin.runs.MlflowRuns(lambda mark: (version, delivery))
store.delivered(version, delivery)
print("mlflow" in sys.modules)
try:
    store.track(delivery, run_id="0" * 32)
except nbgov.NbgovError as error:
    print(error.code)
import mlflow
print(hasattr(mlflow.data, "from_governed"))
"""


def test_mlflow_is_imported_late_and_whole(tmp_path, tracking):
    """No delivery imports MLflow; when a call for a run does, MLflow finds the whole plugin."""
    done = subprocess.run(
        [sys.executable, "-c", LATE],
        cwd=tmp_path, env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tracking}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "unknown-run", "True"], done.stderr


@pytest.fixture
def absent_server(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    yield
    mlflow.set_tracking_uri(before)


def test_an_absent_server_is_an_error_to_who_asks(absent_server):
    """A tracking server that is down fails an explicit call, with a reason and a next step."""
    one = version()
    for call in (
        lambda: MlflowRuns().run("a" * 32),
        lambda: kept(one).track(delivery(one), run_id="a" * 32),
    ):
        with pytest.raises(nbgov.BackendFailed) as caught:
            call()
        assert caught.value.code == "run-store-failed"
        assert caught.value.next_step


def test_an_absent_server_fails_no_query(monkeypatch, caplog, client):
    """A delivery that cannot be bound is a warning without a value, and nothing else."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    one = version()
    before = mlflow.get_tracking_uri()
    with mlflow.start_run():
        mlflow.set_tracking_uri("http://127.0.0.1:9")
        with caplog.at_level(logging.WARNING, logger="mlflow_plugin"):
            kept(one).delivered(one, delivery(one))
        mlflow.set_tracking_uri(before)
    [line] = [entry.getMessage() for entry in caplog.records if "nbgov" in entry.getMessage()]
    assert "not bound" in line
    assert "ada" not in line


def test_an_unknown_run_is_a_bad_request():
    """A run that is not there is the caller's mistake."""
    one = version()
    for call in (
        lambda: MlflowRuns().run("0" * 32),
        lambda: kept(one).track(delivery(one), run_id="0" * 32),
    ):
        with pytest.raises(nbgov.RequestInvalid) as caught:
            call()
        assert caught.value.code == "unknown-run"


def test_a_version_that_is_not_kept_cannot_be_tracked(experiment):
    """A delivery from another state folder is refused before a run is touched."""
    with pytest.raises(nbgov.RequestInvalid, match="not a governed dataset version"):
        kept().track(delivery(version()), run_id="0" * 32)


def test_forged_inputs_do_not_stop_a_page(client, experiment):
    """A source that somebody else wrote with wrong types is shown as far as it makes sense."""
    from mlflow.entities import Dataset, DatasetInput

    run_id = client.create_run(experiment).info.run_id
    forged = json.dumps({"kind": "nbgov/1", "rows": "many", "tables": [1], "masked": [2]})
    client.log_inputs(
        run_id,
        [
            DatasetInput(Dataset("forged", "f" * 32, "external", forged), []),
            DatasetInput(Dataset("other", "e" * 32, "external", "not json"), []),
        ],
    )
    client.log_text(run_id, '["no record"]', "nbgov/lineage.json")
    one = version()
    kept(one).track(delivery(one), run_id=run_id)
    assert {held["name"] for held in record(client, run_id)["run"]["inputs"]} == {
        one.name,
        "forged",
    }


# ---------------------------------------------------------------- MLflow's other doors


def test_context_tags_are_short_strings_while_a_session_is_open(house, client):
    """A run that starts while a session is open names it; one that starts later does not."""
    with nbgov.connect(house, as_="ada@acme.test") as session:
        assert GovernedContext().in_context()
        with mlflow.start_run() as run:
            pass
        held = tags(client, run.info.run_id)
        assert held["nbgov.session"] == session.id
        assert held["nbgov.v"] == nbgov.__version__
        headers = GovernedHeaders().request_headers()
        assert headers["X-Nbgov-Session"] == session.id
        assert GovernedHeaders().in_context()
    assert not GovernedContext().in_context()
    assert not GovernedHeaders().in_context()


def test_the_plugin_is_registered_with_mlflow(ada, client):
    """MLflow finds our source by its type, and our constructor by its name."""
    frame = season(ada)
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_governed(frame), context="training")
    [entry] = client.get_run(run.info.run_id).inputs.dataset_inputs
    source = get_dataset_source_from_json(entry.dataset.source, entry.dataset.source_type)
    assert source.to_dict()["kind"] == "nbgov/1"
    with pytest.raises(nbgov.RequestInvalid):
        source.load()
    assert only_input(client, run.info.run_id).version_id == frame.attrs["nbgov"]["version"]


def test_a_frame_without_a_mark_is_no_governed_dataset(ada):
    """A frame that lost its mark, or a digest that names another version, makes no dataset."""
    frame = season(ada)
    with pytest.raises(nbgov.RequestInvalid, match="another dataset version"):
        mlflow.data.from_governed(frame, digest="0" * 32)
    frame.attrs.clear()
    with pytest.raises(nbgov.RequestInvalid, match="not a governed dataset version"):
        mlflow.data.from_governed(frame)


def test_the_event_logger_before_us_hears_everything():
    """Every event reaches the logger that was in place, also when its function is ours to watch."""
    heard = []

    class Before(AutologgingEventLogger):
        def __getattribute__(self, name):
            if name.startswith("log_"):
                return lambda *event: heard.append((name, event))
            return super().__getattribute__(name)

    listener = autolog.TrainingListener(Before())
    names = [name for name in vars(AutologgingEventLogger) if name.startswith("log_")]
    for name in names:
        count = getattr(AutologgingEventLogger, name).__code__.co_argcount - 1
        getattr(listener, name)(*range(count))
    assert [name for name, _ in heard] == names
    assert all(event == tuple(range(len(event))) for _, event in heard)


def test_the_listener_is_installed_once():
    """However often a run starts, there is one listener in MLflow's slot."""
    autolog.install()
    first = AutologgingEventLogger.get_logger()
    autolog.install()
    assert AutologgingEventLogger.get_logger() is first


# ---------------------------------------------------------------- what ran


def test_packages_come_from_folder_names(tmp_path):
    """A distribution's version is read from its folder's name, and the first folder wins."""
    for folder in ("first/A_b-1.0.dist-info", "second/a_b-2.0.dist-info", "second/c-3.dist-info"):
        (tmp_path / folder).mkdir(parents=True)
    found = environment.packages([str(tmp_path / "first"), str(tmp_path / "second"), "absent"])
    assert found == {"a-b": "1.0", "c": "3"}


def test_a_checkout_names_its_commit_and_runs_nothing(tmp_path):
    """Commit and dirty flag are told without starting the program that a checkout configures."""
    marker = tmp_path / "started"
    for command in (
        ["init", "-q"],
        ["config", "user.email", "ada@acme.test"],
        ["config", "user.name", "ada"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
        ["config", "core.fsmonitor", f"touch {marker} #"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    facts = environment.code(tmp_path)
    assert len(facts["commit"]) == 40
    assert facts["dirty"] == "false"
    assert not marker.exists()


def test_a_folder_without_git_has_no_commit(tmp_path, monkeypatch):
    """Outside a checkout, and without git at all, the code is simply not known."""
    assert "commit" not in environment.code(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert "commit" not in environment.code(ROOT)


def test_a_run_hands_over_what_it_holds(tmp_path, capsys):
    """Params, tags, inputs and every artifact can be looked through, and a scan finds what is there."""
    frame = mlflow.data.from_numpy(np.zeros(2), name="ada@example.com")
    with mlflow.start_run() as run:
        mlflow.log_params({"owner": "ada@example.com", "depth": 3})
        mlflow.set_tag("reviewer", "bo@example.com")
        mlflow.log_metric("rmse", 0.5)
        mlflow.log_input(frame)
        mlflow.log_text("cy@example.com", "sub/folder/note.txt")
        mlflow.log_dict({"who": "di@example.com"}, "d.json")
        mlflow.log_text("binary", "model.bin")
    runs = MlflowRuns()
    capsys.readouterr()
    pieces = runs.contents(run.info.run_id, folder=tmp_path, wanted=lambda p: p != "model.bin")
    found = dict(pieces)
    assert capsys.readouterr().err == ""
    assert sorted(found["params"]) == ["depth=3", "owner=ada@example.com"]
    assert "reviewer=bo@example.com" in found["tags"]
    assert "rmse" in found["metrics"]
    assert "ada@example.com" in found["inputs"]
    assert found["model.bin"] is None
    assert found["sub/folder/note.txt"].read_text() == "cy@example.com"
    assert tmp_path in found["d.json"].parents
    with pytest.raises(nbgov.RequestInvalid, match="no run"):
        next(runs.contents("0" * 32, folder=tmp_path, wanted=bool))
    words = ["scan", f"runs:/{run.info.run_id}", "--entities", "EMAIL_ADDRESS", "--json"]
    ran = CliRunner().invoke(main, words)
    assert ran.exit_code == 1, ran.output
    told = json.loads(ran.stdout)
    assert "example.com" not in ran.stdout
    by_file = {f["file"].removeprefix(f"runs:/{run.info.run_id}"): f for f in told["files"]}
    assert {name for name, f in by_file.items() if f["places"]} >= {
        "",
        "/d.json",
        "/sub/folder/note.txt",
    }
    assert {p["place"] for p in by_file[""]["places"]} == {"params", "tags", "inputs"}
    assert told["not_read"] == {".bin": 1}


# ---------------------------------------------------------------- what nbgov did not deliver


def first_line(client, run_id):
    return tags(client, run_id)[note.NOTE_TAG].splitlines()[1]


def foreign(run_id):
    return MlflowRuns().run(run_id).ungoverned


def raw_frame(rows=60):
    return pd.DataFrame({"a": np.arange(rows) * 1.5, "b": np.arange(rows) % 7.0})


def test_a_fit_on_a_raw_frame_is_an_ungoverned_input(ada, client, sklearn_autolog):
    """A training on data that nbgov did not deliver says so first, in tags, note and value."""
    frame = raw_frame()
    LinearRegression().fit(frame[["a"]], frame["b"])
    run_id = mlflow.last_active_run().info.run_id
    held = tags(client, run_id)
    assert held["nbgov.drift"] == "unknown"
    assert held["nbgov.ungoverned"] == "2 inputs"
    assert first_line(client, run_id).startswith("**UNGOVERNED INPUT:** DataFrame of 1 column")
    told = MlflowRuns().run(run_id)
    assert told.ungoverned[0] == "DataFrame of 1 column and 60 rows"
    assert any("labels: Series" in words for words in told.ungoverned)


def test_ungoverned_data_beside_governed_data_is_not_hidden(ada, client, sklearn_autolog):
    """Labels from elsewhere make a run on governed features an ungoverned one."""
    frame = season(ada)
    LinearRegression().fit(frame[["distance"]], np.arange(len(frame)) % 7)
    run_id = mlflow.last_active_run().info.run_id
    assert only_input(client, run_id).bound_via == "autolog"
    assert foreign(run_id) == ("labels: NumPy array of 1 column and 400 rows",)
    assert tags(client, run_id)["nbgov.ungoverned"] == "1 input"
    assert tags(client, run_id)["nbgov.drift"] == "unknown"


def test_governed_numpy_arrays_are_recognised(ada, client, sklearn_autolog):
    """Arrays that hold exactly the columns of a delivered result are that result, labels too."""
    frame = season(ada)
    LinearRegression().fit(frame[["month", "distance"]].to_numpy(), frame["delay"].to_numpy())
    run_id = mlflow.last_active_run().info.run_id
    one = only_input(client, run_id)
    assert (one.context, one.bound_via, one.labels) == ("training", "autolog", ("delay",))
    assert "nbgov.ungoverned" not in tags(client, run_id)
    told = MlflowRuns().run(run_id)
    assert set(told.importance) == {"month", "distance"}
    assert told.inputs[0].labels == ("delay",)
    assert told.inputs[0].read_at is not None


@pytest.mark.slow
def test_a_closed_session_is_not_forgotten(house, client, sklearn_autolog):
    """What a session delivered stays known when it is closed, and so does the verdict of its runs."""
    with nbgov.connect(house, as_="ada@acme.test") as session:
        frame = season(session)
    for _ in range(2):
        LinearRegression().fit(frame[["distance"]], frame["delay"])
    run_id = mlflow.last_active_run().info.run_id
    assert only_input(client, run_id).bound_via == "autolog"
    assert tags(client, run_id)["nbgov.drift"] == "stable"
    with nbgov.connect(house, as_="ada@acme.test") as session, mlflow.start_run() as run:
        session.track(season(session, 8, 9))
    unfinished.sweep()
    assert tags(client, run.info.run_id)["nbgov.drift"] == "drifted"
    assert client.get_run(run.info.run_id).data.metrics["nbgov.drift/changed_inputs"] == 1


@pytest.mark.slow
def test_one_cell_that_differs_is_not_recognised(ada, client, sklearn_autolog):
    """An array with a single other value is not the delivered result; that is a candidate then."""
    frame = season(ada)
    values = frame[["month", "distance"]].to_numpy(copy=True)
    values[7, 1] += 1
    LinearRegression().fit(values, frame["delay"])
    run_id = mlflow.last_active_run().info.run_id
    assert foreign(run_id) == ("NumPy array of 2 columns and 400 rows",)


@pytest.mark.slow
def test_columns_of_odd_types_are_not_recognised(ada, client, sklearn_autolog):
    """Half floats, which Arrow cannot tell apart, are ungoverned beside a result as long as they."""
    season(ada)
    values = np.arange(800, dtype="float16").reshape(400, 2)
    LinearRegression().fit(values, values[:, 0])
    run_id = mlflow.last_active_run().info.run_id
    assert foreign(run_id)[0] == "NumPy array of 2 columns and 400 rows"


def test_data_that_fails_when_it_is_looked_at_is_ungoverned():
    """A failure of ours must not leave a run without a word on what it was fitted on."""

    class Odd:
        @property
        def shape(self):
            raise RuntimeError("secret")

    data = autolog.told((LinearRegression, "fit"), (LinearRegression(), Odd()), {})
    assert [one.words for one in data.foreign] == ["data that nbgov cannot look into"]
    assert data.used == ()


def test_an_interrupted_training_is_let_go(ada, client, sklearn_autolog):
    """MLflow does not say that a cell was interrupted; the next training frees what that one held."""
    listener = autolog.TrainingListener(AutologgingEventLogger())
    frame = season(ada)
    with mlflow.start_run():
        for session_id in ("one", "two"):
            session = SimpleNamespace(id=session_id)
            listener.start(session, LinearRegression, "fit", (LinearRegression(), frame), {})
    assert [key[0] for key in listener.trainings] == ["two"]


def test_a_page_that_another_thread_writes_is_not_waited_for(monkeypatch):
    """A sweep passes a run by whose page is being written, and comes to it the next time."""
    seen = []
    monkeypatch.setattr(unfinished, "complete", lambda key, **_: seen.append(key))
    key = ("sqlite://", "0" * 32)
    unfinished.unfinished[key] = nbgov.lookup
    with lock_of(key[1]):
        unfinished.rewrite(*key)
    assert (seen, key in unfinished.unfinished) == ([], True)
    unfinished.rewrite(*key)
    assert seen == [key]


def test_what_was_delivered_before_is_a_candidate_and_no_more(ada, client, sklearn_autolog):
    """A fit on data without a mark has the session's reads as candidates, and an unknown verdict."""
    season(ada)
    frame = raw_frame()
    LinearRegression().fit(frame[["a"]], frame["b"])
    unfinished.sweep()
    run_id = mlflow.last_active_run().info.run_id
    one = only_input(client, run_id)
    assert (one.context, one.bound_via) == ("session", "session")
    assert tags(client, run_id)["nbgov.drift"] == "unknown"


@pytest.mark.slow
def test_a_run_without_autolog_has_candidates(ada, client):
    """A run that nothing was bound to, after a read in its process, states what it may have used."""
    season(ada)
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
    unfinished.sweep()
    assert only_input(client, run.info.run_id).bound_via == "session"
    assert first_line(client, run.info.run_id).startswith("**UNKNOWN** nothing says")


@pytest.mark.slow
def test_tracking_the_source_accounts_for_what_was_made_from_it(ada, client, sklearn_autolog):
    """Code that tracks a governed frame is believed about arrays no longer than it, and no others."""
    frame = season(ada)
    half = frame[["distance"]].to_numpy()[:200] * 2
    with mlflow.start_run() as run:
        LinearRegression().fit(half, frame["delay"].to_numpy()[:200] / 2)
        ada.track(frame)
    assert not tags(client, run.info.run_id)["nbgov.ungoverned"]
    with mlflow.start_run() as run:
        LinearRegression().fit(np.arange(5000.0).reshape(-1, 1), np.arange(5000.0))
        ada.track(frame)
    assert "5,000 rows" in foreign(run.info.run_id)[0]
    with mlflow.start_run() as run:
        LinearRegression().fit(raw_frame()[["a"]], raw_frame()["b"].to_numpy())
        ada.track(frame)
    assert foreign(run.info.run_id) == ("DataFrame of 1 column and 60 rows",)


# ---------------------------------------------------------------- how much a model leans on what


def random_state():
    return np.random.get_state()[1].tolist()  # noqa: NPY002 - it is the state that others share


def leaning(**columns):
    """A frame, and labels that only its column `main` makes."""
    frame = pd.DataFrame({"main": np.linspace(0, 9, 300), "other": np.tile([0.0, 1.0, 2.0], 100)})
    return frame.assign(**columns), frame["main"] * 3


@pytest.mark.parametrize(
    "estimator", [LinearRegression(), make_pipeline(StandardScaler(), LinearRegression())]
)
def test_importance_finds_the_column_that_matters(estimator):
    """A model leans on the column that its labels are made of, within a pipeline too."""
    features, labels = leaning()
    found = importance.importance(
        estimator.fit(features, labels), features, labels, ("main", "other")
    )
    assert found.made == "permuted"
    assert found.shares["main"] > 0.99
    assert sum(found.shares.values()) == pytest.approx(1)


def test_importance_of_a_classifier_is_what_its_probabilities_lose():
    """A classifier's importance comes from the probability that it gives to the right class."""
    features, labels = leaning()
    words = np.where(labels > 13, "late", "early")
    found = importance.importance(
        LogisticRegression().fit(features, words), features, words, ("main", "other")
    )
    assert found.made == "permuted"
    assert found.shares["main"] > 0.9


def test_importance_without_time_is_what_the_model_says():
    """Without time to shuffle, weights times spread, or the model's own importance, stand in."""
    features, labels = leaning()
    names = ("main", "other")
    for estimator in (LinearRegression(), DecisionTreeRegressor(random_state=0)):
        fitted = estimator.fit(features, labels)
        found = importance.importance(fitted, features, labels, names, budget_s=0)
        assert found.made == "model"
        assert found.shares["main"] > 0.99


def test_importance_changes_nothing_and_fails_nobody(monkeypatch):
    """Neither data, chance nor an estimator that raises is touched; a switch turns it off."""
    features, labels = leaning(word="x")
    held, chance = features.copy(), random_state()

    class Odd:
        def predict(self, rows):
            raise RuntimeError("no")

    assert importance.importance(Odd(), features, labels, tuple(features)).shares == {}
    features, labels = leaning()
    fitted = LinearRegression().fit(features, labels)
    assert importance.importance(fitted, features, labels, ("main", "other")).shares
    assert importance.importance(fitted, features.to_numpy(), labels, ()).shares == {}
    assert features.equals(held[["main", "other"]])
    assert random_state() == chance
    monkeypatch.setenv("NBGOV_IMPORTANCE", "off")
    assert importance.importance(fitted, features, labels, ("main", "other")).shares == {}


@pytest.mark.slow
def test_importance_stands_on_the_run(ada, client, sklearn_autolog):
    """A run says how much its model leans on each column, and how that was made."""
    frame = season(ada)
    LinearRegression().fit(frame[["month", "distance"]], frame["month"])
    run_id = mlflow.last_active_run().info.run_id
    assert MlflowRuns().run(run_id).importance["month"] > 0.99
    assert tags(client, run_id)["nbgov.importance"].startswith("permuted: month 1")
    assert "distance" in record(client, run_id)["run"]["importance"]


# ---------------------------------------------------------------- models and baselines


@pytest.fixture
def model_of(client, tmp_path):
    """Registers a model of a run, of two small files: what the registry sees of any flavor."""

    def register(run_id, /, name, **changes):
        with contextlib.suppress(MlflowException):
            client.create_registered_model(name)
        client.log_text(run_id, "flavors: {}", "model/MLmodel")
        client.log_text(run_id, "weights", "model/sub/weights.txt")
        source = f"runs:/{run_id}/model"
        return client.create_model_version(name, **{"source": source, "run_id": run_id} | changes)

    return register


def test_a_model_version_is_a_value_with_a_digest_of_its_files(client, experiment, model_of):
    """Name, version, run, aliases and the digest over all files, whatever reference names them."""
    run_id = client.create_run(experiment).info.run_id
    version = model_of(run_id, "delays")
    client.set_registered_model_alias("delays", "best", version.version)
    one = MlflowRuns().model(f"models:/delays/{version.version}")
    assert (one.name, one.version, one.run_id, one.aliases) == ("delays", "1", run_id, ("best",))
    lines = [
        f"{hashlib.sha256(text).hexdigest()}  {path}\n"
        for path, text in (("MLmodel", b"flavors: {}"), ("sub/weights.txt", b"weights"))
    ]
    assert one.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert MlflowRuns().model("models:/delays@best") == one
    assert MlflowRuns().run("models:/delays@best").run_id == run_id
    assert MlflowRuns().run(f"runs:/{run_id}").run_id == run_id


@pytest.mark.parametrize("reference", ["models:/none/1", "models:/delays2@nobody", "models:/x"])
def test_an_unknown_model_is_a_bad_request(client, experiment, model_of, reference):
    """A model version that is not there, or no reference to one, is the caller's mistake."""
    model_of(client.create_run(experiment).info.run_id, "delays2")
    with pytest.raises(nbgov.RequestInvalid) as caught:
        MlflowRuns().model(reference)
    assert caught.value.code == "unknown-model"


@pytest.mark.slow
def test_a_version_lends_no_lineage(client, experiment, model_of):
    """A version that claims another run than its source belongs to has no run at all."""
    mine, clean = (client.create_run(experiment).info.run_id for _ in range(2))
    model_of(mine, "honest")
    model_of(mine, "liar", run_id=clean)
    artifacts = client.get_run(mine).info.artifact_uri
    model_of(mine, "placed", source=f"{artifacts}/model")
    model_of(mine, "copy", source="models:/honest/1", run_id=mine)
    model_of(mine, "far", source=f"{artifacts}/model", run_id=clean)
    runs = {
        name: MlflowRuns().model(f"models:/{name}/1").run_id
        for name in ("honest", "liar", "placed", "copy", "far")
    }
    assert runs == {"honest": mine, "liar": "", "placed": mine, "copy": mine, "far": ""}
    with pytest.raises(nbgov.RequestInvalid, match="belongs to no run"):
        MlflowRuns().run("models:/liar/1")


@pytest.mark.slow
def test_the_policy_says_where_to_look_for_the_baseline(ada, client, model_of):
    """Tag, champion and last are asked in the order of the terms, and never the run itself."""
    first, second, third = (trained(ada, first=1, last=2) for _ in range(3))
    model_of(third, "order")
    client.set_registered_model_alias("order", "champion", model_of(first, "order").version)
    store = MlflowRuns()

    def chosen(*baseline):
        return store.baseline(third, nbgov.DriftTerms(baseline=baseline))

    assert chosen("tag", "champion", "last") == first
    assert chosen("last", "champion") == second
    assert chosen("tag") is None
    client.set_tag(third, "nbgov.baseline", "f" * 32)
    assert chosen("tag", "champion") == "f" * 32
    client.set_tag(third, "nbgov.baseline", third)
    assert chosen("tag") is None


@pytest.mark.slow
def test_model_versions_of_a_run_carry_the_verdict(ada, client, model_of):
    """The registered versions of a run say what its data is, and whether that should hold them."""
    trained(ada, first=1, last=2)
    with mlflow.start_run() as run:
        ada.track(season(ada, 8, 9))
        version = model_of(run.info.run_id, "flagged")
    unfinished.sweep()
    held = client.get_model_version("flagged", version.version).tags
    assert (held["nbgov.drift"], held["nbgov.gate"]) == ("drifted", "held")


def test_a_logged_model_lists_its_data(ada, client):
    """The models of a run have a metric that names each governed input, once."""
    with mlflow.start_run() as run:
        model = mlflow.create_external_model(name="m", source_run_id=run.info.run_id)
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])
        ada.track(season(ada))
    unfinished.sweep()
    title = only_input(client, run.info.run_id).title
    found = [(m.key, m.dataset_name) for m in client.get_logged_model(model.model_id).metrics]
    assert found == [("nbgov.rows/warehouse.main.flights", title)]


def test_a_model_that_a_run_used_is_part_of_it(client, experiment):
    """A run that MLflow says used a model names it, and not the models that it made itself."""
    model = mlflow.create_external_model(name="embedder")
    run_id = client.create_run(experiment).info.run_id
    client.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
    assert MlflowRuns().run(run_id).models == {"models:/embedder": model.model_id}


def test_files_are_put_on_a_run_below_our_folder(client, experiment):
    """Texts land in nbgov's folder of the run, and none of them outside."""
    run_id = client.create_run(experiment).info.run_id
    MlflowRuns().attach(run_id, {"drift/report.html": "<p>", "note.txt": "x"})
    assert artifacts(client, run_id) >= {"nbgov/drift", "nbgov/note.txt"}
    for path in ("../escape", "/etc/escape", ""):
        with pytest.raises(nbgov.RequestInvalid):
            MlflowRuns().attach(run_id, {path: "x"})


# ---------------------------------------------------------------- while MLflow is away


@pytest.fixture
def away(monkeypatch):
    """Takes the tracking store away, and gives it back."""

    class Switch:
        def off(self):
            monkeypatch.setattr(spool, "reach", self.refuse)

        def on(self):
            monkeypatch.undo()

        @staticmethod
        def refuse(uri):
            raise ConnectionError

    return Switch()


def kept_files(session):
    return spool.files(session.state)


def sync_command(house, *words):
    return CliRunner().invoke(
        commands.mlflow,
        ["sync", *words],
        obj={"config": str(house), "principal": "ada@acme.test"},
    )


def test_what_mlflow_did_not_take_is_written_later(house, ada, client, sklearn_autolog, away):
    """With MLflow away a training goes on; what it used is kept, and written once by sync."""
    frame = season(ada)
    with mlflow.start_run() as run:
        away.off()
        LinearRegression().fit(frame[["month", "distance"]], frame["delay"])
        ada.track(frame, context="validation")
        away.on()
    run_id = run.info.run_id
    unfinished.unfinished.clear()
    captured.KNOWN.clear()
    assert governed_inputs(client.get_run(run_id)) == ()
    assert len(kept_files(ada)) >= 2
    for path in kept_files(ada):
        assert path.stat().st_mode & 0o777 == 0o600
        assert "private.test" not in path.read_text()
    done = sync_command(house, run_id)
    assert done.exit_code == 0, done.output
    assert f"written {run_id}  1 governed input" in done.output
    assert kept_files(ada) == []
    one = only_input(client, run_id)
    assert (one.context, one.bound_via, one.labels) == ("validation", "explicit", ("delay",))
    told = MlflowRuns().run(run_id)
    assert told.packages["mlflow"] == mlflow.__version__
    assert set(told.importance) == {"month", "distance"}
    before = client.get_run(run_id)
    assert sync_command(house, run_id).exit_code == 0
    assert client.get_run(run_id).data.tags == before.data.tags


@pytest.mark.slow
def test_what_is_still_away_stays_kept(house, ada, client, away):
    """Sync says what it could not write, exits 1, and keeps the file for another time."""
    with mlflow.start_run() as run:
        away.off()
        ada.track(season(ada))
        done = sync_command(house, "--all")
        away.on()
    assert done.exit_code == 1
    assert f"kept    {run.info.run_id}  MLflow raised ConnectionError" in done.output
    assert len(kept_files(ada)) >= 1
    assert sync_command(house, "--all").exit_code == 0
    assert kept_files(ada) == []


def test_sync_is_told_what_to_write(house):
    """Without a run and without --all, or with both, sync is wrong usage."""
    assert sync_command(house).exit_code == 2
    assert sync_command(house, "--all", "a" * 32).exit_code == 2


def test_sync_leaves_strangers_alone(house, client, experiment):
    """A run that nbgov has no part in gets no page, and an unknown one is an error."""
    run_id = client.create_run(experiment).info.run_id
    for wanted in (run_id, "0" * 32):
        assert sync_command(house, wanted).exit_code == 1
    assert artifacts(client, run_id) == set()


def test_a_damaged_file_is_named_and_kept(house, ada):
    """A file that is not what nbgov writes is reported, and not deleted."""
    folder = ada.state / spool.FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    odd = folder / f"{1:020d}.{'a' * 32}.deadbeef.json"
    odd.write_text('{"spec": "other"}')
    done = sync_command(house, "--all")
    assert done.exit_code == 1
    assert "not what nbgov writes" in done.output
    assert odd.exists()
    odd.unlink()


def test_a_server_that_was_away_is_not_waited_for_again(monkeypatch):
    """A server that refused a connection is not tried again at once, and a store on disk never is."""
    tried = []
    monkeypatch.setattr(
        socket, "create_connection", lambda *where: tried.append(where) or refuse_connection()
    )
    spool.away.clear()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            spool.reach("http://127.0.0.1:9")
    assert len(tried) == 1
    spool.reach("sqlite:////nowhere/mlflow.db")
    spool.away.clear()


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(monkeypatch):
    """After a call that failed late the next one fails at once; one that failed soon says nothing."""
    uri = "http://127.0.0.1:9"
    monkeypatch.setattr(socket, "create_connection", lambda *_: io.BytesIO())
    spool.away.clear()
    spool.shun(uri, time.monotonic())
    spool.reach(uri)
    spool.shun(uri, time.monotonic() - 60)
    with pytest.raises(ConnectionError):
        spool.reach(uri)
    spool.away.clear()


def refuse_connection():
    raise ConnectionRefusedError


def test_a_changed_file_is_a_changed_diff(tmp_path):
    """The digest of what no commit holds follows contents, new Python files too, and runs no filter."""
    marker = tmp_path.parent / "ran"
    work = tmp_path / "work"
    work.mkdir()
    (work / "train.py").write_text("depth = 6\n")
    (work / ".gitattributes").write_text("*.py filter=evil diff=evil\n")
    # A date after the index's own makes git look into the file, and so run its filter.
    os.utime(work / "train.py", (2**32, 2**32))
    for command in (
        ["init", "-q"],
        ["config", "user.email", "ada@acme.test"],
        ["config", "user.name", "ada"],
        ["add", "."],
        ["commit", "-q", "-m", "first"],
        ["config", "filter.evil.clean", f"touch {marker}; cat"],
        ["config", "diff.evil.textconv", f"touch {marker}; cat"],
    ):
        subprocess.run(["git", *command], cwd=work, check=True)
    seen = [environment.code(work)]
    (work / "train.py").write_text("depth = 8\n")
    seen.append(environment.code(work))
    (work / "features.py").write_text("new = 1\n")
    seen.append(environment.code(work))
    (work / "features.py").unlink()
    (work / "train.py").write_text("depth = 6\n")
    os.utime(work / "train.py", (1, 1))
    seen.append(environment.code(work))
    (work / "notes.ipynb").write_text("{}")
    (work / "train.py").unlink()
    seen.append(environment.code(work))
    assert [one["dirty"] for one in seen] == ["false", "true", "true", "false", "true"]
    digests = [one.get("diff") for one in seen]
    assert digests[0] is digests[3] is None
    assert len({digests[1], digests[2], digests[4]}) == 3
    assert not marker.exists()


def test_the_machine_is_described(monkeypatch):
    """What a training's pace and chance depend on is told in text, with no empty entry."""
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    facts = environment.environment()
    assert facts["hash_seed"] == "7"
    assert int(facts["cores"]) >= 1
    assert {"python", "os", "blas", "threads"} <= set(facts)
    assert all(isinstance(value, str) and value for value in facts.values())


FIRST = """
import os, sys
import numpy as np, pandas as pd
import nbgov
session = nbgov.connect(sys.argv[2], as_="ada@acme.test")
frame = session.sql("SELECT month, distance FROM flights WHERE month = 3").to_pandas()
import mlflow, mlflow.sklearn
from sklearn.linear_model import LinearRegression
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment(experiment_id=mlflow.create_experiment("first", artifact_location=sys.argv[3]))
mlflow.sklearn.autolog(log_models=False, log_datasets=False, silent=True)
LinearRegression().fit(frame[["distance"]], frame["month"])
print(mlflow.last_active_run().info.run_id)
"""


@pytest.mark.slow
def test_the_first_training_of_a_process_is_noticed(house, client, tracking, tmp_path):
    """A script that reads, then imports MLflow, then trains, has its data on its first run."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST, f"sqlite:///{tracking}", str(house), str(tmp_path / "a")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    run_id = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr
    assert only_input(client, run_id).bound_via == "autolog", done.stderr
    assert record(client, run_id)["run"]["inputs"][0]["labels"] == ["month"]


def test_the_command_is_listed_without_importing_mlflow():
    """``nbgov --help`` lists the command that the plugin adds, and MLflow stays out of it."""
    program = (
        "import sys\nfrom nbgov.cli import main\n"
        "main(['--help'], standalone_mode=False)\nprint('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "  mlflow " in done.stdout
    assert done.stdout.strip().endswith("False")
