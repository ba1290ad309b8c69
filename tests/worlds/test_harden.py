"""Native mode on a real server: the role reads masked views, and base tables are refused to it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pg8000.native
import pytest
from sqlalchemy import make_url

import nbgov
from nbgov.assurance.hardening import install, plan
from nbgov.assurance.scratch import build
from nbgov.backends.memory import memory_world
from nbgov.backends.postgresql import open_engine
from nbgov.backends.postgresql.scratch import scratch
from nbgov.core.harden import Hardening
from nbgov.core.worlds import script, statement
from nbgov.errors import BackendFailed, RequestInvalid
from nbgov.model import Catalog, MaskKind, RecordKind, TableName
from tests.worlds.shop import ANALYST, policy, shop, subject

ROLE = "nbgov_worlds"
STATEMENTS = 400
NATIVE_POLICY = {
    "version": 1,
    "tags": {"pii.email": ["warehouse.public.people.email"], "public": ["*.*.*.id"]},
    "rules": [
        {
            "id": "read",
            "effect": "permit",
            "to": {"groups": [*ANALYST.groups]},
            "actions": ["read"],
            "on": ["warehouse.public.*"],
            "obligations": {"masks": {"pii.*": "redact"}},
        }
    ],
}


@pytest.fixture
def hardened(postgres_url: str) -> Iterator[list[pg8000.native.Connection]]:
    """The role's own connections to two worlds that were hardened by the shop's policy."""
    made = subject("postgres", {"url": postgres_url})
    world = memory_world({}, policy=policy(), principals=[ANALYST])
    plans: Hardening = plan(world, "warehouse", made.catalog, audience=ANALYST, role=ROLE)
    masks = dict.fromkeys(secrets(made.catalog), MaskKind.NULL)
    links = []
    with (
        scratch("warehouse", made.settings) as first,
        scratch("warehouse", made.settings) as second,
    ):
        for name, held in (("a", first), ("b", second)):
            build(held, script(random.Random(4), made.catalog, name, masks=masks), "")
            held.run("CREATE FUNCTION peek() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT min(email) FROM customers'")  # fmt: skip
            install(
                world,
                plans,
                kind="postgresql",
                connection="warehouse",
                settings=held.settings,
                session="s",
                principal=ANALYST,
            )
            links.append(connect(held.settings["url"]))
        kinds = [(record.kind, record.status) for record in world.audit.records]  # type: ignore[attr-defined]
        assert kinds == [(RecordKind.ADMIN, "begun"), (RecordKind.ADMIN, "ok")] * 2
        yield links
        for link in links:
            link.close()
    with scratch("warehouse", made.settings) as last:
        last.run(f"DROP ROLE {ROLE}")


def secrets(catalog: Catalog) -> set[Any]:
    """The columns that the shop's policy masks."""
    from nbgov.assurance.exposure import expose
    from nbgov.backends.memory import MemoryPolicySource

    return {*expose(catalog, "warehouse", MemoryPolicySource(policy()), ANALYST).masks}


