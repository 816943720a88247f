"""CSV files. Python's reader checks every row and names the line of a mistake; DuckDB then reads the same bytes fast.

DuckDB alone is not trusted with it: its parallel reader was seen to drop a ragged last row in silence, and its messages quote
rows. So it reads on one thread, and the rows it finds are counted against those that were checked. Where the two differ, and for
text that is not UTF-8, it reads a clean copy that lies in memory only.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pumasi.deid.delimited import header_faults, ragged, separator_of
from pumasi.kernel.errors import Invalid
from pumasi.node.sources import values
from pumasi.node.sources.files import Handle, memory_file

_SAMPLE = 65_536  # characters looked at to find the separator
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Form:
    """How a file is written."""

    encoding: str
    separator: str


class Delimited:
    """One CSV file that has been checked from end to end: `relation` yields its columns c0, c1 … as text."""

    unit = "line"

    def __init__(self, handle: Handle, where: str) -> None:
        self._handle, self._where = handle, where
        self._copy: Handle | None = None
        self._form = self._survey()
        self.relation = self._scan(handle, self._form.separator, skip=self._header_line)
        if not self._form.encoding.startswith("utf-8"):
            self.rewrite()

    def rewrite(self) -> None:
        """Read from a clean copy in memory from now on."""
        copy = memory_file("table", self._where)
        records = _records(self._handle, self._form, self._where)
        next(records)
        with io.TextIOWrapper(copy.writer(), encoding="utf-8", newline="") as text:
            csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(cells for _, cells in records)
        self._copy = copy
        self.relation = self._scan(copy, ",", skip=0)

    def places(self, column: int, wanted: Callable[[str], bool]) -> Iterator[int]:
        """The lines, counted from 1, on which a row begins whose cell is wanted."""
        records = _records(self._handle, self._form, self._where)
        next(records)
        return (line for line, cells in records if wanted(cells[column]))

    def close(self) -> None:
        self._handle.close()
        if self._copy is not None:
            self._copy.close()

    def _survey(self) -> Form:
        """Find encoding, separator, columns and rows; `Invalid` at the first row that does not fit."""
        with self._handle.reader() as file:
            head = file.read(4)
        encodings = ["utf-16"] if head.startswith(_UTF16) else ["utf-8-sig"] if head.startswith(codecs.BOM_UTF8) else ["utf-8", "cp949"]
        for encoding in encodings:
            try:
                form = Form(encoding, separator_of(self._sample(encoding)))
                self._check(form)
            except UnicodeDecodeError:  # it quotes the bytes, so it goes no further
                continue
            return form
        tried = " nor ".join({"utf-8-sig": "UTF-8", "utf-8": "UTF-8", "cp949": "CP949", "utf-16": "UTF-16"}[one] for one in encodings)
        raise Invalid(f"{self._where}: the text is not {tried}; say which encoding it has by saving the file as UTF-8")

    def _sample(self, encoding: str) -> str:
        with self._handle.reader() as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
            return text.read(_SAMPLE)

    def _check(self, form: Form) -> None:
        records = _records(self._handle, form, self._where)
        line, header = next(records, (0, []))
        if not header:
            raise Invalid(f"{self._where}: the file holds nothing but blank lines; export the table again")
        self.columns = [values.value_of(name, ()) or "" for name in header]
        faults = header_faults(self.columns, alike=str)
        if all(name in values.MISSING or _is_number(name) for name in self.columns) and any(self.columns):
            faults = ["the first line holds values, not column names; add a header line"]
        if faults:
            raise Invalid(*(f"{self._where}: {fault}" for fault in faults))
        self._header_line, self.rows = line, 0
        for line, cells in records:
            if len(cells) != len(header):
                raise Invalid(ragged(f"{self._where}, line {line}", len(cells), len(header)))
            self.rows += 1
        if self.rows == 0:
            raise Invalid(f"{self._where}: the file has a header but no rows; export the table again")

    def _scan(self, handle: Handle, separator: str, *, skip: int) -> str:
        columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(self.columns)))
        return (
            f"SELECT * FROM read_csv('{handle.path}', auto_detect = false, header = false, skip = {skip}, columns = {{{columns}}}, "
            f"delim = '{separator}', quote = '\"', escape = '\"', encoding = 'utf-8', compression = 'none', parallel = false, "
            "null_padding = false, strict_mode = true)"
        )


def _records(handle: Handle, form: Form, where: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it begins on. The header comes first."""
    with handle.reader() as file, io.TextIOWrapper(file, encoding=form.encoding, newline="") as text:
        rows = csv.reader(_without_nul(text, where), delimiter=form.separator, strict=True, skipinitialspace=True)
        begins = 1
        try:
            for cells in rows:
                if cells:
                    yield begins, cells
                begins = rows.line_num + 1
        except csv.Error as error:
            raise Invalid(f"{where}, line {begins}: {_quoting(str(error))}") from None


def _without_nul(lines: Iterator[str], where: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            raise Invalid(f"{where}, line {number}: there is a NUL byte; the file is damaged, or UTF-16 without its mark: save it as UTF-8")
        yield line


def _quoting(error: str) -> str:
    """A sentence for csv.Error, which quotes no cell but is not written for the person who exports the table."""
    if "expected after" in error:
        return "text follows a closing quote; write a quote inside a quoted cell twice"
    return (
        'a quote (") is opened and never closed, or a cell is longer than 131,072 characters; close it, or write it twice inside the cell'
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
