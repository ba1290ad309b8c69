"""Expressions of generated statements, typed so that most of them run.

What an engine writes in its own way stands in :data:`WORDS`; all else is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nbgov.core.worlds.schema import quote
from nbgov.core.worlds.values import POOL, WORLDS, Chance, Kind, literal, quoted, text

DEPTH_MAX = 3
ANY_KIND: tuple[Kind, ...] = ("text", "text", "text", "number", "time", "flag")
# Placeholders are those of MARKS; {p}, {q} predicates, {l} a pattern, {d} a digit, {c} a letter.
TEXT = (
    "upper({a})",
    "lower({a})",
    "trim({a})",
    "replace({a}, {b}, {b})",
    "coalesce({a}, {b})",
    "nullif({a}, {b})",
    "substr({a}, 2)",
    "substr({a}, {d}, 3)",
    "CASE WHEN {p} THEN {a} ELSE {b} END",
    "CASE {a} WHEN {b} THEN {b} ELSE {a} END",
    "ltrim({a})",
    "({a})",
)
NUMBER = (
    "length({a})",
    "({n} + {m})",
    "({n} - {m})",
    "({n} * 2)",
    "abs({n})",
    "coalesce({n}, {m})",
    "nullif({n}, {m})",
    "CASE WHEN {p} THEN {n} ELSE {m} END",
    "CASE WHEN {a} = {b} THEN 1 ELSE 0 END",
    "(-({n}))",
    "(CASE WHEN {a} IS NULL THEN 0 ELSE {n} END)",
)
FLAG = (
    "{a} = {b}",
    "{a} <> {b}",
    "{a} < {b}",
    "{a} >= {b}",
    "{a} LIKE {l}",
    "{a} NOT LIKE {l}",
    "{a} IN ({b}, {b}, {b})",
    "{a} NOT IN ({b}, {b})",
    "{a} BETWEEN {b} AND {b}",
    "{a} IS NULL",
    "{a} IS NOT NULL",
    "{n} = {m}",
    "{n} < {m}",
    "{n} > {m}",
    "{n} IN (1, {m}, 3)",
    "{n} IS NULL",
    "{n} BETWEEN {m} AND 50",
    "({p} AND {q})",
    "({p} OR {q})",
    "NOT ({p})",
    "length({a}) > {d}",
    "substr({a}, 1, 1) = {c}",
    "CASE WHEN {p} THEN {q} ELSE {a} = {b} END",
    "coalesce({a}, {b}) = {b}",
)
TIME = ("coalesce({t}, {u})", "nullif({t}, {u})", "CASE WHEN {p} THEN {t} ELSE {u} END", "({t})")
TIME_FLAG = ("{t} < {u}", "{t} = {u}", "{t} IS NULL", "{t} BETWEEN {u} AND {u}")
MARKS: dict[str, Kind] = {
    "a": "text",
    "b": "text",
    "n": "number",
    "m": "number",
    "t": "time",
    "u": "time",
}
# What only some dialects know.
WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    "postgres": {
        "text": (
            "({a} || {b})",
            "concat({a}, {b})",
            "left({a}, 3)",
            "right({a}, 2)",
            "reverse({a})",
            "md5({a})",
            "CAST({n} AS text)",
            "{n}::text",
            "lpad({a}, 8, '*')",
            "initcap({a})",
            "split_part({a}, '@', 2)",
            "overlay({a} placing 'x' from 2)",
            "translate({a}, 'ab', 'xy')",
            "concat_ws('-', {a}, {b})",
            "greatest({a}, {b})",
            "substring({a} from 2 for 3)",
            "to_char({n}, '999')",
            "regexp_replace({a}, '[0-9]', '#')",
            "quote_literal({a})",
            "(ARRAY[{a}, {b}])[1]",
            "format('%s', {a})",
        ),
        "number": (
            "strpos({a}, 'a')",
            "position('a' in {a})",
            "ascii({a})",
            "octet_length({a})",
            "CAST({a} AS int)",
            "({n} / {m})",
            "greatest({n}, {m})",
            "hashtext({a})",
            "char_length({a})",
            "cardinality(string_to_array({a}, '@'))",
        ),
        "flag": (
            "{a} ILIKE {l}",
            "{a} ~ 'a'",
            "{a} IS DISTINCT FROM {b}",
            "({a}, {n}) = ({b}, {m})",
            "{a} = ANY (ARRAY[{b}, {b}])",
            "starts_with({a}, {c})",
            "{a} SIMILAR TO '%a%'",
        ),
    },
    "duckdb": {
        "text": (
            "({a} || {b})",
            "concat({a}, {b})",
            "left({a}, 3)",
            "right({a}, 2)",
            "reverse({a})",
            "md5({a})",
            "CAST({n} AS varchar)",
            "{n}::varchar",
            "lpad({a}, 8, '*')",
            "split_part({a}, '@', 2)",
            "greatest({a}, {b})",
            "{a}[1:2]",
            "regexp_extract({a}, '[a-z]+')",
            "concat_ws('-', {a}, {b})",
            "list_extract([{a}, {b}], 1)",
        ),
        "number": (
            "strpos({a}, 'a')",
            "ascii({a})",
            "TRY_CAST({a} AS int)",
            "CAST({a} AS int)",
            "({n} // {m})",
            "levenshtein({a}, {b})",
            "len({a})",
            "hash({a})",
            "instr({a}, '@')",
        ),
        "flag": (
            "{a} ILIKE {l}",
            "{a} IS DISTINCT FROM {b}",
            "regexp_matches({a}, 'a')",
            "contains({a}, {c})",
            "starts_with({a}, {c})",
            "list_contains([{b}, {b}], {a})",
            "prefix({a}, {c})",
        ),
    },
    "sqlite": {
        "text": (
            "({a} || {b})",
            "hex({a})",
            "quote({a})",
            "CAST({n} AS text)",
            "max({a}, {b})",
            "ifnull({a}, {b})",
            "printf('%s', {a})",
            "typeof({a})",
            "substr({a}, -2)",
            "json_quote({a})",
        ),
        "number": (
            "instr({a}, 'a')",
            "unicode({a})",
            "CAST({a} AS integer)",
            "({n} / {m})",
            "max({n}, {m})",
            "round({n}, 1)",
            "({a} + {n})",
            "({n} % {m})",
            "json_valid({a})",
        ),
        "flag": (
            "{a} GLOB 'a*'",
            "{a} IS {b}",
            "{a} IS NOT {b}",
            "({a}, {n}) = ({b}, {m})",
            "{a}",
            "{a} > {n}",
        ),
    },
    "mysql": {
        "text": (
            "concat({a}, {b})",
            "left({a}, 3)",
            "right({a}, 2)",
            "reverse({a})",
            "md5({a})",
            "hex({a})",
            "CAST({n} AS char)",
            "lpad({a}, 8, '*')",
            "if({p}, {a}, {b})",
            "ifnull({a}, {b})",
            "concat_ws('-', {a}, {b})",
            "substring_index({a}, '@', 1)",
            "greatest({a}, {b})",
            "elt(1, {a}, {b})",
            "quote({a})",
            "insert({a}, 1, 2, 'x')",
        ),
        "number": (
            "instr({a}, 'a')",
            "ascii({a})",
            "CAST({a} AS signed)",
            "({n} DIV {m})",
            "field({a}, {b}, {b})",
            "locate('a', {a})",
            "greatest({n}, {m})",
            "strcmp({a}, {b})",
            "crc32({a})",
            "({a} + {n})",
        ),
        "flag": (
            "{a} REGEXP 'a'",
            "{a} <=> {b}",
            "({a}, {n}) = ({b}, {m})",
            "{a} XOR {p}",
            "{a} > {n}",
        ),
    },
}


@dataclass(frozen=True, slots=True)
class Field:
    """A column that can be named here: its text, and what can be done with it."""

    text: str
    kind: Kind
    type: str = ""


@dataclass
class Writer:
    """Writes expressions over the fields of a scope.

    Attributes:
        chance: What decides.
        dialect: Whose SQL is written.
        is_opaque: Write nothing that takes a text apart; see :func:`nbgov.core.worlds.statement`.
        scalar: Writes a subquery of one value, when one is wanted.
    """

    chance: Chance
    dialect: str
    is_opaque: bool = False
    scalar: Callable[[Sequence[Field], Kind], str] | None = None
    forms: dict[Kind, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = WORDS.get(self.dialect, {})
        self.forms = {
            "text": TEXT + own.get("text", ()),
            "number": NUMBER + own.get("number", ()),
            "flag": FLAG + own.get("flag", ()),
            "time": TIME,
        }

    def is_hit(self, share: float) -> bool:
        """Whether something happens that happens in a share of all cases."""
        return self.chance.random() < share

    def literal(self, kind: Kind) -> str:
        """A literal, often of a value that occurs in some world."""
        world = self.chance.choice((*WORLDS, ""))
        types = {"text": "text", "number": "int", "time": "date", "flag": "boolean", "other": ""}
        found = literal(types[kind], self.chance.randrange(POOL), world)
        is_cast = kind == "time" and self.dialect in {"postgres", "duckdb"}
        return f"CAST({found} AS date)" if is_cast else found

    def pattern(self) -> str:
        """A LIKE pattern that hits some values of some world."""
        found = text(self.chance.randrange(POOL), self.chance.choice((*WORLDS, "")))
        form = self.chance.choice(("{}%", "%{}", "%{}%"))
        return quoted(form.format(found[: 1 + self.chance.randrange(4)].replace("'", "")))

    def pick(self, scope: Sequence[Field], kind: Kind) -> str:
        """A field of a kind, or a literal where there is none."""
        found = [one.text for one in scope if one.kind == kind]
        return self.chance.choice(found) if found else self.literal(kind)

    def write(self, scope: Sequence[Field], kind: Kind, depth: int = 0) -> str:
        """An expression of a kind."""
        if kind == "time" and not any(one.kind == "time" for one in scope):
            kind = "text"
        if kind == "other" or depth >= DEPTH_MAX or self.is_hit(0.35 + 0.15 * depth):
            return self.leaf(scope, kind, depth)
        if self.scalar is not None and self.is_hit(0.08):
            return self.scalar(scope, kind)
        forms = self.forms[kind]
        if kind == "flag" and self.is_hit(0.1):
            forms = TIME_FLAG
        if self.is_opaque:
            forms = tuple(one for one in forms if is_whole(one))
        return self.fill(self.chance.choice(forms), scope, depth + 1)

    def leaf(self, scope: Sequence[Field], kind: Kind, depth: int) -> str:
        """A field or a literal; a predicate is at least a comparison."""
        if kind == "flag":
            form = self.chance.choice(("{x} = {y}", "{x} IS NULL", "{x} <> {y}", "{x} > {y}"))
            of: Kind = self.chance.choice(("text", "number", "text"))
            return form.format(x=self.pick(scope, of), y=self.literal(of))
        return self.pick(scope, kind) if depth == 0 or self.is_hit(0.8) else self.literal(kind)

    def fill(self, form: str, scope: Sequence[Field], depth: int) -> str:
        """A form with its placeholders written."""
        written = ""
        for place, part in enumerate(form.split("{")):
            if not place:
                written = part
                continue
            mark, rest = part[0], part[2:]
            written += self.part(mark, scope, depth) + rest
        return written

    def part(self, mark: str, scope: Sequence[Field], depth: int) -> str:
        """What one placeholder stands for."""
        if mark == "d":
            return str(1 + self.chance.randrange(9))
        if mark == "l":
            return self.pattern()
        if mark == "c":
            return quoted(self.chance.choice(("a", "z", "*", "1", "c")))
        if mark in "bmu" and self.is_hit(0.6):
            return self.literal(MARKS[mark])
        return self.write(scope, MARKS.get(mark, "flag"), depth)

    def name(self, text_: str) -> str:
        """A name, quoted at times."""
        return quote(text_, self.dialect) if not text_.islower() or self.is_hit(0.1) else text_


def is_whole(form: str) -> bool:
    """Whether a form takes texts as a whole: it compares them for equality, or hands them on."""
    heads = "coalesce(|nullif(|CASE |({a})|{a} = |{a} <> |{a} IN|{a} IS|{a} NOT IN".split("|")
    if "{a}" not in form and "{b}" not in form:
        return True
    return form.startswith((*heads, "{n}", "(CASE")) and "substr" not in form
