"""Released results in a researcher's hands: numbers by name, the text of a paper's table, tidy CSV, a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumasi.analysis import printed
from pumasi.analysis.printed import tidy
from pumasi.client import figures
from pumasi.kernel.errors import Refused


@dataclass(frozen=True)
class Result:
    """One analysis as it was released. Index it like the outcome's object; `summary()` prints it for a paper's author."""

    values: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        if key not in self.values and self.refused:
            raise Refused(*self.refused)
        return self.values[key]

    @property
    def refused(self) -> list[str]:
        return list(self.values.get("refused", []))

    @property
    def reasons(self) -> list[str]:
        """The code of each of these sentences (`analysis.refusal.REASONS`); results of earlier versions have none."""
        return list(self.values.get("reasons", []))

    @property
    def coefficients(self) -> dict[str, float]:
        return dict(self["coefficients"])

    @property
    def standard_errors(self) -> dict[str, float]:
        return dict(self["standard_errors"])

    def summary(self) -> str:
        return printed.text(self.values)

    def csv(self) -> str:
        """The numbers as tidy CSV: one per row, with its error where it has one; what is left out is empty."""
        return tidy.text(dict(self.values))

    def plot(self, path: Path) -> Path:
        """Draw the figure of this kind of analysis into `path` (.svg, .pdf or .png)."""
        return figures.draw(self.values, path)


@dataclass(frozen=True)
class Released:
    """The output of one job, after every hospital has released exactly these bytes."""

    job: str
    digest: str
    reviewers: dict[str, list[str]]
    results: list[Result]
