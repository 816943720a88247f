"""The files of the page, as the package ships them."""

from __future__ import annotations

from importlib.resources import files


def page_files() -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in files("pumasi.web").joinpath("verify").iterdir() if file.is_file()}
