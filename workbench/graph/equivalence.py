"""Markov equivalence classes of DAGs: completion, membership, enumeration.

References:
    Chickering, "A transformational characterization of equivalent Bayesian network structures",
    UAI 1995; Meek, "Causal inference and causal explanation with background knowledge", UAI 1995;
    Dor and Tarsi, "A simple algorithm to construct a consistent extension of a partially
    oriented graph", 1992.
"""

from __future__ import annotations

from collections import deque
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import GraphError
from ..core.seeding import Seed, generator

if TYPE_CHECKING:
    from .causal_graph import CausalGraph

_LISTED = 1000  # orientations of a connected part that are listed before some are drawn
_NUMBERED = 10**6  # members that are drawn by number, none twice


class PartialOrientation:
    """A partially directed graph on integers: what orientation rules work on.

    Edges get a direction in place; the sets are replaced, never changed, so that a copy shares
    them: a search over a thousand nodes copies three lists for each branch, not 3,000 sets.
    """

    def __init__(self, size: int):
        self.parents: list[set[int]] = [set() for _ in range(size)]
        self.children: list[set[int]] = [set() for _ in range(size)]
        self.neighbors: list[set[int]] = [set() for _ in range(size)]

    @classmethod
    def of(cls, graph: CausalGraph) -> PartialOrientation:
        for u, v, *marks in graph.edges:
            if marks not in (["tail", "arrow"], ["tail", "tail"]):
                raise GraphError(
                    f"the edge to {v!r} is neither directed nor undirected: no DAG is meant",
                    column=u,
                    advice="Bidirected edges and circles stand for hidden common causes.",
                )
        out, at = cls(len(graph.nodes)), graph._position
        for u, v, _, mark_v in graph.edges:
            i, j = at[u], at[v]
            if mark_v == "arrow":
                out.parents[j].add(i)
                out.children[i].add(j)
            else:
                out.neighbors[i].add(j)
                out.neighbors[j].add(i)
        return out

    def copy(self) -> PartialOrientation:
        out = PartialOrientation(0)
        out.parents = list(self.parents)
        out.children = list(self.children)
        out.neighbors = list(self.neighbors)
        return out

    def adjacent(self, i: int, j: int) -> bool:
        return j in self.parents[i] or j in self.children[i] or j in self.neighbors[i]

    def around(self, i: int) -> set[int]:
        return self.parents[i] | self.children[i] | self.neighbors[i]

    def first_undirected(self, part: set[int] | None = None) -> tuple[int, int] | None:
        """An edge that has no direction yet, among all nodes or those of a part."""
        nodes = range(len(self.neighbors)) if part is None else sorted(part)
        return next(((i, min(self.neighbors[i])) for i in nodes if self.neighbors[i]), None)

    def undirected_parts(self) -> list[set[int]]:
        """Nodes that undirected edges connect, without those that have none."""
        parts, seen = [], set()
        for i, around in enumerate(self.neighbors):
            if not around or i in seen:
                continue
            part, queue = {i}, [i]
            while queue:
                new = self.neighbors[queue.pop()] - part
                part |= new
                queue.extend(new)
            seen |= part
            parts.append(part)
        return parts

    def oriented(self, i: int, j: int) -> PartialOrientation:
        """A copy with i → j and all that follows from it."""
        out = self.copy()
        out.orient(i, j)
        out.close([(i, j)])
        return out

    def orient(self, i: int, j: int) -> None:
        """Make the undirected edge i - j into i → j."""
        self.neighbors[i] = self.neighbors[i] - {j}
        self.neighbors[j] = self.neighbors[j] - {i}
        self.children[i] = self.children[i] | {j}
        self.parents[j] = self.parents[j] | {i}

    def close(self, start: list[tuple[int, int]] | None = None) -> None:
        """Apply Meek's four rules until nothing changes (a work-list over undirected edges)."""
        if start is None:
            queue = deque((i, j) for i, n in enumerate(self.neighbors) for j in sorted(n))
        else:
            queue = deque(self._touched(start))
        while queue:
            i, j = queue.popleft()
            if j in self.neighbors[i] and self._forced(i, j):
                self.orient(i, j)
                queue.extend(self._touched([(i, j)]))

    def _touched(self, oriented: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Undirected edges, both ways, near arrows that are new."""
        near = set()
        for i, j in oriented:
            near |= {i, j} | self.neighbors[i] | self.neighbors[j]
        return [
            pair
            for a in sorted(near)
            for b in sorted(self.neighbors[a])
            for pair in ((a, b), (b, a))
        ]

    def _forced(self, i: int, j: int) -> bool:
        """Whether one of Meek's rules turns i - j into i → j."""
        if any(not self.adjacent(p, j) for p in self.parents[i] if p != j):
            return True
        if self.children[i] & self.parents[j]:
            return True
        # Rules 3 and 4 need two nodes joined to i without an arrow at i, one of them into j.
        between = sorted(self.neighbors[i] & self.parents[j])
        for n, a in enumerate(between):
            if any(not self.adjacent(a, b) for b in between[n + 1 :]):
                return True
        for d in between:
            for c in self.parents[d]:
                if c != j and c in self.around(i) and not self.adjacent(c, j):
                    if c in self.neighbors[i] or c in self.parents[i]:
                        return True
        return False

    def extension(self) -> list[set[int]] | None:
        """Parents in a DAG with the same skeleton and no new collider, or None (Dor and Tarsi)."""
        parents = [set(p) for p in self.parents]
        children = [set(c) for c in self.children]
        neighbors = [set(n) for n in self.neighbors]
        left = set(range(len(parents)))
        queue = deque(sorted(left))
        waiting = set(queue)
        final = [set(p) for p in self.parents]
        while queue:
            i = queue.popleft()
            waiting.discard(i)
            if i not in left or children[i]:
                continue
            around = neighbors[i] | parents[i]
            if any(
                not around - {n} <= parents[n] | children[n] | neighbors[n] for n in neighbors[i]
            ):
                continue
            for n in neighbors[i]:
                final[i].add(n)
                neighbors[n].discard(i)
            for p in parents[i]:
                children[p].discard(i)
            left.discard(i)
            for n in sorted(around):
                if n not in waiting:
                    waiting.add(n)
                    queue.append(n)
        return None if left else final

    def graph(self, like: CausalGraph, kind: str | None) -> CausalGraph:
        from .causal_graph import CausalGraph

        names = like.nodes
        edges = [(names[i], names[j]) for i, c in enumerate(self.children) for j in c]
        edges += [
            (names[i], names[j], "tail", "tail")
            for i, n in enumerate(self.neighbors)
            for j in n
            if i < j
        ]
        return CausalGraph(names, edges, latent=like.latent, kind=kind, info=like.info)


def cpdag(graph: CausalGraph) -> CausalGraph:
    """The completed partially directed graph of a DAG's equivalence class.

    Example:
        >>> from workbench import CausalGraph
        >>> CausalGraph(["a", "b"], [("a", "b")]).cpdag().kind
        'cpdag'
    """
    if graph.kind == "cpdag":
        return graph
    return _complete(PartialOrientation.of(graph.to_dag())).graph(graph, "cpdag")


def is_cpdag(graph: CausalGraph) -> bool:
    """Whether the marks are exactly those of some DAG's equivalence class."""
    partial = PartialOrientation.of(graph)
    parents = partial.extension()
    if parents is None:
        return False
    complete = _complete(_from_parents(parents))
    return complete.children == partial.children and complete.neighbors == partial.neighbors


def extension(graph: CausalGraph) -> CausalGraph:
    """One member of the class, in about linear time; a DAG is its own.

    Raises:
        GraphError: The class is empty (the marks contradict each other).
    """
    if graph.kind == "dag":
        return graph
    return _from_parents(extended(PartialOrientation.of(graph))).graph(graph, "dag")


def members(graph: CausalGraph, limit: int = 100) -> list[CausalGraph]:
    """DAGs of the class, at most ``limit``, found by orienting one edge at a time.

    In a graph closed under Meek's rules every undirected edge can be oriented either way (Meek
    1995), so each branch ends in a member and no branch is wasted.

    Raises:
        GraphError: The class is empty (the marks contradict each other).
    """
    if graph.kind == "dag":
        return [graph]
    start = PartialOrientation.of(graph)
    start.close()
    extended(start)
    found: list[CausalGraph] = []
    stack = [start]
    while stack and len(found) < limit:
        partial = stack.pop()
        pair = partial.first_undirected()
        if pair is None:
            found.append(partial.graph(graph, "dag"))
            continue
        stack += [partial.oriented(*p) for p in (pair[::-1], pair)]  # popped in the other order
    return found


def sample_members(
    graph: CausalGraph, n: int, random_state: Seed = 0
) -> tuple[dict[CausalGraph, float], bool]:
    """At most ``n`` DAGs of the class, every one as likely as the others.

    A class of at most ``n`` members is given whole. Else members are drawn: what connects nodes
    by undirected edges can be oriented without regard to the rest (Meek's rules never leave it), so
    that an orientation is drawn for each such part. A part with more than 1,000 orientations is
    oriented by the flip of a coin, edge by edge; one reached by k flips weighs 2^k.

    Returns:
        DAG -> weight (sum 1), and whether they are the whole class.

    References:
        Knuth, "Estimating the efficiency of backtrack programs", Mathematics of Computation, 1975
        (the weights).
    """
    listed = members(graph, n + 1)
    if len(listed) <= n:
        return dict.fromkeys(listed, 1 / len(listed)), True
    rng = generator(random_state)
    start = PartialOrientation.of(graph)
    start.close()
    parts = [_orientations(start, part) for part in start.undirected_parts()]
    sizes = [len(options or ()) for _, options in parts]
    found: dict[CausalGraph, float] = {}
    for picks in _picks(sizes, n, rng):
        partial, weight = start.copy(), 1.0
        for (part, options), pick in zip(parts, picks, strict=True):
            if options is None:
                weight *= _flipped(partial, part, rng)
                continue
            for i, j in options[pick]:
                partial.orient(i, j)
        dag = partial.graph(graph, "dag")
        found[dag] = found.get(dag, 0.0) + weight
    total = sum(found.values())
    return {dag: weight / total for dag, weight in found.items()}, False


Arrows = list[tuple[int, int]]


def _orientations(
    start: PartialOrientation, part: set[int]
) -> tuple[set[int], list[Arrows] | None]:
    """A part with all its orientations, or None where they are too many to list."""
    open_edges = [(i, j) for i in part for j in start.neighbors[i] if i < j]
    found: list[Arrows] = []
    stack = [start]
    while stack:
        partial = stack.pop()
        pair = partial.first_undirected(part)
        if pair is None:
            found.append([(i, j) if j in partial.children[i] else (j, i) for i, j in open_edges])
            if len(found) > _LISTED:
                return part, None
            continue
        stack += [partial.oriented(*p) for p in (pair, pair[::-1])]
    return part, found


def _picks(sizes: list[int], n: int, rng: np.random.Generator) -> np.ndarray:
    """One of each part's orientations for ``n`` members, ``(n, parts)``; none twice if possible."""
    if 0 not in sizes and prod(sizes) <= _NUMBERED:
        chosen = rng.choice(prod(sizes), n, replace=False)
        return np.stack(np.unravel_index(chosen, sizes), axis=1)
    return np.stack([rng.integers(max(size, 1), size=n) for size in sizes], axis=1)


def _flipped(partial: PartialOrientation, part: set[int], rng: np.random.Generator) -> float:
    """Orient a part by coins, in place; returns one over the probability of what came out."""
    weight = 1.0
    while (pair := partial.first_undirected(part)) is not None:
        i, j = pair if rng.random() < 0.5 else pair[::-1]
        partial.orient(i, j)
        partial.close([(i, j)])
        weight *= 2.0
    return weight


def extended(partial: PartialOrientation) -> list[set[int]]:
    """Parents in one member of the class; refuses marks that contradict each other."""
    parents = partial.extension()
    if parents is None:
        raise GraphError(
            "no DAG has these edges and exactly these unshielded colliders",
            advice="The marks contradict each other; learn the graph again or drop an arrow.",
        )
    return parents


def _from_parents(parents: list[set[int]]) -> PartialOrientation:
    out = PartialOrientation(len(parents))
    for j, found in enumerate(parents):
        out.parents[j] |= found
        for i in found:
            out.children[i].add(j)
    return out


def _complete(dag: PartialOrientation) -> PartialOrientation:
    """Keep the arrows of unshielded colliders, undo the rest, close under Meek's rules."""
    size = len(dag.parents)
    out = PartialOrientation(size)
    for j in range(size):
        into = dag.parents[j]
        for i in into:
            # i → j is part of an unshielded collider if some other parent is not adjacent to i.
            if any(k != i and not dag.adjacent(i, k) for k in into):
                out.parents[j].add(i)
                out.children[i].add(j)
            else:
                out.neighbors[i].add(j)
                out.neighbors[j].add(i)
    out.close()
    return out
