"""The form of every kind of analysis: which keys a researcher writes, what each holds, and which columns of the table it reads.

One table for all who need it: study.toml and the SDK are checked against it, a node checks the questions of a job against it before
the method looks closer, and the reference page is made from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # the sandbox holds no more of the kernel than its errors
    from pumasi.kernel.codes import AnalysisKind

What = Literal["column", "columns", "formula", "terms", "text", "numbers", "whole", "choice", "penalty", "design", "filter"]


@dataclass(frozen=True)
class Key:
    """One key of an analysis. `job` keys are not written by people: the client makes them from the others."""

    what: What
    words: str
    needed: bool = True
    choices: tuple[str, ...] = ()
    job: bool = False


def _or_not(key: Key) -> Key:
    return Key(key.what, key.words, needed=False, choices=key.choices, job=key.job)


_COLUMNS = Key("columns", "columns with numbers")
_TWO = "; of two other levels (N and Y, 1 and 2) the second counts as 1"
_EVENT = Key("column", f"the column that is 1 when the event was seen at `time` and 0 when the person left without it{_TWO}")
_TIME = Key("column", "the column of follow-up times")
_GRID = Key("numbers", "increasing times; an answer is about these times only, because exact times single people out")
_SCORE = Key("column", "the column with the predicted probability or score")
_OUTCOME = Key("column", f"the column with the outcome, 0 or 1{_TWO}")
_BINS = Key("whole", "how many bins the scores are counted in", needed=False)
_DESIGN = Key("design", "", job=True)
_RIDGE = Key("penalty", 'half of this times each squared coefficient is taken off; `"cv"` chooses it by cross-validation', needed=False)
_RIDGE_ON = Key(
    "choice",
    "whether the penalty is on coefficients of standardised columns, as without the key, or of the columns as they are",
    needed=False,
    choices=("standardised", "columns"),
)
FAMILIES = ("gaussian", "binomial", "poisson", "gamma")

# In every kind, next to what FORMS says.
SHARED: dict[str, Key] = {
    "where": Key("text", "only rows for which this SQL condition holds: `age >= 65 and sex = 'F'`", needed=False),
    "filter": Key("filter", "", needed=False, job=True),
    "reads": Key("columns", "", job=True),
}
FORMS: dict[AnalysisKind, dict[str, Key]] = {
    "count": {},
    "describe": {
        "columns": Key("columns", "numbers: people, missing, mean, sd; everything else, and numbers of one or two values: people per level")
    },
    "table": {"by": Key("columns", "one to six columns with levels to count people by")},
    "table1": {
        "by": Key("column", "a column with levels: one group for each, compared with standardised differences", needed=False),
        "columns": Key("columns", "the rows of the table: mean and sd of numbers, people and per cent of levels"),
    },
    "histogram": {
        "column": Key("column", "a column with numbers"),
        "edges": Key("numbers", "increasing edges between the bins; the outer bins are open", needed=False),
        "bins": Key("whole", "without edges: about how many bins", needed=False),
    },
    "quantiles": {"columns": _COLUMNS, "q": Key("numbers", "which quantiles, each between 0 and 1: `[0.25, 0.5, 0.75]`")},
    "correlation": {"columns": _COLUMNS},
    "ttest": {"column": Key("column", "a column with numbers"), "by": Key("column", "a column with two levels")},
    "anova": {"column": Key("column", "a column with numbers"), "by": Key("column", "a column with levels")},
    "glm": {
        "family": Key("choice", "how the outcome is distributed", choices=FAMILIES),
        "formula": Key(
            "formula",
            "Wilkinson notation over the columns: `+ - : * ** ^ ( ) 0 1`, `C(column)` and `C(hospital)` for hospitals as fixed effects; "
            "names with spaces or signs in backticks",
        ),
        "offset": Key("column", "a column added to the linear predictor as it is", needed=False),
        "weights": Key("column", "a column that says how much each row counts", needed=False),
        "cluster": Key("choice", "standard errors that allow for dependence within a hospital", needed=False, choices=("hospital",)),
        "robust": Key("choice", "standard errors that do not trust the variance of the family", needed=False, choices=("HC0", "HC1")),
        "ridge": _RIDGE,
        "ridge_on": _RIDGE_ON,
        "compare": Key("formula", "a smaller model: the likelihood-ratio test against it, on the same people", needed=False),
        "design": _DESIGN,
        "compare_design": _or_not(_DESIGN),
    },
    "cox": {
        "time": _TIME,
        "event": _EVENT,
        "formula": Key("terms", "the right-hand side of a formula: `age + sex`"),
        "strata": Key(
            "text", '`"hospital"` (without the key), `"none"` or a column with levels: baseline hazards of their own', needed=False
        ),
        "ties": Key("choice", "how events at one time are treated; efron without the key", needed=False, choices=("efron", "breslow")),
        "grid": _or_not(_GRID),
        "ridge": _RIDGE,
        "ridge_on": _RIDGE_ON,
        "design": _DESIGN,
    },
    "kaplan_meier": {
        "time": _TIME,
        "event": _EVENT,
        "by": Key("column", "a column with levels: a curve for each", needed=False),
        "grid": _GRID,
    },
    "logrank": {"time": _TIME, "event": _EVENT, "by": Key("column", "a column with levels: the groups that are compared"), "grid": _GRID},
    "roc": {"score": _SCORE, "outcome": _OUTCOME, "bins": _BINS},
    "calibration": {"score": _SCORE, "outcome": _OUTCOME, "bins": _BINS},
    "brier": {"score": _SCORE, "outcome": _OUTCOME, "bins": _BINS},
    "meta": {
        "analysis": Key("text", "the name of a glm or cox analysis of this study, fitted at each hospital that is large enough"),
        "term": Key("text", "the coefficient that is compared over the hospitals"),
        "of": Key("choice", "", choices=("glm", "cox"), job=True),
        "family": Key("choice", "", needed=False, choices=FAMILIES, job=True),
        "formula": Key("formula", "", job=True),
        "time": Key("column", "", needed=False, job=True),
        "event": Key("column", "", needed=False, job=True),
        "ties": Key("choice", "", needed=False, choices=("efron", "breslow"), job=True),
        "design": _DESIGN,
    },
}
HOSPITAL = "hospital"  # in a formula or as strata: which hospital a row comes from
HEAD = ("name", "kind", "table")
MOST_LISTED = 500  # columns or numbers of one key


def keys_of(kind: AnalysisKind) -> dict[str, Key]:
    return FORMS[kind] | SHARED


def written(kind: AnalysisKind) -> dict[str, Key]:
    """The keys that people write, in the order of the reference page."""
    return {name: key for name, key in keys_of(kind).items() if not key.job}


def fits(what: What, value: Any, choices: tuple[str, ...] = ()) -> bool:
    """Whether a value has the form of a key; never whether it makes sense."""
    match what:
        case "column" | "formula" | "terms" | "text":
            return isinstance(value, str) and 0 < len(value) <= 2_000
        case "columns":
            return _list_of(value, str) and len(set(value)) == len(value)
        case "numbers":
            return _list_of(value, int, float) and all(math.isfinite(one) for one in value)
        case "whole":
            return type(value) is int and value > 0
        case "choice":
            return value in choices
        case "penalty":
            return value == "cv" or (type(value) in (int, float) and math.isfinite(value) and value >= 0)
        case "design" | "filter":
            return isinstance(value, dict)


def _list_of(value: Any, *types: type) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MOST_LISTED and all(type(one) in types for one in value)


FORM_WORDS: dict[What, str] = {
    "column": "the name of a column in quotes",
    "columns": "a list of columns, each once and at least one",
    "formula": "a formula in quotes",
    "terms": "the right-hand side of a formula in quotes",
    "text": "a text in quotes",
    "numbers": "a list of numbers, at least one",
    "whole": "a whole number from 1 upwards",
    "choice": "one of",
    "penalty": 'a number from 0 upwards, or "cv"',
    "design": "an object",
    "filter": "an object",
}


def refusals(question: Mapping[str, Any]) -> list[str]:
    """Why a job's question has not the form of its kind. The method's own `check` looks at what the keys mean."""
    kind = question["kind"]
    known = keys_of(kind)
    reasons = [f"an analysis of kind '{kind}' knows no key '{key}'" for key in sorted(question.keys() - known.keys() - {*HEAD})]
    for name, key in known.items():
        if name not in question:
            reasons += [f"an analysis of kind '{kind}' needs the key '{name}'"] if key.needed and name != "reads" else []
        elif name != "reads" and not fits(key.what, question[name], key.choices):
            reasons.append(f"'{name}' of an analysis of kind '{kind}' is {expected(key)}")
    return reasons


def expected(key: Key) -> str:
    return FORM_WORDS[key.what] + (f" {', '.join(key.choices)}" if key.choices else "")


def columns_read(question: Mapping[str, Any]) -> Iterator[str]:
    """The columns that a question's keys name; each may come several times, and `hospital` may be among them."""
    for name, key in FORMS[question["kind"]].items():
        value = question.get(name)
        if value is None:
            continue
        if key.what == "column":
            yield value
        elif key.what == "columns":
            yield from value
        elif key.what == "design":
            yield value["outcome"]
            yield from (factor["column"] for column in value["columns"] for factor in column["factors"])
    if question["kind"] == "cox" and question.get("strata", "hospital") not in ("hospital", "none"):
        yield question["strata"]


