"""`pumasi deid anonymize`: what it writes, what it refuses, and that nothing is left half-written."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy.stats import poisson

from pumasi.deid import hierarchy
from pumasi.deid.anonymize import anytime, command, config, models
from pumasi.deid.anonymize.lattice import Combinations, Grouping
from pumasi.deid.anonymize.metrics import ClassSize, Factors, Loss
from pumasi.deid.anonymize.models import AtLeast, Model
from pumasi.deid.anonymize.search import Search
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Refused

AGES = "".join(f"{age};{age // 10 * 10}-{age // 10 * 10 + 9};*\n" for age in range(20, 60))
SEXES = "F;*\nM;*\n"
ROWS = [(f"{20 + 7 * number % 40}", "FM"[number % 2], "ABC"[number % 3], f"note {number}") for number in range(60)]
CONFIG = """
suppression = 0.1
[quasi.age]
hierarchy = "age.csv"
[quasi.sex]
hierarchy = "sex.csv"
[sensitive.illness]
[model]
k = 3
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "age.csv").write_text(AGES, encoding="utf-8")
    (tmp_path / "sex.csv").write_text(SEXES, encoding="utf-8")
    (tmp_path / "in.csv").write_text(_csv(ROWS), encoding="utf-8")
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def _csv(rows: list[tuple[str, ...]], header: str = "age,sex,illness,note") -> str:
    return "".join(f"{line}\n" for line in [header, *(",".join(row) for row in rows)])


def _run(place: Path, said: str = CONFIG, *, out: str = "out.csv") -> command.Outcome:
    (place / "config.toml").write_text(said, encoding="utf-8")
    return command.run(str(place / "in.csv"), place / "config.toml", str(place / out), json_file=place / "out.json")


def _read(path: Path) -> list[tuple[str, ...]]:
    return duckdb.sql(f"SELECT * FROM read_csv('{path}', all_varchar = true, header = true)").fetchall()


def _refused(place: Path, said: str = CONFIG) -> str:
    """What a run that fails says; it leaves nothing behind, and quotes no value."""
    before = {path.name for path in place.iterdir()}
    with pytest.raises(PumasiError) as told:
        _run(place, said)
    assert {path.name for path in place.iterdir()} == before
    assert "note 1" not in str(told.value)
    return str(told.value)


def test_rows_are_written_in_order_with_one_label_for_every_value(place: Path) -> None:
    found = _run(place)
    rows = _read(place / "out.csv")
    assert len(rows) == len(ROWS)
    assert [row[2] for row in rows] == [row[2] for row in ROWS]
    assert min(Counter(row[:2] for row in rows if row[0] != "*" or row[1] != "*").values()) >= 3
    assert found.optimal and found.bound == found.information_loss


def test_the_fixed_keys_are_in_the_json(place: Path) -> None:
    found = _run(place)
    said = json.loads((place / "out.json").read_text(encoding="utf-8"))
    assert {"transformation", "information_loss", "suppressed", "classes", "optimal", "bound", "seconds"} <= said.keys()
    assert said["transformation"] == {"age": found.transformation["age"], "sex": found.transformation["sex"]}
    assert said["suppressed"] == found.suppressed


def test_a_column_that_nobody_named_is_left_out_and_one_to_keep_stays(place: Path) -> None:
    assert _run(place).dropped == ("note",)
    assert len(_read(place / "out.csv")[0]) == 3
    assert _run(place, 'keep = ["note"]\n' + CONFIG).dropped == ()
    assert [row[3] for row in _read(place / "out.csv")] == [row[3] for row in ROWS]


def test_a_suppressed_row_is_stars_in_the_quasi_columns_and_keeps_the_others(place: Path) -> None:
    rows = [("20", "F", "A", "x")] * 20 + [("59", "M", "C", "alone")] + [("31", "M", "B", "x")] * 20
    (place / "in.csv").write_text(_csv(rows), encoding="utf-8")
    assert _run(place).suppressed == 1
    assert _read(place / "out.csv") == [("20", "F", "A")] * 20 + [("*", "*", "C")] + [("31", "M", "B")] * 20


