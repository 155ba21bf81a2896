"""The E-value: how strong must a hidden confounder be, in risk ratios?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, ParameterError, QuestionError
from ..core.results import Result, number
from ..core.saving import saveable

if TYPE_CHECKING:
    from .effect_estimate import EffectEstimate

_PER_SD = 0.91  # log risk ratio per standard deviation of a continuous outcome


@saveable
@dataclass(frozen=True, repr=False)
class EValue(Result):
    """The answer of :func:`e_value`.

    Attributes:
        ratio, low, high: The risk ratio (or its approximation) with interval; NaN where unknown.
        value: E-value of the estimate.
        to_doubt: E-value of the end of the interval nearest to one; 1 if the interval holds one.
        approximate: Whether the ratio was made from a standardised difference.
    """

    ratio: float
    low: float
    high: float
    value: float
    to_doubt: float
    approximate: bool
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        end = (
            ""
            if math.isnan(self.to_doubt)
            else f"; {number(self.to_doubt)} is enough to let the interval reach it"
        )
        return (
            f"A hidden confounder must be tied to both treatment and outcome by risk ratios of "
            f"{number(self.value)} each, beyond all that was adjusted for, to explain the effect "
            f"away{end}."
        )

    def verdict(self) -> str:
        if self.to_doubt == 1:
            return "The interval holds no effect without any hidden confounder."
        if self.to_doubt < 1.25:
            return "A weak hidden confounder is enough to raise doubt."
        return "Is a confounder of that strength plausible here, in spite of what was adjusted for?"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row for the estimate, one for the nearest end of its interval."""
        nearest = self.low if self.ratio >= 1 else self.high
        rows = {
            "estimate": (self.ratio, self.value),
            "end of the interval": (nearest, self.to_doubt),
        }
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=["risk ratio", "E-value"]
        ).rename_axis("of")

    def how(self) -> dict[str, Any]:
        if not self.approximate:
            return {"risk ratio": number(self.ratio)}
        return {"risk ratio": f"about {number(self.ratio)} = exp(0.91 effect / sd)"}


def e_value(
    effect: float | EffectEstimate,
    low: float | None = None,
    high: float | None = None,
    *,
    sd: float | None = None,
) -> EValue:
    """The E-value of a risk ratio, of a difference in standard deviations, or of an estimate.

    E = RR + sqrt(RR (RR - 1)) for RR > 1, of 1 / RR below one: the least risk ratio by which a
    hidden confounder must be tied to treatment and to outcome, both, to explain RR away. A
    continuous outcome is first put as RR = exp(0.91 effect / sd).

    It needs no data, but says nothing on what is plausible: :func:`omitted_variable_bounds`
    compares with measured columns.

    Args:
        effect: A risk ratio; with ``sd`` a difference in units of the outcome; or an
            :class:`EffectEstimate`, whose risk ratio is taken from its arms' means (AIPW) for an
            outcome of two levels, and from the outcome's standard deviation otherwise.
        low, high: Its interval.
        sd: Standard deviation of a continuous outcome.

    Raises:
        ParameterError: A ratio or standard deviation that is not positive; low above high.
        QuestionError: An estimate from which no ratio follows.

    References:
        VanderWeele and Ding, "Sensitivity analysis in observational research: introducing the
        E-value", Annals of Internal Medicine 167(4), 2017.

    Example:
        >>> round(e_value(3.9, 1.8, 8.7).value, 2), round(e_value(3.9, 1.8, 8.7).to_doubt, 2)
        (7.26, 3.0)
    """
    warnings: tuple[CausalWarning, ...] = ()
    if not _is_number(effect):
        found, warnings = effect, getattr(effect, "warnings", ())
        effect, low, high, sd = _from_estimate(found, sd)
    ends = [float("nan") if v is None else float(v) for v in (low, high)]
    values = [float(effect), *ends]
    if (
        ends[0] > ends[1]
        or not (math.isnan(ends[0]) or ends[0] <= values[0])
        or (values[0] > ends[1])
    ):
        raise ParameterError("must hold the effect: low <= effect <= high", column="low, high")
    if sd is not None:
        if not _is_number(sd) or not 0 < sd < math.inf:
            raise ParameterError("must be positive", column="sd", value=sd)
        values = [math.exp(_PER_SD * v / sd) for v in values]
    if not 0 < values[0] < math.inf or any(v < 0 for v in values):
        raise ParameterError(
            "a risk ratio must be positive",
            column="effect",
            value=effect,
            advice="Pass sd for a difference of a continuous outcome.",
        )
    ratio, below, above = values
    nearest = below if ratio >= 1 else above
    crosses = (ratio >= 1 and below <= 1) or (ratio < 1 and above >= 1)
    return EValue(
        ratio=ratio,
        low=below,
        high=above,
        value=_value(ratio),
        to_doubt=1.0 if crosses else _value(nearest),
        approximate=sd is not None,
        warnings=warnings,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _value(ratio: float) -> float:
    if math.isnan(ratio):
        return ratio
    ratio = ratio if ratio >= 1 else 1 / ratio
    return ratio + math.sqrt(ratio * (ratio - 1))


def _from_estimate(found: Any, sd: float | None) -> tuple[float, Any, Any, float | None]:
    """(effect, low, high, sd) of an estimate: a ratio for two levels, else a difference."""
    from .effect_estimate import EffectEstimate

    if not isinstance(found, EffectEstimate):
        raise ParameterError(
            "must be a number or an EffectEstimate", column="effect", value=type(found).__name__
        )
    if found.overlap is None or not found.arm_sizes:
        raise QuestionError(
            "E-values are for arms that were adjusted for by covariates",
            column=found.treatment,
            advice="Use omitted_variable_bounds for doses.",
        )
    ends = [None if math.isnan(v) else v for v in (found.low, found.high)]
    if sd is not None or not found.two_levels:
        return found.value, *ends, found.outcome_sd if sd is None else sd
    scores = getattr(found.estimator, "scores_", None)
    if scores is None or found.target != "ATE":
        raise QuestionError(
            "has two levels, and no risk of each arm was estimated",
            column=found.outcome,
            advice="Use AIPW with target='ATE', or pass the risk ratio.",
        )
    t0, t1 = found.estimator._contrast(found.t0, found.t1)
    risk = scores.mean[[t0, t1]]
    if not (risk > 0).all():
        raise QuestionError(
            "has a risk of zero or less in an arm: no ratio exists",
            column=found.outcome,
            value=float(risk.min()),
        )
    slope = np.array([-1.0, 1.0]) / risk
    cov = scores.cov[np.ix_([t0, t1], [t0, t1])]
    from .base import quantile

    reach = quantile(found.alpha, scores.freedom(t0, t1)) * math.sqrt(slope @ cov @ slope)
    ratio = float(risk[1] / risk[0])
    return ratio, ratio * math.exp(-reach), ratio * math.exp(reach), None
