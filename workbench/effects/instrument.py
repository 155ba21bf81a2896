"""Instrumental variables: two-stage least squares with honest errors and a strength test."""

from __future__ import annotations

import numpy as np

from ..core.errors import QuestionError, warn
from ..core.results import number
from ..tables.effect_data import EffectData
from ..tables.gate import Table, count
from .base import Estimate
from .design import contrast_columns, linear_parts
from .sandwich import covariance, least_squares

_WEAK_F = 10.0


def instrument_effect(data: EffectData, instruments: Table, t0: float, t1: float) -> Estimate:
    """Two-stage least squares: regress Y on the part of T that the instruments explain.

    With any X and W in both stages; errors are leverage-corrected, by cluster where there is one.
    The number is the effect only if it is the same for all units; else a weighted average over
    units whom the instrument moves. A first-stage F below 10 is a ``weak-instrument`` warning.

    Args:
        data: Outcome, treatment and covariates.
        instruments: Columns that move T and reach Y only through it.
        t0, t1: The contrast as positions of arms, or doses.

    Raises:
        QuestionError: Fewer (independent) instruments than treatment columns.

    References:
        Angrist and Imbens, "Two-stage least squares estimation of average causal effects in models
        with variable treatment intensity", JASA 90, 1995. Staiger and Stock, "Instrumental
        variables regression with weak instruments", Econometrica 65(3), 1997.
    """
    weight, t, shifts, base = linear_parts(data, instruments, "instruments")
    n = len(data)
    d, q = t.shape[1], shifts.shape[1]
    if q < d:
        raise QuestionError(
            f"has {count(q, 'usable column')} as instrument, the contrast needs {d}",
            column=instruments.names[0],
            advice="Add instruments, or compare two arms only.",
        )
    stage = np.hstack([shifts, base])
    first, first_rows = least_squares(stage, t, weight)
    strength = _first_stage_f(first[:q], first_rows[:, :q], data.groups)
    if strength < _WEAK_F:
        warn(
            "weak-instrument",
            f"the instruments hardly move {data.t_name!r} (first-stage F = {number(strength)}, "
            "below 10): estimate and interval are not to be relied on",
            instruments.names,
        )
    fitted = np.hstack([stage @ first, base])
    actual = np.hstack([t, base])
    weighted = fitted * weight[:, None]
    bread = np.linalg.pinv(weighted.T @ actual)
    coef = bread @ weighted.T @ data.y
    pull = weighted @ bread.T
    leverage = np.clip((pull * fitted).sum(axis=1), 0, 0.99)
    influence = pull * ((data.y - actual @ coef) / np.sqrt(1 - leverage))[:, None]
    code = contrast_columns(data, t0, t1)
    error = float(np.sqrt(covariance((influence[:, :d] @ code)[:, None], data.groups)[0, 0]))
    clusters = n if data.groups is None else len(np.unique(data.groups))
    df = float(clusters - 1 if data.groups is not None else n - actual.shape[1])
    return Estimate(float(code @ coef[:d]), error, max(df, 1.0))


def _first_stage_f(coef: np.ndarray, rows: np.ndarray, groups: np.ndarray | None) -> float:
    """The smallest robust F statistic of the instruments over the treatment columns."""
    found = []
    for j in range(coef.shape[1]):
        cov = covariance(rows[:, :, j], groups)
        found.append(float(coef[:, j] @ np.linalg.pinv(cov) @ coef[:, j]) / len(coef))
    return min(found)
