"""Which base tables and columns the names in a statement mean.

sqlglot gives the tree and the character positions; the catalog says what exists. A relation is a
base table unless an enclosing ``WITH`` defines its name, by the lexical rule of the SQL standard.
What cannot be decided is denied, since a base table taken for something else would be read
unmasked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from sqlglot import exp

from nbgov.errors import Denied, RequestInvalid
from nbgov.model import Catalog, Span, Table


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


def base_tables(tree: exp.Expr) -> Iterator[exp.Table]:
    """Every mention of a relation that no enclosing ``WITH`` defines.

    Raises:
        Denied: A recursive common table expression hides a relation of its own name, or the mention
            is not a plain name.
    """
    for mention in tree.find_all(exp.Table):
        if not isinstance(mention.this, exp.Identifier):
            raise not_understood(
                "it reads from a function instead of a table",
                "read a table or view; a file is loaded by a platform engineer",
            )
        if mention.args.get("db") is None and is_common_table(mention):
            continue
        yield mention


def is_common_table(mention: exp.Table) -> bool:
    """Whether an unqualified relation name is a common table expression in scope."""
    name = mention.name.lower()
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
        if any(name == expression.alias.lower() for expression in visible):
            return True
        child, parent = parent, parent.parent
    return False


def resolve(mention: exp.Table, catalog: Catalog) -> Table:
    """The base table that a mention means.

    Raises:
        RequestInvalid: The catalog holds no such table. The message is the same for a table that is
            hidden from the principal.
    """
    dialect = catalog.dialect
    schema_part = mention.args.get("db")
    schema = fold(schema_part, dialect) if schema_part is not None else catalog.default_schema
    name = fold(mention.this, dialect)
    if mention.args.get("catalog") is None:
        for table in catalog.tables.values():
            if same(table.name.name, name, dialect) and same(table.name.schema, schema, dialect):
                return table
    raise unknown_table(mention.sql(dialect=dialect), catalog)


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


def check_columns(tree: exp.Expr, tables: Iterable[Table], dialect: str) -> None:
    """Refuse a column that neither the tables nor the statement itself define.

    Raises:
        RequestInvalid: With the nearest column name that exists.
    """
    known = {column.name for table in tables for column in table.columns}
    defined = {alias.alias for alias in tree.find_all(exp.Alias)}
    defined |= {name for alias in tree.find_all(exp.TableAlias) for name in own_names(alias)}
    defined |= {table.name for table in tree.find_all(exp.Table)}
    defined |= {name.name for f in tree.find_all(exp.Lambda) for name in f.expressions}
    folded = {name.lower() for name in known | defined}
    for column in tree.find_all(exp.Column):
        if isinstance(column.this, exp.Star):
            continue
        if fold(column.this, dialect).lower() not in folded:
            near = difflib.get_close_matches(column.name, sorted(known), n=1)
            raise RequestInvalid(
                f"There is no column {column.name!r} in the tables of this statement.",
                code="unknown-column",
                why="" if near else "text values go in single quotes, names in double quotes",
                next_step=f"did you mean {near[0]!r}?"
                if near
                else "list the columns: nbgov catalog",
            )


def own_names(alias: exp.TableAlias) -> Iterator[str]:
    """The names that a table alias defines: its own and its column list."""
    yield alias.name
    for column in alias.args.get("columns") or []:
        yield column.name
