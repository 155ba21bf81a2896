"""Average effects of groups of units, and whether the groups differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import level_of, name_axes
from ..core.errors import (
    CausalWarning,
    DataError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.results import Result, interval, number
from ..core.saving import saveable
from ..tables.gate import align, as_frame, count, table
from .base import EffectEstimator, Estimate
from .judge import check_alpha, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .effect_estimate import EffectEstimate

_PARTS = 4  # of a column of numbers
_SMALL = 20  # rows of an arm in a group, below which its interval is not to be relied on


def groups_by(frame: pd.DataFrame) -> Iterator[tuple[str, str, np.ndarray]]:
    """(column, group, mask): the levels of each column, or its quartiles if it is cut."""
    for name in frame.columns:
        column = frame[name]
        if is_cut(column):
            places, edges = pd.qcut(column, _PARTS, labels=False, retbins=True, duplicates="drop")
            places = places.fillna(-1).to_numpy()
            labels = [f"{_cell(low)} to {_cell(high)}" for low, high in pairwise(edges)]
        else:
            levels = column.astype("category").cat
            places, labels = levels.codes.to_numpy(), [_cell(v) for v in levels.categories]
        for place in np.unique(places):
            yield name, labels[int(place)] if place >= 0 else "(missing)", places == place


def is_cut(column: pd.Series) -> bool:
    """Whether quartiles stand for the values: numbers, more of them than there are quartiles."""
    return not isinstance(column.dtype, pd.CategoricalDtype) and column.nunique() > _PARTS


def _cell(level: Any) -> str:
    """A level, or the end of a range, as text."""
    return number(level, 4) if isinstance(level, float) else str(level)


def averages_within(
    fitted: EffectEstimator,
    parts: Iterable[tuple[str, str, np.ndarray]],
    t0: Any,
    t1: Any,
    target: str = "ATE",
) -> list[tuple[str, str, int, Estimate]]:
    """(column, group, rows, average effect) of each part of the rows fitted."""
    return [
        (
            name,
            label,
            int(inside.sum()),
            fitted.average_effect_within(inside, T0=t0, T1=t1, target=target),
        )
        for name, label, inside in parts
    ]


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class GroupEffects(Result):
    """The answer of :func:`group_effects`.

    Attributes:
        table: Per group: ``column, group, n, effect, se, low, high``, and ``low_all, high_all``,
            which hold jointly for all groups (Bonferroni).
        pairs: Per pair of groups of a column: ``column, group, than, difference, low, high``;
            these hold jointly for all pairs.
        treatment, outcome, contrast, target, alpha: The question.
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    treatment: str
    outcome: str
    contrast: str
    target: str
    alpha: float
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def differ(self) -> pd.DataFrame:
        """The pairs that can be told apart, the largest difference first."""
        apart = self.pairs[(self.pairs["low"] > 0) | (self.pairs["high"] < 0)]
        return apart.sort_values("difference", key=np.abs, ascending=False, kind="stable")

    def summary(self) -> str:
        said = f"The effect of {self.treatment!r} ({self.contrast}) on {self.outcome!r}"
        apart = self.differ
        if not len(apart):
            return f"{said} can't be told apart between {count(len(self.table), 'group')}."
        top = apart.iloc[0]
        more = f"; {count(len(apart) - 1, 'more pair')} differ" if len(apart) > 1 else ""
        first, second, low, high = top["group"], top["than"], top["low"], top["high"]
        if top["difference"] < 0:
            first, second, low, high = second, first, -high, -low
        jointly = f", jointly over {len(self.pairs)} pairs" * (len(self.pairs) > 1)
        return (
            f"{said} differs: it is {number(abs(top['difference']))} larger for {top['column']} "
            f"{first} than for {second} (difference {interval(low, high)}{jointly}){more}."
        )

    def verdict(self) -> str:
        if len(self.differ):
            return "Groups differ."
        return "No difference between groups is shown; that is no proof that there is none."

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per group; ``long=True``: tidy."""
        frame = self.table.set_index(["column", "group"])
        if long:
            return frame.reset_index().melt(
                id_vars=["column", "group"], var_name="quantity", value_name="value"
            )
        return frame

    def glance(self) -> pd.DataFrame:
        return self.to_frame()[["n", "effect", "low", "high"]]

    def how(self) -> dict[str, Any]:
        return {
            "intervals": f"low to high: {100 * (1 - self.alpha):g} % each; low_all to high_all: "
            "all groups jointly (Bonferroni)",
            "differences": f"{len(self.pairs)} pairs, jointly (Bonferroni)",
            "target": self.target,
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """A forest of the groups: thick intervals hold each alone, thin ones jointly."""
        import matplotlib.pyplot as plt

        if ax is None:
            size = (6.4, max(2.4, 0.35 * len(self.table) + 1))
            ax = plt.subplots(figsize=size, layout="constrained")[1]
        places = np.arange(len(self.table))[::-1]
        ax.hlines(places, self.table["low_all"], self.table["high_all"], color="#2b6cb0", lw=1)
        ax.hlines(places, self.table["low"], self.table["high"], color="#2b6cb0", lw=3)
        ax.plot(self.table["effect"], places, "o", color="#1a365d")
        ax.axvline(0, color="0.5", linewidth=0.8)
        rows = self.table.itertuples()
        labels = [level_of(r.column, r.group, ": ", f" (n = {r.n:,})") for r in rows]
        ax.set_yticks(places, labels)
        ax.set_ylim(-0.6, len(places) - 0.4)
        name_axes(ax, f"effect of {self.treatment} ({self.contrast}) on {self.outcome}")
        return ax


def group_effects(
    estimator: EffectEstimator | EffectEstimate,
    by: Any = None,
    *,
    T0: Any = None,
    T1: Any = None,
    target: str | None = None,
    alpha: float = 0.05,
) -> GroupEffects:
    """Average effects by group (GATE), with joint intervals, and whether the groups differ.

    Where the estimator keeps doubly robust scores (:class:`AIPW` does) each is the mean of the
    group's own scores, so no form of the effect is assumed and groups may be cut by columns that
    are in W or in neither. Other estimators average their conditional effects. Choose groups
    before looking at effects; for groups cut by predicted effects use :func:`calibration`, which
    predicts on held-out rows.

    Args:
        estimator: Fitted, or an :class:`EffectEstimate` (then contrast and target are its own).
        by: Names of modifiers (columns of X; all by default), or a Series, DataFrame or array
            with one label or number per fitted row. Numbers are cut at their quartiles if they
            have more than four values.
        T0, T1: The contrast.
        target: ``"ATE"`` (default) or ``"ATT"``.
        alpha: One minus the confidence level.

    Raises:
        QuestionError: Unknown columns, or nothing to group by.
        DataError: Labels that don't belong to the rows fitted.

    References:
        Semenova and Chernozhukov, "Debiased machine learning of conditional average treatment
        effects and other causal functions", Econometrics Journal 24(2), 2021.

    Example:
        >>> from workbench.effects import AIPW
        >>> rng = np.random.default_rng(0)
        >>> team, t = rng.choice(["red", "blue"], 400), rng.integers(0, 2, 400)
        >>> y = t * (team == "red") + rng.normal(size=400)
        >>> found = group_effects(AIPW(n_folds=2).fit(y, t), by=pd.Series(team, name="team"))
        >>> found.verdict()
        'Groups differ.'
    """
    check_alpha(alpha)
    if not isinstance(estimator, EffectEstimator):
        answer, estimator = estimator, getattr(estimator, "estimator", None)
        if not isinstance(estimator, EffectEstimator):
            raise ParameterError(
                "must be a fitted effect estimator or the answer of one",
                column="estimator",
                value=type(answer).__name__,
            )
        T0, T1 = (answer.t0 if T0 is None else T0), (answer.t1 if T1 is None else T1)
        target = target or answer.target
    estimator._require_fitted()
    target = target or "ATE"
    with recording() as notes:
        parts = list(groups_by(_columns(estimator, by)))
        T0, T1 = _ends(estimator, T0, T1)
        found = averages_within(estimator, parts, T0, T1, target)
        masks = [inside for *_, inside in parts]
        found = only_with_both_arms(estimator, found, masks, T0, T1)
        table = _table(found, alpha)
        pairs = _pairs(estimator, found, masks, alpha)
    return GroupEffects(
        table=table,
        pairs=pairs,
        treatment=estimator.t_name_,
        outcome=estimator.y_name_,
        contrast=f"{T0} → {T1}",
        target=target,
        alpha=alpha,
        warnings=tuple(notes),
    )


def _ends(fitted: EffectEstimator, T0: Any, T1: Any) -> tuple[Any, Any]:
    """The contrast in the user's terms."""
    if fitted.arms_ is None:
        return (0.0 if T0 is None else T0), (1.0 if T1 is None else T1)
    t0, t1 = fitted._contrast(T0, T1)
    return fitted.arms_[t0], fitted.arms_[t1]


