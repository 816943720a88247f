"""Figures of released results: histogram, ROC, calibration, survival curves, forest plots. From published numbers alone.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart; line styles differ as well. Korean labels need
a Korean font on the machine; where there is none, a sentence says so instead of boxes in the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumasi.kernel.errors import Invalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Result = Mapping[str, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
# The first that is installed: Debian's, Google's, Windows', macOS'.
KOREAN_FONTS = ("NanumGothic", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", "Apple SD Gothic Neo", "NanumBarunGothic", "UnDotum")
_Z = 1.959963984540054
_RATIOS = {"cox": "log hazard ratio", "binomial": "log odds ratio", "poisson": "log rate ratio", "gamma": "log ratio of means"}


def draw(result: Result, path: Path) -> Path:
    """Write the figure of a result to `path`; its ending says the format (svg, pdf or png). `Invalid` for a kind without a figure."""
    if "refused" in result:
        raise Invalid(f"'{result['name']}' was refused, so there is nothing to draw")
    if result["kind"] not in FIGURES:
        raise Invalid(f"there is no figure of a {result['kind']}; there is one of {', '.join(FIGURES)}")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.family": _fonts(result), "axes.unicode_minus": False, "svg.fonttype": "none", "svg.hashsalt": "pumasi"}):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        FIGURES[result["kind"]](result, figure)
        temporary = path.with_name(f".{path.stem}.part{path.suffix}")
        try:
            figure.savefig(temporary, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
        except ValueError as error:
            raise Invalid(f"a figure cannot be written as '{path.suffix}'; use .svg, .pdf or .png") from error
        temporary.replace(path)
    return path


def _fonts(result: Result) -> list[str]:
    """Matplotlib's own font, behind a Korean one where a label needs it."""
    if not any("가" <= letter <= "힣" for letter in repr(result)):
        return ["DejaVu Sans"]
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    found = [font for font in KOREAN_FONTS if font in installed]
    if not found:
        raise Invalid("a label is Korean, and no Korean font is installed; install one (Debian: fonts-nanum)")
    return [found[0], "DejaVu Sans"]


