"""Bundles that are read: an audit log, or entries of it, in one file that verifies by itself.

A bundle holds what the log holds and nothing else: stored bytes, signed notes, and for selected
entries the paths that lead to a checkpoint. No key is in it, and nothing that opens a sealed
literal. The format is ``docs/spec/audit-bundle.md``; :mod:`nbgov.evidence.bundling` makes one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeAlias

from nbgov.core.audit import ENTRY_BYTES_MAX, decode
from nbgov.core.audit.note import NOTE_CHARS_MAX
from nbgov.evidence.containers import Container, invalid

FORMAT, VERSION = "nbgov-audit-bundle", 1
MANIFEST, CHECKPOINT, WITNESSED = "manifest.json", "checkpoint", "witnessed"
SEGMENT = re.compile(r"entries/([0-9]{20})\.jsonl")
SELECTED, PATHS, CONSISTENCY = (
    f"selected/{name}.jsonl" for name in ("entries", "paths", "consistency")
)
NOTES = re.compile(r"checkpoint|witnessed|key-[1-9][0-9]{0,18}")
# One for each signing key that was replaced, and one for the witnesses.
STEPS_MAX = 10_000
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
Digests: TypeAlias = tuple[bytes, ...]


class Bundle:
    """A bundle that is read: an :class:`~nbgov.ports.Evidence`, if it holds the whole log.

    That it is well formed was checked when it was opened; whether it holds is for a verifier.

    Attributes:
        origin: The log that it says to be of.
        size: How many entries that log had.
        is_whole: Whether it holds all of them, or selected ones.
    """

    def __init__(self, container: Container) -> None:
        self.container = container
        names = list(container.members)
        manifest = read_manifest(container)
        self.origin: str = manifest["origin"]
        self.size: int = manifest["size"]
        self.is_whole = manifest["kind"] == "whole"
        self.segments = [
            (int(found[1]), name) for name in names if (found := SEGMENT.fullmatch(name))
        ]
        parts = [name for _, name in self.segments]
        parts = parts if self.is_whole else [SELECTED, PATHS, CONSISTENCY]
        if not parts:
            raise invalid("it holds no entry")
        head = [MANIFEST, *parts, CHECKPOINT]
        rest = names[len(head) :]
        keys = [name for name in rest if name != WITNESSED]
        in_order = sorted(keys, key=lambda name: (len(name), name))
        if names != [*head, *([WITNESSED] if WITNESSED in rest else []), *in_order] or not all(
            map(NOTES.fullmatch, rest)
        ):
            raise invalid("it lacks a member, or has one that no bundle has")

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """The entries from an index on; of selected ones, those that there are.

        Raises:
            IntegrityFailed: The bytes are not what a bundle holds.
        """
        if not self.is_whole:
            yield from (line for line in self.lines_of(SELECTED) if decode(line).index >= start)
            return
        count = 0
        following = [first for first, _ in self.segments[1:]]
        for (first, name), end in zip(self.segments, [*following, self.size], strict=True):
            if first != count:
                raise invalid("a segment does not begin where the one before ends")
            if end <= start:
                count = end
                continue
            for line in self.lines_of(name):
                if count >= start:
                    yield line
                count += 1
        if count != self.size:
            raise invalid(f"it holds {count:,} entries and says {self.size:,}")

    def note(self, name: str) -> str:
        """A signed note; empty where there is none."""
        if not NOTES.fullmatch(name) or name not in self.container.members:
            return ""
        try:
            return self.container.read(name, 4 * NOTE_CHARS_MAX).decode()
        except UnicodeDecodeError as error:
            raise invalid(f"its note {name} is no text") from error

    def inclusions(self) -> Iterator[tuple[bytes, Digests]]:
        """Selected entries, each with the path from it to the root of the checkpoint."""
        paths = map(read_path, self.values_of(PATHS))
        for line in self.lines_of(SELECTED):
            path = next(paths, None)
            if path is None:
                raise invalid("an entry has no path")
            yield line, path
        if next(paths, None) is not None:
            raise invalid("a path has no entry")

    def consistency(self) -> dict[int, Digests]:
        """For checkpoints of other sizes, what shows that the log begins with theirs."""
        found: dict[int, Digests] = {}
        for value in self.values_of(CONSISTENCY):
            if not isinstance(value, dict) or value.keys() != {"path", "size"}:
                raise invalid("a path between checkpoints is malformed")
            size = value["size"]
            if type(size) is not int or size <= max(found, default=0):
                raise invalid("the paths between checkpoints are not in order")
            # Security: what unpacks to paths without an end would fill the memory.
            if len(found) == STEPS_MAX:
                raise invalid("it has more paths between checkpoints than any bundle")
            found[size] = read_path(value["path"])
        return found

    def lines_of(self, name: str) -> Iterator[bytes]:
        """The lines of a member, each of bounded length.

        Raises:
            IntegrityFailed: One is longer than an entry, or the last one does not end.
        """
        rest = b""
        for block in self.container.blocks(name):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > ENTRY_BYTES_MAX:
                # Security: what unpacks to a line without an end would fill the memory.
                break
            yield from lines
        if rest:
            raise invalid("a line is longer than an entry can be, or was cut")

    def values_of(self, name: str) -> Iterator[Any]:
        """The JSON values in the lines of a member, each in the one way to write it."""
        for line in self.lines_of(name):
            yield read_value(line + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_bundle(path: str | Path) -> Bundle:
    """The bundle in a file. Nothing is written anywhere, and no more is read than is asked for.

    Raises:
        IntegrityFailed: It is none, or was changed (code ``bundle-invalid``).
        RequestInvalid: The file cannot be read (code ``file-unreadable``).
    """
    container = Container(Path(path))
    try:
        return Bundle(container)
    except BaseException:
        container.close()
        raise


def read_manifest(container: Container) -> dict[str, Any]:
    """What a bundle says of itself."""
    if next(iter(container.members), "") != MANIFEST:
        raise invalid("it does not say what it is")
    found = read_value(container.read(MANIFEST, ENTRY_BYTES_MAX))
    names = {"format", "kind", "origin", "size", "v"}
    if not isinstance(found, dict) or found.keys() != names or found["format"] != FORMAT:
        raise invalid("it does not say that it is one")
    if found["v"] != VERSION:
        raise invalid("it has a format version that this nbgov does not read")
    is_sized = type(found["size"]) is int and found["size"] > 0
    kinds = {"whole", "selection"}
    if not is_sized or found["kind"] not in kinds or not isinstance(found["origin"], str):
        raise invalid("what it says of itself is malformed")
    return found


def read_value(line: bytes) -> Any:
    """The JSON value in a line, which ends with a newline."""
    try:
        value = json.loads(line)
        is_canonical = canonical(value) == line
    except (ValueError, RecursionError) as error:
        raise invalid("a part of it is not JSON in canonical form") from error
    if not is_canonical:
        raise invalid("a part of it is not JSON in canonical form")
    return value


def read_path(value: Any) -> Digests:
    """The digests of a path."""
    if not isinstance(value, list) or not all(
        isinstance(one, str) and HEX_DIGEST.fullmatch(one) for one in value
    ):
        raise invalid("a path is malformed")
    return tuple(map(bytes.fromhex, value))


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value here: a line."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"{text}\n".encode(errors="replace")
