"""The gated registry refuses what nbgov holds, whichever way somebody tries to get it promoted."""

from __future__ import annotations

import contextlib
import inspect
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException

import nbgov
from mlflow_plugin import gated
from mlflow_plugin.gate import open_store
from tests.candidates import AFTER, BEFORE, build
from tests.mlflow.yard import copied, stores, train

GatedStore, GatedWorkspaceStore = gated.GatedStore, gated.GatedWorkspaceStore
pytestmark = [
    # MLflow's own use of SQLAlchemy and pandas is not ours to mend.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    # Stages are on their way out of MLflow, and promote as long as they are there.
    pytest.mark.filterwarnings("ignore:.*stages:FutureWarning"),
]

# What was decided on each public method of the registry of MLflow 3.17.2.
GATED = {
    "set_registered_model_alias", "transition_model_version_stage", "rename_registered_model",
    "create_model_version", "create_registered_model", "set_registered_model_tag",
    "delete_registered_model_tag", "set_model_version_tag", "delete_model_version_tag",
}  # fmt: skip
# These come down to methods above.
THROUGH_GATED = {
    "copy_model_version", "create_prompt", "create_prompt_version", "set_prompt_tag",
    "delete_prompt_tag", "set_prompt_alias", "set_prompt_version_tag", "delete_prompt_version_tag",
}  # fmt: skip
# These take something out of use, or change a description: nothing is in use afterwards that was
# not before. Our own records of releases outlive what they delete.
HARMLESS = {
    "delete_registered_model", "delete_model_version", "delete_registered_model_alias",
    "update_registered_model", "update_model_version", "delete_prompt", "delete_prompt_version",
    "delete_prompt_alias", "link_prompts_to_trace", "link_prompt_version_to_model",
    "link_prompt_version_to_run", "create_webhook", "update_webhook", "delete_webhook",
    "test_webhook",
}  # fmt: skip
READS = {
    "get_latest_versions", "get_model_version", "get_model_version_by_alias",
    "get_model_version_download_uri", "get_prompt", "get_prompt_version",
    "get_prompt_version_by_alias", "get_registered_model", "get_webhook", "list_webhooks",
    "list_webhooks_by_event", "search_model_versions", "search_prompt_versions", "search_prompts",
    "search_registered_models", "supports_workspaces",
}  # fmt: skip


@dataclass
class Yard:
    """The client of a gated registry, the runs that were trained, and the project behind it."""

    client: Any
    store: GatedStore
    runs: dict[str, str]
    folder: Path
    name: str

    def register(self, run, name=None, *, source=None, run_id=None, **changes):
        """A version of a run's model."""
        wanted = name or self.name
        with contextlib.suppress(MlflowException):
            self.client.create_registered_model(wanted)
        made = self.client.create_model_version(
            wanted,
            source or f"runs:/{self.runs[run]}/model",
            run_id or self.runs.get(run),
            **changes,
        )
        return str(made.version)

    def gate(self, version, name=None):
        """What the registry shows of the gate."""
        tags = self.client.get_model_version(name or self.name, version).tags
        return tags.get("nbgov.drift"), tags.get("nbgov.gate")

    def aliases(self, name=None):
        """The aliases that are set."""
        found = self.client.get_registered_model(name or self.name).aliases
        return {alias: str(version) for alias, version in found.items()}


slow = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three trainings, made once: the first, one on other units, one on the same data again."""
    folder = tmp_path_factory.mktemp("gate")
    project = build(folder / "project")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with stores(uri, uri, project) as client:
        experiment = client.create_experiment("gate", artifact_location=str(folder / "artifacts"))
        statements = {"first": BEFORE, "drifted": AFTER, "same": BEFORE, "bare": ""}
        runs = {name: train(project, experiment, sql) for name, sql in statements.items()}
    return uri, project, runs


@pytest.fixture
def yard(trained, tmp_path, request):
    """The gated registry with a released first version, and a state folder of the test's own."""
    uri, project, runs = trained
    folder = copied(project, tmp_path / "project")
    with stores(uri, f"nbgov+{uri}", folder) as client:
        made = Yard(client, open_store(f"nbgov+{uri}"), runs, folder, request.node.name[:200])
        version = made.register("first")
        assert made.gate(version) == ("baseline", "open")
        client.set_registered_model_alias(made.name, "champion", version)
        yield made


