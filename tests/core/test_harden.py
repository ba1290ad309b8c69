"""Hardening: the DDL that lets a database show one audience what the policy lets it see."""

from __future__ import annotations

import duckdb
import pytest

from nbgov.core.harden import Exposure, harden
from nbgov.core.rewrite import rewrite
from nbgov.core.rewrite.native import repoint
from nbgov.core.statement import parse
from nbgov.errors import ConfigInvalid, RequestInvalid
from nbgov.model import (
    Catalog,
    Column,
    ColumnMask,
    ColumnName,
    Decision,
    MaskKind,
    Table,
    TableName,
)

PEOPLE, PAY = TableName("public", "people"), TableName("hr", "pay")
TABLES = {
    PEOPLE: Table(
        PEOPLE, (Column("id", "integer"), Column("email", "text"), Column("Team", "text"))
    ),
    PAY: Table(PAY, (Column("id", "integer"), Column("salary", "integer"))),
}
EMAIL = ColumnName(PEOPLE, "email")
HIDDEN = frozenset(ColumnName(PAY, name) for name in ("id", "salary"))


def made(exposure: Exposure, dialect: str = "postgres", *, role: str = "nbgov_analysts", **more):
    """A hardening of two tables."""
    return harden(Catalog(dialect, "public", TABLES), exposure, role=role, **more)


def text_of(exposure: Exposure, dialect: str = "postgres", **more) -> str:
    """Its statements as one text."""
    return ";\n".join(made(exposure, dialect, **more).statements)


def test_views_mask_and_filter() -> None:
    """A masked column is masked in the view, and hidden rows stay behind its predicate."""
    exposure = Exposure({EMAIL: MaskKind.NULL}, ((PEOPLE, "id > 1"),))
    assert (
        'CREATE VIEW "nbgov"."people" WITH (security_barrier) AS SELECT "id", CAST(NULL AS text) AS '
        '"email", "Team" FROM "public"."people" WHERE (id > 1)'
    ) in text_of(exposure)


def test_a_view_shows_what_the_mask_shows() -> None:
    """The query of a view is what runs: its rows are masked ones."""
    exposure = Exposure({EMAIL: MaskKind.REDACT}, ((PEOPLE, "id > 1"),))
    catalog = Catalog("mysql", "public", TABLES)
    [view] = [s for s in harden(catalog, exposure, role="r").statements if "`people`" in s and "VIEW" in s]  # fmt: skip
    query = view.partition(" AS ")[2].replace("`", '"')
    link = duckdb.connect()
    link.execute(
        'CREATE SCHEMA public; CREATE TABLE public.people (id int, email text, "Team" text)'
    )
    link.execute(
        "INSERT INTO public.people VALUES (1, 'a@b.c', 'x'), (2, 'd@e.f', 'y'), (3, NULL, 'z')"
    )
    assert link.execute(query).fetchall() == [(2, "***", "y"), (3, None, "z")]


def test_the_role_gets_views_and_nothing_else() -> None:
    """Base tables and routines are revoked from the role and from everybody; only views are granted."""
    statements = made(Exposure()).statements
    for schema in ("hr", "public"):
        assert f'REVOKE ALL ON ALL TABLES IN SCHEMA "{schema}" FROM PUBLIC, "nbgov_analysts"' in statements  # fmt: skip
        assert f'REVOKE ALL ON ALL ROUTINES IN SCHEMA "{schema}" FROM PUBLIC, "nbgov_analysts"' in statements  # fmt: skip
    granted = [s for s in statements if s.startswith("GRANT")]
    assert granted == [
        'GRANT USAGE ON SCHEMA "nbgov" TO "nbgov_analysts"',
        'GRANT USAGE ON SCHEMA "nbgov_hr" TO "nbgov_analysts"',
        'GRANT SELECT ON "nbgov"."people" TO "nbgov_analysts"',
        'GRANT SELECT ON "nbgov_hr"."pay" TO "nbgov_analysts"',
    ]


def test_what_may_not_be_read_is_not_in_a_view() -> None:
    """A hidden column is left out, and a table of which nothing may be read gets no view."""
    hidden = HIDDEN | {EMAIL}
    found = made(Exposure(hidden=hidden))
    assert any(
        s.endswith('AS SELECT "id", "Team" FROM "public"."people"') for s in found.statements
    )
    assert not any("nbgov_hr" in s for s in found.statements)
    assert "hr.pay gets no view: no column of it may be read" in found.notes


def test_a_filter_may_look_at_a_hidden_column() -> None:
    """Rows may be chosen by what is not shown."""
    exposure = Exposure(filters=((PEOPLE, "email = 'x'"),), hidden=frozenset({EMAIL}))
    assert """SELECT "id", "Team" FROM "public"."people" WHERE (email = 'x')""" in text_of(exposure)


