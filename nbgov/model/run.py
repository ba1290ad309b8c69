"""Training runs and model versions as values, and what a project calls drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from nbgov.model.dataset import SourceVersion


@dataclass(frozen=True, slots=True)
class RunInput:
    """A governed dataset version that a run read.

    Attributes:
        name: Name of the dataset.
        version_id: Its version.
        context: ``training``, ``validation``, ``read`` or ``session``.
        bound_via: ``explicit``, ``autolog``, ``in_run`` or ``session``: how sure the link is.
        labels: Columns of the input that the run learned to predict, as far as that is known.
        read_id: The delivery that it came by, or empty.
        read_at: When it was read, where that is known.
        sources: The states of the base tables then.
        order: Digest (hex) of the order of its rows, where that is known.
    """

    name: str
    version_id: str
    context: str
    bound_via: str
    labels: tuple[str, ...] = ()
    read_id: str = ""
    read_at: datetime | None = None
    sources: tuple[SourceVersion, ...] = ()
    order: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """A training run as a run store knows it.

    Attributes:
        run_id, name: As in the run store.
        inputs: Governed inputs; empty when nothing was bound.
        params, metrics: As logged, nbgov's own left out. Seeds are parameters too.
        code: What ran: ``commit``, ``dirty``, ``diff`` (digest of the changes that no commit
            holds), ``cells`` (digests, in order) and so on.
        packages: Distribution name to version.
        environment: What it ran on: ``python``, ``os``, ``cpu``, ``cores``, ``gpu``, ``blas``,
            ``hash_seed`` and so on.
        models: Models that the run loaded, such as ``models:/embedder/3``, to their digest.
        importance: How much the model leans on each column of its inputs: shares of 1, from the
            model itself or by permuting the column; empty where no model was at hand.
        ungoverned: What the run was fitted on that nbgov did not deliver, in words that name no
            value, such as ``DataFrame of 3 columns``.
        started_at: When it started, where that is known.
    """

    run_id: str
    name: str
    inputs: tuple[RunInput, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    code: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    ungoverned: tuple[str, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered model version as a run store knows it.

    Attributes:
        name, version: As in the registry.
        run_id: The run that made it, or empty.
        digest: SHA-256 (hex) over the model's files: over the lines ``DIGEST  PATH`` of them all,
            in order of their paths.
        aliases, tags: As in the registry.
    """

    name: str
    version: str
    run_id: str
    digest: str
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """A model version that a gate let pass: nbgov's own record of it.

    Attributes:
        model, version: Which one.
        run_id: The run that made it.
        model_digest, lineage_digest: Digests (hex) of its files and of what made it.
        inputs: Names of the datasets that it was trained on, sorted.
        wish: What was asked for, such as ``alias champion`` or ``stage Production``.
        account: Who asked for it, as far as the gate knows; a claim.
        ticket: The approval that released it, or empty.
        at: When.
    """

    model: str
    version: str
    run_id: str
    model_digest: str
    lineage_digest: str
    inputs: tuple[str, ...]
    wish: str
    account: str
    ticket: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ColumnTerms:
    """What counts as drift of some columns; ``None`` leaves the rule set's own threshold.

    Attributes:
        on: Patterns of ``DATASET.COLUMN``, with ``*`` for any text; for any column of one of these
            or of the tags.
        tags: Patterns of the policy's tags.
        is_ignored: Whether changes of their values are left out altogether.
        ks, psi, cramers_v, nulls: The least effect that counts: of the largest gap between two
            distribution functions, of the population stability index, of the association between
            level and side, and of the share of missing values.
    """

    on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_ignored: bool = False
    ks: float | None = None
    psi: float | None = None
    cramers_v: float | None = None
    nulls: float | None = None


@dataclass(frozen=True, slots=True)
class FreshnessTerms:
    """How old training data may be.

    Attributes:
        on: Patterns of dataset names.
        column: The column whose newest value tells the age; without it, the time at which the
            source was last changed does.
        age_max: The oldest that is still fresh when the run starts.
    """

    on: tuple[str, ...]
    age_max: timedelta
    column: str | None = None


BaselineChoice = Literal["tag", "champion", "last"]


@dataclass(frozen=True, slots=True)
class DriftTerms:
    """What a project calls drift, and what holds a promotion: ``drift:`` of ``policy.yaml``.

    Attributes:
        baseline: Where to look for the run to compare with, the first that is found: the run that a
            person named (``tag``), the one behind the alias ``champion`` of the model, the last
            finished one with inputs of the same names.
        columns: Thresholds; of those that meet a column, the last one wins.
        freshness: Limits of age.
        holds: Kinds of causes that hold a promotion, beside what always does: data that is not
            known, ungoverned inputs and stale data. Everything else is a warning.
        is_first_held: Whether a model whose training data nothing can be compared with is held.
        votes: How many approvals release a held promotion.
        by_names, by_groups, by_roles: Who may vote; nobody for their own model.
        keyed: Patterns of ``connection.schema.table``, of tables whose rows and columns are
            fingerprinted under a key, because equality itself tells something there.
    """

    baseline: tuple[BaselineChoice, ...] = ("tag", "champion", "last")
    columns: tuple[ColumnTerms, ...] = ()
    freshness: tuple[FreshnessTerms, ...] = ()
    holds: frozenset[str] = frozenset(
        {
            "inputs", "rows", "schema", "pairing", "values", "nulls", "unit", "levels",
            "cardinality", "distribution", "tail", "labels", "masks",
        }
    )  # fmt: skip
    is_first_held: bool = False
    votes: int = 1
    by_names: tuple[str, ...] = ()
    by_groups: tuple[str, ...] = ()
    by_roles: tuple[str, ...] = ()
    keyed: tuple[str, ...] = ()