def refused(action, *words, says="may not be promoted"):
    """The action is refused with a text that says what, why and what to do next."""
    with pytest.raises(MlflowException) as caught:
        action(*words)
    assert caught.value.error_code == "PERMISSION_DENIED", caught.value
    text = str(caught.value)
    assert text.startswith(("nbgov: ", "Failed to")), text
    assert says in text, text
    return text


# ---------------------------------------------------------------- the gate


def test_every_method_of_the_registry_was_decided_on():
    """A registry method that a newer MLflow adds fails here until somebody says what it may do."""
    for store in (gated.SqlAlchemyStore, gated.WorkspaceAwareSqlAlchemyStore):
        public = {name for name, _ in inspect.getmembers(store) if not name.startswith("_")}
        methods = {name for name in public if not name.isupper()}
        assert methods == GATED | THROUGH_GATED | HARMLESS | READS
    assert {name for name in vars(GatedStore) if not name.startswith("_")} >= GATED
    # The workspace of a version is chosen by MLflow's own class; every write is ours.
    assert GatedWorkspaceStore.__mro__[1] is GatedStore


def test_a_signature_of_the_gate_is_the_one_that_it_overrides():
    """An argument that MLflow adds must not pass us by."""
    for name in GATED:
        ours, theirs = (
            inspect.signature(getattr(one, name)) for one in (GatedStore, gated.SqlAlchemyStore)
        )
        assert list(ours.parameters) == list(theirs.parameters), name


@slow
def test_the_story_of_a_drifted_version(yard):
    """Held, refused, asked for, approved by a second person, promoted, and then the baseline."""
    version = yard.register("drifted")
    assert yard.gate(version) == ("drifted", "held")
    text = refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    assert f"nbgov promotion request models:/{yard.name}/{version}" in text
    assert "delay" in text
    assert yard.aliases() == {"champion": "1"}
    reference = f"models:/{yard.name}/{version}"
    with nbgov.promotions() as room:
        room.request(reference, claim="ada")
    text = refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    assert f"nbgov promotion approve {reference}" in text
    with nbgov.promotions() as room:
        room.vote(reference, is_approval=True, reason="units agreed", claim="heidi")
    yard.client.set_registered_model_alias(yard.name, "champion", version)
    assert yard.gate(version) == ("drifted", "approved")
    assert yard.aliases() == {"champion": version}
    yard.client.set_registered_model_alias(yard.name, "challenger", version)


@slow
def test_the_same_data_again_is_let_through(yard):
    """A retraining on equal rows needs nobody, and its version says so."""
    version = yard.register("same")
    assert yard.gate(version) == ("stable", "open")
    yard.client.set_registered_model_alias(yard.name, "champion", version)
    yard.client.transition_model_version_stage(yard.name, version, "Production")


# ---------------------------------------------------------------- ways around it


@slow
@pytest.mark.parametrize("stage", ["Staging", "Production", "production", "sTaGiNg"])
def test_a_stage_is_a_promotion_too(yard, stage):
    """Every active stage is refused, however it is spelled; the stage of others does not change."""
    version = yard.register("drifted")
    yard.client.transition_model_version_stage(yard.name, "1", "Production")
    for archive in (False, True):
        refused(yard.store.transition_model_version_stage, yard.name, version, stage, archive)
    assert yard.client.get_model_version(yard.name, "1").current_stage == "Production"
    yard.client.transition_model_version_stage(yard.name, version, "Archived")
    yard.client.transition_model_version_stage(yard.name, version, "None")


