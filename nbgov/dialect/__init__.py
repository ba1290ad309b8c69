"""``nbgov://CONNECTION``: a governed connection as a DBAPI and an SQLAlchemy dialect."""
