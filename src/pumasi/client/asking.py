"""One method for each kind of analysis: what a researcher calls on a study. The keys are those of study.toml."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pumasi.client.results import Released, Result
from pumasi.kernel.codes import AnalysisKind

Columns = str | Sequence[str]


class Asking:
    """Each method asks one analysis and waits for its release; `ask` asks several at once, which is one review instead of many.

    Every method takes the `table`, and may take `where` (an SQL condition on rows) and a `name` for the result. Columns are given one by
    one or as a list.
    """

    def ask(self, analyses: list[dict[str, Any]]) -> Released:
        raise NotImplementedError

    def _one(self, kind: AnalysisKind, table: str, name: str | None, **keys: Any) -> Result:
        given = {key: value for key, value in keys.items() if value is not None}
        return self.ask([{"name": name or kind, "kind": kind, "table": table, **given}]).results[0]

    def count(self, *, table: str, where: str | None = None, name: str | None = None) -> Result:
        """How many people there are."""
        return self._one("count", table, name, where=where)

    def describe(self, *columns: Columns, table: str, where: str | None = None, name: str | None = None) -> Result:
        """People, missing values, mean and sd of number columns; people per level of the others."""
        return self._one("describe", table, name, columns=_listed(columns), where=where)

    def table(self, *by: Columns, table: str, where: str | None = None, name: str | None = None) -> Result:
        """People by one to six columns with levels, with per cents and a chi-square test."""
        return self._one("table", table, name, by=_listed(by), where=where)

    def table1(self, *columns: Columns, table: str, by: str | None = None, where: str | None = None, name: str | None = None) -> Result:
        """The first table of a paper: each column in all people and by group, with standardised differences."""
        return self._one("table1", table, name, columns=_listed(columns), by=by, where=where)

    def histogram(
        self,
        column: str,
        *,
        table: str,
        edges: list[float] | None = None,
        bins: int | None = None,
        where: str | None = None,
        name: str | None = None,
    ) -> Result:
        """People per bin of a number column; the outer bins are open, so that no extreme value shows."""
        return self._one("histogram", table, name, column=column, edges=edges, bins=bins, where=where)

    def quantiles(self, *columns: Columns, q: list[float], table: str, where: str | None = None, name: str | None = None) -> Result:
        """Quantiles (each q between 0 and 1) of number columns, each as the bracket it lies in."""
        return self._one("quantiles", table, name, columns=_listed(columns), q=q, where=where)

    def correlation(self, *columns: Columns, table: str, where: str | None = None, name: str | None = None) -> Result:
        """Pearson's correlations of number columns, over the people that have them all."""
        return self._one("correlation", table, name, columns=_listed(columns), where=where)

    def ttest(self, column: str, by: str, *, table: str, where: str | None = None, name: str | None = None) -> Result:
        """Means of two groups compared, with Welch's and Student's t-test."""
        return self._one("ttest", table, name, column=column, by=by, where=where)

    def anova(self, column: str, by: str, *, table: str, where: str | None = None, name: str | None = None) -> Result:
        """Means of several groups compared: one-way analysis of variance."""
        return self._one("anova", table, name, column=column, by=by, where=where)

    def glm(
        self,
        formula: str,
        *,
        family: str,
        table: str,
        offset: str | None = None,
        weights: str | None = None,
        cluster: str | None = None,
        robust: str | None = None,
        ridge: float | str | None = None,
        ridge_on: str | None = None,
        compare: str | None = None,
        where: str | None = None,
        name: str | None = None,
    ) -> Result:
        """A generalised linear model over all hospitals: gaussian, binomial, poisson or gamma."""
        keys = {"family": family, "formula": formula, "offset": offset, "weights": weights, "cluster": cluster, "robust": robust}
        return self._one("glm", table, name, **keys, ridge=ridge, ridge_on=ridge_on, compare=compare, where=where)

    def cox(
        self,
        formula: str,
        *,
        time: str,
        event: str,
        table: str,
        strata: str | None = None,
        ties: str | None = None,
        grid: list[float] | None = None,
        ridge: float | str | None = None,
        ridge_on: str | None = None,
        where: str | None = None,
        name: str | None = None,
    ) -> Result:
        """A proportional hazards model of "age + sex", stratified by hospital unless `strata` says otherwise."""
        keys = {"time": time, "event": event, "formula": formula, "strata": strata, "ties": ties, "ridge": ridge, "ridge_on": ridge_on}
        return self._one("cox", table, name, **keys, grid=grid, where=where)

    def kaplan_meier(
        self,
        *,
        time: str,
        event: str,
        grid: list[float],
        table: str,
        by: str | None = None,
        where: str | None = None,
        name: str | None = None,
    ) -> Result:
        """Survival at the times of the grid, with confidence bands; a curve for each level of `by`."""
        return self._one("kaplan_meier", table, name, time=time, event=event, grid=grid, by=by, where=where)

    def logrank(
        self, *, time: str, event: str, by: str, grid: list[float], table: str, where: str | None = None, name: str | None = None
    ) -> Result:
        """Whether survival differs between the levels of `by`: the log-rank test on the grid."""
        return self._one("logrank", table, name, time=time, event=event, by=by, grid=grid, where=where)

    def roc(
        self, score: str, outcome: str, *, table: str, bins: int | None = None, where: str | None = None, name: str | None = None
    ) -> Result:
        """How well a score tells the outcomes apart: the ROC curve and the area under it, with bounds."""
        return self._one("roc", table, name, score=score, outcome=outcome, bins=bins, where=where)

    def calibration(
        self, score: str, outcome: str, *, table: str, bins: int | None = None, where: str | None = None, name: str | None = None
    ) -> Result:
        """Whether predicted probabilities are right on average: intercept, slope and curve."""
        return self._one("calibration", table, name, score=score, outcome=outcome, bins=bins, where=where)

    def brier(
        self, score: str, outcome: str, *, table: str, bins: int | None = None, where: str | None = None, name: str | None = None
    ) -> Result:
        """The mean squared error of predicted probabilities."""
        return self._one("brier", table, name, score=score, outcome=outcome, bins=bins, where=where)

    def meta(self, analysis: str, term: str, *, table: str, where: str | None = None, name: str | None = None) -> Result:
        """A coefficient of a model that this study has asked for (by its name), fitted at each hospital and summarised over them."""
        return self._one("meta", table, name, analysis=analysis, term=term, where=where)


def _listed(names: Iterable[Columns]) -> list[str]:
    return [column for given in names for column in ([given] if isinstance(given, str) else given)]
