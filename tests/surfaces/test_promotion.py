"""``nbgov promotion`` and the gate's question, on a real warehouse, a real state folder and runs in RAM."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

import nbgov
from nbgov import promotion as room
from nbgov.backends.memory import MemoryRunStore
from nbgov.cli import main
from nbgov.errors import BackendFailed, ConfigInvalid, Denied, RequestInvalid
from nbgov.evidence.verification import verify_log
from nbgov.model import ModelVersion, Run
from tests.candidates import AFTER, BEFORE, build


class Yard:
    """A project with a run store, in which models are trained by hand."""

    def __init__(self, folder):
        self.folder = folder
        self.store = MemoryRunStore()

    def train(self, run_id, sql, *, as_="ada", **changes):
        """A run on what a statement delivers."""
        with nbgov.connect(self.folder, as_=as_) as session:
            result = session.sql(sql, dataset="flights")
            frame = result.to_pandas()
            mark = frame.attrs["nbgov"]
            session.version(mark["version"])
            delivery = session.delivery(mark["read"])
        self.store.runs[run_id] = Run(run_id, run_id, (), {}, {}, started_at=datetime.now(UTC))
        self.store.track(delivery, run_id=run_id, context="training")
        self.store.runs[run_id] = replace(self.store.runs[run_id], **changes)

    def register(self, version, run_id, *, name="churn", digest="", aliases=()):
        """A model version."""
        model = ModelVersion(name, version, run_id, digest or f"digest of {run_id}", aliases)
        self.store.models = [
            replace(m, aliases=()) if aliases and m.name == name else m for m in self.store.models
        ]
        self.store.models.append(model)

    def admit(self, reference, wish="alias champion"):
        """What the gate does."""
        with nbgov.promotions(self.folder, store=self.store) as gate:
            return gate.admit(reference, wish=wish, account="ci")

    def judge(self, reference):
        """What the gate would say."""
        with nbgov.promotions(self.folder, store=self.store) as gate:
            return gate.judge(reference)

    def command(self, *words, as_="ada"):
        """Run ``nbgov promotion`` as somebody."""
        return CliRunner().invoke(
            main, ["--config", str(self.folder), "--as", as_, "promotion", *words]
        )


@pytest.fixture
def yard(tmp_path, monkeypatch):
    made = Yard(build(tmp_path))
    monkeypatch.setattr(room, "run_store", lambda: made.store)
    return made


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A released first version, a second one whose delays are in another unit, and two more runs."""
    made = Yard(build(tmp_path_factory.mktemp("yard")))
    made.train("run-1", BEFORE)
    made.register("1", "run-1")
    made.admit("models:/churn/1")
    made.train("run-2", AFTER)
    made.register("2", "run-2")
    made.train("same", BEFORE)
    made.train("twice", AFTER)
    return made


@pytest.fixture
def drifted(original, tmp_path, monkeypatch):
    """The original project in a folder of the test's own."""
    shutil.copytree(original.folder, tmp_path, dirs_exist_ok=True)
    made = Yard(tmp_path)
    made.store = copy.deepcopy(original.store)
    monkeypatch.setattr(room, "run_store", lambda: made.store)
    return made


def test_the_whole_story_of_a_held_promotion(drifted):
    """First passes, drifted is held, a second person releases it, and then it is the baseline."""
    shown = drifted.command("show", "models:/churn/2", "--exit-code")
    assert shown.exit_code == 4
    assert shown.stdout.startswith("models:/churn/2: held\n")
    assert "delay" in shown.stdout
    assert "next      nbgov promotion request models:/churn/2" in shown.stdout
    with pytest.raises(Denied, match="may not be promoted"):
        drifted.admit("models:/churn/2")
    assert drifted.command("request", "models:/churn/2").exit_code == 0
    assert "requested  ada" in drifted.command("list").stdout
    approved = drifted.command(
        "approve", "models:/churn/2", "--reason", "units agreed", as_="heidi"
    )
    assert approved.stdout.startswith("models:/churn/2: approved\n"), approved.output
    assert drifted.admit("models:/churn/2").status == "approved"
    drifted.register("3", "twice")
    assert drifted.admit("models:/churn/3").status == "open"


def test_the_same_data_again_is_open(drifted):
    """A retraining on equal rows needs nobody."""
    drifted.register("3", "same")
    found = drifted.judge("models:/churn/3")
    assert (found.status, found.drift, found.baseline) == ("open", "stable", "run-1")


