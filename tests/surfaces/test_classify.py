"""nbgov classify on real databases: what it proposes, what it leaves alone, and what a patch does."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as postgres
import duckdb
import pytest
import yaml
from click.testing import CliRunner, Result

import nbgov
from nbgov.cli import main
from nbgov.core.policy import parse
from nbgov.core.policy.amend import tagged
from nbgov.evidence.verification import verify_log
from nbgov.pii import classify
from nbgov.pii.classify import kind_of

SCHEMAS = {"duckdb": "main", "sqlite": "main", "postgresql": "classify"}
COLUMNS = "id integer, contact {text}, phone {text}, ssn integer, dob date, note {text}, color {text}, amount numeric, photo {bytes}"
TYPES = {
    "duckdb": {"text": "varchar", "bytes": "blob"},
    "sqlite": {"text": "text", "bytes": "blob"},
    "postgresql": {"text": "text", "bytes": "bytea"},
}
ROWS = 30
POLICY = """\
version: 1
tags:
  # what we know
  public: ["wh.{schema}.people.id"]  # numbers only
rules:
  - id: read
    effect: permit
    to: {{groups: [analysts]}}
    actions: [read]
    on: ["wh.{schema}.people", "wh.{schema}.shown", "wh.{schema}.half.code", "wh.{schema}.vault"]
    obligations: {{masks: {{"pii.*": redact}}}}
  - id: no-vault
    effect: forbid
    to: {{groups: [analysts]}}
    actions: [read]
    on: ["wh.{schema}.vault"]
    reason: cards are for the vault
