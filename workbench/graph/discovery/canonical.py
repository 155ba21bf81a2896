"""An order of the columns that their statistics give: names and the caller's order play no part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .design import Design

_ROUNDS = 3
_DIGITS = 10  # sums of rounded products depend on the order of columns from the 14th on


def in_canonical_order(design: Design) -> Design:
    """The same variables, sorted by how much they share with all others.

    Whatever a search breaks ties by, positions included, is then a function of the data: neither
    other names nor another order of columns changes its result. Variables are compared by w_i =
    Σ_j tr(R_ij R_ji) of the correlations R between their encoded columns, then by Σ_j tr(R_ij
    R_ji) w_j and so on, then by skewness. What ties there as well has the same correlations
    with all others, and the order of the two makes no difference to a graph but for their names.
    """
    keys = _keys(design)
    order = np.lexsort(keys[::-1])
    tied = (keys[:, order[1:]] == keys[:, order[:-1]]).all(axis=0)
    if tied.any() and design.values is not None:
        order = np.lexsort([_skewness(design), *keys[::-1]])
    return replace(
        design,
        names=tuple(design.names[i] for i in order),
        blocks=tuple(design.blocks[i] for i in order),
        codes=None if design.codes is None else design.codes[:, order],
    )


def _keys(design: Design) -> np.ndarray:
    """``(k, d)`` the first row decides, then the next."""
    shared = np.square(design.correlation)
    if len(shared) > len(design.names):
        owner = np.empty(len(shared), dtype=int)
        for i, block in enumerate(design.blocks):
            owner[block] = i
        member = np.eye(len(design.names))[owner]
        shared = member.T @ shared @ member
    weight, out = np.ones(len(shared)), []
    for _ in range(_ROUNDS):
        weight = shared @ weight
        weight /= weight.max()
        out.append(np.round(weight, _DIGITS))
    return np.array(out)


def _skewness(design: Design) -> np.ndarray:
    """|Σ x³| of the encoded columns of each variable, which no change of sign alters."""
    cubes = np.abs((design.values**3).sum(axis=0)) * np.sqrt(design.rows)
    return np.round([cubes[block].sum() for block in design.blocks], _DIGITS)
