"""A project whose models wait for promotion: who trains, who consents, and data in two units."""

from __future__ import annotations

from pathlib import Path

import duckdb

CONFIG = """
version: 1
policy: policy.yaml
connections:
  wh: {kind: duckdb, path: wh.duckdb}
principals:
  ada: {groups: [analysts]}
  grace: {groups: [analysts], roles: [owner]}
  heidi: {roles: [owner]}
  mallory: {}
"""
POLICY = """
version: 1
tags: {public: ["wh.main.flights.*"]}
rules:
  - {id: read, effect: permit, to: {groups: [analysts]}, actions: [read], on: ["wh.main.*"]}
content: {entities: []}
drift: {approval: {by: {roles: [owner]}}}
"""
BEFORE = "SELECT id, delay FROM flights WHERE id < 2000"
AFTER = "SELECT id, delay * 60 AS delay FROM flights WHERE id < 2000"


def build(folder: Path) -> Path:
    """Make the project in a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(folder / "wh.duckdb") as connection:
        connection.execute(
            "CREATE TABLE flights AS"
            " SELECT i AS id, (i * 7919) % 240 - 20 AS delay FROM range(4000) t(i)"
        )
    (folder / "nbgov.yaml").write_text(CONFIG)
    (folder / "policy.yaml").write_text(POLICY)
    return folder
