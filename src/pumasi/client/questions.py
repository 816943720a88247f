"""From an analysis as a researcher writes it to the question that a job asks: formulas and conditions as plain data.

Compiling happens here and nowhere else: what reaches a hospital is data that its node checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pumasi.analysis import design, filter, forms
from pumasi.client import nearest
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import AgreedTable

_NO_LEVELS = (
    "no hospital names a value of '{}' that enough people share, so there is nothing to count by; give levels = [...] in study.toml"
)

_NUMBERS = (
    "'{}' holds numbers of many values, or of none that enough people share, so there is nothing to count by; ask for a histogram or "
    "quantiles, or give levels = [...] in study.toml"
)


def compiled(
    analysis: Mapping[str, Any], tables: Mapping[str, AgreedTable], hospitals: Sequence[str], others: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The question of an analysis; `others` are those it may refer to. `Invalid` with every reason, each with the analysis' name."""
    try:
        return forms.travelling(_question(dict(analysis), tables, hospitals, others))
    except Invalid as error:
        raise Invalid(*(f"analysis '{analysis['name']}': {reason}" for reason in error.reasons)) from error


def _question(
    analysis: dict[str, Any], tables: Mapping[str, AgreedTable], hospitals: Sequence[str], others: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    _check_form(analysis)
    if analysis["table"] not in tables:
        raise Invalid(f"there is no table '{analysis['table']}' in this study; {nearest.told(analysis['table'], tables, lead='there are')}")
    columns = tables[analysis["table"]].columns
    kinds: dict[str, str] = {name: column.kind for name, column in columns.items()}
    levels = {name: column.levels for name, column in columns.items()}
    question = analysis | (_fitted(analysis, others) if analysis["kind"] == "meta" else {})
    unknown = [name for _, name in forms.columns_written(question) if name not in columns]
    if unknown:
        raise Invalid(
            *(
                f"'{name}' is no column of '{analysis['table']}'; {nearest.told(name, columns, lead='there are')}"
                for name in dict.fromkeys(unknown)
            )
        )
    question |= _designs(question, kinds, levels, hospitals)
    read = {name for name in forms.columns_read(question) if name in columns}
    if "where" in question:
        question["filter"] = filter.compile(question["where"], kinds=kinds, levels=levels)
        read |= filter.columns(question["filter"])
    without = [name for name in _counted_by(question) if not levels.get(name)]
    if without:
        raise Invalid(*((_NUMBERS if kinds[name] == "number" else _NO_LEVELS).format(name) for name in without))
    return {**question, "reads": sorted(read)}


def _check_form(analysis: Mapping[str, Any]) -> None:
    kind = analysis["kind"]
    if kind not in forms.FORMS:
        raise Invalid(f"there is no kind of analysis '{kind}'; {nearest.told(kind, forms.FORMS, lead='there are')}")
    keys = forms.written(kind)
    reasons = [
        f"unknown key '{key}'; {nearest.told(key, keys, lead='known here are')}" for key in analysis if key not in (*forms.HEAD, *keys)
    ]
    reasons += [f"the key '{name}' is missing" for name, key in keys.items() if key.needed and name not in analysis]
    reasons += [
        f"'{name}' must be {forms.expected(key)}"
        for name, key in keys.items()
        if name in analysis and not forms.fits(key.what, analysis[name], key.choices)
    ]
    if reasons:
        raise Invalid(*reasons)


def _counted_by(question: Mapping[str, Any]) -> list[str]:
    named = question.get("by", [])
    return [named] if isinstance(named, str) else list(named)


def _designs(
    question: Mapping[str, Any], kinds: Mapping[str, str], levels: Mapping[str, Sequence[str]], hospitals: Sequence[str]
) -> dict[str, Any]:
    """What a model's formulas mean."""
    if forms.HOSPITAL not in kinds:
        kinds, levels = {**kinds, forms.HOSPITAL: "text"}, {**levels, forms.HOSPITAL: sorted(hospitals)}
    if question["kind"] == "cox" or question.get("of") == "cox":
        plain = design.compile(f"`{question['event']}` ~ {question['formula']}", kinds=kinds, levels=levels)
        # the baseline hazard is the intercept
        return {"design": {**plain, "columns": [column for column in plain["columns"] if column["factors"]]}}
    if "formula" not in question:
        return {}
    found = {"design": design.compile(question["formula"], kinds=kinds, levels=levels)}
    if "compare" in question:
        found["compare_design"] = design.compile(question["compare"], kinds=kinds, levels=levels)
    return found


def _fitted(analysis: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of the model that a meta-analysis fits at each hospital."""
    found = next((other for other in others if other["name"] == analysis["analysis"] and other["kind"] in ("glm", "cox")), None)
    if found is None:
        raise Invalid(f"there is no glm or cox analysis called '{analysis['analysis']}' in this study")
    if found["table"] != analysis["table"]:
        raise Invalid(f"'{analysis['analysis']}' reads another table than '{analysis['table']}'")
    kept = {key: found[key] for key in ("family", "formula", "time", "event", "ties", "where") if key in found}
    return kept | {"of": found["kind"]} | ({"where": analysis["where"]} if "where" in analysis else {})
