"""What PC and FCI share: their front door, and words on what tests have shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.errors import ParameterError, recording, warn
from ...core.seeding import Seed
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .canonical import in_canonical_order
from .cautions import warn_near_determined
from .choice import chosen, resolve, words
from .design import Design, as_records, prepare
from .independence import GaussianTest, IndependenceTest
from .skeleton import Limits, Skeleton
from .spread import warn_uneven_spread

Search = Callable[..., CausalGraph]


def answer(
    method: str,
    search: Search,
    data: Any,
    alpha: float,
    knowledge: Knowledge | None,
    schema: Schema | None,
    test: str,
    random_state: Seed,
    limits: Limits,
) -> CausalGraph:
    """Check the question, search, and say what was done."""
    check_parameters(alpha, limits.depth, limits.max_tests, limits.seconds)
    with recording() as notes:
        design = prepare(data, schema, knowledge)
        sorted_design = in_canonical_order(design)
        asked = chosen(sorted_design, test, random_state)
        graph = search(sorted_design, asked, alpha, limits, cautious=True)
    return graph.with_info(
        method=method,
        p_values=_keyed(graph.info["p_values"], design.names),
        parameters={
            "alpha": alpha,
            "test": resolve(design, test),
            "depth": limits.depth,
            "max_tests": limits.max_tests,
        },
        explanation=explain(design, alpha, test),
        rows=design.rows,
        left_out=dict(design.left_out),
        warnings=as_records(notes),
    )


def on_design(search: Search) -> Callable[..., CausalGraph]:
    """The search on prepared data, with the parameters of the front door."""

    def run(
        design: Design,
        alpha: float = 0.01,
        test: str = "auto",
        depth: int | None = None,
        max_tests: int = 20_000_000,
        random_state: Seed = 0,
        time_limit: float | None = None,
    ) -> CausalGraph:
        design = in_canonical_order(design)
        asked = chosen(design, test, random_state)
        return search(design, asked, alpha, Limits(depth, max_tests, time_limit))

    return run


def _keyed(
    p_values: dict[tuple[str, str], float], names: tuple[str, ...]
) -> dict[tuple[str, str], float]:
    """The same numbers, each pair and all pairs in the order of ``names``."""
    at = {n: i for i, n in enumerate(names)}
    pairs = sorted(
        (at[u], at[v], p) if at[u] < at[v] else (at[v], at[u], p) for (u, v), p in p_values.items()
    )
    return {(names[i], names[j]): p for i, j, p in pairs}


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
    """The largest p-value of each edge."""
    at = {n: i for i, n in enumerate(names)}
    pairs = [(u, v) for u, v, *_ in graph.edges]
    i, j = np.array([(at[u], at[v]) for u, v in pairs], dtype=int).reshape(-1, 2).T
    return dict(zip(pairs, np.exp(log_p[i, j]).tolist(), strict=True))


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


def warn_of_table(design: Design, test: IndependenceTest, found: Skeleton, alpha: float) -> None:
    """What the tests could not see right in this table."""
    warn_near_determined(design, found.adjacent, found.marginal, alpha)
    if isinstance(test, GaussianTest):
        warn_uneven_spread(design, found, alpha)


def triple_conflict(wanted: bool, names: list[str]) -> str:
    """One sentence on a triple whose evidence for or against a collider was overruled."""
    a, b, c = names
    if wanted:
        return f"{a} -> {b} <- {c} not oriented: it contradicts stronger evidence or knowledge"
    return f"{a} -> {b} <- {c} oriented against the test: other evidence or knowledge is stronger"


def explain(design: Design, alpha: float, test: str) -> str:
    """What was searched, by which test, and why."""
    text = f"{len(design.names)} columns, {design.rows:,} rows, tests at level {alpha:g}. "
    text += words(design, test)
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
