"""What a witness remembers: the newest checkpoint of each log, and what it refused as a fork.

All of it is in one file on the witness's host, which no log can reach. A cosignature leaves the
host only after the checkpoint under it is durable here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nbgov.backends.sqlite.database import Database, decoding, time_text, unavailable
from nbgov.core.audit.note import Note, SignatureLine, VerifierKey
from nbgov.core.audit.witness import INCONSISTENT, OK, Answer, Submission, weigh
from nbgov.errors import IntegrityFailed

WITNESS_SCHEMA_VERSION = 1
# Only the log itself can sign what comes here, but it might sign without end.
REFUSALS_MAX = 1000
WITNESS_SCHEMA = """
CREATE TABLE witness (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    key TEXT NOT NULL
) STRICT;

CREATE TABLE heads (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    seconds INTEGER NOT NULL CHECK (seconds > 0),
    note TEXT NOT NULL
) STRICT;
CREATE TRIGGER heads_only_grow BEFORE UPDATE ON heads
WHEN NEW.size < OLD.size OR NEW.seconds < OLD.seconds OR NEW.origin <> OLD.origin
BEGIN SELECT RAISE(ABORT, 'a witness does not go back'); END;
CREATE TRIGGER heads_are_kept BEFORE DELETE ON heads
BEGIN SELECT RAISE(ABORT, 'a witness does not forget'); END;

CREATE TABLE refusals (
    number INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    text TEXT NOT NULL,
    is_fork INTEGER NOT NULL CHECK (is_fork IN (0, 1)),
    at TEXT NOT NULL,
    note TEXT NOT NULL,
    known TEXT NOT NULL,
    UNIQUE (origin, text, is_fork)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A checkpoint that a witness refused to cosign, and the one that it knew.

    Attributes:
        origin: The log.
        is_fork: Whether both are of one size, so that they prove by themselves that the log was
            forked. If not, the one was only not shown to continue the other.
        at: When it was refused for the first time.
        note: The checkpoint that was refused, signed by the log.
        known: The checkpoint that the witness knew, with its own cosignature.
    """

    origin: str
    is_fork: bool
    at: datetime
    note: str
    known: str


class SqliteWitnessStore:
    """The memory of a witness, in a SQLite file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.database = Database(path, schema=WITNESS_SCHEMA, version=WITNESS_SCHEMA_VERSION)

    def key(self) -> VerifierKey | None:
        """The key of the witness whose memory this is; ``None`` for a new one."""
        with self.database.reading() as connection:
            row = connection.execute("SELECT key FROM witness").fetchone()
        with reading("the key of the witness"):
            return VerifierKey.parse(row["key"]) if row else None

    def begin(self, key: VerifierKey) -> None:
        """Make this the memory of a witness, for good."""
        with self.database.writing() as connection:
            connection.execute("INSERT INTO witness (number, key) VALUES (1, ?)", (str(key),))

    def decide(
        self, asked: Submission, *, at: datetime, cosign: Callable[[str, int], SignatureLine]
    ) -> tuple[Answer, SignatureLine | None]:
        """Decide a submission that was admitted, and remember the decision, in one transaction.

        The cosignature that is returned is over a checkpoint that is durable.

        Args:
            asked: The submission.
            at: The time.
            cosign: Signs the text of a note, at a second since 1970.

        Raises:
            BackendFailed: It cannot be remembered (code ``state-unavailable``).
        """
        checkpoint = asked.note.checkpoint
        with self.database.writing() as connection:
            row = connection.execute(
                "SELECT seconds, note FROM heads WHERE origin = ?", (checkpoint.origin,)
            ).fetchone()
            with reading("a remembered checkpoint"):
                known = Note.parse(row["note"]).checkpoint if row else None
            answer = weigh(asked, known)
            if answer.status != OK:
                if row and (answer.is_fork or answer.status == INCONSISTENT):
                    refusal = (checkpoint.origin, asked.note.text, answer.is_fork, time_text(at))
                    notes = (str(asked.note), row["note"])
                    connection.execute(REFUSE_SQL, (*refusal, *notes, REFUSALS_MAX))
                return answer, None
            # A clock that was set back must not make this look older than what came before.
            seconds = max(int(at.timestamp()), row["seconds"] if row else 1)
            line = cosign(asked.note.text, seconds)
            note = str(asked.note.with_signatures([line]))
            connection.execute(ADVANCE_SQL, (checkpoint.origin, checkpoint.size, seconds, note))
        return answer, line

    def heads(self) -> dict[str, str]:
        """The newest checkpoint of each log that was cosigned, by its origin."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT origin, note FROM heads ORDER BY origin").fetchall()
        return {row["origin"]: row["note"] for row in rows}

    def refusals(self) -> tuple[Refusal, ...]:
        """What was refused because a log is not the one that it was, oldest first."""
        with self.database.reading() as connection:
            rows = connection.execute("SELECT * FROM refusals ORDER BY number").fetchall()
        with decoding("a refusal"):
            return tuple(
                Refusal(
                    row["origin"],
                    bool(row["is_fork"]),
                    datetime.fromisoformat(row["at"]),
                    row["note"],
                    row["known"],
                )
                for row in rows
            )

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()


ADVANCE_SQL = """
INSERT INTO heads (origin, size, seconds, note) VALUES (?, ?, ?, ?)
ON CONFLICT (origin) DO UPDATE
SET size = excluded.size, seconds = excluded.seconds, note = excluded.note
"""
REFUSE_SQL = """
INSERT OR IGNORE INTO refusals (origin, text, is_fork, at, note, known)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE (SELECT count(*) FROM refusals WHERE origin = ?1) < ?7
"""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Translate what is wrong with a text of ours that somebody changed."""
    try:
        yield
    except IntegrityFailed as error:
        raise unavailable(f"{what} does not decode") from error
