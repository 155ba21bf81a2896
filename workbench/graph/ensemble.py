"""Many graphs for one question: edge confidence, a consensus, weighted member DAGs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from math import fsum
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, GraphError, ParameterError, did_you_mean, warn
from ..core.results import Result
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from .causal_graph import CausalGraph
from .equivalence import PartialOrientation, sample_members
from .knowledge import Knowledge
from .origins import carried, learned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Sign = Literal["->", "<-", "--", "<->", "o", "any"]
_SIGNS = {
    ("tail", "arrow"): "->",
    ("arrow", "tail"): "<-",
    ("tail", "tail"): "--",
    ("arrow", "arrow"): "<->",
}


@saveable
class GraphEnsemble(Result):
    """Weighted graphs on the same nodes: what a search returned on many resamples.

    Shares are frequencies over resamples, a measure of stability; they are not probabilities that
    an edge exists.

    Args:
        graphs: Graphs on the same nodes, or on subsets of them (a column that was constant in a
            resample); equal ones are merged.
        weights: One positive weight for each; equal by default. They are scaled to sum to 1.
        info: How the ensemble was made.
        warnings: Conditions to keep in mind.

    Raises:
        GraphError: No graphs, weights that are not positive.

    References:
        Friedman, Goldszmidt, Wyner, "Data analysis with Bayesian networks: a bootstrap approach",
        UAI 1999.

    Example:
        >>> forward = CausalGraph(["a", "b"], [("a", "b")])
        >>> ensemble = GraphEnsemble([forward, forward, CausalGraph(["a", "b"])], [1, 1, 2])
        >>> ensemble.edge_confidence("a", "b"), len(ensemble.graphs)
        (0.5, 2)
    """

    def __init__(
        self,
        graphs: Iterable[CausalGraph],
        weights: Sequence[float] | None = None,
        info: Mapping[str, Any] | None = None,
        warnings: Iterable[CausalWarning] = (),
    ):
        graphs = list(graphs)
        sizes = np.ones(len(graphs)) if weights is None else np.asarray(weights, dtype=float)
        if not graphs or len(sizes) != len(graphs):
            raise GraphError(f"an ensemble needs graphs with one weight each, not {len(graphs)}")
        if not np.all(sizes > 0) or not np.isfinite(sizes).all():
            raise GraphError("weights must be positive", value=sizes.min())
        merged: dict[CausalGraph, float] = {}
        for graph, size in zip(graphs, sizes.tolist(), strict=True):
            merged[graph] = merged.get(graph, 0.0) + size
        # Most frequent first; ties by content, so that the order of resamples plays no part.
        total = fsum(merged.values())
        shares = ((graph, size / total) for graph, size in merged.items())
        ranked = sorted(shares, key=lambda item: (-round(item[1], 12), item[0].edges))
        self.graphs = tuple(graph for graph, _ in ranked)
        self.weights = tuple(weight for _, weight in ranked)
        self.nodes = max((g.nodes for g in graphs), key=len)
        self.info = dict(info or {})
        self.warnings = tuple(warnings)
        for graph in self.graphs:
            for name in graph.nodes:
                if name not in self.nodes:
                    raise GraphError("is not in all graphs of the ensemble", column=name)

    # -- confidence --------------------------------------------------------------------------

    @cached_property
    def _shares(self) -> dict[tuple[str, str], dict[str, float]]:
        """Pair in the order of nodes -> share of each sign, among graphs that have both nodes."""
        pairs = list(combinations(self.nodes, 2))
        shares: dict[tuple[str, str], Counter] = {p: Counter() for p in pairs}
        seen = dict.fromkeys(pairs, 0.0)
        for graph, weight in zip(self.graphs, self.weights, strict=True):
            complete = len(graph) == len(self.nodes)
            for pair in pairs:
                if complete or (pair[0] in graph and pair[1] in graph):
                    seen[pair] += weight
            for u, v in {(u, v) for u, v, *_ in graph.edges}:
                pair = (u, v) if (u, v) in seen else (v, u)
                shares[pair]["any"] += weight
                for marks in graph.marks(*pair):
                    shares[pair][_SIGNS.get(marks, "o")] += weight
        return {
            pair: {sign: min(w / seen[pair], 1.0) for sign, w in found.items()}
            for pair, found in shares.items()
            if found
        }

    def confidence(self) -> pd.DataFrame:
        """One row per pair of nodes: the share of graphs with each kind of edge, strongest first.

        Columns ``u, v, ->, <-, --`` (and ``<->``, ``o`` for edges with circles, where there are
        any) and ``any``.
        """
        used = {sign for share in self._shares.values() for sign in share}
        signs = ["->", "<-", "--", *(s for s in ("<->", "o") if s in used), "any"]
        pairs = list(combinations(self.nodes, 2))
        values = np.array([[self._shares.get(p, {}).get(s, 0.0) for s in signs] for p in pairs])
        frame = pd.DataFrame(pairs, columns=["u", "v"])
        frame[signs] = values.reshape(len(pairs), len(signs))
        return frame.sort_values("any", ascending=False, kind="stable", ignore_index=True)

    def edge_confidence(self, u: str, v: str, sign: Sign = "->") -> float:
        """Share of graphs with the edge u → v, or with another ``sign`` between u and v."""
        signs = (*_SIGNS.values(), "o", "any")
        if sign not in signs:
            raise ParameterError(f"must be one of {', '.join(signs)}", column="sign", value=sign)
        for name in (u, v):
            if name not in self.nodes:
                raise GraphError(
                    "is not in the ensemble", column=name, advice=did_you_mean(name, self.nodes)
                )
        if (u, v) in self._shares:
            return self._shares[u, v].get(sign, 0.0)
        turned = {"->": "<-", "<-": "->"}.get(sign, sign)
        return self._shares.get((v, u), {}).get(turned, 0.0)

    def consensus(self, threshold: float = 0.5) -> CausalGraph:
        """One graph of the pairs that are joined in at least this share of the graphs.

        A pair gets its most frequent direction; where — is the most frequent it stays undirected.
        Directed edges enter by falling share, and one that would close a cycle stays undirected.
        If no DAG agrees with the outcome, the undirected edges are oriented the way that is more
        frequent. What had to give way is in ``info["conflicts"]``. Edges of other kinds (↔,
        circles) have no consensus here.

        Raises:
            ParameterError: ``threshold`` outside (0, 1].
            GraphError: The ensemble has edges with ↔ or circles.
        """
        if isinstance(threshold, bool) or not 0 < threshold <= 1:
            raise ParameterError("must be above 0 and at most 1", column="threshold")
        strong = {p: s for p, s in self._shares.items() if s["any"] >= threshold - 1e-12}
        if any("<->" in share or "o" in share for share in strong.values()):
            raise GraphError("a consensus of edges with ↔ or circles is not defined")
        arrows, lines = [], []
        for (u, v), share in strong.items():
            there, back, line = (share.get(s, 0.0) for s in ("->", "<-", "--"))
            directed = max(there, back) > line and there != back
            wish = (there - back, u, v) if there >= back else (back - there, v, u)
            (arrows if directed else lines).append((max(there, back), *wish))
        conflicts: list[str] = []
        at = {n: i for i, n in enumerate(self.nodes)}
        partial = PartialOrientation(len(self.nodes))
        for *_, u, v in arrows + lines:
            partial.neighbors[at[u]].add(at[v])
            partial.neighbors[at[v]].add(at[u])
        self._direct(partial, arrows, conflicts)
        if partial.extension() is None:
            conflicts.append("undirected edges were oriented by frequency: no DAG agreed with them")
            self._direct(partial, arrows + lines, [], turn=True)
        partial.close()
        graph = partial.graph(CausalGraph(self.nodes), None)
        graph = self.with_confidence(learned(graph, self.info.get("knowledge")))
        return graph.with_info(threshold=threshold, conflicts=conflicts)

    def with_confidence(self, graph: CausalGraph) -> CausalGraph:
        """The graph with the confidence of its learned edges: how often their ends are joined.

        Example:
            >>> joined = CausalGraph(["a", "b"], [("a", "b")], origins={("a", "b"): "learned"})
            >>> ensemble = GraphEnsemble([joined, CausalGraph(["a", "b"])], [3, 1])
            >>> ensemble.with_confidence(joined).origin("a", "b").confidence
            0.75
        """
        origins = dict(graph.origins)
        for (u, v, *_), origin in graph.origins.items():
            if origin.source == "learned" and u in self.nodes and v in self.nodes:
                share = self.edge_confidence(u, v, "any")
                origins[(u, v, *_)] = origin._replace(confidence=share)
        return graph.with_origins(origins)

    def _direct(
        self,
        partial: PartialOrientation,
        arrows: list[tuple[float, float, str, str]],
        conflicts: list[str],
        turn: bool = False,
    ) -> None:
        """Orient edges by falling share; ``turn`` those that would close a cycle."""
        knowledge = self.info.get("knowledge") or Knowledge()
        order = sorted(
            (knowledge.allows(v, u), not knowledge.requires(u, v), -share, -lead, u, v)
            for share, lead, u, v in arrows
        )
        for free, _, _, _, u, v in order:
            i, j = self.nodes.index(u), self.nodes.index(v)
            if j not in partial.neighbors[i]:
                continue
            if not _leads(partial, j, i):
                partial.orient(i, j)
            elif turn:
                partial.orient(j, i)
            elif free:
                conflicts.append(f"{u} -> {v} stays undirected: it would close a cycle")
            else:
                conflicts.append(f"{u} -> {v} is left out: with what is known it closes a cycle")
                partial.neighbors[i].discard(j)
                partial.neighbors[j].discard(i)

    def members(self, limit: int = 100, random_state: Seed = 0) -> list[tuple[CausalGraph, float]]:
        """DAGs and their weights (sum 1): each class splits its weight among its members.

        At most ``limit`` DAGs: the most frequent graphs come first, each with an equal number of
        members at most. A class that has more is represented by members drawn at random: its
        first ones would all have the same directions. What is left out is said in a warning.

        Raises:
            GraphError: Graphs with ↔ or circles stand for no set of DAGs.
        """
        if isinstance(limit, bool) or not isinstance(limit, int | np.integer) or limit < 1:
            raise ParameterError("must be 1 or more", column="limit", value=limit)
        chosen = list(zip(self.graphs, self.weights, strict=True))[:limit]
        quota = max(1, limit // len(chosen))
        out: dict[CausalGraph, float] = {}
        cut = 0
        for (graph, weight), seed in zip(chosen, spawn(random_state, len(chosen)), strict=True):
            found, whole = sample_members(graph, quota, seed)
            cut += not whole
            for dag, share in found.items():
                dag = carried(graph, dag).without_info()
                out[dag] = out.get(dag, 0.0) + weight * share
        if cut:
            warn(
                "members-drawn",
                f"{cut} of {len(chosen)} graphs stand for more DAGs than the {quota} that were "
                "drawn from each at random",
            )
        missed = sum(self.weights[limit:])
        if missed:
            warn(
                "members-cut",
                f"{len(self.graphs) - len(chosen)} graphs ({missed:.0%} of the weight) beyond the "
                f"{limit} most frequent are left out",
            )
        total = sum(out.values())
        return sorted(
            ((dag, weight / total) for dag, weight in out.items()),
            key=lambda item: (-round(item[1], 12), item[0].edges),
        )

    # -- looks -------------------------------------------------------------------------------

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """Pairs that are joined in some graph, as in :meth:`confidence`; ``long`` for tidy."""
        frame = self.confidence()
        frame = frame[frame["any"] > 0].reset_index(drop=True)
        if not long:
            return frame
        return frame.melt(["u", "v"], var_name="edge", value_name="share")

    def summary(self) -> str:
        """One sentence: how many graphs, and how many edges are stable."""
        shares = [s["any"] for s in self._shares.values()]
        stable = sum(s >= 0.8 for s in shares)
        doubtful = sum(0.2 < s < 0.8 for s in shares)
        made = f" of {self.info['method']}" if "method" in self.info else ""
        runs = f"{self.info['n_boot']} resamples{made}: " if "n_boot" in self.info else ""
        k = len(self.graphs)
        graphs = "the same graph each time" if k == 1 else f"{k} different graphs"
        return (
            f"{runs}{graphs} on {len(self.nodes)} nodes; "
            f"{stable} edges in at least 80 %, {doubtful} in 20 to 80 %"
        )

    def how(self) -> dict[str, Any]:
        """How the ensemble was made."""
        return dict(self.info)

    def plot(self, ax: Axes | None = None) -> Axes:
        """A heat map of the share of u → v, with undirected edges counted half each way."""
        import matplotlib.pyplot as plt

        if ax is None:
            side = min(2 + 0.35 * len(self.nodes), 14)
            _, ax = plt.subplots(figsize=(side + 1, side))
        position = {n: i for i, n in enumerate(self.nodes)}
        shares = np.zeros((len(self.nodes),) * 2)
        for (u, v), share in self._shares.items():
            both = share["any"] - share.get("->", 0.0) - share.get("<-", 0.0)
            shares[position[u], position[v]] = share.get("->", 0.0) + both / 2
            shares[position[v], position[u]] = share.get("<-", 0.0) + both / 2
        image = ax.imshow(shares, vmin=0, vmax=1, cmap="Blues")
        # A dollar sign in a name would start a formula.
        labels = [n.replace("$", r"\$") for n in self.nodes]
        ax.set_xticks(range(len(labels)), labels, rotation=90)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_xlabel("effect")
        ax.set_ylabel("cause")
        ax.figure.colorbar(image, ax=ax, label="share of resamples")
        return ax

    def _state(self) -> dict[str, Any]:
        return {
            "graphs": list(self.graphs),
            "weights": list(self.weights),
            "info": self.info,
            "warnings": [[w.code, w.message, list(w.columns)] for w in self.warnings],
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> GraphEnsemble:
        notes = [CausalWarning(*note) for note in state["warnings"]]
        out = cls(state["graphs"], state["weights"], state["info"], notes)
        out.weights = tuple(state["weights"])  # scaling them once more may change the last digit
        return out


def _leads(partial: PartialOrientation, start: int, goal: int) -> bool:
    """Whether a directed path leads from one node to another."""
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        if node == goal:
            return True
        new = partial.children[node] - seen
        seen |= new
        stack.extend(new)
    return False
