"""The treatments a rule file may name, as data: which parameters each has, and when one is at least as tight as another.

A treatment is one step or several, done in order. No engine is known here: `sql` turns steps into DuckDB's SQL, and another
module could turn them into something else. Every rule of this module is one row of `TREATMENTS`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pumasi.deid import allowed
from pumasi.kernel.errors import Invalid

DATE_PARTS = ("month", "quarter", "year")  # from fine to coarse
FORMATS = ("same", "number", "hex")  # from what tells most about the id to what tells least
LADDERS: dict[str, tuple[str, ...]] = {
    "age": ("5", "10", "20"),
    "zip": ("zip3",),
    "kr-address": ("district", "province"),
    "kr-code": ("district", "province"),
    "kr-postcode": ("district", "province"),
    "icd10": ("category", "block", "chapter"),
    "kcd": ("category", "block", "chapter"),
    "atc": ("substance", "chemical", "pharmacological", "therapeutic", "anatomical"),
}


@dataclass(frozen=True)
class Step:
    """One step: what to `do`, with every parameter filled in."""

    do: str
    given: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, parameter: str) -> Any:
        return self.given[parameter]

    def told(self) -> str:
        """The step as it would be written in a rule file."""
        shown = [
            f"{name} = {written(value)}" for name, value in self.given.items() if value != TREATMENTS[self.do].parameters[name].default
        ]
        return f'{{ do = "{self.do}", {", ".join(shown)} }}' if shown else f'"{self.do}"'


Steps = tuple[Step, ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter: what it means, its default (`...` when it must be given), and which values are allowed."""

    means: str
    default: Any
    allowed: Callable[[Any], bool]
    form: str


@dataclass(frozen=True)
class Treatment:
    """What a treatment does, in words, and when step b is at least as tight as step a of the same kind."""

    means: str
    meaning: str  # in Korean
    parameters: Mapping[str, Parameter]
    tighter: Callable[[Step, Step], bool]
    person: bool = False  # needs to know whose row it is


FORMAT = Parameter('how the dates are written when it is not plain, as in "%d/%m/%Y"', None, allowed.date_form, "a form with %Y, as %Y%m%d")
AS = Parameter("what stands for the value instead; nothing when left out", None, allowed.label, "a text")


def _multiple(of: float, by: float) -> bool:
    return abs(of / by - round(of / by)) < 1e-9


def _coarser_bucket(b: Step, a: Step) -> bool:
    if a["edges"] is not None:
        return b["edges"] is not None and set(b["edges"]) <= set(a["edges"])
    return b["edges"] is None and _multiple(b["width"], a["width"]) and _multiple(b["from"] - a["from"], a["width"])


def _coarser_level(b: Step, a: Step) -> bool:
    if a["by"] != b["by"]:
        return False
    ladder = LADDERS.get(a["by"])
    return bool(_rung(ladder, b["level"]) >= _rung(ladder, a["level"]))


def _rung(ladder: tuple[str, ...] | None, level: Any) -> int:
    return ladder.index(str(level)) if ladder else int(level)


def _lower(b: float | None, a: float | None) -> bool:
    return a is None or (b is not None and b <= a)


def _coarser_date(b: Step, a: Step) -> bool:
    if a["format"] != b["format"]:  # %Y-%d-%m shows the day as the month
        return False
    if "age" in (a["to"], b["to"]) or a["at"] is not None:
        same = a["to"] == b["to"] and a["at"] == b["at"]
        return bool(same and (b["top"] <= a["top"] if a["to"] == "age" or asks_for(a) is None else b["top"] == a["top"]))
    return DATE_PARTS.index(b["to"]) >= DATE_PARTS.index(a["to"])


def _coarser_round(b: Step, a: Step) -> bool:
    """An odd multiple: rounding 7 to 10 and 3 to 0 parts what rounding to 5 joins."""
    return _multiple(b["to"], a["to"]) and round(b["to"] / a["to"]) % 2 == 1


def asks_for(step: Step) -> str | None:
    """The other column of the row that a step looks at."""
    at: str | None = step.given.get("at")
    return None if at is None or at == "today" or at[:1].isdigit() else at


