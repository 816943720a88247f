"""node.toml and hub.toml: written at their safest, read strictly, wrong ones named by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumasi.hub import cli as hub_cli
from pumasi.hub import settings as hub_settings
from pumasi.kernel.errors import Invalid
from pumasi.node import settings as node_settings
from pumasi.node.app import table_sources


def node_home(folder: Path, *, name: str = "들꽃 병원") -> Path:
    node_settings.write(folder, name=name, kind="hospital", hub="https://localhost:8443", smallest_cell=10)
    return folder


def hub_home(folder: Path) -> Path:
    hub_cli.init(folder / "hub", name="조정기관", origin="log.example/a", host="127.0.0.1", port=8443)
    return folder / "hub"


HOMES: list[tuple[Callable[[Path], Path], str, Callable[[Path], Any]]] = [
    (node_home, "node.toml", node_settings.load),
    (hub_home, "hub.toml", hub_settings.load),
]


def test_a_new_node_is_set_to_its_safest(tmp_path: Path) -> None:
    found = node_settings.load(node_home(tmp_path))
    assert (found.name, found.kind, found.hub, found.smallest_cell) == ("들꽃 병원", "hospital", "https://localhost:8443", 10)
    assert (found.automatic_release, found.hospitals_at_least, found.permit_days, found.tables) == (False, 0, 180, {})


@pytest.mark.parametrize("name", ['a "quoted" name', "{braces}", "백병원", "it's", "a\\b", "#1"])
def test_a_name_is_read_back_as_it_was_given(tmp_path: Path, name: str) -> None:
    if "\\" in name:
        with pytest.raises(Invalid, match="name"):
            node_settings.load(node_home(tmp_path, name=name))
    else:
        assert node_settings.load(node_home(tmp_path, name=name)).name == name


def test_a_hubs_address_is_made_from_its_settings(tmp_path: Path) -> None:
    found = hub_settings.load(hub_home(tmp_path))
    assert (found.name, found.origin, found.url) == ("조정기관", "log.example/a", "https://127.0.0.1:8443")


@pytest.mark.parametrize(("make", "file", "load"), HOMES)
def test_a_folder_without_settings_is_none_and_says_how_to_make_one(tmp_path: Path, make: Any, file: str, load: Any) -> None:
    with pytest.raises(Invalid, match=f"it has no {file}; make one with"):
        load(tmp_path)


@pytest.mark.parametrize(("make", "file", "load"), HOMES)
@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"colour = 1\n", "colour"),
        (b"name = \n", "not valid TOML"),
        (b"\xff\xfe", "UTF-8"),
        ("name = '병원'\n".encode("cp949"), "UTF-8"),
        (b"", "name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(
    tmp_path: Path, make: Any, file: str, load: Any, data: bytes, told: str
) -> None:
    home = make(tmp_path)
    (home / file).write_bytes(data)
    with pytest.raises(Invalid) as invalid:
        load(home)
    assert any(told in reason for reason in invalid.value.reasons)
    assert all(file in reason for reason in invalid.value.reasons)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("smallest_cell = 0", "smallest_cell"),
        ('smallest_cell = "10"', "smallest_cell"),
        ("automatic_release = 1", "automatic_release"),
        ("hospitals_at_least = -1", "hospitals_at_least"),
        ("permit_days = 0", "permit_days"),
        ("permit_days = 40000", "permit_days"),
        ('legal_basis = "because"', "legal_basis"),
        ("patience_seconds = 0", "patience_seconds"),
        ('patience_seconds = "long"', "patience_seconds"),
        ('name = "a|b"', "name"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_its_key(tmp_path: Path, line: str, key: str) -> None:
    home = node_home(tmp_path)
    text = (home / "node.toml").read_text(encoding="utf-8")
    (old,) = [one for one in text.splitlines() if one.startswith(f"{key} =")]
    (home / "node.toml").write_text(text.replace(old, line), encoding="utf-8")
    with pytest.raises(Invalid, match=key):
        node_settings.load(home)


def test_tables_are_sections_with_a_file_a_person_and_identifiers(tmp_path: Path) -> None:
    home = node_home(tmp_path)
    with (home / "node.toml").open("a", encoding="utf-8") as file:
        file.write('[tables.patients]\nfile = "data/환자.csv"\nperson = "no"\nidentifiers = ["name"]\n')
        file.write('[tables.visits]\nfile = "/secure/visits.parquet"\nperson = "no"\n')
    sources = table_sources(home, node_settings.load(home))
    assert sources["patients"].file == home / "data/환자.csv" and sources["patients"].identifiers == ("name",)
    assert sources["visits"].file == Path("/secure/visits.parquet") and sources["visits"].identifiers == ()
    with (home / "node.toml").open("a", encoding="utf-8") as file:
        file.write("colour = 1\n")
    with pytest.raises(Invalid, match=r"tables\.visits\.colour"):
        node_settings.load(home)


@pytest.mark.parametrize("line", ["port = 0", "port = 70000", "batch_seconds = -1", "batch_seconds = nan", 'name = "a@b"'])
def test_a_hubs_value_that_does_not_fit_is_named_by_its_key(tmp_path: Path, line: str) -> None:
    home = hub_home(tmp_path)
    key = line.partition(" ")[0]
    text = (home / "hub.toml").read_text(encoding="utf-8")
    (old,) = [one for one in text.splitlines() if one.startswith(f"{key} =")]
    (home / "hub.toml").write_text(text.replace(old, line), encoding="utf-8")
    with pytest.raises(Invalid, match=key):
        hub_settings.load(home)


def test_a_policy_that_one_liar_could_meet_is_refused_with_what_to_write(tmp_path: Path) -> None:
    home = hub_home(tmp_path)
    assert hub_settings.load(home).policy_text(home) is None
    file = home / "hub.toml"
    file.write_text(file.read_text(encoding="utf-8").replace('policy = "two-thirds"', 'policy = "majority"'), encoding="utf-8")
    with pytest.raises(Invalid, match='write policy = "two-thirds"'):
        hub_settings.load(home).policy_text(home)