def test_training_twice_on_drifted_data_helps_nobody(drifted):
    """Neither the last run nor a tagged one is a baseline before it is released."""
    drifted.register("3", "twice")
    drifted.store.tagged = {"twice": "run-2"}
    assert drifted.judge("models:/churn/3").status == "held"


def test_another_name_or_a_deleted_model_resets_nothing(drifted):
    """Copies under a new name, and a registry in which the first release is gone, stay held."""
    drifted.register("1", "run-2", name="fresh")
    assert drifted.judge("models:/fresh/1").status == "held"
    drifted.store.models = [one for one in drifted.store.models if one.version != "1"]
    drifted.register("1", "run-2")
    assert drifted.judge("models:/churn/1").status == "held"


def test_the_champion_is_the_baseline(drifted):
    """The alias comes before our own last record."""
    drifted.register("3", "run-2", aliases=("champion",))
    assert drifted.judge("models:/churn/2").baseline == "run-2"


def test_a_run_that_is_gone_holds(drifted):
    """Without the baseline's run nothing can be compared."""
    del drifted.store.runs["run-1"]
    assert "cannot be read" in drifted.judge("models:/churn/2").holds[0]


def test_versions_without_lineage_are_held(drifted):
    """No run, an unknown run, an unknown version, an ungoverned input: each is held."""
    run = drifted.store.runs["same"]
    drifted.store.runs["run-4"] = replace(run, run_id="run-4", ungoverned=("3 columns",))
    drifted.store.runs["run-5"] = replace(
        run, inputs=(replace(run.inputs[0], version_id="f" * 32),)
    )
    for number, (run_id, says) in enumerate(
        [
            ("", "names no run"),
            ("run-9", "names no run"),
            ("run-4", "ungoverned input"),
            ("run-5", "dataset store"),
        ],
        10,
    ):
        drifted.register(str(number), run_id)
        found = drifted.judge(f"models:/churn/{number}")
        assert found.status == "held"
        assert any(says in why for why in found.holds), (run_id, found.holds)


def test_stale_data_is_held(drifted):
    """Training data older than the policy permits holds under any terms."""
    terms = "drift: {holds: [], freshness: [{on: [flights], age_max: 1m}], approval"
    text = (drifted.folder / "policy.yaml").read_text().replace("drift: {approval", terms)
    (drifted.folder / "policy.yaml").write_text(text)
    late = datetime(2036, 1, 1, tzinfo=UTC)
    drifted.store.runs["run-1"] = replace(drifted.store.runs["run-1"], started_at=late)
    drifted.register("4", "run-1", name="other")
    assert "stale" in drifted.judge("models:/other/4").holds[0]


def test_whoever_got_the_training_data_cannot_vote(yard):
    """Grace read what the model was trained on, so she is no second pair of eyes; nor is the requester."""
    yard.train("run-1", BEFORE, as_="grace", ungoverned=("ndarray of 2 columns",))
    yard.register("1", "run-1")
    assert yard.command("approve", "models:/churn/1", as_="heidi").exit_code == 1  # Nobody asked.
    assert yard.command("request", "models:/churn/1", as_="ada").exit_code == 0
    for name, code in (
        ("grace", "self-approval"),
        ("ada", "self-approval"),
        ("mallory", "vote-not-permitted"),
    ):
        refused = yard.command("approve", "models:/churn/1", as_=name)
        assert f"code    {code}" in refused.stderr, refused.stderr
    with nbgov.connect(yard.folder, as_="grace") as session:
        session.vote(session.pending()[0].ticket, is_approval=True)  # Around the room's own check.
    assert yard.judge("models:/churn/1").status == "held"


def test_a_denial_ends_the_ticket(drifted):
    """What was denied stays held, and can be asked for again."""
    drifted.command("request", "models:/churn/2")
    denied = drifted.command("deny", "models:/churn/2", "--reason", "wrong unit", as_="heidi")
    assert denied.exit_code == 0
    assert "heidi denied" in denied.stdout
    assert drifted.command("request", "models:/churn/2").exit_code == 0
    assert drifted.judge("models:/churn/2").approval.state == "requested"


