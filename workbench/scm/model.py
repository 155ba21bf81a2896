"""StructuralCausalModel: a DAG with a mechanism at every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from ..core.errors import (
    CausalWarning,
    GraphError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed, integer
from ..graph.causal_graph import CausalGraph
from ..tables.encode import Encoder
from ..tables.gate import Table
from ..tables.schema import Feature, Schema
from .conditions import (
    require_dag,
    warn_if_collinear,
    warn_if_few,
    warn_if_noise_depends,
    warn_if_outside,
)
from .equations import Equations
from .interventions import Rule, rules
from .mechanisms import Equation, LinearFunction, Mechanism, resolve
from .noise import Gaussian
from .parents import Fitted
from .report import COLUMNS, FitReport
from .rows import as_array, as_frame, categorical_columns, complete_table, overwrite, training_table


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
        >>> lifted = model.counterfactual(df.head(2), shift={"dose": 1.0})
        >>> (lifted["response"] - df["response"].head(2)).round(1).tolist()
        [2.0, 2.0]
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
        require_dag(graph)
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
        require_dag(graph)
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

    def fit(self, df: pd.DataFrame, *, progress: bool = True, shared: Fitted | None = None) -> Self:
        """Learn every mechanism.

        Args:
            df: One column per node; other columns are ignored, apart from the schema's cluster.
            progress: Show a bar if it takes longer than two seconds.
            shared: What :class:`~workbench.scm.ModelFamily` has fitted to the same rows.

        Raises:
            GraphError: The graph is not a DAG without latent nodes.
            DataError: A node is not a column, has empty cells that the schema doesn't drop, or has
                too few rows.
        """
        self._forget()
        try:
            with recording() as notes:
                self._fit(df, progress, {} if shared is None else shared)
        except BaseException:
            self._forget()  # half a model must not look fitted
            raise
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
        return self.from_values(values, index)

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
        values, index = self._values(df)
        noise = self.equations_.infer(values, random_state, index=index)
        return pd.DataFrame(noise, columns=self.equations_.noise_labels(), index=index)

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
        values, index = self._values(df)
        fixed, added = rules(do, shift, self.graph, self.schema_, index)
        acted = [*fixed, *added]
        touched = set().union(*(self.graph.descendants(node) for node in acted))
        noise = self.equations_.infer(values, random_state, nodes=touched, index=index)
        after = self.propagate(noise, fixed, added, factual=values)
        self._warn_outside(after, acted)
        new = self.from_values(after, index)
        return overwrite(df if isinstance(df, pd.DataFrame) else new, values, after, new)

    def log_prob(self, df: pd.DataFrame) -> pd.Series:
        """Log density of each row: the sum over nodes of ``log p(x | parents)``.

        Raises:
            QuestionError: A node's noise is a set of observed values, which has no density; the
                node is named. Known equations, levels and ``noise="gaussian"`` have one.
        """
        self._require_fitted()
        values, index = self._values(df)
        total = np.zeros(len(values))
        for node in self.equations_.order:
            x = values[:, self.equations_.position[node]]
            total += self.mechanisms_[node].log_prob(self.equations_.parents(node, values), x)
        return pd.Series(total, index=index, name="log_prob")

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

    @property
    def mechanisms_(self) -> dict[str, Mechanism]:
        """Node -> fitted mechanism."""
        self._require_fitted()
        return self.equations_.mechanisms

    @property
    def noise_slices_(self) -> dict[str, slice]:
        """Node -> its columns in an array of noise."""
        self._require_fitted()
        return self.equations_.slices

    def to_values(self, df: pd.DataFrame) -> np.ndarray:
        """The rows as ``(n, d)``, columns in the order of ``graph.nodes``.

        Numbers are as they are, levels are positions in ``schema_[node].levels``.
        """
        self._require_fitted()
        return self._values(df)[0]

    def from_values(self, values: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
        """The inverse of ``to_values``."""
        self._require_fitted()
        index = pd.RangeIndex(len(values)) if index is None else index
        return as_frame(values, self.schema_, self.categorical_, index)

    def propagate(
        self,
        noise: np.ndarray,
        fixed: Mapping[str, Rule] | None = None,
        shift: Mapping[str, Rule] | None = None,
        factual: np.ndarray | None = None,
    ) -> np.ndarray:
        """Values from noise on arrays, for any batch of rows, draws and interventions.

        See :meth:`~workbench.scm.equations.Equations.propagate`; nothing is checked.

        Example:
            >>> graph = CausalGraph(["a", "b"], [("a", "b")])
            >>> model = StructuralCausalModel.linear_gaussian(graph, {("a", "b"): 3.0})
            >>> one_row, two_worlds = np.zeros((1, 2)), np.array([[np.nan], [2.0]])
            >>> model.propagate(one_row, {"a": two_worlds}).tolist()
            [[[0.0, 0.0]], [[2.0, 6.0]]]
        """
        self._require_fitted()
        return self.equations_.propagate(noise, fixed, shift, factual)

    def draw_noise(self, n: int, random_state: Seed = 0) -> np.ndarray:
        """Fresh noise ``(n, m)`` for ``propagate``."""
        self._require_fitted()
        return self.equations_.draw(n, random_state)

    def infer_noise(self, values: np.ndarray, random_state: Seed = 0) -> np.ndarray:
        """The noise ``(n, m)`` of values ``(n, d)``."""
        self._require_fitted()
        return self.equations_.infer(values, random_state)

    # -- inside ----------------------------------------------------------------------------

    def _start(self, schema: Schema, encoder: Encoder) -> None:
        self.schema_ = schema.select(self.graph.nodes)
        self.equations_ = Equations(self.graph, encoder)
        self.n_rows_, self.low_, self.high_ = 0, None, None
        self.categorical_: frozenset[str] = frozenset()
        self.warnings_: tuple[CausalWarning, ...] = ()

    def _require_known_nodes(self) -> None:
        for node in self.mechanisms or {}:
            if node not in self.graph.nodes:
                raise GraphError(
                    "has a mechanism but is not in the graph",
                    column=str(node),
                    advice=did_you_mean(node, self.graph.nodes),
                )

    def _forget(self) -> None:
        for name in [n for n in vars(self) if n.endswith("_")]:
            delattr(self, name)

    def _fit(self, df: pd.DataFrame, progress: bool, shared: Fitted) -> None:
        require_dag(self.graph)
        self._require_known_nodes()
        data, groups = training_table(df, self.schema, self.graph.nodes)
        self._start(data.schema, Encoder().fit(data))
        values = as_array(data)
        self.n_rows_ = len(values)
        self.low_, self.high_ = values.min(axis=0), values.max(axis=0)
        self.categorical_ = categorical_columns(df)
        for node in self._bar(self.equations_.order, progress):
            key = node, frozenset(self.graph.parents(node))
            if key not in shared:
                with recording() as notes:
                    self._fit_node(node, values, groups)
                shared[key] = self.mechanisms_[node], tuple(notes)
            self.mechanisms_[node], known = shared[key]
            for note in known:
                warn(note.code, note.message, note.columns)

    def _fit_node(
        self, node: str, values: np.ndarray, groups: np.ndarray | None, spec: Any = None
    ) -> None:
        parents, feature = self.equations_.parents(node, values), self.schema_[node]
        spec = (self.mechanisms or {}).get(node) if spec is None else spec
        mechanism = resolve(spec, feature, bool(parents.names))
        warn_if_few(node, parents)
        warn_if_collinear(node, parents)
        seed = self.equations_.seeds(self.random_state)[node]
        x = values[:, self.equations_.position[node]]
        mechanism.fit(parents, x, feature, random_state=integer(seed), groups=groups)
        self.mechanisms_[node] = mechanism
        warn_if_noise_depends(node, getattr(mechanism, "report_", {}))

    def _values(self, df: pd.DataFrame) -> tuple[np.ndarray, pd.Index]:
        """The rows as a complete ``(n, d)`` array, and their index."""
        data = complete_table(df, self.schema_)
        return as_array(data), data.frame.index

    def _warn_outside(self, values: np.ndarray, nodes: Iterable[str]) -> None:
        if self.low_ is None:
            return
        for node in nodes:
            j = self.equations_.position[node]
            warn_if_outside(self.schema_[node], values[:, j], self.low_[j], self.high_[j])

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


def _per_node(given: Any, graph: CausalGraph, what: str, default: float) -> dict[str, float]:
    if not isinstance(given, Mapping):
        return {node: float(given) for node in graph.nodes}
    for node in given:
        if node not in graph.nodes:
            raise ParameterError(
                f"{node!r} is not a node", column=what, advice=did_you_mean(node, graph.nodes)
            )
    return {node: float(given.get(node, default)) for node in graph.nodes}
