"""Rule files: what is done with each column, written in TOML so that a data steward or a lawyer reads and changes it.

A column is looked up by its name in its table, then by a pattern there, by its name in any table, by a pattern, by the type that
was found. The longest pattern wins. A column that no rule names is refused, or dropped if the file says so; it is never kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pumasi.deid import treatments
from pumasi.deid.treatments import Step, Steps
from pumasi.kernel.errors import Invalid, NotFound

FOLDER = Path(__file__).parent / "rules"
TYPES = ("number", "date", "text", "boolean")
KEYS = {
    "title": "what the file is for",
    "source": "the law or guideline that it follows",
    "extends": "a built-in name or a file, or a list of them; what this file says counts before them",
    "unknown": '`"refuse"` (default) or `"drop"`: what happens with a column that no rule names',
    "person": "the columns that say whose row it is; the first that a table has counts",
    "without_person": '`"refuse"` (default) or `"drop"`: what happens with rows that have no person',
    "shift": "how far dates move",
    "columns": "rules for columns in any table, by name or pattern",
    "tables": "rules for one table: `[tables.NAME]`",
    "types": "rules for columns that no name decides, by what their values are: number, date, text, boolean",
}
SHIFT = {
    "days": "so many days either way at most, the same for all dates of a person",
    "weekday": "`true` moves by whole weeks, so that the day of the week stays",
    "landmarks": "dates that are nobody's (9999-12-31), which stay where they are; of others before 1850 or after 2149 the year stays",
}
LANDMARKS = ("0001-01-01", "1800-01-01", "1900-01-01", "2099-12-31", "2999-12-31", "9999-12-31")
SHORTEST_SHIFT = 30  # days; fewer would leave the month almost known


@dataclass(frozen=True)
class Rule:
    """One line of a rule file: the steps, and why; `checked`: somebody saw that what looks like an identifier in the column is none."""

    place: str
    steps: Steps
    why: str = ""
    unverified: bool = False
    checked: bool = False


@dataclass(frozen=True)
class Shift:
    """How far dates move: up to so many days either way, whole weeks if the day of the week matters; what everybody knows stays."""

    days: int = 365
    weekday: bool = False
    landmarks: tuple[str, ...] = LANDMARKS


@dataclass(frozen=True)
class Decision:
    """What happens to one column, and which rule says so."""

    column: str
    rule: Rule

    @property
    def steps(self) -> Steps:
        return self.rule.steps

    @property
    def dropped(self) -> bool:
        return self.steps[0].do == "drop"


@dataclass(frozen=True)
class Rules:
    """A rule file with everything it extends."""

    name: str
    title: str
    source: str
    unknown: str
    person: tuple[str, ...]
    without_person: str
    shift: Shift
    columns: Mapping[str, Rule]
    tables: Mapping[str, Mapping[str, Rule]]
    types: Mapping[str, Rule]
    sources: tuple[str, ...] = ()
    hierarchies: Mapping[str, str] = field(default_factory=dict)  # the paths of the CSV files that rules climb, and what they held
    digest: str = field(default="", compare=False)

    def person_of(self, columns: tuple[str, ...]) -> str | None:
        """The column that says whose row it is: the first name in the file's order that the table has."""
        for wanted in self.person:
            for column in columns:
                if fnmatchcase(folded(column), wanted):
                    return column
        return None

    def rule_of(self, table: str, column: str, kind: str | None = None) -> Rule | None:
        """The rule for a column, or None when no rule knows it. `Invalid` when two patterns that are equally long disagree."""
        own = next((rules for name, rules in self.tables.items() if name == folded(table)), {})
        for rules in (own, self.columns):
            if folded(column) in rules:
                return rules[folded(column)]
            found = _longest(rules, folded(column), f"table '{table}', column '{column}'")
            if found is not None:
                return found
        return self.types.get(kind) if kind else None

    def undecided(self, table: str, columns: tuple[str, ...]) -> list[str]:
        """The columns that no name and no pattern decides, so that their type has to be found."""
        return [column for column in columns if self.rule_of(table, column) is None]

    def decide(self, table: str, columns: tuple[str, ...], types: Mapping[str, str], where: str) -> dict[str, Decision]:
        """What happens to every column of a table; `Invalid` names all columns that no rule knows, unless the file drops those."""
        decided: dict[str, Decision] = {}
        unknown: list[str] = []
        for column in columns:
            rule = self.rule_of(table, column, types.get(column))
            if rule is None and self.unknown == "drop":
                rule = Rule('unknown = "drop"', (Step("drop"),), "no rule names this column")
            if rule is None:
                unknown.append(column)
            else:
                decided[column] = Decision(column, rule)
        if unknown:
            named = ", ".join(f"'{column}'" for column in unknown)
            raise Invalid(
                f"{where}: the rules '{self.name}' know nothing of {named}; write a rule for each into a file that extends "
                f'"{self.name}", or unknown = "drop" to leave such columns out'
            )
        return decided


