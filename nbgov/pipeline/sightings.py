"""Looks out for what changed in a connection since it was last seen.

A catalog that is the very object of the last look costs one comparison of identities. Any other one
is held against the newest version in the store; a difference is recorded first, and kept then: a
crash between the two is found again and recorded twice, at worst. Who did it is told by the audit
log itself: the governed statements since the version before that may have done it.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from nbgov.core.audit import decode
from nbgov.core.audit.entry import canonical
from nbgov.core.audit.note import Note
from nbgov.core.case import DRY_RUN
from nbgov.core.catalog_changes import changes, digest, document, told_by
from nbgov.core.datasets import key_of
from nbgov.model import Author, CatalogVersion, Effect, Record, RecordKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nbgov.core.audit import Entry
    from nbgov.core.catalog_changes import Document
    from nbgov.model import Catalog
    from nbgov.ports import CatalogStore, World

# What may change what a database holds, as an entry spells it.
STIRRING = frozenset(map(str, (Effect.DDL, Effect.DCL, Effect.EXEC, Effect.UNKNOWN)))
ADMIN_VERBS = frozenset({"HARDEN"})
MARKS = tuple(canonical(word) for word in sorted(STIRRING | ADMIN_VERBS))
# So many of the newest entries are searched for who changed a connection, in about a second.
SEARCHED_MAX = 250_000
# What most entries say, none of which says anything else of use here.
DULL = (b'"effects":["read"]', b'"kind":"outcome"')


class Sightings:
    """What one session saw of its connections.

    Args:
        world: The ports.
        session: Identifier of the session, part of every record.
    """

    def __init__(self, world: World, *, session: str) -> None:
        self.world = world
        self.session = session
        self.seen: dict[str, Catalog] = {}
        self.lock = threading.Lock()

    def look(self, connection: str, catalog: Catalog, *, principal: str, request: str = "") -> None:
        """Record what changed since the connection was last seen, by whatever session.

        Args:
            connection: Its name.
            catalog: All that it holds now, composed.
            principal: Whose request meets it.
            request: The request's id.

        Raises:
            BackendFailed: It cannot be recorded (``audit-unavailable``) or kept
                (``state-unavailable``).
        """
        store = self.world.catalogs
        if store is None or self.seen.get(connection) is catalog:
            return
        with self.lock:
            if self.seen.get(connection) is not catalog:
                told = document(catalog, key_of(self.world.signer.mac, "catalog"))
                last = store.last(connection)
                if last is None or last.digest != digest(told):
                    self.keep(store, connection, told, last, principal=principal, request=request)
                self.seen[connection] = catalog

    def keep(
        self,
        store: CatalogStore,
        connection: str,
        told: Document,
        last: CatalogVersion | None,
        *,
        principal: str,
        request: str,
    ) -> None:
        """Record a version that nobody has seen before, then keep it."""
        found = changes(last.document, told) if last else ()
        done, is_searched = self.authors(connection, last) if last else ((), True)
        number, digested = last.number + 1 if last else 1, digest(told)
        # A crash after this line leaves the store behind: the next look records the same again.
        receipt = self.world.audit.append(
            Record(
                kind=RecordKind.CATALOG,
                at=self.world.clock.now(),
                request=request,
                session=self.session,
                principal=principal,
                connection=connection,
                dialect=told["dialect"],
                tables=tuple(dict.fromkeys(one.subject for one in found if one.is_of_table))
                or None,
                version=str(number),
                schema=digested.hex(),
                changes=tuple(map(str, found)) or None,
                note=told_by(done, principal, is_searched=is_searched) if last else size(told),
            )
        )
        store.add(
            CatalogVersion(
                connection=connection,
                number=number,
                digest=digested,
                document=told,
                seen_at=self.world.clock.now(),
                principal=principal,
                record=receipt.index,
                receipt=str(receipt),
                authors=done,
                is_searched=is_searched,
            )
        )

    def authors(self, connection: str, last: CatalogVersion) -> tuple[tuple[Author, ...], bool]:
        """What the audit log says was done since a version was seen first.

        Whether all of the log since then was searched is told as well: a statement waits for this.
        """
        log = self.world.audit
        text = log.note("checkpoint")
        signed = Note.parse(text).checkpoint.size if text else 0
        # What no checkpoint covers yet are the newest few hundred entries.
        start = max(last.record, signed - SEARCHED_MAX)
        open_before = [author for author in last.authors if not author.is_closed]
        found = authors(log.entries(start), connection, open_before=open_before)
        return tuple(found), start == last.record


def authors(
    entries: Iterable[bytes], connection: str, *, open_before: Iterable[Author] = ()
) -> Iterator[Author]:
    """The statements that may have changed what a connection holds, in the order of the log.

    One that failed changed nothing. One whose end is not known may have changed something.

    Args:
        entries: The stored bytes of entries, oldest first.
        connection: Name of the connection.
        open_before: Statements whose end was not known before these entries.
    """
    begun: dict[int, Author] = {}
    ended: dict[int, Author] = {}
    waiting = {author.record: author for author in open_before}
    # Most entries are of reads, and telling that from the bytes is far cheaper than decoding.
    mark = canonical(connection)
    for line in entries:
        if mark not in line:
            continue
        is_end = any(b'"attempt":%d,' % number in line for number in (*waiting, *begun))
        if not is_end and (any(word in line for word in DULL) or not any(w in line for w in MARKS)):
            continue
        entry = decode(line)
        record, attempt = entry.record, entry.record.attempt
        # A dry run was rolled back, whatever it was.
        if record.connection != connection or record.plan == DRY_RUN:
            continue
        if record.kind is RecordKind.ATTEMPT and STIRRING & {*(record.effects or ())}:
            begun[entry.index] = author_of(entry)
        elif record.kind is RecordKind.ADMIN and record.verb in ADMIN_VERBS:
            if record.status == "ok":
                ended[entry.index] = author_of(entry)
        elif record.kind is RecordKind.OUTCOME and attempt is not None:
            author = begun.pop(attempt, None) or waiting.pop(attempt, None)
            if author is not None and record.status == "ok":
                ended[attempt] = replace(author, is_closed=True)
    known = ended | {number: replace(author, is_closed=False) for number, author in begun.items()}
    yield from (known[number] for number in sorted(known))


def author_of(entry: Entry) -> Author:
    """What an entry says of who did what."""
    record = entry.record
    return Author(entry.index, record.principal or "", record.verb or "", record.tables or ())


def size(told: Document) -> str:
    """How much a connection holds, in words."""
    return f"first sight: {len(told['tables']):,} tables and views"
