"""Cases from the handbooks of disclosure control (Hundepool and others, 2012, chapter 4), each with the way in that is closed."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest

from pumasi.analysis.attacker import View
from pumasi.analysis.population import Joint, Model, Who
from pumasi.analysis.suppression import CLEAR, findings, protect

LEVELS = {
    ("patients", "aspirin"): ["0", "1"],
    ("patients", "conscious"): ["full", "drowsy", "unconscious"],
    ("patients", "died"): ["0", "1"],
}


def table(counts: Any, *by: str, levels: dict[tuple[str, str], list[str]] = LEVELS, **more: Any) -> dict[str, Any]:
    array = np.array(counts)
    names = itertools.product(*(levels["patients", column] for column in by))
    cells = [{**dict(zip(by, some, strict=True)), "n": int(count)} for some, count in zip(names, array.ravel(), strict=True)]
    return {"kind": "table", "table": "patients", "by": list(by), "n": int(array.sum()), "cells": cells, **more}


def describe(n: int, **columns: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "describe", "table": "patients", "n": n, "columns": columns}


def levels_of(*counts: int, missing: int = 0, names: tuple[str, ...] = ("0", "1")) -> dict[str, Any]:
    return {"n": sum(counts), "missing": missing, "levels": dict(zip(names, counts, strict=True))}


def safe(
    *results: dict[str, Any], earlier: tuple[dict[str, Any], ...] = (), smallest: int = 10, repeated: bool = False
) -> list[dict[str, Any]]:
    return protect(list(results), earlier=list(earlier), levels=LEVELS, smallest_cell=smallest, repeated_people=repeated)


def counts(result: dict[str, Any]) -> list[int | None]:
    return [cell["n"] for cell in result["cells"]]


def test_large_counts_are_published_as_they_are() -> None:
    results = [table([[30, 40, 50], [60, 70, 80]], "aspirin", "conscious"), describe(330, aspirin=levels_of(120, 210))]
    asked = copy.deepcopy(results)
    assert safe(*results) == results == asked
    assert findings(results, safe(*results)) == [CLEAR]


def test_a_number_of_which_only_some_values_are_levels_stops_no_other_result() -> None:
    """Three ages that enough people share; others have ages of their own, so that nobody of these ages alone makes this mean and sd."""
    ages = {("patients", "age"): ["68", "75", "83"]}
    results = [
        table([[30, 40, 50], [60, 70, 80]], "aspirin", "conscious"),
        describe(330, age={"n": 330, "missing": 0, "mean": 55.0, "sd": 30.0}),
    ]
    assert protect(results, earlier=[], levels=LEVELS | ages, smallest_cell=10, repeated_people=False) == results
    small = [table([[30, 40, 50], [60, 70, 3]], "aspirin", "conscious"), results[1]]
    protected = protect(small, earlier=[], levels=LEVELS | ages, smallest_cell=10, repeated_people=False)
    assert counts(protected[0])[-1] is None and counts(protected[0]).count(None) >= 2 and "refused" not in protected[1]


@pytest.mark.parametrize("small", [0, 1, 9])
def test_one_small_cell_takes_a_second_one_along(small: int) -> None:
    protected = safe(table([small, 40, 300], "conscious"))[0]
    assert counts(protected) == [None, None, 300]
    assert protected["n"] == small + 340


def test_smallest_cell_itself_is_published() -> None:
    assert counts(safe(table([10, 40, 300], "conscious"))[0]) == [10, 40, 300]
    assert counts(safe(table([10, 40, 300], "conscious"), smallest=11)[0]) == [None, None, 300]


def test_two_small_cells_whose_sum_is_small_take_a_third_along() -> None:
    assert counts(safe(table([3, 4, 300], "conscious"))[0]) == [None, None, None]
    assert counts(safe(table([9, 9, 300], "conscious"))[0]) == [None, None, 300]


def test_described_margins_make_a_small_cell_take_a_rectangle_along() -> None:
    cells = table([[3, 40, 50], [60, 70, 80]], "aspirin", "conscious")
    margins = describe(303, aspirin=levels_of(93, 210), conscious=levels_of(63, 110, 130, names=("full", "drowsy", "unconscious")))
    alone, (beside, described) = safe(cells)[0], safe(cells, margins)
    assert counts(alone) == [None, None, 50, 60, 70, 80]
    assert counts(beside) == [None, None, 50, None, None, 80]
    assert described == margins


def test_a_one_way_table_is_a_margin_of_a_two_way_table() -> None:
    cells, rows, columns = table([[3, 40], [60, 70]], "aspirin", "died"), table([43, 130], "aspirin"), table([63, 110], "died")
    protected = safe(cells, rows, columns)
    assert counts(protected[0]) == [None] * 4
    assert protected[1:] == [rows, columns]


def test_two_tables_that_share_a_margin_are_judged_together() -> None:
    """Alone the first table hides its small cell behind the next in its column; the second gives the rows away."""
    first, second = table([[4, 80], [60, 70]], "aspirin", "died"), table([[30, 24, 30], [40, 50, 40]], "aspirin", "conscious")
    assert counts(safe(first)[0]) == [None, 80, None, 70]
    protected = safe(first, second)
    assert counts(protected[0]) == [None, None, 60, 70]
    assert protected[1] == second


def test_few_missing_values_are_left_out_but_cost_no_level() -> None:
    """That a few records lack a value says nothing about anybody's value, so totals and levels stay."""
    description = describe(303, aspirin=levels_of(100, 200, missing=3), died=levels_of(103, 200))
    protected = safe(description)[0]
    assert protected["n"] == 303
    assert protected["columns"]["aspirin"] == {"n": 300, "missing": None, "levels": {"0": 100, "1": 200}}
    assert protected["columns"]["died"] == levels_of(103, 200)


