"""A call to either plane of a gateway, made again where the gateway does not know the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from nbgov.errors import IdentityFailed

if TYPE_CHECKING:
    from nbgov.login import Credentials

# A gateway that does not know a token has lost it, or its time was over on the way.
RENEWABLE = frozenset({"token-expired", "token-unknown"})
# Of a login that was ended somebody is told; the next call is made with the one that is kept.
LOST = RENEWABLE | {"token-revoked"}

Answer = TypeVar("Answer")


def renewed(credentials: Credentials, call: Callable[[], Answer]) -> Answer:
    """Make a call, and once more with a new token where the gateway knows the old one not.

    Raises:
        NbgovError: What the call raises.
    """
    try:
        return call()
    except IdentityFailed as error:
        if error.code in LOST:
            credentials.forget()
        if error.code not in RENEWABLE:
            raise
        # Nothing has run: who asks is looked at before what they ask for.
        return call()
