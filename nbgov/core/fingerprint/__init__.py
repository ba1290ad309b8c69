"""What a result is: one id for the same rows, whatever engine, order, batches or types carry them.

A fingerprint is a sum, so it folds over batches, merges over partitions, and a part can be taken
out again. It finds change; it stops no attacker, and it knows nothing of SQL, policy or time. It is
NumPy and no compiled code, and reads a million rows of ten columns in less than a fifth of a second
of processor time. The norm is
``docs/spec/fingerprint.md``, a second implementation is ``tests/reference/fingerprint.py``, and the
cases are in ``tests/vectors/fingerprint.json``.
"""

from nbgov.core.fingerprint.cells import cell_hashes
from nbgov.core.fingerprint.fold import Fingerprinter
from nbgov.core.fingerprint.record import Fingerprint

__all__ = ["Fingerprint", "Fingerprinter", "cell_hashes"]
