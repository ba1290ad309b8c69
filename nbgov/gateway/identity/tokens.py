"""Signed tokens of an issuer: JSON Web Tokens, and every reason not to believe one.

The algorithm comes from a fixed list and has to fit the key; the key comes from the issuer and from
nowhere else, whatever a header names; and what the token says of itself has to be about us, now.
Rules: RFC 8725 (best current practice), RFC 9068 (access tokens), OpenID Connect Core 3.1.3.7.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from nbgov.errors import IdentityFailed
from nbgov.gateway.identity.presets import PRESETS, workload_groups
from nbgov.model import Proof

if TYPE_CHECKING:
    from nbgov.config.gateway import IssuerEntry
    from nbgov.gateway.identity.keys import Keys

TOKEN_CHARS_MAX = 65_536
PARTS = 3
LEEWAY_S = 60
NAME_CHARS_MAX = 200
GROUPS_MAX = 5_000
# Which type of key each algorithm takes. Nothing that is not here is ever used.
ALGORITHMS: Mapping[str, str] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "ES256": "EC",
    "ES384": "EC",
}


class TokenIssuer:
    """Checks the tokens of one issuer.

    Args:
        name: Its name in ``nbgov.yaml``.
        entry: What is expected of its tokens.
        keys: Its keys.
        now: Tells the time.
    """

    def __init__(
        self, name: str, entry: IssuerEntry, keys: Keys, *, now: Callable[[], datetime]
    ) -> None:
        self.name = name
        self.entry = entry
        self.keys = keys
        self.now = now
        self.preset = PRESETS[entry.kind]

    def is_issuer(self, issuer: str) -> bool:
        """Whether a token that names an issuer is one of this."""
        return issuer == self.entry.issuer

    def prove(self, token: str) -> Proof:
        """Who has a token.

        Raises:
            IdentityFailed: It proves nothing; the code says why.
        """
        header = read_part(token, 0)
        self.require_header(header)
        key = self.keys.find(str(header["kid"]))
        claims = self.verified(token, str(header["alg"]), key)
        self.require_times(claims)
        self.require_about_us(claims)
        groups = self.groups(claims) | workload_groups(self.entry.kind, claims)
        return Proof(
            self.name,
            f"{self.entry.issuer}|{self.subject(claims)}",
            self.person(claims),
            groups,
            listed(claims, self.entry.roles_claim or self.preset.roles),
            self.preset.method,
            datetime.fromtimestamp(claims["exp"], UTC),
        )

    # ------------------------------------------------------------ the header, and the signature

    def require_header(self, header: Mapping[str, Any]) -> None:
        """See that a header asks for nothing that is not done here."""
        if header.get("alg") not in ALGORITHMS:
            raise refused("token-algorithm", "its algorithm is none that is believed")
        if "crit" in header:
            raise refused("token-critical", "its header asks for an extension")
        if header.get("typ") not in self.preset.types:
            raise refused("token-type", "its header says that it is another kind of token")
        if not isinstance(header.get("kid"), str):
            raise refused("token-key", "it names no key")
        # Security: jwk, jku and x5u bring a key of the sender's own. They are not even looked at.

    def verified(self, token: str, algorithm: str, key: Mapping[str, Any]) -> dict[str, Any]:
        """The claims under a signature that counts."""
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        if key.get("kty") != ALGORITHMS[algorithm] or key.get("alg", algorithm) != algorithm:
            raise refused("token-algorithm", "its algorithm is not the one of its key")
        try:
            made = jwt.decode(token, jwk.import_key(dict(key)), algorithms=[algorithm])
        except (JoseError, ValueError):
            raise refused("token-signature", "its signature does not verify") from None
        return dict(made.claims)

    # ------------------------------------------------------------ what it says

    def require_times(self, claims: Mapping[str, Any]) -> None:
        """See that a token is of now."""
        now = self.now().timestamp()
        if not is_number(claims.get("exp")):
            raise refused("token-incomplete", "it does not say when it ends")
        if now >= claims["exp"] + LEEWAY_S:
            raise refused("proof-expired", "its time is over")
        for claim in ("nbf", "iat"):
            if claim in claims and not is_number(claims[claim]):
                raise refused("token-incomplete", "one of its times is none")
        if claims.get("nbf", now) > now + LEEWAY_S:
            raise refused("token-early", "its time has not come yet")
        if claims.get("iat", now) > now + LEEWAY_S:
            raise refused("token-early", "it says that it was made in the future")

    def require_about_us(self, claims: Mapping[str, Any]) -> None:
        """See that a token is by this issuer, for this gateway, and of a client of ours."""
        if claims.get("iss") != self.entry.issuer:
            raise refused("token-issuer", "another issuer has signed it")
        told = claims.get("aud")
        if self.entry.audience not in (told if isinstance(told, list) else [told]):
            # Such as an ID token, which is for the client that somebody logged in through.
            raise refused("proof-audience", "it is for somebody else than this gateway")
        entry = self.entry
        clients = {*entry.clients, entry.client_id, entry.pages_client_id} - {None}
        client = next((claims[one] for one in self.preset.clients if claims.get(one)), None)
        if clients and client not in clients:
            raise refused("token-client", "a client got it whose tokens are not taken")

    def subject(self, claims: Mapping[str, Any]) -> str:
        """Who somebody is, for good."""
        parts = [claims.get(part) for part in self.preset.subject]
        if self.entry.kind == "okta" and parts == [None]:
            parts = [claims.get("sub")]  # A job of Okta's has no uid.
        if not all(isinstance(part, str) and part for part in parts):
            raise refused("token-incomplete", "it does not say whose it is")
        return "|".join(str(part) for part in parts)

    def person(self, claims: Mapping[str, Any]) -> str:
        """What people call them."""
        wanted = (self.entry.name_claim,) if self.entry.name_claim else self.preset.name
        name = next((claims[one] for one in wanted if claims.get(one)), None)
        if not isinstance(name, str) or len(name) > NAME_CHARS_MAX or not name.isprintable():
            raise refused("token-incomplete", "it holds no name, or none that can be shown")
        return name.strip()

    def groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """The groups that a token lists."""
        claim = self.entry.groups_claim or self.preset.groups
        elsewhere = claims.get("_claim_names")
        is_cut = isinstance(elsewhere, Mapping) and claim in elsewhere
        # Security: groups that did not fit are not no groups; a rule that forbids would not hold.
        if claim not in claims and (is_cut or claims.get("hasgroups")):
            raise IdentityFailed(
                "The token does not hold all groups of its owner.",
                code="groups-overage",
                why="they are too many, so that the issuer has left them out",
                next_step="let the issuer send app roles, or only groups assigned to the app",
            )
        return listed(claims, claim)


def listed(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """The texts that a claim lists; one text is a list of one."""
    if not claim or claims.get(claim) is None:
        return frozenset()
    found = claims[claim]
    items = [found] if isinstance(found, str) else found
    if not isinstance(items, list) or not all(isinstance(one, str) for one in items):
        raise refused("token-incomplete", "its groups or roles are no list of texts")
    if len(items) > GROUPS_MAX:
        raise refused("token-incomplete", f"it lists more than {GROUPS_MAX:,} groups or roles")
    return frozenset(items)


def is_number(value: object) -> bool:
    """Whether a claim can be a moment."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and 0 <= value < MOMENT_MAX  # type: ignore[operator]  # it is a number


MOMENT_MAX = (datetime.max.replace(tzinfo=UTC) - timedelta(days=2)).timestamp()


def read_part(token: str, place: int) -> dict[str, Any]:
    """A part of a token, unverified.

    Raises:
        IdentityFailed: It is none (``token-malformed``).
    """
    parts = token.split(".")
    if len(token) > TOKEN_CHARS_MAX or len(parts) != PARTS:
        raise refused("token-malformed", "it is no signed token")
    text = parts[place]
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise refused("token-malformed", "it is no signed token")
    return found


def peek_issuer(token: str) -> str:
    """Which issuer a token names, before anything of it is believed."""
    return str(read_part(token, 1).get("iss"))


def refused(code: str, why: str) -> IdentityFailed:
    """The error of a token that proves nothing."""
    return IdentityFailed(
        "The token proves nothing.",
        code=code,
        why=why,
        next_step="log in again: nbgov login",
    )
