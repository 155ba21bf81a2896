"""Additive noise models: directions that a class leaves open, told apart by residuals."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from ...core.errors import ParameterError, recording, warn
from ...core.seeding import Seed, foreign_generators, generator, spawn
from ...tables.gate import count
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..equivalence import PartialOrientation
from ..knowledge import Knowledge
from .boss import boss
from .constraint import check_parameters
from .design import Design, as_records, checked_knowledge, reduce
from .encoded import encode


def anm(
    data: Any,
    alpha: float = 0.05,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    max_rows: int = 500,
    random_state: Seed = 0,
    time_limit: float | None = None,
) -> CausalGraph:
    """Orient the edges that a class leaves open, where only one direction has independent noise.

    The class comes from :func:`~workbench.graph.discovery.boss` with its defaults (linear, no
    kernels). For each undirected edge u - v, v is regressed on u and the parents of v known so far
    by a Gaussian process, and its residual tested for independence of these (HSIC); likewise for
    u. If exactly one of the two p-values is above ``alpha`` that direction is taken: y = f(x) + e
    with e independent of x can't be turned round, but for special f and e (linear f with Gaussian
    e among them). The pair that is told apart best goes first, and Meek's rules carry it on, so
    that no cycle and no new collider can arise; then the others are asked again, with the parents
    that are now known. What is not told apart stays undirected. No direction that knowledge
    settles is asked about.

    Do not use it where relations are linear with Gaussian noise (nothing is told apart), where
    noise grows with the cause or is not added, with hidden common causes, for columns that
    are rounded to few values, or to correct a skeleton: edges that no linear relation shows are
    not there to be oriented. A rejected direction is evidence; one that is accepted may only lack
    rows. :func:`~workbench.graph.discovery.direct_lingam` is for linear relations with noise that
    is not Gaussian.

    On the 99 pairs of Tuebingen, weighted, 500 rows each, it decides on 19 % and is right on 79 %
    of these; taking the larger p-value everywhere would be right on 57 %.

    Args:
        data: A table; columns with a structural role, constants and exact linear functions of
            others are left out and named. Edges at a column of levels are left as they are.
        alpha: Level of the tests: a direction below it is rejected.
        knowledge: What is known; the result agrees with it.
        schema: What the columns mean; guessed when left out.
        max_rows: Rows used to tell directions apart, drawn at random from more: time grows with
            their cube (about a second an edge at 300, five at 500).
        random_state: Seed of the search and of the rows drawn.
        time_limit: Seconds after which no further edge is asked about, and it says so.

    Returns:
        A CPDAG or MPDAG. ``info["direction_p_values"]`` has (u, v): p-value of u → v, for both
        directions of every edge that was asked about, and ``info["undecided"]`` the edges that
        stay open.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: ``alpha`` outside (0, 1), fewer than 50 ``max_rows``.

    References:
        Hoyer, Janzing, Mooij, Peters, Schoelkopf, "Nonlinear causal discovery with additive noise
        models", NIPS 2008; Peters, Mooij, Janzing, Schoelkopf, "Causal discovery with continuous
        additive noise models", JMLR 15, 2014.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, noise = rng.uniform(-1, 1, size=(2, 150))
        >>> g = anm(pd.DataFrame({"a": a, "b": a + 2 * a**3 + noise}))
        >>> g.edges
        (('a', 'b', 'tail', 'arrow'),)
    """
    check_parameters(alpha, None, 1, time_limit)
    if isinstance(max_rows, bool) or not isinstance(max_rows, int | np.integer) or max_rows < 50:
        raise ParameterError("must be 50 or more", column="max_rows", value=max_rows)
    stop = None if time_limit is None else time.monotonic() + time_limit
    seeds = spawn(random_state, 3)
    with recording() as notes:
        knowledge = checked_knowledge(knowledge)
        design = reduce(encode(data, schema, knowledge), knowledge)
        graph = boss.on_design(design, random_state=seeds[0], time_limit=time_limit)
        questions = _Questions(design, max_rows, *seeds[1:])
        graph, undecided = _orient(graph, questions, alpha, stop)
    return graph.with_info(
        method="anm",
        parameters={"alpha": alpha, "max_rows": max_rows},
        explanation=_explain(design, questions.rows),
        direction_p_values=questions.asked(),
        undecided=undecided,
        rows=design.rows,
        left_out=dict(design.left_out),
        warnings=as_records(notes),
    )


class _Questions:
    """How well the noise of a column agrees with being independent of its causes."""

    def __init__(self, design: Design, max_rows: int, draw: Seed, fit: Seed):
        values, blocks = design.values, design.blocks
        if len(values) > max_rows:
            values = values[np.sort(generator(draw).permutation(len(values))[:max_rows])]
        self.rows, self._fit = len(values), fit
        self._columns = {
            name: _standardised(values[:, block])
            for name, block in zip(design.names, blocks, strict=True)
        }
        self.numbers = {
            n
            for n, c in self._columns.items()
            if c.shape[1] == 1 and ((c > c.min()) & (c < c.max())).any()
        }
        self._answers: dict[tuple[str, frozenset[str]], float] = {}
        self._latest: dict[tuple[str, str], float] = {}

    def p(self, cause: str, effect: str, others: frozenset[str]) -> float:
        """p-value of: the residual of ``effect`` is independent of ``cause`` and ``others``."""
        inputs = others | {cause}
        if (effect, inputs) not in self._answers:
            self._answers[effect, inputs] = self._residual_test(effect, sorted(inputs))
        self._latest[cause, effect] = self._answers[effect, inputs]
        return self._answers[effect, inputs]

    def _residual_test(self, effect: str, inputs: list[str]) -> float:
        from causallearn.search.FCMBased.ANM.ANM import ANM
        from causallearn.utils.KCI.KCI import KCI_UInd

        x, y = np.hstack([self._columns[n] for n in inputs]), self._columns[effect]
        with foreign_generators(self._fit), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on bounds of the kernel's parameters
            residual = y - ANM().fit_gp(x, y)
            return float(KCI_UInd().compute_pvalue(x, residual)[0])

    def asked(self) -> dict[tuple[str, str], float]:
        """The latest p-value of each direction."""
        return dict(sorted(self._latest.items()))


def _standardised(block: np.ndarray) -> np.ndarray:
    """Without columns that don't vary on the drawn rows."""
    block = block[:, np.ptp(block, axis=0) > 0]
    return (block - block.mean(axis=0)) / block.std(axis=0)


