"""A project with trained runs in MLflow: what the tests of the gate and of the app promote."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.tracking._model_registry.utils import _get_store_registry

import nbgov
from mlflow_plugin.gate import open_store


def train(folder: Path, experiment: str, sql: str = "", *, files: str = "weights") -> str:
    """A finished run with a model's files, on what a statement delivers or on nothing governed."""
    client = mlflow.MlflowClient()
    run_id = client.create_run(experiment).info.run_id
    if sql:
        with nbgov.connect(folder, as_="ada") as session:
            session.track(session.sql(sql, dataset="flights").to_pandas(), run_id=run_id)
    client.log_text(run_id, f"{files} of {run_id}", "model/MLmodel")
    client.set_terminated(run_id)
    return run_id


def copied(folder: Path, to: Path) -> Path:
    """The project with its state in another folder, for one test to change."""
    return Path(shutil.copytree(folder, to, dirs_exist_ok=True))


@contextmanager
def stores(tracking: str, registry: str, config: Path):
    """This process on a tracking store and a registry, with the gate's ``nbgov.yaml``."""
    before = mlflow.get_tracking_uri()
    # The entry points say the same; the registry of this process was filled before some installs.
    _get_store_registry().register("nbgov+sqlite", open_store)
    mlflow.set_tracking_uri(tracking)
    mlflow.set_registry_uri(registry)
    held = os.environ.get("NBGOV_CONFIG")
    os.environ["NBGOV_CONFIG"] = str(config)
    try:
        yield mlflow.MlflowClient()
    finally:
        os.environ.pop("NBGOV_CONFIG")
        os.environ.update({} if held is None else {"NBGOV_CONFIG": held})
        forget_registry()
        mlflow.set_tracking_uri(before)


def forget_registry():
    """Let this process have no registry of its own again; MLflow leaves its variable behind."""
    mlflow.set_registry_uri(None)
    os.environ.pop("MLFLOW_REGISTRY_URI", None)
