from itertools import permutations

import numpy as np
import pytest

from workbench.diagnosis.shapley import exact_shapley, permutation_shapley, subsets


def brute_force(values, m):
    phi = np.zeros(m)
    orders = list(permutations(range(m)))
    for order in orders:
        seen = 0
        for j in order:
            phi[j] += values[seen | 1 << j] - values[seen]
            seen |= 1 << j
    return phi / len(orders)


@pytest.mark.parametrize("m", [0, 1, 2, 5])
def test_exact_equals_the_mean_over_all_orders(m):
    values = np.random.default_rng(m).normal(size=2**m)
    phi = exact_shapley(values)
    assert np.allclose(phi, brute_force(values, m))
    assert np.isclose(phi.sum(), values[-1] - values[0], atol=1e-12)


def test_subsets_hold_the_bits():
    assert subsets(3)[5].tolist() == [True, False, True]


def test_permutations_are_efficient_and_within_their_standard_error():
    m, weights = 6, np.arange(1.0, 7.0)
    table = (subsets(m) @ weights) ** 2

    def prefixes(orders):
        ids = np.concatenate([np.zeros((len(orders), 1), int), np.cumsum(1 << orders, axis=1)], 1)
        return table[ids]

    phi, se = permutation_shapley(prefixes, m, 400, np.random.default_rng(0))
    truth = exact_shapley(table)
    assert np.isclose(phi.sum(), table[-1], rtol=1e-12)
    assert (np.abs(phi - truth) <= 4 * se + 1e-9).all()
    # An order and its reverse together give this game's values exactly.
    assert np.allclose(phi, truth) and np.allclose(se, 0, atol=1e-9)
