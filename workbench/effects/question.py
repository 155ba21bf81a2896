"""Which columns of a table play which part in the estimation of an identified effect."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..core.errors import IdentificationError, ParameterError, QuestionError, warn
from ..tables.effect_data import EffectData, effect_data
from ..tables.gate import Table, table
from ..tables.schema import Schema


class Question:
    """Which columns play which part."""

    def __init__(
        self, estimand: Any, treatment: str | None, outcome: str | None, modifiers: list[str]
    ):
        self.modifiers = [str(name) for name in modifiers]  # names are text in a checked table
        self.mediators: tuple[str, ...] = ()
        self.instruments: tuple[str, ...] = ()
        if not hasattr(estimand, "method"):
            for label, given in (("treatment", treatment), ("outcome", outcome)):
                if given is None:
                    raise ParameterError(
                        "is needed when the estimand is a list of columns", column=label
                    )
            self.treatment, self.outcome, self.method = str(treatment), str(outcome), "back-door"
            given = [estimand] if isinstance(estimand, str) else estimand or ()
            self.adjustment = {str(name) for name in given}
            self.assumed = True
            return
        self.treatment, self.outcome = estimand.treatment, estimand.outcome
        for label, given in (("treatment", treatment), ("outcome", outcome)):
            if given is not None and given != getattr(self, label):
                raise QuestionError(
                    f"is not the {label} of the estimand",
                    column=given,
                    advice=f"The estimand is about {getattr(self, label)!r}.",
                )
        if not estimand.is_identified:
            raise IdentificationError(
                f"its effect on {self.outcome!r} is not identified: "
                f"{getattr(estimand, 'reason', '') or 'no estimator can help'}",
                column=self.treatment,
                advice="Measure a column on the open path, or find an instrument.",
            )
        self.method, self.assumed = estimand.method, False
        self.adjustment = set(estimand.adjustment)
        if self.method == "front-door":
            self.mediators = tuple(sorted(estimand.mediators))
            self.adjustment = set()
        elif self.method == "instrument":
            first = estimand.instruments[0]
            self.adjustment = set(getattr(first, "given", ()))
            self.instruments = tuple(
                sorted(
                    str(getattr(i, "name", i))
                    for i in estimand.instruments
                    if set(getattr(i, "given", ())) == self.adjustment
                )
            )
        elif self.method not in ("back-door", "no effect"):
            raise IdentificationError(
                f"its effect is identified by {self.method!r}, for which there is no estimator",
                column=self.treatment,
                advice="Back-door, front-door and instrument estimands can be estimated.",
            )

    def columns(self) -> list[str]:
        extra = [*self.mediators, *self.instruments]
        names = [self.treatment, self.outcome, *sorted(self.adjustment), *extra, *self.modifiers]
        return list(dict.fromkeys(names))

    def text(self) -> str:
        given = ", ".join(sorted(self.adjustment)) or "nothing"
        if self.assumed:
            return f"back-door, on the caller's word: adjusting for {given} is enough"
        if self.method == "front-door":
            return f"front-door: the whole effect passes through {', '.join(self.mediators)}"
        if self.method == "instrument":
            return f"instrument: {', '.join(self.instruments)}, given {given}"
        if self.method == "no effect":
            return f"the graph has no directed path, so the effect is 0; tested given {given}"
        return f"back-door: the graph's adjustment set is {given}"


def outcome_level(checked: Table, schema: Schema, name: str) -> Any:
    """The level of a two-level outcome that counts as 1, or None for a number.

    Levels that nobody put in order are taken by the alphabet, which is said.
    """
    feature = checked.schema[name]
    levels = feature.levels or ()
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
    if not feature.is_discrete or len(levels) != 2 or plain:
        return None
    chosen = name in schema and schema.reasons.get(name) == "set by the user"
    if not chosen and not isinstance(levels[1], bool):
        warn(
            "level-order",
            f"the effect is on the share of {name!r} = {levels[1]!r} ({levels[0]!r} counts as 0), "
            "by the alphabet; set levels in the schema to choose",
            [name],
        )
    return levels[1]


def warn_if_arms(checked: Table, schema: Schema, name: str) -> None:
    """Few whole numbers may be codes of arms: a slope over codes means nothing."""
    feature, column = checked.schema[name], checked.frame[name]
    if not feature.is_numeric or schema.reasons.get(name) == "set by the user":
        return
    values = column.dropna().unique()
    if 3 <= len(values) <= 6 and all(float(v).is_integer() for v in values):
        warn(
            "dose-or-arms",
            f"{name!r} has {len(values)} whole values and is read as a dose with one slope; set "
            "kind='categorical' in the schema if they are arms, kind='count' if they are doses",
            [name],
        )


def unit_of(schema: Schema, name: str) -> str:
    """A column's unit, or nothing."""
    return (schema[name].unit or "") if name in schema else ""


def structure_of(
    df: pd.DataFrame, schema: Schema, groups: str | None, sample_weight: str | None
) -> dict[str, Any]:
    """Clusters and weights: named by the caller, else by the schema."""
    for name in (groups, sample_weight):
        if name is not None:
            table(df, columns=[name], what="table")  # refuses unknown names
    cluster = groups or _present(df, schema.role("cluster"))
    unit = _present(df, schema.role("id"))
    if cluster is None and unit is not None and df[unit].duplicated().any():
        cluster = unit
        warn(
            "repeated-ids",
            f"{unit!r} repeats: its rows are treated as one cluster in folds and standard errors",
            [unit],
        )
    weight = sample_weight or _present(df, schema.role("weight"))
    return {
        "groups": None if cluster is None else df[cluster],
        "sample_weight": None if weight is None else df[weight],
        "used": {cluster, weight} - {None},
    }


def _present(df: pd.DataFrame, name: str | None) -> str | None:
    return name if name is not None and name in df.columns else None


def question_data(
    checked: Table,
    question: Question,
    structure: dict[str, Any],
    x: list[str],
    w: list[str],
    discrete: bool | None,
) -> EffectData:
    """What the estimator is fitted on: the question's columns through the gate of effects."""
    frame = checked.frame
    for name in structure["used"]:
        if name in (question.treatment, question.outcome):
            raise QuestionError("is a cluster or weight and part of the question", column=name)
    x, w = ([n for n in names if n not in structure["used"]] for names in (x, w))
    return effect_data(
        frame[question.outcome],
        frame[question.treatment],
        X=frame[x] if x else None,
        W=frame[w] if w else None,
        sample_weight=structure["sample_weight"],
        groups=structure["groups"],
        schema=checked.schema,
        discrete_treatment=discrete,
    )
