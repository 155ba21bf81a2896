"""From a skeleton and evidence on its triples to a DAG: no two-headed edge, no cycle, ever.

The evidence of an unshielded triple a - b - c is e = log p(best separating set without b) - log
p(best with b): positive speaks for the collider a → b ← c. Decisions are taken in descending |e|,
so the result depends on no order of columns (Ramsey, "Improving accuracy and scalability of the
PC algorithm by maximizing p-value", 2016, takes the best separating set likewise).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..causal_graph import CausalGraph

_GRID = 2.0**20

Triple = tuple[int, int, int]  # (a, b, c) with a < c: b is in the middle
Conflict = tuple[str, tuple[int, ...]]


def orient(
    adjacent: np.ndarray,
    allowed: np.ndarray,
    required: np.ndarray,
    triples: np.ndarray,
    evidence: np.ndarray,
    log_p: np.ndarray,
) -> tuple[np.ndarray, list[Conflict]]:
    """A DAG that honours knowledge and as much of the evidence as it can.

    Colliders are oriented first, the strongest before the weaker. The rest follows Dor and Tarsi's
    construction in a soft form: sinks are removed one by one, each time the one that overrules the
    least evidence. Where the arrows fit some DAG every step costs nothing.

    Args:
        adjacent: ``(d, d)`` skeleton; every pair in it is allowed in some direction.
        allowed: ``(d, d)`` which arrows i → j knowledge allows.
        required: ``(d, d)`` which arrows it requires (a subset of the skeleton, acyclic).
        triples: ``(m, 3)`` unshielded triples a - b - c with a < c, in lexicographic order.
        evidence: ``(m,)`` e of each.
        log_p: ``(d, d)`` largest log p-value of each pair; says which edge is weakest.

    Returns:
        ``(d, d)`` the arrows i → j of the DAG, and the decisions that had to give way: ``("edge",
        (i, j))`` dropped, ``("collider", triple)`` and ``("non-collider", triple)`` overruled.
    """
    from .orientation_kernels import extend, orient_colliders

    # Steps of a millionth, whose sums are exact: the rounding of a sum breaks no tie.
    evidence = np.round(evidence * _GRID) / _GRID
    adjacent = adjacent.copy()
    conflicts = _drop_cycles(adjacent, allowed, required, log_p)
    arrows = adjacent & ~allowed.T
    a, b, c = triples.T
    kept = adjacent[a, b] & adjacent[b, c]
    triples, evidence = triples[kept], evidence[kept]
    a, b, c = triples.T
    starts, near = neighbour_lists(adjacent)
    members = np.argsort(b, kind="stable")
    begins = np.concatenate([[0], np.cumsum(np.bincount(b, minlength=len(adjacent)))])
    strongest = np.argsort(-np.abs(evidence), kind="stable")
    orient_colliders(arrows, starts, near, triples, begins, members, evidence, strongest)
    dag = extend(arrows, starts, near, triples, begins, members, evidence)
    overruled = (evidence != 0) & ((evidence > 0) != (dag[a, b] & dag[c, b]))
    for t in np.flatnonzero(overruled):
        kind = "collider" if evidence[t] > 0 else "non-collider"
        conflicts.append((kind, tuple(triples[t].tolist())))
    return dag, conflicts


def class_of(dag: np.ndarray, names: Sequence[str], shown: Sequence[str]) -> CausalGraph:
    """The equivalence class of a DAG.

    Args:
        dag: ``(d, d)`` arrows i → j.
        names: Names of the positions.
        shown: The same names in the order that the graph should have.

    Example:
        >>> class_of(np.array([[False, True], [False, False]]), ["a", "b"], ["a", "b"]).edges
        (('a', 'b', 'tail', 'tail'),)
    """
    from .orientation_kernels import complete

    directed, undirected = complete(dag, *neighbour_lists(dag | dag.T))
    edges = [(names[i], names[j]) for i, j in np.argwhere(directed).tolist()]
    lines = np.argwhere(np.triu(undirected)).tolist()
    edges += [(names[i], names[j], "tail", "tail") for i, j in lines]
    return CausalGraph(shown, edges, kind="cpdag")


def neighbour_lists(adjacent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of i as ``near[starts[i]:starts[i + 1]]``."""
    return np.concatenate([[0], np.cumsum(adjacent.sum(axis=1))]), np.nonzero(adjacent)[1]


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
