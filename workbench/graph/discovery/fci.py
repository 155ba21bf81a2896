"""FCI: what can be known about causes when some of them are not in the table."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ...core.seeding import Seed
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from ..origins import learned
from .ancestral import agrees, close_by_sets, completed, is_maximal_ancestral, member
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
from .mark_kernels import ARROW, CIRCLE, NONE, TAIL, possible_separators
from .orientation import orient
from .separating_sets import SeparatingSets
from .skeleton import Decided, Limits, Skeleton, evidence, skeleton

_NO_SECOND_STAGE = (
    "sets from possible-D-SEP were not tried, so that some edges may be there only for that"
)
_NO_MEDIATION = (
    "contradictions between colliders were settled as if nothing was hidden, not one by one"
)
_WORDS = {CIRCLE: "circle", ARROW: "arrow", TAIL: "tail"}


def fci(
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
    """Learn the equivalence class of a causal graph with hidden common causes (a PAG).

    A skeleton as in :func:`~workbench.graph.discovery.pc`, tests given the nodes that may
    separate a pair through hidden variables (possible-D-SEP), colliders by the largest p-value
    with and without the middle node, and Zhang's orientation rules. u → v: u is a cause of v,
    directly or through others; u ↔ v: neither causes the other; a circle: both marks fit the data.

    What is returned is always legal: a maximal ancestral graph of it exists and has this very
    class. Where tests contradict each other the weakest collider decisions are dropped until that
    holds, and ``info["conflicts"]`` names the triples that were decided against their tests.
    ``info`` is otherwise that of ``pc``.

    Knowledge is read as statements about causes: where ``u → v`` is forbidden and the two are
    adjacent, u gets an arrowhead (it is no cause of v, ↔ remains possible); required edges are in
    the result.

    Sees the dependence that its test sees (by default linear between numbers; see
    :func:`~workbench.graph.discovery.pc`). Assumes no selection of rows by what the columns cause,
    acyclicity, and with ``"gaussian"`` noise whose spread is the same everywhere (columns that
    scatter more at the same values of a third get an edge too many). As with ``pc``, neither names
    nor the order of columns change the result.

    Do not use it where hidden common causes can be ruled out: ``pc`` and score searches need far
    less data to say more; few arrows of a PAG survive below some thousand rows. The possible-D-SEP
    stage grows exponentially with dense graphs: set ``depth``.

    Args:
        data: A table, as for ``pc``.
        alpha: Level of each test.
        knowledge: What is known.
        schema: What the columns mean; guessed when left out.
        test: Test of conditional independence, as for ``pc``.
        depth: Largest conditioning set; no limit by default.
        max_tests: Stop before a size of conditioning sets that needs more tests than this, and
            say so.
        random_state: Seed of the features of ``"rcit"``.
        time_limit: Seconds after which the search stops with the edges that are left and settles
            contradictions in the fastest way that is legal, and says so.

    Returns:
        A PAG.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: As for ``pc``.

    References:
        Spirtes, Meek and Richardson, "Causal inference in the presence of latent variables and
        selection bias", UAI 1995; Zhang, Artificial Intelligence 172, 2008.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, d, hidden, e, f = rng.normal(size=(5, 5000))
        >>> b, c = a + hidden + e, hidden + d + f
        >>> g = fci(pd.DataFrame({"a": a, "b": b, "c": c, "d": d}))
        >>> g.kind, g.spouses("b")
        ('pag', ('c',))
    """
    limits = Limits(depth, max_tests, time_limit)
    return answer("fci", search, data, alpha, knowledge, schema, test, random_state, limits)


def search(
    design: Design,
    test: IndependenceTest,
    alpha: float,
    limits: Limits | None = None,
    cautious: bool = False,
) -> CausalGraph:
    """FCI on prepared data with any test; :func:`fci` is the front door.

    ``cautious``: warn of what the tests could not see right; resamples go without.
    """
    limits = limits or Limits()
    names, allowed = design.names, design.knowledge.allowed(design.names)
    required = required_matrix(design)
    found, triples, e = _tested(test, allowed, required, np.log(alpha), limits)
    marks, dropped = _legal(found, allowed, required, triples, e, limits)
    edges = [
        (names[i], names[j], _WORDS[marks[j, i]], _WORDS[marks[i, j]])
        for i, j in np.argwhere(np.triu(marks)).tolist()
    ]
    graph = CausalGraph(design.shown, edges, kind="pag")
    warn_unsupported(design, required, found.log_p, alpha)
    if cautious:
        warn_of_table(design, test, found, alpha)
    limits.tell()
    a, b, c = triples.T
    collider = (marks[a, b] == ARROW) & (marks[c, b] == ARROW)
    refused = np.flatnonzero((e != 0) & ((e > 0) != collider) & (marks[a, b] != CIRCLE))
    conflicts = [f"{names[i]} -- {names[j]} dropped: no legal graph had it" for i, j in dropped]
    conflicts += [
        triple_conflict(e[t] > 0, [names[i] for i in triples[t]]) for t in refused.tolist()
    ]
    return learned(graph, design.knowledge).with_info(
        p_values=edge_p_values(graph, found.log_p, names),
        separating_sets=SeparatingSets(names, found.pairs, found.members),
        conflicts=conflicts,
        tests=limits.tests,
        depth=limits.reached,
    )


# -- tests -----------------------------------------------------------------------------------


def _tested(
    test: IndependenceTest,
    allowed: np.ndarray,
    required: np.ndarray,
    log_alpha: float,
    limits: Limits,
) -> tuple[Skeleton, np.ndarray, np.ndarray]:
    """The skeleton after both stages, its unshielded triples and their evidence."""
    # A hidden cause may stand between any neighbours: knowledge rules out no conditioning set.
    joined = allowed | allowed.T
    decided = Decided(~joined, ~allowed.T, required.T)
    first = skeleton(test, joined, required, log_alpha, limits)
    triples, e = _weighed(test, first, joined, limits, decided)
    # Triples without clear evidence count as colliders: a larger pool is never wrong.
    pools = possible_separators(first.adjacent.astype(np.int8), triples[e >= 0])
    if (pools == first.adjacent).all() or limits.out_of_time(_NO_SECOND_STAGE):
        return first, triples, e
    reached = limits.reached
    second = skeleton(test, joined, required, log_alpha, limits, first.adjacent, pools)
    limits.reached = reached
    found = first.join(second)
    return found, *_weighed(test, found, joined, limits, decided)


def _weighed(
    test: IndependenceTest,
    found: Skeleton,
    joined: np.ndarray,
    limits: Limits,
    decided: Decided,
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of the triples, from neighbours and from the sets that separated their ends."""
    triples, without, within = evidence(test, found.adjacent, joined, limits, decided)
    row = np.full(found.adjacent.shape, -1)
    row[found.pairs[:, 0], found.pairs[:, 1]] = np.arange(len(found.pairs))
    at = row[triples[:, 0], triples[:, 2]]
    tested = np.flatnonzero(at >= 0)  # the others: knowledge keeps them apart
    at = at[tested]
    held = (found.members[at] == triples[tested, 1, None]).any(axis=1)
    for best, part in ((without, ~held), (within, held)):
        rows = tested[part]
        best[rows] = np.maximum(best[rows], found.pair_log_p[at[part]])
    return triples, without - within


