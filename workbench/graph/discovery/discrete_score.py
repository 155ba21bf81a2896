"""BDeu and BIC of one discrete variable given others, from counts: compiled kernels.

With N_jk the number of rows in which the parents are in configuration j and the variable at level
k, q configurations, r levels and equivalent sample size s,

    BDeu = Σ_j [lnΓ(s/q) - lnΓ(s/q + N_j)] + Σ_jk [lnΓ(s/qr + N_jk) - lnΓ(s/qr)]
    BIC  = Σ_jk N_jk ln(N_jk / N_j) - λ ln(n) q (r - 1).

BDeu also pays ln(d) for each parent (prior odds of 1 / d for each of d variables), without which
many variables get parents by chance. Equal rows are counted once, with a weight; only
configurations that occur cost time.

References:
    Heckerman, Geiger, Chickering, "Learning Bayesian networks: the combination of knowledge and
    statistical data", Machine Learning 20, 1995.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def refine(number, found, own, r, out):
    """Number the configurations of ``number`` and one more variable that occur; how many there are.

    Args:
        number: ``(n,)`` configuration of each row, below ``found``.
        own, r: ``(n,)`` levels of the variable, below r.
        out: ``(n,)`` the new numbers, in the order in which they are met; may be ``number``.
    """
    seen = np.full(found * r, -1)
    total = 0
    for i in range(len(number)):
        key = number[i] * r + own[i]
        if seen[key] < 0:
            seen[key] = total
            total += 1
        out[i] = seen[key]
    return total


@njit(cache=True, nogil=True)
def _configurations(codes, levels, parents):
    """Number of each row's configuration of the parents, how many occur, how many there could be.

    Parents extend the numbering one at a time.
    """
    number = np.zeros(codes.shape[1], np.int64)
    found, possible = 1, 1.0
    for p in parents:
        found = refine(number, found, codes[p], levels[p], number)
        possible *= levels[p]
    return number, found, possible


@njit(cache=True, nogil=True)
def _score(counts, found, r, possible, bayes, size, cost):
    """The score from ``counts``, ``found`` groups of r cells; ``possible`` configurations."""
    total = 0.0
    if bayes:
        a, cell = size / possible, size / (possible * r)
        start, cell_start = math.lgamma(a), math.lgamma(cell)
        for j in range(found):
            n = 0.0
            for k in range(j * r, (j + 1) * r):
                if counts[k] > 0:
                    n += counts[k]
                    total += math.lgamma(cell + counts[k]) - cell_start
            if n > 0:
                total += start - math.lgamma(a + n)
        return total
    for j in range(found):
        n = 0.0
        for k in range(j * r, (j + 1) * r):
            if counts[k] > 0:
                n += counts[k]
                total += counts[k] * math.log(counts[k])
        if n > 0:
            total -= n * math.log(n)
    return total - cost * possible * (r - 1)


@njit(cache=True, nogil=True)
def gains(codes, levels, weights, bayes, size, cost, v, parents, available, out):
    """What adding each available variable to the parents of v adds to its score.

    The configurations of the parents are numbered once for all candidates.
    """
    number, found, possible = _configurations(codes, levels, parents)
    r, own = levels[v], codes[v]
    counts = np.zeros(found * r)
    for i in range(len(number)):
        counts[number[i] * r + own[i]] += weights[i]
    before = _score(counts, found, r, possible, bayes, size, cost)
    table = np.empty(found * levels.max() * r)
    for u in range(len(levels)):
        out[u] = -np.inf
        if not available[u]:
            continue
        theirs, ru = codes[u], levels[u]
        table[: found * ru * r] = 0.0
        for i in range(len(number)):
            table[(number[i] * ru + theirs[i]) * r + own[i]] += weights[i]
        out[u] = _score(table, found * ru, r, possible * ru, bayes, size, cost) - before
        if bayes:
            out[u] -= cost


@njit(cache=True, nogil=True)
def local(codes, levels, weights, bayes, size, cost, v, parents):
    """The score of v given its parents."""
    number, found, possible = _configurations(codes, levels, parents)
    r, own = levels[v], codes[v]
    counts = np.zeros(found * r)
    for i in range(len(number)):
        counts[number[i] * r + own[i]] += weights[i]
    prior = cost * len(parents) if bayes else 0.0
    return _score(counts, found, r, possible, bayes, size, cost) - prior