@slow
def test_tags_of_the_run_change_nothing(yard):
    """The run's tags are the client's word: verdict, baseline and inputs of the run's page too."""
    version = yard.register("drifted")
    run_id = yard.runs["drifted"]
    before = yard.client.get_run(run_id).data.tags
    for key, value in (
        ("nbgov.drift", "stable"),
        ("nbgov.gate", "open"),
        ("nbgov.baseline", run_id),
        ("nbgov.approval.by", "heidi"),
    ):
        yard.client.set_tag(run_id, key, value)
    try:
        refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    finally:
        for key in ("nbgov.gate", "nbgov.approval.by"):
            yard.client.delete_tag(run_id, key)
        for key in ("nbgov.drift", "nbgov.baseline"):
            yard.client.set_tag(run_id, key, before.get(key, ""))


@slow
@pytest.mark.parametrize(
    "key", ["nbgov.gate", "nbgov.drift", "nbgov.approval.by", "NBGOV.gate", " nbgov.gate"]
)
def test_our_own_tags_are_not_written_by_others(yard, key):
    """Neither set nor deleted, on versions or models; a new version comes without a client's."""
    version = yard.register(
        "drifted", tags={"nbgov.gate": "open", "nbgov.approval.by": "me", "team": "a"}
    )
    tags = yard.client.get_model_version(yard.name, version).tags
    assert tags == {"nbgov.drift": "drifted", "nbgov.gate": "held", "team": "a"}
    for action, words in (
        (yard.store.set_model_version_tag, (yard.name, version, ModelVersionTag(key, "open"))),
        (yard.store.delete_model_version_tag, (yard.name, version, key)),
        (yard.store.set_registered_model_tag, (yard.name, RegisteredModelTag(key, "open"))),
        (yard.store.delete_registered_model_tag, (yard.name, key)),
        (yard.store.create_registered_model, (f"{yard.name} 2", [RegisteredModelTag(key, "open")])),
    ):
        refused(action, *words, says="is not written")
    assert yard.client.get_model_version(yard.name, version).tags == tags
    yard.client.set_model_version_tag(yard.name, version, "team", "b")
    yard.client.delete_model_version_tag(yard.name, version, "team")
    yard.client.set_registered_model_tag(yard.name, "team", "b")
    yard.client.delete_registered_model_tag(yard.name, "team")


@slow
def test_a_version_without_lineage_is_held(yard, tmp_path):
    """No run, no governed input, files from elsewhere, or files that are not there: unknown."""
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "MLmodel").write_text("weights")
    loose = str(tmp_path / "loose")
    for version in (
        yard.register("", source=loose),
        yard.register("bare"),
        yard.register("first", source=loose),
        yard.register("", source=str(tmp_path / "absent")),
    ):
        assert yard.gate(version) == ("unknown", "held")
        refused(yard.client.set_registered_model_alias, yard.name, "champion", version, says="Why")
    assert yard.aliases() == {"champion": "1"}


@slow
def test_a_clean_run_does_not_lend_its_lineage(yard):
    """The source decides which run made a version, not the run that its client names."""
    version = yard.register("drifted", run_id=yard.runs["first"])
    refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    other = yard.register("first", source=f"runs:/{yard.runs['drifted']}/model")
    refused(yard.client.set_registered_model_alias, yard.name, "champion", other)


@slow
def test_files_put_beside_a_released_model_are_another_model(yard):
    """A run equals itself, so what it is registered with has to be what was released."""
    run_id = yard.runs["first"]
    yard.client.log_text(run_id, "other weights", f"{yard.name[:40]}/MLmodel")
    version = yard.register("first", source=f"runs:/{run_id}/{yard.name[:40]}")
    refused(
        yard.client.set_registered_model_alias, yard.name, "champion", version, says="another model"
    )


