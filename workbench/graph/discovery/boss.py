"""BOSS: the best order of variables, found by moving one at a time."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np

from ...core.errors import recording, warn
from ...core.seeding import Seed, generator
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .design import Design, prepare
from .encoded import Missing
from .ges import search as climb_classes
from .scoring import Problem, check_parameters, finish, pose, warn_unsupported


def boss(
    data: Any,
    penalty: float = 1.0,
    score: Literal["auto", "bic", "bdeu"] = "auto",
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    starts: int | None = None,
    equivalent_size: float = 2.0,
    missing: Missing = "auto",
    random_state: Seed = 0,
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn the equivalence class of a DAG by the best order score search.

    An order of the variables has the score of the DAG in which each variable takes its best
    parents among those before it, found by growing and shrinking. Each variable in turn moves to
    the place where the order scores best, until no move helps. For numbers the score of a variable
    with parents P is -n/2 (1 + log s²) - λ (|P| + 1) log n, s² its residual variance; categories
    enter as blocks of 0/1 columns; a table without numbers is scored by BDeu. λ = 1/2 is BIC, which
    draws too many edges among many columns; the default is λ = 1.

    Names and places of columns have no part in the search, with two exceptions: of columns that are
    functions of each other the first by name stays, and so does the order of variables that share
    equally much with all others, should their scores tie as well.

    Assumes no hidden common causes, and sees dependence that is linear (between numbers) or in
    means and shares (with categories). Prefer :func:`~workbench.graph.discovery.pc` where the
    separating sets are wanted, :func:`~workbench.graph.discovery.fci` where causes may be hidden.

    Args:
        data: A table; columns with a structural role, constants and exact linear functions of
            other columns are left out and named.
        penalty: λ, weight of log n per parameter; BDeu has none.
        score: ``"bic"``, ``"bdeu"`` (tables without numbers only), or by the columns' kinds.
        knowledge: What is known; the result agrees with it.
        schema: What the columns mean; guessed when left out.
        starts: Number of starting orders; the best result counts. By default 10 for up to 20
            variables, falling to 3 from 67 on and to 2 above 150.
        equivalent_size: Rows that BDeu's prior is worth.
        missing: Empty cells: ``"complete"`` leaves their rows out, ``"pairwise"`` compares each
            pair of columns on the rows that have both, ``"auto"`` does the first unless it loses
            more than half of the rows and the second has at least twice as many for every pair.
            The second counts on the rows of the pair that shares fewest. Both assume that being
            empty is unrelated to the values.
        random_state: Seed of the starting orders and of the order of moves.
        time_limit: Seconds after which the search stops with the best order so far, and says so;
            this makes the result depend on the machine.

    Returns:
        A CPDAG, or an MPDAG where knowledge orients more than the data. ``info["score"]`` is its
        score (of standardised columns), up to a constant that all graphs share.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: A penalty that is not positive, starts below 1, an unknown score.

    References:
        Andrews, Ramsey, Sanchez-Romero, Camchong, Kummerfeld, "Fast scalable and accurate
        discovery of DAGs using the best order score search and grow-shrink trees", NeurIPS 2023.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, b, noise = rng.normal(size=(3, 2000))
        >>> g = boss(pd.DataFrame({"a": a, "b": b, "c": a + b + noise}))
        >>> g.kind, sorted(g.directed_edges())
        ('cpdag', [('a', 'c'), ('b', 'c')])
    """
    check_parameters(penalty, equivalent_size, missing, time_limit, starts=starts)
    rng = generator(random_state)
    stop = None if time_limit is None else time.monotonic() + time_limit
    with recording() as notes:
        problem = pose(prepare(data, schema, knowledge, missing), score, penalty, equivalent_size)
        parents, total, done, starts, ended = search(problem, starts, rng, stop)
        if not ended:
            where = (
                f"in start {done + 1} of {starts}"
                if done < starts
                else f"while improving the best of {starts} starts"
            )
            warn(
                "time-limit",
                f"stopped after {time_limit:g} s {where}: the graph is the best so far, longer "
                "may find a better one",
            )
        warn_unsupported(problem, parents)
        graph = finish(problem, parents)
    return graph.with_info(
        method="boss",
        score=total,
        starts_done=done,
        ended=ended,
        **problem.words(notes, starts=starts),
    )


def _on_design(
    design: Design,
    penalty: float = 1.0,
    score: str = "auto",
    starts: int | None = None,
    equivalent_size: float = 2.0,
    missing: Missing = "auto",
    random_state: Seed = 0,
    time_limit: float | None = None,
) -> CausalGraph:
    stop = None if time_limit is None else time.monotonic() + time_limit
    problem = pose(design, score, penalty, equivalent_size)
    return finish(problem, search(problem, starts, generator(random_state), stop)[0])


# The same search without the front door: for resamples of a table that has been checked.
boss.on_design = _on_design


def search(
    problem: Problem, starts: int | None, rng: np.random.Generator, stop: float | None = None
) -> tuple[np.ndarray, float, int, int, bool]:
    """Edges found, ``(d, d)`` booleans row → column; their score; starts that ended, of how many;
    whether the search ended.

    The class of the best order's DAG is where a greedy search over classes goes on: a valid move
    between classes can help where no move of a single variable does.
    """
    from . import grow_shrink as kernel

    d = len(problem.design.names)
    starts = starts or int(np.clip(200 // d, 3 if d <= 150 else 2, 10))
    first = problem.order()
    trees = kernel.plant(
        problem.score, problem.allowed, problem.required, int(np.clip(20_000 * d, 10**6, 2 * 10**7))
    )
    best, total, done = np.zeros((d, d), bool), -np.inf, 0
    for start in range(starts):
        sequence = first if start == 0 else problem.order(rng.permutation(d))
        position = np.empty(d, np.int64)
        position[sequence] = np.arange(d)
        order = kernel.Order(sequence, position, np.zeros((d, d), np.int8), np.full(d, np.nan))
        ended = _climb(kernel, problem, trees, order, rng, stop)
        if order.score.sum() > total + kernel.TOLERANCE:
            total = float(order.score.sum())
            kernel.rewalk(problem.score, trees, order, 0, d - 1, best)
        if not ended:
            break
        done += 1
    edges, ended = climb_classes(problem, best, extended=False, stop=stop)
    return edges, problem.total(edges), done, starts, ended and done == starts


def _climb(
    kernel: Any, problem: Problem, trees: Any, order: Any, rng: np.random.Generator, stop: Any
) -> bool:
    """Sweep until a sweep gains nothing; False if time ran out before."""
    d = len(order.sequence)
    step = max(1, 2_000 // d)  # between two of these, an interrupt or the limit can stop the search
    total = -np.inf
    while True:
        moved, turn = 0, rng.permutation(d)
        for i in range(0, d, step):
            if stop is not None and time.monotonic() > stop:
                return False
            moved += kernel.sweep(problem.score, trees, order, turn[i : i + step])
        before, total = total, float(order.score.sum())
        # Moves gain sums of rounded differences: only a sum that rises shows that they did.
        if not moved or total <= before:
            return True
