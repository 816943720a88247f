"""From a table to the combinations of its quasi-identifiers, and from a generalisation back to rows. All rows stay in DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np

from pumasi.deid import engine, hierarchy
from pumasi.deid.anonymize.config import Config, Quasi, SensitiveColumn
from pumasi.deid.anonymize.lattice import Bools, Combinations, Node, Sensitive, numbered, sums
from pumasi.deid.hierarchy import SUPPRESSED, Hierarchy, Ints
from pumasi.deid.reading import Table
from pumasi.kernel.errors import Invalid, PumasiError

_OUTSIDE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Loaded:
    """A table as combinations, with what is needed to write it again."""

    table: Table
    config: Config
    combinations: Combinations
    trees: Mapping[str, Hierarchy]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that the configuration does not name: nobody said that they may be published."""
        named = {*(one.column for one in self.config.quasi), *(one.column for one in self.config.sensitive), *self.config.keep}
        return tuple(column for column in self.table.columns if column not in named)


def load(table: Table, config: Config, populations: Mapping[Path, Table]) -> Loaded:
    """Group the table by its quasi-identifiers. `Invalid` for columns that are missing and for values without a place in a hierarchy."""
    _refuse_absent(table, config, populations)
    connection, tables = table.connection, [table, *populations.values()]
    for place, one in enumerate(tables):
        _group(one, config, f"pumasi_group{place}", sensitive=place == 0, placed=place == 0 and _needs_places(config))
    faults: list[str] = []
    trees = [_tree(quasi, tables, place, config, faults) for place, quasi in enumerate(config.quasi)]
    values = [_values(one, tables, place, faults) for place, one in enumerate(config.sensitive)]
    sensitive_trees = {
        one.column: hierarchy.read(one.hierarchy, one.column, separator=config.separator or ";")
        for one in config.sensitive
        if one.hierarchy
    }
    faults += [fault for one, found in zip(config.sensitive, values, strict=True) for fault in _misfits(one, found, sensitive_trees)]
    if faults:
        raise Invalid(*faults)
    for place, tree in enumerate(trees):
        _store(connection, f"pumasi_value{place}", {"value": tree.values, "code": np.arange(len(tree.values))})
    for place, found in enumerate(values):
        _store(connection, f"pumasi_sensitive{place}", {"value": found, "code": np.arange(len(found))})
    combinations = _combinations(tables, config, tuple(trees), values)
    for population, people in zip(populations.values(), combinations.populations, strict=True):
        missing = int((combinations.counts - people).clip(min=0).sum())
        if missing:
            raise Invalid(f"{population.where}: it lacks {missing} of the rows of {table.where}; a population holds them too")
    return Loaded(table, config, combinations, sensitive_trees)


def _refuse_absent(table: Table, config: Config, populations: Mapping[Path, Table]) -> None:
    quasi = [one.column for one in config.quasi]
    faults = table.absent([*quasi, *(one.column for one in config.sensitive), *config.keep])
    for population in populations.values():
        faults += population.absent(quasi)
    if faults:
        raise Invalid(*faults)


def _needs_places(config: Config) -> bool:
    return config.model.average_risk is not None or config.model.sample_uniqueness is not None


def _cell(column: str) -> str:
    """A cell as text; an empty one is the value ''."""
    return f"coalesce(CAST({engine.name(column)} AS VARCHAR), '')"


def _group(table: Table, config: Config, name: str, *, sensitive: bool, placed: bool) -> None:
    cells = [f"{_cell(one.column)} AS q{place}" for place, one in enumerate(config.quasi)]
    if sensitive:
        cells += [f"{_cell(one.column)} AS s{place}" for place, one in enumerate(config.sensitive)]
    source = f"SELECT {', '.join(cells)}{', row_number() OVER () AS place' if placed else ''} FROM ({table.sql})"
    first = "min(place)" if placed else "0::BIGINT"
    by = ", ".join(cell.rpartition(" AS ")[2] for cell in cells)
    with table.explained():
        table.connection.execute("SET preserve_insertion_order = true")
        table.connection.execute(
            f"CREATE TEMP TABLE {name} AS SELECT {by}, count(*)::BIGINT AS n, {first} AS first FROM ({source}) GROUP BY {by}"
        )
    found = table.connection.execute(f"SELECT sum(n) FROM {name}").fetchone()
    if not found or found[0] != table.rows:
        raise PumasiError(f"{table.where}: not every row arrived; the table was changed while it was read; run it again")


