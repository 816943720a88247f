"""What a hospital is told about a file that cannot be used: where, what and what to do, and never a word of what is in it.

Every file holds the value of SECRET somewhere, most of them in the very row that is wrong.
"""

from __future__ import annotations

import logging
import os
import traceback
from pathlib import Path

import duckdb
import pytest

from pumasi.kernel.errors import Invalid
from pumasi.node.sources import TableSource, open_source

SECRET = "Hong-Gildong-850101"

# name: (bytes of the file, sentences expected after "hospital: table 'patients' (path)")
BAD: dict[str, tuple[str | bytes, list[str]]] = {
    "empty file": ("", [": the file is empty; export the table again"]),
    "blank lines only": ("\n\n\n", [": the file holds nothing but blank lines; export the table again"]),
    "header only": ("no,age\n", [": the file has a header but no rows; export the table again"]),
    "duplicate header": ("no,age,age\nSECRET,1,2\n", [": columns 2 and 3 have the same name; rename all but one"]),
    "headers that differ by blanks": ("no, no\nSECRET,1\n", [": columns 1 and 2 have the same name; rename all but one"]),
    "three of a name": ("no,a,a,a\nSECRET,1,2,3\n", [": columns 2, 3 and 4 have the same name; rename all but one"]),
    "empty header names": (
        "no,,age, \nSECRET,1,2,3\n",
        [
            ": column 2 has no name; name it in the header, or remove the column",
            ": column 4 has no name; name it in the header, or remove the column",
        ],
    ),
    "header over two lines": (
        'no,"a\nb"\nSECRET,1\n',
        [": the name of column 2 is longer than 300 characters or not printable; rename it"],
    ),
    "no header": ("63,1,145\n67,SECRET,160\n", [": the first line holds values, not column names; add a header line"]),
    "no header, and text": ("SECRET,SECRET,x\nSECRET,1,2\n", [": columns 1 and 2 have the same name; rename all but one"]),
    "short row": (
        "no,age\n1,50\nSECRET\n",
        [", line 3: the row has 1 cell where the header has 2; correct the row, or quote the cell that holds a separator"],
    ),
    "long row": (
        "no,age\n1,50\n2,51\nSECRET,52,53\n",
        [", line 4: the row has 3 cells where the header has 2; correct the row, or quote the cell that holds a separator"],
    ),
    "short row after a cell of two lines and a blank line": (
        'no,age\n"1\n2",50\n\nSECRET\n',
        [", line 5: the row has 1 cell where the header has 2; correct the row, or quote the cell that holds a separator"],
    ),
    "short last row of a large file": (
        "no,age\n" + "1,50\n" * 300_000 + "SECRET",
        [", line 300002: the row has 1 cell where the header has 2; correct the row, or quote the cell that holds a separator"],
    ),
    "decimal comma": (
        "no,weight\nSECRET,70,5\n",
        [", line 2: the row has 3 cells where the header has 2; correct the row, or quote the cell that holds a separator"],
    ),
    "unterminated quote": (
        'no,age\n1,50\n"SECRET,51\n3,52\n',
        [
            ', line 3: a quote (") is opened and never closed, or a cell is longer than 131,072 characters; close it, or write it twice '
            "inside the cell"
        ],
    ),
    "unterminated quote before much text": (
        'no,age\n1,"SECRET\n' + "2,51\n" * 50_000,
        [
            ', line 2: a quote (") is opened and never closed, or a cell is longer than 131,072 characters; close it, or write it twice '
            "inside the cell"
        ],
    ),
    "text after a quote": (
        'no,age\n"SECRET"x,50\n',
        [", line 2: text follows a closing quote; write a quote inside a quoted cell twice"],
    ),
    "NUL byte": (
        b"no,age\n1,50\nSECRET\0,51\n",
        [", line 3: there is a NUL byte; the file is damaged, or UTF-16 without its mark: save it as UTF-8"],
    ),
    "UTF-16 without its mark": (
        "no,age\nSECRET,51\n".encode("utf-16-le"),
        [", line 1: there is a NUL byte; the file is damaged, or UTF-16 without its mark: save it as UTF-8"],
    ),
    "unknown encoding": (
        b"no,age\nSECRET\xff\xfe,51\n",
        [": the text is not UTF-8 nor CP949; say which encoding it has by saving the file as UTF-8"],
    ),
    "broken UTF-8 after its mark": (
        b"\xef\xbb\xbfno,age\nSECRET\xb0\xa1,51\n",
        [": the text is not UTF-8; say which encoding it has by saving the file as UTF-8"],
    ),
    "cut UTF-16": (
        b"\xff\xfe" + "no,age\nSECRET,51\n".encode("utf-16-le") + b"\x00",
        [": the text is not UTF-16; say which encoding it has by saving the file as UTF-8"],
    ),
    "no person column": (
        "number,age\nSECRET,50\n",
        [": there is no column 'no'; correct the header, or the name in node.toml and study.toml"],
    ),
    "no identifier column": (
        "no,age,full_name\n1,50,SECRET\n",
        [": there is no column 'name'; correct the header, or the name in node.toml and study.toml"],
    ),
    "one person without a number": (
        "no,age,name\n1,50,x\n,51,SECRET\n3,52,x\n",
        [": the person column 'no' has no value on line 3; fill it in, or remove the rows"],
    ),
    "several people without a number": (
        "no,age,name\n,50,x\nNA,51,SECRET\n3,52,x\n  ,53,x\n",
        [": the person column 'no' has no value on lines 2, 3 and 5; fill it in, or remove the rows"],
    ),
    "many people without a number": (
        "no,age,name\n" + ",50,SECRET\n" * 10,
        [": the person column 'no' has no value on lines 2, 3, 4 and others; fill it in, or remove the rows"],
    ),
}


