"""study.toml: read it, check all of it at once, and say what is wrong with which key in which line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pumasi.analysis import forms
from pumasi.client import nearest
from pumasi.deid import asked, treatments
from pumasi.kernel.codes import AnalysisKind, ColumnClass, Keep, Purpose, choices
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import ColumnRule, TableRule, TreatedColumnRule, level_text

_TOP = {"title": str, "purpose": str, "smallest_cell": int, "tables": dict, "analysis": list}
_TABLE = {"person": str, "columns": dict, "where": str}
_COLUMN = {"is": str, "keep": str, "treat": None, "levels": list}
_LINES = ("title", "person", "name", "table")
_LINE = "one printable line of at most 300 characters, without spaces at its ends"
_NAME = r"(?:\"[^\"]*\"|'[^']*'|[^\[\]\"'])+"  # of a section, in its header; in quotes it may hold brackets
_TYPES: dict[Any, str] = {str: "a text in quotes", int: "a whole number", list: "a list in brackets", dict: "a section"}


@dataclass(frozen=True)
class StudyFile:
    """A study as the researcher wrote it down."""

    title: str
    purpose: Purpose
    smallest_cell: int
    tables: dict[str, TableRule]
    analyses: list[dict[str, Any]]

    @property
    def kinds(self) -> list[AnalysisKind]:
        return sorted({analysis["kind"] for analysis in self.analyses})


def read(path: Path) -> StudyFile:
    """The study in `path`; `Invalid` with every mistake, each with its key and line."""
    if not path.is_file():
        raise Invalid(f"there is no study file at {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is not valid TOML: {error}") from error
    return _Reader(path, text).study(value)


def read_to_run(path: Path) -> StudyFile:
    """The study in `path`, which must ask something."""
    study = read(path)
    if not study.analyses:
        raise Invalid(f"{path} asks nothing: add at least one section [[analysis]], or work with the study from Python")
    return study


class _Reader:
    """One pass over a parsed study file, gathering mistakes."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._lines, self._reasons = path, text.splitlines(), list[str]()

    def study(self, value: dict[str, Any]) -> StudyFile:
        if isinstance(value.get("title"), str):
            value = {**value, "title": value["title"].strip()}
        self._keys(value, _TOP, required={"title", "purpose", "smallest_cell", "tables"}, section=())
        if value.get("purpose") not in get_args(Purpose) and isinstance(value.get("purpose"), str):
            self._wrong(("purpose",), f"the purpose is not one of {choices(Purpose)}")
        if type(value.get("smallest_cell")) is int and value["smallest_cell"] < 1:
            self._wrong(("smallest_cell",), "smallest_cell is at least 1")
        tables = {name: self._table(name, table) for name, table in self._sections(value.get("tables")).items()}
        if isinstance(value.get("tables"), dict) and not tables:
            self._wrong(("tables",), "a study uses at least one table: add a section [tables.NAME]")
        analyses = value.get("analysis", [])
        for number, analysis in enumerate(analyses if isinstance(analyses, list) else []):
            self._analysis(number, analysis, value.get("tables", {}))
        self._names(analyses)
        if self._reasons:
            raise Invalid(*self._reasons)
        return StudyFile(
            value["title"],
            value["purpose"],
            value["smallest_cell"],
            {name: table for name, table in tables.items() if table},
            [_conditioned(analysis, value["tables"][analysis["table"]].get("where")) for analysis in analyses],
        )

    def _sections(self, value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) else {}

    def _table(self, name: str, table: Any) -> TableRule | None:
        section = ("tables", name)
        if not self._keys(table, _TABLE, required={"person", "columns"}, section=section):
            return None
        for where in [section, *((*section, "columns", column) for column in self._sections(table["columns"]))]:
            if not _one_line(where[-1]):
                self._wrong(where, f"the name of a {'table' if where == section else 'column'} is {_LINE}")
        rules = {column: self._column((*section, "columns", column), rule) for column, rule in self._sections(table.get("columns")).items()}
        if self._reasons or any(rule is None for rule in rules.values()):
            return None
        return TableRule.model_validate({"person": table["person"], "columns": {column: rule for column, rule in rules.items() if rule}})

    def _column(self, where: tuple[str, ...], rule: Any) -> ColumnRule | TreatedColumnRule | None:
        if not self._keys(rule, _COLUMN, required={"is"}, section=where):
            return None
        if rule["is"] not in get_args(ColumnClass):
            self._wrong(where, f"'is' is not one of {choices(ColumnClass)}")
            return None
        if "keep" in rule and rule["keep"] not in get_args(Keep):
            self._wrong(where, f"'keep' is not one of {choices(Keep)}; without it the column passes unchanged")
            return None
        levels = rule.get("levels")
        if levels is not None:
            texts = [_level(level) for level in levels]
            if not texts or None in texts or len(set(texts)) < len(texts):
                self._wrong(where, "'levels' lists texts, numbers or true and false, each once and at least one")
                return None
            levels = texts
        if "treat" in rule:
            return self._treated(where, rule, levels)
        return ColumnRule.model_validate({"is": rule["is"], "keep": rule.get("keep"), "levels": levels})

    def _treated(self, where: tuple[str, ...], rule: Any, levels: list[str] | None) -> TreatedColumnRule | None:
        if "keep" in rule or rule["is"] == "identifier":
            self._wrong(where, "a column has 'keep' or 'treat' or neither, and one that identifies people has none: it is never used")
            return None
        try:
            steps = asked.parse(rule["treat"], f"'treat' of {where[-1]}")
        except Invalid as invalid:
            for reason in invalid.reasons:
                self._wrong(where, reason)
            return None
        fields = {"is": rule["is"], "treat": treatments.told(steps), "kind": asked.kind_after(steps), "levels": levels}
        return TreatedColumnRule.model_validate(fields)

    def _analysis(self, number: int, analysis: Any, tables: Any) -> None:
        where = ("analysis", str(number))
        if not isinstance(analysis, dict) or str(analysis.get("kind")) not in forms.FORMS:
            said = analysis.get("kind") if isinstance(analysis, dict) else None
            told = nearest.told(said, get_args(AnalysisKind), lead="the kind of an analysis is one of")
            self._wrong((*where, "kind"), f"there is no kind '{said}'; {told}" if isinstance(said, str) else told)
            return
        keys = forms.written(analysis["kind"])
        needed = {name for name, key in keys.items() if key.needed}
        if not self._keys(analysis, dict.fromkeys((*forms.HEAD, *keys)), required={*forms.HEAD, *needed}, section=where):
            return
        misfits = [name for name in keys if name in analysis and not forms.fits(keys[name].what, analysis[name], keys[name].choices)]
        for name in misfits:
            self._wrong((*where, name), f"'{name}' must be {forms.expected(keys[name])}")
        table = self._sections(tables).get(analysis["table"])
        if not isinstance(table, dict):
            self._wrong(
                (*where, "table"),
                f"there is no section [tables.{analysis['table']}]; {nearest.told(analysis['table'], tables, lead='there are')}",
            )
        elif not misfits:
            self._columns_named((*where,), analysis, table)

    def _columns_named(self, where: tuple[str, ...], analysis: dict[str, Any], table: dict[str, Any]) -> None:
        """Whether the columns that an analysis names are the study's to use; a condition is looked at once their levels are known."""
        rules = self._sections(table.get("columns"))
        usable = sorted(
            name for name, rule in rules.items() if self._sections(rule).get("is") != "identifier" and name != table.get("person")
        )
        for key, name in forms.calls_written(analysis):
            self._wrong((*where, key), f"'{name}' is called in the formula; only C(column) may be called, so prepare the column before")
        for key, name in forms.columns_written(analysis):
            if name not in usable:
                self._wrong(
                    (*where, key),
                    f"'{name}' is not a column that the study may use in '{analysis['table']}'; "
                    f"{nearest.told(name, usable, lead='there are')}",
                )

    def _names(self, analyses: Any) -> None:
        names = [analysis.get("name") for analysis in analyses if isinstance(analysis, dict)] if isinstance(analyses, list) else []
        for name in sorted({str(name) for name in names if names.count(name) > 1}):
            self._reasons.append(f"{self._path}: two analyses are called '{name}'; results are found by name, so give each its own")

    def _keys(self, value: Any, known: Mapping[str, Any], *, required: set[str], section: tuple[str, ...]) -> bool:
        """Whether `value` has the right keys and types; every other key is named with its line."""
        if not isinstance(value, dict):
            self._wrong(section, "this is a section of keys")
            return False
        before = len(self._reasons)
        for key in value:
            if key not in known:
                self._wrong((*section, key), f"unknown key '{key}'; {nearest.told(key, known, lead='known here are')}")
            elif known[key] is None and key not in forms.HEAD:
                continue  # its form says more about it
            elif type(value[key]) is not (known[key] or str) or value[key] == "":
                self._wrong((*section, key), f"'{key}' must be {_TYPES[known[key] or str]}")
            elif key in _LINES and not _one_line(value[key]):
                self._wrong((*section, key), f"'{key}' is {_LINE}")
        for key in sorted(required - value.keys()):
            self._wrong(section, f"the key '{key}' is missing")
        return len(self._reasons) == before

    def _wrong(self, where: tuple[str, ...], sentence: str) -> None:
        self._reasons.append(f"{self._path}, line {self._line(where)}: {sentence}")

    def _line(self, where: tuple[str, ...]) -> int:
        """The line of a key: the deepest one of its path that is written on a line of its own below its section's header."""
        for depth in range(len(where), 0, -1):
            for number, (section, key) in enumerate(self._places(), 1):
                if (*section, *key) == where[:depth]:
                    return number
        return 1

    def _places(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """For each line: the section it stands in, and the key it begins with (empty for headers)."""
        places: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        section: tuple[str, ...] = ()
        counts: dict[str, int] = {}
        for line in self._lines:
            array, header = re.match(rf"\s*\[\[({_NAME})\]\]", line), re.match(rf"\s*\[({_NAME})\]", line)
            if array:
                number = counts[array[1].strip()] = counts.get(array[1].strip(), -1) + 1
                section = (*_dotted(array[1]), str(number))
                places.append((section, ()))
            elif header:
                section = _dotted(header[1])
                places.append((section, ()))
            else:
                key = re.match(r"\s*((?:\"[^\"]*\"|'[^']*'|[^\s=#\"']+))\s*=", line)
                places.append((section, _dotted(key[1]) if key else ("",)))
        return places


def _conditioned(analysis: dict[str, Any], where: str | None) -> dict[str, Any]:
    """An analysis with the condition of its table as well; a meta-analysis without one of its own has that of its model."""
    if where is None or (analysis["kind"] == "meta" and "where" not in analysis):
        return analysis
    return analysis | {"where": f"({where}) AND ({analysis['where']})" if "where" in analysis else where}


def _dotted(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", key))


def _one_line(text: str) -> bool:
    """What travels as a name or title; see kernel.model.Line."""
    return 0 < len(text) <= 300 and text == text.strip() and text.isprintable()


def _level(level: Any) -> str | None:
    if isinstance(level, bool):
        return str(level)
    if isinstance(level, int | float):
        return level_text(float(level))
    return level if isinstance(level, str) and _one_line(level) else None
