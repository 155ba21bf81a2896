"""Least cost at which a linear model still accepts after the worst shift: exact, for whole tables.

The worst-case score of a linear model is concave: score(m) - margin(m), with the margin of
:class:`Box`, :class:`Ball` or :class:`Fixed` over the model's own inputs m. Where every input
belongs to one feature it is a sum over features of concave, piecewise linear curves, and a weighted
L1 cost is one too. The cheapest way up then takes the pieces in the order of gain per cost. That
order is the same for all people, so that a table is a handful of cumulative sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from ..core.errors import QuestionError
from . import readers
from .problem import RecourseProblem
from .structure import Inputs, Link, OutcomeNode, inverse_link

_MOST_COMBINATIONS = 512
_ROWS = 32_768
_HAIR = 1e-10  # asked for beyond the goal, so that rounding never decides


@dataclass(frozen=True)
class Box:
    """Every weight and the intercept may move by up to ``alpha``: alpha (|m|_1 + 1)."""

    alpha: float

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return self.alpha * (np.abs(inputs).sum(axis=-1) + 1.0)


@dataclass(frozen=True)
class Ball:
    """Weights and intercept move within an Lp ball: alpha |(m, 1)|_q with 1/p + 1/q = 1."""

    alpha: float
    q: float = 2.0

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return self.alpha * ((np.abs(inputs) ** self.q).sum(axis=-1) + 1.0) ** (1.0 / self.q)

    def slope(self, inputs: np.ndarray) -> np.ndarray:
        """Gradient in the inputs, which is a supporting plane: the margin is convex."""
        size = ((np.abs(inputs) ** self.q).sum(axis=-1, keepdims=True) + 1.0) ** (1.0 / self.q)
        return self.alpha * np.sign(inputs) * (np.abs(inputs) / size) ** (self.q - 1.0)


@dataclass(frozen=True)
class Fixed:
    """The same for everybody: noise, sigma |w|_2 z_{1-r}; a ball round people, eps |w|_dual."""

    amount: float

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        return np.full(inputs.shape[:-1], self.amount)


Margin = Box | Ball | Fixed


@dataclass(frozen=True, eq=False)
class Robust:
    """A linear model in its own inputs, the wish, and how far the model may move.

    Attributes:
        weights: ``(M,)``, turned so that more is better.
        start: What is missing to the target at inputs of zero, turned the same way.
        inputs: From design rows to the model's inputs.
        margin: What a shift or noise may take away.
    """

    weights: np.ndarray
    start: float
    inputs: Inputs
    margin: Margin

    @classmethod
    def of(cls, problem: RecourseProblem, margin: Margin) -> Robust:
        """The form of a problem's model; a QuestionError where it is not linear."""
        if isinstance(problem.model, OutcomeNode):
            raise QuestionError(
                "asks about the world, so there is no model whose weights could move",
                column=problem.model.name,
                advice="Ask about a model's decision, or use ExactRecourse.",
            )
        problem.view.linear()  # known to be linear, and checked against the model
        weights, intercept, link = _own_units(problem)
        sign = problem.target.sign
        start = sign * (intercept - inverse_link(link, problem.target.threshold))
        return cls(sign * weights, start, problem.view.inside.inputs, margin)

    def nominal(self, design: np.ndarray) -> np.ndarray:
        """Score beyond the target today, ``(n,)``, in units of the decision."""
        return self.inputs(design) @ self.weights + self.start

    def worst(self, design: np.ndarray) -> np.ndarray:
        """Score beyond the target after the worst shift, ``(n,)``."""
        inputs = self.inputs(design)
        return inputs @ self.weights + self.start - self.margin(inputs)


def _own_units(problem: RecourseProblem) -> tuple[np.ndarray, float, Link]:
    view = problem.view
    found = readers.linear(view.inside.last, view.index)
    if found is None:
        layers, biases, link = readers.relu(view.inside.last, view.index, view.output)
        found = layers[0][0], float(biases[0][0]), link
    return found


@dataclass(frozen=True)
class Wish:
    """What is asked for: ``hard`` (worst-case score at least ``floor``), else penalised.

    Penalised: minimise softplus(-worst-case score) + ``weight`` * cost.
    """

    hard: bool
    floor: float = 0.0
    weight: float = 0.1


@dataclass(frozen=True, eq=False)
class Reached:
    """Answers for ``n`` people.

    Attributes:
        values: Codes ``(n, F)``.
        cost, worst: Of these, ``(n,)``; where nothing is enough the cost is infinite.
        most: The highest worst-case score that permitted actions reach.
        objective: What was minimised.
    """

    values: np.ndarray
    cost: np.ndarray
    worst: np.ndarray
    most: np.ndarray
    objective: np.ndarray


