"""Could the contrast have been seen? Overlap, balance and effective sample size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import caption, level_of, name_axes
from ..core.errors import CausalWarning, recording, warn
from ..core.results import Result, number
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData, effect_data
from ..tables.gate import count
from ..tables.schema import Schema
from .design import content_rank, covariates, nuisance_inputs
from .nuisance import Basis, cross_fit, fold_ids, propensities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 0.01  # a propensity below this is no evidence that the arm was possible
_NOTICEABLE, _LARGE_SMD = 0.1, 0.25


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class Overlap(Result):
    """Whether the treatments being compared were possible for the same kind of unit.

    For arms: cross-fitted propensities P(arm | covariates). A unit is outside common support if
    some arm has propensity below 0.01 for it, or below that of every unit in that arm. For a
    dose: the share of its variance that the covariates leave unexplained (cross-fitted).

    Attributes:
        treatment: Name of the treatment.
        arms: The arms, or None for a dose.
        score: Propensities (n, arms), or for a dose its prediction from the covariates (n, 1).
        received: The arm's position, or the dose, of each unit (n,).
        outside: Labels of the units outside common support.
        auc: For arms: how well covariates separate the arms (0.5 not at all, 1 wholly); for a
            dose: the cross-fitted R².
        ess: Effective number of rows: per arm under inverse-propensity weights, or for a dose
            n times the unexplained share of its variance.
        sizes: Rows per arm, or (n,).
        balance: Standardised mean differences per covariate before and after weighting (for a
            dose: correlations with it before and after residualising).
        index: The units' labels.
        chosen: What predicts the treatment best.
    """

    treatment: str
    arms: tuple[Any, ...] | None
    score: np.ndarray
    received: np.ndarray
    outside: tuple[Any, ...]
    auc: float
    ess: tuple[float, ...]
    sizes: tuple[int, ...]
    balance: pd.DataFrame
    index: pd.Index
    chosen: tuple[str, ...]
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def grade(self) -> str:
        """``"good"``, ``"limited"`` or ``"none"``."""
        share = len(self.outside) / len(self.index)
        if self.auc >= 0.99 or share >= 0.5:
            return "none"
        effective = min(e / s for e, s in zip(self.ess, self.sizes, strict=True))
        if self.arms is None:
            return "limited" if self.auc > 0.9 or share > 0.1 else "good"
        rare = float((self.score < FLOOR).any(axis=1).mean())
        return "limited" if rare > 0.02 or share > 0.1 or effective < 0.2 else "good"

    def summary(self) -> str:
        outside = (
            f"{count(len(self.outside), 'unit')} of {len(self.index):,} outside common support"
        )
        if self.arms is None:
            return (
                f"Overlap for {self.treatment!r} is {self.grade}: covariates explain "
                f"{100 * max(self.auc, 0):.0f} % of its variance; {outside}."
            )
        ess = ", ".join(
            f"{number(e)} of {s:,} for {a!r}"
            for a, e, s in zip(self.arms, self.ess, self.sizes, strict=True)
        )
        return f"Overlap for {self.treatment!r} is {self.grade}: effective rows {ess}; {outside}."

    def verdict(self) -> str:
        left = self.balance["after"].abs()
        if (
            self.grade == "good"
            and self.arms is not None
            and len(left)
            and left.max() > _NOTICEABLE
        ):
            return (
                f"good: comparable units exist; after weighting {left.idxmax()!r} still differs by "
                f"{number(left.max())} sd, which the outcome models must account for."
            )
        return {
            "good": "good: like is compared with like.",
            "limited": "limited: the answer leans on few comparable units or on the model's form.",
            "none": "none: the arms have no comparable units; any number is extrapolation.",
        }[self.grade]

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per unit: its score and whether it is outside; ``long=True``: one per arm."""
        names = ["prediction"] if self.arms is None else [f"P({a!r})" for a in self.arms]
        frame = pd.DataFrame(self.score, index=self.index, columns=names)
        frame["outside"] = self.index.isin(list(self.outside))
        if not long:
            return frame
        return frame.reset_index(names="unit").melt(
            id_vars=["unit", "outside"], var_name="quantity", value_name="value"
        )

    def glance(self) -> pd.DataFrame:
        """The balance of the covariates before and after weighting."""
        return self.balance.rename_axis("imbalance of")

    def how(self) -> dict[str, Any]:
        return {
            "model": "; ".join(self.chosen),
            "separation (AUC)" if self.arms else "R² of the dose": number(self.auc),
            "units outside": ", ".join(map(str, self.outside[:10])) or "none",
            "largest imbalance after weighting": number(self.balance["after"].abs().max())
            if len(self.balance)
            else "no covariates",
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Propensities by the arm received, or the dose received against its prediction."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        if self.arms is None:
            odd = self.index.isin(list(self.outside))
            for part, color in ((~odd, "#2b6cb0"), (odd, "#c05621")):
                ax.scatter(self.score[part, 0], self.received[part], s=9, alpha=0.5, color=color)
            low, high = self.received.min(), self.received.max()
            ax.plot([low, high], [low, high], color="0.6", linewidth=0.8)
            name_axes(
                ax,
                f"{self.treatment} predicted from the covariates",
                f"{self.treatment} received",
            )
            return ax
        bins = np.linspace(0, 1, 26)
        shown = 1 if len(self.arms) == 2 else None
        for j, arm in enumerate(self.arms):
            got = self.score[self.received == j, j if shown is None else shown]
            ax.hist(got, bins=bins, alpha=0.5, label=caption(f"received {arm!r}"))
        own = "the arm received" if shown is None else repr(self.arms[1])
        name_axes(ax, f"propensity of {own}", "units")
        ax.legend()
        return ax

    def plot_balance(self, ax: Axes | None = None) -> Axes:
        """Imbalance of each covariate before and after weighting, the largest on top."""
        import matplotlib.pyplot as plt

        order = self.balance["before"].abs().sort_values(kind="stable").index[-30:]
        shown = self.balance.loc[order].abs()
        if ax is None:
            size = (6.4, max(2.4, 0.28 * len(shown) + 1))
            ax = plt.subplots(figsize=size, layout="constrained")[1]
        places = np.arange(len(shown))
        ax.hlines(places, shown.min(axis=1), shown.max(axis=1), color="0.8")
        ax.plot(shown["before"], places, "o", mfc="none", color="#c05621", label="before")
        ax.plot(shown["after"], places, "o", color="#2b6cb0", label="after weighting")
        ax.axvline(0.1, color="0.5", linewidth=0.8, linestyle="--")
        cut = [str(name).partition("=") for name in shown.index]
        labels = [
            level_of(name, level, between) if between else caption(name)
            for name, between, level in cut
        ]
        ax.set_yticks(places, labels, fontsize=8)
        ax.set_xlim(left=0)
        what = "correlation with the dose" if self.arms is None else "standardised difference"
        name_axes(ax, f"{what}, absolute (0.1 is noticeable)")
        ax.legend(fontsize=8)
        return ax


def overlap(
    df: pd.DataFrame,
    treatment: str,
    covariates: Iterable[str] | None = None,
    *,
    schema: Schema | None = None,
    random_state: Seed = 0,
) -> Overlap:
    """Diagnose overlap, balance and effective sample size of a treatment.

    Args:
        df: The table.
        treatment: Column with the treatment (arms or a dose).
        covariates: Columns to compare on; all others by default (leave out the outcome!).
        schema: What the columns mean.
        random_state: Seed of the folds.

    References:
        Crump et al., "Dealing with limited overlap in estimation of average treatment effects",
        Biometrika 96(1), 2009.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"age": rng.normal(50, 9, 200), "drug": rng.integers(0, 2, 200)})
        >>> overlap(df, "drug", ["age"]).grade
        'good'
    """
    with recording() as notes:
        found = diagnose(_design(df, treatment, covariates, schema), random_state)
    return _with_warnings(found, notes)


def balance(
    df: pd.DataFrame,
    treatment: str,
    covariates: Iterable[str] | None = None,
    *,
    schema: Schema | None = None,
    random_state: Seed = 0,
) -> pd.DataFrame:
    """Standardised mean differences before and after inverse-propensity weighting.

    (mean of an arm - mean of the control arm) / pooled standard deviation, the largest over arms;
    above 0.1 is noticeable, above 0.25 is large. Arguments as :func:`overlap`.

    References:
        Austin, "Balance diagnostics for comparing the distribution of baseline covariates",
        Statistics in Medicine 28(25), 2009.
    """
    return overlap(df, treatment, covariates, schema=schema, random_state=random_state).balance


def _design(
    df: pd.DataFrame, treatment: str, names: Iterable[str] | None, schema: Schema | None
) -> EffectData:
    from ..tables.gate import table

    treatment = str(treatment)  # names are text in a checked table
    wanted = list(map(str, df.columns if names is None else names))
    if names is None:
        wanted = [name for name in wanted if name != treatment]
    checked = table(df, schema=schema, columns=[treatment, *wanted], min_rows=10)
    # The gate of effects wants an outcome; a counter stands in, it is not used.
    counter = pd.Series(np.arange(len(checked.frame)) % 3, index=checked.frame.index)
    return effect_data(
        counter.to_numpy(dtype=float),
        checked.frame[treatment],
        W=checked.frame[wanted] if wanted else None,
        schema=checked.schema,
    )


def _with_warnings(found: Overlap, notes: Sequence[CausalWarning]) -> Overlap:
    return replace(found, warnings=tuple(notes))


def diagnose(data: EffectData, random_state: Seed = 0) -> Overlap:
    """The diagnosis behind :func:`overlap`, on checked data; issues ``overlap`` warnings."""
    with recording() as notes:
        found = _arms(data, random_state) if data.arms else _dose(data, random_state)
        _tell(found)
        if data.arms:
            _tell_empty_levels(data)
    return _with_warnings(found, notes)


def _arms(data: EffectData, random_state: Seed) -> Overlap:
    fold_seed, model_seed = spawn(random_state, 2)
    z, names = covariates(data)
    n, k = len(data), len(data.arms)
    weight = np.ones(n) if data.weight is None else data.weight
    rank = content_rank(data)
    fold = fold_ids(n, 5, fold_seed, groups=data.groups, strata=data.t, rank=rank)
    seen = nuisance_inputs(data)
    score, chosen = propensities(
        seen, data.t, k, fold, weight=weight, basis=Basis.fit(seen), random_state=model_seed
    )
    member = data.t[:, None] == np.arange(k)
    lowest = np.array([score[member[:, a], a].min() for a in range(k)])
    outside = ((score < FLOOR) | (score < lowest - 1e-12)).any(axis=1)
    inverse = np.where(member, weight[:, None] / np.maximum(score, FLOOR), 0.0)
    ess = inverse.sum(axis=0) ** 2 / (inverse**2).sum(axis=0)
    return Overlap(
        treatment=data.t_name,
        arms=data.arms,
        score=score,
        received=data.t,
        outside=tuple(data.index[outside]),
        auc=max(_auc(score[:, a], member[:, a]) for a in range(k)),
        ess=tuple(float(e) for e in ess),
        sizes=tuple(int(s) for s in member.sum(axis=0)),
        balance=_differences(z, names, member, weight, inverse),
        index=data.index,
        chosen=chosen,
    )


def _auc(score: np.ndarray, member: np.ndarray) -> float:
    from scipy.stats import rankdata

    rank, inside = rankdata(score), int(member.sum())
    other = len(member) - inside
    return float((rank[member].sum() - inside * (inside + 1) / 2) / (inside * other))


def _differences(
    z: np.ndarray,
    names: tuple[str, ...],
    member: np.ndarray,
    weight: np.ndarray,
    inverse: np.ndarray,
) -> pd.DataFrame:
    def means(weights: np.ndarray) -> np.ndarray:
        return (weights.T @ z) / weights.sum(axis=0)[:, None]

    raw = member * weight[:, None]
    pooled = np.sqrt(np.mean([z[inside].var(axis=0) for inside in member.T], axis=0))
    spread = np.where(pooled > 1e-12, pooled, 1.0)
    columns = {}
    for label, weights in (("before", raw), ("after", inverse)):
        gaps = (means(weights)[1:] - means(weights)[0]) / spread
        pick = np.abs(gaps).argmax(axis=0)
        columns[label] = gaps[pick, np.arange(len(names))]
    return pd.DataFrame(columns, index=pd.Index(names, name="covariate"))


def _dose(data: EffectData, random_state: Seed) -> Overlap:
    fold_seed, model_seed = spawn(random_state, 2)
    z, names = covariates(data)
    n = len(data)
    weight = np.ones(n) if data.weight is None else data.weight
    share = weight / weight.sum()
    center = share @ data.t
    spread = np.sqrt(share @ (data.t - center) ** 2)
    dose = (data.t - center) / spread
    fit = cross_fit(
        nuisance_inputs(data),
        dose,
        fold_ids(n, 5, fold_seed, groups=data.groups, rank=content_rank(data)),
        weight=weight,
        random_state=model_seed,
    )
    rest = dose - fit.values
    unexplained = float(share @ rest**2)
    # Units whose dose their own covariates all but fix tell nothing about other doses.
    outside = np.abs(fit.values) > np.quantile(np.abs(dose), 0.99) + 3 * np.sqrt(unexplained)
    before, after = (
        np.array([_correlation(z[:, j], d, share) for j in range(z.shape[1])]) for d in (dose, rest)
    )
    return Overlap(
        treatment=data.t_name,
        arms=None,
        score=(fit.values * spread + center)[:, None],
        received=data.t,
        outside=tuple(data.index[outside]),
        auc=1 - unexplained,
        ess=(n * min(unexplained, 1.0),),
        sizes=(n,),
        balance=pd.DataFrame(
            {"before": before, "after": after}, index=pd.Index(names, name="covariate")
        ),
        index=data.index,
        chosen=(fit.chosen,),
    )


def _correlation(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> float:
    a, b = a - share @ a, b - share @ b
    size = np.sqrt((share @ a**2) * (share @ b**2))
    return float(share @ (a * b) / size) if size > 1e-12 else 0.0


def _tell_empty_levels(data: EffectData) -> None:
    """A level in which an arm never occurs is a fact, whatever a model of propensities says."""
    for part in (data.x, data.w):
        if part is None:
            continue
        for feature in part.schema:
            column = part.frame[feature.name]
            if not feature.is_discrete or len(column.cat.categories) > 50:
                continue
            counts = pd.crosstab(column, data.t).reindex(
                columns=range(len(data.arms)), fill_value=0
            )
            # In a small level an arm may be absent by chance.
            share = np.bincount(data.t, minlength=len(data.arms)) / len(data)
            size = counts.sum(axis=1).to_numpy()[:, None]
            absent = (counts.to_numpy() == 0) & (size * share > 5)
            if absent.any():
                i, a = np.argwhere(absent)[0]
                rows = int(size[absent.any(axis=1), 0].sum())
                warn(
                    "empty-level",
                    f"no row with {feature.name!r} = {counts.index[i]!r} received "
                    f"{data.t_name!r} = {data.arms[a]!r} ({count(rows, 'row')} in such levels): "
                    "for them the effect is extrapolation",
                    [feature.name],
                )


def _tell(found: Overlap) -> None:
    shown = ", ".join(map(str, found.outside[:5])) + (" ..." if len(found.outside) > 5 else "")
    units = f" Units outside common support: {len(found.outside)} ({shown})." * bool(found.outside)
    if found.grade == "none":
        warn(
            "overlap",
            f"no overlap: the covariates all but determine {found.treatment!r}, so no comparable "
            f"units exist and any effect is extrapolation.{units}",
            [found.treatment],
        )
    elif found.grade == "limited":
        warn(
            "overlap",
            f"limited overlap for {found.treatment!r}: effective rows "
            f"{', '.join(number(e) for e in found.ess)} of {found.sizes}.{units}",
            [found.treatment],
        )
    if found.arms is not None and found.grade != "none" and len(found.balance):
        left = found.balance["after"].abs()
        noise = 3 / np.sqrt(min(found.ess))
        bad = list(left.index[left > max(_LARGE_SMD, noise)])
        if bad:
            warn(
                "balance",
                f"{', '.join(map(repr, bad[:5]))} stay unbalanced between the arms after weighting "
                f"(largest standardised difference {number(left.max())})",
                bad,
            )
