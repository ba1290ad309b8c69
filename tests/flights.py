"""A project with a warehouse of flights, for tests that train on it: an analyst, and masked addresses."""

from __future__ import annotations

from pathlib import Path

import duckdb

ADA = "ada@acme.test"
CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {kind: duckdb, path: warehouse.duckdb}
principals:
  ada@acme.test: {groups: [analysts]}
"""
POLICY = """
version: 1
tags:
  pii.email: ["warehouse.*.flights.email"]
  public: ["warehouse.*.flights.*"]
rules:
  - id: analysts-read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["warehouse.*.*"]
    obligations: {masks: {"pii.*": redact}}
"""


def build(folder: Path, *statements: str, config: str = CONFIG, policy: str = POLICY) -> Path:
    """Make the project in a folder, with what the statements make of its warehouse."""
    (folder / "nbgov.yaml").write_text(config)
    (folder / "policy.yaml").write_text(policy)
    with duckdb.connect(folder / "warehouse.duckdb") as database:
        for statement in statements:
            database.execute(statement)
    return folder
