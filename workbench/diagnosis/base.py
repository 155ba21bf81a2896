"""What all diagnosis methods share: fitted once to a System, they answer for many incidents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, ParameterError, QuestionError, recording
from ..core.parameters import Parameterised
from ..core.results import number
from .incident import Case, Incident, align, shown_row, worst_row
from .ranking import Ranking, with_error
from .scorers import deviations, limits
from .system import System

_MOST = 1e100  # sd; the square of more is no number any longer


@dataclass
class Findings:
    """What a method found out about one case; arrays in the order of ``case.system.nodes``.

    Attributes:
        score: Blame, larger is worse; NaN where the method has nothing to say.
        blamed: Which nodes belong to the answer.
        reasons: One short text per node.
        se: Standard errors of the scores; NaN where unknown.
        abstain: Why the question can't be answered; empty if it can.
        details: What the answer rests on.
    """

    score: np.ndarray
    blamed: np.ndarray
    reasons: list[str]
    se: np.ndarray | None = None
    abstain: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class Diagnoser(Parameterised):
    """Base of the diagnosis methods.

    A method stores ``threshold`` (standard deviations from which a metric is anomalous, one
    number or metric -> number) and ``scorer`` (``"z"``, ``"robust"`` or ``"tail"``), and
    implements ``_rank(case) -> Findings``, and ``_fit(system)`` if it learns more than the
    system's cached moments. ``_rank`` is only called when the target is anomalous; everything
    that can be odd about the incident has been settled in the :class:`Case`.

    Methods whose scores are on the scale of "standard deviations" or "nats" say so in ``unit``;
    ``needs_graph`` refuses a System without one.
    """

    threshold: Any
    scorer: Any
    unit = "standard deviations"
    needs_graph = True

    def fit(self, system: System) -> Self:
        """Learn what is usual.

        Raises:
            QuestionError: Not a System, or one without a graph where the method needs it.
            ParameterError: A parameter that makes no sense.
        """
        if not isinstance(system, System):
            raise QuestionError(
                f"{type(self).__name__} is fitted to a System, not to a {type(system).__name__}",
                advice="Make one: System(graph, fault_free_rows).",
            )
        if self.needs_graph and not system.has_graph:
            raise QuestionError(
                f"{type(self).__name__} needs a causal graph",
                advice="Give one to System, discover one, or use NSigma.",
            )
        limits(system, self.threshold)
        with recording() as notes:
            self._fit(system)
        self.system_ = system
        self.warnings_ = [(n.code, n.message, n.columns) for n in notes]
        return self

    def rank(self, incident: Incident) -> Ranking:
        """Rank the causes of the target's anomaly.

        Raises:
            QuestionError: The target is not a metric of the system.
            DataError: What the gate refuses, with column and row.
        """
        self._require_fitted()
        if not isinstance(incident, Incident):
            raise QuestionError(
                f"rank answers for an Incident, not for a {type(incident).__name__}",
                advice="Make one: Incident(rows, target).",
            )
        with recording() as notes:
            case = align(self.system_, incident, self.scorer, self.threshold, self._trigger)
            status, why, findings = self._answer(case)
        known = [*self.system_.warnings, *(CausalWarning(*w) for w in self.warnings_)]
        return _ranking(self, case, status, why, findings, (*known, *notes))

    def _answer(self, case: Case) -> tuple[str, str, Findings | None]:
        """Status, the reason if nothing is blamed, and what was found."""
        if case.trigger is None:
            return "abstain", f"{case.target!r} was not recorded in the incident", None
        beyond = _beyond_numbers(case)
        if beyond:
            return "abstain", beyond, None
        if not case.target_is_anomalous:
            limit = case.limits[case.system.position[case.target]]
            why = (
                f"{case.target!r} is not anomalous: {case.describe(case.target)}, "
                f"the threshold is {limit:g} sd"
            )
            return "no root cause found", why, None
        if not case.system.candidates(case.target):
            why = f"{case.target!r} has no recorded causes in the graph"
            if self.system_.has_graph and not self.system_.ancestors(case.target):
                why = (
                    f"{case.target!r} has no causes in the graph; edges must point from cause to "
                    "effect (from_edges(calls, normal, reverse=True) turns calls around)"
                )
            return "abstain", why, None
        findings = self._rank(case)
        if findings.abstain:
            return "abstain", findings.abstain, findings
        if not findings.blamed.any():
            why = f"no metric explains {case.target!r} ({case.describe(case.target)})"
            return "no root cause found", why, findings
        return "found", "", findings

    def _fit(self, system: System) -> None:
        """Learn what the system doesn't cache; nothing by default."""

    def _trigger(self, size: np.ndarray, limit: float) -> int:
        """The row to explain: the target's |deviation| per row (NaN where it was not recorded,
        never everywhere) and its limit. The most anomalous one by default."""
        return worst_row(size, limit)

    def _rank(self, case: Case) -> Findings:
        raise TypeError(f"{type(self).__name__} must define _rank(case)")


