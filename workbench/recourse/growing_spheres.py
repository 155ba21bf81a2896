"""Search outward from each person with nothing but scores."""

from __future__ import annotations

import numpy as np
from tqdm.auto import tqdm

from ..core.errors import ParameterError
from ..core.saving import saveable
from ..core.seeding import Seed, generator, sequence
from .method import Actions, RecourseMethod, Status
from .problem import RecourseProblem
from .search import feasible, finish, shorten, snap

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
    prefer :class:`ExactRecourse` where the model is linear and :class:`Wachter` where gradients
    exist and the number of features is large.

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
        for name, least in (("samples", 1), ("rounds", 0)):
            if getattr(self, name) < least:
                raise ParameterError(
                    f"must be at least {least}", column=name, value=getattr(self, name)
                )
        sequence(self.random_state)
        if problem.world is None:
            self.patterns_ = problem.movable[None, :].copy()
        else:
            self.patterns_ = problem.world.masks(problem.movable, problem.max_changes)

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        n, width = x.shape
        mask, values, found = np.zeros((n, width), bool), x.copy(), np.zeros(n, dtype=bool)
        chunk = max(_ROWS // (len(self.patterns_) * self._directions(width)), 1)
        starts = range(0, n, chunk)
        for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
            part = slice(start, start + chunk)
            mask[part], values[part], found[part] = self._search(x[part])
        why = "no action that was tried reaches the target"
        return Actions(mask, values, Status.where(found, why))

    def _directions(self, width: int) -> int:
        return self.samples + 2 * width

    def _search(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        problem, n, width = self.problem_, *x.shape
        people = np.repeat(np.arange(n), len(self.patterns_))
        pattern = np.tile(self.patterns_, (n, 1))
        rng = generator(self.random_state)
        # The same draws for everybody: nobody's answer depends on who else is in the table.
        draws = self._draws(rng, width)
        flips = rng.random(draws.shape)
        start = x[people]
        best = np.full(len(people), np.inf)
        mask, values = pattern.copy(), start.copy()
        self._grow(start, pattern, draws, flips, best, mask, values)
        turn = 0.5
        for _ in range(self.rounds):
            cheapest = np.full(n, np.inf)
            np.minimum.at(cheapest, people, best)
            rows = np.flatnonzero(best <= 2.0 * cheapest[people])
            rows = rows[np.isfinite(best[rows])]
            self._turn(rows, start, pattern, rng, turn, best, mask, values)
            turn *= 0.5
        chosen = self._cheapest(people, best, n)
        return finish(problem, x, mask[chosen], values[chosen], best[chosen])

    @staticmethod
    def _cheapest(people: np.ndarray, best: np.ndarray, n: int) -> np.ndarray:
        """For each person the position of the cheapest row."""
        return best.reshape(n, -1).argmin(axis=1) + np.arange(n) * (len(people) // max(n, 1))

    def _draws(self, rng: np.random.Generator, width: int) -> np.ndarray:
        """Directions ``(S, F)`` of length 1 in the sum of moves: along axes, then mixed."""
        axes = np.vstack([np.eye(width), -np.eye(width)])
        mixed = rng.normal(size=(self.samples, width))
        mixed *= rng.random(mixed.shape) < rng.choice([0.15, 0.4, 1.0], size=(self.samples, 1))
        draws = np.vstack([axes, mixed])
        size = np.abs(draws).sum(axis=1, keepdims=True)
        return np.divide(draws, size, out=np.zeros_like(draws), where=size > 0)

    def _grow(
        self,
        start: np.ndarray,
        pattern: np.ndarray,
        draws: np.ndarray,
        flips: np.ndarray,
        best: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Follow all directions outward until each row has a hit; bisect the hits."""
        radius, waiting = 0.25, np.arange(len(start))
        for _ in range(_DOUBLINGS):
            if not len(waiting):
                return
            count = len(draws)
            rows = np.repeat(waiting, count)
            near = np.where(draws == 0, 0.0, radius * draws)
            goal, acted = self._aim(
                start[rows],
                pattern[rows],
                np.tile(near, (len(waiting), 1)),
                np.tile(flips, (len(waiting), 1)),
                0.5 if radius > 0.5 else 0.0,
            )
            self._keep(rows, start, acted, goal, best, mask, values)
            waiting = waiting[~np.isfinite(best[waiting])]
            radius *= 2

    def _turn(
        self,
        rows: np.ndarray,
        start: np.ndarray,
        pattern: np.ndarray,
        rng: np.random.Generator,
        turn: float,
        best: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Draw new directions around the best of each row and keep what is cheaper."""
        problem, width = self.problem_, start.shape[1]
        noise = rng.normal(size=(self.samples, width))
        noise *= rng.random(noise.shape) < 0.5
        flips = rng.random(noise.shape)
        if not len(rows):
            return
        step = (values - start)[rows] / problem.cost.scale
        size = np.abs(step).sum(axis=1)[:, None, None]
        moved = 2.0 * step[:, None, :] + turn * size * noise[None]
        moved *= np.where(flips < 0.15, 0.0, 1.0)[None]
        many = np.repeat(rows, self.samples)
        goal, acted = self._aim(
            start[many], pattern[many], moved.reshape(-1, width), np.ones((len(many), width)), 0.0
        )
        levels = problem.space.discrete & (np.tile(flips, (len(rows), 1)) > 0.3)
        goal = np.where(levels, values[many], goal)
        acted = acted | (levels & mask[many])
        self._keep(many, start, acted, goal, best, mask, values)

    def _aim(
        self,
        start: np.ndarray,
        pattern: np.ndarray,
        moves: np.ndarray,
        flips: np.ndarray,
        share: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values and masks of moves in scaled units; a share of the levels is changed."""
        problem = self.problem_
        space = problem.space
        goal = start + np.where(pattern & ~space.discrete, moves * problem.cost.scale, 0.0)
        for j in np.flatnonzero(space.discrete & problem.movable):
            levels = len(space.features[j].levels)
            # The draw decides both whether the level changes and to which other level.
            pick = np.floor(flips[:, j] / max(share, 1e-12) * (levels - 1))
            other = (start[:, j] + 1 + pick) % levels
            goal[:, j] = np.where(pattern[:, j] & (flips[:, j] < share), other, start[:, j])
        goal = snap(problem, start, goal)
        acted = pattern if problem.world is not None else goal != start
        if problem.world is None and problem.max_changes is not None:
            moved = problem.cost.moves(start, goal)
            rank = np.argsort(np.argsort(-moved, axis=1, kind="stable"), axis=1, kind="stable")
            acted = acted & (rank < problem.max_changes)
            goal = np.where(acted, goal, start)
        return goal, acted

    def _keep(
        self,
        rows: np.ndarray,
        start: np.ndarray,
        acted: np.ndarray,
        goal: np.ndarray,
        best: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
    ) -> None:
        """Bisect the feasible goals and remember the cheapest of each row, in place."""
        problem = self.problem_
        hits = np.flatnonzero(acted.any(axis=1))
        hits = hits[feasible(problem, start[rows[hits]], acted[hits], goal[hits])]
        if not len(hits):
            return
        at = rows[hits]
        short = shorten(problem, start[at], acted[hits], goal[hits], halvings=8)
        cost = problem.cost(start[at], acted[hits], short)
        order = np.lexsort((np.arange(len(at)), cost, at))
        first = order[np.r_[True, at[order][1:] != at[order][:-1]]]
        better = first[cost[first] < best[at[first]]]
        best[at[better]] = cost[better]
        mask[at[better]], values[at[better]] = acted[hits][better], short[better]
