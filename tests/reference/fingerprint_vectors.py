"""Write ``tests/vectors/fingerprint.json``, from the reference implementation alone.

Run it as ``python tests/reference/fingerprint_vectors.py``. A vector never changes its figures: the
figures are kept in datasets of users. New cases are added at the end of their group, new figures at
the end of a fingerprint.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import struct
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors" / "fingerprint.json"
UNITS = ("s", "ms", "us", "ns")

INTEGERS = {
    f"{sign}int{bits}": (
        [0, 1, -1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
        if not sign
        else [0, 1, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1]
    )
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
# Floats that every width can hold, then those that need 32 and 64 bits.
HALVES = [0.0, -0.0, 1.0, -2.0, 0.5, 65504.0, float("inf"), float("-inf"), float("nan")]
SINGLES = [*HALVES, 2.0**24, 2.0**53, -(2.0**53), 2.0**54, 2.0**-149]
DOUBLES = [*SINGLES, 0.1, 2.0**53 - 1, 2.0**63, -(2.0**63), 5e-324, 1.7976931348623157e308]
DECIMALS = {
    "decimal32(5, 2)": ["0.00", "1.00", "1.50", "-1.25", "999.99", "-0.01"],
    "decimal64(18, 4)": ["0", "3.0000", "-3.1400", "99999999999999.9999"],
    "decimal128(20, 0)": ["9223372036854775807", "9223372036854775808", "-9223372036854775808"],
    "decimal128(21, 1)": ["-9223372036854775809.0", "9223372036854775807.0", "0.5"],
    "decimal128(38, 2)": ["5000000000000000000.00", "100000000000000000000.10", "-7.70"],
    "decimal128(38, 38)": ["0.00000000000000000000000000000000000001", "0.5", "0"],
    "decimal128(3, -2)": ["0E+2", "15E+2", "-999E+2"],
    "decimal128(3, -17)": ["9E+17", "93E+17", "-99E+17"],
    "decimal256(76, 10)": ["1.0000000000", "-12345678901234567890123456789012345678901.5", "0.25"],
    "decimal256(40, 0)": ["9223372036854775807", "-9223372036854775809", "1" + "0" * 39],
}
TEXTS = [
    "",
    "a",
    "1234567",
    "12345678",
    "123456789",
    "\0",
    "a ",
    " a",
    "e\u0301",
    "\u00e9",
    "\u4e2d\u6587",
    "\U0001f600",
    "x" * 1000,
]
BLOBS = ["", "00", "0000", "ff", "0123456789abcdef", "0123456789abcdef00", "ff" * 300]
MOMENTS = [0, 1, -1, 1_000, -1_001, 1_577_836_800, -62_135_596_800, 2**53]
UUIDS = ["00000000-0000-0000-0000-000000000000", "0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0"]
KEYS = [bytes(range(16)), b"k" * 64]
INTERVALS = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 30, -1], [2**31 - 1, -(2**31), 2**63 - 1]]


# Test folders are no packages, so the reference is imported by its path.
spec = importlib.util.spec_from_file_location(
    "reference_fingerprint", Path(__file__).with_name("fingerprint.py")
)
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def integer(number):
    return {"int": str(number)}


def real(number):
    return {"float": struct.pack(">d", number).hex()}


def text(characters):
    return {"text": characters}


def singles():
    """(type, value) of every plain type and edge."""
    for kind, numbers in INTEGERS.items():
        yield from ((kind, integer(number)) for number in numbers)
    for kind, numbers in (("half_float", HALVES), ("float", SINGLES), ("double", DOUBLES)):
        yield from ((kind, real(number)) for number in numbers)
    for kind, numbers in DECIMALS.items():
        yield from ((kind, {"decimal": number}) for number in numbers)
    yield from (("bool", {"bool": truth}) for truth in (False, True))
    for kind, characters in itertools.product(("string", "large_string", "string_view"), TEXTS):
        yield kind, text(characters)
    for kind, digits in itertools.product(("binary", "large_binary", "binary_view"), BLOBS):
        yield kind, {"bytes": digits}
    yield from (
        (f"fixed_size_binary[{len(digits) // 2}]", {"bytes": digits}) for digits in BLOBS[1:]
    )
    yield from (("uuid", {"uuid": digits}) for digits in UUIDS)
    yield from (("date32", {"date": days}) for days in (0, 1, -1, 19_000, -719_162, 2_932_896))
    yield from (("date64", {"date": days}) for days in (0, -1, 19_000))
    for unit, count in itertools.product(UNITS, MOMENTS):
        yield f"timestamp[{unit}]", {"timestamp": [unit, count]}
        yield f"timestamp[{unit}, Europe/Berlin]", {"timestamp": [unit, count]}
        yield f"duration[{unit}]", {"duration": [unit, count]}
    yield "timestamp[s]", {"timestamp": ["s", 2**62]}
    yield "timestamp[ns]", {"timestamp": ["ns", -(2**63) + 1]}
    for unit, width in zip(UNITS, (32, 32, 64, 64), strict=True):
        yield from ((f"time{width}[{unit}]", {"time": [unit, count]}) for count in (0, 1, 3_599))
    yield from (("month_day_nano_interval", {"interval": parts}) for parts in INTERVALS)


def nested():
    """(type, cells) of every nested and indirect type."""
    ints = [integer(7), None, integer(-7)]
    lists = [{"list": []}, {"list": ints}, {"list": ints[::-1]}, None, {"list": [None]}]
    for layout in ("list", "large_list", "list_view", "large_list_view"):
        yield {layout: "int32"}, lists
    yield {"fixed_size_list": "int32", "size": 2}, [{"list": ints[:2]}, None, {"list": ints[1:]}]
    yield {"list": {"list": "string"}}, [{"list": [{"list": [text("a")]}, None, {"list": []}]}]
    yield {"list": "double"}, [{"list": [real(float("nan")), real(1.0)]}, {"list": [None]}]
    pair = {"struct": [["a", "int64"], ["b", "string"]]}
    yield (
        pair,
        [
            {"struct": [["a", integer(1)], ["b", text("x")]]},
            {"struct": [["a", None], ["b", text("")]]},
            {"struct": [["a", None], ["b", None]]},
            None,
        ],
    )
    yield (
        {"struct": [["b", "string"], ["a", "int64"]]},
        [
            {"struct": [["b", text("x")], ["a", integer(1)]]},
        ],
    )
    yield (
        {"struct": [["a", "int64"], ["a", "int64"]]},
        [
            {"struct": [["a", integer(1)], ["a", integer(2)]]},
            {"struct": [["a", integer(2)], ["a", integer(1)]]},
        ],
    )
    yield {"struct": []}, [{"struct": []}, None]
    yield {"list": pair}, [{"list": [{"struct": [["a", integer(1)], ["b", None]]}, None]}]
    entries = [[text("k"), integer(1)], [text("l"), None]]
    maps = [{"map": entries}, {"map": entries[::-1]}, {"map": []}, None, {"map": entries[:1]}]
    yield {"map": ["string", "int64"]}, maps
    yield {"list": {"map": ["string", "int64"]}}, [{"list": maps}, {"list": []}]
    yield (
        {"map": ["int32", {"list": "bool"}]},
        [
            {"map": [[integer(1), {"list": [{"bool": True}, None]}]]},
        ],
    )
    levels = [text("red"), text("green"), None, text("red")]
    yield {"dictionary": "string"}, levels
    yield {"dictionary": "int64"}, [integer(5), None, integer(5)]
    yield {"dictionary": "string"}, [None, None]
    yield {"list": {"dictionary": "string"}}, [{"list": levels}, None]
    yield {"run_end_encoded": "string"}, [text("a"), text("a"), None, text("b")]
    yield {"sparse_union": ["int64", "string"]}, [integer(1), text("1"), None]
    yield {"dense_union": ["int64", "string"]}, [integer(1), text("1"), None]
    yield (
        {"struct": [["t", "timestamp[ns]"], ["d", "decimal128(9, 3)"], ["u", "uuid"]]},
        [
            {
                "struct": [
                    ["t", {"timestamp": ["ns", 1_001]}],
                    ["d", {"decimal": "1.100"}],
                    ["u", {"uuid": UUIDS[1]}],
                ]
            },
        ],
    )


def tables():
    """(case, rows, columns) of whole tables."""
    ids = [integer(number) for number in (3, 1, 2)]
    names = [text("c"), None, text("b")]
    yield "no rows, no columns", 0, []
    yield "no columns, three rows", 3, []
    yield "no rows, two columns", 0, [("id", "int64", []), ("name", "string", [])]
    yield "two columns", 3, [("id", "int64", ids), ("name", "string", names)]
    yield "columns in another order", 3, [("name", "string", names), ("id", "int64", ids)]
    yield "rows in another order", 3, [("id", "int64", ids[::-1]), ("name", "string", names[::-1])]
    yield "values paired otherwise", 3, [("id", "int64", ids), ("name", "string", names[::-1])]
    yield (
        "other types, same values",
        3,
        [
            ("id", "double", [real(number) for number in (3.0, 1.0, 2.0)]),
            ("name", {"dictionary": "string"}, names),
        ],
    )
    yield "a column renamed", 3, [("key", "int64", ids), ("name", "string", names)]
    yield (
        "an empty column added",
        3,
        [
            ("id", "int64", ids),
            ("name", "string", names),
            ("gone", "null", [None] * 3),
        ],
    )
    yield (
        "one row twice",
        4,
        [("id", "int64", [*ids, ids[0]]), ("name", "string", [*names, names[0]])],
    )
    yield "two columns of one name", 3, [("x", "int64", ids), ("x", "int64", ids[::-1])]
    yield "the same, swapped", 3, [("x", "int64", ids[::-1]), ("x", "int64", ids)]
    yield "three columns of one name", 1, [("x", "int64", ids[:1])] * 3
    yield "a name like a label", 1, [("x", "int64", ids[:1]), ("x\x002", "int64", ids[:1])]
    yield (
        "names that need escapes",
        1,
        [
            (name, "int64", ids[:1])
            for name in (
                "",
                '"',
                "\\",
                "\n\t\b\f\r",
                "\x01\x1f",
                "\x7f",
                "/",
                "\u00e9\u4e2d\U0001f600",
            )
        ],
    )
    yield (
        "names in order of code points",
        1,
        [(name, "int64", ids[:1]) for name in ("b", "B", "a\u00df", "\uffee", "\U0001f600", "aa")],
    )
    yield "NULL throughout", 2, [("x", "int64", [None, None])]
    yield "NULL and NaN", 2, [("x", "double", [None, real(float("nan"))])]
    long = [text("x" * length) for length in range(300)]
    yield "three hundred lengths", 300, [("x", "string", long)]


def cases():
    """Every case, with the figures of the reference."""
    for place, (kind, value) in enumerate(singles()):
        yield f"{kind}, value {place}", 1, [("x", kind, [value])]
    plain = dict.fromkeys(kind for kind, _ in singles())
    for kind in plain:
        values = [value for other, value in singles() if other == kind]
        yield f"{kind}, all values and NULL", len(values) + 1, [("x", kind, [None, *values])]
    for place, (kind, cells) in enumerate(nested()):
        yield f"nested {place}", len(cells), [("x", kind, cells)]
    yield from tables()


def keyed():
    """(case, rows, columns, key) of some tables under some keys."""
    chosen = (
        "no rows, no columns",
        "two columns",
        "rows in another order",
        "an empty column added",
    )
    for key in KEYS:
        for name, rows, columns in tables():
            if name in chosen:
                yield f"{name}, {len(key)} bytes of key", rows, columns, key


def line(name, rows, columns, key=None):
    """A case as it stands in the file."""
    case = {"case": name, "rows": rows, "columns": [list(column) for column in columns]}
    if key is not None:
        case["key"] = key.hex()
    return json.dumps(case | {"fingerprint": reference.fingerprint(columns, rows, key)})


def document():
    """The text of the vector file."""
    lines = [line(*case) for case in (*cases(), *keyed())]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    VECTORS.write_text(document(), encoding="utf-8")
