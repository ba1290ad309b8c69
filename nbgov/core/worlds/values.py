"""Values of synthetic worlds: what a column of a type holds, as literals of its dialect.

Values come from small pools, so that equal values, ranges and LIKE patterns of generated statements
hit rows. The pools of two worlds are disjoint, differ in length and order, and where a cast could
fail they fail in one world only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from nbgov.model import MaskKind

T = TypeVar("T")
Kind = Literal["text", "number", "time", "flag", "other"]

WORLDS = ("a", "b")
POOL = 12
NUMBERS = (
    "int", "integer", "bigint", "smallint", "tinyint", "mediumint", "hugeint", "numeric", "decimal",
    "real", "double", "float", "serial", "bigserial", "number",
)  # fmt: skip
TEXTS = {
    "a": ("anna {}", "a{}@example.com", "{}", "call a{} at home", "10{}"),
    "b": ("zed no. {}", "z{}.long.address@other.example.org", "x{}", "%{}_", "{}'; --"),
    "": ("v{}", "DE", "note {}", "US", "{}"),
}
NUMBERS_OF = {"a": (0, 1, 2, 3, 5, 8), "b": (-7, 40, 41, 43, 99, 100), "": (0, 1, 2, 3, 4, 5)}


class Chance(Protocol):
    """What a generator asks of chance; :class:`random.Random` gives it."""

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """A whole number from 0 up to, not including, ``stop``."""
        ...

    def choice(self, seq: Sequence[T], /) -> T:
        """One of the elements."""
        ...


def kind_of(type_name: str) -> Kind:
    """What can be done with a column of a type, as far as a generator cares.

    Example:
        >>> [kind_of(t) for t in ("varchar(20)", "DECIMAL(10, 2)", "timestamptz", "jsonb")]
        ['text', 'number', 'time', 'other']
    """
    name = type_name.lower().strip()
    if name.endswith("]") or name.startswith(("interval", "enum", "struct", "map", "union")):
        return "other"
    first = name.replace("(", " ").split(" ")[0] if name else "text"
    if first.startswith(("date", "timestamp")):
        return "time"
    if first in NUMBERS:
        return "number"
    if first.startswith("bool"):
        return "flag"
    is_text = first in {"text", "string", "clob", "character"} or first.endswith(("char", "text"))
    return "text" if is_text else "other"


def hidden(
    type_name: str, index: int, world: str, mask: MaskKind, images: Sequence[str] = ()
) -> str:
    """The literal of a value that reads masked: two worlds differ in all that the mask hides.

    Tokens show which values are equal, so that equal values stay equal; ``year`` shows the year,
    and ``partial`` the last characters of a long text.

    Args:
        type_name: The column's type.
        index: Which value of the pool; any number.
        world: ``a`` or ``b``.
        mask: How the column reads.
        images: The values of this world behind a token, :data:`POOL` of them.
    """
    kind = kind_of(type_name)
    if mask is MaskKind.YEAR and kind == "time":
        day = {"a": "03-09", "b": "11-27"}[world]
        return f"'{1990 + index % POOL}-{day}'"
    if mask is MaskKind.PARTIAL and kind == "text":
        head = {"a": "anna ", "b": "zed of the "}[world]
        return quoted(clipped(f"{head}{index % POOL:08d}", type_name))
    if mask is MaskKind.TOKEN and kind == "text":
        fits = all(clipped(image, type_name) == image for image in images)
        return quoted(images[index % POOL]) if fits and images else literal(type_name, index, "")
    # Other values, equal in other places: not even what equals what may show.
    return literal(type_name, index * 7 // 5 if world == "b" else index, world)


def literal(type_name: str, index: int, world: str) -> str:
    """The literal of one value of a type.

    Args:
        type_name: A type whose :func:`kind_of` is not ``other``, else the literal is ``NULL``.
        index: Which value of the pool; any number.
        world: ``a``, ``b``, or empty for values that the worlds share.
    """
    place = index % POOL
    kind = kind_of(type_name)
    if kind == "number":
        pool = NUMBERS_OF[world]
        return str(pool[place % len(pool)])
    if kind == "flag":
        return "TRUE" if (place + (world == "b")) % 2 else "FALSE"
    if kind == "time":
        year = {"a": 1990, "b": 2014, "": 2020}[world] + place % 5
        # The first of a year is what the mask ``year`` shows of every day in it.
        return f"'{year}-{1 + place:02d}-{1 + place:02d}'"
    if kind == "text":
        return quoted(clipped(text(place, world), type_name))
    return "NULL"


def text(index: int, world: str) -> str:
    """One text of a pool."""
    forms = TEXTS[world]
    return forms[index % len(forms)].format(index)


def clipped(value: str, type_name: str) -> str:
    """A text that fits a type with a length."""
    _, _, rest = type_name.partition("(")
    size = rest.partition(")")[0]
    return value[-int(size) :] if size.isdecimal() else value


def quoted(value: str) -> str:
    """A text as a literal, the same in every dialect."""
    return "'" + value.replace("'", "''") + "'"
