"""The score that a search maximises: a sum over variables, each given its parents.

One plain tuple of arrays holds everything that the compiled kernels need, whatever the score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from . import discrete_score, gaussian_score

GAUSSIAN, BLOCKS, DISCRETE = 0, 1, 2

_gaussian_gains, _block_gains, _gaussian = (
    gaussian_score.gains,
    gaussian_score.block_gains,
    gaussian_score.local,
)
_discrete_gains, _discrete = discrete_score.gains, discrete_score.local


class LocalScore(NamedTuple):
    """Sufficient statistics and constants of one score.

    Attributes:
        kind: ``GAUSSIAN`` (one column each), ``BLOCKS`` or ``DISCRETE``.
        correlation: ``(c, c)`` correlations of encoded columns.
        starts: ``(d + 1,)`` first encoded column of each variable.
        rows: Number of rows.
        cost: λ log(n), per parameter.
        codes: ``(d, m)`` levels of the distinct rows.
        levels: ``(d,)`` number of levels.
        weights: ``(m,)`` how often each distinct row occurs.
        bayes: Whether a discrete score is BDeu.
        size: Its equivalent sample size.
        most: Largest number of parents.
    """

    kind: int
    correlation: np.ndarray
    starts: np.ndarray
    rows: float
    cost: float
    codes: np.ndarray
    levels: np.ndarray
    weights: np.ndarray
    bayes: bool
    size: float
    most: int


def gaussian(correlation: np.ndarray, sizes: np.ndarray, rows: float, penalty: float) -> LocalScore:
    """Gaussian BIC with λ = ``penalty`` of variables with ``sizes`` columns each.

    Where rows are hardly more than columns, the extended one (see :func:`extension`).
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    cost = penalty * (np.log(rows) + extension(rows, int(sizes.sum())))
    return LocalScore(
        kind=GAUSSIAN if (sizes == 1).all() else BLOCKS,
        correlation=np.ascontiguousarray(correlation, dtype=float),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        rows=float(rows),
        cost=float(cost),
        codes=np.zeros((0, 0), np.int32),
        levels=np.zeros(0, np.int64),
        weights=np.zeros(0),
        bayes=False,
        size=0.0,
        # Beyond this the residual variance is noise and the score rises without end.
        most=int(max(1, min(100, rows // 5))),
    )


def extension(rows: int, columns: int) -> float:
    """What the extended BIC adds to log n: 2 log d up to n = d rows, fading to 0 at n = 2 d.

    Among d columns a parent is the best of d, which log n alone doesn't pay for once d is as
    large as n.

    References:
        Chen and Chen, "Extended Bayesian information criteria for model selection with large
        model spaces", Biometrika 95, 2008; Foygel and Drton, "Extended Bayesian information
        criteria for Gaussian graphical models", NeurIPS 2010 (γ = 1/2 per edge at λ = 1/2).
    """
    return 2 * float(np.clip(2 - rows / columns, 0, 1) * np.log(columns))


def discrete(codes: np.ndarray, penalty: float, equivalent_size: float | None) -> LocalScore:
    """BDeu with an equivalent sample size, or BIC with λ = ``penalty`` where it is None.

    Args:
        codes: ``(n, d)`` levels of each row; those that don't occur do not count.
    """
    dense = np.column_stack([np.unique(c, return_inverse=True)[1] for c in codes.T])
    levels = dense.max(axis=0) + 1
    distinct, weights = np.unique(dense.astype(np.int32), axis=0, return_counts=True)
    return LocalScore(
        kind=DISCRETE,
        correlation=np.zeros((0, 0)),
        starts=np.zeros(1, np.int64),
        rows=float(len(codes)),
        cost=float(np.log(len(levels)) if equivalent_size else penalty * np.log(len(codes))),
        codes=np.ascontiguousarray(distinct.T),
        levels=np.asarray(levels, dtype=np.int64),
        weights=weights.astype(float),
        bayes=equivalent_size is not None,
        size=float(equivalent_size or 0.0),
        most=20,
    )


@njit(cache=True, nogil=True)
def gains(score, v, parents, available, out):
    """What adding each available variable to the parents of v adds to its score."""
    if len(parents) >= score.most:
        out[:] = -np.inf
    elif score.kind == GAUSSIAN:
        _gaussian_gains(score.correlation, score.rows, score.cost, v, parents, available, out)
    elif score.kind == BLOCKS:
        _block_gains(
            score.correlation, score.starts, score.rows, score.cost, v, parents, available, out
        )
    else:
        _discrete_gains(
            score.codes,
            score.levels,
            score.weights,
            score.bayes,
            score.size,
            score.cost,
            v,
            parents,
            available,
            out,
        )


@njit(cache=True, nogil=True)
def local(score, v, parents):
    """The score of v given its parents."""
    if score.kind == DISCRETE:
        return _discrete(
            score.codes,
            score.levels,
            score.weights,
            score.bayes,
            score.size,
            score.cost,
            v,
            parents,
        )
    return _gaussian(score.correlation, score.starts, score.rows, score.cost, v, parents)


@njit(cache=True, nogil=True)
def total(score, edges):
    """The score of the DAG with these edges, row → column."""
    out = 0.0
    for v in range(len(edges)):
        out += local(score, v, np.flatnonzero(edges[:, v]))
    return out
