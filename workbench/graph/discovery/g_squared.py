"""The G² test of conditional independence for tables of levels, from counts."""

from __future__ import annotations

import numpy as np

from .design import Design
from .independence import log_chi2_tail


class GSquaredTest:
    """Likelihood ratio of x ⊥ y | S in a table of counts.

    G² = 2 Σ N_xys ln(N_xys N_s / (N_xs N_ys)) against chi-square; each configuration s of S that
    occurs adds (levels of x that occur with s - 1)(levels of y that occur with s - 1) degrees of
    freedom. Where none are left the table says nothing: log p is -inf, which separates no pair.

    Args:
        design: A design with ``codes``.

    References:
        Spirtes, Glymour and Scheines, "Causation, Prediction, and Search", 2000, section 5.5;
        Wilks, Annals of Mathematical Statistics 9, 1938.
    """

    def __init__(self, design: Design):
        codes = np.column_stack([np.unique(c, return_inverse=True)[1] for c in design.codes.T])
        # Equal rows are counted once, with a weight.
        distinct, weights = np.unique(codes.astype(np.int32), axis=0, return_counts=True)
        self.size = codes.shape[1]
        self._codes, self._weights = np.ascontiguousarray(distinct.T), weights.astype(np.int64)
        self._levels = codes.max(axis=0).astype(np.int64) + 1
        counts = np.arange(len(codes) + 1.0)
        self._terms = counts * np.log(np.maximum(counts, 1))  # N ln N

    def log_p(self, x: int, targets: np.ndarray, subsets: np.ndarray) -> np.ndarray:
        """Log p-values ``(m, t)`` of x ⊥ y | S for targets y and ``(m, l)`` sets S without x."""
        statistic, freedom = self.statistic(x, targets, subsets)
        out = np.full(statistic.shape, -np.inf)
        known = freedom > 0
        out[known] = log_chi2_tail(statistic[known], freedom[known])
        return out

    def statistic(
        self, x: int, targets: np.ndarray, subsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """G² and its degrees of freedom, ``(m, t)`` each; both are 0 where y is in S."""
        from .g_squared_kernels import g_squared

        shape = (len(subsets), len(targets))
        statistic, freedom = np.zeros(shape), np.zeros(shape, np.int64)
        if statistic.size:
            g_squared(
                self._codes,
                self._levels,
                self._weights,
                self._terms,
                x,
                np.asarray(targets, dtype=np.int64),
                np.asarray(subsets, dtype=np.int64),
                statistic,
                freedom,
            )
        return np.maximum(statistic, 0.0), freedom
