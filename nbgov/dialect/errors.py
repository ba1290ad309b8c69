"""The errors of PEP 249, and which of them an error of nbgov is."""

from __future__ import annotations

from typing import NoReturn

from nbgov.errors import BackendFailed, Denied, IntegrityFailed, NbgovError, RequestInvalid


class Warning(Exception):  # noqa: A001 - PEP 249 names it
    """Something to know; nothing here raises it."""


class Error(Exception):
    """Base of all errors.

    Attributes:
        code: The code of nbgov's error, see ``docs/reference/errors.md``; empty for one of misuse.
        ticket: The ticket to vote on, where the statement waits for a consent.
        record, receipt: Where it stands in the audit log.
        sqlstate: The database's own number, where it has one.
    """

    code = ""
    ticket = ""
    sqlstate = ""
    record: int | None = None
    receipt: str | None = None


class InterfaceError(Error):
    """Something here was used as it cannot be."""


class DatabaseError(Error):
    """Base of errors that come from behind the connection."""


class DataError(DatabaseError):
    """A value does not fit."""


class OperationalError(DatabaseError):
    """Something does not work, or somebody is not known, or a consent is missing."""


class IntegrityError(DatabaseError):
    """A write would break a constraint."""


class InternalError(DatabaseError):
    """A check of nbgov's own failed, so that nothing came out."""


class ProgrammingError(DatabaseError):
    """The statement is wrong, or the policy does not permit it."""


class NotSupportedError(DatabaseError):
    """There is no such thing on a governed connection."""


def raise_as(error: NbgovError) -> NoReturn:
    """Raise an error of nbgov as PEP 249 sorts errors."""
    told = kind_of(error)(error.render())
    told.code, told.record, told.receipt = error.code, error.record, error.receipt
    told.ticket = getattr(error, "ticket", "")
    told.sqlstate = getattr(error, "sqlstate", "")
    raise told from error


def kind_of(error: NbgovError) -> type[Error]:
    """What an error of nbgov is to PEP 249."""
    sqlstate = getattr(error, "sqlstate", "")[:2]
    if isinstance(error, BackendFailed) and error.code == "database-error" and sqlstate:
        return {"22": DataError, "23": IntegrityError, "42": ProgrammingError}.get(
            sqlstate, OperationalError
        )
    if error.code == "not-supported":
        return NotSupportedError
    if isinstance(error, RequestInvalid | Denied):
        return ProgrammingError
    return InternalError if isinstance(error, IntegrityFailed) else OperationalError
