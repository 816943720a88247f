"""What a fitted Cox model says: coefficients on their own scale, errors, likelihoods, proportional hazards, concordance, baseline hazard.

The test is the score test of an interaction of each column with time (Grambsch and Therneau, Biometrika 81, 1994; R's cox.zph with
transform = "identity", terms = FALSE). Concordance compares people of one stratum only, and needs exact times, so on a grid there is none.
`result` is plain Python: see linear.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pumasi.analysis import checks, covariates
from pumasi.analysis import design as designs
from pumasi.analysis.linear import factor
from pumasi.analysis.newton import penalised

if TYPE_CHECKING:
    from collections.abc import Sequence


def _square(values: Sequence[float], size: int) -> list[list[float]]:
    left, matrix = iter(values), [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = next(left)
    return matrix


def result(question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Back on the scale of the columns."""
    fit, plain = state["fits"][0], question["design"]
    names, scales = [column["name"] for column in plain["columns"]], [float(one) for one in state["scales"]]
    information = _square(fit["information"], len(names))
    solver = factor(penalised(information, covariates.penalty(fit["ridge"], scales, question)))
    errors = [math.sqrt(solver.quadratic([float(i == j) for j in range(len(names))])) / scale for i, scale in enumerate(scales)]
    worth = math.fsum(solver.solve(information[i])[i] for i in range(len(names))) if fit["ridge"] else len(names)
    log_likelihood, null = -fit["objective"] / 2, -fit["null"] / 2
    said: dict[str, Any] = {
        "n": state["people"],
        "events": state["events"],
        "dropped": state["dropped"],
        "terms": names,
        "coefficients": {name: value / scale for name, value, scale in zip(names, fit["point"], scales, strict=True)},
        "standard_errors": dict(zip(names, errors, strict=True)),
        "log_likelihood": log_likelihood,
        "null_log_likelihood": null,
        "aic": -2 * log_likelihood + 2 * worth,
        "df_model": worth,
        "converged": True,
        "iterations": fit["iterations"],
        "time": question["time"],
        "event": question["event"],
        "strata": question.get("strata", "hospital"),
        "ties": question.get("ties", "efron"),
        "formula": question["formula"],
        "columns": _columns(question),
    }
    said |= checks.counted_as_one(question, question["event"])
    if state["rows"] != state["people"]:
        said["rows"] = state["rows"]
    if question.get("ridge"):
        said |= {"ridge": fit["ridge"], "ridge_on": question.get("ridge_on", "standardised")} | (
            {"ridge_path": state["path"]} if "path" in state else {}
        )
    else:
        said |= {"likelihood_ratio": {"statistic": max(0.0, 2 * (log_likelihood - null)), "df": len(names)}}
        said |= {"proportional_hazards": _trends(names, fit, information)}
    if fit["pairs"] is not None:
        said["concordance"] = _concordance(fit["pairs"])
    if "grid" in question:
        times = [question["grid"][place] for place in state["kept"]]
        said |= {"grid": times, "edges": times, "baseline": _baseline(question, state, fit)}  # `edges`: for the memory of releases
    return said | {"said": _people(question, state)}


def _columns(question: dict[str, Any]) -> list[str]:
    strata = {question.get("strata", "hospital")} - {"none"}
    return sorted({*designs.named(question["design"]), question["time"], *strata} - {"hospital"})


def _trends(names: list[str], fit: dict[str, Any], information: list[list[float]]) -> dict[str, Any]:
    """For each column, and for all together, the score test that its effect changes with time; no test where it cannot be separated."""
    size = len(names)
    trend, squared = _square(fit["trend"], size), _square(fit["trend_squared"], size)
    tests = {
        name: {"statistic": _score_test(information, trend, squared, fit["trend_score"], [i]), "df": 1} for i, name in enumerate(names)
    }
    whole = _score_test(information, trend, squared, fit["trend_score"], list(range(size)))
    return {"transform": "identity", "terms": tests, "whole": {"statistic": whole, "df": size}}


def _score_test(
    information: list[list[float]], trend: list[list[float]], squared: list[list[float]], score: list[float], picked: list[int]
) -> float | None:
    size = len(information)
    joint = [[*information[i], *(trend[i][j] for j in picked)] for i in range(size)]
    joint += [[*trend[i], *(squared[i][j] for j in picked)] for i in picked]
    solver = factor(joint)
    return None if solver.dependent else solver.quadratic([*([0.0] * size), *(score[i] for i in picked)])


def _concordance(pairs: list[int]) -> float | None:
    concordant, discordant, tied = pairs
    count = concordant + discordant + tied
    return (concordant + tied / 2) / count if count else None


def _baseline(question: dict[str, Any], state: dict[str, Any], fit: dict[str, Any]) -> list[dict[str, float]]:
    """The cumulative hazard of somebody with the mean of every column."""
    total, curve = 0.0, []
    for place, hazard in zip(state["kept"], fit["hazards"], strict=True):
        total += hazard
        curve.append({"time": question["grid"][place], "cumulative_hazard": total, "survival": math.exp(-total)})
    return curve


def _people(question: dict[str, Any], state: dict[str, Any]) -> list[dict[str, Any]]:
    """Every count of people that the result prints, or that follows from what it prints."""
    present, event = _columns(question), question["event"]
    people: list[dict[str, Any]] = [
        {"who": {}, "present": present, "n": state["people"], "at": ["n"]},
        {"who": {event: checks.level(question, event, "1")}, "present": present, "n": state["events"], "at": ["events"]},
        {"who": {event: checks.level(question, event, "0")}, "present": present, "n": state["censored"], "at": None},
    ]
    if state["dropped"] is not None:
        people.append({"who": {}, "present": [], "n": state["people"] + state["dropped"], "at": ["dropped"]})
    return people


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """The p-values."""
    from scipy.special import chdtrc

    def tested(test: dict[str, Any]) -> dict[str, Any]:
        statistic = test["statistic"]
        return {**test, "p": None if statistic is None else float(chdtrc(test["df"], statistic))}

    result = {key: value for key, value in result.items() if key != "edges"}
    if "likelihood_ratio" not in result:
        return result
    hazards = result["proportional_hazards"]
    tests = {name: tested(test) for name, test in hazards["terms"].items()}
    return {
        **result,
        "likelihood_ratio": tested(result["likelihood_ratio"]),
        "proportional_hazards": {**hazards, "terms": tests, "whole": tested(hazards["whole"])},
    }
