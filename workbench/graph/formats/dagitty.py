"""dagitty's text: ``dag { x -> m -> y; x <-> y; u [latent] }`` and ``pdag``, ``mag``, ``pag``.

Exposure, outcome and the like go to ``info["roles"]``, positions to ``info["positions"]``; both
are written back. A MAG is read as a PAG without circles: its arrows mean ancestry and don't
exclude a hidden common cause, so it must not be taken for an ADMG.

References:
    Textor et al., "Robust causal inference using directed acyclic graphs: the R package
    'dagitty'", International Journal of Epidemiology, 2016.
"""

from __future__ import annotations

import re
from typing import Any

from ...core.errors import FileFormatError
from ..causal_graph import CausalGraph
from .braces import DAGITTY_WORD, Dialect, Parser, quote
from .source import SHORT_ARROWS, Draft, Source, Written, kind_lost, origins_lost, short_arrow

DAGITTY = Dialect(
    name="dagitty text",
    header=re.compile(r"(?P<type>dag|pdag|mag|pag)(?![\w.])"),
    word=DAGITTY_WORD,
    operators=tuple(SHORT_ARROWS),
    defaults=False,
    advice="Names with spaces or signs go in double quotes; edges are "
    "-> <- <-> -- @-> <-@ @-@ @-- --@.",
)
ROLES = ("exposure", "outcome", "adjusted", "selected", "source", "target")
_ALIASES = {"e": "exposure", "o": "outcome", "a": "adjusted", "s": "selected"}
_LATENT = ("latent", "unobserved", "u", "l")
_MARKS_IN = {
    "dag": ("->", "<-", "<->"),
    "pdag": ("->", "<-", "--"),
    "mag": ("->", "<-", "<->", "--"),
}


def read(source: Source) -> Draft:
    parsed = Parser(source, DAGITTY).parse()
    header = parsed.header["type"]
    draft = Draft(source, kind={"dag": None, "pdag": "pdag"}.get(header, "pag"))
    roles: dict[str, list[str]] = {}
    positions: dict[str, tuple[float, float]] = {}
    for name, attributes in parsed.nodes.items():
        draft.node(name)
        for key, value in attributes.items():
            key = key.lower()
            if key in _LATENT:
                draft.latent.add(name)
            elif _ALIASES.get(key, key) in ROLES:
                roles.setdefault(_ALIASES.get(key, key), []).append(name)
            elif key == "pos" and (point := _point(value)):
                positions[name] = point
    if roles:
        draft.info["roles"] = {role: tuple(names) for role, names in roles.items()}
    if positions:
        draft.info["positions"] = positions
    allowed = _MARKS_IN.get(header, DAGITTY.operators)
    for link in parsed.links:
        if link.operator not in allowed:
            raise source.error(
                f"a {header} has no edge {link.operator!r}",
                link.at,
                f"It has {', '.join(allowed)}.",
            )
        draft.edge(link.left, link.right, *SHORT_ARROWS[link.operator], at=link.at)
    return draft


def _point(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(part) for part in str(value).split(","))
    except ValueError:
        return None
    return x, y


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(("graph", "digraph", "subgraph", "node", "edge", "strict", "bb"))


def _id(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and name.lower() not in _RESERVED else quote(name)


def write(graph: CausalGraph) -> Written:
    header = {"cpdag": "pdag", "mpdag": "pdag", "pag": "pag"}.get(graph.kind, "dag")
    roles = graph.info.get("roles", {})
    positions = graph.info.get("positions", {})
    lines = [f"{header} {{"]
    for name in graph.nodes:
        if "\0" in name:
            raise FileFormatError(
                f"dagitty can't hold the name {name!r}", advice="Rename the node."
            )
        marks = [role for role in ROLES if name in roles.get(role, ())]
        marks += ["latent"] * (name in graph.latent)
        if name in positions:
            x, y = positions[name]
            marks.append(f'pos="{float(x)!r},{float(y)!r}"')
        lines.append(f"  {_id(name)}{' [' + ','.join(marks) + ']' if marks else ''}")
    for u, v, mark_u, mark_v in graph.edges:
        lines.append(f"  {_id(u)} {short_arrow(mark_u, mark_v)} {_id(v)}")
    as_read = {"dag": None}.get(header, header)
    return Written("\n".join([*lines, "}"]) + "\n", kind_lost(graph, as_read) + origins_lost(graph))
