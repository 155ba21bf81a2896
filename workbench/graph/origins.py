"""Where an edge comes from: drawn by somebody, required by knowledge, or learned from a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..core.errors import GraphError
from .parts import Edge, check_edges

if TYPE_CHECKING:
    from .causal_graph import CausalGraph
    from .knowledge import Knowledge

Source = Literal["drawn", "required", "learned"]
SOURCES: tuple[str, ...] = get_args(Source)


class Origin(NamedTuple):
    """Where one edge comes from.

    Attributes:
        source: ``"drawn"`` (somebody says so; what a graph that says nothing is taken for),
            ``"required"`` (by the knowledge that a search was given) or ``"learned"``.
        confidence: Share of resamples in which its ends are joined, in either direction; None
            where the search was not repeated. A measure of stability, not a probability.

    Example:
        >>> Origin("learned", 0.93)
        Origin(source='learned', confidence=0.93)
    """

    source: Source
    confidence: float | None = None


DRAWN = Origin("drawn")


def check_origins(
    origins: Mapping[Sequence[str], Any], edges: Sequence[Edge]
) -> dict[Edge, Origin]:
    """Origins by edge in canonical form; edges that are drawn need no entry.

    Raises:
        GraphError: An origin of what is no edge, an unknown source, or a confidence that is no
            share.
    """
    known, nodes = set(edges), frozenset(n for u, v, *_ in edges for n in (u, v))
    found = {}
    for edge, given in origins.items():
        u, v = edge[:2]
        if edge not in known and {u, v} <= nodes:
            edge = check_edges([edge], nodes)[0]
        if edge not in known:
            raise GraphError(
                f"has an origin for an edge to {v!r} that is not in the graph", column=str(u)
            )
        origin = Origin(given) if isinstance(given, str) else Origin(*given)
        share = origin.confidence
        if origin.source not in SOURCES:
            raise GraphError(
                f"the edge to {v!r} has an unknown origin",
                column=u,
                value=origin.source,
                advice=f"Origins are {', '.join(SOURCES)}.",
            )
        if share is not None and not (_is_number(share) and 0 <= share <= 1):
            raise GraphError(
                f"the edge to {v!r} has a confidence that is no share between 0 and 1",
                column=u,
                value=share,
            )
        if origin != DRAWN:
            found[edge] = origin
    return found


def carried(graph: CausalGraph, other: CausalGraph) -> CausalGraph:
    """``other``, made from ``graph`` by taking or turning edges, with its origins."""
    found = {}
    for edge in other.edges if graph.origins else ():
        u, v, *marks = edge
        between = graph.marks(u, v)
        if tuple(marks) in between:
            found[edge] = graph.origin(*edge)
        elif len(between) == 1:
            found[edge] = graph.origin(u, v)
    return other.with_origins(found)


def learned(graph: CausalGraph, knowledge: Knowledge | None = None) -> CausalGraph:
    """The result of a search, with the origin of every edge."""
    required = knowledge.required if knowledge else frozenset()
    return graph.with_origins(
        {e: Origin("required" if e[:2] in required else "learned") for e in graph.edges}
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
