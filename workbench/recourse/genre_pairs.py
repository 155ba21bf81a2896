"""Pairs to learn from: who could become whom, with cheap changes more likely."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from .nearest_target import affordable, reachable
from .problem import RecourseProblem

_CELLS = 4_000_000


class PairLaw:
    """Q(z | x) = exp(-lam · cost(x, z)) / Z over the ``top_k`` cheapest targets z of a person x.

    Targets are draws of plausible people with the wished outcome, so Q is a self-normalised
    importance estimate of P(z | wished outcome) · exp(-lam · cost). A target that the person can
    not become (another value of what can't change, a forbidden direction, too many changes, over
    budget) has probability exactly 0. Everything is computed in logarithms: no ``lam`` is too
    large.

    Args:
        problem: Gives cost and constraints.
        targets: Codes ``(m, F)``.
        lam: Weight of the cost; 0 draws targets uniformly, a large one takes the nearest.
        top_k: Targets kept per person.
        combine: Whether targets that differ in what can't change count too. What differs there
            then costs as if it could change, so that targets alike in it are likelier.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        targets: np.ndarray,
        lam: float,
        top_k: int,
        combine: bool = False,
    ):
        self.problem, self.targets, self.lam, self.combine = problem, targets, lam, combine
        self.counted = np.ones_like(problem.movable) if combine else problem.movable
        self.top_k = min(top_k, len(targets))
        self._legal = problem.couplings.hold(targets, problem.cost.scale)
        self._places = self._coordinates(targets) if problem.cost.norm == "l1" else None

    def costs(self, x: np.ndarray) -> np.ndarray:
        """Cost for each person to become each target, ``(n, m)``; infinite where forbidden."""
        problem, targets = self.problem, self.targets
        if self._places is not None:
            cost = cdist(self._coordinates(x), self._places, "cityblock").round(9)
        else:
            cost = problem.cost(x[:, None, :], self.counted, targets)
        cost[~self._reachable(x)] = np.inf
        return affordable(problem, cost)

    def _reachable(self, x: np.ndarray) -> np.ndarray:
        kept = ~self.problem.movable & self.combine
        return self._legal & reachable(self.problem, x, self.targets, kept)

    def rows(self, x: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Chunks of people: their slice, the targets in reach ``(c, k)``, log Q ``(c, k)``.

        Log Q is -inf for what is out of reach; for people without any target all of it is.
        """
        cells = len(self.targets) * (1 if self._places is not None else 8)
        chunk = max(_CELLS // max(cells, 1), 1)
        for start in range(0, len(x), chunk):
            part = slice(start, min(start + chunk, len(x)))
            cost = self.costs(x[part])
            if self.top_k < cost.shape[1]:
                nearest = np.argpartition(cost, self.top_k - 1, axis=1)[:, : self.top_k]
                nearest.sort(axis=1)
            else:
                nearest = np.tile(np.arange(cost.shape[1]), (len(cost), 1))
            near = np.take_along_axis(cost, nearest, axis=1)
            forbidden = np.isinf(near)
            least = near.min(axis=1, keepdims=True)
            log = -self.lam * np.where(forbidden, 0.0, near - np.where(np.isinf(least), 0, least))
            share = np.where(forbidden, 0.0, np.exp(log))
            total = np.where(np.isinf(least), 1.0, share.sum(axis=1, keepdims=True))
            yield part, nearest, np.where(forbidden, -np.inf, log - np.log(total))

    def draw(self, x: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """Targets drawn from Q, ``(n, draws)``; -1 for people who have none in reach."""
        out = np.full((len(x), draws), -1, dtype=np.int64)
        if not len(self.targets):
            return out
        for part, nearest, log in self.rows(x):
            share = np.cumsum(np.exp(log), axis=1)
            some = np.flatnonzero(share[:, -1] > 0)
            uniform = rng.random((len(log), draws))[some]
            if not len(some):
                continue
            # One search for everybody: person i's shares lie between i and i + 1.
            ladder = share[some] / share[some, -1:] + np.arange(len(some))[:, None]
            aim = uniform + np.arange(len(some))[:, None]
            pick = np.searchsorted(ladder.ravel(), aim.ravel(), side="right")
            out[part.start + some] = nearest[some].ravel()[pick].reshape(len(some), draws)
        return out

    def has_target(self, x: np.ndarray) -> np.ndarray:
        """Whether each person can become any target, ``(n,)``."""
        out = np.zeros(len(x), dtype=bool)
        chunk = max(_CELLS // max(len(self.targets), 1), 1)
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            good = self._reachable(x[part])
            if self.problem.budget is not None:
                good = np.isfinite(self.costs(x[part]))
            out[part] = good.any(axis=1)
        return out

    def _coordinates(self, codes: np.ndarray) -> np.ndarray:
        """Rows whose city-block distance is the "l1" cost of moving between them."""
        problem, cost, columns = self.problem, self.problem.cost, []
        for j in np.flatnonzero(self.counted):
            column = codes[:, j]
            if cost.by_level[j]:
                levels = np.arange(len(problem.space.features[j].levels))
                half = 0.5 * cost.weights[j]
                columns.append(half * (column[:, None] == levels))
            else:
                origin = np.full_like(codes, problem.low[j] if np.isfinite(problem.low[j]) else 0.0)
                away = cost.moves(origin, codes)[:, j]
                columns.append((away * np.sign(column - origin[:, j]))[:, None])
        return np.hstack(columns)
