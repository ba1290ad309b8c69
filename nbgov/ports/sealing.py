"""What keeps the literals of a request encrypted, until their key is destroyed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Protocol


class Sealer(Protocol):
    """Encrypts what nobody should read without a reason, under keys that can be destroyed.

    There is one key for each principal and day. What is sealed names its key, and is bound to the
    context that it was sealed in.
    """

    def seal(self, data: bytes, *, principal: str, at: datetime, context: str) -> str | None:
        """The data, encrypted under the principal's key of that day, as an entry keeps it.

        ``None`` where that key was destroyed already: nothing more of that day is kept then.

        Raises:
            BackendFailed: The key cannot be read or made (code ``state-unavailable``).
        """
        ...

    def unseal(self, sealed: str, *, context: str) -> bytes:
        """The data behind a sealed text.

        Raises:
            BackendFailed: Its key was destroyed (``seal-erased``) or cannot be read
                (``state-unavailable``).
            IntegrityFailed: It is not what was sealed in this context (``seal-broken``).
        """
        ...

    def keys(self, *, principal: str | None = None, before: date | None = None) -> tuple[str, ...]:
        """The names of the keys of one principal, or of all, that are of days before a date."""
        ...

    def destroy(self, key: str) -> None:
        """Destroy a key: nobody can unseal what it sealed, ever again.

        Raises:
            BackendFailed: It cannot be destroyed (code ``state-unavailable``).
        """
        ...
