"""The typed reasons: how they are made, what of them travels, and that each code of the list can occur."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from pumasi.analysis import filter, memory, meta, methods, refusal, secure
from pumasi.analysis.frame import Terms
from pumasi.analysis.refusal import REASONS, Reason, Refusal
from pumasi.analysis.suppression import protect
from pumasi.client.outcome import text
from pumasi.client.results import Result
from pumasi.kernel.envelope import canonical, parse_canonical
from pumasi.kernel.errors import Refused, Tampered
from tests.analysis_models import ask, question
from tests.analysis_rounds import frame, glm, split
from tests.joint_jobs import NAMES, Joint, dealt, results
from tests.refusal_sentences import templates

ROOT = Path(__file__).parents[2]


# --- the list and how reasons are made


def test_the_list_and_its_table_are_one() -> None:
    assert list(REASONS) == list(get_args(Reason))
    for code, meaning in REASONS.items():
        assert code.replace("-", "").isalpha() and code == code.lower()
        assert meaning.english.strip() and any("가" <= letter <= "힣" for letter in meaning.korean)


def test_refusals_are_made_from_constants_alone() -> None:
    """So that nothing but the names given to `about` can stand in a sentence; and no template holds a number itself."""
    made = []
    for path in sorted((ROOT / "src" / "pumasi").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {id(node.value) for node in tree.body if isinstance(node, ast.Assign)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal" and path.name != "refusal.py":
                assert id(node) in top and all(isinstance(one, ast.Constant) for one in node.args), f"{path.name}, line {node.lineno}"
                made.append(node.args[1].value)
    assert set(made) == set(templates()) and len(made) > 40
    assert [one for one in templates() if any(letter.isdigit() for letter in one)] == []
    assert {one.reason for one in templates()} == set(REASONS)


def test_a_refusal_is_its_sentence_and_keeps_its_code() -> None:
    template = Refusal("small-side", "few are on one side of '{}'")
    made = template.about("a{}ge")
    assert (made, made.reason) == ("few are on one side of 'a{}ge'", "small-side")
    assert made.calling("a{}ge", "score") == "few are on one side of 'score'" and made.calling("a", "b").reason == "small-side"


def test_plain_data_holds_texts_and_comes_back() -> None:
    reasons = [Refusal("collinear", "one"), Refusal("separation", "two")]
    plain = refusal.told(reasons)
    assert plain == {"refused": ["one", "two"], "reasons": ["collinear", "separation"]}
    assert {type(one) for some in plain.values() for one in some} == {str}
    back = refusal.read(parse_canonical(canonical(plain)))
    assert back == reasons and [one.reason for one in back] == ["collinear", "separation"]


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"refused": ["one"]},
        {"reasons": ["collinear"]},
        {"refused": "one", "reasons": "c"},
        {"refused": ["one"], "reasons": []},
        {"refused": [], "reasons": ["collinear"]},
        {"refused": ["one"], "reasons": ["patient-57"]},
        {"refused": ["one"], "reasons": [["collinear"]]},
        {"refused": ["one"], "reasons": [{}]},
        {"refused": ["one"], "reasons": [None]},
        {"refused": [1], "reasons": ["collinear"]},
    ],
)
def test_another_code_than_these_is_none(plain: dict[str, Any]) -> None:
    with pytest.raises(Tampered, match="closed list"):
        refusal.read(plain)


def test_reasons_of_several_hospitals_are_united_in_one_order() -> None:
    one, other = Refusal("collinear", "b"), Refusal("separation", "a")
    again = Refusal("dominance", "b")  # somebody lies about the code
    assert refusal.united([[one, again], [other], [one]]) == ["a", "b", "b"]
    told = [[here.reason for here in refusal.united(said)] for said in ([[one, again], [other]], [[other], [again], [one, one]])]
    assert told == [["separation", "collinear", "dominance"]] * 2


def test_what_has_no_code_is_no_refusal_of_the_analysis() -> None:
    assert refusal.typed(Refused(secure.TOO_LARGE)) == [secure.TOO_LARGE]
    for error in (Refused("no table was loaded"), Refused(secure.TOO_LARGE, "no table was loaded"), Refused()):
        with pytest.raises(Refused) as raised:
            refusal.typed(error)
        assert raised.value is error


def test_results_of_before_are_read_and_shown() -> None:
    old = {"name": "a", "kind": "glm", "hospitals": ["x", "y", "z"], "refused": ["too few people"]}
    new = {**old, "reasons": ["smallest-cell"]}
    assert (Result(old).refused, Result(old).reasons) == (["too few people"], [])
    assert (Result(new).refused, Result(new).reasons) == (["too few people"], ["smallest-cell"])
    assert text({"analyses": [old]}).endswith("  refused: too few people")
    assert text({"analyses": [new]}).endswith("  refused: too few people [smallest-cell]")
    assert Result(new).csv().splitlines() == ["analysis,kind,refused,reason", "a,glm,too few people,smallest-cell"]
    with pytest.raises(Refused, match="too few people"):
        Result(new)["n"]


# --- each code can occur

TERMS = Terms(smallest_cell=10, hospitals=3)
GROUPS = {"ward": ["x", "y"]}


def people(rows: int = 600) -> pd.DataFrame:
    chance = np.random.default_rng(5)
    table = pd.DataFrame({"age": chance.normal(60, 10, rows), "dose": chance.normal(5, 1, rows), "ward": ["x", "y"] * (rows // 2)})
    table["died"], table["weight"] = (chance.random(rows) < 0.4).astype(float), 1.0
    return table.assign(time=np.ceil(chance.exponential(20, rows)), risk=chance.uniform(0.1, 0.9, rows))


PEOPLE = people()


def said(found: dict[str, Any]) -> list[str]:
    assert "refused" in found, found
    return [reason.reason for reason in refusal.read(found)]


def model(
    formula: str, table: pd.DataFrame = PEOPLE, *, family: str = "binomial", hospitals: int = 4, smallest_cell: int = 10
) -> list[str]:
    return said(glm(formula, family, split(table, hospitals), levels=GROUPS, smallest_cell=smallest_cell))


def asked(kind: str, table: pd.DataFrame = PEOPLE, *, hospitals: int = 3, person: str | None = None, **fields: Any) -> list[str]:
    levels: dict[str, list[str]] = {name: GROUPS.get(name, []) for name in table}
    return said(ask(kind, split(table, hospitals), levels=levels, smallest_cell=10, person=person, **fields))


def curve(table: pd.DataFrame = PEOPLE, *, kind: str = "kaplan_meier", person: str | None = None, **fields: Any) -> list[str]:
    return asked(kind, table, person=person, **{"time": "time", "event": "died", "grid": [10.0, 20, 40], **fields})


def safe(*results: dict[str, Any], earlier: tuple[dict[str, Any], ...] = ()) -> list[str]:
    levels = {("t", "a"): ["0", "1"], ("t", "b"): ["0", "1"], **{("t", name): [str(at) for at in range(200)] for name in ("zip", "day")}}
    return said(protect(list(results), earlier=list(earlier), levels=levels, smallest_cell=10, repeated_people=False)[-1])


def table(by: list[str], counts: dict[tuple[str, ...], int | None]) -> dict[str, Any]:
    cells = [{**dict(zip(by, names, strict=True)), "n": n} for names, n in counts.items()]
    return {"kind": "table", "name": "t", "table": "t", "by": by, "n": sum(n or 0 for n in counts.values()), "cells": cells}


def with_other_results() -> list[str]:
    """All but one small cell and both margins were released before."""
    before = table(["a", "b"], {("0", "0"): 4, ("0", "1"): 80, ("1", "0"): 60, ("1", "1"): 70})
    kept = protect([before], earlier=[], levels={("t", "a"): ["0", "1"], ("t", "b"): ["0", "1"]}, smallest_cell=10, repeated_people=False)
    factors = [("all", []), ("a", [{"column": "a", "level": "1"}])]
    counts = [
        {"column": name, "factors": some, "outcome": "b", "outcome1": ones, "outcome0": zeros}
        for (name, some), (ones, zeros) in zip(factors, [(150, 64), (70, 60)], strict=True)
    ]
    fit = {"kind": "glm", "name": "m", "table": "t", "n": 214, "columns": ["a", "b"], "coefficients": {}, "implied_counts": counts}
    return safe(fit, earlier=(kept[0],))


def one_far_out_in_another_unit() -> list[str]:
    """One hospital measures in pounds, and one person's square is most of the sum of squares."""
    tables = [PEOPLE[at::3].assign(age=PEOPLE["age"][at::3] * (2.2046 if at == 2 else 1)) for at in range(3)]
    tables[0] = tables[0].assign(age=np.where(np.arange(len(tables[0])) == 0, 4000.0, tables[0]["age"]))
    levels: dict[str, list[str]] = {name: GROUPS.get(name, []) for name in PEOPLE}
    return said(ask("anova", tables, levels=levels, smallest_cell=10, column="age", by="ward"))


