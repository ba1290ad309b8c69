"""Where the audit log of a session goes, who cosigns it, and who is told of tickets.

This is what ``audit:`` and ``notify:`` in ``nbgov.yaml`` say. The first sink is the log itself.
What runs waits for that one only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbgov.config import (
    FILE_NAME,
    AuditTerms,
    ChatEntry,
    Config,
    FilesSink,
    MailEntry,
    PostgresqlSink,
    Sink,
    WebhookEntry,
)
from nbgov.config.places import PostgresqlStore
from nbgov.errors import ConfigInvalid

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from nbgov.model import Secret
    from nbgov.notifying import Lost
    from nbgov.ports import ApprovalStore, AuditCopy, AuditLog, Clock, Courier, Heads, Signer, World

# What the log over the checkpoints of all gateways is called behind the gateway's own name.
HEADS_SUFFIX = "/heads"
STATE_FILE = "state.sqlite"
MAIL_PORTS = {"starttls": 587, "tls": 465, "none": 25}
# The secret behind a reference, whose relative paths are relative to a folder.
FindSecret = Callable[[str, Path], "Secret"]


def open_log(
    config: Config,
    folder: Path,
    *,
    session: str,
    clock: Clock,
    signer: Signer,
    secret: FindSecret,
) -> tuple[AuditLog, Heads | None]:
    """The log of the first sink, and the log over the checkpoints of all where several share one.

    Nothing is opened before it is needed.

    Args:
        config: How the log is kept.
        folder: What relative paths are relative to.
        session: Name of the session.
        clock: Tells the time.
        signer: Signs checkpoints.
        secret: The secret behind a reference.

    Raises:
        ConfigInvalid: A secret cannot be read, a url is none, or the log needs a name.
    """
    terms = config.audit
    sink = terms.sinks[0]
    if isinstance(sink, FilesSink):
        from nbgov.backends.files import FileAuditLog, LogTerms

        log = FileAuditLog(
            folder / (config.state if sink.path is None else sink.path),
            session=session,
            clock=clock,
            signer=signer,
            origin=terms.origin or "",
            terms=LogTerms(
                checkpoint_entries=terms.checkpoint_entries, checkpoint_s=terms.checkpoint_s
            ),
        )
        return log, None
    from nbgov.backends.postgresql.audit_heads import PostgreSQLHeads
    from nbgov.backends.postgresql.audit_log import PostgreSQLAuditLog
    from nbgov.backends.postgresql.audit_writer import WriterTerms

    origin = own_name(terms)
    shared: dict[str, Any] = {
        "session": session,
        "clock": clock,
        "signer": signer,
        "terms": WriterTerms(terms.checkpoint_entries, terms.checkpoint_s),
    }
    url = sink_url(sink, folder, secret)
    heads = PostgreSQLHeads(url, origin=origin + HEADS_SUFFIX, **shared)
    return PostgreSQLAuditLog(url, origin=origin, heads=heads, **shared), heads


def own_name(terms: AuditTerms) -> str:
    """The name of a log that shares a database with others.

    Raises:
        ConfigInvalid: There is none, or it is one that the database itself uses.
    """
    if terms.origin is None:
        raise ConfigInvalid(
            f"{FILE_NAME} names a database for the audit log, and no name of the log.",
            why="several gateways share the database, and each writes a log of its own",
            next_step="add one under audit: such as origin: gateway-1",
        )
    if terms.origin.endswith(HEADS_SUFFIX):
        raise ConfigInvalid(
            f"{FILE_NAME} names the audit log {terms.origin!r}.",
            why=f"logs over the checkpoints of others end with {HEADS_SUFFIX}",
            next_step="use another name under audit: origin:",
        )
    return terms.origin


def open_approvals(config: Config, folder: Path, *, secret: FindSecret) -> ApprovalStore:
    """Where approval tickets are kept: a file of the state folder, or a database.

    Raises:
        ConfigInvalid: A secret cannot be read, or a url is none.
    """
    store = config.approvals.store
    if store is None:
        from nbgov.backends.sqlite.approvals import SqliteApprovalStore

        return SqliteApprovalStore(folder / config.state / STATE_FILE)
    from nbgov.backends.postgresql.approvals import PostgreSQLApprovalStore

    return PostgreSQLApprovalStore(sink_url(store, folder, secret, key="approvals"))


def sink_url(
    sink: PostgresqlSink | PostgresqlStore, folder: Path, secret: FindSecret, *, key: str = "audit"
) -> URL:
    """Where the database of a sink is, with the account; its text form hides the password.

    Raises:
        ConfigInvalid: The url is none, or the secret cannot be read.
    """
    from nbgov.backends import invalid_url, private_url

    password = {} if sink.password is None else {"password": secret(sink.password, folder)}
    url = private_url({"url": sink.url, "user": sink.user} | password)
    # Security: a traceback that shows local variables would show the password here.
    password = {}
    if url is None:
        raise invalid_url(key, "postgresql://host/database")
    return url


def with_witnesses(world: World, config: Config) -> World:
    """The ports, with who brings checkpoints to the witnesses that ``nbgov.yaml`` names, if any.

    Raises:
        ConfigInvalid: The url of a witness is none, or two of them have one key.
        IntegrityFailed: The key of a witness is none (``key-invalid``).
    """
    from nbgov.backends.witnesses import HttpWitness
    from nbgov.core.audit.note import VerifierKey
    from nbgov.cosigning import Cosigner, Cosigning

    terms = config.audit
    made = [HttpWitness(one.url, VerifierKey.parse(one.key)) for one in terms.witnesses]
    if not made:
        return world
    # Security: one voice that speaks twice must not make a quorum of two.
    if len({one.key.public for one in made}) < len(made):
        raise ConfigInvalid(
            f"{FILE_NAME} names one witness twice.",
            why="two of the witnesses have one key",
            next_step="leave one of them under audit: witnesses:",
        )
    logs = [world.audit, *([] if world.heads is None else [world.heads])]
    cosigners = [Cosigner(log, made, quorum=terms.quorum) for log in logs]
    return replace(
        world, witnesses=made, cosigning=Cosigning(cosigners, every_s=terms.checkpoint_s)
    )


def with_copies(world: World, config: Config, folder: Path, *, secret: FindSecret) -> World:
    """The ports, with what keeps the copies of the log that ``nbgov.yaml`` names, if any.

    Raises:
        ConfigInvalid: A secret cannot be read, or a url is none.
    """
    from nbgov.mirroring import Mirror, Mirroring

    mirrors = []
    for number, sink in enumerate(config.audit.sinks[1:], 2):
        opened = copy_opener(sink, folder=folder, secret=secret)
        mirrors.append(Mirror(f"sink {number} ({sink.kind})", world.audit, opened))
    if not mirrors:
        return world
    return replace(world, mirroring=Mirroring(mirrors, every_s=config.audit.checkpoint_s))


def copy_opener(sink: Sink, *, folder: Path, secret: FindSecret) -> Callable[[str], AuditCopy]:
    """What opens a copy, for the log of a name.

    Raises:
        ConfigInvalid: The sink is the state folder itself, a secret cannot be read, or a url is
            none.
    """
    if isinstance(sink, FilesSink):
        from nbgov.backends.files.copies import FileCopy

        if sink.path is None:
            raise ConfigInvalid(
                f"{FILE_NAME} names a copy of the audit log, and no folder for it.",
                next_step="add path: to each further sink of the kind files",
            )
        made = FileCopy(folder / sink.path)
        return lambda _: made
    from nbgov.backends.postgresql.audit_copy import PostgreSQLCopy

    return partial(PostgreSQLCopy, sink_url(sink, folder, secret))


def with_notices(
    world: World, config: Config, folder: Path, *, secret: FindSecret, lost: Lost
) -> World:
    """The ports, with what tells of tickets those whom ``nbgov.yaml`` names, if any.

    No secret is read before a message needs it, so that a session opens without them.

    Args:
        world: The ports.
        config: Who is told.
        folder: What relative paths are relative to.
        secret: The secret behind a reference.
        lost: Hears of each message that is given up.
    """
    from nbgov.backends.sqlite.outbox import SqliteOutbox
    from nbgov.notifying import Notifying, Receiver

    terms = config.notify
    if not terms.targets:
        return world
    receivers = [
        Receiver(
            name,
            one.kind,
            frozenset(one.events),
            courier(one, lambda text: secret(text, folder).reveal()),
        )
        for name, one in terms.targets.items()
    ]
    notifier = Notifying(
        receivers,
        SqliteOutbox(folder / config.state / "outbox.sqlite"),
        clock=world.clock,
        source=partial(name_of, world.audit),
        page=terms.page or "",
        lost=lost,
    )
    return replace(world, notifier=notifier)


def courier(entry: WebhookEntry | ChatEntry | MailEntry, secret: Callable[[str], str]) -> Courier:
    """Who brings messages to an entry of ``notify: targets:``."""
    if isinstance(entry, MailEntry):
        from nbgov.backends.mail import MailCourier, Server

        port = entry.port or MAIL_PORTS[entry.tls]
        return MailCourier(
            Server(entry.host, port, entry.tls, entry.user),
            sender=entry.sender,
            to=entry.to,
            password=partial(secret, entry.password) if entry.password else None,
        )
    from nbgov.backends.webhooks import WebhookCourier

    is_plain = entry.url.startswith("http")
    url = partial(str, entry.url) if is_plain else partial(secret, entry.url)
    if isinstance(entry, ChatEntry):
        return WebhookCourier(url)
    return WebhookCourier(url, secret=partial(secret, entry.secret))


def name_of(log: AuditLog) -> str:
    """What a log is called; ``nbgov`` as long as it has no entry."""
    from nbgov.core.audit import decode

    first = next(log.entries(), None)
    return "nbgov" if first is None else decode(first).origin
