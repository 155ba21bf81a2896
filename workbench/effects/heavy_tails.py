"""Covariates with heavy tails: what their ranks say, beside what their values say."""

from __future__ import annotations

import os

import numpy as np

_KURTOSIS = 20.0  # excess; an exponential law has 6, one row of 200 that is 8 sd out makes 17
_FEWEST_VALUES = 20  # a rare level is no tail


def with_normal_scores(z: np.ndarray) -> np.ndarray:
    """Columns with heavy tails are joined by the normal scores of their ranks.

    A few rows far out take all of a column's variance, and what is left to tell the others apart
    is shrunk away by any penalty. score = inverse normal of (rank - 1/2) / n, ties on average.

    Args:
        z: Standardised covariates, (n, p).

    Returns:
        ``z`` itself where no column has an excess kurtosis above 20; otherwise (n, p + heavy).
    """
    heavy = [j for j in range(z.shape[1]) if _is_heavy(z[:, j])]
    if not heavy:
        return z
    from scipy.special import ndtri
    from scipy.stats import rankdata

    scores = ndtri((rankdata(z[:, heavy], axis=0) - 0.5) / len(z))
    mode = os.environ.get("HT", "add")
    if mode == "none":
        return z
    if mode == "replace":
        z = z.copy()
        z[:, heavy] = scores
        return z
    return np.hstack([z, scores])


def _is_heavy(column: np.ndarray) -> bool:
    centred = column - column.mean()
    variance = float((centred**2).mean())
    if variance < 1e-12 or float((centred**4).mean()) <= (_KURTOSIS + 3) * variance**2:
        return False
    return len(np.unique(column)) > _FEWEST_VALUES
