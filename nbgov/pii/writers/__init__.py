"""Write masked copies, one module for each format: all but what is masked stays as it was."""

from nbgov.pii.writers.delimited import write_csv
from nbgov.pii.writers.lines import write_lines
from nbgov.pii.writers.tables import write_table

__all__ = ["write_csv", "write_lines", "write_table"]
