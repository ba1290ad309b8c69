"""The writes of a statement, by their form: target, actions, assigned columns, and which rows.

This does not follow columns, so that it holds where resolution gives up: a write is found wherever
it stands, and one that stands elsewhere than at the top or in a ``WITH`` is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from nbgov.core.statement.names import is_common_table, not_understood, resolve
from nbgov.core.statement.nodes import parts_of
from nbgov.core.statement.rows import TargetRow
from nbgov.core.statement.where import covers_every_row
from nbgov.errors import RequestInvalid
from nbgov.model import Action, Catalog, ColumnName, Table

WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
# Nodes that a write holds and a query does not.
WRITE_NODES = (*WRITES, exp.OnConflict, exp.Whens, exp.When)
PARTS: Mapping[type[exp.Expr], set[str]] = {
    exp.Insert: {
        "with_", "this", "expression", "returning", "conflict", "alternative", "ignore", "by_name",
        "default",
    },
    exp.Update: {
        "with_", "this", "expressions", "from_", "where", "returning", "order", "limit",
    },
    exp.Delete: {"with_", "this", "using", "where", "returning", "order", "limit"},
    exp.Merge: {"with_", "this", "using", "on", "whens", "returning"},
    exp.OnConflict: {
        "duplicate", "expressions", "action", "conflict_keys", "where", "constraint",
        "index_predicate",
    },
    exp.When: {"matched", "source", "condition", "then"},
}  # fmt: skip
TARGET_PARTS = {"this", "db", "alias", "only"}
ALTERNATIVES = {"REPLACE", "IGNORE", "ABORT", "FAIL"}
DO_NOTHING = {"DO NOTHING", "NOTHING"}
NO_WHERE = "no-where"
ALWAYS_TRUE_WHERE = "always-true-where"
MERGE_DELETES = "merge-deletes"


@dataclass(frozen=True, slots=True)
class Change:
    """One write.

    Attributes:
        node: The write.
        mention: The mention of its target.
        table: The target.
        actions: What it does to the target.
        assigned: The columns that it assigns; all of them where it does not say.
        traits: What the guard looks at.
    """

    node: exp.Expr
    mention: exp.Table
    table: Table
    actions: tuple[Action, ...]
    assigned: tuple[ColumnName, ...]
    traits: frozenset[str]


def is_write(tree: exp.Expr) -> bool:
    """Whether a tree writes, at its top or inside."""
    return tree.find(*WRITES) is not None


def changes(tree: exp.Expr, catalog: Catalog) -> tuple[Change, ...]:
    """Every write of a statement.

    Raises:
        Denied: A write has a part that is not known, or stands where no write may.
        RequestInvalid: It names a table or a column that is absent.
    """
    found = [node for node in tree.find_all(*WRITES) if not isinstance(node.parent, exp.When)]
    return tuple(change(node, tree, catalog) for node in found)


def change(node: exp.Expr, tree: exp.Expr, catalog: Catalog) -> Change:
    """One write, whose parts are all known."""
    if node is not tree and not isinstance(node.parent, exp.CTE):
        raise not_understood("it writes inside an expression", "put the write into WITH")
    for part in (node, *node.find_all(exp.OnConflict, exp.When)):
        extra = parts_of(part) - PARTS[type(part)]
        if extra:
            raise not_understood(f"{part.key.upper()} with {min(extra)} is not supported")
    mention = target_of(node)
    if is_common_table(mention, catalog.dialect):
        raise not_understood("its target has the name of a common table expression", "rename that")
    table = resolve(mention, catalog)
    row = TargetRow(table, mention.alias_or_name, catalog)
    actions, traits = reader_of(node)(node, row)
    assigned = tuple(dict.fromkeys(assigned_columns(node, row)))
    return Change(node, mention, table, actions, assigned, frozenset(traits))


def target_of(node: exp.Expr) -> exp.Table:
    """The mention of the table that a write changes."""
    target = node.this.this if isinstance(node.this, exp.Schema) else node.this
    if not isinstance(target, exp.Table) or not isinstance(target.this, exp.Identifier):
        raise not_understood("its target is not a plain table")
    if parts_of(target) - TARGET_PARTS:
        raise not_understood("it writes to more than one table, or to part of one")
    return target


Told = tuple[tuple[Action, ...], set[str]]


def read_insert(node: exp.Expr, _row: TargetRow) -> Told:
    """INSERT, which may also change or replace the rows that are in its way."""
    conflict, alternative = node.args.get("conflict"), node.args.get("alternative")
    if alternative and str(alternative).upper() not in ALTERNATIVES:
        raise not_understood(f"INSERT OR {alternative} is not supported")
    if str(alternative).upper() == "REPLACE":
        return (Action.INSERT, Action.DELETE), set()
    if conflict is None or conflict.text("action").upper() in DO_NOTHING:
        return (Action.INSERT,), set()
    if not conflict.expressions:
        raise not_understood("its ON CONFLICT does what is not known")
    return (Action.INSERT, Action.UPDATE), set()


def read_update(node: exp.Expr, row: TargetRow) -> Told:
    """UPDATE."""
    if not node.expressions:
        raise not_understood("an UPDATE without SET is not supported")
    return (Action.UPDATE,), reach(node.args.get("where"), row)


def read_delete(node: exp.Expr, row: TargetRow) -> Told:
    """DELETE."""
    return (Action.DELETE,), reach(node.args.get("where"), row)


def reach(where: exp.Expr | None, row: TargetRow) -> set[str]:
    """Whether a write reaches every row: it has no WHERE, or one that picks nothing."""
    if where is None:
        return {NO_WHERE}
    condition = where.this if isinstance(where, exp.Where) else where
    return {ALWAYS_TRUE_WHERE} if covers_every_row(condition, row) else set()


def read_merge(node: exp.Expr, row: TargetRow) -> Told:
    """MERGE: one action for each kind of branch."""
    actions: dict[Action, None] = {}
    traits: set[str] = set()
    for when in node.args["whens"].expressions:
        then = when.args["then"]
        if isinstance(then, exp.Insert) and isinstance(then.args.get("expression"), exp.Tuple):
            actions[Action.INSERT] = None
            continue
        word = then.name.upper() if isinstance(then, exp.Var) else ""
        if isinstance(then, exp.Update) and then.expressions:
            actions[Action.UPDATE] = None
        elif word == "DELETE":
            actions[Action.DELETE] = None
            traits.add(MERGE_DELETES)
        elif word in DO_NOTHING:
            continue
        else:
            raise not_understood("a branch of MERGE does what is not known")
        if when.args.get("matched"):
            traits |= reach(node.args["on"], row)
        else:
            traits |= reach(when.args.get("condition"), row)
    return tuple(actions), traits


def reader_of(node: exp.Expr) -> Callable[[exp.Expr, TargetRow], Told]:
    """How to read a kind of write."""
    if isinstance(node, exp.Insert):
        return read_insert
    if isinstance(node, exp.Update):
        return read_update
    return read_delete if isinstance(node, exp.Delete) else read_merge


def assigned_columns(node: exp.Expr, row: TargetRow) -> Iterator[ColumnName]:
    """The columns that a write assigns, in the order of its text.

    Raises:
        Denied: It assigns to a part of a column.
    """
    if isinstance(node, exp.Insert):
        yield from inserted_columns(node, row.table)
    for then in branches(node):
        if isinstance(then, exp.Insert):
            yield from inserted_columns(then, row.table)
    for column, _ in assignments(set_clauses(node)):
        # Security: a.b may also be the field b of the column a.
        if column.text("table").lower() not in {"", row.name.lower(), row.table.name.name.lower()}:
            raise not_understood("it assigns to something other than a column")
        yield column_of(column, row.table)


def set_clauses(node: exp.Expr) -> list[exp.Expr]:
    """What a write assigns to columns of rows that there are already."""
    if isinstance(node, exp.Update):
        return list(node.expressions)
    conflict = node.args.get("conflict")
    if conflict is not None:
        return list(conflict.expressions)
    updates = [then for then in branches(node) if isinstance(then, exp.Update)]
    return [pair for then in updates for pair in then.expressions]


def branches(node: exp.Expr) -> list[exp.Expr]:
    """What the branches of a MERGE do."""
    whens = node.args.get("whens")
    return [when.args["then"] for when in whens.expressions] if whens is not None else []


def inserted_columns(node: exp.Expr, table: Table) -> list[ColumnName]:
    """The columns that an INSERT fills: those that it lists, or all, in order."""
    shape = node.this
    named = shape.expressions if isinstance(shape, (exp.Schema, exp.Tuple)) else []
    if named:
        return [column_of(column, table) for column in named]
    return [ColumnName(table.name, column.name) for column in table.columns]


def assignments(pairs: Sequence[exp.Expr]) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    """The columns that SET assigns, each with the expression for its value.

    Raises:
        Denied: It assigns to something other than a column.
    """
    for pair in pairs:
        if not isinstance(pair, exp.EQ):
            raise not_understood("it assigns to something other than a column")
        left, right = pair.this.unnest(), pair.expression
        if isinstance(left, exp.Column):
            yield left, right
            continue
        if not isinstance(left, exp.Tuple) or not all(
            isinstance(column, exp.Column) for column in left.expressions
        ):
            raise not_understood("it assigns to something other than a column")
        values = right.expressions if isinstance(right, exp.Tuple) else [right]
        if len(values) != len(left.expressions):
            # A row of a query: any of its columns may be the value of any of these.
            values = [right] * len(left.expressions)
        yield from zip(left.expressions, values, strict=True)


def column_of(node: exp.Expr, table: Table) -> ColumnName:
    """The column of a table that an assignment names."""
    for column in table.columns:
        if column.name.lower() == node.name.lower():
            return ColumnName(table.name, column.name)
    raise RequestInvalid(
        f"There is no column {node.name!r} in {table.name}.",
        code="unknown-column",
        next_step="list the columns: nbgov catalog",
    )
