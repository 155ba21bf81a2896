"""The causal order of DirectLiNGAM, compiled; importing this module loads numba."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_compiled = njit(cache=True, nogil=True)


@_compiled
def _entropy(column, scale):
    """Maximum entropy approximation of H(column * scale) for a centred column of unit variance."""
    first, second = 0.0, 0.0
    for value in column:
        u = abs(value * scale)
        first += u + math.log1p(math.exp(-2.0 * u))
        second += value * scale * math.exp(-0.5 * u * u)
    n = len(column)
    first = first / n - math.log(2.0) - 0.37457  # E log cosh u, less its value for a Gaussian
    second /= n
    return (1 + math.log(2 * math.pi)) / 2 - 79.047 * first**2 - 7.4129 * second**2


@_compiled
def _direction(x, y, entropy_x, entropy_y, rest):
    """Positive where x → y fits better: I(y, x's residual) - I(x, y's residual)."""
    n = len(x)
    r = 0.0
    for k in range(n):
        r += x[k] * y[k]
    r /= n
    left = 1.0 - r * r
    if left < 1e-12:
        return 0.0
    scale = 1.0 / math.sqrt(left)
    for k in range(n):
        rest[k] = x[k] - r * y[k]
    entropy_rest_x = _entropy(rest, scale)
    for k in range(n):
        rest[k] = y[k] - r * x[k]
    return entropy_y + entropy_rest_x - entropy_x - _entropy(rest, scale)


@_compiled
def _standardise(x, rows):
    for i in rows:
        x[i] -= x[i].mean()
        x[i] /= math.sqrt((x[i] ** 2).mean())


@_compiled
def _most_exogenous(x, left, candidates):
    """The candidate i with the least T_i = sum over j of min(0, D_ij)².

    Each pair counts for both of its ends, and T only grows: the candidate that is ahead is
    advanced by one pair at a time, and the first that has met all others is the least. That gives
    what evaluating all pairs gives, for a small share of the work.
    """
    size, count = len(x), len(left)
    entropy, total, met = np.zeros(size), np.zeros(size), np.zeros((size, size), dtype=np.bool_)
    done, rest = np.zeros(size, dtype=np.int64), np.empty(x.shape[1])
    for i in left:
        entropy[i] = _entropy(x[i], 1.0)
        met[i, i] = True
    while True:
        best = -1
        for i in candidates:
            if best < 0 or total[i] < total[best]:
                best = i
        if done[best] == count - 1:
            return best
        for j in left:
            if not met[best, j]:
                d = _direction(x[best], x[j], entropy[best], entropy[j], rest)
                total[best] += min(0.0, d) ** 2
                total[j] += max(0.0, d) ** 2
                met[best, j] = met[j, best] = True
                done[best] += 1
                done[j] += 1
                break


@_compiled
def causal_order(x, before, preferred):
    """Variables in causal order; ``x`` (d, n) is overwritten.

    Args:
        x: One row for each variable.
        before: ``(d, d)`` whether i must come before j; acyclic.
        preferred: ``(d, d)`` whether i should come before j, where that leaves a choice.
    """
    size = len(x)
    out = np.empty(size, dtype=np.int64)
    left = np.arange(size)
    for position in range(size):
        _standardise(x, left)
        candidates = left[np.array([not before[left, i].any() for i in left])]
        liked = candidates[np.array([not preferred[left, i].any() for i in candidates])]
        if len(liked):
            candidates = liked
        chosen = candidates[0] if len(candidates) == 1 else _most_exogenous(x, left, candidates)
        out[position] = chosen
        left = left[left != chosen]
        for i in left:
            x[i] -= (x[i] * x[chosen]).mean() * x[chosen]
    return out
