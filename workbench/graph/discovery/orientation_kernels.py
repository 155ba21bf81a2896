"""Compiled steps of orientation, on dense arrays; importing this module loads numba.

A skeleton comes as neighbours ``near[starts[i]:starts[i + 1]]`` of each node i, arrows i → j as a
boolean matrix, triples as ``(m, 3)`` rows (a, b, c) with the positions of those that have b in
the middle in ``members[begins[b]:begins[b + 1]]``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(cache=True, nogil=True)


@_compiled
def _reaches(arrows, starts, near, start, goal, seen, stack):
    seen[:] = False
    seen[start] = True
    stack[0], top = start, 1
    while top:
        top -= 1
        node = stack[top]
        for child in near[starts[node] : starts[node + 1]]:
            if arrows[node, child] and not seen[child]:
                if child == goal:
                    return True
                seen[child] = True
                stack[top] = child
                top += 1
    return False


@_compiled
def _spoils(arrows, triples, begins, members, is_open, x, b):
    """Whether x → b makes a collider of a triple that stronger evidence keeps open."""
    for t in members[begins[b] : begins[b + 1]]:
        if is_open[t]:
            a, c = triples[t, 0], triples[t, 2]
            if (a == x and arrows[c, b]) or (c == x and arrows[a, b]):
                return True
    return False


@_compiled
def orient_colliders(arrows, starts, near, triples, begins, members, evidence, order):
    """Orient colliders in the given order unless that contradicts what is oriented already."""
    size = len(arrows)
    is_open = np.zeros(len(triples), dtype=np.bool_)
    seen, stack = np.zeros(size, dtype=np.bool_), np.empty(size, dtype=np.int64)
    for t in order:
        if evidence[t] <= 0:
            is_open[t] = True
            continue
        b, fits = triples[t, 1], True
        for x in (triples[t, 0], triples[t, 2]):
            if fits and not arrows[x, b]:
                fits = not (
                    arrows[b, x]
                    or _reaches(arrows, starts, near, b, x, seen, stack)
                    or _spoils(arrows, triples, begins, members, is_open, x, b)
                )
        if fits:
            arrows[triples[t, 0], b] = arrows[triples[t, 2], b] = True


@_compiled
def _sink_cost(s, left, starts, near, triples, begins, members, evidence):
    """New colliders at s that the evidence denies, and wanted ones next to s that are lost."""
    total = 0.0
    for t in members[begins[s] : begins[s + 1]]:
        if evidence[t] < 0 and left[triples[t, 0]] and left[triples[t, 2]]:
            total -= evidence[t]
    for i in near[starts[s] : starts[s + 1]]:
        if left[i]:
            for t in members[begins[i] : begins[i + 1]]:
                a, c = triples[t, 0], triples[t, 2]
                if evidence[t] > 0 and (s == a or s == c) and left[a] and left[c]:
                    total += evidence[t]
    return total


@_compiled
def extend(arrows, starts, near, triples, begins, members, evidence):
    """A DAG with these arrows: remove sinks, each time the one that overrules least evidence.

    Returns:
        ``(d, d)`` i → j.
    """
    size = len(arrows)
    out = np.zeros((size, size), dtype=np.bool_)
    left, stale = np.ones(size, dtype=np.bool_), np.ones(size, dtype=np.bool_)
    children, cost = np.zeros(size, dtype=np.int64), np.zeros(size)
    for i in range(size):
        children[i] = arrows[i].sum()
    for _ in range(size):
        s = -1
        for i in range(size):
            if left[i] and children[i] == 0:
                if stale[i]:
                    cost[i] = _sink_cost(i, left, starts, near, triples, begins, members, evidence)
                    stale[i] = False
                if s < 0 or cost[i] < cost[s]:
                    s = i
        left[s] = False
        for p in near[starts[s] : starts[s + 1]]:
            if left[p]:
                out[p, s] = stale[p] = True
                if arrows[p, s]:
                    children[p] -= 1
                for i in near[starts[p] : starts[p + 1]]:
                    stale[i] = True
    return out


@_compiled
def _is_forced(directed, undirected, starts, near, i, j):
    """Whether one of Meek's first three rules turns i - j into i → j."""
    for p in near[starts[i] : starts[i + 1]]:
        if p == j:
            continue
        joined = directed[p, j] or directed[j, p] or undirected[p, j]
        if directed[p, i] and not joined:
            return True
        if directed[i, p] and directed[p, j]:
            return True
        if undirected[i, p] and directed[p, j]:
            for q in near[starts[i] : starts[i + 1]]:
                if q > p and undirected[i, q] and directed[q, j]:
                    if not (directed[p, q] or directed[q, p] or undirected[p, q]):
                        return True
    return False


@_compiled
def complete(dag, starts, near):
    """The equivalence class of a DAG: its arrows i → j and its undirected edges, both ``(d, d)``.

    Arrows of unshielded colliders stay, the others are undone and come back by Meek's rules (the
    fourth is never needed without background knowledge).
    """
    size = len(dag)
    directed = np.zeros((size, size), dtype=np.bool_)
    undirected = np.zeros((size, size), dtype=np.bool_)
    for j in range(size):
        around = near[starts[j] : starts[j + 1]]
        for i in around:
            if dag[i, j]:
                for k in around:
                    if k != i and dag[k, j] and not (dag[i, k] or dag[k, i]):
                        directed[i, j] = True
                        break
                if not directed[i, j]:
                    undirected[i, j] = undirected[j, i] = True
    changed = True
    while changed:
        changed = False
        for i in range(size):
            for j in near[starts[i] : starts[i + 1]]:
                if undirected[i, j] and _is_forced(directed, undirected, starts, near, i, j):
                    undirected[i, j] = undirected[j, i] = False
                    directed[i, j] = changed = True
    return directed, undirected
