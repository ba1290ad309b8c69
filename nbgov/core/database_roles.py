"""As whom a statement runs in a database, and how the database's own log can name it."""

from __future__ import annotations

from collections.abc import Mapping

from nbgov.errors import Denied
from nbgov.model import Principal

# What PostgreSQL keeps of an application's name.
LABEL_BYTES_MAX = 63


def database_role(roles: Mapping[str, str], principal: Principal, connection: str) -> str:
    """The database role of a principal on a connection; empty where nobody has one.

    Args:
        roles: Who gets which role: ``name:``, ``group:`` or ``role:`` and a name, or ``*``; the
            first that fits counts.
        principal: Who asks.
        connection: Name of the connection.

    Raises:
        Denied: Others have roles there, and the principal has none (``role-missing``).

    Example:
        >>> ada = Principal("ada", frozenset({"analysts"}))
        >>> database_role({"group:analysts": "reader", "*": "nobody"}, ada, "warehouse")
        'reader'
    """
    if not roles:
        return ""
    mine = {
        f"name:{principal.name}",
        *(f"group:{group}" for group in principal.groups),
        *(f"role:{role}" for role in principal.roles),
        "*",
    }
    for who, role in roles.items():
        if who in mine:
            return role
    # Security: without a role of their own, they would run as the account that holds all roles.
    raise Denied(
        f"{principal.name} has no role in the database of connection {connection}.",
        code="role-missing",
        why="no entry under roles: of the connection in nbgov.yaml fits",
        next_step="ask the owner of nbgov.yaml",
    )


def label(principal: Principal, request: str) -> str:
    """A request as the database's own log names it, with the id that its audit record has.

    Example:
        >>> label(Principal("grace.hopper@example.com"), "0" * 32)
        'nbgov:grace.hopper@example.com:00000000000000000000000000000000'
    """
    name = "".join(one if one.isascii() and one.isprintable() else "?" for one in principal.name)
    return f"nbgov:{name[: LABEL_BYTES_MAX - len(request) - 7]}:{request}"
