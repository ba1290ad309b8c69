"""One SQL statement, understood: what it does, to which tables, reading which columns.

The parser is sqlglot; what it does not know for certain is denied, never guessed. A statement that
nbgov will not run for anybody (``DROP TABLE``) still parses into a :class:`~nbgov.model.Statement`,
so that the guard can say why. The text is never regenerated from the tree: positions in the user's
own text travel on to :mod:`nbgov.core.rewrite`. Golden cases are in ``tests/cases/statement``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.simplify import simplify
from sqlglot.tokenizer_core import Token, TokenType

from nbgov.core.statement.lineage import Sources, Unresolved, trace
from nbgov.core.statement.names import (
    base_tables,
    check_columns,
    not_understood,
    qualifier_spans,
    resolve,
    span_of,
)
from nbgov.core.statement.text import (
    bind_names,
    blank,
    find_binds,
    neutralise,
    redact,
    splice,
    take_values,
    tokenize,
)
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, ColumnName, Effect, OutputColumn, Span, Statement, Table, TableUse

__all__ = [
    "bind_names",
    "find_binds",
    "neutralise",
    "parse",
    "redact",
    "splice",
    "take_values",
    "tokenize",
]

DDL_VERBS = {"ALTER", "COMMENT", "CREATE", "DROP", "RENAME", "TRUNCATE"}
PARSED_VERBS = {"SELECT", "WITH", "FROM", "(", "INSERT", "UPDATE", "DELETE"}
# Security: nodes outside this list are denied, so that a new kind of node in a later sqlglot cannot
# carry an effect that nobody has looked at.
UNDERSTOOD = (
    exp.Query, exp.Condition, exp.Func, exp.Identifier, exp.Alias, exp.From, exp.Join, exp.Where,
    exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.With,
    exp.CTE, exp.Table, exp.TableAlias, exp.Distinct, exp.Qualify, exp.Window, exp.WindowSpec,
    exp.DataType, exp.DataTypeParam, exp.Lambda, exp.Tuple, exp.Star, exp.Values, exp.Unnest,
    exp.Interval, exp.Var, exp.Paren, exp.Filter, exp.WithinGroup, exp.Rollup, exp.Cube,
    exp.GroupingSets, exp.Schema, exp.Returning, exp.Slice, exp.PropertyEQ, exp.Lateral,
    exp.Aliases, exp.JSONPath, exp.JSONPathPart,
)  # fmt: skip
REFUSED = (
    exp.Parameter, exp.SessionParameter, exp.Operator, exp.Pivot, exp.Into, exp.Lock,
    exp.TableSample, exp.MatchRecognize, exp.Command,
)  # fmt: skip
TABLE_PARTS = {"this", "db", "catalog", "alias", "joins", "laterals"}
WRITE_PARTS: Mapping[type[exp.Expr], set[str]] = {
    exp.Insert: {"this", "expression", "returning"},
    exp.Update: {"this", "expressions", "where", "returning"},
    exp.Delete: {"this", "where", "returning"},
}
WRITE_EFFECTS: Mapping[type[exp.Expr], Effect] = {
    exp.Insert: Effect.INSERT,
    exp.Update: Effect.UPDATE,
    exp.Delete: Effect.DELETE,
}


def parse(sql: str, catalog: Catalog) -> Statement:
    """Understand one statement.

    Args:
        sql: The user's text.
        catalog: What the connection holds; names resolve against it.

    Returns:
        The statement. Where columns cannot be resolved for certain, every column of every table
        that is named counts as read, and ``outputs`` is empty.

    Raises:
        RequestInvalid: The text is no single statement, does not parse, or names a table or column
            that is absent.
        Denied: The statement's meaning is not certain (code ``not-understood``).

    Example:
        >>> from nbgov.model import Column, TableName
        >>> t = Table(TableName("main", "t"), (Column("a", "int"), Column("b", "text")))
        >>> s = parse("SELECT a FROM t WHERE b = :x", Catalog("duckdb", "main", {t.name: t}))
        >>> s.verb, [o.name for o in s.outputs], sorted(s.tables[0].columns)
        ('SELECT', ['a'], ['a', 'b'])
    """
    dialect = catalog.dialect
    tokens = single(tokenize(sql, dialect))
    head = Statement(
        sql=sql,
        dialect=dialect,
        verb=tokens[0].text.upper(),
        effect=Effect.UNKNOWN,
        binds=find_binds(sql, dialect),
        redacted=redact(sql, dialect),
    )
    if head.verb not in PARSED_VERBS:
        effect = Effect.DDL if head.verb in DDL_VERBS else Effect.UNKNOWN
        return replace(head, effect=effect, tables=named_tables(tokens, effect, catalog))
    tree = read_tree(blank(sql, head.binds), dialect)
    if isinstance(tree, (exp.Insert, exp.Update, exp.Delete)):
        check_nodes(tree, len(head.binds), root=tree)
        return understand_write(head, tree, catalog)
    check_nodes(tree, len(head.binds))
    return understand_read(replace(head, verb="SELECT"), tree, catalog)


def single(tokens: list[Token]) -> list[Token]:
    """The tokens of the one statement that a text may hold, semicolons left out.

    Raises:
        RequestInvalid: The text holds more than one statement.
    """
    groups, is_open = 0, False
    for token in tokens:
        starts = token.token_type is not TokenType.SEMICOLON
        groups += starts and not is_open
        is_open = starts
    if groups != 1:
        raise RequestInvalid(
            f"The request holds {groups} statements.",
            code="not-one-statement",
            why="each statement is decided, recorded and approved by itself",
            next_step="run them one at a time",
        )
    return [token for token in tokens if token.token_type is not TokenType.SEMICOLON]


def read_tree(sql: str, dialect: str) -> exp.Expr:
    """The syntax tree of a text that holds one statement."""
    try:
        trees = [t for t in sqlglot.parse(sql, read=dialect) if t is not None]
    except (SqlglotError, RecursionError) as error:
        raise syntax_error(error) from None
    statements = [t for t in trees if not isinstance(t, exp.Semicolon)]
    if len(statements) != 1:
        raise not_understood("the parser does not see exactly one statement")
    return statements[0]


def syntax_error(error: Exception) -> RequestInvalid:
    """The error of a text that does not parse, with its position but without its words."""
    where = ""
    if isinstance(error, ParseError) and error.errors and error.errors[0].get("line"):
        first = error.errors[0]
        where = f" near line {first['line']}, column {first['col']}"
    return RequestInvalid(
        f"The statement does not parse{where}.",
        code="syntax",
        next_step="correct the SQL there and run it again",
    )


def check_nodes(tree: exp.Expr, binds: int, *, root: exp.Expr | None = None) -> None:
    """Deny a tree that holds any node whose effect is not known.

    Raises:
        Denied: With the kind of the first such node.
    """
    placeholders = 0
    for node in tree.walk():
        if node is root:
            continue
        if isinstance(node, exp.Placeholder):
            placeholders += 1
        if isinstance(node, REFUSED) or not isinstance(node, UNDERSTOOD):
            raise not_understood(f"it uses {type(node).__name__.lower()}, which is not supported")
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
            # Security: a function in a schema is a user's own, whatever built-in it is named after.
            raise not_understood("it calls a function of a schema", "call a built-in function")
        if isinstance(node, exp.Table) and parts_of(node) - TABLE_PARTS:
            extra = ", ".join(sorted(parts_of(node) - TABLE_PARTS))
            raise not_understood(f"a table is read with {extra}, which is not supported")
    if placeholders != binds:
        raise not_understood("it has a parameter that is not a :name", "write parameters as :name")


def parts_of(node: exp.Expr) -> set[str]:
    """The arguments of a node that are set."""
    return {key for key, value in node.args.items() if value}


def understand_read(head: Statement, tree: exp.Expr, catalog: Catalog) -> Statement:
    """The statement behind a query."""
    mentions = [(mention, resolve(mention, catalog)) for mention in base_tables(tree)]
    refuse_ambiguous_recursion(tree, catalog)
    outputs, predicates, everything = trace_or_all(tree, [t for _, t in mentions], catalog)
    return replace(
        head,
        effect=Effect.READ,
        tables=uses(mentions, Effect.READ, everything),
        outputs=outputs,
        predicate_columns=predicates,
        functions=functions(tree),
        qualifiers=qualifier_spans(tree),
    )


def understand_write(head: Statement, tree: exp.Expr, catalog: Catalog) -> Statement:
    """The statement behind an INSERT, UPDATE or DELETE of one table."""
    extra = parts_of(tree) - WRITE_PARTS[type(tree)]
    if extra:
        raise not_understood(f"{head.verb} with {', '.join(sorted(extra))} is not supported")
    effect = WRITE_EFFECTS[type(tree)]
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(target, exp.Table):
        raise not_understood("its target is not a plain table")
    table = resolve(target, catalog)
    mentions = [(m, resolve(m, catalog)) for m in base_tables(tree) if m is not target]
    returning = tree.args.get("returning")
    returned = list(returning.expressions) if returning is not None else []
    sources, written = write_parts(tree, table)
    everyone = [table, *(t for _, t in mentions)]
    query = select_from(target, [*sources, *returned], tree.args.get("where"))
    outputs, predicates, everything = trace_or_all(query, everyone, catalog)
    if isinstance(tree.args.get("expression"), exp.Query):
        _, more, read = trace_or_all(tree.expression, everyone, catalog)
        predicates, everything = predicates | more, everything | read
    target_use = uses([(target, table)], effect, everything)
    return replace(
        head,
        effect=effect,
        tables=tuple(sorted((*target_use, *uses(mentions, Effect.READ, everything)), key=at)),
        outputs=outputs[len(sources) :] if returned else (),
        predicate_columns=predicates,
        written_columns=frozenset(written),
        functions=functions(tree),
        qualifiers=qualifier_spans(tree),
        traits=where_traits(tree) if effect is not Effect.INSERT else frozenset(),
    )


def write_parts(tree: exp.Expr, table: Table) -> tuple[list[exp.Expr], list[ColumnName]]:
    """The expressions that a write evaluates on its target's rows, and the columns it assigns."""
    if isinstance(tree, exp.Update):
        pairs = tree.expressions
        if not all(isinstance(p, exp.EQ) and isinstance(p.this, exp.Column) for p in pairs):
            raise not_understood("it assigns to something other than a column")
        return [p.expression for p in pairs], [column_of(p.this, table) for p in pairs]
    if isinstance(tree, exp.Insert):
        source = tree.args.get("expression")
        if isinstance(source, exp.Values) and source.find(exp.Query):
            raise not_understood("it inserts the value of a subquery", "use INSERT ... SELECT")
        named = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
        columns = [column_of(c, table) for c in named]
        return [], columns or [ColumnName(table.name, c.name) for c in table.columns]
    return [], []


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