def _tree(quasi: Quasi, tables: Sequence[Table], place: int, config: Config, faults: list[str]) -> Hierarchy:
    """The hierarchy of a column, which must hold every value that occurs; without a file: the value or nothing."""
    found = [_column(table.connection, f"pumasi_group{group}", f"q{place}") for group, table in enumerate(tables)]
    if quasi.hierarchy is None:
        return hierarchy.flat(quasi.column, sorted(set().union(*found)))
    try:
        tree = hierarchy.read(quasi.hierarchy, quasi.column, separator=config.separator or ";")
    except PumasiError as error:
        faults += error.reasons
        return hierarchy.flat(quasi.column, sorted(set().union(*found)))
    known = set(tree.values)
    for table, values in zip(tables, found, strict=True):
        missing = set(values) - known
        if missing:
            empty = ", an empty cell among them" if "" in missing else ""
            faults.append(
                f"the hierarchy of '{quasi.column}', {quasi.hierarchy}: it has no line for {len(missing)} of the values that occur{empty}; "
                f"the first is in row {_first_row(table, quasi.column, missing)} of {table.where}; add a line for each"
            )
    return tree


def _column(connection: duckdb.DuckDBPyConnection, name: str, column: str) -> list[str]:
    return [row[0] for row in connection.execute(f"SELECT DISTINCT {column} FROM {name}").fetchall()]


def _first_row(table: Table, column: str, missing: set[str]) -> int:
    query = f"SELECT row_number() OVER () AS place, {_cell(column)} AS cell FROM ({table.sql})"
    found = table.connection.execute(f"SELECT min(place) FROM ({query}) WHERE list_contains(?, cell)", [sorted(missing)]).fetchone()
    return int(found[0]) if found else 0


def _values(one: SensitiveColumn, tables: Sequence[Table], place: int, faults: list[str]) -> list[str]:
    """The values of a sensitive column in order: as configured, or numbers by size, or text by code point; those of a population too."""
    found = set(_column(tables[0].connection, "pumasi_group0", f"s{place}"))
    for population in tables[1:]:
        if one.column in population.columns:
            rows = population.connection.execute(f"SELECT DISTINCT {_cell(one.column)} FROM ({population.sql})").fetchall()
            found |= {row[0] for row in rows}
    if one.order:
        if found - set(one.order):
            faults.append(f"'sensitive.{one.column}.order' lacks {len(found - set(one.order))} of the values that occur; list all of them")
        return list(one.order)
    try:
        return sorted(found, key=lambda value: (float(value), value))
    except ValueError:
        return sorted(found)


def _misfits(one: SensitiveColumn, values: list[str], trees: Mapping[str, Hierarchy]) -> list[str]:
    missing = set(values) - set(trees[one.column].values) if one.column in trees else set()
    return (
        [f"the hierarchy of '{one.column}', {one.hierarchy}: it has no line for {len(missing)} of the values; add them"] if missing else []
    )


def _store(connection: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Sequence[str] | Ints]) -> None:
    """A temporary table from columns of equal length."""
    arrays = {key: column if isinstance(column, np.ndarray) else np.array(column, dtype=object) for key, column in columns.items()}
    connection.register("pumasi_given", arrays)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM pumasi_given")
    connection.unregister("pumasi_given")


def _combinations(tables: Sequence[Table], config: Config, trees: tuple[Hierarchy, ...], values: Sequence[list[str]]) -> Combinations:
    groups = [_codes(table.connection, f"pumasi_group{place}", config, sensitive=place == 0) for place, table in enumerate(tables)]
    ends = np.cumsum([0, *(len(group["n"]) for group in groups)])
    columns = [np.concatenate([group[f"q{place}"] for group in groups]) for place in range(len(trees))]
    of, distinct = numbered(columns)
    parts = [of[start:end] for start, end in pairwise(ends.tolist())]
    counts = [sums(part, group["n"].astype(np.float64), len(distinct)) for part, group in zip(parts, groups, strict=True)]
    first = np.full(len(distinct), _OUTSIDE)
    np.minimum.at(first, parts[0], groups[0]["first"])
    sensitive = tuple(
        _sensitive(one.column, parts[0], groups[0][f"s{place}"], groups[0]["n"], tuple(found))
        for place, (one, found) in enumerate(zip(config.sensitive, values, strict=True))
    )
    return Combinations(trees, tuple(column[distinct] for column in columns), counts[0], first, sensitive, tuple(counts[1:]))


