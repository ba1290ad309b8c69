"""What can be asked of the audit log: a query, how people write it, and which entries it means.

An entry that closes an attempt leaves to that attempt whatever was known before. A query sees the
two as one record: what the closing entry does not say, its attempt says (:func:`joined`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from difflib import get_close_matches
from fnmatch import translate
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from nbgov.errors import RequestInvalid
from nbgov.model import Record, RecordKind

# What an entry can be found by: the folded texts of each field.
Traits: TypeAlias = Mapping[str, tuple[str, ...]]

LIMIT = 50
# Fields that are matched by patterns, with the fields of a record that hold them.
NAMED = {
    "principal": "principal", "connection": "connection", "table": "tables", "column": "columns",
    "decision": "decision", "rule": "rules", "status": "status", "code": "code", "kind": "kind",
    "verb": "verb",
}  # fmt: skip
# Fields that are matched by how they begin.
IDS = ("session", "request", "ticket", "run", "version")
DOTTED = {"table", "column"}
CHOICES = {"decision": ("permit", "deny"), "kind": tuple(map(str, RecordKind))}
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Every condition that is set must hold; an empty one asks for nothing.

    A condition with several patterns holds where one of them matches. Patterns are globs in any
    case. Those of tables and columns match the last parts of ``connection.schema.table.column``,
    part by part, so that ``people``, ``main.*`` and ``warehouse.main.people`` all mean something.
    Those of ``session``, ``request``, ``ticket``, ``run`` and ``version`` are how an id begins.

    Attributes:
        text: A part of the redacted statement, in any case.
        since, until: The time, from the first moment on and before the second one.
        limit: Entries at most.
        oldest_first: Whether the oldest come first, and not the newest.
    """

    principal: tuple[str, ...] = ()
    connection: tuple[str, ...] = ()
    table: tuple[str, ...] = ()
    column: tuple[str, ...] = ()
    decision: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    verb: tuple[str, ...] = ()
    session: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    ticket: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    oldest_first: bool = False

    def __str__(self) -> str:
        told = [f"{name} {' or '.join(getattr(self, name))}" for name in wanted(self)]
        if self.text:
            told.append(f"text {self.text!r}")
        for name, at in (("since", self.since), ("until", self.until)):
            if at is not None:
                told.append(f"{name} {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
        return ", ".join(told)


def wanted(query: Query) -> list[str]:
    """The fields that a query has patterns for."""
    return [name for name in (*NAMED, *IDS) if getattr(query, name)]


# ---------------------------------------------------------------- what a query means


def matches(query: Query, record: Record, attempt: Record | None = None) -> bool:
    """Whether a query means an entry.

    Args:
        query: What is looked for. Its limit and its order are not about one entry.
        record: What the entry states.
        attempt: What the attempt states that it closes, if it closes one.
    """
    whole = joined(record, attempt)
    held = traits({name: getattr(whole, name) for name in FIELDS})
    return is_in_time(query, record.at) and meets(query, held)


def joined(record: Record, attempt: Record | None) -> Record:
    """A record with what its attempt states where it states nothing itself."""
    if attempt is None:
        return record
    fields = ((field.name, getattr(record, field.name)) for field in dataclasses.fields(Record))
    return replace(attempt, **{name: value for name, value in fields if value is not None})


def is_in_time(query: Query, at: datetime) -> bool:
    """Whether a moment is within the time that a query speaks of."""
    return (query.since is None or query.since <= at) and (query.until is None or at < query.until)


def meets(query: Query, held: Traits) -> bool:
    """Whether traits meet every condition of a query but that of time."""
    return fold(query.text) in (held["statement"] or ("",))[0] and all(
        any(is_meant(name, pattern, value) for pattern in getattr(query, name) for value in values)
        for name, values in ((name, held[name]) for name in wanted(query))
    )


FIELDS = (*NAMED.values(), *IDS, "statement")


def traits(fields: Mapping[str, Any]) -> Traits:
    """What an entry can be found by.

    Args:
        fields: Fields of the record, one that closes an attempt joined with it.
    """
    found = {name: texts(fields.get(field)) for name, field in NAMED.items()}
    head = (fields.get("connection") or "").replace(".", "_")
    for name in DOTTED:
        found[name] = tuple(fold(f"{head}.{value}") for value in found[name])
    return found | {name: texts(fields.get(name)) for name in (*IDS, "statement")}


def texts(value: Any) -> tuple[str, ...]:
    """The folded texts of a field."""
    if value is None:
        return ()
    return (fold(value),) if isinstance(value, str) else tuple(map(fold, value))


def fold(text: str) -> str:
    """A text as it is compared: in one case, and without the character that ends text in C."""
    return text.casefold().replace("\0", "\ufffd")


def is_meant(name: str, pattern: str, value: str) -> bool:
    """Whether a pattern of a field matches one of its values, which is folded.

    Example:
        >>> is_meant("table", "MAIN.*", "wh.main.people"), is_meant("run", "3f", "3f9c1e")
        (True, True)
    """
    if name in IDS:
        return value.startswith(fold(pattern))
    matcher, parts = compiled(pattern, is_dotted=name in DOTTED)
    if name in DOTTED:
        # The last parts are those that count, as people leave out the first ones.
        value = ".".join(value.split(".")[-parts:])
    return matcher.fullmatch(value) is not None


@lru_cache(maxsize=256)
def compiled(pattern: str, *, is_dotted: bool) -> tuple[re.Pattern[str], int]:
    """The matcher of a pattern, and how many parts of a dotted name it is about."""
    parts = fold(pattern).split(".") if is_dotted else [fold(pattern)]
    # Each part by itself, as in a policy, so that a star does not run across a dot.
    wild = "[^.]*" if is_dotted else ".*"
    joint = r"\.".join(translate(part)[4:-3].replace(".*", wild) for part in parts)
    return re.compile(joint, re.DOTALL), len(parts)


# ---------------------------------------------------------------- how people write a query


class Option(NamedTuple):
    """An option of a command that looks for entries."""

    name: str
    metavar: str
    help: str


OPTIONS = (
    Option("principal", "NAME", "Who asked."),
    Option("connection", "NAME", "The connection."),
    Option("table", "NAME", "A table that was named: people, main.* or warehouse.main.people."),
    Option("column", "NAME", "A column that was read: *.email or main.people.email."),
    Option("decision", "WORD", "permit or deny."),
    Option("rule", "ID", "A rule of the policy that the decision rests on."),
    Option("status", "WORD", "How it ended: ok, denied, pending, error, cancelled, dropped."),
    Option("code", "CODE", "The code of the error that ended it."),
    Option("kind", "WORD", f"{', '.join(CHOICES['kind'])}."),
    Option("verb", "WORD", "SELECT, UPDATE and so on; of admin entries OPEN, POLICY, ROTATE ..."),
    Option("session", "ID", "The session, or how its id begins."),
    Option("request", "ID", "The request, or how its id begins."),
    Option("ticket", "ID", "The approval ticket, or how it begins."),
    Option("run", "ID", "The training run, or how its id begins."),
    Option("version", "ID", "The dataset version, or how its id begins."),
)
TIMES = (
    Option("since", "TIME", "From then on: 2h, 7d, today, yesterday, 2026-11-23 or with T09:30."),
    Option("until", "TIME", "Before then. Times without an offset are UTC."),
)


def read_query(options: Mapping[str, Any], *, now: datetime) -> Query:
    """The query behind the options of a command or a magic.

    Args:
        options: What was given: for each of :data:`OPTIONS` the patterns, for each of
            :data:`TIMES` a text, and ``text``, ``limit`` and ``oldest_first``. What is absent or
            ``None`` was not given.
        now: The time, which relative times count from.

    Raises:
        RequestInvalid: One of them does not say anything (code ``usage``).

    Example:
        >>> now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        >>> str(read_query({"table": ["main.*"], "since": "2h"}, now=now))
        'table main.*, since 2026-11-23 10:00:00 UTC'
    """
    names = [option.name for option in OPTIONS]
    fields = {name: patterns(name, options.get(name) or ()) for name in names}
    since, until = (
        read_time(text, now=now) if (text := options.get(option.name)) else None for option in TIMES
    )
    limit = options.get("limit")
    if since is not None and until is not None and since >= until:
        raise wrong("Nothing is both --since and --until these times.", "let --since come first")
    if limit is not None and limit < 1:
        raise wrong("A limit is a whole number above zero.", "write --limit 20")
    return Query(
        text=options.get("text") or "",
        since=since,
        until=until,
        limit=limit,
        oldest_first=bool(options.get("oldest_first")),
        **fields,
    )


def patterns(name: str, given: Sequence[str]) -> tuple[str, ...]:
    """The patterns of one field, those that could never match refused."""
    for pattern in given:
        known = CHOICES.get(name)
        if known and not GLOB.search(pattern) and fold(pattern) not in known:
            near = get_close_matches(fold(pattern), known, n=1)
            hint = f"write --{name} {near[0]}" if near else f"use one of: {', '.join(known)}"
            raise wrong(f"No entry has the {name} {pattern!r}.", hint)
        if not pattern:
            raise wrong(f"The pattern of --{name} is empty.", "leave the option out, or write *")
    return tuple(given)


def read_time(text: str, *, now: datetime) -> datetime:
    """The moment that a text means.

    Raises:
        RequestInvalid: It means none (code ``usage``).
    """
    today = datetime.combine(now.astimezone(UTC), time(), UTC)
    words = {"now": now, "today": today, "yesterday": today - timedelta(days=1)}
    if text.lower() in words:
        return words[text.lower()]
    try:
        if span := SPAN.fullmatch(text):
            return now - timedelta(**{UNITS[span[2]]: int(span[1])})
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise wrong(
            f"{text!r} is no time.", "write 90m, 2h, 7d, today, yesterday or 2026-11-23T09:30"
        ) from None


def wrong(what: str, next_step: str) -> RequestInvalid:
    """The error of options that say nothing."""
    return RequestInvalid(what, code="usage", next_step=next_step)
