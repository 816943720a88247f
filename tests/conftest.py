"""Which tests one worker runs, where several run them, and which of them count as tests of a branch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent
TOGETHER = ("story", "browser", "torture", "sandbox")  # folders whose tests share something large, or need quiet among themselves
FIRST = ("story", "browser", "torture", "property")  # the long ones

# The tests of kernel, ledger and airlock. Nothing counts as covered by others, which reach it by the way or by chance, and which
# would take twice as long if they were traced.
COUNTED = re.compile(
    r"(spec|golden)/|unit/test_(kernel_\w+|airlock|bundle|certificate|describe|evidence|gossip|handover|note|rotation|tiles|tree|verify\w*|witness)\.py"
)

# A busy machine is no fault of the code. Where CI is set, this begins with Hypothesis' own profile for that.
settings.register_profile("patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files = {item: item.path.relative_to(TESTS).as_posix() for item in items}
    folders = {item: file.partition("/")[0] for item, file in files.items()}
    items.sort(key=lambda item: FIRST.index(folders[item]) if folders[item] in FIRST else len(FIRST))
    for item, file in files.items():
        if not COUNTED.match(file):
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
