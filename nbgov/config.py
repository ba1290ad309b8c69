"""``nbgov.yaml``: which connections exist, where state lives, which policy rules, who is who.

Pure: text in, frozen values out. Reading files, environment and secrets is the business of
:mod:`nbgov.session`. Secrets are references (``env:NAME``, ``file:PATH``), never values.
The format is described in ``docs/reference/config.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field

from nbgov.errors import ConfigInvalid
from nbgov.strict import adapter, decode

FILE_NAME = "nbgov.yaml"
STRICT = ConfigDict(extra="forbid")


def is_reference(text: str) -> str:
    """Accept ``env:NAME`` and ``file:PATH``; a secret's value has no place in the file."""
    scheme, _, rest = text.partition(":")
    if scheme not in {"env", "file"} or not rest:
        problem = "a secret must be a reference, env:NAME or file:PATH, never the value itself"
        raise ValueError(problem)
    return text


def is_without_password(text: str) -> str:
    """Accept a URL that carries no password."""
    if urlsplit(text).password is not None or "password=" in text.lower():
        problem = "the url holds a password; move it to password: as env:NAME or file:PATH"
        raise ValueError(problem)
    return text


Secret = Annotated[str, AfterValidator(is_reference)]
Url = Annotated[str, AfterValidator(is_without_password)]
Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,47}$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Bytes = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class FileConnection:
    """A database in one file, opened in this process."""

    __pydantic_config__ = STRICT
    kind: Literal["duckdb", "sqlite"]
    path: str
    timeout_s: Seconds = 3600.0


@dataclass(frozen=True, slots=True)
class ServerConnection:
    """A database server, named by a URL without its password.

    With ``mode: native`` the account reads the masked views that ``nbgov harden`` has made, and the
    text only names these instead of the tables; ``native_schema`` is where they are.
    """

    __pydantic_config__ = STRICT
    kind: Literal["postgresql", "sqlalchemy"]
    url: Url
    user: str | None = None
    password: Secret | None = None
    timeout_s: Seconds = 3600.0
    mode: Literal["splice", "native"] = "splice"
    native_schema: Name = "nbgov"


Connection = Annotated[FileConnection | ServerConnection, Field(discriminator="kind")]


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
    password: Secret | None = None


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
class Config:
    """A decoded ``nbgov.yaml``.

    Attributes:
        version: Version of the format; 1.
        policy: Path of the policy file, relative to ``nbgov.yaml``.
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
    """

    __pydantic_config__ = STRICT
    version: Literal[1]
    policy: str
    connections: Mapping[str, Connection]
    principals: Mapping[str, PrincipalEntry] = field(default_factory=dict)
    state: str = ".nbgov"
    default_connection: str | None = None
    analyzer: Annotated[str, Field(pattern=r"^[\w.]+:[\w.]+$")] | None = None
    pseudonym_key: Secret | None = None
    rows: RowTerms = field(default_factory=RowTerms)
    audit: AuditTerms = field(default_factory=AuditTerms)


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


def database_accounts(config: Config) -> dict[str, str]:
    """The account in the database, by the name of each connection that names one."""
    named = {
        name: found.user or urlsplit(found.url).username
        for name, found in config.connections.items()
        if isinstance(found, ServerConnection)
    }
    return {name: account for name, account in named.items() if account}


def schema() -> dict[str, Any]:
    """JSON Schema of ``nbgov.yaml``, for editors."""
    return adapter(Config).json_schema()