def select_from(
    target: exp.Expr, expressions: list[exp.Expr], where: exp.Expr | None
) -> exp.Select:
    """A query that reads what a write reads of its target. It is analysed, never executed."""
    items = [e.copy() for e in expressions] or [exp.Literal.number(1)]
    query = exp.Select(expressions=items, from_=exp.From(this=target.copy()))
    if where is not None:
        query.set("where", where.copy())
    return query


def trace_or_all(
    query: exp.Expr, tables: Iterable[Table], catalog: Catalog
) -> tuple[tuple[OutputColumn, ...], Sources, Sources]:
    """The columns that a query reads, or every column of its tables where that is not certain."""
    held = {table.name: table for table in tables}
    check_columns(query, held.values(), catalog.dialect)
    try:
        return trace(query, replace(catalog, tables=held))
    except Unresolved:
        every = frozenset(ColumnName(t.name, c.name) for t in held.values() for c in t.columns)
        return (), every, every


def refuse_ambiguous_recursion(tree: exp.Expr, catalog: Catalog) -> None:
    """Deny a recursive common table expression that is named like a base table.

    Engines differ on whether the name inside means the expression or the table.
    """
    names = {table.name.lower() for table in catalog.tables}
    for clause in tree.find_all(exp.With):
        if clause.args.get("recursive") and any(
            cte.alias.lower() in names for cte in clause.expressions
        ):
            raise not_understood(
                "a recursive common table expression has the name of a table", "rename it"
            )


