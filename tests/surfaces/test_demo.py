"""`nbgov demo`, run as a person runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def tell(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder of its own."""
    command = [str(Path(sys.executable).with_name("nbgov")), "demo", "--folder", "demo"]
    settings = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, check=False
    )


def test_the_demo_tells_the_whole_story(tmp_path: Path) -> None:
    """All eight steps are told with real figures, and the folder holds what they speak of."""
    told = tell(tmp_path)
    assert told.returncode == 0, told.stderr
    assert re.findall(r"^(\d)/8 ", told.stdout, flags=re.MULTILINE) == list("12345678")
    for sign in (
        "336,776 rows  real",
        "masked  name: redact (pii.name)",
        "Denied: DROP on main.passengers",
        "is approved\n",
        "it ran once: 118 rows",
        "a second time it would need a new approval",
        "drifted",
        "The audit log verifies.",
    ):
        assert sign in told.stdout, sign
    assert "Traceback" not in told.stdout + told.stderr
    assert len(list(tmp_path.glob("demo/mlartifacts/*/artifacts/nbgov/lineage.html"))) == 2
    state = b"".join(p.read_bytes() for p in (tmp_path / "demo/.nbgov").rglob("*") if p.is_file())
    assert b"@example.org" not in state
