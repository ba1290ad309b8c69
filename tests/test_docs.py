"""What is documented is what there is: codes, rules, keys, commands, ports and examples."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Protocol

import click
import pytest

import nbgov
from nbgov import config, ports
from nbgov.cli import main
from nbgov.core import catalog, guard, policy, statement
from nbgov.errors import CODES, NbgovError
from nbgov.model import Catalog, Column, Table, TableName

DOCS = Path(__file__).resolve().parents[1] / "docs"
PARTS = ("**What happened.** ", "**Why.** ", "**Next.** ")
SECTIONS = ["What it does", "Why is this bad", "Example", "Next"]
CATALOG = Catalog(
    dialect="postgres",
    default_schema="public",
    tables={
        name: Table(name, tuple(Column(column, "text") for column in columns))
        for name, columns in {
            TableName("public", "bookings"): ("booking_id", "seat"),
            TableName("public", "passengers"): ("name", "trips"),
        }.items()
    },
)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str, level: int) -> dict[str, str]:
    """The headings of one level, in order, with the text below each."""
    pieces = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def keys(schema: object) -> set[str]:
    """Every key that a JSON Schema names, at any depth."""
    if isinstance(schema, list):
        return {key for part in schema for key in keys(part)}
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | {k for v in schema.values() for k in keys(v)}


def table_keys(text: str) -> set[str]:
    """The keys in the first column of the tables that are headed ``key``."""
    found = set()
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        if table.startswith("| key |"):
            found.update(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))
    return found


def commands(command: click.Command, path: str) -> dict[str, click.Command]:
    """A command and everything below it, by what a person types."""
    found = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found |= commands(command.get_command(context, name), f"{path} {name}")
    return found


def test_every_error_code_has_a_heading_and_no_heading_is_stale():
    """errors.md and nbgov.errors.CODES list the same codes, in the same order."""
    assert list(sections(page("reference/errors.md"), 3)) == list(CODES)


def test_every_error_type_has_a_heading():
    """errors.md groups the codes under the types that carry them."""
    types = [kind.__name__ for kind in NbgovError.__subclasses__()]
    assert list(sections(page("reference/errors.md"), 2)) == types


@pytest.mark.parametrize("code", CODES)
def test_an_error_code_says_what_why_and_next(code):
    """Each code says what happened, why, and what to do next, in that order."""
    text = sections(page("reference/errors.md"), 3)[code]
    places = [text.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)


def test_every_guard_rule_has_a_page_and_no_page_is_stale():
    """docs/reference/rules holds one page for each rule of the guard."""
    pages = {path.stem for path in (DOCS / "reference/rules").glob("G*.md")}
    assert pages == set(guard.RULES)


@pytest.mark.parametrize("code", guard.RULES)
def test_a_rule_page_tells_the_truth(code):
    """The first example of a rule's page breaks that rule, and the second breaks none."""
    text = page(f"reference/rules/{code}.md")
    assert text.startswith(f"# {code}: {guard.RULES[code].title}\n")
    assert list(sections(text, 2)) == SECTIONS
    stopped, runs = re.findall(r"```sql\n(.+?)\n```", text, flags=re.DOTALL)
    findings = guard.check(statement.parse(stopped, CATALOG))
    assert code in {finding.code for finding in findings}
    assert guard.check(statement.parse(runs, CATALOG)) == ()


def test_every_config_key_is_documented_and_no_key_is_stale():
    """config.md and the schema of nbgov.yaml name the same keys."""
    assert table_keys(page("reference/config.md")) == keys(config.schema())


def test_every_policy_key_is_documented_and_no_key_is_stale():
    """policy.md and the schema of policy.yaml name the same keys."""
    assert table_keys(page("reference/policy.md")) == keys(policy.schema())


def test_every_catalog_key_is_documented_and_no_key_is_stale():
    """catalog.md and the schema of a catalog file name the same keys."""
    assert table_keys(page("reference/catalog.md")) == keys(catalog.schema())


@pytest.mark.parametrize("name", ["catalog", "config", "policy"])
def test_the_example_of_a_format_decodes(name):
    """The first YAML example of catalog.md, config.md and policy.md decodes."""
    [example, *_] = re.findall(r"```yaml\n(.+?)```", page(f"reference/{name}.md"), flags=re.DOTALL)
    parse = {"catalog": catalog.parse, "config": config.parse, "policy": policy.parse}[name]
    assert parse(example)


def test_every_command_is_documented_and_no_command_is_stale():
    """cli.md has a heading for each command and group, and for nothing else."""
    headings = re.findall(r"^#+ (nbgov.*)$", page("reference/cli.md"), flags=re.MULTILINE)
    assert set(headings) == set(commands(main, "nbgov"))


@pytest.mark.parametrize("path", commands(main, "nbgov"))
def test_a_command_explains_itself(path):
    """Every command has help, and so has each of its options."""
    command = commands(main, "nbgov")[path]
    assert command.help
    silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent


def test_every_port_is_documented_and_no_port_is_stale():
    """ports.md names each Protocol of nbgov.ports, and nothing else."""
    here = {
        name
        for name, item in inspect.getmembers(ports, inspect.isclass)
        if item.__module__.startswith(ports.__name__) and issubclass(item, Protocol)
    }
    rows = re.findall(r"^\| `(\w+)` \|", page("reference/ports.md"), flags=re.MULTILINE)
    assert set(rows) == here


def test_every_public_name_is_on_the_api_page_and_no_name_is_stale():
    """api.md documents the public names of nbgov, each once, and nothing else."""
    named = re.findall(
        r"^\.\. auto\w+:: nbgov\.(\w+)$", page("reference/api.md"), flags=re.MULTILINE
    )
    assert sorted(named) == sorted(set(nbgov.__all__) - {"__version__"})


@pytest.mark.parametrize(
    ("name", "schema"),
    [("catalog", catalog.schema()), ("nbgov", config.schema()), ("policy", policy.schema())],
)
def test_the_published_schemas_are_the_ones_that_decode(name, schema):
    """The JSON Schema files for editors equal what nbgov decodes by; `make fmt` writes them."""
    text = page(f"reference/schemas/{name}.schema.json")
    assert json.loads(text) == schema


def test_decisions_are_numbered_and_complete():
    """Every decision has the next number and all five parts."""
    paths = sorted((DOCS / "decisions").glob("0*.md"))
    assert [int(path.name[:4]) for path in paths] == list(range(1, len(paths) + 1))
    for path in paths:
        parts = ["Context", "Options", "Outcome", "Consequences"]
        assert list(sections(path.read_text(encoding="utf-8"), 2)) == parts, path.name


def test_links_between_pages_lead_somewhere():
    """Every relative link in the documentation leads to a file that is there."""
    for path in DOCS.rglob("*.md"):
        links = re.findall(r"\]\(([^)#:]+\.md)[)#]", path.read_text(encoding="utf-8"))
        assert not [link for link in links if not (path.parent / link).is_file()], path.name
