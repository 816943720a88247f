"""A table before and after treatment, measured by one question: what the report says, and the JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pumasi.deid.reading import Table
from pumasi.deid.risk import assess, links, longitudinal, model, utility
from pumasi.deid.risk.assess import Assessment, Distance


@dataclass(frozen=True)
class Question:
    """What is asked of a table; only `quasi` is needed. `threshold` is the risk per person that the board finds acceptable; `person` and
    `events` ask for histories, `links` for columns that tie people together (all others, if none are named); `utility` costs some time."""

    quasi: tuple[str, ...]
    sensitive: tuple[str, ...] = ()
    population: int | None = None
    population_table: Table | None = None
    distances: Mapping[str, Distance] = field(default_factory=dict)
    largest: int | None = None
    person: str | None = None
    events: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    threshold: float = 0.2
    utility: bool = True


@dataclass(frozen=True)
class Utility:
    """What is left of the table's use; `kept` and `relations` need two tables, `scores` has an entry for each."""

    kept: tuple[utility.Kept, ...]
    relations: utility.Relations | None
    scores: tuple[tuple[model.Score, ...], ...]


@dataclass(frozen=True)
class Examination:
    """What was found. `last` is what would be handed out: the table after treatment, or the only one; `people` are those with a row in it,
    where a person column was named. Fewer people than rows: the measures, which take a row for a person, look lower than they are."""

    question: Question
    before: Assessment
    after: Assessment | None
    names: tuple[str, str | None]
    people: int | None
    histories: tuple[tuple[longitudinal.Fingerprint, ...], ...]
    links: tuple[links.Link, ...] | None
    utility: Utility | None

    @property
    def last(self) -> Assessment:
        return self.after or self.before


def examine(before: Table, after: Table | None, question: Question) -> Examination:
    """Measure both tables by the same question. The tables may have different rows and values, but both have the columns asked for."""
    first = _assess(before, question)
    second = None if after is None else _assess(after, question)
    both = [before] if after is None else [before, after]
    histories = tuple(longitudinal.longitudinal(one, person=question.person, events=question.events) for one in both if question.person)
    tied = None
    if question.links or question.utility:
        tied = links.links(
            both[-1], columns=question.links, skip=[*question.quasi, *question.sensitive, *question.events], person=question.person
        )
    names = (before.where, None if after is None else after.where)
    people = max((one.people for one in histories[-1]), default=None) if histories else None
    return Examination(question, first, second, names, people, histories, tied, _utility(both, first, second) if question.utility else None)


def _utility(both: list[Table], first: Assessment, second: Assessment | None) -> Utility:
    if second is None:
        return Utility((), None, (model.scores(first.found),))
    related = utility.relations(first.found.joint, second.found.joint)
    return Utility(utility.kept(*both), related, (model.scores(first.found), model.scores(second.found)))


def _assess(table: Table, question: Question) -> Assessment:
    return assess.assess(
        table,
        quasi=question.quasi,
        sensitive=question.sensitive,
        population=question.population,
        population_table=question.population_table,
        distances=question.distances,
        largest=question.largest,
        threshold=question.threshold,
    )
