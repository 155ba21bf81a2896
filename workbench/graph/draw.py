"""Pictures of graphs: SVG text for notebooks and reports, matplotlib for papers.

Both draw the same shapes from :mod:`.layout`: arrowheads end on the border of their node, latent
nodes are dashed, ↔ is a dashed vermilion curve, circles are small open circles.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ..core.errors import GraphError, ParameterError
from ..core.results import number
from .causal_graph import CausalGraph
from .layout import FONT, layout, text_width
from .routing import Box, Curve, Layout, Point, bezier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, INK, FILL, LINE, HIDDEN = "#ffffff", "#1f1f1f", "#f3efe6", "#4a4a4a", "#c2410c"
_LOW, _HIGH = (255, 247, 222), (178, 74, 10)  # for values in highlight: light to dark orange
_HEAD, _HALF, _RADIUS = 8.0, 3.4, 3.2
_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})|[a-zA-Z]{3,30}")
_MAX_WIDTH = 720
_MAX_NODES, _MAX_EDGES = 250, 900  # more than that is a hairball on any screen

Weights = Mapping[tuple[str, str], float]
Highlight = Mapping[str, str | float]


@dataclass(frozen=True)
class _Shapes:
    """One edge, ready for any pen: a line, filled heads, open circles, a label."""

    line: tuple[Point, ...]
    heads: tuple[tuple[Point, ...], ...]
    circles: tuple[Point, ...]
    color: str
    width: float
    dashed: bool
    label: tuple[str, Point] | None


def svg(
    graph: CausalGraph, *, weights: Weights | None = None, highlight: Highlight | None = None
) -> str:
    """The graph as an SVG text, at most 720 px wide, causes above their effects.

    Needs no other library; every name is escaped. A graph of more than 250 nodes or 900 edges is
    not drawn but described; draw a :meth:`CausalGraph.subgraph` of it.

    Args:
        graph: The graph.
        weights: (u, v) -> confidence: drawn as the width and the label of the edge.
        highlight: Node -> colour (a name or ``#rrggbb``) or a number (darker is more).

    Example:
        >>> svg(CausalGraph(["a<b", "c"], [("a<b", "c")])).count("a&lt;b")
        2
    """
    if len(graph.nodes) > _MAX_NODES or len(graph.edges) > _MAX_EDGES:
        return _too_large(graph)
    placed = layout(graph)
    fills = _fills(graph, highlight)
    width = min(_MAX_WIDTH, round(placed.width))
    height = round(placed.height * width / placed.width)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {placed.width:.1f} {placed.height:.1f}" role="img" '
        f'font-family="Helvetica, Arial, sans-serif" text-anchor="middle">',
        f"<title>{_safe(_describe(graph))}</title>",
        f'<rect width="100%" height="100%" rx="6" fill="{PAPER}"/>',
    ]
    labels = []
    for shapes in _edges(placed, weights, graph):
        out += _svg_edge(shapes)
        if shapes.label:
            labels.append(_svg_label(*shapes.label))
    for node, box in placed.boxes.items():
        out += _svg_node(node, box, fills.get(node, FILL), node in graph.latent)
    return "\n".join([*out, *labels, "</svg>"])


def plot(
    graph: CausalGraph,
    ax: Axes | None = None,
    *,
    weights: Weights | None = None,
    highlight: Highlight | None = None,
) -> Axes:
    """Draw the graph with matplotlib, causes above their effects; returns the Axes.

    Args:
        graph: The graph.
        ax: Where to draw; a new figure of fitting size if left out.
        weights: (u, v) -> confidence: drawn as the width and the label of the edge.
        highlight: Node -> colour (a name or ``#rrggbb``) or a number (darker is more).
    """
    from matplotlib import pyplot as plt
    from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    placed = layout(graph)
    fills = _fills(graph, highlight)
    if ax is None:
        shrink = min(1.0, 14 * 72 / placed.width, 14 * 72 / placed.height)
        size = (placed.width * shrink / 72, placed.height * shrink / 72)
        ax = plt.figure(figsize=size).add_axes((0, 0, 1, 1))
    ax.set_xlim(0, placed.width)
    ax.set_ylim(placed.height, 0)
    ax.set_aspect("equal")
    ax.axis("off")
    box = ax.get_window_extent()
    scale = min(box.width / placed.width, box.height / placed.height) * 72 / ax.figure.dpi
    for shapes in _edges(placed, weights, graph):
        codes = [Path.MOVETO] + [Path.CURVE4] * (len(shapes.line) - 1)
        ax.add_patch(
            PathPatch(
                Path(shapes.line, codes),
                fill=False,
                edgecolor=shapes.color,
                linewidth=shapes.width * scale,
                linestyle=(0, (4, 2.5)) if shapes.dashed else "-",
                zorder=2,
            )
        )
        for head in shapes.heads:
            ax.add_patch(Polygon(head, color=shapes.color, linewidth=0, zorder=3))
        for centre in shapes.circles:
            look = {"facecolor": PAPER, "edgecolor": shapes.color, "linewidth": 1.2 * scale}
            ax.add_patch(Circle(centre, _RADIUS, zorder=3, **look))
        if shapes.label:
            text, (x, y) = shapes.label
            back = {"boxstyle": "round,pad=0.15", "facecolor": PAPER, "linewidth": 0, "alpha": 0.9}
            look = {"fontsize": (FONT - 2.5) * scale, "color": INK, "bbox": back}
            ax.text(x, y, text, ha="center", va="center", zorder=6, **look)
    for node, box in placed.boxes.items():
        fill = fills.get(node, FILL)
        ax.add_patch(
            FancyBboxPatch(
                (box.x - box.width / 2, box.y - box.height / 2),
                box.width,
                box.height,
                boxstyle="round,pad=0,rounding_size=6",
                facecolor=PAPER if node in graph.latent and fill == FILL else fill,
                edgecolor=LINE,
                linewidth=1.0 * scale,
                linestyle=(0, (3, 2)) if node in graph.latent else "-",
                zorder=4,
            )
        )
        look = {"fontsize": box.font * scale, "color": _ink(fill), "parse_math": False}
        for y, line in _baselines(box):
            ax.text(box.x, y, line, ha="center", va="center_baseline", zorder=5, **look)
    return ax


# -- colours -----------------------------------------------------------------------------------


def _fills(graph: CausalGraph, highlight: Highlight | None) -> dict[str, str]:
    """A colour for each highlighted node."""
    if not highlight:
        return {}
    graph.require(*highlight)
    numbers = {}
    fills = {}
    for node, value in highlight.items():
        if isinstance(value, str):
            if not _COLOR.fullmatch(value):
                raise ParameterError(
                    "must be a colour name, #rrggbb or a number", column="highlight", value=value
                )
            fills[node] = value
        elif math.isfinite(value):
            numbers[node] = float(value)
        else:
            raise ParameterError("must be finite", column="highlight", value=value)
    low, high = min(numbers.values(), default=0), max(numbers.values(), default=1)
    for node, value in numbers.items():
        share = (value - low) / (high - low) if high > low else 1.0
        parts = (round(a + share * (b - a)) for a, b in zip(_LOW, _HIGH, strict=True))
        fills[node] = "#" + "".join(f"{part:02x}" for part in parts)
    return fills


def _ink(fill: str) -> str:
    """Dark text on light fills, white on dark ones."""
    if len(fill) == 7 and fill.startswith("#"):
        red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
        return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else PAPER
    return INK


# -- edges as shapes ---------------------------------------------------------------------------


def _edges(placed: Layout, weights: Weights | None, graph: CausalGraph) -> list[_Shapes]:
    confidence = _confidence(graph, weights)
    largest = max([1.0, *(abs(w) for w in confidence.values())])
    taken = [_rectangle(b.x, b.y, b.width, b.height) for b in placed.boxes.values()]
    found = []
    for curve in placed.curves:
        weight = confidence.get((curve.u, curve.v))
        width = 1.3 if weight is None else 0.7 + 2.6 * abs(weight) / largest
        label = None if weight is None else (number(weight, 2), _room(curve, weight, taken))
        found.append(_shapes(curve, width, label))
    return found


def _confidence(graph: CausalGraph, weights: Weights | None) -> dict[tuple[str, str], float]:
    found = {}
    for (u, v), weight in (weights or {}).items():
        if not graph.marks(u, v):
            raise GraphError(f"has no edge to {v!r}, but a weight for it", column=u)
        if not math.isfinite(weight):
            raise ParameterError("must be finite", column="weights", value=weight)
        found[u, v] = found[v, u] = float(weight)
    return found


def _shapes(curve: Curve, width: float, label: tuple[str, Point] | None) -> _Shapes:
    points = list(curve.points)
    heads, circles = [], []
    for mark, at_end in zip(curve.marks, (False, True), strict=True):
        if at_end:
            points.reverse()
        tip = points[0]
        dx, dy = _direction(points)
        if mark == "arrow":
            size = 1 + max(0.0, width - 1.3) * 0.25
            back = (tip[0] + dx * _HEAD * size, tip[1] + dy * _HEAD * size)
            half = _HALF * size
            heads.append(
                (
                    tip,
                    (back[0] - dy * half, back[1] + dx * half),
                    (back[0] + dx * -1.5, back[1] + dy * -1.5),
                    (back[0] + dy * half, back[1] - dx * half),
                )
            )
            points = _cut(points, _HEAD * size - 2)
        elif mark == "circle":
            circles.append((tip[0] + dx * _RADIUS, tip[1] + dy * _RADIUS))
            points = _cut(points, 2 * _RADIUS)
        if at_end:
            points.reverse()
    hidden = curve.marks == ("arrow", "arrow")
    return _Shapes(
        tuple(points),
        tuple(heads),
        tuple(circles),
        HIDDEN if hidden else LINE,
        width,
        hidden,
        label,
    )


def _direction(points: list[Point]) -> Point:
    """Unit vector from the first point into the curve."""
    x, y = points[0]
    ahead = bezier(tuple(points[:4]), 0.15)
    length = math.hypot(ahead[0] - x, ahead[1] - y) or 1.0
    return (ahead[0] - x) / length, (ahead[1] - y) / length


def _cut(points: list[Point], length: float) -> list[Point]:
    """The chain without its first ``length`` points, split by de Casteljau."""
    first = points[:4]
    chord = math.dist(first[0], first[1]) + math.dist(first[1], first[2])
    t = min(0.9, length / max(chord + math.dist(first[2], first[3]), 1e-9))

    def between(p: Point, q: Point) -> Point:
        return p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t

    a, b, c = (between(first[i], first[i + 1]) for i in range(3))
    d, e = between(a, b), between(b, c)
    return [between(d, e), e, c, first[3], *points[4:]]


def _rectangle(x: float, y: float, width: float, height: float) -> tuple[float, ...]:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _room(curve: Curve, weight: float, taken: list[tuple[float, ...]]) -> Point:
    """A place on the edge where its label covers neither a node nor another label."""
    size = text_width(number(weight, 2), FONT - 2.5) + 4, FONT
    places = []
    pieces = range(0, len(curve.points) - 1, 3)
    for t in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8):
        for k in sorted(pieces, key=lambda k: abs(k - (len(curve.points) - 4) / 2)):
            places.append(bezier(curve.points[k : k + 4], t))
    best, fewest = places[0], math.inf
    for place in places:
        mine = _rectangle(*place, *size)
        clashes = sum(
            mine[0] < r[2] and r[0] < mine[2] and mine[1] < r[3] and r[1] < mine[3] for r in taken
        )
        if clashes < fewest:
            best, fewest = place, clashes
        if not clashes:
            break
    taken.append(_rectangle(*best, *size))
    return best


def _baselines(box: Box) -> list[tuple[float, str]]:
    step = box.font * 1.25
    top = box.y - step * (len(box.lines) - 1) / 2
    return [(top + i * step, line) for i, line in enumerate(box.lines)]


# -- SVG ---------------------------------------------------------------------------------------


def _safe(text: str) -> str:
    """Escaped, and without what XML can't hold."""
    kept = re.sub(
        "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text
    )
    return escape(kept)


def _describe(graph: CausalGraph) -> str:
    return f"Causal graph ({graph.kind}): {len(graph.nodes)} nodes, {len(graph.edges)} edges"


def _svg_edge(shapes: _Shapes) -> list[str]:
    (x, y), rest = shapes.line[0], shapes.line[1:]
    curves = " ".join(f"{px:.1f},{py:.1f}" for px, py in rest)
    dash = ' stroke-dasharray="5 3"' if shapes.dashed else ""
    out = [
        f'<path d="M{x:.1f},{y:.1f} C{curves}" fill="none" stroke="{shapes.color}" '
        f'stroke-width="{shapes.width:.2f}"{dash}/>'
    ]
    for head in shapes.heads:
        corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in head)
        out.append(f'<polygon points="{corners}" fill="{shapes.color}"/>')
    for cx, cy in shapes.circles:
        out.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{_RADIUS}" fill="{PAPER}" '
            f'stroke="{shapes.color}" stroke-width="1.2"/>'
        )
    return out


