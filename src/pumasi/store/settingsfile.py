"""Reading hub.toml and node.toml: one commented file for people, one typed model, and what is wrong with which key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pumasi.kernel.errors import Invalid
from pumasi.kernel.model import Model

M = TypeVar("M", bound=Model)


def read(path: Path, model: type[M]) -> M:
    """The settings in `path`; `Invalid` with the file and every reason."""
    try:
        return model.read(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{path} is not valid TOML: {error}") from error
    except Invalid as error:
        raise Invalid(*(f"{path}: {reason}" for reason in error.reasons)) from error
