"""Generalised linear models over hospitals: the fit that pooled rows would give, from sums alone, one round over the hospitals per step.

1. count   people and rows with complete cases, and who has a value other than zero in each column: before anything is added up
2. mean    of each column, of the outcome, of weights and offset
3. spread  people on each side of the mean, squares, and the cells of a model that is a table in disguise
4. start   the first weighted least squares step, on columns centred and scaled by what 2 and 3 found
5. fit     Newton's steps of all models of the question at once (glm_fit.py), until they are done: no total is ever NaN
6. errors  only for robust or clustered errors, and for the likelihood of gamma: one round at the end
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks, covariates, design, disguise, glm_fit, robust, sums
from pumasi.analysis.family import OUTCOMES, deviance, link, saturated, valid
from pumasi.analysis.forms import HOSPITAL
from pumasi.analysis.glm_fit import FOLDS, cases_of, weight_of
from pumasi.analysis.glm_result import columns_of
from pumasi.analysis.matrix import levels_used, numbers_used, outside
from pumasi.analysis.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pumasi.analysis.frame import Frame, Terms
    from pumasi.analysis.matrix import Cases

# With three hospitals, each could work out the other two's scores from their sum and the sum of their squares.
LEAST_CLUSTERS = 4

STRANGE = Refusal("invalid-values", "the outcome '{}' of a {} model must be {}")
UNCODED = Refusal("invalid-values", "the outcome '{}' has two values and every predictor has only levels; code the outcome zero and one")
UNWEIGHED = Refusal("invalid-values", "the weights '{}' must be above zero; leave out the rows that should not count with 'where'")
HEAVY = Refusal("dominance", "a few people have most of the weight of '{}', so the model would be about them; even it out")
EXPOSED = Refusal("dominance", "a few people have most of the exposure in '{}', so the model would be about them")
FEW_CLUSTERS = Refusal(
    "few-hospitals", "errors clustered by hospital need at least four hospitals with people in the model; leave out 'cluster'"
)


def check(question: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Why a node may not fit this model, whatever the client said."""
    reasons = design.check(question["design"], kinds, levels)
    if "compare" in question:
        reasons += [f"'compare': {reason}" for reason in design.check(question.get("compare_design"), kinds, levels)]
    if reasons:
        return reasons
    used, outcome = design.named(question["design"]), question["design"]["outcome"]
    if kinds[outcome] == "text" and question["family"] != "binomial":
        reasons.append(f"the outcome '{outcome}' has two levels, which is for a binomial model; a {question['family']} model needs numbers")
    for key in ("offset", "weights"):
        name = question.get(key)
        if name is not None and kinds.get(name) != "number":
            reasons.append(f"'{key}' names '{name}', which holds {kinds.get(name, 'no')} values; it must be a column of numbers")
        elif name in used:
            reasons.append(f"'{key}' names '{name}', which the formula uses already; leave it out of one of them")
    if "compare" in question and design.subset(question["compare_design"], question["design"]) is None:
        reasons.append("the smaller model of 'compare' has a column that the model has not, or all that it has; take terms away from it")
    if "compare" in question and question.get("ridge", 0) != 0:
        reasons.append("a likelihood-ratio test compares models without a penalty; leave out 'compare' or 'ridge'")
    if "cluster" in question and "robust" in question:
        reasons.append("'cluster' and 'robust' are two kinds of standard errors; leave out one of them")
    if "cluster" in question and HOSPITAL in used:
        reasons.append("with a coefficient for each hospital, errors that are clustered by hospital mean nothing; leave out one of them")
    return reasons


def groups(frame: Frame, question: dict[str, Any]) -> list[NDArray[np.int64]]:
    """One partition: 0 for a complete case, -1 for a row that the model leaves out."""
    return [frame.complete(columns_of(question))]


def group_counts(question: dict[str, Any]) -> list[int]:
    return [1]


def finish(result: dict[str, Any]) -> dict[str, Any]:
    """The p-value of the comparison."""
    if "compare" not in result:
        return result
    from scipy.special import chdtrc

    test = result["compare"]
    return {**result, "compare": {**test, "p": float(chdtrc(test["df"], test["statistic"]))}}


