"""Same data as last time? Picks the run to compare with, and puts the answer in MLflow's terms.

The comparison itself is :func:`nbgov.compare`; here its answer becomes tags, metrics and the record
``nbgov/lineage.json``, which the page and the note are made from.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

import nbgov
from mlflow_plugin.environment import code, environment
from mlflow_plugin.inputs import INPUTS_TAG, GovernedInput, compared, governed_inputs, label_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.marks import Lookup

FOLDER = "nbgov"
RECORD = f"{FOLDER}/lineage.json"
TABLE = f"{FOLDER}/drift.csv"
SPEC = "nbgov/lineage/1"
BASELINE_TAG = "nbgov.baseline"
COMMIT_TAG = "mlflow.source.git.commit"
FIRST = "Baseline: no earlier finished run of this experiment has inputs of these names."
ABSENT = "Unknown: the run that the tag nbgov.baseline names cannot be read."
BASELINE_RUNS_MAX = 50
COLUMNS_MAX = 20
METRIC_NAME_MAX = 200
UNNAMEABLE = re.compile(r"[^A-Za-z0-9_\-. /]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run's governed inputs compare with those of an earlier run.

    Attributes:
        status: ``baseline`` (nothing to compare with), ``stable``, ``drifted`` or ``unknown``.
        sentence: The same in words.
        baseline: The run that was compared with, or ``None``.
        is_chosen: Whether a person chose the baseline.
        causes: What changed, the strongest first: kind, subject, sentence, effect and detail.
        sizes: How many inputs changed, and how the number of rows did, as far as that is known.
    """

    status: str
    sentence: str
    baseline: MlflowRun | None = None
    is_chosen: bool = False
    causes: tuple[dict[str, Any], ...] = field(default=())
    sizes: Mapping[str, float] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the causes, the strongest first; a cause without effect is a remark."""
        felt = (str(cause["kind"]) for cause in self.causes if cause["effect"] > 0)
        return tuple(dict.fromkeys(felt))

    def tags(self) -> dict[str, str]:
        """The run tags that state the verdict; what no longer holds becomes empty."""
        tags = {
            "nbgov.drift": self.status,
            "nbgov.drift.why": ",".join(self.kinds) if self.status == "drifted" else "",
        }
        if self.baseline is not None and not self.is_chosen:
            tags[BASELINE_TAG] = self.baseline.info.run_id
        return tags

    def metrics(self, held: Iterable[str]) -> dict[str, float]:
        """The drift as metrics; their prefix gets a section of its own in MLflow's charts.

        Args:
            held: Names of the metrics that the run has: what no longer holds becomes 0.
        """
        found = dict.fromkeys((name for name in held if name.startswith("nbgov.drift/")), 0.0)
        if self.baseline is None:
            return found
        moved = [(c["detail"]["psi"], c["subject"]) for c in self.causes if "psi" in c["detail"]]
        for psi, subject in sorted(moved, reverse=True)[:COLUMNS_MAX]:
            found[f"nbgov.drift/{named(subject)}.psi"] = round(float(psi), 4)
        found["nbgov.drift/max_psi"] = round(max((psi for psi, _ in moved), default=0.0), 4)
        return found | {f"nbgov.drift/{name}": size for name, size in self.sizes.items()}


def named(subject: str) -> str:
    """A subject as part of a metric's name, which MLflow restricts."""
    return UNNAMEABLE.sub("_", subject)[:METRIC_NAME_MAX]


# ---------------------------------------------------------------- the comparison


