"""The column plan: what happens to a column follows from its name, and errs on the safe side."""

from __future__ import annotations

import pytest

from nbgov.core.masks import Operator
from nbgov.core.policy import parse
from nbgov.core.presets import load
from nbgov.errors import ConfigInvalid, RequestInvalid
from nbgov.pii.plan import Terms, Treatment, plan, terms

POLICY = """
version: 1
tags:
  public: ["*.*.*.topic", "shop.main.orders.amount"]
  pii.email: ["*.*.*.email"]
  pii.name: ["shop.main.people.name", "*.*.orders.buyer"]
  pii.born: ["*.*.*.born"]
  secret: ["*.*.*.topic_*", "*.vault.*.*"]
rules:
  - id: clerks
    effect: permit
    to: {roles: [clerk]}
    actions: [read]
    on: ["shop.main.*"]
    obligations: {masks: {"pii.email": partial, "pii.born": year}}
  - id: others
    effect: permit
    to: {names: ["*"]}
    actions: [read]
    on: ["*.*.*"]
    obligations: {masks: {"pii.e*": token, pii.name: null}}
content: {entities: [PERSON, PIN], operators: {PERSON: surrogate}, score_min: 0.5, language: de}
"""


def asked(names: list[str], source="default", **more) -> Terms:
    given = {
        "table": "", "operators": {}, "entities": None, "threshold": None, "language": None, **more,
    }  # fmt: skip
    return terms(names, source=source, **given)


def treated(name: str, table: str = "", **operators: str) -> Treatment:
    [one] = plan([name], asked([name], parse(POLICY), table=table, operators=operators))
    return one


@pytest.mark.parametrize(
    ("name", "table", "how", "operator"),
    [
        ("email", "", "masked", "token"),
        ("Email", "", "masked", "token"),
        ("email", "shop.main.people", "masked", "token"),
        ("born", "", "masked", "year"),
        ("name", "shop.main.people", "masked", "null"),
        ("name", "SHOP.Main.People", "masked", "null"),
        ("name", "shop.main.other", "scanned", ""),
        ("name", "", "masked", "null"),
        ("buyer", "", "masked", "null"),
        ("topic", "", "kept", "keep"),
        ("topic", "shop.main.people", "kept", "keep"),
        ("topic_2", "", "masked", "redact"),
        ("amount", "shop.main.orders", "kept", "keep"),
        ("amount", "shop.main.others", "scanned", ""),
        ("note", "shop.main.people", "scanned", ""),
        ("topic", "shop.vault.people", "masked", "redact"),
    ],
)
def test_a_policy_decides_by_tags(name, table, how, operator):
    """A tag counts with the strictest mask of any rule, one without a mask is redacted."""
    if not table:
        # Without a table the pattern of a whole schema would tag every column.
        source = parse(POLICY.replace(', "*.vault.*.*"', ""))
        [one] = plan([name], asked([name], source))
    else:
        one = treated(name, table)
    assert (one.how, one.operator.text if one.operator else "") == (how, operator)


def test_public_is_believed_of_a_known_table_only():
    """Where the table is not known, a column that is public in one table is scanned."""
    source = parse(POLICY.replace(', "*.vault.*.*"', ""))
    [one] = plan(["amount"], asked(["amount"], source))
    assert one.how == "scanned"


def test_a_whole_table_masks_every_column_of_an_unknown_one():
    """Where the table is not known, a tag on all columns of some table counts for every column."""
    assert treated("anything").operator == Operator("redact")
    assert treated("topic").why == "tag secret"


def test_a_tag_falls_back_to_null():
    """A mask of a tag that does not fit a type reads NULL there, as in SQL; a named one does not."""
    assert treated("email", "a.b.c").otherwise == Operator("null")
    assert treated("email", "a.b.c", email="token").otherwise is None


def test_operators_go_before_tags():
    """What the caller says of a column goes before what the policy says."""
    assert treated("email", email="partial:4").operator == Operator("partial", "4")
    kept = treated("email", email="keep")
    assert (kept.how, kept.why) == ("kept", "operators")


def test_columns_can_be_redacted_unread():
    """A column that failed before is redacted, whatever else is said of it."""
    names = ["a", "b", "a"]
    hows = [one.how for one in plan(names, asked(names, operators={"a": "keep"}), {"a"})]
    assert hows == ["redacted", "scanned", "redacted"]


def test_without_entities_nothing_is_scanned():
    """Where nothing is to be looked for, what nobody named is kept."""
    [one] = plan(["note"], asked(["note"], entities=()))
    assert (one.how, one.why) == ("kept", "no entities")


def test_what_is_looked_for():
    """The caller's words go before those of the policy or preset, thing by thing."""
    preset = load("default")
    content = asked(["x"]).content
    assert content.entities == tuple(preset.operators)
    assert (content.score_min, content.language) == (preset.score_min, "en")
    content = asked(["x"], parse(POLICY)).content
    assert content.entities == ("PERSON", "PIN")
    assert (content.score_min, content.language) == (0.5, "de")
    assert content.operators == (("PERSON", "surrogate"),)
    content = asked(
        ["x"], parse(POLICY), operators={"PERSON": "keep", "PIN": "partial:2", "IBAN_CODE": "redact"},
        entities=["PERSON"], threshold=0.0, language="fr",
    ).content  # fmt: skip
    assert content.entities == ("PIN", "IBAN_CODE")
    assert (content.score_min, content.language) == (0.0, "fr")
    assert dict(content.operators) == {"PIN": "partial:2", "IBAN_CODE": "redact"}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"operators": {"x": "zap"}}, "operator-invalid"),
        ({"operators": {"PERSON": "zap"}}, "operator-invalid"),
        ({"operators": {"PERSON": "bucket:5"}}, "operator-invalid"),
        ({"source": "no such preset"}, "preset-unknown"),
        ({"table": "people"}, "usage"),
        ({"table": "a..c"}, "usage"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_read(more, code):
    """A wrong operator, preset or table is an error of its own."""
    with pytest.raises((ConfigInvalid, RequestInvalid)) as caught:
        asked(["x"], **more)
    assert caught.value.code == code
