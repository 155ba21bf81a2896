"""Shapley values: exact over all subsets of few players, over permutations beyond."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import factorial

import numpy as np

MOST_EXACT = 12


@lru_cache(maxsize=16)
def subsets(m: int) -> np.ndarray:
    """All subsets of m players as a mask, shape (2^m, m); row r holds the bits of r."""
    masks = (np.arange(2**m)[:, None] >> np.arange(m)) & 1 == 1
    masks.flags.writeable = False
    return masks


def exact_shapley(values: np.ndarray) -> np.ndarray:
    """Shapley values from the value of every subset.

    phi_j = sum over S without j of |S|! (m - |S| - 1)! / m! (v(S + j) - v(S)).

    Args:
        values: v of each row of :func:`subsets`, shape (..., 2^m).

    Returns:
        Shape (..., m); they sum to v(all) - v(none).

    References:
        Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953.

    Example:
        >>> exact_shapley(np.array([0.0, 1.0, 2.0, 5.0]))  # v({}), v({0}), v({1}), v({0, 1})
        array([2., 3.])
    """
    m = int(values.shape[-1]).bit_length() - 1
    masks = subsets(m)
    size = masks.sum(axis=1)
    weight = np.array([factorial(s) * factorial(m - s - 1) / factorial(m) for s in range(m)])
    phi = np.empty((*values.shape[:-1], m))
    for j in range(m):
        without = np.flatnonzero(~masks[:, j])
        gain = values[..., without | (1 << j)] - values[..., without]
        phi[..., j] = gain @ weight[size[without]]
    return phi


def permutation_shapley(
    prefixes: Callable[[np.ndarray], np.ndarray], m: int, n_pairs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values over random orders of the players, each with its reverse (antithetic).

    Args:
        prefixes: Orders of shape (P, m) -> values of the growing sets of players, from none to
            all, shape (..., P, m + 1).
        m: Number of players.
        n_pairs: Number of orders; each is used forwards and backwards.
        rng: Source of the orders.

    Returns:
        Values and their standard errors, shape (..., m). The values sum to v(all) - v(none)
        exactly, since every order does.

    References:
        Mitchell et al., "Sampling permutations for Shapley value estimation", JMLR 2022.
    """
    forward = np.argsort(rng.random((n_pairs, m)), axis=1)
    pairs = 0.0
    for orders in (forward, forward[:, ::-1]):
        gains = np.diff(prefixes(orders), axis=-1)
        by_player = np.empty_like(gains)
        np.put_along_axis(by_player, np.broadcast_to(orders, gains.shape), gains, axis=-1)
        pairs = pairs + by_player / 2
    return pairs.mean(axis=-2), pairs.std(axis=-2, ddof=1) / n_pairs**0.5
