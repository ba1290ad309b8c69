"""Proposed tags: what decides, what a name says, and what is never proposed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgov.core.policy import PUBLIC, parse
from nbgov.core.policy.suggest import (
    CHECKED,
    ENTITY_TAGS,
    FREE_TEXT,
    HINTS,
    IMPERSONAL,
    Evidence,
    hint_of,
    is_masked,
    listed,
    suggest,
)
from nbgov.core.presets import NAMES, load
from nbgov.model import ColumnName, TableName

TABLE = TableName("main", "people")
COUNTS = st.dictionaries(
    st.sampled_from([*ENTITY_TAGS, *IMPERSONAL, "HOUSE_ID"]), st.integers(1, 100), max_size=4
)
KINDS = st.sampled_from(["text", "number", "time", "flag", "other"])


def seen(name: str, kind: str = "text", values: int = 100, **found: int) -> Evidence:
    return Evidence(ColumnName(TABLE, name), kind, values, found)


@pytest.mark.parametrize(
    ("evidence", "tag"),
    [
        (seen("contact", EMAIL_ADDRESS=60), "pii.email"),
        (seen("contact", EMAIL_ADDRESS=60, PERSON=10), "pii.email"),
        (seen("contact", EMAIL_ADDRESS=60, PERSON=50), FREE_TEXT),
        (seen("contact", EMAIL_ADDRESS=40), FREE_TEXT),
        (seen("note", PERSON=1), FREE_TEXT),
        (seen("note", PERSON=90, URL=90, DATE_TIME=90), "pii.person"),
        (seen("reference", HOUSE_ID=100), "pii.house_id"),
        (seen("ssn", PHONE_NUMBER=90), "pii.national_id"),
        (seen("phone", CREDIT_CARD=90), "pii.card"),
        (seen("phone", "number", PHONE_NUMBER=3), "pii.phone"),
        (seen("amount", "number", PHONE_NUMBER=60), ""),
        (seen("caller", "number", PHONE_NUMBER=85), "pii.phone"),
        (seen("seen_at", "time", DATE_TIME=100), ""),
        (seen("dob", "time", DATE_TIME=100), "pii.birth_date"),
        (seen("email", "flag"), ""),
        (seen("email", values=0), "pii.email"),
        (seen("color"), ""),
        (seen("color", values=0), ""),
        (seen("data", "other", API_KEY=1), FREE_TEXT),
        (seen("data", API_KEY=99), "secret.api_key"),
    ],
)
def test_a_tag_follows_from_counts_and_names(evidence, tag) -> None:
    """An entity in most values decides, then the name, and a few findings make free text."""
    assert suggest(evidence).tag == tag


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("email", "pii.email"),
        ("EMAIL_ADDRESS", "pii.email"),
        ("customerEmail", "pii.email"),
        ("e-mail", "pii.email"),
        ("emails", "pii.email"),
        ("HomePhone", "pii.phone"),
        ("TelNo", "pii.phone"),
        ("ip_address", "pii.ip"),
        ("IPAddress", "pii.ip"),
        ("mailing address", "pii.address"),
        ("date_of_birth", "pii.birth_date"),
        ("last_name", "pii.person"),
        ("card_holder", "pii.person"),
        ("api_key", "secret.api_key"),
        ("zip4", "pii.postcode"),
        ("telegram", ""),
        ("name", ""),
        ("shipment", ""),
        ("hôtel", ""),
        ("phone2work", "pii.phone"),
        ("", ""),
    ],
)
def test_a_name_speaks_word_by_word(name, tag) -> None:
    """Case, underscores and plurals make no difference, and a part of a word says nothing."""
    assert hint_of(name, "text") == tag


@given(COUNTS, KINDS, st.integers(100, 200), st.sampled_from([n for h in HINTS for n in h.names]))
def test_no_column_is_ever_proposed_to_be_public(found, kind, values, name) -> None:
    """Whatever was found or not, a proposal is a tag that hides or none at all."""
    suggestion = suggest(Evidence(ColumnName(TABLE, name), kind, values, found))
    assert suggestion.tag != PUBLIC
    assert suggestion.why
    assert suggestion.tag == "" or suggestion.tag.startswith(("pii.", "secret."))


@given(COUNTS)
def test_text_with_anything_personal_is_never_left_without_a_tag(found) -> None:
    """One finding that points at somebody, in any number of values, proposes a tag."""
    is_personal = bool(found.keys() - IMPERSONAL)
    assert bool(suggest(seen("column", values=10_000, **found)).tag) == is_personal


def test_every_entity_of_every_preset_has_a_tag() -> None:
    """What the presets look for is tagged, or known to point at nobody."""
    entities = {entity for name in NAMES for entity in load(name).operators}
    assert entities <= ENTITY_TAGS.keys() | IMPERSONAL
    assert ENTITY_TAGS.keys() >= CHECKED


def test_counts_are_listed_the_most_frequent_first() -> None:
    """Equal counts go by name, and thousands are set apart."""
    assert listed({"B": 5, "A": 5, "C": 1200}) == "C 1,200, A 5, B 5"


@pytest.mark.parametrize(
    ("rule", "is_so"),
    [
        ('{id: r, effect: permit, to: {names: ["*"]}, actions: [read], on: ["wh.*.*"], obligations: {masks: {"pii.*": redact}}}', True),
        ('{id: r, effect: permit, to: {names: ["*"]}, actions: [read], on: ["wh.*.*"], obligations: {masks: {"pii.card": redact}}}', False),
        ('{id: r, effect: permit, to: {names: ["*"]}, actions: [update], on: ["wh.*.*"], obligations: {masks: {"pii.*": redact}}}', False),
        ('{id: r, effect: permit, to: {names: ["*"]}, actions: [read], on: ["lake.*.*"], obligations: {masks: {"pii.*": redact}}}', False),
        ('{id: r, effect: forbid, to: {names: ["*"]}, actions: [read], on: ["wh.*.*"]}', False),
    ],
)  # fmt: skip
def test_a_tag_that_no_rule_masks_is_told_apart(rule, is_so) -> None:
    """Only a rule that lets people read the column counts, and only with a mask for the tag."""
    policy = parse(f"version: 1\nrules: [{rule}]\n")
    assert is_masked(policy, "wh", ColumnName(TABLE, "mail"), "pii.email") is is_so
