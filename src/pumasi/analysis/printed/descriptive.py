"""Counts, descriptions, tables, histograms and quantiles as text."""

from __future__ import annotations

from typing import Any

from pumasi.analysis.printed.layout import LEFT_OUT, between, fixed, measured, number, p, percent, table, whole

Result = dict[str, Any]
_BAR = 40


def count(result: Result) -> list[str]:
    return []


def describe(result: Result) -> list[str]:
    rows = []
    for name, column in result["columns"].items():
        spread = f"{measured(column['mean'])} ({measured(column['sd'])})" if "mean" in column else ""
        rows.append([name, whole(column["n"]), whole(column["missing"]), spread])
        rows += [[f"  {level}", whole(n), "", ""] for level, n in column.get("levels", {}).items()]
    return table(["", "people", "missing", "mean (sd)"], rows)


def cross(result: Result) -> list[str]:
    """Tables of the last two columns, one for each combination of the others; per cent of the row in brackets."""
    by, cells = result["by"], result["cells"]
    if len(by) == 1:
        shares = result["percent"]["total"]
        rows = [[str(cell[by[0]]), whole(cell["n"]), percent(share)] for cell, share in zip(cells, shares, strict=True)]
        return table([by[0], "people", "%"], rows)
    lines: list[str] = []
    for test in result["tests"]:
        here = [place for place, cell in enumerate(cells) if all(cell[name] == test[name] for name in by[:-2])]
        across = list(dict.fromkeys(str(cells[place][by[-1]]) for place in here))
        rows = []
        for down in dict.fromkeys(str(cells[place][by[-2]]) for place in here):
            found = [place for place in here if str(cells[place][by[-2]]) == down]
            rows.append([down, *(_share(cells[place]["n"], result["percent"]["row"][place]) for place in found)])
        told = ", ".join(f"{name} = {test[name]}" for name in by[:-2])
        lines += ["", told] if told else []
        lines += table([f"{by[-2]} \\ {by[-1]}", *across], rows)
        if test["p"] is not None:
            lines.append(
                f"chi-square {number(test['chi_square'])}, df {test['df']}, p {p(test['p'])}, Cramér's V {fixed(test['cramers_v'])}"
            )
            if test["smallest_expected"] < 5:
                lines.append(f"the least expected count is {number(test['smallest_expected'], 2)}: take this p as a rough one")
    return [*lines, "In brackets: per cent of the row."] if any("(" in line for line in lines) else lines


def table1(result: Result) -> list[str]:
    """As a paper has it: mean (sd) or people (%), everybody first, then the groups, standardised difference and p."""
    groups = result.get("groups", [])
    head = ["", "all", *(str(group["level"]) for group in groups), *(["SMD", "p"] if groups else [])]
    everybody: list[Result] = [result, *groups]
    rows = [["people", *(whole(group["n"]) for group in everybody), *(["", ""] if groups else [])]]
    for name, column in result["columns"].items():
        about = result.get("comparison", {}).get(name, {})
        last = [fixed(about.get("largest")), p(about.get("p"))] if about else ["", ""]
        last = last if groups else []
        if "mean" in column:
            cells = [f"{measured(group['columns'][name]['mean'])} ({measured(group['columns'][name]['sd'])})" for group in everybody]
            rows.append([f"{name}, mean (sd)", *cells, *last])
        elif "levels" in column:
            rows.append([f"{name}, n (%)", *[""] * len(everybody), *last])
            for level in column["levels"]:
                rows.append([f"  {level}", *(_level(group["columns"][name], level) for group in everybody), *[""] * len(last)])
        else:
            rows.append([f"{name}, n", *(whole(group["columns"][name]["n"]) for group in everybody), *[""] * len(last)])
        missing = [group["columns"][name]["missing"] for group in everybody]
        if any(one != 0 for one in missing):
            rows.append(["  missing", *(whole(one) for one in missing), *[""] * len(last)])
    lines = table(head, rows)
    return [f"by {result['by']}", *lines, _TESTS] if groups else lines


_TESTS = "SMD: largest standardised difference of two groups. p: analysis of variance of means, chi-square of levels."


def histogram(result: Result) -> list[str]:
    bins = result["bins"]
    most = max((one["n"] or 0 for one in bins), default=0)
    rows = [
        [_range(one["from"], one["to"]), whole(one["n"]), percent(one["percent"]), "█" * round(_BAR * (one["n"] or 0) / max(most, 1))]
        for one in bins
    ]
    lines = table([result["column"], "people", "%", ""], [[*row[:3], ""] for row in rows])
    return [*lines[:2], *(f"{line.rstrip()}  {row[3]}".rstrip() for line, row in zip(lines[2:], rows, strict=True))]


def quantiles(result: Result) -> list[str]:
    rows = []
    for name, column in result["columns"].items():
        for place, one in enumerate(column["quantiles"]):
            first = [name, whole(column["n"])] if place == 0 else ["", ""]
            rows.append([*first, f"{one['q']:g}", number(one["value"], 6), _bracket(one["lower"], one["upper"])])
    return table(["", "people", "q", "value", "lies in"], rows)


def _share(n: int | None, share: float | None) -> str:
    return LEFT_OUT if n is None else whole(n) if share is None else f"{whole(n)} ({percent(share)})"


def _level(column: Result, level: str) -> str:
    """People of a level, and their part of all who have a value."""
    counts = column["levels"].values()
    n = column["levels"][level]
    share = None if None in counts or not sum(counts) or n is None else 100 * n / sum(counts)
    return _share(n, share)


def _range(low: float | None, high: float | None) -> str:
    """From an edge up to, and without, the next."""
    return f"< {number(high, 6)}" if low is None else f">= {number(low, 6)}" if high is None else f"{number(low, 6)} to {number(high, 6)}"


def _bracket(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return LEFT_OUT
    return f"<= {number(high, 6)}" if low is None else f"> {number(low, 6)}" if high is None else between(low, high, 6)
