"""MLflow's server with nbgov's app: the gate holds over HTTP, and pages show lineage and no markup."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace

import mlflow
import pytest
import requests
from click.testing import CliRunner

import nbgov
from mlflow_plugin import app as ours
from mlflow_plugin.app import words
from mlflow_plugin.gate import open_store
from nbgov.cli import main
from tests.candidates import AFTER, BEFORE, build
from tests.mlflow.serving import serving
from tests.mlflow.yard import copied, forget_registry, stores, train

pytestmark = [
    # MLflow's own use of SQLAlchemy, pydantic and others is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*stages:FutureWarning"),
]
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A first training and one on other units."""
    folder = tmp_path_factory.mktemp("app")
    project = build(folder / "project")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with stores(uri, uri, project) as client:
        experiment = client.create_experiment(
            "<b>app</b>", artifact_location=str(folder / "artifacts")
        )
        runs = {
            name: train(project, experiment, sql)
            for name, sql in {"first": BEFORE, "drifted": AFTER}.items()
        }
    return uri, project, experiment, runs


@pytest.fixture(scope="module")
def flask_app(trained):
    """The server's app in this process, made once: Flask takes no more hooks after a request."""
    uri, *_ = trained
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as kept, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server import handlers

        kept.setattr(handlers, "_tracking_store", None)
        kept.setattr(handlers, "_model_registry_store", None)
        # The entry points say the same; an older installation may lack them.
        handlers._model_registry_store_registry.register("nbgov+sqlite", open_store)
        # Other servers that this process starts must not inherit what this one was told.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
            patch.setenv("_MLFLOW_SERVER_REGISTRY_STORE", "")
            patch.setenv("_MLFLOW_STATIC_PREFIX", "/ml")  # MLflow has made its own routes already.
            made = ours.create_app()
            assert os.environ["_MLFLOW_SERVER_REGISTRY_STORE"] == f"nbgov+{uri}"
            handlers._get_tracking_store()
            handlers._get_model_registry_store()
        yield made
        forget_registry()
        mlflow.set_tracking_uri(before)