def _always(b: Step, a: Step) -> bool:
    return True


TREATMENTS: dict[str, Treatment] = {
    "keep": Treatment("leaves the value as it is", "그대로 둔다", {}, _always),
    "drop": Treatment("leaves the column out", "열을 삭제한다", {}, _always),
    "pseudonym": Treatment(
        "puts a keyed pseudonym (HMAC-SHA-256) for an id: the same one in every table, another one under another key",
        "식별자를 키가 있는 가명(HMAC-SHA-256)으로 바꾼다",
        {
            "of": Parameter(
                'whose id it is ("person", "visit", "provider" …); ids of one kind match over tables', ..., allowed.text, "a text"
            ),
            "format": Parameter(
                '"hex": 32 digits; "number": a whole number of 63 bits; "same": digits stay digits, letters stay letters',
                "hex",
                *allowed.one_of(*FORMATS),
            ),
        },
        lambda b, a: a["of"] == b["of"] and FORMATS.index(b["format"]) >= FORMATS.index(a["format"]),
    ),
    "shift": Treatment(
        "moves all dates of a person by one secret number of days, so that intervals stay",
        "한 사람의 모든 날짜를 같은 비밀 일수만큼 옮긴다(간격 유지)",
        {
            "time": Parameter("whether the time of day stays", False, lambda value: isinstance(value, bool), "true or false"),
            "format": FORMAT,
        },
        lambda b, a: (a["time"] or not b["time"]) and b["format"] == a["format"],
        person=True,
    ),
    "date": Treatment(
        "cuts a date to its month, quarter or year, or to the age at a date",
        "날짜를 월·분기·연도로 줄이거나 나이로 바꾼다",
        {
            "to": Parameter("how much stays", ..., *allowed.one_of(*DATE_PARTS, "age")),
            "at": Parameter(
                'for an age, or a year of birth that hides great age: a column, a date (2024-12-31), or "today"',
                None,
                allowed.column_or_date,
                "a column or a date",
            ),
            "top": Parameter("with `at`: this age and above become one", 90, allowed.whole, "a whole number"),
            "format": FORMAT,
        },
        _coarser_date,
    ),
    "age": Treatment(
        "puts ages into bands, everything from `top` up into one",
        "나이를 구간으로 묶고 상한 이상은 하나로 합친다",
        {
            "width": Parameter("years in a band", 1, allowed.whole, "a whole number"),
            "top": Parameter("this age and above become one", 90, allowed.whole, "a whole number"),
        },
        lambda b, a: _multiple(b["width"], a["width"]) and b["top"] <= a["top"],
    ),
    "generalise": Treatment(
        "climbs a hierarchy: "
        + ", ".join(f"{name} ({' < '.join(levels)})" for name, levels in LADDERS.items())
        + ", or a CSV file of your own",
        "분류 체계의 상위 단계로 바꾼다",
        {
            "by": Parameter("the hierarchy: one that is built in, or the path of a CSV file", ..., allowed.text, "a hierarchy"),
            "level": Parameter(
                "the level: a name, or the column of the CSV file counted from 0",
                ...,
                lambda value: allowed.text(value) or allowed.whole(value),
                "a level",
            ),
        },
        _coarser_level,
    ),
    "bucket": Treatment(
        "puts numbers into intervals of one width, or between edges",
        "숫자를 구간으로 묶는다",
        {
            "width": Parameter("the width of every interval", None, allowed.maybe(allowed.positive), "a number above 0"),
            "from": Parameter("where an interval begins", 0, allowed.number, "a number"),
            "edges": Parameter(
                "the edges, rising; below the first and from the last on is one interval each",
                None,
                allowed.maybe(allowed.rising),
                "rising numbers",
            ),
        },
        _coarser_bucket,
    ),
    "round": Treatment(
        "rounds numbers to a multiple",
        "숫자를 반올림한다",
        {"to": Parameter("the multiple", ..., allowed.positive, "a number above 0")},
        _coarser_round,
    ),
    "noise": Treatment(
        "adds a secret random number to each value; the same row and key give the same number",
        "숫자에 무작위 잡음을 더한다",
        {
            "kind": Parameter("its distribution", "normal", *allowed.one_of("normal", "uniform", "laplace")),
            "scale": Parameter("standard deviation, half width, or scale of Laplace", ..., allowed.positive, "a number above 0"),
            "to": Parameter(
                "round the result to this multiple, which also hides the last binary digits", ..., allowed.positive, "a number above 0"
            ),
        },
        lambda b, a: a["kind"] == b["kind"] and b["scale"] >= a["scale"] and _multiple(b["to"], a["to"]),
    ),
    "limit": Treatment(
        "top and bottom coding: what lies beyond becomes the limit",
        "상한·하한 밖의 값을 한계값으로 바꾼다",
        {
            "low": Parameter("the lowest value that is shown", None, allowed.maybe(allowed.number), "a number"),
            "high": Parameter("the highest value that is shown", None, allowed.maybe(allowed.number), "a number"),
        },
        lambda b, a: _lower(b["high"], a["high"]) and (a["low"] is None or (b["low"] is not None and b["low"] >= a["low"])),
    ),
    "rare": Treatment(
        "hides levels that too few people have (rows, where no person is known)",
        "드문 값을 숨긴다",
        {"fewer_than": Parameter("how few", 10, allowed.whole, "a whole number"), "as": AS},
        lambda b, a: b["fewer_than"] >= a["fewer_than"] and b["as"] == a["as"],
    ),
    "withhold": Treatment(
        "hides codes, as rare or stigmatising diseases by decision of the board",
        "지정한 코드(희귀·낙인 질환 등)를 숨긴다",
        {"codes": Parameter("codes; each also hides all longer codes that begin with it", ..., allowed.texts, "a list of texts"), "as": AS},
        lambda b, a: set(b["codes"]) >= set(a["codes"]) and b["as"] == a["as"],
    ),
    "only": Treatment(
        "shows these values and hides all others",
        "지정한 값만 남기고 나머지는 숨긴다",
        {"values": Parameter("the values that may be shown", ..., allowed.texts, "a list of texts"), "as": AS},
        lambda b, a: set(b["values"]) <= set(a["values"]) and b["as"] == a["as"],
    ),
}


