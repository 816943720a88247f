"""What browsers are given as it is: static pages without a server behind them.

`/verify` checks a case bundle like `pumasi.ledger.verify`, in the reader's browser: same steps, same sentences, no request. Whoever
serves it could change it; the page says so, and runs from a folder on disk as well.
"""

from __future__ import annotations

from importlib.resources import files


def verify_files() -> dict[str, bytes]:
    """The files of the page `/verify` by name; they name each other relatively, so they belong below one address that ends with a slash."""
    return {file.name: file.read_bytes() for file in files(__name__).joinpath("verify").iterdir() if file.is_file()}
