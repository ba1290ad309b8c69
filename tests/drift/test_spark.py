"""The fingerprint and the profile of a Spark DataFrame are those of the same rows elsewhere."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest

from nbgov.core.drift.profile import Profiler
from nbgov.core.fingerprint import Fingerprinter

JAVA_MIN = 17
ROWS = 5_000


def java_version():
    """The major version of Java; 0 without one."""
    java = shutil.which("java")
    if java is None:
        return 0
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    return int(said.partition('"')[2].partition(".")[0] or 0)


pyspark = pytest.importorskip("pyspark", reason="Spark is not installed: make test-spark does it")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(java_version() < JAVA_MIN, reason="Spark needs Java 17 or newer"),
    # Spark and what it brings warn of themselves.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module", params=["classic", "connect"])
def spark(request):
    from pyspark.sql import SparkSession

    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    builder = SparkSession.builder
    where = builder.master("local[2]") if request.param == "classic" else builder.remote("local[2]")
    session = where.config("spark.ui.enabled", "false").getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def table():
    """Every type that Spark takes from Arrow."""
    day = datetime.date(2013, 1, 1)
    noon = datetime.datetime(2013, 1, 1, 12, tzinfo=datetime.UTC)
    n = range(ROWS)
    return pa.table(
        {
            "id": pa.array(n, pa.int64()),
            "small": pa.array([i % 7 for i in n], pa.int8()),
            "gap": pa.array([None if i % 5 == 0 else i for i in n], pa.int32()),
            "amount": pa.array([i / 3 for i in n]),
            "price": pa.array([Decimal(i) / 100 for i in n], pa.decimal128(9, 2)),
            "flag": pa.array([i % 3 == 0 for i in n]),
            "carrier": pa.array([("UA", "B6", None)[i % 3] for i in n]),
            "blob": pa.array([str(i).encode() for i in n]),
            "day": pa.array([day + datetime.timedelta(days=i % 365) for i in n]),
            "at": pa.array([noon + datetime.timedelta(seconds=i) for i in n]),
            "list": pa.array([[i, None] if i % 2 else [] for i in n]),
            "pair": pa.array([{"a": i, "b": str(i)} for i in n]),
        }
    )


def local(table, sensitivity=None):
    fold, profile = Fingerprinter(table.schema), Profiler(sensitivity or {}, table.schema)
    for batch in table.to_batches():
        fold.update(batch)
        profile.update(batch)
    return fold.finish(), profile.finish()


def test_fingerprint(spark, table):
    """However the rows are spread over tasks, the fingerprint is that of the Arrow table."""
    from nbgov.backends.spark import fingerprint

    frame = spark.createDataFrame(table)
    for spread in (frame, frame.repartition(7), frame.orderBy(frame["id"].desc())):
        found = fingerprint(spread)
        assert found == local(table)[0]
        assert found.order == ""


def test_profile(spark, table):
    """One pass gives the profile too: counts, bounds and labels are those of the Arrow table."""
    from nbgov.backends.spark import measure

    levels = {"id": "open", "carrier": "internal", "day": "open"}
    found, profile = measure(spark.createDataFrame(table).repartition(3), levels)
    digests, expected = local(table, levels)
    assert found == digests
    inexact = {"quantiles", "mean", "sd", "kurtosis", "heavy", "heavy_error"}
    for one, other in zip(profile["columns"], expected["columns"], strict=True):
        assert {k: v for k, v in one.items() if k not in inexact} == {
            k: v for k, v in other.items() if k not in inexact
        }
        assert one.keys() == other.keys()
    json.dumps(profile, allow_nan=False)


def test_no_rows(spark, table):
    """A DataFrame without rows has the fingerprint and the profile of its columns."""
    from nbgov.backends.spark import measure

    found, profile = measure(spark.createDataFrame(table).limit(0), {"id": "open"})
    digests, expected = local(table.slice(0, 0), {"id": "open"})
    assert found == digests
    assert profile == expected
