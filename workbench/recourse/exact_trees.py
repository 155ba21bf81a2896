"""Trees as the search reads them: leaves as boxes, and what one person can choose from.

A sum of trees depends on each number only through the cell between thresholds that it lies in, so
the cheapest point of a cell is its near edge, and the question is which cell of each feature.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .problem import RecourseProblem
from .space import Space
from .structure import Tree, Trees

# What the compiled search reads; T trees, S leaf slots in B words of 64, F features with up to K
# positions, Q pairs of a tree and a feature that it asks about.
Options = namedtuple(
    "Options",
    [
        "every",  # (B,) all leaves
        "upto",  # (F, K, B) leaves that begin at or before a position; of levels: hold it
        "since",  # (F, K, B) leaves that end at or after a position; of levels: unused
        "size",  # (F,) number of positions
        "today",  # (F,) position of today's value
        "levels",  # (F,) whether positions are levels, the cheapest first
        "cost",  # (F, K) of moving to a position
        "word_start",  # (T + 1,) words of each tree
        "value",  # (S,) of each leaf, falling within a tree
        "path_start",  # (S + 1,) conditions of each leaf, which are
        "path_feature",  # the feature,
        "path_low",  # first
        "path_high",  # and last position,
        "path_pair",  # and the pair q
        "pair_feature",  # (Q,)
        "largest",  # whether costs are compared (linf) instead of added
        "most",  # how many features may change
        "spread",  # a typical sum of differences between leaves
    ],
)


@dataclass(frozen=True, eq=False)
class Leaves:
    """All leaves of an ensemble as boxes.

    Attributes:
        tree: ``(L,)``, the tree that a leaf belongs to.
        value: ``(L,)``, its contribution to the decision.
        low, high: ``(L, F)``; numbers lie in ``(low, high]``.
        levels: ``(L, D)`` bool over design columns, the levels that end here.
    """

    tree: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, model: Trees, space: Space, sign: float = 1.0) -> Leaves:
        """The leaves of a model, its decision times ``sign``."""
        parts = [_boxes(tree, space) for tree in model.trees]
        tree = np.repeat(np.arange(len(parts)), [len(p[0]) for p in parts])
        value, low, high, levels = (np.concatenate(side) for side in zip(*parts, strict=True))
        return cls(tree, sign * value, low, high, levels)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: np.ndarray) -> Leaves:
        parts = self.tree, self.value, self.low, self.high, self.levels
        return Leaves(*(part[rows] for part in parts))


def _boxes(tree: Tree, space: Space) -> tuple[np.ndarray, ...]:
    """Value, low, high and levels of the leaves that anything can reach."""
    width, found = len(space), []
    pending = [
        (0, np.full(width, -np.inf), np.full(width, np.inf), np.ones(space.width, dtype=bool))
    ]
    while pending:
        node, low, high, levels = pending.pop()
        if tree.left[node] < 0:
            found.append((tree.value[node], low, high, levels))
            continue
        j, slot = int(tree.feature[node]), space.slots[int(tree.feature[node])]
        left, right = int(tree.left[node]), int(tree.right[node])
        if node in tree.tables:
            for child, goes in ((left, tree.tables[node]), (right, ~tree.tables[node])):
                narrowed = levels.copy()
                narrowed[slot] &= goes
                if narrowed[slot].any():
                    pending.append((child, low, high, narrowed))
            continue
        if node in tree.flipped:
            left, right = right, left
        below, above = high.copy(), low.copy()
        below[j] = min(high[j], tree.threshold[node])
        above[j] = max(low[j], tree.threshold[node])
        if low[j] < below[j]:
            pending.append((left, low, below, levels))
        if above[j] < high[j]:
            pending.append((right, above, high, levels))
    return tuple(np.array(side) for side in zip(*found, strict=True))


class Near:
    """The nearest permitted values of one person, and what they cost."""

    def __init__(self, problem: RecourseProblem, x: np.ndarray):
        self.problem, self.x = problem, x
        self.low, self.high = (side[0] for side in problem.reach(x[None]))

    def in_cells(self, j: int, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of ranges ``(a, b]`` of a number; costs are infinite where nothing is permitted.

        Above an open edge there is no nearest value: its cost is the limit.
        """
        x, cost = self.x[j], self.problem.cost
        whole = self.problem.space.integer[j]
        up, down = (np.floor(a) + 1.0, np.floor(b)) if whole else (np.nextafter(a, np.inf), b)
        inside, below = (a < x) & (x <= b), x <= a
        value = np.where(inside, x, np.where(below, up, down))
        legal = (a < value) & (value <= b) & (self.low[j] <= value) & (value <= self.high[j])
        with np.errstate(invalid="ignore"):
            step = np.where(inside, 0.0, np.where(below, (up if whole else a) - x, x - down))
        price = np.where(inside, 0.0, 1.0) if cost.norm == "l0" else step / cost.scale[j]
        return value, np.where(inside | legal, cost.weights[j] * price, np.inf)

    def levels(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Permitted levels, today's first, then the cheapest."""
        cost, slot = self.problem.cost, self.problem.space.slots[j]
        levels = np.arange(slot.stop - slot.start)
        levels = levels[(levels >= self.low[j]) & (levels <= self.high[j])]
        start = np.repeat(self.x[None], len(levels), axis=0)
        there = start.copy()
        there[:, j] = levels
        moves = cost.moves(start, there)[:, j]
        moves = np.sign(moves) * cost.weights[j] if cost.norm == "l0" else moves
        order = np.argsort(moves, kind="stable")
        return levels[order], moves[order]

    def leaf_costs(self, leaves: Leaves) -> np.ndarray:
        """Cost of the nearest point of each leaf alone, ``(L,)``; infinite out of reach."""
        space, total = self.problem.space, np.zeros(len(leaves))
        for j in range(len(space)):
            if space.discrete[j]:
                levels, costs = self.levels(j)
                held = leaves.levels[:, space.slots[j]][:, levels]
                part = np.where(held, costs, np.inf).min(axis=1)
            else:
                part = self.in_cells(j, leaves.low[:, j], leaves.high[:, j])[1]
            total = np.maximum(total, part) if self.problem.cost.norm == "linf" else total + part
        return total


@dataclass(frozen=True, eq=False)
class Choices:
    """The positions of one feature: cells ``(low, high]`` of a number, or levels.

    Attributes:
        feature: Which feature.
        values, costs: ``(K,)``, the nearest value of each position and its cost.
        first, last: ``(L,)``, the positions of a number that each leaf covers; None for levels.
        held: ``(L, K)`` bool, the levels of each leaf; None for numbers.
        low, high: ``(K,)``, the cells of a number.
    """

    feature: int
    values: np.ndarray
    costs: np.ndarray
    first: np.ndarray | None = None
    last: np.ndarray | None = None
    held: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @classmethod
    def of(cls, j: int, near: Near, leaves: Leaves, cutoff: float) -> Choices:
        """What one feature offers below a cost."""
        space = near.problem.space
        if space.discrete[j]:
            levels, costs = near.levels(j)
            held = leaves.levels[:, space.slots[j]][:, levels]
            # Of levels that every leaf treats alike, the cheapest stands for all.
            _, first = np.unique(held, axis=1, return_index=True)
            kept = np.sort(first)
            kept = kept[(costs[kept] <= cutoff) | (kept == 0)]
            return cls(j, levels[kept].astype(float), costs[kept], held=held[:, kept])
        cuts = np.unique(np.concatenate([leaves.low[:, j], leaves.high[:, j]]))
        cuts = cuts[np.isfinite(cuts)]
        low, high = np.r_[-np.inf, cuts], np.r_[cuts, np.inf]
        values, costs = near.in_cells(j, low, high)
        kept = costs <= cutoff
        low, high = low[kept], high[kept]
        first = np.searchsorted(low, leaves.low[:, j], side="left")
        last = np.searchsorted(high, leaves.high[:, j], side="right") - 1
        return cls(j, values[kept], costs[kept], first, last, None, low, high)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def narrows(self) -> np.ndarray:
        """Leaves that leave some position out, ``(L,)``."""
        if self.held is not None:
            return ~self.held.all(axis=1)
        return (self.first > 0) | (self.last < len(self) - 1)

    @property
    def today(self) -> int:
        """Position of today's value."""
        return int(np.argmin(self.costs))

    def inside(self, at: np.ndarray, hair: float) -> np.ndarray:
        """Values at positions, up to ``hair`` further into their cells than the near edge."""
        values = self.values[at]
        if self.held is not None or hair == 0:
            return values
        up = (at > self.today) * np.minimum(hair, 0.5 * (self.high[at] - values))
        down = (at < self.today) * np.minimum(hair, 0.5 * (values - self.low[at]))
        return values + up - down


def options(
    problem: RecourseProblem, leaves: Leaves, choices: list[Choices]
) -> tuple[Options, np.ndarray]:
    """What the compiled search reads, and the leaf of every slot (-1: none).

    Args:
        leaves: By tree, the best first; every tree has at least two.
    """
    sizes = np.bincount(leaves.tree)
    number = np.repeat(np.arange((sizes > 0).sum()), sizes[sizes > 0])
    sizes = sizes[sizes > 0]
    word_start = np.r_[0, np.cumsum((sizes + 63) // 64)]
    rank = np.arange(len(leaves)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    slot = 64 * word_start[number] + rank
    words, width = int(word_start[-1]), max(len(c) for c in choices)

    def gather(member: np.ndarray) -> np.ndarray:
        """Words ``(k, B)`` of the leaves that are members, ``(L, k)``."""
        bits = np.zeros((member.shape[1], 64 * words), dtype=bool)
        bits[:, slot] = member.T
        packed = np.packbits(bits, axis=1, bitorder="little")
        return packed.view(np.dtype("<u8")).astype(np.uint64)

    shape = (len(choices), width, words)
    upto, since = np.zeros(shape, dtype=np.uint64), np.zeros(shape, dtype=np.uint64)
    cost = np.full(shape[:2], np.inf)
    for i, choice in enumerate(choices):
        at = np.arange(len(choice))
        cost[i, : len(choice)] = choice.costs
        if choice.held is not None:
            upto[i, : len(choice)] = gather(choice.held)
        else:
            upto[i, : len(choice)] = gather(choice.first[:, None] <= at)
            since[i, : len(choice)] = gather(choice.last[:, None] >= at)
    narrows = np.stack([c.narrows for c in choices], axis=1)
    asks = np.zeros((len(sizes), len(choices)), dtype=bool)
    np.logical_or.at(asks, number, narrows)
    pair_tree, pair_feature = _places(asks)
    pair = np.zeros(asks.shape, dtype=np.int64)
    pair[pair_tree, pair_feature] = np.arange(len(pair_tree))
    leaf, feature = _places(narrows)
    edges = [
        np.stack([np.zeros(len(leaves), dtype=np.int64) if e is None else e for e in side], axis=1)
        for side in zip(*((c.first, c.last) for c in choices), strict=True)
    ]
    ways = np.zeros(64 * words + 1, dtype=np.int64)
    np.add.at(ways, slot[leaf] + 1, 1)
    value = np.zeros(64 * words)
    value[slot] = leaves.value
    return Options(
        every=gather(np.ones((len(leaves), 1), dtype=bool))[0],
        upto=upto,
        since=since,
        size=np.array([len(c) for c in choices]),
        today=np.array([c.today for c in choices]),
        levels=np.array([c.held is not None for c in choices]),
        cost=cost,
        word_start=word_start,
        value=value,
        path_start=np.cumsum(ways),
        path_feature=feature,
        path_low=edges[0][leaf, feature],
        path_high=edges[1][leaf, feature],
        path_pair=pair[number[leaf], feature],
        pair_feature=pair_feature,
        largest=problem.cost.norm == "linf",
        most=len(choices) if problem.max_changes is None else int(problem.max_changes),
        spread=float(np.ptp(leaves.value) * np.sqrt(len(sizes))) or 1.0,
    )


def _places(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As ``np.nonzero``, but contiguous whatever is found: other layouts are compiled anew."""
    row, column = (np.ascontiguousarray(side) for side in np.nonzero(mask))
    return row, column
