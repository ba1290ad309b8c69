"""Approvals, datasets and runs in RAM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbgov.backends.memory.faults import Faults
from nbgov.core.approval import LIVE, expire, is_step
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import Approval, DatasetVersion, Delivery, Run, RunInput


class MemoryApprovalStore:
    """An :class:`~nbgov.ports.ApprovalStore` in a dict.

    ``faults`` knows the operations ``open``, ``find`` and ``swap``.
    """

    def __init__(self) -> None:
        self.approvals: dict[str, Approval] = {}
        self.faults = Faults()

    def open(self, approval: Approval) -> Approval:
        """Keep a new ticket, or return the live one with the same binding."""
        with self.faults.around("open", code="state-unavailable"):
            found = self.latest(approval.binding_digest)
            if found is not None and found.state in LIVE:
                current = expire(found, approval.requested_at)
                if current.state in LIVE:
                    return found
                self.approvals[found.ticket] = current
            if approval.ticket in self.approvals:
                raise BackendFailed("The ticket is taken.", code="state-unavailable")
            self.approvals[approval.ticket] = approval
        return approval

    def get(self, ticket: str) -> Approval | None:
        """The approval behind a ticket."""
        return self.approvals.get(ticket)

    def find(self, binding_digest: bytes) -> Approval | None:
        """The latest approval that is bound to exactly this request, in whatever state."""
        with self.faults.around("find", code="state-unavailable"):
            return self.latest(binding_digest)

    def swap(self, before: Approval, after: Approval) -> bool:
        """Replace ``before`` by ``after`` if nobody changed it meanwhile; say whether it was done.

        Raises:
            RuntimeError: The step changes more than the state, or takes a vote back.
        """
        if not is_step(before, after):
            raise RuntimeError("A ticket changes nothing but its state, and gains votes.")
        with self.faults.around("swap", code="state-unavailable"):
            is_same = self.approvals.get(before.ticket) == before
            if is_same:
                self.approvals[before.ticket] = after
        return is_same

    def pending(self) -> tuple[Approval, ...]:
        """Tickets that wait for votes or for use, oldest first."""
        return tuple(approval for approval in self.approvals.values() if approval.state in LIVE)

    def close(self) -> None:
        """Nothing is held open."""

    def latest(self, binding_digest: bytes) -> Approval | None:
        """The ticket that was opened last for a binding."""
        found = [a for a in self.approvals.values() if a.binding_digest == binding_digest]
        return found[-1] if found else None


class MemoryDatasetStore:
    """A :class:`~nbgov.ports.DatasetStore` in two dicts.

    ``faults`` knows the operation ``put``.
    """

    def __init__(self) -> None:
        self.kept: dict[str, DatasetVersion] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.faults = Faults()

    def put(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Keep a version (once) and its delivery."""
        with self.faults.around("put", code="state-unavailable"):
            if self.deliveries.get(delivery.read_id, delivery) != delivery:
                raise BackendFailed("The delivery differs.", code="state-unavailable")
            self.kept.setdefault(version.version_id, version)
            self.deliveries[delivery.read_id] = delivery
            self.describe(version.version_id, version.profile)

    def describe(self, version_id: str, profile: Mapping[str, Any]) -> None:
        """Keep the profile of a version that was kept without one."""
        known = self.kept.get(version_id)
        if known is not None and not known.profile:
            self.kept[version_id] = replace(known, profile=profile)

    def version(self, version_id: str) -> DatasetVersion | None:
        """The version with this id."""
        return self.kept.get(version_id)

    def delivery(self, read_id: str) -> Delivery | None:
        """The delivery with this id."""
        return self.deliveries.get(read_id)

    def versions(self, name: str = "") -> tuple[DatasetVersion, ...]:
        """Versions kept, newest first; of one dataset, or of all."""
        newest_first = reversed(self.kept.values())
        return tuple(version for version in newest_first if name in {"", version.name})

    def close(self) -> None:
        """Nothing is held open."""


class MemoryRunStore:
    """A :class:`~nbgov.ports.RunStore` in a dict.

    ``faults`` knows the operations ``run`` and ``track``.

    Args:
        runs: The runs it knows.
        active: Id of the active run, or ``None``; a test may set it anew.
        files: The files of each run, by their paths.
    """

    product = "nbgov"

    def __init__(
        self,
        runs: Iterable[Run] = (),
        *,
        active: str | None = None,
        files: Mapping[str, Mapping[str, bytes]] | None = None,
    ) -> None:
        self.runs = {run.run_id: run for run in runs}
        self.active = active
        self.files = files or {}
        self.delivered_to: list[tuple[str | None, Delivery]] = []
        self.faults = Faults()

    def run(self, run_id: str) -> Run:
        """The run with this id.

        Raises:
            RequestInvalid: There is no such run.
        """
        with self.faults.around("run", code="run-store-failed"):
            if run_id not in self.runs:
                raise RequestInvalid(f"There is no run {run_id!r}.", code="unknown-run")
            return self.runs[run_id]

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

    def is_training(self) -> bool:
        """Whether a run is active."""
        return self.active is not None

    def delivered(self, version: DatasetVersion, delivery: Delivery) -> None:
        """Hear that a result was delivered; bind it to the active run, if there is one."""
        self.delivered_to.append((self.active, delivery))
        if self.active is not None and version.version_id == delivery.version_id:
            self.bind(self.active, delivery, context="read", bound_via="in_run")

    def track(self, delivery: Delivery, *, run_id: str | None, context: str) -> str:
        """Bind a delivery to a run explicitly and return the run's id."""
        with self.faults.around("track", code="run-store-failed"):
            found = self.active if run_id is None else run_id
            if found is None or found not in self.runs:
                raise RequestInvalid("There is no such run.", code="unknown-run")
            self.bind(found, delivery, context=context, bound_via="explicit")
        return found

    def bind(self, run_id: str, delivery: Delivery, *, context: str, bound_via: str) -> None:
        """Add an input to a run."""
        run = self.runs[run_id]
        added = RunInput(delivery.name, delivery.version_id, context, bound_via)
        self.runs[run_id] = replace(run, inputs=(*run.inputs, added))
