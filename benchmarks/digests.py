"""What a dataset version costs: our digest of every cell beside MLflow's digest of a sample."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.ground import Ground
from benchmarks.measure import SECONDS, Contender, Row, Suite

ROWS = (
    Row(
        "fingerprint.mlflow_digest",
        "dataset version of 1M x 10; ours is of all cells, MLflow's digest of 10,000 rows",
        "fingerprint",
        "mlflow",
    ),
    Row("fingerprint.1m10.cpu_s", "digest of 1M x 10, all cells", "fingerprint", unit=SECONDS),
    Row("profile.1m10.cpu_s", "profile of 1M x 10, all columns open", "profile", unit=SECONDS),
)


def prepare(ground: Ground) -> Mapping[str, Contender]:
    """Both digests of the same rows, each from the form that its owner starts from."""
    from mlflow.data.digest_utils import compute_pandas_digest

    from benchmarks.fetch import parts

    frame = ground.rides.to_pandas()
    ours = parts(ground)
    return {
        "fingerprint": ours["fingerprint"],
        "profile": ours["profile"],
        "mlflow": Contender("mlflow compute_pandas_digest", lambda: compute_pandas_digest(frame)),
    }


SUITE = Suite(ROWS, prepare)
