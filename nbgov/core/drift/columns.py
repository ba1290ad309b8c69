"""One column in two profiles: what the rules of :mod:`nbgov.core.drift.rules` look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nbgov.core.drift.evidence import proportions_tail
from nbgov.model import ColumnTerms
from nbgov.model.dataset import INTERNAL, OPEN

MISSING_MIN = 0.005
# Levels of sensitivity whose profiles hold bounds and quantiles; only those of OPEN may be told.
MEASURED = frozenset({OPEN, INTERNAL})
NO_TERMS = ColumnTerms()


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """One column in two profiles.

    Attributes:
        subject: How sentences call it.
        baseline, current: Its figures in either profile.
        rows: Rows of either dataset.
        alpha: The chance of a false alarm that one rule may take.
        terms: The project's own thresholds.
    """

    subject: str
    baseline: Mapping[str, Any]
    current: Mapping[str, Any]
    rows: tuple[int, int]
    alpha: float
    terms: ColumnTerms = NO_TERMS

    def both(self, name: str) -> tuple[Any, Any]:
        """A figure of either profile; ``None`` where a profile has it not."""
        return self.baseline.get(name), self.current.get(name)

    @property
    def is_open(self) -> bool:
        """Whether values may be told."""
        return self.both("level") == (OPEN, OPEN)

    @property
    def is_measured(self) -> bool:
        """Whether both profiles hold what is measured of values."""
        return all(level in MEASURED for level in self.both("level"))

    @property
    def present(self) -> tuple[int, int]:
        """Rows with a value on either side."""
        before, after = (
            rows - side["nulls"] - side["nans"]
            for side, rows in zip((self.baseline, self.current), self.rows, strict=True)
        )
        return before, after

    def share(self, *names: str) -> tuple[float, float]:
        """The share of rows that the named counts make up together."""
        sides = zip((self.baseline, self.current), self.rows, strict=True)
        before, after = (sum(side[name] for name in names) / max(1, n) for side, n in sides)
        return before, after

    def has_moved(self, *names: str) -> bool:
        """Whether the share of rows that the named counts make up moved, and not by chance."""
        before, after = self.share(*names)
        least = MISSING_MIN if self.terms.nulls is None else self.terms.nulls
        if abs(after - before) < max(least, 1e-12) or not all(self.rows):
            return False
        hits = [sum(side[name] for name in names) for side in (self.baseline, self.current)]
        return proportions_tail(hits[0], self.rows[0], hits[1], self.rows[1]) < self.alpha
