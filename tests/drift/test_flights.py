"""Real months against months: what changes with the season is seen, and is said in words."""

from __future__ import annotations

import pytest

from tests.drift.direct import report_of, version_of
from tests.drift.worlds import flights, month, weather

COLUMNS = [
    "dep_time", "dep_delay", "arr_delay", "carrier", "origin", "dest", "air_time", "distance",
    "hour", "minute", "time_hour",
]  # fmt: skip


@pytest.fixture(scope="module")
def season():
    """A version of some months of flights; each is made once."""
    made = {}

    def version(*months, table=None):
        key = (months, table is None)
        if key not in made:
            source = flights().select([*COLUMNS, "month"]) if table is None else table
            rows = month(source, *months).drop_columns(["month"])
            made[key] = version_of(rows)
        return made[key]

    return version


def moved(report):
    return {cause.subject for cause in report.causes if cause.is_drift}


@pytest.mark.slow
def test_winter_and_summer(season):
    """Delays, flight times and flight times move from winter to summer, and time goes on."""
    report = report_of(season(1, 2), season(6, 7))
    assert report.status == "drifted"
    assert {"dep_delay", "arr_delay", "air_time"} <= moved(report)
    sentences = [cause.sentence for cause in report.causes if cause.subject == "time_hour"]
    assert any("newest value moved on" in one for one in sentences)


@pytest.mark.slow
def test_neighbouring_months_differ_less(season):
    """September and October differ in fewer columns than winter and summer do."""
    near = report_of(season(9), season(10))
    far = report_of(season(1, 2), season(6, 7))
    assert len(moved(near)) < len(moved(far))


@pytest.mark.slow
def test_weather_of_two_seasons(season):
    """Temperature and dew point are the strongest changes of the weather."""
    table = weather().drop_columns(["year", "day", "time_hour"])
    report = report_of(season(1, 2, table=table), season(7, 8, table=table))
    assert {cause.subject for cause in report.causes[:3]} >= {"temp", "dewp"}


def test_the_unit_of_a_month(season):
    """A month of flights in hours instead of minutes is named as that, before the season."""
    import pyarrow.compute as pc

    table = month(flights().select([*COLUMNS, "month"]), 2).drop_columns(["month"])
    hours = pc.divide(pc.cast(table["air_time"], "float64"), 60)
    place = table.schema.get_field_index("air_time")
    report = report_of(season(1), version_of(table.set_column(place, "air_time", hours)))
    assert report.causes[0].kind == "unit"
    assert report.causes[0].sentence.startswith("air_time: all values divided by 60")
