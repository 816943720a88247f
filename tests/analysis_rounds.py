"""Runs a method over hospitals as the nodes do: fixed point in, exact sum out, states as canonical JSON, each recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from formulaic import model_matrix

from pumasi.analysis import design, methods, refusal, secure
from pumasi.analysis.frame import Column, Frame, Terms
from pumasi.kernel.envelope import canonical, parse_canonical

FAMILIES = {"gaussian": sm.families.Gaussian, "binomial": sm.families.Binomial, "poisson": sm.families.Poisson}


def level(value: Any) -> str | None:
    """A value as agreed levels are written."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    return str(int(value)) if value == int(value) else str(value)


def frame(table: pd.DataFrame, levels: dict[str, list[str]] | None = None, *, person: str | None = None) -> Frame:
    columns = {}
    for name in table.columns:
        agreed = (levels or {}).get(name, [])
        values = table[name].to_list()
        numeric = table[name].dtype.kind in "fiu"
        codes = None
        if agreed or not numeric:
            texts = [level(value) for value in values]
            codes = np.array([-1 if text is None else agreed.index(text) if text in agreed else -2 for text in texts], dtype=np.int32)
        numbers = table[name].to_numpy(dtype=np.float64) if numeric else None
        columns[name] = Column(name=name, numbers=numbers, codes=codes, levels=tuple(agreed))
    persons = pd.factorize(table[person])[0] if person else np.arange(len(table))
    return Frame(persons=persons.astype(np.int64), columns=columns)


