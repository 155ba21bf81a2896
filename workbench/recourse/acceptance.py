"""What a good end of recourse looks like: accepted with room to spare, likely true, usual."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ..core.errors import ParameterError, warn
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, sequence, spawn
from .density import placed
from .nearest_target import becoming
from .outcomes import favourable, unlimited
from .problem import RecourseProblem

_TREES, _LEAF = 100, 3
_ROUNDS = 120
_NETS, _HIDDEN, _EPOCHS, _RATE = 3, (16, 16), 30, 5e-3
_DISTINCT = (10, 1.15)  # neighbours and largest outlier factor among distinct rows
_REPEATED = (5, 1.2)  # the same with repeated rows counted, as published evaluations do
_ASKED, _BARS = 200, 8  # declined rows that are asked what certainty costs, and bars that are tried
_DEARER_SCORE, _DEARER_CHANCE = 2.0, 1.2  # what the nearest end may cost beside that without a bar
_FEWEST = 20  # rows below which nothing can be said about what is usual
_COMPONENTS, _RARE = 15, 0.05  # of the mixture; share of favourable rows that counts as rare
_ROWS_PER_NUMBER = 5  # distinct rows per column that a component of the mixture needs
Chance = Callable[[np.ndarray], np.ndarray]


@saveable
class Acceptance(Parameterised):
    """A stricter yes than the model's: where recourse is likely to hold in reality.

    A state z is accepted where all of these hold:

    1. the model's score is beyond the threshold by at least ``score_bar_``;
    2. the chance of a favourable *outcome* is at least ``chance_bar_``: the mean over boosting,
       random forest, extremely randomised trees and small networks, all fitted to the outcomes of
       the data. A point that only the model likes fails here;
    3. z is no outlier among rows with a favourable outcome: local outlier factor at most 1.15 among
       ten distinct neighbours, and at most 1.2 among five when repeated rows count; and with
       ``dense`` its density, by a mixture of Gaussians, is not below that of the rarest twentieth
       of these rows, so that features fit together as they do in reality.

    Both bars are the same quantile, ``strictness``, of what favourable and accepted rows of the
    data reach, so that they suit certain and uncertain models alike. Each is lowered until declined
    rows of the data can afford it: the nearest good end may cost twice as much for the score bar,
    and a fifth more for the chance bar, as without. What a single person may do
    (unchangeable features, directions, couplings) is no part of it: ask the problem.

    Args:
        strictness: Share of the favourable rows that stay below each bar; more of it buys
            validity (also of models trained again) for higher cost.
        dense: Whether density counts; it takes at least five distinct rows per column.
        random_state: Seed of the learners.

    Attributes:
        outcomes_: ``(n,)`` bool, which rows of the problem's data had a favourable outcome.
        labelled_: Whether outcomes were given; else the model's decisions stand in.
        score_bar_, chance_bar_: The bars; the first is a distance in the score's unit.
        auc_: Area under the curve of the forest on rows that its trees were not fitted to.
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

    def __init__(self, strictness: float = 1 / 3, dense: bool = True, random_state: Seed = 0):
        self.strictness = strictness
        self.dense = dense
        self.random_state = random_state

    def fit(self, problem: RecourseProblem, labels: Any = None) -> Self:
        """Learn outcomes and what is usual among favourable rows.

        Args:
            problem: Gives data, scores and scales.
            labels: What really happened to the rows of the problem's data: classes of the model
                (where the target is a probability ``"below"`` a number, the other classes are
                favourable), or true where the outcome was favourable and false elsewhere; a
                Series is matched by index. Without them the model's own decisions stand in, and
                then nothing protects against the model's errors.
        """
        if not 0 <= self.strictness < 1:
            raise ParameterError("must be in [0, 1)", column="strictness", value=self.strictness)
        sequence(self.random_state)
        self._learn(problem, favourable(problem, labels), labels is not None)
        if labels is not None:
            self._warn_of_noise()
        return self

    def _warn_of_noise(self) -> None:
        good = int(self.outcomes_.sum())
        bad = len(self.outcomes_) - good
        if not good or not bad:
            warn(
                "one-outcome",
                f"all {good + bad:,} outcomes are {'favourable' if good else 'unfavourable'}: "
                "nothing can be learned from them about who succeeds",
                ["labels"],
            )
        elif self.auc_ < 0.5 + 2 * np.sqrt((good + bad + 1) / (12 * good * bad)):
            warn(
                "outcomes-like-noise",
                "features tell outcomes of rows that were left out no better than chance (area "
                f"under the curve {self.auc_:.2f}): plans are only as right as the model",
                ["labels"],
            )

    def _learn(self, problem: RecourseProblem, outcomes: np.ndarray, labelled: bool) -> Self:
        self.problem_, self.outcomes_, self.labelled_ = problem, outcomes, labelled
        points = self._place(problem.data)
        self._learners, self.auc_ = _learners(points, outcomes, self.random_state)
        self._set_usual(problem.data[outcomes])
        return self._set_bars()

    def without_density(self) -> Self:
        """The same rule without the bar on density."""
        rule = copy.copy(self)
        rule.dense = False
        return rule._set_bars()

    def _set_bars(self) -> Self:
        problem, outcomes = self.problem_, self.outcomes_
        data, accepted = problem.data, problem.accepts(problem.scores)
        chance, good = self.chance(data), accepted & outcomes
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
        problem = unlimited(self.problem_)
        if not len(people) or not len(ends):
            return np.empty((0, len(ends)))
        rng = generator(spawn(self.random_state, 5)[4])
        people = people[rng.permutation(len(people))[:_ASKED]]
        kept = ~problem.movable & ~problem.space.discrete
        return np.vstack([becoming(problem, x[None], ends, kept) for x in people])

    def _set_usual(self, rows: np.ndarray) -> None:
        from sklearn.mixture import GaussianMixture
        from sklearn.neighbors import LocalOutlierFactor

        self._outliers, distinct = [], np.unique(rows, axis=0)
        for (k, most), points in ((_DISTINCT, distinct), (_REPEATED, rows)):
            if len(points) >= _FEWEST:
                factor = LocalOutlierFactor(n_neighbors=k, novelty=True)
                self._outliers.append((factor.fit(self._place(points)), most))
        # One column per further level: all of them would add up to one and have no density.
        space = self.problem_.space
        self._free = np.ones(space.width, dtype=bool)
        firsts = [s.start for s, d in zip(space.slots, space.discrete, strict=True) if d]
        self._free[firsts] = False
        most = len(distinct) // (_ROWS_PER_NUMBER * max(int(self._free.sum()), 1))
        self._mixture = None
        if most and self._free.any():
            seed = integer(spawn(self.random_state, 6)[5])
            mixture = GaussianMixture(min(most, _COMPONENTS), random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a rough density will do
                self._mixture = mixture.fit(self._place(rows)[:, self._free])
            self._rare = float(np.quantile(self._density(rows), _RARE))

    def _density(self, codes: np.ndarray) -> np.ndarray:
        return self._mixture.score_samples(self._place(codes)[:, self._free])

    def _place(self, codes: np.ndarray) -> np.ndarray:
        return placed(self.problem_.space, codes, self.problem_.cost.scale)

    def chance(self, codes: np.ndarray) -> np.ndarray:
        """Chance of a favourable outcome of codes ``(n, F)``."""
        if not self._learners:  # outcomes are all alike
            return np.full(len(codes), float(self.outcomes_.all()))
        points = self._place(codes)
        return np.mean([chance(points) for chance in self._learners], axis=0)

    def _likely(self, codes: np.ndarray) -> np.ndarray:
        """Whether the chance reaches its bar; nobody is asked about once it no longer can."""
        if not self._learners:
            return self.chance(codes) >= self.chance_bar_
        points = self._place(codes)
        families, total, left = len(self._learners), np.zeros(len(codes)), np.arange(len(codes))
        for asked, chance in enumerate(self._learners, 1):
            total[left] += chance(points[left])
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
        if self.dense and self._mixture is not None and len(codes):
            good = self._density(codes) >= self._rare
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


def _learners(
    points: np.ndarray, outcomes: np.ndarray, random_state: Seed
) -> tuple[list[Chance], float]:
    """Chances by family of learners, the quickest first; none where there is nothing to tell.

    And the area under the curve out of bag.
    """
    if outcomes.all() or not outcomes.any():
        return [], np.nan
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )
    from sklearn.metrics import roc_auc_score

    from .readers import trees as read_trees
    from .tree_sums import TreeSums

    seeds = spawn(random_state, 4)
    trees = {"n_estimators": _TREES, "min_samples_leaf": _LEAF}
    boosting = HistGradientBoostingClassifier(
        max_iter=_ROUNDS, early_stopping=False, random_state=integer(seeds[0])
    )
    forest = RandomForestClassifier(**trees, oob_score=True, random_state=integer(seeds[1]))
    extra = ExtraTreesClassifier(**trees, random_state=integer(seeds[2]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that every tree of few has seen
        forests = [forest.fit(points, outcomes), extra.fit(points, outcomes)]
    left_out = forest.oob_decision_function_[:, 1]
    known = np.isfinite(left_out)
    both = len(np.unique(outcomes[known])) == 2
    return [
        _Mean(_networks(points, outcomes, seeds[3])),
        _Mean([boosting.fit(points, outcomes)]),
        *(TreeSums(read_trees(forest, 1)[0]) for forest in forests),
    ], float(roc_auc_score(outcomes[known], left_out[known])) if both else 0.5


@dataclass(frozen=True)
class _Mean:
    """Mean chance of fitted classifiers."""

    learners: list

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return np.mean([learner.predict_proba(points)[:, 1] for learner in self.learners], axis=0)


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
