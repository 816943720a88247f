"""What a parameter of a treatment may be: checks of one value each, as a rule file may give it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def positive(value: Any) -> bool:
    return number(value) and value > 0


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def label(value: Any) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 200)


def texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(text(one) for one in value)


def rising(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(map(number, value)) and all(a < b for a, b in itertools.pairwise(value))


def one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: value in names and isinstance(value, str)), " or ".join(f'"{name}"' for name in names)


def maybe(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def date_form(value: Any) -> bool:
    return value is None or (isinstance(value, str) and "%Y" in re.findall("%.", value))


def column_or_date(value: Any) -> bool:
    return value is None or text(value)
