"""The configuration of `deid anonymize`: read it, check all of it at once, and name every key that is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pumasi.kernel.errors import Invalid, NotFound

Diverse = Literal["distinct", "entropy", "recursive"]
Distance = Literal["equal", "ordered", "hierarchical"]
MetricName = Literal["loss", "entropy", "aecs", "discernibility", "height"]
Like = Literal["basic", "enhanced"]
DIVERSE: tuple[Diverse, ...] = ("distinct", "entropy", "recursive")
DISTANCES: tuple[Distance, ...] = ("equal", "ordered", "hierarchical")
LIKE: tuple[Like, ...] = ("basic", "enhanced")
METRICS: tuple[MetricName, ...] = ("loss", "entropy", "aecs", "discernibility", "height")
_WITH_WEIGHTS = ("loss", "entropy", "height")
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True)
class Quasi:
    """A column that outsiders may know. Without a hierarchy a value is kept or suppressed."""

    column: str
    hierarchy: Path | None
    weight: float


@dataclass(frozen=True)
class SensitiveColumn:
    """A column that must not become known. `order` is for the ordered distance; without it numbers go by size and text by code point."""

    column: str
    hierarchy: Path | None
    order: tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    kind: Diverse
    l_value: float
    c: float
    column: str


@dataclass(frozen=True)
class Closeness:
    distance: Distance
    t: float
    column: str


@dataclass(frozen=True)
class Likeness:
    kind: Like
    beta: float
    column: str


@dataclass(frozen=True)
class Presence:
    least: float
    most: float
    population: Path


@dataclass(frozen=True)
class KMap:
    """k in a population: a table of it, or only its size (then with the chance of error `significance` and an estimator)."""

    k: int
    population: Path | int
    significance: float = 0.01
    estimator: Literal["poisson", "zero-truncated-poisson"] = "poisson"


@dataclass(frozen=True)
class Rules:
    """The privacy models that must hold together."""

    k: int | None = None
    diversity: tuple[Diversity, ...] = ()
    closeness: tuple[Closeness, ...] = ()
    likeness: tuple[Likeness, ...] = ()
    presence: tuple[Presence, ...] = ()
    k_map: tuple[KMap, ...] = ()
    average_risk: float | None = None
    sample_uniqueness: float | None = None


@dataclass(frozen=True)
class Config:
    """Everything that one run is told."""

    quasi: tuple[Quasi, ...]
    sensitive: tuple[SensitiveColumn, ...]
    keep: tuple[str, ...]
    model: Rules
    suppression: float
    metric: MetricName
    gs_factor: float
    monotonic: bool
    recoding: Literal["global", "local"]
    separator: str
    time_limit: float | None


def read(path: Path) -> Config:
    """The configuration in `path`, its own paths relative to it. `Invalid` with every mistake, each with its key."""
    if not path.is_file():
        raise NotFound(f"there is no configuration at {path}")
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        hint = '; a name with other letters than a-z stands in quotes, as in [quasi."나이"]' if "key" in str(error) else ""
        raise Invalid(f"{path} is not valid TOML: {error}{hint}") from None
    return _Reader(path).config(value)


class _Reader:
    """One pass over a parsed configuration, gathering mistakes."""

    def __init__(self, path: Path) -> None:
        self._path, self._reasons = path, list[str]()
        self._sensitive: tuple[SensitiveColumn, ...] = ()

    def config(self, value: dict[str, Any]) -> Config:
        model: dict[str, Any] = value["model"] if isinstance(value.get("model"), dict) else {}
        # A key that follows [model] belongs to it in TOML; these are meant for the whole wherever they stand.
        for key in ("suppression", "metric", "gs_factor", "monotonic", "recoding", "time_limit", "keep", "separator"):
            if key in model:
                self._wrong(key, "it is given twice, once under [model]; keep one") if key in value else value.update({key: model[key]})
                model = {name: one for name, one in model.items() if name != key}
        known = {"quasi", "sensitive", "keep", "model", "suppression", "metric", "gs_factor", "monotonic", "recoding"}
        self._unknown(value, known | {"separator", "time_limit"}, "")
        quasi = self._quasi(value.get("quasi"))
        self._sensitive = self._sensitive_columns(value.get("sensitive", {}))
        keep = self._texts(value.get("keep", []), "keep")
        self._once([one.column for one in quasi], [one.column for one in self._sensitive], list(keep))
        rules = self._rules(model)
        metric = self._choice(value.get("metric", "loss"), METRICS, "metric")
        if metric not in _WITH_WEIGHTS and len({one.weight for one in quasi}) > 1:
            self._wrong("weight", f"the metric '{metric}' knows no columns, so no weights; use {', '.join(_WITH_WEIGHTS)}")
        if metric == "aecs" and value.get("gs_factor") == 0:
            self._wrong("gs_factor", "with 0 the metric 'aecs' counts no class; give it a factor above 0")
        config = Config(
            quasi=quasi,
            sensitive=self._sensitive,
            keep=keep,
            model=rules,
            suppression=self._number(value.get("suppression", 0.0), "suppression", "a fraction from 0 to 1", lambda it: 0 <= it <= 1),
            metric=metric,
            gs_factor=self._number(value.get("gs_factor", 0.5), "gs_factor", "a number from 0 to 1", lambda it: 0 <= it <= 1),
            monotonic=self._boolean(value.get("monotonic", False), "monotonic"),
            recoding=self._choice(value.get("recoding", "global"), ("global", "local"), "recoding"),
            separator=self._separator(value.get("separator", "")),
            time_limit=self._optional(value, "time_limit", "seconds above 0", lambda it: it > 0),
        )
        if self._reasons:
            raise Invalid(*(f"{self._path}: {reason}" for reason in self._reasons))
        return config

    def _quasi(self, value: Any) -> tuple[Quasi, ...]:
        sections = self._sections(value, "quasi")
        if not sections:
            self._wrong("quasi", 'name at least one column that others may know, as in [quasi.age] hierarchy = "age.csv"')
        found = []
        for column, section in sections.items():
            key = f"quasi.{column}"
            self._unknown(section, {"hierarchy", "weight"}, key)
            weight = self._number(section.get("weight", 1.0), f"{key}.weight", "a number of at least 0", lambda it: it >= 0)
            found.append(Quasi(column, self._file(section.get("hierarchy"), f"{key}.hierarchy"), weight))
        if found and not any(one.weight for one in found):
            self._wrong("weight", "every weight is 0; give at least one column a weight above 0")
        return tuple(found)

    def _sensitive_columns(self, value: Any) -> tuple[SensitiveColumn, ...]:
        found = []
        for column, section in self._sections(value, "sensitive").items():
            key = f"sensitive.{column}"
            self._unknown(section, {"hierarchy", "order"}, key)
            order = self._texts(section.get("order", []), f"{key}.order")
            found.append(SensitiveColumn(column, self._file(section.get("hierarchy"), f"{key}.hierarchy"), order))
        return tuple(found)

    def _rules(self, model: Mapping[str, Any]) -> Rules:
        self._unknown(model, {"k", "l", "t", "delta_presence", "k_map", "average_risk", "sample_uniqueness", "beta"}, "model")
        if not model:
            self._wrong("model", "ask for at least one privacy model, for example k = 5")
        positive: Callable[[float], bool] = lambda it: 0 < it <= 1  # noqa: E731
        return Rules(
            k=self._whole(model["k"], "model.k", 1) if "k" in model else None,
            diversity=tuple(one for key, part in self._parts(model, "l") for one in self._diversity(key, part)),
            closeness=tuple(one for key, part in self._parts(model, "t") for one in self._closeness(key, part)),
            likeness=tuple(one for key, part in self._parts(model, "beta") for one in self._likeness(key, part)),
            presence=tuple(self._presence(key, part) for key, part in self._parts(model, "delta_presence")),
            k_map=tuple(self._k_map(key, part) for key, part in self._parts(model, "k_map")),
            average_risk=self._optional(model, "average_risk", "a risk above 0 and at most 1", positive, "model."),
            sample_uniqueness=self._optional(model, "sample_uniqueness", "a fraction from 0 to 1", lambda it: 0 <= it <= 1, "model."),
        )

    def _diversity(self, key: str, part: Mapping[str, Any]) -> list[Diversity]:
        kind = self._choice(part.get("kind", "distinct"), DIVERSE, f"{key}.kind")
        self._unknown(part, {"kind", "l", "column", *(["c"] if kind == "recursive" else [])}, key)
        wanted = part.get("l")
        if kind == "entropy":
            value = self._number(wanted, f"{key}.l", "a number of at least 1", lambda it: it >= 1)
        else:
            value = float(self._whole(wanted, f"{key}.l", 1))
        c = self._number(part.get("c"), f"{key}.c", "a number above 0", lambda it: it > 0) if kind == "recursive" else 0.0
        return [Diversity(kind, value, c, column) for column in self._of(part, key)]

    def _closeness(self, key: str, part: Mapping[str, Any]) -> list[Closeness]:
        self._unknown(part, {"distance", "t", "column"}, key)
        distance = self._choice(part.get("distance", "equal"), DISTANCES, f"{key}.distance")
        t = self._number(part.get("t"), f"{key}.t", "a number from 0 to 1", lambda it: 0 <= it <= 1)
        columns = self._of(part, key)
        for one in self._sensitive:
            if distance == "hierarchical" and one.column in columns and one.hierarchy is None:
                self._wrong(key, f"the hierarchical distance needs a hierarchy under [sensitive.{one.column}]")
        return [Closeness(distance, t, column) for column in columns]

    def _likeness(self, key: str, part: Mapping[str, Any]) -> list[Likeness]:
        self._unknown(part, {"kind", "beta", "column"}, key)
        kind = self._choice(part.get("kind", "basic"), LIKE, f"{key}.kind")
        beta = self._number(part.get("beta"), f"{key}.beta", "a number above 0", lambda it: it > 0)
        return [Likeness(kind, beta, column) for column in self._of(part, key)]

    def _presence(self, key: str, part: Mapping[str, Any]) -> Presence:
        self._unknown(part, {"min", "max", "population"}, key)
        least = self._number(part.get("min", 0.0), f"{key}.min", "a fraction from 0 to 1", lambda it: 0 <= it <= 1)
        most = self._number(part.get("max"), f"{key}.max", "a fraction from 0 to 1", lambda it: 0 <= it <= 1)
        if least > most:
            self._wrong(key, "min is above max")
        return Presence(least, most, self._file(part.get("population"), f"{key}.population", needed=True) or self._path)

    def _k_map(self, key: str, part: Mapping[str, Any]) -> KMap:
        k, people = self._whole(part.get("k"), f"{key}.k", 1), part.get("population")
        if type(people) is not int:
            self._unknown(part, {"k", "population"}, key)
            return KMap(k, self._file(people, f"{key}.population", needed=True) or self._path)
        self._unknown(part, {"k", "population", "significance", "estimator"}, key)
        return KMap(
            k,
            self._whole(people, f"{key}.population", 1),
            self._number(part.get("significance", 0.01), f"{key}.significance", "above 0 and below 1", lambda it: 0 < it < 1),
            self._choice(part.get("estimator", "poisson"), ("poisson", "zero-truncated-poisson"), f"{key}.estimator"),
        )

    def _of(self, part: Mapping[str, Any], key: str) -> list[str]:
        """The sensitive columns that a model is about: the one it names, or all."""
        known = [one.column for one in self._sensitive]
        if not known:
            self._wrong(key, "it needs a sensitive column; name one as [sensitive.NAME]")
        if "column" not in part:
            return known
        if part["column"] not in known:
            self._wrong(f"{key}.column", "it is none of the sensitive columns")
        return [part["column"]]

    def _parts(self, model: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """One table, or several in a list."""
        if name not in model:
            return []
        parts = model[name] if isinstance(model[name], list) else [model[name]]
        if not parts or not all(isinstance(part, dict) for part in parts):
            self._wrong(f"model.{name}", 'write it as a table in braces, for example l = {kind = "distinct", l = 3}')
            return []
        return [(f"model.{name}", part) for part in parts]

    def _once(self, *groups: list[str]) -> None:
        columns = [column for group in groups for column in group]
        for column in sorted({column for column in columns if columns.count(column) > 1}):
            self._wrong(column, "the column is named more than once among quasi, sensitive and keep; it is one of them")

    def _sections(self, value: Any, name: str) -> dict[str, Mapping[str, Any]]:
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(section, dict) for section in value.values()):
            self._wrong(name, f"write one section for each column, as in [{name}.age]")
            return {}
        return value

    def _unknown(self, value: Mapping[str, Any], known: set[str], section: str) -> None:
        for key in value.keys() - known:
            self._wrong(f"{section}.{key}" if section else key, f"there is no such key; there are {', '.join(sorted(known))}")

    def _number(self, value: Any, key: str, wanted: str, fits: Callable[[float], bool]) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not fits(float(value)):
            self._wrong(key, f"it must be {wanted}")
            return 1.0
        return float(value)

    def _optional(self, value: Mapping[str, Any], name: str, wanted: str, fits: Callable[[float], bool], section: str = "") -> float | None:
        return self._number(value[name], section + name, wanted, fits) if name in value else None

    def _whole(self, value: Any, key: str, least: int) -> int:
        if type(value) is not int or value < least:
            self._wrong(key, f"it must be a whole number of at least {least}")
            return least
        return value

    def _boolean(self, value: Any, key: str) -> bool:
        if not isinstance(value, bool):
            self._wrong(key, "it must be true or false")
        return bool(value)

    def _choice(self, value: Any, words: tuple[Word, ...], key: str) -> Word:
        if value not in words:
            self._wrong(key, f"it must be one of {', '.join(words)}")
            return words[0]
        return words[words.index(value)]

    def _separator(self, value: Any) -> str:
        if value != "" and value not in (",", ";", "|", "\t"):
            self._wrong("separator", "it must be a comma, a semicolon, a tab or |")
            return ""
        return str(value)

    def _texts(self, value: Any, key: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or len(set(value)) != len(value):
            self._wrong(key, "it must be a list of different texts")
            return ()
        return tuple(value)

    def _file(self, value: Any, key: str, *, needed: bool = False) -> Path | None:
        if value is None and not needed:
            return None
        if not isinstance(value, str) or not value:
            self._wrong(key, "it must be the path of a file, in quotes")
            return None
        path = self._path.parent / value
        if not path.exists():
            self._wrong(key, f"there is no file {path}")
        return path

    def _wrong(self, key: str, what: str) -> None:
        self._reasons.append(f"'{key}': {what}")
