"""CSV files as hospitals export them: which encoding, which separator, how many rows; and which line is wrong when one is.

One fast pass over the bytes decides encoding and row count before DuckDB reads; files that are not UTF-8 are read from a copy
without a name, which vanishes even when the process is killed. DuckDB's messages quote rows, so they go no further than here.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from pumasi.kernel.errors import Invalid

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

SEPARATORS = (",", ";", "\t", "|")
LONGEST = 1_000_000  # bytes of one value
_CHUNK = 1 << 23
_SAMPLE = 65_536
_BLANKS = " \t\n\v\f\r\u00a0\u3000\ufeff"
_QUOTE = b'"'


@dataclass(frozen=True)
class Delimited:
    """One CSV file: how it is written, its column names, and the open file that DuckDB reads as `path`."""

    where: str
    path: str
    separator: str
    columns: tuple[str, ...]
    skip: int
    rows: int
    size: int
    file: IO[bytes]

    @property
    def sql(self) -> str:
        """A scan with the columns c0, c1 … as text; an empty cell is NULL."""
        columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(self.columns)))
        return (
            f"SELECT * FROM read_csv('{self.path}', auto_detect = false, header = false, skip = {self.skip}, columns = {{{columns}}}, "
            f"delim = '{self.separator}', quote = '\"', escape = '\"', compression = 'none', strict_mode = true, null_padding = false, "
            f"max_line_size = {16 * LONGEST}, buffer_size = {32 * LONGEST})"
        )

    def faults(self) -> list[str]:
        """What is wrong with the rows, found by reading each of them; slow, so only asked when DuckDB did not read them all."""
        try:
            for line, cells in _records(self.file, self.separator, self.where):
                if len(cells) != len(self.columns):
                    return [ragged(f"{self.where}, line {line}", len(cells), len(self.columns))]
        except Invalid as error:
            return error.reasons
        return []


def too_long(where: str) -> str:
    return f"{where}: a value is longer than a megabyte; tables hold values, so move it to a file of its own, or mend the quotes"


def survey(path: Path, where: str) -> Delimited:
    """Find out how a file is written; `Invalid` where no rows can be had from it."""
    file: IO[bytes] = path.open("rb")
    try:
        if path.suffix.lower() == ".gz":
            file = _replaced(file, _unpacked(file, where))
        encoding = _encoding(file, where)
        if encoding != "utf-8":
            file = _replaced(file, _converted(file, encoding, where))
        separator = separator_of(_sample(file))
        columns, skip = _header(file, separator, where)
        _refuse_long_lines(file, separator, where)
        rows = _rows(file, separator, where, len(columns), skip)
    except Invalid:
        file.close()
        raise
    return Delimited(where, seen_path(file, path), separator, columns, skip, rows, os.fstat(file.fileno()).st_size, file)


def _replaced(file: IO[bytes], by: IO[bytes]) -> IO[bytes]:
    file.close()
    return by


def seen_path(file: IO[bytes], path: Path) -> str:
    """A name for an open file that DuckDB can open: no wildcard, no quote, and what was checked is what is read."""
    through = Path(f"/proc/self/fd/{file.fileno()}")
    return str(through) if through.exists() else str(path).replace("'", "''")


def header_faults(names: Sequence[str], *, alike: Callable[[str], str] = str.casefold) -> list[str]:
    """Why these cannot be column names, of which no two may be `alike`. By position: in a file without a header they are values."""
    faults, places = [], dict[str, list[str]]()
    for place, one in enumerate(names, start=1):
        if one == "":
            faults.append(f"column {place} has no name; name it in the header, or remove the column")
        elif not one.isprintable() or len(one) > 300:
            faults.append(f"the name of column {place} is longer than 300 characters or not printable; rename it")
        else:
            places.setdefault(alike(one), []).append(str(place))
    for same in places.values():
        if len(same) > 1:
            faults.append(f"columns {', '.join(same[:-1])} and {same[-1]} have the same name; rename all but one")
    return faults


def clean(text: str) -> str:
    """A header cell in Unicode normal form C without blanks or a byte order mark around it."""
    return unicodedata.normalize("NFC", text).strip(_BLANKS)


def _unpacked(file: IO[bytes], where: str) -> IO[bytes]:
    copy = _nameless()
    try:
        with gzip.open(file) as packed:
            while chunk := packed.read(_CHUNK):
                copy.write(chunk)
    except (OSError, EOFError):
        copy.close()
        raise Invalid(f"{where}: the file is no whole gzip file; pack it again") from None
    copy.flush()
    return copy


def _nameless() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _encoding(file: IO[bytes], where: str) -> str:
    file.seek(0)
    head = file.read(4096)
    if not head:
        raise Invalid(f"{where}: the file is empty; export the table again")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)  # a header has a separator or a digit, so one byte in some is zero
    if max(even, odd) > len(head) // 40 and min(even, odd) < max(even, odd) // 8 + 1:
        return "utf-16-le" if odd > even else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(file):
            if b"\0" in chunk:
                raise Invalid(f"{where}: there is a NUL byte; the file is damaged, save the table again as UTF-8")
            if not chunk.isascii() or decoder.getstate()[0]:
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # it quotes the bytes, so it goes no further
        return "cp949"
    return "utf-8"


def _converted(file: IO[bytes], encoding: str, where: str) -> IO[bytes]:
    """A copy in UTF-8 that has no name; `Invalid` with the line at which the encoding changes or ends."""
    copy = _nameless()
    try:
        if encoding == "cp949":
            _from_cp949(file, copy, where)
        else:
            file.seek(0)
            for text in codecs.iterdecode(_chunks(file), encoding):
                copy.write(text.encode())
    except UnicodeError:
        copy.close()
        raise Invalid(f"{where}: the text begins as UTF-16 but does not go on as UTF-16; save the file as UTF-8") from None
    except Invalid:
        copy.close()
        raise
    copy.flush()
    return copy


def _from_cp949(file: IO[bytes], copy: IO[bytes], where: str) -> None:
    """Line by line, because exports that were glued together change their encoding between two lines."""
    file.seek(0)
    seen: dict[str, int] = {}
    for number, line in enumerate(file, start=1):
        if line.isascii():
            copy.write(line)
            continue
        kinds = _kinds(line)
        for kind in kinds:
            seen.setdefault(kind, number)
        if not kinds:
            raise Invalid(f"{where}, line {number}: the text is neither UTF-8 nor CP949; save the file as UTF-8")
        if len(seen) > 1:
            utf8, cp949 = seen["UTF-8"], seen["CP949"]
            raise Invalid(
                f"{where}: the file mixes encodings: line {utf8} is UTF-8, line {cp949} is CP949; convert its parts, then join them again"
            )
        if "CP949" in seen:
            copy.write(line.decode("cp949").encode())


def _kinds(line: bytes) -> list[str]:
    """UTF-8 when a letter of three bytes shows it (two-byte ones may be Korean CP949 by chance), else CP949, else nothing."""
    with contextlib.suppress(UnicodeDecodeError):
        if any(character >= "\u0800" for character in line.decode()):
            return ["UTF-8"]
    with contextlib.suppress(UnicodeDecodeError):
        line.decode("cp949")
        return ["CP949"]
    return []


def _sample(file: IO[bytes]) -> str:
    file.seek(0)
    return codecs.getincrementaldecoder("utf-8-sig")().decode(file.read(_SAMPLE))


def _header(file: IO[bytes], separator: str, where: str) -> tuple[tuple[str, ...], int]:
    """The column names, and how many physical lines come before the first row."""
    file.seek(0)
    with _text(file) as text:
        rows = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
        try:
            cells = next((cells for cells in rows if cells), None)
        except csv.Error:
            raise Invalid(f"{where}, line 1: the header cannot be read; mend its quotes") from None
        skip = rows.line_num
    if cells is None:
        raise Invalid(f"{where}: the file holds nothing but blank lines; export the table again")
    columns = tuple(clean(cell) for cell in cells)
    faults = header_faults(columns)
    if all(_is_value(one) for one in columns) and any(columns):
        faults = ["the first line holds values, not column names; add a header line"]
    if faults:
        raise Invalid(*(f"{where}: {fault}" for fault in faults))
    return columns, skip


@contextlib.contextmanager
def _text(file: IO[bytes]) -> Iterator[IO[str]]:
    """The file as text, without closing it afterwards."""
    file.seek(0)
    text = io.TextIOWrapper(io.BufferedReader(_Kept(file), _CHUNK // 8), encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()


class _Kept(io.RawIOBase):
    """Reads through to a file and leaves it open."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        found = self._file.read(len(view))
        view[: len(found)] = found
        return len(found)


