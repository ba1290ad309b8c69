"""The Merkle tree over a log, in a file: section 7 of ``docs/spec/audit-log.md``.

The file holds the digests of the tree's complete nodes in the order in which they become complete.
It counts only as far as a signed checkpoint agrees with it, and can be made anew from the entries.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from nbgov.backends.files.durable import OPEN_FLAGS, write_all
from nbgov.core.audit.ledger import edge_places
from nbgov.core.audit.merkle import DIGEST_BYTES, Frontier

NODES_AT_ONCE = 32_768


class TreeFile:
    """Nodes by their place. Reading opens the file, so that readers need no lock.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def nodes(self, places: Iterable[int]) -> list[bytes]:
        """The nodes at some places.

        Raises:
            OSError: The file cannot be read, or ends before.
        """
        fd = os.open(self.path, os.O_RDONLY | OPEN_FLAGS)
        try:
            found = [os.pread(fd, DIGEST_BYTES, place * DIGEST_BYTES) for place in places]
        finally:
            os.close(fd)
        if any(len(node) < DIGEST_BYTES for node in found):
            raise OSError(None, "the tree over the entries is cut")
        return found

    def node(self, place: int) -> bytes:
        """The node at one place.

        Raises:
            OSError: The file cannot be read, or ends before.
        """
        return self.nodes([place])[0]

    def edge(self, size: int) -> Frontier:
        """The right edge of the tree over so many entries.

        Raises:
            OSError: The file cannot be read, or ends before.
        """
        return Frontier(size, self.nodes(edge_places(size)) if size else ())

    def write(self, nodes: Iterable[bytes], *, place: int) -> None:
        """Make nodes durable, from a place on."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | OPEN_FLAGS, 0o600)
        try:
            offset, rest = place * DIGEST_BYTES, iter(nodes)
            while data := b"".join(islice(rest, NODES_AT_ONCE)):
                offset = write_all(fd, data, offset)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rebuild(self, leaves: Iterable[bytes]) -> Frontier:
        """Write the tree over some leaves, from the first node on."""
        frontier = Frontier()
        self.write(grown(frontier, leaves), place=0)
        return frontier


def grown(frontier: Frontier, leaves: Iterable[bytes]) -> Iterator[bytes]:
    """The nodes that become complete as a tree takes leaves."""
    for leaf in leaves:
        yield from frontier.add(leaf)