def judge(
    client: MlflowClient,
    run: MlflowRun,
    inputs: tuple[GovernedInput, ...],
    seen: Mapping[str, Any],
    lookup: Lookup,
) -> Verdict:
    """Compare a run with its baseline: the one a person chose, or the last finished one like it.

    A baseline tag that is not what nbgov put there was set by a person, and stays.
    """
    chosen = run.data.tags.get(BASELINE_TAG, "")
    is_chosen = chosen not in {"", seen["proposed"]}
    baseline = chosen_run(client, chosen) if is_chosen else last_like(client, run, inputs)
    if baseline is None:
        status, sentence = ("unknown", ABSENT) if is_chosen else ("baseline", FIRST)
        return Verdict(status, sentence, is_chosen=is_chosen)
    theirs = governed_inputs(baseline)
    versions = versions_of((*theirs, *inputs), lookup)
    before, after = as_run(baseline, captured(client, baseline)), as_run(run, seen, inputs)
    report = nbgov.compare(before, after, versions)
    return Verdict(
        status=report.status,
        sentence=report.verdict,
        baseline=baseline,
        is_chosen=is_chosen,
        causes=tuple(report.to_dict()["causes"]),
        sizes=sizes(compared(theirs), compared(inputs), versions),
    )


def chosen_run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    """The run that a person named as the baseline, if it can be read."""
    try:
        return client.get_run(run_id)
    except MlflowException:
        return None


def sizes(
    before: tuple[GovernedInput, ...],
    after: tuple[GovernedInput, ...],
    versions: Mapping[str, nbgov.DatasetVersion],
) -> dict[str, float]:
    """How many inputs hold other rows than before, and the change of all rows in percent."""
    if not all(one.version_id in versions for one in (*before, *after)):
        return {}
    held = [[(one.name, versions[one.version_id]) for one in side] for side in (before, after)]
    contents = [{(name, version.content_id) for name, version in side} for side in held]
    changed = {name for name, _ in contents[0] ^ contents[1]}
    rows = [sum(version.rows for _, version in side) for side in held]
    return {
        "changed_inputs": float(len(changed)),
        "rows_pct": round(100 * (rows[1] - rows[0]) / max(rows[0], 1), 2),
    }


def versions_of(
    inputs: tuple[GovernedInput, ...], lookup: Lookup
) -> dict[str, nbgov.DatasetVersion]:
    """The versions of inputs, as far as they are kept where this process can see them."""
    found: dict[str, nbgov.DatasetVersion] = {}
    for one in inputs:
        # A store that this account may not open is no error: the comparison says what it misses.
        with suppress(nbgov.NbgovError):
            pair = lookup(one.mark)
            if pair is not None:
                found[one.version_id] = pair[0]
    return found


def last_like(
    client: MlflowClient, run: MlflowRun, inputs: tuple[GovernedInput, ...]
) -> MlflowRun | None:
    """The last finished run before this one, in its experiment, with inputs of the same names."""
    names = compared_names(inputs)
    # An underscore in LIKE stands for any character: a name with a quote finds more, never less.
    pattern = min(names, default="").replace("'", "_")
    candidates = client.search_runs(
        [run.info.experiment_id],
        f"attributes.status = 'FINISHED' AND attributes.start_time < {run.info.start_time}"
        f" AND tags.`{INPUTS_TAG}` LIKE '%{pattern}@v%'",
        max_results=BASELINE_RUNS_MAX,
        order_by=["attributes.end_time DESC"],
    )
    alike = (one for one in candidates if compared_names(governed_inputs(one)) == names)
    return next(alike, None)


def compared_names(inputs: tuple[GovernedInput, ...]) -> frozenset[str]:
    """The names that make two runs comparable."""
    return frozenset(one.name for one in compared(inputs))


def as_run(
    run: MlflowRun, seen: Mapping[str, Any], inputs: tuple[GovernedInput, ...] | None = None
) -> nbgov.Run:
    """An MLflow run as nbgov compares it, without what nbgov itself logged there."""
    return nbgov.Run(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        inputs=tuple(
            nbgov.RunInput(one.name, one.version_id, one.context, one.bound_via)
            for one in (governed_inputs(run) if inputs is None else inputs)
        ),
        params={k: v for k, v in run.data.params.items() if not k.startswith("nbgov.")},
        metrics={k: v for k, v in run.data.metrics.items() if not k.startswith("nbgov.")},
        code=seen["code"],
        packages=seen["environment"].get("packages", {}),
    )


