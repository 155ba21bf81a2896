"""What score-based searches share: the score for a table, knowledge as arrays, the answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import CausalWarning, ParameterError, warn
from ..causal_graph import CausalGraph
from ..origins import learned
from .design import Design, as_records
from .orientation import class_of

if TYPE_CHECKING:
    from .local_score import LocalScore


@dataclass(frozen=True, eq=False)
class Problem:
    """A score to maximise over the DAGs that knowledge allows.

    Attributes:
        design: The searched columns.
        score: Sufficient statistics and constants for the kernels.
        allowed, required: ``(d, d)`` edges row → column.
        explanation: Which score, and why.
        parameters: The score's parameters.
    """

    design: Design
    score: LocalScore
    allowed: np.ndarray
    required: np.ndarray
    explanation: str
    parameters: dict[str, Any]

    def order(self, priority: np.ndarray | None = None) -> np.ndarray:
        """Variables so that required edges point forward; tiers, then ``priority``, break ties."""
        d = len(self.design.names)
        tiers = {n: i for i, group in enumerate(self.design.knowledge.tiers) for n in group}
        tier = [tiers.get(n, 0) for n in self.design.names]
        rank = np.arange(d) if priority is None else priority
        waiting = self.required.sum(axis=0)
        if not waiting.any():
            return np.array(sorted(range(d), key=lambda i: (tier[i], rank[i])), dtype=np.int64)
        out: list[int] = []
        left = set(range(d))
        while left:
            i = min((i for i in left if not waiting[i]), key=lambda i: (tier[i], rank[i]))
            left.discard(i)
            out.append(i)
            waiting = waiting - self.required[i]
        return np.array(out, dtype=np.int64)

    def total(self, edges: np.ndarray) -> float:
        """Score of the DAG with these edges (row → column)."""
        from .local_score import total

        return total(self.score, edges)

    def words(self, notes: Iterable[CausalWarning], **parameters: Any) -> dict[str, Any]:
        """What the graph's ``info`` says about the problem."""
        return {
            "parameters": {**self.parameters, **parameters},
            "explanation": self.explanation,
            "rows": self.design.rows,
            "left_out": dict(self.design.left_out),
            "warnings": as_records(notes),
        }


def pose(
    design: Design, score: str = "auto", penalty: float = 1.0, equivalent_size: float = 2.0
) -> Problem:
    """Choose the score of a design.

    Raises:
        ParameterError: An unknown score, or BDeu for a table that holds a number or empty cells.
    """
    from . import local_score

    if score not in ("auto", "bic", "bdeu"):
        raise ParameterError("must be 'auto', 'bic' or 'bdeu'", column="score", value=score)
    if score == "bdeu" and design.codes is None:
        raise ParameterError(
            "'bdeu' needs a table of levels without numbers and with complete rows",
            column="score",
            advice="Use 'bic', or cut the numbers into levels.",
        )
    design = by_statistics(design)
    bayes = design.codes is not None and score != "bic"
    if design.codes is None:
        sizes = [len(b) for b in design.blocks]
        local = local_score.gaussian(design.correlation, sizes, design.rows, penalty)
    else:
        local = local_score.discrete(design.codes, penalty, equivalent_size if bayes else None)
    names = design.names
    at = {n: i for i, n in enumerate(names)}
    required = np.zeros((len(names), len(names)), dtype=bool)
    for u, v in design.knowledge.required:
        required[at[u], at[v]] = True
    return Problem(
        design=design,
        score=local,
        allowed=design.knowledge.allowed(names),
        required=required,
        explanation=_explain(design, penalty, equivalent_size if bayes else None),
        parameters={"equivalent_size": equivalent_size} if bayes else {"penalty": penalty},
    )


