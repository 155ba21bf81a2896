"""Front-door effects: what goes through the mediators, as a product of two regressions."""

from __future__ import annotations

import numpy as np

from ..core.errors import QuestionError, warn
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .design import contrast_columns, linear_parts
from .sandwich import covariance, least_squares


def front_door_effect(data: EffectData, mediators: Table, t0: float, t1: float) -> Estimate:
    """Sum over mediators of (effect of T on M) * (effect of M on Y given T), in linear models.

    M = a T + ..., Y = b M + c T + ..., effect = a' b (T1 - T0), with any X and W in both. The
    standard error is the delta method on stacked influence rows, by cluster where there is one.
    It assumes linear mechanisms without interaction of T and M, and says so.

    Args:
        data: Outcome, treatment and covariates.
        mediators: The columns that carry the whole effect.
        t0, t1: The contrast as positions of arms, or doses.

    Raises:
        QuestionError: The mediators never vary apart from the treatment.

    References:
        Pearl, "Causal diagrams for empirical research", Biometrika 82(4), 1995.
    """
    weight, t, m, base = linear_parts(data, mediators, "mediators")
    n = len(data)
    full = np.hstack([t, m, base])
    if np.linalg.matrix_rank(full) < full.shape[1]:
        raise QuestionError(
            "never varies apart from the treatment, so its own effect can't be seen",
            column=mediators.names[0],
            advice="A front door needs mediators with variation of their own.",
        )
    code, d = contrast_columns(data, t0, t1), t.shape[1]
    first, first_rows = least_squares(np.hstack([t, base]), m, weight)
    second, second_rows = least_squares(full, data.y, weight)
    moved = code @ first[:d]  # what the contrast does to each mediator
    slopes = second[d : d + m.shape[1]]
    influence = second_rows[:, d : d + m.shape[1]] @ moved
    influence = influence + np.einsum("d,ndm,m->n", code, first_rows[:, :d], slopes)
    warn(
        "linear-model",
        "the front-door estimate assumes linear mechanisms without interaction of "
        f"{data.t_name!r} and the mediators",
        [data.t_name, *mediators.names],
    )
    error = float(np.sqrt(covariance(influence[:, None], data.groups)[0, 0]))
    clusters = n if data.groups is None else len(np.unique(data.groups))
    df = float(clusters - 1 if data.groups is not None else n - full.shape[1])
    return Estimate(float(moved @ slopes), error, max(df, 1.0))
