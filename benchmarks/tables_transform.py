"""`deid table` beside DuckDB's plain copy of the same CSV file to Parquet in the same run: seconds and peak memory, less is better.

The file has 20 columns as a hospital exports them (ids, names, phones, dates, addresses, codes, measurements); the rules pseudonymise,
shift, generalise, round and drop. `PUMASI_BENCH_PEOPLE=770000` adds the national case, so many people with 100 events each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

ROWS = 10_000_000
PEOPLE = 770_000
RULES = """
person = ["person_id"]
[columns]
person_id = { do = "pseudonym", of = "person" }
visit_date = "shift"
birth_date = { do = "date", to = "year" }
sex = "keep"
zip = { do = "generalise", by = "zip", level = "zip3" }
address = { do = "generalise", by = "kr-address", level = "district" }
dx = { do = "generalise", by = "kcd", level = "category" }
drug = { do = "generalise", by = "atc", level = "pharmacological" }
"lab*" = "keep"
sbp = { do = "round", to = 5 }
dbp = { do = "bucket", width = 10 }
provider = { do = "pseudonym", of = "provider" }
ward = "keep"
kind = "keep"
visit_id = "drop"
name = "drop"
phone = "drop"
"""
EVENTS = """
person = ["person_id"]
[columns]
person_id = { do = "pseudonym", of = "person" }
day = "shift"
code = { do = "generalise", by = "kcd", level = "category" }
dose = "keep"
provider = { do = "pseudonym", of = "provider" }
"""


def rows() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        make(path / "visits.csv", ROWS, PEOPLE)
        found = [_beside(path, "visits.csv", RULES, f"{ROWS:,} rows x 20 columns")]
        found += _memory(path)
        people = int(os.environ.get("PUMASI_BENCH_PEOPLE", "0"))
        if people:
            make_events(path / "events.csv", people, 100)
            found.append(_beside(path, "events.csv", EVENTS, f"{people:,} people x 100 events"))
    return found


def make(path: Path, count: int, people: int) -> None:
    """Visits of people in no order, the same for every run."""
    columns = (
        "'P' || lpad(CAST(who AS VARCHAR), 8, '0') AS person_id, i AS visit_id",
        "DATE '2010-01-01' + CAST(hash(i + 1) % 5000 AS INTEGER) AS visit_date",
        "DATE '1930-01-01' + CAST(hash(who) % 30000 AS INTEGER) AS birth_date",
        "CASE WHEN hash(who + 1) % 2 = 0 THEN 'M' ELSE 'F' END AS sex, '홍길동' AS \"name\"",
        "'010-1234-' || lpad(CAST(i % 10000 AS VARCHAR), 4, '0') AS phone, 10000 + hash(who + 2) % 80000 AS zip",
        "'서울특별시 종로구 세종대로 ' || (who % 300) AS address",
        "'I' || lpad(CAST(hash(i + 3) % 100 AS VARCHAR), 2, '0') || '.' || (i % 10) AS dx, 'C09AA0' || (i % 9) AS drug",
        *(f"(hash(i + {3 + lab}) % 1000) / 10 AS lab{lab}" for lab in range(1, 5)),
        "hash(i + 8) % 200 AS sbp, hash(i + 9) % 120 AS dbp",
        "'D' || (hash(i + 10) % 500) AS provider, 'W' || (i % 30) AS ward, i % 7 AS kind",
    )
    _write(path, ", ".join(columns), count, people)


def make_events(path: Path, people: int, each: int) -> None:
    """A hundred events of each person, in no order."""
    columns = (
        "'P' || lpad(CAST(who AS VARCHAR), 8, '0') AS person_id",
        "DATE '2010-01-01' + CAST(hash(i + 1) % 5000 AS INTEGER) AS day",
        "'E' || lpad(CAST(hash(i + 3) % 90 AS VARCHAR), 2, '0') || '.' || (i % 10) AS code",
        "(hash(i + 4) % 1000) / 10 AS dose, 'D' || (hash(i + 10) % 5000) AS provider",
    )
    _write(path, ", ".join(columns), people * each, people)


def _write(path: Path, columns: str, count: int, people: int) -> None:
    with duckdb.connect() as made:
        made.execute(f"COPY (SELECT {columns} FROM (SELECT i, hash(i) % {people} AS who FROM range({count}) AS t(i))) TO '{path}' (HEADER)")


def _beside(folder: Path, source: str, rules: str, case: str) -> dict[str, Any]:
    """The better of two runs each, one after the other, so that both meet the same machine."""
    (folder / "rules.toml").write_text(rules, encoding="utf-8")
    ours, peers = [], []
    for _ in range(2):
        peers.append(_timed([sys.executable, "-c", _COPY, source], folder))
        ours.append(_timed(_command(source), folder))
    return {"case": case, "ours": min(ours), "peer": min(peers), "unit": "s (peer: plain copy)", "ratio": min(ours) / min(peers)}


def _memory(folder: Path) -> list[dict[str, Any]]:
    """The peak of the process for all rows beside a quarter of them, with memory bounded to 2 GiB."""
    make(folder / "quarter.csv", ROWS // 4, PEOPLE // 4)
    (folder / "rules.toml").write_text(RULES, encoding="utf-8")
    quarter, whole = (_peak([*_command(source), "--memory-mb", "2048"], folder) for source in ("quarter.csv", "visits.csv"))
    return [
        {"case": "peak memory, 4 times the rows", "ours": whole, "peer": quarter, "unit": "MiB (peer: a quarter)", "ratio": whole / quarter}
    ]


_COPY = "import duckdb, sys; duckdb.sql(f\"COPY (FROM '{sys.argv[1]}') TO 'plain.parquet' (FORMAT parquet)\")"


def _command(source: str) -> list[str]:
    return [sys.executable, "-m", "pumasi.cli", "deid", "table", source, "--rules", "rules.toml", "--out", "treated.parquet"]


def _timed(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _peak(command: list[str], folder: Path) -> float:
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return used.ru_maxrss / 1024
