"""Sandwich covariances from influence rows, by cluster where there is one."""

from __future__ import annotations

import numpy as np


def cluster_sums(influence: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Influence rows (n, p) summed within clusters, (clusters, p)."""
    if groups is None:
        return influence
    labels, member = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(labels), influence.shape[1]))
    np.add.at(sums, member, influence)
    return sums


def covariance(influence: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Covariance of a sum of independent influence rows, or of independent clusters of them.

    sum_c u_c u_c' * C / (C - 1) with u_c the sum of the rows of cluster c; (p, p).
    NaN where there is one unit only.

    Source: Liang and Zeger, "Longitudinal data analysis using generalized linear models",
    Biometrika 73, 1986.

    Example:
        >>> rows = np.array([[1.0], [-1.0], [1.0], [-1.0]])
        >>> float(covariance(rows, np.array([0, 0, 1, 1]))[0, 0])  # clusters cancel
        0.0
    """
    sums = cluster_sums(influence, groups)
    if len(sums) < 2:  # one unit alone says nothing of its spread
        return np.full((influence.shape[1], influence.shape[1]), np.nan)
    return sums.T @ sums * (len(sums) / (len(sums) - 1))


def least_squares(
    design: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares: coefficients (p,) or (p, k), and influence rows (n, p[, k]).

    Influence rows are leverage-corrected (HC2), so that :func:`covariance` of them holds in small
    samples.

    Source: MacKinnon and White, "Some heteroskedasticity-consistent covariance matrix estimators
    with improved finite sample properties", Journal of Econometrics 29, 1985.
    """
    return instrumented(design, design, y, weight)


def instrumented(
    design: np.ndarray, shift: np.ndarray, y: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve sum w shift' (y - design coef) = 0: coefficients and influence rows, as above.

    ``design`` and ``shift`` are (n, p); with ``shift`` = ``design`` it is least squares.
    """
    weighted = shift * weight[:, None]
    same = shift is design
    bread = np.linalg.pinv(weighted.T @ design, hermitian=same)
    coef = bread @ weighted.T @ y
    pull = weighted @ bread.T
    leverage = np.clip((pull * design).sum(axis=1), 0, 0.99)
    rest = y - design @ coef
    if y.ndim == 1:
        return coef, pull * (rest / np.sqrt(1 - leverage))[:, None]
    return coef, pull[:, :, None] * (rest / np.sqrt(1 - leverage)[:, None])[:, None, :]
