"""BARO: robust deviations after the change point; needs no graph and no exact alarm time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.results import number
from ..core.saving import saveable
from .base import Diagnoser, Findings, by_node
from .incident import Case
from .scorers import Scorer

_FEWEST = 4  # rows: with fewer any split is noise
_CLIP = 10.0  # sd: no single metric decides where the change is
_CLEAR = 0.5  # share of the window's variation that a split must explain


@saveable
class BARO(Diagnoser):
    """Rank metrics by their largest robust deviation since the change point of the window.

    score_j = max over the rows since the change of |x_j - median_j| / (IQR_j / 1.349), with
    median and interquartile range of the fault-free rows. The change point is the split of the
    window into two stretches of constant mean that explains most of the variation of all metrics
    together; the rows before it are quiet and are left out. If no split explains half of the
    variation the whole window counts.

    Medians ignore faults among the fault-free rows, and a window that starts too early does no
    harm, so that an alarm time that is wrong by minutes changes little. Published with a Bayesian
    change point over the whole record; here the fault-free rows are known, and only the onset
    inside the window is looked for. Symptoms that deviate more than the cause come first: prefer
    :class:`Traversal` or :class:`CounterfactualAttribution` where the graph is known.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: How the anomaly of the target is judged.

    References:
        Pham, Ha and Zhang, "BARO: Robust root cause analysis for microservices via multivariate
        Bayesian online change point detection", FSE 2024.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench.diagnosis import Incident, System
        >>> rows = np.random.default_rng(0).normal(size=(99, 3))
        >>> system = System(None, pd.DataFrame(rows, columns=["a", "b", "y"]))
        >>> window = pd.DataFrame({"a": [4, 0, 0, 0], "b": [0, 0, 9, 8], "y": [0, 0, 7, 7]})
        >>> BARO().fit(system).rank(Incident(window, "y")).nodes
        ('b',)
    """

    needs_graph = False

    def __init__(self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "robust"):
        self.threshold = threshold
        self.scorer = scorer

    def _rank(self, case: Case) -> Findings:
        system = case.system
        size = _deviations(case)
        start = change_point(size, case.trigger)
        since = size[start:]
        worst = np.where(np.isnan(since), -1.0, since).max(axis=0)
        worst = np.where(worst < 0, np.nan, worst)
        score, lead = by_node(case, worst)
        candidate = np.isin(system.nodes, system.candidates(case.target))
        return Findings(
            score=np.where(candidate, score, np.nan),
            blamed=candidate & (np.nan_to_num(score) > case.limits[lead]),
            reasons=[
                f"up to {number(worst[j])} robust sd from its median {number(system.median[j])}"
                if may
                else "not a cause of the target"
                for j, may in zip(lead, candidate, strict=True)
            ],
            details={"change": f"at {case.labels[start]!s}" if start else "before the incident"},
        )


def _deviations(case: Case) -> np.ndarray:
    """|x - median| / (IQR / 1.349), shape (T, p), NaN where not recorded."""
    from .baseline import CONSTANT_JUMP

    system = case.system
    size = np.abs(case.window - system.median)
    scale = system.iqr_scale
    jump = np.where(size > 0, CONSTANT_JUMP, size)
    return np.where(scale > 0, size / np.where(scale > 0, scale, 1.0), jump)


def change_point(size: np.ndarray, latest: int) -> int:
    """The first row after the split that explains most of the variation; 0 without a clear one.

    Args:
        size: Deviations, shape (T, p), NaN where not recorded.
        latest: The last row that may be the first one after the change.

    Example:
        >>> change_point(np.array([[0.0], [0.1], [8.0], [9.0], [8.5]]), latest=4)
        2
    """
    rows = len(size)
    if rows < _FEWEST or latest < 1:
        return 0
    x = np.minimum(size, _CLIP)
    x = np.where(np.isnan(x), np.nanmean(x, axis=0), x) if np.isnan(x).any() else x
    x = x - x.mean(axis=0)
    total = float((x**2).sum())
    if total == 0:
        return 0
    before = np.cumsum(x, axis=0)[:-1]
    k = np.arange(1, rows)[:, None]
    explained = (before**2 * rows / (k * (rows - k))).sum(axis=1) / total  # per split
    best = int(np.argmax(explained[:latest]))
    later_is_worse = x[best + 1 :].sum() > 0
    return best + 1 if explained[best] >= _CLEAR and later_is_worse else 0
