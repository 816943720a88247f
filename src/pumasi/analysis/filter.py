"""`where`: a condition on rows, written as the WHERE clause of SQL and carried as plain data.

    "age >= 65 and sex = 'F'" -> {"and": [{"column": "age", "is": ">=", "value": 65}, {"column": "sex", "is": "=", "value": "F"}]}

The researcher's client compiles it with sqlglot; a node checks and evaluates the data, so where the data is no SQL is ever parsed. The
language is comparisons of one column with a constant, IN, BETWEEN, IS NULL, AND, OR and NOT: nothing computes, nothing reads two columns
at once, and numbers are compared by size only, so no condition can name one person's exact value. Truth is SQL's, with unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pumasi.analysis import checks
from pumasi.analysis.forms import HOSPITAL
from pumasi.analysis.frame import Column, Frame
from pumasi.kernel.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Truth = tuple[NDArray[np.bool_], NDArray[np.bool_]]  # where the condition holds; where it is unknown

Filter = dict[str, Any]

MOST_CONDITIONS = 50
MOST_DEPTH = 8
_BY_SIZE = ("<", "<=", ">", ">=")
_ALIKE = ("=", "<>")
_LANGUAGE = "where compares one column with a constant: = <> < <= > >=, IN, BETWEEN, IS NULL, joined by AND, OR, NOT and brackets"


def check(tree: Any, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Why a node may not use this condition."""
    try:
        conditions = list(_conditions(tree, depth=1))
    except Invalid as invalid:
        return invalid.reasons
    if len(conditions) > MOST_CONDITIONS:
        return [f"a condition compares at most {MOST_CONDITIONS} times"]
    return list(dict.fromkeys(reason for one in conditions for reason in _condition_reasons(one, kinds, levels)))


def columns(tree: Filter) -> set[str]:
    """The columns that a condition reads."""
    return {str(one["column"]) for one in _conditions(tree, depth=1)}


def constants(tree: Filter, column: str) -> list[str | float | bool]:
    """What a condition compares a column with."""
    return [one["value"] for one in _conditions(tree, depth=1) if one["column"] == column and "value" in one]


def comparisons(tree: Filter) -> list[dict[str, Any]]:
    """Those by size."""
    return [one for one in _conditions(tree, depth=1) if one["is"] in _BY_SIZE]


def _conditions(tree: Any, *, depth: int) -> Iterator[dict[str, Any]]:
    """The comparisons of a condition; `Invalid` unless the whole has the right form."""
    match tree:
        case {"and": [_, _, *_] as parts, **rest} | {"or": [_, _, *_] as parts, **rest} if not rest and depth <= MOST_DEPTH:
            for part in parts:
                yield from _conditions(part, depth=depth + 1)
        case {"not": part, **rest} if not rest and depth <= MOST_DEPTH:
            yield from _conditions(part, depth=depth + 1)
        case {"column": str(), "is": "null", **rest} if not rest:
            yield tree
        case {"column": str(), "is": str(sign), "value": value, **rest} if not rest and sign in (*_BY_SIZE, *_ALIKE) and _constant(value):
            yield tree
        case _:
            raise Invalid(f"a condition has another form than its client makes, or is nested too deep; {_LANGUAGE}")


def _constant(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))


