"""What stored profiles say of a column is what its raw data says."""

from __future__ import annotations

import base64
import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nbgov.core.drift.measures import cell_numbers
from tests.drift.direct import report_of, version_of
from tests.drift.worlds import flights, heavy, month, sampled, weather, wide

AGREE_MIN = 0.98


def raw_version(table):
    """A version whose profile leaves nothing out: every number, every label, every value counted."""
    version = version_of(table)
    columns = [
        exact(figures, table[figures["name"]].combine_chunks())
        for figures in version.profile["columns"]
    ]
    return replace(version, profile=version.profile | {"columns": columns})


def exact(figures, array):
    """The figures of a column with raw data in the place of sketches."""
    found = figures | {"distinct": len(pc.unique(array.drop_null()))}
    if figures.get("quantiles"):
        numbers = cell_numbers(array)
        numbers = np.sort(numbers[np.isfinite(numbers)].astype("<f4"))
        values = base64.b64encode(numbers.tobytes()).decode()
        found["quantiles"] = {"n": len(numbers), "lengths": [len(numbers)], "values": values}
    if pa.types.is_string(array.type):
        counts = pc.value_counts(array.drop_null()).to_pylist()
        found["labels"] = [[one["values"], one["counts"]] for one in counts]
    return found


def pairs():
    """Real and made tables, with drift and without."""
    columns = [
        "dep_delay",
        "arr_delay",
        "air_time",
        "distance",
        "hour",
        "carrier",
        "origin",
        "dest",
    ]
    table = flights().select([*columns, "month"])
    months = [month(table, number) for number in range(1, 13)]
    for before, after in itertools.pairwise(months):
        yield before, after
    for seed in range(6):
        yield sampled(table, seed, 30_000), sampled(table, seed + 100, 30_000)
        yield heavy(seed, 20_000), heavy(seed + 100, 20_000)
    airs = [month(weather(), number) for number in range(1, 13)]
    yield from itertools.pairwise(airs)
    for seed, shift in enumerate((0.0, 0.05, 0.1, 0.2)):
        before, after = wide(seed, 10_000), wide(seed + 50, 10_000)
        place = after.schema.get_field_index("f00")
        yield before, after.set_column(place, "f00", pc.add(after["f00"], shift))


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_profiles_say_what_raw_data_says():
    """In at least 98 % of columns both find drift or both find none."""
    agreed, asked, why = 0, 0, Counter()
    for before, after in pairs():
        verdicts = []
        for make in (version_of, raw_version):
            report = report_of(make(before), make(after))
            verdicts.append({cause.subject for cause in report.causes if cause.is_drift})
        for name in after.column_names:
            same = (name in verdicts[0]) == (name in verdicts[1])
            asked += 1
            agreed += same
            why[name] += not same
    assert asked > 300
    assert agreed >= AGREE_MIN * asked, (agreed, asked, +why)
