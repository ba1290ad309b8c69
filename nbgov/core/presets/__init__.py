"""Presets: what to look for in text, and what to put in its place, for a purpose with a name.

Each preset is a YAML file beside this module that a person can read, copy and argue with. It says
what it covers and what it cannot. The files are part of the package, and reading one is no more
input than importing a module is. The cases are in ``tests/core/test_presets.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from pydantic import ConfigDict, Field

from nbgov.core.masks import Operator, parse_operator
from nbgov.errors import ConfigInvalid
from nbgov.strict import decode

__all__ = ["NAMES", "Preset", "load", "text_operator"]

NAMES = ("default", "gdpr", "hipaa-safe-harbor", "pci")
"""The presets that nbgov brings along."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A set of entities with an operator for each.

    Attributes:
        title: What the preset is for, in one line.
        covers: What is found and replaced, in the words of whoever asks for it.
        limits: What it cannot do; read this before you rely on it.
        score_min: The lowest score that counts.
        operators: Operator by entity, such as ``redact`` or ``partial:4``, as
            :func:`nbgov.core.masks.parse_operator` reads it.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    title: str
    covers: tuple[str, ...]
    limits: tuple[str, ...]
    score_min: Annotated[float, Field(ge=0, le=1)]
    operators: Mapping[str, str]


@functools.cache
def load(name: str) -> Preset:
    """The preset with a name.

    Raises:
        ConfigInvalid: There is none (``preset-unknown``).
    """
    if name not in NAMES:
        raise ConfigInvalid(
            f"There is no preset {name!r}.",
            code="preset-unknown",
            why=f"nbgov brings along {', '.join(NAMES)}",
            next_step="name one of these, or list entities and operators of your own",
        )
    file = f"{name}.yaml"
    text = resources.files(__name__).joinpath(file).read_text(encoding="utf-8")
    preset = decode(text, Preset, document=file, code="preset-unknown")
    for operator in preset.operators.values():
        text_operator(operator)
    return preset


def text_operator(text: str) -> Operator:
    """An operator for what is found in free text.

    Raises:
        ConfigInvalid: There is no such operator, or it works on whole columns only
            (``operator-invalid``).
    """
    operator = parse_operator(text)
    if not operator.fits_text:
        raise ConfigInvalid(
            f"The operator {text!r} cannot stand in free text.",
            code="operator-invalid",
            why="it works on the values of a whole column",
            next_step="use redact, token, surrogate or partial for an entity",
        )
    return operator
