"""Are predicted effects right? Held-out predictions against doubly robust averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import name_axes
from ..core.errors import CausalWarning, ParameterError, QuestionError, recording
from ..core.results import Result, interval, number
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from .base import EffectEstimator
from .conditions import some_rows
from .group_effects import averages_within, only_with_both_arms
from .judge import (
    Judge,
    as_estimator,
    check_alpha,
    contrast_of,
    ends,
    freedom,
    gate,
    held_out_effects,
    part_of,
    refuse_gaps,
    sequential,
    shares,
    span,
)
from .sandwich import covariance, least_squares
from .targeting import area_under_toc, ranks_within, toc

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class Calibration(Result):
    """The answer of :func:`calibration`.

    Attributes:
        groups: Per group of predicted effects, lowest first: ``n``, ``predicted`` (mean of the
            predictions), ``effect`` (doubly robust average of the group: its GATE), ``se``,
            ``low``, ``high``.
        slope: Best linear predictor of the effect: how much it changes where the prediction
            changes by one (1 is right, 0 is noise), with ``slope_low``, ``slope_high``.
        p_value: Of a slope of zero (two-sided).
        average: The average effect, with interval.
        calibration_r2: 1 - mean |effect - predicted| / mean |effect - average| over groups.
        autoc: Area under the TOC curve, with ``autoc_low``, ``autoc_high``: how much more the
            effect is among those whom the prediction puts first.
        toc: The curve: ``share``, ``value``, ``low``, ``high`` (each point alone).
        name: What made the predictions.
        treatment, outcome, contrast, n, alpha: What was judged.
        held_out: Number of parts predicted one after the other, or 1 where the caller gave the
            predictions.
    """

    groups: pd.DataFrame
    slope: float
    slope_low: float
    slope_high: float
    p_value: float
    average: tuple[float, float, float]
    calibration_r2: float
    autoc: float
    autoc_low: float
    autoc_high: float
    toc: pd.DataFrame
    name: str
    treatment: str
    outcome: str
    contrast: str
    n: int
    alpha: float
    held_out: int
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        if np.isnan(self.slope):
            return f"{self.name} predicts the same effect of {self.treatment!r} for every unit."
        return (
            f"Where {self.name} predicts an effect of {self.treatment!r} larger by 1, it is larger "
            f"by {number(self.slope)} ({interval(self.slope_low, self.slope_high)}; "
            f"{self.n:,} held-out rows)."
        )

    def verdict(self) -> str:
        if np.isnan(self.slope):
            return "Nothing to calibrate: report the average effect."
        if self.slope_high < 0:
            return "Wrong way round: effects are smaller where larger ones are predicted."
        if self.slope_low <= 0:
            return "No difference between units is shown to be predicted: report the average."
        if self.slope_high < 1:
            return "Differences are found, but exaggerated: shrink the predictions."
        if self.slope_low > 1:
            return "Differences are found, and understated."
        return "Differences are found, and their size agrees with the predictions."

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per group of predicted effects; ``long=True``: tidy."""
        if long:
            return self.groups.reset_index().melt(
                id_vars=["group"], var_name="quantity", value_name="value"
            )
        return self.groups.copy()

    def glance(self) -> pd.DataFrame:
        return self.groups[["n", "predicted", "effect", "low", "high"]]

    def how(self) -> dict[str, Any]:
        value, low, high = self.average
        held_out = (
            "predictions were given by the caller"
            if self.held_out == 1
            else f"{self.held_out} parts, each predicted by a fit to the rows before it"
        )
        return {
            "average effect": f"{number(value)} ({interval(low, high)})",
            "slope": f"p = {number(self.p_value)} that predictions tell nothing (two-sided)",
            "AUTOC": f"{number(self.autoc)} ({interval(self.autoc_low, self.autoc_high)})",
            "calibration R²": number(self.calibration_r2),
            "held out": held_out,
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Each group's doubly robust effect against its prediction, beside the diagonal."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        shown = self.groups.dropna(subset=["effect", "low"])
        reach = [shown["effect"] - shown["low"], shown["high"] - shown["effect"]]
        low, high = shown["predicted"].min(), shown["predicted"].max()
        # Where all predictions are the same, the reach of the averages is the scale.
        pad = 0.05 * (high - low) or float(np.nanmax(reach, initial=0.0)) or 0.5
        ends = [low - pad, high + pad]
        ax.plot(ends, ends, color="0.5", linewidth=1, linestyle="--", label="right size")
        ax.axhline(self.average[0], color="0.7", linewidth=1, label="average effect")
        ax.errorbar(
            shown["predicted"],
            shown["effect"],
            yerr=np.array(reach),
            fmt="o",
            capsize=3,
            color="#2b6cb0",
            label="groups by prediction",
        )
        of = f"of {self.treatment} ({self.contrast}) on {self.outcome}"
        name_axes(ax, f"predicted effect {of}", "effect found on held-out rows")
        # Above the axes: bars of few groups may lie anywhere inside.
        ax.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
        return ax

    def plot_toc(self, ax: Axes | None = None) -> Axes:
        """How much larger the effect is among the share with the largest predictions."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        share = self.toc["share"]
        ax.fill_between(share, self.toc["low"], self.toc["high"], color="#2b6cb0", alpha=0.2, lw=0)
        ax.plot(share, self.toc["value"], color="#2b6cb0")
        ax.axhline(0, color="0.5", linewidth=0.8)
        ax.set_xlabel("share treated, largest predicted effect first")
        ax.set_ylabel("their effect less the average effect")
        return ax


def calibration(
    estimator: EffectEstimator | str | Any,
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    T0: Any = None,
    T1: Any = None,
    n_groups: int = 5,
    n_folds: int = 5,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> Calibration:
    """Hold predicted effects against doubly robust averages of rows the fit has not seen.

    Four questions: is the average effect of those with small, middling and large predictions what
    was predicted (groups)? Does the effect rise by one where the prediction does (slope of the
    best linear predictor)? How large is the mean error of the groups beside that of one constant
    effect (calibration R²)? Are those whom the prediction puts first those with the largest
    effects (AUTOC)?

    Predictions are ranked, cut and centred within the part that they were made for: levels of
    different fits are not comparable, and pooling them makes slopes too small. Parts are predicted
    one after the other, not crosswise: crosswise folds teach each other, and find differences
    three times as often as they should where there are none.

    Args:
        estimator: An estimator or its name (fitted or not, it is copied, never changed), fitted
            afresh: half of the rows teach the first fit, and each of ``n_folds`` parts of the
            other half is predicted by a fit to all rows before it. Or predicted effects, one per
            row, made without these rows.
        Y, T, X, W, sample_weight, groups: As for ``fit``; T has arms.
        T0, T1: The contrast; the first two arms by default.
        n_groups: Groups of predicted effects, of equal size.
        n_folds: Parts that are predicted, and folds for the nuisances of the scores.
        alpha: One minus the confidence level; intervals hold one by one.
        random_state: Seed of folds, nuisances and of estimators given by name.

    Raises:
        QuestionError: A dose (an average effect of two doses in a group has no doubly robust
            score unless doses are smoothed over; :func:`compare_estimators` judges curves), or an
            estimator without X.
        DataError: Predictions that are not finite or not one per row.

    References:
        Chernozhukov, Demirer, Duflo and Fernandez-Val, "Fisher-Schultz lecture: generic machine
        learning inference on heterogeneous treatment effects in randomized experiments",
        Econometrica 93(4), 2025 (slope, groups). Yadlowsky, Fleming, Shah, Brunskill and Wager,
        "Evaluating treatment prioritization rules via rank-weighted average treatment effects",
        JASA 120, 2025 (TOC). Wager, "Sequential validation of treatment heterogeneity", 2024.
        Dwivedi et al., "Stable discovery of interpretable subgroups via
        calibration in causal studies", International Statistical Review 88, 2020.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=900), rng.integers(0, 2, 900)
        >>> y = t * x + rng.normal(size=900)
        >>> found = calibration(2 * x, y, t, X=x, n_folds=2)
        >>> found.verdict()
        'Differences are found, but exaggerated: shrink the predictions.'
    """
    check_alpha(alpha)
    if not isinstance(n_groups, int) or isinstance(n_groups, bool) or n_groups < 2:
        raise ParameterError("must be an integer from 2", column="n_groups", value=n_groups)
    with recording() as notes:
        fold_seed, judge_seed, own_seed = spawn(random_state, 3)
        learns = isinstance(estimator, EffectEstimator | str)
        made = as_estimator(estimator, own_seed) if learns else None
        if learns and made.takes_arms() is False:
            raise QuestionError(
                f"is for arms, {type(made).__name__} takes a dose",
                column="calibration",
                advice="compare_estimators judges estimators of doses.",
            )
        beside = {} if learns else {"effects": estimator}
        data, beside = gate(Y, T, X, W, sample_weight, groups, by_x=learns, **beside)
        t0, t1 = ends(data, T0, T1)
        judge = Judge(n_folds=n_folds, random_state=judge_seed).fit_data(data)
        if learns:
            name = estimator if isinstance(estimator, str) else repr(made)
            stages = sequential(data, n_folds, fold_seed)
            predicted = contrast_of(held_out_effects(made, data, stages, name), t0, t1)
            part = part_of(stages)
        else:
            name = "the prediction"
            predicted = refuse_gaps(beside["effects"], "effects", data.index)
            part = np.zeros(len(data), dtype=int)
        answers = _judged(judge, data, predicted, part, (t0, t1), n_groups, alpha)
    return Calibration(
        **answers,
        name=name,
        treatment=data.t_name,
        outcome=data.y_name,
        contrast=f"{data.arms[t0]} → {data.arms[t1]}",
        n=int((part >= 0).sum()),
        alpha=alpha,
        held_out=int(part.max()) + 1,
        warnings=tuple(notes),
    )


def _judged(
    judge: Judge,
    data: EffectData,
    predicted: np.ndarray,
    part: np.ndarray,
    contrast: tuple[int, int],
    n_groups: int,
    alpha: float,
) -> dict[str, Any]:
    """All answers, from the rows that were predicted (part >= 0)."""
    t0, t1 = contrast
    seen = part >= 0
    place = np.full(len(data), -1)
    rank = ranks_within(predicted[seen], part[seen])
    place[seen] = np.minimum((rank * n_groups).astype(int), n_groups - 1)
    table = _groups(judge, data, predicted, place, contrast, alpha)
    average = judge.scores_.within(seen, t0, t1)
    score = (judge.scores_.score[:, t1] - judge.scores_.score[:, t0])[seen]
    rows = some_rows(data, seen)
    share, df = shares(rows), freedom(rows)
    slope, slope_se = best_linear_predictor(score, predicted[seen], part[seen], share, rows.groups)
    slope_df = max(df - len(np.unique(part[seen])), 1.0)
    slope_low, slope_high = span(slope, slope_se, slope_df, alpha)
    area, influence = area_under_toc(score, rank, share)
    area_se = np.sqrt(covariance(influence[:, None], rows.groups)[0, 0])
    area_low, area_high = span(area, area_se, df, alpha)
    told = table.dropna(subset=["effect"])
    weight = told["share"] / told["share"].sum()
    apart = weight @ (told["effect"] - average.value).abs()
    off = weight @ (told["effect"] - told["predicted"]).abs()
    return {
        "groups": table.drop(columns="share"),
        "slope": slope,
        "slope_low": slope_low,
        "slope_high": slope_high,
        "p_value": _p_value(slope / slope_se, slope_df) if slope_se > 0 else float("nan"),
        "average": (average.value, *average.interval(alpha)),
        "calibration_r2": float(1 - off / apart) if apart > 0 else float("nan"),
        "autoc": area,
        "autoc_low": float(area_low),
        "autoc_high": float(area_high),
        "toc": toc(score, rank, share, rows.groups, df, alpha),
    }


def best_linear_predictor(
    score: np.ndarray,
    predicted: np.ndarray,
    fold: np.ndarray,
    share: np.ndarray,
    groups: np.ndarray | None,
) -> tuple[float, float]:
    """Slope of the scores on the predictions with one intercept per fold, and its standard error.

    NaN where the predictions are the same for all rows of each fold.
    """
    member = (fold[:, None] == np.unique(fold)).astype(float)
    means = (share[:, None] * member).T @ predicted / (share @ member)
    within = predicted - member @ means
    if np.sqrt(share @ within**2) <= 1e-9 * (np.abs(predicted).max() or 1.0):
        return float("nan"), float("nan")
    coef, influence = least_squares(np.column_stack([within, member]), score, share)
    return float(coef[0]), float(np.sqrt(covariance(influence[:, :1], groups)[0, 0]))


def _p_value(t: float, df: float) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(t)))


def _groups(
    judge: Judge,
    data: EffectData,
    predicted: np.ndarray,
    place: np.ndarray,
    contrast: tuple[int, int],
    alpha: float,
) -> pd.DataFrame:
    """Doubly robust averages by group of predictions (place, -1 for none)."""
    share = shares(data)
    found = np.unique(place[place >= 0])
    parts = [("predicted group", str(i + 1), place == g) for i, g in enumerate(found)]
    arms = [data.arms[t] for t in contrast]
    masks = [inside for *_, inside in parts]
    found = averages_within(judge, parts, *arms)
    found = only_with_both_arms(judge, found, masks, *arms)
    rows = []
    for (_, _, n, estimate), inside in zip(found, masks, strict=True):
        weight = share[inside].sum()
        mean = share[inside] @ predicted[inside] / weight
        low, high = estimate.interval(alpha)
        rows.append((n, mean, estimate.value, estimate.se, low, high, weight))
    columns = ["n", "predicted", "effect", "se", "low", "high", "share"]
    index = pd.RangeIndex(1, len(rows) + 1, name="group")
    return pd.DataFrame(rows, columns=columns, index=index)
