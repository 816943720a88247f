"""The best generalisation of the adult data beside anjana, and of a million rows like it; less is better.

anjana 1.2.3 raises levels greedily, one column after the other, and proves nothing; we return the optimum. It is installed into a folder
of its own. For the search over a million rows the peer is the aim, 1.5 seconds: no peer that a package registry has comes to an end.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from pumasi.deid.anonymize import command

DATA = Path(__file__).parents[2] / "shared/data/arx-kanonymity/data"
COLUMNS = ("sex", "age", "race", "marital-status", "education", "native-country", "workclass", "occupation", "salary-class")
SWAPPED = ("race", "education", "workclass", "occupation", "native-country")
PEER = "anjana==1.2.3"
AIM = 1.5  # seconds of search over a million rows

Row = dict[str, Any]

_PEER = """
import json, sys, time, warnings
import pandas
from anjana.anonymity import k_anonymity
warnings.filterwarnings("ignore")
said = json.load(open(sys.argv[1]))
data = pandas.read_csv(said["data"], sep=";", dtype=str)
trees = {}
for column in said["columns"]:
    tree = pandas.read_csv(said["trees"][column], sep=";", dtype=str, header=None)
    trees[column] = {level: tree[level].values for level in tree.columns}
start = time.perf_counter()
found = k_anonymity(data, [], said["columns"], said["k"], said["suppression"] * 100, trees)
print(json.dumps({"seconds": time.perf_counter() - start, "rows": len(found)}))
"""


def rows() -> list[Row]:
    if not DATA.is_dir():
        raise SystemExit(f"this benchmark needs the adult data at {DATA}")
    with tempfile.TemporaryDirectory(prefix="pumasi-bench-") as name:
        folder = Path(name)
        adult, many = DATA / "adult.csv", folder / "million.csv"
        _million(many)
        python, copy = _peer(folder), _copied(many, folder)
        found = []
        for k, suppression in ((5, 0.0), (5, 0.04), (10, 0.04)):
            ours = _search(adult, folder, k=k, suppression=suppression)
            peer = _anjana(python, folder, k=k, suppression=suppression)
            found.append(
                _row(f"adult, 30,162 rows, k={k}, {suppression:.0%} suppressed: optimum beside anjana's first", ours.seconds, peer)
            )
        for k, suppression in ((5, 0.0), (5, 0.04), (10, 0.04)):
            ours = _search(many, folder, k=k, suppression=suppression)
            found.append(_row(f"a million rows, k={k}, {suppression:.0%} suppressed: search beside the aim", ours.seconds, AIM))
            found.append(_row("  the whole command beside DuckDB's copy of the same CSV", ours.total_seconds, copy))
        return found


def _row(case: str, ours: float, peer: float) -> Row:
    return {"case": case, "ours": ours, "peer": peer, "unit": "s", "ratio": ours / peer}


def _search(table: Path, folder: Path, *, k: int, suppression: float) -> command.Outcome:
    lines = [f'separator = ";"\nmetric = "loss"\nsuppression = {suppression}']
    lines += [f'[quasi.{column}]\nhierarchy = "{DATA}/adult_hierarchy_{column}.csv"' for column in COLUMNS]
    config = folder / "config.toml"
    config.write_text("\n".join([*lines, f"[model]\nk = {k}"]), encoding="utf-8")
    return command.run(str(table), config, str(folder / "out.csv"))


def _million(path: Path) -> None:
    """Adult rows drawn again: ages shifted by at most 3, in five columns a tenth of the cells taken from another row."""
    chance = random.Random(7)  # noqa: S311 - test data
    with (DATA / "adult.csv").open(encoding="utf-8", newline="") as file:
        header, *adult = csv.reader(file, delimiter=";")
    age, swapped = header.index("age"), [header.index(column) for column in SWAPPED]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(header)
        for row in chance.choices(adult, k=1_000_000):
            made = [*row]
            made[age] = str(min(90, max(17, int(row[age]) + chance.randint(-3, 3))))
            for column in swapped:
                if chance.random() < 0.1:
                    made[column] = chance.choice(adult)[column]
            writer.writerow(made)


def _copied(path: Path, folder: Path) -> float:
    """Seconds that DuckDB takes to read the CSV and write it again as it is."""
    start = time.perf_counter()
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{path}', delim = ';', all_varchar = true)) TO '{folder / 'copy.csv'}' (DELIMITER ';')")
    return time.perf_counter() - start


def _peer(folder: Path) -> Path:
    """A Python of its own with the peer in it."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", str(folder / "peer")], check=True)
    python = folder / "peer/bin/python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), PEER], check=True)
    return python


def _anjana(python: Path, folder: Path, *, k: int, suppression: float) -> float:
    trees = {column: str(DATA / f"adult_hierarchy_{column}.csv") for column in COLUMNS}
    said = {"data": str(DATA / "adult.csv"), "columns": COLUMNS, "trees": trees, "k": k, "suppression": suppression}
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")
    done = subprocess.run([str(python), "-c", _PEER, str(folder / "said.json")], capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])
