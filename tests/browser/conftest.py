"""What the browser tests share: a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mlflow.browser import chromium

SHOTS = Path(__file__).parents[2] / ".cache" / "browser"


@pytest.fixture(scope="session")
def browser():
    """The machine's Chromium; pictures are kept in ``.cache/browser``."""
    with chromium(SHOTS) as opened:
        yield opened
