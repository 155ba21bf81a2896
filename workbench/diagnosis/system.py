"""System: a causal graph over metrics, with the fault-free rows that say what is usual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import (
    CausalWarning,
    DataError,
    GraphError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.saving import saveable
from ..graph.causal_graph import CausalGraph
from ..tables import gate
from ..tables.schema import Schema
from .baseline import Baseline, LinearMechanism
from .columns import as_numbers, incident_numbers, with_guesses
from .structure import generations, loop_name, marginalise, unroll


def _by_metric(name: str, text: str) -> property:
    """A moment of the baseline in the order of ``metrics``."""
    return property(lambda self: getattr(self._baseline, name)[self._columns], doc=text)


@saveable
class System:
    """What is usual: a graph over metrics and a table of fault-free rows; immutable.

    Every diagnosis method is fitted to a System once and then answers for many incidents.
    Nothing is repaired in silence: :meth:`to_frame` has one row per graph node and data column
    and says what became of it.

    * A node without usable data (no column, no value, fewer than 10 values, dates, unordered
      levels, latent) is *marginalised*: its parents become parents of its children. Blame for a
      fault in it then falls on those children, and children that share it share a hidden cause.
    * A column that is not a node is ignored.
    * A constant metric stays: it can move in an incident, but what it does to others can't be
      learned. One "standard deviation" of it is 0.3 % of its level; for a metric that is always
      0 any departure counts as ten.
    * Texts and categories with two levels, or ordered ones, become 0, 1, ...

    Args:
        graph: A :class:`CausalGraph` of kind ``"dag"`` or ``"admg"`` (↔ marks a hidden common
            cause), from causes to effects: a call graph must be reversed, since a slow callee
            makes its caller slow. None for methods that need no graph; every column is a metric.
            For a graph with loops see :meth:`from_edges`.
        normal: Fault-free rows, at least 10. Empty cells are fine.
        schema: What the columns mean; guessed when left out. Units are shown in reasons.

    Attributes:
        metrics: Columns in use, causes first, in an order that names, units and the order of
            columns and rows don't change. Positions in arrays of methods refer to it.
        nodes: What a ranking ranks: the metrics, with each loop collapsed into one node.
        marginalised: Name -> why it has no usable data.
        ignored: Columns that are not in the graph.
        confounded: Groups of metrics that share a hidden cause.
        warnings: The conditions found; they stay attached to every ranking.

    Raises:
        GraphError: The graph is a class of DAGs, or no node has usable data.
        DataError: What the gate refuses, with column and row; fewer than 10 rows.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 200)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(0, 1, 200)})
        >>> System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        System(2 metrics, 1 edge, 200 fault-free rows)
    """

    def __init__(
        self, graph: CausalGraph | None, normal: pd.DataFrame, *, schema: Schema | None = None
    ):
        if graph is None:
            self._build(None, [], [], frozenset(), normal, schema)
            return
        if not isinstance(graph, CausalGraph):
            raise GraphError(
                "graph must be a CausalGraph or None",
                value=type(graph).__name__,
                advice="Use CausalGraph.from_networkx(g), or System.from_edges(edges, normal).",
            )
        if graph.kind not in ("dag", "admg"):
            raise GraphError(
                f"a diagnosis needs the direction of every edge, this graph is a {graph.kind!r}",
                advice="Make one System per DAG of graph.members() and compare the rankings.",
            )
        parents = {n: graph.parents(n) for n in graph.nodes}
        spouses = [(u, v) for u, v, a, b in graph.edges if (a, b) == ("arrow", "arrow")]
        self._build(parents, [], spouses, graph.latent, normal, schema)

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[str, str]],
        normal: pd.DataFrame,
        *,
        reverse: bool = False,
        schema: Schema | None = None,
    ) -> System:
        """A System from plain edges, which may form loops.

        The members of each loop (strongly connected component) are collapsed into one node of
        the ranking, since no fault-free table can tell who of them is first.

        Args:
            edges: Pairs (cause, effect).
            normal: Fault-free rows.
            reverse: The pairs are calls (caller, callee): turn them around.
            schema: What the columns mean.

        Example:
            >>> normal = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)),
            ...                       columns=["web", "cart", "db"])
            >>> calls = [("web", "cart"), ("cart", "db"), ("db", "cart")]
            >>> System.from_edges(calls, normal, reverse=True).nodes
            ('loop(cart, db)', 'web')
        """
        pairs = []
        for edge in edges:
            if isinstance(edge, str) or len(edge) != 2:
                raise GraphError("an edge is a pair (cause, effect)", value=edge)
            u, v = (str(n) for n in edge)
            pairs.append((v, u) if reverse else (u, v))
        if not pairs:
            raise GraphError("there are no edges", advice="For no graph use System(None, normal).")
        nodes = sorted({n for pair in pairs for n in pair})
        parents, loops = unroll(nodes, pairs)
        system = cls.__new__(cls)
        system._build(parents, loops, [], frozenset(), normal, schema)
        return system

    # -- making ----------------------------------------------------------------------------

    def _build(
        self,
        parents: Mapping[str, Sequence[str]] | None,
        loops: Sequence[Sequence[str]],
        spouses: Sequence[tuple[str, str]],
        latent: frozenset[str],
        normal: pd.DataFrame,
        schema: Schema | None,
    ) -> None:
        with recording() as notes:
            frame, _ = gate.as_frame(normal, "fault-free rows", "x")
            if parents is None:
                schema = with_guesses(frame, schema)
                wanted = [n for n in frame.columns if schema[n].role is None]
            else:
                wanted = list(parents)
            present = [n for n in wanted if n in frame.columns and n not in latent]
            if not present:
                raise GraphError(
                    "no node of the graph is a column of the fault-free rows",
                    column=wanted[0] if wanted else None,
                    advice=did_you_mean(wanted[0], frame.columns) if wanted else "",
                )
            codes, features, unusable = as_numbers(frame, sorted(present), schema)
            unusable |= {n: "latent" for n in wanted if n in latent}
            unusable |= {
                n: "not a column of the fault-free rows"
                for n in wanted
                if n not in frame.columns and n not in latent
            }
            usable = [n for n in codes if n not in unusable]
            if not usable:
                name = present[0]
                raise DataError(
                    f"no metric has usable fault-free values: {unusable[name]}", column=name
                )
            values = np.empty((len(codes[usable[0]]), len(usable)), order="F")
            for j, name in enumerate(usable):
                values[:, j] = codes.pop(name)
            baseline = Baseline(usable, values)
            ignored = sorted(set(frame.columns).difference(wanted))
            full = {n: () for n in wanted} if parents is None else parents
            kept, groups = marginalise(full, unusable)
            depth = generations(kept)
            order = sorted(
                kept, key=lambda n: (depth[n], float(baseline.key[baseline.position[n]]), n)
            )
            rank = {n: i for i, n in enumerate(order)}
            self._set(
                baseline=baseline,
                parents={n: tuple(sorted(kept[n], key=rank.__getitem__)) for n in order},
                loops=[tuple(n for n in order if n in loop) for loop in loops],
                confounded=[*(g for g in spouses if set(g) <= set(kept)), *groups],
                marginalised=unusable,
                ignored=ignored,
                schema=Schema([features[n] for n in usable]),
                has_graph=parents is not None,
            )
            self._report([n for n in wanted if n not in frame.columns])
        object.__setattr__(self, "warnings", tuple(notes))

    def _set(self, **parts: Any) -> None:
        loops = [loop for loop in parts["loops"] if len(loop) > 1]
        fill = self.__dict__.__setitem__
        fill("_baseline", parts["baseline"])
        fill("_parents", dict(parts["parents"]))
        fill("metrics", tuple(parts["parents"]))
        fill("_loops", {loop_name(loop): tuple(loop) for loop in loops})
        fill("confounded", tuple(tuple(g) for g in parts["confounded"]))
        fill("marginalised", MappingProxyType(dict(parts["marginalised"])))
        fill("ignored", tuple(parts["ignored"]))
        fill("schema", parts["schema"])
        fill("has_graph", parts["has_graph"])
        fill("warnings", tuple(parts.get("warnings", ())))

    def _report(self, absent: Sequence[str]) -> None:
        """Warn about what must be kept in mind when a ranking is read."""
        lost = [n for n in self.marginalised if self.marginalised[n] != "latent"]
        if lost:
            hint = did_you_mean(absent[0], self.ignored) if absent and self.ignored else ""
            hint = f" ({absent[0]!r}: {hint})" if hint.startswith("Did") else ""
            warn(
                "marginalised",
                f"{gate.count(len(lost), 'node')} without usable data: {_names(lost)}; a fault "
                f"in one of them will be blamed on its neighbours{hint}",
                lost,
            )
        if self.confounded:
            members = sorted({n for group in self.confounded for n in group})
            warn(
                "hidden-common-cause",
                f"{_names(members)} share causes that were not measured: their deviations are "
                "not independent of each other",
                members,
            )
        constant = [n for n in self.metrics if self._baseline.constant[self._baseline.position[n]]]
        if constant:
            warn(
                "constant",
                f"{_names(constant)} never changed in the fault-free rows: what "
                f"{'it does' if len(constant) == 1 else 'they do'} to others can't be learned",
                constant,
            )
        for name, loop in self._loops.items():
            warn("loop", f"{_names(loop)} form a loop and are ranked as one node, {name!r}", loop)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a System is immutable; make a new one")

    def without(self, metrics: str | Iterable[str], reason: str = "left out") -> System:
        """The System in which some metrics are marginalised too; the moments are shared.

        Cheap: no row is read again, and only mechanisms whose parents changed are recomputed,
        on demand. This System stays as it is.
        """
        gone = {metrics} if isinstance(metrics, str) else set(metrics)
        for name in sorted(gone):
            self.require(name)
        if not gone:
            return self
        parents, groups = marginalise(self._parents, gone)
        if not parents:
            raise QuestionError("no metric is left", column=sorted(gone)[0])
        groups = [*(tuple(n for n in g if n not in gone) for g in self.confounded), *groups]
        new = object.__new__(type(self))
        new._set(
            baseline=self._baseline,
            parents=parents,
            loops=[tuple(n for n in loop if n not in gone) for loop in self._loops.values()],
            confounded=[g for g in dict.fromkeys(groups) if len(g) > 1],
            marginalised={**self.marginalised, **{n: reason for n in sorted(gone)}},
            ignored=self.ignored,
            schema=self.schema,
            has_graph=self.has_graph,
            warnings=self.warnings,
        )
        return new

    # -- structure -------------------------------------------------------------------------

    @cached_property
    def graph(self) -> CausalGraph:
        """The DAG over the metrics in use. Members of a loop have no edges among each other."""
        edges = [(p, n) for n, above in self._parents.items() for p in above]
        return CausalGraph(self.metrics, edges)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.node_of[n] for n in self.metrics))

    @cached_property
    def node_of(self) -> Mapping[str, str]:
        """Metric -> the node that ranks it: its loop, else itself."""
        inside = {n: name for name, loop in self._loops.items() for n in loop}
        return MappingProxyType({n: inside.get(n, n) for n in self.metrics})

    def members(self, node: str) -> tuple[str, ...]:
        """The metrics behind a node: several for a loop."""
        return self._loops.get(node) or (self.require(node),)

    def parents(self, metric: str) -> tuple[str, ...]:
        """Direct causes of a metric."""
        return self._parents[self.require(metric)]

    def ancestors(self, metric: str) -> tuple[str, ...]:
        """Direct and indirect causes of a metric, in the order of ``metrics``."""
        found, stack = set(), [self.require(metric)]
        while stack:
            above = self._parents[stack.pop()]
            stack.extend(n for n in above if n not in found)
            found.update(above)
        return tuple(n for n in self.metrics if n in found)

    def candidates(self, target: str) -> tuple[str, ...]:
        """Nodes that may be blamed: the causes of the target; without a graph all but itself."""
        above = self.ancestors(target) if self.has_graph else self.metrics
        own = self.node_of[self.require(target)]
        return tuple(dict.fromkeys(n for n in (self.node_of[m] for m in above) if n != own))

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Metric -> its place in ``metrics`` and in every array over metrics."""
        return MappingProxyType({n: j for j, n in enumerate(self.metrics)})

    def require(self, metric: str) -> str:
        """Return the name of a metric in use; refuse any other, with the reason."""
        if metric not in self._parents:
            if metric in self.marginalised:
                raise QuestionError(
                    f"has no usable fault-free values: {self.marginalised[metric]}",
                    column=str(metric),
                    advice="Record it in fault-free operation, or ask about another metric.",
                )
            why = " (it is a column, but not a node of the graph)" if metric in self.ignored else ""
            raise QuestionError(
                f"is not a metric of this system{why}",
                column=str(metric),
                advice=did_you_mean(metric, self.metrics),
            )
        return metric

    # -- moments ---------------------------------------------------------------------------

    @cached_property
    def _columns(self) -> np.ndarray:
        """Places of the metrics in the baseline."""
        return np.array([self._baseline.position[n] for n in self.metrics])

    mean = _by_metric("mean", "Means, shape (p,).")
    sd = _by_metric("sd", "Population standard deviations, shape (p,); 0 for constants.")
    scale = _by_metric("scale", "One sd by the convention for constants, shape (p,).")
    median = _by_metric("median", "Medians, shape (p,).")
    robust_scale = _by_metric("robust_scale", "1.4826 MAD (else IQR / 1.349, else the scale).")
    iqr = _by_metric("iqr", "Interquartile ranges, shape (p,): 0 where half of the values agree.")
    iqr_scale = _by_metric("iqr_scale", "IQR / 1.349 (else the robust scale), shape (p,).")
    kurtosis = _by_metric("kurtosis", "Kurtosis, shape (p,); 3 for a normal metric.")
    constant = _by_metric("constant", "Which metrics never changed, shape (p,).")
    count = _by_metric("count", "Recorded fault-free values, shape (p,).")

    def correlation(self, metrics: Iterable[str] | None = None) -> pd.DataFrame:
        """Pairwise-complete correlations of some metrics (all by default), positive
        semi-definite."""
        names = self.metrics if metrics is None else tuple(metrics)
        places = [self._baseline.position[self.require(n)] for n in names]
        return pd.DataFrame(self._baseline.correlation(places), names, names)

    def covariance(self, metrics: Iterable[str] | None = None) -> pd.DataFrame:
        """Pairwise-complete covariances, in the units of the metrics."""
        frame = self.correlation(metrics)
        sd = self._baseline.sd[[self._baseline.position[n] for n in frame.index]]
        return frame * sd[:, None] * sd

    def mechanism(self, metric: str) -> LinearMechanism:
        """The metric as a linear function of its parents, ``parents(metric)``, plus noise."""
        place = self._baseline.position
        return self._baseline.mechanism(
            place[self.require(metric)], [place[p] for p in self._parents[metric]]
        )

    def standardised(self, metrics: Iterable[str] | None = None) -> np.ndarray:
        """Fault-free (value - mean) / scale, shape (n, k), NaN where not recorded."""
        names = self.metrics if metrics is None else tuple(metrics)
        return self._baseline.standardised(
            [self._baseline.position[self.require(n)] for n in names]
        )

    def residuals(self, metric: str) -> np.ndarray:
        """Fault-free noise of the linear mechanism in units of the metric's scale, shape (n,);
        NaN where the metric or a parent was not recorded."""
        z = self.standardised([metric, *self.parents(metric)])
        return z[:, 0] - z[:, 1:] @ self.mechanism(metric).slopes

    def tail(self, metric: str) -> tuple[np.ndarray, float, float, float, float]:
        """Sorted |value - mean| / scale of a metric and the generalised Pareto fit to its upper
        end: where the tail starts, its probability, shape and scale."""
        return self._baseline.tail(self._baseline.position[self.require(metric)])

    def normal(self) -> pd.DataFrame:
        """The fault-free rows of the metrics in use as numbers (a new table)."""
        return pd.DataFrame(self._baseline.values[:, self._columns], columns=list(self.metrics))

    def encode(self, window: pd.DataFrame) -> np.ndarray:
        """Other rows of the same metrics as numbers, shape (T, p); NaN for absent columns."""
        frame, _ = gate.as_frame(window, "incident", "x")
        present = [n for n in self.metrics if n in frame.columns]
        out = np.full((len(frame), len(self.metrics)), np.nan)
        if present and len(frame):
            places = [self.position[n] for n in present]
            out[:, places] = incident_numbers(frame[present], self.schema)
        return out

    # -- looks -----------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """One row per graph node and data column: what became of it, and its usual values."""
        rows = {}
        for j, name in enumerate(self.metrics):
            rows[name] = {
                "status": "constant" if self.constant[j] else "used",
                "node": self.node_of[name],
                "n": int(self.count[j]),
                "mean": self.mean[j],
                "sd": self.sd[j],
                "median": self.median[j],
                "unit": self.schema[name].unit or "",
                "reason": "never changed in the fault-free rows" if self.constant[j] else "",
            }
        for name, why in self.marginalised.items():
            rows[name] = {"status": "marginalised", "reason": why}
        for name in self.ignored:
            why = "not a node of the graph" if self.has_graph else "has a role that is no metric's"
            rows[name] = {"status": "ignored", "reason": why}
        frame = pd.DataFrame.from_dict(rows, orient="index")
        for column in ("node", "unit"):
            frame[column] = frame[column].fillna("")
        return frame.rename_axis("name")

    def __repr__(self) -> str:
        n_edges = sum(len(p) for p in self._parents.values())
        parts = [
            gate.count(len(self.metrics), "metric"),
            gate.count(n_edges, "edge") if self.has_graph else "no graph",
            gate.count(len(self._baseline.values), "fault-free row"),
        ]
        parts += [gate.count(len(self._loops), "loop")] if self._loops else []
        parts += [f"{len(self.marginalised)} marginalised"] if self.marginalised else []
        parts += [f"{gate.count(len(self.ignored), 'column')} ignored"] if self.ignored else []
        return f"System({', '.join(parts)})"

    def _repr_html_(self) -> str:
        return self.to_frame().to_html(escape=True, border=0, na_rep="", max_rows=20)

    def __reduce__(self):
        return System._from_state, (self._state(),)

    def _state(self) -> dict[str, Any]:
        return {
            "baseline": self._baseline,
            "parents": self._parents,
            "loops": list(self._loops.values()),
            "confounded": self.confounded,
            "marginalised": dict(self.marginalised),
            "ignored": self.ignored,
            "schema": self.schema,
            "has_graph": self.has_graph,
            "warnings": [(w.code, w.message, w.columns) for w in self.warnings],
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> System:
        system = object.__new__(cls)
        notes = [CausalWarning(*key) for key in state["warnings"]]
        system._set(**{**state, "warnings": notes})
        return system


def _names(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
