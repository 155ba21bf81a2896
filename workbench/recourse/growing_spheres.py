"""Search outward from each person with nothing but scores."""

from __future__ import annotations

import numpy as np

from ..core.saving import saveable
from ..core.seeding import Seed, generator, sequence
from .method import Actions, RecourseMethod
from .problem import RecourseProblem
from .search import feasible, finish, first_of_each, in_parts, patterns, ranks, shorten, snap

_ROWS = 100_000
_DOUBLINGS = 14


@saveable
class GrowingSpheres(RecourseMethod):
    """Draw actions in growing spheres around the person, then turn them toward the cheapest.

    1. Draw directions and follow them outward, doubling the radius until the target is reached.
    2. Bisect each successful direction back to the boundary; draw new directions around the
       cheapest, ever closer.
    3. Drop features that are not needed and move the others back one by one.

    Needs only scores, so it works for every model and for every causal model: there all sets of
    acted features are tried (up to 64), "hold at today's value" included. It proves nothing:
    prefer :class:`ExactRecourse` for linear models, trees and small networks, and
    :class:`Wachter` where gradients exist and the number of features is large.

    Args:
        samples: Directions per person, set of features and round.
        rounds: Rounds of turning toward the cheapest.
        random_state: Seed.

    References:
        Laugel et al., "Comparison-based inverse classification for interpretability in machine
        learning", IPMU 2018. Theirs draws uniformly in shells and keeps the nearest hit; here
        hits are bisected and refined, and constraints are respected.

    Example:
        >>> import pandas as pd
        >>> from workbench.recourse import RecourseProblem
        >>> df = pd.DataFrame({"a": [0.0, 2.0, 4.0, 1.5], "b": [1.0, 0.0, 4.5, 2.0]})
        >>> problem = RecourseProblem(lambda d: d["a"] * d["b"], data=df, target={"above": 6})
        >>> plan = GrowingSpheres().fit(problem).recommend(df)
        >>> plan.status.tolist()
        ['found', 'found', 'already accepted', 'found']
    """

    def __init__(self, samples: int = 48, rounds: int = 5, random_state: Seed = 0):
        self.samples = samples
        self.rounds = rounds
        self.random_state = random_state

    def _fit(self, problem: RecourseProblem) -> None:
        self._require_at_least(samples=1, rounds=0)
        sequence(self.random_state)
        self.patterns_ = patterns(problem)

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        chunk = _ROWS // (len(self.patterns_) * (self.samples + 2 * x.shape[1]))
        why = "no action that was tried reaches the target"
        return in_parts(self.problem_, x, self._search, chunk, why, progress)

    def _search(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        problem, n, count = self.problem_, len(x), len(self.patterns_)
        rng = generator(self.random_state)
        best = _Best(problem, np.repeat(x, count, axis=0), np.tile(self.patterns_, (n, 1)))
        self._grow(best, rng)
        turn = 0.5
        for _ in range(self.rounds):
            cheapest = np.repeat(best.cost.reshape(n, count).min(axis=1), count)
            rows = np.flatnonzero(np.isfinite(best.cost) & (best.cost <= 2.0 * cheapest))
            self._turn(best, rows, rng, turn)
            turn *= 0.5
        chosen = best.cost.reshape(n, count).argmin(axis=1) + np.arange(n) * count
        return finish(problem, x, best.mask[chosen], best.values[chosen], best.cost[chosen])

    def _directions(self, rng: np.random.Generator, width: int) -> np.ndarray:
        """Directions ``(S, F)`` of length 1 in the sum of moves: along axes, then mixed."""
        axes = np.vstack([np.eye(width), -np.eye(width)])
        mixed = rng.normal(size=(self.samples, width))
        mixed *= rng.random(mixed.shape) < rng.choice([0.15, 0.4, 1.0], size=(self.samples, 1))
        draws = np.vstack([axes, mixed])
        size = np.abs(draws).sum(axis=1, keepdims=True)
        return np.divide(draws, size, out=np.zeros_like(draws), where=size > 0)

    def _grow(self, best: _Best, rng: np.random.Generator) -> None:
        """Follow all directions outward until each row has a hit; bisect the hits.

        The draws are the same for everybody: nobody's answer depends on who else is asked.
        """
        draws = self._directions(rng, best.start.shape[1])
        flips = rng.random(draws.shape)
        radius, waiting = 0.25, np.arange(len(best.start))
        for _ in range(_DOUBLINGS):
            if not len(waiting):
                return
            moves = np.tile(radius * draws, (len(waiting), 1))
            chance = np.tile(flips, (len(waiting), 1))
            rows = np.repeat(waiting, len(draws))
            best.keep(rows, *self._aim(best, rows, moves, chance, 0.5 if radius > 0.5 else 0.0))
            waiting = waiting[~np.isfinite(best.cost[waiting])]
            radius *= 2

    def _turn(self, best: _Best, rows: np.ndarray, rng: np.random.Generator, turn: float) -> None:
        """Draw new directions around the best of each row and keep what is cheaper."""
        space, width = self.problem_.space, best.start.shape[1]
        noise = rng.normal(size=(self.samples, width))
        noise *= rng.random(noise.shape) < 0.5
        chance = rng.random(noise.shape)
        if not len(rows):
            return
        step = (best.values - best.start)[rows] / self.problem_.cost.scale
        step[:, space.discrete] = 0.0
        size = np.abs(step).sum(axis=1)[:, None, None]
        moves = np.where(chance < 0.15, 0.0, 2.0 * step[:, None, :] + turn * size * noise)
        many = np.repeat(rows, self.samples)
        goal, acted = self._aim(best, many, moves.reshape(-1, width), np.ones((1, width)), 0.0)
        levels = space.discrete & (np.tile(chance, (len(rows), 1)) > 0.3)
        goal = np.where(levels, best.values[many], goal)
        best.keep(many, goal, acted | (levels & best.mask[many]))

    def _aim(
        self, best: _Best, rows: np.ndarray, moves: np.ndarray, chance: np.ndarray, share: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values and masks of moves in scaled units; a share of the levels is changed."""
        problem, space = self.problem_, self.problem_.space
        start, pattern = best.start[rows], best.pattern[rows]
        goal = start + np.where(pattern & ~space.discrete, moves * problem.cost.scale, 0.0)
        for j in np.flatnonzero(space.discrete & problem.movable):
            levels = len(space.features[j].levels)
            # One draw decides whether the level changes and to which of the others.
            pick = np.floor(chance[:, j] / max(share, 1e-12) * (levels - 1))
            changes = pattern[:, j] & (chance[:, j] < share)
            goal[:, j] = np.where(changes, (start[:, j] + 1 + pick) % levels, start[:, j])
        goal = snap(problem, start, goal)
        if problem.world is not None:
            return goal, pattern
        acted = goal != start
        if problem.max_changes is not None:
            moved = problem.cost.moves(start, goal)
            acted = acted & (ranks(moved) < problem.max_changes)
            goal = np.where(acted, goal, start)
        return goal, acted


class _Best:
    """The cheapest feasible action of each row: a person with a set of features to act on."""

    def __init__(self, problem: RecourseProblem, start: np.ndarray, pattern: np.ndarray):
        self.problem, self.start, self.pattern = problem, start, pattern
        self.cost = np.full(len(start), np.inf)
        self.mask, self.values = pattern.copy(), start.copy()

    def keep(self, rows: np.ndarray, goal: np.ndarray, acted: np.ndarray) -> None:
        """Bisect the feasible goals and remember the cheapest of each row."""
        problem = self.problem
        hits = np.flatnonzero(acted.any(axis=1))
        hits = hits[feasible(problem, self.start[rows[hits]], acted[hits], goal[hits])]
        if not len(hits):
            return
        at, acted = rows[hits], acted[hits]
        short = shorten(problem, self.start[at], acted, goal[hits], halvings=8)
        cost = problem.cost(self.start[at], acted, short)
        lead = first_of_each(at, cost)
        lead = lead[cost[lead] < self.cost[at[lead]]]
        self.cost[at[lead]] = cost[lead]
        self.mask[at[lead]], self.values[at[lead]] = acted[lead], short[lead]