def told_twice() -> list[str]:
    """A hospital claims another one's place in the sum."""
    plain = {"hospitals": ["h"], "of": "glm"}
    return said(meta.advance([2.0] + [0.0] * 19, plain, {"step": "estimates"}, TERMS))


def running_away() -> list[str]:
    design = {"outcome": "n", "columns": [{"name": "Intercept", "factors": []}]}
    plain = {"kind": "glm", "family": "poisson", "formula": "n ~ 1", "design": design}
    state = {"step": "start", "scales": [1.0], "centres": [0.0], "null_deviance": 1.0, "unit": 1.0, "scale": 1.0}
    return said(methods.KINDS["glm"].advance([0.0, 1.0, 0.0, 0.0], plain, state, TERMS))


def remembered(*, load: int = 0, where: str | None = None, lacking: int = 0, **fields: Any) -> list[str]:
    """What an earlier description of everybody's age makes of a question; `load`: people who have left the table since."""
    whole = PEOPLE.assign(dose=np.where(PEOPLE.index < lacking, np.nan, PEOPLE["dose"]))
    levels: dict[str, list[str]] = {name: GROUPS.get(name, []) for name in whole}
    kinds = {"age": "number", "dose": "number"}
    before = question("describe", [whole], levels=levels, columns=["age"]) | {"name": "before", "reads": ["age"]}
    now = question(fields.pop("kind", "describe"), [whole], levels=levels, **(fields or {"columns": ["age"]})) | {"reads": ["age", "dose"]}
    if where:
        now |= {"where": where, "filter": filter.compile(where, kinds=kinds, levels={"age": [], "dose": []})}
    rows = frame(whole, levels)
    footprints = [memory.Footprint.of(rows, one | {"here": "h0"}) for one in (now, before)]
    total = memory.local(footprints[0], footprints[1], asked=(now, before), load=rows.rows - load)
    return [one.reason for one in memory.refusals(total, now, before, TERMS)]


