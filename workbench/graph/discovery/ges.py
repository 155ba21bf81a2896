"""Greedy search over equivalence classes: deletions first, and a second look in the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from ...core.errors import recording, warn
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .design import Design, prepare
from .encoded import Missing
from .scoring import Problem, check_parameters, finish, pose, warn_unsupported


def ges(
    data: Any,
    penalty: float = 1.0,
    score: Literal["auto", "bic", "bdeu"] = "auto",
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    extended: bool = True,
    equivalent_size: float = 2.0,
    missing: Missing = "auto",
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn the equivalence class of a DAG by greedy equivalence search, deletions first.

    From the empty graph, each step makes the best valid move between classes: a deletion if one
    raises the score, else a turn, else an insertion. When none is left, each variable loses all its
    edges for a trial and the search goes on from there; then (up to 60 variables) each edge is
    deleted and forbidden for a trial; the best end is kept if it is better (beyond 60, the first
    that is). This escapes the local optima in which a search that inserts first ends with twice the
    edges.

    Scores, assumptions and treatment of columns are those of
    :func:`~workbench.graph.discovery.boss`, which is faster and usually a little more accurate;
    this search has no random part.

    Args:
        data: A table; see :func:`~workbench.graph.discovery.boss`.
        penalty: λ, weight of log n per parameter; BDeu has none.
        score: ``"bic"``, ``"bdeu"`` (tables without numbers only), or by the columns' kinds.
        knowledge: What is known; the result agrees with it.
        schema: What the columns mean; guessed when left out.
        extended: Whether variables and edges get their second look.
        equivalent_size: Rows that BDeu's prior is worth.
        missing: Empty cells: ``"complete"`` leaves their rows out, ``"pairwise"`` compares each
            pair of columns on the rows that have both, ``"auto"`` does the first unless it loses
            more than half of the rows and the second has at least twice as many for every pair.
            The second counts on the rows of the pair that shares fewest. Both assume that being
            empty is unrelated to the values.
        time_limit: Seconds after which the search stops with the best class so far, and says so.

    Returns:
        A CPDAG, or an MPDAG where knowledge orients more than the data.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: A penalty that is not positive, an unknown score.

    References:
        Chickering, "Optimal structure identification with greedy search", JMLR 3, 2002; Nazaret
        and Blei, "Extremely greedy equivalence search", UAI 2024.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, b, noise = rng.normal(size=(3, 2000))
        >>> g = ges(pd.DataFrame({"a": a, "b": b, "c": a + b + noise}))
        >>> g.kind, sorted(g.directed_edges())
        ('cpdag', [('a', 'c'), ('b', 'c')])
    """
    check_parameters(penalty, equivalent_size, missing, time_limit)
    stop = None if time_limit is None else time.monotonic() + time_limit
    with recording() as notes:
        problem = pose(prepare(data, schema, knowledge, missing), score, penalty, equivalent_size)
        edges, ended = search(problem, problem.required, extended, stop)
        if not ended:
            warn(
                "time-limit",
                f"stopped after {time_limit:g} s: the graph is the best so far, longer may find a "
                "better one",
            )
        warn_unsupported(problem, edges)
        graph = finish(problem, edges)
    return graph.with_info(
        method="ges", score=problem.total(edges), **problem.words(notes, extended=extended)
    )


def _on_design(
    design: Design,
    penalty: float = 1.0,
    score: str = "auto",
    extended: bool = True,
    equivalent_size: float = 2.0,
    missing: Missing = "auto",
    time_limit: float | None = None,
) -> CausalGraph:
    stop = None if time_limit is None else time.monotonic() + time_limit
    problem = pose(design, score, penalty, equivalent_size)
    return finish(problem, search(problem, problem.required, extended, stop)[0])


# The same search without the front door: for resamples of a table that has been checked.
ges.on_design = _on_design

# Beyond this many variables only these, not every edge, get a second look, and the first better
# end is taken, not the best, and the look goes on behind it: seconds, not minutes.
_EVERY_EDGE = 60
_STEPS = 50  # between two of these, an interrupt or the time limit can stop the search


def search(
    problem: Problem,
    start: np.ndarray,
    extended: bool = True,
    stop: float | None = None,
    kinds: tuple[bool, bool, bool] = (True, True, True),
) -> tuple[np.ndarray, bool]:
    """Climb from the class of a DAG.

    Args:
        problem: What to maximise.
        start: ``(d, d)`` edges row → column of a DAG that knowledge allows.
        extended: Whether variables and edges get their second look.
        stop: Time of ``time.monotonic()`` at which to stop.
        kinds: Whether to delete, turn, insert.

    Returns:
        Edges of a DAG of the best class, and whether the search ended.
    """
    from . import class_moves as kernel
    from .class_shape import extend

    kinds = np.array(kinds)

    def late() -> bool:
        return stop is not None and time.monotonic() > stop

    def member(state: Any) -> np.ndarray:
        dag = np.zeros_like(problem.allowed)
        extend(state.arrows, state.lines, problem.allowed, dag)
        return dag

    # The gains of moves are differences of rounded numbers: among near copies their sum can grow
    # for ever while the score stays where it is. So progress is what the score of a DAG says,
    # computed anew: it rises with every round but the last, and there are finitely many DAGs.
    def climbed(state: Any) -> tuple[float, bool]:
        total = problem.total(member(state))
        while not late():
            ended = kernel.climb(
                problem.score, state, problem.allowed, problem.required, kinds, _STEPS
            )
            before, total = total, problem.total(member(state))
            if ended or not _beats(total, before):
                return total, True
        return total, False

    def without_edge(state: Any) -> Iterator[tuple[Any, tuple]]:
        for y, x in kernel.deletions(state):
            trial = kernel.without(state, problem.allowed, y, x)
            if trial is not None:
                yield trial, (x, y)

    def without_node(state: Any) -> Iterator[tuple[Any, tuple]]:
        dag = member(state)
        for v in (first + np.arange(len(dag))) % len(dag):
            rest = dag.copy()
            rest[v] &= problem.required[v]
            rest[:, v] &= problem.required[:, v]
            trial = kernel.copied(state)
            kernel.become(trial, rest)
            yield trial, ()

    state = kernel.begin(start)
    total, ended = climbed(state)
    looks = [without_node, without_edge] if extended else []
    large, first = len(start) > _EVERY_EDGE, 0
    if large:
        looks = looks[:1]
    at = 0
    while at < len(looks) and ended:
        at += 1
        best, highest = None, total
        for tried, (trial, banned) in enumerate(looks[at - 1](state)):
            reached, ended = climbed(trial)
            if _beats(reached, highest):
                best, highest = (trial, banned), reached
            if not ended:
                break
            if large and best is not None:
                first += tried + 1
                break
        if best is not None:
            (state, banned), at = best, 0
            state.banned[:] = False
            state.stale[list(banned)] = True
            total = highest
            if ended:
                total, ended = climbed(state)
    return member(state), ended


def _beats(score: float, other: float) -> bool:
    """Whether a score is higher by more than rounding."""
    return score - other > max(1e-6, 1e-9 * abs(score))
