"""Tables in PostgreSQL, with a real server that is started for the test."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumasi.deid import engine, reading, table
from pumasi.kernel.errors import Invalid, NotFound

BINARIES = [Path(found) for found in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
RULES = (
    'person = ["person_id"]\n[columns]\nperson_id = { do = "pseudonym", of = "person" }\nday = "shift"\n'
    'ward = { do = "only", values = ["A"] }\n'
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a database with a table `patients`."""
    if not BINARIES or importlib.util.find_spec("duckdb_extension_postgres_scanner") is None:
        pytest.skip("needs Debian's postgresql and the extra postgres-tables")
    who = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pumasi-pg-", dir="/tmp"))
    if who:
        shutil.chown(folder, who)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run([BINARIES[0] / "initdb", "-D", folder / "d", "-A", "trust", "-U", "me"], check=True, user=who, **quiet)
    running = subprocess.Popen([BINARIES[0] / "postgres", "-D", folder / "d", "-k", folder, "-h", ""], user=who, **quiet)
    address = f"postgresql://me@/postgres?host={folder}"
    try:
        deadline = time.monotonic() + 30
        while not (folder / ".s.PGSQL.5432").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with engine.connection() as connection:
            engine.load(connection, "postgres_scanner")
            connection.execute(f"ATTACH '{address}' AS p (TYPE postgres)")
            connection.execute(
                "CREATE TABLE p.patients AS SELECT i AS person_id, DATE '2024-03-05' AS day, 'A' AS ward FROM range(500) AS t(i)"
            )
        yield address
    finally:
        running.terminate()
        running.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def test_from_one_table_of_postgresql_to_another(server: str, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    for _ in range(2):  # the second run replaces the first
        done = table.pseudonymise(f"{server}::patients", rules=f"{tmp_path}/rules.toml", out=f"{server}::shown")
    assert done.tables[0].rows == 500
    with reading.read(f"{server}::shown") as found:
        assert (found.types["day"], found.types["ward"], found.rows) == ("DATE", "VARCHAR", 500)
        ids = found.connection.execute(f"SELECT count(DISTINCT person_id), min(length(person_id)) FROM ({found.sql})").fetchone()
    assert ids == (500, 32)


def test_what_is_not_there_is_a_sentence_without_a_password(server: str) -> None:
    with pytest.raises(NotFound, match="no such table"):
        reading.read(f"{server}::nobody")
    with pytest.raises(Invalid) as refused:
        reading.read("postgresql://me:secret@localhost:1/none::patients")
    assert "secret" not in str(refused.value) and "see that the server runs" in str(refused.value)
