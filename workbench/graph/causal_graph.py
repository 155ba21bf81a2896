"""The one graph type that every stage reads: named nodes, edges with a mark at each end."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..core.errors import GraphError, did_you_mean
from ..core.saving import saveable
from .legal import infer_kind, refuse_cycles, refuse_marks
from .origins import DRAWN, Origin, carried, check_origins
from .parts import KINDS, Edge, Kind, Mark, check_edges, check_latent, check_nodes

if TYPE_CHECKING:
    import networkx as nx
    from matplotlib.axes import Axes


@saveable
class CausalGraph:
    """An immutable causal graph with named nodes and endpoint marks.

    Edges are ``(u, v, mark_u, mark_v)``: ``("a", "b", "tail", "arrow")`` is a → b,
    ``("a", "b", "arrow", "arrow")`` is a ↔ b (a hidden common cause), ``("a", "b", "tail",
    "tail")`` is a — b (direction not known), and circles stand for either mark. ``(u, v)`` is
    short for u → v.

    Two graphs are equal when they have the same nodes, edges, latent nodes and kind; the order of
    nodes, the diagnostics in ``info`` and where edges come from do not count.

    Args:
        nodes: Names, without duplicates. The order is kept for display.
        edges: As above; at most one edge between two nodes, except a → b beside a ↔ b.
        latent: Nodes that are part of the model but not of the data.
        kind: ``"dag"``, ``"cpdag"`` (a Markov equivalence class), ``"mpdag"`` (a class narrowed
            by knowledge), ``"admg"`` (with ↔) or ``"pag"`` (with circles). Inferred from the marks
            when left out; a graph with undirected edges is a CPDAG only if it is one exactly.
        info: Diagnostics of whoever made the graph.
        origins: Edge -> :class:`~workbench.graph.origins.Origin`: ``"required"`` by knowledge or
            ``"learned"``, with its confidence. Edges without one are ``"drawn"``.

    Raises:
        GraphError: Unknown or repeated nodes, marks that the kind doesn't allow, a directed cycle
            (the error names the nodes on it).

    References:
        Richardson and Spirtes, "Ancestral graph Markov models", Annals of Statistics, 2002.

    Example:
        >>> g = CausalGraph(["age", "bmi", "outcome"], [("age", "bmi"), ("bmi", "outcome")])
        >>> g.kind, g.parents("outcome"), sorted(g.ancestors("outcome"))
        ('dag', ('bmi',), ['age', 'bmi'])
        >>> g.d_separated("age", "outcome", given=["bmi"])
        True
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    latent: frozenset[str]
    kind: Kind
    info: Mapping[str, Any]
    origins: Mapping[Edge, Origin]

    def __init__(
        self,
        nodes: Iterable[str],
        edges: Iterable[Sequence[str]] = (),
        *,
        latent: Iterable[str] = (),
        kind: Kind | None = None,
        info: Mapping[str, Any] | None = None,
        origins: Mapping[Sequence[str], Any] | None = None,
    ):
        fill = self.__dict__.__setitem__
        fill("nodes", check_nodes(nodes))
        fill("edges", check_edges(edges, frozenset(self.nodes)))
        fill("latent", check_latent(latent, frozenset(self.nodes)))
        fill("info", MappingProxyType(dict(info or {})))
        if kind is not None and kind not in KINDS:
            raise GraphError(f"kind must be one of {', '.join(KINDS)}", value=kind)
        refuse_cycles(self)
        fill("kind", kind or infer_kind(self))
        refuse_marks(self)
        fill("origins", MappingProxyType(check_origins(origins or {}, self.edges)))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a CausalGraph is immutable; make a new one")

    # -- adjacency -------------------------------------------------------------------------

    @cached_property
    def _adjacency(self) -> dict[str, dict[str, dict[str, None]]]:
        """relation -> node -> other nodes in order of ``nodes`` (dictionaries used as sets)."""
        relations = ("parents", "children", "spouses", "neighbors", "circles")
        table = {r: {n: {} for n in self.nodes} for r in relations}
        for u, v, mark_u, mark_v in self.edges:
            if (mark_u, mark_v) == ("tail", "arrow"):
                table["parents"][v][u] = table["children"][u][v] = None
            else:
                relation = "circles"
                if mark_u == mark_v != "circle":
                    relation = "spouses" if mark_u == "arrow" else "neighbors"
                table[relation][u][v] = table[relation][v][u] = None
        order = self._position
        for relation in table.values():
            for node, others in relation.items():
                if len(others) > 1:
                    relation[node] = dict.fromkeys(sorted(others, key=order.__getitem__))
        return table

    @cached_property
    def _position(self) -> dict[str, int]:
        return {node: i for i, node in enumerate(self.nodes)}

    @cached_property
    def _marks(self) -> dict[tuple[str, str], tuple[tuple[Mark, Mark], ...]]:
        """(u, v) -> the (mark at u, mark at v) of each edge between them, for both orders."""
        table: dict[tuple[str, str], tuple[tuple[Mark, Mark], ...]] = {}
        for u, v, mark_u, mark_v in self.edges:
            table[u, v] = (*table.get((u, v), ()), (mark_u, mark_v))
            table[v, u] = (*table.get((v, u), ()), (mark_v, mark_u))
        return table

    def _look(self, relation: str, node: str) -> tuple[str, ...]:
        return tuple(self._adjacency[relation][self.require(node)])

    def require(self, *names: str) -> str:
        """Return the last name; raise a :class:`GraphError` for any that is not a node."""
        for name in names:
            if name not in self._position:
                raise GraphError(
                    "is not in the graph", column=str(name), advice=did_you_mean(name, self.nodes)
                )
        return names[-1]

    def parents(self, node: str) -> tuple[str, ...]:
        """Nodes u with u → node."""
        return self._look("parents", node)

    def children(self, node: str) -> tuple[str, ...]:
        """Nodes v with node → v."""
        return self._look("children", node)

    def spouses(self, node: str) -> tuple[str, ...]:
        """Nodes joined to this one by ↔."""
        return self._look("spouses", node)

    def neighbors(self, node: str) -> tuple[str, ...]:
        """Nodes joined to this one by an undirected edge."""
        return self._look("neighbors", node)

    def adjacent(self, node: str) -> tuple[str, ...]:
        """Nodes joined to this one by any edge."""
        self.require(node)
        found: set[str] = set()
        for relation in self._adjacency.values():
            found.update(relation[node])
        return tuple(sorted(found, key=self._position.__getitem__))

    def marks(self, u: str, v: str) -> tuple[tuple[Mark, Mark], ...]:
        """The ``(mark at u, mark at v)`` of each edge between two nodes; empty if there is none."""
        self.require(u, v)
        return self._marks.get((u, v), ())

    def has_edge(self, u: str, v: str) -> bool:
        """Whether u → v is in the graph."""
        self.require(u, v)
        return v in self._adjacency["children"][u]

    def origin(self, u: str, v: str, *marks: Mark) -> Origin:
        """Where the edge between two nodes comes from; say its marks where there are two.

        Example:
            >>> g = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")],
            ...                 origins={("a", "b"): ("learned", 0.9)})
            >>> g.origin("a", "b").source, g.origin("c", "b").source
            ('learned', 'drawn')
        """
        between = {m: (u, v, *m) for m in self.marks(u, v)}
        edge = between.get(marks) if marks else next(iter(between.values()), None)
        if edge is None:
            raise GraphError(f"has no such edge to {v!r}", column=u)
        return self.origins.get(edge) or self.origins.get((v, u, *edge[:1:-1])) or DRAWN

    @property
    def observed(self) -> tuple[str, ...]:
        """Nodes that are not latent."""
        return tuple(n for n in self.nodes if n not in self.latent)

    def directed_edges(self) -> Iterator[tuple[str, str]]:
        """The pairs (u, v) with u → v."""
        return ((u, v) for u, v, a, b in self.edges if (a, b) == ("tail", "arrow"))

    def skeleton(self) -> frozenset[frozenset[str]]:
        """The adjacent pairs."""
        return frozenset(frozenset((u, v)) for u, v, *_ in self.edges)

    # -- paths -----------------------------------------------------------------------------

    def ancestors(self, nodes: str | Iterable[str]) -> frozenset[str]:
        """All nodes with a directed path into ``nodes``, without ``nodes`` themselves."""
        return self._reach("parents", nodes)

    def descendants(self, nodes: str | Iterable[str]) -> frozenset[str]:
        """All nodes with a directed path from ``nodes``, without ``nodes`` themselves."""
        return self._reach("children", nodes)

    def _reach(self, relation: str, nodes: str | Iterable[str]) -> frozenset[str]:
        start = (nodes,) if isinstance(nodes, str) else tuple(nodes)
        if start:
            self.require(*start)
        step, seen, queue = self._adjacency[relation], set(start), deque(start)
        while queue:
            for other in step[queue.popleft()]:
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        return frozenset(seen.difference(start))

    def topological_order(self) -> tuple[str, ...]:
        """Nodes with every parent before its children (→ edges only); ties in order of nodes."""
        return self._topological

    @cached_property
    def _topological(self) -> tuple[str, ...]:
        waiting = {n: len(p) for n, p in self._adjacency["parents"].items()}
        ready = deque(n for n in self.nodes if not waiting[n])
        order = []
        while ready:
            node = ready.popleft()
            order.append(node)
            for child in self._adjacency["children"][node]:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        return tuple(order)

    def d_separated(
        self, x: str | Iterable[str], y: str | Iterable[str], given: str | Iterable[str] = ()
    ) -> bool:
        """Whether ``given`` blocks every path between ``x`` and ``y`` (m-separation with ↔).

        For a CPDAG or MPDAG the answer holds for every member of the class.
        """
        from .separation import d_separated

        return d_separated(self, x, y, given)

    def adjustment_set(self, treatment: str, outcome: str) -> frozenset[str]:
        """The optimal back-door adjustment set; raises :class:`IdentificationError` if none."""
        from .separation import adjustment_set

        return adjustment_set(self, treatment, outcome)

    def adjustment_sets(
        self, treatment: str, outcome: str, limit: int = 100
    ) -> list[frozenset[str]]:
        """Minimal back-door adjustment sets, smallest first, at most ``limit`` of them."""
        from .separation import adjustment_sets

        return adjustment_sets(self, treatment, outcome, limit)

    # -- classes ---------------------------------------------------------------------------

    @property
    def is_dag(self) -> bool:
        """Whether every edge is directed."""
        return self.kind == "dag"

    def cpdag(self) -> CausalGraph:
        """The Markov equivalence class of this DAG."""
        from .equivalence import cpdag

        return carried(self, cpdag(self))

    def members(self, limit: int = 100) -> list[CausalGraph]:
        """DAGs of the class, in a fixed order, at most ``limit`` of them; a DAG is its own."""
        from .equivalence import members

        return [carried(self, dag) for dag in members(self, limit)]

    def to_dag(self) -> CausalGraph:
        """One consistent DAG of the class: for drawing and simulation, never to stand for it."""
        from .equivalence import extension

        return carried(self, extension(self))

    # -- new graphs ------------------------------------------------------------------------

    def with_info(self, **info: Any) -> CausalGraph:
        """The same graph with more diagnostics."""
        return self._informed({**self.info, **info})

    def without_info(self) -> CausalGraph:
        """The same graph without diagnostics."""
        return self._informed({})

    def _informed(self, info: Mapping[str, Any]) -> CausalGraph:
        return self._with("info", dict(info))

    def with_origins(self, origins: Mapping[Sequence[str], Any]) -> CausalGraph:
        """The same graph with other origins of its edges; those left out are drawn."""
        return self._with("origins", check_origins(origins, self.edges))

    def _with(self, name: str, content: dict) -> CausalGraph:
        # What was checked once, and what was derived from it, holds for the copy as well.
        out = object.__new__(type(self))
        out.__dict__.update(self.__dict__)
        out.__dict__[name] = MappingProxyType(content)
        return out

    def edited(
        self,
        add: Iterable[Sequence[str]] = (),
        remove: Iterable[tuple[str, str]] = (),
    ) -> CausalGraph:
        """The graph with edges taken out, and others drawn in; the rest keeps its origins.

        Args:
            add: Edges as in the constructor; they count as drawn.
            remove: Pairs of nodes: every edge between them goes.

        Example:
            >>> g = CausalGraph(["a", "b"], [("a", "b")])
            >>> g.edited(add=[("b", "a")], remove=[("a", "b")]).edges
            (('b', 'a', 'tail', 'arrow'),)
        """
        gone = set()
        for u, v in remove:
            if not self.marks(u, v):
                raise GraphError(f"has no edge to {v!r}", column=u)
            gone |= {(u, v), (v, u)}
        kept = [e for e in self.edges if e[:2] not in gone]
        out = CausalGraph(self.nodes, [*kept, *add], latent=self.latent, info=self.info)
        return out.with_origins({e: o for e, o in self.origins.items() if e[:2] not in gone})

    def subgraph(self, nodes: Iterable[str]) -> CausalGraph:
        """The graph on some nodes and the edges between them (nothing is marginalised)."""
        keep = set(nodes)
        if keep:
            self.require(*keep)
        kind = self.kind if self.kind not in ("cpdag", "mpdag") else None
        out = CausalGraph(
            [n for n in self.nodes if n in keep],
            [e for e in self.edges if e[0] in keep and e[1] in keep],
            latent=self.latent & keep,
            kind=kind,
        )
        return carried(self, out)

    def rename(self, names: Mapping[str, str]) -> CausalGraph:
        """The same graph with other names."""
        if names:
            self.require(*names)
        new = {n: names.get(n, n) for n in self.nodes}
        return self._copy(
            nodes=[new[n] for n in self.nodes],
            edges=[(new[u], new[v], a, b) for u, v, a, b in self.edges],
            latent=[new[n] for n in self.latent],
            origins={(new[u], new[v], *marks): o for (u, v, *marks), o in self.origins.items()},
        )

    def _copy(self, **changes: Any) -> CausalGraph:
        parts = {
            "nodes": self.nodes,
            "edges": self.edges,
            "latent": self.latent,
            "kind": self.kind,
            "info": self.info,
            "origins": self.origins,
        }
        return CausalGraph(**{**parts, **changes})

    # -- other libraries -------------------------------------------------------------------

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> CausalGraph:
        """From a networkx graph; nodes of other types become their text."""
        from .exchange import from_networkx

        return from_networkx(graph)

    def to_networkx(self) -> nx.DiGraph | nx.MultiDiGraph:
        """To a DiGraph (a DAG), else to a MultiDiGraph with ``mark_u`` and ``mark_v``."""
        from .exchange import to_networkx

        return to_networkx(self)

    @classmethod
    def from_causallearn(cls, graph: Any, names: Sequence[str] | None = None) -> CausalGraph:
        """From causal-learn's ``GeneralGraph``, or a result that has one as ``.G``."""
        from .exchange import from_causallearn

        return from_causallearn(graph, names)

    def to_causallearn(self) -> Any:
        """To causal-learn's ``GeneralGraph``."""
        from .exchange import to_causallearn

        return to_causallearn(self)

    @classmethod
    def from_dowhy(cls, graph: Any) -> CausalGraph:
        """From dowhy's ``CausalGraph`` or the graph of a ``CausalModel``."""
        from .exchange import from_dowhy

        return from_dowhy(graph)

    def to_dowhy(self) -> nx.DiGraph:
        """To the networkx DiGraph that dowhy reads: ↔ as an unobserved common cause."""
        from .exchange import to_dowhy

        return to_dowhy(self)

    # -- looks -----------------------------------------------------------------------------

    def plot(self, ax: Axes | None = None, **style: Any) -> Axes:
        """Draw with causes above their effects; returns the Axes."""
        from .draw import plot

        return plot(self, ax=ax, **style)

    def _repr_svg_(self) -> str:
        from .draw import svg

        return svg(self)

    def __repr__(self) -> str:
        arrows = {"tail": "-", "arrow": ">", "circle": "o"}
        shown = []
        for u, v, mark_u, mark_v in self.edges[:6]:
            left = arrows[mark_u].replace(">", "<")
            shown.append(f"{u} {left}-{arrows[mark_v]} {v}".replace("--> ", "-> "))
        more = f", ... {len(self.edges) - 6} more" if len(self.edges) > 6 else ""
        counts = f"{self.kind}, {len(self.nodes)} nodes, {len(self.edges)} edges"
        return (
            f"CausalGraph({counts}: {'; '.join(shown)}{more})"
            if shown
            else f"CausalGraph({counts})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CausalGraph) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[Hashable, ...]:
        return frozenset(self.nodes), self.edges, self.latent, self.kind

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, node: object) -> bool:
        return node in self._position

    def __reduce__(self):
        return _rebuild, (self._state(),)

    def _state(self) -> dict[str, Any]:
        return {
            "nodes": list(self.nodes),
            "edges": [list(e) for e in self.edges],
            "latent": sorted(self.latent),
            "kind": self.kind,
            "info": dict(self.info),
            "origins": {edge: tuple(origin) for edge, origin in self.origins.items()},
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> CausalGraph:
        return cls(**state)


def _rebuild(state: dict[str, Any]) -> CausalGraph:
    return CausalGraph._from_state(state)
