"""Masks: what stands in the place of a value, made by Arrow kernels, the same for equal values.

An :class:`Operator` says what happens to a value, :class:`Keys` hold the secret behind everything
that must not be guessed, :func:`cover` masks a column of any type and :func:`replacements` what was
found inside of texts. Nothing here knows which values are to be masked: policies, presets and
detectors do. What each operator protects against, and what not, is in ``docs/concepts/masks.md``;
``docs/spec/masks.md`` fixes the bytes that are derived from keys. Python runs for distinct values,
never for rows.
"""

from nbgov.core.masks.columns import cover
from nbgov.core.masks.found import replacements
from nbgov.core.masks.keys import UNKEYED, Keys
from nbgov.core.masks.operators import Operator, parse_operator

__all__ = ["UNKEYED", "Keys", "Operator", "cover", "parse_operator", "replacements"]
