"""What a person writes to mean a dataset version, and whether kept rows are those of one.

Cases: ``tests/core/test_dataset_references.py``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from nbgov.errors import IntegrityFailed, RequestInvalid
from nbgov.model import DatasetVersion, Delivery

if TYPE_CHECKING:
    import pyarrow as pa

START = re.compile(r"[0-9a-f]{6,32}")
VERSION_MARK = "@v"
NAMES_SHOWN_MAX = 3


def find_version(reference: str, deliveries: Sequence[Delivery]) -> str:
    """The id of the version that a reference means.

    Args:
        reference: A start of six digits or more of a version id, ``NAME@vSTART``, or a name for the
            version that was delivered last.
        deliveries: All that were kept, newest first.

    Raises:
        RequestInvalid: It means none, or more than one (``unknown-dataset``).
    """
    newest = next((one.version_id for one in deliveries if one.name == reference), None)
    if newest is not None:
        return newest
    name, mark, start = reference.rpartition(VERSION_MARK)
    among = [one for one in deliveries if one.name == name] if mark else deliveries
    is_start = START.fullmatch(start) is not None
    found = {one.version_id for one in among if is_start and one.version_id.startswith(start)}
    if len(found) == 1:
        return found.pop()
    raise no_version(reference, sorted(found), {one.name for one in deliveries})


def no_version(reference: str, found: Sequence[str], names: Collection[str]) -> RequestInvalid:
    """The error of a reference that means no version, or several."""
    if found:
        shown = ", ".join(one[:12] for one in found[:NAMES_SHOWN_MAX])
        return RequestInvalid(
            f"{reference!r} means {len(found)} dataset versions.",
            code="unknown-dataset",
            why=f"versions that start so: {shown}",
            next_step="give more digits of the one that is meant",
        )
    name, _, _ = reference.rpartition(VERSION_MARK)
    near = difflib.get_close_matches(name or reference, sorted(names), n=NAMES_SHOWN_MAX)
    next_step = f"did you mean {' or '.join(near)}?" if near else "see nbgov datasets list"
    if name in names:
        next_step = f"see nbgov datasets log {name}"
    return RequestInvalid(
        f"There is no dataset version {reference!r}.",
        code="unknown-dataset",
        why="no delivery that is kept in this state folder has this name or version",
        next_step=next_step,
    )


def check_rows(table: pa.Table, version: DatasetVersion, *, key: bytes) -> None:
    """Hold kept rows against the version that they are said to be of.

    Args:
        table: The rows.
        version: The version.
        key: The key of fingerprints, for a version whose fingerprint is keyed.

    Raises:
        IntegrityFailed: They are other rows (``rows-damaged``).
    """
    from nbgov.core.fingerprint import Fingerprinter
    from nbgov.core.fingerprint.record import KEYED_SPEC

    fold = Fingerprinter(table.schema)
    for batch in table.to_batches():
        fold.update(batch)
    is_keyed = version.content_id.startswith(KEYED_SPEC)
    if fold.finish(key=key if is_keyed else None).content_id != version.content_id:
        raise IntegrityFailed(
            f"The rows that were kept of {version.name} are not the ones that were delivered.",
            code="rows-damaged",
            why="their fingerprint is not that of the dataset version",
            next_step="read the dataset again from its source, and keep the file for inspection",
        )
