"""How far an estimated graph is from the true one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import GraphError, did_you_mean
from .causal_graph import CausalGraph

if TYPE_CHECKING:
    import pandas as pd


def compare(estimated: CausalGraph, true: CausalGraph) -> pd.Series:
    """Distances between an estimated and a true graph on the same nodes.

    The measures, each from the estimate's side where it has one:

    - ``shd``: unordered pairs whose marks differ (a reversed edge counts 1, so does → for —).
      Symmetric. Comparing a CPDAG with a DAG counts edges that are right but undirected as
      errors: read ``shd_class`` then, which compares the equivalence classes (NaN unless each
      graph is a DAG or a CPDAG).
    - ``skeleton_precision``, ``skeleton_recall``, ``skeleton_f1``: share of estimated adjacent
      pairs that are truly adjacent; share of truly adjacent pairs that were found; harmonic mean.
    - ``arrow_precision``, ``arrow_recall``, ``arrow_f1``: the same for arrowheads, the pair and
      the end counted together. A graph without any has precision 1 (nothing said, nothing wrong),
      and recall 1 if there was nothing to find.
    - ``parent_aid``, ``ancestor_aid``, ``oset_aid``: adjustment identification distance, the
      share of ordered pairs (x, y) for which adjusting as the *estimate* says (for the parents of
      x, its ancestors, the optimal set) gives a wrong effect in the *true* graph. Not symmetric.
      NaN unless each graph is a DAG or a CPDAG.
    - ``sid``: structural intervention distance, the *number* of those pairs for the parents
      (between two DAGs, else NaN).
    - ``estimated_edges``, ``true_edges``: numbers of edges.

    Args:
        estimated: The guess.
        true: The truth.

    Raises:
        GraphError: The graphs have different nodes.

    References:
        Tsamardinos, Brown, Aliferis, "The max-min hill-climbing Bayesian network structure
        learning algorithm", Machine Learning 65, 2006 (SHD); Henckel, Wuertzen, Weichwald,
        "Adjustment identification distance", UAI 2024; Peters, Buehlmann, "Structural
        intervention distance for evaluating causal graphs", Neural Computation 27, 2015.

    Example:
        >>> true = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")])
        >>> guess = CausalGraph(["a", "b", "c"], [("b", "a"), ("b", "c")])
        >>> row = compare(guess, true).to_dict()
        >>> row["shd"], row["shd_class"], row["skeleton_f1"], row["arrow_f1"]
        (1.0, 0.0, 1.0, 0.5)
    """
    import pandas as pd

    for graph, other, what in ((estimated, true, "true"), (true, estimated, "estimated")):
        for name in graph.nodes:
            if name not in other:
                raise GraphError(
                    f"is not in the {what} graph",
                    column=name,
                    advice=did_you_mean(name, other.nodes),
                )
    guess, truth = _marks(estimated), _marks(true)
    values = {"shd": _distance(guess, truth)}
    classes = [_class(g) for g in (estimated, true)]
    comparable = all(c is not None for c in classes)
    values["shd_class"] = _distance(*map(_marks, classes)) if comparable else np.nan
    values |= _rates("skeleton", set(guess), set(truth))
    values |= _rates("arrow", _arrowheads(estimated), _arrowheads(true))
    for name in ("parent", "ancestor", "oset"):
        values[f"{name}_aid"] = _aid(name, estimated, true) if comparable else np.nan
    dags = estimated.kind == true.kind == "dag"
    values["sid"] = values["parent_aid"] * len(true) * (len(true) - 1) if dags else np.nan
    values |= {"estimated_edges": len(estimated.edges), "true_edges": len(true.edges)}
    return pd.Series(values, dtype=float)


def _marks(graph: CausalGraph) -> dict[tuple[str, str], Any]:
    """Pair of names in order -> the marks of the edges between them."""
    pairs = {(min(u, v), max(u, v)) for u, v, *_ in graph.edges}
    return {pair: frozenset(graph.marks(*pair)) for pair in pairs}


def _distance(first: dict, second: dict) -> float:
    return float(sum(first.get(p) != second.get(p) for p in first.keys() | second.keys()))


def _arrowheads(graph: CausalGraph) -> set[tuple[str, str]]:
    """(u, v) for each edge with an arrowhead at v."""
    heads = {(u, v) for u, v, _, mark in graph.edges if mark == "arrow"}
    return heads | {(v, u) for u, v, mark, _ in graph.edges if mark == "arrow"}


def _rates(what: str, guess: set, truth: set) -> dict[str, float]:
    right = len(guess & truth)
    precision = right / len(guess) if guess else 1.0
    recall = right / len(truth) if truth else 1.0
    f1 = 2 * right / (len(guess) + len(truth)) if guess or truth else 1.0
    return {f"{what}_precision": precision, f"{what}_recall": recall, f"{what}_f1": f1}


def _class(graph: CausalGraph) -> CausalGraph | None:
    return graph.cpdag() if graph.kind in ("dag", "cpdag") else None


def _aid(name: str, estimated: CausalGraph, true: CausalGraph) -> float:
    import gadjid

    measure: Callable[..., tuple[float, int]] = getattr(gadjid, f"{name}_aid")
    if len(true) < 2:
        return 0.0
    order = sorted(true.nodes)
    share, _ = measure(
        _matrix(true, order), _matrix(estimated, order), edge_direction="from row to column"
    )
    return float(share)


def _matrix(graph: CausalGraph, order: list[str]) -> np.ndarray:
    """int8 in the layout of gadjid: 1 at (row, column) for row → column, 2 for undirected."""
    at = {name: i for i, name in enumerate(order)}
    out = np.zeros((len(order), len(order)), dtype=np.int8)
    for u, v, _, mark_v in graph.edges:
        out[at[u], at[v]] = 1 if mark_v == "arrow" else 2
    return out