def _codes(connection: duckdb.DuckDBPyConnection, name: str, config: Config, *, sensitive: bool) -> dict[str, Ints]:
    places = [("q", "pumasi_value", place) for place in range(len(config.quasi))]
    places += [("s", "pumasi_sensitive", place) for place in range(len(config.sensitive))] if sensitive else []
    selected = ", ".join(f"{kind}t{place}.code AS {kind}{place}" for kind, _, place in places)
    joined = " ".join(f"JOIN {known}{place} AS {kind}t{place} ON g.{kind}{place} = {kind}t{place}.value" for kind, known, place in places)
    found = connection.execute(f"SELECT {selected}, g.n AS n, g.first AS first FROM {name} AS g {joined}").fetchnumpy()
    return {column: np.asarray(values, dtype=np.int64) for column, values in found.items()}


def _sensitive(column: str, of: Ints, value: Ints, counts: Ints, values: tuple[str, ...]) -> Sensitive:
    wide = len(values)
    cells, place = np.unique(of * wide + value, return_inverse=True)
    summed = sums(place, counts.astype(np.float64), len(cells))
    return Sensitive(column, cells // wide, cells % wide, summed, values)


def published(loaded: Loaded, levels: Sequence[Ints], gone: Bools) -> str:
    """A query for the rows as they may be published: every combination at its levels, the cells of those that are gone as `*`.

    Rows keep their order; sensitive columns and those to keep stay as they are, and columns that nobody named are left out.
    """
    connection, combinations, config = loaded.table.connection, loaded.combinations, loaded.config
    quasi = {one.column: place for place, one in enumerate(config.quasi)}
    everywhere = [
        place for place, level in enumerate(levels) if np.all(level == level[0]) and level[0] < combinations.hierarchies[place].levels
    ]
    for place in everywhere:
        tree, level = combinations.hierarchies[place], int(levels[place][0])
        labels = [tree.labels[level][code] for code in tree.codes[level]]
        _store(connection, f"pumasi_value{place}", {"value": tree.values, "code": np.arange(len(tree.values)), "label": labels})
    special = gone | (len(everywhere) < len(levels))
    own: dict[str, Sequence[str] | Ints] = {f"c{place}": codes[special] for place, codes in enumerate(combinations.codes)}
    own["gone"] = gone[special].astype(np.int64)
    for place in set(range(len(levels))) - set(everywhere):
        own[f"l{place}"] = _labels(combinations.hierarchies[place], combinations.codes[place][special], levels[place][special])
    _store(connection, "pumasi_special", own)
    shown = [column for column in loaded.table.columns if column not in loaded.dropped]
    label = {column: f"v{place}.label" if place in everywhere else f"g.l{place}" for column, place in quasi.items()}
    cells = [
        f"CASE WHEN g.gone = 1 THEN '{SUPPRESSED}' ELSE {label[column]} END AS {engine.name(column)}"
        if column in quasi
        else f"t.{engine.name(column)}"
        for column in shown
    ]
    joined = " ".join(
        f"JOIN pumasi_value{place} AS v{place} ON {_cell_of('t', column)} = v{place}.value" for column, place in quasi.items()
    )
    same = " AND ".join(f"v{place}.code = g.c{place}" for place in quasi.values())
    numbered_rows = f"SELECT *, row_number() OVER () AS pumasi_place FROM ({loaded.table.sql})"
    # A join of several threads forgets the order of rows.
    return f"SELECT {', '.join(cells)} FROM ({numbered_rows}) AS t {joined} LEFT JOIN pumasi_special AS g ON {same} ORDER BY t.pumasi_place"


def _cell_of(alias: str, column: str) -> str:
    return f"coalesce(CAST({alias}.{engine.name(column)} AS VARCHAR), '')"


def _labels(tree: Hierarchy, codes: Ints, levels: Ints) -> list[str]:
    """The label of every value at its level; above the last level it is `*`."""
    pairs = zip(codes.tolist(), levels.tolist(), strict=True)
    return [tree.labels[level][tree.codes[level][code]] if level < tree.levels else SUPPRESSED for code, level in pairs]


def same_levels(node: Node, combinations: Combinations) -> list[Ints]:
    """The levels of full-domain generalisation: the same for every combination."""
    return [np.full(len(combinations.counts), level, dtype=np.int64) for level in node]


Progress = Callable[[str, float], None]
