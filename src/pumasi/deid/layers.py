"""A query that is built in layers: each layer adds columns to the one below, so that what is computed once is used by name."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Value:
    """A column of some layer: its name there, and what it holds (a DuckDB type, or 'text', 'number', 'date', 'moment')."""

    sql: str
    level: int
    kind: str


@dataclass(frozen=True)
class Check:
    """What no row may have; `value` is what the sentence describes by its shape."""

    sentence: str
    condition: str
    level: int
    value: str | None


@dataclass
class Layers:
    """The layers over `source`, a SELECT with the columns c0, c1 …"""

    source: str
    _added: list[list[str]] = field(default_factory=list)
    _joined: list[list[str]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    count: int = 0

    def add(self, sql: str, kind: str, *below: Value) -> Value:
        """A new column computed from columns below it."""
        level = max((value.level for value in below), default=0) + 1
        self._grow(level)
        self.count += 1
        name = f"v{self.count}"
        self._added[level - 1].append(f"{sql} AS {name}")
        return Value(name, level, kind)

    def join(self, table: str, key: str, on: Value, columns: dict[str, str]) -> list[Value]:
        """Columns of a small table, looked up by a value; NULL where it is not there."""
        level = on.level + 1
        self._grow(level)
        self.count += 1
        alias = f"j{self.count}"
        self._joined[level - 1].append(f"LEFT JOIN {table} AS {alias} ON {alias}.{key} = below.{on.sql}")
        found = []
        for column, kind in columns.items():
            self.count += 1
            self._added[level - 1].append(f"{alias}.{column} AS v{self.count}")
            found.append(Value(f"v{self.count}", level, kind))
        return found

    def refuse(self, condition: str, sentence: str, *below: Value, shown: Value | None = None) -> None:
        """Say that no row may be so. Rows that are so do not come out, and whoever counts the rows sees that they are missing."""
        self.checks.append(Check(sentence, condition, max(one.level for one in below), shown.sql if shown else None))

    @property
    def good(self) -> str:
        """The condition that all checks hold."""
        return " AND ".join(f"({check.condition}) IS NOT TRUE" for check in self.checks) or "true"

    def select(self, columns: str, level: int | None = None) -> str:
        """A SELECT of these columns over the layers up to one level, or all."""
        sql = self.source
        for added, joined in list(zip(self._added, self._joined, strict=True))[:level]:
            parts = ["below.*", *added]
            sql = f"SELECT {', '.join(parts)} FROM ({sql}) AS below {' '.join(joined)}"
        return f"SELECT {columns} FROM ({sql}) AS top"

    def _grow(self, level: int) -> None:
        while len(self._added) < level:
            self._added.append([])
            self._joined.append([])
