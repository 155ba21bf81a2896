"""Hold a graph against data: do the independencies it implies hold, and would any graph do?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, DataError, ParameterError, did_you_mean, recording
from ..core.results import Result, number
from ..core.saving import saveable
from ..core.seeding import Seed, generator
from ..tables.schema import Schema
from .discovery.design import prepare
from .discovery.independence import GaussianTest
from .separation import Independence, d_separated, implied_independencies

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .causal_graph import CausalGraph


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class Falsification(Result):
    """The answer of :func:`falsify`.

    Attributes:
        implied: One row per implied independence: ``x, y, given, p, p_holm, fails``; p is NaN
            where no test is possible (too few rows, a column that others determine).
        edges: One row per edge: ``u, v, p, supported``: whether v depends on u given v's other
            neighbours with an edge into it; p is NaN where no test is possible.
        p_better: Share of relabelled graphs that violate no more statements (p_LMC).
        p_same: Share of relabelled graphs that imply the same independencies (p_TPa).
        permutations: How many relabellings were drawn.
        alpha: Level of all tests.
        left_out: Columns that could not be tested -> why.
    """

    implied: pd.DataFrame
    edges: pd.DataFrame
    p_better: float
    p_same: float
    permutations: int
    alpha: float
    left_out: dict[str, str]
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def failed(self) -> int:
        """How many implied independencies fail after Holm's correction."""
        return int(self.implied["fails"].sum())

    @property
    def tested(self) -> int:
        """How many implied independencies could be tested."""
        return int(self.implied["p"].notna().sum())

    @property
    def outcome(self) -> str:
        """``"not falsified"``, ``"falsified"`` or ``"not informative"``.

        Informative: few relabellings are equivalent to the graph (p_same <= alpha). Falsified:
        informative, and relabelled graphs often fit as well (p_better > alpha).
        """
        if not self.tested or self.p_same > self.alpha:
            return "not informative"
        return "falsified" if self.p_better > self.alpha else "not falsified"

    def summary(self) -> str:
        if not self.tested:
            return "The graph implies no independence that could be tested."
        answered = self.edges[self.edges["p"].notna()]
        weak = int((~answered["supported"]).sum())
        text = (
            f"{self.failed} of {self.tested} implied independencies fail "
            f"(Holm, level {number(self.alpha)})"
        )
        text += f"; {weak} of {len(answered)} edges find no support" if weak else ""
        untested = len(self.implied) - self.tested, len(self.edges) - len(answered)
        if any(untested):
            what = ("more independencies", "edges")
            named = [f"{n} {w}" for n, w in zip(untested, what, strict=True) if n]
            text += f"; {' and '.join(named)} could not be tested"
        return text + "."

    def verdict(self) -> str:
        if not self.tested:
            return "Not informative: nothing could be tested."
        if self.outcome == "not informative":
            return "Not informative: relabelled graphs imply the same independencies."
        share = f"{self.p_better:.1%} of {self.permutations} relabelled graphs fit as well"
        if self.outcome == "falsified":
            return f"Falsified: {share}; the graph explains no more than chance."
        failed = " Look at the independencies that fail." if self.failed else ""
        return f"Not falsified: {share}.{failed}"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """Implied independencies, the most doubtful first; ``long=True`` adds the edges."""
        if not long:
            return self.implied.sort_values("p", kind="stable", ignore_index=True)
        edges = self.edges.rename(columns={"u": "x", "v": "y", "supported": "holds"})
        implied = self.implied.assign(holds=~self.implied["fails"], statement="independence")
        both = pd.concat([implied, edges.assign(statement="edge")], ignore_index=True)
        return both[["statement", "x", "y", "given", "p", "holds"]]

    def how(self) -> dict[str, Any]:
        found = {
            "test": "partial correlation; likelihood ratio where a category is involved",
            "a failure may also mean": "a mechanism that bends, noise whose spread depends on "
            "the causes, or rows that depend on others",
            "relabelled graphs that violate no more": f"{self.p_better:.3g}",
            "relabelled graphs in the same class": f"{self.p_same:.3g}",
        }
        found |= {f"not tested: {name}": why for name, why in self.left_out.items()}
        return found

    def plot(self, ax: Axes | None = None) -> Axes:
        """p-values of the implied independencies in order: on the diagonal under a true graph."""
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        p = np.sort(self.implied["p"].dropna().to_numpy())
        ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        ax.step((np.arange(len(p)) + 0.5) / max(len(p), 1), p, where="mid", color="#2b6cb0")
        ax.set_xlabel("expected p-value if the graph is right")
        ax.set_ylabel("p-value found")
        return ax


