"""Study: one table and one graph, asked for effects, plans and diagnoses, and reported."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from .core.errors import (
    CausalWarning,
    DataError,
    GraphError,
    IdentificationError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from .core.seeding import Seed, integer, sequence, spawn
from .study_rows import as_plain, choose_rows, is_label, named_method, read_target
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
    from .scm.model import StructuralCausalModel

MEMBERS = 20  # DAGs asked when the graph is a class


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
        self._models: dict[tuple[CausalGraph, Schema], StructuralCausalModel] = {}
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
        graph = discover(self.df, method, random_state=self._seed("search"), **common)
        ensemble = None
        if n_boot:
            seed = self._seed("bootstrap")
            ensemble = bootstrap(
                self.df, method, n_boot=n_boot, random_state=seed, n_jobs=n_jobs, **common
            )
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
            estimator: Name or instance (``workbench.effects.catalogue()``); AIPW for arms and
                LinearDML for doses by default.
            modifiers: Columns by which the effect may differ.
            T0, T1: The contrast T1 against T0. By default the first two arms; of a dose 0 and
                1 if both lie in its range, else its quartiles.
            target: ``"ATE"`` (everybody) or ``"ATT"`` (those who received T1).
            alpha: One minus the confidence level.
            over: ``"graphs"`` asks every DAG of the class or ensemble; done anyhow where the
                answer depends on the DAG.
            refute: Run the refuters.

        Returns:
            An :class:`~workbench.effects.EffectEstimate`, or the answer over all graphs.

        Raises:
            IdentificationError: The graph does not identify the effect; the open path is named.
        """
        from .effects.estimate import estimate

        if over not in (None, "graphs"):
            raise ParameterError("must be None or 'graphs'", column="over", value=over)
        modifiers = (modifiers,) if isinstance(modifiers, str) else tuple(modifiers)
        for name in self._consequences(treatment, modifiers):
            raise QuestionError(
                f"is a consequence of {treatment!r} in the graph and can't modify its effect",
                column=name,
                advice="Leave it out of modifiers, or correct the graph.",
            )
        asked = {
            "estimator": estimator,
            "modifiers": modifiers,
            "T0": T0,
            "T1": T1,
            "target": target,
            "alpha": alpha,
        }
        options = {**asked, "schema": self.schema, "random_state": self._seed("effect")}
        said = {"treatment": treatment, "outcome": outcome, "refute": refute, **asked}
        if adjust_for is not None:
            columns = [adjust_for] if isinstance(adjust_for, str) else list(adjust_for)
            with recording() as notes:
                after = self._consequences(treatment, columns)
                if after:
                    warn(
                        "post-treatment",
                        f"{', '.join(map(repr, after))} follow from {treatment!r} in the graph: "
                        "adjusting for them hides part of its effect or opens other paths",
                        after,
                    )
                found = estimate(
                    self.df, columns, treatment=treatment, outcome=outcome, refute=refute, **options
                )
            return self._keep("effect", _with(found, notes), adjust_for=columns, **said)
        estimand = None if over else self.identify(treatment, outcome)
        if estimand is not None and not estimand.ambiguous:
            if not estimand.is_identified:
                raise IdentificationError(
                    f"its effect on {outcome!r} is not identified: {estimand.reason}",
                    column=treatment,
                    advice="Measure a column that closes the path, or pass adjust_for=.",
                )
            return self._keep(
                "effect", estimate(self.df, estimand, refute=refute, **options), **said
            )
        from .effects.over_graphs import effects_over_graphs

        with recording() as notes:
            dags = self._dags(over == "graphs")
            found = effects_over_graphs(self.df, dags, treatment, outcome, **options)
        return self._keep("effect", _with(found, notes), over=over, **said)

    # -- plans -------------------------------------------------------------------------------

    def scm(self) -> StructuralCausalModel:
        """The structural causal model of the study's DAG, fitted once."""
        if not self.graph.is_dag:
            raise GraphError(
                f"a causal model needs a DAG, the study's graph is a {self.graph.kind}",
                advice="Set study.graph to one of study.graph.members(), or add knowledge.",
            )
        return self._fitted(self.graph)

    def recourse(
        self,
        rows: pd.DataFrame | str | Sequence[Hashable],
        *,
        target: Any,
        model: Any = None,
        method: RecourseMethod | str | None = None,
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
            **problem: Further arguments of :class:`~workbench.recourse.RecourseProblem`.

        Returns:
            One recommendation per person; where the graph is a class of DAGs, ``validity`` is the
            share of DAGs under which it works.
        """
        from .recourse.over_graphs import recommend_over_graphs
        from .recourse.problem import RecourseProblem

        people = choose_rows(self.df, rows)
        method = named_method(method, "recourse")
        common = {"schema": self.schema.select(self._variables()), "data": self.df, **problem}
        with recording() as notes:
            if model is not None:
                problems = [(RecourseProblem(model, target=target, **common), 1.0)]
                said = {"model": type(model).__name__, "target": target}
            else:
                outcome, side = read_target(target, self.df)
                common["schema"] = self.schema
                problems = [
                    (RecourseProblem.in_world(self._fitted(dag), outcome, **side, **common), weight)
                    for dag, weight in self._dags()
                ]
                said = {"target": str(target)}
            found = _with(recommend_over_graphs(problems, people, method), notes)
        if isinstance(rows, str):
            said["rows"] = rows
        elif not isinstance(rows, pd.DataFrame):
            said["rows"] = as_plain(rows)
        return self._keep("recourse", found, **said)

    # -- diagnosis ---------------------------------------------------------------------------

    def diagnose(
        self,
        window: pd.DataFrame | str | Hashable | Sequence[Hashable],
        target: str,
        *,
        method: Diagnoser | str | None = None,
    ) -> Ranking:
        """Which columns are to blame for an unusual value of ``target``.

        Args:
            window: The unusual rows: a table of their own, or a label, labels or a condition on
                the study's rows, which are then left out of what counts as usual.
            target: The column that is unusual.
            method: A diagnosis method, an instance or a name in ``workbench.diagnosis``;
                counterfactual attribution by default.

        Returns:
            A ranking; where the graph is a class of DAGs, over all of them.
        """
        from .diagnosis.counterfactual_attribution import CounterfactualAttribution
        from .diagnosis.incident import Incident
        from .diagnosis.over_graphs import rank_over_graphs
        from .diagnosis.system import System

        if isinstance(window, pd.DataFrame):
            odd, usual = window, self.df
        else:
            labels = [window] if is_label(window, self.df) else window
            odd = choose_rows(self.df, labels)
            usual = self.df.drop(index=odd.index)
        method = named_method(method, "diagnosis")
        method = method or CounterfactualAttribution(random_state=self._seed("diagnose"))
        incident = Incident(odd, target)
        nodes = [n for n in self.graph.observed if n in usual.columns]
        rankings = []
        with recording() as notes:
            for dag, weight in self._dags():
                system = System(dag, usual[nodes], schema=self.schema.select(nodes))
                solver = type(method)(**method.get_params(deep=False)).fit(system)
                rankings.append((solver.rank(incident), weight))
            found = _with(rank_over_graphs(rankings), notes)
        said = {} if isinstance(window, pd.DataFrame) else {"rows": as_plain(window)}
        return self._keep("diagnose", found, target=target, **said)

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

    def _seed(self, kind: str) -> int:
        """One seed per kind of question, whatever was asked before."""
        kinds = ("search", "bootstrap", "effect", "scm", "diagnose")
        return integer(spawn(self.random_state, len(kinds))[kinds.index(kind)])

    def _consequences(self, treatment: str, columns: Iterable[str]) -> list[str]:
        """The columns that follow from the treatment in the graph, if there is one."""
        if not self.has_graph or treatment not in self.graph:
            return []
        after = self.graph.descendants(treatment)
        return [name for name in columns if name in after]

    def _variables(self) -> list[str]:
        return [n for n in self.schema.variables if n in self.df.columns]

    def _dags(self, over_ensemble: bool = False) -> list[tuple[CausalGraph, float]]:
        """The DAGs to ask, with weights that sum to one: never one silently for a class."""
        if over_ensemble and self.ensemble is not None:
            return self.ensemble.members()
        found = self.graph.members(limit=MEMBERS + 1)
        if len(found) > MEMBERS:
            warn(
                "members-cut",
                f"the graph stands for more than {MEMBERS} DAGs; the first {MEMBERS} were asked",
            )
            found = found[:MEMBERS]
        return [(dag, 1 / len(found)) for dag in found]

    def _fitted(self, dag: CausalGraph) -> StructuralCausalModel:
        key = dag, self.schema
        if key not in self._models:
            from .scm.model import StructuralCausalModel

            model = StructuralCausalModel(dag, schema=self.schema, random_state=self._seed("scm"))
            self._models[key] = model.fit(self.df)
        for note in self._models[key].warnings_:  # whoever asks again is told again
            warn(note.code, note.message, note.columns)
        return self._models[key]

    def __repr__(self) -> str:
        graph = repr(self._graph) if self.has_graph else "no graph yet"
        rows, columns = self.df.shape
        return f"Study({rows:,} rows, {columns} columns; {graph}; {len(self.answers)} answers)"


def _with(result: Any, notes: Sequence[CausalWarning]) -> Any:
    """The result with everything attached that was noticed on the way."""
    return replace(result, warnings=tuple(dict.fromkeys((*result.warnings, *notes))))


class Answer:
    """A question as it was asked, with its result.

    Attributes:
        kind: Name of the method of :class:`Study`.
        result: What it returned.
        asked: Its arguments.
    """

    def __init__(self, kind: str, result: Any, asked: Mapping[str, Any]):
        self.kind, self.result, self.asked = kind, result, dict(asked)
