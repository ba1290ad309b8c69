"""``nbgov.compare``: two of whatever people hold, side by side.

A run is compared with a run in full: data, what it was asked with, what it was trained with. Data
is compared with data, and a run with data by the run's data. What one side cannot know, such as the
statement behind a file, is said to be unknown and never counted as a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.core import drift
from nbgov.core.checks import listed
from nbgov.core.drift import Cause, DriftReport
from nbgov.core.drift.inputs import used_inputs
from nbgov.errors import RequestInvalid
from nbgov.model import DatasetVersion, DriftTerms, RunInput
from nbgov.retraining.references import Ground, Side

if TYPE_CHECKING:
    from nbgov.session import Session

# What a version is of, but for its rows: a file can tell none of it.
CIRCUMSTANCES = (
    "name", "connection", "dialect", "tables", "statement", "statement_mac", "binds_mac", "binds",
    "policy", "masked", "literals", "tags", "origins",
)  # fmt: skip


def compare(
    a: Any,
    b: Any,
    *,
    versions: Mapping[str, DatasetVersion] | None = None,
    terms: DriftTerms | None = None,
    config: str | Path | Session | None = None,
) -> DriftReport:
    """Say what is different in ``b``, against ``a``.

    Either side is one of

    - a training run: a :class:`Run`, its id, ``runs:/ID``, or a model version that it made as
      ``models:/NAME/VERSION`` or ``models:/NAME@ALIAS``;
    - a dataset version: a :class:`DatasetVersion`, its id or a start of it, ``NAME@vSTART``, or
      a dataset's name for its newest version;
    - data: a pandas or polars frame, Arrow data, or the path of a data file.

    Args:
        a: The side to compare with.
        b: The side to explain.
        versions: Dataset versions by id, for runs that are given as values. Without them, and for
            references, the state folder of ``config`` is asked.
        terms: What counts as drift; the policy's ``drift:`` by default, where there is a policy.
        config: An ``nbgov.yaml``, its folder, or an open session; the nearest by default, and only
            if a side needs it.

    Returns:
        The report. It is ``unknown`` where something that matters is not known.

    Raises:
        RequestInvalid: A side is nothing that can be compared.
        BackendFailed: The run store did not answer.

    Example:
        >>> import nbgov, pyarrow as pa
        >>> june, july = pa.table({"x": range(1000)}), pa.table({"x": range(500, 1500)})
        >>> report = nbgov.compare(june, july)
        >>> report.status, report.is_same_data
        ('drifted', False)
    """
    with ExitStack() as opened:
        ground = Ground(config, opened, versions)
        left, right = ground.pair(a, b)
        return drifted(left, right, terms=terms or ground.terms())


def drifted(left: Side, right: Side, *, terms: DriftTerms) -> DriftReport:
    """The report of two sides."""
    remarks: list[Cause] = []
    if not (left.is_training and right.is_training):
        left, right = of_one_dataset(left, right)
        remarks += unknown_circumstances(left, right)
        left, right = with_equal_circumstances(left, right)
    report = drift.compare(left.run, right.run, {**left.versions, **right.versions}, terms=terms)
    return replace(report, causes=(*report.causes, *remarks))


def of_one_dataset(left: Side, right: Side) -> tuple[Side, Side]:
    """Two sides as one input each, where at least one side is data."""
    inputs = used_inputs(left.run), used_inputs(right.run)
    names = {one.name for one in inputs[0]} & {one.name for one in inputs[1]}
    chosen = chosen_input(left, inputs[0], names), chosen_input(right, inputs[1], names)
    # Whoever names two things to be compared means them to be paired, whatever they are called.
    name = chosen[0].name if right.is_held and not left.is_held else chosen[1].name
    left, right = with_input(left, chosen[0], name), with_input(right, chosen[1], name)
    if left.run.name != right.run.name:
        return left, right
    return called(left, f"the first {name}"), called(right, f"the second {name}")


def called(side: Side, name: str) -> Side:
    """A side under another name."""
    return replace(side, run=replace(side.run, name=name))


def chosen_input(side: Side, inputs: list[RunInput], names: set[str]) -> RunInput:
    """The one input of a side that is compared: the only one, or the one that both sides have.

    Raises:
        RequestInvalid: That leaves none, or more than one.
    """
    found = [one for one in inputs if one.name in names] or inputs
    if len(found) == 1:
        return found[0]
    read = listed(sorted(one.name for one in inputs)) or "no governed data"
    raise RequestInvalid(
        f"It is not clear which data of {side.run.name} is meant.",
        code="usage",
        why=f"the run read {read}",
        next_step="name one of its dataset versions instead: nbgov datasets list",
    )


def with_input(side: Side, one: RunInput, name: str) -> Side:
    """A side that is one input and nothing else."""
    only = replace(one, name=name, context="data", bound_via="explicit")
    run = replace(
        side.run,
        inputs=(only,),
        params={},
        metrics={},
        code={},
        packages={},
        environment={},
        models={},
        ungoverned=(),
    )
    return replace(side, run=run)


def unknown_circumstances(left: Side, right: Side) -> list[Cause]:
    """A remark where only one side knows what it was asked with."""
    if left.is_held == right.is_held:
        return []
    held = left if left.is_held else right
    sentence = f"{held.run.name}: what it was asked with, and under which policy, is not known"
    return [Cause("inputs", right.run.inputs[0].name, sentence, 0.0)]


def with_equal_circumstances(left: Side, right: Side) -> tuple[Side, Side]:
    """The sides, where data without circumstances is taken to have those of the other side."""
    if left.is_held == right.is_held:
        return left, right
    known, held = (right, left) if left.is_held else (left, right)
    version = known.versions.get(known.run.inputs[0].version_id)
    if version is None:
        return left, right
    more = {name: getattr(version, name) for name in CIRCUMSTANCES}
    versions = {key: replace(one, **more) for key, one in held.versions.items()}
    held = replace(held, versions=versions)
    return (held, right) if left.is_held else (left, held)
