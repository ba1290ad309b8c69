"""The shop of ``tests/cases/guard``, and what it lacks: heirs, views over views, masked numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from nbgov.assurance.scratch import Subject
from nbgov.backends.memory import MemoryPolicySource
from nbgov.core import catalog as catalogs
from nbgov.model import Catalog, Column, Principal, Table, TableName

CASES = Path(__file__).parents[1] / "cases" / "guard"
ANALYST = Principal("analyst@example.com", frozenset({"analysts"}))
KINDS = {"mysql": "sqlalchemy", "postgres": "postgresql"}
TEXTS = {"mysql": "varchar(60)"}
# Tag to the columns that carry it, beside those of the guard's own policy.
TAGS = {
    "pii.phone": ["payroll.salary", "payroll.born", "events.who"],
    "pii.name": ["payroll.boss", "events.said"],
    "public": [
        "payroll.id", "payroll.customer_id", "payroll.grade", "events.id", "events.day",
        "events_2024.extra",
    ],
}  # fmt: skip


def policy(*, row_filter: str = "", **masks: str) -> str:
    """The guard's policy, with tags for the tables that are added here, and some masks exchanged.

    With ``row_filter`` the analysts see those orders only.
    """
    document = yaml.safe_load((CASES / "policy.yaml").read_text())
    for rule in document["rules"]:
        # YAML 1.1 reads a bare ``on`` as true.
        rule["on"] = rule.pop(True)
    for tag, columns in TAGS.items():
        document["tags"][tag] += [f"warehouse.*.{column}" for column in columns]
    found = document["rules"][0]["obligations"]["masks"]
    found |= {f"pii.{tag}": kind for tag, kind in masks.items()}
    if row_filter:
        some = {"on": ["warehouse.*.orders"], "obligations": {"row_filter": row_filter}}
        document["rules"].append(document["rules"][0] | some | {"id": "some-orders"})
    return yaml.safe_dump(document)


def shop(dialect: str) -> Catalog:
    """The catalog: customers, orders and a landing table, payroll, and views over all of them."""
    found = catalogs.parse((CASES / f"catalog.{dialect}.yaml").read_text())
    tables = {name: one for name, one in found.tables.items() if name.name != "mv_orders"}
    text, schema = TEXTS.get(dialect, "text"), found.default_schema
    integer = {"sqlite": "INTEGER"}.get(dialect, "int")

    def add(name: str, *columns: tuple[str, str], **more: Any) -> TableName:
        key = TableName(schema, name)
        tables[key] = Table(key, tuple(Column(*one) for one in columns), **more)
        return key

    add(
        "payroll",
        ("id", integer),
        ("customer_id", integer),
        ("salary", integer),
        ("born", "date"),
        ("boss", text),
        ("grade", text),
    )
    add(
        "v_paid",
        ("country", text),
        ("salary", integer),
        ("born", "date"),
        kind="view",
        definition="SELECT c.country, p.salary, p.born FROM customers AS c JOIN payroll AS p ON c.id = p.customer_id",
    )
    add(
        "v_rich",
        ("id", integer),
        ("grade", text),
        kind="view",
        definition="SELECT id, grade FROM payroll WHERE salary > 3",
    )
    add(
        "v_again",
        ("id", integer),
        ("contact", text),
        kind="view",
        definition="SELECT id, upper(contact) AS contact FROM v_customers",
    )
    if dialect == "postgres":
        event = (("id", integer), ("day", "date"), ("who", text), ("said", text))
        parent = add("events", *event)
        add("events_2024", *event, ("extra", text), parents=(parent,))
    return replace(found, tables=tables, functions={})


def subject(dialect: str, settings: dict[str, Any], *, text: str | None = None) -> Subject:
    """The shop on an engine, as the analyst sees it."""
    source = MemoryPolicySource(policy() if text is None else text)
    kind = KINDS.get(dialect, dialect)
    return Subject(kind, "warehouse", settings, shop(dialect), source, ANALYST)
