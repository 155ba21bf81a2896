"""Follow the gradient of the score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.saving import saveable
from .method import Actions, RecourseMethod
from .problem import RecourseProblem
from .search import feasible, finish, in_parts, patterns, ranks, snap
from .space import Space
from .structure import inverse_link

_ROWS = 20_000
_WORST, _BEST = 1e3, 1e-4


@saveable
class Wachter(RecourseMethod):
    """Gradient search for the nearest accepted point, for all people at once.

    minimise cost(x, a) / lambda + max(0, margin - gain(state(a))) per person by Adam, where the
    gain is the score's way to the threshold and lambda shrinks while the person is accepted and
    grows while not. The cheapest accepted and permitted iterate is kept, pruned, and bisected
    back to the boundary.

    Uses the model's gradient where there is one (linear models, torch networks, scikit-learn's
    ReLU networks); else, and through a causal model, differences of scores. Levels move by a
    straight-through one-hot, but only where there is a gradient. It proves nothing: prefer
    :class:`ExactRecourse` for linear models and small networks, and it or
    :class:`GrowingSpheres` for trees, which have no slope.

    Args:
        steps: Gradient steps.
        learning_rate: Of Adam, in units of the cost's scale; a fifth of it at the end.

    References:
        Wachter, Mittelstadt and Russell, "Counterfactual explanations without opening the black
        box", Harvard Journal of Law & Technology 31(2), 2018.

    Example:
        >>> import pandas as pd
        >>> from workbench.recourse import RecourseProblem
        >>> df = pd.DataFrame({"a": [0.0, 2.0, 4.0, 1.5], "b": [1.0, 0.0, 4.5, 2.0]})
        >>> problem = RecourseProblem(lambda d: d["a"] + d["b"], data=df, target={"above": 6})
        >>> plan = Wachter().fit(problem).recommend(df)
        >>> plan.status.tolist()
        ['found', 'found', 'already accepted', 'found']
    """

    def __init__(self, steps: int = 200, learning_rate: float = 0.05):
        self.steps = steps
        self.learning_rate = learning_rate

    def _fit(self, problem: RecourseProblem) -> None:
        self._require_positive("steps", "learning_rate")
        self.patterns_ = patterns(problem)

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        chunk = _ROWS // len(self.patterns_)
        why = "the gradient led to no permitted action that reaches the target"
        return in_parts(self.problem_, x, self._search, chunk, why, progress)

    def _search(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        problem, n, count = self.problem_, len(x), len(self.patterns_)
        start = np.repeat(x, count, axis=0)
        pattern = np.tile(self.patterns_, (n, 1))
        best, mask, values = self._descend(start, pattern)
        if problem.max_changes is not None and problem.world is None:
            # Once more with only the features that moved most.
            moved = problem.cost.moves(start, self._last)
            narrow = pattern & (ranks(moved) < problem.max_changes)
            again = self._descend(start, narrow)
            better = again[0] < best
            best[better], mask[better], values[better] = (a[better] for a in again)
        chosen = best.reshape(n, count).argmin(axis=1) + np.arange(n) * count
        return finish(problem, x, mask[chosen], values[chosen], best[chosen])

    def _descend(
        self, start: np.ndarray, pattern: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Adam on scaled changes; returns the cheapest feasible cost, mask and values per row."""
        problem, rows = self.problem_, len(start)
        space, scale = problem.space, problem.cost.scale
        gain = _differences(problem) if problem.world is not None else _gradient(problem)
        low, high = problem.reach(start)
        legal = _legal_levels(problem, pattern, start, low, high)
        design = space.design(start)
        is_level = space.discrete[space.owner]
        # One free number per design column: scaled change of a number, preference for a level.
        free = np.where(is_level, 2.0 * design, 0.0)
        first, second = np.zeros_like(free), np.zeros_like(free)
        weight = np.ones(rows)
        best, mask, values = np.full(rows, np.inf), pattern.copy(), start.copy()
        self._last = start.copy()
        reference = None
        for step in range(self.steps):
            soft, codes = self._decode(free, start, legal, low, high, pattern)
            gains, slope = gain(start, pattern, codes)
            if reference is None:
                reference = np.maximum(np.abs(gains), 1e-12)
            self._remember(start, pattern, codes, best, mask, values)
            if step == 0:
                weight = self._first_weight(slope, reference)
            pull = np.where((gains / reference < 0.02)[:, None], -slope / reference[:, None], 0.0)
            push = self._cost_slope(start, codes, pattern, soft) / weight[:, None]
            grad = pull * np.where(is_level, 1.0, scale[space.owner]) + push
            grad = np.where(is_level, _softmax_slope(space, soft, grad), grad)
            grad = np.where(pattern[:, space.owner], grad, 0.0)
            weight = np.clip(weight * np.where(gains >= 0, 0.97, 1.03), _BEST, _WORST)
            first = 0.9 * first + 0.1 * grad
            second = 0.999 * second + 0.001 * grad**2
            rate = self.learning_rate * (1.0 if step < 0.6 * self.steps else 0.2)
            lead = first / (1 - 0.9 ** (step + 1))
            free = free - rate * lead / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
            free = np.where(is_level, free, self._inside(free, start, low, high))
            self._last = codes
            if step in (0, self.steps - 1):
                corner = self._corner(slope, start, pattern, legal, low, high)
                self._remember(start, pattern, corner, best, mask, values)
        return best, mask, values

    def _first_weight(self, slope: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The lambda at which the most efficient feature is worth a bit more than its cost."""
        cost, space = self.problem_.cost, self.problem_.space
        gain = np.abs(slope) / reference[:, None] * cost.scale[space.owner]
        efficiency = np.where(self.problem_.movable[space.owner], gain, 0.0).max(axis=1)
        return np.clip(1.5 / np.maximum(efficiency, 1e-9), _BEST, _WORST)

    def _corner(
        self,
        slope: np.ndarray,
        start: np.ndarray,
        pattern: np.ndarray,
        legal: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
    ) -> np.ndarray:
        """Everything as far as it goes in the direction of the slope: the last resort."""
        problem = self.problem_
        space, far = problem.space, 8.0 * problem.cost.scale
        codes, worth = start.copy(), np.zeros_like(start)
        for j, slot in enumerate(space.slots):
            if space.discrete[j]:
                part = np.where(legal[:, slot], slope[:, slot], -np.inf)
                today = slope[np.arange(len(start)), slot.start + start[:, j].astype(int)]
                codes[:, j], worth[:, j] = part.argmax(axis=1), part.max(axis=1) - today
            else:
                steep = slope[:, slot.start]
                end = np.where(steep > 0, high[:, j], low[:, j])
                codes[:, j] = np.clip(end, start[:, j] - far[j], start[:, j] + far[j])
                worth[:, j] = np.abs(steep * (codes[:, j] - start[:, j]))
        keep = pattern
        if problem.max_changes is not None and problem.world is None:
            keep = keep & (ranks(worth) < problem.max_changes)
        return snap(problem, start, np.where(keep, codes, start))

    def _inside(
        self, free: np.ndarray, start: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> np.ndarray:
        owner, scale = self.problem_.space.owner, self.problem_.cost.scale
        floor, ceiling = ((side - start) / scale for side in (low, high))
        return np.clip(free, floor[:, owner], ceiling[:, owner])

    def _decode(
        self,
        free: np.ndarray,
        start: np.ndarray,
        legal: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        pattern: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Soft levels ``(R, D)`` and the codes ``(R, F)`` that they stand for."""
        space, scale = self.problem_.space, self.problem_.cost.scale
        soft, codes = free.copy(), start.copy()
        for j, slot in enumerate(space.slots):
            if not space.discrete[j]:
                codes[:, j] = start[:, j] + free[:, slot.start] * scale[j]
                continue
            wish = np.where(legal[:, slot], free[:, slot], -np.inf)
            wish = wish - wish.max(axis=1, keepdims=True)
            soft[:, slot] = np.exp(wish) / np.exp(wish).sum(axis=1, keepdims=True)
            codes[:, j] = wish.argmax(axis=1)
        codes = np.where(pattern, codes, start)
        return soft, snap(self.problem_, start, codes)

    def _remember(
        self,
        start: np.ndarray,
        pattern: np.ndarray,
        codes: np.ndarray,
        best: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Keep feasible rows that are cheaper than what was known, in place."""
        problem = self.problem_
        acted = pattern if problem.world is not None else pattern & (codes != start)
        cost = problem.cost(start, acted, codes)
        rows = np.flatnonzero((cost < best) & acted.any(axis=1))
        if not len(rows):
            return
        rows = rows[feasible(problem, start[rows], acted[rows], codes[rows])]
        best[rows], mask[rows], values[rows] = cost[rows], acted[rows], codes[rows]

    def _cost_slope(
        self, start: np.ndarray, codes: np.ndarray, pattern: np.ndarray, soft: np.ndarray
    ) -> np.ndarray:
        """Slope of the cost in the free numbers; counting costs are followed as sums."""
        problem = self.problem_
        space, cost = problem.space, problem.cost
        moves = np.where(pattern, cost.moves(start, codes), 0.0)
        outer = np.ones_like(moves)
        if cost.norm == "l2":
            outer = moves / np.maximum(np.sqrt((moves**2).sum(-1, keepdims=True)), 1e-12)
        elif cost.norm == "linf":
            outer = (moves == moves.max(axis=1, keepdims=True)).astype(float)
        elif cost.norm == "carma":
            outer = 2.0 * moves / cost.actionable
        slope = np.empty_like(soft)
        for j, slot in enumerate(space.slots):
            if space.discrete[j]:
                levels = np.arange(slot.stop - slot.start)
                distance = np.abs(levels - start[:, j, None]) / cost.scale[j]
                distance = np.minimum(distance, 1.0) if cost.by_level[j] else distance
                slope[:, slot] = outer[:, j, None] * distance * cost.weights[j]
            else:
                direction = np.sign(codes[:, j] - start[:, j])
                slope[:, slot.start] = outer[:, j] * direction * cost.weights[j]
        return slope


def _legal_levels(
    problem: RecourseProblem,
    pattern: np.ndarray,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> np.ndarray:
    """Which design columns of levels each row may choose."""
    space = problem.space
    legal = np.ones((len(start), space.width), dtype=bool)
    for j in np.flatnonzero(space.discrete):
        levels = np.arange(space.slots[j].stop - space.slots[j].start)
        inside = (levels >= low[:, j, None]) & (levels <= high[:, j, None]) & pattern[:, j, None]
        legal[:, space.slots[j]] = inside | (levels == start[:, j, None])
    return legal


def _softmax_slope(space: Space, soft: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Slope in the preferences from the slope in the levels, group by group."""
    out = slope.copy()
    for j in np.flatnonzero(space.discrete):
        slot = space.slots[j]
        share, part = soft[:, slot], slope[:, slot]
        out[:, slot] = share * (part - (share * part).sum(axis=1, keepdims=True))
    return out


Gain = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _gradient(problem: RecourseProblem) -> Gain:
    """Gain and its slope per design column by the model's own gradient, if it has one."""
    decide = problem.view.decision_encoded
    if decide is None:
        return _differences(problem)
    import torch

    sign = problem.target.sign
    goal = inverse_link(problem.view.link, problem.target.threshold)

    def gain(start: np.ndarray, mask: np.ndarray, codes: np.ndarray):
        design = torch.from_numpy(problem.space.design(codes)).requires_grad_()
        decision = decide(design)
        (slope,) = torch.autograd.grad(decision.sum(), design)
        gains = sign * (decision.detach().numpy() - goal)
        return gains, sign * slope.numpy()

    return gain


def _differences(problem: RecourseProblem) -> Gain:
    """Gain and its slope per design column by differences of scores; none for levels."""
    space = problem.space

    def gain(start: np.ndarray, mask: np.ndarray, codes: np.ndarray):
        rows, width = codes.shape
        numbers = np.flatnonzero(problem.movable & ~space.discrete)
        tried = [codes]
        for j in numbers:
            for side in (1e-3, -1e-3):
                near = codes.copy()
                near[:, j] += side * problem.cost.scale[j]
                tried.append(near)
        stacked = np.concatenate(tried)
        many = len(tried)
        people, acted = np.tile(start, (many, 1)), np.tile(mask, (many, 1))
        state = problem.apply(people, acted, np.where(acted, stacked, people))
        gains = problem.target.margin(problem.score(state)).reshape(many, rows)
        slope = np.zeros((rows, space.width))
        for k, j in enumerate(numbers):
            step = 2e-3 * problem.cost.scale[j]
            slope[:, space.slots[j].start] = (gains[1 + 2 * k] - gains[2 + 2 * k]) / step
        return gains[0], slope

    return gain
