"""Which analysis code this installation would run: all parties of a job must run the same."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files


@cache
def analysis_digest() -> str:
    """SHA-256 over names and contents of the modules of `pumasi.analysis`, in name order."""
    modules = sorted((item for item in files("pumasi.analysis").iterdir() if item.name.endswith(".py")), key=lambda item: item.name)
    whole = hashlib.sha256()
    for module in modules:
        content = module.read_bytes().replace(b"\r\n", b"\n")
        whole.update(f"{module.name} {len(content)}\n".encode() + content)
    return whole.hexdigest()
