"""A workspace holds what its permit names, opens with its key alone, and is gone when it is destroyed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import stat
import sys
import threading
import time
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from pumasi.analysis.frame import Frame
from pumasi.deid.keys import pseudonyms
from pumasi.deid.rulefile import load
from pumasi.kernel.errors import Invalid, NotFound, PumasiError, Tampered
from pumasi.kernel.permit import Permit, read_permit
from pumasi.node.sources import TableSource
from pumasi.node.workspace import cipher, vault
from pumasi.node.workspace.extract import extract
from pumasi.store.custody import FileCustodian, workspace_key

KEY, PSEUDONYM_KEY = bytes(range(32)), bytes(range(32, 64))
DIGEST = "ab" * 32

CSV = """no,name,birth_date,age,weight,ward,conscious,alive,seen,note
p3,MARKER-kim,1960-05-01,60,70.5,1,full,TRUE,2024-01-01,MARKER-n
p1,MARKER-lee,19710203,,NA,2.0,drowsy,false,2024/01/02,MARKER-o
p2,MARKER-park,,62,-0,3,unconscious,,NA,MARKER-p
p1,MARKER-lee,1971/02/03,61,1e2,,MARKER-asleep,False,2024-01-04,MARKER-q
p2,MARKER-park,,63,,1,,TRUE,2024-01-05,
"""


def column(kind: str, *levels: str, keep: str | None = None) -> dict[str, Any]:
    return {"is": "plain", "keep": keep, "kind": kind, "levels": list(levels), "two_valued": False}


COLUMNS: dict[str, dict[str, Any]] = {
    "birth_date": column("number", keep="year"),
    "age": column("number"),
    "weight": column("number"),
    "ward": column("number", "1", "2"),
    "conscious": column("text", "full", "drowsy", "unconscious"),
    "alive": column("boolean", "False", "True"),
    "seen": column("date"),
}


def permit(columns: dict[str, dict[str, Any]] | None = None, *, person: str = "no", tables: dict[str, Any] | None = None) -> Permit:
    return Permit.model_validate(
        {
            "case": "0" * 32, "hospital": "서울병원", "applicant": "kim@univ", "applicant_key": "A" * 43 + "=",
            "purpose": "scientific-research", "legal_basis": "pipa-28-2", "application": DIGEST,
            "tables": tables or {"patients": {"person": person, "columns": COLUMNS if columns is None else columns}},
            "kinds": ["table"], "smallest_cell": 10, "hospitals": ["서울병원"], "hospitals_at_least": 1, "release": "two-people",
            "valid_from": "2026-01-01", "valid_until": "2026-12-31",
        }
    )  # fmt: skip


def tables(folder: Path, text: str = CSV, *identifiers: str) -> dict[str, TableSource]:
    file = folder / "patients.csv"
    file.write_text(text, encoding="utf-8")
    return {"patients": TableSource(file, "no", identifiers or ("name",))}


def make(folder: Path, *, text: str = CSV, asked: Permit | None = None, key: bytes = KEY, pseudonym_key: bytes = PSEUDONYM_KEY) -> Path:
    workspace = folder / "workspace"
    extract(tables(folder, text), asked or permit(), workspace, key=key, pseudonym_key=pseudonym_key)
    return workspace


def frame(workspace: Path, *names: str, asked: Permit | None = None, key: bytes = KEY, table: str = "patients") -> Frame:
    agreed = (asked or permit()).tables[table].columns
    return vault.frame_parts(workspace, key, table=table, columns={name: agreed[name] for name in names or agreed})


def raw(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    with cipher.reading(workspace / cipher.FILE, KEY) as connection:
        return connection.execute(sql).fetchall()


def occurs(marker: bytes, folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes()]


# --- what is in it


def test_people_become_pseudonyms_and_columns_what_the_permit_says(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    people = dict(zip(["p1", "p2", "p3"], pseudonyms(["p1", "p2", "p3"], PSEUDONYM_KEY), strict=True))
    rows = sorted(raw(workspace, "SELECT * FROM w.t0"), key=str)
    assert rows == sorted(
        [
            (people["p3"], 1960.0, 60.0, 70.5, 1.0, "full", "True", "2024-01-01"),
            (people["p1"], 1971.0, None, None, 2.0, "drowsy", "False", "2024-01-02"),
            (people["p2"], None, 62.0, 0.0, 3.0, "unconscious", None, None),
            (people["p1"], 1971.0, 61.0, 100.0, None, "", "False", "2024-01-04"),
            (people["p2"], None, 63.0, None, 1.0, None, "True", "2024-01-05"),
        ],
        key=str,
    )
    stored = [row[0] for row in raw(workspace, "SELECT person FROM w.t0")]
    assert stored == sorted(stored)  # the order of the source is gone


def test_the_workspace_has_no_column_that_the_permit_does_not_name(tmp_path: Path) -> None:
    workspace = make(tmp_path, asked=permit({"age": COLUMNS["age"]}))
    assert raw(workspace, "SELECT column_name FROM duckdb_columns() WHERE database_name = 'w' AND table_name = 't0'") == [
        ("person",),
        ("c0",),
    ]
    assert raw(workspace, "SELECT * FROM w.contents") == [(0, "patients", ["age"])]
    everything = str(raw(workspace, "SELECT * FROM w.t0"))
    assert "MARKER" not in everything and "p1" not in everything
    with pytest.raises(Invalid, match="holds no column 'ward' of 'patients'"):
        frame(workspace, "ward")
    with pytest.raises(Invalid, match="holds no table 'visits'"):
        vault.frame_parts(workspace, KEY, table="visits", columns={})


def test_a_text_that_nobody_agreed_on_does_not_enter(tmp_path: Path) -> None:
    assert "asleep" not in str(raw(make(tmp_path), "SELECT * FROM w.t0"))


def test_a_frame_has_numbers_codes_and_dense_people(tmp_path: Path) -> None:
    found = frame(make(tmp_path))
    order = np.lexsort((found.columns["weight"].numbers, found.columns["age"].numbers))  # by age, the missing one last
    age, ward = found.columns["age"], found.columns["ward"]
    assert found.persons.dtype == np.int64 and sorted(set(found.persons.tolist())) == [0, 1, 2]
    persons = found.persons[order].tolist()
    assert persons[1] == persons[4] and persons[2] == persons[3] and persons[0] not in persons[1:]
    assert age.numbers is not None and age.codes is None and age.levels == ()
    np.testing.assert_array_equal(age.numbers[order], [60, 61, 62, 63, np.nan])
    assert ward.numbers is not None and ward.codes is not None and ward.codes.dtype == np.int32 and ward.levels == ("1", "2")
    np.testing.assert_array_equal(ward.numbers[order], [1, np.nan, 3, 1, 2])
    np.testing.assert_array_equal(ward.codes[order], [0, -1, -2, 0, 1])
    conscious, alive, seen, born = (found.columns[name] for name in ("conscious", "alive", "seen", "birth_date"))
    assert conscious.codes is not None and alive.codes is not None and born.numbers is not None
    np.testing.assert_array_equal(conscious.codes[order], [0, -2, 2, -1, 1])
    np.testing.assert_array_equal(alive.codes[order], [1, 0, -1, 1, 0])
    np.testing.assert_array_equal(born.numbers[order], [1960, 1971, np.nan, np.nan, 1971])
    assert conscious.numbers is None and alive.levels == ("False", "True")
    assert seen.numbers is None and seen.codes is not None
    np.testing.assert_array_equal(seen.codes[order] == -1, [False, False, True, False, False])  # whether there is a value, and no more


def test_the_columns_asked_for_are_the_columns_of_the_frame(tmp_path: Path) -> None:
    assert list(frame(make(tmp_path), "alive", "age").columns) == ["alive", "age"]


def test_names_are_no_sql_and_may_clash(tmp_path: Path) -> None:
    text = "no,person,Age,age,\"it's; DROP TABLE t0\"\n1,a,5,6,'\n2,b,7,8,'\n"
    columns = {
        "person": column("text", "a", "b"),
        "Age": column("number"),
        "age": column("number"),
        "it's; DROP TABLE t0": column("text", "'"),
    }
    asked = permit(tables={name: {"person": "no", "columns": columns} for name in ("a'b", "A'B")})
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    source = TableSource(tmp_path / "t.csv", "no", ())
    extract({"a'b": source, "A'B": source}, asked, tmp_path / "it's", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    found = frame(tmp_path / "it's", asked=asked, table="A'B")
    upper, lower, odd = (found.columns[name] for name in ("Age", "age", "it's; DROP TABLE t0"))
    assert upper.numbers is not None and lower.numbers is not None and odd.codes is not None
    assert sorted(zip(upper.numbers, lower.numbers, strict=True)) == [(5, 6), (7, 8)]
    assert odd.codes.tolist() == [0, 0]


def test_levels_that_look_missing_and_levels_in_either_spelling(tmp_path: Path) -> None:
    text = "no,drink\n1,None\n2,가끔\n3,\n4,None\n"  # the file has the composed spelling, the permit the other
    asked = permit({"drink": column("text", "None", unicodedata.normalize("NFD", "가끔"))})
    codes = (
        frame(make(tmp_path, text="name," + text.replace("\n", "\nx,").removesuffix("x,"), asked=asked), asked=asked).columns["drink"].codes
    )
    assert codes is not None and sorted(codes.tolist()) == [-1, 0, 0, 1]


def test_korean_ids_in_either_spelling_are_one_person(tmp_path: Path) -> None:
    asked = permit({"age": column("number")})
    assert frame(make(tmp_path, text="no,name,age\n가1,x,1\n가1,x,2\n 가1 ,x,3\n", asked=asked), asked=asked).persons.tolist() == [0, 0, 0]


# --- pseudonyms


def stored_people(workspace: Path) -> set[str]:
    return {row[0] for row in raw(workspace, "SELECT person FROM w.t0")}


def test_pseudonyms_are_the_same_within_a_key_and_share_nothing_between_keys(tmp_path: Path) -> None:
    made = []
    for name, key in [("a", PSEUDONYM_KEY), ("b", PSEUDONYM_KEY), ("c", bytes(32))]:
        (tmp_path / name).mkdir()
        made.append(stored_people(make(tmp_path / name, pseudonym_key=key)))
    assert made[0] == made[1] and len(made[0]) == 3
    assert not made[0] & made[2]


# --- what does not fit the permit


def test_everything_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    columns = {
        "height": column("number"), "note": column("number"), "age": column("boolean", "False", "True"),
        "weight": column("number", keep="year"), "name": column("text"),
    }  # fmt: skip
    asked = permit(tables={"patients": {"person": "id", "columns": columns}, "visits": {"person": "no", "columns": {}}})
    sources = tables(tmp_path)
    with pytest.raises(Invalid) as caught:
        extract(sources, asked, tmp_path / "workspace", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    where = f"서울병원: table 'patients' ({sources['patients'].file}): "
    wrong = "correct the file, or describe the dataset again and apply anew"
    assert caught.value.reasons == [
        f"{where}node.toml identifies people by 'no', the permit by 'id'; they must agree",
        f"{where}the column 'name' identifies people and never enters a workspace; the permit cannot be met",
        f"{where}there is no column 'height'; correct the header, or the name in node.toml and study.toml",
        f"{where}the column 'note' holds text values where the permit says number; {wrong}",
        f"{where}the column 'age' holds number values where the permit says boolean; {wrong}",
        f"{where}the column 'weight' holds number values where the permit says date; {wrong}",
        "서울병원: the permit names the table 'visits', which node.toml does not have; add it there",
    ]
    assert list((tmp_path / "workspace").iterdir()) == []


def test_the_person_column_never_enters_even_if_a_permit_names_it(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="the column 'no' identifies people"):
        make(tmp_path, asked=permit({"no": column("text")}))


def test_a_column_without_any_value_fits_every_kind(tmp_path: Path) -> None:
    asked = permit(
        {"a": column("number"), "b": column("text", "x"), "c": column("number", keep="year"), "d": column("boolean", "False", "True")}
    )
    found = frame(make(tmp_path, text="no,name,a,b,c,d\n1,x,,NA,,\n", asked=asked), asked=asked)
    assert [one.numbers is None or bool(np.isnan(one.numbers).all()) for one in found.columns.values()] == [True] * 4


# --- at rest


def test_the_file_is_described_private_and_alone(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    made = extract(tables(tmp_path), permit(), workspace, key=KEY, pseudonym_key=PSEUDONYM_KEY)
    data = (workspace / cipher.FILE).read_bytes()
    assert (made.objects, made.bytes, made.sha256) == (1, len(data), hashlib.sha256(data).hexdigest())
    assert made.tables == {"patients": list(COLUMNS)}
    assert [path.name for path in workspace.iterdir()] == [cipher.FILE]
    assert stat.S_IMODE((workspace / cipher.FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(workspace.stat().st_mode) == 0o700


def test_nothing_readable_lies_in_the_folder(tmp_path: Path) -> None:
    asked = permit({**COLUMNS, "note": column("text")})
    workspace = make(tmp_path, asked=asked)
    assert "MARKER-n" in str(raw(workspace, "SELECT * FROM w.t0"))  # it is in there
    for word in (b"MARKER", b"patients", b"conscious", b"unconscious", KEY, KEY.hex().encode(), PSEUDONYM_KEY):
        assert occurs(word, workspace) == []


def test_a_large_extract_in_little_memory_spills_nothing_readable(tmp_path: Path) -> None:
    file, workspace = tmp_path / "patients.csv", tmp_path / "workspace"
    rows = 250_000
    note = "MARKER-" + "n" * 300
    file.write_text(
        "no,name,note\n" + "".join(f"p{place},MARKER-{place},{note}{place * 7919 % rows}\n" for place in range(rows)), encoding="utf-8"
    )
    found: list[str] = []
    spilt = threading.Event()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for path in workspace.rglob("*"):
                try:
                    data = path.read_bytes() if path.is_file() else b""
                except FileNotFoundError:
                    continue
                if "spill" in str(path) and len(data) > 1_000_000:
                    spilt.set()
                if b"MARKER" in data:
                    found.append(path.name)
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sources = {"patients": TableSource(file, "no", ("name",))}
        extract(sources, permit({"note": column("text")}), workspace, key=KEY, pseudonym_key=PSEUDONYM_KEY, memory_mb=160)
    finally:
        over.set()
        watcher.join()
    assert spilt.is_set(), "nothing was spilt: the test proves nothing"
    assert found == [] and [path.name for path in workspace.iterdir()] == [cipher.FILE]
    assert raw(workspace, "SELECT count(*), count(DISTINCT person), max(length(c0)) FROM w.t0") == [(rows, rows, len(note) + 6)]


def test_too_little_memory_is_a_sentence_without_values_and_leaves_nothing(tmp_path: Path) -> None:
    text = "no,name,note\n" + "".join(f"p{place},x,MARKER-{'n' * 3000}{place}\n" for place in range(3000))
    with pytest.raises(PumasiError, match=r"the workspace could not be written \(OutOfMemoryException\); see that disk") as caught:
        extract(tables(tmp_path, text), permit({"note": column("text")}), tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY, memory_mb=1)
    assert "MARKER" not in str(caught.value) and list((tmp_path / "w").iterdir()) == []


def test_what_a_killed_extract_left_is_swept_and_no_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / ".new-0123-spill").mkdir(parents=True)
    for name in (".new-0123", ".new-0123.wal", ".new-0123-spill/duckdb_temp_storage.tmp"):
        (workspace / name).write_bytes(b"half")
    with pytest.raises(NotFound, match="there is no workspace"):
        frame(workspace)
    make(tmp_path)
    assert [path.name for path in workspace.iterdir()] == [cipher.FILE]


def test_a_second_extract_replaces_the_first_and_a_failed_one_does_not(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    make(tmp_path, text="no,name,age\n1,x,5\n", asked=permit({"age": COLUMNS["age"]}))
    before = (workspace / cipher.FILE).read_bytes()
    assert frame(workspace, "age").rows == 1
    with pytest.raises(Invalid):
        make(tmp_path, text="no,name\n1,x\n")
    assert (workspace / cipher.FILE).read_bytes() == before


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    with pytest.raises(Tampered, match="the key is not its key, or its bytes were changed"):
        frame(workspace, key=bytes(32))


def test_a_flipped_bit_is_noticed_or_without_effect(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    file = workspace / cipher.FILE
    data, whole = file.read_bytes(), frame(workspace)
    random.seed(1)
    places = [*range(0, 20_000, 523), *(random.randrange(len(data)) for _ in range(40))]
    noticed = 0
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 0x10
        file.write_bytes(changed)
        try:
            found = frame(workspace)
        except Tampered:
            noticed += 1
            continue
        np.testing.assert_array_equal(found.persons, whole.persons)
        for name, one in whole.columns.items():
            np.testing.assert_array_equal(found.columns[name].numbers, one.numbers)
            np.testing.assert_array_equal(found.columns[name].codes, one.codes)
    assert noticed >= 10


@pytest.mark.parametrize("left", [0, 100, 5000, 20_000])
def test_a_file_that_was_cut_is_tampered(left: int, tmp_path: Path) -> None:
    workspace = make(tmp_path)
    file = workspace / cipher.FILE
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(Tampered):
        frame(workspace)


def test_a_reader_can_open_nothing_else(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    for sql in (f"SELECT * FROM read_csv('{tmp_path / 'patients.csv'}')", "SET memory_limit = '1GB'", "CREATE TABLE w.x (a INT)"):
        with pytest.raises(Tampered):
            raw(workspace, sql)


# --- gone


def held(folder: Path) -> tuple[Path, FileCustodian, bytes]:
    """A workspace under a key of two shares, as a node keeps it."""
    custodian = FileCustodian.create(folder / "hospital.key")
    key = workspace_key(custodian.evaluate(b"workspace"), b"c" * 32, DIGEST)
    return make(folder, key=key), custodian, key


def test_destruction_states_what_was_there_and_that_nothing_is_left(tmp_path: Path) -> None:
    workspace, custodian, _ = held(tmp_path)
    size = (workspace / cipher.FILE).stat().st_size
    gone = vault.destroy(workspace, custodian)
    assert (gone.objects, gone.bytes, gone.attempts, gone.failures, gone.residual) == (1, size, 8, 8, 0)
    assert custodian.method in gone.method and "AES-256-GCM" in gone.algorithm
    assert not workspace.exists() and not (tmp_path / "hospital.key").exists()
    assert len(gone.method) <= 300 and gone.method.isprintable()
    assert vault.destroy(workspace, custodian) == gone  # and again, with the same facts


def test_a_restored_copy_cannot_be_opened_after_destruction(tmp_path: Path) -> None:
    workspace, custodian, key = held(tmp_path)
    backup = tmp_path / "backup"
    shutil.copytree(workspace, backup)
    assert frame(backup, key=key).rows == 5
    vault.destroy(workspace, custodian)
    shutil.copytree(backup, workspace)
    with pytest.raises(NotFound, match="the key was destroyed"):
        custodian.evaluate(b"workspace")
    for share in (b"", bytes(32), b"h" * 32):
        with pytest.raises((Tampered, ValueError)):
            frame(workspace, key=workspace_key(share, b"c" * 32, DIGEST))


def test_files_are_overwritten_before_they_are_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    workspace, custodian, _ = held(tmp_path)
    outside = tmp_path / "outside.txt"
    outside.write_text("keep me", encoding="utf-8")
    (workspace / "link").symlink_to(outside)
    (workspace / "folder").symlink_to(tmp_path)
    (workspace / ".new-1-spill").mkdir()
    (workspace / ".new-1-spill" / "tmp").write_bytes(b"half")
    os.link(workspace / cipher.FILE, tmp_path / "second name")
    gone = vault.destroy(workspace, custodian)
    assert gone.residual == 0 and gone.objects == 1 and not workspace.exists()
    assert set((tmp_path / "second name").read_bytes()) == {0}
    assert outside.read_text(encoding="utf-8") == "keep me"


class Interrupted(Exception):
    """The process ends here."""


class Stops(FileCustodian):
    """A custodian whose process is killed before or after it destroyed the key."""

    def __init__(self, path: Path, *, before: bool) -> None:
        super().__init__(path)
        self._before = before

    def destroy(self) -> None:
        if not self._before:
            super().destroy()
        raise Interrupted


@pytest.mark.parametrize("before", [True, False], ids=["before the key", "after the key"])
def test_an_interrupted_destruction_is_finished_by_the_next_call(before: bool, tmp_path: Path) -> None:
    workspace, custodian, _ = held(tmp_path)
    size = (workspace / cipher.FILE).stat().st_size
    with pytest.raises(Interrupted):
        vault.destroy(workspace, Stops(tmp_path / "hospital.key", before=before))
    gone = vault.destroy(workspace, custodian)
    assert (gone.objects, gone.bytes, gone.failures, gone.residual) == (1, size, 8, 0)
    assert not workspace.exists()


def test_a_destruction_that_was_stopped_among_the_files_is_finished(tmp_path: Path) -> None:
    workspace, custodian, _ = held(tmp_path)
    (workspace / "more").mkdir()
    (workspace / "more" / "stuck").mkdir()
    size = (workspace / cipher.FILE).stat().st_size
    with pytest.raises(Interrupted):
        vault.destroy(workspace, Stops(tmp_path / "hospital.key", before=False))
    (workspace / cipher.FILE).unlink()  # this far it had come
    gone = vault.destroy(workspace, custodian)
    assert (gone.objects, gone.bytes, gone.attempts, gone.failures, gone.residual) == (1, size, 8, 8, 0)


class Keeps(FileCustodian):
    """A custodian that says it destroyed its key and did not."""

    def destroy(self) -> None:
        return


def test_a_custodian_that_still_answers_shows_in_the_facts(tmp_path: Path) -> None:
    workspace, _, _ = held(tmp_path)
    assert vault.destroy(workspace, Keeps(tmp_path / "hospital.key")).failures == 0


def test_pandas_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert frame(make(tmp_path)).rows == 5


def test_duckdb_keeps_no_message_with_the_key(tmp_path: Path) -> None:
    workspace = make(tmp_path)
    shown = str(raw(workspace, "SELECT * FROM duckdb_settings()")) + str(raw(workspace, "SELECT * FROM duckdb_databases()"))
    assert KEY.hex() not in shown
    assert duckdb.__version__.startswith("1.5")  # what it was checked on


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ('[columns]\nage = { do = "age", width = 5 }\n', "would show more"),
        ('[columns]\nage = "drop"\n', "would show more"),
        ("", "know nothing of the column 'age'"),
        ('[columns]\nage = "keep"\n', None),
    ],
)
def test_a_permit_never_shows_more_than_the_rules_of_the_hospital(tmp_path: Path, rules: str, told: str | None) -> None:
    (tmp_path / "rules.toml").write_text(rules)
    source = tables(tmp_path)["patients"]
    ruled = {"patients": TableSource(source.file, source.person, source.identifiers, load(tmp_path / "rules.toml"))}
    asked = permit({"age": column("number")})
    if told is None:
        assert list(extract(ruled, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY).tables["patients"]) == ["age"]
        return
    with pytest.raises(Invalid, match=told):
        extract(ruled, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    assert not list((tmp_path / "w").glob("*"))


# --- treated as rules say


def treated(kind: str, treat: str, *levels: str) -> dict[str, Any]:
    return {"is": "plain", "treat": treat, "kind": kind, "levels": list(levels), "two_valued": False}


VISITS = """no,visit,came,left,born,address,icd,weight
p1,V1,2024-01-01,2024-01-11,1930-02-01,서울 종로구 1,C50.1,61
p1,V2,2024-02-01,2024-02-02,1930-02-01,서울 종로구 1,B20,62
p2,V3,2024-03-01,2024-03-08,1990-07-09,부산광역시 해운대구 2,I10,70
p3,V3,9999-12-31,,2001-01-01,,,
"""
RULES = """\
[columns]
visit = { do = "pseudonym", of = "visit" }
came = "shift"
left = "shift"
born = { do = "date", to = "year" }
address = { do = "generalise", by = "kr-address", level = "district" }
icd = { do = "withhold", codes = ["B20"] }
weight = "keep"
"""
TREATED = {
    "visit": treated("text", '{ do = "pseudonym", of = "visit" }'),
    "came": treated("date", '"shift"'),
    "left": treated("date", '"shift"'),
    "born": column("number", keep="year"),
    "address": treated("text", '{ do = "generalise", by = "kr-address", level = "province" }', "서울특별시", "부산광역시"),
    "icd": treated("text", '[{ do = "withhold", codes = ["B20"] }, { do = "generalise", by = "icd10", level = "category" }]', "C50"),
    "weight": treated("number", '{ do = "round", to = 10 }'),
}  # fmt: skip


def ruled(folder: Path, rules: str = RULES) -> dict[str, TableSource]:
    (folder / "visits.csv").write_text(VISITS, encoding="utf-8")
    (folder / "rules.toml").write_text(rules, encoding="utf-8")
    return {"visits": TableSource(folder / "visits.csv", "no", (), load(folder / "rules.toml"))}


def naming(sources: dict[str, TableSource], columns: dict[str, dict[str, Any]] = TREATED) -> Permit:
    """A permit that names the rules of these tables."""
    plain = permit(tables={"visits": {"person": "no", "columns": columns}}).plain()
    named = {name: {"name": source.rules.name, "sha256": source.rules.digest} for name, source in sources.items() if source.rules}
    return read_permit(plain | {"version": 2, "rules": named})


def rows(folder: Path, sources: dict[str, TableSource], asked: Permit, *, pseudonym_key: bytes = PSEUDONYM_KEY) -> list[tuple[Any, ...]]:
    extract(sources, asked, folder, key=KEY, pseudonym_key=pseudonym_key)
    return sorted(raw(folder, "SELECT * FROM w.t0"), key=str)


def test_columns_are_treated_as_the_permit_says(tmp_path: Path) -> None:
    sources = ruled(tmp_path)
    found = rows(tmp_path / "w", sources, naming(sources))
    people = dict(zip(pseudonyms(["p1", "p2", "p3"], PSEUDONYM_KEY), ["p1", "p2", "p3"], strict=True))
    by_person: dict[str, list[tuple[Any, ...]]] = {}
    for row in found:
        by_person.setdefault(people[row[0]], []).append(row[1:])
    visits = {name: {row[0] for row in mine} for name, mine in by_person.items()}
    assert len(visits["p1"]) == 2 and visits["p2"] == visits["p3"] and all(len(one) == 32 for mine in visits.values() for one in mine)
    days = {
        name: sorted((date.fromisoformat(row[1]), date.fromisoformat(row[2])) for row in mine if row[2]) for name, mine in by_person.items()
    }
    (one, two), (three,) = days["p1"], days["p2"]
    assert (one[1] - one[0]).days == 10 and (two[0] - one[0]).days == 31 and (three[1] - three[0]).days == 7
    assert one[0] != date(2024, 1, 1) and three[0] != date(2024, 3, 1)
    assert [row[1:] for row in by_person["p3"]] == [("9999-12-31", None, 2001.0, None, None, None)]
    assert sorted((row[3:] for row in by_person["p1"]), key=str) == [
        (1930.0, "서울특별시", "C50", 60.0), (1930.0, "서울특별시", None, 60.0),
    ]  # fmt: skip
    assert by_person["p2"][0][3:] == (1990.0, "부산광역시", "", 70.0)  # I10 is a level that nobody agreed on
    assert not {"V1", "V2", "V3"} & {cell for row in found for cell in row}


def test_two_permits_of_one_table_share_no_pseudonym_and_no_date(tmp_path: Path) -> None:
    sources = ruled(tmp_path)
    one, again = (rows(tmp_path / f"{name}", sources, naming(sources)) for name in "ab")
    other = rows(tmp_path / "c", sources, naming(sources), pseudonym_key=bytes(32))
    assert one == again
    assert not {cell for row in one for cell in row[:4]} & {cell for row in other for cell in row[:4]} - {None, "9999-12-31"}


def test_a_permit_falls_with_the_rules_that_it_names(tmp_path: Path) -> None:
    asked = naming(ruled(tmp_path))
    changed = ruled(tmp_path, RULES.replace('"keep"', '{ do = "round", to = 5 }'))  # tighter or not: it is not what was signed
    with pytest.raises(Invalid, match="the permit names the rules 'rules' as they were when the table was described"):
        extract(changed, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    without = {"visits": TableSource(tmp_path / "visits.csv", "no", ())}
    with pytest.raises(Invalid, match=r"node\.toml has others now"):
        extract(without, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"born": treated("text", '{ do = "date", to = "month" }')}, r"say \{ do = \"date\", to = \"year\" \} for the column 'born'"),
        ({"icd": treated("text", '{ do = "generalise", by = "icd10", level = "category" }')}, "withhold"),
        ({"visit": column("text")}, "pseudonym"),
        ({"came": column("date")}, "shift"),
        ({"came": treated("text", '{ do = "date", to = "month" }')}, "shift"),  # the month is another thing than a moved day
        ({"weight": treated("text", '"pseudonym"')}, "needs 'of'"),
        ({"weight": treated("text", "} nonsense")}, "is not written as in a rule file"),
        ({"weight": treated("number", '{do="round",to=10}')}, "not in its one spelling"),
        ({"icd": treated("number", '[{ do = "withhold", codes = ["B20"] }, { do = "round", to = 5 }]')}, "no numbers"),
    ],
)
def test_no_treatment_shows_more_than_the_rules(tmp_path: Path, columns: dict[str, dict[str, Any]], told: str) -> None:
    sources = ruled(tmp_path)
    with pytest.raises(Invalid, match=told):
        extract(sources, naming(sources, columns), tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    assert not list((tmp_path / "w").glob("*"))


def test_a_hospitals_own_hierarchy_is_climbed_as_far_as_a_permit_says(tmp_path: Path) -> None:
    (tmp_path / "weights.csv").write_text("61;61-62;60;*\n62;61-62;60;*\n70;70-71;70;*\n")
    sources = ruled(tmp_path, RULES.replace('weight = "keep"', 'weight = { do = "generalise", by = "weights.csv", level = 2 }'))
    rules = sources["visits"].rules
    assert rules is not None
    (name,) = rules.hierarchies.values()
    for level, expected in ((2, ["60", "60", "70", None]), (3, ["*", "*", "*", None])):
        columns = {"weight": treated("text", f'{{ do = "generalise", by = "{name}", level = {level} }}', "60", "70", "*")}
        found = rows(tmp_path / f"w{level}", sources, naming(sources, columns))
        assert sorted((row[1] for row in found), key=str) == sorted(expected, key=str)
    finer = {"weight": treated("text", f'{{ do = "generalise", by = "{name}", level = 1 }}')}
    with pytest.raises(Invalid, match="would show more"):
        extract(sources, naming(sources, finer), tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    other = {"weight": treated("text", f'{{ do = "generalise", by = "sha256-{"0" * 64}.csv", level = 2 }}')}
    with pytest.raises(Invalid, match="no such hierarchy for the column 'weight'"):
        extract(sources, naming(sources, other), tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)


def test_a_permit_opens_no_file_that_the_rules_do_not_name(tmp_path: Path) -> None:
    """A permit that names a path, or what some file of the hospital holds, must not make the node read it."""
    (tmp_path / "secret.csv").write_text("61;read\n62;read\n70;read\n")
    content = f"sha256-{hashlib.sha256((tmp_path / 'secret.csv').read_bytes()).hexdigest()}.csv"
    for sources in (ruled(tmp_path), {"visits": TableSource(tmp_path / "visits.csv", "no", ())}):
        for by in (content, str(tmp_path / "secret.csv"), "secret.csv"):
            columns = {"weight": treated("text", f'{{ do = "generalise", by = "{by}", level = 1 }}', "read")}
            without = permit(tables={"visits": {"person": "no", "columns": columns}})
            asked = naming(sources, columns) if sources["visits"].rules else without
            with pytest.raises(Invalid, match=r"no (such )?hierarchy"):
                extract(sources, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)


def test_a_treated_table_lies_in_no_file_while_it_is_made(tmp_path: Path) -> None:
    """The treated copy holds original ids: it must lie in memory, under no name."""
    sources = ruled(tmp_path)
    (tmp_path / "visits.csv").write_text(VISITS.replace("p1", "MARKER-p1"), encoding="utf-8")
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with contextlib.suppress(FileNotFoundError):  # it comes and goes
                seen.update(occurs(b"MARKER-p1", tmp_path / "w"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(5):
        extract(sources, naming(sources), tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
    stop.set()
    watcher.join()
    assert not seen


def test_names_that_differ_by_case_alone_are_told_apart_or_refused(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text("no,Weight,weight\np1,61,62\n")
    source = {"visits": TableSource(tmp_path / "visits.csv", "no", ())}
    asked = permit(tables={"visits": {"person": "no", "columns": {"weight": treated("number", '{ do = "round", to = 10 }')}}})
    with pytest.raises(Invalid, match="upper and lower case"):
        extract(source, asked, tmp_path / "w", key=KEY, pseudonym_key=PSEUDONYM_KEY)
