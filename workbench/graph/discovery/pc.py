"""The PC algorithm: remove edges that a conditional independence explains, then orient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ParameterError, recording, warn
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .design import Design, as_records, prepare
from .independence import GaussianTest, IndependenceTest
from .orientation import class_of, orient
from .separating_sets import SeparatingSets
from .skeleton import Limits, evidence, skeleton


def pc(
    data: Any,
    alpha: float = 0.01,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    depth: int | None = None,
    max_tests: int = 20_000_000,
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn the equivalence class of a DAG from tests of conditional independence.

    Starting from the complete graph, x - y is removed when some set S of possible parents of x
    has p(x ⊥ y | S) > alpha, for |S| = 0, 1, 2, ...; unshielded triples become colliders by the
    largest p-value with and without the middle node; Meek's rules do the rest. The result has no
    two-headed edge and no cycle, always contains a DAG, agrees with the knowledge, and does not
    depend on the order of columns. ``info`` holds the separating set of each missing edge that was
    tested, the largest p-value of each edge that is left (after a search it is no honest p-value),
    the decisions that had to give way (``conflicts``), warnings, and why the test was chosen.

    Assumes no hidden common causes, and sees dependence that is linear (between numbers) or in
    means and shares (with categories). Prefer a score-based search where power matters more than
    separating sets. ``alpha`` should shrink as the number of rows grows.

    Args:
        data: A table; columns with a structural role, constants and exact linear functions of
            other columns are left out and named.
        alpha: Level of each test.
        knowledge: What is known; no test is spent on removing a pair that it forbids.
        schema: What the columns mean; guessed when left out.
        depth: Largest conditioning set; no limit by default.
        max_tests: Stop before a size of conditioning sets that needs more tests than this, and
            say so.
        time_limit: Seconds after which the search stops with the edges that are left, and says
            so; unlike ``max_tests`` this makes the result depend on the machine.

    Returns:
        A CPDAG, or an MPDAG where knowledge orients more than the data.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: ``alpha`` outside (0, 1), negative limits.

    References:
        Spirtes, Glymour and Scheines, "Causation, Prediction, and Search", 2000; Colombo and
        Maathuis, "Order-independent constraint-based causal structure learning", JMLR 15, 2014.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, b, noise = rng.normal(size=(3, 2000))
        >>> g = pc(pd.DataFrame({"a": a, "b": b, "c": a + b + noise}))
        >>> g.kind, sorted(g.directed_edges())
        ('cpdag', [('a', 'c'), ('b', 'c')])
    """
    check_parameters(alpha, depth, max_tests, time_limit)
    with recording() as notes:
        design = prepare(data, schema, knowledge)
        graph = _on_design(design, alpha, depth, max_tests, time_limit)
    return graph.with_info(
        method="pc",
        parameters={"alpha": alpha, "depth": depth, "max_tests": max_tests},
        explanation=explain(design, alpha),
        rows=design.rows,
        left_out=dict(design.left_out),
        warnings=as_records(notes),
    )


def _on_design(
    design: Design,
    alpha: float = 0.01,
    depth: int | None = None,
    max_tests: int = 20_000_000,
    time_limit: float | None = None,
) -> CausalGraph:
    return search(design, GaussianTest(design), alpha, Limits(depth, max_tests, time_limit))


# The same search without the front door: for resamples of a table that has been checked.
pc.on_design = _on_design


def search(
    design: Design, test: IndependenceTest, alpha: float, limits: Limits | None = None
) -> CausalGraph:
    """PC on prepared data with any test; :func:`pc` is the front door."""
    limits = limits or Limits()
    names = design.names
    allowed = design.knowledge.allowed(names)
    required = required_matrix(design)
    found = skeleton(test, allowed, required, np.log(alpha), limits)
    triples, without, within = evidence(test, found.adjacent, allowed, limits)
    e = without - within
    dag, conflicts = orient(found.adjacent, allowed, required, triples, e, found.log_p)
    graph = class_of(dag, names, design.shown)
    if design.knowledge:
        graph = design.knowledge.apply(graph)
    warn_unsupported(design, required, found.log_p, alpha)
    return graph.with_info(
        p_values=edge_p_values(graph, found.log_p, names),
        separating_sets=SeparatingSets(names, found.pairs, found.members),
        conflicts=[_conflict(kind, [names[i] for i in where]) for kind, where in conflicts],
        tests=limits.tests,
        depth=limits.reached,
    )


