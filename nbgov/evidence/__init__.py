"""What the audit log shows, and to whom: search, proofs, exports, reports, bundles.

Nothing here writes an entry of its own accord; what a log is and how one is written is the business
of :mod:`nbgov.core.audit` and of the backends.
"""
