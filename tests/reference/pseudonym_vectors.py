"""Write ``tests/vectors/pseudonym.json`` from the specification alone, without nbgov.

Run it as ``python tests/reference/pseudonym_vectors.py``. A vector never changes: tokens are kept in
datasets and in reports of users. New cases are added at the end.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors" / "pseudonym.json"
KEY = bytes(range(32))
VALUES = {
    "empty text": "",
    "one letter": "a",
    "a name": "Ada",
    "another case is another value": "ada",
    "a blank at the end counts": "Ada ",
    "a quote": "o'x",
    "a backslash": "a\\b",
    "two bytes": "zo\u00eb",
    "composed": "\u00e9",
    "decomposed": "e\u0301",
    "three bytes": "\u65e5\u672c\u8a9e",
    "four bytes": "\U0001f600",
    "a line": "a\nb",
    "more than a block": "x" * 100,
}
KEYS = {
    "no key": b"",
    "a short key": b"k",
    "a key of one block": b"x" * 64,
    "a key of more than one block": b"x" * 65,
    "every byte": bytes(range(256)),
}


def vector(case: str, key: bytes, value: str) -> dict[str, str]:
    """One case: key and value in hexadecimal, the two pads, and the token."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner, outer = (bytes(byte ^ mask for byte in block) for mask in (0x36, 0x5C))
    digest = hashlib.sha256(outer + hashlib.sha256(inner + value.encode()).digest()).hexdigest()
    return {
        "case": case,
        "key": key.hex(),
        "value": value.encode().hex(),
        "inner": inner.hex(),
        "outer": outer.hex(),
        "token": "tok_" + digest[:32],
    }


if __name__ == "__main__":
    cases = [vector(case, KEY, value) for case, value in VALUES.items()]
    cases += [vector(case, key, "Ada") for case, key in KEYS.items()]
    VECTORS.write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