def captured(client: MlflowClient, run: MlflowRun, *, is_live: bool = False) -> dict[str, Any]:
    """Code, environment and proposed baseline of a run, as its artifacts hold them.

    Args:
        client: The tracking store.
        run: The run.
        is_live: Take them from this process where there is no record yet and the run is open. The
            process that binds a finished run did not train it, and knows no more than MLflow does.
    """
    held = {file.path for file in client.list_artifacts(run.info.run_id, FOLDER)}
    rest = {"proposed": "", "has_table": TABLE in held}
    if RECORD in held:
        return rest | held_in(read_record(client.tracking_uri, run))
    if is_live and run.info.end_time is None:
        return rest | {"code": code(Path.cwd()), "environment": environment()}
    commit = run.data.tags.get(COMMIT_TAG)
    return rest | {"code": {"commit": commit} if commit else {}, "environment": {}}


def held_in(record: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`captured` gives, from a record; anybody may write to an artifact store."""
    system, verdict = entries(record.get("environment")), entries(record.get("verdict"))
    packages = {"packages": texts(system["packages"])} if "packages" in system else {}
    is_ours = verdict.get("baseline_is_chosen") is False
    return {
        "code": texts(record.get("code")),
        "environment": texts(system) | packages,
        "proposed": texts(verdict.get("baseline")).get("id", "") if is_ours else "",
    }


def entries(value: object) -> dict[str, Any]:
    """A mapping as it is; empty for anything else."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> dict[str, str]:
    """The entries of a mapping that are text; empty for anything else."""
    return {str(key): text for key, text in entries(value).items() if isinstance(text, str)}


def read_record(tracking_uri: str, run: MlflowRun) -> dict[str, Any]:
    """The record on a run's page; empty when somebody wrote something else there."""
    repository: Any = get_artifact_repository(run.info.artifact_uri, tracking_uri=tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lineage.json")
        # The public way draws a progress bar on stderr, which would be a cell's unstable output.
        repository._download_file(RECORD, str(path))  # noqa: SLF001 - every repository has it
        with suppress(ValueError):
            return entries(json.loads(path.read_text(encoding="utf-8")))
    return {}


# ---------------------------------------------------------------- tags and the record


def input_tags(inputs: tuple[GovernedInput, ...]) -> dict[str, str]:
    """The run tags that state which governed data a run read, and under which policy."""
    policies = sorted({str(one.facts.get("policy", ""))[:12] for one in inputs})
    return {
        INPUTS_TAG: label_tag(inputs),
        "nbgov.fingerprint": fingerprint(inputs),
        "nbgov.policy": ", ".join(policies),
        "nbgov.receipt": ", ".join(one.read.get("nbgov.receipt", "") for one in inputs),
    }


def fingerprint(inputs: tuple[GovernedInput, ...]) -> str:
    """One digest over the versions trained on: equal means the same data under one policy."""
    versions = sorted({one.version_id for one in compared(inputs)})
    return hashlib.sha256("\n".join(versions).encode()).hexdigest()[:16]


def record_of(
    run: MlflowRun,
    inputs: tuple[GovernedInput, ...],
    verdict: Verdict,
    seen: Mapping[str, Any],
) -> dict[str, Any]:
    """The whole record of a run's governed inputs, JSON-ready; ``nbgov/lineage.json``."""
    baseline = verdict.baseline
    return {
        "spec": SPEC,
        "run": identity(run),
        "verdict": {
            "status": verdict.status,
            "sentence": verdict.sentence,
            "why": list(verdict.kinds),
            "causes": list(verdict.causes),
            "baseline": identity(baseline) if baseline is not None else None,
            "baseline_is_chosen": verdict.is_chosen,
        },
        "inputs": [asdict(one) for one in inputs],
        "fingerprint": fingerprint(inputs),
        "code": dict(seen["code"]),
        "environment": dict(seen["environment"]),
        "params": dict(run.data.params),
        "metrics": {k: v for k, v in run.data.metrics.items() if not k.startswith("nbgov.")},
    }


def identity(run: MlflowRun) -> dict[str, str]:
    """A run's id, name and experiment."""
    info = run.info
    return {
        "id": info.run_id,
        "name": info.run_name or info.run_id,
        "experiment": info.experiment_id,
    }