TOGETHER = PEOPLE.assign(time=np.where(np.arange(600) % 4 < 2, 1.0, 2.0), died=np.where(np.arange(600) % 4 < 2, 0.0, 1.0))
SCENES: dict[Reason, Callable[[], list[str]]] = {
    "smallest-cell": lambda: model("died ~ age", PEOPLE[:3]),
    "small-side": lambda: model("died ~ age + weight"),
    "count-in-disguise": lambda: model("died ~ ward", PEOPLE.assign(died=np.where(PEOPLE["ward"] == "x", 1.0, PEOPLE["died"]))),
    "class-disclosure": lambda: curve(PEOPLE.assign(died=0.0)),
    "exact-fit": lambda: model("sum ~ age + dose", PEOPLE.assign(sum=PEOPLE["age"] + PEOPLE["dose"]), family="gaussian"),
    "dominance": lambda: asked("ttest", PEOPLE.assign(age=np.where(PEOPLE.index == 3, 1e6, PEOPLE["age"])), column="age", by="ward"),
    "two-hospitals": lambda: asked("quantiles", hospitals=2, columns=["age"], q=[0.5]),
    "few-hospitals": lambda: asked("meta", PEOPLE[:60], analysis="m", of="glm", family="binomial", formula="died ~ age", term="age"),
    "inconsistent-hospital": told_twice,
    "too-many-parameters": lambda: model("died ~ age + dose", PEOPLE[:29]),
    "few-degrees-of-freedom": lambda: model("dose ~ 0 + age", PEOPLE[:10], family="gaussian", smallest_cell=5),
    "too-many-cells": lambda: safe({"kind": "table", "name": "t", "table": "t", "by": ["zip", "day"], "n": 0, "cells": []}),
    "grid-too-fine": lambda: curve(grid=[0.001]),
    "collinear": lambda: model("died ~ age + double", PEOPLE.assign(double=2 * PEOPLE["age"])),
    "separation": lambda: model("died ~ age", PEOPLE.assign(died=(PEOPLE["age"] > 60).astype(float))),
    "no-convergence": running_away,
    "constant-column": lambda: model("died ~ age + faint", PEOPLE.assign(faint=(PEOPLE["dose"] - 5) * 1e-200)),
    "few-values": lambda: asked("histogram", PEOPLE.assign(age=PEOPLE["died"]), column="age"),
    "nothing-to-compare": lambda: curve(TOGETHER, kind="logrank", by="ward", grid=[1.0, 2.0]),
    "unknown-level": lambda: asked("table", PEOPLE.assign(ward=["z", *PEOPLE["ward"][1:]]), by=["ward"]),
    "invalid-values": lambda: asked("roc", PEOPLE.assign(died=PEOPLE["died"] + 1), score="risk", outcome="died"),
    "beyond-measure": lambda: asked("describe", PEOPLE.assign(age=np.inf), columns=["age"]),
    "several-rows": lambda: curve(PEOPLE.assign(who=PEOPLE.index // 2), person="who"),
    "other-unit": one_far_out_in_another_unit,
    "other-results": with_other_results,
    "cannot-be-checked": lambda: safe({"kind": "survival", "name": "s", "table": "t"}),
    "remembered-difference": lambda: remembered(where=f"age < {sorted(PEOPLE['age'])[-4]}"),
    "remembered-missing": lambda: remembered(lacking=2, kind="glm", family="gaussian", formula="age ~ dose"),
    "remembered-source": lambda: remembered(load=3),
}  # fmt: skip
OVER_HOSPITALS = {"remembered-hospitals", "remembered-together"}  # below, in whole jobs


@pytest.mark.parametrize("code", [code for code in REASONS if code not in OVER_HOSPITALS])
def test_each_code_can_occur(code: Reason) -> None:
    assert code in SCENES[code]()


def test_what_was_asked_before_is_a_reason_with_a_code(tmp_path: Path) -> None:
    """Questions of one organisation: without one person, and without one hospital."""
    assert SCENES.keys() | OVER_HOSPITALS == REASONS.keys()
    tables = dealt(3)
    ages = {"name": "ages", "kind": "describe", "table": "patients", "columns": ["age"]}
    deaths = {"name": "deaths", "kind": "describe", "table": "patients", "columns": ["death14"]}
    tables[NAMES[1]].loc[0, "age"] = 57.3333
    both = [{**deaths, "name": where, "where": where} for where in ("age < 57.3332", "age > 57.3334")]
    sealed = Joint(tmp_path, tables, [{**deaths, "where": "age > 0"}, *both], number="4").sealed()[NAMES[0]]
    assert [one.get("reasons") for one in results(sealed)] == [None, None, ["remembered-together"]]
    answered = Joint(tmp_path, tables, [ages], number="2").sealed()[NAMES[0]]
    assert results(answered)[0].keys().isdisjoint({"refused", "reasons"})
    fewer = {name: tables[name] for name in NAMES[:2]}
    again = Joint(tmp_path, fewer, [ages], remembered=answered.asked, hospitals_at_least=2, number="3").sealed()
    for one in again.values():
        assert results(one)[0]["reasons"] == ["remembered-hospitals"]
