"""A person's card.json: what the member that enrols them needs to know. Nothing on it is secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pumasi.kernel.errors import Invalid

FIELDS = ("person", "key", "box")


def read_card(path: Path) -> dict[str, Any]:
    """The three texts on a card; `Invalid` when the file is not one as `pumasi key new` makes it."""
    if not path.is_file():
        raise Invalid(f"there is no card at {path}; the person makes one with `pumasi key new`")
    try:
        card = json.loads(path.read_bytes())
    except ValueError as error:
        raise Invalid(f"{path} is not a card: it is not JSON; ask the person for the card.json that `pumasi key new` wrote") from error
    if not isinstance(card, dict) or not all(isinstance(card.get(field), str) for field in FIELDS):
        raise Invalid(f"{path} is not a card: it must have the texts {', '.join(FIELDS)}; ask the person for card.json again")
    return {field: card[field] for field in FIELDS}
