"""The forms of DDL and maintenance that add something and take nothing away.

These may be permitted by a policy: a new table, index, view or column, a comment, fresh statistics.
A form counts only when every part of it is known; a property, a constraint or an option that is
not on a list here makes it a statement that the guard stops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard

from sqlglot import exp

from nbgov.core.statement.names import fold, resolve, same, span_of
from nbgov.core.statement.nodes import REFUSED, check_nodes, parts_of
from nbgov.core.statement.reads import functions, understand_read
from nbgov.core.statement.syntax import read_tree
from nbgov.core.statement.words import Word
from nbgov.errors import Denied, RequestInvalid
from nbgov.model import (
    Action,
    Catalog,
    ColumnName,
    Flow,
    Span,
    Statement,
    Table,
    TableName,
    TableUse,
)

ADDITIVE = "additive"
DEFINES_VIEW = "defines-view"

CREATE_PARTS = {"this", "kind", "exists", "expression", "properties", "unique", "concurrently"}
CREATE_PROPERTIES = (exp.MaterializedProperty, exp.WithDataProperty, exp.StrictProperty)
ALTER_PARTS = {"this", "kind", "exists", "actions", "only"}
DEFINITION_NODES = (
    exp.Create, exp.Schema, exp.ColumnDef, exp.ColumnConstraint, exp.DataType, exp.DataTypeParam,
    exp.PrimaryKeyColumnConstraint, exp.NotNullColumnConstraint, exp.DefaultColumnConstraint,
    exp.UniqueColumnConstraint, exp.CheckColumnConstraint, exp.AutoIncrementColumnConstraint,
    exp.CommentColumnConstraint, exp.CharacterSetColumnConstraint, exp.CollateColumnConstraint,
    exp.PrimaryKey, exp.Constraint, exp.IndexParameters, exp.Index, exp.Ordered, exp.Where,
    exp.Alter, exp.ColumnPosition, exp.Properties, *CREATE_PROPERTIES,
    exp.Table, exp.Identifier, exp.Condition, exp.Func, exp.Var,
)  # fmt: skip
# MySQL's and MariaDB's engines that keep rows in the database, and nowhere else.
PLAIN_ENGINES = {"aria", "innodb"}
NO_DEFINITION = (exp.Query, exp.Placeholder, exp.Dot)
# Words that stand between the verb and the table, by verb. Others make the form unknown.
MAINTENANCE_HEADS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "ANALYZE": ((), ("TABLE",), ("VERBOSE",)),
    "ANALYSE": ((), ("VERBOSE",)),
    "REINDEX": ((), ("TABLE",), ("TABLE", "CONCURRENTLY")),
    "VACUUM": ((), ("ANALYZE",), ("VERBOSE",)),
    "REFRESH": (("MATERIALIZED", "VIEW"), ("MATERIALIZED", "VIEW", "CONCURRENTLY")),
}
MAINTENANCE_TAILS: Mapping[str, tuple[tuple[str, ...], ...]] = {"REFRESH": ((), ("WITH", "DATA"))}


def understand_definition(
    head: Statement, words: Sequence[Word], catalog: Catalog
) -> Statement | None:
    """The statement behind a form that only adds, or ``None`` where it is no such form."""
    if head.verb in MAINTENANCE_HEADS:
        return maintenance(head, words, catalog)
    if head.verb not in {"ALTER", "COMMENT", "CREATE"}:
        return None
    tree = parsed(head)
    if isinstance(tree, exp.Create):
        return creation(head, tree, catalog)
    if isinstance(tree, exp.Alter):
        return new_columns(head, tree, catalog)
    return comment(head, tree, catalog) if isinstance(tree, exp.Comment) else None


def parsed(head: Statement) -> exp.Expr | None:
    """The tree of a definition, if the parser knows it."""
    try:
        return read_tree(head.sql, head.dialect, head.binds)
    except (Denied, RequestInvalid):
        return None


def maintenance(head: Statement, words: Sequence[Word], catalog: Catalog) -> Statement | None:
    """ANALYZE, REINDEX, VACUUM or REFRESH MATERIALIZED VIEW of one named relation."""
    for lead in sorted(MAINTENANCE_HEADS[head.verb], key=len, reverse=True):
        rest = words[1 + len(lead) :]
        if tuple(word.upper for word in words[1 : 1 + len(lead)]) != lead or not rest:
            continue
        is_qualified = len(rest) > 2 and rest[1].text == "."  # noqa: PLR2004  # schema, dot, name
        name, tail = (rest[:3], rest[3:]) if is_qualified else (rest[:1], rest[1:])
        if tuple(word.upper for word in tail) not in MAINTENANCE_TAILS.get(head.verb, ((),)):
            return None
        table, span = named(name, catalog), Span(name[0].span.start, name[-1].span.end)
        return None if table is None else added(head, use_of(table, Action.MAINTAIN, span))
    return None


def named(name: Sequence[Word], catalog: Catalog) -> Table | None:
    """The table that one or three words (schema, dot, name) mean, if there is one."""
    parts = [
        word.text.lower() if word.upper and catalog.dialect == "postgres" else word.text
        for word in (name[0], name[-1])
    ]
    schema = parts[0] if len(name) > 1 else catalog.default_schema
    for table in catalog.tables.values():
        dialect = catalog.dialect
        if same(table.name.name, parts[1], dialect) and same(table.name.schema, schema, dialect):
            return table
    return None


def use_of(
    table: Table, action: Action, span: Span, columns: frozenset[str] = frozenset()
) -> TableUse:
    """The mention of a table that a definition changes."""
    return TableUse(table.name, action, span, has_alias=False, columns=columns)


def added(head: Statement, use: TableUse, *traits: str) -> Statement:
    """The statement behind a form that only adds to one table."""
    return replace(head, tables=(use,), traits=frozenset({ADDITIVE, *traits}))


def is_known(tree: exp.Expr) -> bool:
    """Whether every part of a definition, its query left out, is on a list of this module."""
    query = tree.args.get("expression")
    stack = [tree]
    while stack:
        node = stack.pop()
        if node is query:
            continue
        is_plain = isinstance(node, DEFINITION_NODES)
        if isinstance(node, exp.EngineProperty):
            is_plain = node.name.lower() in PLAIN_ENGINES
        if isinstance(node, (*REFUSED, *NO_DEFINITION)) or not is_plain:
            return False
        stack += node.iter_expressions()
    return True


def creation(head: Statement, tree: exp.Create, catalog: Catalog) -> Statement | None:
    """CREATE TABLE, CREATE VIEW or CREATE INDEX under a name that is new."""
    if parts_of(tree) - CREATE_PARTS or not is_known(tree):
        return None
    kind = str(tree.args.get("kind")).upper()
    if kind == "INDEX":
        return new_index(head, tree.this, catalog)
    shape, query = tree.this, tree.args.get("expression")
    mention = shape.this if isinstance(shape, exp.Schema) else shape
    name = new_name(mention, catalog)
    if kind not in {"TABLE", "VIEW"} or name is None:
        return None
    use = TableUse(name, Action.CREATE, span_of(mention), has_alias=False, columns=frozenset())
    listed = shape.expressions if isinstance(shape, exp.Schema) else []
    if query is None:
        is_table = kind == "TABLE" and any(isinstance(part, exp.ColumnDef) for part in listed)
        return (
            replace(added(head, use), functions=functions(tree, head.sql, catalog))
            if is_table
            else None
        )
    if not isinstance(query, exp.Query) or not all(isinstance(c, exp.Identifier) for c in listed):
        return None
    names = [column.name for column in listed]
    return filled(head, use, query, names, catalog, is_view=kind == "VIEW")


def new_name(mention: exp.Expr, catalog: Catalog) -> TableName | None:
    """The name of a relation that is about to be created; ``None`` when it cannot be new."""
    if not is_plain_name(mention):
        return None
    try:
        resolve(mention, catalog)
    except RequestInvalid:
        schema = mention.args.get("db")
        place = catalog.default_schema if schema is None else fold(schema, catalog.dialect)
        # A schema that holds no table may be one of the engine's own, such as temp.
        known = {catalog.default_schema, *(table.schema for table in catalog.tables)}
        return TableName(place, fold(mention.this, catalog.dialect)) if place in known else None
    return None


def is_plain_name(mention: exp.Expr | None) -> TypeGuard[exp.Table]:
    """Whether a mention is a name with or without a schema, and nothing more."""
    return (
        isinstance(mention, exp.Table)
        and isinstance(mention.this, exp.Identifier)
        and not parts_of(mention) - {"this", "db", "only"}
    )


def filled(
    head: Statement, use: TableUse, query: exp.Query, names: Sequence[str], catalog: Catalog,
    *, is_view: bool,
) -> Statement:  # fmt: skip
    """A new table or view with the rows of a query, whose columns flow into it."""
    check_nodes(query, len(head.binds))
    read = understand_read(head, query, catalog)
    return replace(
        read,
        verb=head.verb,
        effects=head.effects,
        tables=tuple(sorted((use, *read.tables), key=lambda one: one.span)),
        outputs=(),
        flows=tuple(flows_into(use.table, read, names)),
        traits=read.traits | {ADDITIVE} | ({DEFINES_VIEW} if is_view else set()),
    )


def flows_into(table: TableName, read: Statement, names: Sequence[str]) -> Iterator[Flow]:
    """What each column of a new table comes from; unresolved means everything that is read."""
    if not read.is_resolved or not read.outputs:
        every = {ColumnName(use.table, column) for use in read.tables for column in use.columns}
        for name in names or ("*",):
            yield Flow(ColumnName(table, name), frozenset(every))
        return
    for index, output in enumerate(read.outputs):
        name = names[index] if index < len(names) else output.name
        sources = output.sources | {column for column, _ in output.influences}
        yield Flow(ColumnName(table, name), sources)


def new_index(head: Statement, index: exp.Expr, catalog: Catalog) -> Statement | None:
    """CREATE INDEX on a table that there is."""
    mention = index.args.get("table")
    if not isinstance(index, exp.Index) or not is_plain_name(mention):
        return None
    table = resolve(mention, catalog)
    names = {node.name.lower() for node in index.find_all(exp.Column, exp.Identifier)}
    columns = frozenset(c.name for c in table.columns if c.name.lower() in names)
    use = use_of(table, Action.ALTER, span_of(mention), columns)
    return replace(added(head, use), functions=functions(index, head.sql, catalog))


def new_columns(head: Statement, tree: exp.Alter, catalog: Catalog) -> Statement | None:
    """ALTER TABLE ... ADD COLUMN, with a literal for a default at most."""
    actions = tree.args.get("actions") or []
    is_plain = not parts_of(tree) - ALTER_PARTS and tree.args.get("kind") == "TABLE"
    adds = bool(actions) and all(isinstance(action, exp.ColumnDef) for action in actions)
    # A default that is computed rewrites the whole table, and a check reads all of it.
    reads = any(node.find(exp.Func, exp.CheckColumnConstraint) for node in actions)
    if reads or not (is_plain and adds and is_known(tree) and is_plain_name(tree.this)):
        return None
    table = resolve(tree.this, catalog)
    return added(head, use_of(table, Action.ALTER, span_of(tree.this)))


def comment(head: Statement, tree: exp.Comment, catalog: Catalog) -> Statement | None:
    """COMMENT ON a table, a view or a column."""
    kind, subject = str(tree.args.get("kind")).upper(), tree.this
    if kind == "COLUMN" and isinstance(subject, exp.Column) and subject.args.get("table"):
        subject = exp.Table(this=subject.args["table"], db=subject.args.get("db"))
    elif kind not in {"TABLE", "VIEW"}:
        return None
    if not is_plain_name(subject) or not isinstance(tree.expression, exp.Literal):
        return None
    return added(head, use_of(resolve(subject, catalog), Action.ALTER, span_of(subject)))
