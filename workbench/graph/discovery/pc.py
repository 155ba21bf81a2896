"""The PC algorithm: remove edges that a conditional independence explains, then orient."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...core.seeding import Seed
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from ..origins import learned
from .constraint import (
    answer,
    edge_p_values,
    on_design,
    required_matrix,
    triple_conflict,
    warn_of_table,
    warn_unsupported,
)
from .design import Design
from .independence import IndependenceTest
from .orientation import class_of, orient
from .separating_sets import SeparatingSets
from .skeleton import Decided, Limits, evidence, skeleton


def pc(
    data: Any,
    alpha: float = 0.01,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    test: Literal["auto", "gaussian", "g2", "kci", "rcit"] = "auto",
    depth: int | None = None,
    max_tests: int = 20_000_000,
    random_state: Seed = 0,
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn the equivalence class of a DAG from tests of conditional independence.

    Starting from the complete graph, x - y is removed when some set S of possible parents of x
    has p(x ⊥ y | S) > alpha, for |S| = 0, 1, 2, ...; unshielded triples become colliders by the
    largest p-value with and without the middle node; Meek's rules do the rest. The result has no
    two-headed edge and no cycle, always contains a DAG and agrees with the knowledge. Neither the
    order of columns, named or not, nor other names change it: ties are broken by what columns
    share with all others (only which of several columns that are exact functions of each other
    is left out goes by name or position). ``info`` holds the separating set of each missing edge
    that was tested, the largest p-value of each edge that is left (after a search it is no honest
    p-value), the decisions that had to give way (``conflicts``), warnings, and why the test was
    chosen.

    Assumes no hidden common causes, and with ``"gaussian"`` noise whose spread is the same
    everywhere: where two columns scatter more at the same values of a third, the test given the
    third rejects too often and an edge too many appears (``uneven-spread`` names such edges in
    tables of up to 60 columns). Columns that nearly determine one another
    cost edges of others and are warned of (``near-determined``, ``lost-dependence``). What
    dependence is seen is up to the test:

    - ``"gaussian"``: Fisher-z on partial correlations, Wilks' likelihood ratio where a column has
      more than two unordered levels. Fast; sees what is linear (between numbers) or in means and
      shares (with levels).
    - ``"g2"``: G² from counts, for tables of levels without numbers. Sees any dependence; blind
      where the rows are few for the levels of the conditioning set.
    - ``"rcit"``: randomised kernel test. Sees any dependence of any columns; some hundredths of a
      second a test, so that ten columns take a minute. It rejects too often
      below 400 rows.
    - ``"kci"``: kernel test, cubic in the rows: for a few columns with up to 1,000 rows.
    - ``"auto"``: ``"g2"`` where no column is a number and rows are 5,000 or more, else
      ``"gaussian"``; never a kernel test.

    Prefer a score-based search where power matters more than separating sets. ``alpha`` should
    shrink as the number of rows grows.

    Args:
        data: A table; columns with a structural role, constants and exact linear functions of
            other columns are left out and named.
        alpha: Level of each test.
        knowledge: What is known. A pair that it forbids is never tested for an edge; it is asked
            about only where a collider between its ends is left open by what is known.
        schema: What the columns mean; guessed when left out.
        test: Test of conditional independence, see above.
        depth: Largest conditioning set; no limit by default.
        max_tests: Stop before a size of conditioning sets that needs more tests than this, and
            say so.
        random_state: Seed of the features of ``"rcit"``; other tests draw nothing.
        time_limit: Seconds after which the search stops with the edges that are left, and says
            so; unlike ``max_tests`` this makes the result depend on the machine.

    Returns:
        A CPDAG, or an MPDAG where knowledge orients more than the data.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: ``alpha`` outside (0, 1), negative limits, an unknown test, ``"g2"`` with
            a number among the columns, ``"kci"`` on more than 2,000 rows.

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
    limits = Limits(depth, max_tests, time_limit)
    return answer("pc", search, data, alpha, knowledge, schema, test, random_state, limits)


def search(
    design: Design,
    test: IndependenceTest,
    alpha: float,
    limits: Limits | None = None,
    cautious: bool = False,
) -> CausalGraph:
    """PC on prepared data with any test; :func:`pc` is the front door.

    ``cautious``: warn of what the tests could not see right; resamples go without.
    """
    limits = limits or Limits()
    names = design.names
    allowed = design.knowledge.allowed(names)
    required = required_matrix(design)
    found = skeleton(test, allowed, required, np.log(alpha), limits)
    decided = Decided(~(allowed | allowed.T), ~allowed.T, ~allowed)
    triples, without, within = evidence(test, found.adjacent, allowed, limits, decided)
    e = without - within
    dag, conflicts = orient(found.adjacent, allowed, required, triples, e, found.log_p)
    graph = class_of(dag, names, design.shown)
    if design.knowledge:
        graph = design.knowledge.apply(graph)
    warn_unsupported(design, required, found.log_p, alpha)
    if cautious:
        warn_of_table(design, test, found, alpha)
    limits.tell()
    return learned(graph, design.knowledge).with_info(
        p_values=edge_p_values(graph, found.log_p, names),
        separating_sets=SeparatingSets(names, found.pairs, found.members),
        conflicts=[_conflict(kind, [names[i] for i in where]) for kind, where in conflicts],
        tests=limits.tests,
        depth=limits.reached,
    )


# -- words -----------------------------------------------------------------------------------


def _conflict(kind: str, names: list[str]) -> str:
    if kind == "edge":
        u, v = names
        return f"{u} -- {v} dropped: with it, what is known would make a directed cycle"
    return triple_conflict(kind == "collider", names)


# The same search without the front door: for resamples of a table that has been checked.
pc.on_design = on_design(search)