def test_missing_values_are_unknowns_of_the_attacker() -> None:
    """A small level beside few missing values is still guarded: the sum of levels is not the total."""
    description = describe(303, aspirin=levels_of(4, 296, missing=3))
    assert safe(description)[0]["columns"]["aspirin"]["levels"] == {"0": None, "1": None}


def test_nobody_missing_is_no_small_group() -> None:
    description = describe(300, aspirin=levels_of(100, 200))
    assert safe(description) == [description]
    complete = {**describe(300, aspirin=levels_of(100, 200), age={"n": 300, "missing": 0, "mean": 70.0, "sd": 10.0}), "where": "age < 80"}
    assert safe(complete, describe(340, aspirin=levels_of(120, 214, missing=6)))[0] == complete
    few = {**describe(300, aspirin=levels_of(100, 197, missing=3)), "where": "age < 80"}
    assert safe(few)[0]["columns"]["aspirin"]["missing"] is None


def test_numbers_of_few_people_have_no_mean() -> None:
    few = {"n": 4, "missing": 296, "mean": 71.5, "sd": 3.1}
    many = {"n": 290, "missing": 10, "mean": 70.0, "sd": 10.0}
    protected = safe(describe(300, age=few, weight=many, height={**many, "n": None, "missing": None}))[0]
    assert protected["columns"]["height"] == {**many, "n": None, "missing": None}
    assert protected["columns"]["age"] == {"n": None, "missing": None, "mean": None, "sd": None}
    assert protected["columns"]["weight"] == many


def test_mean_and_deviation_are_equations_over_agreed_levels() -> None:
    """Three unknown counts, and total, mean and sd known: nothing would be unknown. So the moments go, or more counts."""
    values = np.repeat([0.0, 1.0, 2.0], [4, 30, 66])
    levels = {("patients", "stage"): ["0", "1", "2"]}
    stages = {"n": 100, "missing": 0, "mean": float(values.mean()), "sd": float(values.std(ddof=1))}
    asked = [table([4, 30, 66], "stage", levels=levels), describe(100, stage=stages)]
    one, other = protect(asked, earlier=[], levels=levels, smallest_cell=10, repeated_people=False)
    assert counts(one)[:2] == [None, None]
    assert other["columns"]["stage"]["mean"] is None or one["n"] is None


def test_what_was_released_stays_known() -> None:
    """A tracker: a total now, the same total less a small group later."""
    rows = table([43, 130], "aspirin")
    columns = table([63, 110], "died")
    before = safe(rows, columns)
    assert before == [rows, columns]
    assert counts(safe(table([[3, 40], [60, 70]], "aspirin", "died"), earlier=tuple(before))[0]) == [None] * 4


