"""What a connection was seen to hold, as a document, and how two such documents differ.

A document is made of a catalog alone and holds no text that may hold a literal: the definition of a
view, and a type that spells values out (``ENUM('Ada', 'Ben')``), are told apart by keyed digests.
So it may be kept, and what is said of it may stand in the audit log. Names are kept as they are.
Cases: ``tests/core/test_catalog_changes.py``.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, starmap
from typing import Any, TypeAlias

from nbgov.core.catalog import write_name
from nbgov.model import Author, Catalog, Column, Table

Document: TypeAlias = Mapping[str, Any]

MAC_CHARS = 32
# Security: labels of an ENUM are data. From the first quote to the last one nothing is kept.
LABELS = re.compile(r"'(?:.*'|.*)", re.DOTALL)
PLAIN_TOKEN = re.compile(r'[^\s"]+')
FACTS = ("dialect", "default_schema")


class ChangeKind(enum.StrEnum):
    """What became of a part of a catalog. The value is part of the audit log's words."""

    TABLE_ADDED = "table-added"
    TABLE_DROPPED = "table-dropped"
    COLUMN_ADDED = "column-added"
    COLUMN_DROPPED = "column-dropped"
    COLUMN_RETYPED = "column-retyped"
    COLUMN_REQUIRED = "column-required"
    COLUMN_OPTIONAL = "column-optional"
    COLUMNS_REORDERED = "columns-reordered"
    KIND_CHANGED = "kind-changed"
    VIEW_REDEFINED = "view-redefined"
    VIEW_REROUTED = "view-rerouted"
    PARENTS_CHANGED = "parents-changed"
    KEY_CHANGED = "key-changed"
    GRANT_ADDED = "grant-added"
    GRANT_REMOVED = "grant-removed"
    FUNCTION_ADDED = "function-added"
    FUNCTION_DROPPED = "function-dropped"
    SETTING_CHANGED = "setting-changed"


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One difference between two documents.

    Nothing is taken for a new name of something else: a table or column that was renamed is one
    that was dropped and another that was added.

    Attributes:
        kind: What happened.
        subject: The table, function or setting that it happened to, as a catalog file names it.
        part: The column, of a change of one.
        before: What was there; empty where nothing was.
        after: What is there; empty where nothing is.
    """

    kind: ChangeKind
    subject: str
    part: str = ""
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        """The line of the audit log: words with a space between them, quoted as JSON if need be.

        >>> str(Change(ChangeKind.COLUMN_RETYPED, "main.t", "a", "DECIMAL(4, 1)", "DOUBLE"))
        'column-retyped main.t a "DECIMAL(4, 1)" DOUBLE'
        """
        tokens = [self.subject, *([self.part] if self.part else []), self.before, self.after]
        return " ".join([self.kind.value, *(map(token, tokens))])

    @property
    def is_of_table(self) -> bool:
        """Whether the subject is a table or view."""
        return self.kind not in OF_NO_TABLE

    @property
    def mark(self) -> str:
        """``+`` for what came, ``-`` for what went, ``~`` for what is another now."""
        return MARKS.get(self.kind.value.rpartition("-")[2], "~")

    def words(self) -> str:
        """The change for people, without the name of its table.

        >>> Change(ChangeKind.COLUMN_RETYPED, "main.t", "a", "INTEGER", "DOUBLE").words()
        'a is DOUBLE, was INTEGER'
        """
        told = WORDS[self.kind]
        if self.before == self.after:
            told = SAME_WORDS.get(self.kind, told)
        absent = "no type" if self.part else "nothing"
        before, after = self.before or absent, self.after or absent
        return told.format(subject=self.subject, part=self.part, before=before, after=after)


OF_NO_TABLE = {
    ChangeKind.FUNCTION_ADDED,
    ChangeKind.FUNCTION_DROPPED,
    ChangeKind.SETTING_CHANGED,
}
MARKS = {"added": "+", "dropped": "-", "removed": "-"}
WORDS = {
    ChangeKind.TABLE_ADDED: "added: {after}",
    ChangeKind.TABLE_DROPPED: "dropped: {before}",
    ChangeKind.COLUMN_ADDED: "{part} added: {after}",
    ChangeKind.COLUMN_DROPPED: "{part} dropped: {before}",
    ChangeKind.COLUMN_RETYPED: "{part} is {after}, was {before}",
    ChangeKind.COLUMN_REQUIRED: "{part} is never NULL now",
    ChangeKind.COLUMN_OPTIONAL: "{part} may be NULL now",
    ChangeKind.COLUMNS_REORDERED: "columns in another order: {after}",
    ChangeKind.KIND_CHANGED: "is a {after}, was a {before}",
    ChangeKind.VIEW_REDEFINED: "has another definition; it reads {after}, and read {before}",
    ChangeKind.VIEW_REROUTED: "reads {after}, read {before}, through another view",
    ChangeKind.PARENTS_CHANGED: "is a part of {after}, was one of {before}",
    ChangeKind.KEY_CHANGED: "has the primary key {after}, was {before}",
    ChangeKind.GRANT_ADDED: "granted: {after}",
    ChangeKind.GRANT_REMOVED: "no longer granted: {before}",
    ChangeKind.FUNCTION_ADDED: "function added",
    ChangeKind.FUNCTION_DROPPED: "function dropped",
    ChangeKind.SETTING_CHANGED: "is {after}, was {before}",
}
SAME_WORDS = {
    ChangeKind.COLUMN_RETYPED: "{part} is {after} with other labels",
    ChangeKind.VIEW_REDEFINED: "has another definition; it reads {after}, as before",
}


def told_by(authors: Sequence[Author], principal: str, *, is_searched: bool = True) -> str:
    """Who was seen changing a connection, in words.

    Args:
        authors: The governed statements that may have done it.
        principal: Whose request met the change.
        is_searched: Whether all entries since the version before were searched for them.

    Example:
        >>> seen = [Author(12, "ada", "ALTER", ("main.t",)), Author(14, "ben", "DROP", (), False)]
        >>> told_by(seen, "eve")
        'by ada, entry 12 (ALTER main.t); by ben, entry 14 (DROP, whose end is not known)'
        >>> told_by([], "eve")
        'outside nbgov, first seen by eve'
        >>> told_by([], "eve", is_searched=False)
        'outside nbgov or before the entries that were searched, first seen by eve'
    """
    if not authors:
        earlier = "" if is_searched else " or before the entries that were searched"
        return f"outside nbgov{earlier}, first seen by {principal}"
    told = [
        f"by {author.principal}, entry {author.record} ("
        + " ".join([author.verb, ", ".join(author.tables)]).strip()
        + ("" if author.is_closed else ", whose end is not known")
        + ")"
        for author in authors
    ]
    return "; ".join([*told, *([] if is_searched else ["earlier entries were not searched"])])


# ---------------------------------------------------------------- the document


def document(catalog: Catalog, key: bytes) -> Document:
    """The catalog as values that JSON holds; equal for catalogs that hold the same.

    Args:
        catalog: A composed catalog, so that views name their base tables.
        key: Key of the digests of definitions and labels. Only documents made with one key can be
            compared.
    """
    tables = sorted(catalog.tables.values(), key=lambda table: table.name)
    return {
        "dialect": catalog.dialect,
        "default_schema": catalog.default_schema,
        "tables": {write_name(table.name): table_entry(table, key) for table in tables},
        "functions": sorted(catalog.functions),
    }


def digest(told: Document) -> bytes:
    """SHA-256 of a document."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def table_entry(table: Table, key: bytes) -> dict[str, Any]:
    """A table as the document holds it; what it does not have is left out."""
    parts: dict[str, Any] = {
        "kind": table.kind,
        "columns": [column_entry(column, key) for column in table.columns],
        "definition": secret(table.definition, key) if table.definition else "",
        "reads": sorted(map(write_name, table.sources)) if table.kind == "view" else [],
        "parents": list(map(write_name, table.parents)),
        "key": list(table.key),
        "grants": sorted({*table.grants}),
    }
    return {name: part for name, part in parts.items() if part or name == "columns"}


