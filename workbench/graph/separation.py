"""Separation and adjustment: which paths a set of columns blocks, and what to adjust for.

Everything takes time linear in the size of the graph (per set, where sets are listed); no path
is ever enumerated. Nodes in ``graph.latent`` take part in paths but are never conditioned on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from ..core.errors import GraphError, IdentificationError
from ..core.saving import saveable
from .mixed import MixedGraph, MoralGraph
from .question import Question, check_limit, observed_positions

if TYPE_CHECKING:
    from .causal_graph import CausalGraph


def d_separated(
    graph: CausalGraph,
    x: str | Iterable[str],
    y: str | Iterable[str],
    given: str | Iterable[str] = (),
) -> bool:
    """Whether ``given`` blocks every path between ``x`` and ``y``.

    A path is blocked by Z if it has a non-collider in Z, or a collider without a descendant in Z
    (with ↔ this is m-separation). For a CPDAG, MPDAG or PAG the answer holds for every member of
    the class, since all members share their separations.

    Args:
        graph: The graph.
        x, y: One node or several, observed.
        given: The nodes conditioned on, observed.

    Raises:
        GraphError: Unknown or latent nodes, a node on two sides of the question, or marks that
            no graph of the kind can have.

    References:
        Verma and Pearl, UAI 1988; Richardson, "Markov properties for acyclic directed mixed
        graphs", Scandinavian Journal of Statistics, 2003.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(["rain", "sprinkler", "wet"], [("rain", "wet"), ("sprinkler", "wet")])
        >>> d_separated(g, "rain", "sprinkler"), d_separated(g, "rain", "sprinkler", ["wet"])
        (True, False)
    """
    ends, others, known = _sides(graph, x=x, y=y, given=given)
    return others.isdisjoint(MixedGraph.of(graph).reach(ends, known))


def minimal_separator(
    graph: CausalGraph,
    x: str,
    y: str,
    include: str | Iterable[str] = (),
    within: Iterable[str] | None = None,
) -> frozenset[str] | None:
    """A set that separates x and y and no node of which, beyond ``include``, can be spared.

    Of the minimal sets among the ancestors of x, y and ``include`` it is the one nearest to y.

    Args:
        graph: The graph.
        x, y: Two observed nodes.
        include: Nodes that must be in the set.
        within: Nodes that may be in the set; all observed nodes when left out.

    Returns:
        The set, or None if there is none.

    References:
        van der Zander and Liskiewicz, "Finding minimal d-separators in linear time and
        applications", UAI 2019.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(list("abcd"), [("a", "b"), ("b", "c"), ("c", "d")])
        >>> sorted(minimal_separator(g, "a", "d"))
        ['c']
    """
    (a,), (b,), forced = _sides(graph, x=[x], y=[y], include=include)
    candidates = graph.observed if within is None else within
    allowed = observed_positions(graph, candidates, "a separator") - {a, b}
    mixed = MixedGraph.of(graph)
    moral = MoralGraph(mixed, mixed.ancestors([a, b, *forced]))
    found = moral.nearest(a, b, allowed, forced)
    return None if found is None else frozenset(graph.nodes[i] for i in found | forced)


def is_adjustment_set(
    graph: CausalGraph, treatment: str, outcome: str, given: str | Iterable[str]
) -> bool:
    """Whether adjusting for ``given`` identifies the total effect, in every member of the class.

    The adjustment criterion: no node of ``given`` is the treatment, the outcome, a node on a
    directed path between them or a descendant of such a node, and ``given`` blocks every path
    that is not directed from treatment to outcome. It is sound and complete, also for ADMGs,
    CPDAGs and MPDAGs. (Pearl's back-door criterion implies it.)

    Raises:
        GraphError: Unknown or latent nodes.
        QuestionError: Treatment and outcome are the same or latent.
        IdentificationError: The graph is a PAG.

    References:
        Shpitser, VanderWeele and Robins, UAI 2010; Perkovic et al., JMLR 2018.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(["z", "t", "y"], [("z", "t"), ("z", "y"), ("t", "y")])
        >>> is_adjustment_set(g, "t", "y", ["z"]), is_adjustment_set(g, "t", "y", [])
        (True, False)
    """
    question = Question(graph, treatment, outcome)
    return question.is_valid(observed_positions(graph, given, "adjustment"))


def adjustment_set(graph: CausalGraph, treatment: str, outcome: str) -> frozenset[str]:
    """The adjustment set to use: the optimal one where all of it is observed.

    In a DAG, CPDAG or MPDAG without latent nodes this is the O-set pa(cn) \\ forb: the parents of
    the nodes ``cn`` on directed paths from treatment to outcome, without those nodes, their
    descendants and the treatment. Of all valid sets it gives the smallest asymptotic variance
    (in linear models, and for semiparametric efficient estimators). With latent nodes or ↔ it
    is a valid set, found among the ancestors, that stays close to the outcome in the same way
    (the O-set itself when that is observed), but nothing is claimed about its variance.

    Use :func:`adjustment_sets` for the smallest sets and
    :func:`~workbench.graph.identify.identify` where adjustment may not be possible.

    Raises:
        IdentificationError: No set of observed nodes will do; the error names a path that stays
            open, or the undirected edges that decide.
        GraphError, QuestionError: As for :func:`is_adjustment_set`.

    References:
        Henckel, Perkovic and Maathuis, "Graphical criteria for efficient total effect estimation
        via adjustment in causal linear models", JRSSB 2022; Rotnitzky and Smucler, JMLR 2020.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(["i", "t", "y", "p"], [("i", "t"), ("t", "y"), ("p", "y")])
        >>> adjustment_set(g, "t", "y")
        frozenset({'p'})
    """
    question = Question(graph, treatment, outcome)
    found = question.adjustment()
    if found is None:
        raise IdentificationError(
            f"no adjustment set identifies its effect on {outcome!r}: {question.why_not()}",
            column=treatment,
            advice="Orient these edges by knowledge, or ask graph.members() one by one."
            if question.undecided
            else "Measure a node on that path, or see identify() for other ways.",
        )
    return question.names(found)


def adjustment_sets(
    graph: CausalGraph, treatment: str, outcome: str, limit: int = 100
) -> list[frozenset[str]]:
    """Minimal adjustment sets (no node of them can be spared), smallest first.

    Linear time per set. If there are more than ``limit``, the first one returned is still of the
    least possible size; an empty list means that no set of observed nodes will do.

    References:
        van der Zander, Liskiewicz and Textor, "Separators and adjustment sets in causal graphs:
        complete criteria and an algorithmic framework", Artificial Intelligence, 2019.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(list("abty"), [("a", "b"), ("a", "t"), ("b", "y"), ("t", "y")])
        >>> [sorted(s) for s in adjustment_sets(g, "t", "y")]
        [['a'], ['b']]
    """
    check_limit(limit)
    question = Question(graph, treatment, outcome)
    return [question.names(s) for s in question.minimal_sets(limit)]


@saveable
@dataclass(frozen=True)
class Independence:
    """A statement that a graph implies: x is independent of y given a set."""

    x: str
    y: str
    given: frozenset[str]

    def __str__(self) -> str:
        given = f" | {', '.join(sorted(self.given))}" if self.given else ""
        return f"{self.x} ⊥ {self.y}{given}"


def implied_independencies(graph: CausalGraph, limit: int | None = None) -> list[Independence]:
    """Independencies between observed columns that the graph implies, to be held against data.

    In a DAG, CPDAG or MPDAG without latent nodes: every node is independent of each earlier
    node (in a topological order) that is not its parent, given its parents; one statement for
    each pair that is not adjacent. With latent nodes, ↔ or circles: one statement, with a minimal
    separating set, for each pair of observed nodes that any set separates.

    Args:
        graph: The graph.
        limit: At most so many, in the order of the nodes; all when left out. There can be
            d (d - 1) / 2 of them, and with latent nodes each takes linear time.

    References:
        Lauritzen et al., "Independence properties of directed Markov fields", Networks, 1990.

    Example:
        >>> from workbench import CausalGraph
        >>> g = CausalGraph(list("abc"), [("a", "b"), ("b", "c")])
        >>> [str(s) for s in implied_independencies(g)]
        ['c ⊥ a | b']
    """
    if limit is not None:
        check_limit(limit)
    if graph.latent or graph.kind in ("admg", "pag"):
        return list(islice(_separable_pairs(graph), limit))
    return list(islice(_local_markov(graph), limit))


def _local_markov(graph: CausalGraph) -> Iterator[Independence]:
    mixed, names = MixedGraph.of(graph), graph.nodes
    order = _order(mixed)
    for n, i in enumerate(order):
        parents = set(mixed.parents[i])
        given = frozenset(names[p] for p in parents)
        for j in order[:n]:
            if j not in parents:
                yield Independence(names[i], names[j], given)


def _separable_pairs(graph: CausalGraph) -> Iterator[Independence]:
    observed, skeleton = graph.observed, graph.skeleton()
    for n, u in enumerate(observed):
        for v in observed[:n]:
            if frozenset((u, v)) not in skeleton:
                given = minimal_separator(graph, u, v)
                if given is not None:
                    yield Independence(u, v, given)


def _order(mixed: MixedGraph) -> list[int]:
    waiting = [len(p) for p in mixed.parents]
    order = [i for i, count in enumerate(waiting) if not count]
    for i in order:  # grows while it is read
        for child in mixed.children[i]:
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    return order


def _sides(graph: CausalGraph, **sides: str | Iterable[str]) -> list[set[int]]:
    found: dict[str, set[int]] = {}
    for role, names in sides.items():
        positions = observed_positions(graph, names, role)
        for other, taken in found.items():
            for both in sorted(positions & taken):
                raise GraphError(
                    f"is in both {other} and {role}",
                    column=graph.nodes[both],
                    advice="A node has one place in a question of separation.",
                )
        found[role] = positions
    return list(found.values())