def test_suppression_and_metric_may_stand_below_the_model(place: Path) -> None:
    below = CONFIG.replace("suppression = 0.1\n", "") + 'suppression = 0.1\nmetric = "aecs"\n'
    assert _run(place, below).information_loss == _run(place, 'metric = "aecs"\n' + CONFIG).information_loss


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_parquet_with_typed_columns_is_the_same_table(place: Path, suffix: str) -> None:
    duckdb.sql(f"COPY (SELECT * FROM read_csv('{place / 'in.csv'}')) TO '{place / 'in.parquet'}'")
    wanted = _run(place)
    found = command.run(str(place / "in.parquet"), place / "config.toml", str(place / f"again{suffix}"))
    assert found.transformation == wanted.transformation
    read = "read_parquet" if suffix == ".parquet" else "read_csv"
    same = f"SELECT * FROM {read}('{place / f'again{suffix}'}') EXCEPT SELECT * FROM read_csv('{place / 'out.csv'}')"
    assert duckdb.sql(same).fetchall() == []


def test_a_korean_table_in_cp949_with_semicolons(place: Path) -> None:
    (place / "in.csv").write_bytes(
        "나이;성별;병\n".encode("cp949") + b"".join(f"{20 + n % 4};{'여남'[n % 2]};가\n".encode("cp949") for n in range(40))
    )
    (place / "sex.csv").write_bytes("여;*\n남;*\n".encode("cp949"))
    said = CONFIG.replace("quasi.age", 'quasi."나이"').replace("quasi.sex", 'quasi."성별"').replace("sensitive.illness", 'sensitive."병"')
    assert _run(place, said).information_loss == 0
    assert (place / "out.csv").read_text(encoding="utf-8").splitlines()[:2] == ["나이;성별;병", "20;여;가"]


def test_an_empty_cell_is_a_value_that_needs_a_line(place: Path) -> None:
    (place / "in.csv").write_text(_csv([("", "F", "A", "x"), *ROWS]), encoding="utf-8")
    assert "an empty cell among them; the first is in row 1 " in _refused(place)
    (place / "age.csv").write_text(AGES + ";unknown;*\n", encoding="utf-8")
    assert _run(place).rows == 61


BAD_HIERARCHIES = {
    "no line for 1 of the values that occur; the first is in row 9": AGES.replace("36;30-39;*\n", ""),
    "a label at level 1 has two parents at level 2 (lines 1 and 2)": AGES.replace("21;20-29;*", "21;20-29;others"),
    "lines 1 and 2 are for the same value": AGES.replace("21;20-29;*", "20;20-29;*"),
    "line 3 has 2 columns and line 1 has 3": AGES.replace("22;20-29;*", "22;20-29"),
    "the file is empty": "",
}


@pytest.mark.parametrize("separator", [";", ",", "\t", "|", "/"])
def test_the_separator_of_a_hierarchy_is_found(place: Path, separator: str) -> None:
    (place / "age.csv").write_text(AGES.replace(";", separator).replace("20-29", '"20-29"'), encoding="utf-8")
    found = hierarchy.read(place / "age.csv", "age", separator="/")
    assert found.labels == hierarchy.of_rows("age", [line.split(";") for line in AGES.splitlines()]).labels


@pytest.mark.parametrize("what", BAD_HIERARCHIES)
def test_a_hierarchy_that_is_none_is_named_with_the_line(place: Path, what: str) -> None:
    (place / "age.csv").write_text(BAD_HIERARCHIES[what], encoding="utf-8")
    told = _refused(place)
    assert what in told and "'age'" in told


BAD_CONFIGS = {
    "'model.k': it must be a whole number of at least 1": ("k = 3", "k = -3"),
    "'suppression': it must be a fraction from 0 to 1": ("suppression = 0.1", "suppression = 4"),
    "'model.m': there is no such key": ("k = 3", "m = 3"),
    "'metric': it must be one of loss, entropy": ("suppression = 0.1", 'suppression = 0.1\nmetric = "los"'),
    "there is no file": ("age.csv", "ages.csv"),
    "there is no column 'years'": ("quasi.age", "quasi.years"),
    "'sex': the column is named more than once": ("sensitive.illness", "sensitive.sex"),
    "'model.l.l': it must be a whole number": ("k = 3", "l = {kind = 'distinct', l = 2.5}"),
    "'model.l.column': it is none of the sensitive columns": ("k = 3", "l = {l = 2, column = 'age'}"),
    "needs a hierarchy under [sensitive.illness]": ("k = 3", "t = {distance = 'hierarchical', t = 0.2}"),
    "min is above max": ("k = 3", "delta_presence = {min = 0.5, max = 0.2, population = 'in.csv'}"),
    "'model': ask for at least one privacy model": ("k = 3", ""),
    "'quasi.age.weight': it must be a number of at least 0": ('"age.csv"', '"age.csv"\nweight = -1'),
    "knows no columns, so no weights": (
        '"age.csv"',
        '"age.csv"\nweight = 2\n[model2]',
    ),
    "is not valid TOML": ("[model]", "[model"),
}


