"""Compiled loops over conditioning sets: squared partial correlations at constant cost per test.

The sets of one size are walked depth first. Each chosen member s replaces the covariance M of the
columns that are left by its Schur complement M - M_s M_s' / M_ss, so that the last member of a set
costs a handful of operations for each test, whatever the size of the set. One complement is
derived from its parent by a single elimination and thrown away when the walk returns: nothing
accumulates, each number is what Gaussian elimination of that very set gives.

Importing this module loads numba; compiled code is cached on disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .design import DETERMINED

_compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_compiled
def _fill(correlation, x, columns, rows, work, variance):
    """Correlations of x (position 0) and its first ``rows`` columns with x and all columns."""
    size = len(columns)
    work[0, 0, 0] = 1.0
    variance[0, 0] = 1.0
    for j in range(size):
        work[0, 0, j + 1] = correlation[x, columns[j]]
        variance[0, j + 1] = 1.0
    for i in range(rows):
        row = correlation[columns[i]]
        for j in range(size):
            work[0, i + 1, j + 1] = row[columns[j]]


@_compiled
def _eliminate(work, variance, depth, s, rows, size):
    """The Schur complement after column s, for the rows that can still be chosen."""
    old, new = work[depth], work[depth + 1]
    pivot = old[s]
    scale = 1.0 / pivot[s]
    weight = old[0, s] * scale
    variance[depth + 1, 0] = variance[depth, 0] - weight * old[0, s]
    for j in range(1, size + 1):
        new[0, j] = old[0, j] - weight * pivot[j]
        variance[depth + 1, j] = variance[depth, j] - pivot[j] * pivot[j] * scale
    for i in range(s + 1, rows + 1):
        weight = old[i, s] * scale
        for j in range(1, size + 1):
            new[i, j] = old[i, j] - weight * pivot[j]


@_compiled
def _ratios(work, variance, depth, s, start, stop, out):
    """Squared partial correlations of x with columns start to stop - 1; inf: no answer.

    Given what was eliminated down to ``depth`` and s; s = 0 stands for nothing more.
    """
    row = work[depth, 0]
    if s == 0:
        own = variance[depth, 0]
        for j in range(start, stop):
            other = variance[depth, j]
            valid = own > DETERMINED and other > DETERMINED
            out[j] = row[j] * row[j] / (own * other) if valid else np.inf
        return
    pivot = work[depth, s]
    scale = 1.0 / pivot[s]
    weight = row[s] * scale
    own = variance[depth, 0] - weight * row[s]
    for j in range(start, stop):
        other = variance[depth, j] - pivot[j] * pivot[j] * scale
        shared = row[j] - weight * pivot[j]
        valid = own > DETERMINED and other > DETERMINED
        out[j] = shared * shared / (own * other) if valid else np.inf


@_compiled
def _next_set(work, variance, chosen, depth, level, rows, size):
    """Move to the next set of ``level`` rows in lexicographic order; -1 at the end.

    ``chosen[depth]`` is the first row to try. Sets whose members determine one another are
    passed over: no test can be made given them.
    """
    while depth >= 0:
        s = chosen[depth]
        if s > rows - (level - 1 - depth):
            depth -= 1
            if depth >= 0:
                chosen[depth] += 1
        elif work[depth, s, s] <= DETERMINED:
            chosen[depth] += 1
        elif depth == level - 1:
            return depth
        else:
            _eliminate(work, variance, depth, s, rows, size)
            depth += 1
            chosen[depth] = s + 1
    return -1


@_compiled
def _buffers(starts, rows, level, first, last):
    most, wide = 0, 0
    for x in range(first, last):
        most = max(most, rows[x])
        wide = max(wide, starts[x + 1] - starts[x])
    depth = max(level, 1)
    return np.empty((depth, most + 1, wide + 1)), np.empty((depth, wide + 1)), np.empty(wide + 1)


@_compiled
def weakest_links(correlation, starts, columns, rows, level, first, last, best, sets):
    """For each x and each neighbour y, the least r² given any ``level`` of x's candidates.

    Args:
        correlation: ``(d, d)``.
        starts, columns: Neighbours of x are ``columns[starts[x]:starts[x + 1]]``, candidates for
            conditioning first.
        rows: ``(d,)`` number of candidates of each x.
        level: Size of the sets.
        first, last: The range of x.
        best: As ``columns``; receives r², inf where no test could be made.
        sets: ``(len(columns), level)``; receives the set at which it is reached.
    """
    work, variance, ratio = _buffers(starts, rows, level, first, last)
    chosen = np.zeros(max(level, 1), dtype=np.int64)
    for x in range(first, last):
        near = columns[starts[x] : starts[x + 1]]
        size = len(near)
        if size == 0 or rows[x] < level:
            continue
        row_best, row_sets = best[starts[x] : starts[x + 1]], sets[starts[x] : starts[x + 1]]
        if level == 0:
            _fill(correlation, x, near, 0, work, variance)
            _ratios(work, variance, 0, 0, 1, size + 1, ratio)
            row_best[:] = ratio[1 : size + 1]
            continue
        _fill(correlation, x, near, rows[x], work, variance)
        chosen[0] = 1
        depth = _next_set(work, variance, chosen, 0, level, rows[x], size)
        while depth >= 0:
            _ratios(work, variance, depth, chosen[depth], 1, size + 1, ratio)
            for j in range(size):
                if ratio[j + 1] < row_best[j]:
                    row_best[j] = ratio[j + 1]
                    for k in range(level):
                        row_sets[j, k] = near[chosen[k] - 1]
            chosen[depth] += 1
            depth = _next_set(work, variance, chosen, depth, level, rows[x], size)


@_compiled
def list_rows(adjacent, possible):
    """Of each x with neighbours the possible members of its sets, then its other neighbours.

    Returns:
        ``(d + 1,)`` starts and the columns: ``columns[starts[x]:starts[x + 1]]``.
    """
    size = len(adjacent)
    starts = np.zeros(size + 1, dtype=np.int64)
    for x in range(size):
        count, joined = 0, False
        for y in range(size):
            count += adjacent[x, y] or possible[x, y]
            joined = joined or adjacent[x, y]
        starts[x + 1] = starts[x] + (count if joined else 0)
    columns = np.empty(starts[-1], dtype=np.int64)
    for x in range(size):
        at = starts[x]
        if starts[x + 1] > at:
            for y in range(size):
                if possible[x, y]:
                    columns[at] = y
                    at += 1
            for y in range(size):
                if adjacent[x, y] and not possible[x, y]:
                    columns[at] = y
                    at += 1
    return starts, columns


@_compiled
def merge_ends(adjacent, starts, columns, best, sets):
    """Of the two results for each adjacent pair, the lower r²; that of the first end in a tie.

    Returns:
        ``(m, 2)`` pairs i < j, ``(m,)`` r², ``(m, level)`` sets.
    """
    size, level = len(starts) - 1, sets.shape[1]
    count = adjacent.sum() // 2
    pairs = np.empty((count, 2), dtype=np.int64)
    ratio = np.empty(count)
    chosen = np.empty((count, level), dtype=np.int64)
    row = np.full((size, size), -1, dtype=np.int32)
    for i in range(size):
        for c in range(starts[i], starts[i + 1]):
            row[i, columns[c]] = c
    m = 0
    for i in range(size):
        for j in range(i + 1, size):
            if adjacent[i, j]:
                c, other = row[i, j], row[j, i]
                if best[other] < best[c]:
                    c = other
                pairs[m, 0], pairs[m, 1], ratio[m] = i, j, best[c]
                for k in range(level):
                    chosen[m, k] = sets[c, k]
                m += 1
    return pairs, ratio, chosen


@_compiled
def triple_links(
    correlation, starts, columns, rows, begins, middles, level, first, last, active, without, within
):
    """For each x - y - z, the least r² of x and z given ``level`` candidates of x, by whether y is.

    Args:
        correlation: ``(d, d)``.
        starts, columns: The candidates of x, then the other ends z.
        rows: ``(d,)`` number of candidates of each x.
        begins, middles: The middle nodes for ``columns[c]`` are
            ``middles[begins[c]:begins[c + 1]]``.
        level: Size of the sets.
        first, last: The range of x.
        active: ``(d,)`` whether x takes part.
        without, within: As ``middles``; receive r² over sets without and with the middle node.
    """
    work, variance, ratio = _buffers(starts, rows, level, first, last)
    chosen = np.zeros(max(level, 1), dtype=np.int64)
    inside = np.zeros(len(correlation), dtype=np.bool_)
    for x in range(first, last):
        near = columns[starts[x] : starts[x + 1]]
        size = len(near)
        if size == rows[x] or rows[x] < level or not active[x]:
            continue
        _fill(correlation, x, near, rows[x], work, variance)
        chosen[0] = 1
        depth = 0 if level == 0 else _next_set(work, variance, chosen, 0, level, rows[x], size)
        while depth >= 0:
            last_member = 0 if level == 0 else chosen[depth]
            _ratios(work, variance, depth, last_member, rows[x] + 1, size + 1, ratio)
            for k in range(level):
                inside[near[chosen[k] - 1]] = True
            for j in range(rows[x], size):
                value = ratio[j + 1]
                for t in range(begins[starts[x] + j], begins[starts[x] + j + 1]):
                    if inside[middles[t]]:
                        within[t] = min(within[t], value)
                    else:
                        without[t] = min(without[t], value)
            for k in range(level):
                inside[near[chosen[k] - 1]] = False
            if level == 0:
                break
            chosen[depth] += 1
            depth = _next_set(work, variance, chosen, depth, level, rows[x], size)


@_compiled
def unshielded_triples(adjacent):
    """All a - b - c with a < c and a, c not adjacent: ``(m, 3)``, in lexicographic order."""
    size = len(adjacent)
    starts = np.zeros(size + 1, dtype=np.int64)
    for i in range(size):
        starts[i + 1] = starts[i] + adjacent[i].sum()
    near = np.empty(starts[-1], dtype=np.int64)
    for i in range(size):
        near[starts[i] : starts[i + 1]] = np.flatnonzero(adjacent[i])
    total = 0
    for b in range(size):
        degree = starts[b + 1] - starts[b]
        total += degree * (degree - 1) // 2
    out = np.empty((total, 3), dtype=np.int64)
    m = 0
    for a in range(size):
        for b in near[starts[a] : starts[a + 1]]:
            for c in near[starts[b] : starts[b + 1]]:
                if c > a and not adjacent[a, c]:
                    out[m, 0], out[m, 1], out[m, 2] = a, b, c
                    m += 1
    return out[:m]
