"""Bind values and their markers, between a cleared text and the style a driver takes.

A cleared text marks values as ``:name`` and says where each marker stands. Drivers want ``$1``,
``?`` or ``%s``. This module writes the other style and checks the values. It never reads SQL,
because whoever cleared the text has found the markers. Cases: ``tests/core/test_binds.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nbgov.errors import RequestInvalid

if TYPE_CHECKING:
    from nbgov.model import BindMarker

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
DECIMAL_DIGITS_MAX = 38


def write_markers(sql: str, markers: Iterable[BindMarker], write: Callable[[str], str]) -> str:
    """The text with every marker written anew, and nothing else touched.

    Args:
        sql: A cleared text.
        markers: Where its markers stand.
        write: The new spelling of the marker with a given name.

    Example:
        >>> from nbgov.model import BindMarker, Span
        >>> write_markers("SELECT ':a', :a", [BindMarker("a", Span(13, 15))], lambda name: "?")
        "SELECT ':a', ?"
    """
    pieces, end = [], 0
    for marker in sorted(markers, key=lambda marker: marker.span.start):
        pieces += [sql[end : marker.span.start], write(marker.name)]
        end = marker.span.end
    return "".join([*pieces, sql[end:]])


def number_markers(
    sql: str, markers: Sequence[BindMarker], *, nulls: Collection[str] = ()
) -> tuple[str, list[str]]:
    """The text with markers as ``$1``, ``$2`` and so on, and the name behind each number.

    A name that is marked twice keeps one number, so the driver sees one value. Names in ``nulls``
    are written as ``NULL`` and get no number.

    Example:
        >>> from nbgov.model import BindMarker, Span
        >>> markers = [BindMarker("x", Span(4, 6)), BindMarker("x", Span(14, 16))]
        >>> number_markers("a = :x OR b = :x", markers)
        ('a = $1 OR b = $1', ['x'])
    """
    ordered = sorted(markers, key=lambda marker: marker.span.start)
    names = list(dict.fromkeys(marker.name for marker in ordered if marker.name not in nulls))
    spellings = {name: f"${place}" for place, name in enumerate(names, 1)}
    return write_markers(sql, ordered, lambda name: spellings.get(name, "NULL")), names


def bind_values(binds: Mapping[str, Any], names: Iterable[str]) -> list[Any]:
    """The values of the named markers, in order, each of a type that every driver can take.

    Raises:
        RequestInvalid: A marker has no value, or a value of a type no database can be sent.
    """
    return [check_value(name, binds) for name in names]


def check_value(name: str, binds: Mapping[str, Any]) -> Any:
    """The value of one marker.

    Raises:
        RequestInvalid: There is none (``bind-missing``), or it cannot be sent (``bind-type``).
    """
    if name not in binds:
        raise RequestInvalid(
            f"The marker :{name} has no value.",
            code="bind-missing",
            next_step=f"Pass {name}=... with the statement.",
        )
    value = binds[name]
    if reason := why_refused(value):
        raise RequestInvalid(
            f"The value of :{name} cannot be sent to a database.",
            code="bind-type",
            why=reason,
            next_step="Pass None, a bool, int, float, str, bytes, Decimal, date, datetime or time.",
        )
    return value


def why_refused(value: object) -> str:
    """Why a value cannot be sent, or an empty text. The value itself is never named."""
    match value:
        case None | bool() | float() | bytes() | date() | datetime() | time():
            return ""
        case int():
            fits = INTEGER_MIN <= value <= INTEGER_MAX
            return "" if fits else "The integer is larger than 64 bits."
        case str():
            return "" if is_unicode(value) else "The text holds half a surrogate pair."
        case Decimal():
            fits = value.is_finite() and decimal_digits(value) <= DECIMAL_DIGITS_MAX
            return (
                ""
                if fits
                else f"The decimal is not a number of at most {DECIMAL_DIGITS_MAX} digits."
            )
    return f"Its type is {type(value).__name__}."


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decimal_digits(value: Decimal) -> int:
    """How many digits a finite decimal takes when written out, on both sides of the point."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    return max(len(digits) + exponent, 0) + max(-exponent, 0)


def text_form(value: Any) -> Any:
    """The value for a driver that knows no decimals and no times: those become ISO 8601 text.

    Example:
        >>> text_form(datetime(2013, 1, 31, 9, 5)), text_form(Decimal("1.50")), text_form(7)
        ('2013-01-31 09:05:00', '1.50', 7)
    """
    match value:
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
    return value
