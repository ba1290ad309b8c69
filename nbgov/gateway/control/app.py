"""The app of the control plane: its routers, its errors, and its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from nbgov import __version__
from nbgov.errors import NbgovError
from nbgov.gateway import pages
from nbgov.gateway.control import (
    approvals,
    audit,
    catalog,
    exchange,
    health,
    lineage,
    metrics,
    policy,
    sessions,
)
from nbgov.gateway.control.guarding import Guarded
from nbgov.gateway.control.health import Checks
from nbgov.gateway.control.metrics import HouseCollector
from nbgov.gateway.control.problems import PROBLEM, tell_error, tell_http, tell_shape

if TYPE_CHECKING:
    from nbgov.gateway.house import House
    from nbgov.gateway.identity import Identities

TITLE = "nbgov control plane"
ABOUT = """Who is logged in, what waits for consent, what was recorded, what is in force.

Every call but `POST /v1/session`, `GET /v1/login`, `/healthz`, `/readyz` and `/metrics` takes a
token of the gateway for the audience `nbgov-control`. A token of the data plane opens nothing here.
"""
ROUTERS = (approvals, audit, catalog, lineage, policy, sessions, health, metrics, exchange)


def make_app(
    house: House,
    identities: Identities,
    *,
    checks: Mapping[str, Callable[[], str]] | None = None,
) -> FastAPI:
    """The control plane of a house, with its pages.

    Args:
        house: Everything that the planes share.
        identities: Whose tokens are believed.
        checks: What else readiness tells by name: each an empty text, or an error code.
    """
    # Security: the pages of a documentation tool would load scripts from elsewhere.
    app = FastAPI(
        title=TITLE, version=__version__, description=ABOUT, docs_url=None, redoc_url=None
    )
    app.state.house, app.state.identities = house, identities
    app.state.checks = Checks(house, identities, checks or {})
    app.state.registry = CollectorRegistry(auto_describe=False)
    app.state.registry.register(HouseCollector(house, app.state.checks))
    for module in ROUTERS:
        app.include_router(module.router)
    app.include_router(pages.router)
    app.add_exception_handler(NbgovError, tell_error)
    app.add_exception_handler(RequestValidationError, tell_shape)
    app.add_exception_handler(HTTPException, tell_http)
    app.add_middleware(Guarded, tally=house.tally, is_secure=house.terms.tls is not None)
    document = app.openapi

    def openapi() -> dict[str, Any]:
        made = document()
        made.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
    return app