def by_statistics(design: Design) -> Design:
    """The design in an order of variables that their names and places have no part in.

    Where a search prefers the first of equals, the first must not be so by its name. Variables
    are ordered by how much they share with the others: sums of powers of |r|, which don't depend
    on the basis of a block of columns. Only variables that all of these leave equal keep the
    order that they come in.
    """
    starts = np.array([b[0] for b in design.blocks])
    shared = np.add.reduceat(np.add.reduceat(design.correlation**2, starts, axis=0), starts, axis=1)
    np.fill_diagonal(shared, 0.0)
    keys = [np.round((shared**power).sum(axis=0), 9) for power in (1, 2, 3)]
    order = np.lexsort((*keys[::-1], [-len(b) for b in design.blocks]))
    ends = np.cumsum([0, *(len(design.blocks[i]) for i in order)])
    columns = np.concatenate([design.blocks[i] for i in order])
    return replace(
        design,
        names=tuple(design.names[i] for i in order),
        correlation=design.correlation[np.ix_(columns, columns)],
        blocks=tuple(np.arange(a, b) for a, b in zip(ends, ends[1:], strict=False)),
        codes=None if design.codes is None else design.codes[:, order],
    )


def warn_unsupported(problem: Problem, edges: np.ndarray) -> None:
    """Warn of required edges without which the graph (row → column) would score better."""
    from .local_score import local

    for u, v in np.argwhere(problem.required & edges):
        parents = np.flatnonzero(edges[:, v])
        with_u = local(problem.score, v, parents)
        gain = local(problem.score, v, parents[parents != u]) - with_u
        if gain > 1e-6:
            names = [problem.design.names[u], problem.design.names[v]]
            warn(
                "unsupported-knowledge",
                f"the edge {names[0]} -> {names[1]} is required, but the data speak against it: "
                f"without it the graph scores {gain:.3g} higher",
                names,
            )


def finish(problem: Problem, edges: np.ndarray) -> CausalGraph:
    """The class of the DAG with these edges (row → column), narrowed by knowledge."""
    graph = class_of(edges, problem.design.names, problem.design.shown)
    knowledge = problem.design.knowledge
    return learned(knowledge.apply(graph) if knowledge else graph, knowledge)


def _explain(design: Design, penalty: float, equivalent_size: float | None) -> str:
    from . import local_score

    text = f"{len(design.names)} columns, {design.rows:,} rows, "
    if equivalent_size is not None:
        text += (
            f"all levels: BDeu with an equivalent sample size of {equivalent_size:g} and "
            "1 / columns as prior odds of a parent."
        )
    elif design.codes is not None:
        text += f"all levels: multinomial BIC with {penalty:g} log n per parameter."
    else:
        text += f"Gaussian BIC with {penalty:g} log n per parameter."
        more = local_score.extension(design.rows, len(design.correlation))
        if more > 0:
            text = text.removesuffix(" log n per parameter.") + (
                f" (log n + {more:.2g}) per parameter: the extended BIC, as rows are fewer than "
                "twice the columns, among which chance finds much."
            )
        if design.wide:
            shown = ", ".join(map(repr, design.wide[:5]))
            shown += ", ..." if len(design.wide) > 5 else ""
            text += f" Columns with more than two unordered levels ({shown}) enter as 0/1 columns."
        text += " Dependence that is not linear may go unseen."
    if design.left_out:
        named = "; ".join(f"{n!r} ({why})" for n, why in sorted(design.left_out.items()))
        text += f" Left out: {named}."
    return text


def check_parameters(
    penalty: float,
    equivalent_size: float,
    missing: str,
    time_limit: float | None,
    starts: int | None = None,
) -> None:
    """Refuse what makes no sense."""
    if missing not in ("auto", "complete", "pairwise"):
        raise ParameterError(
            "must be 'auto', 'complete' or 'pairwise'", column="missing", value=missing
        )

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float | np.number) and not isinstance(value, bool)

    for name, value in (
        ("penalty", penalty),
        ("equivalent_size", equivalent_size),
        ("time_limit", time_limit),
    ):
        if value is None and name == "time_limit":
            continue
        if not is_number(value) or not 0 < value < np.inf:
            raise ParameterError("must be a positive number", column=name, value=value)
    if starts is not None and (not is_number(starts) or starts != int(starts) or starts < 1):
        raise ParameterError("must be 1, 2, ...", column="starts", value=starts)
