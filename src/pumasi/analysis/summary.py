"""A fitted model as people are used to reading it: laid out like the GLM summary of statsmodels."""

from __future__ import annotations

import math
from typing import Any

_NAMES = {"gaussian": "Gaussian", "binomial": "Binomial", "poisson": "Poisson", "gamma": "Gamma"}
_LINKS = {"gaussian": "Identity", "binomial": "Logit", "poisson": "Log", "gamma": "Log"}
# The 97.5 % quantile of the normal distribution.
_Z = 1.959963984540054


def glm_summary(result: dict[str, Any]) -> str:
    """Header, and per coefficient its estimate, standard error, z, two-sided p and 95 % interval, all by the normal distribution.

    `result` is what `glm.advance` ends with; `hospitals` and `rounds`, where the study added them, are shown.
    """
    names = [str(name) for name in result["terms"]]
    first = max([len(name) for name in names] + [10])
    width = max(78, first + 66)
    lines = ["Generalized Linear Model Regression Results".center(width).rstrip(), "=" * width]
    lines += [_pair(left, right, width=width) for left, right in _header(result)]
    columns = f"{'coef':>11}{'std err':>11}{'z':>11}{'P>|z|':>11}{'[0.025':>11}{'0.975]':>11}"
    lines += ["=" * width, " " * (width - 66) + columns, "-" * width]
    for name in names:
        cells = _row(float(result["coefficients"][name]), float(result["standard_errors"][name]))
        lines.append(name.ljust(width - 66) + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join([*lines, "=" * width, *_below(result)])


def _below(result: dict[str, Any]) -> list[str]:
    """What stands under the table: the errors, where they are of another kind, criteria, penalty, offset and weights, comparison."""
    lines = []
    if result.get("errors", "expected information") != "expected information":
        lines.append(f"Standard errors: {result['errors']}")
    if "aic" in result:
        lines.append(f"AIC {result['aic']:.2f}, BIC {result['bic']:.2f}")
    lines += [f"{key.capitalize()}: {result[key]}" for key in ("offset", "weights") if key in result]
    if "ridge" in result:
        on = "the columns as they are" if result["ridge_on"] == "columns" else "standardised columns"
        lines.append(f"Ridge {result['ridge']:g} on {on}: worth {result['df_model']:.4g} coefficients")
    if "compare" in result:
        test = result["compare"]
        p = "<0.001" if test["p"] < 0.001 else f"= {test['p']:.3f}"
        lines.append(f"Against {test['formula']}: chi-square {test['statistic']:.2f} on {test['df']} df, p {p}")
    return lines


def _header(result: dict[str, Any]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    rows = result.get("rows", result["n"])
    residual = result["df_residual"]
    scale = result.get("dispersion", result["deviance"] / residual if result["family"] == "gaussian" else 1.0)
    left = [
        ("Dep. Variable:", result["outcome"]),
        ("Model:", "GLM"),
        ("Model Family:", _NAMES[result["family"]]),
        ("Link Function:", _LINKS[result["family"]]),
        ("Method:", "IRLS over hospitals"),
        ("No. Iterations:", str(result["iterations"])),
        ("Converged:", str(result["converged"])),
    ]
    right = [
        ("No. People:", str(result["n"])),
        ("No. Observations:", str(rows)),
        ("Df Residuals:", f"{residual:g}" if residual != round(residual) else str(residual)),
        ("Df Model:", f"{result.get('df_model', len(result['terms']) - ('Intercept' in result['terms'])):.6g}"),
        ("Scale:", f"{scale:.5g}"),
        ("Log-Likelihood:", f"{result['log_likelihood']:.5g}"),
        ("Deviance:", f"{result['deviance']:.5g}"),
    ]
    if "hospitals" in result:
        left.append(("No. Hospitals:", str(len(result["hospitals"]))))
        right.append(("No. Rounds:", str(result.get("rounds", ""))))
    return list(zip(left, right, strict=True))


def _pair(left: tuple[str, str], right: tuple[str, str], *, width: int) -> str:
    half = width // 2 - 1
    (one, value), (other, also) = left, right
    return f"{one}{value:>{half - len(one)}}  {other}{also:>{width - half - 2 - len(other)}}"


def _row(estimate: float, error: float) -> list[str]:
    if error == 0:
        return [_short(estimate), _short(error), "", "", "", ""]
    z = estimate / error
    p = math.erfc(abs(z) / math.sqrt(2))
    return [_short(estimate), f"{error:.3f}" if 0.001 <= error < 1e5 else f"{error:.2e}", f"{z:.3f}", f"{p:.3f}"] + [
        _end(estimate + side * _Z * error, error) for side in (-1, 1)
    ]


def _short(value: float) -> str:
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def _end(value: float, error: float) -> str:
    return f"{value:.3f}" if 1e-3 <= error < 1e5 else f"{value:.2e}"
