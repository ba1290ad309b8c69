"""What a result is: one id for the same rows, whatever engine, order, batches or types carry them.

A fingerprint is a sum, so it folds over batches and merges over partitions. It finds change; it
stops no attacker, and it knows nothing of SQL, policy or time. The norm is
``docs/spec/fingerprint.md``, a second implementation is ``tests/reference/fingerprint.py``, and the
cases are in ``tests/vectors/fingerprint.json``.
"""

from nbgov.core.fingerprint.cells import cell_hashes
from nbgov.core.fingerprint.fold import Fingerprint, Fingerprinter

__all__ = ["Fingerprint", "Fingerprinter", "cell_hashes"]
