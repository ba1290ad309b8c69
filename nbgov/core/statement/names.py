"""Which base tables and columns the names in a statement mean.

sqlglot gives the tree and the character positions; the catalog says what exists. A relation is a
base table unless an enclosing ``WITH`` defines its name, by the lexical rule of the SQL standard.
What cannot be decided is denied, since a base table taken for something else would be read
unmasked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sqlglot import exp

from nbgov.errors import Denied, RequestInvalid
from nbgov.model import Catalog, Span, Table, TableName

# Engines that take names for one that differ by the case of ASCII letters.
CASELESS = {"duckdb", "sqlite"}


def not_understood(why: str, next_step: str = "write it in plainer SQL") -> Denied:
    """The error of a statement that may not run because its meaning is not certain."""
    return Denied(
        "Denied: nbgov does not fully understand the statement, so it does not run.",
        code="not-understood",
        why=why,
        next_step=next_step,
    )


def fold(identifier: exp.Expr, dialect: str) -> str:
    """The name that an identifier stands for: PostgreSQL folds unquoted names to lower case."""
    name = identifier.name
    is_exact = dialect != "postgres" or bool(identifier.args.get("quoted"))
    return name if is_exact else name.lower()


def same(left: str, right: str, dialect: str) -> bool:
    """Whether two folded names are one: only PostgreSQL tells names apart by case."""
    return left == right if dialect == "postgres" else left.lower() == right.lower()


def base_tables(tree: exp.Expr, dialect: str) -> Iterator[exp.Table]:
    """Every mention of a relation by its name that no enclosing ``WITH`` defines.

    Raises:
        Denied: Whether it does is not certain.
    """
    for mention in tree.find_all(exp.Table):
        if isinstance(mention.this, exp.Identifier) and not (
            is_dual(mention, dialect) or is_common_table(mention, dialect)
        ):
            yield mention


def is_dual(mention: exp.Table, dialect: str) -> bool:
    """Whether a relation is the word of MySQL that stands for none."""
    is_word = mention.this.name.upper() == "DUAL" and not mention.this.args.get("quoted")
    return dialect == "mysql" and is_word and mention.args.get("db") is None


def is_common_table(mention: exp.Table, dialect: str) -> bool:
    """Whether a relation name is a common table expression in scope.

    Raises:
        Denied: The names differ in a way that not every engine sees.
    """
    if mention.args.get("db") is not None:
        return False
    child: exp.Expr = mention
    parent = mention.parent
    while parent is not None:
        clause = parent.args.get("with_")
        visible: list[exp.Expr] = []
        if isinstance(clause, exp.With) and child is not clause:
            visible = clause.expressions
        elif isinstance(parent, exp.With):
            position = next(i for i, cte in enumerate(parent.expressions) if cte is child)
            is_recursive = parent.args.get("recursive")
            visible = parent.expressions if is_recursive else parent.expressions[:position]
        if any(is_named_as(mention.this, cte.args["alias"].this, dialect) for cte in visible):
            return True
        child, parent = parent, parent.parent
    return False


def is_named_as(mention: exp.Expr, defined: exp.Expr, dialect: str) -> bool:
    """Whether a relation name is that of a common table expression.

    Raises:
        Denied: The names differ by the case of letters that the engine may tell apart.
    """
    left, right = fold(mention, dialect), fold(defined, dialect)
    if left == right or left.lower() != right.lower():
        return left == right
    # Security: a name that is taken for an expression and is a table would be read unmasked.
    if dialect in CASELESS and left.isascii() and right.isascii():
        return True
    raise not_understood(
        "a relation has the name of a common table expression in other letters",
        "write both names the same way",
    )


def resolve(mention: exp.Table, catalog: Catalog) -> Table:
    """The base table that a mention means.

    Raises:
        RequestInvalid: The catalog holds no such table. The message is the same for a table that is
            hidden from the principal.
    """
    found = find_table(mention, catalog)
    if found is None:
        raise unknown_table(mention.sql(dialect=catalog.dialect), catalog)
    return found


def find_table(mention: exp.Table, catalog: Catalog) -> Table | None:
    """The base table that a mention means, or ``None`` where the catalog holds no such table."""
    dialect = catalog.dialect
    schema_part = mention.args.get("db")
    schema = fold(schema_part, dialect) if schema_part is not None else catalog.default_schema
    name = fold(mention.this, dialect)
    if mention.args.get("catalog") is not None:
        return None
    exact = catalog.tables.get(TableName(schema, name))
    if exact is not None:
        return exact
    for table in catalog.tables.values():
        if same(table.name.name, name, dialect) and same(table.name.schema, schema, dialect):
            return table
    return None


def unknown_table(written: str, catalog: Catalog) -> RequestInvalid:
    """The error for a table that is absent, or that the principal may not see."""
    names = {str(n) for n in catalog.tables} | {n.name for n in catalog.tables}
    near = difflib.get_close_matches(written, sorted(names), n=1)
    return RequestInvalid(
        f"There is no table {written!r} on this connection.",
        code="unknown-table",
        why="it does not exist, or you are not permitted to see it",
        next_step=f"did you mean {near[0]!r}?" if near else "list what there is: nbgov catalog",
    )


def span_of(mention: exp.Expr) -> Span:
    """Where the (qualified) name of a mention stands in the text.

    Raises:
        Denied: The parser kept no position.
    """
    first = mention.args.get("db") or mention.this
    start, end = first.meta.get("start"), mention.this.meta.get("end")
    if start is None or end is None:
        raise not_understood("a table name has no position in the text")
    return Span(start, end + 1)


def qualifier_spans(tree: exp.Expr) -> tuple[Span, ...]:
    """The ``schema.`` prefixes of column references, which do not outlive a rewritten table."""
    spans = []
    for column in tree.find_all(exp.Column):
        if column.args.get("catalog") is not None:
            raise not_understood("a column is qualified with a catalog", "write table.column")
        if column.args.get("db") is not None:
            start = column.args["db"].meta.get("start")
            end = column.args["table"].meta.get("start")
            if start is None or end is None:
                raise not_understood("a column name has no position in the text")
            spans.append(Span(start, end))
    return tuple(spans)


def unknown_column(name: str, catalog: Catalog) -> RequestInvalid:
    """The error for a column that no relation in scope has, with the nearest that exists."""
    known = {column.name for table in catalog.tables.values() for column in table.columns}
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return RequestInvalid(
        f"There is no column {name!r} in the tables of this statement.",
        code="unknown-column",
        why="" if near else "text values go in single quotes, names in double quotes",
        next_step=f"did you mean {near[0]!r}?" if near else "list the columns: nbgov catalog",
    )


def function_name(node: exp.Expr) -> str:
    """The lower-case name of a function, as the parser calls it."""
    name = node.name if isinstance(node, exp.Anonymous) else ""
    if not name and isinstance(node, exp.Func):
        name = node.sql_name().replace("J_S_O_N_", "JSON_")
    return name.lower()