# -- orientation -----------------------------------------------------------------------------


def _legal(
    found: Skeleton,
    allowed: np.ndarray,
    required: np.ndarray,
    triples: np.ndarray,
    e: np.ndarray,
    limits: Limits,
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Marks of a legal PAG that keeps as many decisions as it can, and edges it could not keep."""
    known = np.full(found.adjacent.shape, CIRCLE, dtype=np.int8)
    # Not a cause: an arrowhead. known[i, j] is the mark at j of the edge between i and j.
    known[~allowed.T] = ARROW
    known[required.T] = TAIL
    known[required] = ARROW
    colliders = np.flatnonzero(e > 0)
    colliders = colliders[np.argsort(-e[colliders], kind="stable")]
    spared = 0
    while spared <= 2 * len(colliders):
        use = np.zeros(len(e), dtype=bool)
        use[colliders[: max(len(colliders) - spared, 0)]] = True
        marks = _oriented(found, known, triples, e, use)
        mag = member(marks)
        if mag is not None and is_maximal_ancestral(mag):
            out = completed(mag, known)
            if agrees(out, mag):
                return out, []
        spared = max(1, 2 * spared)
        if limits.out_of_time(_NO_MEDIATION):
            break
    # A DAG is a MAG: without hidden causes there is always a graph that fits.
    dag, conflicts = orient(found.adjacent, allowed, required, triples, e, found.log_p)
    mag = np.where(dag, ARROW, np.where(dag.T, TAIL, NONE)).astype(np.int8)
    return completed(mag, known), [where for kind, where in conflicts if kind == "edge"]


def _oriented(
    found: Skeleton, known: np.ndarray, triples: np.ndarray, e: np.ndarray, use: np.ndarray
) -> np.ndarray:
    """Marks by colliders, the strongest before the weaker, and rules."""
    marks = np.where(found.adjacent, known, NONE).astype(np.int8)
    apart: dict[int, list[tuple[int, int]]] = {}  # middle -> ends decided not to collide there
    for t in np.argsort(-np.abs(e), kind="stable").tolist():
        a, b, c = triples[t].tolist()
        if e[t] < 0:
            apart.setdefault(b, []).append((a, c))
        elif use[t] and marks[a, b] != TAIL and marks[c, b] != TAIL:
            into = (marks[:, b] == ARROW).nonzero()[0].tolist() + [a, c]
            if not any(x in into and y in into for x, y in apart.get(b, ())):
                marks[a, b] = marks[c, b] = ARROW
    close_by_sets(marks, found.pairs, found.members)
    return marks


# The same search without the front door: for resamples of a table that has been checked.
fci.on_design = on_design(search)
