"""Failures to come.

A durable write can fail in two ways: nothing was kept, or it was kept and nobody heard. Callers
have to survive both, so both can be planned here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nbgov.errors import BackendFailed


@dataclass(slots=True)
class Fault:
    """A failure to come: of what, after how many calls, and whether the work is done first."""

    operation: str
    is_done: bool
    calls_left: int
    error: BaseException | None


class Faults:
    """The failures planned for one part; each happens once, in the order of planning.

    Example:
        >>> faults = Faults()
        >>> faults.after("append", calls=1)  # The second append is kept, and fails all the same.
        >>> with faults.around("append", code="audit-unavailable"):
        ...     print("kept")
        kept
        >>> with faults.around("append", code="audit-unavailable"):
        ...     print("kept")
        Traceback (most recent call last):
        ...
        nbgov.errors.BackendFailed: append failed, as planned.
          code    audit-unavailable
    """

    def __init__(self) -> None:
        self.planned: list[Fault] = []

    def before(self, operation: str, *, calls: int = 0, error: BaseException | None = None) -> None:
        """Fail an operation before it does anything, after so many calls that go well."""
        self.planned.append(Fault(operation, is_done=False, calls_left=calls, error=error))

    def after(self, operation: str, *, calls: int = 0, error: BaseException | None = None) -> None:
        """Do the work of an operation and fail then, after so many calls that go well."""
        self.planned.append(Fault(operation, is_done=True, calls_left=calls, error=error))

    @contextmanager
    def around(self, operation: str, *, code: str) -> Iterator[None]:
        """Where a part lets its planned failures happen."""
        fault = self.take(operation)
        if fault is None:
            yield
            return
        if fault.is_done:
            yield
        raise fault.error or BackendFailed(f"{operation} failed, as planned.", code=code)

    def take(self, operation: str) -> Fault | None:
        """The failure of this call, if one is due."""
        fault = next((f for f in self.planned if f.operation == operation), None)
        if fault is None:
            return None
        if fault.calls_left:
            fault.calls_left -= 1
            return None
        self.planned.remove(fault)
        return fault