def test_a_cell_left_out_before_is_left_out_again_with_its_companion() -> None:
    asked = table([3, 40, 300], "conscious")
    first = safe(asked)
    assert safe(asked, earlier=tuple(first)) == first
    full = describe(343, conscious=levels_of(3, 40, 300, names=("full", "drowsy", "unconscious")))
    described = safe(full, earlier=tuple(first))[0]["columns"]["conscious"]
    assert described["levels"] == {"full": None, "drowsy": None, "unconscious": 300}


def test_a_new_table_never_betrays_an_old_one() -> None:
    old = safe(table([[3, 40], [60, 70]], "aspirin", "died"))
    assert counts(old[0]) == [None, None, 60, 70]
    new = safe(table([63, 110], "died"), earlier=tuple(old))[0]
    assert counts(new) == [None, None]


def test_a_result_that_earlier_ones_already_give_away_is_refused() -> None:
    """Everything but the empty cell was released under a lower limit."""
    old = safe(table([43, 130], "aspirin"), table([40, 133], "died"), table([[0, 43], [40, 90]], "aspirin", "died"), smallest=1)
    assert counts(old[2])[0] is None
    given = [{**old[2], "cells": [{**cell, "n": count} for cell, count in zip(old[2]["cells"], [0, 43, 40, 90], strict=True)]}]
    refused = safe(table([[0, 43], [40, 90]], "aspirin", "died", name="who died"), earlier=(old[0], old[1], *given))[0]
    assert set(refused) == {"name", "kind", "table", "by", "refused", "reasons"}
    assert not any(letter.isdigit() for letter in refused["refused"][0])


def test_results_about_other_people_are_refused_and_not_mixed_up() -> None:
    refused = safe(table([[3, 40], [60, 70]], "aspirin", "died"), earlier=(table([40, 130], "aspirin"),))[0]
    assert "refused" in refused
    assert "cells" not in refused


def glm(n: int, **implied: tuple[int, int]) -> dict[str, Any]:
    entries = [
        {
            "column": name,
            "factors": [] if name == "all" else [{"column": name, "level": "1"}],
            "outcome": "died",
            "outcome1": ones,
            "outcome0": zeros,
        }
        for name, (ones, zeros) in implied.items()
    ]
    return {
        "kind": "glm",
        "name": "model",
        "table": "patients",
        "n": n,
        "columns": ["died", "aspirin"],
        "coefficients": {},
        "implied_counts": entries,
    }


def test_a_model_whose_coefficients_count_a_small_group_is_refused() -> None:
    model = glm(173, all=(110, 63), aspirin=(70, 60))
    assert safe(model) == [model]
    small = safe(glm(173, all=(110, 63), aspirin=(3, 127)))[0]
    assert set(small) == {"kind", "name", "table", "refused", "reasons"}
    assert "refused" in safe(glm(9))[0]


def test_a_model_that_says_what_was_left_out_before_is_refused() -> None:
    old = safe(table([[4, 80], [60, 70]], "aspirin", "died"))
    assert counts(old[0]) == [None, 80, None, 70]
    model = glm(214, all=(150, 64), aspirin=(70, 60))
    assert safe(model) == [model]
    assert set(safe(model, earlier=tuple(old))[0]) == {"kind", "name", "table", "refused", "reasons"}


def test_a_model_is_an_equation_like_a_table() -> None:
    """The table loses one row; the model knows the other, so the table must lose more or the model goes."""
    cells = table([[3, 40], [60, 70]], "aspirin", "died")
    model = glm(173, all=(110, 63), aspirin=(70, 60))
    margins = describe(173, aspirin=levels_of(43, 130), died=levels_of(63, 110))
    protected = safe(cells, model, margins)
    assert None in counts(protected[0])
    if "refused" not in protected[1]:
        assert None in protected[2]["columns"]["aspirin"]["levels"].values()
    assert any("refused" in note or "suppressed" in note for note in findings([cells, model, margins], protected))


def test_a_model_of_complete_cases_keeps_its_people() -> None:
    """Everybody less the people of the model are those who lack a value: few of them are no secret worth the model's n."""
    description = describe(303, age={"n": None, "missing": None, "mean": 71.0, "sd": 9.5}, died=levels_of(103, 200))
    model = {"kind": "glm", "table": "patients", "n": 300, "columns": ["age", "died"], "coefficients": {}}
    described, fitted = safe(description, model)
    assert described["columns"]["age"] == {"n": None, "missing": None, "mean": 71.0, "sd": 9.5}
    assert (described["n"], fitted["n"]) == (303, 300)