def columns_written(analysis: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, column) for every column that an analysis names as people write it, formulas included; `hospital` in a formula is none."""
    for name, key in written(analysis["kind"]).items():
        value = analysis.get(name)
        if value is None:
            continue
        if key.what == "column":
            yield name, value
        elif key.what == "columns":
            yield from ((name, column) for column in value)
        elif key.what in ("formula", "terms"):
            yield from ((name, column) for column in formula_columns(value) if column != HOSPITAL)
    if analysis["kind"] == "cox" and analysis.get("strata", HOSPITAL) not in (HOSPITAL, "none"):
        yield "strata", analysis["strata"]


def calls_written(analysis: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, function) for every function that a formula calls, but for C(column)."""
    for name, key in written(analysis["kind"]).items():
        if key.what in ("formula", "terms"):
            plain = re.sub("`[^`]+`", "", analysis.get(name) or "")
            yield from ((name, function) for function in re.findall(r"\b(?!C\s*\()([^\W\d]\w*(?:\.\w+)*)\s*\(", plain))


def formula_columns(formula: str) -> list[str]:
    """The column names in a formula, each once; `C` before a bracket is the one function there is, and of others design.py speaks."""
    found = re.findall(r"`([^`]+)`|(?!C\s*\()([^\W\d]\w*(?:\.\w+)*)(\s*\()?", formula)
    return list(dict.fromkeys(quoted or plain for quoted, plain, call in found if not call))


