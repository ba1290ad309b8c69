"""What differs between two queries, clause by clause, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from nbgov.core.drift.trees import Piece, Tree, conjuncts

SHOWN_CHARS_MAX = 80
# Clauses that are compared as one piece each; the order of rows is a matter of spelling unless a
# limit cuts it.
CLAUSES = ("distinct", "group", "windows", "limit", "offset", "sample", "laterals", "pivots")
# What is compared in another way than as one piece, or by the query that holds it.
APART = frozenset(
    {"with_", "this", "expression", "expressions", "from_", "joins", "where", "having", "qualify",
     "order"}
)  # fmt: skip
CONDITIONS = {"where": "WHERE", "having": "HAVING", "qualify": "QUALIFY"}
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of two queries.

    Attributes:
        sentence: In plain English.
        columns: The result columns that it can change; ``None`` for all, and the rows.
        is_spelling: Whether both mean the same.
    """

    sentence: str
    columns: frozenset[str] | None = None
    is_spelling: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """Two queries, each with the tree that it is of.

    Attributes:
        trees, queries: Baseline and current.
        within: What a sentence starts with inside of another query; empty for the outermost one.
    """

    trees: tuple[Tree, Tree]
    queries: tuple[exp.Expr, exp.Expr]
    within: str = ""

    def inner(self, queries: tuple[exp.Expr, exp.Expr], name: str) -> Sides:
        """Two queries inside of these."""
        return Sides(self.trees, queries, f"{self.within}in `{name}`: ")

    def says(self, sentence: str, columns: frozenset[str] | None = None) -> Difference:
        """A difference; what is inside of another query may change anything."""
        return Difference(f"{self.within}{sentence}", None if self.within else columns)

    def pieces(self, name: str) -> tuple[Piece, Piece]:
        """A clause of both queries as one piece each."""
        left, right = (
            piece_of(tree, query.args.get(name))
            for tree, query in zip(self.trees, self.queries, strict=True)
        )
        return left, right


def piece_of(tree: Tree, clause: object) -> Piece:
    """A clause, or a list of them, as one piece."""
    nodes = clause if isinstance(clause, list) else [clause] if clause else []
    pieces = [
        tree.piece(node) if isinstance(node, exp.Expr) else Piece(str(node), ()) for node in nodes
    ]
    return Piece(
        " ".join(piece.text for piece in pieces),
        tuple(value for piece in pieces for value in piece.values),
    )


def query_differences(sides: Sides) -> Iterator[Difference]:
    """What differs between two queries and the queries inside of them."""
    sides = Sides(sides.trees, (bare(sides.queries[0]), bare(sides.queries[1])), sides.within)
    left, right = sides.queries
    yield from named_queries(sides)
    if isinstance(left, exp.SetOperation) and type(left) is type(right):
        yield from combined(sides)
    elif isinstance(left, exp.Select) and isinstance(right, exp.Select):
        yield from source_differences(sides)
        for name, word in CONDITIONS.items():
            yield from condition_differences(sides, name, word)
        yield from projection_differences(sides)
        yield from clause_differences(sides)
    else:
        pieces = [tree.piece(query) for tree, query in zip(sides.trees, sides.queries, strict=True)]
        if pieces[0] != pieces[1]:
            yield sides.says("the query is built otherwise")


def bare(query: exp.Expr) -> exp.Expr:
    """A query without the brackets around it."""
    while isinstance(query, (exp.Subquery, exp.Paren)) and query.this is not None:
        query = query.this
    return query


def combined(sides: Sides) -> Iterator[Difference]:
    """Two set operations of one kind."""
    left, right = sides.queries
    word = type(left).__name__.upper()
    if bool(left.args.get("distinct")) != bool(right.args.get("distinct")):
        yield sides.says(f"{word} keeps or drops doubles otherwise")
    for name in ("this", "expression"):
        place = "first" if name == "this" else "second"
        inner = left.args[name], right.args[name]
        yield from query_differences(sides.inner(inner, f"{place} part of the {word}"))
    yield from clause_differences(sides, CLAUSES[1:])


def named_queries(sides: Sides) -> Iterator[Difference]:
    """Common table expressions, by name."""
    before, after = (
        {one.alias_or_name: one.this for one in getattr(query, "ctes", ())}
        for query in sides.queries
    )
    for name in before.keys() - after.keys():
        yield sides.says(f"the query `{name}` is gone")
    for name in after.keys() - before.keys():
        yield sides.says(f"the query `{name}` was added")
    for name in sorted(before.keys() & after.keys()):
        yield from query_differences(sides.inner((before[name], after[name]), name))


# ---------------------------------------------------------------- FROM and JOIN