def _rows(file: IO[bytes], separator: str, where: str, columns: int, skip: int) -> int:
    """How many rows follow the header: counted by line ends where the quotes come in pairs, else row by row."""
    ends = _row_ends(file, one_column=columns == 1)
    if ends is None:
        return sum(1 for _ in _records(file, separator, where))
    return ends - (skip if columns == 1 else 1)


def _refuse_long_lines(file: IO[bytes], separator: str, where: str) -> None:
    """A line of a megabyte covers a whole window of a quarter of one, so that looking for one line end in each window finds it."""
    window = _CHUNK // 32
    if any(_without_end(chunk, window) for chunk in _chunks(file)):
        for line, cells in _records(file, separator, where):
            if max(len(cell.encode()) for cell in cells) > LONGEST:
                raise Invalid(too_long(f"{where}, line {line}"))


def _without_end(chunk: bytes, window: int) -> bool:
    starts = range(0, len(chunk) - window + 1, window)
    return any(chunk.find(b"\n", start, start + window) < 0 and chunk.find(b"\r", start, start + window) < 0 for start in starts)


def _row_ends(file: IO[bytes], *, one_column: bool) -> int | None:
    """How many rows end in the file: line ends outside quotes, runs of blank lines taken as one (a single column may hold blanks)."""
    found, inside, last = 0, False, b"\n"
    for chunk in _chunks(file):
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        quotes = int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord(_QUOTE)))
        outside = chunk if not quotes and not inside else _QUOTE.join(chunk.split(_QUOTE)[inside::2])
        if outside:
            ends = np.flatnonzero(np.frombuffer(outside, np.uint8) == ord("\n"))  # a third of the time of counting bytes
            found += len(ends)
            if not one_column:
                found -= int(np.count_nonzero(np.diff(ends) == 1)) + (last == b"\n" and outside[:1] == b"\n")
            last = outside[-1:]
        inside ^= bool(quotes & 1)
    return None if inside else found + (last != b"\n")


