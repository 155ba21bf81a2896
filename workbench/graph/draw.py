"""Pictures of graphs: SVG text for notebooks and reports, matplotlib for papers.

Both draw the same shapes from :mod:`.layout`: arrowheads end on the border of their node, latent
nodes are dashed, ↔ is a dashed vermilion curve, circles are small open circles. Where some edges
were learned and others were not, drawn ones are double lines, required ones long dashes, and a
legend says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from ..core.errors import GraphError, ParameterError
from ..core.results import number
from .causal_graph import CausalGraph
from .edge_style import (
    LINE,
    MARGIN,
    SAMPLE,
    SIZE,
    STEP,
    Style,
    is_mixed,
    legend,
    legend_size,
    style,
)
from .layout import FONT, layout, text_width
from .routing import Box, Curve, Layout, Point, bezier

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, INK, FILL = "#ffffff", "#1f1f1f", "#f3efe6"
_LOW, _HIGH = (255, 247, 222), (178, 74, 10)  # for values in highlight: light to dark orange
_HEAD, _HALF, _RADIUS = 8.0, 3.4, 3.2
_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})|[a-zA-Z]{3,30}")
_CORE = 0.45  # of a double line's width is light
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
    style: Style
    label: tuple[str, Point] | None


def svg(
    graph: CausalGraph, *, weights: Weights | None = None, highlight: Highlight | None = None
) -> str:
    """The graph as an SVG text, at most 720 px wide, causes above their effects.

    Needs no other library; every name is escaped. A graph of more than 250 nodes or 900 edges is
    not drawn but described; draw a :meth:`CausalGraph.subgraph` of it.

    Args:
        graph: The graph.
        weights: (u, v) -> confidence: drawn as the width and the label of the edge. Left out, it
            is the confidence that learned edges carry (``graph.origins``).
        highlight: Node -> colour (a name or ``#rrggbb``) or a number (darker is more).

    Example:
        >>> svg(CausalGraph(["a<b", "c"], [("a<b", "c")])).count("a&lt;b")
        2
    """
    if len(graph.nodes) > _MAX_NODES or len(graph.edges) > _MAX_EDGES:
        return _too_large(graph)
    placed, rows = layout(graph), legend(graph, _is_numbered(graph, weights))
    fills = _fills(graph, highlight)
    full, tall = _with_legend(placed, rows)
    width = min(_MAX_WIDTH, round(full))
    height = round(tall * width / full)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {full:.1f} {tall:.1f}" role="img" '
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
    out += labels
    for i, (pen, words) in enumerate(rows):
        out += _svg_row(pen, words, placed.height + MARGIN / 2 + STEP * i)
    return "\n".join([*out, "</svg>"])


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
        weights: As for :func:`svg`.
        highlight: Node -> colour (a name or ``#rrggbb``) or a number (darker is more).
    """
    from matplotlib import pyplot as plt
    from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
    from matplotlib.path import Path

    placed, rows = layout(graph), legend(graph, _is_numbered(graph, weights))
    fills = _fills(graph, highlight)
    full, tall = _with_legend(placed, rows)
    if ax is None:
        shrink = min(1.0, 14 * 72 / full, 14 * 72 / tall)
        size = (full * shrink / 72, tall * shrink / 72)
        ax = plt.figure(figsize=size).add_axes((0, 0, 1, 1))
    ax.set_xlim(0, full)
    ax.set_ylim(tall, 0)
    ax.set_aspect("equal")
    ax.axis("off")
    box = ax.get_window_extent()
    scale = min(box.width / full, box.height / tall) * 72 / ax.figure.dpi
    for shapes in _edges(placed, weights, graph):
        path = Path(shapes.line, [Path.MOVETO] + [Path.CURVE4] * (len(shapes.line) - 1))
        for look in _strokes(shapes.style, scale):
            ax.add_patch(PathPatch(path, fill=False, zorder=2, **look))
        color = shapes.style.color
        for head in shapes.heads:
            ax.add_patch(Polygon(head, color=color, linewidth=0, zorder=3))
        for centre in shapes.circles:
            look = {"facecolor": PAPER, "edgecolor": color, "linewidth": 1.2 * scale}
            ax.add_patch(Circle(centre, _RADIUS, zorder=3, **look))
        if shapes.label:
            text, (x, y) = shapes.label
            back = {"boxstyle": "round,pad=0.15", "facecolor": PAPER, "linewidth": 0, "alpha": 0.9}
            look = {"fontsize": SIZE * scale, "color": INK, "bbox": back}
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
    for i, (pen, words) in enumerate(rows):
        x, y = MARGIN, placed.height + MARGIN / 2 + STEP * i
        for look in _strokes(pen, scale) if pen else ():
            line = Path([(x, y), (x + SAMPLE, y)])
            ax.add_patch(PathPatch(line, fill=False, zorder=2, **look))
        x += (SAMPLE + 8) * (pen is not None)
        ax.text(x, y, words, fontsize=SIZE * scale, color=INK, va="center")
    return ax


def _strokes(pen: Style, scale: float) -> list[dict[str, Any]]:
    """One stroke, and for a double line a light one on top."""
    dashes = "-" if pen.dashes is None else (0, tuple(d / pen.width for d in pen.dashes))
    outer = {"edgecolor": pen.color, "linewidth": pen.width * scale, "linestyle": dashes}
    core = {**outer, "edgecolor": PAPER, "linewidth": pen.width * scale * _CORE}
    return [outer, core] if pen.double else [outer]


def _with_legend(placed: Layout, rows: list) -> tuple[float, float]:
    """Width and height of the picture."""
    wide, high = legend_size(rows)
    return max(placed.width, wide), placed.height + high


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


def _is_numbered(graph: CausalGraph, weights: Weights | None) -> bool:
    """Whether the numbers on lines are the confidence that the edges themselves carry."""
    return weights is None and any(o.confidence is not None for o in graph.origins.values())


def _edges(placed: Layout, weights: Weights | None, graph: CausalGraph) -> list[_Shapes]:
    confidence, mixed = _confidence(graph, weights), is_mixed(graph)
    largest = max([1.0, *(abs(w) for w in confidence.values())])
    taken = [_rectangle(b.x, b.y, b.width, b.height) for b in placed.boxes.values()]
    found = []
    for curve in placed.curves:
        weight = confidence.get((curve.u, curve.v))
        width = None if weight is None else 0.7 + 2.6 * abs(weight) / largest
        label = None if weight is None else (number(weight, 2), _room(curve, weight, taken))
        origin = graph.origin(curve.u, curve.v, *curve.marks)
        pen = style(origin, width, curve.marks == ("arrow", "arrow"), mixed)
        found.append(_shapes(curve, pen, label))
    return found


def _confidence(graph: CausalGraph, weights: Weights | None) -> dict[tuple[str, str], float]:
    found = {}
    if weights is None:
        said = {e[:2]: o.confidence for e, o in graph.origins.items()}
        weights = {pair: share for pair, share in said.items() if share is not None}
    for (u, v), weight in weights.items():
        if not graph.marks(u, v):
            raise GraphError(f"has no edge to {v!r}, but a weight for it", column=u)
        if not math.isfinite(weight):
            raise ParameterError("must be finite", column="weights", value=weight)
        found[u, v] = found[v, u] = float(weight)
    return found


def _shapes(curve: Curve, pen: Style, label: tuple[str, Point] | None) -> _Shapes:
    width = min(pen.width, 2.4) if pen.double else pen.width
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
    return _Shapes(tuple(points), tuple(heads), tuple(circles), pen, label)


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
    size = text_width(number(weight, 2), SIZE) + 4, FONT
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
    color = shapes.style.color
    path = f'<path d="M{x:.1f},{y:.1f} C{curves}" fill="none"'
    out = [f"{path} {look}/>" for look in _svg_strokes(shapes.style)]
    for head in shapes.heads:
        corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in head)
        out.append(f'<polygon points="{corners}" fill="{color}"/>')
    for cx, cy in shapes.circles:
        out.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{_RADIUS}" fill="{PAPER}" '
            f'stroke="{color}" stroke-width="1.2"/>'
        )
    return out


def _svg_strokes(pen: Style) -> list[str]:
    """As :func:`_strokes`."""
    dash = "" if pen.dashes is None else f' stroke-dasharray="{pen.dashes[0]:g} {pen.dashes[1]:g}"'
    outer = f'stroke="{pen.color}" stroke-width="{pen.width:.2f}"{dash}'
    core = f'stroke="{PAPER}" stroke-width="{pen.width * _CORE:.2f}"{dash}'
    return [outer, core] if pen.double else [outer]


def _svg_row(pen: Style | None, words: str, y: float) -> list[str]:
    """A row of the legend."""
    line = f'<line x1="{MARGIN:g}" y1="{y:.1f}" x2="{MARGIN + SAMPLE:g}" y2="{y:.1f}"'
    x = MARGIN + (SAMPLE + 8) * (pen is not None)
    return [
        *(f"{line} {look}/>" for look in (_svg_strokes(pen) if pen else ())),
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}" font-size="{SIZE}" fill="{INK}" '
        f'text-anchor="start">{_safe(words)}</text>',
    ]


def _svg_label(text: str, at: Point) -> str:
    return (
        f'<text x="{at[0]:.1f}" y="{at[1] + 3:.1f}" font-size="{SIZE}" fill="{INK}" '
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
