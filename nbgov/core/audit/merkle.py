"""The Merkle tree over the entries of a log: section 6 of ``docs/spec/audit-log.md``.

Hashing, inclusion paths and consistency paths are those of RFC 6962, section 2.1, and the checks
of a path those of RFC 9162, sections 2.1.3.2 and 2.1.4.2. Nodes are kept in the order in which
they become complete, so that a store is one list that only grows and every node has a place in it
that follows from its level and number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
DIGEST_BYTES = 32
LEAF = hashlib.sha256(b"\0")

# The digest of the entries from one index up to, but not including, another one.
Subtree = Callable[[int, int], bytes]


def leaf_digest(line: bytes) -> bytes:
    """The digest of an entry: SHA-256 of a zero byte and its stored bytes."""
    # A copy of the state after that byte costs less than another object and another line.
    leaf = LEAF.copy()
    leaf.update(line)
    return leaf.digest()


def node_digest(left: bytes, right: bytes) -> bytes:
    """The digest of two neighbouring subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The complete subtrees at the right edge of a tree that grows: all that a root needs.

    Args:
        size: How many leaves there are.
        digests: The digests of their complete subtrees, the largest first.

    Example:
        >>> frontier = Frontier()
        >>> for line in (b"a", b"b", b"c"):
        ...     _ = list(frontier.add(leaf_digest(line)))
        >>> frontier.size, len(frontier.digests), frontier.root().hex()[:8]
        (3, 2, '36642e73')
    """

    def __init__(self, size: int = 0, digests: Iterable[bytes] = ()) -> None:
        self.size = size
        self.digests = list(digests)

    def add(self, leaf: bytes) -> Iterator[bytes]:
        """Take the next leaf, and give each node that became complete, in the order of storage."""
        yield leaf
        number, self.size = self.size, self.size + 1
        while number & 1:
            leaf = node_digest(self.digests.pop(), leaf)
            yield leaf
            number >>= 1
        self.digests.append(leaf)

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Take many leaves at once, which is quicker than one by one."""
        row, size = list(leaves), self.size
        self.size += len(row)
        edge = []
        # A row of one level pairs up to the next; what stays single waits at the edge of its level.
        while row:
            if size & 1:
                row.insert(0, self.digests.pop())
            if len(row) & 1:
                edge.append(row.pop())
            row = list(map(node_digest, row[::2], row[1::2]))
            size >>= 1
        self.digests += reversed(edge)

    def root(self) -> bytes:
        """The root of the tree."""
        if not self.digests:
            return EMPTY_ROOT
        *rest, root = self.digests
        for left in reversed(rest):
            root = node_digest(left, root)
        return root


# ---------------------------------------------------------------- nodes in the order of storage


def nodes_below(size: int) -> int:
    """How many complete nodes a tree of so many leaves has."""
    return 2 * size - size.bit_count()


def node_place(level: int, number: int) -> int:
    """The place in storage of the node that covers ``number << level`` and what follows it."""
    # It is complete with its last leaf; after that leaf, the nodes of lower levels come first.
    return nodes_below(((number + 1) << level) - 1) + level


def subtree_of(node: Callable[[int], bytes]) -> Subtree:
    """Digests of ranges out of a storage that gives the node at a place."""

    def subtree(start: int, stop: int) -> bytes:
        count = stop - start
        if count == 0:
            return EMPTY_ROOT
        level = count.bit_length() - 1
        if count == 1 << level and start % count == 0:
            return node(node_place(level, start >> level))
        middle = start + split(count)
        return node_digest(subtree(start, middle), subtree(middle, stop))

    return subtree


def split(count: int) -> int:
    """The largest power of two below a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)


# ---------------------------------------------------------------- paths


def inclusion_path(index: int, size: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The digests that lead from a leaf to the root of a tree of ``size`` leaves.

    Raises:
        IndexError: The tree has no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + split(stop - start)
        if index < middle:
            path.append(subtree(middle, stop))
            stop = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_path(old: int, new: int, subtree: Subtree) -> tuple[bytes, ...]:
    """The digests that show that a tree of ``new`` leaves begins with one of ``old`` leaves.

    Raises:
        IndexError: The older tree is the larger one.
    """
    if not 0 <= old <= new:
        raise IndexError(old)
    if old in {0, new}:
        return ()
    path: list[bytes] = []
    start, stop, is_known = 0, new, True
    while old != stop:
        middle = start + split(stop - start)
        if old <= middle:
            path.append(subtree(middle, stop))
            stop = middle
        else:
            path.append(subtree(start, middle))
            start, is_known = middle, False
    if not is_known:
        path.append(subtree(start, stop))
    return tuple(reversed(path))


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a path leads from a leaf to a root."""
    if not 0 <= index < size:
        return False
    place, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            digest = node_digest(sibling, digest)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            digest = node_digest(digest, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and digest == root


def is_consistent(
    old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> bool:
    """Whether a path shows that the tree of the new root begins with that of the old one."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    # A complete tree stands in the larger one as it is, so its root is not sent along.
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    was = now = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            was, now = node_digest(sibling, was), node_digest(sibling, now)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            now = node_digest(now, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and was == old_root and now == new_root
