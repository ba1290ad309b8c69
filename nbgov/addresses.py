"""How ``nbgov.yaml`` names secrets, servers and people, and what it must not hold.

Nothing here repeats a text in a message, since it may be a secret.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

# What is sent to these leaves no machine.
OWN_HOSTS = {"127.0.0.1", "::1", "localhost"}


# How a reference goes on after its scheme.
REFERENCES = {
    "env": r"[^\s=]+",
    "file": r".+",
    "keyring": r"[^/\s].*/[^/\s]+",
    "vault": r"[^#\s]+#[^#\s]+",
    "awssm": r"[^#\s]+(#[^#\s]+)?",
}


def is_reference(text: str) -> str:
    """Accept a reference to a secret; a secret's value has no place in the file.

    Example:
        >>> is_reference("vault:secret/data/warehouse#password")
        'vault:secret/data/warehouse#password'
    """
    scheme, _, rest = text.partition(":")
    form = REFERENCES.get(scheme)
    if form is None or not re.fullmatch(form, rest):
        problem = (
            "a secret must be a reference, such as env:NAME or file:PATH, never the value itself"
        )
        raise ValueError(problem)
    return text


def is_without_password(text: str) -> str:
    """Accept a URL that carries no password."""
    if urlsplit(text).password is not None or "password=" in text.lower():
        problem = "the url holds a password; move it to password: as env:NAME or file:PATH"
        raise ValueError(problem)
    return text


def is_private_url(text: str) -> bool:
    """Whether what is sent to a url stays between the two: https, or a host that is this one.

    Example:
        >>> is_private_url("https://a.test/x"), is_private_url("http://a.test/x")
        (True, False)
    """
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        return False
    is_own = parts.scheme == "http" and host in OWN_HOSTS
    return bool(host) and (parts.scheme == "https" or is_own) and "@" not in parts.netloc


def is_private(text: str) -> str:
    """Accept a url that keeps what is sent to it private."""
    if not is_private_url(text):
        problem = "the url must begin with https:// and name no user"
        raise ValueError(problem)
    return text


def is_private_or_reference(text: str) -> str:
    """Accept a url, or where a secret one is."""
    return is_reference(text) if text.partition(":")[0] in REFERENCES else is_private(text)


def is_flight_url(text: str) -> str:
    """Accept ``grpc+tls://HOST:PORT``, and ``grpc://`` where the host is this one."""
    problem = "the url must read grpc+tls://HOST:PORT; grpc:// is for this host only"
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port else None
    except ValueError:
        raise ValueError(problem) from None
    is_safe = parts.scheme == "grpc+tls" or (parts.scheme == "grpc" and host in OWN_HOSTS)
    if not (host and is_safe) or "@" in parts.netloc or parts.path.strip("/"):
        raise ValueError(problem)
    return text


SecretReference = Annotated[str, AfterValidator(is_reference)]
Url = Annotated[str, AfterValidator(is_without_password)]
FlightUrl = Annotated[str, AfterValidator(is_flight_url)]
PrivateUrl = Annotated[str, AfterValidator(is_private)]
Address = Annotated[str, AfterValidator(is_private_or_reference)]
MailAddress = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+=-]+@[A-Za-z0-9.-]+$", max_length=254)]
