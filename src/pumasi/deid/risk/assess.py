"""One table assessed: every measure that its columns, its population and its size allow, and the same as JSON.

with read("patients.csv") as table:
    risk = assess(table, quasi=["age", "region"], sensitive=["disease"], population=500_000)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pumasi.deid.reading import Table
from pumasi.deid.risk import effects, suda
from pumasi.deid.risk.attributes import Disclosure, disclosure
from pumasi.deid.risk.classes import Classes, Contingency, Ints, check, classes
from pumasi.deid.risk.measures import Reidentification, expected_risk, reidentification
from pumasi.deid.risk.population import Uniqueness, check_population, uniqueness
from pumasi.deid.risk.presence import Presence, presence
from pumasi.deid.risk.valuetree import heights
from pumasi.kernel.errors import Invalid

PATTERNS = 20


@dataclass(frozen=True)
class Distance:
    """How far two values of a sensitive column are apart: `equal`, `ordered`, or `hierarchical` by the rows of a hierarchy."""

    kind: str
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Assessment:
    quasi: tuple[str, ...]
    reidentification: Reidentification
    disclosures: tuple[Disclosure, ...]
    uniqueness: Uniqueness | None
    presence: Presence | None
    uniques: suda.Uniques
    effects: tuple[effects.Effect, ...] | None
    found: Classes = field(repr=False)

    @property
    def population_uniques(self) -> float | None:
        """People alone in the population: counted where its table is at hand, estimated where only its size is."""
        if self.presence is not None:
            return self.presence.population_uniques
        return None if self.uniqueness is None else self.uniqueness.uniques

    @property
    def l(self) -> int | None:  # noqa: E743 - the name that the literature has
        """The smallest distinct l of the sensitive columns."""
        return min((one.distinct_l for one in self.disclosures), default=None)

    @property
    def t(self) -> float | None:
        """The largest t of the sensitive columns, each by its own distance."""
        return max((one.t for one in self.disclosures), default=None)


def assess(
    table: Table,
    *,
    quasi: Sequence[str],
    sensitive: Sequence[str] = (),
    population: int | None = None,
    population_table: Table | None = None,
    distances: Mapping[str, Distance] | None = None,
    largest: int | None = None,
    threshold: float = 0.2,
) -> Assessment:
    """Measure a table. `population` is the number of people that its rows were drawn from, one row each; `population_table` holds them.

    With the population's table journalist and marketer risk are counted; with its size they are expectations (`expected_risk`), and
    the journalist's is that of a row in the smallest class. `largest` bounds the special uniques; without it the search stops by itself.
    """
    distances = distances or {}
    check(table, quasi=quasi, sensitive=sensitive)
    if stray := [one for one in distances if one not in sensitive]:
        raise Invalid(*(f"a distance is given for '{one}', which is no sensitive column" for one in stray))
    if population is not None:
        check_population(table.rows, population)
    beside = None if population_table is None else presence(table, population_table, quasi=quasi)
    found = classes(table, quasi=quasi, sensitive=sensitive)
    size = population if beside is None else beside.population
    unique = None if size is None else uniqueness(found.sizes, size)
    journalist, marketer = _in_population(found, beside, unique)
    fraction = 0.01 if unique is None else min(unique.fraction, 1.0)
    return Assessment(
        quasi=tuple(quasi),
        reidentification=reidentification(found.sizes, journalist=journalist, marketer=marketer),
        disclosures=tuple(_disclosure(one, distances.get(one.column.name)) for one in found.sensitive),
        uniqueness=unique,
        presence=beside,
        uniques=suda.special_uniques(found, largest=largest, fraction=fraction, effort=None if largest else suda.EFFORT),
        effects=effects.effects(found, threshold),
        found=found,
    )


def _in_population(found: Classes, beside: Presence | None, unique: Uniqueness | None) -> tuple[float | None, float | None]:
    """Journalist and marketer risk: counted beside the population's table, expected from its size, else unknown."""
    if beside is not None:
        return beside.journalist, beside.marketer
    if unique is None:
        return None, None
    expected = expected_risk(found.sizes, unique.fraction)
    return float(expected.max()), float((expected * found.sizes).sum() / found.rows)


def _disclosure(found: Contingency, distance: Distance | None) -> Disclosure:
    if distance is None:
        return disclosure(found)
    tree: tuple[Ints, ...] | None = None
    if distance.kind == "hierarchical":
        tree = heights(distance.rows, labels=found.labels, column=found.column.name)
    elif distance.kind == "ordered" and found.column.order is None:
        raise Invalid(f"'{found.column.name}' holds text, which has no order; give it a hierarchy, or leave out the distance")
    return disclosure(found, distance=distance.kind, hierarchy=tree)


def as_json(risk: Assessment) -> dict[str, Any]:
    """The fixed keys first. Counts are rows, risks are probabilities, `null` is what was not asked for. It names columns, never a value."""
    again = asdict(risk.reidentification)
    above, bands = again.pop("above"), again.pop("bands")
    return {
        **again,
        "l": risk.l,
        "t": risk.t,
        "population_uniques": risk.population_uniques,
        "quasi": list(risk.quasi),
        "rows_above": {str(limit): number for limit, number in above},
        "rows_by_class_size": {str(edge): number for edge, number in bands},
        "sensitive": {one.column: {key: value for key, value in asdict(one).items() if key != "column"} for one in risk.disclosures},
        "population": None if risk.uniqueness is None else asdict(risk.uniqueness),
        "presence": None if risk.presence is None else asdict(risk.presence),
        "special_uniques": _special(risk),
        "columns": None if risk.effects is None else {one.column: _effect(one) for one in risk.effects},
    }


def _special(risk: Assessment) -> dict[str, Any]:
    found = risk.uniques
    return {
        "largest": found.largest,
        "complete": found.complete,
        "by_size": {str(size): number for size, number in enumerate(found.sizes, start=1)},
        "patterns": [{"columns": [risk.quasi[at] for at in columns], "rows": rows} for columns, rows in found.patterns[:PATTERNS]],
        "contribution": dict(zip(risk.quasi, found.contribution.tolist(), strict=True)),
        "highest_score": float(found.score.max(initial=0.0)),
        "highest_dis": float(found.dis.max(initial=0.0)),
    }


def _effect(one: effects.Effect) -> dict[str, Any]:
    return {"kind": one.kind, "levels": one.levels, "removed": asdict(one.removed), "coarser": asdict(one.coarser)}
