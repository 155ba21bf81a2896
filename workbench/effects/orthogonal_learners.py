"""R-learner and doubly robust learner: what is left after the nuisances, by any learner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from .base_learners import ArmChances, base_learner, fit_chances, told_once
from .folded import FoldedLearner, FoldedRows
from .metalearners import fit_arms, levels
from .nuisance import Predict

Pair = tuple[int, int]


@saveable
@dataclass(frozen=True)
class PairwiseMean:
    """E[Y | z, arm is 0 or k] for k = 1, 2, ...: one regression for each."""

    models: tuple[Predict, ...]

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """(m, K - 1)."""
        return np.column_stack([model(z) for model in self.models])


@saveable
@dataclass(frozen=True)
class ResidualModels:
    """Per fold left out the effects of arms 1, 2, ...; nuisances by pair of folds left out.

    Attributes:
        folds: F.
        effect: For each fold one function per arm but the first.
        first: For each pair of folds (in the order of ``combinations``) the outcomes: by arm, or
            means of the first and another arm (``pairwise``).
        chance: For each pair of folds P(arm | z).
        pairwise: Which of the two ``first`` gives.
    """

    folds: int
    effect: tuple[tuple[Predict, ...], ...]
    first: tuple[Callable[[np.ndarray], np.ndarray], ...]
    chance: tuple[ArmChances, ...]
    pairwise: bool

    def effects(self, z: np.ndarray) -> np.ndarray:
        zero = np.zeros(len(z))
        return np.stack([np.column_stack([zero, *(f(z) for f in fold)]) for fold in self.effect])

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        effects = self.effects(z)
        first, chance = self._averaged(self.first, z), self._averaged(self.chance, z)
        if not self.pairwise:
            return levels((chance * first).sum(axis=-1), effects, chance)
        share = chance[..., 1:] / (chance[..., :1] + chance[..., 1:])
        control = (first - share * effects[..., 1:]).mean(axis=-1)
        return control[..., None] + effects

    def _averaged(self, by_pair: tuple, z: np.ndarray) -> np.ndarray:
        """For each fold the mean over the pairs that leave it out, (F, m, ...)."""
        total: list[Any] = [0.0] * self.folds
        for pair, model in zip(combinations(range(self.folds), 2), by_pair, strict=True):
            found = model(z)
            for fold in pair:
                total[fold] = total[fold] + found
        return np.stack(total) / (self.folds - 1)


class _Residual(FoldedLearner):
    """Nuisances without each pair of folds, then one regression of effects for each fold left out.

    The nuisances of a row in fold g, for the effects learned without fold f, come from the rows
    outside f and g: neither the row itself nor a row of the fold left out has a say.
    """

    clip: float
    learner: Any
    final: Any
    propensity: Any
    _pairwise = False

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        if self._folds() < 3:
            raise ParameterError("must be an integer from 3", column="n_folds", value=self.n_folds)
        if not isinstance(self.clip, int | float) or not 0 < self.clip < 0.5:
            raise ParameterError("must lie between 0 and 0.5", column="clip", value=self.clip)
        super()._fit(data, seed)

    def _first(self, learner: Any, rows: FoldedRows, learn: np.ndarray, seed: Any) -> Any:
        raise TypeError(f"{type(self).__name__} must define _first")

    def _targets(
        self, rows: FoldedRows, k: int, first: np.ndarray, chance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        raise TypeError(f"{type(self).__name__} must define _targets")

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> ResidualModels:
        learner, rows = base_learner(self.learner), rows.arranged()
        final = learner if self.final is None else base_learner(self.final, "final")
        if rows.n_folds < 3:
            arm = self.overlap_.arms[int(np.bincount(rows.arm).argmin())]
            raise DataError(
                f"arm {arm!r} has too few rows (or clusters) for three folds",
                column=self.overlap_.treatment,
                value=arm,
                advice="Use TLearner, or merge the arm with another.",
            )
        pairs = list(combinations(range(rows.n_folds), 2))
        pair_seed, effect_seed = spawn(seed, 2)
        first, chance = [], []
        with told_once("learner"):
            for (f, g), child in zip(pairs, spawn(pair_seed, len(pairs)), strict=True):
                learn = rows.learning(f) & rows.learning(g)
                one, two = spawn(child, 2)
                first.append(self._first(learner, rows, learn, one))
                chance.append(
                    fit_chances(
                        rows.z[learn],
                        rows.arm[learn],
                        rows.n_arms,
                        rows.weight[learn],
                        two,
                        chosen=self.overlap_.chosen,
                        propensity=self.propensity,
                        floor=self.clip,
                    )  # fmt: skip
                )
            effect = []
            for f, child in enumerate(spawn(effect_seed, rows.n_folds)):
                seen, odds = _nested(rows, f, pairs, first), _nested(rows, f, pairs, chance)
                effect.append(self._effects_without(f, final, rows, seen, odds, child))
        return ResidualModels(
            rows.n_folds, tuple(effect), tuple(first), tuple(chance), self._pairwise
        )

    def _effects_without(
        self, f: int, final: Any, rows: FoldedRows, first: np.ndarray, chance: np.ndarray, seed: Any
    ) -> tuple[Predict, ...]:
        found = []
        for k, child in enumerate(spawn(seed, rows.n_arms - 1), start=1):
            target, weight = self._targets(rows, k, first, chance)
            at = rows.learning(f) & (weight > 0)
            found.append(final.fit(rows.z[at], target[at], weight[at], child))
        return tuple(found)


def _nested(rows: FoldedRows, f: int, pairs: list[Pair], models: list) -> np.ndarray:
    """Each row's prediction by the model without fold f and the row's own; NaN inside fold f."""
    out = None
    for pair, model in zip(pairs, models, strict=True):
        if f in pair:
            at = rows.fold == (pair[0] if pair[1] == f else pair[1])
            found = model(rows.z[at])
            if out is None:
                out = np.full((len(rows.fold), found.shape[1]), np.nan)
            out[at] = found
    return out


@saveable
class RLearner(_Residual):
    """Effects that minimise the residual-on-residual loss.

        minimise over tau: sum ((Y - m(X)) - tau(X) (T - e(X)))^2,  m = E[Y | X],  e = P(T = 1 | X)

    as a regression of (Y - m) / (T - e) with weights (T - e)^2, both nuisances from other rows.
    Errors of m and e cancel to first order, and tau may be simpler than the outcomes. With more
    arms each is compared with the first among the rows of the two. Prefer
    :class:`NonParamDRLearner` where outcomes are easier to learn than propensities, and
    :class:`AIPW` for the average effect alone.

    Args:
        learner: For m: as for :class:`SLearner`.
        final: For tau: a name or a regressor that takes ``sample_weight``; None takes ``learner``.
        propensity: A scikit-learn classifier; None takes what predicted the arms best in the
            diagnosis of overlap.
        clip: Propensities stay this far from 0 and 1.
        n_folds: Folds left out in turn, at least 3.
        random_state: Seed of folds and learners.

    References:
        Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika
        108(2), 2021.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 2))
        >>> t = (rng.random(400) < 1 / (1 + np.exp(-x[:, 1]))).astype(int)
        >>> y = (1 + x[:, 0]) * t + np.sin(2 * x[:, 1]) + rng.normal(size=400)
        >>> effect = RLearner("auto", final="linear").fit(y, t, X=x).effect([[0, 0], [2, 0]])
        >>> bool(abs(effect - [1, 3]).max() < 0.7)
        True
    """

    _pairwise = True

    def __init__(
        self,
        learner: Any = "lightgbm",
        final: Any = None,
        propensity: Any = None,
        clip: float = 0.02,
        n_folds: int = 5,
        random_state: Seed = 0,
    ):
        self.learner = learner
        self.final = final
        self.propensity = propensity
        self.clip = clip
        self.n_folds = n_folds
        self.random_state = random_state

    def _first(self, learner, rows, learn, seed) -> PairwiseMean:
        models = []
        for k, child in enumerate(spawn(seed, rows.n_arms - 1), start=1):
            at = learn & np.isin(rows.arm, (0, k))
            models.append(learner.fit(rows.z[at], rows.y[at], rows.weight[at], child, rows.binary))
        return PairwiseMean(tuple(models))

    def _targets(self, rows, k, first, chance):
        rest = (rows.arm == k) - chance[:, k] / (chance[:, 0] + chance[:, k])
        weight = np.where(np.isin(rows.arm, (0, k)), rows.weight * rest**2, 0.0)
        return (rows.y - first[:, k - 1]) / rest, np.nan_to_num(weight)


@saveable
class NonParamDRLearner(_Residual):
    """Doubly robust pseudo-outcomes regressed on X by any learner.

        s_k = m_k(X) + 1{T = k} / e_k(X) (Y - m_k(X)),   tau_k(x) = E[s_k - s_0 | X = x]

    The pseudo-outcome's mean is right if either outcomes or propensities are, and tau may be
    simpler than the outcomes. Small propensities make it noisy: prefer :class:`RLearner` where
    overlap is thin. :class:`DRLearner` has a linear tau with exact intervals; :class:`AIPW` is for
    the average effect alone.

    Args:
        learner: For outcomes: as for :class:`SLearner`.
        final: For tau: a name or a regressor; None takes ``learner``.
        propensity: A scikit-learn classifier; None takes what predicted the arms best in the
            diagnosis of overlap.
        clip: Propensities stay this far from 0 and 1.
        n_folds: Folds left out in turn, at least 3.
        random_state: Seed of folds and learners.

    References:
        Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal effects",
        Electronic Journal of Statistics 17(2), 2023.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
        >>> y = (1 + x[:, 0]) * t + np.sin(2 * x[:, 1]) + rng.normal(size=400)
        >>> learner = NonParamDRLearner("auto", final="linear").fit(y, t, X=x)
        >>> bool(abs(learner.effect([[0, 0], [2, 0]]) - [1, 3]).max() < 0.7)
        True
    """

    def __init__(
        self,
        learner: Any = "lightgbm",
        final: Any = None,
        propensity: Any = None,
        clip: float = 0.05,
        n_folds: int = 5,
        random_state: Seed = 0,
    ):
        self.learner = learner
        self.final = final
        self.propensity = propensity
        self.clip = clip
        self.n_folds = n_folds
        self.random_state = random_state

    def _first(self, learner, rows, learn, seed):
        return fit_arms(learner, rows, learn, seed)

    def _targets(self, rows, k, first, chance):
        def score(arm: int) -> np.ndarray:
            rest = rows.y - first[:, arm]
            return first[:, arm] + (rows.arm == arm) / chance[:, arm] * rest

        return score(k) - score(0), rows.weight