def test_cells_that_a_table_does_not_mention_are_empty_and_left_out() -> None:
    asked = table([0, 40, 300], "conscious")
    asked["cells"] = [cell for cell in asked["cells"] if cell["n"]]
    protected = safe(asked)[0]
    assert {cell["conscious"]: cell["n"] for cell in protected["cells"]} == {"full": None, "drowsy": None, "unconscious": 300}
    described = safe(describe(340, conscious={"n": 340, "missing": 0, "levels": {"drowsy": 40, "unconscious": 300}}))[0]
    assert described["columns"]["conscious"]["levels"] == {"full": None, "drowsy": None, "unconscious": 300}


@pytest.mark.parametrize("written", [(0, 1), (0.0, 1.0), ("0", "1")])
def test_levels_are_the_same_however_they_are_written(written: tuple[Any, Any]) -> None:
    asked = table([[3, 40], [60, 70]], "aspirin", "died")
    for cell in asked["cells"]:
        cell["aspirin"] = written[int(cell["aspirin"])]
    assert counts(safe(asked, table([43, 130], "aspirin"), table([63, 110], "died"))[0]) == [None] * 4


def test_a_boolean_outcome_is_the_one_and_zero_of_a_model() -> None:
    levels = {("patients", "died"): ["False", "True"], ("patients", "aspirin"): ["0", "1"]}
    cells = [{"aspirin": a, "died": d, "n": n} for (a, d), n in zip(itertools.product("01", [False, True]), [3, 40, 60, 70], strict=True)]
    asked = [
        {"kind": "table", "table": "patients", "by": ["aspirin", "died"], "n": 173, "cells": cells},
        glm(173, all=(110, 63), aspirin=(70, 60)),
    ]
    protected = protect(asked, earlier=[], levels=levels, smallest_cell=10, repeated_people=False)
    assert "refused" in protected[1] or counts(protected[0])[:2] == [None, None]
    assert all(result == again for result, again in zip(protected, safe(*_as_numbers(asked)), strict=True) if "refused" in result)


