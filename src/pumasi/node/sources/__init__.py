"""A hospital's own files, read where they lie. The only place that sees original records; only extracts and descriptions import it.

A sentence about a bad file names hospital, table, file, line or column, and what to do: never the value of a cell.
"""

from pumasi.node.sources.table import SourceTable, TableSource, open_source, open_table
from pumasi.node.sources.treated import treated

__all__ = ["SourceTable", "TableSource", "open_source", "open_table", "treated"]
