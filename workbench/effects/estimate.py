"""From an identified question to a number with its interval and everything it rests on."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, QuestionError, recording, warn
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData, arm
from ..tables.gate import Table, table
from ..tables.schema import Schema
from .base import EffectEstimator, Estimate, check_target
from .conditions import check_clusters, rows_that_weigh, tell_size_and_rank
from .effect_estimate import EffectEstimate
from .group_effects import averages_within, groups_by
from .judge import as_estimator, ends
from .question import Question, outcome_level, question_data, structure_of, unit_of, warn_if_arms

DEFAULT_FOR_ARMS, DEFAULT_FOR_DOSES = "AIPW", "LinearDML"
# Where effects may differ by modifiers:
DEFAULT_FOR_UNITS, DEFAULT_FOR_CURVES = "CausalStack", "DoseStack"


def estimate(
    df: pd.DataFrame,
    estimand: Any,
    *,
    treatment: str | None = None,
    outcome: str | None = None,
    estimator: EffectEstimator | str | None = None,
    modifiers: Iterable[str] = (),
    T0: Any = None,
    T1: Any = None,
    target: Literal["ATE", "ATT"] = "ATE",
    alpha: float = 0.05,
    schema: Schema | None = None,
    groups: str | None = None,
    sample_weight: str | None = None,
    refute: bool = False,
    simulations: int = 10,
    random_state: Seed = 0,
) -> EffectEstimate:
    """Estimate an average effect from a table, with what identifies it and what would overturn it.

    Args:
        df: The table; it is not changed.
        estimand: An identified :class:`~workbench.graph.identify.Estimand` (back-door, front-door
            or instrument), or the columns to adjust for, on the caller's word.
        treatment, outcome: Needed only if ``estimand`` is a list of columns.
        estimator: Name or instance; by default AIPW for arms and LinearDML for a dose, and where
            there are modifiers CausalStack and DoseStack. Front-door and instrument estimands have
            linear estimators of their own.
        modifiers: Columns by which the effect may differ.
        T0, T1: The contrast; by default the first two arms, or doses 0 and 1 where both lie in
            the observed range, else its quartiles.
        target: ``"ATE"``, or ``"ATT"`` for the average among those who received T1.
        alpha: One minus the confidence level.
        schema: What the columns mean. A ``cluster`` or repeated ``id`` column governs folds and
            standard errors, a ``weight`` column weighs rows.
        groups, sample_weight: Columns with these roles, instead of the schema's.
        refute: Also run dowhy's refuters (``simulations`` fits each).
        random_state: Seed of everything.

    Raises:
        IdentificationError: The estimand is not identified.
        DataError, QuestionError: As the gate.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"age": rng.normal(50, 9, 300)})
        >>> df["drug"] = (rng.random(300) < 1 / (1 + np.exp(5 - df.age / 10))).astype(int)
        >>> df["score"] = 2 * df.drug + df.age / 10 + rng.normal(size=300)
        >>> found = estimate(df, ["age"], treatment="drug", outcome="score")
        >>> found.low < 2 < found.high
        True
    """
    started = perf_counter()
    _check_options(target, alpha)
    schema = Schema.infer(df) if schema is None else schema
    question = Question(estimand, treatment, outcome, list(modifiers))
    with recording() as notes:
        # Labels that repeat can't tell rows apart: number them instead.
        rows = df if df.index.is_unique else df.reset_index(drop=True)
        checked = table(rows, schema=schema, columns=question.columns(), min_rows=10)
        rows = rows.loc[checked.frame.index]
        structure = structure_of(rows, schema, groups, sample_weight)
        level = outcome_level(checked, schema, question.outcome)
        warn_if_arms(checked, schema, question.treatment)
        if question.method in ("back-door", "no effect"):
            answer = _back_door(
                checked, question, estimator, structure, (T0, T1), target, refute, simulations,
                random_state,
            )  # fmt: skip
        else:
            _refuse_choice(question, estimator, target)
            if refute:
                warn("not-refuted", f"there are no refuters for a {question.method} estimate")
            answer = _linear(checked, question, structure, (T0, T1))
    low, high = answer["found"].interval(alpha) if answer["found"].se >= 0 else (np.nan, np.nan)
    data: EffectData = answer["data"]
    t0, t1 = answer["contrast"]
    sizes = () if data.arms is None else tuple(int(s) for s in np.bincount(data.t))
    return EffectEstimate(
        treatment=question.treatment,
        outcome=question.outcome,
        outcome_level=level,
        outcome_sd=float(data.y.std()),
        two_levels=bool(np.isin(data.y, (0.0, 1.0)).all()),
        value=answer["found"].value,
        se=answer["found"].se,
        low=float(low),
        high=float(high),
        alpha=alpha,
        target=answer["target"],
        t0=t0,
        t1=t1,
        unit=unit_of(schema, question.outcome),
        treatment_unit=unit_of(schema, question.treatment),
        n=len(data),
        arm_sizes=dict(zip(data.arms or (), sizes, strict=True)),
        clusters=None if data.groups is None else len(np.unique(data.groups)),
        method=answer["method"],
        identification=question.text(),
        assumption=answer["assumption"],
        adjustment=tuple(sorted(question.adjustment)),
        modifiers=tuple(question.modifiers),
        effects=answer["effects"](alpha),
        subgroups=answer["subgroups"](alpha),
        overlap=answer["overlap"],
        refutations=answer["refutations"],
        estimator=answer["estimator"],
        warnings=tuple(notes),
        seconds=perf_counter() - started,
    )


def _check_options(target: str, alpha: float) -> None:
    check_target(target)
    if not isinstance(alpha, int | float) or not 0 < alpha < 1:
        raise ParameterError("must lie between 0 and 1", column="alpha", value=alpha)


def _contrast(data: EffectData, T0: Any, T1: Any) -> tuple[Any, Any]:
    if data.arms is not None:
        t0, t1 = (data.arms[k] for k in ends(data, T0, T1))
        others = [a for a in data.arms if a not in (t0, t1)]
        if others and (T0 is None or T1 is None):
            warn(
                "other-arms",
                f"{', '.join(map(repr, others))} of {data.t_name!r} are not part of this "
                "contrast; ask for others with T0 and T1",
                [data.t_name],
            )
        return t0, t1
    if T0 is not None and T0 == T1:
        raise QuestionError(
            "is compared with itself", column=data.t_name, value=T0, advice="Give two values."
        )
    low, high = float(data.t.min()), float(data.t.max())
    if low <= 0 and high >= 1:
        defaults = (0.0, 1.0)
    else:
        defaults = tuple(float(q) for q in np.quantile(data.t, [0.25, 0.75]))
    return (defaults[0] if T0 is None else T0), (defaults[1] if T1 is None else T1)


def _back_door(
    checked: Table,
    question: Question,
    estimator: EffectEstimator | str | None,
    structure: dict[str, Any],
    contrast: tuple[Any, Any],
    target: str,
    refute: bool,
    simulations: int,
    random_state: Seed,
) -> dict[str, Any]:
    stray = [m for m in question.modifiers if m not in question.adjustment]
    if stray:
        warn(
            "modifier",
            f"{', '.join(map(repr, stray))} is no adjustment column: if the treatment affects it, "
            "the answer is biased",
            stray,
        )
    if question.method == "no effect":
        warn(
            "no-effect",
            f"the graph has no directed path from {question.treatment!r} to {question.outcome!r}: "
            "the effect is 0, and the number only tests that",
            [question.treatment, question.outcome],
        )
    refute_seed = spawn(random_state, 3)[2]  # apart from those that the fit spawns
    chosen = _estimator(estimator, checked, question, structure, random_state)
    x, w = list(question.modifiers), sorted(question.adjustment - set(question.modifiers))
    if (chosen.needs_modifiers and not x) or not chosen.adjusts_for_w:
        x, w = x + w, []
    data = question_data(checked, question, structure, x, w, chosen.takes_arms())
    data = rows_that_weigh(data)
    chosen.fit_data(data)
    t0, t1 = _contrast(data, *contrast)
    answer = chosen.average_effect_on_treated if target == "ATT" else chosen.average_effect
    found = answer(T0=t0, T1=t1)
    refutations = None
    if refute:
        from .refute import refute_data

        refutations = refute_data(
            chosen,
            data,
            contrast=(t0, t1),
            target=target,
            simulations=simulations,
            random_state=refute_seed,
            estimated=found,
        )
    return {
        "found": found,
        "data": data,
        "contrast": (t0, t1),
        "target": target,
        "method": repr(chosen),
        "assumption": chosen.assumes,
        "estimator": chosen,
        "effects": lambda alpha: _effects(chosen, question, t0, t1, alpha),
        "subgroups": lambda alpha: _subgroups(chosen, question, t0, t1, alpha, target),
        "overlap": chosen.overlap_,
        "refutations": refutations,
    }


def _estimator(
    estimator: EffectEstimator | str | None,
    checked: Table,
    question: Question,
    structure: dict[str, Any],
    random_state: Seed,
) -> EffectEstimator:
    if estimator is None:
        # With all columns: without some, rows that differ in those look like repeats.
        columns = sorted(question.adjustment | set(question.modifiers))
        data = question_data(checked, question, structure, [], columns, None)
        for_arms, for_doses = DEFAULT_FOR_ARMS, DEFAULT_FOR_DOSES
        if question.modifiers:
            for_arms, for_doses = DEFAULT_FOR_UNITS, DEFAULT_FOR_CURVES
        estimator = for_doses if data.arms is None else for_arms
    return as_estimator(estimator, random_state)


def _effects(
    fitted: EffectEstimator, question: Question, t0: Any, t1: Any, alpha: float
) -> pd.DataFrame | None:
    """Each unit's conditional effect, with its interval if there is one, beside its modifiers."""
    if not question.modifiers or fitted.x_ is None:
        return None
    name = "effect" if "effect" not in fitted.x_ else "effect (estimated)"
    found = fitted.x_.assign(**{name: fitted.effect(T0=t0, T1=t1)})
    if not {"low", "high"} & set(found):
        with suppress(QuestionError):  # some have no intervals, or none for clusters
            low, high = fitted.effect_interval(T0=t0, T1=t1, alpha=alpha)
            found = found.assign(low=low, high=high)
    return found


