"""Graphs as lists of nodes and edges with attributes: what GML, GraphML, node-link JSON and
networkx have in common.

Our own additions are attributes that other tools may ignore: ``mark_u`` and ``mark_v`` on an
edge, with ``origin`` and ``confidence`` where it was not drawn; ``latent`` (or dowhy's
``observed``) on a node, ``kind`` on the graph.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ..origins import DRAWN, Origin
from ..parts import KINDS, MARKS, Mark
from .source import DIRECTED, TAIL, At, Draft, is_latent, origin_of, shown, suggestion, text_of


def origin_words(origin: Origin) -> dict[str, Any]:
    """The attributes of an edge that say where it comes from; none for a drawn one."""
    if origin == DRAWN:
        return {}
    share = {} if origin.confidence is None else {"confidence": float(origin.confidence)}
    return {"origin": origin.source, **share}


class Listing:
    """Fills a draft from nodes with ids and edges between ids."""

    def __init__(self, draft: Draft):
        self.draft = draft
        self._names: dict[Hashable, str] = {}
        self._taken: dict[str, Hashable] = {}

    def graph(self, attributes: Mapping[str, Any], at: At = None) -> None:
        kind = attributes.get("kind")
        if kind is None:
            return
        if kind not in KINDS:
            raise self.draft.error(
                f"unknown kind of graph {shown(kind)}", at, suggestion(kind, KINDS)
            )
        self.draft.kind = kind

    def node(self, identity: Any, attributes: Mapping[str, Any], at: At = None, name: Any = None):
        """Note a node; its name is ``name`` or else the text of its id."""
        named = text_of(identity if name is None else name)
        key = self._key(identity, at)
        if named is None:
            raise self.draft.error(
                f"a node's name must be a text or a number, not {shown(identity)}", at, "Rename it."
            )
        if key in self._names:
            raise self.draft.error(
                f"the node {shown(identity)} is declared twice", at, "Remove one."
            )
        if named in self._taken:
            raise self.draft.error(
                f"two nodes are called {shown(named)}, with ids {shown(self._taken[named])} and "
                f"{shown(identity)}",
                at,
                "Names must differ.",
            )
        self._names[key], self._taken[named] = named, identity
        self.draft.node(named, at)
        latent = is_latent(attributes.items())
        if latent is None:
            raise self.draft.error(
                f"the node {shown(named)}: 'latent' or 'observed' is neither yes nor no", at
            )
        if latent:
            self.draft.latent.add(named)

    def edge(
        self, u: Any, v: Any, attributes: Mapping[str, Any], directed: bool, at: At = None
    ) -> None:
        default = DIRECTED if directed else (TAIL, TAIL)
        marks: list[Mark] = []
        for key, mark in zip(("mark_u", "mark_v"), default, strict=True):
            mark = attributes.get(key, mark)
            if mark not in MARKS:
                raise self.draft.error(
                    f"unknown {key} {mark!r} on an edge", at, f"Marks are {', '.join(MARKS)}."
                )
            marks.append(mark)
        # Another tool may call something else an origin: what is none of ours is left alone.
        origin = origin_of(attributes.get("origin"), attributes.get("confidence")) or DRAWN
        self.draft.edge(self._find(u, at), self._find(v, at), *marks, at=at, origin=origin)

    def _key(self, identity: Any, at: At) -> Hashable:
        # True == 1 == 1.0 as dictionary keys, but not as names.
        if not isinstance(identity, Hashable):
            raise self.draft.error(
                f"{shown(identity)} can't be the id of a node", at, "Use a text."
            )
        return type(identity), identity

    def _find(self, identity: Any, at: At) -> str:
        found = self._names.get(self._key(identity, at))
        if found is None:
            advice = suggestion(identity, self._taken.values())
            raise self.draft.error(
                f"an edge names {shown(identity)}, which is not a node", at, advice
            )
        return found
