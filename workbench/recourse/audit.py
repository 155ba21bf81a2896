"""Is recourse as near for one group as for another: cost and lack of recourse, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core import saving
from ..core.errors import (
    CausalWarning,
    DataError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.results import Result, count, interval, number
from ..core.saving import saveable
from ..core.seeding import Seed, generator
from .method import ACCEPTED, FOUND, INCOMPLETE, INFEASIBLE
from .recommendations import Recommendations, require_recommendations

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 30
_CELLS = 2_000_000


def audit(
    recommendations: Recommendations,
    groups: str | pd.Series,
    *,
    reference: Any = None,
    alpha: float = 0.05,
    n_boot: int = 2000,
    random_state: Seed = 0,
) -> Audit:
    """Cost and lack of recourse by group, and how groups differ from a reference group.

    Of a group with n people who are not accepted today, m of them without recourse:

    - ``no recourse = m / n`` with Wilson's interval; its difference from the reference group with
      Newcombe's, which combines the two Wilson intervals.
    - ``median cost``, where lack of recourse counts as infinitely dear, so that a group is not
      made to look well off by its hardest cases dropping out. ``mean cost`` is over people with
      recourse only. Both, and differences of means, have percentile bootstrap intervals: people of
      each group are drawn anew.

    "No recourse" is what the method could not find; only ``proven`` of it has a proof. A difference
    says nothing about its causes, and equal costs of unequal thresholds are no equality.

    Args:
        recommendations: Of a method; one row per person.
        groups: A column of the people, or a series with the same index.
        reference: The group that others are compared with; the largest by default.
        alpha: One minus the coverage of the intervals.
        n_boot: Draws.
        random_state: Seed.

    Raises:
        DataError: An unknown column, another index, an empty cell.
        QuestionError: Fewer than two groups; an unknown reference group.

    Warns:
        ``few-people``: A group has fewer than 30 people to compare.
        ``dropped-costs``: Mean costs are compared although lack of recourse differs.

    References:
        Gupta et al., "Equalizing recourse across groups", 2019; Newcombe, "Interval estimation for
        the difference between independent proportions", Statistics in Medicine 17, 1998.

    Example:
        >>> from workbench.recourse import ExactRecourse, RecourseProblem
        >>> from sklearn.linear_model import LinearRegression
        >>> df = pd.DataFrame({"a": [float(i % 20) for i in range(120)], "b": [0.0, 1.0, 2.0] * 40})
        >>> model = LinearRegression().fit(df, df["a"])
        >>> problem = RecourseProblem(model, data=df, target={"above": 15}, scale={"a": 1, "b": 1})
        >>> plan = ExactRecourse().fit(problem).recommend(df, progress=False)
        >>> town = pd.Series(["north", "south"] * 60)
        >>> audit(plan, town).to_frame()["mean cost"].round(6).tolist()
        [8.0, 8.0]
    """
    require_recommendations(recommendations, "must be Recommendations")
    for name, value, good in (
        ("alpha", alpha, 0 < alpha < 1),
        ("n_boot", n_boot, isinstance(n_boot, int | np.integer) and n_boot >= 100),
    ):
        if not good:
            rule = "must lie between 0 and 1" if name == "alpha" else "must be at least 100"
            raise ParameterError(rule, column=name, value=value)
    labels, title = _labels(recommendations, groups)
    with recording() as notes:
        order = labels.value_counts(sort=False)
        names = sorted(order.index, key=lambda g: (str(type(g)), str(g)))
        if len(names) < 2:
            raise QuestionError("a comparison needs at least two groups", column=title)
        cells = {g: _Group(recommendations, (labels == g).to_numpy(), alpha) for g in names}
        base = _reference(reference, cells, title)
        rng = generator(random_state)
        means = {g: cell.draw(rng, n_boot) for g, cell in cells.items()}
        ends = alpha / 2, 1 - alpha / 2
        rows = [cells[g].row(means[g], ends) for g in names]
        differences = [_difference(cells, means, g, base, ends) for g in names if g != base]
        _warn(names, cells, base, title, differences)
    index = pd.Index(names, name=title)
    return Audit(
        groups=pd.DataFrame(rows, index=index),
        differences=pd.DataFrame(
            differences, index=pd.Index([g for g in names if g != base], name=title)
        ),
        reference=base,
        alpha=float(alpha),
        cost_unit=recommendations.cost_unit,
        method=recommendations.method,
        target=recommendations.target,
        warnings=tuple(dict.fromkeys((*recommendations.warnings, *notes))),
    )


def wilson(hits: int, n: int, alpha: float) -> tuple[float, float]:
    """Wilson's interval of a share; (0, 1) where there is nobody.

    Example:
        >>> [round(end, 3) for end in wilson(0, 10, 0.05)]
        [0.0, 0.278]
    """
    from scipy.special import ndtri

    if not n:
        return 0.0, 1.0
    z, share = float(ndtri(1 - alpha / 2)), hits / n
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = center - half, center + half
    return (0.0 if hits == 0 else float(low)), (1.0 if hits == n else float(high))


class _Group:
    """People of one group who are not accepted, and their costs; infinite without recourse."""

    def __init__(self, plan: Recommendations, members: np.ndarray, alpha: float):
        status, cost = (plan.outcomes[c].to_numpy()[members] for c in ("status", "cost"))
        self.people, self.incomplete = len(status), int((status == INCOMPLETE).sum())
        self.accepted = int((status == ACCEPTED).sum())
        asked = (status != ACCEPTED) & (status != INCOMPLETE)
        self.cost = np.where(status == FOUND, cost, np.inf)[asked].astype(float)
        self.n, self.without = len(self.cost), int(np.isinf(self.cost).sum())
        self.proven = int((status == INFEASIBLE).sum())
        self.share = self.without / self.n if self.n else np.nan
        self.interval = wilson(self.without, self.n, alpha)

    def draw(self, rng: np.random.Generator, n_boot: int) -> np.ndarray:
        """Mean of those with recourse and median of all, of people drawn anew, ``(n_boot, 2)``."""
        out = np.full((n_boot, 2), np.nan)
        step = max(_CELLS // max(self.n, 1), 1)
        # One person drawn from one is always the same: that says nothing of an interval.
        for start in range(0, n_boot if self.n > 1 else 0, step):
            part = out[start : start + step]
            part[:] = _mean_and_median(self.cost[rng.integers(self.n, size=(len(part), self.n))])
        return out

    def row(self, drawn: np.ndarray, ends: tuple[float, float]) -> dict[str, Any]:
        mean, median = _mean_and_median(self.cost[None])[0]
        mean_ends = _ends(drawn[:, 0], ends)
        median_ends = _ends(drawn[:, 1], ends)
        return {
            "people": self.people,
            "accepted": self.accepted,
            "incomplete": self.incomplete,
            "asked": self.n,
            "no recourse": self.share,
            "no recourse low": self.interval[0],
            "no recourse high": self.interval[1],
            "proven": self.proven,
            "median cost": median,
            "median cost low": median_ends[0],
            "median cost high": median_ends[1],
            "mean cost": mean,
            "mean cost low": mean_ends[0],
            "mean cost high": mean_ends[1],
        }


def _mean_and_median(cost: np.ndarray) -> np.ndarray:
    """Mean of the finite costs of each row, and lower median of all: infinities have no mean."""
    found = np.isfinite(cost)
    total, n = np.where(found, cost, 0.0).sum(axis=1), found.sum(axis=1)
    mean = np.divide(total, n, out=np.full(len(cost), np.nan), where=n > 0)
    middle = (cost.shape[1] - 1) // 2
    if middle < 0:
        return np.full((len(cost), 2), np.nan)
    return np.stack([mean, np.partition(cost, middle, axis=1)[:, middle]], axis=1)


def _ends(drawn: np.ndarray, ends: tuple[float, float]) -> tuple[float, float]:
    """Percentiles among draws, infinite ones included; not defined draws are left out."""
    drawn = np.sort(drawn[~np.isnan(drawn)])
    if len(drawn) < 2:
        return np.nan, np.nan
    low, high = (int(round(q * (len(drawn) - 1))) for q in ends)
    return float(drawn[low]), float(drawn[high])


def _difference(
    cells: dict[Any, _Group],
    drawn: dict[Any, np.ndarray],
    group: Any,
    base: Any,
    ends: tuple[float, float],
) -> dict[str, float]:
    """A group minus the reference group."""
    one, other = cells[group], cells[base]
    gap = one.share - other.share
    (low, high), (base_low, base_high) = one.interval, other.interval
    below = np.hypot(one.share - low, base_high - other.share)
    above = np.hypot(high - one.share, other.share - base_low)
    cost = _mean_and_median(one.cost[None])[0, 0] - _mean_and_median(other.cost[None])[0, 0]
    cost_low, cost_high = _ends(drawn[group][:, 0] - drawn[base][:, 0], ends)
    return {
        "no recourse": gap,
        "no recourse low": gap - below,
        "no recourse high": gap + above,
        "mean cost": cost,
        "mean cost low": cost_low,
        "mean cost high": cost_high,
    }


def _labels(plan: Recommendations, groups: Any) -> tuple[pd.Series, str]:
    if isinstance(groups, str):
        if groups not in plan.people.columns:
            raise DataError(
                "is no column of the people",
                column=groups,
                advice=did_you_mean(groups, plan.people.columns),
            )
        groups = plan.people[groups]
    if not isinstance(groups, pd.Series):
        raise ParameterError(
            "must be a column's name or a series", column="groups", value=type(groups).__name__
        )
    title = "group" if groups.name is None else str(groups.name)
    if not groups.index.equals(plan.outcomes.index):
        raise DataError(
            "has another index than the people", column=title, advice="Use the rows of the people."
        )
    if groups.isna().any():
        i = int(groups.isna().to_numpy().argmax())
        raise DataError(
            "has an empty cell", column=title, row=groups.index[i], advice="Name a group for it."
        )
    return groups.astype(object), title


def _reference(reference: Any, cells: dict[Any, _Group], title: str) -> Any:
    if reference is None:
        return max(cells, key=lambda g: cells[g].n)
    if reference not in cells:
        raise QuestionError(
            "is no group", column=title, value=reference, advice=did_you_mean(reference, cells)
        )
    return reference


def _warn(
    names: list, cells: dict[Any, _Group], base: Any, title: str, differences: list[dict]
) -> None:
    small = [g for g in names if cells[g].n < _FEW]
    if small:
        shown = ", ".join(f"{g!r} ({cells[g].n})" for g in small[:5])
        warn(
            "few-people",
            f"{count(len(small), 'group')} of {title!r} with fewer than {_FEW} people to compare: "
            f"{shown}; intervals are wide and bootstrap ones too narrow",
            [title],
        )
    others = [g for g in names if g != base]
    apart = [
        g
        for g, d in zip(others, differences, strict=True)
        if d["no recourse low"] > 0 or d["no recourse high"] < 0
    ]
    if apart:
        warn(
            "dropped-costs",
            f"lack of recourse differs between {base!r} and {', '.join(map(repr, apart[:5]))}: "
            "mean costs leave out those without recourse, so compare the medians",
            [title],
        )


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Audit(Result):
    """Recourse by group.

    Attributes:
        groups: A row per group: ``people``, ``accepted`` today, ``incomplete``, ``asked`` (the
            others), share with ``no recourse``, ``proven`` infeasible, ``median cost`` (lack of
            recourse counts as infinite), ``mean cost`` (of those with recourse); intervals as
            ``... low`` and ``... high``.
        differences: A row per other group: that group minus the reference group.
        reference: The reference group.
        alpha: One minus the coverage of the intervals.
        cost_unit, method, target: Of the recommendations.
    """

    groups: pd.DataFrame
    differences: pd.DataFrame
    reference: Any
    alpha: float
    cost_unit: str
    method: str
    target: str
    warnings: tuple[CausalWarning, ...] = ()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per group; ``long``: one per group and quantity, differences included."""
        if not long:
            return self.groups
        parts = []
        for table, against in ((self.groups, ""), (self.differences, f"minus {self.reference}")):
            for name in ("no recourse", "median cost", "mean cost"):
                if name in table.columns:
                    three = table[[name, f"{name} low", f"{name} high"]]
                    three = three.set_axis(["value", "low", "high"], axis=1)
                    parts.append(three.assign(quantity=name, against=against).reset_index())
        out = pd.concat(parts, ignore_index=True)
        first = self.groups.index.name
        return out[[first, "quantity", "against", "value", "low", "high"]]

    def glance(self) -> pd.DataFrame:
        """How many are asked, share without recourse, costs."""
        return self.groups[["asked", "no recourse", "median cost", "mean cost"]]

    def summary(self) -> str:
        worst = self.groups["no recourse"].idxmax() if self.groups["asked"].any() else None
        text = f"Recourse of {int(self.groups['asked'].sum())} people in {len(self.groups)} groups"
        if worst is not None:
            row = self.groups.loc[worst]
            ends = interval(100 * row["no recourse low"], 100 * row["no recourse high"])
            lack = f"{row['no recourse']:.0%} ({ends} %)"
            text += f"; most often none for {worst}: {lack}" if row["no recourse"] else ""
            text += "" if row["no recourse"] else "; everybody has some"
        return text + "."

    def verdict(self) -> str:
        if not self.groups["asked"].any():
            return "Nobody was without the outcome, so there is nothing to compare."
        said = []
        for group, d in self.differences.iterrows():
            parts = [
                f"{name} {'more' if d[name] > 0 else 'less'} by {number(abs(d[name]))}"
                for name in ("no recourse", "mean cost")
                if d[f"{name} low"] > 0 or d[f"{name} high"] < 0
            ]
            if parts:
                said.append(f"{group}: {', '.join(parts)}")
        level = f"{1 - self.alpha:.0%}"
        if not said:
            return f"No difference from {self.reference} is beyond its {level} interval."
        return f"Beyond the {level} interval, against {self.reference}: {'; '.join(said[:3])}."

    def how(self) -> dict[str, Any]:
        return {"method": self.method, "target": self.target, "cost": self.cost_unit}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Share without recourse by group, with intervals; returns the Axes."""
        import matplotlib.pyplot as plt

        table, rows = self.groups, range(len(self.groups))
        ax = plt.subplots(figsize=(6, 0.4 * len(table) + 1.2))[1] if ax is None else ax
        ax.hlines(rows, table["no recourse low"], table["no recourse high"], color="#2b6cb0")
        ax.scatter(table["no recourse"], rows, color="#2b6cb0", zorder=3)
        ax.set_yticks(rows, [str(g).replace("$", r"\$") for g in table.index])
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel(f"share without recourse, {1 - self.alpha:.0%} intervals")
        return ax

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write to a folder; :func:`workbench.load` reads it back."""
        return saving.save(self, path, force)
