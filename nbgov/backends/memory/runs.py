"""Training runs in RAM."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nbgov.backends.memory.faults import Faults
from nbgov.errors import RequestInvalid
from nbgov.model import DatasetVersion, Delivery, DriftTerms, ModelVersion, Run, RunInput

MODELS = "models:/"
CHAMPION = "champion"


class MemoryRunStore:
    """A :class:`~nbgov.ports.RunStore` in a dict.

    ``faults`` knows the operations ``run``, ``model``, ``attach`` and ``track``.

    Args:
        runs: The runs it knows, in the order in which they finished.
        active: Id of the active run, or ``None``; a test may set it anew.
        files: The files of each run, by their paths.
        models: The registered model versions.
        tagged: Run to the run that a person named as its baseline.

    Attributes:
        attached: What was put on each run's page, by path.
    """

    product = "nbgov"

    def __init__(
        self,
        runs: Iterable[Run] = (),
        *,
        active: str | None = None,
        files: Mapping[str, Mapping[str, bytes]] | None = None,
        models: Iterable[ModelVersion] = (),
        tagged: Mapping[str, str] | None = None,
    ) -> None:
        self.runs = {run.run_id: run for run in runs}
        self.models = list(models)
        self.tagged = tagged or {}
        self.attached: dict[str, dict[str, str]] = {}
        self.active = active
        self.files = files or {}
        self.delivered_to: list[tuple[str | None, Delivery]] = []
        self.faults = Faults()

    def run(self, reference: str) -> Run:
        """The run behind a reference.

        Raises:
            RequestInvalid: There is no such run, or no run made the model version.
        """
        with self.faults.around("run", code="run-store-failed"):
            run_id = reference.removeprefix("runs:/")
            if reference.startswith(MODELS):
                run_id = self.model(reference).run_id
            if run_id not in self.runs:
                raise RequestInvalid(f"There is no run {run_id!r}.", code="unknown-run")
            return self.runs[run_id]

    def model(self, reference: str) -> ModelVersion:
        """The model version behind a reference.

        Raises:
            RequestInvalid: There is no such version.
        """
        with self.faults.around("model", code="run-store-failed"):
            for model in self.models:
                if reference in names_of(model):
                    return model
            raise RequestInvalid(f"There is no model {reference!r}.", code="unknown-run")

    def baseline(self, run_id: str, terms: DriftTerms) -> str | None:
        """The id of the run that a run is to be compared with; ``None`` without one."""
        names = {one.name for one in self.runs[run_id].inputs}
        made = {model.name for model in self.models if model.run_id == run_id}
        earlier = [*itertools.takewhile(lambda other: other != run_id, self.runs)]
        found = {
            "tag": [self.tagged[run_id]] if run_id in self.tagged else [],
            "champion": [m.run_id for m in self.models if m.name in made and CHAMPION in m.aliases],
            "last": [
                other
                for other in reversed(earlier)
                if names and {one.name for one in self.runs[other].inputs} == names
            ],
        }
        candidates = itertools.chain.from_iterable(found[choice] for choice in terms.baseline)
        return next((other for other in candidates if other != run_id), None)

    def attach(self, run_id: str, files: Mapping[str, str]) -> None:
        """Put texts on a run's page."""
        with self.faults.around("attach", code="run-store-failed"):
            self.run(run_id)
            self.attached.setdefault(run_id, {}).update(files)

    def contents(
        self, run_id: str, *, folder: Path, wanted: Callable[[str], bool]
    ) -> Iterator[tuple[str, Sequence[str] | Path | None]]:
        """What the run states, then its files."""
        run = self.run(run_id)
        yield "params", [f"{name}={value}" for name, value in run.params.items()]
        yield "metrics", list(run.metrics)
        for path, content in self.files.get(run_id, {}).items():
            copy = folder / path if wanted(path) else None
            if copy is not None:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
            yield path, copy

    def active_run(self) -> str:
        """The id of the active run, or empty."""
        return self.active or ""

    def delivered(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Hear that a result was delivered; bind it to the active run, if there is one."""
        self.delivered_to.append((self.active, delivery))
        if self.active is not None and version.version_id == delivery.version_id:
            self.bind(self.active, delivery, context="read", bound_via="in_run")

    def track(
        self, delivery: Delivery, *, run_id: str | None, context: str, labels: Sequence[str] = ()
    ) -> str:
        """Bind a delivery to a run explicitly and return the run's id."""
        with self.faults.around("track", code="run-store-failed"):
            found = self.active if run_id is None else run_id
            if found is None or found not in self.runs:
                raise RequestInvalid("There is no such run.", code="unknown-run")
            self.bind(found, delivery, context=context, bound_via="explicit", labels=labels)
        return found

    def bind(
        self,
        run_id: str,
        delivery: Delivery,
        *,
        context: str,
        bound_via: str,
        labels: Sequence[str] = (),
    ) -> None:
        """Add an input to a run."""
        added = RunInput(
            delivery.name,
            delivery.version_id,
            context,
            bound_via,
            labels=tuple(labels),
            read_id=delivery.read_id,
            read_at=delivery.at,
            sources=delivery.sources,
            order=delivery.order,
        )
        run = self.runs[run_id]
        self.runs[run_id] = replace(run, inputs=(*run.inputs, added))


def names_of(model: ModelVersion) -> set[str]:
    """The references that mean a model version."""
    stem = f"{MODELS}{model.name}"
    return {f"{stem}/{model.version}", *(f"{stem}@{alias}" for alias in model.aliases)}