def source(file: Path, *identifiers: str) -> TableSource:
    return TableSource(file=file, person="no", identifiers=identifiers)


def told(error: Invalid) -> str:
    """All that anyone could come to read of an error: its sentences, and the traceback that a log would hold."""
    return "\n".join([*error.reasons, *traceback.format_exception(error)])


@pytest.mark.parametrize("name", BAD)
def test_bad_csv(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    content, sentences = BAD[name]
    data = content.encode() if isinstance(content, str) else content
    file = tmp_path / "patients.csv"
    secrets = [SECRET.encode(), SECRET.encode("utf-16-le")]
    file.write_bytes(data.replace(b"SECRET", secrets[0]).replace("SECRET".encode("utf-16-le"), secrets[1]))
    assert len(data) < 30 or any(secret in file.read_bytes() for secret in secrets)
    caplog.set_level(logging.DEBUG)
    identifiers = ["name"] if "identifier" in name or "people" in name or "one person" in name else []
    with pytest.raises(Invalid) as caught:
        open_source(source(file, *identifiers), "patients", hospital="서울병원")
    assert caught.value.reasons == [f"서울병원: table 'patients' ({file}){sentence}" for sentence in sentences]
    assert SECRET not in told(caught.value) + caplog.text + "".join(capfd.readouterr())


PATHS = {
    "missing": ("patients.csv", "there is no such file; put it there, or leave the table 'patients' out of this hospital's data"),
    "folder": ("folder.csv", "this is a folder; name the CSV or Parquet file itself"),
    "plain folder": ("folder", "this is a folder; name the CSV or Parquet file itself"),
    "pipe": ("pipe.csv", "this is not a regular file; name a CSV or Parquet file"),
    "spreadsheet": ("patients.xlsx", "the file is neither .csv nor .parquet; save the table as one of them"),
    "compressed": ("patients.csv.gz", "the file is neither .csv nor .parquet; save the table as one of them"),
    "empty parquet": ("empty.parquet", "the file is empty; export the table again"),
    "no parquet": ("bad.parquet", "the file cannot be read as Parquet; write it again, or export the table as CSV"),
    "parquet without rows": ("headed.parquet", "the table has columns but no rows; export it again"),
}


@pytest.mark.parametrize("name", PATHS)
def test_bad_paths(name: str, tmp_path: Path) -> None:

    for folder in ("folder.csv", "folder"):
        (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for file in ("patients.xlsx", "patients.csv.gz"):
        (tmp_path / file).write_text(f"no,age\n{SECRET},1\n")
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + SECRET.encode() * 10 + b"PAR1")
    duckdb.sql("SELECT 1 AS no WHERE false").write_parquet(str(tmp_path / "headed.parquet"))
    file, sentence = tmp_path / PATHS[name][0], PATHS[name][1]
    with pytest.raises(Invalid) as caught:
        open_source(source(file), "patients", hospital="H")
    assert caught.value.reasons == [f"H: table 'patients' ({file}): {sentence}"]
    assert SECRET not in told(caught.value)


def test_a_damaged_parquet_column_is_told_without_its_values(tmp_path: Path) -> None:

    file = tmp_path / "patients.parquet"
    duckdb.sql(f"SELECT i AS no, '{SECRET}' || i AS name FROM range(20000) t(i)").write_parquet(str(file), compression="zstd")
    data = bytearray(file.read_bytes())
    for place in range(len(data) // 4, len(data) * 3 // 4):
        data[place] ^= 0x55
    file.write_bytes(data)
    with pytest.raises(Invalid, match="cannot be read as Parquet") as caught:
        open_source(source(file), "patients", hospital="H")
    assert SECRET not in told(caught.value)