def _svg_label(text: str, at: Point) -> str:
    return (
        f'<text x="{at[0]:.1f}" y="{at[1] + 3:.1f}" font-size="{FONT - 2.5}" fill="{INK}" '
        f'stroke="{PAPER}" stroke-width="3" paint-order="stroke">{_safe(text)}</text>'
    )


def _svg_node(node: str, box: Box, fill: str, latent: bool) -> list[str]:
    dash = ' stroke-dasharray="4 3"' if latent else ""
    shown = PAPER if latent and fill == FILL else fill
    out = [
        f"<g><title>{_safe(node)}{' (latent)' if latent else ''}</title>",
        f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - box.height / 2:.1f}" '
        f'width="{box.width:.1f}" height="{box.height:.1f}" rx="6" fill="{shown}" '
        f'stroke="{LINE}"{dash}/>',
    ]
    for y, line in _baselines(box):
        out.append(
            f'<text x="{box.x:.1f}" y="{y + box.font * 0.35:.1f}" font-size="{box.font}" '
            f'fill="{_ink(fill)}">{_safe(line)}</text>'
        )
    return [*out, "</g>"]


def _too_large(graph: CausalGraph) -> str:
    text = f"{_describe(graph)}. Too large to draw; look at a subgraph."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="40" viewBox="0 0 640 40" '
        f'role="img"><rect width="100%" height="100%" rx="6" fill="{PAPER}"/>'
        f'<text x="12" y="25" font-family="Helvetica, Arial, sans-serif" font-size="13" '
        f'fill="{INK}">{_safe(text)}</text></svg>'
    )
