"""Cheapest action at which a decision that can only be searched still accepts.

Three steps, for all people at once: climb the decision from the person and from rows of the data
that come closest to it; walk down in cost from there by exact weighted-L1 steps on the decision's
linearisation, inside a region that shrinks where the decision bends; take back what is not needed.
"""

from __future__ import annotations

import numpy as np
import torch
from tqdm import tqdm

from .method import Actions, Status
from .problem import RecourseProblem
from .search import feasible, finish, shorten, snap, with_spare
from .structure import inverse_link

_ROWS = 2048
_ANCHORS = 3
_WALK, _MENDING = 40, 6  # a decision that is dear to ask is asked a few times
_BACK = 5


class BoundarySearch:
    """Search on a problem whose view has a differentiable decision, without a causal model.

    Args:
        problem: Its cost must be ``"l1"`` with a linear scale.
        steps: Most steps of a climb.
        rate: Size of a step, in units of the cost's scale.
        sure: The same problem with a dearer decision that what is found must pass as well; what
            fails is mended with it.
        walk: Most steps down in cost.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        steps: int,
        rate: float,
        sure: RecourseProblem | None = None,
        walk: int = _WALK,
    ):
        self.problem, self.steps, self.rate, self.walk = problem, steps, rate, walk
        self.sure = None if sure is None else BoundarySearch(sure, steps, rate / 5, walk=_MENDING)
        self.sign = problem.target.sign
        self.goal = inverse_link(problem.view.link, problem.target.threshold)
        space = problem.space
        self.free = np.flatnonzero(problem.movable & ~space.discrete & ~space.integer)
        self.columns = [space.slots[j].start for j in self.free]
        self.price = problem.cost.weights[self.free]
        self.scale = problem.cost.scale[self.free]
        self.anchors = self._anchors()

    def _anchors(self) -> np.ndarray:
        """Rows of the data whose decision is the highest: where a climb may start as well."""
        data = self.problem.data
        if data is None or not len(data):
            return np.empty((0, len(self.problem.space)))
        order = np.argsort(-self.problem.target.margin(self.problem.score(data)), kind="stable")
        return data[order[:_ANCHORS]]

    def recommend(self, x: np.ndarray, progress: bool, why: str) -> Actions:
        """Proposals for people ``(n, F)``; ``why`` is the reason where nothing was found."""
        n, width = x.shape
        mask, values, found = np.zeros((n, width), bool), x.copy(), np.zeros(n, dtype=bool)
        starts = range(0, n, _ROWS)
        for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
            part = slice(start, start + _ROWS)
            mask[part], values[part], found[part] = self._search(x[part])
        return Actions(*with_spare(self.problem, x, mask, values), Status.where(found, why))

    def _search(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, values = np.full(len(x), np.inf), x.copy()
        for start in self._starts(x):
            codes, good = self._climb(x, start)
            if not good.any():
                continue
            codes[good] = self._walk(x[good], codes[good])
            cost = self.problem.cost(x, codes != x, codes)
            better = good & (cost < best)
            best[better], values[better] = cost[better], codes[better]
        mask, values, found = finish(self.problem, x, values != x, values, best)
        if self.sure is not None and found.any():
            self._mend(x, values, found)
        return values != x, values, found

    def _mend(self, x: np.ndarray, values: np.ndarray, found: np.ndarray) -> None:
        """Move what the dearer decision refuses until it accepts; in place."""
        sure, rows = self.sure, np.flatnonzero(found)
        rows = rows[~feasible(sure.problem, x[rows], values[rows] != x[rows], values[rows])]
        if not len(rows):
            return
        codes, found[rows] = sure._climb(x[rows], values[rows])
        good = found[rows]
        values[rows[good]] = sure._walk(x[rows[good]], codes[good])

    def _starts(self, x: np.ndarray):
        """The people, and the people as they would be with an anchor's features."""
        yield x
        low, high = self.problem.reach(x)
        for row in self.anchors:
            yield snap(self.problem, x, np.clip(np.broadcast_to(row, x.shape), low, high))

    def _slope(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decision beyond the target, and its slope per scaled unit of each free number."""
        design = torch.from_numpy(self.problem.space.design(codes)).requires_grad_()
        decision = self.problem.view.decision_encoded(design)
        (slope,) = torch.autograd.grad(decision.sum(), design)
        beyond = self.sign * (decision.detach().numpy() - self.goal)
        return beyond, self.sign * slope.numpy()[:, self.columns] * self.scale

    def _climb(self, x: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Adam up the decision until it is reached and permitted; codes and where that was."""
        problem, codes, done = self.problem, start.copy(), np.zeros(len(x), dtype=bool)
        low, high = problem.reach(x)
        at = (start[:, self.free] - x[:, self.free]) / self.scale
        first, second = np.zeros_like(at), np.zeros_like(at)
        for step in range(self.steps):
            rows = np.flatnonzero(~done)
            beyond, slope = self._slope(codes[rows])
            near = rows[beyond > 0]
            done[near] = feasible(problem, x[near], codes[near] != x[near], codes[near])
            if done.all() or not len(self.free):
                break
            first[rows] = 0.9 * first[rows] + 0.1 * slope
            second[rows] = 0.999 * second[rows] + 0.001 * slope**2
            size = np.sqrt(second[rows] / (1 - 0.999 ** (step + 1))) + 1e-12
            at[rows] += self.rate * first[rows] / (1 - 0.9 ** (step + 1)) / size
            moved = codes[rows].copy()
            moved[:, self.free] = x[rows][:, self.free] + at[rows] * self.scale
            codes[rows] = snap(problem, x[rows], np.clip(moved, low[rows], high[rows]))
            at[rows] = (codes[rows][:, self.free] - x[rows][:, self.free]) / self.scale
        return codes, done

    def _walk(self, x: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Cheaper and cheaper feasible codes by exact steps on the linearisation."""
        problem = self.problem
        codes = shorten(problem, x, codes != x, codes, halvings=12)
        if not len(self.free):
            return codes
        low, high = (side[:, self.free] for side in problem.reach(x))
        cost, radius = problem.cost(x, codes != x, codes), np.ones(len(x))
        for _ in range(self.walk):
            rows = np.flatnonzero(radius > 1e-4)
            if not len(rows):
                break
            beyond, slope = self._slope(codes[rows])
            tried = codes[rows].copy()
            room = radius[rows, None] * self.scale
            now = codes[rows][:, self.free]
            floor, ceiling = np.maximum(low[rows], now - room), np.minimum(high[rows], now + room)
            tried[:, self.free] = self._step(
                x[rows][:, self.free], now, floor, ceiling, beyond, slope
            )
            better = self._settle(x, codes, cost, rows, tried)
            radius[rows] = np.where(better, np.minimum(2 * radius[rows], 2.0), 0.3 * radius[rows])
        return codes

    def _step(
        self,
        x: np.ndarray,
        now: np.ndarray,
        floor: np.ndarray,
        ceiling: np.ndarray,
        beyond: np.ndarray,
        slope: np.ndarray,
    ) -> np.ndarray:
        """argmin sum c|v - x| subject to beyond + slope (v - now) >= 0 and floor <= v <= ceiling.

        From the point nearest to the person, numbers are moved in the order of gain per cost.
        """
        near = np.clip(x, floor, ceiling)
        need = -(beyond + (slope * (near - now) / self.scale).sum(axis=1))
        order = np.argsort(-np.abs(slope) / self.price, axis=1, kind="stable")
        room = np.where(slope > 0, ceiling - near, near - floor) / self.scale
        gain = np.take_along_axis(room * np.abs(slope), order, axis=1)
        before = np.cumsum(gain, axis=1) - gain
        took = np.clip(need[:, None] * (1 + 1e-6) - before, 0.0, gain)
        back = np.empty_like(took)
        np.put_along_axis(back, order, took, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(slope != 0, back / slope, 0.0) * self.scale
        return np.clip(near + step, floor, ceiling)

    def _settle(
        self,
        x: np.ndarray,
        codes: np.ndarray,
        cost: np.ndarray,
        rows: np.ndarray,
        tried: np.ndarray,
    ) -> np.ndarray:
        """Take what is feasible and cheaper, or the largest part of the way that is; in place."""
        problem, better = self.problem, np.zeros(len(rows), dtype=bool)
        from_here = codes[rows]
        for part in range(_BACK):
            left = np.flatnonzero(~better)
            if not len(left):
                break
            share = 0.5**part
            between = from_here[left] + share * (tried[left] - from_here[left])
            between = snap(problem, x[rows[left]], between)
            spent = problem.cost(x[rows[left]], between != x[rows[left]], between)
            good = spent < cost[rows[left]] * (1 - 1e-6)
            good[good] = feasible(
                problem, x[rows[left]][good], (between != x[rows[left]])[good], between[good]
            )
            at = left[good]
            codes[rows[at]], cost[rows[at]], better[at] = between[good], spent[good], True
        return better
