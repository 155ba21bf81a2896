"""The answer to "why was I declined": codes, contributions, and what they leave unsaid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, QuestionError
from ..core.results import number
from ..core.saving import saveable
from .method import ACCEPTED, INCOMPLETE
from .people import PeopleResult, join, position, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECLINED = "declined"
_ROUNDING = 1e-9  # of a person's contributions: a smaller one is no reason, a smaller lead a tie


def principal(contribution: np.ndarray, most: int) -> list[int]:
    """Positions of the largest positive contributions, in order; ties go by position.

    Example:
        >>> principal(np.array([0.5, -1.0, 2.0, 0.5, 0.1]), 3)
        [2, 0, 3]
    """
    size = np.abs(contribution).sum()
    if not size > 0:
        return []
    shares = np.round(contribution / (size * _ROUNDING)) * _ROUNDING
    order = np.argsort(-shares, kind="stable")
    return [int(c) for c in order[:most] if shares[c] > 0]


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Reasons(PeopleResult):
    """The principal reasons of a table of people, in its order; nobody is dropped.

    Attributes:
        people: The columns that the model reads.
        outcomes: Per person ``status`` (``declined | already accepted | incomplete``), ``note``
            (why there are no reasons), ``score``, ``gap`` (mean decision of the reference minus
            the person's) and ``share`` (of all that speaks against, how much the reasons are).
        listed: One row per reason: ``row`` (position), ``rank``, ``code``, ``contribution``.
        contributions: Every code's contribution to the gap, positive where it speaks against the
            person; a row adds up to ``gap``.
        texts, features: Of each code.
        typical: Mean or most common value of each feature among the reference rows.
        units: Of the features.
        most: Most reasons per person.
        target: What the model asks for.
        reference: Who people are compared with.
        scale: Unit of contributions.
        kind: How the contributions were computed.
        shares: Of each feature with levels, how many of the reference rows have the typical one.
    """

    people: pd.DataFrame
    outcomes: pd.DataFrame
    listed: pd.DataFrame
    contributions: pd.DataFrame
    texts: dict[str, str]
    features: dict[str, list[str]]
    typical: dict[str, Any]
    units: dict[str, str]
    most: int
    target: str
    reference: str
    scale: str
    kind: str
    shares: dict[str, float] = field(default_factory=dict)
    warnings: tuple[CausalWarning, ...] = ()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per person with ``reason 1`` ... ``reason max`` (codes) and their contributions.

        ``long``: one row per reason with columns ``person, rank, code, text, features, values,
        typical, contribution, share`` (of the gap).
        """
        if not long:
            wide = self.outcomes.copy()
            for rank in range(1, self.most + 1):
                at = self.listed[self.listed["rank"] == rank]
                for name, column in (("reason", "code"), ("contribution", "contribution")):
                    cells = np.full(len(self), None if column == "code" else np.nan, dtype=object)
                    cells[at["row"].to_numpy()] = at[column].to_numpy()
                    wide[f"{name} {rank}"] = cells if column == "code" else cells.astype(float)
            return wide
        rows = [self._row(*r) for r in self.listed.itertuples(index=False)]
        columns = ["person", "rank", "code", "text", "features", "values", "typical"]
        return pd.DataFrame(rows, columns=[*columns, "contribution", "share"])

    def _row(self, i: int, rank: int, code: str, contribution: float) -> tuple:
        features = self.features[code]
        today = [_cell(self.people[f].iloc[i]) for f in features]
        usual = [_cell(self.typical[f]) for f in features]
        words = [code, self.texts[code], *(", ".join(w) for w in (features, today, usual))]
        share = contribution / self.outcomes["gap"].iloc[i]
        return (self.outcomes.index[i], rank, *words, contribution, share)

    def glance(self) -> pd.DataFrame:
        """Status, score and the codes of the reasons."""
        frame = self.to_frame()
        codes = [c for c in frame if str(c).startswith("reason ") and frame[c].notna().any()]
        return frame[["status", "score", *codes]].rename_axis(frame.index.name or "row")

    def summary(self) -> str:
        text = self._counted((DECLINED, ACCEPTED, INCOMPLETE))
        if len(self.listed):
            top = self.listed.loc[self.listed["rank"] == 1, "code"].value_counts()
            text += f"; most often the first reason: {top.index[0]} ({top.iloc[0]} of {top.sum()})"
        return text + "."

    def verdict(self) -> str:
        if not len(self.listed):
            return ""
        doubts = {w.code for w in self.warnings} & {"estimated-reasons", "sampled-reference"}
        exact = "estimated" if doubts else "exact"
        share = self.outcomes["share"].median()
        return (
            f"Contributions are {exact} and add up to the gap; in the median the reasons are "
            f"{share:.0%} of what speaks against a person. They are no advice: ask for recourse."
        )

    def how(self) -> dict[str, Any]:
        return {
            "contribution": "Shapley value of the decision",
            "compared with": self.reference,
            "unit": self.scale,
            "model": self.kind,
        }

    def explain(self, person: Any) -> str:
        """The reasons of one person in sentences.

        Args:
            person: The label of the row in the caller's index.
        """
        i = position(self.outcomes, person)
        row, who = self.outcomes.iloc[i], f"Person {person}"
        if row["status"] == INCOMPLETE:
            return f"{who} has no reasons: {row['note']}."
        if row["status"] == ACCEPTED:
            return f"{who} is accepted: the score is {number(row['score'], 4)} ({self.target})."
        text = f"{who} is declined: the score is {number(row['score'], 4)} ({self.target}). "
        text += f"Compared with {self.reference}, what speaks against them most: "
        mine = self.listed.loc[self.listed["row"] == i, ["rank", "code"]]
        parts = [f"({rank}) {self._sentence(i, code)}" for rank, code in mine.to_numpy()]
        text += f"{join(parts)}. That is {row['share']:.0%} of all that does."
        return text

    def _sentence(self, i: int, code: str) -> str:
        features, text = self.features[code], self.texts[code]
        values = [
            f"{f} is {_cell(self.people[f].iloc[i])}{self._unit(f)}, theirs {self._usual(f)}"
            for f in features
        ]
        name = "" if text in features else f"{self._label(code)}: "
        return name + "; ".join(values)

    def _usual(self, feature: str) -> str:
        """A mean, or the most common level and its share, as part of a sentence."""
        value = _cell(self.typical[feature])
        if feature not in self.shares:
            return f"on average {value}"
        return f"mostly {value} ({self.shares[feature]:.0%})"

    def _label(self, code: str) -> str:
        text = self.texts[code]
        return text if text == code else f"{text} [{code}]"

    def _unit(self, feature: str) -> str:
        return f" {self.units[feature]}" if feature in self.units else ""

    def plot(self, person: Any, ax: Axes | None = None) -> Axes:
        """Every contribution of one person, largest first; the reasons are filled."""
        import matplotlib.pyplot as plt

        i = position(self.outcomes, person)
        row = self.contributions.iloc[i]
        if row.isna().all():
            raise QuestionError(f"has no reasons: {self.outcomes['note'].iloc[i]}", value=person)
        order = principal(row.to_numpy(), len(row))
        rest = [c for c in np.argsort(-row.to_numpy(), kind="stable") if c not in order]
        told = set(self.listed.loc[self.listed["row"] == i, "code"])
        row = row.iloc[[*order, *rest]]
        if ax is None:
            ax = plt.subplots(figsize=(7, 0.3 * len(row) + 1.2), layout="constrained")[1]
        face = ["#2b6cb0" if code in told else "none" for code in row.index]
        ax.barh(range(len(row)), row.to_numpy(), color=face, edgecolor="#2b6cb0", height=0.6)
        ax.set_yticks(range(len(row)), [self._label(c).replace("$", r"\$") for c in row.index])
        ax.invert_yaxis()
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.set_xlabel(f"contribution to the gap ({self.scale})")
        ax.set_title(f"Person {person}: what speaks against (right) and for (left)")
        return ax


def _cell(value: Any) -> str:
    missing = value is None or (isinstance(value, float | np.floating) and np.isnan(value))
    return "empty" if missing or value is pd.NA else shown(value)
