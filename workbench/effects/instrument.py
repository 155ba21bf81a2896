"""Instrumental variables: two-stage least squares with honest errors and a strength test."""

from __future__ import annotations

import numpy as np

from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .conditions import tell_strength
from .design import contrast_columns, linear_parts
from .sandwich import covariance, instrumented, least_squares


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
    tell_strength(data, instruments)
    weight, t, shifts, base = linear_parts(data, instruments, "instruments")
    n = len(data)
    d = t.shape[1]
    stage = np.hstack([shifts, base])
    first, _ = least_squares(stage, t, weight)
    fitted = np.hstack([stage @ first, base])
    actual = np.hstack([t, base])
    coef, influence = instrumented(actual, fitted, data.y, weight)
    code = contrast_columns(data, t0, t1)
    error = float(np.sqrt(covariance((influence[:, :d] @ code)[:, None], data.groups)[0, 0]))
    clusters = n if data.groups is None else len(np.unique(data.groups))
    df = float(clusters - 1 if data.groups is not None else n - actual.shape[1])
    return Estimate(float(code @ coef[:d]), error, max(df, 1.0))
