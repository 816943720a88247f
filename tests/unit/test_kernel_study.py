"""How the columns of a study are read, and how their levels are written, ordered and given back."""

from __future__ import annotations

from typing import Any

import pytest

from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import AgreedColumn, AgreedTreatedColumn, ColumnKind, level_order, level_text, level_value, number_of, read_agreed

PLAIN: dict[str, Any] = {"is": "quasi", "keep": None, "kind": "number", "levels": ["1", "2"], "two_valued": True}
TREATED: dict[str, Any] = {key: value for key, value in PLAIN.items() if key != "keep"} | {"treat": '{ do = "round", to = 5 }'}


def test_an_agreed_column_is_of_one_of_two_kinds() -> None:
    assert isinstance(read_agreed(PLAIN), AgreedColumn)
    assert isinstance(read_agreed(TREATED), AgreedTreatedColumn)
    for value in (PLAIN | {"treat": TREATED["treat"]}, {**PLAIN, "name": "x"}, [PLAIN], None):
        with pytest.raises(Invalid):
            read_agreed(value)


@pytest.mark.parametrize(
    ("number", "text"), [(1.0, "1"), (-0.0, "0"), (0.5, "0.5"), (1e15, "1000000000000000"), (2.0**53, "9007199254740992.0"), (-3.0, "-3")]
)
def test_a_number_is_written_as_a_level_and_read_back(number: float, text: str) -> None:
    assert level_text(number) == text and number_of(text) == number
    assert level_value(text, "number") == number and isinstance(level_value(text, "number"), float if "." in text else int)


@pytest.mark.parametrize("text", ["", "x", "1,5", "nan", "inf", "-inf", "1e999"])
def test_what_is_no_finite_number_is_none(text: str) -> None:
    assert number_of(text) is None


@pytest.mark.parametrize(
    ("kind", "levels"), [("number", ["-1", "0", "2", "10", "1e3"]), ("text", ["-1", "0", "10", "1e3", "2"]), ("boolean", ["False", "True"])]
)
def test_levels_are_ordered_as_their_kind_is(kind: ColumnKind, levels: list[str]) -> None:
    assert sorted(reversed(levels), key=level_order(kind)) == levels


def test_levels_of_other_kinds_are_given_back_as_they_are() -> None:
    assert [level_value(level, "boolean") for level in ("True", "False")] == [True, False]
    assert [level_value(level, "text") for level in ("True", "1")] == ["True", "1"]
