"""Every sentence that an analysis can be refused with, and whether one says anything beside it but words of the question."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from functools import cache

import pumasi.analysis
from pumasi.analysis.refusal import Refusal

NODE = ("pumasi.node.jobs.rounds", "pumasi.node.workspace.keeper")


@cache
def templates() -> list[Refusal]:
    """The constants of the modules; tests/unit/test_refusal.py sees to it that refusals are made in no other way."""
    names = [one.name for one in pkgutil.walk_packages(pumasi.analysis.__path__, "pumasi.analysis.")]
    modules = [importlib.import_module(name) for name in (*names, *NODE)]
    return list(dict.fromkeys(value for module in modules for value in vars(module).values() if isinstance(value, Refusal)))


def says_only(refusal: Refusal, words: Iterable[str]) -> bool:
    """Whether a refusal is one of the templates of its code, and what fills its places is put together from these words alone."""
    known = sorted(words, key=len, reverse=True)
    for template in templates():
        match = re.fullmatch("(.*)".join(map(re.escape, template.split("{}"))), refusal)
        if template.reason == refusal.reason and match and all(_is_put_together(filled, known) for filled in match.groups()):
            return True
    return False


def _is_put_together(filled: str, words: list[str]) -> bool:
    for word in words:
        filled = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "", filled)
    return re.fullmatch(r"(?:[',; ]|and)*", filled) is not None
