"""How strong a hidden confounder would have to be to overturn an effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, ParameterError
from ..core.results import Result, number
from ..core.saving import saveable


@saveable
@dataclass(frozen=True, repr=False)
class HiddenConfounding(Result):
    """Robustness values of one effect; see :func:`robustness`.

    Attributes:
        arms: Whether the treatment has arms.
        to_zero: Share of the residual variation of treatment and of outcome that a hidden
            confounder must explain, both, to bring the estimate to zero.
        to_doubt: The same, to let the interval reach zero.
        alpha: One minus the level of that interval.
    """

    to_zero: float
    to_doubt: float
    alpha: float
    arms: bool = False
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        if self.arms:
            return (
                f"A hidden confounder that explains {self.to_zero:.1%} of what is left of the "
                "outcome and as large a share of the weights that balance the arms brings the "
                f"effect to zero; {self.to_doubt:.1%} is enough to let the interval reach zero."
            )
        return (
            f"A hidden confounder that explains {self.to_zero:.1%} of what is left of both "
            f"treatment and outcome brings the effect to zero; {self.to_doubt:.1%} is enough to "
            "let the interval reach zero."
        )

    def verdict(self) -> str:
        if not self.to_doubt:
            return "The interval reaches zero without any."
        if self.to_doubt < 0.02:
            return "A very weak hidden confounder is enough."
        return "Think of the strongest column adjusted for: is one as strong missing?"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per robustness value."""
        rows = {"effect reaches zero": self.to_zero, "interval reaches zero": self.to_doubt}
        return pd.DataFrame({"share of both residuals": rows}).rename_axis("when")

    def how(self) -> dict[str, Any]:
        return {"level": number(100 * (1 - self.alpha)) + " %"}


def robustness(
    value: float, se: float, n: int, alpha: float = 0.05, arms: bool = False
) -> HiddenConfounding:
    """Robustness values of an estimate from its standard error.

    A confounder with partial R² of r with outcome and treatment can move the estimate by at most
    S r / sqrt(1 - r), with S = se sqrt(n); the robustness value solves this for |value|:
    r = (sqrt(f⁴ + 4 f²) - f²) / 2 with f = |value| / S.

    Args:
        value: The estimate.
        se: Its standard error; with a clustered one the robustness is understated, on the safe
            side.
        n: Rows.
        alpha: One minus the level of the interval.
        arms: The treatment has arms: the share on its side is then one of the variance of the
            inverse-propensity weights, which a confounder in a small stratum can reach with a
            tiny share of the treatment itself.

    The bound takes errors of constant variance; where they vary with the dose, less is enough.

    Raises:
        ParameterError: A standard error that is not positive.

    References:
        Cinelli and Hazlett, "Making sense of sensitivity", JRSS B 82, 2020; Chernozhukov,
        Cinelli, Newey, Sharma, Syrgkanis, "Long story short: omitted variable bias in causal
        machine learning", Review of Economics and Statistics, 2024.

    Example:
        >>> round(robustness(1.0, 0.1, 400).to_zero, 3)
        0.39
    """
    if not (se > 0 and math.isfinite(value)):
        raise ParameterError("must be positive", column="se", value=se)
    from scipy.special import ndtri

    f = abs(value) / (se * math.sqrt(n))
    shrunk = max(f - float(ndtri(1 - alpha / 2)) / math.sqrt(n), 0.0)
    return HiddenConfounding(_value(f), _value(shrunk), alpha, arms)


def _value(f: float) -> float:
    return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)
