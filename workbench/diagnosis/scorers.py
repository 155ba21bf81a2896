"""How unusual is a value? Three yardsticks, all in standard deviations of fault-free rows.

Each gives a signed deviation; its size is the anomaly score, so that one threshold means the
same for all of them. A constant metric has the scale that :class:`System` gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ..core.errors import ParameterError, did_you_mean
from .baseline import CONSTANT_JUMP
from .system import System

Scorer = Literal["z", "robust", "tail"]


def z_score(system: System, values: np.ndarray) -> np.ndarray:
    """(value - mean) / sd, shape (..., p): exact for bell-shaped metrics, hides anomalies when
    the "fault-free" rows hold some."""
    return _scaled(values - system.mean, system.scale)


def robust_score(system: System, values: np.ndarray) -> np.ndarray:
    """(value - median) / (1.4826 MAD), shape (..., p): faults among the fault-free rows don't
    widen it. Too easily alarmed by metrics that rarely leave their usual value."""
    return _scaled(values - system.median, system.robust_scale)


def tail_score(system: System, values: np.ndarray) -> np.ndarray:
    """The normal deviation with the same two-sided tail probability, shape (..., p).

    P(|X - mean| >= |value - mean|) is the observed share in the body and a generalised Pareto
    fit to the largest tenth beyond it, so heavy tails alarm less and strong outliers don't tie
    as they do when shares are counted.

    References:
        Pickands, "Statistical inference using extreme order statistics", Annals of Statistics,
        1975; Siffer et al., "Anomaly detection in streams with extreme value theory", KDD 2017.
    """
    deviation = z_score(system, values)
    out = deviation.copy()
    for j in np.flatnonzero(~system.constant):
        x = np.abs(deviation[..., j])
        out[..., j] = np.copysign(_normal_equivalent(log_tail(system, j, x)), deviation[..., j])
    return np.where(np.isnan(deviation), np.nan, out)


SCORERS = {"z": z_score, "robust": robust_score, "tail": tail_score}


def deviations(system: System, values: np.ndarray, scorer: Scorer = "z") -> np.ndarray:
    """Signed deviations of values in the order of ``system.metrics``, by the name of a scorer."""
    if scorer not in SCORERS:
        raise ParameterError(
            f"must be one of {', '.join(map(repr, SCORERS))}", column="scorer", value=scorer
        )
    return SCORERS[scorer](system, np.asarray(values, dtype=float))


def limits(system: System, threshold: float | Mapping[str, float]) -> np.ndarray:
    """The deviation from which each metric counts as anomalous, shape (p,).

    Args:
        system: Gives the order.
        threshold: One number for all, or metric -> number (3 where none is given).
    """
    given = threshold if isinstance(threshold, Mapping) else {}
    out = np.full(len(system.metrics), 3.0 if isinstance(threshold, Mapping) else np.nan)
    if not isinstance(threshold, Mapping):
        out[:] = _checked(threshold)
    for name, value in given.items():
        if name in system.position:
            out[system.position[name]] = _checked(value)
        elif name not in system.marginalised:
            raise ParameterError(
                f"names {name!r}, which is not a metric",
                column="threshold",
                advice=did_you_mean(name, system.metrics),
            )
    return out


def _checked(value: float) -> float:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value < np.inf:
        raise ParameterError(
            "must be a number of standard deviations, at least 0", column="threshold", value=value
        )
    return float(value)


def _scaled(difference: np.ndarray, scale: np.ndarray) -> np.ndarray:
    jump = CONSTANT_JUMP * np.sign(difference)
    return np.where(scale > 0, difference / np.where(scale > 0, scale, 1.0), jump)


def log_tail(system: System, j: int, size: np.ndarray) -> np.ndarray:
    """log P(|deviation| >= size) of one metric."""
    body, start, share, shape, scale = system.tail(system.metrics[j])
    at_least = len(body) - np.searchsorted(body, size, side="left")
    inside = np.log(np.maximum(at_least, 1) / len(body))
    excess = np.maximum(size - start, 0.0)
    if scale <= 0:  # the whole tail is one value: no information about anything beyond
        scale = max(start, 1.0)
    fall = excess / scale if shape == 0 else np.log1p(shape * excess / scale) / shape
    return np.where(size > start, np.log(share) - fall, inside)


def _normal_equivalent(log_tail: np.ndarray) -> np.ndarray:
    """z with log P(|N(0, 1)| >= z) = log_tail."""
    from scipy.special import ndtri_exp

    return np.maximum(-ndtri_exp(np.minimum(log_tail, 0.0) - np.log(2.0)), 0.0)
