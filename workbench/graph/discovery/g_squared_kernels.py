"""G² of many questions about one variable, compiled; importing this module loads numba.

The configurations of a conditioning set are numbered row by row, one member after the other;
sets that start alike share that work, and so do all the questions about one set.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .discrete_score import refine


@njit(cache=True, nogil=True)
def g_squared(codes, levels, weights, terms, x, targets, subsets, statistic, freedom):
    """Fill G² and degrees of freedom, ``(m, t)`` each, of x ⊥ y | S.

    Args:
        codes: ``(d, n)`` levels, equal rows once.
        levels: ``(d,)`` number of levels.
        weights: ``(n,)`` how often each row occurs.
        terms: ``terms[k]`` is k ln k.
        x, targets, subsets: Position, ``(t,)`` positions, ``(m, l)`` sets in lexicographic order.
    """
    rows, depth = codes.shape[1], subsets.shape[1]
    number = np.zeros((depth + 1, rows), np.int64)
    found = np.ones(depth + 1, np.int64)
    within = np.empty(rows, np.int64)
    for m in range(len(subsets)):
        first = 0
        while m and first < depth and subsets[m, first] == subsets[m - 1, first]:
            first += 1
        for k in range(first, depth):
            s = subsets[m, k]
            found[k + 1] = refine(number[k], found[k], codes[s], levels[s], number[k + 1])
        strata = number[depth]
        groups = refine(strata, found[depth], codes[x], levels[x], within)
        # Each group is a level of x in a stratum.
        stratum, group_size = np.empty(groups, np.int64), np.zeros(groups, np.int64)
        stratum_size = np.zeros(found[depth], np.int64)
        for i in range(rows):
            stratum[within[i]] = strata[i]
            group_size[within[i]] += weights[i]
            stratum_size[strata[i]] += weights[i]
        own_levels = np.zeros(found[depth], np.int64)
        fixed = 0.0
        for g in range(groups):
            own_levels[stratum[g]] += 1
            fixed -= terms[group_size[g]]
        for size in stratum_size:
            fixed += terms[size]
        for t in range(len(targets)):
            y = targets[t]
            taken = y == x
            for s in subsets[m]:
                taken = taken or s == y
            if not taken:
                statistic[m, t], freedom[m, t] = _one(
                    within, stratum, own_levels, codes[y], levels[y], weights, terms, fixed
                )


@njit(cache=True, nogil=True)
def _one(within, stratum, own_levels, own, r, weights, terms, fixed):
    """G² and degrees of freedom of one y with r levels."""
    cells = np.zeros(len(stratum) * r, np.int64)
    columns = np.zeros(len(own_levels) * r, np.int64)
    for i in range(len(within)):
        cells[within[i] * r + own[i]] += weights[i]
    total = fixed
    for g in range(len(stratum)):
        for k in range(r):
            count = cells[g * r + k]
            if count:
                total += terms[count]
                columns[stratum[g] * r + k] += count
    free = 0
    for s in range(len(own_levels)):
        seen = 0
        for k in range(r):
            count = columns[s * r + k]
            if count:
                total -= terms[count]
                seen += 1
        free += (own_levels[s] - 1) * (seen - 1)
    return 2 * total, free