@pytest.mark.parametrize("what", [one for one in BAD_CONFIGS if "weights" not in one])
def test_a_wrong_configuration_is_told_by_its_key(place: Path, what: str) -> None:
    assert what in _refused(place, CONFIG.replace(*BAD_CONFIGS[what]))


def test_every_mistake_is_told_at_once(place: Path) -> None:
    (place / "config.toml").write_text(CONFIG.replace("k = 3", "k = 0\nx = 1").replace("0.1", "-1"), encoding="utf-8")
    with pytest.raises(Invalid) as told:
        config.read(place / "config.toml")
    assert len(told.value.reasons) == 3


def test_weights_need_a_metric_with_columns(place: Path) -> None:
    assert "no weights" in _refused(place, 'metric = "aecs"\n' + CONFIG.replace('"age.csv"', '"age.csv"\nweight = 2'))


def test_a_table_that_would_be_suppressed_wholly_is_refused(place: Path) -> None:
    with pytest.raises(Refused, match="no generalisation holds the models"):
        _run(place, CONFIG.replace("k = 3", "k = 61").replace("0.1", "1.0"))
    assert not (place / "out.csv").exists()


@pytest.mark.parametrize("content", ["", "age,sex,illness,note\n", "age,age,sex,illness\n1,2,F,A\n"])
def test_a_table_without_rows_or_with_a_column_twice_is_refused(place: Path, content: str) -> None:
    (place / "in.csv").write_text(content, encoding="utf-8")
    assert "in.csv" in _refused(place)


def test_what_was_written_before_stays_when_a_run_fails(place: Path) -> None:
    _run(place)
    before = (place / "out.csv").read_bytes(), (place / "out.json").read_bytes()
    _refused(place, CONFIG.replace("k = 3", "k = 600"))
    assert ((place / "out.csv").read_bytes(), (place / "out.json").read_bytes()) == before


def test_what_is_read_is_not_written_over(place: Path) -> None:
    for out in ("in.csv", "age.csv", "config.toml", "out.json"):
        with pytest.raises(Invalid):
            _run(place, out=out)
    assert (place / "age.csv").read_text(encoding="utf-8") == AGES
    with pytest.raises(NotFound):
        command.run(str(place / "none.csv"), place / "config.toml", str(place / "out.csv"))


def test_a_process_ends_with_3_when_no_generalisation_holds_and_with_2_for_bad_input(place: Path) -> None:
    call = [sys.executable, "-m", "pumasi.cli", "deid", "anonymize", "in.csv", "--config", "config.toml", "--out", "out.csv"]
    for said, code in ((CONFIG, 0), (CONFIG.replace("k = 3", "k = 600"), 3), (CONFIG.replace("k = 3", "k = -1"), 2)):
        (place / "config.toml").write_text(said, encoding="utf-8")
        done = subprocess.run(call, cwd=place, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "model", ["k = 4", "l = {kind = 'distinct', l = 2}", "t = {distance = 'equal', t = 0.3}", "average_risk = 0.2", "sample_uniqueness = 0"]
)
def test_local_recoding_holds_the_model_and_loses_no_more(place: Path, model: str) -> None:
    said = CONFIG.replace("k = 3", model).replace("0.1", "0")
    whole, local = _run(place, said), _run(place, 'recoding = "local"\n' + said)
    assert local.information_loss <= whole.information_loss + 1e-12
    assert not local.optimal and local.bound is None and local.suppressed == 0
    rows = _read(place / "out.csv")
    classes = [[row[2] for row in rows if row[:2] == key] for key in {row[:2] for row in rows}]
    everywhere = Counter(row[2] for row in rows)
    assert len(classes) == local.classes
    match model[0]:
        case "k" | "a":
            assert min(map(len, classes)) >= 4
        case "l":
            assert all(len(set(one)) >= 2 for one in classes)
        case "t":
            for one in classes:
                assert sum(abs(one.count(v) / len(one) - n / len(rows)) for v, n in everywhere.items()) / 2 <= 0.3 + 1e-9
        case "s":
            assert min(map(len, classes)) > 1


