"""``when:`` of a rule: a condition in CEL, the Common Expression Language, over recorded values.

A condition is type-checked and compiled once, when the policy is read. It sees nothing but what the
audit log keeps, and no clock: ``at`` is the moment that the record states. The language has no
loops, and the library bounds nesting, iterations and regular expressions (RE2), so that a condition
ends; what could grow is left out. The variables are described in ``docs/reference/policy.md``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nbgov.errors import ConfigInvalid
from nbgov.model import Principal, Statement

if TYPE_CHECKING:
    from cel_expr_python import cel

CONDITION_CHARS_MAX = 2_000
# Security: text that is put together can be doubled in each step, and a short condition would fill
# the memory. A condition tests what is there and builds nothing: exists and all stay, map and
# filter, which build lists, go.
LANGUAGE = """
name: nbgov
stdlib:
  exclude_functions:
    - name: dyn
    - name: _+_
      overloads: [{id: add_bytes}, {id: add_list}, {id: add_string}]
"""
TEXT_MAPS = ("origin",)
TEXTS = ("action", "connection", "principal.name", "statement.plan", "statement.verb")
TEXT_LISTS = (
    "principal.groups",
    "principal.roles",
    "statement.columns",
    "statement.effects",
    "statement.functions",
    "statement.tables",
)


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of a request, as its record states them.

    Attributes:
        at: The moment, or ``None`` where none is stated; a condition on ``at`` fails then.
        origin: Claims about where the request comes from, such as ``{"surface": "magic"}``.
    """

    at: datetime | None = None
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    text: str
    expression: cel.Expression

    def holds(self, facts: Mapping[str, Any]) -> bool | None:
        """Whether it holds, or ``None`` where evaluating it failed."""
        try:
            answer = self.expression.eval(data=facts).value()
        except (MemoryError, RuntimeError, TypeError, ValueError):
            return None
        return answer if isinstance(answer, bool) else None


def compile_condition(text: str, *, place: str) -> Condition:
    """Compile a condition.

    Args:
        text: The expression.
        place: Where in the policy it stands, for the error.

    Raises:
        ConfigInvalid: It is too long, does not parse, names an unknown variable, does not
            type-check, or gives something other than true or false.
    """
    if len(text) > CONDITION_CHARS_MAX:
        raise refused(place, f"it is longer than {CONDITION_CHARS_MAX:,} characters")
    try:
        expression = environment().compile(text)
    except RuntimeError as error:
        # The first line says what and where; the lines below repeat the text.
        head = str(error).splitlines()[0].removesuffix(" [INVALID_ARGUMENT]")
        raise refused(place, head.partition("<input>:")[2] or head) from None
    if expression.return_type().name() != "BOOL":
        raise refused(place, "it gives no truth value, which a condition has to")
    return Condition(text, expression)


def refused(place: str, why: str) -> ConfigInvalid:
    """The error of a condition that does not compile."""
    return ConfigInvalid(
        f"policy.yaml holds a condition that does not compile, at {place}.",
        code="policy-invalid",
        why=why,
        next_step="see docs/reference/policy.md for the variables, and cel.dev for the language",
    )


@functools.cache
def environment() -> cel.Env:
    """The variables that a condition may name, with their types."""
    # A policy without a condition does not wait for the library.
    from cel_expr_python import cel

    kinds = cel.Type
    variables = dict.fromkeys(TEXTS, kinds.STRING)
    variables |= dict.fromkeys(TEXT_LISTS, kinds.List(kinds.STRING))
    variables |= dict.fromkeys(TEXT_MAPS, kinds.Map(kinds.STRING, kinds.STRING))
    variables["at"] = kinds.TIMESTAMP
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(LANGUAGE), variables=variables)


def facts(
    principal: Principal, connection: str, action: str, statement: Statement, context: Context
) -> dict[str, Any]:
    """The values of the variables, each of them as the record keeps it."""
    uses = statement.tables
    found: dict[str, Any] = {
        "principal.name": principal.name,
        "principal.groups": sorted(principal.groups),
        "principal.roles": sorted(principal.roles),
        "connection": connection,
        "action": action,
        "statement.verb": statement.verb,
        "statement.effects": sorted(effect.value for effect in statement.effects),
        "statement.tables": list(dict.fromkeys(str(use.table) for use in uses)),
        "statement.columns": sorted(
            {f"{use.table}.{name}" for use in uses for name in use.columns}
        ),
        "statement.functions": sorted(statement.functions),
        "statement.plan": statement.plan,
        "origin": dict(context.origin),
    }
    if context.at is not None:
        found["at"] = context.at
    return found
