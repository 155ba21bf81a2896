"""Tetrad's text, which is also how causal-learn prints a graph.

    Graph Nodes:
    a;b;(hidden)

    Graph Edges:
    1. a --> b
    2. b o-> c

Nodes in parentheses are latent. What follows an edge (``dd nl``, bootstrap shares) is kept in
``info["edge_notes"]``, other sections (ambiguous triples and the like) in ``info["tetrad"]``.

References:
    Ramsey et al., "TETRAD: a toolbox for causal discovery", 8th International Workshop on
    Climate Informatics, 2018.
"""

from __future__ import annotations

import re

from ...core.errors import FileFormatError
from ..causal_graph import CausalGraph
from .source import ARROWS, Draft, Source, Written, arrow, kind_lost, lines, origins_lost

_NUMBER = re.compile(r"\s*\d+\.[ \t]+")
_ARROW = re.compile(rf"(?<=\s)(?:{'|'.join(re.escape(a) for a in ARROWS)})(?=\s)")
# What would be taken for a separator, a section, a latent node or a note.
_RESERVED = re.compile(r"[;,:()\[\]{}]|\s{2}|\s(?:dd|pd|nl|pl)$")
_LONGEST_LINE = 10_000
_NOTES = re.compile(r"(?:\s+(?:dd|pd|nl|pl))*(?:\s*[\[({].*)?\s*")


def read(source: Source) -> Draft:
    draft = Draft(source)
    section, seen = "", set()
    notes: dict[tuple[str, str], str] = {}
    rest: dict[str, list[str]] = {}
    for start, line in lines(source.text):
        text = line.strip()
        if not text:
            continue
        if text.endswith(":") and not _NUMBER.match(line):
            section = text[:-1].lower()
            if section in seen:
                raise source.error(f"the section {text!r} comes twice", start)
            seen.add(section)
        elif section == "graph nodes":
            _nodes(draft, text, start + line.index(text))
        elif section == "graph edges":
            _edge(draft, line, start, notes)
        elif section:
            rest.setdefault(section, []).append(text)
        else:
            raise source.error("expected 'Graph Nodes:'", start)
    for needed in ("graph nodes", "graph edges"):
        if needed not in seen:
            raise source.error(f"there is no section '{needed.title()}:'", len(source.text))
    if notes:
        draft.info["edge_notes"] = notes
    if rest:
        draft.info["tetrad"] = {name: tuple(found) for name, found in rest.items()}
    return draft


def _nodes(draft: Draft, text: str, at: int) -> None:
    separator = ";" if ";" in text else ","
    for part in text.removesuffix(separator).split(separator):
        name = part.strip()
        if latent := name.startswith("(") and name.endswith(")"):
            name = name[1:-1]
        draft.node(name, at, new=True)
        if latent:
            draft.latent.add(name)
        at += len(part) + 1


def _edge(draft: Draft, line: str, start: int, notes: dict[tuple[str, str], str]) -> None:
    number = _NUMBER.match(line)
    if len(line) > _LONGEST_LINE:
        raise draft.error(f"an edge of more than {_LONGEST_LINE:,} characters", start)
    if number is None:
        raise draft.error("an edge begins with its number, as in '1. a --> b'", start)
    body, at = line[number.end() :], start + number.end()
    # Names may hold spaces and even arrows, so every way to cut the line is tried.
    readings = set()
    for match in _ARROW.finditer(body):
        left = _bare(draft, body[: match.start()])
        if left is None:
            continue
        after = body[match.end() :]
        for cut in _cuts(after):
            right = _bare(draft, after[:cut])
            if right is not None and _NOTES.fullmatch(after[cut:]):
                readings.add((left, match.group(), right, after[cut:].strip()))
    if len(readings) != 1:
        problem = "can be read in more than one way" if readings else "is not an edge between nodes"
        raise draft.error(f"{body.strip()[:60]!r} {problem}", at, f"Marks are {', '.join(ARROWS)}.")
    left, mark, right, note = readings.pop()
    draft.edge(left, right, *ARROWS[mark], at=at)
    if note:
        notes[left, right] = note


def _cuts(text: str) -> list[int]:
    """Where a name may end: before any white space, and at the end."""
    return [m.start() for m in re.finditer(r"\s", text)][:100] + [len(text)]


def _bare(draft: Draft, text: str) -> str | None:
    text = text.strip()
    if text in draft.nodes:
        return text
    inner = text[1:-1]
    return inner if text == f"({inner})" and inner in draft.latent else None


def write(graph: CausalGraph) -> Written:
    for name in graph.nodes:
        plain = name == name.strip() and not _RESERVED.search(name)
        if not plain or _ARROW.search(f" {name} ") or not name.isprintable():
            raise FileFormatError(
                f"Tetrad text can't hold the name {name!r}",
                advice="Rename the node or write DOT or JSON.",
            )
    shown = [f"({n})" if n in graph.latent else n for n in graph.nodes]
    out = ["Graph Nodes:", ";".join(shown), "", "Graph Edges:"]
    for i, (u, v, mark_u, mark_v) in enumerate(graph.edges, 1):
        out.append(f"{i}. {u} {arrow(mark_u, mark_v)} {v}")
    return Written("\n".join(out) + "\n", kind_lost(graph) + origins_lost(graph))
