"""PII in the frames and files that a person holds: what is found in them, and a masked copy.

:func:`detect` reports what Presidio finds in a column, :func:`mask` makes a copy of a table in
which nothing of it is left. Both work on what is at hand, in this process, without a connection, a
principal or a record: they are tools, and no gate. What a gate delivers is the business of
:mod:`nbgov.pipeline`. The cases are in ``tests/pii``.
"""

from __future__ import annotations

from nbgov.pii.findings import Findings
from nbgov.pii.frames import mask
from nbgov.pii.scanning import detect

__all__ = ["Findings", "detect", "mask"]