def _records(file: IO[bytes], separator: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line it begins on, after the header."""
    before = csv.field_size_limit(1 << 40)
    try:
        with _text(file) as text:
            rows = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
            begins, header = 1, True
            try:
                for cells in rows:
                    if cells and not header:
                        yield begins, cells
                    header = header and not cells
                    begins = rows.line_num + 1
            except csv.Error as error:
                raise Invalid(f"{where}, line {begins}: {_quoting(str(error))}") from None
    finally:
        csv.field_size_limit(before)


def _quoting(error: str) -> str:
    if "expected after" in error:
        return "text follows a closing quote; write a quote inside a quoted cell twice"
    return 'a quote (") is opened and never closed; close it, or write it twice inside the cell'


def ragged(where: str, cells: int, columns: int) -> str:
    """A sentence for a row that has more or fewer cells than the header."""
    have = "1 cell" if cells == 1 else f"{cells} cells"
    return f"{where}: the row has {have} where the header has {columns}; correct the row, or quote the cell that holds a separator"


def separator_of(sample: str) -> str:
    """The separator that splits the first rows into equally many cells, the most; failing that, the one that is most in the header."""
    best, most = ",", (False, 1)
    for separator in SEPARATORS:
        widths = _widths(sample, separator)
        found = (len(set(widths)) == 1, widths[0]) if widths else (False, 1)
        if found[1] > 1 and found > most:
            best, most = separator, found
    return best


def _widths(sample: str, separator: str) -> list[int]:
    rows = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True)
    widths: list[int] = []
    with contextlib.suppress(csv.Error):  # the sample may end within a row
        widths.extend(len(cells) for cells in rows if cells)
    whole = len(sample) < _SAMPLE // 4 or len(widths) < 2
    return widths if whole else widths[:-1]


def _is_value(text: str) -> bool:
    """A number or nothing: a header of nothing but these is no header."""
    if text in ("", "NA", "NULL"):
        return True
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False
