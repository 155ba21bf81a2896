"""What every format shares: a text that knows its places, and a graph while it is being read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...core.errors import FileFormatError, GraphError, did_you_mean
from ..causal_graph import CausalGraph
from ..origins import DRAWN, SOURCES, Origin
from ..parts import Edge, Mark

MAX_BYTES = 50_000_000
MAX_NODES = 100_000
MAX_EDGES = 300_000
MAX_TOKENS = 1_500_000  # words, values or elements of a file
MAX_LINES = 1_000_000
MAX_DEPTH = 100
_LONGEST_MESSAGE = 400

TAIL, ARROW, CIRCLE = "tail", "arrow", "circle"
DIRECTED: tuple[Mark, Mark] = (TAIL, ARROW)


@dataclass(frozen=True)
class Source:
    """A text and, if it came from a file, the path to blame."""

    text: str
    path: str | None = None

    def error(
        self,
        problem: str,
        at: int | None = None,
        advice: str = "",
        *,
        line: int | None = None,
        char: int | None = None,
    ) -> FileFormatError:
        """The error for the place ``at`` (an offset into the text), or for a line and column."""
        if len(problem) > _LONGEST_MESSAGE:  # names come from the file
            problem = problem[:_LONGEST_MESSAGE] + "..."
        if at is not None:
            line = self.text.count("\n", 0, at) + 1
            char = at - self.text.rfind("\n", 0, at)
        return FileFormatError(problem, path=self.path, line=line, char=char, advice=advice)

    def too_long(self, at: int | None = None, **place: int) -> FileFormatError:
        return self.error(f"more than {MAX_TOKENS:,} words or values", at, **place)

    def too_deep(self, at: int | None = None, **place: int) -> FileFormatError:
        return self.error(f"nested more than {MAX_DEPTH} levels deep", at, **place)


class Place(NamedTuple):
    """A line and column (both from 1), for readers that don't work with offsets."""

    line: int
    char: int | None = None


# A place: an offset, a line and column, or how to find the offset once there is an error.
At = int | Place | Callable[[], int] | None


@dataclass
class Draft:
    """The graph read so far; every doubt about it is an error with its place in the file.

    ``kind`` is what the file says: a kind of :class:`CausalGraph`, ``"pdag"`` (a class of DAGs,
    complete or not: decided by looking) or None (inferred from the marks).
    """

    source: Source
    kind: str | None = None
    nodes: dict[str, None] = field(default_factory=dict)
    edges: list[tuple[str, str, Mark, Mark]] = field(default_factory=list)
    latent: set[str] = field(default_factory=set)
    origins: dict[Edge, Origin] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    _between: dict[tuple[str, str], set[tuple[Mark, Mark]]] = field(default_factory=dict)

    def error(self, problem: str, at: At, advice: str = "") -> FileFormatError:
        if callable(at):
            at = at()
        if isinstance(at, Place):
            return self.source.error(problem, advice=advice, line=at.line, char=at.char)
        return self.source.error(problem, at, advice)

    def node(self, name: str, at: At = None, *, new: bool = False) -> str:
        """Note a node; with ``new`` it must not have been there before."""
        if name in self.nodes:
            if new:
                raise self.error(f"the node {shown(name)} is declared twice", at, "Rename one.")
            return name
        if not name:
            raise self.error("a node has an empty name", at, "Give it a name.")
        if len(self.nodes) >= MAX_NODES:
            raise self.error(f"more than {MAX_NODES:,} nodes", at)
        self.nodes[name] = None
        return name

    def known(self, name: str, at: At = None) -> str:
        """The name of a node that must have been declared."""
        if name not in self.nodes:
            raise self.error(
                f"{shown(name)} is not among the nodes", at, suggestion(name, self.nodes)
            )
        return name

    def edge(
        self,
        u: str,
        v: str,
        mark_u: Mark = TAIL,
        mark_v: Mark = ARROW,
        at: At = None,
        origin: Origin = DRAWN,
    ) -> None:
        """Note an edge; repeats are fine, contradictions are not."""
        if u == v:
            raise self.error(f"the node {shown(u)} has an edge to itself", at, "Remove it.")
        pair, marks = ((u, v), (mark_u, mark_v)) if u < v else ((v, u), (mark_v, mark_u))
        seen = self._between.setdefault(pair, set())
        if marks in seen:
            return
        seen.add(marks)
        if len(seen) > 1 and not all(ARROW in m and CIRCLE not in m for m in seen):
            both = " and ".join(sorted(f"{shown(u)} {arrow(*m)} {shown(v)}" for m in seen))
            raise self.error(f"two edges contradict each other: {both}", at, "Keep one of them.")
        if len(self.edges) >= MAX_EDGES:
            raise self.error(f"more than {MAX_EDGES:,} edges", at)
        self.edges.append((u, v, mark_u, mark_v))
        if origin != DRAWN:
            self.origins[u, v, mark_u, mark_v] = origin

    def finish(self, kind: str | None = None) -> CausalGraph:
        """The graph; ``kind`` wins over what the file says."""
        kind = kind or self.kind
        try:
            graph = build(self.nodes, self.edges, self.latent, kind, self.info)
            return graph.with_origins(self.origins)
        except GraphError as error:
            if self.source.path is not None:
                error.problem += f" (in {self.source.path})"
            raise


