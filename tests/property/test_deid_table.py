"""`pumasi deid table` on tables and rule files of any kind: what never comes out, what depends on the key, and what on nothing else."""

from __future__ import annotations

import csv
import io
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from pumasi.deid import reading, table
from pumasi.kernel.errors import Invalid, PumasiError

TODAY = date(2026, 1, 1)
Cell = str | None
MESSY = st.text(st.sampled_from(list("가각힣 abcXYZ,;|\t\"'\n\\-_.#%0189éＡ１😀")), max_size=12)
KOREAN = st.text(st.sampled_from(list("가각힣 abcXYZ,;|\t\"'\n\\-_.#%0189Ａ１")), max_size=12)  # what CP949 has
MISSING = st.sampled_from((None, "NA", "NULL", "", " "))
NUMBERS = st.one_of(
    st.integers(-50, 200).map(str), st.decimals(-99, 99, places=2).map(str), st.sampled_from((" 12", "1,234.5", "3e2", "-0.0"))
)
DAYS = st.dates(date(1901, 2, 1), date(2030, 12, 31)).flatmap(
    lambda day: st.sampled_from(
        (day.isoformat(), day.strftime("%Y%m%d"), f"{day.year}년 {day.month}월 {day.day}일", f" {day:%Y.%m.%d}", f"{day:%Y/%m/%d} 10:30")
    )
)
CODES = st.builds("{}{:02}{}".format, st.sampled_from("ACFZ"), st.integers(0, 99), st.sampled_from(("", ".0", "12")))
PEOPLE = st.sampled_from(("P0001", "P0002", "p0002", "환자-3", "000123", "123", "9", "Kim, J", "a\tb"))
CELLS = {"number": NUMBERS, "day": DAYS, "code": CODES, "text": MESSY, "person": PEOPLE}
STEPS = {
    "number": (
        '"keep"',
        '{ do = "round", to = 5 }',
        '{ do = "bucket", width = 10 }',
        '{ do = "limit", low = 0, high = 90 }',
        '{ do = "noise", scale = 3, to = 1 }',
        '[{ do = "limit", high = 99.5 }, { do = "round", to = 0.5 }]',
        '{ do = "rare", fewer_than = 2 }',
    ),
    "day": ('"shift"', '{ do = "date", to = "year" }', '{ do = "date", to = "month" }', '{ do = "date", to = "age", at = "2024-06-30" }'),
    "code": (
        '"keep"',
        '{ do = "generalise", by = "kcd", level = "category" }',
        '{ do = "withhold", codes = ["F", "A0"] }',
        '[{ do = "generalise", by = "icd10", level = "chapter" }, { do = "rare", fewer_than = 3, as = "기타" }]',
    ),
    "text": ('"keep"', '{ do = "only", values = ["a", "가"] }', '{ do = "rare", fewer_than = 2 }', '{ do = "pseudonym", of = "note" }'),
}


@dataclass(frozen=True)
class Case:
    """A table, column by column, how it is written, and the rules for it."""

    columns: dict[str, list[Cell]]
    rules: dict[str, str]
    encoding: str
    separator: str
    source: str
    out: str
    person: str = '{ do = "pseudonym", of = "person" }'

    @property
    def rows(self) -> list[tuple[Cell, ...]]:
        return list(zip(*self.columns.values(), strict=True))

    def toml(self) -> str:
        lines = "".join(f'"{name}" = {step}\n' for name, step in {"pid": self.person, **self.rules}.items())
        return f'person = ["pid"]\nwithout_person = "drop"\n[columns]\n{lines}'

    def in_order(self, order: Sequence[int]) -> Case:
        return replace(self, columns={name: [cells[place] for place in order] for name, cells in self.columns.items()})


@st.composite
def cases(draw: st.DrawFn, *, numbered: bool = False, secrets: bool = False, missing: bool = True) -> Case:
    """`numbered` keeps a column that says which row is which; `secrets` are columns that the rules drop."""
    encoding = draw(st.sampled_from(("utf-8", "utf-8-sig", "cp949", "utf-16")))
    rows = draw(st.integers(1, 20))
    cells = CELLS | ({"text": KOREAN} if encoding == "cp949" else {})
    columns: dict[str, list[Cell]] = {"pid": draw(st.lists(PEOPLE, min_size=rows, max_size=rows))}
    rules: dict[str, str] = {}
    if numbered:
        columns["n"], rules["n"] = [str(place) for place in range(rows)], '"keep"'
    for place, kind in enumerate(draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4))):
        one = st.one_of(cells[kind], cells[kind], MISSING) if missing else cells[kind]
        columns[f"{kind}{place}"] = draw(st.lists(one, min_size=rows, max_size=rows))
        rules[f"{kind}{place}"] = draw(st.sampled_from(STEPS[kind]))
    if secrets:
        around = draw(st.lists(KOREAN, min_size=rows, max_size=rows))
        columns["secret"], rules["secret"] = [f"{text}SECRET{place}{text}" for place, text in enumerate(around)], '"drop"'
        columns["account"], rules["account"] = [str(9_876_500_000 + place) for place in range(rows)], '"drop"'
        order = draw(st.permutations(list(columns)))
        columns = {name: columns[name] for name in order}
    source, out = draw(st.sampled_from(("in.csv", "in.csv", "in.parquet"))), draw(st.sampled_from(("out.csv", "out.parquet")))
    return Case(columns, rules, encoding, draw(st.sampled_from(",;\t|")), source, out)