def falsify(
    graph: CausalGraph,
    df: pd.DataFrame,
    *,
    schema: Schema | None = None,
    alpha: float = 0.05,
    n_permutations: int = 200,
    random_state: Seed = 0,
) -> Falsification:
    """Test the independencies that a graph implies, against the same graph with labels permuted.

    Every statement x ⊥ y | S (see :func:`~workbench.graph.separation.implied_independencies`) is
    tested; then so many randomly relabelled graphs are. A graph that violates no less than its
    relabellings has explained nothing. Not being falsified is no proof: graphs of one class
    imply the same, and a test without power rejects nothing.

    Args:
        graph: The graph; latent nodes are fine.
        df: A table with its observed nodes.
        schema: What the columns mean.
        alpha: Level.
        n_permutations: Relabellings; p-values move in steps of 1 / (1 + n_permutations).
        random_state: Seed of the relabellings.

    Raises:
        DataError: A node is not a column, or the table can't be used.
        GraphError: The graph is a PAG or class without members.

    When to use something else: the test sees linear and level-wise dependence only, and it takes
    away the influence of S linearly. Where a mechanism bends (or counts, or levels coded as
    numbers are involved), a true independence can fail; noise whose spread depends on the causes
    and rows that depend on each other (a cluster, a time) make p-values too small.

    References:
        Eulig, Mastakouri, Blöbaum, Hardt, Janzing, "Toward falsifying causal graphs using a
        permutation-based test", AAAI 2025.

    Example:
        >>> from workbench import CausalGraph
        >>> r = np.random.default_rng(0)
        >>> a, c = r.normal(size=(2, 500))
        >>> df = pd.DataFrame({"a": a, "b": a + c + r.normal(size=500), "c": c})
        >>> falsify(CausalGraph(list("abc"), [("a", "b"), ("c", "b")]), df).failed
        0
    """
    if not 0 < alpha < 1:
        raise ParameterError("must lie between 0 and 1", column="alpha", value=alpha)
    if n_permutations < 1:
        raise ParameterError("must be 1 or more", column="n_permutations", value=n_permutations)
    for node in graph.observed:
        if node not in df.columns:
            raise DataError(
                "is in the graph and not in the table",
                column=node,
                advice=did_you_mean(node, df.columns),
            )
    with recording() as notes:
        design = prepare(df[_needed(graph, df, schema)], schema=schema)
    test = GaussianTest(design)
    at = {name: i for i, name in enumerate(design.names)}
    separable = implied_independencies(graph)
    statements = [s for s in separable if {s.x, s.y, *s.given} <= at.keys()]
    p = _p_values(test, statements, at)
    better, same = _permuted(
        graph, test, separable, statements, at, p, alpha, n_permutations, random_state
    )
    holm = _holm(p)
    implied = pd.DataFrame(
        {
            "x": [s.x for s in statements],
            "y": [s.y for s in statements],
            "given": [", ".join(sorted(s.given)) for s in statements],
            "p": p,
            "p_holm": holm,
            "fails": holm <= alpha,
        }
    )
    return Falsification(
        implied=implied,
        edges=_edge_support(graph, test, at, alpha),
        p_better=better,
        p_same=same,
        permutations=n_permutations,
        alpha=alpha,
        left_out={n: w for n, w in design.left_out.items() if n in graph},
        warnings=tuple(notes),
    )


