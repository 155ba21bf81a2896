"""How likely a recommendation fails: noisy implementation, a model that moves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..core.errors import ParameterError
from ..core.parameters import require_one_of
from ..core.seeding import generator
from .noise import Noise, turned_down
from .problem import RecourseProblem
from .robust_linear import Fixed, Robust

_HOW = ("closed form", "simulated")


def invalidation_probability(
    problem: RecourseProblem,
    df: pd.DataFrame,
    *,
    sigma: float | Mapping[str, float] = 0.0,
    shift: float | np.ndarray = 0.0,
    how: str | None = None,
    draws: int = 8192,
    random_state: int = 0,
) -> pd.Series:
    """Chance that each row is turned down once noise or a shift of the model has had its way.

    Closed form, for linear models with decision f(m) = w m + b over their own inputs m:
    Phi(-f / s) with s^2 = sum_j (slope_j sigma_j)^2 for noise on actions, and
    s^2 = (m, 1)' Sigma (m, 1) for weights that become N(w, Sigma). Simulated, for any model: the
    share of Sobol draws of noise that are turned down; of a shift, the share of drawn linear
    models. With both at once the product of the two Gaussians has no closed form: simulate.

    Args:
        problem: Model, target and what is actionable.
        df: Rows as they are recommended, e.g. ``plan.recommended``.
        sigma: As in :class:`PROBE`.
        shift: Standard deviation of every weight and of the intercept, over the model's own
            inputs, or their covariance ``(M + 1, M + 1)``, the intercept last. Linear models only.
        how: ``"closed form"`` or ``"simulated"``; by default the closed form where there is one.
        draws: Of the simulation; its standard error is at most 0.5 / sqrt(draws).
        random_state: Of the simulation.

    Returns:
        One chance per row, by the caller's index; NaN where a cell is empty.

    Raises:
        ParameterError: A covariance of another shape; a shift and noise in closed form.
        QuestionError: A shift, or the closed form, of a model that is not linear.

    Example:
        >>> import pandas as pd
        >>> from sklearn.svm import LinearSVC
        >>> df = pd.DataFrame({"a": [-2.0, -1.0, 1.0, 2.0]})
        >>> model = LinearSVC().fit(df, [0, 0, 1, 1])
        >>> problem = RecourseProblem(model, data=df, target={"above": 0}, scale={"a": 1})
        >>> invalidation_probability(problem, df, sigma=1.0).round(3).tolist()
        [0.977, 0.841, 0.159, 0.023]
    """
    if how is not None:
        require_one_of("how", how, _HOW)
    codes = problem.space.codes(df)
    full = ~np.isnan(codes).any(axis=1)
    noise, shifted = Noise.of(problem, sigma), bool(np.any(shift))
    is_linear = problem.view.inside.find("linear") is not None
    both = shifted and bool(noise.sd.any())
    if how is None:
        how = "closed form" if is_linear and not both else "simulated"
    if how == "closed form" and both:
        raise ParameterError(
            "noise and a shift together have no closed form",
            column="how",
            value=how,
            advice="Use how='simulated'.",
        )
    chance = np.full(len(codes), np.nan)
    if not shifted and how == "simulated":
        drawn = noise.draws(draws, random_state)
        chance[full] = turned_down(problem, codes[full], drawn) / len(drawn)
    else:
        robust = Robust.of(problem, Fixed(0.0))
        covariance = _covariance(shift, len(robust.weights))
        if how == "closed form":
            chance[full] = _closed(problem, robust, codes[full], noise, covariance)
        else:
            chance[full] = _simulated(
                problem, robust, codes[full], noise, covariance, draws, random_state
            )
    return pd.Series(chance, index=df.index, name="invalidation probability")


def _covariance(shift: float | np.ndarray, size: int) -> np.ndarray:
    shift = np.asarray(shift, dtype=float)
    if shift.ndim == 0:
        if not (np.isfinite(shift) and shift >= 0):
            raise ParameterError("must be zero or more", column="shift", value=shift.item())
        return np.eye(size + 1) * shift**2
    if shift.shape != (size + 1, size + 1):
        raise ParameterError(
            f"must be a number or a covariance of shape {(size + 1, size + 1)}",
            column="shift",
            value=shift.shape,
            advice="One row per input of the model, the intercept last.",
        )
    least = np.linalg.eigvalsh((shift + shift.T) / 2).min()
    if not np.allclose(shift, shift.T) or least < -1e-9 * (1.0 + np.abs(shift).max()):
        raise ParameterError("must be symmetric without negative eigenvalues", column="shift")
    return shift


def _inputs(robust: Robust, design: np.ndarray) -> np.ndarray:
    """The model's inputs and a one for the intercept."""
    return np.hstack([robust.inputs(design), np.ones((len(design), 1))])


