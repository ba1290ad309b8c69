"""Where a model comes from, as one value: data, statements, people, code, and what changed.

A :class:`Lineage` joins what a run store and a dataset store each know half of. Its record
``nbgov/lineage/2`` is the artifact ``nbgov/lineage.json`` of a run; the page, the OpenLineage
events and the custody bundles are made from the same value. It holds no row and no profile. The
format is ``docs/spec/lineage.md``. How statements move columns is :mod:`nbgov.core.statement`'s
business: here its answer, :attr:`~nbgov.model.DatasetVersion.origins`, becomes edges.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from nbgov.core.drift.inputs import used_inputs
from nbgov.core.drift.report import DriftReport
from nbgov.core.promotion.consent import VERB
from nbgov.errors import IntegrityFailed
from nbgov.model import (
    Approval,
    ApprovalState,
    DatasetVersion,
    Delivery,
    ModelVersion,
    Run,
    RunInput,
    Vote,
)

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SPEC = "nbgov/lineage/2"
DERIVED = frozenset({"spec", "edges"})
# Statistics stay in the dataset store; what they showed stands in the report.
LEFT_OUT = frozenset({"profile"})
Subject = Literal["read", "promotion"]


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """A result column, and a base column that it shows.

    Attributes:
        source: The base column with its connection, such as ``warehouse.main.flights.dep_delay``.
        dataset, version_id: The dataset version that the result column is part of.
        column: The result column.
        mask: How it was masked on the way, such as ``redact pii.email``; empty if it was not.
    """

    source: str
    dataset: str
    version_id: str
    column: str
    mask: str


@dataclass(frozen=True, slots=True)
class ApprovalSummary:
    """What people said to a read or to a promotion, without the text that they were shown.

    Attributes:
        subject: What was asked for.
        ticket: Identifier of the ticket.
        binding: The digest (hex) of exactly what the consent is bound to.
        requester: Who asked.
        state: Where the ticket stood when this was written.
        votes: Each voice; reasons are left out, since people write values into them.
        requested_at: When it was asked for.
        is_emergency: Whether the requester went ahead without votes.
    """

    subject: Subject
    ticket: str
    binding: str
    requester: str
    state: str
    votes: tuple[Vote, ...]
    requested_at: datetime
    is_emergency: bool = False

    @property
    def is_cleared(self) -> bool:
        """Whether the ticket let its statement run, by votes or without."""
        return self.state in {ApprovalState.APPROVED, ApprovalState.CONSUMED}

    @property
    def is_given(self) -> bool:
        """Whether people gave the consent, used since or not."""
        return self.is_cleared and not self.is_emergency

    @classmethod
    def of(cls, approval: Approval) -> ApprovalSummary:
        """The summary of a ticket."""
        return cls(
            subject="promotion" if approval.verb == VERB else "read",
            ticket=approval.ticket,
            binding=approval.binding_digest.hex(),
            requester=approval.requester,
            state=approval.state.value,
            votes=tuple(replace(vote, reason="") for vote in approval.votes),
            requested_at=approval.requested_at,
            is_emergency=approval.emergency is not None,
        )


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model version, a run or a dataset version comes from.

    Attributes:
        run: The run; ``None`` for the lineage of a dataset version that no run is asked about.
        model: The registered model version, where one was asked about.
        baseline: The run that was compared with.
        is_baseline_chosen: Whether a person chose the baseline.
        report: How the run differs from its baseline.
        versions: Dataset versions of the run and of its baseline by id, as far as they are kept.
        deliveries: The reads that brought the run's versions.
        approvals: What people consented to: reads by a ticket, and promotions of the model.
    """

    run: Run | None = None
    model: ModelVersion | None = None
    baseline: Run | None = None
    is_baseline_chosen: bool = False
    report: DriftReport | None = None
    versions: Mapping[str, DatasetVersion] = field(default_factory=dict)
    deliveries: tuple[Delivery, ...] = ()
    approvals: tuple[ApprovalSummary, ...] = ()

    @property
    def trained_on(self) -> tuple[RunInput, ...]:
        """The inputs that the run is judged by: what it was trained on for sure, else all."""
        return tuple(used_inputs(self.run)) if self.run is not None else ()

    @property
    def current(self) -> tuple[DatasetVersion, ...]:
        """The versions of the run itself, in the order of its inputs; all of them without a run."""
        if self.run is None:
            return tuple(self.versions.values())
        wanted = dict.fromkeys(one.version_id for one in self.run.inputs)
        return tuple(self.versions[one] for one in wanted if one in self.versions)

    @property
    def edges(self) -> tuple[LineageEdge, ...]:
        """Which base columns each column of the run's versions shows."""
        return tuple(edge for version in self.current for edge in edges_of(version))

    def to_dict(self) -> dict[str, Any]:
        """The record ``nbgov/lineage/2``, JSON-ready."""
        members = plain(self)
        assert isinstance(members, dict)
        return {"spec": SPEC} | members | {"edges": [plain(edge) for edge in self.edges]}

    @classmethod
    def from_dict(cls, record: object) -> Lineage:
        """The lineage that a record states.

        Anybody may write to an artifact store, so the record is held against the format.

        Raises:
            IntegrityFailed: It is no such record (code ``lineage-invalid``).
        """
        from pydantic import ValidationError

        if not isinstance(record, Mapping) or record.get("spec") != SPEC:
            raise invalid(f"it is not of the format {SPEC}")
        members = {key: value for key, value in record.items() if key not in DERIVED}
        try:
            lineage: Lineage = decoder().validate_python(members, extra="forbid")
        except ValidationError as error:
            # Security: what lies deeper, and a member that is not ours, is the writer's own text.
            place = str(error.errors(include_input=False)[0]["loc"][0])
            known = {one.name for one in dataclasses.fields(cls)}
            raise invalid(f"its member {place if place in known else '?'} is malformed") from None
        if record.get("edges") != [plain(edge) for edge in lineage.edges]:
            raise invalid("its edges do not follow from its versions")
        return lineage


def edges_of(version: DatasetVersion) -> Iterator[LineageEdge]:
    """The edges into each column of a version, in the order of the result.

    A column whose origins are not known has none, and so has one that shows no column, such as a
    count; :attr:`~nbgov.model.DatasetVersion.origins` tells the two apart.
    """
    for name in dict.fromkeys(column[0] for column in version.columns):
        for source in version.origins.get(name, ()):
            mask = version.masked.get(name, "")
            yield LineageEdge(source, version.name, version.version_id, name, mask)


def plain(value: Any) -> Any:
    """A value of the model as JSON holds it, without what a record leaves out."""
    if dataclasses.is_dataclass(value):
        names = (one.name for one in dataclasses.fields(value) if one.name not in LEFT_OUT)
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no other way to write it; the decoder reads it back.
    return value


@cache
def decoder() -> TypeAdapter[Lineage]:
    """The decoder of a lineage, built when the first record is read."""
    from pydantic import TypeAdapter

    return TypeAdapter(Lineage)


def invalid(why: str) -> IntegrityFailed:
    """The error of a record that states no lineage."""
    return IntegrityFailed(
        "The lineage record does not decode.",
        code="lineage-invalid",
        why=why,
        next_step="write it anew where the run is tracked: nbgov lineage show REFERENCE --json",
    )
