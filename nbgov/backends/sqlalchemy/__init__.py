"""Every other database as an engine, by its SQLAlchemy URL.

What holds here is what SQLAlchemy and the driver give: rows are fetched in parts and made into
Arrow. A read is read-only where the dialect has a statement for it, and is rolled back in any case.
MySQL and MariaDB let DDL through even so, and commit it: the account should be one that may only
read. Nothing here knows policy or masks. Cases: ``tests/backends/test_engine.py``.
"""

from nbgov.backends.sqlalchemy.engine import offline, open_engine
from nbgov.backends.sqlalchemy.transaction import render_markers

__all__ = ["offline", "open_engine", "render_markers"]
