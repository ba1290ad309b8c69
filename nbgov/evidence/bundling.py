"""Making bundles: the log as it is now, or entries of it, in one file for somebody else.

What is in one, and in which order, is ``docs/spec/audit-bundle.md``; :mod:`nbgov.evidence.bundles`
reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.assurance.deeds import Deed, recorded
from nbgov.core.audit import decode
from nbgov.core.audit.glance import ROTATION
from nbgov.core.audit.merkle import consistency_path, inclusion_path
from nbgov.core.audit.note import Checkpoint, Note
from nbgov.core.audit.query import Query
from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.evidence.bundles import (
    CHECKPOINT,
    CONSISTENCY,
    FORMAT,
    MANIFEST,
    PATHS,
    SELECTED,
    VERSION,
    WITNESSED,
    canonical,
)
from nbgov.evidence.containers import ContainerWriter, write_container
from nbgov.evidence.drafts import draft
from nbgov.evidence.exports import Told, chosen, scope, watched

if TYPE_CHECKING:
    from nbgov.ports import AuditLog
    from nbgov.session import Session

SEGMENT_BYTES_MAX = 64 * 1024 * 1024
SELECTED_MAX = 100_000
WITNESS_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Bundled:
    """What a bundle was made of.

    Attributes:
        checkpoint: What all of it is held against.
        entries: How many entries are in it.
        is_whole: Whether that is the whole log.
    """

    checkpoint: Checkpoint
    entries: int
    is_whole: bool


def write_bundle(
    session: Session, path: Path, query: Query | None = None, *, told: Told = lambda _: None
) -> Bundled:
    """Bundle the log as it is now, or the entries that a query means; it is recorded first.

    Witnesses are asked once, so that they vouch for the newest entries as far as they answer.

    Args:
        session: Holds the log, and whose principal bundles it.
        path: The file, which appears whole or not at all.
        query: The entries; the whole log by default.
        told: Is called now and then with how many entries were read.

    Raises:
        RequestInvalid: No entry is meant, too many are, or the log is too large.
        IntegrityFailed: The log is not the one that was signed.
        BackendFailed: The log is away, or the file cannot be written.
    """
    world = session.world
    words = "the whole log" if query is None else scope(query)
    deed = Deed(verb="EXPORT", connection="", note=f"bundle of {words}")
    with recorded(world, deed, session=session.id, principal=session.principal):
        if world.cosigning is not None:
            world.cosigning.one_round(wait_s=WITNESS_WAIT_S)
        # The witnessed note comes first: the log only grows, so the checkpoint covers it.
        witnessed = world.audit.note(WITNESSED)
        note = world.audit.checkpoint()
        assert note is not None, "An entry was recorded just now."
        with draft(path) as file, write_container(file) as container:
            maker = Maker(world.audit, container, note, witnessed, told)
            count = maker.whole() if query is None else maker.selection(query)
        deed.note += f": {count} entries of {note.checkpoint.size}"
    return Bundled(note.checkpoint, count, is_whole=query is None)


class Maker:
    """Puts together one bundle."""

    def __init__(
        self, log: AuditLog, container: ContainerWriter, note: Note, witnessed: str, told: Told
    ) -> None:
        self.log = log
        self.container = container
        self.note = note
        self.point = note.checkpoint
        self.witnessed = witnessed
        self.told = told
        self.count = 0
        self.ahead: bytes | None = None
        self.rotations: dict[int, bytes] = {}

    def whole(self) -> int:
        """All entries that the checkpoint covers, in segments, and the notes."""
        self.manifest("whole")
        lines = self.lines()
        self.ahead = next(lines, None)
        while self.ahead is not None:
            self.container.add(f"entries/{self.count:020}.jsonl", self.segment(lines))
        if self.count != self.point.size:
            raise IntegrityFailed("The log has fewer entries than its checkpoint.")
        self.notes()
        return self.count

    def segment(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Lines until a segment is full."""
        size = 0
        while self.ahead is not None and size < SEGMENT_BYTES_MAX:
            line, self.ahead = self.ahead, next(lines, None)
            self.count += 1
            size += len(line) + 1
            yield line + b"\n"

    def lines(self) -> Iterator[bytes]:
        """The entries that the checkpoint covers; those that name a signing key are kept."""
        for index, line in enumerate(watched(self.log.entries(), self.told)):
            if index == self.point.size:
                return
            if ROTATION in line and decode(line).record.verb == "ROTATE":
                self.rotations[index] = line
            yield line

    def selection(self, query: Query) -> int:
        """The entries that a query means, each with its path, and what vouches for the key."""
        self.manifest("selection")
        indexes: list[int] = []
        self.container.add(SELECTED, self.selected(query, indexes))
        subtree = self.log.subtree
        paths = (inclusion_path(index, self.point.size, subtree) for index in indexes)
        self.container.add(PATHS, (canonical(hexes(path)) for path in paths))
        sizes = sorted({index + 1 for index in self.rotations} | self.witnessed_sizes())
        steps = ((size, consistency_path(size, self.point.size, subtree)) for size in sizes)
        self.container.add(
            CONSISTENCY, (canonical({"path": hexes(path), "size": size}) for size, path in steps)
        )
        self.notes()
        return self.count

    def selected(self, query: Query, indexes: list[int]) -> Iterator[bytes]:
        """The lines of the entries that are meant, and of those that name a signing key."""
        for index, line in self.merged(query):
            indexes.append(index)
            if len(indexes) > SELECTED_MAX:
                raise too_many()
            yield line + b"\n"
        if not self.count:
            raise RequestInvalid(
                "There is nothing to bundle: no entry is meant.",
                code="usage",
                next_step="look for entries first: nbgov audit search",
            )

    def merged(self, query: Query) -> Iterator[tuple[int, bytes]]:
        """What is meant and what names a signing key, in the order of the log, each once."""
        last = -1
        for one in chosen(self.lines(), query):
            index = one.entry.index
            yield from ((i, line) for i, line in self.rotations.items() if last < i < index)
            yield index, one.line
            self.count += 1
            last = index
        yield from ((i, line) for i, line in self.rotations.items() if i > last)

    def witnessed_sizes(self) -> set[int]:
        """The size of the witnessed checkpoint, if there is one."""
        return {Note.parse(self.witnessed).checkpoint.size} if self.witnessed else set()

    def manifest(self, kind: str) -> None:
        """What the file is; it comes first."""
        facts = {
            "format": FORMAT,
            "kind": kind,
            "origin": self.point.origin,
            "size": self.point.size,
            "v": VERSION,
        }
        self.container.add(MANIFEST, [canonical(facts)])

    def notes(self) -> None:
        """The signed notes, in a fixed order."""
        named = [(CHECKPOINT, str(self.note)), (WITNESSED, self.witnessed)]
        named += [(name, self.log.note(name)) for name in (f"key-{i + 1}" for i in self.rotations)]
        for name, text in named:
            if text:
                self.container.add(name, [text.encode()])


def hexes(path: Iterable[bytes]) -> list[str]:
    """The digests of a path as texts."""
    return [digest.hex() for digest in path]


def too_many() -> RequestInvalid:
    """The error of a selection that is too large."""
    return RequestInvalid(
        "Too many entries are meant.",
        code="usage",
        why=f"a bundle of selected entries holds {SELECTED_MAX:,} at most",
        next_step="narrow the filters, or bundle the whole log",
    )
