"""One treatment, one outcome, one graph: what every criterion of identification looks at."""

from __future__ import annotations

from collections import deque
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING

from ..core.errors import GraphError, IdentificationError, ParameterError, QuestionError
from .equivalence import PartialOrientation, extended
from .mixed import MixedGraph, MoralGraph, closure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .causal_graph import CausalGraph


class Question:
    """The effect of a treatment on an outcome, on integers.

    For a class of DAGs everything is answered in one member once the class is amenable: no
    possibly causal path from the treatment starts with an undirected edge. Then the effect is one
    functional of the distribution for all members, so a formula that holds in one holds in all.

    Attributes:
        t, y: Positions of treatment and outcome.
        mixed: The graph, or a member of the class.
        undecided: Possibly causal paths that start with an undirected edge, one for each such
            edge; empty if the class is amenable.
        possibly_after: The treatment and all nodes that may descend from it in some member.
        mediating: Nodes on directed paths from treatment to outcome, without the treatment.
        forbidden: The treatment, ``mediating`` and all their descendants.
        cut: The graph without the first edges of the directed paths to the outcome, in which
            only non-causal paths are left (the proper back-door graph).
        allowed: Observed nodes that are not forbidden, and not the outcome.

    References:
        Shpitser, VanderWeele and Robins, "On the validity of covariate adjustment", UAI 2010;
        Perkovic, Textor, Kalisch and Maathuis, "Complete graphical characterization and
        construction of adjustment sets", JMLR 2018; Perkovic, Kalisch and Maathuis,
        "Interpreting and using CPDAGs with background knowledge", UAI 2017.
    """

    def __init__(self, graph: CausalGraph, treatment: str, outcome: str):
        for role, name in (("treatment", treatment), ("outcome", outcome)):
            if not isinstance(name, str):
                raise QuestionError(
                    f"the {role} must be the name of one node",
                    value=name,
                    advice="Ask for one treatment and one outcome at a time.",
                )
            graph.require(name)
            if name in graph.latent:
                raise QuestionError(
                    f"is latent and can't be the {role}",
                    column=name,
                    advice=f"Choose an observed node as {role}.",
                )
        if treatment == outcome:
            raise QuestionError(
                "is both treatment and outcome", column=treatment, advice="Choose two nodes."
            )
        if graph.kind == "pag":
            raise IdentificationError(
                "effects are not identified from a PAG, whose edges may hide common causes",
                column=treatment,
                advice="Decide its circles and ask again with the DAG or ADMG that you believe; "
                "d_separated answers for the PAG.",
            )
        self.graph = graph
        self.t, self.y = graph._position[treatment], graph._position[outcome]
        self.undecided: list[list[int]] = []
        if graph.kind in ("cpdag", "mpdag"):
            partial = PartialOrientation.of(graph)
            partial.close()
            self.mixed = MixedGraph.of_parents(extended(partial))
            self.undecided = _undecided(partial, self.t, self.y)
            onwards = [[*c, *n] for c, n in zip(partial.children, partial.neighbors, strict=True)]
            self.possibly_after = closure(onwards, [self.t])
        else:
            self.mixed = MixedGraph.of(graph)
            self.possibly_after = self.mixed.descendants([self.t])

    @cached_property
    def mediating(self) -> set[int]:
        below = self.mixed.descendants([self.t])
        return (below & self.mixed.ancestors([self.y])) - {self.t} if self.y in below else set()

    @cached_property
    def forbidden(self) -> set[int]:
        return self.mixed.descendants(self.mediating) | {self.t}

    @cached_property
    def cut(self) -> MixedGraph:
        first = [c for c in self.mixed.children[self.t] if c in self.mediating]
        return self.mixed.without_arrows(self.t, first)

    @cached_property
    def observed(self) -> set[int]:
        """Positions of the observed nodes other than treatment and outcome."""
        latent = self.positions(self.graph.latent)
        return set(range(len(self.graph.nodes))) - latent - {self.t, self.y}

    @cached_property
    def allowed(self) -> set[int]:
        return self.observed - self.forbidden

    @cached_property
    def _ancestral(self) -> set[int]:
        return self.cut.ancestors([self.t, self.y])

    @cached_property
    def _moral(self) -> MoralGraph:
        return MoralGraph(self.cut, self._ancestral)

    @cached_property
    def _ancestors_allowed(self) -> set[int]:
        return self._ancestral & self.allowed

    def adjustment(self) -> set[int] | None:
        """The adjustment set that touches the outcome's side, or None.

        All allowed ancestors of treatment and outcome are a valid set if there is one at all; of
        these it keeps the ones that are joined to the outcome by a collider path or through
        mediators and hidden nodes. In a DAG without latent nodes that is the optimal set.
        """
        if self.undecided:
            return None
        reached, touched = self._moral.spread([self.y], self.allowed)
        return None if self.t in reached else touched

    def minimal_sets(self, limit: int) -> list[set[int]]:
        """Minimal adjustment sets, smallest first."""
        if self.undecided:
            return []
        return self._moral.separators(self.t, self.y, self.allowed, limit)

    def is_valid(self, given: Collection[int]) -> bool:
        """Whether adjusting for ``given`` gives the effect, in every member of the class."""
        if self.undecided or not self.allowed.issuperset(given):
            return False
        return self.y not in self.cut.reach([self.t], given)

    def open_path(self) -> list[tuple[int, bool]]:
        """A path that no adjustment closes; there is one where :meth:`adjustment` is None."""
        if self.undecided:
            return [(node, False) for node in self.undecided[0]]
        return self.cut.open_path(self.t, self.y, self._ancestors_allowed) or []

    def positions(self, names: Iterable[str]) -> set[int]:
        return {self.graph._position[n] for n in names}

    def names(self, found: Iterable[int]) -> frozenset[str]:
        return frozenset(self.graph.nodes[i] for i in found)

    def why_not(self) -> str:
        """One sentence: what keeps adjustment from identifying the effect."""
        names = self.graph.nodes
        if self.undecided:
            edges = ", ".join(f"{names[p[0]]} — {names[p[1]]}" for p in self.undecided[:5])
            return f"the class does not decide the direction of {edges}"
        return f"the path {self.drawn(self.open_path())} stays open whatever is adjusted for"

    def drawn(self, path: list[tuple[int, bool]]) -> str:
        """A path as text, with its arrows."""
        names = self.graph.nodes
        text = names[path[0][0]] if path else ""
        for (before, _), (node, entered) in pairwise(path):
            if names[node] in self.graph.neighbors(names[before]):
                arrow = "—"
            elif self.undecided:
                arrow = "→"
            elif not entered:
                arrow = "←"
            else:
                # Where → and ↔ join the same two nodes, an adjusted node is only left by ↔.
                causes = before in self.cut.parents[node]
                arrow = "→" if causes and before not in self._ancestors_allowed else "↔"
            text += f" {arrow} {names[node]}"
        return text


