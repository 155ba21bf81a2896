"""From checked tables to matrices: all covariates, and the columns that can be told apart."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from ..core.errors import recording, warn
from ..core.seeding import generator
from ..tables.effect_data import EffectData
from ..tables.encode import Encoder
from ..tables.gate import Table
from ..tables.schema import Schema
from .heavy_tails import with_normal_scores

_MAX_LEVELS = 50
_ROWS_THAT_TELL = 20_000  # that tell which columns are surely no combination of others


def covariate_table(data: EffectData) -> Table | None:
    """X and W side by side, or None if there are neither."""
    parts = [part for part in (data.x, data.w) if part is not None]
    if not parts:
        return None
    return Table(
        pd.concat([p.frame for p in parts], axis=1),
        Schema([f for p in parts for f in p.schema]),
        all(p.named for p in parts),
    )


def covariates(data: EffectData) -> tuple[np.ndarray, tuple[str, ...]]:
    """All covariates, standardised, (n, p), read-only, and the names of the encoded columns."""
    if data not in _encoded:
        joined = covariate_table(data)
        if joined is None:
            return np.empty((len(data), 0)), ()
        with recording() as notes:
            encoder = Encoder(max_levels=_MAX_LEVELS).fit(joined)
            z = encoder.transform(joined)
        z.flags.writeable = False
        _encoded[data] = z, encoder.columns_, tuple(notes)
        return z, encoder.columns_
    z, names, notes = _encoded[data]
    for note in notes:
        warn(note.code, note.message, note.columns)
    return z, names


def nuisance_inputs(data: EffectData) -> np.ndarray:
    """:func:`covariates` as nuisance functions see them: heavy tails by rank as well, (n, q)."""
    if data not in _with_scores:
        _with_scores[data] = with_normal_scores(covariates(data)[0])
    return _with_scores[data]


# A fit asks for its covariates several times; they are kept as long as the data they come from.
_encoded: WeakKeyDictionary[EffectData, tuple] = WeakKeyDictionary()
_with_scores: WeakKeyDictionary[EffectData, np.ndarray] = WeakKeyDictionary()


def content_rank(data: EffectData) -> np.ndarray:
    """Place of each row when sorted by outcome, treatment and covariates, (n,).

    It depends on the rows' content only, not on the order in which they come, nor on units.
    """
    z, _ = covariates(data)
    # Of rows that agree in outcome and treatment a fixed mixture of the covariates decides.
    order = np.lexsort((z @ generator(0).normal(size=z.shape[1]), data.t, data.y))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    return rank


def modifier_encoder(x: Table) -> Encoder:
    """The encoder of effect modifiers for a linear model: levels against the first one."""
    return Encoder(drop_first=True, max_levels=_MAX_LEVELS).fit(x)


def independent(matrix: np.ndarray, names: tuple[str, ...], what: str) -> np.ndarray:
    """Positions of columns that are linearly independent of an intercept and those before them.

    Columns that add nothing (constants, exact combinations) are left out, with a ``rank`` warning.
    """
    kept, basis = [], [np.full(len(matrix), 1 / np.sqrt(max(len(matrix), 1)))]
    for j in range(matrix.shape[1]):
        column = matrix[:, j].astype(float)
        size = np.linalg.norm(column)
        for _ in range(2):  # twice, so that rounding does not leave a ghost of a direction
            for direction in basis:
                column = column - (direction @ column) * direction
        rest = np.linalg.norm(column)
        if rest > 1e-8 * max(size, 1e-300) and len(kept) + 1 < len(matrix):
            kept.append(j)
            basis.append(column / rest)
    dropped = [names[j] for j in range(matrix.shape[1]) if j not in kept]
    if dropped:
        shown = ", ".join(map(repr, dropped[:5])) + (" ..." if len(dropped) > 5 else "")
        warn(
            "rank",
            f"{shown} in the {what} {'is' if len(dropped) == 1 else 'are'} constant or determined "
            "by other columns: the effect can't be attributed to one of them",
            dropped,
        )
    return np.array(kept, dtype=int)


def redundant(data: EffectData) -> list[str]:
    """Names of covariates that are constant or exact combinations of others."""
    joined = covariate_table(data)
    if joined is None:
        return []
    encoder = Encoder(drop_first=True, max_levels=_MAX_LEVELS).fit(joined)
    single = [b.feature.name for b in encoder.blocks_ if b.start == b.stop]
    matrix = encoder.transform(joined)
    if not matrix.shape[1] or matrix.shape[1] >= len(matrix):
        return single
    matrix -= matrix.mean(axis=0)
    sizes = np.linalg.norm(matrix, axis=0)
    constant = sizes <= 1e-10 * np.sqrt(len(matrix))
    live = np.flatnonzero(~constant)
    if not len(live):
        return single + list(encoder.columns_)
    matrix /= np.where(constant, 1.0, sizes)
    bad = live[_determined(matrix if len(live) == matrix.shape[1] else matrix[:, live])]
    return single + [encoder.columns_[j] for j in sorted({*np.flatnonzero(constant), *bad})]


def _determined(matrix: np.ndarray) -> np.ndarray:
    """Positions of columns (of norm 1) that are linear combinations of the others."""
    from scipy.linalg import cho_factor, cho_solve, qr

    some = matrix[:: max(1, len(matrix) // _ROWS_THAT_TELL)]
    triangle, order = qr(some, mode="r", pivoting=True)
    scale = np.sqrt(len(some) / len(matrix))
    doubtful = order[np.abs(np.diag(triangle)) <= 1e-7 * scale]
    if len(some) == len(matrix) or not len(doubtful):
        return doubtful
    # What is determined in all rows is so in some of them, but not the other way round.
    sure = np.setdiff1d(np.arange(matrix.shape[1]), doubtful)
    base, rest = matrix[:, sure], matrix[:, doubtful]
    factor = cho_factor(base.T @ base)
    for _ in range(2):  # twice, so that rounding leaves nothing that could be explained
        rest = rest - base @ cho_solve(factor, base.T @ rest)
    return doubtful[np.linalg.norm(rest, axis=0) <= 1e-7]


def _dose_scale(data: EffectData) -> float:
    return float(data.t.std())


def treatment_columns(data: EffectData) -> np.ndarray:
    """Arms as 0/1 columns against the first, or the standardised dose as one column; (n, d)."""
    if data.arms is None:
        return ((data.t - data.t.mean()) / _dose_scale(data))[:, None]
    return (data.t[:, None] == np.arange(1, len(data.arms))).astype(float)


def contrast_columns(data: EffectData, t0: float, t1: float) -> np.ndarray:
    """Weights of :func:`treatment_columns` that make the contrast, (d,)."""
    if data.arms is None:
        return np.array([(t1 - t0) / _dose_scale(data)])
    eye = np.eye(len(data.arms))[:, 1:]
    return eye[int(t1)] - eye[int(t0)]


def linear_parts(
    data: EffectData, extra: Table, what: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights (n,), treatment (n, d), extra columns (n, q), intercept and covariates (n, p)."""
    n = len(data)
    weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
    z, names = covariates(data)
    z = z[:, independent(z, names, "adjustment columns")] if names else z
    encoder = Encoder(drop_first=True).fit(extra)
    columns = encoder.transform(extra)
    columns = columns[:, independent(columns, encoder.columns_, what)]
    return weight, treatment_columns(data), columns, np.hstack([np.ones((n, 1)), z])