def _axes(figure: Figure, title: str, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _histogram(result: Result, figure: Figure) -> None:
    """People per bin. The open outer bins are drawn as wide as their neighbours, hatched, because nobody knows where they end."""
    axes = _axes(figure, str(result["name"]), str(result["column"]), "people")
    bins = result["bins"]
    inner = [one["to"] - one["from"] for one in bins if one["from"] is not None and one["to"] is not None]
    width = min(inner, default=1.0)
    for one in bins:
        left = one["from"] if one["from"] is not None else one["to"] - width
        right = one["to"] if one["to"] is not None else one["from"] + width
        closed = None not in (one["from"], one["to"])
        if one["n"] is None:
            axes.annotate("–", ((left + right) / 2, 0), ha="center", va="bottom")
            continue
        axes.bar(left, one["n"], right - left, align="edge", color=COLOURS[0], edgecolor="white", hatch=None if closed else "//")
    _note(axes, "hatched: open-ended;  – : too few people" if any(one["n"] is None for one in bins) else "hatched: open-ended")


def _roc(result: Result, figure: Figure) -> None:
    axes = _axes(figure, str(result["name"]), "1 − specificity", "sensitivity")
    points = [
        (1 - one["specificity"], one["sensitivity"]) for one in result["curve"] if None not in (one["specificity"], one["sensitivity"])
    ]
    across, up = zip(*sorted([(0.0, 0.0), *points, (1.0, 1.0)]), strict=True)
    axes.plot(across, up, "-o", color=COLOURS[0], markersize=4)
    axes.plot([0, 1], [0, 1], ":", color="0.5")
    axes.set_aspect("equal")
    area = result.get("estimates", {}).get("auroc")
    if area is not None:
        axes.text(0.97, 0.05, f"AUROC {area:.3f}{_interval(result, 'auroc')}", ha="right", transform=axes.transAxes)


def _interval(result: Result, name: str) -> str:
    ends = result.get("intervals", {}).get(name)
    return f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends and None not in ends else ""


def _calibration(result: Result, figure: Figure) -> None:
    axes = _axes(figure, str(result["name"]), "predicted", "observed")
    curve = [one for one in result["curve"] if one["observed"] is not None]
    across, up = [one["predicted"] for one in curve], [one["observed"] for one in curve]
    low, high = ([_or(one[end], one["observed"]) for one in curve] for end in ("low", "high"))  # no interval where people have several rows
    axes.plot([0, 1], [0, 1], ":", color="0.5")
    spread = [[at - one for at, one in zip(up, low, strict=True)], [one - at for at, one in zip(up, high, strict=True)]]
    axes.errorbar(across, up, yerr=spread, fmt="-o", color=COLOURS[0], markersize=4, capsize=3)
    end = min(1.0, 1.1 * max([*across, *high], default=1.0))  # so that rare outcomes fill it too
    axes.set_xlim(0, end)
    axes.set_ylim(0, end)
    axes.set_aspect("equal")
    told = [
        f"{name} {value:.3f}{_interval(result, name)}"
        for name in ("intercept", "slope")
        if (value := result["estimates"].get(name)) is not None
    ]
    axes.text(0.97, 0.05, "\n".join(told), ha="right", transform=axes.transAxes)


def _survival(result: Result, figure: Figure) -> None:
    """Steps on the grid with their confidence bands."""
    axes = _axes(figure, str(result["name"]), str(result["time"]), "survival")
    for place, curve in enumerate(result["curve"]):
        points = [point for point in curve["points"] if point["survival"] is not None]
        times = [0.0, *(point["time"] for point in points)]
        colour, style = COLOURS[place % len(COLOURS)], STYLES[place % len(STYLES)]
        label = str(curve[result["by"]]) if result.get("by") else "everybody"
        axes.step(times, [1.0, *(point["survival"] for point in points)], style, where="post", color=colour, label=label)
        low, high = ([1.0, *(_or(point[end], point["survival"]) for point in points)] for end in ("lower", "upper"))
        axes.fill_between(times, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    if result.get("by"):
        axes.legend(title=str(result["by"]), frameon=False)
    _note(axes, "estimated at the times of the grid; band: 95 % confidence")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _model(result: Result, figure: Figure) -> None:
    """Coefficients with their 95 % intervals."""
    names = [name for name in result["coefficients"] if name != "Intercept"]
    rows = [(name, result["coefficients"][name], result["standard_errors"][name]) for name in names]
    label = _RATIOS.get("cox" if result["kind"] == "cox" else result.get("family", ""), "coefficient")
    _forest([(name, at, at - _Z * error, at + _Z * error) for name, at, error in rows], result, figure, label)


def _meta(result: Result, figure: Figure) -> None:
    """Each hospital, then the summary as a diamond and the range expected for a new hospital."""
    rows = [(one["hospital"], one["estimate"], one["low"], one["high"]) for one in result["estimates"]]
    summary, expected = result["random"], result["prediction"]
    axes = _forest([*rows, ("random effects", summary["estimate"], summary["low"], summary["high"])], result, figure, str(result["term"]))
    axes.plot([summary["estimate"]], [0], "D", color=COLOURS[1], markersize=9)
    if expected is not None:
        axes.plot([expected["low"], expected["high"]], [0, 0], "-", color=COLOURS[1], linewidth=1)
        _note(axes, "diamond: summary; thin line: 95 % prediction interval for a new hospital")


def _forest(rows: list[tuple[str, float, float, float]], result: Result, figure: Figure, x: str) -> Axes:
    figure.set_size_inches(6.4, max(2.2, 1.2 + 0.34 * len(rows)))
    axes = _axes(figure, str(result["name"]), x, "")
    for place, (_, at, low, high) in enumerate(reversed(rows)):
        axes.plot([low, high], [place, place], "-", color=COLOURS[0])
        axes.plot([at], [place], "s", color=COLOURS[0], markersize=6)
    axes.axvline(0, color="0.5", linestyle=":")
    axes.set_yticks(range(len(rows)), [row[0] for row in reversed(rows)])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    return axes


def _note(axes: Axes, text: str) -> None:
    axes.text(1.0, 1.01, text, ha="right", va="bottom", fontsize=7, color="0.4", transform=axes.transAxes)


FIGURES: dict[str, Callable[[Result, Figure], None]] = {
    "histogram": _histogram,
    "roc": _roc,
    "calibration": _calibration,
    "kaplan_meier": _survival,
    "glm": _model,
    "cox": _model,
    "meta": _meta,
}
