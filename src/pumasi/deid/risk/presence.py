"""A table beside its population: how many people each class could be, and what being in the table gives away.

k-map: L. Sweeney 2001, Computational disclosure control (MIT). delta-presence: M. E. Nergiz, M. Atzori, C. Clifton 2007, Hiding the
presence of individuals from shared databases (SIGMOD). The population table holds every person of the table, with the same columns
written the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pumasi.deid.engine import name
from pumasi.deid.reading import Table
from pumasi.deid.risk.classes import Ints, check
from pumasi.deid.risk.measures import of_population
from pumasi.kernel.errors import Invalid


@dataclass(frozen=True)
class Presence:
    """Each class's size in the table, f, against its size in the population, F.

    k_map: the smallest F of a class of the table. delta_min, delta_max: the smallest and largest f / F over all classes of the population
    (definition 2; 0 where a class has nobody in the table). population_uniques: people alone in the population; uniques: those of them
    who are in the table.
    """

    population: int
    classes: int
    k_map: int
    delta_min: float
    delta_max: float
    population_uniques: int
    uniques: int
    journalist: float
    marketer: float


def presence(table: Table, population: Table, *, quasi: Sequence[str]) -> Presence:
    """Compare the classes of both. `Invalid` when a class of the table is not in the population, or has more rows than there are people."""
    check(table, quasi=quasi)
    check(population, quasi=quasi)
    if table.connection is not population.connection:
        raise Invalid(f"{population.where}: the population table must be opened with the connection of the table")
    with table.explained(), population.explained():
        here, there = _both(table, population, quasi)
    if (here > there).any():
        raise Invalid(
            f"{population.where}: some combinations of {', '.join(quasi)} occur more often in the table than in the population; "
            "the population holds every person of the table, with the same columns written and generalised the same way"
        )
    inside = here > 0
    journalist, marketer = of_population(here[inside], there[inside])
    share = here / there
    return Presence(
        population=int(there.sum()),
        classes=len(there),
        k_map=int(there[inside].min()),
        delta_min=float(share.min()),
        delta_max=float(share.max()),
        population_uniques=int(np.count_nonzero(there == 1)),
        uniques=int(np.count_nonzero(there[inside] == 1)),
        journalist=journalist,
        marketer=marketer,
    )


def _both(table: Table, population: Table, quasi: Sequence[str]) -> tuple[Ints, Ints]:
    """f and F of every class of either."""
    columns = ", ".join(f"CAST({name(one)} AS VARCHAR) AS c{place}" for place, one in enumerate(quasi))
    places = ", ".join(f"c{place}" for place in range(len(quasi)))
    found = table.connection.execute(
        f"SELECT sum(here)::BIGINT AS here, sum(there)::BIGINT AS there FROM ("
        f"SELECT {columns}, 1 AS here, 0 AS there FROM ({table.sql}) UNION ALL "
        f"SELECT {columns}, 0 AS here, 1 AS there FROM ({population.sql})) GROUP BY {places}"
    ).fetchnumpy()
    return np.asarray(found["here"], dtype=np.int64), np.asarray(found["there"], dtype=np.int64)
