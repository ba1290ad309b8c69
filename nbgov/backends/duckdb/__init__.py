"""DuckDB as an engine: a file (or memory, for tests) read and written in this process.

Reads share one connection that stays open read-only: nobody can change the file meanwhile, so that
its catalog is read once. A write opens the file for itself, briefly. Both run sealed: no other
files, no extensions, no settings. Nothing here knows policy or masks.
Cases: ``tests/backends/test_engine.py``.
"""

from nbgov.backends.duckdb.engine import offline, open_engine
from nbgov.backends.duckdb.transaction import render_markers

__all__ = ["offline", "open_engine", "render_markers"]
