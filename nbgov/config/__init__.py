"""``nbgov.yaml``: which connections exist, where state lives, which policy rules, who is who.

Pure: text in, frozen values out. Reading files, environment and secrets is the business of
:mod:`nbgov.session`. Secrets are references such as ``env:NAME`` and ``file:PATH``, never values.
The format is described in ``docs/reference/config.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Field

from nbgov.addresses import OWN_HOSTS, Address, MailAddress, PrivateUrl, SecretReference, Url
from nbgov.config.gateway import GatewayTerms
from nbgov.config.places import (
    STRICT,
    Connection,
    GatewayConnection,
    Name,
    PostgresqlStore,
    Seconds,
    ServerConnection,
)
from nbgov.errors import ConfigInvalid
from nbgov.model import NoticeEvent
from nbgov.strict import adapter, decode

FILE_NAME = "nbgov.yaml"
EVENTS: tuple[NoticeEvent, ...] = get_args(NoticeEvent)
Events = Annotated[tuple[NoticeEvent, ...], Field(min_length=1)]
Bytes = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class PrincipalEntry:
    """A declared principal: which OS accounts map to it, and what it belongs to."""

    __pydantic_config__ = STRICT
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RowTerms:
    """Whose delivered, masked rows are kept, so that a run can be replayed.

    Attributes:
        keep: ``none``; ``named`` for results with a dataset name; ``training`` for those that are
            read while a run is open, too.
        bytes_max: Size of all that is kept; what was not used for longest goes first.
    """

    __pydantic_config__ = STRICT
    keep: Literal["none", "named", "training"] = "none"
    bytes_max: Bytes = 10 * 1024**3


@dataclass(frozen=True, slots=True)
class FilesSink:
    """An audit log in files; those of the state folder where no folder is named."""

    __pydantic_config__ = STRICT
    kind: Literal["files"] = "files"
    path: str | None = None


@dataclass(frozen=True, slots=True)
class PostgresqlSink:
    """An audit log in a PostgreSQL database that several gateways share, one chain each."""

    __pydantic_config__ = STRICT
    kind: Literal["postgresql"]
    url: Url
    user: str | None = None
    password: SecretReference | None = None


Sink = Annotated[FilesSink | PostgresqlSink, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class WitnessEntry:
    """A witness of the audit log: where it listens, and the key that it cosigns under."""

    __pydantic_config__ = STRICT
    url: Url
    key: str


@dataclass(frozen=True, slots=True)
class AuditTerms:
    """How the audit log is kept.

    Attributes:
        origin: Name of the log, for one that is new; one is made up by default.
        sinks: Where entries go. The first one must have an entry before anything runs; the others
            are copies that follow it. Without any, nothing starts.
        checkpoint_entries: A checkpoint is signed after so many entries,
        checkpoint_s: or so many seconds, whichever comes first, and when a session ends.
        witnesses: Who cosigns checkpoints, off this host.
        quorum: How many of them make a checkpoint a witnessed one; all of them by default.
        seal: Whether literals and bound values are kept, encrypted under keys that can be
            destroyed. By default they are not kept at all.
    """

    __pydantic_config__ = STRICT
    origin: Annotated[str, Field(pattern=r"^[^\s+#]{1,200}$")] | None = None
    sinks: tuple[Sink, ...] = (FilesSink(),)
    checkpoint_entries: Annotated[int, Field(ge=1)] = 256
    checkpoint_s: Seconds = 10.0
    witnesses: tuple[WitnessEntry, ...] = ()
    quorum: Annotated[int, Field(ge=1)] | None = None
    seal: bool = False


@dataclass(frozen=True, slots=True)
class UndoTerms:
    """How long the rows of writes that people consented to are kept, sealed, to undo the writes.

    Attributes:
        keep: Whether they are kept at all.
        rows_max: Rows of one write at most. A write of more rows cannot be undone.
        days: Days after which they are dropped.
    """

    __pydantic_config__ = STRICT
    keep: bool = True
    rows_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    days: Annotated[int, Field(ge=1, le=3_650)] = 30


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """Where approval tickets are kept; in the state folder where no store is named."""

    __pydantic_config__ = STRICT
    store: PostgresqlStore | None = None


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """A webhook of anybody's, which gets CloudEvents that Standard Webhooks sign."""

    __pydantic_config__ = STRICT
    kind: Literal["webhook"]
    url: Address
    secret: SecretReference
    events: Events = EVENTS