def load(name: str | Path, *, beside: Path = Path()) -> Rules:
    """The rules of a built-in name (kr-pseudonym …) or of a file, whose path may be relative to `beside`. `Invalid` with every fault of it
    and of what it extends."""
    return _merge(_find(str(name), beside), ())


def names() -> list[str]:
    """The names of the rule files that are built in."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def folded(name: str) -> str:
    """A name for comparison: normal form C, without regard to case."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def _longest(rules: Mapping[str, Rule], column: str, where: str) -> Rule | None:
    matching = [key for key in rules if is_pattern(key) and fnmatchcase(column, key)]
    if not matching:
        return None
    most = max(map(_letters, matching))
    best = [key for key in matching if _letters(key) == most]
    if any(rules[key].steps != rules[best[0]].steps for key in best):
        raise Invalid(f"{where}: the patterns {' and '.join(map(repr, sorted(best)))} disagree; write a rule with the name of the column")
    return rules[best[0]]


def is_pattern(key: str) -> bool:
    """Whether a key of a rule file stands for many columns."""
    return "*" in key or "?" in key


def _letters(key: str) -> int:
    return len(key.replace("*", "").replace("?", ""))


def _find(name: str, beside: Path) -> Path:
    if re.fullmatch(r"[a-z0-9.-]+", name) and (FOLDER / f"{name}.toml").is_file():
        return FOLDER / f"{name}.toml"
    path = beside / name
    if not path.is_file():
        raise NotFound(f"{name}: there is no such rule file, and the names that are built in are {', '.join(names())}")
    return path


def _merge(path: Path, above: tuple[Path, ...]) -> Rules:
    """A file over everything that it extends, in the order it names them; what is said later counts."""
    if path.resolve() in above:
        raise Invalid(f"{path}: the rule file extends itself; take the circle out of 'extends'")
    written = _read(path)
    faults = [f"{path}: there is no setting '{key}'; there are {', '.join(sorted(KEYS))}" for key in written.keys() - KEYS.keys()]
    extends = written.get("extends", [])
    extends = [extends] if isinstance(extends, str) else extends
    if not isinstance(extends, list) or not all(isinstance(one, str) for one in extends):
        raise Invalid(f"{path}: 'extends' is a name or a list of names")
    bases = [_merge(_find(one, path.parent), (*above, path.resolve())) for one in extends]
    columns, tables, types = _rules(path, written, faults)
    hierarchies = _hierarchies([*columns.values(), *(rule for one in tables.values() for rule in one.values()), *types.values()], faults)
    settings = _settings(path, written, bases, faults)
    if faults:
        raise Invalid(*faults)
    all_tables = {name for layer in [*(base.tables for base in bases), tables] for name in layer}
    merged = {name: _over(*(base.tables.get(name, {}) for base in bases), tables.get(name, {})) for name in sorted(all_tables)}
    sources = tuple(dict.fromkeys([*(source for base in bases for source in base.sources), f"{path.name}"]))
    content = [written, [base.digest for base in bases], [*hierarchies.values()]]
    digest = hashlib.sha256(json.dumps(content, default=str, sort_keys=True).encode()).hexdigest()
    hierarchies = {path: held for one in (*(base.hierarchies for base in bases), hierarchies) for path, held in one.items()}
    columns, types = _over(*(base.columns for base in bases), columns), _over(*(base.types for base in bases), types)
    title = str(written.get("title", path.stem))
    source = str(written.get("source", ""))
    return Rules(
        name=path.stem, title=title, source=source, columns=columns, tables=merged, types=types, sources=sources, hierarchies=hierarchies,
        digest=digest, **settings,
    )  # fmt: skip


