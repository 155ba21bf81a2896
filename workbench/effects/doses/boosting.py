"""S-learners for doses: one regression of the outcome on covariates and dose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.saving import saveable
from ...core.seeding import Seed, spawn
from ..base import EffectEstimator
from ..base_learners import base_learner
from ..folded import jackknife
from .base import DoseEstimator, Monotone
from .rows import DoseRows

_STEP = 1e-3  # of a slope by differences, for regressions that bend
_CELLS = 2_000_000  # rows predicted at once


@saveable
@dataclass(frozen=True, eq=False)
class FoldedCurves:
    """One regression of y on (z, t) per fold left out; the answer is their mean.

    Attributes:
        predict: F functions of (m, p + 1), the dose last.
        step: Half the distance over which a slope is taken.
    """

    predict: list[Any]
    step: float

    def by_fold(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t) of each regression, (F, m, G)."""
        found = np.empty((len(self.predict), len(z), t.shape[1]))
        few = max(1, _CELLS // max(1, t.shape[1]))
        for part in np.array_split(np.arange(len(z)), max(1, -(-len(z) // few))):
            doses = np.broadcast_to(t if len(t) == 1 else t[part], (len(part), t.shape[1]))
            inputs = np.column_stack([np.repeat(z[part], t.shape[1], axis=0), doses.reshape(-1)])
            for f, predict in enumerate(self.predict):
                found[f, part] = predict(inputs).reshape(doses.shape)
        return found

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""
        return self.by_fold(z, t).mean(axis=0)

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t by central differences, one-sided at the ends of the range, (m, G)."""
        # Trees are level beyond the doses they have seen: a step out there halves the slope.
        up = np.where(t <= 1, np.minimum(t + self.step, 1), t + self.step)
        down = np.where(t >= 0, np.maximum(t - self.step, 0), t - self.step)
        return (self.levels(z, up) - self.levels(z, down)) / (up - down)

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Delete-a-group jackknife, (m, G): sampling noise, no bias."""
        found = self.by_fold(z, t)
        return jackknife(found if base is None else found - self.by_fold(z, base))

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """The same of the weighted mean over rows, (G,)."""
        found = self.by_fold(z, t)
        found = found if base is None else found - self.by_fold(z, np.array([[base]]))
        return jackknife(np.einsum("n,fng->fg", weight / weight.sum(), found))


@saveable
class DoseSLearner(DoseEstimator):
    """One regression of the outcome on (x, dose), averaged over folds.

    mu(x, t) = E[Y | X = x, T = t] by any learner. Trees are good where doses are hardly confounded
    and useless where they are: they split on whatever predicts, and can't tell the dose from what
    decides it. Trees give steps, whose slopes are taken over a twentieth of the range. Prefer
    :class:`DoseStack`.

    Args:
        learner: ``"lightgbm"``, ``"linear"``, ``"spline"``, ``"auto"``, or a scikit-learn
            regressor.
        n_folds: Regressions, each without one fold.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        random_state: Seed.

    References:
        Künzel, Sekhon, Bickel and Yu, "Metalearners for estimating heterogeneous treatment
        effects using machine learning", PNAS 116(10), 2019.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, dose = rng.normal(size=(200, 1)), rng.random(200)
        >>> fitted = DoseSLearner("spline").fit(x[:, 0] + dose**2, dose, X=x)
        >>> bool(abs(fitted.effect([[0.0]], T0=0.2, T1=0.8)[0] - 0.6) < 0.1)
        True
    """

    def __init__(
        self,
        learner: Any = "lightgbm",
        n_folds: int = 5,
        monotone: Monotone = None,
        random_state: Seed = 0,
    ):
        self.learner = learner
        self.n_folds = n_folds
        self.monotone = monotone
        self.random_state = random_state

    def for_refuting(self) -> EffectEstimator:
        """Itself: it is fast."""
        return self

    def _fit_doses(self, rows: DoseRows, seed: np.random.SeedSequence) -> FoldedCurves:
        learner = base_learner(self.learner)
        inputs = np.column_stack([rows.z, rows.t])
        models = []
        for f, own in enumerate(spawn(seed, rows.n_folds)):
            part = rows.fold != f
            models.append(learner.fit(inputs[part], rows.y[part], rows.weight[part], own))
        smooth = self.learner in ("linear", "spline") if isinstance(self.learner, str) else False
        return FoldedCurves(models, _STEP if smooth else 0.025)

    def _freedom(self) -> float:
        return float(len(self.model_.predict) - 1)
