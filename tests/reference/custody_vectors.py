"""Write ``tests/vectors/custody.json``: statements and bundles of ``docs/spec/custody.md``.

Run it as ``python tests/reference/custody_vectors.py``. The statement comes from nbgov's own writer
and is then written anew by hand, from the words of the specification: the two must agree to the
byte. Digests, the encoding that is signed, the envelope and the key's name are made here with the
standard library and ``cryptography`` alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "custody.json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SEED = bytes(range(32))
DER_HEAD = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519
NAMED_ESCAPES = {"\b": "b", "\t": "t", "\n": "n", "\f": "f", "\r": "r", '"': '"', "\\": "\\"}
FILES = {"MLmodel": b"flavors: {}\n", "data/model.bin": bytes(16)}


# ---- section 1: canonical JSON


def written(value):
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return '"' + "".join(map(character, value)) + '"'
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return "{" + ",".join(f"{written(key)}:{written(value[key])}" for key in sorted(value)) + "}"


def character(one):
    if one in NAMED_ESCAPES:
        return "\\" + NAMED_ESCAPES[one]
    return f"\\u{ord(one):04x}" if ord(one) < 0x20 else one


# ---- section 4: the id of a version, the digest over a model's files


def version_id(facts):
    stated = {k: v for k, v in facts.items() if k not in {"version_id", "profile"}}
    return hashlib.sha256(written(stated).encode()).hexdigest()[:32]


def files_digest(files):
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ---- section 5: the tree over the log, as RFC 6962 has it


def root(lines):
    if len(lines) == 1:
        return hashlib.sha256(b"\0" + lines[0]).digest()
    middle = 1 << (len(lines) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(lines[:middle]) + root(lines[middle:])).digest()


def path(index, lines):
    if len(lines) == 1:
        return []
    middle = 1 << (len(lines) - 1).bit_length() - 1
    if index < middle:
        return [*path(index, lines[:middle]), root(lines[middle:])]
    return [*path(index - middle, lines[middle:]), root(lines[:middle])]


def check_proofs(audit):
    """Every entry of the vector's log is in the bundle, so tree and paths can be made anew."""
    lines = [entry["line"].encode() for entry in audit["entries"]]
    origin, size, digest, gap, _, end = audit["checkpoint"].split("\n")
    assert (origin, int(size), gap, end) == ("house/log", len(lines), "", "")
    assert base64.b64decode(digest) == root(lines)
    signed, _, line = audit["checkpoint"].rpartition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])[4:]
    Ed25519PrivateKey.from_private_bytes(SEED).public_key().verify(
        signature, signed.encode() + b"\n"
    )
    for index, entry in enumerate(audit["entries"]):
        assert list(map(base64.b64decode, entry["proof"])) == path(index, lines)


# ---- section 7: the envelope


def bundle(payload):
    key = Ed25519PrivateKey.from_private_bytes(SEED)
    signed = b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload,
    )  # fmt: skip
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": key_id(), "sig": base64.b64encode(key.sign(signed)).decode()},
        ],
    }
    return written(envelope) + "\n"


def public_key():
    return Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()


def key_id():
    return hashlib.sha256(DER_HEAD + public_key()).hexdigest()


def main():
    sys.path.insert(0, str(ROOT))
    from nbgov.core.custody import write_statement
    from tests.core.lineages import AT, proved, recorded, whole

    known, lines = recorded(whole())
    payload = write_statement(known, lines, made_at=AT, maker="nbgov 0", proofs=proved(lines))
    statement = json.loads(payload)
    good = written(statement)
    assert good.encode() == payload
    check_proofs(statement["predicate"]["audit"])
    versions = statement["predicate"]["lineage"]["versions"]
    assert all(version_id(facts) == key for key, facts in versions.items())

    def changed(edit):
        other = json.loads(good)
        edit(other)
        return written(other)

    def drop_vote(other):
        other["predicate"]["audit"]["entries"].pop(0)

    def add_row(other):
        facts = next(iter(other["predicate"]["lineage"]["versions"].values()))
        facts["rows"] += 1

    def swap_proofs(other):
        one, two, *_ = other["predicate"]["audit"]["entries"]
        one["proof"], two["proof"] = two["proof"], one["proof"]

    def drop_proofs(other):
        other["predicate"]["audit"]["checkpoint"] = None
        for entry in other["predicate"]["audit"]["entries"]:
            entry["proof"] = None

    statements = [
        {"name": "whole", "payload": good, "fails": []},
        {"name": "a row more", "payload": changed(add_row), "fails": ["versions"]},
        {"name": "a vote without its entry", "payload": changed(drop_vote), "fails": ["approvals"]},
        {
            "name": "two proofs changed over",
            "payload": changed(swap_proofs),
            "fails": ["inclusion proofs"],
        },
        {"name": "without proofs", "payload": changed(drop_proofs), "fails": []},
        {"name": "white space", "payload": json.dumps(statement), "fails": ["statement"]},
    ]
    VECTORS.write_text(
        json.dumps(
            {
                "key": {
                    "seed": SEED.hex(),
                    "public": public_key().hex(),
                    "keyid": key_id(),
                },
                "files": {
                    "files": {name: content.hex() for name, content in FILES.items()},
                    "digest": files_digest(FILES),
                },
                "statements": statements,
                "bundle": bundle(good.encode()),
            },
            indent=1,
            ensure_ascii=False,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