def test_a_changed_lineage_or_file_takes_the_consent_back(drifted):
    """What was approved is one training and one set of files."""
    drifted.command("request", "models:/churn/2")
    drifted.command("approve", "models:/churn/2", as_="heidi")
    assert drifted.judge("models:/churn/2").status == "approved"
    run = drifted.store.runs["run-2"]
    drifted.store.runs["run-2"] = replace(run, params={"depth": "9"})
    assert drifted.judge("models:/churn/2").status == "held"
    drifted.store.runs["run-2"] = run
    drifted.store.models[-1] = replace(drifted.store.models[-1], digest="swapped")
    assert drifted.judge("models:/churn/2").status == "held"


def test_json_holds_what_the_text_holds(drifted):
    """Programs get the same answer."""
    found = json.loads(drifted.command("show", "models:/churn/2", "--json").stdout)
    assert (found["status"], found["baseline"], found["approval"]) == ("held", "run-1", None)
    drifted.command("request", "models:/churn/2")
    [row] = json.loads(drifted.command("list", "--json", "--model", "churn").stdout)
    assert (row["model"], row["state"]) == ("models:/churn/2", "requested")
    assert drifted.command("list", "--model", "pricing").stdout == "No consent is asked for.\n"


def test_everything_is_written_down(drifted):
    """Each answer of the gate, each request and each vote is an entry of the audit log."""
    with pytest.raises(Denied):
        drifted.admit("models:/churn/2", wish="stage Production")
    drifted.command("request", "models:/churn/2")
    drifted.command("approve", "models:/churn/2", as_="heidi")
    with nbgov.connect(drifted.folder, as_="ada") as session:
        verify_log(session)
        records = [json.loads(line)["record"] for line in session.world.audit.entries()]
        [kept] = session.world.releases.releases()
    ours = [r for r in records if r.get("verb") == "PROMOTE"]
    assert [(r["kind"], r.get("decision"), r.get("note")) for r in ours] == [
        ("admin", "permit", "alias champion"),
        ("admin", "deny", "stage Production"),
        ("admin", None, "request"),
        ("vote", None, "approve"),
    ]
    assert (kept.model, kept.version, kept.account, kept.wish) == (
        "churn",
        "1",
        "ci",
        "alias champion",
    )


def test_an_unwritable_record_lets_nothing_pass(yard, monkeypatch):
    """Without a record there is no promotion."""
    yard.train("run-1", BEFORE)
    yard.register("1", "run-1")
    with nbgov.promotions(yard.folder, store=yard.store) as gate:
        for part, name in ((gate.world.audit, "append"), (gate.world.releases, "add")):
            with monkeypatch.context() as patch:

                def fail(*_):
                    raise BackendFailed("The disk is full.", code="audit-unavailable")

                patch.setattr(part, name, fail)
                with pytest.raises(BackendFailed):
                    gate.admit("models:/churn/1", wish="alias champion")


def test_a_policy_or_configuration_that_cannot_be_read_lets_nothing_pass(drifted, tmp_path):
    """The gate has no answer without them, and no answer is no."""
    (drifted.folder / "policy.yaml").write_text("version: 2")
    with pytest.raises(ConfigInvalid):
        drifted.admit("models:/churn/1")
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    with pytest.raises(ConfigInvalid), nbgov.promotions(empty, store=drifted.store):
        pass


def test_an_unknown_model_is_an_error(drifted):
    """There is nothing to say about a version that is not registered."""
    shown = drifted.command("show", "models:/churn/99")
    assert shown.exit_code == 1
    assert "code    unknown" in shown.stderr


def test_a_gate_reads_no_source(yard):
    """What judges a model has no way to the databases."""
    with nbgov.promotions(yard.folder, store=yard.store) as gate, pytest.raises(RequestInvalid):
        gate.world.engine("wh")


def test_judge_answers_in_a_session(drifted):
    """The public function says what the command and the gate say."""
    with nbgov.connect(drifted.folder, as_="ada") as session:
        found = nbgov.judge(session, "models:/churn/2")
    assert found == drifted.judge("models:/churn/2")
    assert isinstance(found, nbgov.Promotion)


def test_no_value_reaches_a_message(drifted):
    """The refusal names columns and figures, never a path, a secret or a statement."""
    with pytest.raises(Denied) as caught:
        drifted.admit("models:/churn/2")
    assert "SELECT" not in str(caught.value)
    assert str(drifted.folder) not in str(caught.value)
