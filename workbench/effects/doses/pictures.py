"""The picture of dose-response curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.captions import caption, name_axes
from ...tables.gate import count
from ..asked import refuse_nobody
from .density import LOW_SUPPORT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .base import DoseEstimator

_MOST_CURVES = 8
_COLORS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#2c7a7b", "#744210", "#4a5568")


def draw_curves(estimator: DoseEstimator, X: Any, ax: Axes | None, alpha: float) -> Axes:
    """The average curve with its interval, or the curves of few rows, over the doses received."""
    import matplotlib.pyplot as plt

    asked = estimator._modifiers(X)
    refuse_nobody(asked)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
    rows = asked.frame
    of_each = X is not None and len(rows) <= _MOST_CURVES
    grid = estimator.dose_grid(65 if of_each else 33)
    if of_each:
        level = estimator.dose_response(X, grid)
        low, high = estimator.dose_response_interval(X, grid, alpha=alpha)
        usual = estimator.support(X, grid[None]) >= LOW_SUPPORT
        curves = list(zip(map(str, rows.index), level, low, high, usual, strict=True))
    else:
        curves = [("average", *_average(estimator, X, grid, alpha), np.ones(len(grid), bool))]
    for color, (name, level, low, high, usual) in zip(_COLORS, curves, strict=False):
        ax.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)
        ax.plot(grid, level, "--", color=color)  # what no solid line covers rests on others
        ax.plot(grid, np.where(usual, level, np.nan), color=color, label=caption(name, 20, 1))
    # Where doses were received: a strip along the bottom.
    counts, edges = np.histogram(estimator.doses_, bins=40, range=estimator.dose_range_)
    strip = ax.inset_axes((0, 0, 1, 0.12), sharex=ax)
    strip.bar(edges[:-1], counts, np.diff(edges), align="edge", color="0.75")
    strip.set_axis_off()
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom - 0.16 * (top - bottom), top)
    ax.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        ax.legend(fontsize=8, frameon=False)
    rare = any(not usual.all() for *_, usual in curves)
    dashed = "; dashed: hardly ever by people like them" if rare else ""
    whom = "" if of_each else f" of {count(len(rows), 'row')}"
    name_axes(
        ax,
        f"{estimator.t_name_} (grey: doses received{dashed})",
        f"expected {estimator.y_name_}{whom}, {1 - alpha:.0%} intervals",
    )
    return ax


def _average(
    estimator: DoseEstimator, X: Any, grid: np.ndarray, alpha: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, high = estimator.average_dose_response_interval(grid, X, alpha=alpha)
    return estimator.average_dose_response(grid, X), low, high