def required_matrix(design: Design) -> np.ndarray:
    """``(d, d)`` which arrows the knowledge requires."""
    at = {n: i for i, n in enumerate(design.names)}
    out = np.zeros((len(at), len(at)), dtype=bool)
    for u, v in design.knowledge.required:
        out[at[u], at[v]] = True
    return out


def edge_p_values(
    graph: CausalGraph, log_p: np.ndarray, names: tuple[str, ...]
) -> dict[tuple[str, str], float]:
    """The largest p-value of each edge, by its names in canonical order."""
    at = {n: i for i, n in enumerate(names)}
    pairs = sorted(tuple(sorted((at[u], at[v]))) for u, v, *_ in graph.edges)
    return {(names[i], names[j]): float(np.exp(log_p[i, j])) for i, j in pairs}


# -- words -----------------------------------------------------------------------------------


def warn_unsupported(design: Design, required: np.ndarray, log_p: np.ndarray, alpha: float) -> None:
    for i, j in zip(*np.nonzero(required), strict=True):
        if log_p[i, j] > np.log(alpha):
            u, v = design.names[i], design.names[j]
            warn(
                "unsupported-knowledge",
                f"the edge {u} -> {v} is required, but a test finds no dependence "
                f"(p = {np.exp(log_p[i, j]):.2g})",
                [u, v],
            )


def _conflict(kind: str, names: list[str]) -> str:
    if kind == "edge":
        u, v = names
        return f"{u} -- {v} dropped: with it, what is known would make a directed cycle"
    return triple_conflict(kind == "collider", names)


def triple_conflict(wanted: bool, names: list[str]) -> str:
    """One sentence on a triple whose evidence for or against a collider was overruled."""
    a, b, c = names
    if wanted:
        return f"{a} -> {b} <- {c} not oriented: it contradicts stronger evidence or knowledge"
    return f"{a} -> {b} <- {c} oriented against the test: other evidence or knowledge is stronger"


def explain(design: Design, alpha: float) -> str:
    """What was searched, by which test, and why."""
    text = f"{len(design.names)} columns, {design.rows:,} rows, tests at level {alpha:g}. "
    if design.wide:
        shown = ", ".join(map(repr, design.wide[:5])) + (", ..." if len(design.wide) > 5 else "")
        text += (
            f"Columns with more than two unordered levels ({shown}) enter as blocks of 0/1 "
            "columns: Wilks' likelihood-ratio test where they take part, Fisher-z on partial "
            "correlations elsewhere."
        )
    else:
        text += (
            "All columns are numbers, ordered or two-valued: Fisher-z test on partial correlations."
        )
    text += " Dependence that is not linear may go unseen."
    if design.left_out:
        named = "; ".join(f"{n!r} ({why})" for n, why in sorted(design.left_out.items()))
        text += f" Left out: {named}."
    return text


def check_parameters(
    alpha: float, depth: int | None, max_tests: int, time_limit: float | None
) -> None:
    """Refuse levels and limits that make no sense."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float | np.number) and not isinstance(value, bool)

    if not is_number(alpha) or not 0 < alpha < 1:
        raise ParameterError(
            "must be a number between 0 and 1",
            column="alpha",
            value=alpha,
            advice="0.01 suits thousands of rows, 0.05 hundreds.",
        )
    if depth is not None and (not isinstance(depth, int | np.integer) or depth < 0):
        raise ParameterError("must be 0, 1, 2, ... or None", column="depth", value=depth)
    for name, value in (("max_tests", max_tests), ("time_limit", time_limit)):
        if value is not None and (not is_number(value) or not value > 0):
            raise ParameterError("must be positive", column=name, value=value)
