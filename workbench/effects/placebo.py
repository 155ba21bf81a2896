"""Negative controls: effects that can't exist, estimated in the same way as the one that may."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..core.errors import ParameterError, QuestionError, WorkbenchError, unrecorded
from ..core.results import interval, number
from ..core.seeding import Seed
from ..tables.effect_data import EffectData, effect_data
from ..tables.gate import align, as_frame
from .base import EffectEstimator, fresh
from .judge import as_estimator, check_alpha, span
from .refute import Refutation, Refutations


def placebo_outcome(
    estimator: EffectEstimator | str,
    placebo: Any,
    T: Any,
    *,
    Y: Any = None,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    T0: Any = None,
    T1: Any = None,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> Refutations:
    """Estimate the effect on outcomes that the treatment can't change: it should be none.

    A negative-control outcome shares the confounders of the real one and is out of the
    treatment's reach (measured before it, or of another mechanism). What is found there is bias
    that the real estimate may hold as well.

    ``failed``: the interval excludes zero (jointly over the columns, Bonferroni). ``doubtful``:
    it holds zero, but also an effect as large as the real one in standard deviations of the
    outcome, so that the test could not have seen such a bias; or it could not be run.
    ``passed`` otherwise; without ``Y`` size can't be judged, and only zero is asked for.

    Args:
        estimator: An effect estimator or its name; it is copied, never changed.
        placebo: Column(s) with negative-control outcomes: a Series, DataFrame or array.
        T, X, W, sample_weight, groups: As for ``fit``; the same as for the real estimate.
        Y: The real outcome, to compare sizes with.
        T0, T1: The contrast.
        alpha: One minus the confidence level.
        random_state: Seed of an estimator given by name.

    Returns:
        One :class:`Refutation` per column, with ``spread`` the standard error.

    References:
        Lipsitch, Tchetgen Tchetgen and Cohen, "Negative controls: a tool for detecting
        confounding and bias in observational studies", Epidemiology 21(3), 2010.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> age = rng.normal(size=400)
        >>> t = (rng.random(400) < 1 / (1 + np.exp(-age))).astype(int)
        >>> teeth = pd.Series(rng.normal(size=400), name="teeth")
        >>> placebo_outcome("AIPW", teeth, t, W=age).outcome
        'passed'
    """
    options = {"X": X, "W": W, "sample_weight": sample_weight, "groups": groups}
    made = _checked(estimator, alpha, random_state)

    def data_of(column: Any) -> EffectData:
        return effect_data(column, T, discrete_treatment=made.takes_arms(), **options)

    real = None if Y is None else _standardised(made, data_of(Y), T0, T1)
    return _controls("outcome", made, placebo, data_of, real, T0, T1, alpha)


def placebo_treatment(
    estimator: EffectEstimator | str,
    Y: Any,
    placebo: Any,
    *,
    T: Any = None,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> Refutations:
    """Estimate the effect of treatments that can't change the outcome: it should be none.

    A negative-control treatment shares the confounders of the real one and can't reach the
    outcome (given after it, or of no such mechanism). Where the real treatment ``T`` is given it
    is adjusted for too, so that a placebo that goes along with it is not blamed. Shuffled
    treatments are among the refuters of :func:`refute`.

    Verdicts as :func:`placebo_outcome`, with the effect of ``T`` as the real one.

    Args:
        estimator: An effect estimator or its name; it is copied, never changed.
        Y, X, W, sample_weight, groups: As for ``fit``.
        placebo: Column(s) with negative-control treatments; first against second arm, or one
            unit of a dose.
        T: The real treatment.
        alpha: One minus the confidence level.
        random_state: Seed of an estimator given by name.

    References:
        Lipsitch, Tchetgen Tchetgen and Cohen, "Negative controls: a tool for detecting
        confounding and bias in observational studies", Epidemiology 21(3), 2010.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> t, later = rng.integers(0, 2, (2, 400))
        >>> y = t + rng.normal(size=400)
        >>> placebo_treatment("AIPW", y, pd.Series(later, name="later"), T=t).outcome
        'passed'
    """
    options = {"X": X, "sample_weight": sample_weight, "groups": groups}
    made = _checked(estimator, alpha, random_state)
    beside = _beside(W, T)

    def data_of(column: Any) -> EffectData:
        return effect_data(Y, column, W=beside, discrete_treatment=made.takes_arms(), **options)

    real = None
    if T is not None:
        data = effect_data(Y, T, W=W, discrete_treatment=made.takes_arms(), **options)
        real = _standardised(made, data, None, None)
    return _controls("treatment", made, placebo, data_of, real, None, None, alpha)


def _checked(estimator: Any, alpha: float, random_state: Seed) -> EffectEstimator:
    check_alpha(alpha)
    made = as_estimator(estimator, random_state)
    if not made.intervals:
        raise QuestionError(
            "has no intervals, so that no effect can't be told from some",
            column=type(made).__name__,
            advice="Use AIPW or LinearDML.",
        )
    return made


def _beside(W: Any, T: Any) -> Any:
    """The adjustment columns with the real treatment as one more."""
    if T is None:
        return W
    treatment, _ = as_frame(T, "treatment", "treatment")
    if W is None:
        return treatment
    frame, _ = as_frame(W, "adjustment columns W", "W")
    by_label = all(isinstance(v, pd.DataFrame | pd.Series) for v in (T, W))
    if by_label or len(frame) != len(treatment):
        treatment = align(frame, treatment, "T", "W")
    elif isinstance(T, pd.DataFrame | pd.Series):
        frame = frame.set_axis(treatment.index)
    name = str(treatment.columns[0])
    name += " (treatment)" * (name in frame)
    return frame.assign(**{name: treatment.iloc[:, 0].array})


def _standardised(
    estimator: EffectEstimator, data: EffectData, T0: Any, T1: Any
) -> tuple[float, float]:
    """The effect, and the effect in standard deviations of the outcome."""

    with unrecorded():
        value = fresh(estimator).fit_data(data).average_effect(T0=T0, T1=T1).value
    return value, value / float(data.y.std())


def _controls(
    kind: str,
    estimator: EffectEstimator,
    placebo: Any,
    data_of: Any,
    real: tuple[float, float] | None,
    T0: Any,
    T1: Any,
    alpha: float,
) -> Refutations:
    frame, named = as_frame(placebo, f"placebo {kind}", "placebo")
    if not frame.shape[1]:
        raise ParameterError("holds no column", column="placebo")
    labelled = isinstance(placebo, pd.DataFrame | pd.Series)
    items = []
    for name in frame.columns:
        column = frame[name] if labelled else frame[name].to_numpy()
        label = f"placebo {kind} {name}" if named or frame.shape[1] > 1 else f"placebo {kind}"
        data = data_of(column)
        items.append(_control(label, estimator, data, real, T0, T1, alpha / frame.shape[1]))
    return Refutations(tuple(items))


def _control(
    label: str,
    estimator: EffectEstimator,
    data: EffectData,
    real: tuple[float, float] | None,
    T0: Any,
    T1: Any,
    alpha: float,
) -> Refutation:
    from scipy.special import stdtr

    value = float("nan") if real is None else real[0]
    try:
        with unrecorded():
            fitted = fresh(estimator).fit_data(data)
            found = fitted._with_error(fitted.average_effect(T0=T0, T1=T1))
    except WorkbenchError as error:
        said = f"It could not be run: {error}"
        return Refutation(label, "doubtful", said, value, *[float("nan")] * 4)
    low, high = span(found.value, found.se, found.df, alpha)
    unit = float(data.y.std())
    p_value = float(2 * stdtr(min(found.df, 1e9), -abs(found.value) / found.se))
    subject = "Its effect" if label.startswith("placebo treatment") else "The effect on it"
    seen = f"{subject} was {number(found.value)} ({interval(low, high)}) where 0 was expected"
    if not low <= 0 <= high:
        outcome, said = "failed", f"{seen}: bias of this kind may be in the estimate as well"
    elif real is not None and max(-low, high) >= abs(real[1]) * unit:
        outcome = "doubtful"
        said = f"{seen}; an effect as large as the real one would have gone unseen"
    else:
        outcome = "passed"
        said = f"{seen}; more than {number(max(-low, high) / unit)} sd would have been seen"
    return Refutation(label, outcome, f"{said}.", value, 0.0, found.value, float(found.se), p_value)
