"""What `pumasi deid anonymize` does: read, search, write the rows and say how good they are; or say in a sentence why not."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pumasi.deid import engine, places, reading, writing
from pumasi.deid.anonymize import anytime, build, mondrian, table
from pumasi.deid.anonymize import config as configs
from pumasi.deid.anonymize.config import Config
from pumasi.deid.anonymize.lattice import Bools, Combinations, Grouping
from pumasi.deid.anonymize.metrics import Loss, Metric
from pumasi.deid.anonymize.models import Model
from pumasi.deid.anonymize.search import Watch
from pumasi.deid.anonymize.table import Loaded, Progress
from pumasi.deid.hierarchy import Ints
from pumasi.kernel.errors import Invalid, PumasiError, Refused

_NONE = (
    "no generalisation holds the models with the suppression that is allowed: allow more suppression, ask for less, "
    "or end the hierarchies with a level that hides everything"
)


@dataclass(frozen=True)
class Found:
    """What was found: the level of every combination per column, and the combinations that are suppressed."""

    levels: list[Ints]
    gone: Bools
    transformation: dict[str, Any]
    loss: float
    bound: float | None
    classes: int
    checked: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A table that holds its models, and what it cost. `optimal`: no other generalisation is better; `bound`: none loses less than this."""

    transformation: dict[str, Any]
    information_loss: float
    suppressed: int
    classes: int
    optimal: bool
    bound: float | None
    seconds: float
    rows: int
    checked: int
    dropped: tuple[str, ...]
    total_seconds: float

    def plain(self) -> dict[str, Any]:
        return {
            "transformation": self.transformation,
            "information_loss": self.information_loss,
            "suppressed": self.suppressed,
            "classes": self.classes,
            "optimal": self.optimal,
            "bound": self.bound,
            "seconds": round(self.seconds, 4),
            "rows": self.rows,
            "checked": self.checked,
            "dropped_columns": list(self.dropped),
            "total_seconds": round(self.total_seconds, 3),
        }

    def text(self) -> str:
        """For the person at the terminal."""
        bound = "" if self.bound is None else f"; none loses less than {self.bound:.6g}"
        proof = "the optimum" if self.optimal else f"the best that was found{bound}"
        levels = ", ".join(f"{column} {_level(level)}" for column, level in self.transformation.items())
        dropped = f"\nLeft out, because the configuration does not name them: {', '.join(self.dropped)}" if self.dropped else ""
        return (
            f"{self.rows} rows in {self.classes} classes, {self.suppressed} rows suppressed\n"
            f"Levels: {levels}\nInformation loss {self.information_loss:.6g} ({proof}){dropped}"
        )


def _level(level: int | dict[str, int]) -> str:
    return str(level) if isinstance(level, int) else "-".join(dict.fromkeys((min(level), max(level))))


def run(source: str, config_file: Path, out: str, *, json_file: Path | None = None, tell: Progress = lambda name, share: None) -> Outcome:
    """Anonymise `source` into `out`. Nothing appears there unless all of it holds."""
    began = time.perf_counter()
    config = configs.read(config_file)
    _refuse_same_place(source, config_file, config, out, json_file)
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connection(spill=_folder(out)))
        read = opened.enter_context(reading.read(source, connection))
        populations = {path: opened.enter_context(reading.read(path, connection)) for path in build.populations(config)}
        loaded = table.load(read, config, populations)
        model, metric = build.model(loaded.combinations, config, loaded.trees), build.metric(loaded.combinations, config)
        recode = _locally if config.recoding == "local" else _full_domain
        found = recode(loaded.combinations, model, metric, config, lambda share: tell("search", share))
        tell("search", 100.0)
        separator = config.separator or (read.files[0].separator if read.files else ",")
        with writing.place(out, connection, several=False, names=[read.name], separator=separator) as to:
            _write(loaded, found, to, tell)
    outcome = Outcome(
        transformation=found.transformation,
        information_loss=found.loss,
        suppressed=int(loaded.combinations.counts[found.gone].sum()),
        classes=found.classes,
        optimal=found.bound is not None and found.bound >= found.loss,
        bound=found.bound,
        seconds=found.seconds,
        rows=loaded.combinations.records,
        checked=found.checked,
        dropped=loaded.dropped,
        total_seconds=time.perf_counter() - began,
    )
    if json_file:
        _write_json(json_file, outcome)
    return outcome


