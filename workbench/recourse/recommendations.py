"""The answer: what each person could do, what it costs, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core import saving
from ..core.errors import CausalWarning, ParameterError, QuestionError
from ..core.results import number
from ..core.saving import saveable
from ..tables.gate import count
from .people import PeopleResult, join, position, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SURE = 0.95  # share of the graphs' weight that counts as all


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Recommendations(PeopleResult):
    """Recommendations for a table of people, in its order; nobody is dropped.

    Attributes:
        people: The caller's rows.
        recommended: The same rows with the recommended (and downstream) values.
        outcomes: Per person ``status`` (``found | already accepted | infeasible | not found |
            incomplete``), ``reason``, ``cost``, ``validity`` (share of the models asked that
            accept the result), ``plausibility`` (share of the data that lies in sparser regions;
            NaN without data), ``bound`` (proven lower bound of the cost), ``gap`` (cost minus
            bound), ``score`` today and ``score_after``.
        acted: Per person and feature, whether it is acted on.
        changed: Whether it is different afterwards.
        units, scales: Of the features.
        target: What had to be reached.
        cost_unit: What one unit of cost is.
        score_name: What the score is called.
        method: The method that answered.
        quantity: What the score is: the outcome's name for a change in the world.
        by_graph: Over several causal graphs, one row per person and graph (graphs that differ only
            where no action is felt count together, ``graphs`` says how many): their ``weight``,
            their own ``status``, ``plan`` (what to act on, and in which direction) and ``cost``,
            whether the recommendation ``works`` under them, and whether theirs ``agrees`` with
            it. ``outcomes`` then also has ``agreement``, the weight that agrees, and ``validity``
            is the weight under which the recommendation works. None for one graph.
        among: Which of the permitted changes ``bound`` and "infeasible" are about, where the
            method asks for more than today's model does; empty where all are meant.
    """

    people: pd.DataFrame
    recommended: pd.DataFrame
    outcomes: pd.DataFrame
    acted: pd.DataFrame
    changed: pd.DataFrame
    units: dict[str, str]
    scales: dict[str, float]
    target: str
    cost_unit: str
    score_name: str
    method: str
    quantity: str = "score"
    by_graph: pd.DataFrame | None = None
    among: str = ""
    warnings: tuple[CausalWarning, ...] = ()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per person: the outcomes and the recommended values (``long``: the changes).

        Values are empty for people without a recommendation, so that they can't be taken for
        one. A column of the data that is called like an outcome gets `` (recommended)`` added.
        """
        if long:
            return self.changes()
        answered = self.outcomes["status"].isin(["found", "already accepted"]).to_numpy()
        values = self.recommended
        if not answered.all():
            whole = {c: _with_room(values[c], answered) for c in values.columns}
            values = pd.DataFrame(whole, index=values.index)
        taken = set(self.outcomes.columns)
        values = values.rename(
            columns={c: f"{c} (recommended)" for c in values.columns if c in taken}
        )
        return pd.concat([self.outcomes, values], axis=1)

    def glance(self) -> pd.DataFrame:
        """Status, cost, validity, the features anybody acts on, the score today and after."""
        acted = [c for c in self.acted.columns if self.acted[c].any()]
        shares = ["validity"] if self.by_graph is None else ["validity", "agreement"]
        frame = self.to_frame()[["status", "cost", *shares, *acted, "score", "score_after"]]
        names = {"score": f"{self.quantity} today", "score_after": f"{self.quantity} after"}
        for name in acted:  # today's values are no advice
            shown = frame[name].astype(object).where(self.acted[name].to_numpy(), np.nan)
            frame[name] = shown.infer_objects()
        return frame.rename(columns=names).rename_axis(frame.index.name or "row")

    def changes(self) -> pd.DataFrame:
        """One row per person and feature that is acted on or follows.

        Columns ``person`` (index label), ``feature``, ``today``, ``recommended``, ``change``
        (empty for levels), ``unit`` and ``kind``: ``"act"``, ``"hold"`` (set to today's value so
        that it does not follow its causes) or ``"follows"`` (downstream, not acted on).
        """
        columns = ["person", "feature", "today", "recommended", "change", "unit", "kind"]
        rows = [
            (self.outcomes.index[i], *row) for i in range(len(self)) for row in self._of_person(i)
        ]
        return pd.DataFrame(rows, columns=columns)

    def _of_person(self, i: int) -> Iterator[tuple]:
        acted, changed = self.acted.to_numpy()[i], self.changed.to_numpy()[i]
        order = np.flatnonzero(acted & changed).tolist()
        order += np.flatnonzero(acted & ~changed).tolist()
        order += np.flatnonzero(~acted & changed).tolist()
        for j in order:
            name = self.acted.columns[j]
            today, new = self.people[name].iloc[i], self.recommended[name].iloc[i]
            is_number = name in self.scales and all(
                isinstance(v, int | float | np.number) and not isinstance(v, bool | np.bool_)
                for v in (today, new)
            )
            change = float(new) - float(today) if is_number else np.nan
            kind = "follows" if not acted[j] else "act" if changed[j] else "hold"
            yield name, today, new, change, self.units.get(name, ""), kind

    def summary(self) -> str:
        order = ("found", "already accepted", "infeasible", "not found", "incomplete")
        text = self._counted(order)
        found = self.outcomes.loc[(self.outcomes["status"] == "found").to_numpy(), "cost"]
        if len(found):
            text += f"; median cost {number(found.median())} ({self.cost_unit})"
        return text + "."

    def verdict(self) -> str:
        found = self.outcomes[(self.outcomes["status"] == "found").to_numpy()]
        if not len(found):
            return ""
        if self.quantity == "score":
            checked = "Checked with the model"
        else:  # the least that is enough by estimated mechanisms is, by their errors, often not
            checked = "Just enough by the fitted causal model, whose own errors are not counted: "
            checked += "ask for more than is needed"
        if self.by_graph is not None:
            return f"{self._over_graphs(found)} {checked}."
        if found["bound"].isna().all():
            return f"{checked}; cheaper ways may exist (this method proves no bound)."
        proven = (found["gap"] <= 1e-6 * (1 + found["cost"])).sum()
        among = f" {self.among}" if self.among else ""
        return f"{checked}; {proven} of {len(found)} are proven to be the cheapest{among}."

    @property
    def graphs(self) -> int:
        """How many causal graphs were asked."""
        if self.by_graph is None or not len(self):
            return 1
        return int(self.by_graph["graphs"].sum()) // len(self)

    def _over_graphs(self, found: pd.DataFrame) -> str:
        sure = int((found["validity"] >= _SURE).sum())
        median = found["validity"].median()
        return (
            f"Over {count(self.graphs, 'graph')}, {sure} of {count(len(found), 'plan')} work under "
            f"at least {_SURE:.0%} of their weight (median {median:.0%}); in the median "
            f"{found['agreement'].median():.0%} recommend the same."
        )

    def how(self) -> dict[str, Any]:
        return {"method": self.method, "target": self.target, "cost": self.cost_unit}

    def explain(self, person: Any) -> str:
        """The recommendation for one person in sentences.

        Args:
            person: The label of the row in the caller's index.
        """
        i = position(self.outcomes, person)
        row = self.outcomes.iloc[i]
        who = f"Person {person}"
        if row["status"] == "incomplete":
            return f"{who} can't be advised: {row['reason']}."
        score = number(row["score"], 4)
        if row["status"] == "already accepted":
            return f"{who} needs no change: {self.score_name} is {score} today ({self.target})."
        if row["status"] != "found":
            proof = self._no_change if row["status"] == "infeasible" else "No change found"
            return f"{who}: {proof} reaches {self.target} (today {score}): {row['reason']}."
        rows = list(self._of_person(i))
        acts = [_sentence(r) for r in rows if r[-1] != "follows"]
        text = f"{who}: {join(acts)}. That costs {number(row['cost'])} ({self.cost_unit}) "
        after = number(row["score_after"], 4)
        text += f"and moves {self.score_name} from {score} to {after} ({self.target})."
        follows = [r for r in rows if r[-1] == "follows" and r[0] != self.score_name]
        follows = [_sentence(r) for r in follows]
        if follows:
            text += f" As a consequence, {join(follows)}."
        if np.isfinite(row["bound"]):
            exact = row["gap"] <= 1e-6 * (1 + row["cost"])
            text += f" {self._no_change} "
            text += "is cheaper." if exact else f"costs less than {number(row['bound'])}."
        if self.by_graph is not None:
            text += (
                f" Over {count(self.graphs, 'graph')} it works under {row['validity']:.0%} of "
                f"their weight, and {row['agreement']:.0%} recommend the same."
            )
        return text

    @property
    def _no_change(self) -> str:
        return f"No permitted change {self.among}".rstrip()

    @property
    def _quantity(self) -> str:
        return "the score" if self.quantity == "score" else self.quantity

    def plot(self, person: Any, ax: Axes | None = None) -> Axes:
        """Changes of one person in units of the features' scales; downstream ones hollow."""
        import matplotlib.pyplot as plt

        i = position(self.outcomes, person)
        rows = list(self._of_person(i))
        ax = plt.subplots(figsize=(6, 0.5 * len(rows) + 1.2))[1] if ax is None else ax
        for y, (name, _, _, change, _, kind) in enumerate(rows):
            size = change / self.scales[name] if np.isfinite(change) else 1.0
            face = "none" if kind == "follows" else "#2b6cb0"
            ax.barh(y, size, color=face, edgecolor="#2b6cb0", height=0.6)
        labels = [f"{r[0]}: {shown(r[1])} → {shown(r[2])} {r[4]}".rstrip() for r in rows]
        ax.set_yticks(range(len(rows)), labels)
        ax.invert_yaxis()
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_xlabel("change in units of the feature's scale")
        ax.set_title(
            f"Person {person}: {self.outcomes['status'].iloc[position(self.outcomes, person)]}"
        )
        return ax

    def plot_graphs(self, ax: Axes | None = None, most: int = 15) -> Axes:
        """Per person the weight of the graphs under which the plan works (dot) and of those that
        recommend the same (ring), the surest first; returns the Axes."""
        import matplotlib.pyplot as plt

        if self.by_graph is None:
            raise QuestionError(
                "one causal graph was asked", advice="Ask with over='graphs', or plot(person)."
            )
        found = self.outcomes[(self.status == "found").to_numpy()]
        found = found.sort_values(["validity", "agreement"], ascending=False, kind="stable")
        found = found.head(most)
        ax = plt.subplots(figsize=(6, 0.3 * len(found) + 1.4))[1] if ax is None else ax
        for y, (works, agrees) in enumerate(found[["validity", "agreement"]].to_numpy()):
            ax.plot([works, agrees], [y, y], color="0.8", linewidth=1.2, zorder=1)
        rows = range(len(found))
        ax.scatter(found["validity"], rows, color="#2b6cb0", label="the plan works", zorder=3)
        look = {"facecolors": "none", "edgecolors": "#2b6cb0", "s": 60, "zorder": 2}
        ax.scatter(found["agreement"], rows, label="recommend the same", **look)
        ax.set_yticks(rows, [f"row {label}".replace("$", r"\$") for label in found.index])
        ax.invert_yaxis()
        ax.set_xlim(-0.03, 1.03)
        ax.set_xlabel(f"share of the weight of {count(self.graphs, 'graph')}")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
        return ax

    @classmethod
    def load(cls, path: str | Path) -> Recommendations:
        """Read what :meth:`save` wrote."""
        return saving.load(path)


def _with_room(column: pd.Series, answered: np.ndarray) -> pd.Series:
    """The column with empty cells where nobody was answered."""
    if pd.api.types.is_bool_dtype(column.dtype):
        column = column.astype(object)
    return column.where(answered)


def _sentence(row: tuple) -> str:
    name, today, new, change, unit, kind = row
    unit = f" {unit}" if unit else ""
    if kind == "hold":
        return f"hold {name} at {shown(today)}{unit}"
    if kind == "follows" and np.isfinite(change):
        verb = "rises" if change > 0 else "falls"
        return f"{name} {verb} by {number(abs(change))} to {shown(new)}{unit}"
    if kind == "follows":
        return f"{name} goes from {shown(today)} to {shown(new)}{unit}"
    verb = "change" if not np.isfinite(change) else "raise" if change > 0 else "lower"
    return f"{verb} {name} from {shown(today)} to {shown(new)}{unit}"


def require_recommendations(given: Any, what: str) -> None:
    """Refuse anything else, in words that say what was asked for."""
    if not isinstance(given, Recommendations):
        raise ParameterError(
            what,
            column="recommendations",
            value=type(given).__name__,
            advice="Of alternatives() each of .options is one.",
        )
