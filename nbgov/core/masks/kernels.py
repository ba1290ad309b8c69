"""Which kernel does what an operator says, for each family of types.

A kernel gets an array in the widest type of its family and gives back one of the same type and
length, null where it cannot cover a value. Kernels by value see each distinct value once; kernels
by row work on whole arrays and are fast enough not to ask which values are equal. The cases are in
``tests/core/test_mask_fitting.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa

from nbgov.core.masks import coarser, dates, ff1, surrogates, tokens
from nbgov.core.masks.fitting import Family
from nbgov.core.masks.keys import Task

Kernel: TypeAlias = Callable[[pa.Array, Task], pa.Array]
Kernels: TypeAlias = dict[tuple[str, Family], Kernel]

CALENDAR = ("year", "month", "quarter")
WIDTHS = ("bucket", "age")
INTEGERS = (Family.LONG, Family.INTEGER, Family.SHORT)

BY_VALUE: Kernels = {
    ("partial", Family.TEXT): tokens.ending,
    ("token", Family.TEXT): tokens.texts,
    ("token", Family.BYTES): tokens.binaries,
    ("token", Family.LONG): tokens.integers,
    ("ff1", Family.TEXT): ff1.texts,
    ("ff1", Family.LONG): ff1.integers,
    ("ff1", Family.INTEGER): ff1.integers,
    ("zip", Family.TEXT): coarser.zip_texts,
    ("surrogate", Family.TEXT): surrogates.by_shape,
    **{(name, Family.TEXT): dates.coarser_texts for name in CALENDAR},
    **{(name, Family.TEXT): coarser.width_texts for name in WIDTHS},
    **{(name, Family.DECIMAL): coarser.width_decimals for name in WIDTHS},
}
BY_ROW: Kernels = {
    ("zip", Family.LONG): coarser.zip_integers,
    ("zip", Family.INTEGER): coarser.zip_integers,
    **{(name, kind): dates.floored for name in CALENDAR for kind in (Family.DAY, Family.MOMENT)},
    **{(name, kind): coarser.width_integers for name in WIDTHS for kind in INTEGERS},
    **{(name, Family.FLOAT): coarser.width_floats for name in WIDTHS},
}
