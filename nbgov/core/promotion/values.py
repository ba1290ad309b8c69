"""A model version that asks to be promoted, what it is compared with, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from nbgov.core.drift.report import Status
from nbgov.model import Approval, DatasetVersion, Delivery, ModelVersion, Run


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model version with all that is known of where it comes from.

    Attributes:
        model: The model version.
        run: The run that made its files, or ``None`` where none is known to have.
        versions: The dataset versions of its run, by id, as far as nbgov's own store knows them.
        deliveries: All deliveries of these versions that the store knows.
    """

    model: ModelVersion
    run: Run | None
    versions: Mapping[str, DatasetVersion] = field(default_factory=dict)
    deliveries: tuple[Delivery, ...] = ()


@dataclass(frozen=True, slots=True)
class Basis:
    """The release, or without any the run, that a candidate is compared with.

    Attributes:
        run_id: Its run; empty where that is not known.
        model_digest: Digest (hex) of its files; empty for a run.
        origin: ``champion``, ``tag``, ``release``, ``run``, or ``itself``: it was released before
            as it is.
        ticket: The consent that it was released by, if it took one.
    """

    run_id: str
    model_digest: str
    origin: Literal["champion", "tag", "release", "run", "itself"]
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Promotion:
    """Whether a model version may be promoted, and why not.

    Attributes:
        model, version: Which one.
        status: ``open``, ``held``, or ``approved``: held, and released by people.
        holds: Why it is held, in sentences.
        drift: How its training data compares; ``baseline`` where no release is there before it.
        verdict: The same in a sentence.
        run_id, baseline: Ids of its run and of the run compared with; empty where there is none.
        model_digest, lineage_digest: What an approval is bound to, hex.
        binding: The digest (hex) of all of it.
        excluded: Who may not vote on it, since the training data was delivered to them.
        approval: The ticket that is bound to exactly this, in whatever state.
        ticket: The consent that releases it: to this promotion, or to an earlier one of the same
            version, files and lineage. Empty where there is none.
    """

    model: str
    version: str
    status: Literal["open", "held", "approved"]
    holds: tuple[str, ...]
    drift: Status
    verdict: str
    run_id: str
    baseline: str
    model_digest: str
    lineage_digest: str
    binding: str
    excluded: tuple[str, ...] = ()
    approval: Approval | None = None
    ticket: str = ""

    @property
    def reference(self) -> str:
        """The model version as people write it."""
        return reference(self.model, self.version)

    def to_dict(self) -> dict[str, Any]:
        """The promotion, JSON-ready; of the ticket its name, state and voters."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        ticket = self.approval
        record["approval"] = ticket and {
            "ticket": ticket.ticket,
            "state": ticket.state.value,
            "requester": ticket.requester,
            "voters": [vote.voter for vote in ticket.votes],
        }
        return record


def reference(name: str, version: str) -> str:
    """A model version as people write it.

    >>> reference("churn", "3")
    'models:/churn/3'
    """
    return f"models:/{name}/{version}"
