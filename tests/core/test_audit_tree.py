"""The Merkle tree over a log: the vectors, another implementation, and every wrong path."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from nbgov.core.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    inclusion_path,
    is_consistent,
    is_included,
    leaf_digest,
    node_place,
    nodes_below,
    subtree_of,
)
from tests.core.test_audit import VECTORS

SIZE_MAX = 40
LEAVES = [leaf_digest(str(number).encode()) for number in range(SIZE_MAX)]
TREE = VECTORS["tree"]
VECTOR_LEAVES = [bytes.fromhex(entry["digest"]) for entry in VECTORS["entries"]]


def stored(leaves):
    """The nodes of a tree, in the order of storage, and its frontier."""
    frontier = Frontier()
    return [node for leaf in leaves for node in frontier.add(leaf)], frontier


def subtree(leaves):
    return subtree_of(stored(leaves)[0].__getitem__)


def root(size):
    return stored(LEAVES[:size])[1].root()


# ---- the specification's vectors, and another implementation


def test_roots_are_those_of_the_vectors():
    """The root at every size is the vector's, taken from storage or from the frontier."""
    for size, expected in enumerate(TREE["roots"]):
        assert stored(VECTOR_LEAVES[:size])[1].root().hex() == expected
        assert subtree(VECTOR_LEAVES)(0, size).hex() == expected


def test_paths_are_those_of_the_vectors():
    """Every inclusion and consistency path is the vector's, and leads to the vector's root."""
    roots = [bytes.fromhex(one) for one in TREE["roots"]]
    for one in TREE["inclusion"]:
        index, size = one["index"], one["size"]
        path = inclusion_path(index, size, subtree(VECTOR_LEAVES))
        assert [digest.hex() for digest in path] == one["path"]
        assert is_included(VECTOR_LEAVES[index], index, size, path, roots[size])
    for one in TREE["consistency"]:
        old, new = one["old"], one["new"]
        path = consistency_path(old, new, subtree(VECTOR_LEAVES))
        assert [digest.hex() for digest in path] == one["path"]
        assert is_consistent(old, new, path, roots[old], roots[new])


def test_roots_are_those_of_another_implementation():
    """pymerkle, which is not ours, has the same root at every size."""
    tree = InmemoryTree(algorithm="sha256")
    for size in range(1, SIZE_MAX):
        tree.append_entry(str(size - 1).encode())
        assert tree.get_root() == root(size)


# ---- storage


def test_every_node_is_where_it_should_be():
    """The place of a node follows from its level and number, and a tree has that many nodes."""
    nodes, frontier = stored(LEAVES)
    assert len(nodes) == nodes_below(SIZE_MAX)
    assert frontier.size == SIZE_MAX
    for level in range(6):
        for number in range(SIZE_MAX >> level):
            start, stop = number << level, (number + 1) << level
            assert nodes[node_place(level, number)] == stored(LEAVES[start:stop])[1].root()


@given(st.lists(st.integers(0, 9), max_size=6))
def test_leaves_come_one_by_one_or_many_at_once(counts):
    """A frontier is the same however its leaves are handed in, and can go on from any size."""
    frontier, start = Frontier(), 0
    for count in counts:
        frontier = Frontier(frontier.size, frontier.digests)
        frontier.extend(LEAVES[start : start + count])
        start = min(start + count, SIZE_MAX)
        one_by_one = stored(LEAVES[:start])[1]
        assert (frontier.size, frontier.digests) == (start, one_by_one.digests)


# ---- paths that are wrong


def test_a_path_proves_one_leaf_at_one_place():
    """No other leaf, index, size, root or path passes."""
    for size in range(1, 20):
        for index in range(size):
            path = inclusion_path(index, size, subtree(LEAVES))
            whole = root(size)
            assert is_included(LEAVES[index], index, size, path, whole)
            assert not is_included(LEAVES[index + 1], index, size, path, whole)
            assert not is_included(LEAVES[index], index, size, (*path, LEAVES[0]), whole)
            assert not is_included(LEAVES[index], index, size, path, root(size + 1))
            assert not is_included(LEAVES[index], size, size, path, whole)
            assert not is_included(LEAVES[index], -1, size, path, whole)
            assert not path or not is_included(LEAVES[index], index, size, path[:-1], whole)


def test_a_path_proves_one_growth():
    """No other pair of sizes or roots, and no changed path, passes."""
    for new in range(1, 20):
        for old in range(1, new):
            path = consistency_path(old, new, subtree(LEAVES))
            assert is_consistent(old, new, path, root(old), root(new))
            assert not is_consistent(old, new, path, root(old + 1), root(new))
            assert not is_consistent(old, new, path, root(old), root(new + 1))
            assert not is_consistent(old, new, path[:-1], root(old), root(new))
            assert not is_consistent(old, new, (*path, LEAVES[0]), root(old), root(new))
            assert not is_consistent(old, new, (LEAVES[5], *path[1:]), root(old), root(new))
            assert not is_consistent(new, old, path, root(new), root(old))


def test_trees_of_one_size_and_the_empty_tree_need_no_path():
    """They are consistent when the roots say so, and never with a path."""
    assert consistency_path(0, 5, subtree(LEAVES)) == consistency_path(5, 5, subtree(LEAVES)) == ()
    assert is_consistent(5, 5, (), root(5), root(5))
    assert not is_consistent(5, 5, (), root(5), root(6))
    assert not is_consistent(5, 5, (LEAVES[0],), root(5), root(5))
    assert is_consistent(0, 5, (), EMPTY_ROOT, root(5))
    assert not is_consistent(0, 5, (), root(1), root(5))
    assert not is_consistent(0, 5, (LEAVES[0],), EMPTY_ROOT, root(5))
    assert not is_consistent(3, 5, (), root(3), root(5))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_path_for_no_leaf(index, size):
    """A leaf that is not in the tree, and a tree that shrinks, have no path."""
    with pytest.raises(IndexError):
        inclusion_path(index, size, subtree(LEAVES))
    with pytest.raises(IndexError):
        consistency_path(size + 1, size, subtree(LEAVES))