def run(
    question: dict[str, Any], frames: Sequence[Frame], *, smallest_cell: int = 10, each: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What is published, or the reasons why nothing is, either with the number of "rounds"."""
    return finished(question, summed(question, frames, smallest_cell=smallest_cell, each=each))


def finished(question: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """As a node ends it: with what follows from the numbers."""
    if "refused" in found:
        return found
    head = {key: question[key] for key in ("name", "kind", "table", "by") if key in question}
    whole = methods.KINDS[question["kind"]].finish(head | found)
    return {key: value for key, value in whole.items() if key not in head}


def summed(
    question: dict[str, Any], frames: Sequence[Frame], *, smallest_cell: int = 10, each: Sequence[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The result of the sums alone, before anything is left out. `each`: the question as each hospital has it."""
    method, terms = methods.KINDS[question["kind"]], Terms(smallest_cell=smallest_cell, hospitals=len(frames))
    state, rounds = method.start(question, terms), 0
    lead = state  # as it is where it was computed; everybody else has what travelled, its keys sorted
    while state["step"] != "done":
        rounds += 1
        partials = [method.local(one, own, state).tolist() for one, own in zip(frames, each or [question] * len(frames), strict=True)]
        total = secure.decode(secure.add(secure.encode(partial, hospitals=len(frames)) for partial in partials))
        judged = [method.refusals(total, question, state, terms)]
        if len(frames) <= 2:
            judged += [method.refusals(partial, question, state, terms) for partial in partials]
        if any(judged):
            return {**refusal.told(list(dict.fromkeys(reason for reasons in judged for reason in reasons))), "rounds": rounds}
        assert method.local(frames[0], (each or [question])[0], lead).tolist() == partials[0]
        assert method.refusals(total, question, lead, terms) == []
        lead = method.advance(total, question, lead, terms)
        sent = parse_canonical(canonical(lead))
        assert methods.agree(method.advance(total, question, state, terms), sent)
        state = sent
    return {**(state["result"] if "result" in state else refusal.told(refusal.read(state))), "rounds": rounds}


def answered(
    asked: dict[str, Any],
    tables: Sequence[pd.DataFrame],
    levels: dict[str, list[str]],
    *,
    person: str | None = None,
    smallest_cell: int = 10,
    finish: bool = True,
    instead: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The answer to a question as a study asks it, checked and completed as a node does; `instead` of the sums' result, if given."""
    names = [name for name in tables[0].columns if name != person]
    kinds = {name: kind_of(tables[0][name]) for name in names}
    agreed = {name: levels.get(name, []) for name in names}
    method = methods.KINDS[asked["kind"]]
    assert (wrong := method.check(asked, kinds, agreed)) == [], wrong
    two = [name for name in names if kinds[name] == "number" and len(agreed[name]) == 2]
    question: dict[str, Any] = {"name": "it", "table": "t", **asked, "column_kinds": kinds, "levels": agreed, "two_valued": two}
    found = instead or summed(question, [frame(table, levels, person=person) for table in tables], smallest_cell=smallest_cell)
    return finished(question, found) if finish else found


def split(table: pd.DataFrame, hospitals: int, *, seed: int = 1) -> list[pd.DataFrame]:
    """Rows dealt to hospitals at random, unevenly; some hospital may get none."""
    site = np.minimum(np.random.default_rng(seed).geometric(0.4, len(table)) - 1, hospitals - 1)
    return [table[site == hospital] for hospital in range(hospitals)]


def glm(
    formula: str,
    family: str,
    tables: Sequence[pd.DataFrame],
    *,
    levels: dict[str, list[str]] | None = None,
    smallest_cell: int = 10,
    person: str | None = None,
) -> dict[str, Any]:
    agreed = levels or {}
    kinds = {name: kind_of(tables[0][name]) for name in tables[0].columns}
    plain = design.compile(formula, kinds=kinds, levels=agreed)
    assert design.check(plain, kinds, agreed) == []
    question = {"kind": "glm", "family": family, "formula": formula, "design": plain}
    return run(question, [frame(table, agreed, person=person) for table in tables], smallest_cell=smallest_cell)


def kind_of(column: pd.Series[Any]) -> design.Kind:
    if column.dtype.kind == "b":
        return "boolean"
    return "number" if column.dtype.kind in "fiu" else "text"


class Pooled:
    """The fit of all rows together by statsmodels, on columns scaled by powers of two so that its own rounding does not matter."""

    def __init__(self, formula: str, family: str, table: pd.DataFrame) -> None:
        matrices = model_matrix(formula, table)
        outcome, columns = np.asarray(matrices.lhs, dtype=float).ravel(), np.asarray(matrices.rhs, dtype=float)
        scale = 2.0 ** np.round(np.log2(np.sqrt((columns**2).mean(axis=0))))
        unit = 2.0 ** np.round(np.log2(np.abs(outcome).max())) if family == "gaussian" else 1.0
        fit = sm.GLM(outcome / unit, columns / scale, family=FAMILIES[family]()).fit(tol=1e-14, maxiter=200)
        self.names = list(matrices.rhs.columns)
        self.coefficients = dict(zip(self.names, fit.params * unit / scale, strict=True))
        self.standard_errors = dict(zip(self.names, fit.bse * unit / scale, strict=True))
        self.log_likelihood = fit.llf - len(outcome) * np.log(unit)
        self.deviance, self.null_deviance = fit.deviance * unit**2, fit.null_deviance * unit**2
        self.rows, self.df_residual = len(outcome), fit.df_resid


def assert_pooled(found: dict[str, Any], pooled: Pooled, *, coefficients: float = 1e-9, errors: float = 1e-6) -> None:
    """Coefficients to 1e-9 of themselves or of their standard error, whichever is larger."""
    assert "refused" not in found, found["refused"]
    assert found["terms"] == pooled.names
    for name in pooled.names:
        near = coefficients * max(abs(pooled.coefficients[name]), pooled.standard_errors[name])
        assert abs(found["coefficients"][name] - pooled.coefficients[name]) <= near, name
        assert abs(found["standard_errors"][name] / pooled.standard_errors[name] - 1) <= errors, name
    assert abs(found["log_likelihood"] - pooled.log_likelihood) <= 1e-9 * abs(pooled.log_likelihood)
    assert abs(found["deviance"] - pooled.deviance) <= 1e-9 * pooled.deviance
    assert abs(found["null_deviance"] - pooled.null_deviance) <= 1e-9 * pooled.null_deviance
    assert (found["df_residual"], found["converged"]) == (pooled.df_residual, True)