@dataclass(frozen=True, slots=True)
class ChatEntry:
    """A webhook of Slack or Teams. Whoever knows its url can post there, so it is a secret."""

    __pydantic_config__ = STRICT
    kind: Literal["slack", "teams"]
    url: SecretReference
    events: Events = EVENTS


@dataclass(frozen=True, slots=True)
class MailEntry:
    """Addresses, and the mail server that takes messages to them."""

    __pydantic_config__ = STRICT
    kind: Literal["smtp"]
    host: str
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    user: str = ""
    password: SecretReference | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    events: Events = EVENTS


Target = Annotated[WebhookEntry | ChatEntry | MailEntry, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class NotifyTerms:
    """Who is told of tickets.

    Attributes:
        page: Where tickets are looked at; the ticket comes after it. Without it, messages name the
            command that shows the ticket.
        targets: Who is told, by name.
    """

    __pydantic_config__ = STRICT
    page: PrivateUrl | None = None
    targets: Mapping[Name, Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Config:
    """A decoded ``nbgov.yaml``.

    Attributes:
        version: Version of the format; 1.
        policy: Path of the policy file, relative to ``nbgov.yaml``; needed unless every connection
            is one of a gateway.
        connections: Connection settings by name.
        principals: Declared principals by name.
        state: Folder for the audit log, approvals, datasets and keys.
        default_connection: The connection meant when none is named.
        analyzer: ``package.module:function`` that makes the Presidio ``AnalyzerEngine`` to look for
            PII with. Without it nbgov makes an English one.
        pseudonym_key: Reference of the key behind pseudonyms and surrogates. Without it a key is
            made in the state folder.
        rows: Whose rows are kept.
        audit: How the audit log is kept.
        approvals: Where approval tickets are kept.
        notify: Who is told of tickets.
        undo: What is kept of approved writes, so that they can be undone.
        gateway: How the connections are served to others, where they are.
    """

    __pydantic_config__ = STRICT
    version: Literal[1]
    connections: Mapping[str, Connection]
    principals: Mapping[str, PrincipalEntry] = field(default_factory=dict)
    policy: str = ""
    state: str = ".nbgov"
    default_connection: str | None = None
    analyzer: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    pseudonym_key: SecretReference | None = None
    rows: RowTerms = field(default_factory=RowTerms)
    audit: AuditTerms = field(default_factory=AuditTerms)
    approvals: ApprovalTerms = field(default_factory=ApprovalTerms)
    notify: NotifyTerms = field(default_factory=NotifyTerms)
    undo: UndoTerms = field(default_factory=UndoTerms)
    gateway: GatewayTerms | None = None

    @property
    def gateways(self) -> dict[str, GatewayConnection]:
        """The connections of gateways, by name."""
        found = self.connections.items()
        return {name: one for name, one in found if isinstance(one, GatewayConnection)}

    @property
    def is_remote(self) -> bool:
        """Whether every connection is one of a gateway, so that nothing is decided here."""
        return len(self.gateways) == len(self.connections)


def parse(text: str) -> Config:
    """Decode ``nbgov.yaml``.

    Raises:
        ConfigInvalid: The text is not YAML, has an unknown or missing key, holds a secret's value,
            or maps one OS account to two principals.
    """
    config = decode(text, Config, document=FILE_NAME, code="config-invalid")
    if not config.connections:
        raise ConfigInvalid(
            f"{FILE_NAME} names no connection.", next_step="add one under connections:"
        )
    check_policy(config)
    default = config.default_connection
    if default is not None and default not in config.connections:
        raise ConfigInvalid(
            f"{FILE_NAME} names {default!r} as default_connection, which is not a connection.",
            next_step=f"use one of: {', '.join(sorted(config.connections))}",
        )
    if not config.audit.sinks:
        raise ConfigInvalid(
            f"{FILE_NAME} names no sink for the audit log.",
            why="what is not recorded does not run",
            next_step="leave sinks: out, or add one under audit: sinks:",
        )
    if (config.audit.quorum or 0) > len(config.audit.witnesses):
        raise ConfigInvalid(
            f"{FILE_NAME} asks for more cosignatures than there are witnesses.",
            next_step="lower audit: quorum:, or add a witness",
        )
    check_roles(config)
    for name, target in config.notify.targets.items():
        if isinstance(target, MailEntry):
            check_mail(name, target)
    owner: dict[str, str] = {}
    for name, entry in config.principals.items():
        for account in entry.accounts:
            if owner.setdefault(account, name) != name:
                raise ConfigInvalid(
                    f"{FILE_NAME} maps the OS account {account!r} to two principals.",
                    why=f"{owner[account]!r} and {name!r} both list it",
                    next_step="leave it with one of them",
                )
    return config


def check_policy(config: Config) -> None:
    """See that there is a policy, where anything is decided here.

    Raises:
        ConfigInvalid: There is none.
    """
    if not (config.policy or config.is_remote):
        raise ConfigInvalid(
            f"{FILE_NAME} names no policy.",
            why="a connection that is served here is decided here",
            next_step="name the file with the rules under policy:",
        )


def check_roles(config: Config) -> None:
    """See that roles of a database are named only where it takes them.

    Raises:
        ConfigInvalid: They are for another product.
    """
    for name, found in config.connections.items():
        if isinstance(found, ServerConnection) and found.roles and found.kind != "postgresql":
            # Security: taken in silence, everybody would run as the connection's own account.
            raise ConfigInvalid(
                f"{FILE_NAME} names roles of connection {name}, which does not take any.",
                why="only a connection of the kind postgresql runs statements as other roles",
                next_step="leave roles: out, or make a connection for each role",
            )


def check_mail(name: str, entry: MailEntry) -> None:
    """See that no mail and no password goes through a network in clear.

    Raises:
        ConfigInvalid: One would, or a user has no password.
    """
    if entry.tls == "none" and entry.host not in OWN_HOSTS:
        raise ConfigInvalid(
            f"{FILE_NAME} sends the mail of {name!r} in clear.",
            why="tls: none is for a mail server on this host",
            next_step="use tls: starttls or tls: tls",
        )
    if bool(entry.user) != (entry.password is not None):
        raise ConfigInvalid(
            f"{FILE_NAME} names a user without a password, or the other way round, for {name!r}.",
            next_step="give both user: and password:, or neither",
        )


def database_accounts(config: Config) -> dict[str, str]:
    """The account in the database, by the name of each connection that names one."""
    named = {
        name: found.user or urlsplit(found.url).username
        for name, found in config.connections.items()
        if isinstance(found, ServerConnection)
    }
    return {name: account for name, account in named.items() if account}


def database_roles(config: Config) -> dict[str, Mapping[str, str]]:
    """Who runs as which role, by the name of each connection that says so."""
    return {
        name: found.roles
        for name, found in config.connections.items()
        if isinstance(found, ServerConnection) and found.roles
    }


def native_schemas(config: Config) -> dict[str, str]:
    """The schema of the masked views, by the name of each connection that reads those only."""
    return {
        name: found.native_schema
        for name, found in config.connections.items()
        if isinstance(found, ServerConnection) and found.mode == "native"
    }


def schema() -> dict[str, Any]:
    """JSON Schema of ``nbgov.yaml``, for editors."""
    return adapter(Config).json_schema()