# Documents that are signed hold no fractions, so that every program writes them alike: 0.25 travels as "0.25".

_FRACTION = re.compile(r"-?\d{1,30}(\.\d{1,30})?(e[+-]?\d{1,3})?")


def travelling(question: Mapping[str, Any]) -> dict[str, Any]:
    """A question as a job carries it."""
    return {name: _each_number(value, _as_text) for name, value in question.items()}


def arrived(question: Mapping[str, Any]) -> dict[str, Any]:
    """A question with its fractions as numbers again, where its form has numbers; anything else is left for `refusals` to find."""
    known = keys_of(question["kind"])
    numeric = {name for name, key in known.items() if key.what in ("numbers", "penalty")}
    read = {name: _each_number(value, _as_number) if name in numeric else value for name, value in question.items()}
    return read | ({"filter": _sizes(read["filter"])} if "filter" in read else {})


def _each_number(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {name: _each_number(inner, change) for name, inner in value.items()}
    if isinstance(value, list):
        return [_each_number(inner, change) for inner in value]
    return change(value)


def _as_text(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _FRACTION.fullmatch(value) else value


def _sizes(tree: Any) -> Any:
    """A condition whose comparisons by size have numbers; a level stays the text that it is."""
    if isinstance(tree, list):
        return [_sizes(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    by_size = tree.get("is") in ("<", "<=", ">", ">=")
    return {name: _as_number(value) if by_size and name == "value" else _sizes(value) for name, value in tree.items()}
