"""What unit tests share: one HTTPS server for all of them, and hubs that it serves one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.casebook import Casebook
    from tests.live_hub import LiveHub, Server


@pytest.fixture(scope="session")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from tests.live_hub import Server

    server = Server(tmp_path_factory.mktemp("https"))
    yield server
    server.stop()


@pytest.fixture
def live(https: Server, tmp_path: Path) -> Iterator[Callable[[Casebook], LiveHub]]:
    """Serve the log of a casebook; one hub at a time."""
    from tests.live_hub import LiveHub

    opened: list[LiveHub] = []

    def serve(book: Casebook) -> LiveHub:
        opened.append(LiveHub(tmp_path / f"live {len(opened)}", book, https))
        return opened[-1]

    yield serve
    for one in opened:
        one.close()