@pytest.fixture
def web(trained, flask_app, tmp_path):
    """A browser's or a client's way to the server, and the runs that it may ask about."""
    uri, project, experiment, runs = trained
    folder = copied(project, tmp_path / "project")
    with stores(uri, f"nbgov+{uri}", folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBGOV_APP_PRINCIPAL", "ada")
        yield SimpleNamespace(
            http=flask_app.test_client(), runs=runs, experiment=experiment, folder=folder
        )


def post(web, path, *, api="api", method="POST", **body):
    """The status and the message of a request."""
    answer = web.http.open(f"/{api}/2.0/mlflow/{path}", method=method, json=body)
    return answer.status_code, answer.get_data(as_text=True)


def registered(web, name, run):
    """A version of a run's model, made over HTTP."""
    post(web, "registered-models/create", name=name)
    run_id = web.runs[run]
    status, text = post(
        web, "model-versions/create", name=name, source=f"runs:/{run_id}/model", run_id=run_id
    )
    assert status == 200, text
    return "1" if '"version": "1"' in text else "2"


@slow
@pytest.mark.parametrize("api", ["api", "ajax-api"])
def test_the_gate_holds_over_http(web, api, request):
    """Alias, stage, tags and a copy: each is refused by REST and by the pages' own API."""
    name = request.node.name
    first = registered(web, name, "first")
    alias = {"name": name, "alias": "champion"}
    assert post(web, "registered-models/alias", api=api, **alias, version=first)[0] == 200
    held = registered(web, name, "drifted")
    status, text = post(web, "registered-models/alias", api=api, **alias, version=held)
    assert status == 403
    assert "nbgov promotion request" in text
    for path, body in (
        (
            "model-versions/transition-stage",
            {"stage": "Production", "archive_existing_versions": False},
        ),
        ("model-versions/set-tag", {"key": "nbgov.gate", "value": "open"}),
    ):
        assert post(web, path, api=api, name=name, version=held, **body)[0] == 403, path
    assert (
        post(
            web,
            "model-versions/delete-tag",
            api=api,
            method="DELETE",
            name=name,
            version=held,
            key="nbgov.gate",
        )[0]
        == 403
    )
    assert post(web, "registered-models/rename", api=api, name=name, new_name=f"{name} 2")[0] == 403
    status, text = post(
        web,
        "model-versions/create",
        api=api,
        name=f"{name}",
        source=f"models:/{name}/{held}",
        tags=[{"key": "nbgov.gate", "value": "open"}],
    )
    assert status == 200
    assert '"value": "held"' in text
    assert '"value": "open"' not in text


@slow
def test_no_request_writes_a_tag_in_which_a_run_speaks_for_the_gate(web):
    """Set, delete, batch, creation, logged models and experiments: each is refused, by both APIs."""
    run_id = web.runs["first"]
    tag = {"key": " NBGOV.approval.by", "value": "me"}
    gate = {"key": "nbgov.gate", "value": "open"}
    for api in ("api", "ajax-api"):
        for path, body in (
            ("runs/set-tag", {"run_id": run_id, **gate}),
            ("runs/delete-tag", {"run_id": run_id, "key": "nbgov.gate"}),
            ("runs/log-batch", {"run_id": run_id, "tags": [{"key": "a", "value": "b"}, tag]}),
            ("runs/create", {"experiment_id": web.experiment, "tags": [gate]}),
            ("experiments/create", {"name": "x", "tags": [gate]}),
            ("experiments/set-experiment-tag", {"experiment_id": web.experiment, **gate}),
            ("logged-models", {"experiment_id": web.experiment, "tags": [gate]}),
        ):
            status, text = post(web, path, api=api, **body)
            assert status == 403, (path, text)
            assert "gate only" in text
        for method, path in (
            ("PATCH", "logged-models/m-1/tags"),
            ("DELETE", "logged-models/m-1/tags/nbgov.gate"),
        ):
            assert post(web, path, api=api, method=method, tags=[gate])[0] == 403, path
    assert post(web, "runs/set-tag", run_id=run_id, key="team", value="nbgov")[0] == 200
    assert post(web, "runs/set-tag", run_id=run_id, key="nbgov.drift", value="baseline")[0] == 200


@slow
def test_every_endpoint_that_writes_tags_of_a_run_is_watched(flask_app):
    """The names are those of MLflow's own handlers; one that it renames fails here."""
    assert set(flask_app.view_functions) >= ours.TAGGING
    tagging = {
        name for name in flask_app.view_functions
        if "_tag" in name and not name.startswith(("_get", "get_")) and "trace" not in name
        and "gateway" not in name and "dataset" not in name and "model_version" not in name
        and "registered_model" not in name
    }  # fmt: skip
    assert tagging - {"_delete_experiment_tag"} <= ours.TAGGING, tagging


@slow
def test_a_run_and_a_model_have_a_page(web, request):
    """Both show lineage, fetch nothing and run nothing; what is not there is not found."""
    name = f"{request.node.name} <script>"
    registered(web, request.node.name, "first")
    for path in (f"/ml/nbgov/runs/{web.runs['first']}", f"/ml/nbgov/models/{request.node.name}/1"):
        answer = web.http.get(path)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 200, text
        assert answer.mimetype == "text/html"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "flights" in text
        assert "<script" not in text
    for path in (
        "/ml/nbgov/runs/<script>alert(1)</script>",
        f"/ml/nbgov/models/{name}/1",
        "/ml/nbgov/models/none/1",
    ):
        answer = web.http.get(path)
        assert answer.status_code in {404, 503}
        assert answer.mimetype == "text/plain" or answer.status_code == 404


@slow
def test_a_page_without_a_configuration_says_so(web, monkeypatch, tmp_path):
    """A server that cannot read its nbgov.yaml answers with the error, and no stack."""
    monkeypatch.setenv("NBGOV_CONFIG", str(tmp_path / "nowhere"))
    answer = web.http.get(f"/ml/nbgov/runs/{web.runs['first']}")
    assert (answer.status_code, answer.mimetype) == (503, "text/plain")
    assert "nbgov.yaml" in answer.get_data(as_text=True)


@slow
def test_a_registry_that_cannot_be_gated_starts_no_server(monkeypatch):
    """Better no server than one whose operator believes that it has a gate."""
    for uri in ("", "http://127.0.0.1:1", "file:///tmp/x", "databricks"):
        monkeypatch.setenv("_MLFLOW_SERVER_FILE_STORE", uri)
        monkeypatch.setenv("_MLFLOW_SERVER_REGISTRY_STORE", "")
        with pytest.raises(nbgov.ConfigInvalid):
            ours.shut_the_gate()


def test_an_unknown_inner_app_starts_no_server(monkeypatch):
    """A misspelt authentication must not mean none."""
    for name in ("basic-aut", "nbgov"):
        monkeypatch.setenv("NBGOV_INNER_APP", name)
        with pytest.raises(nbgov.ConfigInvalid):
            ours.inner_app(None)


def test_tags_are_found_wherever_a_request_hides_them():
    """Keys and values at any depth, and JSON inside a text."""
    assert set(words({"a": [{"key": "nbgov.gate"}], "b": ' {"c": ["d"]}', "e": "[", "f": 1})) == {
        "a", "key", "nbgov.gate", "b", ' {"c": ["d"]}', "c", "d", "e", "[", "f",
    }  # fmt: skip


# ---------------------------------------------------------------- real servers

ADMIN = ("admin", "password-of-this-test-1")
BOB = ("bob", "password-of-bob-123")
EVE = ("eve", "password-of-eve-123")


@contextmanager
def served(folder, *, inner):
    """A real server with the app, on artifacts that it keeps itself, and the project behind it."""
    project = build(folder / "project")
    environ = {
        "NBGOV_CONFIG": str(project),
        "NBGOV_APP_PRINCIPAL": "ada",
        "NBGOV_INNER_APP": inner,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret of this test",
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
    }
    before = mlflow.get_tracking_uri()
    with serving(folder, "--app-name", "nbgov", environ=environ) as made:
        mlflow.set_tracking_uri(made.url)
        mlflow.set_registry_uri(made.url)
        try:
            yield made.url, project, mlflow.MlflowClient()
        finally:
            forget_registry()
            mlflow.set_tracking_uri(before)


def tell_the_story(project, client):
    """Two trainings: the first is let pass, the second is held until two people agree."""
    experiment = client.create_experiment("bobs")
    runs = [train(project, experiment, sql) for sql in (BEFORE, AFTER)]
    client.create_registered_model("churn")
    for run_id in runs:
        client.create_model_version("churn", f"runs:/{run_id}/model", run_id)
    client.set_registered_model_alias("churn", "champion", "1")
    with pytest.raises(mlflow.MlflowException, match="nbgov promotion request models:/churn/2"):
        client.set_registered_model_alias("churn", "champion", "2")
    with pytest.raises(mlflow.MlflowException, match="gate only"):
        client.create_run(experiment, tags={"nbgov.approval.by": "bob"})
    with nbgov.connect(project, as_="ada") as session:
        asked = nbgov.judge(session, "models:/churn/2")
        assert asked.status == "held"
    words = ["--config", str(project), "--as"]
    for name, verb in (("ada", "request"), ("heidi", "approve")):
        done = CliRunner().invoke(main, [*words, name, "promotion", verb, "models:/churn/2"])
        assert done.exit_code == 0, done.output
    client.set_registered_model_alias("churn", "champion", "2")
    assert client.get_model_version("churn", "2").tags["nbgov.gate"] == "approved"
    with nbgov.promotions(project) as room:
        kept = room.world.releases.releases("churn")
    assert [(one.version, bool(one.ticket)) for one in kept] == [("2", True), ("1", False)]
    # What a person sees here and what the gate saw on the server is one lineage.
    assert kept[0].lineage_digest == asked.lineage_digest
    return experiment, runs, kept


@slow
@pytest.mark.timeout(600)
def test_a_real_server_holds_asks_and_lets_pass(tmp_path):
    """Client, server, the server's own artifacts, the command line, two people and the record."""
    with served(tmp_path, inner="") as (url, project, client):
        _, runs, kept = tell_the_story(project, client)
        assert {one.account for one in kept} == {""}
        for path in (f"runs/{runs[0]}", "models/churn/2"):
            shown = requests.get(f"{url}/nbgov/{path}", timeout=120)
            assert shown.status_code == 200, shown.text
            assert "flights" in shown.text
        assert requests.get(f"{url}/nbgov/runs/{'0' * 32}", timeout=120).status_code == 404


@slow
@pytest.mark.timeout(900)  # basic-auth hashes the password for each request, a second on two cores.
@pytest.mark.skipif(find_spec("flask_wtf") is None, reason="basic-auth of MLflow needs flask-wtf")
def test_a_real_server_knows_who_asks(tmp_path, monkeypatch):
    """Under basic-auth the record names the account, and a page needs a password and a permission."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", BOB[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", BOB[1])
    with served(tmp_path, inner="basic-auth") as (url, project, client):

        def call(path, auth=ADMIN, **body):
            sent = requests.post(f"{url}/api/{path}", json=body, auth=auth, timeout=120)
            assert sent.status_code == 200, sent.text

        for name, password in (BOB, EVE):
            call("2.0/mlflow/users/create", username=name, password=password)
        experiment, runs, kept = tell_the_story(project, client)
        assert {one.account for one in kept} == {"bob"}
        call(
            "3.0/mlflow/users/permissions/grant",
            username="eve",
            resource_type="experiment",
            resource_id=experiment,
            permission="DENY",
        )
        for path in (f"runs/{runs[0]}", "models/churn/2"):
            page = f"{url}/nbgov/{path}"
            seen = {
                who: requests.get(page, auth=auth, timeout=120).status_code
                for who, auth in (
                    ("nobody", None),
                    ("wrong", ("bob", "no")),
                    ("bob", BOB),
                    ("admin", ADMIN),
                    ("eve", EVE),
                )
            }
            assert seen == {"nobody": 401, "wrong": 401, "bob": 200, "admin": 200, "eve": 403}