def _condition_reasons(one: dict[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    name, sign = one["column"], one["is"]
    if name not in kinds:
        return [f"'{name}' in where is no column of this table; there are {', '.join(kinds) or 'none'}"]
    if sign == "null":
        known = kinds[name] == "number" or levels.get(name)
        return (
            []
            if known
            else [f"'{name}' has no agreed levels, so where cannot tell whether it is missing; give levels = [...] in the study"]
        )
    if sign in _BY_SIZE:
        if kinds[name] != "number" or isinstance(one["value"], str | bool):
            return [f"where compares '{name}' by size, which needs a column of numbers and a number"]
        return []
    if not levels.get(name):
        advice = "compare it by size, or give levels = [...]" if kinds[name] == "number" else "give levels = [...] in the study"
        return [f"'{name}' has no agreed levels to be equal to; {advice}"]
    return [] if level_of(one["value"]) in levels[name] else [f"where compares '{name}' with a level that is not agreed in the permits"]


def level_of(value: str | float | bool) -> str:
    """A constant as agreed levels are written."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def seen(table: Frame, question: Mapping[str, Any]) -> Frame:
    """What a method sees of a table: the columns that the question reads, the rows for which its condition holds, and for a model
    that asks for it the hospital. A condition cannot name the hospital: it would ask one alone."""
    chosen = _coded(selected(table.having(question["column_kinds"]), question.get("filter")), question)
    if HOSPITAL in chosen.columns or "design" not in question:
        return chosen
    codes = np.full(chosen.rows, question["hospitals"].index(question["here"]), dtype=np.int32)
    here = Column(name=HOSPITAL, numbers=None, codes=codes, levels=tuple(question["hospitals"]))
    return Frame(persons=chosen.persons, columns={**chosen.columns, HOSPITAL: here})


def _coded(frame: Frame, question: Mapping[str, Any]) -> Frame:
    """An outcome or event of other numbers than zero and one, such as 1 and 2, by its levels; 2 is neither (`Frame.numbers`)."""
    name = checks.outcome_of(question)
    if name is None or not checks.coded(question, name) or frame.columns[name].numbers is None:
        return frame
    codes = frame.codes(name, question["levels"][name])
    column = replace(frame.columns[name], numbers=np.array([0.0, 1.0, 2.0, np.nan])[codes])
    return Frame(persons=frame.persons, columns={**frame.columns, name: column})


def selected(frame: Frame, tree: Filter | None) -> Frame:
    """The rows for which the condition holds: not those where it is unknown, as in SQL."""
    return frame if tree is None else frame.only(_truth(frame, tree)[0])


def _truth(frame: Frame, tree: Filter) -> Truth:
    if "not" in tree:
        holds, unknown = _truth(frame, tree["not"])
        return ~holds & ~unknown, unknown
    if "and" in tree or "or" in tree:
        parts = [_truth(frame, part) for part in tree.get("and") or tree["or"]]
        if "and" in tree:
            false = np.logical_or.reduce([~holds & ~unknown for holds, unknown in parts])
            holds = np.logical_and.reduce([holds for holds, _ in parts])
        else:
            holds = np.logical_or.reduce([holds for holds, _ in parts])
            false = np.logical_and.reduce([~holds & ~unknown for holds, unknown in parts])
        return holds, ~holds & ~false
    name, sign = tree["column"], tree["is"]
    missing = ~frame.present(name)
    if sign == "null":
        return missing, np.zeros(frame.rows, dtype=bool)
    if sign in _ALIKE:
        same = frame.codes(name, [level_of(tree["value"])]) == 0
        return (same if sign == "=" else ~same) & ~missing, missing
    with np.errstate(invalid="ignore"):
        numbers, value = frame.numbers(name), float(tree["value"])
        compared = {"<": numbers < value, "<=": numbers <= value, ">": numbers > value, ">=": numbers >= value}[sign]
    return compared & ~missing, missing


def text(tree: Filter) -> str:
    """The condition as a person reads it: made from what is evaluated, not from what the researcher wrote."""
    if "not" in tree:
        return f"NOT ({text(tree['not'])})"
    for word in ("and", "or"):
        if word in tree:
            return f" {word.upper()} ".join(f"({text(part)})" if {"and", "or"} & part.keys() else text(part) for part in tree[word])
    if tree["is"] == "null":
        return f"{tree['column']} IS NULL"
    value = tree["value"]
    shown = (
        "'" + value.replace("'", "''") + "'"
        if isinstance(value, str)
        else str(value).upper()
        if isinstance(value, bool)
        else f"{value:.12g}"
    )
    return f"{tree['column']} {tree['is']} {shown}"


# Compiling: only where the researcher works.


def compile(where: str, *, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> Filter:
    """The plain condition of a WHERE clause. `Invalid` in sentences that name the part that cannot be used."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        [parsed] = sqlglot.parse(f"SELECT 1 WHERE {where}", read="duckdb")
    except (SqlglotError, ValueError) as error:
        raise Invalid(f"the condition {where!r} cannot be read as the WHERE clause of SQL; {_LANGUAGE}") from error
    clauses = {name for name, clause in parsed.args.items() if clause} if parsed is not None else set()
    if (
        parsed is None
        or parsed.key != "select"
        or clauses - {"kind", "expressions", "where", "operation_modifiers"}
        or len(parsed.expressions) != 1
    ):
        raise Invalid(f"the condition {where!r} is more than a condition; {_LANGUAGE}")
    tree = _compiled(parsed.args["where"].this)
    refused = check(tree, kinds, levels)
    if refused:
        raise Invalid(*refused)
    return tree


def _compiled(node: Any) -> Filter:
    from sqlglot import expressions as sql

    signs = {sql.EQ: "=", sql.NEQ: "<>", sql.LT: "<", sql.LTE: "<=", sql.GT: ">", sql.GTE: ">="}
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    if isinstance(node, sql.Paren):
        return _compiled(node.this)
    if isinstance(node, sql.Not):
        return {"not": _compiled(node.this)}
    if isinstance(node, sql.And | sql.Or):
        word = "and" if isinstance(node, sql.And) else "or"
        parts = [_compiled(node.this), _compiled(node.expression)]
        return {word: [inner for part in parts for inner in part.get(word, [part])]}
    if isinstance(node, sql.Between):
        name = _column(node.this)
        ends = [{"column": name, "is": sign, "value": _value(node.args[end])} for sign, end in ((">=", "low"), ("<=", "high"))]
        return {"and": ends}
    if isinstance(node, sql.In) and node.expressions:
        found: list[Filter] = [{"column": _column(node.this), "is": "=", "value": _value(one)} for one in node.expressions]
        return found[0] if len(found) == 1 else {"or": found}
    if isinstance(node, sql.Is):
        if isinstance(node.expression, sql.Null):
            return {"column": _column(node.this), "is": "null"}
        return {"column": _column(node.this), "is": "=", "value": _value(node.expression)}
    if type(node) in signs:
        sign = signs[type(node)]
        if isinstance(node.this, sql.Column):
            return {"column": _column(node.this), "is": sign, "value": _value(node.expression)}
        return {"column": _column(node.expression), "is": turned.get(sign, sign), "value": _value(node.this)}
    if isinstance(node, sql.Column):  # a boolean column by itself
        return {"column": _column(node), "is": "=", "value": True}
    raise Invalid(f"{node.sql()!r} in where is not understood; {_LANGUAGE}")


def _column(node: Any) -> str:
    from sqlglot import expressions as sql

    if not isinstance(node, sql.Column) or node.table:
        raise Invalid(f"{node.sql()!r} in where stands where a column belongs; {_LANGUAGE}")
    return str(node.name)


def _value(node: Any) -> str | int | float | bool:
    from sqlglot import expressions as sql

    if isinstance(node, sql.Neg) and isinstance(node.this, sql.Literal) and not node.this.is_string:
        return -_number(node.this.name)
    if isinstance(node, sql.Literal):
        return str(node.name) if node.is_string else _number(node.name)
    if isinstance(node, sql.Boolean):
        return bool(node.this)
    raise Invalid(f"{node.sql()!r} in where stands where a constant belongs; {_LANGUAGE}")


def _number(name: str) -> int | float:
    number = float(name)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