class Segments:
    """The exact solution by sorted pieces, for all people at once.

    Raises:
        NotSeparable: The cost or the rules tie features together, see :meth:`why_not`.
    """

    def __init__(self, problem: RecourseProblem, robust: Robust):
        why = self.why_not(problem, robust)
        if why:
            raise NotSeparable(why)
        self.problem, self.robust = problem, robust
        space = problem.space
        movable = np.flatnonzero(problem.movable)
        self.levels = [j for j in movable if space.discrete[j]]
        pieces = [p for j in movable if not space.discrete[j] for p in self._pieces(j)]
        unit = problem.cost.weights / problem.cost.scale
        # Gain per cost, the best first; stable, so that ties are broken by the features' names.
        pieces.sort(key=lambda p: -abs(p[3]) / unit[p[0]])
        columns = list(zip(*pieces, strict=True)) if pieces else [(), (), (), ()]
        self.feature = np.array(columns[0], dtype=int)
        self.left, self.right, slopes = (np.array(c, dtype=float) for c in columns[1:])
        self.up, self.slope = slopes > 0, np.abs(slopes)
        self.price = unit[self.feature]
        self.worth = [self._worth(j) for j in self.levels]

    @staticmethod
    def why_not(problem: RecourseProblem, robust: Robust) -> str:
        """Why pieces can't be taken one by one; empty where they can."""
        space, movable = problem.space, problem.movable
        if problem.world is not None:
            return "changes travel through a causal model"
        if len(problem.couplings):
            return "couplings tie features together"
        if problem.max_changes is not None:
            return "the number of changes is limited"
        if (movable & space.integer).any():
            return "counts are whole numbers"
        if isinstance(robust.margin, Ball):
            return "an Lp ball is no sum over features"
        if isinstance(robust.margin, Box):
            touched = np.zeros((len(robust.weights), len(space)))
            np.add.at(touched.T, space.owner, (robust.inputs.matrix != 0).T)
            if ((touched > 0).sum(axis=1) > 1).any():
                return "inputs of the model mix features"
        sizes = [space.slots[j].stop - space.slots[j].start for j in np.flatnonzero(movable)]
        if np.prod([float(s) for s in sizes]) > _MOST_COMBINATIONS:
            return "there are too many combinations of levels"
        return ""

    def _pieces(self, j: int) -> list[tuple[int, float, float, float]]:
        """``(feature, left, right, slope)`` between the kinks of one feature's curve.

        Each piece is useful in one direction only, that of its slope.
        """
        robust, column = self.robust, self.problem.space.slots[j].start
        rows = np.flatnonzero(robust.inputs.matrix[:, column])
        rise, offset = robust.inputs.matrix[rows, column], robust.inputs.offset[rows]
        steep = float(robust.weights[rows] @ rise)
        if not isinstance(robust.margin, Box):
            return [(j, -np.inf, np.inf, steep)] if steep else []
        zeros = -offset / rise  # where an input changes sign
        edges = np.concatenate([[-np.inf], np.unique(zeros), [np.inf]])
        found = []
        for left, right in zip(edges[:-1], edges[1:], strict=True):
            signs = np.where(zeros <= left, 1.0, -1.0) * np.abs(rise)
            slope = steep - robust.margin.alpha * float(signs.sum())
            if slope:
                found.append((j, left, right, slope))
        return found

    def _worth(self, j: int) -> np.ndarray:
        """Worst-case score that each level of one feature is worth."""
        robust, slot = self.robust, self.problem.space.slots[j]
        rows = np.flatnonzero((robust.inputs.matrix[:, slot] != 0).any(axis=1))
        part = robust.inputs.matrix[rows, slot]
        worth = robust.weights[rows] @ part
        if isinstance(robust.margin, Box):
            inputs = part + robust.inputs.offset[rows, None]
            worth = worth - robust.margin.alpha * np.abs(inputs).sum(axis=0)
        return worth

    def solve(self, x: np.ndarray, wish: Wish) -> Reached:
        """The cheapest (hard) or best (penalised) codes of people ``(n, F)``."""
        parts = [self._solve(x[at : at + _ROWS], wish) for at in range(0, len(x), _ROWS)]
        if not parts:
            return Reached(x.copy(), *(np.empty(0) for _ in range(4)))
        return Reached(*(np.concatenate([getattr(p, n) for p in parts]) for n in _FIELDS))

    def _solve(self, x: np.ndarray, wish: Wish) -> Reached:
        problem, n = self.problem, len(x)
        today = self.robust.worst(problem.space.design(x))
        low, high = problem.reach(x)
        at = x[:, self.feature]
        floor, ceiling = low[:, self.feature], high[:, self.feature]
        lower = np.maximum(self.left, np.where(self.up, at, floor))
        upper = np.minimum(self.right, np.where(self.up, ceiling, at))
        gain = np.maximum(upper - lower, 0.0) * self.slope
        before = np.cumsum(np.hstack([np.zeros((n, 1)), gain[:, :-1]]), axis=1)[:, : gain.shape[1]]
        most = np.full(n, -np.inf)
        best = np.full(n, np.inf)
        cost, worst = np.full(n, np.inf), today.copy()
        taken, levels = np.zeros_like(gain), x[:, self.levels].copy()
        stops = self._stops(wish)
        for picks in self._combinations():
            legal, extra, price = self._picked(x, low, high, picks)
            base = today + extra
            most = np.where(legal, np.maximum(most, base + gain.sum(axis=1)), most)
            took = np.clip(stops - base[:, None] - before, 0.0, gain)
            if problem.budget is not None and not wish.hard:
                took = self._afford(took, problem.budget - price)
            spent = price + (took / self.slope * self.price).sum(axis=1)
            end = base + took.sum(axis=1)
            if wish.hard:
                value = np.where(end >= wish.floor, spent, np.inf)
            else:
                value = np.logaddexp(0.0, -end) + wish.weight * spent
            better = legal & (value < best)
            best[better], cost[better], worst[better] = value[better], spent[better], end[better]
            taken[better] = took[better]
            levels[better] = [np.nan if p is None else p for p in picks]
        values = self._values(x, low, high, taken, levels)
        return Reached(values, np.where(np.isfinite(best), cost, np.inf), worst, most, best)

    def _stops(self, wish: Wish) -> np.ndarray:
        """The worst-case score up to which each piece is worth taking."""
        if wish.hard:
            return np.full(len(self.slope), wish.floor + _HAIR * self._size)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = self.slope / self.price / wish.weight
            return np.where(rate > 1.0, np.log(rate - 1.0), -np.inf)

    @property
    def _size(self) -> float:
        return 1.0 + abs(self.robust.start) + float(np.abs(self.robust.weights).sum())

    def _afford(self, took: np.ndarray, left: np.ndarray) -> np.ndarray:
        """Pieces taken while the budget lasts."""
        charge = took / self.slope * self.price
        room = left[:, None] - (np.cumsum(charge, axis=1) - charge)
        return np.minimum(took, np.maximum(room, 0.0) / self.price * self.slope)

    def _combinations(self):
        """Level of every feature that has levels; None for today's."""
        space = self.problem.space
        sizes = [space.slots[j].stop - space.slots[j].start for j in self.levels]
        return product(*([None, *range(s)] for s in sizes))

    def _picked(
        self, x: np.ndarray, low: np.ndarray, high: np.ndarray, picks: tuple
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who may take these levels, what they are worth and what they cost."""
        legal, extra, price = np.ones(len(x), dtype=bool), np.zeros(len(x)), np.zeros(len(x))
        cost = self.problem.cost
        for j, worth, pick in zip(self.levels, self.worth, picks, strict=True):
            if pick is None:
                continue
            legal &= (pick >= low[:, j]) & (pick <= high[:, j]) & (x[:, j] != pick)
            extra += worth[pick] - worth[x[:, j].astype(int)]
            move = 1.0 if cost.by_level[j] else np.abs(pick - x[:, j]) / cost.scale[j]
            price += move * cost.weights[j]
        if self.problem.budget is not None:
            legal &= price <= self.problem.budget * (1 + 1e-12)
        return legal, extra, price

    def _values(
        self,
        x: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        taken: np.ndarray,
        levels: np.ndarray,
    ) -> np.ndarray:
        values = x.copy()
        step = np.where(self.up, 1.0, -1.0) * taken / self.slope
        for k, j in enumerate(self.feature):
            values[:, j] += step[:, k]
        values = np.clip(values, low, high)
        for k, j in enumerate(self.levels):
            values[:, j] = np.where(np.isnan(levels[:, k]), x[:, j], levels[:, k])
        return values


class NotSeparable(QuestionError):
    """The cheapest way up can't be put together feature by feature."""


_FIELDS = ("values", "cost", "worst", "most", "objective")
