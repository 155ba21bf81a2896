"""Provably cheapest recourse for trees by branch and bound."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .exact_trees import Choices, Leaves, Near, options
from .method import FOUND, INFEASIBLE, NOT_FOUND
from .problem import RecourseProblem
from .structure import Trees, inverse_link

_SLACK = 1e-9  # scores closer than this to the goal are asked of the model itself
_CLOSE = 1e-9  # costs that differ by less, relatively, are the same
_HAIRS = (0.0, 1e-9, 1e-7, 1e-6)  # how far into a cell, in units of the scale
_INSIDE = 1e-7
_ROUNDS = 300  # of dividing the costs among the trees
_GROWTH = 1.35  # of the limit, after nothing was found below it
_QUESTIONS = 1024
_NODES = 20_000  # between two looks at the clock
_MOST_BYTES = 2**31
_NEIGHBOURS = 64


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known about one person when the solver ends.

    Attributes:
        values: Codes ``(F,)`` of the cheapest action found; None if there is none.
        bound: Proven lower bound of the cost.
        word, reason: The status.
    """

    values: np.ndarray | None
    bound: float
    word: str
    reason: str = ""


class TreeSearch:
    """Branch and bound over the cells of trees, one person at a time.

    The question is asked with growing limits on the cost, from the dual bound at the start up to
    the cost of a good action found by simple moves. A limit below which nothing exists is a
    bound; the first limit below which something exists gives the cheapest action.

    Args:
        problem: Without causal model and couplings.
        trees: The model's form.
    """

    def __init__(self, problem: RecourseProblem, trees: Trees):
        self.problem, self.trees = problem, trees
        self.sign = problem.target.sign
        goal = inverse_link(trees.link, problem.target.threshold)
        self.leaves = Leaves.of(trees, problem.space, self.sign)
        self.goal = self.sign * (goal - trees.offset)
        size = np.abs(self.leaves.value).max(initial=0.0)
        self.slack = _SLACK * (1.0 + abs(goal) + abs(trees.offset) + size)

    def solve(self, x: np.ndarray, time_limit: float) -> Answer:
        """The cheapest action of a person who is not accepted today."""
        return _Person(self, x, time_limit).solve()

    def cost(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Cost of rows of values ``(n, F)``."""
        start = np.broadcast_to(x, values.shape)
        return self.problem.cost(start, values != start, values)

    def accepted(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Whether the rules and the model itself accept rows of values ``(n, F)``."""
        start = np.broadcast_to(x, values.shape)
        good = self.problem.permitted(start, values != start, values, values)
        good[good] = self.problem.accepts(self.problem.score(values[good]))
        return good

    def neighbour(self, x: np.ndarray) -> np.ndarray | None:
        """The nearest of the accepted rows of the data, as far as this person may become it."""
        problem = self.problem
        if problem.data is None or not len(problem.data):
            return None
        rows = problem.data[problem.accepts(problem.scores)]
        low, high = problem.reach(x[None])
        rows = np.where(problem.movable, np.clip(rows, low, high), x)
        rows = rows[np.argsort(self.cost(x, rows), kind="stable")[:_NEIGHBOURS]]
        good = self.accepted(x, rows)
        return rows[good.argmax()] if good.any() else None


class _Person:
    """The search of one person, below ``ceiling``: the budget, or the best action so far."""

    def __init__(self, search: TreeSearch, x: np.ndarray, time_limit: float):
        self.search, self.x, self.problem = search, x, search.problem
        self.end = time.perf_counter() + time_limit
        self.late = f"the search stopped after {time_limit:g} s"
        budget = self.problem.budget
        self.ceiling = np.inf if budget is None else budget * (1 + 2 * _CLOSE)
        self.best: np.ndarray | None = None
        self._improve(search.neighbour(x))

    def _improve(self, values: np.ndarray | None) -> None:
        if values is not None:
            cost = float(self.search.cost(self.x, values[None])[0])
            if cost < self.ceiling:
                self.best, self.ceiling = values, cost

    def _answer(self, bound: float, word: str, reason: str) -> Answer:
        if self.best is not None:
            return Answer(self.best, bound, FOUND)
        return Answer(None, bound, word, reason)

    def solve(self) -> Answer:
        self._read()
        if not self.choices:
            return self._answer(self.ceiling, *self._nothing())
        widest = max(map(len, self.choices))
        words = (np.bincount(self.leaves.tree) + 63) // 64
        if 16 * len(self.choices) * widest * int(words.sum()) > _MOST_BYTES:
            reason = f"{len(self.leaves):,} leaves are in reach, too many for the search"
            return self._answer(0.0, NOT_FOUND, reason)
        self.options = options(self.problem, self.leaves, self.choices)
        bound = self._share()
        if not self._descend():
            return self._disagree(bound)
        costs = self.options.cost[np.isfinite(self.options.cost)]
        limit = max(1.15 * bound, costs[costs > 0].min(initial=np.inf))
        rows = np.where(np.isfinite(self.options.cost), self.options.cost, 0.0).max(axis=1)
        dearest = 1.0 + (rows.max() if self.options.largest else rows.sum())
        while True:
            limit = min(limit, self.ceiling, dearest)
            point, cost, open_bound = self._below(limit)
            if point is not None:
                values = self._verified(point)
                if values is None:
                    return self._disagree(min(bound, cost))
                self.best = values
                bound = max(bound, min(cost, open_bound))
                return self._answer(bound * (1 - _CLOSE), FOUND, "")
            bound = max(bound, min(limit, open_bound))
            if open_bound < limit:
                return self._answer(bound * (1 - _CLOSE), NOT_FOUND, self.late)
            if limit >= min(self.ceiling, dearest):
                return self._answer(bound * (1 - _CLOSE), *self._nothing())
            limit *= _GROWTH

    def _read(self) -> None:
        """The leaves in reach below the ceiling, and what each feature offers there."""
        near, leaves = Near(self.problem, self.x), self.search.leaves
        cutoff = self.ceiling * (1 + 1e-6)
        leaves = leaves[near.leaf_costs(leaves) <= min(cutoff, 1e300)]
        settled = np.bincount(leaves.tree)[leaves.tree] == 1
        self.goal = self.search.goal - leaves.value[settled].sum()
        leaves = leaves[~settled]
        self.leaves = leaves[np.lexsort((-leaves.value, leaves.tree))]
        movable = np.flatnonzero(self.problem.movable)
        every = (Choices.of(j, near, self.leaves, cutoff) for j in movable)
        self.choices = [c for c in every if len(c) > 1 and c.narrows.any()]

    def _nothing(self) -> tuple[str, str]:
        if self.problem.budget is not None:
            reason = f"every way costs more than it may, the budget is {self.problem.budget:g}"
            return INFEASIBLE, reason
        return INFEASIBLE, "no permitted action reaches the target"

    def _disagree(self, bound: float) -> Answer:
        return self._answer(bound, NOT_FOUND, "the model disagrees with its own form as trees")

    def _share(self) -> float:
        """Divide the costs among the trees; returns the bound that follows."""
        from .tree_kernels import share_costs

        there = self.options
        steps = np.ones((len(there.pair_feature), there.cost.shape[1]))
        steps /= np.bincount(there.pair_feature)[there.pair_feature][:, None]
        self.shares, self.price = np.zeros_like(steps), 0.0
        if there.largest:  # the largest of some costs is no sum that could be divided
            return 0.0
        costs = there.cost[np.isfinite(there.cost)]
        price = costs[costs > 0].min(initial=1.0) / there.spread
        goal = self.goal - self.search.slack
        self.price, bound = share_costs(there, goal, price, steps, _ROUNDS, self.shares)
        return bound

    def _descend(self) -> bool:
        """A good action by simple moves; False if the model refuses what its trees accept."""
        from .tree_descent_kernels import descend

        point = np.empty(len(self.choices), dtype=np.int64)
        goal = self.goal + self.search.slack
        if np.isfinite(descend(self.options, goal, self.ceiling, point)):
            values = self._verified(point)
            self._improve(values)
            return values is not None
        return True

    def _codes(self, points: np.ndarray, hair: float) -> np.ndarray:
        """Codes of points ``(n, choices)``, numbers up to ``hair`` scales inside their cells."""
        rows = np.repeat(self.x[None], len(points), axis=0)
        for i, choice in enumerate(self.choices):
            j, moved = choice.feature, points[:, i] != choice.today
            whole = self.problem.space.integer[j]
            size = 0.0 if whole else hair * self.problem.cost.scale[j]
            rows[moved, j] = choice.inside(points[moved, i], size)
        return np.clip(rows, *self.problem.reach(self.x[None]))

    def _verified(self, point: np.ndarray) -> np.ndarray | None:
        """The action of a point, if the model itself accepts it here or a hair further."""
        rows = np.concatenate([self._codes(point[None], hair) for hair in _HAIRS])
        good = self.search.accepted(self.x, rows)
        return rows[good.argmax()] if good.any() else None

    def _below(self, limit: float) -> tuple[np.ndarray | None, float, float]:
        """The cheapest point below a limit, its cost, and what the rest costs at least.

        The last is infinite when nothing is left, and smaller when time ran out.
        """
        from .tree_kernels import DONE, search

        there, count = self.options, len(self.choices)
        depth = int(there.size.sum()) + 2
        stack = np.zeros((depth, 2, count), dtype=np.int64)
        stack[0, 1] = there.size - 1
        known, prices = np.zeros(depth, dtype=bool), np.full(depth, self.price)
        # Cheapest cost, size of the stack, number of questions, nodes.
        state = np.array([limit, 1.0, 0.0, 0.0])
        best = np.full(count, -1, dtype=np.int64)
        asked = np.zeros((_QUESTIONS, count), dtype=np.int64)
        ask_cost = np.zeros(_QUESTIONS)
        frame = stack, known, prices, state, best, asked, ask_cost
        goal, slack = self.goal, self.search.slack
        while True:
            why = search(there, goal, slack, self.shares, self.price, *frame, _NODES)
            self._ask(state, best, asked, ask_cost)
            if why == DONE or time.perf_counter() > self.end:
                break
        rest = np.inf if why == DONE else self._open(stack[: int(state[1])])
        found = best if state[0] < limit else None
        return found, float(state[0]), rest

    def _ask(self, state: np.ndarray, best: np.ndarray, asked: np.ndarray, cost: np.ndarray):
        """Ask the model about the points whose scores are too close to the goal to tell."""
        rows = np.flatnonzero(cost[: int(state[2])] < state[0])
        state[2] = 0
        if len(rows):
            good = self.search.accepted(self.x, self._codes(asked[rows], _INSIDE))
            if good.any():
                at = rows[good][np.argmin(cost[rows[good]])]
                best[:], state[0] = asked[at], cost[at]

    def _open(self, stack: np.ndarray) -> float:
        """What the cheapest of the nodes that are left costs at least."""
        there = self.options
        nearest = np.clip(there.today, stack[:, 0], stack[:, 1])
        costs = there.cost[np.arange(len(there.size)), nearest]
        total = costs.max(axis=1) if there.largest else costs.sum(axis=1)
        return float(total.min(initial=np.inf))
