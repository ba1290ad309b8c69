"""A control plane that believes a provider, and people who log in there."""

from __future__ import annotations

import threading
from pathlib import Path

from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.identity import Identities
from nbgov.login.device import by_device
from nbgov.login.loopback import by_browser
from tests.gateway.provider import Person, Provider
from tests.gateway_scene import CONFIG, make_folder, make_house


def served(folder: Path, provider: Provider, kind: str):
    """A house and its control plane, which believe the provider as some kind of issuer."""
    entry = f"{{acme: {{kind: {kind}, issuer: '{provider.issuer}', audience: nbgov-gateway, client_id: nbgov, pages_client_id: nbgov-pages, clients: [job], scopes: [openid, profile, offline_access, govsql]}}}}"
    house = make_house(
        make_folder(folder, config=CONFIG.replace("issuers: {}", f"issuers: {entry}"))
    )
    identities = Identities(house.terms, now=house.site.world.clock.now)
    plane = start_control_plane(house, identities, "127.0.0.1:0")
    return house, plane


def typing_in(name: str):
    """What shows people a code: a person goes there at once."""

    def show(address: str, code: str) -> None:
        assert code
        threading.Thread(target=Person(name).go, args=(address,), daemon=True).start()

    return by_device(show)


def in_browser(name: str):
    """What opens a browser, with a person before it."""
    return by_browser(
        lambda url: threading.Thread(target=Person(name).go, args=(url,), daemon=True).start(),
        wait_s=60,
    )
