"""Correlations, comparisons of means, and scores against outcomes as text."""

from __future__ import annotations

from typing import Any

from pumasi.analysis.printed.layout import LEFT_OUT, between, fixed, measured, number, p, percent, span, table, whole

Result = dict[str, Any]
_TESTS = {"welch": "Welch", "student": "Student", "anova": "Fisher"}


def correlation(result: Result) -> list[str]:
    rows = [
        [one["one"], one["other"], whole(one["n"]), fixed(one["r"]), span(one["low"], one["high"]), p(one["p"])] for one in result["pairs"]
    ]
    return table(["", "", "people", "r", "95 % interval", "p"], rows, left=2)


def means(result: Result) -> list[str]:
    """ttest and anova: the groups, then each test."""
    groups = [[str(one["level"]), whole(one["n"]), measured(one["mean"]), measured(one["sd"])] for one in result["groups"]]
    lines = [f"{result['column']} by {result['by']}", *table([result["by"], "people", "mean", "sd"], groups), ""]
    tests = [(label, result[key]) for key, label in _TESTS.items() if result.get(key)]
    if not tests:
        return [*lines, "no test: a number is left out, or people have several rows"]
    if "difference" in tests[0][1]:
        rows = [
            [label, number(one["difference"]), between(one["low"], one["high"]), fixed(one["statistic"]), number(one["df"]), p(one["p"])]
            for label, one in tests
        ]
        lines += table(["t test", "difference", "95 % interval", "t", "df", "p"], rows)
        return [*lines, f"standardised difference {fixed(result['smd'])}; differences are {groups[1][0]} less {groups[0][0]}"]
    rows = [[label, fixed(one["statistic"]), number(one["df"]), number(one["df_residual"]), p(one["p"])] for label, one in tests]
    lines += table(["analysis of variance", "F", "df", "df residual", "p"], rows)
    eta = (result.get("anova") or {}).get("eta_squared")
    return [*lines, f"between the groups lies {percent(None if eta is None else 100 * eta)} % of the squares"]


def roc(result: Result) -> list[str]:
    area, interval, bounds = result["estimates"]["auroc"], result["intervals"]["auroc"], result["bounds"]["auroc"]
    rows = [["AUROC", fixed(area), _interval(interval), span(bounds[0], bounds[1])]]
    lines = [*_outcome(result), *table(["", "", "95 % interval", "bounds of binning"], rows), ""]
    shown = ("sensitivity", "specificity", "ppv", "npv")
    points = [[f"> {number(one['threshold'])}", *(fixed(one[key]) for key in shown)] for one in result["curve"]]
    return lines + table([result["score"], *shown], points)


def calibration(result: Result) -> list[str]:
    names = {"intercept": "intercept", "slope": "slope", "in_the_large": "in the large"}
    estimates, errors = result["estimates"], result["standard_errors"]
    rows = [[label, fixed(estimates[key]), fixed(errors[key]), _interval(result["intervals"][key])] for key, label in names.items()]
    ratio = [["observed / expected", fixed(estimates["ratio"]), "", ""]]
    lines = [*_outcome(result), *table(["", "", "std err", "95 % interval"], rows + ratio), ""]
    curve = [[fixed(one["predicted"]), fixed(one["observed"]), span(one["low"], one["high"]), whole(one["n"])] for one in result["curve"]]
    return lines + table(["predicted", "observed", "95 % interval", "people"], curve)


def brier(result: Result) -> list[str]:
    names = ("brier", "scaled", "reliability", "resolution", "uncertainty", "within")
    return [*_outcome(result), *table(["part", "value"], [[name, fixed(result["estimates"][name], 4)] for name in names])]


def _outcome(result: Result) -> list[str]:
    return [
        f"{result['score']} against {result['outcome']}: {whole(result['events'])} with the outcome, {whole(result['dropped'])} dropped"
    ]


def _interval(ends: list[float] | None) -> str:
    return span(ends[0], ends[1]) if ends else LEFT_OUT
