"""The risk report as a page: what stands where is in report.html beside this file, what it says is computed here."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pumasi.deid.risk import pictures
from pumasi.deid.risk.assess import Assessment
from pumasi.deid.risk.effects import Effect
from pumasi.deid.risk.examination import Examination
from pumasi.deid.risk.measures import THRESHOLDS, above

MOST_PATTERNS = 12


def page(found: Examination, *, digest: str, on: date) -> str:
    """The whole page; `digest` is the SHA-256 of the figures as JSON, for the board to refer to."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pct": pictures.percent, "count": count, "num": number, "zip": zip}
    return environment.get_template("report.html").render(_context(found), digest=digest, on=on.isoformat())


def _context(found: Examination) -> dict[str, Any]:
    last, question = found.last, found.question
    sizes = last.found.sizes
    kept = found.utility.kept if found.utility else ()
    related = found.utility.relations if found.utility else None
    both = [found.before] if found.after is None else [found.before, found.after]
    return {
        "found": found,
        "question": question,
        "both": both,
        "last": last,
        "above": above(sizes, question.threshold),
        "step": best_step(last, question.threshold),
        "same": sum(one.distinct_l == 1 for one in last.disclosures),
        "aboves": [[above(one.found.sizes, limit) for one in both] for limit in _limits(question.threshold)],
        "limits": _limits(question.threshold),
        "patterns": [([last.quasi[at] for at in columns], rows) for columns, rows in last.uniques.patterns[:MOST_PATTERNS]],
        "left_out": max(len(last.uniques.patterns) - MOST_PATTERNS, 0),
        "contribution": sorted(zip(last.quasi, last.uniques.contribution, strict=True), key=lambda one: -one[1]),
        "pictures": {
            "sizes": _safe(
                pictures.class_sizes(found.before.reidentification.bands, found.after.reidentification.bands if found.after else None)
            ),
            "effects": _safe(pictures.column_effects(last.effects, last.reidentification.average_risk) if last.effects else ""),
            "information": _safe(pictures.information(kept) if any(one.information is not None for one in kept) else ""),
            "quantiles": _safe(pictures.quantiles(kept)),
            "relations": _safe(pictures.relations(related) if related and len(related.columns) > 1 else ""),
            "histories": _safe(pictures.histories(found.histories[-1]) if found.histories else ""),
        },
        "bands": list(zip(pictures.BANDS, *(_rows(one) for one in both), strict=True)),
    }


def _safe(svg: str) -> Markup:
    """Drawn here; matplotlib escapes the column names in it."""
    return Markup(svg)


def _rows(one: Assessment) -> list[int]:
    return [rows for _, rows in one.reidentification.bands]


def _limits(threshold: float) -> list[float]:
    return sorted({*THRESHOLDS, threshold})


def best_step(risk: Assessment, threshold: float) -> Effect | None:
    """The column whose coarsening leaves the fewest rows above the threshold, if that helps at all; of equals the one that loses least."""
    now = above(risk.found.sizes, threshold)
    helping = [one for one in risk.effects or () if one.coarser.above < now]
    return min(helping, key=lambda one: (one.coarser.above, one.coarser.information_lost), default=None)


def count(number: float) -> str:
    return f"{number:,.0f}"


def number(value: float | None) -> str:
    """Four significant digits."""
    if value is None:
        return "–"
    return "∞" if value == float("inf") else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