def _needed(graph: CausalGraph, df: pd.DataFrame, schema: Schema | None) -> list[str]:
    """The nodes, and the columns that tell whether rows depend on each other."""
    known = schema or Schema.infer(df)
    telling = [f.name for f in known if f.role in ("id", "time", "cluster") and f.name in df]
    return [*graph.observed, *(n for n in telling if n not in graph)]


def _grouped(
    statements: Sequence[Independence], at: dict[str, int]
) -> list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """(x, targets, S, positions) for statements that share x and S: one call of the test each."""
    groups: dict[tuple[int, tuple[int, ...]], list[tuple[int, int]]] = {}
    for n, s in enumerate(statements):
        key = at[s.x], tuple(sorted(at[g] for g in s.given))
        groups.setdefault(key, []).append((at[s.y], n))
    return [
        (
            x,
            np.array([y for y, _ in found]),
            np.array(given, dtype=int),
            np.array([n for _, n in found]),
        )
        for (x, given), found in groups.items()
    ]


def _p_values(
    test: GaussianTest, statements: Sequence[Independence], at: dict[str, int]
) -> np.ndarray:
    return _run(test, _grouped(statements, at), np.arange(test.size), len(statements))


def _run(test: GaussianTest, groups: list, labels: np.ndarray, size: int) -> np.ndarray:
    out = np.empty(size)
    for x, targets, given, positions in groups:
        log_p = test.log_p(int(labels[x]), labels[targets], labels[given][None, :])[0]
        # -inf: the question has no answer (its ends are determined, or no degrees of freedom).
        out[positions] = np.where(np.isneginf(log_p), np.nan, np.exp(log_p))
    return out


def _permuted(
    graph: CausalGraph,
    test: GaussianTest,
    separable: Sequence[Independence],
    statements: Sequence[Independence],
    at: dict[str, int],
    p: np.ndarray,
    alpha: float,
    n_permutations: int,
    random_state: Seed,
) -> tuple[float, float]:
    if not np.isfinite(p).any():
        return 1.0, 1.0
    groups, own = _grouped(statements, at), int((p <= alpha).sum())
    names = sorted(at, key=at.__getitem__)
    apart = np.zeros((test.size, test.size), dtype=bool)
    for s in separable:
        if s.x in at and s.y in at:
            apart[at[s.x], at[s.y]] = apart[at[s.y], at[s.x]] = True
    x, y = np.array([(at[s.x], at[s.y]) for s in statements]).T
    r = generator(random_state)
    better = same = 0
    for _ in range(n_permutations):
        labels = r.permutation(test.size)
        violated = int((_run(test, groups, labels, len(statements)) <= alpha).sum())
        better += violated <= own
        # Relabelled statements are as many: if the graph implies all of them, it implies no other.
        same += apart[labels[x], labels[y]].all() and all(
            d_separated(
                graph,
                names[labels[at[s.x]]],
                names[labels[at[s.y]]],
                [names[labels[at[g]]] for g in s.given],
            )
            for s in statements
        )
    return (1 + better) / (1 + n_permutations), (1 + same) / (1 + n_permutations)


def _edge_support(
    graph: CausalGraph, test: GaussianTest, at: dict[str, int], alpha: float
) -> pd.DataFrame:
    rows = []
    for u, v, mark_u, mark_v in graph.edges:
        if u not in at or v not in at:
            continue
        if (mark_u, mark_v) == ("arrow", "arrow"):
            given = {*graph.parents(u), *graph.parents(v)}
        else:
            given = {*graph.parents(v), *graph.neighbors(v)}
        columns = sorted(at[g] for g in given - {u, v} if g in at)
        log_p = test.log_p(at[v], np.array([at[u]]), np.array(columns, dtype=int)[None, :])
        p = float(np.exp(log_p[0, 0])) if np.isfinite(log_p[0, 0]) else np.nan
        rows.append((u, v, p, p <= alpha))
    return pd.DataFrame(rows, columns=["u", "v", "p", "supported"]).astype({"supported": bool})


def _holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for their number; those that are NaN do not count."""
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    out = np.full(len(p), np.nan)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return out
