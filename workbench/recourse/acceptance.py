"""What a good end of recourse looks like: accepted with room to spare, likely true, usual."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, spawn
from .density import placed
from .outcomes import favourable
from .problem import RecourseProblem

_TREES, _LEAF = 100, 3
_ROUNDS = 120
_NETS, _HIDDEN, _EPOCHS, _RATE = 3, (16, 16), 30, 5e-3
_UNIQUE = (10, 1.15)  # neighbours and largest outlier factor among distinct rows
_REPEATED = (5, 1.2)  # the same with repeated rows counted, as evaluations do
_FEWEST = 20


@saveable
class Acceptance(Parameterised):
    """A stricter yes than the model's: where recourse still holds when the model doesn't.

    A state z is accepted where all of these hold:

    1. the model's score is beyond the threshold by at least ``score_bar``;
    2. the chance of a favourable *outcome* is at least ``chance_bar``: the mean over random
       forest, extremely randomised trees, boosting and small networks, all fitted to the outcomes
       of the data. A point that only the model likes fails here;
    3. z is no outlier among favourable rows: local outlier factor at most 1.15 among ten distinct
       neighbours, and at most 1.2 among five when repeated rows count.

    What a single person may do (unchangeable features, directions, couplings) is no part of it.

    Args:
        score_bar: Required distance of the score from the threshold, in the score's unit.
        chance_bar: Required chance.
        random_state: Seed of the learners.

    Attributes:
        outcomes_: ``(n,)`` bool, which rows of the problem's data had a favourable outcome.
        pool_: Codes of the distinct data rows that are favourable and accepted.

    Raises:
        ParameterError, DataError: No data, labels that don't fit to it, a single class.
    """

    def __init__(self, score_bar: float = 0.2, chance_bar: float = 0.7, random_state: Seed = 0):
        self.score_bar = score_bar
        self.chance_bar = chance_bar
        self.random_state = random_state

    def fit(self, problem: RecourseProblem, labels: Any = None) -> Self:
        """Learn outcomes and what is usual among favourable rows.

        Args:
            problem: Gives data, scores and scales.
            labels: What really happened to the rows of the problem's data: the classes of the
                model, or true and false; a Series is matched by index. Without them the model's
                own decisions stand in, and then nothing protects against the model's errors.
        """
        self.problem_ = problem
        self.labelled_ = labels is not None
        self.outcomes_ = favourable(problem, labels)
        data = problem.data
        self._learners = _learners(problem.space.design(data), self.outcomes_, self.random_state)
        usual = (self.chance(data) > 0.5) & problem.accepts(problem.scores)
        self._set_usual(data[usual])
        good = self.outcomes_ & self.accepts(data)
        self.pool_ = np.unique(data[good], axis=0)
        return self

    def _set_usual(self, rows: np.ndarray) -> None:
        from sklearn.neighbors import LocalOutlierFactor

        self._outliers = []
        for (k, most), points in ((_UNIQUE, np.unique(rows, axis=0)), (_REPEATED, rows)):
            if len(points) < _FEWEST:
                continue
            factor = LocalOutlierFactor(n_neighbors=k, novelty=True)
            self._outliers.append((factor.fit(self._place(points)), most))

    def _place(self, codes: np.ndarray) -> np.ndarray:
        return placed(self.problem_.space, codes, self.problem_.cost.scale)

    def chance(self, codes: np.ndarray) -> np.ndarray:
        """Chance of a favourable outcome of codes ``(n, F)``."""
        if not self._learners:
            return self.problem_.accepts(self.problem_.score(codes)).astype(float)
        design = self.problem_.space.design(codes)
        families = [
            np.mean([learner.predict_proba(design)[:, 1] for learner in family], axis=0)
            for family in self._learners
        ]
        return np.mean(families, axis=0)

    def usual(self, codes: np.ndarray) -> np.ndarray:
        """Whether rows are no outliers among favourable rows."""
        good = np.ones(len(codes), dtype=bool)
        points = self._place(codes)
        for factor, most in self._outliers:
            if good.any():
                good[good] = -factor.score_samples(points[good]) <= most
        return good

    def accepts(self, codes: np.ndarray) -> np.ndarray:
        """Whether states ``(n, F)`` pass all three conditions, ``(n,)``."""
        problem = self.problem_
        scores = problem.score(codes)
        good = problem.accepts(scores) & (problem.target.margin(scores) >= self.score_bar)
        if good.any():
            good[good] = self.chance(codes[good]) >= self.chance_bar
        if good.any():
            good[good] = self.usual(codes[good])
        return good


def _learners(design: np.ndarray, outcomes: np.ndarray, random_state: Seed) -> list:
    """Fitted classifiers of different families; none where there is nothing to tell apart."""
    if outcomes.all() or not outcomes.any():
        return []
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    seeds = [integer(s) for s in spawn(random_state, 4)]
    trees = {"n_estimators": _TREES, "min_samples_leaf": _LEAF}
    families = [
        RandomForestClassifier(**trees, random_state=seeds[0]),
        ExtraTreesClassifier(**trees, random_state=seeds[1]),
        HistGradientBoostingClassifier(
            max_iter=_ROUNDS, early_stopping=False, random_state=seeds[2]
        ),
    ]
    fitted = [[family.fit(design, outcomes)] for family in families]
    nets = []
    for seed in spawn(seeds[3], _NETS):
        rows = generator(seed).integers(len(design), size=len(design))
        net = MLPClassifier(
            _HIDDEN, max_iter=_EPOCHS, learning_rate_init=_RATE, random_state=integer(seed)
        )
        nets.append(make_pipeline(StandardScaler(), net).fit(design[rows], outcomes[rows]))
    return [*fitted, nets]
