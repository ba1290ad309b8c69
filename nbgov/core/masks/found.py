"""What stands in free text in the place of what a detector found.

The cases are in ``tests/core/test_mask_found.py``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from nbgov.core.masks.columns import by_value, told_without_values
from nbgov.core.masks.fitting import Family, widened
from nbgov.core.masks.kernels import BY_VALUE
from nbgov.core.masks.keys import Keys, Task
from nbgov.core.masks.operators import Operator
from nbgov.core.masks.surrogates import KIND_OF_ENTITY, of_kind

__all__ = ["replacements"]


def replacements(texts: pa.Array, entity: str, operator: Operator, keys: Keys) -> pa.Array:
    """What an operator makes of pieces of text in which an entity was found.

    What it cannot cover reads as the name of the entity, such as ``<PERSON>``: a surrogate of an
    entity that no table has, a date in words, a number that is too short to be encrypted.

    Args:
        texts: The pieces, without nulls.
        entity: What they are.
        operator: What to do with them. Without an argument ``redact`` leaves the entity's name, as
            do operators that make no sense in a text (``Operator.fits_text``).
        keys: For operators that need one. For ``ff1`` the entity is the domain.

    Returns:
        As many texts, of the same type.

    Example:
        >>> found = replacements(
        ...     pa.array(["Ada", "Grace"]), "PERSON", Operator("redact"), Keys(b"a key")
        ... )
        >>> found.to_pylist()
        ['<PERSON>', '<PERSON>']
    """
    if operator.name == "keep":
        return texts
    task, label = Task(operator, keys, entity), pa.scalar(f"<{entity}>", pa.large_string())
    if operator.name == "redact" or not operator.fits_text:
        constant = operator.argument if operator.name == "redact" else ""
        whole = pa.scalar(constant, pa.large_string()) if constant else label
        return pa.repeat(whole, len(texts)).cast(texts.type)
    with told_without_values(task):
        [covered] = by_value([widened(texts)], kernel, task)
    return pc.fill_null(covered, label).cast(texts.type)


def kernel(values: pa.Array, task: Task) -> pa.Array:
    """What the operator's kernel for text makes of values, and surrogates by entity."""
    name, argument = task.operator.name, task.operator.argument
    if name != "surrogate":
        return BY_VALUE[name, Family.TEXT](values, task)
    if kind := argument or KIND_OF_ENTITY.get(task.domain, ""):
        return of_kind(values, kind, task)
    return pa.nulls(len(values), pa.large_string())
