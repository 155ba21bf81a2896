"""From a skeleton and evidence on its triples to a DAG: no two-headed edge, no cycle, ever.

The evidence of an unshielded triple a - b - c is e = log p(best separating set without b) - log
p(best with b): positive speaks for the collider a → b ← c. Decisions are taken in descending |e|,
so the result depends on no order of columns (Ramsey, "Improving accuracy and scalability of the
PC algorithm by maximizing p-value", 2016, takes the best separating set likewise).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..equivalence import PartialOrientation

Triple = tuple[int, int, int]  # (a, b, c) with a < c: b is in the middle
Conflict = tuple[str, tuple[int, ...]]


def orient(
    adjacent: np.ndarray,
    allowed: np.ndarray,
    required: np.ndarray,
    triples: np.ndarray,
    evidence: np.ndarray,
    log_p: np.ndarray,
) -> tuple[list[set[int]], list[Conflict]]:
    """Parents in a DAG that honours knowledge and as much of the evidence as it can.

    Args:
        adjacent: ``(d, d)`` skeleton; every pair in it is allowed in some direction.
        allowed: ``(d, d)`` which arrows i → j knowledge allows.
        required: ``(d, d)`` which arrows it requires (a subset of the skeleton, acyclic).
        triples: ``(m, 3)`` unshielded triples a - b - c with a < c.
        evidence: ``(m,)`` e of each.
        log_p: ``(d, d)`` largest log p-value of each pair; says which edge is weakest.

    Returns:
        The parents of each node, and the decisions that had to give way: ``("edge", (i, j))``
        dropped, ``("collider", triple)`` and ``("non-collider", triple)`` overruled.
    """
    adjacent = adjacent.copy()
    conflicts = _drop_cycles(adjacent, allowed, required, log_p)
    known = adjacent & ~allowed.T
    weighed = {
        (a, b, c): e
        for (a, b, c), e in zip(triples.tolist(), evidence.tolist(), strict=True)
        if adjacent[a, b] and adjacent[b, c]
    }
    partial = PartialOrientation(len(adjacent))
    for i, j in zip(*np.nonzero(adjacent), strict=True):
        partial.neighbors[i].add(int(j))
    for i, j in zip(*np.nonzero(known), strict=True):
        partial.orient(int(i), int(j))
    _orient_colliders(partial, weighed)
    parents = _extend(partial, weighed)
    for triple, e in weighed.items():
        a, b, c = triple
        if e and (e > 0) != (a in parents[b] and c in parents[b]):
            conflicts.append(("collider" if e > 0 else "non-collider", triple))
    return parents, conflicts


def _drop_cycles(
    adjacent: np.ndarray, allowed: np.ndarray, required: np.ndarray, log_p: np.ndarray
) -> list[Conflict]:
    """Where knowledge turns a cycle of the skeleton into a directed one, its weakest edge goes."""
    dropped: list[Conflict] = []
    while True:
        arrows = adjacent & ~allowed.T
        left = np.ones(len(arrows), dtype=bool)
        while True:
            free = left & ~arrows[left].any(axis=0)
            if not free.any():
                break
            left &= ~free
        if not left.any():
            return dropped
        # Every node that is left has a parent that is left: walk up until one repeats.
        node, path = int(left.argmax()), []
        while node not in path:
            path.append(node)
            node = int((arrows[:, node] & left).argmax())
        cycle = path[path.index(node) :]
        edges = [(p, c) for c, p in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
        u, v = max((e for e in edges if not required[e]), key=lambda e: (log_p[e], e))
        adjacent[u, v] = adjacent[v, u] = False
        dropped.append(("edge", (u, v)))


def _orient_colliders(partial: PartialOrientation, triples: Mapping[Triple, float]) -> None:
    """Orient colliders, the strongest first, unless that contradicts what is oriented already."""
    kept_open: set[Triple] = set()  # triples decided, by stronger evidence, not to be colliders
    for triple, e in sorted(triples.items(), key=lambda item: (-abs(item[1]), item[0])):
        if e <= 0:
            kept_open.add(triple)
            continue
        a, b, c = triple
        new = [x for x in (a, c) if x not in partial.parents[b]]
        if not any(
            x in partial.children[b] or _reaches(partial, b, x) or _spoils(partial, x, b, kept_open)
            for x in new
        ):
            for x in new:
                partial.orient(x, b)


def _spoils(partial: PartialOrientation, x: int, b: int, kept_open: set[Triple]) -> bool:
    return any((min(x, p), b, max(x, p)) in kept_open for p in partial.parents[b])


def _reaches(partial: PartialOrientation, start: int, goal: int) -> bool:
    stack, seen = [start], {start}
    while stack:
        for child in partial.children[stack.pop()]:
            if child == goal:
                return True
            if child not in seen:
                seen.add(child)
                stack.append(child)
    return False


def _extend(partial: PartialOrientation, triples: Mapping[Triple, float]) -> list[set[int]]:
    """Parents in a DAG with these arrows: remove sinks, each time the one that costs least.

    The soft form of Dor and Tarsi's construction: the cost of a sink is the evidence that it
    overrules. Where the arrows fit some DAG every step costs nothing.
    """
    size = len(partial.parents)
    around = [partial.around(i) for i in range(size)]
    middle: list[list[tuple[Triple, float]]] = [[] for _ in range(size)]
    for triple, e in triples.items():
        middle[triple[1]].append((triple, e))
    left = set(range(size))

    def cost(s: int) -> float:
        # New colliders at s that the evidence denies, and wanted ones next to s that are lost.
        total = -sum(e for (a, _, c), e in middle[s] if e < 0 and a in left and c in left)
        for i in around[s] & left:
            for (a, _, c), e in middle[i]:
                if e > 0 and s in (a, c) and a in left and c in left:
                    total += e
        return total

    costs = {s: cost(s) for s in left}
    parents: list[set[int]] = [set() for _ in range(size)]
    while left:
        s = min((i for i in left if not partial.children[i] & left), key=lambda i: (costs[i], i))
        left.discard(s)
        parents[s] = around[s] & left
        near = set().union(*(around[i] for i in parents[s]), parents[s]) & left
        costs.update((i, cost(i)) for i in near)
    return parents
