"""Attacks on what is kept of a dataset: no raw value of a sensitive column can be read out of it.

Each attack is first run where it works, so that a test that finds nothing has looked at the right
place. What works is said in ``docs/spec/fingerprint.md`` 9 and ``docs/spec/profile.md``.
"""

from __future__ import annotations

import base64
import json

import numpy as np
import pyarrow as pa
import pytest

from nbgov.core.drift.profile import BUCKETS, Profiler
from nbgov.core.drift.quantiles import read_distribution
from nbgov.core.fingerprint import Fingerprinter, cell_hashes
from nbgov.core.fingerprint.mixing import FACTOR_1, FACTOR_2, LANE_A, SEED, WORD_MASK, derive
from tests.reference import fingerprint as reference

KEY = bytes(range(32))
ROWS = 20_000
# Social security numbers, as a person would guess at them.
SSNS = np.random.default_rng(7).integers(10**8, 10**9, ROWS)
MAILS = [f"user{n}@example.com" for n in SSNS.tolist()]
TABLE = pa.table({"ssn": SSNS, "mail": MAILS})
RAW = set(SSNS.tolist())


def unshift(word, shift):
    """The word that ``word ^ (word >> shift)`` came from."""
    found = word
    for _ in range(64 // shift):
        found = word ^ (found >> shift)
    return found


def unmix(word):
    """The inverse of the fingerprint's mixing: it is one step after the other, backwards."""
    word = unshift(word, 31) * pow(int(FACTOR_2), -1, 2**64) & WORD_MASK
    word = unshift(word, 27) * pow(int(FACTOR_1), -1, 2**64) & WORD_MASK
    return unshift(word, 30)


def integer_behind(hashed):
    """The integer that a cell hash is of."""
    return unmix(hashed) - int(SEED) & WORD_MASK


def profile(table, level, key=b""):
    profiler = Profiler(dict.fromkeys(table.column_names, level), table.schema, key=key)
    for batch in table.to_batches(4_000):
        profiler.update(batch)
    return profiler


def fold(table):
    fingerprinter = Fingerprinter(table.schema)
    for batch in table.to_batches():
        fingerprinter.update(batch)
    return fingerprinter


def words_of(value):
    """Every number and text at the leaves of a JSON value, whatever its keys."""
    if isinstance(value, dict):
        return [word for part in value.values() for word in words_of(part)]
    if isinstance(value, list):
        return [word for part in value for word in words_of(part)]
    return [value]


def candidates(told):
    """All that somebody could take for a cell hash in what is told, also in base64 and hex."""
    found = set()
    for word in words_of(told):
        if isinstance(word, int):
            found.add(word)
        if not isinstance(word, str):
            continue
        for decode in (base64.b64decode, bytes.fromhex):
            try:
                data = decode(word)
            except ValueError:
                continue
            for start in range(len(data) - 7):
                found |= {
                    int.from_bytes(data[start : start + 8], order) for order in ("little", "big")
                }
    return found


# ---- inverting hashes


def test_hashes_of_integers_invert():
    """The attack works on hashes: each of a thousand kept hashes gives back a raw value."""
    hashes = np.unique(cell_hashes(TABLE["ssn"].chunk(0)))[:1_000].tolist()
    assert {integer_behind(one) for one in hashes} <= RAW
    # A state on its way between processes holds such hashes, so it is never kept.
    state = profile(TABLE, "pii").state()["columns"][0]
    assert len({integer_behind(one) for one in candidates(state)} & RAW) >= 1_000


@pytest.mark.parametrize("key", [b"", KEY], ids=["unkeyed", "keyed"])
def test_no_hash_is_in_a_pii_profile(key):
    """Nothing that a pii profile tells is a raw value, or a hash that inverts to one."""
    told = profile(TABLE, "pii", key).finish()
    assert not RAW & {integer_behind(one) for one in candidates(told)}
    assert not RAW & set(words_of(told))
    text = json.dumps(told)
    assert not [mail for mail in MAILS if mail in text]


def test_a_keyed_state_does_not_invert():
    """With a key even a state in transit holds no hash that inverts without it."""
    state = profile(TABLE, "pii", KEY).state()
    assert not RAW & {integer_behind(one) for one in candidates(state)}


def test_quantiles_are_raw_values_and_pii_has_none():
    """A quantile sketch holds raw values, so a pii profile has no sketch, bound or moment."""
    small = pa.table({"age": pa.array(np.arange(400))})
    [opened] = profile(small, "open").finish()["columns"]
    assert set(read_distribution(opened["quantiles"]).values) == set(range(400))
    [hidden] = profile(small, "pii").finish()["columns"]
    kept = {"min", "max", "mean", "sd", "kurtosis", "quantiles", "labels", "heavy", "infinite"}
    assert not kept & set(hidden)


# ---- inverting digests


def test_a_digest_of_one_value_inverts():
    """The digest of a column that holds one value is that value, however many rows there are."""
    for rows in (1, 25, 1_001):
        found = fold(pa.table({"ssn": np.full(rows, 123_456_789)})).finish()
        [(_, _, digest, nonnull)] = found.columns
        assert integer_behind(int(digest, 16) * pow(nonnull, -1, 2**64) & WORD_MASK) == 123_456_789


def test_lanes_of_one_row_invert():
    """So is lane A of one row of one column; a version therefore keeps the id and no lanes."""
    found = fold(pa.table({"ssn": [123_456_789]})).finish()
    a = unmix(int(found.content[:16], 16)) - int(LANE_A) & WORD_MASK
    factor = derive("column", "ssn")[0] | 1
    assert integer_behind(a * pow(factor, -1, 2**64) & WORD_MASK) == 123_456_789
    assert found.content not in found.content_id


@pytest.mark.parametrize("rows", [1, 25, 1_001])
def test_a_veiled_or_keyed_digest_does_not(rows):
    """Under a key the same attacks find nothing, and no guess can be tested without the key."""
    table = pa.table({"ssn": np.full(rows, 123_456_789), "open": np.arange(rows)})
    whole = fold(table)
    guesses = [fold(table).finish(key=bytes([n]) * 32) for n in range(3)] + [fold(table).finish()]
    for told in (whole.finish(key=KEY), whole.finish().veiled({"ssn"}, key=KEY)):
        digest, nonnull = next(c[2:] for c in told.columns if c[0] == "ssn")
        word = int(digest, 16)
        tries = [word * pow(n, -1, 2**64) & WORD_MASK for n in (1, nonnull) if n % 2]
        assert 123_456_789 not in {integer_behind(one) for one in tries}
        assert digest not in {one.columns[0][2] for one in guesses}
    assert whole.finish(key=KEY).content_id not in {one.content_id for one in guesses}
    assert whole.finish(key=KEY).order not in {one.order for one in guesses}


# ---- guessing against buckets


def buckets_of(values, key=b""):
    return profile(pa.table({"x": values}), "pii", key).finish()["columns"][0]["buckets"]


def bucket(value):
    """The bucket that somebody without a key takes a text to be in."""
    return reference.cell_hash({"text": value}) >> 58


def test_rare_values_are_in_no_bucket():
    """Whoever fewer than 20 rows are about cannot be told from somebody else by the buckets."""
    crowd = ["nobody"] * 500
    told = [buckets_of([*crowd, *[person] * 19]) for person in ("ada", "bob", "eve")]
    alone = [bucket(person) != bucket("nobody") for person in ("ada", "bob", "eve")]
    assert all(alone)
    assert told[0] == told[1] == told[2]


def test_labels_behind_unkeyed_buckets_can_be_guessed_and_behind_keyed_ones_not():
    """Without a key the bucket of a guessed label shows; with one it is chance."""
    labels = ["positive", "healthy", "unclear"]
    values = np.repeat(labels, [700, 250, 50]).tolist()
    open_counts = buckets_of(values)
    assert [open_counts[bucket(label)] for label in labels] == [700, 250, 50]
    hits = 0
    for n in range(200):
        counts = buckets_of(values[:750], key=bytes([n]) * 32)
        hits += counts[bucket("positive")] == 700
    # One bucket in 64 is right by chance, in 200 keys about three.
    assert hits < 200 / BUCKETS * 4


def test_counts_of_few_rows_tell_nothing():
    """Two profiles of nineteen rows each differ in nothing, whoever is in them."""
    people = [[f"{name}{n}@example.com" for n in range(19)] for name in ("ann", "bob")]
    told = [profile(pa.table({"mail": one}), "pii").finish() for one in people]
    assert told[0] == told[1]


# ---- internal columns


def test_an_internal_column_names_nobody_rare():
    """No label that fewer than 20 rows have is in an internal profile, heavy ones included."""
    labels = ["team"] * 40 + MAILS[:300]
    text = json.dumps(profile(pa.table({"x": labels}), "internal").finish())
    assert '"team"' in text
    assert not [mail for mail in MAILS[:300] if mail in text]
