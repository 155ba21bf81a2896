"""What a good end of recourse looks like: accepted with room to spare, likely true, usual."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from ..core.errors import ParameterError
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, sequence, spawn
from .density import placed
from .nearest_target import becoming
from .outcomes import favourable
from .problem import RecourseProblem

_TREES, _LEAF = 100, 3
_ROUNDS = 120
_NETS, _HIDDEN, _EPOCHS, _RATE = 3, (16, 16), 30, 5e-3
_DISTINCT = (10, 1.15)  # neighbours and largest outlier factor among distinct rows
_REPEATED = (5, 1.2)  # the same with repeated rows counted, as published evaluations do
_ASKED, _BARS = 200, 8  # declined rows that are asked what certainty costs, and bars that are tried
_DEARER_SCORE, _DEARER_CHANCE = 2.0, 1.2  # what the nearest end may cost beside that without a bar
_FEWEST = 20  # rows below which nothing can be said about what is usual


@saveable
class Acceptance(Parameterised):
    """A stricter yes than the model's: where recourse is likely to hold in reality.

    A state z is accepted where all of these hold:

    1. the model's score is beyond the threshold by at least ``score_bar_``;
    2. the chance of a favourable *outcome* is at least ``chance_bar_``: the mean over boosting,
       random forest, extremely randomised trees and small networks, all fitted to the outcomes of
       the data. A point that only the model likes fails here;
    3. z is no outlier among rows with a favourable outcome: local outlier factor at most 1.15 among
       ten distinct neighbours, and at most 1.2 among five when repeated rows count.

    Both bars are the same quantile, ``strictness``, of what favourable and accepted rows of the
    data reach, so that they suit certain and uncertain models alike. Each is lowered until declined
    rows of the data can afford it: the nearest good end may cost twice as much for the score bar,
    and a fifth more for the chance bar, as without. What a single person may do
    (unchangeable features, directions, couplings) is no part of it: ask the problem.

    Args:
        strictness: Share of the favourable rows that stay below each bar; more of it buys
            validity (also of models trained again) for higher cost.
        random_state: Seed of the learners.

    Attributes:
        outcomes_: ``(n,)`` bool, which rows of the problem's data had a favourable outcome.
        labelled_: Whether outcomes were given; else the model's decisions stand in.
        score_bar_, chance_bar_: The bars; the first is a distance in the score's unit.
        pool_: Codes of the distinct data rows that are favourable and accepted.

    Raises:
        ParameterError, DataError: No data, labels that don't fit to it, a strictness outside
            [0, 1).

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"hours": rng.uniform(0, 9, 200)})
        >>> problem = RecourseProblem(lambda d: d["hours"] / 9, data=df, target={"above": 0.4})
        >>> rule = Acceptance().fit(problem, labels=df["hours"] > 5)
        >>> rule.accepts(np.array([[4.0], [7.0], [80.0]])).tolist()
        [False, True, False]
    """

    def __init__(self, strictness: float = 1 / 3, random_state: Seed = 0):
        self.strictness = strictness
        self.random_state = random_state

    def fit(self, problem: RecourseProblem, labels: Any = None) -> Self:
        """Learn outcomes and what is usual among favourable rows.

        Args:
            problem: Gives data, scores and scales.
            labels: What really happened to the rows of the problem's data: the classes of the
                model, or true and false; a Series is matched by index. Without them the model's
                own decisions stand in, and then nothing protects against the model's errors.
        """
        if not 0 <= self.strictness < 1:
            raise ParameterError("must be in [0, 1)", column="strictness", value=self.strictness)
        sequence(self.random_state)
        return self._learn(problem, favourable(problem, labels), labels is not None)

    def _learn(self, problem: RecourseProblem, outcomes: np.ndarray, labelled: bool) -> Self:
        self.problem_, self.outcomes_, self.labelled_ = problem, outcomes, labelled
        data, accepted = problem.data, problem.accepts(problem.scores)
        self._learners = _learners(self._place(data), outcomes, self.random_state)
        chance, good = self.chance(data), accepted & outcomes
        self._set_usual(data[outcomes])
        self.score_bar_, self.chance_bar_ = 0.0, 0.5
        if good.any():
            margin = problem.target.margin(problem.scores)
            wished = np.quantile([margin[good], chance[good]], self.strictness, axis=1)
            good &= chance >= 0.5
            good[good] = self.usual(data[good])
            cost = self._prices(data[~accepted], data[good])
            self.score_bar_ = _affordable(cost, margin[good], wished[0], 0.0, _DEARER_SCORE)
            near = margin[good] >= self.score_bar_
            self.chance_bar_ = _affordable(
                cost[:, near], chance[good][near], wished[1], 0.5, _DEARER_CHANCE
            )
        self.pool_ = np.unique(data[outcomes & self.accepts(data)], axis=0)
        return self

    def _prices(self, people: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """What some of the people would pay to become each end, ``(k, m)``; infinite if barred."""
        problem = self.problem_
        if not len(people) or not len(ends):
            return np.empty((0, len(ends)))
        rng = generator(spawn(self.random_state, 5)[4])
        people = people[rng.permutation(len(people))[:_ASKED]]
        kept = ~problem.movable & ~problem.space.discrete
        return np.vstack([becoming(problem, x[None], ends, kept) for x in people])

    def _set_usual(self, rows: np.ndarray) -> None:
        from sklearn.neighbors import LocalOutlierFactor

        self._outliers = []
        for (k, most), points in ((_DISTINCT, np.unique(rows, axis=0)), (_REPEATED, rows)):
            if len(points) >= _FEWEST:
                factor = LocalOutlierFactor(n_neighbors=k, novelty=True)
                self._outliers.append((factor.fit(self._place(points)), most))

    def _place(self, codes: np.ndarray) -> np.ndarray:
        return placed(self.problem_.space, codes, self.problem_.cost.scale)

    def chance(self, codes: np.ndarray) -> np.ndarray:
        """Chance of a favourable outcome of codes ``(n, F)``."""
        if not self._learners:  # outcomes are all alike
            return np.full(len(codes), float(self.outcomes_.all()))
        points = self._place(codes)
        return np.mean([_of_family(family, points) for family in self._learners], axis=0)

    def _likely(self, codes: np.ndarray) -> np.ndarray:
        """Whether the chance reaches its bar; nobody is asked about once it no longer can."""
        if not self._learners:
            return self.chance(codes) >= self.chance_bar_
        points = self._place(codes)
        families, total, left = len(self._learners), np.zeros(len(codes)), np.arange(len(codes))
        for asked, family in enumerate(self._learners, 1):
            total[left] += _of_family(family, points[left])
            most = total[left] + (families - asked)  # a family adds at most one
            left = left[most >= families * self.chance_bar_]
            if not len(left):
                break
        good = np.zeros(len(codes), dtype=bool)
        good[left] = True
        return good

    def usual(self, codes: np.ndarray) -> np.ndarray:
        """Whether rows are no outliers among favourable rows, ``(n,)``."""
        good = np.ones(len(codes), dtype=bool)
        points = self._place(codes)
        for factor, most in self._outliers:
            if good.any():
                good[good] = -factor.score_samples(points[good]) <= most
        return good

    def accepts(self, codes: np.ndarray) -> np.ndarray:
        """Whether states ``(n, F)`` pass all three conditions, ``(n,)``; the cheapest are first."""
        problem = self.problem_
        if not len(codes):
            return np.zeros(0, dtype=bool)
        scores = problem.score(codes)
        good = problem.accepts(scores) & (problem.target.margin(scores) >= self.score_bar_)
        for passes in (self._likely, self.usual):
            if good.any():
                good[good] = passes(codes[good])
        return good

    def _state(self) -> dict[str, Any]:
        """The recipe: learners are fitted again, to the same bits."""
        state = self.get_params(deep=False)
        if hasattr(self, "problem_"):
            state["fitted"] = (self.problem_, self.outcomes_, self.labelled_)
        return state

    @classmethod
    def _from_state(cls, state: dict[str, Any], **_: Any) -> Acceptance:
        fitted = state.pop("fitted", None)
        rule = cls(**state)
        return rule if fitted is None else rule._learn(*fitted)


def _affordable(
    cost: np.ndarray, level: np.ndarray, wished: float, least: float, dearer: float
) -> float:
    """The highest bar up to the wished one that makes the nearest end ``dearer`` times as dear.

    Where levels are coarse, a little more certainty may take one more change of a level.

    Args:
        cost: Of people to become ends, ``(k, m)``.
        level: Of the ends.
        wished, least: Bars; the prices at ``least`` are what others are compared with.
        dearer: How much more the mean person may pay.
    """
    if wished <= least or not cost.size:
        return least
    cheapest = cost[:, level >= least].min(axis=1, initial=np.inf)
    cost, cheapest = cost[np.isfinite(cheapest)], cheapest[np.isfinite(cheapest)]
    for bar in np.linspace(wished, least, _BARS)[:-1]:
        spent = cost[:, level >= bar].min(axis=1, initial=np.inf)
        if len(spent) and spent.mean() <= dearer * cheapest.mean():
            return float(bar)
    return least


def _of_family(family: list, points: np.ndarray) -> np.ndarray:
    return np.mean([learner.predict_proba(points)[:, 1] for learner in family], axis=0)


def _learners(points: np.ndarray, outcomes: np.ndarray, random_state: Seed) -> list[list]:
    """Fitted classifiers by family, the quickest first; none where there is nothing to tell."""
    if outcomes.all() or not outcomes.any():
        return []
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )

    seeds = spawn(random_state, 4)
    trees = {"n_estimators": _TREES, "min_samples_leaf": _LEAF}
    families = [
        HistGradientBoostingClassifier(
            max_iter=_ROUNDS, early_stopping=False, random_state=integer(seeds[0])
        ),
        RandomForestClassifier(**trees, random_state=integer(seeds[1])),
        ExtraTreesClassifier(**trees, random_state=integer(seeds[2])),
    ]
    return [
        _networks(points, outcomes, seeds[3]),
        *([family.fit(points, outcomes)] for family in families),
    ]


def _networks(points: np.ndarray, outcomes: np.ndarray, random_state: Seed) -> list:
    """Small networks, each fitted to its own resample of the rows."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    nets = []
    for seed in spawn(random_state, _NETS):
        rows = generator(seed).integers(len(points), size=len(points))
        if outcomes[rows].all() or not outcomes[rows].any():
            rows = np.arange(len(points))
        net = MLPClassifier(
            _HIDDEN, max_iter=_EPOCHS, learning_rate_init=_RATE, random_state=integer(seed)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it could go on learning is meant
            nets.append(make_pipeline(StandardScaler(), net).fit(points[rows], outcomes[rows]))
    return nets
