"""Covariates with heavy tails: ranks beside values, ordinary tables as they were."""

import numpy as np
import pytest
from scipy.stats import norm

from workbench.effects import AIPW
from workbench.effects.arm_scores import within_range
from workbench.effects.heavy_tails import heavy_columns, with_normal_scores
from workbench.tables.effect_data import effect_data

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


@pytest.mark.parametrize("n", [60, 300, 20_000])
def test_ordinary_columns_are_left_alone(n):
    rng = np.random.default_rng(0)
    rare = (np.arange(n) == 3).astype(float)
    parts = [rng.normal(size=n), rng.random(n), rng.gamma(4.0, size=n), rng.poisson(1, n), rare]
    z = np.column_stack(parts)
    assert with_normal_scores(z) is z
    assert with_normal_scores(z[:, :0]).shape == (n, 0)


def test_scores_depend_on_ranks_alone():
    rng = np.random.default_rng(0)
    z = np.column_stack([rng.normal(size=300), rng.standard_t(1.1, 300)])
    found = with_normal_scores(z)
    assert heavy_columns(z) == [1] and found.shape == (300, 3)
    np.testing.assert_array_equal(found[:, :2], z)
    again = with_normal_scores(np.column_stack([z[:, 0], z[:, 1] ** 3]))
    np.testing.assert_array_equal(again[:, 2], found[:, 2])
    place = np.sort(z[:, 1]).searchsorted(z[:, 1])
    np.testing.assert_allclose(found[:, 2], norm.ppf((place + 0.5) / 300))


def test_outcomes_keep_to_their_arm_or_under_heavy_tails_to_the_table():
    rng = np.random.default_rng(0)
    t, y = np.arange(200) % 2, np.arange(200) % 2 * 10 + rng.random(200)
    far = np.full((200, 2), [50.0, -50.0])
    for x, ends in ((rng.normal(size=200), (1, 10)), (rng.standard_t(1.2, 200), (11, 0))):
        kept = within_range(far, effect_data(y, t, W=x.reshape(-1, 1)))
        np.testing.assert_allclose(kept[0], ends, atol=0.1)


def heavy_law(seed):
    """Effect 1; outcomes follow the values, t(1.5), of both covariates, treatment one of them."""
    rng = np.random.default_rng(seed)
    z = rng.standard_t(1.5, size=(200, 2))
    t = (rng.random(200) < 1 / (1 + np.exp(-0.5 * z[:, 0]))).astype(int)
    return z, t, t + z.sum(axis=1) + rng.normal(size=200)


def bent_law(seed):
    """As heavy_law; outcomes level off far out."""
    z, t, y = heavy_law(seed)
    return z, t, y - z.sum(axis=1) + np.arctan(z) @ [2.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("law", [heavy_law, bent_law])
def test_intervals_cover_under_heavy_tails(law):
    hits = []
    for seed in range(200):
        z, t, y = law(seed)
        low, high = AIPW().fit(y, t, W=z).ate_interval()
        hits.append(low < 1 < high)
    assert np.mean(hits) >= 0.91
