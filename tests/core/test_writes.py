"""What nbgov makes of a write. Golden cases: ``tests/cases/statement/writes*.yaml``."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from nbgov.core.statement import parse
from nbgov.core.statement.changes import changes, is_write
from nbgov.core.statement.writes import with_delete
from nbgov.errors import Denied, NbgovError
from nbgov.model import Action, Effect
from tests.core.conftest import make_catalog

CASES = Path(__file__).parent.parent / "cases" / "statement"
WRITES = yaml.safe_load((CASES / "writes.yaml").read_text(encoding="utf-8"))
REFUSED = yaml.safe_load((CASES / "writes_refused.yaml").read_text(encoding="utf-8"))


def short(columns: Any) -> list[str]:
    """Column names as the cases write them."""
    return sorted(str(column).removeprefix("main.") for column in columns)


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case["why"])
def test_a_write_is_understood(case: dict[str, Any]) -> None:
    """Targets, actions, columns read, flows, results and traits are what the text says."""
    statement = parse(case["sql"], make_catalog(case.get("dialect", "duckdb")))
    assert statement.effects == {Effect.WRITE}
    assert [
        f"{use.action} {use.table.name}: {' '.join(sorted(use.columns))}".strip()
        for use in statement.tables
    ] == case["uses"]
    flows = {str(f.target).removeprefix("main."): short(f.sources) for f in statement.flows}
    assert flows == case["flows"]
    assert statement.traits == set(case.get("traits", ()))
    assert statement.is_resolved is case.get("is_resolved", True)
    if "predicates" in case:
        assert short(statement.predicate_columns) == case["predicates"]
    outputs: dict[str, set[str]] = {}
    for output in statement.outputs:
        outputs.setdefault(output.name, set()).update(short(output.sources))
    expected = case.get("outputs", {})
    assert {name: sorted(sources) for name, sources in outputs.items()} == expected


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case["why"])
def test_every_mention_has_its_place(case: dict[str, Any]) -> None:
    """The span of a use is the name as written, of targets too."""
    statement = parse(case["sql"], make_catalog(case.get("dialect", "duckdb")))
    for use in statement.tables:
        assert case["sql"][use.span.start : use.span.end] == use.table.name


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["sql"])
def test_a_write_that_is_not_certain_is_refused(case: dict[str, str]) -> None:
    """A write with a part that nobody knows raises, with what it is."""
    with pytest.raises(NbgovError, match=case["match"]) as caught:
        parse(case["sql"], make_catalog(case["dialect"]))
    assert caught.value.code == case["code"]


def test_a_write_inside_an_expression_is_refused() -> None:
    """A tree that holds a write where no grammar has one is denied."""
    tree = sqlglot.parse_one("SELECT 1 AS one")
    tree.expressions[0].replace(exp.Subquery(this=sqlglot.parse_one("DELETE FROM orders")))
    assert is_write(tree)
    with pytest.raises(Denied, match="inside an expression"):
        changes(tree, make_catalog("postgres"))


def test_a_target_that_is_no_name_is_refused() -> None:
    """A write to something other than a table is denied."""
    tree = exp.Delete(this=exp.Subquery(this=exp.select("1")))
    with pytest.raises(Denied, match="not a plain table"):
        changes(tree, make_catalog("postgres"))


def test_a_conflict_without_an_action_is_refused() -> None:
    """What happens to a row in the way must be known."""
    tree = sqlglot.parse_one(
        "INSERT INTO orders (id) VALUES (1) ON CONFLICT DO NOTHING", read="postgres"
    )
    tree.args["conflict"].set("action", exp.var("DO UPDATE"))
    with pytest.raises(Denied, match="ON CONFLICT"):
        changes(tree, make_catalog("postgres"))


def test_only_an_update_replaces_rows_in_its_way() -> None:
    """Another write next to UPDATE OR REPLACE keeps its actions."""
    tree = sqlglot.parse_one("DELETE FROM orders WHERE id = 1")
    [write] = changes(tree, make_catalog("sqlite"))
    assert with_delete(write) is write


CONDITIONS = ["id = 4", "1 = 1", None]
WRITTEN = {
    "DELETE FROM orders{where} RETURNING id": Action.DELETE,
    "UPDATE orders SET note = 'x'{where} RETURNING id": Action.UPDATE,
    "DELETE FROM people{where} RETURNING id": Action.DELETE,
}
TRAITS = {"id = 4": set(), "1 = 1": {"always-true-where"}, None: {"no-where"}}


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(sorted(WRITTEN)), st.sampled_from(CONDITIONS)),
        min_size=1,
        max_size=4,
    ),
    dialect=st.sampled_from(["postgres", "duckdb"]),
)
def test_no_write_in_with_is_overlooked(parts: list[tuple[str, str | None]], dialect: str) -> None:
    """However many writes WITH holds, each has its target, its action and its traits."""
    texts = [text.format(where=f" WHERE {c}" if c else "") for text, c in parts]
    named = ", ".join(f"w{i} AS ({text})" for i, text in enumerate(texts))
    statement = parse(f"WITH {named} SELECT id FROM w0", make_catalog(dialect))
    assert statement.effects == {Effect.WRITE}
    assert [use.action for use in statement.tables] == [WRITTEN[text] for text, _ in parts]
    assert statement.traits == set().union(*(TRAITS[condition] for _, condition in parts))


# The law: a column that is written without a flow from people.email holds the same in two databases
# that differ in people.email alone, unless the e-mail address chose the rows.
PEOPLE = "(id INTEGER PRIMARY KEY, name VARCHAR, email VARCHAR, region VARCHAR)"
ORDERS = "(id INTEGER PRIMARY KEY, person_id INTEGER, amount DOUBLE, note VARCHAR)"
WORLDS = {"a": ("ada@x", "bo@x"), "b": ("zoe@y", None)}
VALUES_OF = st.sampled_from(
    [
        "'x'", "p.name", "p.email", "upper(p.region)", "p.name || p.email", "coalesce(p.email, 'n')",
        "CASE WHEN p.email LIKE 'a%' THEN 'y' ELSE p.name END",
        "CASE WHEN p.name LIKE 'A%' THEN 'y' ELSE p.region END",
        "(SELECT max(q.email) FROM people AS q)", "(SELECT max(q.name) FROM people AS q)",
    ]
)  # fmt: skip
FILTERS = st.sampled_from(["p.id < 9", "p.name <> 'x'", "p.email <> 'x'", "p.email IS NOT NULL"])
FORMS = st.sampled_from(
    [
        "INSERT INTO orders (id, note) SELECT p.id + 10, {value} FROM people AS p WHERE {filter}",
        "INSERT INTO orders (note, id) SELECT q.v, q.id + 10 FROM (SELECT {value} AS v, p.id FROM people AS p WHERE {filter}) AS q",
        "WITH c(v, i) AS (SELECT {value}, p.id FROM people AS p WHERE {filter}) INSERT INTO orders (id, note) SELECT i + 10, v FROM c",
        "INSERT INTO orders (id, note) SELECT p.id, {value} FROM people AS p WHERE {filter} ON CONFLICT (id) DO UPDATE SET note = excluded.note, amount = orders.amount + 1",
        "UPDATE orders SET note = {value} FROM people AS p WHERE p.id = orders.person_id AND {filter}",
        "UPDATE orders SET amount = p.id, note = 'x' || {value} FROM people AS p WHERE p.id = orders.id AND {filter}",
        "INSERT OR REPLACE INTO orders (id, note) SELECT p.id, {value} FROM people AS p WHERE {filter}",
    ]
)


def written(dialect: str, sql: str, world: str) -> list[dict[str, Any]]:
    """The rows of orders after a write in one world."""
    first, second = WORLDS[world]
    with contextlib.closing(
        duckdb.connect() if dialect == "duckdb" else sqlite3.connect(":memory:")
    ) as engine:
        engine.execute(f"CREATE TABLE people {PEOPLE}")
        engine.execute(f"CREATE TABLE orders {ORDERS}")
        engine.execute(
            "INSERT INTO people VALUES (1, 'Ada', ?, 'EU'), (2, 'Bo', ?, 'US')", (first, second)
        )
        engine.execute("INSERT INTO orders VALUES (1, 1, 1.5, 'one'), (3, 2, 2.5, 'two')")
        engine.execute(sql)
        rows = engine.execute(
            "SELECT id, person_id, amount, note FROM orders ORDER BY id"
        ).fetchall()
    return [dict(zip(["id", "person_id", "amount", "note"], row, strict=True)) for row in rows]


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
@settings(max_examples=40)
@given(form=FORMS, value=VALUES_OF, condition=FILTERS)
def test_what_flows_is_seen(dialect: str, form: str, value: str, condition: str) -> None:
    """A value that no flow tells of does not reach a column, on the engine itself."""
    sql = form.format(value=value, filter=condition)
    statement = parse(sql, make_catalog(dialect))
    if "people.email" in short(statement.predicate_columns):
        return
    reached = {
        flow.target.name for flow in statement.flows if "people.email" in short(flow.sources)
    }
    a, b = (
        [{k: v for k, v in row.items() if k not in reached} for row in written(dialect, sql, world)]
        for world in WORLDS
    )
    assert a == b
    assert reached == ({"note"} if "email" in value else set())
