"""Asks for a model as a study does: formulas compiled by the client's half, checked by the node's, answered over hospitals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pumasi.analysis import design, methods
from pumasi.analysis.filter import seen
from pumasi.analysis.frame import Frame
from tests.analysis_rounds import frame, kind_of, run


def names(tables: Sequence[pd.DataFrame]) -> list[str]:
    return [f"h{place}" for place in range(len(tables))]


def frames(tables: Sequence[pd.DataFrame], question: dict[str, Any], *, person: str | None = None) -> list[Frame]:
    """What the method sees of each table."""
    hospitals = names(tables)
    return [
        seen(frame(table, question["levels"], person=person), question | {"hospitals": hospitals, "here": here})
        for here, table in zip(hospitals, tables, strict=True)
    ]


def question(kind: str, tables: Sequence[pd.DataFrame], *, levels: dict[str, list[str]] | None = None, **fields: Any) -> dict[str, Any]:
    """A question as a node completes it; `formula` of a Cox model is a right-hand side."""
    kinds: dict[str, Any] = {str(name): kind_of(tables[0][name]) for name in tables[0].columns}
    known, agreed = {**kinds, "hospital": "text"}, {**(levels or {}), "hospital": names(tables)}
    asked: dict[str, Any] = {"name": "a", "kind": kind, "table": "t", **fields}
    if "formula" in fields:
        formula = fields["formula"] if "~" in fields["formula"] else f"{fields['event']} ~ {fields['formula']}"
        plain = design.compile(formula, kinds=known, levels=agreed)
        if "event" in fields:
            plain = {**plain, "columns": [column for column in plain["columns"] if column["factors"]]}
        asked["design"] = plain
    if "compare" in fields:
        asked["compare_design"] = design.compile(fields["compare"], kinds=known, levels=agreed)
    reasons = methods.KINDS[kind].check(asked, known, agreed)
    assert reasons == [], reasons
    whole = {"column_kinds": kinds, "levels": levels or {}, "two_valued": [], "hospitals": names(tables)}
    return asked | whole


def ask(
    kind: str,
    tables: Sequence[pd.DataFrame],
    *,
    levels: dict[str, list[str]] | None = None,
    smallest_cell: int = 5,
    person: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """The result over these hospitals, or what was refused."""
    asked = question(kind, tables, levels=levels, **fields)
    one_here = [asked | {"here": here} for here in names(tables)]
    return run(asked, frames(tables, asked, person=person), smallest_cell=smallest_cell, each=one_here)


def pooled(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows together, with the hospital of each."""
    return pd.concat([table.assign(hospital=name) for name, table in zip(names(tables), tables, strict=True)], ignore_index=True)


def near(found: float, wanted: float, *, within: float = 1e-9) -> None:
    assert abs(found - wanted) <= within * max(1e-3, abs(wanted)), (found, wanted)


def digits(reasons: Sequence[str]) -> bool:
    return any(np.char.isdigit(list(reason)).any() for reason in reasons)