def _beyond_numbers(case: Case) -> str:
    """Why the window can't be computed with, for the target and its causes; empty if it can."""
    system = case.system
    nodes = (*system.candidates(case.target), system.node_of[case.target])
    metrics = dict.fromkeys(m for n in nodes for m in system.members(n))
    columns = [system.position[m] for m in metrics]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(deviations(system, case.window, "z")[:, columns])
    rows, places = np.nonzero((size > _MOST) | np.isinf(size))
    if not len(rows):
        return ""
    metric = list(metrics)[places[0]]
    value = case.window[rows[0], system.position[metric]]
    return (
        f"{metric!r} is {number(value)} at row {shown_row(case.labels[rows[0]])}, too far from its "
        f"usual {number(system.mean[system.position[metric]])} to compute with: look for a "
        "placeholder for a missing value, or a broken sensor, and leave the value empty"
    )


def _ranking(
    method: Diagnoser,
    case: Case,
    status: str,
    why: str,
    findings: Findings | None,
    warnings: tuple[CausalWarning, ...],
) -> Ranking:
    table = _table(case, status, findings)
    name = type(method).__name__
    row = None if case.trigger is None else case.labels[case.trigger]
    sentence = why[:1].upper() + why[1:] + "." if why else _found(case, row, table, method.unit)
    system = case.system
    return Ranking(
        method=name,
        target=case.target,
        row=row,
        status=status,
        sentence=sentence,
        unit=method.unit,
        table=table,
        members={n: m for n in system.nodes if len(m := system.members(n)) > 1},
        marginalised=dict(system.marginalised),
        warnings=tuple(dict.fromkeys(warnings)),
        details={
            "deviations": f"{case.scorer} scores",
            "threshold": _short(method.threshold),
            "rows": f"{len(case.window)} in the incident, {int(system.count.max())} fault-free",
            **(findings.details if findings is not None else {}),
        },
    )


def _short(threshold: Any) -> str:
    return str(dict(threshold)) if hasattr(threshold, "items") else f"{threshold:g} sd"


def _table(case: Case, status: str, findings: Findings | None) -> pd.DataFrame:
    """One row per node, blamed ones first, then by score; ties stay in the system's order."""
    nodes = case.system.nodes
    blank = np.full(len(nodes), np.nan)
    score, se = blank, blank
    blamed, reasons = np.zeros(len(nodes), dtype=bool), [""] * len(nodes)
    if findings is not None:
        score, reasons = np.asarray(findings.score, dtype=float), findings.reasons
        se = blank if findings.se is None else np.asarray(findings.se, dtype=float)
        blamed = findings.blamed if status == "found" else blamed
    table = pd.DataFrame(
        {
            "score": score,
            "se": se,
            "deviation": blank if case.trigger is None else case.deviation[leaders(case)],
            "blamed": blamed,
            "reason": reasons,
        },
        index=pd.Index(nodes, name="node"),
    )
    order = np.lexsort((np.arange(len(nodes)), -np.nan_to_num(score, nan=-np.inf), ~blamed))
    return table.iloc[order]


def leaders(case: Case) -> np.ndarray:
    """Per node the position of its metric: for a loop of the one that deviates most."""
    return by_node(case, np.abs(case.deviation))[1]


def by_node(case: Case, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per node the largest value among its metrics (NaN if none has one), and where it is."""
    place = case.system.position
    known = np.where(np.isnan(values), -np.inf, values)
    lead = np.array(
        [
            max((place[m] for m in case.system.members(n)), key=lambda j: known[j])
            for n in case.system.nodes
        ]
    )
    return values[lead], lead


def check_counts(method: Diagnoser, *names: str) -> None:
    """Refuse parameters that are not whole numbers from 2."""
    for name in names:
        value = getattr(method, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 2:
            raise ParameterError("must be an integer, at least 2", column=name, value=value)


def blame_in_words(node: str, target: str) -> str:
    """Who it was; a target that is to blame itself is said to be where it began."""
    if node == target:
        return f"What is unusual about {target!r} began in itself, or in what is not recorded,"
    return f"{node!r} is most to blame for {target!r}"


def _found(case: Case, row: Any, table: pd.DataFrame, unit: str) -> str:
    best = table.iloc[0]
    blamed = int(table["blamed"].sum())
    more = f", before {blamed - 1} more" if blamed > 1 else ""
    if not case.target_is_anomalous:
        more += "; the target itself is usual, the alarm was given from outside"
    return (
        f"{blame_in_words(table.index[0], case.target)} at row {shown_row(row)} "
        f"({case.describe(case.target)}): score {with_error(best['score'], best['se'])} {unit}"
        f"{more}."
    )
