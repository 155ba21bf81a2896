"""StructuralCausalModel: a DAG with a mechanism at every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from ..core.errors import (
    CausalWarning,
    DataError,
    GraphError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, spawn
from ..graph.causal_graph import CausalGraph
from ..tables.encode import Encoder
from ..tables.gate import Table, count, refuse_missing, table
from ..tables.schema import Feature, Schema
from .interventions import Rule, rules
from .mechanisms import Equation, LinearFunction, Mechanism, Parents, decode_levels, resolve
from .noise import Gaussian, RowUniforms
from .report import COLUMNS, FitReport


@saveable
class StructuralCausalModel(Parameterised):
    """A causal graph with a mechanism ``x = f(parents, noise)`` at every node.

    Answers three kinds of questions, each for whole tables at once: what is seen (``sample``),
    what happens if we act (``intervene``), and what would have happened to these very rows
    (``counterfactual``: recover each row's noise, act, compute the consequences).

    By default a node without parents is drawn from its observed values, a number is a function
    of its parents plus noise, a level comes from a classifier with Gumbel noise; which function
    is decided by cross-validation (see :class:`~workbench.scm.mechanisms.AdditiveNoise` and
    :class:`~workbench.scm.mechanisms.GumbelMax`). ``fit_report()`` says what was chosen.

    Every answer assumes that the graph is right and that no common cause of two nodes is left
    out. Counterfactuals assume the form of the mechanisms on top, which data can't confirm.

    Args:
        graph: A DAG without latent nodes.
        mechanisms: Node -> mechanism, name (``"linear"``, ``"splines"``, ``"boosting"``),
            scikit-learn estimator, or a function of the parents; chosen for the others.
        schema: What the columns mean; guessed when left out. Its cluster governs the folds.
        random_state: Seed of the folds.

    References:
        Pearl, "Causality", 2nd edition, 2009, chapters 1 and 7.

    Example:
        >>> graph = CausalGraph(["dose", "response"], [("dose", "response")])
        >>> rng = np.random.default_rng(0)
        >>> dose = rng.normal(size=500)
        >>> df = pd.DataFrame({"dose": dose, "response": 2 * dose + rng.normal(size=500)})
        >>> model = StructuralCausalModel(graph).fit(df)
        >>> lifted = model.counterfactual(df, shift={"dose": 1.0})
        >>> round((lifted["response"] - df["response"]).mean(), 1)
        2.0
    """

    def __init__(
        self,
        graph: CausalGraph,
        *,
        mechanisms: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        random_state: Seed = 0,
    ):
        self.graph = graph
        self.mechanisms = mechanisms
        self.schema = schema
        self.random_state = random_state

    # -- making a model --------------------------------------------------------------------

    @classmethod
    def known(cls, graph: CausalGraph, mechanisms: Mapping[str, Mechanism]) -> Self:
        """A model whose mechanisms are all given, noise included; its nodes are numbers.

        Args:
            graph: A DAG.
            mechanisms: Node -> :class:`~workbench.scm.mechanisms.Equation` or
                :class:`~workbench.scm.mechanisms.Root` with a noise distribution.

        Raises:
            ParameterError: A node without a mechanism, or one that needs data.
        """
        model = cls(graph, mechanisms=mechanisms)
        _require_dag(graph)
        model._require_known_nodes()
        schema = Schema([Feature(n) for n in graph.nodes])
        zeros = pd.DataFrame(0.0, index=[0], columns=list(graph.nodes))
        model._start(schema, Encoder(scale=None).fit(Table(zeros, schema, True)))
        for node in graph.nodes:
            if node not in mechanisms:
                raise ParameterError(
                    f"node {node!r} has no mechanism", column="mechanisms", advice="Give all."
                )
            mechanism = resolve(mechanisms[node], schema[node], bool(graph.parents(node)))
            if not mechanism.known:
                raise ParameterError(
                    f"the mechanism of {node!r} needs data",
                    column="mechanisms",
                    advice="Give its noise as a distribution, or fit the model.",
                )
            mechanism.feature_ = schema[node]
            model.mechanisms_[node] = mechanism
        return model

    @classmethod
    def linear_gaussian(
        cls,
        graph: CausalGraph,
        coefficients: Mapping[tuple[str, str], float],
        intercepts: float | Mapping[str, float] = 0.0,
        noise_sd: float | Mapping[str, float] = 1.0,
    ) -> Self:
        """The model ``x_v = intercept_v + sum of b_uv x_u + e_v`` with normal ``e_v``.

        Args:
            graph: A DAG.
            coefficients: ``{(u, v): b}`` for every edge u -> v.
            intercepts: One number, or one per node (0 where left out).
            noise_sd: One standard deviation, or one per node (1 where left out).

        Raises:
            ParameterError: An edge without coefficient, a coefficient without edge, a negative sd.

        Example:
            >>> graph = CausalGraph(["a", "b"], [("a", "b")])
            >>> model = StructuralCausalModel.linear_gaussian(graph, {("a", "b"): 3.0})
            >>> rows = pd.DataFrame({"a": [0.0], "b": [0.5]})
            >>> model.counterfactual(rows, {"a": 2.0}).to_dict("records")
            [{'a': 2.0, 'b': 6.5}]
        """
        _require_dag(graph)
        edges = set(graph.directed_edges())
        for pair in coefficients:
            if tuple(pair) not in edges:
                raise ParameterError(f"{pair!r} is not an edge of the graph", column="coefficients")
        for pair in edges.difference(map(tuple, coefficients)):
            raise ParameterError(f"edge {pair!r} has none", column="coefficients")
        offset = _per_node(intercepts, graph, "intercepts", 0.0)
        sd = _per_node(noise_sd, graph, "noise_sd", 1.0)
        for node, value in sd.items():
            if value < 0:
                raise ParameterError(f"is negative at {node!r}", column="noise_sd", value=value)
        equations = {}
        for v in graph.nodes:
            b = {u: coefficients[u, v] for u in graph.parents(v)}
            equations[v] = Equation(LinearFunction(b, offset[v]), Gaussian(sd[v]))
        return cls.known(graph, equations)

    def fit(self, df: pd.DataFrame, *, progress: bool = True) -> Self:
        """Learn every mechanism.

        Args:
            df: One column per node; other columns are ignored, apart from the schema's cluster.
            progress: Show a bar if it takes longer than two seconds.

        Raises:
            GraphError: The graph is not a DAG without latent nodes.
            DataError: A node is not a column, has empty cells that the schema doesn't drop, or has
                too few rows.
        """
        with recording() as notes:
            _require_dag(self.graph)
            self._require_known_nodes()
            data, groups = self._training_table(df)
            self._start(data.schema, Encoder().fit(data))
            values = _as_array(data)
            self.n_rows_ = len(values)
            self.low_, self.high_ = values.min(axis=0), values.max(axis=0)
            self.categorical_ = _categorical_columns(df)
            for node in self._bar(self.order_, progress):
                self._fit_node(node, values, groups)
        self.warnings_ = tuple(notes)
        return self

    def set_mechanism(self, node: str, mechanism: Any, df: pd.DataFrame | None = None) -> Self:
        """Give a node another mechanism; returns self.

        Before ``fit`` this adds to ``mechanisms``. A fitted model replaces the node's mechanism
        and leaves the others alone; one that must be learned needs ``df``.
        """
        self.graph.require(node)
        if not self.__sklearn_is_fitted__():
            self.mechanisms = {**(self.mechanisms or {}), node: mechanism}
            return self
        feature = self.schema_[node]
        resolved = resolve(mechanism, feature, bool(self.graph.parents(node)))
        if resolved.known:
            resolved.feature_ = feature
            self.mechanisms_[node] = resolved
        elif df is None:
            raise QuestionError(
                "has a mechanism that must be learned", column=node, advice="Pass df as well."
            )
        else:
            with recording() as notes:
                values, _ = self._values(df)
                self._fit_node(node, values, None, mechanism)
            self.warnings_ = (*self.warnings_, *notes)
        self.mechanisms = {**(self.mechanisms or {}), node: mechanism}
        return self

    # -- questions -------------------------------------------------------------------------

    def sample(self, n: int, random_state: Seed = 0) -> pd.DataFrame:
        """Draw ``n`` rows as they would be observed."""
        return self.intervene(None, n, random_state=random_state)

    def intervene(
        self,
        do: Mapping[str, Any] | None,
        n: int = 1000,
        *,
        shift: Mapping[str, Any] | None = None,
        random_state: Seed = 0,
    ) -> pd.DataFrame:
        """Draw ``n`` rows from the world in which some nodes are acted on.

        The same seed gives the same noise whatever the intervention, so that the difference to
        ``sample`` is the effect, row by row, and non-descendants are equal to the last bit.

        Args:
            do: Node -> value, array, Series or function: the node's equation is replaced. A
                function gets a DataFrame of the parents' current values and the node's own
                natural value (what its equation would have given), and returns a column.
            n: Number of rows.
            shift: Node -> number to add to what the equation gives; parents keep acting.
            random_state: Seed.

        Raises:
            QuestionError: Unknown nodes or levels, a node in both ``do`` and ``shift``.
        """
        self._require_fitted()
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
            raise QuestionError("n must be a number of rows", value=n)
        index = pd.RangeIndex(n)
        fixed, added = rules(do, shift, self.graph, self.schema_, index)
        values = self.propagate(self.draw_noise(n, random_state), fixed, added)
        self._warn_outside(values, [*fixed, *added])
        return self._frame(values, index)

    def abduct(self, df: pd.DataFrame, random_state: Seed = 0) -> pd.DataFrame:
        """The noise of each row: what the equations need to give exactly these values.

        Of a number one column, in its unit; of a discrete node with parents one Gumbel column
        ``node=level`` per level, drawn from the posterior given the row; of a node without
        parents the value itself (of levels the position). A row's draw depends on its content
        and ``random_state`` alone: sub-tables and other orders of rows get the same.

        Raises:
            DataError: A node is missing, has empty cells or unknown levels.
        """
        self._require_fitted()
        values, frame = self._values(df)
        noise = self.infer_noise(values, random_state, index=frame.index)
        return pd.DataFrame(noise, columns=self._noise_labels(), index=frame.index)

    def counterfactual(
        self,
        df: pd.DataFrame,
        do: Mapping[str, Any] | None = None,
        *,
        shift: Mapping[str, Any] | None = None,
        random_state: Seed = 0,
    ) -> pd.DataFrame:
        """What these very rows would have been, had some nodes been acted on.

        A value changes only if its node is acted on or one of its parents changed in that row;
        everything else is returned to the last bit. Setting a node to its own value is no
        intervention by itself, but freezes the node where an ancestor is acted on as well.

        Args:
            df: The rows, one column per node (others are left out of the answer).
            do: Node -> value, array, Series (matched by index) or function, as in ``intervene``.
            shift: Node -> number to add to what the equation gives.
            random_state: Seed of the Gumbel noise of discrete nodes.

        Returns:
            The nodes' columns of ``df``, in its order and index.
        """
        self._require_fitted()
        values, frame = self._values(df)
        fixed, added = rules(do, shift, self.graph, self.schema_, frame.index)
        acted = [*fixed, *added]
        noise = self.infer_noise(
            values, random_state, nodes=self.graph.descendants(acted), index=frame.index
        )
        after = self.propagate(noise, fixed, added, factual=values)
        self._warn_outside(after, acted)
        return self._overwrite(df, frame, values, after)

    def log_prob(self, df: pd.DataFrame) -> pd.Series:
        """Log density of each row: the sum over nodes of ``log p(x | parents)``.

        Raises:
            QuestionError: A node's noise is a set of observed values, which has no density; the
                node is named. Known equations, levels and ``noise="gaussian"`` have one.
        """
        self._require_fitted()
        values, frame = self._values(df)
        total = np.zeros(len(values))
        for node in self.order_:
            x = values[:, self.position_[node]]
            total += self.mechanisms_[node].log_prob(self._parents(node, values), x)
        return pd.Series(total, index=frame.index, name="log_prob")

    def fit_report(self) -> FitReport:
        """Per node: the mechanism, its held-out score, the runner-up, tests of the residuals."""
        self._require_fitted()
        rows = []
        for node in self.graph.nodes:
            known = {"mechanism": "known equation"}
            found = getattr(self.mechanisms_[node], "report_", known)
            parents = ", ".join(self.graph.parents(node))
            rows.append({"kind": self.schema_[node].kind, "parents": parents} | found)
        index = pd.Index(self.graph.nodes, name="node")
        frame = pd.DataFrame(rows, columns=list(COLUMNS), index=index)
        return FitReport(frame, self.n_rows_, self.warnings_)

    def to_frame(self) -> pd.DataFrame:
        """``fit_report().to_frame()``."""
        return self.fit_report().to_frame()

    # -- arrays ----------------------------------------------------------------------------

    def propagate(
        self,
        noise: np.ndarray,
        fixed: Mapping[str, Rule] | None = None,
        shift: Mapping[str, Rule] | None = None,
        factual: np.ndarray | None = None,
    ) -> np.ndarray:
        """Values of all nodes from their noise, for any batch of rows, draws and interventions.

        The work under ``sample``, ``intervene`` and ``counterfactual``, without checks.

        Args:
            noise: ``(..., m)``; the columns of a node are ``noise_slices_[node]``.
            fixed: Node -> array that broadcasts against ``...`` and replaces the equation (NaN:
                follow the equation, so that one call holds many intervention sets), or a rule
                ``(parents, natural) -> (rows,)``. Levels are positions in ``feature.levels``.
            shift: The same, added to what the equation gives.
            factual: ``(..., d)`` observed values: a row's node keeps its value as long as none
                of its parents differs from the observed one.

        Returns:
            ``(..., d)``, columns in the order of ``graph.nodes``; ``...`` is the common shape.
        """
        fixed, shift = fixed or {}, shift or {}
        arrays = [np.asarray(v) for v in [*fixed.values(), *shift.values()] if not callable(v)]
        shapes = [noise.shape[:-1], *(a.shape for a in arrays)]
        shapes += [] if factual is None else [factual.shape[:-1]]
        batch = np.broadcast_shapes(*shapes)
        out = np.empty((int(np.prod(batch)), len(self.position_)))
        start = None if factual is None else _spread(factual, batch)
        for node in self.order_:
            j = self.position_[node]
            held = fixed.get(node)
            if held is not None and not callable(held):
                held = np.broadcast_to(held, batch).reshape(-1)
                if not np.isnan(held).any():
                    out[:, j] = held
                    continue
            parents = self._parents(node, out)
            u = noise[..., self.noise_slices_[node]]
            natural = self._natural(node, parents, u, batch, start, out)
            x, added = natural, shift.get(node)
            if added is not None:
                x = x + (
                    added(parents, natural)
                    if callable(added)
                    else np.broadcast_to(added, batch).reshape(-1)
                )
            if held is not None:
                held = held(parents, natural) if callable(held) else held
                x = np.where(np.isnan(held), x, held)
            out[:, j] = x
        return out.reshape(*batch, out.shape[1])

    def draw_noise(self, n: int, random_state: Seed = 0) -> np.ndarray:
        """Fresh noise ``(n, m)``; each node has a generator of its own."""
        self._require_fitted()
        noise = np.empty((n, self.noise_width_))
        for node, seed in self._seeds(random_state).items():
            noise[:, self.noise_slices_[node]] = self.mechanisms_[node].draw(generator(seed), n)
        return noise

    def infer_noise(
        self,
        values: np.ndarray,
        random_state: Seed = 0,
        *,
        nodes: Iterable[str] | None = None,
        index: pd.Index | None = None,
    ) -> np.ndarray:
        """Noise ``(n, m)`` of values ``(n, d)``; 0 for nodes other than ``nodes``."""
        keys = RowUniforms(values[:, [self.position_[n] for n in self.streams_]], random_state)
        noise = np.zeros((len(values), self.noise_width_))
        for node in self.order_ if nodes is None else nodes:
            stream = self.streams_[node]
            try:
                noise[:, self.noise_slices_[node]] = self.mechanisms_[node].abduct(
                    self._parents(node, values),
                    values[:, self.position_[node]],
                    lambda width, stream=stream: keys.take(stream, width),
                )
            except DataError as error:
                if index is not None and isinstance(error.row, int):
                    error.row = index[error.row]
                raise
        return noise

    # -- inside ----------------------------------------------------------------------------

    def _natural(self, node, parents, noise, batch, start, out) -> np.ndarray:
        """What the node's own equation gives; observed values where no parent has changed."""
        mechanism = self.mechanisms_[node]
        if start is None:
            return mechanism.apply(parents, _spread(noise, batch))
        natural = start[:, self.position_[node]].copy()
        at = [self.position_[p] for p in parents.names]
        rows = np.flatnonzero((out[:, at] != start[:, at]).any(axis=1))
        if len(rows):
            noise = _spread(noise, batch)[rows]
            natural[rows] = mechanism.apply(parents.take(rows), noise)
        return natural

    def _parents(self, node: str, values: np.ndarray) -> Parents:
        columns = {p: values[:, self.position_[p]] for p in sorted(self.graph.parents(node))}
        return Parents(self.encoder_, columns, len(values))

    def _seeds(self, random_state: Seed) -> dict[str, np.random.SeedSequence]:
        """One seed per node, independent of the order of nodes in the graph."""
        return dict(zip(self.streams_, spawn(random_state, len(self.streams_)), strict=True))

    def _start(self, schema: Schema, encoder: Encoder) -> None:
        self.schema_ = schema.select(self.graph.nodes)
        self.encoder_ = encoder
        self.order_ = self.graph.topological_order()
        self.position_ = {n: j for j, n in enumerate(self.graph.nodes)}
        self.streams_ = {n: i for i, n in enumerate(sorted(self.graph.nodes))}
        self.mechanisms_: dict[str, Mechanism] = {}
        self.n_rows_, self.low_, self.high_ = 0, None, None
        self.categorical_: frozenset[str] = frozenset()
        self.warnings_: tuple[CausalWarning, ...] = ()

    @property
    def noise_slices_(self) -> dict[str, slice]:
        """Node -> its columns in a noise array."""
        slices, start = {}, 0
        for node in self.graph.nodes:
            stop = start + self.mechanisms_[node].width_
            slices[node] = slice(start, stop)
            start = stop
        return slices

    @property
    def noise_width_(self) -> int:
        """Number of noise columns."""
        return sum(m.width_ for m in self.mechanisms_.values())

    def _noise_labels(self) -> list[str]:
        labels: list[str] = []
        for node in self.graph.nodes:
            width = self.mechanisms_[node].width_
            levels = self.schema_[node].levels
            new = [node] if width == 1 else [f"{node}={v}" for v in levels or range(width)]
            for label in new:  # a node may be called like another one's level
                while label in labels or (label != node and label in self.graph.nodes):
                    label += "'"
                labels.append(label)
        return labels

    def _require_known_nodes(self) -> None:
        for node in self.mechanisms or {}:
            if node not in self.graph.nodes:
                raise GraphError(
                    "has a mechanism but is not in the graph",
                    column=str(node),
                    advice=did_you_mean(node, self.graph.nodes),
                )

    def _training_table(self, df: pd.DataFrame) -> tuple[Table, np.ndarray | None]:
        """The nodes' columns, complete rows only, and the cluster of each row."""
        cluster = None if self.schema is None else self.schema.role("cluster")
        if self.schema is not None and self.schema.role("weight") is not None:
            name = self.schema.role("weight")
            warn("weights-ignored", f"the weights {name!r} are not used in fitting", [name])
        wanted = list(self.graph.nodes)
        if isinstance(df, pd.DataFrame):
            _require_columns(df, wanted)
        extra = [cluster] if cluster is not None and cluster not in wanted else []
        checked = table(df, schema=self.schema, columns=wanted + extra, canonical=True, min_rows=2)
        for node in wanted:
            feature = checked.schema[node]
            if feature.role is not None:
                raise DataError(
                    f"has the role {feature.role!r} and can't be a node",
                    column=node,
                    advice="Give it role=None in the schema, or drop it from the graph.",
                )
            refuse_missing(checked.frame[node])
            _require_whole(checked.frame[node], feature)
        groups = None if cluster is None else pd.factorize(checked.frame[cluster])[0]
        nodes = sorted(wanted)
        return Table(checked.frame[wanted], checked.schema.select(wanted), True), groups

    def _fit_node(
        self, node: str, values: np.ndarray, groups: np.ndarray | None, spec: Any = None
    ) -> None:
        parents, feature = self._parents(node, values), self.schema_[node]
        spec = (self.mechanisms or {}).get(node) if spec is None else spec
        mechanism = resolve(spec, feature, bool(parents.names))
        width = parents.encoded.shape[1]
        if width and len(values) < 10 * width:
            warn(
                "few-rows",
                f"{node!r} has {count(len(values), 'row')} for {width} columns of parents: its "
                "mechanism is uncertain",
                [node],
            )
        _warn_if_collinear(node, parents)
        seed = self._seeds(self.random_state)[node]
        x = values[:, self.position_[node]]
        mechanism.fit(parents, x, feature, random_state=integer(seed), groups=groups)
        self.mechanisms_[node] = mechanism
        report = getattr(mechanism, "report_", {})
        if report.get("dependence_p", 1.0) < 1e-4 and report["dependence_share"] > 0.02:
            warn(
                "noise-depends-on-parents",
                f"the spread of {node!r} changes with its parents: additive noise is an "
                "approximation, and its simulated spread is an average",
                [node],
            )

    def _values(self, df: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
        """The rows as a complete ``(n, d)`` array, and the checked table."""
        nodes = list(self.graph.nodes)
        if isinstance(df, pd.DataFrame):
            _require_columns(df, nodes)
        data = table(df, schema=self.schema_, columns=nodes, min_rows=0, drop=False)
        for node in nodes:
            refuse_missing(data.frame[node])
            _require_whole(data.frame[node], self.schema_[node])
        return _as_array(data), data.frame

    def _frame(self, values: np.ndarray, index: pd.Index) -> pd.DataFrame:
        columns = {n: self._decode(n, values[:, j], index) for n, j in self.position_.items()}
        for node, column in columns.items():
            low, high = self.schema_[node].bounds or (None, None)
            beyond = [
                low is not None and column.min() < low,
                high is not None and column.max() > high,
            ]
            if len(column) and any(beyond):
                warn(
                    "outside-bounds",
                    f"some simulated {node!r} lie outside its bounds {low} to {high}",
                    [node],
                )
        return pd.DataFrame(columns, index=index, columns=list(self.graph.nodes))

    def _decode(self, node: str, values: np.ndarray, index: pd.Index) -> pd.Series:
        feature = self.schema_[node]
        if feature.is_numeric:
            return pd.Series(values, index=index, name=node)
        if node in self.categorical_:
            levels = pd.Categorical.from_codes(
                values.astype(int), list(feature.levels), ordered=feature.kind == "ordinal"
            )
            return pd.Series(levels, index=index, name=node)
        return pd.Series(decode_levels(values, feature), index=index, name=node).infer_objects()

    def _overwrite(self, df, frame, before, after) -> pd.DataFrame:
        """The caller's columns, where a value changed with the new one."""
        given = df if isinstance(df, pd.DataFrame) else frame
        columns = {}
        for label in given.columns:
            node = str(label)
            if node not in self.position_:
                continue
            j = self.position_[node]
            old = given[label]
            if np.array_equal(before[:, j], after[:, j]):
                columns[label] = old.copy()
            else:
                columns[label] = _like(self._decode(node, after[:, j], frame.index), old)
        return pd.DataFrame(columns, index=frame.index)

    def _warn_outside(self, values: np.ndarray, nodes: Iterable[str]) -> None:
        if self.low_ is None:
            return
        for node in nodes:
            j = self.position_[node]
            x = values[:, j]
            outside = (x < self.low_[j]) | (x > self.high_[j])
            if outside.any() and self.schema_[node].is_numeric:
                warn(
                    "extrapolation",
                    f"{count(int(outside.sum()), 'row')} of {len(x)} put {node!r} outside the "
                    f"observed range {self.low_[j]:g} to {self.high_[j]:g}: what follows from it "
                    "is extrapolated",
                    [node],
                )

    def _bar(self, nodes: Iterable[str], progress: bool) -> Iterable[str]:
        from tqdm import tqdm

        return tqdm(nodes, desc="fitting", delay=2, leave=False, disable=not progress)

    def _state(self) -> dict[str, Any]:
        state = dict(vars(self))
        if "warnings_" in state:
            state["warnings_"] = [(w.code, w.message, w.columns) for w in self.warnings_]
        return state

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        model = cls.__new__(cls)
        vars(model).update(state)
        if "warnings_" in state:
            model.warnings_ = tuple(CausalWarning(*w) for w in state["warnings_"])
        return model


def _require_dag(graph: CausalGraph) -> None:
    """Refuse graphs that don't say what causes what."""
    if not isinstance(graph, CausalGraph):
        raise GraphError("must be a CausalGraph", value=type(graph).__name__)
    if graph.latent:
        raise GraphError(
            "is latent: a model can't be fitted to what was not observed",
            column=min(graph.latent),
            advice="Measure it, or estimate the one effect you need with identify().",
        )
    for u, v, mark_u, mark_v in graph.edges:
        if (mark_u, mark_v) == ("arrow", "arrow"):
            raise GraphError(
                f"has a hidden common cause with {v!r}: their noises are not independent",
                column=u,
                advice="Estimate the one effect you need with identify().",
            )
        if (mark_u, mark_v) != ("tail", "arrow"):
            raise GraphError(
                f"the graph is a class ({graph.kind}): the edge to {v!r} has no direction",
                column=u,
                advice="Fit its members one by one: graph.members().",
            )


def _require_columns(df: pd.DataFrame, nodes: Iterable[str]) -> None:
    names = [str(c) for c in df.columns]
    for node in nodes:
        if node not in names:
            raise DataError(
                "is a node of the graph but not a column of the data",
                column=node,
                advice=did_you_mean(node, names),
            )


def _require_whole(column: pd.Series, feature: Feature) -> None:
    if feature.kind != "count":
        return
    x = column.to_numpy(dtype=float)
    bad = (x != np.floor(x)) | (x < 0)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            "is a count but has a value that is no whole number from 0",
            column=feature.name,
            row=column.index[at],
            value=float(x[at]),
            advice="Set kind='continuous' in the schema.",
        )


def _per_node(given: Any, graph: CausalGraph, what: str, default: float) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return {node: float(given) for node in graph.nodes}
    for node in given:
        if node not in graph.nodes:
            raise ParameterError(
                f"{node!r} is not a node", column=what, advice=did_you_mean(node, graph.nodes)
            )
    return {node: float(given.get(node, default)) for node in graph.nodes}


def _as_array(data: Table) -> np.ndarray:
    """Numbers as they are, levels as positions, ``(n, d)``."""
    columns = [
        data.frame[f.name].to_numpy(dtype=float)
        if f.is_numeric
        else data.frame[f.name].cat.codes.to_numpy(dtype=float)
        for f in data.schema
    ]
    return np.column_stack(columns) if columns else np.empty((len(data), 0))


def _categorical_columns(df: Any) -> frozenset[str]:
    if not isinstance(df, pd.DataFrame):
        return frozenset()
    kinds = df.dtypes.items()
    return frozenset(str(c) for c, dtype in kinds if isinstance(dtype, pd.CategoricalDtype))


def _spread(array: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """``(..., k)`` broadcast to the batch, one row per element of it."""
    k = array.shape[-1]
    return np.broadcast_to(array, (*batch, k)).reshape(-1, k)


def _like(new: pd.Series, old: pd.Series) -> pd.Series:
    """The new column in the old one's type, where that loses nothing."""
    if isinstance(old.dtype, pd.CategoricalDtype):
        return new.astype(old.dtype) if set(new.unique()) <= set(old.dtype.categories) else new
    if pd.api.types.is_float_dtype(old.dtype):
        return new
    try:
        cast = new.astype(old.dtype)
    except (TypeError, ValueError):
        return new
    return cast if (cast.astype(object) == new.astype(object)).all() else new


def _warn_if_collinear(node: str, parents: Parents) -> None:
    """Parents that determine each other have no separate effects."""
    if len(parents.names) < 2 or len(parents) < 3:
        return
    blocks, owner = [], []
    for name, x in parents.columns.items():
        block = parents.encoder.encode_values(name, x)
        block = block[:, 1:] if block.shape[1] > 1 else block  # levels add up to one
        blocks.append(block)
        owner += [name] * block.shape[1]
    X = np.concatenate(blocks, axis=1)
    X = X - X.mean(axis=0)
    sd = X.std(axis=0)
    live = sd > 1e-9
    if live.sum() < 2:
        return
    R = (X[:, live] / sd[live]).T @ (X[:, live] / sd[live]) / len(X)
    size, vectors = np.linalg.eigh(R)
    if size[0] < 1e-7:
        heavy = np.abs(vectors[:, 0]) > 0.1
        names = sorted({n for n, h in zip(np.array(owner)[live], heavy, strict=True) if h})
        warn(
            "collinear-parents",
            f"the parents {', '.join(map(repr, names))} of {node!r} determine each other in the "
            "data: their separate effects can't be told apart, only their joint one",
            [str(n) for n in names],
        )
