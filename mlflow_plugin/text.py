"""Text for run pages, cut to a length.

Like every module here that does not need MLflow, this one does not import it: MLflow, imported from
half-way inside one of its own plugins, would find the plugin half imported and go on without it.
"""

from __future__ import annotations


def fitted(text: str, characters_max: int) -> str:
    """A text of at most so many characters, with an ellipsis where it was cut.

    >>> fitted("warehouse.main.flights", 10)
    'warehouse…'
    """
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"
