"""Results as tidy rows (Wickham, Journal of Statistical Software 59, 2014): one number, or one estimate with its error, per row.

The columns of a kind are always the same; what is left out is an empty cell. Models have a row per coefficient.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pumasi.analysis import refusal
from pumasi.analysis.printed import models

Result = dict[str, Any]
Row = dict[str, Any]


def rows(result: Result) -> list[Row]:
    """The rows of one result; one that was refused has a row per reason."""
    head = {"analysis": result.get("name"), "kind": result["kind"]}
    if "refused" in result:
        return [{**head, "refused": sentence, "reason": code} for sentence, code in refusal.pairs(result)]
    return [{**head, **row} for row in TIDY.get(result["kind"], _others)(result)]


def text(result: Result) -> str:
    """The rows as CSV (RFC 4180), with a head."""
    found = rows(result)
    names = list(dict.fromkeys(name for row in found for name in row))
    written = io.StringIO()
    writer = csv.DictWriter(written, names)
    writer.writeheader()
    writer.writerows(found)
    return written.getvalue()


def _count(result: Result) -> Iterator[Row]:
    yield {"n": result["n"]}


def _columns(result: Result) -> Iterator[Row]:
    yield {"column": None, "level": None, "n": result["n"], "missing": None, "mean": None, "sd": None}
    for name, column in result["columns"].items():
        missing, moments = column["missing"], {key: column.get(key) for key in ("mean", "sd")}
        yield {"column": name, "level": None, "n": column["n"], "missing": missing, **moments}
        for level, n in column.get("levels", {}).items():
            yield {"column": name, "level": level, "n": n, "missing": None, "mean": None, "sd": None}


def _table(result: Result) -> Iterator[Row]:
    for place, cell in enumerate(result["cells"]):
        yield {**{name: cell[name] for name in result["by"]}, "n": cell["n"]} | {
            f"percent_{kind}": shares[place] for kind, shares in result["percent"].items()
        }


def _table1(result: Result) -> Iterator[Row]:
    for group in (result, *result.get("groups", [])):
        for row in _columns(group):
            compared = result.get("comparison", {}).get(row["column"], {}) if group is result else {}
            yield {"group": group.get("level"), **row, "smd": compared.get("largest"), "p": compared.get("p")}


def _histogram(result: Result) -> Iterator[Row]:
    for one in result["bins"]:
        yield {"column": result["column"], **{key: one[key] for key in ("from", "to", "n", "percent")}}


def _quantiles(result: Result) -> Iterator[Row]:
    for name, column in result["columns"].items():
        for one in column["quantiles"]:
            yield {"column": name, "n": column["n"], **{key: one[key] for key in ("q", "value", "lower", "upper")}}


def _pairs(result: Result) -> Iterator[Row]:
    for pair in result["pairs"]:
        yield {key: pair[key] for key in ("one", "other", "n", "r", "low", "high", "p")}


def _means(result: Result) -> Iterator[Row]:
    names = ("difference", "low", "high", "statistic", "df", "df_residual", "p")
    for group in result["groups"]:
        yield {"term": str(group["level"]), **{key: group[key] for key in ("n", "mean", "sd")}, **dict.fromkeys(names)}
    for test in ("welch", "student", "anova"):
        if result.get(test):
            yield {"term": test, **dict.fromkeys(("n", "mean", "sd")), **{key: result[test].get(key) for key in names}}


def _scores(result: Result) -> Iterator[Row]:
    curve: list[Row] = result.get("curve", [])
    points = [key for point in curve[:1] for key in point if key != "n"]
    empty = dict.fromkeys(("standard_error", "low", "high", *points))
    for name, value in result["estimates"].items():
        low, high = result.get("intervals", {}).get(name) or (None, None)
        error = result.get("standard_errors", {}).get(name)
        yield {"term": name, "estimate": value} | empty | {"standard_error": error, "low": low, "high": high}
    for point in curve:
        yield {"term": "curve", "estimate": None} | empty | {key: value for key, value in point.items() if key != "n"}


def _curves(result: Result) -> Iterator[Row]:
    """A row per group and time."""
    for curve in result["curve"]:
        kept = ("n", "events", "points", "median", "median_lower", "median_upper")
        for point in curve["points"]:
            row = {name: point[name] for name in ("time", "at_risk", "events", "censored", "survival", "standard_error", "lower", "upper")}
            yield {name: level for name, level in curve.items() if name not in kept} | row


def _logrank(result: Result) -> Iterator[Row]:
    empty = dict.fromkeys(("statistic", "df", "p"))
    for group in result["groups"]:
        yield {"term": str(group[result["by"]]), **{key: group[key] for key in ("n", "observed", "expected")}, **empty}
    yield {"term": "log-rank", **dict.fromkeys(("n", "observed", "expected")), **{key: result[key] for key in empty}}


def _meta(result: Result) -> Iterator[Row]:
    names = ("n", "estimate", "standard_error", "low", "high", "weight")
    for one in result["estimates"]:
        yield {"term": one["hospital"], **{key: one[key] for key in names}}
    for term in ("random", "fixed", "prediction"):
        if result[term] is not None:
            yield {"term": term, **{key: result[term].get(key) for key in names}}
    for term in ("i_squared", "tau_squared", "q", "df", "p"):
        yield {"term": term, **dict.fromkeys(names)} | {"estimate": result["heterogeneity"][term]}


def _others(result: Result) -> Iterator[Row]:
    """Coefficients where there are some, else every number under the path of keys that leads to it."""
    if "coefficients" in result:
        yield from models.coefficients(result)
        return
    for path, value in _leaves({key: value for key, value in result.items() if key not in ("name", "kind")}, ()):
        yield {"term": ".".join(path), "estimate": value}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, (*path, str(place)))
    else:
        yield path, value


TIDY: Mapping[str, Callable[[Result], Iterator[Row]]] = {
    "count": _count, "describe": _columns, "table": _table, "table1": _table1, "histogram": _histogram, "quantiles": _quantiles,
    "correlation": _pairs, "ttest": _means, "anova": _means, "roc": _scores, "calibration": _scores, "brier": _scores,
    "kaplan_meier": _curves, "logrank": _logrank, "meta": _meta,
}  # fmt: skip
