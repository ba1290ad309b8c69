"""How much of a metric's change each thing is worth, from trainings with one thing put back.

What is trained, and on what, is :mod:`nbgov.retraining.training`'s business; here are the sums. A
training is named by the factors that are put back to what the baseline had. Cases:
``tests/surfaces/test_replay.py``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from nbgov.core.checks import listed
from nbgov.errors import BackendFailed

SHAPLEY_FACTORS_MAX = 5
NOTHING: frozenset[str] = frozenset()

# The metric of a training in which these factors are put back.
Measure: TypeAlias = Callable[[frozenset[str]], float]


@dataclass(frozen=True, slots=True)
class FactorShare:
    """What one factor is worth.

    Attributes:
        factor: An input, ``params`` or ``seed``.
        effect: How much of the change goes when it alone is put back; its Shapley value, if that
            was asked for; ``None`` where that training failed.
        other_end: How much the metric changes when it alone is taken over from the current run;
            trained only where the factors act on one another.
        share: The effect as a share of the whole change; ``None`` where the change is noise.
        is_noise: Whether another seed alone moves the metric as much.
        problem: Why the effect is not known, or empty.
    """

    factor: str
    effect: float | None
    other_end: float | None = None
    share: float | None = None
    is_noise: bool = False
    problem: str = ""

    @property
    def is_flipping(self) -> bool:
        """Whether the sign depends on what the rest of the training is."""
        ends = (self.effect, self.other_end)
        return None not in ends and math.prod(end or 0.0 for end in ends) < 0

    def figure(self) -> str:
        """The effect for people."""
        return "?" if self.effect is None else f"{self.effect:+.4g}"

    def sentence(self) -> str:
        """What is to be said beside the figure."""
        if self.effect is None:
            return f"not known: {self.problem}"
        parts = []
        if not self.effect:
            parts.append("makes no difference")
        elif self.share is not None:
            parts.append(f"{self.share:.0%} of the change")
        if self.other_end is not None:
            word = ", its sign depends on the rest" if self.is_flipping else ""
            parts.append(f"{self.other_end:+.4g} where only it changes{word}")
        if self.is_noise and self.effect:
            parts.append("no more than another seed makes")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Replay:
    """A training that was done again with one factor put back at a time.

    Attributes:
        metric: Its name.
        baseline, current: The metric of both trainings, done again.
        recorded: What the two runs logged themselves, where they did.
        noise: How far other seeds alone move the baseline's metric; ``None`` if none was tried.
        seeds: How many other seeds were tried.
        is_shapley: Whether effects are Shapley values, that add up.
        trainings: How many trainings it took.
        shares: What each factor is worth, the largest first.
    """

    metric: str
    baseline: float
    current: float
    recorded: tuple[float | None, float | None]
    noise: float | None
    seeds: int
    is_shapley: bool
    trainings: int
    shares: tuple[FactorShare, ...]

    @property
    def change(self) -> float:
        """What is to be explained."""
        return self.current - self.baseline

    def trainings_text(self) -> str:
        """What it took."""
        kind = ", Shapley values" if self.is_shapley else ", one thing put back at a time"
        return f"{self.trainings:,} training{'s' * (self.trainings > 1)}{kind}"

    def summary(self) -> str:
        """The change, and how much of such a change is chance."""
        moved = f"{self.baseline:.4g} -> {self.current:.4g} ({self.change:+.4g})"
        if self.noise is None:
            return f"{self.metric} {moved}; how much of that is chance was not tried"
        who = (
            "1 other seed alone moves"
            if self.seeds == 1
            else f"{self.seeds} other seeds alone move"
        )
        return f"{self.metric} {moved}; {who} it by {self.noise:.2g}"

    def remarks(self) -> list[str]:
        """What keeps the figures from being the whole truth."""
        found = []
        floor = self.noise or 0.0
        for side, logged, again in zip(
            ("baseline", "current run"),
            self.recorded,
            (self.baseline, self.current),
            strict=True,
        ):
            if logged is not None and abs(logged - again) > max(floor, 1e-9 * abs(logged)):
                found.append(
                    f"The {side} logged {logged:.4g}, its replay gives {again:.4g}: something that "
                    "is not put back here, such as code or packages, matters too."
                )
        if any(share.other_end is not None for share in self.shares):
            total = sum(share.effect for share in self.shares if share.effect is not None)
            found.append(
                f"One at a time they come to {total:+.4g}: they act on one another, so both ends "
                "are told."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The replay, JSON-ready."""
        shares = [asdict(one) | {"is_flipping": one.is_flipping} for one in self.shares]
        return asdict(self) | {"change": self.change, "shares": shares}