def _columns(fitted: EffectEstimator, by: Any) -> pd.DataFrame:
    """The columns to group by, one row per fitted row."""
    index = fitted.overlap_.index
    is_names = isinstance(by, str) or (
        isinstance(by, list | tuple) and by and all(isinstance(b, str) for b in by)
        and len(by) != len(index)
    )  # fmt: skip
    if by is None or is_names:
        if fitted.x_ is None:
            raise QuestionError(
                "is not stored: the estimator was fitted without effect modifiers X",
                column=by if isinstance(by, str) else "by",
                advice="Pass the column itself, e.g. by=df['team'].",
            )
        names = list(fitted.x_.columns) if by is None else [by] if isinstance(by, str) else by
        for name in names:
            if name not in fitted.x_.columns:
                raise QuestionError(
                    "is not among the effect modifiers",
                    column=name,
                    advice=did_you_mean(name, fitted.x_.columns)
                    + " A column that is not in X can be passed itself, as a Series.",
                )
        return fitted.x_[list(names)]
    frame, _ = as_frame(by, "groups", "group")
    labelled = isinstance(by, pd.Series | pd.DataFrame)
    rows = pd.DataFrame(index=index)
    if labelled and fitted.labelled_ or len(frame) != len(index):
        frame = align(rows, frame, "by", "the fit")
    return table(frame.set_axis(index), what="groups", drop=False).frame