def build(
    nodes: Iterable[str],
    edges: Iterable[tuple[str, str, Mark, Mark]],
    latent: Iterable[str] = (),
    kind: str | None = None,
    info: dict[str, Any] | None = None,
) -> CausalGraph:
    """A graph whose kind may also be ``"pdag"``: a CPDAG if the marks are complete."""
    if kind != "pdag":
        return CausalGraph(nodes, edges, latent=latent, kind=kind, info=info)
    graph = CausalGraph(nodes, edges, latent=latent, kind="mpdag", info=info)
    from ..equivalence import is_cpdag

    return graph._copy(kind="cpdag") if is_cpdag(graph) else graph


class Written(NamedTuple):
    """A text and what the format could not carry: (what, the nodes concerned)."""

    text: str
    lost: list[tuple[str, tuple[str, ...]]]


def kind_lost(graph: CausalGraph, as_read: str | None = None) -> list[tuple[str, tuple[str, ...]]]:
    """The kind, as a loss, if reading the marks (under ``as_read``) would give another one."""
    back = build(graph.nodes, graph.edges, graph.latent, as_read).kind
    return [(f"the kind {graph.kind!r} (it is read back as {back!r})", ())] * (back != graph.kind)


def origins_lost(graph: CausalGraph) -> list[tuple[str, tuple[str, ...]]]:
    """That edges were not drawn by whoever passes the file on, as a loss."""
    return [("which edges were learned or required", ())] * bool(graph.origins)


def origin_of(source: Any, confidence: Any) -> Origin | None:
    """The origin that two attributes of an edge stand for; None if they are no such thing."""
    if source not in SOURCES or (confidence is not None and isinstance(confidence, bool)):
        return None
    try:
        share = None if confidence is None else float(confidence)
    except (TypeError, ValueError):
        return None
    return Origin(source, share) if share is None or 0 <= share <= 1 else None


def latent_lost(graph: CausalGraph) -> list[tuple[str, tuple[str, ...]]]:
    """That some nodes are latent, as a loss."""
    names = tuple(n for n in graph.nodes if n in graph.latent)
    return [("which nodes are latent", names)] if names else []


# -- marks as arrows ---------------------------------------------------------------------------

_LEFT = {TAIL: "-", ARROW: "<", CIRCLE: "o"}
_RIGHT = {TAIL: "-", ARROW: ">", CIRCLE: "o"}


def arrow(mark_u: Mark, mark_v: Mark) -> str:
    """The marks as text: ``-->``, ``<->``, ``---``, ``o->``, ``o-o``, ..."""
    return f"{_LEFT[mark_u]}-{_RIGHT[mark_v]}"


ARROWS: dict[str, tuple[Mark, Mark]] = {arrow(a, b): (a, b) for a in _LEFT for b in _RIGHT}


def short_arrow(mark_u: Mark, mark_v: Mark) -> str:
    """As dagitty writes them: ``->``, ``<->``, ``--``, ``@->``, ``@-@``, ..."""
    if CIRCLE not in (mark_u, mark_v):
        return {(TAIL, ARROW): "->", (ARROW, TAIL): "<-", (ARROW, ARROW): "<->"}.get(
            (mark_u, mark_v), "--"
        )
    return arrow(mark_u, mark_v).replace("o", "@")


SHORT_ARROWS: dict[str, tuple[Mark, Mark]] = {short_arrow(a, b): (a, b) for a, b in ARROWS.values()}


def truth(value: Any) -> bool | None:
    """What a flag in a file says, or None if it says neither yes nor no."""
    text = str(value).strip().lower()
    if text in ("1", "true", "yes"):
        return True
    return False if text in ("0", "false", "no") else None


def is_latent(attributes: Iterable[tuple[str, Any]]) -> bool | None:
    """Whether a node's attributes call it latent; None if one of them can't be understood."""
    found = False
    for key, value in attributes:
        if key in ("latent", "observed"):
            said = truth(value)
            if said is None:
                return None
            found = found or said == (key == "latent")
    return found


def text_of(value: Any) -> str | None:
    """The name that a text or a number stands for; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return str(value)


def lines(text: str) -> Iterator[tuple[int, str]]:
    """(offset, line without its end) for each line; only a newline ends a line."""
    start = 0
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end].removesuffix("\r")
        start = end + 1


def shown(value: Any) -> str:
    """A name for a message, of bounded length."""
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """A "did you mean" whose cost doesn't depend on what a file holds."""
    name, known = str(name)[:100], itertools.islice(known, 2000)
    return did_you_mean(name, [k for k in map(str, known) if len(k) <= 100])
