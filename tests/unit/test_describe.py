"""A description names what enough people share, and nothing about anybody else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pumasi.deid.rulefile import load
from pumasi.kernel.errors import Invalid
from pumasi.kernel.study import ColumnDescription, Dataset, RuledTableDescription, TreatedDescription
from pumasi.node.describe import describe
from pumasi.node.sources import TableSource


def described(
    folder: Path, columns: dict[str, list[str]], *, smallest_cell: int = 3, people: list[str] | None = None
) -> dict[str, ColumnDescription]:
    length = len(next(iter(columns.values())))
    everything = {"no": people or [str(place) for place in range(length)], "name": ["x"] * length, **columns}
    quoted = {header: ['"' + cell.replace('"', '""') + '"' for cell in cells] for header, cells in everything.items()}
    text = "\n".join([",".join(quoted), *(",".join(row) for row in zip(*quoted.values(), strict=True))])
    (folder / "patients.csv").write_text(text, encoding="utf-8")
    source = TableSource(folder / "patients.csv", "no", ("name",))
    return describe({"patients": source}, hospital="H", smallest_cell=smallest_cell).tables["patients"].columns


def column(kind: str | None, spread: str, *levels: str) -> ColumnDescription:
    return ColumnDescription.model_validate({"kind": kind, "spread": spread, "levels": list(levels)})


def test_the_columns_of_a_table(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        {
            "sex": ["f", "m"] * 30,
            "ward": ["3", "10", "2.50"] * 20,
            "age": [str(40 + place) for place in range(60)],
            "died": ["TRUE", "false", "False"] * 20,
            "born": ["1960-05-01", "1961/05/01", "19620501"] * 20,
            "seen": [f"2024-01-{1 + place % 28:02}" for place in range(60)],
            "note": [f"free text {place}" for place in range(60)],
            "gone": ["", "NA"] * 30,
        },
    )
    assert found == {
        "sex": column("text", "one-or-two", "f", "m"),
        "ward": column("number", "few", "2.5", "3", "10"),
        "age": column("number", "many"),
        "died": column("boolean", "one-or-two", "False", "True"),
        "born": column("date", "few"),
        "seen": column("date", "few"),
        "note": column("text", "many"),
        "gone": column(None, "one-or-two"),
    }
    assert list(found) == ["sex", "ward", "age", "died", "born", "seen", "note", "gone"]


def test_a_value_is_named_exactly_from_the_smallest_cell_on(tmp_path: Path) -> None:
    cells = ["four"] * 4 + ["three"] * 3 + ["two"] * 2
    numbers = ["4"] * 4 + ["3"] * 3 + ["2"] * 2
    assert described(tmp_path, {"x": cells, "y": numbers}) == {
        "x": column("text", "few", "four", "three"),
        "y": column("number", "few", "3", "4"),
    }
    assert described(tmp_path, {"x": cells, "y": numbers}, smallest_cell=5) == {"x": column("text", "few"), "y": column("number", "few")}


def test_a_measurement_of_a_small_hospital_is_no_list_of_categories(tmp_path: Path) -> None:
    ages = [str(40 + place % 30) for place in range(90)] + ["50"] * 9
    visits = ["0"] * 50 + ["1"] * 20 + ["2"] * 12 + [str(3 + place) for place in range(17)]
    found = described(tmp_path, {"age": ages, "visits": visits}, smallest_cell=10)
    assert found == {"age": column("number", "few"), "visits": column("number", "few", "0", "1", "2")}


def test_people_count_and_not_their_rows(tmp_path: Path) -> None:
    found = described(tmp_path, {"x": ["often"] * 6 + ["shared"] * 3}, people=["1", "1", "1", "1", "2", "2", "1", "2", "3"])
    assert found == {"x": column("text", "one-or-two", "shared")}


def test_a_person_is_the_same_in_either_spelling_and_with_blanks(tmp_path: Path) -> None:
    assert described(tmp_path, {"x": ["a", "a", "a"]}, people=["가", "가", " 가 "], smallest_cell=2) == {"x": column("text", "one-or-two")}


def test_one_number_is_one_level_however_it_is_written(tmp_path: Path) -> None:
    cells = ["1", "1.0", "+1", "01", "1e0", "0", "-0", "0.0"]
    assert described(tmp_path, {"x": cells}) == {"x": column("number", "one-or-two", "0", "1")}


@pytest.mark.parametrize(
    ("distinct", "spread"), [(1, "one-or-two"), (2, "one-or-two"), (3, "few"), (50, "few"), (51, "many"), (3000, "many")]
)
def test_spread(distinct: int, spread: str, tmp_path: Path) -> None:
    cells = [str(place) for place in range(distinct)] * 3
    dates = [f"{1000 + place // 4}-0{1 + place % 4}-01" for place in range(distinct)] * 3
    found = described(tmp_path, {"number": cells, "text": [f"t{cell}" for cell in cells], "date": dates})
    assert [one.spread for one in found.values()] == [spread] * 3
    assert (found["number"].levels == []) is (spread == "many")
    assert len(found["text"].levels) == distinct  # text is always named, the number of categories does not matter
    assert found["date"].levels == []


def test_long_and_unprintable_text_is_never_named(tmp_path: Path) -> None:
    long, short = "가" * 301, "가" * 300
    assert described(tmp_path, {"x": [long, short, "a\nb", "a\u200bb", "ok"] * 3}) == {"x": column("text", "few", "ok", short)}


def test_values_are_no_sql(tmp_path: Path) -> None:
    assert described(tmp_path, {"it's": ["'; DROP TABLE x --"] * 3}) == {"it's": column("text", "one-or-two", "'; DROP TABLE x --")}


def test_more_columns_than_one_pass_counts(tmp_path: Path) -> None:
    found = described(tmp_path, {f"c{place}": [f"v{place}"] * 3 for place in range(34)})
    assert found == {f"c{place}": column("text", "one-or-two", f"v{place}") for place in range(34)}


def test_identifiers_and_the_person_column_are_not_described(tmp_path: Path) -> None:
    assert set(described(tmp_path, {"x": ["a"] * 3})) == {"x"}


def test_a_table_with_nothing_to_describe(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("no\n1\n2\n", encoding="utf-8")
    dataset = describe({"p": TableSource(tmp_path / "p.csv", "no", ())}, hospital="H", smallest_cell=10)
    assert dataset == Dataset.model_validate({"hospital": "H", "smallest_cell": 10, "tables": {"p": {"person": "no", "columns": {}}}})


def test_the_faults_of_all_tables_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("no,x\n1,inf\n", encoding="utf-8")
    tables = {"a": TableSource(tmp_path / "a.csv", "no", ()), "b": TableSource(tmp_path / "b.csv", "no", ())}
    with pytest.raises(Invalid) as caught:
        describe(tables, hospital="H", smallest_cell=10)
    assert [reason.partition("; ")[0] for reason in caught.value.reasons] == [
        f"H: table 'a' ({tmp_path / 'a.csv'}): the column 'x' holds an infinite number on line 2",
        f"H: table 'b' ({tmp_path / 'b.csv'}): there is no such file",
    ]


RULES = """\
person = ["no"]
[shift]
days = 60
[columns]
sex = "keep"
seen = { do = "date", to = "year" }
came = "shift"
age = { do = "age", width = 5 }
visit = { do = "pseudonym", of = "visit" }
address = { do = "generalise", by = "kr-address", level = "province" }
ward = { do = "rare", fewer_than = 3 }
"m*" = "drop"
[types]
number = { do = "round", to = 10 }
"""


def test_a_table_under_rules_is_described_as_they_leave_it(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    header = "no,sex,seen,came,age,visit,address,ward,weight,memo,new\n"
    rows = [
        f"{n},f,{2023 + n % 2}-01-01,2024-03-{n % 20 + 1:02},{40 + n % 10},V1,서울특별시 종로구 {n}번지,{n // 19},{61 + n % 2 * 10},x,y\n"
        for n in range(20)
    ]
    (tmp_path / "p.csv").write_text(header + "".join(rows))
    rules = load(tmp_path / "rules.toml")
    described = describe({"p": TableSource(tmp_path / "p.csv", "no", (), rules)}, hospital="H", smallest_cell=3)
    table = described.tables["p"]
    assert isinstance(table, RuledTableDescription)
    assert (table.rules.name, table.rules.sha256) == ("rules", rules.digest)
    assert {name: (one.kind, one.levels, one.treat) for name, one in table.columns.items()} == {
        "sex": ("text", ["f"], '"keep"'),
        "seen": ("number", ["2023", "2024"], '{ do = "date", to = "year" }'),
        "came": ("date", [], '"shift"'),
        "age": ("text", ["40-44", "45-49"], '{ do = "age", width = 5 }'),
        "visit": ("text", [], '{ do = "pseudonym", of = "visit" }'),  # every permit has another, though all have one visit here
        "address": ("text", ["서울특별시"], '{ do = "generalise", by = "kr-address", level = "province" }'),
        "ward": ("text", ["0"], '{ do = "rare", fewer_than = 3 }'),
        "weight": ("number", ["60", "70"], '{ do = "round", to = 10 }'),
    }
    assert Dataset.read(described.plain()) == described


def test_a_hierarchy_of_the_hospital_goes_by_what_it_holds_and_not_by_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "wards.csv").write_text("1;east\n2;west\n")
    (tmp_path / "rules.toml").write_text('[columns]\nsex = "keep"\nward = { do = "generalise", by = "wards.csv", level = 1 }\n')
    (tmp_path / "p.csv").write_text("no,sex,ward\n" + "".join(f"{n},f,{n % 2 + 1}\n" for n in range(20)))
    source = TableSource(tmp_path / "p.csv", "no", (), load(tmp_path / "rules.toml"))
    described = describe({"p": source}, hospital="H", smallest_cell=3)
    ward = described.tables["p"].columns["ward"]
    name = f"sha256-{hashlib.sha256((tmp_path / 'wards.csv').read_bytes()).hexdigest()}.csv"
    assert isinstance(ward, TreatedDescription)
    assert (ward.levels, ward.treat) == (["east", "west"], f'{{ do = "generalise", by = "{name}", level = 1 }}')
    assert "wards" not in str(described.plain()) and str(tmp_path) not in str(described.plain())


def test_a_hierarchy_that_changed_since_the_rules_were_read_is_not_climbed(tmp_path: Path) -> None:
    (tmp_path / "wards.csv").write_text("1;east\n2;west\n")
    (tmp_path / "rules.toml").write_text('[columns]\nward = { do = "generalise", by = "wards.csv", level = 1 }\n')
    (tmp_path / "p.csv").write_text("no,ward\n1,1\n2,2\n")
    rules = load(tmp_path / "rules.toml")
    (tmp_path / "wards.csv").write_text("1;1\n2;2\n")
    with pytest.raises(Invalid, match=r"wards\.csv was changed since its rules were read"):
        describe({"p": TableSource(tmp_path / "p.csv", "no", (), rules)}, hospital="H", smallest_cell=1)
    assert load(tmp_path / "rules.toml").digest != rules.digest
    (tmp_path / "wards.csv").unlink()
    with pytest.raises(Invalid, match="there is no hierarchy file"):
        load(tmp_path / "rules.toml")


def test_values_that_a_rule_does_not_understand_are_told_by_their_shape(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[columns]\nage = { do = "age", width = 5 }\n')
    (tmp_path / "p.csv").write_text("no,age\n1,40\n2,Kim-41\n")
    source = TableSource(tmp_path / "p.csv", "no", (), load(tmp_path / "rules.toml"))
    with pytest.raises(Invalid, match=r"the column 'age' holds values that are no numbers .*written like aaa-99") as caught:
        describe({"p": source}, hospital="H", smallest_cell=1)
    assert "Kim" not in str(caught.value)
