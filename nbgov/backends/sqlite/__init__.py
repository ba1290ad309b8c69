"""SQLite: a source of data (``engine``), and the stores of ``approvals`` and ``datasets``.

The two share nothing but the product, so neither is loaded with the other.
"""
