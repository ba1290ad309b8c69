"""A finished fingerprint: its figures, its ids, and their keyed images.

Spec: ``docs/spec/fingerprint.md`` sections 7, 8 and 12.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from nbgov.core.fingerprint.mixing import SPEC, unique_labels

KEYED_SPEC = f"{SPEC}-keyed"
KEY_BYTES_MIN = 16
KEY_BYTES_MAX = 64

Columns = tuple[tuple[str, str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The content of a table, as digests. Two are equal if content and schema are.

    Attributes:
        rows: Number of rows.
        content: The two row lanes, 32 hex digits; equal without columns that are NULL throughout.
        content_id: ``nbgov-fp-v1:`` and 32 hex digits.
        schema_id: 64 hex digits over the ordered names and logical types.
        columns: ``(name, logical type, digest hex, non-null count)`` in order.
        order: The two order lanes, 32 hex digits; empty where nobody knows the order of the rows.
        is_keyed: Whether the digests are keyed images, and the id starts with
            ``nbgov-fp-v1-keyed:``.
    """

    rows: int
    content: str
    content_id: str
    schema_id: str
    columns: Columns
    order: str = field(default="", compare=False)
    is_keyed: bool = False

    def veiled(self, names: Collection[str], *, key: bytes) -> Fingerprint:
        """The same fingerprint with keyed images for the digests of some columns.

        The digest of a column that holds one value throughout gives the value away, however many
        rows there are, and a guess can be tested against any digest. The image tells whether two
        columns are equal, to those who have the key.

        Args:
            names: Columns whose values are nobody's business.
            key: 16 to 64 secret bytes.
        """
        if self.is_keyed:
            return self
        columns = tuple(
            (name, kind, image("digest", digest, key) if name in names else digest, nonnull)
            for name, kind, digest, nonnull in self.columns
        )
        return replace(self, columns=columns)


def identify(
    rows: int, content: str, order: str, columns: Columns, key: bytes | None
) -> Fingerprint:
    """Name the figures of a table, or their keyed images."""
    types = [(name, kind) for name, kind, _, _ in columns]
    if key is not None:
        content = image("content", content, key)
        order = image("order", order, key)
        columns = tuple((name, kind, image("digest", d, key), n) for name, kind, d, n in columns)
    spec = SPEC if key is None else KEYED_SPEC
    labels = unique_labels(name for name, _ in types)
    record = {
        "spec": spec,
        "rows": rows,
        "content": content,
        "columns": {
            label: [digest, nonnull]
            for label, (_, _, digest, nonnull) in zip(labels, columns, strict=True)
        },
    }
    return Fingerprint(
        rows=rows,
        content=content,
        content_id=f"{spec}:{canonical_digest(record)[:32]}",
        schema_id=canonical_digest(types),
        columns=columns,
        order=order,
        is_keyed=key is not None,
    )


def image(label: str, digits: str, key: bytes) -> str:
    """What stands for the hex digits of a digest under a key, with as many digits.

    >>> image("digest", "00" * 8, bytes(16)) == image("digest", "00" * 8, bytes(17))
    False
    """
    assert KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX, "a key has 16 to 64 bytes"
    if not digits:
        return ""
    data = bytes.fromhex(digits)
    return hashlib.blake2b(
        data, digest_size=len(data), key=key, person=label.encode(), salt=SPEC.encode()
    ).hexdigest()


def canonical_digest(value: Any) -> str:
    """SHA-256 (hex) of a value as JSON, written in one way only."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
