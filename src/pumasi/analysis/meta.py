"""One coefficient at each hospital, and what to expect of it at another: a random-effects meta-analysis of a glm or cox analysis.

One round. Each hospital fits the model to its own rows, under the limits that hold for any answer, and fills its own place of the sum; one
that is too small leaves it empty. So this tells, by name, the estimate, its error and the number of people of every hospital that is large
enough. Between hospitals: tau^2 after Paule and Mandel (J. Res. NBS 87, 1982) and DerSimonian and Laird (Control. Clin. Trials 7, 1986),
intervals after Hartung and Knapp (Stat. Med. 20, 2001), I^2 and the 95 % prediction interval after Higgins and others (JRSS A 172, 2009).
"""

from __future__ import annotations

import math
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import cox, glm, refusal, sums
from pumasi.analysis.forms import HOSPITAL
from pumasi.analysis.frame import Terms
from pumasi.analysis.inference import Z
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame

MODELS = {"glm": glm, "cox": cox}
MOST_ROUNDS = 200
TOO_FEW = Refusal("few-hospitals", "fewer than two hospitals are large enough for an estimate of their own, so there is nothing to compare")
INCONSISTENT = Refusal("inconsistent-hospital", "a hospital filled the place of another in the sum, so the estimates cannot be told apart")


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """What the model needs, without a coefficient for each hospital; and that the term is one of its columns."""
    needed = ("time", "event") if question["of"] == "cox" else ("family",)
    if any(key not in question for key in needed):
        return ["a meta-analysis carries all keys of its model; make jobs with the client"]
    reasons: list[str] = MODELS[question["of"]].check(_model(question), kinds, levels)
    if reasons:
        return reasons
    columns = question["design"]["columns"]
    names = [column["name"] for column in columns]
    if question["term"] not in names:
        reasons.append(f"'{question['term']}' is no term of the model; there are {', '.join(names)}")
    if any(factor["column"] == HOSPITAL for column in columns for factor in column["factors"]):
        reasons.append("at one hospital there are no coefficients for hospitals; leave C(hospital) out of the model")
    return reasons


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: the hospital of each complete case where it tells an estimate, once that is known; before, the complete cases."""
    (complete,) = MODELS[question["of"]].groups(frame, _model(question))
    if "edges" not in question:
        return [complete]
    return [np.where(complete < 0, -1, frame.codes(HOSPITAL, question["edges"])).astype(np.int64)]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [len(question.get("edges", [""]))]


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state, with the limit that each hospital holds its own estimate to."""
    return {"step": "estimates", "smallest_cell": terms.smallest_cell}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """For each hospital: whether it tells its estimate, its people, estimate and squared error; all but one's own are zero."""
    (complete,) = MODELS[question["of"]].groups(frame, _model(question))
    people = float(frame.people(complete >= 0))
    found = _own(frame, question, Terms(smallest_cell=state["smallest_cell"], hospitals=1))
    told = np.array([[0.0], [0.0]]) if found is None else np.array([[found[0]], [found[1] ** 2]])
    mine = [float(found is not None), people, *sums.wide(told[0]), *sums.wide(told[1])]
    partial: list[float] = []
    for hospital in question["hospitals"]:
        partial += mine if hospital == question["here"] else [0.0] * len(mine)
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Each hospital has judged its own estimate."""
    return []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """Done. `left_out` are the hospitals that are too small, with one of the others, or whose own rows allow no estimate."""
    reader, estimates, left_out = sums.Reader(total), [], []
    for hospital in question["hospitals"]:
        told, people, estimate, variance = reader.count(), reader.count(), reader.wide(), reader.wide()
        if told not in (0, 1):
            return refusal.end(INCONSISTENT)
        if told and variance > 0:
            estimates.append({"hospital": hospital, "n": people, "estimate": estimate, "standard_error": math.sqrt(variance)})
        else:
            left_out.append({"hospital": hospital, "n": people})
    reader.end()
    # the pooled analysis less all these estimates tells what those left out hold: so they are nobody, or many enough
    while estimates and 0 < sum(one["n"] for one in left_out) < terms.smallest_cell:
        smallest = min(estimates, key=lambda one: one["n"])
        estimates.remove(smallest)
        left_out.append({"hospital": smallest["hospital"], "n": smallest["n"]})
    if len(estimates) < 2:
        return refusal.end(TOO_FEW)
    n = sum(one["n"] for one in [*estimates, *left_out])
    result = {"n": n, "estimates": estimates, "left_out": left_out, **_combined(estimates)}
    result |= {key: question[key] for key in ("term", "analysis", "of", "formula", "family", "time", "event") if key in question}
    edges = [one["hospital"] for one in estimates]  # what the memory of releases needs: who is told by name
    return {"step": "done", "result": result | {"said": _people(question, result), "edges": edges}}


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """Intervals and p-values, with Student's t for what few hospitals say."""
    from scipy.special import chdtrc, stdtr, stdtrit

    k, pooled, apart = len(result["estimates"]), result["random"], result["heterogeneity"]
    reach = float(stdtrit(k - 1, 0.975)) * pooled["standard_error"]
    certain = pooled["standard_error"] == 0
    p = 0.0 if certain else 2 * float(stdtr(k - 1, -abs(pooled["estimate"]) / pooled["standard_error"]))
    random = {**pooled, "low": pooled["estimate"] - reach, "high": pooled["estimate"] + reach, "p": p}
    prediction = None
    if k > 2:
        away = float(stdtrit(k - 2, 0.975)) * math.hypot(pooled["standard_error"], math.sqrt(apart["tau_squared"]))
        prediction = {"low": pooled["estimate"] - away, "high": pooled["estimate"] + away}
    return {
        **{key: value for key, value in result.items() if key != "edges"},
        "estimates": [_interval(one) for one in result["estimates"]],
        "fixed": _interval(result["fixed"]),
        "random": random,
        "heterogeneity": {**apart, "p": float(chdtrc(apart["df"], apart["q"]))},
        "prediction": prediction,
    }