def parse(given: Any, where: str) -> Steps:
    """The steps of a treatment as a rule file writes it: a word, a table with `do`, or a list of both. `Invalid` with all faults."""
    parts = given if isinstance(given, list) else [given]
    faults: list[str] = []
    steps = tuple(step for part in parts if (step := _step(part, where, faults)) is not None)
    if not parts:
        faults.append(f"{where}: the list of steps is empty; write what is done with the column")
    if len(steps) > 1 and any(step.do in ("keep", "drop") for step in steps):
        faults.append(f"{where}: 'keep' and 'drop' stand alone; take them out of the list, or the others")
    if faults:
        raise Invalid(*faults)
    return steps


def _step(part: Any, where: str, faults: list[str]) -> Step | None:
    table = {"do": part} if isinstance(part, str) else part
    if not isinstance(table, dict) or not isinstance(table.get("do"), str):
        faults.append(f'{where}: a treatment is a word like "drop", or a table like {{ do = "round", to = 5 }}')
        return None
    do, given = table["do"], {name: value for name, value in table.items() if name not in NOTES}
    if do not in TREATMENTS:
        faults.append(f"{where}: there is no treatment '{do}'; there are {', '.join(TREATMENTS)}")
        return None
    known = TREATMENTS[do].parameters
    wrong = [f"{where}: '{do}' has no parameter '{name}'; it has {', '.join(known) or 'none'}" for name in given if name not in known]
    for name, parameter in known.items():
        if name not in given and parameter.default is ...:
            wrong.append(f"{where}: '{do}' needs '{name}': {parameter.means}")
        elif name in given and not parameter.allowed(given[name]):
            wrong.append(f"{where}: '{name}' of '{do}' is {parameter.form}")
    step = Step(do, {name: given.get(name, parameter.default) for name, parameter in known.items()})
    faults.extend(wrong or [f"{where}: {fault}" for fault in _together(step)])
    return step


