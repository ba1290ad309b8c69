"""Conditions over unknowns, and whether one holds whatever the row is.

A condition becomes a formula over variables: the sign of a difference, the value of a text, a fact
that is true or not. Variables that look at the row may take any value; those that do not are the
same for every row. A formula covers every row when the latter have values with which it is true for
all values of the former. The variables are taken for independent, so that what is called true is
true, and something that is true may go unnoticed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

# Comparisons made for one table of truth values: some 10 ms.
COMPARISONS_MAX = 20_000

Value = Fraction | str | bool


@dataclass(frozen=True, slots=True)
class Variable:
    """Something about a row or about the statement that the text leaves open.

    Attributes:
        key: What it is; equal keys are one variable.
        is_fixed: Whether it is the same for every row.
        kind: ``number``, ``text`` or ``fact``.
        low: The least value of a number, if that is known.
        high: The greatest one.
        is_integer: Whether a number is whole.
    """

    key: Hashable
    is_fixed: bool = False
    kind: str = "fact"
    low: Fraction | None = None
    high: Fraction | None = None
    is_integer: bool = False


Row = Mapping[Variable, Value]


@dataclass(frozen=True, slots=True)
class Constant:
    """True, false, or neither (NULL)."""

    value: bool | None

    def truth(self, _row: Row) -> bool | None:
        """The value, whatever the row."""
        return self.value

    def parts(self) -> tuple[Formula, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class Test:
    """A variable against a bound: ``=``, ``<`` or ``>``; a fact is ``= True``."""

    variable: Variable
    operator: str
    bound: Value

    def truth(self, row: Row) -> bool | None:
        """Whether the variable stands in the relation to the bound."""
        value = row[self.variable]
        if self.operator == "=" or isinstance(value, str) or isinstance(self.bound, str):
            return value == self.bound
        return value < self.bound if self.operator == "<" else value > self.bound

    def parts(self) -> tuple[Formula, ...]:
        """Nothing."""
        return ()


@dataclass(frozen=True, slots=True)
class Every:
    """AND."""

    all: tuple[Formula, ...]

    def truth(self, row: Row) -> bool | None:
        """False beats NULL, and NULL beats true."""
        found = {part.truth(row) for part in self.all}
        return False if False in found else None if None in found else True

    def parts(self) -> tuple[Formula, ...]:
        """Its operands."""
        return self.all


@dataclass(frozen=True, slots=True)
class Some:
    """OR."""

    any: tuple[Formula, ...]

    def truth(self, row: Row) -> bool | None:
        """True beats NULL, and NULL beats false."""
        found = {part.truth(row) for part in self.any}
        return True if True in found else None if None in found else False

    def parts(self) -> tuple[Formula, ...]:
        """Its operands."""
        return self.any


@dataclass(frozen=True, slots=True)
class Opposite:
    """NOT."""

    part: Formula

    def truth(self, row: Row) -> bool | None:
        """The other one; NULL stays NULL."""
        inner = self.part.truth(row)
        return None if inner is None else not inner

    def parts(self) -> tuple[Formula, ...]:
        """Its operand."""
        return (self.part,)


@dataclass(frozen=True, slots=True)
class Same:
    """Whether two conditions have one value; ``is_null_safe`` takes NULL for a value."""

    left: Formula
    right: Formula
    is_null_safe: bool = False

    def truth(self, row: Row) -> bool | None:
        """Whether they agree; NULL when one of them is and that is no value."""
        pair = self.left.truth(row), self.right.truth(row)
        return None if None in pair and not self.is_null_safe else pair[0] is pair[1]

    def parts(self) -> tuple[Formula, ...]:
        """Its operands."""
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Choice:
    """CASE: the result of the first condition that is true."""

    cases: tuple[tuple[Formula, Formula], ...]
    default: Formula

    def truth(self, row: Row) -> bool | None:
        """The value of the branch that is taken."""
        taken = (result for condition, result in self.cases if condition.truth(row) is True)
        return next(taken, self.default).truth(row)

    def parts(self) -> tuple[Formula, ...]:
        """Its conditions and results."""
        return (*itertools.chain.from_iterable(self.cases), self.default)


@dataclass(frozen=True, slots=True)
class First:
    """COALESCE: the first part that is not NULL."""

    choices: tuple[Formula, ...]

    def truth(self, row: Row) -> bool | None:
        """The first value, if there is one."""
        found = (part.truth(row) for part in self.choices)
        return next((value for value in found if value is not None), None)

    def parts(self) -> tuple[Formula, ...]:
        """Its operands."""
        return self.choices


Formula = Constant | Test | Every | Some | Opposite | Same | Choice | First


def opposite(formula: Formula) -> Formula:
    """The negation, pushed inwards through AND and OR."""
    if isinstance(formula, Every):
        return Some(tuple(opposite(part) for part in formula.all))
    if isinstance(formula, Some):
        return Every(tuple(opposite(part) for part in formula.any))
    return formula.part if isinstance(formula, Opposite) else Opposite(formula)


def covers(formula: Formula) -> bool:
    """Whether a formula can be true for every row alike.

    Example:
        >>> x = Variable("x", kind="number")
        >>> covers(Test(x, "=", Fraction(1)))
        False
        >>> covers(Some((Test(x, "<", Fraction(2)), Test(x, ">", Fraction(1)))))
        True
    """
    if isinstance(formula, Every):
        return all(covers(part) for part in formula.all)
    if isinstance(formula, Some) and any(covers(part) for part in formula.any):
        return True
    samples, work = {}, 1
    compared = bounds_of(formula)
    for variable, bounds in compared.items():
        samples[variable] = values(variable, bounds)
        work *= len(samples[variable])
    if work * sum(len(bounds) for bounds in compared.values()) > COMPARISONS_MAX:
        return False
    fixed = {v: choices for v, choices in samples.items() if v.is_fixed}
    free = {v: choices for v, choices in samples.items() if not v.is_fixed}
    return any(
        all(formula.truth({**given, **row}) is True for row in assignments(free))
        for given in assignments(fixed)
    )


def assignments(samples: Mapping[Variable, list[Value]]) -> Iterator[dict[Variable, Value]]:
    """Every combination of the values of some variables."""
    for row in itertools.product(*samples.values()):
        yield dict(zip(samples, row, strict=True))


def bounds_of(formula: Formula) -> dict[Variable, set[Value]]:
    """The variables of a formula, each with the bounds that it is compared with."""
    found: dict[Variable, set[Value]] = {}
    stack = [formula]
    while stack:
        part = stack.pop()
        stack.extend(part.parts())
        if isinstance(part, Test):
            found.setdefault(part.variable, set()).add(part.bound)
    return found


def values(variable: Variable, bounds: set[Value]) -> list[Value]:
    """Values of a variable that stand for all: the bounds, and one on either side of each."""
    if variable.kind == "fact":
        return [True, False]
    if variable.kind == "text":
        # No text of a statement holds a NUL, so that this one differs from all bounds.
        return [*sorted(str(bound) for bound in bounds), "\0"]
    marks = sorted(bound for bound in bounds if isinstance(bound, Fraction))
    found = {*marks, marks[0] - 1, marks[-1] + 1}
    found |= {(a + b) / 2 for a, b in itertools.pairwise(marks)}
    found |= {edge for edge in (variable.low, variable.high) if edge is not None}
    if variable.is_integer:
        found = {Fraction(mark // 1 + step) for mark in found for step in (-1, 0, 1)}
    return [
        number
        for number in sorted(found)
        if (variable.low is None or number >= variable.low)
        and (variable.high is None or number <= variable.high)
    ]
