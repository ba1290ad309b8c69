"""Whether a gateway could start here and hold: what ``nbgov gateway doctor`` looks at."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nbgov.backends.secrets import exposure
from nbgov.config.places import FileConnection
from nbgov.config.references import secret_references
from nbgov.errors import NbgovError
from nbgov.gateway.identity import Identities
from nbgov.gateway.identity.keys import TIMEOUT_S
from nbgov.gateway.opening import open_house, read_tls, terms_of
from nbgov.gateway.process import require_private
from nbgov.login.oidc import DISCOVERY
from nbgov.wiring import read_config, read_secret

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from nbgov.config import Config
    from nbgov.config.gateway import GatewayTerms
    from nbgov.gateway.house import House

State = Literal["ok", "warn", "fail"]
EXPIRY_EARLY = timedelta(days=30)
# Tokens are checked with as much leeway, and nodes tell of themselves every two seconds.
CLOCK_OFF_MAX = timedelta(seconds=30)
NODE_AGE_MAX = timedelta(minutes=1)
OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Observed:
    """One thing that was looked at."""

    state: State
    subject: str
    found: str


def examine(path: Path) -> Iterator[Observed]:
    """Look at everything that a gateway stands on, worst news included, without serving.

    Raises:
        ConfigInvalid: ``nbgov.yaml`` does not decode, or says nothing of a gateway.
    """
    config = read_config(path)
    terms = terms_of(config)
    yield from look("address", lambda: addresses(terms))
    yield account()
    yield from neighbours()
    yield from files(path, config)
    yield from secrets(path, config)
    yield from look("tls", lambda: certificates(path, terms))
    yield from issuers(terms)
    try:
        house = open_house(path)
    except NbgovError as error:
        yield Observed("fail", "gateway", f"{error.what} {error.why} ({error.code})")
        return
    try:
        yield from look("audit log", lambda: audit(house))
        yield from look("nodes", lambda: nodes(house))
    finally:
        house.close()


def look(subject: str, at: Callable[[], Iterator[Observed]]) -> Iterator[Observed]:
    """What was found, or the error that came instead."""
    try:
        yield from at()
    except NbgovError as error:
        yield Observed("fail", subject, f"{error.what} {error.why} ({error.code})")


def addresses(terms: GatewayTerms) -> Iterator[Observed]:
    """Where the planes listen, and whether what goes there is private."""
    require_private(terms)
    how = "without tls, for this host only" if terms.tls is None else "with tls"
    if terms.tls is not None and terms.tls.client_ca is not None:
        how += " on both sides"
    yield Observed("ok", "address", f"data {terms.data}, control {terms.control}, {how}")


def account() -> Observed:
    """Whether this is an account with no more rights than it needs."""
    user = os.geteuid()
    if user == 0:
        return Observed("fail", "account", "root: whoever gets at the gateway gets the host")
    return Observed("ok", "account", f"uid {user}")


def neighbours() -> Iterator[Observed]:
    """Whether other programs run under the gateway's account, which could read what it holds."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_mine = entry.stat().st_uid == os.geteuid()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if is_mine and any(name in words for name in ("ipykernel", "jupyter")):
            found.append(entry.name)
    if found:
        # Security: one UID is no boundary, whatever the process does for itself.
        told = f"notebooks run under this account, too: process {', '.join(sorted(found))}"
        yield Observed("fail", "neighbours", told)
    else:
        yield Observed("ok", "neighbours", "no notebook runs under this account")


def files(path: Path, config: Config) -> Iterator[Observed]:
    """Whether others could change the rules, or read what the gateway keeps or serves."""
    state = path.parent / config.state
    served = [
        path.parent / found.path
        for found in config.connections.values()
        if isinstance(found, FileConnection)
    ]
    kept = [state, *sorted(state.glob("*.key")), *sorted(state.glob("*.sqlite"))]
    watched = [(one, WRITERS) for one in (path, path.parent / config.policy)]
    for one, forbidden in (*watched, *((one, OTHERS) for one in (*kept, *served))):
        try:
            mode = stat.S_IMODE(one.stat().st_mode)
        except OSError:
            if one not in kept:
                yield Observed("fail", one.name, "cannot be reached")
            continue
        told = f"mode {mode:04o}"
        if mode & forbidden:
            told += ", so that other accounts can " + ("change it" if mode & WRITERS else "read it")
        yield Observed("fail" if mode & forbidden else "ok", one.name, told)