def only_with_both_arms(
    fitted: EffectEstimator, found: list, masks: list[np.ndarray], T0: Any, T1: Any
) -> list[tuple[str, str, int, Estimate]]:
    """No number where an arm never occurs; a warning where it hardly does."""
    if fitted.arms_ is None:
        return found
    t0, t1 = fitted._contrast(T0, T1)
    kept, small = [], []
    for (name, label, n, estimate), inside in zip(found, masks, strict=True):
        sizes = [int((fitted.overlap_.received[inside] == a).sum()) for a in (t0, t1)]
        least = int(np.argmin(sizes))
        arm = fitted.arms_[(t0, t1)[least]]
        if sizes[least] < 2:
            warn(
                "empty-group",
                f"{name} {label} has {count(sizes[least], 'row')} with {fitted.t_name_!r} = "
                f"{arm!r}: its effect can't be told",
                [name],
            )
            estimate = Estimate(float("nan"))
        elif sizes[least] < _SMALL:
            small.append(f"{name} {label} ({sizes[least]} with {arm!r})")
        kept.append((name, label, n, estimate))
    if small:
        warn(
            "sample-size",
            f"groups with fewer than {_SMALL} rows in an arm, whose intervals are not to be "
            f"relied on: {', '.join(small[:5])}{' ...' if len(small) > 5 else ''}",
        )
    return kept


def _table(found: list, alpha: float) -> pd.DataFrame:
    usable = max(sum(np.isfinite(e.se) for *_, e in found), 1)
    rows = []
    for name, label, n, estimate in found:
        low, high = estimate.interval(alpha)
        low_all, high_all = estimate.interval(alpha / usable)
        rows.append((name, label, n, estimate.value, estimate.se, low, high, low_all, high_all))
    columns = "column group n effect se low high low_all high_all".split()
    return pd.DataFrame(rows, columns=columns)


def _pairs(
    fitted: EffectEstimator, found: list, masks: list[np.ndarray], alpha: float
) -> pd.DataFrame:
    """Differences of groups of one column, with joint intervals.

    Scores of different units are independent; where they are not the groups' own, or share
    clusters, the sum of the two errors holds whatever their correlation.
    """
    columns = "column group than difference low high".split()
    usable = [i for i, (*_, e) in enumerate(found) if np.isfinite(e.se)]
    chosen = [(a, b) for a, b in combinations(usable, 2) if found[a][0] == found[b][0]]
    rows = []
    for a, b in chosen:
        (name, one, _, first), (_, other, _, second) = found[a], found[b]
        shared = fitted.groups_ is not None and len(
            np.intersect1d(fitted.groups_[masks[a]], fitted.groups_[masks[b]])
        )
        apart = hasattr(fitted, "scores_") and not shared
        error = np.hypot(first.se, second.se) if apart else first.se + second.se
        gap = first.value - second.value
        low, high = span(gap, error, min(first.df, second.df), alpha / len(chosen))
        rows.append((name, one, other, gap, low, high))
    if not usable:
        raise DataError(
            "no group has rows of both arms and a standard error",
            column=found[0][0] if found else "by",
            advice="Use fewer groups, or AIPW."
            if fitted.groups_ is None
            else "Each needs rows of several clusters; use fewer groups.",
        )
    return pd.DataFrame(rows, columns=columns)
