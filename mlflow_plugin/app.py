"""MLflow's server with the gate in front of its registry, and lineage pages beside it: opt-in.

``mlflow server --app-name nbgov`` uses :func:`create_app`. ``NBGOV_INNER_APP`` names another app,
such as ``basic-auth``, to put around: then who asks is known, written down, and shown no run that
they may not read. ``NBGOV_APP_PRINCIPAL`` names the declared principal as whom the pages are read,
where the server's account is none. Nothing is kept in the process, so any number of workers do.
Cases: ``tests/mlflow/test_app.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

import nbgov
from mlflow_plugin.gate import gated

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

INNER = "NBGOV_INNER_APP"
READER = "NBGOV_APP_PRINCIPAL"
BASIC_AUTH = "basic-auth"
GROUP = "mlflow.app"
# What only nbgov says: of a run or a logged model nobody else does, so a client's word stays out.
CLAIMS = ("nbgov.gate", "nbgov.approval")
TAGGING = frozenset(
    {
        "_create_experiment", "_set_experiment_tag", "_create_run", "_set_tag", "_delete_tag",
        "_log_batch", "_create_logged_model", "_set_logged_model_tags", "_delete_logged_model_tag",
        "serve_create_promptlab_run",
    }
)  # fmt: skip
PAGES = {"nbgov_run": "/nbgov/runs/<run_id>", "nbgov_model": "/nbgov/models/<name>/<version>"}
# Nothing on a page is fetched or run; what it shows is made of other people's words.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


def create_app() -> Any:
    """The server's app, with the gate, our pages, and the inner app around them."""
    from mlflow.server import app

    shut_the_gate()
    from mlflow.server.handlers import _add_static_prefix

    app.before_request(answer_page)
    for endpoint, rule in PAGES.items():
        app.add_url_rule(_add_static_prefix(rule), endpoint, VIEWS[endpoint])
    wrapped = inner_app(app)
    # Last, so that the inner app has said by then who asks.
    app.before_request(refuse_claims)
    return wrapped


def shut_the_gate() -> None:
    """Put the gate in front of the registry that the server was told to use.

    Raises:
        ConfigInvalid: The registry is no SQL database, so that nothing would be gated.
    """
    from mlflow.server import handlers
    from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR, REGISTRY_STORE_URI_ENV_VAR
    from mlflow.store.db.db_types import DATABASE_ENGINES

    names = (REGISTRY_STORE_URI_ENV_VAR, BACKEND_STORE_URI_ENV_VAR)
    uri = next((os.environ[name] for name in names if os.environ.get(name)), "")
    if not gated(uri).removeprefix("nbgov+").startswith(tuple(DATABASE_ENGINES)):
        # Security: better no server than one whose operator believes that it has a gate.
        raise nbgov.ConfigInvalid(
            "The registry of this MLflow server cannot be gated.",
            why="it is in no SQL database",
            next_step="start it with --backend-store-uri or --registry-store-uri of a database",
        )
    os.environ[REGISTRY_STORE_URI_ENV_VAR] = gated(uri)
    handlers._model_registry_store = None  # noqa: SLF001 - the store is made anew, behind the gate


def inner_app(app: Flask) -> Any:
    """The app that ``NBGOV_INNER_APP`` names, around MLflow's own; MLflow's own without one.

    Raises:
        ConfigInvalid: There is no such app.
    """
    name = os.environ.get(INNER, "")
    if name:
        found = next((one for one in metadata.entry_points(group=GROUP) if one.name == name), None)
        if found is None or name == "nbgov":
            raise nbgov.ConfigInvalid(
                f"There is no MLflow app {name!r} to put around.",
                why=f"{INNER} names it, and no distribution that is installed declares it",
                next_step="install it, or correct the name",
            )
        return found.load()(app)
    if os.environ.get("_MLFLOW_SGI_NAME") == "uvicorn":
        from mlflow.server.fastapi_app import create_fastapi_app

        return create_fastapi_app(app)
    return app


# ---------------------------------------------------------------- tags that only nbgov writes


def refuse_claims() -> ResponseReturnValue | None:
    """Refuse a request that writes a tag in which a run would speak for the gate.

    The gate believes no tag. People do.
    """
    from flask import jsonify, request

    if request.endpoint not in TAGGING:
        return None
    told = [*words(request.get_json(force=True, silent=True)), *request.values.values()]
    told += [value for value in (request.view_args or {}).values() if isinstance(value, str)]
    claimed = next((one for one in told if one.strip().casefold().startswith(CLAIMS)), None)
    if claimed is None:
        return None
    message = "nbgov: tags of nbgov.gate and nbgov.approval are written by the gate only."
    return jsonify(error_code="PERMISSION_DENIED", message=message), 403


def words(value: object) -> Iterator[str]:
    """Every key and text in a JSON value, wherever an API keeps the keys of its tags."""
    if isinstance(value, str):
        yield value
        # Some requests hold JSON in a text.
        if value.lstrip()[:1] in {"{", "["}:
            try:
                yield from words(json.loads(value))
            except (ValueError, RecursionError):
                return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from words(item)
    elif isinstance(value, list):
        for item in value:
            yield from words(item)


# ---------------------------------------------------------------- pages


def answer_page() -> ResponseReturnValue | None:
    """Answer for our own pages under ``basic-auth``, which knows no permission for them.

    It would refuse them to everybody but admins. So we ask it the questions that it asks for a run:
    who it is, and whether they may read the run.
    """
    from flask import request

    if os.environ.get(INNER) != BASIC_AUTH or request.endpoint not in PAGES:
        return None
    from mlflow.server import auth

    who = auth.authenticate_request()
    if not hasattr(who, "username"):
        return who  # It asks for a password.
    if not auth.sender_is_admin() and not may_read(request.view_args or {}):
        return auth.make_forbidden_response()
    shown: ResponseReturnValue = VIEWS[str(request.endpoint)](**(request.view_args or {}))
    return shown


def may_read(arguments: dict[str, Any]) -> bool:
    """Whether whoever asks may read the run, or the model and its run, that a page is about."""
    from flask import request
    from mlflow.server import auth

    if "run_id" in arguments:
        return bool(auth.validate_can_read_run())
    if not auth.validate_can_read_registered_model():
        return False
    from mlflow_plugin.runs import MlflowRuns

    model = MlflowRuns().model(f"models:/{arguments['name']}/{arguments['version']}")
    request.view_args = {**arguments, "run_id": model.run_id}
    try:
        return not model.run_id or bool(auth.validate_can_read_run())
    finally:
        request.view_args = arguments


def run_page(run_id: str) -> ResponseReturnValue:
    """The lineage of a run."""
    return page(f"runs:/{run_id}")


def model_page(name: str, version: str) -> ResponseReturnValue:
    """The lineage of a model version."""
    return page(f"models:/{name}/{version}")


def page(reference: str) -> ResponseReturnValue:
    """The lineage page behind a reference, or why there is none."""
    from flask import Response

    try:
        with nbgov.connect(as_=os.environ.get(READER)) as session:
            text, status = nbgov.lineage_page(nbgov.trace(session, reference)), 200
    except nbgov.NbgovError as error:
        # Security: plain text, for the reference in it came with the request.
        missing = isinstance(error, nbgov.RequestInvalid)
        return Response(str(error), 404 if missing else 503, mimetype="text/plain")
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    return Response(text, status, headers, mimetype="text/html")


VIEWS: dict[str, Callable[..., Any]] = {"nbgov_run": run_page, "nbgov_model": model_page}
