"""One suite for every row store, then what only a disk can suffer."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbgov.backends.files import FileRowStore
from nbgov.backends.memory import MemoryRowStore
from nbgov.core.fingerprint import Fingerprinter
from nbgov.errors import BackendFailed

TABLE = pa.table({"x": [1, 2, 3], "y": ["a", None, "c"]})
KEY = "nbgov-fp-v1:00"
NOISE = pa.table({"x": pa.array([os.urandom(50_000)])})


def not_kept():
    return pytest.raises(BackendFailed, match="rows-not-kept")


def keep(store, table=TABLE, key=KEY):
    draft = store.draft(table.schema)
    try:
        for batch in table.to_batches(max_chunksize=2):
            draft.write(batch)
        draft.keep(key)
    finally:
        draft.discard()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state" / "rows"


@pytest.fixture(params=["memory", "files"])
def store(request, folder):
    return MemoryRowStore() if request.param == "memory" else FileRowStore(folder, bytes_max=10**6)


# ---- every store


def test_rows_come_back_as_they_went_in(store):
    """Rows, order and types survive, in as many batches as they came."""
    keep(store)
    assert store.holds(KEY)
    assert store.read(KEY).equals(TABLE)


def test_what_was_not_kept_is_not_there(store):
    """An unknown key, a draft that is open, and one that was discarded hold nothing."""
    draft = store.draft(TABLE.schema)
    draft.write(TABLE.to_batches()[0])
    assert not store.holds(KEY)
    assert store.read(KEY) is None
    draft.discard()
    draft.discard()
    assert store.read(KEY) is None


def test_rows_are_kept_once(store):
    """What is kept under a key already stays, in the order in which it first came."""
    keep(store)
    keep(store, TABLE.take([2, 1, 0]))
    assert store.read(KEY).equals(TABLE)


def test_no_rows_are_rows_too(store):
    """A result without rows keeps its columns."""
    keep(store, TABLE.slice(0, 0))
    assert store.read(KEY).equals(TABLE.slice(0, 0))


@pytest.mark.parametrize("operation", ["draft", "write", "keep"])
def test_a_failure_keeps_nothing(operation):
    """A fault in any step is an error that says that the rows are not kept."""
    store = MemoryRowStore()
    store.faults.before(operation)
    with not_kept():
        keep(store)
    assert store.read(KEY) is None


TYPES = st.sampled_from(
    [pa.int8(), pa.int64(), pa.float32(), pa.string(), pa.large_string(), pa.bool_(), pa.date32(),
     pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.decimal128(9, 2), pa.time32("s"),
     pa.duration("us"), pa.list_(pa.int32()), pa.struct({"a": pa.string()}), pa.null(),
     pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.map_(pa.string(), pa.int64())]
)  # fmt: skip


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(types=st.lists(TYPES, min_size=1, max_size=5), rows=st.integers(0, 3), twins=st.booleans())
def test_rows_of_any_type_keep_their_fingerprint(types, rows, twins, tmp_path_factory):
    """Whatever a result may hold, two columns of one name too, is the same when it is read back."""
    names = [f"c{0 if twins else place}" for place in range(len(types))]
    fields = [pa.field(name, kind) for name, kind in zip(names, types, strict=True)]
    table = pa.Table.from_arrays([pa.nulls(rows, kind) for kind in types], schema=pa.schema(fields))
    store = FileRowStore(tmp_path_factory.mktemp("rows"), bytes_max=10**6)
    keep(store, table)
    found = store.read(KEY)
    prints = []
    for one in (table, found):
        fold = Fingerprinter(one.schema)
        for batch in one.to_batches():
            fold.update(batch)
        prints.append(fold.finish())
    assert prints[0] == prints[1]


# ---- files


@dataclass
class Disk:
    """A store whose files have times of our own."""

    store: FileRowStore
    clock: int = 1_000_000_000

    def keep(self, key, table=NOISE):
        keep(self.store, table, key)
        self.age(key)

    def age(self, key):
        self.clock += 1_000_000_000
        os.utime(self.store.path(key), ns=(self.clock, self.clock))


def test_files_are_for_their_owner_only(folder):
    """The folder and each file in it are closed to others, and nothing else is left there."""
    store = FileRowStore(folder, bytes_max=10**6)
    keep(store)
    assert folder.stat().st_mode & 0o777 == 0o700
    [file] = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_oldest_go_when_there_is_no_room(folder):
    """What was not kept or read for longest makes room, and no more than is needed."""
    disk = Disk(FileRowStore(folder, bytes_max=160_000))
    for key in ("a", "b", "c"):
        disk.keep(key)
    assert disk.store.read("a") is not None
    disk.keep("d")
    assert [key for key in "abcd" if disk.store.holds(key)] == ["a", "c", "d"]


def test_keeping_again_is_using_again(folder):
    """Rows that are delivered once more are not the oldest any longer."""
    disk = Disk(FileRowStore(folder, bytes_max=160_000))
    for key in ("a", "b", "c"):
        disk.keep(key)
    keep(disk.store, NOISE, "a")
    disk.keep("d")
    assert not disk.store.holds("b")


def test_more_than_may_be_kept_is_not_kept(folder):
    """Rows that are larger than all room stop at once, and drive nothing else out."""
    store = FileRowStore(folder, bytes_max=60_000)
    keep(store, key="small")
    with not_kept():
        keep(store, pa.concat_tables([NOISE] * 3))
    assert store.holds("small")


def test_the_last_bytes_count_too(folder, monkeypatch):
    """The limit holds for the whole file, with what Parquet writes at its end."""
    store = FileRowStore(folder, bytes_max=10)
    draft = store.draft(TABLE.schema)
    with not_kept():
        draft.keep(KEY)
    draft.discard()
    assert [*folder.iterdir()] == []


def test_a_disk_that_fails_keeps_nothing(folder, monkeypatch):
    """What cannot be made durable is neither kept nor left behind."""
    store = FileRowStore(folder, bytes_max=10**6)

    def fail(_):
        raise OSError(28, "No space left on device")

    draft = store.draft(TABLE.schema)
    monkeypatch.setattr(os, "fsync", fail)
    with not_kept():
        draft.keep(KEY)
    draft.discard()
    assert [*folder.iterdir()] == []


def test_what_a_dead_process_left_goes(folder):
    """A draft of yesterday is removed with the next one; one of today may still be written to."""
    store = FileRowStore(folder, bytes_max=10**6)
    old, new = store.draft(TABLE.schema), store.draft(TABLE.schema)
    os.utime(old.path, (0, 0))
    keep(store)
    assert (old.path.exists(), new.path.exists()) == (False, True)
    old.discard()
    new.discard()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 2**62]),
        pa.array(["é", "", None]),
        pa.array([1.5, float("nan"), -0.0]),
        pa.array([0, 10**9, None], pa.timestamp("s", "Europe/Berlin")),
        pa.array([1, 2, None], pa.timestamp("ns")),
        pa.array([b"\x00", None, b""]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([[1], None, []]),
        pa.array([{"a": 1}, None, {"a": None}]),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_values_keep_their_fingerprint(column, folder):
    """Rows that are read back are the rows that were delivered, value for value."""
    table = pa.table({"x": column})
    store = FileRowStore(folder, bytes_max=10**6)
    keep(store, table)
    prints = []
    for one in (table, store.read(KEY)):
        fold = Fingerprinter(one.schema)
        for batch in one.to_batches():
            fold.update(batch)
        prints.append(fold.finish())
    assert prints[0] == prints[1]
    assert prints[0].order == prints[1].order


def test_a_folder_that_cannot_be_made_is_no_room(tmp_path):
    """The error is one of rows that are not kept."""
    (tmp_path / "rows").write_text("")
    with not_kept():
        FileRowStore(tmp_path / "rows", bytes_max=10**6).draft(TABLE.schema)


def test_a_type_that_parquet_does_not_hold_is_no_room(folder):
    """It leaves no draft behind."""
    schema = pa.schema({"x": pa.month_day_nano_interval()})
    with not_kept():
        FileRowStore(folder, bytes_max=10**6).draft(schema)
    assert [*folder.iterdir()] == []


def test_a_damaged_file_cannot_be_read(folder):
    """What somebody cut short is an error, and no rows."""
    store = FileRowStore(folder, bytes_max=10**6)
    keep(store)
    store.path(KEY).write_bytes(b"PAR1")
    with pytest.raises(BackendFailed, match="state-unavailable"):
        store.read(KEY)


def test_a_link_is_not_followed(folder, tmp_path):
    """A symbolic link under the name of rows leads to an error, not elsewhere."""
    store = FileRowStore(folder, bytes_max=10**6)
    keep(store)
    store.path(KEY).rename(tmp_path / "elsewhere")
    store.path(KEY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackendFailed, match="state-unavailable"):
        store.read(KEY)
