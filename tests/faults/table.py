"""One row for every fault: how often it was tried, and what became of what was acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from nbgov.backends.files import FileAuditLog, LogTerms, SystemClock
from nbgov.backends.memory import MemorySigner
from nbgov.core.audit import verify
from nbgov.core.audit.merkle import leaf_digest
from nbgov.model import Receipt, Record, RecordKind

FACTS = {"request": "r", "principal": "ada", "statement": "SELECT 1", "note": "n" * 300}


@dataclass
class Row:
    """What a fault did to a log.

    Attributes:
        fault: What was done.
        runs: How often.
        acknowledged: How many records were acknowledged before or behind it.
        lost: How many of these were gone, or were others, in the end.
        told: What else is to be said.
        is_control: Whether it has to lose records: the harness without what it tests.
        is_modelled: Whether the disk is a model.
        problems: What did not hold.
    """

    fault: str
    runs: int = 0
    acknowledged: int = 0
    lost: int = 0
    told: str = ""
    is_control: bool = False
    is_modelled: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether everything held."""
        return not self.problems and (self.lost > 0) == self.is_control and self.runs > 0

    def count(self, acknowledged: Iterable[Receipt], folder: Path) -> None:
        """Compare what was acknowledged with a log, as it is when somebody has opened it again."""
        with open_log(folder, "after") as log:
            log.append(record("after"))
            lines = list(log.entries())
            report = verify(lines, is_deep=True)
        if report.problem or report.open_attempts:
            self.problems.append(report.problem or f"open: {report.open_attempts}")
        self.compare(acknowledged, lines)

    def compare(self, acknowledged: Iterable[Receipt], lines: list[bytes]) -> None:
        """Count what was acknowledged, and what of it is not in some entries."""
        for receipt in acknowledged:
            self.acknowledged += 1
            is_there = receipt.index < len(lines)
            if not is_there or leaf_digest(lines[receipt.index]) != receipt.entry_digest:
                self.lost += 1


def open_log(folder: Path, session: str = "s", **terms: object) -> FileAuditLog:
    """A log in a folder, signed under a key that everybody knows."""
    return FileAuditLog(
        folder,
        session=session,
        clock=SystemClock(),
        signer=MemorySigner(),
        origin="faults",
        terms=LogTerms(**terms),
    )


def record(session: str, kind: RecordKind = RecordKind.VOTE, **fields: object) -> Record:
    """A record of ordinary length."""
    return Record(kind=kind, at=datetime.now(UTC), session=session, **(FACTS | fields))


def attempt(session: str) -> Record:
    """An attempt."""
    return record(session, RecordKind.ATTEMPT)


def outcome(session: str, receipt: Receipt) -> Record:
    """Its outcome."""
    return record(session, RecordKind.OUTCOME, attempt=receipt.index, status="ok")


def text_of(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown."""
    lines = [
        "| fault | times | acknowledged | lost | what else |",
        "|---|---:|---:|---:|---|",
    ]
    for row in rows:
        numbers = f"{row.runs:,} | {row.acknowledged:,} | {row.lost:,}"
        lines.append(f"| {row.fault} | {numbers} | {row.told} |")
    return "\n".join(lines) + "\n"
