"""Products that nbgov talks to, one module or package each, and the registry that finds them.

A connection's ``kind`` in ``nbgov.yaml`` names its backend. The kinds in :data:`BUILT_IN` come with
nbgov; others come from distributions that declare an entry point in the group ``nbgov.backends``.
What stands behind a kind of connection is a function
``open_engine(name: str, settings: Mapping[str, Any]) -> Engine``. A product is imported when its
kind is first asked for, never before.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from nbgov.errors import BackendFailed, ConfigInvalid

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

GROUP = "nbgov.backends"
BUILT_IN = {
    "duckdb": "nbgov.backends.duckdb",
    "postgresql": "nbgov.backends.postgresql",
    "sqlalchemy": "nbgov.backends.sqlalchemy",
    "sqlite": "nbgov.backends.sqlite.engine",
}
# The built-in kind that knows a dialect without a database; every other dialect is SQLAlchemy's.
OFFLINE = {"duckdb": "duckdb", "postgres": "postgresql", "sqlite": "sqlite"}
EXTRAS = {"postgresql": "nbgov[postgres]"}


def load(kind: str) -> Any:
    """What stands behind a kind: ``open_engine`` of a built-in one, else its entry point's object.

    Raises:
        ConfigInvalid: Nothing is registered under this kind.
        BackendFailed: Its driver is not installed (code ``driver-missing``).

    Example:
        >>> load("duckdbb")
        Traceback (most recent call last):
        ...
        nbgov.errors.ConfigInvalid: There is no backend of the kind 'duckdbb'.
          why     known kinds are duckdb, ..., sqlite
          next    write duckdb
          code    config-invalid
    """
    # Security: a built-in kind comes first, so that no other distribution can stand in for it.
    try:
        if kind in BUILT_IN:
            return import_module(BUILT_IN[kind]).open_engine
        if found := registered().get(kind):
            return found.load()
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "nbgov":
            raise
        raise BackendFailed(
            f"The driver for the kind {kind!r} cannot be loaded.",
            code="driver-missing",
            why=f"the package {missing} is not installed" if missing else "it does not import",
            next_step=f"pip install {EXTRAS.get(kind, missing or kind)!r}",
        ) from error
    known = sorted({*BUILT_IN, *registered()})
    near = get_close_matches(kind, known, n=1)
    raise ConfigInvalid(
        f"There is no backend of the kind {kind!r}.",
        why=f"known kinds are {', '.join(known)}",
        next_step=f"write {near[0]}" if near else "use one of these",
    )


def load_offline(dialect: str) -> Any:
    """What makes an engine of a catalog, for a dialect: it inspects and runs nothing.

    Example:
        >>> from nbgov.model import Catalog
        >>> load_offline("postgres")(Catalog("postgres", "public", {})).inspect("SELECT 1").is_read
        True
    """
    module = import_module(BUILT_IN[OFFLINE.get(dialect, "sqlalchemy")])
    return module.offline


def registered() -> dict[str, EntryPoint]:
    """Entry points of other distributions, by kind."""
    return {point.name: point for point in entry_points(group=GROUP)}


def private_url(settings: Mapping[str, Any]) -> URL | None:
    """The url of a server with the account in it; ``None`` if it is no url.

    Its text form hides the password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(settings["url"])
    except ArgumentError:
        return None
    url = url.set(username=settings.get("user") or url.username)
    # A secret stays one until a driver is called.
    return url.set(password=settings.get("password") or url.password)


def invalid_url(name: str, form: str) -> ConfigInvalid:
    """The error of a connection whose url is none, with the form that it should have."""
    return ConfigInvalid(
        f"The url of connection {name} is not valid.",
        next_step=f"Write it as {form} in nbgov.yaml.",
    )
