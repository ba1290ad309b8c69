"""Tags put into the text of a policy: the rest stays as written, and what comes out means that."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.policy import parse
from nbgov.core.policy.amend import diff, pattern_of, tagged
from nbgov.errors import ConfigInvalid
from nbgov.model import ColumnName, TableName

RULES = """\
# who reads
rules:
  - {id: read, effect: permit, to: {names: ["*"]}, actions: [read], on: ["wh.*.*"]}
"""
NEW = {"pii.email": ["wh.main.people.mail"], "pii.phone": ["wh.main.people.tel"]}
LAYOUTS = {
    "none": "version: 1  # the format\n\n",
    "block": "version: 1\n\ntags:\n  # addresses\n  pii.email:\n    - 'wh.main.a.b' # one\n\n    # end\n  public: [\"wh.main.t.*\"]\n\n",
    "flat": "version: 1\ntags:\n  pii.email:\n  - wh.main.a.b\n  - wh.main.a.c\n# said\n",
    "flow list": 'version: 1\ntags:\n    pii.email: ["wh.main.a.b"]  # here\n    public: []\n',
    "long list": "version: 1\ntags:\n  pii.email: [\n    wh.main.a.b,  # one\n    wh.main.a.c,\n  ]\n",
    "empty list": "version: 1\ntags:\n  pii.email: []\n",
    "flow mapping": 'version: 1\ntags: {pii.email: ["wh.main.a.b"], public: ["wh.main.t.*"]}\n',
    "trailing comma": 'version: 1\ntags: {public: ["wh.main.t.*",],}\n',
    "empty mapping": "version: 1\ntags: {}\n",
    "last": RULES + "version: 1\n",
}


def meant(text: str, additions) -> object:
    """What the new policy has to say."""
    document = parse(text).document
    tags = dict(document.tags)
    for tag, patterns in additions.items():
        known = tags.get(tag, ())
        tags[tag] = (*known, *(one for one in dict.fromkeys(patterns) if one not in known))
    return replace(document, tags=tags)


def whole(layout: str) -> str:
    return layout if "rules:" in layout else layout + RULES


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("ends", ["\n", ""])
def test_tags_are_added_to_any_layout(layout, ends) -> None:
    """However the tags are laid out, the new ones are there and every other line stays."""
    text = whole(layout).rstrip("\n") + ends
    after = tagged(text, NEW)
    assert parse(after).document == meant(text, NEW)
    kept = [re.split(r"[\]}]|, *$", line)[0] for line in text.splitlines() if "rules" not in line]
    assert [line for line in kept if line.strip() not in after] == []
    assert [one for one in text.split("#")[1:] if one.split("\n")[0] not in after] == []


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("ends", ["\n", ""])
def test_patch_applies_the_difference(layout, ends, tmp_path) -> None:
    """What diff prints, patch turns into the new text, a missing last line break included."""
    text = whole(layout).rstrip("\n") + ends
    after = tagged(text, NEW)
    (tmp_path / "policy.yaml").write_text(text)
    patch = diff(text, after)
    subprocess.run(
        ["patch", "-p1"], cwd=tmp_path, input=patch.encode(), check=True, capture_output=True
    )
    assert (tmp_path / "policy.yaml").read_text() == after


def test_a_json_policy_is_amended_too() -> None:
    """A policy in one line of braces gets its tags inside them."""
    text = '{"version": 1, "rules": []}'
    assert parse(tagged(text, NEW)).document == meant(text, NEW)


def test_what_is_there_is_not_added_again() -> None:
    """A pattern that a tag has already changes nothing, and there is no difference to print."""
    text = whole(LAYOUTS["flat"])
    assert tagged(text, {"pii.email": ["wh.main.a.c", "wh.main.a.b"]}) == text
    assert tagged(text, {}) == text
    more = {"pii.email": ["wh.main.a.c", "wh.main.a.d"]}
    assert parse(tagged(text, more)).document == meant(text, more)
    assert diff(text, text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\ntags:\n  a: &x [wh.main.t.c]\n  pii.email: *x\nrules: []\n",
        "version: 1\ntags:\n  ? pii.email\n  : - wh.main.t.c\nrules: []\n",
        "--- {version: 1,\n rules: []} # x\n...\n",
    ],
)
def test_an_unusual_layout_is_amended_rightly_or_refused(text) -> None:
    """Aliases, explicit keys and document marks end in the right policy or in an error."""
    try:
        after = tagged(text, NEW)
    except ConfigInvalid:
        return
    assert parse(after).document == meant(text, NEW)


@pytest.mark.parametrize("value", ["*x", "!!set {wh.main.t.d, wh.main.t.e}"])
def test_a_list_that_is_no_list_of_its_own_is_refused(value) -> None:
    """A list that two tags share is not changed for both, and a set is not taken for a list."""
    text = f"version: 1\ntags:\n  a: &x [wh.main.t.c]\n  pii.email: {value}\nrules: []\n"
    with pytest.raises(ConfigInvalid, match="laid out"):
        tagged(text, NEW)


def test_an_edit_that_breaks_the_text_is_refused() -> None:
    """Where a line cannot stand, the result does not decode, and that is an error."""
    text = 'version: 1\ntags:\n  pii.email: ["wh.main.a.b"]\n  public: "\nrules: []\n'
    with pytest.raises(ConfigInvalid):
        tagged(text, NEW)
    text = "version: 1\ntags: &x\n  public:\n   - wh.main.a.b\n  pii.email: [\n\n wh.main.a.c\n ]\nrules: []\n"
    assert parse(tagged(text, NEW)).document == meant(text, NEW)


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_a_pattern_matches_its_column_alone(name, other) -> None:
    """A pattern finds the column that it was made of, whatever signs the name holds."""
    column = ColumnName(TableName("main", "t[0]*"), name)
    stranger = ColumnName(TableName("main", "t[0]*"), other)
    text = tagged(RULES + "version: 1\n", {"pii.x": [pattern_of("wh", column)]})
    policy = parse(text)
    assert policy.tags_of("wh", column) == ("pii.x",)
    same = name.replace(".", "_").lower() == other.replace(".", "_").lower()
    assert policy.tags_of("wh", stranger) == (("pii.x",) if same else ())


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.just(["wh.main.t.c"]), max_size=4))
def test_any_name_of_a_tag_is_written_as_a_key(additions) -> None:
    """Quotes, colons and line breaks in a tag survive, or the policy is refused."""
    for layout in (LAYOUTS["none"], LAYOUTS["flow mapping"]):
        text = whole(layout)
        try:
            after = tagged(text, additions)
        except ConfigInvalid:
            continue
        assert parse(after).document == meant(text, additions)
