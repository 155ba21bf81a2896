"""Orientation rules for graphs with hidden common causes, compiled; importing this loads numba.

``marks[i, j]`` is the mark at j of the edge between i and j: 0 no edge, 1 circle, 2 arrow, 3 tail.
Without selection bias a tail has an arrow at the other end, so that Zhang's rules R5 to R7, which
make undirected edges, have nothing to do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NONE, CIRCLE, ARROW, TAIL = 0, 1, 2, 3

_compiled = njit(cache=True, nogil=True)


@_compiled
def _directed(marks, i, j):
    return marks[i, j] == ARROW and marks[j, i] == TAIL


@_compiled
def _neighbours(marks):
    """Neighbours of i, ascending, as ``near[starts[i]:starts[i + 1]]``; rules don't change them."""
    size = len(marks)
    starts = np.zeros(size + 1, dtype=np.int64)
    for i in range(size):
        starts[i + 1] = starts[i] + (marks[i] != NONE).sum()
    near = np.empty(starts[-1], dtype=np.int64)
    for i in range(size):
        near[starts[i] : starts[i + 1]] = np.flatnonzero(marks[i])
    return starts, near


@_compiled
def _triangle_rules(marks, starts, near):
    """R1 to R3: arrows that avoid new colliders and cycles."""
    size, changed = len(marks), False
    for b in range(size):
        around = near[starts[b] : starts[b + 1]]
        for c in around:
            # R1: a *→ b o-* c with a, c not adjacent.
            if marks[c, b] == CIRCLE:
                for a in around:
                    if marks[a, b] == ARROW and a != c and marks[a, c] == NONE:
                        marks[c, b], marks[b, c] = TAIL, ARROW
                        changed = True
                        break
            if marks[b, c] != CIRCLE:
                continue
            for a in around:
                # R2: b → a *→ c or b *→ a → c, and b *-o c.
                if marks[b, a] == ARROW and marks[a, c] == ARROW:
                    if marks[a, b] == TAIL or marks[c, a] == TAIL:
                        marks[b, c] = ARROW
                        changed = True
                        break
    for b in range(size):
        around = near[starts[b] : starts[b + 1]]
        for t in around:
            # R3: a *→ b ←* c, a *-o t o-* c, a and c not adjacent, t *-o b.
            if marks[t, b] != CIRCLE:
                continue
            for a in around:
                if marks[a, b] != ARROW or marks[a, t] != CIRCLE:
                    continue
                for c in around:
                    if c >= a:
                        break
                    if marks[c, b] == ARROW and marks[c, t] == CIRCLE and marks[a, c] == NONE:
                        marks[t, b] = ARROW
                        changed = True
    return changed


@_compiled
def _discriminating_start(marks, starts, near, a, b, c, queue, came):
    """The end t of a shortest discriminating path t, ..., a, b, c for b; -1 if there is none.

    Every node between t and b is a collider on the path and a parent of c; t is not adjacent
    to c.
    """
    came[:] = False
    came[a] = came[b] = came[c] = True
    queue[0], head, tail = a, 0, 1
    while head < tail:
        node = queue[head]
        head += 1
        for t in near[starts[node] : starts[node + 1]]:
            if came[t] or marks[t, node] != ARROW:
                continue
            if marks[t, c] == NONE:
                return t
            if marks[node, t] == ARROW and _directed(marks, t, c):
                came[t] = True
                queue[tail] = t
                tail += 1
    return -1


