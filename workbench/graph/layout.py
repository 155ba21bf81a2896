"""Where to draw nodes and edges: layers with causes on top, few crossings, no edge over a label.

Sugiyama's scheme: a node's layer is the longest path from a root; edges over several layers run
through dummy nodes; barycentre sweeps order each layer; coordinates pull nodes to the median of
their neighbours. All lengths are points. Nothing here knows how it will be drawn.

References:
    Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures",
    IEEE Transactions on Systems, Man, and Cybernetics, 1981.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from .causal_graph import CausalGraph
from .routing import Box, Curve, Layout, Router

FONT = 11.0
_LINE = 1.25  # line height / font size
_PAD_X, _PAD_Y = 9.0, 6.0
_MARGIN = 10.0
_GAP = 22.0  # between nodes of a layer
_LANE = 12.0  # width of a dummy
_WIDEST = 120.0  # text wider than this is wrapped
_MOST_LINES = 4
_SWEEPS = 24


def layout(graph: CausalGraph) -> Layout:
    """Place a graph: each connected part by itself, the parts in rows, lone nodes last.

    Example:
        >>> placed = layout(CausalGraph(["a", "b"], [("a", "b")]))
        >>> placed.boxes["a"].y < placed.boxes["b"].y
        True
    """
    widest = _WIDEST if len(graph.nodes) <= 20 else 0.75 * _WIDEST
    texts = {node: _wrap(node, widest) for node in graph.nodes}
    parts = [_place(part, texts) for part in _parts(graph) if len(part.nodes) > 1]
    lone = [n for n in graph.nodes if not graph.adjacent(n)]
    for node in lone:
        box = Box(0.0, 0.0, *_size(*texts[node]), *texts[node])
        parts.append(_framed({node: box}, []))
    return _packed(parts)


def _parts(graph: CausalGraph) -> list[CausalGraph]:
    """The connected parts, largest first."""
    if not graph.edges:
        return []
    part_of: dict[str, int] = {}
    for start in graph.nodes:
        stack = [start]
        while stack:
            node = stack.pop()
            if node not in part_of:
                part_of[node] = len(part_of) if node == start else part_of[start]
                stack += graph.adjacent(node)
    members = defaultdict(list)
    for node in graph.nodes:
        members[part_of[node]].append(node)
    if len(members) == 1:
        return [graph]
    order = sorted(members.values(), key=len, reverse=True)
    # Marks and kind have been checked for the whole; a part of a class need not be one itself.
    return [graph._copy(kind="pag").subgraph(part) for part in order]


def _packed(parts: list[Layout]) -> Layout:
    """The parts from left to right in rows, each row centred."""
    if not parts:
        return Layout(2 * _MARGIN, 2 * _MARGIN, {}, ())
    area = sum(part.width * part.height for part in parts)
    limit = max(max(part.width for part in parts), 1.4 * math.sqrt(area))
    rows: list[list[Layout]] = [[]]
    for part in parts:
        if rows[-1] and sum(p.width for p in rows[-1]) + part.width > limit:
            rows.append([])
        rows[-1].append(part)
    total = max(sum(p.width for p in row) for row in rows)
    boxes: dict[str, Box] = {}
    curves: list[Curve] = []
    y = 0.0
    for row in rows:
        x = (total - sum(p.width for p in row)) / 2
        for part in row:
            moved = _moved(part.boxes, part.curves, x, y)
            boxes.update(moved[0])
            curves += moved[1]
            x += part.width
        y += max(p.height for p in row)
    return Layout(total, y, boxes, tuple(curves))


def _place(graph: CausalGraph, texts: dict[str, tuple[tuple[str, ...], float]]) -> Layout:
    """One connected part."""
    layers = _layers(graph)
    slots = Slots(graph, layers, {n: _size(*texts[n])[0] for n in graph.nodes})
    slots.order()
    xs = slots.coordinates()
    heights = [
        max((_size(*texts[n])[1] for n in layer if isinstance(n, str)), default=0.0)
        for layer in slots.layers
    ]
    ys, y = [], 0.0
    for i, height in enumerate(heights):
        ys.append(y + height / 2)
        # Wide layers get more room below, so that flat edges stay clear of the nodes beside them.
        y += height + 34.0 + min(40.0, 2.2 * len(slots.layers[i]))
    boxes = {}
    for i, layer in enumerate(slots.layers):
        for slot in layer:
            if isinstance(slot, str):
                boxes[slot] = Box(xs[slot], ys[i], *_size(*texts[slot]), *texts[slot])
    return _framed(boxes, Router(graph, slots, xs, ys, heights, boxes).curves())


# -- text --------------------------------------------------------------------------------------


def text_width(text: str, font: float = FONT) -> float:
    """A cautious estimate of a text's width in a sans-serif font."""
    width = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF":
            width += 1.05
        elif unicodedata.combining(char):
            continue
        elif char in "iljtfrI.,;:'|!()[] ":
            width += 0.38
        elif char in "mwMW@%—":
            width += 1.0
        elif char.isupper():
            width += 0.78
        else:
            width += 0.60
    return width * font


