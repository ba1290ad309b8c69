"""What is known of a run beside what MLflow keeps: code, machine, importance, labels, strangers.

The process that trains knows it first; from then on it stands in the record on the run's page. What
this process knows of its own runs is kept here, so that no page is read back to be written again.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

import nbgov
from mlflow_plugin import artifacts
from mlflow_plugin.environment import code, environment, packages
from mlflow_plugin.inputs import TAG_MAX, GovernedInput, governed_inputs
from mlflow_plugin.ledger import recall
from mlflow_plugin.training import Foreign

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from mlflow_plugin.marks import Lookup, Pair

FOLDER = "nbgov"
RECORD = f"{FOLDER}/lineage.json"
TABLE = f"{FOLDER}/drift.csv"
UNGOVERNED_TAG = "nbgov.ungoverned"
IMPORTANCE_TAG = "nbgov.importance"
COMMIT_TAG = "mlflow.source.git.commit"
KNOWN_MAX = 200
FOREIGN_MAX = 20
COUNT = re.compile(r"[\d,]+ inputs?")
ROWS = re.compile(r"([\d,]+) rows?$")


@dataclass(slots=True)
class Facts:
    """What is known of one run. It grows while the run does.

    Attributes:
        code, environment, packages, models: As :class:`nbgov.Run` has them.
        importance, made: The importance of columns, and how it was made.
        foreign: What the run was fitted on that nbgov did not deliver.
        labels: Version id to the columns that the run learned to predict.
        proposed: The baseline that nbgov chose when the page was last written.
        has_table: Whether the page has a table of causes, so that it must be kept up to date.
    """

    code: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    made: str = ""
    foreign: list[Foreign] = field(default_factory=list)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    proposed: str = ""
    has_table: bool = False

    def add_foreign(self, found: Iterable[Foreign]) -> None:
        """Note data that nbgov did not deliver, once each."""
        known = {one.words for one in self.foreign}
        for one in found:
            if one.words not in known and len(self.foreign) < FOREIGN_MAX:
                known.add(one.words)
                self.foreign.append(one)

    def add_labels(self, version_id: str, names: Iterable[str]) -> None:
        """Note what the run learned to predict."""
        joined = dict.fromkeys((*self.labels.get(version_id, ()), *names))
        if joined:
            self.labels[version_id] = tuple(joined)


KNOWN: dict[tuple[str, str], Facts] = {}
LOCK = threading.Lock()


def live(tracking_uri: str, run_id: str) -> Facts:
    """The facts of a run that is open in this process; taken when it is first asked for."""
    key = (tracking_uri, run_id)
    with LOCK:
        if key not in KNOWN:
            KNOWN[key] = Facts(
                code=code(Path()), environment=environment(), packages=packages(sys.path)
            )
        for oldest in list(KNOWN)[:-KNOWN_MAX]:
            del KNOWN[oldest]
        return KNOWN[key]


def captured(client: MlflowClient, run: MlflowRun, *, is_live: bool = False) -> Facts:
    """The facts of a run: this process's own, else those that its page states.

    Args:
        client: The tracking store.
        run: The run.
        is_live: Whether this process writes the page. The process that binds a finished run did not
            train it, and knows no more than MLflow does.
    """
    key = (client.tracking_uri, run.info.run_id)
    if is_live and key in KNOWN:
        return KNOWN[key]
    facts = recorded(client, run)
    if is_live and not facts.code and not facts.environment and run.info.end_time is None:
        return live(*key)
    if not facts.code and COMMIT_TAG in run.data.tags:
        facts.code = {"commit": run.data.tags[COMMIT_TAG]}
    add_told(facts, run)
    if is_live:
        adopt(client, run, facts)
    return facts


def adopt(client: MlflowClient, run: MlflowRun, facts: Facts) -> None:
    """Take these as what this process knows of a run."""
    with LOCK:
        KNOWN[client.tracking_uri, run.info.run_id] = facts


def add_told(facts: Facts, run: MlflowRun) -> None:
    """Add the ungoverned inputs that a run's tag names; where it counts them, the record does."""
    told = [words for words in run.data.tags.get(UNGOVERNED_TAG, "").split("; ") if words]
    is_counted = bool(facts.foreign)
    facts.add_foreign(Foreign(one) for one in told if not (is_counted and COUNT.fullmatch(one)))


def recorded(client: MlflowClient, run: MlflowRun) -> Facts:
    """The facts that the record on a run's page states; empty ones without a record."""
    uri, tracking_uri = str(run.info.artifact_uri), client.tracking_uri
    held = artifacts.names(uri, tracking_uri, FOLDER)
    made = run.data.tags.get(IMPORTANCE_TAG, "").partition(":")[0]
    facts = Facts(made=made, has_table=TABLE in held)
    if RECORD not in held:
        return facts
    # Anybody may write to an artifact store; what does not decode states nothing.
    with suppress(ValueError, nbgov.NbgovError):
        lineage = nbgov.Lineage.from_dict(json.loads(artifacts.text(uri, tracking_uri, RECORD)))
        if lineage.run is not None:
            facts.code, facts.environment = dict(lineage.run.code), dict(lineage.run.environment)
            facts.packages, facts.models = dict(lineage.run.packages), dict(lineage.run.models)
            facts.importance = dict(lineage.run.importance)
            facts.add_foreign(map(Foreign, lineage.run.ungoverned))
            for one in lineage.run.inputs:
                facts.add_labels(one.version_id, one.labels)
        if lineage.baseline is not None and not lineage.is_baseline_chosen:
            facts.proposed = lineage.baseline.run_id
    return facts


