"""Nearest trustworthy rows, trimmed back towards the person as far as they stay trustworthy."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from ..core.errors import QuestionError
from ..core.saving import saveable
from ..core.seeding import Seed, generator
from .acceptance import Acceptance
from .method import Actions, RecourseMethod, Status
from .outcomes import warn_of_own_labels
from .problem import RecourseProblem

_CELLS = 4_000_000
_ROWS = 6_000
_SHARES = ((0.0,), (0.5,), (0.5, 0.75, 0.9))


@saveable
class TrimmedTarget(RecourseMethod):
    def __init__(
        self,
        score_bar=0.2,
        chance_bar=0.7,
        pool: int = 24,
        finalists: int = 8,
        random_state: Seed = 0,
    ):
        self.score_bar, self.chance_bar = score_bar, chance_bar
        self.pool = pool
        self.finalists = finalists
        self.random_state = random_state

    _learns_from_labels = True

    def _fit(self, problem: RecourseProblem, labels: Any) -> None:
        if problem.world is not None:
            raise QuestionError(
                "TrimmedTarget sets features and knows nothing of what follows from them",
                advice="Use NearestTarget or GrowingSpheres with a causal model.",
            )
        self.acceptance_ = Acceptance(self.score_bar, self.chance_bar, self.random_state).fit(
            problem, labels
        )
        self.targets_ = self.acceptance_.pool_
        self._seen = [np.unique(column) for column in problem.data.T]

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        if not self.acceptance_.labelled_:
            warn_of_own_labels()
        n, width = x.shape
        values, found = x.copy(), np.zeros(n, dtype=bool)
        if len(self.targets_):
            chunk = max(min(_ROWS // self.pool, _CELLS // (len(self.targets_) * width)), 1)
            starts = range(0, n, chunk)
            for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
                part = slice(start, start + chunk)
                values[part], found[part] = self._trimmed(x[part])
        why = "no row of the data that the person may become is accepted"
        return Actions(values != x, values, Status.where(found, why))

    def _nearest(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Person and codes of the nearest rows of the pool that each person may become."""
        problem, targets = self.problem_, self.targets_
        low, high = problem.reach(x)
        barred = np.zeros((len(x), len(targets)), dtype=bool)
        for j in range(x.shape[1]):
            barred |= targets[:, j] < low[:, j, None]
            barred |= targets[:, j] > high[:, j, None]
        start = x[:, None, :]
        cost = problem.cost(start, np.ones((1, 1, x.shape[1]), bool), targets[None])
        cost[barred] = np.inf
        keep = min(self.pool, len(targets))
        nearest = np.argpartition(cost, keep - 1, axis=1)[:, :keep]
        open_ = np.isfinite(np.take_along_axis(cost, nearest, axis=1))
        who = np.repeat(np.arange(len(x)), keep)[open_.ravel()]
        rows = targets[nearest.ravel()[open_.ravel()]]
        mask = rows != x[who]
        good = problem.permitted(x[who], mask, rows, rows)
        return who[good], rows[good]

    def _good(self, x, values):
        problem = self.problem_
        good = problem.permitted(x, values != x, values, values)
        if good.any():
            good[good] = self.acceptance_.accepts(values[good])
        return good

    def _trimmed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        who, rows = self._nearest(x)
        best, found = x.copy(), np.zeros(len(x), dtype=bool)
        if not len(who):
            return best, found
        rng = generator(self.random_state)
        for shares in _SHARES:
            rows = self._back(x[who], rows, shares, rng)
            who, rows = self._cheapest(x, who, rows, self.finalists)
        who, rows = self._cheapest(x, who, rows, 1)
        best[who], found[who] = rows, True
        return best, found

    def _cheapest(self, x, who, rows, most):
        cost = self.problem_.cost(x[who], rows != x[who], rows)
        order = np.lexsort((cost, who))
        who, rows = who[order], rows[order]
        first = np.searchsorted(who, who)
        keep = np.arange(len(who)) - first < most
        return who[keep], rows[keep]

    def _back(self, x, rows, shares, rng):
        problem = self.problem_
        rows = rows.copy()
        gaps = problem.cost.moves(x, rows)
        order = np.lexsort((rng.random(gaps.shape), -gaps), axis=1)
        for rank in range(x.shape[1]):
            feature = order[:, rank]
            pick = np.arange(len(x)), feature
            open_ = np.flatnonzero(gaps[pick] > 0)
            if not len(open_):
                break
            for share in shares:
                if not len(open_):
                    break
                f = feature[open_]
                here = rows[open_, f]
                there = self._between(x[open_, f], here, f, share)
                use = there != here
                at, f, there = open_[use], f[use], there[use]
                tried = rows[at]
                tried[np.arange(len(at)), f] = there
                good = self._good(x[at], tried)
                rows[at[good]] = tried[good]
                done = np.zeros(len(x), bool)
                done[at[good]] = True
                open_ = open_[~done[open_]]
        return rows

    def _between(self, start, end, feature, share):
        """The seen value nearest to the given share of the way; ``end`` where there is none."""
        if share == 0:
            return start
        out = end.copy()
        goal = start + share * (end - start)
        for j in np.unique(feature):
            if self.problem_.space.discrete[j]:
                continue
            at = feature == j
            seen = self._seen[j]
            place = np.clip(np.searchsorted(seen, goal[at]), 1, max(len(seen) - 1, 1))
            low, high = seen[place - 1], seen[np.minimum(place, len(seen) - 1)]
            snapped = np.where(goal[at] - low <= high - goal[at], low, high)
            inside = np.abs(snapped - start[at]) < np.abs(end[at] - start[at])
            inside &= (snapped - start[at]) * (end[at] - start[at]) > 0
            out[at] = np.where(inside, snapped, end[at])
        return out
