"""Whether predicted probabilities are right: calibration in the large, intercept and slope, and the curve by bins.

Intercept and slope are those of a logistic model of the outcome on the logit of the prediction; `in_the_large` is the intercept where the
slope is held at one (Cox, Biometrika 45, 1958; Van Calster and others, BMC Medicine 17, 2019). Both are fitted as glm.py fits them, and
refused as it refuses. Predictions of exactly 0 and 1 are taken as 1e-8 and 1 - 1e-8, as R's CalibrationCurves does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import glm, inference, refusal, scores
from pumasi.analysis.frame import Column, Frame
from pumasi.analysis.refusal import Refusal
from pumasi.analysis.scores import group_counts, groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Terms

__all__ = ["advance", "check", "finish", "group_counts", "groups", "local", "refusals", "start"]

USUAL_BINS = 10
CERTAIN = 1e-8
DISGUISED = Refusal(
    "count-in-disguise", "'{}' takes at most two values, so that its calibration would be a table of counts; count it with a table"
)
_LOGIT = "logit of the prediction"


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """A probability and an outcome."""
    return scores.check(question, kinds, levels)


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    if state["step"] in ("slope", "large"):
        return glm.local(_with_logit(frame, question), _model(question, state["step"]), state["fit"])
    return np.array(scores.local(frame, question, state), dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used."""
    if state["step"] in ("slope", "large"):
        return _told(glm.refusals(total, _model(question, state["step"]), state["fit"], terms), question)
    return scores.refusals(total, question, state, terms, probability=True)


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries the result, or `refused` where no finite fit exists."""
    if state["step"] not in ("slope", "large"):
        after = scores.advance(total, question, state, terms)
        return after if after["step"] != "counted" else _fit("slope", question, after, terms)
    fit = glm.advance(total, _model(question, state["step"]), state["fit"], terms)
    if fit["step"] != "done":
        return {**state, "fit": fit}
    if "refused" in fit:
        return refusal.end(*_told(refusal.read(fit), question))
    if fit["result"].get("implied_counts") and state["step"] == "slope":
        return refusal.end(DISGUISED.about(question["score"]))
    kept = {key: fit["result"][key] for key in ("coefficients", "standard_errors")}
    if state["step"] == "slope":
        return _fit("large", question, {**state, "slope": kept}, terms)
    return {"step": "done", "result": _result(question, {**state, "large": kept}, smallest=terms.smallest_cell)}


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """`intervals` of 95 per cent, and the `curve`: of each bin what was predicted and what was seen, with Wilson's interval."""
    intervals = {
        name: None if error is None else [result["estimates"][name] - inference.Z * error, result["estimates"][name] + inference.Z * error]
        for name, error in result["standard_errors"].items()
    }
    curve = []
    for one in result["bins"]:
        if None in (one["events"], one["others"]):
            curve.append({"predicted": one["predicted"]} | dict.fromkeys(("observed", "low", "high", "n")))
            continue
        n = one["events"] + one["others"]
        low, high = (None, None) if result.get("repeated_people") else inference.share(one["events"], n)
        curve.append({"predicted": one["predicted"], "observed": one["events"] / n, "low": low, "high": high, "n": n})
    return {**result, "intervals": intervals, "curve": curve}


def _fit(step: str, question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    return {**state, "step": step, "fit": glm.start(_model(question, step), terms)}


def _with_logit(frame: Frame, question: dict[str, Any]) -> Frame:
    """The rows with both values, and the logit of the prediction as a column of its own."""
    inside = scores.cases(frame, question)
    predicted = np.clip(inside.numbers(question["score"]), CERTAIN, 1 - CERTAIN)
    column = Column(_LOGIT, np.log(predicted / (1 - predicted)), None, ())
    return Frame(persons=inside.persons, columns={**inside.columns, _LOGIT: column})


def _model(question: dict[str, Any], step: str) -> dict[str, Any]:
    """The question to glm: the outcome on the logit, or on nothing with the logit as offset."""
    columns = [{"name": "Intercept", "factors": []}, {"name": _LOGIT, "factors": [{"column": _LOGIT}]}]
    outcome = question["outcome"]
    model = {"kind": "glm", "family": "binomial", "formula": f"{outcome} ~ {_LOGIT}", "levels": {}, "two_valued": []}
    model |= {key: question[key] for key in ("hospitals", "here") if key in question}
    if step == "slope":
        return model | {"design": {"outcome": outcome, "columns": columns}}
    return model | {"design": {"outcome": outcome, "columns": columns[:1]}, "offset": _LOGIT}


def _told(reasons: Sequence[Refusal], question: dict[str, Any]) -> list[Refusal]:
    return [reason.calling(_LOGIT, question["score"]) for reason in reasons]


def _result(question: dict[str, Any], state: dict[str, Any], *, smallest: int) -> dict[str, Any]:
    bins = scores.merged(state["bins"], smallest=smallest, most=question.get("bins", USUAL_BINS))
    found = scores.result(question, state, bins)
    for told, one in zip(found["bins"], bins, strict=True):
        told["predicted"] = one["score"] / (one["ones"] + one["zeros"])
    slope, large = state["slope"], state["large"]
    estimates = {
        "intercept": slope["coefficients"]["Intercept"],
        "slope": slope["coefficients"][_LOGIT],
        "in_the_large": large["coefficients"]["Intercept"],
    }
    errors = {
        "intercept": slope["standard_errors"]["Intercept"],
        "slope": slope["standard_errors"][_LOGIT],
        "in_the_large": large["standard_errors"]["Intercept"],
    }
    rows = sum(one["ones"] + one["zeros"] for one in bins)
    observed, expected = sum(one["ones"] for one in bins) / rows, sum(one["score"] for one in bins) / rows
    found |= {"estimates": {**estimates, "observed": observed, "expected": expected, "ratio": observed / expected}}
    return {**found, "standard_errors": dict.fromkeys(errors) if state["repeated"] else errors}
