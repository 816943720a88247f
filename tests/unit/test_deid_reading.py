"""What `pumasi deid` is given: every way a table may be written, and a sentence for every way it cannot be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from pumasi.deid import reading
from pumasi.kernel.errors import Invalid, NotFound

KOREAN = "환자번호,성별,주소\n0012,여,서울특별시 종로구\n0013,남,부산광역시 해운대구\n"
ROWS = [("0012", "여", "서울특별시 종로구"), ("0013", "남", "부산광역시 해운대구")]


def put(folder: Path, data: bytes | str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(spec: Path | str) -> list[tuple[object, ...]]:
    with reading.read(spec) as table, table.explained():
        found = table.connection.execute(f"SELECT * FROM ({table.sql})").fetchall()
        assert len(found) == table.rows
        return sorted(found, key=str)


def reasons(spec: Path | str) -> str:
    with pytest.raises(Invalid) as refused:
        rows(spec)
    return "; ".join(refused.value.reasons)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "euc-kr", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_of_korean_exports_is_read(tmp_path: Path, encoding: str) -> None:
    path = put(tmp_path, KOREAN.encode(encoding))
    assert rows(path) == ROWS
    with reading.read(path) as table:
        assert table.columns == ("환자번호", "성별", "주소")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_separator_and_line_end(tmp_path: Path, separator: str, end: str) -> None:
    text = f'id{separator}note\n001{separator}"a{separator} b"\n002{separator}x\n'.replace("\n", end)
    assert rows(put(tmp_path, text)) == [("001", f"a{separator} b"), ("002", "x")]


def test_blank_lines_quoted_line_ends_and_empty_cells(tmp_path: Path) -> None:
    assert rows(put(tmp_path, '\n\nid,note\n1,"two\n\nlines"\n\n\n2,\n"3",""')) == [("1", "two\n\nlines"), ("2", None), ("3", None)]


def test_packed_files_and_parts_in_a_folder_are_one_table(tmp_path: Path) -> None:
    put(tmp_path, gzip.compress(KOREAN.encode()), "part-0.csv.gz")
    put(tmp_path, KOREAN.encode("cp949"), "part-1.csv")
    assert rows(tmp_path) == sorted(ROWS * 2)


def test_a_folder_of_different_tables_is_several(tmp_path: Path) -> None:
    put(tmp_path, "person_id,year\n1,1960\n", "person.csv")
    duckdb.sql("SELECT 1 AS visit_id, 1 AS person_id").write_parquet(str(tmp_path / "visit.parquet"))
    found = reading.tables(tmp_path)
    assert [(one.name, one.columns) for one in found] == [("person", ("person_id", "year")), ("visit", ("visit_id", "person_id"))]
    for one in found:
        one.close()
    assert "several different tables (person, visit)" in reasons(tmp_path)


def test_a_table_of_a_duckdb_file(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "a.duckdb")) as made:
        made.execute("CREATE TABLE patients AS SELECT 7 AS id, DATE '2024-03-05' AS seen")
    with reading.read(f"{tmp_path}/a.duckdb::patients") as table:
        assert (table.name, table.types, table.rows) == ("patients", {"id": "INTEGER", "seen": "DATE"}, 1)
    with pytest.raises(NotFound, match="no such table"):
        reading.read(f"{tmp_path}/a.duckdb::nobody")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "nothing but blank lines"),
        (b"a,b\n", "there are columns but no rows"),
        (b"1,2\n3,4\n", "the first line holds values"),
        (b"a,b,A\n1,2,3\n", "columns 1 and 3 have the same name"),
        (b"a,,b\n1,2,3\n", "column 2 has no name"),
        (b"a,b\n1,2\n3\n", "line 3: the row has 1 cell where the header has 2"),
        (b"a,b\n" + b"1,2\n" * 50_000 + b"3", "line 50002: the row has 1 cell"),
        (b"a,b\n1,2,3\n4,5\n", "line 2: the row has 3 cells where the header has 2"),
        (b'a,b\n1,"x\n3,4\n', "is opened and never closed"),
        (b"a,b\n" + b"1,2\n" * 20 + b"1,\x00\n", "NUL byte"),
        (b"a,b\n1," + b"x" * 1_000_001 + b"\n", "line 2: a value is longer than a megabyte"),
        (b"a,b\n1," + b"x" * 40_000_001 + b"\n2,3\n", "line 2: a value is longer than a megabyte"),
        ("a,b\n1,가나\n".encode() + "2,다라\n".encode("cp949"), "line 2 is UTF-8, line 3 is CP949"),
        (b"a,b\n1,\xff\xfe\n", "line 2: the text is neither UTF-8 nor CP949"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, data: bytes, told: str) -> None:
    assert told in reasons(put(tmp_path, data))


def test_no_message_quotes_a_value(tmp_path: Path) -> None:
    assert "900101" not in reasons(put(tmp_path, 'id,rrn\n1,900101-1234567\n2,"900101-7654321\n'))


def test_names_that_are_wildcards_or_sql_are_only_names(tmp_path: Path) -> None:
    put(tmp_path, "a,b\n9,9\n", "other.csv")
    assert rows(put(tmp_path, 'a"; DROP,b*\n1,2\n', "o*'er.csv")) == [("1", "2")]


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        reading.read(tmp_path / "nothing.csv")
    assert "cannot be read as Parquet" in reasons(put(tmp_path, b"PAR1", "t.parquet"))
    assert "neither in .csv nor in .parquet" in reasons(put(tmp_path, b"x", "t.xlsx"))
    (tmp_path / "empty").mkdir()
    assert "no CSV or Parquet file" in reasons(tmp_path / "empty")