def source_differences(sides: Sides) -> Iterator[Difference]:
    """What the query reads from."""
    before, after = (
        sources(tree, query) for tree, query in zip(sides.trees, sides.queries, strict=True)
    )
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    if len(gone) == len(new) == 1 and before[gone[0]].word == after[new[0]].word:
        word = before[gone[0]].word
        yield sides.says(f"{word} `{cut(gone[0])}` is now `{cut(new[0])}`")
    else:
        yield from (sides.says(f"{before[name].word} `{cut(name)}` is gone") for name in gone)
        yield from (sides.says(f"{after[name].word} `{cut(name)}` was added") for name in new)
    for name in after:
        if name in before:
            yield from same_source(sides, name, before[name], after[name])


@dataclass(frozen=True, slots=True)
class Source:
    """A table or query that a query reads from, and how it is joined."""

    node: exp.Expr
    word: str
    conditions: tuple[Piece, ...] = ()


def sources(tree: Tree, query: exp.Expr) -> dict[str, Source]:
    """What a query reads from, by name."""
    found = {}
    from_ = query.args.get("from_")
    if from_ is not None:
        found[source_name(tree, from_.this)] = Source(from_.this, "FROM")
    for join in query.args.get("joins") or ():
        words = (join.method, join.side, join.kind, "JOIN")
        shared = [
            Piece(f"USING {tree.piece(one).text}", ()) for one in join.args.get("using") or ()
        ]
        conditions = [piece for piece, _ in conjuncts(tree, join.args.get("on"))]
        word = " ".join(filter(None, words)).replace("INNER JOIN", "JOIN")
        found[source_name(tree, join.this)] = Source(
            join.this, word.replace("OUTER ", ""), (*shared, *conditions)
        )
    return found


def source_name(tree: Tree, node: exp.Expr) -> str:
    """What a source is told apart by."""
    if isinstance(node, exp.Table):
        return tree.piece(node).text
    return node.alias_or_name or tree.piece(node).text


def same_source(sides: Sides, name: str, before: Source, after: Source) -> Iterator[Difference]:
    """A source that both queries read from."""
    if before.word != after.word and "FROM" not in {before.word, after.word}:
        yield sides.says(f"{before.word} `{cut(name)}` is now {after.word}")
    if "FROM" not in {before.word, after.word}:
        lists = before.conditions, after.conditions
        yield from piece_differences(sides, f"{after.word} `{cut(name)}`", *lists)
    nodes = before.node, after.node
    if all(isinstance(node, exp.Subquery) for node in nodes):
        yield from query_differences(sides.inner(nodes, name))
    else:
        pieces = [tree.piece(node) for tree, node in zip(sides.trees, nodes, strict=True)]
        if pieces[0] != pieces[1]:
            yield from other_values(sides, f"in `{cut(name)}`", *pieces)


# ---------------------------------------------------------------- conditions


def condition_differences(sides: Sides, name: str, word: str) -> Iterator[Difference]:
    """Conditions of a clause, in whatever order they stand."""
    lists = []
    for tree, query in zip(sides.trees, sides.queries, strict=True):
        clause = query.args.get(name)
        lists.append([piece for piece, _ in conjuncts(tree, clause.this if clause else None)])
    yield from piece_differences(sides, word, *lists)


def piece_differences(
    sides: Sides, word: str, before: Sequence[Piece], after: Sequence[Piece]
) -> Iterator[Difference]:
    """Conditions that were added, removed, put otherwise, or compare with another value."""
    left, right = Counter(map(ordered, before)), Counter(map(ordered, after))
    gone, new = (
        sorted((left - right).elements(), key=key),
        sorted((right - left).elements(), key=key),
    )
    for one in tuple(gone):
        match = next((other for other in new if other.text == one.text), None)
        if match is not None:
            gone.remove(one)
            new.remove(match)
            yield from other_values(sides, f"`{cut(one.text)}`", one, match)
    for one in tuple(gone):
        match = next((other for other in new if subject(other) == subject(one)), None)
        if match is not None:
            gone.remove(one)
            new.remove(match)
            yield sides.says(f"{word}: condition `{cut(one.text)}` is now `{cut(match.text)}`")
    yield from (sides.says(f"{word}: condition `{cut(one.text)}` is gone") for one in gone)
    yield from (sides.says(f"{word}: condition `{cut(one.text)}` was added") for one in new)


def ordered(piece: Piece) -> Piece:
    """A condition with the values of a list in one order, for ``IN`` has none."""
    is_list = " IN (" in piece.text and set(piece.text.partition(" IN (")[2]) <= set("?, )")
    return Piece(piece.text, tuple(sorted(piece.values)), piece.binds) if is_list else piece


