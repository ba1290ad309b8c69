"""A transfer on a transaction in memory: commit once, roll back otherwise, tell nothing."""

from __future__ import annotations

import gc
import traceback

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.pseudonym import EXPRESSIONS, expression
from nbgov.core.transfer import (
    BATCH_ROWS_MAX,
    Misfit,
    Rows,
    Transfers,
    failure,
    is_keyed,
    masked_column,
    record_batch,
    told_state,
)
from nbgov.errors import BackendFailed, Denied
from nbgov.model import Clearance

SCHEMA = pa.schema([("n", pa.int64())])
CANARY = "canary-7731"


class ProductError(Exception):
    """What the product raises; its text quotes data."""


class Ledger:
    """A transaction that keeps a diary, and fails where it is told to."""

    connection = "warehouse"
    errors = (ProductError,)

    def __init__(self, sizes=(), fault="", error=None, rows_affected=None):
        self.sizes = sizes
        self.rows_affected = rows_affected
        self.fault = fault
        self.error = error or ProductError(CANARY)
        self.diary = []
        self.transfer = None

    def begin(self, clearance):
        self.note("begin")
        return Rows(SCHEMA, self.batches(), rows_affected=self.rows_affected)

    def batches(self):
        start = 0
        for size in self.sizes:
            self.note("fetch")
            yield pa.record_batch([pa.array(range(start, start + size))], schema=SCHEMA)
            start += size

    def commit(self):
        self.note("commit")

    def abandon(self):
        self.diary.append("abandon")

    def interrupt(self):
        self.diary.append("interrupt")

    def explain(self, error):
        return failure(self.connection, "database-error", why="It did not work.")

    def note(self, step):
        self.diary.append(step)
        if step == self.fault:
            raise self.error


def begin(ledger, *, is_read=True, **limits):
    clearance = Clearance("SELECT 1", {}, (), is_read=is_read, **limits)
    return Transfers().start(ledger, clearance)


def numbers(transfer):
    return [number for batch in transfer for number in batch.column(0).to_pylist()]


@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, BATCH_ROWS_MAX, BATCH_ROWS_MAX + 1]), max_size=4),
    rows_max=st.none() | st.sampled_from([0, 1, 7, 8, BATCH_ROWS_MAX, 3 * BATCH_ROWS_MAX]),
    is_read=st.booleans(),
)
def test_rows_come_in_order_and_within_their_limit(sizes, rows_max, is_read):
    """Batches are never empty or too long, keep the order, and stop exactly at the limit."""
    ledger = Ledger(sizes)
    transfer = begin(ledger, is_read=is_read, rows_max=rows_max)
    batches = list(transfer)
    total = sum(sizes)
    wanted = total if rows_max is None else min(total, rows_max)
    assert [n for batch in batches for n in batch.column(0).to_pylist()] == list(range(wanted))
    assert all(0 < batch.num_rows <= BATCH_ROWS_MAX for batch in batches)
    assert transfer.is_truncated == (wanted < total)
    assert ledger.diary[-1] == ("abandon" if is_read and wanted < total else "commit")
    assert transfer.is_over


def test_the_end_commits_once():
    """Reading to the end commits once; reading on gives nothing."""
    ledger = Ledger([1], rows_affected=1)
    transfer = begin(ledger, is_read=False)
    assert (transfer.schema, transfer.rows_affected) == (SCHEMA, 1)
    assert numbers(transfer) == [0]
    assert numbers(transfer) == []
    transfer.close()
    transfer.cancel()
    assert ledger.diary == ["begin", "fetch", "commit"]


@pytest.mark.parametrize("fault", ["begin", "fetch", "commit"])
def test_a_failure_rolls_back_and_tells_nothing(fault):
    """A product's error at any step rolls back once; what it says is not printed anywhere."""
    ledger = Ledger([1, 1], fault)
    with pytest.raises(BackendFailed) as caught:
        numbers(begin(ledger))
    assert ledger.diary.count("abandon") == 1
    assert ledger.diary[-2:] == [fault, "abandon"]
    assert caught.value.__cause__ is caught.value.__context__ is None
    printed = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in "".join(printed.format())
    assert str(caught.value).splitlines() == [
        "The database of connection warehouse did not run the statement.",
        "  why     It did not work.",
        "  code    database-error",
    ]


@pytest.mark.parametrize("is_read", [True, False])
@given(
    sizes=st.lists(st.sampled_from([0, 1, 7, BATCH_ROWS_MAX + 1]), max_size=4),
    spare=st.integers(-3, 3),
    rows_max=st.none() | st.just(7),
)
def test_a_result_is_never_larger_than_its_byte_limit(is_read, sizes, spare, rows_max):
    """A result whose bytes fit is whole; a larger one is an error, never called complete."""
    total = 8 * min(sum(sizes), sum(sizes) if rows_max is None else rows_max)
    ledger, delivered = Ledger(sizes), []
    bytes_max = max(0, total + 8 * spare)
    transfer = begin(ledger, is_read=is_read, bytes_max=bytes_max, rows_max=rows_max)
    if bytes_max >= total:
        assert len(numbers(transfer)) * 8 == total
        return
    with pytest.raises(Denied) as caught:
        delivered.extend(transfer)
    assert caught.value.code == "too-many-bytes"
    assert f"{bytes_max:,} bytes" in caught.value.why
    assert sum(batch.nbytes for batch in delivered) <= bytes_max
    assert ledger.diary[-1] == "abandon"
    assert "commit" not in ledger.diary
    assert numbers(transfer) == []


