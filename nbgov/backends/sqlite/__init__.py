"""SQLite: a source of data (``engine``), and the store of approvals and datasets (``stores``).

The two share nothing but the product, so neither is loaded with the other.
"""
