"""A model registry that lets nothing be promoted which nbgov holds: for the server, opt-in.

``mlflow server --registry-store-uri nbgov+postgresql://...`` puts it in front of the database that
the rest of the address names. MLflow loads this module while it is itself half imported, so it
imports nothing of MLflow before a store is asked for. Cases: ``tests/mlflow/test_gate.py``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

PREFIX = "nbgov+"


def open_store(store_uri: str, tracking_uri: str | None = None) -> SqlAlchemyStore:  # noqa: ARG001 - MLflow passes both by name
    """The gated registry behind ``nbgov+`` and a database's address.

    Args:
        store_uri: Such as ``nbgov+sqlite:///mlflow.db``.
        tracking_uri: Where MLflow's runs are; the gate asks MLflow itself.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR

    from mlflow_plugin.gated import GatedStore, GatedWorkspaceStore

    store = GatedWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else GatedStore
    replica = os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
    return store(store_uri.removeprefix(PREFIX), read_db_uri=replica)


def gated(uri: str) -> str:
    """The address of the gated registry in front of a database.

    >>> gated("sqlite:///mlflow.db"), gated("nbgov+sqlite:///mlflow.db")
    ('nbgov+sqlite:///mlflow.db', 'nbgov+sqlite:///mlflow.db')
    """
    return uri if uri.startswith(PREFIX) else PREFIX + uri
