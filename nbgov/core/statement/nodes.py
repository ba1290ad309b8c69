"""Which kinds of syntax nodes are understood; every other kind is refused."""

from __future__ import annotations

from sqlglot import exp

from nbgov.core.statement.names import not_understood

# Security: nodes outside this list are denied, so that a new kind of node in a later sqlglot cannot
# carry an effect that nobody has looked at.
UNDERSTOOD = (
    exp.Query, exp.Condition, exp.Func, exp.Identifier, exp.Alias, exp.From, exp.Join, exp.Where,
    exp.Group, exp.Having, exp.Order, exp.Ordered, exp.Limit, exp.Offset, exp.Fetch, exp.With,
    exp.CTE, exp.Table, exp.TableAlias, exp.Distinct, exp.Qualify, exp.Window, exp.WindowSpec,
    exp.DataType, exp.DataTypeParam, exp.Lambda, exp.Tuple, exp.Star, exp.Values, exp.Unnest,
    exp.Interval, exp.Var, exp.Paren, exp.Filter, exp.WithinGroup, exp.Rollup, exp.Cube,
    exp.GroupingSets, exp.Schema, exp.Returning, exp.Slice, exp.PropertyEQ, exp.Lateral,
    exp.Aliases, exp.JSONPath, exp.JSONPathPart, exp.TableSample, exp.Pivot, exp.UnpivotColumns,
    exp.LimitOptions, exp.JSONSchema, exp.JSONColumnDef, exp.JSONKeyValue,
    exp.AtTimeZone, exp.Comprehension, exp.IgnoreNulls,
    exp.RespectNulls, exp.IndexTableHint, exp.Variadic, exp.FormatJson, exp.JSON,
)  # fmt: skip
REFUSED = (
    exp.Parameter, exp.SessionParameter, exp.Operator, exp.Into, exp.Lock, exp.MatchRecognize,
    exp.Command,
)  # fmt: skip
TABLE_PARTS = {
    "this", "db", "catalog", "alias", "joins", "laterals", "sample", "only", "ordinality",
    "rows_from", "pivots", "hints",
}  # fmt: skip


def check_nodes(tree: exp.Expr, binds: int, *, also: tuple[type[exp.Expr], ...] = ()) -> None:
    """Deny a tree that holds any node whose effect is not known.

    Args:
        tree: The tree.
        binds: How many parameters its text has.
        also: Kinds of nodes that may stand in this tree, beside those of a query.

    Raises:
        Denied: With the kind of the first such node.
    """
    placeholders = 0
    for node in tree.walk():
        if isinstance(node, exp.Placeholder):
            placeholders += 1
        if isinstance(node, REFUSED) or not (
            isinstance(node, (*UNDERSTOOD, *also)) or is_typed_name(node)
        ):
            raise not_understood(f"it uses {type(node).__name__.lower()}, which is not supported")
        check_form(node)
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


def is_typed_name(node: exp.Expr) -> bool:
    """Whether a node is a column with its type behind a function, as in ``AS t(id int)``."""
    return (
        isinstance(node, exp.ColumnDef)
        and isinstance(node.parent, exp.TableAlias)
        and not parts_of(node) - {"this", "kind"}
    )


def check_form(node: exp.Expr) -> None:
    """Deny the forms of an understood kind of node that are not.

    Raises:
        Denied: The node has one of these forms.
    """
    if isinstance(node, exp.Pivot) and not node.args.get("unpivot"):
        # Security: the headers of a pivot are values of a column.
        raise not_understood("it uses pivot, whose headers are data", "use GROUP BY")
    if isinstance(node, exp.TableSample) and node.find(exp.Column, exp.Query, exp.Func):
        raise not_understood("how much it samples is not a number")
    field = node.args.get("field") if isinstance(node, exp.In) else None
    if field is not None and not isinstance(field, exp.Placeholder):
        # Security: SQLite reads a table by the name behind IN.
        raise not_understood("it uses IN with a name", "write the list or the subquery in brackets")
