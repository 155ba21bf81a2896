"""Conditions of an answer that a table alone shows: weights, clusters, sample size, rank."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ..core.errors import DataError, QuestionError, warn
from ..core.results import number
from ..tables.effect_data import EffectData
from ..tables.gate import Table, count
from .design import covariate_table, linear_parts, redundant
from .sandwich import covariance, least_squares

_SMALL_ARM = 20
_FEW_CLUSTERS = 20
_FEW_CLUSTERS_OF_ARM = 8
_WEAK_F = 10.0
_BEYOND = 0.1  # of the fitted range: new rows of the same kind now and then leave it by less


def rows_that_weigh(data: EffectData) -> EffectData:
    """Without the rows of weight 0; an arm that they leave without rows is refused."""
    if data.weight is None or (data.weight > 0).all():
        return data
    kept = data.weight > 0
    for k, name in enumerate(data.arms or ()):
        if (data.t[kept] == k).sum() < 2:
            raise DataError(
                f"has {count(int((data.t[kept] == k).sum()), 'row')} of positive weight in arm "
                f"{name!r}, at least 2 are needed",
                column=data.t_name,
                row=data.index[int(((data.t == k) & ~kept).argmax())],
                value=name,
                advice="Drop this arm, or give its rows weight.",
            )
    return some_rows(data, kept)


def some_rows(data: EffectData, kept: np.ndarray) -> EffectData:
    """The rows of a mask."""
    parts = {
        key: None if part is None else Table(part.frame[kept], part.schema, part.named)
        for key, part in (("x", data.x), ("w", data.w), ("z", data.z))
    }
    return replace(
        data,
        y=data.y[kept],
        t=data.t[kept],
        weight=None if data.weight is None else data.weight[kept],
        groups=None if data.groups is None else data.groups[kept],
        index=data.index[kept],
        **parts,
    )


def check_clusters(data: EffectData) -> None:
    """Refuse what clusters make unanswerable; warn where they are few."""
    if data.groups is None:
        return
    n_groups = len(np.unique(data.groups))
    if n_groups < 3:
        raise DataError(
            f"there are {count(n_groups, 'cluster')}, at least 3 are needed",
            column="groups",
            advice="Leave groups out if rows are independent.",
        )
    for k, name in enumerate(data.arms or ()):
        inside = data.t == k
        if len(np.unique(data.groups[inside])) < 2:
            raise DataError(
                "has rows in one cluster only, so its effect can't be told from the cluster's",
                column=data.t_name,
                row=data.index[int(inside.argmax())],
                value=name,
                advice="At least two clusters per arm are needed.",
            )
    if n_groups < _FEW_CLUSTERS:
        warn(
            "few-clusters",
            f"only {n_groups} clusters: intervals rest on {n_groups - 1} degrees of freedom",
        )
    for k, name in enumerate(data.arms or ()):
        own = len(np.unique(data.groups[data.t == k]))
        if own < min(_FEW_CLUSTERS_OF_ARM, n_groups):
            warn(
                "few-clusters",
                f"only {own} of {n_groups} clusters have rows with {data.t_name!r} = {name!r}: the "
                "interval is not to be relied on",
                [data.t_name],
            )


def tell_size_and_rank(data: EffectData) -> None:
    """Warn about small arms, more columns than rows can carry, and redundant columns."""
    joined = covariate_table(data)
    width = 0 if joined is None else len(joined.names)
    if data.arms is not None:
        sizes = np.bincount(data.t, minlength=len(data.arms))
        small = [k for k in range(len(data.arms)) if sizes[k] < _SMALL_ARM]
        if small:
            warn(
                "sample-size",
                f"only {count(int(sizes[small[0]]), 'row')} with {data.t_name!r} = "
                f"{data.arms[small[0]]!r}: the interval is not to be relied on",
                [data.t_name],
            )
    _tell_weights(data)
    if width and len(data) < 5 * width:
        warn(
            "sample-size",
            f"{len(data)} rows for {count(width, 'covariate')}: adjustment is regularised and may "
            "leave confounding behind",
        )
    bad = redundant(data)
    if bad:
        warn(
            "rank",
            f"{', '.join(map(repr, bad[:5]))}{' ...' if len(bad) > 5 else ''} "
            f"{'is' if len(bad) == 1 else 'are'} constant or determined by other covariates and "
            "add nothing to the adjustment",
            bad,
        )


def _tell_weights(data: EffectData) -> None:
    """Warn where row weights leave few rows to speak: (sum w)^2 / sum w^2 of an arm."""
    if data.weight is None:
        return
    for k, name in enumerate(data.arms or (None,)):
        own = data.weight if name is None else data.weight[data.t == k]
        own = own / own.max()
        effective = own.sum() ** 2 / (own**2).sum()
        if effective < min(_SMALL_ARM, len(own)) and effective < 0.5 * len(own):
            among = f"the {count(len(own), 'row')}"
            among += "" if data.arms is None else f" with {data.t_name!r} = {name!r}"
            warn(
                "weights",
                f"a few rows have most of the weight: {among} count as {number(effective)}, and "
                "the interval is not to be relied on",
                ["sample_weight"],
            )


def tell_strength(data: EffectData, instruments: Table) -> None:
    """Refuse too few instruments; warn where they hardly move the treatment (robust F below 10)."""
    weight, t, shifts, base = linear_parts(data, instruments, "instruments")
    d, q = t.shape[1], shifts.shape[1]
    if q < d:
        raise QuestionError(
            f"has {count(q, 'usable column')} as instrument, the contrast needs {d}",
            column=instruments.names[0],
            advice="Add instruments, or compare two arms only.",
        )
    first, rows = least_squares(np.hstack([shifts, base]), t, weight)
    strength = min(
        float(first[:q, j] @ np.linalg.pinv(covariance(rows[:, :q, j], data.groups)) @ first[:q, j])
        for j in range(d)
    )
    if strength / q < _WEAK_F:
        warn(
            "weak-instrument",
            f"the instruments hardly move {data.t_name!r} (first-stage F = {number(strength / q)}, "
            "below 10): estimate and interval are not to be relied on",
            instruments.names,
        )


def tell_extrapolation(fitted: pd.DataFrame, asked: pd.DataFrame) -> None:
    """Warn of rows whose numbers lie far outside those fitted: no interval covers that."""
    for name in fitted.columns:
        if isinstance(fitted[name].dtype, pd.CategoricalDtype):
            continue
        low, high = fitted[name].min(), fitted[name].max()
        reach = _BEYOND * (high - low)
        beyond = ((asked[name] < low - reach) | (asked[name] > high + reach)).to_numpy()
        if beyond.any():
            first = int(beyond.argmax())
            warn(
                "extrapolation",
                f"{name!r} of {count(int(beyond.sum()), 'row')} lies far outside the rows fitted, "
                f"{number(low)} to {number(high)} (first at row {asked.index[first]}: "
                f"{number(asked[name].iloc[first])}): effect and interval there rest on the form "
                "of the model alone",
                [name],
            )