@pytest.mark.parametrize(
    ("changed", "permitted", "why"),
    [
        (1_001, 1_000, "It changes 1,001 rows, and the policy permits 1,000."),
        (1, 0, "It changes 1 rows, and the policy permits 0."),
        (None, 1_000, "The database does not count the rows that it changes."),
    ],
)
def test_a_write_that_changes_too_much_is_undone(changed, permitted, why):
    """A write that changes more rows than it may, or nobody knows how many, is rolled back."""
    ledger = Ledger([1], rows_affected=changed)
    with pytest.raises(Denied) as caught:
        begin(ledger, is_read=False, written_max=permitted)
    assert (caught.value.code, caught.value.why) == ("too-many-rows-changed", why)
    assert ledger.diary == ["begin", "abandon"]


def test_a_write_limit_is_for_writes_that_exceed_it():
    """A write within its limit commits, and a read changes nothing that could be counted."""
    for is_read, changed in [(False, 1_000), (False, 0), (True, None)]:
        ledger = Ledger([1], rows_affected=changed)
        assert numbers(begin(ledger, is_read=is_read, written_max=1_000)) == [0]
        assert ledger.diary[-1] == "commit"


def test_a_value_that_does_not_fit_is_named_by_its_place():
    """A value that no type of its column holds ends the transfer; the text names its column only."""
    fitting = record_batch(
        [[1], ["a"]], pa.schema([("a", pa.int64()), ("b", pa.string())]), pa.array
    )
    assert fitting.to_pydict() == {"a": [1], "b": ["a"]}
    with pytest.raises(Misfit) as misfit:
        record_batch([[1], [CANARY]], pa.schema([("a", pa.int64()), ("b", pa.int64())]), pa.array)
    with pytest.raises(BackendFailed) as caught:
        numbers(begin(Ledger([1], "fetch", misfit.value)))
    assert caught.value.why.startswith("Column 2 of the result is int64")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AssertionError()])
def test_any_other_error_rolls_back_and_passes(error):
    """An interrupt, or a broken promise of our own, rolls back and is not translated."""
    ledger = Ledger([1], "fetch", error)
    with pytest.raises(type(error)):
        numbers(begin(ledger))
    assert ledger.diary == ["begin", "fetch", "abandon"]


def test_closing_early_rolls_back_once():
    """A transfer that is closed early rolls back once, however often it is closed."""
    ledger = Ledger([1, 1])
    transfer = begin(ledger)
    next(transfer)
    transfer.close()
    transfer.close()
    assert numbers(transfer) == []
    assert ledger.diary == ["begin", "fetch", "abandon"]


def test_a_dropped_transfer_rolls_back():
    """A transfer that nobody holds any more rolls back."""
    ledger = Ledger([1, 1])
    transfer = begin(ledger, is_read=False)
    del transfer
    gc.collect()
    assert ledger.diary == ["begin", "abandon"]


def test_a_cancelled_transfer_fails_at_its_next_step():
    """After a cancel the reader gets an error, and a write is not committed."""
    ledger = Ledger([])
    transfer = begin(ledger, is_read=False)
    transfer.cancel()
    with pytest.raises(BackendFailed) as caught:
        next(transfer)
    assert caught.value.code == "cancelled"
    assert ledger.diary == ["begin", "interrupt", "abandon"]


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_step_under_way_is_interrupted(how):
    """Cancelling or closing while the product works interrupts it, and its error is a cancel."""

    class Slow(Ledger):
        def begin(self, clearance):
            getattr(transfers, how)()
            raise ProductError(CANARY)

    transfers, ledger = Transfers(), Slow()
    with pytest.raises(BackendFailed) as caught:
        transfers.start(ledger, Clearance("SELECT 1", {}, (), is_read=True))
    assert caught.value.code == "cancelled"
    assert ledger.diary == ["interrupt", "abandon"]


def test_an_engine_stops_only_what_is_open():
    """Cancelling all leaves alone what has ended; closing all rolls back what has not."""
    transfers, ended, running = Transfers(), Ledger([1]), Ledger([1])
    clearance = Clearance("SELECT 1", {}, (), is_read=True)
    first, second = (transfers.start(ledger, clearance) for ledger in (ended, running))
    assert numbers(first) == [0]
    assert transfers.open() == [second]
    transfers.cancel()
    transfers.close()
    assert transfers.open() == []
    assert ended.diary == ["begin", "fetch", "commit"]
    assert running.diary == ["begin", "interrupt", "abandon"]


@pytest.mark.parametrize("dialect", EXPRESSIONS)
def test_a_text_with_pseudonyms_needs_their_key(dialect):
    """The expression of a pseudonym is recognised in every dialect, and does not run without key."""
    sql = f"SELECT {expression('email', dialect)} AS email FROM people"
    assert is_keyed("warehouse", sql, pseudonym_key=b"key")
    with pytest.raises(BackendFailed) as caught:
        is_keyed("warehouse", sql, pseudonym_key=b"")
    assert caught.value.why.startswith("It makes pseudonyms")


def test_any_other_text_needs_no_key():
    """A text that makes no pseudonyms runs in a session that knows no key."""
    assert not is_keyed("warehouse", "SELECT email, 'nbgov' AS by FROM people", pseudonym_key=b"")


def test_a_masked_column_in_clear_is_told_by_its_place():
    """The error of the second line names a place in the result, and no column and no value."""
    assert masked_column(3).code == "masked-column-in-result"
    assert "column 3" in masked_column(3).why


def test_the_number_of_an_error_tells_no_more_than_its_class() -> None:
    """Near protected data a SQLSTATE is cut to its class; without one there is none."""
    assert [told_state(s, is_sensitive=True) for s in ("22012", "")] == ["22000", ""]
    assert told_state("22012", is_sensitive=False) == "22012"
    assert failure("wh", "database-error", sqlstate="22000").sqlstate == "22000"
