"""A table, its versions and runs, and how to compare them: for the tests of drift."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json

import numpy as np
import pyarrow as pa

from nbgov.core.drift import Profiler, compare
from nbgov.core.fingerprint import Fingerprinter
from nbgov.model import DatasetVersion, DriftTerms, Run, RunInput

NAME = "warehouse.main.flights"
ROWS = 4_000
READ = {}


@functools.cache
def flights(seed=1, rows=ROWS):
    """A table much like flights, all columns drawn anew from the seed."""
    chance = np.random.default_rng(seed)
    delay = np.round(chance.gamma(2, 12, rows) - 12)
    made = {
        "dep_delay": pa.array(delay, pa.int64(), mask=chance.random(rows) < 0.03),
        "air_time": pa.array(np.round(chance.lognormal(4.8, 0.5, rows), 1)),
        "distance": pa.array(chance.integers(80, 5_000, rows)),
        "carrier": pa.array(chance.choice(["UA", "B6", "EV", "DL", "AA"], rows)),
        "tailnum": pa.array([f"N{n:05d}" for n in chance.integers(0, 4_000, rows)], pa.string()),
        "night": pa.array(chance.random(rows) < 0.2),
    }
    return pa.table(made)


def described(table, sensitivity):
    """Fingerprint and profile of a table; each table is read once."""
    key = (id(table), None if sensitivity is None else tuple(sorted(sensitivity.items())))
    if key not in READ:
        fingerprinter = Fingerprinter(table.schema)
        for batch in table.combine_chunks().to_batches(1_000):
            fingerprinter.update(batch)
        # The table is kept, so that nothing else gets its id.
        READ[key] = table, fingerprinter.finish(), json.dumps(profile(table, sensitivity))
    return READ[key][1:]


def profile(table, sensitivity=None, batch_rows=1_000):
    level = dict.fromkeys(table.column_names, "open") if sensitivity is None else sensitivity
    profiler = Profiler(level, table.schema)
    for batch in table.combine_chunks().to_batches(batch_rows):
        profiler.update(batch)
    return profiler.finish()


def version(table, *, sensitivity=None, **facts):
    """A dataset version of the table; its id follows from content and facts, as in the store."""
    found, figures = described(table, sensitivity)
    made = {
        "content_id": found.content_id,
        "schema_id": found.schema_id,
        "name": NAME,
        "connection": "warehouse",
        "dialect": "duckdb",
        "tables": ("main.flights",),
        "statement": "SELECT * FROM flights WHERE month = :month",
        "statement_mac": "5a",
        "binds_mac": "b1",
        "binds": ("month: int",),
        "policy": "3f9c1e" * 10,
        "rows": found.rows,
        "columns": found.columns,
        "masked": {},
        "profile": json.loads(figures),
    } | facts
    identity = repr({name: fact for name, fact in made.items() if name != "profile"})
    return DatasetVersion(version_id=hashlib.sha256(identity.encode()).hexdigest()[:32], **made)


def run(name, *versions, **facts):
    bound = [
        one
        if isinstance(one, RunInput)
        else RunInput(one.name, one.version_id, "training", "autolog")
        for one in versions
    ]
    return Run(name, name, tuple(bound), facts.pop("params", {}), facts.pop("metrics", {}), **facts)


def report(before, after, before_facts=None, after_facts=None, terms=None):
    """Compare two lists of versions, or two versions."""
    lists = [one if isinstance(one, list) else [one] for one in (before, after)]
    runs = [
        run(name, *versions, **(facts or {}))
        for name, versions, facts in zip(
            ("winter", "summer"), lists, (before_facts, after_facts), strict=True
        )
    ]
    kept = {one.version_id: one for one in itertools.chain(*lists)}
    return compare(*runs, kept, terms=terms or DriftTerms())


def report_tables(before, after, **options):
    return report(version(before, **options), version(after, **options))


def alarms(found):
    """(kind, subject) of causes of the data that are more than remarks."""
    return {(one.kind, one.subject) for one in found.causes if one.effect > 0}


def cause(found, kind, subject=None):
    [one] = [c for c in found.causes if c.kind == kind and subject in {None, c.subject}]
    return one


def with_column(table, name, values):
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, values)


def bound(one, **facts):
    """A version as an input, with more known of it."""
    return RunInput(one.name, one.version_id, "training", "autolog", **facts)


def report_bound(before, after, before_facts=None, after_facts=None, terms=None, runs=None):
    """Compare two versions with facts about their inputs, and facts about both runs."""
    sides = [
        run(name, bound(one, **(facts or {})), **(runs or {}))
        for name, one, facts in (("winter", before, before_facts), ("summer", after, after_facts))
    ]
    kept = {one.version_id: one for one in (before, after)}
    return compare(*sides, kept, terms=terms or DriftTerms())
