"""A formula becomes a *design*: plain data that says how each column of the model matrix is a product of columns and levels.

    {"outcome": "death14", "columns": [{"name": "Intercept", "factors": []}, {"name": "age:conscious[T.drowsy]",
        "factors": [{"column": "age"}, {"column": "conscious", "level": "drowsy"}]}]}

The researcher's client compiles it with formulaic; a node only checks it, so where the data is no formula is ever parsed.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pumasi.analysis import checks
from pumasi.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["number", "text", "boolean", "date"]

MOST_COLUMNS = 200
MOST_FACTORS = 6
MOST_POWER = 4
MOST_CHARACTERS = 2_000

_SHAPE = {"outcome", "columns"}


def check(design: Any, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Why a node may not use this design: unknown columns, levels that were not agreed, names that do not say what is multiplied.

    Whether it singles people out is judged later, on the counts.
    """
    if not isinstance(design, dict) or design.keys() != _SHAPE or not isinstance(design["columns"], list):
        return ["a design is an object of 'outcome' and 'columns'; compile it from a formula"]
    reasons = _outcome_reasons(design["outcome"], kinds, levels)
    columns = design["columns"]
    if not 1 <= len(columns) <= MOST_COLUMNS:
        reasons.append(f"a design has between 1 and {MOST_COLUMNS} columns")
    for column in columns[:MOST_COLUMNS]:
        reasons += _column_reasons(column, outcome=design["outcome"], kinds=kinds, levels=levels)
    names = [column["name"] for column in columns if isinstance(column, dict) and isinstance(column.get("name"), str)]
    if len(set(names)) != len(names):
        reasons.append("two columns of the design have the same name")
    return list(dict.fromkeys(reasons))


def named(design: dict[str, Any]) -> list[str]:
    """The columns that a design reads, its outcome among them; sorted."""
    return sorted({design["outcome"], *(factor["column"] for column in design["columns"] for factor in column["factors"])})


def subset(smaller: dict[str, Any], larger: dict[str, Any]) -> list[int] | None:
    """Where the columns of one design stand in another with the same outcome; None when they are not among them, or are all of them."""
    products = [_product(column) for column in larger["columns"]]
    places = [products.index(product) for product in map(_product, smaller["columns"]) if product in products]
    inside = len(places) == len(smaller["columns"]) < len(products) and smaller["outcome"] == larger["outcome"]
    return sorted(places) if inside else None


def _product(column: dict[str, Any]) -> frozenset[tuple[str, str | None]]:
    return frozenset((factor["column"], factor.get("level")) for factor in column["factors"])


