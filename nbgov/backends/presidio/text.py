"""Which values read as text, so that names and places are looked for in them.

The decision is a pure function of one value. It never rests on a sample, on a share of the column
or on the rows that happen to travel in the same batch: those would clear a name because of its
neighbours, and make the same query deliver different text on different days.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

BEYOND = r"\x{80}-\x{10FFFF}"
"""Characters beyond ASCII; all of them count as letters that are not upper case."""

LETTER = f"[A-Za-z{BEYOND}]"
SOFT = f"[a-z{BEYOND}]"
JOINER = "[.'_-]"
WITHIN = f"[A-Za-z{BEYOND}.'_-]*"
BEFORE = f"(?:^|[^A-Za-z0-9@{BEYOND}.'_-])"
AFTER = f"(?:[^A-Za-z0-9@{BEYOND}.'_-]|$)"
SPACE = r"[\s,;]+"

READS_AS_TEXT = "|".join(
    BEFORE + WITHIN + word + WITHIN + AFTER
    for word in (
        f"(?:{SOFT}{WITHIN}{LETTER}|{LETTER}{WITHIN}{SOFT})",
        f"(?:{LETTER}{JOINER}*){{4}}",
        LETTER + WITHIN + SPACE + WITHIN + LETTER,
    )
)


def looks_like_text(values: pa.Array) -> pa.BooleanArray:
    """Say for each value of a column whether it reads as text.

    A value reads as text when it holds a word. A word is a run of letters, perhaps joined by ``.``,
    ``'``, ``_`` or ``-``, that touches no digit and no ``@``, and that has

    * two letters or more, one of them not upper case (``Ada``, ``pending``, ``O'Brien``), or
    * four letters or more (``SMITH``), or
    * another run of letters beside it (``J. DOE``).

    A character beyond ASCII counts as a letter that is not upper case. So numbers, e-mail
    addresses, telephone numbers, dates in digits and codes such as ``ORD-12345``, ``N14228``,
    ``JFK`` or ``UA`` do not read as text; a sentence, a URL or a path does.

    Args:
        values: Strings of any Arrow string type.

    Returns:
        One boolean for each value; null for null.

    Example:
        >>> looks_like_text(pa.array(["Ada Lovelace", "SMITH", "JFK", "ORD-12345"])).to_pylist()
        [True, True, False, False]
    """
    return pc.match_substring_regex(values.cast(pa.large_string()), READS_AS_TEXT)
