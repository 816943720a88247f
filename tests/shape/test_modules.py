"""The shape of the source: what architecture and style promise about every module, checked on the text itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "pumasi"
MODULES = sorted(SOURCE.rglob("*.py"))

LONGEST = 400
LONGER = {"ledger/verify.py": 1600}  # the length a module may have, when splitting it would tear one thing apart

# The two loops that answer or log whatever happened, so that one request or job cannot stop a process.
MAY_CATCH_EVERYTHING = {"hub/app.py", "node/agent.py"}


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names of all imports, wherever they stand; a relative import counts as pumasi."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "pumasi" if node.level else (node.module or "").partition(".")[0]


def broad_handlers(tree: ast.AST) -> list[int]:
    """The lines of handlers that catch everything: bare, or naming Exception or BaseException, alone or in a tuple."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in caught):
                found.append(node.lineno)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def test_the_verifier_is_readable_alone() -> None:
    allowed = sys.stdlib_module_names | {"cryptography"}
    assert set(imported(parse(SOURCE / "ledger" / "verify.py"))) <= allowed


def test_the_verifier_imports_nothing_by_other_means() -> None:
    used = {node.id for node in ast.walk(parse(SOURCE / "ledger" / "verify.py")) if isinstance(node, ast.Name)}
    assert not used & {"__import__", "importlib", "exec", "eval", "runpy"}


def test_the_kernel_stays_small_enough_to_read() -> None:
    assert sum(lines(path) for path in MODULES if name(path).startswith("kernel/")) <= 2500


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_are_short(path: Path) -> None:
    assert lines(path) <= LONGER.get(name(path), LONGEST), "split the module by noun, or list it in LONGER with a reason"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_say_what_they_promise(path: Path) -> None:
    docstring = ast.get_docstring(parse(path))
    assert docstring, "a module begins with a docstring: its promise and its limits"
    assert len(docstring.splitlines()) <= 8


@pytest.mark.parametrize("path", [path for path in MODULES if name(path) not in MAY_CATCH_EVERYTHING], ids=name)
def test_nothing_is_caught_broadly(path: Path) -> None:
    assert broad_handlers(parse(path)) == [], "name the errors that are expected here"


def test_every_exception_to_a_rule_is_still_needed() -> None:
    known = {name(path): path for path in MODULES}
    for module, allowed in LONGER.items():
        assert LONGEST < lines(known[module]) <= allowed


def test_the_checks_see_what_they_look_for() -> None:
    tree = ast.parse("def f():\n from . import x\n import a.b\n try: pass\n except (ValueError, Exception): pass\n except: pass")
    assert set(imported(tree)) == {"pumasi", "a"}
    assert broad_handlers(tree) == [5, 6]
