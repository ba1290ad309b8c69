"""How much a fitted model leans on each column: what makes a ranking of changes useful.

The fitted estimator is at hand when an autologged training ends. A column's values are shuffled
among a few rows, and what the model loses by that is its importance. This is bounded in rows and in
time, changes nothing, and fails nobody's training: what cannot be told is empty.
``NBGOV_IMPORTANCE=off`` in the environment turns it off. Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)
ROWS_MAX = 1_000
REPEATS = 2
COLUMNS_MAX = 200
BUDGET_S = 2.0
SWITCH = "NBGOV_IMPORTANCE"


@dataclass(frozen=True, slots=True)
class Importance:
    """How much a model leans on each column.

    Attributes:
        shares: Column to share of 1; empty where it is not known.
        made: ``permuted`` (what the model loses when the column is shuffled), ``model`` (its own
            ``feature_importances_`` or ``coef_``), or empty.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    made: str = ""


def importance(
    estimator: Any,
    features: Any,
    labels: Any,
    names: Sequence[str],
    *,
    budget_s: float = BUDGET_S,
) -> Importance:
    """The importance of the columns that an estimator was fitted on. Never raises.

    Args:
        estimator: What was fitted.
        features: What it was fitted on.
        labels: What it was taught; without them the model's own answers stand in.
        names: The features' names; without them nothing can be said.
        budget_s: How long to go on; whoever runs out of it falls back to what the model says.
    """
    if os.environ.get(SWITCH, "").lower() in {"off", "0", "false", "no"} or not names:
        return Importance()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for made, make in (("permuted", permuted), ("model", stated)):
            try:
                losses = make(estimator, features, labels, names, time.monotonic() + budget_s)
                shares = as_shares(losses)
            except Exception as error:  # noqa: BLE001 - an estimator may fail in its own way
                logger.debug("nbgov: no importance %s (%s)", made, type(error).__name__)
                continue
            if shares:
                return Importance(shares, made)
    return Importance()


def as_shares(losses: Mapping[str, float]) -> dict[str, float]:
    """Losses as shares of 1; what gained by shuffling was not leant on."""
    felt = {name: max(float(loss), 0.0) for name, loss in losses.items()}
    whole = sum(felt.values())
    if not np.isfinite(whole) or whole <= 0:
        return {}
    return {name: round(loss / whole, 6) for name, loss in felt.items()}


def permuted(
    estimator: Any, features: Any, labels: Any, names: Sequence[str], deadline: float
) -> dict[str, float]:
    """What the model loses when one column at a time is shuffled among sampled rows.

    Raises:
        TimeoutError: There is no time for all columns; half a ranking would mislead.
    """
    rows = features.shape[0]
    if len(names) > COLUMNS_MAX or rows < REPEATS:
        raise TimeoutError
    # One seed, so that equal models have equal importance.
    chance = np.random.default_rng(0)
    sample = np.sort(chance.choice(rows, min(rows, ROWS_MAX), replace=False))
    held = features.iloc[sample] if hasattr(features, "iloc") else features[sample]
    answers = np.asarray(labels)[sample] if labels is not None else None
    truth = Truth.of(estimator, held, answers)
    losses = dict.fromkeys(names, 0.0)
    for _ in range(REPEATS):
        for place, name in enumerate(names):
            if time.monotonic() > deadline:
                raise TimeoutError
            losses[name] += truth.loss(estimator, shuffled(held, place, chance)) - truth.least
    return losses


def shuffled(held: Any, place: int, chance: np.random.Generator) -> Any:
    """A copy whose one column is shuffled."""
    order = chance.permutation(held.shape[0])
    copy = held.copy()
    if hasattr(held, "iloc"):
        column = held.iloc[order, place]
        column.index = held.index
        copy.isetitem(place, column)
    else:
        copy[:, place] = held[order, place]
    return copy


@dataclass(frozen=True, slots=True)
class Truth:
    """What a model's answers are held against.

    Attributes:
        answers: The labels; where there are none, what the model answered at first.
        classes: The classes of a classifier that states probabilities, in its order.
        least: The loss with no column shuffled.
    """

    answers: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any] | None
    least: float

    @classmethod
    def of(cls, estimator: Any, held: Any, answers: np.ndarray[Any, Any] | None) -> Truth:
        """The truth for a sample."""
        classes = getattr(estimator, "classes_", None) if answers is not None else None
        if classes is not None and not (np.ndim(classes) == 1 and has(estimator, "predict_proba")):
            classes = None
        known = predicted(estimator, held) if answers is None else answers
        bare = cls(known, classes, 0.0)
        return cls(known, classes, bare.loss(estimator, held))

    def loss(self, estimator: Any, held: Any) -> float:
        """How wrong the model is: probability missed, share misjudged, or squared distance."""
        if self.classes is not None:
            chances = np.asarray(estimator.predict_proba(held), dtype=float)
            right = np.argmax(self.answers[:, None] == self.classes[None, :], axis=1)
            return float(np.mean(1.0 - chances[np.arange(len(right)), right]))
        told = predicted(estimator, held)
        if self.answers.dtype.kind not in "fiu" or told.dtype.kind not in "fiu":
            return float(np.mean(told != self.answers))
        apart = told.astype(float).reshape(len(told), -1) - self.answers.reshape(len(told), -1)
        return float(np.mean(apart**2))


def predicted(estimator: Any, held: Any) -> np.ndarray[Any, Any]:
    """What the model answers."""
    return np.asarray(
        (estimator.predict if has(estimator, "predict") else estimator.transform)(held)
    )


def has(estimator: Any, name: str) -> bool:
    """Whether an estimator can do something once it is fitted."""
    return callable(getattr(estimator, name, None))


def stated(
    estimator: Any, features: Any, labels: Any, names: Sequence[str], deadline: float
) -> dict[str, float]:
    """What the model itself says of its columns.

    Weights are multiplied with the spread of their column: a weight alone tells of its unit.

    Raises:
        ValueError: It says nothing, or not of these columns.
    """
    del labels, deadline
    model = getattr(estimator, "best_estimator_", estimator)
    own = getattr(model, "feature_importances_", None)
    if own is not None:
        sizes = np.asarray(own, dtype=float)
    else:
        weights = np.abs(np.atleast_2d(np.asarray(model.coef_, dtype=float))).mean(axis=0)
        values = np.asarray(features[: ROWS_MAX * 10], dtype=float)
        sizes = weights * np.nanstd(values, axis=0)
    return dict(zip(names, sizes.ravel(), strict=True))