def test_a_filter_that_is_no_predicate_is_refused() -> None:
    """A filter cannot end the view and begin something else."""
    with pytest.raises(ConfigInvalid):
        made(Exposure(filters=((PEOPLE, "true) UNION SELECT * FROM hr.pay --"),)))


def test_tokens_read_redacted() -> None:
    """A key in a session of one's own could be asked for, so that native views hold no tokens."""
    found = made(Exposure({EMAIL: MaskKind.TOKEN}))
    assert "'***'" in ";".join(found.statements)
    assert not any("nbgov.inner" in s for s in found.statements)
    assert any("public.people.email" in note for note in found.notes)


def test_names_cannot_end_the_text_that_they_stand_in() -> None:
    """A role with quotes in its name stays one name."""
    text = text_of(Exposure(), role="a\"b'c")
    assert """rolname = 'a"b''c'""" in text
    assert 'TO "a""b\'c"' in text
    assert "TO 'a\\\\''b'" in text_of(Exposure(), "mysql", role="a\\'b")


def test_mysql_gets_views_only() -> None:
    """Never a grant on a table or on its columns: HANDLER would read all of it."""
    exposure = Exposure({EMAIL: MaskKind.NULL}, ((PEOPLE, "id > 1"),))
    statements = made(exposure, "mysql").statements
    assert all("VIEW" in s or "`nbgov" in s or s.startswith("CREATE ROLE") for s in statements)
    views = [s for s in statements if "VIEW" in s]
    assert "ALGORITHM=TEMPTABLE SQL SECURITY DEFINER VIEW `nbgov`.`people`" in views[0]
    assert "ALGORITHM=MERGE" in views[1]
    grants = [s for s in statements if s.startswith("GRANT")]
    assert grants == [
        "GRANT SELECT ON `nbgov`.`people` TO 'nbgov_analysts'",
        "GRANT SELECT ON `nbgov_hr`.`pay` TO 'nbgov_analysts'",
    ]


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite", "tsql"])
def test_a_product_without_roles_is_refused(dialect: str) -> None:
    """Whoever opens a file reads all of it."""
    with pytest.raises(RequestInvalid, match="cannot be hardened"):
        made(Exposure(), dialect)


@pytest.mark.parametrize(
    "names", [{"role": ""}, {"role": "r" * 64}, {"role": "r", "schema": "s" * 62}]
)
def test_a_name_that_the_server_would_cut_is_refused(names) -> None:
    """PostgreSQL cuts long names, and two could become one."""
    with pytest.raises(RequestInvalid, match="longer than the server takes"):
        made(Exposure(), **names)


def test_a_second_run_makes_the_same_views() -> None:
    """The views of an earlier run are replaced, and never wrapped in views of their own."""
    views = (TableName("nbgov", "people"), TableName("nbgov_hr", "pay"))
    again = TABLES | {name: Table(name, TABLES[PEOPLE].columns, "view") for name in views}
    exposure = Exposure({EMAIL: MaskKind.NULL})
    assert harden(Catalog("postgres", "public", again), exposure, role="r") == harden(
        Catalog("postgres", "public", TABLES), exposure, role="r"
    )


def test_repointing_is_injective() -> None:
    """Tables of two schemas with one name stand for two views."""
    names = [TableName("public", "t"), TableName("hr", "t"), TableName("hr", "u")]
    assert len({repoint(name, "public") for name in names}) == 3


def test_native_mode_names_the_views_instead_of_the_tables() -> None:
    """Reads name the view that stands for a table, and the views themselves stay as they are."""
    views = {TableName("nbgov", "people"): Table(TableName("nbgov", "people"), (Column("id", "integer"),))}  # fmt: skip
    catalog = Catalog("postgres", "public", TABLES | views, native_schema="nbgov")
    read = parse(
        "SELECT hr.pay.id FROM hr.pay JOIN people AS p ON true JOIN nbgov.people v ON true", catalog
    )
    masks = (ColumnMask(EMAIL, MaskKind.NULL, "pii"),)
    made = rewrite(read, Decision(is_permitted=True, obligations=masks), catalog, values={})
    assert made.sql == (
        'SELECT pay.id FROM "nbgov_hr"."pay" JOIN "nbgov"."people" AS p ON true '
        'JOIN "nbgov"."people" v ON true'
    )
    write = parse("UPDATE people SET id = 2 WHERE id = 1", catalog)
    kept = rewrite(write, Decision(is_permitted=True), catalog, values={})
    assert kept.sql == 'UPDATE "public"."people" SET id = 2 WHERE id = 1'
