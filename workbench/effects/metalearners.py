"""S-, T- and X-learner: effects as differences of regressions, by any learner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from .base_learners import ArmChances, base_learner, fit_chances, told_once
from .folded import FoldedLearner, FoldedRows
from .nuisance import Predict

_UNPENALISED = 30.0


def levels(mean: np.ndarray, effects: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Outcomes of all arms with given differences and given average E[Y | z].

    mu_k = mean - sum_j e_j tau_j + tau_k; mean (F, m), effects and chance (F, m, K).
    """
    return (mean - (chance * effects).sum(axis=-1))[..., None] + effects


@saveable
@dataclass(frozen=True)
class ArmOutcomes:
    """E[Y | z, arm] from one model per arm, or from one model that sees the arm as columns."""

    models: tuple[Predict, ...]
    n_arms: int
    binary: bool
    crossed: bool = False

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """Outcomes under each arm, (m, K)."""
        if len(self.models) == self.n_arms:
            found = np.column_stack([model(z) for model in self.models])
        else:
            codes = np.eye(self.n_arms)[:, 1:]
            found = np.column_stack(
                [self.models[0](with_arm(z, code, self.crossed)) for code in codes]
            )
        return np.clip(found, 0.0, 1.0) if self.binary else found


def with_arm(z: np.ndarray, code: np.ndarray, crossed: bool = False) -> np.ndarray:
    """Covariates and arm (columns against the first arm) side by side.

    ``crossed`` is for linear models: with products of arm and covariates, without which everybody
    has the same effect, and with arm columns so large that a penalty leaves them alone.
    """
    code = np.broadcast_to(code, (len(z), code.shape[-1]))
    if not crossed:
        return np.hstack([z, code])
    products = (code[:, :, None] * z[:, None, :]).reshape(len(z), -1)
    return np.hstack([z, _UNPENALISED * code, products])


def fit_arms(
    learner: Any, rows: FoldedRows, learn: np.ndarray, seed: np.random.SeedSequence
) -> ArmOutcomes:
    """One regression per arm on the rows of a mask."""
    models = []
    for k, child in enumerate(spawn(seed, rows.n_arms)):
        at = learn & (rows.arm == k)
        if not at.any():  # an arm of two rows: all that is known is the others' level
            at = learn
        models.append(learner.fit(rows.z[at], rows.y[at], rows.weight[at], child, rows.binary))
    return ArmOutcomes(tuple(models), rows.n_arms, rows.binary)


@saveable
@dataclass(frozen=True)
class OutcomeModels:
    """Per fold left out, the outcomes of all arms; effects are their differences."""

    by_fold: tuple[ArmOutcomes, ...]

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        return np.stack([model(z) for model in self.by_fold])

    def effects(self, z: np.ndarray) -> np.ndarray:
        found = self.outcomes(z)
        return found - found[..., :1]


