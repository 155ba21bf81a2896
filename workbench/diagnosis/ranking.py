"""Ranking: which nodes are to blame, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning
from ..core.results import Result, number
from ..core.saving import saveable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Status = Literal["found", "no root cause found", "abstain"]


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Ranking(Result):
    """The answer of a diagnosis method for one incident.

    ``status`` is ``"found"`` (some nodes are blamed), ``"no root cause found"`` (the target is
    usual, or nothing qualifies) or ``"abstain"`` (the question can't be answered from what was
    recorded); the ``sentence`` says why.

    Attributes:
        method: Name of the method.
        target: The metric explained.
        row: Index label of the row explained; None if the target was never recorded.
        status: See above.
        sentence: The answer in one sentence.
        unit: What the scores are, e.g. ``"nats"``.
        table: One row per node, best first: score, se, deviation, blamed, reason.
        members: Collapsed loop -> its metrics.
        marginalised: Metric without data -> why; a fault there is blamed on its neighbours.
        warnings: The conditions to keep in mind.
        details: What the answer rests on.

    Example:
        >>> normal = pd.DataFrame(np.random.default_rng(0).normal(size=(99, 2)), columns=["a", "b"])
        >>> from workbench.diagnosis import Incident, NSigma, System
        >>> incident = Incident(pd.DataFrame({"a": [9.0], "b": [5.0]}), target="b")
        >>> ranking = NSigma().fit(System(None, normal)).rank(incident)
        >>> ranking.status, ranking.nodes
        ('found', ('a',))
    """

    method: str
    target: str
    row: Any
    status: Status
    sentence: str
    unit: str
    table: pd.DataFrame
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marginalised: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[CausalWarning, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The blamed nodes, most to blame first; empty unless the status is ``"found"``."""
        return tuple(self.table.index[self.table["blamed"].to_numpy(dtype=bool)])

    @property
    def scores(self) -> pd.Series:
        """Scores of all nodes, best first (a copy)."""
        return self.table["score"].copy()

    def reason(self, node: str) -> str:
        """Why a node is blamed or not."""
        return str(self.table.loc[node, "reason"])

    def summary(self) -> str:
        return self.sentence

    def verdict(self) -> str:
        if self.status != "found":
            return f"{self.status}."
        close = self.tied()
        if len(close) > 1:
            return f"found, but not separable: {_listed(close)} are within two standard errors."
        if self.warnings:
            return "found: read it with the conditions below."
        return "found."

    def tied(self) -> tuple[str, ...]:
        """The first blamed node and those not separable from it (two standard errors)."""
        blamed = self.table[self.table["blamed"].to_numpy(dtype=bool)]
        if blamed.empty:
            return ()
        score, se = blamed["score"].to_numpy(), np.nan_to_num(blamed["se"].to_numpy())
        slack = 2 * np.hypot(se[0], se) + 1e-9 * abs(score[0])
        return tuple(blamed.index[score[0] - score <= slack])

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per node, best first; ``long=True`` gives one row per node and quantity."""
        frame = self.table.copy()
        if not long:
            return frame
        numbers = frame[["score", "se", "deviation"]].rename_axis("node").reset_index()
        return numbers.melt("node", var_name="quantity", value_name="value")

    def how(self) -> dict[str, Any]:
        rests = {"method": self.method, "target": self.target, "row": self.row, **self.details}
        if self.marginalised:
            rests["without data"] = "; ".join(f"{n}: {w}" for n, w in self.marginalised.items())
        for name, metrics in self.members.items():
            rests[name] = ", ".join(metrics)
        return rests

    def plot(self, ax: Axes | None = None, most: int = 15) -> Axes:
        """Bars of the scores with one standard error, blamed nodes dark; returns the Axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.gca()
        shown = self.table[self.table["score"].notna()].head(most).iloc[::-1]
        colours = ["#8b1a1a" if b else "#c9c9c9" for b in shown["blamed"]]
        ax.barh(
            np.arange(len(shown)),
            shown["score"],
            xerr=shown["se"].fillna(0.0),
            color=colours,
            ecolor="#444444",
        )
        # A name from a table may hold $ or _, which would start a formula.
        labels = [n.replace("$", r"\$") for n in shown.index]
        ax.set_yticks(np.arange(len(shown)), labels)
        ax.set_xlabel(f"blame for {self.target} ({self.unit})".replace("$", r"\$"))
        if self.status != "found":
            ax.set_title(self.status)
        return ax

    def _state(self) -> dict[str, Any]:
        plain = {k: v for k, v in vars(self).items() if k != "warnings"}
        plain |= {k: dict(plain[k]) for k in ("members", "marginalised", "details")}
        return {**plain, "warnings": [(w.code, w.message, w.columns) for w in self.warnings]}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Ranking:
        notes = tuple(CausalWarning(*key) for key in state["warnings"])
        return cls(**{**state, "warnings": notes})


def _listed(names: tuple[str, ...], most: int = 4) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def with_error(score: float, se: float) -> str:
    """``12.3 ± 0.4``, or the number alone where no error is known."""
    return number(score) if not se or np.isnan(se) else f"{number(score)} ± {number(se)}"
