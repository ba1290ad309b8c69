"""A training done again: its inputs read by version, its parameters, its seed, and a function.

The function is the caller's own and runs with the caller's rights; it gets what nbgov delivered,
masked as it was. ``FUNCTION(inputs, params, seed)`` takes a DataFrame by input name, the logged
parameters as text and a whole number, and returns the metric or several by name.
"""

from __future__ import annotations

import importlib.util
import math
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.core.checks import listed
from nbgov.core.drift.circumstances import is_seed
from nbgov.core.drift.inputs import match_inputs, used_inputs
from nbgov.errors import NbgovError, RequestInvalid
from nbgov.model import Run, RunInput
from nbgov.model.result import as_frame
from nbgov.retraining.replay import Replay, TrainingFailed, attribute, check_factors

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from nbgov.session import Session

PARAMS, SEED = "params", "seed"

# What is given as --replay: FUNCTION(inputs, params, seed) -> metric, or metrics by name.
Function = Callable[["dict[str, pd.DataFrame]", dict[str, str], int], "float | Mapping[str, float]"]
# Wraps the trainings, so that somebody can see how far they are.
Watched = Callable[[int], Callable[[], None]]


@dataclass(frozen=True, slots=True)
class Setting:
    """What one run was trained with.

    Attributes:
        rows: The rows of each input.
        params: Its parameters without seeds.
        seeds: Its seeds, by the parameters' names.
    """

    rows: Mapping[str, pa.Table]
    params: Mapping[str, str]
    seeds: Mapping[str, str]

    @property
    def seed(self) -> int:
        """The seed as the function gets it; 0 where none was logged."""
        found = (self.seeds[name] for name in self.seeds if is_whole(self.seeds[name]))
        return int(next(found, "0"))


@dataclass(frozen=True, slots=True)
class Trial:
    """Two trainings that can be mixed.

    Attributes:
        baseline, current: What either was trained with; rows of an input are there under one name.
        factors: What differs: names of inputs, ``params``, ``seed``.
        recorded: Metrics that each run logged.
    """

    baseline: Setting
    current: Setting
    factors: tuple[str, ...]
    recorded: tuple[Mapping[str, float], Mapping[str, float]]

    def train(self, function: Function, metric: str, put_back: frozenset[str]) -> float:
        """The metric of the current training with some factors put back."""

        def of(factor: str) -> Setting:
            return self.baseline if factor in put_back else self.current

        rows = {name: of(name).rows[name] for name in self.current.rows}
        seeds = of(SEED)
        return trained(function, rows, of(PARAMS).params, seeds.seeds, seeds.seed, metric)

    def train_with_seed(self, function: Function, metric: str, seed: int) -> float:
        """The metric of the baseline's training with another seed."""
        before = self.baseline
        seeds = dict.fromkeys(before.seeds, str(seed))
        return trained(function, before.rows, before.params, seeds, seed, metric)


def replay(
    session: Session,
    baseline: Run,
    current: Run,
    function: Function,
    *,
    metric: str,
    seeds: int = 3,
    is_shapley: bool = False,
    watched: Watched = lambda _: lambda: None,
) -> Replay:
    """Train again with one thing put back at a time, and say what each is worth.

    Args:
        session: Where the kept rows are.
        baseline: The run to put things back to.
        current: The run to explain.
        function: Trains; see the module.
        metric: Name of the metric.
        seeds: How many other seeds tell the noise.
        is_shapley: Whether to train every mix, for values that add up.
        watched: Called with the number of trainings that are sure; gives what to call after each.

    Raises:
        RequestInvalid: An input is not kept (``not-replayable``), or nothing differs.
        TrainingFailed: The function raised an error.
    """
    trial = plan(session, baseline, current)
    problem = check_factors(trial.factors, is_shapley=is_shapley)
    if problem:
        raise RequestInvalid(
            "There are too many factors.",
            code="usage",
            why=problem,
            next_step="leave out --shapley",
        )
    count = len(trial.factors)
    step = watched((2**count if is_shapley else len({count, 1}) + count) + seeds)

    def measure(put_back: frozenset[str]) -> float:
        found = trial.train(function, metric, put_back)
        step()
        return found

    def other_seed(number: int) -> Callable[[], float]:
        def measure_seed() -> float:
            found = trial.train_with_seed(function, metric, trial.baseline.seed + number)
            step()
            return found

        return measure_seed

    before, after = (metrics.get(metric) for metrics in trial.recorded)
    return attribute(
        measure,
        trial.factors,
        metric=metric,
        other_seeds=[other_seed(number + 1) for number in range(seeds)],
        recorded=(before, after),
        is_shapley=is_shapley,
    )


# ---------------------------------------------------------------- what to train with