def _outcome_reasons(outcome: Any, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    if not isinstance(outcome, str) or outcome not in kinds:
        return [f"the outcome {outcome!r} is no column of this table; there are {_listed(kinds)}"]
    return checks.zero_and_one("outcome", outcome, kinds, levels)


def _column_reasons(column: Any, *, outcome: Any, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    if not isinstance(column, dict) or column.keys() != {"name", "factors"} or not isinstance(column["factors"], list):
        return ["a column of a design is an object of 'name' and 'factors'"]
    if len(column["factors"]) > MOST_FACTORS:
        return [f"a column of a design multiplies at most {MOST_FACTORS} columns"]
    reasons = [reason for factor in column["factors"] for reason in _factor_reasons(factor, kinds=kinds, levels=levels)]
    if reasons:
        return reasons
    used = [factor["column"] for factor in column["factors"]]
    if outcome in used:
        return [f"the outcome '{outcome}' may not predict itself"]
    if len(set(used)) != len(used):
        return ["a column of a design multiplies the same column with itself"]
    if column["name"] not in _names(column["factors"]):
        return [f"the design calls {column['name']!r} what is a product of other columns or levels"]
    return []


def _factor_reasons(factor: Any, *, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    if not isinstance(factor, dict) or factor.keys() not in ({"column"}, {"column", "level"}):
        return ["a factor of a design is an object of 'column' and perhaps 'level'"]
    name = factor["column"]
    if not isinstance(name, str) or name not in kinds:
        return [f"{name!r} is no column of this table; there are {_listed(kinds)}"]
    if kinds[name] == "date":
        return [f"'{name}' holds dates, which a model cannot use; keep only the year, or leave it out"]
    if "level" in factor:
        return [] if factor["level"] in levels.get(name, ()) else [f"a level of '{name}' in the design is not agreed in the permits"]
    return [] if kinds[name] == "number" else [f"'{name}' holds no numbers, so it enters a model by its levels"]


def _names(factors: list[dict[str, str]]) -> set[str]:
    """Every name that formulaic may give to this product."""
    if not factors:
        return {"Intercept"}
    each = []
    for factor in factors:
        name, level = factor["column"], factor.get("level")
        each.append([name] if level is None else [f"{call}[{mark}{level}]" for call in (name, f"C({name})") for mark in ("T.", "")])
    return {":".join(parts) for parts in itertools.product(*each)}


def _listed(kinds: Mapping[str, str]) -> str:
    return ", ".join(kinds) or "none"


# Compiling: only where the researcher works.


@dataclass(frozen=True)
class _Token:
    text: str
    kind: Literal["column", "category", "number", "sign"]


_NAME = r"[^\W\d][\w.]*"
_TOKEN = re.compile(
    rf"\s*(?:C\(\s*(?:(?P<category>{_NAME})|`(?P<quoted_category>[^`]+)`)\s*\)|(?P<column>{_NAME})|`(?P<quoted_column>[^`]+)`"
    r"|(?P<number>\d+)|(?P<sign>\*\*|[~+\-:*^()]))"
)


def compile(formula: str, *, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The design of `outcome ~ terms`, with formulaic's names. `levels` are the agreed ones, the first the reference.

    Text and boolean columns and C(column) are categories; numbers are numbers. The language is + - : * ( ) ** ^ 0 1 and C(column), nothing
    of Python; names with spaces or signs stand in `backticks`. `Invalid` in a sentence that names the part that cannot be used.
    """
    tokens = _tokens(formula)
    _check_places(tokens)
    outcome, *rest = tokens
    reasons = _outcome_reasons(outcome.text, kinds, levels)
    for token in dict.fromkeys(rest):
        reasons += _token_reasons(token, outcome=outcome.text, kinds=kinds, levels=levels)
    if reasons:
        raise Invalid(*reasons)
    # 1. give every factor a name of our own, so that no column name can mean anything to Python
    used = dict.fromkeys(token for token in rest if token.kind in ("column", "category"))
    alias = {token: f"v{place}" for place, token in enumerate(used)}
    coded = {token: list(levels[token.text]) if token.kind == "category" or kinds[token.text] != "number" else None for token in used}
    text = " ".join(alias.get(token, token.text) for token in rest[1:])
    # 2. let formulaic order the terms and decide which codings are reduced, on a table that holds every level
    scoped_terms = _structure(text, {name: coded[token] for token, name in alias.items()}, formula=formula)
    # 3. write each of its columns down as a product
    token_of = {name: token for token, name in alias.items()}
    columns = []
    for scoped in scoped_terms:
        factors = [(token_of[factor.factor.expr], factor.reduced) for factor in scoped.factors]
        columns += _products([_coding(token, coded[token], reduced) for token, reduced in factors])
    if not columns:
        raise Invalid(f"the formula {formula!r} leaves a model without any column; name at least one")
    if len(columns) > MOST_COLUMNS or any(len(column["factors"]) > MOST_FACTORS for column in columns):
        raise Invalid(f"the formula {formula!r} asks for more than {MOST_COLUMNS} columns or {MOST_FACTORS} factors; ask for less at once")
    plain = {"outcome": outcome.text, "columns": columns}
    refused = check(plain, kinds, levels)
    if refused:
        raise Invalid(*refused)
    return plain


def _tokens(formula: str) -> list[_Token]:
    if len(formula) > MOST_CHARACTERS:
        raise Invalid(f"a formula has at most {MOST_CHARACTERS} characters")
    tokens, at = [], 0
    end = len(formula.rstrip())
    while at < end:
        match = _TOKEN.match(formula, at)
        if match is None or match.lastgroup is None:
            raise Invalid(
                f"{formula[at:].strip()[:40]!r} in the formula is not understood; use + - : * ( ) ** 0 1, C(column) and column names, "
                "those with spaces or signs in `backticks`"
            )
        if match.lastgroup == "column" and formula[match.end() :].lstrip().startswith("("):
            raise Invalid(f"'{match['column']}(' in the formula is a call; only C(column) may be called, so prepare the column before")
        kind = match.lastgroup.removeprefix("quoted_")
        tokens.append(_Token(text=match[match.lastgroup], kind=kind))  # type: ignore[arg-type]  # the groups are the kinds
        at = match.end()
    return tokens


def _check_places(tokens: list[_Token]) -> None:
    """What the regular expression cannot see: one outcome, one ~, and numbers only as 0, 1 or a power."""
    signs = [token.text for token in tokens]
    if signs.count("~") != 1 or len(tokens) < 3 or signs[1] != "~" or tokens[0].kind != "column":
        raise Invalid("a formula is 'outcome ~ terms', with one column on the left")
    for before, token, after in zip(tokens, tokens[1:], [*tokens[2:], None], strict=False):
        if token.kind != "number":
            if before.text in ("**", "^"):
                raise Invalid(f"'{before.text} {token.text}' in the formula is no power; a power is a whole number")
        elif before.text in ("**", "^"):
            if not 1 <= int(token.text) <= MOST_POWER:
                raise Invalid(f"the power {token.text} in the formula is not between 1 and {MOST_POWER}")
        elif token.text not in ("0", "1") or before.text not in ("~", "+", "-", "(") or (after and after.text not in ("+", "-", ")")):
            raise Invalid(
                f"the number {token.text} in the formula has no meaning there; 0 and 1 are added or taken away, others are powers"
            )


def _token_reasons(token: _Token, *, outcome: str, kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    if token.kind not in ("column", "category"):
        return []
    name = token.text
    if name not in kinds:
        return [f"{name!r} in the formula is no column of this table; there are {_listed(kinds)}"]
    if name == outcome:
        return [f"the outcome '{name}' may not predict itself"]
    if kinds[name] == "date":
        return [f"'{name}' holds dates, which a model cannot use; keep only the year, or leave it out"]
    if (token.kind == "category" or kinds[name] != "number") and len(levels.get(name, ())) < 2:
        empty = "" if levels.get(name) else " (it is empty, or no value of it is shared by enough people of one hospital)"
        return [f"'{name}' has fewer than two agreed levels{empty}, so it cannot be a category; give levels = [...] in study.toml"]
    return []


def _structure(text: str, columns: dict[str, list[str] | None], *, formula: str) -> list[Any]:
    """formulaic's scoped terms: for each, its factors and whether their coding is reduced."""
    import pandas
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    rows = max([2, *(len(levels) for levels in columns.values() if levels is not None)])
    table = pandas.DataFrame(index=range(rows))
    for name, levels in columns.items():
        values = [float(row) for row in range(rows)] if levels is None else [levels[row % len(levels)] for row in range(rows)]
        table[name] = values if levels is None else pandas.Categorical(values, categories=levels)
    try:
        spec = model_matrix(text, table).model_spec
    except FormulaicError as error:
        raise Invalid(f"the formula {formula!r} cannot be read; look for a sign without a column on one of its sides") from error
    return [scoped for term in spec.structure for scoped in term.scoped_terms]


def _coding(token: _Token, levels: list[str] | None, reduced: object) -> list[tuple[str, dict[str, str]]]:
    """(name, factor) for each column that one factor becomes by itself."""
    called = f"C({token.text})" if token.kind == "category" else token.text
    if levels is None:
        return [(called, {"column": token.text})]
    mark, kept = ("T.", levels[1:]) if reduced else ("", levels)
    return [(f"{called}[{mark}{level}]", {"column": token.text, "level": level}) for level in kept]


def _products(codings: list[list[tuple[str, dict[str, str]]]]) -> list[dict[str, Any]]:
    """The columns of one term; its last factor turns slowest, as formulaic has it."""
    found = []
    for turned in itertools.product(*reversed(codings)):
        parts = turned[::-1]
        found.append({"name": ":".join(name for name, _ in parts) or "Intercept", "factors": [dict(factor) for _, factor in parts]})
    return found
