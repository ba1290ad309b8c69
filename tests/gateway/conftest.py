"""A provider of identities, and a gateway that believes it."""

from __future__ import annotations

import keyring.backends.fail
import pytest

from nbgov import login as logins
from tests.gateway.provider import Provider
from tests.gateway.served import served


@pytest.fixture(scope="module")
def provider():
    found = Provider()
    yield found
    found.close()


@pytest.fixture
def kept_apart(monkeypatch, tmp_path):
    """A runtime folder of the test's own, no keychain, and no login from before."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    # The keychain of a process is chosen once, and a test before this one may have chosen.
    monkeypatch.setattr("keyring.core._keyring_backend", keyring.backends.fail.Keyring())
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setattr(logins, "OPENED", {})
    return folder


@pytest.fixture
def gateway(tmp_path, provider, kept_apart, request):
    """A gateway: its house, and the url of its control plane."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    house, plane = served(folder, provider, getattr(request, "param", "oidc"))
    yield house, f"http://127.0.0.1:{plane.port}"
    plane.stop()
    house.close()
