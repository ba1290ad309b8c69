"""The index of the audit log in a SQLite file, which may be removed at any time.

Entries repeat themselves: who asked, what was read and how it was decided is one *shape*, kept
once. What a shape can be found by are *names*, kept once as well, so that a pattern is held against
each different name and not against each entry. Everything here was made of the log's bytes and
says nothing that the log does not say; see :mod:`nbgov.core.audit.index`.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.backends.sqlite.database import Database, split
from nbgov.core.audit.entry import write_time
from nbgov.core.audit.index import SHARED, Extent, Reader, Row
from nbgov.core.audit.query import IDS, NAMED, Query, fold, is_meant, traits
from nbgov.errors import BackendFailed, IntegrityFailed
from nbgov.ports.indexes import Hit

if TYPE_CHECKING:
    from nbgov.ports import Evidence

BATCH = 4000
SHAPES_HELD_MAX = 100_000
# Up to so many entries are looked up by their shapes and sorted; more are met soon when the log
# is walked in its order.
SORTED_MAX = 20_000
TRIGRAM = 3
LAST_CHARACTER = "\U0010ffff"
SCHEMA = """
CREATE TABLE extent (
    entries INTEGER NOT NULL, origin TEXT NOT NULL, digest BLOB NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE TABLE names (
    id INTEGER PRIMARY KEY, field TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (field, value)
) STRICT;
CREATE TABLE shapes (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, uses INTEGER NOT NULL
) STRICT;
CREATE TABLE postings (
    name INTEGER NOT NULL, shape INTEGER NOT NULL, PRIMARY KEY (name, shape)
) STRICT, WITHOUT ROWID;
CREATE TABLE entries (
    number INTEGER PRIMARY KEY, digest BLOB NOT NULL, at TEXT NOT NULL, shape INTEGER NOT NULL,
    session TEXT, request TEXT, ticket TEXT, run TEXT, version TEXT
) STRICT;
CREATE INDEX entries_by_shape ON entries (shape);
CREATE INDEX entries_by_session ON entries (session);
CREATE INDEX entries_by_request ON entries (request);
CREATE INDEX entries_by_ticket ON entries (ticket) WHERE ticket IS NOT NULL;
CREATE INDEX entries_by_run ON entries (run) WHERE run IS NOT NULL;
CREATE INDEX entries_by_version ON entries (version) WHERE version IS NOT NULL;
"""
TEXTS = """
CREATE VIRTUAL TABLE texts USING fts5 (
    text, content = '', tokenize = 'trigram case_sensitive 1'
);
"""


@cache
def has_trigrams() -> bool:
    """Whether this SQLite was built with what finds parts of texts quickly."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(TEXTS)
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


class SqliteAuditIndex:
    """An :class:`~nbgov.ports.AuditIndex` in a SQLite file.

    Args:
        path: The file. It is made, readable by its owner only, if it is not there.
        with_trigrams: Whether to use FTS5; by default where SQLite has it.
    """

    def __init__(self, path: Path, *, with_trigrams: bool | None = None) -> None:
        self.path = path
        self.with_trigrams = has_trigrams() if with_trigrams is None else with_trigrams
        self.schema = SCHEMA + TEXTS if self.with_trigrams else SCHEMA
        self.database = Database(path, schema=self.schema, version=2 if self.with_trigrams else 1)

    # ------------------------------------------------------------ filling

    def fill(self, log: Evidence, told: Callable[[int], None]) -> str:
        """Take in what the log holds and the index does not, batch by batch.

        Raises:
            IntegrityFailed: The entries do not follow from one another (code ``audit-broken``).
            BackendFailed: The log or the index cannot be read or written.
        """
        extent, remark = self.settle(log)
        filling = Filling(extent, log, with_trigrams=self.with_trigrams)
        while batch := filling.read():
            with self.database.writing() as connection:
                is_ours = extent_of(connection) == filling.start
                if is_ours:
                    filling.write(connection, batch)
            if filling.problem is not None and is_ours:
                raise filling.problem
            if not is_ours:
                # Another process took in entries meanwhile; go on behind them.
                extent = self.extent()
                filling = Filling(extent, log, with_trigrams=self.with_trigrams)
            told(filling.reader.extent.entries)
        if filling.problem is not None:
            raise filling.problem
        return remark

    def settle(self, log: Evidence) -> tuple[Extent, str]:
        """How far the index goes, emptied if it is of something else; and why it was emptied."""
        try:
            extent = self.extent()
        except BackendFailed as error:
            if isinstance(error.__cause__, sqlite3.OperationalError | OSError):
                raise  # It is locked, or the disk is away: it may be sound.
            self.discard()
            return self.extent(), "The index could not be read."
        last = extent.entries - 1
        if extent.is_of(next(log.entries(max(last, 0)), None)):
            return extent, ""
        self.forget()
        return Extent(), f"Entry {last} of the log is not the one that the index was made of."

    def extent(self) -> Extent:
        """How far the index goes."""
        with self.database.reading() as connection:
            extent = extent_of(connection)
            (held,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        if held == extent.entries:
            return extent
        return Extent(max(held, extent.entries), extent.origin, digest=b"")  # Of no log.

    def forget(self) -> None:
        """Empty the index."""
        with self.database.writing() as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'texts_%'"
                " AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            for (table,) in tables:
                connection.execute(f'DROP TABLE "{table}"')
            for statement in split(self.schema):
                connection.execute(statement)

    def discard(self) -> None:
        """Remove the files of an index that cannot be read."""
        self.database.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    # ------------------------------------------------------------ asking

    def find(self, query: Query, *, beyond: int | None, count: int) -> list[Hit]:
        """Entries that a query means, in its order."""
        with self.database.reading() as connection:
            where = Where(connection, query, with_trigrams=self.with_trigrams)
            where.go_on(beyond, is_ascending=query.oldest_first)
            order = "ASC" if query.oldest_first else "DESC"
            found = connection.execute(
                f"SELECT number, digest FROM entries WHERE {where.text(is_ordered=True)} "  # noqa: S608
                f"ORDER BY number {order} LIMIT ?",
                (*where.values, count),
            ).fetchall()
        return [Hit(number, digest) for number, digest in found]

    def count(self, query: Query) -> int:
        """How many entries a query means."""
        with self.database.reading() as connection:
            where = Where(connection, query, with_trigrams=self.with_trigrams)
            statement = f"SELECT count(*) FROM entries WHERE {where.text()}"  # noqa: S608
            (number,) = connection.execute(statement, where.values).fetchone()
        return int(number)


def extent_of(connection: sqlite3.Connection) -> Extent:
    """How far the index goes, as it says itself."""
    row = connection.execute("SELECT entries, origin, digest, at FROM extent").fetchone()
    return Extent(*row) if row else Extent()


class Filling:
    """One process that takes entries in.

    Args:
        extent: How far the index goes.
        log: The log.
        with_trigrams: Whether statements go into the table of trigrams as well.
    """

    def __init__(self, extent: Extent, log: Evidence, *, with_trigrams: bool) -> None:
        self.start = extent
        self.reader = Reader(extent, lambda number: next(log.entries(number), b""))
        self.lines = log.entries(extent.entries)
        self.with_trigrams = with_trigrams
        self.shapes: dict[Any, int] = {}
        self.names: dict[tuple[str, str], int] = {}
        self.problem: IntegrityFailed | None = None

    def read(self) -> list[Row]:
        """The next rows, up to what breaks the log."""
        self.start = self.reader.extent
        rows: list[Row] = []
        try:
            rows.extend(map(self.reader.take, islice(self.lines, BATCH)))
        except IntegrityFailed as error:
            self.problem, self.lines = error, iter(())
        return rows

    def write(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Put rows behind those that there are."""
        shapes = [self.shape(connection, row) for row in rows]
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (row.number, row.digest, row.at, shape, *(one and fold(one) for one in row.ids))
                for row, shape in zip(rows, shapes, strict=True)
            ),
        )
        connection.executemany(
            "UPDATE shapes SET uses = uses + ? WHERE id = ?",
            ((uses, shape) for shape, uses in Counter(shapes).items()),
        )
        connection.execute("DELETE FROM extent")
        end = self.reader.extent
        values = end.entries, end.origin, end.digest, end.at
        connection.execute("INSERT INTO extent VALUES (?, ?, ?, ?)", values)

    def shape(self, connection: sqlite3.Connection, row: Row) -> int:
        """The shape of an entry, kept if it is new."""
        known = self.shapes.get(row.shared)
        if known is not None:
            return known
        digest = blake2b(json.dumps(row.shared).encode(), digest_size=16).digest()
        found = connection.execute("SELECT id FROM shapes WHERE digest = ?", (digest,)).fetchone()
        shape = int(found[0]) if found else self.new_shape(connection, row, digest)
        if len(self.shapes) >= SHAPES_HELD_MAX:
            self.shapes.clear()
            self.names.clear()
        self.shapes[row.shared] = shape
        return shape

    def new_shape(self, connection: sqlite3.Connection, row: Row, digest: bytes) -> int:
        """Keep a shape, with everything that it can be found by."""
        number = connection.execute("INSERT INTO shapes VALUES (NULL, ?, 0)", (digest,)).lastrowid
        held = traits(dict(zip(SHARED, row.shared, strict=True)))
        names = {self.name(connection, field, value) for field in held for value in held[field]}
        connection.executemany(
            "INSERT INTO postings VALUES (?, ?)", ((name, number) for name in sorted(names))
        )
        assert number is not None
        return number

    def name(self, connection: sqlite3.Connection, field: str, value: str) -> int:
        """A value of a field, kept if it is new."""
        key = field, value
        if key not in self.names:
            found = connection.execute(
                "SELECT id FROM names WHERE field = ? AND value = ?", key
            ).fetchone()
            self.names[key] = int(found[0]) if found else self.new_name(connection, field, value)
        return self.names[key]

    def new_name(self, connection: sqlite3.Connection, field: str, value: str) -> int:
        """Keep a value of a field."""
        added = connection.execute("INSERT INTO names VALUES (NULL, ?, ?)", (field, value))
        assert added.lastrowid is not None
        if field == "statement" and self.with_trigrams:
            connection.execute(
                "INSERT INTO texts (rowid, text) VALUES (?, ?)", (added.lastrowid, value)
            )
        return added.lastrowid


class Where:
    """The condition of a query, for the table of entries.

    Args:
        connection: The index.
        query: What is looked for.
        with_trigrams: Whether there is a table of trigrams.
    """

    def __init__(
        self, connection: sqlite3.Connection, query: Query, *, with_trigrams: bool
    ) -> None:
        self.connection = connection
        self.with_trigrams = with_trigrams
        self.terms: list[str] = []
        self.values: list[Any] = []
        self.shaped: int | None = None  # How many entries have one of the shapes.
        self.set_times(query)
        for name in IDS:
            self.set_id(name, getattr(query, name))
        self.set_shapes([*self.names(query)])

    def text(self, *, is_ordered: bool = False) -> str:
        """The condition; the values are in :attr:`values`.

        Args:
            is_ordered: Whether the first entries are asked for, in the order of the log.
        """
        terms = list(self.terms)
        if self.shaped is not None:
            # A plus sign keeps SQLite from using the index of shapes.
            is_walked = is_ordered and self.shaped > SORTED_MAX
            terms[-1] = ("+" if is_walked else "") + terms[-1]
        return " AND ".join([*terms, "TRUE"])

    def set_times(self, query: Query) -> None:
        """Times become numbers: the entries of a log that adds up are sorted by both."""
        size = extent_of(self.connection).entries
        bounds = ((">=", query.since), ("<", query.until))
        for sign, at in bounds:
            if at is not None:
                first = bisect_left(range(size), write_time(at), key=self.time_of)
                self.terms.append(f"number {sign} ?")
                self.values.append(first)

    def go_on(self, beyond: int | None, *, is_ascending: bool) -> None:
        """Leave out what comes no later than an entry."""
        if beyond is not None:
            self.terms.insert(0, f"number {'>' if is_ascending else '<'} ?")
            self.values.insert(0, beyond)

    def time_of(self, number: int) -> str:
        """The time of an entry, as it is stored."""
        row = self.connection.execute("SELECT at FROM entries WHERE number = ?", (number,))
        return str(row.fetchone()[0])

    def set_id(self, name: str, patterns: Sequence[str]) -> None:
        """One of the patterns is how the id begins."""
        if patterns:
            starts = [fold(pattern) for pattern in patterns]
            self.terms.append(
                "(" + " OR ".join([f"{name} >= ? AND {name} < ?"] * len(starts)) + ")"
            )
            for start in starts:
                self.values += (start, start + LAST_CHARACTER)

    def names(self, query: Query) -> Iterator[list[int]]:
        """For each condition on shapes, the names that meet it."""
        for field in NAMED:
            if patterns := getattr(query, field):
                found = self.connection.execute(
                    "SELECT id, value FROM names WHERE field = ?", (field,)
                )
                yield [
                    name
                    for name, value in found
                    if any(is_meant(field, pattern, value) for pattern in patterns)
                ]
        if query.text:
            yield self.statements(fold(query.text))

    def statements(self, part: str) -> list[int]:
        """The statements that a text is a part of."""
        if self.with_trigrams and len(part) >= TRIGRAM:
            phrase = '"' + part.replace('"', '""') + '"'
            found = self.connection.execute(
                "SELECT rowid FROM texts WHERE texts MATCH ?", (phrase,)
            )
        else:
            found = self.connection.execute(
                "SELECT id FROM names WHERE field = 'statement' AND instr(value, ?)", (part,)
            )
        return [name for (name,) in found]

    def set_shapes(self, conditions: Sequence[list[int]]) -> None:
        """Every condition is met by one of its names."""
        if not conditions:
            return
        one = "SELECT shape FROM postings WHERE name IN (SELECT value FROM json_each(?))"
        found = self.connection.execute(
            f"SELECT id, uses FROM shapes WHERE id IN ({' INTERSECT '.join([one] * len(conditions))})",  # noqa: E501, S608
            [json.dumps(names) for names in conditions],
        ).fetchall()
        self.shaped = sum(uses for _, uses in found)
        self.terms.append("shape IN (SELECT value FROM json_each(?))")
        self.values.append(json.dumps([shape for shape, _ in found]))
