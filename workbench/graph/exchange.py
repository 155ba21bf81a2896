"""Graphs of other libraries: networkx, causal-learn and dowhy, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..core.errors import FileFormatError, GraphError, warn
from .causal_graph import CausalGraph
from .formats.attributed import Listing, origin_words
from .formats.source import ARROW, CIRCLE, DIRECTED, TAIL, Draft, Source, arrow

if TYPE_CHECKING:
    import networkx as nx

_BIDIRECTED = "bidirected_edge"  # marks dowhy's stand-in for a ↔ b


# -- networkx ----------------------------------------------------------------------------------


def from_networkx(graph: nx.Graph) -> CausalGraph:
    """From any networkx graph; see :meth:`CausalGraph.from_networkx`.

    Honours ``mark_u`` and ``mark_v`` on edges, ``latent`` (or ``observed="no"``) on nodes and
    ``kind`` on the graph. Edges of an undirected graph have no direction. Nodes that are not
    texts become their text; two nodes with one text are an error.

    Example:
        >>> import networkx as nx
        >>> from_networkx(nx.DiGraph([(1, 2), ("a", 2)]))
        CausalGraph(dag, 3 nodes, 2 edges: 1 -> 2; a -> 2)
    """
    try:
        return _listed(graph).finish()
    except FileFormatError as error:  # there is no file to blame
        raise GraphError(error.problem, advice=error.advice) from None


def _listed(graph: nx.Graph) -> Draft:
    draft = Draft(Source(""))
    listing = Listing(draft)
    listing.graph(graph.graph)
    hidden = set(getattr(graph, "latents", None) or ())
    for node, attributes in graph.nodes(data=True):
        extra = {"latent": True} if node in hidden else {}
        listing.node(node, {**attributes, **extra}, name=str(node))
    directed = graph.is_directed()
    for u, v, attributes in graph.edges(data=True):
        if not directed and attributes.get("mark_u", TAIL) != attributes.get("mark_v", TAIL):
            raise GraphError(
                f"the undirected edge to {str(v)!r} has unequal marks, which end is which is lost",
                column=str(u),
                advice="Use a networkx.MultiDiGraph.",
            )
        listing.edge(u, v, attributes, directed)
    return draft


def to_networkx(graph: CausalGraph) -> nx.DiGraph | nx.MultiDiGraph:
    """To a DiGraph (a DAG), else a MultiDiGraph with ``mark_u``, ``mark_v`` on every edge."""
    import networkx as nx

    out = nx.DiGraph() if graph.is_dag else nx.MultiDiGraph()
    out.graph["kind"] = graph.kind
    for node in graph.nodes:
        out.add_node(node, **({"latent": True} if node in graph.latent else {}))
    for u, v, mark_u, mark_v in graph.edges:
        marks = {} if graph.is_dag else {"mark_u": mark_u, "mark_v": mark_v}
        out.add_edge(u, v, **marks, **origin_words(graph.origin(u, v, mark_u, mark_v)))
    return out


# -- causal-learn ------------------------------------------------------------------------------

# causal-learn keeps the mark at i of the edge i - j in matrix[i, j].
_CODES = {-1: TAIL, 1: ARROW, 2: CIRCLE}
_BOTH = {(4, 5): (TAIL, ARROW), (5, 4): (ARROW, TAIL)}  # an arrow beside a two-headed one


def _general(graph: Any) -> tuple[Any, Any]:
    """(the GeneralGraph, the result that it came from or None)."""
    inner = graph
    if isinstance(graph, tuple) and graph:
        inner = graph[0]  # fci returns (graph, edges)
    if isinstance(inner, dict) and "G" in inner:
        inner = inner["G"]  # ges returns a record
    inner = getattr(inner, "G", inner)
    if not hasattr(inner, "get_nodes") or not hasattr(inner, "graph"):
        raise GraphError(
            f"{type(graph).__name__} holds no causal-learn graph",
            advice="Pass a GeneralGraph, or a result with one as .G.",
        )
    return inner, (graph if inner is not graph else None)


def fitting_names(graph: Any, columns: Sequence[str] | None) -> Sequence[str] | None:
    """``columns`` if the nodes still have causal-learn's own names X1, X2, ... in that order."""
    inner, _ = _general(graph)
    own = [node.get_name() for node in inner.get_nodes()]
    made_up = own == [f"X{i}" for i in range(1, len(own) + 1)]
    fits = columns is not None and made_up and len(columns) == len(own)
    return columns if fits and not set(own) <= set(columns) else None