def _closed(
    problem: RecourseProblem,
    robust: Robust,
    codes: np.ndarray,
    noise: Noise,
    covariance: np.ndarray,
) -> np.ndarray:
    from scipy.special import ndtr

    design = problem.space.design(codes)
    inputs = _inputs(robust, design)
    places = [slot.start for slot in problem.space.slots]
    slope = (robust.weights @ robust.inputs.matrix)[places]
    sd = np.sqrt(((slope * noise.sd) ** 2).sum() + ((inputs @ covariance) * inputs).sum(axis=1))
    score = robust.nominal(design)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ndtr(-score / sd)
    certain = ~problem.accepts(problem.score(codes))
    return np.where(sd > 0, chance, certain.astype(float))


def _simulated(
    problem: RecourseProblem,
    robust: Robust,
    codes: np.ndarray,
    noise: Noise,
    covariance: np.ndarray,
    draws: int,
    seed: int,
) -> np.ndarray:
    """The share of draws of (noise, weights) under which the decision is not beyond the target."""
    moved = noise.draws(draws, seed)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = generator(seed).normal(size=(len(moved), len(covariance)))
    weights = np.append(robust.weights, robust.start) + normal @ root.T
    chance = np.empty(len(codes))
    for i, row in enumerate(codes):
        inputs = _inputs(robust, problem.space.design(row + moved))
        chance[i] = ((inputs * weights).sum(axis=1) <= 0).mean()
    return chance


def shift_invalidation(
    weights: np.ndarray,
    shifted: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
    *,
    given_valid: bool = False,
) -> float:
    """Chance that a recourse point is accepted today and turned down by a given later model.

    For points x ~ N(mean, covariance), u = w (x, 1) and v = w' (x, 1) are bivariate normal, so that
    P(u > 0, v <= 0) = Phi(-mean_v / sd_v) - Phi_2(-mean_u / sd_u, -mean_v / sd_v; rho), exactly.
    It replaces the published lower bound, which does not depend on the shift.

    Args:
        weights, shifted: ``(d + 1,)``, today's and later; the intercept last.
        mean, covariance: Of the points, ``(d,)`` and ``(d, d)``.
        given_valid: Divide by P(u > 0): the chance among points that are accepted today.

    Example:
        >>> w = np.array([1.0, 0.0, 0.0])
        >>> later = np.array([0.0, 1.0, 0.0])
        >>> round(shift_invalidation(w, later, np.zeros(2), np.eye(2)), 3)
        0.25
    """
    from scipy.stats import multivariate_normal, norm

    both = np.stack([np.asarray(weights, dtype=float), np.asarray(shifted, dtype=float)])
    mean, covariance = np.asarray(mean, dtype=float), np.asarray(covariance, dtype=float)
    if both.shape[1] != len(mean) + 1 or covariance.shape != (len(mean), len(mean)):
        raise ParameterError(
            f"has {both.shape[1]} entries for points of {len(mean)} numbers and an intercept",
            column="weights",
        )
    center = both[:, :-1] @ mean + both[:, -1]
    spread = both[:, :-1] @ covariance @ both[:, :-1].T
    if not (np.diag(spread) > 0).all():
        raise ParameterError("gives the points no spread along the weights", column="covariance")
    low = -center / np.sqrt(np.diag(spread))
    rho = spread[0, 1] / np.sqrt(spread[0, 0] * spread[1, 1])
    rho = float(np.clip(rho, -1.0, 1.0))
    below = multivariate_normal(np.zeros(2), [[1.0, rho], [rho, 1.0]], allow_singular=True).cdf(low)
    joint = max(float(norm.cdf(low[1]) - below), 0.0)
    return joint / float(norm.sf(low[0])) if given_valid else joint
