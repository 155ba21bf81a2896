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
from .nearest_target import becoming
from .outcomes import limits, unlimited, warn_of_own_labels
from .problem import RecourseProblem

_CELLS = 4_000_000
_ROWS = 6_000
_ASKED, _DEARER = 60, 1.1  # declined rows that are asked what density costs, and what it may
# Shares of the way that are kept, pass by pass: all is given up, else half, else as little as can.
_SHARES = ((0.0,), (0.5,), (0.5, 0.75, 0.9))


@saveable
class TrimmedTarget(RecourseMethod):
    """Recourse that is likely to hold in reality: real good ends, moved towards the person.

    1. An :class:`Acceptance` is learned from outcomes: the model says yes with room to spare,
       learners of other families agree, and the point is no outlier among favourable rows; its
       density counts unless that makes recourse a tenth dearer for declined rows of the data.
    2. For each person the nearest data rows that are favourable, pass it, and can be reached;
       levels that can't be changed must be the same, numbers are kept as the person has them.
    3. From each of them feature by feature back towards today's value, the largest gap first:
       all the way if the point still passes, else half or a tenth of the way, to values that
       occur in the data. 4. The cheapest end is recommended.

    Beside :class:`NearestTarget` it is cheaper, changes fewer features and rarely hands out
    somebody's record; beside :class:`Wachter` or :class:`ExactRecourse` it costs more and holds
    under outcomes and retrained models that those have never heard of. It finds nothing where
    nobody alike in what can't be changed had a favourable outcome, and says so. ``max_changes``
    and ``budget`` are asked of the trimmed ends; a limit on changes lets small gaps go first.
    Not for causal models: use :class:`GrowingSpheres` there.

    Args:
        strictness: See :class:`Acceptance`.
        pool: Data rows that are tried per person.
        finalists: Of them, how many are trimmed to the end.
        random_state: Seed.

    Attributes:
        acceptance_: The rule. targets_: Codes of the rows that pass it.

    References:
        The pool is that of Garg, Nagalapatti, Sarawagi, "From search to sampling", ICLR 2025,
        who train a generator on such rows; trimming and the rule are ours.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"hours": rng.uniform(0, 9, 300), "late": rng.uniform(0, 3, 300)})
        >>> problem = RecourseProblem(lambda d: d["hours"] / 9, data=df, target={"above": 0.5})
        >>> method = TrimmedTarget().fit(problem, labels=df["hours"] > 5)
        >>> plan = method.recommend(pd.DataFrame({"hours": [2.0], "late": [1.5]}))
        >>> plan.status.tolist(), plan.changed.to_numpy().tolist()
        (['found'], [[True, False]])
    """

    _learns_from_labels = True

    def __init__(
        self,
        strictness: float = 1 / 3,
        pool: int = 20,
        finalists: int = 6,
        random_state: Seed = 0,
    ):
        self.strictness = strictness
        self.pool = pool
        self.finalists = finalists
        self.random_state = random_state

    def _fit(self, problem: RecourseProblem, labels: Any) -> None:
        if problem.world is not None:
            raise QuestionError(
                "TrimmedTarget sets features and knows nothing of what follows from them",
                advice="Use GrowingSpheres or NearestTarget with a causal model.",
            )
        self._require_at_least(pool=1, finalists=1)
        rule = Acceptance(self.strictness, random_state=self.random_state)
        self._use(rule.fit(problem, labels))
        self._afford_density()

    def _afford_density(self) -> None:
        """Do without the bar on density where it costs declined rows too much."""
        dense, problem = self.acceptance_, self.problem_
        people = problem.data[~problem.accepts(problem.scores)]
        people = people[generator(self.random_state).permutation(len(people))[:_ASKED]]
        with_it = self._prices(people)
        self._use(dense.without_density())
        without = self._prices(people)
        served = np.isfinite(without)
        if not served.any() or with_it[served].mean() <= _DEARER * without[served].mean():
            self._use(dense)

    def _prices(self, people: np.ndarray) -> np.ndarray:
        """What people pay, ``(n,)``; infinite where nothing is found."""
        values, found = self.nearest_trimmed(people)
        return np.where(found, self.problem_.cost(people, values != people, values), np.inf)

    def _use(self, rule: Acceptance) -> None:
        self.acceptance_, self.targets_ = rule, rule.pool_
        self.problem_ = rule.problem_
        self._unlimited = unlimited(rule.problem_)
        self._seen = [np.unique(column) for column in rule.problem_.data.T]

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        if not self.acceptance_.labelled_:
            warn_of_own_labels()
        values, found = self.nearest_trimmed(x, progress)
        why = "no favourable row of the data that passes the rule can be reached"
        why += limits(self.problem_)
        return Actions(values != x, values, Status.where(found, why))

    def nearest_trimmed(self, x: np.ndarray, progress: bool = False) -> tuple:
        """The answers as codes ``(n, F)``, and for whom there is one ``(n,)``."""
        n, values, found = len(x), x.copy(), np.zeros(len(x), dtype=bool)
        cells = max(len(self.targets_), 1) * x.shape[1]
        chunk = max(min(_ROWS // self.pool, _CELLS // cells), 1)
        starts = range(0, n if len(self.targets_) else 0, chunk)
        for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
            part = slice(start, start + chunk)
            who, rows = self.trimmed(x[part], *self.nearest(x[part]))
            values[start + who], found[start + who] = rows, True
        return values, found

    def nearest(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest targets that people may become.

        Returns:
            Positions of the people ``(R,)``, sorted, and codes ``(R, F)``; numbers that can't be
            acted on are the person's own.
        """
        if not len(self.targets_):
            return np.zeros(0, dtype=int), np.empty((0, x.shape[1]))
        problem = self._unlimited
        kept = ~problem.movable & ~problem.space.discrete
        cost = becoming(problem, x, self.targets_, kept)
        # Nobody has exactly the same unchangeable numbers: similar ones will do, and are kept.
        apart = cost.copy()
        for j in np.flatnonzero(kept):
            apart += np.abs(x[:, j, None] - self.targets_[:, j]) / problem.cost.scale[j]
        keep = min(self.pool, len(self.targets_))
        nearest = np.argpartition(apart, keep - 1, axis=1)[:, :keep]
        who, rank = np.nonzero(np.isfinite(np.take_along_axis(cost, nearest, axis=1)))
        rows = np.where(kept, x[who], self.targets_[nearest[who, rank]])
        good = self._passes(x[who], rows) if kept.any() else np.ones(len(who), dtype=bool)
        return who[good], rows[good]

    def trimmed(
        self, x: np.ndarray, who: np.ndarray, rows: np.ndarray, most: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Accepted ends moved back towards the people, the ``most`` cheapest of each.

        Args:
            x: People, codes ``(n, F)``.
            who: Person of each end, ``(R,)``.
            rows: Ends that the rule accepts and the person may become, ``(R, F)``.
            most: Ends per person that are given back.
        """
        # Ties between gaps are broken at random, so that rows with the same gaps end in different
        # places, and by rank, so that nobody's answer depends on who else is asked.
        ties = generator(self.random_state).random((self.pool, x.shape[1]))
        few = self.problem_.max_changes is not None
        for shares in (_SHARES[0], *_SHARES) if few else _SHARES:
            rows = self._back(x[who], rows, shares, ties[_rank(who) % len(ties)])
            who, rows = self._cheapest(x, who, rows, max(self.finalists, most))
        within = self.problem_.permitted(x[who], rows != x[who], rows, rows)
        return self._cheapest(x, who[within], rows[within], most)

    def _cheapest(
        self, x: np.ndarray, who: np.ndarray, rows: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cheapest few different ends of each person, those with few enough changes first."""
        both = np.unique(np.column_stack([who, rows]), axis=0)
        who, rows = both[:, 0].astype(int), both[:, 1:]
        cost = self.problem_.cost(x[who], rows != x[who], rows)
        excess = (rows != x[who]).sum(axis=1) - (self.problem_.max_changes or x.shape[1])
        order = np.lexsort((cost, np.maximum(excess, 0), who))
        who, rows = who[order], rows[order]
        first = _rank(who) < most
        return who[first], rows[first]

    def _back(
        self, x: np.ndarray, rows: np.ndarray, shares: tuple[float, ...], ties: np.ndarray
    ) -> np.ndarray:
        """One pass over the features of each row: the first of the shares that passes is kept."""
        rows = rows.copy()
        gaps = self.problem_.cost.moves(x, rows)
        first = gaps if self.problem_.max_changes is not None else -gaps
        order = np.lexsort((ties, first), axis=1)
        for rank in range(x.shape[1]):
            feature = order[:, rank]
            left = np.flatnonzero(gaps[np.arange(len(x)), feature] > 0)
            for share in shares:
                there = self._between(x, rows, left, feature[left], share)
                moves = there != rows[left, feature[left]]
                at, tried = left[moves], rows[left[moves]]
                tried[np.arange(len(at)), feature[at]] = there[moves]
                good = self._passes(x[at], tried)
                rows[at[good]] = tried[good]
                left = left[~np.isin(left, at[good])]
        return rows

    def _passes(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        good = self._unlimited.permitted(x, values != x, values, values)
        good[good] = self.acceptance_.accepts(values[good])
        return good

    def _between(
        self, x: np.ndarray, rows: np.ndarray, at: np.ndarray, feature: np.ndarray, share: float
    ) -> np.ndarray:
        """The seen value nearest to a share of the way to a row, strictly on the way.

        Where there is none, and for levels, the row's own value; today's for share 0.
        """
        start, end = x[at, feature], rows[at, feature]
        if share == 0:
            return start
        goal, out = start + share * (end - start), end.copy()
        for j in np.unique(feature[~self.problem_.space.discrete[feature]]):
            here, seen = feature == j, self._seen[j]
            place = np.clip(np.searchsorted(seen, goal[here]), 1, max(len(seen) - 1, 1))
            low, high = seen[place - 1], seen[np.minimum(place, len(seen) - 1)]
            value = np.where(goal[here] - low <= high - goal[here], low, high)
            way = (value - start[here]) / (end[here] - start[here])
            out[here] = np.where((way > 0) & (way < 1), value, end[here])
        return out

    def _state(self) -> dict[str, Any]:
        state = self.get_params(deep=False)
        return state | {"acceptance": getattr(self, "acceptance_", None)}

    @classmethod
    def _from_state(cls, state: dict[str, Any], **_: Any) -> TrimmedTarget:
        rule = state.pop("acceptance")
        method = cls(**state)
        if rule is not None:
            method._use(rule)
        return method


def _rank(who: np.ndarray) -> np.ndarray:
    """Rank of each entry among those of the same person; ``who`` is sorted."""
    return np.arange(len(who)) - np.searchsorted(who, who)
