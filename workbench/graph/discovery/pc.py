"""The PC algorithm: remove edges that a conditional independence explains, then orient."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, combinations, islice
from math import comb
from typing import Any

import numpy as np

from ...core.errors import ParameterError, recording, warn
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .design import Design, as_records, prepare
from .independence import GaussianTest, IndependenceTest
from .orientation import Triple, orient

_CHUNK = 20_000
_FAR = 1e9  # stands for log p = -inf, so that evidence stays a number


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
    _check_parameters(alpha, depth, max_tests, time_limit)
    with recording() as notes:
        design = prepare(data, schema, knowledge)
        limits = _Limits(depth, max_tests, time_limit)
        graph = search(design, GaussianTest(design), alpha, limits)
    return graph.with_info(
        method="pc",
        parameters={"alpha": alpha, "depth": depth, "max_tests": max_tests},
        explanation=_explain(design, alpha),
        rows=design.rows,
        left_out=dict(design.left_out),
        warnings=as_records(notes),
    )


def search(
    design: Design, test: IndependenceTest, alpha: float, limits: _Limits | None = None
) -> CausalGraph:
    """PC on prepared data with any test; :func:`pc` is the front door."""
    limits = limits or _Limits()
    names = design.names
    allowed = design.knowledge.allowed(names)
    required = np.zeros_like(allowed)
    at = {n: i for i, n in enumerate(names)}
    for u, v in design.knowledge.required:
        required[at[u], at[v]] = True
    found = _skeleton(test, allowed, required, np.log(alpha), limits)
    evidence = _evidence(test, found, allowed, limits)
    parents, conflicts = orient(found.adjacent, allowed, required, evidence, found.log_p)
    dag = CausalGraph(
        design.shown, [(names[i], names[j]) for j, p in enumerate(parents) for i in p]
    )
    graph = design.knowledge.apply(dag.cpdag())
    _warn_unsupported(design, required, found.log_p, alpha)
    return graph.with_info(
        p_values={
            (names[i], names[j]): float(np.exp(found.log_p[i, j]))
            for i, j in zip(*np.nonzero(np.triu(found.adjacent)), strict=True)
            if graph.marks(names[i], names[j])
        },
        separating_sets={
            (names[i], names[j]): tuple(names[k] for k in s)
            for (i, j), s in sorted(found.separators.items())
        },
        conflicts=[_conflict(kind, [names[i] for i in where]) for kind, where in conflicts],
        tests=limits.tests,
        depth=limits.reached,
    )


# -- skeleton --------------------------------------------------------------------------------


@dataclass
class _Limits:
    """How far a search may go, and how far it went."""

    depth: int | None = None
    max_tests: int = 20_000_000
    seconds: float | None = None
    tests: int = 0
    reached: int = 0
    started: float = field(default_factory=time.monotonic)

    def out_of_time(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.started > self.seconds


@dataclass
class _Skeleton:
    adjacent: np.ndarray
    log_p: np.ndarray  # largest log p-value over all sets that were tested
    separators: dict[tuple[int, int], tuple[int, ...]]


def _skeleton(
    test: IndependenceTest,
    allowed: np.ndarray,
    required: np.ndarray,
    log_alpha: float,
    limits: _Limits,
) -> _Skeleton:
    adjacent = allowed | allowed.T
    fixed = required | required.T
    out = _Skeleton(adjacent, np.full(adjacent.shape, -np.inf), {})
    level = 0
    while limits.depth is None or level <= limits.depth:
        # Within a level all nodes see the same neighbours: no order of columns plays a part.
        frozen = adjacent.copy()
        candidates = _candidates(frozen, allowed)
        room = [len(c) - allowed[frozen[x], x].all() for x, c in enumerate(candidates)]
        if max(room) < level:
            break
        work = [comb(len(c), level) * row.sum() for c, row in zip(candidates, frozen, strict=True)]
        if sum(work) > limits.max_tests:
            warn(
                "depth-limited",
                f"conditioning sets of {level} and more columns were not tried: they need "
                f"{int(sum(work)):,} tests; some edges may be there only for that reason",
            )
            break
        best: dict[tuple[int, int], float] = {}
        for x, names in enumerate(candidates):
            targets = np.flatnonzero(frozen[x])
            if limits.out_of_time():
                break
            for subsets in _subsets(names, level):
                log_p = test.log_p(x, targets, subsets)
                limits.tests += log_p.size
                rows = log_p.argmax(axis=0)
                for column, (y, row) in enumerate(zip(targets.tolist(), rows, strict=True)):
                    pair, p = (min(x, y), max(x, y)), log_p[row, column]
                    out.log_p[pair] = max(out.log_p[pair], p)
                    if p > log_alpha and p > best.get(pair, -np.inf) and not fixed[pair]:
                        best[pair] = p
                        out.separators[pair] = tuple(sorted(subsets[row].tolist()))
        for x, y in best:
            adjacent[x, y] = adjacent[y, x] = False
        if limits.out_of_time():
            warn(
                "time-limit",
                f"stopped after {limits.seconds:g} s at conditioning sets of {level} columns: "
                "some edges may be there only for that reason",
            )
            break
        limits.reached = level
        level += 1
    out.log_p = np.maximum(out.log_p, out.log_p.T)
    return out


def _candidates(adjacent: np.ndarray, allowed: np.ndarray) -> list[np.ndarray]:
    """Neighbours that may be parents: the parents of one end separate two nodes if any set does."""
    return [np.flatnonzero(adjacent[x] & allowed[:, x]) for x in range(len(adjacent))]


def _subsets(members: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """All subsets of one size, ``(m, size)`` at a time."""
    total = comb(len(members), size)
    if total <= _CHUNK:
        if total:
            yield members[_combinations(len(members), size)]
        return
    walk = combinations(members.tolist(), size)
    while len(part := list(islice(walk, _CHUNK))):
        yield np.fromiter(chain.from_iterable(part), int, len(part) * size).reshape(-1, size)


@lru_cache(maxsize=512)
def _combinations(n: int, size: int) -> np.ndarray:
    return np.array(list(combinations(range(n), size)), dtype=int).reshape(comb(n, size), size)


# -- colliders -------------------------------------------------------------------------------


def _evidence(
    test: IndependenceTest, found: _Skeleton, allowed: np.ndarray, limits: _Limits
) -> dict[Triple, float]:
    """e of each unshielded triple: best log p without the middle node minus best with it."""
    adjacent = found.adjacent
    candidates = _candidates(adjacent, allowed)
    best: dict[Triple, list[float]] = {}
    for x, names in enumerate(candidates):
        middle = np.flatnonzero(adjacent[x])
        apart = ~adjacent[x]
        apart[x] = False
        ends = np.flatnonzero(apart & adjacent[middle].any(axis=0))
        if not len(ends):
            continue
        without = np.full((len(middle), len(ends)), -np.inf)
        including = without.copy()
        for size in range(min(limits.reached, len(names)) + 1):
            if comb(len(names), size) * len(ends) > limits.max_tests or limits.out_of_time():
                break
            for subsets in _subsets(names, size):
                log_p = test.log_p(x, ends, subsets)
                limits.tests += log_p.size
                for row, y in enumerate(middle):
                    has = (subsets == y).any(axis=1)
                    for table, part in ((without, log_p[~has]), (including, log_p[has])):
                        np.maximum(table[row], part.max(axis=0, initial=-np.inf), out=table[row])
        for row, column in zip(*np.nonzero(adjacent[np.ix_(middle, ends)]), strict=True):
            z = int(ends[column])
            triple = (min(x, z), int(middle[row]), max(x, z))
            pair = best.setdefault(triple, [-np.inf, -np.inf])
            pair[0] = max(pair[0], without[row, column])
            pair[1] = max(pair[1], including[row, column])
    return {t: max(a, -_FAR) - max(b, -_FAR) for t, (a, b) in sorted(best.items())}


# -- words -----------------------------------------------------------------------------------


def _warn_unsupported(
    design: Design, required: np.ndarray, log_p: np.ndarray, alpha: float
) -> None:
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
    a, b, c = names
    if kind == "collider":
        return f"{a} -> {b} <- {c} not oriented: it contradicts stronger evidence or knowledge"
    return f"{a} -> {b} <- {c} oriented against the test: other evidence or knowledge is stronger"


def _explain(design: Design, alpha: float) -> str:
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


def _check_parameters(
    alpha: float, depth: int | None, max_tests: int, time_limit: float | None
) -> None:
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
