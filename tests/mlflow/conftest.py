"""What the tests against a real MLflow server share: the server, started once."""

from __future__ import annotations

import os

import mlflow
import pytest

from tests.mlflow.serving import serving


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory):
    """A stock server with one worker on SQLite, shared by all tests of a session."""
    with serving(tmp_path_factory.mktemp("server")) as served:
        yield served


@pytest.fixture
def tracking(mlflow_server):
    """The shared server as this process's tracking and registry store, and its client."""
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_server.url)
    yield mlflow.MlflowClient()
    assert mlflow.active_run() is None
    mlflow.set_tracking_uri(before)
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)  # Where MLflow keeps the choice for subprocesses.