def _over(*layers: Mapping[str, Rule]) -> dict[str, Rule]:
    return {key: rule for layer in layers for key, rule in layer.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise Invalid(f"{path}: the rule file is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path}: this is no TOML: {error}") from None


def _settings(path: Path, written: dict[str, Any], bases: list[Rules], faults: list[str]) -> dict[str, Any]:
    last = bases[-1] if bases else None
    found: dict[str, Any] = {
        "unknown": written.get("unknown", last.unknown if last else "refuse"),
        "without_person": written.get("without_person", last.without_person if last else "refuse"),
    }
    for key in ("unknown", "without_person"):
        if found[key] not in ("refuse", "drop"):
            faults.append(f'{path}: \'{key}\' is "refuse" or "drop"')
    person = written.get("person", [])
    if not isinstance(person, list) or not all(isinstance(one, str) and one for one in person):
        faults.append(f"{path}: 'person' is a list of column names")
        person = []
    found["person"] = tuple(dict.fromkeys([*map(folded, person), *(one for base in bases for one in base.person)]))
    found["shift"] = _shift(path, written.get("shift"), last.shift if last else Shift(), faults)
    return found


def _shift(path: Path, written: Any, base: Shift, faults: list[str]) -> Shift:
    if written is None:
        return base
    if not isinstance(written, dict) or written.keys() - SHIFT.keys():
        faults.append(f"{path}: [shift] has {', '.join(sorted(SHIFT))} and nothing else")
        return base
    days, weekday = written.get("days", base.days), written.get("weekday", base.weekday)
    landmarks = [one.isoformat() if isinstance(one, date) else one for one in written.get("landmarks", base.landmarks)]
    if not isinstance(days, int) or isinstance(days, bool) or not SHORTEST_SHIFT <= days <= 3650:
        faults.append(f"{path}: 'days' of [shift] is a whole number from {SHORTEST_SHIFT} to 3650")
    if not isinstance(weekday, bool):
        faults.append(f"{path}: 'weekday' of [shift] is true or false")
    if not all(isinstance(one, str) and treatments.is_day(one) for one in landmarks):
        faults.append(f"{path}: 'landmarks' of [shift] are dates like 9999-12-31")
    return base if faults else Shift(days, weekday, tuple(landmarks))


def _rules(path: Path, written: dict[str, Any], faults: list[str]) -> tuple[dict[str, Rule], dict[str, dict[str, Rule]], dict[str, Rule]]:
    columns = _layer(path, "columns", written.get("columns", {}), faults)
    tables = written.get("tables", {})
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        faults.append(f"{path}: rules for one table stand under [tables.NAME]")
        tables = {}
    of_tables = {folded(name): _layer(path, f"tables.{name}", one, faults) for name, one in tables.items()}
    types = _layer(path, "types", written.get("types", {}), faults)
    for kind, rule in types.items():
        if kind not in TYPES:
            faults.append(f"{path}: [types] knows {', '.join(TYPES)}, not '{kind}'")
        if rule.steps and rule.steps[0].do == "keep" and kind != "boolean":
            faults.append(f"{path}: [types] keeps every column of the type {kind}; keep columns by name, so that no unknown one passes")
    return columns, of_tables, types


def _layer(path: Path, section: str, written: Any, faults: list[str]) -> dict[str, Rule]:
    if not isinstance(written, dict):
        faults.append(f"{path}: [{section}] is a table of columns")
        return {}
    found: dict[str, Rule] = {}
    for key, value in written.items():
        place = f'{path.name} [{section}] "{key}"'
        try:
            steps = _anchored(treatments.parse(value, f'{path} [{section}] "{key}"'), path.parent)
        except Invalid as error:
            faults.extend(error.reasons)
            continue
        if folded(key) in found:
            faults.append(f"{path}: [{section}] names '{key}' twice (upper and lower case are the same)")
        if is_pattern(key) and _letters(key) < 2 and steps[0].do == "keep":
            faults.append(f'{path}: [{section}] "{key}" = "keep" would keep columns that nobody has looked at; name them')
        notes = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)] or [{}]
        checked = any(one.get("checked") is True for one in notes)
        found[folded(key)] = Rule(place, steps, str(notes[0].get("why", "")), bool(notes[0].get("unverified")), checked)
    return found


def _anchored(steps: Steps, folder: Path) -> Steps:
    """CSV hierarchies are named from where the rule file lies."""
    return tuple(
        treatments.climbing(step, str((folder / step["by"]).resolve())) if treatments.climbs_file(step) else step for step in steps
    )


def _hierarchies(rules: Iterable[Rule], faults: list[str]) -> dict[str, str]:
    """The CSV files that rules climb, with the name that their contents have wherever they lie."""
    found: dict[str, str] = {}
    for rule in rules:
        for path in (Path(step["by"]) for step in rule.steps if treatments.climbs_file(step)):
            if path.is_file():
                found[str(path)] = content_name(path)
            else:
                faults.append(f"{rule.place}: there is no hierarchy file {path}")
    return found


def content_name(hierarchy: Path) -> str:
    """The name of a CSV hierarchy that says what it holds and not where it lies."""
    return f"sha256-{hashlib.sha256(hierarchy.read_bytes()).hexdigest()}.csv"