KEYS = st.binary(min_size=32, max_size=32).map(bytes.hex)
TWO_KEYS = st.tuples(KEYS, KEYS).filter(lambda two: two[0] != two[1])


def put(case: Case, path: Path) -> None:
    if path.suffix == ".parquet":
        with duckdb.connect() as made:
            made.execute("CREATE TABLE t (" + ", ".join(f'"{name}" VARCHAR' for name in case.columns) + ")")
            made.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(case.columns))})", case.rows)
            made.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=case.separator, lineterminator="\r\n")
    writer.writerows([list(case.columns), *case.rows])
    path.write_bytes(text.getvalue().encode(case.encoding))


@contextmanager
def treated(case: Case, key: str) -> Iterator[Path]:
    """The place of the treated table; `PumasiError` where the table cannot be treated by its rules."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        put(case, folder / case.source)
        (folder / "rules.toml").write_text(case.toml(), encoding="utf-8")
        (folder / "key").write_text(key)
        (folder / "key").chmod(0o600)
        table.pseudonymise(
            str(folder / case.source), rules=str(folder / "rules.toml"), out=str(folder / case.out), key=folder / "key", today=TODAY
        )
        yield folder / case.out


def rows(path: Path) -> list[dict[str, Cell]]:
    with reading.read(path) as found:
        listed = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in found.columns)
        return [
            dict(zip(found.columns, row, strict=True)) for row in found.connection.execute(f"SELECT {listed} FROM ({found.sql})").fetchall()
        ]


def sure(case: Case, key: str) -> list[dict[str, Cell]] | None:
    """The treated rows, or None where this table is refused; a refusal is a sentence and quotes no cell."""
    try:
        with treated(case, key) as path:
            return rows(path)
    except PumasiError as error:
        told = " ".join(error.reasons)
        for cells in case.columns.values():
            assert not any(cell and len(cell) > 6 and cell in told for cell in cells), told
        return None


SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SLOW
@given(cases(secrets=True), KEYS)
def test_nothing_of_a_dropped_column_comes_out(case: Case, key: str) -> None:
    try:
        with treated(case, key) as path:
            shown, data = rows(path), path.read_bytes()
    except Invalid as error:
        assert "SECRET" not in str(error) and "98765" not in str(error)
        return
    assert len(shown) == len(case.columns["pid"])
    for text in (data.decode(errors="ignore"), repr(shown)):
        assert "SECRET" not in text and "98765000" not in text
    assert set(shown[0]) == {"pid", *case.rules} - {"secret", "account"}


@SLOW
@given(cases(), KEYS, st.randoms(use_true_random=False))
def test_the_bytes_depend_on_the_rows_and_the_key_alone_and_not_on_their_order(case: Case, key: str, shuffle: random.Random) -> None:
    order = list(range(len(case.columns["pid"])))
    shuffle.shuffle(order)
    try:
        with treated(case, key) as path:
            first = path.read_bytes()
    except Invalid:
        return
    with treated(case.in_order(order), key) as path:
        assert path.read_bytes() == first


@SLOW
@given(cases(numbered=True), KEYS)
def test_whatever_is_written_however_it_is_written_the_rows_are_the_same(case: Case, key: str) -> None:
    """Encoding, separator and file format of IN and OUT show in nothing; Parquet knows empty texts, CSV does not."""
    filled = replace(case, columns={name: [cell or None for cell in cells] for name, cells in case.columns.items()})
    others = (replace(filled, source="in.csv", out="out.csv"), replace(filled, source="in.parquet", out="out.csv"))
    first, second = (sure(other, key) for other in others)
    plain = sure(replace(filled, encoding="utf-8", separator=",", source="in.csv", out="out.parquet"), key)
    assert first == second == (None if plain is None else [{name: cell or None for name, cell in row.items()} for row in plain])


@SLOW
@given(cases(numbered=True, missing=False), TWO_KEYS)
def test_under_another_key_no_pseudonym_is_the_same_and_only_what_has_the_key_in_it_changes(case: Case, keys: tuple[str, str]) -> None:
    first, second = (sure(case, key) for key in keys)
    assert (first is None) == (second is None)
    if first is None or second is None:
        return
    assert not {row["pid"] for row in first} & {row["pid"] for row in second}
    theirs = {row["n"]: row for row in second}
    keyed = {name for name, step in {"pid": case.person, **case.rules}.items() if re.search("shift|noise|pseudonym", step)}
    for row in first:
        other = theirs[row["n"]]
        assert all(row[name] == other[name] for name in row.keys() - keyed)
        for name in keyed & {one for one in case.rules if "pseudonym" in case.rules[one]}:
            assert row[name] is None or row[name] != other[name]


@SLOW
@given(cases(numbered=True), KEYS)
def test_what_becomes_of_a_value_is_told_by_the_value_the_person_and_the_key(case: Case, key: str) -> None:
    shown = sure(case, key)
    if shown is None:
        return
    for name, step in case.rules.items():
        if name == "n" or "noise" in step:
            continue
        made: dict[tuple[Cell, ...], Cell] = {}
        for row in shown:
            place = int(row["n"] or 0)
            whose = case.columns["pid"][place] if step == '"shift"' else None
            known = (case.columns[name][place], whose)
            assert made.setdefault(known, row[name]) == row[name], (name, step)


PLAIN = st.dates(date(1901, 2, 1), date(2030, 12, 31))


@SLOW
@given(st.lists(st.tuples(PEOPLE, PLAIN, PLAIN), min_size=1, max_size=30), TWO_KEYS, st.booleans())
def test_all_days_between_dates_of_a_person_stay_and_no_date_does(
    events: list[tuple[str, date, date]], keys: tuple[str, str], weekday: bool
) -> None:
    columns: dict[str, list[Cell]] = {
        "pid": [pid for pid, _, _ in events],
        "n": [str(place) for place in range(len(events))],
        "begin": [one.isoformat() for _, one, _ in events],
        "end": [f"{one:%Y%m%d}" for _, _, one in events],
    }
    rules = {"n": '"keep"', "begin": '"shift"', "end": '"shift"\n[shift]\nweekday = ' + str(weekday).lower()}
    for key in keys:
        shown = sure(Case(columns, rules, "utf-8", ",", "in.csv", "out.csv"), key)
        assert shown is not None
        moved = defaultdict[str, set[timedelta]](set)
        for row in shown:
            pid, *days = events[int(row["n"] or 0)]
            for before, after in zip(days, (row["begin"], row["end"]), strict=True):
                moved[pid].add(date.fromisoformat(str(after)) - before)
        for distances in moved.values():
            (days_moved,) = distances
            assert 0 < abs(days_moved.days) <= 365 and not (weekday and days_moved.days % 7)


@settings(max_examples=5, deadline=None)
@given(TWO_KEYS, st.randoms(use_true_random=False), st.booleans())
def test_two_permits_extracts_are_joined_no_better_than_by_chance(keys: tuple[str, str], draw: random.Random, shown: bool) -> None:
    """Two hundred people with three visits each, of which moved dates are shown: joined by pseudonym, by place, by rank, by date."""
    people = [f"P{number:04}" for number in range(200)]
    visits = [(pid, date(2020, 1, 1) + timedelta(draw.randrange(700))) for pid in people for _ in range(3)]
    columns: dict[str, list[Cell]] = {"pid": [pid for pid, _ in visits], "day": [day.isoformat() for _, day in visits]}
    person = '{ do = "pseudonym", of = "person" }' if shown else '"drop"'
    case = Case(
        {**columns, "n": [str(place) for place in range(len(visits))]},
        {"day": '"shift"', "n": '"keep"'},
        "utf-8",
        ",",
        "in.csv",
        "out.csv",
        person,
    )
    one, other = (sure(case, key) for key in keys)
    assert one is not None and other is not None
    whose = [[visits[int(row["n"] or 0)][0] for row in extract] for extract in (one, other)]
    same_place = sum(a == b for a, b in zip(*whose, strict=True))
    assert same_place <= 20  # 3 by chance; above 20 with a probability below 10^-9
    same_date = sum(
        bool(a["day"] == b["day"] and a["n"] == b["n"])
        for a, b in zip(*(sorted(x, key=lambda row: int(row["n"] or 0)) for x in (one, other)), strict=True)
    )
    assert same_date <= 24  # a person's two offsets are equal once in 730, with all three visits
    if shown:
        first, second = ([pid for pid, _ in itertools.groupby(order)] for order in whose)
        assert len(first) == len(second) == 200  # together, by pseudonym
        ranks = {pid: place for place, pid in enumerate(second)}
        distance = sum(abs(place - ranks[pid]) for place, pid in enumerate(first))
        assert 200 * 200 / 3 * 0.7 < distance < 200 * 200 / 3 * 1.3  # a random order: n^2 / 3
