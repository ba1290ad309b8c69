"""What a consent is about, as bytes: a digest that clears one exact request and nothing else.

Two texts that differ in a space are two statements, and ``1``, ``'1'``, ``True`` and ``1.0`` are
four values. Cases: ``tests/core/test_binding.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from nbgov.errors import RequestInvalid
from nbgov.model import ApprovalQuorum, Decision

BIND_CHARS_MAX = 2_000
BINDING_DOMAIN = b"nbgov approval binding 2"
VEILED = "veiled"
Mac = Callable[[bytes], bytes]


def binding(
    sql: str,
    binds: Mapping[str, Any],
    *,
    connection: str,
    requester: str,
    conditions: bytes,
    catalog: bytes,
    veil: Mac | None = None,
) -> bytes:
    """Digest of everything that a consent is about, so that it clears that and nothing else.

    Args:
        sql: The user's text, byte for byte.
        binds: Name to value, as they are sent to the database; a tuple counts as a list.
        connection: Name of the connection.
        requester: Name of the principal who asks.
        conditions: What the policy puts on the statement beside votes (:func:`conditions`).
        catalog: Digest of the tables that it names, as they are defined.
        veil: Keyed digest in the place of values that are a secret to voters and stores.

    Raises:
        RequestInvalid: A value has a type that cannot be bound (code ``bind-type``).

    Example:
        >>> where = {"connection": "ops", "requester": "ada", "conditions": b"", "catalog": b""}
        >>> binding("SELECT :x", {"x": 1}, **where) == binding("SELECT :x", {"x": True}, **where)
        False
    """
    digest = hashlib.sha256()
    # Security: without its length in front, a part could borrow bytes from its neighbour.
    for part in (
        BINDING_DOMAIN,
        exact(connection),
        exact(requester),
        conditions,
        catalog,
        exact(sql),
        *(veiled(typed(name, value), veil) for name, value in sorted(binds.items())),
    ):
        digest.update(prefixed(part))
    return digest.digest()


def conditions(decision: Decision) -> bytes:
    """Digest of all that a permit puts on a statement beside votes: masks, filters and limits.

    Who has to vote is left out; :func:`nbgov.core.approval.consume` holds that against the votes.
    """
    held = [repr(o) for o in decision.obligations if not isinstance(o, ApprovalQuorum)]
    return hashlib.sha256(b"".join(prefixed(exact(one)) for one in sorted(held))).digest()


def write_binds(binds: Mapping[str, Any], *, veil: Mac | None = None) -> str:
    """Bound values as canonical JSON: name to type and exact value.

    Args:
        binds: Name to value.
        veil: Keyed digest to write in the place of values, which nobody can then read back.

    Raises:
        RequestInvalid: A value has a type that cannot be bound (code ``bind-type``).

    Example:
        >>> write_binds({"id": 7, "ids": [1, None]})
        '{"id":["int","7"],"ids":["list",[["int","1"],["NoneType",""]]]}'
    """
    pairs = {
        name: [VEILED, veil(typed(name, value)).hex()] if veil else written(value)
        for name, value in sorted(binds.items())
    }
    return json.dumps(pairs, separators=(",", ":"))


def read_binds(text: str) -> dict[str, Any]:
    """The values behind :func:`write_binds`.

    Raises:
        ValueError: They are veiled, or the text is none that it wrote.
    """
    return {name: restored(*pair) for name, pair in json.loads(text or "{}").items()}


def describe_binds(text: str) -> str:
    r"""Names, types and values of what is bound, one a line, for the voter's eyes only.

    A value of more than :data:`BIND_CHARS_MAX` characters is cut and says so; its digest stands for
    the rest, so that different values always read differently.

    Example:
        >>> print(describe_binds(write_binds({"who": "O'Hara\n", "month": 1})))
        month: int = 1
        who: str = "O'Hara\n"
    """
    return "\n".join(f"{name}: {told(*pair)}" for name, pair in json.loads(text or "{}").items())


def told(kind: str, value: Any) -> str:
    """One written value, for people."""
    if kind == VEILED:
        return f"kept sealed, keyed digest {value}"
    # Security: repr escapes what would redraw the voter's screen, such as reversed text.
    text = repr(restored(kind, value))
    if len(text) > BIND_CHARS_MAX:
        digest = hashlib.sha256(exact(text)).hexdigest()
        text = f"{text[:BIND_CHARS_MAX]} … {len(text)} characters, sha256 {digest}"
    return f"{kind} = {text}"


def veiled(data: bytes, veil: Mac | None) -> bytes:
    """Some bytes, or what stands for them. Security: without a key, few values are soon guessed."""
    return data if veil is None else veil(data)


def written(value: Any) -> list[Any]:
    """A value behind the name of its type."""
    if type(value) in (list, tuple):
        return ["list", [written(one) for one in value]]
    data = typed("", value) and BYTES[type(value)](value)
    readable = type(value) in READ_AS_TEXT
    text = data.decode(errors="surrogatepass") if readable else base64.b64encode(data).decode()
    return [type(value).__name__, text]


def restored(kind: str, value: Any) -> Any:
    """The value behind :func:`written`."""
    if kind == "list":
        return [restored(*one) for one in value]
    if kind not in RESTORED:
        why = f"a value of type {kind} cannot be read back"
        raise ValueError(why)
    return RESTORED[kind](value)


def exact(text: str) -> bytes:
    """The bytes of a text, different for different texts, lone surrogates included."""
    return text.encode(errors="surrogatepass")


def prefixed(part: bytes) -> bytes:
    """A part behind its length."""
    return struct.pack(">Q", len(part)) + part


def typed(name: str, value: Any) -> bytes:
    """A bound value behind its name and its type."""
    if type(value) in (list, tuple):
        return b"".join(map(prefixed, [exact(name), b"list", *(typed("", v) for v in value)]))
    # Security: a subclass can show the voter one value and the database another.
    if type(value) not in BYTES:
        raise RequestInvalid(
            f"The value of :{name} cannot be bound." if name else "A list holds a wrong value.",
            code="bind-type",
            why=f"its type is {type(value).__name__}",
            next_step="pass a plain Python value, such as int, str or datetime",
        )
    tag = type(value).__name__.encode()
    return b"".join(map(prefixed, [exact(name), tag, BYTES[type(value)](value)]))


def span_of(text: str) -> timedelta:
    """A duration behind its days, seconds and microseconds."""
    days, seconds, microseconds = map(int, text.split())
    return timedelta(days, seconds, microseconds)


BYTES: Mapping[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"",
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: str(value).encode(),
    float: lambda value: struct.pack(">d", value),
    str: exact,
    bytes: bytes,
    Decimal: lambda value: str(value).encode(),
    date: lambda value: value.isoformat().encode(),
    time: lambda value: value.isoformat().encode(),
    datetime: lambda value: value.isoformat().encode(),
    timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}".encode(),
}
READ_AS_TEXT = frozenset(BYTES) - {float, bytes}
RESTORED: Mapping[str, Callable[[str], Any]] = {
    "NoneType": lambda _: None,
    "bool": lambda text: text == "1",
    "int": int,
    "float": lambda text: struct.unpack(">d", base64.b64decode(text))[0],
    "str": str,
    "bytes": base64.b64decode,
    "Decimal": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "datetime": datetime.fromisoformat,
    "timedelta": span_of,
}