@saveable
class SLearner(FoldedLearner):
    """One regression of the outcome on covariates and arm; the effect is a difference of two
    predictions.

        tau_k(x) = m(x, k) - m(x, 0),   m(x, t) = E[Y | X = x, T = t]

    A learner that shrinks or selects may shrink the effect to 0: prefer :class:`TLearner` or
    :class:`XLearner` where effects are large or arms behave differently, and :class:`AIPW` for
    the average effect alone.

    Args:
        learner: ``"lightgbm"``, ``"linear"`` (ridge or logistic, here with products of arm and
            covariates and no penalty on the arm itself), ``"spline"``, ``"auto"`` (the
            best of them by inner cross-validation), or a scikit-learn regressor; for an outcome
            of two values also a classifier with ``predict_proba``. It sees standardised
            covariates, and its ``random_state`` is set from this one's.
        n_folds: Folds left out in turn, each with a fit of its own.
        random_state: Seed of folds and learners.

    References:
        Künzel, Sekhon, Bickel and Yu, "Metalearners for estimating heterogeneous treatment
        effects using machine learning", PNAS 116(10), 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=(400, 2)), rng.integers(0, 2, 400)
        >>> y = 2 * t * (x[:, 0] > 0) + x[:, 1] + rng.normal(size=400)
        >>> low, high = SLearner().fit(y, t, X=x).effect([[-1.0, 0.0], [1.0, 0.0]])
        >>> bool(low < 0.7 < 1.3 < high)
        True
    """

    def __init__(self, learner: Any = "lightgbm", n_folds: int = 5, random_state: Seed = 0):
        self.learner = learner
        self.n_folds = n_folds
        self.random_state = random_state

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> OutcomeModels:
        learner, rows = base_learner(self.learner), rows.arranged()
        crossed = isinstance(self.learner, str) and self.learner == "linear"
        design = with_arm(rows.z, np.eye(rows.n_arms)[rows.arm, 1:], crossed)
        found = []
        with told_once("learner"):
            for k, child in enumerate(spawn(seed, rows.n_folds)):
                at = rows.learning(k)
                model = learner.fit(design[at], rows.y[at], rows.weight[at], child, rows.binary)
                found.append(ArmOutcomes((model,), rows.n_arms, rows.binary, crossed))
        return OutcomeModels(tuple(found))


@saveable
class TLearner(FoldedLearner):
    """One regression of the outcome per arm; the effect is the difference of their predictions.

        tau_k(x) = m_k(x) - m_0(x),   m_k(x) = E[Y | X = x, T = k]

    Arms of different size are smoothed differently, and that difference looks like an effect:
    prefer :class:`XLearner` where one arm is small and :class:`RLearner` or
    :class:`NonParamDRLearner` where effects are simpler than outcomes.

    Args:
        learner: As for :class:`SLearner`.
        n_folds: Folds left out in turn, each with a fit of its own.
        random_state: Seed of folds and learners.

    References:
        Künzel, Sekhon, Bickel and Yu, "Metalearners for estimating heterogeneous treatment
        effects using machine learning", PNAS 116(10), 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=(400, 1)), rng.integers(0, 2, 400)
        >>> y = (1 + x[:, 0]) * t + rng.normal(size=400)
        >>> effect = TLearner("linear").fit(y, t, X=x).effect([[0.0], [2.0]])
        >>> bool(abs(effect - [1, 3]).max() < 0.5)
        True
    """

    def __init__(self, learner: Any = "lightgbm", n_folds: int = 5, random_state: Seed = 0):
        self.learner = learner
        self.n_folds = n_folds
        self.random_state = random_state

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> OutcomeModels:
        learner, rows = base_learner(self.learner), rows.arranged()
        with told_once("learner"):
            found = [
                fit_arms(learner, rows, rows.learning(k), child)
                for k, child in enumerate(spawn(seed, rows.n_folds))
            ]
        return OutcomeModels(tuple(found))


