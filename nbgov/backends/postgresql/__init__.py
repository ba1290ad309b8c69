"""PostgreSQL as an engine, over the ADBC driver (``pip install nbgov[postgres]``).

Every statement is prepared, so the server takes one and no more. A read runs in a transaction that
was made read-only before it could see a row, which no text can undo, and that always ends in a
rollback. Rows arrive as Arrow through ``COPY``, or through a cursor where values are bound. Nothing
here knows policy or masks. Cases: ``tests/backends/test_engine.py``.
"""

from nbgov.backends.postgresql.engine import offline, open_engine
from nbgov.backends.postgresql.transaction import render_markers

__all__ = ["offline", "open_engine", "render_markers"]
