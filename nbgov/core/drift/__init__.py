"""What changed between two training runs: statistics of each result, and a ranked comparison.

A :class:`Profiler` folds batches into a small profile that is kept with the dataset version, so two
runs can be compared when their rows are long gone. :func:`compare` looks at identity first, then at
statistics, then at the circumstances. It reads no rows, no clock and no store, and it never decides
which run is the baseline. Cases: ``tests/core/test_drift.py``.
"""

from nbgov.core.drift.compare import compare
from nbgov.core.drift.profile import Profiler
from nbgov.core.drift.report import Cause, DriftReport

__all__ = ["Cause", "DriftReport", "Profiler", "compare"]