NOTES = ("do", "why", "source", "unverified", "checked")


def _together(step: Step) -> list[str]:
    """What is wrong with parameters that depend on each other."""
    match step.do:
        case "bucket" if (step["width"] is None) == (step["edges"] is None):
            return ["'bucket' has either 'width' or 'edges'"]
        case "limit" if step["low"] is None and step["high"] is None:
            return ["'limit' has 'low' or 'high' or both"]
        case "limit" if step["low"] is not None and step["high"] is not None and step["low"] >= step["high"]:
            return ["'low' of 'limit' is below 'high'"]
        case "date" if (step["to"] == "age" and step["at"] is None) or (step["to"] in ("month", "quarter") and step["at"] is not None):
            return ["'date' to an age needs 'at'; to a year it may have it; to a month or quarter it has none"]
        case "date" if step["at"] is not None and step["at"][:1].isdigit() and not is_day(step["at"]):
            return ["'at' of 'date' is a column or a date like 2024-12-31"]
        case "age" if step["top"] % step["width"]:
            return ["'top' of 'age' is a multiple of 'width'"]
        case "generalise" if step["by"] in LADDERS and str(step["level"]) not in LADDERS[step["by"]]:
            return [f"the levels of '{step['by']}' are {', '.join(LADDERS[step['by']])}"]
        case "generalise" if climbs_file(step) and not step["by"].lower().endswith(".csv"):
            return [f"there is no hierarchy '{step['by']}'; there are {', '.join(LADDERS)} and CSV files"]
        case "generalise" if climbs_file(step) and not allowed.whole(step["level"]):
            return ["the level of a CSV hierarchy is the number of its column, from 1"]
    return []


def climbs_file(step: Step) -> bool:
    """Whether a step climbs the hierarchy of a CSV file, and not one that is built in."""
    return step.do == "generalise" and step["by"] not in LADDERS


def climbing(step: Step, by: str) -> Step:
    """The same step up another hierarchy, or up the same one under another name."""
    return Step(step.do, {**step.given, "by": by})


def is_day(text: str) -> bool:
    """Whether a text is an ISO date."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def at_least_as_tight(b: Steps, a: Steps) -> bool:
    """Whether what `b` shows could be made of what `a` shows, for all values: `drop` beats all, all beat `keep`.

    Further steps stand behind those of `a`. Before them they could part what `a` joins: a code that is withheld before all are cut to
    their category tells itself from the rest of its category. Nor may `b` look at another column that `a` does not look at.
    """
    if b[0].do == "drop":
        return True
    if not {asks_for(step) for step in b} <= {None, *map(asks_for, a)}:
        return False
    if a[0].do == "keep":
        return True
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(b, a, strict=False)))
    ours, theirs = b[same:], a[same:]
    if all(step.do in _ORDERLY for step in theirs):  # what lies beyond a limit is in one piece of them, or in none
        ours, theirs = _without_limits(ours, theirs)
    hiding = tuple(itertools.takewhile(_hides, ours))
    if all(_hides(step) and any(_tighter(one, step) for one in hiding) for step in theirs):
        return True
    return len(theirs) == 1 and bool(ours) and _tighter(ours[0], theirs[0])


_ORDERLY = ("limit", "round", "bucket", "age")  # greater numbers never become smaller ones


def _without_limits(b: Steps, a: Steps) -> tuple[Steps, Steps]:
    limits = tuple(itertools.takewhile(lambda step: step.do == "limit", b))
    met = bool(a) and any(_tighter(one, a[0]) for one in limits)
    return b[len(limits) :], a[met:]


def _hides(step: Step) -> bool:
    """Whether a step leaves a value as it is, or shows nothing; so that such steps may stand in any order."""
    return step.do in ("rare", "withhold", "only") and step["as"] is None


def _tighter(b: Step, a: Step) -> bool:
    return b.do == a.do and TREATMENTS[b.do].tighter(b, a)


def told(steps: Steps) -> str:
    """Steps as they would be written in a rule file."""
    return steps[0].told() if len(steps) == 1 else f"[{', '.join(step.told() for step in steps)}]"


def written(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(written(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)