class TrainingFailed(BackendFailed):
    """A training with some factors put back raised an error; ``why`` says which, and where."""

    default_code = "replay-failed"


def attribute(
    measure: Measure,
    factors: Sequence[str],
    *,
    metric: str,
    other_seeds: Sequence[Callable[[], float]] = (),
    recorded: tuple[float | None, float | None] = (None, None),
    is_shapley: bool = False,
) -> Replay:
    """Say what each factor is worth.

    Without Shapley values there is one training for the current run and one a factor, one for the
    baseline, and one more a factor only where they do not add up.

    Args:
        measure: Trains; called once for each set of factors.
        factors: What differs between the two runs, each by its name.
        metric: Name of the metric.
        other_seeds: Trainings of the baseline that differ in their seed alone.
        recorded: The metric as the baseline and the current run logged it.
        is_shapley: Whether to train every mix and give Shapley values.

    Raises:
        TrainingFailed: The baseline's or the current run's training failed, or, for Shapley values,
            any.
    """
    done: dict[frozenset[str], float] = {}

    def measured(put_back: frozenset[str]) -> float:
        if put_back not in done:
            done[put_back] = measure(put_back)
        return done[put_back]

    everything = frozenset(factors)
    current, baseline = measured(NOTHING), measured(everything)
    others = [train() for train in other_seeds]
    noise = max([*others, baseline]) - min([*others, baseline]) if others else None
    attributed = shapley if is_shapley else one_at_a_time
    shares = attributed(measured, factors, noise=noise or 0.0)
    shares = [judged(share, current - baseline, noise or 0.0) for share in shares]
    return Replay(
        metric=metric,
        baseline=baseline,
        current=current,
        recorded=recorded,
        noise=noise,
        seeds=len(others),
        is_shapley=is_shapley,
        trainings=len(done) + len(others),
        shares=tuple(sorted(shares, key=lambda share: -abs(share.effect or 0.0))),
    )


def one_at_a_time(measured: Measure, factors: Sequence[str], *, noise: float) -> list[FactorShare]:
    """Put back each factor alone, and if they do not add up, take over each alone as well."""
    everything = frozenset(factors)
    current, baseline = measured(NOTHING), measured(everything)
    shares = [tried(measured, factor, NOTHING, frozenset({factor})) for factor in factors]
    total = sum(share.effect for share in shares if share.effect is not None)
    slack = max(noise, 1e-9 * abs(current))
    if len(factors) == 1 or abs(total - (current - baseline)) <= slack:
        return shares
    ends = [tried(measured, factor, everything - {factor}, everything) for factor in factors]
    return [
        FactorShare(share.factor, share.effect, end.effect, problem=share.problem)
        for share, end in zip(shares, ends, strict=True)
    ]


def tried(
    measured: Measure, factor: str, with_it: frozenset[str], without: frozenset[str]
) -> FactorShare:
    """The difference that a factor makes between two trainings, if both can be done."""
    try:
        return FactorShare(factor, measured(with_it) - measured(without))
    except TrainingFailed as error:
        return FactorShare(factor, None, problem=error.why)


def shapley(
    measured: Measure,
    factors: Sequence[str],
    *,
    noise: float,  # noqa: ARG001 - the shape of one_at_a_time
) -> list[FactorShare]:
    """The mean effect of each factor over all orders in which they can be put back."""
    count = len(factors)
    shares = []
    for factor in factors:
        others = [other for other in factors if other != factor]
        effect = 0.0
        for size in range(count):
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for chosen in itertools.combinations(others, size):
                put_back = frozenset(chosen)
                effect += weight * (measured(put_back) - measured(put_back | {factor}))
        shares.append(FactorShare(factor, effect))
    return shares


def judged(share: FactorShare, change: float, noise: float) -> FactorShare:
    """The share with what it is of the whole change, and whether it is more than noise."""
    if share.effect is None:
        return share
    part = share.effect / change if abs(change) > noise else None
    is_noise = bool(noise) and abs(share.effect) <= noise
    return FactorShare(share.factor, share.effect, share.other_end, part, is_noise, share.problem)


def check_factors(factors: Sequence[str], *, is_shapley: bool) -> str:
    """Why so many factors cannot be replayed, or nothing."""
    if is_shapley and len(factors) > SHAPLEY_FACTORS_MAX:
        return (
            f"Shapley values of {len(factors)} factors ({listed(list(factors))}) take "
            f"{2 ** len(factors)} trainings; {SHAPLEY_FACTORS_MAX} factors are the most"
        )
    return ""
