"""What a kind of graph allows, checked when a graph is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import GraphError
from .parts import Kind

if TYPE_CHECKING:
    from .causal_graph import CausalGraph


def refuse_cycles(graph: CausalGraph) -> None:
    """Name the nodes on a directed cycle, if there is one."""
    if len(graph._topological) == len(graph.nodes):
        return
    # Walk backwards among the nodes that could not be ordered until one repeats.
    stuck = set(graph.nodes).difference(graph._topological)
    node = next(n for n in graph.nodes if n in stuck)
    path: dict[str, None] = {}
    while node not in path:
        path[node] = None
        node = next(p for p in graph._adjacency["parents"][node] if p in stuck)
    walk = list(path)
    cycle = walk[walk.index(node) :][::-1]
    start = min(range(len(cycle)), key=lambda i: graph._position[cycle[i]])
    cycle = cycle[start:] + cycle[:start]
    text = " -> ".join([*cycle[:10], *(["..."] if len(cycle) > 10 else []), cycle[0]])
    raise GraphError(
        f"the graph has a directed cycle: {text}",
        column=cycle[0],
        advice="Remove or reverse one of these edges.",
    )


def infer_kind(graph: CausalGraph) -> Kind:
    """The narrowest kind that has these marks."""
    marks = {frozenset((a, b)) for *_, a, b in graph.edges}
    if any("circle" in m for m in marks):
        return "pag"
    if frozenset(["tail"]) in marks:
        if frozenset(["arrow"]) in marks:
            return "pag"  # undirected beside bidirected: selection, legal only in a MAG or PAG
        from .equivalence import is_cpdag

        return "cpdag" if is_cpdag(graph) else "mpdag"
    return "admg" if frozenset(["arrow"]) in marks else "dag"


def refuse_marks(graph: CausalGraph) -> None:
    """Refuse marks that the kind excludes, and two edges that contradict each other."""
    directed, both, undirected = ("tail", "arrow"), ("arrow", "arrow"), ("tail", "tail")
    allowed = {
        "dag": {directed},
        "cpdag": {directed, undirected},
        "mpdag": {directed, undirected},
        "admg": {directed, both},
    }.get(graph.kind)
    seen: set[tuple[str, str]] = set()
    for u, v, mark_u, mark_v in graph.edges:
        if allowed is not None and (mark_u, mark_v) not in allowed:
            raise GraphError(
                f"the edge to {v!r} with marks {mark_u}, {mark_v} is not allowed "
                f"in a graph of kind {graph.kind!r}",
                column=u,
            )
        pair = (u, v) if u < v else (v, u)
        if pair in seen and not {m for m in graph._marks[u, v]} <= {
            directed,
            directed[::-1],
            both,
        }:
            raise GraphError(f"has two edges to {v!r} that contradict each other", column=u)
        seen.add(pair)
