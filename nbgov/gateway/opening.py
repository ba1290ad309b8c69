"""Opens the house of an ``nbgov.yaml``: the site, the store, and who keeps both."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nbgov.backends.accounts import OS_ACCOUNT, own_account
from nbgov.config.gateway import GatewayTerms
from nbgov.errors import ConfigInvalid
from nbgov.gateway.flight.serving import Tls
from nbgov.gateway.house import KEY_BYTES, House
from nbgov.gateway.policies import HeldPolicy
from nbgov.model import Principal
from nbgov.session.site import Site
from nbgov.sinks import sink_url
from nbgov.wiring import read_config, read_secret

if TYPE_CHECKING:
    from nbgov.config import Config
    from nbgov.ports import GatewayStore, Signer, World

KEEPER = "gateway"


def open_house(path: Path) -> House:
    """The house of an ``nbgov.yaml``.

    Raises:
        ConfigInvalid: It has no ``gateway:``, is not valid, or a secret cannot be read.
        BackendFailed: The log or the store cannot be opened.
    """
    config = read_config(path)
    terms = terms_of(config)
    store = open_store(config, terms, path.parent)
    try:
        site = Site(path, keeper=keeper(), adapted=partial(adapted, terms=terms, store=store))
        try:
            return House(site, store, terms)
        except BaseException:
            site.close()
            raise
    except BaseException:
        store.close()
        raise


def keeper() -> Principal:
    """Who keeps a gateway: its own account, which no request ever comes from."""
    return Principal(KEEPER, account=own_account(), via=OS_ACCOUNT)


def adapted(world: World, *, terms: GatewayTerms, store: GatewayStore) -> World:
    """The ports of a gateway: a policy that holds, and keyed digests that all gateways agree on."""
    world = replace(world, policy=HeldPolicy(world.policy))
    if terms.store is None:
        return world
    key = store.key("mac", secrets.token_bytes(KEY_BYTES))
    return replace(world, signer=SharedSigner(world.signer, key))


class SharedSigner:
    """A :class:`~nbgov.ports.Signer` whose keyed digests are those of every gateway of a store.

    Consents, fingerprints and statements are compared by keyed digests; signatures stay each
    gateway's own.

    Args:
        signer: Signs.
        key: Keys the digests.
    """

    def __init__(self, signer: Signer, key: bytes) -> None:
        self.signer = signer
        self.key = key

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 of the data, 32 bytes."""
        return hmac.digest(self.key, data, "sha256")

    def sign(self, data: bytes) -> bytes:
        """Ed25519 signature of the data, 64 bytes."""
        return self.signer.sign(data)

    def public_key(self) -> bytes:
        """The Ed25519 public key that :meth:`sign` signs under, 32 bytes."""
        return self.signer.public_key()

    def successor(self) -> bytes:
        """The public key of the next signing key."""
        return self.signer.successor()

    def succeed(self) -> None:
        """Sign under the next key from now on, and destroy the one before."""
        self.signer.succeed()


def terms_of(config: Config) -> GatewayTerms:
    """What ``nbgov.yaml`` says of the gateway.

    Raises:
        ConfigInvalid: Nothing.
    """
    if config.gateway is None:
        raise ConfigInvalid(
            "nbgov.yaml says nothing of a gateway.",
            next_step="add gateway: to it, or let nbgov gateway init do it",
        )
    return config.gateway


def open_store(config: Config, terms: GatewayTerms, folder: Path) -> GatewayStore:
    """Where the processes of the gateway keep what they know together.

    Raises:
        ConfigInvalid: A secret cannot be read, or a url is none.
    """
    if terms.store is None:
        from nbgov.backends.sqlite.logins import SqliteGatewayStore

        return SqliteGatewayStore(folder / config.state)
    from nbgov.backends.postgresql.logins import PostgreSQLGatewayStore

    return PostgreSQLGatewayStore(sink_url(terms.store, folder, read_secret, key="gateway"))


def read_tls(terms: GatewayTerms, folder: Path) -> Tls | None:
    """What the gateway proves itself with, or ``None`` where both planes are on this host only.

    Raises:
        ConfigInvalid: A file or a secret cannot be read.
    """
    if terms.tls is None:
        return None
    client_ca = terms.tls.client_ca
    return Tls(
        read_pem(folder / terms.tls.certificate),
        read_secret(terms.tls.key, folder).reveal().encode(),
        None if client_ca is None else read_pem(folder / client_ca),
    )


def read_pem(path: Path) -> bytes:
    """The bytes of a file of certificates.

    Raises:
        ConfigInvalid: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigInvalid(
            f"The certificates in {path.name} cannot be read.",
            why=type(error).__name__,
            next_step="correct the path under gateway: tls: in nbgov.yaml",
        ) from None
