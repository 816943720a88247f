"""Which tests one worker runs, where several run them, and which of them count as tests of a branch."""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent
TOGETHER = ("story", "browser", "torture", "sandbox")  # folders whose tests share something large, or need quiet among themselves
FIRST = ("story", "browser", "torture", "property")  # the long ones; chance decides what they reach, so nothing counts as covered by them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = {item: item.path.relative_to(TESTS).parts[0] for item in items}
    items.sort(key=lambda item: FIRST.index(folders[item]) if folders[item] in FIRST else len(FIRST))
    for item, folder in folders.items():
        if folder in FIRST:
            item.add_marker(pytest.mark.no_cover)


class Together(LoadScopeScheduling):
    """The tests of a file, or of one of those folders, go to one worker, one after the other."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.removeprefix("tests/").partition("/")[0]
        return folder if folder in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)
