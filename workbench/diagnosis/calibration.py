"""Thresholds with a stated false-alarm rate for a whole incident, not for one value."""

from __future__ import annotations

import numpy as np

from ..core.errors import ParameterError
from .baseline import pareto_tail
from .scorers import Scorer, deviations
from .system import System

_NORMAL = np.array([-1.67, -0.97, -0.43, 0.0, 0.43, 0.97, 1.67])  # of equal probability each
_UNKNOWN = 3.0  # sd: a metric that never changed tells nothing about its departures


def calibrate(
    system: System, rate: float = 0.05, rows: int = 5, *, scorer: Scorer = "z"
) -> dict[str, float]:
    """Thresholds that a fault-free window passes, in any row and metric, with a small chance only.

    With p metrics and T rows each value may pass its threshold with probability rate / (p T)
    (union bound: whatever the dependence between metrics and rows, the chance that one of them
    does is at most the rate). The quantiles come from the fault-free rows, beyond their largest
    tenth from a generalised Pareto fit. Since a diagnosis blames nobody unless the target passes
    its threshold, and methods blame metrics that pass theirs, the rate bounds the false answers
    for every target.

    It holds as far as the incident's fault-free state is that of the fault-free rows: a level that
    drifts raises alarms that no threshold from the past prevents. Metrics that never changed keep
    3 sd, for nothing can be learned about them. For one metric alone a fixed threshold is
    simpler; with 40 metrics and an hour of minutes, 3 sd is passed in nearly every window.

    Args:
        system: Its fault-free rows.
        rate: The chance of a false alarm in a window, between 0 and 1.
        rows: Rows of the window.
        scorer: The scorer of the method that will use the thresholds.

    Returns:
        Metric -> threshold, for the parameter ``threshold`` of any method.

    Raises:
        ParameterError: A rate outside (0, 1), or no whole number of rows.

    References:
        Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017.

    Example:
        >>> import pandas as pd
        >>> from workbench.diagnosis import NSigma, System
        >>> rows = np.random.default_rng(0).normal(size=(2000, 3))
        >>> normal = pd.DataFrame(rows, columns=["a", "b", "c"])
        >>> limits = calibrate(System(None, normal), rate=0.05, rows=100)
        >>> NSigma(threshold=limits).threshold["a"] > 3.5
        True
    """
    if not 0 < rate < 1:
        raise ParameterError("must be between 0 and 1", column="rate", value=rate)
    if isinstance(rows, bool) or not isinstance(rows, int | np.integer) or rows < 1:
        raise ParameterError("must be a number of rows, at least 1", column="rows", value=rows)
    values = system.normal().to_numpy()
    size = np.abs(deviations(system, values, scorer))
    level = rate / (rows * len(system.metrics))
    out = {}
    for j, metric in enumerate(system.metrics):
        known = size[np.isfinite(size[:, j]), j]
        out[metric] = _UNKNOWN if system.constant[j] else _quantile(known, level)
    return out


def _quantile(size: np.ndarray, level: float) -> float:
    """The size that is passed with probability ``level``, averaged over what the tail may be.

    Shape and scale are known to about 1 / sqrt(k) from k values of the tail. Far out that is most
    of the risk, so the probability is averaged over their errors instead of taken at the estimate.
    """
    size, start, share, shape, scale = pareto_tail(size)
    if level >= share:
        return float(np.quantile(size, 1 - level))
    k = max(round(share * len(size)), 1)
    # A tail of one repeated value says nothing about what lies beyond it.
    mean = scale / (1 - shape) if scale > 0 else max(start, 1.0)
    shapes = np.clip(shape + _NORMAL * (1 + shape) / k**0.5, 0.0, 0.8)
    means = mean * np.exp(_NORMAL / k**0.5)
    shapes, means = (x.ravel() for x in np.meshgrid(shapes, means))
    scales = means * (1 - shapes)

    def log_chance(excess: float) -> float:
        bent = np.log1p(np.maximum(shapes, 1e-9) * excess / scales) / np.maximum(shapes, 1e-9)
        return float(np.log(share * np.mean(np.exp(-bent))))

    low, high = 0.0, mean
    while log_chance(high) > np.log(level):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if log_chance(middle) > np.log(level) else (low, middle)
    return start + high
