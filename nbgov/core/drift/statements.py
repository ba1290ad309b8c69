"""What differs between two statements: in their trees, not in their text.

Statements are compared as they are kept: without literals, which are known by a keyed digest each.
So a sentence can say which value is another, and never what it is. A statement that cannot be
parsed without its literals is compared as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from nbgov.core.drift.selects import Difference, Sides, query_differences
from nbgov.core.drift.trees import StatementText, Tree, drop_clear_owners, read_tree

DIFFERS = "the statement differs"
LITERALS_DIFFER = "the statement differs in its literals or spelling"
SPELLING_DIFFERS = "only the spelling of the statement differs"


@dataclass(frozen=True, slots=True)
class StatementDifference:
    """What differs.

    Attributes:
        sentences: In plain English.
        columns: The result columns that it can change; ``None`` for all, and the rows.
        is_spelling: Whether both ask for the same.
    """

    sentences: tuple[str, ...]
    columns: frozenset[str] | None = None
    is_spelling: bool = False


def statement_difference(left: StatementText, right: StatementText) -> StatementDifference | None:
    """What differs between two statements, or ``None`` if their texts are the same."""
    if (left.redacted, left.mac) == (right.redacted, right.mac):
        return None
    trees = read_tree(left), read_tree(right)
    if trees[0] is None or trees[1] is None or left.dialect != right.dialect:
        return by_text(left, right)
    drop_clear_owners((trees[0], trees[1]))
    return by_tree(trees[0], trees[1])


def by_tree(left: Tree, right: Tree) -> StatementDifference:
    """What is known of two statements that parse."""
    found = list(query_differences(Sides((left, right), (left.root, right.root))))
    felt = [one for one in found if not one.is_spelling]
    if felt:
        sentences = tuple(dict.fromkeys(one.sentence for one in felt))
        return StatementDifference(sentences, reach(felt))
    if not (left.knows_literals and right.knows_literals):
        return StatementDifference((LITERALS_DIFFER,))
    sentences = tuple(dict.fromkeys(one.sentence for one in found)) or (SPELLING_DIFFERS,)
    return StatementDifference(sentences, frozenset(), is_spelling=True)


def by_text(left: StatementText, right: StatementText) -> StatementDifference:
    """What is known of two statements without their trees."""
    if left.redacted != right.redacted:
        return StatementDifference((DIFFERS,))
    if "?" not in left.redacted or (left.literals and left.literals == right.literals):
        return StatementDifference((SPELLING_DIFFERS,), frozenset(), is_spelling=True)
    return StatementDifference((LITERALS_DIFFER,))


def reach(found: Sequence[Difference]) -> frozenset[str] | None:
    """The columns that some differences can change together."""
    columns: set[str] = set()
    for one in found:
        if one.columns is None:
            return None
        columns |= one.columns
    return frozenset(columns)


def bound_columns(text: StatementText) -> frozenset[str] | None:
    """The result columns whose expressions hold all the bound values; ``None`` if others do."""
    tree = read_tree(text)
    if tree is None or not isinstance(tree.root, exp.Select):
        return None
    held = {node.output_name: tree.piece(node).binds for node in tree.root.expressions}
    columns = frozenset(name for name, binds in held.items() if binds)
    is_all = sum(map(len, held.values())) == len(tree.piece(tree.root).binds)
    return columns if columns and is_all else None