def from_causallearn(graph: Any, names: Sequence[str] | None = None) -> CausalGraph:
    """From causal-learn's ``GeneralGraph``; see :meth:`CausalGraph.from_causallearn`."""
    from causallearn.graph.NodeType import NodeType

    inner, result = _general(graph)
    nodes = inner.get_nodes()
    own = [node.get_name() for node in nodes]
    if names is not None and len(names) != len(own):
        raise GraphError(f"{len(names)} names for {len(own)} nodes", advice="Give one per node.")
    shown = own if names is None else [str(name) for name in names]
    latent = [
        name
        for name, node in zip(shown, nodes, strict=True)
        if node.get_node_type() == NodeType.LATENT
    ]
    matrix = inner.graph.tolist()
    edges = []
    for j, v in enumerate(shown):
        for i, u in enumerate(shown[:j]):
            pair = matrix[i][j], matrix[j][i]
            if pair == (0, 0):
                continue
            if pair in _BOTH:
                edges += [(u, v, *_BOTH[pair]), (u, v, ARROW, ARROW)]
            elif pair[0] in _CODES and pair[1] in _CODES:
                edges.append((u, v, _CODES[pair[0]], _CODES[pair[1]]))
            else:
                raise GraphError(f"the edge to {v!r} has marks {pair}, not understood", column=u)
    found = CausalGraph(shown, edges, latent=latent)
    if hasattr(result, "sepset"):  # only PC's result has it: PC knows no hidden causes
        clash = [(u, v) for u, v, *marks in found.edges if marks == [ARROW, ARROW]]
        if clash:
            warn(
                "conflicting-orientations",
                f"PC drew {len(clash)} two-headed edges where its tests contradict each other "
                f"(first {arrow(ARROW, ARROW)} between {clash[0][0]!r} and {clash[0][1]!r}); "
                "they are no evidence of hidden causes",
                dict.fromkeys(n for pair in clash for n in pair),
            )
    return found


def to_causallearn(graph: CausalGraph) -> Any:
    """To causal-learn's ``GeneralGraph``, latent nodes included."""
    from causallearn.graph.GeneralGraph import GeneralGraph
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.graph.NodeType import NodeType

    nodes = [GraphNode(name) for name in graph.nodes]
    for node in nodes:
        if node.get_name() in graph.latent:
            node.set_node_type(NodeType.LATENT)
    out = GeneralGraph(nodes)
    codes = {mark: code for code, mark in _CODES.items()}
    both = {marks: code for code, marks in _BOTH.items()}
    at = graph._position
    directed = []
    for u, v, mark_u, mark_v in graph.edges:
        i, j = at[u], at[v]
        pair = codes[mark_u], codes[mark_v]
        marks = set(graph.marks(u, v))
        if len(marks) == 2:
            pair = both[next(m for m in marks if m != (ARROW, ARROW))]
        out.graph[i, j], out.graph[j, i] = pair
        if (mark_u, mark_v) == DIRECTED:
            directed.append((i, j))
    # causal-learn answers questions on ancestors from a table of its own.
    order = {at[name]: rank for rank, name in enumerate(graph.topological_order())}
    for i, j in sorted(directed, key=lambda edge: order[edge[1]]):
        out.dpath[j, :] |= out.dpath[i, :]
    out.pag = graph.kind == "pag"
    out.pattern = graph.kind in ("cpdag", "mpdag")
    return out


# -- dowhy -------------------------------------------------------------------------------------


def from_dowhy(graph: Any) -> CausalGraph:
    """From dowhy's ``CausalGraph``, ``CausalModel`` or a structural model with ``.graph``.

    Nodes with ``observed="no"`` are latent; those that :func:`to_dowhy` made become ↔ again.
    """
    inner = graph
    for _ in range(3):  # CausalModel -> CausalGraph -> networkx
        if hasattr(inner, "nodes") and hasattr(inner, "edges"):
            break
        inner = next(
            (getattr(inner, a) for a in ("_graph", "graph") if getattr(inner, a, None) is not None),
            None,
        )
    if not hasattr(inner, "nodes") or not hasattr(inner, "edges"):
        raise GraphError(f"{type(graph).__name__} holds no dowhy graph")
    stand_ins = [n for n, mark in inner.nodes(data=_BIDIRECTED) if mark]
    if not stand_ins:
        return from_networkx(inner)
    found = from_networkx(inner)
    gone = {str(n) for n in stand_ins}
    edges = [e for e in found.edges if e[0] not in gone]
    for node in sorted(gone):
        edges += [(u, v, ARROW, ARROW) for u, v in pairwise(found.children(node))]
    nodes = [n for n in found.nodes if n not in gone]
    return CausalGraph(nodes, edges, latent=found.latent - gone)


def to_dowhy(graph: CausalGraph) -> nx.DiGraph:
    """To the DiGraph that dowhy reads; each ↔ becomes a node with ``observed="no"``.

    Raises:
        GraphError: The graph stands for a class; dowhy reads one DAG only.
    """
    import networkx as nx

    out = nx.DiGraph()
    for node in graph.nodes:
        out.add_node(node, observed="no" if node in graph.latent else "yes")
    for u, v, mark_u, mark_v in graph.edges:
        if (mark_u, mark_v) == DIRECTED and graph.kind != "pag":
            out.add_edge(u, v)
        elif (mark_u, mark_v) == (ARROW, ARROW) and graph.kind == "admg":
            hidden = f"U({u}, {v})"
            while hidden in graph or hidden in out:
                hidden += "'"
            out.add_node(hidden, observed="no", label="Unobserved Confounders")
            out.nodes[hidden][_BIDIRECTED] = True
            out.add_edge(hidden, u)
            out.add_edge(hidden, v)
        else:
            raise GraphError(
                f"a graph of kind {graph.kind!r} stands for several DAGs, dowhy reads one",
                column=u,
                advice="Ask the question for each of graph.members().",
            )
    return out
