"""What the stories share: kept demos, started once for all tests that only use them, and ended for sure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumasi.demo import hospitals as generated
from tests.story import harness


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.story)
            if shutil.which("bwrap") is None:
                item.add_marker(pytest.mark.skip(reason="stories run jobs in the sandbox, which needs bubblewrap (bwrap)"))


# With fewer people, or others, the model may not be asked next to the description: too few lack a value (see the how-to on that).
def _kept(folder: Path, *, hospitals: int, people: int, seed: int) -> Iterator[harness.Kept]:
    data = folder / "data"
    generated.write(data, hospitals=hospitals, people=people, seed=seed)
    system = harness.keep(folder, data)
    try:
        assert system.code == 0, system.said
        yield system
    finally:
        system.stop()
    assert harness.marked(system.mark) == [], "pumasi demo-stop left processes behind"
    assert not list((folder / "tmp").iterdir()), "pumasi demo-stop left folders behind"


@pytest.fixture(scope="package")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Kept]:
    """Five hospitals, kept; nobody kills anything here."""
    yield from _kept(tmp_path_factory.mktemp("kept"), hospitals=5, people=540, seed=14)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Kept]:
    """Four hospitals, kept, so that three are a quorum."""
    yield from _kept(tmp_path_factory.mktemp("four"), hospitals=4, people=300, seed=6)


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Kept]:
    """Three hospitals, kept, for whoever wants to break them."""
    yield from _kept(tmp_path_factory.mktemp("fragile"), hospitals=3, people=300, seed=3)
