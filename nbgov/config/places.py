"""Where things are, in ``nbgov.yaml``: connections, and the databases that gateways share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from nbgov.addresses import FlightUrl, PrivateUrl, SecretReference, Url

STRICT = ConfigDict(extra="forbid")
Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,47}$")]
Who = Annotated[str, Field(pattern=r"^((name|group|role):.+|\*)$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


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
    text only names these instead of the tables; ``native_schema`` is where they are. ``roles`` says
    as which role of PostgreSQL a principal's statements run, each in a transaction of its own.
    """

    __pydantic_config__ = STRICT
    kind: Literal["postgresql", "sqlalchemy"]
    url: Url
    user: str | None = None
    password: SecretReference | None = None
    timeout_s: Seconds = 3600.0
    mode: Literal["splice", "native"] = "splice"
    native_schema: Name = "nbgov"
    roles: Mapping[Who, Annotated[str, Field(min_length=1)]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GatewayConnection:
    """A connection of a gateway: it is decided, masked and recorded there.

    Attributes:
        kind: ``gateway``.
        url: The gateway's data plane, ``grpc+tls://HOST:PORT``; ``grpc://`` on this host only.
        control: The gateway's control plane.
        connection: Name of the connection there; its name here by default.
        ca: File with the certificates to trust, in place of the system's.
        certificate: File with a certificate of one's own and its key, where the gateway wants one.
        timeout_s: From the start of a statement to the end of its result.
    """

    __pydantic_config__ = STRICT
    kind: Literal["gateway"]
    url: FlightUrl
    control: PrivateUrl
    connection: str | None = None
    ca: str | None = None
    certificate: str | None = None
    timeout_s: Seconds = 3600.0


Connection = Annotated[
    FileConnection | ServerConnection | GatewayConnection, Field(discriminator="kind")
]


@dataclass(frozen=True, slots=True)
class PostgresqlStore:
    """A PostgreSQL database in which several gateways keep their approval tickets together."""

    __pydantic_config__ = STRICT
    kind: Literal["postgresql"]
    url: Url
    user: str | None = None
    password: SecretReference | None = None