def start(question: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The fixed first state."""
    return {"step": "count"}


def local(frame: Frame, question: dict[str, Any], state: dict[str, Any]) -> NDArray[np.float64]:
    """What this hospital adds to the sum of this step."""
    cases = cases_of(frame, question)
    match state["step"]:
        case "count":
            partial = [frame.people(np.ones(frame.rows, dtype=bool)), *_counts(cases, question), *outside(frame, question["design"])]
        case "mean":
            partial = [digit for column in _means(cases, question, state) for digit in sums.wide(column)]
        case "spread":
            partial = _spreads(cases, question, state)
        case "start":
            partial = glm_fit.local_start(cases, question, state)
        case "fit":
            partial = glm_fit.local_fit(cases, question, state)
        case "errors":
            partial = glm_fit.local_errors(cases, question, state)
        case step:
            raise ValueError(f"a glm has no step {step!r}")
    return np.array(partial, dtype=np.float64)


def refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    """Why these totals may not be used: too few people, too many parameters, a column or a cell that singles people out."""
    match state["step"]:
        case "count":
            return _count_refusals(total, question, terms)
        case "spread":
            return _spread_refusals(total, question, state, terms)
        case _:
            return []


def advance(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> dict[str, Any]:
    """The next state. Step "done" carries `result`, or `refused` where no finite and unique estimate exists."""
    match state["step"]:
        case "count":
            counted = _read_counts(total, question)
            kept = {key: counted[key] for key in ("people", "rows", "hospitals", "disguised", "zero_one")}
            left = covariates.dropped(counted["everybody"], counted["people"], smallest_cell=terms.smallest_cell)
            return {"step": "mean", **kept, "dropped": left}
        case "mean":
            return _advance_mean(total, question, state)
        case "spread":
            return _advance_spread(total, question, state)
        case "start":
            return glm_fit.advance_start(total, question, state)
        case "fit":
            return glm_fit.advance_fit(total, question, state)
        case "errors":
            return glm_fit.advance_errors(total, question, state)
        case step:
            raise ValueError(f"a glm has no step {step!r}")


def _designs(question: dict[str, Any]) -> list[dict[str, Any]]:
    """The model, and the smaller one that it is compared with."""
    return [question["design"], *([question["compare_design"]] if "compare" in question else [])]


def _many(values: NDArray[np.float64]) -> bool:
    """More than two different values, at this hospital."""
    others = values[values != values[0]] if len(values) else values
    return bool(np.any(others != others[0])) if len(others) else False


# 1. count


def _counts(cases: Cases, question: dict[str, Any]) -> list[float]:
    columns = covariates.values(cases, question["design"])
    numbers = {name: cases.number(name) for name in numbers_used(question["design"])}
    weight = weight_of(cases, question)
    return [
        cases.frame.people(np.ones(cases.rows, dtype=bool)),
        cases.rows,
        any(sums.too_large(one) for one in [*columns, cases.outcome, *numbers.values(), *cases.beside.values()]),
        not valid(question["family"], cases.outcome),
        not valid("binomial", cases.outcome),
        bool(np.any(weight < 1 / sums.LARGEST)),  # below that a sum of weights may be lost in rounding
        cases.rows > 0,
        *(any(_many(one) for one in [cases.outcome, *(numbers[name] for name in numbers_used(plain))]) for plain in _designs(question)),
        *(cases.frame.people(one != 0) for one in columns),
    ]


def _read_counts(total: Sequence[float], question: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    counted: dict[str, Any] = {"everybody": reader.count(), "people": reader.count(), "rows": reader.count()}
    counted |= {"too_large": reader.flag(), "invalid": reader.flag(), "zero_one": not reader.flag(), "unweighed": reader.flag()}
    counted["hospitals"] = reader.count()
    counted["disguised"] = [not reader.flag() for _ in _designs(question)]
    counted["other_than_zero"] = [reader.count() for _ in covariates.predictors(question["design"])]
    counted["outside"] = [name for name in levels_used(question["design"]) if reader.flag()]
    reader.end()
    return counted


def _count_refusals(total: Sequence[float], question: dict[str, Any], terms: Terms) -> list[Refusal]:
    plain = question["design"]
    counted = _read_counts(total, question)
    reasons = [checks.OUTSIDE.about(name) for name in counted["outside"]]
    reasons += covariates.size_refusals(people=counted["people"], parameters=len(plain["columns"]), smallest_cell=terms.smallest_cell)
    if counted["people"] == 0:
        return reasons
    if counted["invalid"]:
        reasons.append(STRANGE.about(plain["outcome"], question["family"], OUTCOMES[question["family"]]))
    if counted["too_large"]:
        reasons.append(covariates.TOO_LARGE)
    if counted["unweighed"] and "weights" in question:
        reasons.append(UNWEIGHED.about(question["weights"]))
    if "cluster" in question and counted["hospitals"] < LEAST_CLUSTERS:
        reasons.append(FEW_CLUSTERS)
    for column, people in zip(covariates.predictors(plain), counted["other_than_zero"], strict=True):
        if people < terms.smallest_cell:
            reasons.append(covariates.ONE_SIDED.about(column["name"]))
    return reasons


# 2. mean


def _means(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[NDArray[np.float64]]:
    numbers = [cases.number(name) for name in numbers_used(question["design"])] if any(state["disguised"]) else []
    beside = [cases.beside[question[key]] for key in ("weights", "offset") if key in question]
    return [*covariates.values(cases, question["design"]), cases.outcome, *numbers, *beside]


def _advance_mean(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader, rows = sums.Reader(total), state["rows"]
    means = [reader.wide() / rows if column["factors"] else 0.0 for column in question["design"]["columns"]]
    after = {**state, "step": "spread", "means": means, "outcome_mean": reader.wide() / rows}
    numbers = numbers_used(question["design"]) if any(state["disguised"]) else []
    after["number_means"] = {name: reader.wide() / rows for name in numbers}
    after |= {f"{key}_mean": reader.wide() / rows for key in ("weights", "offset") if key in question}
    reader.end()
    return after


# 3. spread


def _own_null(question: dict[str, Any]) -> bool:
    """Whether the model of nobody's predictors has to be fitted too, because everybody's mean is not it."""
    return "weights" in question or ("offset" in question and question["family"] != "gaussian")


def _folds(question: dict[str, Any]) -> int:
    return FOLDS if question.get("ridge") == "cv" else 0


def _spreads(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    plain, family = question["design"], question["family"]
    means = [float(mean) for column, mean in zip(plain["columns"], state["means"], strict=True) if column["factors"]]
    outcome_mean, weight = float(state["outcome_mean"]), weight_of(cases, question)
    fold = covariates.folds(cases.frame.persons, _folds(question) or 1)
    partial: list[float] = []
    for column, mean in zip([*covariates.values(cases, plain), cases.outcome], [*means, outcome_mean], strict=True):
        partial += covariates.local_sides(cases.frame, column, mean, fold, _folds(question))
    middle = link(family, outcome_mean)
    null = np.zeros(cases.rows) if middle is None else weight * deviance(family, cases.outcome, linear=np.full(cases.rows, middle))
    partial += [*sums.wide(null), *sums.wide(saturated(family, cases.outcome, weight))]
    partial += _concentration(cases, question, state)
    for design_of, disguised in zip(_designs(question), state["disguised"], strict=True):
        if disguised:
            numbers = [state["number_means"][name] for name in numbers_used(design_of)]
            partial += disguise.local_counts(cases, design_of, means=numbers, outcome_mean=outcome_mean)
    return partial + _units(cases, question, state)


def _measured(question: dict[str, Any]) -> list[tuple[int | None, str]]:
    """The columns of numbers that stand by themselves in the model, each with its place; the outcome has none."""
    design_columns = question["design"]["columns"]
    alone = [(place, column["factors"][0]["column"]) for place, column in enumerate(design_columns) if len(column["factors"]) == 1]
    numbers: list[tuple[int | None, str]] = [(place, name) for place, name in alone if "level" not in design_columns[place]["factors"][0]]
    return numbers + ([(None, question["design"]["outcome"])] if question["family"] in ("gaussian", "gamma") else [])


def _units(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """For each of them whether its values here look like those of another unit."""
    flags: list[float] = []
    for place, name in _measured(question):
        values, mean = (cases.outcome, state["outcome_mean"]) if place is None else (cases.number(name), state["means"][place])
        flags.append(robust.is_in_another_unit(values, rows=state["rows"], mean=float(mean)))
    return flags


def _concentration(cases: Cases, question: dict[str, Any], state: dict[str, Any]) -> list[float]:
    """How evenly people count: sum and squares of each person's weight and exposure, and people on each side of the offset."""
    partial: list[float] = []
    person = np.unique(cases.frame.persons, return_inverse=True)[1].reshape(-1)
    if "weights" in question:
        each = _per_person(person, cases.beside[question["weights"]] / float(state["weights_mean"]))
        partial += [*sums.wide(each), *sums.wide(each**2)]
    if "offset" in question:
        away = cases.beside[question["offset"]] - float(state["offset_mean"])
        each = _per_person(person, np.exp(np.clip(away, -60, 60)))
        partial += [cases.frame.people(away > 0), cases.frame.people(away <= 0)]
        partial += [*sums.wide(away**2), *sums.wide(each), *sums.wide(each**2)]
    return partial


def _per_person(person: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(person, weights=values).astype(np.float64)


def _read_spreads(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    reader = sums.Reader(total)
    sides = [covariates.read_sides(reader, _folds(question)) for _ in [*covariates.predictors(question["design"]), "outcome"]]
    spread: dict[str, Any] = {"sides": sides, "null_deviance": reader.wide(), "saturated": reader.wide()}
    if "weights" in question:
        spread["weights"] = _even(reader.wide(), reader.wide())
    if "offset" in question:
        spread["offset_side"] = min(reader.count(), reader.count())
        spread["offset_squares"], spread["offset"] = reader.wide(), _even(reader.wide(), reader.wide())
    spread["counts"] = []
    for plain, disguised in zip(_designs(question), state["disguised"], strict=True):
        numbers = [state["number_means"][name] for name in numbers_used(plain)] if disguised else []
        spread["counts"].append(disguise.read(reader, plain, means=numbers, outcome_mean=state["outcome_mean"]) if disguised else None)
    spread["findings"] = [robust.OTHER_UNIT.format(name) for _, name in _measured(question) if reader.flag()]
    reader.end()
    return spread


def _even(total: float, squares: float) -> float:
    """How many people of equal weight would give as precise a mean (Kish, Survey Sampling, 1965, 11.7)."""
    return total * total / squares if squares > 0 else 0.0


def _spread_refusals(total: Sequence[float], question: dict[str, Any], state: dict[str, Any], terms: Terms) -> list[Refusal]:
    plain, least = question["design"], terms.smallest_cell
    spread = _read_spreads(total, question, state)
    names = [*(column["name"] for column in covariates.predictors(plain)), plain["outcome"]]
    reasons = covariates.side_refusals(names, spread["sides"], smallest_cell=least)
    even = max(least, covariates.PEOPLE_PER_PARAMETER * len(plain["columns"]))
    if "weights" in question and spread["weights"] < even:
        reasons.append(HEAVY.about(question["weights"]))
    if "offset" in question and spread["offset_squares"] > 0:
        if spread["offset_side"] < least:
            reasons.append(covariates.ONE_SIDED.about(question["offset"]))
        if question["family"] == "poisson" and spread["offset"] < even:
            reasons.append(EXPOSED.about(question["offset"]))
    for counts, design_of in zip(spread["counts"], _designs(question), strict=True):
        if counts is None or not counts.table:
            continue
        if not state["zero_one"]:
            reasons.append(UNCODED.about(plain["outcome"]))
        reasons += disguise.refusals(counts, design_of, smallest_cell=least)
    return list(dict.fromkeys(reasons))


def _advance_spread(total: Sequence[float], question: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    plain, rows = question["design"], state["rows"]
    spread = _read_spreads(total, question, state)
    intercept = len(covariates.predictors(plain)) < len(plain["columns"])
    centres, scales = [], []
    left = iter(spread["sides"])
    for column, mean in zip(plain["columns"], state["means"], strict=True):
        squares = next(left).squares if column["factors"] else 0.0
        centres.append(mean if intercept else 0.0)
        scales.append(covariates.scale(squares, rows=rows, mean=0.0 if intercept else mean) if column["factors"] else 1.0)
    outcome = next(left)
    same = [column["name"] for column, scale in zip(plain["columns"], scales, strict=True) if scale == 0.0]
    if outcome.squares == 0.0:
        same.append(plain["outcome"])
    if same:
        return covariates.flat(same)
    kept = ("people", "rows", "hospitals", "dropped", "zero_one", "outcome_mean", "weights_mean")
    after = {key: state[key] for key in kept if key in state} | {"step": "start", "centres": centres, "scales": scales}
    after |= {"null_deviance": None if _own_null(question) else spread["null_deviance"], "saturated": spread["saturated"]}
    after |= _outcome_scale(question["family"], state, spread=covariates.scale(outcome.squares, rows=rows), intercept=intercept)
    after["sides"] = [outcome.above[0], outcome.below[0]]
    after |= {"findings": spread["findings"]} if spread["findings"] else {}
    if spread["counts"][0] is not None:
        after["implied_counts"] = disguise.implied(
            spread["counts"][0],
            plain,
            outcome=(outcome.above[0], outcome.below[0]),
            levels=[checks.level(question, plain["outcome"], value) for value in ("0", "1")],
        )
    return after


def _outcome_scale(family: str, state: dict[str, Any], *, spread: float, intercept: bool) -> dict[str, float]:
    """A gaussian outcome is fitted as (y - centre) / scale; sums are taken in units of what one row of usual weight and count adds."""
    mean, weight = state["outcome_mean"], state.get("weights_mean", 1.0)
    if family != "gaussian":
        return {"centre": 0.0, "scale": 1.0, "unit": weight * mean if family == "poisson" else weight}
    if intercept:
        return {"centre": mean, "scale": spread, "unit": weight}
    return {"centre": 0.0, "scale": math.hypot(spread, mean), "unit": weight}