def test_the_order_of_a_sensitive_column_decides_the_ordered_distance(place: Path) -> None:
    rows = [(str(20 + number), "F", "low" if number < 20 else "high" if number < 39 else "middle", "x") for number in range(40)]
    (place / "in.csv").write_text(_csv(rows), encoding="utf-8")
    ordered = CONFIG.replace("k = 3", "t = {distance = 'ordered', t = 0.5}").replace("0.1", "0")
    named = ordered.replace("[sensitive.illness]", '[sensitive.illness]\norder = ["low", "middle", "high"]')
    assert _run(place, ordered).transformation != _run(place, named).transformation
    assert "lacks 1 of the values" in _refused(place, named.replace(', "high"', ""))


def test_k_in_a_population_of_known_size_becomes_a_size_in_the_sample(place: Path) -> None:
    for records, population, k in ((30162, 300_000_000, 3), (1000, 10_000, 40), (500, 600, 10)):
        mean = records / population * k
        plain = int(poisson.ppf(0.99, mean)) + 2
        assert models.sample_k(k, records=records, population=population, significance=0.01, truncated=False) == min(k, plain)
        tail = next(n for n in range(1, 1000) if (poisson.cdf(n, mean) - poisson.pmf(0, mean)) / (1 - poisson.pmf(0, mean)) >= 0.99)
        assert models.sample_k(k, records=records, population=population, significance=0.01, truncated=True) == min(k, tail + 1)
    assert _run(place, CONFIG.replace("k = 3", "k_map = {k = 30, population = 120}")).rows == 60


def test_a_population_holds_the_rows_of_the_table_too(place: Path) -> None:
    (place / "all.csv").write_text(_csv(ROWS[:59]), encoding="utf-8")
    assert "it lacks 1 of the rows" in _refused(place, CONFIG.replace("k = 3", "k_map = {k = 3, population = 'all.csv'}"))
    (place / "all.csv").write_text(_csv([*ROWS, ("20", "F", "", "")]), encoding="utf-8")
    assert _run(place, CONFIG.replace("k = 3", "k_map = {k = 3, population = 'all.csv'}")).rows == 60


def _combinations(seed: int, columns: int, levels: int) -> Combinations:
    chance = np.random.default_rng(seed)
    trees = []
    for column in range(columns):
        rows = [(str(value), *(f"{level}:{value >> level}" for level in range(1, levels)), "*") for value in range(2**levels)]
        trees.append(hierarchy.of_rows(str(column), rows))
    codes = np.unique(chance.integers(0, 2**levels, (600, columns)), axis=0)
    counts = chance.integers(1, 4, len(codes)).astype(np.float64)
    return Combinations(tuple(trees), tuple(codes.T.copy()), counts, np.arange(len(codes)))


@pytest.mark.parametrize("kind", ["loss", "aecs"])
def test_a_lattice_too_large_to_hold_gives_the_optimum_when_time_allows_and_a_bound_when_not(kind: str) -> None:
    some = _combinations(1, 4, 3)
    factors = Factors(0.5)
    metric = (
        Loss(some, [1.0] * 4, factors=factors, monotonic=False) if kind == "loss" else ClassSize(some.records, factors, monotonic=False)
    )
    model = Model((AtLeast(6),), (), some, limit=some.records // 20)
    tops = tuple(height - 1 for height in some.heights)
    wanted = Search(Grouping(some), model, metric, tops).run()
    assert wanted is not None and wanted.optimal
    for largest in (1, 60, 10_000):
        found = anytime.best(Grouping(some), model, metric, some.heights, time_limit=30, largest=largest)
        assert found is not None and found.optimal and math.isclose(found.loss, wanted.loss, rel_tol=1e-12)
    soon = anytime.best(Grouping(some), model, metric, some.heights, time_limit=1e-6, largest=1)
    assert soon is not None and not soon.optimal
    assert soon.bound <= wanted.loss <= soon.loss