def check_limit(limit: int) -> None:
    """Refuse a limit that is not a positive integer."""
    if isinstance(limit, bool) or not isinstance(limit, Integral) or limit < 1:
        raise ParameterError("must be a positive integer", column="limit", value=limit)


def observed_positions(graph: CausalGraph, names: str | Iterable[str], role: str) -> set[int]:
    """Positions of named nodes; latent ones are refused."""
    names = [names] if isinstance(names, str) else list(names)
    if names:
        graph.require(*names)
    for name in names:
        if name in graph.latent:
            raise GraphError(
                f"is latent and can't be used as {role}",
                column=name,
                advice="Only observed nodes can be compared or conditioned on.",
            )
    return {graph._position[n] for n in names}


def _undecided(partial: PartialOrientation, t: int, y: int) -> list[list[int]]:
    """A possibly causal path t - v ... y for each undirected edge t - v that starts one.

    A path is possibly causal if no edge of the graph points backwards between its nodes. From v
    on it may be taken unshielded, and then only its own edges matter; the search runs backwards
    from y over pairs (node, next node) and keeps away from the parents of t.
    """
    barred = partial.parents[t] | {t}
    if not partial.neighbors[t] or y in barred:
        return []
    after: dict[tuple[int, int], tuple[int, int] | None] = {}
    queue: deque[tuple[int, int]] = deque()
    starts: dict[int, tuple[int, int]] = {}

    def push(pair: tuple[int, int], then: tuple[int, int] | None) -> None:
        if pair not in after and pair[0] not in barred:
            after[pair] = then
            starts.setdefault(pair[0], pair)
            queue.append(pair)

    for a in sorted(partial.parents[y] | partial.neighbors[y]):
        push((a, y), None)
    while queue:
        a, b = queue.popleft()
        for c in sorted(partial.parents[a] | partial.neighbors[a]):
            if c != b and not partial.adjacent(c, b):
                push((c, a), (a, b))
    paths = []
    for v in sorted(partial.neighbors[t]):
        if v == y:
            paths.append([t, y])
        elif v in starts:
            path, pair = [t, v], starts[v]
            while pair is not None:
                path.append(pair[1])
                pair = after[pair]
            paths.append(path)
    return paths
