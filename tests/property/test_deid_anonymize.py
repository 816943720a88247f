"""The search against trying every node, for every model and metric, on small tables of any shape."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from pumasi.deid.anonymize import anytime, command
from pumasi.kernel.errors import Refused
from tests.anonymize_oracle import Case, Row, feasible, good, optimum, suppressed

METRICS = ("loss", "entropy", "aecs", "discernibility", "height")


@st.composite
def trees(draw: st.DrawFn, name: str) -> tuple[Row, ...]:
    """A hierarchy: values, then labels that merge those of the level below, at random."""
    values = [f"{name}{number}" for number in range(draw(st.integers(1, 6)))]
    lines, labels = [[value] for value in values], {value: value for value in values}
    for level in range(draw(st.integers(0, 2))):
        merged: dict[str, str] = {}
        for label in dict.fromkeys(labels.values()):
            merged[label] = f"{name}_{level}_{draw(st.integers(0, 2))}"
        labels = {value: merged[label] for value, label in labels.items()}
        for line in lines:
            line.append(labels[line[0]])
    if draw(st.booleans()):
        for line in lines:
            line.append("*")
    return tuple(tuple(line) for line in lines)


MODELS: dict[str, st.SearchStrategy[Any]] = {
    "k": st.integers(1, 6),
    "k_map": st.integers(1, 12),
    "delta_presence": st.tuples(st.sampled_from((0.0, 0.1, 0.3)), st.sampled_from((0.4, 0.5, 0.8, 1.0))),
    "l": st.one_of(
        st.fixed_dictionaries({"kind": st.just("distinct"), "l": st.integers(1, 4)}),
        st.fixed_dictionaries({"kind": st.just("entropy"), "l": st.sampled_from((1.2, 1.5, 2, 2.5))}),
        st.fixed_dictionaries({"kind": st.just("recursive"), "l": st.integers(1, 3), "c": st.sampled_from((0.6, 1.1, 2.5))}),
    ),
    "t": st.tuples(st.sampled_from(("equal", "ordered", "hierarchical")), st.sampled_from((0.05, 0.17, 0.29, 0.43, 0.71))),
    "beta": st.tuples(st.sampled_from(("basic", "enhanced")), st.sampled_from((0.23, 0.61, 1.7))),
    "average_risk": st.sampled_from((0.07, 0.23, 0.41, 0.9)),
    "sample_uniqueness": st.sampled_from((0.0, 0.043, 0.21)),
}


@st.composite
def cases(draw: st.DrawFn, metric: str, model: str) -> Case:
    columns = tuple(draw(trees("abc"[place])) for place in range(draw(st.integers(1, 3))))
    row = st.tuples(*(st.sampled_from([line[0] for line in tree]) for tree in columns))
    rows = tuple(draw(st.lists(row, min_size=1, max_size=40)))
    others = tuple(draw(st.lists(row, max_size=30)))
    secret_tree = (("u", "x", "*"), ("v", "x", "*"), ("w", "y", "*"), ("z", "y", "*"))
    secret = tuple(draw(st.lists(st.sampled_from("uvwz"), min_size=len(rows), max_size=len(rows))))
    names = {model, *draw(st.sets(st.sampled_from(sorted(MODELS)), max_size=2))}
    return Case(
        rows=rows,
        trees=columns,
        secret=secret,
        secret_tree=secret_tree,
        people=(*rows, *others),
        models={name: draw(MODELS[name]) for name in sorted(names)},
        suppression=draw(st.sampled_from((0.0, 0.1, 0.25, 0.5, 1.0))),
        metric=metric,
        gs=draw(st.sampled_from((0.2, 0.5, 0.8, 1.0) if metric == "aecs" else (0.0, 0.2, 0.5, 0.8, 1.0))),
        monotonic=draw(st.booleans()),
        weights=tuple(draw(st.sampled_from((1.0, 1.0, 0.5, 2.0))) for _ in columns)
        if metric in ("loss", "entropy", "height")
        else (1.0,) * len(columns),
    )


def written(case: Case, folder: Path) -> tuple[Path, Path]:
    """The case as the files of the command."""
    header = [f"q{place}" for place in range(len(case.trees))]
    _csv(folder / "in.csv", [[*header, "secret"], *([*row, value] for row, value in zip(case.rows, case.secret, strict=True))])
    _csv(folder / "people.csv", [header, *case.people])
    _csv(folder / "secret.tree", case.secret_tree)
    for name, tree in zip(header, case.trees, strict=True):
        _csv(folder / f"{name}.tree", tree)
    lines = [f"suppression = {case.suppression}", f'metric = "{case.metric}"', f"gs_factor = {case.gs}", 'separator = ";"']
    lines += [f"monotonic = {str(case.monotonic).lower()}"]
    for name, weight in zip(header, case.weights, strict=True):
        lines += [f"[quasi.{name}]", f'hierarchy = "{name}.tree"', f"weight = {weight}"]
    lines += ["[sensitive.secret]", 'hierarchy = "secret.tree"', "[model]", *(_model(name, said) for name, said in case.models.items())]
    (folder / "config.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "in.csv", folder / "config.toml"


def _model(name: str, said: Any) -> str:
    match name:
        case "k_map":
            return f'k_map = {{k = {said}, population = "people.csv"}}'
        case "delta_presence":
            return f'delta_presence = {{min = {said[0]}, max = {said[1]}, population = "people.csv"}}'
        case "t":
            return f't = {{distance = "{said[0]}", t = {said[1]}}}'
        case "beta":
            return f'beta = {{kind = "{said[0]}", beta = {said[1]}}}'
        case "l":
            return f"l = {{{', '.join(f'{key} = {json.dumps(value)}' for key, value in said.items())}}}"
    return f"{name} = {said}"


def _csv(path: Path, rows: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_node_is_better_than_the_one_that_is_found(metric: str, model: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(cases(metric, model), st.sampled_from((1, anytime.LARGEST)))
    def check(case: Case, largest: int) -> None:
        folder = tmp_path_factory.mktemp("case")
        table, config = written(case, folder)
        wanted = optimum(case)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(anytime, "best", partial(anytime.best, largest=largest))
            if wanted is None:
                with pytest.raises(Refused):
                    command.run(str(table), config, str(folder / "out.csv"))
                assert not (folder / "out.csv").exists()
                return
            found = command.run(str(table), config, str(folder / "out.csv"))
        assert found.optimal
        assert math.isclose(found.information_loss, wanted, rel_tol=1e-9, abs_tol=1e-8), (found, wanted)
        node = tuple(found.transformation.values())
        assert dict(feasible(case))[node] == pytest.approx(wanted, rel=1e-9, abs=1e-8)
        _holds_as_written(case, node, folder / "out.csv", found.suppressed)

    check()


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"k_map", "delta_presence"}))
def test_every_class_of_local_recoding_holds_the_models(model: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(cases("loss", model))
    def check(case: Case) -> None:
        asked = {name: said for name, said in case.models.items() if name not in ("k_map", "delta_presence")}
        case = replace(case, models=asked, suppression=0.0)
        folder = tmp_path_factory.mktemp("case")
        table, config = written(case, folder)
        config.write_text('recoding = "local"\n' + config.read_text(encoding="utf-8"), encoding="utf-8")
        try:
            found = command.run(str(table), config, str(folder / "out.csv"))
        except Refused:
            assert optimum(case) is None or {"average_risk", "sample_uniqueness"} & set(asked)
            return
        with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
            _, *rows = csv.reader(file, delimiter=";")
        classes: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            classes[tuple(row[:-1])].append(place)
        assert [row[-1] for row in rows] == list(case.secret)
        assert all(good(case, places, people=0) for places in classes.values())
        assert len(classes) == found.classes <= asked.get("average_risk", 1.0) * len(rows) + 1e-9
        assert sum(len(places) == 1 for places in classes.values()) <= asked.get("sample_uniqueness", 1.0) * len(rows)
        whole = optimum(case)
        assert whole is None or found.information_loss <= whole + 1e-9 or {"average_risk", "sample_uniqueness"} & set(asked)

    check()


EXAMPLES = 6


def _holds_as_written(case: Case, node: tuple[int, ...], out: Path, suppressed_rows: int) -> None:
    """Row by row: the labels of the node, or stars; the sensitive value untouched; as many rows as before, in their order."""
    with out.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter=";")
    gone = suppressed(case, node)
    assert gone is not None and len(gone) == suppressed_rows
    maps = [{line[0]: line[level] for line in tree} for tree, level in zip(case.trees, node, strict=True)]
    labels = [["*" if place in gone else known[cell] for known, cell in zip(maps, row, strict=True)] for place, row in enumerate(case.rows)]
    assert header == [*(f"q{place}" for place in range(len(case.trees))), "secret"]
    assert rows == [[*label, value] for label, value in zip(labels, case.secret, strict=True)]
