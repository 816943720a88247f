"""Measures of risk beside pycanon on the adult data, and a report on ten million rows beside the grouping alone that it cannot do without.

Less is better. pycanon is installed into an environment of its own in a temporary folder and computes the same values in the same run;
its time is that of one call on a table in memory, ours that of reading the groups from a table in memory and computing the measure.
The rows called "report" are the whole of what `pumasi deid risk` does, beside DuckDB counting the same groups of the same file.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from pumasi.deid import engine
from pumasi.deid.reading import Table, read
from pumasi.deid.risk import attributes
from pumasi.deid.risk.classes import Contingency, classes
from pumasi.deid.risk.report import Question, examine, write

ADULT = Path(__file__).parents[2] / "shared" / "data" / "arx-kanonymity" / "data" / "adult.csv"
PYCANON = "pycanon==1.3.6"
QUASI = ("sex", "age", "race", "marital-status", "education", "native-country", "workclass", "salary-class")
SENSITIVE = "occupation"
ROWS = 10_000_000

PEER = """
import json, sys, time
import pandas
from pycanon import anonymity
data = pandas.read_csv(sys.argv[1], sep=";")
quasi, sensitive = sys.argv[2].split(","), [sys.argv[3]]
out = {}
for name, arguments in {
    "k_anonymity": (), "l_diversity": (sensitive,), "t_closeness": (sensitive,),
    "basic_beta_likeness": (sensitive,), "delta_disclosure": (sensitive,),
}.items():
    start = time.perf_counter()
    value = getattr(anonymity, name)(data, quasi, *arguments)
    out[name] = [float(value), time.perf_counter() - start]
print(json.dumps(out))
"""

OURS: dict[str, Callable[[Contingency], float]] = {
    "l_diversity": lambda found: float(attributes.distinct_l(found)),
    "t_closeness": lambda found: float(attributes.t_equal(found).max()),
    "basic_beta_likeness": attributes.beta,
    "delta_disclosure": attributes.delta,
}


def rows() -> list[dict[str, Any]]:
    if not ADULT.is_file():
        raise SystemExit(f"this benchmark reads the adult data, which is not at {ADULT}")
    return [*_beside_pycanon(), *_report()]


def _beside_pycanon() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        peer = _peer(Path(folder))
        table = opened.enter_context(read(ADULT))
        table.connection.execute(f"CREATE TABLE adult AS {table.sql}")
        table = replace(table, sql="SELECT * FROM adult")
        out = [_row("k of adult / pycanon", peer["k_anonymity"], *_best(lambda: float(classes(table, quasi=QUASI).sizes.min())))]
        for name, measure in OURS.items():
            found = _best(lambda measure=measure: measure(_grouped(table)))  # type: ignore[misc]
            out.append(_row(f"{name} of adult / pycanon", peer[name], *found))
        three = [name for name in OURS if name != "l_diversity"]
        _, seconds = _best(lambda: sum(OURS[name](found) for found in [_grouped(table)] for name in three))
        together = sum(peer[name][1] for name in three)
        out.append(
            {
                "case": "t, beta and delta from one grouping / pycanon",
                "ours": seconds,
                "peer": together,
                "unit": "s",
                "ratio": seconds / together,
            }
        )
        return out


def _grouped(table: Table) -> Contingency:
    return classes(table, quasi=QUASI, sensitive=[SENSITIVE]).sensitive[0]


def _peer(folder: Path) -> dict[str, tuple[float, float]]:
    """pycanon's values and seconds, each measure once."""
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "-q", folder / "venv", "--python", sys.executable], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", folder / "venv/bin/python", PYCANON], check=True)
    done = subprocess.run(
        [folder / "venv/bin/python", "-c", PEER, ADULT, ",".join(QUASI), SENSITIVE], check=True, capture_output=True, text=True
    )
    return {name: (value, seconds) for name, (value, seconds) in json.loads(done.stdout).items()}


def _best(work: Callable[[], float], repeat: int = 15) -> tuple[float, float]:
    """The value, and the fastest of a few runs in seconds."""
    times, value = [], 0.0
    for _ in range(repeat):
        start = time.perf_counter()
        value = work()
        times.append(time.perf_counter() - start)
    return value, min(times)


def _row(case: str, peer: tuple[float, float], value: float, seconds: float) -> dict[str, Any]:
    if not math.isclose(peer[0], value, rel_tol=1e-9):
        raise SystemExit(f"{case}: the values differ, {value} here and {peer[0]} there")
    return {"case": f"{case}, equal values", "ours": seconds, "peer": peer[1], "unit": "s", "ratio": seconds / peer[1]}


def _report() -> list[dict[str, Any]]:
    """Adult resampled to ten million rows with ages blurred, as Parquet."""
    quasi, sensitive = QUASI[:-1], (SENSITIVE, "salary-class")
    with tempfile.TemporaryDirectory() as folder, engine.connection() as connection:
        path = Path(folder) / "ten-million.parquet"
        _resampled(path)
        names = ", ".join(engine.name(one) for one in (*quasi, *sensitive))
        counted = f"SELECT count(*) FROM (SELECT {names}, count(*) FROM '{path}' GROUP BY ALL)"
        _, floor = _best(lambda: float((connection.execute(counted).fetchone() or (0,))[0]), 3)

        def measured(*, page: bool) -> float:
            with read(path, connection) as table:
                found = examine(table, None, Question(quasi=quasi, sensitive=sensitive, population=51_000_000, utility=page))
                write(found, html=Path(folder) / "report.html" if page else None, json_file=Path(folder) / "report.json")
            return float(found.last.reidentification.rows)

        out = []
        for case, page in (("measures", False), ("measures and report page", True)):
            _, seconds = _best(lambda page=page: measured(page=page), 2)  # type: ignore[misc]
            out.append(
                {"case": f"{case} of {ROWS:,} rows / counting alone", "ours": seconds, "peer": floor, "unit": "s", "ratio": seconds / floor}
            )
        return out


def _resampled(path: Path) -> None:
    with duckdb.connect() as made:
        made.execute(f"CREATE TABLE a AS SELECT row_number() OVER () - 1 AS i, * FROM read_csv('{ADULT}', delim = ';', all_varchar = true)")
        made.execute(
            f"COPY (SELECT a.* EXCLUDE (i) REPLACE (CAST(CAST(age AS INT) + r.blur - 3 AS VARCHAR) AS age) "
            f"FROM (SELECT CAST(hash(range) % 30162 AS BIGINT) AS i, CAST(hash(range, 1) % 7 AS INT) AS blur FROM range({ROWS})) AS r "
            f"JOIN a USING (i)) TO '{path}' (FORMAT parquet)"
        )