def uses(
    mentions: Iterable[tuple[exp.Expr, Table]], effect: Effect, read: Sources
) -> tuple[TableUse, ...]:
    """The mentions of base tables as values, with the columns that the statement reads of each."""
    columns: dict[object, set[str]] = defaultdict(set)
    for column in read:
        columns[column.table].add(column.name)
    return tuple(
        TableUse(
            table=table.name,
            effect=effect,
            span=span_of(mention),
            has_alias=bool(mention.alias),
            columns=frozenset(columns[table.name]),
        )
        for mention, table in sorted(mentions, key=lambda pair: span_of(pair[0]))
    )


def at(use: TableUse) -> Span:
    """Where a mention stands, for sorting."""
    return use.span


def functions(tree: exp.Expr) -> frozenset[str]:
    """Names of the functions that a tree calls, lower case, operators among them left out."""
    found = set()
    for node in tree.find_all(exp.Func):
        if isinstance(node, exp.Connector):
            continue
        name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
        found.add(name.lower())
    return frozenset(found)


def where_traits(tree: exp.Expr) -> frozenset[str]:
    """Whether a write touches every row: it has no WHERE, or one that is always true."""
    where = tree.args.get("where")
    if where is None:
        return frozenset({"no-where"})
    folded = simplify(where.this.copy())
    is_self = isinstance(folded, exp.EQ) and folded.this == folded.expression
    if is_self or (isinstance(folded, exp.Boolean) and folded.this):
        return frozenset({"always-true-where"})
    if isinstance(folded, exp.Literal) and folded.name not in {"0", ""}:
        return frozenset({"always-true-where"})
    return frozenset()


def named_tables(tokens: list[Token], effect: Effect, catalog: Catalog) -> tuple[TableUse, ...]:
    """The tables whose names occur in a statement that is not parsed further, for its record."""
    by_name = {table.name.lower(): table for table in catalog.tables}
    return tuple(
        TableUse(
            table=by_name[token.text.lower()],
            effect=effect,
            span=Span(token.start, token.end + 1),
            has_alias=False,
            columns=frozenset(),
        )
        for token in tokens
        if token.text.lower() in by_name
    )
