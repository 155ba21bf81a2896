"""How an edge's line says where it comes from, and the legend that explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .layout import FONT, text_width

if TYPE_CHECKING:
    from .causal_graph import CausalGraph
    from .origins import Origin

LINE, HIDDEN, SAID = "#4a4a4a", "#c2410c", "#1f5a8a"
STEP, SAMPLE, MARGIN = 18.0, 30.0, 14.0  # of the legend: height of a row, a line, the border
SIZE = FONT - 2.5  # of its text and of numbers on lines
_WORDS = {
    "drawn": "drawn",
    "required": "required by knowledge",
    "learned": "learned",
}
_SHARE = "number: share of resamples that join the two"


@dataclass(frozen=True)
class Style:
    """A pen: ``dashes`` are on and off lengths, ``double`` is a line with a light core."""

    color: str = LINE
    width: float = 1.3
    dashes: tuple[float, float] | None = None
    double: bool = False


def is_mixed(graph: CausalGraph) -> bool:
    """Whether some edges were learned and others were not: only then do lines differ by it."""
    sources = {o.source for o in graph.origins.values()}
    return "learned" in sources and (len(sources) > 1 or len(graph.origins) < len(graph.edges))


def style(origin: Origin, width: float | None, hidden: bool, mixed: bool) -> Style:
    """The pen of an edge; ``width`` is that of its weight, ``hidden`` says that it is ↔."""
    source = origin.source if mixed else "learned"
    default = {"learned": 1.3, "required": 2.2, "drawn": 3.4}[source]
    said = source != "learned"
    dashes = (5.0, 3.0) if hidden else (9.0, 3.0) if source == "required" else None
    return Style(
        HIDDEN if hidden else SAID if said else LINE,
        default if width is None or said else width,
        dashes,
        source == "drawn",
    )


def legend(graph: CausalGraph, numbered: bool) -> list[tuple[Style | None, str]]:
    """(pen, words) for each row of the legend; None where the row is only words."""
    mixed, rows = is_mixed(graph), []
    if mixed:
        found = {graph.origin(*edge).source: graph.origin(*edge) for edge in graph.edges}
        rows = [(style(found[s], None, False, True), w) for s, w in _WORDS.items() if s in found]
    return rows + [(None, _SHARE)] * numbered


def legend_size(rows: list[tuple[Style | None, str]]) -> tuple[float, float]:
    """Width and height that the legend needs, without the lower margin."""
    if not rows:
        return 0.0, 0.0
    widest = max(text_width(words, SIZE) + (SAMPLE + 8) * (pen is not None) for pen, words in rows)
    return widest + 2 * MARGIN, STEP * len(rows) + MARGIN
