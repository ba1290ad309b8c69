"""Hardening a connection: from the policy to DDL, and from there to the server.

What is written is decided by :mod:`nbgov.core.harden`. Nothing is installed that was not printed
before, and the log says so before it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nbgov.assurance.deeds import Deed, recorded
from nbgov.assurance.exposure import expose
from nbgov.core.harden import Hardening, harden
from nbgov.core.rewrite.native import SCHEMA
from nbgov.errors import RequestInvalid
from nbgov.model import Catalog, Principal
from nbgov.ports import World

ADMIN = {"postgresql": "nbgov.backends.postgresql.admin"}


def plan(
    world: World,
    connection: str,
    catalog: Catalog,
    *,
    audience: Principal,
    role: str,
    schema: str = SCHEMA,
) -> Hardening:
    """The statements that show an audience what the policy lets it see.

    Args:
        world: The ports; only the policy is asked.
        connection: Name of the connection.
        catalog: What it holds, whole.
        audience: A principal of the audience: one member of a group stands for the group.
        role: The role to make.
        schema: The schema of the views.

    Raises:
        RequestInvalid: The product has no roles.
    """
    seen = expose(catalog, connection, world.policy, audience)
    return harden(catalog, seen, role=role, schema=schema)


def install(
    world: World,
    made: Hardening,
    *,
    kind: str,
    connection: str,
    settings: Mapping[str, Any],
    session: str,
    principal: Principal,
) -> None:
    """Run the statements in one transaction, and record that.

    Raises:
        RequestInvalid: The product commits each statement by itself.
        BackendFailed: The log is away, or the server refused a statement; nothing was changed.
    """
    if kind not in ADMIN:
        raise RequestInvalid(
            f"nbgov does not install on a connection of the kind {kind}.",
            code="usage",
            why="the server commits each such statement by itself, so half of them could stay",
            next_step="run the printed statements with the server's own client",
        )
    text = ";\n".join(made.statements)
    deed = Deed(
        "HARDEN",
        connection,
        f"{len(made.statements)} statements in one transaction",
        statement_mac=world.signer.mac(text.encode()).hex(),
    )
    with recorded(world, deed, session=session, principal=principal):
        import_module(ADMIN[kind]).apply(connection, settings, made.statements)