@slow
def test_a_copy_is_judged_like_its_original(yard):
    """Copying a held version into another model, or on from there, promotes nothing."""
    version = yard.register("drifted")
    held = yard.client.get_model_version(yard.name, version)
    copy = yard.client.copy_model_version(f"models:/{yard.name}/{version}", f"{yard.name} copy")
    assert yard.gate(copy.version, copy.name) == ("drifted", "held")
    refused(yard.client.set_registered_model_alias, copy.name, "champion", copy.version)
    again = yard.store.copy_model_version(copy, f"{yard.name} again")
    refused(yard.client.set_registered_model_alias, again.name, "champion", again.version)
    back = yard.store.copy_model_version(held, yard.name)
    refused(yard.client.set_registered_model_alias, yard.name, "champion", back.version)


@slow
def test_a_copy_of_a_released_version_is_let_through(yard):
    """Its data is the released data."""
    copy = yard.client.copy_model_version(f"models:/{yard.name}/1", f"{yard.name} copy")
    yard.client.set_registered_model_alias(copy.name, "champion", copy.version)


@slow
def test_a_copy_by_alias_carries_no_alias(yard):
    """An alias names the source of a copy and nothing else."""
    copy = yard.client.copy_model_version(f"models:/{yard.name}@champion", f"{yard.name} copy")
    assert yard.aliases(copy.name) == {}


@slow
def test_deleting_what_was_released_resets_nothing(yard):
    """Our own record of the release outlives the alias, the version and the model."""
    yard.client.delete_registered_model_alias(yard.name, "champion")
    version = yard.register("drifted")
    refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    yard.client.delete_model_version(yard.name, "1")
    refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    yard.client.delete_registered_model(yard.name)
    again = yard.register("drifted")
    assert again == "1"
    refused(yard.client.set_registered_model_alias, yard.name, "champion", again)


@slow
def test_a_new_name_resets_nothing(yard):
    """Another model on the same inputs is compared with the last release of any."""
    version = yard.register("drifted", f"{yard.name} fresh")
    refused(yard.client.set_registered_model_alias, f"{yard.name} fresh", "champion", version)


@slow
def test_a_model_in_use_is_not_renamed(yard):
    """Aliases and stages would come along under a name for which nobody was asked."""
    refused(yard.client.rename_registered_model, yard.name, f"{yard.name} 2", says="in use")
    yard.client.delete_registered_model_alias(yard.name, "champion")
    yard.client.transition_model_version_stage(yard.name, "1", "Staging")
    refused(yard.client.rename_registered_model, yard.name, f"{yard.name} 2", says="in use")
    yard.client.transition_model_version_stage(yard.name, "1", "Archived")
    yard.client.rename_registered_model(yard.name, f"{yard.name} 2")
    version = yard.register("drifted", f"{yard.name} 2")
    refused(yard.client.set_registered_model_alias, f"{yard.name} 2", "champion", version)


@slow
def test_training_twice_on_drifted_data_helps_nobody(yard):
    """An unreleased run is no baseline, though it is the last one and a tag names it."""
    version = yard.register("drifted")
    assert yard.gate(version) == ("drifted", "held")
    twin = yard.register("drifted")
    refused(yard.client.set_registered_model_alias, yard.name, "challenger", twin)


@slow
def test_a_model_is_no_prompt_because_somebody_says_so(yard):
    """The tag that makes a prompt is not set on a model, and a version with files is judged."""
    key = "mlflow.prompt.is_prompt"
    refused(
        yard.store.set_registered_model_tag,
        yard.name,
        RegisteredModelTag(key, "true"),
        says="is not written",
    )
    refused(yard.store.delete_registered_model_tag, yard.name, key, says="is not written")
    source = f"runs:/{yard.runs['drifted']}/model"
    for claimed in (source, "prompt-template"):
        made = yard.store.create_model_version(
            yard.name, claimed, tags=[ModelVersionTag(key, "true")]
        )
        words = (yard.name, "champion", str(made.version))
        refused(yard.client.set_registered_model_alias, *words, says="Next")


