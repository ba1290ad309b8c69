"""What is where in the tokens of each kind of issuer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """The claims of a kind of issuer.

    Attributes:
        method: How a proof of it is named in records.
        subject: The claims that say for good who somebody is, one behind the other.
        name: The claims that hold what people call them; the first that is there counts.
        groups, roles: The claims with groups and roles.
        types: What the header may say of the token's type.
        clients: The claims that name the client which got the token.
    """

    method: str = "oidc"
    subject: tuple[str, ...] = ("sub",)
    name: tuple[str, ...] = ("preferred_username", "sub")
    groups: str = "groups"
    roles: str = "roles"
    types: tuple[str | None, ...] = ("at+jwt", "application/at+jwt", "JWT", None)
    clients: tuple[str, ...] = ("azp", "client_id", "appid", "cid")


PRESETS: Mapping[str, Preset] = {
    "oidc": Preset(),
    # Okta's access tokens name the login in ``sub``; ``uid`` stays when that is renamed.
    "okta": Preset(subject=("uid",), name=("sub",)),
    # In Entra, ``sub`` differs from application to application; ``oid`` within ``tid`` does not.
    "entra": Preset(
        subject=("tid", "oid"), name=("preferred_username", "upn", "unique_name", "oid")
    ),
    "kubernetes": Preset(method="kubernetes", name=("sub",), groups="", roles=""),
    "github": Preset(method="github", name=("sub",), groups="", roles=""),
}


def workload_groups(kind: str, claims: Mapping[str, Any]) -> frozenset[str]:
    """The groups of a workload, made of what its platform vouches for.

    >>> sorted(workload_groups("github", {"repository": "a/b", "ref": "refs/heads/main"}))
    ['github:repository:a/b', 'github:repository:a/b:ref:refs/heads/main']
    """
    if kind == "kubernetes":
        bound = claims.get("kubernetes.io")
        space = bound.get("namespace") if isinstance(bound, Mapping) else None
        account = bound.get("serviceaccount") if isinstance(bound, Mapping) else None
        name = account.get("name") if isinstance(account, Mapping) else None
        found = [f"kubernetes:{space}", f"kubernetes:{space}:{name}"] if space and name else []
        return frozenset(found)
    if kind == "github":
        repository = claims.get("repository")
        parts = [(part, claims.get(part)) for part in ("ref", "environment", "repository_id")]
        head = f"github:repository:{repository}"
        told = [f"{head}:{part}:{value}" for part, value in parts if isinstance(value, str)]
        return frozenset([head, *told] if isinstance(repository, str) else [])
    return frozenset()
