"""A second implementation of ``nbgov-fp-v1``: pure Python, slow, to be read beside the spec.

It shares no line with ``nbgov.core.fingerprint`` and knows neither Arrow nor NumPy. Section numbers
are those of ``docs/spec/fingerprint.md``. A value is JSON-ready and says what it is::

    null                          {"decimal": "-1.50"}          {"timestamp": ["ns", 1]}
    {"bool": true}                {"text": "a"}                 {"time": ["us", 1]}
    {"int": "-1"}                 {"bytes": "00ff"}             {"duration": ["s", -1]}
    {"float": "3ff8..."}          {"uuid": "0a1b..."}           {"interval": [months, days, nanos]}
    {"date": 19000}               {"list": [value, ...]}        {"struct": [[name, value], ...]}
                                                                {"map": [[key, value], ...]}

A float is given by its 64 bits. A type is a name such as ``int32`` or ``timestamp[us, UTC]``, or an
object such as ``{"list": type}``.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import uuid
from decimal import Decimal

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15
LANE_A = 0xD1B54A32D192ED03
LANE_B = 0x8CB92BA72F3D8DD7
TEXT = 0xA0761D6478BD642F
LENGTH = 0xE7037ED1A0B428DB
NANOS = 0x589965CC75374CC3
LIST = 0x1D8E4E27C47D124F
STRUCT = 0xEB44ACCAB455D165
MAP = 0x9C6E6877736C46E3
ORDER = 0xD6E8FEB86659FD93

PLAIN_TYPES = {
    "null": "null",
    "bool": "bool",
    "int": "int",
    "uint": "int",
    "half_float": "float",
    "float": "float",
    "double": "float",
    "decimal": "decimal",
    "string": "text",
    "large_string": "text",
    "string_view": "text",
    "binary": "binary",
    "large_binary": "binary",
    "binary_view": "binary",
    "fixed_size_binary": "binary",
    "uuid": "uuid",
    "date": "date",
    "time": "time",
    "duration": "duration",
    "month_day_nano_interval": "interval",
}


# ---- 1. Arithmetic


def mix(x):
    x &= MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def derive(label, name):
    digest = hashlib.blake2b(
        name.encode("utf-8"),
        digest_size=24,
        person=label.encode("ascii"),
        salt=b"nbgov-fp-v1",
    ).digest()
    return struct.unpack("<QQQ", digest)


SEED = derive("seed", "")[0]


# ---- 2. Labels


def labels(names):
    found = []
    for place, name in enumerate(names):
        occurrence = 1 + names[:place].count(name)
        doubled = name.replace("\0", "\0\0")
        found.append(doubled if occurrence == 1 else doubled + "\0" + str(occurrence))
    return found


# ---- 3. The word of a value


def cell_hash(value):
    number = word(value)
    return 0 if number is None else mix(number + SEED)


def word(value):
    if value is None:
        return None
    ((tag, content),) = value.items()
    number = WORDS[tag](content)
    return None if number is None else number & MASK


def int_word(text):
    number = int(text)
    return number if -(2**63) <= number < 2**63 else bytes_word(str(number).encode())


def float_word(bits):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    if math.isnan(number):
        return None
    if abs(number) <= 2**53 and number == int(number):
        return int(number)
    return int(bits, 16)


def decimal_word(text):
    number = Decimal(text)
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").removesuffix(".")
    if "." in plain:
        return bytes_word(plain.encode())
    return int_word(plain)


# ---- 4. Bytes


def bytes_word(data):
    number = TEXT + len(data) * LENGTH
    for start in range(0, len(data), 8):
        piece = data[start : start + 8].ljust(8, b"\0")
        number += mix(int.from_bytes(piece, "big") + SEED + (start // 8 + 1) * STEP)
    return number & MASK


# ---- 5. Counts of time


def count_word(content):
    unit, count = content
    if unit == "ns":
        micros, nanos = divmod(int(count), 1000)
        return micros + nanos * NANOS
    return int(count) * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]


# ---- 6. Nested values


def list_word(elements):
    number = LIST + len(elements) * LENGTH
    for place, element in enumerate(elements, start=1):
        number += mix(cell_hash(element) + place * STEP)
    return number


def struct_word(fields):
    number = STRUCT
    for label, (_, value) in zip(labels([name for name, _ in fields]), fields, strict=True):
        if cell_hash(value) != 0:
            number += mix(cell_hash(value) + derive("field", label)[0])
    return number


def map_word(entries):
    number = MAP + len(entries) * LENGTH
    for key, value in entries:
        number += mix(cell_hash({"struct": [["key", key], ["value", value]]}))
    return number


def interval_word(parts):
    names = ["months", "days", "nanos"]
    return struct_word([[name, {"int": part}] for name, part in zip(names, parts, strict=True)])


WORDS = {
    "bool": int,
    "int": int_word,
    "float": float_word,
    "decimal": decimal_word,
    "text": lambda text: bytes_word(text.encode("utf-8")),
    "bytes": lambda digits: bytes_word(bytes.fromhex(digits)),
    "uuid": lambda text: bytes_word(str(uuid.UUID(text)).encode()),
    "date": lambda days: days * 86_400_000_000,
    "timestamp": count_word,
    "time": count_word,
    "duration": count_word,
    "interval": interval_word,
    "list": list_word,
    "struct": struct_word,
    "map": map_word,
}


# ---- 7. The fingerprint of a table


def fingerprint(columns, rows, key=None):
    """Fingerprint ``(name, type, cells)`` columns of ``rows`` cells each."""
    names = labels([name for name, _, _ in columns])
    factors = [[part | 1 for part in derive("column", label)[:2]] for label in names]
    hashes = [[cell_hash(cell) for cell in cells] for _, _, cells in columns]
    lane_a = lane_b = order_a = order_b = 0
    for row in range(rows):
        a = sum(column[row] * factor for column, (factor, _) in zip(hashes, factors, strict=True))
        b = sum(column[row] * factor for column, (_, factor) in zip(hashes, factors, strict=True))
        lane_a = lane_a + mix(a + LANE_A) & MASK
        lane_b = lane_b + mix(b + LANE_B) & MASK
        order_a = order_a * ORDER + mix(a + LANE_A) & MASK
        order_b = order_b * ORDER + mix(b + LANE_B) & MASK
    digests = [f"{sum(column) & MASK:016x}" for column in hashes]
    nonnulls = [sum(hash_ != 0 for hash_ in column) for column in hashes]
    content = f"{lane_a:016x}{lane_b:016x}"
    order = f"{order_a:016x}{order_b:016x}"
    spec = "nbgov-fp-v1"
    if key is not None:
        spec = "nbgov-fp-v1-keyed"
        content, order = image("content", content, key), image("order", order, key)
        digests = [image("digest", digest, key) for digest in digests]
    record = {
        "spec": spec,
        "rows": rows,
        "content": content,
        "columns": {
            label: [digest, nonnull]
            for label, digest, nonnull in zip(names, digests, nonnulls, strict=True)
        },
    }
    types = [[name, logical_type(kind)] for name, kind, _ in columns]
    return {
        "rows": rows,
        "content": content,
        "content_id": spec + ":" + json_digest(record)[:32],
        "schema_id": json_digest(types),
        "columns": [
            [name, kind, digest, nonnull]
            for (name, kind), digest, nonnull in zip(types, digests, nonnulls, strict=True)
        ],
        "order": order,
    }


def json_digest(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


# ---- 8. The schema id


def logical_type(kind):
    if isinstance(kind, dict):
        return nested_type(kind)
    if kind.startswith("timestamp"):
        return "timestamp with zone" if "," in kind else "timestamp"
    if kind == "month_day_nano_interval":
        return "interval"
    return PLAIN_TYPES[kind.partition("[")[0].partition("(")[0].rstrip("0123456789")]


def nested_type(kind):
    layout, inner = next(iter(kind.items()))
    if layout in {"dictionary", "run_end_encoded"}:
        return logical_type(inner)
    if layout == "struct":
        return f"struct<{', '.join(f'{name}: {logical_type(part)}' for name, part in inner)}>"
    if layout == "map":
        return f"map<{logical_type(inner[0])}, {logical_type(inner[1])}>"
    if layout.endswith("union"):
        return f"union<{', '.join(logical_type(part) for part in inner)}>"
    return f"list<{logical_type(inner)}>"


# ---- 12. Keyed fingerprints


def image(label, digits, key):
    data = bytes.fromhex(digits)
    return hashlib.blake2b(
        data,
        digest_size=len(data),
        key=key,
        person=label.encode("ascii"),
        salt=b"nbgov-fp-v1",
    ).hexdigest()