def _subgroups(
    fitted: EffectEstimator,
    question: Question,
    t0: Any,
    t1: Any,
    alpha: float,
    target: str,
) -> pd.DataFrame:
    """Average effects by level or quartile of each modifier."""
    known = () if fitted.x_ is None else tuple(fitted.x_.columns)
    names = [m for m in question.modifiers if m in known]
    parts = groups_by(fitted.x_[names]) if names else ()
    rows = []
    for name, cell, n, found in averages_within(fitted, parts, t0, t1, target):
        low, high = found.interval(alpha)
        rows.append((name, cell, n, found.value, low, high))
    columns = ["modifier", "value", "n", "effect", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _refuse_choice(question: Question, estimator: Any, target: str) -> None:
    if estimator is not None:
        raise QuestionError(
            f"is identified by {question.method}, which has a linear estimator of its own",
            column=question.treatment,
            advice="Leave estimator out.",
        )
    if target != "ATE" or question.modifiers:
        raise QuestionError(
            f"is identified by {question.method}: only one average effect can be estimated",
            column=question.treatment,
            advice="Leave out modifiers and target.",
        )


def _linear(
    checked: Table, question: Question, structure: dict[str, Any], contrast: tuple[Any, Any]
) -> dict[str, Any]:
    """Front-door or instrument, with linear models."""
    from .frontdoor import front_door_effect
    from .instrument import instrument_effect

    data = question_data(checked, question, structure, [], sorted(question.adjustment), None)
    data = rows_that_weigh(data)
    check_clusters(data)
    tell_size_and_rank(data)
    names = list(question.mediators or question.instruments)
    extra = Table(checked.frame.loc[data.index, names], checked.schema.select(names), checked.named)
    for name in names:
        if checked.schema[name].role is not None:
            raise DataError("names units, times or clusters", column=name)
    t0, t1 = _contrast(data, *contrast)
    if data.arms is not None:
        ends = (arm(data.arms, t0, data.t_name), arm(data.arms, t1, data.t_name))
    else:
        ends = (float(t0), float(t1))
        _mark_range(data, *ends)
    door = question.method == "front-door"
    found: Estimate = (front_door_effect if door else instrument_effect)(data, extra, *ends)
    return {
        "found": found,
        "data": data,
        "contrast": (t0, t1),
        "target": "ATE" if door else "LATE",
        "method": "linear front door" if door else "two-stage least squares",
        "assumption": "linear mechanisms without interaction of treatment and mediators"
        if door
        else "the same effect for all units, or an instrument that moves nobody the other way",
        "estimator": None,
        "effects": lambda alpha: None,
        "subgroups": lambda alpha: pd.DataFrame(),
        "overlap": None,
        "refutations": None,
    }


def _mark_range(data: EffectData, *doses: float) -> None:
    low, high = data.t.min(), data.t.max()
    for dose in doses:
        if not low <= dose <= high:
            warn(
                "extrapolation",
                f"dose {dose:g} lies outside the observed range of {data.t_name!r}, "
                f"{low:g} to {high:g}",
                [data.t_name],
            )
