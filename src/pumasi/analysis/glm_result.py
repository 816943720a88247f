"""What a fitted GLM says: coefficients back on their own scale, standard errors, likelihood, tests. Plain Python: see linear.py.

Standard errors: from the expected information (McCullagh and Nelder, 2.5); HC0 and HC1 after White (Econometrica 48, 1980); clustered by
hospital after Liang and Zeger (Biometrika 73, 1986), with statsmodels' factor G/(G-1) * (n-1)/(n-k). Of a ridge fit: from the penalised
information, and `df_model` is what the coefficients are worth together (Gray, JASA 87, 1992). AIC and BIC count coefficients, as
statsmodels does.
"""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING, Any

from pumasi.analysis import checks, covariates
from pumasi.analysis import design as designs
from pumasi.analysis import family as families
from pumasi.analysis.forms import HOSPITAL
from pumasi.analysis.linear import Factor, factor
from pumasi.analysis.newton import penalised
from pumasi.kernel.errors import Tampered

if TYPE_CHECKING:
    from collections.abc import Sequence


def dispersion_of(model: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> float:
    """Of a row of average weight, on the scale of the fit: Pearson's estimate, or 1 where the family has none. `Tampered` for squares
    that add up to less than nothing."""
    if question["family"] not in families.DISPERSED:
        return 1 / float(state["unit"])
    if model["squares"] < 0:
        raise Tampered("the hospitals' shares add up to squares that there cannot be: one of them is wrong")
    return float(model["squares"] / (state["rows"] - _worth(model, question, state)))


def _square(values: Sequence[float], size: int) -> list[list[float]]:
    left, matrix = iter(values), [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = next(left)
    return matrix


def _penalty(model: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    each = covariates.penalty(model["ridge"] / state["unit"], state["scales"], question)
    return [one if column["factors"] else 0.0 for one, column in zip(each, question["design"]["columns"], strict=True)]


def _expected(model: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> list[list[float]]:
    """The information that errors are made of: for gamma that of the expected outcome, which the first step summed."""
    return _square(state["expected"] if question["family"] == "gamma" else model["information"], len(state["scales"]))


def _worth(model: dict[str, Any], question: dict[str, Any], state: dict[str, Any]) -> float:
    """Parameters: their number; under a ridge the trace of what information and penalty leave of them."""
    size = len(state["scales"])
    if not model["ridge"]:
        return size
    information = _expected(model, question, state)
    solver = factor(penalised(information, _penalty(model, question, state)))
    return math.fsum(solver.solve(information[i])[i] for i in range(size))


def result(question: dict[str, Any], state: dict[str, Any], *, meat: list[list[float]] | None = None) -> dict[str, Any]:
    """Back on the scale of the columns and the outcome. `meat`: summed squares of scores, where the question asks for such errors."""
    model, family, plain = state["fits"][0], question["family"], question["design"]
    names = [column["name"] for column in plain["columns"]]
    rows, scale, unit = state["rows"], float(state["scale"]), float(state["unit"])
    worth = _worth(model, question, state)
    deviance = model["deviance"] * unit * scale**2
    dispersion = dispersion_of(model, question, state)
    log_likelihood = state.get("log_likelihood", 0.0)
    if family != "gamma":
        log_likelihood = families.log_likelihood(family, deviance=deviance, saturated=state["saturated"], rows=rows)
    said: dict[str, Any] = {
        "n": state["people"],
        "dropped": state["dropped"],
        "terms": names,  # the order of the columns; canonical JSON sorts the keys of the next two
        "coefficients": dict(zip(names, _estimates(plain, state, model["point"]), strict=True)),
        "standard_errors": dict(zip(names, _errors(question, state, model, meat), strict=True)),
        "errors": "clustered by hospital" if "cluster" in question else question.get("robust", "expected information"),
        "log_likelihood": log_likelihood,
        "aic": -2 * log_likelihood + 2 * worth,
        "bic": -2 * log_likelihood + math.log(rows) * worth,
        "deviance": deviance,
        "null_deviance": _null_deviance(state),
        "dispersion": dispersion * unit * scale**2,
        "df_model": worth - any(not column["factors"] for column in plain["columns"]),
        "df_residual": rows - worth,
        "converged": True,
        "iterations": model["iterations"],
        "family": family,
        "formula": question["formula"],
        "outcome": plain["outcome"],
        "columns": columns_of(question),
    }
    said |= checks.counted_as_one(question, plain["outcome"]) | {key: question[key] for key in ("offset", "weights") if key in question}
    if question.get("ridge"):
        said |= {"ridge": model["ridge"], "ridge_on": question.get("ridge_on", "standardised")} | (
            {"ridge_path": state["path"]} if "path" in state else {}
        )
    if "compare" in question:
        said["compare"] = _comparison(question, state, deviance=deviance, dispersion=said["dispersion"], parameters=len(names))
    if rows != state["people"]:
        said["rows"] = rows
    if "findings" in state:
        said["findings"] = state["findings"]
    if state.get("implied_counts"):
        said["implied_counts"] = state["implied_counts"]
    return said | {"said": _people(question, state, said)}


def columns_of(question: dict[str, Any]) -> list[str]:
    """The columns of the table in which a complete case has a value; sorted."""
    beside = {question[key] for key in ("offset", "weights") if key in question}
    return sorted({*designs.named(question["design"]), *beside} - {HOSPITAL})


def _null_deviance(state: dict[str, Any]) -> float:
    if state["null_deviance"] is not None:
        return float(state["null_deviance"])
    null = next(fit for fit in state["fits"] if fit["role"] == "null")
    return float(null["deviance"] * state["unit"] * state["scale"] ** 2)


def _comparison(question: dict[str, Any], state: dict[str, Any], *, deviance: float, dispersion: float, parameters: int) -> dict[str, Any]:
    """Twice the difference of the log-likelihoods; of gamma, whose dispersion the likelihood does not settle, of scaled deviances."""
    smaller = next(fit for fit in state["fits"] if fit["role"] == "compare")
    there = smaller["deviance"] * state["unit"] * state["scale"] ** 2
    freedom = parameters - len(smaller["columns"])
    match question["family"]:
        case "gaussian":
            statistic = state["rows"] * math.log(there / deviance)
        case "gamma":
            statistic = (there - deviance) / dispersion
        case _:
            statistic = there - deviance
    statistic = max(0.0, statistic)
    return {"formula": question["compare"], "deviance": there, "statistic": statistic, "df": freedom}


def _estimates(plain: dict[str, Any], state: dict[str, Any], point: list[float]) -> list[float]:
    scale = float(state["scale"])
    return [
        (float(state["centre"]) if not column["factors"] else 0.0) + scale * math.fsum(map(mul, _weights(index, column, state), point))
        for index, column in enumerate(plain["columns"])
    ]


def _errors(question: dict[str, Any], state: dict[str, Any], model: dict[str, Any], meat: list[list[float]] | None) -> list[float]:
    plain = meat is None or ("robust" not in question and "cluster" not in question)
    # of gamma the sandwich takes the observed information, as statsmodels does; of the others it is the expected one
    information = _expected(model, question, state) if plain else _square(model["information"], len(state["scales"]))
    solver = factor(penalised(information, _penalty(model, question, state)))
    scale, dispersion = float(state["scale"]), dispersion_of(model, question, state)
    weights = [_weights(index, column, state) for index, column in enumerate(question["design"]["columns"])]
    if plain or meat is None:
        return [scale * math.sqrt(dispersion * solver.quadratic(each)) for each in weights]
    factor_of = _correction(question, state)
    return [scale * math.sqrt(factor_of * _sandwich(solver, meat, each)) for each in weights]


def _correction(question: dict[str, Any], state: dict[str, Any]) -> float:
    """For small samples. HC1 is n/(n-k), as R's sandwich and Stata have it; statsmodels leaves it out of its GLM, but not of its OLS."""
    rows, size = state["rows"], len(state["scales"])
    if "cluster" in question:
        clusters = state["hospitals"]
        return float(clusters / (clusters - 1) * (rows - 1) / (rows - size))
    return float(rows / (rows - size)) if question["robust"] == "HC1" else 1.0


def _sandwich(solver: Factor, meat: list[list[float]], weights: list[float]) -> float:
    """w' A^-1 M A^-1 w; rounding may take a variance of zero below it."""
    bread = solver.solve(weights)
    return max(
        0.0, math.fsum(one * other * value for one, row in zip(bread, meat, strict=True) for other, value in zip(bread, row, strict=True))
    )


def _weights(index: int, column: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """The coefficient of this column as a combination of the standardised ones: beta = scale * weights . point."""
    scales = [float(scale) for scale in state["scales"]]
    if column["factors"]:
        return [1 / scales[index] if i == index else 0.0 for i in range(len(scales))]
    return [1.0 if i == index else -float(centre) / scales[i] for i, centre in enumerate(state["centres"])]


def _people(question: dict[str, Any], state: dict[str, Any], said: dict[str, Any]) -> list[dict[str, Any]]:
    """Every count of people that the result prints, or that follows from what it prints."""
    present, outcome = columns_of(question), question["design"]["outcome"]
    people: list[dict[str, Any]] = [{"who": {}, "present": present, "n": state["people"], "at": ["n"]}]
    if state["dropped"] is not None:
        people.append({"who": {}, "present": [], "n": state["people"] + state["dropped"], "at": ["dropped"]})
    if state["zero_one"]:  # the deviance of the intercept alone tells
        named = [checks.level(question, outcome, value) for value in ("1", "0")]
        people += [{"who": {outcome: named[side]}, "present": present, "n": state["sides"][side], "at": None} for side in (0, 1)]
    for implied in said.get("implied_counts", []):
        level = {one["column"]: one["level"] for one in implied["factors"]}
        for value in ("1", "0"):
            who = {**level, outcome: checks.level(question, outcome, value)}
            if level:
                people.append({"who": who, "present": present, "n": implied[f"outcome{value}"], "at": None})
    return people