def _full_domain(combinations: Combinations, model: Model, metric: Metric, config: Config, watch: Watch) -> Found:
    began = time.perf_counter()
    grouping = Grouping(combinations)
    best = anytime.best(grouping, model, metric, combinations.heights, time_limit=config.time_limit, watch=watch)
    if best is None:
        raise Refused(_NONE)
    classes = grouping.classes(best.node)
    verdict = model.verdict(classes, metric.tie if isinstance(metric, Loss) else None, complete=True)
    kept = int(np.count_nonzero((classes.counts > 0) & ~verdict.fails))
    names = [tree.column for tree in combinations.hierarchies]
    return Found(
        levels=table.same_levels(best.node, combinations),
        gone=verdict.fails[classes.of],
        transformation=dict(zip(names, best.node, strict=True)),
        loss=best.loss,
        bound=best.bound,
        classes=kept,
        checked=best.checked,
        seconds=time.perf_counter() - began,
    )


def _locally(combinations: Combinations, model: Model, metric: Metric, config: Config, watch: Watch) -> Found:
    """Split the whole table, and split the best full-domain generalisation further; the better of the two."""
    began = time.perf_counter()
    grouping, strict = Grouping(combinations), replace(model, limit=0)
    best = anytime.best(grouping, strict, metric, combinations.heights, time_limit=config.time_limit, watch=watch)
    starts = [None, grouping.classes(best.node).of] if best else [None]
    found = [mondrian.split(combinations, strict, [one.weight for one in config.quasi], start=start) for start in starts]
    ways = [(metric.local(parts.classes, parts.levels), place, parts) for place, parts in enumerate(found) if parts]
    if not ways:
        raise Refused(_NONE)
    loss, _, parts = min(ways, key=lambda way: way[:2])
    shown = combinations.counts > 0
    rows = [np.bincount(level[shown], combinations.counts[shown]) for level in parts.levels]
    return Found(
        levels=parts.levels,
        gone=np.zeros(len(combinations.counts), dtype=np.bool_),
        transformation={
            tree.column: {str(level): int(count) for level, count in enumerate(counts) if count}
            for tree, counts in zip(combinations.hierarchies, rows, strict=True)
        },
        loss=loss,
        bound=None,
        classes=int(np.count_nonzero(parts.classes.counts)),
        checked=best.checked if best else 0,
        seconds=time.perf_counter() - began,
    )


def _write(loaded: Loaded, found: Found, to: writing.Out, tell: Progress) -> None:
    read = loaded.table
    query = table.published(loaded, found.levels, found.gone)
    try:
        rows = to.write(read.name, query, lambda share: tell(read.name, share))
    except duckdb.Error as error:
        raise read.reason(error) from None
    if rows != read.rows:
        raise PumasiError(f"{read.where}: not every row arrived; the table was changed while it was read; run it again")


def _write_json(path: Path, outcome: Outcome) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(json.dumps(outcome.plain(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _folder(out: str) -> Path | None:
    folder = Path(out).parent
    return folder if "::" not in out and folder.is_dir() else None


def _refuse_same_place(source: str, config_file: Path, config: Config, out: str, json_file: Path | None) -> None:
    """What is read must not be what is written, and two things are not written to one place."""
    hierarchies = [*(one.hierarchy for one in config.quasi), *(one.hierarchy for one in config.sensitive)]
    faults = places.overlaps([source, config_file, *build.populations(config), *hierarchies], [out, json_file])
    written = ([json_file] if json_file else []) + ([Path(out)] if "::" not in out else [])
    faults += [f"{path}: there is no folder {path.parent}; make it first" for path in written if not path.parent.is_dir()]
    if faults:
        raise Invalid(*faults)
