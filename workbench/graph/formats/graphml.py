"""GraphML. A node's name is its id; marks, latent nodes and kind are ``<data>`` of our own.

Edges that are not simply u → v are written ``directed="false"`` with their marks, so that a tool
that doesn't know the marks can't take them for arrows.

References:
    Brandes et al., "GraphML progress report", Graph Drawing, 2002.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from ...core.errors import FileFormatError
from ..causal_graph import CausalGraph
from .attributed import Listing, origin_words
from .source import DIRECTED, Draft, Source, Written, truth
from .xml import Element, parse


def read(source: Source) -> Draft:
    root = parse(source)
    if root.tag != "graphml":
        raise _error(source, f"the root element is <{root.tag}>, not <graphml>", root)
    graphs = list(root.all("graph"))
    if len(graphs) != 1:
        raise _error(source, f"{len(graphs)} graphs in one file", graphs[1] if graphs else root)
    graph = graphs[0]
    keys = _Keys(source, root)
    draft = Draft(source)
    listing = Listing(draft)
    listing.graph(keys.data(graph, "graph"), graph.at)
    for hyperedge in graph.all("hyperedge"):
        raise _error(source, "an edge between more than two nodes has no causal meaning", hyperedge)
    for node in graph.all("node"):
        for inner in node.all("graph"):
            raise _error(source, "a graph inside a node is not supported", inner)
        listing.node(_need(source, node, "id"), keys.data(node, "node"), node.at)
    default = graph.attributes.get("edgedefault")
    if default not in ("directed", "undirected"):
        raise _error(source, "<graph> must have edgedefault directed or undirected", graph)
    for edge in graph.all("edge"):
        said = edge.attributes.get("directed")
        directed = default == "directed" if said is None else truth(said)
        if directed is None:
            raise _error(source, f"directed={said!r} is neither true nor false", edge)
        u, v = _need(source, edge, "source"), _need(source, edge, "target")
        listing.edge(u, v, keys.data(edge, "edge"), directed, edge.at)
    return draft


def _error(source: Source, problem: str, element: Element) -> FileFormatError:
    return source.error(problem, line=element.at.line, char=element.at.char)


def _need(source: Source, element: Element, attribute: str) -> str:
    if attribute not in element.attributes:
        raise _error(source, f"<{element.tag}> has no {attribute}", element)
    return element.attributes[attribute]


class _Keys:
    """The declared ``<key>``s: what ``<data>`` means and what holds where there is none."""

    def __init__(self, source: Source, root: Element):
        self.source = source
        self.names: dict[tuple[str, str], str] = {}
        self.defaults: dict[str, dict[str, str]] = {"graph": {}, "node": {}, "edge": {}}
        for key in root.all("key"):
            identity, of = key.attributes.get("id", ""), key.attributes.get("for", "all")
            name = key.attributes.get("attr.name", identity)
            for domain in self.defaults if of == "all" else [of]:
                self.names[domain, identity] = name
                for default in key.all("default"):
                    self.defaults.setdefault(domain, {})[name] = default.text.strip()

    def data(self, element: Element, domain: str) -> dict[str, str]:
        found = dict(self.defaults[domain])
        for data in element.all("data"):
            identity = _need(self.source, data, "key")
            if (domain, identity) not in self.names:
                raise _error(self.source, f"the key {identity!r} is not declared", data)
            found[self.names[domain, identity]] = data.text.strip()
        return found


# What XML 1.0 can't hold, even as a character reference.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_KEYS = """\
  <key id="kind" for="graph" attr.name="kind" attr.type="string"/>
  <key id="latent" for="node" attr.name="latent" attr.type="boolean"/>
  <key id="mark_u" for="edge" attr.name="mark_u" attr.type="string"/>
  <key id="mark_v" for="edge" attr.name="mark_v" attr.type="string"/>
  <key id="origin" for="edge" attr.name="origin" attr.type="string"/>
  <key id="confidence" for="edge" attr.name="confidence" attr.type="double"/>
"""


def write(graph: CausalGraph) -> Written:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        _KEYS + '  <graph edgedefault="directed">',
        f'    <data key="kind">{escape(graph.kind)}</data>',
    ]
    ids = {}
    for name in graph.nodes:
        if _ILLEGAL.search(name):
            raise FileFormatError(
                f"XML can't hold the name {name!r}", advice="Rename the node or write JSON."
            )
        ids[name] = quoteattr(name, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
        latent = '><data key="latent">true</data></node>' if name in graph.latent else "/>"
        lines.append(f"    <node id={ids[name]}{latent}")
    for u, v, mark_u, mark_v in graph.edges:
        ends = f"    <edge source={ids[u]} target={ids[v]}"
        said = origin_words(graph.origin(u, v, mark_u, mark_v))
        if (mark_u, mark_v) != DIRECTED:
            ends += ' directed="false"'
            said = {"mark_u": mark_u, "mark_v": mark_v, **said}
        data = "".join(f'<data key="{key}">{value}</data>' for key, value in said.items())
        lines.append(f"{ends}>{data}</edge>" if data else f"{ends}/>")
    return Written("\n".join([*lines, "  </graph>", "</graphml>"]) + "\n", [])