def plan(session: Session, baseline: Run, current: Run) -> Trial:
    """The two trainings, with the rows of all their inputs.

    Raises:
        RequestInvalid: They cannot be done again, or differ in nothing that can be put back.
    """
    matched, lone = match_inputs(used_inputs(baseline), used_inputs(current))
    if lone or not matched:
        names = listed([one.name for one, _ in lone]) or "neither has a governed input"
        raise not_replayable(
            f"only one of the runs read {names}" if lone else names,
            "bind the inputs of both runs: session.track(frame)",
        )
    before, after = {}, {}
    changed = []
    for left, right in matched:
        name = right.name if right.name not in after else f"{right.name} ({right.context})"
        after[name] = kept_rows(session, right)
        is_same = left.version_id == right.version_id
        before[name] = after[name] if is_same else kept_rows(session, left)
        if not is_same and not has_content_of(session, left, right):
            changed.append(name)
    sides = Setting(before, *split(baseline.params)), Setting(after, *split(current.params))
    if sides[0].params != sides[1].params:
        changed.append(PARAMS)
    if sides[0].seeds != sides[1].seeds:
        changed.append(SEED)
    if not changed:
        raise not_replayable(
            "inputs, parameters and seeds of both runs are equal",
            "look at code and packages in the report: they cannot be put back here",
        )
    return Trial(*sides, tuple(changed), (baseline.metrics, current.metrics))


def has_content_of(session: Session, left: RunInput, right: RunInput) -> bool:
    """Whether two inputs hold equal rows."""
    versions = session.version(left.version_id), session.version(right.version_id)
    return None not in versions and len({one.content_id for one in versions if one}) == 1


def kept_rows(session: Session, one: RunInput) -> pa.Table:
    """The rows of an input.

    Raises:
        RequestInvalid: They are not kept.
    """
    rows = session.rows(one.version_id)
    if rows is None:
        raise not_replayable(
            f"the rows of {one.name}@v{one.version_id[:12]} are not kept, or were not given to you",
            "set rows: {keep: training} in nbgov.yaml, and train both again; or ask who trained",
        )
    return rows


def not_replayable(why: str, next_step: str) -> RequestInvalid:
    """The error of a training that cannot be done again."""
    return RequestInvalid(
        "This training is not replayable.", code="not-replayable", why=why, next_step=next_step
    )


def split(params: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Parameters without seeds, and the seeds."""
    seeds = {name: value for name, value in params.items() if is_seed(name)}
    return {name: value for name, value in params.items() if name not in seeds}, seeds


def is_whole(text: str) -> bool:
    """Whether a text is a whole number."""
    return text.removeprefix("-").isdecimal()


# ---------------------------------------------------------------- the function


def load_function(reference: str) -> Function:
    """The function behind ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``.

    Raises:
        RequestInvalid: There is none.
    """
    place, mark, name = reference.rpartition(":")
    if not mark:
        raise no_function(reference, "it names no function after a colon")
    try:
        is_file = place.endswith(".py")
        found: Any = (
            getattr(load_file(Path(place)), name)
            if is_file
            else pkgutil.resolve_name(f"{importable(place)}:{name}")
        )
    except (ImportError, OSError, AttributeError, SyntaxError, ValueError) as error:
        raise no_function(reference, type(error).__name__) from error
    if not callable(found):
        raise no_function(reference, "it is not callable")
    return found  # type: ignore[no-any-return]  # what it takes is tried, not declared


def no_function(reference: str, why: str) -> RequestInvalid:
    """The error of a function that is not there."""
    return RequestInvalid(
        f"There is no training function {reference!r}.",
        code="usage",
        why=why,
        next_step="write --replay train.py:fit or --replay package.module:fit",
    )


def load_file(path: Path) -> object:
    """The module in a file; what lies beside it can be imported as when it is run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def importable(module: str) -> str:
    """The module's name, once the working directory is where modules are looked for, too."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return module


def trained(
    function: Function,
    rows: Mapping[str, pa.Table],
    params: Mapping[str, str],
    seeds: Mapping[str, str],
    seed: int,
    metric: str,
) -> float:
    """Call the function with frames of its own, and read the metric.

    Raises:
        TrainingFailed: It raised an error, or returned no finite metric of this name.
    """
    frames = {name: as_frame(table) for name, table in rows.items()}
    try:
        returned: Any = function(frames, {**params, **seeds}, seed)
        found = {key: float(returned[key]) for key in returned} if is_many(returned) else None
        value = float(returned) if found is None else found.get(metric)
    except NbgovError:
        raise
    except Exception as error:
        raise failed(error) from error
    if value is None:
        raise RequestInvalid(
            f"The training function gives no metric {metric!r}.",
            code="usage",
            why=f"it gives {listed(sorted(map(str, found or ())))}",
            next_step="name one of these with --metric",
        )
    if not math.isfinite(value):
        raise TrainingFailed(
            "The training gave no figure.", why=f"{metric} is not finite", next_step=NEXT
        )
    return value


def is_many(returned: object) -> bool:
    """Whether a training function returned several metrics by name."""
    return isinstance(returned, Mapping)


NEXT = "call the function yourself with the inputs of session.rows(...) to see its stack"


def failed(error: Exception) -> TrainingFailed:
    """The error of a training, with where it came from and without what it says."""
    # Security: the text of somebody's error may quote rows.
    last = traceback.extract_tb(error.__traceback__)[-1]
    return TrainingFailed(
        "The training function failed.",
        why=f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}",
        next_step=NEXT,
    )
