"""A value that is shown to nobody but whom it is handed to on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

SHOWN = "***"


class Secret:
    """A secret, read where it is kept each time that it is needed, so that it may change there.

    Text, format and representation are ``***``, and it does not travel by pickle: no traceback,
    log line or other process gets it by accident.

    Args:
        read: What reads it.

    Example:
        >>> secret = Secret(lambda: "hunter2")
        >>> f"{secret} {secret!r} {secret:>8}", secret.reveal()
        ('*** ***      ***', 'hunter2')
    """

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read

    def reveal(self) -> str:
        """The value. It belongs into the call of a driver, and into no variable."""
        return self._read()

    def __repr__(self) -> str:
        return SHOWN

    def __format__(self, spec: str) -> str:
        return format(SHOWN, spec)

    def __reduce_ex__(self, _: object) -> NoReturn:
        # Security: what pickles a frame or sends it to a worker must not take a secret along.
        problem = "a secret does not travel"
        raise TypeError(problem)


def revealed(value: object) -> str | None:
    """A password as a driver wants it, be it a secret, a plain text or none.

    Example:
        >>> revealed(Secret(lambda: "hunter2")), revealed(None)
        ('hunter2', None)
    """
    if isinstance(value, Secret):
        return value.reveal()
    return None if value is None else str(value)
