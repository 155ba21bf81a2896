"""Graphviz DOT, read and written without Graphviz.

An edge's marks are what Graphviz would draw: ``a -> b`` is a → b, ``a -- b`` is a — b,
``dir=both`` has a head at each end, ``arrowhead`` and ``arrowtail`` say which (``odot`` is a
circle); ``origin`` and ``confidence`` say where it comes from. A latent node has ``latent=true``
(or ``observed=no``), the graph may have ``kind=cpdag``. Colours, positions, ports and the like are
looks and are left out; labels go to ``info["labels"]``.

References:
    Gansner and North, "An open graph visualization system and its applications to software
    engineering", Software: Practice and Experience, 2000.
"""

from __future__ import annotations

import re
from typing import Any

from ...core.errors import FileFormatError
from ..causal_graph import CausalGraph
from ..origins import DRAWN
from ..parts import KINDS, Mark
from .attributed import origin_words
from .braces import DOT_WORD, KEYWORDS, Dialect, Link, Parser, quote
from .source import (
    ARROW,
    CIRCLE,
    DIRECTED,
    TAIL,
    Draft,
    Source,
    Written,
    is_latent,
    origin_of,
    suggestion,
)

DOT = Dialect(
    name="DOT",
    header=re.compile(r"(?P<strict>strict\b\s*)?(?P<type>digraph|graph)(?![\w])", re.IGNORECASE),
    word=DOT_WORD,
    operators=("->", "--"),
    defaults=True,
    advice="Names with spaces, signs or a leading digit go in double quotes; two-headed edges "
    "are written a -> b [dir=both].",
)
_SHAPES: dict[str, Mark] = {
    **dict.fromkeys(("normal", "vee", "open", "empty", "onormal", "halfopen"), ARROW),
    "odot": CIRCLE,
    "none": TAIL,
}
_SHAPE: dict[Mark, str] = {ARROW: "normal", CIRCLE: "odot", TAIL: "none"}
_ENDS = {"forward": (False, True), "back": (True, False), "both": (True, True)}
_ENDS["none"] = (False, False)


def read(source: Source) -> Draft:
    parsed = Parser(source, DOT).parse()
    directed = parsed.header["type"].lower() == "digraph"
    draft = Draft(source)
    if "kind" in parsed.attributes:
        kind, at = parsed.attributes["kind"]
        if kind not in KINDS:
            raise source.error(f"unknown kind of graph {kind!r}", at, suggestion(kind, KINDS))
        draft.kind = kind
    labels = {}
    for name, attributes in parsed.nodes.items():
        draft.node(name)
        latent = is_latent(attributes.items())
        if latent is None:
            raise source.error(f"the node {name!r}: 'latent' or 'observed' is neither yes nor no")
        if latent:
            draft.latent.add(name)
        if attributes.get("label", name) not in (name, r"\N"):
            labels[name] = attributes["label"]
    if labels:
        draft.info["labels"] = labels
    links = parsed.links
    if parsed.header["strict"]:
        links = _merged(links, directed)
    for link in links:
        if (link.operator == "->") != directed:
            raise source.error(
                f"'{link.operator}' in a {parsed.header['type'].lower()}",
                link.at,
                "A graph has '--', a digraph '->'; write a -> b [dir=none] for an edge "
                "without direction in a digraph.",
            )
        said = link.attributes
        draft.edge(
            link.left,
            link.right,
            *_marks(source, link, directed),
            at=link.at,
            origin=origin_of(said.get("origin"), said.get("confidence")) or DRAWN,
        )
    return draft


def _merged(links: list[Link], directed: bool) -> list[Link]:
    """A strict graph has one edge per pair; later attributes win."""
    found: dict[Any, Link] = {}
    for link in links:
        pair = (link.left, link.right)
        if not directed and pair[::-1] in found:
            pair = pair[::-1]
        if pair in found:
            first = found[pair]
            own = {**first.own, **link.own}
            attributes = {**first.attributes, **link.attributes}
            if pair != (link.left, link.right):  # drawn from the other end
                link = link._replace(left=link.right, right=link.left)
            found[pair] = first._replace(attributes=attributes, own=own)
        else:
            found[pair] = link
    return list(found.values())


def _marks(source: Source, link: Link, directed: bool) -> tuple[Mark, Mark]:
    attributes = link.attributes
    if not attributes:
        return DIRECTED if directed else (TAIL, TAIL)
    direction = attributes.get("dir", "forward" if directed else "none").lower()
    if direction not in _ENDS:
        raise source.error(
            f"unknown dir={direction!r}", link.at, "It is forward, back, both or none."
        )
    at_tail, at_head = _ENDS[direction]
    return (
        _mark(source, link, "arrowtail", at_tail),
        _mark(source, link, "arrowhead", at_head),
    )


def _mark(source: Source, link: Link, end: str, drawn: bool) -> Mark:
    shape = link.attributes.get(end, "normal")
    if shape not in _SHAPES:
        raise source.error(
            f"the mark {end}={shape!r} has no causal meaning",
            link.at,
            f"Known: {', '.join(_SHAPES)}.",
        )
    if drawn:
        return _SHAPES[shape]
    # Graphviz would drop this mark without a word; whoever wrote it meant something by it.
    if end in link.own and "dir" not in link.attributes and _SHAPES[shape] != TAIL:
        raise source.error(f"{end}={shape} is not drawn unless dir=both", link.at, "Add dir=both.")
    return TAIL


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _id(name: str) -> str:
    plain = _PLAIN.fullmatch(name) and name.lower() not in KEYWORDS
    return name if plain else quote(name)


def write(graph: CausalGraph) -> Written:
    lines = ["digraph {", f"  kind={graph.kind};"]
    for name in graph.nodes:
        if "\0" in name:
            raise FileFormatError(f"DOT can't hold the name {name!r}", advice="Rename the node.")
        latent = " [latent=true, style=dashed]" if name in graph.latent else ""
        lines.append(f"  {_id(name)}{latent};")
    for u, v, mark_u, mark_v in graph.edges:
        shown = _shapes(mark_u, mark_v)
        origin = origin_words(graph.origin(u, v, mark_u, mark_v))
        shown += [f"{key}={value}" for key, value in origin.items()]
        listed = f" [{', '.join(shown)}]" if shown else ""
        lines.append(f"  {_id(u)} -> {_id(v)}{listed};")
    return Written("\n".join([*lines, "}"]) + "\n", [])


def _shapes(mark_u: Mark, mark_v: Mark) -> list[str]:
    if (mark_u, mark_v) == DIRECTED:
        return []
    if mark_u == mark_v == TAIL:
        return ["dir=none"]
    shown = ["dir=both"]
    shown += [f"arrowtail={_SHAPE[mark_u]}"] * (mark_u != ARROW)
    shown += [f"arrowhead={_SHAPE[mark_v]}"] * (mark_v != ARROW)
    return shown