def _interval(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "low": one["estimate"] - Z * one["standard_error"], "high": one["estimate"] + Z * one["standard_error"]}


def _model(question: dict[str, Any]) -> dict[str, Any]:
    """The question of the model that each hospital fits."""
    return {key: value for key, value in question.items() if key not in ("analysis", "term", "of", "edges")} | {"kind": question["of"]}


def _own(frame: Frame, question: dict[str, Any], terms: Terms) -> tuple[float, float] | None:
    """This hospital's estimate and standard error, by the rounds of the model over itself alone; None where it may or can not be told."""
    method, asked = MODELS[question["of"]], _model(question)
    state = method.start(asked, terms)
    for _ in range(MOST_ROUNDS):
        total = method.local(frame, asked, state).tolist()
        if method.refusals(total, asked, state, terms):
            return None
        state = method.advance(total, asked, state, terms)
        if state["step"] == "done":
            found = state.get("result")
            term = question["term"]
            return (found["coefficients"][term], found["standard_errors"][term]) if found else None
    return None


def _combined(estimates: list[dict[str, Any]]) -> dict[str, Any]:
    """Common and random effects, and how much hospitals differ beyond chance."""
    values, variances = [one["estimate"] for one in estimates], [one["standard_error"] ** 2 for one in estimates]
    df = len(values) - 1
    precise = [1 / variance for variance in variances]
    common, q = _weighted(values, precise)
    total = math.fsum(precise)
    moments = max(0.0, (q - df) / (total - math.fsum(map(mul, precise, precise)) / total))
    between = _paule_mandel(values, variances)
    weights = [1 / (variance + between) for variance in variances]
    middle, spread = _weighted(values, weights)
    whole = math.fsum(weights)
    for one, weight in zip(estimates, weights, strict=True):
        one["weight"] = weight / whole
    return {
        "fixed": {"estimate": common, "standard_error": math.sqrt(1 / total)},
        "random": {"estimate": middle, "standard_error": math.sqrt(spread / (df * whole)), "df": df},
        "heterogeneity": {
            "q": q,
            "df": df,
            "i_squared": max(0.0, (q - df) / q) if q > 0 else 0.0,
            "tau_squared": between,
            "tau_squared_dersimonian_laird": moments,
        },
    }


def _weighted(values: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Weighted mean, and weighted squares about it."""
    mean = math.fsum(map(mul, values, weights)) / math.fsum(weights)
    return mean, math.fsum(weight * (value - mean) ** 2 for value, weight in zip(values, weights, strict=True))


def _paule_mandel(values: Sequence[float], variances: Sequence[float]) -> float:
    """The variance between hospitals at which the weighted squares are what chance gives; found by halving, to the last bit."""
    df = len(values) - 1

    def squares(between: float) -> float:
        return _weighted(values, [1 / (variance + between) for variance in variances])[1]

    if squares(0.0) <= df:
        return 0.0
    low, high = 0.0, max(variances)
    while squares(high) > df:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if squares(middle) > df else (low, middle)
    return (low + high) / 2


def _people(question: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    """The people of each hospital, those left out as well: the total of another analysis would tell them."""
    model = MODELS[question["of"]]
    present = model.columns_of(_model(question))
    said = [{"who": {}, "present": present, "n": result["n"], "at": ["n"]}]
    for part in ("estimates", "left_out"):
        for place, one in enumerate(result[part]):
            said.append({"who": {HOSPITAL: one["hospital"]}, "present": present, "n": one["n"], "at": [part, place, "n"]})
    return said
