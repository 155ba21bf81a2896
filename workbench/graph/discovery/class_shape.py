"""From a DAG to its CPDAG and back, on boolean matrices: compiled kernels.

For the inner loops of searches; :mod:`workbench.graph.equivalence` does the same for graphs.

References:
    Chickering, "A transformational characterization of equivalent Bayesian network structures",
    UAI 1995; Dor and Tarsi, "A simple algorithm to construct a consistent extension of a partially
    oriented graph", 1992; Meek, "Causal inference and causal explanation with background
    knowledge", UAI 1995.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _lists(matrix):
    """Row by row where a boolean matrix is true: starts and columns."""
    d = len(matrix)
    starts = np.zeros(d + 1, np.int64)
    for i in range(d):
        starts[i + 1] = starts[i]
        for j in range(d):
            starts[i + 1] += matrix[i, j]
    out = np.empty(starts[d], np.int64)
    at = 0
    for i in range(d):
        for j in range(d):
            if matrix[i, j]:
                out[at] = j
                at += 1
    return starts, out


@njit(cache=True, nogil=True)
def complete(dag, arrows, lines):
    """Write the CPDAG of a DAG into ``arrows`` and ``lines`` (Chickering's labelling)."""
    d = len(dag)
    starts, children = _lists(dag)
    waiting = np.zeros(d, np.int64)
    for u in children:
        waiting[u] += 1
    order = np.empty(d, np.int64)
    size = 0
    for i in range(d):
        if waiting[i] == 0:
            order[size] = i
            size += 1
    at = 0
    while at < size:
        for u in children[starts[order[at]] : starts[order[at] + 1]]:
            waiting[u] -= 1
            if waiting[u] == 0:
                order[size] = u
                size += 1
        at += 1
    arrows[:] = False
    lines[:] = False
    into = np.empty(d, np.int64)
    compelled = arrows
    for y in order:
        count = 0
        for i in range(d - 1, -1, -1):
            if dag[order[i], y]:
                into[count] = order[i]
                count += 1
        for i in range(count):
            x = into[i]
            if compelled[x, y] or lines[x, y]:
                continue
            stop = False
            for w in range(d):
                if compelled[w, x]:
                    if not dag[w, y]:
                        stop = True
                        break
                    compelled[w, y] = True
            if not stop:
                for z in into[:count]:
                    if z != x and not dag[z, x]:
                        stop = True
                        break
                if not stop:
                    for z in into[:count]:
                        if not compelled[z, y]:
                            lines[z, y] = True
                    break
            for z in into[:count]:
                if not lines[z, y]:
                    compelled[z, y] = True
            break
    for i in range(d):
        for j in range(i):
            lines[i, j] = lines[j, i] = lines[i, j] or lines[j, i]


@njit(cache=True, nogil=True)
def _forced(arrows, lines, i, j):
    """Whether one of Meek's rules turns i - j into i → j."""
    d = len(arrows)
    for p in range(d):
        if arrows[p, i] and not (arrows[p, j] or arrows[j, p] or lines[p, j]):
            return True
        if arrows[i, p] and arrows[p, j]:
            return True
    for a in range(d):
        if not (lines[i, a] and arrows[a, j]):
            continue
        for c in range(d):
            if c == a or c == j or (arrows[c, j] or arrows[j, c] or lines[c, j]):
                # Not adjacent to j: c → a - i - c or c → a, c → i forces i → j as well.
                if c > a and lines[i, c] and arrows[c, j]:
                    if not (arrows[a, c] or arrows[c, a] or lines[a, c]):
                        return True
                continue
            if arrows[c, a] and (lines[i, c] or arrows[c, i]):
                return True
    return False


@njit(cache=True, nogil=True)
def _known(arrows, lines, allowed):
    """Orient what only one direction is allowed for, and what follows.

    False on a contradiction, or where that makes an unshielded collider that was not there.
    """
    d = len(arrows)
    before = lines.copy()
    oriented = False
    changed = False
    for i in range(d):
        for j in range(d):
            if arrows[i, j] and not allowed[i, j]:
                return False
            if lines[i, j] and not allowed[j, i]:
                if not allowed[i, j]:
                    return False
                lines[i, j] = lines[j, i] = False
                arrows[i, j] = True
                changed = oriented = True
    while changed:
        changed = False
        for i in range(d):
            for j in range(d):
                if lines[i, j] and _forced(arrows, lines, i, j):
                    if not allowed[i, j]:
                        return False
                    lines[i, j] = lines[j, i] = False
                    arrows[i, j] = True
                    changed = True
    if oriented:
        for i in range(d):
            for j in range(d):
                if before[i, j] and arrows[i, j]:
                    for p in range(d):
                        if arrows[p, j] and p != i:
                            if not (arrows[p, i] or arrows[i, p] or lines[p, i]):
                                return False
    return True


@njit(cache=True, nogil=True)
def extend(arrows, lines, allowed, dag):
    """Write a DAG with these arrows and no new unshielded collider into ``dag``.

    False if there is none, or none that is allowed. The inputs are left as they are.
    """
    arrows, lines = arrows.copy(), lines.copy()
    if not _known(arrows, lines, allowed):
        return False
    d = len(arrows)
    dag[:] = arrows
    joined = np.empty((d, d), np.bool_)
    leaving = np.zeros(d, np.int64)
    for i in range(d):
        for j in range(d):
            joined[i, j] = arrows[i, j] or arrows[j, i] or lines[i, j]
            leaving[i] += arrows[i, j]
    starts, near = _lists(joined)
    left = np.ones(d, np.bool_)
    waiting = np.ones(d, np.bool_)
    queue = np.arange(d)
    remaining = d
    # A ring of variables to try; one comes back when something next to it has left.
    head, size = 0, d
    while size:
        s = queue[head]
        head = (head + 1) % d
        size -= 1
        waiting[s] = False
        if not left[s] or leaving[s] > 0:
            continue
        fits = True
        for y in near[starts[s] : starts[s + 1]]:
            if left[y] and lines[s, y]:
                for z in near[starts[s] : starts[s + 1]]:
                    if left[z] and z != y and not joined[y, z]:
                        fits = False
                        break
            if not fits:
                break
        if not fits:
            continue
        left[s] = False
        remaining -= 1
        for y in near[starts[s] : starts[s + 1]]:
            if not left[y]:
                continue
            if lines[s, y]:
                dag[y, s] = True
            else:
                leaving[y] -= 1
            if not waiting[y]:
                waiting[y] = True
                queue[(head + size) % d] = y
                size += 1
    return remaining == 0