def secrets(path: Path, config: Config) -> Iterator[Observed]:
    """Whether each secret can be read, by nobody else."""
    for reference in secret_references(config):
        try:
            read_secret(reference, path.parent)
        except NbgovError as error:
            yield Observed("fail", reference, error.why)
            continue
        scheme, _, rest = reference.partition(":")
        why = exposure((path.parent / rest).expanduser()) if scheme == "file" else ""
        yield Observed("fail" if why else "ok", reference, why or "can be read")


def certificates(path: Path, terms: GatewayTerms) -> Iterator[Observed]:
    """Whether the certificate is the key's, and how long it is good for."""
    tls = read_tls(terms, path.parent)
    if tls is None:
        return
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = x509.load_pem_x509_certificates(tls.certificate)[0]
        is_own = load_pem_private_key(tls.key, None).public_key() == found.public_key()
        if tls.client_ca is not None:
            x509.load_pem_x509_certificates(tls.client_ca)
    except (TypeError, ValueError) as error:
        yield Observed("fail", "tls", f"the PEM cannot be read: {type(error).__name__}")
        return
    if not is_own:
        yield Observed("fail", "tls", "the key is not the one of the certificate")
        return
    yield good_for(found, datetime.now(UTC))  # noqa: TID251 - the clock that TLS goes by


def good_for(certificate: Certificate, now: datetime) -> Observed:
    """How long a certificate is good for."""
    left = certificate.not_valid_after_utc - now
    told = f"good until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if left < timedelta() or certificate.not_valid_before_utc > now:
        return Observed("fail", "tls", f"{told}, and not good now")
    return Observed("warn" if left < EXPIRY_EARLY else "ok", "tls", told)


def issuers(terms: GatewayTerms) -> Iterator[Observed]:
    """Whether each issuer publishes keys, and whether its clock agrees with this one."""
    import requests

    if not terms.issuers:
        yield Observed("warn", "issuers", "none, so that nobody can log in")
    now = datetime.now(UTC)  # noqa: TID251 - held against the issuer's own
    missing = Identities(terms, now=lambda: now).missing_keys()
    for name, entry in terms.issuers.items():
        if name in missing:
            yield Observed("fail", name, "its keys cannot be fetched; see issuer and its network")
            continue
        if entry.kind == "jupyterhub":
            yield Observed("ok", name, "asked with each login")
            continue
        try:
            url = entry.issuer.rstrip("/") + DISCOVERY
            with requests.get(url, timeout=TIMEOUT_S, allow_redirects=False) as answer:
                told = parsedate_to_datetime(answer.headers["Date"])
        except (OSError, KeyError, ValueError, TypeError):
            yield Observed("warn", name, "publishes keys; does not say what time it is")
            continue
        off = abs(told - datetime.now(UTC))  # noqa: TID251 - held against the issuer's own
        is_off = off > CLOCK_OFF_MAX
        yield Observed(
            "fail" if is_off else "ok",
            name,
            f"publishes keys; its clock is {off.total_seconds():.0f} s off",
        )


def audit(house: House) -> Iterator[Observed]:
    """Whether the log can be written."""
    house.site.world.audit.checkpoint()
    yield Observed("ok", "audit log", "can be written and signed")


def nodes(house: House) -> Iterator[Observed]:
    """Whether the other processes are under the same policy, at the same time."""
    now, own = house.site.world.clock.now(), house.node()
    others = [one for one in house.store.nodes(since=now - NODE_AGE_MAX) if one.id != own.id]
    if not others:
        yield Observed("ok", "nodes", "no other process runs now")
    for one in others:
        subject = f"{one.host}:{one.pid}"
        if one.policy != own.policy:
            yield Observed("fail", subject, "is under another policy than this nbgov.yaml names")
        elif one.seen_at - now > CLOCK_OFF_MAX:
            yield Observed("fail", subject, "its clock is ahead of this one")
        else:
            yield Observed("ok", subject, "is under the same policy")
