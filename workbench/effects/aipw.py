"""Augmented inverse-propensity weighting: the default where the treatment has arms."""

from __future__ import annotations

import numpy as np

from ..core.errors import ParameterError, warn
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from ..tables.gate import Table, count
from .arm_scores import ArmScores, within_range
from .base import EffectEstimator, Estimate
from .design import content_rank, independent, modifier_encoder, nuisance_inputs
from .nuisance import Basis, cross_fit, fold_ids, propensities
from .sandwich import covariance, least_squares


@saveable
class AIPW(EffectEstimator):
    """Doubly robust, cross-fitted effects of two or more arms.

    Each row gets for each arm k the score

        s_k = m_k(z) + 1{T = k} / e_k(z) * (Y - m_k(z)),

    with m_k = E[Y | z, T = k] and e_k = P(T = k | z) learned on other rows (chosen by out-of-fold
    loss among ridge, splines with products, and boosted trees). The mean of s_1 - s_0 is the
    average effect, consistent if either nuisance is; its standard deviation over sqrt(n) is the
    efficient standard error. With modifiers X the scores are regressed on X: effects are the best
    linear predictor of the conditional effect.

    Prefer :class:`CausalForestDML` for effects that bend with X, :class:`LinearDML` for doses.

    Args:
        clip: Propensities below this are raised to it; the rows concerned are named.
        n_folds: Folds of the cross-fit.
        n_repeats: Cross-fits over different folds whose scores are averaged.
        random_state: Seed of folds and trees.

    Attributes:
        scores_: The :class:`~workbench.effects.arm_scores.ArmScores`.
        clipped_: Labels of the rows whose own arm had a propensity below ``clip``.
        nuisances_: What predicts each arm and each arm's outcome.

    References:
        Robins, Rotnitzky and Zhao, "Estimation of regression coefficients when some regressors
        are not always observed", JASA 89, 1994. Chernozhukov et al., "Double/debiased machine
        learning for treatment and structural parameters", Econometrics Journal 21, 2018.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> z = rng.normal(size=(500, 2))
        >>> t = (rng.random(500) < 1 / (1 + np.exp(-z[:, 0]))).astype(int)
        >>> y = 2 * t + z[:, 0] + rng.normal(size=500)
        >>> low, high = AIPW().fit(y, t, W=z).ate_interval()
        >>> bool(low < 2 < high)
        True
    """

    treatment = "discrete"
    defines_att = True
    assumes = "either the outcome models or the propensities are learned well enough"

    def __init__(
        self, clip: float = 0.01, n_folds: int = 5, n_repeats: int = 1, random_state: Seed = 0
    ):
        self.clip = clip
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.random_state = random_state

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        self._check_parameters()
        n = len(data)
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        z = nuisance_inputs(data)
        basis = Basis.fit(z)
        fits = [
            self._nuisances(data, z, basis, weight, child, repeat)
            for repeat, child in enumerate(spawn(seed, self.n_repeats))
        ]
        clipped = np.zeros(n, dtype=bool)
        for chance, _ in fits:
            clipped |= chance[np.arange(n), data.t] < self.clip
        self.scores_ = ArmScores.averaged(data, fits, self.clip)
        self._keep_modifiers(data, self.scores_.score, weight)
        self.clipped_ = tuple(data.index[clipped])
        if clipped.any():
            shown = ", ".join(map(str, self.clipped_[:5]))
            warn(
                "clipped",
                f"{count(int(clipped.sum()), 'row')} had a propensity below {self.clip:g} for the "
                f"arm received and were weighted as if it were {self.clip:g} (first: {shown})",
                [data.t_name],
            )

    def _check_parameters(self) -> None:
        if not isinstance(self.clip, int | float) or not 0 < self.clip < 0.5:
            raise ParameterError("must lie between 0 and 0.5", column="clip", value=self.clip)
        for name, least in (("n_folds", 2), ("n_repeats", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ParameterError(f"must be an integer from {least}", column=name, value=value)

    def _nuisances(
        self,
        data: EffectData,
        z: np.ndarray,
        basis: Basis,
        weight: np.ndarray,
        seed: np.random.SeedSequence,
        repeat: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cross-fitted P(arm | z) and E[Y | z, arm], each (n, arms)."""
        fold_seed, arm_seed, outcome_seed = spawn(seed, 3)
        fold = fold_ids(
            len(data),
            self.n_folds,
            fold_seed,
            groups=data.groups,
            strata=data.t,
            rank=content_rank(data),
        )
        k = len(data.arms)
        if repeat == 0:  # the overlap diagnosis has cross-fitted them already
            chance, chosen = self.overlap_.score, self.overlap_.chosen
        else:
            chance, chosen = propensities(
                z, data.t, k, fold, weight=weight, basis=basis, random_state=arm_seed
            )
        low, high = data.y.min(), data.y.max()
        binary = bool(np.isin(data.y, (low, high)).all())
        shift, scale = (low, high - low) if binary else (data.y.mean(), data.y.std())
        fits = [
            cross_fit(
                z,
                (data.y - shift) / scale,
                fold,
                weight=weight,
                rows=data.t == a,
                binary=binary,
                basis=basis,
                random_state=outcome_seed,
            )
            for a in range(k)
        ]
        if repeat == 0:
            self.nuisances_ = {
                "treatment": chosen,
                **{f"outcome, arm {a!r}": f.chosen for a, f in zip(data.arms, fits, strict=True)},
            }
        outcome = np.column_stack([f.values for f in fits]) * scale + shift
        return chance, within_range(outcome, data)

    def _keep_modifiers(self, data: EffectData, score: np.ndarray, weight: np.ndarray) -> None:
        """Best linear predictor of each arm's score, with its sandwich covariance."""
        self.encoder_ = None
        if data.x is None:
            return
        self.encoder_ = modifier_encoder(data.x)
        encoded = self.encoder_.transform(data.x)
        self.columns_ = independent(encoded, self.encoder_.columns_, "effect modifiers X")
        design = np.hstack([np.ones((len(data), 1)), encoded[:, self.columns_]])
        self.coef_, influence = least_squares(design, score, weight)  # (p, arms), (n, p, arms)
        influence = influence.reshape(len(data), -1)
        shape = self.coef_.shape
        self.coef_cov_ = covariance(influence, data.groups).reshape(*shape, *shape)

    def _design(self, x: Table) -> np.ndarray:
        encoded = self.encoder_.transform(x)[:, self.columns_]
        return np.hstack([np.ones((len(encoded), 1)), encoded])

    def _effect(self, x: Table | None, t0: int, t1: int) -> np.ndarray:
        if x is None:
            return np.array([self.scores_.average(t0, t1).value])
        return self._design(x) @ (self.coef_[:, t1] - self.coef_[:, t0])

    def _effect_error(self, x: Table | None, t0: int, t1: int) -> tuple[np.ndarray, float]:
        freedom = self.scores_.freedom(t0, t1)
        if x is None:
            return np.array([self.scores_.average(t0, t1).se]), freedom
        cov = _contrast_cov(self.coef_cov_, t0, t1)
        design = self._design(x)
        variance = np.einsum("np,pq,nq->n", design, cov, design)
        return np.sqrt(np.maximum(variance, 0)), freedom

    def _ate(self, x: Table | None, t0: int, t1: int, weight: np.ndarray | None = None) -> Estimate:
        if x is None:
            return self.scores_.average(t0, t1)
        mean = np.average(self._design(x), axis=0, weights=weight)
        variance = mean @ _contrast_cov(self.coef_cov_, t0, t1) @ mean
        value = mean @ (self.coef_[:, t1] - self.coef_[:, t0])
        error = float(np.sqrt(max(variance, 0)))
        return Estimate(float(value), error, self.scores_.freedom(t0, t1))

    def _within(self, inside: np.ndarray, t0: int, t1: int, target: str) -> Estimate:
        return self.scores_.within(inside, t0, t1, target)

    def _att(self, t0: int, t1: int) -> Estimate:
        return self.scores_.on_treated(t0, t1)


def _contrast_cov(cov: np.ndarray, t0: int, t1: int) -> np.ndarray:
    return cov[:, t1, :, t1] + cov[:, t0, :, t0] - cov[:, t0, :, t1] - cov[:, t1, :, t0]
