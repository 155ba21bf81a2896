"""GRaSP: an order of variables, improved by tucking causes behind their effects."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np

from ...core.errors import ParameterError, recording, warn
from ...core.seeding import Seed, generator
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from .design import prepare
from .encoded import Missing
from .ges import search as climb_classes
from .scoring import Problem, check_parameters, finish, pose, warn_unsupported


def grasp(
    data: Any,
    penalty: float = 1.0,
    score: Literal["auto", "bic", "bdeu"] = "auto",
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    depth: int = 3,
    equivalent_size: float = 2.0,
    missing: Missing = "auto",
    random_state: Seed = 0,
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn the equivalence class of a DAG by greedy relaxations of the sparsest permutation.

    A tuck takes an edge x → y of the DAG that an order stands for and moves y, with those of its
    ancestors that stand between, to just before x. Tucks that keep the score may be followed by
    others, ``depth`` deep (the first one of an edge whose ends share all other parents, as long as
    that leads anywhere); a better score is kept, and the search starts again. It is made from two
    orders, that of how much a variable shares with the others and its reverse; from the better one,
    moves between classes go on where tucks end.

    Scores, assumptions and treatment of columns are those of
    :func:`~workbench.graph.discovery.boss`, which is faster and about as accurate: prefer it
    unless a second search by another way is wanted, and for more than about 100 columns.

    Args:
        data: A table; see :func:`~workbench.graph.discovery.boss`.
        penalty, score, knowledge, schema, equivalent_size, missing: As there.
        depth: Number of tucks that may follow each other without gain.
        random_state: Seed of the order in which tucks are tried.
        time_limit: Seconds after which the search stops with the best order so far, and says so.

    Returns:
        A CPDAG, or an MPDAG where knowledge orients more than the data.

    Raises:
        DataError, QuestionError: The table or the knowledge can't be used.
        ParameterError: A penalty that is not positive, an unknown score, a depth below 1.

    References:
        Lam, Andrews, Ramsey, "Greedy relaxations of the sparsest permutation algorithm", UAI 2022.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, b, noise = rng.normal(size=(3, 2000))
        >>> g = grasp(pd.DataFrame({"a": a, "b": b, "c": a + b + noise}))
        >>> g.kind, sorted(g.directed_edges())
        ('cpdag', [('a', 'c'), ('b', 'c')])
    """
    check_parameters(penalty, equivalent_size, missing, time_limit)
    if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 1:
        raise ParameterError("must be 1, 2, ...", column="depth", value=depth)
    stop = None if time_limit is None else time.monotonic() + time_limit
    with recording() as notes:
        design = prepare(data, schema, knowledge, missing)
        problem = pose(design, score, penalty, equivalent_size)
        rng, d = generator(random_state), len(problem.design.names)
        # From either end: each order has optima of its own in which the search can stay.
        walks = [_Walk(problem, rng, stop, order) for order in (np.arange(d), np.arange(d)[::-1])]
        for walk in walks:
            while walk.improve(depth):
                pass
        walk = max(walks, key=lambda walk: walk.order.score.sum())
        # As in BOSS: a move between classes can help where no tuck does.
        edges, ended = climb_classes(problem, walk.parents, stop=stop)
        if walk.late() or not ended:
            warn(
                "time-limit",
                f"stopped after {time_limit:g} s: the graph is the best so far, longer may find a "
                "better one",
            )
        warn_unsupported(problem, edges)
        graph = finish(problem, edges)
    return graph.with_info(
        method="grasp", score=problem.total(edges), **problem.words(notes, depth=depth)
    )


class _Walk:
    """An order, the DAG that it stands for, and tucks that can be taken back."""

    def __init__(
        self, problem: Problem, rng: np.random.Generator, stop: float | None, priority: np.ndarray
    ):
        from . import grow_shrink as kernel

        d = len(problem.design.names)
        self.rng, self.stop, self.required = rng, stop, problem.required
        self.kernel, self.score = kernel, problem.score
        self.trees = kernel.plant(
            problem.score, problem.allowed, problem.required, int(np.clip(20_000 * d, 10**6, 10**7))
        )
        self.order = kernel.Order(
            problem.order(priority), np.zeros(d, np.int64), np.zeros((d, d), np.int8), np.zeros(d)
        )
        self.parents = np.zeros((d, d), bool)
        self._rewalk(0, d - 1)

    def late(self) -> bool:
        return self.stop is not None and time.monotonic() > self.stop

    def improve(self, depth: int) -> bool:
        """Look for tucks that raise the score together, make them, and say whether there are."""
        return self._dive(depth, depth, {self.parents.tobytes()})

    def _dive(self, depth: int, left: int, seen: set[bytes]) -> bool:
        d = len(self.parents)
        for y in self.rng.permutation(d):
            for x in self.rng.permutation(np.flatnonzero(self.parents[:, y])):
                if self.late():
                    return False
                # A later one of several tucks flips an edge that any order may flip.
                if left < depth and not self._covered(x, y):
                    continue
                before = self._tuck(x, y)
                if before is None:
                    continue
                gain = self.order.score.sum() - before[1].sum()
                if gain > self.kernel.TOLERANCE:
                    return True
                if gain > -self.kernel.TOLERANCE and left > 1:
                    key = self.parents.tobytes()
                    if key not in seen:
                        seen.add(key)
                        if self._dive(depth, left - 1, seen):
                            return True
                self._restore(before)
        return False

    def _covered(self, x: int, y: int) -> bool:
        differ = self.parents[:, x] != self.parents[:, y]
        differ[x] = False
        return not differ.any()

    def _tuck(self, x: int, y: int) -> tuple[np.ndarray, ...] | None:
        """Move y and its ancestors after x to before x; what was there, or None if forbidden."""
        order = self.order
        low, high = order.position[x], order.position[y]
        between = order.sequence[low : high + 1]
        moves = {int(y)}
        for v in between[:0:-1]:
            if v in moves:
                moves.update(np.flatnonzero(self.parents[:, v]).tolist())
        front = [v for v in between if v in moves and v != x]
        back = [v for v in between if v not in moves or v == x]
        if self.required[np.ix_(back, front)].any():
            return None
        before = (
            order.sequence.copy(),
            order.score.copy(),
            order.touched.copy(),
            self.parents.copy(),
        )
        order.sequence[low : high + 1] = front + back
        self._rewalk(low, high)
        return before

    def _restore(self, before: tuple[np.ndarray, ...]) -> None:
        order = self.order
        order.sequence[:], order.score[:], order.touched[:], self.parents[:] = before
        order.position[order.sequence] = np.arange(len(order.sequence))

    def _rewalk(self, low: int, high: int) -> None:
        self.kernel.rewalk(self.score, self.trees, self.order, int(low), int(high), self.parents)