def _as_numbers(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    cells = [{**cell, "died": str(int(cell["died"]))} for cell in results[0]["cells"]]
    return [{**results[0], "cells": cells}, results[1]]


def test_people_with_several_rows_need_not_add_up() -> None:
    """The cells count 120 visits of 100 people: a small cell among them cannot be found by subtraction, and is left out alone."""
    asked = {**table([4, 56, 60], "conscious"), "n": 100}
    assert counts(safe(asked, repeated=True)[0]) == counts(safe(asked)[0]) == [None, 56, 60]
    assert counts(safe(table([4, 56, 60], "conscious"), repeated=True)[0]) == [None, None, 60]


def bounds(model: Model, known: dict[Who, int], of: Who) -> tuple[float, float]:
    """The least and the most that a group can be."""
    equations = [*model.structure(known), *(equation for who, value in known.items() for equation in model.said(who, value))]
    total = model.sum_of(of)
    assert total is not None
    view = View(model.size, equations, joined=[total], ceiling=1e4)
    weights = np.zeros(model.size)
    weights[total.at] = total.weights
    least, most = (view.furthest(sign * weights, start=None) for sign in (-1, 1))
    assert least is not None
    assert most is not None
    return round(float(weights @ least), 6), round(float(weights @ most), 6)


def pairs(first: str, second: str, cells: list[list[int]]) -> dict[Who, int]:
    return {((first, row), (second, at)): count for row, counts in enumerate(cells) for at, count in enumerate(counts)}


def test_three_tables_in_a_circle_say_more_than_each_two_of_them() -> None:
    """At most 10 + 10 have both b and c: those with a who have the rarer of the two, and those without a likewise."""
    known = {**pairs("a", "b", [[58, 10], [8, 60]]), **pairs("a", "c", [[8, 60], [58, 10]])}
    asked = ((("b", 1), ("c", 1)), (("b", 0), ("c", 0)))
    circle = Joint({"a": 2, "b": 2, "c": 2}, [*known, *asked], complete=frozenset("abc"))
    assert [bounds(circle, known, who) for who in asked] == [(4, 20), (0, 16)]


def test_a_circle_of_too_many_cells_is_bounded_by_its_margins() -> None:
    """Not as well as it could be, but never wrongly."""
    names = {"a": 2, "b": 2, "c": 2, "w": 9, "x": 9, "y": 9, "z": 9}
    circle = list(itertools.pairwise("abcwxyza"))
    groups: list[Who] = [tuple(sorted(((one, 0), (other, 0)))) for one, other in circle]
    known = {**pairs("a", "b", [[58, 10], [8, 60]]), **pairs("b", "c", [[30, 36], [36, 34]])}
    model = Joint(names, [*groups, *known], complete=frozenset(names))
    assert model.size < 1000
    assert bounds(model, known, (("c", 1),)) == (70, 70)
    assert bounds(model, known, (("a", 0), ("z", 0))) == (0, 68)


def test_a_model_of_many_columns_is_bounded_by_each_of_them() -> None:
    names = {f"c{number:02}": 2 for number in range(20)}
    whole: Who = tuple((name, -1) for name in sorted(names))
    model = Joint(names, [whole], complete=frozenset())
    known: dict[Who, int] = {(): 100, whole: 70}
    assert bounds(model, known, (("c00", -1),)) == (70, 100)
    assert bounds(model, {**known, (("c01", -1),): 71}, (("c00", -2),)) == (0, 30)
    assert bounds(model, {**known, **{((name, -1),): 100 for name in names if name != "c00"}}, (("c00", -2),)) == (30, 30)


def test_tables_are_judged_apart() -> None:
    other = {**table([3, 40, 300], "conscious"), "table": "visits"}
    here = table([30, 40, 300], "conscious")
    protected = safe(here, other)
    assert protected[0] == here
    assert counts(protected[1])[0] is None


def test_what_cannot_be_checked_is_refused() -> None:
    curve = {"kind": "survival", "name": "curve", "table": "patients", "times": [1, 2, 3]}
    protected = safe(
        curve, table([30, 40, 300], "conscious"), {"kind": "glm", "name": "fit", "table": "patients", "refused": ["it did not converge"]}
    )
    assert set(protected[0]) == {"kind", "name", "table", "refused", "reasons"}
    assert counts(protected[1]) == [30, 40, 300]
    assert protected[2]["refused"] == ["it did not converge"]
    names = {("patients", "zip"): [str(at) for at in range(200)], ("patients", "day"): [str(at) for at in range(200)]}
    wide = {"kind": "table", "table": "patients", "by": ["zip", "day"], "n": 0, "cells": []}
    assert "refused" in protect([wide], earlier=[], levels=names, smallest_cell=10, repeated_people=False)[0]


def test_findings_count_what_is_left_out() -> None:
    results = [table([3, 40, 260], "conscious", name="who was awake"), describe(303, aspirin=levels_of(100, 200, missing=3))]
    assert findings(results, safe(*results)) == [
        "2 of the cells of 'who was awake' are suppressed",
        "1 of the totals of the describe of 'patients' is suppressed",
    ]
    refusal = safe(glm(9))
    assert findings([glm(9)], refusal) == ["'model' is refused: it concerns a group that is too small to be published [smallest-cell]"]


def test_a_table_of_forty_by_forty_is_protected() -> None:
    names = [str(at) for at in range(40)]
    levels = {("patients", "ward"): names, ("patients", "code"): names}
    array = np.random.default_rng(3).integers(10, 90, (40, 40))
    array[::7, ::9] = 2
    cells = table(array, "ward", "code", levels=levels)
    margins = [table(array.sum(axis=axis), name, levels=levels) for axis, name in ((1, "ward"), (0, "code"))]
    protected = protect([cells, *margins], earlier=[], levels=levels, smallest_cell=10, repeated_people=False)
    left_out = np.array([count is None for count in counts(protected[0])]).reshape(40, 40)
    assert left_out[array < 10].all()
    assert (left_out.sum(axis=0) != 1).all()
    assert (left_out.sum(axis=1) != 1).all()
    assert left_out.sum() <= 3 * (array < 10).sum()
