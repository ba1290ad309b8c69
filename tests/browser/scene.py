"""A shop in SQLite, its policy, and the notebooks of the two people who meet over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import nbformat

ADA, GRACE = "ada@acme.test", "grace@acme.test"
CONFIG = """
version: 1
policy: policy.yaml
default_connection: shop
connections:
  shop: {kind: sqlite, path: shop.sqlite}
principals:
  ada@acme.test: {groups: [analysts]}
  grace@acme.test: {groups: [stewards], roles: [approver]}
"""
POLICY = """
version: 1
tags:
  pii.email: ["shop.main.customers.email"]
  public: ["shop.main.customers.id", "shop.main.customers.tier", "shop.main.orders.*"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts, stewards]}
    actions: [read]
    on: ["shop.main.customers"]
    obligations: {masks: {"pii.*": redact}}
  - id: read-orders
    effect: permit
    to: {groups: [analysts, stewards]}
    actions: [read]
    on: ["shop.main.orders"]
    obligations: {approval: {by: {roles: [approver]}}}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update, delete]
    on: ["shop.main.customers"]
    obligations: {approval: {by: {roles: [approver]}}}
"""
UPDATE = "UPDATE customers SET tier = 'gold' WHERE id <= 3"
DELETE = "DELETE FROM customers WHERE id = 7"
READ = "SELECT id, total FROM orders ORDER BY id"


def build(folder: Path) -> Path:
    """Make the shop in a folder, and return the folder."""
    with closing(sqlite3.connect(folder / "shop.sqlite")) as link, link:
        link.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, tier TEXT)")
        link.executemany(
            "INSERT INTO customers VALUES (?, ?, 'basic')",
            [(number, f"customer{number}@example.com") for number in range(1, 13)],
        )
        link.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
        link.executemany("INSERT INTO orders VALUES (?, ?)", [(1, 9.5), (2, 20.25), (3, 4.0)])
    (folder / "nbgov.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return folder


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook with code cells that nobody has run."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)


def tiers(folder: Path) -> list[str]:
    """The tiers of the customers, in the order of their ids, as the file holds them."""
    with closing(sqlite3.connect(folder / "shop.sqlite")) as link:
        return [tier for (tier,) in link.execute("SELECT tier FROM customers ORDER BY id")]
