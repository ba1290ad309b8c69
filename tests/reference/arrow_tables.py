"""Arrow tables from the notation of ``tests/vectors/fingerprint.json``."""

from __future__ import annotations

import re
import struct
from decimal import Decimal

import pyarrow as pa


def arrow_type(kind, uuid=None):
    if isinstance(kind, dict):
        return arrow_nested_type(kind, uuid)
    name, arguments = re.fullmatch(r"(\w+)(?:[\[(](.*)[\])])?", kind).groups()
    parts = (arguments or "").split(", ")
    if name.startswith("decimal"):
        return getattr(pa, name)(*map(int, parts))
    if name in {"timestamp", "time32", "time64", "duration"}:
        return getattr(pa, name)(*parts)
    if name == "fixed_size_binary":
        return pa.binary(int(arguments))
    if name == "uuid":
        return uuid or pa.uuid()
    alias = {"bool": "bool_", "half_float": "float16", "float": "float32", "double": "float64"}
    return getattr(pa, alias.get(name, name))()


def arrow_nested_type(kind, uuid):
    layout, inner = next(iter(kind.items()))
    if layout == "struct":
        return pa.struct([pa.field(name, arrow_type(part, uuid)) for name, part in inner])
    if layout == "map":
        return pa.map_(*(arrow_type(part, uuid) for part in inner))
    part = arrow_type(inner, uuid)
    if layout == "fixed_size_list":
        return pa.list_(part, kind["size"])
    if layout == "dictionary":
        return pa.dictionary(pa.int16(), part)
    if layout == "run_end_encoded":
        return pa.run_end_encoded(pa.int32(), part)
    return getattr(pa, {"list": "list_"}.get(layout, layout))(part)


def plain(value, kind):
    """What ``pa.array`` takes for a tagged value; moments are raw counts."""
    if value is None:
        return None
    ((tag, content),) = value.items()
    if isinstance(kind, dict) and next(iter(kind)) in {"dictionary", "run_end_encoded"}:
        return plain(value, next(iter(kind.values())))
    if tag == "list":
        return [plain(element, next(iter(kind.values()))) for element in content]
    if tag == "map":
        key, item = kind["map"]
        return [(plain(k, key), plain(v, item)) for k, v in content]
    if tag == "struct":
        parts = zip(content, kind["struct"], strict=True)
        return tuple(plain(v, part) for (_, v), (_, part) in parts)
    scalars = {
        "bool": bool,
        "int": int,
        "float": lambda bits: struct.unpack(">d", bytes.fromhex(bits))[0],
        "decimal": Decimal,
        "text": str,
        "bytes": bytes.fromhex,
        "uuid": lambda text: bytes.fromhex(text.replace("-", "")),
        "date": lambda days: days * (86_400_000 if kind == "date64" else 1),
        "interval": tuple,
    }
    return scalars[tag](content) if tag in scalars else content[1]


def arrow(kind, cells):
    if isinstance(kind, dict) and next(iter(kind)).endswith("union"):
        return arrow_union(kind, cells)
    if kind == "uuid":
        return pa.array([plain(cell, kind) for cell in cells], pa.uuid())
    # pyarrow builds no nested UUIDs, but it casts to them.
    array = pa.array([plain(cell, kind) for cell in cells], arrow_type(kind, pa.binary(16)))
    return array if array.type == arrow_type(kind) else array.cast(arrow_type(kind))


def arrow_union(kind, cells):
    """An int64/string union; NULL is an int64."""
    codes = pa.array([int(cell is not None and "text" in cell) for cell in cells], pa.int8())
    children = [
        [cell if code.as_py() == place else None for cell, code in zip(cells, codes, strict=True)]
        for place in (0, 1)
    ]
    if "sparse_union" in kind:
        return pa.UnionArray.from_sparse(codes, list(map(arrow, kind["sparse_union"], children)))
    picked = [
        [cell for cell, code in zip(cells, codes, strict=True) if code.as_py() == place]
        for place in (0, 1)
    ]
    seen = [0, 0]
    offsets = []
    for code in codes.to_pylist():
        offsets.append(seen[code])
        seen[code] += 1
    return pa.UnionArray.from_dense(
        codes, pa.array(offsets, pa.int32()), list(map(arrow, kind["dense_union"], picked))
    )


def batch_of(columns, rows):
    """A record batch, also one that has rows and no columns."""
    if not columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    arrays = [arrow(kind, cells) for _, kind, cells in columns]
    return pa.RecordBatch.from_arrays(arrays, names=[name for name, _, _ in columns])