def _orient(
    graph: CausalGraph, questions: _Questions, alpha: float, stop: float | None
) -> tuple[CausalGraph, list[tuple[str, str]]]:
    """The class with the edges that can be told apart oriented, and those that can't."""
    names, partial, oriented = graph.nodes, PartialOrientation.of(graph), False

    def late() -> bool:
        return stop is not None and time.monotonic() > stop

    while True:
        best = None
        for i, j in _open(partial, names, questions):
            if late():
                break
            there, back = (
                questions.p(names[a], names[b], frozenset(names[k] for k in partial.parents[b]))
                for a, b in ((i, j), (j, i))
            )
            if (there > alpha) != (back > alpha):
                lead = abs(np.log(max(there, 1e-16)) - np.log(max(back, 1e-16)))
                pair = (i, j) if there > back else (j, i)
                if best is None or lead > best[0]:
                    best = (lead, *pair)
        if best is None:
            break
        partial.orient(*best[1:])
        partial.close([best[1:]])
        oriented = True
    if late():
        warn(
            "time-limit",
            "stopped before the class was complete and every edge asked about: longer may find "
            "more edges and directions",
        )
    undecided = sorted(
        (names[i], names[j])
        for i, near in enumerate(partial.neighbors)
        for j in near
        if names[i] < names[j]
    )
    return (partial.graph(graph, "mpdag") if oriented else graph), undecided


def _open(
    partial: PartialOrientation, names: tuple[str, ...], questions: _Questions
) -> list[tuple[int, int]]:
    """Undirected edges between numbers, in the order of their names."""
    pairs = [
        (i, j)
        for i, near in enumerate(partial.neighbors)
        for j in near
        if names[i] < names[j] and {names[i], names[j]} <= questions.numbers
    ]
    return sorted(pairs, key=lambda pair: (names[pair[0]], names[pair[1]]))


def _explain(design: Design, rows: int) -> str:
    text = (
        f"{len(design.names)} columns, {design.rows:,} rows. The class is that of BOSS with a "
        "linear score; its open directions are tested on "
        f"{count(rows, 'row')} by residuals of Gaussian processes (HSIC)."
    )
    if design.left_out:
        named = "; ".join(f"{n!r} ({why})" for n, why in sorted(design.left_out.items()))
        text += f" Left out: {named}."
    return text
