"""How a study answers: which DAGs are asked, with which models, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from .core.errors import (
    CausalWarning,
    GraphError,
    IdentificationError,
    ParameterError,
    QuestionError,
    recording,
    unrecorded,
    warn,
)
from .study_rows import choose_rows, is_label, named_method, read_target

if TYPE_CHECKING:
    from .diagnosis.ranking import Ranking
    from .effects.effect_estimate import EffectEstimate
    from .effects.over_graphs import EffectsOverGraphs
    from .graph.causal_graph import CausalGraph
    from .recourse.recommendations import Recommendations
    from .study import Study

MOST_IDENTIFIED, MOST_MODELLED = 2000, 100  # DAGs to read an effect's columns from, and to model


def average_effect(
    study: Study,
    treatment: str,
    outcome: str,
    adjust_for: list[str] | None,
    over: str | None,
    refute: bool,
    options: Mapping[str, Any],
) -> EffectEstimate | EffectsOverGraphs:
    """The answer of :meth:`Study.effect`."""
    from .effects.estimate import estimate
    from .effects.over_graphs import effects_over_graphs

    _require_over(study, over)
    for name in _consequences(study, treatment, options["modifiers"]):
        raise QuestionError(
            f"is a consequence of {treatment!r} in the graph and can't modify its effect",
            column=name,
            advice="Leave it out of modifiers, or correct the graph.",
        )
    if adjust_for is not None:
        with recording() as notes:
            after = _consequences(study, treatment, adjust_for)
            if after:
                warn(
                    "post-treatment",
                    f"{', '.join(map(repr, after))} follow from {treatment!r} in the graph: "
                    "adjusting for them hides part of its effect or opens other paths",
                    after,
                )
            found = estimate(
                study.df,
                adjust_for,
                treatment=treatment,
                outcome=outcome,
                refute=refute,
                **options,
            )
        return _with(found, notes)
    estimand = None if over else study.identify(treatment, outcome)
    if estimand is not None and not estimand.ambiguous:
        if not estimand.is_identified:
            raise IdentificationError(
                f"its effect on {outcome!r} is not identified: {estimand.reason}",
                column=treatment,
                advice="Measure a column that closes the path, or pass adjust_for=.",
            )
        return estimate(study.df, estimand, refute=refute, **options)
    with recording() as notes:
        found = effects_over_graphs(
            study.df, _dags(study, over, MOST_IDENTIFIED), treatment, outcome, **options
        )
    return _with(found, notes)


def plans(
    study: Study,
    rows: Any,
    target: Any,
    model: Any,
    method: Any,
    over: str | None,
    problem: Mapping[str, Any],
) -> Recommendations:
    """The answer of :meth:`Study.recourse`."""
    from .recourse.over_graphs import recommend, recommend_over_graphs
    from .recourse.problem import RecourseProblem

    _require_over(study, over)
    people, method = choose_rows(study.df, rows), named_method(method, "recourse")
    if model is not None:
        if over:
            raise ParameterError(
                "asks what an action does in the world; a model's decision is the same in all",
                column="over",
                value=over,
                advice="Leave out model= or over=.",
            )
        variables = [n for n in study.schema.variables if n in study.df.columns]
        common = {"schema": study.schema.select(variables), "data": study.df, **problem}
        with recording() as notes:
            asked = RecourseProblem(model, target=target, **common)
            return _with(recommend(asked, people, method), notes)
    outcome, side = read_target(target, study.df)
    common = {"data": study.df, **problem, "schema": study.schema}

    def pose(dag: CausalGraph) -> RecourseProblem:
        with unrecorded():  # a plan carries the conditions of its model
            model = study.model_of(dag)
        return RecourseProblem.in_world(model, outcome, **side, **common)

    with recording() as notes:
        dags = _dags(study, over, MOST_MODELLED)
        if len(dags) == 1 and not over:
            return _with(recommend(pose(dags[0][0]), people, method), notes)
        return _with(recommend_over_graphs(pose, dags, people, method), notes)


def blame(study: Study, window: Any, target: str, method: Any, over: str | None) -> Ranking:
    """The answer of :meth:`Study.diagnose`."""
    from .diagnosis.counterfactual_attribution import CounterfactualAttribution
    from .diagnosis.incident import Incident
    from .diagnosis.over_graphs import rank_over_graphs
    from .diagnosis.system import System

    _require_over(study, over)
    if isinstance(window, pd.DataFrame):
        odd, usual = window, study.df
    else:
        labels = [window] if is_label(window, study.df) else window
        odd = choose_rows(study.df, labels)
        usual = study.df.drop(index=odd.index)
    method = named_method(method, "diagnosis")
    method = method or CounterfactualAttribution(random_state=study.seed_of("diagnose"))
    incident = Incident(odd, target)
    nodes = [n for n in study.graph.observed if n in usual.columns]
    rankings = []
    with recording() as notes:
        for dag, weight in _dags(study, over, MOST_MODELLED):
            system = System(dag, usual[nodes], schema=study.schema.select(nodes))
            solver = type(method)(**method.get_params(deep=False)).fit(system)
            rankings.append((solver.rank(incident), weight))
        return _with(rank_over_graphs(rankings), notes)


def _require_over(study: Study, over: str | None) -> None:
    if over not in (None, "graphs"):
        raise ParameterError("must be None or 'graphs'", column="over", value=over)
    if over and study.ensemble is None:
        raise GraphError(
            "no ensemble of graphs was learned, so there is nothing to go over",
            column="over",
            value=over,
            advice="Call study.discover(n_boot=100) first. Without over= every member of the "
            "study's graph is asked.",
        )


def _dags(study: Study, over: str | None, most: int) -> list[tuple[CausalGraph, float]]:
    """The DAGs to ask, with weights that sum to one: never one silently for a class."""
    from .graph.equivalence import sample_members

    if over:
        found = study.ensemble.members(most, study.seed_of("members"))
        whole = [(d, w) for d, w in found if len(d) == len(study.ensemble.nodes)]
        total = sum(w for _, w in whole)
        if len(whole) < len(found):
            warn(
                "members-left-out",
                f"{len(found) - len(whole)} of {len(found)} graphs ({1 - total:.0%} of the weight) "
                "lack a column that was constant in their resample, and were not asked",
            )
        return [(dag, weight / total) for dag, weight in whole]
    found, whole = sample_members(study.graph, most, study.seed_of("members"))
    if not whole:
        warn(
            "members-drawn",
            f"the graph stands for more than {most} DAGs; {len(found)} drawn at random were asked",
        )
    return list(found.items())


def _consequences(study: Study, treatment: str, columns: Iterable[str]) -> list[str]:
    """The columns that follow from the treatment in the graph, if there is one."""
    if not study.has_graph or treatment not in study.graph:
        return []
    after = study.graph.descendants(treatment)
    return [name for name in columns if name in after]


def _with(result: Any, notes: Sequence[CausalWarning]) -> Any:
    """The result with everything attached that was noticed on the way."""
    return replace(result, warnings=tuple(dict.fromkeys((*result.warnings, *notes))))
