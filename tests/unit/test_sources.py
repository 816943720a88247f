"""A hospital's files: encodings, separators, kinds and missing values, the same from CSV and from Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import tempfile
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pumasi.kernel.codes import ColumnKind
from pumasi.kernel.errors import Invalid
from pumasi.node.sources import SourceTable, TableSource, files, open_source, open_table, values
from tests.handles import handles

KOREAN = "번호;이름;나이\n1;홍길동;70\n2;김유신;NA\n"


def write(folder: Path, data: str | bytes, name: str = "patients.csv") -> Path:
    file = folder / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


def rows(table: SourceTable) -> list[tuple[Any, ...]]:
    with files.connect() as connection:
        return connection.execute(f"SELECT * FROM {table.relation}").fetchall()


def read(file: Path, levels: Mapping[str, Collection[str]] | None = None) -> tuple[dict[str, ColumnKind | None], list[tuple[Any, ...]]]:
    with open_table(file, "patients", hospital="H", levels=levels) as table:
        return table.kinds, rows(table)


@pytest.mark.parametrize(
    "data",
    [
        KOREAN.encode(),
        codecs.BOM_UTF8 + KOREAN.encode(),
        KOREAN.encode("cp949"),
        codecs.BOM_UTF16_LE + KOREAN.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + KOREAN.encode("utf-16-be"),
        unicodedata.normalize("NFD", KOREAN).encode(),
    ],
    ids=["utf-8", "utf-8 with mark", "cp949", "utf-16-le", "utf-16-be", "decomposed"],
)
def test_korean_headers_and_values_in_every_encoding(data: bytes, tmp_path: Path) -> None:
    kinds, found = read(write(tmp_path, data))
    assert kinds == {"번호": "number", "이름": "text", "나이": "number"}
    assert found == [("1", "홍길동", "70"), ("2", "김유신", None)]


def test_cp949_is_read_from_memory_and_no_copy_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with open_table(write(tmp_path, KOREAN.encode("cp949")), "patients", hospital="H") as table:
        assert str(Path(table.relation.partition("read_csv('")[2].partition("'")[0]).readlink()).startswith("/memfd:")
        assert rows(table)[0] == ("1", "홍길동", "70")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators(separator: str, tmp_path: Path) -> None:
    lines = [["no", "note", "x"], ["1", '"a,b;c|d"', "2"], ["2", "plain", "3"]]
    kinds, found = read(write(tmp_path, "".join(separator.join(line) + "\n" for line in lines)))
    assert list(kinds) == ["no", "note", "x"]
    assert found == [("1", "a,b;c|d", "2"), ("2", "plain", "3")]


def test_a_separator_is_the_one_that_splits_every_row_alike(tmp_path: Path) -> None:
    kinds, _ = read(write(tmp_path, "no;a,b,c\n1;2\n2;3\n"))
    assert list(kinds) == ["no", "a,b,c"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old"])
@pytest.mark.parametrize("last", [True, False], ids=["closed", "open"])
def test_line_ends(end: str, last: bool, tmp_path: Path) -> None:
    _, found = read(write(tmp_path, end.join(["no,x", "1,2", "3,4"]) + (end if last else "")))
    assert found == [("1", "2"), ("3", "4")]


def test_mixed_line_ends_and_blank_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path, "\r\nno,x\r\n1,2\n\n3,4\r\n\r\n"))[1] == [("1", "2"), ("3", "4")]
    assert read(write(tmp_path, "no\n1\n\n3\n\n"))[1] == [("1",), ("3",)]


def test_missing_is_what_pandas_takes_for_missing() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert values.MISSING == STR_NA_VALUES


def test_every_missing_token_is_missing_and_nothing_else_is(tmp_path: Path) -> None:
    tokens = sorted(values.MISSING)
    cells = [*tokens, *(f"  {token}　" for token in tokens), '""', "Na", "none", "?", "-", "."]
    _, found = read(write(tmp_path, "no,x\n" + "".join(f"1,{cell}\n" for cell in cells)))
    assert [value for _, value in found] == [None] * (2 * len(tokens) + 1) + ["Na", "none", "?", "-", "."]


def test_a_token_that_the_study_names_as_a_level_is_a_value(tmp_path: Path) -> None:
    file = write(tmp_path, "no,smoker,other\n1,None,None\n2,NA,NA\n3,,\n")
    assert read(file, {"smoker": ["None", "Some", ""]})[1] == [("1", "None", None), ("2", None, None), ("3", None, None)]


KINDS: list[tuple[ColumnKind | None, list[str]]] = [
    ("number", ["1", "-2.5", "+3", ".5", "4.", "1e5", "1E-3", "007", " 8 ", "NA"]),
    ("text", ["1", "1,000"]),
    ("text", ["1", "1_000"]),
    ("text", ["1", "0x10"]),
    ("text", ["1", "1 000"]),
    ("text", ["1", "NAN"]),
    ("text", ["1", "٣"]),
    ("text", ["inf", "stroke"]),
    ("boolean", ["true", "FALSE", "True", ""]),
    ("text", ["true", "yes"]),
    ("text", ["true", "1"]),
    ("date", ["1960-05-01", "2024-02-29", ""]),
    ("date", ["1960/05/01"]),
    ("date", ["19600501", "1960-05-01"]),
    ("date", ["1960.05.01", "1960-05-01 00:00:00", "1960-05-01T00:00", "1960/05/01 00:00:00.000"]),
    ("text", ["1960-05-01", "1960-05-01 08:30:00"]),
    ("text", ["1960.05.01", "2023.02.29"]),
    ("number", ["1960.0501"]),
    ("date", ["19600501", "18500101", "20991231"]),
    ("number", ["19600501", "19601301"]),
    ("number", ["19600501", "18490101"]),
    ("number", ["2000", "1999"]),
    ("text", ["2023-02-29"]),
    ("text", ["1960-5-1"]),
    ("text", ["01-05-1960"]),
    ("text", ["1960-05-01", "unknown"]),
    ("text", ["0960-05-01"]),
    (None, ["", "NA", "  "]),
]


@pytest.mark.parametrize(("kind", "cells"), KINDS, ids=[f"{kind}: {cells}" for kind, cells in KINDS])
def test_the_kind_of_a_column(kind: ColumnKind | None, cells: list[str], tmp_path: Path) -> None:
    kinds, _ = read(write(tmp_path, "no,x\n" + "".join(f'1,"{cell}"\n' for cell in cells)))
    assert kinds["x"] == kind


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
def test_an_infinite_number_is_told_by_its_line(cell: str, tmp_path: Path) -> None:
    with open_table(write(tmp_path, f"no,x\n1,2\n\n3,{cell}\n"), "patients", hospital="H") as table:
        assert table.faults(person="no", columns=["x"]) == [
            f"{table.where}: the column 'x' holds an infinite number on line 4; correct it, or leave the cell empty"
        ]
        assert table.faults(person="no", columns=[]) == []


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    with open_table(write(tmp_path, "no,x\n1,inf\n,2\n"), "patients", hospital="H") as table:
        faults = table.faults(person="no", columns=["x", "y", "z"])
    assert [fault.removeprefix(table.where + ": ").partition(";")[0] for fault in faults] == [
        "there is no column 'y'",
        "there is no column 'z'",
        "the person column 'no' has no value on line 3",
        "the column 'x' holds an infinite number on line 2",
    ]


def test_parquet_means_what_csv_means(tmp_path: Path) -> None:
    columns = (
        "i AS no, CASE i WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN NULL ELSE 0.1 END AS x, 0.1::FLOAT AS single, i % 2 = 0 AS flag, "
        "DATE '1960-05-01' AS born, TIMESTAMP '1960-05-01' AS noted, TIMESTAMP '1960-05-01 12:00:00' AS seen, ' 홍 ' AS name, "
        "1.50::DECIMAL(4, 2) AS price, NULL::VARCHAR AS nothing"
    )
    file = tmp_path / "patients.parquet"
    duckdb.sql(f"SELECT {columns} FROM range(3) t(i)").write_parquet(str(file))
    kinds, found = read(file)
    assert list(kinds.items()) == [
        ("no", "number"), ("x", "number"), ("single", "number"), ("flag", "boolean"), ("born", "date"), ("noted", "date"), ("seen", "text"),
        ("name", "text"), ("price", "number"), ("nothing", None),
    ]  # fmt: skip
    assert [row[1] for row in found] == ["0.1", None, None]
    assert found[0][2] == "0.10000000149011612"
    assert found[0][3:] == ("true", "1960-05-01", "1960-05-01", "1960-05-01 12:00:00", "홍", "1.50", None)


def test_a_person_without_a_number_in_parquet_is_told_by_row(tmp_path: Path) -> None:
    file = tmp_path / "patients.parquet"
    duckdb.sql("SELECT CASE WHEN i <> 11999 THEN i END AS no FROM range(12000) t(i)").write_parquet(str(file))
    with pytest.raises(Invalid, match="'no' has no value on row 12000; fill it in"):
        open_source(TableSource(file, "no", ()), "patients", hospital="H")


def test_a_path_is_no_pattern_and_no_sql(tmp_path: Path) -> None:
    write(tmp_path, "no,x\n1,2\n", "a.csv")
    for name in ("[a].csv", "*.csv", "it's; DROP TABLE x --.csv"):
        assert read(write(tmp_path, "no,x\n5,6\n", name))[1] == [("5", "6")]


def test_header_names_are_no_sql_and_may_differ_by_case(tmp_path: Path) -> None:
    kinds, found = read(write(tmp_path, 'Age,age,"x""; DROP",c0,\'\n1,2,3,4,5\n'))
    assert list(kinds) == ["Age", "age", 'x"; DROP', "c0", "'"]
    assert found == [("1", "2", "3", "4", "5")]


def test_handles_are_closed(tmp_path: Path) -> None:
    good, bad = write(tmp_path, KOREAN.encode("cp949"), "good.csv"), write(tmp_path, "no,x\n1\n", "bad.csv")
    before = handles()
    for _ in range(3):
        read(good)
        with pytest.raises(Invalid):
            open_table(bad, "patients", hospital="H")
        with pytest.raises(Invalid):
            open_source(TableSource(good, "nobody", ()), "patients", hospital="H")
    assert handles() - before == set()


CELLS = st.text(st.sampled_from("a1,\";\t|\n\r '\\é가#"), max_size=5)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5))


def text_of(table: list[list[str]], *, quoted: int | None, end: str) -> str:
    if quoted is None:
        return end.join(",".join(row) for row in table)
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoted, lineterminator=end).writerows(table)  # type: ignore[arg-type]
    return text.getvalue()


@settings(max_examples=60, deadline=None)
@given(table=TABLES, quoted=st.sampled_from([None, csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), end=st.sampled_from(["\n", "\r\n", "\r"]))
@example(table=[["1", "2"]] * 2, quoted=None, end="\r\n")
def test_what_is_read_is_what_python_reads(table: list[list[str]], quoted: int | None, end: str) -> None:
    """Whatever the quoting: either a sentence, or exactly the rows of Python's csv module (line ends within cells apart)."""
    text = text_of([[f"col{place}" for place in range(len(table[0]))], *table], quoted=quoted, end=end)
    with tempfile.TemporaryDirectory() as folder:
        try:
            opened = open_table(write(Path(folder), text), "patients", hospital="H")
        except Invalid:
            assert quoted != csv.QUOTE_ALL, "a well-formed file was refused"
            return
        with opened:
            found = rows(opened)
    separator = ","
    if len(opened.kinds) != len(table[0]):
        separator = next(one for one in ";\t|" if one in text)
    expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True, delimiter=separator) if row][
        1:
    ]
    assert [[plain(cell) for cell in row] for row in found] == [[plain(values.value_of(cell)) for cell in row] for row in expected]


def plain(cell: str | None) -> str | None:
    return cell and cell.replace("\r\n", "\n").replace("\r", "\n")
