"""Directed and bidirected edges on integers: open walks and separators in linear time.

Every separation question of the package ends here. Two ideas carry it: a breadth-first search
over (node, mark it was entered with) finds what an open walk reaches, and the undirected graph
of nodes joined by collider paths turns m-separation into ordinary graph separation.

References:
    Shachter, "Bayes-ball", UAI 1998; Richardson, "Markov properties for acyclic directed mixed
    graphs", Scandinavian Journal of Statistics, 2003; van der Zander, Liskiewicz and Textor,
    "Separators and adjustment sets in causal graphs", Artificial Intelligence, 2019.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from ..core.errors import GraphError
from .equivalence import PartialOrientation, extended

if TYPE_CHECKING:
    from .causal_graph import CausalGraph

NOTHING: frozenset[int] = frozenset()


class MixedGraph:
    """Parents, children and spouses (↔) of the nodes 0, 1, ..., n - 1; no directed cycle."""

    def __init__(
        self, parents: list[list[int]], children: list[list[int]], spouses: list[list[int]]
    ):
        self.parents, self.children, self.spouses = parents, children, spouses

    @classmethod
    def of(cls, graph: CausalGraph) -> MixedGraph:
        """The graph itself, or one member of its Markov equivalence class.

        All members share their separations, so one of them answers for the class: a DAG for a
        CPDAG or MPDAG, a maximal ancestral graph for a PAG.
        """
        # Kept with the graph, which is immutable, because questions come in thousands.
        if "_mixed" not in graph.__dict__:
            graph.__dict__["_mixed"] = cls._build(graph)
        return graph.__dict__["_mixed"]

    @classmethod
    def _build(cls, graph: CausalGraph) -> MixedGraph:
        if graph.kind in ("cpdag", "mpdag"):
            return cls.of_parents(extended(PartialOrientation.of(graph)))
        if graph.kind == "pag":
            return _ancestral_member(graph)
        at, size = graph._position, len(graph.nodes)
        parents: list[list[int]] = [[] for _ in range(size)]
        spouses: list[list[int]] = [[] for _ in range(size)]
        for u, v, mark_u, _ in graph.edges:
            if mark_u == "tail":
                parents[at[v]].append(at[u])
            else:
                spouses[at[u]].append(at[v])
                spouses[at[v]].append(at[u])
        return cls.of_parents(parents, spouses)

    @classmethod
    def of_parents(
        cls, parents: list[Collection[int]], spouses: list[list[int]] | None = None
    ) -> MixedGraph:
        """From the parents of each node, in any order."""
        size = len(parents)
        children: list[list[int]] = [[] for _ in range(size)]
        for j, into in enumerate(parents):
            for i in into:
                children[i].append(j)
        spouses = spouses or [[] for _ in range(size)]
        return cls([sorted(p) for p in parents], children, [sorted(s) for s in spouses])

    def without_arrows(self, tail: int, heads: Collection[int]) -> MixedGraph:
        """The graph without the edges tail → head."""
        parents, children = self.parents.copy(), self.children.copy()
        children[tail] = [c for c in children[tail] if c not in heads]
        for head in heads:
            parents[head] = [p for p in parents[head] if p != tail]
        return MixedGraph(parents, children, self.spouses)

    def ancestors(self, start: Iterable[int]) -> set[int]:
        """``start`` and all nodes with a directed path into it."""
        return closure(self.parents, start)

    def descendants(self, start: Iterable[int]) -> set[int]:
        """``start`` and all nodes with a directed path from it."""
        return closure(self.children, start)

    # A state is 2 * node, plus 1 if the node was entered through an arrowhead.

    @cached_property
    def down(self) -> list[list[int]]:
        return [[2 * c + 1 for c in found] for found in self.children]

    @cached_property
    def up(self) -> list[list[int]]:
        return [
            [2 * p for p in parents] + [2 * s + 1 for s in spouses]
            for parents, spouses in zip(self.parents, self.spouses, strict=True)
        ]

    def steps(self, state: int, given: Collection[int], opened: Collection[int]) -> Iterator[int]:
        """States that an open walk may enter next; ``opened`` are the ancestors of ``given``."""
        node = state >> 1
        if node not in given:
            yield from self.down[node]
        if node in opened if state & 1 else node not in given:
            yield from self.up[node]

    def reach(self, start: Iterable[int], given: Collection[int] = NOTHING) -> set[int]:
        """All nodes that an open walk from ``start`` enters (nodes of ``given`` included)."""
        return {state >> 1 for state in self._search(start, given)}

    def open_path(
        self, start: int, end: int, given: Collection[int] = NOTHING
    ) -> list[tuple[int, bool]] | None:
        """A shortest open path as (node, whether entered through an arrowhead), or None.

        The shortest open walk never visits a node twice: cutting a loop out of an open walk
        leaves it open, since a node that becomes a collider has a descendant in ``given``.
        """
        came = self._search([start], given, end)
        state = next((s for s in (2 * end, 2 * end + 1) if s in came), None)
        path = []
        while state is not None:
            path.append((state >> 1, bool(state & 1)))
            state = came[state]
        return path[::-1] or None

    def _search(
        self, start: Iterable[int], given: Collection[int], end: int = -1
    ) -> dict[int, int | None]:
        opened = self.ancestors(given)
        came: dict[int, int | None] = {2 * s: None for s in start}
        queue = deque(came)
        down, up = self.down, self.up
        while queue:
            state = queue.popleft()
            node = state >> 1
            if node == end:
                break
            # The same rule as in steps(), written out: this loop is where the time goes.
            free = node not in given
            if free:
                for new in down[node]:
                    if new not in came:
                        came[new] = state
                        queue.append(new)
            if node in opened if state & 1 else free:
                for new in up[node]:
                    if new not in came:
                        came[new] = state
                        queue.append(new)
        return came


class MoralGraph:
    """Ancestral nodes, adjacent when a path of colliders joins them.

    In the subgraph on the ancestors of a, b and Z, Z m-separates a and b if and only if every
    path between them in this undirected graph meets Z. It is kept as a list of cliques, one per
    district (nodes joined by ↔) with its parents, and so stays linear in the size of the graph.

    Args:
        mixed: The graph.
        nodes: An ancestral set: it contains the parents of its nodes.
    """

    def __init__(self, mixed: MixedGraph, nodes: Collection[int]):
        self.cliques: list[list[int]] = []
        self.of: dict[int, list[int]] = {node: [] for node in nodes}
        seen: set[int] = set()
        for node in nodes:
            if node in seen:
                continue
            if mixed.spouses[node]:
                district = closure(mixed.spouses, [node], nodes)
                seen |= district
                clique = set(district).union(*(mixed.parents[d] for d in district))
            else:
                clique = {node, *mixed.parents[node]}
            for member in clique:
                self.of[member].append(len(self.cliques))
            self.cliques.append(list(clique))

    def spread(self, start: Iterable[int], closed: Collection[int]) -> tuple[set[int], set[int]]:
        """Nodes reached from ``start`` without crossing ``closed``, and the closed ones touched."""
        stack = list(start)
        reached, touched, used = set(stack), set(), set()
        while stack:
            for number in self.of[stack.pop()]:
                if number in used:
                    continue
                used.add(number)
                for node in self.cliques[number]:
                    if node in closed:
                        touched.add(node)
                    elif node not in reached:
                        reached.add(node)
                        stack.append(node)
        return reached, touched - reached

    def nearest(
        self, a: int, b: int, allowed: Collection[int], given: Collection[int] = NOTHING
    ) -> set[int] | None:
        """The minimal addition to ``given`` nearest to b that separates a and b, or None."""
        reached, touched = self.spread([b], {*allowed, *given})
        if a in reached:
            return None
        return self.spread([a], touched.union(given))[1].difference(given)

    def separators(self, a: int, b: int, allowed: Collection[int], limit: int) -> list[set[int]]:
        """Minimal separators within ``allowed``, at most ``limit``, smallest first.

        From a separator S and a node v of S the next one away from a follows: the boundary of
        b's side once v has joined a's side. Every minimal separator is reached this way from
        the one nearest to a (linear time for each). When there are more than ``limit`` the
        first is still of the least possible size.
        """
        first = self.nearest(b, a, allowed)
        if first is None or limit < 1:
            return []
        beside_b, _ = self.spread([b], allowed)
        found = {frozenset(first): None}
        queue = deque(found)
        while queue and len(found) < limit:
            separator = queue.popleft()
            for v in sorted(separator):
                joined, around = self.spread([v], allowed)
                if not beside_b.isdisjoint(joined):
                    continue
                _, new = self.spread([b], separator | around | {v})
                if frozenset(new) not in found:
                    found[frozenset(new)] = None
                    queue.append(frozenset(new))
                    if len(found) == limit:
                        break
        sets = [set(s) for s in found]
        if len(found) == limit:
            smallest = self.smallest(a, b, allowed)
            if len(smallest) < min(map(len, sets)):
                sets = [smallest, *sets[:-1]]
        return sorted(sets, key=lambda s: (len(s), sorted(s)))

    def smallest(self, a: int, b: int, allowed: Collection[int]) -> set[int]:
        """A separator of least size, from a maximum flow; there must be one.

        Each allowed node carries one unit from its "in" to its "out" side; cliques carry any.
        """
        flow: dict[tuple, int] = {}

        def arcs(point: tuple[str, int]) -> Iterator[tuple[str, int]]:
            side, i = point
            if side == "clique":
                yield from (("in", node) for node in self.cliques[i])
                yield from (("out", n) for n in self.cliques[i] if flow.get((("out", n), point)))
            elif side == "in":
                if i not in allowed or not flow.get((point, ("out", i))):
                    yield "out", i
                yield from (("clique", c) for c in self.of[i] if flow.get((("clique", c), point)))
            else:
                yield from (("clique", c) for c in self.of[i])
                if flow.get((("in", i), point)):
                    yield "in", i

        while True:
            came: dict[tuple, tuple | None] = {("out", a): None}
            queue = deque(came)
            while queue and ("in", b) not in came:
                point = queue.popleft()
                for new in arcs(point):
                    if new not in came:
                        came[new] = point
                        queue.append(new)
            if ("in", b) not in came:
                return {n for n in allowed if ("in", n) in came and ("out", n) not in came}
            point = ("in", b)
            while came[point] is not None:
                before = came[point]
                if flow.get((point, before)):
                    flow[point, before] -= 1
                else:
                    flow[before, point] = flow.get((before, point), 0) + 1
                point = before


def closure(
    step: list[list[int]], start: Iterable[int], within: Collection[int] | None = None
) -> set[int]:
    """``start`` and all that repeated steps lead to (inside ``within``)."""
    stack = list(start)
    seen = set(stack)
    while stack:
        for other in step[stack.pop()]:
            if other not in seen and (within is None or other in within):
                seen.add(other)
                stack.append(other)
    return seen


def _ancestral_member(graph: CausalGraph) -> MixedGraph:
    """A maximal ancestral graph of a PAG: o→ becomes →, o-o is oriented without new colliders.

    Reference:
        Zhang, "Causal reasoning with ancestral graphs", JMLR 2008.
    """
    at, size = graph._position, len(graph.nodes)
    partial = PartialOrientation(size)
    spouses: list[list[int]] = [[] for _ in range(size)]
    for u, v, mark_u, mark_v in graph.edges:
        i, j = at[u], at[v]
        if mark_v == "tail" or (mark_u, mark_v) == ("tail", "circle"):
            raise GraphError(
                f"the edge to {v!r} with marks {mark_u}, {mark_v} stands for selection",
                column=u,
                advice="Separation is answered for graphs without selection bias.",
            )
        if mark_v == "circle":
            partial.neighbors[i].add(j)
            partial.neighbors[j].add(i)
        elif mark_u == "arrow":
            spouses[i].append(j)
            spouses[j].append(i)
        else:
            partial.parents[j].add(i)
            partial.children[i].add(j)
    mixed = MixedGraph.of_parents(extended(partial), spouses)
    for i in range(size):
        above = closure(mixed.parents, mixed.parents[i])
        clash = next((j for j in (i, *mixed.spouses[i]) if j in above), None)
        if clash is not None:
            raise GraphError(
                f"no ancestral graph has these marks: {graph.nodes[clash]!r} would be a cause",
                column=graph.nodes[i],
                advice="This is not a valid PAG; learn it again.",
            )
    return mixed
