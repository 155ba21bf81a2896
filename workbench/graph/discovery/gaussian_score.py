"""Gaussian BIC of one variable given others, from correlations: compiled kernels.

For a variable with k columns and parents with K columns in total the score is -n/2 log det(C) -
λ log(n) k K, with C the covariance of the variable's columns given those of its parents; for a
single column det(C) is its residual variance. A category is a block of columns (the degenerate
Gaussian score).

References:
    Schwarz, "Estimating the dimension of a model", Annals of Statistics 6, 1978; Andrews, Ramsey,
    Cooper, "Learning high-dimensional directed acyclic graphs with mixed data-types", KDD workshop
    on causal discovery, 2019.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Share of a column's variance that must be left for it to count as not determined by others.
DETERMINED = 1e-9


@njit(cache=True, nogil=True)
def gains(correlation, rows, cost, v, parents, available, out):
    """What adding each available single column to the parents of v adds to its score.

    Gram-Schmidt loadings of all columns on the parents come first; each candidate u then costs a
    few operations: with c the covariance of u and v given the parents, the residual variance of v
    falls by c² / var(u). Candidates that the parents determine get -inf.
    """
    d = len(correlation)
    left = np.ones(d)
    shared = correlation[v].copy()
    loadings = np.empty((len(parents), d))
    for m in range(len(parents)):
        p = parents[m]
        row = loadings[m]
        row[:] = correlation[p]
        for j in range(m):
            weight, other = loadings[j, p], loadings[j]
            for u in range(d):
                row[u] -= weight * other[u]
        scale = 1.0 / np.sqrt(max(row[p], DETERMINED))
        on_v = row[v] * scale
        for u in range(d):
            row[u] *= scale
            left[u] -= row[u] * row[u]
            shared[u] -= on_v * row[u]
    whole = left[v]
    worth = 1.0 - np.exp(-2.0 * cost / rows)  # share of variance that pays for a parent
    for u in range(d):
        out[u] = -np.inf
        if available[u] and left[u] > DETERMINED and whole > DETERMINED:
            share = shared[u] * shared[u] / (left[u] * whole)
            if share > worth and share < 1.0 - DETERMINED:
                out[u] = -0.5 * rows * np.log1p(-share) - cost


@njit(cache=True, nogil=True)
def _log_det(correlation, loadings, first, k, second, more):
    """log det of what loadings leave of k columns, and of these and more; -inf if singular."""
    factor = np.empty((k + more, k + more))
    total, part = 0.0, 0.0
    for i in range(k + more):
        ci = first + i if i < k else second + i - k
        row = factor[i]
        for j in range(i + 1):
            cj = first + j if j < k else second + j - k
            x = correlation[ci, cj]
            for m in range(len(loadings)):
                x -= loadings[m, ci] * loadings[m, cj]
            for m in range(j):
                x -= row[m] * factor[j, m]
            if j < i:
                row[j] = x * factor[j, j]
            elif x <= DETERMINED:
                return -np.inf, -np.inf
            else:
                row[i] = 1.0 / np.sqrt(x)
                total += np.log(x)
                if i < k:
                    part = total
    return part, total


@njit(cache=True, nogil=True)
def _columns(starts, members):
    size = 0
    for u in members:
        size += starts[u + 1] - starts[u]
    out = np.empty(size, np.int64)
    at = 0
    for u in members:
        for column in range(starts[u], starts[u + 1]):
            out[at] = column
            at += 1
    return out


@njit(cache=True, nogil=True)
def block_gains(correlation, starts, rows, cost, v, parents, available, out):
    """:func:`gains` where variables are blocks of columns.

    The gain of u is n/2 I(u; v | parents) - λ log(n) k_u k_v, with I the information that two
    jointly Gaussian blocks share, twice over.
    """
    columns = _columns(starts, parents)
    size = len(columns)
    d, width = len(starts) - 1, len(correlation)
    loadings = np.empty((size, width))
    for m in range(size):
        row = loadings[m]
        row[:] = correlation[columns[m]]
        for j in range(m):
            weight, other = loadings[j, columns[m]], loadings[j]
            for u in range(width):
                row[u] -= weight * other[u]
        scale = 1.0 / np.sqrt(max(row[columns[m]], DETERMINED))
        for u in range(width):
            row[u] *= scale
    first, kv = starts[v], starts[v + 1] - starts[v]
    own_det, _ = _log_det(correlation, loadings, first, kv, 0, 0)
    for u in range(d):
        out[u] = -np.inf
        if available[u] and own_det > -np.inf:
            ku = starts[u + 1] - starts[u]
            their_det, joint = _log_det(correlation, loadings, starts[u], ku, first, kv)
            if joint > -np.inf:
                out[u] = 0.5 * rows * (their_det + own_det - joint) - cost * ku * kv


@njit(cache=True, nogil=True)
def local(correlation, starts, rows, cost, v, parents):
    """The score of v given its parents; -inf where they are collinear."""
    columns = _columns(starts, parents)
    k, kv = len(columns), starts[v + 1] - starts[v]
    # A Cholesky factor with the parents first: the last pivots are what they leave of v.
    factor = np.empty((k + kv, k + kv))
    total = 0.0
    for i in range(k + kv):
        ci = columns[i] if i < k else starts[v] + i - k
        row = factor[i]
        for j in range(i + 1):
            cj = columns[j] if j < k else starts[v] + j - k
            x = correlation[ci, cj]
            for m in range(j):
                x -= row[m] * factor[j, m]
            if j < i:
                row[j] = x * factor[j, j]
            elif x <= DETERMINED:
                return -np.inf
            else:
                row[i] = 1.0 / np.sqrt(x)
                if i >= k:
                    total += np.log(x)
    return -0.5 * rows * total - cost * k * kv
