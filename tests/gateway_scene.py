"""A gateway's house on a DuckDB warehouse in a folder, and people who come in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb

from nbgov.backends.memory.logins import MemoryGatewayStore
from nbgov.config import parse
from nbgov.gateway.house import House
from nbgov.model import Audience, Principal, Proof
from nbgov.session.site import Site

CONFIG = """
version: 1
policy: policy.yaml
connections:
  warehouse: {kind: duckdb, path: warehouse.duckdb}
gateway:
  issuers: {}
  roles: {stewards: [approver]}
  admins: {groups: [platform]}
  auditors: {groups: [auditors]}
"""
POLICY = """
version: 1
tags:
  pii.email: ["warehouse.main.people.email"]
  public: ["warehouse.main.people.id", "warehouse.main.people.city", "warehouse.main.numbers.*"]
rules:
  - id: read
    effect: permit
    to: {groups: [analysts]}
    actions: [read]
    on: ["warehouse.main.people", "warehouse.main.numbers"]
    obligations: {masks: {"pii.*": redact}}
  - id: change
    effect: permit
    to: {groups: [analysts]}
    actions: [update]
    on: ["warehouse.main.people"]
    obligations: {approval: {by: {roles: [approver]}}}
  - id: load
    effect: permit
    to: {groups: [analysts]}
    actions: [insert]
    on: ["warehouse.main.numbers"]
"""
TABLES = """
CREATE TABLE people (id INTEGER PRIMARY KEY, email VARCHAR, city VARCHAR);
INSERT INTO people SELECT i, 'user' || i || '@example.com', 'city ' || (i % 10) FROM range(1000) t(i);
CREATE TABLE numbers (a BIGINT, b DOUBLE, c VARCHAR);
INSERT INTO numbers SELECT i, i / 7.0, 'text ' || (i % 100) FROM range(200000) t(i);
CREATE TABLE salaries (id INTEGER, amount DECIMAL(12, 2));
INSERT INTO salaries VALUES (1, 10.50);
"""
# Who is in which groups; nobody may read salaries, and they read as absent.
PEOPLE = {
    "ada": {"analysts"},
    "grace": {"stewards", "analysts"},
    "olga": {"platform"},
    "aud": {"auditors"},
}


def make_folder(folder: Path, *, config: str = CONFIG, policy: str = POLICY) -> Path:
    """The nbgov.yaml of a gateway in a folder, its policy and its warehouse beside it."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as link:
        link.execute(TABLES)
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    path = folder / "nbgov.yaml"
    path.write_text(config, encoding="utf-8")
    return path


def make_house(path: Path) -> House:
    """The house of an nbgov.yaml, on a store in memory."""
    site = Site(path, keeper=Principal("gateway", account="nbgov"))
    terms = parse(path.read_text(encoding="utf-8")).gateway
    assert terms is not None
    return House(site, MemoryGatewayStore(), terms)


def proof(house: House, name: str) -> Proof:
    """What an issuer would say of one of the people."""
    until = house.site.world.clock.now() + timedelta(hours=1)
    return Proof(
        "acme",
        f"https://idp.test|{name}",
        name,
        frozenset(PEOPLE[name]),
        frozenset(),
        "oidc",
        until,
    )


def token(house: House, name: str, audience: Audience = Audience.DATA) -> str:
    """A token of one of the people."""
    return house.admit(proof(house, name), audience, address="127.0.0.1", agent="test")[0]
