"""Files as handles, and the engine that reads them.

A file is opened once, so that what was checked is what is read, whatever happens to its path meanwhile.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader, BufferedWriter
from pathlib import Path

import duckdb

from pumasi.kernel.errors import Invalid

_FEW = 100_000


class Handle:
    """An open file; `path` is a name for it that DuckDB can open: no wildcard, no quote, and it works for files without a name."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.path = f"/proc/self/fd/{number}"

    def reader(self) -> BufferedReader:
        """The bytes from the start. One reader at a time: they share the position."""
        os.lseek(self._number, 0, os.SEEK_SET)
        return open(self._number, "rb", closefd=False)  # there is no Path to open: the handle is the file

    def writer(self) -> BufferedWriter:
        return open(self._number, "wb", closefd=False)

    def close(self) -> None:
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


def open_file(path: Path, where: str, table: str) -> Handle:
    """A regular, non-empty file, or `Invalid` with what it is instead."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # or a named pipe would make us wait for ever
    except FileNotFoundError:
        raise Invalid(f"{where}: there is no such file; put it there, or leave the table '{table}' out of this hospital's data") from None
    except OSError as error:
        raise Invalid(
            f"{where}: the file cannot be opened ({os.strerror(error.errno or 0).lower()}); give the node the right to read it"
        ) from None
    handle, found = Handle(number), os.fstat(number)
    reason = None
    if stat.S_ISDIR(found.st_mode):
        reason = "this is a folder; name the CSV or Parquet file itself"
    elif not stat.S_ISREG(found.st_mode):
        reason = "this is not a regular file; name a CSV or Parquet file"
    elif found.st_size == 0:
        reason = "the file is empty; export the table again"
    if reason is not None:
        handle.close()
        raise Invalid(f"{where}: {reason}")
    return handle


def memory_file(name: str, where: str) -> Handle:
    """A file without a name that lies in memory alone, for plaintext that no disk may see (it can reach the swap, as all memory can)."""
    if not hasattr(os, "memfd_create"):
        raise Invalid(f"{where}: only Linux can convert a file without writing it to the disk; save it as UTF-8 yourself")
    return Handle(os.memfd_create(name, os.MFD_CLOEXEC))


def connect() -> duckdb.DuckDBPyConnection:
    """DuckDB in memory that installs nothing and writes nothing to the disk: short of memory it fails rather than spills."""
    return duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": False, "autoload_known_extensions": False, "temp_directory": ""}
    )


def plan_for(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Spare a small table what is planned for large ones: each list of words for what is missing becomes a join, and 32 columns of
    95 rows took 0.3 s to plan and 0.02 s to read."""
    if rows < _FEW:
        connection.execute("SET disabled_optimizers = 'in_clause'")
