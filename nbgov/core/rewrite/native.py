"""The masked views of native mode: where they are, and which one stands for a table."""

from __future__ import annotations

from nbgov.model import TableName

SCHEMA = "nbgov"


def is_home(held: str, schema: str) -> bool:
    """Whether a schema holds the views, or would in the eyes of :func:`repoint`."""
    return held == schema or held.startswith(f"{schema}_")


def repoint(table: TableName, default_schema: str, schema: str = SCHEMA) -> TableName:
    """The masked view that stands for a table.

    Example:
        >>> str(repoint(TableName("public", "people"), "public"))
        'nbgov.people'
        >>> str(repoint(TableName("hr", "people"), "public"))
        'nbgov_hr.people'
    """
    is_default = table.schema == default_schema
    return TableName(schema if is_default else f"{schema}_{table.schema}", table.name)
