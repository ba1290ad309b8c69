"""What an Arrow type means, whatever its width and layout.

Spec: ``docs/spec/fingerprint.md`` section 8.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import types

from nbgov.core.fingerprint.cells import BINARY_KINDS, STRING_KINDS, is_list

PLAIN_TYPES = (
    (types.is_null, "null"),
    (types.is_boolean, "bool"),
    (types.is_integer, "int"),
    (types.is_floating, "float"),
    (types.is_decimal, "decimal"),
    (types.is_fixed_size_binary, "binary"),
    (types.is_date, "date"),
    (types.is_time, "time"),
    (types.is_duration, "duration"),
    (types.is_interval, "interval"),
    *((is_kind, "text") for is_kind in STRING_KINDS),
    *((is_kind, "binary") for is_kind in BINARY_KINDS),
)


def logical_columns(schema: pa.Schema) -> tuple[tuple[str, str], ...]:
    """Names and logical types, in order."""
    return tuple((field.name, logical_type(field.type)) for field in schema)


def logical_type(kind: pa.DataType) -> str:
    """What a type means, whatever its width and layout.

    >>> logical_type(pa.list_(pa.dictionary(pa.int8(), pa.large_string())))
    'list<text>'
    """
    if isinstance(kind, pa.BaseExtensionType):
        return "uuid" if isinstance(kind, pa.UuidType) else logical_type(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return logical_type(kind.value_type)
    if types.is_timestamp(kind):
        return "timestamp with zone" if kind.tz else "timestamp"
    plain = (name for is_kind, name in PLAIN_TYPES if is_kind(kind))
    return next(plain, None) or nested_type(kind)


def nested_type(kind: pa.DataType) -> str:
    """The logical type of a type that is made of others; of any other, its own name."""
    if is_list(kind):
        return f"list<{logical_type(kind.value_type)}>"
    if types.is_map(kind):
        return f"map<{logical_type(kind.key_type)}, {logical_type(kind.item_type)}>"
    if types.is_struct(kind):
        return f"struct<{', '.join(f'{part.name}: {logical_type(part.type)}' for part in kind)}>"
    if types.is_union(kind):
        parts = (kind.field(place) for place in range(kind.num_fields))
        return f"union<{', '.join(logical_type(part.type) for part in parts)}>"
    return str(kind)
