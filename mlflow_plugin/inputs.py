"""The governed inputs of an MLflow run: how they are written there, and how they are read back.

MLflow keeps the first tags of an input for ever, so a label that grows stronger (a version that was
read in a run turns out to be what the run trained on) lives in the run tag ``nbgov.inputs``. This
module knows both places and nothing about drift or pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlflow.entities import DatasetInput, InputTag

from mlflow_plugin.dataset import GovernedDataset, display_name
from mlflow_plugin.source import KIND
from mlflow_plugin.text import fitted

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from nbgov import DatasetVersion, Delivery

INPUTS_MAX = 50
INPUT_TAG_MAX = 500
TAG_MAX = 8_000
INPUTS_TAG = "nbgov.inputs"
CONTEXT_TAG = "mlflow.data.context"
FACTS: dict[str, type] = {
    "kind": str, "uri": str, "connection": str, "dialect": str, "tables": list, "statement": str,
    "parameters": list, "policy": str, "masked": dict, "rows": int, "schema": str, "content": str,
}  # fmt: skip
# Weakest first. Only the last two justify the words "trained on".
TIERS = ("session", "in_run", "autolog", "explicit")


@dataclass(frozen=True, slots=True)
class GovernedInput:
    """One governed input of a run.

    Attributes:
        name, version_id: The dataset version.
        context: ``training``, ``validation``, ``read`` and so on.
        bound_via: One of :data:`TIERS`: how sure the link is.
        read: The input's tags: who read it, when, and under which record.
        facts: The dataset's source, see :func:`mlflow_plugin.source.facts`.
        labels: Columns that the run learned to predict, as far as the input's tags tell.
    """

    name: str
    version_id: str
    context: str
    bound_via: str
    read: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    @property
    def read_at(self) -> datetime | None:
        """When it was read, if the tags tell."""
        with suppress(ValueError):
            at = datetime.fromisoformat(self.read.get("nbgov.at", ""))
            return at if at.tzinfo is not None else None
        return None

    @property
    def title(self) -> str:
        """The name as MLflow shows it, with the start of the version."""
        return f"{self.name}@v{self.version_id[:8]}"

    @property
    def mark(self) -> dict[str, str]:
        """What :func:`nbgov.lookup` finds the version by."""
        read_id = self.read.get("nbgov.read_id", "")
        return {"read": read_id, "version": self.version_id, "name": self.name}


def governed_inputs(run: MlflowRun) -> tuple[GovernedInput, ...]:
    """The governed inputs of a run, the surest first, with the strongest label each ever got."""
    labels = run.data.tags.get(INPUTS_TAG, "")
    logged = run.inputs.dataset_inputs if run.inputs else []
    found = [decode(entry, labels) for entry in logged if entry.dataset.source_type == "external"]
    return tuple(sorted((one for one in found if one is not None), key=rank))


def rank(one: GovernedInput) -> tuple[int, str, str]:
    """What inputs are sorted by: how sure they are, then their names."""
    return -TIERS.index(one.bound_via), one.name, one.version_id


def compared(inputs: tuple[GovernedInput, ...]) -> tuple[GovernedInput, ...]:
    """What was trained on for sure; all inputs where nothing was."""
    return tuple(one for one in inputs if one.bound_via in {"explicit", "autolog"}) or inputs


def decode(entry: DatasetInput, labels: str) -> GovernedInput | None:
    """One logged input, or ``None`` when another tool logged it."""
    try:
        facts = json.loads(entry.dataset.source)
    except ValueError:
        return None
    if not isinstance(facts, dict) or facts.get("kind") != KIND:
        return None
    tags = {tag.key: tag.value for tag in entry.tags}
    version_id = entry.dataset.digest
    name = entry.dataset.name.removesuffix(f"@v{version_id[:8]}")
    tier = tags.get("nbgov.bound_via")
    first = (tags.get(CONTEXT_TAG, "read"), tier if tier in TIERS else "explicit")
    # Security: a tag can be rewritten; it raises what the input itself says, and never lowers it.
    said = label(labels, f"{name}@v{version_id[:8]}")
    is_raised = said is not None and TIERS.index(said[1]) >= TIERS.index(first[1])
    context, via = said if said is not None and is_raised else first
    taught = label_names(tags.get("nbgov.labels", ""))
    return GovernedInput(name, version_id, context, via, tags, checked(facts), taught)


def label_names(text: str) -> tuple[str, ...]:
    """The names in a tag of labels; empty for what is no list of names.

    >>> label_names('["delay"]'), label_names("delay")
    (('delay',), ())
    """
    with suppress(ValueError):
        names = json.loads(text)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def checked(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that have the type we write; anybody may write to a tracking store.

    >>> checked({"rows": 3, "masked": ["not", "a", "mapping"], "surprise": 1})
    {'rows': 3}
    """
    return {
        key: facts[key]
        for key, kind in FACTS.items()
        if isinstance(facts.get(key), kind)
        and (kind is not list or all(isinstance(item, str) for item in facts[key]))
        and (kind is not dict or all(isinstance(item, str) for item in facts[key].values()))
    }


def label(labels: str, title: str) -> tuple[str, str] | None:
    """The context and the tier that the run tag states for a title.

    >>> label("a@v1 read via in_run, b@v2 training via autolog", "b@v2")
    ('training', 'autolog')
    """
    _, here, rest = f", {labels}".partition(f", {title} ")
    context, via, tier = [*rest.split(",", 1)[0].split(" "), "", "", ""][:3]
    return (context, tier) if here and via == "via" and tier in TIERS else None


def label_tag(inputs: tuple[GovernedInput, ...]) -> str:
    """The value of :data:`INPUTS_TAG`: readable, comparable between runs, short enough."""
    labels: list[str] = []
    for one in inputs:
        text = f"{one.title} {one.context} via {one.bound_via}"
        if sum(map(len, labels)) + 2 * len(labels) + len(text) <= TAG_MAX:
            labels.append(text)
    return ", ".join(labels)


def encode(
    version: DatasetVersion,
    delivery: Delivery,
    context: str,
    tier: str,
    *,
    labels: Sequence[str] = (),
) -> DatasetInput:
    """A dataset input: facts of the version in the dataset, facts of the read in its tags."""
    tags = {
        CONTEXT_TAG: context,
        "nbgov.read_id": delivery.read_id,
        "nbgov.bound_via": tier,
        "nbgov.decision": f"{delivery.decision} by {', '.join(delivery.rules) or 'no rule'}",
        "nbgov.principal": delivery.principal,
        "nbgov.at": delivery.at.isoformat(timespec="seconds"),
        "nbgov.receipt": delivery.receipt,
    }
    taught = json.dumps(list(labels), ensure_ascii=False)
    if labels and len(taught) <= INPUT_TAG_MAX:
        tags["nbgov.labels"] = taught
    dataset = GovernedDataset(version, name=display_name(version))
    return DatasetInput(
        dataset._to_mlflow_entity(),  # noqa: SLF001 - how MLflow's own integrations log an input
        [InputTag(key, fitted(value, INPUT_TAG_MAX)) for key, value in tags.items()],
    )
