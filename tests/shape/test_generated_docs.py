"""Reference pages say what the code says."""

from __future__ import annotations

import re

from pumasi.kernel.actor import MAY
from pumasi.kernel.states import APPLICATION, PERMIT, RELEASE
from tests.shape.states_doc import PAGE, page


def test_the_page_of_states_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m tests.shape.states_doc"


def test_the_page_draws_every_transition_and_names_every_event() -> None:
    text = PAGE.read_text(encoding="utf-8")
    drawn = [
        (before.replace("_", " "), event, after.replace("_", " "))
        for before, after, events in re.findall(r"^    (\S+) --> (\S+): (.+)$", text, flags=re.MULTILINE)
        for event in events.split(", ")
    ]
    tables = [
        (state if state != "-" else "[*]", event, after)
        for table in (APPLICATION, PERMIT, RELEASE)
        for (state, event), after in table.items()
    ]
    assert sorted(drawn) == sorted(tables)
    assert re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE) == list(MAY)
