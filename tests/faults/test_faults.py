"""A few of the faults of ``make test-faults``, and that its control can tell."""

from __future__ import annotations

from tests.faults import disks
from tests.faults.__main__ import cases
from tests.faults.kills import killed
from tests.faults.power import power_lost
from tests.faults.table import Row, text_of


def test_a_power_loss_loses_nothing_that_was_acknowledged(tmp_path):
    """Wherever the power goes, what was acknowledged is there and the log verifies."""
    row = Row("power loss")
    power_lost(row, tmp_path, points=60, seed=11)
    assert row.is_sound, row
    assert row.acknowledged > 1_000


def test_the_control_loses_records(tmp_path):
    """Without a sync the same model loses records, or the test above would mean nothing."""
    row = Row("control", is_control=True)
    power_lost(row, tmp_path, points=20, seed=11, has_syncs=False)
    assert row.is_sound
    assert row.lost > 0
    assert not Row("none", runs=1, lost=1).is_sound


def test_killed_processes_lose_nothing_that_was_acknowledged(tmp_path):
    """Children that are killed while they append leave every record that they told of."""
    row = Row("kill -9")
    killed(row, tmp_path, runs=6, seed=3, tears=3)
    assert row.is_sound, row


def test_a_stranger_in_the_live_log_is_found(tmp_path):
    """Nothing is acknowledged behind what somebody else appended."""
    row = Row("appended to")
    disks.taken(row, tmp_path, disks.appended, runs=2)
    assert row.is_sound, row


def test_every_fault_has_a_row_of_its_own():
    """The table tells faults apart by their names."""
    rows = [row for row, _ in cases(1)]
    assert len({row.fault for row in rows}) == len(rows) == text_of(rows).count("\n") - 2
