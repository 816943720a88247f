"""Which formulas become a design, which do not and why; and which designs a node accepts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from pumasi.analysis import design
from pumasi.kernel.errors import Invalid

KINDS: dict[str, design.Kind] = {"y": "number", "a": "number", "b": "boolean", "s": "text", "n": "number", "d": "date"}
KINDS |= {
    "나이": "number",
    "class": "text",
    "is.ok": "number",
    "C": "number",
    "alive": "boolean",
    "systolic (mmHg)": "number",
    "wt-loss": "number",
}
LEVELS = {
    "b": ["False", "True"],
    "s": ["x", "y", "z"],
    "n": ["0", "1", "2"],
    "class": ["p", "q"],
    "alive": ["False", "True"],
    "wt-loss": ["1", "2"],
}

GOOD = {
    "y ~ a": ["Intercept", "a"],
    "y~a+s+b": ["Intercept", "a", "s[T.y]", "s[T.z]", "b[T.True]"],
    "alive ~ a": ["Intercept", "a"],
    "y ~ 1": ["Intercept"],
    "y ~ a - 1": ["a"],
    "y ~ 0 + s": ["s[x]", "s[y]", "s[z]"],
    "y ~ a + a:s": ["Intercept", "a", "a:s[T.y]", "a:s[T.z]"],
    "y ~ s:a": ["Intercept", "s[x]:a", "s[y]:a", "s[z]:a"],
    "y ~ s:b": ["Intercept", "b[T.True]", "s[T.y]:b[False]", "s[T.z]:b[False]", "s[T.y]:b[True]", "s[T.z]:b[True]"],
    "y ~ C(n)*a": ["Intercept", "C(n)[T.1]", "C(n)[T.2]", "a", "C(n)[T.1]:a", "C(n)[T.2]:a"],
    "y ~ n + C( n )": ["Intercept", "n", "C(n)[T.1]", "C(n)[T.2]"],
    "y ~ (a + n)**2": ["Intercept", "a", "n", "a:n"],
    "y ~ (a + n)^2 - a:n": ["Intercept", "a", "n"],
    "y ~ 나이 + C(class) + is.ok": ["Intercept", "나이", "C(class)[T.q]", "is.ok"],
    "y ~ `a`": ["Intercept", "a"],
    "`systolic (mmHg)` ~ C(`wt-loss`) + `wt-loss`:a": ["Intercept", "C(wt-loss)[T.2]", "wt-loss:a"],
    "y ~ class + C": ["Intercept", "class[T.q]", "C"],
}

# formula: what the sentence must name
BAD = {
    "y ~ log(a)": "'log('",
    "y ~ I(a)": "'I('",
    "y ~ C(n + 1)": "'C('",
    "y ~ C(a)": "'a' has fewer than two agreed levels",
    "y ~ a + q": "'q' in the formula is no column of this table; there are y, a, b",
    "q ~ a": "'q' is no column",
    "y ~ d": "'d' holds dates",
    "d ~ a": "'d' holds date values",
    "s ~ a": "'s' holds text values",
    "y ~ a + y": "'y' may not predict itself",
    "y ~ `a": "'`a' in the formula is not understood",
    "y ~ `log(a)`": "'log(a)' in the formula is no column",
    "y ~ 'a'": "\"'a'\"",
    "y ~ {a}": "'{a}'",
    "y ~ a | s": "'| s'",
    "y ~ a / s": "'/ s'",
    "y ~ a %in% s": "'%in% s'",
    "y ~ .": "'.'",
    "y ~ a[0]": "'[0]'",
    "y ~ a, s": "', s'",
    "y ~ a ** 9": "power 9",
    "y ~ a ** s": "'** s'",
    "y ~ 2*a": "number 2",
    "y ~ a:1": "number 1",
    "y ~ 1:a": "number 1",
    "y ~ a + 3": "number 3",
    "y ~ a *": "cannot be read",
    "y ~ (a": "cannot be read",
    "y ~ a)": "cannot be read",
    "y ~ a s": "cannot be read",
    "y ~ ()": "cannot be read",
    "y ~ 0": "without any column",
    "y ~": "outcome ~ terms",
    "~ a": "outcome ~ terms",
    "": "outcome ~ terms",
    "a": "outcome ~ terms",
    "y ~ a ~ s": "outcome ~ terms",
    "y + a ~ s": "outcome ~ terms",
    "C(n) ~ a": "outcome ~ terms",
    "y ~ " + "a + " * 600 + "a": "2000 characters",
    "y ~ __import__": "'__import__' in the formula is no column",
}


@pytest.mark.parametrize(("formula", "names"), GOOD.items())
def test_a_formula_becomes_its_columns_and_the_node_accepts_them(formula: str, names: list[str]) -> None:
    plain = design.compile(formula, kinds=KINDS, levels=LEVELS)
    assert [column["name"] for column in plain["columns"]] == names
    assert design.check(plain, KINDS, LEVELS) == []


@pytest.mark.parametrize(("formula", "named"), BAD.items())
def test_what_is_not_allowed_is_named(formula: str, named: str) -> None:
    with pytest.raises(Invalid) as caught:
        design.compile(formula, kinds=KINDS, levels=LEVELS)
    assert named in str(caught.value)


def test_every_reason_is_given_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        design.compile("y ~ q + d + r", kinds=KINDS, levels=LEVELS)
    assert len(caught.value.reasons) == 3


def test_a_design_grows_no_larger_than_a_node_accepts() -> None:
    levels = {**LEVELS, "s": [f"level {number}" for number in range(300)]}
    with pytest.raises(Invalid, match="more than 200 columns"):
        design.compile("y ~ s", kinds=KINDS, levels=levels)


def test_the_outcome_and_the_factors_are_those_of_the_formula() -> None:
    plain = design.compile("y ~ a:s", kinds=KINDS, levels=LEVELS)
    assert plain["outcome"] == "y" and plain.keys() == {"outcome", "columns"}
    assert plain["columns"][2] == {"name": "a:s[y]", "factors": [{"column": "a"}, {"column": "s", "level": "y"}]}


GIVEN = design.compile("y ~ a:s + C(n)", kinds=KINDS, levels=LEVELS)


def broken(change: dict[str, Any], place: int = 1) -> dict[str, Any]:
    plain = copy.deepcopy(GIVEN)
    plain["columns"][place] |= change
    return plain


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        (None, "an object of"),
        ({"outcome": "y"}, "an object of"),
        ({**GIVEN, "more": 1}, "an object of"),
        ({**GIVEN, "columns": "Intercept"}, "an object of"),
        ({**GIVEN, "columns": []}, "between 1 and"),
        ({**GIVEN, "columns": GIVEN["columns"] * 50}, "between 1 and"),
        ({**GIVEN, "columns": GIVEN["columns"][:1] * 2}, "the same name"),
        ({**GIVEN, "columns": ["Intercept"]}, "'name' and 'factors'"),
        ({**GIVEN, "outcome": "q"}, "'q' is no column"),
        ({**GIVEN, "outcome": ["y"]}, "is no column"),
        ({**GIVEN, "outcome": "s"}, "holds text values"),
        ({**GIVEN, "outcome": "d"}, "holds date values"),
        ({**GIVEN, "outcome": "a"}, "may not predict itself"),
        (broken({"name": "harmless"}), "calls 'harmless'"),
        (broken({"name": "Intercept"}), "calls 'Intercept'"),
        (broken({"name": 7}), "calls 7"),
        (broken({"factors": [{"column": "q"}]}), "'q' is no column"),
        (broken({"factors": [{"column": ["s"]}]}), "is no column"),
        (broken({"factors": [{"column": "s"}]}), "enters a model by its levels"),
        (broken({"factors": [{"column": "b"}]}), "enters a model by its levels"),
        (broken({"factors": [{"column": "d"}]}), "holds dates"),
        (broken({"factors": [{"column": "s", "level": "seoul"}]}), "a level of 's' in the design is not agreed"),
        (broken({"factors": [{"column": "a", "level": "41"}]}), "a level of 'a' in the design is not agreed"),
        (broken({"factors": [{"column": "a", "power": 2}]}), "'column' and perhaps 'level'"),
        (broken({"factors": ["a"]}), "'column' and perhaps 'level'"),
        (broken({"factors": [{"column": "a"}, {"column": "a"}], "name": "a:a"}), "with itself"),
        (broken({"factors": [{"column": "a"}] * 7}), "at most 6"),
        (broken({"factors": {}}), "'name' and 'factors'"),
    ],
)
def test_a_node_says_why_it_does_not_accept_a_design(plain: Any, told: str) -> None:
    reasons = design.check(plain, KINDS, LEVELS)
    assert any(told in reason for reason in reasons), reasons
    assert not any("seoul" in reason or "41" in reason for reason in reasons)