@slow
def test_a_prompt_is_none_of_our_business(yard):
    """Prompts live in the same tables, and have no training data."""
    name = f"{yard.name} prompt"
    yard.store.create_prompt(name)
    yard.store.create_prompt_version(name, "Say {{what}}.", tags={"team": "a"})
    yard.store.set_prompt_alias(name, "champion", "1")
    assert "nbgov.gate" not in yard.store.get_model_version(name, "1").tags


@slow
def test_a_reserved_or_impossible_alias_releases_nothing(yard):
    """What MLflow itself refuses is refused before anything is written down."""
    for alias in ("latest", "v1", "a b/c", ""):
        with pytest.raises(MlflowException):
            yard.client.set_registered_model_alias(yard.name, alias, "1")
    with pytest.raises(MlflowException, match="not found"):
        yard.client.set_registered_model_alias(yard.name, "champion", "99")
    with nbgov.promotions() as room:
        assert len(room.world.releases.releases(yard.name)) == 1


# ---------------------------------------------------------------- fail closed


@slow
def test_without_its_policy_the_gate_is_shut(yard):
    """A policy that does not decode lets nothing pass, and a new version is held."""
    version = yard.register("same")
    (yard.folder / "policy.yaml").write_text("version: 2")
    refused(
        yard.client.set_registered_model_alias, yard.name, "champion", version, says="policy.yaml"
    )
    assert yard.gate(yard.register("same")) == ("unknown", "held")


@slow
def test_without_its_configuration_the_gate_is_shut(yard, monkeypatch, tmp_path):
    """A server that was started without its nbgov.yaml promotes nothing."""
    version = yard.register("same")
    monkeypatch.setenv("NBGOV_CONFIG", str(tmp_path / "nowhere"))
    refused(
        yard.client.set_registered_model_alias, yard.name, "champion", version, says="nbgov.yaml"
    )


@slow
def test_without_its_state_the_gate_is_shut(yard):
    """A state that cannot be read says nothing about anybody's consent."""
    version = yard.register("same")
    for path in (yard.folder / ".nbgov").glob("state.sqlite*"):
        path.write_bytes(b"not a database")
    refused(yard.client.set_registered_model_alias, yard.name, "champion", version, says="")
    assert yard.aliases() == {"champion": "1"}


@slow
def test_a_fault_that_nobody_thought_of_shuts_the_gate(yard, monkeypatch, caplog):
    """Whatever goes wrong is a refusal, without its text, which may quote data."""
    version, quoted = yard.register("same"), "ada@private.test"

    class Broken:
        def __init__(self):
            raise ZeroDivisionError(quoted)

    monkeypatch.setattr(gated, "MlflowRuns", Broken)
    text = refused(
        yard.client.set_registered_model_alias,
        yard.name,
        "champion",
        version,
        says="ZeroDivisionError",
    )
    assert quoted not in text
    assert "ZeroDivisionError" in caplog.text
    assert quoted not in caplog.text
    assert yard.gate(yard.register("same")) == ("unknown", "held")


@slow
def test_the_gate_writes_down_what_it_did(yard):
    """Each alias that was let pass or refused is an entry of the audit log."""
    version = yard.register("drifted")
    refused(yard.client.set_registered_model_alias, yard.name, "champion", version)
    with nbgov.promotions() as room:
        entries = b"".join(room.world.audit.entries())
        [kept] = room.world.releases.releases(yard.name)
    assert b'"decision":"deny"' in entries
    assert (kept.version, kept.run_id, kept.wish) == ("1", yard.runs["first"], "alias champion")


def test_every_scheme_that_the_docs_name_opens_the_gate():
    """An address with a driver has a scheme of its own to MLflow, so each is registered."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["mlflow.model_registry_store"]
    assert set(points.values()) == {"mlflow_plugin.gate:open_store"}
    page = (Path(__file__).parents[2] / "docs/howto/hold-a-promotion.md").read_text()
    assert all(f"`{scheme}`" in page for scheme in points)
