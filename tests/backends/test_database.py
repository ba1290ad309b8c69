"""The SQLite files of nbgov's own: what several processes may rely on."""

from __future__ import annotations

import multiprocessing
import os
import threading

from nbgov.backends.sqlite.database import Database
from nbgov.backends.sqlite.facts import SqliteFactStore

WAIT_S = 60


def visit(path):
    """Come, look, and go, as a whole session does."""
    store = SqliteFactStore(path)
    store.fact("ticket")
    store.close()


def elsewhere(path):
    process = multiprocessing.get_context("spawn").Process(target=visit, args=[path])
    process.start()
    process.join(WAIT_S)
    assert process.exitcode == 0


def told_elsewhere(path, queue):
    store = SqliteFactStore(path)
    queue.put(store.fact("ticket"))
    store.close()


def test_what_is_written_after_another_process_has_left_is_seen_by_a_third(tmp_path):
    """Several stores on one file hold their locks, however many of them one process opens."""
    path = tmp_path / "state.sqlite"
    first = SqliteFactStore(path)
    first.keep_fact("ticket", "approved")
    # A second store of the same process must not give up what the first one holds.
    second = SqliteFactStore(path)
    assert second.fact("ticket") == "approved"
    elsewhere(path)
    first.keep_fact("ticket", "consumed")
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    third = spawn.Process(target=told_elsewhere, args=(path, queue))
    third.start()
    assert queue.get(timeout=WAIT_S) == "consumed"
    third.join(WAIT_S)
    first.close()
    second.close()


def test_many_threads_that_come_first_make_one_file(tmp_path):
    """Nobody finds a file without tables, none is left over, and only its owner can read it."""
    path = tmp_path / "state" / "state.sqlite"
    stores = [SqliteFactStore(path) for _ in range(8)]
    threads = [
        threading.Thread(target=one.keep_fact, args=(str(n), "x")) for n, one in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(stores[0].fact(str(n)) == "x" for n in range(8))
    assert path.stat().st_mode & 0o077 == 0
    for store in stores:
        store.close()
    assert [one.name for one in path.parent.iterdir()] == ["state.sqlite"]


def test_a_lock_that_was_held_during_a_fork_blocks_no_child(tmp_path):
    """A child of a process whose other thread is in a transaction can use the file."""
    database = Database(tmp_path / "state.sqlite")
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with database.reading():
            inside.set()
            leave.wait(WAIT_S)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(WAIT_S)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with database.reading() as link:
                status = link.execute("SELECT 0").fetchone()[0]
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
    database.close()
