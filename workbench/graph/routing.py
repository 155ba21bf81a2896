"""The shapes of a drawing, and the curves that edges take between the boxes of their nodes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .causal_graph import CausalGraph
from .parts import Mark

if TYPE_CHECKING:
    from .layout import Slots

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A node: its centre, size and lines of text."""

    x: float
    y: float
    width: float
    height: float
    lines: tuple[str, ...]
    font: float


@dataclass(frozen=True)
class Curve:
    """An edge: a chain of cubic Bezier points (3k + 1 of them) with the marks at its ends."""

    u: str
    v: str
    marks: tuple[Mark, Mark]
    points: tuple[Point, ...]

    def middle(self) -> Point:
        k = (len(self.points) - 1) // 3 // 2 * 3
        return bezier(self.points[k : k + 4], 0.5)


@dataclass(frozen=True)
class Layout:
    """A drawing in points; y grows downwards."""

    width: float
    height: float
    boxes: dict[str, Box]
    curves: tuple[Curve, ...]


def bezier(points: tuple[Point, ...], t: float) -> Point:
    """The point at t of a cubic Bezier curve."""
    s = 1 - t
    weights = (s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t)
    return (
        sum(w * p[0] for w, p in zip(weights, points, strict=True)),
        sum(w * p[1] for w, p in zip(weights, points, strict=True)),
    )


class Router:
    """Finds the curves. An edge crosses a layer only in the lane of its dummy, and straight."""

    def __init__(
        self,
        graph: CausalGraph,
        slots: Slots,
        xs: dict,
        ys: list[float],
        heights: list[float],
        boxes: dict[str, Box],
    ):
        self.graph, self.slots, self.boxes = graph, slots, boxes
        self.xs, self.ys, self.heights = xs, ys, heights
        self.level = {slot: i for i, layer in enumerate(slots.layers) for slot in layer}
        self.position = {slot: j for layer in slots.layers for j, slot in enumerate(layer)}

    def curves(self) -> list[Curve]:
        """One curve per edge."""
        ports = self._ports()
        found = []
        for edge in self.graph.edges:
            u, v, *marks = edge
            if self.level[u] == self.level[v]:
                points = self._arc(u, v, marks == ["arrow", "arrow"])
            else:
                aside = 0.0
                if len(self.graph.marks(u, v)) > 1:  # two edges share one lane
                    aside = 4.0 if marks == ["arrow", "arrow"] else -4.0
                points = self._fall(self._chain(u, v), ports[edge, u], ports[edge, v], aside)
                points = self._bent(edge, points)
            found.append(Curve(u, v, (marks[0], marks[1]), tuple(points)))
        return found

    def _chain(self, u: str, v: str) -> list:
        chain = self.slots.chains.get((u, v))
        return chain if chain is not None else self.slots.chains[v, u][::-1]

    def _ports(self) -> dict[tuple, Point]:
        """(edge, node) -> where the edge touches the node: spread out, in order of the far ends."""
        sides = defaultdict(list)
        for edge in self.graph.edges:
            for near, far in (edge[:2], edge[1::-1]):
                if self.level[near] != self.level[far]:
                    toward = self._chain(near, far)[1]
                    sides[near, self.level[far] > self.level[near]].append(
                        (self.xs[toward], edge[2] == "arrow", edge)
                    )
        ports = {}
        for (node, below), ends in sides.items():
            box = self.boxes[node]
            y = box.y + (box.height / 2 if below else -box.height / 2)
            ends.sort()
            reach = box.width / 2 - 7.0
            step = min(13.0, 2 * reach / max(len(ends) - 1, 1))
            # Lean toward where the edges go, as far as the box allows.
            lean = sum(x for x, *_ in ends) / len(ends) - box.x
            spare = reach - step * (len(ends) - 1) / 2
            lean = min(max(lean * 0.25, -spare), spare)
            for k, (_, _, edge) in enumerate(ends):
                ports[edge, node] = box.x + lean + (k - (len(ends) - 1) / 2) * step, y
        return ports

    def _fall(self, chain: list, start: Point, end: Point, aside: float) -> list[Point]:
        """From port to port through the lanes of the dummies, as straight as the lanes allow."""
        knots: list[tuple[Point, float]] = []  # the point and dx/dy there
        downwards = start[1] < end[1]
        stops = [start, *((self.xs[s] + aside, self.ys[self.level[s]]) for s in chain[1:-1]), end]
        for k, slot in enumerate(chain[1:-1], 1):
            (x0, y0), (x, y), (x1, y1) = stops[k - 1 : k + 2]
            half = self.heights[self.level[slot]] / 2 + 2.0
            limit = max(self._clearance(slot) - abs(aside), 0.0) / half
            slope = min(max((x1 - x0) / (y1 - y0), -limit), limit)
            band = [((x - slope * half, y - half), slope), ((x + slope * half, y + half), slope)]
            knots += band if downwards else band[::-1]
        first = knots[0][0] if knots else end
        last = knots[-1][0] if knots else start
        ends = [(start, _slope(start, first)), (end, _slope(last, end))]
        path = [start]
        route = [ends[0], *knots, ends[1]]
        for (p, slope_p), (q, slope_q) in zip(route, route[1:], strict=False):
            third = (q[1] - p[1]) / 3
            path += [(p[0] + slope_p * third, p[1] + third), (q[0] - slope_q * third, q[1] - third)]
            path.append(q)
        return path

    def _clearance(self, slot: tuple) -> float:
        """How far an edge may stray sideways while it crosses a layer."""
        layer, at = self.slots.layers[self.level[slot]], self.position[slot]
        free = 60.0
        for step in (-1, 1):
            j = at + step
            while 0 <= j < len(layer) and not isinstance(layer[j], str):
                j += step
            if 0 <= j < len(layer):
                box = self.boxes[layer[j]]
                free = min(free, abs(box.x - self.xs[slot]) - box.width / 2 - 5.0)
        return max(free, 0.0)

    def _bent(self, edge: tuple, points: list[Point]) -> list[Point]:
        """A short ↔ bows a little, and so does the arrow beside it."""
        if len(points) != 4:
            return points
        both_heads = edge[2] == edge[3] == "arrow"
        doubled = len(self.graph.marks(edge[0], edge[1])) > 1
        if not both_heads and not doubled:
            return points
        bow = 14.0 if both_heads else -6.0
        start, c1, c2, end = points
        return [start, (c1[0] + bow, c1[1]), (c2[0] + bow, c2[1]), end]

    def _arc(self, u: str, v: str, curved: bool) -> list[Point]:
        """An edge within a layer: straight to the next node, over the heads of others."""
        a, b = self.boxes[u], self.boxes[v]
        sign = 1 if a.x < b.x else -1
        apart = abs(self.position[u] - self.position[v])
        if apart <= 1:
            start, end = a.x + sign * a.width / 2, b.x - sign * b.width / 2
            lift = 7.0 if curved or len(self.graph.marks(u, v)) > 1 else 0.0
            lift = lift if curved else -lift
            third = (end - start) / 3
            return [
                (start, a.y),
                (start + third, a.y - lift),
                (end - third, b.y - lift),
                (end, b.y),
            ]
        level = self.level[u]
        top = self.ys[level] - self.heights[level] / 2
        rise = top - (8.0 + 4.0 * min(apart, 5)) * 4 / 3
        start = (a.x + sign * a.width / 4, a.y - a.height / 2)
        end = (b.x - sign * b.width / 4, b.y - b.height / 2)
        return [start, (start[0], rise), (end[0], rise), end]


def _slope(p: Point, q: Point) -> float:
    return (q[0] - p[0]) / (q[1] - p[1])