@saveable
@dataclass(frozen=True)
class CrossedModels:
    """Per fold left out: outcomes, propensities, and the two effects of each arm but the first.

    Attributes:
        outcome: E[Y | z, arm].
        chance: P(arm | z).
        from_control, from_treated: Effects of arms 1, 2, ... learned among controls and treated.
    """

    outcome: tuple[ArmOutcomes, ...]
    chance: tuple[ArmChances, ...]
    from_control: tuple[tuple[Predict, ...], ...]
    from_treated: tuple[tuple[Predict, ...], ...]

    def effects(self, z: np.ndarray) -> np.ndarray:
        return np.stack([self._effects(f, z, self.chance[f](z)) for f in range(len(self.chance))])

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        found = []
        for f, outcome in enumerate(self.outcome):
            chance = self.chance[f](z)
            mean = (chance * outcome(z)).sum(axis=1)
            found.append(levels(mean, self._effects(f, z, chance), chance))
        return np.stack(found)

    def _effects(self, f: int, z: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """tau_k = e tau_control + (1 - e) tau_treated, e = P(k | arm is 0 or k); (m, K)."""
        columns = [np.zeros(len(z))]
        for k, (control, treated) in enumerate(
            zip(self.from_control[f], self.from_treated[f], strict=True), start=1
        ):
            e = chance[:, k] / (chance[:, 0] + chance[:, k])
            columns.append(e * control(z) + (1 - e) * treated(z))
        return np.column_stack(columns)


@saveable
class XLearner(FoldedLearner):
    """Each arm's model imputes the other arm's missing outcomes; the imputed effects are regressed.

        treated: D = Y - m_0(X),   control: D = m_1(X) - Y,   tau_a(x) = E[D | X = x, T = a]
        tau(x) = e(x) tau_0(x) + (1 - e(x)) tau_1(x),   e(x) = P(T = 1 | X = x)

    Of the two effects the one that is learned with the larger arm's outcome model weighs most,
    which is what helps where one arm is small. An imputed outcome never comes from a model that
    saw the row's own. With more arms each is compared with the first. Prefer :class:`AIPW` for the
    average effect alone.

    Args:
        learner: For outcomes: as for :class:`SLearner`.
        final: For the imputed effects: a name or a regressor; None takes ``learner``.
        propensity: A scikit-learn classifier; None takes what predicted the arms best in the
            diagnosis of overlap.
        n_folds: Folds left out in turn, each with fits of its own.
        random_state: Seed of folds and learners.

    References:
        Künzel, Sekhon, Bickel and Yu, "Metalearners for estimating heterogeneous treatment
        effects using machine learning", PNAS 116(10), 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=(400, 2)), (rng.random(400) < 0.2).astype(int)
        >>> y = (1 + x[:, 0]) * t + x[:, 1] ** 2 + rng.normal(size=400)
        >>> effect = XLearner("auto").fit(y, t, X=x).effect([[-1.0, 0.0], [1.0, 0.0]])
        >>> bool(effect[0] < 1 < effect[1])
        True
    """

    def __init__(
        self,
        learner: Any = "lightgbm",
        final: Any = None,
        propensity: Any = None,
        n_folds: int = 5,
        random_state: Seed = 0,
    ):
        self.learner = learner
        self.final = final
        self.propensity = propensity
        self.n_folds = n_folds
        self.random_state = random_state

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> CrossedModels:
        learner, rows = base_learner(self.learner), rows.arranged()
        final = learner if self.final is None else base_learner(self.final, "final")
        found: list[tuple] = []
        with told_once("learner"):
            for fold, child in enumerate(spawn(seed, rows.n_folds)):
                first, chances, second = spawn(child, 3)
                learn = rows.learning(fold)
                outcome = fit_arms(learner, rows, learn, first)
                chance = fit_chances(
                    rows.z[learn], rows.arm[learn], rows.n_arms, rows.weight[learn], chances,
                    chosen=self.overlap_.chosen, propensity=self.propensity,
                )  # fmt: skip
                effects = _imputed_effects(final, rows, learn, outcome(rows.z), second)
                found.append((outcome, chance, *effects))
        return CrossedModels(*(tuple(part) for part in zip(*found, strict=True)))


def _imputed_effects(
    final: Any,
    rows: FoldedRows,
    learn: np.ndarray,
    outcome: np.ndarray,
    seed: np.random.SeedSequence,
) -> tuple[tuple[Predict, ...], tuple[Predict, ...]]:
    """The regressions of imputed effects among controls and among treated, per arm but the first.

    A row's imputed outcome is that of the arm it did not receive, whose model never saw the row.
    """
    control, treated = [], []
    children = spawn(seed, rows.n_arms)
    for k in range(1, rows.n_arms):
        seeds = spawn(children[k], 2)
        for found, arm, effect, child in (
            (control, 0, outcome[:, k] - rows.y, seeds[0]),
            (treated, k, rows.y - outcome[:, 0], seeds[1]),
        ):
            at = learn & (rows.arm == arm)
            found.append(final.fit(rows.z[at], effect[at], rows.weight[at], child))
    return tuple(control), tuple(treated)
