"""One small house on the disk: a DuckDB warehouse, an nbgov.yaml and a policy, made for a test."""

from __future__ import annotations

from pathlib import Path

import duckdb

CONFIG = """
version: 1
policy: policy.yaml
default_connection: wh
connections:
  wh: {kind: duckdb, path: wh.duckdb}
  lost: {kind: duckdb, path: lost.duckdb}
  down: {kind: postgresql, url: "postgresql://127.0.0.1:1/db", user: ada, password: "env:NBGOV_TEST_PASSWORD"}
principals:
  ada@acme.test: {groups: [analysts]}
  grace@acme.test: {groups: [stewards], roles: [approver]}
"""
POLICY = """
version: 1
tags:
  pii.email: ["wh.main.people.email"]
  public: ["wh.main.people.id", "wh.main.people.team"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts, stewards]}
    actions: [read]
    on: ["wh.main.*", "lost.*.*", "down.*.*"]
    obligations: {masks: {"pii.*": redact}}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["wh.main.people"]
    obligations: {approval: {by: {roles: [approver]}}}
"""
CHANGE = "UPDATE people SET team = 'blue' WHERE id = 1"


def build(folder: Path) -> Path:
    """Make the house in a folder and return the folder."""
    with duckdb.connect(folder / "wh.duckdb") as connection:
        connection.execute(
            "CREATE TABLE people (id INTEGER, email VARCHAR, team VARCHAR, note VARCHAR)"
        )
        connection.execute(
            "INSERT INTO people VALUES (1, 'ada@lovelace.org', 'red', 'write to ada@lovelace.org'),"
            " (2, 'bo@example.com', 'red', NULL), (3, NULL, 'blue', 'fine')"
        )
    (folder / "nbgov.yaml").write_text(CONFIG)
    (folder / "policy.yaml").write_text(POLICY)
    return folder
