"""DuckDB as this package uses it: nothing is installed or fetched, memory is bounded, what does not fit is spilt encrypted and removed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pumasi.kernel.errors import Invalid

_SPILL = ".pumasi-spill-"
Connection = duckdb.DuckDBPyConnection
EXTENSIONS = {"postgres_scanner": "duckdb-extension-postgres-scanner", "httpfs": "duckdb-extension-httpfs"}


@contextmanager
def connection(*, memory_mb: int | None = None, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory for one piece of work. Larger data goes to a folder below `spill` (or the system's), removed at the end."""
    for stale in (spill or Path(tempfile.gettempdir())).glob(f"{_SPILL}*"):
        if not runs(stale.name.removeprefix(_SPILL).partition("-")[0]):  # a run that was killed left it; it is encrypted
            shutil.rmtree(stale, ignore_errors=True)
    made = tempfile.TemporaryDirectory(prefix=f"{_SPILL}{os.getpid()}-", dir=spill, ignore_cleanup_errors=True)
    with made as folder, connect(memory_mb=memory_mb, spill=Path(folder)) as opened:
        yield opened


def connect(*, memory_mb: int | None = None, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A connection that the caller closes; without `spill` it writes nothing to the disk and fails when memory does not suffice.

    Spilt data is encrypted under a key that DuckDB forgets, which needs OpenSSL from the package duckdb-extension-httpfs.
    """
    opened = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": str(spill) if spill else "",
            "preserve_insertion_order": False,
        },
    )
    opened.execute("SET enable_progress_bar = false")
    if spill:
        load(opened, "httpfs")
        opened.execute("SET temp_file_encryption = true")
    if memory_mb is not None:
        opened.execute(f"SET memory_limit = '{memory_mb:d}MiB'")
    return opened


def bound_threads(connection: duckdb.DuckDBPyConnection, most: int) -> None:
    """No more threads than that, and no fewer than one: each takes memory for every column of a query."""
    connection.execute("RESET threads")
    (own,) = connection.execute("SELECT current_setting('threads')").fetchone() or (1,)
    if most < own:
        connection.execute(f"SET threads = {max(1, most)}")


def runs(number: str) -> bool:
    """Whether the process of this number still runs; what is no number is taken for one that does."""
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True


def load(opened: duckdb.DuckDBPyConnection, extension: str) -> None:
    """Load an extension from its package by path; DuckDB checks its signature. `Invalid` names the package that is missing."""
    package = EXTENSIONS[extension]
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or found.origin is None:
        raise Invalid(f"this needs the package {package} of the version {duckdb.__version__}; install it beside pumasi[deid]")
    path = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{extension}.duckdb_extension"
    if not path.is_file():
        raise Invalid(f"the package {package} does not fit DuckDB {duckdb.__version__}; install the version of the same number")
    opened.execute(f"LOAD {literal(str(path))}")


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """A text as an SQL name."""
    return '"' + text.replace('"', '""') + '"'