@_compiled
def _discriminating_rule(marks, starts, near, set_of, members, truth):
    """R4: a discriminating path for b says whether b is a collider; from sets or from a MAG."""
    size, changed = len(marks), False
    queue, came = np.empty(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
    for c in range(size):
        around = near[starts[c] : starts[c + 1]]
        for b in around:
            if marks[c, b] != CIRCLE:
                continue
            for a in around:
                if not (_directed(marks, a, c) and marks[b, a] == ARROW and marks[c, b] == CIRCLE):
                    continue
                t = _discriminating_start(marks, starts, near, a, b, c, queue, came)
                if t < 0:
                    continue
                if len(truth):
                    collider = truth[a, b] == ARROW and truth[c, b] == ARROW
                elif set_of[t, c] < 0:
                    continue  # never tested: knowledge keeps the two apart
                else:
                    collider = True
                    for k in members[set_of[t, c]]:
                        if k == b:
                            collider = False
                if not collider:
                    marks[c, b], marks[b, c] = TAIL, ARROW
                elif marks[a, b] != TAIL and marks[b, c] != TAIL:
                    marks[a, b] = marks[c, b] = marks[b, c] = ARROW
                else:
                    continue
                changed = True
    return changed


@_compiled
def _possible(marks, i, j):
    """Whether i - j may be part of a directed path from i to j."""
    return marks[i, j] != NONE and marks[j, i] != ARROW and marks[i, j] != TAIL


@_compiled
def _uncovered_reach(marks, starts, near, a, first, avoid, seen, stack, met):
    """Mark in ``met`` the nodes that uncovered possibly directed paths from a by first arrive at.

    ``seen[u, v]``: a path arrives at v from u; it is left as it was found, all False.
    """
    met[:] = False
    seen[a, first] = met[first] = True
    stack[0, 0], stack[0, 1], head, top = a, first, 0, 1
    while head < top:
        u, v = stack[head, 0], stack[head, 1]
        head += 1
        if v == avoid:
            continue
        for w in near[starts[v] : starts[v + 1]]:
            if w != a and not seen[v, w] and marks[u, w] == NONE and w != u:
                if _possible(marks, v, w):
                    seen[v, w] = met[w] = True
                    stack[top, 0], stack[top, 1] = v, w
                    top += 1
    for k in range(top):
        seen[stack[k, 0], stack[k, 1]] = False


@_compiled
def _two_ends(first, second):
    """Whether there are b in the first and d in the second set with b != d."""
    one, two = first.sum(), second.sum()
    return one > 0 and two > 0 and (one > 1 or two > 1 or (first != second).any())


@_compiled
def _tail_rules(marks, starts, near):
    """R8 to R10: a o→ c becomes a → c."""
    size, changed = len(marks), False
    seen = np.zeros((size, size), dtype=np.bool_)
    stack = np.empty((len(near) + 1, 2), dtype=np.int64)
    met, parent = np.zeros(size, dtype=np.bool_), np.zeros(size, dtype=np.bool_)
    for a in range(size):
        around = near[starts[a] : starts[a + 1]]
        reach = np.zeros((len(around), size), dtype=np.bool_)
        for c in around:
            if marks[a, c] != ARROW or marks[c, a] != CIRCLE:
                continue
            forced = False
            parent[:] = False
            for b in near[starts[c] : starts[c + 1]]:
                parent[b] = _directed(marks, b, c)
                forced = forced or (parent[b] and _directed(marks, a, b))  # R8: a → b → c
            reach[:, :] = False
            for k in range(len(around)):
                first = around[k]
                if forced:
                    break
                if first == c or not _possible(marks, a, first):
                    continue
                _uncovered_reach(marks, starts, near, a, first, c, seen, stack, met)
                # R9: an uncovered possibly directed path to c whose first node is apart from c.
                forced = marks[first, c] == NONE and met[c]
                reach[k] = met & parent
            for k in range(len(around)):  # R10: two such paths, to two parents of c, start apart
                for m in range(k):
                    if not forced and marks[around[k], around[m]] == NONE:
                        forced = _two_ends(reach[k], reach[m])
            if forced:
                marks[c, a] = TAIL
                changed = True
    return changed


@_compiled
def close(marks, set_of, members, truth):
    """Apply all rules until nothing changes.

    Args:
        marks: ``(d, d)``, changed in place.
        set_of: ``(d, d)`` row of ``members`` that separates a pair, -1 for none.
        members: ``(m, l)``.
        truth: Marks of a MAG that answers in place of the sets, or an empty array.
    """
    starts, near = _neighbours(marks)
    changed = True
    while changed:
        changed = False
        while _triangle_rules(marks, starts, near):
            changed = True
        if _discriminating_rule(marks, starts, near, set_of, members, truth):
            changed = True
    while _tail_rules(marks, starts, near):
        changed = True


@_compiled
def possible_separators(marks, open_triples):
    """Possible-D-SEP: j is in i's pool if a path joins them on which every consecutive triple is
    a triangle or may be a collider.

    Args:
        marks: Only which pairs are adjacent matters.
        open_triples: ``(m, 3)`` unshielded triples that may be colliders.
    """
    size = len(marks)
    starts = np.zeros(size + 1, dtype=np.int64)
    for t in range(len(open_triples)):
        starts[open_triples[t, 1] + 1] += 1
    starts = np.cumsum(starts)
    fill, ends = starts.copy(), np.empty((len(open_triples), 2), dtype=np.int64)
    for t in range(len(open_triples)):
        b = open_triples[t, 1]
        ends[fill[b], 0], ends[fill[b], 1] = open_triples[t, 0], open_triples[t, 2]
        fill[b] += 1
    out = np.zeros((size, size), dtype=np.bool_)
    seen = np.zeros((size, size), dtype=np.bool_)
    stack = np.empty((size * size + 1, 2), dtype=np.int64)
    for x in range(size):
        seen[:, :] = False
        top = 0
        for v in range(size):
            if marks[x, v] != NONE:
                out[x, v] = seen[x, v] = True
                stack[top, 0], stack[top, 1] = x, v
                top += 1
        while top:
            top -= 1
            u, v = stack[top, 0], stack[top, 1]
            for w in range(size):
                if w == u or w == x or marks[v, w] == NONE or seen[v, w]:
                    continue
                passes = marks[u, w] != NONE
                for t in range(starts[v], starts[v + 1]):
                    if (ends[t, 0] == u and ends[t, 1] == w) or (
                        ends[t, 0] == w and ends[t, 1] == u
                    ):
                        passes = True
                if passes:
                    out[x, w] = seen[v, w] = True
                    stack[top, 0], stack[top, 1] = v, w
                    top += 1
    return out


@_compiled
def inducing_pair(marks, ancestor):
    """A non-adjacent pair that an inducing path joins (the MAG is not maximal), else (-1, -1).

    Args:
        marks: Of a directed mixed graph.
        ancestor: ``(d, d)`` whether a directed path (or none at all) leads from i to j.
    """
    size = len(marks)
    stack, seen = np.empty(size, dtype=np.int64), np.zeros(size, dtype=np.bool_)
    for a in range(size):
        for b in range(a):
            if marks[a, b] != NONE:
                continue
            seen[:] = False
            top = 0
            for v in range(size):
                if marks[a, v] == ARROW and (ancestor[v, a] or ancestor[v, b]):
                    seen[v] = True
                    stack[top] = v
                    top += 1
            while top:
                top -= 1
                v = stack[top]
                if marks[b, v] == ARROW:
                    return a, b
                for w in range(size):
                    if marks[v, w] == ARROW and marks[w, v] == ARROW and not seen[w]:
                        if ancestor[w, a] or ancestor[w, b]:
                            seen[w] = True
                            stack[top] = w
                            top += 1
    return -1, -1