content: {{entities: [EMAIL_ADDRESS, PHONE_NUMBER, US_SSN]}}
"""
TAGS = {
    "contact": "pii.email",
    "phone": "pii.phone",
    "ssn": "pii.national_id",
    "dob": "pii.birth_date",
    "note": "pii.free_text",
    "color": "",
    "amount": "",
}


@dataclass
class House:
    """A folder with a connection, its policy and its tables."""

    folder: Path
    schema: str

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    def nbgov(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.folder), "--as", "ada", *words])

    def classify(self, *words: str) -> dict[str, Any]:
        """The report of tables by name."""
        shown = self.nbgov("classify", "wh", "--json", *words)
        assert shown.exit_code == 0, shown.output
        report = json.loads(shown.stdout)
        report["tables"] = {table["table"]: table for table in report["tables"]}
        return report

    def change_policy(self, old: str, new: str) -> None:
        text = self.policy.read_text()
        assert old in text
        self.policy.write_text(text.replace(old, new))


def people(number: int) -> list[str]:
    note = f"'write to user{number}@example.com'" if number % 10 == 0 else "'fine'"
    return [
        str(number),
        f"'user{number}@example.com'" if number else "NULL",
        f"'(212) 555-01{number:02}'",
        str(123456780 + number),
        f"'19{number + 60}-01-02'",
        note,
        "'red'" if number % 2 else "'blue'",
        f"{number}.5",
        "NULL",
    ]


def tables(schema: str, kind: str) -> Iterator[str]:
    """The statements that make the tables."""
    yield f"CREATE TABLE {schema}.people ({COLUMNS.format(**TYPES[kind])})"
    rows = ", ".join(f"({', '.join(people(number))})" for number in range(ROWS))
    yield f"INSERT INTO {schema}.people VALUES {rows}"
    text = TYPES[kind]["text"]
    yield f"CREATE TABLE {schema}.half (code {text}, hidden {text})"
    yield f"INSERT INTO {schema}.half VALUES ('a', 'b@example.com')"
    yield f"CREATE TABLE {schema}.vault (pan {text})"
    yield f"CREATE VIEW {schema}.shown AS SELECT contact, color FROM {schema}.people"


def connection(kind: str, folder: Path, url: str) -> dict[str, str]:
    """The tables of a product, made; and the settings that reach them."""
    statements = list(tables(SCHEMAS[kind], kind))
    if kind == "postgresql":
        with postgres.connect(url, autocommit=True) as link, link.cursor() as cursor:
            for sql in ("DROP SCHEMA IF EXISTS classify CASCADE", "CREATE SCHEMA classify"):
                cursor.execute(sql)
            for sql in statements:
                cursor.execute(sql)
        return {"kind": kind, "url": url}
    path = folder / "wh.db"
    with closing(duckdb.connect(path) if kind == "duckdb" else sqlite3.connect(path)) as link:
        for sql in statements:
            link.execute(sql)
        if kind == "sqlite":
            link.commit()
    return {"kind": kind, "path": "wh.db"}


def build(kind: str, folder: Path, url: str = "") -> House:
    """A house on a product."""
    config = {
        "version": 1,
        "policy": "policy.yaml",
        "connections": {"wh": connection(kind, folder, url)},
        "principals": {"ada": {"groups": ["analysts"]}},
    }
    (folder / "nbgov.yaml").write_text(yaml.safe_dump(config))
    (folder / "policy.yaml").write_text(POLICY.format(schema=SCHEMAS[kind]))
    return House(folder, SCHEMAS[kind])


@pytest.fixture
def house(tmp_path: Path) -> House:
    """The house on DuckDB."""
    return build("duckdb", tmp_path)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_patch_tags_the_columns_and_then_they_are_masked(kind, tmp_path, postgres_url) -> None:
    """On each product every planted column gets its tag, and once patched it reads as masked."""
    house = build(kind, tmp_path, postgres_url)
    before = house.policy.read_text()
    report = house.classify()
    found = report["tables"][f"{house.schema}.people"]
    assert {one["column"]: one["tag"] for one in found["columns"]} == TAGS
    counts = {one["column"]: (one["values"], one["found"]) for one in found["columns"]}
    assert counts["contact"] == (ROWS - 1, {"EMAIL_ADDRESS": ROWS - 1})
    assert counts["note"] == (ROWS, {"EMAIL_ADDRESS": 3})
    assert counts["phone"] == (ROWS, {"PHONE_NUMBER": ROWS})
    assert (found["rows"], found["is_whole"]) == (ROWS, True)
    assert house.policy.read_text() == before
    patch = house.nbgov("classify", "wh", "--patch")
    assert "photo" not in patch.stdout
    subprocess.run(
        ["patch", "-p1"],
        cwd=house.folder,
        input=patch.stdout.encode(),
        check=True,
        capture_output=True,
    )
    wanted = {f"wh.{house.schema}.people.{name}": tag for name, tag in TAGS.items() if tag}
    tags = parse(house.policy.read_text()).document.tags
    assert {one: tag for tag, ones in tags.items() for one in ones if tag != "public"} == wanted
    assert [line for line in before.splitlines() if line not in house.policy.read_text()] == []
    with nbgov.connect(house.folder, as_="ada") as session:
        names = [name for name, tag in TAGS.items() if tag]
        sql = f"SELECT {', '.join(names)} FROM {house.schema}.people WHERE id = 1"
        [row] = session.sql(sql, "wh").to_arrow().to_pylist()
    assert row == {"contact": "***", "phone": "***", "ssn": None, "dob": None, "note": "***"}


def test_the_report_says_what_was_not_read_and_why(house) -> None:
    """A table, a column and bytes that were not read are told with the reason, and the rest goes on."""
    shown = house.nbgov("classify", "wh")
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    [hidden] = [line for line in lines if line.startswith("Not read: main.half")]
    assert "main.half hidden: no rule permits ada to read main.half" in hidden
    [vault] = [line for line in lines if line.startswith("Not read: main.vault")]
    assert "pan: cards are for the vault. (denied-by-policy)" in vault
    assert "Not read: main.people photo: binary values are not read" in lines
    assert any("A sample can never prove that a column is clean." in line for line in lines)
    [contact] = [line for line in lines if line.split()[:1] == ["contact"]]
    assert contact.split() == ["contact", "29", "EMAIL_ADDRESS", "29", "-", "pii.email"]
    assert any(line.startswith("  code") and line.endswith("-") for line in lines)


def test_no_value_is_told(house) -> None:
    """Neither the report nor its JSON nor the patch holds anything that a column holds."""
    for words in ((), ("--json",), ("--patch",)):
        shown = house.nbgov("classify", "wh", *words)
        assert shown.exit_code == 0, shown.stderr
        for value in ("user1@", "example.com", "555-01", "12345678", "fine", "blue"):
            assert value not in shown.output


def test_each_table_is_one_statement_in_the_audit_log(house) -> None:
    """What was read is recorded like any statement, with where it comes from; a deny costs none."""
    report = house.classify()
    assert set(report["tables"]) == {"main.half", "main.people", "main.vault"}
    with nbgov.connect(house.folder, as_="ada") as session:
        records = [json.loads(line)["record"] for line in session.world.audit.entries()]
        assert verify_log(session).is_sound
    attempts = [one for one in records if one["kind"] == "attempt"]
    assert len(attempts) == 2
    assert {one["origin"]["purpose"] for one in attempts} == {"classify"}


def test_a_view_waits_for_the_tags_of_its_base(house) -> None:
    """What shows tagged columns needs no tag of its own, so a view is neither read nor proposed."""
    assert "main.shown" not in house.classify()["tables"]


def test_a_row_cap_is_said(house) -> None:
    """Fewer rows are read than there are, and the report does not call them all."""
    capped = house.classify("--rows", "10")["tables"]["main.people"]
    assert (capped["rows"], capped["is_whole"]) == (10, False)
    whole = house.classify("--rows", "0")["tables"]["main.people"]
    assert (whole["rows"], whole["is_whole"]) == (ROWS, True)
    assert "(10 rows, there may be more; record" in house.nbgov("classify", "--rows", "10").stdout


def test_a_tag_that_no_rule_masks_stays_out_of_the_patch(house) -> None:
    """A tag ends the scan of a text, so one that nothing masks would show it: it is told instead."""
    house.change_policy('"pii.*": redact', '"pii.email": redact')
    report = house.classify()
    assert "pii.phone" in report["unmasked"]
    assert report["unmasked"]["pii.phone"] == ["main.people.phone"]
    assert report["tags"].keys() == {"pii.email"}
    shown = house.nbgov("classify", "--patch")
    assert "No rule masks pii.phone" in shown.stderr
    assert "pii.phone" not in shown.stdout


def test_what_waits_for_approval_is_told_and_opens_no_ticket(house) -> None:
    """A table behind an approval is not asked for: nobody gets a ticket to vote on."""
    house.change_policy(
        'obligations: {masks: {"pii.*": redact}}',
        'obligations: {masks: {"pii.*": redact}, approval: {by: {groups: [stewards]}}}',
    )
    shown = house.nbgov("classify")
    assert shown.exit_code == 1
    assert "(approval-needed)" in shown.stdout
    with nbgov.connect(house.folder, as_="ada") as session:
        assert session.pending() == ()


def test_without_entities_names_alone_are_judged(house) -> None:
    """A policy that looks for nothing finds nothing, and the report says that only names counted."""
    house.change_policy("[EMAIL_ADDRESS, PHONE_NUMBER, US_SSN]", "[]")
    shown = house.nbgov("classify")
    assert "looks for no entities" in shown.stdout
    assert "pii.phone" in shown.stdout
    assert "pii.email" not in shown.stdout


def test_a_detector_that_fails_costs_its_table_alone(house, monkeypatch) -> None:
    """A table whose content could not be scanned is told with the error; the others are read."""
    house.change_policy("[EMAIL_ADDRESS, PHONE_NUMBER, US_SSN]", "[NO_SUCH_ENTITY]")
    shown = house.nbgov("classify")
    assert shown.exit_code == 1
    assert shown.stdout.count("(detector-failed)") == 2


def test_columns_that_may_not_be_read_together_are_told(house, monkeypatch) -> None:
    """Where each column may be read but not all at once, the table is left with its reason."""
    denial = classify.Reader.denial

    def strict(self, table, wanted):
        found = denial(self, table, wanted)
        if found is None and len(wanted) > 1:
            return nbgov.errors.Denied("Not together.")
        return found

    monkeypatch.setattr(classify.Reader, "denial", strict)
    unread = house.classify()["tables"]["main.people"]["unread"]
    assert "Not together." in [one["why"] for one in unread]


def test_an_interrupt_ends_it_cleanly(house, monkeypatch) -> None:
    """Ctrl-C ends with 130, and the statement that ran is closed in the audit log."""
    batches = nbgov.Result.batches

    def interrupted(self):
        for _ in batches(self):
            raise KeyboardInterrupt
        yield

    monkeypatch.setattr(nbgov.Result, "batches", interrupted)
    shown = house.nbgov("classify", "wh")
    assert (shown.exit_code, shown.stdout) == (130, "")
    assert "Interrupted" in shown.stderr
    with nbgov.connect(house.folder, as_="ada") as session:
        records = [json.loads(line)["record"] for line in session.world.audit.entries()]
    kinds = [one["kind"] for one in records]
    assert [kind for kind in kinds if kind in {"attempt", "outcome"}] == ["attempt", "outcome"]


def test_a_broken_policy_is_an_error_at_once(house, monkeypatch) -> None:
    """What is about every table is not told table by table."""

    def broken(self, table, wanted, unread):
        raise nbgov.errors.ConfigInvalid("It is broken.")

    monkeypatch.setattr(classify.Reader, "run", broken)
    assert house.nbgov("classify", "wh").exit_code == 1
    assert house.nbgov("classify", "nope").exit_code == 1


def test_a_house_without_open_columns_proposes_nothing(house) -> None:
    """Where every column has a tag, nothing is read, and there is no patch."""
    house.policy.write_text(tagged(house.policy.read_text(), {"pii.any": ["wh.main.*.*"]}))
    report = house.classify()
    assert (report["tables"], report["tags"]) == ({}, {})
    shown = house.nbgov("classify", "--patch")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert house.nbgov("classify", "--patch", "--json").exit_code == 2


def test_what_arrives_as_no_text_is_not_called_clean(house, monkeypatch) -> None:
    """A column that was not scanned, for the type in which it came, is told and not judged."""
    monkeypatch.setattr(classify, "holds_text", lambda kind: False)
    shown = house.nbgov("classify")
    assert shown.exit_code == 1
    assert "did not deliver them as text" in shown.stdout


@pytest.mark.parametrize(
    ("dialect", "declared", "kind"),
    [
        ("duckdb", "VARCHAR", "text"),
        ("duckdb", "DECIMAL(10,2)", "number"),
        ("duckdb", "UUID", "number"),
        ("duckdb", "VARCHAR[]", "other"),
        ("duckdb", "ENUM('a', 'b')", "other"),
        ("duckdb", "BLOB", None),
        ("duckdb", "BOOLEAN", "flag"),
        ("postgres", "character varying(20)", "text"),
        ("postgres", "timestamp without time zone", "time"),
        ("postgres", "bytea", None),
        ("postgres", "my_enum", "other"),
        ("postgres", "citext", "other"),
        ("sqlite", "", "other"),
        ("sqlite", "INT", "number"),
        ("sqlite", "(", "other"),
        ("mysql", "varbinary(3)", None),
        ("mysql", "datetime", "time"),
    ],
)
def test_a_type_tells_the_kind_of_its_values(dialect, declared, kind) -> None:
    """Text is read as it is, bytes are not read, and all else is read as text."""
    assert kind_of(declared, dialect) == kind
