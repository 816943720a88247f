"""The pictures of the risk report, as SVG to stand inside a page. Colours of Okabe and Ito 2008, told apart by shape and hatching too.

A picture holds numbers and column names only; its title and its words stand beside it in the page, in either language.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from pumasi.deid.risk.effects import Effect
from pumasi.deid.risk.longitudinal import Fingerprint
from pumasi.deid.risk.utility import Kept, Relations

BEFORE, AFTER, THIRD, INK, FAINT = "#D55E00", "#0072B2", "#009E73", "#1a1a1a", "#d9d9d9"
FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "Apple SD Gothic Neo", "NanumGothic")
"""Only to measure words by, where one is installed; the page sets them in the reader's fonts."""
BANDS = ("1", "2", "3–4", "5–9", "10–19", "20–99", "100+")
PRECISIONS = {"day": "일 · day", "month": "월 · month", "year": "연 · year", "none": "없음 · none"}
WIDTH = 7.4
LONGEST = 28

Draw = Callable[[Figure], None]


def class_sizes(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]] | None) -> str:
    """The share of rows by the size of their class."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        sets = [(before, BEFORE, "//")] if after is None else [(before, BEFORE, "//"), (after, AFTER, "")]
        height = 0.8 / len(sets)
        for number, (bands, colour, hatch) in enumerate(sets):
            total = sum(rows for _, rows in bands) or 1
            at = np.arange(len(bands)) + (number - (len(sets) - 1) / 2) * height
            bars = axes.barh(
                at, [rows / total for _, rows in bands], height * 0.92, color=colour, hatch=hatch, edgecolor="white", linewidth=0
            )
            axes.bar_label(bars, [percent(rows / total) for _, rows in bands], padding=3, fontsize=8)
        axes.set_yticks(range(len(BANDS)), BANDS)
        axes.invert_yaxis()
        _share_axis(axes)

    return _svg(draw, height=3.4)


def column_effects(found: Sequence[Effect], now: float) -> str:
    """The average risk now (the line), with each column left out (square) and made coarser (triangle)."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(now, color=INK, linewidth=1.2)
        for at, one in enumerate(found):
            axes.plot([one.removed.average_risk, now], [at, at], color=FAINT, linewidth=5, solid_capstyle="round", zorder=1)
            axes.plot(one.coarser.average_risk, at, marker="^", color=AFTER, markersize=9, linestyle="", zorder=3)
            axes.plot(one.removed.average_risk, at, marker="s", color=BEFORE, markersize=8, linestyle="", zorder=2)
        axes.set_yticks(range(len(found)), [short(one.column) for one in found])
        axes.set_ylim(len(found) - 0.4, -0.6)
        _share_axis(axes)

    return _svg(draw, height=0.9 + 0.34 * len(found))


def information(found: Sequence[Kept]) -> str:
    """The share of each column's information that is left."""
    shown = [one for one in found if one.information is not None]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bars = axes.barh(range(len(shown)), [one.information or 0.0 for one in shown], 0.7, color=AFTER)
        axes.bar_label(bars, [percent(one.information or 0.0) for one in shown], padding=3, fontsize=8)
        axes.set_yticks(range(len(shown)), [short(one.column) for one in shown])
        axes.invert_yaxis()
        _share_axis(axes)

    return _svg(draw, height=0.8 + 0.26 * len(shown))


def quantiles(found: Sequence[Kept]) -> str:
    """For each number column the middle, the middle half and the middle nine tenths, before above after."""
    shown = [one for one in found if one.quantiles[0] is not None and one.quantiles[1] is not None][:8]

    def draw(figure: Figure) -> None:
        for axes, one in zip(np.atleast_1d(figure.subplots(len(shown), 1)), shown, strict=True):
            for at, (points, colour, marker) in enumerate(zip(one.quantiles, (BEFORE, AFTER), ("D", "o"), strict=True)):
                if points is not None:
                    axes.plot([points[0], points[4]], [at, at], color=colour, linewidth=1.5)
                    axes.plot([points[1], points[3]], [at, at], color=colour, linewidth=6, alpha=0.55, solid_capstyle="butt")
                    axes.plot(points[2], at, marker=marker, color=colour, markersize=7)
            axes.set_yticks([0.5], [short(one.column)])
            axes.set_ylim(1.6, -0.6)
            axes.tick_params(axis="y", length=0)
            axes.spines[["top", "right", "left"]].set_visible(False)

    return _svg(draw, height=0.3 + 0.72 * len(shown)) if shown else ""


def relations(found: Relations) -> str:
    """Cramer's V of every pair before (left) and after (right)."""

    def draw(figure: Figure) -> None:
        names = [short(one, 14) for one in found.columns]
        for axes, matrix in zip(figure.subplots(1, 2, sharey=True), (found.before, found.after), strict=True):
            _matrix(axes, matrix, names)

    return _svg(draw, height=1.2 + 0.4 * len(found.columns))


def _matrix(axes: Axes, matrix: NDArray[np.float64], names: Sequence[str]) -> None:
    size = len(names)
    hidden = np.where(np.tri(size, k=-1, dtype=bool), matrix, np.nan)
    edges = np.arange(size + 1) - 0.5
    axes.pcolormesh(edges, edges, hidden, vmin=0, vmax=1, cmap="cividis", edgecolors="white", linewidth=1)  # drawn, not an image
    for row in range(size):
        for column in range(row):
            value = matrix[row, column]
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value < 0.55 else INK)
    axes.set_xticks(range(size - 1), names[:-1], rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(1, size), names[1:], fontsize=8)
    axes.set_ylim(size - 0.5, 0.5)
    axes.set_xlim(-0.5, size - 1.5)
    axes.spines[:].set_visible(False)


def histories(found: Sequence[Fingerprint]) -> str:
    """The share of people singled out by n of their own events, a line for each precision of the dates."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        looks = ((BEFORE, "o", "-"), (AFTER, "s", "--"), (THIRD, "^", "-."), (INK, "D", ":"))
        for one, (colour, marker, line) in zip([one for one in found if one.people], looks, strict=False):
            points = [(n, share) for n, share in enumerate(one.singled, start=1) if share is not None]
            axes.plot(
                [n for n, _ in points],
                [share for _, share in points],
                color=colour,
                marker=marker,
                linestyle=line,
                label=PRECISIONS[one.precision],
            )
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
        axes.set_xticks(range(1, max((len(one.singled) for one in found), default=1) + 1))
        axes.grid(axis="y", color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)

    return _svg(draw, height=3.0)


def percent(share: float) -> str:
    """A share in per cent, with as many digits as mean something."""
    if abs(share * 100 - round(share * 100)) < 1e-9:
        return f"{share:.0%}"
    if share >= 0.1:
        return "99.99%" if share > 0.9999 else f"{share:.2%}" if share > 0.99 else f"{share:.1%}"
    return "<0.01%" if share < 0.0001 else f"{share:.2%}"


def short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _share_axis(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


@contextmanager
def _style() -> Iterator[None]:
    installed = {font.name for font in fontManager.ttflist}
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # words stay words: they are found, read aloud, and set in a font of the reader's
        "svg.hashsalt": "pumasi",
        "font.family": [*(font for font in FONTS if font in installed), "DejaVu Sans"],
        "font.size": 9,
        "text.parse_math": False,  # a dollar sign in a column name is a dollar sign
        "axes.edgecolor": "#777777",
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _svg(draw: Draw, *, height: float) -> str:
    with _style():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: found.group(0) if found.group(1) in used else "", text)
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