def connect(url: str) -> pg8000.native.Connection:
    """A raw connection that has become the role for good."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    link = pg8000.native.Connection(
        "postgres", database=parts.path[1:], unix_sock=f"{folder}/.s.PGSQL.5432"
    )
    link.run(f"SET SESSION AUTHORIZATION {ROLE}")
    link.run("SET search_path = nbgov")
    return link


def seen(link: pg8000.native.Connection, sql: str) -> tuple[str, Any]:
    """What a person sees who types a statement: rows, or the whole error."""
    try:
        rows = link.run(sql)
        return "rows", ([column["name"] for column in link.columns or ()], rows, link.row_count)
    except pg8000.exceptions.DatabaseError as error:
        return "error", {key: text for key, text in error.args[0].items() if key in "CM"}


def test_the_role_reads_masked_views_and_nothing_else(hardened: list[Any]) -> None:
    """Values behind masks cannot be read, base tables and functions are refused."""
    [link, _] = hardened
    rows = link.run("SELECT email, phone, country FROM customers")
    assert {email for email, _, _ in rows} == {"***", None}
    assert {phone for _, phone, _ in rows} == {None}
    assert len({country for _, _, country in rows}) > 2
    for sql in (
        "SELECT id FROM public.customers",
        "SELECT count(*) FROM public.v_customers",
        "SELECT public.peek()",
        "CREATE TABLE public.x (a int)",
        "CREATE VIEW nbgov.x AS SELECT 1",
        "UPDATE nbgov.customers SET country = 'x'",
        "SELECT id FROM v_rich",
    ):
        with pytest.raises(pg8000.exceptions.DatabaseError):
            link.run(sql)


def test_no_statement_of_the_role_tells_two_worlds_apart(hardened: list[Any]) -> None:
    """What the role itself may run shows the same in both worlds, without any rewrite."""
    home = shop("postgres")
    views = {TableName("nbgov", name.name): table for name, table in home.tables.items()}
    catalog = Catalog("postgres", "nbgov", views)
    chance, counts = random.Random(9), {"rows": 0, "error": 0}
    for _ in range(STATEMENTS):
        sql = statement(chance, catalog).replace('"public".', "").replace(views_of(home), "nbgov.")
        if "pg_class" in sql or "EXPLAIN" in sql:
            # Row counts of other people's catalogs, and costs, are not what a mask is about.
            continue
        first, second = (seen(link, sql) for link in hardened)
        assert repr(first) == repr(second), sql
        counts[first[0]] += 1
    assert counts["rows"] > 0.5 * STATEMENTS


def views_of(catalog: Catalog) -> str:
    """The prefix of names of the base schema."""
    return f'"{catalog.default_schema}".'


def test_an_install_is_whole_or_not_at_all(postgres_url: str) -> None:
    """A statement that the server refuses leaves nothing behind, and the log says so."""
    world = memory_world({}, policy=policy(), principals=[ANALYST])
    broken = Hardening(("CREATE SCHEMA nbgov_half", "SELECT 1/0"), ())
    with scratch("warehouse", {"url": postgres_url}) as held:
        with pytest.raises(BackendFailed, match="nothing was changed"):
            install(
                world,
                broken,
                kind="postgresql",
                connection="warehouse",
                settings=held.settings,
                session="s",
                principal=ANALYST,
            )
        assert held.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'nbgov_half'") == []
    assert [record.status for record in world.audit.records] == ["begun", "error"]  # type: ignore[attr-defined]


def test_only_a_server_that_can_undo_is_installed_on() -> None:
    """MySQL commits each statement by itself, so that half of them could stay."""
    world = memory_world({}, policy=policy(), principals=[ANALYST])
    with pytest.raises(RequestInvalid, match="does not install"):
        install(
            world,
            Hardening((), ()),
            kind="sqlalchemy",
            connection="warehouse",
            settings={},
            session="s",
            principal=ANALYST,
        )
    assert world.audit.records == []  # type: ignore[attr-defined]


def test_mysql_views_hold_on_a_real_server(mariadb_url: str) -> None:
    """MariaDB takes the printed statements, and its views show masked values."""
    from nbgov.backends.sqlalchemy.scratch import scratch as lend

    made = subject("mysql", {"url": mariadb_url})
    world = memory_world({}, policy=policy(), principals=[ANALYST])
    with lend("warehouse", made.settings) as held:
        build(held, script(random.Random(4), made.catalog, "a", masks={}), held.home)
        plans = plan(world, "warehouse", made.catalog, audience=ANALYST, role="r", schema="nbgov_w")
        for sql in plans.statements:
            held.run(sql.replace("`gov`", f"`{held.home}`"))
        shown = held.rows("SELECT DISTINCT email FROM nbgov_w.customers")
        held.run("DROP DATABASE nbgov_w", "DROP ROLE r")
    assert {*shown} == {("***",), (None,)}


def test_native_mode_reads_the_views(postgres_url: str, tmp_path: Path) -> None:
    """With ``mode: native`` the text names the masked views, and the account needs no more."""
    settings = {"url": postgres_url}
    with scratch("warehouse", settings) as held:
        held.run(
            "CREATE TABLE people (id int PRIMARY KEY, email text)",
            "INSERT INTO people VALUES (1, 'ada@lovelace.org'), (2, NULL)",
        )
        text = json.dumps(NATIVE_POLICY)
        with closing(open_engine("warehouse", held.settings)) as engine:
            world = memory_world({"warehouse": engine}, policy=text, principals=[ANALYST])
            made = plan(world, "warehouse", engine.catalog(), audience=ANALYST, role="nbgov_native")
        held.run(*made.statements, "ALTER ROLE nbgov_native LOGIN")
        url = make_url(held.settings["url"]).set(username="nbgov_native")
        connection = {"kind": "postgresql", "url": url.render_as_string(), "mode": "native"}
        config = {
            "version": 1,
            "policy": "policy.yaml",
            "connections": {"warehouse": connection},
            "principals": {ANALYST.name: {"groups": [*ANALYST.groups]}},
        }
        (tmp_path / "nbgov.yaml").write_text(json.dumps(config))
        (tmp_path / "policy.yaml").write_text(text)
        with nbgov.connect(tmp_path, as_=ANALYST.name) as session:
            sql = (
                "SELECT public.people.email FROM public.people WHERE id IN (SELECT id FROM people)"
            )
            assert session.check(sql).sql == (
                'SELECT people.email FROM "nbgov"."people" WHERE id IN (SELECT id FROM "nbgov"."people")'
            )
            assert session.sql(sql).to_arrow()["email"].to_pylist() == ["***", None]
    with scratch("warehouse", settings) as last:
        last.run("DROP ROLE nbgov_native")
