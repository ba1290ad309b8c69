"""Values in a condition as sums: a number plus multiples of things whose values are not known.

``id + 1 - id`` is 1 whatever ``id`` is; ``2 * id > 4`` is ``id > 2``. Only numbers are summed: what
``+`` does to a text differs from one product to the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from sqlglot import exp

from nbgov.core.statement.formula import Variable
from nbgov.core.statement.rows import MARK, ROW_NUMBERS, SYSTEM_COLUMNS, TargetRow, is_about_row
from nbgov.model import Column

INTEGER_TYPE = re.compile(r"(u?(tiny|small|medium|big|huge)?int(eger)?\d?|(big|small)?serial)\b")
NUMBER_TYPE = re.compile(r"numeric|decimal|double|float|real|number")
TEXT_TYPE = re.compile(r"\w*(char|text|string|clob)")
TRUTH_TYPE = re.compile(r"bool")
KEY_NAME = re.compile(r"(?i:(.*_)?(id|pk|key))|.*[a-z]Id")
BITS = {
    "tinyint": 8, "smallint": 16, "int2": 16, "mediumint": 24, "int": 32, "integer": 32,
    "int4": 32, "bigint": 64, "int8": 64,
}  # fmt: skip
Limits = tuple[Fraction | None, Fraction | None]
UNLIMITED: Limits = (None, None)
SIZES = (exp.Length, exp.Abs, exp.Count)
# What is NULL exactly when one of its operands is.
STRICT = (
    exp.Add, exp.Sub, exp.Mul, exp.Neg, exp.Not, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE,
    exp.Length, exp.Abs, exp.Lower, exp.Upper,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sum:
    """``number`` plus each part times its factor."""

    number: Fraction
    factors: Mapping[exp.Expr, Fraction] = field(default_factory=dict)

    def plus(self, other: Sum, times: Fraction) -> Sum:
        """This sum plus a multiple of another."""
        factors = dict(self.factors)
        for part, factor in other.factors.items():
            factors[part] = factors.get(part, Fraction(0)) + times * factor
        kept = {part: factor for part, factor in factors.items() if factor}
        return Sum(self.number + times * other.number, kept)

    def solve(self, row: TargetRow) -> tuple[Variable, Fraction, bool]:
        """What a comparison of this sum with 0 compares with what, and whether it turns around."""
        lead = min(self.factors, key=str) if len(self.factors) > 1 else next(iter(self.factors))
        factor = self.factors[lead]
        scaled = frozenset((part, share / factor) for part, share in self.factors.items())
        is_fixed = not any(is_about_row(part) for part in self.factors)
        subject = variable(lead, row) if len(scaled) == 1 else Variable(scaled, is_fixed, "number")
        return subject, -self.number / factor, factor < 0


def sum_of(value: exp.Expr, row: TargetRow) -> Sum | None:
    """A marked value as a sum, or ``None`` where it is not certainly a number."""
    value = reduce(value, row)
    if isinstance(value, exp.Neg):
        inner = sum_of(value.this, row)
        return inner and Sum(Fraction(0)).plus(inner, Fraction(-1))
    if isinstance(value, exp.Literal):
        return literal(value)
    if isinstance(value, exp.Abs):
        inner = sum_of(value.this, row)
        if inner is not None and not inner.factors:
            return Sum(abs(inner.number))
    if isinstance(value, (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv)):
        left, right = sum_of(value.this, row), sum_of(value.expression, row)
        return combine(value, left, right) if left and right else None
    return Sum(Fraction(0), {value: Fraction(1)}) if is_number(value, row) else None


def literal(value: exp.Expr) -> Sum | None:
    """The number that a literal spells."""
    try:
        return Sum(Fraction(value.name))
    except (ValueError, ZeroDivisionError):
        return None


def combine(value: exp.Expr, left: Sum, right: Sum) -> Sum | None:
    """The sum that an operator makes of two, where that is a sum again."""
    if isinstance(value, (exp.Add, exp.Sub)):
        return left.plus(right, Fraction(1 if isinstance(value, exp.Add) else -1))
    if isinstance(value, exp.Mul):
        if left.factors:
            left, right = right, left
        return None if left.factors else Sum(Fraction(0)).plus(right, left.number)
    return left if right == Sum(Fraction(1)) else None


def reduce(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """A marked value without what certainly makes no difference to it."""
    while (simpler := simplify(value, row)) is not value:
        value = simpler
    return value


def simplify(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """One step of :func:`reduce`; the value itself when there is none."""
    for kind, step in STEPS:
        if isinstance(value, kind):
            return step(value, row)
    return value


def without_query(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """``(SELECT x)`` is ``x``."""
    del row
    query = value.unnest()
    parts = {key for key, part in query.args.items() if part}
    is_plain = isinstance(query, exp.Select) and parts == {"expressions"}
    items = query.expressions
    return items[0].unalias() if is_plain and len(items) == 1 else value


def without_cast(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """A whole number cast to a number, and a text cast to text, stay what they are."""
    kind, inner = value.args["to"], value.this
    is_whole = is_integer(inner, row) and kind.is_type(*exp.DataType.NUMERIC_TYPES)
    is_same = is_text(inner, row) and kind.is_type(*exp.DataType.TEXT_TYPES)
    is_spelled = inner.is_number and kind.is_type(*exp.DataType.INTEGER_TYPES)
    return inner if (is_whole or is_same or is_spelled) and not kind.expressions else value


def without_default(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """COALESCE stops at the first part that is never NULL."""
    parts = [part for part in (value.this, *value.expressions) if not isinstance(part, exp.Null)]
    is_decided = bool(parts) and is_never_null(parts[0], row)
    return parts[0] if parts and (is_decided or all(p == parts[0] for p in parts)) else value


def without_empty(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """A text with nothing appended is the text."""
    pair = [part for part in (value.this, value.expression) if part != exp.Literal.string("")]
    return pair[0] if len(pair) == 1 and is_text(pair[0], row) else value


def as_case(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """``NULLIF(a, b)`` spelled out."""
    del row
    test = exp.EQ(this=value.this.copy(), expression=value.expression.copy())
    branch = exp.If(this=test, true=exp.Null())
    return exp.Case(ifs=[branch], default=value.this.copy())


def collated(value: exp.Expr, row: TargetRow) -> exp.Expr:
    """A collation does not change a text."""
    del row
    inner = value.this
    assert isinstance(inner, exp.Expr)
    return inner


STEPS: tuple[tuple[type[exp.Expr], Callable[[exp.Expr, TargetRow], exp.Expr]], ...] = (
    (exp.Subquery, without_query),
    (exp.Cast, without_cast),
    (exp.Coalesce, without_default),
    (exp.DPipe, without_empty),
    (exp.Nullif, as_case),
    (exp.Collate, collated),
)


def is_number(value: exp.Expr, row: TargetRow) -> bool:
    """Whether a value is certainly a number."""
    if isinstance(value, SIZES):
        return True
    if isinstance(value, exp.Mod):
        return is_integer(value.this, row)
    if not isinstance(value, exp.Column) or value.table != MARK:
        return False
    column = row.column(value.name)
    if column is None:
        return value.name in ROW_NUMBERS
    return bool(NUMBER_TYPE.match(column.type.lower())) or is_integer(value, row)


def is_integer(value: exp.Expr, row: TargetRow) -> bool:
    """Whether a value is a column of whole numbers."""
    if not isinstance(value, exp.Column) or value.table != MARK:
        return False
    column = row.column(value.name)
    if column is None:
        return value.name in ROW_NUMBERS
    return bool(INTEGER_TYPE.match(column.type.lower()))


def is_text(value: exp.Expr, row: TargetRow) -> bool:
    """Whether a value is a column of text."""
    column = declared(value, row)
    return column is not None and bool(TEXT_TYPE.match(column.type.lower()))


def is_truth(value: exp.Expr, row: TargetRow) -> bool:
    """Whether a value is a column of truth values."""
    column = declared(value, row)
    return column is not None and bool(TRUTH_TYPE.match(column.type.lower()))


def declared(value: exp.Expr, row: TargetRow) -> Column | None:
    """The declared column of the row that a marked value is."""
    is_own = isinstance(value, exp.Column) and value.table == MARK
    return row.column(value.name) if is_own else None


def is_never_null(value: exp.Expr, row: TargetRow) -> bool:
    """Whether a marked value certainly has a value in every row."""
    if isinstance(value, (exp.Literal, exp.Boolean, exp.Is, exp.Exists, exp.NullSafeEQ)):
        return True
    if isinstance(value, exp.Column):
        column = declared(value, row)
        is_system = value.table == MARK and column is None and value.name in SYSTEM_COLUMNS
        return is_system or (column is not None and column.is_required)
    if isinstance(value, exp.Coalesce):
        return any(is_never_null(part, row) for part in (value.this, *value.expressions))
    is_strict = isinstance(value, (*STRICT, exp.Connector, exp.Between))
    return is_strict and all(is_never_null(part, row) for part in value.iter_expressions())


def variable(value: exp.Expr, row: TargetRow) -> Variable:
    """The variable that stands for a number."""
    low, high = limits(value, row)
    return Variable(
        value,
        is_fixed=not is_about_row(value),
        kind="number",
        low=low,
        high=high,
        is_integer=isinstance(value, (exp.Length, exp.Count, exp.Mod)) or is_integer(value, row),
    )


def limits(value: exp.Expr, row: TargetRow) -> Limits:
    """The least and the greatest value of a number, as far as that is known.

    A required whole number with the name of a key counts as positive, since keys are given out from
    1: ``WHERE id`` and ``WHERE id > 0`` are ways to say every row.
    """
    if isinstance(value, SIZES):
        return Fraction(0), None
    if isinstance(value, exp.Mod) and (by := literal(value.expression)) and by.number >= 1:
        return 1 - by.number, by.number - 1
    if not is_integer(value, row):
        return UNLIMITED
    column = declared(value, row)
    if column is None or (column.is_required and KEY_NAME.fullmatch(column.name)):
        return Fraction(1), None
    return limits_of_type(column.type.lower(), row.catalog.dialect)


def limits_of_type(kind: str, dialect: str) -> Limits:
    """The least and the greatest value of a type of whole numbers."""
    if "unsigned" in kind or kind.startswith("u"):
        return Fraction(0), None
    bits = BITS.get(re.split(r"\W", kind)[0])
    # SQLite's INTEGER is a preference, not a limit.
    if bits is None or dialect == "sqlite":
        return UNLIMITED
    return Fraction(-(2 ** (bits - 1))), Fraction(2 ** (bits - 1) - 1)
