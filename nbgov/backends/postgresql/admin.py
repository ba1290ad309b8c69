"""Statements of an administrator, which are on the way of no governed request.

They make scratch databases, and run what ``nbgov harden --apply`` has shown and recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from nbgov.backends import private_url
from nbgov.backends.postgresql.engine import connect, load_driver
from nbgov.backends.postgresql.transaction import BUFFERED
from nbgov.errors import BackendFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def apply(name: str, settings: Mapping[str, Any], statements: Sequence[str]) -> None:
    """Run statements in one transaction: all of them, or none.

    Raises:
        BackendFailed: The server is away, or refused one, so that nothing was changed.
    """
    url = private_url(settings)
    assert url is not None
    driver = load_driver(name)
    try:
        run(name, url, statements, is_whole=True)
    except driver.Error as error:
        raise BackendFailed(
            f"The server of connection {name} refused a statement, and nothing was changed.",
            code="database-error",
            why=f"SQLSTATE {getattr(error, 'sqlstate', None) or 'unknown'}",
            next_step="use an account that owns the tables and may make roles and schemas",
        ) from None


def run(name: str, url: URL, statements: Sequence[str], *, is_whole: bool = False) -> None:
    """Run statements, each committed by itself, or all in one transaction if ``is_whole``."""
    with closing(connect(name, url, is_autocommit=not is_whole)) as link:
        for sql in statements:
            with link.cursor(adbc_stmt_kwargs=BUFFERED) as cursor:
                cursor.execute(sql)
        if is_whole:
            link.commit()
