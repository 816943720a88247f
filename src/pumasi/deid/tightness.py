"""Whether one set of rules is at least as tight as another, so that a permit may use it. In doubt it is not.

A permit names a rule file of the hospital; what a project brings may only hide more. The answer holds for every table there can be:
names are looked up in both files, and a pattern is compared with every pattern that some column could match together with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from pumasi.deid import treatments
from pumasi.deid.rulefile import TYPES, Rule, Rules, is_pattern


def looser(b: Rules, a: Rules) -> list[str]:
    """Every reason why rules `b` are not at least as tight as rules `a`; empty means that they are."""
    reasons: list[str] = []
    if b.shift.days < a.shift.days or (b.shift.weekday and not a.shift.weekday):
        reasons.append(f"'{b.name}' moves dates less than '{a.name}'")
    if set(b.shift.landmarks) != set(a.shift.landmarks):  # one that moves tells how far, one more may be somebody's date
        reasons.append(f"'{b.name}' and '{a.name}' have different landmarks, the dates that stay where they are")
    if b.person != a.person:
        reasons.append(f"'{b.name}' and '{a.name}' find the person in different columns")
    if b.without_person == "drop" and a.without_person == "refuse":
        reasons.append(f"'{b.name}' leaves rows without a person out in silence, '{a.name}' refuses them")
    for table in ("", *sorted({*a.tables, *b.tables})):
        reasons.extend(_in_table(b, a, table))
    for kind in TYPES:
        ours, theirs = b.types.get(kind), a.types.get(kind)
        if ours is not None and not _tight(ours, theirs):
            reasons.append(_told(b, a, ours, theirs, f"columns of type {kind}"))
    return list(dict.fromkeys(reasons))


def _in_table(b: Rules, a: Rules, table: str) -> Iterator[str]:
    ours, theirs = _layers(b, table), _layers(a, table)
    for key in sorted({name for layer in (*ours, *theirs) for name in layer if not is_pattern(name)}):
        yield from _at(b, a, b.rule_of(table, key), a.rule_of(table, key), _place(key, table))
    patterns_b, patterns_a = (
        [(place, key, rule) for place, layer in enumerate(layers) for key, rule in layer.items() if is_pattern(key)]
        for layers in (ours, theirs)
    )
    shared = {(place, key) for place, key, _ in patterns_b} & {(place, key) for place, key, _ in patterns_a}
    for place, key, rule in patterns_b:
        matching = [other for other in patterns_a if overlap(key, other[1])]
        if not any(covers(other, key) for _, other, _ in matching):
            yield from _at(b, a, rule, None, _place(key, table))
        for other_place, other_key, other in matching:
            # Of two patterns that both files have, the same one wins in both.
            if (place, key) == (other_place, other_key) or not {(place, key), (other_place, other_key)} <= shared:
                yield from _at(b, a, rule, other, _place(key, table))
    for _, key, rule in patterns_a:
        if not any(covers(other, key) for _, other, _ in patterns_b):
            yield from _at(b, a, None, rule, _place(key, table))


def _layers(rules: Rules, table: str) -> tuple[Mapping[str, Rule], Mapping[str, Rule]]:
    return rules.tables.get(table, {}), rules.columns


def _at(b: Rules, a: Rules, ours: Rule | None, theirs: Rule | None, what: str) -> Iterator[str]:
    """A column that `b` has no rule for may still be shown by its type."""
    for shown in [ours] if ours is not None else b.types.values():
        if not _tight(shown, theirs) and not (ours is None and theirs is None):
            yield _told(b, a, shown, theirs, what)


def _tight(ours: Rule, theirs: Rule | None) -> bool:
    if ours.steps[0].do == "drop":
        return True
    return theirs is not None and treatments.at_least_as_tight(ours.steps, theirs.steps)


def _told(b: Rules, a: Rules, ours: Rule, theirs: Rule | None, what: str) -> str:
    if theirs is None:
        return f"'{b.name}' shows {what}, of which '{a.name}' knows nothing"
    return f"{what}: {treatments.told(ours.steps)} of '{b.name}' is not as tight as {treatments.told(theirs.steps)} of '{a.name}'"


def _place(key: str, table: str) -> str:
    return f"'{key}'" + (f" of '{table}'" if table else "")


@lru_cache(maxsize=100_000)
def overlap(one: str, other: str) -> bool:
    """Whether some name matches both patterns."""
    if not one or not other:
        return not (one or other).replace("*", "")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(one, other[1:]) or overlap(one[1:], other)
    return (one[0] == other[0] or "?" in (one[0], other[0])) and overlap(one[1:], other[1:])


@lru_cache(maxsize=100_000)
def covers(one: str, other: str) -> bool:
    """Whether every name that matches the other pattern matches this one; in doubt it does not."""
    if not one:
        return not other
    if one[0] == "*":
        return covers(one[1:], other) or (bool(other) and covers(one, other[1:]))
    return bool(other) and other[0] != "*" and one[0] in ("?", other[0]) and covers(one[1:], other[1:])
