"""Rules proposed for tables into which an attacker has hidden identifiers, and for tables that hold none."""

from __future__ import annotations

import csv
import json
import random
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from pumasi.deid import rulefile
from pumasi.deid.case import Proposal
from pumasi.deid.cli import app
from pumasi.deid.looking import MANY
from pumasi.deid.patterns import INDIRECT, LIKELY
from pumasi.deid.profile import FEW
from pumasi.deid.suggest import Suggestion, suggest, told, toml, write
from pumasi.deid.table import pseudonymise
from pumasi.kernel.errors import Invalid
from tests import deid_attacker as attacker

DATA = Path(__file__).parents[3] / "shared" / "data"
ALL = {**attacker.DISGUISES, **attacker.DIGIT_DISGUISES}
PLANTS = [(kind, disguise) for kind in attacker.KINDS for disguise in (ALL if kind in attacker.DIGITS else attacker.DISGUISES)]


def save(path: Path, columns: Mapping[str, Sequence[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def proposals(path: Path, **given: int) -> dict[str, Proposal]:
    (one,) = suggest(path, **given)
    return {proposal.column: proposal for proposal in one.proposals}


def direct(proposal: Proposal) -> set[str]:
    return {one.kind.value for one in proposal.found if one.kind not in INDIRECT and one.confidence >= LIKELY}


# --- identifiers hidden in one row of honest columns ---


@pytest.mark.parametrize("part", range(6))
def test_an_identifier_in_one_row_of_any_column_is_found(part: int, tmp_path: Path) -> None:
    r = random.Random(1000 + part)
    columns, plants = dict[str, list[str]](), dict[str, tuple[str, str, str]]()
    for number, (kind, disguise) in enumerate(PLANTS[part::6]):
        honest = r.choice(list(attacker.HONEST))
        cells = [attacker.HONEST[honest](r) for _ in range(300)]
        cells[r.randrange(len(cells))] = ALL[disguise](attacker.KINDS[kind](r), r)
        columns[f"v{number}"], plants[f"v{number}"] = cells, (kind, disguise, honest)
    found = proposals(save(tmp_path / "t.csv", columns))
    missed = [plant for name, plant in plants.items() if not direct(found[name]) or found[name].treatment != '"drop"']
    assert missed == []


@pytest.mark.parametrize("form", ["HD{}{}A", "pt_{}{}_01", "id{}-{}x", "73Z{}-{}"])
def test_a_registration_number_inside_an_id_is_found_among_codes(form: str, tmp_path: Path) -> None:
    r = random.Random(9)
    columns = {"code": [f"A{r.randrange(100):02}" for _ in range(300)], "note": ["경과 양호"] * 300}
    for number, cells in enumerate(columns.values()):
        cells[17 + number] = form.format("880503", "1234567")
    for proposal in proposals(save(tmp_path / "t.csv", columns)).values():
        assert direct(proposal) == {"rrn"} and proposal.treatment == '"drop"', proposal


def test_one_telephone_without_its_zero_stands_out_among_small_numbers(tmp_path: Path) -> None:
    (proposal,) = proposals(save(tmp_path / "t.csv", {"n": [str(number % 90) for number in range(5000)] + ["1023456789"]})).values()
    assert proposal.treatment == '"drop"' and proposal.found


def test_digits_of_a_uuid_are_no_telephone(tmp_path: Path) -> None:
    r = random.Random(4)
    cells = [str(uuid.UUID(int=r.getrandbits(128), version=4)) for _ in range(2000)]
    cells += [f"{r.randrange(10**8):08}-0212-4456-8789-{r.randrange(10**12):012}" for _ in range(50)]
    (proposal,) = proposals(save(tmp_path / "t.csv", {"u": cells})).values()
    assert "pseudonym" in proposal.treatment, proposal


def test_codes_with_as_many_digits_as_a_registration_number_are_codes(tmp_path: Path) -> None:
    r = random.Random(9)
    codes = {form: [form.format(r.randrange(10**13)) for _ in range(3000)] for form in ("ORD-{:013}", "S{:013}", "{:013}K")}
    for proposal in proposals(save(tmp_path / "t.csv", codes)).values():
        assert not direct(proposal) and "pseudonym" in proposal.treatment, proposal


def test_honest_columns_are_not_called_identifiers(tmp_path: Path) -> None:
    r = random.Random(5)
    found = proposals(save(tmp_path / "t.csv", {name: [make(r) for _ in range(1500)] for name, make in attacker.HONEST.items()}))
    assert {name: direct(proposal) for name, proposal in found.items() if direct(proposal)} == {}
    kept_or_treated = {"hemoglobin", "troponin", "result", "department", "drug", "race", "score", "icd", "unit", "timestamp", "flag"}
    assert {name for name in kept_or_treated if found[name].treatment == '"drop"'} == set()


def test_numbers_that_repeat_as_ids_do_are_not_kept_whatever_their_column_is_called(tmp_path: Path) -> None:
    r = random.Random(12)
    people = [str(r.randrange(10**7, 10**8)) for _ in range(300)]
    columns = {
        "x1": [r.choice(people) for _ in range(1500)],
        "x2": [str(r.randrange(1, 301)) for _ in range(1500)],
        "pulse": [str(round(r.gauss(75, 12))) for _ in range(1500)],
        "platelets": [str(round(r.gauss(250, 60)) * 1000) for _ in range(1500)],
    }
    found = proposals(save(tmp_path / "t.csv", columns))
    assert all("pseudonym" in found[name].treatment and found[name].confirm for name in ("x1", "x2")), found
    assert found["pulse"].treatment == '"keep"'
    assert "perhaps" not in found["platelets"].english


def test_dates_written_as_numbers_are_never_kept(tmp_path: Path) -> None:
    r = random.Random(15)
    days = [date(2012, 1, 1) + timedelta(days=int(4000 * r.random() ** 0.5)) for _ in range(3000)]
    columns = {
        "visit_date": [str((day - date(1899, 12, 30)).days) for day in days],
        "검사일": [f"{(day - date(1899, 12, 30)).days}.5" for day in days],
        "x1": [str((day - date(1899, 12, 30)).days) for day in days],
        "x2": [f"{day:%Y%m%d}.0" for day in days],
        "x3": [str((day - date(1970, 1, 1)).days) for day in days],
        "leukocytes": [str(round(r.gauss(7000, 1800))) for _ in days],
        "amount": [str(10 * round(r.lognormvariate(9, 1))) for _ in days],
    }
    found = proposals(save(tmp_path / "t.csv", columns))
    assert {name for name, one in found.items() if one.treatment == '"drop"'} == {"visit_date", "검사일", "x1", "x2", "x3"}
    assert "pseudonym" not in found["amount"].treatment


def test_long_numbers_that_recur_among_short_values_are_no_codes(tmp_path: Path) -> None:
    r = random.Random(14)
    columns = {
        "flag": [r.choice("YN") for _ in range(900)] + ["821063679160"] * 60,
        "score": [str(r.randrange(60)) for _ in range(900)] + ["265453579487"] * 60,
        "item": [r.choice(["AA154", "HA101", "644504100", "653101590"]) for _ in range(960)],
        "cells": [r.choice(["none", "20000", "350000", "1250000"]) for _ in range(960)],
    }
    found = proposals(save(tmp_path / "t.csv", columns))
    assert {name for name, one in found.items() if one.treatment == '"drop"'} == {"flag", "score"}


def test_a_date_among_categories_or_small_numbers_is_not_shown_unmoved(tmp_path: Path) -> None:
    r = random.Random(13)
    columns = {
        "state": [r.choice(["A", "B"]) for _ in range(400)] + ["1983년 10월 13일생"] * 30,
        "born": [r.choice(["A", "B"]) for _ in range(400)] + ["DOB 06/14/1989"] * 30,
        "score": [str(r.randrange(40)) for _ in range(429)] + ["19910712"],
        "plain": [r.choice(["A", "B", "2-3"]) for _ in range(430)],
    }
    found = proposals(save(tmp_path / "t.csv", columns))
    assert {name for name, one in found.items() if one.treatment == '"drop"'} == {"state", "born", "score"}


def test_a_word_among_words_that_end_alike_is_no_name_and_a_name_among_them_is(tmp_path: Path) -> None:
    jobs = ["경비원", "배달원", "연구원", "정보원", "상담원"]
    columns = {"job of": jobs * 60, "staff": [*jobs[:3], "김영희", "박철수"] * 60}
    found = proposals(save(tmp_path / "t.csv", columns))
    assert "rare" in found["job of"].treatment, found["job of"]
    assert found["staff"].treatment == '"drop"'


def test_a_whole_column_of_identifiers_is_surer_than_numbers_that_look_alike(tmp_path: Path) -> None:
    r = random.Random(6)
    columns = {
        "real": [attacker.rrn(r).replace("-", "") for _ in range(500)],
        "barcode": [attacker.HONEST["barcode"](r) for _ in range(500)],
        "real phone": [attacker.mobile(r).replace("-", "") for _ in range(500)],
        "eleven digits": [str(r.randint(10**10, 10**11 - 1)) for _ in range(500)],
        "real card": [attacker.card(r).replace("-", "") for _ in range(500)],
        "sixteen digits": [str(r.randint(10**15, 10**16 - 1)) for _ in range(500)],
        "names": [attacker.korean_name(r) for _ in range(500)],
        "departments": [attacker.HONEST["department"](r) for _ in range(500)],
    }
    found = proposals(save(tmp_path / "t.csv", columns))
    assert [direct(found[name]) for name in ("real", "real phone", "real card")] == [{"rrn"}, {"phone"}, {"card"}]
    assert all(found[name].confidence >= 0.95 for name in ("real", "real phone", "real card"))
    assert [direct(found[name]) for name in ("barcode", "eleven digits", "sixteen digits", "departments")] == [set()] * 4
    assert found["names"].treatment == '"drop"' and "name" in found["names"].english


# --- what is known by name and values together ---


def patients(r: random.Random, rows: int = 400) -> dict[str, list[str]]:
    people = [f"P{number:05d}" for number in range(rows // 4)]
    born = {one: f"{r.randint(1930, 2010)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}" for one in people}
    rows_of = [r.choice(people) for _ in range(rows)]
    return {
        "환자번호": rows_of,
        "birthDate": [born[one] for one in rows_of],
        "입원일자": [f"2023년 {r.randint(1, 12)}월 {r.randint(1, 28)}일" for _ in rows_of],
        "나이": [str(r.randint(0, 101)) for _ in rows_of],
        "성별": [r.choice("MF") for _ in rows_of],
        "우편번호": [f"{r.randint(1000, 63000):05d}" for _ in rows_of],
        "주소": [f"{r.choice(attacker.DISTRICTS[:4])} {r.choice(attacker.ROADS)}" for _ in rows_of],
        "mother_id": [r.choice(people) for _ in rows_of],
        "referring_doctor": [r.choice(["D01", "D02", "D03"]) for _ in rows_of],
        "주상병": [r.choice(["E11.9", "F32.1", "I10", "C50.9", "B20", "J18.9"]) for _ in rows_of],
        "국적": [r.choice(["대한민국"] * 60 + ["몽골", "베트남"]) for _ in rows_of],
        "키": [f"{r.gauss(168, 9):.1f}" for _ in rows_of],
        "cholesterol": [str(r.randint(120, 320)) for _ in rows_of],
        "혈액형": [r.choice(["A", "B", "O", "AB"]) for _ in rows_of],
        "비고": [r.choice(["특이사항 없음", "재방문 예정", "보호자와 상담함"]) for _ in rows_of],
        "hospital": ["서울병원"] * rows,
        "empty": [""] * rows,
        "xq7": ["".join(r.choice("ㄱㄴㄷabcdefgh ") for _ in range(r.randint(10, 60))) for _ in rows_of],
    }


def test_each_role_gets_its_treatment_and_the_file_runs_as_it_is(tmp_path: Path) -> None:
    source = save(tmp_path / "환자.csv", patients(random.Random(7)))
    (found,) = suggest(source)
    assert found.person == "환자번호"
    done = {proposal.column: proposal.treatment for proposal in found.proposals}
    assert {name for name, treatment in done.items() if treatment == '"drop"'} == {
        *("mother_id", "referring_doctor", "비고", "hospital", "empty", "xq7")
    }
    assert done["환자번호"] == '{ do = "pseudonym", of = "person" }'
    assert done["birthDate"] == '{ do = "date", to = "year" }' and done["입원일자"] == '"shift"'
    assert "age" in done["나이"] and "kr-postcode" in done["우편번호"] and "kr-address" in done["주소"] and "limit" in done["키"]
    assert "withhold" in done["주상병"] and "kcd" in done["주상병"]
    rules = tmp_path / "rules.toml"
    write([found], rules)
    treated = pseudonymise(str(source), rules=str(rules), out=str(tmp_path / "out.parquet"), key=None)
    assert [one.rows for one in treated.tables] == [400]
    out = duckdb.sql(f"SELECT * FROM '{tmp_path / 'out.parquet'}'")
    assert set(out.columns) == {name for name, treatment in done.items() if treatment != '"drop"'}
    kept = {str(value) for row in out.fetchall() for value in row}
    assert not kept & {*patients(random.Random(7))["환자번호"], *patients(random.Random(7))["birthDate"], "B20", "F32"}


def test_every_column_has_a_line_and_no_text_of_unknown_meaning_is_kept(tmp_path: Path) -> None:
    r = random.Random(8)
    columns = {name: [make(r) for _ in range(200)] for name, make in attacker.HONEST.items()} | patients(r, 200)
    source = save(tmp_path / "t.csv", columns)
    found = suggest(source)
    written = tomllib.loads(toml(found, "rules.toml"))
    assert list(written["columns"]) == list(columns) and written["unknown"] == "refuse"
    kept = {name for name, treatment in written["columns"].items() if treatment == "keep"}
    for name in kept:
        assert all(value.replace(".", "").isdigit() or name in ("성별", "sex") for value in columns[name]), name
        (line,) = [proposal for proposal in found[0].proposals if proposal.column == name]
        assert line.confirm or line.confidence >= 0.9


def test_no_cell_is_quoted(tmp_path: Path) -> None:
    r = random.Random(9)
    columns = {kind: [make(r) for _ in range(60)] for kind, make in attacker.KINDS.items()} | patients(r, 60)
    found = suggest(save(tmp_path / "t.csv", columns))
    said = toml(found, "rules.toml") + "\n".join(told(found, Path("rules.toml"))) + repr(found)
    quoted = {value for name, values in columns.items() if name not in ("성별", "혈액형", "나이") for value in values if len(value) >= 4}
    assert {value for value in quoted if value in said} == set()


def test_the_reasons_are_comments_in_both_languages(tmp_path: Path) -> None:
    columns = {"memo": ["정상"] * 99 + ["보호자 010-1234-5678"], "n": [str(number % 7) for number in range(100)]}
    said = toml(suggest(save(tmp_path / "t.csv", columns)), "rules.toml")
    above = said.partition('"memo" =')[0].splitlines()[-2:]
    assert above[0].startswith("# 직접식별자가 숨어 있습니다: 전화번호 100행 중 1행") and "확실" in above[0]
    assert above[1].startswith("# direct identifiers hidden in it: telephone number in 1 of 100 rows") and "sure" in above[1]


# --- tables of other kinds ---


def test_numbers_that_lost_their_type_in_parquet_are_read_as_digits(tmp_path: Path) -> None:
    r = random.Random(10)
    values = ", ".join(
        f"({int(attacker.rrn(r).replace('-', ''))}, {r.random() * 100}, DATE '2024-01-{r.randint(1, 28)}')" for _ in range(300)
    )
    duckdb.sql(f"COPY (SELECT * FROM (VALUES {values}) t(code, amount, day)) TO '{tmp_path / 't.parquet'}'")
    found = proposals(tmp_path / "t.parquet")
    assert direct(found["code"]) == {"rrn"} and found["code"].treatment == '"drop"'
    assert direct(found["amount"]) == set() and found["day"].treatment == '{ do = "date", to = "year" }'


def test_a_folder_of_tables_gets_a_section_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    folder.mkdir()
    save(folder / "person.csv", {"person_id": ["1", "2", "3"], "birth_date": ["1960-05-01", "1970-01-02", "1980-03-04"]})
    save(folder / "visit.csv", {"visit_id": ["7", "8"], "person_id": ["1", "2"], "visit_date": ["2020-01-01", "2021-01-01"]})
    found = suggest(folder)
    write(found, tmp_path / "rules.toml")
    rules = rulefile.load(tmp_path / "rules.toml")
    assert set(rules.tables) == {"person", "visit"} and rules.person == ("person_id",)
    assert pseudonymise(str(folder), rules=str(tmp_path / "rules.toml"), out=str(tmp_path / "out"), key=None).tables


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    r = random.Random(11)
    rows = 110_000
    columns = {
        "a": [number for _ in range(rows // 4) for number in [f"{r.randint(10**6, 10**9)}"] * 4],
        "b": [text for _ in range(rows // 4) for text in [f"{r.random():.7f} x{r.randint(10**6, 10**9)}"] * 4],
    }
    columns["b"][rows // 2] = attacker.rrn(r)
    path = save(tmp_path / "t.csv", columns)
    assert 2 * rows >= MANY and all(len(set(cells)) > FEW for cells in columns.values()), "so many are shared among processes"
    alone, together = suggest(path), suggest(path, workers=2)
    assert alone == together
    assert "rrn" in direct(alone[0].proposals[1])


def test_a_header_that_is_a_row_of_data_is_refused_without_being_quoted(tmp_path: Path) -> None:
    r = random.Random(12)
    number, name = attacker.rrn(r), attacker.mobile(r)
    path = save(tmp_path / "t.csv", {number: ["x", "y"], name: ["1", "2"], "c": ["1", "2"]})
    with pytest.raises(Invalid) as refused:
        suggest(path)
    assert len(refused.value.reasons) == 2 and "column 1" in refused.value.reasons[0]
    assert number not in str(refused.value) and name not in str(refused.value)


def test_nothing_half_written_when_the_folder_is_missing(tmp_path: Path) -> None:
    found = suggest(save(tmp_path / "t.csv", {"a": ["1", "2"], "b": ["x", "y"]}))
    with pytest.raises(Invalid, match="there is no folder"):
        write(found, tmp_path / "absent" / "rules.toml")
    write(found, tmp_path / "rules.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rules.toml", "t.csv"]


# --- data that nobody here wrote ---


def real(path: str) -> Suggestion:
    if not (DATA / path).exists():
        pytest.skip("the real data are not beside this checkout (../shared/data)")
    return suggest(DATA / path)[0]


@pytest.mark.parametrize("path", ["r-clinical/survival_colon.csv", "r-clinical/medicaldata_indo_rct.csv", "arx-kanonymity/data/adult.csv"])
def test_real_clinical_columns_are_not_called_identifiers(path: str, tmp_path: Path) -> None:
    found = real(path)
    assert {proposal.column: direct(proposal) for proposal in found.proposals if direct(proposal)} == {}
    write([found], tmp_path / "rules.toml")
    assert pseudonymise(str(DATA / path), rules=str(tmp_path / "rules.toml"), out=str(tmp_path / "o.csv"), key=None).tables


def test_omop_columns_get_what_they_are(tmp_path: Path) -> None:
    found = real("omop-gibleed/parquet/drug_exposure.parquet")
    done = {proposal.column: proposal.treatment for proposal in found.proposals}
    assert found.person == "person_id" and done["person_id"] == '{ do = "pseudonym", of = "person" }'
    assert done["drug_exposure_start_date"] == '"shift"' and done["visit_occurrence_id"] == '{ do = "pseudonym", of = "visit" }'
    assert "pseudonym" not in done["drug_concept_id"]
    assert {proposal.column for proposal in found.proposals if direct(proposal)} == set()


def test_the_command_writes_the_rules_and_says_what_it_did(tmp_path: Path) -> None:
    source = save(tmp_path / "t.csv", {"memo": ["정상"] * 99 + ["보호자 010-1234-5678"], "n": [str(number % 4) for number in range(100)]})
    out, given = tmp_path / "rules.toml", tmp_path / "found.json"
    done = CliRunner().invoke(app, ["suggest", str(source), "--out", str(out), "--json", str(given)])
    assert done.exit_code == 0 and "telephone number in 1 of 100 rows" in done.output and "010" not in done.output
    (table,) = json.loads(given.read_text(encoding="utf-8"))["tables"]
    memo, number = table["columns"]["memo"], table["columns"]["n"]
    assert memo["treatment"] == "drop" and memo["identifiers"] == {"phone": {"rows": 1, "confidence": 0.97}}
    assert (number["filled"], number["distinct"], number["entropy"]) == (100, 4, 2.0)
    assert tomllib.loads(out.read_text(encoding="utf-8"))["columns"] == {"memo": "drop", "n": "keep"}
