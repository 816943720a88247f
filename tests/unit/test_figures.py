"""Figures and files of every kind of result: drawn from released numbers, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumasi.client import figures, outcome
from pumasi.kernel.errors import Invalid

HEAD = {"name": "첫 결과 1/2", "table": "patients", "hospitals": ["가", "b", "c"], "rounds": 3, "n": 200}
POINTS = [
    {"time": 30, "at_risk": 100, "events": 9, "censored": 0, "survival": 0.91, "standard_error": 0.03, "lower": 0.83, "upper": 0.95},
    {"time": 90, "at_risk": 90, "events": None, "censored": 0, "survival": None, "standard_error": None, "lower": None, "upper": None},
]
RESULTS: dict[str, dict[str, Any]] = {
    "histogram": {
        "column": "age", "edges": [40, 50],
        "bins": [{"from": None, "to": 40, "n": 20}, {"from": 40, "to": 50, "n": None}, {"from": 50, "to": None, "n": 30}],
    },
    "roc": {
        "curve": [{"threshold": 0.3, "sensitivity": 0.9, "specificity": 0.6}, {"threshold": 0.6, "sensitivity": 0.5, "specificity": 0.9}],
        "estimates": {"auroc": 0.8}, "intervals": {"auroc": [0.75, 0.85]},
    },
    "calibration": {
        "curve": [
            {"predicted": 0.2, "observed": 0.25, "low": 0.2, "high": 0.31, "n": 90},
            {"predicted": 0.5, "observed": 0.4, "low": None, "high": None, "n": 90},
            {"predicted": 0.7, "observed": None, "low": None, "high": None, "n": 4},
        ],
        "estimates": {"intercept": 0.1, "slope": 0.9}, "intervals": {"intercept": [0, 0.2], "slope": [0.7, 1.1]},
    },
    "kaplan_meier": {
        "by": "sex", "time": "days", "curve": [{"sex": "F", "n": 100, "points": POINTS}, {"sex": "M", "n": 100, "points": POINTS}],
    },
    "glm": {"coefficients": {"Intercept": 1.0, "age": 0.2}, "standard_errors": {"Intercept": 0.1, "age": 0.05}},
    "cox": {"coefficients": {"age": 0.2}, "standard_errors": {"age": 0.05}},
    "meta": {
        "term": "age",
        "estimates": [
            {"hospital": "가", "estimate": 0.1, "low": 0.0, "high": 0.2},
            {"hospital": "b", "estimate": 0.2, "low": 0.1, "high": 0.3},
        ],
        "random": {"estimate": 0.15, "low": 0.05, "high": 0.25}, "prediction": None,
    },
}  # fmt: skip


def result(kind: str) -> dict[str, Any]:
    return {**HEAD, "kind": kind, **RESULTS[kind]}


def test_every_figure_is_tried() -> None:
    assert RESULTS.keys() == figures.FIGURES.keys()


@pytest.mark.parametrize("kind", RESULTS)
def test_a_figure_is_drawn(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "_fonts", lambda result: ["DejaVu Sans"])  # this machine may have no Korean font
    plain = {**result(kind), "name": "first result", "hospitals": ["a", "b", "c"]}
    if kind == "meta":
        plain["estimates"] = [{**one, "hospital": f"h{at}"} for at, one in enumerate(plain["estimates"])]
    drawn = figures.draw(plain, tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "first result" in drawn and drawn.rstrip().endswith("</svg>")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.svg"]
    assert figures.draw(plain, tmp_path / "figure.png").stat().st_size > 5_000


def test_the_same_result_gives_the_same_bytes(tmp_path: Path) -> None:
    plain = {**result("glm"), "name": "model", "hospitals": []}
    one, two = (figures.draw(plain, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert one == two


def test_without_a_korean_font_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "KOREAN_FONTS", ("no such font",))
    with pytest.raises(Invalid, match="fonts-nanum"):
        figures.draw(result("glm"), tmp_path / "figure.svg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "path", "told"),
    [
        ({**HEAD, "kind": "glm", "refused": ["too small"]}, "a.svg", "was refused"),
        ({**HEAD, "kind": "table"}, "a.svg", "no figure of a table"),
        ({**HEAD, "name": "m", "hospitals": [], "kind": "glm", **RESULTS["glm"]}, "a.docx", "use .svg, .pdf or .png"),
    ],
)
def test_what_cannot_be_drawn_is_said(values: dict[str, Any], path: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=told):
        figures.draw(values, tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_a_study_is_exported_into_a_folder(tmp_path: Path) -> None:
    analyses = [
        {**HEAD, "kind": "count", "name": "people: all/../of", "hospitals": []},
        {**HEAD, "kind": "glm", "name": "refused", "refused": ["too small"]},
    ]
    written = outcome.export({"analyses": analyses}, tmp_path / "out")
    assert [path.name for path in written] == ["01 people_ all_.._of.csv"]
    assert written[0].read_bytes().startswith(b"\xef\xbb\xbf")
