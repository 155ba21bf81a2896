"""Study: one table and one graph, asked for effects, plans and diagnoses, and reported."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from .core.errors import (
    DataError,
    GraphError,
    ParameterError,
    did_you_mean,
    warn,
)
from .core.seeding import Seed, integer, sequence, spawn
from .study_questions import average_effect, blame, plans
from .study_rows import as_plain
from .tables.gate import table
from .tables.schema import Schema

if TYPE_CHECKING:
    from .checks.table import TableReport
    from .diagnosis.base import Diagnoser
    from .diagnosis.ranking import Ranking
    from .effects.base import EffectEstimator
    from .effects.effect_estimate import EffectEstimate
    from .effects.over_graphs import EffectsOverGraphs
    from .graph.causal_graph import CausalGraph
    from .graph.ensemble import GraphEnsemble
    from .graph.falsify import Falsification
    from .graph.identify import Estimand
    from .graph.knowledge import Knowledge
    from .recourse.method import RecourseMethod
    from .recourse.recommendations import Recommendations
    from .report.memo import Memo
    from .scm.family import ModelFamily
    from .scm.model import StructuralCausalModel


class Study:
    """A table, what its columns mean, and a causal graph; ask it questions.

    Answers are kept, in the order asked, for :meth:`report`. Where the graph is a class of DAGs
    and the answer depends on the member, it is given over all of them with the share that agrees.

    Args:
        df: The table; it is never changed.
        graph: A :class:`CausalGraph`, a networkx graph, a file or a text that
            :func:`workbench.read_graph` reads; or None, and :meth:`discover` learns one.
        schema: What the columns mean; guessed when left out, ``study.schema`` shows it.
        random_state: Rules everything that is random.

    Raises:
        DataError: It is not a table.
        GraphError: A node of the graph that is neither latent nor a column.

    Example:
        >>> from workbench.datasets import load
        >>> data = load("clinic")
        >>> study = Study(data.frame, data.graph, data.schema)
        >>> answer = study.effect("drug", "blood_pressure", refute=False)
        >>> answer.low < data.truth["ATE of drug on blood_pressure"] < answer.high
        True
    """

    def __init__(
        self,
        df: pd.DataFrame,
        graph: CausalGraph | str | Path | Any | None = None,
        schema: Schema | None = None,
        random_state: Seed = 0,
    ):
        if not isinstance(df, pd.DataFrame):
            raise DataError(
                "a study needs a DataFrame",
                value=type(df).__name__,
                advice="Use read_table(path), or pd.DataFrame(array, columns=names).",
            )
        if not len(df) or not len(df.columns) or not df.columns.map(str).is_unique:
            table(df)  # raises, naming what is wrong
        self.df = df.copy().set_axis([str(c) for c in df.columns], axis=1)
        if schema is not None and not isinstance(schema, Schema):
            raise DataError(
                "schema must be a Schema",
                value=type(schema).__name__,
                advice="Use Schema.infer(df).correct({'column': {'kind': 'categorical'}}).",
            )
        self.schema = schema or Schema.infer(self.df)
        for name in self.schema.names:
            if name not in self.df.columns:
                raise DataError(
                    "is in the schema and not in the table",
                    column=name,
                    advice=did_you_mean(name, self.df.columns),
                )
        sequence(random_state)
        self.random_state = random_state
        self.ensemble: GraphEnsemble | None = None
        self.knowledge: Knowledge | None = None
        self.answers: list[Answer] = []
        self.source: str | None = None  # where the table lies, for the memo's study file
        self._families: dict[Schema, ModelFamily] = {}
        self._graph: CausalGraph | None = None
        if graph is not None:
            self.graph = graph

    # -- the graph ---------------------------------------------------------------------------

    @property
    def graph(self) -> CausalGraph:
        """The causal graph; setting it forgets a learned ensemble."""
        if self._graph is None:
            raise GraphError(
                "the study has no graph yet",
                advice="Pass one to Study, set study.graph, or call study.discover().",
            )
        return self._graph

    @graph.setter
    def graph(self, graph: Any) -> None:
        from .graph.causal_graph import CausalGraph
        from .graph.files import read_graph

        graph = graph if isinstance(graph, CausalGraph) else read_graph(graph)
        for node in graph.observed:
            if node not in self.df.columns:
                raise GraphError(
                    "is in the graph and not in the table",
                    column=node,
                    advice=did_you_mean(node, self.df.columns)
                    + " A hidden cause must be declared latent.",
                )
        self._graph, self.ensemble, self.knowledge = graph, None, None

    @property
    def has_graph(self) -> bool:
        """Whether there is a graph yet."""
        return self._graph is not None

    def check(self, outcome: str | None = None) -> TableReport:
        """Say what is odd about the table; see :func:`workbench.checks.check_table`."""
        from .checks.table import check_table

        return self._keep("check", check_table(self.df, self.schema, outcome), outcome=outcome)

    def discover(
        self,
        method: str = "boss",
        *,
        knowledge: Knowledge | None = None,
        n_boot: int = 100,
        n_jobs: int = 1,
        **parameters: Any,
    ) -> CausalGraph:
        """Learn the graph, and with ``n_boot`` resamples how stable each edge is.

        Args:
            method: See :func:`workbench.discover`.
            knowledge: Tiers, required and forbidden edges.
            n_boot: Resamples for edge confidence; 0 for none.
            n_jobs: Workers; they don't influence the result.
            **parameters: Of the method.

        Returns:
            The graph, also kept as ``study.graph``; the resamples are in ``study.ensemble``.
        """
        from .graph.bootstrap import bootstrap
        from .graph.discover import discover

        if isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer) or n_boot < 0:
            raise ParameterError("must be 0 or more", column="n_boot", value=n_boot)
        common = {"knowledge": knowledge, "schema": self.schema, **parameters}
        graph = discover(self.df, method, random_state=self.seed_of("search"), **common)
        ensemble = None
        if n_boot:
            seed = self.seed_of("bootstrap")
            ensemble = bootstrap(
                self.df, method, n_boot=n_boot, random_state=seed, n_jobs=n_jobs, **common
            )
            graph = ensemble.with_confidence(graph)
        # Only now: an interrupted search leaves the study as it was.
        self.graph = graph
        self.ensemble, self.knowledge = ensemble, knowledge
        self._keep("discover", graph, method=method, n_boot=n_boot, **parameters)
        return graph

    def falsify(self) -> Falsification:
        """Hold the graph's implied independencies against the table."""
        from .graph.falsify import falsify

        return self._keep("falsify", falsify(self.graph, self.df, schema=self.schema))

    def identify(self, treatment: str, outcome: str) -> Estimand:
        """What identifies an effect; see :func:`workbench.identify`."""
        from .graph.identify import identify

        return identify(self.graph, treatment, outcome)

    # -- effects -----------------------------------------------------------------------------

    def effect(
        self,
        treatment: str,
        outcome: str,
        *,
        adjust_for: Iterable[str] | None = None,
        estimator: EffectEstimator | str | None = None,
        modifiers: Iterable[str] = (),
        T0: Any = None,
        T1: Any = None,
        target: str = "ATE",
        alpha: float = 0.05,
        over: str | None = None,
        refute: bool = True,
    ) -> EffectEstimate | EffectsOverGraphs:
        """The average effect of one column on another.

        Args:
            treatment, outcome: Columns.
            adjust_for: Columns to adjust for on your word, instead of the graph's.
            estimator: Name or instance (``workbench.effects.catalogue()``); by default AIPW for
                arms and LinearDML for doses, with modifiers CausalStack and DoseStack.
            modifiers: Columns by which the effect may differ.
            T0, T1: The contrast T1 against T0. By default the first two arms; of a dose 0 and
                1 if both lie in its range, else its quartiles.
            target: ``"ATE"`` (everybody) or ``"ATT"`` (those who received T1).
            alpha: One minus the confidence level.
            over: ``"graphs"`` asks every DAG of the learned ensemble. The members of a class are
                asked anyhow where the answer depends on them.
            refute: Run the refuters.

        Returns:
            An :class:`~workbench.effects.EffectEstimate`, or the answer over all graphs.

        Raises:
            IdentificationError: The graph does not identify the effect; the open path is named.
            GraphError: ``over="graphs"`` and no ensemble was learned.
        """
        treatment, outcome = str(treatment), str(outcome)
        options = {
            "estimator": estimator,
            "modifiers": (modifiers,) if isinstance(modifiers, str) else tuple(map(str, modifiers)),
            "T0": T0,
            "T1": T1,
            "target": target,
            "alpha": alpha,
        }
        said = {"treatment": treatment, "outcome": outcome, "refute": refute, **options}
        columns = None
        if adjust_for is not None:
            names = [adjust_for] if isinstance(adjust_for, str) else adjust_for
            columns = [str(name) for name in names]
        options |= {"schema": self.schema, "random_state": self.seed_of("effect")}
        found = average_effect(self, treatment, outcome, columns, over, refute, options)
        return self._keep("effect", found, adjust_for=columns, over=over, **said)

    # -- plans -------------------------------------------------------------------------------

    def scm(self) -> StructuralCausalModel:
        """The structural causal model of the study's DAG, fitted once."""
        if not self.graph.is_dag:
            raise GraphError(
                f"a causal model needs a DAG, the study's graph is a {self.graph.kind}",
                advice="Set study.graph to one of study.graph.members(), or add knowledge.",
            )
        return self.model_of(self.graph)

    def model_of(self, dag: CausalGraph) -> StructuralCausalModel:
        """The structural causal model of any DAG on the study's columns, fitted once.

        What DAGs have in common, the parents of a node, is fitted once for all of them.
        """
        from .scm.family import ModelFamily

        if self.schema not in self._families:
            self._families[self.schema] = ModelFamily(
                self.df, schema=self.schema, random_state=self.seed_of("scm")
            )
        model = self._families[self.schema].model(dag)
        for note in model.warnings_:  # whoever asks again is told again
            warn(note.code, note.message, note.columns)
        return model

    def recourse(
        self,
        rows: pd.DataFrame | str | Sequence[Hashable],
        *,
        target: Any,
        model: Any = None,
        method: RecourseMethod | str | None = None,
        over: str | None = None,
        **problem: Any,
    ) -> Recommendations:
        """The smallest changes that bring people across a threshold.

        Without ``model`` the question is about the world: act on columns, let everything
        downstream follow through the causal model, bring the outcome across. With ``model`` it is
        about that model's decision.

        Args:
            rows: The people: a table, labels of the study's rows, or a condition such as
                ``"progression > 200"``.
            target: In the world a condition on the outcome, ``"progression < 150"``; for a model
                see :class:`~workbench.recourse.RecourseProblem` (its default is None).
            model: A fitted model whose decision is to change.
            method: How to search, an instance or a name in ``workbench.recourse``; exact where
                the structure permits, else a search.
            over: ``"graphs"`` asks every DAG of the learned ensemble.
            **problem: Further arguments of :class:`~workbench.recourse.RecourseProblem`.

        Returns:
            One recommendation per person. Over an ensemble or a class of DAGs it is the one that
            works in most of them: ``validity`` is their share of the weight, ``agreement`` the
            share of those that recommend the same, and ``by_graph`` has each one's own answer.

        Raises:
            GraphError: ``over="graphs"`` and no ensemble was learned.
        """
        found = plans(self, rows, target, model, method, over, problem)
        said: dict[str, Any] = {"target": str(target)}
        if model is not None:
            said = {"model": type(model).__name__, "target": target}
        if isinstance(rows, str):
            said["rows"] = rows
        elif not isinstance(rows, pd.DataFrame):
            said["rows"] = as_plain(rows)
        return self._keep("recourse", found, over=over, **said)

    # -- diagnosis ---------------------------------------------------------------------------

    def diagnose(
        self,
        window: pd.DataFrame | str | Hashable | Sequence[Hashable],
        target: str,
        *,
        method: Diagnoser | str | None = None,
        over: str | None = None,
    ) -> Ranking:
        """Which columns are to blame for an unusual value of ``target``.

        Args:
            window: The unusual rows: a table of their own, or a label, labels or a condition on
                the study's rows, which are then left out of what counts as usual.
            target: The column that is unusual.
            method: A diagnosis method, an instance or a name in ``workbench.diagnosis``;
                counterfactual attribution by default.
            over: ``"graphs"`` asks every DAG of the learned ensemble.

        Returns:
            A ranking; over an ensemble or a class of DAGs with the share that agrees.

        Raises:
            GraphError: ``over="graphs"`` and no ensemble was learned.
        """
        found = blame(self, window, target, method, over)
        said = {} if isinstance(window, pd.DataFrame) else {"rows": as_plain(window)}
        return self._keep("diagnose", found, target=target, over=over, **said)

    # -- report ------------------------------------------------------------------------------

    def latest(self, kind: str) -> Any:
        """The last answer of a kind (``"check"``, ``"falsify"``, ...); asked now if there is none.

        Asking here keeps no record, so that a report repeats the questions of the user only.
        """
        for answer in reversed(self.answers):
            if answer.kind == kind:
                return answer.result
        result = getattr(self, kind)()
        self.answers.pop()
        return result

    def memo(self, title: str | None = None) -> Memo:
        """The decision memo of everything asked so far."""
        from .study_memo import compose

        return compose(self, title)

    def report(self, path: str | Path, title: str | None = None, force: bool = False) -> Path:
        """Write the decision memo: one HTML file that needs no network.

        Raises:
            FileExistsError: The file exists and ``force`` is not set.
        """
        from .report.memo import write_memo

        return write_memo(self.memo(title), path, force)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """A study from a study file, with its questions asked; see ``workbench run``."""
        from .study_file import run

        return run(path, report=False)[0]

    def to_toml(self, path: str | Path, table: str | Path, force: bool = False) -> Path:
        """Write the study as a small TOML file that :meth:`from_toml` runs again.

        Args:
            path: The file to write.
            table: Where the table lies, relative to the file, or ``dataset:name``.
            force: Replace an existing file.
        """
        from .study_file import write

        return write(self, path, table, force)

    # -- inside ------------------------------------------------------------------------------

    def _keep(self, kind: str, result: Any, **asked: Any) -> Any:
        said = {k: as_plain(v) for k, v in asked.items() if v is not None}
        self.answers.append(Answer(kind, result, said))
        return result

    def seed_of(self, kind: str) -> int:
        """One seed per kind of question, whatever was asked before."""
        kinds = ("search", "bootstrap", "effect", "scm", "diagnose", "members")
        return integer(spawn(self.random_state, len(kinds))[kinds.index(kind)])

    def __repr__(self) -> str:
        graph = repr(self._graph) if self.has_graph else "no graph yet"
        rows, columns = self.df.shape
        return f"Study({rows:,} rows, {columns} columns; {graph}; {len(self.answers)} answers)"


class Answer:
    """A question as it was asked, with its result.

    Attributes:
        kind: Name of the method of :class:`Study`.
        result: What it returned.
        asked: Its arguments.
    """

    def __init__(self, kind: str, result: Any, asked: Mapping[str, Any]):
        self.kind, self.result, self.asked = kind, result, dict(asked)
