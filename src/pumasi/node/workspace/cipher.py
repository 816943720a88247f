"""The encrypted file of a workspace: DuckDB with AES-256-GCM, spill files encrypted too, nothing installed, nothing fetched.

The key is handed over as a bound value, because DuckDB quotes SQL text in messages. The extension that brings OpenSSL's AES is
loaded by path from its package; DuckDB checks its signature.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from pumasi.kernel.errors import NotFound, PumasiError, Tampered

FILE = "data.duckdb"
_PER_THREAD_MB = 125  # what DuckDB's guide asks for
ALGORITHM = "AES-256-GCM (DuckDB 1.5), key HKDF-SHA-256 from two custodians' shares"


@contextmanager
def writing(path: Path, key: bytes, *, spill: Path, memory_mb: int | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A new encrypted database as `w` in a connection that may read files; what does not fit in memory is spilt encrypted to `spill`."""
    with _connect(str(spill)) as connection:
        connection.execute(f"LOAD '{_quoted(_extension())}'")
        connection.execute("SET temp_file_encryption = true")  # spill files are plaintext by default
        if memory_mb is not None:
            connection.execute(f"SET memory_limit = '{memory_mb:d}MiB'")
            connection.execute(f"SET threads = {max(1, min(os.cpu_count() or 1, memory_mb // _PER_THREAD_MB)):d}")
        connection.execute(f"ATTACH '{_quoted(path)}' AS w (ENCRYPTION_KEY ?, ENCRYPTION_CIPHER 'GCM')", [key.hex()])
        yield connection
        connection.execute("DETACH w")  # writes what is still in the (encrypted) log into the file


@contextmanager
def reading(path: Path, key: bytes) -> Iterator[duckdb.DuckDBPyConnection]:
    """The encrypted database as `w`, read-only, in a connection that can open nothing else. `Tampered` when key and bytes do not fit."""
    if not path.is_file():
        raise NotFound(f"there is no workspace at {path.parent}; it was never opened, or it is destroyed")
    try:
        with _connect("") as connection:  # never a spill file: reading needs no more memory than the columns asked for
            connection.execute(f"ATTACH '{_quoted(path)}' AS w (READ_ONLY, ENCRYPTION_KEY ?, ENCRYPTION_CIPHER 'GCM')", [key.hex()])
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
    except duckdb.OutOfMemoryException:
        raise PumasiError(
            f"the workspace at {path.parent} does not fit in the node's memory; give it more, or ask for fewer columns"
        ) from None
    except duckdb.Error:
        raise Tampered(f"the workspace at {path.parent} cannot be opened: the key is not its key, or its bytes were changed") from None


def _connect(spill: str) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": spill,
    }
    return duckdb.connect(":memory:", config=settings)


def _extension() -> Path:
    """Where the package duckdb-extension-httpfs keeps the extension for this DuckDB."""
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    if found is None or found.origin is None:
        raise PumasiError("the package duckdb-extension-httpfs is not installed; without it no workspace can be encrypted (pumasi[node])")
    path = Path(found.origin).parent / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    if not path.is_file():
        raise PumasiError(f"duckdb-extension-httpfs does not fit DuckDB {duckdb.__version__}; install the version of the same number")
    return path


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("'", "''")