# ---------------------------------------------------------------- the run as a value


def as_run(
    client: MlflowClient,
    run: MlflowRun,
    facts: Facts,
    lookup: Lookup,
    *,
    inputs: tuple[GovernedInput, ...] | None = None,
) -> nbgov.Run:
    """An MLflow run as nbgov compares it, without what nbgov itself logged there."""
    bound = governed_inputs(run) if inputs is None else inputs
    started = run.info.start_time
    return nbgov.Run(
        run_id=run.info.run_id,
        name=run.info.run_name or run.info.run_id,
        inputs=tuple(as_input(one, facts, lookup) for one in bound),
        params={k: v for k, v in run.data.params.items() if not k.startswith("nbgov.")},
        metrics={k: v for k, v in run.data.metrics.items() if not k.startswith("nbgov.")},
        code=facts.code,
        packages=facts.packages,
        environment=facts.environment,
        models=facts.models | dict(upstream(client, run)),
        importance=facts.importance,
        ungoverned=tuple(one.words for one in unvouched(facts.foreign, bound, lookup)),
        started_at=datetime.fromtimestamp(started / 1000, UTC) if started else None,
    )


def as_input(one: GovernedInput, facts: Facts, lookup: Lookup) -> nbgov.RunInput:
    """An input of a run, with what its delivery states where that is kept here."""
    pair = find(one, lookup)
    delivery = pair[1] if pair is not None else None
    return nbgov.RunInput(
        name=one.name,
        version_id=one.version_id,
        context=one.context,
        bound_via=one.bound_via,
        labels=tuple(dict.fromkeys((*one.labels, *facts.labels.get(one.version_id, ())))),
        read_id=one.read.get("nbgov.read_id", ""),
        read_at=delivery.at if delivery is not None else one.read_at,
        sources=delivery.sources if delivery is not None else (),
    )


def find(one: GovernedInput, lookup: Lookup) -> Pair | None:
    """The version and the delivery behind an input, as far as this process can see them."""
    return recall(one.mark, lookup)


def upstream(client: MlflowClient, run: MlflowRun) -> Iterator[tuple[str, str]]:
    """The models that MLflow says a run used, by name, with their id, which never changes hands."""
    made = {one.model_id for one in run.outputs.model_outputs} if run.outputs else set()
    used = {one.model_id for one in run.inputs.model_inputs} if run.inputs else set()
    for model_id in sorted(used - made):
        with suppress(MlflowException):
            yield f"models:/{client.get_logged_model(model_id).name}", model_id


def unvouched(
    foreign: Iterable[Foreign], inputs: tuple[GovernedInput, ...], lookup: Lookup
) -> tuple[Foreign, ...]:
    """The foreign data that no explicit input accounts for.

    Code that tracks a governed frame as training data says that what it fits was made from it. That
    is believed of data with no more rows, whose columns, if they have names, are named after it.
    """
    tracked = [
        (int(one.facts.get("rows", 0)), columns_of(one, lookup))
        for one in inputs
        if one.bound_via == "explicit" and one.context == "training"
    ]
    return tuple(one for one in foreign if not any(is_made_of(one, *each) for each in tracked))


def is_made_of(one: Foreign, rows: int, columns: tuple[str, ...]) -> bool:
    """Whether data may have been made from a tracked version."""
    found = ROWS.search(one.words)
    size = one.rows or (int(found[1].replace(",", "")) if found is not None else 0)
    if not 0 < size <= rows:
        return False
    if one.names:
        return any(name.startswith(columns) for name in one.names)
    return "DataFrame" not in one.words


def columns_of(one: GovernedInput, lookup: Lookup) -> tuple[str, ...]:
    """The columns of an input's version; empty where it is not kept here."""
    pair = find(one, lookup)
    return tuple(name for name, *_ in pair[0].columns) if pair is not None else ()


def ungoverned_tag(words: Iterable[str]) -> str:
    """The value of :data:`UNGOVERNED_TAG`."""
    return "; ".join(words)[:TAG_MAX]


def importance_tag(shares: Mapping[str, float], made: str) -> str:
    """How importance was made, and the columns that the model leans on most.

    >>> importance_tag({"a": 0.25, "b": 0.75}, "permuted")
    'permuted: b 0.75, a 0.25'
    """
    top = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:5]
    return f"{made}: {', '.join(f'{n} {s:.2g}' for n, s in top)}" if top and made else ""