def printable(text: str) -> str:
    """The name without line breaks or invisible characters."""
    return "".join(
        c if c.isprintable() else "\N{SYMBOL FOR NEWLINE}" if c == "\n" else "·" for c in text
    )


def _wrap(name: str, widest: float) -> tuple[tuple[str, ...], float]:
    """Lines and font size: long names break at spaces and signs, then shrink, then break words."""
    name = printable(name)
    pieces = re.findall(r"[^ _\-./:,;>]*[ _\-./:,;>]|[^ _\-./:,;>]+", name)
    for font in (FONT, FONT - 1.5, FONT - 3):
        lines = _broken(pieces, font, widest)
        if len(lines) <= _MOST_LINES and all(text_width(x, font) <= widest for x in lines):
            return lines, font
    font = FONT - 1.5
    lines = _broken(
        [part for piece in pieces for part in _halves(piece, font, widest)], font, widest
    )
    if len(lines) > _MOST_LINES:
        lines = (*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1][:-1] + "…")
    return lines, font


def _broken(pieces: list[str], font: float, widest: float) -> tuple[str, ...]:
    """The pieces in lines, as many on each as there is room for."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and text_width(lines[-1] + piece.rstrip(), font) > widest:
            lines.append("")
        lines[-1] += piece
    return tuple(line.strip() for line in lines if line.strip()) or (" ",)


def _halves(piece: str, font: float, widest: float) -> list[str]:
    """A word that is too long, in equal parts."""
    parts = math.ceil(text_width(piece, font) / widest)
    size = math.ceil(len(piece) / parts) if parts else len(piece) or 1
    return [piece[i : i + size] for i in range(0, len(piece), size)]


def _size(lines: tuple[str, ...], font: float) -> tuple[float, float]:
    width = max(text_width(line, font) for line in lines)
    return max(width + 2 * _PAD_X, 28.0), len(lines) * font * _LINE + 2 * _PAD_Y


# -- layers ------------------------------------------------------------------------------------


def _layers(graph: CausalGraph) -> dict[str, int]:
    """Longest path from a root along →; edges without direction point onwards where they can."""
    forward = defaultdict(list)
    rank = {n: i for i, n in enumerate(graph.topological_order())}
    for u, v, mark_u, mark_v in graph.edges:
        if mark_u == mark_v == "arrow":
            continue  # a ↔ b says nothing on order: side by side if possible
        # Other marks may contradict the order of the arrows; the rank keeps this acyclic.
        if rank[u] > rank[v]:
            u, v = v, u
        forward[u].append(v)
    room = max(4, round(1.2 * math.sqrt(len(graph.nodes))))
    layer: dict[str, int] = {}
    count: dict[int, int] = defaultdict(int)

    def put(node: str, levels: Iterable[int]) -> None:
        layer[node] = next(level for level in levels if count[level] < room)
        count[layer[node]] += 1

    parents = defaultdict(list)
    for u, children in forward.items():
        for v in children:
            parents[v].append(u)
    for node in sorted(graph.nodes, key=rank.__getitem__):
        put(node, itertools.count(max((layer[p] + 1 for p in parents[node]), default=0)))
    # Roots sink to just above their nearest child, so that edges are short.
    for node in sorted(graph.nodes, key=rank.__getitem__, reverse=True):
        if forward[node] and not parents[node]:
            count[layer[node]] -= 1
            put(node, range(min(layer[child] for child in forward[node]) - 1, -1, -1))
    used = {level: i for i, level in enumerate(sorted(set(layer.values())))}
    return {node: used[level] for node, level in layer.items()}


class Slots:
    """Nodes and dummies in layers: who stands beside whom, and where."""

    def __init__(self, graph: CausalGraph, layer_of: dict[str, int], widths: dict[str, float]):
        size = max(layer_of.values(), default=-1) + 1
        self.layers: list[list] = [[] for _ in range(size)]
        self.widths: dict = dict(widths)
        self.up: dict = defaultdict(list)
        self.down: dict = defaultdict(list)
        self.beside: dict = defaultdict(list)  # joined within a layer
        self.chains: dict[tuple[str, str], list] = {}
        for node in graph.nodes:
            self.layers[layer_of[node]].append(node)
        for u, v, *_ in graph.edges:
            if (u, v) in self.chains or (v, u) in self.chains:
                continue
            top, bottom = (u, v) if layer_of[u] <= layer_of[v] else (v, u)
            if layer_of[u] == layer_of[v]:
                self.beside[u].append(v)
                self.beside[v].append(u)
            chain = [top]
            for level in range(layer_of[top] + 1, layer_of[bottom]):
                dummy = (top, bottom, level)
                self.widths[dummy] = _LANE
                self.layers[level].append(dummy)
                chain.append(dummy)
            chain.append(bottom)
            self.chains[top, bottom] = chain
            if layer_of[top] != layer_of[bottom]:
                for a, b in zip(chain, chain[1:], strict=False):
                    self.down[a].append(b)
                    self.up[b].append(a)

    def order(self) -> None:
        """Barycentre sweeps down and up; the order with the fewest crossings is kept."""
        best, fewest = [list(layer) for layer in self.layers], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            downwards = sweep % 2 == 0
            toward = self.up if downwards else self.down
            rows = self.layers if downwards else self.layers[::-1]
            place: dict = {}
            for i, row in enumerate(rows):
                if i:
                    # Ties turn over on every other round, which gets out of some dead ends.
                    row[:] = row[::-1] if sweep % 4 >= 2 else row
                    at = {slot: j for j, slot in enumerate(row)}
                    row.sort(key=lambda slot: self._centre(slot, toward, place, at))
                place.update({slot: j / max(len(row) - 1, 1) for j, slot in enumerate(row)})
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    def _centre(self, slot, toward: dict, place: dict, at: dict) -> float:
        near = [place[other] for other in toward[slot] if other in place]
        near += [at[other] / max(len(at) - 1, 1) for other in self.beside.get(slot, ())]
        return sum(near) / len(near) if near else at[slot] / max(len(at) - 1, 1)

    def _crossings(self) -> int:
        total = 0
        for upper, lower in zip(self.layers, self.layers[1:], strict=False):
            below = {slot: j for j, slot in enumerate(lower)}
            ends = [
                j for slot in upper for j in sorted(below[o] for o in self.down[slot] if o in below)
            ]
            total += _inversions(ends)
        for layer in self.layers:  # an edge within a layer should not jump over others
            at = {slot: j for j, slot in enumerate(layer)}
            total += sum(
                abs(at[s] - at[o]) - 1 for s in layer for o in self.beside.get(s, ()) if o in at
            )
        return total

    def coordinates(self) -> dict:
        """x of every slot: toward the mean of its neighbours, without overlaps."""
        xs: dict = {}
        for layer in self.layers:
            x = 0.0
            for slot in layer:
                xs[slot] = x + self.widths[slot] / 2
                x += self.widths[slot] + _GAP
            for slot in layer:
                xs[slot] -= x / 2
        for sweep in range(30):
            rows = self.layers if sweep % 2 == 0 else self.layers[::-1]
            for row in rows:
                wish = {}
                for slot in row:
                    near = self.up[slot] + self.down[slot]
                    if len(near) == 2 and not isinstance(slot, str):
                        wish[slot] = sum(xs[o] for o in near) / 2
                    elif near:
                        wish[slot] = sum(xs[o] for o in near) / len(near)
                    else:
                        wish[slot] = xs[slot]
                self._settle(row, wish, xs)
        return xs

    def _settle(self, row: list, wish: dict, xs: dict) -> None:
        """Least squares to the wishes under the order: pooled blocks of touching slots."""
        offset, total = {}, 0.0
        for i, slot in enumerate(row):
            if i:
                before = row[i - 1]
                real = isinstance(slot, str) and isinstance(before, str)
                gap = _GAP if real else _GAP / 2
                total += (self.widths[before] + self.widths[slot]) / 2 + gap
            offset[slot] = total
        blocks: list[list[float]] = []  # [weighted sum, weight, size]
        for slot in row:
            weight = 1.0 if isinstance(slot, str) else 4.0  # long edges want to be straight
            block = [weight * (wish[slot] - offset[slot]), weight, 1]
            while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
                last = blocks.pop()
                block = [a + b for a, b in zip(last, block, strict=True)]
            blocks.append(block)
        i = 0
        for weighted, weight, size in blocks:
            for slot in row[i : i + int(size)]:
                xs[slot] = weighted / weight + offset[slot]
            i += int(size)


def _inversions(values: list[int]) -> int:
    """Pairs out of order, by merging (n log n)."""
    if len(values) < 2:
        return 0
    half = len(values) // 2
    left, right = values[:half], values[half:]
    total = _inversions(left) + _inversions(right)
    left.sort()
    right.sort()
    i = 0
    for value in right:
        while i < len(left) and left[i] <= value:
            i += 1
        total += len(left) - i
    return total


# -- moving ------------------------------------------------------------------------------------


def _framed(boxes: dict[str, Box], curves: Iterable[Curve]) -> Layout:
    """Shift everything to positive coordinates with a margin."""
    xs = [p[0] for c in curves for p in c.points]
    ys = [p[1] for c in curves for p in c.points]
    for box in boxes.values():
        xs += [box.x - box.width / 2, box.x + box.width / 2]
        ys += [box.y - box.height / 2, box.y + box.height / 2]
    dx, dy = _MARGIN - min(xs), _MARGIN - min(ys)
    width, height = max(xs) + dx + _MARGIN, max(ys) + dy + _MARGIN
    return Layout(width, height, *_moved(boxes, curves, dx, dy))


def _moved(
    boxes: dict[str, Box], curves: Iterable[Curve], dx: float, dy: float
) -> tuple[dict[str, Box], tuple[Curve, ...]]:
    return (
        {n: replace(box, x=box.x + dx, y=box.y + dy) for n, box in boxes.items()},
        tuple(replace(c, points=tuple((x + dx, y + dy) for x, y in c.points)) for c in curves),
    )
