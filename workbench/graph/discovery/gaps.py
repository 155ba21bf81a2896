"""Correlations where rows have empty cells: each pair of columns on the rows that have both.

With sixty columns of which each is empty in one row of twenty, only one row of twenty is complete;
a pair of columns still shares nine of ten. Correlations of different rows need not fit together:
the matrix is moved to a positive definite one by lifting its smallest eigenvalues.

References:
    Little and Rubin, "Statistical analysis with missing data", 3rd ed., 2019, section 3.4;
    Rousseeuw and Molenberghs, "Transformation of non positive semidefinite correlation matrices",
    Communications in Statistics 22, 1993 (the eigenvalue method).
"""

from __future__ import annotations

import numpy as np

# Smallest eigenvalue left to a correlation matrix that was put together from different rows.
_FLOOR = 1e-4


def pair_counts(present: np.ndarray) -> np.ndarray:
    """``(d, d)`` rows in which both columns have a value; ``present`` is ``(n, d)``."""
    out = np.zeros((present.shape[1],) * 2)
    for start in range(0, len(present), 100_000):
        part = present[start : start + 100_000].astype(np.float32)
        out += part.T @ part
    return out


def available_correlation(values: np.ndarray, counts: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Positive definite correlations from columns that are 0 where they are empty.

    Args:
        values: ``(n, c)`` columns centred and of unit length over the rows that they have.
        counts: ``(d, d)`` of :func:`pair_counts`.
        owner: ``(c,)`` variable of each column.
    """
    own = np.sqrt(counts.diagonal())
    share = np.outer(own, own) / np.maximum(counts, 1)
    out = values.T @ values
    out *= share[np.ix_(owner, owner)]
    np.fill_diagonal(out, 1.0)
    sizes, vectors = np.linalg.eigh(out)
    if sizes[0] < _FLOOR:
        out = (vectors * np.maximum(sizes, _FLOOR)) @ vectors.T
        scale = 1 / np.sqrt(out.diagonal())
        out *= np.outer(scale, scale)
        out = (out + out.T) / 2
        np.fill_diagonal(out, 1.0)
    return out
