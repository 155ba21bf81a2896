"""An estimated effect: one sentence with units and interval, and everything behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import caption, level_of, name_axes
from ..core.errors import CausalWarning, QuestionError, did_you_mean
from ..core.results import Result, interval, number
from ..core.saving import saveable
from .group_effects import groups_by, is_cut
from .overlap import Overlap
from .refute import Refutations
from .sensitivity import HiddenConfounding, robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .base import EffectEstimator

_DOUBTS = ("weak-instrument", "extrapolation", "post-treatment", "dose-or-arms", "empty-level")
TARGETS = {
    "ATE": "average effect",
    "ATT": "average effect on the treated",
    "LATE": "average effect on those the instrument moves",
}


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class EffectEstimate(Result):
    """The answer of :func:`workbench.effects.estimate`.

    Attributes:
        treatment, outcome: The question.
        outcome_level: The level of a two-level outcome whose probability is meant, else None.
        value, se, low, high: The effect, its standard error and its 1 - ``alpha`` interval, in
            units of the outcome; NaN where the estimator has none.
        target: ``"ATE"``, ``"ATT"`` or ``"LATE"`` (instruments).
        t0, t1: The contrast: from t0 to t1.
        unit, treatment_unit: Units of outcome and treatment; may be empty.
        n, arm_sizes, clusters: Rows, rows per arm, clusters (or None).
        method: The estimator with its parameters.
        identification: What identifies the effect, as text.
        assumption: What the estimator assumes beyond that.
        adjustment, modifiers: Columns adjusted for; columns by which the effect may differ.
        effects: Per unit: modifiers, conditional effect and its interval (of that unit alone);
            None without modifiers.
        subgroups: Average effects by level or quartile of each modifier.
        overlap: Overlap, balance and effective sample size (None for front door and instrument).
        estimator: The fitted estimator, for further questions (None for front door and
            instrument).
        refutations: What tried to overturn the number; None if not asked for.
        warnings: Conditions under which to read it with care.
        seconds: Time it took.
        outcome_sd, two_levels: Standard deviation of the outcome; whether it is 0 or 1.
    """

    treatment: str
    outcome: str
    value: float
    se: float
    low: float
    high: float
    alpha: float
    target: str
    t0: Any
    t1: Any
    unit: str
    treatment_unit: str
    n: int
    arm_sizes: dict[Any, int]
    clusters: int | None
    method: str
    identification: str
    assumption: str
    adjustment: tuple[str, ...]
    modifiers: tuple[str, ...]
    effects: pd.DataFrame | None
    subgroups: pd.DataFrame
    overlap: Overlap | None
    refutations: Refutations | None
    estimator: EffectEstimator | None
    seconds: float
    outcome_level: Any = None
    outcome_sd: float = float("nan")
    two_levels: bool = False
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    @property
    def balance(self) -> pd.DataFrame | None:
        """Standardised differences of the covariates before and after weighting."""
        return None if self.overlap is None else self.overlap.balance

    @property
    def ess(self) -> tuple[float, ...] | None:
        """Effective rows per arm (or of the dose)."""
        return None if self.overlap is None else self.overlap.ess

    @property
    def hidden_confounding(self) -> HiddenConfounding | None:
        """How strong a hidden confounder must be; None for front-door and instrument estimates,
        and without a standard error."""
        if self.overlap is None or not self.se > 0:  # overlap: back-door estimates only
            return None
        arms = bool(self.arm_sizes)
        return robustness(self.value, self.se, self.n, self.alpha, arms=arms)

    def contrast(self) -> str:
        """The contrast as text, with the treatment's unit."""
        unit = f" {self.treatment_unit}" if self.treatment_unit else ""
        return f"{_value(self.t0)} → {_value(self.t1)}{unit}"

    def summary(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        level = number(100 * (1 - self.alpha))
        span = (
            "no interval"
            if np.isnan(self.se)
            else f"{level} % interval {interval(self.low, self.high)}{unit}"
        )
        return (
            f"The {TARGETS[self.target]} of {self.treatment!r} ({self.contrast()}) on "
            f"{self._meant()} is {number(self.value)}{unit} ({span}; {self.n:,} rows)."
        )

    def _meant(self) -> str:
        if self.outcome_level is None:
            return repr(self.outcome)
        return f"the probability of {self.outcome!r} = {self.outcome_level!r}"

    def verdict(self) -> str:
        if self.overlap is not None and self.overlap.grade == "none":
            return "Not supported: no comparable units exist, the number is extrapolation."
        excludes_zero = not self.low <= 0 <= self.high
        if any(w.code == "no-effect" for w in self.warnings):
            told = "contradicts" if excludes_zero else "agrees with"
            return f"The table {told} the graph, by which there is no effect."
        if any(w.code in _DOUBTS for w in self.warnings):
            return "Doubtful: see the warnings."
        if self.refutations is not None and self.refutations.outcome != "passed":
            return f"Doubtful: {self.refutations.summary()}"
        if np.isnan(self.se):
            return "No interval: how sure the number is is not known."
        if not excludes_zero:
            return "Compatible with no effect at this level."
        limited = self.overlap is not None and self.overlap.grade == "limited"
        care = "; overlap is limited" if limited else ""
        return f"{'Positive' if self.value > 0 else 'Negative'} at this level{care}."

    def how(self) -> dict[str, Any]:
        found = {
            "identified by": self.identification,
            "adjusted for": ", ".join(self.adjustment) or "nothing",
            "estimator": self.method,
            "which assumes": self.assumption,
            "rows": ", ".join(f"{k!r}: {v:,}" for k, v in self.arm_sizes.items()) or f"{self.n:,}",
        }
        if self.clusters is not None:
            found["clusters"] = f"{self.clusters:,}"
        if self.overlap is not None:
            found["overlap"] = self.overlap.summary()
        if self.refutations is not None:
            found |= {item.name: f"{item.outcome}. {item.sentence}" for item in self.refutations}
        found["seconds"] = number(self.seconds)
        return found

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """The effect and, with modifiers, those of the subgroups; ``long=True``: tidy."""
        overall = {
            "modifier": "all",
            "value": self.contrast(),
            "n": self.n,
            "effect": self.value,
            "low": self.low,
            "high": self.high,
        }
        frame = pd.DataFrame([overall, *self.subgroups.to_dict("records")])
        if long:
            return frame.melt(id_vars=["modifier", "value"], var_name="quantity", value_name="x")
        return frame.set_index(["modifier", "value"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """A forest plot: the overall effect and those of the subgroups, with intervals."""
        import matplotlib.pyplot as plt

        frame = self.to_frame().reset_index()
        if ax is None:
            size = (6.4, max(2.4, 0.35 * len(frame) + 1))
            ax = plt.subplots(figsize=size, layout="constrained")[1]
        places = np.arange(len(frame))[::-1]
        reach = np.vstack([frame["effect"] - frame["low"], frame["high"] - frame["effect"]])
        ax.errorbar(frame["effect"], places, xerr=np.nan_to_num(reach), fmt="o", capsize=3)
        ax.axvline(0, color="grey", linewidth=0.8)
        labels = [
            self.target if row.modifier == "all" else level_of(row.modifier, row.value)
            for row in frame.itertuples()
        ]
        ax.set_yticks(places, labels)
        ax.set_ylim(-0.6, len(places) - 0.4)
        name_axes(ax, self._axis())
        return ax

    def plot_effects(self, ax: Axes | None = None) -> Axes:
        """How the units' effects are spread, beside their average with its interval.

        Raises:
            QuestionError: There are no individual effects.
        """
        import matplotlib.pyplot as plt

        effects = self._unit_effects()
        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        ax.hist(effects, bins=30, color="#2b6cb0", alpha=0.6)
        ax.axvline(self.value, color="#1a365d", label=f"{self.target} {number(self.value)}")
        if not np.isnan(self.low):
            ax.axvspan(self.low, self.high, color="#1a365d", alpha=0.15, lw=0, label="its interval")
        ax.axvline(0, color="0.5", linewidth=0.8, linestyle="--")
        name_axes(ax, f"estimated {self._axis()}", "units")
        ax.legend(fontsize=8)
        return ax

    def plot_effect_by(self, modifier: str, ax: Axes | None = None) -> Axes:
        """Units' effects along one modifier, with its groups' averages and intervals.

        Raises:
            QuestionError: Not one of the modifiers, or there are no individual effects.
        """
        import matplotlib.pyplot as plt

        effects, modifier = self._unit_effects(), str(modifier)
        if modifier not in self.effects or modifier not in set(self.subgroups["modifier"]):
            raise QuestionError(
                "is not a modifier of this estimate",
                column=str(modifier),
                advice=did_you_mean(modifier, self.modifiers),
            )
        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        column = self.effects[modifier]
        groups = [
            (label, self.subgroups.iloc[place], inside)
            for place, (label, inside) in zip(
                np.flatnonzero(self.subgroups["modifier"] == modifier),
                [(g, mask) for _, g, mask in groups_by(self.effects[[modifier]])],
                strict=True,
            )
        ]
        numeric = is_cut(column)
        if numeric:
            ax.plot(column, effects, ".", color="0.6", ms=3, label="units")
        for at, (_, row, inside) in enumerate(groups):
            if numeric and not column[inside].notna().any():
                continue  # rows without a value have no place on the axis
            left, right = (
                (column[inside].min(), column[inside].max()) if numeric else (at - 0.3, at + 0.3)
            )
            if not numeric:
                spread = np.linspace(left, right, inside.sum())
                ax.plot(
                    spread, effects[inside], ".", color="0.6", ms=3, label="" if at else "units"
                )
            ax.fill_between(
                [left, right], row["low"], row["high"], color="#2b6cb0", alpha=0.25, lw=0
            )
            ax.hlines(
                row["effect"], left, right, color="#1a365d", label="" if at else "group average"
            )
        ax.axhline(0, color="0.5", linewidth=0.8, linestyle="--")
        if not numeric:
            labels = [caption(label, 24) for label, *_ in groups]
            crowded = max(len(text) for text in labels) * len(labels) > 60
            ax.set_xticks(range(len(groups)), labels, rotation=90 if crowded else 0)
        name_axes(ax, modifier, self._axis())
        ax.legend(fontsize=8)
        return ax

    def _unit_effects(self) -> np.ndarray:
        if self.effects is None:
            raise QuestionError(
                "no individual effects were estimated",
                column=self.treatment,
                advice="Name modifiers.",
            )
        name = "effect (estimated)" if "effect (estimated)" in self.effects else "effect"
        return self.effects[name].to_numpy()

    def _axis(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f"effect of {self.treatment} {self.contrast()} on {self.outcome}{unit}"


def _value(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return str(value)
