"""The chain of custody of a model version: what a signed bundle states, and whether it adds up.

A bundle is an in-toto Statement in a DSSE envelope. Its subject is the model's files; its predicate
holds the lineage and the audit entries that record it. This package makes and examines the
statement, byte by byte; keys, envelopes, files and logs are :mod:`nbgov.lineage.bundles`'s.
The format is ``docs/spec/custody.md``; the vectors are ``tests/vectors/custody.json``.
"""

from nbgov.core.checks import Check
from nbgov.core.custody.examination import examine
from nbgov.core.custody.statement import PAYLOAD_TYPE, Custody, canonical, write_statement

__all__ = ["PAYLOAD_TYPE", "Check", "Custody", "canonical", "examine", "write_statement"]