def column_entry(column: Column, key: bytes) -> list[Any]:
    """Name, type, whether it is never NULL, and a keyed digest of a type that spells values."""
    shown = LABELS.sub("?", column.type)
    kept = secret(column.type, key) if shown != column.type else ""
    return [column.name, shown, column.is_required, kept]


def secret(text: str, key: bytes) -> str:
    """What stands for a text that may hold literals."""
    # A product may spell what it keeps with bytes that are no text.
    return hmac.digest(key, text.encode(errors="replace"), hashlib.sha256).hex()[:MAC_CHARS]


# ---------------------------------------------------------------- the differences


def changes(before: Document, after: Document) -> tuple[Change, ...]:
    """How the second document differs from the first; nothing if and only if they are equal.

    In the order of the names of tables; within a table, what became of columns comes first.

    Example:
        >>> old = {"tables": {"main.t": {"kind": "table", "columns": [["a", "INT", False, ""]]}}}
        >>> new = {"tables": {"main.t": {"kind": "table", "columns": [["a", "REAL", True, ""]]}}}
        >>> [change.words() for change in changes(old, new)]
        ['a is REAL, was INT', 'a is never NULL now']
    """
    return tuple(all_changes(before, after))


def all_changes(before: Document, after: Document) -> Iterator[Change]:
    """The changes of two documents."""
    for fact in FACTS:
        old, new = before.get(fact, ""), after.get(fact, "")
        if old != new:
            yield Change(ChangeKind.SETTING_CHANGED, fact.replace("_", "-"), "", old, new)
    olds, news = before["tables"], after["tables"]
    for name in sorted({*olds, *news}):
        yield from table_changes(name, olds.get(name, {}), news.get(name, {}))
    lost, gained = sides(before.get("functions", ()), after.get("functions", ()))
    yield from (Change(ChangeKind.FUNCTION_DROPPED, name) for name in lost)
    yield from (Change(ChangeKind.FUNCTION_ADDED, name) for name in gained)