def key(piece: Piece) -> tuple[str, tuple[str, ...]]:
    """An order of pieces."""
    return piece.text, piece.values


def subject(piece: Piece) -> str:
    """What a condition is about: the first name in it."""
    return piece.text.removeprefix("NOT ").split(" ", 1)[0]


def other_values(sides: Sides, where: str, before: Piece, after: Piece) -> Iterator[Difference]:
    """One text whose literals differ, as far as that is known."""
    changed = sum(old != new for old, new in zip(before.values, after.values, strict=True))
    if len(after.values) == 1:
        yield sides.says(f"the value in {where} is another")
    else:
        yield sides.says(f"{changed} of {len(after.values)} values in {where} are others")


# ---------------------------------------------------------------- columns and other clauses


def projection_differences(sides: Sides) -> Iterator[Difference]:
    """Columns of the result: added, gone, made otherwise, moved."""
    before, after = (
        projections(tree, query) for tree, query in zip(sides.trees, sides.queries, strict=True)
    )
    for name in before:
        if name not in after:
            yield sides.says(f"column `{cut(name)}` is gone", reach_of(name, before, after))
    for name in after:
        if name not in before:
            yield sides.says(
                f"column `{cut(name)}` was added{made_of(name, after[name])}",
                reach_of(name, before, after),
            )
        elif before[name] != after[name]:
            yield changed_column(sides, name, before[name], after[name])
    shared = [name for name in after if name in before]
    if shared != [name for name in before if name in after]:
        yield Difference(f"{sides.within}columns stand in another order", NOTHING, is_spelling=True)


def projections(tree: Tree, query: exp.Expr) -> dict[str, Piece]:
    """What the columns of a query are made of, by name; a star goes by its text."""
    found: dict[str, Piece] = {}
    for place, node in enumerate(query.expressions):
        piece = tree.piece(node.unalias())
        name = piece.text if node.is_star else node.output_name or piece.text
        found[name if name not in found else f"{name} ({place + 1})"] = piece
    return found


def reach_of(
    name: str, before: Mapping[str, Piece], after: Mapping[str, Piece]
) -> frozenset[str] | None:
    """The columns that one of a list touches: itself, but a star may be any."""
    is_any = "*" in name or any("*" in one for one in (*before, *after) if one != name)
    return None if is_any else frozenset({name})


def made_of(name: str, piece: Piece) -> str:
    """What a column is made of, unless its name says it."""
    is_told = name in {piece.text, piece.text.rpartition(".")[2]}
    return "" if is_told else f" as `{cut(piece.text)}`"


def changed_column(sides: Sides, name: str, before: Piece, after: Piece) -> Difference:
    """A column that is made otherwise."""
    columns = frozenset({name})
    if before.text == after.text:
        what = "values" if len(after.values) > 1 else "the value"
        is_are = "are others" if len(after.values) > 1 else "is another"
        return sides.says(
            f"{what} in column `{cut(name)}` as `{cut(after.text)}` {is_are}", columns
        )
    return sides.says(
        f"column `{cut(name)}` is now `{cut(after.text)}` instead of `{cut(before.text)}`", columns
    )


def clause_differences(sides: Sides, names: Sequence[str] = CLAUSES) -> Iterator[Difference]:
    """The clauses that are compared as one piece each."""
    for name in names:
        before, after = sides.pieces(name)
        if before == after:
            continue
        if before.text == after.text:
            yield sides.says(f"the value in `{cut(after.text)}` is another")
        elif not before.text or not after.text:
            what = "was added" if after.text else "is gone"
            yield sides.says(f"`{cut(after.text or before.text)}` {what}")
        else:
            yield sides.says(f"`{cut(before.text)}` is now `{cut(after.text)}`")
    if not has_same_rest(sides):
        yield sides.says("the query is built otherwise")
    before, after = sides.pieces("order")
    if before != after:
        is_cut = any(query.args.get("limit") for query in sides.queries)
        sentence = f"`{cut(before.text) or 'no order'}` is now `{cut(after.text) or 'no order'}`"
        if is_cut:
            yield sides.says(sentence)
        else:
            yield Difference(
                f"{sides.within}rows stand in another order", NOTHING, is_spelling=True
            )


def has_same_rest(sides: Sides) -> bool:
    """Whether all that no other rule looks at is the same."""
    names = {name for query in sides.queries for name, part in query.args.items() if part}
    rest = names - APART - {*CLAUSES}
    return all(sides.pieces(name)[0] == sides.pieces(name)[1] for name in rest)


def cut(text: str) -> str:
    """A text that fits in a sentence."""
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[: SHOWN_CHARS_MAX - 3]}..."
