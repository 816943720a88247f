"""Cox models, survival curves, log-rank tests and meta-analyses as text; Cox models are laid out like lifelines' summary."""

from __future__ import annotations

import math
from typing import Any

from pumasi.analysis.inference import Z
from pumasi.analysis.printed.layout import LEFT_OUT, between, fixed, number, p, percent, span, table, whole

Result = dict[str, Any]


def coefficients(result: Result) -> list[dict[str, Any]]:
    """Of each term the estimate, its error, z, p and the 95 % interval, all by the normal distribution; no test without an error."""
    rows = []
    for term in result["terms"]:
        estimate, error = float(result["coefficients"][term]), float(result["standard_errors"][term])
        z = estimate / error if error else None
        tail = math.erfc(abs(z) / math.sqrt(2)) if z is not None else None
        low, high = estimate - Z * error, estimate + Z * error
        rows.append({"term": term, "estimate": estimate, "standard_error": error, "z": z, "p": tail, "low": low, "high": high})
    return rows


def cox(result: Result) -> list[str]:
    strata = {"hospital": "hospital", "none": "none, one baseline on a grid"}.get(result["strata"], f"hospital and {result['strata']}")
    head = [
        ["duration col", f"'{result['time']}'"],
        ["event col", f"'{result['event']}'"],
        ["strata", strata],
        ["ties", result["ties"]],
        ["number of events observed", whole(result["events"])],
        ["partial log-likelihood", f"{result['log_likelihood']:.2f}"],
    ]
    head += [["ridge", f"{number(result['ridge'])} on {_ridge_on(result)}"]] if "ridge" in result else []
    lines = [f"{label:>26} = {value}" for label, value in head]
    rows = [
        [
            one["term"],
            number(one["estimate"]),
            _power(one["estimate"]),
            number(one["standard_error"]),
            _powers(one),
            fixed(one["z"], 2),
            p(one["p"]),
        ]
        for one in coefficients(result)
    ]
    lines += ["", *table(["", "coef", "exp(coef)", "se(coef)", "exp(coef) 95 % interval", "z", "p"], rows), ""]
    return lines + _cox_tests(result)


def _cox_tests(result: Result) -> list[str]:
    lines = [f"Concordance within strata = {fixed(result['concordance'])}"] if "concordance" in result else []
    lines.append(f"Partial AIC = {result['aic']:.2f}")
    if "likelihood_ratio" in result:
        test = result["likelihood_ratio"]
        lines.append(f"log-likelihood ratio test = {test['statistic']:.2f} on {test['df']} df, p {_p(test['p'])}")
        trend = result["proportional_hazards"]
        rows = [[term, fixed(one["statistic"], 2), str(one["df"]), p(one["p"])] for term, one in trend["terms"].items()]
        rows.append(["all together", fixed(trend["whole"]["statistic"], 2), str(trend["whole"]["df"]), p(trend["whole"]["p"])])
        lines += ["", *table(["proportional hazards", "chi-square", "df", "p"], rows)]
    if "baseline" in result:
        rows = [[number(one["time"]), fixed(one["cumulative_hazard"], 4), fixed(one["survival"], 4)] for one in result["baseline"]]
        lines += ["", *table([result["time"], "baseline hazard so far", "baseline survival"], rows)]
    return lines


def _ridge_on(result: Result) -> str:
    return "columns as they are" if result["ridge_on"] == "columns" else "standardised columns"


def _power(value: float) -> str:
    return number(math.exp(value)) if value < 700 else LEFT_OUT


def _powers(one: Result) -> str:
    return f"{_power(one['low'])} to {_power(one['high'])}"


def _p(value: float | None) -> str:
    text = p(value)
    return text if text.startswith("<") else f"= {text}"


def kaplan_meier(result: Result) -> list[str]:
    lines: list[str] = []
    for curve in result["curve"]:
        lines.append(f"{_group(curve)}{whole(curve['n'])} people, median {_median(curve)}")
        rows = [[*_point(one), span(one["lower"], one["upper"], 4)] for one in curve["points"]]
        lines += table([result["time"], "at risk", "events", "censored", "survival", "std err", "95 % band"], rows, left=0)
        lines.append("")
    return lines[:-1]


def _point(one: Result) -> list[str]:
    counts = [whole(one[key]) for key in ("at_risk", "events", "censored")]
    return [number(one["time"]), *counts, fixed(one["survival"], 4), fixed(one["standard_error"], 4)]


def _group(curve: Result) -> str:
    kept = ("n", "events", "points", "median", "median_lower", "median_upper")
    return "".join(f"{name} = {level}: " for name, level in curve.items() if name not in kept)


def _median(curve: Result) -> str:
    if curve["median"] is None:
        return "not reached"
    ends = [LEFT_OUT if curve[key] is None else number(curve[key]) for key in ("median_lower", "median_upper")]
    return f"{number(curve['median'])} ({ends[0]} to {ends[1]})"


def logrank(result: Result) -> list[str]:
    rows = [[str(one[result["by"]]), whole(one["n"]), whole(one["observed"]), number(one["expected"])] for one in result["groups"]]
    test = f"log-rank test: chi-square = {result['statistic']:.2f} on {result['df']} df, p {_p(result['p'])}"
    return [*table([result["by"], "people", "events", "expected"], rows), test]


def meta(result: Result) -> list[str]:
    """One line per hospital, then what they have in common."""
    rows = [[one["hospital"], whole(one["n"]), *_estimate(one), percent(100 * one["weight"])] for one in result["estimates"]]
    rows += [[label, "", *_estimate(result[key]), ""] for label, key in (("random effects", "random"), ("common effect", "fixed"))]
    if result["prediction"] is not None:
        rows.append(["another hospital", "", "", "", between(result["prediction"]["low"], result["prediction"]["high"]), ""])
    apart = result["heterogeneity"]
    lines = [f"{result['term']} in {result['formula']}"]
    lines += table(["hospital", "people", "estimate", "std err", "95 % interval", "weight %"], rows)
    spread = f"I² = {percent(100 * apart['i_squared'])} %, tau² = {number(apart['tau_squared'])}"
    lines.append(f"{spread}, Q = {apart['q']:.2f} on {apart['df']} df, p {_p(apart['p'])}")
    if result["left_out"]:
        lines.append(f"without an estimate of their own, being too small: {', '.join(one['hospital'] for one in result['left_out'])}")
    return lines


def _estimate(one: Result) -> list[str]:
    return [number(one["estimate"]), number(one["standard_error"]), between(one["low"], one["high"])]
