"""How far could a hidden confounder move the effect, beside the columns that were measured?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import caption, name_axes
from ..core.errors import (
    CausalWarning,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    unrecorded,
    warn,
)
from ..core.results import Result, interval, number
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData, effect_data
from ..tables.gate import Table
from .conditions import rows_that_weigh
from .design import content_rank, covariate_table, covariates
from .judge import Judge, check_alpha, ends, freedom, shares, span
from .nuisance import cross_fit, fold_ids
from .sandwich import covariance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CLIP = 0.01


@dataclass(frozen=True)
class Short:
    """An estimate without the hidden confounder, and what bounds its bias.

    Attributes:
        value: The effect.
        outcome_rest: sigma², mean squared residual of the outcome.
        weight_size: nu², mean square of the weights alpha (the Riesz representer).
        influence: Influence of each row on the three, times its share, (n, 3).
        treatment_rest: Mean squared residual of the treatment; NaN for arms.
    """

    value: float
    outcome_rest: float
    weight_size: float
    influence: np.ndarray
    treatment_rest: float = float("nan")

    def bias(self, outcome: Any, treatment: Any) -> Any:
        """Largest bias of a confounder that explains these shares of the residuals.

        sqrt(sigma² nu² * outcome * treatment / (1 - treatment)).
        """
        return np.sqrt(self.outcome_rest * self.weight_size * outcome * treatment / (1 - treatment))

    def errors(
        self, outcome: float, treatment: float, groups: np.ndarray | None
    ) -> tuple[float, float]:
        """Standard errors of value - bias and value + bias."""
        bias = self.bias(outcome, treatment)
        slope = np.array([bias / (2 * self.outcome_rest), bias / (2 * self.weight_size)])
        found = []
        for sign in (-1, 1):
            rows = self.influence @ np.array([1.0, *(sign * slope)])
            found.append(float(np.sqrt(covariance(rows[:, None], groups)[0, 0])))
        return found[0], found[1]


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class OmittedVariableBounds(Result):
    """The answer of :func:`omitted_variable_bounds`.

    Attributes:
        table: Per column and times: shares of ``treatment`` and ``outcome`` that such a
            confounder explains of what is left, ``bias`` (largest), ``effect_low``,
            ``effect_high``, and with sampling error ``low``, ``high``; ``reaches_zero``.
        value, low, high: The effect with no hidden confounder.
        scale: sigma * nu: bias = scale * sqrt(outcome * treatment / (1 - treatment)).
        arms: Whether the treatment has arms: the share of the treatment is then one of the
            variance of the weights that balance the arms.
        treatment, outcome, contrast, alpha: The question.
    """

    table: pd.DataFrame
    value: float
    low: float
    high: float
    scale: float
    arms: bool
    treatment: str
    outcome: str
    contrast: str
    alpha: float
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        said = (
            f"Without a hidden confounder the effect of {self.treatment!r} ({self.contrast}) on "
            f"{self.outcome!r} is {number(self.value)} ({interval(self.low, self.high)})"
        )
        row = self._strongest()
        return (
            f"{said}; one {_as_strong(row)} could move "
            f"it to {interval(row['effect_low'], row['effect_high'])} (with sampling error "
            f"{interval(row['low'], row['high'])})."
        )

    def _strongest(self) -> pd.Series:
        least = self.table[self.table["times"] == self.table["times"].min()]
        return least.loc[least["bias"].idxmax()]

    def verdict(self) -> str:
        if self.low <= 0 <= self.high:
            return "The interval reaches zero without any hidden confounder."
        bad = self.table[self.table["reaches_zero"]].sort_values("times", kind="stable")
        if not len(bad):
            top = self.table["times"].max()
            return f"No confounder up to {number(top)} times a measured column brings it to zero."
        row = bad.iloc[0]
        return (
            f"A confounder {_as_strong(row)} is enough "
            "to let the interval reach zero: is one missing?"
        )

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per column and times; ``long=True``: tidy."""
        keys = ["column", "times"]
        if long:
            return self.table.melt(id_vars=keys, var_name="quantity", value_name="value")
        return self.table.set_index(keys)

    def glance(self) -> pd.DataFrame:
        return self.to_frame()[["treatment", "outcome", "low", "high", "reaches_zero"]]

    def how(self) -> dict[str, Any]:
        share = "weights that balance the arms" if self.arms else "treatment"
        return {
            "strength": f"share of what is left of the outcome and of the {share}; a column's own "
            "is found by leaving it out",
            "bias": f"{number(self.scale)} sqrt(outcome * treatment / (1 - treatment)), at worst",
            "intervals": f"{100 * (1 - self.alpha):g} %, sampling error included",
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Contours of the effect that is left at worst, with the measured columns as points."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        right = float(np.clip(1.4 * self.table["treatment"].max(), 0.02, 0.95))
        top = float(np.clip(1.4 * self.table["outcome"].max(), 0.02, 1.0))
        x, y = np.meshgrid(np.linspace(0, right, 101), np.linspace(0, top, 101))
        left = self.value - np.sign(self.value) * self.scale * np.sqrt(x * y / (1 - x))
        levels = sorted({self.value * part for part in (0.8, 0.6, 0.4, 0.2, -0.5, -1.0)})
        lines = ax.contour(x, y, left, levels=levels, colors="0.65", linewidths=0.8)
        ax.clabel(lines, fmt=number, fontsize=7)
        if left.min() < 0 < left.max():
            zero = ax.contour(x, y, left, levels=[0], colors="#c53030", linewidths=1.6)
            ax.clabel(zero, fmt=lambda _: "no effect", fontsize=8)
        ax.plot(0, 0, "k^", clip_on=False, zorder=3)
        ax.annotate(
            f"as estimated: {number(self.value)}", (0, 0), (6, 5), textcoords="offset points",
            fontsize=8,
        )  # fmt: skip
        for row in self.table.itertuples():
            ax.plot(row.treatment, row.outcome, "D", color="#2b6cb0", ms=4, clip_on=False)
            # Names point into the picture and leave its size alone.
            left = row.treatment <= right / 2
            ax.annotate(
                caption(f"{number(row.times)} × {row.column}", 28),
                (row.treatment, row.outcome),
                (5 if left else -5, -4 if row.outcome > 0.9 * top else 4),
                textcoords="offset points",
                fontsize=8,
                ha="left" if left else "right",
                va="top" if row.outcome > 0.9 * top else "bottom",
            ).set_in_layout(False)
        of = f"the weights that balance {self.treatment}" if self.arms else self.treatment
        name_axes(
            ax,
            f"explains this share of what is left of {of}",
            f"and this share of what is left of {self.outcome}",
        )
        return ax


def _as_strong(row: pd.Series) -> str:
    times = "" if row["times"] == 1 else f"{number(row['times'])} times "
    return f"{times}as strong as {row['column']!r}"


def omitted_variable_bounds(
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    columns: Iterable[str] | None = None,
    times: Sequence[float] = (1.0, 2.0, 3.0),
    T0: Any = None,
    T1: Any = None,
    n_folds: int = 5,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> OmittedVariableBounds:
    """Bounds of an average effect under a hidden confounder as strong as measured columns.

    The bias of the estimate without the confounder is at most

        sqrt(sigma² nu² C_y C_t / (1 - C_t)),

    with sigma² the residual variance of the outcome, C_y the share of it that the confounder
    explains, nu² the mean square of the weights alpha, and C_t the share of the variance of the
    true weights that those without it miss. For a dose (one slope common to all) nu² is one over
    the residual variance of the treatment and both shares are partial R²; for arms alpha is
    1{T = t1} / e_t1 - 1{T = t0} / e_t0 of the doubly robust score.

    How strong is plausible? Each column is left out in turn, and a confounder that is k times as
    strong is one that adds k times what that column adds given the others. Bounds hold at worst:
    most confounders of that strength do less. Robustness values are in
    ``EffectEstimate.hidden_confounding``; for one number from published figures see
    :func:`e_value`.

    Args:
        Y, T, X, W, sample_weight, groups: As for ``fit``; T has arms or is a dose.
        columns: Names of the columns to compare with; by default all (the eight strongest shown).
        times: How many times as strong.
        T0, T1: The contrast; the first two arms, or one unit of dose.
        n_folds: Folds of the cross-fit.
        alpha: One minus the confidence level.
        random_state: Seed of folds and nuisances.

    Raises:
        QuestionError: No columns to compare with, or unknown ones.
        ParameterError: Times that are not positive.

    References:
        Cinelli and Hazlett, "Making sense of sensitivity", JRSS B 82(1), 2020 (linear score).
        Chernozhukov, Cinelli, Newey, Sharma and Syrgkanis, "Long story short: omitted variable
        bias in causal machine learning", 2022 (doubly robust score, intervals).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"age": rng.normal(size=500)})
        >>> dose = 0.5 * df["age"] + rng.normal(size=500)
        >>> y = 2 * dose + df["age"] + rng.normal(size=500)
        >>> found = omitted_variable_bounds(y.rename("y"), dose.rename("dose"), W=df, times=[1])
        >>> found.verdict()
        'No confounder up to 1 times a measured column brings it to zero.'
    """
    check_alpha(alpha)
    times = _times(times)
    with recording() as notes:
        data = rows_that_weigh(
            effect_data(Y, T, X=X, W=W, sample_weight=sample_weight, groups=groups)
        )
        joined = covariate_table(data)
        names = _compared(joined, columns)
        if data.arms is not None:
            t0, t1 = ends(data, T0, T1)
            scale, contrast = 1.0, f"{data.arms[t0]} → {data.arms[t1]}"
        else:
            t0, t1 = (0.0 if T0 is None else float(T0)), (1.0 if T1 is None else float(T1))
            scale, contrast = t1 - t0, f"{number(t0)} → {number(t1)}"
        whole = replace(data, x=None, w=joined)
        full = _short(whole, t0, t1, n_folds, random_state)
        strengths = {}
        for name in names:
            with unrecorded():
                part = _short(_without(whole, name), t0, t1, n_folds, random_state)
            strengths[name] = _gain(full, part, data.arms is None)
        if columns is None and len(names) > 8:
            names = sorted(names, key=lambda n: -strengths[n][0] * strengths[n][1])[:8]
        full = _scaled(full, scale)
        table = _bounds(full, {n: strengths[n] for n in names}, times, data, alpha)
        error = float(np.sqrt(covariance(full.influence[:, :1], data.groups)[0, 0]))
        low, high = span(full.value, error, freedom(data), alpha)
    return OmittedVariableBounds(
        table=table,
        value=full.value,
        low=float(low),
        high=float(high),
        scale=float(np.sqrt(full.outcome_rest * full.weight_size)),
        arms=data.arms is not None,
        treatment=data.t_name,
        outcome=data.y_name,
        contrast=contrast,
        alpha=alpha,
        warnings=tuple(notes),
    )


def _times(times: Any) -> list[float]:
    values = [times] if isinstance(times, Real) else list(times)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Real) or not value > 0:
            raise ParameterError("must hold positive numbers", column="times", value=value)
    if not values:
        raise ParameterError("is empty", column="times", advice="Give at least one number.")
    return [float(v) for v in values]


def _compared(joined: Table | None, columns: Iterable[str] | None) -> list[str]:
    if joined is None:
        raise QuestionError(
            "there is no measured column to compare a hidden one with",
            column="W",
            advice="Pass covariates, or use robustness values.",
        )
    names = (
        joined.names
        if columns is None
        else list([columns] if isinstance(columns, str) else columns)
    )
    if not names:
        raise ParameterError("is empty", column="columns", advice="Give at least one name.")
    for name in names:
        if name not in joined.names:
            raise QuestionError(
                "is not adjusted for", column=str(name), advice=did_you_mean(name, joined.names)
            )
    return list(names)


def _without(data: EffectData, name: str) -> EffectData:
    kept = [n for n in data.w.names if n != name]
    w = Table(data.w.frame[kept], data.w.schema.select(kept), data.w.named) if kept else None
    return replace(data, w=w)


def _short(data: EffectData, t0: Any, t1: Any, n_folds: int, seed: Seed) -> Short:
    """The estimate that adjusts for these columns, per unit of dose or for the contrast."""
    share = shares(data)
    if data.arms is not None:
        judge = Judge(clip=_CLIP, n_folds=n_folds, random_state=seed).fit_data(data)
        chance = np.maximum(judge.chance_, _CLIP)
        score = judge.scores_.score[:, t1] - judge.scores_.score[:, t0]
        member = data.t[:, None] == np.arange(len(data.arms))
        alpha = member[:, t1] / chance[:, t1] - member[:, t0] / chance[:, t0]
        square = (data.y - judge.outcome_[np.arange(len(data)), data.t]) ** 2
        square = np.where(member[:, t0] | member[:, t1], square, 0.0)
        size = 2 * (1 / chance[:, t1] + 1 / chance[:, t0]) - alpha**2
        rows = np.column_stack([score, square, size])
        value, rest, weight = share @ rows
        influence = (rows - [value, rest, weight]) * share[:, None]
        return Short(float(value), float(rest), float(weight), influence)
    rest_t, rest_y = _residuals(data, n_folds, seed)
    variance = share @ rest_t**2
    value = (share @ (rest_t * rest_y)) / variance
    left = rest_y - value * rest_t
    rest, weight = share @ left**2, 1 / variance
    influence = np.column_stack(
        [rest_t * left * weight, left**2 - rest, -(rest_t**2 - variance) * weight**2]
    )
    return Short(
        float(value), float(rest), float(weight), influence * share[:, None], float(variance)
    )


def _residuals(data: EffectData, n_folds: int, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Cross-fitted residuals of the dose and of the outcome."""
    fold_seed, model_seed = spawn(seed, 2)
    z, _ = covariates(data)
    fold = fold_ids(len(data), n_folds, fold_seed, groups=data.groups, rank=content_rank(data))
    found = []
    for values in (data.t, data.y):
        center, unit = values.mean(), values.std()
        fit = cross_fit(
            z, (values - center) / unit, fold, weight=data.weight, random_state=model_seed
        )
        found.append(values - center - unit * fit.values)
    return found[0], found[1]


def _gain(full: Short, part: Short, dose: bool) -> tuple[float, float]:
    """What a column adds, as shares of what is left without it: of treatment and of outcome."""
    outcome = max(1 - full.outcome_rest / part.outcome_rest, 0.0)
    if dose:
        return max(1 - full.treatment_rest / part.treatment_rest, 0.0), outcome
    return max(1 - part.weight_size / full.weight_size, 0.0), outcome


def _scaled(short: Short, scale: float) -> Short:
    """The same for a contrast of ``scale`` units of dose."""
    return replace(
        short,
        value=short.value * scale,
        weight_size=short.weight_size * scale**2,
        influence=short.influence * [scale, 1.0, scale**2],
    )


def stronger(treatment: float, outcome: float, times: float) -> tuple[float, float]:
    """Shares explained by a confounder ``times`` as strong as a column with these partial R².

    Source: Cinelli and Hazlett 2020, section 4.4, with k_D = k_Y = times. Shares of one are cut
    to .99 (of the treatment) and 1 (of the outcome).
    """
    own, of_y = treatment / (1 - treatment), outcome / (1 - outcome)
    of_t = min(times * own, 0.99)
    # How far the column and the hidden one are tied once the treatment is known.
    tied = times * treatment * own / max(1 - times * treatment, 1e-12)
    if tied >= 1:
        return of_t, 1.0
    eta = (np.sqrt(times) + np.sqrt(tied)) ** 2 / (1 - tied)
    return float(of_t), float(min(eta * of_y, 1.0))


def _bounds(
    full: Short,
    strengths: dict[str, tuple[float, float]],
    times: list[float],
    data: EffectData,
    alpha: float,
) -> pd.DataFrame:
    rows, beyond = [], []
    for name, (treatment, outcome) in strengths.items():
        for k in times:
            of_t, of_y = stronger(min(treatment, 0.99), min(outcome, 0.99), k)
            if of_y >= 1 or of_t >= 0.99:
                beyond.append(f"{number(k)} × {name}")
            bias = float(full.bias(of_y, of_t))
            below, above = full.errors(of_y, of_t, data.groups)
            low, _ = span(full.value - bias, below, freedom(data), alpha)
            _, high = span(full.value + bias, above, freedom(data), alpha)
            rows.append(
                (name, k, of_t, of_y, bias, full.value - bias, full.value + bias, low, high,
                 bool(low <= 0 <= high))
            )  # fmt: skip
    if beyond:
        warn(
            "beyond-all",
            f"a confounder {', '.join(beyond[:5])} would explain all that is left of treatment or "
            "outcome: its bound is as wide as can be, and no such confounder may exist",
        )
    columns = (
        "column times treatment outcome bias effect_low effect_high low high reaches_zero".split()
    )
    return pd.DataFrame(rows, columns=columns)
