"""What ``gateway:`` says in ``nbgov.yaml``: how its connections are served to others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from nbgov.addresses import FlightUrl, PrivateUrl, SecretReference
from nbgov.config.places import STRICT, Name, PostgresqlStore
from nbgov.model import Principal


@dataclass(frozen=True, slots=True)
class People:
    """Principals by what they are called, or by what they belong to; any one match is enough."""

    __pydantic_config__ = STRICT
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def holds(self, principal: Principal) -> bool:
        """Whether a principal is one of them."""
        return principal.is_among(names=self.names, groups=self.groups, roles=self.roles)


@dataclass(frozen=True, slots=True)
class TlsTerms:
    """How the gateway proves who it is; with ``client_ca``, clients have to prove it, too."""

    __pydantic_config__ = STRICT
    certificate: str
    key: SecretReference
    client_ca: str | None = None


@dataclass(frozen=True, slots=True)
class IssuerEntry:
    """Somebody whose tokens the gateway believes, and what it takes from them.

    Attributes:
        kind: Which preset of claims and checks it is.
        issuer: The ``iss`` of its tokens, whose discovery document is below it.
        audience: The ``aud`` that a token must be for.
        client_id: The public client that people log in through; without it nobody can.
        pages_client_id, pages_client_secret: The client of the gateway's pages, where that is not
            the same.
        clients: Which clients' tokens are taken (``azp``); those of ours always are.
        scopes: What a login asks for.
        name_claim, groups_claim, roles_claim: Where names, groups and roles stand; those of the
            preset by default.
    """

    __pydantic_config__ = STRICT
    kind: Literal["oidc", "okta", "entra", "kubernetes", "github", "jupyterhub"]
    issuer: PrivateUrl
    audience: str
    client_id: str | None = None
    pages_client_id: str | None = None
    pages_client_secret: SecretReference | None = None
    clients: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "profile", "offline_access")
    name_claim: str | None = None
    groups_claim: str | None = None
    roles_claim: str | None = None


@dataclass(frozen=True, slots=True)
class GatewayTerms:
    """How the connections of this file are served to others.

    Attributes:
        data, control: ``HOST:PORT`` of the two planes.
        data_url, control_url: Where clients find them, if that is somewhere else.
        tls: How the gateway proves who it is; needed unless both planes are on this host only.
        issuers: Whose tokens are believed, by name.
        roles: The roles that come with a group; ``*`` and ``?`` stand in for other characters.
        admins: Who may end logins and stop connections.
        auditors: Who may read the whole audit log and the policy. Others see what is their own.
        session_s: How long a token of the gateway is good for.
        store: Where several gateways keep logins together; in the state folder without it.
        streams_max, streams_each_max: Open results, of all principals and of each.
    """

    __pydantic_config__ = STRICT
    data: str = "127.0.0.1:31337"
    control: str = "127.0.0.1:31338"
    data_url: FlightUrl | None = None
    control_url: PrivateUrl | None = None
    tls: TlsTerms | None = None
    issuers: Mapping[Name, IssuerEntry] = field(default_factory=dict)
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    admins: People = field(default_factory=People)
    auditors: People = field(default_factory=People)
    session_s: Annotated[int, Field(ge=10, le=900)] = 900
    store: PostgresqlStore | None = None
    streams_max: Annotated[int, Field(ge=1, le=1_000)] = 64
    streams_each_max: Annotated[int, Field(ge=1, le=1_000)] = 8
