"""Which rows each member learns from: folds, bootstraps, weights, rows held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ..core.errors import DataError, ParameterError


def choose_rows(
    members: int,
    n: int,
    rows: Sequence[Any] | None,
    weight: Any,
    validation: float | Sequence[Any] | None,
    generators: Sequence[np.random.Generator],
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray] | None, list[np.ndarray] | None]:
    """Rows and weights of each member for training and (or None) for validation.

    A share is drawn by distinct rows: copies of a row (a bootstrap) never fall on both sides.
    """
    chosen = _row_lists(rows, members, n, "rows") or [np.arange(n)] * members
    weights = _row_weights(weight, members, n)
    held = None
    if isinstance(validation, float | int) and not isinstance(validation, bool):
        if not 0 < validation < 1:
            raise ParameterError(
                "a share must lie between 0 and 1", column="validation", value=validation
            )
        out = []
        for m in range(members):
            distinct = np.unique(chosen[m][weights[m][chosen[m]] > 0])
            order = generators[m].permutation(distinct)
            out.append(order[: max(1, round(validation * len(distinct)))])
        held = [own[np.isin(own, o)] for own, o in zip(chosen, out, strict=True)]
    elif validation is not None:
        held = out = _row_lists(validation, members, n, "validation")
    if held is not None:
        chosen = [own[~np.isin(own, o)] for own, o in zip(chosen, out, strict=True)]
    train = [_heavy(c, weights[m], m, "training") for m, c in enumerate(chosen)]
    if held is None:
        return *map(list, zip(*train, strict=True)), None, None
    check = [_heavy(h, weights[m], m, "validation") for m, h in enumerate(held)]
    return *map(list, zip(*train, strict=True)), *map(list, zip(*check, strict=True))


def _heavy(index: np.ndarray, weight: np.ndarray, member: int, use: str) -> tuple[Any, Any]:
    index = index[weight[index] > 0]
    if not len(index):
        raise DataError(
            f"member {member} has no {use} row with positive weight",
            advice="Give it rows, or leave the member out.",
        )
    return index, weight[index]


def _row_lists(
    rows: Sequence[Any] | None, members: int, n: int, name: str
) -> list[np.ndarray] | None:
    if rows is None:
        return None
    if len(rows) != members:
        raise ParameterError(f"has {len(rows)} entries for {members} members", column=name)
    lists = []
    for m, own in enumerate(rows):
        own = np.asarray(own)
        if own.dtype == bool:
            if own.shape != (n,):
                raise ParameterError(
                    f"the mask of member {m} has shape {own.shape}, the data {n} rows", column=name
                )
            own = np.flatnonzero(own)
        if own.ndim != 1 or (own.size and own.dtype.kind not in "iu"):
            raise ParameterError(
                f"the rows of member {m} must be a list of row numbers or a mask", column=name
            )
        bad = own[(own < 0) | (own >= n)]
        if bad.size:
            raise ParameterError(
                f"member {m} asks for a row that is not among the {n}", column=name, value=bad[0]
            )
        lists.append(own.astype(np.int64))
    return lists


def _row_weights(weight: Any, members: int, n: int) -> np.ndarray:
    if weight is None:
        return np.broadcast_to(np.ones(n), (members, n))
    weight = weight.detach().cpu().numpy() if isinstance(weight, Tensor) else np.asarray(weight)
    if weight.shape not in ((n,), (members, n)):
        raise ParameterError(
            f"has shape {weight.shape}, expected ({n},) or ({members}, {n})", column="weight"
        )
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        row = np.argwhere(bad)[0]
        raise DataError(
            "must be finite and not negative",
            column="weight",
            row=int(row[-1]),
            value=weight[tuple(row)],
        )
    return np.broadcast_to(weight.astype(float), (members, n))