def table_changes(name: str, before: Document, after: Document) -> Iterator[Change]:
    """What became of one table."""
    if not before:
        yield Change(ChangeKind.TABLE_ADDED, name, after=signature(after))
    elif not after:
        yield Change(ChangeKind.TABLE_DROPPED, name, before=signature(before))
    elif before != after:
        yield from column_changes(name, before["columns"], after["columns"])
        yield from shape_changes(name, before, after)
    lost, gained = sides(before.get("grants", ()), after.get("grants", ()))
    yield from (Change(ChangeKind.GRANT_REMOVED, name, before=one) for one in lost)
    yield from (Change(ChangeKind.GRANT_ADDED, name, after=one) for one in gained)


def column_changes(
    name: str, before: Sequence[Sequence[Any]], after: Sequence[Sequence[Any]]
) -> Iterator[Change]:
    """What became of the columns of one table. Several of one name are held apart by number."""
    olds, news = dict(starmap(named, numbered(before))), dict(starmap(named, numbered(after)))
    for column, (kind, is_required, kept) in news.items():
        if column not in olds:
            yield Change(ChangeKind.COLUMN_ADDED, name, column, after=spelled(kind, is_required))
            continue
        old_kind, was_required, old_kept = olds[column]
        if (kind, kept) != (old_kind, old_kept):
            yield Change(ChangeKind.COLUMN_RETYPED, name, column, old_kind, kind)
        if is_required != was_required:
            change = ChangeKind.COLUMN_REQUIRED if is_required else ChangeKind.COLUMN_OPTIONAL
            yield Change(change, name, column)
    for column, (kind, is_required, _) in olds.items():
        if column not in news:
            yield Change(ChangeKind.COLUMN_DROPPED, name, column, before=spelled(kind, is_required))
    if [one for one in olds if one in news] != [one for one in news if one in olds]:
        yield Change(ChangeKind.COLUMNS_REORDERED, name, "", ", ".join(olds), ", ".join(news))


def shape_changes(name: str, before: Document, after: Document) -> Iterator[Change]:
    """What became of a table but for its columns and grants."""
    if before["kind"] != after["kind"]:
        yield Change(ChangeKind.KIND_CHANGED, name, "", before["kind"], after["kind"])
    reads, parents = (
        (", ".join(before.get(key, ())), ", ".join(after.get(key, ())))
        for key in ("reads", "parents")
    )
    if before.get("definition") != after.get("definition"):
        yield Change(ChangeKind.VIEW_REDEFINED, name, "", *reads)
    elif before.get("reads") != after.get("reads"):
        yield Change(ChangeKind.VIEW_REROUTED, name, "", *reads)
    if before.get("parents") != after.get("parents"):
        yield Change(ChangeKind.PARENTS_CHANGED, name, "", *parents)
    keys = [", ".join(entry.get("key", ())) for entry in (before, after)]
    if keys[0] != keys[1]:
        yield Change(ChangeKind.KEY_CHANGED, name, "", *keys)


def numbered(columns: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The columns with names that occur once: a second ``a`` is ``a (2)``."""
    seen: set[str] = set()
    for column in columns:
        spellings = chain([column[0]], (f"{column[0]} ({number})" for number in count(2)))
        name = next(spelling for spelling in spellings if spelling not in seen)
        seen.add(name)
        yield name, column


def named(name: str, column: Sequence[Any]) -> tuple[str, tuple[str, bool, str]]:
    """A column by its name."""
    return name, (column[1], column[2], column[3])


def sides(before: Sequence[str], after: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is on one side only, on either, in order."""
    return sorted({*before} - {*after}), sorted({*after} - {*before})


def signature(entry: Document) -> str:
    """A table in one line: its kind and its columns.

    >>> signature({"kind": "view", "columns": [["a", "INT", True, ""], ["b", "", False, ""]]})
    'view (a INT NOT NULL, b)'
    """
    columns = (
        f"{name} {spelled(kind, needed)}".strip() for name, kind, needed, _ in entry["columns"]
    )
    return f"{entry['kind']} ({', '.join(columns)})"


def spelled(kind: str, is_required: bool) -> str:  # noqa: FBT001  # as it stands in the document
    """A type with what the source promises of it."""
    return f"{kind} NOT NULL".strip() if is_required else kind


def token(text: str) -> str:
    """A word of a line; one that is empty or holds white space or a quote, as JSON writes it."""
    return text if PLAIN_TOKEN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
