"""Whether the WHERE of a write picks rows, or lets every row through.

Three kinds of condition pick nothing: one that is true whatever the row holds (``id = id``,
``1 = 1``, ``a < 3 OR a > 2``), one that does not look at the row (``EXISTS (SELECT ...)`` about
other tables, ``random() < 2``), and a key taken for a truth value (``WHERE rowid``). NULL does not
save a condition: ``name = name`` counts as true although it skips the rows without a name. A LIMIT
or an ORDER BY is no condition. A subquery over the table itself is left to the person who approves.

What is false or NULL for certain touches no row, and is no finding.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from sqlglot import exp

from nbgov.core.statement.formula import (
    Choice,
    Constant,
    Every,
    First,
    Formula,
    Opposite,
    Same,
    Some,
    Test,
    Variable,
    covers,
    opposite,
)
from nbgov.core.statement.names import not_understood
from nbgov.core.statement.rows import TargetRow, is_about_row
from nbgov.core.statement.terms import (
    STRICT,
    is_never_null,
    is_text,
    is_truth,
    reduce,
    sum_of,
)

IN_LIST_MAX = 64
TRUE_WORDS = {"t", "true", "y", "yes", "on", "1"}
FALSE_WORDS = {"", "f", "false", "n", "no", "off", "0"}
# The operators, with the one that says the same with its sides swapped.
FLIPPED = {"=": "=", "<": ">", ">": "<"}
# What matches every text, by the kind of match.
LIKE_ALL = {"%", "%%"}
REGEXP_ALL = {"", ".*", "^", "$", "^.*", ".*$", "^.*$"}
MATCHES_ALL: dict[type[exp.Expr], set[str]] = {
    exp.Like: LIKE_ALL, exp.ILike: LIKE_ALL, exp.SimilarTo: LIKE_ALL, exp.Glob: {"*", "**"},
    exp.RegexpLike: REGEXP_ALL, exp.RegexpILike: REGEXP_ALL, exp.StartsWith: {""},
    exp.EndsWith: {""}, exp.Contains: {""},
}  # fmt: skip


def covers_every_row(condition: exp.Expr, row: TargetRow) -> bool:
    """Whether a condition lets every row of a table through, or does not look at the row.

    Args:
        condition: What stands after WHERE, or after ON in a MERGE.
        row: The row that the write may change.

    Raises:
        Denied: The condition is nested too deep to be read.
    """
    try:
        return covers(read(row.mark(condition), row))
    except RecursionError:
        raise not_understood("a condition is nested too deep") from None


def read(node: exp.Expr, row: TargetRow) -> Formula:
    """The formula of a marked condition."""
    node = reduce(node, row)
    if node.args.get("negate"):
        positive = node.copy()
        positive.set("negate", None)
        return opposite(read(positive, row))
    reader = READERS.get(type(node), read_value)
    return reader(node, row)


def fact(node: exp.Expr, row: TargetRow) -> Formula:
    """A condition that is true or not, and no more is known."""
    del row
    return Test(Variable(node, is_fixed=not is_about_row(node)), "=", bound=True)


def read_value(node: exp.Expr, row: TargetRow) -> Formula:
    """The formula of a value that stands where a condition does: what is not 0 is true."""
    if isinstance(node, exp.Literal) and node.is_string:
        word = node.name.strip().lower()
        return Constant(word in TRUE_WORDS) if word in TRUE_WORDS | FALSE_WORDS else fact(node, row)
    if is_truth(node, row) or sum_of(node, row) is None:
        return fact(node, row)
    return compare("<>", node, exp.Literal.number(0), row)


def read_and(node: exp.Expr, row: TargetRow) -> Formula:
    """AND, however long."""
    return Every(tuple(read(part, row) for part in node.flatten()))


def read_or(node: exp.Expr, row: TargetRow) -> Formula:
    """OR, however long."""
    return Some(tuple(read(part, row) for part in node.flatten()))


def read_not(node: exp.Expr, row: TargetRow) -> Formula:
    """NOT."""
    return opposite(read(node.this, row))


def read_xor(node: exp.Expr, row: TargetRow) -> Formula:
    """XOR."""
    return Opposite(Same(read(node.this, row), read(node.expression, row)))


def read_constant(node: exp.Expr, row: TargetRow) -> Formula:
    """TRUE, FALSE and NULL."""
    del row
    return Constant(bool(node.this) if isinstance(node, exp.Boolean) else None)


def read_is(node: exp.Expr, row: TargetRow) -> Formula:
    """IS NULL, IS TRUE and IS FALSE; of other forms no more is known."""
    kind = node.expression
    if isinstance(kind, exp.Null):
        return is_null(node.this, row)
    if isinstance(kind, exp.Boolean):
        return Same(read(node.this, row), Constant(bool(kind.this)), is_null_safe=True)
    return fact(node, row)


def is_null(node: exp.Expr, row: TargetRow) -> Formula:
    """Whether a value is NULL."""
    node = reduce(node, row)
    if isinstance(node, exp.Null) or is_never_null(node, row):
        return Constant(isinstance(node, exp.Null))
    if isinstance(node, (exp.Case, exp.If)):
        return choose(node, row, lambda branch: is_null(branch, row))
    if isinstance(node, STRICT):
        return Some(tuple(is_null(part, row) for part in node.iter_expressions()))
    return Test(Variable(("null", node), is_fixed=not is_about_row(node)), "=", bound=True)


def read_between(node: exp.Expr, row: TargetRow) -> Formula:
    """BETWEEN, in both orders of its bounds where the text says SYMMETRIC."""
    low, high = node.args["low"], node.args["high"]
    pairs = [(low, high), (high, low)] if node.args.get("symmetric") else [(low, high)]
    return Some(
        tuple(
            Every((compare(">=", node.this, a, row), compare("<=", node.this, b, row)))
            for a, b in pairs
        )
    )


def read_in(node: exp.Expr, row: TargetRow) -> Formula:
    """IN, as equality with any item of its list."""
    query = node.args.get("query")
    items = node.expressions if query is None else [reduce(query, row)]
    is_list = items and len(items) <= IN_LIST_MAX and not isinstance(items[0], exp.Query)
    if not is_list:
        return fact(node, row)
    return Some(tuple(compare("=", node.this, item, row) for item in items))


def read_match(node: exp.Expr, row: TargetRow) -> Formula:
    """LIKE and its kin: only what matches every text, or a text against itself, is seen through."""
    pattern = node.expression
    matches_all = isinstance(pattern, exp.Literal) and pattern.name in MATCHES_ALL[type(node)]
    return Constant(value=True) if matches_all or node.this == pattern else fact(node, row)


def read_escape(node: exp.Expr, row: TargetRow) -> Formula:
    """LIKE ... ESCAPE; an escaped percent sign is no wildcard."""
    return fact(node, row) if node.expression.name == "%" else read(node.this, row)


def read_exists(node: exp.Expr, row: TargetRow) -> Formula:
    """EXISTS: a query without FROM has a row, and so has an aggregate of no rows at all."""
    query = node.this.unnest()
    parts = {key for key, value in query.args.items() if value}
    if not isinstance(query, exp.Select) or not parts <= {"expressions", "where", "from_", "joins"}:
        return fact(node, row)
    if all(isinstance(item.unalias(), exp.AggFunc) for item in query.expressions):
        return Constant(value=True)
    if "from_" in parts:
        return fact(node, row)
    where = query.args.get("where")
    condition = read(where.this, row) if where is not None else Constant(value=True)
    return First((condition, Constant(value=False)))


def read_choice(node: exp.Expr, row: TargetRow) -> Formula:
    """CASE and IF with conditions for results."""
    return choose(node, row, lambda branch: read(branch, row))


def choose(node: exp.Expr, row: TargetRow, reader: Callable[[exp.Expr], Formula]) -> Formula:
    """The formula of a CASE or IF, given how to read a branch of it."""
    operand: exp.Expr | None = node.this if isinstance(node, exp.Case) else None
    branches = node.args["ifs"] if isinstance(node, exp.Case) else [node]
    default = node.args.get("default") if isinstance(node, exp.Case) else node.args.get("false")
    cases = []
    for branch in branches:
        test = branch.this
        taken = read(test, row) if operand is None else compare("=", operand, test, row)
        cases.append((taken, reader(branch.args["true"])))
    return Choice(tuple(cases), reader(exp.Null() if default is None else default))


def read_coalesce(node: exp.Expr, row: TargetRow) -> Formula:
    """COALESCE of conditions."""
    return First(tuple(read(part, row) for part in (node.this, *node.expressions)))


def read_cast(node: exp.Expr, row: TargetRow) -> Formula:
    """A cast to a truth value is what it casts."""
    is_truth_type = node.args["to"].is_type(exp.DataType.Type.BOOLEAN)
    return read(node.this, row) if is_truth_type else read_value(node, row)


def read_comparison(node: exp.Expr, row: TargetRow) -> Formula:
    """A comparison of two values."""
    return compare(COMPARISONS[type(node)], node.this, node.expression, row)


def compare(operator: str, left: exp.Expr, right: exp.Expr, row: TargetRow) -> Formula:
    """The formula of a comparison."""
    if isinstance(right, (exp.Any, exp.All)) and isinstance(right.this, (exp.Array, exp.Tuple)):
        gather = Some if isinstance(right, exp.Any) else Every
        return gather(tuple(compare(operator, left, i, row) for i in right.this.expressions))
    if operator in {"<>", "is not", "<=", ">="}:
        mirrored = {"<>": "=", "is not": "is", "<=": ">", ">=": "<"}[operator]
        return opposite(compare(mirrored, left, right, row))
    left, right = reduce(left, row), reduce(right, row)
    for node, other, sign in ((left, right, operator), (right, left, FLIPPED.get(operator, "is"))):
        found = compare_special(sign, node, other, row)
        if found is not None:
            return found
    if left == right:
        return Constant(operator in {"=", "is"})
    return compare_values("=" if operator == "is" else operator, left, right, row)


def compare_special(
    operator: str, node: exp.Expr, other: exp.Expr, row: TargetRow
) -> Formula | None:
    """The formula of a comparison with NULL, a CASE or a condition."""
    if isinstance(node, exp.Null):
        return is_null(other, row) if operator == "is" else Constant(None)
    if isinstance(node, (exp.Case, exp.If)):
        return choose(node, row, lambda branch: compare(operator, branch, other, row))
    is_pair = is_condition(node) and (is_condition(other) or other.name in {"0", "1"})
    if is_pair and operator in {"=", "is"}:
        return Same(read(node, row), read(other, row), is_null_safe=operator == "is")
    return None


def is_condition(node: exp.Expr) -> bool:
    """Whether a value is a truth value by its form."""
    return isinstance(node, (exp.Predicate, exp.Connector, exp.Not, exp.Boolean))


def compare_values(operator: str, left: exp.Expr, right: exp.Expr, row: TargetRow) -> Formula:
    """The formula of ``=``, ``<`` or ``>`` between two plain values."""
    sums = sum_of(left, row), sum_of(right, row)
    if sums[0] is not None and sums[1] is not None:
        difference = sums[0].plus(sums[1], Fraction(-1))
        if not difference.factors:
            number = difference.number
            return Constant({"=": number == 0, "<": number < 0, ">": number > 0}[operator])
        subject, bound, is_turned = difference.solve(row)
        return Test(subject, FLIPPED[operator] if is_turned else operator, bound)
    # Each pair of values is one variable, whichever stands first; a literal stands last.
    if (isinstance(left, exp.Literal), str(left)) > (isinstance(right, exp.Literal), str(right)):
        left, right, operator = right, left, FLIPPED[operator]
    if is_text(left, row) and isinstance(right, exp.Literal) and operator == "=":
        return Test(Variable(left, kind="text"), "=", right.name)
    if is_text(left, row) and right == exp.Literal.string("") and operator == "<":
        return Constant(value=False)
    is_fixed = not is_about_row(left) and not is_about_row(right)
    return Test(Variable((left, right), is_fixed, kind="number"), operator, Fraction(0))


COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "is", exp.NullSafeNEQ: "is not",
}  # fmt: skip
READERS: dict[type[exp.Expr], Callable[[exp.Expr, TargetRow], Formula]] = {
    **dict.fromkeys(COMPARISONS, read_comparison),
    **dict.fromkeys(MATCHES_ALL, read_match),
    exp.And: read_and, exp.Or: read_or, exp.Not: read_not, exp.Xor: read_xor,
    exp.Boolean: read_constant, exp.Null: read_constant, exp.Is: read_is,
    exp.Between: read_between, exp.In: read_in, exp.Escape: read_escape,
    exp.Exists: read_exists, exp.Case: read_choice, exp.If: read_choice,
    exp.Coalesce: read_coalesce, exp.Cast: read_cast,
    exp.Match: fact,
}  # fmt: skip
