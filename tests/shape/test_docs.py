"""Pages say what is there: every named file, function, test, class, command and link exists, and generated pages are up to date."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

import pumasi.kernel
from pumasi.cli import app
from pumasi.kernel.actor import MAY

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
STEP = re.compile(r"^(\d+)\. `(src/[^`]+)` · (.+?) — (.+?)(?=^\d+\. |^[A-Z]|\Z)", flags=re.MULTILINE | re.DOTALL)


def text(page: Path | str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@cache
def defined(path: Path) -> frozenset[str]:
    """Every class and function of a file, however deep."""
    kinds = ast.ClassDef | ast.FunctionDef
    return frozenset(node.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds))


# --- roads through the code ---


@pytest.mark.parametrize("page", ["follow-a-permit", "follow-a-dataset"])
def test_a_road_through_the_code_is_there_and_leads_on(page: str) -> None:
    steps = STEP.findall(text(f"docs/explanation/{page}.md"))
    assert [int(number) for number, *_ in steps] == list(range(1, 9))
    paths = [ROOT / path for _, path, _, _ in steps]
    assert len(set(paths)) == len(paths), "a road never comes back to a file"
    for (_, path, names, words), here, there in zip(steps, paths, [*paths[1:], None], strict=True):
        missing = set(re.findall(r"`(\w+)`", names)) - defined(here)
        assert not missing, f"{path} defines no {missing}"
        handed = re.findall(r"Hands\s+on\s+`(\w+)`", words)
        assert len(handed) == (there is not None), f"{path} hands on one word, the last file none"
        for word, file in [(word, file) for word in handed for file in (here, there)]:
            assert file is not None and re.search(rf"\b{word}\b", file.read_text(encoding="utf-8")), f"'{word}' is not in {file}"


# --- decisions ---


def test_decisions_are_numbered_once_and_without_gaps() -> None:
    pages = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    assert all(text(page).startswith(f"# {int(page.name[:4])}. ") for page in pages)


# --- security properties ---

PROPERTIES = re.findall(r"^## (\d+)\. (.+?)\n(.+?)(?=^#|\Z)", text("SECURITY-PROPERTIES.md"), flags=re.MULTILINE | re.DOTALL)


def test_the_ten_properties_of_the_design_come_first() -> None:
    assert [int(number) for number, *_ in PROPERTIES] == list(range(1, len(PROPERTIES) + 1))
    assert len(PROPERTIES) >= 10


@pytest.mark.parametrize(("title", "body"), [(title, body) for _, title, body in PROPERTIES])
def test_a_property_names_its_files_tests_and_limit(title: str, body: str) -> None:
    parts = dict(re.findall(r"^\*\*(Promise\.|Carried by|Tested by|Limit\.)\*\* (.+)$", body, flags=re.MULTILINE))
    assert parts.keys() == {"Promise.", "Carried by", "Tested by", "Limit."}
    files = re.findall(r"`([^`]+\.(?:py|toml))`", parts["Carried by"])
    assert files and all((ROOT / file).is_file() for file in files), files
    tests = re.findall(r"`(tests/[^`:]+\.py)::(\w+)`", parts["Tested by"])
    assert tests and len(tests) == parts["Tested by"].count("::")
    for file, name in tests:
        assert (ROOT / file).is_file() and name in defined(ROOT / file), f"{file}::{name}"


def test_contracts_that_a_property_names_are_there() -> None:
    settings = text("pyproject.toml")
    for _, _, body in PROPERTIES:
        for carried in re.findall(r"^\*\*Carried by\*\* (.+)$", body, flags=re.MULTILINE):
            assert [name for name in re.findall(r'"([^"]+)"', carried) if f'name = "{name}' not in settings] == []


# --- words ---


def kernel_modules() -> list[ModuleType]:
    folder = Path(inspect.getfile(pumasi.kernel)).parent
    return [import_module(f"pumasi.kernel.{path.stem}") for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]


def test_the_glossary_knows_every_class_of_the_kernel() -> None:
    classes = {
        name
        for module in kernel_modules()
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert len(classes) > 40
    assert sorted(name for name in classes if f"`{name}`" not in text("GLOSSARY.md")) == []


def test_the_glossary_has_a_row_for_every_event() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", text("GLOSSARY.md").rpartition("| event")[2], flags=re.MULTILINE)
    assert rows == list(MAY)


# --- references ---


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The generated pages, written in a process of their own, because making them reads settings, routes and commands as a user would."""
    code = "import json, runpy; p = runpy.run_path('docs/generate.py')['PAGES']; print(json.dumps({n: f() for n, f in p.items()}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_generated_pages_are_up_to_date(pages: dict[str, str]) -> None:
    assert len(pages) >= 5
    assert [name for name, page in pages.items() if text(f"docs/reference/{name}") != page] == [], (
        "write them anew: python docs/generate.py"
    )


def test_the_outcome_page_has_the_keys_of_the_code() -> None:
    tree = ast.parse(text("src/pumasi/client/outcome.py"))
    describe = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "describe")
    returned = next(node.value for node in describe.body if isinstance(node, ast.Return))
    assert isinstance(returned, ast.Dict)
    keys = [key.value for key in returned.keys if isinstance(key, ast.Constant)]
    page = text("docs/reference/outcome-json.md").partition("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == keys


# --- links and commands ---


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def leaves(command: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    found: dict[tuple[str, ...], object] = {}
    for name, child in getattr(command, "commands", {}).items():
        found |= leaves(child, (*path, name)) if hasattr(child, "commands") else {(*path, name): child}
    return found


COMMANDS = leaves(typer.main.get_command(app))
WRITTEN = re.compile(r"(?:^|`|\$ |run )pumasi ((?:[a-z-]+ ?)+)([^`\n#]*)", flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_pages_exist_with_their_options(page: Path) -> None:
    for words, rest in WRITTEN.findall(page.read_text(encoding="utf-8")):
        path = tuple(words.split())
        known = next((path[:depth] for depth in (3, 2, 1) if path[:depth] in COMMANDS), None)
        assert known, f"there is no command `pumasi {words.strip()}`"
        options = {name for parameter in COMMANDS[known].params for name in [*parameter.opts, *parameter.secondary_opts]}  # type: ignore[attr-defined]
        unknown = set(re.findall(r"(?<=\s)--[a-z-]+|^--[a-z-]+", f"{' '.join(path[len(known) :])} {rest}")) - options
        assert not unknown, f"`pumasi {' '.join(known)}` has no {unknown}"


def test_the_map_of_the_tree_names_every_package() -> None:
    packages = {path.name for path in (ROOT / "src" / "pumasi").iterdir() if (path / "__init__.py").is_file()}
    assert sorted(name for name in packages if f"`src/pumasi/{name}/`" not in text("README.md")) == []
