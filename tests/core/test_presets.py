"""Presets: what each looks for, that it says what it cannot do, and how a policy uses one."""

from __future__ import annotations

import pytest

from nbgov.core import presets
from nbgov.core.policy import parse
from nbgov.core.presets import NAMES, load, text_operator
from nbgov.errors import ConfigInvalid
from nbgov.model import ContentMask

SECRETS = {"ACCESS_TOKEN", "API_KEY", "CONNECTION_STRING", "PRIVATE_KEY"}


def policy(content: str) -> ContentMask:
    """The content mask of a policy that says this of text."""
    return parse(f"version: 1\nrules: []\ncontent: {content}\n").content


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_it_covers_and_what_it_cannot(name: str) -> None:
    """Every preset has a title, something it covers, limits, entities and operators for text."""
    preset = load(name)
    assert preset.title
    assert preset.covers
    assert preset.limits
    assert preset.operators
    assert 0 <= preset.score_min <= 1
    assert [*preset.operators] == sorted(preset.operators), "a reader finds an entity by its name"
    for operator in preset.operators.values():
        assert text_operator(operator).fits_text


def test_the_presets_are_the_files() -> None:
    """No preset is without a file, and no file without a name."""
    folder = presets.resources.files(presets.__name__)
    files = {path.name for path in folder.iterdir() if path.name.endswith(".yaml")}
    assert files == {f"{name}.yaml" for name in NAMES}


def test_a_policy_without_a_word_on_text_looks_for_people_and_secrets() -> None:
    """The default preset stands where a policy says nothing; secrets are in it."""
    made = parse("version: 1\nrules: []\n").content
    assert made.entities == tuple(load("default").operators)
    assert set(made.entities) > SECRETS
    assert (made.score_min, made.language, made.operators) == (0.35, "en", ())


def test_a_policy_may_name_a_preset_and_change_it() -> None:
    """Entities, operators and the score of a policy go before those of its preset."""
    gdpr = policy("{preset: gdpr}")
    assert dict(gdpr.operators)["PERSON"] == "surrogate"
    assert "US_SSN" not in dict(gdpr.operators), "what is redacted needs no operator"
    mine = policy(
        "{preset: gdpr, entities: [PERSON, URL], operators: {PERSON: token}, score_min: 0.5}"
    )
    assert mine == ContentMask(("PERSON", "URL"), 0.5, "en", (("PERSON", "token"),))


def test_a_policy_may_look_for_nothing() -> None:
    """An empty list of entities turns the scan off."""
    assert policy("{entities: []}").entities == ()


@pytest.mark.parametrize(
    ("content", "code", "what"),
    [
        ("{preset: ccpa}", "preset-unknown", "There is no preset 'ccpa'"),
        ("{operators: {PERSON: hide}}", "operator-invalid", "hide"),
        ("{operators: {PERSON: 'bucket:10'}}", "operator-invalid", "cannot stand in free text"),
    ],
)
def test_what_a_policy_cannot_mean_is_an_error(content: str, code: str, what: str) -> None:
    """An unknown preset, an unknown operator and one that does not fit text are told by name."""
    with pytest.raises(ConfigInvalid, match=what) as caught:
        policy(content)
    assert caught.value.code == code
