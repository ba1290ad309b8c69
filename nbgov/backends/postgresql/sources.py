"""In which state a server held tables when they were read.

A relation's mark is its number, the number and size of its file, and how many rows were ever
inserted, updated and deleted. Rewriting a table gives it a new file, and everything else that
changes rows counts. The server adds to its counts when a session goes idle after a commit, and
once a second at most; so a mark may lag behind by up to a minute while a session writes in a hurry.
A standby counts nothing: there the mark is how far it has replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nbgov.model import SourceVersion, TableName

# More columns for the query that begins a transaction: one more question to the server would cost
# as much as a small read. It needs no privilege, and a number that is gone gives no mark.
MARKS_SQL = """,
    pg_current_snapshot()::text,
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END,
    (
        SELECT string_agg(concat_ws(
            ':', number, pg_relation_filenode(number), pg_relation_size(number),
            pg_stat_get_tuples_inserted(number), pg_stat_get_tuples_updated(number),
            pg_stat_get_tuples_deleted(number)
        ), ' ')
        FROM unnest(string_to_array($4, ' ')::oid[]) AS number
        WHERE pg_relation_filenode(number) IS NOT NULL
    )
"""
# The snapshot that is told is then the one that the rows are read in.
REPEATABLE_SQL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"


def source_versions(
    numbers: Mapping[int, TableName], told: tuple[str | None, ...]
) -> Iterator[SourceVersion]:
    """The states of relations, from what :data:`MARKS_SQL` answers.

    Args:
        numbers: The tables by their numbers.
        told: Snapshot, replayed position of a standby, and the marks.

    Example:
        >>> names = {16384: TableName("public", "t")}
        >>> [found] = source_versions(names, ("753:753:", None, "16384:16390:8192:100:0:0"))
        >>> str(found.table), found.kind, found.mark
        ('public.t', 'postgresql-relation', '16384:16390:8192:100:0:0')
        >>> [found] = source_versions(names, ("9:9:", "0/3000060", "16384:16390:8192:0:0:0"))
        >>> found.kind, found.mark
        ('postgresql-standby', '0/3000060')
    """
    snapshot, replayed, marks = told
    for mark in (marks or "").split():
        table = str(numbers[int(mark.partition(":")[0])])
        if replayed:
            yield SourceVersion(table, "postgresql-standby", replayed, snapshot=snapshot or "")
        else:
            yield SourceVersion(table, "postgresql-relation", mark, snapshot=snapshot or "")
