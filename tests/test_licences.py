"""No copyleft at run time: the licence of everything that ``pip install nbgov[...]`` brings."""

from __future__ import annotations

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

COPYLEFT = re.compile(
    r"\b[AL]?GPL|General Public License|\bMPL|Mozilla Public|\bEPL\b|Eclipse Public|\bEUPL|\bCDDL"
    r"|\bSSPL|Commons Clause|Business Source|non-?commercial",
    re.IGNORECASE,
)
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|HPND|Zlib|CC0|Unlicense)\b",
    re.IGNORECASE,
)

# Weak copyleft that reaches no further than the package's own files, each with its reason.
EXCEPTIONS = {
    "certifi": "MPL-2.0 covers a list of certificate authorities, which is read and never changed.",
    "fqdn": "MPL-2.0 covers its one module, used unmodified; JupyterLab brings it, for the demo.",
    "tqdm": "MPL-2.0 covers some files of tqdm, used unmodified; the rest is MIT.",
}
# Packages whose metadata states no licence; the licence file they ship was read instead.
READ_BY_HAND = {"huey": "MIT", "skops": "MIT"}


def closure() -> dict[str, metadata.Distribution]:
    """Every installed distribution that nbgov needs at run time, with all of its extras."""
    extras = metadata.metadata("nbgov").get_all("Provides-Extra", [])
    queue = [("nbgov", extra) for extra in ("", *extras)]
    seen, found = set(queue), {}
    while queue:
        name, extra = queue.pop()
        found[name] = metadata.distribution(name)
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            child = canonicalize_name(requirement.name)
            for step in ((child, wanted) for wanted in ("", *requirement.extras)):
                if step not in seen:
                    seen.add(step)
                    queue.append(step)
    return found


def statements(distribution: metadata.Distribution) -> list[str]:
    """What a distribution says of its licence: expression, else classifiers, else text."""
    facts = distribution.metadata
    expression = facts.get("License-Expression")
    if expression:
        return [expression]
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in facts.get_all("Classifier", [])
        if line.startswith("License :: ")
    ]
    named = [line for line in classifiers if line != "OSI Approved"]
    return named or [(facts.get("License") or "").strip().partition("\n")[0]]


def is_permissive(choices: list[str]) -> bool:
    """Whether some choice asks for no copyleft, and is known to be permissive."""
    alternatives = [part for text in choices for part in re.split(r"\s+OR\s+", text)]
    return any(PERMISSIVE.search(a) and not COPYLEFT.search(a) for a in alternatives)


CLOSURE = closure()


@pytest.mark.parametrize("name", sorted(CLOSURE))
def test_a_dependency_is_permissive(name):
    """Everything nbgov needs at run time has a permissive licence, or a reasoned exception."""
    choices = [READ_BY_HAND[name]] if name in READ_BY_HAND else statements(CLOSURE[name])
    assert is_permissive(choices) or name in EXCEPTIONS, choices


def test_exceptions_are_still_needed():
    """Every exception is for a package that nbgov needs and that would fail without it."""
    for name in EXCEPTIONS.keys() | READ_BY_HAND.keys():
        assert not is_permissive(statements(CLOSURE[name])), name


def test_the_closure_reaches_the_bottom():
    """The walk follows requirements of requirements, and leaves tests and linters out."""
    assert {"nbgov", "mlflow", "presidio-analyzer", "spacy", "thinc", "numpy"} <= CLOSURE.keys()
    assert not {"hypothesis", "pytest", "ruff", "sphinx"} & CLOSURE.keys()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("Apache-2.0 AND LGPL-3.0-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("MPL-2.0", False),
        ("AGPL-3.0", False),
        ("Proprietary", False),
        ("", False),
    ],
)
def test_copyleft_is_told_from_permissive(text, verdict):
    """A licence passes when one of its alternatives is permissive through and through."""
    assert is_permissive([text]) is verdict
