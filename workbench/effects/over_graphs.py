"""One question, many graphs: the effect under every DAG, and how many agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import name_axes, name_places
from ..core.errors import CausalWarning, IdentificationError, recording
from ..core.results import Result, interval, number
from ..core.saving import saveable
from ..graph.identify import Estimand, identify
from ..tables.gate import count
from .effect_estimate import EffectEstimate
from .estimate import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..graph.causal_graph import CausalGraph


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class GraphAnswer:
    """What the DAGs with one way of identification say.

    Attributes:
        share: Their share of the weight.
        graphs: How many they are.
        way: What identifies the effect, as text.
        answer: The estimate; None where the graphs say "no effect" or don't identify it.
        value: The effect: the estimate, 0 where the graphs say so, NaN where not identified.
    """

    share: float
    graphs: int
    way: str
    answer: EffectEstimate | None
    value: float


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class EffectsOverGraphs(Result):
    """The answer of :func:`effects_over_graphs`: one estimate per way of identification.

    Attributes:
        treatment, outcome: The question.
        answers: One per way, the largest share first.
        warnings: Conditions of all estimates.
    """

    treatment: str
    outcome: str
    answers: tuple[GraphAnswer, ...]
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def graphs(self) -> int:
        """How many DAGs were asked."""
        return sum(a.graphs for a in self.answers)

    @property
    def agreement(self) -> tuple[str, float]:
        """The most frequent finding (``"positive"``, ``"negative"``, ``"no clear effect"``, ``"no
        effect"`` by the graph, ``"not identified"``) and its share."""
        shares: dict[str, float] = {}
        for found in self.answers:
            shares[_finding(found)] = shares.get(_finding(found), 0.0) + found.share
        return max(shares.items(), key=lambda item: item[1])

    def summary(self) -> str:
        estimated = [a for a in self.answers if a.answer is not None]
        asked = count(self.graphs, "graph")
        where = f"Over {asked} the effect of {self.treatment!r} on {self.outcome!r}"
        if not estimated:
            return f"{where}: {self.agreement[0]} in {self.agreement[1]:.0%} of the weight."
        first = estimated[0].answer
        unit = f" {first.unit}" if first.unit else ""
        values = [a.value for a in self.answers if not np.isnan(a.value)]
        low = min(a.answer.low for a in estimated)
        high = max(a.answer.high for a in estimated)
        if 0.0 in values:  # graphs without a directed path say exactly zero
            low, high = min(low, 0.0), max(high, 0.0)
        spread = (
            f"is {number(values[0])}{unit}"
            if min(values) == max(values)
            else f"lies between {number(min(values))} and {number(max(values))}{unit}"
        )
        return (
            f"{where} ({first.contrast()}) {spread} "
            f"(all {100 * (1 - first.alpha):g} % intervals: {interval(low, high)})."
        )

    def verdict(self) -> str:
        finding, share = self.agreement
        if share > 0.999:
            return f"All graphs agree: {finding}."
        return f"{share:.0%} of the weight agrees: {finding}. The direction of edges decides."

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per way of identification; ``long=True``: tidy."""
        rows = [
            {
                "way": a.way,
                "share": a.share,
                "graphs": a.graphs,
                "effect": a.value,
                "low": np.nan if a.answer is None else a.answer.low,
                "high": np.nan if a.answer is None else a.answer.high,
                "finding": _finding(a),
            }
            for a in self.answers
        ]
        frame = pd.DataFrame(rows).set_index("way")
        if long:
            numbers = frame[["share", "graphs", "effect", "low", "high"]].reset_index()
            return numbers.melt("way", var_name="quantity", value_name="value")
        return frame

    def how(self) -> dict[str, Any]:
        first = next((a.answer for a in self.answers if a.answer is not None), None)
        return {} if first is None else {"estimator": first.method, "rows": f"{first.n:,}"}

    def plot(self, ax: Axes | None = None, most: int = 12) -> Axes:
        """A forest plot of the most frequent ways of identification, dots as large as their
        share."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        shown = [a for a in self.answers if not np.isnan(a.value)][:most][::-1]
        for y, a in enumerate(shown):
            if a.answer is not None:
                ax.plot([a.answer.low, a.answer.high], [y, y], color="#2b6cb0", linewidth=1.6)
            ax.scatter([a.value], [y], s=25 + 175 * a.share, color="#2b6cb0", zorder=3)
        ax.axvline(0, color="grey", linewidth=0.8)
        name_places(ax, range(len(shown)), [f"{a.way} ({a.share:.0%})" for a in shown])
        ax.set_ylim(-0.7, max(len(shown), 1) - 0.3)
        name_axes(ax, f"effect of {self.treatment} on {self.outcome}")
        return ax


def effects_over_graphs(
    df: pd.DataFrame,
    dags: Iterable[tuple[CausalGraph, float]],
    treatment: str,
    outcome: str,
    **options: Any,
) -> EffectsOverGraphs:
    """Ask every DAG; DAGs that lead to the same columns share one estimate.

    Args:
        df: The table.
        dags: Pairs of a DAG and its weight.
        treatment, outcome: Columns.
        **options: Of :func:`workbench.effects.estimate`.

    Raises:
        IdentificationError: No DAG identifies the effect.
    """
    groups: dict[tuple, list] = {}
    for dag, weight in dags:
        found = identify(dag, treatment, outcome)
        key = (found.method, _used(found))
        groups.setdefault(key, [found, 0.0, 0])
        groups[key][1] += weight
        groups[key][2] += 1
    ranked = sorted(groups.values(), key=lambda g: (-g[1], _way(g[0])))
    if all(not found.is_identified for found, *_ in ranked):
        raise IdentificationError(
            f"its effect on {outcome!r} is identified in none of {sum(g[2] for g in ranked)} "
            f"graphs: {ranked[0][0].reason}",
            column=treatment,
            advice="Measure a column that closes the path, or pass adjust_for=.",
        )
    total = sum(share for _, share, _ in ranked)
    answers = []
    with recording() as notes:
        for found, share, graphs in ranked:
            answer, value = None, 0.0 if found.method == "no effect" else np.nan
            if found.is_identified and found.method != "no effect":
                answer = estimate(df, found, **options)
                value = answer.value
            answers.append(GraphAnswer(share / total, graphs, _way(found), answer, value))
    return EffectsOverGraphs(treatment, outcome, tuple(answers), tuple(notes))


def _used(found: Estimand) -> object:
    """The columns that make one estimate differ from another."""
    if found.method == "back-door":
        return found.adjustment
    if found.method == "front-door":
        return found.mediators
    return found.instruments if found.method == "instrument" else None


def _way(found: Estimand) -> str:
    if found.method == "back-door":
        return f"adjusting for {', '.join(sorted(found.adjustment)) or 'nothing'}"
    if found.method == "front-door":
        return f"front door through {', '.join(sorted(found.mediators))}"
    if found.method == "instrument":
        return f"instrument {found.instruments[0].name}"
    return "no directed path" if found.method == "no effect" else "not identified"


def _finding(found: GraphAnswer) -> str:
    if found.answer is None:
        return "not identified" if np.isnan(found.value) else "no effect"
    if not (found.answer.low > 0 or found.answer.high < 0):
        return "no clear effect"
    return "positive" if found.value > 0 else "negative"
