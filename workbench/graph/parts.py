"""Nodes, marks and edges: what a graph is made of, checked and in canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from ..core.errors import GraphError, did_you_mean

Mark = Literal["tail", "arrow", "circle"]
Kind = Literal["dag", "cpdag", "mpdag", "admg", "pag"]
Edge = tuple[str, str, Mark, Mark]

MARKS = ("tail", "circle", "arrow")
KINDS = ("dag", "cpdag", "mpdag", "admg", "pag")
_RANK = {mark: rank for rank, mark in enumerate(MARKS)}


def check_nodes(nodes: Iterable[str]) -> tuple[str, ...]:
    """Names without repeats."""
    if isinstance(nodes, str):
        raise GraphError("nodes must be a list of names, not one text", value=nodes)
    nodes = tuple(nodes)
    seen = set()
    for node in nodes:
        if not isinstance(node, str) or not node:
            pair = isinstance(node, tuple | list)
            raise GraphError(
                "node names must be non-empty texts",
                value=node,
                advice="Write CausalGraph(nodes, edges)." if pair else "Rename the node.",
            )
        if node in seen:
            raise GraphError("appears twice among the nodes", column=node)
        seen.add(node)
    return nodes


def check_latent(latent: Iterable[str], nodes: frozenset[str]) -> frozenset[str]:
    """Latent nodes, all of which must be nodes."""
    latent = frozenset([latent] if isinstance(latent, str) else latent)
    for node in sorted(latent - nodes):
        raise GraphError("is latent but not a node", column=node, advice=did_you_mean(node, nodes))
    return latent


def check_edges(edges: Iterable[Sequence[str]], nodes: frozenset[str]) -> tuple[Edge, ...]:
    """Edges in canonical form: the weaker mark first, names in order, sorted, without repeats."""
    found: set[Edge] = set()
    for edge in edges:
        if isinstance(edge, str) or len(edge) not in (2, 4):
            raise GraphError("an edge is (u, v) or (u, v, mark_u, mark_v)", value=edge)
        u, v, mark_u, mark_v = edge if len(edge) == 4 else (*edge, "tail", "arrow")
        for node in (u, v):
            if node not in nodes:
                raise GraphError(
                    "is used by an edge but is not a node",
                    column=str(node),
                    advice=did_you_mean(node, nodes),
                )
        if u == v:
            raise GraphError("has an edge to itself", column=u)
        if mark_u not in _RANK or mark_v not in _RANK:
            raise GraphError(
                f"the edge to {v!r} has an unknown mark",
                column=u,
                value=(mark_u, mark_v),
                advice=f"Marks are {', '.join(MARKS)}.",
            )
        forward = (_RANK[mark_u], u) <= (_RANK[mark_v], v)
        found.add((u, v, mark_u, mark_v) if forward else (v, u, mark_v, mark_u))
    return tuple(sorted(found))
